"""Processes that connect as fast as they can: root and operators always get in, others within their timeout."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import jobqueued.settings.instance
from jobqueued.child.contract import unix_socket
from jobqueued.control.protocol.access import Rank
from jobqueued.control.protocol.varlink import encode
from jobqueued.control.server import PLACES
from jobqueued.ctl.base.client import CallRefused, DaemonUnreachable, ask
from tests.support.client import run
from tests.support.host import Host, wait_for
from tests.support.stranger import as_user, become, public
from tests.support.users import NEEDS_ROOT

assert jobqueued.settings.instance  # a process of another user may be unable to load it
OPERATORS = 1
"""The group `daemon`, which every Debian has."""
FIRST = 70_001
"""Users that no host has."""
NAMED = 2
"""A user that every Debian has."""
CALLS = 20


def connects(control: str) -> None:
    """Connect, without waiting, for ever."""
    held: list[socket.socket] = []
    while True:
        held.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
        held[-1].connect_ex(control)
        del held[: -500 if len(held) > 800 else -800]


def asks(control: str) -> None:
    """Hold as many connections as one may have, and ask on each of them, for ever."""
    call, held = encode({"method": "io.jobqueue.Status"}), list[socket.socket]()
    while True:
        while len(held) < PLACES[Rank.STRANGER].of_a_user:
            held.append(socket.socket(socket.AF_UNIX))
            held[-1].connect(control)
        for peer in list(held):
            try:
                peer.sendall(call)
                if not peer.recv(1 << 16).startswith(b'{"parameters"'):
                    held.remove(peer)
            except OSError:
                held.remove(peer)


@contextmanager
def storm(control: Path, what: Callable[[str], None], *uids: int) -> Iterator[None]:
    """Processes of these users that do this."""
    pids = []
    try:
        for uid in uids:
            pids.append(os.fork())
            if not pids[-1]:
                try:
                    become(uid)
                    signal.alarm(100)
                    what(str(control))
                finally:
                    os._exit(1)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@pytest.fixture
def host() -> Iterator[Host]:
    """A daemon that every user may reach, whose operators are a group."""
    with public() as root:
        host = Host(root / "host")
        (host.root / "jobqueued.yaml").write_text("operators: [daemon]\n")
        host.start()
        (host.root / "run").chmod(0o755)
        yield host
        host.close()


def is_full(control: Path) -> bool:
    """Whether nobody can connect at once."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as peer:
        try:
            peer.connect(str(control))
        except BlockingIOError:
            return True
        return False


def answers(control: Path, count: int) -> list[str]:
    """What Status answers, asked so often."""
    found = []
    for _ in range(count):
        try:
            found.append(ask(control, "Status")["state"])
        except (CallRefused, DaemonUnreachable) as error:
            found.append(error.message)
    return found


@NEEDS_ROOT
@pytest.mark.parametrize("uids", [[FIRST], [FIRST, FIRST + 1, FIRST + 2]])
def test_a_storm(uids: list[int], host: Host) -> None:
    """Whatever others do, each call of root's and of an operator's is answered at once, and those of others in time."""
    control = host.root / "run/control"
    with storm(control, connects, *uids):
        wait_for(lambda: is_full(control))
        assert ["ok"] * CALLS == answers(control, CALLS)
        assert ["ok"] * CALLS == as_user(NAMED + 1, lambda: answers(control, CALLS), OPERATORS)
        assert ["ok"] * 3 == as_user(NAMED, lambda: answers(control, 3))


@NEEDS_ROOT
def test_no_other_socket(host: Host) -> None:
    """Of all sockets that there are while runs live, or have left something, other users can connect to one."""
    host.write("job.yaml", "jobs: {live: {command: sleep 600}, left: {command: sleep 600 &, leave_children: true}}")
    run, left = host.run("live"), host.run("left")
    assert host.wait(left)["state"] == "succeeded"
    wait_for(lambda: host.call("Show", run=run)["record"]["pid"])
    sockets = sorted(str(path) for path in host.root.rglob("*") if path.is_socket())
    assert len(sockets) == 5, sockets

    def open_to_us() -> list[str]:
        found = []
        for path in sockets:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as peer:
                found += [path] if by_path(path, peer) == 0 else []
        return found

    assert [str(host.root / "run/control")] == as_user(NAMED, open_to_us)


def by_path(path: str, peer: socket.socket) -> int:
    """The error of a connection to a socket, however long its path is; 0: there is none."""
    try:
        unix_socket.connect(peer, path)
    except OSError as error:
        return error.errno or -1
    return 0


@NEEDS_ROOT
def test_many_numbers_without_a_name(host: Host) -> None:
    """Users whom the host does not know share the places of one: whoever owns many numbers keeps nobody out."""
    control = host.root / "run/control"
    with storm(control, asks, *range(FIRST, FIRST + 12)):
        wait_for(lambda: is_turned_away(FIRST + 100, control))
        assert ["ok"] * CALLS == as_user(NAMED, lambda: answers(control, CALLS))


def is_turned_away(uid: int, control: Path) -> bool:
    """Whether there is no place for a user now."""
    call = encode({"method": "io.jobqueue.Status"})

    def told() -> str:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(control))
            with contextlib.suppress(BrokenPipeError):
                peer.sendall(call)
            return peer.recv(1 << 16).decode()

    return "without a name on this host have" in as_user(uid, told)


def test_a_crowded_daemon_is_not_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody is accepted, as a daemon stands still, a command waits in vain, and does not say that it is down."""
    monkeypatch.setattr(ask, "__defaults__", (0.5,))
    (tmp_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as stuck, socket.socket(socket.AF_UNIX) as first:
        stuck.bind(str(tmp_path / "run/control"))
        stuck.listen(0)
        first.connect(str(tmp_path / "run/control"))
        with pytest.raises(DaemonUnreachable) as found:
            ask(tmp_path / "run/control", "Status")
        assert ("no answer in time" in found.value.message, found.value.is_down) == (True, False)
        json_told, told = (run("--root", str(tmp_path), "status", *words) for words in (["--json"], []))
    document = json.loads(json_told.stdout)
    assert ("unknown", True) == (document["state"], "no answer in time" in document["reason"])
    assert (2, 2, True, False) == (
        json_told.returncode,
        told.returncode,
        "unknown" in told.stdout,
        "down" in told.stdout,
    )
