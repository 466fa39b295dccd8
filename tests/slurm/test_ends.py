"""Each end of a run on Slurm has its exact record, and each run is one job there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobqueued.base.instants import SECOND
from jobqueued.child.contract import wire
from jobqueued.model.job import Job
from tests.support.host import wait_for
from tests.support.pool import Pool
from tests.support.slurm import Cluster
from tests.support.stranger import public
from tests.support.users import NEEDS_ROOT, OTHER

Document = dict[str, Any]


class Runs:
    """Runs on a cluster, as one supervisor carries them out."""

    def __init__(self, cluster: Cluster, pool: Pool, root: Path) -> None:
        self.cluster, self.pool, self.root = cluster, pool, root
        self.before = {number for number, *_ in cluster.jobs()}

    def keys(self, **keys: Any) -> dict[str, Any]:
        """The keys of a job there."""
        environment = tuple((self.cluster.environment | keys.pop("environment", {})).items())
        return {
            "runner": "slurm", "environment": environment, "working_directory": str(self.root), "output": "file",
            **keys,
        }  # fmt: skip

    def ended(self, **keys: Any) -> Document:
        """The record of a run that comes to its end by itself."""
        self.pool.socket.settimeout(60)
        return self.pool.run(**self.keys(**keys))[1]

    def stopped(self, ready: Callable[[], object], **keys: Any) -> Document:
        """The record of a run that is stopped by a person once it is `ready`."""
        self.pool.socket.settimeout(60)
        return self.pool.stopped(ready, **self.keys(**keys))[1]

    def begun(self, **keys: Any) -> Path:
        """R of a run of which Slurm has a job."""
        path = self.pool.send(Job(id="job", **self.keys(**keys)))
        self.pool.socket.settimeout(60)
        assert self.pool.socket.recv(wire.NOTICE).decode().startswith("started ")
        return path

    def over(self, path: Path) -> Document:
        """The record of a run that has begun."""
        self.pool.heard()
        return self.record(path)

    def record(self, path: Path) -> Document:
        found: Document = json.loads((path / wire.ENDED).read_bytes())
        return found

    def jobs(self, states: str = "all") -> list[list[str]]:
        """What Slurm has of this test."""
        return [job for job in self.cluster.jobs(states) if job[0] not in self.before]

    def running(self) -> list[str] | None:
        """The job that runs, if its command has begun."""
        jobs = self.jobs("running")
        return jobs[0] if jobs and list(self.root.glob(".job@*/claim")) else None

    def helper(self, path: Path) -> int:
        """The pid of the helper that lives."""
        return int(helpers(self.pool.pid)[0]) if (path / wire.SPEC).exists() else 0


def helpers(supervisor: int) -> list[str]:
    """The processes below a supervisor."""
    return Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()


@pytest.fixture
def runs(cluster: Cluster, pool: Pool, tmp_path: Path) -> Iterator[Runs]:
    """Afterwards nothing of it runs, and no directory of an attempt is there."""
    found = Runs(cluster, pool, tmp_path)
    yield found
    wait_for(lambda: not found.jobs("pending,running,completing"), seconds=30)
    assert [] == list(tmp_path.glob(".job@*"))


def told(document: Document) -> tuple[str, str | None, int | None, int | None]:
    return document["state"], document["reason"], document["exit_code"], document["signal"]


def job_of(document: Document) -> str:
    """The words for its job: ``Slurm job 4 on n1``."""
    return f"Slurm job {document['slurm']['job']} on {document['slurm']['node']}"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("true", ("succeeded", None, 0, None)),
        ("exit 3", ("failed", "exit code 3", 3, None)),
        ("exit 24", ("succeeded", None, 24, None)),
        ("kill -SEGV $$", ("failed", "signal 11 (SIGSEGV)", None, 11)),
        ("kill -KILL $$", ("failed", "signal 9 (SIGKILL)", None, 9)),
        (("/no/such",), ("failed", "start_failed: exec: /no/such: No such file or directory", None, None)),
    ],
)
def test_a_command_ends_as_it_does_here(runs: Runs, command: Any, expected: object) -> None:
    """Exit code, signal, and what kept it from starting are those of the command, whatever Slurm makes of them."""
    document = runs.ended(command=command, success_codes=(0, 24), resource_limits={"core": 0})
    assert (expected, [[str(document["slurm"]["job"]), "job@0#1", document["slurm"]["state"]]]) == (
        told(document), [job[:3] for job in runs.jobs()],
    )  # fmt: skip


def test_what_it_gets_is_what_it_gets_here(runs: Runs) -> None:
    """Standard input, variables, directory, umask and limits come with it; what it says is its output, in its order."""
    document = runs.ended(
        command="cat; echo $JOBQUEUE_RUN $FOO; pwd; umask; ulimit -n; nice; echo oops >&2; echo ${SLURM_JOB_ID:+job}",
        stdin="in\n", environment={"FOO": "a b|'c"}, umask=0o027, resource_limits={"open_files": 77}, nice=3,
    )  # fmt: skip
    assert ("succeeded", f"in\njob@1 a b|'c\n{runs.root}\n0027\n77\n3\noops\njob\n") == (
        document["state"], runs.pool.output(),
    )  # fmt: skip


def test_it_is_measured_on_its_node(runs: Runs) -> None:
    """CPU time and memory are the command's, with those of its children, though Slurm has no accounting."""
    work = "import os; os.fork() or bytearray(100 << 20); sum(range(30_000_000)); os._exit(os.wait() and 0)"
    document = runs.ended(command=("/usr/bin/python3", "-c", f"try:\n  {work}\nexcept ChildProcessError: pass"))
    assert (True, True, None) == (
        document["cpu_user"] > 0.05, 100 << 20 < document["memory_peak"] < 300 << 20, document["memory_peak_below"],
    )  # fmt: skip


def test_a_person_stops_it(runs: Runs) -> None:
    """What runs gets the stop signal, and ends as it likes; the record says who asked."""
    document = runs.stopped(runs.running, command="trap 'echo bye; exit 5' TERM; while :; do :; done")
    assert (("killed", "asked to", 5, None), "bye\n") == (told(document), runs.pool.output())


def test_a_person_stops_what_does_not_listen(runs: Runs) -> None:
    """After `kill_grace` it is killed."""
    document = runs.stopped(
        runs.running, command="trap '' INT TERM; while :; do sleep 0.1; done", kill_grace=SECOND, stop_signal="SIGINT"
    )
    assert ("killed", "asked to", None, 9) == told(document)


def test_a_person_stops_what_waits_in_slurm(runs: Runs) -> None:
    """A job that Slurm has not started is cancelled, and has never run."""
    blocker = runs.cluster.says(
        "sbatch", "--parsable", "-L", "matlab:1", "--wrap", "sleep 60", "-o", "/dev/null"
    ).strip()
    try:
        wait_for(lambda: [blocker, "wrap", "RUNNING"] in [job[:3] for job in runs.jobs()])
        document = runs.stopped(lambda: runs.jobs("pending"), command="touch ran", slurm={"licenses": {"matlab": 1}})
    finally:
        runs.cluster.says("scancel", blocker)
    assert (("killed", "asked to", None, None), False, "CANCELLED") == (
        told(document), (runs.root / "ran").exists(), document["slurm"]["state"],
    )  # fmt: skip


def test_its_time_is_that_on_a_node(runs: Runs) -> None:
    """`timeout` counts from its start on a node, and not while it waits in Slurm."""
    blocker = runs.cluster.says(
        "sbatch", "--parsable", "-L", "matlab:1", "--wrap", "sleep 3", "-o", "/dev/null"
    ).strip()
    wait_for(lambda: [blocker, "wrap", "RUNNING"] in [job[:3] for job in runs.jobs()])
    document = runs.ended(command="sleep 60", timeout=SECOND, slurm={"licenses": {"matlab": 1}})
    assert ("timed_out", "timeout after 1 s", None, 15) == told(document)


def test_somebody_cancels_it_in_slurm(runs: Runs) -> None:
    """By scancel(1) it is killed, and the record says where."""
    path = runs.begun(command="sleep 60")
    number = wait_for(runs.running)[0]
    runs.cluster.says("scancel", number)
    document = runs.over(path)
    assert ("killed", f"cancelled in Slurm ({job_of(document)}: CANCELLED)") == told(document)[:2]


def test_too_much_memory(runs: Runs) -> None:
    """A job that Slurm ends as it used more than `resource_limits.memory` was killed for that."""
    document = runs.ended(
        command=("/usr/bin/python3", "-c", "x = bytearray(400 << 20); import time; time.sleep(60)"),
        resource_limits={"memory": 100 << 20},
    )
    state = document["slurm"]["state"]
    assert ("oom_killed", f"out of memory: its limit is 100 MiB ({job_of(document)}: {state})") == told(document)[:2]
    assert {"memory": "slurm"} == document["enforced"]


def test_its_node_fails(runs: Runs) -> None:
    """A run whose node fails is lost, and Slurm does not start it again."""
    path = runs.begun(command="echo once >>count; sleep 60")
    wait_for((runs.root / "count").exists)
    node = wait_for(runs.running)[3]
    runs.cluster.says("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    document = runs.over(path)
    runs.cluster.restore(node)
    assert (("lost", f"its node failed ({job_of(document)}: NODE_FAIL)", None, None), "once\n") == (
        told(document), (runs.root / "count").read_text(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("slurm", "limits", "why"),
    [
        ({"partition": "nowhere"}, {}, "sbatch: Invalid partition name specified"),
        ({"licenses": {"unknown": 1}}, {}, "sbatch: Invalid license specification"),
        ({}, {"memory": 1 << 50}, "sbatch: Requested node configuration is not available"),
        ({"directory": "/no/such"}, {}, "/no/such/FILES: No such file or directory; use a directory that this host and"
            " the nodes share: slurm: {directory: …}"),
    ],
)  # fmt: skip
def test_slurm_refuses(runs: Runs, slurm: dict[str, Any], limits: dict[str, int], why: str) -> None:
    """What Slurm does not take has not started, and the record has its words."""
    document = runs.ended(command="true", slurm=slurm, resource_limits=limits)
    reason = document["reason"].replace(f"/no/such/{_files(document)}", "/no/such/FILES")
    assert ("failed", f"start_failed: slurm: {why}") == (document["state"], reason)
    assert not [job for job in runs.jobs() if job[3] != "n/a"]  # which Slurm keeps of one that it can't place


def _files(document: Document) -> str:
    return str(document["reason"].partition("/no/such/")[2].partition(":")[0])


@NEEDS_ROOT
def test_a_job_of_another_user(runs: Runs) -> None:
    """It is that user's in Slurm, too, who may lower its priority there; raised it is not, and the record says so."""
    with public() as place:
        shutil.chown(place, OTHER)
        keys = {"user": OTHER, "working_directory": str(place), "command": "id -un"}
        low, high = (runs.ended(priority=priority, **keys) for priority in (-5, 5))
        assert (["succeeded"] * 2, [], 1) == (
            [document["state"] for document in (low, high)], low["warnings"], len(high["warnings"]),
        ), high["reason"]  # fmt: skip
        assert [f"{OTHER}\n"] * 2 == [document["output"]["tail"] for document in (low, high)]
        assert [] == list(place.iterdir())


def test_the_one_of_higher_priority_goes_first(runs: Runs) -> None:
    """Of two that wait for a license in Slurm."""
    blocker = runs.cluster.says(
        "sbatch", "--parsable", "-L", "matlab:1", "--wrap", "sleep 4", "-o", "/dev/null"
    ).strip()
    wait_for(lambda: [blocker, "wrap", "RUNNING"] in [job[:3] for job in runs.jobs()])
    for priority in (0, 10):
        runs.cluster.says(
            "sbatch",
            "-L",
            "matlab:1",
            f"--nice={-priority}",
            "-o",
            "/dev/null",
            "--wrap",
            f"echo {priority} >>{runs.root}/order",
        )
    document = runs.ended(command="echo ours >>order", priority=100, slurm={"licenses": {"matlab": 1}})
    wait_for(lambda: not runs.jobs("pending,running,completing"), seconds=30)
    assert ("succeeded", "ours\n10\n0\n") == (document["state"], (runs.root / "order").read_text())


def test_slurm_is_away(runs: Runs) -> None:
    """While no controller answers a run goes back to the queue; nothing of it is in Slurm afterwards."""
    with without_controller(runs.cluster):
        runs.pool.socket.settimeout(60)
        document = runs.ended(command="true")
    assert ("unstarted", []) == (document["state"], runs.jobs())


@contextlib.contextmanager
def without_controller(cluster: Cluster) -> Iterator[None]:
    """As long as it lasts nobody answers."""
    cluster.stop_controller()
    try:
        yield
    finally:
        cluster.start_controller()


def test_slurm_is_away_while_it_runs(runs: Runs) -> None:
    """A controller that comes back finds the run's job as it was, and its end is exact."""
    path = runs.begun(command="while [ ! -e go ]; do sleep 0.1; done; exit 7")
    wait_for(runs.running)
    with without_controller(runs.cluster):
        (runs.root / "go").touch()
        wait_for(lambda: list(runs.root.glob(".job@*/end")))
    document = runs.over(path)
    assert ("failed", "exit code 7", 7, None) == told(document)


@pytest.mark.parametrize("goes_on", ["at once", "later"])
def test_a_submission_of_which_the_answer_is_lost(runs: Runs, goes_on: str) -> None:
    """What sbatch(1) can't tell is looked for by its name before it is submitted again: it is one job."""
    broken = "echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2; exit 1"
    (runs.root / "kill").touch()
    hangs = f"kill -9 {runs.cluster.pid('slurmctld')}; " if goes_on == "later" else ""
    once = f"rm kill 2>/dev/null && {{ {hangs}{broken}; }}"
    environment = shims(runs.root, sbatch=f'said=$(/usr/bin/sbatch "$@"); code=$?; {once}; echo "$said"; exit $code')
    path = runs.pool.send(Job(id="job", **runs.keys(command="echo once >>count; exit 7", environment=environment)))
    if goes_on == "later":
        wait_for(lambda: not (runs.root / "kill").exists())
        runs.cluster.kill("slurmctld")
        runs.cluster.start_controller()
    document = runs.over(path)
    assert (7, "once\n") == (document["exit_code"], (runs.root / "count").read_text())
    assert len(runs.jobs()) == 1 or goes_on == "later"  # one that was killed gives numbers again


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("command", ["squeue", "sbatch", "scancel"])
def test_its_helper_is_killed_at_each_step(runs: Runs, command: str, when: str) -> None:
    """Before and after each question to Slurm: one job, which runs once, with its exact end."""
    kill, call = "rm kill 2>/dev/null && kill -9 $PPID", f'/usr/bin/{command} "$@"'
    (runs.root / "kill").touch()
    text = f"{kill}; {call}" if when == "before" else f"{call}; code=$?; {kill}; exit $code"
    environment = shims(runs.root, **{command: text})
    keys = {"command": "echo once >>count; trap 'exit 7' TERM; while :; do :; done", "environment": environment}
    document = runs.stopped(lambda: runs.running() and (runs.root / "count").exists(), **keys)
    assert (7, "once\n", 1, False) == (
        document["exit_code"], (runs.root / "count").read_text(), len(runs.jobs()), (runs.root / "kill").exists(),
    )  # fmt: skip


def shims(root: Path, **commands: str) -> dict[str, str]:
    """Variables by which the helper comes to these instead of Slurm's commands; they are in the directory `root`."""
    folder = root / "bin"
    folder.mkdir()
    for name, text in commands.items():
        (folder / name).write_text(f"#!/bin/sh\ncd {root}\n{text}\n")
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def test_its_helper_is_killed_again_and_again(runs: Runs) -> None:
    """Whoever kills the helper finds another: one job, its end is exact, and each byte of output comes once."""
    path = runs.begun(command="for i in $(seq 1000); do echo line $i; sleep 0.01; done; exit 6")
    log, size = runs.root / "logs" / "job" / "1.log", 0
    for _ in range(3):
        wait_for(lambda size=size: log.exists() and log.stat().st_size > size)
        helper = runs.helper(path)
        os.kill(helper, signal.SIGKILL)
        wait_for(lambda old=helper: helpers(runs.pool.pid) not in ([], [str(old)]))
        size = log.stat().st_size
    document = runs.over(path)
    expected = "".join(f"line {number}\n" for number in range(1, 1001))
    assert (("failed", "exit code 6", 6, None), expected, 1) == (told(document), runs.pool.output(), len(runs.jobs()))


def test_a_job_that_is_submitted_twice(runs: Runs) -> None:
    """Whatever makes two jobs of one: the command starts once, in either, and that job is followed."""
    ended = "until [ $(/usr/bin/squeue -h -t completed | wc -l) -gt $before ]; do sleep 0.1; done"
    before = "before=$(/usr/bin/squeue -h -t completed | wc -l)"
    twice = f'{before}; /usr/bin/sbatch "$@" >/dev/null; /usr/bin/sbatch "$@"; {ended}'
    environment = shims(runs.root, sbatch=twice)
    document = runs.ended(command="echo once >>count; sleep 2; exit 7", environment=environment)
    wait_for(lambda: not runs.jobs("pending,running,completing"))
    assert (7, "once\n", 2) == (document["exit_code"], (runs.root / "count").read_text(), len(runs.jobs()))


def test_a_job_of_an_earlier_attempt_is_ended_first(runs: Runs) -> None:
    """A second attempt never runs beside the first, which was lost, but whose job lives in Slurm."""
    runs.cluster.says(
        "sbatch", "-J", "job@0#1", "--comment=host:job@1.1:gone:", "-o", "/dev/null", "--wrap", "sleep 600"
    )
    wait_for(lambda: runs.jobs("running"))
    other = runs.cluster.says(
        "sbatch", "--parsable", "-J", "job@0#1", "--comment=other:job@1.1:x:", "-o", "/dev/null", "--wrap", "sleep 1"
    ).strip()
    path = runs.pool.send(Job(id="job", **runs.keys(command="exit 4")), attempt=2)
    document = runs.over(path)
    states = {number: state for number, _, state, _ in runs.jobs() if number != other}
    assert (4, ["CANCELLED", "FAILED"]) == (document["exit_code"], sorted(states.values()))
