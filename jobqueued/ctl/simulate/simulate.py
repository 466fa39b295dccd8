"""jobqueuectl simulate: simulate future runs with the real scheduler and a virtual clock."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from click.core import ParameterSource

from jobqueued.base.instants import DAY, SECOND
from jobqueued.base.text import duration, printable
from jobqueued.ctl.base.arguments import past_time
from jobqueued.ctl.base.problems import in_a_line
from jobqueued.ctl.base.tags import named, tag_option
from jobqueued.ctl.base.terminal import json_option, print_json, reaching
from jobqueued.ctl.simulate.kept_forecast import (
    KeptForecast,
    came,
    keep,
    newest_over,
    read,
    save,
    save_runs,
    spread_of,
    verdict_document,
)
from jobqueued.ctl.simulate.parallel_futures import play_in_parallel
from jobqueued.ctl.simulate.simulated import Result, document, rows_of, show, show_verdicts
from jobqueued.ctl.simulate.snapshot import Snapshot, chance, is_unreadable, require_records, snapshot, with_files
from jobqueued.foresight import calibration
from jobqueued.foresight.calibration import FUTURES
from jobqueued.foresight.durations import Chance
from jobqueued.foresight.story import Story
from jobqueued.jobfile.types.spelling import parse_duration
from jobqueued.settings.paths import Paths
from jobqueued.settings.settings import machine_id


def _duration(_context: click.Context | None, _parameter: click.Parameter | None, text: str | None) -> int | None:
    """Parse a duration to ns. Raises BadParameter."""
    try:
        found = None if text is None else parse_duration(text)
    except ValueError:
        raise click.BadParameter(f"found {text!r}; expected a duration such as 30s, 5m, 2h or 1d12h") from None
    if found == 0:
        raise click.BadParameter("expected a duration that is not 0")
    return found


def _span(context: click.Context, parameter: click.Parameter, text: str) -> int:
    """Parse the period to simulate to ns. Raises BadParameter."""
    found = _duration(context, parameter, text)
    if found is None or found > _LONGEST:
        raise click.BadParameter(f"expected at most {duration(_LONGEST / SECOND)}")
    return found


def _given(_context: click.Context, _parameter: click.Parameter, words: tuple[str, ...]) -> dict[str, int]:
    """Parse words such as JOB=DURATION to job → ns. Raises BadParameter."""
    found = {}
    for word in words:
        job, _, text = word.rpartition("=")
        took = _duration(None, None, text)
        if not job or took is None:
            raise click.BadParameter(f"{word!r}; expected JOB=DURATION, such as nightly-backup=20m")
        found[job] = took
    return found


_LONGEST = 366 * DAY
_ALONE = {
    "checked": {"as_json"},
    "back": {"as_json", "span", "seed", "default"},
    "keeps": {"as_json", "span", "draws", "seed", "default", "all_jobs"},
}
"""Option that replaces the printed simulation by another action → options allowed with it."""
_TRIALS = 3
"""Number of futures to simulate for each tried change."""
_FILE = click.Path(path_type=Path, dir_okay=False)
_KEPT = Path()
"""Value of --check if no file is given: the forecast that --keep saved."""


@click.command()
@click.option(
    "--for",
    "span",
    callback=_span,
    default="1d",
    metavar="D",
    help="Simulate this period, starting now; at most 366d.  [1d]",
)
@click.option(
    "--draws",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Simulate N times with random run times.  Figures are ranges, min…max.  [5; with --save and --keep 39]",
)
@click.option(
    "--seed", type=int, default=0, metavar="N", help="Seed of the random draws.  The same N gives the same result.  [0]"
)
@click.option(
    "--with",
    "directory",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="Compare with a simulation in which the files in DIR are installed.",
)
@click.option(
    "--duration",
    "given",
    multiple=True,
    callback=_given,
    metavar="JOB=D",
    help="Let each run of JOB take D.  May be repeated.",
)
@click.option(
    "--default-duration",
    "default",
    callback=_duration,
    metavar="D",
    help="Let runs of a job without earlier runs take D.  [their timeout, or 1m]",
)
@click.option("--suggest", is_flag=True, help="Try changes that might help, and list those that do.")
@click.option(
    "--runs",
    "story",
    type=_FILE,
    metavar="FILE",
    help="Write the runs of the first draw to FILE, for `timeline --from FILE`.",
)
@click.option("--save", "kept", type=_FILE, metavar="FILE", help="Save the expected start of each run in FILE.")
@click.option(
    "--keep", "keeps", is_flag=True, help="Save the expected starts in the state directory, for `next` and --check."
)
@click.option(
    "--check",
    "checked",
    is_flag=False,
    flag_value="",
    type=_FILE,
    metavar="[FILE]",
    help="Simulate nothing; compare FILE, or the forecast that --keep saved yesterday, with the real starts.",
)
@click.option(
    "--backtest",
    "back",
    callback=past_time,
    metavar="WHEN",
    help="Simulate from WHEN on, with the records of that time, and compare with the real starts.",
)
@click.option("-a", "--all", "all_jobs", is_flag=True, help="List all jobs, not only those that wait.")
@tag_option("List all")
@json_option
@click.pass_obj
def simulate(
    paths: Paths,
    span: int,
    draws: int | None,
    seed: int,
    directory: Path | None,
    given: dict[str, int],
    default: int | None,
    suggest: bool,
    story: Path | None,
    kept: Path | None,
    keeps: bool,
    checked: Path | None,
    back: int | None,
    all_jobs: bool,
    tags: tuple[str, ...],
    as_json: bool,
) -> None:
    """Simulate coming runs: which jobs wait, how long and why.

    The scheduler runs under a virtual clock, with the current job files, live runs and waiting runs.  Each simulated
    run takes as long as one of the newest runs of its job, drawn at random.  For each job that will wait, the table
    shows how many runs wait, and how long (the median, 95 % and the longest).  It also shows the lock or limit that the
    runs wait for, and the jobs that hold it.

    Runs that files, events or users cause are not simulated.  The command reads job files like `jobqueuectl check`.
    Only root and the daemon's own user can read users' files.

    With --tag, all jobs are simulated, and the totals are for all of them, but the lists contain the jobs with this
    tag, and no others.

    With --suggest, the command tries a later minute, a `spread` or a larger `max_running` for the jobs that wait most.
    Changes that do not help are omitted.  --keep saves a forecast for `jobqueuectl next`.  The job in
    /usr/share/jobqueued/jobqueued-forecast.yaml saves a forecast each day.

    With --check or --backtest, the command compares a forecast with the starts that followed.  --backtest uses the
    current job files, and ignores former pauses and holds.  Exits 1 if fewer than 95 % of the starts are in their
    forecast range and chance does not explain the difference.  Exits 1 also if half of the starts with a range of at
    most 5 s are more than 1 s off.  With --with, exits 1 if the files in DIR would be refused.

    \b
    Examples:
      jobqueuectl simulate --for 7d
      jobqueuectl simulate --with DIR --for 2d --suggest
      jobqueuectl simulate --duration nightly-backup=3h --json
      jobqueuectl simulate --runs FILE
      jobqueuectl simulate --save FILE
      jobqueuectl simulate --check
      jobqueuectl simulate --backtest yesterday
    """
    _refuse_ignored(click.get_current_context())
    if checked is not None:
        sys.exit(_check(paths, newest_over(paths) if checked == _KEPT else read(checked), as_json=as_json))
    if back is not None:
        with _progress(1) as progress:
            forecast = _foreseen(paths, back, span, default, seed, progress(0))
        sys.exit(_check(paths, forecast, as_json=as_json))
    found = snapshot(paths, given, default)
    if is_unreadable(found.problems):
        click.echo(reaching("Refused job files are left out; see: jobqueuectl check"), err=True)
    other = None if directory is None else _with(paths, found, directory, given, default)
    _refuse_unknown(given, found, other)
    listed = _with_tags(tags, found, other)
    saves = kept is not None or keeps
    chances = [chance(seed, number) for number in range(draws or (FUTURES if saves else 5))]
    until, first = found.host.begin + span, None if story is None else Story()
    result = _result(found, other, until, chances, first, listed, suggest=suggest, keeps_starts=saves)
    if story is not None and isinstance(told := result.futures[0], Story):
        save_runs(story, told.records(until), {job.id: job for job in found.host.jobs})
    if saves:
        foreseen = calibration.forecast(result.futures)
        forecast = KeptForecast(found.host.begin, until, len(result.futures), foreseen, spread_of(found.host.jobs))
        keep(paths, forecast) if kept is None else save(kept, forecast)
    if as_json:
        print_json(document(result))
    else:
        show(result, all_jobs=all_jobs or bool(tags))


def _refuse_ignored(context: click.Context) -> None:
    """Raise UsageError if one of the given options prevents the effect of another."""
    source, options = context.get_parameter_source, {it.name: it for it in context.command.params if it.name}
    typed = [name for name in options if source(name) is ParameterSource.COMMANDLINE]
    for name in _ALONE.keys() & typed:
        if others := [options[it].opts[-1] for it in typed if it not in _ALONE[name] and it != name]:
            raise click.UsageError(f"{options[name].opts[-1]} and {', '.join(others)} can't be combined.")


def _refuse_unknown(given: dict[str, int], found: Snapshot, other: Snapshot | None) -> None:
    """Raise UsageError if a duration is given for an unknown job."""
    known = {job.id for each in (found, other) if each is not None for job in each.host.jobs}
    if unknown := ", ".join(map(printable, given.keys() - known)):
        raise click.UsageError(f"--duration: there is no such job: {unknown}")


def _with_tags(tags: tuple[str, ...], found: Snapshot, other: Snapshot | None) -> frozenset[str] | None:
    """Return the jobs with these tags, or None without tags. Raises UsageError if no job has them."""
    if not tags:
        return None
    every = (job for each in (found, other) if each is not None for job in each.host.jobs)
    if not (jobs := frozenset(job.id for job in every if {*tags} <= {*job.tags})):
        raise click.UsageError(f"--tag: no job has {named(tags)}")
    return jobs


def _with(paths: Paths, found: Snapshot, directory: Path, given: dict[str, int], default: int | None) -> Snapshot:
    """Return the host as if a directory's files were installed. Exit with 1 if the files would be refused."""
    other = with_files(paths, found, directory, given, default)
    for problem in other.problems:
        click.echo(printable(in_a_line(problem)), err=True)
    if is_unreadable(other.problems):
        sys.exit(1)
    return other


def _result(
    found: Snapshot,
    other: Snapshot | None,
    until: int,
    chances: Sequence[Chance],
    first: Story | None,
    listed: frozenset[str] | None,
    *,
    suggest: bool,
    keeps_starts: bool,
) -> Result:
    """Simulate the host, also with other files, and try changes that may help the listed jobs."""
    steps = 1 + (other is not None) + suggest
    with _progress(steps) as progress:
        futures = play_in_parallel(found.host, until, chances, progress(0), keeps_starts=keeps_starts, first=first)
        others = None if other is None else play_in_parallel(other.host, until, chances, progress(1))
        advice = None
        if suggest:
            from jobqueued.foresight.suggestions import suggestions

            host, rows = (other or found).host, rows_of(others or futures, listed)
            advice = suggestions(host, until, rows, chances[:_TRIALS], machine_id(), progress(steps - 1))
    return Result(found, until, futures, others, advice, [] if other is None else other.unknown, listed)


def _foreseen(
    paths: Paths, at: int, span: int, default: int | None, seed: int, progress: Callable[[float], None]
) -> KeptForecast:
    """Return the forecast that a simulation at an instant would have made, for the past part of `span`."""
    from jobqueued.ctl.simulate.past_snapshot import back_then

    require_records(paths)
    host, until = back_then(paths, at, default), min(at + span, time.time_ns())
    chances = [chance(seed, number) for number in range(FUTURES)]
    futures = play_in_parallel(host, until, chances, progress, keeps_starts=True)
    return KeptForecast(at, until, FUTURES, calibration.forecast(futures), spread_of(host.jobs))


def _check(paths: Paths, kept: KeptForecast, *, as_json: bool) -> int:
    """Print a comparison of a forecast with the real starts, and return the exit status."""
    require_records(paths)
    came_so = came(paths, kept)
    whole, verdicts = calibration.together(kept.forecast, came_so), calibration.compare(kept.forecast, came_so)
    if as_json:
        print_json(verdict_document(kept, whole, verdicts))
    else:
        show_verdicts(kept, whole, verdicts)
    return int(not (whole.is_exact and whole.is_within))


@contextmanager
def _progress(steps: int) -> Iterator[Callable[[int], Callable[[float], None]]]:
    """Show a progress bar on a terminal. Yield a function that returns a step's callback for reporting the finished
    share.
    """
    if not sys.stderr.isatty():
        yield lambda _: lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("simulating", total=float(steps))
        yield lambda step: lambda part: bar.update(task, completed=step + part)
