"""jobqueuectl why: the reasons why a run has not started."""

from __future__ import annotations

import click

from jobqueued.control.varlink import Message
from jobqueued.ctl.client import Refused, ask
from jobqueued.ctl.terminal import json_option, moment, print_facts, print_json, print_line, styled
from jobqueued.model import PENDING
from jobqueued.paths import Paths
from jobqueued.text import printable


@click.command()
@click.argument("name", metavar="RUN|JOB")
@click.option("-a", "--all", "all_ahead", is_flag=True, help="List every run that goes first.")
@json_option
@click.pass_obj
def why(paths: Paths, name: str, all_ahead: bool, as_json: bool) -> None:
    """Explain why RUN, or each waiting run of JOB, has not started.

    Shows what the run lacks, who holds it and since when, the runs that go first, its priority by now and how it grows,
    the dependency it waits for, and its expected start, provided that every run takes as long as its job usually does
    and that none arrives that goes first.

    \b
    Examples:
      jobqueuectl why nightly-backup@142
      jobqueuectl why nightly-backup --json | jq '.runs[].missing'
    """
    runs = [name] if "@" in name else _waiting(paths, name)
    reasons = [ask(paths.control, "Why", run=run)["why"] for run in runs]
    if as_json:
        print_json({"runs": reasons})
        return
    for number, each in enumerate(reasons):
        if number:
            print_line("")
        _print(each, all_ahead)


def _waiting(paths: Paths, job: str) -> list[str]:
    """The runs of a job that have not started."""
    answer = ask(paths.control, "Describe", job=job, runs=1000)
    found = [str(run["run"]) for run in answer["runs"] if run["state"] in PENDING]
    if not found:
        status = answer["job"]["invalid"] or f"its status is {answer['job']['status']}"
        raise Refused(f"no run of {printable(job)} waits to start; {printable(status)}")
    return sorted(found, key=lambda run: int(run.rpartition("@")[2]))


def _print(why: Message, all_ahead: bool) -> None:
    facts = [("run", why["run"]), ("state", styled(why["state"]))]
    facts += [("because" if not number else "", reason) for number, reason in enumerate(why["reasons"])]
    if not why["reasons"]:
        facts.append(("because", "it has started"))
    if why.get("expected"):
        facts.append(("expected start", moment(why["expected"])))
    if all_ahead and why.get("ahead"):
        facts.append(("goes first", ", ".join(why["ahead"])))
    print_facts(facts)
