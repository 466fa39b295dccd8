"""What the version before the wings has written loads: state.db, records, R's and marks; today's is the same.

The files in tests/fixtures/before-wings are of that version's own code.  Changed in them are only paths, the host's
name and some process numbers, so that they are of no host, and one end: hungry@1 was killed, and is told as oom_killed.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from jobqueued.base.instants import DAY, HOUR, SECOND
from jobqueued.child.contract import wire
from jobqueued.child.contract.documents import Record
from jobqueued.control.calls import lock_processes
from jobqueued.control.calls.lock_processes import LockProcesses
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.core.scheduler import Scheduler
from jobqueued.jobfile.reader import read_jobs
from jobqueued.model import events
from jobqueued.model.job import Claim, Now
from jobqueued.model.run import LockClientId, Run, RunId
from jobqueued.model.run_states import LIVE, RunState
from jobqueued.model.saved import Hold, JobStats, Outcome, SavedJob, Skip
from jobqueued.runs.recovery import DEAD, GONE, Recovery
from jobqueued.runs.run_directory import Name, RunDirectory
from jobqueued.state import record_files
from jobqueued.state.db.rows import hold_text
from jobqueued.state.db.store import NEWEST, Store
from jobqueued.state.takeover import Takeover
from jobqueued.state.write_batch import WriteBatch
from tests.support import REPO
from tests.support.host import Host

WRITTEN = REPO / "tests" / "fixtures" / "before-wings"
LOGS = WRITTEN / "logs"
T = 1_795_485_600 * SECOND
"""2026-11-24 02:00 UTC."""
NO_PROCESS = 1 << 22
"""One more than the largest number of a process."""

BOOT = "6f1c0a52-5b0e-4a53-8d0c-2f6a36cf0a11"
HOLD = Hold("root", until=4_102_444_800 * SECOND, below=Hold("uid 1000", boot=BOOT))
TAPE = (Claim("gpu", 1), Claim("tape", exclusive=True))


def a_record(run: str) -> Record:
    """The record file of a run, read by nothing but JSON."""
    return json.loads((LOGS / f"{run.replace('@', '/')}.json").read_text())  # type: ignore[no-any-return]


def so_far() -> Record:
    """The record of retried@2 after its first attempt."""
    whole = a_record("retried@1")
    return {**whole, "run": "retried@2", "number": 2, "state": "retrying", "attempts": whole["attempts"][:1]}


def manual(job: str, number: int, letter: str, queued: int, arrival: int, state: RunState, **more: Any) -> Run:
    """A run before its end that somebody asked for."""
    asked = {"trigger": "manual", "asked_by": "root", **more}
    key = f"x00000000000000{letter}"
    return Run(id=RunId(job, number), key=key, due=T, queued=T + queued, arrival=arrival, state=state, **asked)


SKIP = Run(
    id=RunId("skipping", 9), key="x00000000000000a1", due=T, queued=T, arrival=13, trigger="path",
    state=RunState.SKIPPED, reason="overlap", last_due=T + 2 * HOUR, count=2,
)  # fmt: skip
"""The newest run of its job, so that a later skip may join it."""

UNFINISHED = [
    Run(
        id=RunId("backup", 2), key="c3.1795485600", due=T, queued=T + 1, arrival=14, held=T + 2, previous=T - DAY,
    ),
    manual(
        "report", 1, "b1", 3, 15, RunState.WAITING, since=T + 4, waited=5 * SECOND, drains_since=T + 6, claims=TAPE,
        attempt=1, not_before=T + 5,
    ),
    manual(
        "quick", 2, "b2", 7, 16, RunState.STARTING, trigger="event", asked_by=None, attempt=1,
        claims=(Claim("/run/lock/a"), Claim(":host")),
    ),
    manual(
        "dump", 1, "b3", 8, 17, RunState.RUNNING, attempt=1, pid=NO_PROCESS, started=T + 9, claims=TAPE,
        placed=(("gpu", (1,)),), ends_by=T + HOUR,
    ),
    manual(
        "stopped", 2, "b4", 10, 18, RunState.STOPPING, asked_by="uid 1000", reason="stopped by root", attempt=2,
        pid=NO_PROCESS + 1, started=T + 11, failures=1, failover=True, stop_asked=True, claims=(Claim("licence", 2),),
        placed=(("cpus", (2, 3)), ("licence", (0, 1))),
    ),
    manual(
        "retried", 2, "b5", 12, 19, RunState.RETRYING, attempt=2, failures=1, not_before=T + 60 * SECOND,
        so_far=so_far(),
    ),
]  # fmt: skip


def ended(job: str, key: str, due: int, arrival: int, state: RunState, **more: Any) -> Run:
    """The first run of a job, which somebody asked for and which has ended."""
    asked = {"queued": due, "trigger": "manual", "asked_by": "root", "attempt": 1, "failures": 1}
    return Run(id=RunId(job, 1), key=key, due=due, arrival=arrival, state=state, **{**asked, **more})


ENDED = [
    Run(
        id=RunId("backup", 1), key="c3.1795226400", due=T - 3 * DAY, queued=T - DAY, arrival=1, state=RunState.SKIPPED,
        reason="missed", last_due=T - DAY, count=3,
    ),
    ended("retried", "x2b8da38556858599", 1_795_660_519_800_035_000, 2, RunState.SUCCEEDED, pid=652,
        started=1_795_660_519_810_000_000, attempt=2),
    ended("slow", "xe7d76ba83d83ca1b", 1_795_660_519_808_456_000, 3, RunState.TIMED_OUT, pid=643,
        started=1_795_660_519_818_363_000, reason="timeout after 1 s"),
    ended("failing", "xfe35d7c2d1835770", 1_795_660_519_815_626_000, 4, RunState.FAILED, pid=644,
        started=1_795_660_519_819_346_000, reason="exit code 3"),
    ended("stopped", "x2bfeb3d3915a7257", 1_795_660_519_827_925_000, 5, RunState.KILLED, pid=646,
        started=1_795_660_519_836_658_000, reason="stopped by root"),
    ended("hungry", "x6e50d0089af63c4d", 1_795_660_519_836_445_000, 6, RunState.OOM_KILLED, pid=647,
        started=1_795_660_519_838_326_000, reason="out of memory"),
    ended("dying", "xbfc58cb6fa527356", 1_795_660_519_837_695_000, 7, RunState.LOST, pid=649,
        started=1_795_660_519_841_401_000, reason="its supervisor died"),
]  # fmt: skip

STATS = JobStats(
    started=7, succeeded=4, failed=2, skipped=3, last_run=T - HOUR, last_state=RunState.TIMED_OUT, usual=90 * SECOND
)
BACKUP = SavedJob(
    job="backup", rhythm="0 2 * * *\nUTC\ncron", cursor=T, era=3, last_number=2, previous=T - DAY, paused=True,
    paused_until=T + 2 * DAY, skips=(Skip(T + DAY), Skip(T + 2 * DAY)), appeared=T - HOUR,
    outcomes=(Outcome(1, T - DAY, T - 23 * HOUR, "skipped"), Outcome(2, T, T + HOUR, "succeeded")),
    satisfied=("dump", "retried"), stats=STATS,
)  # fmt: skip
LAST = {
    "dump": 1, "dying": 1, "failing": 1, "hungry": 1, "quick": 2, "report": 1, "retried": 2, "skipping": 9, "slow": 1,
    "stopped": 2,
}  # fmt: skip
SAVED = [BACKUP, *(SavedJob(job=job, last_number=number) for job, number in LAST.items())]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A directory with the state.db."""
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.executescript((WRITTEN / "state.sql").read_text())
    db.close()
    return tmp_path


@pytest.fixture
def store(state: Path) -> Iterator[Store]:
    """The state."""
    store = Store(state)
    yield store
    store.close()


class TestState:
    def test_every_field_is_told(self) -> None:
        """The runs and the job of the fixture have a value of their own in every field."""
        for kind, known in ((Run, [*UNFINISHED, SKIP]), (SavedJob, [BACKUP]), (JobStats, [STATS])):
            blank = {field.name: field.default for field in fields(kind)}
            unknown = [name for name in blank if all(getattr(one, name) == blank[name] for one in known)]
            newer = ["failing_since", "failing_run", "failing_reason", "by_failover"]
            late = ["ends", "took", "delays", "late", "expected", "owner", "agreed", "offered", "shared_pause"]
            of_runs = ["triggered_by", "owner", "waits", "given_up", "lacked", "doubted", "wishes"]
            unknown_then = {Run: of_runs, JobStats: newer, SavedJob: [*late, "settled", "to_return", "rate_use"]}
            assert unknown == unknown_then[kind]
        assert {run.state for run in [*UNFINISHED, SKIP, *ENDED]} == set(RunState)

    def test_it_loads(self, store: Store) -> None:
        """Jobs, and runs before their end, are what they were; nothing is set aside, or taken for new."""
        saved, runs = store.load()
        assert sorted(SAVED, key=lambda job: job.job) == sorted(saved, key=lambda job: job.job)
        assert sorted([*UNFINISHED, SKIP], key=lambda run: run.id) == sorted(runs, key=lambda run: run.id)
        assert all(type(claim) is Claim for run in runs for claim in run.claims)
        assert all(type(run.state) is RunState for run in runs)
        assert (HOLD, True, None) == (store.hold(), store.has_seen_boot(BOOT), store.lost)
        assert ["jobs.yaml"] == list(store.files())

    def test_history(self, store: Store) -> None:
        """Every record is as the record file has it, by its run, by its job, and in the history of all."""
        for run in [*ENDED, SKIP]:
            expected = a_record(str(run.id))
            assert expected == store.record(run.id)
            assert {run.id.number: expected} == store.history(run.id.job, 9)
        newest = sorted([*ENDED, SKIP], key=lambda run: (run.queued, *run.id), reverse=True)
        found = store.ended(NEWEST, 0, 99, lambda *_: True).records
        assert [str(run.id) for run in newest] == [document["run"] for document in found]

    def test_the_same_is_written(self, state: Path, tmp_path: Path) -> None:
        """Of the same runs, jobs and holds the same rows are written, to the letter: that version could go on."""
        before = Store(state)
        files = before.files()
        before.close()
        (tmp_path / "today").mkdir()
        store = Store(tmp_path / "today")
        rows = {run.id: (run, None) for run in UNFINISHED} | {
            run.id: (run, a_record(str(run.id))) for run in [*ENDED, SKIP]
        }
        meta = {"boot": BOOT, "hold": hold_text(HOLD)}
        store.commit(rows, {job.job: job for job in SAVED}, files, meta)
        store.close()
        assert content(state / "state.db") == content(tmp_path / "today" / "state.db")


def content(path: Path) -> dict[str, list[Any]]:
    """All that is in a database: its format, tables and indexes, and every row, but not which it is, and when it was
    written.
    """
    db = sqlite3.connect(path)
    db.execute("DELETE FROM meta WHERE name = 'saved'")
    found = {query: db.execute(query).fetchall() for query in ("PRAGMA user_version", SCHEMA)}
    tables = [name for kind, name, _sql in found[SCHEMA] if kind == "table"]
    found |= {table: db.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in tables}
    db.close()
    return {**found, "meta": [row for row in found["meta"] if row[0] not in ("saved", "id")]}


SCHEMA = "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"

LIMITS = HostLimits(name="host", resources={"gpu": 2, "licence": 2}, cpus=(0, 1, 2, 3))


class TestScheduler:
    def test_it_goes_on(self, store: Store) -> None:
        """Live runs hold what they held; the others are due again, or pause; nothing new starts on a held host."""
        now = Now(T + 30 * SECOND, 10**15)
        scheduler = Scheduler(LIMITS)
        saved, runs = store.load()
        scheduler.restore(saved, runs, now, store.hold())
        jobs, problems = read_jobs(store.files()["jobs.yaml"], "jobs.yaml")
        assert [] == problems
        for event in (events.JobsRead("jobs.yaml", jobs), events.JobsLoaded(complete=True), events.Woke()):
            scheduler.handle(event, now)
            scheduler.validate()
        scheduler.admit(now)
        scheduler.validate()
        assert HOLD == scheduler.hold
        assert {str(run.id): run.claims for run in UNFINISHED if run.state in LIVE} == {
            str(run.id): run.claims for run in scheduler.live
        }
        assert [RunId("retried", 2)] == list(scheduler["retried"].delayed)
        assert SKIP == scheduler["skipping"].skip
        assert replace(BACKUP, satisfied=()) == scheduler["backup"].saved  # its definition makes it depend on nobody
        assert {run.id for run in UNFINISHED} == set(scheduler.runs)


def test_record_files() -> None:
    """A record file is what it was, and is written again to the letter."""
    for run in [*ENDED, SKIP]:
        document = record_files.read(LOGS, run.id)
        assert document == a_record(str(run.id))
        text = (LOGS / run.id.job / f"{run.id.number}.json").read_bytes()
        assert text == wire.encode(document)


def test_record_files_alone(tmp_path: Path) -> None:
    """Where state.db is lost each of them becomes history again, and the counters go on."""
    store = Store(tmp_path)
    batch = WriteBatch(store)
    takeover = Takeover(store, batch, LOGS, [], lambda: not batch.commit(), BOOT, HostLimits("host"))
    takeover.carry_out(0)
    assert {"backup": 1, "skipping": 9} | dict.fromkeys(
        ("dying", "failing", "hungry", "retried", "slow", "stopped"), 1
    ) == {job.job: job.last_number for job in takeover.saved[0]}
    assert all(store.record(run.id) == a_record(str(run.id)) for run in [*ENDED, SKIP] if run.id.job != "retried")
    store.close()


DUMP, QUICK, DYING = (Name.parse(name) for name in ("dump@1.1", "quick@1.1", "dying@2.1"))


def a_find(name: Name, key: str, due: int, *claims: Claim, **more: Any) -> events.Found:
    """What an R tells of its run, which somebody asked for."""
    asked = {"queued": due, "trigger": "manual", "asked_by": "root"}
    sent = Run(id=name.run, key=key, due=due, arrival=0, claims=claims, **{**asked, **more})
    return events.Found(*name, sent)


HOST = Claim(":host")
FOUND = {
    DUMP: a_find(
        DUMP, "xaafc46848d7920f5", 1_795_660_521_874_747_560, HOST, Claim("tape", exclusive=True), Claim("gpu", 1),
        placed=(("gpu", (0,)),), ends_by=1_795_664_133_874_747_560
    ),
    QUICK: a_find(QUICK, "xd3a56c5e62a63461", 1_795_660_521_932_757_201, HOST),
    DYING: a_find(DYING, "x6170438f5974fa58", 1_795_660_521_880_330_994, HOST),
}  # fmt: skip
STARTED = {
    DUMP: events.RunStarted(*DUMP, NO_PROCESS, 1_795_660_521_881_179_093),
    QUICK: events.RunStarted(*QUICK, NO_PROCESS, 1_795_660_521_937_089_677),
    DYING: events.RunStarted(*DYING, NO_PROCESS, 1_795_660_521_882_487_202),
}


@pytest.fixture
def directories(tmp_path: Path) -> RunDirectory:
    """The R's of a live attempt, of one that has ended, and of one that is lost."""
    shutil.copytree(WRITTEN / "runs", tmp_path / "runs")
    return RunDirectory(tmp_path / "runs", tmp_path / "logs")


class TestRunDirectories:
    def test_verdicts(self, directories: RunDirectory, tmp_path: Path) -> None:
        """Without a word of state.db each R tells whose it is, and how far it came; no supervisor is there any more."""
        end = json.loads((WRITTEN / "runs" / str(QUICK) / wire.ENDED).read_text())
        os.utime(tmp_path / "runs" / str(DYING) / wire.LOST)  # the last to end
        recovery = Recovery(directories, set())
        assert [
            FOUND[DUMP], STARTED[DUMP],
            FOUND[QUICK], events.RunEnded(*QUICK, end),
            FOUND[DYING], STARTED[DYING], events.RunLost(*DYING, DEAD, 9),
        ] == list(recovery.verdicts({}, lambda _: False, same_boot=True))  # fmt: skip
        assert {DUMP: GONE} == {name: dead.reason for name, dead in recovery.dead.items()}
        assert [] == directories.flaws()

    def test_a_live_one(self, directories: RunDirectory, tmp_path: Path) -> None:
        """The attempt whose supervisor listens is adopted, with the start that R tells of."""
        recovery = Recovery(directories, set())
        with socket.socket(socket.AF_UNIX) as control:
            control.bind(str(tmp_path / "runs" / str(DUMP) / wire.CONTROL))
            control.listen()
            verdicts = list(recovery.verdicts({}, lambda _: False, same_boot=True))
        ((name, connection),) = recovery.adopted
        connection.close()
        assert (DUMP, [FOUND[DUMP], STARTED[DUMP]]) == (name, verdicts[:2])

    def test_nothing_is_left(self, directories: RunDirectory, tmp_path: Path) -> None:
        """An R is removed whole: there is no mark in it that is not known."""
        for name in directories.names():
            directories.remove(name)
        assert [] == list((tmp_path / "runs").iterdir())

    def test_record_so_far(self, directories: RunDirectory) -> None:
        """The launch order has the record so far, and is written again to the letter."""
        for name in (DUMP, QUICK, DYING):
            spec = (WRITTEN / "runs" / str(name) / wire.SPEC).read_bytes()
            begun = directories.begun(name)
            assert begun is not None
            assert (str(name.run), "starting") == (begun["run"], begun["state"])
            assert spec == wire.encode({**json.loads(spec), "record": begun})


class TestLockHolder:
    @pytest.mark.parametrize("lives", [True, False])
    def test_mark(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lives: bool) -> None:
        """Who holds locks is known again while its process lives; the mark of one that is gone goes."""
        shutil.copytree(WRITTEN / "with-lock", tmp_path / "with-lock")

        def opened(_pid: int) -> int:
            if not lives:
                raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
            return os.open("/dev/null", os.O_RDONLY)

        monkeypatch.setattr(lock_processes, "birth", {4711: 755841}.get)
        monkeypatch.setattr(os, "pidfd_open", opened)
        processes = LockProcesses(tmp_path / "with-lock")
        found = processes.found()
        for descriptor in processes.descriptors():
            os.close(descriptor)
        holder = events.LockFound(LockClientId(1), TAPE, (("gpu", (0,)),), "root")
        expected: tuple[Any, Any] = ([holder], ["1"]) if lives else ([], [])
        assert expected == (found, os.listdir(tmp_path / "with-lock"))


def test_a_daemon_starts_on_it(host: Host, state: Path) -> None:
    """A daemon that finds all of it on a later boot is held, tells every record, and what was live is lost."""
    (host.root / "state").mkdir()
    shutil.copy(state / "state.db", host.root / "state")
    shutil.copytree(LOGS, host.root / "logs")
    (host.root / "logs").chmod(0o750)  # whatever the umask of the check-out was
    store = Store(state)
    host.write("jobs.yaml", store.files()["jobs.yaml"].decode())
    store.close()
    (host.root / "jobqueued.yaml").write_text("resources: {gpu: 2}\n")
    host.start()
    assert {str(run.id): a_record(str(run.id)) for run in ENDED} == {
        str(run.id): host.call("Show", run=str(run.id))["record"] for run in ENDED
    }
    assert [("lost", "the host went down")] * 3 == [
        (record["state"], record["reason"])
        for record in (host.wait(str(run.id)) for run in UNFINISHED if run.state in LIVE)
    ]
    history = host.call("History")["runs"]
    assert all(a_record(str(run.id)) in history for run in [*ENDED, SKIP])
    assert "root" == host.call("Status")["held_by"]
    assert [] == host.said("run_started") + host.said("bug")
