"""Open files of the simulated host, and names, as os.path and os.scandir tell of them."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tests.simulation.files import Inode
from tests.simulation.kernel import Kernel, Open, Process

if TYPE_CHECKING:
    from tests.simulation.system import FakeOs


def fails(number: int, path: str | None = None) -> OSError:
    """The error of a number."""
    return OSError(number, os.strerror(number), path) if path else OSError(number, os.strerror(number))


class File(Open):
    """An open file or directory."""

    def __init__(self, it: Inode, path: str = "", *, appends: bool = False) -> None:
        super().__init__()
        self.inode, self.path, self.appends, self.offset = it, path, appends, 0

    def readable(self) -> bool:
        """Files never wait."""
        return True


class PidFile(Open):
    """A descriptor of a process."""

    def __init__(self, process: Process, kernel: Kernel) -> None:
        super().__init__()
        self.process = process
        process.watchers.append(self)

    def readable(self) -> bool:
        """It has ended."""
        return self.process.dead


RUSAGE = SimpleNamespace(
    ru_utime=0.01, ru_stime=0.01, ru_maxrss=4096, ru_minflt=1, ru_majflt=0, ru_inblock=0, ru_oublock=0, ru_nvcsw=1,
    ru_nivcsw=0,
)  # fmt: skip


class FakePath:
    """The module os.path: what looks at files is ours."""

    def __init__(self, fake: FakeOs) -> None:
        self._fake = fake

    def __getattr__(self, name: str) -> Any:
        value = getattr(os.path, name)
        setattr(self, name, value)
        return value

    def exists(self, path: Any) -> bool:
        """As os.path.exists."""
        try:
            self._fake.stat(path)
        except OSError:
            return False
        return True

    lexists = exists

    def isdir(self, path: Any) -> bool:
        """As os.path.isdir."""
        try:
            return self._fake._system.inode(path).kind == "d"
        except OSError:
            return False


class Entry:
    """As os.DirEntry."""

    __slots__ = ("_inode", "name", "path")

    def __init__(self, name: str, path: str, inode: Inode) -> None:
        self.name, self.path, self._inode = name, path, inode

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Tell whether it is a directory."""
        return self._inode.kind == "d"

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Tell whether it is a regular file."""
        return self._inode.kind == "f"

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """As stat(2)."""
        return self._inode.status()


class Entries(list[Entry]):
    """As the iterator of os.scandir."""

    def __enter__(self) -> Entries:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def close(self) -> None:
        """Nothing is open."""
