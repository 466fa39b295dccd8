"""Commands of people that take part in the locks, in the faked world: what they, and who asks about them, are told."""

from __future__ import annotations

import pytest

from jobqueued.base.instants import HOUR, MINUTE
from jobqueued.model import events
from jobqueued.model.commands import ForgetLockClient, MarkLockHolder, Reply, Say
from jobqueued.model.job import Claim
from jobqueued.model.run import LockClientId, RunId
from jobqueued.model.run_states import Unstarted
from jobqueued.model.saved import Hold
from tests.support.world import World, job

TAPE, DB = Claim("tape", exclusive=True), Claim("db", exclusive=True)


def ask(world: World, number: int, *claims: Claim, at_once: bool = False) -> str | None:
    """A command wants to hold these; why it was refused."""
    world.happen(events.LockAsked(number, LockClientId(number), claims, "alice", at_once))
    return refused(world, number)


def refused(world: World, ticket: int) -> str | None:
    """Why who asked with this ticket was refused; None: it was not."""
    answer = world.replies.get(ticket)
    return None if answer is None or answer.error is None else str(answer.value["reason"])


def claims(world: World) -> list[tuple[str, str, bool, str | None, str | None]]:
    """Who holds locks or waits for some, as `jobqueuectl locks` tells it."""
    told = world.scheduler.lock_claims()
    return [(str(it.holder), it.claim.resource, it.held, it.asked_by, it.reason) for it in told]


def test_an_eviction() -> None:
    """It takes a lock from who holds it, or a place from who waits, who is told; the next has the lock at once."""
    world = World()
    for number in (1, 2, 3):
        ask(world, number, TAPE)
    holder = {"holder": ":with-lock@1", "environment": {}}
    assert (holder, None, None) == (world.replies[1].value, world.replies.get(2), world.replies.get(3))
    world.happen(events.EvictAsked(9, LockClientId(2), "root"))
    assert ("evicted by root", {"locks": ["tape"], "held": False}) == (refused(world, 2), world.replies[9].value)
    world.happen(events.EvictAsked(9, LockClientId(1), "root"))
    assert {"locks": ["tape"], "held": True} == world.replies[9].value
    assert [(":with-lock@3", "tape", True, "alice", None)] == claims(world)
    said = [each.fields for each in world.said if each.event == "lock_evicted"]
    assert [{"guest": f":with-lock@{number}", "locks": ["tape"], "asked_by": "root"} for number in (2, 1)] == said
    assert [] == world.scheduler.live
    assert [LockClientId(3)] == list(world.lock_clients), "the mark of who was evicted is still there"
    world.happen(events.EvictAsked(9, LockClientId(1), "root"))
    assert ":with-lock@1 neither holds a lock nor waits for one" == refused(world, 9)


HELD = "lock tape is held by alice's command (with-lock)"


@pytest.mark.parametrize(
    ("calm", "pressed", "why"),
    [(1, True, "the host is under pressure (io, cpu)"), (1, False, HELD), (0, True, HELD), (0, False, HELD)],
)
def test_why_it_would_have_to_wait(calm: int, pressed: bool, why: str) -> None:
    """Pressure is told where it holds back a command, else who has the lock; nothing is left of who asked."""
    world = World(calm=calm)
    ask(world, 1, TAPE)
    for name in ("io", "cpu") if pressed else ():
        world.happen(events.UnderPressure(name, world.now.mono + MINUTE))
    assert why == ask(world, 2, TAPE, at_once=True)
    assert [Reply(2, {"reason": why}, "Refused"), ForgetLockClient(LockClientId(2))] == world.did
    assert [":with-lock@1"] == [who for who, *_ in claims(world)]


@pytest.mark.parametrize(("calm", "why"), [(1, "the host is under pressure (io, cpu)"), (0, None)])
def test_under_pressure(calm: int, why: str | None) -> None:
    """A command has priority 0: it is refused while only higher ones start, with the reason, and else gets its lock."""
    world = World(calm=calm)
    for name in ("io", "cpu"):
        world.happen(events.UnderPressure(name, world.now.mono + MINUTE))
    assert why == ask(world, 1, TAPE, at_once=True)


def test_who_will_not_wait_is_told_who_has_its_lock() -> None:
    """By name, all of them; or that others go first."""
    world = World()
    ask(world, 1, Claim("tape"))
    ask(world, 2, Claim("tape"))
    held = "lock tape is held by alice's command (with-lock), alice's command (with-lock)"
    assert held == ask(world, 3, TAPE, at_once=True)
    ask(world, 4, TAPE)
    first = "its claims are reserved for alice's command (with-lock), which goes first"
    assert first == ask(world, 5, Claim("tape"), at_once=True)
    assert [1, 2] == [int(str(client).rpartition("@")[2]) for client in world.lock_clients]
    assert [True, True, False] == [held for _, _, held, _, _ in claims(world)]


def test_a_lock_that_there_can_never_be() -> None:
    """More units than there are is refused at once, and nothing is left of who asked."""
    world = World(resources={"gpu": 2})
    assert "gpu has 2 units" == ask(world, 1, Claim("gpu", 3))
    assert "tape has 1 unit" == ask(world, 2, Claim("tape", 2))
    assert [Reply(2, {"reason": "tape has 1 unit"}, "Refused"), ForgetLockClient(LockClientId(2))] == world.did
    assert ([], {}, 0) == (claims(world), world.marked, world.scheduler.queue_length)


def test_who_leaves_while_it_waits_frees_what_was_kept_for_it() -> None:
    """A run behind it starts in that very turn."""
    world = World(job("a", locks=(Claim("tape"),)))
    ask(world, 1, Claim("tape"))
    ask(world, 2, TAPE)
    world.run("a", 3)
    assert {"a@1": "waiting"} == world.states()
    world.unlock(LockClientId(2))
    assert {"a@1": "starting"} == world.states()
    world.unlock(LockClientId(2))  # told twice
    world.unlock(LockClientId(1))
    said = [(each.fields["guest"], each.fields["locks"]) for each in world.said if each.event == "lock_released"]
    assert [(":with-lock@1", ["tape"])] == said


def test_a_run_that_waits_for_a_lock_file() -> None:
    """It is listed with who has the file: a program that is named, or another one."""
    path = Claim("/run/x.lock", exclusive=True)
    world = World(job("a", locks=(DB, path)), job("b", locks=(path,)))
    world.run("a")
    run = RunId("a", 1)
    del world.processes[run, 1]
    busy = "path busy: /run/x.lock, held by flock (PID 7)"
    world.happen(events.NeverStarted(run, 1, busy, Unstarted.PATH_BUSY))
    assert [("a@1", "/run/x.lock", False, "root", "held by flock (PID 7)")] == claims(world)
    world.pass_time(1)
    world.processes.clear()
    world.happen(events.NeverStarted(run, 1, "path busy: /run/x.lock", Unstarted.PATH_BUSY))
    assert ["held by another program"] == [reason for *_, reason in claims(world)]
    world.pass_time(1)
    world.processes.clear()
    world.happen(events.NeverStarted(run, 1, "no memory", Unstarted.TROUBLE))
    assert [] == claims(world)


def test_since_when() -> None:
    """A lock is held since it was granted, a run waits since it came and holds since its process began."""
    world = World(job("a", locks=(TAPE,)), job("b", locks=(TAPE,)), seconds={"a": HOUR})
    begin = world.now.wall
    world.run("a")
    world.pass_time(1)
    world.start("a@1")
    world.run("b", 2)
    world.pass_time(1)
    ask(world, 3, DB)
    told = [(str(it.holder), it.since - begin) for it in world.scheduler.lock_claims() if it.since is not None]
    assert [("a@1", 10**9), (":with-lock@3", 2 * 10**9), ("b@1", 10**9)] == told


def test_who_was_found_without_an_instant() -> None:
    """Nobody knows since when it has its lock."""
    world = World()
    world.happen(events.LockFound(LockClientId(1), (TAPE,), (), "alice"))
    assert [None] == [it.since for it in world.scheduler.lock_claims()]


def test_what_is_free_while_the_host_is_on_hold() -> None:
    """Nobody has it, and the hold is the reason."""
    world = World(job("a", locks=(TAPE,)))
    world.happen(events.HoldAsked(1, "root", Hold("root")))
    world.run("a", 2)
    reason = "free; the host is on hold by root: nothing new starts"
    assert [("a@1", "tape", False, "root", reason)] == claims(world)


def test_all_that_is_done() -> None:
    """A grant is marked before it is told; each step is said, with the locks and who has asked."""
    world = World(resources={"gpu": 2})
    one, two = LockClientId(1), LockClientId(2)
    wants = (TAPE, Claim("gpu", 1))
    ask(world, 1, *wants)
    told = {"guest": ":with-lock@1", "locks": ["tape", "gpu"], "asked_by": "alice"}
    assert [
        MarkLockHolder(one, wants, (("gpu", (0,)),), "alice", world.now.wall),
        Say("lock_granted", told),
        Reply(1, {"holder": ":with-lock@1", "environment": {"JOBQUEUE_GPU": "0"}}, asked=""),
    ] == world.did
    ask(world, 2, TAPE)
    assert [(str(two), world.now.wall)] == [
        (str(it.holder), it.since) for it in world.scheduler.lock_claims() if not it.held
    ]
    world.happen(events.EvictAsked(9, two, "root"))
    evicted = {"guest": ":with-lock@2", "locks": ["tape"], "asked_by": "root"}
    assert [
        Say("lock_evicted", evicted), Reply(2, {"reason": "evicted by root"}, "Refused"), ForgetLockClient(two),
        Reply(9, {"locks": ["tape"], "held": False}, asked=""),
    ] == world.did  # fmt: skip
    world.happen(events.LockOver(one))
    assert [Say("lock_released", told)] == world.did
    world.happen(events.LockOver(one), events.LockOver(two))
    assert [] == world.did


def test_what_was_found_beyond_what_there_is() -> None:
    """A lock that two have by now is held by both."""
    world = World()
    for number in (1, 2):
        world.happen(events.LockFound(LockClientId(number), (TAPE,), (), "alice", 5))
    assert [(":with-lock@1", 5), (":with-lock@2", 5)] == [
        (str(it.holder), it.since) for it in world.scheduler.lock_claims()
    ]


def test_for_whom_a_lock_is_kept() -> None:
    """Of several for whom something is kept he is named who wants that lock."""
    world = World()
    other = Claim("other", exclusive=True)
    for number, wants in ((1, (Claim("tape"),)), (2, (Claim("other"),)), (3, (TAPE,))):
        ask(world, number, *wants)
    world.happen(events.LockAsked(4, LockClientId(4), (other,), "bob"))
    ask(world, 5, Claim("other"))
    named = "bob's command (with-lock)"
    assert f"its claims are reserved for {named}, which goes first" == ask(world, 6, Claim("other"), at_once=True)
    assert [None, None, f"reserved for {named}"] == [reason for _, _, held, _, reason in claims(world) if not held]
    world.happen(events.EvictAsked(9, LockClientId(4), "root"))
    assert next(held for who, _, held, _, _ in claims(world) if who == ":with-lock@5")


def test_a_busy_file_without_a_word() -> None:
    """A launcher that does not say which file it is names none."""
    world = World(job("a", locks=(Claim("/run/x.lock", exclusive=True),)))
    world.run("a")
    world.processes.clear()
    world.happen(events.NeverStarted(RunId("a", 1), 1, "", Unstarted.PATH_BUSY))
    assert [] == claims(world)
