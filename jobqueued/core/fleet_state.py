"""The fleet as this host knows it: whether it can be asked, what it was asked for, which occurrences others have."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from jobqueued.commands import GiveBack
from jobqueued.model import SECOND, Job, Run, RunId, Scope
from jobqueued.queue.locks import asks_fleet, of_fleet


class Asked(NamedTuple):
    """A question to the fleet: its number, and how its run stood in the queue then."""

    number: int
    priority: float
    waited_for: list[str]


_MOST_TAKEN = 10_000
"""Occurrences of a job that are known to be others' before its clock comes to them."""


def is_of_fleet(key: str) -> bool:
    """Tell whether an occurrence with this key is one of the whole fleet."""
    return key[:1] == "f" and key.isascii() and key[1:].isdigit()


class FleetState:
    """The fleet of this name; "": the host is in none, and nothing is asked.

    A run that the fleet is asked about holds its claims on this host meanwhile, in no other place than its job's
    `waiting`; nothing of that is saved: whoever asks anew after a restart gets what was granted before.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.down = "its fleet has not been reached yet" if name else ""
        """The reason why the fleet can't be asked; "": it can."""
        self.asked: dict[RunId, Asked] = {}
        self.specs: dict[str, str] = {}
        """The definitions of its jobs, by their hashes (core/agreement.py), as this host has them."""
        self.published: dict[str, str] = {}
        """The same as the fleet has them."""
        self.stale: set[str] = set()
        """Those of its jobs of which the fleet has a newer one."""
        self.newest = 0
        """The revision of the newest occurrence that was granted since the start."""
        self._number = 0
        self._taken = defaultdict[str, set[int]](set)
        """By job, the occurrences (UTC seconds) after its cursor that another host has."""
        self.given_back: dict[tuple[str, str], str] = {}
        """By job and key, how that has ended ("": it goes on) which gives back what it has in the fleet."""

    def rests(self, job: Job) -> bool:
        """Tell whether the clock of a job waits until its fleet can be asked, and has no other definition of it."""
        return job.scope is Scope.FLEET and (bool(self.down) or job.id in self.stale)

    def rest_of(self, job: Job) -> str:
        """Word why none of a job's runs starts here now; "": its fleet lets them."""
        if self.down and asks_fleet(job):
            return f"its fleet can't be asked: {self.down}"
        if job.id in self.stale:
            remedy = "to have it run here: bring them up to date, or change them so that they are the newest"
            return f"its fleet goes by a newer definition of it than the files of this host have; {remedy}"
        return ""

    def ask(self, run: Run, priority: float, waited_for: list[str]) -> int:
        """Note that the fleet is asked about a run; the number of the question."""
        self._number += 1
        self.asked[run.id] = Asked(self._number, priority, waited_for)
        self.given_back.pop((run.id.job, run.key), None)
        return self._number

    def withdraw(self, run: Run) -> None:
        """Give back what the fleet may grant to a run after all."""
        del self.asked[run.id]
        self._note(run)

    def give_back(self, run: Run, state: str = "") -> None:
        """Give back what the fleet may have granted to a run; with a `state` it has ended so."""
        if self.name and (is_of_fleet(run.key) or of_fleet(run.claims)):
            self._note(run, state)

    def _note(self, run: Run, state: str = "") -> None:
        name = run.id.job, run.key
        self.given_back[name] = state or self.given_back.get(name, "")

    def take_given_back(self) -> list[GiveBack]:
        """Hand over what goes back to the fleet since the last time."""
        given_back, self.given_back = self.given_back, {}
        return [GiveBack(job, key, state) for (job, key), state in given_back.items()]

    def note_taken(self, job: str, key: str, cursor: int) -> None:
        """Note that another host has an occurrence, if this one is still to come to it."""
        if is_of_fleet(key) and (second := int(key[1:])) > cursor // SECOND:
            self._taken[job].add(second)
            if len(self._taken[job]) > _MOST_TAKEN:  # who asks for an older one hears it then
                self._taken[job] = set(sorted(self._taken[job])[_MOST_TAKEN // 2 :])

    def untaken(self, job: str, dues: list[int]) -> list[int]:
        """Leave out of what a job's clock has come to what others have."""
        taken = self._taken.get(job, ())
        return [due for due in dues if due // SECOND not in taken]

    def pass_by(self, job: str, cursor: int) -> None:
        """Note that a job's clock has come so far, and does not come there again."""
        later = {second for second in self._taken.pop(job, ()) if second > cursor // SECOND}
        if later:
            self._taken[job] = later
