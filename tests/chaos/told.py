"""Notices: each end that somebody is to be told of was told, and nothing twice but by the same id and for a reason."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from tests.chaos.jobs import CHANNELS
from tests.chaos.receivers import Taken
from tests.chaos.timeline import instant
from tests.chaos.verdict import Violation

if TYPE_CHECKING:
    from tests.chaos.checker import Checker

SECOND = 10**9
_TOLD_OF = ("succeeded", "failed", "timed_out", "oom_killed", "lost")
_A_WHILE = 90 * SECOND
"""The answer of a receiver may be that long on its way: of a message that was taken twice the reason is no older."""


def untold(checker: Checker) -> Iterator[Violation]:
    """Find what nobody was told of, and what was told too often."""
    for channel in CHANNELS:
        taken = [each for each in checker.evidence.taken if each.channel == channel]
        named = frozenset[str]().union(*(each.runs for each in taken))
        waiting = frozenset(run for to, run in checker.evidence.waiting if to.startswith(channel))
        spare = sum({each.id: each.others for each in taken}.values()) + checker.losses.counted(channel)
        missing = [run for run in _expected(checker, channel) if run not in named | waiting]
        checker.notes[f"ends told by {channel}"] += len(named)
        checker.notes["ends whose notices still wait"] += len(waiting - named)
        missing = [run for run in missing if not _excused(checker, channel, run)]
        for run in missing[spare:]:
            yield Violation("untold", f"nobody was told by {channel} of {run}", run, _ended(checker, run))
        yield from _too_often(checker, taken)


def _expected(checker: Checker, channel: str) -> list[str]:
    """The runs whose end is to be told."""
    return [
        run for run, record in checker.records.items()
        if record["job"].startswith(f"told-{channel}-") and record["state"] in _TOLD_OF
    ]  # fmt: skip


def _excused(checker: Checker, channel: str, run: str) -> bool:
    if checker.losses.notice(channel, run, _ended(checker, run)):
        checker.notes["ends whose notices may be lost with state.db, and were"] += 1
        return True
    return False


def _ended(checker: Checker, run: str) -> int:
    ended = checker.records[run].get("ended")
    return instant(ended) if ended else checker.began(run)


def _too_often(checker: Checker, taken: list[Taken]) -> Iterator[Violation]:
    """A message that came again is the same one, and only because somebody died, stood still or could not save."""
    of_id, of_run = defaultdict[str, list[Taken]](list), defaultdict[str, list[Taken]](list)
    for each in sorted(taken, key=lambda each: each.at):
        of_id[each.id].append(each)
        for run in each.runs:
            of_run[run].append(each)
    for number, messages in of_id.items():
        for one, two in pairwise(messages):
            checker.notes["messages that came again"] += 1
            if not checker.timeline.is_troubled(one.at - _A_WHILE, two.at):
                text = f"{two.channel} got {number} again, and nothing had happened"
                yield Violation("told twice", text, min(two.runs, default=""), two.at)
    for run, messages in of_run.items():
        ids = {each.id for each in messages}
        if len(ids) > 1 and not checker.timeline.is_troubled(messages[0].at - _A_WHILE, messages[-1].at):
            text = f"{messages[0].channel} was told of {run} by {len(ids)} messages: {', '.join(sorted(ids))}"
            yield Violation("told twice", text, run, messages[-1].at)
