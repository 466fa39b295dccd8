"""A state.db that others cut, overwrite or remove under a living daemon: it is written again, with all but history."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.host import Host, wait_for

PAGE = 4096
HISTORY = {"run": "record IS NULL", "meta": "name NOT IN ('saved', 'untaken')", "due_change": "0"}
"""By table the rows that are no history."""
JOBS = """
jobs:
  fails: {command: exit 1, schedule: '0 3 * * *', notify: {email: nobody@localhost}}
  rests: {command: 'true', schedule: '0 3 * * *'}
  waits: {command: 'true', concurrency: 3}
  other: {command: 'true', on: {event: deployed}}
"""


def tables(host: Host, place: Path) -> dict[str, list[Any]]:
    """The rows of each table of state.db, as it is on the disk, without history."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(host.root / "state", place)
    db = sqlite3.connect(place / "state.db")
    names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {
        name: sorted(db.execute(f"SELECT * FROM {name} WHERE {HISTORY.get(name, '1')}"), key=repr) for name in names
    }
    db.close()
    return found


def fill(host: Host) -> None:
    """Leave something in each table, in the database as well as in the log."""
    (host.root / "jobqueued.yaml").write_text("mail: {sendmail: /nonexistent}\n")
    host.write("jobs.yaml", JOBS)
    host.write("more.yaml", "jobs: {more: {command: 'true'}}")
    host.start()
    host.wait(host.run("fails"))
    submit(host, "over")
    host.call("Await", job="host/1")
    submit(host, "named", name="named")
    host.call("Await", job="host/named")
    host.call("Pause", job="rests")
    host.call("SkipNext", job="fails")
    host.stop()
    with sqlite3.connect(host.root / "state" / "state.db") as db:
        db.execute("INSERT INTO meta VALUES ('fleet', ?)", ('[7, "a", "f60", 99]',))
    db.close()
    before = len(host.said("notice_failed"))
    host.start()
    wait_for(lambda: len(host.said("notice_failed")) > before, why="its notice is not tried again for a while")
    host.call("Hold")
    host.run("waits")
    submit(host, "waits")
    host.write("more.yaml", "jobs: [")
    wait_for(lambda: host.said("refused"))
    change(host)


def submit(host: Host, key: str, **rest: str) -> dict[str, Any]:
    """Hand in a command by a key."""
    return host.call("Submit", submission={"keys": {"command": "true"}, "key": key, **rest})


def change(host: Host) -> None:
    """Have two commits, after which all is as before."""
    host.call("Pause", job="other")
    host.call("Resume", job="other")


# ── what others do ──


def cut(part: str, share: float) -> Callable[[Path], None]:
    """Cut it to so much of what it is."""

    def act(state: Path) -> None:
        os.truncate(state / part, int((state / part).stat().st_size * share))

    return act


def overwrite(part: str, share: float, size: int, data: Callable[[int], bytes] = bytes) -> Callable[[Path], None]:
    """Write so many bytes from there on."""

    def act(state: Path) -> None:
        with (state / part).open("r+b") as file:
            file.seek(int((state / part).stat().st_size * share) // PAGE * PAGE)
            file.write(data(size))

    return act


def copy_over(state: Path) -> None:
    """Put what it was at the last stop in its place, as `cp` does: into the same file."""
    shutil.copyfile(state.parent / "old" / "state.db", state / "state.db")


NOISE = random.Random(1).randbytes
DB, LOG = "state.db", "state.db-wal"
NEW = "the daemon writes a new one with everything except history; the next start restores history from the records"
AGAIN = "the daemon writes everything else again; the next start compares its history with the records"
WAYS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "cut to nothing": (NEW, cut(DB, 0)),
    "cut to half": (NEW, cut(DB, 0.5)),
    "cut by a page": (NEW, lambda state: os.truncate(state / DB, (state / DB).stat().st_size - PAGE)),
    "its header is zeros": (NEW, overwrite(DB, 0, 100)),
    "its first page is noise": (NEW, overwrite(DB, 0, PAGE, NOISE)),
    "its middle is zeros": (NEW, overwrite(DB, 0.3, 8 * PAGE)),
    "all of it is noise": (NEW, overwrite(DB, 0, 1 << 20, NOISE)),
    "an older one is copied over it": (AGAIN, copy_over),
    "longer": (AGAIN, lambda state: os.truncate(state / DB, (state / DB).stat().st_size + 7 * PAGE)),
    "touched": (AGAIN, lambda state: os.utime(state / DB)),
    "removed": (NEW, lambda state: (state / DB).unlink()),
    "replaced": (NEW, lambda state: shutil.move(shutil.copy(state / DB, state / "other"), state / DB)),
    "the log is cut to nothing": (NEW, cut(LOG, 0)),
    "the log is cut to half": (NEW, cut(LOG, 0.5)),
    "the header of the log is zeros": (AGAIN, overwrite(LOG, 0, 32)),
    "the middle of the log is noise": (NEW, overwrite(LOG, 0.5, PAGE, NOISE)),
    "the log is removed": (AGAIN, lambda state: (state / LOG).unlink()),
    "both are cut to nothing": (NEW, lambda state: [cut(part, 0)(state) for part in (DB, LOG)]),
    "both are removed": (NEW, lambda state: [(state / part).unlink() for part in (DB, LOG)]),
    "an index of the log appears": ("", lambda state: (state / "state.db-shm").write_bytes(NOISE(32768))),
}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_forgotten(host: Host, tmp_path: Path, way: str) -> None:
    """At the next commit all but history is as it was, in each table, and that it was written again is said.  A kill
    and a start find it, and history; keys of submissions that are over are known meanwhile and then."""
    fill(host)
    shutil.copytree(host.root / "state", host.root / "old")
    before = tables(host, tmp_path / "before")
    assert [] == [name for name, found in before.items() if not found and name not in HISTORY]
    what, act = WAYS[way]
    act(host.root / "state")
    change(host)
    assert before == tables(host, tmp_path / "after")
    said = [line["text"] for line in host.said("trouble") if DB in line["text"]]
    assert [what in text for text in said] == [True] * bool(what)
    assert what == NEW or not list(host.root.glob("state/*broken*"))
    assert "host/1" == submit(host, "over")["job"]
    assert "an earlier host/named has history" in submit(host, "another", name="named")["reason"]
    host.kill()
    host.start()
    assert ["host/1", "host/2"] == [submit(host, key)["job"] for key in ("over", "waits")]
    host.call("Release")
    assert "succeeded" == host.wait("waits@1")["state"]
    assert ["fails@1"] == [it["run"] for it in host.call("Describe", job="fails")["runs"]]


@pytest.mark.parametrize("way", WAYS)
def test_a_stop_in_order(host: Host, tmp_path: Path, way: str) -> None:
    """What is in memory at a stop is what remains."""
    fill(host)
    shutil.copytree(host.root / "state", host.root / "old")
    before = tables(host, tmp_path / "before")
    WAYS[way][1](host.root / "state")
    host.stop()
    assert before == tables(host, tmp_path / "after")


@pytest.mark.parametrize("way", [way for way in WAYS if "log" not in way and way != "an older one is copied over it"])
def test_a_read_finds_it(host: Host, way: str) -> None:
    """If a read finds the damage, the daemon refuses at most one call, although nothing else makes it commit."""
    host.write("jobs.yaml", "jobs: {}")
    host.start()
    submit(host, "over")
    host.call("Await", job="host/1")
    host.stop()
    host.start()
    wait_for((host.root / "state" / LOG).exists, why="the first commit makes it")
    WAYS[way][1](host.root / "state")
    answers = [submit(host, key) for key in ("one", "one", "two", "over")]
    refused = [answer for answer in answers if "error" in answer]
    assert refused in ([], answers[:1]), answers
    assert ["host/2", "host/3", "host/1"] == [answer["job"] for answer in answers[1:]]


@pytest.mark.parametrize("how", ["renamed", "removed", "replaced"])
def test_a_directory_that_is_gone(host: Host, tmp_path: Path, how: str) -> None:
    """The status shows the remedy. As soon as the directory exists again, it contains everything except history."""
    fill(host)
    before, state = tables(host, tmp_path / "before"), host.root / "state"
    shutil.rmtree(state) if how == "removed" else state.rename(host.root / "elsewhere")
    if how != "replaced":
        change(host)
        assert "create this directory again" in host.call("Status")["reason"]
    state.mkdir(mode=0o700)
    change(host)
    wait_for(lambda: host.call("Status")["reason"] is None)
    assert before == tables(host, tmp_path / "after")
    second = subprocess.run(
        [sys.executable, "-m", "jobqueued", "--root", str(host.root)], capture_output=True, text=True, check=False
    )
    assert (second.returncode, "is in use by another jobqueued" in second.stderr) == (1, True)
