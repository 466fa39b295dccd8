"""The problems of a file, as people are told them."""

from __future__ import annotations

from jobqueued.child.tuples import NamedTuple


class Problem(NamedTuple):
    """One thing wrong with a file, as a person can mend it, in a job of that id, if in one.

    Lines and columns count from 1; 0: unknown.  The severity is "error", "warning" or "note".  `code` says what kind of
    thing it is: `jobqueuectl check --explain`; ctl/findings.py has them all.
    """

    file: str
    line: int
    column: int
    key: str
    message: str
    severity: str = "error"
    job: str = ""
    code: str = ""

    def __str__(self) -> str:
        where = [self.file, *(str(number) for number in (self.line, self.column) if number)]
        return ": ".join(filter(None, (":".join(where), self.job, self.key, self.message)))
