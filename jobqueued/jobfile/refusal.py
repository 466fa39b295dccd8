"""A value that is not accepted, as data; its words are made here only: "found X; accepted: Y"."""

from __future__ import annotations

from jobqueued.child.tuples import NamedTuple
from jobqueued.jobfile.yamltext import Node, described
from jobqueued.problem import Problem


class Refusal(NamedTuple):
    """One thing that is not accepted at a place of the file: what was found, and what is accepted there.

    `key` is the place inside a value: "", ``[2]``, ``.PATH``; whoever reads the mapping around it adds its key.
    `meant`: a spelling that was probably meant.  `stands_for`: our key, where an unknown one is another word for it.
    `code` is that of its Problem.  `is_sure`: what was meant can stand in its place, as nothing else can be.
    """

    line: int
    column: int
    key: str
    found: str
    accepted: str
    meant: str = ""
    stands_for: str = ""
    code: str = "JQ202"
    is_sure: bool = False

    @classmethod
    def of(cls, node: Node, accepted: str, found: str = "", meant: str = "", code: str = "JQ202") -> Refusal:
        """The value at `node` is refused; `found` describes it where its type does not say what is wrong."""
        return cls(node.line, node.column, "", found or described(node), accepted, meant, code=code)

    def below(self, place: str) -> Refusal:
        """The same, seen from further out."""
        return self._replace(key=place + self.key)

    def problem(self, file: str = "") -> Problem:
        """In words, as a person can mend it."""
        accepted = f"{self.meant} ({self.accepted})" if self.meant else self.accepted
        message = f"found {self.found}; accepted: {accepted}"
        return Problem(file, self.line, self.column, self.key, message, code=self.code)


class NotAccepted(Exception):
    """A value is not accepted, for all these reasons."""

    def __init__(self, *refusals: Refusal) -> None:
        super().__init__(*refusals)
        self.refusals = refusals
