"""Submissions: each is accepted with an ID or refused, turned into runs in batches, and removed when all its runs are
over.

The same turn, and therefore the same commit, assigns the ID, saves the submission, and creates its first runs.
"""

from __future__ import annotations

from dataclasses import replace

from jobqueued.base.text import counted, size
from jobqueued.child.contract.reasons import Code, Reason
from jobqueued.core.due import occurrences
from jobqueued.core.jobs import jobs
from jobqueued.core.runs import validity
from jobqueued.core.runs.completion import stop
from jobqueued.core.runs.eligibility import give_up_all
from jobqueued.core.runs.skips import Cause, skip
from jobqueued.core.state.scheduler_state import SchedulerState
from jobqueued.core.state.submitted import SubmissionEnd, share_in
from jobqueued.core.state.turn import Turn
from jobqueued.model import events
from jobqueued.model.accounts import accounts
from jobqueued.model.commands import ForgetJob, LookUp, SaveSubmission
from jobqueued.model.job import Job, Occurrence
from jobqueued.model.run import Run
from jobqueued.model.run_states import RunState
from jobqueued.model.submission import MOST_BYTES, MOST_RUNS, Resized, is_numbered

MADE_A_TURN, AHEAD = 500, 100
"""Maximum number of runs to create in one turn; also the number of waiting runs to maintain while a submission has more
runs to create.
"""


def asked(turn: Turn, event: events.Submitted) -> None:
    """Accept a submission, or refuse it."""
    state, share = turn.state, share_in(event.job.id)
    if (known := state.submitted.of_key(share, event.key)) is not None:
        turn.reply(event.ticket, f"{known}, submitted by {event.asked_by}", job=known, is_new=False)
        return
    job = _named(state, _timed(event.job, turn.now.wall))
    reason = state.unsaved or _refusal(state, job, event.text, event.failed) or _impossible(state, job)
    if reason:
        turn.refuse(event.ticket, "Refused", reason=reason)
        return
    state.catalog.add(job)
    _put(turn, SaveSubmission(job.id, event.text, event.key))
    jobs.defined(turn, job, None)
    state.agenda.judge([job.id])
    for account in state.accounts_to_look_up(job):
        turn.do(LookUp(account))
    _make_runs(turn, job, event.asked_by)
    turn.reply(event.ticket, f"{job.id}, submitted by {event.asked_by}", job=job.id, is_new=True)
    _catch_up(turn, job, event.failed)


def _catch_up(turn: Turn, job: Job, failed: tuple[str, ...]) -> None:
    """Apply ends that a new submission waits for but that came before the submission."""
    submission = job.as_submission
    over = turn.state.submitted.over
    for name in failed:
        _settle(turn, job, name, "it has not succeeded", succeeded=False)
    for after in submission.after:
        if after.name not in failed and (end := over.get(after.name)) is not None:
            _settle(turn, job, after.name, end.word, succeeded=end.succeeded)


def _timed(job: Job, wall: int) -> Job:
    """Return the job without its clock if its due time has passed."""
    return job if job.at is None or job.at > wall else replace(job, at=None, triggers=())


def _named(state: SchedulerState, job: Job) -> Job:
    """Return the job with a complete ID; a job without a name gets its user's next number."""
    if not job.id.endswith("/"):
        return job
    share = share_in(job.id)
    number = state.submitted.number(share)
    while f"{share}/{number}" in state.jobs:
        number += 1
    return replace(job, id=f"{share}/{number}")


def _refusal(state: SchedulerState, job: Job, text: str, failed: tuple[str, ...]) -> str:
    """Return why a submission is refused regardless of the host's resources, or "" if it is acceptable."""
    share, submission = share_in(job.id), job.as_submission
    if job.id in state.catalog:
        return f"a job {job.id} already exists; use another name, or none"
    earlier = state.jobs.get(job.id)
    if earlier is not None and earlier.unfinished:
        return f"runs of another job {job.id} have not ended; use another name, or none"
    most, of_users = MOST_RUNS, "" if job.owner is None else state.limits.waiting_of_a_user
    rule = f"at most {most}"
    if isinstance(of_users, int) and of_users < most:
        most, rule = of_users, f"at most {of_users} per user (`users: {{waiting: {of_users}}}` in jobqueued.yaml)"
    if submission.runs > most:
        return f"the submission has {submission.runs} runs; expected {rule}"
    waiting = max(state.submitted.count[share], state.unfinished[share] if job.owner else 0)
    if waiting + submission.runs > most:
        return f"{waiting} already wait; expected {rule}; try again when some have ended"
    if state.submitted.bytes[share] + len(text) > MOST_BYTES:
        waits = f"submissions of {size(state.submitted.bytes[share])} already wait"
        return f"{waits}; expected at most {size(MOST_BYTES)}; try again when some have ended"
    known = {*failed, *state.submitted.over}
    gone = [it.name for it in submission.after if it.name not in known and not _is_awaited(state, it.name)]
    return f"{gone[0]} has just ended; try again" if gone else ""


def _impossible(state: SchedulerState, job: Job) -> str:
    """Return why a job can never run on this host in its current setup, or "" if it can."""
    trouble = next(filter(None, map(state.accounts.get, accounts(job))), "")
    return trouble or validity.shortage(state, job)


def kept(turn: Turn, event: events.SubmissionsKept) -> None:
    """Restore the submissions of an earlier scheduler."""
    state = turn.state
    for name in [name for name in state.jobs if is_numbered(name)]:
        state.submitted.used(name)
    state.submitted.go_on(event.numbers)
    for job, text, key in event.kept:
        if job.id not in state.catalog:
            state.catalog.add(job)
            state.submitted.put(SaveSubmission(job.id, text, key))
            jobs.defined(turn, job, None)
    for account in dict.fromkeys(account for job, *_ in event.kept for account in accounts(job)):
        turn.do(LookUp(account))


def loaded(turn: Turn) -> None:
    """Forget the submissions that were over before the daemon started; their history remains."""
    state = turn.state
    for name in [name for name in state.jobs if is_numbered(name) and name not in state.catalog]:
        if not state[name].unfinished:
            _forget(turn, name)


def awaited_over(turn: Turn, event: events.AwaitedOver) -> None:
    """Apply the end of an awaited run or submission that is only in the history."""
    if not _is_awaited(turn.state, event.name):
        _resolve(turn, event.name, "succeeded" if event.succeeded else "not succeeded", succeeded=event.succeeded)


def withdraw_asked(turn: Turn, event: events.WithdrawAsked) -> None:
    """At a user's request, give up a submission's waiting runs; with `stop`, also stop its live runs."""
    job = turn.state.catalog.get(event.job)
    if job is None or job.submission is None or event.job not in turn.state.submitted:
        turn.refuse(event.ticket, "NoSuchJob", job=event.job)
        return
    state, job_state = turn.state, turn.state[job.id]
    live, waiting = list(job_state.live), len(job_state.pending) + job.submission.runs - job_state.saved.last_number
    _abandon(turn, job, Reason(Code.WITHDRAWN, by=event.asked_by))
    for run in [state.runs[name] for name in live if event.stop and name not in state.lingering]:
        stop(turn, run, Reason(Code.STOPPED, by=event.asked_by))
    asked = f"the withdrawal of {job.id} by {event.asked_by}"
    turn.reply(event.ticket, asked, running=len(live), waiting=waiting)


def resized(turn: Turn, event: Resized) -> None:
    """At a user's request, change how many runs of a submission may be live at a time; live runs continue."""
    state, old = turn.state, turn.state.catalog.get(event.job)
    if old is None or event.job not in state.submitted:
        turn.refuse(event.ticket, "NoSuchJob", job=event.job)
        return
    job = replace(old, concurrency=event.runs)
    state.catalog.remove(job.id)
    state.catalog.add(job)
    state.changes.note_submission(state.submitted.reword(job.id, event.text))
    jobs.defined(turn, job, old)
    turn.say("resized", job=job.id, runs=event.runs, before=old.concurrency, asked_by=event.asked_by)
    asked = f"the limit of {counted(event.runs, 'run')} at a time for {job.id}, set by {event.asked_by}"
    turn.reply(event.ticket, asked, before=old.concurrency)


def follow(turn: Turn, run: Run) -> None:
    """Apply the end of a run to the submissions that wait for it."""
    succeeded = run.state is RunState.SUCCEEDED
    _resolve(turn, str(run.id), run.state.value.replace("_", " "), succeeded=succeeded)


def go_on(turn: Turn, name: str) -> None:
    """Create more runs of a submission, or remove a submission whose runs are all over."""
    state = turn.state
    job = state.catalog.get(name)
    if job is None or job.submission is None:
        return
    saved = state[name].saved
    if saved.last_number >= job.submission.runs:
        if not state[name].unfinished:
            _leave(turn, job)
    elif not saved.paused:
        _make_runs(turn, job, None)


def _make_runs(turn: Turn, job: Job, asked_by: str | None) -> None:
    """Make a submission's next runs due, up to the number that may wait.

    If the submission has `at`, the clock makes its first run due.
    """
    state, submission = turn.state, job.as_submission
    if job.at is not None and not state[job.id].saved.last_number:
        return
    ahead = max(AHEAD, min(job.concurrency, MADE_A_TURN))
    missing = submission.runs - state[job.id].saved.last_number
    for _ in range(min(missing, ahead - state[job.id].unstarted)):
        occurrences.submitted(turn, job, asked_by)


def _leave(turn: Turn, job: Job) -> None:
    """Remove a submission whose runs are all over; its history remains."""
    stats = turn.state[job.id].saved.stats
    runs = job.as_submission.runs
    succeeded = stats.succeeded >= runs
    word = "succeeded" if succeeded else f"{counted(runs - stats.succeeded, 'run')} did not succeed"
    turn.state.submitted.departed[job.id] = turn.state.catalog.remove(job.id)
    turn.state.changes.note_submission(turn.state.submitted.take(job.id))
    turn.state.due_times.clear(job.id)
    turn.state.forget_job(job.id)
    _resolve(turn, job.id, word, succeeded=succeeded)


def _resolve(turn: Turn, name: str, word: str, *, succeeded: bool) -> None:
    """Let submissions that wait for the end of a run or submission continue, or give them up."""
    turn.state.submitted.over[name] = SubmissionEnd(word, succeeded)
    for job in turn.state.catalog.followers(name):
        _settle(turn, job, name, word, succeeded=succeeded)


def _settle(turn: Turn, job: Job, name: str, word: str, *, succeeded: bool) -> None:
    """Let a submission that waits for the end of a run or submission continue, or give it up."""
    state = turn.state
    awaited = next(after for after in job.as_submission.after if after.name == name)
    if succeeded or awaited.result == "any":
        state.remember(job.id, satisfied=tuple(sorted({*state[job.id].saved.satisfied, name})))
        state.mark_for_check(job.id)
    elif name not in state[job.id].saved.satisfied:
        _abandon(turn, job, Reason(Code.AFTER, awaited=name, end=word))


def _abandon(turn: Turn, job: Job, reason: Reason) -> None:
    """Give up all runs of a submission that have not started."""
    state = turn.state
    give_up_all(turn, job, reason)
    first = state[job.id].saved.last_number + 1
    missing = job.as_submission.runs - first + 1
    if missing > 0:
        due = turn.now.wall if job.at is None else job.at
        skip(turn, job, [Occurrence(job.id, f"s{first}", due)] * missing, reason, Cause("submitted"))
        state.remember(job.id, last_number=job.as_submission.runs)
    if job.at is not None:
        state.remember(job.id, cursor=max(state[job.id].saved.cursor, job.at))
        state.due_times.clear(job.id)
    state.mark_for_check(job.id)


def _is_awaited(state: SchedulerState, name: str) -> bool:
    """Return whether a run or submission has yet to end."""
    if "@" not in name:
        return name in state.submitted
    job, _, number = name.rpartition("@")
    return any(str(run.number) == number for run in state[job].unfinished) if job in state.jobs else False


def _put(turn: Turn, submission: SaveSubmission) -> None:
    turn.state.submitted.put(submission)
    turn.state.changes.note_submission(submission)


def _forget(turn: Turn, name: str) -> None:
    turn.state.changes.note_submission(ForgetJob(name))
    turn.state.forget_job(name)
