"""Conflicts in a fleet: hosts with different shared settings, and other fleets in the same etcd with the same jobs.

Each host detects conflicts by itself, so each side reports the other.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence

from jobqueued.base.instants import SECOND
from jobqueued.base.text import duration, printable
from jobqueued.child.fleet.etcd.values import CommonSettings, parsed
from jobqueued.model.fleet import FleetSettings, FleetTrouble

_SHOWN = 5


def common_of(settings: FleetSettings) -> CommonSettings:
    """Return this host's settings that must be equal on all hosts of its fleet."""
    resources = ",".join(f"{name}={units}" for name, units in sorted(settings.resources.items()))
    return CommonSettings(settings.timezone, settings.lock_grace // SECOND, resources)


def to_json(common: CommonSettings) -> str:
    """Return these settings in the form that this host announces to other hosts."""
    return json.dumps(common, separators=(",", ":"))


def difference(own: CommonSettings, other: CommonSettings) -> str:
    """Describe how another host's settings differ from `own`, or return "" if they are equal."""
    found = list[str]()
    for name, theirs, ours in zip(CommonSettings._fields, other, own, strict=True):
        found += [f"{name} {_shown(theirs)} instead of {_shown(ours)}"] if theirs != ours else []
    return " and ".join(found)


def _shown(value: object) -> str:
    return duration(value) if isinstance(value, int) else printable(str(value)) or "none"


class Neighbours:
    """Other hosts and fleets that conflict with this host's settings."""

    def __init__(self, settings: FleetSettings | None) -> None:
        self._own = None if settings is None else common_of(settings)
        self._name = "" if settings is None else settings.name
        self._hosts, self._fleets = dict[str, str](), dict[str, str]()
        """Host → description of its differences; fleet → description of its conflict."""

    @property
    def troubles(self) -> list[str]:
        """All current conflicts."""
        return [*self._hosts.values(), *self._fleets.values()]

    def forget(self) -> None:
        """Forget all conflicts, because the fleet is unreachable."""
        self._hosts.clear()
        self._fleets.clear()

    def note_host(self, name: str, common: str) -> Iterator[FleetTrouble]:
        """Compare a host's announced settings with this host's; "" means that the host has no session or announced
        nothing.
        """
        other = parsed(CommonSettings, common)
        differs = difference(self._own, other) if self._own is not None and other is not None else ""
        text = f"{printable(name)} is in the fleet with {differs}: all hosts need the same `fleet` in jobqueued.yaml"
        yield from _exchanged(self._hosts, name, text if differs else "")

    def note_fleets(
        self, fleets: Mapping[str, Sequence[str]], jobs: Mapping[str, Sequence[str]], own: Collection[str]
    ) -> Iterator[FleetTrouble]:
        """Compare the jobs of other fleets with the jobs of this fleet (`own`). `fleets`: other fleet → its hosts;
        `jobs`: other fleet → its jobs.
        """
        for name in {*self._fleets, *fleets}:
            same = sorted(set(jobs.get(name, ())) & set(own))
            where = (
                f"the fleet {printable(name)} (hosts: {_some(fleets.get(name, ()))}) uses the same etcd as"
                f" the fleet {self._name}"
            )
            twice = f"{where}, and both fleets have {_some(same)}, so each fleet runs these jobs"
            text = f"{twice}; to have one fleet, give all hosts one `name`; to have two, give the jobs different names"
            yield from _exchanged(self._fleets, name, text if same else "")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(printable, names[:_SHOWN])) + more


def _exchanged(known: dict[str, str], name: str, text: str) -> Iterator[FleetTrouble]:
    before = known.pop(name, "")
    if text:
        known[name] = text
    if before and before != text:
        yield FleetTrouble(before, is_over=True)
    if text and before != text:
        yield FleetTrouble(text)
