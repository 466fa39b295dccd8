"""A forecast saved in a file, and its comparison with records."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from jobqueued.base.instants import SECOND, to_instant, to_text
from jobqueued.base.text import printable
from jobqueued.child.contract import atomic_file
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.control.protocol.varlink import Message
from jobqueued.core.records.recollection import began, run_of
from jobqueued.core.records.record_checks import Damaged
from jobqueued.ctl.base.client import CallRefused
from jobqueued.foresight import calibration
from jobqueued.foresight.calibration import Calibration, Forecast
from jobqueued.model.job import Job
from jobqueued.model.run import RunId
from jobqueued.settings.paths import Paths
from jobqueued.state import record_files

_LAST = 10**10 * SECOND
"""Latest end of a forecast: the year 2286."""


class KeptForecast(NamedTuple):
    """A forecast, its start and end (wall, ns), and the number of simulated futures (`draws`)."""

    since: int
    until: int
    draws: int
    forecast: Forecast
    spread: Mapping[str, int]
    """Job → delay (ns) that its `spread` causes, for jobs with a delay."""

    def lateness(self) -> dict[str, dict[int, Message]]:
        """Return job → planned start → expected lateness (s) and its range."""
        found: dict[str, dict[int, Message]] = {}
        for name, expected in self.forecast.items():
            spread = self.spread.get(name, 0)
            found[name] = {
                it.due + spread: {
                    "late": (it.middle - spread) / SECOND,
                    "least_late": (it.low - spread) / SECOND,
                    "most_late": (it.high - spread) / SECOND,
                }
                for it in expected
            }
        return found


def spread_of(jobs: Iterable[Job]) -> dict[str, int]:
    """Return job → delay (ns) that its `spread` causes, for jobs with a delay."""
    return {job.id: job.offset for job in jobs if job.offset}


def save(path: Path, kept: KeptForecast) -> None:
    """Write a forecast to a file, and replace an older forecast. Raises CallRefused."""
    document = {
        "version": calibration.VERSION,
        "since": to_text(kept.since),
        "until": to_text(kept.until),
        "draws": kept.draws,
        "jobs": calibration.to_document(kept.forecast),
        "spread": {name: offset // SECOND for name, offset in kept.spread.items()},
    }
    try:
        atomic_file.replace(str(path.absolute()), json.dumps(document).encode())
    except OSError as error:
        raise CallRefused(f"cannot write {printable(str(path))}: {error.strerror}") from None


def keep(paths: Paths, kept: KeptForecast) -> None:
    """Save a forecast in the state directory. Raises CallRefused.

    If half of the saved forecast's time is over, the saved forecast becomes the previous day's forecast.
    """
    try:
        before = read(paths.forecast)
        if kept.since >= (before.since + before.until) // 2:
            os.replace(paths.forecast, paths.forecast_before)
    except CallRefused:
        pass  # no readable forecast is saved
    except OSError as error:
        raise CallRefused(f"cannot write {printable(str(paths.forecast_before))}: {error.strerror}") from None
    save(paths.forecast, kept)


_DAILY = [f"{prefix}/share/jobqueued/jobqueued-forecast.yaml" for prefix in ("/usr", "/usr/local")]
"""Possible paths of the job file that saves a forecast each day, from a package or `make install`."""


def newest_over(paths: Paths) -> KeptForecast:
    """Return the previous day's forecast, or the newest forecast if there is none. Raises CallRefused."""
    for path in (paths.forecast_before, paths.forecast):
        if os.path.lexists(path):
            return read(path)
    daily = next((path for path in _DAILY if os.path.exists(path)), "")
    raise CallRefused(
        f"no forecast was saved in {printable(str(paths.state))}; to save one now: jobqueuectl simulate --keep; "
        f"{f'to save one each day: cp {daily} /etc/jobqueue.d; ' if daily else ''}"
        "to test a forecast of the past: --backtest yesterday"
    )


def save_runs(path: Path, found: Iterable[dict[str, Any]], jobs: Mapping[str, Job]) -> None:
    """Write a future's runs, one record per line, with their jobs' tags and commands. Raises CallRefused."""
    try:
        with open(path, "w") as file:
            for record in found:
                job = jobs[record["job"]]
                file.write(json.dumps({**record, "tags": job.tags, "command": job.command}) + "\n")
    except OSError as error:
        raise CallRefused(f"cannot write {printable(str(path))}: {error.strerror}") from None


def read(path: Path, only: Collection[str] | None = None) -> KeptForecast:
    """Read a forecast from a file. If `only` is given, read just the part about these jobs. Raises CallRefused."""
    try:
        document = json.loads(path.read_bytes())
        if document["version"] != calibration.VERSION:
            raise CallRefused(
                f"{printable(str(path))} is a forecast from another version; to make a new one: simulate --save"
            )
        since, until = (to_instant(datetime.fromisoformat(document[name])) for name in ("since", "until"))
        if not 0 <= since <= until <= _LAST:
            raise ValueError
        jobs = {name: rows for name, rows in document["jobs"].items() if only is None or name in only}
        spread = {name: int(seconds) * SECOND for name, seconds in document.get("spread", {}).items()}
        return KeptForecast(since, until, int(document["draws"]), calibration.of_document(jobs), spread)
    except OSError as error:
        raise CallRefused(f"cannot read {printable(str(path))}: {error.strerror}") from None
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        raise CallRefused(f"{printable(str(path))} is not a forecast; simulate --save writes one") from None


def came(paths: Paths, kept: KeptForecast) -> dict[str, dict[int, int | None]]:
    """Return job → due time → real start, or None for a skip. Occurrences without a readable record are omitted.

    A skip of several due times counts only for its first and last due time, because its record does not include its
    other due times.
    """
    found: dict[str, dict[int, int | None]] = {}
    for name in kept.forecast:
        of_job: dict[int, int | None] = {}
        for number in reversed(record_files.numbers(paths.logs, name)):
            with suppress(Damaged):
                document = record_files.checked(paths.logs, RunId(name, number))
                run = run_of(document)
                if run.queued < kept.since - SECOND:
                    break
                if run.trigger == "schedule":
                    of_job[run.due] = began(document)
                    of_job |= {} if run.last_due is None else {run.last_due: None}
        found[name] = of_job
    return found


def verdict_document(kept: KeptForecast, all_jobs: Calibration, verdicts: dict[str, Calibration]) -> Message:
    """Return the results of a comparison as JSON."""
    return {
        "since": to_text(kept.since),
        "until": to_text(kept.until),
        "draws": kept.draws,
        "foreseen": sum(map(len, kept.forecast.values())),
        **_document(all_jobs),
        "exact": all_jobs.is_exact,
        "within": all_jobs.is_within,
        "jobs": [{"job": name, **_document(it)} for name, it in calibration.worst(verdicts)],
    }


def _document(it: Calibration) -> Message:
    return {
        "compared": it.compared,
        "inside": it.inside,
        "error": it.error / SECOND,
        "steady": it.steady,
        "steady_error": it.steady_error / SECOND,
    }
