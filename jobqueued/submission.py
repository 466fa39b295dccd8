"""Submissions: jobs that somebody hands in to run once.  Such a job is gone when nothing more is to come of it."""

from __future__ import annotations

import re

from jobqueued.child.tuples import NamedTuple

FILE = "(submitted)"
"""The word that stands for the file of such a job, as there is none."""
OF_THE_HOST = "host"
"""The first part of the ids of those of root and the daemon's own user: ``host/17``."""
MOST_RUNS = 100_000
"""So many runs an array has at most, and so many submissions wait at a time."""
MOST_BYTES = 64 << 20
"""So many bytes the texts of all submissions of a user have, while they wait."""
KEY = re.compile(r"[\x21-\x7e]{1,100}")
"""A key of the asker's own, by which it is the same submission if it is asked for again."""
_NUMBERED = re.compile(r"[^/]+/[1-9][0-9]*", re.ASCII)


class Array(NamedTuple):
    """The runs of a job, one for each index from `first` to `last`, each `step`; run number 1 has the first."""

    first: int
    last: int
    step: int = 1

    @property
    def runs(self) -> int:
        """The number of runs."""
        return (self.last - self.first) // self.step + 1

    def index_of(self, number: int) -> int:
        """The index of the run of this number."""
        return self.first + (number - 1) * self.step


class After(NamedTuple):
    """A run (``alice/17@3``) or a submission with all its runs, whose end is awaited; `result`: success or any."""

    name: str
    result: str = "success"


class Submission(NamedTuple):
    """The part of a job that only submissions have."""

    array: Array | None = None
    after: tuple[After, ...] = ()
    key: str = ""
    """The asker's own; "": none."""

    @property
    def runs(self) -> int:
        """The number of its runs."""
        return 1 if self.array is None else self.array.runs


class Resized(NamedTuple):
    """Somebody wants so many runs of a submission at a time; `text`: its own by then; the answer goes to `ticket`."""

    ticket: int
    job: str
    runs: int
    text: str
    asked_by: str


def pool_of(job: str) -> str:
    """The name of all submissions of the user whose submission has this id: ``alice/``."""
    return f"{job.partition('/')[0]}/"


def is_numbered(job: str) -> bool:
    """Tell whether an id is one that submissions without a name are given."""
    return _NUMBERED.fullmatch(job) is not None
