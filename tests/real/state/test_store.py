"""state.db: what was committed is there again, whatever happened in between; what is broken is set aside and said."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueued.child.contract.documents import Record
from jobqueued.core.records.wishes import wishes
from jobqueued.model.job import Claim, Job, RateUse
from jobqueued.model.notify import Notify, Ping, Webhook
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import Expected, Hold, JobStats, Outcome, SavedJob, Skip
from jobqueued.model.users import Owner
from jobqueued.state.db import rows
from jobqueued.state.db.ballast import BALLAST
from jobqueued.state.db.faults import CommitFailed, StoreError
from jobqueued.state.db.formats import ENDED as CONDITION
from jobqueued.state.db.formats import VERSION
from jobqueued.state.db.rows import hold_text
from jobqueued.state.db.store import _ALL_ENDED, NEWEST, HistoryMark, Store
from tests.support import REPO
from tests.support.host import DEADLINE, Host, wait_for
from tests.support.states import a_record, a_run, limit_pages, save, save_ended

ENDS = (RunState.SUCCEEDED, RunState.FAILED, RunState.TIMED_OUT, RunState.KILLED, RunState.OOM_KILLED, RunState.LOST)
UNFINISHED = (RunState.DUE, RunState.WAITING, RunState.STARTING, RunState.RUNNING, RunState.RETRYING)

NAMES = st.sampled_from(["a", "b", "nightly-backup", "cron.d/x:run-53f534"])
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
TRIGGERS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
NO_UTF_8 = st.text(st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"]), max_size=3)
INSTANTS = st.integers(0, 2**63 - 1)
COUNTS = st.integers(0, 2**31)
DOCUMENTS = st.dictionaries(
    WORDS, st.recursive(st.none() | st.booleans() | st.integers() | WORDS, lambda inner: st.lists(inner, max_size=3))
)
CLAIMS = st.lists(st.builds(Claim, WORDS, COUNTS, st.booleans()), max_size=3).map(tuple)
PLACED = st.lists(st.tuples(WORDS, st.lists(COUNTS, max_size=3).map(tuple)), max_size=2).map(tuple)
OWNERS = st.none() | st.builds(Owner, COUNTS, WORDS)
CAUSES = WORDS.filter(lambda name: name not in rows._WITH_TRIGGER)
"""Keys of `triggered_by`, none of which a caller can choose."""
RUNS = st.builds(
    Run,
    id=st.builds(RunId, NAMES, st.integers(1, 10**18)), key=WORDS, due=INSTANTS, queued=INSTANTS, arrival=COUNTS,
    trigger=TRIGGERS, asked_by=st.none() | WORDS, state=st.sampled_from(UNFINISHED), reason=st.none() | WORDS,
    attempt=COUNTS, pid=st.none() | COUNTS, started=st.none() | INSTANTS, failures=COUNTS,
    last_due=st.none() | INSTANTS, count=COUNTS, not_before=INSTANTS, failover=st.booleans(), stop_asked=st.booleans(),
    since=INSTANTS, waited=INSTANTS, held=INSTANTS, drains_since=INSTANTS, previous=INSTANTS,
    claims=CLAIMS, placed=PLACED, ends_by=st.none() | INSTANTS, so_far=st.none() | DOCUMENTS,
    triggered_by=st.none() | st.dictionaries(CAUSES, WORDS | NO_UTF_8, min_size=1), owner=OWNERS,
    waits=st.lists(st.tuples(INSTANTS, WORDS), max_size=3).map(tuple),
    wishes=st.none() | st.builds(
        lambda address, owner: wishes(Job(id="x", command="x", notify=Notify(email=(address,), owner=owner),
            ping=Ping(address, owner=owner))), WORDS, OWNERS),
    given_up=st.none() | INSTANTS, doubted=st.booleans(), lacked=st.lists(WORDS, max_size=3).map(tuple),
)  # fmt: skip
STATS = st.builds(
    JobStats,
    started=COUNTS, succeeded=COUNTS, failed=COUNTS, skipped=COUNTS, last_run=st.none() | INSTANTS,
    last_state=st.none() | st.sampled_from(ENDS), usual=st.none() | INSTANTS, failing_since=st.none() | INSTANTS,
    by_failover=st.booleans(),
    failing_run=st.none() | COUNTS, failing_reason=st.none() | WORDS,
)  # fmt: skip
OUTCOMES = st.lists(st.builds(Outcome, COUNTS, INSTANTS, INSTANTS, st.sampled_from(list(map(str, ENDS)))), max_size=3)
WISHES = st.builds(
    lambda address, remind, tags, user: {
        "notify": Notify(email=(address,), webhook=(Webhook(address),), remind=remind).plain(), "tags": tags,
        "user": user,
    },
    WORDS, st.none() | COUNTS, st.lists(WORDS, max_size=2), st.none() | WORDS,
)  # fmt: skip
TIMES = st.lists(COUNTS, max_size=3).map(lambda times: " ".join(map(str, times)))
SKIPS = st.lists(st.builds(Skip, INSTANTS, st.none() | WORDS.filter(bool)), max_size=3).map(tuple)
MEMORIES = st.builds(
    SavedJob,
    job=NAMES, rhythm=WORDS, cursor=INSTANTS, era=COUNTS, last_number=st.integers(0, 10**18),
    paused=st.booleans(), paused_until=st.none() | INSTANTS, skips=SKIPS,
    appeared=COUNTS, previous=INSTANTS, settled=INSTANTS, outcomes=OUTCOMES.map(tuple),
    satisfied=st.lists(WORDS, max_size=2).map(tuple), stats=STATS,
    ends=st.lists(st.builds(RunId, NAMES, st.integers(1, 10**18)), max_size=2).map(tuple),
    took=TIMES, delays=TIMES, late=st.lists(COUNTS, max_size=2).map(tuple), agreed=WORDS, offered=WORDS,
    shared_pause=WORDS, to_return=st.lists(WORDS, max_size=2).map(tuple),
    rate_use=st.builds(RateUse, INSTANTS, st.integers(1, 10**18)),
    expected=st.none() | st.builds(Expected, INSTANTS, INSTANTS, WISHES, INSTANTS), owner=OWNERS,
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new state."""
    store = Store(tmp_path)
    yield store
    store.close()


class TestRoundTrip:
    @settings(max_examples=30, deadline=None)
    @given(st.lists(RUNS, unique_by=lambda run: run.id), st.lists(MEMORIES, unique_by=lambda memory: memory.job))
    def test_unfinished_runs_and_jobs(self, runs: list[Run], memories: list[SavedJob]) -> None:
        """What was committed of jobs and of runs without an end is loaded again, field by field."""
        with tempfile.TemporaryDirectory() as directory:
            store = Store(Path(directory))
            store.commit({run.id: (run, None) for run in runs}, {memory.job: memory for memory in memories})
            store.close()
            again = Store(Path(directory))
            loaded = again.load()
            again.close()
        assert sorted(memories, key=lambda memory: memory.job) == sorted(loaded[0], key=lambda memory: memory.job)
        assert sorted(runs, key=lambda run: run.id) == sorted(loaded[1], key=lambda run: run.id)

    def test_the_cause_of_a_skip(self, store: Store, tmp_path: Path) -> None:
        """A skip may come to cover more, so its cause is loaded again; a run that was started has it in its record."""
        for number, state in enumerate(("skipped", "failed"), 1):
            run = Run(id=RunId(f"job{number}", 1), key="x", due=1, queued=1, arrival=1, state=RunState(state),
                trigger="path /srv/*", triggered_by={"path": "/srv/\udcff"})  # fmt: skip
            store.commit({run.id: (run, {"state": state})}, {run.id.job: SavedJob(job=run.id.job, last_number=1)})
        store.close()
        again = Store(tmp_path)
        assert [("path /srv/*", {"path": "/srv/\udcff"})] == [
            (run.trigger, run.triggered_by) for run in again.load()[1]
        ]
        again.close()

    def test_every_field_has_its_place(self) -> None:
        """What this test draws at random are all fields of a run, of a job's memory and of its counters."""
        for drawn, kind in ((RUNS, Run), (MEMORIES, SavedJob), (STATS, JobStats)):
            assert {field.name for field in fields(kind)} == set(drawn.wrapped_strategy.kwargs)

    def test_a_state_is_a_state_again(self, store: Store) -> None:
        """A loaded run's state is a RunState, which code tells apart by identity."""
        save(store, (a_run(state=RunState.RUNNING), None))
        assert store.load()[1][0].state is RunState.RUNNING

    @settings(max_examples=30, deadline=None)
    @given(DOCUMENTS)
    def test_records(self, document: Record) -> None:
        """A record comes back whole, also with text of any script."""
        with tempfile.TemporaryDirectory() as directory:
            store = Store(Path(directory))
            save(store, (a_run(state=RunState.FAILED), {**document, "run": "job@1"}))
            found = store.record(RunId("job", 1))
            store.close()
        assert {**document, "run": "job@1"} == found

    def test_the_newest_commit_of_a_run_counts(self, store: Store) -> None:
        """A run is one row, which follows it from state to state to its record."""
        for state in UNFINISHED:
            save(store, (a_run(state=state), None))
            assert [state] == [run.state for run in store.load()[1]]
        save_ended(store, 1)
        assert [] == store.load()[1]
        assert a_record(1) == store.record(RunId("job", 1))

    def test_no_record_before_the_end(self, store: Store) -> None:
        """A run without an end, and one that never was, have no record."""
        save(store, (a_run(state=RunState.RUNNING), None))
        assert [None, None] == [store.record(RunId("job", 1)), store.record(RunId("job", 2))]

    def test_a_skip_goes_on_while_it_is_the_newest(self, store: Store) -> None:
        """Loaded is a job's skip that later skips may join: only if no later run has a number."""
        skip = a_run(1, state=RunState.SKIPPED, reason="missed", last_due=9, count=3)
        save(store, (skip, a_record(1)))
        assert [skip] == store.load()[1]
        save_ended(store, 2)
        assert [] == store.load()[1]


class TestHistory:
    def test_newest_first(self, store: Store) -> None:
        """History goes by number, whatever the order of the commits."""
        numbers = list(range(1, 31))
        random.Random(4).shuffle(numbers)
        for due, number in enumerate(numbers):
            save(store, (a_run(number, due=due, state=RunState.SUCCEEDED), a_record(number)))
        assert list(range(30, 0, -1)) == list(store.history("job", 100))
        assert [30, 29, 28] == list(store.history("job", 3))
        assert {} == store.history("job", 0)

    def test_of_one_job_and_of_ended_runs(self, store: Store) -> None:
        """History has the job's own records only, and nothing of a run without an end."""
        save_ended(store, 1, 2)
        save_ended(store, 3, job="job2")
        save(store, (a_run(4, state=RunState.RUNNING), None))
        assert [2, 1] == list(store.history("job", 100))
        assert {} == store.history("unknown", 100)

    def test_forget(self, store: Store) -> None:
        """Forgotten records are gone, those beside them and other jobs' stay."""
        save_ended(store, 1, 2, 3)
        save_ended(store, 2, job="other")
        store.forget(RunId("job", number) for number in (1, 2, 77))
        assert [3] == list(store.history("job", 100))
        assert store.record(RunId("job", 2)) is None
        assert a_record(2, "other") == store.record(RunId("other", 2))

    def test_forget_keeps_what_has_not_ended(self, store: Store) -> None:
        """Retention drops records: a live run, however old its files, is still known after a restart."""
        live = a_run(1, state=RunState.RUNNING, pid=4711)
        save(store, (live, None))
        save_ended(store, 2)
        store.forget([RunId("job", 1), RunId("job", 2)])
        assert [live] == store.load()[1]


ENDLESS = """
import sys
from pathlib import Path
from jobqueued.state.db.store import Store
from tests.support.states import a_run, save
store = Store(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    save(store, (a_run(number), None))
    print(number, flush=True)
"""


class TestCrash:
    def test_kill_between_commits(self, tmp_path: Path) -> None:
        """After SIGKILL the last commit that returned is there, whole: the run and what its job knows."""
        child = subprocess.Popen(
            [sys.executable, "-c", ENDLESS, str(tmp_path)], cwd=REPO, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        with child.stdout as said:
            while said.readline() != "25\n":
                assert child.poll() is None
            child.send_signal(signal.SIGKILL)
            child.wait()
            returned = int(["25", *said.read().split()][-1])
        store = Store(tmp_path)
        (memory,), runs = store.load()
        store.close()
        assert memory.last_number in (returned, returned + 1)
        assert list(range(1, memory.last_number + 1)) == [run.id.number for run in runs]
        assert store.lost is None

    def test_all_or_nothing(self, store: Store) -> None:
        """Of a commit that fails in its middle nothing is kept, and the next one works."""
        save(store, (a_run(1), None))
        with pytest.raises(CommitFailed):
            save(store, (a_run(2), None), (a_run(3, reason=object()), None))
        assert [1] == [run.id.number for run in store.load()[1]]
        save(store, (a_run(2), None))
        assert [1, 2] == [run.id.number for run in store.load()[1]]

    def test_closed_in_order(self, tmp_path: Path) -> None:
        """After close() the one file is the whole state."""
        store = Store(tmp_path)
        save_ended(store, 1)
        store.close()
        assert ["ballast", "state.db"] == sorted(path.name for path in tmp_path.iterdir())

    def test_nobody_else_may_lock_it(self, store: Store, tmp_path: Path) -> None:
        """From the start on it is locked for us alone, so no other program makes a commit wait; nor would we."""
        with contextlib.closing(sqlite3.connect(tmp_path / "state.db", timeout=0)) as other:
            for statement in ("BEGIN IMMEDIATE", "SELECT * FROM meta"):
                with pytest.raises(sqlite3.OperationalError, match="database is locked"):
                    other.execute(statement)
        assert [(0,)] == store.query("PRAGMA busy_timeout")

    def test_tidy(self, store: Store, tmp_path: Path) -> None:
        """After tidy() the write-ahead log is empty, and nothing is lost."""
        save_ended(store, 1)
        log = tmp_path / "state.db-wal"
        assert log.stat().st_size > 0
        store.tidy()
        assert log.stat().st_size == 0
        assert a_record(1) == store.record(RunId("job", 1))


def whole(data: bytes) -> bytes:
    """Nothing but noise."""
    return random.Random(1).randbytes(len(data))


def header(data: bytes) -> bytes:
    """Noise where SQLite looks first."""
    return random.Random(1).randbytes(100) + data[100:]


def half(data: bytes) -> bytes:
    """Cut off."""
    return data[: len(data) // 2]


def inside(data: bytes) -> bytes:
    """A good first page, and noise behind it."""
    return data[:4096] + random.Random(1).randbytes(len(data) - 4096)


BROKEN = [whole, header, half, inside]


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A state directory with some history, closed in order."""
    store = Store(tmp_path)
    for number in range(1, 6):
        save_ended(store, number, text="x" * 3000)
    store.close()
    return tmp_path


class TestBroken:
    @pytest.mark.parametrize("damage", BROKEN)
    def test_set_aside(self, used: Path, damage: Callable[[bytes], bytes]) -> None:
        """A broken state.db is kept under another name, said, and an empty state is used from then on."""
        path = used / "state.db"
        data = damage(path.read_bytes())
        path.write_bytes(data)
        store = Store(used)
        assert ([], []) == store.load()
        assert store.lost is not None
        assert store.lost.startswith(f"{path} is corrupt (")
        assert store.lost.endswith(", moved to state.db.broken-1")
        assert data == (used / "state.db.broken-1").read_bytes()
        save_ended(store, 9)
        assert [9] == list(store.history("job", 10))
        store.close()

    @pytest.mark.parametrize("table", ["meta", "job", "file", "run"])
    def test_without_a_table(self, used: Path, table: str) -> None:
        """A file from which a table was dropped is as broken as any."""
        with contextlib.closing(sqlite3.connect(used / "state.db")) as db:
            db.execute(f"DROP TABLE {table}")
        store = Store(used)
        assert f"is corrupt (OperationalError: no such table: {table})" in (store.lost or "")
        save_ended(store, 9)
        assert [9] == list(store.history("job", 10))
        store.close()

    @pytest.mark.parametrize("damage", BROKEN)
    def test_what_comes_after_is_durable(self, used: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
        """What is committed after a broken state.db was set aside is found again as after a SIGKILL."""
        (used / "state.db").write_bytes(damage((used / "state.db").read_bytes()))
        store = Store(used)
        store.load()
        save_ended(store, 9)
        shutil.copytree(used, tmp_path / "later")
        store.close()
        again = Store(tmp_path / "later")
        assert [9] == list(again.history("job", 10))
        assert again.lost is None
        again.close()

    def test_set_aside_twice(self, used: Path) -> None:
        """A second broken one does not replace the first."""
        for text in (b"first" * 1000, b"second" * 1000):
            (used / "state.db").write_bytes(text)
            Store(used).close()
        assert b"first" * 1000 == (used / "state.db.broken-1").read_bytes()
        assert b"second" * 1000 == (used / "state.db.broken-2").read_bytes()

    def test_the_write_ahead_log_goes_along(self, used: Path) -> None:
        """The newest commits stand in the write-ahead log, so it is set aside too, not deleted."""
        (used / "state.db").write_bytes(b"noise" * 1000)
        (used / "state.db-wal").write_bytes(b"the newest commits")
        Store(used).close()
        assert b"the newest commits" in [path.read_bytes() for path in used.iterdir() if path.name != "ballast"]

    @pytest.mark.parametrize("damage", ["broken", "removed", "emptied"])
    def test_numbers_are_never_used_again(self, host: Host, damage: str) -> None:
        """A daemon that lost its state.db goes on counting behind the records, and overwrites none of them."""
        host.write("job.yaml", "jobs: {job: {command: 'true'}}")
        host.start()
        first = host.wait(host.run("job"))
        host.stop()
        path = host.root / "state" / "state.db"
        path.write_bytes({"broken": b"noise" * 1000}.get(damage, b""))
        if damage == "removed":
            path.unlink()
        host.start()
        assert "job@2" == host.run("job")
        assert first == host.record("job@1")
        if damage == "broken":
            (said,) = host.said("trouble")
            assert "moved to state.db.broken-1" in said["text"]

    def test_a_newer_format_is_refused(self, used: Path) -> None:
        """A state.db of a newer jobqueued is left as it is, and the message names both formats."""
        with sqlite3.connect(used / "state.db") as db:
            db.execute(f"PRAGMA user_version = {VERSION + 1}")
        db.close()
        before = (used / "state.db").read_bytes()
        with pytest.raises(StoreError) as refused:
            Store(used)
        newer = f"{used}/state.db was written by a newer jobqueued (format {VERSION + 1})"
        assert f"{newer}; this one supports up to {VERSION}" == str(refused.value).partition("; install")[0]
        assert before == (used / "state.db").read_bytes()

    def test_a_place_that_can_not_be_used(self, used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where no file can be opened the message names it; nothing is set aside."""
        elsewhere = partial(sqlite3.connect, "file:/nowhere/state.db", uri=True)
        monkeypatch.setattr("jobqueued.state.db.opening.sqlite3.connect", lambda *_, **__: elsewhere())
        with pytest.raises(StoreError, match=f"^{used}/state.db: unable to open database file"):
            Store(used)


ENDED = st.builds(
    Run,
    id=st.builds(RunId, st.sampled_from("abc"), st.integers(1, 40)), key=WORDS, due=INSTANTS,
    queued=st.integers(0, 5) | st.integers(0, 2**62), arrival=COUNTS, state=st.sampled_from([*ENDS, *UNFINISHED]),
)  # fmt: skip


class TestEnded:
    @given(
        st.lists(ENDED, max_size=30, unique_by=lambda run: run.id),
        st.integers(1, 4), st.integers(0, 6), st.sets(st.sampled_from(ENDS)), st.none() | st.sampled_from("abcd"),
    )  # fmt: skip
    @settings(max_examples=60, deadline=None)
    def test_pages(self, runs: list[Run], limit: int, since: int, states: set[RunState], job: str | None) -> None:
        """Page after page, every record that is wanted comes once, in the one order, however many a page has."""
        with tempfile.TemporaryDirectory() as directory:
            store = Store(Path(directory))
            rows = [(run, {"run": str(run.id)} if run.state in ENDS else None) for run in runs]
            store.commit({run.id: (run, record) for run, record in rows}, {})
            found: list[Any] = []
            place: HistoryMark | None = NEWEST
            while place is not None:
                page = store.ended(place, since, limit, lambda _, state: state in states, job)
                assert len(page.records) <= limit
                found += page.records
                place = page.end
            store.close()
        wanted = [run for run in runs if run.state in states and run.queued >= since and job in (None, run.id.job)]
        order = (lambda run: run.id.number) if job else (lambda run: (run.queued, *run.id))
        assert [str(run.id) for run in sorted(wanted, key=order, reverse=True)] == [record["run"] for record in found]

    @pytest.mark.parametrize("job", [None, "job"])
    def test_rare(self, store: Store, monkeypatch: pytest.MonkeyPatch, job: str | None) -> None:
        """A call passes over so many at most, however rare what is wanted is; the next goes on behind them."""
        monkeypatch.setattr("jobqueued.state.db.store._LOOKS", 10)
        monkeypatch.setattr("jobqueued.state.db.store._LOOKS_AT_ROWS", 10)
        save_ended(store, *range(1, 26))
        looked: list[int] = []
        place: HistoryMark | None = NEWEST
        pages = []
        while place is not None:
            before = len(looked)
            page = store.ended(place, 0, 5, lambda mark, _: looked.append(mark.number) or mark.number == 3, job)  # type: ignore[func-returns-value]
            pages.append((len(looked) - before, [record["number"] for record in page.records]))
            place = page.end
        assert [(10, []), (10, []), (5, [3])] == pages

    def test_index(self, store: Store) -> None:
        """What is passed over is read from the index alone: a record is some pages of the disk."""
        plan = store._db.execute(f"EXPLAIN QUERY PLAN {_ALL_ENDED}", (1, "", 1, 0)).fetchall()
        assert ["SEARCH run USING COVERING INDEX history"] == [row[3].partition(" (")[0] for row in plan]


def test_files(store: Store) -> None:
    """The last text of each file is kept, byte for byte, until the file is gone."""
    assert {} == store.files()
    store.commit({}, {}, {"b.yaml": b"\0\xff", "a.yaml": b"", "c.yaml": None})
    assert {"a.yaml": b"", "b.yaml": b"\0\xff"} == store.files()
    store.commit({}, {}, {"a.yaml": None, "b.yaml": b"new"})
    assert {"b.yaml": b"new"} == store.files()


def test_boot(tmp_path: Path) -> None:
    """A state knows the boot of the host that was noted last, over restarts, and no other."""
    told = []
    for boot in ("one", "one", "two", "two", "one"):
        store = Store(tmp_path)
        told.append(store.has_seen_boot(boot))
        store.commit({}, {}, meta={"boot": boot})
        store.close()
    assert [False, True, False, True, False] == told


@pytest.mark.parametrize(
    "hold", [Hold("root"), Hold("uid 7", until=5), Hold("ä", boot="one", below=Hold("b", 7))], ids=str
)
def test_hold(tmp_path: Path, hold: Hold) -> None:
    """Who has asked that nothing new starts is known over restarts, until it is taken back; the boot stays known."""
    known = []
    for meta in ({"boot": "one"}, {"hold": hold_text(hold)}, {}, {"hold": None}, {"hold": None}):
        store = Store(tmp_path)
        store.commit({}, {}, meta=meta)
        store.close()
        store = Store(tmp_path)
        known.append((store.hold(), store.has_seen_boot("one")))
        store.close()
    assert [(None, True), (hold, True), (hold, True), (None, True), (None, True)] == known


TIGHT = """
import json, resource, sys
from pathlib import Path
from jobqueued.state.db.faults import CommitFailed
from jobqueued.state.db.store import Store
from tests.support.states import save_ended

state = Path(sys.argv[1])
store = Store(state)
save_ended(store, 1)
size = (state / "state.db-wal").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5000, resource.RLIM_INFINITY))
said = []
try:
    save_ended(store, 2, text="x" * 100_000)
except CommitFailed as error:
    said.append(str(error))
said.append((state / "ballast").exists())
said.append(list(store.history("job", 9)))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.mend()
save_ended(store, 2, text="x" * 100_000)
said.append(list(store.history("job", 9)))
store.close()
store = Store(state)
said.append(list(store.history("job", 9)))
print(json.dumps(said))
"""


TIGHT_BOOT = """
import resource, sys
from pathlib import Path
from jobqueued.state.db.faults import CommitFailed
from jobqueued.state.db.store import Store

store = Store(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
try:
    store.commit({}, {}, meta={"boot": "new"})
except CommitFailed as error:
    print(error, store.has_seen_boot("new"))
"""


class TestFullDisk:
    def test_ballast_is_real(self, store: Store, tmp_path: Path) -> None:
        """The ballast takes its room on the disk, not only in the file's length."""
        save_ended(store, 1)
        found = (tmp_path / "ballast").stat()
        assert BALLAST == found.st_size
        assert found.st_blocks * 512 >= BALLAST

    def test_the_ballast_is_given_up_first(self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A commit that finds the disk full gives the ballast up, and succeeds in the room that this makes."""
        limit_pages(store, 1)
        monkeypatch.setattr(Path, "unlink", lambda path: (path.rename(tmp_path / "gone"), limit_pages(store, 1000)))
        save_ended(store, 1, text="x" * 100_000)
        assert (tmp_path / "gone").exists()
        assert [1] == list(store.history("job", 9))

    def test_then_it_fails(self, store: Store, tmp_path: Path) -> None:
        """Without room and without ballast a commit fails, keeps nothing of it, and loses nothing older."""
        save_ended(store, 1)
        limit_pages(store, 1)
        for _ in range(2):
            with pytest.raises(CommitFailed, match="database or disk is full"):
                save_ended(store, 2, text="x" * 100_000)
            assert not (tmp_path / "ballast").exists()
        assert [1] == list(store.history("job", 9))

    def test_a_write_that_fails(self, tmp_path: Path) -> None:
        """A write(2) that fails in the middle of a commit keeps the state whole, and the ballast, as the disk is not
        full; opened anew it goes on."""
        found = child(TIGHT, tmp_path)
        assert found.stderr == ""
        assert ["disk I/O error, SQLITE_IOERR_WRITE", True, [1], [2, 1], [2, 1]] == json.loads(found.stdout)

    def test_boot(self, tmp_path: Path) -> None:
        """A boot that can't be noted on a full disk is said as a commit's failure, and is not known."""
        Store(tmp_path).close()
        found = child(TIGHT_BOOT, tmp_path)
        assert found.stderr == ""
        assert "disk I/O error: File too large False\n" == found.stdout

    def test_the_next_start_lays_it_again(self, tmp_path: Path) -> None:
        """A ballast that was given up, or is too small, is whole again after the next start."""
        for damage in (lambda path: path.unlink(), lambda path: path.write_bytes(b"x")):
            Store(tmp_path).close()
            damage(tmp_path / "ballast")
        Store(tmp_path).close()
        assert BALLAST == (tmp_path / "ballast").stat().st_size


def child(program: str, state: Path) -> subprocess.CompletedProcess[str]:
    """A Python program that gets the state directory."""
    command = [sys.executable, "-c", program, str(state)]
    return subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=DEADLINE, check=False)


def test_a_daemon_finds_its_memory_again(host: Host) -> None:
    """Counters and history are those from before SIGKILL."""
    host.write("job.yaml", "jobs: {job: {command: 'true'}}")
    host.start()
    for _ in range(3):
        host.wait(host.run("job"))
    before = host.call("Describe", job="job")
    wait_for(lambda: not host.marks())
    host.kill()
    host.start()
    after = host.call("Describe", job="job")
    assert (before["stats"], before["runs"]) == (after["stats"], after["runs"])


def test_the_condition_of_the_index() -> None:
    """It stays to the letter: SQLite uses the index of an older file only for a query with the same condition."""
    assert "state NOT IN ('due', 'waiting', 'starting', 'running', 'stopping', 'retrying')" == CONDITION
