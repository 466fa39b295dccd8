"""jobqueuectl notify: list open incidents and waiting notices, or test the channels."""

from __future__ import annotations

import time
from typing import Any

import click

from jobqueued.base.text import counted, printable
from jobqueued.ctl.base import arguments
from jobqueued.ctl.base.client import ask, meanwhile
from jobqueued.ctl.base.terminal import distance, json_option, print_json, print_line, print_table, reaching
from jobqueued.settings.paths import Paths

_KEPT = "The daemon keeps waiting notices and sends them when it runs again."
_LONGEST_WAIT, _LOOK_EVERY = 60.0, 0.2


def _job(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    return None if text is None else arguments.name(context, parameter, text)


@click.command()
@json_option
@click.option(
    "--list", "wants_list", is_flag=True, help="List open incidents and pending notices.  This is the default."
)
@click.option(
    "--test",
    is_flag=True,
    help="Send a test, together with all waiting notices, to all recipients.  Wait for the results.",
)
@click.option("--job", metavar="JOB", callback=_job, help="With --test: send only to the recipients of this job.")
@click.pass_obj
def notify(paths: Paths, as_json: bool, wants_list: bool, test: bool, job: str | None) -> None:
    """List open incidents and pending notices, or send a test.

    An incident is a lasting problem: a job that fails or can't run, a refused file, or a state that can't be saved.  A
    notice is sent when an incident opens, when its cause changes, and at every `remind` interval until it ends.
    Recipients who were notified of an incident are also notified of its end.

    With --test, exits 1 if a recipient did not get the test within a minute.

    \b
    Examples:
      jobqueuectl notify
      jobqueuectl notify --test --job backup
    """
    if test and wants_list:
        raise click.UsageError("--list and --test can't be combined")
    if job is not None and not test:
        raise click.UsageError("--job needs --test")
    with meanwhile(_KEPT):
        if test:
            _test(paths, job, as_json=as_json)
            return
        answer = ask(paths.control, "Notices")
    if as_json:
        print_json(answer)
        return
    _print_incidents(answer["incidents"])
    _print_notices(answer["notices"])
    if not (answer["incidents"] or answer["notices"]):
        print_line("no incident is open, and no notice waits")
    if answer["more"]:
        print_line(f"and {counted(answer['more'], 'other')}")


def _print_incidents(incidents: list[dict[str, Any]]) -> None:
    if incidents:
        print_table(
            ("INCIDENT", "SINCE", "TIMES", "HOW", "NOTIFIED"),
            (
                (
                    it["subject"],
                    distance(it["since"]),
                    str(it["times"]),
                    it["kind"] or "-",
                    ", ".join(it["told"]) or "nobody",
                )
                for it in incidents
            ),
        )


def _print_notices(notices: list[dict[str, Any]]) -> None:
    if notices:
        print_table(
            ("WAITS FOR", "SINCE", "TRIES", "NOTICE", "WHY"),
            (
                (
                    it["target"],
                    distance(it["created"]),
                    str(it["tries"]),
                    it["summary"] + (f" (and {it['more']} more)" if it["more"] else ""),
                    it["error"] or "-",
                )
                for it in notices
            ),
            keep=("WAITS FOR", "WHY"),
        )


def _test(paths: Paths, job: str | None, *, as_json: bool) -> None:
    before = {notice["id"]: notice["tries"] for notice in ask(paths.control, "Notices")["notices"]}
    tests = ask(paths.control, "Notify", job=job)["notices"]
    waiting = {test["id"]: test for test in tests}
    results: list[dict[str, Any]] = []
    until = time.monotonic() + _LONGEST_WAIT
    while waiting and time.monotonic() < until:
        left = {notice["id"]: notice for notice in ask(paths.control, "Notices")["notices"]}
        for number, test in list(waiting.items()):
            first = left.get(left[number].get("first", number)) if number in left else None
            error = first["error"] if first is not None and first["tries"] > before.get(first["id"], 0) else None
            if number not in left or error:
                results.append({"target": waiting.pop(number)["target"], "sent": not error, "error": error})
                if not as_json:
                    print_line(f"sent to {test['target']}" if not error else f"{test['target']}: {printable(error)}")
        time.sleep(_LOOK_EVERY)
    for test in waiting.values():
        why = reaching("still held back by quiet hours, a digest or a rate limit; see: jobqueuectl notify")
        results.append({"target": test["target"], "sent": False, "error": why})
        if not as_json:
            print_line(f"{test['target']}: {why}")
    if as_json:
        print_json({"tests": results})
    if not all(result["sent"] for result in results):
        raise SystemExit(1)
