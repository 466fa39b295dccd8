"""The timeline of the page in Cockpit: each failure is seen, a wait is no failure, and nothing is out of the window."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from jobqueued.base.instants import to_text
from jobqueued.model.run_states import FAILURES
from tests.support.answers import STATUS
from tests.support.chromium import Browser
from tests.support.cockpit import cockpit, install, old_daemon, opened, shows

FILE = "jobs: {}\n"
STARTED = [*FAILURES, "succeeded", "skipped", "running", "waiting"]
"""The states that a reply has if none is requested; the waiting runs started an attempt."""
BARS = """[...document.querySelectorAll(".chart a")].flatMap(run => [...run.querySelectorAll("rect")].map(bar => {
    const { left, right, width, height } = bar.getBoundingClientRect();
    const isInView = left >= 0 && right <= innerWidth;
    if (isInView) bar.scrollIntoView({ block: "center" });
    const box = bar.getBoundingClientRect();
    const isOnTop = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2) === bar;
    const name = decodeURIComponent(run.getAttribute("href").slice(6));
    return { run: name, kind: bar.getAttribute("class"), width, height, isInView, isOnTop };
}))"""


def ago(seconds: float) -> str:
    return to_text(time.time_ns() - round(seconds * 1e9))


def a_run(job: str, number: int, state: str, *attempts: tuple[float, float, str], queued: float = 0) -> dict[str, Any]:
    """A run by the attempts that have ended: when each began and ended, so many seconds ago, and how."""
    tries = [{"started": ago(begin), "ended": ago(end), "state": how} for begin, end, how in attempts]
    return {
        "run": f"{job}@{number}", "job": job, "state": state, "reason": None, "queued": ago(queued or attempts[0][0]),
        "started": tries[0]["started"] if tries else None, "ended": tries[-1]["ended"] if tries else None,
        "attempts": tries,
    }  # fmt: skip


def the_runs() -> list[dict[str, Any]]:
    """Of the last hour, newest first."""
    short = 0.003
    busy = [a_run("busy", 900 - n, "succeeded", (n * 4 + 4, n * 4 + 0.5, "succeeded")) for n in range(600)]
    busy[300] = a_run("busy", 600, "failed", (1204, 1204 - short, "failed"))
    again = a_run("again", 1, "waiting", (1800, 1800 - short, "failed"))
    gone = a_run("gone", 1, "failed", *((at, at - short, "failed") for at in (3000, 1800, 600)))
    live = {**a_run("live", 1, "running", (3000, 3000 - short, "failed")), "started": ago(1800)}
    new = a_run("new", 1, "failed", (0.004, 0.001, "failed"))
    return [new, live, again, *busy, gone, a_run("off", 1, "skipped", queued=900)]


@pytest.fixture
def answers() -> dict[str, Any]:
    """A daemon that has these runs."""
    runs = the_runs()
    return {
        "Status": {**STATUS}, "List": {"jobs": [], "held_by": None}, "Watch": {"events": [], "missed": 0},
        "Notices": {"incidents": [], "notices": [], "more": 0},
        "History": lambda asked: {
            "runs": [run for run in runs if run["state"] in asked.get("states", STARTED)], "next": None,
        },
    }  # fmt: skip


@pytest.fixture
def own(place: Path, answers: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page beside that daemon."""
    root = place / tmp_path_factory.mktemp("timeline").name
    (root / "run").mkdir(parents=True)
    install(root / "data", root)
    with old_daemon(root / "run" / "control", answers), cockpit(root / "data") as found:
        yield found


def bars(chromium: Browser, own: str, hours: int, width: int) -> dict[str, list[dict[str, Any]]]:
    """The bars of each run, in their order, once all runs are drawn."""
    opened(chromium, own, "timeline", width=width)
    chromium.tell(f"hours.value = {hours}; hours.dispatchEvent(new Event('change'))")
    chromium.until("document.querySelectorAll('.chart a').length >= 605")
    found: dict[str, list[dict[str, Any]]] = {}
    for bar in chromium.tell(BARS):
        found.setdefault(bar["run"], []).append(bar)
    return found


@pytest.mark.parametrize(("hours", "width"), [(1, 1100), (24, 1100), (1, 360), (24, 360)])
def test_a_failure_of_milliseconds_is_seen(chromium: Browser, own: str, hours: int, width: int) -> None:
    """It has some width, nothing covers it, whatever ran beside it, and it is within the window, even the newest."""
    found = bars(chromium, own, hours, width)
    for run in ("busy@600", "new@1", "gone@1"):
        bad = [bar for bar in found[run] if bar["kind"] == "failed"]
        assert bad, run
        for bar in bad:
            assert bar["width"] >= 3, bar
            assert bar["isInView"], bar
            assert bar["isOnTop"] or run == "gone@1", bar  # whose attempts may cover each other
            assert bar["height"] > 1.3 * found["busy@601"][0]["height"]  # by more than a colour
    assert chromium.tell("document.documentElement.scrollWidth <= innerWidth")
    assert chromium.tell("document.querySelector('.chart').scrollWidth <= document.querySelector('.chart').clientWidth")


def test_the_wait_of_a_retry_is_a_wait(chromium: Browser, own: str) -> None:
    """Between the attempts of a run, and before the next one, nothing failed: there it waits, as before a start."""
    found = bars(chromium, own, 1, 1100)
    kinds = {run: [bar["kind"] for bar in found[run]] for run in ("again@1", "gone@1", "live@1", "off@1")}
    assert {
        "again@1": ["failed", "waits"], "gone@1": ["failed", "waits", "failed", "waits", "failed"],
        "live@1": ["failed", "waits", "running"], "off@1": ["skipped"],
    } == kinds  # fmt: skip
    hour = chromium.tell("document.querySelector('.chart svg').getBoundingClientRect().width") * 0.82
    for run, place, share in (("again@1", 1, 0.5), ("gone@1", 1, 1 / 3), ("live@1", 1, 1 / 3), ("live@1", 2, 0.5)):
        assert abs(found[run][place]["width"] - share * hour) < 10
    assert all(bar["width"] < 10 for run in found.values() for bar in run if bar["kind"] == "failed")


def test_the_legend(chromium: Browser, own: str) -> None:
    """Each look that a bar can have is explained."""
    bars(chromium, own, 1, 1100)
    explained = set(chromium.tell("[...document.querySelectorAll('.legend rect')].map(it => it.getAttribute('class'))"))
    assert {"succeeded", "failed", "running", "waits", "skipped"} == explained
    looks = """(where => [...new Set([...document.querySelectorAll(where)].map(it => {
        const { fill, stroke } = getComputedStyle(it);
        return `${fill} ${stroke}`;
    }))].sort())"""
    assert chromium.tell(f"{looks}('.legend rect')") == chromium.tell(f"{looks}('.chart rect')")
    shows(chromium, "waits to start, or to be retried")


def test_of_more_runs_than_are_drawn(chromium: Browser, own: str, answers: dict[str, Any]) -> None:
    """All that ended badly are among those that are drawn, and that others are left out is said."""
    short = [a_run("busy", 9000 - n, "succeeded", (n + 1, n + 0.5, "succeeded")) for n in range(50)]
    bad = a_run("old", 1, "failed", (80000, 79999, "failed"))

    def history(asked: dict[str, Any]) -> dict[str, Any]:
        is_about_failures = FAILURES.issuperset(asked.get("states", ["any"]))
        return {"runs": [bad], "next": None} if is_about_failures else {"runs": short, "next": "more"}

    answers["History"] = history
    opened(chromium, own, "timeline")
    chromium.tell("hours.value = 24; hours.dispatchEvent(new Event('change'))")
    chromium.until("document.querySelector('.chart a[href=\"#/run/old%401\"] rect.failed')")
    shows(chromium, "Older runs are omitted, unless they ended badly.")


def test_the_zone_of_the_axis(chromium: Browser, own: str) -> None:
    """The view names the zone once: the browser's, which the times of the axis are in."""
    chromium.call("Emulation.setTimezoneOverride", timezoneId="Asia/Tokyo")
    try:
        bars(chromium, own, 6, 1100)
        shows(chromium, "Time zone: Asia/Tokyo.")
        first = chromium.tell("document.querySelector('.chart text').textContent")
    finally:
        chromium.call("Emulation.setTimezoneOverride", timezoneId="")
    begin = datetime.now(ZoneInfo("Asia/Tokyo")) - timedelta(hours=6)
    assert first in {(begin - timedelta(minutes=late)).strftime("%I:%M %p") for late in (0, 1)}
