"""How soon the page in Cockpit is there, and how soon it shows what has changed, in Chromium without a screen."""

from __future__ import annotations

import json
import os
import random
import statistics
import time
from pathlib import Path
from typing import Any

from bench.history import keep
from bench.memory import quiet
from bench.rig import daemon
from jobqueued.base.instants import MINUTE
from jobqueued.ctl.base.client import ask
from tests.support.chromium import Browser, browser
from tests.support.cockpit import cockpit, install

JOBS, KEPT, ROUNDS = 1000, 10, 20
VIEWS = {
    "jobs": "[...document.querySelectorAll('section:last-of-type tbody tr')].find(it =>"
    " it.querySelector('a').textContent === {job})?.cells[4].textContent === '1'",
    "runs": "[...document.querySelectorAll('section:first-of-type tbody th a')].some(it => it.textContent === {run})",
}
"""The views that a start changes, and what is then so in each."""
_PAINT = "Math.max(...performance.getEntriesByType('paint').map(it => it.startTime))"
_FIGURES = ("sent_s", "paint_s", "there_s", "live_s")
_SENT = "performance.getEntriesByType('navigation')[0].responseEnd"
_THERE = {"jobs": "document.querySelectorAll('#view tbody tr').length > 100",
          "runs": "document.querySelectorAll('#view section:last-of-type tbody tr').length === 50"}  # fmt: skip


def page() -> dict[str, Any]:
    """With 1,000 jobs and 10,000 records, seconds until Cockpit has sent the page itself, until the first paint, until
    the view has its rows, and from the answer to a call of Run until its start is seen: the first time, then median and
    longest of the others.  Needs root, chromium and cockpit-ws.
    """
    chance, now = random.Random(1), time.time_ns()
    dues = [now - back * MINUTE for back in range(KEPT, 0, -1)]
    jobs = [f"job-{number:04}" for number in range(JOBS)]
    text = "jobs:\n" + "".join(f"  {job}: {{command: 'exec sleep 600', schedule: '0 3 1 1 *'}}\n" for job in jobs)

    def made(directory: Path) -> None:
        for job in jobs:
            keep(directory / "logs", job, dues, chance)

    figures: dict[str, Any] = {"jobs": JOBS, "records": JOBS * KEPT, "load": os.getloadavg()[0]}
    with daemon({"a.yaml": text}, made=made) as rig:
        quiet(rig)
        (rig.directory / "run").symlink_to(rig.run)
        install(rig.directory / "data", rig.directory)
        for view in VIEWS:
            with cockpit(rig.directory / "data") as address, browser() as chromium:
                rounds = [_round(chromium, address, view, rig.run / "control", jobs[n], chance) for n in range(ROUNDS)]
            for figure, seconds in zip(_FIGURES, zip(*rounds, strict=True), strict=True):
                figures[f"{view}_{figure}"] = {
                    "first": seconds[0], "median": statistics.median(seconds[1:]), "longest": max(seconds[1:]),
                }  # fmt: skip
    return figures


def _round(
    chromium: Browser, address: str, view: str, control: Path, job: str, chance: random.Random
) -> tuple[float, ...]:
    """Open the view, wait for some time, start a run, and stop it once it is seen."""
    chromium.open("about:blank")
    chromium.open(f"{address}#/{view}")
    chromium.until(_THERE[view])
    there, paint, sent = (chromium.tell(script) for script in ("performance.now()", _PAINT, _SENT))
    time.sleep(chance.uniform(1, 3))
    run = ask(control, "Run", job=job)["run"]
    begin = time.monotonic()
    chromium.until(VIEWS[view].format(job=json.dumps(job), run=json.dumps(run)))
    seen = time.monotonic() - begin
    ask(control, "Stop", run=run)
    ask(control, "Wait", run=run)
    return sent / 1000, paint / 1000, there / 1000, seen
