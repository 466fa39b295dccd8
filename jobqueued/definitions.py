"""What files and people say of jobs: they come, change and go, become invalid, are paused and resumed.

None of it fires a job or stops a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from jobqueued import dues, events
from jobqueued.book import Book
from jobqueued.commands import Command, LookUp, Reply, SaveJob, SaveRun, Say
from jobqueued.model import SECOND, UNSTARTED, Job, Now, Occurrence
from jobqueued.skips import skip, skip_run


def read(book: Book, event: events.JobsRead, now: Now) -> Iterator[Command]:
    """The jobs of a file are these now; what the clock made due before belongs to the old ones."""
    before = {job.id: job for job in book.catalog.of_file(event.file)}
    before |= {job.id: old for job in event.jobs if (old := book.catalog.get(job.id)) is not None}
    for job in before.values():
        yield from dues.catch_clock(book, job, now)
    change = book.catalog.replace_file(event.file, event.jobs)
    for job in change.removed:
        yield from _removed(book, job, now)
    for job in (*change.added, *change.edited):
        yield from _defined(book, job, before.get(job.id), now)
    yield from _looked_up(event.jobs)
    counts = {name: len(jobs) for name, jobs in change._asdict().items() if jobs}
    if counts:
        yield Say("jobs_read", {"file": event.file, **counts})


def loaded(book: Book, event: events.JobsLoaded, now: Now) -> Iterator[Command]:
    """All files were read at start: what waits for a job that is nowhere any more never runs."""
    if event.complete:
        for run in list(book.runs.values()):
            if run.state in UNSTARTED and run.id.job not in book.catalog:
                yield from skip_run(book, run, "job_removed")
    if event.boot is not None:
        yield from dues.booted(book, event.boot, now)


def reloaded(book: Book) -> Iterator[Command]:
    """Somebody asked for a reload: what no file says is judged anew too."""
    return _looked_up(book.catalog)


def user_known(book: Book, event: events.UserKnown) -> Iterator[Command]:
    """The word on a user is in: jobs of one that there is not are invalid, and what they hold never runs."""
    before = book.users.get(event.user)
    book.users[event.user] = event.trouble
    for job in book.catalog.of_user(event.user):
        if event.trouble:
            yield from _hold_nothing(book, job, f"invalid: {event.trouble}")
        else:
            yield from _promoted(book, job)
        if event.trouble and not before:
            yield Say("job_invalid", {"job": job.id, "reason": event.trouble, "file": job.file, "line": job.line})
        elif before and not event.trouble:
            yield Say("job_valid", {"job": job.id})


def paused(book: Book, event: events.PauseAsked, now: Now) -> Iterator[Command]:
    """Pause a job, or resume it: what waits is held and goes on from there, what is live goes on."""
    job = book.catalog.get(event.job)
    if job is None:
        yield Reply(event.ticket, {"job": event.job}, "NoSuchJob")
        return
    yield from dues.catch_clock(book, job, now)
    state = book[event.job]
    if state.memory.paused != event.pause:
        state.memory = replace(state.memory, paused=event.pause)
        yield SaveJob(state.memory)
        yield from _held(book, job, event.asked_by) if event.pause else _resumed(book, job, event.asked_by)
    yield Reply(event.ticket, {})


def _defined(book: Book, job: Job, old: Job | None, now: Now) -> Iterator[Command]:
    state = book[job.id]
    rhythm = job.rhythm if job.enabled else ""
    if old is not None and state.memory.rhythm != rhythm:
        yield from dues.forgo(book, old, "edited", now)
    if state.memory.cursor > now.wall + dues.STEP_LIMIT:
        # the clock was far ahead, and was put right while we were down
        yield Say("clock_was_ahead", {"job": job.id, "seconds": (state.memory.cursor - now.wall) / SECOND})
        state.memory = replace(state.memory, cursor=now.wall, era=state.memory.era + 1)
        yield SaveJob(state.memory)
    if state.memory.rhythm != rhythm or not state.memory.cursor:
        covered = state.memory.cursor  # what is due by then has a record, of whatever rhythm
        state.memory = replace(state.memory, rhythm=rhythm, cursor=now.wall)
        yield SaveJob(state.memory)
        if job.enabled and job.at is not None and covered < job.at <= now.wall:
            yield from skip(book, job, [Occurrence.clock(job.id, state.memory.era, job.at)], "past", now)
    book.clock.set(job, state.memory.cursor)
    for run in state.waiting:
        book.enqueue(book.runs[run])
    book.promote(job.id)


def _removed(book: Book, job: Job, now: Now) -> Iterator[Command]:
    state = book[job.id]
    yield from dues.forgo(book, job, "job_removed", now)
    book.clock.clear(job.id)
    state.memory = replace(state.memory, rhythm="")
    yield SaveJob(state.memory)
    for run in [*state.due, *state.waiting]:
        yield from skip_run(book, book.runs[run], "job_removed", job)


def _looked_up(jobs: Iterable[Job]) -> Iterator[Command]:
    yield from map(LookUp, dict.fromkeys(job.user for job in jobs if job.user is not None))


def _hold_nothing(book: Book, job: Job, reason: str) -> Iterator[Command]:
    state = book[job.id]
    for run in sorted([*state.due, *state.waiting]):
        yield from skip_run(book, book.runs[run], reason, job)


def _held(book: Book, job: Job, asked_by: str) -> Iterator[Command]:
    for run in sorted(book[job.id].waiting, reverse=True):
        yield SaveRun(book.hold(book.runs[run]))
    yield Say("job_paused", {"job": job.id, "asked_by": asked_by})


def _resumed(book: Book, job: Job, asked_by: str) -> Iterator[Command]:
    yield from _promoted(book, job)
    yield Say("job_resumed", {"job": job.id, "asked_by": asked_by})


def _promoted(book: Book, job: Job) -> Iterator[Command]:
    held = list(book[job.id].due)
    book.promote(job.id)
    yield from (SaveRun(book.runs[run]) for run in held if run not in book[job.id].due)
