"""The notifier sends a notice, prints the result as a line, and exits.

    python3 -I notifier/main.py <NOTICE

Its input is a JSON object (`notice.NoticeToSend`, with a `version`). Its output is ``sent``, ``later SECONDS TEXT`` or
``never TEXT``. If the notice has pings, a line for each ping precedes the result, with the ping's number and its
result. The parent process limits the notifier's memory, and kills it after a minute. The notifier's own alarm is
earlier, but has no effect while the C library waits for a name server.
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

from jobqueued.child.contract.text import printable
from jobqueued.child.notifier import notice
from jobqueued.child.notifier.notice import Later, Never, NoticeToSend, OutOfTime

_LONGEST = 300
_PR_SET_DUMPABLE = 4


def send(data: bytes) -> str:
    """Send a notice. Return a verdict line for each part, then the verdict.

    The text is printable and contains no secrets.
    """
    try:
        given = notice.read(data)
    except Never as error:
        return _worded(error)
    verdict = _sent(given)
    return "\n".join([*(f"{part} {_worded(error)}" for part, error in given.parts), verdict])


def _sent(given: NoticeToSend) -> str:
    try:
        channel = _channel(given.channel)
        with _alarm(given.seconds), _bounded(given):
            channel(given)
    except (Later, Never) as error:
        return _worded(error)
    except OutOfTime as error:
        return f"later 0 {_line(str(error))}"
    except MemoryError:
        return "later 0 the notifier ran out of memory; attach less (attach_limit)"
    except Exception as error:  # the exception's message might contain a secret
        return f"later 0 a bug of jobqueued: {type(error).__name__} at {_place(error)}; please report this bug"
    return "sent"


def _worded(verdict: Later | Never | None) -> str:
    if verdict is None:
        return "sent"
    word = "never" if isinstance(verdict, Never) else f"later {verdict.seconds}"
    return f"{word} {_line(str(verdict))}"


def _channel(name: str) -> Callable[[NoticeToSend], None]:
    """Return the function for the channel with this name. Imports the channel's libraries."""
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
            raise Never(f"there is no channel {name}; expected email, webhook, command, apprise")
    return send


def _bounded(given: NoticeToSend) -> AbstractContextManager[None]:
    """Limit the addresses that a user's channel can reach. The host's channels have no limit."""
    if not given.user:
        return nullcontext()
    from jobqueued.child.notifier.reach import bounded

    return bounded(given.reach)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in the block after `seconds`, at any point."""

    def ring(*_: object) -> None:
        raise OutOfTime(f"not sent within {seconds:.3g} s: the receiver is too slow; check the receiver")

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _line(text: str) -> str:
    line = printable(re.sub(r"\s+", " ", text)).strip() or "the reason is unknown"
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _place(error: Exception) -> str:
    """Return the place where an exception was raised: ``webhook.py:93``."""
    frame = error.__traceback__
    assert frame is not None
    while frame.tb_next is not None:
        frame = frame.tb_next
    return f"{os.path.basename(frame.tb_frame.f_code.co_filename)}:{frame.tb_lineno}"


def _hide() -> None:
    """Hide the notice from other processes with our user (/proc, tracing), and keep it out of core files.

    A core size limit is not enough, because a program in kernel.core_pattern ignores it.
    """
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def main() -> None:
    """Send the notice on stdin. Redirect the libraries' output to stderr, so that stdout gets only the verdict."""
    _hide()
    verdict = os.dup(1)
    os.dup2(2, 1)
    line = send(sys.stdin.buffer.read(notice.LARGEST + 1))
    os.write(verdict, f"{line}\n".encode())


if __name__ == "__main__":
    main()
