"""The past of a job: why it did not run at an instant, by records, and what was noted of people and job files.

It asks nobody who decides now.  What is not kept is told to be so, and not guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from jobqueued.audit.known import Answer, Known, instant, over, spans
from jobqueued.audit.waits import pending
from jobqueued.child.text import counted
from jobqueued.model import Record, RunState, to_text
from jobqueued.saved import Past

_OF_PAUSES, _OF_HOLDS, _OF_FILES = ("paused", "resumed"), ("held", "released"), ("enabled", "disabled", "gone")


def answer(known: Known, at: int, run: str | None = None) -> Answer:
    """Tell why the job, or this run of it, did not run at an instant (wall)."""
    context = list(_context(known, at))
    found = next(_answers(known, at, run))
    reasons = [*found.reasons, *(words for kind, words in context if kind != found.kind)]
    far = f"whether a run that was queued before {known.looked_back} was live so long"
    unknown = [*found.unknown, *([far] if known.looked_back and run is None and found.kind != "running" else [])]
    return found._replace(reasons=reasons, unknown=unknown)


def _answers(known: Known, at: int, run: str | None) -> Iterator[Answer]:
    """Yield all that could be said, what counts first."""
    runs = [record for record in known.runs if run in (None, record["run"])]
    context = dict(_context(known, at))
    yield from _live(runs, at)
    if run is not None:
        yield from _ended(runs, at)
    waiting = list(pending(known, runs, at, is_held="held" in context))
    if "down" in context:
        yield _of_context(context, "down", [*_taken_up(known, at), *(it.reasons[0] for it in waiting)])
    if "gone" in context and not waiting:
        yield _of_context(context, "gone")
    yield from waiting
    for kind in ("disabled", "paused"):
        if kind in context and run is None:
            yield _of_context(context, kind, _skips_then(known, at))
    yield from _due(known, runs, at, run)


def _of_context(context: Mapping[str, str], kind: str, more: Iterable[str] = ()) -> Answer:
    return Answer(kind, None, [context[kind], *more], [])


def _live(runs: Iterable[Record], at: int) -> Iterator[Answer]:
    for record in runs:
        for number, span in enumerate(spans(record), 1):
            if span.covers(at) and span.is_lost:
                lost = f"{record['run']} began at {to_text(span.begin)}, and was lost; when it ended is not known"
                yield Answer("running", record["run"], [f"it may have run: {lost}"], [])
            elif span.covers(at):
                end = "" if span.end is None else f" to {to_text(span.end)}"
                which = f"attempt {number} of {record['run']}" if number > 1 else record["run"]
                yield Answer(
                    "running", record["run"], [f"it ran: {which} was live from {to_text(span.begin)}{end}"], []
                )


def _ended(runs: Iterable[Record], at: int) -> Iterator[Answer]:
    for record in runs:
        ended = over(record)
        if ended is not None and ended <= at:
            yield Answer("ended", record["run"], [f"{record['run']} had ended: {_end(record)}"], [])


def _end(record: Record) -> str:
    return record["state"] + (f", {record['reason']}" if record["reason"] else "")


# what stood in the way of all runs


def _context(known: Known, at: int) -> Iterator[tuple[str, str]]:
    """Yield what kept any run of the job from starting at an instant: its kind, and words."""
    for begin, end in known.downs:
        if begin <= at < end:
            yield (
                "down",
                (
                    f"the daemon was down, or had nothing to save: its last sign of life was at {to_text(begin)},"
                    f" and it started at {to_text(end)}"
                ),
            )
    standing, since = _standing(known, at)
    if standing == "gone":
        yield "gone", f"{known.job} was in no job file{since}"
    if standing == "disabled":
        yield "disabled", f"{known.job} was disabled by its job file{since}"
    if (pause := _lasting(known.past, known.job, _OF_PAUSES, at)) is not None:
        yield "paused", f"{known.job} was paused{_whose(pause)}"
    if (hold := _lasting(known.past, "", _OF_HOLDS, at)) is not None:
        yield "held", f"the host was on hold{_whose(hold)}: nothing new started"


def _whose(past: Past) -> str:
    until = "" if past.until is None else f", until {to_text(past.until)}"
    return f" by {past.by} since {to_text(past.at)}{until}"


def _lasting(past: Iterable[Past], job: str, whats: tuple[str, str], at: int) -> Past | None:
    """The pause, or hold, that lasted at an instant."""
    last = max((it for it in past if it.job == job and it.what in whats and it.at <= at), default=None, key=_at)
    return last if last is not None and last.what == whats[0] and (last.until is None or at < last.until) else None


def _at(past: Past) -> int:
    return past.at


def _standing(known: Known, at: int) -> tuple[str, str]:
    """The standing of the job by its file at an instant, and since when, in words; "": that is not known."""
    noted = [it for it in known.past if it.job == known.job and it.what in _OF_FILES]
    before = [it for it in noted if it.at <= at]
    if before:
        return before[-1].what, f" since {to_text(before[-1].at)}"
    if noted:
        return noted[0].before, f" until {to_text(noted[0].at)}"
    return (known.standing, "") if known.standing != "gone" else ("", "")


def _taken_up(known: Known, at: int) -> Iterator[str]:
    """Yield what became of what was due while the daemon was down."""
    for record in known.runs:
        due, last = _dues(record)
        if due <= at <= last or (due <= at < instant(record["queued"])):
            yield f"{record['run']} was due then: {_end(record)}"


def _skips_then(known: Known, at: int) -> Iterator[str]:
    for record in known.runs:
        due, last = _dues(record)
        if record["state"] == RunState.SKIPPED and due <= at <= last:
            yield f"what was due then was skipped: {record['reason']} ({record['run']})"


# what was due


def _dues(record: Record) -> tuple[int, int]:
    """The first and the last due time that a record covers."""
    first = instant(record["due"])
    return first, instant(record.get("last_due") or record["due"])


def _due(known: Known, runs: Sequence[Record], at: int, run: str | None) -> Iterator[Answer]:
    """Yield what became of what was due last, or that nothing was due yet."""
    before = [record for record in runs if _dues(record)[0] <= at]
    if run is not None and not before:
        yield Answer(
            "not_due", run, [f"{run} was due later: at {runs[0]['due']}" if runs else f"{run} is not known"], []
        )
    if not before:
        if not known.is_whole:
            yield _unkept(known, runs)
        yield Answer("not_due", None, [f"nothing of {known.job} was due until then{_following(known, at)}"], [])
        return
    last = max(before, key=lambda it: (min(_dues(it)[1], at), it["number"]))
    if last["state"] == RunState.SKIPPED:
        yield _skipped(last)
    due = to_text(_dues(last)[0])
    if at < instant(last["queued"]):
        words = f"{last['run']} was due at {due}, and came to be at {last['queued']} (spread, or catching up)"
        yield Answer("not_due", last["run"], [words], [])
    words = f"it was not due: the last before was {last['run']}, due at {due} ({_end(last)}){_following(known, at)}"
    yield Answer("not_due", last["run"], [words], [])


def _unkept(known: Known, runs: Sequence[Record]) -> Answer:
    since = f": they begin at {min(it['queued'] for it in runs)}" if runs else ""
    return Answer("unknown", None, [], [f"what {known.job} did then: its records of that time are not kept{since}"])


def _skipped(record: Record) -> Answer:
    first, last = _dues(record)
    count = record.get("count", 1)
    due = to_text(first) if count == 1 else f"{to_text(first)} to {to_text(last)}, {counted(count, 'time')}"
    words = f"what was due last ({due}) was skipped: {record['reason']}"
    return Answer("skipped", record["run"], [words], [])


def _following(known: Known, at: int) -> str:
    """The next due time after an instant, in words."""
    later = [due for record in known.runs for due in _dues(record) if due > at]
    if known.next_due is not None and known.next_due > at:
        later.append(known.next_due)
    return f"; due next at {to_text(min(later))}" if later else ""
