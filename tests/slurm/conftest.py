"""One cluster for all tests of this directory, and a supervisor of our own before it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.anybodys import everybodys_python
from tests.support.needed import need
from tests.support.pool import Pool
from tests.support.slurm import Cluster
from tests.support.stranger import public


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    need("slurmctld", "slurmd", "sbatch")
    with public() as path:
        found = Cluster(path)
        try:
            found.start()
            yield found
        finally:
            found.stop()


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    monkeypatch.setattr(sys, "executable", everybodys_python())
    found = Pool(tmp_path)
    yield found
    found.close()
