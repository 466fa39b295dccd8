"""Why a job did not run at an instant that is over, by what was kept of it."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest

from jobqueued.audit.known import Answer, Known
from jobqueued.audit.past import answer
from jobqueued.model import HOUR, MINUTE, SECOND, Record, to_text
from jobqueued.saved import Past
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
    assert {"running", "down", "waiting", "retrying", "gone", "disabled", "paused", "skipped", "not_due"} == set(kinds)


def known(*runs: Record, **fields: Any) -> Known:
    """All that is known of a job with these records."""
    return Known("job", runs, True, "", (), True, (), (), "enabled", None)._replace(**fields)


def told(found: Answer) -> tuple[str, str | None, str]:
    return found.kind, found.run, "; ".join([*found.reasons, *found.unknown])


class TestOfARun:
    def test_its_life(self) -> None:
        """A run is due later, then waits, runs, waits for its next attempt, and has ended."""
        start = NOW + 10 * SECOND
        of = known(a_record(10, attempts=2, queued=to_text(start), due=to_text(start)))
        kinds = [answer(of, start + round(after * SECOND), "job@10").kind for after in (-1, 0.5, 1.5, 3.5, 9)]
        assert ["not_due", "waiting", "running", "running", "ended"] == kinds
        assert "job@10 had ended: succeeded" in told(answer(of, NOW + HOUR, "job@10"))[2]

    def test_a_lost_one(self) -> None:
        """Of a run that was lost it is told that it may have run until that was noticed."""
        lost = a_record(10, "lost", given_up=to_text(NOW + HOUR))
        lost["attempts"][0]["ended"] = lost["ended"] = None
        kind, _, words = told(answer(known(lost), NOW + MINUTE))
        assert ("running", True) == (kind, "it may have run" in words)
        assert "not_due" == answer(known(lost), NOW + 2 * HOUR).kind
        assert "ended" == answer(known(lost), NOW + 2 * HOUR, "job@10").kind


class TestWhatIsNotKept:
    def test_records(self) -> None:
        """Before the oldest record nothing is known but that; unless it is the first."""
        later = a_record(7)
        kind, _, words = told(answer(known(later, is_whole=False), NOW))
        assert ("unknown", True) == (kind, "are not kept: they begin at 2027-01-15T08:00:07" in words)
        assert "not_due" == answer(known(later), NOW).kind

    def test_who_was_live_so_long(self) -> None:
        """It is told where not all runs were looked at that may have been live then."""
        found = answer(known(a_record(7), looked_back="2026-01-01T00:00:00.000000Z"), NOW + HOUR)
        assert ["whether a run that was queued before 2026-01-01T00:00:00.000000Z was live so long"] == found.unknown

    def test_what_held_it_in_the_queue(self) -> None:
        """A run that lacked nothing that is known was kept by what is not; a moment before its start by nothing."""
        waited = a_record(7, queued=to_text(NOW), due=to_text(NOW), waited_for=["db"])
        (unknown,) = answer(known(waited), NOW + SECOND).unknown
        assert "what kept job@7 in the queue then; in all of its wait it lacked db" == unknown
        assert [] == answer(known(waited), NOW + 7 * SECOND).unknown
        (unknown,) = answer(known({**waited, "waited_for": []}, has_all_others=False), NOW + SECOND).unknown
        assert "of what was live then not all is looked at" in unknown

    def test_too_many_waits(self) -> None:
        """A time of many waits is told to be one."""
        waits = [{"since": to_text(NOW), "for": "?"}]
        waited = a_record(7, queued=to_text(NOW), due=to_text(NOW), waits=waits)
        (unknown,) = answer(known(waited), NOW + SECOND).unknown
        assert "there was too much of it to be kept" in unknown


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
