"""The unfinished submissions: their texts, which a restart needs, and totals for each user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.commands import ForgetJob, SaveNumber, SaveSubmission
from jobqueued.model.job import Job
from jobqueued.model.submission import is_numbered


class SubmissionEnd(NamedTuple):
    """The end of a run or a submission, and whether it succeeded."""

    word: str
    succeeded: bool


class UnfinishedSubmissions:
    """Unfinished submissions by job ID. A caller that adds or removes a submission must save the change in the same
    commit.
    """

    def __init__(self) -> None:
        self._saves: dict[str, SaveSubmission] = {}
        self._ids: dict[tuple[str, str], str] = {}
        self._numbers: dict[str, int] = {}
        self.departed: dict[str, Job] = {}
        """The jobs of submissions that ended in this turn, for notices about their ends."""
        self.over: dict[str, SubmissionEnd] = {}
        """The ends in this turn, for a submission that arrives in the same turn and waits for one of these ends."""
        self.count = Counter[str]()
        """First part of the IDs, such as "alice" → number of submissions."""
        self.bytes = Counter[str]()
        """First part of the IDs → total size of the texts (characters)."""

    def put(self, submission: SaveSubmission) -> None:
        """Add a submission."""
        job, share = submission.job, share_in(submission.job)
        self._saves[job] = submission
        self.count[share] += 1
        self.bytes[share] += len(submission.text)
        if submission.key:
            self._ids[share, submission.key] = job
        if is_numbered(job):
            self.used(job)

    def text(self, job: str) -> str:
        """Return the text of a submission."""
        return self._saves[job].text

    def reword(self, job: str, text: str) -> SaveSubmission:
        """Replace the text of a submission."""
        self.bytes[share_in(job)] += len(text) - len(self._saves[job].text)
        self._saves[job] = self._saves[job]._replace(text=text)
        return self._saves[job]

    def take(self, job: str) -> ForgetJob:
        """Remove a submission that is over."""
        submission, share = self._saves.pop(job), share_in(job)
        self.count[share] -= 1
        self.bytes[share] -= len(submission.text)
        if not self.count[share]:
            del self.count[share], self.bytes[share]
        if submission.key:
            del self._ids[share, submission.key]
        return ForgetJob(job)

    def number(self, share: str) -> int:
        """Return the next number for a user's submission."""
        return self._numbers.get(share, 0) + 1

    def used(self, job: str) -> None:
        """Record an ID that consists of a share and a number, so that the number is never reused."""
        share, _, number = job.partition("/")
        self._numbers[share] = max(self._numbers.get(share, 0), int(number))

    def go_on(self, numbers: Mapping[str, int]) -> None:
        """Continue the numbering after these numbers, which were used before the restart."""
        for share, number in numbers.items():
            self.used(f"{share}/{number}")

    def of_key(self, share: str, key: str) -> str | None:
        """Return the ID of the unfinished submission that a user made with this key, or None if no such submission
        exists.
        """
        return self._ids.get((share, key))

    def __contains__(self, job: object) -> bool:
        return job in self._saves

    def __iter__(self) -> Iterator[str]:
        return iter(self._saves)

    def saves(self) -> list[SaveSubmission | SaveNumber]:
        """Return the commands that save all submissions, and the last number of each user."""
        return [*self._saves.values(), *(SaveNumber(share, last) for share, last in self._numbers.items())]


def share_in(job: str) -> str:
    """Return the first part of a job ID, such as "alice"."""
    return job.partition("/")[0]
