"""jobqueuectl edit, add, remove, files: users' job files, which the daemon stores."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from jobqueued.base.filenames import named
from jobqueued.base.problem import Problem
from jobqueued.base.text import counted, printable, size
from jobqueued.child.contract.trust import FileRefused as Distrusted
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base import editor
from jobqueued.ctl.base.client import CallRefused, DaemonUnreachable, ask
from jobqueued.ctl.base.problems import print_problems
from jobqueued.ctl.base.terminal import json_option, local, print_json, print_line, print_table, reaching
from jobqueued.model.users import LARGEST_FILE
from jobqueued.settings.paths import Paths

TEMPLATE = """\
# Your own jobs.  The daemon stores this file and runs its jobs as you.  For all keys: man jobqueue.d
#
# jobs:
#   backup:
#     command: tar -czf backups/mail.tgz mail
#     schedule: "0 5 * * 1"          # minute hour day month weekday
#     notify: {email: your-name}     # if it fails
"""
_SECONDS = 90.0
"""Timeout of a call (s), longer than the daemon's wait for a user database."""
_USUAL = "jobs"

_user_option = click.option("--user", metavar="NAME", help="Use the files of this user.  For root only.")


def _name(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    try:
        return None if text is None else named(text)
    except ValueError as wrong:
        raise click.BadParameter(f"found {printable(str(wrong))}") from None


@click.command()
@click.argument("file", type=click.Path(path_type=Path, readable=False))
@click.option("--name", callback=_name, metavar="NAME", help="Store the file under this name.  [default: FILE's name]")
@_user_option
@json_option
@click.pass_obj
def add(paths: Paths, file: Path, name: str | None, user: str | None, as_json: bool) -> None:
    """Add one of your job files to the daemon.

    The daemon stores a copy of FILE and runs its jobs as you.  To change the jobs later, edit the copy (jobqueuectl
    edit NAME), or add FILE again, which replaces the copy.  A FILE of - means standard input.  Alice's job backup is
    shown as alice/backup, so other users and the host can use the same id.

    The command lists problems.  A file with an error is not stored.  Otherwise the command prints the next three
    starts.

    Exits 1 if the file is not stored.

    \b
    Examples:
      jobqueuectl add backup.yaml
      generate-jobs | jobqueuectl add - --name generated
    """
    from jobqueued.ctl.files.job_units import STANDARD_INPUT, read_file

    if name is None:
        if file == STANDARD_INPUT:
            raise click.UsageError("a file from standard input needs a name: --name NAME")
        name = _name_of(file)
    try:
        text = read_file(file)
    except OSError as error:
        raise DaemonUnreachable(f"{printable(str(file))}: {error.strerror}") from None
    except Distrusted as refused:
        raise DaemonUnreachable(f"{printable(str(file))}: {refused}") from None
    answer = _set(paths, name, text, user, None)
    if as_json:
        print_json(answer)
    else:
        _print(name, answer)
    sys.exit(0 if answer["stored"] else 1)


def _name_of(file: Path) -> str:
    try:
        return named(file.name)
    except ValueError as wrong:
        raise click.UsageError(f"found the name {printable(str(wrong))}; to use another name: --name NAME") from None


@click.command()
@click.argument("file", callback=_name)
@_user_option
@click.pass_obj
def remove(paths: Paths, file: str, user: str | None) -> None:
    """Remove one of your job files and its jobs.

    Live runs continue; waiting runs are skipped.  Their records are saved as long as other records.

    With --user, root removes another user's files, even after that user was deleted.  `jobqueuectl files` lists them.

    \b
    Examples:
      jobqueuectl remove backup
      jobqueuectl remove --user alice:1000 backup
    """
    answer = ask(paths.control, "UserFileRemove", _SECONDS, name=file, user=user)
    print_line(f"removed {file} with {_listed(answer['jobs'])}")


@click.command()
@click.argument("file", required=False, callback=_name)
@_user_option
@json_option
@click.pass_obj
def files(paths: Paths, file: str | None, user: str | None, as_json: bool) -> None:
    """List your job files that the daemon stores.

    With FILE, the command prints that file.  For root, it lists all users' files.

    Exits 1 if FILE does not exist.

    \b
    Examples:
      jobqueuectl files
      jobqueuectl files backup
    """
    if file is not None:
        answer = ask(paths.control, "UserFileGet", _SECONDS, name=file, user=user)
        if answer["stamp"] == "none":
            raise CallRefused(f"{printable(answer['user'])} has no job file {file}; see: jobqueuectl files")
        if as_json:
            print_json({"name": file, **answer})
        else:
            sys.stdout.buffer.write(base64.b64decode(answer["text"]))
        return
    answer = ask(paths.control, "UserFiles", _SECONDS, user=user)
    if as_json:
        print_json(answer)
        return
    whose = os.geteuid() == 0 and user is None
    if not answer["files"]:
        whom = f" --user {user}" if user is not None else " --user NAME" if whose else ""
        print_line(reaching(f"no job files; to make one: jobqueuectl edit{printable(whom)}"))
        return
    rows = [
        (*([f"{row['user']}:{row['uid']}"] if whose else []), row["name"], *_condition(row)) for row in answer["files"]
    ]
    print_table((*(["USER"] if whose else []), "FILE", "JOBS", "PROBLEM"), rows)
    if answer["more"]:
        print_line(reaching(f"and {answer['more']} more; see: jobqueuectl files --user NAME"))


def _condition(row: Message) -> tuple[str, str]:
    wrong = f"refused: {row['refused']}" if row["refused"] else f"invalid: {row['invalid']}" if row["invalid"] else ""
    return _listed(row["jobs"]), printable(wrong)


def _listed(jobs: list[str]) -> str:
    more = f" and {len(jobs) - 5} more" if len(jobs) > 5 else ""
    return (", ".join(jobs[:5]) or "no jobs") + more


@click.command()
@click.argument("file", default=_USUAL, callback=_name)
@_user_option
@click.pass_obj
def edit(paths: Paths, file: str, user: str | None) -> None:
    """Edit one of your job files in $VISUAL or $EDITOR.

    The editor opens a copy.  When the editor exits, the daemon checks the copy.  If the copy has an error, the command
    lists the error and lets you continue editing.  Otherwise the copy is in force at once, and the command prints its
    next three starts.  If FILE does not exist, it is created.  The default of FILE is `jobs`.

    If the daemon is unreachable, or the file was changed while you edited it, the command keeps your copy and prints
    its path.

    Exits 1 if the copy is not stored.

    \b
    Examples:
      jobqueuectl edit
      EDITOR=nano jobqueuectl edit backup
    """
    found = ask(paths.control, "UserFileGet", _SECONDS, name=file, user=user)
    text = base64.b64decode(found["text"]) if found["stamp"] != "none" else TEMPLATE.encode()
    try:
        directory = tempfile.mkdtemp(prefix="jobqueue.", dir=os.environ.get("TMPDIR") or "/tmp")
        copy = os.path.join(directory, f"{file}.yaml")
        with open(copy, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as stream:
            stream.write(text)
    except OSError as error:
        raise DaemonUnreachable(f"cannot make a copy to edit: {error.filename}: {error.strerror}") from None
    session = _FileEdit(paths, file, user, copy)
    sys.exit(session.last(text, found["stamp"]))


class _FileEdit:
    """An edit of a copy of a file."""

    def __init__(self, paths: Paths, name: str, user: str | None, copy: str) -> None:
        self._paths, self._name, self._user, self._copy = paths, name, user, copy

    def last(self, before: bytes, stamp: str) -> int:
        """Edit until the text is in force or the user gives up; return the exit status."""
        while True:
            edited = self._edited()
            if edited == before:
                print_line("nothing was changed")
                self._clean_up()
                return 0
            try:
                answer = _set(self._paths, self._name, edited, self._user, stamp)
            except DaemonUnreachable as unreachable:
                raise DaemonUnreachable(f"{unreachable.message}\n{self._kept()}") from None
            except CallRefused as refused:
                if refused.error != "Refused":
                    raise CallRefused(f"{refused.message}\n{self._kept()}", refused.error) from None
                print_line(refused.message, "error")
            else:
                _print(self._name, answer)
                if answer["stored"]:
                    self._clean_up()
                    return 0
            if editor.wants("Edit it again?") is not True:
                print_line(self._kept())
                return 1

    def _edited(self) -> bytes:
        trouble = editor.run(self._copy, "jobqueuectl").rstrip("\n")
        if trouble:
            raise CallRefused(f"{printable(trouble)}\n{self._kept()}")
        try:
            descriptor = os.open(self._copy, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with open(descriptor, "rb") as stream:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise CallRefused(f"{self._copy} is no longer a regular file; nothing was changed")
                return stream.read(LARGEST_FILE + 1)
        except OSError as error:
            raise CallRefused(f"{self._copy}: {error.strerror}; nothing was changed") from None

    def _kept(self) -> str:
        user = f" --user {self._user}" if self._user else ""
        return f"your copy is not deleted; to store it: jobqueuectl add{user} {printable(self._copy)}"

    def _clean_up(self) -> None:
        with contextlib.suppress(OSError):
            shutil.rmtree(os.path.dirname(self._copy))


def _set(paths: Paths, name: str, text: bytes, user: str | None, stamp: str | None) -> Message:
    """Send a file's text to the daemon to store, and return the reply."""
    if len(text) > LARGEST_FILE:
        raise CallRefused(
            f"the file has more than {size(LARGEST_FILE)}, the maximum; divide it into several files",
            "Refused",
        )
    encoded = base64.b64encode(text).decode()
    return ask(paths.control, "UserFileSet", _SECONDS, name=name, text=encoded, user=user, stamp=stamp)


def _print(name: str, answer: Message) -> None:
    """Print whether a string was accepted, its problems, and the next starts."""
    print_problems(Problem(**problem) for problem in answer["problems"])
    if not answer["stored"]:
        errors = sum(problem["severity"] == "error" for problem in answer["problems"])
        print_line(f"{name}: nothing was changed, because the file has {counted(errors, 'error')}")
        return
    active = [job["id"] for job in answer["jobs"] if not job["invalid"]]
    if answer["jobs"] and not active:
        print_line(f"{name} is saved, but none of its jobs can run")
    else:
        print_line(f"{name} is in force: {_listed(active)}")
    for job in answer["jobs"]:
        if job["invalid"]:
            print_line(f"{job['id']} does not run: {job['invalid']}", "warning")
    for start in answer["next"]:
        print_line(f"{local(start['at'], ZoneInfo(start['timezone']))}  {start['job']}")
