"""The machine has jobqueued installed as `make install` does it, once for all tests and boots.

With JOBQUEUED_INSTALLED in the environment it is there already: debian/tests has a package tested.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.vm import BOOT, FAILURES, LIVE, long_run, sh


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "boot(number): the test belongs to this boot of the machine; without it: the first"
    )
    config.addinivalue_line("markers", "says(words, ...): lines of the journal with these words are expected")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Only the tests of this boot; a file's last test of a boot may ask for another one (`vm.boot_again`)."""
    items[:] = [item for item in items if _boot(item) == BOOT]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        FAILURES.append(report.nodeid)


def _boot(item: pytest.Item) -> int:
    mark = item.get_closest_marker("boot")
    return 1 if mark is None else int(mark.args[0])


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    if "JOBQUEUED_INSTALLED" in os.environ:
        return
    assert "vm-run=" in Path("/proc/cmdline").read_text(), "this installs into /: only inside vm-run"
    if BOOT == 1:
        sh("make", "install", "PREFIX=/usr")
        sh("systemd-sysusers", "jobqueue.conf")
        sh("systemd-tmpfiles", "--create", "jobqueue.conf")
        sh("systemctl", "daemon-reload")


@pytest.fixture
def live_run() -> Iterator[tuple[str, int]]:
    """A run of vm.LONG and its pid, over after the test."""
    yield long_run()
    (LIVE / "go").touch()
