"""Names of jobs and attempts as names of files: a job of a crontab has a slash in its name, and no job a plus."""

from __future__ import annotations


def file_name(name: str) -> str:
    """The name of the file or directory of a job, a run or an attempt."""
    return name.replace("/", "+")


def named_by_file(name: str) -> str:
    """The inverse of `file_name`."""
    return name.replace("+", "/")
