"""Waits for an answer that say on stderr what they wait for, whenever that has changed."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import Any

import click

from jobqueued.child.tuples import NamedTuple
from jobqueued.control.varlink import Message
from jobqueued.ctl.client import Call, Refused, Unreachable, ask
from jobqueued.ctl.terminal import localised, reaching
from jobqueued.paths import Paths
from jobqueued.run_states import PENDING
from jobqueued.text import printable

_FIRST, _LEAST, _MOST = 1.0, 5.0, 60.0
"""Seconds before the first look at what is waited for, and between looks: these grow, as a wait of hours may be one of
many, and each look costs the daemon something."""


class Interrupted(click.ClickException):
    """A person has interrupted a wait (Ctrl-C): what becomes of what was waited for."""

    exit_code = 130

    def show(self, file: Any = None) -> None:
        """Say it on a line of its own, behind the ^C of the terminal."""
        click.echo(f"\n{reaching(self.message)}", err=True)


class Seen(NamedTuple):
    """The thing waited for, in words ("": nothing to speak of); it has changed when `gist` has."""

    words: str
    gist: object


Look = Callable[[], Seen]


def await_answer(call: Call, look: Look, seconds: float | None = None) -> bool:
    """Wait for an answer, at most so long (None: without a limit); True: it is there."""
    ends = None if seconds is None else time.monotonic() + seconds
    gist, pause = None, _FIRST
    while True:
        left = pause if ends is None else max(0.0, ends - time.monotonic())
        if call.is_answered(min(pause, left)):
            return True
        if left <= pause and ends is not None:
            return False
        seen = _looked(look)
        if seen.words and seen.gist != gist:
            click.echo(printable(localised(seen.words)), err=True)
        gist, pause = seen.gist, min(max(_LEAST, 2 * pause), _MOST)


def _looked(look: Look) -> Seen:
    try:
        return look()
    except (Refused, Unreachable):  # it is over, or the call that waits says the same
        return Seen("", None)


def for_run(paths: Paths, run: str) -> Look:
    """A look at why a run has not started."""

    def look() -> Seen:
        why = ask(paths.control, "Why", run=run)["why"]
        if why["state"] not in PENDING or not why["reasons"]:
            return Seen("", why["state"])
        return Seen(f"{run} waits: {'; '.join(why['reasons'])}", _gist(why))

    return look


def _gist(why: Message) -> object:
    """The reasons without how long each has lasted."""
    holders = [(lack["resource"], [holder["run"] for holder in lack["holders"]]) for lack in why["missing"]]
    words = [] if holders else [re.sub(r"\d+", "", reason) for reason in why["reasons"]]
    return why["state"], why["behind"], holders, words


def for_lock(paths: Paths, lock: str) -> Look:
    """A look at who has a lock that this process waits for, or why it does not get it."""

    def look() -> Seen:
        claims = ask(paths.control, "Locks", lock=lock)["claims"]
        reason = next((claim["reason"] for claim in claims if claim["pid"] == os.getpid()), None)
        holders = [claim["holder"] for claim in claims if claim["held"]]
        words = reason or f"held by {', '.join(holders)}"
        return Seen(f"waiting for lock {lock}: {words}" if reason or holders else "", words)

    return look
