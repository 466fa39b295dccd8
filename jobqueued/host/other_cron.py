"""Another cron daemon of this host: whoever lets it run as well has each job run twice."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

PID_FILE = Path("run/crond.pid")
"""Below the host's root; Debian's cron, cronie and bcron lock it."""
REBOOTED = Path("run/crond.reboot")
"""Below the host's root: what was due at this boot is not any more (Debian's cron, and packages that install one)."""
_GENERATED = Path("run/systemd/generator/cron.target.wants")
"""The timers of systemd-cron, which has no daemon."""
_NAMES = frozenset((b"cron", b"crond", b"bcron-sched", b"fcron", b"busybox-crond"))
_FLOCK = struct.Struct("hhqqi")


def other_cron(host: Path) -> str:
    """Another cron daemon in words, "" if there is none: who locks the PID file, or is root's and called so."""
    if (known := known_cron(host)) or host != Path("/"):
        return known
    return next((f"{name.decode()} (pid {pid})" for pid, name in _of_root() if name in _NAMES), "")


def known_cron(host: Path) -> str:
    """The same without a look at all processes."""
    if (pid := _holder(host / PID_FILE)) is not None:
        return f"a cron daemon (pid {pid or 'unknown'}) that has {host / PID_FILE}"
    return "systemd-cron" if (host / _GENERATED).exists() else ""


def _holder(file: Path) -> int | None:
    """The process that has a file locked, 0 where nobody can tell which; None: nobody has."""
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
    """Yield the processes of root on this host, each with its name; those of containers are none."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with contextlib.suppress(OSError):
                with open(f"/proc/{entry}/status", "rb") as file:
                    fields = dict(line.split(b":", 1) for line in file if b":" in line)
                is_here = len(fields.get(b"NSpid", b"1").split()) == len(_here())
                if is_here and fields[b"Uid"].split()[1] == b"0":
                    yield int(entry), fields[b"Name"].strip()


def _here() -> list[bytes]:
    """Our own numbers, one for each namespace of processes that we are in."""
    with open("/proc/self/status", "rb") as file:
        return next((line.split()[1:] for line in file if line.startswith(b"NSpid:")), [b"1"])
