"""The vocabulary of the daemon's log: a table with the level, the MESSAGE_ID and the text of each event."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, MutableMapping
from datetime import datetime
from typing import Any

from jobqueued.base.instants import SECOND
from jobqueued.base.text import counted, duration, ended, printable
from jobqueued.child.contract.reasons import of_record
from jobqueued.child.contract.tuples import NamedTuple

Fields = MutableMapping[str, Any]


class LogEvent(NamedTuple):
    """One event of the vocabulary: its level, its MESSAGE_ID (for journalctl), and its text for people."""

    level: str
    id: str
    text: Callable[[Fields], str]


def _fleet(fields: Fields) -> str:
    """Return the fleet in the form for a sentence; omit the default name."""
    return "the fleet" if fields["fleet"] == "fleet" else f"the fleet {fields['fleet']}"


def _ended(fields: Fields) -> str:
    """Return ``backup@142 failed after 0.31 s: exit code 1; last output: No space left on device``."""
    record = fields["record"]
    took = ""
    if record["started"] and record["ended"]:
        took = duration(_seconds_between(record["started"], record["ended"]))
    text = f"{record['run']} {ended(record['state'], took, of_record(record))}"
    if record["state"] != "succeeded" and (tail := record["output"]["tail"].strip()):
        text += f"; last output: {printable(tail.splitlines()[-1])[:200]}"
    return text + "".join(f" ({warning})" for warning in record.get("warnings", ()))


def _lateness(fields: Fields) -> str:
    if "late" in fields:
        return f"{duration(fields['late'] / SECOND)} after it was due"
    return "failover" if fields["failover"] else f"attempt {fields['attempt']}"


def _in(seconds: float) -> str:
    return f"in {duration(seconds)}" if seconds else "at once"


def _until(fields: Fields) -> str:
    return f" until {local_time(fields['until'])}" if fields.get("until") else ""


def _notices(fields: Fields, number: str) -> str:
    """Return ``2 pings`` or ``1 notice``, depending on the target's channel."""
    return counted(fields[number], "ping" if fields["target"].startswith("ping ") else "notice")


def _emitted(fields: Fields) -> str:
    runs = ", ".join(fields["runs"]) or "no job waits for it"
    return f"event {fields['name']} emitted by {fields['asked_by']}: {runs}"


def _skipped(fields: Fields) -> str:
    times, due = fields["times"], local_time(fields["due"])
    since = f"{local_time(fields['first'])} to " if fields["first"] != fields["due"] else ""
    told = f"{times} times, due {since}{due}" if times > 1 else f"due {since}{due}"
    row = f", {fields['count']} in a row" if fields["count"] > times else ""
    runs = fields["run"] if fields["first_run"] == fields["run"] else f"{fields['first_run']} to {fields['run']}"
    return f"{runs} skipped: {fields['reason']}, {told}{row}"


def _seconds_between(first: str, last: str) -> float:
    return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()


def local_time(instant: int) -> str:
    """Format an instant in the host's zone, for people: ``2026-11-24 02:00:00``."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(instant // SECOND))


def _read(fields: Fields) -> str:
    changes = [(fields[name], name) for name in ("added", "edited", "removed") if fields.get(name)]
    if fields.get("at_start"):  # at the start the daemon reads all jobs, not only new jobs
        return f"{fields['file']}: {counted(changes[0][0], 'job')}"
    words = [f"{count} {change}" for count, change in changes]
    words[0] = f"{counted(changes[0][0], 'job')} {changes[0][1]}"
    return f"{fields['file']}: {', '.join(words)}"


def _refused(fields: Fields) -> str:
    file, jobs = str(fields["file"]), fields["jobs"]
    see = "jobqueuectl check"
    if not jobs:
        return f"{file}: refused; see: {see}"
    names = ", ".join(jobs[:10]) + (f" and {len(jobs) - 10} more" if len(jobs) > 10 else "")
    return f"{file}: refused, stale: its last good jobs remain in force: {names}; see: {see}"


def _flawed(fields: Fields) -> str:
    lines = fields["lines"]
    named = ", ".join(map(str, lines[:10])) + (f" and {len(lines) - 10} more" if len(lines) > 10 else "")
    errors = "line {} has an error and is ignored" if len(lines) == 1 else "lines {} have errors and are ignored"
    return f"{fields['file']}: {errors.format(named)}; the other lines run"


def _mended(fields: Fields) -> str:
    return f"{fields['file']}: {'removed, with its errors' if fields.get('gone') else 'accepted again'}"


VOCABULARY: dict[str, LogEvent] = {
    "ready": LogEvent("info", "6c5a2b9d0f5e4c0f9a4d5b0c1f6f6d11", lambda f: f"ready: {f['summary']}"),
    "stopped": LogEvent("info", "b1f43c3a52e94d4f8a3ce0f3a3a8c2d5", lambda f: f"stopped: {f['summary']}"),
    "jobs_read": LogEvent("info", "1b7f5f0e9c464b5f8b8f2c7f9f3d7a02", _read),
    "problem": LogEvent("error", "0a4c7de0a8c94f3d9c67d2b6a1b0e6f3", lambda f: f["text"]),
    "odd": LogEvent("warning", "c0b3b1d5a6e94d0c8a5d3f1e7b2946fa", lambda f: f["text"]),
    "refused": LogEvent("error", "5d9f3a7ce1b84f0693c2d8e4a1b7f605", _refused),
    "flawed": LogEvent("error", "21366bdd23de471dbdd6b76316d4f66e", _flawed),
    "mended": LogEvent("info", "37e5f2f64ed34b6a8f38f1e6b8b9a1c4", _mended),
    "time_zone": LogEvent("info", "288099528cb0489e94bf46f6e5e9b57d", lambda f: f["text"]),
    "run_started": LogEvent(
        "info", "8d1f0c6a6e7b4d31b0d9a6f1c2e35a97",
        lambda f: f"{f['run']} started: pid {f['pid']}, {_lateness(f)}",
    ),
    "run_retrying": LogEvent(
        "warning", "d0c5b86f2f5c4b0a9c6e8b1f7a3d4e52",
        lambda f: f"{_ended(f)}; {'failover' if f['failover'] else 'next attempt'} {_in(f['again_in'])}",
    ),
    "retry_asked": LogEvent(
        "info", "6781061588b1493f81799258dff68178",
        lambda f: f"{f['run']}: attempt {f['attempt']} is due now, {duration(f['early'])} early,"
        f" requested by {f['asked_by']}",
    ),
    "run_stopping": LogEvent(
        "info", "4c8f1e0a7d3b4b62a9e5d2c6f7b80a93", lambda f: f"{f['run']} is stopping: {f['reason']}"
    ),
    "run_lingers": LogEvent(
        "error", "6a3b49a4ff5c4ef79f7025c6cc8d9fe3", 
        lambda f: f"{f['run']} still holds its locks and resources: {f['reason']}",
    ),
    "run_ended": LogEvent("info", "f5e0d3b48a2c4b64a7c1e9d07b3f6c18", _ended),
    "run_late": LogEvent(
        "warning", "244061d9a10e4518a99a7c4c6a5f312c", lambda f: f"{f['run']} is late: {f['reason']}"
    ),
    "late_over": LogEvent(
        "info", "3784316f4b234dc4bebdb23167749c7f",
        lambda f: f"late run {f['run']} ended: {ended(f['state'], '', f['reason'])}",
    ),
    "overdue": LogEvent(
        "error", "9218649c4b7a4f3c83724e5728da496e",
        lambda f: f"{f['job']} has not succeeded for {duration(f['within'] / SECOND)}: {f['reason']}"
        + (f"; {f['teller']} sends the notice" if "teller" in f else ""),
    ),
    "overdue_over": LogEvent(
        "info", "6373e1673c9b4977ac734d0c73d91944", lambda f: f"{f['job']} is no longer overdue: {f['reason']}"
    ),
    "still_expected": LogEvent(
        "warning", "e46b751f82fb4fa4a7f706f352e9d687",
        lambda f: f"{f['job']}: removed, but still expected to succeed every {duration(f['within'] / SECOND)};"
        f" to stop expecting it: jobqueuectl forget {f['job']}",
    ),
    "run_skipped": LogEvent(
        "warning", "4e9b8f1d6c3a4e75b2f0d8a5c7e91b36", _skipped
    ),
    "run_returned": LogEvent(
        "warning", "a3d6c1f97e5b4082bd4f6e1a9c8075d2",
        lambda f: f"{f['run']} could not be started: {f['reason']}; next try in {duration(f['again_in'])}",
    ),
    "clock_stepped": LogEvent(
        "warning", "c7a9e2d15f8b4c36917d0b4e6f3a8c51", 
        lambda f: f"the system clock was changed by {f['seconds']:+.3f} s",
    ),
    "clock_was_ahead": LogEvent(
        "warning",
        "6b5a5da011de470dbc3202b276906886",
        lambda f: f"{f['job']}: its last due time is {duration(f['seconds'])} in the future,"
        " because the clock was wrong at that time;"
        " its schedule continues from now",
    ),
    "job_paused": LogEvent(
        "info", "e2c9a4f17d3b4a68905fb1d7c6e38a24",
        lambda f: f"{f['job']}: paused by {f['asked_by']}{_until(f)}; to resume: jobqueuectl resume {f['job']}",
    ),
    "skips_next": LogEvent(
        "info", "3a7de9f04c6b4f1d8be25a90c7d1f683",
        lambda f: f"{f['job']}: the run due {local_time(f['due'])} will be skipped, as requested by {f['asked_by']};"
        f" to undo: jobqueuectl skip-next --undo {f['job']}",
    ),
    "skips_not": LogEvent(
        "info", "8d1f6b3e5a0c4927b4e8c2f7d9a61b35",
        lambda f: f"{f['job']}: the run due {local_time(f['due'])} is no longer skipped: undone by {f['asked_by']}",
    ),
    "held": LogEvent(
        "warning", "9e0b4a6d1c7f4825b3d6e8f2a5c01974",
        lambda f: f"host put on hold by {f['asked_by']}{_until(f)}: nothing new starts; to end it: jobqueuectl release",
    ),
    "released": LogEvent(
        "info", "6f2d8c0b9a3e47d1a5b7c4e8d9f01326", lambda f: f"hold released by {f['asked_by']}: runs start again"
    ),
    "fleet_down": LogEvent(
        "error", "3999309ca428493097aeef1bde09b606",
        lambda f: f"{_fleet(f)} is unavailable: {f['reason']}; this host starts none of its jobs",
    ),
    "fleet_up": LogEvent(
        "info", "1edadea5fc11455caf034ed9aa50e0a9", lambda f: f"{_fleet(f)} is available: this host starts its jobs"
    ),
    "fleet_accepted": LogEvent(
        "warning", "0b6f3e1a94d84c7fa25c8de7b1f06d39",
        lambda f: f"{f['asked_by']} accepted the restored state of {_fleet(f)}: runs that etcd has lost may repeat",
    ),
    "lock_lost": LogEvent(
        "error", "7e9d2c40b1f84a65935ed0c7a86b1f23",
        lambda f: f"{f['run']} continues without the lock {f['lock']}, which {f['holder']} now holds:"
        " this host was unreachable for"
        " longer than lock_grace",
    ),
    "job_outdated": LogEvent(
        "warning", "5d0c4b8e7a614f0c9b1e52a6f3d7c810",
        lambda f: f"job {f['job']}: {_fleet(f)} uses a newer definition than this host's files; to run"
        " the job here, update these files, or change the job in them: the last change counts",
    ),
    "job_agreed": LogEvent(
        "info", "c1a7e2d95b3f4860a8d4f6b0e9735c24",
        lambda f: f"job {f['job']}: {_fleet(f)} uses the definition in this host's files",
    ),
    "lock_granted": LogEvent(
        "info", "a6c1e8f3d9b74250b3e7c5d1f8a20694",
        lambda f: f"with-lock: {', '.join(f['locks'])} granted to {f['asked_by']}'s command {f['guest']}"
        " until it ends",
    ),
    "lock_released": LogEvent(
        "info", "1c9d5e7b3a8f4062a4d6b8e0f2c71953",
        lambda f: f"with-lock: {', '.join(f['locks'])} released by {f['asked_by']}'s command {f['guest']}",
    ),
    "lock_evicted": LogEvent(
        "warning", "fe382162c7134d7aba14c38754dcc52e",
        lambda f: f"with-lock: {', '.join(f['locks'])} taken from {f['guest']} by {f['asked_by']}",
    ),
    "out_of_step": LogEvent(
        "warning", "ea195765400946ada73c8995ae6d7972",
        lambda f: f"{f['job']} is out of step with its dependencies: {f['end']} came due before the job's"
        " last run; the job waits"
        f" for {f['awaited']}",
    ),
    "emitted": LogEvent("info", "b5e8d1a7c2f34069a8d4e6b3f7c91052", _emitted),
    "held_up": LogEvent(
        "warning", "c4d7a2e9f8b64135907ed3c6b1a8f520",
        lambda f: f"{f['run']} is delayed: it waits for {', '.join(f['holders'])}, which may take longer than `drain`;"
        " other runs may start before it",
    ),
    "fuse": LogEvent(
        "error", "e7a1c9d4b3f54e62870bd5f8a6c3e291",
        lambda f: f"{f['job']}: due more than 100 times in a minute; occurrences are skipped until this stops;"
        f" see: jobqueuectl next {f['job']}",
    ),
    "resized": LogEvent(
        "info", "bbfab9e295ee4300a59e4987568cc12a",
        lambda f: f"{f['job']}: {counted(f['runs'], 'run')} at a time (before: {f['before']}),"
        f" requested by {f['asked_by']}",
    ),
    "job_resumed": LogEvent(
        "info", "7a1d5e93b0c64f28a6f4c8e2d9b3170f", lambda f: f"{f['job']}: resumed by {f['asked_by']}"
    ),
    "job_invalid": LogEvent(
        "error", "b86f2d4c0e1a4759a3d7e5c9f8b21640",
        lambda f: f"{f['job']}: invalid, will not run: {f['reason']} ({f['file']}:{f['line']})",
    ),
    "job_valid": LogEvent("info", "1f4e7c2ab9d8463e8c50d6a7f3b9e1c8", lambda f: f"{f['job']}: valid again"),
    "notice_sent": LogEvent(
        "info", "0f7c2c1e5a8b4d6f9e3a7b1c4d8e2f60", lambda f: f"notice sent to {f['target']}: {f['summary']}"
    ),
    "notice_failed": LogEvent(
        "error", "7be1d0c95f3a4a6cb82d4e7f1a9c0d35",
        lambda f: f"{f['target']}: {_notices(f, 'waiting')} can't be sent: {f['reason']};"
        " see: jobqueuectl notify",
    ),
    "notice_given_up": LogEvent(
        "error", "c94f2a7d8e1b4b05a6d3f8e2b7c1059e",
        lambda f: f"{f['target']}: {_notices(f, 'count')} given up after {f['after']}: {f['reason']}",
    ),
    "degraded": LogEvent("critical", "5b2e7f94c1d8436ab0f3d6e9a7c4185f", lambda f: f["text"]),
    "unsaved": LogEvent("warning", "2f9b60f5bec545069ed78914836694d6", lambda f: f["text"]),
    "trouble": LogEvent("error", "e4f1a8c36b9d4527830fd7c2b5e6a91d", lambda f: f["text"]),
    "recovered": LogEvent("info", "9f3c6d0e8a1b47d5a2e7b4c9f0d3586e", lambda f: f["text"]),
    "bug": LogEvent("critical", "2d8e5b7a4f1c4e90b6a3c8d5e7f2091b", lambda f: f["text"]),
}  # fmt: skip


_STATES = {
    "run_started": "running",
    "run_stopping": "stopping",
    "run_skipped": "skipped",
    "run_retrying": "retrying",
}
"""Event → state of its run, for events that have no record, or whose state is not the record's."""


def level_of(event: str, fields: Mapping[str, Any]) -> str:
    """Return the level of a line."""
    failed = event == "run_ended" and fields["record"]["state"] != "succeeded"
    return "warning" if failed else VOCABULARY[event].level


def run_of(fields: Mapping[str, Any]) -> str | None:
    """Return the run that a line is about, or None if it is about none."""
    run: str | None = fields.get("run") or fields.get("record", {}).get("run")
    return run


def job_of(fields: Mapping[str, Any]) -> str | None:
    """Return the job that a line is about, or None if it is about none."""
    run, job = run_of(fields), fields.get("job")
    return run.rpartition("@")[0] if run else job


def state_of(event: str, fields: Mapping[str, Any]) -> str | None:
    """Return the state that the run of a line had at that time, or None if the line is about no run."""
    return _STATES.get(event) or fields.get("record", {}).get("state")
