"""Messages about causes that prevent starts: a hold, a pause, or an invalid or disabled job."""

from __future__ import annotations

import time

import click

from jobqueued.base.instants import SECOND, to_text
from jobqueued.base.text import duration, printable, settled_times
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base.terminal import command, localised, moment


def resumed_by(job: str) -> str:
    """Return the command that ends a pause, as a suffix."""
    return f"; to resume: {command(f'resume {job}')}"


def hold(answer: Message) -> str | None:
    """Describe the host's hold from the fields in a reply, or return None if the host is not on hold."""
    if answer.get("held_by") is None:
        return None
    lasts = until(answer["held_until"]) or " until the next boot" * answer["draining"]
    return f"by {localised(answer['held_by'])}{lasts}: nothing new starts; to end it: {command('release')}"


def warn_of_hold(answer: Message) -> None:
    """If the host is on hold, print a notice on stderr."""
    if words := hold(answer):
        click.echo(printable(f"The host is {'being drained' if answer['draining'] else 'on hold'} {words}"), err=True)


def obstacle(job: str, answer: Message) -> str:
    """Return why a job does not start as scheduled, with the remedy, or "" if nothing prevents its starts."""
    if answer.get("invalid"):
        return f"{job} is invalid: {answer['invalid']}"
    if not answer.get("enabled", True):
        place = f"{answer['file']} has" if answer.get("file") else "its job file has"
        return f"{job} is disabled: {place} `enabled: false`, so the clock and events do not start it"
    if answer.get("paused"):
        return f"{job} is paused{until(answer['paused_until'])}{resumed_by(job)}"
    if answer.get("set_back_until"):
        return set_back(job, answer["set_back_until"])
    return ""


def set_back(job: str, instant: str) -> str:
    """Return why a job is not due at fixed times that occur a second time, because the clock was set back."""
    return f"{job}: {localised(settled_times(instant))}"


def until(instant: str | None) -> str:
    """Return the end of a pause or hold as a suffix, `` until 2026-11-24 02:00:00 (in 5 h)``, or "" for None."""
    return f" until {moment(instant)}" if instant else ""


def progress(batch: Message, *, brief: bool = False) -> str:
    """Format the progress of a submission with several runs: ``12 of 100 done, 1 failed, 3 running, 85 waiting``, and
    the expected end of the last run: an instant, or if `brief` the time until then.
    """
    counts = [f"{batch['done']:,} of {batch['runs']:,} done"] + [f"{batch['failed']:,} failed"] * bool(batch["failed"])
    words = ", ".join([*counts, f"{batch['running']:,} running", f"{batch['waiting']:,} waiting"])
    if (left := batch["left"]) is None:
        return words
    if brief:
        return f"{words}, ends in ~{duration(left)}"
    return f"{words}; expected end {moment(to_text(time.time_ns() + round(left * SECOND)))}"
