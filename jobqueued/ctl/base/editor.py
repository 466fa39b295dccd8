"""Run the user's editor on a terminal, and ask the user a question."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator

EDITORS = ("/usr/bin/sensible-editor", "/usr/bin/editor", "/usr/bin/vi")


def run(file: str, program: str) -> str:
    """Run the user's editor in /tmp, as Debian's crontab does. Return "", or the error as a line."""
    found = next(filter(os.path.exists, EDITORS), EDITORS[-1])
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or found
    with _deaf():
        try:
            status = subprocess.call(["/bin/sh", "-c", f"{editor} {shlex.quote(file)}"], cwd="/tmp")
        except OSError as error:
            return f"{program}: {editor}: {error.strerror}\n"
    if status < 0:
        return f'{program}: "{editor}" killed; signal {-status}\n'
    return f'{program}: "{editor}" exited with status {status}\n' if status else ""


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Ignore the signals that the terminal sends to the editor."""
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def wants(question: str) -> bool | None:
    """Ask a question until the answer is y or n; return None if the input ends."""
    while True:
        print(f"{question} (y/n) ", end="", flush=True)
        try:
            answer = sys.stdin.readline()
        except KeyboardInterrupt:
            answer = ""
        if answer[:1].lower() in ("y", "n"):
            return answer[:1].lower() == "y"
        if not answer:
            print(flush=True)
            return None
        print("Enter Y or N", file=sys.stderr, flush=True)
