"""jobqueuectl simulate: what is to come, by the real scheduler under a virtual clock."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import click

from jobqueued.control.varlink import Message
from jobqueued.ctl.problems import print_problems
from jobqueued.ctl.snapshot import Snapshot, is_unreadable, snapshot, with_files
from jobqueued.ctl.terminal import json_option, local, print_json, print_line, print_table
from jobqueued.foresight import summary
from jobqueued.foresight.durations import Chance
from jobqueued.foresight.futures import Host, play
from jobqueued.foresight.summary import Band, Row
from jobqueued.foresight.tally import Tally
from jobqueued.jobfile.spelling import parse_duration
from jobqueued.model import HOUR, SECOND, to_text
from jobqueued.paths import Paths
from jobqueued.text import counted, duration, printable

_SHOWN = 20
"""So many jobs are listed, unless all are wanted."""
_PEAKS = 3


def _duration(_context: click.Context | None, _parameter: click.Parameter | None, text: str | None) -> int | None:
    """Read a duration, in ns."""
    try:
        found = None if text is None else parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}; accepted: a duration such as 30s, 5m or 2h") from None
    if found == 0:
        raise click.BadParameter("accepted: a duration that is not 0")
    return found


def _given(_context: click.Context, _parameter: click.Parameter, words: tuple[str, ...]) -> dict[str, int]:
    """Read JOB=DURATION, as often as it is given."""
    found = {}
    for word in words:
        job, _, text = word.rpartition("=")
        took = _duration(None, None, text)
        if not job or took is None:
            raise click.BadParameter(f"{word!r}; accepted: JOB=DURATION, such as nightly-backup=20m")
        found[job] = took
    return found


@click.command()
@click.option(
    "--for", "span", callback=_duration, default="1d", metavar="D", help="Simulate so long from now on.  [1d]"
)
@click.option("--draws", type=click.IntRange(1, 1000), default=5, metavar="N",
              help="Draw the run times N times; figures show least…most.  [5]")  # fmt: skip
@click.option("--seed", type=int, default=0, metavar="N", help="Draw others; the same N draws the same.  [0]")
@click.option("--with", "directory", type=click.Path(path_type=Path, file_okay=False, exists=True), metavar="DIR",
              help="Compare with what would be if the files in DIR were installed.")  # fmt: skip
@click.option("--duration", "given", multiple=True, callback=_given, metavar="JOB=D",
              help="Let each run of JOB take D, whatever it has taken.")  # fmt: skip
@click.option("--default-duration", "default", callback=_duration, metavar="D",
              help="Let runs of jobs that have none yet take D.  [their timeout, or 1m]")  # fmt: skip
@click.option("-a", "--all", "all_jobs", is_flag=True, help="List all jobs, not only those that wait.")
@json_option
@click.pass_obj
def simulate(
    paths: Paths, span: int, draws: int, seed: int, directory: Path | None, given: dict[str, int], default: int | None,
    all_jobs: bool, as_json: bool,
) -> None:  # fmt: skip
    """Simulate what is to come: who waits for whom, how long, and what is missed.

    The scheduler itself is run under a virtual clock, on the job files as they are now, from what is live and waits
    now.  Each run takes as long as one of the newest runs of its job did, drawn by chance.  For each job that will
    wait: of how many runs, how long (half of all runs, 95 % of them and the longest), for which lock or limit, and
    whose end it waits for.

    What files, events and people make due does not come, and jobs of users are not simulated.  Job files are read as
    by `jobqueuectl check`.

    \b
    Examples:
      jobqueuectl simulate --for 7d
      jobqueuectl simulate --with DIR --for 2d
      jobqueuectl simulate --duration nightly-backup=3h --json
    """
    found = snapshot(paths, given, default)
    chances = [_chance(seed, number) for number in range(draws)]
    other: tuple[Host, list[Tally]] | None = None
    with _progress("simulating") as progress:
        until = found.host.begin + span
        if directory is None:
            futures = play(found.host, until, chances, progress)
        else:
            host, problems = with_files(paths, found.host, directory)
            if is_unreadable(problems):
                print_problems(problems)
                sys.exit(1)
            futures = play(found.host, until, chances, lambda part: progress(part / 2))
            other = host, play(host, until, chances, lambda part: progress((1 + part) / 2))
    result = _Result(found, until, futures, None if other is None else other[1])
    if as_json:
        print_json(_document(result))
    else:
        _print(result, all_jobs=all_jobs)


def _chance(seed: int, number: int) -> Chance:
    return lambda name: random.Random(f"{seed}/{number}/{name}").random


@contextmanager
def _progress(what: str) -> Iterator[Callable[[float], None]]:
    """A bar on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda part: bar.update(task, completed=part)


class _Result(NamedTuple):
    found: Snapshot
    until: int
    futures: Sequence[Tally]
    others: Sequence[Tally] | None


def _document(result: _Result) -> Message:
    found = result.found
    document: Message = {
        "since": to_text(found.host.begin), "until": to_text(result.until), "draws": len(result.futures),
        "from_now": not found.without, "guessed": found.unknown, **_figures(result.futures),
    }  # fmt: skip
    if result.others is not None:
        document["with"] = _figures(result.others)
    return document


def _figures(futures: Sequence[Tally]) -> Message:
    rows = summary.rows(futures)
    return {
        **{name: _least_most(band) for name, band in _whole(futures)},
        "jobs": [_told(row) for row in rows],
        "locks": [
            {"name": name, "waited": time / SECOND / len(futures), "for": [job for job, _ in holders]}
            for name, time, holders in summary.lacked(rows)
        ],
        "peaks": [{"at": to_text(peak.instant), "live": peak.live} for peak in futures[0].peaks(24, HOUR)],
    }  # fmt: skip


def _whole(futures: Sequence[Tally]) -> list[tuple[str, Band]]:
    return [
        ("runs", summary.figures(futures, lambda it: it.runs)),
        ("late", summary.figures(futures, lambda it: sum(len(job.waits) for job in it.jobs.values()))),
        ("waited", summary.figures(futures, lambda it: it.waited // SECOND)),
        ("missed", summary.figures(futures, lambda it: it.missed)),
        ("failed", summary.figures(futures, lambda it: it.failed)),
        ("most_live", summary.figures(futures, lambda it: it.most_live)),
    ]


def _least_most(band: Band) -> list[int]:
    return [band.least, band.most]


def _told(row: Row) -> Message:
    blamed = [{"for": it.lacked, "whose": it.holder or None, "seconds": time / SECOND} for it, time in row.blamed]
    waits = {"half": row.half / SECOND, "most": row.most / SECOND, "longest": row.longest / SECOND}
    bands = {name: _least_most(getattr(row, name)) for name in ("runs", "late", "missed", "failed")}
    return {"job": row.job, **bands, "wait": waits, "skipped": row.skipped, "blamed": blamed}


def _print(result: _Result, *, all_jobs: bool) -> None:
    found, futures = result.found, result.futures
    begin = local(to_text(found.host.begin))
    draws = f", drawn {len(futures)} times" if len(futures) > 1 else ""
    span = duration((result.until - found.host.begin) / SECOND)
    print_line(f"{counted(len(found.host.jobs), 'job')}, {span} from {begin}{draws}")
    _print_sources(found)
    _print_whole(result)
    rows = summary.rows(futures)
    _print_jobs([row for row in rows if all_jobs or row.is_remarkable], None if all_jobs else _SHOWN)
    _print_locks(rows, len(futures))


def _print_sources(found: Snapshot) -> None:
    if found.without:
        print_line(
            f"Nothing is live or waits at the beginning, as the daemon was not asked: {found.without}", "warning"
        )
    else:
        live = sum(run.pid is not None for run in found.host.runs)
        print_line(f"At the beginning {counted(live, 'run')} live, {len(found.host.runs) - live} waiting.")
    if found.unknown:
        names = ", ".join(found.unknown[:3]) + (" …" if len(found.unknown) > 3 else "")
        print_line(f"Of {counted(len(found.unknown), 'job')} no run tells how long it takes: {names}")


def _print_whole(result: _Result) -> None:
    names = {"runs": "runs", "late": "start late", "waited": "seconds waited", "missed": "deadlines missed",
             "failed": "fail", "most_live": "live at once"}  # fmt: skip
    if result.others is None:
        rows = [(names[name], str(band)) for name, band in _whole(result.futures)]
        print_table(("", "HOST"), rows)
    else:
        both = zip(_whole(result.futures), _whole(result.others), strict=True)
        print_table(("", "TODAY", "WITH"), [(names[name], str(band), str(other)) for (name, band), (_, other) in both])
    peaks = result.futures[0].peaks(_PEAKS, HOUR)
    print_table(("PEAK", "LIVE"), [(local(to_text(peak.instant)), str(peak.live)) for peak in peaks])


def _print_jobs(rows: Sequence[Row], most: int | None) -> None:
    if not rows:
        print_line("Every run starts as planned.")
        return
    print_table(
        ("JOB", "RUNS", "LATE", "HALF", "95 %", "LONGEST", "FOR", "MISSED", "SKIPPED"),
        [_cells(row) for row in rows[:most]], keep=("JOB", "LATE", "LONGEST", "FOR", "95 %", "MISSED"),
    )  # fmt: skip
    if most is not None and len(rows) > most:
        print_line(f"… and {counted(len(rows) - most, 'other job')}; to list all: --all")


def _cells(row: Row) -> tuple[str, ...]:
    blame = row.blamed[0][0] if row.blamed else None
    why = "-" if blame is None else f"{blame.lacked} ({blame.holder})" if blame.holder else blame.lacked
    skipped = ", ".join(f"{times} {reason}" for reason, times in row.skipped.items()) or "-"
    times = [_time(time) for time in (row.half, row.most, row.longest)]
    return row.job, str(row.runs), str(row.late), *times, printable(why), str(row.missed), printable(skipped)


def _print_locks(rows: Sequence[Row], draws: int) -> None:
    found = summary.lacked(rows)
    if found:
        print_table(
            ("WAITED FOR", "IN ALL", "MOSTLY UNTIL THE END OF"),
            [
                (it, _time(time // draws), ", ".join(job for job, _ in holders[:3]) or "-")
                for it, time, holders in found
            ],
        )


def _time(time: int) -> str:
    return duration(time / SECOND) if time >= SECOND else "0" if not time else "< 1 s"
