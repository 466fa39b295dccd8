"""Calls to the daemon over its control socket."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import click

from jobqueued.base.text import printable
from jobqueued.child.contract import unix_socket
from jobqueued.control.protocol.interface import NAME
from jobqueued.control.protocol.varlink import Decoder, Message, MessageError, encode
from jobqueued.ctl.base.terminal import localised, moment, reaching
from jobqueued.model.run_states import LIVE, PENDING
from jobqueued.settings.paths import OPERATORS

TIMEOUT = 10.0
_BUSY = f"{NAME}.Busy"
_SHORTEST, _LONGEST = 0.1, 2.0
"""Shortest and longest pause (s) between two tries while the daemon has no free connection; the pauses grow."""
_CROWDED = 0.01
"""Pause (s) between two tries to connect while the socket's backlog is full."""
_LIMIT = 1 << 28
"""Maximum size (bytes) of a reply; a list of 100,000 jobs takes 30 MiB."""

_WHO_MAY = "run this as root, or as a member of a group in `operators` or `readers` of jobqueued.yaml"
_RANKS = {"reader": _WHO_MAY, "operator": _WHO_MAY.replace(" or `readers`", ""), "root": "run this as root"}
_OWN_IDS = "ids of your own jobs begin with your name: NAME/…"
OWN_ONLY = "only your own jobs and their runs are shown"
_NO_JOB, _NO_RUN, _DENIED = f"{NAME}.NoSuchJob", f"{NAME}.NoSuchRun", f"{NAME}.PermissionDenied"
_REFUSALS = {
    _NO_JOB: "no such job: {job}; see: jobqueuectl list",
    _NO_RUN: "no such run: {run}, or its record has expired; see: jobqueuectl history",
    f"{NAME}.NoOutput": "no output of {run}: {reason}",
    f"{NAME}.Refused": "refused: {reason}",
    _BUSY: "refused: {reason}",
    _DENIED: "permission denied; {who_may}",
    f"{NAME}.NoCrontab": "no crontab for {user}",
    f"{NAME}.NotAllowed": "{user} is not allowed to use crontab; see: /etc/cron.allow, /etc/cron.deny",
    f"{NAME}.CrontabChanged": "the crontab was changed in the meantime",
    f"{NAME}.NoSuchUserFile": "no job file {name}; see: jobqueuectl files",
    f"{NAME}.UserFileChanged": "the job file {name} was changed in the meantime; see: jobqueuectl files {name}",
}


class DaemonUnreachable(click.ClickException):
    """Raised if the daemon does not reply, or sends an invalid reply.

    The message contains the cause, and the remedy if there is one.
    """

    exit_code = 2

    def __init__(self, seen: str, remedy: str = "", *, is_down: bool = False) -> None:
        """`is_down` means that certainly no daemon runs."""
        super().__init__(reaching(f"{seen}; {remedy}" if remedy else seen))
        self.seen, self.remedy, self.is_down = seen, remedy, is_down

    @property
    def state(self) -> str:
        """The daemon's state: "down" if certainly no daemon runs, else "unknown"."""
        return "down" if self.is_down else "unknown"

    def with_more(self, text: str) -> DaemonUnreachable:
        """Return the error, with `text` as another line if the daemon is down."""
        return DaemonUnreachable(f"{self.message}\n{text}", is_down=True) if self.is_down and text else self


class CallRefused(click.ClickException):
    """Raised if the daemon refuses a call."""

    exit_code = 1

    def __init__(self, message: str, error: str = "") -> None:
        """`error` is the error's name in the interface, or ""."""
        super().__init__(reaching(message))
        self.error = error


def ask(control: Path, method: str, timeout: float | None = TIMEOUT, **parameters: object) -> Message:
    """Call a method of `interface.INTERFACE` and return the reply's parameters.

    `timeout` is the maximum time (s) without a reply. Raises DaemonUnreachable or CallRefused, whose messages name the
    cause and the remedy. Prints a warning on stderr if the daemon could not save the call's effect.
    """
    with Call(control, method, timeout, **parameters) as call:
        answer = call.answer()
    if unsaved := answer.get("unsaved"):
        click.echo(f"Warning: {printable(unsaved)}", err=True)
    return answer


class Call:
    """A call on a separate connection. `answer` waits for the reply; `fileno` is readable when the reply has arrived.

    If the daemon has no free connection, retries for `timeout` seconds, and prints a message once on stderr.
    """

    _more = False

    def __init__(self, control: Path, method: str, timeout: float | None = TIMEOUT, **parameters: object) -> None:
        self._control, self._timeout = control, timeout
        self._ends = None if timeout is None else time.monotonic() + timeout
        self._pause = _SHORTEST
        self._call = encode({"method": f"{NAME}.{method}", "parameters": parameters, "more": self._more})
        with self._explaining():
            self._begin()

    def _begin(self) -> None:
        self._decoder, self._replies = Decoder(_LIMIT), list[Message]()
        self._peer = connected(self._control, self._timeout)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused: the reply has the reason
            self._peer.sendall(self._call)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._peer.close()

    def fileno(self) -> int:
        """Return the connection's descriptor."""
        return self._peer.fileno()

    def is_answered(self, seconds: float | None = 0) -> bool:
        """Wait at most `seconds` (None means no limit). Return whether the reply has arrived.

        Raises DaemonUnreachable.
        """
        if not self._replies and not select.select([self], [], [], seconds)[0]:
            return False
        with self._explaining():
            if not self._replies:
                self._replies.append(self._reply())
            return not self._is_turned_away()

    def answer(self) -> Message:
        """Return the next reply's parameters. Raises CallRefused or DaemonUnreachable."""
        reply = self.reply()
        if "error" in reply:
            raise _refusal(reply, self._control)
        answer: Message = reply["parameters"]
        return answer

    def reply(self) -> Message:
        """Return the next reply, which may be an error. Raises DaemonUnreachable."""
        with self._explaining():
            while True:
                reply = self._reply()
                self._replies.insert(0, reply)
                if not self._is_turned_away():
                    break
            return self._replies.pop(0)

    def _is_turned_away(self) -> bool:
        """If the daemon has no free connection, repeat the call after a pause and return True."""
        reply = self._replies[0]
        if reply.get("error") != _BUSY or (self._ends is not None and time.monotonic() + self._pause > self._ends):
            return False
        if self._pause == _SHORTEST:
            click.echo(printable(f"{localised(reply['parameters']['reason'])}; trying again"), err=True)
        time.sleep(self._pause * (1 + os.getpid() % 8 / 8))  # varied, so that clients that arrive together spread out
        self._pause = min(2 * self._pause, _LONGEST)
        self._peer.close()
        self._begin()
        return True

    def _reply(self) -> Message:
        while not self._replies:
            if not (data := self._peer.recv(1 << 20)):
                raise ConnectionError(0, "it closed the connection without an answer")
            self._replies += self._decoder.feed(data)
        return self._replies.pop(0)

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except (OSError, MessageError) as error:
            cause, remedy = _cause(error, self._control)
            seen = f"cannot reach the daemon at {printable(str(self._control))}: {cause}"
            raise DaemonUnreachable(seen, remedy, is_down=isinstance(error, _NOT_THERE)) from None


class ReplyStream(Call):
    """A call with several replies."""

    _more = True


def own_only(control: Path) -> str:
    """Return a sentence for users who see only their own jobs, or "" for users who see all jobs."""
    with contextlib.suppress(OSError, DaemonUnreachable, CallRefused):
        if os.geteuid() in (0, os.stat(control).st_uid):
            return ""
        try:
            ask(control, "Notices")
        except CallRefused as error:
            if error.error == "PermissionDenied":
                return f"{OWN_ONLY}; for all, {_WHO_MAY}"
    return ""


def warn_of_own_only(control: Path) -> None:
    """If the user sees only their own jobs, print a notice on stderr."""
    if words := own_only(control):
        click.echo(words[0].upper() + words[1:], err=True)


@contextlib.contextmanager
def meanwhile(text: str) -> Iterator[None]:
    """If a call in this block fails because the daemon is down, add `text` to the error."""
    try:
        yield
    except DaemonUnreachable as down:
        raise down.with_more(text) from None


_NOT_THERE = (FileNotFoundError, ConnectionRefusedError)


def connected(control: Path, timeout: float | None) -> socket.socket:
    """Connect to the daemon. Prefer the socket for root and operators, because other users can't block it. Raises
    OSError.
    """
    try:
        return _by(control.with_name(OPERATORS), timeout)
    except (*_NOT_THERE, PermissionError):
        return _by(control, timeout)


def _by(path: Path, timeout: float | None) -> socket.socket:
    """Connect through a socket; retry while its backlog is full. Raises TimeoutError or another OSError."""
    ends = None if timeout is None else time.monotonic() + timeout
    while True:
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(timeout)
        try:
            unix_socket.connect(peer, str(path))
        except BlockingIOError:
            peer.close()
            if ends is not None and time.monotonic() > ends:
                raise TimeoutError from None
            time.sleep(_CROWDED)
        except OSError:
            peer.close()
            raise
        else:
            return peer


def _cause(error: OSError | MessageError, control: Path) -> tuple[str, str]:
    """Return the cause of a failed call, and its remedy or "" if there is none."""
    from jobqueued.settings.instance import Instance

    match error:
        case _ if isinstance(error, _NOT_THERE):
            start = printable(Instance.of(control.parent).start)
            return "it is not running", f"start it (`{start}`), or choose another daemon with --user, --root or --run"
        case PermissionError():
            return "permission denied", _WHO_MAY
        case TimeoutError():
            return "no answer in time", Instance.of(control.parent).see_log
        case OSError():
            return str(error.strerror), Instance.of(control.parent).see_log
    return f"another program listens on this socket ({error})", ""


def _refusal(reply: Message, control: Path) -> click.ClickException:
    name, parameters = reply["error"], reply.get("parameters", {})
    if name == _NO_JOB and (it := removed(control).get(parameters["job"])):
        return CallRefused(it)
    if name in (_NO_JOB, _NO_RUN) and (near := _nearest(name, parameters, control)):
        return CallRefused(near, name.removeprefix(f"{NAME}."))
    if name == _DENIED:
        needs = parameters.get("needs") or "reader"
        parameters = {"who_may": _RANKS.get(needs, _WHO_MAY) + f"; {_OWN_IDS}" * (needs != "root")}
    if name in _REFUSALS:
        error = name.removeprefix(f"{NAME}.")
        if parameters.get("program") == "at":
            return CallRefused("You do not have permission to use at.", error)
        return CallRefused(printable(localised(_REFUSALS[name].format_map(parameters))), error)
    remedy = "if the daemon and jobqueuectl have different versions, restart the daemon"
    return DaemonUnreachable(printable(f"the daemon replied {name} {parameters}"), remedy)


def removed(control: Path) -> dict[str, str]:
    """Return a sentence for each overdue job that is in no job file; {} if the daemon does not answer."""
    try:
        found = [one for one in ask(control, "Status")["attention"] if one["kind"] == "overdue"]
        known = {row["id"] for row in ask(control, "List")["jobs"]} if found else set()
    except (CallRefused, DaemonUnreachable):
        return {}
    gone = {one["job"]: one["since"] for one in found if one["job"] not in known}
    so = "no job file contains {0}, which has been overdue since {1}; to stop expecting it: jobqueuectl forget {0}"
    return {job: printable(so.format(job, moment(since))) for job, since in gone.items()}


def has_record(control: Path, name: str) -> bool:
    """Return whether the daemon has a record of the run, or of any run of the job; False if the daemon does not
    answer.
    """
    method, asked = ("Show", {"run": name}) if "@" in name else ("History", {"job": name, "limit": 1})
    with contextlib.suppress(DaemonUnreachable), Call(control, method, **asked) as call:
        told = call.reply().get("parameters", {})  # the message of a refusal would look for a record again
        runs = [told["record"]] if "record" in told else told.get("runs", [])
        return any(name in (run["run"], run["job"]) for run in runs)
    return False


def describe_ended(job: str) -> str:
    """Return a sentence about an ended submission or a removed job, with the command that shows its runs."""
    seen = "has ended" if job.startswith("host/") else "has ended, or its file was removed"
    return f"{printable(job)} {seen}; its runs: jobqueuectl history {printable(job)}"


def _not_a_run(control: Path, job: str) -> str:
    """Return a sentence about a job that is no run, with its unfinished runs, which a user probably means."""
    found: list[str] = []
    with contextlib.suppress(CallRefused, DaemonUnreachable):
        runs = ask(control, "Describe", job=job)["runs"]
        found = [run["run"] for run in runs if run["state"] in LIVE | PENDING]
    named = f"unfinished: {', '.join(found)}; for all" if found else "for"
    return printable(f"{job} is a job, not a run; {named} its runs: jobqueuectl history {job}")


def _nearest(error: str, parameters: Message, control: Path) -> str:
    """Return a sentence about an unknown job or run with a hint, such as the most similar name, or "" if there is no
    hint.
    """
    wanted = str(parameters["job" if error == _NO_JOB else "run"])
    job, at, number = wanted.partition("@") if error == _NO_RUN else (wanted, "", "")
    try:
        jobs = [row["id"] for row in ask(control, "List")["jobs"]]
    except (CallRefused, DaemonUnreachable):
        return ""
    if error == _NO_RUN and not at and job in jobs:
        return _not_a_run(control, job)
    is_over = "/" in job and job not in jobs and has_record(control, job)
    if is_over and not at:
        return describe_ended(job)
    if at and (is_over or job in jobs):
        return printable(f"no such run: {wanted}, or its record has expired; see: jobqueuectl history {job}")
    from jobqueued.jobfile.types.spelling import nearest

    near = nearest(job, jobs) if jobs and job not in jobs else ""
    if near and error == _NO_RUN and not at:
        return printable(
            f"no such run: {wanted}; did you mean a run of {near}? To see them: jobqueuectl history {near}"
        )
    kind = "run" if error == _NO_RUN else "job"
    return f"no such {kind}: {printable(wanted)}; did you mean {near}{at}{number}?" if near else ""
