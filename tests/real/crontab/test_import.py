"""jobqueuectl import: the tables of a host become job files, nothing is executed, and nothing is lost halfway."""

from __future__ import annotations

import io
import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from jobqueued.ctl.crontab import import_jobs, import_sources
from jobqueued.ctl.main import main
from jobqueued.jobdir.cron_tables import kinds_of_host
from jobqueued.settings.paths import Paths
from tests.support.client import run

TABLE = "MAILTO=\n# nightly\n30 2 * * * root /opt/backup --full >>/var/log/b 2>&1\n61 * * * * root x\n"


class Done(NamedTuple):
    """The end of a command."""

    exit_code: int
    stdout: str
    stderr: str


Import = Callable[..., Done]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host of cronie, which runs the good lines of a table, with a table of a package and one of a user."""
    for name in ("etc/cron.d", "var/spool/cron/crontabs", "jobqueue.d", "usr/sbin"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "usr/sbin/crond").touch()
    (tmp_path / "var/spool/cron/crontabs").chmod(0o1730)
    (tmp_path / "etc/cron.d/backup").write_text(TABLE)
    spool = tmp_path / "var/spool/cron/crontabs/daemon"
    spool.write_text("@daily touch /tmp/never%\n")
    spool.chmod(0o600)
    return tmp_path


@pytest.fixture
def run_import(root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Import:
    """Call jobqueuectl import, on a host whose root is only in the primary group."""
    monkeypatch.setattr(import_sources, "root_groups", tuple)

    def call(*words: str) -> Done:
        with pytest.raises(SystemExit) as end:
            main(["--root", str(root), "import", *words])
        assert isinstance(end.value.code, int)
        return Done(end.value.code, *capsys.readouterr())

    return call


def content(root: Path) -> dict[str, str]:
    """All files below a directory."""
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_without_write_it_prints_and_changes_nothing(root: Path, run_import: Import) -> None:
    """Job files on stdout, what is not imported on stderr; exit code 1 for a line that is not."""
    before = content(root)
    done = run_import()
    assert (1, before) == (done.exit_code, content(root))
    assert 'backup:\n    schedule: "30 2 * * *"' in done.stdout
    assert f"{root}/etc/cron.d/backup:4: minute: found `61`: write 0 to 59" in done.stderr
    told = "1 job, 1 line not imported, each equal to its source, as cronie runs it"
    assert f"{root}/etc/cron.d/backup: {told}\n" in done.stderr
    assert done == run_import("--dry-run")
    diff = run_import("--diff")
    assert (1, before) == (diff.exit_code, content(root))
    assert f"--- /dev/null\n+++ {root}/jobqueue.d/cron.d-backup.yaml\n" in diff.stdout


def test_it_asks_whose_cron(root: Path, run_import: Import) -> None:
    """Which runs the table: that of the option, else the one that is installed, else Debian's."""
    (root / "etc/cron.d/backup").write_text("CRON_TZ=Asia/Tokyo\n30 2 * * * root x\n0 0 1 1 * nobody-here y\n")
    cronie = run_import("--as", "cronie")
    assert 0 == cronie.exit_code
    assert "etc/cron.d/backup: 2 jobs, each equal to its source, as cronie runs it" in cronie.stderr
    (root / "usr/sbin/crond").unlink()
    debian = run_import()
    assert (1, True) == (debian.exit_code, "because line 3 has an error: bad username nobody-here" in debian.stderr)
    copy = run_import("--kind", "system", str(root / "etc/cron.d/../cron.d/backup"))
    assert (1, True) == (copy.exit_code, ", because it ignores CRON_TZ" in copy.stderr)
    (root / "usr/sbin/crond").touch()
    assert cronie == run_import()
    (root / "usr/sbin/cron").touch()
    assert debian == run_import()


def test_a_user_in_a_users_table_is_told(root: Path, run_import: Import) -> None:
    """Only tables of the system have a column of users: cron would run a program `root`."""
    spool = root / "var/spool/cron/crontabs/daemon"
    spool.write_text("10 3 * * * root /opt/backup\n10 3 * * *\troot\t/opt/b\n10 3 * * * sh -c x\n10 3 * * * root\n")
    done = run_import(str(spool))
    assert (0, 2) == (done.exit_code, done.stderr.count("found the user"))
    told = "found the user root at the start of the command; use the command alone, because only system tables"
    assert f"{spool}:1: daemon-root: {told}" in done.stderr


def test_write_makes_job_files_that_are_checked(root: Path, run_import: Import) -> None:
    """As private as their source; once more changes nothing; what differs is not written over without --force."""
    done = run_import("--write")
    assert f"{root}/jobqueue.d/cron.d-backup.yaml: written" in done.stderr
    assert "unchanged; a cron that reads it runs these jobs a second time" in done.stderr
    modes = {path.name: path.stat().st_mode & 0o777 for path in (root / "jobqueue.d").iterdir()}
    assert {"cron.d-backup.yaml": 0o644, "crontab-daemon.yaml": 0o600} == modes
    with pytest.raises(SystemExit) as end:
        main(["--root", str(root), "check"])
    assert 0 == end.value.code
    assert f"{root}/jobqueue.d/cron.d-backup.yaml: unchanged" in run_import("--write").stderr
    (root / "jobqueue.d/cron.d-backup.yaml").write_text("jobs: {mine: {command: x}}\n")
    done = run_import("--write")
    assert (2, True) == (
        done.exit_code,
        "not written: it exists and differs; to compare, use --diff; to overwrite it, use --force" in done.stderr,
    )
    assert "mine" in (root / "jobqueue.d/cron.d-backup.yaml").read_text()
    assert "-jobs: {mine: {command: x}}\n" in run_import("--diff").stdout
    assert 1 == run_import("--write", "--force").exit_code
    assert "mine" not in (root / "jobqueue.d/cron.d-backup.yaml").read_text()


def test_ids_of_other_files_stay_theirs(root: Path, run_import: Import) -> None:
    """A job that has the name already keeps it."""
    (root / "jobqueue.d/own.yaml").write_text("jobs: {backup: {command: x}}\n")
    run_import("--write")
    assert "  backup-2:\n" in (root / "jobqueue.d/cron.d-backup.yaml").read_text()


def test_lines_that_are_jobs_now_become_comments(root: Path, run_import: Import) -> None:
    """Only these, with owner and mode as they were; a second import finds nothing to do."""
    table = root / "etc/cron.d/backup"
    table.chmod(0o640)
    before = table.stat()
    done = run_import("--write", "--disable-source")
    assert f"{table}: 1 line turned into comments" in done.stderr
    assert table.read_text() == TABLE.replace("30 2", "# moved to jobqueued: 30 2")
    after = table.stat()
    assert (before.st_uid, before.st_gid, before.st_mode) == (after.st_uid, after.st_gid, after.st_mode)
    assert {"backup", "daemon"} == {
        path.name for path in [*table.parent.iterdir(), *(root / "var/spool/cron/crontabs").iterdir()]
    }
    jobs = content(root / "jobqueue.d")
    run_import("--write", "--disable-source", "--force")
    assert jobs == content(root / "jobqueue.d")


def test_a_line_that_differs_stays_where_it_is(root: Path, run_import: Import) -> None:
    """It is a comment in the job file; the others are imported, unless Debian's cron would run none of them."""
    table = root / "etc/cron.d/backup"
    begin, differs, end = "@hourly root a\n", "# tea\nCRON_TZ=Asia/Tokyo\n@daily root b\n", "@hourly root c\n"
    table.write_text(begin + differs + end)
    words = ("--as", "debian", "--write", "--disable-source")
    done = run_import(*words)
    told = "2 jobs, 1 line not imported, each equal to its source, as Debian's cron runs it"
    assert (1, True) == (done.exit_code, f"{table}: {told}\n" in done.stderr)
    assert f"{table}:4: backup-b: differs: is due" in done.stderr
    moved = "# moved to jobqueued: "
    assert f"{moved}{begin}{differs}{moved}{end}" == table.read_text()
    written = (root / "jobqueue.d/cron.d-backup.yaml").read_text()
    assert "  # tea\n  # line 4 is not imported: @daily b\n\n  backup-c:" in written
    assert "command: b" not in written
    table.write_text(TABLE)
    done = run_import(*words, "--force")
    assert (1, TABLE) == (done.exit_code, table.read_text())
    refused = "differs: Debian's cron runs nothing of this table, because line 4 has an error: bad minute"
    assert f"{table}:4: {refused}" in done.stderr
    assert f"{table}: 0 jobs, 2 lines not imported\n" in done.stderr
    done = run_import(*words, "--force", "--accept-differences")
    assert f"{table}: 1 job, 1 line not imported\n" in done.stderr
    assert moved in table.read_text()


def test_a_job_that_is_refused_hides_no_difference(root: Path, run_import: Import) -> None:
    """Only its own line is left out, and the others are compared."""
    table = root / "etc/anacrontab"
    table.write_text("366 1 y true\n7 10 w true\n1 5 d true\n999 1 z true\n")
    done = run_import("--as", "debian", str(table))
    assert f"{table}:1: y: every: found '366d'; expected" in done.stderr
    assert f"{table}:2: w: differs: is due each Sunday, but anacron runs it 7 days after" in done.stderr
    assert f"{table}: 1 job, 3 lines not imported, each equal to its source\n" in done.stderr
    assert ["d"] == [line.strip(" :") for line in done.stdout.splitlines() if line in ("  y:", "  w:", "  d:", "  z:")]


def test_a_job_of_root_keeps_roots_groups(root: Path, run_import: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with cron and at; other users' jobs, and jobs with groups of their own, need no key for them."""
    monkeypatch.setattr(import_sources, "root_groups", lambda: ("root", "adm"))
    table = root / "etc/cron.d/backup"
    table.write_text("@hourly root a\n@hourly daemon b\n# jobqueue: {groups: [tape]}\n@hourly root c\n")
    job = root / "var/spool/cron/atjobs/a0000701e3d5a0"
    job.parent.mkdir()
    job.write_text(f"#!/bin/sh\n# atrun uid={os.getuid()} gid=0\n# mail root 0\nx\n")
    (root / "jobqueued.yaml").write_text("mail: {smtp: smtp://localhost}\n")
    own = ["groups: [root, adm]"] if os.getuid() == 0 else []
    for file, expected in ((table, ["groups: [root, adm]", "groups: [tape]"]), (job, own)):
        done = run_import(str(file))
        assert (0, expected) == (
            done.exit_code, [line.strip() for line in done.stdout.splitlines() if "groups" in line]
        )  # fmt: skip
        assert "each equal to its source" in done.stderr


def test_roots_groups_are_those_of_the_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host on which root is only in its primary group needs no key; a job file has only groups with names."""
    primary = pwd.getpwnam("root").pw_gid
    for gids, expected in (([primary], 0), ([primary, 1], 2), ([primary, 4_000_000_000], 1)):
        monkeypatch.setattr(os, "getgrouplist", lambda *_, gids=gids: gids)
        assert len(import_sources.root_groups()) == expected


def test_a_table_that_was_changed_meanwhile_is_left_alone(
    root: Path, run_import: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody has written into it since it was read is not lost."""
    table = root / "etc/cron.d/backup"
    write = import_jobs.atomic_file.replace

    def edited(path: str, data: bytes, mode: int) -> None:
        write(path, data, mode)
        table.write_text("# all new\n")

    monkeypatch.setattr(
        import_jobs, "atomic_file", SimpleNamespace(replace=edited, content=import_jobs.atomic_file.content)
    )
    done = run_import("--write", "--disable-source")
    assert (2, "# all new\n") == (done.exit_code, table.read_text())
    assert f"{table}: not changed, because another program changed it" in done.stderr


def test_a_disk_without_room_loses_neither_file(
    root: Path, run_import: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table stays as it is where its job file can't be written; it is said, and exits 2."""

    def full(_path: str, _data: bytes, _mode: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(
        import_jobs, "atomic_file", SimpleNamespace(replace=full, content=import_jobs.atomic_file.content)
    )
    before = content(root)
    done = run_import("--write", "--disable-source")
    assert (2, before) == (done.exit_code, content(root))
    assert "cron.d-backup.yaml: not written: No space left on device" in done.stderr


def test_a_live_table_is_not_run_twice(root: Path, run_import: Import) -> None:
    """With `cron: {live: true}` a table is imported only together with its end."""
    (root / "jobqueued.yaml").write_text("cron: {live: true}\n")
    done = run_import("--write")
    assert (2, {}) == (done.exit_code, content(root / "jobqueue.d"))
    assert "jobqueued already runs" in done.stderr
    assert 1 == run_import("--write", "--disable-source").exit_code


def test_a_job_of_at_is_never_live(root: Path, run_import: Import) -> None:
    """With `cron: {live: true}`, too, it is imported without more ado, and named without --kind."""
    (root / "jobqueued.yaml").write_text("cron: {live: true}\n")
    job = root / "var/spool/cron/atjobs/a0000701e3d5a0"
    job.parent.mkdir()
    job.write_text(f"#!/bin/sh\n# atrun uid={os.getuid()} gid=0\n# mail root 0\nx\n")
    assert 0 == run_import("--write", str(job)).exit_code
    assert {"at-a0000701e3d5a0.yaml"} == {*content(root / "jobqueue.d")}


def test_tables_that_cron_would_not_trust_are_not_imported(root: Path, run_import: Import) -> None:
    """Links, files that others may write, tables of somebody else; they are named, and exits 2."""
    (root / "etc/cron.d/backup").chmod(0o666)
    (root / "etc/cron.d/link").symlink_to("/nowhere")
    os.link(root / "var/spool/cron/crontabs/daemon", root / "var/spool/cron/crontabs/bin")
    done = run_import("--write")
    assert (2, {}) == (done.exit_code, content(root / "jobqueue.d"))
    for name in ("etc/cron.d/backup", "etc/cron.d/link", "var/spool/cron/crontabs/bin"):
        assert f"{root}/{name}: found" in done.stderr


def test_json_has_each_line_in_order(root: Path, run_import: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file, or of the standard input; a user's own table has its user for each job."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"A=1\n@daily echo x%y\n0 0\n")))
    done = run_import("--kind", "user", "--user", "alice", "-", "--json")
    document = json.loads(done.stdout)
    assert [(1, "env"), (2, "job"), (3, "error")] == [(row["line"], row["type"]) for row in document["entries"]]
    job = document["entries"][1]
    assert ("alice", "@daily", "echo x", "y\n", {"A": "1"}, "alice-echo", []) == tuple(
        job[key] for key in ("user", "schedule", "command", "stdin", "environment", "id", "notes")
    )
    assert (1, "bad day-of-month") == (done.exit_code, document["entries"][2]["reason"])
    assert "alice-echo:" in document["files"][0]["text"]
    table = root / "table"
    table.write_text(TABLE)
    (_, first, _) = json.loads(run_import(str(table), "--kind", "system", "--json").stdout)["entries"]
    assert ("root", "30 2 * * *") == (first["user"], first["schedule"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--disable-source",), "--disable-source needs --write"),
        (("--write", "--diff"), "expected only one of --dry-run, --diff and --write"),
        (("--kind", "user"), "--kind needs a FILE"),
        (("--user", "x", "f"), "--user needs --kind user"),
        (("f",), "f does not exist"),
        (("/etc/passwd",), "the name of /etc/passwd does not show its format; add --kind user, or --kind system"),
        (("/nowhere/f", "--kind", "user"), "/nowhere/f: cannot be read: No such file or directory"),
    ],
)
def test_wrong_usage_is_told(run_import: Import, words: tuple[str, ...], said: str) -> None:
    """With what is right."""
    done = run_import(*words)
    assert (2, True) == (done.exit_code, said in done.stderr)


@pytest.mark.parametrize(
    "data",
    [b"", b"\0\0\0", b"\xff\xfe@daily x\n", b"* " * 2_000_000, b"* * * * * " + b"x" * 200_000 + b"\n", b"@daily x\r\n",
     b"0 0 0\n" * 30_000, b"@daily x\n" * 3000],
    ids=["empty", "nul", "latin", "fields", "long", "dos", "errors", "many"],
)  # fmt: skip
def test_whatever_a_table_has_is_told_in_sentences(root: Path, run_import: Import, data: bytes) -> None:
    """No traceback, no hang, and no job file that the daemon would refuse."""
    table = root / "table"
    table.write_bytes(data)
    done = run_import("--write", "--kind", "user", str(table))
    assert done.exit_code in (0, 1)
    assert "Traceback" not in done.stderr
    with pytest.raises(SystemExit) as end:
        main(["--root", str(root), "check"])
    assert 0 == end.value.code


def test_what_was_imported_can_be_exported(root: Path, run_import: Import, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a loss, and the crontab has the same jobs; one that has more than cron knows is told on stderr."""
    run_import("--write")
    with pytest.raises(SystemExit) as end:
        main(["--root", str(root), "export", "--crontab"])
    table = capsys.readouterr()
    assert (0, "") == (end.value.code, table.err)
    assert "\n30 2 * * * root /opt/backup --full >>/var/log/b 2>&1\n" in table.out
    assert "\n0 0 * * * daemon touch /tmp/never" in table.out
    (root / "jobqueue.d/own.yaml").write_text("jobs: {own: {command: x, schedule: '@daily', timeout: 1h}}\n")
    with pytest.raises(SystemExit) as end:
        main(["--root", str(root), "export", "own", "--crontab"])
    told = capsys.readouterr()
    assert (1, True) == (end.value.code, "own: cron has no `timeout`\n" in told.err)
    assert "\n# not in this crontab: cron has no `timeout`\n" in told.out
    assert "/opt/backup" not in told.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--crontab", "--otlp"), "choose one format: --otlp, --chrome-trace or --crontab"),
        (("--crontab", "--since", "1h"), "--crontab exports jobs, not runs"),
        (("nothing", "--crontab"), "no such job in"),
    ],
)
def test_wrong_usage_of_export_is_told(
    root: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    """With what is right."""
    with pytest.raises(SystemExit) as end:
        main(["--root", str(root), "export", *words])
    assert (2, True) == (end.value.code, said in capsys.readouterr().err)


def test_anacron_at_and_timers_are_sources_too(root: Path, run_import: Import) -> None:
    """Each becomes a job file; what can't be a comment is switched off by a command, which is told."""
    (root / "etc/anacrontab").write_text("1\t5\tdump\t/opt/dump\n")
    spool = root / "var/spool/cron/atjobs"
    spool.mkdir()
    job = spool / "a0000701e3d5a0"
    job.write_text(
        f"#!/bin/sh\n# atrun uid={os.getuid()} gid=0\n# mail root 0\numask 22\ncd / || {{\n\techo no\n\texit 1\n}}\nx\n"
    )
    (spool / "=0000801e3d5a0").write_text("runs already")
    (root / "x.timer").write_text("[Timer]\nOnCalendar=Mon 04:00\n")
    (root / "x.service").write_text("[Service]\nExecStart=/bin/x\nPrivateTmp=true\n")
    (root / "x.service.d").mkdir()
    (root / "x.service.d/own.conf").write_text("[Service]\nUser=daemon\n")
    done = run_import("--write", "--disable-source", "--as", "debian")
    assert f"{job}: unchanged; to switch it off: atrm 7" in done.stderr
    assert "# moved to jobqueued: 1\t5\tdump" in (root / "etc/anacrontab").read_text()
    done = run_import("--write", str(root / "x.timer"))
    assert f"{root}/x.timer: 1 job, equal to its source except for the differences above" in done.stderr
    assert f"{root}/x.timer: unchanged; to switch it off: systemctl disable --now x.timer" in done.stderr
    own = root / ".config/systemd/user"
    own.mkdir(parents=True)
    for unit in ("x.timer", "x.service"):
        (own / f"own-{unit}").write_text((root / unit).read_text())
    done = run_import("--write", str(own / "own-x.timer"))
    assert f"{own}/own-x.timer: unchanged; to switch it off: systemctl --user disable --now own-x.timer" in done.stderr
    files = content(root / "jobqueue.d")
    assert {"anacrontab.yaml", "at-a0000701e3d5a0.yaml", "timer-x.yaml"} < {*files}
    assert 'schedule: "0 4 * * mon"' in files["timer-x.yaml"]
    assert "user: daemon" in files["timer-x.yaml"]
    with pytest.raises(SystemExit) as end:
        main(["--root", str(root), "check"])
    assert 0 == end.value.code


def test_a_job_of_at_that_names_another_user_is_not_imported(root: Path, run_import: Import) -> None:
    """Only the owner of its file can have given it."""
    job = root / "var/spool/cron/atjobs/a0000701e3d5a0"
    job.parent.mkdir()
    job.write_text("#!/bin/sh\n# atrun uid=54321 gid=0\n# mail root 0\nx\n")
    done = run_import("--write", str(job))
    assert (2, True) == (done.exit_code, f"{job}: found a UID in the file that is not" in done.stderr)
    assert "at-a0000701e3d5a0.yaml" not in content(root / "jobqueue.d")


def test_a_table_that_cannot_be_replaced_stays_and_nothing_else_does(
    root: Path, run_import: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither half a table nor a file beside it; it is said that its jobs are in two places."""

    def refused(*_: object) -> None:
        raise PermissionError(1, os.strerror(1))

    monkeypatch.setattr(os, "chown", refused)
    done = run_import("--write", "--disable-source")
    table = root / "etc/cron.d/backup"
    assert (2, TABLE, ["backup"]) == (done.exit_code, table.read_text(), os.listdir(table.parent))
    assert f"{table}: not changed: Operation not permitted; its jobs now run twice" in done.stderr


def test_at_a_terminal_a_long_comparison_tells_how_far_it_is(
    root: Path, run_import: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in a pipe, and not for a few jobs."""
    (root / "many").write_text("".join(f"{n % 60} 1 1 1 * x{n}\n" for n in range(120)))
    words = ("--kind", "user", "--user", "root")
    assert "Comparing" not in run_import(*words, str(root / "many")).stderr
    monkeypatch.setattr(import_jobs, "_is_at_terminal", lambda: True)
    shown = run_import(*words, str(root / "many"))
    assert (0, True) == (shown.exit_code, "Comparing with the source" in shown.stderr)
    (root / "few").write_text("1 1 1 1 * x\n")
    assert "Comparing" not in run_import(*words, str(root / "few")).stderr


def test_below_a_root(tmp_path: Path) -> None:
    """Where there is nothing, that is said; tables of the host's own cron are known by their places, too."""
    shown = run("--root", tmp_path, "import")
    assert (0, "", f"no cron, anacron or at tables below {tmp_path}\n") == (
        shown.returncode, shown.stdout, shown.stderr
    )  # fmt: skip
    assert {Path("/etc/cron.d"), tmp_path / "etc/cron.d"} <= set(kinds_of_host(Paths.under(tmp_path)))
