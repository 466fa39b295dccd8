"""The command line of jobqueuectl(1): its common options, and the list of its commands."""

from __future__ import annotations

import errno
import gc
import io
import os
import re
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jobqueued import __version__
from jobqueued.ctl.base.arguments import chosen, duration, refuse_empty

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

TASKS = {
    "See what runs": {
        "status": ("view.status", "status", "Show whether everything is healthy, and list what is not."),
        "list": ("view.list", "list_jobs", "List the jobs, one per line."),
        "show": ("view.show", "show", "Show a job or one of its runs."),
        "top": ("top.top", "top", "Show what live runs use and which runs wait."),
        "watch": ("view.watch", "watch", "Print the lines of the daemon's log as they are written."),
        "history": ("past.history", "history", "List the runs of JOB, or of all jobs, newest first."),
        "logs": ("view.logs", "logs", "Print the output of a run or of a job's newest run."),
        "timeline": ("chart.timeline", "timeline", "Show the runs of the JOBs, or of all jobs, as a chart."),
        "next": ("view.next", "next_times", "Show when JOB, or each job, starts next."),
        "locks": ("view.locks", "locks", "List each lock's holders and waiters."),
        "report": ("report.report", "report", "Report failures, skips, slowdowns, waits and CPU hours."),
        "notify": ("view.notify", "notify", "List open incidents and pending notices, or send a test."),
    },
    "Act": {
        "run": ("act.run", "run_job", "Queue a run of JOB, or of each job with a tag, now."),
        "rerun": ("act.run", "rerun", "Queue RUN's job again and print the new run's id."),
        "retry": ("act.run", "retry", "Start RUN's next attempt now, without its delay."),
        "submit": ("act.submit", "submit", "Submit COMMAND to run once, and print the submission's id."),
        "withdraw": ("act.submit", "withdraw", "Start no more runs of a submission."),
        "resize": ("act.submit", "resize", "Change how many runs of a submission may be live at once."),
        "stop": ("act.stop", "stop", "Stop runs, or all live runs of a JOB or tag."),
        "emit": ("act.emit", "emit", "Emit EVENT and queue a run of each job that waits for it."),
        "pause": ("act.pause", "pause", "Pause JOB, or all jobs with a tag."),
        "resume": ("act.pause", "resume", "Resume a paused JOB, or all jobs with a tag."),
        "skip-next": ("act.pause", "skip_next", "Skip the next scheduled run of JOB."),
        "forget": ("act.pause", "forget", "Stop expecting JOB to succeed."),
        "hold": ("act.hold", "hold", "Put the host on hold: start nothing new until `release`."),
        "drain": ("act.hold", "drain", "Put the host on hold and wait until no run is live."),
        "release": ("act.hold", "release", "End a hold or a drain: let runs start again."),
        "with-lock": ("act.with_lock", "with_lock", "Run COMMAND while holding LOCK or a resource."),
    },
    "Write jobs": {
        "check": ("files.check", "check", "Check job files and cron's tables without the daemon."),
        "add": ("files.user_files", "add", "Add one of your job files to the daemon."),
        "edit": ("files.user_files", "edit", "Edit one of your job files in $VISUAL or $EDITOR."),
        "remove": ("files.user_files", "remove", "Remove one of your job files and its jobs."),
        "files": ("files.user_files", "files", "List your job files that the daemon stores."),
        "cat": ("files.cat", "cat", "Print job files and their drop-ins, each under its path."),
        "reload": ("files.reload", "reload", "Read changed job files now and report what changed."),
        "language-server": (
            "files.language_server",
            "language_server",
            "Check job files in an editor while you write them.",
        ),
    },
    "Find out why": {
        "why": ("view.why", "why", "Explain why RUN, or a run of JOB, has not started."),
        "doctor": ("doctor.doctor", "doctor", "Check the daemon and this host, and suggest fixes."),
        "audit": ("past.audit", "audit", "Check that each due time has exactly one record."),
        "simulate": ("simulate.simulate", "simulate", "Simulate coming runs: which jobs wait, how long and why."),
    },
    "Export": {
        "export": ("export.export", "export", "Export ended runs as traces, or jobs as a crontab."),
        "metrics": ("export.metrics", "metrics", "Print metrics, or serve them to Prometheus."),
    },
    "Cron": {
        "import": ("crontab.import_jobs", "import_jobs", "Convert crontabs and systemd timers into job files."),
        "crontab": ("crontab.crontab", "crontab", "Install FILE as a crontab, or list, edit or remove one."),
    },
    "Fleet and service": {
        "fleet": ("fleet.fleet", "fleet", "List the hosts of the fleet, or accept its restored state."),
        "restart-launcher": (
            "act.restart_launcher",
            "restart_launcher",
            "Restart the launcher and the daemon; live runs continue.",
        ),
    },
}
"""Task → command → the command's module, its function there, and the first sentence of its help.

A command's module is imported only when the command is called. This table also provides the list of commands.
"""
_COMMANDS = {name: entry for commands in TASKS.values() for name, entry in commands.items()}


class _Commands(dict[str, click.Command]):
    """A mapping of name → command, which imports a command when it is looked up."""

    def __getitem__(self, name: str) -> click.Command:
        file, attribute, _ = _COMMANDS[name]
        command: click.Command = getattr(import_module(f"jobqueued.ctl.{file}"), attribute)
        return command

    def get(self, name: str, default: Any = None) -> Any:
        """Return the command with this name, or `default`."""
        return self[name] if name in _COMMANDS else default

    def values(self) -> Any:
        """Return all commands."""
        return [self[name] for name in self]

    def items(self) -> Any:
        """Return all commands with their names."""
        return [(name, self[name]) for name in self]


class _CommandGroup(click.Group):
    def parse_args(self, context: click.Context, words: list[str]) -> list[str]:
        """Parse the arguments. Options that all commands have, such as --root and --json, may be anywhere."""
        words = in_place(words, self._is_own)
        refuse_empty(context, words)
        return super().parse_args(context, words)

    def _is_own(self, command: str, option: str) -> bool:
        """Return whether a command itself has this option."""
        found = self.commands.get(command)
        return found is not None and any(option in parameter.opts for parameter in found.params)

    def resolve_command(self, context: click.Context, words: list[str]) -> Any:
        """Find a command, or its version for several hosts if --fleet is given.

        For a command of another program, suggest our command.
        """
        if words[0] == "explain" and re.fullmatch("(?i)JQ[0-9]+", "".join(words[1:2])):
            context.fail(f"No such command 'explain'. Use: jobqueuectl check --explain {words[1].upper()}")
        if words[0] in _ELSEWHERE and words[0] not in self.commands:
            context.fail(f"No such command '{words[0]}'. Use: jobqueuectl {_ELSEWHERE[words[0]]}")
        if words[0] == "status" and len(words) > 1 and not words[1].startswith("-"):
            context.fail(f"status is about the daemon. For one job: jobqueuectl show {words[1]}")
        name, command, rest = super().resolve_command(context, words)
        if command is not None:
            settings = {**command.context_settings, "resilient_parsing": context.resilient_parsing}
            refuse_empty(click.Context(command, context, name, **settings), rest)
        if command is not None and (context.params["fleet"] or context.params["host"]):
            from jobqueued.ctl.fleet.fleet_views import of_hosts

            command = of_hosts(context, command, rest)
        return name, command, rest

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        width = max(map(len, _COMMANDS))
        for task, commands in TASKS.items():
            with formatter.section(task):
                formatter.write_dl([(name.ljust(width), text) for name, (*_, text) in commands.items()])

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands with this prefix, and the matching options."""
        from click.shell_completion import CompletionItem

        found = [name for name in sorted(_COMMANDS) if name.startswith(incomplete)]
        items = [CompletionItem(name, help=_COMMANDS[name][-1]) for name in found]
        return [*items, *click.Command.shell_complete(self, context, incomplete)]

    def invoke(self, context: click.Context) -> Any:
        """Run a command. On ^C, exit without a message, with the status that shells expect."""
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            sys.exit(_INTERRUPTED)

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run a command. If writing to stdout fails (full disk), print a sentence instead of a traceback."""
        gc.set_threshold(_NEW_OBJECTS)
        try:
            return super().main(*arguments, **options)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the rest of the output is lost
            click.echo(f"Error: cannot write the output: {error.strerror}", err=True)
            sys.exit(2)
        finally:
            gc.freeze()  # otherwise the interpreter rescans every object before it exits


_CANCEL = "stop RUN, or withdraw --stop JOB for a whole submission"
_ELSEWHERE = {
    "start": "run", "trigger": "run", "launch": "run", "sbatch": "submit", "batch": "submit", "kill": "stop",
    "cancel": _CANCEL, "abort": "stop", "ls": "list", "jobs": "list", "ps": "top", "info": "show", "describe": "show",
    "log": "logs", "tail": "logs", "explain": "why", "unpause": "resume", "continue": "resume", "suspend": "pause",
    "disable": "pause", "enable": "resume", "validate": "check", "test": "check", "lint": "check", "verify": "check",
    "restart": "rerun", "unhold": "release", "undrain": "release", "skip": "skip-next",
    "wait": "run --wait JOB", "daemon-reload": "reload", "rm": "remove", "delete": "remove", "lock": "with-lock",
    "flock": "with-lock", "plot": "timeline", "gantt": "timeline", "events": "watch", "monitor": "watch",
    "forecast": "simulate", "predict": "simulate", "at": "submit --at TIME -- COMMAND", "atq": "list",
    "atrm": "withdraw", "queue": "list", "squeue": "list", "scancel": _CANCEL, "help": "--help", "version": "--version",
}  # fmt: skip
"""Command name in another program → our command."""
_INTERRUPTED = 130
_NEW_OBJECTS = 50_000
"""Number of new objects that triggers a garbage collection. Short commands avoid the collection, and start a tenth
faster.
"""
_WITH_VALUE = ("--root", "--config", "--jobs", "--run", "--logs", "--host", "--ssh", "--timeout")


def in_place(words: list[str], is_own: Callable[[str, str], bool] = lambda *_: False) -> list[str]:
    """Return the words with --root, --user, --fleet and --host moved before the command, and --json after it.

    Words after `with-lock`, `submit` or -- are not moved, nor are the command's own options. `is_own` returns whether a
    command has an option.
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
            name, _, value = word.partition("=")
            if is_own(command[0], name) or name not in ("--root", "--host", "--user", "--fleet"):
                kept.append(word)
            elif name in ("--root", "--host") and not value and rest:
                first += [word, rest.pop(0)]
            else:
                first.append(word)
    return [*first, *command, *["--json"] * wants_json, *kept, *rest]


def _hosts(*given: Any) -> Any:
    from jobqueued.ctl.base.completion import hosts

    return hosts(*given)


_DIRECTORY = click.Path(path_type=Path, readable=False)


@click.group(
    cls=_CommandGroup,
    commands=_Commands.fromkeys(_COMMANDS),
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Exit status:
  0  success
  1  the answer is "no" (no such job, the run failed), or problems were found
  2  wrong usage, or the daemon or a file can't be reached""",
)
@click.version_option(__version__, prog_name="jobqueuectl", message="%(prog)s %(version)s")
@click.option(
    "--root",
    type=_DIRECTORY,
    metavar="D",
    envvar="JOBQUEUE_ROOT",
    help="Use the daemon that was started with --root D instead of the system's (also: $JOBQUEUE_ROOT).",
)
@click.option(
    "--user",
    is_flag=True,
    envvar="JOBQUEUE_USER",
    help="Use your own instance, jobqueued --user (also: JOBQUEUE_USER=1).",
)
@click.option("--config", type=_DIRECTORY, metavar="F", help="Settings file.  [/etc/jobqueued.yaml]")
@click.option("--jobs", type=_DIRECTORY, metavar="D", help="Directory of the job files.  [/etc/jobqueue.d]")
@click.option("--run", type=_DIRECTORY, metavar="D", help="Directory of the control socket.  [/run/jobqueue]")
@click.option("--logs", type=_DIRECTORY, metavar="D", help="Directory of the records.  [/var/log/jobqueue]")
@click.option("--fleet", is_flag=True, help="Query all fleet hosts by ssh, and combine their answers.")
@click.option(
    "--host",
    multiple=True,
    metavar="H,…",
    shell_complete=_hosts,
    help="Query these hosts by ssh; they need not be in a fleet.  May be repeated.",
)
@click.option(
    "--ssh",
    metavar="COMMAND",
    envvar="JOBQUEUE_SSH",
    help="Command that reaches a host; HOST -- "
    "jobqueuectl … is appended (also: $JOBQUEUE_SSH).  [ssh -o BatchMode=yes …]",
)
@click.option(
    "--timeout", metavar="D", callback=duration, help="Longest time to wait for the answers of all hosts.  [30s]"
)
@click.pass_context
def main(context: click.Context, /, **options: object) -> None:
    """Query and control jobqueued, the job queue daemon.

    A job has an id (backup).  Each of its runs has a number (backup@142).  You can write --root, --user, --fleet,
    --host and --json before or after the command.

    With --fleet or --host, a command that shows something queries several hosts by ssh, and prints their answers as
    one table or document.  Each host carries out a command that acts.  The exit status is the highest of all hosts.

    Tables fit the terminal: a narrow terminal shows the most important columns and names the others, and columns
    without a value are omitted.  A pipe gets all columns, with one line per row.  Colour is used only on terminals, and
    not if $NO_COLOR is set.  Times are local and show their time zone.  With --json, times are in RFC 3339 and UTC,
    durations in seconds, and sizes in bytes.  Each JSON document has a number `schema`.  The number is 1 now, and
    increases when a field is removed or changed.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for characters absent from the locale's charset
    context.obj = chosen(context).as_left({name for name, value in options.items() if value is not None})
