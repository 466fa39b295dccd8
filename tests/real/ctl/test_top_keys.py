"""`jobqueuectl top` on a terminal of 80 by 24, driven by its keys."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import REPO
from tests.support.client import PROGRAM
from tests.support.host import Host, wait_for
from tests.support.papers import blocks, lasting
from tests.support.terminal import Terminal
from tests.support.users import ME

JOBS = """
jobs:
  backup: {command: "echo first; printf '\\\\033[2J\\\\n'; read -r x <fifo; echo last; sleep 600",
    working_directory: HERE, locks: [database], tags: [db], kill_grace: 1s}
  report: {command: "sleep 600", locks: [database], tags: [db], max_waiting: 3}
  render: {command: "sleep 600 & sleep 600 & sleep 600 & wait"}
  bad: {command: "exit 3", notify: {command: /bin/true, on: failure}}
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host on which one waits for another."""
    found = Host(tmp_path / "host")
    found.write("a.yaml", JOBS.replace("HERE", str(tmp_path)))
    (found.root / "jobqueued.yaml").write_text(f"notifier: {ME.pw_name}\n")
    os.mkfifo(tmp_path / "fifo")
    found.start()
    for live, job in enumerate(("backup", "render"), 1):  # one has started before the other
        found.run(job)
        wait_for(lambda live=live: found.call("Status")["running"] == live)  # type: ignore[misc]
    for job in ("bad", "report"):
        found.run(job)
    yield found
    found.close()


@pytest.fixture
def top(host: Host, tmp_path: Path) -> Iterator[Terminal]:
    """`top`, which has seen it all."""
    found = Terminal(tmp_path, [*PROGRAM, "--root", str(host.root), "top"])
    found.sees("2 live, 1 wait", "report@1", "database: backup@1 has it", "not well: 1 job fails (bad)")
    yield found
    found.close()


def mark(top: Terminal, run: str) -> None:
    """Choose a run, and mark it."""
    top.press("Escape", "/", *run, "Enter")
    top.sees(f"only {run}")
    top.press("Down")
    top.sees(f"> {run}")


def shape(screen: str) -> tuple[set[str], list[str], list[str]]:
    """The columns, shown or not; the rows above them; and those of what lives by name, with all of what waits."""
    above, _, below = screen.partition("\n\n")
    head, _, hidden = above.partition("; not shown: ")
    lives, _, waits = below.partition("WAITING")
    columns = {*re.split(r"\s{2,}", lives.partition("\n")[0].strip()), *hidden.split(", ")}
    head = re.sub(r", pressure .*| [▁-█]+|\d+(?= tasks)", "", head)  # a kernel may have no PSI
    return columns, lasting(head), [*re.findall(r"^. \S+@\d+", lives, re.M), *lasting(waits)]


def test_the_screen(top: Terminal) -> None:
    """What lives is above what waits; a mark goes through both, and an order is chosen."""
    top.press("s")
    top.sees("by started")
    rows = ("  backup@1 ", "  render@1 ", "  WAITING ", "  report@1 ")

    def in_order() -> bool:
        places = [top.text.find(row) for row in rows]
        return -1 not in places and places == sorted(places)

    wait_for(in_order, why="what has started first is above")  # a screen may be seen half drawn
    for run in ("backup@1", "render@1", "report@1"):
        top.press("Down")
        top.sees(f"> {run}")
    top.press("Up")
    (page,) = blocks((REPO / "docs" / "top.md").read_text())
    wait_for(lambda: shape(page) == shape(top.text), why=page)
    top.capture("top.txt")
    top.press("?")
    top.sees("follow the output")
    top.press("q")
    top.sees("2 live")
    top.press("q")
    top.ends()


def test_orders(top: Terminal) -> None:
    """Each has its key, and those that live come in it."""
    for key, name in (("c", "cpu"), ("m", "memory"), ("i", "io"), ("s", "started"), ("t", "tasks")):
        top.press(key)
        top.sees(f"by {name}")
        top.sees("backup@1", "render@1")
        if name in ("started", "tasks"):
            first, second = ("backup@1", "render@1") if name == "started" else ("render@1", "backup@1")
            wait_for(lambda first=first, second=second: top.text.find(first) < top.text.find(second), why=name)  # type: ignore[misc]


def test_output_is_followed(top: Terminal, tmp_path: Path) -> None:
    """To its end, as it grows; nothing of it harms the terminal."""
    mark(top, "backup@1")
    top.press("Enter")
    top.sees("output of backup@1", "first", r"\x1b[2J")
    (tmp_path / "fifo").write_text("go on\n")
    top.sees("last", "3 of 3 lines")
    top.press("Escape")
    top.sees("1 live")


def test_why(top: Terminal) -> None:
    """As `why` says it."""
    mark(top, "report@1")
    top.press("w")
    top.sees("why report@1", "report@1: waiting", "backup@1")
    top.press("q")
    top.sees("> report@1")


def test_incidents(top: Terminal) -> None:
    """What goes on failing is counted above the list; a key lists it, with who was told."""
    top.sees("2 live, 1 wait, 1 incident")
    top.press("n")
    top.sees("incidents", "run bad: exit code 3 since ", "notified: command /bin/true", "q: back")
    top.press("q")
    top.sees("2 live")


def test_stop(host: Host, top: Terminal) -> None:
    """Only a yes stops it; who waited goes next."""
    mark(top, "backup@1")
    for key in ("n", "y"):
        top.press("x")
        top.sees("stop backup@1? (y/n)")
        assert host.call("Show", run="backup@1")["record"]["state"] == "running"
        top.press(key)
        wait_for(lambda: "(y/n)" not in top.text)
    assert host.wait("backup@1")["state"] == "killed"
    top.press("Escape")
    top.sees("report@1", "2 live, 0 wait")


def test_run_and_pause(host: Host, top: Terminal) -> None:
    """The job of the marked run; what was done is said."""
    mark(top, "render@1")
    top.press("r", "y")
    top.sees("render is queued: render@2")
    for key, words, paused in (("p", "render is paused", True), ("P", "render is resumed", False)):
        top.press(key, "y")
        top.sees(words)
        assert host.call("Describe", job="render")["job"]["paused"] is paused


def test_what_can_not_be_done_is_said(host: Host, top: Terminal) -> None:
    """Of a run that has ended meanwhile, of none, of a key that there is not, of a daemon that is gone."""
    top.press("x")
    top.sees("no run is marked")
    top.press("Z")
    top.sees("?: keys")
    mark(top, "report@1")
    top.press("x")
    top.sees("(y/n)")
    host.call("Stop", run="report@1")
    top.press("y")
    top.sees("refused: report@1 has already ended: skipped")
    mark(top, "render@1")
    host.kill()
    top.press("w")
    top.sees("cannot reach the daemon", "? wait", "not well: the daemon is not reachable", "measured here")


def test_a_filter_is_typed(top: Terminal) -> None:
    """It is seen as it is typed, corrected, and taken back by Escape."""
    top.press("/", *"tag:dbx")
    top.sees("filter: tag:dbx_")
    top.press("BSpace", "Enter")
    top.sees("only tag:db", "1 live, 1 wait")
    user = f"user:{ME.pw_name}"
    for words, counts in (
        ("state:running", "2 live, 0 wait"), ("state:waiting", "0 live, 1 wait"), ("state:late", "0 live, 0 wait"),
        (user, "2 live, 1 wait"), ("user:nobody-has-it", "0 live, 0 wait"),
        (f"{user} state:running tag:db", "1 live, 0 wait"),
    ):  # fmt: skip
        top.press("Escape", "/", *words, "Enter")
        top.sees(f"only {words}", counts)
    top.press("Escape")
    top.sees("2 live, 1 wait, 1 incident, by cpu; ?")


def test_a_small_terminal(top: Terminal) -> None:
    """The head is cut, and something lives in sight; a page too."""
    top.resize(40, 8)
    top.sees("backup@1", "render@1", "1 wait")
    top.press("?")
    top.sees("keys", "lines; q: back")
