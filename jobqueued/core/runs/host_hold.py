"""The host's hold: no run starts while a user holds the host, or while the state can't be saved.

A drain (`jobqueuectl drain`) is a hold until the next boot; the client waits until no run is live.
"""

from __future__ import annotations

from jobqueued.core.late import lateness
from jobqueued.core.state.scheduler_state import SchedulerState
from jobqueued.core.state.turn import Turn
from jobqueued.model.commands import SavePast
from jobqueued.model.events import HoldAsked, StateUnsaved
from jobqueued.model.saved import Hold, Past

UNTIL = "its --until"


def halt(state: SchedulerState) -> str:
    """Return why no run starts on this host, or "" if runs may start."""
    held = "" if state.hold is None else f"the host is on hold by {state.hold.asked_by}: nothing new starts"
    return state.unsaved or held


def unsaved(turn: Turn, event: StateUnsaved) -> None:
    """Start no run while the state can't be saved; resume once it is saved."""
    turn.state.unsaved = event.reason
    _go_on(turn)


def asked(turn: Turn, event: HoldAsked) -> None:
    """At a user's request, hold or release the host."""
    before = turn.state.hold
    if event.hold is None:
        if before is not None:
            release(turn, event.asked_by)
    elif (
        before is not None and event.hold.boot is not None
    ):  # an earlier hold that lasts longer comes back into force afterwards
        before = before.below if before.boot is not None else before
        hold(turn, event.hold._replace(below=before))
    else:
        hold(turn, event.hold)
    turn.reply(event.ticket, f"the {'release' if event.hold is None else 'hold'} by {event.asked_by}")


def hold(turn: Turn, hold: Hold) -> None:
    """Start no run on this host from now on."""
    turn.state.hold_host(hold)
    turn.do(SavePast(Past(turn.now.wall, "", "held", by=hold.asked_by, until=hold.until)))
    turn.say("held", asked_by=hold.asked_by, until=hold.until)


def release(turn: Turn, asked_by: str) -> None:
    """Resume starting runs on this host."""
    turn.state.hold_host(None)
    turn.do(SavePast(Past(turn.now.wall, "", "released", by=asked_by)))
    _go_on(turn)
    turn.say("released", asked_by=asked_by)


def _go_on(turn: Turn) -> None:
    """Unless the host is still halted, restart the time of waiting runs, so that they are not late."""
    if not halt(turn.state):
        lateness.go_on(turn, turn.state.runs)


def expire(turn: Turn, why: str) -> None:
    """End the hold; an earlier hold that still lasts comes back into force."""
    below = None if turn.state.hold is None else turn.state.hold.below
    if below is not None and below.lasts(turn.now.wall):
        hold(turn, below)
    else:
        release(turn, why)


def look(turn: Turn) -> None:
    """End the hold if its time is over."""
    held = turn.state.hold
    if held is not None and not held.lasts(turn.now.wall):
        expire(turn, UNTIL)


def booted(turn: Turn, boot: str) -> None:
    """End a hold that lasts only until the next boot, if `boot` is that next boot."""
    held = turn.state.hold
    if held is not None and held.boot not in (None, boot):
        expire(turn, "the boot of the host")
