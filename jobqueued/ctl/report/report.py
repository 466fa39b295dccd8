"""jobqueuectl report: the runs, failures and slowdowns of a period, as text, HTML or a mail."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import datetime

import click

from jobqueued.base.instants import DAY, to_instant, to_text
from jobqueued.base.text import printable
from jobqueued.child.contract.documents import Record
from jobqueued.control.protocol.varlink import Message
from jobqueued.control.views.problems import problem_texts
from jobqueued.ctl.base import records
from jobqueued.ctl.base.arguments import check_period, past_time
from jobqueued.ctl.base.client import CallRefused, DaemonUnreachable, ask
from jobqueued.ctl.base.terminal import json_option, localised, print_json, room
from jobqueued.ctl.past import offline
from jobqueued.ctl.past.chosen_runs import MOST_LOOKED_AT, Wanted, matching
from jobqueued.ctl.report.run_report import PresentProblems, ReportRow, RunReport, document, kept_since, local
from jobqueued.ctl.report.run_report import report as made_of
from jobqueued.model.run_states import ATTENTION, PENDING, WELL, RunState
from jobqueued.settings.paths import Paths

_SECONDS = 60
"""Timeout (s) of the notifier, as in the daemon."""


@click.command()
@click.option(
    "--since", callback=past_time, metavar="T", help="Include the runs queued since T: 2h, yesterday, 2026-11-24.  [1d]"
)
@click.option("--until", callback=past_time, metavar="T", help="Include the runs queued before T.  [now]")
@click.option("--html", "as_html", is_flag=True, help="Print an HTML page.  With --mail, add the page to the mail.")
@click.option(
    "--mail", metavar="ADDRESS", help="Mail the report to ADDRESS with `mail` in jobqueued.yaml, and print nothing."
)
@json_option
@click.pass_obj
def report(paths: Paths, since: int | None, until: int | None, as_html: bool, mail: str | None, as_json: bool) -> None:
    """Report failures, skips, slowdowns, waits and CPU hours.

    The report lists:

    \b
    - runs that failed, with the reason and the last line of output
    - runs that did not start, and why
    - jobs that became worse than in the previous period of the same length: the
      success rate fell by more than 10 percentage points, or P50 grew by more
      than half and by at least 1 s; jobs with fewer than 3 runs in either
      period are not compared
    - the longest waits, and CPU hours
    - current problems, unless --until is given

    If there is no problem, the first line shows that.  The text is as wide as the terminal, or 80 columns.  At most
    the newest 100,000 runs are read.  While the daemon is down, the command reads the records.

    \b
    Examples:
      jobqueuectl report --since yesterday
      jobqueuectl report --html | w3m -T text/html
      jobqueuectl report --since 7d --html --mail ops@example.org
    """
    now = time.time_ns()
    begin, end = now - DAY if since is None else since, now if until is None else until
    check_period(begin, end)
    made = _made(paths, begin, end, _present_problems(paths) if until is None else PresentProblems())
    if mail is not None:
        _send(paths, made, mail, to_text(now), as_html=as_html)
    elif as_json:
        print_json(document(made))
    else:
        from jobqueued.ctl.report import report_page

        sys.stdout.write(report_page.html(made) if as_html else report_page.text(made, room()))
        sys.stdout.flush()


def _made(paths: Paths, begin: int, end: int, present: PresentProblems) -> RunReport:
    """Build the report of a period, compared with the previous period of the same length."""
    first, instant = max(0, 2 * begin - end), to_text(begin)
    wanted = Wanted(states=tuple(RunState), since=first or None, until=end)  # waiting runs also have numbers
    found = list(_light(matching(paths, [], wanted, bounded=True)))
    kept = list(kept_since(found, instant, lambda record: _is_next(paths, record)))
    if len(found) >= MOST_LOOKED_AT and found[-1]["queued"] >= instant:
        kept.append(("all others", found[-1]["queued"]))
    found = [record for record in found if record["state"] not in PENDING]
    now = [record for record in found if record["queued"] >= instant]
    before = [record for record in found if record["queued"] < instant]
    host = found[0]["host"] if found else os.uname().nodename
    return made_of(host, (instant, to_text(end)), now, before, present, kept)


def _is_next(paths: Paths, record: Record) -> bool:
    """Return whether the record of the job's previous run is saved."""
    # several runs may be queued in the same microsecond
    until = to_instant(datetime.fromisoformat(record["queued"])) + 1000
    try:
        older = records.history(paths, {"job": record["job"]}, until=until)
        return _is_before(older, record)
    except CallRefused:
        return False
    except DaemonUnreachable:
        return _is_before(offline.history(paths, record["job"]), record)


def _is_before(newest_first: Iterable[Record], record: Record) -> bool:
    older = next((it for it in newest_first if it["number"] < record["number"]), None)
    return older is not None and older["number"] == record["number"] - 1


_HEAVY = ("metadata", "telemetry", "command", "triggered_by", "enforced")


def _light(found: Iterator[Record]) -> Iterator[Record]:
    """Yield the records without large fields that the report does not need."""
    for record in found:
        yield {name: it for name, it in record.items() if name not in _HEAVY}  # type: ignore[misc]


def _present_problems(paths: Paths) -> PresentProblems:
    """Return the current problems, first the host's, then the jobs'."""
    try:
        answer = ask(paths.control, "Status")
    except (CallRefused, DaemonUnreachable) as error:
        return PresentProblems([_row(getattr(error, "state", "unknown"), error.message, "jobqueued")])
    of_jobs = list(_of_jobs(answer))
    count = sum(answer[kind] for kind in ATTENTION if kind not in WELL)
    return PresentProblems([*_of_host(answer), *of_jobs], count - len(of_jobs))


def _of_host(answer: Message) -> Iterator[ReportRow]:
    named: Message = dict.fromkeys(ATTENTION, 0) | {"troubles": [], "problems": []}  # these problems have separate rows
    for words in problem_texts({**answer, **named}):
        yield _row("not well", words, answer["host"])
    for trouble in answer["troubles"]:
        yield _row("trouble", localised(trouble), "jobqueued")
    wrong = {it["file"]: it["message"] for it in reversed(answer["problems"]) if it["severity"] == "error"}
    for file in sorted(wrong):
        yield _row("has errors", wrong[file], file, file=file)


def _of_jobs(answer: Message) -> Iterator[ReportRow]:
    for each in answer["attention"]:
        if each["kind"] != "paused":
            yield _row(each["kind"], each["reason"], each["job"], **{it: each[it] for it in ("job", "run", "since")})


def _row(kind: str, reason: str | None, what: str, **facts: str | None) -> ReportRow:
    told = dict.fromkeys(("job", "run", "file", "since")) | facts
    words = filter(None, (told["since"] and local(told["since"]), reason))
    return ReportRow({"kind": kind.replace(" ", "_"), **told, "reason": reason}, (what, kind, "; ".join(words)))


def _send(paths: Paths, made: RunReport, address: str, at: str, *, as_html: bool) -> None:
    """Mail the report through the notifier. Raises DaemonUnreachable with the reason if the mail was not sent."""
    import hashlib

    from jobqueued.ctl.files.job_units import user_of_daemon
    from jobqueued.ctl.report import report_page
    from jobqueued.settings.settings import read_settings

    settings = read_settings(paths.config, user_of_daemon(paths), paths.more_config)[0].mail
    event = {
        "event": "report",
        "host": made.host,
        "at": at,
        "summary": f"report: {made.headline}",
        "text": report_page.text(made),
        "html": report_page.html(made) if as_html else None,
    }
    name = hashlib.sha256(f"{made.host} {at} {address}".encode()).hexdigest()[:32]
    notice = {"version": 1, "id": name, "channel": "email", "target": address, "settings": settings, "event": event}
    verdict = _verdict(json.dumps(notice).encode())
    if verdict != "sent":
        why = verdict.partition(" ")[2] if verdict.startswith("never") else verdict.split(" ", 2)[-1]
        raise DaemonUnreachable(f"the report was not sent to {printable(address)}: {printable(why)}")


def _verdict(notice: bytes) -> str:
    """Return the notifier's line about a notice."""
    import subprocess

    from jobqueued.child.sending import NOTIFIER

    try:
        command = [sys.executable, "-I", NOTIFIER]
        done = subprocess.run(command, check=False, input=notice, capture_output=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        return f"later 0 not sent within {_SECONDS} s"
    return done.stdout.decode(errors="replace").strip() or "later 0 its sender exited without an answer"
