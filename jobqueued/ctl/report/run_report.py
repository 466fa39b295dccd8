"""The report of a period, from records: failures, skips, waits, slowdowns and CPU hours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from jobqueued.base.text import counted, duration, printable
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.reasons import ON_PURPOSE, of_record
from jobqueued.child.contract.text import last_line
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.ctl.past.run_stats import Stats, hours, stats_of, took_of
from jobqueued.model.run_states import FAILURES, LIVE, RunState

_FAILED_OF_A_JOB, _ROWS, _TOP = 3, 50, 5
"""Maximum number of failed runs shown for a job, of rows in a part, and of rows for longest waits and for CPU time."""
_LONG = 60.0
"""Shortest wait to list (s)."""
_LINE = 160
"""Maximum number of characters shown of an output's last line."""
_ENOUGH, _SLOWER, _RARER = 3, 1.5, 0.1
"""Minimum number of runs for a comparison, and the P50 factor and the loss of success rate that make a job worse."""


class ReportRow(NamedTuple):
    """A row of a part: its facts for JSON, its cells (the last may be long), and a note below the row."""

    facts: dict[str, Any]
    cells: tuple[str, ...]
    note: str = ""


class ReportPart(NamedTuple):
    """A part of a report. `number` counts all rows, including omitted rows. `more` is text about the omitted rows, or
    about the total.

    `is_wrong` means that the part needs a user's attention. `total` is the sum (s) of all jobs, if the part is about
    time.
    """

    kind: str
    title: str
    heads: tuple[str, ...]
    rows: list[ReportRow]
    number: int
    more: str = ""
    is_wrong: bool = True
    total: float | None = None


class PresentProblems(NamedTuple):
    """The current problems. `more` is the number of problems without a row."""

    rows: Sequence[ReportRow] = ()
    more: int = 0


class RunReport(NamedTuple):
    """The report of a period (RFC 3339); `headline` is a one-line summary."""

    host: str
    since: str
    until: str
    headline: str
    parts: list[ReportPart]

    @property
    def is_well(self) -> bool:
        """True if the report has no problem."""
        return not any(part.is_wrong for part in self.parts)


def report(
    host: str,
    period: tuple[str, str],
    now: Sequence[Record],
    before: Iterable[Record],
    present: PresentProblems,
    kept: Sequence[tuple[str, str]] = (),
) -> RunReport:
    """Build a period's report from its records (`now`), the previous period's records (`before`), and current problems.

    `kept` contains the jobs whose records start later than the period, each with its earliest saved instant.
    """
    ended = [record for record in now if record["state"] not in LIVE]
    skips = [record for record in ended if record["state"] == RunState.SKIPPED]
    failed = [record for record in ended if record["state"] in FAILURES]
    stats = {each.job: each for each in stats_of(ended)}
    unwanted = [it for it in skips if (reason := of_record(it)) is None or reason.code not in ON_PURPOSE]
    parts = [
        _part("now", "Now", ("WHAT", "STATE", "SINCE, REASON"), present.rows, more=present.more),
        _not_kept(kept),
        _failures(failed),
        _skipped("not_run", "Did not run", unwanted, is_wrong=True),
        _worse(stats, {each.job: each for each in stats_of(before)}),
        _skipped("on_purpose", "Skipped on purpose", [it for it in skips if it not in unwanted], is_wrong=False),
        _waits(ended),
        _costs(stats.values()),
    ]
    shown = [part for part in parts if part.rows]
    ran = sum(each.runs for each in stats.values())
    jobs = counted(sum(bool(each.runs) for each in stats.values()), "job")
    what = f"{counted(ran, 'run')} of {jobs}" if ran else "nothing ran"
    what += " succeeded" if ran and not failed else ""
    wrong = list(_wrong(len(failed), sum(it.get("count", 1) for it in unwanted), parts))
    headline = f"{', '.join(wrong)}; {what}" if wrong else f"all is well: {what}"
    return RunReport(host, *period, headline, shown)


def _wrong(failed: int, skipped: int, parts: Sequence[ReportPart]) -> Iterator[str]:
    if failed:
        yield f"{failed:,} failed"
    if skipped:
        yield f"{skipped:,} did not run"
    for part, word in ((parts[4], "became worse"), (parts[0], "to look at now")):
        if part.rows:
            yield f"{part.number:,} {word}"
    if parts[1].rows:
        yield "records are missing"


def _part(
    kind: str, title: str, heads: tuple[str, ...], rows: Sequence[ReportRow], *, more: int = 0, is_wrong: bool = True
) -> ReportPart:
    """Return a part with the first rows, and the number of omitted rows."""
    more += max(0, len(rows) - _ROWS)
    shown = list(rows[:_ROWS])
    return ReportPart(kind, title, heads, shown, len(shown) + more, f"and {more:,} more" if more else "", is_wrong)


def _not_kept(kept: Sequence[tuple[str, str]]) -> ReportPart:
    rows = [
        ReportRow(
            {"job": job, "kept_since": since}, (job, f"only since {local(since)}; see retention in jobqueued.yaml(5)")
        )
        for job, since in kept
    ]
    return _part("not_kept", "Records are missing", ("JOB", "KEPT"), rows)


def _failures(failed: Sequence[Record]) -> ReportPart:
    """Return the newest failed runs of each job, starting with the job that has the most failures."""
    jobs = Counter(record["job"] for record in failed)
    rows = []
    for job, count in jobs.most_common(_ROWS):
        of_job = [record for record in failed if record["job"] == job][:_FAILED_OF_A_JOB]
        rows += [
            ReportRow(
                {
                    **_facts(record, "run", "state", "reason", "started", "ended"),
                    "took": took_of(record),
                    "last_output": _last(record) or None,
                    "failed_of_job": count,
                },
                (record["run"], local(record["started"] or record["queued"]), _end(record)),
                f"last output: {last}" if (last := _last(record)) else "",
            )
            for record in of_job
        ]
        if count > len(of_job):
            rows[-1] = rows[-1]._replace(note=f"{rows[-1].note}\n… and {count - len(of_job):,} more of {job}".lstrip())
    more = max(0, len(jobs) - _ROWS)
    left_out = f"and {counted(more, 'more job')}" if more else ""
    return ReportPart("failed", "Failed", ("RUN", "STARTED", "END"), rows, len(failed), left_out)


def _facts(record: Record, *names: str) -> dict[str, Any]:
    return {name: record[name] for name in ("job", *names)}  # type: ignore[literal-required]


def _end(record: Record) -> str:
    took = took_of(record)
    after = "" if took is None else f" after {duration(took)}"
    return f"{record['state']}{after}" + (f": {record['reason']}" if record["reason"] else "")


def _last(record: Record) -> str:
    return last_line(record["output"]["tail"].encode(errors="replace"))[:_LINE]


def _skipped(kind: str, title: str, skips: Sequence[Record], *, is_wrong: bool) -> ReportPart:
    """Return the skips, grouped by job and reason."""
    found = dict[tuple[str, str], list[Record]]()
    for record in skips:
        found.setdefault((record["job"], record["reason"] or "-"), []).append(record)
    rows = []
    for (job, reason), each in found.items():
        times, last = sum(it.get("count", 1) for it in each), each[0].get("last_due", each[0]["due"])
        facts = {**_facts(each[0], "reason"), "times": times, "last_due": last}
        rows.append(ReportRow(facts, (job, f"{times:,}", local(last), reason)))
    return _part(kind, title, ("JOB", "TIMES", "LAST DUE", "REASON"), rows, is_wrong=is_wrong)


def _worse(now: dict[str, Stats], before: dict[str, Stats]) -> ReportPart:
    """Return the jobs that succeed less often, or take longer, than in the previous period."""
    rows = []
    for job, new in now.items():
        old = before.get(job)
        if old is None or min(new.runs, old.runs) < _ENOUGH or new.rate is None or old.rate is None:
            continue
        if new.rate < old.rate - _RARER:
            facts = {"job": job, "what": "success_rate", "now": new.rate, "before": old.rate}
            rows.append(
                ReportRow(facts, (job, f"succeeded in {new.rate:.0%} of its runs, {old.rate:.0%} in the period before"))
            )
        if new.p50 is not None and old.p50 is not None and new.p50 > _SLOWER * old.p50 and new.p50 >= old.p50 + 1:
            facts = {"job": job, "what": "p50", "now": new.p50, "before": old.p50}
            rows.append(
                ReportRow(facts, (job, f"took {duration(new.p50)} (P50), {duration(old.p50)} in the period before"))
            )
    return _part("worse", "Worse than before", ("JOB", "WHAT"), rows)


def _waits(ended: Iterable[Record]) -> ReportPart:
    """Return the runs with the longest waits between queueing and start."""
    waits = [(wait, record) for record in ended if (wait := _waited(record)) >= _LONG]
    longest = sorted(waits, key=lambda it: -it[0])[:_TOP]
    rows = [
        ReportRow(
            {**_facts(it, "run"), "waited": wait, "waited_for": it.get("waited_for") or []},
            (it["run"], duration(wait), f"for {', '.join(names)}" if (names := it.get("waited_for")) else "-"),
        )
        for wait, it in longest
    ]
    return ReportPart("waits", "Longest waits", ("RUN", "WAITED", "FOR"), rows, len(waits), is_wrong=False)


def _waited(record: Record) -> float:
    if not record["started"]:
        return 0.0
    queued, started = map(datetime.fromisoformat, (record["queued"], record["started"]))
    return (started - queued).total_seconds()


def _costs(stats: Iterable[Stats]) -> ReportPart:
    """Return the jobs that used the most CPU time, and the total of all jobs."""
    used = sorted(((each.cpu, each) for each in stats if each.cpu), key=lambda it: -it[0])
    rows = [
        ReportRow(
            {"job": each.job, "cpu_seconds": cpu, "runs": each.runs}, (each.job, hours(cpu), counted(each.runs, "run"))
        )
        for cpu, each in used[:_TOP]
    ]
    total = sum(cpu for cpu, _ in used)
    more = f"all {counted(len(used), 'job')}: {hours(total)}"
    heads = ("JOB", "HOURS", "OF")
    return ReportPart("cpu", "CPU hours", heads, rows, len(used), more, is_wrong=False, total=total)


def kept_since(found: Iterable[Record], begin: str, is_next: Callable[[Record], bool]) -> Iterator[tuple[str, str]]:
    """Yield the jobs whose records start after `begin` or have a gap after it, with the start of the gapless records.

    `found` contains all records from an instant before `begin`, including unfinished runs. `is_next` returns whether
    the previous run of a record's job also has a record.
    """
    jobs = dict[str, list[Record]]()
    for record in found:
        jobs.setdefault(record["job"], []).append(record)
    for job, each in jobs.items():
        oldest, *older = sorted(each, key=lambda it: -it["number"])
        for record in older:
            if record["number"] != oldest["number"] - 1:
                break
            oldest = record
        is_first = oldest is min(each, key=lambda it: it["number"])
        if oldest["queued"] >= begin and oldest["number"] > 1 and not (is_first and is_next(oldest)):
            yield job, oldest["queued"]


def local(text: str) -> str:
    """Format an RFC 3339 instant in the local zone, to the minute, with the zone's name."""
    return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M %Z}"


def document(made: RunReport) -> dict[str, Any]:
    """Return the report as JSON, with instants in UTC and durations in seconds."""
    parts = [
        {
            "kind": it.kind,
            "is_wrong": it.is_wrong,
            "count": it.number,
            "total": it.total,
            "rows": [row.facts for row in it.rows],
        }
        for it in made.parts
    ]
    return {**made._asdict(), "parts": parts, "is_well": made.is_well}


def harmless(made: RunReport) -> RunReport:
    """Return the report with escapes for characters that could harm a terminal or forge a line."""
    parts = [
        part._replace(
            rows=[
                ReportRow(it.facts, tuple(map(printable, it.cells)), printable(it.note, keep="\n")) for it in part.rows
            ]
        )
        for part in made.parts
    ]
    return made._replace(parts=parts, headline=printable(made.headline), host=printable(made.host))
