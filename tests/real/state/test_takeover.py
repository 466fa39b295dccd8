"""The takeover: what the record files know better than state.db is in the first commit, and nothing else is touched."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from jobqueued.base.instants import HOUR, SECOND
from jobqueued.child.contract import wire
from jobqueued.child.contract.documents import Record
from jobqueued.core.records.recollection import run_of
from jobqueued.model.commands import SaveNumber
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import SavedJob
from jobqueued.state import record_files, takeover
from jobqueued.state.db import opening
from jobqueued.state.db.store import Store
from jobqueued.state.takeover import SLACK
from tests.support.records import DAMAGES, NOW, a_record, write
from tests.support.starts import BOOT, Start
from tests.support.states import a_run


def known(
    root: Path, *runs: Run | tuple[Run, Record], saved: SavedJob | None = None, boot: str = BOOT, saved_at: int = 1
) -> None:
    """A state.db whose last commit was then."""
    store = known_store(root)
    rows = {run.id: (run, record) for run, record in (run if isinstance(run, tuple) else (run, None) for run in runs)}
    last = max((run.number for run in rows), default=0)
    store.commit(rows, {"job": saved or SavedJob(job="job", last_number=last)}, None, {"boot": boot})
    store._db.execute("UPDATE meta SET value = ? WHERE name = 'saved'", (str(saved_at),))
    store.close()


def known_store(root: Path) -> Store:
    """A state.db."""
    (root / "state").mkdir(exist_ok=True)
    return Store(root / "state")


class TestLost:
    def test_all_comes_back(self, tmp_path: Path) -> None:
        """History, numbers, counters, cursor and outcomes of every id are in the first commit, and it is said."""
        write(tmp_path / "logs", a_record(1), a_record(2, "failed"), a_record(3, "skipped", count=4))
        write(tmp_path / "logs", a_record(9, job="other"))
        start = Start(tmp_path)
        assert ([1, 2, 3], [9]) == (start.history(), start.history("other"))
        stats = start.jobs["job"].stats
        assert (2, 1, 1, 4) == (stats.started, stats.succeeded, stats.failed, stats.skipped)
        assert (3, NOW + 3 * SECOND, 9) == (
            start.jobs["job"].last_number, start.jobs["job"].cursor, start.jobs["other"].last_number,
        )  # fmt: skip
        assert ["job@3"] == list(start.runs)  # the next skip may join it
        (text,) = start.told
        assert text.startswith(f"{tmp_path}/state/state.db was missing or empty; 4 records of 2 jobs restored from ")
        assert (start.takeover.lost, start.store.has_seen_boot(BOOT)) == (True, True)
        start.close()

    @pytest.mark.parametrize("error", sorted(wire.SHORTAGE))
    def test_nobody_can_tell_now(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
        """A start that lacks descriptors fails, as it would decide by what it could not read; the next takes all."""
        write(tmp_path / "logs", a_record(1), a_record(2))

        def refused(*_: object) -> bytes:
            raise OSError(error, os.strerror(error), "2.json")

        with monkeypatch.context() as patched:
            patched.setattr("jobqueued.child.contract.atomic_file.content", refused)
            with pytest.raises(OSError, match=re.escape(os.strerror(error))):
                Start(tmp_path)
        start = Start(tmp_path)
        assert ([1, 2], 2, True) == (start.history(), start.jobs["job"].last_number, start.takeover.lost)
        start.close()

    def test_it_breaks_meanwhile(self, tmp_path: Path) -> None:
        """What has to go into a new state.db has the numbers of submissions, too, of which none may be left."""
        (tmp_path / "state").mkdir()
        store = Store(tmp_path / "state")
        store.commit({}, {}, numbers={"host": 33, "alice": 7})
        store.close()
        start = Start(tmp_path)
        assert {SaveNumber("host", 33), SaveNumber("alice", 7)} <= {
            it for it in start.takeover.everything() if isinstance(it, SaveNumber)
        }
        start.close()

    def test_nothing_is_new(self, tmp_path: Path) -> None:
        """A first start is no loss."""
        start = Start(tmp_path)
        assert ([], False, False) == (start.told, start.takeover.lost, start.store.has_seen_boot(BOOT))
        start.close()

    def test_set_aside_without_records(self, tmp_path: Path) -> None:
        """A broken state.db is said, be there records or not."""
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "state.db").write_bytes(b"noise" * 1000)
        start = Start(tmp_path)
        assert (True, True) == (start.takeover.lost, "moved to state.db.broken-1; 0 records" in start.told[0])
        start.close()

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_a_damaged_record_costs_itself(self, tmp_path: Path, damage: Callable[[Path], None]) -> None:
        """Its number counts as used and as started, its neighbours are there, and one line says it."""
        write(tmp_path / "logs", *(a_record(number) for number in range(1, 6)))
        damage(tmp_path / "logs" / "job" / "3.json")
        damage(tmp_path / "logs" / "job" / "5.json")
        start = Start(tmp_path)
        assert ([1, 2, 4], 5, 5) == (
            start.history(), start.jobs["job"].last_number, start.jobs["job"].stats.started,
        )  # fmt: skip
        assert [True, True] == [
            "cannot read the records of 2 runs in " in start.told[1],
            "(job@3: " in start.told[1],
        ]
        start.close()
        again = Start(tmp_path)
        assert ([], 5) == (again.told, again.jobs["job"].last_number)
        again.close()

    def test_ten_thousand_damaged(self, tmp_path: Path) -> None:
        """However many are damaged, it is one line."""
        (tmp_path / "logs" / "job").mkdir(parents=True)
        for number in range(1, 3001):
            (tmp_path / "logs" / "job" / f"{number}.json").touch()
        start = Start(tmp_path)
        assert (2, 3000) == (len(start.told), start.jobs["job"].stats.started)
        assert all(len(text) < 500 for text in start.told)
        start.close()

    def test_output_alone(self, tmp_path: Path) -> None:
        """A number of which only output is left is used."""
        write(tmp_path / "logs", a_record(1))
        (tmp_path / "logs" / "job" / "2.log").write_text("so far\n")
        start = Start(tmp_path)
        assert (2, 2, [1]) == (start.jobs["job"].last_number, start.jobs["job"].stats.started, start.history())
        start.close()

    def test_between_two_attempts(self, tmp_path: Path) -> None:
        """What waited for a retry ends as its last attempt did, with one final record."""
        write(tmp_path / "logs", a_record(1, "retrying"))
        start = Start(tmp_path)
        record = start.store.record(RunId("job", 1)) or {}
        reason = "exit code 3; no retry: state.db was lost, or is older than the record"
        assert ("failed", reason, {}) == (record["state"], record["reason"], start.runs)
        start.close()

    def test_what_is_live_is_left_alone(self, tmp_path: Path) -> None:
        """An R of this boot keeps its record for recovery; its number counts, and is not counted as started."""
        write(tmp_path / "logs", a_record(1), a_record(2, "retrying"), a_record(4))
        start = Start(tmp_path, "job@2", "job@4", "job@5", "new@1")
        assert ([1], 5) == (start.history(), start.jobs["job"].last_number)
        assert 2 == start.jobs["job"].stats.started  # the first, and the third, of which nothing is known
        start.close()

    def test_in_parts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Killed between any two commits, the next start takes the rest, and counts nothing twice."""
        monkeypatch.setattr(takeover, "PART", 3)
        write(tmp_path / "logs", *(a_record(number) for number in range(1, 9)))
        write(tmp_path / "logs", *(a_record(number, job="other") for number in range(1, 5)))

        class Killed(Exception):
            pass

        for after in range(5):
            left = after

            def commit(start: list[Start]) -> bool:
                nonlocal left
                if not left:
                    raise Killed
                left -= 1
                return start[0].commit()

            holder: list[Start] = []
            monkeypatch.setattr(Start, "__init__", holding(Start.__init__, holder, commit))
            with contextlib.suppress(Killed):
                Start(tmp_path)
            monkeypatch.undo()
            monkeypatch.setattr(takeover, "PART", 3)
            holder[0].store.close()
        start = Start(tmp_path)
        assert ([*range(1, 9)], [*range(1, 5)]) == (start.history(), start.history("other"))
        assert (8, 4) == (start.jobs["job"].stats.started, start.jobs["other"].stats.succeeded)
        start.close()

    def test_no_room(self, tmp_path: Path) -> None:
        """Where nothing can be committed all but history is taken all the same, and that at the next start."""
        write(tmp_path / "logs", *(a_record(number) for number in range(1, 4)))
        start = Start(tmp_path, commits=lambda: False)
        assert (3, 3, []) == (start.jobs["job"].last_number, start.jobs["job"].stats.started, start.history())
        assert "has no room" in start.told[-1]
        assert start.commit()  # later, in life
        start.close()
        again = Start(tmp_path)
        assert ([1, 2, 3], 3) == (again.history(), again.jobs["job"].stats.started)
        assert [f"{tmp_path}/state/state.db lacked history; 3 records of 1 job restored from {tmp_path}/logs"] == (
            again.told
        )
        again.close()

    def test_what_can_not_be_listed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A directory with EIO is said, harms no other job, and is looked at again."""
        write(tmp_path / "logs", a_record(1), a_record(7, job="other"))
        true = record_files.listing

        def listing(logs: Path, job: str) -> record_files.RecordListing:
            if job == "job":
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return true(logs, job)

        with monkeypatch.context() as patched:
            patched.setattr(record_files, "listing", listing)
            start = Start(tmp_path)
            assert ["other"] == list(start.jobs)
            assert f"{tmp_path}/logs/job: Input/output error" in start.told[1]
            start.close()
        again = Start(tmp_path)
        assert ([1], [7]) == (again.history(), again.history("other"))
        again.close()


class TestBreaking:
    @pytest.mark.parametrize("untaken", ["1", None])
    def test_the_history_comes_back(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untaken: str | None) -> None:
        """Rows of a state.db that breaks over a start are not in the next one: all is taken then, or at the next start.

        It takes parts, so that it breaks in the middle; and its history may have been without rows before.
        """
        monkeypatch.setattr(takeover, "PART", 2)
        opened, holder = opening.to_write, list[Start]()
        rows = {RunId("job", n): (a_run(n, state=RunState.SUCCEEDED), a_record(n)) for n in (1, 2, 3)}
        write(tmp_path / "logs", *(a_record(n) for n in range(1, 5)), *(a_record(n, job="other") for n in range(1, 5)))
        store = known_store(tmp_path)
        store.commit(rows, {"job": SavedJob(job="job", last_number=3)}, None, {"boot": BOOT, "untaken": untaken})
        store.close()

        def damaged(path: Path, *, at_start: bool) -> opening.OpenState:
            return opened(path, at_start=at_start)._replace(damage="page 7 is none" if at_start else "")

        def commit(start: list[Start]) -> bool:
            mended = start[0].store.mend()
            if mended is not None:
                start[0].batch.begin_anew(start[0].takeover.everything(), mended.mirror)
            return start[0].commit()

        with monkeypatch.context() as patched:
            patched.setattr(opening, "to_write", damaged)
            patched.setattr(Start, "__init__", holding(Start.__init__, holder, commit))
            Start(tmp_path)
        holder[0].store.close()
        start = Start(tmp_path)
        assert ([1, 2, 3, 4], [1, 2, 3, 4]) == (start.history(), start.history("other"))
        start.close()


def holding(
    begin: Callable[..., None], holder: list[Start], commit: Callable[[list[Start]], bool]
) -> Callable[..., None]:
    """A start whose commits are that."""

    def __init__(self: Start, root: Path) -> None:
        holder.append(self)
        begin(self, root, commits=lambda: commit(holder))

    return __init__


class TestOlder:
    def test_nothing_is_ahead(self, tmp_path: Path) -> None:
        """Where the records are what the rows say nothing is said, and nothing is committed."""
        run = a_run(1, state=RunState.SUCCEEDED)
        write(tmp_path / "logs", a_record(1))
        known(tmp_path, (run, a_record(1)))
        before = (tmp_path / "state" / "state.db").read_bytes()
        start = Start(tmp_path)
        assert ([], before) == (start.told, (tmp_path / "state" / "state.db").read_bytes())
        start.close()

    def test_what_may_be_told_again(self, tmp_path: Path) -> None:
        """The scheduler hears of runs that this boot, or the end of a run that it will hear of, has made due."""
        live, over = a_run(1, state=RunState.RUNNING, pid=4, started=NOW), a_run(2, state=RunState.SUCCEEDED)
        known(tmp_path, live, (over, a_record(2)))
        keys = ["djob@1", "jjob@1", "djob@2", "dother@7", f"b{BOOT}", "banother", "x1", "djob", "jjob@x"]
        write(tmp_path / "logs", *(a_record(n, job="other", key=key) for n, key in enumerate(keys, 10)))
        start = Start(tmp_path, "other@7")
        expected = ["djob@1", "jjob@1", "dother@7", f"b{BOOT}"]
        assert expected == [run.key for run in start.takeover.recorded]
        start.close()
        again = Start(tmp_path, "other@7")  # that one was killed before the scheduler had heard of them
        assert expected == [run.key for run in again.takeover.recorded]
        again.close()

    def test_what_others_have_made_due(self, tmp_path: Path) -> None:
        """A run that several ends have made due is told of while one of them may be told to the scheduler."""
        known(tmp_path, (a_run(2, state=RunState.SUCCEEDED), a_record(2)))
        by = {"kind": "job", "run": "job@2", "ends": ["job@2", "zero@1"]}
        write(tmp_path / "logs", a_record(10, job="other", key="djob@2", triggered_by=by))
        for found, told in (("zero@1", ["djob@2"]), ("zero@2", []), ("zero@1", [])):
            start = Start(tmp_path, found)
            assert told == [run.key for run in start.takeover.recorded]
            start.close()

    def test_only_what_changed_is_listed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A directory that is older than the last commit costs a stat."""
        write(tmp_path / "logs", a_record(5), a_record(5, job="other"))
        known(tmp_path, saved=SavedJob(job="job"), saved_at=NOW)
        for job, changed in (("job", NOW - HOUR), ("other", NOW - SLACK)):
            os.utime(tmp_path / "logs" / job, ns=(changed, changed))
        listed: list[str] = []
        true = record_files.listing
        monkeypatch.setattr(record_files, "listing", lambda logs, job: listed.append(job) or true(logs, job))
        Start(tmp_path).close()
        assert ["other"] == listed

    def test_a_clock_that_was_ahead(self, tmp_path: Path) -> None:
        """A commit of a later time than now says nothing about what is newer: all is looked at."""
        write(tmp_path / "logs", a_record(5))
        known(tmp_path, saved=SavedJob(job="job"), saved_at=NOW)
        os.utime(tmp_path / "logs" / "job", ns=(NOW - HOUR, NOW - HOUR))
        start = Start(tmp_path, wall=NOW - HOUR)
        assert [5] == start.history()
        start.close()

    def test_numbers_without_a_row(self, tmp_path: Path) -> None:
        """They are history, and numbers, counters and cursor go on behind them, within the rhythm."""
        saved = SavedJob(job="job", last_number=2, cursor=NOW + 2 * SECOND, rhythm="* * * * *")
        known(tmp_path, saved=saved)
        write(tmp_path / "logs", a_record(3), a_record(4, "skipped", last_due=NOW + 90 * SECOND), a_record(6, key="x1"))
        start = Start(tmp_path)
        job = start.jobs["job"]
        assert ([3, 4, 6], 6, NOW + 90 * SECOND, "* * * * *", 3) == (
            start.history(), job.last_number, job.cursor, job.rhythm, job.stats.started,
        )  # fmt: skip
        (text,) = start.told
        assert text.startswith(f"{tmp_path}/state/state.db is older than the records")
        assert not start.takeover.lost
        start.close()

    def test_what_retention_has_forgotten_stays_so(self, tmp_path: Path) -> None:
        """A number that is used already and has no row was let go: its file is no news."""
        known(tmp_path, saved=SavedJob(job="job", last_number=9))
        write(tmp_path / "logs", a_record(3))
        start = Start(tmp_path)
        assert ([], []) == (start.told, start.history())
        start.close()

    ROWS = pytest.mark.parametrize(
        ("row", "record", "end"),
        [
            ({"state": "due"}, a_record(1), "succeeded"),
            ({"state": "waiting"}, a_record(1, "failed"), "failed"),
            ({"state": "waiting"}, a_record(1, "skipped"), "skipped"),
            ({"state": "waiting"}, a_record(1, "retrying"), "failed"),
            ({"state": "waiting", "attempt": 1}, a_record(1), "succeeded"),  # it was sent, and came back
            ({"state": "retrying", "attempt": 2}, a_record(1, attempts=2), "succeeded"),
            ({"state": "retrying", "attempt": 2}, a_record(1, "failed"), None),
            ({"state": "retrying", "attempt": 2}, a_record(1, "retrying"), None),
            ({"state": "waiting", "attempt": 2}, a_record(1, "retrying"), None),
            (
                {"state": "starting", "attempt": 1},
                a_record(1),
                None,
            ),  # recovery takes it, and who waits for that end hears it
            ({"state": "starting", "attempt": 1}, a_record(1, "skipped"), "skipped"),
            ({"state": "running", "attempt": 1, "pid": 7}, a_record(1), None),  # recovery takes it
            ({"state": "running", "attempt": 1, "pid": 7}, a_record(1, "retrying"), "failed"),
            ({"state": "running", "attempt": 1, "pid": 7}, a_record(1, attempts=2), "succeeded"),
            ({"state": "stopping", "attempt": 2, "pid": 7}, a_record(1, "retrying"), None),
        ],
    )

    @ROWS
    def test_a_row_that_is_not_final(
        self, tmp_path: Path, row: dict[str, object], record: Record, end: str | None
    ) -> None:
        """A record that is further ends the row; else the row goes on."""
        run = a_run(1, **{**row, "state": RunState(str(row["state"]))})
        known(tmp_path, run)
        write(tmp_path / "logs", record)
        start = Start(tmp_path)
        ended = start.store.record(RunId("job", 1))
        assert end == (ended and ended["state"])
        assert (end is None) == (start.runs.get("job@1") == run)
        assert (end not in (None, "skipped")) == (start.jobs["job"].stats.started == 1)
        start.close()

    @ROWS
    def test_a_row_with_an_r(self, tmp_path: Path, row: dict[str, object], record: Record, end: str | None) -> None:
        """What has an R is recovery's, whatever its record says."""
        run = a_run(1, **{**row, "state": RunState(str(row["state"]))})
        known(tmp_path, run)
        write(tmp_path / "logs", record)
        start = Start(tmp_path, "job@1")
        assert ({"job@1": run}, []) == (start.runs, start.told)
        start.close()

    def test_an_end_of_an_earlier_boot_is_recoverys(self, tmp_path: Path) -> None:
        """What was starting when the host went down may be tried again by its record, as ever."""
        run = a_run(1, state=RunState.STARTING, attempt=1)
        known(tmp_path, run, boot="an earlier boot")
        write(tmp_path / "logs", a_record(1))
        start = Start(tmp_path)
        assert {"job@1": run} == start.runs
        start.close()

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_a_damaged_record_of_a_row(self, tmp_path: Path, damage: Callable[[Path], None]) -> None:
        """A run that was never sent by its row, and has a file, may have run: it is lost, and never started again."""
        known(tmp_path, a_run(1, state=RunState.WAITING), a_run(2, state=RunState.RETRYING, attempt=2))
        write(tmp_path / "logs", a_record(1), a_record(2, "retrying"))
        damage(tmp_path / "logs" / "job" / "1.json")
        damage(tmp_path / "logs" / "job" / "2.json")
        start = Start(tmp_path)
        record = start.store.record(RunId("job", 1)) or {}
        assert ("lost", ["job@2"]) == (record["state"], list(start.runs))
        assert record["reason"].startswith(
            "it may have run: its files are newer than state.db, and its record can't be "
        )
        start.close()

    def test_output_of_a_row(self, tmp_path: Path) -> None:
        """So it is where it has written something; one whose start failed before may have, too."""
        known(tmp_path, a_run(1, state=RunState.WAITING), a_run(2, state=RunState.WAITING, attempt=1))
        (tmp_path / "logs" / "job").mkdir(parents=True)
        for number in (1, 2):
            (tmp_path / "logs" / "job" / f"{number}.log").write_text("hello\n")
        start = Start(tmp_path)
        record = start.store.record(RunId("job", 1)) or {}
        assert ("lost", "hello\n", ["job@2"]) == (record["state"], record["output"]["tail"], list(start.runs))
        start.close()

    @pytest.mark.parametrize("count", [2, 3, 9])
    def test_the_newest_skip(self, tmp_path: Path, count: int) -> None:
        """A skip that others have joined covers them, too; the next joins the newest."""
        skip, saved = a_record(1, "skipped", count=3), SavedJob(job="job", last_number=1)
        run = a_run(1, state=RunState.SKIPPED, count=3, last_due=NOW, key="c0.1")
        known(tmp_path, (run, skip), saved=saved)
        write(tmp_path / "logs", a_record(1, "skipped", count=count, last_due=NOW + count * SECOND))
        start = Start(tmp_path)
        assert (max(3, count), max(0, count - 3)) == (start.runs["job@1"].count, start.jobs["job"].stats.skipped)
        assert (NOW + 9 * SECOND if count == 9 else 0) == start.jobs["job"].cursor
        start.close()

    @pytest.mark.parametrize(("until", "attempt"), [(3, 0), (2, 0), (3, 1)])
    def test_a_run_that_has_joined_a_skip(self, tmp_path: Path, until: int, attempt: int) -> None:
        """A run that waited, and was given up like the one before it, is covered by the skip of that; and only then."""
        skip = a_record(1, "skipped", count=2, last_due=NOW + 2 * SECOND)
        known(
            tmp_path, (run_of(skip), skip),
            a_run(2, state=RunState.WAITING, key="c0.9", due=NOW + 3 * SECOND, attempt=attempt),
        )  # fmt: skip
        write(tmp_path / "logs", a_record(1, "skipped", count=until, last_due=NOW + until * SECOND))
        start = Start(tmp_path)
        has_joined = (until, attempt) == (3, 0)
        assert (until, has_joined) == ((start.store.record(RunId("job", 1)) or {})["count"], "job@2" not in start.runs)
        assert until - 2 == start.jobs["job"].stats.skipped
        start.close()

    def test_a_skip_that_is_the_newest_no_more(self, tmp_path: Path) -> None:
        """Nothing joins a skip behind which another number is used."""
        run = a_run(1, state=RunState.SKIPPED)
        known(tmp_path, (run, a_record(1, "skipped")), saved=SavedJob(job="job", last_number=1))
        write(tmp_path / "logs", a_record(1, "skipped"), a_record(2))
        start = Start(tmp_path)
        assert ({}, [1, 2]) == (start.runs, start.history())
        start.close()

    def test_no_room(self, tmp_path: Path) -> None:
        """Where nothing can be committed a row that has ended is not started, and nothing is said to be waiting."""
        known(tmp_path, a_run(1, state=RunState.WAITING))
        write(tmp_path / "logs", a_record(1), a_record(2))
        start = Start(tmp_path, commits=lambda: False)
        assert ({}, 2) == (start.runs, start.jobs["job"].last_number)
        assert start.commit()
        start.close()
        again = Start(tmp_path)
        assert ([1, 2], 2) == (again.history(), again.jobs["job"].stats.started)
        again.close()


@pytest.mark.parametrize("has_logs", [True, False])
def test_what_is_live_and_has_no_file_yet(tmp_path: Path, has_logs: bool) -> None:
    """Its number counts as used, so that it is not given again if it ends before recovery looks at it."""
    if has_logs:
        (tmp_path / "logs").mkdir()
    start = Start(tmp_path, "host/7@1", "backup@3")
    assert {"host/7": 1, "backup": 3} == {job.job: job.last_number for job in start.jobs.values()}
    start.close()
