"""The hold of the host: which one lasts after others have come and gone, and what is said and answered."""

from __future__ import annotations

import pytest

from jobqueued.base.instants import HOUR
from jobqueued.core.runs.host_hold import halt
from jobqueued.model import events
from jobqueued.model.commands import Reply, SaveHold, Say
from jobqueued.model.saved import Hold
from tests.support.world import MIDNIGHT, World, job

PLAIN, UNTIL, DRAIN = Hold("alice"), Hold("bob", MIDNIGHT + HOUR), Hold("carol", None, "boot1")


@pytest.mark.parametrize(
    ("asked", "lasting"),
    [
        ([PLAIN], PLAIN),
        ([PLAIN, UNTIL], UNTIL),
        ([PLAIN, None], None),
        ([UNTIL, DRAIN], DRAIN._replace(below=UNTIL)),
        ([DRAIN, UNTIL], UNTIL),
        ([PLAIN, DRAIN, DRAIN], DRAIN._replace(below=PLAIN)),
        ([DRAIN, DRAIN], DRAIN),
        ([PLAIN, DRAIN, None], None),
        ([None], None),
    ],
)
def test_one_after_the_other(asked: list[Hold | None], lasting: Hold | None) -> None:
    """The last one counts; what was there before one until a boot is there below it. Each is said and answered."""
    world = World()
    for number, hold in enumerate(asked):
        before = world.hold
        world.happen(events.HoldAsked(number, "root", hold))
        if hold is not None:
            told = [Say("held", {"asked_by": hold.asked_by, "until": hold.until})]
        else:
            told = [Say("released", {"asked_by": "root"})] * (before is not None)
        assert [*told, Reply(number, {}, asked=f"the {'hold' if hold else 'release'} by root")] == world.did
    assert (lasting, lasting) == (world.hold, world.scheduler.hold)


@pytest.mark.parametrize(
    ("asked", "boot", "lasting", "why"),
    [
        (PLAIN, "boot2", PLAIN, None),
        (DRAIN, "boot1", DRAIN, None),
        (DRAIN, "boot2", None, Say("released", {"asked_by": "the boot of the host"})),
        (DRAIN._replace(below=PLAIN), "boot2", PLAIN, Say("held", {"asked_by": "alice", "until": None})),
        (
            DRAIN._replace(below=Hold("bob", MIDNIGHT)),
            "boot2",
            None,
            Say("released", {"asked_by": "the boot of the host"}),
        ),
    ],
)
def test_a_boot(asked: Hold, boot: str, lasting: Hold | None, why: Say | None) -> None:
    """One that lasts until another boot is over with that, unless there was another below, whose time is not over."""
    world = World()
    world.happen(events.HoldAsked(1, "root", asked))
    world.happen(events.JobsLoaded(complete=True, boot=boot))
    assert (lasting, [why] if why else []) == (world.scheduler.hold, world.did)


def test_its_time() -> None:
    """It ends by itself at its instant, also after a restart; a later one is not ended by it."""
    for later in (None, Hold("eve", MIDNIGHT + 2 * HOUR)):
        world = World()
        world.happen(events.HoldAsked(1, "root", UNTIL))
        if later:
            world.happen(events.HoldAsked(2, "root", later))
        else:
            world.boot()
        world.pass_time(3599)
        assert (later or UNTIL) == world.scheduler.hold
        world.pass_time(1)
        assert later == world.scheduler.hold
        world.pass_time(3600)
        assert [Say("released", {"asked_by": "its --until"})] == world.did
        assert None is world.scheduler.hold


def test_why_nothing_starts() -> None:
    """A state that can't be saved is told before a hold; the hold is kept as it is."""
    world = World(job("a"))
    state = world.scheduler._state
    assert "" == halt(state)
    world.happen(events.HoldAsked(1, "root", PLAIN))
    assert "the host is on hold by alice: nothing new starts" == halt(state)
    world.happen(events.StateUnsaved("disk full"))
    assert ("disk full", PLAIN) == (halt(state), state.hold)
    assert SaveHold(PLAIN) in world.scheduler.everything()
    world.happen(events.StateUnsaved(""))
    assert "the host is on hold by alice: nothing new starts" == halt(state)
