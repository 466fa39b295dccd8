"""A call of a telemetry hook. The keeper, a fork of the supervisor, starts the hook and ends all its processes.

The hook has the job's user, environment and limits. It has a separate cgroup with the same caps, so that its resource
use does not count for the run. The keeper is a subreaper between hook and supervisor, so processes that a hook leaves
do not count as run processes. The keeper ends these processes before it answers, or when the supervisor no longer waits
for the answer.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from typing import NoReturn, cast

from jobqueued.child.contract import wire
from jobqueued.child.contract.documents import Hook, LaunchSpec, Record
from jobqueued.child.contract.json_values import compact
from jobqueued.child.contract.signals import signal_name
from jobqueued.child.contract.text import last_line, printable
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.hooks import telemetry
from jobqueued.child.processes import tree
from jobqueued.child.processes.cgroup import Cgroup
from jobqueued.child.processes.title import entitle
from jobqueued.child.start import spawn
from jobqueued.child.start.caps import Caps
from jobqueued.child.start.identity import StartFailed
from jobqueued.child.start.starting import start

NAME, CGROUP = "jq-hook", ".hook"
"""Name of a keeper, and suffix of the cgroup of an attempt's hooks."""
_CHUNK, _TAIL = 1 << 16, 4096
_SHOWN = 300
"""Maximum characters in the reason for a hook's failure."""


class Keeper(NamedTuple):
    """A live keeper, and the descriptor for its answer."""

    pid: int
    answer: int


class _OutOfTime(Exception):
    """The hook's timeout expired."""


class _NotAwaited(Exception):
    """The supervisor no longer waits for the answer."""


class _HookFailed(Exception):
    """The hook failed; str() is the reason."""


def start_hook(name: str, order: LaunchSpec, hook: Hook, moment: str, record: Record, home: int) -> Keeper:
    """Start an attempt's hook for this moment. Raises OSError. `home`: place of cgroups."""
    answer, writing = os.pipe2(os.O_CLOEXEC)
    try:
        os.set_blocking(answer, False)
        pid = os.fork()
        if not pid:
            _become(name, order, hook, moment, record, home, writing)
    except OSError:
        os.close(answer)
        raise
    finally:
        os.close(writing)
    tree.apart.add(pid)
    return Keeper(pid, answer)


def understood(answer: bytes) -> telemetry.Telemetry:
    """Return the object in the keeper's answer. Raises TelemetryRefused if the hook failed."""
    trouble, whole, said = answer.partition(b"\n")
    if trouble or not whole:
        raise telemetry.TelemetryRefused(trouble.decode(errors="replace") or "its keeper was killed")
    found: telemetry.Telemetry = json.loads(said)
    return found


def _become(name: str, order: LaunchSpec, hook: Hook, moment: str, record: Record, home: int, writing: int) -> NoReturn:
    try:
        signal.set_wakeup_fd(-1)
        _close_others({0, 1, 2, home, writing, *tree.hold_children()})
        spawn.call_ourselves(NAME)
        entitle(NAME, name, moment)
        spawn.become_subreaper()
        environment = {**order["environment"], "JOBQUEUE_HOOK": moment}
        own = {"command": hook["command"], "stdin": wire.encode(record).decode(), "environment": environment}
        cgroup = Cgroup(home, name + CGROUP)
        answer = _answer(cast("LaunchSpec", {**order, **own}), hook, cgroup, writing)
        while answer:
            answer = answer[os.write(writing, answer) :]
    except BrokenPipeError:
        pass
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(0)


def _close_others(ours: set[int]) -> None:
    """Close all other descriptors, because a keeper with R/control or a lock file open would look like a supervisor."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in ours:
            try:
                os.close(int(name))
            except OSError:  # the listing's own descriptor
                continue


def _answer(order: LaunchSpec, hook: Hook, cgroup: Cgroup, writing: int) -> bytes:
    """Return a newline and the hook's object, or the failure's reason and a newline, or b"" if no process waits."""
    try:
        return b"\n" + compact(_said(order, hook["timeout"], cgroup, writing)).encode()
    except _NotAwaited:
        return b""
    except _OutOfTime:
        why = f"did not end within {hook['timeout']:g} s, and was killed"
    except StartFailed as failure:
        why = f"could not be started: {failure}"
    except OSError as error:
        why = f"could not be started: {error.strerror}"
    except (_HookFailed, telemetry.TelemetryRefused) as error:
        why = str(error)
    finally:
        tree.end_all(0)
        cgroup.remove()
    return printable(why)[:_SHOWN].encode(errors="replace") + b"\n"


def _said(order: LaunchSpec, seconds: float, cgroup: Cgroup, writing: int) -> telemetry.Telemetry:
    def ring(*_: object) -> NoReturn:
        raise _OutOfTime

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        caps = Caps(order, cgroup)
        pid, output, errors = _started(order, cgroup, caps)
        return _followed(pid, output, errors, caps, writing)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _started(order: LaunchSpec, cgroup: Cgroup, caps: Caps) -> tuple[int, int, int]:
    """Start the hook. Return its pid and the descriptors of its stdout and stderr."""
    output, its_output = os.pipe2(os.O_CLOEXEC)
    errors, its_errors = os.pipe2(os.O_CLOEXEC)
    pid = start(order, cgroup, caps, its_output, its_errors).pid
    os.close(its_output)
    os.close(its_errors)
    return pid, output, errors


def _followed(pid: int, output: int, errors: int, caps: Caps, writing: int) -> telemetry.Telemetry:
    """Wait until the hook ends, and return its output."""
    said, tail = b"", b""
    ending = os.pidfd_open(pid)
    poll = select.poll()
    for descriptor in (ending, output, errors):
        poll.register(descriptor, select.POLLIN)
    poll.register(writing, 0)
    ready: dict[int, int] = {}
    while ending not in ready or ready.keys() & {output, errors}:
        ready = dict(poll.poll())
        if writing in ready:
            raise _NotAwaited
        for descriptor in ready.keys() & {output, errors}:
            if not (data := os.read(descriptor, _CHUNK)):
                poll.unregister(descriptor)
            elif descriptor == errors:
                tail = (tail + data)[-_TAIL:]
            elif len(said := said + data) > telemetry.MOST:
                raise telemetry.TelemetryRefused(f"printed more than {telemetry.MOST:,} bytes")
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise _HookFailed(_failure(code, caps, last_line(tail)))
    return telemetry.said(said)


def _failure(code: int, caps: Caps, line: str) -> str:
    how = f"exit code {code}"
    if code < 0:
        why = caps.killed() if code == -signal.SIGKILL else None
        how = why or f"ended by signal {-code} ({signal_name(-code)})"
    return f"{how}: {line}" if line else how
