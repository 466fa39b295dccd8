"""Job files and settings in several places, with their drop-ins, under a real daemon and through jobqueuectl."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobqueued.control.calls.settings_file import SettingsFile
from jobqueued.ctl.files.job_files import read_files
from jobqueued.settings.paths import Paths
from jobqueued.settings.settings import Settings, read_settings
from tests.support.client import run
from tests.support.host import Host, wait_for
from tests.support.users import NEEDS_ROOT, believing


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host with a file of a package, and a drop-in of it."""
    found = Host(tmp_path / "host")
    put(found, "usr/lib/jobqueue.d/a.yaml", "defaults: {timezone: UTC}\njobs:\n  a: {command: 'exit 1', retries: 2}\n")
    put(found, "jobqueue.d/a.yaml.d/x.yaml", "jobs:\n  a:\n    command: exit 7\n    retries:\n")
    yield found
    found.close()


def put(host: Host, name: str, text: str) -> Path:
    """Save a file as editors do."""
    path = host.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name("tmp").write_text(text)
    return path.with_name("tmp").replace(path)


def command(host: Host) -> Any:
    return host.call("Describe", job="a", runs=0)["definition"]["command"]


def test_a_life_with_drop_ins(host: Host) -> None:
    """What is merged runs; a broken drop-in leaves it in force, over a kill -9 too, and an audit reads what counted."""
    host.start()
    assert (7, 1) == ((record := host.wait(host.run("a")))["exit_code"], len(record["attempts"]))
    broken = put(host, "jobqueue.d/a.yaml.d/x.yaml", "jobs:\n  a: {command: [}]\n")
    wait_for(lambda: host.call("Status")["stale"])
    host.kill()
    put(host, "usr/lib/jobqueue.d/a.yaml", "jobs: {a: {command: exit 3}}")
    host.start()
    status = host.call("Status")
    assert ([f"{host.root}/usr/lib/jobqueue.d/a.yaml"], "exit 7") == (status["stale"], command(host))
    assert [(str(broken), 2)] == [(problem["file"], problem["line"]) for problem in status["problems"]]
    assert [f"{host.root}/usr/lib/jobqueue.d/a.yaml"] == [line["file"] for line in host.said("refused")][:1]
    broken.unlink()
    wait_for(lambda: command(host) == "exit 3")
    assert ([], []) == (host.call("Status")["stale"], host.call("Status")["problems"])
    audited = json.loads(run("--root", host.root, "audit", "--json").stdout)
    assert ([], []) == (audited["unreadable"], audited["findings"])


def test_a_mask_removes_jobs_that_are_live(host: Host) -> None:
    """As if its file was gone: the live run goes on without a retry, what waits is skipped, and the next is refused."""
    put(host, "usr/lib/jobqueue.d/b.yaml", "jobs: {b: {command: 'read line < gate; exit 5', retries: 3}}")
    os.mkfifo(host.root / "gate")
    put(host, "jobqueue.d/b.yaml.d/x.yaml", f"jobs: {{b: {{working_directory: '{host.root}'}}}}")
    host.start()
    live, waiting = host.run("b"), host.run("b")
    wait_for(lambda: host.call("Status")["running"])
    (host.root / "jobqueue.d" / "b.yaml").symlink_to("/dev/null")
    assert ("skipped", "job_removed") == ((record := host.wait(waiting))["state"], record["reason"])
    assert "error" in host.call("Run", job="b")
    (host.root / "gate").write_text("go\n")
    assert ("failed", 5, 1) == ((record := host.wait(live))["state"], record["exit_code"], len(record["attempts"]))


def test_what_jobqueuectl_tells_of_places(host: Host) -> None:
    """The files as they count, where each job and each of its keys is; with the daemon, and without."""
    main, drop_in = (str(host.root / name) for name in ("usr/lib/jobqueue.d/a.yaml", "jobqueue.d/a.yaml.d/x.yaml"))
    (host.root / "jobqueue.d" / "m.yaml").symlink_to("/dev/null")
    texts = f"# {main}\n{Path(main).read_text()}\n# {drop_in}\n{Path(drop_in).read_text()}"
    masked = f"# {host.root}/jobqueue.d/m.yaml is masked by its link to /dev/null\n"
    host.start()
    for _ in range(2):
        for name in ("a.yaml", "a", main, drop_in):
            assert (texts, 0) == ((shown := run("--root", host.root, "cat", name)).stdout, shown.returncode)
        assert f"{masked}\n{texts}" == run("--root", host.root, "cat", "m.yaml", "a").stdout
        told = [(f"{host.root}/jobqueue.d/m.yaml", None), *((it, Path(it).read_text()) for it in (main, drop_in))]
        found = json.loads(run("--root", host.root, "cat", "m.yaml", "a", "--json").stdout)["files"]
        assert told == [(it["path"], it["text"]) for it in found]
        listed = run("--root", host.root, "list", "--files").stdout.splitlines()
        assert ["JOB  DEFINED IN", f"a    {main}:3"] == [
            line.partition("  DROP")[0].split(f"  {drop_in}")[0].rstrip() for line in listed
        ]
        found = json.loads(run("--root", host.root, "show", "--origin", "a", "--json").stdout)["origins"]
        assert {"timezone": (main, 1), "command": (drop_in, 3)} == {it["key"]: (it["file"], it["line"]) for it in found}
        assert f"command   {drop_in}:3" in run("--root", host.root, "show", "--origin", "a").stdout
        assert drop_in in run("--root", host.root, "show", "a").stdout
        if not host.daemon_ended():
            host.stop()
    for name, status in (("none.yaml", 1), ("none", 1), ("/etc/a.yaml", 1)):
        assert (status, "no such job file" in (told := run("--root", host.root, "cat", name)).stderr) == (
            told.returncode,
            True,
        )
    (host.root / "jobqueue.d" / "d.yaml").mkdir()
    assert 2 == (told := run("--root", host.root, "cat", "d.yaml")).returncode, told.stderr


def test_check_reads_what_the_daemon_reads(host: Host) -> None:
    """All directories and drop-ins, with their trust, each problem at its place; and what is read nowhere."""
    put(host, "run/jobqueue.d/b.yaml", "jobs: {b: {command: 'true'}}")
    put(host, "run/jobqueue.d/c.yaml.d/x.yaml", "{}")
    checked = run("--root", host.root, "check")
    orphan = (
        f"{host.root}/run/jobqueue.d/c.yaml.d: is ignored, because there is no c.yaml; expected drop-ins of a job file"
    )
    told = [f"{orphan} (warning) [JQ503]", "JOB  NEXT", "a    -", "b    -", "2 jobs, 1 warning"]
    assert told == checked.stdout.splitlines()
    drop_in = put(host, "jobqueue.d/a.yaml.d/x.yaml", "jobs:\n  a: {nice: 99}\n")
    drop_in.chmod(0o666)
    refused = believing("found a file that all users may write; expected one that only root can write: chmod go-w")
    told = run("--root", host.root, "check")
    assert (1, True) == (told.returncode, f"{drop_in}: {refused} {drop_in}" in told.stdout)
    drop_in.chmod(0o644)
    told = run("--root", host.root, "check")
    assert (1, f"{drop_in}:2:13: a: nice: found 99; expected a whole number from -20 to 19, such as 10 [JQ202]") == (
        told.returncode,
        told.stdout.splitlines()[0],
    )
    (host.root / "other").mkdir()
    for name, text in (("a.yaml", "jobs: {a: {command: 'true'}}"), ("a.yaml.d/x.yaml", "jobs: {b: {command: 'true'}}")):
        put(host, f"other/{name}", text)
    assert "2 jobs, 0 problems" in run("--root", host.root, "check", host.root / "other").stdout
    assert "1 job, 0 problems" in run("--root", host.root, "check", host.root / "other" / "a.yaml").stdout
    for place in ("other", "jobqueue.d"):  # a drop-in is checked with its file
        checked = run("--root", host.root, "check", host.root / place / "a.yaml.d" / "x.yaml")
        assert (place == "other", place == "other") == (checked.returncode == 0, "2 jobs" in checked.stdout)
    lonely = put(host, "other/b.yaml.d/x.yaml", "{}")
    missing = f"{host.root}/other/b.yaml: cannot be read: No such file or directory"
    assert missing in run("--root", host.root, "check", lonely).stdout


@NEEDS_ROOT
def test_a_place_of_others_stops_no_job(host: Host) -> None:
    """A user may write to the directory above, and makes a link to itself. Daemon, check and cat ignore the link."""
    put(host, "usr/local/lib/jobqueue.d/b.yaml", "jobs: {b: {command: 'true'}}")
    place = host.root / "usr/local/lib"
    place.chmod(0o777)
    files = {"a": f"{host.root}/usr/lib/jobqueue.d/a.yaml"}
    why = f"{place}/jobqueue.d: found a directory that all users may write; expected one that only root can write: "
    why += f"chmod go-w {place}; until then its files are ignored"
    for step in range(2):
        if step:
            (place / "jobqueue.d").rename(place / "moved")
            (place / "jobqueue.d").symlink_to("jobqueue.d")
        host.start()
        assert [["a"], [why]] == [
            [job["id"] for job in host.call("List")["jobs"]],
            [f"{problem['file']}: {problem['message']}" for problem in host.call("Status")["problems"]],
        ]
        host.stop()
        checked = run("--root", host.root, "check")
        assert [f"{why} [JQ502]", "JOB  NEXT", "a    -", "1 job, 1 error"] == checked.stdout.splitlines()
        assert files == {job.id: job.origin for job in read_files(Paths.under(host.root)).jobs}
        assert 1 == run("--root", host.root, "cat", "b.yaml").returncode


def test_an_option_is_the_only_place(host: Host) -> None:
    """With --jobs there is that directory, with its drop-ins, and no other; who asks the daemon's paths knows it."""
    host.start("--jobs", str(host.root / "jobqueue.d"))
    assert [] == host.call("List")["jobs"]
    assert "0 jobs" in run("--root", host.root, "check").stdout
    put(host, "jobqueue.d/a.yaml", "jobs: {a: {command: exit 4}}")
    wait_for(lambda: host.call("List")["jobs"])
    assert "exit 7" == command(host)


# ── settings ──


def settings_of(root: Path, **files: str) -> Paths:
    """Paths below a root with these files, named by their place: ``usr_lib``, ``x__etc`` for the drop-in x."""
    places = {"etc": "", "run": "run", "local": "usr/local/lib", "lib": "usr/lib"}
    for key, text in files.items():
        name, _, place = key.rpartition("__")
        path = root / places[place] / ("jobqueued.yaml" + (f".d/{name}.yaml" if name else ""))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Paths.under(root)


def test_settings_are_merged(tmp_path: Path) -> None:
    """The first file counts, with the drop-ins of all places, in the order of their names; each name once."""
    paths = settings_of(
        tmp_path, lib="max_running: 1\nresources: {gpu: 1}", run="max_running: 2\nresources: {tape: 2}\nmax_use: 2G",
        a__lib="max_running: 3\nresources: {tape: 3, disk: 4}", b__local="max_use: ~\noperators: [adm]", b__lib="[",
        c__etc="operators: [wheel]",
    )  # fmt: skip
    config, problems = read_settings(paths.config, os.geteuid(), paths.more_config)
    assert ([], 3, {"tape": 3, "disk": 4}, None, ("wheel",)) == (
        problems, config.max_running, config.resources, config.max_use, config.operators,
    )  # fmt: skip
    assert (Settings(operators=("wheel",)), []) == read_settings(paths.config)


def test_a_problem_of_settings_has_its_place(tmp_path: Path) -> None:
    """The file, or the drop-in, and the line there."""
    paths = settings_of(tmp_path, etc="max_running: x\n", a__lib="\n\nmaxrunning: 3\ntimezone: Mars\n", b__etc="5")
    problems = read_settings(paths.config, os.geteuid(), paths.more_config)[1]
    assert [f"{tmp_path}/jobqueued.yaml.d/b.yaml:1"] == [f"{it.file}:{it.line}" for it in problems]
    (tmp_path / "jobqueued.yaml.d" / "b.yaml").unlink()
    problems = read_settings(paths.config, os.geteuid(), paths.more_config)[1]
    drop_in = f"{tmp_path}/usr/lib/jobqueued.yaml.d/a.yaml"
    assert [f"{tmp_path}/jobqueued.yaml:1", f"{drop_in}:3", f"{drop_in}:4"] == [
        f"{it.file}:{it.line}" for it in problems
    ]


def test_settings_are_masked_by_links_to_dev_null(tmp_path: Path) -> None:
    """Of a file and of a drop-in; a link that is not trusted, or leads elsewhere, is a problem."""
    paths = settings_of(tmp_path, lib="max_running: 1", a__lib="max_use: 2G", a__etc="", b__lib="max_running: 5")
    read = lambda: read_settings(paths.config, os.geteuid(), paths.more_config)  # noqa: E731
    mask = tmp_path / "jobqueued.yaml.d" / "a.yaml"
    mask.unlink()
    for path in (mask, paths.config):
        path.symlink_to("/dev/null")
    config, problems = read()
    assert ([], 5, None) == (problems, config.max_running, config.max_use)
    mask.unlink()
    mask.symlink_to("/dev/zero")
    assert [str(mask)] == [problem.file for problem in read()[1]]


@NEEDS_ROOT
def test_settings_are_believed_from_roots_places_only(tmp_path: Path) -> None:
    """A drop-in or a mask of somebody else's refuses them, with the remedy; a directory of theirs is left out."""
    paths = settings_of(tmp_path, a__lib="max_use: 2G", b__local="max_running: 2")
    drop_in = tmp_path / "usr/lib/jobqueued.yaml.d/a.yaml"
    for path, severity, running in ((drop_in, "error", None), (drop_in.parent, "warning", 2)):
        os.chown(path, 65534, -1)
        config, (problem,) = read_settings(paths.config, 0, paths.more_config)
        assert (str(path), severity, running, None) == (
            problem.file, problem.severity, config.max_running, config.max_use,
        )  # fmt: skip
        assert f"chown root {path}" == problem.message.partition("can write: ")[2].partition(";")[0]
        os.chown(path, 0, -1)
    drop_in.unlink()
    drop_in.symlink_to("/dev/null")
    os.chown(drop_in, 65534, -1, follow_symlinks=False)
    assert [str(drop_in)] == [problem.file for problem in read_settings(paths.config, 0, paths.more_config)[1]]


def test_each_change_of_settings_is_told(tmp_path: Path) -> None:
    """Wherever it is: a drop-in that comes, changes or goes, and a file that takes the place of another."""
    paths = settings_of(tmp_path, lib="max_running: 1")
    watched = SettingsFile(paths, read_settings(paths.config, os.geteuid(), paths.more_config)[0])
    assert [] == watched.problems
    for change in ({"etc": "max_running: 2"}, {"a__run": "max_running: 3"}, {"a__run": "max_running: 4"}):
        settings_of(tmp_path, **change)
        assert ["has changed since the daemon started"] == [it.message.partition(";")[0] for it in watched.problems]
    (tmp_path / "run/jobqueued.yaml.d/a.yaml").write_text("max_running: 1")
    assert [] == watched.problems
    (tmp_path / "run/jobqueued.yaml.d/a.yaml").unlink()
    assert [f"{tmp_path}/jobqueued.yaml"] == [it.file for it in watched.problems]
    paths.config.unlink()
    assert [] == watched.problems


def test_a_daemon_follows_settings_of_all_places(host: Host) -> None:
    """It starts with them, tells of a change, and does not start with a drop-in that is wrong, which it names."""
    put(host, "usr/lib/jobqueued.yaml", "max_running: 1")
    drop_in = put(host, "jobqueued.yaml.d/x.yaml", "max_running: 4")
    host.start()
    assert 4 == host.call("Status")["max_running"]
    assert "max_running: 4\n" in run("--root", host.root, "cat", "jobqueued.yaml").stdout
    put(host, "jobqueued.yaml.d/x.yaml", "max_running: many")
    (problem,) = host.call("Status")["problems"]
    assert (str(drop_in), 1) == (problem["file"], problem["line"])
    assert ("error", 1) == (
        (found := [it for it in json.loads(run("--root", host.root, "doctor", "--json").stdout)["findings"]
                   if str(drop_in) in it["seen"]])[0]["verdict"], len(found),
    )  # fmt: skip
    host.kill()
    assert 1 == host.start(ready=False).wait(20)
    assert f"{drop_in} has errors" in host.log()


def test_a_look_from_outside_watches_nothing(host: Host) -> None:
    """Who only reads the files has no instance of inotify afterwards, of which a user has few."""
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        assert ["a"] == [job.id for job in read_files(Paths.under(host.root)).jobs]
    assert before == os.listdir("/proc/self/fd")
