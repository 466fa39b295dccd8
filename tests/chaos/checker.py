"""The verdicts: what the jobs wrote down, beside what the daemon says.  Only the former is believed."""

from __future__ import annotations

import signal
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from tests.chaos import dues, order, rounds, submitted, told
from tests.chaos.day import Day
from tests.chaos.evidence import Evidence, Record
from tests.chaos.job import said as output_of
from tests.chaos.jobs import Job
from tests.chaos.ledger import GRAIN, Attempt, End, Ledger, Start
from tests.chaos.losses import Losses
from tests.chaos.overlaps import side_by_side
from tests.chaos.passages import Passages
from tests.chaos.timeline import instant
from tests.chaos.verdict import Violation

SECOND = 10**9
_EARLY = SECOND // 2
"""A timeout may be seen so much earlier (ns) by the job, which begins to count a bit later than its supervisor."""
_ORPHANED = 10 * SECOND
"""A job may write its first line so long after its supervisor was killed."""
_BEFORE = 2 * SECOND
"""The first run was due so long before it began, at most."""
_FLUSHED = 45 * SECOND
"""The kernel begins to write after 30 s what nobody has synced, such as output (vm.dirty_expire_centisecs)."""


class Checker:
    """All checks of one day."""

    def __init__(self, day: Day, ledger: Ledger, evidence: Evidence) -> None:
        self.day, self.ledger, self.evidence = day, ledger, evidence
        self.timeline, self.records = day.timeline, evidence.records
        self.notes: Counter[str] = Counter()
        first = min((start.at for starts in ledger.starts.values() for start in starts), default=day.morning)
        self.passages = Passages(day.strain.told(first) - _BEFORE, day.strain.steps, day.timeline.quiet)
        self._of_supervisor: dict[int, list[int]] = defaultdict(list)
        self.losses = Losses(day.timeline, ledger, evidence)
        for starts in ledger.starts.values():
            for start in starts:
                self._of_supervisor[start.parent].append(start.at)

    def violations(self) -> Iterator[Violation]:
        """Find all that is wrong."""
        for verdict, at, text in self.timeline.failures:
            yield Violation(verdict, text, "", at)
        for bug, count in self.evidence.bugs.items():
            yield Violation("bugs", f"{count} times: {bug}", "", 0)
        yield from self._doubled()
        yield from self._overlaps()
        yield from side_by_side(self)
        if not self.day.history:
            return  # the daemon never came back: nothing can be lost yet
        yield from self._forgotten()
        yield from self._attempts()
        yield from self._invented()
        yield from self._against_files()
        yield from dues.lost(self)
        yield from order.broken(self)
        yield from rounds.broken(self)
        yield from told.untold(self)
        yield from submitted.broken(self)
        self.notes["attempts that only state.db told of when it was hurt"] = len(self.losses.unkept)
        self.notes["times that state.db could not be read before it was hurt"] = sum(
            hurt.known is None for hurt in self.timeline.hurts
        )

    # started twice

    def _doubled(self) -> Iterator[Violation]:
        runs: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
        for attempt, starts in self.ledger.starts.items():
            for one, two in pairwise(starts):
                if self.losses.record(attempt.run):
                    self.notes["attempts that may be forgotten with state.db, and came twice"] += 1
                else:
                    yield Violation(
                        "doubled", f"{attempt} started again, due {one.due}, {two.due}", attempt.run, two.at
                    )
            first = starts[0]
            key = self.records.get(attempt.run, {}).get("key") or first.due
            runs[first.job, key].setdefault(attempt.run, first.at)
            if self.is_clocked(first.job):
                runs[first.job, f"at {first.due}"].setdefault(attempt.run, first.at)
        for (job, due), found in runs.items():
            if len(found) <= self._most(job, due):
                continue
            if any(map(self.losses.record, found)):
                self.notes["due times that may be forgotten with state.db, and came twice"] += 1
            else:
                yield Violation(
                    "doubled", f"{job} due {due} ran as {' and '.join(found)}", min(found), max(found.values())
                )
        for name, defined in self.day.jobs.items():
            limit = defined.keys.get("max_runs")
            started = {attempt.run: one[0].at for attempt, one in self.ledger.starts.items() if one[0].job == name}
            forgotten = sum(self.losses.record(run) for run in started)
            if limit is not None and len(started) > limit + forgotten:
                yield Violation("doubled", f"{name}: max_runs {limit}, {len(started)} ran", name, max(started.values()))

    def _most(self, job: str, due: str) -> int:
        """How many runs may be of one occurrence, or of one due time: as many as the clock showed that."""
        if not due.startswith("at "):
            return 1
        return max(1, self.passages.shows(self.day.jobs[job], instant(due.removeprefix("at ")) // SECOND))

    def is_clocked(self, job: str) -> bool:
        """Whether the clock makes a job due."""
        return job in self.day.jobs and self.day.jobs[job].is_clocked

    def is_in_no_file(self, job: str) -> bool:
        """Whether the file of a job was away for so long that it counted as removed."""
        return self.day.file_of.get(job, "") in self.timeline.away

    def _overlaps(self) -> Iterator[Violation]:
        for attempt, overlap in self.ledger.overlaps:
            text = f"{attempt} lacks {overlap.claim}, which {overlap.holder} has"
            holders = tuple(holder.rpartition(".")[0] for holder in overlap.holder.split("+"))
            if all(map(self.losses.record, holders)):
                self.notes["overlaps with what may be forgotten with state.db"] += 1
            else:
                yield Violation("overlaps", text, attempt.run, overlap.at, holders)

    # started, and unknown

    def _forgotten(self) -> Iterator[Violation]:
        for attempt, starts in self.ledger.starts.items():
            record, at = self.records.get(attempt.run), starts[0].at
            if record is None:
                waited = attempt.run in self.evidence.retrying and self.losses.run(attempt.run, at)
                if waited or self.losses.record(attempt.run):
                    self.notes["attempts of runs that may be forgotten with state.db, and were"] += 1
                else:
                    yield Violation("lost", f"{attempt} has run, and there is no record", attempt.run, at)
            elif attempt.attempt not in self._told(record) and not self.losses.attempt(attempt, at):
                yield Violation("lost", f"{attempt} has run, and its record does not tell", attempt.run, at)
        for run, at in self.timeline.accepted.items():
            if run in self.records:
                continue
            if self.losses.record(run) or self.losses.run(run, at):
                self.notes["runs by hand that may be lost with state.db, and were"] += 1
            else:
                yield Violation("lost", f"{run} was accepted by hand, and there is no record", run, at)

    @staticmethod
    def _told(record: Record) -> dict[int, Record]:
        return {one["attempt"]: one for one in record.get("attempts") or () if "attempt" in one}

    # the verdict on each attempt

    def _attempts(self) -> Iterator[Violation]:
        for attempt, starts in self.ledger.starts.items():
            told = self._told(self.records.get(attempt.run, {})).get(attempt.attempt)
            if told is None or len(starts) > 1 or str(attempt) in self.timeline.marks_hurt:
                continue
            ends = self.ledger.ends.get(attempt, [])
            end = ends[0] if ends else None
            wrong = self._by_itself(attempt, starts[0], end, told) if end else self._cut_short(attempt, starts[0], told)
            if wrong:
                said = f"{told.get('state')} ({told.get('reason')}), exit code {told.get('exit_code')}"
                yield Violation("wrong", f"{attempt} {wrong}; its record: {said}", attempt.run, starts[0].at)
            elif end is not None and told["state"] in ("succeeded", "failed"):
                yield from self._output(attempt, end, told)

    def _invented(self) -> Iterator[Violation]:
        """An end with an exit code, of an attempt that never wrote its start."""
        starved = {blow.pid for blow in self.timeline.starved}
        for run, record in self.records.items():
            for number, one in self._told(record).items():
                has_ended = one.get("state") in ("succeeded", "failed") and one.get("exit_code") is not None
                if has_ended and Attempt(run, number) not in self.ledger.starts and one.get("pid") not in starved:
                    text = f"{run}.{number} is {one['state']}, and never ran"
                    yield Violation("wrong", text, run, self.began(run))

    def _by_itself(self, attempt: Attempt, start: Start, end: End, told: Record) -> str:
        """What is wrong with the record of one that came to its own end; "": nothing."""
        if told["state"] == ("failed" if end.code else "succeeded") and told.get("exit_code") == end.code:
            return ""
        if self._may_be_cut_short(attempt, start, told, end.at):
            return ""
        return f"ended by itself with code {end.code}"

    def _cut_short(self, attempt: Attempt, start: Start, told: Record) -> str:
        """The same of one that did not."""
        return "" if self._may_be_cut_short(attempt, start, told, 1 << 62) else "did not come to its end"

    def _may_be_cut_short(self, attempt: Attempt, start: Start, told: Record, at: int) -> bool:
        job = self.day.jobs.get(start.job, Job(start.job))
        match told["state"]:
            case "lost":
                return self._lost_its_supervisor(start) or self._lost_its_directory(start, at)
            case "failed":  # before its exec it had its supervisor's name, and was taken for one
                blows = self.timeline.killed if told.get("signal") == signal.SIGKILL else self.timeline.starved
                return any(blow.pid == start.pid and abs(blow.at - start.at) < _ORPHANED for blow in blows)
            case "timed_out":
                return "timeout" in job.keys and at - start.at >= int(job.keys["timeout"][:-1]) * SECOND - _EARLY
            case "oom_killed":
                return "memory" in job.words
        return False

    def _lost_its_supervisor(self, start: Start) -> bool:
        """Whether we killed the supervisor while this attempt was its own."""
        is_orphan = start.parent in self.timeline.launchers or start.parent not in self.timeline.supervisors
        if is_orphan and any(-GRAIN < start.at - killed.at < _ORPHANED for killed in self.timeline.killed):
            return True  # it was dead when the job looked
        later = min((at for at in self._of_supervisor[start.parent] if at >= start.at + GRAIN), default=1 << 62)
        killed = [killed.at for killed in self.timeline.killed if killed.pid == start.parent]
        return any(start.at - _ORPHANED < at <= later for at in killed)

    def _lost_its_directory(self, start: Start, end: int) -> bool:
        """Whether R may have gone with all of the run directory."""
        return any(
            start.at - _ORPHANED < gone.end and gone.begin < end + _ORPHANED for gone in self.timeline.run_removed
        )

    def _output(self, attempt: Attempt, end: End, told: Record) -> Iterator[Violation]:
        output = told.get("output") or {}
        size, dropped = output.get("bytes"), output.get("dropped")
        if None not in (size, dropped, end.written) and size + dropped != end.written:
            text = f"{attempt} wrote {end.written} bytes; its record: {size}, and {dropped} dropped"
            yield Violation("output", text, attempt.run, end.at)
        elif end.written and not dropped and output.get("file"):
            yield from self._content(attempt, end, Path(output["file"]))

    def _content(self, attempt: Attempt, end: End, file: Path) -> Iterator[Violation]:
        """Compare the file of an output with what was written, unless its disk failed before the kernel wrote it."""
        if any(lost.begin - _FLUSHED < end.at < lost.end + _ORPHANED for lost in self.timeline.logs_lost):
            self.notes["outputs that may be lost with their disk"] += 1
            return
        self.notes["outputs that are compared"] += 1
        wanted = output_of(end.written or 0)
        found = file.read_bytes() if file.exists() else b""
        if found != wanted:
            text = f"{attempt}: {file} has {found[:40]!r} … ({len(found)} bytes), not {wanted[:40]!r} … ({len(wanted)})"
            yield Violation("output", text, attempt.run, end.at)

    # the daemon against itself

    def _against_files(self) -> Iterator[Violation]:
        files, history = self.evidence.files, self.evidence.history
        for run, record in files.items():
            at = instant(record["queued"])
            if run not in history:
                yield Violation("forgotten", f"{run} has a record file, and history does not know it", run, at)
            elif record["state"] != history[run]["state"]:
                text = f"{run} is {record['state']} in its file, {history[run]['state']} in history"
                yield Violation("wrong", text, run, at)
        for run in history.keys() - files.keys():
            if run in self.timeline.records_hurt:
                self.notes["record files that were hurt, and not written again"] += 1
            else:
                yield Violation("unwritten", f"{run} is in history, and has no record file", run, self.began(run))
        for run, said in self.evidence.said.items():
            ended = [entry["record"]["state"] for entry in said if entry["event"] == "run_ended"]
            self.notes["runs whose end is in the log twice"] += len(ended) > 1
            state = self.records.get(run, {}).get("state")
            if ended and state not in (None, ended[-1]) and not self.losses.record(run):
                yield Violation("wrong", f"{run} was said to be {ended[-1]}, and is {state}", run, self.began(run))

    def began(self, run: str) -> int:
        """When a run was queued (ns), as far as its record tells."""
        return instant(self.records[run]["queued"]) if run in self.records else 0
