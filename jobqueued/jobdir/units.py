"""Assembles a job file from the file in the first directory that has one, and the drop-ins in all directories."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from jobqueued.child.contract.trust import FileRefused
from jobqueued.jobdir.trust import MASKED
from jobqueued.jobfile.tree.drop_ins import FileText, packed
from jobqueued.jobfile.tree.yamltext import MAX_BYTES
from jobqueued.settings.drop_in_files import drop_in_directory, places

ORPHANS = "is ignored, because there is no {}; expected drop-ins of a job file"
"""Warning about a drop-in directory whose job file is missing."""


class Assembly:
    """Reads files with their drop-ins. `at` is the path that was read last, for error messages.

    `read` gets a directory's number and a path in this directory. `drop_ins` gets a directory's number and a file name.
    """

    def __init__(
        self,
        directories: Sequence[str],
        read: Callable[[int, str], bytes],
        drop_ins: Callable[[int, str], Iterable[str]],
    ) -> None:
        self._directories, self._read, self._drop_ins = directories, read, drop_ins
        self.at = directories[0]

    def text(self, name: str) -> bytes:
        """Return the file and its drop-ins, joined into one text. Raises FileNotFoundError and the errors of `read`."""
        return packed(self.parts(name), os.path.join(self._directories[0], name))

    def parts(self, name: str) -> list[FileText]:
        """Return the file and its drop-ins, except masked drop-ins. Raises the same errors as `text`."""
        main = self._main(name)
        if main.text == MASKED:
            return [main]
        folder = drop_in_directory(name)
        found = places([os.path.join(directory, folder) for directory in self._directories], self._names_of(name))
        drop_ins = [self._part(number, f"{folder}/{each}") for number, each in found]
        parts = [main, *(part for part in drop_ins if part.text != MASKED)]
        if drop_ins and sum(len(part.text) for part in parts) > MAX_BYTES:
            self.at = main.path
            raise FileRefused("found more than 1 MiB in the file and its drop-ins; expected at most 1 MiB")
        return parts

    def _main(self, name: str) -> FileText:
        for number in range(len(self._directories)):
            with suppress(FileNotFoundError, NotADirectoryError):
                return self._part(number, name)
        self.at = os.path.join(self._directories[0], name)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.at)

    def _names_of(self, name: str) -> Callable[[int, str], Iterable[str]]:
        def names(number: int, directory: str) -> Iterable[str]:
            self.at = directory
            return self._drop_ins(number, name)

        return names

    def _part(self, number: int, path: str) -> FileText:
        self.at = os.path.join(self._directories[number], path)
        return FileText(self.at, self._read(number, path))
