"""jobqueuectl check of cron's tables, without the daemon: what is wrong, with file and line, and the exit code."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from jobqueued.ctl.main import main
from tests.support.stranger import as_user, public
from tests.support.users import ME, NEEDS_ROOT, STRANGER

Check = Callable[..., "Done"]
IS_BAD = (
    "minute: found `61`: write 0 to 59, a range `a-b`, or `*`; `/step` may follow a range or `*`; this line is not run"
)


class Done(NamedTuple):
    """What a call came to."""

    exit_code: int
    lines: list[str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host that runs cron's tables, one of each place."""
    for name in ("jobqueue.d", "etc/cron.d", "var/spool/cron/crontabs"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "var/spool/cron/crontabs").chmod(0o1730)
    (tmp_path / "jobqueued.yaml").write_text("cron: {live: true}\nmail: {sendmail: /nowhere}\n")
    (tmp_path / "etc/crontab").write_text(f"@reboot {ME.pw_name} true\n")
    (tmp_path / "etc/passwd").write_text("no table\n")
    (tmp_path / "etc/cron.d/x").write_text(f"@reboot {ME.pw_name} true\n")
    own = tmp_path / "var/spool/cron/crontabs" / ME.pw_name
    own.write_text("@reboot true\n")
    own.chmod(0o600)
    return tmp_path


@pytest.fixture
def check(root: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    return lambda *words: _checked(root, [*map(str, words)], capsys)


def _checked(root: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> Done:
    with pytest.raises(SystemExit) as end:
        main(["--root", str(root), "check", *words])
    assert isinstance(end.value.code, int)
    return Done(end.value.code, capsys.readouterr().out.splitlines())


def test_good_tables(root: Path, check: Check) -> None:
    """Each alone, in their directories, and all that the daemon reads; without the key, those are its job files."""
    tables = ("etc/crontab", "etc/cron.d/x", f"var/spool/cron/crontabs/{ME.pw_name}")
    for table in (*tables, "etc/cron.d", "var/spool/cron/crontabs"):
        assert (0, "1 job, 0 problems") == (check(root / table).exit_code, check(root / table).lines[-1])
    (root / "etc/anacrontab").write_text("1 5 daily true\n")
    (root / "jobqueue.d/a.yaml").write_text("jobs: {a: {command: 'true'}}")
    assert "5 jobs, 0 problems" == check().lines[-1]
    (root / "jobqueued.yaml").write_text("mail: {sendmail: /nowhere}\n")
    assert "1 job, 0 problems" == check().lines[-1]
    assert "3 jobs, 0 problems" == check(*(root / table for table in tables)).lines[-1]


def test_nothing_is_left_open(root: Path, check: Check) -> None:
    """Nobody waits here for a change of the scripts, so nothing watches them."""
    (root / "jobqueued.yaml").write_text("cron: {live: true, expand: true}\n")
    (root / "etc/crontab").write_text(f"@daily {ME.pw_name} run-parts {root}/etc\n")
    before = os.listdir("/proc/self/fd")
    check()
    assert before == os.listdir("/proc/self/fd")


@pytest.mark.parametrize("table", ["etc/crontab", "etc/cron.d/x"])
def test_a_line_with_an_error(root: Path, check: Check, table: str) -> None:
    """It is told with file and line, and is an error, though the others count."""
    with open(root / table, "a") as file:
        file.write(f"# jobqueue: {{user: x}}\n@daily {ME.pw_name} true\n61 * * * * {ME.pw_name} true\n")
    accepted = "a key that neither the line nor a variable above it sets"
    bad = f"{root}/{table}:2:14: user: found the key 'user'; expected {accepted}; its job is not run [JQ606]"
    for words in (root / table,), ():
        exit_code, lines = check(*words)
        assert (1, [bad, f"{root}/{table}:4: {IS_BAD} [JQ601]"]) == (exit_code, lines[:2])


def test_what_can_not_run_here(root: Path, check: Check) -> None:
    """A user that does not exist: an exit code of 1, as for job files; a program that is missing is a warning."""
    (root / "etc/cron.d/x").write_text("@daily no-such-user true\n")
    exit_code, lines = check(root / "etc/cron.d/x")
    assert (1, True) == (exit_code, "without it the job will not run (warning)" in lines[0]), lines
    (root / "etc/cron.d/x").write_text(f"@daily {ME.pw_name} no-such-program\n")
    exit_code, lines = check(root / "etc/cron.d/x")
    assert (0, True) == (
        exit_code,
        lines[0].endswith("its full path, or `PATH=…` above its line (warning) [JQ507]"),
    ), lines


@NEEDS_ROOT
@pytest.mark.parametrize("users", ["{deny: [USER]}", "{allow: [root]}"])
def test_a_user_who_may_not_have_jobs(root: Path, check: Check, users: str) -> None:
    """It is an error of the user's table, told once, as the daemon runs nothing of it; a table of the system runs."""
    user, _, uid, gid, *_ = pwd.getpwnam("daemon")
    (root / "jobqueued.yaml").write_text(
        f"cron: {{live: true}}\nmail: {{sendmail: /nowhere}}\nusers: {users.replace('USER', user)}\n"
    )
    table = root / "var/spool/cron/crontabs" / user
    table.write_text("@reboot true\n@daily true\n")
    table.chmod(0o600)
    os.chown(table, uid, gid)
    (root / "etc/cron.d/x").write_text(f"@reboot {user} true\n")
    why = (
        f"user {user!r} can't have jobs here, because of `users:"
        f" {{{users[1:].partition(':')[0]}: …}}` in jobqueued.yaml"
    )
    for words in (table,), ():
        exit_code, lines = check(*words)
        assert (1, [f"{table}: {why} [JQ214]"]) == (exit_code, [line for line in lines if "[JQ" in line])
    assert 0 == check(root / "etc/cron.d/x").exit_code


def test_what_cron_does_not_read(root: Path, check: Check) -> None:
    """By its name, by its mode or owner, or since it is not there."""
    (root / "etc/cron.d/x").chmod(0o666)
    (root / "etc/cron.d/backup.sh").write_text("@daily root true\n")
    exit_code, lines = check(root / "etc/cron.d")
    assert (1, 2) == (exit_code, sum("is not read, as in cron" in line or "chmod go-w" in line for line in lines)), (
        lines
    )
    assert 0 == check(root / "etc/cron.d/backup.sh").exit_code
    (root / "etc/cron.d/lost").symlink_to("nowhere")
    assert "found a broken link" in check(root / "etc/cron.d/lost").lines[0]
    assert 2 == check(root / "etc/cron.d/none").exit_code


def test_a_directory_that_others_may_change(root: Path, check: Check) -> None:
    """The daemon believes nothing in it."""
    (root / "etc/cron.d").chmod(0o777)
    assert (1, True) == (check(root / "etc/cron.d").exit_code, f"{root}/etc/cron.d: found " in check().lines[0])


@NEEDS_ROOT
def test_somebody_who_may_not_read_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Is told that, and nothing of the daemon's own rights; the exit code is 2."""
    with public() as directory:
        spool, table = directory / "var/spool/cron/crontabs", directory / "etc/cron.d/x"
        for place in (spool, table.parent):
            place.mkdir(parents=True)
        spool.chmod(0o1730)
        table.write_text("@daily root true\n")
        table.chmod(0o600)

        def told(path: Path) -> Done:
            return _checked(directory, [str(path)], capsys)

        for path in (spool, table, spool / "root"):
            exit_code, lines = as_user(STRANGER, lambda path=path: told(path))
            assert (2, f"{path}: cannot be read: Permission denied [JQ501]") == (exit_code, lines[0]), lines
