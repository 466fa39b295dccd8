"""A program that gets a notice. At the end of the try's time, its process group is killed.

As a channel, it gets the event as JSON, and its exit code is the verdict.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
from collections.abc import Mapping

from jobqueued.child.contract.signals import signal_name
from jobqueued.child.contract.text import last_line, printable
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.notifier.notice import VERSION, Later, Never, NoticeToSend, OutOfTime

TEMPORARY = 75
"""EX_TEMPFAIL of sysexits(3)."""
_PASSING = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY})
_TAIL = 4096
_LONGEST_VARIABLE = 4096


class Ended(NamedTuple):
    """The end of a program: its exit code, and the last line of its stderr."""

    code: int
    said: str


def send(notice: NoticeToSend) -> None:
    """Pass the notice to a command: an absolute path, or a list that begins with an absolute path."""
    target = notice.target
    words = [target] if isinstance(target, str) else target
    event = notice.event
    variables = {"EVENT": event["event"], "JOB": event.get("job"), "RUN": event.get("run"), "SUMMARY": event["summary"]}
    own = {f"JOBQUEUE_{name}": printable(value or "")[:_LONGEST_VARIABLE] for name, value in variables.items()}
    ended = run(notice, words, document(notice), own)
    if ended.code == TEMPORARY:
        raise Later(f"{words[0]}: exit code {ended.code}{ended.said}")
    if ended.code:
        raise Never(f"{words[0]}: exit code {ended.code}{ended.said}; to be retried, it must exit with {TEMPORARY}")


def document(notice: NoticeToSend) -> bytes:
    """Return the event as JSON for programs, with the id that lets receivers drop duplicates."""
    return json.dumps({"version": VERSION, "id": notice.id, **notice.event}).encode()


def run(notice: NoticeToSend, words: list[str], data: bytes, variables: Mapping[str, str]) -> Ended:
    """Run a program with `data` on stdin. Raises Later or Never if it can't start, is killed or times out."""
    program = words[0]
    if not program.startswith("/") or any("\0" in word for word in words):
        raise Never(f"{notice.channel}: {program}: expected an absolute path")
    reading, writing = os.pipe2(os.O_CLOEXEC)
    memory = os.memfd_create("notice")
    try:
        with open(memory, "wb", closefd=False) as file:
            file.write(data)
        os.lseek(memory, 0, os.SEEK_SET)
        pid = _start(words, variables, memory, writing)
        os.close(writing)
        writing = -1
        return _follow(pid, reading, notice, program)
    finally:
        for descriptor in {reading, writing, memory} - {-1}:
            os.close(descriptor)


def _start(words: list[str], variables: Mapping[str, str], stdin: int, stderr: int) -> int:
    actions = [
        (os.POSIX_SPAWN_DUP2, stdin, 0),
        (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
        (os.POSIX_SPAWN_DUP2, stderr, 2),
    ]
    environment = os.environ | variables
    try:
        return os.posix_spawn(
            words[0],
            words,
            environment,
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=sorted(signal.valid_signals()),
        )
    except OSError as error:
        raise (Later if error.errno in _PASSING else Never)(f"{words[0]}: {error.strerror}") from None


def _follow(pid: int, reading: int, notice: NoticeToSend, program: str) -> Ended:
    """Wait until the program ends, and save the end of its stderr. Do not wait for processes that it leaves behind."""
    ending, tail, status = os.pidfd_open(pid), b"", None
    poll = select.poll()
    poll.register(ending, select.POLLIN)
    poll.register(reading, select.POLLIN)
    try:
        while status is None:
            ready = dict(poll.poll())
            if reading in ready:
                data = os.read(reading, 1 << 16)
                tail = (tail + data)[-_TAIL:]
                if not data:
                    poll.unregister(reading)
            if ending in ready:
                status = os.waitpid(pid, 0)[1]
    except OutOfTime:
        raise Later(f"{program} did not end within {notice.seconds:.3g} s, and was killed") from None
    finally:
        os.close(ending)
        if status is None:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    said = f": {notice.quoted(line)}" if (line := last_line(tail)) else ""
    if code < 0:
        raise Later(f"{program} was ended by signal {-code} ({signal_name(-code)}){said}")
    return Ended(code, said)
