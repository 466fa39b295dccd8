"""PID 1 is told in its own protocol (sd_notify(3))."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from jobqueued.host.sd_notify import ServiceManager
from tests.support.host import DEADLINE


@pytest.mark.parametrize(
    ("status", "told"),
    [("degraded: no 日本", "degraded: no 日本"), ("x\nMAINPID=1", r"x\nMAINPID=1"), ("\udcff", r"\udcff")],
)
def test_any_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str, told: str) -> None:
    """Whatever letters a status has, it is told as UTF-8, and holds no further assignment."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(DEADLINE)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        manager = ServiceManager()
        manager.tell_ready(status)
        assert f"READY=1\nSTATUS={told}".encode() == listener.recv(4096)
        assert manager._notifier.socket is not None
        manager._notifier.socket.close()
