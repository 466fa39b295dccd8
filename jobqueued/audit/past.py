"""The past of a job: why it was not running at an instant, from records and recorded changes by users and job files.

The audit does not use the scheduler. The audit reports missing facts as unknown, and does not guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from jobqueued.audit.known import AuditAnswer, Known, dues, given_up, instant, over, spans
from jobqueued.audit.waits import pending
from jobqueued.base.instants import SECOND, to_text
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.text import counted
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import Past

_OF_PAUSES, _OF_HOLDS, _OF_FILES = ("paused", "resumed"), ("held", "released"), ("enabled", "disabled", "gone")


def answer(known: Known, at: int, run: str | None = None) -> AuditAnswer:
    """Return the reason why the job, or this run of the job, was not running at an instant (wall)."""
    at = _meant(known.runs, at)
    context = list(_context(known, at))
    found = next(_answers(known, at, run))
    reasons = [*found.reasons, *(words for kind, words in context if kind != found.kind)]
    far = f"whether a run that was queued before {known.looked_back} was still live"
    unknown = list(found.unknown)
    if found.kind not in ("running", "waiting", "retrying"):
        unknown += _unsure_waits(known.runs if run is None else [it for it in known.runs if it["run"] == run], at)
    if run is None and found.kind != "running":
        lacking = [] if found.kind in ("unknown", "not_due", "skipped") else _unkept(known, at)
        unknown += [*lacking, *_unkept_lives(known, at), *([far] if known.looked_back else [])]
    return found._replace(reasons=reasons, unknown=unknown)


def _meant(runs: Iterable[Record], at: int) -> int:
    """Return the instant that a user means by a run's due time `at`: when the run started, or when it was queued.

    Both instants are usually some milliseconds after the due time. If neither is within a second, return `at`.
    """
    for record in runs:
        if record["state"] != RunState.SKIPPED and dues(record)[0] == at:
            queued = instant(record["queued"])
            begin = next((span.begin for span in spans(record)), queued)
            return next((it for it in (begin, queued) if at < it < at + SECOND), at)
    return at


def _answers(known: Known, at: int, run: str | None) -> Iterator[AuditAnswer]:
    """Yield all possible answers, the most relevant first."""
    runs = [record for record in known.runs if run in (None, record["run"])]
    context = dict(_context(known, at))
    yield from _live(runs, at)
    if run is not None:
        yield from _ended(runs, at)
    waiting = list(pending(known, runs, at, is_held="held" in context))
    if "down" in context:
        yield _of_context(context, "down", [*_taken_up(runs, at), *(it.reasons[0] for it in waiting)])
    if "gone" in context and not waiting:
        yield _of_context(context, "gone")
    yield from waiting
    for kind in ("disabled", "paused"):
        if kind in context and run is None:
            yield _of_context(context, kind, _skips_then(known, at))
    yield from _due(known, runs, at, run)


def _of_context(context: Mapping[str, str], kind: str, more: Iterable[str] = ()) -> AuditAnswer:
    return AuditAnswer(kind, None, [context[kind], *more], [])


def _live(runs: Iterable[Record], at: int) -> Iterator[AuditAnswer]:
    for record in runs:
        for number, span in enumerate(spans(record), 1):
            if span.covers(at) and span.is_lost:
                lost = f"{record['run']} started at {to_text(span.begin)} and was lost; the time of its end is unknown"
                yield AuditAnswer("running", record["run"], [f"it might have run: {lost}"], [])
            elif span.covers(at):
                end = "" if span.end is None else f" to {to_text(span.end)}"
                which = f"attempt {number} of {record['run']}" if number > 1 else record["run"]
                yield AuditAnswer(
                    "running", record["run"], [f"it ran: {which} was live from {to_text(span.begin)}{end}"], []
                )


def _ended(runs: Iterable[Record], at: int) -> Iterator[AuditAnswer]:
    for record in runs:
        ended = over(record)
        if ended is not None and ended <= at:
            yield AuditAnswer("ended", record["run"], [f"{record['run']} had ended: {_end(record)}"], [])


def _end(record: Record) -> str:
    return record["state"] + (f", {record['reason']}" if record["reason"] else "")


# reasons that block all runs


def _context(known: Known, at: int) -> Iterator[tuple[str, str]]:
    """Yield the obstacles that kept all runs of the job from starting at an instant, each with its kind and
    description.
    """
    for begin, end in known.downs:
        if begin <= at < end:
            yield (
                "down",
                (
                    f"the daemon was down, or had nothing to save: its last sign of life was at {to_text(begin)},"
                    f" and it started at {to_text(end)}"
                ),
            )
    presence, since = _presence(known, at)
    if presence == "gone":
        yield "gone", f"{known.job} was in no job file{since}"
    if presence == "disabled":
        yield "disabled", f"{known.job} was disabled by its job file{since}"
    if (pause := _lasting(known.past, known.job, _OF_PAUSES, at)) is not None:
        yield "paused", f"{known.job} was paused{_whose(pause)}"
    if (hold := _lasting(known.past, "", _OF_HOLDS, at)) is not None:
        yield "held", f"the host was on hold{_whose(hold)}: nothing new started"


def _whose(past: Past) -> str:
    until = "" if past.until is None else f", until {to_text(past.until)}"
    return f" by {past.by} since {to_text(past.at)}{until}"


def _lasting(past: Iterable[Past], job: str, whats: tuple[str, str], at: int) -> Past | None:
    """Return the pause or hold that was in force at an instant, or None if there was none. `whats` contains the words
    for its start and end.
    """
    last = max((it for it in past if it.job == job and it.what in whats and it.at <= at), default=None, key=_at)
    return last if last is not None and last.what == whats[0] and (last.until is None or at < last.until) else None


def _at(past: Past) -> int:
    return past.at


def _presence(known: Known, at: int) -> tuple[str, str]:
    """Return the job's status in its file at an instant, and its start as text; either is "" if unknown."""
    noted = [it for it in known.past if it.job == known.job and it.what in _OF_FILES]
    before = [it for it in noted if it.at <= at]
    if before:
        return before[-1].what, f" since {to_text(before[-1].at)}"
    if noted:
        return noted[0].before, f" until {to_text(noted[0].at)}"
    return (known.presence, "") if known.presence != "gone" else ("", "")


def _taken_up(runs: Iterable[Record], at: int) -> Iterator[str]:
    """Yield a sentence about each occurrence that was due while the daemon was down."""
    for record in runs:
        due, last = dues(record)
        if due <= at <= last or (due <= at < instant(record["queued"])):
            yield f"{record['run']} was due at that time: {_end(record)}"


def _skips_then(known: Known, at: int) -> Iterator[str]:
    for record in known.runs:
        due, last = dues(record)
        if record["state"] == RunState.SKIPPED and due <= at <= last:
            yield f"the occurrence at that time was skipped: {record['reason']} ({record['run']})"


# due occurrences


def _due(known: Known, runs: Sequence[Record], at: int, run: str | None) -> Iterator[AuditAnswer]:
    """Yield answers about the last occurrence before an instant, or the answer that no occurrence was due yet."""
    before = _before(runs, at)
    if run is None and (lacking := _unkept(known, at)):
        yield AuditAnswer("unknown", None, [], lacking)
    if run is not None and not before:
        yield AuditAnswer(
            "not_due", run, [f"{run} was due later: at {runs[0]['due']}" if runs else f"{run} is unknown"], []
        )
    if not before:
        yield AuditAnswer("not_due", None, [f"{known.job} had no due time before that{_following(known, at)}"], [])
        return
    last = _last(before, at)
    if last["state"] == RunState.SKIPPED:
        yield _skipped(last, at)
    due = to_text(dues(last)[0])
    if at < instant(last["queued"]):
        words = f"{last['run']} was due at {due} and was queued at {last['queued']} (`spread` or `catch_up`)"
        yield AuditAnswer("not_due", last["run"], [words], [])
    words = f"it was not due: the previous run was {last['run']}, due at {due} ({_end(last)}){_following(known, at)}"
    yield AuditAnswer("not_due", last["run"], [words], [])


def _before(runs: Iterable[Record], at: int) -> list[Record]:
    return [record for record in runs if dues(record)[0] <= at]


def _last(before: Iterable[Record], at: int) -> Record:
    """Return the record of the last occurrence due before an instant."""
    return max(before, key=lambda it: (min(dues(it)[1], at), it["number"]))


def _unkept(known: Known, at: int) -> list[str]:
    """Return the facts that are unknown because records of that time have expired."""
    what, before = f"the state of {known.job} at that time: the job's records", _before(known.runs, at)
    if before:
        last = _last(before, at)
        following = _after_a_gap(known.runs, last, at)
        return [] if following is None else [f"{what} between {last['run']} and {following['run']} are no longer saved"]
    since = f": they begin at {min(it['queued'] for it in known.runs)}" if known.runs else ""
    return [] if known.is_whole else [f"{what} from that time are no longer saved{since}"]


def _unkept_lives(known: Known, at: int) -> list[str]:
    """Return the facts that are unknown because earlier runs, whose records have expired, may still have been live."""
    before = sorted(_before(known.runs, at), key=_number)
    begun = max((it["number"] for it in before if (times := spans(it)) and times[0].begin <= at), default=0)
    ordered = [it for it in before if it["number"] >= begun]  # runs before the newest live run had ended
    is_lacking = not begun and not known.is_whole and bool(ordered) and ordered[0]["number"] > 1
    if is_lacking or any(_is_gap(known.runs, one, other) for one, other in pairwise(ordered)):
        return [f"whether a run of {known.job} whose record is no longer saved waited or was still live"]
    return []


def _unsure_waits(runs: Iterable[Record], at: int) -> Iterator[str]:
    """Yield the facts that are unknown because a record shared by several skips has the end of only one wait."""
    for record in runs:
        end = given_up(record)
        if end is not None and record.get("count", 1) > 1 and instant(record["due"]) <= at < end:
            yield f"whether a run that was skipped later waited: {record['run']} records only the last of these skips"


def _after_a_gap(runs: Iterable[Record], last: Record, at: int) -> Record | None:
    """If records after `last` are missing and the instant is after `last`, return the next record, else None."""
    following = min((it for it in runs if it["number"] > last["number"]), key=_number, default=None)
    if following is None or at <= dues(last)[1] or not _is_gap(runs, last, following):
        return None
    return following


def _is_gap(runs: Iterable[Record], one: Record, other: Record) -> bool:
    """Return whether records between these two are missing: runs and skips expire separately, the oldest first.

    A run that was merged into a skip also leaves a gap in the numbers, but its record is not missing.
    """
    missing = other["number"] - one["number"] - 1
    if not missing or one["state"] != RunState.SKIPPED or missing >= one.get("count", 1):
        return missing > 0
    has_run_before = any(it["number"] < one["number"] and it["state"] != RunState.SKIPPED for it in runs)
    return given_up(one) is None and not has_run_before


def _number(record: Record) -> int:
    return record["number"]


def _skipped(record: Record, at: int) -> AuditAnswer:
    first, last = dues(record)
    count = record.get("count", 1)
    due = to_text(first) if count == 1 else f"{to_text(first)} to {to_text(last)}, {counted(count, 'time')}"
    if last > at:
        due = f"since {to_text(first)}"
    return AuditAnswer(
        "skipped", record["run"], [f"the previous occurrence ({due}) was skipped: {record['reason']}"], []
    )


def _following(known: Known, at: int) -> str:
    """Describe the next due time after an instant, or return "" if it is unknown."""
    later = [due for record in known.runs for due in dues(record) if due > at]
    if known.next_due is not None and known.next_due > at:
        later.append(known.next_due)
    return f"; due next at {to_text(min(later))}" if later else ""
