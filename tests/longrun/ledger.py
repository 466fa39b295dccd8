"""The account: what the jobs wrote down, beside what was due, asked for, and said to be skipped.  Pure.

Only the jobs are believed; of the daemon only the word of what it has skipped, as nobody else can tell that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

SECOND = 10**9


class Skip(NamedTuple):
    """Skipped occurrences of a job in a row: the due times (s) of the first and the last, and how many."""

    first: int
    last: int
    times: int


class Account:
    """What has run: `starts` by run and attempt, `dues` by job (each due time, with how many runs), `caused` by run."""

    def __init__(self) -> None:
        self.starts = Counter[tuple[str, int]]()
        self.dues: dict[str, Counter[int]] = defaultdict(Counter)
        self.caused: dict[str, set[str]] = defaultdict(set)
        self.numbers: dict[str, set[int]] = defaultdict(set)
        self.damaged = list[str]()

    def take(self, line: str) -> None:
        """Take one line of the ledger."""
        try:
            run, attempt, due, cause = line.split()
            job, _, number = run.rpartition("@")
            self.starts[run, int(attempt)] += 1
            if int(number) not in self.numbers[job]:
                self.dues[job][int(datetime.fromisoformat(due).timestamp())] += 1
                self.numbers[job].add(int(number))
                if cause != "-":
                    self.caused[cause].add(run)
        except ValueError:
            self.damaged.append(line)

    @property
    def runs(self) -> int:
        """How many runs have started."""
        return sum(map(len, self.numbers.values()))


def skips_of(said: Iterable[Mapping[str, Any]]) -> dict[str, list[Skip]]:
    """The skips of each job, from the lines that the daemon has said of them."""
    found: dict[str, list[Skip]] = defaultdict(list)
    for line in said:
        found[line["job"]].append(Skip(line["first"] // SECOND, line["due"] // SECOND, line["times"]))
    return found


def violations(account: Account, periods: Mapping[str, int], skips: Mapping[str, Sequence[Skip]]) -> Iterator[str]:
    """What of the promises is broken: started twice, or neither started nor skipped.

    `periods`: of each job that the clock makes due, the seconds between two due times.
    """
    for line in account.damaged[:10]:
        yield f"the ledger has a line that makes no sense: {line!r}"
    for (run, attempt), times in account.starts.items():
        if times > 1:
            yield f"{run}, attempt {attempt}, was started {times} times"
    for job, period in periods.items():
        yield from _of_clock(job, period, account.dues.get(job, Counter()), list(skips.get(job, ())))


def _of_clock(job: str, period: int, ran: Counter[int], skips: list[Skip]) -> Iterator[str]:
    """Each due time has a run or is within a skip, and a skip counts no more than those that have not run."""
    for due, runs in ran.items():
        if runs > 1:
            yield f"{job}: {runs} runs were due at {due}"
    skips.sort()
    known = [*ran, *(skip.first for skip in skips)]
    if not known:
        yield f"{job}: nothing of it is known"
        return
    last = max([*ran, *(skip.last for skip in skips)])
    firsts, unaccounted, skipped = [skip.first for skip in skips], 0, 0
    for due in range(min(known), last + 1, period):
        if due in ran:
            continue
        place = bisect_right(firsts, due) - 1
        if place >= 0 and any(skip.first <= due <= skip.last for skip in skips[max(0, place - 50) : place + 1]):
            skipped += 1
        else:
            unaccounted += 1
            if unaccounted <= 3:
                yield f"{job}: nothing tells of its due time {due}"
    if unaccounted > 3:
        yield f"{job}: nor of {unaccounted - 3} others"
    counted = sum(skip.times for skip in skips)
    if skipped != counted and not unaccounted:
        yield f"{job}: {skipped} due times have not run, and {counted} were skipped"


def missing_after(account: Account, job: str, upstream: str, succeeded: Iterable[str], skipped: int) -> Iterator[str]:
    """What is wrong with a job that each success of another makes due: each of these runs has caused one of it."""
    found = [[run for run in account.caused.get(cause, ()) if run.rpartition("@")[0] == job] for cause in succeeded]
    doubled, missing = sum(len(runs) > 1 for runs in found), sum(not runs for runs in found)
    if doubled:
        yield f"{job}: {doubled} ends of {upstream} have made it due twice"
    if missing > skipped:
        yield f"{job}: {missing} ends of {upstream} have not made it due, and {skipped} were skipped"
