"""Losses that are not promised to be none: what only state.db knew when it was hurt, and what disks took with them."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property

from tests.chaos.evidence import Evidence
from tests.chaos.known import Known
from tests.chaos.ledger import Attempt, Ledger
from tests.chaos.timeline import Timeline

SECOND = 10**9
_CHECKPOINTED = 60 * SECOND
"""What is so old is in state.db itself, not only in the log of it."""
_BLIND = 120 * SECOND
"""What is not older may have been in a state.db that could not even be read before it was hurt."""


class Losses:
    """What a day may have lost."""

    def __init__(self, timeline: Timeline, ledger: Ledger, evidence: Evidence) -> None:
        self.timeline, self.evidence = timeline, evidence
        self.unkept: set[Attempt] = set()
        """Attempts of which only state.db told."""
        self._began: dict[str, list[tuple[int, int]]] = defaultdict(list)
        """The attempts of a run, and when each began."""
        self._times: dict[str, list[int]] = defaultdict(list)
        """When the attempts of a run began and ended."""
        for attempt, starts in ledger.starts.items():
            ends = ledger.ends.get(attempt, [])
            self._began[attempt.run] += [(attempt.attempt, start.at) for start in starts]
            self._times[attempt.run] += [each.at for each in (*starts, *ends)]

    def attempt(self, attempt: Attempt, began: int) -> bool:
        """Whether no file told of an attempt when state.db was hurt."""
        for hurt in self.timeline.hurts:
            if began <= hurt.at and hurt.told.get(attempt.run, 0) < attempt.attempt:
                self.unkept.add(attempt)
                return True
        return False

    def record(self, run: str) -> bool:
        """Whether its record file was hurt, or not yet there, and then state.db, or the log of that soon after."""
        if any(self.attempt(Attempt(run, number), began) for number, began in self._began[run]):
            return True
        harmed = self.timeline.records_hurt.get(run)
        times = self._times.get(run, ())
        if any(0 <= hurt - one < _CHECKPOINTED for hurt in self.timeline.wal_hurt for one in times):
            return True
        lost = [span.begin for span in self.timeline.logs_lost if any(map(span.has, times))]
        since = min([*lost, *([] if harmed is None else [harmed])], default=None)
        ends = [*(hurt.end for hurt in self.timeline.hurts), *self.timeline.rewritten]
        return since is not None and any(end >= since for end in ends)

    def run(self, run: str, since: int) -> bool:
        """Whether only state.db knew that a run waits, from `since` on, or how it ended."""
        return self._is_blind(since) or any(run in known.runs for known in self._known)

    def due(self, job: str, due: int) -> bool:
        """Whether only state.db knew what came of a due time, or it came while state.db was not well."""
        for hurt in self.timeline.hurts:
            if hurt.known is None:
                continue
            if hurt.known.cursors.get(job, 0) < due and any(due <= span.end for span in hurt.spans):
                return True
            if any(dues.first <= due <= dues.last for dues in hurt.known.dues.get(job, ())):
                return True
        return self._is_blind(due) or any(map(self.record, self._skips.get((job, due), ())))

    def key(self, job: str, key: str, upstream: str, ended: int) -> bool:
        """Whether only state.db knew that a job was due by a key, at the end of another run."""
        if self.run(upstream, ended) or any((job, key) in known.keys for known in self._known):
            return True
        return any(map(self.record, self.evidence.by_key[job, key]))

    def joined(self, job: str) -> int:
        """The number of occurrences that only state.db knew to be told by a run of another's key."""
        return sum(dues.count - 1 for known in self._known for dues in known.dues.get(job, ()))

    def submission(self, job: str, at: int) -> bool:
        """Whether only state.db knew a submission, which was answered `at`."""
        return self._is_blind(at) or any(job in known.submissions for known in self._known)

    def asked(self, job: str, at: int) -> bool:
        """Whether only state.db knew the key by which a submission was asked for."""
        return self._is_blind(at) or any(job in known.asked for known in self._known)

    def notice(self, channel: str, run: str, ended: int) -> bool:
        """Whether only state.db knew that somebody is to be told of an end, or of the end."""
        if self.run(run, ended) or self.record(run):
            return True
        return any(to.startswith(channel) and run == of for known in self._known for to, of, _more in known.notices)

    def counted(self, channel: str) -> int:
        """How many more ends were counted by notices that only state.db knew."""
        return sum(more for known in self._known for to, _of, more in known.notices if to.startswith(channel))

    @cached_property
    def _known(self) -> list[Known]:
        return [hurt.known for hurt in self.timeline.hurts if hurt.known is not None]

    def _is_blind(self, since: int) -> bool:
        """Whether it may have been in a state.db that could not be read before it was hurt."""
        return any(
            hurt.known is None and span.begin - _BLIND < since <= span.end
            for hurt in self.timeline.hurts for span in hurt.spans
        )  # fmt: skip

    @cached_property
    def _skips(self) -> dict[tuple[str, int], set[str]]:
        """By job and due time the runs of which the log tells that they were due then."""
        found = defaultdict[tuple[str, int], set[str]](set)
        for run, said in self.evidence.said.items():
            for entry in said:
                if "due" in entry:
                    found[run.rpartition("@")[0], entry["due"]].add(run)
        return found
