"""jobqueuectl status: whether everything is healthy, a list of problems, and the daemon's work."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator

import click

from jobqueued.base.problem import Problem
from jobqueued.base.text import counted
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base import hold_messages
from jobqueued.ctl.base.client import DaemonUnreachable, ask, own_only
from jobqueued.ctl.base.problems import print_problems, print_stale
from jobqueued.ctl.base.records import print_runs
from jobqueued.ctl.base.terminal import (
    command,
    json_option,
    localised,
    moment,
    print_facts,
    print_json,
    print_line,
    styled,
)
from jobqueued.ctl.past import failed_submissions
from jobqueued.model.users import share_of
from jobqueued.settings.paths import Paths


@click.command()
@json_option
@click.pass_obj
def status(paths: Paths, as_json: bool) -> None:
    """Show whether everything is healthy, and list what is not.

    `status` reports these problems:

    \b
    - a job is invalid, or its last run failed
    - a run of a submission failed in the last 24 hours
    - a job missed its only start
    - a job is overdue: it has not succeeded for longer than its `expect`
    - a job is outdated: its fleet uses a newer definition of the job, so that
      only other hosts run it
    - a run is late: it has not started or ended by the time that is usual for
      its job (`late` in jobqueue.d(5))
    - a job file is refused: its last good jobs stay in force
    - jobqueued.yaml is refused: the daemon could not restart
    - the host is on hold or draining
    - the daemon can't save its state, its launcher does not answer, or it has
      another problem, such as a full log disk

    It also lists warnings about files, paused jobs, jobs that wait because the clock was set back, and limits that
    this host does not enforce.  None of these changes the exit status.

    Exits 0 if everything is healthy, 1 if not; 2 if the daemon is down or does not answer.  In the last case, `status`
    prints the live runs before it exits.

    \b
    Examples:
      jobqueuectl status || mail -s 'jobs' ops
      jobqueuectl status --json | jq .failing
    """
    try:
        answer = ask(paths.control, "Status")
    except DaemonUnreachable as down:
        _print_down(paths, down, as_json)
        sys.exit(down.exit_code)
    problems = [Problem(**problem) for problem in answer["problems"]]
    failed = failed_submissions.find(paths, {one["job"] for one in answer["attention"]})
    answer["unwell"] += failed_submissions.problems(failed)
    if as_json:
        print_json({**answer, "failed_submissions": failed})
    else:
        sees_all = not answer["attention"] or not own_only(paths.control)
        _print(answer, problems, list(map(failed_submissions.line, failed)), sees_all=sees_all)
    sys.exit(bool(answer["unwell"]))


def _print_down(paths: Paths, down: DaemonUnreachable, as_json: bool) -> None:
    from jobqueued.ctl.past import offline

    hidden = offline.is_hidden(paths.runs)
    live, left = (None, None) if hidden else (offline.live(paths), offline.left_behind(paths))
    offline.explain(paths, down)
    if as_json:
        running = None if live is None else len(live)
        print_json({"state": down.state, "reason": down.message, "running": running, "left": left, "runs": live})
        return
    runs = None if live is None else f"{len(live)} running" + ", without the daemon" * down.is_down
    behind = "unknown" if left is None and not hidden else ", ".join(left or ())
    print_facts([("state", styled(down.state)), ("runs", runs), ("left behind", behind or None)])
    if live:
        print_line("")
        print_runs("RUN", "run", live)


def _print(answer: Message, problems: list[Problem], submissions: list[str], *, sees_all: bool) -> None:
    limit, unwell = answer["max_running"], "; ".join(answer["unwell"])
    running = f"{answer['running']} running" + (f" of at most {limit}" if limit is not None else "")
    soonest = answer["next_job"] and f"{answer['next_job']}, {moment(answer['next'])}"
    print_facts(
        [
            ("all is well", styled(f"no: {unwell}", "failed") if unwell else styled("yes", "ok")),
            ("daemon", f"jobqueued {answer['version']} on {answer['host']}, pid {answer['pid']}"),
            ("since", moment(answer["started"])),
            ("state", styled(answer["state"])),
            ("reason", answer["reason"]),
            ("jobs", str(answer["jobs"])),
            ("runs", f"{running}, {answer['waiting']} waiting, {answer['due']} due, {answer['retrying']} retrying"),
            ("exclusive", answer["exclusive"] and f"{answer['exclusive']}: nothing else runs"),
            ("fleet", _fleet(answer)),
            *_some("trouble", answer["troubles"]),
            *_some("limits", answer["unenforced"]),
            *_some("unwatched", answer.get("unwatched", [])),
            ("draining" if answer["draining"] else "on hold", hold_messages.hold(answer)),
            ("left behind", ", ".join(answer["left"]) or None),
            ("next", soonest or "nothing"),
            ("files", _by_severity(problems)),
            *_attention(answer, sees_all=sees_all),
            *_some("failed", submissions, "list --failed"),
        ]
    )
    print_stale(answer["stale"])
    print_problems(problems)


def _by_severity(problems: list[Problem]) -> str | None:
    """Count the problems in files, ``1 error, 2 warnings``; None if there are none."""
    counts = Counter(problem.severity for problem in problems)
    return ", ".join(counted(count, severity) for severity, count in sorted(counts.items())) or None


_SHOWN = 5
"""Maximum number of jobs or runs of a kind in the output, so that the output fits a screen."""
_SEE_ALL = dict.fromkeys(("failing", "late", "overdue", "outdated"), "jobqueuectl list --failed")


def _attention(answer: Message, *, sees_all: bool) -> Iterator[tuple[str, str]]:
    """Yield a line for each job or run that needs attention, by kind.

    `sees_all`: whether the caller may see and control the host's jobs.
    """
    for kind, words in _WORDS.items():
        those = [one for one in answer["attention"] if one["kind"] == kind]
        for one in those[:_SHOWN]:
            yield _NAMES.get(kind, kind), words(one) if sees_all or share_of(one["job"]) else _public(one)
        if (more := answer.get(kind, 0) - _SHOWN) > 0:
            yield _NAMES.get(kind, kind), f"… and {more:,} more; see: {_SEE_ALL.get(kind, 'jobqueuectl list')}"


def _fleet(answer: Message) -> str | None:
    """Return the name of the host's fleet and the number of its hosts as text, or None if the host is in no fleet."""
    if not answer.get("fleet"):
        return None
    hosts = answer["fleet_hosts"]
    known = "unavailable" if hosts is None else f"{counted(hosts, 'host')}; see: {command('fleet hosts')}"
    return f"{answer['fleet']}, {known}"


def _some(name: str, texts: list[str], where: str = "doctor") -> Iterator[tuple[str, str]]:
    """Yield a line for each text, at most `_SHOWN`, and a line with the number of omitted texts."""
    yield from ((name, text) for text in texts[:_SHOWN])
    if (more := len(texts) - _SHOWN) > 0:
        yield name, f"… and {more:,} more; see: {command(where)}"


def _public(one: Message) -> str:
    """Describe a problem of the host's job for a user, who may not see more or act."""
    return f"{one['run'] or one['job']}" + (f", since {moment(one['since'])}" if one["since"] else "")


def _because(one: Message) -> str:
    """Return the reason for a problem as the end of its line, or ""."""
    return f": {localised(one['reason'])}" if one["reason"] else ""


def _failure(one: Message) -> str:
    """Describe a job's last failure at the end of its line, with the command that shows more."""
    return f"{_because(one)}; see: {command('show ' + (one['run'] or one['job']))}"


_WORDS: dict[str, Callable[[Message], str]] = {
    "invalid": lambda one: f"{one['job']}: {one['reason'] or 'it cannot run on this host'}",
    "failing": lambda one: f"{one['job']}, since {moment(one['since'])}{_failure(one)}",
    "missed": lambda one: f"{one['job']}, due {moment(one['since'])}; to run it: {command('run ' + one['job'])}",
    "late": lambda one: f"{one['run']}: {one['reason'] or 'since ' + moment(one['since'])}",
    "overdue": lambda one: f"{one['job']} has not succeeded since {moment(one['since'])}{_because(one)}",
    "outdated": lambda one: f"{one['job']}{_because(one)}",
    "paused": lambda one: f"{one['job']}{hold_messages.until(one['until'])}{hold_messages.resumed_by(one['job'])}",
    "set_back": lambda one: hold_messages.set_back(one["job"], one["until"]),
}
_NAMES = {"set_back": "clock set back"}
