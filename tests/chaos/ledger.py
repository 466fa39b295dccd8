"""The ledger: what the jobs themselves wrote down."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Attempt(NamedTuple):
    """One attempt of a run: ``backup@142``, 2."""

    run: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.run}.{self.attempt}"


class Start(NamedTuple):
    """A process of a job has begun; its parent is its supervisor, unless that was dead already."""

    job: str
    due: str
    pid: int
    parent: int
    at: int


class End(NamedTuple):
    """It is about to exit with `code`, and its standard output took `written` bytes."""

    code: int
    written: int
    at: int


class Overlap(NamedTuple):
    """It had not got a claim that it should have had alone."""

    claim: str
    holder: str
    at: int


@dataclass
class Ledger:
    """All lines, by attempt."""

    starts: dict[Attempt, list[Start]] = field(default_factory=dict)
    ends: dict[Attempt, list[End]] = field(default_factory=dict)
    overlaps: list[tuple[Attempt, Overlap]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, file: Path) -> Ledger:
        """Read a ledger."""
        ledger = cls(lines=file.read_text().splitlines() if file.exists() else [])
        for line in ledger.lines:
            ledger._take(*line.split())
        return ledger

    def _take(self, verb: str, *words: str) -> None:
        match verb, words:
            case "start", (job, run, attempt, due, pid, parent, at):
                start = Start(job, due, int(pid), int(parent), int(at))
                self.starts.setdefault(Attempt(run, int(attempt)), []).append(start)
            case "end", (run, attempt, code, written, at):
                self.ends.setdefault(Attempt(run, int(attempt)), []).append(End(int(code), int(written), int(at)))
            case "overlap", (run, attempt, claim, holder, at):
                self.overlaps.append((Attempt(run, int(attempt)), Overlap(claim, holder, int(at))))

    def of(self, run: str) -> list[str]:
        """The lines about a run."""
        return [line for line in self.lines if run in line.split()]
