"""A refused value, as data. Only this module writes its message: "found X; expected Y"."""

from __future__ import annotations

from jobqueued.base.problem import Problem
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.jobfile.tree.yamltext import Node, described


class Refusal(NamedTuple):
    """A refused value: its place in the file, its description, and the accepted values.

    `key` is the place inside a value: "", ``[2]``, ``.PATH``; the reader of the surrounding mapping adds the mapping's
    key. `meant`: the spelling that was probably meant. `stands_for`: our key, if an unknown key is another program's
    name for it. `code`: code of the Problem. `is_sure`: `meant` or `stands_for` is the value's only possible meaning.
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
        """Refuse the value at `node`; `found` replaces the usual description of the value."""
        return cls(node.line, node.column, "", found or described(node), accepted, meant, code=code)

    def below(self, place: str) -> Refusal:
        """Return the refusal with `place` before its key, for the surrounding value."""
        return self._replace(key=place + self.key)

    def problem(self, file: str = "") -> Problem:
        """Return the refusal as a Problem with its message."""
        accepted = f"{self.meant} ({self.accepted})" if self.meant else self.accepted
        message = f"found {self.found}; expected {accepted}"
        return Problem(file, self.line, self.column, self.key, message, code=self.code)


class NotAccepted(Exception):
    """A value is not accepted; `refusals` has all reasons."""

    def __init__(self, *refusals: Refusal) -> None:
        super().__init__(*refusals)
        self.refusals = refusals
