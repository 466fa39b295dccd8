"""Marks of R that say nothing, or nonsense: each has its verdict, and a start goes on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from jobqueued.base.instants import MINUTE, SECOND, to_instant, to_text
from jobqueued.child.contract import wire
from jobqueued.child.contract.reasons import fields, parse
from jobqueued.child.processes import process
from jobqueued.core.records import record
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.model import events
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState, Unstarted
from jobqueued.runs import leftover_processes
from jobqueued.runs import marks as marks_of
from jobqueued.runs.launcher_link import unstarted
from jobqueued.runs.leftover_processes import Clues
from jobqueued.runs.recovery import DEAD, GONE, Recovery
from jobqueued.runs.run_directory import Name, RunDirectory
from tests.support.host import Host, kill, wait_for
from tests.support.world import MIDNIGHT

RUN = Run(id=RunId("job", 1), key="x1", due=1, queued=1, arrival=1, state=RunState.RUNNING, attempt=1)
NAME = Name(RUN.id, 1)
INSTANT = "2026-11-24T02:00:00.000000Z"

EMPTY = {"empty": b"", "half": b'{"job": "job", "numb', "half a number": b"12"}
NONSENSE = {
    "no text": b"\xff\xfe\x00\n", "no JSON": b"no JSON\n", "null": b"null\n", "a list": b"[1]\n", "a number": b"7\n",
    "an empty object": b"{}\n", "lists without end": b"[" * 100_000 + b"\n", "many numbers": b"1 2 3 4 5 6 7\n",
    "a number over all bounds": b"9" * 400 + b" 1 1 1\n",
}  # fmt: skip


def ended(**changes: Any) -> bytes:
    """R/ended of an attempt that has succeeded, with changes."""
    attempt = {"attempt": 1, "state": "succeeded", "started": INSTANT, "ended": INSTANT}
    begun = record.begin(replace(RUN, state=RunState.STARTING), None, HostLimits("host"))
    own = {"state": "succeeded", "started": INSTANT, "ended": INSTANT, "exit_code": 0, "attempts": [attempt]}
    return json.dumps({**begun, **own, **changes}).encode() + b"\n"


WRONG_ENDS = {
    "unknown state 'exploded'": ended(state="exploded"),
    "unknown state 'running'": ended(state="running"),
    "None is not a valid state": ended(state=None),
    "it belongs to 'job@2'": ended(run="job@2"),
    "'x' is not a valid exit_code": ended(exit_code="x"),
    "99999999999999999999 is not a valid pid": ended(pid=99999999999999999999),
    "'yesterday' is not a valid started": ended(started="yesterday"),
    "1 is not an object": ended(attempts=[1]),
    "it has no tail": ended(output={"file": None, "bytes": 0, "dropped": 0}),
    "it has no reason": ended().replace(b'"reason": null, ', b""),
}


@pytest.fixture
def marks(tmp_path: Path) -> RunDirectory:
    """All R's, one of them with the mark `spawning`."""
    directory = tmp_path / "runs" / str(NAME)
    directory.mkdir(parents=True)
    (directory / wire.SPAWNING).touch()
    return RunDirectory(tmp_path / "runs", tmp_path / "logs")


def put(marks: RunDirectory, mark: str, data: bytes) -> None:
    """Write a mark of the attempt."""
    with marks.opened(NAME) as directory:
        descriptor = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, dir_fd=directory)
    with open(descriptor, "wb") as file:
        file.write(data)


def verdicts(marks: RunDirectory, run: Run | None = RUN) -> list[events.Event]:
    """The verdicts of a settling with this run in state.db, when nothing lives of what is lost."""
    runs = {} if run is None else {run.id: run}
    recovery = Recovery(marks, set())
    found = list(recovery.verdicts(runs, lambda _: False, same_boot=True))
    return [*found, *(dead.over(name, marks) for name, dead in recovery.dead.items())]


@pytest.mark.parametrize("supervisor", [None, 43], ids=["of an older version", "of this version"])
def test_a_whole_pid(marks: RunDirectory, supervisor: int | None) -> None:
    """The start that R/pid tells of is told of; one at an instant that no clock has is none."""
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    mark = wire.PidMark(1 << 22, 1_795_000_000_123_456_789, now, now + 6, supervisor)
    said = f"4194304 1795000000123456789 {now} {now + 6}{'' if supervisor is None else ' 43'}".encode()
    put(marks, wire.PID, said + b"\n")
    assert wire.PidMark.parse(said + b"\n") == mark
    assert [events.RunStarted(*NAME, 1 << 22, mark.started), events.RunLost(*NAME, GONE)] == verdicts(marks)
    put(marks, wire.PID, b"4194304 9795000000123456789 %d %d\n" % (now, now + 6))
    assert [events.RunLost(*NAME, GONE)] == verdicts(marks)


def test_what_a_supervisor_writes_is_read() -> None:
    """R/pid as it is written is what it was."""
    mark = wire.PidMark(4711, 1_795_000_000_123_456_789, 5, 6, 43)
    assert (b"4711 1795000000123456789 5 6 43\n", mark) == (mark.encode(), wire.PidMark.parse(mark.encode()))


def test_whole_marks(marks: RunDirectory) -> None:
    """What is as it should be is taken in."""
    put(marks, wire.ENDED, ended())
    assert [events.RunEnded(*NAME, json.loads(ended()))] == verdicts(marks)
    assert [] == marks.flaws()


def test_when_it_was_over() -> None:
    """What a supervisor writes into R/ended tells when, by a clock that nobody sets; the record is what it was."""
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    data = wire.ended(ended())
    over = marks_of.over(data)
    assert over is not None
    assert before <= over <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert json.loads(ended()) == marks_of.record(data, RUN.id)


@pytest.mark.parametrize("told", [b"", b', "over": "7"', b', "over": null', b', "over": 99999999999999999999'])
def test_an_end_that_does_not_tell_when(marks: RunDirectory, monkeypatch: pytest.MonkeyPatch, told: bytes) -> None:
    """The instant is that of its record, by the clock as it is now; that of a loss is that of R/lost, or now."""
    put(marks, wire.ENDED, ended().removesuffix(b"}\n") + told + b"}\n")
    (end,) = verdicts(marks)
    assert isinstance(end, events.RunEnded)
    instant, lost = to_instant(datetime.fromisoformat(INSTANT)), events.RunLost(*NAME, GONE)
    monkeypatch.setattr(time, "time_ns", lambda: instant + 3 * MINUTE)
    monkeypatch.setattr(time, "clock_gettime_ns", {time.CLOCK_BOOTTIME: 5 * MINUTE}.get)
    assert (2 * MINUTE, 5 * MINUTE) == (marks.over(end), marks.over(lost))
    put(marks, wire.LOST, b"9")
    with marks.opened(NAME) as directory:
        os.utime(wire.LOST, ns=(instant, instant + MINUTE), dir_fd=directory)
    assert 3 * MINUTE == marks.over(lost)


@pytest.mark.parametrize("set_by", [-3600, 0, 3600])
def test_the_order_of_ends(tmp_path: Path, set_by: int) -> None:
    """What goes on is told first, what has ended as it did, whatever the names, and whatever the wall clock was."""
    marks, names = RunDirectory(tmp_path / "runs", tmp_path / "logs"), list("cadbe")
    for place, job in enumerate(names):
        directory = tmp_path / "runs" / f"{job}@1.1"
        directory.mkdir(parents=True)
        wall = to_text(MIDNIGHT + set_by * place * SECOND)
        text = ended(job=job, run=f"{job}@1", ended=wall)
        (directory / wire.ENDED).write_bytes(wire.ended(text))
        (directory / wire.SPAWNING).touch()
    (tmp_path / "runs" / "e@1.1" / wire.ENDED).unlink()
    runs = {RunId(job, 1): replace(RUN, id=RunId(job, 1)) for job in "abcde"}
    told = list(Recovery(marks, {Name(RunId("e", 1), 1)}).verdicts(runs, lambda _: False, same_boot=True))
    assert list("cadb") == [event.run.job for event in told if isinstance(event, events.RunEnded)]
    found = list(Recovery(marks, set()).verdicts({}, lambda _: False, same_boot=True))
    assert list("ecadb") == [event.run.job for event in found if isinstance(event, events.Found)]
    assert "abcd" == "".join(sorted(run.id.job for run in marks.sent_beside({})))
    assert "ad" == "".join(sorted(run.id.job for run in marks.sent_beside({RunId("b", 1), RunId("c", 1)})))


@pytest.mark.parametrize("data", EMPTY.values(), ids=EMPTY)
def test_half_an_end_is_none(marks: RunDirectory, data: bytes) -> None:
    """A writer that did not come to the end of R/ended has ended nothing: its supervisor is asked, and is gone."""
    put(marks, wire.ENDED, data)
    assert [events.RunLost(*NAME, GONE)] == verdicts(marks)


@pytest.mark.parametrize("data", NONSENSE.values(), ids=NONSENSE)
def test_an_end_of_nonsense(marks: RunDirectory, data: bytes) -> None:
    """An attempt with a whole R/ended has ended, whatever that says: it is lost."""
    put(marks, wire.ENDED, data)
    (lost,) = verdicts(marks)
    assert isinstance(lost, events.RunLost)
    assert lost.reason.startswith("its end can't be read: ")


@pytest.mark.parametrize("flaw", WRONG_ENDS)
def test_an_end_with_a_flaw(marks: RunDirectory, flaw: str) -> None:
    """A record that nobody could take in never gets to the scheduler; the reason of the loss names the flaw."""
    put(marks, wire.ENDED, WRONG_ENDS[flaw])
    assert [events.RunLost(*NAME, f"its end can't be read: {flaw}")] == verdicts(marks)


@pytest.mark.parametrize("flaw", WRONG_ENDS)
def test_a_record_file_with_a_flaw(marks: RunDirectory, flaw: str) -> None:
    """The same of the record file, which is looked at where R tells no end."""
    (marks.logs / "job").mkdir(parents=True)
    (marks.logs / "job" / "1.json").write_bytes(WRONG_ENDS[flaw])
    assert [events.RunLost(*NAME, GONE)] == verdicts(marks)
    (marks.logs / "job" / "1.json").write_bytes(ended())
    assert [events.RunEnded(*NAME, json.loads(ended()))] == verdicts(marks)


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_record_without_its_run_directory(tmp_path: Path, attempt: int) -> None:
    """An attempt about to start, whose R alone somebody removed, has ended if the record says so; else it has not."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "logs" / "job").mkdir(parents=True)
    (tmp_path / "logs" / "job" / "1.json").write_bytes(ended())
    marks = RunDirectory(tmp_path / "runs", tmp_path / "logs")
    marks.emptying.begin()
    end = events.RunEnded(*NAME, json.loads(ended()))
    starting = replace(RUN, state=RunState.STARTING, attempt=attempt)
    assert [end if attempt == 1 else events.NeverStarted(RUN.id, 2)] == verdicts(marks, starting)
    running = replace(starting, state=RunState.RUNNING, pid=1 << 22, started=1)
    assert ([end] if attempt == 1 else []) == [event for event in verdicts(marks, running) if event == end]


@pytest.mark.parametrize("data", [*EMPTY.values(), *NONSENSE.values()], ids=[*EMPTY, *NONSENSE])
@pytest.mark.parametrize("mark", [wire.PID, wire.SPEC, wire.SPAWNING, wire.CONTROL])
def test_other_marks(marks: RunDirectory, mark: str, data: bytes) -> None:
    """A pid, an order or a socket that says nothing is as good as none: the attempt is lost as without it."""
    put(marks, mark, data)
    assert [events.RunLost(*NAME, GONE)] == verdicts(marks)
    assert [events.Found(*NAME, None), events.RunLost(*NAME, GONE)] == verdicts(marks, None)


@pytest.mark.parametrize("data", [*EMPTY.values(), *NONSENSE.values()], ids=[*EMPTY, *NONSENSE])
def test_a_loss_without_a_status(marks: RunDirectory, data: bytes) -> None:
    """R/lost says that the attempt is lost, and no status where there is none in it."""
    put(marks, wire.LOST, data)
    status = {b"12": 12, b"7\n": None}.get(data)
    assert [events.RunLost(*NAME, DEAD, status)] == verdicts(marks)


def order(**changes: Any) -> bytes:
    """R/spec of the attempt, as far as it tells whose it is, with changes in that."""
    told = {"key": "x1", "due": 1, "queued": 1, "trigger": "manual", "asked_by": "root", **changes}
    begun = record.begin(RUN, None, HostLimits("host"))
    return json.dumps({"run": told, "record": begun}).encode() + b"\n"


def test_an_unknown_run_is_found(marks: RunDirectory) -> None:
    """An order tells whose attempt it is, and what made that due, where state.db does not."""
    told: Any = {"trigger": "path /srv/*", "triggered_by": {"path": "/srv/\udcff"}}
    put(marks, wire.SPEC, order(**told))
    sent = Run(id=NAME.run, key="x1", due=1, queued=1, arrival=0, asked_by="root", **told)
    assert [events.Found(*NAME, sent), events.RunLost(*NAME, GONE)] == verdicts(marks, None)


def test_an_unknown_run_is_found_by_its_end(marks: RunDirectory) -> None:
    """Where the order is gone, the record of the end tells as much, but for the claims, which nobody needs any more."""
    put(marks, wire.ENDED, ended(due=INSTANT, queued=INSTANT, key="c0.1"))
    found, end = verdicts(marks, None)
    due = to_instant(datetime.fromisoformat(INSTANT))
    assert found == events.Found(*NAME, Run(id=NAME.run, key="c0.1", due=due, queued=due, arrival=0))
    assert isinstance(end, events.RunEnded)


def test_a_second_attempt_is_found_with_the_first(marks: RunDirectory) -> None:
    """The order of a further attempt tells of those before, as they ended."""
    before = json.loads(ended(state="failed", reason="exit code 7", exit_code=7))
    before["attempts"] = [{**before["attempts"][0], "state": "failed", "reason": "exit code 7"}]
    told = json.loads(order()) | {"record": {**before, "state": "starting", "reason": None}}
    put(marks, wire.SPEC, json.dumps(told).encode() + b"\n")
    found = verdicts(marks, None)[0]
    assert isinstance(found, events.Found)
    assert found.sent is not None
    assert found.sent.so_far == {**before, **fields(parse("exit code 7"))}


@pytest.mark.parametrize(
    "changes",
    [
        {"due": 1 << 63},
        {"key": None},
        {"claims": 7},
        {"claims": [["tape", "one"]]},
        {"placed": [1]},
        {"placed": [["gpu", ["x"]]]},
        {"ends_by": "noon"},
        {"failover": 1},
        {"triggered_by": 7},
    ],
    ids=str,
)
def test_an_order_with_a_flaw(marks: RunDirectory, changes: dict[str, Any]) -> None:
    """An order that tells nonsense of its run tells nothing of it, and is named."""
    put(marks, wire.SPEC, order(**changes))
    assert [events.Found(*NAME, None), events.RunLost(*NAME, GONE)] == verdicts(marks, None)
    (flaw,) = marks.flaws()
    assert flaw.endswith("; its run is unknown")


def test_what_is_wrong_is_told_once(marks: RunDirectory) -> None:
    """A mark of nonsense is named, with what follows from it; half a mark is no news."""
    for mark in (wire.PID, wire.SPEC):
        put(marks, mark, b"nonsense\n")
    verdicts(marks, None)
    marks.started(NAME)
    assert sorted(line.rpartition("/")[2] for line in marks.flaws()) == [
        "pid: it names no processes; the daemon searches for the run's processes without it",
        "spec: it is no JSON; its run is unknown",
    ]
    assert [] == marks.flaws()


def test_a_mark_that_is_a_directory(marks: RunDirectory, tmp_path: Path) -> None:
    """What is no file is no mark."""
    (tmp_path / "runs" / str(NAME) / wire.ENDED).mkdir()
    assert [events.RunLost(*NAME, GONE)] == verdicts(marks)
    assert ["ended: Is a directory"] == [line.rpartition("/")[2] for line in marks.flaws()]


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("", Unstarted.NO_FAULT),
        ("path busy: /run/lock/a", Unstarted.PATH_BUSY),
        ("fork: Cannot allocate memory", Unstarted.TROUBLE),
        ("supervisor died", Unstarted.TROUBLE),
    ],
)
def test_why_an_attempt_was_not_started(reason: str, cause: Unstarted) -> None:
    """The words of the notice stand for a cause."""
    assert events.NeverStarted(*NAME, reason, cause) == unstarted(NAME, reason)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host with a job that does not end by itself, and one that does."""
    host = Host(tmp_path / "host")
    host.write("jobs.yaml", "jobs: {job: {command: sleep 1000}, quick: {command: 'true'}}")
    host.start()
    yield host
    host.close()


def test_the_start_goes_on(host: Host) -> None:
    """A scheduler that finds nonsense in the R's loses the attempts that are behind it, and no more."""
    run = host.run("job")
    (started,) = wait_for(lambda: host.said("run_started"))
    host.kill()
    host.kill_small_ones()
    kill(-started["pid"])  # its R says that it has ended, so nobody else would
    (directory,) = host.root.glob("run/runs/*/*@*")
    (directory / wire.ENDED).write_bytes(ended(state="exploded"))
    for number, (mark, data) in enumerate([(mark, data) for mark in wire.MARKS for data in NONSENSE.values()], 1):
        other = directory.parent / f"gone@{number}.1"
        other.mkdir()
        (other / mark).write_bytes(data)
    host.start()
    found = host.wait(run)
    assert ("lost", "its end can't be read: unknown state 'exploded'") == (found["state"], found["reason"])
    assert "succeeded" == host.wait(host.run("quick"))["state"]
    wait_for(lambda: not host.marks(), why="the attempts that say nothing are not settled")
    assert not host.said("bug")


SPAWNING = wire.SpawningMark(50 * process.TICK, own=True, cgroups="1:name=systemd:/q\n0::/q.scope/self\n")


def test_what_a_supervisor_claims_by_is_read(tmp_path: Path) -> None:
    """R/spawning as it is written is what it was, and is written once."""
    directory = wire.open_directory(str(tmp_path))
    wire.claim(directory, SPAWNING)
    assert SPAWNING == wire.SpawningMark.parse(wire.read_mark(directory, wire.SPAWNING) or b"")
    with pytest.raises(FileExistsError):
        wire.claim(directory, SPAWNING)
    os.close(directory)


@pytest.mark.parametrize(
    "data", [*EMPTY.values(), *NONSENSE.values(), b"1 own\n", b"1 own\n0::/", b"9" * 19 + b" own\n\n"]
)
def test_a_claim_that_says_nothing(data: bytes) -> None:
    """Of R/spawning that is not whole, or nonsense, nothing is taken."""
    assert wire.SpawningMark.parse(data) is None


def test_clues(marks: RunDirectory) -> None:
    """R tells where to look for what is left of its attempt: from when on, by which variables, and in which cgroup."""
    given = {"JOBQUEUE_RUN": "job@1", "JOBQUEUE_ATTEMPT": "1", "JOBQUEUE_DUE": "d", leftover_processes.INVOCATION: "i"}
    spec = json.loads(order()) | {"environment": {**given, "HOME": "/", "JOBQUEUE_GPU": "1"}}
    put(marks, wire.SPEC, json.dumps(spec).encode() + b"\n")
    put(marks, wire.SPAWNING, SPAWNING.encode())
    cgroups, title = SPAWNING.cgroups, (str(NAME), marks._runs)
    assert Clues(49, given, None, f"/q.scope/{NAME}", cgroups, title) == marks.clues(NAME)
    put(marks, wire.PID, wire.PidMark(7, 1, 60 * process.TICK, 61 * process.TICK, 8).encode())
    assert Clues(49, given, (7, 59, 62), f"/q.scope/{NAME}", cgroups, title) == marks.clues(NAME)
    put(marks, wire.SPAWNING, SPAWNING._replace(own=False).encode())
    assert Clues(49, given, (7, 59, 62), None, cgroups, title) == marks.clues(NAME)
    put(marks, wire.SPAWNING, b"")  # of an older version
    assert Clues(59, given, (7, 59, 62), title=title) == marks.clues(NAME)
    put(marks, wire.SPEC, b"nonsense\n")
    known = {"JOBQUEUE_RUN": str(NAME.run), "JOBQUEUE_ATTEMPT": str(NAME.attempt)}
    assert Clues(59, known, (7, 59, 62), title=title) == marks.clues(NAME)


def test_when_a_claim_was_made(marks: RunDirectory) -> None:
    """Where nothing in R tells an instant, its oldest time stamp does, as a damaged mark has a new one."""
    before = leftover_processes.ticks(time.clock_gettime_ns(time.CLOCK_BOOTTIME))
    assert abs(marks.clues(NAME).since - before) * process.TICK < MINUTE, "of now, not of the start of the host"
    put(marks, wire.SPEC, order())
    with marks.opened(NAME) as directory:
        os.utime(wire.SPEC, (0, 0), dir_fd=directory)
    assert leftover_processes.ticks(0) == marks.clues(NAME).since


def test_a_run_without_its_directory(marks: RunDirectory) -> None:
    """Its launcher tells the end; without one, what has the name of its attempt might belong to it."""
    live = replace(RUN, pid=1 << 22, started=marks.logs.parent.stat().st_mtime_ns)
    marks.remove(NAME)
    for held, dead in (({NAME}, []), (set(), [NAME])):
        recovery = Recovery(marks, held)
        assert [] == list(recovery.verdicts({live.id: live}, lambda _: False, same_boot=True))
        assert dead == list(recovery.dead)
    assert {"JOBQUEUE_RUN": "job@1", "JOBQUEUE_ATTEMPT": "1"} == recovery.dead[NAME].clues.identity
