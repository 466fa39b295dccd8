"""Why a job did not run at an instant that is over, by what was kept of it."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest

from jobqueued.audit.known import AuditAnswer, Known
from jobqueued.audit.past import answer
from jobqueued.base.instants import HOUR, MINUTE, SECOND, to_text
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.reasons import wait_for_dependency
from jobqueued.core.runs.eligibility import Bar
from jobqueued.model.saved import Past
from tests.support.records import NOW, a_record
from tests.support.remembered import RememberedWorld

LIVES, STEPS = int(os.environ.get("JOBQUEUED_LIVES", "20")), 50


@pytest.mark.parametrize("part", range(4))
def test_the_truth(part: int) -> None:
    """Of 1,000 instants of twenty lives each answer is what was true then, by the processes and by what people did."""
    for seed in range(part, LIVES, 4):
        world = RememberedWorld(seed)
        world.live(STEPS)
        assert [] == list(world.wrong()), seed


def test_the_lives_have_all_of_it() -> None:
    """All kinds of answers are asked for, or the test above would tell nothing."""
    kinds = Counter[str]()
    for seed in range(20):
        world = RememberedWorld(seed)
        world.live(STEPS)
        for seen in world.truths:
            kinds.update(world._kinds(seen))
        kinds["expired"] += any(map(world._has_expired, world.truths))
        kinds["skipped later"] += any(map(world._is_skipped, {run for seen in world.truths for run in seen.pending}))
    told = {"running", "down", "waiting", "retrying", "gone", "disabled", "paused", "skipped", "not_due"}
    assert told | {"expired", "skipped later"} == set(+kinds)


def known(*runs: Record, **fields: Any) -> Known:
    """All that is known of a job with these records."""
    return Known("job", runs, True, "", (), True, (), (), "enabled", None)._replace(**fields)


def told(found: AuditAnswer) -> tuple[str, str | None, str]:
    return found.kind, found.run, "; ".join([*found.reasons, *found.unknown])


class TestOfARun:
    def test_its_life(self) -> None:
        """A run is due later, then waits, runs, waits for its next attempt, and has ended."""
        start = NOW + 10 * SECOND
        of = known(a_record(10, attempts=2, queued=to_text(start), due=to_text(start)))
        kinds = [answer(of, start + round(after * SECOND), "job@10").kind for after in (-1, 0.5, 1.5, 3.5, 9)]
        assert ["not_due", "waiting", "running", "running", "ended"] == kinds
        assert "job@10 had ended: succeeded" in told(answer(of, NOW + HOUR, "job@10"))[2]

    def test_the_instant_at_which_it_was_due(self) -> None:
        """It is the run that is meant, though it came to be some milliseconds later; not if it came much later."""
        due = NOW + 10 * SECOND
        late = to_text(due + 21_000_000)
        of = a_record(10, queued=to_text(due + 300_000), started=late)
        of["attempts"][0]["started"] = late
        assert "running" == answer(known(of), due).kind
        of["attempts"][0]["started"] = of["started"] = to_text(due + 20 * SECOND)
        assert "waiting" == answer(known(of), due).kind
        of["queued"] = to_text(due + 2 * SECOND)
        of["attempts"][0]["started"] = of["started"] = to_text(due + 2 * SECOND)
        assert "not_due" == answer(known(of), due).kind

    def test_a_lost_one(self) -> None:
        """Of a run that was lost it is told that it may have run until that was noticed."""
        lost = a_record(10, "lost", given_up=to_text(NOW + HOUR))
        lost["attempts"][0]["ended"] = lost["ended"] = None
        kind, _, words = told(answer(known(lost), NOW + MINUTE))
        assert ("running", True) == (kind, "it might have run" in words)
        assert "not_due" == answer(known(lost), NOW + 2 * HOUR).kind
        assert "ended" == answer(known(lost), NOW + 2 * HOUR, "job@10").kind

    def test_where_the_daemon_was_down(self) -> None:
        """Of a run it is not told what became of others that were due then."""
        missed = a_record(5, "skipped", reason="missed", last_due=NOW + 20 * SECOND, count=3)
        of = known(missed, a_record(40), downs=[(NOW + 4 * SECOND, NOW + 30 * SECOND)])
        others, own = (told(answer(of, NOW + 10 * SECOND, run))[2] for run in (None, "job@40"))
        assert (True, False) == ("job@5 was due at that time: skipped, missed" in others, "job@5" in own)


def test_skips_that_go_on() -> None:
    """Of skips that share a record nothing is told that was due later."""
    of = known(a_record(5, "skipped", reason="missed", last_due=NOW + 20 * SECOND, count=3))
    begun, over = (answer(of, NOW + after * SECOND).reasons[0] for after in (10, 30))
    assert "the previous occurrence (since 2027-01-15T08:00:05.000000Z) was skipped: missed" == begun
    assert "2027-01-15T08:00:05.000000Z to 2027-01-15T08:00:20.000000Z, 3 times" in over


class TestWhatIsNotKept:
    def test_records(self) -> None:
        """Before the oldest record nothing is known but that; unless it is the first."""
        later = a_record(7)
        kind, _, words = told(answer(known(later, is_whole=False), NOW))
        assert ("unknown", True) == (kind, "are no longer saved: they begin at 2027-01-15T08:00:07" in words)
        assert "not_due" == answer(known(later), NOW).kind

    def test_runs_behind_a_skip_that_is_kept(self) -> None:
        """Runs and skips expire apart: where numbers are missing behind a skip, what was due last is not known."""
        skip, later = a_record(2, "skipped", last_due=NOW + 5 * SECOND, count=4, reason="paused"), a_record(90)
        of = known(skip, later, is_whole=False)
        kind, _, words = told(answer(of, NOW + MINUTE))
        assert ("unknown", True) == (kind, "the job's records between job@2 and job@90 are no longer saved" in words)
        assert "skipped" == answer(of, NOW + 5 * SECOND).kind
        paused = [Past(NOW + MINUTE, "job", "paused", by="root")]
        kind, _, words = told(answer(of._replace(past=paused), NOW + MINUTE))
        assert ("paused", True) == (kind, "are no longer saved" in words)

    def test_runs_that_joined_a_skip(self) -> None:
        """The numbers of those are missing behind it, and nothing else is."""
        skip = a_record(
            2, "skipped", last_due=NOW + 5 * SECOND, count=4, reason="x", given_up=to_text(NOW + 5 * SECOND)
        )
        for number, kind in ((6, "skipped"), (7, "unknown")):
            assert kind == answer(known(skip, a_record(number)), NOW + 5 * SECOND + 1).kind

    def test_runs_from_before_that_went_on(self) -> None:
        """Where no run is kept that began before, one of those that have expired may have been live still."""
        of = known(a_record(7, "skipped", reason="queue_full"), a_record(8), is_whole=False)
        assert any("whose record is no longer saved" in it for it in answer(of, NOW + 7 * SECOND).unknown)
        assert [] == answer(of, NOW + MINUTE).unknown

    def test_who_was_live_so_long(self) -> None:
        """It is told where not all runs were looked at that may have been live then."""
        found = answer(known(a_record(7), looked_back="2026-01-01T00:00:00.000000Z"), NOW + HOUR)
        assert ["whether a run that was queued before 2026-01-01T00:00:00.000000Z was still live"] == found.unknown

    def test_what_held_it_in_the_queue(self) -> None:
        """A run that lacked nothing that is known was kept by what is not; a moment before its start by nothing."""
        waited = a_record(7, queued=to_text(NOW), due=to_text(NOW), waited_for=["db"])
        (unknown,) = answer(known(waited), NOW + SECOND).unknown
        assert "why job@7 waited at that time; during the whole wait, the run was missing db" == unknown
        assert [] == answer(known(waited), NOW + 7 * SECOND).unknown
        (unknown,) = answer(known({**waited, "waited_for": []}, has_all_others=False), NOW + SECOND).unknown
        assert "not all live runs were examined" in unknown

    def test_too_many_waits(self) -> None:
        """A time of many waits is told to be one."""
        waits = [{"since": to_text(NOW), "for": "?"}]
        waited = a_record(7, queued=to_text(NOW), due=to_text(NOW), waits=waits)
        (unknown,) = answer(known(waited), NOW + SECOND).unknown
        assert "there were too many changes to save them all" in unknown

    @pytest.mark.parametrize("bar", list(Bar))
    def test_each_obstacle_has_its_own_words(self, bar: Bar) -> None:
        """Only a job without a definition was in no readable job file; a wait for the fleet is not told as that."""
        word = wait_for_dependency("b") if bar is Bar.DEPENDENCY else bar.name.lower()
        waited = a_record(7, queued=to_text(NOW), due=to_text(NOW), waits=[{"since": to_text(NOW), "for": word}])
        reasons = answer(known(waited), NOW + SECOND).reasons
        assert (bar is Bar.UNDEFINED) is any("no readable job file" in reason for reason in reasons)


def a_skip(number: int, **fields: Any) -> Record:
    """A skip for the deadline of a run that was given up 8 s after it was queued."""
    return a_record(number, "skipped", reason="start_deadline", given_up=to_text(NOW + (number + 8) * SECOND), **fields)


class TestRunsThatWereSkippedLater:
    def test_its_wait(self) -> None:
        """It waited until then, for what another held; of neither it is told that it was skipped before it was."""
        tape = [{"resource": "tape", "mode": "exclusive", "units": 0, "of": 1}]
        holder = a_record(1, job="holder", claims=tape)
        of = known(a_skip(2, claims=tape, waited_for=["tape"]), others=(holder,))
        assert ["not_due", "waiting", "waiting", "skipped"] == [
            answer(of, NOW + it * SECOND).kind for it in (1, 2, 9, 10)
        ]
        _, run, words = told(answer(of, NOW + 3 * SECOND, "job@2"))
        assert ("job@2", True) == (run, "it was skipped at 2027-01-15T08:00:10.000000Z: start_deadline" in words)
        assert "lock tape was held by holder@1" in words

    def test_of_several_the_last(self) -> None:
        """Of skips that share a record only the last has its wait, and that is said of the others."""
        last, end = NOW + 20 * SECOND, to_text(NOW + 30 * SECOND)
        of = known(a_record(2, "skipped", reason="start_deadline", last_due=last, count=3, given_up=end), a_record(40))
        assert ("waiting", "waited since 2027-01-15T08:00:20") == (
            (found := answer(of, last)).kind, found.reasons[0].partition(" ")[2][:32],
        )  # fmt: skip
        kind, _, words = told(answer(of, NOW + 10 * SECOND))
        assert ("skipped", True) == (kind, "whether a run that was skipped later waited" in words)
        assert "whether" not in told(answer(of, NOW + 30 * SECOND))[2]


class TestStanding:
    def test_before_anything_was_noted(self) -> None:
        """What a job was before the first note is what that says."""
        noted = [Past(NOW + HOUR, "job", "enabled", "gone"), Past(NOW + 2 * HOUR, "job", "disabled", "enabled")]
        kinds = [answer(known(past=noted), NOW + hours * HOUR + SECOND).kind for hours in range(3)]
        assert ["gone", "not_due", "disabled"] == kinds

    def test_a_pause_that_ended_by_itself(self) -> None:
        """It lasts until its own end, though that was noted later."""
        noted = [Past(NOW, "job", "paused", "", "root", NOW + HOUR), Past(NOW + 3 * HOUR, "job", "resumed")]
        kinds = [answer(known(past=noted), NOW + minutes * MINUTE).kind for minutes in (-1, 0, 59, 60, 200)]
        assert ["not_due", "paused", "paused", "not_due", "not_due"] == kinds

    def test_another_jobs_pause(self) -> None:
        """It is none of this job's, nor is a hold a pause."""
        noted = [Past(NOW, "other", "paused", by="root"), Past(NOW, "", "held", by="root")]
        kind, _, words = told(answer(known(past=noted), NOW + SECOND))
        assert ("not_due", True) == (kind, "the host was on hold by root" in words)
