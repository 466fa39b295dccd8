"""The command line of jobqueuectl(1): its common options, and the list of its commands."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from jobqueued import __version__
from jobqueued.ctl.arguments import chosen

_COMMANDS = {
    "status": ("status", "status"),
    "list": ("list", "list_jobs"),
    "show": ("show", "show"),
    "top": ("top", "top"),
    "why": ("why", "why"),
    "history": ("history", "history"),
    "logs": ("logs", "logs"),
    "next": ("next", "next_times"),
    "run": ("run", "run_job"),
    "rerun": ("run", "rerun"),
    "submit": ("submit", "submit"),
    "withdraw": ("submit", "withdraw"),
    "emit": ("emit", "emit"),
    "stop": ("stop", "stop"),
    "pause": ("pause", "pause"),
    "resume": ("pause", "resume"),
    "skip-next": ("pause", "skip_next"),
    "forget": ("pause", "forget"),
    "hold": ("hold", "hold"),
    "drain": ("hold", "drain"),
    "release": ("hold", "release"),
    "with-lock": ("with_lock", "with_lock"),
    "locks": ("locks", "locks"),
    "notify": ("notify", "notify"),
    "metrics": ("metrics", "metrics"),
    "export": ("export", "export"),
    "import": ("import_jobs", "import_jobs"),
    "reload": ("reload", "reload"),
    "check": ("check", "check"),
    "cat": ("cat", "cat"),
    "audit": ("audit", "audit"),
    "doctor": ("doctor", "doctor"),
    "restart-launcher": ("restart_launcher", "restart_launcher"),
    "crontab": ("crontab", "crontab"),
    "edit": ("user_files", "edit"),
    "add": ("user_files", "add"),
    "remove": ("user_files", "remove"),
    "files": ("user_files", "files"),
}
"""The commands by name: the file of each, and its name there.  One is imported when it is called."""


class _Commands(dict[str, click.Command]):
    """The commands, each imported when it is looked at."""

    def __getitem__(self, name: str) -> click.Command:
        file, attribute = _COMMANDS[name]
        command: click.Command = getattr(import_module(f"jobqueued.ctl.{file}"), attribute)
        return command

    def get(self, name: str, default: Any = None) -> Any:
        """The command of that name."""
        return self[name] if name in _COMMANDS else default

    def values(self) -> Any:
        """All of them."""
        return [self[name] for name in self]

    def items(self) -> Any:
        """All of them with their names."""
        return [(name, self[name]) for name in self]


class _Group(click.Group):
    def parse_args(self, context: click.Context, words: list[str]) -> list[str]:
        """Read --root, --user and --json, which all commands have, in any place."""
        return super().parse_args(context, in_place(words, self._is_own))

    def _is_own(self, command: str, option: str) -> bool:
        """True of an option that a command has itself."""
        found = self.commands.get(command)
        return found is not None and any(option in parameter.opts for parameter in found.params)

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
    "log": "logs", "tail": "logs", "explain": "why", "unpause": "resume", "continue": "resume", "suspend": "pause",
    "disable": "pause", "enable": "resume", "validate": "check", "test": "check", "lint": "check", "verify": "check",
    "restart": "rerun", "retry": "rerun", "unhold": "release", "undrain": "release", "skip": "skip-next",
    "wait": "run --wait JOB", "daemon-reload": "reload", "rm": "remove", "delete": "remove", "lock": "with-lock",
    "flock": "with-lock",
}  # fmt: skip
"""The names of our commands in other programs."""
_WITH_VALUE = ("--root", "--config", "--jobs", "--run", "--logs")


def in_place(words: list[str], is_own: Callable[[str, str], bool] = lambda *_: False) -> list[str]:
    """The words with --root and --user before the command and --json behind it.

    What follows `with-lock`, `submit` or -- is not ours, nor what is the command's own (`is_own`, of its name and the
    option's).
    """
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
            elif word.startswith("--root=") or (word == "--user" and not is_own(command[0], word)):
                first.append(word)
            else:
                kept.append(word)
    return [*first, *command, *["--json"] * wants_json, *kept, *rest]


_DIRECTORY = click.Path(path_type=Path, readable=False)


@click.group(
    cls=_Group,
    commands=_Commands.fromkeys(_COMMANDS),
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
@click.option("--user", is_flag=True, envvar="JOBQUEUE_USER", help="Talk to your own instance, "
              "jobqueued --user (also: JOBQUEUE_USER=1).")  # fmt: skip
@click.option("--config", type=_DIRECTORY, metavar="F", help="Settings file.  [/etc/jobqueued.yaml]")
@click.option("--jobs", type=_DIRECTORY, metavar="D", help="Directory of the job files.  [/etc/jobqueue.d]")
@click.option("--run", type=_DIRECTORY, metavar="D", help="Directory of the control socket.  [/run/jobqueue]")
@click.option("--logs", type=_DIRECTORY, metavar="D", help="Directory of the records.  [/var/log/jobqueue]")
@click.pass_context
def main(context: click.Context, /, **options: object) -> None:
    """Query and control jobqueued, the job queue daemon.

    A job has an id (backup); each of its runs has a number (backup@142).  --root, --user and --json may stand
    anywhere.

    Tables fit the terminal: a narrow one shows the columns that matter most and names the others, a pipe gets all
    of them, each row as one line.  Colour is used on terminals only, and respects $NO_COLOR.  Times are local and
    name their zone; with --json they are RFC 3339 in UTC, durations in seconds, sizes in bytes.  Each JSON document
    has a number `schema`, which grows when a field goes or changes; it is 1 now.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a character missing in the locale's charset is no failure
    context.obj = chosen(context).as_left({name for name, value in options.items() if value is not None})
