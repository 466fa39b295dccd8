"""Harm to files, and to state.db and its log under the living daemon, which has to notice that."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.daemon import Host
from tests.chaos.episodes import Episode

PAGE = 4096
_NOTICED = 20.0
"""Something is committed within so many seconds, on a busy host, too."""
_WORDS = ("the daemon writes a new one with everything except history", "the daemon writes everything else again")
LOG, _SHORT = "state.db-wal", 1 << 20
_UNWRITTEN = "cannot write the record"


def cut(file: Path, rng: random.Random) -> str:
    """Cut a file somewhere; what was done."""
    size = file.stat().st_size
    length = rng.choice([0, rng.randint(0, size), rng.randint(0, size) // PAGE * PAGE, max(0, size - 1)])
    with file.open("r+b") as opened:
        opened.truncate(length)
        os.fsync(opened.fileno())
    return f"cut from {size} to {length} bytes"


def damage(file: Path, rng: random.Random) -> str:
    """Overwrite a page of a file with noise; what was done."""
    size = file.stat().st_size
    offset = rng.randrange(max(1, size)) // PAGE * PAGE
    length = min(PAGE, size - offset)
    with file.open("r+b") as opened:
        opened.seek(offset)
        opened.write(rng.randbytes(length))
        opened.flush()
        os.fsync(opened.fileno())  # or a disk that fails later may bring back what was there
    return f"{length} random bytes at {offset} of {size}"


def remove(file: Path, _rng: random.Random) -> str:
    """Remove a file; what was done."""
    file.unlink()
    return "removed"


def halve(file: Path, _rng: random.Random) -> str:
    """Cut a file to half of it; what was done."""
    size = file.stat().st_size
    os.truncate(file, size // 2)
    return f"cut from {size} to {size // 2} bytes"


HARM = {"halve": halve, "cut": cut, "damage": damage, "removed": remove}


@contextmanager
def overwritten(host: Host, episode: Episode, rng: random.Random) -> Iterator[None]:
    """Harm state.db or its log under the living daemon: with the next commit memory is written again, and all is there.

    What only state.db has, as records can't be written, is not to be hit, nor a log that is short: a small part that is
    cut from it in the midst of a commit is a small hole.
    """
    part, how = episode.about
    file = host.root / "state" / part
    _wait(host, lambda: not any(_UNWRITTEN in text for text in host.status().get("troubles", [_UNWRITTEN])))
    if host.daemon is None or not file.exists() or (part == LOG and file.stat().st_size < _SHORT):
        yield
        return
    pid, seen, size = host.daemon.pid, host.log.stat().st_size, file.stat().st_size
    what = HARM[how](file, rng)
    host.timeline.say(f"{part}, under the living daemon: {what}", f"overwritten {part} {how}")
    if what != f"cut from {size} to {size} bytes":
        host.timeline.rewritten.append(time.time_ns())
        if not _wait(host, lambda: any(word in _said(host, seen) for word in _WORDS)):
            is_same = host.daemon is not None and host.daemon.pid == pid
            host.timeline.fail("lost", f"{part} was harmed ({how}), and nobody noticed; the same daemon: {is_same}")
    yield


def _wait(host: Host, what: Callable[[], bool]) -> bool:
    until = time.monotonic() + _NOTICED
    while time.monotonic() < until:
        if what():
            return True
        host.sleep(0.02)
    return False


def _said(host: Host, since: int) -> str:
    with host.log.open("rb") as log:
        log.seek(since)
        return log.read().decode(errors="replace")
