"""File names of jobs and attempts, and the names that users give their job files.

Jobs of crontabs and users have a slash in their IDs, and no job has a plus: file names have a plus for the slash.
"""

from __future__ import annotations

import re

OF_A_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_A_NAME = "a name such as backup: up to 64 characters of A-Z a-z 0-9 . _ -, starting with a letter or digit"


def file_name(name: str) -> str:
    """Return the file or directory name of a job, a run or an attempt."""
    return name.replace("/", "+")


def named_by_file(name: str) -> str:
    """Invert `file_name`."""
    return name.replace("+", "/")


def named(text: str) -> str:
    """Return the name of a user's file, given with or without its suffix. Raises ValueError."""
    name = text.removesuffix(".yaml").removesuffix(".yml")
    if not OF_A_USER.fullmatch(name):
        raise ValueError(f"{text!r}; expected {_A_NAME}")
    return name
