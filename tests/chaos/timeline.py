"""The timeline: every fault with its instant, and what the verdicts need to know of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from tests.chaos.known import Known

FOREVER = 1 << 63
WRITTEN_BACK = 90 * 10**9
"""The kernel has written to the disk what is so old (ns)."""


class Span(NamedTuple):
    """From when till when (ns, wall)."""

    begin: int
    end: int

    def has(self, instant: int) -> bool:
        """Whether an instant lies in it."""
        return self.begin <= instant <= self.end


@dataclass
class Hurt:
    """A state.db that was cut or damaged."""

    spans: list[Span]
    """From the first blow till the daemon was well again, by each clock."""
    at: int
    """When it was done."""
    told: dict[str, int]
    """The last attempt of each run of which a file told then."""
    known: Known | None
    """What it knew before, and no file; None: it could not be read."""

    @property
    def end(self) -> int:
        """When the daemon was well again."""
        return max(span.end for span in self.spans)

    def over(self, now: int) -> None:
        """Note that the daemon is well again, unless it has been before."""
        self.spans[0] = Span(self.spans[0].begin, min(self.spans[0].end, now))


class Killed(NamedTuple):
    """A supervisor that we killed, or starved."""

    pid: int
    at: int


@dataclass
class Timeline:
    """What was done to the daemon, and what came of it at once."""

    lines: list[tuple[int, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    blows: list[int] = field(default_factory=list)
    """The instants of faults."""
    killed: list[Killed] = field(default_factory=list)
    starved: list[Killed] = field(default_factory=list)
    """Processes that were left without descriptors, some of which were about to become a job."""
    supervisors: set[int] = field(default_factory=set)
    """Every pid that was one."""
    launchers: set[int] = field(default_factory=set)
    """Every pid that was one, and inherited jobs whose supervisor was dead."""
    hurts: list[Hurt] = field(default_factory=list)
    rewritten: list[int] = field(default_factory=list)
    """When a living daemon had to write state.db again: its history is that of the records, after another start."""
    wal_hurt: list[int] = field(default_factory=list)
    """When state.db-wal was cut or damaged: what is left may be a mixture of pages of different ages."""
    records_hurt: dict[str, int] = field(default_factory=dict)
    """Runs whose record file was cut, damaged or lost with its disk, and when."""
    logs_lost: list[Span] = field(default_factory=list)
    """What was written to the disk of the records then, and not synced, may be gone with it."""
    marks_hurt: set[str] = field(default_factory=set)
    """Attempts of which a file of R was cut or damaged."""
    run_removed: list[Span] = field(default_factory=list)
    """The run directory was removed; till all was well again."""
    quiet: list[Span] = field(default_factory=list)
    """When the clock was far back, the daemon was well, and nothing was done; in the end by the daemon's clock."""
    broken: dict[str, list[Span]] = field(default_factory=dict)
    """Job files, and when they could not be read."""
    away: dict[str, list[Span]] = field(default_factory=dict)
    """Job files, and when they were away for so long that they count as removed."""
    accepted: dict[str, int] = field(default_factory=dict)
    """Runs by hand that the daemon has accepted, and when."""
    failures: list[tuple[str, int, str]] = field(default_factory=list)
    """Verdicts that are known already: class, instant, text."""

    def say(self, text: str, kind: str = "") -> None:
        """Note what was done; `kind` counts it as a fault."""
        at = time.time_ns()
        self.lines.append((at, text))
        self.counts.update([kind] * bool(kind))
        self.blows.extend([at] * bool(kind))
        print(f"{clock(at)}  {text}", flush=True)

    def fail(self, verdict: str, text: str) -> None:
        """Note a violation seen at once."""
        self.failures.append((verdict, time.time_ns(), text))
        self.say(f"!! {verdict}: {text.splitlines()[0]}")

    @property
    def hurt_spans(self) -> list[Span]:
        """When state.db was hurt, by each clock."""
        return [span for hurt in self.hurts for span in hurt.spans]

    def is_troubled(self, begin: int, end: int) -> bool:
        """Whether anything was done between two instants that can cost an answer."""
        return any(begin <= at <= end for at in self.blows)

    def translate(self, told_between: Callable[[int, int], tuple[int, int]]) -> None:
        """Add what the daemon's clock said of each span, so that instants of either clock are found in it."""
        named = [*self.broken.values(), *self.away.values()]
        self.quiet = [Span(*told_between(span.begin, span.end)) for span in self.quiet]
        for spans in (*(hurt.spans for hurt in self.hurts), self.logs_lost, *named):
            spans += [Span(*told_between(span.begin, min(span.end, time.time_ns()))) for span in list(spans)]

    def around(self, begin: int, end: int, seconds: float = 3) -> list[str]:
        """The lines from some seconds before `begin` to some after `end`."""
        slack = int(seconds * 1e9)
        return [f"{clock(at)}  {text}" for at, text in self.lines if begin - slack <= at <= end + slack]


def clock(at: int) -> str:
    """An instant as the daemon's log has it: ``05:28:49.003310``."""
    return datetime.fromtimestamp(at / 1e9, UTC).strftime("%H:%M:%S.%f")


def instant(text: str) -> int:
    """The ns of an instant in RFC 3339."""
    when = datetime.fromisoformat(text)
    return int(when.replace(microsecond=0).timestamp()) * 10**9 + when.microsecond * 1000
