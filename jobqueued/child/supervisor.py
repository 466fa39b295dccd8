"""A supervisor carries out attempts one after another: it starts the job, pumps the output, waits, writes the record.

A supervisor outlives the scheduler and the launcher, so it writes to R before it sends a notice. It is a subreaper and
inherits all processes that the job leaves behind, so a run is over when no child process is left.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import sys
from typing import NoReturn

from jobqueued.child import sending, watching
from jobqueued.child.attempt.attempt import Attempt
from jobqueued.child.attempt.shutdown import Shutdown
from jobqueued.child.contract import atomic_file, wire
from jobqueued.child.processes import cgroup, process, tree
from jobqueued.child.processes.title import entitle
from jobqueued.child.report.budget import CommonBudget
from jobqueued.child.report.marks import Marks
from jobqueued.child.spool import spool_orders
from jobqueued.child.start import identity, spawn

NAME, _IDLE = "jq-supervisor", "idle"
"""Process name, and an idle supervisor's title. During an attempt, the title has the attempt's name."""
MOST_ATTEMPTS = 1000
"""Number of attempts after which a supervisor is replaced, to limit the effect of memory leaks in libraries."""
JOB_NOFILE = 1024
"""Soft limit of open files for jobs, low because programs that use select(2) need it."""
_MSG_CMSG_CLOEXEC = 0x40000000

QUESTION = "account "
"""Prefix of an order to look up a user or group. Supervisors do this because the host's databases may be slow."""
NOTIFY = "notify "
"""Prefix of an order to send a notice. A descriptor for the notice comes with the order."""
CRONTAB = "crontab "
"""Prefix of an order about a user's crontab. A descriptor for the details comes with the order."""
_ASKING_SECONDS = 60


def become(launcher: socket.socket, common: CommonBudget, home: int, inherited: list[int]) -> NoReturn:
    """Turn a fork of the launcher into a supervisor; `inherited` are the launcher's own descriptors."""
    status = 1
    try:
        for descriptor in inherited:
            os.close(descriptor)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        spawn.call_ourselves(NAME)
        wire.limit_files(JOB_NOFILE)
        spawn.become_subreaper()
        try:
            tree.hold_children()
        except OSError as error:
            raise SystemExit(f"{NAME}: cannot start: {error.strerror}") from None
        serve(launcher, common, home)
        status = 0
    except SystemExit as error:
        print(error, file=sys.stderr, flush=True)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def serve(launcher: socket.socket, common: CommonBudget, home: int) -> None:
    """Carry out attempts and orders until the launcher exits. `home`: see cgroup.prepare."""
    try:
        wakeups, wakeup = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SystemExit(f"{NAME}: cannot start: {error.strerror}") from None
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    parent = process.stat(os.getppid())
    shutdown = Shutdown(1 if parent is None else parent.parent)
    gone = _gone(launcher)
    cgroups = cgroup.SupervisorCgroups(home, cgroup.membership())
    last, attempts = "", 0
    entitle(NAME, _IDLE)
    while (order := _receive(launcher, gone)) is not None:
        name, directory = order
        if directory < 0:
            if name == wire.SYNC:
                atomic_file.sync(last)
            elif not _is_sent(launcher, _answer(name)):
                return
            continue
        if name == watching.WATCH:
            watching.become(launcher, directory)
        if name.startswith((NOTIFY, CRONTAB)):
            if not _carried_out(launcher, name, directory, home):
                return
            continue
        if shutdown.began():
            return  # the host shuts down, so no attempt starts
        attempts += 1
        marks = Marks(directory, name)
        attempt = Attempt(marks, launcher, wakeups, shutdown, common, cgroups, last=attempts >= MOST_ATTEMPTS)
        entitle(NAME, name)
        try:
            last = attempt.carry_out()
        finally:
            os.close(directory)
            entitle(NAME, _IDLE)
        if gone.poll(0) or shutdown.began():
            atomic_file.sync(last)
        if attempt.leaves:
            return


def _carried_out(launcher: socket.socket, name: str, order: int, home: int) -> bool:
    """Send a notice or handle an order about a crontab, and report the result. Return False if the launcher exited."""
    verb, _, number = name.partition(" ")
    answer, parts = sending.send(order, home) if verb + " " == NOTIFY else spool_orders.carry_out(order)
    os.close(order)
    lines = [*(f"part {number} {part}" for part in parts), f"notified {number} {answer}"]
    return all(_is_sent(launcher, line.encode(errors="replace")) for line in lines)


def _is_sent(launcher: socket.socket, notice: bytes) -> bool:
    """Send a notice to the launcher. Return False if the launcher exited."""
    try:
        launcher.send(notice)
    except OSError:
        return False
    return True


def _answer(order: str) -> bytes:
    """Answer a question about an account, or refuse an order whose descriptor is missing.

    If the user database hangs, an alarm kills this supervisor, and the launcher repeats the question. A descriptor is
    missing only if this process has too many open files.
    """
    if not order.startswith(QUESTION):
        why = f"supervisor: {os.strerror(errno.EMFILE)}"
        is_attempt = not order.startswith((NOTIFY, CRONTAB))
        return (
            f"unstarted {order} {why}" if is_attempt else f"notified {order.partition(' ')[2]} later 0 {why}"
        ).encode()
    number, kind, name = order.removeprefix(QUESTION).split(" ", 2)
    signal.alarm(_ASKING_SECONDS)
    about = json.loads(name)
    answer = identity.name_of(about) if kind == wire.NAME_OF else identity.trouble_with(kind, about)
    signal.alarm(0)
    return f"{QUESTION}{number} {answer[:200]}".encode(errors="replace")


def _receive(launcher: socket.socket, gone: select.poll) -> tuple[str, int] | None:
    """Return the next order's name and descriptor (R for an attempt, -1 if missing).

    Return None if the launcher exited.
    """
    try:
        data, ancillary, _flags, _address = launcher.recvmsg(wire.NOTICE, socket.CMSG_SPACE(4), _MSG_CMSG_CLOEXEC)
    except ConnectionResetError:  # the launcher died before it read all our notices
        return None
    directory = int.from_bytes(ancillary[0][2][:4], "little") if ancillary else -1
    if not data or (directory >= 0 and gone.poll(0)):
        return None
    return data.decode(), directory


def _gone(launcher: socket.socket) -> select.poll:
    """Return a poll object that becomes ready when the launcher exits."""
    poll = select.poll()
    poll.register(launcher, 0)
    return poll
