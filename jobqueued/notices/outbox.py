"""The outbox: notices that wait, are collected for each target, and are retried until they are sent or too old.

Each run's output is a separate message, as from cron, until the lane's rate limit is reached. Notices are sent at
least once: a notice is deleted only after the answer, so it may be re-sent with the same ID.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from jobqueued.base.instants import DAY, MINUTE, SECOND
from jobqueued.base.replace import changed
from jobqueued.base.text import counted
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.commands import Command, ForgetNotice, SaveNotice, Say
from jobqueued.model.notify import Policy, Target
from jobqueued.model.saved import Notice
from jobqueued.model.submission import is_numbered
from jobqueued.notices.failing_receivers import NotifierAnswer, Numbers, Troubles, grown
from jobqueued.notices.lanes import Lane, NoticeReceiver
from jobqueued.notices.send_slots import SendSlots

SENDING = 2
"""Maximum number of messages that are sent at the same time."""
MOST = 500
"""Maximum number of waiting notices in one lane; more notices are only counted."""
MOST_OF_USER = 1000
"""Maximum number of waiting notices about all of one user's jobs."""
SHOWN = 50
"""Maximum number of notices listed in one message."""
_NAMED = 3
_FIRST_PAUSE = MINUTE
_GIVE_UP, _TRIES = 3 * DAY, 10
_LONGEST_PERIOD, _MANY = DAY, 64


class Message(NamedTuple):
    """One message to a target, with one or more notices. `number` is never reused on this host."""

    number: int
    id: str
    target: Target
    about: dict[str, Any]
    job: str | None
    """The job of the first notice."""
    settings: dict[str, Any]
    """The settings of the target when the first notice was made."""


class Outbox:
    """The waiting notices. `policy` returns when a target accepts notices; times of day are in the timezone that `zone`
    returns.
    """

    def __init__(
        self, host: str, policy: Callable[[Target], Policy], zone: Callable[[], str], numbers: Numbers
    ) -> None:
        self._host, self._policy, self._zone, self._numbers = host, policy, zone, numbers
        self._waiting: dict[Lane, dict[int, Notice]] = {}
        self._of_users = Counter[str]()
        """A user's share → number of waiting notices about the user's jobs."""
        self._sending: dict[int, tuple[Lane, list[int]]] = {}
        self._sent: dict[Lane, deque[int]] = {}
        self._many = _MANY
        """Size of `_sent` above which old lanes are removed from `_sent`."""
        self._troubles, self._places = Troubles[NoticeReceiver]("notices to "), SendSlots()
        self._known: tuple[int, int | None] | None = None
        """The argument and the result of the last `next_at`, or None after a change."""

    def __iter__(self) -> Iterator[Notice]:
        """Iterate over all notices that wait or are being sent."""
        return (notice for notices in self._waiting.values() for notice in notices.values())

    @property
    def troubles(self) -> list[str]:
        """The messages about unreachable targets."""
        return self._troubles.describe_all

    def restore(self, notices: Iterable[Notice]) -> None:
        """Restore the notices that an earlier scheduler saved."""
        for notice in sorted(notices, key=lambda notice: notice.id):
            lane = Lane.of(notice)
            self._waiting.setdefault(lane, {})[notice.id] = notice
            self._count(lane, 1)
            self._numbers.saw(notice.id)
        self._known = None

    def put(self, target: Target, about: dict[str, Any], wall: int, settings: dict[str, Any]) -> SaveNotice:
        """Add a notice. `settings`: the present settings of the target."""
        notice = Notice(self._numbers.next(wall), str(target), wall, about, settings=settings)
        lane = Lane.of(notice)
        if (full := self._full(lane)) is not None:
            notice = changed(newest := _newest(self._waiting[full]), more=newest.more + 1)
            self._waiting[full][notice.id] = notice
            return SaveNotice(notice)
        if lane not in self._waiting:
            self._known = None
        self._waiting.setdefault(lane, {})[notice.id] = notice
        self._count(lane, 1)
        return SaveNotice(notice)

    def _full(self, lane: Lane) -> Lane | None:
        """Return the lane whose newest notice must count one more notice, because this lane or its user has too many.

        Return None if neither has too many.
        """
        waiting, share = self._waiting.get(lane, {}), lane.receiver.share
        if len(waiting) < MOST and (not share or self._of_users[share] < MOST_OF_USER):
            return None
        own = [lane] if waiting else [other for other in self._waiting if other.receiver.share == share]
        found = max(own, key=lambda each: _newest(self._waiting[each]).id, default=lane)
        return found if own and _newest(self._waiting[found]).id not in self._on_way(found) else None

    def _count(self, lane: Lane, notices: int) -> None:
        """Add `notices` to the number of waiting notices of the lane's user, if the lane belongs to a user."""
        if share := lane.receiver.share:
            self._of_users[share] += notices
            if not self._of_users[share]:
                del self._of_users[share]

    def try_again(self, target: Target) -> None:
        """Send the next message to a target at once in spite of the last failure, because the problem may be fixed."""
        for receiver in [it for it in self._troubles if it.target == target]:
            self._troubles.try_again(receiver)
        self._known = None

    def first(self, notice: Notice) -> Notice:
        """Return the oldest notice in a notice's lane; the oldest notice has the number of tries and the last error."""
        waiting = self._waiting[Lane.of(notice)]
        return waiting[_oldest(waiting)]

    @property
    def is_idle(self) -> bool:
        """True if no notice waits and no receiver has a problem."""
        return not (self._waiting or self._troubles)

    def of_past_jobs(self, exists: Callable[[str], bool]) -> set[Target]:
        """Return the targets that no file needs to name, because notices about submissions, or outputs of removed jobs,
        wait for them.
        """

        def is_past(lane: Lane, notice: Notice) -> bool:
            job = notice.about["job"] or ""
            return is_numbered(job) or (lane.is_output and not exists(job))

        return {lane.target for lane, of in self._waiting.items() if any(is_past(lane, it) for it in of.values())}

    def retain(self, targets: Collection[Target]) -> list[Command]:
        """Drop notices for all targets except these, and forget the problems of the dropped targets; keep notices that
        are being sent.
        """
        retained = {*targets, *(receiver.target for receiver in self._busy())}
        gone = [lane for lane in self._waiting if lane.target not in retained]
        self._troubles.retain({receiver for receiver in self._troubles if receiver.target in targets})
        self._known = None
        commands: list[Command] = []
        for lane in gone:
            notices = list(self._waiting.pop(lane).values())
            self._count(lane, -len(notices))
            commands += [ForgetNotice(notice.id) for notice in notices]
            commands.append(
                Say(
                    "notice_given_up",
                    {
                        "target": lane.target.shown,
                        "count": len(notices),
                        "reason": together(notices)["summary"],
                        "after": "no file names this receiver now",
                    },
                )
            )
        return commands

    def targets(self) -> set[str]:
        """Return the str() of each target for which a notice waits."""
        return {str(lane.target) for lane in self._waiting}

    # when

    def next_at(self, wall: int) -> int | None:
        """Return the instant (wall) when `take` will have a message, or None if there will be none before the next
        answer or notice.
        """
        if len(self._sending) >= SENDING:
            return None
        if self._known is not None:
            seen, at = self._known
            if at is None or seen <= wall < at:
                return at
        at = None
        for lane in self._ready(self._waiting):
            opens = self._opens(lane, wall)
            if opens <= wall:
                return wall
            at = opens if at is None else min(at, opens)
        self._known = wall, at
        return at

    def _on_way(self, lane: Lane) -> set[int]:
        return {number for busy, ids in self._sending.values() if busy == lane for number in ids}

    def _busy(self) -> set[NoticeReceiver]:
        return {lane.receiver for lane, _ in self._sending.values()}

    def _ready(self, lanes: Iterable[Lane]) -> list[Lane]:
        """Return those of the lanes for which a message may be sent now.

        All receivers that did not accept the last message together use at most one slot.
        """
        busy = self._busy()
        targets = {receiver.target for receiver in busy}
        found = [lane for lane in lanes if self._waiting[lane] and lane.target not in targets]
        free = set(self._places.left((lane.target for lane in found), targets))
        spared = set(self._troubles.spared([lane.receiver for lane in found if lane.target in free], busy))
        return [lane for lane in found if lane.receiver in spared]

    def _opens(self, lane: Lane, wall: int) -> int:
        """Return the earliest instant (wall) for a lane's next message.

        Saved future instants, from when the clock was ahead, cause no delay.
        """
        policy, waiting = self._policy(lane.target), self._waiting[lane]
        marks = [(waiting[_oldest(waiting)].created, policy.digest)]
        marks += self._troubles.rest(lane.receiver)
        most, period = policy.rate
        sent = self._sent.get(lane.rate_lane, ())
        if len(sent) >= most:
            marks.append((sent[-most], period))
        opens = max([wall, *(since + pause for since, pause in marks if since <= wall)])
        return self._after_quiet(policy.quiet, opens)

    def _batch(self, lane: Lane, wall: int) -> list[Notice]:
        """Return the notices for a lane's next message.

        A message has only one output, unless the rate limit allows only one more message for each sender's outputs.
        """
        waiting, policy = list(self._waiting[lane].values()), self._policy(lane.target)
        if not lane.is_output or policy.digest:
            return waiting
        most, period = policy.rate
        sent = sum(wall - period < at <= wall for at in self._sent.get(lane.rate_lane, ()))
        senders = sum(other.receiver == lane.receiver and other.is_output for other in self._waiting)
        return waiting[:1] if most - sent > senders else waiting

    def _after_quiet(self, quiet: tuple[int, int] | None, instant: int) -> int:
        """Return the instant, or the end of the quiet hours if the instant is in the quiet hours."""
        if quiet is None:
            return instant
        local = datetime.fromtimestamp(instant // SECOND, ZoneInfo(self._zone()))
        begin, end = quiet
        minute = local.hour * 60 + local.minute
        if not (begin <= minute < end if begin < end else minute >= begin or minute < end):
            return instant
        over = local.replace(hour=end // 60, minute=end % 60, second=0)
        if minute >= end:
            over += timedelta(days=1)
        return int(over.timestamp()) * SECOND

    # sending

    def take(self, wall: int) -> Iterator[Message]:
        """Yield the due messages. Each message counts as being sent until `answered` is called for it."""
        if (at := self.next_at(wall)) is None or at > wall:
            return
        for lane in sorted(self._ready(self._waiting), key=self._rank):
            if len(self._sending) >= SENDING:
                return
            if self._ready([lane]) and self._opens(lane, wall) <= wall:
                self._known = None
                self._places.give(lane.target)
                yield self._message(lane, wall)

    def _rank(self, lane: Lane) -> tuple[int, bool, int]:
        return self._places.rank(lane.target), lane.receiver in self._troubles, _oldest(self._waiting[lane])

    def _message(self, lane: Lane, wall: int) -> Message:
        notices = self._batch(lane, wall)
        number = notices[0].id
        self._sending[number] = lane, [notice.id for notice in notices]
        name, about = f"{self._host}-{number}-{notices[-1].id}", together(notices)
        if lane.is_output and notices[0].tries and self._troubles.is_refused(lane.receiver):
            about = _gathered(notices)  # the message may be too large or look like spam; a summary does not
        return Message(number, name, lane.target, about, notices[0].about["job"], notices[0].settings)

    def answered(self, number: int, answer: str, wall: int) -> list[Command]:
        """Handle the answer about a message: ``sent``, ``later SECONDS WHY`` or ``never WHY``."""
        if number not in self._sending:
            return []
        self._known = None
        lane, ids = self._sending.pop(number)
        verdict = NotifierAnswer.parse(answer)
        if verdict.sent:
            return self._sent_all(lane, ids, wall)
        return self._failed(lane, ids, verdict, wall)

    def _sent_all(self, lane: Lane, ids: list[int], wall: int) -> list[Command]:
        waiting = self._waiting[lane]
        notices = [waiting.pop(each) for each in ids]
        self._count(lane, -len(notices))
        if not waiting:
            del self._waiting[lane]
        self._sent.setdefault(lane.rate_lane, deque(maxlen=1000)).append(wall)
        if len(self._sent) > self._many:  # this limits memory, because each submission may have another target
            since = wall - _LONGEST_PERIOD
            self._sent = {other: marks for other, marks in self._sent.items() if since < marks[-1] <= wall}
            self._many = 2 * len(self._sent) + _MANY
        self._troubles.end(lane.receiver)
        said = Say("notice_sent", {"target": lane.target.shown, "summary": together(notices)["summary"]})
        return [*map(ForgetNotice, ids), said]

    def _failed(self, lane: Lane, ids: list[int], verdict: NotifierAnswer, wall: int) -> list[Command]:
        waiting, target, why = self._waiting[lane], lane.target, verdict.why
        first = changed(waiting[ids[0]], tries=waiting[ids[0]].tries + 1, error=why)
        waiting[first.id] = first
        pause = verdict.pause or grown(_FIRST_PAUSE, first.tries)
        commands: list[Command] = [SaveNotice(first)]
        if self._troubles.note(lane.receiver, target.shown, verdict, pause, wall):
            told = Say("notice_failed", {"target": target.shown, "reason": why, "waiting": len(waiting)})
            commands.append(told)
        return commands + self._give_up(lane, wall)

    def _give_up(self, lane: Lane, wall: int) -> list[Command]:
        """Give up notices that are too old and were tried often enough.

        Age alone is no reason, because a clock step may have caused it.
        """
        waiting = self._waiting[lane]
        if waiting[_oldest(waiting)].tries < _TRIES:
            return []
        old = [notice for notice in waiting.values() if notice.created + _GIVE_UP <= wall]
        for notice in old:
            del waiting[notice.id]
        self._count(lane, -len(old))
        if not old:
            return []
        if not waiting:
            del self._waiting[lane]
        why = old[0].error or old[-1].error
        shown = lane.target.shown
        said = Say("notice_given_up", {"target": shown, "reason": why, "count": len(old), "after": "3 days"})
        return [*(ForgetNotice(notice.id) for notice in old), said]


def _oldest(waiting: dict[int, Notice]) -> int:
    """Return the number of the first waiting notice; the notices are sorted."""
    return next(iter(waiting))


def _newest(waiting: dict[int, Notice]) -> Notice:
    """Return the last waiting notice; the notices are sorted."""
    return waiting[next(reversed(waiting))]


def together(notices: list[Notice]) -> dict[str, Any]:
    """Return one document for a message: the only notice's document, or a digest of several notices."""
    return notices[0].about if len(notices) == 1 and not notices[0].more else _gathered(notices)


def _gathered(notices: list[Notice]) -> dict[str, Any]:
    held, count = [_held(notice.about) for notice in notices], sum(1 + notice.more for notice in notices)
    named = "; ".join([*(it["summary"] for it in held[:_NAMED]), *(["…"] if count > _NAMED else [])])
    what = f"{counted(count, 'output')} held back" if held[0]["event"] == "output" else counted(count, "notice")
    return {
        **notices[0].about,
        "event": "digest",
        "summary": f"{what}: {named}",
        "job": None,
        "run": None,
        "user": None,
        "command": None,
        "incident": None,
        "record": None,
        "held_back": held[:SHOWN],
        "not_shown": count - len(held[:SHOWN]),
    }


def _held(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return a notice's entry in a digest.

    An output's entry includes the output's tail, because no other message contains the output.
    """
    line = {**{name: about[name] for name in ("event", "at", "job", "run", "summary")}, "count": 1}
    return {**line, "tail": about["record"]["output"]["tail"]} if about["event"] == "output" else line
