"""Shell completion with the daemon's jobs, runs and hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jobqueued.ctl.base.arguments import chosen
from jobqueued.ctl.base.client import ask

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_LONGEST_WAIT = 1.0
_RUNS = 20


def jobs(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Return the ids of jobs with this prefix."""
    return [row["id"] for row in _asked(context, "List").get("jobs", ()) if row["id"].startswith(begun)]


def runs(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Return the newest runs with this prefix. If the prefix contains @, return only runs of the job before the @."""
    job = begun.partition("@")[0] if "@" in begun else None
    found = _asked(context, "History", job=job, limit=_RUNS).get("runs", ())
    return [record["run"] for record in found if record["run"].startswith(begun)]


def jobs_or_runs(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Return the ids of jobs with this prefix; if the prefix contains @, return runs."""
    return runs(context, parameter, begun) if "@" in begun else jobs(context, parameter, begun)


def hosts(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Complete the last name in a comma-separated list with the fleet's hosts."""
    before, comma, last = begun.rpartition(",")
    return [f"{before}{comma}{name}" for name in _asked(context, "Fleet").get("hosts", ()) if name.startswith(last)]


def codes(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Return the finding codes with this prefix, each with its title."""
    from click.shell_completion import CompletionItem

    from jobqueued.ctl.base.findings import FINDINGS

    found = (it for it in FINDINGS.values() if it.code.startswith(begun.upper()))
    return [CompletionItem(it.code, help=it.title) for it in found]


def tags(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Return the tags of jobs with this prefix."""
    found = {tag for row in _asked(context, "List").get("jobs", ()) for tag in row["tags"]}
    return sorted(tag for tag in found if tag.startswith(begun))


def _asked(context: click.Context, method: str, **parameters: Any) -> dict[str, Any]:
    try:
        return ask(chosen(context.parent or context).control, method, _LONGEST_WAIT, **parameters)
    except click.ClickException:  # a message would disturb the user's input
        return {}
