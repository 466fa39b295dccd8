"""What the scheduler was told and decided can be written, read, and replayed, whatever it was."""

from __future__ import annotations

import gc
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import pytest

from jobqueued.base.instants import SECOND
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.core.scheduler import Scheduler
from jobqueued.core.trace import (
    RING,
    VERSION,
    Broken,
    Line,
    Recorder,
    TurnOver,
    brief,
    lines_of,
    plain,
    replay,
    revived,
    story,
)
from jobqueued.jobfile.reader import read_jobs
from jobqueued.model import events
from jobqueued.model.commands import Say
from jobqueued.model.job import CatchUp, Claim, Escalation, Now
from jobqueued.model.run import Run, RunId
from jobqueued.model.saved import Hold, JobStats, Outcome, SavedJob, Skip
from tests.support.stories import stories, world_of
from tests.support.world import World, job

EVERYTHING, PROBLEMS = read_jobs(b"""
jobs:
  a: {command: [x, y], schedule: "H 1 * * *", seconds: "10,20", timezone: Europe/Berlin, metadata: {is: RunId, x: [1]}}
  b: {command: x, every: 5m, on: [{job: a, result: failure}, boot], locks: [l, {name: m, units: 2}], retries: 2}
  c: {command: x, at: 2030-01-01T00:00:00Z, resource_limits: {memory: 1G}, overlap: skip}
  d: {command: x, escalation: {points: 2, every: 1m}}
""", "jobs.yaml", seed="seed")  # fmt: skip


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[Line]:
    """The trace of all worlds, as it is after it was in a file."""
    found: list[Line] = []
    monkeypatch.setattr(World, "note", lambda _, line: found.append(json.loads(json.dumps(line))))
    return found


@pytest.mark.parametrize("path", stories(), ids=lambda path: path.stem)
def test_each_story_replays(path: Path, lines: list[Line]) -> None:
    """A fresh scheduler that is told what the trace has decides the same, line by line, over each restart."""
    world_of(path.read_text())
    assert [] == list(replay(lines))
    assert any(line["decided"] for line in lines if "decided" in line)


@pytest.mark.parametrize(
    "value",
    [
        events.JobsRead("jobs.yaml", EVERYTHING),
        events.RunEnded(RunId("a", 1), 2, {"run": "a@1", "attempts": [{"is": "RunId"}], "signal": None}),
        events.Found(
            RunId("a", 1), 1,
            Run(
                id=RunId("a", 1), key="k", due=1, queued=2, arrival=0, trigger="boot",
                claims=(Claim("l", 2), Claim("m", exclusive=True)),
                placed=(("gpu", (0, 1)), ("cpus", ())), ends_by=7, failover=True, so_far={"attempts": [{"is": "x"}]},
            ),
        ),
        events.HoldAsked(1, "root", Hold("root", None, "boot", Hold("uid 1", 5))),
        events.RunAsked(1, "a", "root", "k", RunId("a", 1)),
        SavedJob(
            job="a", skips=(Skip(1), Skip(2, "eve")), outcomes=(Outcome(1, 2, 3, "failed"),), satisfied=("b",),
            stats=JobStats(usual=7),
        ),
        HostLimits("h", 2, {"gpu": 2}, (0, 3), Escalation(2, 5), 4),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_values_come_back(value: Any) -> None:
    """What is read from a trace is what was written, class for class."""
    assert [] == PROBLEMS
    assert value == revived(json.loads(json.dumps(plain(value))))
    assert repr(value) == repr(revived(json.loads(json.dumps(plain(value)))))


def test_each_event_can_be_written() -> None:
    """All that there are, with what their fields can be; a new one needs nothing here."""
    kinds = get_args(events.Event)
    assert len(kinds) > 30
    for kind in kinds:
        value = kind(**dict.fromkeys(kind._fields))
        again = revived(json.loads(json.dumps(plain(value))))
        assert (kind, value) == (type(again), again)


def test_an_event_is_in_the_ring_before_it_is_handled() -> None:
    """So that one which kills the daemon is the last in the trace; then come the commands, or the bug."""
    noted: list[Line] = []
    seen: list[int] = []

    class Failing(Scheduler):
        def handle(self, event: events.Event, now: Now) -> Any:
            seen.append(len(noted))
            raise KeyError("x")

    recorder = Recorder(Failing(), noted.append)
    with pytest.raises(KeyError):
        recorder.handle(events.Woke(), Now(1, 2))
    assert [1] == seen
    assert noted == [
        {"number": 1, "wall": 1, "mono": 2, "told": {"is": "Woke"}},
        {"number": 1, "decided": [], "bug": "KeyError: 'x'"},
    ]
    assert noted == [line for entry in recorder.ring for line in lines_of(entry)]


def test_the_ring_keeps_records_small_and_tells_them_whole() -> None:
    """Of the end of a run the ring has no object of its record, and the line that it becomes is that of the trace."""
    noted: list[Line] = []
    recorder = Recorder(Scheduler(), noted.append)
    record: Any = {"run": "a@1", "attempts": [{"is": "RunId"}], "signal": None, "rusage": {"user": 0.25}}
    recorder.handle(ended := events.RunEnded(RunId("a", 1), 1, record), Now(1, 1))
    assert [line for entry in recorder.ring for line in lines_of(entry)] == noted[:1]
    assert record == noted[0]["told"]["record"] == ended.record
    assert record not in gc.get_referents(recorder.ring[0].told)


def test_the_ring_is_bounded_and_quiet_turns_cost_nothing() -> None:
    """Of turns in which nothing happened the last one is kept, and only where something happens after it."""
    recorder = Recorder(Scheduler())
    recorder.handle(events.Woke(), Now(1, 1))
    for mono in range(1, 10):
        recorder.over(Now(mono, mono))
    assert [events.Woke(), TurnOver(True)] == [entry.told for entry in recorder.ring]
    recorder.handle(events.Woke(), Now(10, 10))
    assert [1, 1, 9, 10] == [entry.now.mono for entry in recorder.ring]
    assert [TurnOver(True), events.Woke()] == [entry.told for entry in list(recorder.ring)[2:]]
    for _ in range(RING):
        recorder.handle(events.Woke(), Now(11, 11))
    assert (10_000, RING, RING + 2) == (RING, len(recorder.ring), recorder.ring[-1].number)


def test_a_start_is_written_down() -> None:
    """With what was kept, and that nothing was decided."""
    noted: list[Line] = []
    Recorder(Scheduler(), noted.append).restore([], [], Now(1, 2), None)
    assert ["Started", []] == [noted[0]["told"]["is"], noted[1]["decided"]]


def test_a_turn_in_which_something_is_decided_is_written_down() -> None:
    """However quiet those before it were."""

    class Deciding(Scheduler):
        def admit(self, now: Now) -> Any:
            return [Say("held", {})] if now.wall == 3 else []

    recorder = Recorder(Deciding())
    for wall in range(1, 6):
        recorder.over(Now(wall, wall))
    assert [1, 2, 3] == [entry.now.wall for entry in recorder.ring]


def test_what_has_no_start_is_not_replayed(lines: list[Line]) -> None:
    """A ring that has lost its beginning says so."""
    World(job())
    with pytest.raises(Broken, match="does not begin with a start"):
        list(replay(lines[2:]))


def test_a_difference_is_told(lines: list[Line]) -> None:
    """With the number of the event, and what was decided then and now."""
    World(job()).run("job")
    last = next(line for line in reversed(lines) if line.get("decided"))
    last["decided"].pop()
    (difference,) = replay(lines)
    assert difference.startswith(f"{last['number']}: then ")


def test_a_value_in_a_story() -> None:
    """On one line: its name and what is short of it, runs by their names, and nested values cut to 160 characters."""
    run = {"is": "RunId", "job": "a", "number": 1}
    deep = {"is": "Y", "run": run, "other": {"is": "Z"}, "list": [1], "none": None}
    assert "X run=a@1 deep=(Y run=a@1) n=0" == brief({"is": "X", "run": run, "deep": deep, "list": [], "n": 0})
    for size, cut in ((153, ""), (154, " …")):
        words = f"(Y text={'t' * 153}{cut})"
        assert f"X deep={words} text={'t' * 999}" == brief(
            {"is": "X", "deep": {"is": "Y", "text": "t" * size}, "text": "t" * 999}
        )


def test_the_story_of_a_run(lines: list[Line]) -> None:
    """Events and commands about it, and nothing about others."""
    world = World(job("a"), job("b"))
    world.run("a")
    world.run("b", 2)
    world.pass_time(5)
    told = list(story(lines, RunId("a", 1)))
    words = [line.split(" ", 1)[1].strip().split()[:2] for line in told]
    assert "b@1" not in "\n".join(told)
    assert words[0][0] == "RunAsked"
    assert ["→", "Launch"] in words
    assert ["RunEnded", "run=a@1"] in words
    assert ["→", "RemoveMarks"] == words[-1]


def test_each_line() -> None:
    """What was told, then what was decided; of quiet turns the last, once something is told again."""
    noted: list[Line] = []
    recorder = Recorder(Scheduler(), noted.append)
    recorder.restore([], [], Now(1, 1), None)
    for wall in (2, 3, 4):
        recorder.over(Now(wall, wall))
    recorder.handle(events.Woke(), Now(5, 5))
    for wall in (6, 7):
        recorder.over(Now(wall, wall), admit=False)
    assert [
        (1, 1, "Started"), (1, "decided"), (1, 2, "TurnOver"), (1, "decided"), (1, 4, "TurnOver"), (1, "decided"),
        (2, 5, "Woke"), (2, "decided"), (2, 6, "TurnOver"), (2, "decided"),
    ] == [
        (it["number"], it["wall"], it["told"]["is"]) if "told" in it else (it["number"], "decided") for it in noted
    ]  # fmt: skip
    assert [True, True, False] == [it["told"]["admit"] for it in noted if it.get("told", {}).get("is") == "TurnOver"]
    assert [it["told"]["is"] for it in noted if "told" in it] == [type(it.told).__name__ for it in recorder.ring]
    assert 1 == VERSION


def test_values_in_json() -> None:
    """A class is told by its name, without what is the default; whatever is in others is told likewise."""
    claim = {"is": "Claim", "resource": "l"}
    assert (claim, {"is": "Woke"}) == (plain(Claim("l")), plain(events.Woke()))
    assert {"a": [claim], "b": 1} == plain({"a": (Claim("l"),), "b": 1})
    assert (events.Woke, Claim) == (plain(events.Woke), plain(Claim)), "a class itself is none of these"


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ({"x": 1}, object, {"x": 1}),
        ({"is": "Claim", "resource": "l"}, object, Claim("l")),
        ({"is": "Claim", "resource": "l"}, Claim | None, Claim("l")),
        ({"is": "Claim", "resource": "l"}, Literal["x"] | Claim, Claim("l")),
        ({"is": "Claim"}, Any, {"is": "Claim"}),
        ({"is": "Claim"}, dict, {"is": "Claim"}),
        ({"is": "Claim"}, dict[str, Any] | None, {"is": "Claim"}),
        (None, datetime | None, None),
        ("2026-03-02T00:00:00+00:00", datetime | None, datetime(2026, 3, 2, tzinfo=UTC)),
        ("latest", CatchUp | None, CatchUp.LATEST),
        ("x", int | str, "x"),
        ("x", Literal["x"], "x"),
        ("x", tuple[str, ...] | str, "x"),
        ([1], tuple[int], (1,)),
        ([1, 2], tuple[int, ...], (1, 2)),
        ([], tuple[int, ...], ()),
        ([{"is": "Claim", "resource": "l"}, 1], tuple[Claim, int] | None, (Claim("l"), 1)),
        ([1], list[int], [1]),
    ],
)
def test_values_by_their_kind(value: Any, kind: Any, expected: Any) -> None:
    """The annotation of a field tells what its value was."""
    found = revived(value, kind)
    assert (expected, type(expected)) == (found, type(found))


@pytest.mark.parametrize(
    ("value", "kind", "error"),
    [({"is": "Nothing"}, object, KeyError), ({"is": "RunState"}, object, KeyError), ([1, 2], tuple[int], ValueError)],
)
def test_values_that_are_none(value: Any, kind: Any, error: type[Exception]) -> None:
    """A class that no trace holds, and a list of another length, are told."""
    with pytest.raises(error):
        revived(value, kind)


def test_a_bug_replays(lines: list[Line]) -> None:
    """An event that could not be handled can't be handled again, for the same reason."""
    world = World(job("a"))
    world.run("a")
    with pytest.raises(ValueError, match="no end"):
        world.recorder.handle(events.RunEnded(RunId("a", 1), 1, {"state": "nonsense"}), world.now)
    assert "ValueError: the record of a@1 has no end: its state is 'nonsense'" == lines[-1]["bug"]
    assert [] == list(replay(lines))
    lines[-1]["bug"] = "x"
    assert 1 == len(list(replay([*lines, {"number": 99, "wall": 1, "mono": 1, "told": plain(events.Woke())}])))


def test_a_story_line_by_line() -> None:
    """An event is told where it, or what was decided, is about the run; a bug with its event, once."""
    run, other = {"is": "RunId", "job": "a", "number": 1}, {"is": "RunId", "job": "b", "number": 1}

    def told(second: int, **value: Any) -> Line:
        return {"number": second, "wall": second * SECOND, "mono": 0, "told": value}

    def decided(*commands: Line, **more: str) -> Line:
        return {"number": 1, "decided": list(commands), **more}

    launch, stop = {"is": "Launch", "runs": [[run]]}, {"is": "Stop", "run": other}
    found = story(
        [
            told(0, **{"is": "Started", "runs": [run]}), decided(),
            told(1, **{"is": "Woke"}), decided(launch, stop, launch), told(2, **{"is": "Woke"}), decided(stop),
            told(3, **{"is": "RunStarted", "run": run}), decided(stop), told(4, **{"is": "TurnOver"}), decided(launch),
            told(5, **{"is": "RunEnded", "run": run}), decided(bug="x"), told(6, **{"is": "RunEnded", "run": other}),
            decided(bug="y"), told(7, **{"is": "Say", "name": "a@1"}), decided(),
        ],
        RunId("a", 1),
    )  # fmt: skip
    day = "1970-01-01T00:00:0"
    assert [
        f"{day}1.000000Z Woke", f"{day}1.000000Z   → Launch", f"{day}1.000000Z   → Launch",
        f"{day}3.000000Z RunStarted run=a@1", f"{day}4.000000Z   → Launch", f"{day}5.000000Z RunEnded run=a@1",
        f"{day}5.000000Z   bug: x", f"{day}7.000000Z Say name=a@1",
    ] == list(found)  # fmt: skip


def test_records_in_the_ring_take_little_room() -> None:
    """Each is kept as what it has beside the first small one, and comes back as it was; a large one is no measure."""
    fields = {f"field_{number}": f"value {number}" for number in range(60)}
    tails = ["x" * 20_000, *["done"] * 20]
    records: list[Any] = [{**fields, "tail": tail, "number": number} for number, tail in enumerate(tails)]
    recorder = Recorder(Scheduler())
    for record in records:
        recorder.handle(events.RunEnded(RunId("backup", 1), 1, record), Now(1, 1))
    kept: list[Any] = [entry.told for entry in recorder.ring]
    assert records == [plain(told)["record"] for told in kept]
    assert max(len(told.record._data) for told in kept[2:]) < 200
