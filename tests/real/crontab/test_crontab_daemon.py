"""crontab(1) of an ordinary user, by a daemon of root's: one's own table and no other, whoever dies on the way."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jobqueued.child.spool.spool import LARGEST_SENT, PLACE
from tests.support.crontabs import Calls, Told, crontab, editor, listening, spooled, terminal
from tests.support.host import Host, wait_for
from tests.support.stranger import as_user, public
from tests.support.users import NEEDS_ROOT, OTHER, STRANGER

TABLE = "# mine\n@daily true\n"
NONE = Told(1, "", f"no crontab for {OTHER}\n")
NO_SUCH = {"error": "io.jobqueue.NoCrontab", "user": OTHER}

pytestmark = NEEDS_ROOT


@pytest.fixture(scope="module")
def site() -> Iterator[Host]:
    """A daemon whose place everybody may enter, and that runs crontabs."""
    with public() as directory:
        host = Host(directory / "host")
        host.root.chmod(0o755)
        (host.root / "jobqueued.yaml").write_text("cron: {live: true}\ntimezone: UTC\n")
        try:
            host.start()
            yield host
        finally:
            host.close()


@pytest.fixture
def call(site: Host) -> Iterator[Calls]:
    """The program as another user has it."""
    yield partial(crontab, site.root, uid=STRANGER)
    for path in (site.root / PLACE).glob("*"):
        path.unlink()
    for path in (site.root / "etc").glob("cron.*"):
        path.unlink()


def asked(site: Host, method: str, **parameters: Any) -> Any:
    """The daemon's answer to that user, without the program."""
    return as_user(STRANGER, lambda: site.call(method, **parameters))


def jobs(site: Host) -> list[str]:
    return [row["id"] for row in site.call("List")["jobs"]]


def test_the_life_of_a_users_table(site: Host, call: Calls) -> None:
    """It is the user's file, its jobs are there at once, and go with it."""
    assert NONE == call("-l") == call("-r")
    assert Told(0, "", "") == call("-", text=TABLE)
    assert (Told(0, TABLE, ""), Told(0, TABLE, "")) == (call("-l"), call("-lu", OTHER))
    found = (site.root / PLACE / OTHER).stat()
    assert (STRANGER, 0o100600) == (found.st_uid, found.st_mode)
    wait_for(lambda: [job for job in jobs(site) if job.startswith(f"crontabs/{OTHER}:")], why="its job")
    assert (Told(0, "", ""), NONE) == (call("-r"), call("-l"))
    wait_for(lambda: not jobs(site), why="no job")


def test_an_edit_by_the_daemon(call: Calls) -> None:
    """As with root's."""
    with public() as directory:
        (directory / "tmp").mkdir()
        (directory / "tmp").chmod(0o1777)
        program = editor(directory, 'echo "@daily x" >"$1"')
        told = call("-e", EDITOR=program, TMPDIR=str(directory / "tmp"))
        err = f"no crontab for {OTHER} - using an empty one\ncrontab: installing new crontab\n"
        assert Told(0, "", err) == told
    assert "@daily x\n" == call("-l").out


def test_a_table_of_any_bytes_and_size(call: Calls) -> None:
    """It comes and goes in many messages; above the limit it is refused, which says so, and of root it is taken."""
    large = b"".join(b"# %d \xe4\0%s\n" % (number, b"x" * 200) for number in range(600))
    assert 100_000 < len(large) < LARGEST_SENT
    assert 0 == call("-", text=large).status
    assert large == call("-l").out.encode(errors="surrogateescape")
    told = call("-", text=large + large)
    assert (1, True) == (told.status, told.err.endswith("; expected at most 128 KiB; root may install more\n")), told
    assert 0 == call("-", text=large + large, uid=None).status


def test_no_table_of_others(site: Host, call: Calls) -> None:
    """Neither by the program, nor by a call of one's own; root may."""
    told = Told(1, "", "must be privileged to use -u\n")
    assert told == call("-u", "root", "-l") == call("-u", "root", "-", text=TABLE)
    for method, more in (("CrontabGet", {}), ("CrontabSet", {"table": ""}), ("CrontabRemove", {})):
        assert {"error": "io.jobqueue.PermissionDenied"} == asked(site, method, user="root", **more)
        assert "Refused" in asked(site, method, user="../../../etc/passwd", **more)["error"]
    assert {"live": True} == site.call("CrontabSet", table="", user=OTHER)
    assert {"table": ""} == {k: v for k, v in site.call("CrontabGet", user=OTHER).items() if k != "stamp"}
    assert ({}, NO_SUCH) == (site.call("CrontabRemove", user=OTHER), site.call("CrontabRemove", user=OTHER))
    assert {} == spooled(site.root)


@pytest.mark.parametrize("lists", [{"allow": "root\n"}, {"deny": f"{OTHER}\n"}])
def test_who_may_not(site: Host, call: Calls, lists: dict[str, str]) -> None:
    """cron.allow and cron.deny are read where the table is, so no other client gets past them."""
    (site.root / "etc").mkdir(exist_ok=True)
    for name, text in lists.items():
        (site.root / "etc" / f"cron.{name}").write_text(text)
    text = "You (nobody) are not allowed to use this program (crontab)\nSee crontab(1) for more information\n"
    assert Told(1, "", text) == call("-l") == call("-", text=TABLE)
    assert {"error": "io.jobqueue.NotAllowed", "user": OTHER} == asked(site, "CrontabSet", table="")
    assert {} == spooled(site.root)


def test_syslog_is_told_who_it_was(site: Host, call: Calls) -> None:
    """By the daemon's side: what a client says of itself can't change it; only the end of an edit is its word."""
    (site.root / "etc").mkdir(exist_ok=True)
    with listening(site.root) as told:
        call("-l")
        call("-", text=TABLE)
        call("-e", EDITOR="true")
        asked(site, "CrontabSet", table="", user="root")
        site.call("CrontabGet", user=OTHER)
        call("-r")
        call("-r")
        (site.root / "etc/cron.allow").touch()
        call("-l")
        lines = [line.partition("]: ")[2] for line in told()]
    acts = [f"({OTHER}) {act} ({OTHER})" for act in ("LIST", "REPLACE", "BEGIN EDIT", "END EDIT", "DELETE")]
    acts[4:4] = [f"(root) LIST ({OTHER})"]
    assert [*acts, f"({OTHER}) AUTH (crontab command not allowed)"] == lines


def test_calls_that_make_no_sense(site: Host) -> None:
    """No base64, too much, a stamp that is none, a user without a name: each is refused."""
    assert "InvalidParameter" in asked(site, "CrontabSet", table="?")["error"]
    too_much = asked(site, "CrontabSet", table="A" * 4 * (LARGEST_SENT // 3 + 1))
    assert too_much["reason"].endswith("expected at most 128 KiB; root may install more")
    assert {"error": "io.jobqueue.CrontabChanged"} == asked(site, "CrontabSet", table="", stamp="1")
    nameless = as_user(54321, lambda: site.call("CrontabGet"))
    assert {"error": "io.jobqueue.Refused", "reason": "this host has no user with the uid 54321"} == nameless


def test_a_link_under_ones_name(site: Host, call: Calls) -> None:
    """Whoever has put it there, nothing is read through it."""
    call("-", text=TABLE)
    place = site.root / PLACE / OTHER
    place.unlink()
    place.symlink_to("/etc/shadow")
    status, out, err = call("-l")
    assert (1, "") == (status, out)
    assert err == f"crontab: refused: {place}: found a symbolic link; expected a regular file; as root: rm {place}\n"
    assert 1 == call("-", text=TABLE).status == call("-r").status


def test_two_at_once(site: Host, call: Calls) -> None:
    """Each gets its turn; at the end there is one table, whole."""
    tables = [f"# {number}\n" * 2000 for number in range(4)]
    children = []
    for text in tables:
        if not (pid := os.fork()):
            os._exit(call("-", text=text).status)
        children.append(pid)
    assert {0} == {os.waitpid(pid, 0)[1] for pid in children}
    assert call("-l").out in tables
    assert [OTHER] == os.listdir(site.root / PLACE)


def test_a_daemon_that_is_down() -> None:
    """Root does without it; who is not root is told what is missing."""
    with public() as directory:
        down = (
            f"crontab: cannot reach the daemon at {directory}/run/control: it is not running\n"
            "crontab: nothing was changed, because"
            f" ordinary users need the daemon for this; to start it, as root: jobqueued --root {directory}\n"
        )
        call = partial(crontab, directory, uid=STRANGER)
        assert {Told(1, "", down)} == {call("-l"), call("-r"), call("-ir"), call("-e", EDITOR="false"), call("-")}


def test_a_daemon_that_goes_down_during_an_edit() -> None:
    """At a terminal: the edit is in a file that is named, and can be installed from there."""
    with public() as directory:
        host = Host(directory / "host")
        host.root.chmod(0o755)
        (host.root / "jobqueued.yaml").write_text("cron: {live: true}\n")
        (directory / "tmp").mkdir()
        (directory / "tmp").chmod(0o1777)
        program = editor(directory, 'echo "@daily x" >"$1"; echo ready; read word')
        try:
            host.start()
            with terminal(host.root, "-e", uid=STRANGER, EDITOR=program, TMPDIR=str(directory / "tmp")) as screen:
                screen.until("ready")
                host.stop()
                screen.type("\n")
                status, shown = screen.end()
            *_, why, remedy, where = shown.splitlines()
            assert (1, True) == (status, why.endswith("it is not running"))
            assert remedy.endswith(f"as root: jobqueued --root {host.root}")
            (copy,) = (directory / "tmp").glob("*/crontab")
            assert f"crontab: edits left in {copy}" == where
            host.start()
            assert Told(0, "", "") == crontab(host.root, str(copy), uid=STRANGER)
            assert {OTHER: "@daily x\n"} == spooled(host.root)
        finally:
            host.close()


@pytest.mark.parametrize("who", ["launcher", "supervisors"])
def test_sigkill_on_the_way(site: Host, call: Calls, who: str) -> None:
    """While a call waits for the lock of the spool, who carries it out dies: it is told, the old table is there, and
    the next call goes through."""
    call("-", text=TABLE)
    directory = os.open(site.root / PLACE, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    reading, writing = os.pipe()
    if not (pid := os.fork()):
        os.write(writing, call("-", text="# new\n").err.encode())
        os._exit(0)
    os.close(writing)
    wait_for(lambda: waits_for_a_lock(site), why="the lock")
    for victim in waits_for_a_lock(site) if who == "supervisors" else [launcher_of(site)]:
        os.kill(victim, signal.SIGKILL)
    os.close(directory)
    with open(reading) as file:
        told = file.read()
    os.waitpid(pid, 0)
    assert told.startswith("crontab: refused: it is unknown whether this was done: its "), told
    assert told.endswith("; to check: crontab -l\n")
    wait_for(lambda: site.call("Status")["launcher"], why="a launcher")
    assert call("-l").out in ((TABLE,) if who == "supervisors" else (TABLE, "# new\n"))
    assert Told(0, "", "") == call("-", text="# newer\n")
    assert {OTHER: "# newer\n"} == spooled(site.root)


def waits_for_a_lock(site: Host) -> list[int]:
    """The supervisors that wait for a lock (proc(5), locks)."""
    waiting = {int(line.split()[5]) for line in Path("/proc/locks").read_text().splitlines() if " -> " in line}
    return [pid for pid in site.small_ones() if pid in waiting]


def launcher_of(site: Host) -> int:
    return next(pid for pid in site.small_ones() if b"launcher" in Path(f"/proc/{pid}/comm").read_bytes())
