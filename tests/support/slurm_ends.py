"""The ends of runs on Slurm as record, journal and `show` tell them: the table in docs/dev/slurm-ends.md.

python -m tests.support.slurm_ends --write        writes the table anew: read the difference
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.support import REPO
from tests.support.bad_jobs import row
from tests.support.host import Host, kill, wait_for
from tests.support.slurm import Cluster

PAPER = REPO / "docs" / "dev" / "slurm-ends.md"
_BEGIN, _END = "| The run | Record | Journal | `show` |\n|---|---|---|---|\n", "\n\n"


class Stage(NamedTuple):
    """A host, its cluster, and a directory that both have."""

    host: Host
    cluster: Cluster
    shared: Path


class Case(NamedTuple):
    """A run, and what is done to it once its command has begun."""

    title: str
    keys: dict[str, Any]
    act: Callable[[Stage, str, list[str]], object] = lambda _stage, _run, _job: None
    begins: bool = True


def _fail_the_node(stage: Stage, run: str, job: list[str]) -> None:
    stage.cluster.says("scontrol", "update", f"nodename={job[3]}", "state=down", "reason=test")
    wait_for(lambda: stage.host.record(run))
    stage.cluster.restore(job[3])


def _let_go(stage: Stage, run: str) -> None:
    (stage.shared / run.partition("@")[0] / "go").touch()


def _kill_the_helper(stage: Stage, run: str, _job: list[str]) -> None:
    kill(_pids(stage, run)[0])
    _let_go(stage, run)


def _kill_the_supervisor(stage: Stage, run: str, _job: list[str]) -> None:
    kill(_pids(stage, run)[4])


def _pids(stage: Stage, run: str) -> list[int]:
    """The numbers of R/pid."""
    return [int(number) for number in next(stage.host.root.glob(f"run/runs/*/{run}.1/pid")).read_text().split()]


def _cancel(stage: Stage, _run: str, job: list[str]) -> None:
    stage.cluster.says("scancel", job[0])


def _let_slurm_time_out(stage: Stage, _run: str, job: list[str]) -> None:
    """Change its limit there to the shortest, at which Slurm looks twice a minute."""
    stage.cluster.says("scontrol", "update", f"jobid={job[0]}", "timelimit=1")


def _restart_the_controller(stage: Stage, run: str, _job: list[str]) -> None:
    stage.cluster.stop_controller()
    _let_go(stage, run)
    stage.cluster.start_controller()


def _stop(stage: Stage, run: str, _job: list[str]) -> None:
    stage.host.call("Stop", run=run, lost=False)


_WAIT = "touch begun; exec sleep 600"
_DEAF = "trap '' TERM; touch begun; while :; do :; done"
_UNTIL_GO = "touch begun; while [ ! -e go ]; do sleep 0.1; done; exit 4"
_MEMORY = "touch begun; exec python3 -c 'x = bytearray(400 << 20); import time; time.sleep(60)'"
CASES = [
    Case("ends well", {"command": "true"}, begins=False),
    Case("exit code 3", {"command": "exit 3"}, begins=False),
    Case("SIGSEGV", {"command": "kill -SEGV $$", "resource_limits": {"core": "0"}}, begins=False),
    Case("no such command", {"command": ["/no/such/file"]}, begins=False),
    Case("exceeds its `timeout`", {"command": _WAIT, "timeout": "1s"}),
    Case("exceeds a limit that was changed in Slurm", {"command": _WAIT, "timeout": "2h"},
        _let_slurm_time_out),
    Case("more memory than `resource_limits.memory`", {"command": _MEMORY, "resource_limits": {"memory": "100M"}}),
    Case("stopped by a person", {"command": _WAIT}, _stop),
    Case("stopped by a person, ignores SIGTERM", {"command": _DEAF, "kill_grace": "1s"}, _stop),
    Case("cancelled with scancel(1)", {"command": _WAIT}, _cancel),
    Case("its node fails", {"command": _WAIT}, _fail_the_node),
    Case("its helper is killed", {"command": _UNTIL_GO}, _kill_the_helper),
    Case("its supervisor is killed", {"command": _WAIT}, _kill_the_supervisor),
    Case("ends while slurmctld is down", {"command": _UNTIL_GO}, _restart_the_controller),
    Case("a partition that does not exist", {"command": "true", "slurm": {"partition": "none"}}, begins=False),
    Case("a directory that does not exist", {"command": "true", "slurm": {"directory": "/no/such"}}, begins=False),
]  # fmt: skip


def rows(stage: Stage) -> list[str]:
    """What is said of each case, as its row of the table."""
    jobs = {
        f"case{number}": {
            "runner": "slurm", "environment": stage.cluster.environment, "output": "file",
            "working_directory": str(stage.shared / f"case{number}"), **case.keys,
        }
        for number, case in enumerate(CASES)
    }  # fmt: skip
    stage.host.write("jobs.yaml", json.dumps({"jobs": jobs}))
    stage.host.start()
    assert not stage.host.said("problem"), stage.host.log()
    slow = next(number for number, case in enumerate(CASES) if case.act is _let_slurm_time_out)
    cases = dict(enumerate(CASES))
    _begin(stage, slow, cases.pop(slow))
    found = {}
    for number, case in sorted(cases.items(), key=lambda item: item[1].act is _fail_the_node):
        if case.act is _fail_the_node:  # it may be the same one's
            wait_for(lambda: stage.host.record(f"case{slow}@1"), seconds=170)
            found[slow] = row(stage.host, CASES[slow].title, f"case{slow}@1")
        found[number] = row(stage.host, case.title, _begin(stage, number, case))
    return [found[number] for number in sorted(found)]


def _begin(stage: Stage, number: int, case: Case) -> str:
    """Start a run, and do to it what is to be done, once its command has begun: its name."""
    name = f"case{number}"
    (stage.shared / name).mkdir()
    run = stage.host.run(name)
    if case.begins:
        case.act(stage, run, wait_for(lambda: _begun(stage, name), why=case.title))
    return run


def _begun(stage: Stage, name: str) -> list[str] | None:
    if not (stage.shared / name / "begun").exists():
        return None
    return next((job for job in stage.cluster.jobs("running") if job[1].startswith(f"{name}@")), None)


def written() -> list[str]:
    """The rows that the paper has."""
    return PAPER.read_text().partition(_BEGIN)[2].partition(_END)[0].splitlines()


def main() -> None:
    """Write the table."""
    if "--write" not in sys.argv:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory(prefix="jobqueued-slurm-") as folder:
        root = Path(folder)
        for name in ("cluster", "shared"):
            (root / name).mkdir()
        stage = Stage(Host(root / "host"), Cluster(root / "cluster"), root / "shared")
        try:
            stage.cluster.start()
            found = rows(stage)
        finally:
            stage.host.close()
            stage.cluster.stop()
    head, begin, rest = PAPER.read_text().partition(_BEGIN)
    PAPER.write_text(head + begin + "\n".join(found) + _END + rest.partition(_END)[2])


if __name__ == "__main__":
    main()
