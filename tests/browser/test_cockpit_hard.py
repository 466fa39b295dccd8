"""The page where things go wrong: a daemon that hangs or says nothing, hands that slip, texts that mislead."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

from tests.support.chromium import Browser
from tests.support.client import PROGRAM, environment
from tests.support.cockpit import body, cockpit, opened, press, shows
from tests.support.host import Host, wait_for

FILE = """\
jobs:
  paused: {command: 'true', schedule: '0 2 * * *', description: "a \\u202Eb", tags: [x]}
  other: {command: 'true', locks: [tape]}
  again: {command: 'echo WHY; exit 3', retries: 1, retry_delay: 1h}
  wide: {command: 'yes 0123456789abcde | head -c 190000'}
  wider: {command: 'yes 0123456789abcde | head -c 720000'}
  red:
    command: |
      printf 'a\\033'; sleep 1
      printf '[31mb\\033]0;title\\007c\\033(Bd\\r'; sleep 1
      printf '\\ne\\n'
  sleeps: {command: 'sleep 600', concurrency: 5}
  counts: {command: 'for i in $(seq 6000); do echo "line $i"; sleep 0.1; done'}
  alarm: {command: 'sleep 0.1; exit 3', notify: {webhook: 'http://127.0.0.1:9/'}}
"""
LIES = ("There are no", "Nothing", "idle", "Everybody", "has written")
"""What only the daemon can know."""


def test_a_wait_that_no_event_tells(chromium: Browser, address: str, host: Host) -> None:
    """A run that begins to wait says nothing, and is shown all the same, with what it waits for."""
    end = host.root / "go"
    waits = ["with-lock", "tape", "--", "sh", "-c", f"until [ -e {end} ]; do sleep 0.1; done"]
    holder = subprocess.Popen([*PROGRAM, "--root", str(host.root), *waits], env=environment())
    wait_for(lambda: any(it["held"] for it in host.call("Locks", lock="tape")["claims"]), why="that it has the lock")
    try:
        opened(chromium, address, "runs")
        shows(chromium, "Nothing waits.")
        chromium.until("performance.now() > 4000")  # it has asked for what it was told so far
        waiting = host.run("other")
        shows(chromium, waiting)
        shows(chromium, "tape: :with-lock@")
    finally:
        end.touch()
        holder.wait()
    host.wait(waiting)


def test_a_daemon_that_hangs(chromium: Browser, address: str, host: Host) -> None:
    """That it does not answer is said, and what was known is seen to be old, until it goes on."""
    opened(chromium, address, "jobs")
    pid = host.call("Status")["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        shows(chromium, "jobqueued does not answer; trying again.")
        assert chromium.tell("document.body.classList.contains('old')")
    finally:
        os.kill(pid, signal.SIGCONT)
    chromium.until("!document.body.classList.contains('old')")


def test_a_double_click(chromium: Browser, address: str, host: Host) -> None:
    """Its second click answers no question, and does nothing a second time."""
    before = len(host.call("History", job="other")["runs"])
    opened(chromium, address, "job/other")
    for text in ("Hold", "Run now"):
        press(chromium, text)
        chromium.tell("""document.activeElement.dispatchEvent(new MouseEvent("click", { detail: 2, bubbles: true }))""")
    shows(chromium, "is due.")
    assert host.call("Status")["held_by"] is None
    assert 1 == len(host.call("History", job="other")["runs"]) - before


def test_output_is_whole(chromium: Browser, address: str, host: Host) -> None:
    """As much as is promised is shown; of what is left out the amount is told; a run to be retried has its own."""
    wide, wider = host.run("wide"), host.run("wider")
    host.wait(wide)
    host.wait(wider)
    opened(chromium, address, f"run/{wide}")
    chromium.until("document.querySelector('.output').textContent.length === 190000")
    assert "are not shown" not in body(chromium)
    opened(chromium, address, f"run/{wider}")
    shows(chromium, "508 KiB of it are not shown")
    again = host.run("again")
    opened(chromium, address, f"run/{again}")
    shows(chromium, "retrying")
    shows(chromium, "WHY")
    red = host.run("red")
    opened(chromium, address, f"run/{red}")
    chromium.until("document.querySelector('.output').textContent === 'abcd\\ne\\n'")


def test_the_focus_stays(chromium: Browser, address: str, host: Host) -> None:
    """A button that is replaced hands it to the one in its place; a row above that goes takes none."""
    opened(chromium, address, "job/paused")
    for pressed, follows in (("Pause", "Resume"), ("Resume", "Pause")):
        press(chromium, pressed, "main")
        chromium.until(f"document.activeElement.textContent === {json.dumps(follows)}")
    first, last = host.run("sleeps"), host.run("sleeps")
    opened(chromium, address, "runs")
    chromium.until("document.querySelectorAll('tbody tr').length >= 2")
    rows = "[...document.querySelectorAll('section:first-of-type tbody th a')]"
    chromium.until(f"{rows}.length === 2")
    chromium.tell(f"{rows}[1].focus()")
    seen = chromium.tell("document.activeElement.textContent")
    host.call("Stop", run=first if seen == last else last)
    chromium.until(f"{rows}.length === 1")
    assert seen == chromium.tell("document.activeElement.textContent")
    host.call("Stop", run=seen)


def test_what_is_wrong_for_longer(chromium: Browser, address: str, host: Host) -> None:
    """A job that fails, with its first run, and the notice that nobody takes; its run is a bar in the timeline."""
    failed = host.wait(host.run("alarm"))["run"]
    opened(chromium, address, "incidents")
    chromium.until("document.querySelectorAll('#view tbody tr').length === 2")
    shows(chromium, failed)
    shows(chromium, "webhook")
    opened(chromium, address, "timeline")
    bar = f"document.querySelector('svg a[aria-label^=\"{failed}: \"] rect')"
    chromium.until(f"{bar} !== null")
    assert "failed" == chromium.tell(f"{bar}.getAttribute('class')")


def test_addresses(chromium: Browser, address: str) -> None:
    """One that means nothing is that of all jobs."""
    for view in ("constructor", "__proto__", "job", "run", "nonsense/x"):
        opened(chromium, address, view)
        shows(chromium, "Look for")
        assert "page" == chromium.tell("document.querySelector('nav a').getAttribute('aria-current')")
        assert "older than this page" not in body(chromium)
    assert [] == chromium.said


def test_what_it_says_of_a_job(chromium: Browser, address: str, host: Host) -> None:
    """A paused one has no next start, and why; one that is gone has nothing left; no text turns its direction."""
    host.call("Pause", job="paused")
    opened(chromium, address, "job/paused")
    shows(chromium, "None while it is paused.")
    shows(chromium, "a \ufffdb")
    assert not chromium.tell("/[\\u202a-\\u202e]/.test(document.body.textContent)")
    host.call("Resume", job="paused")
    press(chromium, "Skip next")
    chromium.until(r"/The start at (.* )?0?2:00:00 AM UTC is skipped\./.test(document.body.innerText)")
    host.write("a.yaml", FILE.replace("  paused:", "  renamed:"))
    host.call("Reload")
    shows(chromium, "There is no longer a job paused.")
    chromium.until("document.querySelector('.actions').hidden && !document.querySelector('dl').children.length")
    host.write("a.yaml", FILE)
    host.call("Reload")


def test_a_daemon_that_is_not_there_yet(chromium: Browser, packages: Path, host: Host) -> None:
    """It says so, and nothing of jobs or runs, whether its socket is dead or missing; it goes on once there is one."""
    for is_missing in (False, True):
        host.stop()
        if is_missing:
            (host.root / "run/control").unlink()
        with cockpit(packages) as own:
            for view in ("jobs", "runs", "timeline", "incidents", "job/other", "run/other@1"):
                chromium.open("about:blank")
                chromium.open(f"{own}#/{view}")
                shows(chromium, "jobqueued does not run on this host. To start it: systemctl start jobqueued")
                assert not any(text in body(chromium) for text in LIES)
                assert chromium.tell("document.body.classList.contains('old')")
            chromium.tell("location.hash = '#/jobs'")
            host.start()
            shows(chromium, "Next start")
            chromium.until("!document.body.classList.contains('old')")


def test_output_over_a_restart(chromium: Browser, address: str, host: Host) -> None:
    """It is followed on, with nothing twice, by the page that was open before."""
    run = host.run("counts")
    opened(chromium, address, f"run/{run}")
    shows(chromium, "line 3\n")
    host.kill()
    shows(chromium, "jobqueued does not run on this host")
    host.start()
    seen = chromium.tell("document.querySelector('.output').textContent.length")
    chromium.until(f"document.querySelector('.output').textContent.length > {seen}")
    lines = chromium.tell("document.querySelector('.output').textContent").splitlines()
    assert lines == [f"line {number}" for number in range(1, len(lines) + 1)]
    host.call("Stop", run=run)
    shows(chromium, "killed")


def test_cockpit_is_gone(chromium: Browser, packages: Path) -> None:
    """Of its web server, as of the daemon, it is said that it is away, and what to do; what was known is old."""
    with cockpit(packages) as own:
        opened(chromium, own, "jobs")
    shows(chromium, "The connection to Cockpit is lost: load this page again.")
    asked = "import(new URL('host.js', location)).then(({ client }) => client.call('Status'))"
    assert "timeout" == chromium.tell(f"{asked}.catch(error => error.message)")  # so has what the page has asked since
    shows(chromium, "The connection to Cockpit is lost: load this page again.")
    assert chromium.tell("document.body.classList.contains('old')")


def test_by_keys_alone(chromium: Browser, address: str, host: Host) -> None:
    """A job is found, opened, run, and its run opened; what became of it is told where a screen reader listens, and the
    focus is where one goes on.
    """
    opened(chromium, address, "jobs")
    place = "document.activeElement"

    def tab_to(what: str) -> None:
        for _ in range(60):
            chromium.press("Tab")
            if chromium.tell(f"{place}.matches({json.dumps(what)})"):
                assert chromium.tell(f"{place}.matches(':focus-visible')")
                assert chromium.tell(f"getComputedStyle({place}).outlineStyle") == "solid"
                return
        raise AssertionError(f"no way to {what}")

    tab_to("#text")
    chromium.call("Input.insertText", text="paused")
    tab_to("tbody th a")
    assert "paused" == chromium.tell(f"{place}.textContent")
    chromium.press("Enter")
    chromium.until("document.querySelector('h1').textContent === 'paused'")
    assert "view" == chromium.tell(f"{place}.id")
    chromium.until("document.querySelectorAll('main .actions button:not([hidden])').length")
    tab_to("main .actions button")
    assert "Run now" == chromium.tell(f"{place}.textContent")
    chromium.press("Enter")
    chromium.until("document.getElementById('done').textContent.endsWith(' is due.')")
    assert ("Run now", "status") == (
        chromium.tell(f"{place}.textContent"), chromium.tell("document.getElementById('done').getAttribute('role')"),
    )  # fmt: skip
    run = chromium.tell("document.getElementById('done').textContent").split()[0]
    host.wait(run)
    chromium.until(f"document.querySelector('tbody th a')?.textContent === {json.dumps(run)}")
    tab_to("tbody th a")
    chromium.press("Enter")
    chromium.until(f"document.querySelector('h1').textContent === {json.dumps(run)}")
    tab_to("main .actions button")
    assert "Run again" == chromium.tell(f"{place}.textContent")


def test_a_far_host(chromium: Browser, address: str) -> None:
    """The first paint comes after three ways to it and back: for the page, for what it asks for, for the rest of that.

    A browser asks for six files of a server at once.
    """
    way = 1000
    chromium.open("about:blank")
    network = {"offline": False, "downloadThroughput": -1, "uploadThroughput": -1}
    chromium.call("Network.emulateNetworkConditions", latency=way, **network)
    try:
        chromium.open(f"{address}#/jobs")
        chromium.until("performance.getEntriesByName('first-contentful-paint').length")
        painted = chromium.tell("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    finally:
        chromium.call("Network.emulateNetworkConditions", latency=0, **network)
    assert 3 * way < painted < 4 * way


def test_news_come_at_once(chromium: Browser, address: str, host: Host) -> None:
    """After a while without any, what begins is seen sooner than the pause that the page makes between two answers."""
    opened(chromium, address, "jobs")
    chromium.tell("""import(new URL("host.js", location)).then(({ host }) => {
        const touch = host.touch.bind(host);
        host.touch = () => { window.told ??= performance.now(); touch(); };
    })""")
    row = "[...document.querySelectorAll('tbody tr')].find(it => it.innerText.startsWith('sleeps'))"
    chromium.until("performance.now() > 3000")
    chromium.tell("window.told = undefined")
    run = host.run("sleeps")
    chromium.until(f"{row}.cells[4].innerText === '1'")
    assert chromium.tell("performance.now() - told") < 900
    host.call("Stop", run=run)
