"""docs/dev/slurm-ends.md shows each end as it is now."""

from __future__ import annotations

from pathlib import Path

from tests.support.host import Host
from tests.support.slurm import Cluster
from tests.support.slurm_ends import Stage, rows, written


def test_each_end_is_told_as_the_paper_has_it(cluster: Cluster, tmp_path: Path) -> None:
    """Record, journal and `show`, word for word."""
    (tmp_path / "shared").mkdir()
    host = Host(tmp_path / "host")
    try:
        assert rows(Stage(host, cluster, tmp_path / "shared")) == written()
    finally:
        host.close()
        print(host.log())
