"""The queue with real processes: who runs beside whom, what is tried again, and what each run gets."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

import pytest

from tests.support.client import run
from tests.support.host import DEADLINE, Host, wait_for
from tests.support.users import ME

MARKED = "echo begin $JOBQUEUE_RUN $(date +%s%N) >>marks; sleep 0.05; echo end $JOBQUEUE_RUN $(date +%s%N) >>marks"
UNTIL_GO = (
    "echo begin $JOBQUEUE_RUN $(date +%s%N) >>marks; until [ -e go ]; do sleep 0.02; done; "
    "echo end $JOBQUEUE_RUN $(date +%s%N) >>marks"
)


class Interval(NamedTuple):
    """When a run was carried out, by its own account (ns)."""

    begin: int
    end: int
    run: str


def configured(host: Host, jobs: str, settings: str = "") -> Host:
    """The host with a daemon and these jobs, whose commands start in its directory."""
    defaults = f"defaults: {{working_directory: {host.root}}}\n"
    host.write("jobs.yaml", defaults + jobs.replace("MARKED", MARKED).replace("UNTIL_GO", UNTIL_GO))
    (host.root / "jobqueued.yaml").write_text(settings)
    host.start()
    return host


def intervals(host: Host) -> list[Interval]:
    """When each run was carried out, in the order of their beginnings."""
    begun: dict[str, int] = {}
    found = []
    for line in (host.root / "marks").read_text().splitlines():
        what, run, instant = line.split()
        if what == "begin":
            assert run not in begun, f"{run} was started twice"
            begun[run] = int(instant)
        else:
            found.append(Interval(begun.pop(run), int(instant), run))
    assert {} == begun
    return sorted(found)


def overlapping(one: Interval, other: Interval) -> bool:
    """Whether two runs were carried out at the same time."""
    return one.begin < other.end and other.begin < one.end


def pairs_that_overlap(host: Host) -> set[tuple[str, str]]:
    """The jobs whose runs were carried out at the same time, each pair in the order of their names."""
    found = intervals(host)
    pairs = [(one, other) for i, one in enumerate(found) for other in found[i + 1 :] if overlapping(one, other)]
    names = [sorted((one.run.partition("@")[0], other.run.partition("@")[0])) for one, other in pairs]
    return {(first, second) for first, second in names}


def succeeded(host: Host, runs: list[str]) -> None:
    """Wait until all of them have."""
    assert dict.fromkeys(runs, "succeeded") == {run: host.wait(run)["state"] for run in runs}


def live(host: Host, job: str) -> str:
    """A run of a job, once its process has begun to work."""
    name, marks = host.run(job), host.root / "marks"
    wait_for(lambda: marks.exists() and f"begin {name} " in marks.read_text())
    return name


def attempts(record: dict[str, Any], *names: str) -> list[tuple[Any, ...]]:
    """Some fields of each attempt."""
    return [tuple(attempt[name] for name in names) for attempt in record["attempts"]]


def instant(text: str) -> float:
    """An instant of a record, in seconds."""
    return datetime.fromisoformat(text).timestamp()


class TestClaims:
    def test_exclusive_is_alone(self, host: Host) -> None:
        """While an exclusive run is carried out nothing else is, before it and after it others run side by side."""
        configured(
            host, "jobs: {alone: {command: 'MARKED', exclusive: true}, other: {command: 'MARKED', concurrency: 9}}"
        )
        runs = [host.run(job) for job in ("other", "other", "other", "alone", "other", "other", "alone", "other")]
        succeeded(host, runs)
        assert {("other", "other")} == pairs_that_overlap(host)
        assert sorted(runs) == sorted(interval.run for interval in intervals(host))

    def test_one_lock(self, host: Host) -> None:
        """Of the runs that hold one lock exclusively no two overlap; those that share it overlap, but not with them."""
        configured(
            host,
            """
jobs:
  a: {command: 'MARKED', locks: [tape], concurrency: 9}
  b: {command: 'MARKED', locks: [other, tape], concurrency: 9}
  shares: {command: 'MARKED', locks: [{name: tape, mode: shared}], concurrency: 9}
  free: {command: 'MARKED', locks: [mouse], concurrency: 9}
""",
        )
        runs = [host.run(job) for job in ("a", "b", "free", "shares", "shares", "a", "b", "free", "shares", "shares")]
        succeeded(host, runs)
        pairs = pairs_that_overlap(host)
        forbidden = {("a", "a"), ("a", "b"), ("b", "b"), ("a", "shares"), ("b", "shares"), ("free", "free")}
        assert set() == pairs & forbidden
        assert ("shares", "shares") in pairs
        assert any("free" in pair for pair in pairs)

    def test_held_over_a_crash(self, host: Host) -> None:
        """SIGKILL of the daemon frees no lock whose holder lives: the next starts only once the holder has ended."""
        configured(
            host,
            """
jobs:
  holder: {command: 'UNTIL_GO', locks: [tape]}
  wants: {command: 'MARKED', locks: [tape]}
  alone: {command: 'MARKED', exclusive: true}
  free: {command: 'MARKED'}
""",
        )
        holder = live(host, "holder")
        waiting = [host.run("wants")]
        host.kill()
        host.start()
        waiting += [host.run("wants"), host.run("free")]
        succeeded(host, waiting[2:])
        assert f"lock tape is held by {holder}" in host.call("Why", run=waiting[0])["why"]["reasons"][0]
        waiting.append(host.run("alone"))
        host.kill()
        host.start()
        (host.root / "go").touch()
        succeeded(host, [holder, *waiting])
        assert {("free", "holder")} == pairs_that_overlap(host)

    def test_units(self, host: Host) -> None:
        """Runs at the same time have different units of a resource; who gets none waits, and gets one that is free."""
        configured(
            host,
            "jobs: {gpu: {command: 'echo $JOBQUEUE_GPU; UNTIL_GO', resources: {gpu: 1}, concurrency: 9}}",
            "resources: {gpu: 2}\n",
        )
        first, second = live(host, "gpu"), live(host, "gpu")
        third = host.run("gpu")
        (reason,) = host.call("Why", run=third)["why"]["reasons"]
        assert reason.startswith("it needs 1 of the 2 units of gpu; held by ")
        host.kill()  # what was given is known again afterwards
        host.start()
        (host.root / "go").touch()
        succeeded(host, [first, second, third])
        given = [host.output(run).decode().split()[0] for run in (first, second, third)]
        assert ["0", "1"] == sorted(given[:2])
        assert given[2] in given[:2]
        times = {interval.run: interval for interval in intervals(host)}
        before = first if given[2] == given[0] else second
        assert times[before].end < times[third].begin

    def test_cpus(self, host: Host) -> None:
        """A run that asks for CPU and a placement is bound to the CPUs that it is told; others may use all."""
        cpus = os.sched_getaffinity(0)
        configured(
            host,
            """
jobs:
  placed: {command: 'echo $JOBQUEUE_CPUS; UNTIL_GO', resources: {cpu: 1}, placement: spread, concurrency: 9}
  plain: {command: 'echo ${JOBQUEUE_CPUS-none}; UNTIL_GO', concurrency: 9}
""",
        )
        placed, plain = [live(host, "placed") for _ in range(min(2, len(cpus)))], live(host, "plain")
        wait_for(lambda: len(host.said("run_started")) == len(placed) + 1)
        pids = {run: host.call("Show", run=run)["record"]["pid"] for run in (*placed, plain)}
        bound = {run: os.sched_getaffinity(pid) for run, pid in pids.items()}
        (host.root / "go").touch()
        succeeded(host, [*placed, plain])
        told = {run: host.output(run).decode().split() for run in pids}
        assert {run: [",".join(map(str, sorted(bound[run])))] for run in placed} | {plain: ["none"]} == told
        assert cpus == bound[plain]
        assert [1] * len(placed) == [len(bound[run]) for run in placed]
        assert len(placed) == len(set().union(*(bound[run] for run in placed)))

    def test_a_lock_file(self, host: Host) -> None:
        """A lock file that flock(1) holds delays a run, is told once and counts as no attempt; then the run has it."""
        path = host.root / "tape.lock"
        configured(
            host,
            f"jobs: {{a: {{command: 'flock -n {path} true || echo mine; echo $JOBQUEUE_ATTEMPT', retries: 3,"
            f" locks: [{{path: {path}}}]}}, free: {{command: 'true'}}}}",
        )
        with subprocess.Popen(["flock", path, "sh", "-c", "echo; read x"], stdin=subprocess.PIPE, stdout=-1) as flock:
            assert flock.stdin is not None
            assert flock.stdout is not None
            assert b"\n" == flock.stdout.readline()
            name = host.run("a")
            (line,) = wait_for(lambda: host.said("run_returned"))
            holder = f"flock (pid {flock.pid}) of user {ME.pw_name}"
            busy = f"path busy: {path}, held by {holder}"
            assert f"{name} could not be started: {busy}; next try in 1 s" == line["message"]
            why = f"another program holds its lock file ({busy}); next try in "
            wait_for(lambda: any(text.startswith(why) for text in host.call("Why", run=name)["why"]["reasons"]))
            succeeded(host, [host.run("free")])
            assert [] == host.call("Show", run=name)["record"]["attempts"]
            listed = run("--root", host.root, "locks", path).stdout.splitlines()[1]
            assert re.match(rf"{path} +{name} +waits: held by {re.escape(holder)} ", listed)
            flock.communicate(b"\n", DEADLINE)
        record = host.wait(name)
        assert ("succeeded", [(1,)]) == (record["state"], attempts(record, "attempt"))
        assert (b"mine\n1\n", 1) == (host.output(name), len(host.said("run_returned")))
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class TestAttempts:
    def test_retries(self, host: Host) -> None:
        """A run that fails is tried again: its record has all attempts, one file what each wrote, in order."""
        command = (
            "echo this is $JOBQUEUE_ATTEMPT of $JOBQUEUE_RUN; [ $JOBQUEUE_ATTEMPT = 3 ] || exit 1$JOBQUEUE_ATTEMPT"
        )
        configured(host, f"jobs: {{a: {{command: '{command}', retries: 5, retry_delay: 0s}}}}")
        record = host.wait(name := host.run("a"))
        assert ("succeeded", None, 0) == (record["state"], record["reason"], record["exit_code"])
        expected = [(1, "failed", 11, False), (2, "failed", 12, False), (3, "succeeded", 0, False)]
        assert expected == attempts(record, "attempt", "state", "exit_code", "failover")
        written = host.output(name)
        parts = [attempt["output"] for attempt in record["attempts"]]
        slices = [written[part["offset"] : part["offset"] + part["bytes"]] for part in parts]
        assert [f"this is {n} of {name}\n".encode() for n in (1, 2, 3)] == slices
        assert b"".join(slices) == written
        assert all(first["ended"] <= second["started"] for first, second in pairwise(record["attempts"]))
        assert record == host.record(name)
        assert ["exit code 11", "exit code 12"] == [line["record"]["reason"] for line in host.said("run_retrying")]
        stats = host.call("Describe", job="a")["stats"]
        assert (1, 1, 0) == (stats["started"], stats["succeeded"], stats["failed"])

    def test_all_fail(self, host: Host) -> None:
        """When the last attempt has failed, so has the run, as that attempt did."""
        configured(host, "jobs: {a: {command: 'exit 1$JOBQUEUE_ATTEMPT', retries: 1, retry_delay: 0s}}")
        record = host.wait(host.run("a"))
        assert ("failed", "exit code 12") == (record["state"], record["reason"])
        assert [(1, "exit code 11"), (2, "exit code 12")] == attempts(record, "attempt", "reason")

    @pytest.mark.parametrize(
        ("end", "state", "reason"),
        [
            (0, "succeeded", "by the failover, after exit code 3"),
            (9, "failed", "the failover: exit code 9; before it: exit code 3"),
        ],
    )
    def test_failover(self, host: Host, end: int, state: str, reason: str) -> None:
        """After the last retry the failover runs, once, as an attempt of its own, whose end is that of the run."""
        configured(
            host,
            f"""
jobs:
  a:
    command: echo first; exit 3
    retries: 1
    retry_delay: 0s
    failover: echo spare $JOBQUEUE_ATTEMPT; exit {end}
""",
        )
        record = host.wait(name := host.run("a"))
        assert (state, reason, end) == (record["state"], record["reason"], record["exit_code"])
        expected = [(1, "failed", 3, False), (2, "failed", 3, False), (3, state, end, True)]
        assert expected == attempts(record, "attempt", "state", "exit_code", "failover")
        assert b"first\nfirst\nspare 3\n" == host.output(name)
        assert [11 + 1] == [record["attempts"][-1]["output"]["offset"]]
        wait_for(lambda: host.record(name) == record, why="the record file says the same")
        by_failover = state == "succeeded"
        assert [by_failover] == [job["last_failover"] for job in host.call("List")["jobs"]]
        host.kill()
        host.start()
        assert [by_failover] == [job["last_failover"] for job in host.call("List")["jobs"]]

    def test_a_pause_survives_a_crash(self, host: Host) -> None:
        """A run that is to be tried again is so after SIGKILL of the daemon: once, not sooner, with what it has had."""
        configured(
            host,
            "jobs: {a: {command: 'MARKED; echo $JOBQUEUE_ATTEMPT; [ $JOBQUEUE_ATTEMPT = 2 ]', retries: 3, "
            "retry_delay: 1s}}".replace("MARKED", "echo $JOBQUEUE_RUN >>starts"),
        )
        name = host.run("a")
        wait_for(lambda: host.said("run_retrying"))
        so_far = wait_for(lambda: host.record(name))
        assert so_far is not None
        assert ("retrying", [(1, "failed")]) == (so_far["state"], attempts(so_far, "attempt", "state"))
        host.kill()
        host.start()
        shown = host.call("Show", run=name)["record"]  # maybe of its second attempt already
        assert [(1, "failed")] == attempts(shown, "attempt", "state")[:1]
        record = host.wait(name)
        assert ("succeeded", [(1,), (2,)]) == (record["state"], attempts(record, "attempt"))
        first, second = record["attempts"]
        assert 1 <= instant(second["started"]) - instant(first["ended"])
        assert (b"1\n2\n", 2 * f"{name}\n") == (host.output(name), (host.root / "starts").read_text())

    def test_the_lock_is_free_meanwhile(self, host: Host) -> None:
        """Between two attempts a run holds nothing: others go on."""
        configured(
            host,
            """
jobs:
  a: {command: exit 1, locks: [tape], retries: 1, retry_delay: 1h}
  b: {command: 'true', locks: [tape], exclusive: true}
""",
        )
        name = host.run("a")
        wait_for(lambda: host.said("run_retrying"))
        succeeded(host, [host.run("b")])
        assert "retrying" == host.call("Show", run=name)["record"]["state"]


class TestDependencies:
    def test_chain(self, host: Host) -> None:
        """Each job of a chain is due when the one before has succeeded, and only then; a failure stops the chain."""
        configured(
            host,
            """
jobs:
  a: {command: 'MARKED; test -e fine'}
  b: {command: 'MARKED', dependencies: [a]}
  c: {command: 'MARKED', dependencies: [a, b]}
""",
        )
        assert "failed" == host.wait(host.run("a"))["state"]
        (host.root / "fine").touch()
        succeeded(host, [host.run("a")])
        wait_for(lambda: host.call("History", job="c")["runs"])
        succeeded(host, ["b@1", "c@1"])
        found = intervals(host)
        assert ["a@1", "a@2", "b@1", "c@1"] == [interval.run for interval in found]
        assert set() == pairs_that_overlap(host)
        assert [1, 1] == [len(host.call("History", job=job)["runs"]) for job in ("b", "c")]

    def test_chain_over_a_crash(self, host: Host) -> None:
        """What ends while no daemon is there makes its dependants due at the next start, once."""
        configured(host, "jobs: {a: {command: 'UNTIL_GO'}, b: {command: 'MARKED', dependencies: [a]}}")
        first = live(host, "a")
        host.kill()
        (host.root / "go").touch()
        wait_for(lambda: (host.record(first) or {}).get("state") == "succeeded")
        host.start()
        wait_for(lambda: host.call("History", job="b")["runs"])
        succeeded(host, [first, "b@1"])
        host.kill()
        host.start()
        assert 1 == len(host.call("History", job="b")["runs"])
        assert [first, "b@1"] == [interval.run for interval in intervals(host)]
