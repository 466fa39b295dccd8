"""The checker of bad days over days that are made up: each broken promise is seen, and a good day has none."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jobqueued.base.instants import to_text
from jobqueued.model.commands import SaveSubmission
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import Notice, SavedJob
from jobqueued.state.db.store import Store
from tests.chaos.checker import Checker
from tests.chaos.day import Day
from tests.chaos.episodes import CLASSES, episodes
from tests.chaos.evidence import Evidence
from tests.chaos.job import said as output_of
from tests.chaos.jobs import Job
from tests.chaos.known import Dues, Known, Told, read
from tests.chaos.ledger import Ledger
from tests.chaos.people import Held, Said, Submitted
from tests.chaos.receivers import Taken
from tests.chaos.timeline import Hurt, Killed, Span, Timeline
from tests.support.states import a_record, a_run, save, save_ended

SECOND = 10**9
BEGIN = 1_795_700_000
"""The first due time (s)."""
LENGTH = 12
LAST = f"tick@{LENGTH}"
"""A run after which nothing else comes."""


def at(seconds: float) -> int:
    """An instant of the day (ns)."""
    return int((BEGIN + seconds) * SECOND)


@dataclass
class MadeUp:
    """A day on which all went well, until somebody changes something."""

    lines: list[str] = field(default_factory=list)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    timeline: Timeline = field(default_factory=Timeline)
    taken: list[Taken] = field(default_factory=list)
    submitted: dict[str, Submitted] = field(default_factory=dict)
    answers: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    held: list[Held] = field(default_factory=list)
    told: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    by_key: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    directory: Path = Path()
    steps: list[tuple[int, int]] = field(default_factory=list)
    """Since when (ns) the daemon's clock has which offset."""

    def run(self, run: str, due: float, *, key: str = "", code: int = 0, word: str = "-", pid: int = 100) -> None:
        """Let a run start half a second after it was due, and end a quarter later."""
        job, _, number = run.rpartition("@")
        began, ended, text = at(due + 0.5), at(due + 0.75), to_text(at(due))
        uptime, over = (f"{instant // 10**9}.{instant % 10**9 // 10**7:02}" for instant in (began, ended))
        self.lines += [f"tick {job} {run} 1 {text} {pid} 50 {word} - {uptime}", f"tock {run} 1 {code} {over}"]
        state = "failed" if code else "succeeded"
        attempt = {"attempt": 1, "state": state, "exit_code": code, "output": {"bytes": 0, "dropped": 0}}
        self.records[run] = {
            "job": job, "run": run, "number": int(number), "key": key or f"c0.{BEGIN + int(due)}", "state": state,
            "due": text, "queued": text, "ended": to_text(ended), "attempts": [attempt],
        }  # fmt: skip

    def violations(self) -> list[str]:
        """The classes of what the checker finds."""
        jobs = {
            "tick": Job("tick", {"every": "1s"}), "told-webhook-0": Job("told-webhook-0", {"every": "60s"}),
            "chained": Job("chained", {"on": {"job": "tick", "result": "success"}}),
            "left": Job("left"), "right": Job("right"), "both": Job("both", {"dependencies": ["left", "right"]}),
            "crontab:line": Job("crontab:line", {"schedule": "* * * * *"}), "alone": Job("alone", {"exclusive": True}),
            **{f"games/{n}": Job(f"games/{n}", {"locks": ["own"]}, tick="0") for n in (1, 2)},
        }  # fmt: skip
        people = Said(self.submitted, self.answers, self.held)
        history = list(self.records.values())
        day = SimpleNamespace(
            jobs=jobs,
            file_of={},
            timeline=self.timeline,
            morning=at(0),
            evening=at(LENGTH),
            history=history,
            strain=SimpleNamespace(told=lambda instant: instant, steps=self.steps),
            people=people,
        )
        ledger = Ledger()
        for line in self.lines:
            ledger._take(*line.split())
        evidence = Evidence(files=dict(self.records), history=dict(self.records), taken=self.taken)
        evidence.said.update(self.told)
        evidence.by_key.update(self.by_key)
        return sorted({violation.verdict for violation in Checker(cast("Day", day), ledger, evidence).violations()})


@pytest.fixture
def day(tmp_path: Path) -> MadeUp:
    """One with a clock, what is chained to it, somebody who is told, a submission with a dependant, and a key."""
    day = MadeUp(directory=tmp_path)
    for second in range(LENGTH):
        day.run(f"tick@{second + 1}", second)
        if second < LENGTH - 1:
            day.run(f"chained@{second + 1}", second + 1, key=f"jtick@{second + 1}")
    for number in (1, 2, 3):
        day.run(f"left@{number}", number, key=f"m{number}")
        day.run(f"right@{number}", number + 0.2, key=f"m{number}")
        joined(day, f"both@{number}", number + 0.5, number)
    day.run("told-webhook-0@1", 0, code=1)
    day.taken.append(Taken("webhook", "n1", frozenset({"told-webhook-0@1"}), 0, at(2)))
    day.run("host/1@1", 1, key="s1", word="w1")
    day.run("host/2@1", 2, key="s1", word="w2")
    day.submitted |= {
        "host/1": Submitted("host/1", 1, (), at(0.9), at(1)),
        "host/2": Submitted("host/2", 1, ("host/1",), at(0.9), at(1)),
    }
    day.answers["w1"] = [(at(1), "host/1"), (at(3), "host/1")]
    return day


def joined(day: MadeUp, run: str, due: float, number: int, key: str = "") -> None:
    """Let a run start by the ends of two others of this number."""
    day.run(run, due, key=key or f"dleft@{number}")
    day.records[run]["triggered_by"] = {"run": f"right@{number}", "ends": [f"left@{number}", f"right@{number}"]}


def test_a_good_day(day: MadeUp) -> None:
    """Nothing is wrong with it."""
    assert [] == day.violations()


def again(day: MadeUp, *seconds: int, era: int = 1) -> None:
    """Let a clock that is set back by 5 s show some due times again, at each of which the job runs."""
    day.steps = [(at(6.4), -5 * SECOND)]
    day.timeline.quiet = [Span(at(2), at(7))]
    for second in seconds:
        number = 100 * era + second
        day.run(f"tick@{number}", second, key=f"c{era}.{BEGIN + second}")
        day.run(f"chained@{number}", second + 1, key=f"jtick@{number}")


@pytest.mark.parametrize(
    ("seconds", "era", "more", "found"),
    [
        ((3, 4, 5), 1, (), []), ((2, 3, 4, 5, 6), 1, (), []), ((3, 5), 1, (), ["lost"]), ((), 1, (), ["lost"]),
        ((3, 4, 5), 0, (), ["doubled"]), ((3, 4, 5), 1, (4,), ["doubled"]), ((1, 3, 4, 5), 1, (), ["doubled"]),
    ],
    ids=["all that is sure", "all", "one is missing", "standing still", "no new era", "three times", "not shown again"],
)  # fmt: skip
def test_a_clock_that_is_set_back(
    day: MadeUp, seconds: tuple[int, ...], era: int, more: tuple[int, ...], found: list[str]
) -> None:
    """A time that it shows again is another occurrence, which has to run where nothing kept the daemon from it."""
    again(day, *seconds, era=era)
    again(day, *more, era=2)
    assert found == day.violations()


def without(day: MadeUp, run: str, *, record: bool = True) -> None:
    """Let nothing be known of a run, or only its record be lost."""
    if record:
        day.lines = [line for line in day.lines if run not in line.split()]
    del day.records[run]


def end(day: MadeUp, run: str, **changes: Any) -> None:
    """Let the record of a run be another."""
    attempts = [{**day.records[run]["attempts"][0], **changes}]
    day.records[run] = {**day.records[run], **changes, "attempts": attempts}


BROKEN: dict[str, tuple[list[str], Callable[[MadeUp], object]]] = {
    "an attempt is started twice": (["doubled"], lambda day: day.run("tick@2", 1)),
    "two runs of one due time": (["doubled"], lambda day: day.run("tick@99", LENGTH - 1)),
    "two runs of one end of another": (["doubled"], lambda day: day.run("chained@99", 2, key="jtick@1")),
    "a key is answered with two jobs": (["doubled"], lambda day: day.answers["w1"].append((at(4), "host/2"))),
    "a key runs as two jobs": (["doubled"], lambda day: day.run("host/3@1", 3, key="s1", word="w1")),
    "a due time of which nothing tells": (["lost"], lambda day: without(day, "chained@3") or without(day, "tick@3")),
    "an end after which nothing was due": (["lost"], lambda day: without(day, "chained@2")),
    "a run without a record": (["lost"], lambda day: without(day, LAST, record=False)),
    "a submission that was taken": (["lost"], lambda day: without(day, "host/2@1")),
    "a wrong status": (["wrong"], lambda day: end(day, LAST, exit_code=1, state="failed")),
    "an end of what never ran": (["wrong"], lambda day: _invented(day, f"chained@{LENGTH - 1}")),
    "lost, and nobody killed its supervisor": (["wrong"], lambda day: end(day, LAST, state="lost")),
    "output that is missing": (["output"], lambda day: end(day, LAST, output={"bytes": 7, "dropped": 0})),
    "before the end that it waits for": (["order"], lambda day: day.run("chained@99", LENGTH - 2, key=f"j{LAST}")),
    "before one of two ends that it waits for": (["order"], lambda day: _moved_up(day, "both@1", 0.4, 1)),
    "one more by the same two ends": (["order"], lambda day: joined(day, "both@9", 3.6, 2, "dright@2")),
    "rounds after which nothing was due": (["lost"], lambda day: _forgotten(day, "both@1", "both@2")),
    "after a failure": (["order"], lambda day: _failed(day, "tick@2")),
    "a submission before what it is after": (["order"], lambda day: _moved(day, "host/2@1", 0)),
    "an end that nobody was told of": (["untold"], lambda day: day.taken.clear()),
    "told twice by two messages": (["told twice"], lambda day: day.taken.append(day.taken[0]._replace(id="n2"))),
    "told twice by one message": (["told twice"], lambda day: day.taken.append(day.taken[0]._replace(at=at(3)))),
    "a start while the host was held": (["held"], lambda day: day.held.append(Held("", Span(at(0.9), at(1.9))))),
    "a start while the job was paused": (["held"], lambda day: day.held.append(Held("tick", Span(at(0.9), at(1.9))))),
    "a run beside one that is exclusive": (["overlaps"], lambda day: day.run("alone@1", 3.1, key="m1")),
    "two runs with a lock of a user's": (["overlaps"], lambda day: _at_once(day, "games/1@1", "games/2@1")),
    "a job of which nothing tells": (["lost"], lambda day: _forgotten(day, "tick@", "chained@")),
    "output that is another": (["output"], lambda day: _said(day, b"0000001 all work")),
    "a claim that another has": (
        ["overlaps"], lambda day: day.lines.append(f"overlap tick@2 1 x:lock-db:1 tick@1.1 {at(1.6)}")
    ),
}  # fmt: skip


def _failed(day: MadeUp, run: str) -> None:
    """Let a run have failed, whose success was taken for granted."""
    day.lines = [line.replace(f"tock {run} 1 0", f"tock {run} 1 1") for line in day.lines]
    end(day, run, state="failed", exit_code=1)


def _invented(day: MadeUp, run: str) -> None:
    day.lines = [line for line in day.lines if run not in line.split()]


def _forgotten(day: MadeUp, *jobs: str) -> None:
    for run in [run for run in day.records if run.startswith(jobs)]:
        without(day, run)


def _at_once(day: MadeUp, *runs: str) -> None:
    for run in runs:
        day.run(run, 3, key="m1")


def _said(day: MadeUp, text: bytes) -> None:
    """Let a run have written so many bytes, of which its file has these."""
    file = day.directory / "1.log"
    file.write_bytes(text)
    day.run("talks@1", 3, key="m1")
    day.lines = [line for line in day.lines if not line.startswith("tock talks@1")]
    day.lines.append(f"end talks@1 1 0 {len(text)} {at(3.75)}")
    end(day, "talks@1", output={"bytes": len(text), "dropped": 0, "file": str(file)})


def _moved_up(day: MadeUp, run: str, due: float, number: int) -> None:
    without(day, run)
    joined(day, run, due, number)


def _moved(day: MadeUp, run: str, due: float) -> None:
    without(day, run)
    day.run(run, due, key="s1")


@pytest.mark.parametrize("promise", BROKEN)
def test_a_broken_promise(day: MadeUp, promise: str) -> None:
    """It is seen, and nothing else."""
    expected, break_it = BROKEN[promise]
    break_it(day)
    assert expected == day.violations()


def test_what_is_not_promised(day: MadeUp) -> None:
    """A lost run of a supervisor that was killed, and a message that comes again after a death."""
    end(day, LAST, state="lost")
    day.lines = [line for line in day.lines if not line.startswith(f"tock {LAST}")]
    day.timeline.supervisors.add(50)
    day.timeline.killed.append(Killed(50, at(LENGTH - 0.4)))
    day.taken.append(day.taken[0]._replace(at=at(3)))
    day.timeline.blows.append(at(2.5))
    assert [] == day.violations()


NOTHING = Known(frozenset(), frozenset(), {}, {}, frozenset(), frozenset(), [])
"""What state.db knew, where files told all of it."""


def hurt(day: MadeUp, after: float, knew: Known | None, told: dict[str, int]) -> None:
    """Hurt state.db so many seconds after the day; the daemon is well again a second later."""
    span = Span(at(LENGTH + after), at(LENGTH + after + 1))
    day.timeline.hurts.append(Hurt([span], span.begin, told, knew))


LOST: dict[str, tuple[str, Callable[[MadeUp], object], Known]] = {
    "a due time whose run waited": (
        "lost", lambda day: _forgotten(day, "chained@3", "tick@3"),
        NOTHING._replace(dues={"tick": [Dues(at(2), at(2), 1)]}, cursors={"tick": at(LENGTH)}),
    ),
    "a due time among those of one skip": (
        "lost", lambda day: _forgotten(day, "chained@3", "tick@3"),
        NOTHING._replace(dues={"tick": [Dues(at(1), at(4), 4)]}, cursors={"tick": at(LENGTH)}),
    ),
    "a due time after the last that it knew": (
        "lost", lambda day: without(day, LAST), NOTHING._replace(cursors={"tick": at(LENGTH - 2)}),
    ),
    "what an end has made due": (
        "lost", lambda day: without(day, "chained@2"), NOTHING._replace(keys=frozenset({("chained", "jtick@2")})),
    ),
    "what the end of a run makes due that was not over": (
        "lost", lambda day: without(day, "chained@2"), NOTHING._replace(runs=frozenset({"tick@2"})),
    ),
    "a submission": (
        "lost", lambda day: without(day, "host/2@1"), NOTHING._replace(submissions=frozenset({"host/2"})),
    ),
    "a key": (
        "doubled", lambda day: day.answers["w1"].append((at(4), "host/2")),
        NOTHING._replace(asked=frozenset({"host/1"})),
    ),
    "a notice": (
        "untold", lambda day: day.taken.clear(), NOTHING._replace(notices=[("webhook", "told-webhook-0@1", 0)]),
    ),
    "a notice that counts others": (
        "untold", lambda day: day.taken.clear(), NOTHING._replace(notices=[("webhook", "told-webhook-0@7", 1)]),
    ),
    "a run by hand": (
        "lost", lambda day: day.timeline.accepted.update({"tick@77": at(3)}),
        NOTHING._replace(runs=frozenset({"tick@77"})),
    ),
}  # fmt: skip
"""What may be lost with state.db: what is a violation else, what is lost, and what only state.db knew."""


@pytest.mark.parametrize("lost", LOST)
def test_what_only_state_db_knew(day: MadeUp, lost: str) -> None:
    """It may go with it; not where files told of it, nor without that."""
    verdict, lose, knew = LOST[lost]
    lose(day)
    assert [verdict] == day.violations()
    hurt(day, 2, NOTHING._replace(cursors={"tick": at(LENGTH)}), dict.fromkeys(day.records, 1))
    assert [verdict] == day.violations()
    knew = NOTHING._replace(**{"cursors": {"tick": at(LENGTH)}, **_unlike(knew)})
    hurt(day, 2, knew, dict.fromkeys(day.records, 1))
    assert [] == day.violations()


def _unlike(knew: Known) -> dict[str, Any]:
    """The fields by which it is not NOTHING."""
    return {name: it for name, it in knew._asdict().items() if it != getattr(NOTHING, name)}


def test_what_is_read_of_state_db(tmp_path: Path) -> None:
    """All that waits in it or in its log, and of what has ended only that of which no record file tells."""
    store = Store(tmp_path)
    save_ended(store, 1, 2, 3)
    save(store, (a_run(4, due=40, last_due=50, count=2, key="m4"), None))
    for number, count in ((5, 3), (6, 4)):
        skip = a_run(number, state=RunState.SKIPPED, due=60, last_due=90, count=count)
        save(store, (skip, a_record(number)))
    submission = SaveSubmission("host/1", "{}", "word")
    notice = Notice(7, "email/root", 1, {"run": "job@3"}, more=2)
    memory = SavedJob(job="job", cursor=60)
    store.commit({}, {"job": memory}, notices={7: notice}, submissions=[submission])
    told = {"job@1": Told(1, 1), "job@3": Told(1, 1), "job@5": Told(0, 3), "job@6": Told(0, 3)}
    knew = read(tmp_path / "state.db", told)
    store.close()
    assert knew == Known(
        runs=frozenset({"job@2", "job@4", "job@6"}),
        keys=frozenset({("job", "m4"), ("job", "c0.2"), ("job", "c0.6")}),
        dues={"job": [Dues(40, 50, 2), Dues(60, 90, 4), Dues(2 * SECOND, 2 * SECOND, 1)]},
        cursors={"job": 60},
        submissions=frozenset({"host/1"}),
        asked=frozenset({"host/1"}),
        notices=[("email/root", "job@3", 2)],
    )


def test_what_can_not_be_read(tmp_path: Path) -> None:
    """Nothing is taken for known."""
    assert read(tmp_path / "state.db", {}) is None
    (tmp_path / "state.db").write_bytes(b"x" * 4096)
    assert read(tmp_path / "state.db", {}) is None


@pytest.mark.parametrize(("after", "found"), [(2, []), (130, ["lost"])])
def test_a_state_db_that_could_not_be_read_before_it_was_hurt(day: MadeUp, after: int, found: list[str]) -> None:
    """Whatever is not older than two minutes may have been in it."""
    _forgotten(day, "chained@3", "tick@3")
    hurt(day, after, None, dict.fromkeys(day.records, 1))
    assert found == day.violations()


@pytest.mark.parametrize(("is_hurt", "found"), [(True, []), (False, ["lost"])])
def test_what_was_lost_with_its_file_before_state_db(day: MadeUp, *, is_hurt: bool, found: list[str]) -> None:
    """A skip, and what an end has made due: only where the record file had been hurt, however long before."""
    without(day, LAST)
    without(day, "chained@2")
    day.told[LAST] = [{"event": "run_skipped", "due": at(LENGTH - 1), "unsaved": True}]
    day.by_key["chained", "jtick@2"] = {"chained@2"}
    if is_hurt:
        day.timeline.records_hurt |= {LAST: at(LENGTH), "chained@2": at(LENGTH)}
    hurt(day, 60, NOTHING._replace(cursors={"tick": at(LENGTH)}), dict.fromkeys(day.records, 1))
    assert found == day.violations()


def test_an_output_is_what_was_written(day: MadeUp) -> None:
    """The same bytes are no violation."""
    _said(day, output_of(100))
    assert [] == day.violations()


@pytest.mark.parametrize(("told", "found"), [({}, []), ({LAST: 1}, ["lost"])])
def test_what_only_state_db_told_of(day: MadeUp, told: dict[str, int], found: list[str]) -> None:
    """It may go with state.db; what a record file or a run directory told of when that was hurt may not."""
    del day.records[LAST]
    hurt(day, 1, NOTHING._replace(cursors={"tick": at(LENGTH)}), dict.fromkeys(day.records, 1) | told)
    assert found == day.violations()


def test_a_seed_draws_the_same_faults() -> None:
    """Also where other classes are left out."""
    whole = [each for each, _ in zip(episodes(7, frozenset(CLASSES), 1), range(60), strict=False)]
    assert whole == [each for each, _ in zip(episodes(7, frozenset(CLASSES), 1), range(60), strict=False)]
    some = frozenset(random.Random(1).sample(CLASSES, 6)) | {"kill", "restart"}
    fewer = [each for each in whole if each.kind in some]
    assert fewer == [each for each, _ in zip(episodes(7, some, 1), fewer, strict=False)]
    assert len({each.kind for each in whole}) > 10
