"""The page in Cockpit, in Chromium, beside a real daemon: what it shows, what one can do there, and for whom."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from jobqueued.model.job import JobStatus
from jobqueued.model.run_states import ATTENTION, RunState
from tests.support.answers import JOB, STATUS
from tests.support.axe import violations
from tests.support.chromium import Browser
from tests.support.client import run
from tests.support.cockpit import PAGE, body, cockpit, install, old_daemon, opened, press, shows
from tests.support.host import Host

HOSTILE = '<img src=x onerror=\\"window.caught=1\\">'
FILE = f"""\
jobs:
  backup: {{command: 'true', schedule: '0 2 * * *', description: "{HOSTILE}", tags: [nightly]}}
  fails: {{command: 'echo "<b>no</b>"; printf "\\\\033[31mred\\\\033[0m \\\\007\\\\n"; exit 3'}}
  long: {{command: 'echo begun; sleep 600', locks: [tape]}}
  other: {{command: 'true', locks: [tape]}}
  endless: {{command: 'while yes 0123456789 | head -c 500000; do sleep 0.3; done', output: file, timeout: 5m}}
  loud: {{command: 'yes 0123456789 | head -c 1000000; echo over'}}
"""
BUDGET = 75_000
"""So many bytes the page may have, uncompressed."""
VIEWS = ("jobs", "runs", "timeline", "incidents", "job/backup", "run/fails@1")


@pytest.fixture(scope="module", autouse=True)
def history(host: Host) -> None:
    """Some history."""
    for job in ("backup", "fails"):
        host.wait(host.run(job))


def test_jobs(chromium: Browser, address: str) -> None:
    """All jobs are there, and what others wrote is text; nothing but the page itself is asked for."""
    opened(chromium, address, "jobs")
    shows(chromium, "fails")
    shows(chromium, '<img src=x onerror="window.caught=1">')
    assert chromium.tell("window.caught === undefined")
    assert "Fleet" not in body(chromium)
    assert {"127.0.0.1"} == {url.split("/")[2].split(":")[0] for url in chromium.requested if url.startswith("http")}
    chromium.tell(
        "const box = document.getElementById('text'); box.value = 'NIGHTLY'; box.dispatchEvent(new Event('input'))"
    )
    assert ["backup"] == chromium.tell(
        "[...document.querySelectorAll('section:last-of-type tbody th a')].map(it => it.innerText)"
    )
    assert [] == chromium.said


def test_what_can_be_done(chromium: Browser, address: str, host: Host) -> None:
    """A job is run, paused and resumed, its next start skipped; a run is stopped, if one is sure; the host is held."""
    opened(chromium, address, "job/backup")
    press(chromium, "Run now")
    shows(chromium, "backup@2 is due.")
    chromium.until("document.querySelectorAll('tbody tr').length === 2")
    press(chromium, "Pause")
    press(chromium, "Resume")
    shows(chromium, "backup is resumed.")
    press(chromium, "Skip next")
    shows(chromium, "is skipped.")
    assert 1 == len(host.call("Describe", job="backup")["job"]["skips"])
    long = host.run("long")
    opened(chromium, address, "runs")
    shows(chromium, long)
    for second in range(3):  # what is shown goes on, and what was pressed stays pressed
        seen = chromium.tell("document.querySelector('tbody td:nth-of-type(2)').textContent")
        chromium.until(f"document.querySelector('tbody td:nth-of-type(2)').textContent !== {json.dumps(seen)}")
        if second == 0:
            press(chromium, "Stop", "main")
    press(chromium, f"Stop {long}?", "main")
    shows(chromium, f"{long} is stopping.")
    assert "killed" == host.wait(long)["state"]
    shows(chromium, "Nothing runs.")
    press(chromium, "Hold")
    press(chromium, "Start nothing new?")
    shows(chromium, "on hold by root")
    press(chromium, "Release")
    shows(chromium, "Runs start again.")
    assert host.call("Status")["held_by"] is None


def test_a_run_that_waits(chromium: Browser, address: str, host: Host) -> None:
    """What keeps it, the output of the one before it as it comes, and what has become of both."""
    long, other = host.run("long"), host.run("other")
    opened(chromium, address, "runs")
    shows(chromium, f"tape: {long} has it")
    opened(chromium, address, f"run/{other}")
    shows(chromium, "tape")
    shows(chromium, "waiting")
    opened(chromium, address, f"run/{long}")
    shows(chromium, "begun")
    host.call("Stop", run=long)
    shows(chromium, "killed")
    opened(chromium, address, f"run/{other}")
    shows(chromium, "succeeded")


def test_output(chromium: Browser, address: str, host: Host) -> None:
    """Escapes and markup do nothing; of much only the end is shown, and it is said; a run that is unknown is said."""
    opened(chromium, address, "run/fails@1")
    shows(chromium, "<b>no</b>\nred ␇")
    shows(chromium, "exit code 3")
    loud = host.run("loud")
    host.wait(loud)
    opened(chromium, address, f"run/{loud}")
    shows(chromium, "over")
    shows(chromium, f"all of it: jobqueuectl logs {loud}")
    assert chromium.tell("document.querySelector('.output').textContent.length") <= 200_000
    done = run("--root", host.root, "submit", "--wait", "--", "echo", "handed in")
    assert 0 == done.returncode, done.stderr
    opened(chromium, address, "run/host%2F1%401")
    shows(chromium, "handed in")
    assert chromium.tell("[...document.querySelectorAll('dd a')].map(it => it.hash)") == ["#/job/host%2F1"]
    opened(chromium, address, "run/fails@99")
    shows(chromium, "There is no run fails@99, or its record has expired.")
    opened(chromium, address, "job/gone")
    shows(chromium, "There is no longer a job gone.")
    assert [] == chromium.said


def test_output_without_an_end(chromium: Browser, address: str, host: Host) -> None:
    """Of one that writes faster than it is shown the newest is seen, the page has bounds, and goes on to obey."""
    endless = host.run("endless")
    opened(chromium, address, f"run/{endless}")
    shows(chromium, "all of it: jobqueuectl logs")
    for _ in range(3):
        seen = chromium.tell("document.querySelector('#view p.quiet').textContent")
        chromium.until(f"document.querySelector('#view p.quiet').textContent !== {json.dumps(seen)}")
        assert chromium.tell("document.querySelector('.output').textContent.length") <= 200_000
    press(chromium, "Stop", "main")
    press(chromium, f"Stop {endless}?", "main")
    shows(chromium, "killed")
    assert [] == chromium.said


def test_an_older_daemon(chromium: Browser, place: Path) -> None:
    """It has no such methods: that is said, and what it knows is shown all the same."""
    root = place / "older"
    (root / "run").mkdir(parents=True)
    install(place / "data-older", root)
    status = {**STATUS, "version": "0.0.1"}
    answers = {"Status": status, "List": {"jobs": [], "held_by": None}}
    control = root / "run" / "control"
    with old_daemon(control, answers), cockpit(place / "data-older") as own:
        for view in ("jobs", "runs", "incidents", "job/backup"):
            opened(chromium, own, view)
            shows(chromium, "The daemon is older than this page: restart jobqueued.service.")
            shows(chromium, "jobqueued 0.0.1")
        opened(chromium, own, "jobs")
        answers["Watch"] = {"events": [], "missed": 0}  # it has been updated
        chromium.until("!document.getElementById('banner').textContent")
        del status["attention"]  # and is now one that has not all that the page shows
        shows(chromium, "The daemon is older than this page: restart jobqueued.service.")
        opened(chromium, own, "jobs")
        shows(chromium, "jobqueued 0.0.1")


def test_an_outdated_job(chromium: Browser, place: Path) -> None:
    """It needs attention, is among those that do, and its reason is there."""
    root = place / "outdated"
    (root / "run").mkdir(parents=True)
    install(place / "data-outdated", root)
    well = {**JOB, "failing_since": None, "status": "Idle", "description": ""}
    reason, outdated = "its fleet has a newer one", {**well, "id": "report", "status": "Outdated"}
    one = {"kind": "outdated", "job": "report", "run": None, "since": None, "until": None, "reason": reason}
    status = {**STATUS, "attention": [one], "outdated": 1, "unwell": ["1 job is outdated"]}
    answers = {"Status": status, "List": {"jobs": [outdated, well], "held_by": None}}
    cells = "[...document.querySelectorAll('tbody tr > :nth-child(-n + 2)')].map(it => it.innerText)"
    with old_daemon(root / "run" / "control", answers), cockpit(place / "data-outdated") as own:
        opened(chromium, own, "jobs")
        shows(chromium, reason)
        assert ["outdated", "report", "report", "outdated", "nightly-backup", "idle"] == chromium.tell(cells)
        chromium.tell("which.value = 'needy'; which.dispatchEvent(new Event('change'))")
        assert ["outdated", "report", "report", "outdated"] == chromium.tell(cells)


def test_the_daemon_goes_and_comes(chromium: Browser, address: str, host: Host) -> None:
    """While it is away that is said, and what was known is seen to be old; once it is back the page goes on."""
    opened(chromium, address, "jobs")
    host.kill()
    shows(chromium, "jobqueued does not run on this host")
    assert chromium.tell("document.body.classList.contains('old')")
    assert "backup" in body(chromium)
    assert [] == violations(chromium)
    host.start()
    chromium.until("!document.body.classList.contains('old')")
    host.wait(host.run("fails"))
    shows(chromium, "failing")


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(("dark", "width"), [(False, 1100), (True, 1100), (False, 320)])
def test_nothing_is_in_the_way_of_anybody(chromium: Browser, address: str, view: str, dark: bool, width: int) -> None:
    """axe-core finds no violation, and nothing is wider than the window."""
    opened(chromium, address, view, dark=dark, width=width)
    assert dark == chromium.tell("document.documentElement.classList.contains('dark')")
    assert [] == violations(chromium)
    assert chromium.tell("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("view", VIEWS)
def test_what_a_screen_reader_is_told(chromium: Browser, address: str, host: Host, view: str) -> None:
    """The title is the view's, headings leave no level out, whatever can be pressed has a name, no two buttons have the
    same name and description, and columns and rows have headers.
    """
    live = [host.run(job) for job in ("long", "endless")]
    title = {"job/backup": "backup", "run/fails@1": "fails@1"}.get(view, view.capitalize())
    opened(chromium, address, view)
    if view == "runs":
        chromium.until("document.querySelectorAll('#view tbody button').length === 2")
    told = chromium.spoken()
    assert ("RootWebArea", title) == told[0][:2]
    levels = chromium.tell("[...document.querySelectorAll('h1, h2, h3')].map(it => Number(it.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    pressed = [it for it in told if it[0] in ("button", "link", "searchbox", "combobox")]
    assert [] == [it for it in pressed if not it[1]]
    buttons = [it for it in pressed if it[0] == "button"]
    assert len(buttons) == len(set(buttons))
    rows = sum(role == "row" for role, *_ in told)
    heads = sum(role in ("columnheader", "rowheader") for role, *_ in told)
    assert heads >= rows
    assert {"status", "alert", "main", "navigation"} <= {role for role, *_ in told}
    for name in live:
        host.call("Stop", run=name)
        host.wait(name)


def test_another_language(chromium: Browser, address: str) -> None:
    """The language of Cockpit is that of the page."""
    opened(chromium, address, "jobs")
    chromium.tell("document.cookie = 'CockpitLang=de; path=/'; localStorage.setItem('cockpit.lang', 'de')")
    opened(chromium, address, "jobs")
    shows(chromium, "Nächster Start")
    shows(chromium, "schlägt fehl")
    assert "de" == chromium.tell("document.documentElement.lang")
    chromium.tell("document.cookie = 'CockpitLang=; path=/; max-age=0'; localStorage.removeItem('cockpit.lang')")


@pytest.mark.usefixtures("address")
def test_a_stranger(chromium: Browser, place: Path) -> None:
    """Who may ask for little sees what the daemon tells everybody; what is refused is said."""
    with cockpit(place / "data", uid=65534) as own:
        opened(chromium, own, "jobs")
        shows(chromium, "backup")
        assert "onerror" not in body(chromium)
        opened(chromium, own, "job/backup")
        shows(chromium, "You may not do this, or see this.")
        for view in ("runs", "timeline"):
            opened(chromium, own, view)
            shows(chromium, "You see your own runs only")
        press(chromium, "Hold")
        press(chromium, "Start nothing new?")
        shows(chromium, "Turn on administrative access")


def test_ten_thousand_jobs(chromium: Browser, address: str, host: Host) -> None:
    """The first of many are listed, and what is looked for is found among all."""
    for first in range(0, 10_000, 1000):
        jobs = (f"  m-{number:04}: {{command: 'true'}}\n" for number in range(first, first + 1000))
        host.write(f"{first}.yaml", "jobs:\n" + "".join(jobs))
    host.call("Reload")
    opened(chromium, address, "jobs")
    shows(chromium, "The first 200 of 10006; narrow the search.")
    chromium.tell(
        "const box = document.getElementById('text'); box.value = 'm-9999'; box.dispatchEvent(new Event('input'))"
    )
    assert ["m-9999"] == chromium.tell(
        "[...document.querySelectorAll('section:last-of-type tbody th a')].map(it => it.innerText)"
    )
    host.wait(host.run("m-9999"))
    shows(chromium, "succeeded")


def test_it_is_small() -> None:
    """It has no dependency, and less than a picture."""
    assert sum(path.stat().st_size for path in PAGE.iterdir()) <= BUDGET
    assert "default-src 'self'" in json.loads((PAGE / "manifest.json").read_text())["content-security-policy"]


def test_each_text_has_a_translation() -> None:
    """So has each state of a job or a run, and whatever needs attention, but for one that has words of its own; and
    there is none of a text that the page has no more.
    """
    own = {text for path in PAGE.glob("*.js") for text in re.findall(r'\b_\("([^"]*)"\)', path.read_text())}
    states = {state.lower().replace("_", " ") for state in (*JobStatus, *RunState, *ATTENTION)} - {"oom killed"}
    translated = set(re.findall(r'^"([^"]+)": "[^"]+",$', (PAGE / "po.de.js").read_text(), re.MULTILINE))
    assert own | states == translated
