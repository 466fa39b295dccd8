"""A disk for a daemon: ext4 with a journal, as hosts have it, in a file, mounted where nobody else sees it.

Without a journal ext4 passes over each inode that was deleted in the last minutes, so what one round leaves behind
would slow down the next ones.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.peers.installs import CannotRun

_SIZE = 1 << 30
_INSIDE = "JOBQUEUED_PEERS"
_MAKE = ("mkfs.ext4", "-q", "-m", "0", "-i", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0")


def enter(module: str) -> None:
    """Begin this program anew in a mount namespace of its own, if it is not in one."""
    if _INSIDE not in os.environ:
        os.environ[_INSIDE] = "1"
        private = ("unshare", "--mount", "--propagation", "private", "--")
        os.execvp(private[0], [*private, sys.executable, "-m", module, *sys.argv[1:]])


@contextlib.contextmanager
def place() -> Iterator[tuple[Path, Path]]:
    """A directory for a daemon, on a disk, with `tmpfs` in it on none; and the file of its jobs.  CannotRun."""
    with (
        tempfile.TemporaryDirectory(prefix="peers-", dir="/var/tmp") as below,
        tempfile.TemporaryDirectory(prefix="peers-", dir="/dev/shm") as memory,
        _mounted(Path(below)) as disk,
    ):
        home, ledger = disk / "home", Path(memory) / "ledger"
        home.mkdir()
        (home / "tmpfs").symlink_to(memory)
        ledger.write_bytes(b"")
        ledger.chmod(0o666)  # whoever the jobs are run as writes there
        Path(memory).chmod(0o711)
        yield home, ledger


@contextlib.contextmanager
def _mounted(below: Path) -> Iterator[Path]:
    image, disk = below / "image", below / "disk"
    disk.mkdir()
    with image.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, _SIZE)
    try:
        subprocess.run([*_MAKE, str(image)], check=True, capture_output=True, text=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(disk)], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as problem:
        raise CannotRun(f"a disk in a file: {getattr(problem, 'stderr', problem)}") from None
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
