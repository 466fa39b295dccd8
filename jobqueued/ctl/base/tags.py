"""The option --tag: commands act on all jobs with a tag instead of on a named job, or list only these."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from jobqueued.base.text import printable
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base import completion
from jobqueued.ctl.base.client import CallRefused, ask


def tag_option(act: str) -> Callable[[Any], Any]:
    """Return the option --tag; `act` begins its help, such as ``Pause all``."""
    return click.option(
        "-t",
        "--tag",
        "tags",
        multiple=True,
        metavar="T",
        shell_complete=completion.tags,
        help=f"{act} jobs with this tag.  Repeat to require several tags.",
    )


def require_either(names: Iterable[str | None], tags: tuple[str, ...], argument: str) -> None:
    """Raise UsageError unless either names or tags are given."""
    if any(names) == bool(tags):
        raise click.UsageError(f"expected {argument} or --tag" + ", but not both" * bool(tags))


def job_names(control: Path, job: str | None, tags: tuple[str, ...], *, enabled: bool = False) -> list[str]:
    """Return the job or, if it is None, the ids of the jobs with these tags; with `enabled`, leave out disabled ones.

    Raises UsageError, or CallRefused if there is none.
    """
    require_either([job], tags, "JOB")
    if job is not None:
        return [job]
    found = jobs_with(control, tags)
    left_out = [row["id"] for row in found if enabled and not row["enabled"]]
    if len(left_out) == len(found):
        raise CallRefused(f"all jobs with {named(tags)} are disabled; to run one of them, name it")
    if left_out:
        click.echo(printable(f"left out, because they are disabled: {', '.join(left_out)}"), err=True)
    return [row["id"] for row in found if row["id"] not in left_out]


def on_each(names: Iterable[str], act: Callable[[str], None]) -> bool:
    """Act on each job. If an act is refused, print why, and act on the rest. Return whether none was refused."""
    is_done = True
    for name in names:
        try:
            act(name)
        except CallRefused as refused:
            refused.show()
            is_done = False
    return is_done


def jobs_with(control: Path, tags: tuple[str, ...]) -> list[Message]:
    """Return the jobs that have all these tags, by id, as the method List describes them. Raises CallRefused if there
    is none.
    """
    found = [row for row in ask(control, "List")["jobs"] if {*tags} <= {*row["tags"]}]
    if not found:
        raise CallRefused(f"no job has {named(tags)}")
    return sorted(found, key=lambda row: str(row["id"]))


def named(tags: tuple[str, ...]) -> str:
    """Name tags in a message: ``the tag nightly``."""
    return f"the {'tags' if len(tags) > 1 else 'tag'} {printable(' and '.join(tags))}"
