"""What a new scheduler makes of every pair of a row in state.db and a run directory (R), cell by cell.

R is real, and so is what reads it; the scheduler is the real one, told what the daemon tells it at a start.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobqueued.base.instants import HOUR, MINUTE, SECOND, to_text
from jobqueued.base.replace import changed
from jobqueued.child.contract import unix_socket, wire
from jobqueued.child.contract.documents import UNKNOWN_OF_ATTEMPT, UNSTARTED, Record, with_attempt
from jobqueued.core.records import record
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.core.scheduler import Scheduler
from jobqueued.model import events
from jobqueued.model.commands import Command, Launch, RemoveMarks, SaveRun
from jobqueued.model.job import Now
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import LIVE, RunState
from jobqueued.model.saved import SavedJob
from jobqueued.runs.emptying import WHOLE
from jobqueued.runs.launch_spec import order
from jobqueued.runs.recovery import Recovery
from jobqueued.runs.run_directory import Name, RunDirectory
from tests.support.world import MIDNIGHT, job

NOW = Now(MIDNIGHT + HOUR, 10**15)
PROBE = job("probe", retries=2, retry_delay=10 * MINUTE)
RUN = RunId("probe", 1)
NO_PROCESS = 1 << 21
"""A pid that no process has."""


def attempts(count: int, state: str = "failed") -> Record:
    """The record of a run of which so many attempts have ended."""
    document = record.begin(run("starting", 1), PROBE, HostLimits("host"))
    for number in range(1, count + 1):
        document = with_attempt(document, attempt(number, state))
    return document


def attempt(number: int, state: str) -> Any:
    """The part of a record about one attempt."""
    return {
        **UNKNOWN_OF_ATTEMPT, "attempt": number, "failover": False, "pid": 4711,
        "exit_code": {"failed": 7, "succeeded": 0}.get(state), "started": to_text(MIDNIGHT),
        "ended": to_text(MIDNIGHT + SECOND), "state": state, "reason": None,
        "output": {"file": None, "bytes": 0, "dropped": 0, "tail": "", "journal": None, "offset": 0},
    }  # fmt: skip


def run(state: str, number: int, **fields: Any) -> Run:
    """The run, at this state of this attempt."""
    return Run(
        id=RUN, key="x1", due=MIDNIGHT, queued=MIDNIGHT, arrival=1, trigger="manual", asked_by="root",
        state=RunState(state), attempt=number, **fields,
    )  # fmt: skip


def second(state: str, **fields: Any) -> Run:
    """The run with one attempt behind it."""
    return run(state, 2, so_far={**attempts(1), "state": "retrying"}, **fields)


ROWS: dict[str, Run | None] = {
    "none": None,
    "due": run("due", 0),
    "waiting": run("waiting", 0, since=MIDNIGHT),
    "returned 1": run("waiting", 1, since=MIDNIGHT, failures=1, not_before=NOW.wall + MINUTE),
    "starting 1": run("starting", 1),
    "running 1": run("running", 1, pid=NO_PROCESS, started=MIDNIGHT),
    "stopping 1": run("stopping", 1, pid=NO_PROCESS, started=MIDNIGHT, stop_asked=True),
    "retrying 2": second("retrying", not_before=NOW.wall + MINUTE),
    "waiting 2": second("waiting", since=MIDNIGHT),
    "starting 2": second("starting"),
    "running 2": second("running", pid=NO_PROCESS, started=MIDNIGHT),
    "failed 1": run("failed", 1),
}
"""The states of the row, with the attempt that it is at."""


class Place:
    """The run directories of a host, as a scheduler finds them."""

    def __init__(self, directory: Path) -> None:
        self.runs, self.logs = directory / "runs", directory / "logs"
        self.runs.mkdir()
        self.marks = RunDirectory(self.runs, self.logs)
        self.marks.emptying.begin()
        self.marks.emptying.settle()
        self.listeners: list[socket.socket] = []

    def make(self, number: int, *marks: str) -> None:
        """R of an attempt, with these marks."""
        path = self.runs / f"{RUN}.{number}"
        path.mkdir()
        directory = wire.open_directory(str(path))
        for mark in marks:
            name, _, kind = mark.partition(" ")
            if name == "control":
                listener = socket.socket(socket.AF_UNIX)
                listener.bind(unix_socket.address(directory, wire.CONTROL))
                listener.listen()
                self.listeners.append(listener)
            elif kind == "recovery":
                os.symlink("recovery", path / name)
            else:
                wire.write_mark(directory, name, self._content(number, name, kind))
        os.close(directory)

    def _content(self, number: int, name: str, kind: str) -> bytes:
        if kind == "nonsense":
            return b"\0" * 20 + b"\n"
        if kind == "half":
            return b'{"version":1,"job":"pro'
        if name == wire.SPEC:
            so_far = attempts(number - 1)
            whole = run("starting", number, so_far=so_far if number > 1 else None)
            return wire.encode(order(Launch(whole, PROBE, so_far), self.logs, Path("/none")))
        if name == wire.PID:
            return wire.PidMark(NO_PROCESS, MIDNIGHT, 0, 1, NO_PROCESS).encode()
        if name == wire.ENDED:
            return wire.encode(with_attempt(attempts(number - 1), attempt(number, kind)))
        return b"256" if name == wire.LOST else b""

    def close(self) -> None:
        """No supervisor lives any more."""
        for listener in self.listeners:
            listener.close()


RS: dict[str, tuple[str, ...]] = {
    "bare": (),
    "held": ("spec",),
    "no spawning": ("spec",),
    "recovery's": ("spec", "spawning recovery"),
    "dead": ("spec", "spawning", "pid"),
    "dead early": ("spec", "spawning"),
    "alive": ("spec", "control", "spawning", "pid"),
    "succeeded": ("spec", "control", "spawning", "pid", "ended succeeded"),
    "failed": ("spec", "spawning", "pid", "ended failed"),
    "unstarted": ("spec", "spawning", f"ended {UNSTARTED}"),
    "lost": ("spec", "spawning", "pid", "lost"),
    "half ended": ("spec", "spawning", "pid", "ended half"),
    "bad spec": ("spec nonsense", "spawning", "pid", "ended succeeded"),
}
"""What can be in R."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """No R yet."""
    place = Place(tmp_path)
    yield place
    place.close()


def outcome(place: Place, row: Run | None, held: set[Name] | None = None) -> str:
    """What the start of a scheduler makes of it, in words, after an independent look at what may never be."""
    scheduler, final = Scheduler(HostLimits()), row is not None and row.state is RunState.FAILED
    memory = SavedJob(job="probe", last_number=0 if row is None else 1)
    scheduler.restore([memory], [] if row is None or final else [row], NOW)
    decided: list[Command] = scheduler.handle(events.JobsRead("jobs.yaml", (PROBE,)), NOW)
    decided += scheduler.settle(NOW)
    recovery = Recovery(place.marks, held or set())
    verdicts = list(
        recovery.verdicts(scheduler.runs, lambda name: final and name not in scheduler.runs, same_boot=True)
    )
    verdicts += [dead.over(name, place.marks) for name, dead in recovery.dead.items()]  # nothing of them lives
    for verdict in [*verdicts, events.JobsLoaded(complete=True)]:
        decided += scheduler.handle(verdict, NOW)
    decided += scheduler.settle(NOW)
    decided += scheduler.handle(events.Woke(), NOW) + scheduler.admit(NOW)
    scheduler.validate()
    followed = [name.attempt for name, connection in recovery.adopted if connection.close() is None]
    return told(place, scheduler, decided, followed, row)


def told(place: Place, scheduler: Scheduler, decided: list[Command], followed: list[int], row: Run | None) -> str:
    """The words: where the run stands, who is followed, what is launched, which R stays."""
    saved = [command for command in decided if isinstance(command, SaveRun) and command.run.id == RUN]
    known = scheduler.runs.get(RUN) or (saved[-1].run if saved else row)
    words = ["nothing" if known is None else f"{known.state} {known.attempt}"]
    ended = [command for command in saved if command.record is not None]
    assert len(ended) <= 1, "two records"
    if ended and ended[0].record is not None:
        numbers = [each["attempt"] for each in ended[0].record["attempts"]]
        assert numbers == list(range(1, len(numbers) + 1)), f"attempts {numbers} in the record"
    words += [f"follows {number}" for number in followed]
    words += [f"sends {command.run.attempt}" for command in decided if isinstance(command, Launch)]
    gone = {Name(command.run, command.attempt) for command in decided if isinstance(command, RemoveMarks)}
    words += [f"R {name.attempt} stays" for name in place.marks.names() if name not in gone]
    return ", ".join(words)


def expected(row: Run | None, number: int, kind: str) -> str:
    """The table in recovery.py, for one R of this attempt."""
    if row is not None and row.state is RunState.FAILED:
        return "failed 1"
    at = 0 if row is None else max(1, row.attempt)
    same = row is not None and row.state in LIVE and number == at
    if number < at or (kind == "bare" and not same):
        return ALONE[row and f"{row.state} {row.attempt}"]
    asked = row is not None and row.stop_asked
    match kind:
        case "succeeded" | "bad spec":
            return f"succeeded {number}"
        case "failed":
            return f"failed {number}" if asked or number > PROBE.retries else f"retrying {number + 1}"
        case "alive":
            return f"{row.state if same and asked else 'running'} {number}, follows {number}, R {number} stays"
        case "held":
            return f"{row.state if same else 'starting'} {number}, R {number} stays"
        case "bare" | "no spawning" | "recovery's" | "unstarted" if not (same and row is not None and row.pid):
            if asked:
                return f"killed {number}"
            return f"waiting {number}" if kind == "unstarted" else f"starting {number}, sends {number}"
        case _:
            return f"lost {number}"


ALONE = {
    None: "nothing", "due 0": "starting 1, sends 1", "waiting 0": "starting 1, sends 1", "waiting 1": "waiting 1",
    "starting 1": "starting 1, sends 1", "running 1": "lost 1", "stopping 1": "lost 1", "retrying 2": "retrying 2",
    "waiting 2": "starting 2, sends 2", "starting 2": "starting 2, sends 2", "running 2": "lost 2",
}  # fmt: skip
"""What becomes of a row by itself, as there is no R of its attempt."""


@pytest.mark.parametrize("kind", RS)
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("row", ROWS)
def test_cell(place: Place, row: str, number: int, kind: str) -> None:
    """One row, and one R of an attempt that is older, the same or newer."""
    place.make(number, *RS[kind])
    held = {Name(RUN, number)} if kind == "held" else set()
    assert expected(ROWS[row], number, kind) == outcome(place, ROWS[row], held)


@pytest.mark.parametrize("kind", RS)
@pytest.mark.parametrize("row", ROWS)
def test_two(place: Place, row: str, kind: str) -> None:
    """The R of the first attempt, the end of which no commit holds, and that of the second: the newest tells."""
    place.make(1, *RS["failed"])
    place.make(2, *RS[kind])
    held = {Name(RUN, 2)} if kind == "held" else set()
    found = outcome(place, ROWS[row], held)
    second_tells = kind != "bare" or row.endswith("2")
    assert expected(ROWS[row], *((2, kind) if second_tells else (1, "failed"))) == found


@pytest.mark.parametrize("row", ROWS)
def test_alone(place: Place, row: str) -> None:
    """A row without an R."""
    run = ROWS[row]
    assert ("failed 1" if row == "failed 1" else ALONE[run and f"{run.state} {run.attempt}"]) == outcome(place, run)


@pytest.mark.parametrize("by", ["the directory", "the row"])
@pytest.mark.parametrize("row", ROWS)
def test_emptied(place: Place, row: str, by: str) -> None:
    """A row without an R, since somebody has removed them all: what may have started is not started again."""
    run = ROWS[row]
    if by == "the directory":
        (place.runs / WHOLE).unlink()
    elif run is not None:
        run = changed(run, doubted=run.state in LIVE)
    alone = "failed 1" if row == "failed 1" else ALONE[run and f"{run.state} {run.attempt}"]
    may_have_started = run is not None and run.state is RunState.STARTING
    assert (f"lost {row[-1]}" if may_have_started else alone) == outcome(place, run)
