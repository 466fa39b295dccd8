"""config: where things are, and what jobqueued.yaml says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobqueued.config import Config, Paths, Retention, host_timezone, read_config
from jobqueued.model import DAY

ROOT = Path("/r")


def test_the_systems_paths() -> None:
    """The system's daemon lives where the design says."""
    expected = ["/etc/jobqueued.yaml", "/etc/jobqueue.d", "/var/lib/jobqueue", "/run/jobqueue", "/var/log/jobqueue"]
    expected += ["/run/systemd/journal/socket"]
    paths = Paths.system()
    assert expected == [
        str(path) for path in (paths.config, paths.jobs, paths.state, paths.run, paths.logs, paths.journal)
    ]


def test_a_root_holds_everything() -> None:
    """Below a root there is one place for each thing."""
    names = ("jobqueued.yaml", "jobqueue.d", "state", "run", "logs", "journal")
    expected = Paths(*(ROOT / name for name in names))
    assert expected == Paths.under(ROOT)


def test_options_override_the_root() -> None:
    """A single option wins over the root, and over the system's path without one."""
    assert Paths.under(ROOT).state == Paths.chosen(ROOT, jobs=Path("/j"), state=None).state
    assert Path("/j") == Paths.chosen(ROOT, jobs=Path("/j"), state=None).jobs
    assert Paths.system() == Paths.chosen(None)


def test_sockets_and_runs_are_below_run() -> None:
    """The sockets, and the runs of this boot, are in the run directory."""
    paths = Paths.under(ROOT)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert [ROOT / "run/control", ROOT / "run/launcher", ROOT / "run/runs" / boot] == [
        paths.control,
        paths.launcher,
        paths.runs,
    ]


def test_no_file_means_the_defaults(tmp_path: Path) -> None:
    """Without a file, and with an empty one, everything has its default."""
    (tmp_path / "empty").write_text("# nothing\n")
    for name in ("missing", "empty"):
        assert (Config(), []) == read_config(tmp_path / name)
    config = Config()
    assert (None, host_timezone(), Retention(100, 90 * DAY, 1 << 30)) == (
        config.max_running,
        config.timezone,
        config.retention,
    )


def test_the_shipped_file_shows_the_defaults() -> None:
    """The jobqueued.yaml that is installed changes nothing."""
    assert (Config(), []) == read_config(Path(__file__).parents[1] / "etc/jobqueued.yaml")


def test_settings_are_read(tmp_path: Path) -> None:
    """Each setting is read with the job files' types; what is left out keeps its default."""
    file = tmp_path / "jobqueued.yaml"
    file.write_text("max_running: 8\ntimezone: Asia/Tokyo\nretention: {runs: 5, age: 1d}\n")
    assert (Config(8, "Asia/Tokyo", Retention(5, DAY, 1 << 30)), []) == read_config(file)


BAD = {
    "max_running: 0": "1:14: max_running: found 0; accepted: a whole number from 1 to 100000, or none",
    "timezone: Mars": "1:11: timezone: found 'Mars'; accepted: a time zone of the tz database, such as UTC or "
    "Europe/Berlin",
    "retention: 5": "1:12: retention: found 5; accepted: a mapping with the keys runs, age, bytes",
    "retention: {age: 5}": "1:18: retention.age: found 5; accepted: a duration such as 90s, 5m, 2h or 1d12h, from 1h "
    "to 36500d",
    "retention: {byte: 5}": "1:13: retention.byte: found an unknown key; accepted: 'bytes'",
    "max_runing: 5": "1:1: max_runing: found an unknown key; accepted: 'max_running'",
    "users: {}": "1:1: users: found a key that this version does not carry out; accepted: the file without it",
    "[]": "1:1: found an empty list; accepted: a mapping with the keys max_running, timezone, retention",
    "a: !x 1\n": "1:4: found the tag '!x'; accepted: values without a tag, or one that starts with ! in quotes",
}


@pytest.mark.parametrize(("text", "message"), BAD.items(), ids=BAD)
def test_wrong_settings_are_explained(text: str, message: str, tmp_path: Path) -> None:
    """A wrong setting is named with its place, and the default holds."""
    file = tmp_path / "jobqueued.yaml"
    file.write_text(text)
    config, problems = read_config(file)
    assert (Config(), f"{file}:{message}") == (config, str(problems[0]))


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    """Trouble with the file is said, not raised."""
    assert [f"{tmp_path}: cannot be read: Is a directory"] == [str(problem) for problem in read_config(tmp_path)[1]]


def test_the_hosts_zone(tmp_path: Path) -> None:
    """The zone is what /etc/timezone says, else where /etc/localtime points, else UTC."""
    assert "UTC" == host_timezone(tmp_path)
    os.symlink("localtime", tmp_path / "localtime")
    assert "UTC" == host_timezone(tmp_path)
    (tmp_path / "localtime").unlink()
    os.symlink("/usr/share/zoneinfo/Asia/Tokyo", tmp_path / "localtime")
    assert "Asia/Tokyo" == host_timezone(tmp_path)
    (tmp_path / "timezone").write_text("Europe/Berlin\n")
    assert "Europe/Berlin" == host_timezone(tmp_path)
    (tmp_path / "timezone").write_bytes(b"\xff../no zone\n")
    assert "Asia/Tokyo" == host_timezone(tmp_path)
