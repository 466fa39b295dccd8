"""The record as the scheduler writes it: always the same fields, all of them plain JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.base.instants import SECOND
from jobqueued.child.contract.reasons import Code, Reason, parse
from jobqueued.core.records import record
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.model.job import RECORD_VERSION, Job
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.model.submission import Submission

JOB = Job(
    id="backup", command=("/bin/backup", "--full"), user="backup", priority=10, tags=("a", "b"),
    metadata={"owner": "ops"},
)  # fmt: skip
INSTANTS = st.integers(0, 4_000_000_000 * SECOND)
RUNS = st.builds(
    Run, id=st.just(RunId("backup", 142)), key=st.text(), due=INSTANTS, queued=INSTANTS, arrival=st.integers(),
    trigger=st.text(), asked_by=st.none() | st.text(), state=st.sampled_from(RunState),
    reason=st.none() | st.builds(parse, st.text()),
    attempt=st.integers(0, 9), pid=st.none() | st.integers(1), started=st.none() | INSTANTS,
    last_due=st.none() | INSTANTS, count=st.integers(1),
)  # fmt: skip


def a_run(**fields: Any) -> Run:
    """backup@142, due at 1 s, queued at 2 s."""
    return Run(id=RunId("backup", 142), key="c0.1", due=SECOND, queued=2 * SECOND, arrival=1, **fields)


@pytest.mark.parametrize("key", ["", "nightly-7"])
def test_a_submission_has_its_key(key: str) -> None:
    """Its record, and that of its skip, tell by which key it was asked for, if there is one."""
    job = replace(JOB, submission=Submission(key=key))
    for told in (record.begin(a_run(), job, HostLimits("host")), record.skipped(a_run(), job, HostLimits("host"))):
        assert key == told.get("submission_key", "")
        assert bool(key) == ("submission_key" in told)


def test_begin() -> None:
    """A run begins with its identity, its job's terms, and nothing known of its end."""
    assert record.begin(a_run(state=RunState.STARTING, asked_by="root", trigger="manual"), JOB, HostLimits("host")) == {
        "version": RECORD_VERSION, "job": "backup", "run": "backup@142", "number": 142, "key": "c0.1",
        "state": "starting", "reason": None, "reason_code": None, "reason_params": {}, "trigger": "manual",
        "triggered_by": {"kind": "manual"},
        "trace_id": "17d25adae7cfe4c6d30c2b69d7733140", "span_id": "e175cd433a336044", "parent_span_id": None,
        "asked_by": "root",
        "due": "1970-01-01T00:00:01.000000Z", "queued": "1970-01-01T00:00:02.000000Z", "started": None, "ended": None,
        "pid": None, "exit_code": None, "signal": None, "cpu_user": None, "cpu_system": None, "memory_peak": None,
        "memory_peak_below": None, "throttled": None, "tasks_peak": None,
        "io_read": None, "io_write": None, "memory_mean": None, "enforced": None, "warnings": [],
        "user": "backup", "command": ("/bin/backup", "--full"),
        "host": "host",
        "priority": 10, "effective_priority": None, "waited_for": [],
        "output": {"file": None, "bytes": 0, "dropped": 0, "tail": "", "journal": None},
        "tags": ["a", "b"], "metadata": {"owner": "ops"}, "attempts": [],
    }  # fmt: skip


def test_without_its_job() -> None:
    """What a removed job would have told is null or empty; the fields are the same."""
    with_job, without = record.begin(a_run(), JOB, HostLimits("host")), record.begin(a_run(), None, HostLimits("host"))
    assert list(with_job) == list(without)
    assert (None, None, None, [], {}) == tuple(
        without[name] for name in ("user", "command", "priority", "tags", "metadata")
    )


@given(RUNS, st.sampled_from([JOB, None]), st.none() | st.integers(0, 0xFFFF))
def test_plain_json(run: Run, job: Job | None, status: int | None) -> None:
    """Every record is JSON without NaN, and begins with the fields of `begin` in their order."""
    begun = record.begin(run, job, HostLimits("host"))
    for document in (
        begun,
        record.skipped(run, job, HostLimits("host")),
        record.lost(run, job, HostLimits("host"), status),
    ):
        again = json.loads(json.dumps(document, allow_nan=False))
        assert list(begun) == list(again)[: len(begun)]
        assert str(run.id) == f"{again['job']}@{again['number']}" == again["run"]


def test_skipped() -> None:
    """A skip tells its reason, its first and last due time, and how many it stands for."""
    one = a_run(state=RunState.SKIPPED, reason=Reason(Code.MISSED))
    many = a_run(state=RunState.SKIPPED, reason=Reason(Code.MISSED), last_due=61 * SECOND, count=2)
    fields = ("state", "reason", "first_due", "last_due", "count")
    found = [tuple(record.skipped(run, JOB, HostLimits("host"))[name] for name in fields) for run in (one, many)]
    assert found == [
        ("skipped", "missed", "1970-01-01T00:00:01.000000Z", "1970-01-01T00:00:01.000000Z", 1),
        ("skipped", "missed", "1970-01-01T00:00:01.000000Z", "1970-01-01T00:01:01.000000Z", 2),
    ]


@pytest.mark.parametrize(
    ("status", "exit_code", "signal"),
    [(None, None, None), (0, 0, None), (7 << 8, 7, None), (255 << 8, 255, None), (9, None, 9), (11 | 0x80, None, 11)],
)
def test_lost(status: int | None, exit_code: int | None, signal: int | None) -> None:
    """A lost run tells what is known: pid, start, and the exit code or signal, if wait(2) told anybody."""
    run = a_run(state=RunState.LOST, reason=Reason(Code.OTHER, text="gone"), attempt=2, pid=4711, started=3 * SECOND)
    document = record.lost(run, JOB, HostLimits("host"), status)
    (attempt,) = document["attempts"]
    for place in (document, attempt):
        assert ("lost", "gone", 4711, exit_code, signal, "1970-01-01T00:00:03.000000Z", None) == tuple(
            place[name] for name in ("state", "reason", "pid", "exit_code", "signal", "started", "ended")
        )
    assert 2 == attempt["attempt"]
    assert "attempt" not in document


@pytest.mark.parametrize(
    ("size", "tail", "expected"),
    [
        (None, "", {"file": None, "bytes": 0, "tail": ""}),
        (4, "one\n", {"file": None, "bytes": 0, "tail": ""}),
        (9, "one\nüwo\n", {"file": "1.log", "bytes": 5, "tail": "üwo\n"}),
        (9, "one\n\ufffdtwo\n", {"file": "1.log", "bytes": 5, "tail": "two\n"}),
        (3, "one", {"file": None, "bytes": 0, "tail": ""}),
    ],
)
def test_the_output_of_a_lost_attempt_is_its_own(size: int | None, tail: str, expected: dict[str, Any]) -> None:
    """Of the file, what the attempts before did not write; its tail never shows theirs."""
    first = {
        "attempt": 1, "state": "failed", "started": None, "ended": None, "reason": None,
        "output": {"file": "1.log", "offset": 0, "bytes": 4, "dropped": 0, "tail": "one\n", "journal": None},
    }  # fmt: skip
    before: Any = {**record.begin(a_run(), JOB, HostLimits("host")), "attempts": [first], "output": first["output"]}
    run = a_run(state=RunState.LOST, reason=Reason(Code.OTHER, text="gone"), attempt=2, so_far=before)
    whole: Any = {"file": "1.log", "bytes": size, "dropped": None, "tail": tail, "journal": None}
    document = record.lost(run, JOB, HostLimits("host"), None, None if size is None else whole)
    expected = {**expected, "dropped": None, "journal": None}
    assert (expected, {**expected, "offset": 4}) == (document["output"], document["attempts"][1]["output"])


def test_between_two_attempts() -> None:
    """The ids of a run stay those of its record, and where an older version began that it gets some."""
    older: Any = {**record.begin(a_run(), JOB, HostLimits("host")), "trigger": "x", "state": "failed"}
    known: Any = {**older, "trace_id": "1" * 32, "span_id": "2" * 16}
    ids = [older.pop(name) for name in ("trace_id", "span_id")]
    for so_far, expected in ((known, ["1" * 32, "2" * 16]), (older, ids)):
        begun = record.begin(a_run(state=RunState.STARTING, so_far=so_far), JOB, HostLimits("host"))
        assert ("version", expected) == (next(iter(begun)), [begun["trace_id"], begun["span_id"]])


def test_a_job_that_tells_nothing_more() -> None:
    """Without metadata the record has none."""
    assert {} == record.begin(a_run(), Job(id="backup", command="x"), HostLimits("host"))["metadata"]


def test_what_is_told_of_the_cause() -> None:
    """By its kind, and what else is known but the span it belongs to; a rerun has no span and no pattern."""
    by: Any = {"traceparent": "00-x", "event": "go", "pattern": "*"}
    assert {"kind": "event", "event": "go", "pattern": "*"} == record.triggered_by(
        a_run(trigger="event go", triggered_by=by)
    )
    assert {"kind": "job"} == record.triggered_by(a_run(trigger="end of a@1", triggered_by={"traceparent": "00-x"}))
    cases: list[tuple[Any, Any, Any]] = [
        (None, None, None), ({}, None, None), ({"kind": "boot"}, None, None),
        ({"kind": "event", **by}, by, {"event": "go"}),
    ]  # fmt: skip
    for told, known, again in cases:
        document: Any = {} if told is None else {"triggered_by": told}
        assert (known, again) == (record.extra_cause(document), record.repeated(told))


def test_a_lost_attempt_after_one_without_output() -> None:
    """An older version's attempt may tell of none: then all of the file is this one's."""
    first = {"attempt": 1, "state": "failed", "started": None, "ended": None, "reason": None}
    before: Any = {**record.begin(a_run(), JOB, HostLimits("host")), "attempts": [first]}
    whole: Any = {"file": "1.log", "bytes": 3, "dropped": None, "tail": "one", "journal": None}
    run = a_run(state=RunState.LOST, reason=Reason(Code.OTHER, text="gone"), attempt=2, so_far=before)
    document = record.lost(run, JOB, HostLimits("host"), None, whole)
    assert {**whole, "offset": 0} == document["attempts"][1]["output"]
