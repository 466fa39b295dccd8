"""Submissions: jobs that a user submits to run once. A submission is removed when all its runs have ended."""

from __future__ import annotations

import re

from jobqueued.child.contract.tuples import NamedTuple

FILE = "(submitted)"
"""Text in place of a submission's file, because a submission has no file."""
OF_THE_HOST = "host"
"""First part of the IDs of submissions by root or by the daemon's own user: ``host/17``."""
MOST_RUNS = 100_000
"""Maximum number of runs in an array, and of submissions or runs that wait at a time."""
MOST_BYTES = 64 << 20
"""Maximum total size (bytes) of the texts of a user's waiting submissions."""
KEY = re.compile(r"[\x21-\x7e]{1,100}")
"""Pattern of a user's key; a repeated request with the same key creates no second submission."""
_NUMBERED = re.compile(r"[^/]+/[1-9][0-9]*", re.ASCII)


class Array(NamedTuple):
    """The runs of an array: one for each index from `first` to `last`, in steps of `step`. Run number 1 has the first
    index.
    """

    first: int
    last: int
    step: int = 1

    @property
    def runs(self) -> int:
        """The number of runs."""
        return (self.last - self.first) // self.step + 1

    def index_of(self, number: int) -> int:
        """Return the index of the run with this number."""
        return self.first + (number - 1) * self.step


class After(NamedTuple):
    """An awaited end of a run (``alice/17@3``) or of a submission with all its runs; `result`: success or any."""

    name: str
    result: str = "success"


class Submission(NamedTuple):
    """The part of a job that only submissions have."""

    array: Array | None = None
    after: tuple[After, ...] = ()
    key: str = ""
    """The user's key for the request, or "" if the user gave none."""

    @property
    def runs(self) -> int:
        """The number of the submission's runs."""
        return 1 if self.array is None else self.array.runs


class Resized(NamedTuple):
    """Event: a user changes how many runs of a submission may be live.

    `text`: the submission's new definition. The answer goes to `ticket`.
    """

    ticket: int
    job: str
    runs: int
    text: str
    asked_by: str


def pool_of(job: str) -> str:
    """Return the name of a user's pool of submissions, such as ``alice/``, from the ID of any of these submissions."""
    return f"{job.partition('/')[0]}/"


def is_numbered(job: str) -> bool:
    """Return whether an ID has the form of a submission without a name: ``alice/17``."""
    return _NUMBERED.fullmatch(job) is not None
