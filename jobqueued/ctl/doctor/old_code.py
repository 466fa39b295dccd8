"""Old code: a process still runs files that an update replaced on disk."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from jobqueued.child.contract import unix_socket
from jobqueued.child.processes import process

_DELETED = " (deleted)"
_NO_FILES = ("/memfd:", "/dev/", "/SYSV")
_LAUNCHER = b"/child/launcher.py"


def replaced(pid: int, code: Iterable[Path]) -> str:
    """Return a file that was replaced after the start of the process that runs it, or "" if no such file is visible.

    `code` contains the files that Python loaded into the process, and directories of such files.
    """
    found = process.stat(pid)
    try:
        return "" if found is None else next(_mapped(pid), "") or next(_newer(_started(found), code), "")
    except OSError:
        return ""


def code_of(*packages: str) -> list[Path]:
    """Return the files or directories where Python finds these packages now."""
    found = (find_spec(name) for name in packages)
    return [Path(place) for spec in found if spec for place in spec.submodule_search_locations or [str(spec.origin)]]


def listener(path: Path) -> int:
    """Return the pid of the process that listens on a socket, or 0 if our pid namespace does not show the process."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            unix_socket.connect(peer, str(path))
            pid, _, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    except OSError:
        return 0
    return int(pid)


def launchers(runs: Path) -> list[int]:
    """Return the pids of the launchers that use this `runs` directory."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0") if entry.isdigit() else []
        except OSError:  # the process ended
            continue
        if bytes(runs) in words and any(word.endswith(_LAUNCHER) for word in words) and not _is_child_of_one(entry):
            found.append(int(entry))
    return found


def _is_child_of_one(pid: str) -> bool:
    """Return whether the process is a just-forked supervisor, which still has the launcher's command line."""
    found = process.stat(int(pid))
    try:
        return found is None or _LAUNCHER in Path(f"/proc/{found.parent}/cmdline").read_bytes()
    except OSError:
        return True


def _mapped(pid: int) -> Iterator[str]:
    """Yield a process's programs and libraries that were deleted from disk."""
    with open(f"/proc/{pid}/maps", errors="replace") as maps:
        for line in maps:
            fields = line.rstrip("\n").split(maxsplit=5)
            path = fields[5] if len(fields) > 5 else ""
            if "x" in fields[1] and path.endswith(_DELETED) and not path.startswith(_NO_FILES):
                yield path.removesuffix(_DELETED)


def _newer(instant: float, code: Iterable[Path]) -> Iterator[str]:
    """Yield files installed after an instant (seconds since 1970), judged by their ctime, because packages set the
    mtime.
    """
    for place in code:
        for file in (place,) if place.is_file() else place.rglob("*.py"):
            if file.stat().st_ctime > instant:
                yield str(file)


def _started(found: process.Stat) -> float:
    """Return the start of a process in seconds since 1970."""
    return (time.time_ns() - (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - found.birth * process.TICK)) / 1e9
