"""The words for what keeps jobs from starting: the hold of the host, a pause, an invalid or disabled job."""

from __future__ import annotations

import time

import click

from jobqueued.control.varlink import Message
from jobqueued.ctl.terminal import command, localised, moment
from jobqueued.instants import SECOND, to_text
from jobqueued.text import printable, settled_times


def resumed_by(job: str) -> str:
    """The remedy of a pause, behind it."""
    return f"; to resume: {command(f'resume {job}')}"


def hold(answer: Message) -> str | None:
    """The hold of the host, by the fields that several answers have of it; None: there is none."""
    if answer.get("held_by") is None:
        return None
    lasts = until(answer["held_until"]) or " until the next boot" * answer["draining"]
    return f"by {localised(answer['held_by'])}{lasts}: nothing new starts; to end it: {command('release')}"


def warn_of_hold(answer: Message) -> None:
    """Say on stderr that the host is on hold, if it is."""
    if words := hold(answer):
        click.echo(printable(f"The host is {'being drained' if answer['draining'] else 'on hold'} {words}"), err=True)


def obstacle(job: str, answer: Message) -> str:
    """The reason why the clock starts a job not at all, or not yet, with the remedy; "" where there is none."""
    if answer.get("invalid"):
        return f"{job} is invalid: {answer['invalid']}"
    if not answer.get("enabled", True):
        place = f"{answer['file']} has" if answer.get("file") else "its job file has"
        return f"{job} is disabled: {place} `enabled: false`, which keeps the clock and events from starting it"
    if answer.get("paused"):
        return f"{job} is paused{until(answer['paused_until'])}{resumed_by(job)}"
    if answer.get("set_back_until"):
        return set_back(job, answer["set_back_until"])
    return ""


def set_back(job: str, instant: str) -> str:
    """The reason why a job is not due at fixed times that come again."""
    return f"{job}: {localised(settled_times(instant))}"


def until(instant: str | None) -> str:
    """The end of a pause or a hold, behind it: `` until 2026-11-24 02:00:00 (in 5 h)``; "": nobody has set one."""
    return f" until {moment(instant)}" if instant else ""


def progress(batch: Message) -> str:
    """The progress of a submission with several runs: ``12 of 100 done, 1 failed``."""
    failed = f", {batch['failed']:,} failed" if batch["failed"] else ""
    return f"{batch['done']:,} of {batch['runs']:,} done{failed}"


def whole_progress(batch: Message) -> str:
    """The same with the runs that are left, and when the last of them is likely to end."""
    left = batch["left"]
    end = "" if left is None else f"; expected end {moment(to_text(time.time_ns() + round(left * SECOND)))}"
    return f"{progress(batch)}, {batch['running']:,} running, {batch['waiting']:,} waiting{end}"
