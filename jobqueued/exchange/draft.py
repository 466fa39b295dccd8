"""Drafts: jobs that are to be written, beside what their source means; and what is said of each line of a source."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jobqueued.model import Job
from jobqueued.problem import Problem

_LONGEST = 60
_OTHER = "[^a-z0-9._-]+"


SAID = frozenset(("schedule", "environment.MAILTO", "command"))
"""Keys of a job file whose warnings are for who writes one by hand, or are told of the source already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A job as it is to be written: `keys` as YAML has them, and `means`, the Job that its source is.

    `above` are the comments directly above it, `apart` those further up; `differs` says what a job file can't say.
    """

    id: str
    keys: Mapping[str, Any]
    means: Job
    line: int = 0
    above: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()


@dataclass(slots=True)
class Source:
    """A file of another scheduler, read: its lines as `rows` in the form of ``import --json``, and its jobs.

    `head` and `tail` are comments at its begin and end; `used` are the lines that have become jobs.
    """

    file: str
    name: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    head: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()

    @property
    def used(self) -> set[int]:
        """The lines of which jobs were made."""
        return {draft.line for draft in self.drafts}

    def tell(self, line: int, message: str, severity: str = "warning") -> None:
        """Say something about a line."""
        code = "JQ608" if severity == "warning" else "JQ609"
        self.problems.append(Problem(self.file, line, 0, "", message, severity, code=code))


class Ids:
    """The ids of a host: those that are taken, and new ones that nobody has."""

    def __init__(self, taken: set[str] | None = None) -> None:
        self._taken = set(taken or ())

    def free(self, *words: str) -> str:
        """An id made of words, as like them as an id may be."""
        text = re.sub(_OTHER, "-", "-".join(filter(None, words)).lower()).strip("-._")[:_LONGEST].strip("-._") or "job"
        found, number = text, 1
        while found in self._taken:
            number += 1
            found = f"{text}-{number}"
        self._taken.add(found)
        return found


def name_of_file(name: str) -> str:
    """The name of a job file for a source of this name."""
    return f"{re.sub(_OTHER, '-', name.lower()).strip('-._') or 'imported'}.yaml"
