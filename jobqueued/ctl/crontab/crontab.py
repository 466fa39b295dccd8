"""The program crontab(1) for users' tables, with the options, messages and exit statuses of Debian's crontab."""

from __future__ import annotations

import getopt
import os
import pwd
import stat
import sys
import time
from typing import TYPE_CHECKING, NoReturn

import click

from jobqueued import __version__
from jobqueued.base.text import printable
from jobqueued.child.spool.spool import LARGEST, NONE, fits
from jobqueued.control.protocol.varlink import Message
from jobqueued.crontabs.header import with_header, without_header
from jobqueued.ctl.base.arguments import of_environment
from jobqueued.ctl.base.client import CallRefused
from jobqueued.ctl.base.terminal import json_option, print_json
from jobqueued.ctl.crontab.crontab_edit import TEMPLATE, edit
from jobqueued.ctl.crontab.crontab_spool import SpoolFailure, TableOwner, UserTable, no_crontab
from jobqueued.settings.paths import Paths

if TYPE_CHECKING:
    from jobqueued.model.job import Job

_USAGE = """\
usage:\tcrontab [-u user] [-n | -T] file
\tcrontab [ -u user ] [ -i ] { -e | -l | -r }

\t-h\t(displays this help message)

\tfile\t(default operation is replace, per 1003.2)
\t-n, -T\t(dry run: checks the syntax, then bails out)
\t-u user\t(choose the user whose crontab is touched)

\t-e\t(edit user's crontab)
\t-l\t(list user's crontab)
\t-r\t(delete user's crontab)

\t-i\t(prompt before deleting user's crontab)
"""
OPTIONS = "u:T:lernih"
"""The options in getopt(3)'s format."""
_ACTS = frozenset("elr")


class _Usage(Exception):
    """Raised if the command line is invalid."""


def main(words: list[str] | None = None, paths: Paths | None = None) -> int:
    """Run a command line and return the exit status."""
    try:
        return _carried_out(sys.argv[1:] if words is None else words, paths or of_environment())
    except _Usage as wrong:
        _to_stderr(f"crontab: usage error: {wrong}\n{_USAGE}" if str(wrong) else _USAGE)
    except SpoolFailure as failure:
        _to_stderr(str(failure))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader closed the pipe
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        _to_stderr(f"crontab: cannot write the output: {error.strerror}")
    return 1


def _carried_out(words: list[str], paths: Paths) -> int:
    try:
        options, rest = getopt.gnu_getopt(words or ["-"], OPTIONS)
    except getopt.GetoptError as wrong:
        raise _Usage(f"unrecognized option ({printable(str(wrong))})") from None
    given = [name[1] for name, _ in options]
    if "h" in given:
        raise _Usage
    acts = [name for name in given if name in _ACTS]
    if len(acts) > 1:
        raise _Usage("only one operation permitted")
    rest = [value for name, value in options if name == "-T"] + rest
    if acts and rest:
        raise _Usage("no arguments permitted after this option")
    if not acts and len(rest) != 1:
        raise _Usage("one file only, please" if rest else "file name must be specified for replace")
    owner = _owner([value for name, value in options if name == "-u"], paths)
    table = UserTable(paths, owner)
    match acts:
        case ["l"]:
            return _list(table, owner)
        case ["r"]:
            return _remove(table, owner, asks="i" in given)
        case ["e"]:
            return _edit(table, owner, paths)
    return _replace(rest[0], table, owner, paths, dry="n" in given or "T" in given)


def _owner(named: list[str], paths: Paths) -> TableOwner:
    """Return the owner of the table. Raises SpoolFailure with Debian's message."""
    try:
        entry = pwd.getpwuid(os.getuid())
    except KeyError:
        raise SpoolFailure("crontab: your UID isn't in the passwd file.\nbailing out.") from None
    for name in named:
        try:
            entry = pwd.getpwnam(name)
        except (KeyError, ValueError, UnicodeError):
            raise SpoolFailure(f"crontab:  user `{printable(name)}' unknown{_orphan(name, paths)}") from None
        if os.getuid() not in (0, entry.pw_uid):
            raise SpoolFailure("must be privileged to use -u")
    return TableOwner(entry.pw_name, entry.pw_uid)


def _orphan(name: str, paths: Paths) -> str:
    """Return the remedy if a deleted user's table remains, else ""."""
    place = paths.crontabs[2] / name
    if not fits(name) or not os.path.lexists(place):
        return ""
    return f"\ncrontab: a table of this name still exists: rm {printable(str(place))}"


def _read(table: UserTable, owner: TableOwner) -> tuple[bytes, str]:
    found, stamp = table.read()
    if stamp == NONE:
        raise SpoolFailure(no_crontab(owner))
    return found, stamp


def _list(table: UserTable, owner: TableOwner) -> int:
    with open(1, "wb", closefd=False) as file:
        file.write(_listed(table, owner))
    return 0


def _listed(table: UserTable, owner: TableOwner) -> bytes:
    found, _ = _read(table, owner)
    bare = os.environ.get("CRONTAB_NOHEADER", "Y")[:1] not in ("N", "n")
    return without_header(found) if bare else found


def _document(user: str | None, paths: Paths) -> Message:
    """Return the table and the daemon's jobs from it as a JSON document. Raises SpoolFailure.

    Bytes that are not UTF-8 become lone surrogates, as in records.
    """
    from jobqueued.ctl.crontab.crontab_check import check
    from jobqueued.ctl.files.check import row

    owner = _owner([] if user is None else [user], paths)
    text, now = _listed(UserTable(paths, owner), owner), time.time_ns()
    jobs = [row(job, now, runs=job.enabled) for job in check(text, owner.name, owner.name, paths).jobs]
    return {"user": owner.name, "text": text.decode(errors="surrogateescape"), "jobs": jobs}


def _remove(table: UserTable, owner: TableOwner, *, asks: bool) -> int:
    if asks:
        _read(table, owner)
        print(f"crontab: really delete {owner.name}'s crontab? (y/n) ", end="", flush=True)
        while (answer := sys.stdin.readline())[:1].lower() not in ("y", "n"):
            if not answer:
                raise SpoolFailure("\ncrontab: no answer; the crontab was not removed")
            print("Please enter Y or N: ", end="", file=sys.stderr, flush=True)
        if answer[:1].lower() == "n":
            return 0
    if not table.remove():
        raise SpoolFailure(no_crontab(owner))
    return 0


def _edit(table: UserTable, owner: TableOwner, paths: Paths) -> int:
    found, stamp = table.read(edits=True)
    if stamp == NONE:
        _to_stderr(f"{no_crontab(owner)} - using an empty one")
        found = TEMPLATE.encode()

    def install(edited: bytes, file: str) -> bool:
        return _install(edited, file, table, owner, paths, stamp)

    status = edit(without_header(found), install)
    table.end_edit()
    return status


def _replace(name: str, table: UserTable, owner: TableOwner, paths: Paths, *, dry: bool) -> int:
    text = _content(name)
    if not dry:
        return 0 if _install(text, name, table, owner, paths) else 1
    from jobqueued.ctl.crontab.crontab_check import check

    verdict = check(text, name, owner.name, paths)
    _to_stderr("\n".join([*verdict.warnings, *verdict.errors]))
    if not verdict.errors:
        _to_stderr("The syntax of the crontab file was successfully checked.")
        _tell_next(verdict.jobs)
    return 1 if verdict.errors else 0


def _content(name: str) -> bytes:
    """Read a file, up to one byte more than allowed, so that a longer file is noticed. Raises SpoolFailure."""
    try:
        if name == "-":
            with open(0, "rb", closefd=False) as file:
                return file.read(LARGEST + 1)
        with open(os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SpoolFailure(f"{printable(name)}: Not a regular file.")
            return file.read(LARGEST + 1)
    except IsADirectoryError:
        raise SpoolFailure(f"{printable(name)}: Not a regular file.") from None
    except OSError as error:
        raise SpoolFailure(f"{printable(name)}: {error.strerror}") from None


def _install(
    text: bytes, file: str, table: UserTable, owner: TableOwner, paths: Paths, stamp: str | None = None
) -> bool:
    """Install a table and return True. If it has errors, print them and return False.

    Print warnings. At a terminal, also print the next starts.
    """
    from jobqueued.ctl.crontab.crontab_check import check

    verdict = check(text, file, owner.name, paths)
    if verdict.errors:
        _to_stderr("\n".join(verdict.errors))
        return False
    table.install(with_header(text, file, time.ctime(), f"jobqueued {__version__}"), stamp)
    if not table.is_run:
        _to_stderr(f"crontab: stored, but no program runs it: {paths.config} has no `cron: {{live: true}}`")
    _to_stderr("\n".join(verdict.warnings))
    _tell_next(verdict.jobs)
    return True


def _tell_next(jobs: tuple[Job, ...]) -> None:
    if sys.stderr.isatty():
        from jobqueued.ctl.crontab.crontab_check import next_starts

        for line in next_starts(jobs):
            _to_stderr(f"next: {line}")


def _to_stderr(text: str) -> None:
    if text:
        print(text.removesuffix("\n"), file=sys.stderr, flush=True)


@click.command()
@click.option(
    "-u",
    "--user",
    type=click.UNPROCESSED,  # crontab(1) takes "" for a user who does not exist
    metavar="USER",
    help="Use the crontab of this user instead of your own.  For root only.",
)
@click.option("-l", "--list", "acts", flag_value="-l", help="Print the crontab.")
@click.option(
    "-e", "--edit", "acts", flag_value="-e", help="Edit the crontab with $VISUAL, $EDITOR or sensible-editor."
)
@click.option("-r", "--remove", "acts", flag_value="-r", help="Remove the crontab.")
@click.option("-i", "--ask", is_flag=True, help="Ask before the crontab is removed.")
@click.option("-n", "--check", is_flag=True, help="Check FILE, and install nothing.")
@click.argument("file", required=False, type=click.Path(readable=False))
@json_option
@click.pass_obj
def crontab(
    paths: Paths, user: str | None, acts: str | None, ask: bool, check: bool, file: str | None, as_json: bool
) -> NoReturn:
    """Install FILE as a crontab, or list, edit or remove one.

    This is jobqueued's crontab program, with the same messages and exit statuses: see jobqueue-crontab(1).  A FILE of -
    means standard input.  --json works with -l, and prints the text and the jobs that the daemon made from it.

    \b
    Examples:
      jobqueuectl crontab -e
      jobqueuectl crontab -n my-crontab
      jobqueuectl crontab -l --json
    """
    if paths.runtime is not None:
        remedy = "crontab -l | jobqueuectl --user import --kind user --write -"
        raise click.UsageError(f"a user's own instance runs no crontabs; yours as a job file: {remedy}")
    if as_json:
        if acts != "-l" or file is not None:
            raise click.UsageError("--json is for `crontab -l` alone.")
        try:
            print_json(_document(user, paths))
        except SpoolFailure as failure:
            raise CallRefused(str(failure)) from None
        sys.exit(0)
    named = [] if user is None else ["-u", user]
    words = [*named, *([acts] if acts else []), *["-i"] * ask, *["-n"] * check, *([] if file is None else ["--", file])]
    sys.exit(main(words, paths))
