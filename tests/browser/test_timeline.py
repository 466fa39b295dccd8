"""The page of jobqueuectl timeline in Chromium: drawn, filtered, told, by mouse and by keys, in light and dark."""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobqueued.ctl.chart.chart_page import page
from jobqueued.ctl.chart.chart_runs import ChartRun, Runs, collected
from jobqueued.ctl.chart.chart_waits import find_holders
from tests.support.axe import violations
from tests.support.chromium import Browser, browser
from tests.support.pictures import check_picture
from tests.support.timelines import CLAIMS, NOW, a_day

MILLION, DAYS = 1_000_000, 30
SLOWEST = 20
"""Yardsticks that a million runs may take until they are seen: 7 where the bound was set, and 39 were 2 s there."""
HOSTILE = '</script><img src=x onerror="window.caught=1"><b>&amp;\u202e'


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser(TZ="Europe/Berlin") as found:
        yield found


def opened(
    chromium: Browser, path: Path, runs: Runs, *, width: int = 1100, height: int = 760, dark: bool = False
) -> None:
    """Open the page of these runs, and wait until they are drawn."""
    find_holders(runs, CLAIMS)
    write(path, runs)
    chromium.look(width, height, dark=dark)
    chromium.open(path.as_uri())
    drawn(chromium)


def write(path: Path, runs: Runs) -> None:
    """Write the page of these runs, by the end of the day."""
    now = int(NOW.timestamp() * 1000)
    path.write_text(page(runs, runs.span(now), now))


def drawn(chromium: Browser) -> float:
    """Wait until the chart is drawn for the first time; when that was, in ms since the page was asked for."""
    chromium.until("performance.getEntriesByName('chart drawn').length")
    return float(chromium.tell("performance.getEntriesByName('chart drawn')[0].startTime"))


@pytest.fixture
def day(chromium: Browser, tmp_path: Path) -> Browser:
    """The page of a day."""
    opened(chromium, tmp_path / "day.html", collected(a_day()))
    chromium.said.clear()
    return chromium


def text(chromium: Browser, id: str) -> str:
    return str(chromium.tell(f"document.getElementById({json.dumps(id)}).innerText"))


def facts(chromium: Browser, id: str = "record") -> dict[str, str]:
    """What is told of a run."""
    script = f"[...document.querySelectorAll('#{id} dt')].map(name => [name.innerText, name.nextSibling.innerText])"
    return dict(chromium.tell(script))


def choose(chromium: Browser, id: str, value: str) -> None:
    """Type into a filter, or choose of its values."""
    chromium.tell(f"""(() => {{
        const box = document.getElementById({json.dumps(id)});
        box.value = {json.dumps(value)};
        box.dispatchEvent(new Event("input", {{bubbles: true}}));
    }})()""")


def box(chromium: Browser, id: str = "chart") -> dict[str, float]:
    found: dict[str, float] = chromium.tell(f"document.getElementById('{id}').getBoundingClientRect().toJSON()")
    return found


def test_it_is_drawn(day: Browser) -> None:
    """All runs are there, the legend counts them, and nothing was loaded but the file."""
    assert "422 of 422 runs, 8 of 8 jobs" == text(day, "summary")
    assert {"failed (1)", "timed out (3)", "running (1)", "skipped (2)"} <= {
        label.split("\n")[-1].strip()
        for label in day.tell("[...document.querySelectorAll('#states label')].map(l => l.innerText)")
    }
    assert ["file"] == [url.partition(":")[0] for url in day.requested]
    assert [] == day.said


@pytest.mark.parametrize(("dark", "width"), [(False, 1100), (True, 1100), (False, 420)])
def test_nothing_is_in_the_way_of_anybody(chromium: Browser, tmp_path: Path, dark: bool, width: int) -> None:
    """axe-core finds no violation, by the rules of WCAG 2.2 A and AA and by its best practices."""
    opened(chromium, tmp_path / "day.html", collected(a_day()), dark=dark, width=width)
    chromium.tell("document.getElementById('listing').open = true; document.getElementById('chart').focus()")
    chromium.press("ArrowDown")
    assert [] == violations(chromium)
    assert chromium.tell("document.documentElement.scrollWidth <= innerWidth")


def test_keys(day: Browser) -> None:
    """The chart is reached by Tab, and each run of it by the arrow keys; its facts are told."""
    for _ in range(40):
        day.press("Tab")
        if day.tell("document.activeElement.id") == "chart":
            break
    for key, run in [
        ("ArrowDown", "backup@61"), ("ArrowDown", "build-site@40"), ("ArrowRight", "build-site@41"),
        ("End", "build-site@43"), ("ArrowRight", "build-site@43"), ("Home", "build-site@40"),
        ("ArrowUp", "backup@61"), ("ArrowUp", "backup@61"),
        ("f", "fetch-mail@2100"), ("f", "fetch-mail@2101"), ("F", "fetch-mail@2100"),
    ]:  # fmt: skip
        day.press(key, shift=key == "F")
        assert (key, run) == (key, facts(day)["run"])
    day.press("Escape")
    assert {} == facts(day)


def view(chromium: Browser) -> tuple[str, str]:
    chromium.tell("new Promise(requestAnimationFrame)")
    begin, _, end = text(chromium, "view").partition(" to ")
    return begin, end


def test_zoom(day: Browser) -> None:
    """By keys, buttons and the wheel; to all of the time and no further."""
    day.tell("document.getElementById('chart').focus()")
    first = view(day)
    day.press("-")
    assert first == view(day)
    day.press("+")
    assert first != view(day)
    day.press("0")
    assert first == view(day)
    day.tell("document.querySelector('[data-do=in]').click()")
    near = view(day)
    day.press("ArrowRight", shift=True)
    assert first != near != view(day)
    day.press("0")
    place = box(day)
    day.mouse("mouseWheel", place["x"] + 600, place["y"] + 60, deltaX=0, deltaY=-100, modifiers=2)
    assert first != view(day)
    near = view(day)
    day.mouse("mousePressed", place["x"] + 600, place["y"] + 60)
    day.mouse("mouseMoved", place["x"] + 500, place["y"] + 60, buttons=1)
    day.mouse("mouseReleased", place["x"] + 500, place["y"] + 60)
    assert near < view(day)


@pytest.mark.parametrize(
    ("filters", "summary"),
    [
        ({"job": "OTATE"}, "96 of 422 runs, 1 of 8 jobs"), ({"tag": "db"}, "25 of 422 runs, 2 of 8 jobs"),
        ({"job": "dump", "tag": "db"}, "24 of 422 runs, 1 of 8 jobs"), ({"job": "x"}, "0 of 422 runs, 0 of 8 jobs"),
    ],
)  # fmt: skip
def test_filters(day: Browser, filters: dict[str, str], summary: str) -> None:
    """By a part of the name, whatever its case, and by tag."""
    for id, value in filters.items():
        choose(day, id, value)
    assert summary == text(day, "summary")


def test_states(day: Browser) -> None:
    """Only runs of the states that are chosen are shown, and reached by keys; a slash leads to the filter."""
    day.tell("""for (const box of document.querySelectorAll("#states input")) {
        if (!box.parentNode.innerText.includes("timed out")) box.click();
    }""")
    assert "3 of 422 runs, 1 of 8 jobs" == text(day, "summary")
    day.tell("document.getElementById('chart').focus()")
    day.press("ArrowDown")
    day.press("ArrowRight")
    assert ("fetch-mail@2101", "timeout after 60 s") == (facts(day)["run"], facts(day)["reason"])
    day.press("/")
    assert "job" == day.tell("document.activeElement.id")


def test_a_wait_and_its_holder(day: Browser) -> None:
    """What a run waited for and who held it is told; h leads there."""
    choose(day, "job", "dump")
    day.tell("document.getElementById('chart').focus()")
    for key in ("Home", "ArrowRight", "ArrowRight"):
        day.press(key)
    told = facts(day)
    assert ("dump-orders@702", "1 h 35 min", "database", "backup@61") == tuple(
        told[name] for name in ("run", "waited", "waited for", "held by")
    )
    choose(day, "job", "")
    day.press("h")
    assert "backup@61" == facts(day)["run"]


def test_a_holder_that_is_not_shown(chromium: Browser, tmp_path: Path) -> None:
    """It is told, and no other run of that number is taken for it."""
    backup, dump = (next(it for it in a_day() if it["run"] == run) for run in ("backup@61", "dump-orders@702"))
    other: Any = {**dump, "held_by": "backup@62"}
    opened(chromium, tmp_path / "held.html", collected([backup, other, {**dump, "job": "c", "number": 62}]))
    choose(chromium, "job", "dump")
    chromium.tell("document.getElementById('chart').focus()")
    chromium.press("ArrowDown")
    chromium.press("h")
    assert ("dump-orders@702", "backup@62") == (facts(chromium)["run"], facts(chromium)["held by"])


def test_an_older_browser(chromium: Browser, tmp_path: Path) -> None:
    """Without Uint8Array.fromBase64, which is of 2025, the page is drawn as well."""
    script = chromium.call("Page.addScriptToEvaluateOnNewDocument", source="delete Uint8Array.fromBase64")
    opened(chromium, tmp_path / "day.html", collected(a_day()))
    chromium.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script["identifier"])
    assert chromium.tell("Uint8Array.fromBase64 === undefined")
    assert "422 of 422 runs, 8 of 8 jobs" == text(chromium, "summary")


def test_the_mouse(day: Browser) -> None:
    """The run below it is told beside it, many that share a place are counted, and a click selects."""
    place = box(day)
    wide = place["width"] - 220
    hour = wide / (23.92 * 1.04)
    day.mouse("mouseMoved", place["x"] + 220 + hour * 3.2, place["y"] + 34 + 12)
    assert ("backup@61", {}) == (facts(day, "tip")["run"], facts(day))
    day.mouse("mousePressed", place["x"] + 220 + hour * 3.2, place["y"] + 34 + 12)
    day.mouse("mouseReleased", place["x"] + 220 + hour * 3.2, place["y"] + 34 + 12)
    assert "26 Nov 2026, 02:00:00 CET" == facts(day)["due"]
    day.look(420, 760)
    choose(day, "job", "fetch")
    place = box(day)
    day.mouse("mouseMoved", place["x"] + place["width"] / 2, place["y"] + 34 + 12)
    assert re.match(r"[3-6] runs here, \d of them ended badly", text(day, "tip"))


def test_lanes_and_pauses(chromium: Browser, tmp_path: Path) -> None:
    """Runs of a job that are live at once are one below the other; between attempts nothing runs."""
    one = next(record for record in a_day() if record["run"] == "backup@61")
    times = [{"started": f"2026-11-26T0{hour}:00:00Z", "ended": f"2026-11-26T0{hour}:20:00Z"} for hour in (1, 2)]
    retried: Any = {**one, "job": "retried", "attempts": times, **times[0], "ended": times[1]["ended"]}
    opened(chromium, tmp_path / "two.html", collected([one, {**one, "number": 62}, retried]))
    place = box(chromium)
    for line, run in ((7, "backup@61"), (18, "backup@62")):
        chromium.mouse("mouseMoved", place["x"] + 600, place["y"] + 34 + line)
        assert run == facts(chromium, "tip")["run"]
    shown = """(() => {
        const pen = document.getElementById("chart").getContext("2d"), found = [];
        for (let x = 230; x < pen.canvas.width; x++) found.push([...pen.getImageData(x, 66, 1, 1).data].join());
        return found.filter((colour, at) => colour !== found[at - 1]);
    })()"""
    ground, bar = "243,245,248,255", "26,127,55,255"
    colours = [colour for colour in chromium.tell(shown) if colour in (ground, bar)]
    assert [ground, bar, ground, bar, ground] == [
        it for at, it in enumerate(colours) if not at or it != colours[at - 1]
    ]


def test_attempts_of_milliseconds(chromium: Browser, tmp_path: Path) -> None:
    """Each attempt of a run is seen at any zoom, and the wait between two is none: it has the strokes of waits, and
    the letter beside it; the legend has what both look like.
    """
    one = next(record for record in a_day() if record["run"] == "dump-orders@714")
    times = [
        {"started": f"2026-11-26T{hour}:00:00.000Z", "ended": f"2026-11-26T{hour}:00:00.003Z"}
        for hour in ("03", "04", "07")
    ]
    tries: Any = {**one, "due": times[0]["started"], "queued": times[0]["started"], "attempts": times, **times[0]}
    others: Any = [{**it, "number": it["number"] + 9000} for it in a_day() if it["job"] == "rotate-logs"]
    opened(chromium, tmp_path / "tries.html", collected([{**tries, "ended": times[-1]["ended"]}, *others]))
    seen = """(name => {
        const colour = getComputedStyle(document.documentElement).getPropertyValue(name).match(/[0-9a-f]{2}/g);
        const pen = document.getElementById("chart").getContext("2d"), found = [];
        for (let x = 225; x < pen.canvas.width; x++) {
            const { data } = pen.getImageData(x, 34, 1, 24);
            const isIt = y => colour.every((it, nth) => data[4 * y + nth] === parseInt(it, 16));
            found.push([x, [...Array(24).keys()].filter(isIt).length]);
        }
        return found;
    })"""
    chromium.tell("document.getElementById('chart').focus()")
    for key in ("Escape", "ArrowDown", "+", "+"):
        chromium.press(key)
        chromium.tell("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        bars = [x for x, tall in chromium.tell(f"{seen}('--bad')") if tall >= 16]
        assert 3 == sum(x - 1 not in bars for x in bars), (key, bars)
        assert len(bars) <= 3 * 3
        assert len([x for x, tall in chromium.tell(f"{seen}('--wait')") if tall == 6]) > 20
    assert ["strokes", "ticks"] == chromium.tell(
        "[...document.querySelectorAll('#legend .mark')].map(it => it.classList[1])"
    )


def test_failed_attempts_of_a_run_that_succeeded(chromium: Browser, tmp_path: Path) -> None:
    """They have the colour of failures and the letter of their own state, the last one those of success; where the run
    is less than two pixels wide, its failed attempt is seen, too.
    """
    one = next(record for record in a_day() if record["run"] == "backup@61")
    times = [("01", "failed"), ("03", "timed_out"), ("05", "succeeded")]
    tries = [
        {"started": f"2026-11-26T{hour}:00:00Z", "ended": f"2026-11-26T{hour}:40:00Z", "state": state}
        for hour, state in times
    ]
    retried: Any = {**one, "state": "succeeded", "attempts": tries, "ended": tries[-1]["ended"]}
    retried |= dict.fromkeys(("due", "queued", "started"), tries[0]["started"])
    brief: Any = {**one, "job": "brief", "state": "succeeded", "due": "2026-11-26T02:00:00Z"}
    brief |= {"queued": brief["due"], "started": brief["due"], "ended": "2026-11-26T02:00:00.009Z"}
    brief["attempts"] = [
        {"started": brief["due"], "ended": "2026-11-26T02:00:00.003Z", "state": "failed"},
        {"started": "2026-11-26T02:00:00.003Z", "ended": brief["ended"], "state": "succeeded"},
    ]
    opened(chromium, tmp_path / "tries.html", collected([retried, brief]))
    colours = """((row, names) => {
        const style = getComputedStyle(document.documentElement), found = [];
        const pen = document.getElementById("chart").getContext("2d");
        const known = names.map(name => style.getPropertyValue(name).match(/[0-9a-f]{2}/g).map(it => parseInt(it, 16)));
        for (let x = 225; x < pen.canvas.width; x++) {
            const { data } = pen.getImageData(x, 34 + 24 * row + 17, 1, 1);
            found.push(known.findIndex(colour => colour.every((it, nth) => data[nth] === it)));
        }
        return found.filter((it, at) => it >= 0 && it !== found[at - 1]).map(it => names[it]);
    })"""
    rows = chromium.tell("[...new Set(Array.from(document.querySelectorAll('tbody tr td'), it => it.textContent))]")
    by_row = [chromium.tell(f"{colours}({row}, ['--bad', '--good'])") for row in range(2)]
    assert [["--bad"], ["--bad", "--bad", "--good"]] == sorted(by_row, key=len), (by_row, rows[:4])


@pytest.mark.parametrize("state", ["retrying", "waiting"])
def test_a_run_that_waits_for_a_retry(chromium: Browser, tmp_path: Path, state: str) -> None:
    """It has strokes from the end of its attempt to now, also where that end is out of view."""
    one = next(record for record in a_day() if record["run"] == "dump-orders@714")
    times = {"started": "2026-11-26T12:00:00.000Z", "ended": "2026-11-26T12:00:00.003Z"}
    waits: Any = {**one, "state": state, "due": times["started"], "queued": times["started"], **times}
    opened(chromium, tmp_path / "retry.html", collected([{**waits, "attempts": [times]}]))
    at_bottom = """(() => {
        const colour = getComputedStyle(document.documentElement).getPropertyValue("--wait").match(/[0-9a-f]{2}/g);
        const { data } = document.getElementById("chart").getContext("2d").getImageData(225, 53, 860, 1), found = [];
        const isIt = x => colour.every((it, nth) => data[4 * x + nth] === parseInt(it, 16));
        for (let x = 0; x < 860; x++) if (isIt(x)) found.push(x);
        return found;
    })()"""
    strokes = chromium.tell(at_bottom)
    assert strokes[-1] - strokes[0] > 780
    for _ in range(3):
        chromium.tell("document.querySelector('[data-do=later]').click()")
        chromium.tell("document.querySelector('[data-do=in]').click()")
    chromium.tell("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert chromium.tell(at_bottom)[0] < 5  # from the left of the view on


def test_what_spread_puts_off_is_no_wait(chromium: Browser, tmp_path: Path) -> None:
    """A wait begins when the run was queued: its strokes do, and its length is told from there."""
    one = next(record for record in a_day() if record["run"] == "backup@61")
    late: Any = {**one, "due": "2026-11-26T00:00:00Z", "started": "2026-11-26T01:00:00Z"}
    runs = [
        {**late, "number": nth, "queued": f"2026-11-26T0{queued}:00Z"}
        for nth, queued in ((1, "1:00"), (2, "0:45"), (3, "0:00"))
    ]
    strokes = """(() => {
        const colour = getComputedStyle(document.documentElement).getPropertyValue("--wait").match(/[0-9a-f]{2}/g);
        const { data } = document.getElementById("chart").getContext("2d").getImageData(230, 53, 850, 1);
        let found = 0;
        for (let at = 0; at < data.length; at += 4) {
            found += colour.every((part, nth) => data[at + nth] === parseInt(part, 16));
        }
        return found;
    })()"""
    drawn_as_waits = []
    for run, waited in zip(runs, (None, "15 min", "1 h"), strict=True):
        opened(chromium, tmp_path / "one.html", collected([run]))
        chromium.tell("document.getElementById('chart').focus()")
        chromium.press("ArrowDown")
        assert waited == facts(chromium).get("waited")
        drawn_as_waits.append(chromium.tell(strokes))
    assert 0 == drawn_as_waits[0] < drawn_as_waits[1] < drawn_as_waits[2] / 3


def test_the_table(day: Browser) -> None:
    """The runs in view are there as a table, too, as many as can be read."""
    day.tell("document.getElementById('listing').open = true")
    choose(day, "job", "build")
    day.until("document.querySelectorAll('#rows tr').length === 4")
    rows = day.tell(
        "[...document.querySelectorAll('#rows tr')].map(row => [...row.children].map(cell => cell.innerText))"
    )
    assert ["build-site@40", "build-site@41", "build-site@42", "build-site@43"] == [row[0] for row in rows]
    assert ["killed", "stopped by alice"] == [rows[1][1], rows[1][-1]]
    choose(day, "job", "")
    day.until("document.getElementById('listed').innerText.includes('The first 200 of 422 runs')")


def test_utc(day: Browser) -> None:
    """Times are those of the browser's zone, or UTC."""
    day.tell("document.getElementById('chart').focus()")
    day.press("ArrowDown")
    assert "26 Nov 2026, 02:00:00 CET" == facts(day)["due"]
    day.tell("document.getElementById('utc').click()")
    assert "26 Nov 2026, 01:00:00 UTC" == facts(day)["due"]


def test_what_users_write_is_text(chromium: Browser, tmp_path: Path) -> None:
    """Names, tags, reasons and commands that would be markup are shown as they are, and carried out by nobody."""
    one = a_day()[0]
    hostile: Any = {
        **one,
        "job": HOSTILE,
        "tags": [HOSTILE],
        "reason": HOSTILE,
        "command": HOSTILE,
        "waited_for": [HOSTILE],
    }
    opened(chromium, tmp_path / "hostile.html", collected([hostile]))
    chromium.tell("document.getElementById('chart').focus()")
    chromium.press("ArrowDown")
    told = facts(chromium)
    assert (f"{HOSTILE}@{one['number']}", HOSTILE, HOSTILE) == (told["run"], told["tags"], told["command"])
    assert (None, 0) == (chromium.tell("window.caught"), chromium.tell("document.images.length"))
    refused = chromium.tell(
        "(() => { try { document.body.innerHTML = '<b>'; return false; } catch { return true; } })()"
    )
    assert refused  # by the policy: no text becomes markup, by whatever mistake


def test_no_runs(chromium: Browser, tmp_path: Path) -> None:
    """A page of none says so."""
    write(tmp_path / "none.html", Runs())
    chromium.open((tmp_path / "none.html").as_uri())
    chromium.until("document.getElementById('summary').innerText === 'There are no such runs.'")


def a_month() -> Runs:
    """A million runs of a thousand jobs, as columns: there is no time to make the records."""
    runs, each = Runs(), MILLION // 1000
    for job in range(1000):
        first = int(NOW.timestamp() * 1000) - DAYS * 86_400_000
        dues = [first + nth * (DAYS * 86_400_000 // each) + job * 61 for nth in range(each)]
        chance = [(nth * 7919 + job * 104_729) % 10_007 for nth in range(each)]
        columns = {
            **dict.fromkeys(ChartRun._fields, [0] * each), "number": range(1, each + 1), "due": dues, "queued": dues,
            "started": [due + it % 97 for due, it in zip(dues, chance, strict=True)],
            "ended": [due + 100 + it * (job % 40) for due, it in zip(dues, chance, strict=True)],
            "state": [6 if it % 40 else 7 for it in chance], "cpu": [it * 3 for it in chance],
            "memory": [4096 + it for it in chance],
        }  # fmt: skip
        runs.of[f"job-{job:03}"] = [array("q", column) for column in columns.values()]
    return runs


YARDSTICK = """(() => {
    const begin = performance.now(), numbers = new Uint32Array(1 << 20);
    for (let round = 0; round < 16; round++) {
        for (let at = 0; at < numbers.length; at++) numbers[at] += numbers[(at * 7919) & 0xfffff] + at;
    }
    return performance.now() - begin;
})()"""


def test_a_million_runs(chromium: Browser, tmp_path: Path) -> None:
    """A month of 1,000 jobs is seen in 2 s where the yardstick takes what it took when the bound was set."""
    file = tmp_path / "month.html"
    write(file, a_month())
    took, yardstick = [], []
    for _ in range(4):
        chromium.open(file.as_uri())
        took.append(drawn(chromium))
        assert "1,000,000 of 1,000,000 runs, 1,000 of 1,000 jobs" == text(chromium, "summary")
        yardstick.append(chromium.tell(YARDSTICK))
    print(f"{MILLION:,} runs are seen after {min(took):.0f} ms; the yardstick takes {min(yardstick):.1f} ms")
    assert min(took) / min(yardstick) < SLOWEST


def test_pictures(chromium: Browser, tmp_path: Path) -> None:
    """What docs/timeline.md shows, a day in light and its night in dark."""
    for name, keys in (("light", []), ("dark", ["Enter"])):
        opened(chromium, tmp_path / "day.html", collected(a_day()), dark=name == "dark", width=960, height=640)
        chromium.tell("document.getElementById('chart').focus()")
        choose(chromium, "job", "dump")
        for key in ("Home", "ArrowRight", "ArrowRight", *keys):
            chromium.press(key)
        choose(chromium, "job", "")
        chromium.tell("document.activeElement.blur()")
        chromium.tell("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        check_picture(chromium, f"timeline/{name}")
