"""Housekeeping: retention lets go of what is meant to expire, and of nothing else; what is missing is written."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from jobqueued.base.instants import DAY, HOUR, MINUTE
from jobqueued.child.contract import wire
from jobqueued.core.records.recollection import run_of
from jobqueued.host.log import Log
from jobqueued.model.commands import SaveSubmission
from jobqueued.model.job import Now
from jobqueued.model.run import RunId
from jobqueued.model.saved import SavedJob
from jobqueued.settings.paths import Paths
from jobqueued.settings.settings import Retention
from jobqueued.state import missing_records, record_files
from jobqueued.state.commits import Commits
from jobqueued.state.db.faults import CommitFailed, StateFault
from jobqueued.state.db.store import Store
from jobqueued.state.housekeeping import AGAIN, RUNS_A_TURN, Housekeeping, Limits
from jobqueued.state.record_files import RUN_OVERHEAD
from jobqueued.state.write_batch import WriteBatch
from tests.support.host import Host, wait_for
from tests.support.records import DAMAGES, NOW, a_record, write

KEEP = Retention(runs=10_000)


class House:
    """A state.db, record files, and who keeps them."""

    def __init__(self, root: Path) -> None:
        self.logs, self.live = root / "logs", set[RunId]()
        (root / "state").mkdir()
        self.store = Store(root / "state")
        self.commits = Commits(self.store, WriteBatch(self.store), list, Paths.chosen(root), Log("json"))
        self.log = Log("json")
        self.filed: list[RunId] = []

    def rows(self, *numbers: int, state: str = "succeeded") -> None:
        """History without files."""
        records = [a_record(number, state) for number in numbers]
        runs = [run_of(record) for record in records]
        rows = {run.id: (run, record) for run, record in zip(runs, records, strict=True)}
        self.store.commit(rows, {"job": SavedJob(job="job", last_number=max(numbers, default=0))})

    def keep(self, number: int, *, age: int = 0, size: int = 0, ending: str = ".json", job: str = "job") -> None:
        """A file that a run left `age` ns ago."""
        path = Path(record_files.path_of(self.logs, RunId(job, number)) + ending)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
        os.utime(path, ns=(NOW - age, NOW - age))

    def submitted(self, *numbers: int, user: str = "alice", size: int = 0) -> None:
        """Submissions of a user that are over, the first the oldest, each with a file."""
        rows = {}
        for number in numbers:
            record = {**a_record(1), "job": f"{user}/{number}", "run": f"{user}/{number}@1"}
            run = replace(run_of(record), queued=NOW - (1000 - number) * MINUTE)
            rows[run.id] = run, record
            self.keep(1, age=(1000 - number) * MINUTE, size=size, job=run.id.job)
        saves = [SaveSubmission(job, "{}", job.replace("/", "")) for job, _ in rows]
        self.store.commit(rows, {}, submissions=saves, over=[job for job, _ in rows])

    @property
    def pages(self) -> int:
        """The bytes of state.db that are in use."""
        return sum(
            factor * self.store.query(f"PRAGMA {figure}")[0][0] * self.store.query("PRAGMA page_size")[0][0]
            for factor, figure in ((1, "page_count"), (-1, "freelist_count"))
        )

    @property
    def left(self) -> list[str]:
        """The jobs that have a directory."""
        return record_files.jobs(self.logs)

    def sweep(
        self,
        retention: Retention = KEEP,
        turns: int = 1000,
        went_down: int | None = None,
        is_nowhere: Callable[[str], bool] = lambda _: False,
        **limits: Any,
    ) -> Housekeeping:
        """All that there is to do after a start."""
        housekeeping = Housekeeping(
            self.commits,
            self.logs,
            Limits(retention, **limits),
            lambda: self.live,
            self.log,
            self.filed.append,
            is_nowhere,
        )
        housekeeping.begin(Now(NOW, 0), went_down)
        return self.go_on(housekeeping, turns=turns)

    def go_on(self, housekeeping: Housekeeping, mono: int = 0, turns: int = 1000) -> Housekeeping:
        """All that there is to do by then."""
        while housekeeping.deadline is not None and housekeeping.deadline <= mono and (turns := turns - 1):
            housekeeping.turn(Now(NOW, mono))
        return housekeeping

    @property
    def files(self) -> list[int]:
        """The numbers that have files."""
        return record_files.numbers(self.logs, "job")

    @property
    def records(self) -> list[int]:
        """The numbers that have whole record files."""
        return [n for n in self.files if record_files.read(self.logs, RunId("job", n)) is not None]

    @property
    def history(self) -> list[int]:
        """The numbers that have rows."""
        return sorted(self.store.history("job", 10_000))


def blocks(directory: Path) -> int:
    """The bytes that a directory and its content take of the disk."""
    return sum(path.lstat().st_blocks * 512 for path in (directory, *directory.rglob("*")))


@pytest.fixture(autouse=True)
def files_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count only the files, so that the tests can use small numbers."""
    monkeypatch.setattr(record_files, "RUN_OVERHEAD", 0)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """An empty one."""
    house = House(tmp_path)
    yield house
    house.store.close()


def test_none_waits_for_ever(house: House) -> None:
    """However many runs of others end meanwhile, each job has its turn: 30 jobs that always have more to look at."""
    busy = [f"busy-{number}" for number in range(30)]
    for job in ("job", *busy):
        for number in range(1, 6):
            house.keep(number, age=HOUR, job=job)
    housekeeping = house.sweep(KEEP)
    housekeeping.note("job", Now(NOW, 0))
    assert housekeeping.deadline is not None
    mono = housekeeping.deadline
    house.keep(6, job="job")
    housekeeping._retention = Retention(runs=2)
    for number in range(40):
        for job in busy:
            housekeeping.note(job, Now(NOW, mono))
            house.keep(10 + number, job=job)
        housekeeping.turn(Now(NOW, mono))
    assert house.files == [5, 6]


class TestWhatIsOver:
    """Submissions that are over, and other jobs that are nowhere any more."""

    def test_submissions_of_a_user_are_one_history(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """The newest so many of each user stay; of others nothing is left, neither directory nor row nor key."""
        monkeypatch.setattr("jobqueued.state.housekeeping.OF_SUBMISSIONS", 2)
        house.submitted(*range(1, 121))
        house.submitted(7, user="bob")
        gone = list[str]()
        housekeeping = Housekeeping(
            house.commits, house.logs, Limits(Retention(runs=3)), lambda: house.live, house.log, house.filed.append,
            is_nowhere=lambda _: True,
        )  # fmt: skip
        housekeeping.begin(Now(NOW, 0))
        while housekeeping.deadline == 0:
            gone += [event.job for event in housekeeping.turn(Now(NOW, 0))]
        assert [*(f"alice/{number}" for number in range(115, 121)), "bob/7"] == house.left
        assert [f"alice/{number}" for number in range(114, 0, -1)] == gone
        assert [None, "alice/120"] == [house.store.submission_of("alice", f"alice{number}") for number in (114, 120)]
        assert 7 == len(house.store.query("SELECT job FROM run"))

    def test_a_start_reads_no_record(self, house: House) -> None:
        """Which jobs have history is found without a look at it, which may be gigabytes."""
        said = list[str]()
        house.rows(1, 2)
        house.store._db.set_trace_callback(said.append)
        house.sweep()
        house.store._db.set_trace_callback(None)
        query = next(text for text in said if "DISTINCT job" in text)
        assert "COVERING INDEX" in house.store.query(f"EXPLAIN QUERY PLAN {query}")[0][-1]

    def test_a_job_that_never_ran(self, house: House) -> None:
        """One that is taken out of its file is forgotten a minute later, not only at the next start."""
        housekeeping = house.sweep(is_nowhere=lambda _: True)
        housekeeping.note("job", Now(NOW, 5))
        assert 5 + MINUTE == housekeeping.deadline
        gone = [event.job for _ in range(3) for event in housekeeping.turn(Now(NOW, 5 + MINUTE))]
        assert (["job"], DAY) == (gone, housekeeping.deadline)

    def test_a_job_that_runs_no_more(self, house: House) -> None:
        """What of it becomes too old while the daemon goes on goes within a day, but for the newest run."""
        house.rows(1, 2, 3)
        for number in (1, 2, 3):
            house.keep(number, size=9)
        housekeeping = house.sweep(Retention(age=DAY))
        assert [1, 2, 3] == house.files
        while (at := housekeeping.deadline) is not None and at < 2 * DAY:
            housekeeping.turn(Now(NOW + 2 * DAY, at))
        assert ([3], [3], 2 * DAY) == (house.files, house.history, at)

    def test_by_age_and_bytes(self, house: House) -> None:
        """They go by age, the last one too, and by the bytes that a user may have."""
        house.submitted(*range(1, 11), size=100)
        house.submitted(1, 2, user="bob", size=1000)
        house.sweep(is_nowhere=lambda _: True, of_a_user=300)
        assert ["alice/10", "alice/8", "alice/9"] == house.left
        house.sweep(Retention(age=HOUR), is_nowhere=lambda _: True)
        assert [] == house.left

    def test_what_is_over_counts_once(self, house: House) -> None:
        """An array has bytes of its own until it is over, and is one of the user's submissions then."""
        house.submitted(5, size=100)
        is_over = list[bool]()
        housekeeping = house.sweep(is_nowhere=lambda _: bool(is_over))
        assert 100 == housekeeping.kept
        is_over.append(True)
        housekeeping.note("alice/5", Now(NOW, 0))
        house.go_on(housekeeping, MINUTE)
        assert 100 == housekeeping.kept

    def test_a_crontab_has_a_part_of_its_users_bytes(self, house: House) -> None:
        """What is saved of a user's crontab counts with the rest of that user; root's crontab is the host's."""
        for number in (1, 2, 3, 4):
            house.keep(number, size=100, job="crontabs/alice:x")
            house.keep(number, size=900, job="crontabs/root:x")
        house.keep(1, size=100, job="alice/y")
        house.sweep(of_a_user=300)
        kept = {job: record_files.numbers(house.logs, job) for job in house.left}
        assert {"crontabs/alice:x": [3, 4], "alice/y": [1], "crontabs/root:x": [1, 2, 3, 4]} == kept

    def test_jobs_of_a_user_share_the_bytes(self, house: House) -> None:
        """What a user's jobs in files keep counts, too: the largest gives way; the host's are not asked."""
        for number in (1, 2, 3, 4):
            house.keep(number, size=100, job="alice/x")
            house.keep(number, size=900, job="host/x")
        house.keep(1, size=100, job="alice/y")
        house.sweep(of_a_user=300)
        kept = {job: record_files.numbers(house.logs, job) for job in house.left}
        assert {"alice/x": [3, 4], "alice/y": [1], "host/x": [1, 2, 3, 4]} == kept

    def test_many_jobs_of_a_user_keep_no_more(self, house: House) -> None:
        """Where each job has one run, some lose it, but not a live one; each job of the host keeps its newest."""
        for name in "abcdef":
            house.keep(1, size=100, job=f"alice/{name}")
            house.keep(1, size=900, job=f"host/{name}")
        house.live.add(RunId("alice/f", 1))
        house.sweep(of_a_user=300)
        kept = [job for job in house.left if record_files.numbers(house.logs, job)]
        assert ["alice/a", "alice/b", "alice/f", *(f"host/{name}" for name in "abcdef")] == kept

    def test_small_runs_of_a_user_take_at_most_twice_the_space(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A user may rename jobs, so each run may have a directory, a file and a row."""
        monkeypatch.setattr(record_files, "RUN_OVERHEAD", RUN_OVERHEAD)
        jobs = [f"crontabs/alice:{number}" for number in range(400)]
        before, rows = house.pages, {}
        for job in jobs:
            document = a_record(1, job=job)
            record_files.write(house.logs, document)
            rows[RunId(job, 1)] = run_of(document), document
        house.store.commit(rows, {job: SavedJob(job=job, last_number=1) for job in jobs})
        taken = house.pages - before + blocks(house.logs)
        house.sweep(is_nowhere=lambda _: True, of_a_user=1 << 20)
        left = house.pages - before + blocks(house.logs)
        assert left <= 2 << 20 < taken, (left, taken)

    def test_much_output_is_checked_at_once(self, house: House) -> None:
        """The ends of a user's runs, or of all runs, wait no minute once their output used a quarter of a limit."""
        housekeeping = house.sweep(of_a_user=400, max_use=4000)
        ends = [("alice/x", 99), ("bob/x", 99), ("crontabs/alice:y", 1), ("host/x", 800), ("host/y", 100)]
        soon = []
        for job, output in ends:
            housekeeping.note(job, Now(NOW, 5), output)
            soon.append(housekeeping.deadline == 5)
            house.go_on(housekeeping, 5)
        assert [False, False, True, False, False] == soon
        housekeeping.note("host/x", Now(NOW, 5), 100)
        assert housekeeping.deadline == 5

    def test_an_array_that_goes_on_keeps_its_runs(self, house: House) -> None:
        """While it is not over it is no pool, and keeps as many as one."""
        for number in range(1, 8):
            house.keep(number, job="alice/1")
        house.sweep(Retention(runs=3))
        assert list(range(1, 8)) == record_files.numbers(house.logs, "alice/1")

    def test_a_job_that_was_removed_long_ago(self, house: House) -> None:
        """When its last run has expired nothing is left of it; one that is in a file keeps its newest."""
        house.keep(1, age=3 * DAY)
        house.keep(1, age=3 * DAY, job="there")
        gone = house.sweep(Retention(age=DAY), is_nowhere="job".__eq__)
        assert ["there"] == house.left
        assert gone.troubles == []


class TestRetention:
    def test_by_runs(self, house: House) -> None:
        """The newest so many by number stay, whichever file was written last."""
        for number in (8, 9, 10, 11):
            house.keep(number, age=number * MINUTE)
        house.sweep(Retention(runs=4))
        assert [8, 9, 10, 11] == house.files
        house.sweep(Retention(runs=2))
        assert [10, 11] == house.files

    def test_skips_evict_no_run(self, house: House) -> None:
        """They are counted apart, so a job that can't run for a while keeps its history."""
        house.rows(1, 2, 3)
        house.rows(*range(4, 10), state="skipped")
        house.sweep(Retention(runs=2))
        assert ([2, 3, 8, 9], [2, 3, 8, 9]) == (house.history, house.files)

    def test_room(self, house: House) -> None:
        """A disk without room for output, by `keep_free`, or none at all, is a trouble as long as it is so."""
        house.logs.mkdir()
        free = os.statvfs(house.logs)
        kept = free.f_bavail * free.f_frsize + (1 << 40)
        (told,) = house.sweep(keep_free=kept).troubles
        assert told.startswith(f"{house.logs}: ")
        assert told.endswith(
            " must stay free (keep_free in jobqueued.yaml): no output is saved; free space on its file system"
        )
        assert [] == house.sweep(keep_free=0).troubles
        house.logs.rmdir()
        assert [] == house.sweep(keep_free=kept).troubles

    def test_by_age(self, house: House) -> None:
        """What was last written longer ago goes; output counts as much as the record."""
        for number, hours in ((1, 30), (2, 25), (3, 23), (4, 0)):
            house.keep(number, age=hours * HOUR)
        house.keep(1, age=HOUR, ending=".log")
        house.sweep(Retention(age=DAY))
        assert [1, 3, 4] == house.files

    @pytest.mark.parametrize(("bound", "left"), [(299, [3, 4]), (300, [2, 3, 4]), (400, [1, 2, 3, 4])])
    def test_by_bytes(self, house: House, bound: int, left: list[int]) -> None:
        """Records and output together stay within the bound; the oldest go."""
        for number in (1, 2, 3, 4):
            house.keep(number, size=40)
            house.keep(number, size=60, ending=".log")
        house.sweep(Retention(bytes=bound))
        assert left == house.files

    @pytest.mark.parametrize(
        ("max_use", "left"),
        [
            (None, {"big": 9, "even": 4, "small": 2}), (1500, {"big": 9, "even": 4, "small": 2}),
            (1400, {"big": 8, "even": 4, "small": 2}), (1000, {"big": 4, "even": 4, "small": 2}),
            (900, {"big": 4, "even": 3, "small": 2}), (10, {"big": 1, "even": 1, "small": 1}),
        ],
    )  # fmt: skip
    def test_by_the_bytes_of_all(self, house: House, max_use: int | None, left: dict[str, int]) -> None:
        """All jobs together stay within the bound: the one with most gives its oldest, the newest of each stays."""
        for job, runs in (("big", 9), ("even", 4), ("small", 2)):
            for number in range(1, runs + 1):
                house.keep(number, size=100, job=job)
        house.sweep(max_use=max_use)
        found = {job: record_files.numbers(house.logs, job) for job in left}
        assert left == {job: len(numbers) for job, numbers in found.items()}
        assert {"big": 9, "even": 4, "small": 2} == {job: numbers[-1] for job, numbers in found.items()}

    def test_the_newest_stays(self, house: House) -> None:
        """The newest run stays, however old and large it is."""
        house.keep(1, age=2 * DAY, size=10)
        house.keep(2, age=9 * DAY, size=9000)
        house.sweep(Retention(runs=1, age=DAY, bytes=1))
        assert [2] == house.files

    @pytest.mark.parametrize("is_skip", [False, True])
    def test_the_newest_stays_when_another_job_needs_the_room(self, house: House, is_skip: bool) -> None:
        """Of a job without a new run since the last check, too."""
        numbers = range(1, 15)
        house.rows(*numbers[:-1])
        house.rows(numbers[-1], state="skipped" if is_skip else "succeeded")
        for number in numbers:
            house.keep(number, size=10)
        house.keep(1, job="other")
        housekeeping = house.sweep(max_use=5000)
        assert list(numbers) == house.files
        house.keep(2, job="other", size=9000)
        housekeeping.note("other", Now(NOW, MINUTE))
        house.go_on(housekeeping, HOUR)
        assert ([numbers[-1]], [2]) == (house.files, record_files.numbers(house.logs, "other"))

    def test_strangers_stay(self, house: House) -> None:
        """Retention lets go of runs only."""
        for number in (1, 2):
            house.keep(number)
        (house.logs / "job" / "README").touch()
        house.sweep(Retention(runs=1))
        assert ["2.json", "README"] == sorted(os.listdir(house.logs / "job"))

    def test_row_and_files_go_together(self, house: House) -> None:
        """An expired run loses its files and its row; the others keep both."""
        house.rows(1, 2, 3)
        write(house.logs, *(a_record(number) for number in (1, 2, 3)))
        house.sweep(Retention(runs=2))
        assert ([2, 3], [2, 3]) == (house.files, house.history)
        assert [RunId("job", 1)] == house.filed

    def test_a_file_that_is_missing_forgets_nothing(self, house: House) -> None:
        """Where a full disk left only the beginnings of records, rows stay, and become records again."""
        house.rows(*range(1, 301))
        for number in range(1, 301):
            house.keep(number, age=99 * DAY, ending=".json.tmp")
        house.sweep()
        assert list(range(1, 301)) == house.history == house.records
        assert 300 == len(os.listdir(house.logs / "job"))

    def test_a_row_without_a_file_grows_old(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where no record can ever be written history stays within the same bounds, by when its runs were queued."""
        monkeypatch.setattr(record_files, "write", fails)
        house.rows(1, 2, 3, 4)
        house.sweep(Retention(runs=3))
        assert [2, 3, 4] == house.history
        old = a_record(1, queued="2020-01-01T00:00:00.000000Z")
        house.store.commit({RunId("job", 1): (run_of(old), old)}, {})
        house.sweep(Retention(age=DAY))
        assert [2, 3, 4] == house.history

    @pytest.mark.parametrize("broken", ["listing", "files"])
    def test_what_can_not_be_looked_at_is_not_old(
        self, house: House, monkeypatch: pytest.MonkeyPatch, broken: str
    ) -> None:
        """EIO of the directory or of a file says nothing about its age."""
        house.rows(1, 2, 3)
        write(house.logs, *(a_record(number) for number in (1, 2, 3)))
        monkeypatch.setattr(record_files, broken, fails)
        house.sweep(Retention(runs=1, age=1, bytes=1))
        assert ([1, 2, 3], [1, 2, 3]) == (house.history, [1, 2, 3])

    def test_what_can_not_be_removed_stays(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """A read-only disk keeps its records, and so does history."""
        house.rows(1, 2, 3)
        write(house.logs, *(a_record(number) for number in (1, 2, 3)))
        monkeypatch.setattr(record_files, "remove", fails)
        house.sweep(Retention(runs=1))
        assert ([1, 2, 3], [1, 2, 3]) == (house.history, house.files)

    def test_a_failing_commit_is_made_up_for(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """Rows that could not be forgotten when their files went go the next time, and nothing comes back for long."""
        house.rows(1, 2, 3)
        write(house.logs, *(a_record(number) for number in (1, 2, 3)))
        with monkeypatch.context() as patched:
            patched.setattr(house.store, "forget", fails_to_commit)
            house.sweep(Retention(runs=1))
            assert ([3], "disk full" in (house.commits.degraded or "")) == (house.files, True)
        house.commits.make()
        house.sweep(Retention(runs=1))
        assert ([3], [3]) == (house.files, house.history)


def fails(*_: object, error: int = errno.EIO) -> None:
    """Any step, on a disk that is broken."""
    raise OSError(error, os.strerror(error))


def fails_to_commit(*_: object) -> None:
    """A commit, on a disk that is full."""
    raise CommitFailed("disk full", StateFault.FULL)


class TestMissing:
    def test_all_rows_have_files_after_the_start(self, house: House) -> None:
        """Whoever was to write a record, it is written from its row, unless its run is live."""
        house.rows(1, 2, 3, 4)
        house.live.add(RunId("job", 4))
        (house.logs / "job").mkdir(parents=True)
        (house.logs / "job" / "2.json").touch()
        house.sweep()
        assert [1, 2, 3] == house.records
        assert a_record(2) == record_files.read(house.logs, RunId("job", 2))

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_what_the_scheduler_wrote_is_as_its_row(self, house: House, damage: object) -> None:
        """A record that the scheduler was to write, and that is damaged, is written again where that is possible."""
        house.rows(1, 2, state="lost")
        write(house.logs, a_record(1, "lost"), a_record(2, "retrying"))
        damage(house.logs / "job" / "1.json")  # type: ignore[operator]
        house.sweep()
        whole = a_record(1, "lost") == record_files.read(house.logs, RunId("job", 1))
        assert (damage.__name__ != "directory", a_record(2, "lost")) == (  # type: ignore[attr-defined]
            whole, record_files.read(house.logs, RunId("job", 2)),
        )  # fmt: skip

    @pytest.mark.parametrize(
        "left", [b"", bytes(500), b'{"run": "job@1", "jo', wire.encode(a_record(1))[:-1] + bytes(1)]
    )
    def test_what_the_power_took(self, house: House, left: bytes) -> None:
        """A record that was about to reach the disk when the host went down, and did not, whoever wrote it, is written
        again from its row; of one that was written long before nobody looks at more than its size.
        """
        house.rows(1, 2)
        write(house.logs, a_record(1), a_record(2))
        for number, age in ((1, 9 * MINUTE), (2, 11 * MINUTE)):
            path = house.logs / "job" / f"{number}.json"
            path.write_bytes(left)
            os.utime(path, ns=(NOW - age, NOW - age))
        house.sweep(went_down=NOW)
        assert a_record(1) == record_files.read(house.logs, RunId("job", 1))
        assert left == b"" or [1] == house.records

    @pytest.mark.parametrize("is_nowhere", [True, False])
    def test_what_the_power_took_of_a_submission(self, house: House, is_nowhere: bool) -> None:
        """So it is of what is over, whether that is known at the start or only once all job files are read."""
        house.submitted(1)
        house.keep(1, age=999 * MINUTE, job="alice/1", size=500)
        house.sweep(went_down=NOW - 999 * MINUTE, is_nowhere=lambda _: is_nowhere)
        assert record_files.read(house.logs, RunId("alice/1", 1)) is not None

    def test_a_newer_file_stays(self, house: House) -> None:
        """A file that tells of more than the row is not written over."""
        house.rows(1, state="skipped")
        newer = a_record(1, "skipped", count=9)
        write(house.logs, newer)
        house.sweep()
        assert newer == record_files.read(house.logs, RunId("job", 1))

    @pytest.mark.parametrize("error", sorted(wire.SHORTAGE))
    def test_nobody_can_tell_now(self, house: House, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
        """A file that can't be read for want of a descriptor may be newer: it stays, and is looked at again."""
        house.rows(1, state="skipped")
        newer = a_record(1, "skipped", count=9)
        write(house.logs, newer)
        with monkeypatch.context() as patched:
            patched.setattr("jobqueued.child.contract.atomic_file.content", partial(fails, error=error))
            housekeeping = house.sweep()
        assert "cannot write the record of job@1: " in housekeeping.troubles[0]
        house.go_on(housekeeping, AGAIN)
        assert (newer, []) == (record_files.read(house.logs, RunId("job", 1)), housekeeping.troubles)

    def test_no_row_explains_it(self, house: House) -> None:
        """A record file of a number without a row is not touched."""
        house.rows(1)
        write(house.logs, a_record(1), a_record(7, "lost"))
        before = (house.logs / "job" / "7.json").read_bytes()
        house.sweep()
        assert (before, [1]) == ((house.logs / "job" / "7.json").read_bytes(), house.history)

    def test_one_try_while_there_is_no_room(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """One record is tried each time, it is said once; when there is room all are written, which is said too."""
        house.rows(1, 2, 3)
        said, tried = [], []
        monkeypatch.setattr(house.log, "say", lambda event, **fields: said.append((event, fields["text"])))
        with monkeypatch.context() as patched:
            patched.setattr(record_files, "write", lambda *_: tried.append(1) or fails())
            housekeeping = house.sweep()
            for tries in range(1, 4):
                house.go_on(housekeeping, tries * AGAIN)
            assert (4, ["trouble"], 4 * AGAIN) == (len(tried), [event for event, _ in said], housekeeping.deadline)
        house.go_on(housekeeping, 4 * AGAIN)
        assert ([1, 2, 3], DAY) == (house.records, housekeeping.deadline)
        assert ("recovered", f"{house.logs}: 3 missing records were written") == said[1]

    def test_those_of_the_newest_runs_come_first(self, house: House) -> None:
        """What only state.db has is written in the first turns, however much there is to look at: this start may be cut
        short, as the one before.
        """
        for number in range(100):
            house.keep(1, job=f"a-{number}")
        house.rows(*range(1, 301))
        house.sweep(turns=2 + 2 * 300 // RUNS_A_TURN)
        assert list(range(1, 301)) == house.records

    def test_in_the_middle_of_a_sweep(self, house: House) -> None:
        """What could not be written is tried again after the usual pause, not only when all jobs were looked at."""
        for number in range(100):
            house.keep(1, job=f"a-{number}")
        housekeeping = house.sweep(turns=3)
        house.rows(1)
        housekeeping.miss(RunId("job", 1), OSError(errno.ENOSPC, "no room"), Now(NOW, 5))
        housekeeping.turn(Now(NOW, AGAIN - 1))
        assert [] == house.records
        housekeeping.turn(Now(NOW, AGAIN))
        assert [1] == house.records

    def test_only_what_was_said_to_be_missing_is_counted(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """Not what a start has written without a word."""
        house.rows(1, 2)
        said = list[str]()
        monkeypatch.setattr(house.log, "say", lambda _, **fields: said.append(fields["text"]))
        housekeeping = house.sweep()
        house.rows(3)
        housekeeping.miss(RunId("job", 3), OSError(errno.ENOSPC, "no room"), Now(NOW, 5))
        house.go_on(housekeeping, AGAIN + 5)
        assert said[1:] == [f"{house.logs}: the missing record was written"]

    def test_more_than_can_be_known(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """The jobs of those beyond are looked at; of a live run nothing is written."""
        monkeypatch.setattr(missing_records, "MOST", 2)
        housekeeping = house.sweep()
        house.rows(*range(1, 7))
        house.live = {RunId("job", 5)}
        for number in range(1, 7):
            housekeeping.miss(RunId("job", number), OSError(errno.ENOSPC, "no room"), Now(NOW, 0))
        with monkeypatch.context() as patched:
            patched.setattr(record_files, "write", fails)
            house.go_on(housekeeping, AGAIN)
            assert ([], 2 * AGAIN) == (house.records, housekeeping.deadline)
        house.go_on(housekeeping, 2 * AGAIN)
        assert [1, 2, 3, 4, 6] == house.records

    @pytest.mark.parametrize("older", [False, True])
    def test_a_record_that_could_not_be_written_now(self, house: House, older: bool) -> None:
        """In life it is tried again after a pause, and nothing is looked at while nothing is missing."""
        housekeeping = house.sweep()
        assert DAY == housekeeping.deadline
        house.rows(1, state="lost")
        write(house.logs, *[a_record(1, "retrying")] * older)
        housekeeping.miss(RunId("job", 1), OSError(errno.ENOSPC, "no room"), Now(NOW, 5))
        assert AGAIN + 5 == housekeeping.deadline
        assert housekeeping.troubles[0].startswith(
            "cannot write the record of job@1: no room; state.db keeps new records until they can"
        )
        house.go_on(housekeeping, AGAIN + 5)
        assert ([1], DAY, []) == (house.records, housekeeping.deadline, housekeeping.troubles)
        assert a_record(1, "lost") == record_files.read(house.logs, RunId("job", 1))

    def test_the_log_directory_comes_back(self, house: House) -> None:
        """Where it is gone, a record that is tried again finds it as it was."""
        house.logs.mkdir(mode=0o700)
        housekeeping = house.sweep()
        house.logs.rmdir()
        house.rows(1, state="lost")
        housekeeping.miss(RunId("job", 1), OSError(errno.ENOENT, "gone"), Now(NOW, 0))
        house.go_on(housekeeping, AGAIN)
        assert ([1], 0o700) == (house.records, house.logs.stat().st_mode & 0o7777)

    def test_not_before_its_row(self, house: House) -> None:
        """While commits fail the row may be missing too, so the record is not looked for."""
        housekeeping = house.sweep()
        house.commits.degrade(CommitFailed("disk full", StateFault.FULL))
        housekeeping.miss(RunId("job", 1), OSError(errno.ENOSPC, "no room"), Now(NOW, 0))
        house.go_on(housekeeping, AGAIN)
        house.rows(1)
        house.commits.degraded = None
        house.go_on(housekeeping, 2 * AGAIN)
        assert [1] == house.records


class TestLeftovers:
    def test_of_writing(self, house: House) -> None:
        """What a death left of writing a record goes, but not what a live run may be writing."""
        for number in (1, 2):
            house.keep(number, ending=".json.tmp")
        house.live.add(RunId("job", 2))
        house.sweep()
        assert ["2.json.tmp"] == os.listdir(house.logs / "job")

    def test_a_slice_a_turn(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """However many runs a job has, a turn looks at so many."""
        house.rows(*range(1, 3 * RUNS_A_TURN + 1))
        looked: list[int] = []
        true = record_files.files
        monkeypatch.setattr(record_files, "files", lambda logs, run: looked.append(run.number) or true(logs, run))
        house.sweep(turns=2)
        assert list(range(3 * RUNS_A_TURN, 2 * RUNS_A_TURN, -1)) == looked
        house.sweep(Retention(runs=1000))
        assert 3 * RUNS_A_TURN == len(house.records)


class TestWhatIsNew:
    """A look at a job that has ended once more is one at what is new, and comes to the same as one at all of it."""

    def test_it_is_cheap(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """The files of a run that has ended are looked at, and those of the one that goes for it."""
        numbers = range(1, 101)
        house.rows(*numbers)
        write(house.logs, *map(a_record, numbers))
        housekeeping, looked, true = house.sweep(Retention(age=9000 * DAY)), list[int](), record_files.files
        monkeypatch.setattr(record_files, "files", lambda logs, run: looked.append(run.number) or true(logs, run))
        for number in (101, 102):
            house.rows(number)
            write(house.logs, a_record(number))
            housekeeping.note("job", Now(NOW, number * MINUTE))
            house.go_on(housekeeping, (number + 1) * MINUTE)
        assert ([101, 1, 1, 102, 2, 2], list(range(3, 103))) == (looked, house.files)
        assert house.files == house.history
        looked.clear()
        (house.logs / "job" / "50.json").unlink()
        housekeeping.note("job", Now(NOW, HOUR * 2))
        house.go_on(housekeeping, HOUR * 3)
        assert (100, house.history) == (len(looked), house.records)

    @pytest.mark.parametrize("seed", range(8))
    def test_it_comes_to_the_same(self, tmp_path: Path, seed: int) -> None:
        """Whatever has happened to a job, the same is left of it."""
        houses = [Lived(tmp_path / name, seed) for name in ("new", "all")]
        for step in range(100):
            for it in houses:
                if it is houses[1]:
                    it.housekeeping._known.clear()
                it.live_on(step)
            new, every = ((it.house.left, it.names, it.house.history, it.housekeeping.kept) for it in houses)
            assert new == every, f"step {step}"
        for it in houses:
            it.house.store.close()


class Lived:
    """A house in which runs of one job end, and other things happen to it, as a seed has it."""

    def __init__(self, root: Path, seed: int) -> None:
        root.mkdir()
        self.house, self.random, self._last, self._is_skip = House(root), Random(seed), 0, False
        draw = self.random
        retention = Retention(draw.choice((12, 14, 30)), draw.choice((20, 500)) * HOUR, draw.choice((1500, 99_999)))
        self.housekeeping = self.house.sweep(retention)

    @property
    def names(self) -> list[str]:
        """The files that there are."""
        return sorted(os.listdir(self.house.logs / "job")) if self.house.left else []

    def live_on(self, step: int) -> None:
        """Let something happen, and housekeeping look at it."""
        house, draw, mono = self.house, self.random, (step + 1) * HOUR
        what = draw.choices(["end", "skip", "join", "start", "over", "lose", "stray"], [50, 20, 9, 9, 9, 2, 1])[0]
        live, some = sorted(house.live), draw.random()
        if what == "start" or self._last == 0:
            self._last, self._is_skip = self._last + 1, False
            house.live.add(RunId("job", self._last))
            if some < 0.5:
                house.keep(self._last, age=-mono, size=10, ending=".log")
        elif what == "over" and live:
            run = live[int(some * len(live))]
            house.live.discard(run)
            self._end(run.number, mono, "succeeded")
        elif what == "join" and f"{self._last}.json" in self.names:
            if self._is_skip:
                house.keep(self._last, age=-mono, size=200)
        elif what == "lose" and self.names:
            (house.logs / "job" / self.names[int(some * len(self.names))]).unlink()
        elif what == "stray" and f"{self._last}.log" not in self.names:
            house.keep(self._last, age=-mono, size=5, ending=".log")
        elif what in ("end", "skip"):
            self._last, self._is_skip = self._last + 1, what == "skip"
            self._end(self._last, mono, "skipped" if self._is_skip else "succeeded")
        self.housekeeping.note("job", Now(NOW + mono, mono))
        while self.housekeeping.deadline is not None and self.housekeeping.deadline <= mono + MINUTE:
            self.housekeeping.turn(Now(NOW + mono + MINUTE, mono + MINUTE))

    def _end(self, number: int, mono: int, state: str) -> None:
        draw = self.random
        self.house.rows(number, state=state)
        self.house.keep(number, age=-mono, size=draw.choice((40, 60, 300)))
        if draw.random() < 0.5 and state != "skipped":
            self.house.keep(number, age=-mono, size=draw.choice((40, 60)), ending=".log")


def test_much_output_does_not_wait_for_the_check(host: Host) -> None:
    """Housekeeping hears of the output of ended runs, and deletes before its check after a minute."""
    (host.root / "jobqueued.yaml").write_text("max_use: 1M")
    host.write("job.yaml", "jobs: {job: {command: yes | head -c 300000}}")
    host.start()
    for _ in range(5):
        host.wait(host.run("job"))
    wait_for(lambda: len(record_files.numbers(host.root / "logs", "job")) <= 3, 30, "the limit of all jobs")


def test_a_live_run_keeps_its_files(host: Host) -> None:
    """Retention does not touch a run that goes on, however many newer ones have ended."""
    (host.root / "jobqueued.yaml").write_text("retention: {runs: 1}")
    host.write(
        "job.yaml",
        f"jobs: {{job: {{concurrency: 2, command: 'echo $JOBQUEUE_RUN; [ $JOBQUEUE_RUN != job@2 ] || "
        f"until [ -e {host.root}/go ]; do sleep 0.05; done'}}}}",
    )
    host.start()
    host.wait(host.run("job"))
    live = host.run("job")
    wait_for((host.root / "logs" / "job" / "2.log").exists)
    host.wait(host.run("job"))
    host.stop()
    host.start()
    wait_for(lambda: host.record("job@1") is None, why="retention")
    assert b"job@2\n" == host.output(live)
    (host.root / "go").touch()
    assert "succeeded" == host.wait(live)["state"]
