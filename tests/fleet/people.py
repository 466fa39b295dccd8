"""People who pause a job of the fleet all day, and resume it, by any host, and look whether it is as they were told.

What they were told is compared with what etcd had, and what hosts were granted: a pause that was confirmed holds until
somebody resumes the job, and the end of one until somebody pauses it.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from math import inf
from typing import NamedTuple

from jobqueued.child.fleet.etcd.gateway import EtcdUnreachable, Gateway, Rejected
from jobqueued.child.fleet.etcd.wire import coded
from tests.fleet.history import Exchange, Read, Won, operations
from tests.fleet.host import DistantHost
from tests.support.linearizable import stuck

JOB = "n"
"""The job that they pause."""
_KEY = f"/jq/paused/{JOB}"
_PAUSE, _REACH = 1.0, 60.0
"""The mean seconds from one act of a person to the next; those after which what has no answer is not made any more."""
_NOT_ASKED = "is unreachable, so this host starts none"


class Act(NamedTuple):
    """What somebody did, or saw, by whom, from when to when (monotonic; inf: nobody knows whether, and when).

    `what`: "pause", "resume"; or "paused", "resumed", as it was then.
    """

    what: str
    who: str
    asked: float
    answered: float


def undone(acts: Iterable[Act], exchanges: Iterable[Exchange]) -> list[Act]:
    """The acts of which none can be the next in any order that explains all; []: there is one."""
    return stuck([*acts, *_seen(exchanges)], False, _step, lambda act: act.asked + _REACH)


def _step(is_paused: bool, act: Act) -> bool | None:
    if act.what in ("pause", "resume"):
        return act.what == "pause"
    return is_paused if is_paused == (act.what == "paused") else None


def _seen(exchanges: Iterable[Exchange]) -> Iterator[Act]:
    """Yield what hosts have found as they asked for runs of the job."""
    for it in operations([*exchanges]):
        if it.key == _KEY and it.write is None:
            if isinstance(it.result, Won) and ("CREATE", "0") in it.needs:
                yield Act("resumed", it.host, it.asked, it.answered)
            elif isinstance(it.result, Read):
                yield Act("resumed" if it.result.found is None else "paused", it.host, it.asked, it.answered)


class People:
    """Several of them, at once; each asks any of the hosts, or looks at the members of etcd."""

    def __init__(self, hosts: Sequence[DistantHost], members: Sequence[str], seed: int, count: int = 3) -> None:
        self.acts = list[Act]()
        self._hosts, self._members, self._over = hosts, members, threading.Event()
        chances = [random.Random(f"{seed}/people/{number}") for number in range(count)]
        self._threads = [threading.Thread(target=self._live, args=(chance,), daemon=True) for chance in chances]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let all go home."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def resume(self) -> bool:
        """Resume the job for good; False: that was not confirmed."""
        self._ask(self._hosts[0], "resume")
        return self.acts[-1].answered < inf

    def _live(self, chance: random.Random) -> None:
        while not self._over.wait(chance.expovariate(1 / _PAUSE)):
            what = chance.choice(["pause", "resume", "look"])
            if what == "look":
                self._look()
            else:
                self._ask(chance.choice(self._hosts), what)

    def _ask(self, host: DistantHost, what: str) -> None:
        asked, answered = time.monotonic(), inf
        with suppress(OSError):
            answer = host.call(what.capitalize(), job=JOB)
            if _NOT_ASKED in str(answer.get("reason", "")):
                return
            answered = inf if "error" in answer else time.monotonic()
        self.acts.append(Act(what, host.name, asked, answered))

    def _look(self) -> None:
        """See what etcd has, if it answers."""
        gateway, asked = Gateway(self._members, 2), time.monotonic()
        with suppress(EtcdUnreachable, Rejected):
            found = gateway.call("kv/range", {"key": coded(_KEY)})
            self.acts.append(Act("paused" if found.get("kvs") else "resumed", "etcd", asked, time.monotonic()))
        gateway.close()
