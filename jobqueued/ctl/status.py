"""jobqueuectl status: the daemon's health, and what it is doing."""

from __future__ import annotations

import sys

import click

from jobqueued.control.varlink import Message
from jobqueued.ctl import offline
from jobqueued.ctl.client import Unreachable, ask
from jobqueued.ctl.problems import print_problems, print_stale
from jobqueued.ctl.records import print_runs
from jobqueued.ctl.terminal import json_option, moment, print_facts, print_json, print_line, styled
from jobqueued.model import Problem
from jobqueued.paths import Paths


@click.command()
@json_option
@click.pass_obj
def status(paths: Paths, as_json: bool) -> None:
    """Show whether the daemon is well and what it is doing.

    Lists the problems found in job files; a file with an error keeps its last good jobs.  Exits 1 if there is an error,
    or if the daemon is degraded; 2 if it is down, after showing the runs that go on without it.

    \b
    Example:
      jobqueuectl status --json | jq .running
    """
    try:
        answer = ask(paths.control, "Status")
    except Unreachable as down:
        _print_down(paths, down, as_json)
        sys.exit(down.exit_code)
    problems = [Problem(**problem) for problem in answer["problems"]]
    if as_json:
        print_json(answer)
    else:
        _print(answer, problems)
    sys.exit(answer["reason"] is not None or any(problem.severity == "error" for problem in problems))


def _print_down(paths: Paths, down: Unreachable, as_json: bool) -> None:
    hidden = offline.is_hidden(paths.runs)
    live, left = (None, None) if hidden else (offline.live(paths), offline.left_behind(paths))
    offline.explain(paths, down)
    if as_json:
        running = None if live is None else len(live)
        print_json({"state": "down", "reason": down.message, "running": running, "left": left, "runs": live})
        return
    runs = None if live is None else f"{len(live)} running, without the daemon"
    print_facts([("state", styled("down")), ("runs", runs), ("left behind", ", ".join(left or ()) or None)])
    if live:
        print_line("")
        print_runs("RUN", "run", live)


def _print(answer: Message, problems: list[Problem]) -> None:
    limit = answer["max_running"]
    running = f"{answer['running']} running" + (f" of at most {limit}" if limit is not None else "")
    soonest = answer["next_job"] and f"{answer['next_job']}, {moment(answer['next'])}"
    print_facts(
        [
            ("daemon", f"jobqueued {answer['version']} on {answer['host']}, pid {answer['pid']}"),
            ("since", moment(answer["started"])),
            ("state", styled(answer["state"])),
            ("reason", answer["reason"]),
            ("jobs", str(answer["jobs"])),
            ("runs", f"{running}, {answer['waiting']} waiting, {answer['due']} due, {answer['retrying']} retrying"),
            ("troubles", f"{len(answer['troubles'])}; see: jobqueuectl doctor" if answer["troubles"] else None),
            ("on hold", _hold(answer)),
            ("left behind", ", ".join(answer["left"]) or None),
            ("next", soonest or "nothing"),
            ("problems", str(len(problems))),
        ]
    )
    print_stale(answer["stale"])
    print_problems(problems)


def _hold(answer: Message) -> str | None:
    if answer["held_by"] is None:
        return None
    until = f" until {moment(answer['held_until'])}" if answer["held_until"] else ""
    return f"by {answer['held_by']}{until}: nothing new starts; to end it: jobqueuectl release"
