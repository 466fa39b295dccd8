"""The page where things go wrong: a daemon that hangs or says nothing, hands that slip, texts that mislead."""

from __future__ import annotations

import json
import os
import signal
import subprocess

from tests.support.chromium import Browser
from tests.support.client import PROGRAM, environment
from tests.support.cockpit import body, opened, press, shows
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
  alarm: {command: 'sleep 0.1; exit 3', notify: {webhook: 'http://127.0.0.1:9/'}}
"""


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
    chromium.until(r"/The start at (.* )?0?2:00:00 AM is skipped\./.test(document.body.innerText)")
    host.write("a.yaml", FILE.replace("  paused:", "  renamed:"))
    host.call("Reload")
    shows(chromium, "There is no job paused any more.")
    chromium.until("document.querySelector('.actions').hidden && !document.querySelector('dl').children.length")
    host.write("a.yaml", FILE)
    host.call("Reload")
