"""Drop-ins on the disk: files in a directory whose name is the main file's name plus ``.d``, in several places."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from jobqueued.child.contract.trust import FileRefused, check_status
from jobqueued.jobfile.tree.drop_ins import MAX_DROP_INS

_SUFFIX = ".d"
_MOST_NAMES = 1000
"""Maximum number of names to read in a drop-in directory, because more are probably a mistake."""


def is_job_file(name: str) -> bool:
    """Return whether the daemon reads a file with this name in a directory of job files or drop-ins.

    Only ``*.yaml`` and ``*.yml`` are read, not the leftovers of editors and package managers (``~``, ``.swp``,
    ``.dpkg-old``). Dotfiles and files with unprintable names are not read either.
    """
    return name.endswith((".yaml", ".yml")) and not name.startswith(".") and name.isprintable()


def drop_in_directory(name: str) -> str:
    """Return the name (or path) of the drop-in directory for the file with this name (or path)."""
    return name + _SUFFIX


def file_of_drop_ins(directory: str) -> str:
    """Return the name of the file whose drop-ins are in a directory with this name, or "" if this is not a drop-in
    directory's name.
    """
    name = directory.removesuffix(_SUFFIX)
    return name if name != directory and is_job_file(name) else ""


def listed(directory: str, daemon: int | None) -> list[str]:
    """Return the names of the drop-ins in a directory, or [] if the directory is missing.

    Raises FileRefused or OSError.

    `daemon` is the user of the daemon that reads the files. The directory is refused if users other than this user and
    root can write to it; None turns this check off.
    """
    try:
        found = os.lstat(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    if not stat.S_ISDIR(found.st_mode):
        kind = "symbolic link" if stat.S_ISLNK(found.st_mode) else "file"
        raise FileRefused(f"found a {kind}; expected a directory of drop-ins")
    if daemon is not None:
        check_status(found, directory, daemon)
    with os.scandir(directory) as entries:
        names = [entry.name for entry in islice(entries, _MOST_NAMES + 1)]
    drop_ins = list(filter(is_job_file, names))
    if len(names) > _MOST_NAMES:
        raise FileRefused(f"found more than {_MOST_NAMES} files; expected at most {MAX_DROP_INS} drop-ins for a file")
    return drop_ins


def places(directories: Sequence[str], names: Callable[[int, str], Iterable[str]]) -> list[tuple[int, str]]:
    """Return the drop-ins for a file, sorted by name, each with the number of the first directory that has this name.

    `names` is called with the number and the path of each directory, and returns the names in the directory. Raises
    FileRefused if there are too many drop-ins, and passes on any exception of `names`.
    """
    found: dict[str, int] = {}
    for number, directory in reversed(list(enumerate(directories))):
        found |= dict.fromkeys(names(number, directory), number)
    if len(found) > MAX_DROP_INS:
        raise FileRefused(f"found {len(found)} drop-ins; expected at most {MAX_DROP_INS} of a file")
    return [(found[name], name) for name in sorted(found, key=os.fsencode)]
