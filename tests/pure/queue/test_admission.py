"""Admission: who waits is not overtaken for ever, and nothing that nobody needs is kept idle.

Each of these was done to jobqueued/queue/admission.py by hand once, and each was noticed here:

- backfill of anything; of what ends 1 ns after H; without looking at what is reserved; H of the first holder, or
  without the holders that have none
- only the first waiter reserves; a waiter for a reservation reserves too
- no lapse; a lapse for ever; lapses of each run alone; a drain that begins anew with each waiter, or at a restart
- further waiters reserve all they need, or a slot, or only what they lack now; units that don't touch each other
- no look when a faster run overtakes; a turn without a limit
- parked are also those that wait for something else, for what others may get, or for what can't be had; or the first
  of those that age alike; and nobody wakes them for a release, a new rival or a new first run
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from jobqueued.base.instants import SECOND
from jobqueued.model.job import Claim, Escalation
from jobqueued.model.run import RunId
from jobqueued.model.users import share_of
from jobqueued.queue.admission import USER, Admission, Reservation
from jobqueued.queue.drains import Drains
from jobqueued.queue.locks import HOST, SLOT, Claims, Locks
from jobqueued.queue.waiting import Group, Terms

MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
FLAT = Escalation(0)
SHARE = Claim(HOST)
ALONE = Claim(HOST, exclusive=True)
SLOT1 = Claim(SLOT, 1)
TAPE, DB = Claim("tape", exclusive=True), Claim("db", exclusive=True)


@dataclass
class Hall:
    """A queue and its claims, run by hand: `ask` for a run, let it `end`, and see who starts."""

    admission: Admission
    mono: int = 10**15
    arrivals: int = 0
    bounds: dict[RunId, int | None] = field(default_factory=dict)

    def ask(
        self, name: str, *claims: Claim, priority: int = 0, bound: int | None = None, drain: int = HOUR,
        rate: Escalation = FLAT,
    ) -> RunId:  # fmt: skip
        """A run joins the queue."""
        self.arrivals += 1
        run = RunId(name, 1)
        terms = Terms(claims, rate, bound, drain, share_of(name))
        self.admission.waiting.add(run, terms, priority, self.mono, self.mono, self.arrivals)
        return run

    def turn(self, limit: int = 64, least: int | None = None) -> list[str]:
        """Who starts now."""
        started = []
        for run in self.admission.choose(self.mono, limit, least):
            terms = self.admission.waiting.terms(run)
            ends_at = None if terms.bound is None else self.mono + terms.bound
            self.admission.hold(run, terms.claims, ends_at)
            self.admission.waiting.remove(run)
            started.append(run.job)
        return started

    def end(self, name: str) -> None:
        """A live run ends."""
        self.admission.release(RunId(name, 1))


def hall(**capacity: int) -> Hall:
    """An empty hall; `slots` is `max_running`, `most_of_a_user` as of Admission."""
    slots = {SLOT: capacity.pop("slots")} if "slots" in capacity else {}
    most = capacity.pop("most_of_a_user", None)
    return Hall(Admission(Locks({**capacity, **slots}), most))


def test_an_exclusive_run_gets_its_turn() -> None:
    """An exclusive run lets nobody lower pass, starts when the last has ended, and is alone meanwhile."""
    h = hall()
    h.ask("a", SHARE)
    h.ask("b", SHARE)
    assert ["a", "b"] == h.turn()
    h.ask("alone", ALONE)
    h.ask("c", SHARE)
    assert [] == h.turn()
    h.end("a")
    assert [] == h.turn()
    h.end("b")
    assert ["alone"] == h.turn()
    assert [] == h.turn()
    h.end("alone")
    assert ["c"] == h.turn()


def test_what_is_not_needed_is_not_reserved() -> None:
    """A run that waits for the tape reserves its slot too; the other slots are there for all."""
    h = hall(slots=3)
    h.ask("tape", SHARE, SLOT1, TAPE)
    assert ["tape"] == h.turn()
    h.ask("second", SHARE, SLOT1, TAPE, bound=HOUR)
    for name in "xyz":
        h.ask(name, SHARE, SLOT1)
    assert ["x"] == h.turn()
    h.end("x")
    assert ["y"] == h.turn()


def test_a_run_knows_for_whom_what_it_wants_is_kept() -> None:
    """Of several for whom something is kept only who keeps it from starting."""
    h = hall()
    for name, claim in (("tape", TAPE), ("db", DB)):
        h.ask(name, Claim(claim.resource))
        h.ask(f"alone-{name}", claim)
    h.ask("late", Claim("db"))
    assert ["tape", "db"] == h.turn()
    assert [RunId("alone-db", 1)] == list(h.admission.refusals[RunId("late", 1)])


def test_who_competes() -> None:
    """Two can't have their claims beside each other if one wants something alone, or there are too few units."""
    h = hall(gpu=3)
    two, one, share, alone = Claim("gpu", 2), Claim("gpu", 1), Claim("gpu"), Claim("gpu", exclusive=True)
    cases = [(two, one, False), (two, two, True), (share, two, False), (share, alone, True), (alone, share, True)]
    assert [competes for *_, competes in cases] == [
        h.admission.compete((SHARE, mine, DB), (SHARE, TAPE, its)) for mine, its, _ in cases
    ]
    h.ask("holds", two)
    h.turn()
    assert h.admission.compete((one,), (one,)), "what lives counts, too"
    assert not h.admission.compete((two,), (share,)), "what lives is not in the way of who shares it"


def test_when_pressure_lets_somebody_through() -> None:
    """Whoever of those that are too low is the first to have grown enough, wherever it stands by now."""
    h = hall()
    h.ask("flat", SHARE)
    h.ask("grows", SHARE, priority=-1, rate=Escalation(2, MINUTE))
    h.ask("slowly", SHARE, priority=-1, rate=Escalation(1, HOUR))
    assert ([], h.mono + 3 * MINUTE) == (h.turn(least=5), h.admission.look_at)
    h.mono += 3 * MINUTE
    assert ["grows"] == h.turn(least=5)


def test_what_touches_a_reservation() -> None:
    """Whoever wants the same alone, or units of it; not who shares it beside units, or wants another thing."""
    two, one, share = Claim("gpu", 2), Claim("gpu", 1), Claim("gpu")
    alone = Claim("gpu", exclusive=True)
    cases = [
        (two, one, True), (two, share, False), (share, two, False), (share, share, False), (share, alone, True),
        (alone, share, True),
    ]  # fmt: skip
    for kept, wanted, touches in cases:
        reservation = Reservation(RunId("a", 1), Group(Terms((kept,), FLAT, None, 1)), 0, (kept,), None)
        assert touches is reservation.touches((DB, wanted))
        assert not reservation.touches((DB, TAPE))


def test_pressure_ends_no_turn_of_a_drain() -> None:
    """Who is not looked at while only what is important starts has held others back for as long all the same."""
    h = hall()
    h.ask("endless", SHARE)
    h.turn()
    h.ask("alone", ALONE)
    h.ask("low", SHARE, priority=-9)
    assert [] == h.turn()
    h.mono += HOUR // 2
    assert [] == h.turn(least=10)
    h.mono += HOUR // 2
    assert ["low"] == h.turn()


def test_backfill_honours_all_that_is_reserved() -> None:
    """What has ended before one reservation is due, and not before another, may not pass."""
    for bound, started in ((10 * MINUTE, []), (MINUTE, ["passes"])):
        h = hall(x=2, y=2)
        h.ask("a", Claim("x", 1), bound=MINUTE)
        h.ask("b", Claim("y", 1), bound=HOUR)
        assert ["a", "b"] == h.turn()
        h.ask("both-x", Claim("x", 2))
        h.ask("both-y", Claim("y", 2))
        h.ask("passes", Claim("x", 1), Claim("y", 1), bound=bound)
        assert started == h.turn()


def test_a_run_that_waits_for_a_reservation_reserves_nothing() -> None:
    """An exclusive run behind one that waits for the tape can't start before it; so the host is not kept idle for
    it."""
    h = hall()
    h.ask("tape", SHARE, TAPE)
    h.turn()
    h.ask("second", SHARE, TAPE, priority=9)
    h.ask("alone", ALONE, priority=5)
    h.ask("plain", SHARE)
    assert ["plain"] == h.turn()
    assert ["second"] == [it.holder.job for it in h.admission.reservations]


def test_independent_waiters_both_reserve() -> None:
    """Who waits for the database is not overtaken there because somebody else, before him, waits for the tape."""
    h = hall()
    shared = Claim("db")
    h.ask("tape", SHARE, TAPE)
    h.ask("reader", SHARE, shared)
    assert ["tape", "reader"] == h.turn()
    h.ask("second", SHARE, TAPE, priority=9)
    h.ask("writer", SHARE, DB, priority=5)
    h.ask("late-reader", SHARE, shared)
    assert [] == h.turn()
    h.end("reader")
    assert ["writer"] == h.turn()


def test_a_further_waiter_keeps_no_slot() -> None:
    """Behind the first that waits, who waits for another lock keeps that, and leaves slots to those after him."""
    h = hall(slots=4)
    for name, *locks in (("tape", TAPE), ("db", DB), ("f",), ("g",)):
        h.ask(name, SHARE, SLOT1, *locks)
    assert ["tape", "db", "f", "g"] == h.turn()
    h.ask("second", SHARE, SLOT1, TAPE, priority=9)
    h.ask("writer", SHARE, SLOT1, DB, priority=5)
    h.ask("third", SHARE, SLOT1, priority=3)
    assert [] == h.turn(), "now all three have lacked a slot"
    assert ["second"] == [kept.holder.job for kept in h.admission.reservations]
    h.end("f")
    h.end("g")
    h.ask("x", SHARE, SLOT1)
    h.ask("reader", SHARE, SLOT1, Claim("db"))
    assert ["third"] == h.turn()
    assert [("second", TAPE), ("writer", DB)] == [
        (kept.holder.job, kept.claims[-1]) for kept in h.admission.reservations
    ]


def test_a_further_waiter_keeps_only_what_it_lacked() -> None:
    """What it could have had at any time is left to others meanwhile."""
    h = hall(gpu=2)
    h.ask("tape", SHARE, TAPE)
    h.ask("db", SHARE, DB)
    h.turn()
    h.ask("second", SHARE, TAPE, priority=9)
    h.ask("writer", SHARE, DB, Claim("gpu", 1), priority=5)
    h.ask("low", SHARE, Claim("gpu", 2))
    assert ["low"] == h.turn()


def test_a_further_waiter_gets_all_that_it_lacked() -> None:
    """Two locks that lower runs hold in turn, one or the other always: it keeps both once it has lacked both."""
    h = hall()
    other = Claim("other", exclusive=True)
    h.ask("tape", SHARE, TAPE, bound=HOUR)
    h.ask("low0", SHARE, DB, bound=2 * MINUTE)
    h.turn()
    h.ask("second", SHARE, TAPE, priority=9)
    h.ask("both", SHARE, DB, other, priority=5)
    started: list[str] = []
    for number in range(1, 6):
        h.ask(f"low{number}", SHARE, (DB, other)[number % 2], bound=2 * MINUTE)
        started += h.turn()
        h.mono += MINUTE
        if f"low{number - 1}" in ["low0", *started]:
            h.end(f"low{number - 1}")
    assert ["low1", "both"] == [name for name in started if name == "both" or name < "low2"][:2]


def test_turns_are_the_hosts() -> None:
    """Two that wait beside an endless run, with drains of their own, do not hold others back in turns for ever."""
    h = hall()
    h.ask("endless", SHARE)
    h.turn()
    h.ask("one", ALONE, priority=5, drain=HOUR)
    h.ask("two", ALONE, priority=4, drain=10 * MINUTE)
    h.ask("low", SHARE)
    assert ([], h.mono + HOUR) == (h.turn(), h.admission.look_at)
    h.mono += 10 * MINUTE
    assert [] == h.turn()
    h.mono += 50 * MINUTE
    assert ["low"] == h.turn()
    h.end("low")
    h.ask("lower", SHARE)
    assert ["lower"] == h.turn()
    h.end("lower")
    h.mono += HOUR
    h.ask("lowest", SHARE)
    assert [] == h.turn()


def test_a_chain_of_waiters_holds_nobody_back_for_ever() -> None:
    """They come and go, one always there before the last one has gone: the time counts on, and then others go first."""
    h = hall()
    h.ask("endless", SHARE)
    h.turn()
    passes = ""
    for number in range(24):
        h.ask(f"alone{number}", ALONE, drain=HOUR)
        h.admission.waiting.remove(RunId(f"alone{number - 1}", 1))
        h.ask(f"low{number}", SHARE, priority=-5)
        passes += "o" if f"low{number}" in h.turn() else "."
        h.mono += 10 * MINUTE
    assert "......oooooo......oooooo" == passes


def test_drains_go_on_over_a_restart() -> None:
    """Whose turn it is, and until when, follows from when others were first held back; that is not told again."""
    run, other, start = RunId("alone", 1), RunId("other", 1), 10**15
    for minutes, held in ((30, True), (90, False), (150, True)):
        drains = Drains()
        drains.found(run, HOUR, start)
        drains.begin(start + minutes * MINUTE, [run, other])
        assert (held, minutes) == (drains.hold_back(run, HOUR, start + minutes * MINUTE), minutes)
        assert ([], False) == (drains.new, drains.reports_lapse(run))
        drains.end(complete=False)
        assert start + (minutes + 30) * MINUTE == drains.look_at
        drains.begin(start + (minutes + 30) * MINUTE, [run, other])
        assert (not held, minutes) == (drains.hold_back(run, HOUR, start + (minutes + 30) * MINUTE), minutes)
        assert (minutes == 30) == drains.reports_lapse(run)


def test_whose_turn_it_is_is_told_once() -> None:
    """To whom others were held back for, by the longest drain of those; not to who has come since."""
    one, two, new = RunId("one", 1), RunId("two", 1), RunId("new", 1)
    drains = Drains()
    told = []
    for mono in (0, 10, 20, 21, 40):
        drains.begin(mono, [one, two, new])
        runs = [(one, 20), (two, 10), *[(new, 30)] * (mono >= 20)]
        held = {drains.hold_back(run, drain, mono) for run, drain in runs}
        told.append((held, [run for run, _ in runs if drains.reports_lapse(run)], drains.new))
        drains.end(complete=True)
        assert (20 if mono < 20 else 40 if mono < 40 else 70) == drains.look_at
    assert [({True}, [], [one, two]), ({True}, [], []), ({False}, [one, two], []), ({False}, [], [])] == told[:-1]
    assert ({True}, [], [new]) == told[-1]


def test_who_was_not_looked_at_still_drains() -> None:
    """A turn that ends before it comes to a waiter changes nothing for it."""
    run, drains = RunId("alone", 1), Drains()
    for complete in (True, False, True):
        drains.begin(0, [run])
        if complete:
            assert drains.hold_back(run, HOUR, 0)
        drains.end(complete=complete)
        assert ([run], HOUR) == (list(drains.runs), drains.look_at)


def test_who_is_not_there_any_more_holds_nobody_back() -> None:
    """Once a pass has come to all who wait; for who comes next, or comes again, the turns begin anew."""
    h = hall()
    alone = RunId("alone", 1)
    h.ask("endless", SHARE)
    h.ask("known", SHARE, TAPE, bound=10 * HOUR)
    h.turn()
    h.ask("tape", SHARE, TAPE)
    h.ask("alone", ALONE, priority=5)
    h.ask("low", SHARE)
    assert ([], [alone]) == (h.turn(), h.admission.drains.new)
    assert ([], []) == (h.turn(), h.admission.drains.new)
    h.admission.forget(alone)
    assert {"tape", "low"} == {run.job for run in h.admission.waiting}
    assert (["low"], {}, None) == (h.turn(), h.admission.drains.runs, h.admission.look_at)
    h.mono += HOUR // 2
    h.ask("alone", ALONE, priority=5)
    h.ask("lower", SHARE)
    assert ([], h.mono + HOUR, [alone]) == (h.turn(), h.admission.look_at, h.admission.drains.new)
    h.mono += HOUR
    assert (["lower"], [alone]) == (h.turn(), [lapse.run for lapse in h.admission.lapses])
    assert [] == h.admission.drains.new
    for name in ("alone", "tape"):
        h.admission.forget(RunId(name, 1))
    assert ([], None) == (h.turn(), h.admission.look_at)
    h.ask("alone", ALONE, priority=5)
    h.ask("lowest", SHARE)
    assert ([], h.mono + HOUR) == (h.turn(), h.admission.look_at)
    h.mono += HOUR
    assert (["lowest"], [alone]) == (h.turn(), [lapse.run for lapse in h.admission.lapses])


def test_whom_a_turn_does_not_come_to_holds_others_back_all_the_same() -> None:
    """Where it has started enough, and where it has passed over who is not important enough."""
    for name, turn in (("alone", {"limit": 1}), ("alice/alone", {"least": 10})):
        h = hall()
        h.ask("endless", SHARE)
        h.turn()
        h.ask(name, ALONE)
        assert [] == h.turn()
        look_at = h.admission.look_at
        h.ask("high", SHARE, priority=20)
        h.mono += MINUTE
        assert ["high"] == h.turn(**turn)
        assert ([RunId(name, 1)], look_at) == (list(h.admission.drains.runs), h.admission.look_at)


def test_backfill() -> None:
    """A lower run may pass who waits if it has certainly ended before he can start; not one that may be late."""
    h = hall(gpu=2)
    two, one = Claim("gpu", 2), Claim("gpu", 1)
    h.ask("holder", SHARE, one, bound=10 * MINUTE)
    h.turn()
    h.ask("big", SHARE, two, priority=5)
    h.ask("long", SHARE, one, bound=10 * MINUTE + 1)
    h.ask("unknown", SHARE, one)
    h.ask("short", SHARE, one, bound=10 * MINUTE)
    assert ["short"] == h.turn()
    h.end("short")
    h.mono += MINUTE
    h.ask("next", SHARE, one, bound=9 * MINUTE + 1)
    assert [] == h.turn()
    h.ask("fits", SHARE, one, bound=9 * MINUTE)
    assert ["fits"] == h.turn()


def test_no_backfill_beside_a_holder_without_an_end() -> None:
    """Of a holder without `timeout` nobody knows when it ends, so nobody can be sure to be gone by then."""
    h = hall(gpu=3)
    h.ask("holder", SHARE, Claim("gpu", 1))
    h.ask("known", SHARE, Claim("gpu", 1), bound=HOUR)
    h.turn()
    h.ask("big", SHARE, Claim("gpu", 3), priority=5)
    h.ask("short", SHARE, Claim("gpu", 1), bound=SECOND)
    assert [] == h.turn()


def test_backfill_is_kept_by_what_it_touches() -> None:
    """Who wants nothing of what is kept for one that may wait for ever passes, if it is in time for the others."""
    h = hall(x=2)
    h.ask("endless", SHARE, TAPE)
    h.ask("holder", SHARE, Claim("x", 1), bound=HOUR)
    assert ["endless", "holder"] == h.turn()
    h.ask("waits", SHARE, TAPE, priority=9)
    h.ask("big", SHARE, Claim("x", 2), priority=8)
    h.ask("short", Claim("x", 1), bound=MINUTE)
    assert ["short"] == h.turn()


def test_what_was_promised_is_put_off_by_nobody() -> None:
    """A higher run that takes what it lacks delays who waits, and lets nobody pass for longer; its next wait is new."""
    h = hall(x=2)
    h.ask("holder", SHARE, Claim("x", 1), bound=10 * MINUTE)
    h.turn()
    start = h.mono
    h.ask("big", SHARE, Claim("x", 2), DB, priority=5)
    assert ([], [start + 10 * MINUTE]) == (h.turn(), [it.holders_end_by for it in h.admission.reservations])
    h.ask("higher", SHARE, DB, priority=9, bound=HOUR)
    assert ["higher"] == h.turn()
    assert [start + 10 * MINUTE] == [it.holders_end_by for it in h.admission.reservations]
    h.admission.forget(RunId("big", 1))
    h.ask("big", SHARE, Claim("x", 2), DB, priority=5)
    assert ([], [start + HOUR]) == (h.turn(), [it.holders_end_by for it in h.admission.reservations])


def test_who_waits_for_what_is_kept_keeps_nothing_itself() -> None:
    """Though it has lacked the same before: it goes behind whom that is kept for."""
    h = hall(gpu=3)
    h.ask("two", SHARE, Claim("gpu", 2))
    h.ask("one", SHARE, Claim("gpu", 1))
    h.turn()
    h.ask("big", SHARE, Claim("gpu", 2), priority=9)
    h.ask("small", SHARE, Claim("gpu", 1))
    assert [] == h.turn()
    h.end("one")
    assert [] == h.turn()
    assert ["big"] == [it.holder.job for it in h.admission.reservations]


def test_the_last_holder_decides_on_backfill() -> None:
    """Who waits for two holders can't start before both have ended, so there is time until the later end."""
    h = hall(gpu=3)
    h.ask("five", SHARE, Claim("gpu", 1), bound=5 * MINUTE)
    h.ask("ten", SHARE, Claim("gpu", 1), bound=10 * MINUTE)
    h.turn()
    h.ask("big", SHARE, Claim("gpu", 3), priority=5)
    h.ask("seven", SHARE, Claim("gpu", 1), bound=7 * MINUTE)
    assert ["seven"] == h.turn()


def test_a_reservation_lapses_by_turns() -> None:
    """A holder without an end can't stop the host: after `drain` others go first for as long; then it is kept again."""
    h = hall()
    h.ask("endless", SHARE)
    h.turn()
    h.ask("alone", ALONE, priority=5, drain=HOUR)
    h.ask("one", SHARE)
    assert [] == h.turn()
    assert h.mono + HOUR == h.admission.look_at
    h.mono += HOUR - 1
    assert [] == h.turn()
    assert [] == h.admission.lapses
    h.mono += 1
    assert ["one"] == h.turn()
    assert [(RunId("alone", 1), [RunId("endless", 1)])] == h.admission.lapses
    assert h.mono + HOUR == h.admission.look_at
    h.mono += HOUR
    h.ask("two", SHARE)
    assert [] == h.turn()
    assert [] == h.admission.lapses


@pytest.mark.parametrize(
    ("holder", "waits", "lapses"),
    [("alice/long", "bob/big", True), ("alice/long", "alice/big", True), ("alice/long", "big", True),
     ("long", "alice/big", True), ("long", "big", False)],
)  # fmt: skip
def test_a_users_long_timeout_lapses_as_well(holder: str, waits: str, lapses: bool) -> None:
    """A reservation that has a user's run on either side holds others back no longer than `drain`, unless H is near."""
    h = hall(gpu=4)
    h.ask(holder, SHARE, Claim("gpu", 1), bound=365 * 24 * HOUR)
    for name in ("carol/a", "carol/b"):
        h.ask(name, SHARE)
    h.turn()
    h.ask(waits, SHARE, Claim("gpu", 4), drain=HOUR)
    h.ask("carol/one", SHARE, Claim("gpu", 1))
    h.ask("carol/short", SHARE, Claim("gpu", 1), bound=MINUTE)
    assert ["carol/short"] == h.turn(), "it ends before H"
    h.end("carol/short")
    assert [] == h.turn()
    h.mono += HOUR
    assert ["carol/one"] * lapses == h.turn()
    assert lapses == bool(h.admission.lapses)


def test_a_users_reservation_is_firm_while_h_is_near() -> None:
    """From `drain` before H on, others are held back until then; and H is that of today's holders, not an older one."""
    h = hall(gpu=2)
    h.ask("alice/long", SHARE, Claim("gpu", 1), bound=3 * HOUR)
    h.turn()
    h.ask("alice/big", SHARE, Claim("gpu", 2), drain=HOUR)
    assert [] == h.turn()
    h.mono += HOUR
    h.ask("bob/one", SHARE, Claim("gpu", 1), bound=9 * HOUR)
    assert ["bob/one"] == h.turn()
    h.end("alice/long")
    h.mono += 8 * HOUR
    h.ask("bob/two", SHARE, Claim("gpu", 1), bound=2 * HOUR)
    h.ask("bob/fits", SHARE, Claim("gpu", 1), bound=HOUR)
    assert ["bob/fits"] == h.turn()
    assert [h.mono + HOUR] == [kept.holders_end_by for kept in h.admission.reservations]
    h.end("bob/fits")
    h.mono += HOUR - 1
    assert ([], []) == (h.turn(), h.admission.lapses)


def test_a_faster_run_overtakes_who_has_reserved() -> None:
    """Who ages faster goes before who has reserved from the nanosecond on at which his priority is higher."""
    h = hall(gpu=2)
    h.ask("holder", SHARE, Claim("gpu", 1))
    h.turn()
    h.ask("big", SHARE, Claim("gpu", 2), priority=10, rate=Escalation(1, MINUTE))
    h.ask("small", SHARE, Claim("gpu", 1), rate=Escalation(3, MINUTE))
    start = h.mono
    assert [] == h.turn()
    assert start + 5 * MINUTE + 1 == h.admission.look_at
    h.mono = start + 5 * MINUTE
    assert [] == h.turn()
    h.mono += 1
    assert ["small"] == h.turn()


def test_a_user_never_overtakes_the_host() -> None:
    """However fast a user's run ages: nobody looks for when."""
    h = hall(gpu=2)
    h.ask("holder", SHARE, Claim("gpu", 1), bound=HOUR)
    h.turn()
    h.ask("big", SHARE, Claim("gpu", 2), rate=Escalation(1, 1))
    h.ask("alice/small", SHARE, Claim("gpu", 1), rate=Escalation(2, 1))
    assert ([], None) == (h.turn(), h.admission.look_at)
    h.ask("small", SHARE, Claim("gpu", 1), priority=-1, rate=Escalation(2, 1))
    assert ([], h.mono + 2) == (h.turn(), h.admission.look_at)


def test_a_turn_is_bounded() -> None:
    """A turn starts at most so many as it was told, in the order of the queue."""
    h = hall()
    for number in range(10):
        h.ask(f"r{number}", SHARE, priority=number)
    assert ["r9", "r8", "r7"] == h.turn(3)
    assert ["r6", "r5", "r4"] == h.turn(3)


CLAIMS = st.lists(
    st.one_of(
        st.builds(Claim, st.sampled_from(["tape", "db", HOST]), st.just(0), st.booleans()),
        st.builds(Claim, st.sampled_from(["gpu", SLOT]), st.integers(1, 2), st.just(False)),
    ),
    min_size=1, max_size=3, unique_by=lambda claim: claim.resource,
).map(lambda claims: tuple(claims) if any(c.resource == HOST for c in claims) else (SHARE, *claims))  # fmt: skip
BOUNDS = st.integers(1, 20).map(lambda minutes: minutes * MINUTE)


STREAM = st.lists(st.tuples(CLAIMS, BOUNDS, st.floats(0.01, 1)), min_size=1, max_size=10)


class Flood:
    """Holders, and then an endless stream of lower runs, each of which takes a part of its own bound."""

    def __init__(self, h: Hall, holders: list[tuple[Claims, int]], stream: list[tuple[Claims, int, float]]) -> None:
        self.hall, self.stream, self.ends = h, stream, dict[str, int]()
        self.takes = {f"holder{number}": bound for number, (_, bound) in enumerate(holders)}
        for number, (claims, bound) in enumerate(holders):
            h.ask(f"holder{number}", *claims, bound=bound)
            self.ends |= {name: h.mono + self.takes[name] for name in h.turn()}
            h.admission.waiting.remove(RunId(f"holder{number}", 1))

    def until(self, name: str, latest: int) -> None:
        """A run starts before `latest` (monotonic, ns)."""
        h, number = self.hall, 0
        while name not in (started := h.turn()):
            self.ends |= {run: h.mono + self.takes[run] for run in started}
            assert h.mono < latest, f"it was to start by then, and {sorted(self.ends)} are live"
            h.mono = min([h.mono + MINUTE // 2, *self.ends.values()])
            for run in [run for run, end in self.ends.items() if end <= h.mono]:
                h.end(run)
                del self.ends[run]
            for _ in range(2):
                claims, bound, part = self.stream[number % len(self.stream)]
                self.takes[f"lower{number}"] = round(bound * part)
                h.ask(f"lower{number}", *claims, bound=bound)
                number += 1


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.tuples(CLAIMS, BOUNDS), max_size=5), CLAIMS, STREAM)
def test_nobody_starves(
    holders: list[tuple[Claims, int]], asked: Claims, stream: list[tuple[Claims, int, float]]
) -> None:
    """Under an endless stream of lower runs of any kind the first that has to wait starts by H: when the holders end.

    H is worked out from those that are live when it comes.
    """
    flood = Flood(hall(gpu=2, slots=2), holders, stream)
    flood.hall.ask("first", *asked, priority=10, bound=MINUTE)
    flood.until("first", max(flood.ends.values(), default=flood.hall.mono))


@settings(max_examples=200, deadline=None, derandomize=True, phases=[Phase.generate])
@given(st.lists(st.tuples(CLAIMS, BOUNDS), max_size=5), CLAIMS, STREAM)
def test_nobody_starves_behind_one_that_waits_for_ever(
    holders: list[tuple[Claims, int]], asked: Claims, stream: list[tuple[Claims, int, float]]
) -> None:
    """While a first waits for an endless run, a further one that has nothing to do with it starts in time.

    That is once the holders of each claim have ended that he may come to lack: 20 minutes for each.
    """
    endless = Claim("endless", exclusive=True)
    second = tuple(claim for claim in asked if claim.resource not in (SLOT, HOST))
    h = hall(gpu=2)
    h.ask("endless", SHARE, endless)
    assert ["endless"] == h.turn()
    flood = Flood(
        h,
        [(_without_a_slot(claims), bound) for claims, bound in holders],
        [(_without_a_slot(claims), bound, part) for claims, bound, part in stream],
    )
    h.ask("first", SHARE, endless, priority=10, bound=MINUTE)
    h.ask("second", SHARE, *second, priority=5, bound=MINUTE)
    flood.until("second", h.mono + (len(second) + 2) * 20 * MINUTE)


def _without_a_slot(claims: Claims) -> Claims:
    """As runs claim where there is no `max_running`."""
    return tuple(claim for claim in claims if claim.resource != SLOT)


ENDS = [None, MINUTE, 5 * MINUTE]


class Twins:
    """Two halls with the same life, drawn from a seed; in the other one nobody is ever parked."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.halls = [hall(a=2, b=2, slots=4) for _ in range(2)]
        self.halls[1].admission.waiting.park = lambda *_, **__: None  # type: ignore[method-assign]
        self.names = "abcdefgh"[: self.rng.randint(2, 8)]
        self.alone, self.found, self.again = (self.rng.choice(odds) for odds in ((0, 6), (0, 2), (0, 0.4)))
        self.waiting, self.live = list[str](), list[str]()
        self.asked: list[tuple[Claims, Escalation, int | None]] = []
        self.parked = 0

    def act(self, number: int) -> None:
        """Ask, end, cancel, let time pass, or see who starts: the same in both."""
        kinds, weights = ["ask", "find", "end", "cancel", "wait", "turn"], [16, self.found, 6, 2, 4, 12]
        rng, act = self.rng, self.rng.choices(kinds, weights)[0]
        if act == "ask":
            name, priority = f"{rng.choice(['', '', '', 'alice/'])}{number}", rng.randint(0, 3)
            rate, bound = rng.choice([FLAT, Escalation(1), Escalation(1, 7 * SECOND)]), rng.choice(ENDS)
            self.asked.append((self._claims(), rate, bound))
            claims, rate, bound = rng.choice(self.asked) if rng.random() < self.again else self.asked[-1]
            for h in self.halls:
                h.ask(name, *claims, rate=rate, priority=priority, bound=bound, drain=MINUTE)
            self.waiting.append(name)
        elif act == "find":
            name, claims, end = str(number), self._claims(), rng.choice([None, MINUTE])
            for h in self.halls:
                h.admission.hold(RunId(name, 1), claims, end)
            self.live.append(name)
        elif act == "end" and self.live:
            name = self.live.pop(rng.randrange(len(self.live)))
            for h in self.halls:
                h.end(name)
        elif act == "cancel" and self.waiting:
            name = self.waiting.pop(rng.randrange(len(self.waiting)))
            for h in self.halls:
                h.admission.forget(RunId(name, 1))
        elif act == "wait":
            passed = rng.randint(1, 300) * SECOND
            for h in self.halls:
                h.mono += passed
        elif act == "turn":
            started, others = (h.turn() for h in self.halls)
            assert started == others
            self.waiting = [name for name in self.waiting if name not in started]
            self.live += started
            self.parked += len(self.halls[0].admission.waiting.parked)

    def _claims(self) -> Claims:
        """Mostly one lock or resource, some of which there are more of than one or none can have."""
        kinds = [{"exclusive": True}, {"exclusive": True}, {"units": 1}, {"units": 2}, {}]
        one, other = (Claim(self.rng.choice(self.names), **self.rng.choice(kinds)) for _ in range(2))
        both = (one,) if one.resource == other.resource else (one, other)
        claims = [(SHARE, SLOT1, one), (SHARE, SLOT1), (SHARE, SLOT1, *both), (ALONE, SLOT1)]
        return self.rng.choices(claims, [30, 4, 4, self.alone])[0]


def test_nobody_minds_who_is_parked() -> None:
    """Passes grant the same to the same, whether those that can change nothing are looked at or not."""
    looked = 0
    for seed in range(300):
        twins = Twins(seed)
        for number in range(120):
            twins.act(number)
        looked += twins.parked
        for h in twins.halls:
            for name in twins.waiting:
                h.admission.forget(RunId(name, 1))
            assert [] == h.turn()
            assert not h.admission.waiting.wanted, "nobody waits, so nobody wants anything"
    assert looked > 500


def parked(h: Hall) -> list[str]:
    """The jobs of the first runs of those that are left out of passes."""
    return sorted(group.heap[0][3].job for group in h.admission.waiting.parked)


def waiting_for_tape_and_gpu(end: int | None = MINUTE) -> Hall:
    """Who has the tape, and one of two gpus, lets two wait, of whom the second is a further one."""
    h = hall(gpu=2, slots=4)
    h.ask("taped", SHARE, SLOT1, TAPE, bound=MINUTE)
    h.ask("one", SHARE, SLOT1, Claim("gpu", 1), bound=end)
    assert ["taped", "one"] == h.turn()
    h.ask("first", SHARE, SLOT1, TAPE, priority=9)
    h.ask("second", SHARE, SLOT1, Claim("gpu", 2), priority=5, drain=MINUTE)
    assert [] == h.turn()
    assert ["first", "second"] == parked(h)
    assert ["first"] == [kept.holder.job for kept in h.admission.reservations], "nobody else wants a gpu"
    return h


def test_what_happens_during_a_pass() -> None:
    """Who was refused is not parked if it has gone, or what it waits for is free, before the pass is over."""
    for act in ("forget", "end"):
        h = hall()
        h.ask("taped", SHARE, TAPE, bound=MINUTE)
        assert ["taped"] == h.turn()
        waits = h.ask("waits", SHARE, TAPE, priority=9, bound=MINUTE)
        h.ask("other", SHARE, bound=1)
        for run in h.admission.choose(h.mono, 64):
            h.admission.waiting.remove(run)
            h.admission.forget(waits) if act == "forget" else h.end("taped")
        assert [] == parked(h)
        assert (["waits"] if act == "end" else []) == h.turn()


def test_a_rival_wakes_who_is_parked() -> None:
    """A lower run that could have what is left of a resource does not pass one that waits for all of it."""
    h = waiting_for_tape_and_gpu()
    h.ask("rival", SHARE, SLOT1, Claim("gpu", 1))
    assert [] == h.turn()
    h.end("one")
    assert ["second"] == h.turn()


def test_a_holder_that_is_found_wakes_who_is_parked() -> None:
    """Nobody knows when that one ends, so others are held back for whoever waits for it, if anybody else wants it."""
    h = waiting_for_tape_and_gpu()
    h.ask("third", SHARE, SLOT1, Claim("gpu", 2), priority=5, bound=MINUTE)
    assert [] == h.turn()
    assert ["first", "second", "third"] == parked(h)
    h.admission.hold(RunId("found", 1), (Claim("gpu", 1),), None)
    assert [] == h.turn()
    assert {RunId("second", 1)} == h.admission.drains.runs.keys()


def test_who_has_lacked_something_else_is_not_parked() -> None:
    """What it has lacked is kept for it."""
    h = hall()
    h.ask("alone", ALONE, bound=MINUTE)
    assert ["alone"] == h.turn()
    h.ask("waits", SHARE, TAPE)
    assert [] == h.turn()
    h.end("alone")
    h.admission.hold(RunId("taped", 1), (TAPE,), h.mono + MINUTE)
    assert [] == h.turn()
    assert [] == parked(h)


def test_who_waits_for_a_known_end_goes_first_while_others_lapse() -> None:
    """Parked for a holder whose end is known, it still reserves when one before it, whose holder has none, does not."""
    h = waiting_for_tape_and_gpu(end=None)
    h.ask("third", SHARE, SLOT1, DB, bound=5 * MINUTE)
    assert ["third"] == h.turn()
    h.end("taped")
    h.admission.forget(RunId("first", 1))
    h.ask("writer", SHARE, SLOT1, DB, priority=1)
    assert [] == h.turn()
    assert ["second", "writer"] == parked(h)
    h.mono += MINUTE
    h.ask("fills", SHARE, SLOT1)
    assert ["fills"] == h.turn()
    h.ask("x", SHARE, SLOT1, bound=10 * MINUTE)
    assert [] == h.turn(), "the last slot is for the writer"


def test_users_go_behind_the_host() -> None:
    """Whatever priority a user's run has by now, any run of the host goes before it."""
    h = hall(slots=1)
    h.ask("alice/a", SHARE, SLOT1, priority=900)
    h.mono += 1000 * HOUR
    h.ask("plain", SHARE, SLOT1, priority=-900)
    assert ["plain"] == h.turn()
    h.end("plain")
    assert ["alice/a"] == h.turn()


def test_a_flood_costs_other_users_nothing() -> None:
    """Beside a thousand runs of one user, older and higher, the only one of another gets every other slot."""
    h = hall(slots=4)
    for number in range(1000):
        h.ask(f"alice/{number}", SHARE, SLOT1, priority=5)
    h.mono += HOUR
    for number in range(4):
        h.ask(f"bob/{number}", SHARE, SLOT1)
    first = h.turn()
    assert ["alice/0", "alice/1", "bob/0", "bob/1"] == sorted(first)
    h.end("alice/0")
    assert ["alice/2"] == h.turn(), "each has one and one"
    h.end("bob/0")
    h.end("bob/1")
    assert ["bob/2", "bob/3"] == h.turn()


def test_on_other_terms_it_is_a_share_all_the_same() -> None:
    """What one user's runs ask for makes no difference to the next: the order is looked at anew after each grant."""
    h = hall(slots=4, gpu=4)
    for number in range(4):
        h.ask(f"alice/{number}", SHARE, SLOT1, *[Claim("gpu", 1)] * (number % 2), priority=number)
    h.ask("bob/0", SHARE, SLOT1, priority=-9)
    assert ["alice/3", "bob/0", "alice/2", "alice/1"] == h.turn()


def test_the_most_of_a_user() -> None:
    """More are not live, whatever is free; who waits for that alone keeps nobody else waiting."""
    h = hall(gpu=2, most_of_a_user=2)
    for number in range(4):
        h.ask(f"alice/{number}", SHARE, *[Claim("gpu", 1)] * (number > 1), priority=-number)
    assert ["alice/0", "alice/1"] == h.turn()
    h.ask("bob/0", SHARE, Claim("gpu", 2), priority=-9)
    assert ["bob/0"] == h.turn()
    assert [] == h.admission.reservations
    waits = RunId("alice/2", 1)
    assert {USER: None} == h.admission.refusals[waits]
    h.admission.forget(waits)
    assert waits not in h.admission.refusals
    h.ask("alice/2", SHARE, Claim("gpu", 1), priority=-2)
    h.end("bob/0")
    assert [] == h.turn()
    h.end("alice/0")
    assert ["alice/2"] == h.turn()


def test_pressure_holds_back_users_too() -> None:
    """Under pressure a user's run of enough priority starts, but not before a run of the host that has too little."""
    h = hall()
    h.ask("bob/old", SHARE)
    assert ["bob/old"] == h.turn()
    h.ask("alice/low", SHARE, priority=9, rate=Escalation(1, MINUTE))
    h.ask("bob/high", SHARE, priority=20, rate=Escalation(1, HOUR))
    h.ask("plain", SHARE)
    assert [] == h.turn(least=10)
    h.admission.forget(RunId("plain", 1))
    assert ["bob/high"] == h.turn(least=10)
    assert h.mono + MINUTE == h.admission.look_at


def test_no_run_of_a_user() -> None:
    """Where none may be live the host's runs start all the same, and each user's first is told why it does not."""
    h = hall(most_of_a_user=0)
    for name in ("alice/a", "bob/b", "plain"):
        h.ask(name, SHARE)
    assert ["plain"] == h.turn()
    assert {RunId(name, 1): {USER: None} for name in ("alice/a", "bob/b")} == h.admission.refusals


def test_when_who_is_live_has_ended() -> None:
    """It is known of who is live, and of nobody else."""
    h = hall()
    h.ask("a", SHARE, bound=HOUR)
    h.turn()
    assert h.mono + HOUR == h.admission.ends_at(RunId("a", 1))
    h.end("a")
    with pytest.raises(KeyError):
        h.admission.ends_at(RunId("a", 1))
