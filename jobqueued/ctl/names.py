"""Names of locks and events as people give them."""

from __future__ import annotations

import click

from jobqueued.jobfile.queue_types import A_NAME, is_name
from jobqueued.model import CPU, MEMORY


def named(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    """An argument that is the name of a lock, a resource or an event."""
    if not is_name(text):
        raise click.BadParameter(f"{text!r}; accepted: {A_NAME}")
    return text


def lock(context: click.Context, parameter: click.Parameter, text: str) -> str:
    """An argument that is the name of a lock, or of a resource that is counted."""
    if text in (CPU, MEMORY):
        raise click.BadParameter(f"{text!r} is given to runs alone; accepted: a lock, or another resource")
    return named(context, parameter, text)
