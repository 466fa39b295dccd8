"""Runs as a chart: what is taken of a record, who held what others waited for, and the signs of a row."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from jobqueued.child.contract.documents import Record
from jobqueued.ctl.base.table import Cell
from jobqueued.ctl.chart import chart_page
from jobqueued.ctl.chart.chart_file import NoRecord, records
from jobqueued.ctl.chart.chart_runs import NONE, STATES, ChartRun, Runs, collected, plain
from jobqueued.ctl.chart.chart_text import Window, chart, format_wait
from jobqueued.ctl.chart.chart_waits import claims_of, find_holders, related, waits
from jobqueued.ctl.export import trace_events
from jobqueued.model.job import Claim, Job
from tests.support.records import a_record

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = datetime(2027, 1, 15, tzinfo=UTC)
MIDNIGHT = int(DAY.timestamp() * 1000)
"""The day of these runs, in ms."""


def a_run(job: str, number: int, due: float, started: float | None, ended: float | None, **fields: Any) -> Record:
    """The record of a run at these minutes of the day, as a file may have it: it does not tell what the run held."""

    def text(minute: float | None) -> str | None:
        return None if minute is None else datetime.fromtimestamp(MIDNIGHT / 1000 + minute * 60, UTC).isoformat()

    state = fields.pop("state", "succeeded")
    known: Any = a_record(number, state, job)
    del known["version"]
    record: Any = {
        **known, "due": text(due), "queued": text(due), "started": text(started),
        "ended": text(ended), **fields,
    }  # fmt: skip
    return record  # type: ignore[no-any-return]


def lines(runs: Runs, zone: Any = UTC, width: int = 30, end: int = MIDNIGHT + HOUR) -> list[str]:
    """The chart of the hour after midnight, its pieces joined."""

    def text(cell: Cell) -> str:
        return cell if isinstance(cell, str) else cell.plain

    found = chart(runs, Window(MIDNIGHT, end, width, zone), end, width)
    return ["".join(map(text, line)).rstrip() for line in found]


def test_a_record_becomes_numbers() -> None:
    """What a chart shows of it, in milliseconds and KiB; texts and lists are there once."""
    runs = collected(
        a_run(
            "job", number, 1, 2, 3, waited_for=["db"], tags=["a", "b"], cpu_user=1.5, cpu_system=0.25,
            memory_peak=3 << 20, command=["/bin/ls", "a b"], asked_by="alice", trigger="rerun of job@7",
        )
        for number in (2, 1)
    )  # fmt: skip
    one, other = runs.runs("job")
    assert (2, 1, one) == (one.number, other.number, other._replace(number=2))
    assert (MIDNIGHT + MINUTE, MIDNIGHT + 2 * MINUTE, MIDNIGHT + 3 * MINUTE) == (one.due, one.started, one.ended)
    assert ("succeeded", 1750, 3072) == (STATES[one.state], one.cpu, one.memory)
    assert (["", "rerun of job by alice", "/bin/ls 'a b'"], [(), ("db",), ("a", "b")]) == (runs.texts, runs.lists)


def test_what_is_not_known() -> None:
    """A run that goes on, and a skip with others like it: no time is made up."""
    live = a_run("job", 1, 1, 2, None, state="running", cpu_user=None, memory_peak=None)
    skips = a_run("job", 2, 5, None, None, state="skipped", count=3, last_due="2027-01-15T00:09:00Z", reason="paused")
    runs = collected([skips, live])
    first, second = runs.runs("job")
    assert (NONE, NONE, NONE) == (first.ended, first.cpu, first.memory)
    assert (NONE, MIDNIGHT + 9 * MINUTE, "3 times, paused") == (second.started, second.ended, runs.texts[second.reason])
    assert (MIDNIGHT + MINUTE, MIDNIGHT + HOUR) == runs.span(MIDNIGHT + HOUR)
    assert (7, 7) == Runs().span(7)


class Looked(list[int]):
    """A column, and how often it was looked through."""

    times = 0

    def __iter__(self) -> Iterator[int]:
        self.times += 1
        return super().__iter__()

    def index(self, *args: Any) -> int:
        self.times += 1
        return super().index(*args)


def looked_at(runs: Runs, job: str, field: str) -> Looked:
    """A column of a job, from now on watched."""
    columns: list[Any] = runs.of[job]
    place = ChartRun._fields.index(field)
    columns[place] = found = Looked(columns[place])
    return found


def held_by(claims: Mapping[str, Mapping[str, bool]], *found: Record) -> dict[str, str]:
    """By the runs that waited, who held it."""
    runs = collected(found)
    find_holders(runs, claims)
    return {f"{wait.job}@{wait.run.number}": wait.holder for wait in waits(runs)}


LOCK = claims_of([
    Job(id="dump", command="", locks=(Claim("db", exclusive=True),)), Job(id="other", command=""),
    Job(id="read", command="", locks=(Claim("db"),)), Job(id="more", command="", locks=(Claim("db"),)),
    Job(id="alone", command="", exclusive=True), Job(id="units", command="", resources=(Claim("gpu", 1),)),
    Job(id="train", command="", resources=(Claim("gpu", 2),)),
])  # fmt: skip


@pytest.mark.parametrize(
    ("held", "waited", "holder"),
    [
        ([("dump", 0, 9), ("other", 0, 10)], ("read", "db"), "dump@1"),
        ([("more", 0, 10), ("dump", 0, 9)], ("read", "db"), "dump@1"),  # who shares it is in nobody's way
        ([("more", 0, 10), ("read", 0, 9)], ("dump", "db"), "more@1"),
        ([("dump", 0, 4)], ("read", "db"), ""),  # before the other was due
        ([("dump", 0, 11)], ("read", "db"), ""),  # after it had started
        ([("train", 0, 10)], ("units", "gpu"), "train@1"),
        ([("alone", 0, 10), ("other", 0, 9)], ("read", "host"), "alone@1"),
        ([("other", 0, 10)], ("alone", "host"), "other@1"),
        ([("other", 0, 10), ("read", 0, 9)], ("dump", "max_running"), "other@1"),
        ([("other", 0, 10)], ("read", "db"), ""),
        ([("other", 0, 10)], ("read", "what is kept for more@7"), ""),
    ],
)  # fmt: skip
def test_who_held_it(held: list[tuple[str, float, float]], waited: tuple[str, str], holder: str) -> None:
    """The run that ended last, of those that had it and kept the other from it, while that waited."""
    job, name = waited
    others = [a_run(other, 1, begin, begin, end) for other, begin, end in held]
    assert {f"{job}@2": holder} == held_by(LOCK, *others, a_run(job, 2, 5, 10.01, 20, waited_for=[name]))


def test_what_records_tell() -> None:
    """What a run held by its own record counts, whatever its job's definition has by now."""
    tape = [{"resource": "tape", "mode": "exclusive", "units": 0, "of": 1}]
    share = [{**tape[0], "mode": "shared"}]
    none: Any = {"version": 1}
    waiting = a_run("other", 2, 5, 10.01, 20, waited_for=["tape"], claims=tape)
    sharing = a_run("other", 2, 5, 10.01, 20, waited_for=["tape"], claims=share)
    for held, waited, holder in (
        ([a_run("dump", 1, 0, 0, 9, claims=tape), a_run("dump", 2, 0, 0, 10, **none)], waiting, "dump@1"),
        ([a_run("dump", 1, 0, 0, 9, claims=share)], waiting, "dump@1"),
        ([a_run("dump", 1, 0, 0, 9, claims=share), a_run("more", 1, 0, 0, 8, claims=tape)], sharing, "more@1"),
        ([a_run("dump", 1, 0, 0, 9, **none)], a_run("read", 2, 5, 10, 20, waited_for=["db"]), ""),
        ([a_run("alone", 1, 0, 0, 9, **none), a_run("other", 1, 0, 0, 8, claims=tape)],
         a_run("dump", 2, 5, 10, 20, waited_for=["host"]), ""),
        ([a_run("other", 1, 0, 0, 9, claims=[{**tape[0], "resource": "host"}])],
         a_run("dump", 2, 5, 10, 20, waited_for=["host"]), "other@1"),
    ):  # fmt: skip
        assert {f"{waited['job']}@2": holder} == held_by(LOCK, *held, waited)


def test_without_claims() -> None:
    """Who has waited for it once claims it; and who waited for nothing came after another run of its job."""
    known = held_by({}, a_run("a", 1, 0, 3, 9, waited_for=["db"]), a_run("b", 1, 1, 10, 20, waited_for=["db"]))
    assert {"a@1": "", "b@1": "a@1"} == known
    assert {"a@2": "a@1"} == held_by({}, a_run("a", 1, 0, 0, 9), a_run("a", 2, 1, 10, 20), a_run("a", 3, 20, 20.01, 30))


def test_a_holder_that_is_told() -> None:
    """A record of a file that names it is believed."""
    held = [a_run("dump", 1, 0, 0, 9), a_run("dump", 2, 10, 10, 11)]
    waiting = a_run("read", 2, 5, 10, 20, waited_for=["db"])
    assert {"read@2": "dump@2"} == held_by(LOCK, *held, {**waiting, "held_by": "dump@2"})  # type: ignore[typeddict-unknown-key]


def test_a_wait_in_words() -> None:
    """What it was for and who held it, as far as that is known."""
    runs = collected([a_run("dump", 1, 0, 0, 9), a_run("read", 2, 5, 10, 20, waited_for=["db"])])
    assert ["read@2 waited 5 min for db"] == [format_wait(wait) for wait in waits(runs)]
    find_holders(runs, LOCK)
    assert ["read@2 waited 5 min for db, held by dump@1"] == [format_wait(wait) for wait in waits(runs)]


def test_many_locks() -> None:
    """What the runs of a job held is not looked for anew for each lock that any job has waited for."""
    runs = collected(a_run(f"job{nth}", 1, 0, 5, 9, waited_for=[f"lock{nth}"]) for nth in range(40))
    column = looked_at(runs, "job7", "claims")
    find_holders(runs, {})
    assert column.times < 5


def test_what_spread_puts_off_is_no_wait() -> None:
    """A wait begins when the run was queued: in words, among the causes, in a row and on a page."""

    def spread(queued: float) -> Record:
        return a_run("a", 2, 0, 30, 42, queued=a_run("a", 2, queued, None, None)["due"])

    assert [] == [*waits(collected([spread(30)]))]
    assert "a           ████" == lines(collected([spread(30)]), width=22)[2]
    assert "a       ░░░░████" == lines(collected([spread(18)]), width=22)[2]
    assert ["a@2 waited 12 min"] == [format_wait(wait) for wait in waits(collected([spread(18)]))]
    earlier, locked = a_run("a", 1, 0, 0, 20), a_run("dump", 1, 0, 0, 20)
    for queued, holder in ((18, "1"), (22, "")):
        assert {"a@2": holder and "a@1"} == held_by({}, earlier, spread(queued))
        waiting: Any = {**spread(queued), "job": "read", "waited_for": ["db"]}
        assert {"read@2": holder and "dump@1"} == held_by(LOCK, locked, waiting)
    assert ["queued", 3] in packed_head(collected([earlier, spread(18)]))["columns"]


def test_what_is_chosen() -> None:
    """Runs by job and tag; who is not among them is told all the same."""
    runs = collected([a_run("dump", 1, 0, 0, 9), a_run("read", 2, 5, 10, 20, waited_for=["db"], tags=["x"])])
    find_holders(runs, LOCK)
    assert (["read"], ["dump@1"]) == ([*(chosen := runs.chosen([], ["x"])).of], [it.holder for it in waits(chosen)])
    assert [["dump"], []] == [[*runs.chosen(["dump"], tags).of] for tags in ([], ["x"])]
    assert (["dump", "more"], []) == (related(["read"], LOCK), related(["x", "other"], LOCK))


def test_the_signs() -> None:
    """How much of the time was run, waits, and letters for bad ends, in an hour of 20 cells."""
    runs = collected([
        a_run("a", 1, 0, 0, 12), a_run("a", 2, 30, 30, 30.5), a_run("b", 1, 0, 9, 16, state="failed"),
        a_run("c", 1, 30, None, None, state="skipped", last_due="2027-01-15T00:30:00Z"),
        a_run("c", 2, 51, 51, None, state="running"),
    ])  # fmt: skip
    assert [
        "  |Fri 15 Jan",
        "  |00:00    |00:30",
        "a ████      ▂",
        "b ░░░██F",
        "c           s      ▶▶▶",
        "",
        "▁ █ ran, for part or all of the time",
        "░ waits   F failed",
        "s skipped   ▶ running",
    ] == lines(runs, width=22)


def test_pauses_between_attempts() -> None:
    """They are waits, not runs."""
    times = [(0, 12), (24, 36), (48, 60)]
    record = a_run("a", 1, 0, 0, 60, attempts=[a_run("a", 1, 0, *it) for it in times])
    runs = collected([record])
    assert [(12, 24), (36, 48)] == [
        ((begin - MIDNIGHT) / MINUTE, (end - MIDNIGHT) / MINUTE) for begin, end in runs.pauses["a", 1]
    ]
    assert "a ████░░░░████░░░░████" == lines(runs, width=22)[2]


@pytest.mark.parametrize("ended", [12, None])
def test_a_live_run_after_its_first_attempt(ended: float | None) -> None:
    """It began with that attempt, waited, and goes on, whether its record tells when the attempt ended or not."""
    first = a_run("a", 1, 0, 0, 12, state="failed")
    runs = collected([a_run("a", 1, 0, 24, ended, state="running", attempts=[first])])
    (run,) = runs.runs("a")
    assert (MIDNIGHT, NONE) == (run.started, run.ended)
    assert [(MIDNIGHT + 12 * MINUTE, MIDNIGHT + 24 * MINUTE)] == runs.pauses["a", 1]
    assert "a ███F░░░░▶▶▶▶▶▶▶▶▶▶▶▶" == lines(runs, width=22)[2]


@pytest.mark.parametrize("state", ["retrying", "waiting", "due"])
def test_a_run_that_waits_for_a_retry(state: str) -> None:
    """The time from its last attempt to now is a wait, also after the delay."""
    first = a_run("a", 1, 0, 0, 12, state="failed")
    runs = collected([a_run("a", 1, 0, 0, 12, state=state, attempts=[first])])
    assert "a ███r░░░░░░░░░░░░░░░" == lines(runs, width=22)[2]


def test_failed_attempts_of_a_run_that_succeeded() -> None:
    """Each is shown as it ended, also one that the next followed at once; an attempt without a state is as its run."""
    tries = [
        a_run("a", 1, 0, 0, 12, state="failed"), a_run("a", 1, 0, 24, 36, state="timed_out"),
        {**a_run("a", 1, 0, 36, 48), "state": None}, a_run("a", 1, 0, 48, 60),
    ]  # fmt: skip
    runs = collected([a_run("a", 1, 0, 0, 60, attempts=tries)])
    assert ["failed", "timed_out", "succeeded"] == [STATES[it] for it in runs.tries["a", 1]]
    assert "a ███F░░░░███T████████" == lines(runs, width=22)[2]
    (found,) = plain(runs)
    assert 1 == len(found["pauses"])  # type: ignore[arg-type]
    head = packed_head(runs)
    assert ([3 * 2], [[0, runs.tries["a", 1]]]) == ([len(it) for _, it in head["pauses"]], head["tries"])


def test_pauses_on_a_page() -> None:
    """They are told by the place of their run among those of all jobs, which is not looked for run by run."""
    times = [(0, 12), (24, 36)]
    retried = a_run("b", 7, 0, 0, 36, attempts=[a_run("b", 7, 0, *it) for it in times])
    found = packed_head(collected([a_run("a", 7, 0, 0, 9), a_run("b", 6, 0, 0, 9), retried]))
    assert [[2, [12 * MINUTE, 24 * MINUTE]]] == found["pauses"]
    many = collected({**retried, "number": number} for number in range(1, 40))  # type: ignore[typeddict-item]
    column = looked_at(many, "b", "number")
    assert 39 == len(packed_head(many)["pauses"])
    assert column.times < 5


def packed_head(runs: Runs) -> dict[str, Any]:
    """What the page is told of these runs before their columns."""
    data = chart_page.packed(runs, (MIDNIGHT, MIDNIGHT + HOUR), MIDNIGHT + HOUR)
    found: dict[str, Any] = json.loads(data[4 : 4 + int.from_bytes(data[:4], "little")])
    return found


def test_the_worst_is_shown() -> None:
    """One failure of a hundred runs that share a cell."""
    states = ["succeeded"] * 50 + ["failed"] + ["succeeded"] * 49
    runs = collected(a_run("a", n, n / 60, n / 60, n / 60, state=state) for n, state in enumerate(states))
    assert "F" in lines(runs)[2]


def test_a_long_name_has_a_line_of_its_own() -> None:
    """It is not cut, and the row is as wide as the others; what would act on a terminal is escaped."""
    runs = collected([a_run("x" * 40, 1, 0, 0, 60), a_run("\x1b[2J", 1, 0, 0, 60)])
    found = lines(runs, width=60)
    assert ("x" * 40 in found, max(map(len, found)) <= 60, "\x1b" in "".join(found)) == (True, True, False)


def test_the_axis_over_a_clock_change() -> None:
    """Times are local ones, and each stands where it was; the hour that is missing is."""
    zone, begin = ZoneInfo("Europe/Berlin"), int(datetime(2027, 3, 28, tzinfo=UTC).timestamp() * 1000)
    found = chart(Runs(), Window(begin, begin + 3 * HOUR, 0, zone), begin, 62)
    axis = next("".join(map(str, line)) for line in found if "|01:" in "".join(map(str, line)))
    assert ("|01:30" in axis, "|02:" in axis, "|03:00" in axis) == (True, False, True)


@pytest.mark.parametrize("text", ["{}", "[]", "7", "{", '{"runs": [{}]}', "[" * 100_000, '{"job": "a"}'])
def test_a_file_of_something_else(text: str) -> None:
    """It is told, with the line."""
    good = json.dumps(a_run("a", 1, 0, 1, 2))
    with pytest.raises(NoRecord, match="line 2: "):
        list(records(io.StringIO(f"{good}\n{text}\n")))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("state", "done"), ("tags", [1]), ("due", "yesterday"), ("due", "2027-01-15T00:00:00"), ("number", "1"),
        ("started", 7), ("waited_for", "db"), ("attempts", [7]),
        ("attempts", [{"started": "now"}]), ("command", [None]), ("memory_peak", "3"),
        ("claims", 5), ("claims", [{}]), ("claims", [{"resource": [], "mode": "shared", "units": 0}]), ("owner", "x"),
        ("owner", {}), ("host", ["x"]), ("trace_id", 5), ("attempts", [{"reason": 5}]), ("attempts", [{"state": []}]),
        ("attempts", [{"warnings": [1]}]), ("attempts", [{"cpu_user": [1]}]), ("attempts", [{"cpu_user": math.nan}]),
        ("cpu_user", math.nan), ("cpu_system", math.inf), ("cpu_user", 1e300), ("priority", -math.inf),
        ("number", 10**23), ("number", 0), ("number", True), ("memory_peak", 10**30), ("memory_peak", -99_999_999),
        ("count", 10**30), ("due", ""), ("due", None), ("due", "0001-01-01T00:00:00Z"), ("job", "\ud800"),
        ("due", "9999-12-31T23:59:59-12:00"), ("ended", "9999-12-31T00:00:00Z"), ("started", "1969-12-31T23:59:59.9Z"),
        ("waited_for", ["\udcff"]),
    ],
)  # fmt: skip
def test_a_record_with_something_else(field: str, value: Any) -> None:
    """No value of another type comes any further, nor a number or a time that no run has."""
    with pytest.raises(NoRecord):
        list(records(io.StringIO(json.dumps({**a_run("a", 1, 0, 1, 2), field: value}))))


def test_what_files_have() -> None:
    """A record a line, or what --json prints of history and watch, of which only ends are taken."""
    one, two = a_run("a", 1, 0, 1, 2), a_run("a", 2, 0, 1, 2)
    assert [one, two] == list(records(io.StringIO(f"{json.dumps(one)}\n\n{json.dumps(two)}\n")))
    events = [
        {"event": "watching"}, {"event": "run_started", "run": "a@1"}, {"event": "run_ended", "record": one},
        {"event": "run_retrying", "record": {**two, "state": "failed"}}, {"event": "run_ended", "record": two},
    ]  # fmt: skip
    assert [one, two] == list(records(io.StringIO("\n".join(map(json.dumps, events)))))
    assert [one, two] == list(records(io.StringIO(json.dumps({"schema": 1, "runs": [one, two]}, indent=2))))


def test_what_a_record_lacks() -> None:
    """Four fields are enough; of the rest it has what says nothing, as if it was null."""
    four = {"job": "a", "number": 1, "state": "succeeded", "due": "2027-01-15T00:05:00Z"}
    null = dict.fromkeys(["queued", "started", "tags", "attempts", "claims", "owner", "count", "run", "host"])
    for known in (four, {**four, **null}, {**four, "queued": "", "started": "", "attempts": [{}]}):
        (found,) = records(io.StringIO(json.dumps(known)))
        runs, told = collected([found]), json.loads("\n".join(trace_events.lines([found])))
        assert (four["due"], [], "a@1") == (found["queued"], found["tags"], found["run"])
        assert {"a", "jobqueued"} <= {it["args"].get("name", it["name"]) for it in told["traceEvents"]}
        assert (0, (MIDNIGHT + 5 * MINUTE,) * 2) == (runs.run("a", 0).waited, runs.span(MIDNIGHT + HOUR))


def test_an_end_that_nobody_knows() -> None:
    """What is over does not go on until now: it is as short as it may have been; what is to come is seen, too."""
    lost = a_run("a", 1, 5, 10, None, state="lost", attempts=[a_run("a", 1, 5, 10, None)])
    died = a_run("a", 1, 5, 10, None, state="lost", attempts=[a_run("a", 1, 5, 10, 12), a_run("a", 1, 5, 14, None)])
    never = a_run("a", 1, 5, None, None, attempts=[])
    for record, minute in ((lost, 10), (died, 14), (never, 5)):
        assert MIDNIGHT + minute * MINUTE == collected([record]).run("a", 0).ended
    (live,) = collected([a_run("a", 1, 5, 10, None, state="retrying")]).runs("a")
    assert NONE == live.ended
    to_come = collected([a_run("a", 1, 5, None, None, state="due")])
    assert (MIDNIGHT + 5 * MINUTE,) * 2 == to_come.span(MIDNIGHT)
    to_come = collected([a_run("a", 1, 5, 6, None, state="running")])
    assert (MIDNIGHT + 5 * MINUTE, MIDNIGHT + 6 * MINUTE) == to_come.span(MIDNIGHT)


def luminance(colour: str) -> float:
    """The relative luminance of ``#rrggbb``, by WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_contrasts(scheme: int) -> None:
    """WCAG 2.2 AA: 4.5 for texts on what is behind them, letters in bars too, and 3 for bars and edges."""
    style = (Path(chart_page.__file__).parent / "page" / "timeline.css").read_text()
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", re.findall(r":root \{(.*?)\}", style, re.S)[scheme]))
    kinds = ("good", "bad", "wait", "live", "skip")
    texts = [(one, ground) for one in ("text", "quiet") for ground in ("ground", "band")]
    bars = [(one, ground) for one in (*kinds, "edge", "focus") for ground in ("ground", "band")]

    def contrast(one: str, other: str) -> float:
        low, high = sorted([luminance(colours[one]), luminance(colours[other])])
        return (high + 0.05) / (low + 0.05)

    assert [] == [pair for pair in [*texts, *((one, "on") for one in kinds)] if contrast(*pair) < 4.5]
    assert [] == [pair for pair in bars if contrast(*pair) < 3]
