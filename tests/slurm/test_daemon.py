"""A daemon whose jobs run on Slurm: what people see of them, and whoever dies meanwhile, each is one job there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import REPO
from tests.support.client import PROGRAM
from tests.support.host import Host, kill, wait_for
from tests.support.slurm import Cluster


class Site:
    """A host, and a cluster to which it submits."""

    def __init__(self, host: Host, cluster: Cluster, shared: Path) -> None:
        self.host, self.cluster, self.shared = host, cluster, shared
        self.before = {number for number, *_ in cluster.jobs()}

    def define(self, command: str, **keys: Any) -> None:
        """Have a job of this command, and a daemon that knows it."""
        job = {
            "command": command, "runner": "slurm", "working_directory": str(self.shared), "output": "file",
            "environment": self.cluster.environment, **keys,
        }  # fmt: skip
        self.host.write("jobs.yaml", json.dumps({"jobs": {"heavy": job}}))
        self.host.start()

    def jobs(self, states: str = "all") -> list[list[str]]:
        """What Slurm has of it."""
        return [job for job in self.cluster.jobs(states) if job[0] not in self.before]

    def has_begun(self) -> bool:
        return bool(self.jobs("running")) and (self.shared / "count").exists()

    def ctl(self, *arguments: str) -> str:
        """What jobqueuectl prints."""
        command = [*PROGRAM, "--root", str(self.host.root), *arguments]
        return subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False, timeout=60).stdout


@pytest.fixture
def site(tmp_path: Path, cluster: Cluster) -> Iterator[Site]:
    """Afterwards nothing of it runs on Slurm, and no directory of an attempt is there."""
    shared = tmp_path / "shared"
    shared.mkdir()
    found = Site(Host(tmp_path / "host"), cluster, shared)
    yield found
    left = found.jobs("pending,running,completing")
    found.host.close()
    print(found.host.log())
    for number, *_ in left:
        cluster.says("scancel", number)
    assert ([], []) == (left, list(shared.glob(".heavy*")))


def test_a_job_runs_on_slurm_as_one_here(site: Site) -> None:
    """Record, output, `show` and the journal tell of it what they tell of others, and where it ran."""
    site.define("echo hello; exit 24", success_codes=[24], resource_limits={"memory": "64M"})
    record = site.host.wait(site.host.run("heavy"))
    number, name, state, node = site.jobs()[0]
    expected = {"job": int(number), "node": node, "state": state}
    assert ("succeeded", 24, expected, b"hello\n") == (
        record["state"], record["exit_code"], record["slurm"], site.host.output("heavy@1"),
    )  # fmt: skip
    assert name.startswith("heavy@")
    assert f"job {number} on {node}" in site.ctl("show", "heavy@1")


def test_the_scheduler_dies_meanwhile(site: Site) -> None:
    """The next one adopts the run, and its end is exact."""
    site.define("echo once >>count; while [ ! -e go ]; do sleep 0.1; done; exit 7")
    run = site.host.run("heavy")
    wait_for(site.has_begun)
    site.host.kill()
    site.host.start()
    (site.shared / "go").touch()
    record = site.host.wait(run)
    assert ("failed", 7, "once\n", 1) == (
        record["state"], record["exit_code"], (site.shared / "count").read_text(), len(site.jobs()),
    )  # fmt: skip


@pytest.mark.parametrize("who", ["supervisor", "launcher and supervisor"])
def test_its_supervisor_dies(site: Site, who: str) -> None:
    """Before the run is lost, and another may begin, its job on Slurm has ended, whatever that takes."""
    site.define("echo once >>count; trap '' TERM; while :; do :; done", kill_grace="2s")
    run = site.host.run("heavy")
    wait_for(site.has_begun)
    if who == "supervisor":
        kill(int(next(site.host.root.glob("run/runs/*/heavy@*/pid")).read_text().split()[4]))
    else:
        site.host.kill_small_ones()
    record = site.host.wait(run)
    assert ("lost", None, [], 1) == (
        record["state"], record["exit_code"], site.jobs("pending,running"), len(site.jobs()),
    )  # fmt: skip


def test_slurm_is_away_and_comes_back(site: Site) -> None:
    """Until a controller answers the run waits here, and says why; then it runs once."""
    site.define("echo once >>count")
    site.cluster.stop_controller()
    try:
        run = site.host.run("heavy")
        wait_for(lambda: "Slurm" in (said := site.ctl("why", run)) or "slurm" in said, seconds=60)
    finally:
        site.cluster.start_controller()
    record = site.host.wait(run)
    assert ("succeeded", "once\n") == (record["state"], (site.shared / "count").read_text())


def test_a_person_stops_it(site: Site) -> None:
    """By `jobqueuectl stop`; with a command that does not listen it takes `kill_grace`."""
    site.define("echo once >>count; trap '' TERM; while :; do :; done", kill_grace="1s")
    run = site.host.run("heavy")
    wait_for(site.has_begun)
    site.ctl("stop", run)
    record = site.host.wait(run)
    assert ("killed", []) == (record["state"], site.jobs("pending,running,completing"))


def test_logs_are_followed(site: Site) -> None:
    """`logs -f` shows what comes, as it comes."""
    site.define("echo first; while [ ! -e go ]; do sleep 0.1; done; echo second; echo >count")
    run = site.host.run("heavy")
    command = [*PROGRAM, "--root", str(site.host.root), "logs", "-f", run]
    wait_for(lambda: site.jobs("running"))
    with subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, text=True) as logs:
        assert logs.stdout is not None
        assert "first\n" == logs.stdout.readline()
        (site.shared / "go").touch()
        assert "second\n" == logs.stdout.readline()
        logs.send_signal(signal.SIGTERM)
    site.host.wait(run)
    assert os.path.exists(site.shared / "count")
