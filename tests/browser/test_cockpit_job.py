"""A job on the page in Cockpit: what it runs, when, its last output, its definition as its user wrote it, and times."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.answers import DEFINITION, JOB, RECORD, STATS, STATUS
from tests.support.axe import violations
from tests.support.chromium import Browser
from tests.support.cockpit import cockpit, install, old_daemon, opened, shows
from tests.support.host import Host

BACKUP = """\
# The dump comes first.
backup:
  command: |
    echo saving "$JOBQUEUE_RUN"

    until test -e GO; do sleep 0.05; done; echo done  # at last
  schedule: '0 2 * * *'
  timezone: Asia/Tokyo
  working_directory: PLACE"""
FILE = "jobs:\n" + "".join(f"  {line}\n" if line else "\n" for line in BACKUP.split("\n")) + (
    "  # Words, no shell.\n"
    "  words: {command: [echo, a b, \"it's\", x], schedule: '0 3 * * *'}\n"
)  # fmt: skip
COMMENTS = """\
  a:
    command: |
      # First:

      # hidden: no
      echo hi
#    timeout: 1h
  # was hourly
    schedule: '@daily'
    # The end."""
CUT = """\
a:
  command: |
    # First:

    # hidden: no
    echo hi
#    timeout: 1h
# was hourly
  schedule: '@daily'
  # The end."""
FACTS = """Object.fromEntries(
    [...document.querySelectorAll("#view dt")].map(it => [it.innerText, it.nextSibling.innerText])
)"""
DEFINED = "document.querySelector('section:last-of-type pre').textContent"
OUTPUT = "document.querySelector('.output')?.textContent"
WHEN = r"\d\d:\d\d:\d\d [AP]M UTC, (now|\d+ sec\. ago)"


@pytest.fixture(scope="module")
def defined(host: Host) -> str:
    """The text of the job, whose file is written anew with the place of the test."""
    host.write("a.yaml", FILE.replace("PLACE", str(host.root)))
    host.call("Reload")
    return BACKUP.replace("PLACE", str(host.root))


def test_what_is_on_top(chromium: Browser, address: str, host: Host, defined: str) -> None:
    """The command and the schedule with its zone come first, then the output as it comes, of the newest run; the last
    is the definition, word for word as in its file, with the comment above it and without the job below.
    """
    first = host.run("backup")
    opened(chromium, address, "job/backup")
    chromium.until(f"{OUTPUT} === 'saving {first}\\n'")
    assert ["Last output", "Newest runs", "Next starts", "Definition"] == chromium.tell(
        "[...document.querySelectorAll('h2')].map(it => it.innerText)"
    )
    facts = chromium.tell(FACTS)
    assert ["Status", "Command", "Schedule", "Next start"] == list(facts)[:4]
    assert facts["Command"].startswith('echo saving "$JOBQUEUE_RUN"\n\nuntil test -e GO')
    assert "0 2 * * * (Asia/Tokyo)" == facts["Schedule"]
    assert defined == chromium.tell(DEFINED)
    (host.root / "GO").touch()
    chromium.until(f"{OUTPUT} === 'saving {first}\\ndone\\n'")
    shows(chromium, "succeeded")
    second = host.run("backup")
    chromium.until(f"{OUTPUT} === 'saving {second}\\ndone\\n'")
    assert [] == violations(chromium)
    opened(chromium, address, "job/words")
    chromium.until(f"({FACTS}).Command")
    assert "echo 'a b' 'it'\\''s' x" == chromium.tell(FACTS)["Command"]
    shown = chromium.tell("[...document.querySelectorAll('section:not([hidden]) h2')].map(it => it.innerText)")
    assert "Last output" not in shown


def test_a_file_that_has_errors_now(chromium: Browser, address: str, host: Host, defined: str) -> None:
    """Its text is no longer what is in force, and that is said."""
    host.write("a.yaml", (FILE + "  wrong: {}\n").replace("PLACE", str(host.root)))
    host.call("Reload")
    opened(chromium, address, "job/backup")
    shows(chromium, "a.yaml:3 has errors: its last good version stays in force.")
    host.write("a.yaml", FILE.replace("PLACE", str(host.root)))
    host.call("Reload")
    chromium.until("!document.body.innerText.includes('an earlier version')")
    assert defined == chromium.tell(DEFINED)


def test_a_file_that_can_not_be_read(chromium: Browser, place: Path) -> None:
    """Then what the daemon has is there, and that is said."""
    root = place / "unread"
    (root / "run").mkdir(parents=True)
    install(root / "data", root)
    told = {"job": {**JOB, "file": str(root / "none.yaml")}, "definition": DEFINITION, "stats": STATS, "runs": [RECORD]}
    answers = {
        "Status": STATUS, "List": {"jobs": [], "held_by": None}, "Watch": {"events": [], "missed": 0},
        "Describe": told, "Next": {"next": []}, "Logs": {"data": "", "size": 0, "live": False},
    }  # fmt: skip
    with old_daemon(root / "run" / "control", answers), cockpit(root / "data") as own:
        opened(chromium, own, "job/nightly-backup")
        shows(chromium, "You can't read the file of this job: the daemon's definition is shown.")
        assert DEFINITION == json.loads(chromium.tell(DEFINED))


@pytest.mark.parametrize(
    ("text", "line", "name", "found"),
    [
        ("jobs: {a: {command: x}, b: {command: y}}\n", 1, "a", "jobs: {a: {command: x}, b: {command: y}}"),
        ("jobs:\n  a: {\n    command: x\n  }\n  b: {}\n", 2, "a", "a: {\n  command: x\n}"),
        ("jobs:\n  a:\n    # why\n    command: x\n\n  # of b\n  b: {}\n", 2, "a", "a:\n  # why\n  command: x"),
        ("jobs:\n  b: {}\n\n  # one\n  # two\n  a: {}\n", 6, "a", "# one\n# two\na: {}"),
        (f"jobs:\n{COMMENTS}\n# of b\n\n  # of b\n  b: {{}}\n", 2, "a", CUT),
        (f"jobs:\n{COMMENTS}\n\n# the end\n", 2, "a", CUT), (f"jobs:\n{COMMENTS}\n# next\n---\n", 2, "a", CUT),
        ("jobs:\n  a:\n    command: 'x\ny'\n    nice: 3\n  b: {}\n", 2, "a", "a:\n  command: 'x\ny'\n  nice: 3"),
        ("jobs:\n  a:\n    command: x\nlimits: {}\n", 2, "a", "a:\n  command: x"),
        ("SHELL=/bin/sh\n0 2 * * * x\n0 3 * * * y\n", 2, "", "0 2 * * * x"),
        ("0 2 * * * x\n  0 3 * * * y\n", 1, "", "0 2 * * * x"),
        ("jobs:\n  other: {}\n", 2, "gone", None), ("jobs: {}\n", 7, "a", None),
    ],
)  # fmt: skip
def test_the_lines_of_a_job(
    chromium: Browser, address: str, text: str, line: int, name: str, found: str | None
) -> None:
    """They end where the next job begins; of a table of cron they are one line; a file that has changed has none."""
    opened(chromium, address, "jobs")
    call = f"it.excerpt({json.dumps(text)}, {line - 1}, {json.dumps(name)})"
    assert found == chromium.tell(f"import(new URL('jobs.js', location)).then(it => {call})")


def test_times(chromium: Browser, address: str, host: Host, defined: str) -> None:
    """Each has its zone, and how far it is from now, which goes on while nothing happens."""
    del defined
    host.wait(host.run("words"))
    opened(chromium, address, "job/words")
    chromium.until("document.querySelectorAll('#view time').length > 5")
    texts = chromium.tell("[...document.querySelectorAll('#view time')].map(it => it.innerText)")
    assert all(" UTC, " in text for text in texts)
    assert any(", in " in text and " hr." in text for text in texts)
    newest = "document.querySelector('tbody time')"
    chromium.until(f"/^{WHEN}$/.test({newest}.innerText)")
    chromium.tell(f"window.seen = {newest}; window.before = seen.innerText")
    chromium.until(f"{newest} === seen && seen.innerText !== before && /^{WHEN}$/.test(seen.innerText)")
    assert chromium.tell("seen.title").endswith("Z")
