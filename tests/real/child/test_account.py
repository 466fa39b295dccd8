"""What an attempt used: how often it is looked at, the mean of that, and what is known without a cgroup."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.child.contract import wire
from jobqueued.child.processes import cgroup, cgroup_files
from jobqueued.child.processes.cgroup import Cgroup
from jobqueued.child.report.account import AttemptAccount
from tests.support.pool import Pool


class Kernel(Cgroup):
    """A cgroup whose memory goes by `uses`, from second to bytes."""

    def __init__(self, uses: Any) -> None:
        super().__init__(-1, "")
        self.uses, self.clock = uses, 0.0

    def now(self) -> tuple[int, int] | None:
        return int(self.uses(self.clock)), 1


def lived(kernel: Kernel, seconds: float, *, watched: bool = False) -> tuple[list[float], int | None]:
    """When a run of such a length was looked at, and its mean."""
    account, looks = AttemptAccount(kernel), []
    account.begin(0.0, watched=watched)
    while account.at <= seconds:
        kernel.clock = account.at
        looks.append(account.at)
        account.sample(account.at)
    mean: int | None = account.figures(resource.getrusage(resource.RUSAGE_SELF))["memory_mean"]
    return looks, mean


@given(st.floats(0.2, 30_000), st.booleans())
def test_a_long_run_is_looked_at_seldom(seconds: float, watched: bool) -> None:
    """Never more than a quarter of its age ago, once a minute at most in the long run, once a second if need be."""
    looks, _ = lived(Kernel(lambda _now: 1), seconds, watched=watched)
    longest = 1 if watched else 60
    for before, look in zip([0.0, *looks], [*looks, seconds], strict=True):
        assert look - before <= min(max(0.1, before / 4), longest) + 1e-6
    assert len(looks) <= (45 if not watched else 20) + seconds / longest


@given(st.floats(5, 10_000), st.integers(0, 1 << 40))
def test_the_mean(seconds: float, most: int) -> None:
    """Of what stays it is that; of what grows or falls evenly it is the middle of what was seen."""
    assert lived(Kernel(lambda _now: most), seconds)[1] == most
    for uses in (lambda now: most * now / seconds, lambda now: most * (1 - now / seconds)):
        looks, mean = lived(Kernel(uses), seconds)
        assert mean == pytest.approx(uses(looks[-1] / 2), rel=0.05, abs=most * 0.02 + 1)


def test_a_short_run_has_no_mean() -> None:
    """It has ended before anybody looked."""
    assert lived(Kernel(lambda _now: 5), 0.05) == ([], None)


BURNS = """
import os, time
if not os.fork():
    if not os.fork():
        while time.process_time() < 0.5: pass
        open("burned", "w").close()
        time.sleep(600)
    os._exit(0)
os.wait()
while not os.path.exists("burned"): time.sleep(0.01)
"""


def test_all_of_a_tree_counts_without_a_cgroup(pool: Pool, tmp_path: Path) -> None:
    """CPU time of what has left its parent, too."""
    _said, document = pool.run(command=[sys.executable, "-c", BURNS], working_directory=str(tmp_path), kill_grace=0)
    assert document["state"] == "succeeded"
    assert document["cpu_user"] + document["cpu_system"] >= 0.5


def test_memory_of_a_tree_without_a_cgroup(pool: Pool) -> None:
    """Peak and mean of all its processes, by samples; how many there were."""
    eats = (
        "import os, time; begin = time.monotonic(); os.fork(); x = bytearray(60 << 20); "
        "time.sleep(1.5 + 9 * (time.monotonic() - begin))"  # ten times as long as it took to get there
    )
    _said, document = pool.run(command=[sys.executable, "-c", eats])
    assert 120 << 20 <= document["memory_peak"] <= 200 << 20
    assert 80 << 20 <= document["memory_mean"] <= document["memory_peak"]
    assert (document["memory_peak_below"], document["tasks_peak"]) == (None, 2)
    assert document["attempts"][0]["memory_mean"] == document["memory_mean"]


def test_what_it_wrote_without_a_cgroup(pool: Pool) -> None:
    """What went to a disk is counted in bytes; the run's own directory may be on one that the kernel does not count."""
    file = Path("/var/tmp") / f"jobqueued-{os.getpid()}"
    write = f"dd if=/dev/zero of={file} bs=1M count=4 conv=fsync status=none"
    try:
        _said, document = pool.run(command=write)
    finally:
        file.unlink()
    assert document["state"] == "succeeded"
    assert document["io_write"] == document["attempts"][0]["rusage"]["oublock"] * 512


@pytest.mark.parametrize("found", [None, [], ["memory"], ["memory", "pids", "io", "cpu", "cpuset"]])
def test_the_launcher_tells_which_controllers_there_are(found: list[str] | None) -> None:
    """A hello of an older one, which does not say, means none."""
    assert wire.controllers(f"6 4711 {wire.cgroups(found)}") == found
    assert wire.controllers("6 4711") is None


@pytest.mark.parametrize("text", ["12:cpu:/x\n11:memory:/x\n", "12:cpu:/x\n0::/no-such\n", ""])
def test_a_host_without_cgroup_v2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """With cgroup v1, both (hybrid), or none at all, there is none for runs."""
    file = tmp_path / "cgroup"
    file.write_text(text)
    monkeypatch.setattr(cgroup, "_MEMBERSHIP", str(file))
    assert cgroup.prepare() == -1
    assert cgroup.controllers(-1) is None


def test_which_disks_are_capped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole ones; one path of several to a disk (native NVMe multipath) has no number, and is capped with that disk."""
    for name, number in (("nvme0n1", "259:1"), ("nvme0c0n1", ""), ("loop0", "7:0"), ("sda", "8:0")):
        (tmp_path / name / "device").mkdir(parents=True)
        if number:
            (tmp_path / name / "dev").write_text(number + "\n")
    (tmp_path / "loop0" / "device").rmdir()
    monkeypatch.setattr(cgroup_files, "_BLOCK", str(tmp_path))
    assert sorted(cgroup_files.disks()) == ["259:1", "8:0"]
