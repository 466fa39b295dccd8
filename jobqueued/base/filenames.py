"""File names of jobs and attempts, and the names that users give their job files.

The IDs of crontab jobs and users' jobs contain a slash, and no ID contains a plus. Therefore a file name has a
plus in place of the slash.
"""

from __future__ import annotations

import re

OF_A_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_A_NAME = "a name such as backup: up to 64 characters of A-Z a-z 0-9 . _ -, starting with a letter or digit"


def file_name(name: str) -> str:
    """Return the file or directory name for the name of a job, a run or an attempt."""
    return name.replace("/", "+")


def named_by_file(name: str) -> str:
    """Return the name of a job, a run or an attempt from its file name: the inverse of `file_name`."""
    return name.replace("+", "/")


def named(text: str) -> str:
    """Return the name of a user's job file without its suffix; `text` may have the suffix. Raises ValueError if the
    name is invalid.
    """
    name = text.removesuffix(".yaml").removesuffix(".yml")
    if not OF_A_USER.fullmatch(name):
        raise ValueError(f"{text!r}; expected {_A_NAME}")
    return name
