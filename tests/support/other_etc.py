"""The daemon on a host with another /etc: python tests/support/other_etc.py ETC DAEMON-ARGUMENTS…

Only this process, and what it starts, sees it, in a mount namespace of its own.  PYTHONTZPATH may name another tz
database.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import zoneinfo
from pathlib import Path

from jobqueued.__main__ import main
from tests.support.anybodys import everybodys_python

_CLONE_NEWNS = 0x20000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_NEEDED = ("nsswitch.conf", "ld.so.cache", "localtime", "timezone", "machine-id", "passwd", "group")


def copied(etc: Path) -> Path:
    """A directory with as much of /etc as a daemon and its jobs need."""
    etc.mkdir()
    etc.chmod(0o755)
    for name in filter(lambda name: os.path.exists(f"/etc/{name}"), _NEEDED):
        shutil.copy(f"/etc/{name}", etc / name)
    return etc


def change_users(etc: Path, **users: int) -> None:
    """Make these all the users that are no system's, as useradd(8) does: by a new file in the place of the old."""
    lines = Path("/etc/passwd").read_text().splitlines()
    lines += [f"{name}:x:{uid}:{uid}::/nonexistent:/bin/sh" for name, uid in users.items()]
    new = etc / "passwd+"
    new.write_text("\n".join(lines) + "\n")
    new.chmod(0o644)
    new.rename(etc / "passwd")


def _enter(etc: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for result in (
        libc.unshare(_CLONE_NEWNS),
        libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None),
        libc.mount(etc.encode(), b"/etc", None, _MS_BIND, None),
    ):
        if result:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    _enter(sys.argv[1])
    zoneinfo.reset_tzpath()  # as PYTHONTZPATH has it: this process had loaded zoneinfo before
    sys.executable = everybodys_python()
    sys.exit(main(sys.argv[2:]))
