"""The sender of notices and pings: it passes events to `notices`, and the messages from `notices` to the launcher."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from jobqueued.model.commands import Command
from jobqueued.model.job import Job, Now
from jobqueued.model.saved import Notice
from jobqueued.model.source import Source
from jobqueued.model.users import Owner, UserLimits
from jobqueued.notices import happenings
from jobqueued.notices.happenings import Happening
from jobqueued.notices.notices import Notices
from jobqueued.notices.outbox import Message
from jobqueued.notices.pings import PingBatch
from jobqueued.runs.launch_spec import above
from jobqueued.runs.launcher_link import LauncherLink

_HEARD = frozenset({"refused", "flawed", "mended", "degraded", "recovered"})
"""Log events that come not from the scheduler's commands, but from other parts of the daemon."""


_OF_EARLIER = "never an earlier version saved the notice without its channel's user"
MOST_TESTED = 100
"""Maximum number of receivers of one test."""


class TooMany(Exception):
    """A test would go to too many receivers; the exception's argument is their number."""


class NoticeSender(Source):
    """A source that sends the outbox's messages as `user` (None means the daemon's user), with these mail `settings`.

    Notices for targets in users' own jobs are sent as these users, within their `limits`. `clocks` reads both clocks.
    """

    def __init__(
        self,
        notices: Notices,
        link: LauncherLink,
        user: str | None,
        settings: Mapping[str, Any],
        clocks: Callable[[], Now],
        limits: UserLimits | None = None,
    ) -> None:
        self._notices, self._link, self._user, self._settings = notices, link, user, settings
        self._clocks, self._limits = clocks, limits or UserLimits()
        self._heard: list[Happening] = []
        self._decided: list[Command] = []
        self._jobs: Callable[[], Iterable[Job]] | None = None
        """Function that returns all jobs, or None before the first call of `retain`."""
        self._parts: dict[int, dict[int, str]] = {}
        """Number of a batch → ping → verdict so far."""

    @property
    def troubles(self) -> list[str]:
        """The targets that can't be reached."""
        return self._notices.troubles

    @property
    def has_more(self) -> bool:
        """Return whether events or answers wait for the next commit."""
        return bool(self._heard or self._decided)

    @property
    def deadline(self) -> int | None:
        """The time (monotonic, ns) when a target accepts the next message, or None if no message waits."""
        if not self._link.greeted:
            return None
        now = self._clocks()
        times = (self._notices.outbox.next_at(now.wall), self._notices.pings.next_at(now.wall))
        at = min((at for at in times if at is not None), default=None)
        if at is None:
            return None
        return now.mono + at - now.wall if at > now.wall else 0

    def turn(self, now: Now) -> tuple[()]:
        """Send all due messages. The function rereads the clock, because answers in this turn use a later time than
        `now`.
        """
        wall = self._clocks().wall
        if self._link.greeted:
            for message in self._notices.outbox.take(wall):
                self._send(message, wall)
            self._decided += self._notices.pings.expire(wall)
            while (batch := self._notices.pings.take(wall)) is not None:
                self._ping(batch)
            self._link.flush()
        return ()

    def _send(self, message: Message, wall: int) -> None:
        number, name, target, about, job, settings = message
        if not self._notices.may_go(target, job):
            self._decided += self._notices.outbox.answered(number, _OF_EARLIER, wall)
            return
        if target.channel == "email":
            settings = {**self._settings, **settings}
        else:  # the present settings may be the fixed ones; a removed job has none
            settings = self._notices.settings(target, job) or settings
        notice = {
            "version": 1,
            "id": name,
            "channel": target.channel,
            "target": target.address,
            "settings": settings,
            "event": about,
        }
        self._hand_over(target.owner, notice, partial(self._answered, number))

    def _hand_over(
        self, owner: Owner | None, notice: dict[str, Any], answered: Callable[[int | None, str], None]
    ) -> None:
        """Let a process send a notice: a process that runs as the host's notifier, or as `owner` within this user's
        limits.
        """
        if owner is None:
            self._link.notify({"user": self._user}, notice, answered)
            return
        sender = {
            "user": owner.name,
            "owner": {"uid": owner.uid, "name": owner.name, "more_groups": []},
            "barred": [self._limits.allow, self._limits.deny],
            "above": above(owner, self._limits),
        }
        self._link.notify(sender, {**notice, "user": owner.name, "reach": self._limits.reach}, answered)

    def _ping(self, batch: PingBatch) -> None:
        self._parts[batch.number] = {}
        pings = [{"number": number, "url": about["url"], "body": _body(about)} for number, about in batch.pings]
        notice = ping_order(batch.receiver.address, pings)
        self._hand_over(batch.receiver.owner, notice, partial(self._pinged, batch.number))

    def hear(self, event: str, fields: Mapping[str, Any]) -> None:
        """Receive a log line of the daemon."""
        if event in _HEARD and (happening := happenings.of(event, fields)) is not None:
            self._heard.append(happening)

    def decide(self, commands: Sequence[Command], now: Now) -> list[Command]:
        """Return the commands that save, in this commit, the changes from all events and answers."""
        decided, self._decided = self._decided, []
        heard, self._heard = self._heard, []
        decided += self._notices.about(commands, now.wall)
        decided += self._notices.pings.about(commands, now.wall)
        return decided + [command for each in heard for command in self._notices.note(each, now.wall)]

    def reconcile(
        self, refused: Collection[str], invalid: Callable[[str], bool | None], lasts: Callable[[str, str], bool]
    ) -> None:
        """End incidents that ended while the daemon did not run; the arguments are as in Notices.reconcile."""
        self._decided += self._notices.reconcile(refused, invalid, lasts, self._clocks().wall)

    def retain(self, jobs: Callable[[], Iterable[Job]]) -> None:
        """Drop messages for receivers that no file names any longer; `jobs` returns all jobs, now and later."""
        self._jobs = jobs
        self._decided += self._notices.retain(jobs)

    def test(self, job: str | None) -> list[Notice]:
        """Queue a test for each target of a job; None means all targets of all rules and jobs. Raises TooMany if there
        are too many targets.
        """
        wall = self._clocks().wall
        jobs = self._jobs() if self._jobs is not None else ()
        targets = self._notices.all_targets(jobs) if job is None else dict.fromkeys(self._notices.targets(job), job)
        if len(targets) > MOST_TESTED:
            raise TooMany(len(targets))
        saves = [self._notices.add_test(target, about, wall) for target, about in targets.items()]
        self._decided += saves
        return [save.notice for save in saves]

    def _answered(self, number: int, _part: int | None, answer: str) -> None:
        self._decided += self._notices.outbox.answered(number, answer, self._clocks().wall)
        self._let_go(answer)

    def _pinged(self, batch: int, part: int | None, answer: str) -> None:
        if part is not None:
            self._parts[batch][part] = answer
            return
        verdicts = self._parts.pop(batch)
        self._decided += self._notices.pings.answered(batch, verdicts, answer, self._clocks().wall)
        self._let_go(answer, *verdicts.values())

    def _let_go(self, *answers: str) -> None:
        """If an answer reports a failure, drop messages for receivers that were removed before the answer."""
        if self._jobs is not None and any(answer != "sent" for answer in answers):
            self._decided += self._notices.retain(self._jobs)


def ping_order(receiver: str, pings: Sequence[Mapping[str, Any]], seconds: int = 40) -> dict[str, Any]:
    """Return the notice with pings for one receiver; after `seconds`, the sender reports the remaining pings as not
    sent.
    """
    return {
        "version": 1,
        "id": "ping",
        "channel": "ping",
        "target": receiver,
        "settings": {"timeout": seconds},
        "event": {"event": "ping", "host": "", "at": "", "summary": "", "pings": pings},
    }


def _body(about: Mapping[str, Any]) -> str | None:
    """Return the text to send with a ping, or None if the URL is for this event alone and therefore expects no text."""
    if about["is_own"]:
        return None
    return "" if about["event"] == "start" else f"{about['summary']}\n{about['tail']}"
