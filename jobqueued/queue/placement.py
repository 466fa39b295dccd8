"""Placement: the choice of numbered units of a resource, and of CPUs, for a run.

`spread` chooses the units that were used least, so that all are used evenly over time. `pack` chooses the first free
units, so that the other units remain free. A run gets fixed CPUs only if its job requests CPU and a placement. For
other runs, the kernel balances better, because it can move them.
"""

from __future__ import annotations

from collections.abc import Iterable

from jobqueued.model.job import CORE, CPU, MEMORY, Claim

CPUS = "cpus"

NUMBERED = 1024
"""Maximum number of units of a resource with numbered units; if a resource has more, its units are only counted."""

Placed = tuple[tuple[str, tuple[int, ...]], ...]
"""Name of a resource, or `CPUS`, → numbers of the units, as pairs."""


_VARIABLE = str.maketrans("abcdefghijklmnopqrstuvwxyz.-", "ABCDEFGHIJKLMNOPQRSTUVWXYZ__")


def environment(placed: Placed) -> dict[str, str]:
    """Return the environment variables that name a command's units: ``JOBQUEUE_GPU=1``."""
    return {f"JOBQUEUE_{name.translate(_VARIABLE)}": ",".join(map(str, numbers)) for name, numbers in placed}


class _Units:
    """The load of each unit of a resource: now, and over time (load × ns)."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self.load = dict.fromkeys(numbers, 0)
        self._busy, self._since = dict(self.load), dict(self.load)

    def change(self, number: int, share: int, mono: int) -> None:
        """Add a share to the load of a unit; a negative share reduces the load."""
        if number in self.load:
            self._busy[number] += self.load[number] * max(0, mono - self._since[number])
            self._since[number] = mono
            self.load[number] += share

    def used(self, number: int, mono: int) -> int:
        """Return the use of a unit so far (load × ns)."""
        return self._busy[number] + self.load[number] * max(0, mono - self._since[number])


class Placement:
    """The host's numbered units. `named`: resource → number of units; `cpus`: the numbers of the host's CPUs."""

    def __init__(self, named: dict[str, int], cpus: Iterable[int]) -> None:
        numbered = {name: count for name, count in named.items() if name not in (CPU, MEMORY) and count <= NUMBERED}
        self._units = {name: _Units(range(count)) for name, count in numbered.items()}
        self._units[CPUS] = _Units(cpus)

    def choose(self, placement: str, claims: Iterable[Claim], mono: int) -> Placed:
        """Choose units for a run with these claims; the caller must assign them with `take`."""
        chosen = [
            (claim.resource, self._free(claim, placement, mono))
            for claim in claims
            if claim.resource in self._units and (claim.units or claim.exclusive)
        ]
        asked = next((claim.units for claim in claims if claim.resource == CPU), 0)
        if asked and placement != "none" and self._units[CPUS].load:
            chosen.append((CPUS, self._cpus(asked, placement, mono)))
        return tuple(chosen)

    def take(self, placed: Placed, claims: Iterable[Claim], mono: int) -> None:
        """Assign these units to a run."""
        self._change(placed, claims, mono, 1)

    def give_back(self, placed: Placed, claims: Iterable[Claim], mono: int) -> None:
        """Release a run's units."""
        self._change(placed, claims, mono, -1)

    def _change(self, placed: Placed, claims: Iterable[Claim], mono: int, sign: int) -> None:
        asked = next((claim.units for claim in claims if claim.resource == CPU), 0)
        for name, numbers in placed:
            share = asked // len(numbers) if name == CPUS else 1
            for number in numbers:
                if name in self._units:
                    self._units[name].change(number, sign * share, mono)

    def _free(self, claim: Claim, placement: str, mono: int) -> tuple[int, ...]:
        units = self._units[claim.resource]
        free = [number for number, load in units.load.items() if not load]
        if placement != "pack":
            free.sort(key=lambda number: (units.used(number, mono), number))
        return tuple(sorted(free if claim.exclusive else free[: claim.units]))

    def _cpus(self, asked: int, placement: str, mono: int) -> tuple[int, ...]:
        """Choose as many CPUs as a run requests, rounded up."""
        units = self._units[CPUS]
        count = min(-(-asked // CORE), len(units.load))
        share = asked // count

        def order(number: int) -> tuple[int, ...]:
            load = units.load[number]
            if placement == "pack":
                return -load if load + share <= CORE else load, number
            return load, units.used(number, mono), number

        return tuple(sorted(sorted(units.load, key=order)[:count]))

    def load(self, name: str = CPUS) -> dict[int, int]:
        """Return unit → load (for a CPU in thousandths of a core, else 0 or 1), or {} if the units have no numbers."""
        return dict(self._units[name].load) if name in self._units else {}
