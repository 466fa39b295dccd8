"""The submissions that are not over: their texts, by which a restart has them again, and what is counted of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from jobqueued.child.tuples import NamedTuple
from jobqueued.commands import ForgetJob, SaveNumber, SaveSubmission
from jobqueued.model import Job
from jobqueued.submission import is_numbered


class End(NamedTuple):
    """The end of a run or a submission, in a word."""

    word: str
    succeeded: bool


class Submitted:
    """By the ids of their jobs.  Whoever puts one or takes one out has it saved with the same commit."""

    def __init__(self) -> None:
        self._saves: dict[str, SaveSubmission] = {}
        self._ids: dict[tuple[str, str], str] = {}
        self._numbers: dict[str, int] = {}
        self.departed: dict[str, Job] = {}
        """The jobs of those that were over in this turn, for whoever is to be told of their ends."""
        self.over: dict[str, End] = {}
        """What has ended in this turn, for who asks in the same moment to come after it."""
        self.count = Counter[str]()
        """How many there are, by the first part of their ids, "alice"."""
        self.bytes = Counter[str]()
        """The size of their texts."""

    def put(self, submission: SaveSubmission) -> None:
        """Add one."""
        job, share = submission.job, share_in(submission.job)
        self._saves[job] = submission
        self.count[share] += 1
        self.bytes[share] += len(submission.text)
        if submission.key:
            self._ids[share, submission.key] = job
        if is_numbered(job):
            self.used(job)

    def text(self, job: str) -> str:
        """The text of one."""
        return self._saves[job].text

    def reword(self, job: str, text: str) -> SaveSubmission:
        """Give one another text."""
        self.bytes[share_in(job)] += len(text) - len(self._saves[job].text)
        self._saves[job] = self._saves[job]._replace(text=text)
        return self._saves[job]

    def take(self, job: str) -> ForgetJob:
        """Take one out that is over."""
        submission, share = self._saves.pop(job), share_in(job)
        self.count[share] -= 1
        self.bytes[share] -= len(submission.text)
        if not self.count[share]:
            del self.count[share], self.bytes[share]
        if submission.key:
            del self._ids[share, submission.key]
        return ForgetJob(job)

    def number(self, share: str) -> int:
        """The next number for one of a user."""
        return self._numbers.get(share, 0) + 1

    def used(self, job: str) -> None:
        """Take note of an id with a number, which is never given again."""
        share, _, number = job.partition("/")
        self._numbers[share] = max(self._numbers.get(share, 0), int(number))

    def go_on(self, numbers: Mapping[str, int]) -> None:
        """Go on with the numbers behind those that were used before."""
        for share, number in numbers.items():
            self.used(f"{share}/{number}")

    def of_key(self, share: str, key: str) -> str | None:
        """The id of the one that a user has submitted by a key, if it is not over."""
        return self._ids.get((share, key))

    def __contains__(self, job: object) -> bool:
        return job in self._saves

    def __iter__(self) -> Iterator[str]:
        return iter(self._saves)

    def saves(self) -> list[SaveSubmission | SaveNumber]:
        """The commands that save all of them anew, and the numbers of those that are over."""
        return [*self._saves.values(), *(SaveNumber(share, last) for share, last in self._numbers.items())]


def share_in(job: str) -> str:
    """The first part of an id."""
    return job.partition("/")[0]
