"""Drains: if a run waits for a holder with an unknown end, other runs are held back for a while. Afterwards the other
runs go first for equally long.

All waiting runs of the host share these turns, because with separate turns, two waiting runs could hold other runs back
forever. While other runs go first, no run holds them back. Afterwards the turns start over.
"""

from __future__ import annotations

from collections.abc import Collection

from jobqueued.model.run import Holder


class Drains:
    """The turns of the host.  Instants are monotonic (ns)."""

    def __init__(self) -> None:
        self.runs: dict[Holder, int] = {}
        """Run for which other runs are held back, now or in the last turn → maximum time (ns) for which they are held
        back.
        """
        self._told: set[Holder] = set()
        self.since: int | None = None
        """The start of the current turn, or None if no turn is current."""
        self._lapse: int | None = None
        """The time (ns) for which other runs go first in the current turn, or None while they are held back."""
        self._before: dict[Holder, int] = {}
        self._found: dict[Holder, int] = {}
        """Run → start of the turn when an earlier scheduler first held other runs back for this run."""

    def copy(self) -> Drains:
        """Return a copy of the turns in their current state, to play them forward."""
        copied = Drains()
        copied.runs, copied._told, copied._before = {**self.runs}, {*self._told}, {**self._before}
        copied.since, copied._lapse, copied._found = self.since, self._lapse, {**self._found}
        return copied

    def found(self, run: Holder, drain: int, began: int) -> None:
        """Continue the turns of an earlier scheduler, which held others back for a run since the turn that started at
        `began`.
        """
        self.runs[run], self._found[run] = drain, began

    def begin(self, mono: int, waiting: Collection[Holder]) -> None:
        """Begin a pass over the waiting runs."""
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
        """Continue after the newest turn of the earlier scheduler, as if all turns had the length `longest`."""
        if self.since is None:
            began = max(self._found.values())
            turns = (mono - began) // longest
            self.since, self._lapse = began + turns * longest, longest if turns % 2 else None
        self._told.update(run for run, began in self._found.items() if mono - began >= longest)
        self._found = {}

    def hold_back(self, run: Holder, drain: int, mono: int) -> bool:
        """Add a run that waits for a holder with an unknown end; return whether other runs are now held back for it."""
        if self._lapse is None or run in self._before:
            self.runs[run] = drain
        if self.since is None:
            self.since = mono
        return self._lapse is None

    def end(self, *, complete: bool) -> None:
        """End the pass; if the pass was not `complete`, the runs that it did not reach still hold others back."""
        if not complete:
            self.runs = self._before | self.runs
        self._told &= self.runs.keys()
        if not self.runs and self._lapse is None:
            self.since = None

    @property
    def new(self) -> list[Holder]:
        """The runs for which other runs are held back from this pass on."""
        return [run for run in self.runs if run not in self._before] if self._lapse is None else []

    @property
    def over(self) -> list[Holder]:
        """The runs for which other runs are no longer held back, because these runs start or wait for a known end."""
        return [run for run in self._before if run not in self.runs]

    def reports_lapse(self, run: Holder) -> bool:
        """Return True once for each run: when the other runs that were held back for this run start to go first."""
        news = self._lapse is not None and run in self.runs and run not in self._told
        if news:
            self._told.add(run)
        return news

    @property
    def look_at(self) -> int | None:
        """The instant when the current turn ends, or None if no turn is current."""
        if self.since is None:
            return None
        return self.since + (max(self.runs.values(), default=0) if self._lapse is None else self._lapse)
