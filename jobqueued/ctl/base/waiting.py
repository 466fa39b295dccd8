"""Wait for a reply, and print the cause of the wait on stderr when it changes."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import Any

import click

from jobqueued.base.text import printable
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base.client import Call, CallRefused, DaemonUnreachable, ask
from jobqueued.ctl.base.terminal import localised, reaching
from jobqueued.model.run_states import PENDING
from jobqueued.settings.paths import Paths

_FIRST, _LEAST, _MOST = 1.0, 5.0, 60.0
"""Seconds before the first check for the cause of a wait, and the shortest and longest pause between checks.

The pauses grow, because each check costs the daemon time, and many commands may wait at once.
"""


class Interrupted(click.ClickException):
    """Raised if the user interrupted a wait (Ctrl-C). The message describes the effect on the awaited run or lock."""

    exit_code = 130

    def show(self, file: Any = None) -> None:
        """Print the message on a separate line, after the terminal's ^C."""
        click.echo(f"\n{reaching(self.message)}", err=True)


class WaitCause(NamedTuple):
    """The cause of a wait as text, or "" to print nothing. A new text is printed only when `gist` changes."""

    words: str
    gist: object


Look = Callable[[], WaitCause]


def await_answer(call: Call, look: Look, seconds: float | None = None) -> bool:
    """Wait for the reply at most `seconds` (None means no limit), and return whether it arrived."""
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


def _looked(look: Look) -> WaitCause:
    try:
        return look()
    except (CallRefused, DaemonUnreachable):  # the wait ended, or the waiting call reports the same error
        return WaitCause("", None)


def for_run(paths: Paths, run: str) -> Look:
    """Return a function that returns the reason why a run has not started."""

    def look() -> WaitCause:
        why = ask(paths.control, "Why", run=run)["why"]
        if why["state"] not in PENDING or not why["reasons"]:
            return WaitCause("", why["state"])
        return WaitCause(f"{run} waits: {'; '.join(why['reasons'])}", _gist(why))

    return look


def _gist(why: Message) -> object:
    """Return the reasons without their durations."""
    holders = [(lack["resource"], [holder["run"] for holder in lack["holders"]]) for lack in why["missing"]]
    words = [] if holders else [re.sub(r"\d+", "", reason) for reason in why["reasons"]]
    return why["state"], why["behind"], holders, words


def for_lock(paths: Paths, lock: str) -> Look:
    """Return a function that returns the holders of the lock that this process awaits, or another cause of the wait."""

    def look() -> WaitCause:
        claims = ask(paths.control, "Locks", lock=lock)["claims"]
        reason = next((claim["reason"] for claim in claims if claim["pid"] == os.getpid()), None)
        holders = [claim["holder"] for claim in claims if claim["held"]]
        words = reason or f"held by {', '.join(holders)}"
        return WaitCause(f"waiting for lock {lock}: {words}" if reason or holders else "", words)

    return look
