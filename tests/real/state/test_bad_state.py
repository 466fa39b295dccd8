"""A state.db that is cut, damaged, or can't be written: every start works, nothing is forgotten in silence, and what
fails is told apart by what has failed."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from jobqueued.model.commands import SaveBoot, SaveJob, SaveRun
from jobqueued.model.events import StateUnsaved
from jobqueued.model.job import Now
from jobqueued.model.run import RunId
from jobqueued.model.saved import SavedJob
from jobqueued.state.db import faults, opening
from jobqueued.state.db.ballast import BALLAST, Ballast
from jobqueued.state.db.faults import CommitFailed, StateFault, StoreError
from jobqueued.state.db.store import NEWEST, Store
from tests.support.damage import PAGE, SALT, build, cuts, damage, kept, restored
from tests.support.host import Host, wait_for
from tests.support.saving import Saving
from tests.support.states import save_ended


@pytest.fixture(scope="module", params=["killed", "clean"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a scheduler left behind."""
    directory = tmp_path_factory.mktemp("source")
    build(directory, clean=request.param == "clean")
    (directory / "ballast").unlink()
    return directory


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """All that it kept."""
    directory = tmp_path_factory.mktemp("whole") / "state"
    shutil.copytree(source, directory)
    store = Store(directory)
    found = kept(store)
    store.close()
    return found


def start(source: Path, directory: Path, name: str, data: bytes) -> tuple[tuple[object, ...], bool]:
    """Two starts with one file replaced: what the first found, and whether something was said to be wrong."""
    shutil.copytree(source, directory)
    (directory / name).write_bytes(data)
    store = Store(directory)
    found, said = kept(store), bool(store.lost or store.failure)
    restored(store)
    told = tuple(f"{directory}/state.db {what}" for what in ("is corrupt (", "was cut to "))
    assert store.lost is None or store.lost.startswith(told)
    if store.failure is not None:
        store.mend()
        assert "moved to state.db.broken-1" in (store.lost or "")
    try:
        store.commit({}, {}, {}, {"boot": "now"})
    except CommitFailed as met:
        if met.fault is not StateFault.BROKEN:
            raise
        store.mend()
        store.commit({}, {}, {}, {"boot": "now"})
    store.close()
    again = Store(directory)
    assert (None, None, True) == (again.lost, again.failure, again.has_seen_boot("now"))
    again.close()
    shutil.rmtree(directory)
    return found, said


def no_room(*_: object, **__: object) -> None:
    """A disk that is full."""
    raise CommitFailed("no room", StateFault.FULL)


class TestDamaged:
    def test_it_can_not_be_opened_anew(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who asks meanwhile is told why, and what to do."""
        store = Store(tmp_path)
        store.failure = CommitFailed("disk I/O error", StateFault.FAILING)
        with monkeypatch.context() as patched:
            for name in ("to_write", "to_read"):
                patched.setattr(opening, name, no_room)
            with pytest.raises(CommitFailed):
                store.mend()
        with pytest.raises(StoreError, match=r"/state.db can't be opened: no room; free space on its file system$"):
            store.hold()
        store.mend()
        assert store.hold() is None
        store.close()

    def test_cut(self, source: Path, whole: tuple[object, ...], tmp_path: Path) -> None:
        """Cut anywhere, state.db starts whole, or says what is wrong; only of nothing there is nothing to say."""
        data = (source / "state.db").read_bytes()
        for length in cuts(len(data)):
            found, said = start(source, tmp_path / "case", "state.db", data[:length])
            assert said or found == whole or (length == 0 and not found[0]), length

    def test_overwritten(self, source: Path, whole: tuple[object, ...], tmp_path: Path) -> None:
        """With any page overwritten, whatever it was and by whatever, jobs, runs and hold are whole or something is
        said."""
        data = (source / "state.db").read_bytes()
        for number, begin in enumerate(range(0, len(data), PAGE)):
            kind = ("zeros", "ones", "noise", "another")[number % 4]
            for each in {kind, "another"}:
                (*found, texts, hold, boots), said = start(
                    source, tmp_path / "case", "state.db", damage(data, begin, each)
                )
                assert said or [*found, hold, boots] == [*whole[:2], *whole[3:]], (begin // PAGE, each)
                assert set(texts) <= {f"{turn}.yaml" for turn in range(1, 7)}  # type: ignore[arg-type]

    def test_the_log(self, tmp_path: Path) -> None:
        """A write-ahead log that is cut or overwritten anywhere leaves a state of some commit, whole."""
        source = tmp_path / "source"
        source.mkdir()
        build(source, clean=False)
        (source / "ballast").unlink()
        data = (source / "state.db-wal").read_bytes()
        damaged = [data[:length] for length in cuts(len(data))]
        for number, begin in enumerate(range(32, len(data), SALT)):
            damaged.append(damage(data, begin, ("zeros", "ones", "noise", "another")[number % 4]))
        for each in damaged:
            (jobs, runs, texts, _hold, boots), _ = start(source, tmp_path / "case", "state.db-wal", each)
            assert (len(jobs), len(runs), len(texts), len(boots)) in [(n, 3 * n, n, 1) for n in range(3, 7)]

    NONSENSE: ClassVar = {
        "a text for a number": "UPDATE job SET cursor = 'x'",
        "bytes for a text": "UPDATE job SET rhythm = x'ff'",
        "no text": "UPDATE job SET rhythm = CAST(x'ff' AS TEXT)",
        "no JSON": "UPDATE job SET stats = '{'",
        "JSON of something else": "UPDATE job SET stats = '[]'",
        "an unknown name in it": "UPDATE job SET stats = '{\"x\": 1}'",
        "a text for a number in it": 'UPDATE job SET stats = \'{"started": "x"}\'',
        "no list": "UPDATE job SET more = '{\"skips\": 1}'",
        "no outcome": "UPDATE job SET more = '{\"outcomes\": [[1]]}'",
        "no duration": 'UPDATE job SET more = \'{"took": "1 x"}\'',
        "no list of durations": "UPDATE job SET more = '{\"delays\": 5}'",
        "an expectation of nobody": "UPDATE job SET more = '{\"expected\": [1, 2, {}]}'",
        "no wish": 'UPDATE job SET more = \'{"expected": [1, 2, {"tags": [], "user": null, "notify": {}}, 0]}\'',
        "a job that is a path": "UPDATE job SET job = '../../etc' WHERE job = 'job1'",
        "an unknown state": "UPDATE run SET state = 'x' WHERE record IS NULL",
        "an end without a record": "UPDATE run SET record = NULL WHERE number = 3",
        "no claim": "UPDATE run SET more = '{\"claims\": [[1, 2, 3, 4]]}' WHERE record IS NULL",
        "a claim of a number": "UPDATE run SET more = '{\"claims\": [[1]]}' WHERE record IS NULL",
        "an unknown field": "UPDATE run SET more = '{\"x\": 1}' WHERE record IS NULL",
        "a number below the first": "UPDATE run SET number = -1 WHERE record IS NULL AND number = 9",
        "a hold that is none": "UPDATE meta SET value = '{}' WHERE name = 'hold'",
        "a file without bytes": "UPDATE file SET text = 'x'",
        "a table that is gone": "DROP TABLE meta",
        "a column that is gone": "ALTER TABLE job DROP COLUMN more",
    }

    @pytest.mark.parametrize("change", NONSENSE.values(), ids=NONSENSE)
    def test_nonsense(self, tmp_path: Path, change: str) -> None:
        """A row that a start needs and that makes no sense has the whole file set aside, and said."""
        build(tmp_path, clean=True)
        db = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
        db.execute(change)
        db.close()
        store = Store(tmp_path)
        assert (True, ([], [])) == (store.is_new, store.load())
        assert store.lost is not None
        assert store.lost.endswith(", moved to state.db.broken-1")
        store.close()

    @pytest.mark.parametrize("text", ["x'00ff'", "'{'", "'[]'", "'{}'", "CAST(x'ff' AS TEXT)"])
    def test_a_record_costs_itself(self, tmp_path: Path, text: str) -> None:
        """A damaged record of history is not there, and all others are."""
        store = Store(tmp_path)
        save_ended(store, 1, 2, 3)
        store._db.execute(f"UPDATE run SET record = {text} WHERE number = 2")
        assert ([3, 1], None) == (list(store.history("job", 9)), store.record(RunId("job", 2)))
        store.close()
        assert [3, 1] == list(Store(tmp_path).history("job", 9))

    def test_three_are_kept(self, tmp_path: Path) -> None:
        """Of the files that were set aside the newest three stay; it is said which one goes."""
        said = []
        for number in range(1, 6):
            (tmp_path / "state.db").write_bytes(b"%d" % number * 5000)
            (tmp_path / "state.db-wal").write_bytes(b"log %d" % number)
            store = Store(tmp_path)
            said.append(store.lost or "")
            store.close()
        left = sorted(path.name for path in tmp_path.glob("*broken*"))
        assert [f"state.db.broken-{n}{part}" for n in (3, 4, 5) for part in ("", "-wal")] == left
        assert ["removed" in text for text in said] == [False, False, False, True, True]
        assert "state.db.broken-2 removed" in said[4]


class Faulty(sqlite3.Connection):
    """A connection that fails at one statement, counted from when it was armed; a commit is one too."""

    armed: tuple[str, int] | None = None
    """The name of SQLite's error, and how many statements go well before it."""

    def _perhaps_fail(self, statement: str) -> None:
        if Faulty.armed is None or statement.startswith("PRAGMA"):
            return
        name, left = Faulty.armed
        Faulty.armed = (name, left - 1)
        if left == 0:
            error = sqlite3.OperationalError(f"injected {name}")
            error.sqlite_errorcode, error.sqlite_errorname = getattr(sqlite3, name), name
            raise error

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        self._perhaps_fail(arguments[0])
        return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        self._perhaps_fail(arguments[0])
        return super().executemany(*arguments)

    def __exit__(self, *error: Any) -> Any:
        if error[0] is None:
            try:
                self._perhaps_fail("COMMIT")
            except sqlite3.Error:
                self.rollback()
                raise
        return super().__exit__(*error)


@pytest.fixture
def saving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Saving]:
    """One whose connections can be told to fail."""
    monkeypatch.setattr(opening.sqlite3, "connect", partial(sqlite3.connect, factory=Faulty))
    saving = Saving(tmp_path)
    saving.begin()
    yield saving
    Faulty.armed = None
    saving.store.close()


STATEMENTS = 7
"""BEGIN, a run, jobs, a value that goes and one that comes, the instant, COMMIT."""
REMEDIES = {
    "SQLITE_FULL": "free space on its file system", "SQLITE_IOERR_WRITE": "look for disk errors: dmesg",
    "SQLITE_IOERR_FSYNC": "look for disk errors: dmesg", "SQLITE_READONLY": "make it writable for jobqueued",
    "SQLITE_CANTOPEN": "look for disk errors: dmesg", "SQLITE_NOMEM": "free memory",
    "SQLITE_BUSY": "end the program that has it open: fuser state.db",
    "SQLITE_READONLY_DBMOVED": "make it writable for jobqueued",
    "SQLITE_ERROR": "look for disk errors: dmesg",
}  # fmt: skip


class TestFailing:
    @pytest.mark.parametrize("name", REMEDIES)
    def test_a_commit(self, saving: Saving, name: str) -> None:
        """Whatever SQLite says at whichever statement, the state is degraded, with a remedy that fits; the ballast goes
        for want of room only, nothing is set aside, and the next try saves all of it."""
        state = saving.paths.state
        for statement in range(STATEMENTS):
            (state / "ballast").unlink(missing_ok=True)
            saving.log.lines.clear()
            saving.take(SaveJob(SavedJob(job="other", cursor=100 + statement, last_number=1)))
            Faulty.armed = (name, statement)
            assert not saving.commits.make(), statement
            assert f"injected {name}" in (saving.commits.degraded or "")
            assert (saving.commits.degraded or "").endswith(REMEDIES[name])
            saving.wait()
            assert saving.commits.make()
            assert ["degraded", "recovered"] == [event for event, _ in saving.log.lines]
            (other,) = [job for job in saving.store.load()[0] if job.job == "other"]
            assert (100 + statement, {"a.yaml": b"jobs: {}"}) == (other.cursor, saving.store.files())
        assert [] == list(state.glob("*broken*"))

    @pytest.mark.parametrize("name", [name for name in REMEDIES if name != "SQLITE_FULL"])
    def test_the_ballast_is_for_a_full_disk(self, saving: Saving, name: str) -> None:
        """No other fault costs it."""
        saving.batch.take(SaveBoot("later"))
        Faulty.armed = (name, 3)
        saving.commits.make()
        assert BALLAST == (saving.paths.state / "ballast").stat().st_size

    @pytest.mark.parametrize("name", ["SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_SHORT_READ"])
    def test_corruption(self, saving: Saving, name: str) -> None:
        """A state.db that turns out corrupt is set aside; a new one is written from memory in the same turn, so that
        nothing but history is missing at the next start, and that is said."""
        for statement in range(STATEMENTS):
            saving.take(SaveBoot(f"boot {statement}"))
            Faulty.armed = (name, statement)
            assert saving.commits.make()
            event, text = saving.log.lines[-1]
            assert ("trouble", True) == (event, f"moved to state.db.broken-{statement + 1}" in text)
            assert "the next start restores history from the records" in text
        before = kept(saving.store)
        saving.store.close()
        again = Saving(saving.paths.state.parent)
        assert before == kept(again.store)
        assert {"job", "other"} == set(again.store.jobs())
        assert ([saving.run], {"a.yaml": b"jobs: {}"}) == (again.store.load()[1], again.store.files())
        again.store.close()

    def test_a_page_in_the_middle_of_life(self, saving: Saving) -> None:
        """A page that is overwritten under us costs history, and no crash."""
        for number in range(20):
            save_ended(saving.store, number + 10, job="job", text="x" * 3000)
        saving.store.tidy()
        path = saving.paths.state / "state.db"
        with open(path, "r+b") as file:
            file.seek(PAGE)
            file.write(b"\xa5" * (path.stat().st_size - PAGE))
        saving.store._db.execute("PRAGMA shrink_memory")
        saving.batch.take(SaveRun(saving.run))
        assert saving.commits.make()
        assert "moved to state.db.broken-1" in saving.log.lines[-1][1]
        assert [saving.run] == saving.store.load()[1]

    @pytest.mark.parametrize("read", ["record", "history", "ended", "jobs", "files", "query"])
    def test_a_read(self, saving: Saving, read: str) -> None:
        """Whatever SQLite says to a reader costs the answer: StoreError."""
        store = saving.store
        reads: dict[str, Callable[[], object]] = {
            "record": lambda: store.record(RunId("job", 1)), "history": lambda: store.history("job", 1),
            "ended": lambda: store.ended(NEWEST, 0, 1, lambda *_: True), "jobs": store.jobs,
            "files": store.files, "query": lambda: store.query("SELECT job FROM run"),
        }  # fmt: skip
        for name in (*REMEDIES, "SQLITE_CORRUPT"):
            Faulty.armed = (name, 0)
            with pytest.raises(StoreError, match=f"state.db: injected {name}"):
                reads[read]()

    def test_tries(self, saving: Saving) -> None:
        """While it fails it is tried every 10 s, and at most once a second however much there is to do."""
        saving.batch.take(SaveBoot("later"))
        Faulty.armed = ("SQLITE_IOERR_WRITE", 0)
        assert not saving.commits.make()
        tried = saving.commits._tried_at
        assert (False, tried + 10 * 10**9) == (saving.commits.make(), saving.commits.deadline)
        assert tried == saving.commits._tried_at
        saving.commits.last()
        assert (None, None) == (saving.commits.degraded, saving.commits.deadline)

    def test_recovery_is_proven(self, saving: Saving) -> None:
        """With nothing to save, it is degraded until something could be written all the same."""
        saving.commits.degrade(CommitFailed("said by housekeeping", StateFault.FULL))
        saving.wait()
        Faulty.armed = ("SQLITE_IOERR_WRITE", 0)
        assert not saving.commits.make()
        saving.wait()
        assert saving.commits.make()

    def test_texts_stay_where_a_disk_fails(self, saving: Saving) -> None:
        """Job files' texts give way to a full disk only: else the commit would be tried twice each time."""
        saving.batch.take_files({"b.yaml": b"jobs: {}"})
        Faulty.armed = ("SQLITE_IOERR_WRITE", 2)
        assert not saving.commits.make()
        assert Faulty.armed == ("SQLITE_IOERR_WRITE", -1)

    @pytest.mark.parametrize("replaced", [False, True])
    def test_a_file_that_is_gone(self, saving: Saving, tmp_path: Path, replaced: bool) -> None:
        """A state.db that somebody removed, or put another in the place of, is written anew from memory."""
        path = saving.paths.state / "state.db"
        (tmp_path / "other").mkdir()
        Store(tmp_path / "other").close()
        path.unlink()
        if replaced:
            (tmp_path / "other" / "state.db").rename(path)
        saving.batch.take(SaveBoot("later"))
        assert saving.commits.make()
        assert "state.db was removed or replaced" in saving.log.lines[-1][1]
        assert replaced == ("moved to state.db.broken-1" in saving.log.lines[-1][1])
        assert (["job", "other"], True) == (saving.store.jobs(), path.exists())


class TestStart:
    @pytest.mark.parametrize("name", ["SQLITE_IOERR_READ", "SQLITE_NOMEM", "SQLITE_BUSY", "SQLITE_CANTOPEN"])
    def test_what_can_not_be_read_now(self, saving: Saving, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        """A disk that fails, no memory, another program: the start says so, and nothing is set aside or given up."""
        saving.store.close()

        def fails(_db: sqlite3.Connection) -> None:
            error = sqlite3.OperationalError(f"injected {name}")
            error.sqlite_errorcode, error.sqlite_errorname = getattr(sqlite3, name), name
            raise error

        monkeypatch.setattr(opening, "_read", fails)
        with pytest.raises(StoreError, match=f"^{saving.paths.state}/state.db: injected {name}.*; "):
            Store(saving.paths.state)
        assert ["ballast", "state.db"] == sorted(
            path.name for path in saving.paths.state.glob("*") if path.suffix != ".db-wal"
        )

    def test_it_can_not_commit(self, saving: Saving) -> None:
        """A start that can't commit lets nothing new start, and says why; the first commit lets it."""
        saving.store.close()
        again = Saving(saving.paths.state.parent)
        assert not again.batch  # and yet it is tried
        assert again.commits
        Faulty.armed = ("SQLITE_IOERR_WRITE", 1)
        assert not again.commits.make()
        (event,) = again.commits.begun()
        assert isinstance(event, StateUnsaved)
        assert "live runs continue, but nothing new starts" in event.reason
        now = Now(0, 0)
        assert (False, ()) == (again.commits.has_more, again.commits.turn(now))
        again.wait()
        assert again.commits.make()
        assert (True, (StateUnsaved(""),)) == (again.commits.has_more, again.commits.turn(now))
        assert (False, ()) == (again.commits.has_more, again.commits.turn(now))
        again.store.close()

    @pytest.mark.parametrize(
        ("found", "fault"),
        [
            ("Tree 5 page 7: unable to get the page. error code=266", StateFault.FAILING),
            ("Tree 5 page 7: unable to get the page. error code=522", None),
            ("Tree 5 page 7: btreeInitPage() returns error code 11", None),
        ],
    )
    def test_a_check_that_can_not_read(self, found: str, fault: StateFault | None) -> None:
        """A sector that can't be read, which SQLite reports as if it were damage, has nothing set aside."""

        class Checked:
            def execute(self, _statement: str) -> Any:
                return self

            def fetchone(self) -> tuple[str]:
                return (found,)

        db: Any = Checked()
        if fault is None:
            assert found == opening._flaw(db, "quick_check(job)")
        else:
            with pytest.raises(CommitFailed) as failed:
                opening._flaw(db, "quick_check(job)")
            assert (fault, "") == (failed.value.fault, opening._damage(db))


class TestBallast:
    def test_it_comes_back(self, tmp_path: Path) -> None:
        """Once there is room it is laid again, in a moment in which nothing is due."""
        store = Store(tmp_path)
        Ballast(tmp_path).give_up()
        store.tidy()
        assert BALLAST == (tmp_path / "ballast").stat().st_size
        store.close()

    def test_what_was_set_aside_goes_next(self, tmp_path: Path) -> None:
        """The oldest first, with all that belongs to it; nothing else, and each is told once."""
        store = Store(tmp_path)
        names = ["state.db.broken-2", "state.db.broken-2-wal", "state.db.broken-10", "state.db.broken-x", "notes"]
        for name in names:
            (tmp_path / name).touch()
        ballast = store._ballast
        assert [True, True, True, False] == [ballast.give_up() for _ in range(4)]
        assert ["state.db.broken-2", "state.db.broken-10"] == store.given_up()
        assert [] == store.given_up()
        assert [False, False, False, True, True] == [(tmp_path / name).exists() for name in names]
        store.close()

    def test_nothing_about_it_is_fatal(self, tmp_path: Path) -> None:
        """It may be a directory, or have none."""
        (tmp_path / "ballast").mkdir()
        for directory in (tmp_path, tmp_path / "none"):
            Ballast(directory).lay()
            assert not Ballast(directory).give_up()


def test_the_kernel_tells_what_sqlite_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of I/O is a full quota, a read-only file system or too many open files if a small file meets that."""
    for number, fault in (("EDQUOT", StateFault.FULL), ("EROFS", StateFault.READ_ONLY), ("EMFILE", StateFault.LIMIT)):
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_IOERR_WRITE, "SQLITE_IOERR_WRITE"
        found = OSError(getattr(faults.errno, number), "the kernel's words")
        monkeypatch.setattr(faults, "_asked", lambda _directory, found=found: found)
        failed = faults.failure(error, tmp_path)
        assert ("disk I/O error: the kernel's words", fault) == (str(failed), failed.fault)


def test_a_daemon_writes_its_memory_anew(host: Host) -> None:
    """A state.db that is lost under a daemon costs nothing that waits: queue, pauses, hold, numbers and the last good
    text of a job file are those of before at the next start."""
    host.write("jobs.yaml", "jobs: {work: {command: 'true'}, rest: {command: 'true'}}")
    host.start()
    host.wait(host.run("work"))
    host.wait(f"{host.call('Submit', submission={'keys': {'command': 'true'}})['job']}@1")
    shutil.rmtree(host.root / "logs" / "host+1")
    host.call("Pause", job="rest")
    host.call("Hold")
    waiting = host.run("work")
    (host.root / "state" / "state.db").unlink()
    second = host.run("work")
    wait_for(lambda: any("the daemon writes a new one" in line["message"] for line in host.said("trouble")))
    host.write("jobs.yaml", "jobs: [")
    wait_for(lambda: host.said("refused"))
    host.kill()
    host.start()
    status = host.call("Status")
    assert (status["state"], status["due"] + status["waiting"]) == ("ok", 2)
    assert "on hold" in host.call("Why", run=waiting)["why"]["reasons"][0]
    host.call("Release")
    assert [host.wait(run)["state"] for run in (waiting, second)] == ["succeeded", "succeeded"]
    assert host.run("work") == "work@4"
    assert host.call("List")["jobs"][0]["paused"] is True
    again = host.call("Submit", submission={"keys": {"command": "true"}})
    assert again["job"] == "host/2", "though nothing tells of host/1"


_LEFT_HOT = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
print(db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'history'").fetchone()[0], flush=True)
db.execute("UPDATE meta SET value = value")
os._exit(0)
"""


def test_an_end_that_only_r_has_beside_a_damaged_file(host: Host) -> None:
    """Its record can't be written, and state.db has to be written anew without history: nobody hears of it twice."""
    host.write("jobs.yaml", "jobs:\n  first: {command: 'true'}\n  next: {command: 'true', on: {job: first}}\n")
    (host.root / "logs").mkdir()
    (host.root / "logs" / "first").touch()  # no directory
    host.start()
    run = host.run("first")
    wait_for(lambda: host.record("next@1"))
    wait_for(lambda: host.marks() == [f"{run}.1"])
    host.kill()
    state = host.root / "state" / "state.db"
    page = int(subprocess.check_output([sys.executable, "-c", _LEFT_HOT, state]))
    with state.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(b"\xa5" * PAGE)
    (host.root / "logs" / "first").unlink()
    host.start()
    assert "the daemon writes a new one with everything except history" in host.log()
    assert wait_for(lambda: host.record(run))["state"] == "succeeded"
    wait_for(lambda: not host.marks())
    assert ["first@1", "next@1"] == [line["record"]["run"] for line in host.said("run_ended")]
