"""jobqueuectl cat: the text of job files and settings, with all that is merged into them."""

from __future__ import annotations

import os
import sys

import click

from jobqueued.child.trust import Refused as Distrusted
from jobqueued.ctl import completion
from jobqueued.ctl.client import Unreachable
from jobqueued.ctl.origins import parts_meant
from jobqueued.jobdir.trust import MASKED
from jobqueued.jobfile.drop_ins import Part
from jobqueued.paths import Paths
from jobqueued.text import printable


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="FILE|JOB...", shell_complete=completion.jobs)
@click.pass_obj
def cat(paths: Paths, names: tuple[str, ...]) -> None:
    """Print job files and their drop-ins, each under its path.

    A FILE is the name of a job file (backup.yaml), which is looked for where the daemon does, or its path, or that of
    a drop-in; jobqueued.yaml is the settings.  A JOB is the file that has it.

    Files are printed as they are now, in the order in which they count; if one is refused, what is in force is
    another text: see `jobqueuectl status`.

    Exits 1 if there is no such file, 2 if one can't be read.

    \b
    Examples:
      jobqueuectl cat backup.yaml
      jobqueuectl cat nightly-backup jobqueued.yaml
    """
    is_first = True
    for name in names:
        try:
            parts = parts_meant(paths, name)
        except OSError as error:
            raise Unreachable(f"{printable(error.filename or name)}: {error.strerror}") from None
        except Distrusted as distrusted:
            raise Unreachable(f"{printable(name)}: {distrusted}", "jobqueuectl check") from None
        for part in parts:
            click.echo("" if is_first else "\n", nl=False)
            is_first = False
            _print(part)


def _print(part: Part) -> None:
    if part.text == MASKED:
        click.echo(f"# {printable(part.path)} is masked by its link to {os.devnull}")
        return
    click.echo(f"# {printable(part.path)}")
    text = part.text.decode(errors="backslashreplace")
    click.echo(printable(text, keep="\n\t") if sys.stdout.isatty() else text, nl=not text.endswith("\n"))
