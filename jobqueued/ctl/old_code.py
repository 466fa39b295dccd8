"""Old code: what a process runs that an update has replaced on the disk since it started."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from jobqueued.child import process, unix_socket

_DELETED = " (deleted)"
_NO_FILES = ("/memfd:", "/dev/", "/SYSV")
_LAUNCHER = b"/child/launcher.py"


def replaced(pid: int, code: Iterable[Path]) -> str:
    """One thing that a process runs and that is another by now, "" if there is none, or we may not see it.

    `code` are the files, or directories of files, that Python has read for it.
    """
    found = process.stat(pid)
    try:
        return "" if found is None else next(_mapped(pid), "") or next(_newer(_started(found), code), "")
    except OSError:
        return ""


def code_of(*packages: str) -> list[Path]:
    """The files, or directories of files, that these packages are, where Python finds them now."""
    found = (find_spec(name) for name in packages)
    return [Path(place) for spec in found if spec for place in spec.submodule_search_locations or [str(spec.origin)]]


def listener(path: Path) -> int:
    """The process that listens on a socket, by the number that it has here; 0: none that we can see."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            unix_socket.connect(peer, str(path))
            pid, _, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    except OSError:
        return 0
    return int(pid)


def launchers(runs: Path) -> list[int]:
    """The launchers that have their runs below this directory."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0") if entry.isdigit() else []
        except OSError:  # it has ended
            continue
        if bytes(runs) in words and any(word.endswith(_LAUNCHER) for word in words) and not _is_child_of_one(entry):
            found.append(int(entry))
    return found


def _is_child_of_one(pid: str) -> bool:
    """True of a supervisor that was forked just now, and has not named itself yet."""
    found = process.stat(int(pid))
    try:
        return found is None or _LAUNCHER in Path(f"/proc/{found.parent}/cmdline").read_bytes()
    except OSError:
        return True


def _mapped(pid: int) -> Iterator[str]:
    """Yield programs and libraries that are executed, and gone from the disk."""
    with open(f"/proc/{pid}/maps", errors="replace") as maps:
        for line in maps:
            fields = line.rstrip("\n").split(maxsplit=5)
            path = fields[5] if len(fields) > 5 else ""
            if "x" in fields[1] and path.endswith(_DELETED) and not path.startswith(_NO_FILES):
                yield path.removesuffix(_DELETED)


def _newer(instant: float, code: Iterable[Path]) -> Iterator[str]:
    """Yield files that came to their place after an instant; their own times are those of whoever packed them."""
    for place in code:
        for file in (place,) if place.is_file() else place.rglob("*.py"):
            if file.stat().st_ctime > instant:
                yield str(file)


def _started(found: process.Stat) -> float:
    """The start of a process, in seconds since 1970."""
    return (time.time_ns() - (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - found.birth * process.TICK)) / 1e9
