"""The machine has jobqueued installed as `make install` does it, once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.vm import sh


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    assert "vm-run=" in Path("/proc/cmdline").read_text(), "this installs into /: only inside vm-run"
    sh("make", "install", "PREFIX=/usr")
    sh("systemd-sysusers", "jobqueue.conf")
    sh("systemd-tmpfiles", "--create", "jobqueue.conf")
    sh("systemctl", "daemon-reload")
