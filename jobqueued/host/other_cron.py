"""Detection of another cron daemon on this host, because each job would run twice if both daemons ran cron's tables."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from jobqueued.base.instants import SECOND
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.watcher import inotify
from jobqueued.model.job import Now
from jobqueued.model.source import Source

PID_FILE = Path("run/crond.pid")
"""Path, below the host's root, of the file that Debian's cron, cronie and bcron lock."""
REBOOTED = Path("run/crond.reboot")
"""Path, below the host's root, of a file that Debian's cron and packages of other crons create.

If the file exists, jobs due at boot have already run in this boot.
"""
_GENERATED = Path("run/systemd/generator/cron.target.wants")
"""Path, below the host's root, of the directory with the timers of systemd-cron, which has no daemon."""
_NAMES = frozenset((b"cron", b"crond", b"bcron-sched", b"fcron", b"busybox-crond"))
_FLOCK = struct.Struct("hhqqi")
_TELLING = frozenset({PID_FILE.name, *_GENERATED.parts[1:]})
"""File names whose inotify events mean that a cron daemon may have started or ended."""
_CHANGES = (
    inotify.IN_CREATE
    | inotify.IN_MOVED_TO
    | inotify.IN_MOVED_FROM
    | inotify.IN_DELETE
    | inotify.IN_CLOSE_WRITE
    | inotify.IN_MODIFY
)
LONGEST_WAIT = 10 * SECOND
"""Time (ns) after which a vanished cron daemon counts as ended."""
_REMEDY = "systemctl disable --now cron"


def other_cron(host: Path) -> str:
    """Describe another cron daemon, or return "" if none runs.

    The other daemon is the process that locks the PID file, or a root process with a known name.
    """
    return _found(host).words


class _Found(NamedTuple):
    """A description of another cron daemon, or "", and its PID, or 0 if unknown."""

    words: str = ""
    pid: int = 0


def _found(host: Path) -> _Found:
    if (known := _known(host)).words or host != Path("/"):
        return known
    of_root = (_Found(f"{name.decode()} (pid {pid})", pid) for pid, name in _of_root() if name in _NAMES)
    return next(of_root, _Found())


def _known(host: Path) -> _Found:
    if (pid := _holder(host / PID_FILE)) is not None:
        return _Found(f"a cron daemon (pid {pid or 'unknown'}) with the PID file {host / PID_FILE}", pid)
    return _Found("systemd-cron" if (host / _GENERATED).exists() else "")


class OtherCron(Source):
    """A source that detects the start and the end of another cron daemon, with inotify(7) on the PID file and
    pidfd_open(2).

    `words` describes the other daemon, or is "" if none runs. A daemon that locks no file and is not systemd-cron is
    found only at the start. A daemon counts as ended only after LONGEST_WAIT, because a restart also stops it first.
    """

    def __init__(self, host: Path, changed: Callable[[bool, str], None]) -> None:
        """Detect another cron daemon. `changed` gets two arguments: whether another daemon exists now, and the text for
        the log.
        """
        self._host, self._changed = host, changed
        self._inotify: int | None = None
        self._process: int | None = None
        """A pidfd of the other daemon's process, or None."""
        self._looks = True
        self._again: int | None = None
        with contextlib.suppress(OSError):
            self._inotify = inotify.instance()
        self.words = ""
        self._watch()
        self._take(_found(host))

    @property
    def troubles(self) -> list[str]:
        """The message, with the remedy, that cron's tables do not run here, if another cron daemon exists."""
        told = f"cron's tables are ignored here, because {self.words} runs them; to run them here: {_REMEDY}"
        return [told] if self.words else []

    def descriptors(self) -> dict[int, int]:
        """Return the descriptors of inotify and of the other daemon's process."""
        return dict.fromkeys([each for each in (self._inotify, self._process) if each is not None], select.POLLIN)

    @property
    def has_more(self) -> bool:
        """True if a check is due at once."""
        return self._looks

    @property
    def deadline(self) -> int | None:
        """The time (CLOCK_MONOTONIC, ns) of the next check, or None. It follows LONGEST_WAIT after an end, or 1 s
        after a start.
        """
        return self._again

    def ready(self, descriptor: int, now: Now) -> tuple[()]:
        """Schedule an immediate check for the start of another daemon, and a later check for its end."""
        if descriptor == self._process:
            self._follow(0)
        elif descriptor != self._inotify or not {it.name for it in inotify.events(descriptor)} & _TELLING:
            return ()
        self._looks = not self.words
        self._again = now.mono + (LONGEST_WAIT if self.words else SECOND)
        return ()

    def turn(self, now: Now) -> tuple[()]:
        """Check whether another cron daemon exists."""
        self._looks = False
        if self._again is not None and self._again <= now.mono:
            self._again = None
        self._watch()
        before, found = self.words, _found(self._host) if self.words else _known(self._host)
        self._take(found)
        if before and not found.words:
            self._changed(False, f"{before} has exited, so jobqueued runs cron's tables from now on")
        elif found.words and not before:
            self._changed(True, self.troubles[0])
        return ()

    def _take(self, found: _Found) -> None:
        self.words = found.words
        self._follow(found.pid)

    def _follow(self, pid: int) -> None:
        """Watch only this process for its end."""
        if self._process is not None:
            os.close(self._process)
            self._process = None
        if pid:
            with contextlib.suppress(OSError):  # the process ended, so its PID file was closed, which inotify reports
                self._process = os.pidfd_open(pid)

    def _watch(self) -> None:
        """Watch all existing directories; watching a directory twice has no effect."""
        if self._inotify is not None:
            for directory in (PID_FILE.parent, *_GENERATED.parents[:2]):
                with contextlib.suppress(OSError):
                    inotify.watch(self._inotify, str(self._host / directory), _CHANGES)


def _holder(file: Path) -> int | None:
    """Return the PID of the process that locks a file, 0 if it is unknown, or None if the file is not locked."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        asked = _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
        with contextlib.suppress(OSError):
            kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
            if kind != fcntl.F_UNLCK:
                return max(0, int(pid))
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _written(descriptor)
    finally:
        os.close(descriptor)
    return None


def _written(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else 0


def _of_root() -> Iterator[tuple[int, bytes]]:
    """Yield PID and name of root's processes on this host, except in containers."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with contextlib.suppress(OSError):
                with open(f"/proc/{entry}/status", "rb") as file:
                    fields = dict(line.split(b":", 1) for line in file if b":" in line)
                is_here = len(fields.get(b"NSpid", b"1").split()) == len(_here())
                if is_here and fields[b"Uid"].split()[1] == b"0":
                    yield int(entry), fields[b"Name"].strip()


def _here() -> list[bytes]:
    """Return the PIDs of this process, one for each of its PID namespaces."""
    with open("/proc/self/status", "rb") as file:
        return next((line.split()[1:] for line in file if line.startswith(b"NSpid:")), [b"1"])
