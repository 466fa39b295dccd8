"""A real file system on a disk whose every write is noted: a loop device over a file of the FUSE file system.

A flush of the disk is an fsync(2) of that file; so the states of its sectors are those that its cache may lose.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.power.tree import ROOT, Tree

FILE = "blocks"
SIZES = {"ext4": 64, "btrfs": 128, "xfs": 300}
"""The file systems, and the MiB that they need at least."""
_MAKE = {"ext4": ["mkfs.ext4", "-qF"], "btrfs": ["mkfs.btrfs", "-qf"], "xfs": ["mkfs.xfs", "-qf"]}
_CHUNK = 1 << 16


def make(kind: str, disk: Path) -> None:
    """Make one on `disk`, and mount it there at `host`."""
    path = disk / FILE
    with path.open("wb") as file:
        file.truncate(SIZES[kind] << 20)
    subprocess.run([*_MAKE[kind], str(path)], check=True)
    attach(kind, path, disk / "host")


def attach(kind: str, path: Path, where: Path) -> None:
    """Mount it, as after a boot: its journal is replayed; CalledProcessError."""
    options = "loop,nouuid" if kind == "xfs" else "loop"  # several images may be mounted, which are of one
    subprocess.run(["mount", "-t", kind, "-o", options, str(path), str(where)], check=True, capture_output=True)


def lay(tree: Tree, path: Path) -> None:
    """Write the disk of an image, with holes where it has zeros."""
    data = tree.nodes[tree.nodes[ROOT].names[FILE]].data
    hole = bytes(_CHUNK)
    with path.open("wb") as file:
        for begin in range(0, len(data), _CHUNK):
            chunk = data[begin : begin + _CHUNK]
            if chunk != hole[: len(chunk)]:
                file.seek(begin)
                file.write(chunk)
        file.truncate(len(data))
