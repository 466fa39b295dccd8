"""The notifier: sends one notice, says in one line what became of it, and is gone.

    python3 -I notifier/main.py <NOTICE

What it is told is a JSON object (`notice.Notice`, with a `version`), what it says is ``sent``, ``later SECONDS TEXT``
or ``never TEXT``, before that the same of pings, behind their numbers.  Who starts it bounds its memory, and kills it
if it has not ended within a minute: its own alarm comes before, but not while a name server keeps the C library
waiting.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

if __name__ == "__main__":  # started as a file, it is not in a package yet
    sys.path.append(os.path.dirname(os.path.abspath(f"{__file__}/../../..")))

from jobqueued.child.notifier import notice
from jobqueued.child.notifier.notice import Later, Never, Notice, OutOfTime
from jobqueued.child.text import printable

_LONGEST = 300
_PR_SET_DUMPABLE = 4


def send(data: bytes) -> str:
    """Send a notice; the verdict, one printable line without a secret, below those on parts with their numbers."""
    try:
        given = notice.read(data)
    except Never as error:
        return _worded(error)
    verdict = _sent(given)
    return "\n".join([*(f"{part} {_worded(error)}" for part, error in given.parts), verdict])


def _sent(given: Notice) -> str:
    try:
        channel = _channel(given.channel)
        with _alarm(given.seconds), _bounded(given):
            channel(given)
    except (Later, Never) as error:
        return _worded(error)
    except OutOfTime as error:
        return f"later 0 {_line(str(error))}"
    except MemoryError:
        return "later 0 the memory of a notifier does not suffice; attach less (attach_limit)"
    except Exception as error:  # what it says might be a secret
        return f"later 0 a bug of jobqueued: {type(error).__name__} at {_place(error)}; please report it"
    return "sent"


def _worded(verdict: Later | Never | None) -> str:
    if verdict is None:
        return "sent"
    word = "never" if isinstance(verdict, Never) else f"later {verdict.seconds}"
    return f"{word} {_line(str(verdict))}"


def _channel(name: str) -> Callable[[Notice], None]:
    """The channel of a name; its libraries are loaded now."""
    match name:
        case "email":
            from jobqueued.child.notifier.mail import send
        case "webhook":
            from jobqueued.child.notifier.webhook import send
        case "command":
            from jobqueued.child.notifier.program import send
        case "apprise":
            from jobqueued.child.notifier.apprise_urls import send
        case "ping":
            from jobqueued.child.notifier.ping import send
        case _:
            raise Never(f"there is no channel {name}; accepted: email, webhook, command, apprise")
    return send


def _bounded(given: Notice) -> AbstractContextManager[None]:
    """Bound what a user's channel reaches; the host's may reach all."""
    if not given.user:
        return nullcontext()
    from jobqueued.child.notifier.reach import bounded

    return bounded(given.reach)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """OutOfTime, wherever it is, unless it is done within so many seconds."""

    def ring(*_: object) -> None:
        raise OutOfTime(f"not sent within {seconds:.3g} s: its receiver is too slow; look at it")

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _line(text: str) -> str:
    line = printable(re.sub(r"\s+", " ", text)).strip() or "no reason is known"
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _place(error: Exception) -> str:
    """``webhook.py:93``: where it was raised."""
    frame = error.__traceback__
    assert frame is not None
    while frame.tb_next is not None:
        frame = frame.tb_next
    return f"{os.path.basename(frame.tb_frame.f_code.co_filename)}:{frame.tb_lineno}"


def _hide() -> None:
    """Let nobody of our user read the notice from /proc, or trace us, and no core hold it.

    A limit of cores is not enough: it does not count where kernel.core_pattern names a program.
    """
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def main() -> None:
    """Send the notice on stdin; whatever a library prints is no verdict."""
    _hide()
    verdict = os.dup(1)
    os.dup2(2, 1)
    line = send(sys.stdin.buffer.read(notice.LARGEST + 1))
    os.write(verdict, f"{line}\n".encode())


if __name__ == "__main__":
    main()
