"""The command line of jobqueuectl(1): its common options, and the list of its commands."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import Any

import click

from jobqueued import __version__
from jobqueued.ctl.audit import audit
from jobqueued.ctl.check import check
from jobqueued.ctl.crontab import crontab
from jobqueued.ctl.doctor import doctor
from jobqueued.ctl.emit import emit
from jobqueued.ctl.export import export
from jobqueued.ctl.history import history
from jobqueued.ctl.hold import drain, hold, release
from jobqueued.ctl.import_jobs import import_jobs
from jobqueued.ctl.list import list_jobs
from jobqueued.ctl.locks import locks
from jobqueued.ctl.logs import logs
from jobqueued.ctl.metrics import metrics
from jobqueued.ctl.next import next_times
from jobqueued.ctl.notify import notify
from jobqueued.ctl.pause import forget, pause, resume, skip_next
from jobqueued.ctl.reload import reload
from jobqueued.ctl.run import rerun, run_job
from jobqueued.ctl.show import show
from jobqueued.ctl.status import status
from jobqueued.ctl.stop import stop
from jobqueued.ctl.submit import submit, withdraw
from jobqueued.ctl.top import top
from jobqueued.ctl.why import why
from jobqueued.ctl.with_lock import with_lock
from jobqueued.paths import Paths


class _Group(click.Group):
    def parse_args(self, context: click.Context, words: list[str]) -> list[str]:
        """Read --root and --json, which all commands have, in any place."""
        return super().parse_args(context, in_place(words))

    def resolve_command(self, context: click.Context, words: list[str]) -> Any:
        """Find a command; the name of it elsewhere is answered with ours."""
        if words[0] in _ELSEWHERE and words[0] not in self.commands:
            context.fail(f"No such command '{words[0]}'. It is: jobqueuectl {_ELSEWHERE[words[0]]}")
        return super().resolve_command(context, words)

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run a command; a full disk under stdout is an error in one sentence, not a traceback."""
        try:
            return super().main(*arguments, **options)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for the rest of it
            click.echo(f"Error: cannot write the output: {error.strerror}", err=True)
            sys.exit(2)


_ELSEWHERE = {
    "start": "run", "trigger": "run", "launch": "run", "sbatch": "submit", "batch": "submit", "kill": "stop",
    "cancel": "stop", "abort": "stop", "ls": "list", "jobs": "list", "ps": "top", "info": "show", "describe": "show",
    "log": "logs", "cat": "logs", "tail": "logs", "explain": "why", "unpause": "resume", "continue": "resume",
    "suspend": "pause",
    "disable": "pause", "enable": "resume", "validate": "check", "test": "check", "lint": "check", "verify": "check",
    "restart": "rerun", "retry": "rerun", "unhold": "release", "undrain": "release", "skip": "skip-next",
    "wait": "run --wait JOB", "daemon-reload": "reload", "edit": "check FILE", "lock": "with-lock",
    "flock": "with-lock",
}  # fmt: skip
"""The names of our commands in other programs."""
_WITH_VALUE = ("--root", "--config", "--jobs", "--run", "--logs")


def in_place(words: list[str]) -> list[str]:
    """The words with --root before the command and --json behind it; after `with-lock`, `submit`, -- none is ours."""
    first, place, wants_json = list[str](), 0, False
    while place < len(words) and words[place].startswith("-") and words[place] != "--":
        step = 1 + (words[place] in _WITH_VALUE)
        if words[place] == "--json":
            wants_json = True
        else:
            first += words[place : place + step]
        place += step
    command, rest = words[place : place + 1], words[place + 1 :]
    kept = list[str]()
    if command not in (["with-lock"], ["submit"]):
        while rest and rest[0] != "--":
            word = rest.pop(0)
            if word == "--root" and rest:
                first += [word, rest.pop(0)]
            elif word.startswith("--root="):
                first.append(word)
            else:
                kept.append(word)
    return [*first, *command, *["--json"] * wants_json, *kept, *rest]


_DIRECTORY = click.Path(path_type=Path, readable=False)


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Exit status:
  0  success
  1  the answer is "no" (no such job, the run failed), or problems were found
  2  wrong usage, or the daemon or a file can't be reached""",
)
@click.version_option(__version__, prog_name="jobqueuectl", message="%(prog)s %(version)s")
@click.option("--root", type=_DIRECTORY, metavar="D", envvar="JOBQUEUE_ROOT", help="Talk to the daemon "
              "started with --root D, not to the system's (also: $JOBQUEUE_ROOT).")  # fmt: skip
@click.option("--config", type=_DIRECTORY, metavar="F", help="Settings file.  [/etc/jobqueued.yaml]")
@click.option("--jobs", type=_DIRECTORY, metavar="D", help="Directory of the job files.  [/etc/jobqueue.d]")
@click.option("--run", type=_DIRECTORY, metavar="D", help="Directory of the control socket.  [/run/jobqueue]")
@click.option("--logs", type=_DIRECTORY, metavar="D", help="Directory of the records.  [/var/log/jobqueue]")
@click.pass_context
def main(context: click.Context, /, root: Path | None, **paths: Path | None) -> None:
    """Query and control jobqueued, the job queue daemon.

    A job has an id (backup); each of its runs has a number (backup@142).  --root and --json may stand anywhere.

    Tables fit the terminal: a narrow one shows the columns that matter most and names the others, a pipe gets all
    of them, each row as one line.  Colour is used on terminals only, and respects $NO_COLOR.  Times are local and
    name their zone; with --json they are RFC 3339 in UTC, durations in seconds, sizes in bytes.  Each JSON document
    has a number `schema`, which grows when a field goes or changes; it is 1 now.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a character missing in the locale's charset is no failure
    context.obj = Paths.chosen(root, **paths).as_left({name for name, path in paths.items() if path is not None})


for command in (
    status, list_jobs, show, top, why, history, logs, next_times, run_job, rerun, submit, withdraw, emit, stop, pause,
    resume, skip_next,
    forget, hold, drain, release, with_lock, locks, notify, metrics, export, import_jobs, reload, check, audit, doctor,
    crontab,
):  # fmt: skip
    main.add_command(command)
