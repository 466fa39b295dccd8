"""Drafts: jobs to write into a job file, with their source's meaning, and notes about each line of the source."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from jobqueued.base.problem import Problem
from jobqueued.model.job import Job

_LONGEST = 60
_OTHER = "[^a-z0-9._-]+"
DIFFERS = "JQ607"
"""Problem code for a job whose meaning differs from its source."""


SAID = frozenset(("schedule", "environment.MAILTO", "command"))
"""Job-file keys whose warnings are omitted, because they are for hand-written files or are already reported for the
source.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDraft:
    """A job to write into a job file: `keys` for YAML, and `means`, the Job that the source means.

    `above`: the comments directly above the job; `apart`: comments further up. `differs`: notes on the parts that a job
    file can't express.
    """

    id: str
    keys: Mapping[str, Any]
    means: Job
    line: int = 0
    above: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()


@dataclass(slots=True)
class ImportedFile:
    """Another scheduler's file: its lines as `rows` in the form of ``import --json``, and its jobs.

    `head` and `tail` are the comments at the file's beginning and end.
    """

    file: str
    name: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    drafts: list[JobDraft] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    head: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()

    @property
    def used(self) -> set[int]:
        """The numbers of the lines that became jobs."""
        return {draft.line for draft in self.drafts}

    def leave_out(self, ids: Collection[str]) -> None:
        """Turn each line that became one of these jobs into a comment."""
        lines = {draft.line for draft in self.drafts if draft.id in ids}
        rows = {row["id"]: row for row in self.rows if row["type"] == "job"}
        drafts, comments = self.drafts, list[str]()
        self.drafts = []
        for draft in drafts:
            if draft.line not in lines:
                self.drafts.append(replace(draft, apart=(*comments, *draft.apart)))
                comments.clear()
                continue
            comments += [*draft.apart, *draft.above]
            if row := rows.get(draft.id):  # of several jobs of a line, the row has the first
                comments.append(left_out(draft.line, f"{row['schedule']} {row['command']}"))
                row["id"] = None
        self.tail = (*comments, *self.tail)

    def add_problem(self, line: int, message: str, severity: str = "warning") -> None:
        """Add a problem in a line."""
        code = "JQ608" if severity == "warning" else "JQ609"
        self.problems.append(Problem(self.file, line, 0, "", message, severity, code=code))


class UniqueIds:
    """Generates IDs that are unique on a host."""

    def __init__(self, taken: set[str] | None = None) -> None:
        self._taken = set(taken or ())

    def free(self, *words: str) -> str:
        """Return a free ID that is made of these words."""
        text = re.sub(_OTHER, "-", "-".join(filter(None, words)).lower()).strip("-._")[:_LONGEST].strip("-._") or "job"
        found, number = text, 1
        while found in self._taken:
            number += 1
            found = f"{text}-{number}"
        self._taken.add(found)
        return found


def left_out(line: int, text: str) -> str:
    """Return the comment for a line that is not imported."""
    return f"# line {line} is not imported: {text}"


def name_of_file(name: str) -> str:
    """Return the job file's name for a source with this name."""
    return f"{re.sub(_OTHER, '-', name.lower()).strip('-._') or 'imported'}.yaml"
