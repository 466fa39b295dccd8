"""formats: a state.db of every version there was loads, whole or not at all, and one of a later version is left alone.

tests/fixtures/state has one of each format, as the last version that had it wrote it: the same job, with one run that
is live and one that has ended, and what that format had more.  A new format needs a new one; the others stay for ever.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from jobqueued.model.job import Claim
from jobqueued.model.run import RunId
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import Incident, JobStats, Notice, SavedJob
from jobqueued.state.db import formats
from jobqueued.state.db.faults import StoreError
from jobqueued.state.db.formats import VERSION, bring_up, format_on_disk
from jobqueued.state.db.store import NEWEST, Store
from tests.support import REPO
from tests.support.host import Host
from tests.support.states import a_run

FIXTURES = {int(path.stem): path for path in sorted((REPO / "tests" / "fixtures" / "state").glob("*.sql"))}
OLDER = [number for number in FIXTURES if number < VERSION]
JOB = SavedJob(
    job="backup", rhythm="0 2 * * *", cursor=5, era=1, last_number=7,
    stats=JobStats(started=3, succeeded=1, failed=2, last_run=5, last_state=RunState.FAILED),
)  # fmt: skip
LIVE = a_run(7, "backup", key="c1.5", due=5, queued=6, arrival=1, state=RunState.RUNNING, attempt=1, pid=42, started=6)
TEXT = b"jobs: {backup: {command: x}}\n"
EMAIL = "email ops@example.org"


def write(path: Path, number: int) -> Path:
    """A state.db of this format in a directory, which is made."""
    path.mkdir(exist_ok=True)
    with contextlib.closing(sqlite3.connect(path / "state.db")) as db:
        db.executescript(FIXTURES[number].read_text())
    return path / "state.db"


def dump(path: Path) -> list[str]:
    """All that is in a state.db, and its format."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return [*db.iterdump(), str(db.execute("PRAGMA user_version").fetchone()[0])]


def test_each_format_has_its_step_and_its_fixture() -> None:
    """One step from each to the next, and one file of each that there was, this version's own too."""
    assert [*range(1, VERSION + 1)] == [*FIXTURES]
    assert [*range(1, VERSION)] == [*formats._STEPS]


@pytest.mark.parametrize("number", FIXTURES)
def test_a_state_of_each_format_is_taken_over(tmp_path: Path, number: int) -> None:
    """It loads whole, is of today's format afterwards, and takes what today's format has more."""
    write(tmp_path, number)
    memory, run = replace(JOB, paused=number > 1), LIVE
    fuller = replace(JOB, paused=True, paused_until=9, satisfied=("a",), stats=replace(JOB.stats, usual=8))
    busier = replace(LIVE, claims=(Claim("tape", exclusive=True),), so_far={"attempts": []})
    for turn in range(3):
        store = Store(tmp_path)
        assert ([memory], [run], None) == (*store.load(), store.lost)
        assert ({"run": "backup@6"}, True) == (
            store.record(RunId("backup", 6)),
            store.has_seen_boot("abc") or number == 1,
        )
        assert [{"run": "backup@6"}] == store.ended(NEWEST, 0, 9, lambda *_: True).records
        assert ({"a.yaml": TEXT} if number > 1 or turn else {}) == store.files()
        told = ([Incident("failing backup", "failing", 4, 2, "backup@5", ((EMAIL, 5),))],
                [Notice(3, EMAIL, 5, {"event": "failure", "job": "backup"})])  # fmt: skip
        assert (told if number > 4 else ([], [])) == tuple(map(list, store.notices()))
        due = store.query("SELECT kind, name, until, since, text FROM due_change ORDER BY id")
        assert ([("start", "", 1, 2, None), ("file", "a.yaml", 2, 3, TEXT)] if number > 5 else []) == due
        memory, run = fuller, busier
        store.commit({run.id: (run, None)}, {"backup": memory}, {"a.yaml": TEXT})
        store.close()
    assert str(VERSION) == dump(tmp_path / "state.db")[-1]


@pytest.mark.parametrize("number", OLDER)
def test_an_older_state_becomes_one_of_today(tmp_path: Path, number: int) -> None:
    """Once it was taken over, tables and indexes are those of a state that is new."""
    write(tmp_path / "old", number)
    schemas = []
    for name in ("old", "new"):
        (tmp_path / name).mkdir(exist_ok=True)
        store = Store(tmp_path / name)
        found = store._db.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").fetchall()
        schemas.append([(what, " ".join(sql.split())) for what, sql in found])
        store.close()
    assert schemas[0] == schemas[1]


@pytest.mark.parametrize("number", OLDER)
def test_a_step_that_finds_no_room_changes_nothing(tmp_path: Path, number: int) -> None:
    """All that a state of an older format needs is one transaction: it stays what it was, and the next start has it."""
    path = write(tmp_path, number)
    before = dump(path)
    for room in range(3):
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            pages = db.execute("PRAGMA page_count").fetchone()[0]
            db.execute(f"PRAGMA max_page_count = {pages + room}")
            with contextlib.suppress(sqlite3.OperationalError):
                bring_up(db, number)
        if dump(path)[-1] == str(VERSION):
            break
        assert before == dump(path)
    else:
        room = 3
    assert room > 0
    Store(tmp_path).close()
    assert str(VERSION) == dump(path)[-1]


@pytest.mark.parametrize("number", OLDER)
def test_a_start_that_is_killed_in_a_step_changes_nothing(tmp_path: Path, number: int) -> None:
    """Wherever SIGKILL hits it, the state is of the one format or of the other, and all of it is there."""
    seen = set()
    for steps in (1, 10, 30, 60, 100, 150, 200, 300, 500, 1000):
        path = write(tmp_path / str(steps), number)
        before = dump(path)
        if not (pid := os.fork()):
            db = sqlite3.connect(path, isolation_level=None)
            db.execute("PRAGMA journal_mode = WAL")
            db.set_progress_handler(lambda: os.kill(os.getpid(), signal.SIGKILL), steps)
            bring_up(db, number)
            os._exit(0)
        seen.add(os.waitpid(pid, 0)[1])
        assert before == dump(path) or dump(path)[-1] == str(VERSION)
        store = Store(path.parent)
        assert [LIVE] == list(store.load()[1])
        store.close()
    assert signal.SIGKILL in seen


@pytest.mark.parametrize("how", ["whole", "in the log"])
def test_a_newer_state_is_left_alone(tmp_path: Path, how: str) -> None:
    """Not a byte of it, or of its write-ahead log, is another after the refusal; this says how to go back."""
    path = write(tmp_path / "made", VERSION)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        if how == "in the log":
            db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
        state = tmp_path / "state"
        subprocess.run(["cp", "-r", path.parent, state], check=True)
    (state / "state.db-shm").unlink(missing_ok=True)
    before = {each.name: each.read_bytes() for each in state.iterdir()}
    assert ("state.db-wal" in before) == (how == "in the log")
    with pytest.raises(
        StoreError, match=f"newer jobqueued \\(format {VERSION + 1}\\); this one supports up to {VERSION}"
    ):
        Store(state)
    assert before == {each.name: each.read_bytes() for each in state.iterdir() if each.name != "ballast"}


def test_the_format_on_the_disk_is_the_committed_one(tmp_path: Path) -> None:
    """By the bytes of file and log it is the one that SQLite tells, also where the log has pages of no commit."""
    path = tmp_path / "state.db"
    assert 0 == format_on_disk(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA cache_size = 1; CREATE TABLE a (b); PRAGMA user_version = 3"
        )
        assert (3, True) == (format_on_disk(path), path.with_name("state.db-wal").stat().st_size > 0)
        db.executescript("BEGIN; PRAGMA user_version = 4; CREATE TABLE c (d)")
        db.executemany("INSERT INTO a VALUES (?)", [("x" * 3000,)] * 200)
        assert 3 == format_on_disk(path)
        db.execute("COMMIT")
        assert 4 == format_on_disk(path)
        db.executescript("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA user_version = 5")
        assert 5 == format_on_disk(path)
    assert (5, False) == (format_on_disk(path), path.with_name("state.db-wal").exists())
    for noise in (b"", b"noise" * 100, b"SQLite format 3\0", bytes(500), os.urandom(500)):
        path.with_name("state.db-wal").write_bytes(noise)
        assert 5 == format_on_disk(path)


def test_the_way_back_is_one(tmp_path: Path) -> None:
    """After the command that the refusal names a daemon of the older version starts, and goes on behind the records."""
    host = Host(tmp_path / "host")
    host.write("job.yaml", "jobs: {job: {command: 'true'}}")
    host.start()
    first = host.wait(host.run("job"))
    host.stop()
    state = host.root / "state"
    with contextlib.closing(sqlite3.connect(state / "state.db")) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    assert 1 == host.start(ready=False).wait(20)
    refused = host.log().splitlines()[-1]
    command = refused.partition("continue without this file: ")[2].partition(" (history")[0]
    subprocess.run(["sh", "-ec", command], check=True)
    host.start()
    assert ("job@2", first) == (host.run("job"), host.record("job@1"))
    assert (state / f"format-{VERSION + 1}" / "state.db").exists()
    host.close()
