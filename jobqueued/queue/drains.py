"""Drains: beside a holder whose end nobody knows, others are held back for a while, and then go first for as long.

The whole host takes turns together: were each run's turns its own, two that wait could between them hold others back
for ever.  While others go first nobody holds them back, whoever waits; when they have, it begins anew.
"""

from __future__ import annotations

from collections.abc import Collection

from jobqueued.model import Holder


class Drains:
    """The turns of the host.  Instants are monotonic, in ns."""

    def __init__(self) -> None:
        self.runs: dict[Holder, int] = {}
        """For whom others are held back, or were in the turn that has just passed, and how long they may be."""
        self._told: set[Holder] = set()
        self.since: int | None = None
        """When the turn began that is on; None: there is none."""
        self._lapse: int | None = None
        """For how long others go first; None: they do not."""
        self._before: dict[Holder, int] = {}
        self._found: dict[Holder, int] = {}
        """When the turn began in which an earlier scheduler began to hold others back for a run."""

    def copy(self) -> Drains:
        """Copy the turns, as they stand, to play them forward."""
        copied = Drains()
        copied.runs, copied._told, copied._before = {**self.runs}, {*self._told}, {**self._before}
        copied.since, copied._lapse, copied._found = self.since, self._lapse, {**self._found}
        return copied

    def found(self, run: Holder, drain: int, began: int) -> None:
        """An earlier scheduler has held others back for a run, first in the turn that began then: the turns go on."""
        self.runs[run], self._found[run] = drain, began

    def begin(self, mono: int, waiting: Collection[Holder]) -> None:
        """A pass over those that wait begins."""
        longest = max(self.runs.values(), default=0)
        if self._found:
            self._go_on(mono, longest)
        self._before, self.runs = self.runs, {}
        if self.since is None:
            return
        if not waiting or (self._lapse is not None and mono - self.since >= self._lapse):
            self.since = self._lapse = None
        elif self._lapse is None and mono - self.since >= longest:
            self.since, self._lapse = mono, longest

    def _go_on(self, mono: int, longest: int) -> None:
        """Take up the turns from the newest that is known: what came before may have been longer, or shorter."""
        if self.since is None:
            began = max(self._found.values())
            turns = (mono - began) // longest
            self.since, self._lapse = began + turns * longest, longest if turns % 2 else None
        self._told.update(run for run, began in self._found.items() if mono - began >= longest)
        self._found = {}

    def hold_back(self, run: Holder, drain: int, mono: int) -> bool:
        """Tell whether others are held back for a run that waits for such a holder."""
        if self._lapse is None or run in self._before:
            self.runs[run] = drain
        if self.since is None:
            self.since = mono
        return self._lapse is None

    def end(self, *, complete: bool) -> None:
        """The pass is over; unless it was `complete`, those it did not come to still hold others back."""
        if not complete:
            self.runs = self._before | self.runs
        self._told &= self.runs.keys()
        if not self.runs and self._lapse is None:
            self.since = None

    @property
    def new(self) -> list[Holder]:
        """For whom others are held back since this pass."""
        return [run for run in self.runs if run not in self._before] if self._lapse is None else []

    @property
    def over(self) -> list[Holder]:
        """For whom others are not held back any more, as they start, or wait for an end that is known."""
        return [run for run in self._before if run not in self.runs]

    def tell(self, run: Holder) -> bool:
        """Tell whether it is to be said now that others go before a run, for which they were held back."""
        news = self._lapse is not None and run in self.runs and run not in self._told
        if news:
            self._told.add(run)
        return news

    @property
    def look_at(self) -> int | None:
        """The instant at which the turns change; None: there are none."""
        if self.since is None:
            return None
        return self.since + (max(self.runs.values(), default=0) if self._lapse is None else self._lapse)
