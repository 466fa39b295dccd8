"""The problems in a file, as shown to people."""

from __future__ import annotations

from jobqueued.child.contract.tuples import NamedTuple


class Problem(NamedTuple):
    """One problem in a file that a person can fix; `job` is the ID of the affected job, or "".

    Lines and columns count from 1; 0 means unknown. The severity is "error", "warning" or "note". `code` is the kind of
    problem, which `jobqueuectl check --explain` explains; ctl/base/findings.py lists all codes.
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
