"""What is saved of a job comes back from its records, one by one."""

from __future__ import annotations

from functools import reduce
from typing import Any

import pytest

from jobqueued.base.instants import HOUR, SECOND, to_text
from jobqueued.child.contract.documents import Record
from jobqueued.core.records.recollection import after, final, has_failover, is_ahead, learned, over, run_of, up_to
from jobqueued.core.records.record_checks import Damaged, checked, short
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import OUTCOMES, Expected, SavedJob
from jobqueued.model.users import Owner
from tests.support.records import NOW, a_record


def told(*records: Record, saved: SavedJob | None = None) -> SavedJob:
    """What is saved after these."""
    return reduce(lambda known, one: after(known, run_of(one), one), records, saved or SavedJob(job="job"))


def test_counters() -> None:
    """Starts, successes, failures and skips are counted as in life, and the last run is the last that started."""
    stats = told(
        a_record(1), a_record(2, "failed"), a_record(3, "lost"), a_record(4, "skipped", count=7), a_record(5, "killed"),
        a_record(6, "skipped"),
    ).stats  # fmt: skip
    assert (4, 1, 3, 8) == (stats.started, stats.succeeded, stats.failed, stats.skipped)
    assert (NOW + 6 * SECOND, RunState.KILLED, 2 * SECOND) == (stats.last_run, stats.last_state, stats.usual)


def test_a_failover_tells_nothing_of_the_usual() -> None:
    """The time that it took is not that of a run of the job."""
    record = a_record(2)
    last = {**record["attempts"][0], "failover": True, "ended": to_text(NOW + 90 * SECOND)}
    failover: Record = {**record, "attempts": [last]}
    assert told(a_record(1)).stats.usual == told(a_record(1), failover).stats.usual == 2 * SECOND


def test_a_run_of_which_a_time_is_not_known_tells_nothing_of_the_usual() -> None:
    """Neither one without a start nor one without an end; over a clock that was set back it took no time."""
    record = a_record(2)
    for change in ({"started": None}, {"ended": None}):
        attempt: Any = {**record["attempts"][0], **change}
        assert 2 * SECOND == told(a_record(1), {**record, "attempts": [attempt]}).stats.usual
    attempt = {**record["attempts"][0], "ended": to_text(NOW)}
    assert 0 == told({**record, "attempts": [attempt]}).stats.usual


def test_an_end_of_which_nobody_knows_when() -> None:
    """It counts from the start, or from when it was queued."""
    for fields, second in (({}, 1), ({"started": None}, 0)):
        saved = told(a_record(1, "lost", **{"ended": None, "started": to_text(NOW + 2 * SECOND), **fields}))
        assert [NOW + (1 + second) * SECOND] == [outcome.ended for outcome in saved.outcomes]


def test_what_is_expected() -> None:
    """A success starts the time anew in which the next is expected; nothing else does."""
    saved = SavedJob(job="job", expected=Expected(HOUR, NOW, {}, NOW + 1))
    for state, since in (("succeeded", NOW + 4 * SECOND), ("failed", NOW), ("skipped", NOW)):
        expected = told(a_record(1, state), saved=saved).expected
        assert expected is not None
        assert (since, 0 if state == "succeeded" else NOW + 1) == (expected.since, expected.told)


def test_failing() -> None:
    """A row of failures began with the first of them; one that was stopped deliberately neither ends nor begins it."""
    stopped = a_record(1, "killed", reason="stopped by root")
    assert None is told(stopped).stats.fails_since
    again = a_record(4, "killed", reason="replaced by job@5")
    since = told(stopped, a_record(2, "failed"), a_record(3, "lost"), again).stats
    assert (NOW + 3 * SECOND, 3, RunState.KILLED) == (since.fails_since, since.failing_run, since.last_state)
    assert None is told(a_record(1, "failed"), a_record(2)).stats.fails_since


def test_the_last_is_the_one_that_ended_last() -> None:
    """A run that took long and ended after a later one is the last."""
    long = a_record(1, "failed", ended=to_text(NOW + 90 * SECOND))
    later = [a_record(number, ended=to_text(NOW + 50 * SECOND)) for number in (2, 3)]
    stats = told(long, *later).stats
    assert (RunState.FAILED, 1, 3) == (stats.last_state, stats.failing_run, stats.started)


def test_unknown_numbers_count_as_started() -> None:
    """A number of which nothing is known is used, and may have been a run."""
    assert (9, 5) == (told(a_record(5), a_record(9, "skipped")).last_number, told(a_record(5)).stats.started)
    saved = up_to(told(a_record(2)), 4)
    assert (4, 4) == (saved.last_number, saved.stats.started)
    assert saved == up_to(saved, 3)


def test_the_cursor_is_behind_the_last_due_time() -> None:
    """What the clock made due moves it, of skips the last; what others made due does not."""
    assert told(a_record(1), a_record(2)).cursor == NOW + 2 * SECOND
    last = a_record(3, "skipped", last_due=NOW + 50 * SECOND, count=48)
    assert told(last, a_record(4, key="x12")).cursor == NOW + 50 * SECOND
    assert told(a_record(4, key="x12"), a_record(5, key="cNone.3"), a_record(6, key="c.")).cursor == 0


def test_eras() -> None:
    """A due time of an earlier era moves nothing; that of a newer one does, even if it is earlier."""
    newer = a_record(2, key="c1.5", due="2000-01-01T00:00:00.000000Z")
    saved = told(a_record(1), newer, a_record(3))
    assert (1, 946684800 * SECOND, 0) == (saved.era, saved.cursor, saved.settled)


@pytest.mark.parametrize(("back", "settled"), [(HOUR, True), (3 * HOUR, True), (4 * HOUR, False), (-HOUR, False)])
def test_a_clock_that_was_set_back(back: int, settled: bool) -> None:
    """Fixed times up to where it was have had their turn, unless it was wrong by more; so it stays."""
    again = a_record(2, key="c1.5", due=to_text(NOW + SECOND - back))
    later = a_record(3, key="c1.6", due=to_text(NOW + 2 * SECOND - back))
    for records in ((a_record(1), again), (a_record(1), again, later)):
        assert (NOW + SECOND if settled else 0) == told(*records).settled


def test_a_cursor_ahead_stays() -> None:
    """What is saved already counts where it is further."""
    ahead = SavedJob(job="job", cursor=NOW + 100 * SECOND, rhythm="r", last_number=3)
    saved = told(a_record(4), saved=ahead)
    assert (NOW + 100 * SECOND, "r", 4) == (saved.cursor, saved.rhythm, saved.last_number)


def test_outcomes() -> None:
    """The newest outcomes, and the last success, are there for those that depend on it; not more."""
    saved = told(a_record(1), *(a_record(number, "failed") for number in range(2, 40)))
    assert [1, *range(40 - OUTCOMES, 40)] == [outcome.run for outcome in saved.outcomes]
    long = a_record(1, ended=to_text(NOW + 99 * SECOND))
    saved = told(long, a_record(2), *(a_record(number, "failed") for number in range(3, 40)))
    assert [1, *range(40 - OUTCOMES, 40)] == [outcome.run for outcome in saved.outcomes], "the last is who ended last"


def test_the_end_of_what_waited_for_a_retry() -> None:
    """It ends as its last attempt did, and says why there is no other."""
    ended = final(a_record(1, "retrying", attempts=2), "state.db was lost")
    assert ("failed", "exit code 3; no retry: state.db was lost") == (ended["state"], ended["reason"])
    assert a_record(1) == final(a_record(1), "")
    waits = a_record(1, "retrying", attempts=2)
    waits["attempts"][1] = {**waits["attempts"][1], "state": "timed_out", "reason": "timeout after 1 s"}
    ended = final(waits, "x")
    assert ("timed_out", "timeout after 1 s; no retry: x") == (ended["state"], ended["reason"])


def test_what_is_newer() -> None:
    """More attempts, or more occurrences, are newer; another end of as many is not."""
    assert is_ahead(a_record(1, attempts=2), a_record(1, "retrying"))
    assert is_ahead(a_record(1, "skipped", count=2), a_record(1, "skipped"))
    assert not is_ahead(a_record(1), a_record(1, "lost"))
    one, two, plain = a_record(1, "skipped"), a_record(1, "skipped", count=2), a_record(1, "skipped")
    del plain["count"]
    assert [True, False, False, False] == [
        is_ahead(*it) for it in ((two, plain), (plain, two), (one, plain), (plain, one))
    ]
    assert is_ahead(plain, {**one, "count": 0}), "what has no count is one"


def test_a_long_value_is_cut() -> None:
    """A message has 40 characters of a value at most."""
    assert (repr("x" * 38), f"'{'x' * 38}…") == (short("x" * 38), short("x" * 39))


def goes_on(attempts: int) -> Record:
    """A record of a run of which the last attempt is live."""
    document = a_record(1, attempts=attempts)
    document["attempts"][-1] = {**document["attempts"][-1], "state": "running"}
    return {**document, "state": "running"}


@pytest.mark.parametrize("pid", [(1 << 63) - 1, -(1 << 63), None])
def test_a_number(pid: int | None) -> None:
    """All are numbers that state.db can hold."""
    assert pid == checked(a_record(1, pid=pid), RunId("job", 1))["pid"]


def test_whose_and_by_what() -> None:
    """Who has asked for a run, whose it is, and what has made it due, come back."""
    document = a_record(
        1, "failed", asked_by="root", owner={"uid": 7, "name": "alice"}, reason="x",
        triggered_by={"kind": "event", "event": "go"},
    )  # fmt: skip
    run = run_of(document)
    assert ("root", Owner(7, "alice"), {"event": "go"}, "x") == (run.asked_by, run.owner, run.triggered_by, run.reason)


@pytest.mark.parametrize(
    ("state", "reason", "failover", "by_failover", "fails"),
    [
        ("succeeded", None, False, False, False),
        ("succeeded", None, True, True, False),
        ("failed", "x", True, False, True),
        ("failed", "stopped by root", False, False, True),
        ("killed", "stopped by root", False, False, False),
        ("killed", "replaced by a@2", False, False, False),
        ("killed", "shutdown", False, False, True),
        ("killed", None, False, False, True),
    ],
)
def test_what_it_tells_of_its_job(
    state: str, reason: str | None, failover: bool, by_failover: bool, fails: bool
) -> None:
    """Whether it was the failover that has succeeded, and whether the job fails: not where a person has ended it."""
    document = a_record(1, state, reason=reason)
    document["attempts"][0] = {**document["attempts"][0], "failover": failover}
    saved = told(document)
    stats = saved.stats
    assert (by_failover, fails, reason if fails else None) == (
        stats.by_failover, stats.fails_since is not None, stats.failing_reason,
    )  # fmt: skip
    is_usual = state == "succeeded" and not failover
    assert (2 * SECOND if is_usual else None, "2000" if is_usual else "", "1000") == (
        stats.usual,
        saved.took,
        saved.delays,
    )


def test_what_is_usual() -> None:
    """What a success took with all its attempts; by a quarter the last of them, where that is below a second."""
    long = a_record(2)
    long["attempts"][0] = {**long["attempts"][0], "ended": to_text(NOW + 13 * SECOND)}
    saved = told(a_record(1), long)
    assert (4 * SECOND, "2000 10000") == (saved.stats.usual, saved.took)
    saved = told(a_record(1, attempts=2))
    assert (3 * SECOND, "3000", NOW + 5 * SECOND) == (saved.stats.usual, saved.took, over(a_record(1, attempts=2)))
    assert {"delays": "1000"} == learned(SavedJob(job="job"), run_of(long), long, ran=False)
    assert {"took": "10000"} == learned(SavedJob(job="job"), run_of(long), long, waited=False)


def test_the_last_attempt_is_the_failover() -> None:
    """Not one before it."""
    assert has_failover({"attempts": [{}, {"failover": True}]})
    assert not has_failover({"attempts": [{"failover": True}, {"failover": False}]})


def test_two_that_ended_together() -> None:
    """The later one is the last; a run that is told of twice has one outcome, in the order of due times."""
    end = to_text(NOW + 9 * SECOND)
    stats = told(a_record(1, ended=end), a_record(2, "failed", ended=end)).stats
    assert (RunState.FAILED, 2) == (stats.last_state, stats.failing_run)
    saved = told(a_record(1, "failed"), a_record(1), a_record(2, key="c1.5", due="2000-01-01T00:00:00.000000Z"))
    assert [(2, "succeeded"), (1, "succeeded")] == [(it.run, it.state) for it in saved.outcomes]
    assert 10 == OUTCOMES


def test_where_its_clock_stands() -> None:
    """A cursor that an occurrence has reached already keeps what is known of the one before it, and no other."""
    saved = SavedJob(job="job", cursor=NOW + 2 * SECOND, previous=NOW)
    assert [NOW, 0] == [told(a_record(number), saved=saved).previous for number in (2, 3)]


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (None, "None is not an object"),
        ({}, "it has no job"),
        (a_record(2), "it belongs to 'job@2'"),
        (a_record(1, reason=5), "5 is not a valid reason"),
        (a_record(1, output={}), "it has no file"),
        (a_record(1, due="tomorrow"), "'tomorrow' is not a valid due"),
        (a_record(1, due="2026-01-01T00:00:00"), "'2026-01-01T00:00:00' is not a valid due"),
        (a_record(1, due="9999-01-01T00:00:00.000000Z"), "'9999-01-01T00:00:00.000000Z' is not a valid due"),
        (a_record(1, attempts=0), "it has no end: 'succeeded'"),
        ({**a_record(1), "attempts": [{"attempt": "1"}]}, "'1' is not a valid attempt"),
        (a_record(1, pid=1 << 70), "1180591620717411303424 is not a valid pid"),
        ({**a_record(1, "skipped"), "count": None}, "None is not a valid count"),
        (a_record(1, pid=1 << 63), "9223372036854775808 is not a valid pid"),
        (a_record(1, pid=-(1 << 63) - 1), "-9223372036854775809 is not a valid pid"),
        (goes_on(1), "it has no end: 'running'"),
        (goes_on(2), "it has no end: 'running'"),
    ],
)
def test_damaged(document: object, why: str) -> None:
    """What is no record of the run is told with what is wrong."""
    with pytest.raises(Damaged) as damaged:
        checked(document, RunId("job", 1))
    assert why == str(damaged.value)


@pytest.mark.parametrize("state", ["succeeded", "failed", "lost", "skipped", "retrying"])
def test_whole(state: str) -> None:
    """Every record that a record file can have is one, and its run is as it was."""
    document = a_record(3, state)
    run = run_of(final(checked(document, RunId("job", 3)), ""))
    due = NOW + 3 * SECOND
    assert run == Run(
        id=RunId("job", 3), key=f"c0.{due // SECOND}", due=due, queued=due, arrival=0, trigger="schedule",
        state=RunState("failed" if state == "retrying" else state), reason=run.reason,
        attempt=0 if state == "skipped" else 1, pid=document["pid"],
        started=None if state == "skipped" else due + SECOND, last_due=due if state == "skipped" else None,
    )  # fmt: skip
    assert (RunId("job", 3), NOW + 3 * SECOND, f"c0.{NOW // SECOND + 3}") == (run.id, run.due, run.key)


@pytest.mark.parametrize(("noted", "wanted"), [(["tape", 7], ("tape", "7")), ("tape", ()), (None, ()), (7, ())])
def test_what_a_run_lacked_that_was_given_up(noted: object, wanted: tuple[str, ...]) -> None:
    """A list of names comes back, anything else does not."""
    record = a_record(1, state="skipped", reason="gave up", given_up=to_text(NOW), waited_for=noted)
    assert wanted == run_of(record).lacked
    assert () == run_of({**record, "state": "failed", "given_up": None}).lacked, "it has started after that"
