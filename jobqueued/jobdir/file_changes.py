"""The interface of watched directories for `Watch`: one directory (`inbox.py`), or several combined (`layers.py`)."""

from __future__ import annotations

from typing import Protocol

from jobqueued.base.problem import Problem
from jobqueued.child.contract.tuples import NamedTuple

Signature = tuple["int | Signature", ...]


class News(NamedTuple):
    """Names of job files that appeared, vanished or changed, and paths of unread files that look like job files.

    `trouble` has the problems of the directory itself, or None if they were not checked.
    """

    names: set[str]
    unread: set[str]
    trouble: list[Problem] | None = None


class FileChanges(Protocol):
    """The changed files, by name. Call `drain` if `fileno` is readable, and `remounted` if `mounts` has POLLPRI."""

    @property
    def at(self) -> str:
        """The path that was read last."""

    @property
    def has_news(self) -> bool:
        """True if there are changes to `take`."""

    @property
    def was_listed(self) -> bool:
        """True if each directory has been listed since the start."""

    @property
    def is_unreadable(self) -> bool:
        """True if the last listing failed."""

    @property
    def deadline(self) -> int | None:
        """The time (CLOCK_MONOTONIC, ns) to retry `take` after a failed read or watch, or None if neither failed."""

    @property
    def mounts(self) -> int | None:
        """A descriptor on which poll(2) sets POLLPRI after a mount or unmount, or None if /proc is missing."""

    def fileno(self) -> int | None:
        """Return the inotify descriptor, or None if inotify is not in use."""

    def close(self) -> None:
        """Stop watching."""

    def drain(self) -> None:
        """Process the pending inotify events."""

    def remounted(self) -> None:
        """Re-list the directories that a changed mount affects."""

    def touch(self, name: str) -> None:
        """Treat a file as changed."""

    def relist(self) -> None:
        """Re-list all directories."""

    def forget_all(self) -> None:
        """Treat all files as changed."""

    def rescan(self, mono: int) -> None:
        """Re-list each directory that has not been listed for a minute."""

    def take(self, mono: int) -> News:
        """Return the changes since the last call."""

    def read(self, name: str) -> bytes:
        """Read a file that no process is writing. Raises FileNotFoundError, InWriting, FileRefused and OSError."""

    def put_back(self, name: str) -> bool:
        """Defer a file that is being written. Return whether inotify will report its close."""

    def signature(self, name: str) -> Signature:
        """Return a tuple that differs after each change or replacement of a file."""

    def has_read(self, name: str, signature: Signature) -> None:
        """Save the signature that a file had before it was read, regardless of the result."""

    def expect(self, name: str) -> None:
        """Record that a file exists although it was not read. If it is absent from a later listing, it was deleted."""

    def look_again(self, name: str, mono: int) -> None:
        """Retry a file that can't be read now."""

    def forget(self, name: str) -> bool:
        """Forget a missing file, and return whether it existed."""

    def is_gone(self, name: str) -> bool:
        """Return whether the file does not exist. Also return False if a file system fails."""

    def place(self, name: str) -> str:
        """Return the path of a file."""

    def orphans(self, name: str) -> list[str]:
        """Return a file's drop-in directories."""
