"""Pauses of a fleet as people ask for them: each is made once, and not after its answer, so it holds until the next."""

from __future__ import annotations

import json
from dataclasses import dataclass

from jobqueued.child.fleet.claims import ROOT
from jobqueued.child.fleet.etcd.wire import text
from tests.support.fake_etcd import Change

_PAUSED = f"{ROOT}paused/"


@dataclass
class Wish:
    """A pause that somebody has asked for on a host, or the end of one; `is_lost`: nobody waits for it any more."""

    host: str
    ticket: int
    job: str
    pauses: bool
    is_made: bool = False
    is_lost: bool = False


class Pauses:
    """What was asked for, and may be made."""

    def __init__(self) -> None:
        self._open = list[Wish]()

    def ask(self, host: str, ticket: int, job: str, *, pauses: bool) -> None:
        """Somebody asks for a pause, or the end of one."""
        self._open.append(Wish(host, ticket, job, pauses))

    def answer(self, host: str, ticket: int, error: str | None) -> None:
        """Somebody has an answer: it was made, or nobody knows."""
        for wish in [each for each in self._open if (each.host, each.ticket) == (host, ticket)]:
            wish.is_lost = True
            if error is None:
                self._credit(wish)
                assert wish.is_made or not wish.pauses, f"{wish} was confirmed, and not made"
                self._open.remove(wish)

    def _credit(self, wish: Wish) -> None:
        """If a wish was not made, and an equal wish without an answer was, swap the two.

        Equal wishes cause equal writes: a write that ends a pause does not contain its host.
        """
        hosts = (wish.host,) if wish.pauses else {each.host for each in self._open}
        alike = (each for each in self._open if (each.job, each.pauses) == (wish.job, wish.pauses))
        if not wish.is_made and (one := next((each for each in alike if each.is_made and each.host in hosts), None)):
            wish.is_made, one.is_made = True, False

    def forget(self, host: str) -> None:
        """The scheduler of a host has ended, and with it all who have asked there."""
        for wish in self._open:
            wish.is_lost |= wish.host == host

    def begin_anew(self, host: str) -> None:
        """The agent of a host begins anew: what nobody waits for any more is not made any more."""
        self._open = [each for each in self._open if not (each.is_lost and each.host == host)]

    def change(self, change: Change) -> None:
        """Take what has changed in etcd; AssertionError: nobody has asked for that, or it was made before."""
        for event in change[1]:
            if (key := text(event["kv"]["key"])).startswith(_PAUSED):
                self._make(key.removeprefix(_PAUSED), text(event["kv"].get("value", "")))

    def _make(self, job: str, value: str) -> None:
        by = json.loads(value)[1] if value else ""
        wishes = [
            each for each in self._open if (each.job, each.pauses) == (job, bool(value)) and by in ("", each.host)
        ]
        # a wish that somebody waits for comes first: a lost wish may never have reached the fleet
        wish = min((each for each in wishes if not each.is_made), key=lambda each: each.is_lost, default=None)
        assert wish, f"{job} is {f'paused: {value}' if value else 'resumed'}, and nobody has asked for that by now"
        wish.is_made = True
