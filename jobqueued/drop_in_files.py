"""Drop-ins on the disk: files beside a file, in a directory of its name and .d, in each of several places."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from jobqueued.child.trust import Refused, check_status
from jobqueued.jobfile.drop_ins import MAX_DROP_INS

_SUFFIX = ".d"
_MOST_NAMES = 1000
"""Names looked at in a directory of drop-ins: it has more only by mistake."""


def is_job_file(name: str) -> bool:
    """True if the directory's entry of this name is read.

    ``*.yaml`` and ``*.yml`` leave out what editors and package managers leave behind (``~``, ``.swp``, ``.dpkg-old``);
    dotfiles, and names that no terminal or journal could show, are left out too.
    """
    return name.endswith((".yaml", ".yml")) and not name.startswith(".") and name.isprintable()


def drop_in_directory(name: str) -> str:
    """The name, or path, of the directory that has the drop-ins of a file."""
    return name + _SUFFIX


def file_of_drop_ins(directory: str) -> str:
    """The name of the file of which a directory of this name has drop-ins; "": of none."""
    name = directory.removesuffix(_SUFFIX)
    return name if name != directory and is_job_file(name) else ""


def listed(directory: str, daemon: int | None) -> list[str]:
    """The names of the drop-ins in a directory, none if it is not there; Refused, OSError.

    `daemon` is the user of the daemon that reads it: nobody but root and that user may write there; None: nobody's.
    """
    try:
        found = os.lstat(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    if not stat.S_ISDIR(found.st_mode):
        kind = "symbolic link" if stat.S_ISLNK(found.st_mode) else "file"
        raise Refused(f"found a {kind}; accepted: a directory of drop-ins")
    if daemon is not None:
        check_status(found, directory, daemon)
    with os.scandir(directory) as entries:
        names = [entry.name for entry in islice(entries, _MOST_NAMES + 1)]
    drop_ins = list(filter(is_job_file, names))
    if len(names) > _MOST_NAMES:
        raise Refused(f"found more than {_MOST_NAMES} files; accepted: at most {MAX_DROP_INS} drop-ins of a file")
    return drop_ins


def places(directories: Sequence[str], names: Callable[[int, str], Iterable[str]]) -> list[tuple[int, str]]:
    """The drop-ins of a file, in the order of their names, each with the number of the first directory that has it.

    `names` takes the number of a directory and its path; Refused where there are too many, and what `names` raises.
    """
    found: dict[str, int] = {}
    for number, directory in reversed(list(enumerate(directories))):
        found |= dict.fromkeys(names(number, directory), number)
    if len(found) > MAX_DROP_INS:
        raise Refused(f"found {len(found)} drop-ins; accepted: at most {MAX_DROP_INS} of a file")
    return [(found[name], name) for name in sorted(found, key=os.fsencode)]
