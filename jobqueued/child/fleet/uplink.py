"""The connections to etcd: one thread carries out requests, one keeps the session alive, one watches.

Each thread has a separate connection, so that no thread waits for another.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from jobqueued.child.fleet import claims, mark, session
from jobqueued.child.fleet.claims import ROOT, reported_up_to
from jobqueued.child.fleet.conversation import Conversation
from jobqueued.child.fleet.etcd.gateway import EtcdUnreachable, Gateway, Rejected, nearest_first
from jobqueued.child.fleet.etcd.tls import FILES, Tls
from jobqueued.child.fleet.etcd.wire import after_all, coded
from jobqueued.child.fleet.known_locks import LockUnits
from jobqueued.child.fleet.lines import Line
from jobqueued.child.fleet.mark import EtcdMark
from jobqueued.child.fleet.requests import AnnounceRequest, Overdue, PauseRequest, PlaceRequest, PublishRequest
from jobqueued.child.fleet.session import SECOND, TTL, Closed, Leases, NotOver, RunLease
from jobqueued.child.fleet.skips import SkipRequest

_ANSWER, _NEWS = 2.0, float(TTL)
"""Timeouts (s) for an answer and for the watch. After a timeout, the call is repeated."""
_BEAT = TTL / 3
_FIRST_PAUSE, _LONGEST_PAUSE, _REFUSED_PAUSE = 0.2, 2.0, 10.0
"""Pauses (s) between tries: the first, the longest, and the longest after a refusal, which only a person can fix."""
_LEAST_KEEP = 3600
_MOST_AHEAD = 2.0
"""Maximum difference (s) between this host's clock and etcd's clock."""
_REMEMBERED = 60 * SECOND
_MUTE = 3
"""Maximum number of successive watches that deliver nothing, not even their start."""


class Uplink:
    """The connections to an etcd, with SETTINGS (lines.py), and the conversation with a scheduler.

    `kept`: the file that saves the session. The uplink calls `wake` when the outbox has lines for the scheduler.
    """

    def __init__(self, settings: Mapping[str, Any], kept: str, wake: Callable[[], None]) -> None:
        self.settings = settings
        self._kept, self._wake = kept, wake
        self._conversation = Conversation((settings["lock_grace"] - TTL) * SECOND)
        self._changed = threading.Condition()
        self._leases: Leases | None = None
        self._seen, self._told_at = EtcdMark(), 0
        """The newest mark, and the instant (BOOTTIME, ns) when the scheduler last received a mark."""
        self._since: Mapping[str, int] = {}
        """Job → first second whose occurrence may be requested."""
        self._fleets, self._looked_at = dict[str, list[str]](), 0
        """The other fleets in this etcd, and the instant (BOOTTIME, ns) when the scheduler last received them."""
        self._alive_until = 0
        self._unswept = session.RUNS
        """Key of the next page to search for this host's occurrences, or "" when all pages were read."""
        self._watch = 0
        """Number of the current watch. Results from earlier watches are dropped."""
        self._over = False
        self._run_lease = RunLease()
        self._has_begun = False

    # lines from and for the scheduler

    def hello(self, seen: EtcdMark, since: Mapping[str, int]) -> None:
        """Start with a new scheduler. `seen`: its saved mark.

        `since`: job → first second whose occurrence may be requested.
        """
        with self._changed:
            self._seen = self._seen if seen.is_in(self._seen) and seen.age else seen
            self._since, self._told_at, self._looked_at = since, 0, 0
            self._conversation.hello()
            self._changed.notify_all()
        if not self._has_begun:  # not started earlier, because no scheduler would receive the results
            self._has_begun = True
            for work in (self._carry_out, self._stay_alive):
                threading.Thread(target=work, daemon=True).start()

    def take(self, line: Line) -> None:
        """Handle a line from the scheduler. Raises ValueError if the line is unknown."""
        with self._changed:
            match line:
                case ["ask", str(job), int(number), int(question), str(key), list(parts), int(keep), str(spec)]:
                    wanted = [LockUnits(*part) for part in parts]
                    self._conversation.ask(session.now(), job, number, question, key, wanted, keep, spec)
                case ["skip", str(job), int(first), int(last), int(keep), str(spec)]:
                    self._conversation.skip(SkipRequest(job, first, last, keep, spec))
                case ["join" | "leave" as way, str(lock)]:
                    self._conversation.want(PlaceRequest(lock, way == "join"))
                case ["announce", list(labels), bool(is_held)]:
                    self._conversation.want(AnnounceRequest(tuple(labels), is_held))
                case ["since", dict(since)]:
                    self._since = since
                case ["accept"]:
                    self._seen, self._told_at, self._conversation.is_outdated = EtcdMark(), 0, True
                case ["publish", str(job), str(spec), int(revision)]:
                    self._conversation.want(PublishRequest(job, spec, revision))
                case ["pause", str(job), str(text), str(before)]:
                    self._conversation.want(PauseRequest(job, text, before))
                case ["overdue", str(job), str(text), int(revision)]:
                    self._conversation.want(Overdue(job, text, revision))
                case ["give_back", str(job), str(key), str(state)]:
                    self._conversation.give_back(session.now(), job, key, state)
                case _:
                    raise ValueError(line)
            self._changed.notify_all()

    def lines(self) -> list[Line]:
        """Remove and return the lines for the scheduler."""
        with self._changed:
            lines, self._conversation.outbox = self._conversation.outbox, []
            return lines

    @property
    def holds(self) -> bool:
        """Return whether this host holds any of the fleet's locks, which require the session."""
        with self._changed:
            return self._conversation.holds

    def stop(self) -> None:
        """End the session if etcd is reachable. The threads end soon after."""
        with self._changed:
            self._over, leases = True, self._leases
            self._changed.notify_all()
        if leases is not None:
            with suppress(EtcdUnreachable, Rejected, OSError):  # then the session expires
                session.revoke(self._gateway(_ANSWER), leases.session)

    # requests

    def _carry_out(self) -> None:
        gateway, pause, is_refused = self._gateway(_ANSWER), _FIRST_PAUSE, False
        while True:
            with self._changed:
                self._wait_for_work()
                if self._over:
                    return
            try:
                if self._conversation.reason or self._conversation.is_outdated:
                    self._begin(gateway)
                elif self._conversation.wants:
                    self._ask(gateway)
                    is_refused = False
                else:
                    self._sweep(gateway)
                pause = pause if is_refused else _FIRST_PAUSE
            except (EtcdUnreachable, Rejected, Closed, OSError) as error:
                is_refused |= isinstance(error, Rejected)
                self._fail(error)
                with self._changed:
                    self._changed.wait_for(lambda: self._over, _some(pause))
                pause = min(2 * pause, _LONGEST_PAUSE if isinstance(error, EtcdUnreachable) else _REFUSED_PAUSE)
            self._wake()

    def _wait_for_work(self) -> None:
        """Wait until etcd must be called or the uplink stops. End other hosts' turns in time."""
        while True:
            self._conversation.pass_time(session.now())
            self._wake()
            if self._over or self._conversation.wants or self._unswept:
                return
            deadline = self._conversation.deadline
            self._changed.wait(None if deadline is None else max(0, deadline - session.now()) / SECOND)

    def _gateway(self, grace: float) -> Gateway:
        """Return a new connection to etcd."""
        tls = Tls(**{name: self.settings[name] for name in FILES})
        members = nearest_first(self.settings["etcd"], self.settings["host"])
        return Gateway(members, grace, tls, self.settings["fleet"])

    def _begin(self, gateway: Gateway) -> None:
        """Open the session, and read everything that the scheduler needs."""
        began = session.now()
        opened = session.open_session(gateway, self.settings, self._kept)
        there = session.check(gateway, opened.session.store, self._seen)
        self._check_clock(gateway)
        with self._changed:
            self._note(there)
            since = self._since
            generation = self._conversation.begin(opened.session, opened.last, since)
            self._leases, self._alive_until = opened.leases, began + TTL * SECOND
            self._run_lease = RunLease()
            self._conversation.until = began + opened.grace * SECOND
            self._watch += 1
        revision = 0
        for revision, found in session.snapshot(gateway, since):
            with self._changed:
                self._conversation.read(generation, revision, found)
            self._wake()
        with self._changed:
            if not self._conversation.complete(generation):
                return
            watch = self._watch
            self._changed.notify_all()
        threading.Thread(target=self._follow, args=(watch, revision), daemon=True).start()

    def _ask(self, gateway: Gateway) -> None:
        with self._changed:
            leases, keep = self._leases, max(self._conversation.keep, _LEAST_KEEP)
            number = self._conversation.occurrences
        if leases is None:
            return
        run = self._run_lease.take(gateway, keep, number) if number else 0
        with self._changed:
            own = {"run": run, "lock": leases.locks, "session": leases.session}
            batch = self._conversation.next_batch(own, keep)
            known, seen = self._conversation.revision, self._seen
        if batch is not None:
            answer = gateway.call("kv/txn", mark.guarded(batch.message, seen))
            with self._changed:
                there = mark.after(answer, seen)
                if there is None or claims.revision(answer) < known:  # etcd was restored to a state with this session
                    self._conversation.is_outdated = True
                    return
                self._note(there, is_granted=number > 0)
                self._conversation.answered(batch, answer)

    def _sweep(self, gateway: Gateway) -> None:
        """While no request waits, search a page for occurrences that an earlier agent did not report."""
        found, following = session.occurrences(gateway, self._unswept)
        with self._changed:
            self._conversation.swept(found)
            self._conversation.pass_time(session.now())
            self._unswept = following

    def _note(self, found: EtcdMark, *, is_granted: bool = False) -> None:
        """Save a mark. The caller holds the lock.

        The scheduler saves the mark. It receives the mark before the claims that the mark covers, or else once a
        minute.
        """
        self._seen = found
        if is_granted or self._told_at + _REMEMBERED <= session.now():
            self._told_at = session.now()
            self._conversation.outbox.append(["mark", *found])

    def _fail(self, error: Exception) -> None:
        """Handle a failure.

        If the failure may be over before the session ends, change nothing, so that the caller retries.
        """
        with self._changed:
            if (
                isinstance(error, EtcdUnreachable)
                and session.now() < self._alive_until
                and not self._conversation.reason
            ):
                return
            if isinstance(error, NotOver):
                self._leases = None
            self._refuse_requests(_words(error))

    def _refuse_requests(self, reason: str) -> None:
        """Refuse requests from now on. The caller holds the lock."""
        self._conversation.suspend(reason)
        self._watch += 1
        self._changed.notify_all()

    # the session thread

    def _stay_alive(self) -> None:
        gateway, trouble = self._gateway(_ANSWER), "no member of etcd answers"
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._over or self._leases is not None)
                self._changed.wait_for(lambda: self._over or self._leases is None, _BEAT)
                if self._over:
                    return
                leases, alive = self._leases, 0
            if leases is None:
                continue
            is_over, locks = False, 0
            try:
                alive = session.beat(gateway, leases.session)
                locks = session.beat(gateway, leases.locks)
                is_over = not (alive and locks)
                self._check_clock(gateway)
                self._look_around(gateway)
            except Closed as why:
                with self._changed:
                    self._refuse_requests(str(why))
            except (EtcdUnreachable, Rejected, OSError) as error:
                trouble = _words(error)
            with self._changed:
                if leases is not self._leases:
                    continue
                self._alive_until = max(self._alive_until, alive)
                self._conversation.until = max(self._conversation.until, locks)
                if is_over or session.now() >= self._alive_until:
                    self._leases = None
                    self._refuse_requests("this host's session expired in etcd" if is_over else trouble)
            self._wake()

    def _look_around(self, gateway: Gateway) -> None:
        """Check whether etcd was restored. If it was, re-read everything. Search for other fleets."""
        with self._changed:
            seen = self._seen
        found, fleets = session.look_around(gateway, self.settings["fleet"])
        with self._changed:
            if not seen.is_in(found):
                self._conversation.is_outdated = True
                self._changed.notify_all()
            elif self._seen.age and self._seen.is_in(found):  # otherwise another thread's answer is newer
                self._note(found)
        if fleets == self._fleets and session.now() < self._looked_at + _REMEMBERED:
            return
        jobs = session.jobs_of(gateway, fleets) if fleets else {}
        with self._changed:
            self._fleets, self._looked_at = fleets, session.now()
            self._conversation.outbox.append(["fleets", fleets, jobs])

    def _check_clock(self, gateway: Gateway) -> None:
        """Raise Closed if this host's clock differs from all members' clocks, so that due times would be wrong."""
        for _ in self.settings["etcd"]:
            if abs(gateway.ahead) <= _MOST_AHEAD:
                return
            gateway.leave()
            gateway.call("kv/range", {"key": coded(ROOT)})
        side = "ahead of" if gateway.ahead > 0 else "behind"
        limit = f"by more than {_MOST_AHEAD:.0f} s"
        raise Closed(f"this host's clock is {side} etcd's clock {limit}; to see which is wrong: timedatectl")

    # the watch thread

    def _follow(self, watch: int, revision: int) -> None:
        """Handle changes after a revision, while this watch is the current one."""
        gateway, pause, mute, since = self._gateway(_NEWS), _FIRST_PAUSE, 0, 0
        is_past: Callable[[], bool] = lambda: self._over or watch != self._watch  # noqa: E731
        while True:
            with suppress(EtcdUnreachable, Rejected, OSError):  # if the failure persists, the session ends
                for result in gateway.stream("watch", watching(revision), {"Grpc-Metadata-hasleader": "true"}):
                    with self._changed:
                        if is_past():
                            break
                        if result.get("canceled"):
                            if "compact_revision" in result:
                                self._conversation.is_outdated = True
                                self._changed.notify_all()
                                return
                            break
                        revision, pause, mute = reported_up_to(result, revision), _FIRST_PAUSE, 0
                        self._conversation.watched(result.get("events", ()), revision, session.now())
                        self._changed.notify_all()  # the next deadline may have changed
                    self._wake()
            gateway.close()
            mute += 1
            since = session.now() if mute == 1 else since
            with self._changed:
                # the session is alive, so etcd answered after the watch ended
                has_answered = max(since + TTL * SECOND, session.now()) < self._alive_until
                if mute > _MUTE and not is_past() and has_answered:
                    self._refuse_requests("etcd answers but sends no events: does a proxy hold them back?")
                if self._changed.wait_for(is_past, _some(pause)):
                    return
            pause = min(2 * pause, _LONGEST_PAUSE)


def watching(revision: int) -> dict[str, Any]:
    """Return the call that watches all changes after a revision."""
    return {
        "create_request": {
            "key": coded(f"{ROOT}hosts/"),
            "range_end": coded(after_all(f"{ROOT}wait/")),
            "start_revision": str(revision + 1),
            "progress_notify": True,
        }
    }


def _some(pause: float) -> float:
    """Return a random time between half the pause and the pause, so that hosts do not reconnect all at once."""
    return pause * (0.5 + os.urandom(1)[0] / 512)


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    return str(error)
