"""The banners of the page in Cockpit: what is wrong has its name there, and a way to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jobqueued.control.views.problems import problem_texts
from jobqueued.model.run_states import ATTENTION, WELL
from tests.support.answers import JOB, PROBLEM, STATUS
from tests.support.axe import violations
from tests.support.chromium import Browser
from tests.support.cockpit import cockpit, install, old_daemon, opened, shows
from tests.support.host import Host
from tests.support.users import ME

FILE = """\
jobs:
  fails: {command: 'exit 3'}
  fine: {command: 'true'}
"""
BROKEN = "jobs:\n  broken: {command: 'true', schedule: '61 2 * * *'}\n"
KINDS = [kind for kind in ATTENTION if kind not in WELL]
BANNERS = "[...document.querySelectorAll('#banner p')].map(it => it.innerText)"


def follow(chromium: Browser, text: str) -> None:
    """Follow the link of this text in a banner."""
    find = f"[...document.querySelectorAll('#banner a')].find(it => it.innerText.endsWith({json.dumps(text)}))"
    chromium.until(find)
    chromium.tell(f"{find}.click()")


def test_they_name_what_is_wrong_and_lead_there(chromium: Browser, address: str, host: Host) -> None:
    """A job that fails is named with its reason, a file with the line and what is wrong in it; each is a link."""
    host.wait(host.run("fails"))
    host.write("b.yaml", BROKEN)
    host.call("Reload")
    opened(chromium, address, "runs")
    shows(chromium, "failing: fails (exit code 3)")
    shows(chromium, "b.yaml:2: minute: found `61`")
    assert 2 == len(chromium.tell(BANNERS))
    assert [] == violations(chromium)
    follow(chromium, "fails")
    chromium.until("document.querySelector('h1').textContent === 'fails'")
    follow(chromium, "b.yaml:2")
    shows(chromium, "Problems in files")
    cells = "[...document.querySelectorAll('#view tbody tr:first-child > *')].map(it => it.innerText)"
    chromium.until(f"{cells}.length")
    place, severity, job, message = chromium.tell(cells)
    assert ("error", "broken") == (severity, job)
    assert place.endswith("b.yaml:2")
    assert message.startswith("schedule: minute: found `61`")
    assert [] == violations(chromium)


def test_a_submission_that_failed(chromium: Browser, address: str, host: Host) -> None:
    """It has ended, so it is in no list of jobs; the banner leads to the run."""
    keys = {"command": "exit 4", "user": ME.pw_name, "working_directory": "/"}
    run = f"{host.call('Submit', submission={'keys': keys})['job']}@1"
    host.wait(run)
    opened(chromium, address, "jobs")
    shows(chromium, f"Submissions failed in the last 24 hours: {run}")
    follow(chromium, run)
    chromium.until(f"document.querySelector('h1').textContent === {json.dumps(run)}")


def test_the_focus_stays_in_a_banner(chromium: Browser, address: str, host: Host) -> None:
    """News about something else leave a banner as it is: a link keeps the focus, and nothing is read out again."""
    host.wait(host.run("fails"))
    opened(chromium, address, "jobs")
    chromium.until("document.querySelector('#banner a')")
    chromium.tell("document.querySelector('#banner a').focus()")
    host.wait(host.run("fine"))
    shows(chromium, "succeeded")
    assert "A" == chromium.tell("document.activeElement.tagName")


def test_each_thing_that_is_wrong_has_one(chromium: Browser, place: Path) -> None:
    """Whatever Status counts as not well has a banner of its own; of many jobs or files a few are named, and how many
    more there are.
    """
    root = place / "unwell"
    (root / "run").mkdir(parents=True)
    install(place / "data-unwell", root)
    wrong: dict[str, Any] = {
        "reason": "no space", "launcher": False, "held_by": "alice", "troubles": ["no cgroups", "no journal"],
        "problems": [{**PROBLEM, "file": f"/etc/jobqueue.d/{name}.yaml", "code": "JQ301"} for name in "abcdef"],
        "attention": [
            {"kind": kind, "job": f"{kind}-{n}", "run": f"{kind}-{n}@1", "since": None, "until": None, "reason": "so"}
            for kind in KINDS for n in range(5)
        ], **dict.fromkeys(KINDS, 5),
    }  # fmt: skip
    status = {**STATUS, **wrong}
    failures = [("bad", "submitted"), ("bad", "submitted"), ("failing-0", "submitted"), ("nightly", "schedule")]
    failures += [(name, "submitted") for name in "xyz"]
    runs = [{"run": f"{job}@{n}", "job": job, "trigger": trigger} for n, (job, trigger) in enumerate(failures)]
    answers = {
        "Status": status, "List": {"jobs": [JOB], "held_by": None}, "Watch": {"events": [], "missed": 0},
        "History": {"runs": runs, "next": None},
    }  # fmt: skip
    with old_daemon(root / "run" / "control", answers), cockpit(place / "data-unwell") as own:
        opened(chromium, own, "runs")
        shows(chromium, "Submissions failed")
        told = chromium.tell(BANNERS)
    assert 5 + len(KINDS) == len(problem_texts(status))  # one more needs a banner, too
    assert [
        "The state of the daemon can't be saved: no space",
        "The launcher does not answer: no new run starts.",
        "This host is on hold by alice: no new run starts until Release is pressed.",
        "no cgroups", "no journal",
        *(f"/etc/jobqueue.d/{name}.yaml:3: found 'x'" for name in "abc"),
        "More files have errors: 3",
        *(f"{kind}: {', '.join(named(kind, n) for n in range(3))}, 2 more" for kind in KINDS),
        "Submissions failed in the last 24 hours: bad@0, x@4, y@5, 1 more",
    ] == told  # fmt: skip


def named(kind: str, number: int) -> str:
    """A job in a banner: a late run has no reason there, as that changes each second."""
    return f"{kind}-{number}" + ("@1" if kind == "late" else " (so)")
