"""Power loss: some images of a short life of a real host, each of which starts; `make power` has hundreds."""

from __future__ import annotations

import os
import subprocess
import sys
from stat import S_IFDIR, S_IFREG

import pytest

from tests.power.states import KINDS, SECTOR, state
from tests.power.tree import ROOT, Act, Link, Made, Rename, Resize, Sync, Tree, Write
from tests.support import REPO

DIRECTORY, FILE, NEW, OTHER = 2, 3, 4, 5
BEGIN: list[Act] = [
    Made(ROOT, S_IFDIR, 0, 0, ""), Made(DIRECTORY, S_IFDIR, 0, 0, ""), Link(ROOT, "d", DIRECTORY, 0), Sync(ROOT),
    Made(FILE, S_IFREG, 0, 0, ""), Link(DIRECTORY, "f", FILE, 0), Write(FILE, 0, b"old", 0), Sync(FILE),
    Sync(DIRECTORY), Made(OTHER, S_IFREG, 0, 0, ""),
]  # fmt: skip
BY_RENAME: list[Act] = [
    Made(NEW, S_IFREG, 0, 0, ""), Link(DIRECTORY, "t", NEW, 0), Write(NEW, 0, b"new", 0),
    Rename(DIRECTORY, "t", DIRECTORY, "f", NEW, 0),
]  # fmt: skip


def found(tree: Tree) -> str:
    """What the file has now."""
    names = tree.nodes[DIRECTORY].names
    return tree.nodes[names["f"]].data.decode() if "f" in names else "none"


def outcomes(*acts: Act, kind: str) -> set[str]:
    """What it may have after a power loss."""
    return {found(state([*BEGIN, *acts], kind, seed)) for seed in range(60)}


def test_what_is_durable() -> None:
    """A file by rename without a sync is old, new, empty or full of zeros; with both syncs it is new."""
    nothing = {"", "\0\0\0"}
    assert {kind: outcomes(*BY_RENAME, kind=kind) for kind in KINDS} == {
        "bare": {"old", "new", *nothing}, "journal": {"old", "new", *nothing}, "least": {"old"}, "all": {"new"},
    }  # fmt: skip
    synced = [*BY_RENAME[:3], Sync(NEW), *BY_RENAME[3:]]
    assert [{"old", "new"}, {"old"}] == [outcomes(*synced, kind=kind) for kind in ("bare", "least")]
    assert [{"new"}] * 4 == [outcomes(*synced, Sync(DIRECTORY), kind=kind) for kind in KINDS]
    assert {"bare": {"old", "new"}, "journal": {"new"}} == {
        kind: outcomes(*synced, Sync(OTHER), kind=kind) for kind in ("bare", "journal")
    }


def test_sectors_are_whole() -> None:
    """Each sector is as it was at some moment, and of a file that was cut nothing is there that came later."""
    first, second = (Write(FILE, 0, bytes([byte]) * SECTOR * 2, 0) for byte in b"12")
    states = outcomes(first, Sync(FILE), second, kind="bare")
    assert {f"{one}{two}" for one in "12" for two in "12"} == {text[0] + text[-1] for text in states}
    assert all(set(text[:SECTOR]) <= {text[0]} for text in states)
    cut = outcomes(first, Sync(FILE), Resize(FILE, 0, 0), Write(FILE, 0, b"3", 0), kind="bare")
    assert {"1" * SECTOR * 2, "", "3", "\0"} == cut


@pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists("/dev/fuse"), reason="needs root and FUSE")
def test_images() -> None:
    """Each starts by itself, and takes nothing back that somebody has seen."""
    command = [sys.executable, "-m", "tests.power", "--images", "12", "--workers", "2"]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr), done.stdout
    assert ", 12 images in " in done.stdout
