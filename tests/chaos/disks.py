"""Small file systems that can be filled, made read-only, aborted and mended: real ones, in our own mount namespace."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import struct
import subprocess
import time
from pathlib import Path

_SHUTDOWN, _NO_LOG_FLUSH = 0x8004587D, 2
"""EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH: what is in memory only is gone, as after a power cut of that disk."""
FILLER = ".filler"


def files_below(root: Path, pattern: str) -> list[Path]:
    """The files that fit a pattern, in order; directories may go meanwhile."""
    return sorted(root / name for name in glob.iglob(pattern, root_dir=root))


class Busy(Exception):
    """The file system can't be changed while somebody uses it."""


class Disk:
    """One file system at `place`: ext4 in `image`, or without an image a tmpfs."""

    def __init__(self, place: Path, size: str, image: Path | None = None) -> None:
        self.place, self.size, self.image = place, size, image

    def make(self) -> None:
        """Make and mount it."""
        self.place.mkdir(parents=True)
        if self.image is not None:  # nobody writes below the mount point while the disk is away
            _do("mount", "-t", "tmpfs", "-o", "ro,size=4k", "nothing", str(self.place))
        if self.image is not None:
            with self.image.open("wb") as file:
                file.truncate(int(self.size) << 20)
            _do("mkfs.ext4", "-q", "-m", "0", "-i", "4096", str(self.image))
        self.mount()

    def mount(self) -> None:
        """Mount it, writable."""
        if self.image is None:
            _do("mount", "-t", "tmpfs", "-o", f"size={self.size}M,mode=755", "chaos", str(self.place))
        else:
            _do("mount", "-o", "loop,errors=remount-ro", str(self.image), str(self.place))

    def fill(self) -> None:
        """Take all the room there is, to the last block."""
        file = os.open(self.place / FILLER, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            for step in (1 << 20, 1 << 16, 1 << 12):
                with contextlib.suppress(OSError):
                    while True:
                        os.posix_fallocate(file, os.fstat(file).st_size, step)
        finally:
            os.close(file)

    def free(self) -> None:
        """Give the room back."""
        (self.place / FILLER).unlink(missing_ok=True)

    def read_only(self) -> None:
        """Make it read-only; Busy, if somebody has a file open for writing at each try in a second."""
        until = time.monotonic() + 1
        while subprocess.run(["mount", "-o", "remount,ro", self.place], capture_output=True, check=False).returncode:
            if time.monotonic() > until:
                raise Busy(f"{self.place} has writers")
            time.sleep(0.02)

    def writable(self) -> None:
        """Make it writable again."""
        _do("mount", "-o", "remount,rw", str(self.place))

    def abort(self) -> None:
        """Let it be read-only at once, as ext4 does by itself after an error; only `mend` helps."""
        subprocess.run(["mount", "-o", "remount,abort", self.place], capture_output=True, check=False)

    def shut_down(self) -> None:
        """Let every access fail with EIO, and forget what was not synced; only `mend` helps."""
        folder = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(folder)

    def mend(self) -> None:
        """Check it and mount it again; Busy, while somebody has a file of it open."""
        assert self.image is not None, "a tmpfs can't be mended"
        if subprocess.run(["umount", self.place], capture_output=True, check=False).returncode:
            raise Busy(f"{self.place} is in use")
        checked = subprocess.run(["fsck.ext4", "-fy", self.image], capture_output=True, text=True, check=False)
        assert checked.returncode <= 1, checked.stdout
        self.mount()
        self.free()  # its removal may have been lost with the journal


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, f"{' '.join(command)}: {done.stderr.strip()}"
