"""Fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host import Host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host without a daemon yet; what is left of it is ended afterwards, and its log shown where the test failed."""
    host = Host(tmp_path / "host")
    yield host
    host.close()
    print(host.log())
