"""The ledger: what the jobs themselves wrote down."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

GRAIN = 10**7
"""The shell reads uptimes in hundredths of a second (ns), cut."""
_GIVEN_UP = 2
"""The exit code of a shell that gives up, as it can't make a process; it says so."""


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
    """It is about to exit with `code`, and its standard output took `written` bytes; None: the shell wrote, too."""

    code: int
    written: int | None
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
    asked: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The jobs that ran with a key of who submitted them, by that."""
    indexes: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    """The runs of an array with their indexes, by job."""
    booted: int = 0
    """The instant (ns) of uptime 0."""
    lines: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, file: Path) -> Ledger:
        """Read a ledger."""
        booted = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        ledger = cls(lines=file.read_text().splitlines() if file.exists() else [], booted=booted)
        for line in ledger.lines:
            ledger._take(*line.split())
        return ledger

    def _take(self, verb: str, *words: str) -> None:
        match verb, words:
            case "start", (job, run, attempt, due, pid, parent, at):
                start = Start(job, due, int(pid), int(parent), int(at))
                self.starts.setdefault(Attempt(run, int(attempt)), []).append(start)
            case "tick", (job, run, attempt, due, pid, parent, key, index, uptime):
                start = Start(job, due, int(pid), int(parent), self._at(uptime))
                self.starts.setdefault(Attempt(run, int(attempt)), []).append(start)
                self.asked[key].add(job)
                self.indexes[job].append((run, index))
            case "tock", (run, attempt, code, uptime):
                written = None if int(code) == _GIVEN_UP else 0
                self.ends.setdefault(Attempt(run, int(attempt)), []).append(End(int(code), written, self._at(uptime)))
            case "end", (run, attempt, code, written, at):
                self.ends.setdefault(Attempt(run, int(attempt)), []).append(End(int(code), int(written), int(at)))
            case "overlap", (run, attempt, claim, holder, at):
                self.overlaps.append((Attempt(run, int(attempt)), Overlap(claim, holder, int(at))))

    def _at(self, uptime: str) -> int:
        """The instant of an uptime in seconds."""
        return self.booted + int(uptime.replace(".", "")) * 10**7

    def of(self, run: str) -> list[str]:
        """The lines about a run."""
        return [line for line in self.lines if run in line.split()]
