"""A browser, and a page of Cockpit beside the daemon of a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chromium import Browser, browser
from tests.support.cockpit import cockpit, install
from tests.support.host import Host
from tests.support.stranger import public


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that everybody can read."""
    with public() as path:
        yield path


@pytest.fixture(scope="module")
def host(place: Path, request: pytest.FixtureRequest) -> Iterator[Host]:
    """A daemon with the jobs of the module, its FILE."""
    found = Host(place / "host")
    found.root.chmod(0o755)
    found.write("a.yaml", request.module.FILE)
    found.start()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def packages(place: Path, host: Host) -> Path:
    """The directory of our page, for the daemon."""
    install(place / "data", host.root)
    return place / "data"


@pytest.fixture(scope="module")
def address(packages: Path) -> Iterator[str]:
    """The page, as root."""
    with cockpit(packages) as found:
        yield found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser(TZ="UTC") as found:
        yield found
