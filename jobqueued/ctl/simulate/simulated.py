"""Print simulations as text, and convert them to JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobqueued.base.instants import HOUR, SECOND, to_text
from jobqueued.base.text import counted, duration, printable
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base.terminal import local, print_line, print_table
from jobqueued.ctl.simulate.kept_forecast import KeptForecast
from jobqueued.ctl.simulate.snapshot import Snapshot
from jobqueued.foresight import calibration, summary
from jobqueued.foresight.calibration import Calibration
from jobqueued.foresight.summary import Band, JobFigures
from jobqueued.foresight.tally import Tally

if TYPE_CHECKING:
    from jobqueued.foresight.suggestions import Suggestion

_SHOWN = 20
"""Maximum number of jobs to list without --all."""
_PEAKS = 3
_WITH = ", WITH"
"""Suffix of table headings about the host with other files."""


class Result(NamedTuple):
    """The futures of a host, and its futures with other files (`others`)."""

    found: Snapshot
    until: int
    futures: Sequence[Tally]
    others: Sequence[Tally] | None = None
    advice: Sequence[Suggestion] | None = None
    unknown: Sequence[str] = ()
    """Jobs without a recorded duration, on the host with other files."""
    listed: frozenset[str] | None = None
    """The jobs to list, or None for all."""

    @property
    def guessed(self) -> list[str]:
        """The jobs without a recorded duration, with or without the other files."""
        return sorted({*self.found.unknown, *self.unknown})


def rows_of(futures: Sequence[Tally], listed: frozenset[str] | None) -> list[JobFigures]:
    """Return the figures of the listed jobs."""
    return [row for row in summary.rows(futures) if listed is None or row.job in listed]


def document(result: Result) -> Message:
    """Return the result as JSON."""
    found = result.found
    told: Message = {
        "since": to_text(found.host.begin),
        "until": to_text(result.until),
        "draws": len(result.futures),
        "from_now": not found.without,
        "guessed": result.guessed,
        "unread": found.unread or None,
        **_figures(result, result.futures),
    }
    if result.others is not None:
        told["with"] = _figures(result, result.others)
    if result.advice is not None:
        told["suggestions"] = [_advice(it) for it in result.advice]
    return told


def _advice(it: Suggestion) -> Message:
    before, after = ({"missed": cost.missed, "waited": cost.waited / SECOND} for cost in (it.before, it.after))
    return {"jobs": list(it.change.jobs), "change": it.change.text, "before": before, "after": after}


def _figures(result: Result, futures: Sequence[Tally]) -> Message:
    rows = rows_of(futures, result.listed)
    return {
        **{name: _least_most(band) for name, band in _whole(futures)},
        "jobs": [_document(row) for row in rows],
        "locks": [
            {"name": name, "waited": time / SECOND / len(futures), "for": [job for job, _ in holders]}
            for name, time, holders in summary.lacked(rows)
        ],
        "peaks": [
            {"at": to_text(instant), "live": live.most, "least": live.least}
            for instant, live in summary.peaks(futures, 24, HOUR, result.found.host.begin)
        ],
    }


def _whole(futures: Sequence[Tally]) -> list[tuple[str, Band]]:
    return [
        ("runs", summary.figures(futures, lambda it: it.runs)),
        ("waiting", summary.figures(futures, lambda it: it.waiting)),
        ("late", summary.figures(futures, lambda it: sum(len(job.waits) for job in it.jobs.values()))),
        ("waited", summary.figures(futures, lambda it: it.waited // SECOND)),
        ("missed", summary.figures(futures, lambda it: it.missed)),
        ("failed", summary.figures(futures, lambda it: it.failed)),
        ("most_live", summary.figures(futures, lambda it: it.most_live)),
    ]


def _least_most(band: Band) -> list[int]:
    return [band.least, band.most]


def _document(row: JobFigures) -> Message:
    blamed = [{"for": it.lacked, "whose": it.holder or None, "seconds": time / SECOND} for it, time in row.blamed]
    waits = {"half": row.half / SECOND, "most": row.most / SECOND, "longest": row.longest / SECOND}
    bands = {name: _least_most(getattr(row, name)) for name in ("runs", "late", "waiting", "missed", "failed")}
    return {"job": row.job, **bands, "wait": waits, "skipped": row.skipped, "blamed": blamed}


def show(result: Result, *, all_jobs: bool) -> None:
    """Print the result as text."""
    found, futures = result.found, result.futures
    begin = local(to_text(found.host.begin))
    draws = f", simulated {len(futures)} times" if len(futures) > 1 else ""
    span = duration((result.until - found.host.begin) / SECOND)
    print_line(f"{counted(len(found.host.jobs), 'job')}, {span} from {begin}{draws}")
    _print_sources(found, result.guessed)
    _print_whole(result)
    rows, most = rows_of(futures, result.listed), None if all_jobs else _SHOWN
    if result.others is not None:
        others = rows_of(result.others, result.listed)
        _print_differences(rows, others, most)
        _print_locks(others, len(result.others), _WITH)
    else:
        _print_jobs([row for row in rows if all_jobs or row.is_remarkable], most)
        _print_locks(rows, len(futures))
    if result.advice is not None:
        _print_advice(result.advice)
    elif any(row.late.most or row.missed.most for row in rows):
        print_line("To try what would help: --suggest")


def _print_differences(rows: Sequence[JobFigures], others: Sequence[JobFigures], most: int | None) -> None:
    """Print the jobs whose forecasts differ with the other files."""
    today, other = ({row.job: row for row in each} for each in (rows, others))
    changed = [name for name in dict.fromkeys([*other, *today]) if _fate(today.get(name)) != _fate(other.get(name))]
    if not changed:
        print_line("These files do not change the forecast.")
        return
    heads = ("RUNS", "LATE", "WAITED", "MISSED")
    print_table(
        ("JOB", *heads, *(f"→ {head}" for head in heads)),
        [(name, *_fate(today.get(name)), *_fate(other.get(name))) for name in changed[:most]],
    )
    if most is not None and len(changed) > most:
        print_line(f"… and {counted(len(changed) - most, 'other job')}; to list all: --all")


def _fate(row: JobFigures | None) -> tuple[str, ...]:
    return ("-",) * 4 if row is None else (str(row.runs), str(row.late), _time(row.waited), str(row.missed))


def _print_advice(advice: Sequence[Suggestion]) -> None:
    if not advice:
        print_line("No change that was tried helps.")
        return
    from jobqueued.foresight import suggestions

    rows = [(", ".join(it.change.jobs) or "(host)", it.change.text, suggestions.words(it)) for it in advice]
    print_table(("JOBS", "CHANGE", "EFFECT"), rows, keep=("JOBS", "CHANGE", "EFFECT"))


def _print_sources(found: Snapshot, guessed: Sequence[str]) -> None:
    if found.without:
        print_line(
            f"The simulation starts without live and waiting runs, because these are unknown: {found.without}",
            "warning",
        )
    else:
        live = sum(run.pid is not None for run in found.host.runs)
        print_line(f"At the start: {counted(live, 'run')} live, {len(found.host.runs) - live} waiting.")
    if found.unread:
        print_line(f"All durations are guesses, because the records can't be read: {found.unread}", "warning")
    elif guessed:
        names = ", ".join(guessed[:3]) + (" …" if len(guessed) > 3 else "")
        print_line(f"The durations of {counted(len(guessed), 'job')} without earlier runs are guesses: {names}")


def _print_whole(result: Result) -> None:
    names = {
        "runs": "runs",
        "waiting": "waiting at the end",
        "late": "start late",
        "waited": "total wait",
        "missed": "deadlines missed",
        "failed": "fail",
        "most_live": "live at once",
    }
    today = [(names[name], _figure(name, band)) for name, band in _whole(result.futures)]
    if result.others is None:
        print_table(("", "HOST"), today)
    else:
        other = [_figure(name, band) for name, band in _whole(result.others)]
        print_table(("", "TODAY", "WITH"), [(*row, figure) for row, figure in zip(today, other, strict=True)])
    _print_peaks(result, result.futures)
    if result.others is not None:
        _print_peaks(result, result.others, _WITH)


def _print_peaks(result: Result, futures: Sequence[Tally], files: str = "") -> None:
    peaks = summary.peaks(futures, _PEAKS, HOUR, result.found.host.begin)
    print_table((f"PEAK{files}", "LIVE"), [(local(to_text(instant)), str(live)) for instant, live in peaks])


def _figure(name: str, band: Band) -> str:
    if name != "waited":
        return str(band)
    least, most = (_time(seconds * SECOND) for seconds in band)
    return least if least == most else f"{least} … {most}"


def _print_jobs(rows: Sequence[JobFigures], most: int | None) -> None:
    if not rows:
        print_line("Every run starts as planned.")
        return
    print_table(
        ("JOB", "RUNS", "LATE", "MEDIAN", "95 %", "LONGEST", "FOR", "MISSED", "SKIPPED"),
        [_cells(row) for row in rows[:most]],
        keep=("JOB", "LATE", "LONGEST", "FOR", "95 %", "MISSED"),
    )
    if most is not None and len(rows) > most:
        print_line(f"… and {counted(len(rows) - most, 'other job')}; to list all: --all")


def _cells(row: JobFigures) -> tuple[str, ...]:
    blame = row.blamed[0][0] if row.blamed else None
    why = "-" if blame is None else f"{blame.lacked} ({blame.holder})" if blame.holder else blame.lacked
    skipped = ", ".join(f"{times} {reason}" for reason, times in row.skipped.items()) or "-"
    times = [_time(time) for time in (row.half, row.most, row.longest)]
    return row.job, str(row.runs), str(row.late), *times, printable(why), str(row.missed), printable(skipped)


def _print_locks(rows: Sequence[JobFigures], draws: int, files: str = "") -> None:
    found = summary.lacked(rows)
    if found:
        print_table(
            (f"WAITED FOR{files}", "TOTAL WAIT", "MOSTLY HELD BY"),
            [
                (it, _time(time // draws), ", ".join(job for job, _ in holders[:3]) or "-")
                for it, time, holders in found
            ],
        )


def _time(time: int) -> str:
    return duration(time / SECOND) if time >= SECOND else "0" if not time else "< 1 s"


def show_verdicts(kept: KeptForecast, whole: Calibration, verdicts: dict[str, Calibration]) -> None:
    """Print a comparison of a forecast with the real starts."""
    foreseen = sum(map(len, kept.forecast.values()))
    print_line(
        f"{counted(foreseen, 'start')} foreseen from {local(to_text(kept.since))} to {local(to_text(kept.until))}"
    )
    if not whole.compared:
        print_line("None of them has a record." if foreseen else "So there is nothing to compare.")
        return
    share = f"{whole.inside / whole.compared:.1%}"
    print_line(
        f"{whole.compared:,} have a record; {whole.inside:,} ({share}) of these are in their range",
        _style(whole.is_within),
    )
    if whole.steady:
        error = duration(whole.steady_error / SECOND) or "0"
        print_line(f"{whole.steady:,} had a range of at most 5 s; median error {error}", _style(whole.is_exact))
    rows = [(name, f"{it.compared:,}", f"{it.inside:,}", _time(it.error)) for name, it in calibration.worst(verdicts)]
    print_table(("JOB", "COMPARED", "IN RANGE", "MEDIAN ERROR"), rows[:_SHOWN])


def _style(is_good: bool) -> str:
    return "green" if is_good else "red"
