"""What PID 1 is told, by a clock of the test's own."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobqueued.base.instants import SECOND
from jobqueued.host.sd_notify import ServiceManager
from jobqueued.state import record_files
from jobqueued.state.takeover import PART
from tests.support.host import DEADLINE, Host
from tests.support.records import a_record


@pytest.fixture
def notices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket that PID 1 reads."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listener:
        listener.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


def told(notices: socket.socket) -> list[str]:
    """Everything that was said meanwhile."""
    found = []
    while True:
        try:
            found.append(notices.recv(4096).decode())
        except BlockingIOError:
            return found


def test_the_status_is_told_once_a_second_at_most(notices: socket.socket) -> None:
    """What changes meanwhile is told when the second is over; what does not change is not told, and not waited for."""
    manager = ServiceManager()
    manager.tell_ready("a")
    manager.follow(0, lambda: "b")
    manager.follow(SECOND // 2, lambda: "c")
    assert (["READY=1\nSTATUS=a", "STATUS=b"], SECOND) == (told(notices), manager.deadline)
    manager.follow(SECOND, lambda: "c")
    assert (["STATUS=c"], None) == (told(notices), manager.deadline)
    manager.follow(5 * SECOND, lambda: "c")
    assert ([], None) == (told(notices), manager.deadline)


@pytest.mark.parametrize(("pid", "expected"), [(None, SECOND // 2), ("ours", SECOND // 2), ("1", None)])
@pytest.mark.usefixtures("notices")
def test_how_often_the_watchdog_is_fed(monkeypatch: pytest.MonkeyPatch, pid: str | None, expected: int | None) -> None:
    """Twice as often as asked, and only if we are who is watched."""
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    if pid:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "ours" else pid)
    assert expected == ServiceManager().watchdog


def test_a_start_that_takes_long(tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """With each part of the records that are taken over PID 1 is told to wait on: a start has 90 s by default."""
    for number in range(1, 2 * PART + 2):
        record_files.write(host.root / "logs", a_record(number))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(DEADLINE)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        host.start()
        longer = "EXTEND_TIMEOUT_USEC=60000000\nSTATUS=takes over records"
        assert [longer] * 2 == [listener.recv(4096).decode() for _ in range(2)]
        assert listener.recv(4096).startswith(b"READY=1\n")
