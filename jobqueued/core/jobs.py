"""What files and people say of jobs: they come, change and go, become invalid, are paused and resumed.

None of it fires a job or stops a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from jobqueued import events
from jobqueued.commands import Command, LookUp, Reply, SaveJob, SaveRun, Say
from jobqueued.core import dependencies, occurrences, validity
from jobqueued.core.completion import give_up
from jobqueued.core.eligibility import empty, hold, hold_over, look, released, resumed, watch_over
from jobqueued.core.scheduler_state import SchedulerState
from jobqueued.core.skips import skip
from jobqueued.model import PENDING, SECOND, Job, Now, Occurrence, Run, to_text


def read(book: SchedulerState, event: events.JobsRead, now: Now) -> Iterator[Command]:
    """The jobs of a file are these now; what the clock made due before belongs to the old ones."""
    before = {job.id: job for job in book.catalog.of_file(event.file)}
    before |= {job.id: old for job in event.jobs if (old := book.catalog.get(job.id)) is not None}
    for job in before.values():
        yield from occurrences.catch_clock(book, job, now)
    change = book.catalog.replace_file(event.file, event.jobs)
    for job in change.removed:
        yield from _removed(book, job, now)
    for job in (*change.added, *change.edited):
        yield from _defined(book, job, before.get(job.id), now)
    if book.unjudged is not None:
        book.unjudged |= dict.fromkeys(validity.to_be_judged(book, change))
    yield from _looked_up(event.jobs)
    counts = {name: len(jobs) for name, jobs in change._asdict().items() if jobs}
    if counts:
        yield Say("jobs_read", {"file": event.file, **counts})


def loaded(book: SchedulerState, event: events.JobsLoaded, now: Now) -> Iterator[Command]:
    """All files were read at start: what waits for a job that is nowhere any more never runs."""
    book.loaded, book.unjudged = True, None
    for job in book.catalog:
        if book[job.id].due:
            book.stir(job.id)
    if event.complete:
        for run in list(book.runs.values()):
            if run.state in PENDING and run.id.job not in book.catalog:
                yield from give_up(book, run, "job_removed", now)
    if event.boot is not None:
        if book.hold is not None and book.hold.boot not in (None, event.boot):
            yield from hold_over(book, "the boot of the host", now)
        yield from occurrences.booted(book, event.boot, now)


def judged(book: SchedulerState) -> Iterator[Command]:
    """What can't run on this host is invalid, and said to be; what can again is let go on."""
    unjudged, book.unjudged = book.unjudged, {}
    if unjudged == {}:
        return
    for job, told in validity.verdicts(book, unjudged):
        state, before = book[job.id], book[job.id].trouble
        state.trouble = told
        if told:
            book.troubled.add(job.id)
        else:
            book.troubled.discard(job.id)
        if state.trouble != before:
            book.stir(job.id)
        if state.trouble and state.trouble != before:
            yield _invalid(job, state.trouble)
        elif before and not state.trouble:
            yield Say("job_valid", {"job": job.id})


def _invalid(job: Job, reason: str) -> Say:
    return Say("job_invalid", {"job": job.id, "reason": reason, "file": job.file, "line": job.line})


def reloaded(book: SchedulerState) -> Iterator[Command]:
    """Somebody asked for a reload: what no file says is judged anew too."""
    return _looked_up(book.catalog)


def user_known(book: SchedulerState, event: events.UserKnown, now: Now) -> Iterator[Command]:
    """The word on a user is in: jobs of one that there is not are invalid, and what they hold never runs."""
    before = book.users.get(event.user)
    book.users[event.user] = event.trouble
    for job in book.catalog.of_user(event.user):
        if event.trouble == before and not book[job.id].due:
            continue
        if event.trouble:
            yield from empty(book, job, f"invalid: {event.trouble}", now)
        book.stir(job.id)
        if event.trouble and not before:
            yield _invalid(job, event.trouble)
        elif before and not event.trouble:
            yield Say("job_valid", {"job": job.id})


def paused(book: SchedulerState, event: events.PauseAsked, now: Now) -> Iterator[Command]:
    """Pause a job, or resume it: what waits is held and goes on from there, what is live goes on."""
    job = book.catalog.get(event.job)
    if job is None:
        yield Reply(event.ticket, {"job": event.job}, "NoSuchJob")
        return
    yield from occurrences.catch_clock(book, job, now)
    state = book[event.job]
    if event.pause and (not state.memory.paused or state.memory.paused_until != event.until):
        yield from _paused(book, job, event, now)
    elif state.memory.paused and not event.pause:
        yield from resumed(book, job.id, event.asked_by)
    yield Reply(event.ticket, {})


def _paused(book: SchedulerState, job: Job, event: events.PauseAsked, now: Now) -> Iterator[Command]:
    state = book[job.id]
    state.memory = replace(state.memory, paused=True, paused_until=event.until)
    book.stir(job.id)
    yield SaveJob(state.memory)
    for run in sorted(state.waiting, reverse=True):
        yield SaveRun(book.put_back(book.runs[run], now))
    if event.until is not None:
        book.timers.at(event.until, job.id)
    yield Say("job_paused", {"job": job.id, "asked_by": event.asked_by, "until": event.until})


def skip_next(book: SchedulerState, event: events.SkipAsked, now: Now) -> Iterator[Command]:
    """The clock's next occurrence of a job is to be skipped; asked again, one more; or the last of them not."""
    job = book.catalog.get(event.job)
    if job is None:
        yield Reply(event.ticket, {"job": event.job}, "NoSuchJob")
        return
    yield from occurrences.catch_clock(book, job, now)
    state = book[job.id]
    if event.undo:
        yield from _not_skipped(book, job, event)
        return
    due = job.next_after(state.memory.cursor)
    while due in state.memory.skips:
        due = job.next_after(due)
    if due is None or book.clock.next(job.id) is None:
        yield Reply(event.ticket, {"reason": f"nothing of {job.id} is due by the clock"}, "Refused")
        return
    state.memory = replace(state.memory, skips=(*state.memory.skips, due))
    yield SaveJob(state.memory)
    yield Say("skips_next", {"job": job.id, "asked_by": event.asked_by, "due": due + job.offset})
    yield Reply(event.ticket, {"due": to_text(due + job.offset)})


def _not_skipped(book: SchedulerState, job: Job, event: events.SkipAsked) -> Iterator[Command]:
    memory = book[job.id].memory
    if not memory.skips:
        yield Reply(event.ticket, {"reason": f"nothing of {job.id} is to be skipped"}, "Refused")
        return
    *skips, due = memory.skips
    book[job.id].memory = replace(memory, skips=tuple(skips))
    yield SaveJob(book[job.id].memory)
    yield Say("skips_not", {"job": job.id, "asked_by": event.asked_by, "due": due + job.offset})
    yield Reply(event.ticket, {"due": to_text(due + job.offset)})


def held(book: SchedulerState, event: events.HoldAsked) -> Iterator[Command]:
    """Nothing new starts on this host from now on, or it does again."""
    if event.hold is not None:
        before = book.hold
        if before is not None and event.hold.boot is not None:  # one that lasts longer is still there afterwards
            before = before.below if before.boot is not None else before
            yield from hold(book, event.hold._replace(below=before))
        else:
            yield from hold(book, event.hold)
    elif book.hold is not None:
        yield from released(book, event.asked_by)
    yield Reply(event.ticket, {})


def _defined(book: SchedulerState, job: Job, old: Job | None, now: Now) -> Iterator[Command]:
    state = book[job.id]
    book.define(job)
    rhythm = job.rhythm if job.enabled and not book.is_completed(job) else ""
    if old is not None and (state.memory.rhythm != rhythm or _comes_sooner(old, job, state.memory.cursor, now)):
        yield from occurrences.forgo(book, old, "edited", now)
    edges = set(job.dependencies) & set(job.dependencies if old is None else old.dependencies)
    if not edges.issuperset(state.memory.satisfied):
        state.memory = replace(state.memory, satisfied=tuple(sorted(edges & {*state.memory.satisfied})))
        yield SaveJob(state.memory)
    if state.memory.cursor > now.wall + occurrences.STEP_LIMIT:
        # the clock was far ahead, and was put right while we were down
        yield Say("clock_was_ahead", {"job": job.id, "seconds": (state.memory.cursor - now.wall) / SECOND})
        state.memory = replace(state.memory, cursor=now.wall, previous=0, era=state.memory.era + 1)
        yield SaveJob(state.memory)
    if state.memory.rhythm != rhythm or not state.memory.cursor:
        covered = state.memory.cursor  # what is due by then has a record, of whatever rhythm
        # after a small step back the cursor is ahead: what was due until there has had its run, by any rhythm
        state.memory = replace(
            state.memory, rhythm=rhythm, cursor=max(covered, now.wall), previous=state.memory.previous or covered,
            skips=tuple(due for due in state.memory.skips if job.next_after(due - 1) == due),
        )  # fmt: skip
        yield SaveJob(state.memory)
        if job.enabled and job.at is not None and covered < job.at <= now.wall:
            yield from skip(book, job, [Occurrence.clock(job.id, state.memory.era, job.at)], "past", now)
    is_new = not state.memory.appeared or (old is not None and old.on != job.on)
    if is_new and any(on.kind == "path" for on in job.on):  # what is there already is not
        state.memory = replace(state.memory, appeared=now.wall)
        yield SaveJob(state.memory)
    book.wind(job)
    yield from _taken_up(book, job, now)


def _comes_sooner(old: Job, job: Job, cursor: int, now: Now) -> bool:
    """Whether an occurrence that `spread` has put off would start by the very edit."""
    due = old.next_after(cursor) if old.offset > job.offset else None
    return due is not None and due + job.offset <= now.wall


def _taken_up(book: SchedulerState, job: Job, now: Now) -> Iterator[Command]:
    """Its runs that are not live go by the new definition."""
    state = book[job.id]
    beyond = max(0, state.under_way - job.concurrency)
    for place, run in enumerate(sorted(state.waiting, reverse=True)):
        if place < beyond or _is_newly_held(job, book.runs[run]):
            yield SaveRun(book.put_back(book.runs[run], now))
        else:
            book.enqueue(book.runs[run], now)
    for known in [book.runs[due] for due in state.due]:
        if _is_newly_held(job, known):
            book.runs[known.id] = replace(known, held=now.wall)
            yield SaveRun(book.runs[known.id])
    for run in [*state.due, *state.waiting, *state.later]:
        watch_over(book, job, book.runs[run], now)
    for run in sorted(state.later):
        yield from look(book, run, now)
    if state.memory.paused and state.memory.paused_until is not None:
        book.timers.at(state.memory.paused_until, job.id)
    book.stir(job.id)


def _is_newly_held(job: Job, run: Run) -> bool:
    """Whether dependencies, which its job did not have when it came to be, hold back a run."""
    return dependencies.hold_back(job) and not run.held and run.so_far is None and run.trigger == "schedule"


def _removed(book: SchedulerState, job: Job, now: Now) -> Iterator[Command]:
    state = book[job.id]
    yield from occurrences.forgo(book, job, "job_removed", now)
    book.clock.clear(job.id)
    state.memory, state.trouble = replace(state.memory, rhythm="", satisfied=()), ""
    book.troubled.discard(job.id)
    book.stir(job.id)
    yield SaveJob(state.memory)
    yield from empty(book, job, "job_removed", now)


def _looked_up(jobs: Iterable[Job]) -> Iterator[Command]:
    yield from map(LookUp, dict.fromkeys(job.user for job in jobs if job.user is not None))
