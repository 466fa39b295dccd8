"""Fixtures of the tests with real processes."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.answers import DEFINITION, FREE, IDLE, JOB, LIVE, RECORD, STATS, STATUS, Daemon
from tests.support.host import Host
from tests.support.pool import Pool


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host without a daemon yet; what is left of it is ended afterwards, and its log shown where the test failed."""
    host = Host(tmp_path / "host")
    yield host
    host.close()
    print(host.log())


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    """A pool of one supervisor."""
    pool = Pool(tmp_path)
    yield pool
    pool.close()


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port on loopback where nobody listens, as it is bound already."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture(autouse=True)
def where_we_are() -> Iterator[None]:
    """Starting a process leads to /, where nobody else is to find himself."""
    before = os.getcwd()
    yield
    os.chdir(before)


@pytest.fixture(scope="session", autouse=True)
def ticking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A daemon with a job that is due every minute, started first so that nobody has to wait for the minute."""
    host = Host(tmp_path_factory.mktemp("ticking") / "host")
    host.write("tick.yaml", "defaults: {timezone: UTC}\njobs: {tick: {command: 'true', schedule: '* * * * *'}}")
    host.start()
    yield host
    host.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon under tmp_path that answers from a table: it has the job and the runs of tests.support.answers."""
    found = Daemon(tmp_path / "run")
    found.answers("Status", STATUS)
    found.answers("List", {"jobs": [JOB, IDLE], **FREE})
    found.answers("Describe", {"job": JOB, "definition": DEFINITION, "stats": STATS, "runs": [LIVE, RECORD]})
    found.methods["Show"] = lambda asked: {"record": LIVE if asked["run"].endswith("@143") else RECORD}
    found.answers("History", {"runs": [LIVE, RECORD], "next": None})
    found.answers("Pause", {})
    found.answers("Resume", {"was_paused": True, "enabled": True, "invalid": None, "file": "/a.yaml"})
    found.answers("Run", {"run": "nightly-backup@142"})
    yield found
    found.close()
