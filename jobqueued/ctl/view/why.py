"""jobqueuectl why: explain why a run has not started."""

from __future__ import annotations

import click

from jobqueued.base.instants import to_text
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base import completion
from jobqueued.ctl.base.arguments import kept_time, run_id
from jobqueued.ctl.base.client import DaemonUnreachable, ask, meanwhile
from jobqueued.ctl.base.terminal import (
    json_option,
    local,
    localised,
    moment,
    print_facts,
    print_json,
    print_line,
    styled,
)
from jobqueued.ctl.base.whole_names import by_whole_name
from jobqueued.model.run_states import PENDING, RunState
from jobqueued.settings.paths import Paths

_TO_START = {RunState.DUE, RunState.WAITING}
_UNKNOWN = "Only the daemon can explain waiting runs; live runs continue; see: jobqueuectl status, jobqueuectl show {}"


@click.command()
@click.argument("name", metavar="RUN|JOB", shell_complete=completion.jobs_or_runs)
@click.option("-a", "--all", "all_ahead", is_flag=True, help="List every run that goes first.")
@click.option("--expect", is_flag=True, help="Simulate when the run starts, including runs that become due before it.")
@click.option(
    "--at",
    callback=kept_time,
    metavar="T",
    help="Explain why the job or run did not run at T: 2h, 02:00, 2am, yesterday, 'monday 9am', '2026-11-24 02:00'.",
)
@json_option
@click.pass_obj
def why(paths: Paths, name: str, all_ahead: bool, expect: bool, at: int | None, as_json: bool) -> None:
    """Explain why RUN, or a run of JOB, has not started.

    For a waiting run, the command shows:

    \b
    - the locks and limits that the run waits for, and their holders
    - the runs ahead of this run that need the same locks or limits
    - its current priority, and how it grows
    - the dependency that the run waits for
    - its expected start, if every run takes as long as its job usually does and
      no run arrives that goes first

    For a late run, the command shows the delay; for a stopping run, the cause.  For a JOB, it explains the first 10
    runs and counts the other runs.  If no run of JOB waits, it shows the cause.

    With --expect, the command simulates all possible waits 39 times, like `jobqueuectl simulate`.  The first time is
    the median; 95 % of the simulated starts are between the two other times.

    With --at, the command explains a past instant: whether the job ran, waited, was paused, disabled, in no job file,
    skipped or not due, or whether the daemon was down.  Causes that are no longer saved are shown as unknown.  While
    the daemon is down, `why --at` reads the records, and for root also the other files.

    \b
    Examples:
      jobqueuectl why nightly-backup@142
      jobqueuectl why nightly-backup --expect
      jobqueuectl why nightly-backup --at 02:00
      jobqueuectl why nightly-backup --json | jq '.runs[].missing'
    """
    if at is not None and expect:
        raise click.UsageError("--expect is about the future, --at about the past: use only one")
    if at is not None:
        past = by_whole_name(paths.control, name, lambda name: _past(paths, *_run_or_job(name), at))
        _print_past(past, as_json=as_json)
        return
    name, answer = by_whole_name(paths.control, name, lambda name: (name, _present(paths, name)))
    runs, more = answer["runs"], answer["more"]
    if expect:
        _foresee(paths, runs)
    if as_json:
        print_json({"runs": runs, "more": more, "idle": answer["idle"]})
        return
    if answer["idle"]:
        print_line(f"no run of {name} waits to start; {localised(answer['idle'])}")
    for number, each in enumerate(runs):
        if number:
            print_line("")
        _print(each, all_ahead)
    if more:
        print_line("")
        print_line(f"… and {more:,} more")


def _run_or_job(name: str) -> tuple[str | None, str | None]:
    return (name, None) if "@" in name else (None, name)


def _present(paths: Paths, name: str) -> Message:
    run, job = _run_or_job(name)
    with meanwhile(_UNKNOWN.format(name)):
        return ask(paths.control, "Why", run=run, job=job)


def _foresee(paths: Paths, runs: list[Message]) -> None:
    """Add to each waiting run its simulated start, which `why` shows instead of the queue's estimate."""
    waiting = {run_id(it["run"]): it for it in runs if it["state"] in _TO_START}
    if not waiting:
        return
    from jobqueued.ctl.simulate.expected_starts import expected_of_waiting

    for run, foreseen in expected_of_waiting(paths, next(iter(waiting)).job, list(waiting)).items():
        waiting[run]["foreseen"] = foreseen


def _past(paths: Paths, run: str | None, job: str | None, at: int) -> Message:
    try:
        past: Message = ask(paths.control, "Why", run=run, job=job, at=to_text(at))["past"]
    except DaemonUnreachable as down:
        from jobqueued.ctl.past import past_files

        name = job or run_id(run or "").job
        return {"job": name, "at": to_text(at), **past_files.why(paths, down, name, at, run)._asdict()}
    return past


def _print_past(past: Message, *, as_json: bool) -> None:
    if as_json:
        print_json({"past": past})
        return
    print_facts(
        [
            ("at", moment(past["at"])),
            ("job", past["job"]),
            ("run", past["run"]),
            ("then", styled(past["kind"].replace("_", " "), past["kind"])),
            *(("" if number else "because", localised(reason)) for number, reason in enumerate(past["reasons"])),
            *(("unknown", localised(what)) for what in past["unknown"]),
        ]
    )


def _print(why: Message, all_ahead: bool) -> None:
    facts = [("run", why["run"]), ("state", styled(why["state"]))]
    facts += [("because" if not number else "", localised(reason)) for number, reason in enumerate(why["reasons"])]
    if not why["reasons"]:
        facts.append(("because", "nothing is in its way" if why["state"] in PENDING else "it has started"))
    if why.get("late"):
        facts.append(("late", styled(why["late"], "retrying")))
    if why.get("growth"):
        facts.append(("priority", why["growth"]))
    if "foreseen" in why:
        facts.append(("expected start", _foreseen(why["foreseen"])))
    elif why.get("expected"):
        facts.append(("expected start", moment(why["expected"])))
    if all_ahead and why.get("ahead"):
        facts.append(("goes first", ", ".join(why["ahead"])))
    print_facts(facts)


def _foreseen(it: Message | None) -> str:
    if it is None:
        return "not within a day"
    earliest, latest = local(it["earliest"]), local(it["latest"])
    return moment(it["expected"]) + ("" if earliest == latest else f", between {earliest} and {latest}")
