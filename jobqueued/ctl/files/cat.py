"""jobqueuectl cat: print job files and settings with their drop-ins."""

from __future__ import annotations

import os
import sys

import click

from jobqueued.base.text import printable
from jobqueued.child.contract.trust import FileRefused as Distrusted
from jobqueued.ctl.base import completion
from jobqueued.ctl.base.client import DaemonUnreachable
from jobqueued.ctl.base.terminal import json_option, print_json
from jobqueued.ctl.files.origins import parts_meant
from jobqueued.jobdir.trust import MASKED
from jobqueued.jobfile.tree.drop_ins import FileText
from jobqueued.settings.paths import Paths


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="FILE|JOB...", shell_complete=completion.jobs)
@json_option
@click.pass_obj
def cat(paths: Paths, names: tuple[str, ...], as_json: bool) -> None:
    """Print job files and their drop-ins, each under its path.

    A FILE is the path of a job file or a drop-in, or the name of a job file (backup.yaml).  A name is searched for in
    the daemon's directories.  For jobqueued.yaml, the command prints the settings.  For a JOB, it prints the file that
    contains the job.

    The command prints the current files, in the order that the daemon applies them.  If a file is refused, the daemon
    still uses an older text: see `jobqueuectl status`.  With --json, the text of a masked file is null.

    Exits 1 if the file does not exist, 2 if a file can't be read.

    \b
    Examples:
      jobqueuectl cat backup.yaml
      jobqueuectl cat nightly-backup jobqueued.yaml
    """
    parts = (part for name in names for part in _parts(paths, name))
    if as_json:
        print_json({"files": [_plain(part) for part in parts]})
        return
    for number, part in enumerate(parts):
        click.echo("\n" if number else "", nl=False)
        _print(part)


def _parts(paths: Paths, name: str) -> list[FileText]:
    try:
        return parts_meant(paths, name)
    except OSError as error:
        raise DaemonUnreachable(f"{printable(error.filename or name)}: {error.strerror}") from None
    except Distrusted as distrusted:
        raise DaemonUnreachable(f"{printable(name)}: {distrusted}", "jobqueuectl check") from None


def _plain(part: FileText) -> dict[str, str | None]:
    """Return a file or drop-in as JSON. Bytes that are not UTF-8 become lone surrogates, as in records."""
    text = None if part.text == MASKED else part.text.decode(errors="surrogateescape")
    return {"path": part.path, "text": text}


def _print(part: FileText) -> None:
    if part.text == MASKED:
        click.echo(f"# {printable(part.path)} is masked by its link to {os.devnull}")
        return
    click.echo(f"# {printable(part.path)}")
    text = part.text.decode(errors="backslashreplace")
    click.echo(printable(text, keep="\n\t") if sys.stdout.isatty() else text, nl=not text.endswith("\n"))
