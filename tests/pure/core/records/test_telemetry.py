"""Telemetry hooks that are functions: when they are called, what they may return, and that none of them harms a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from jobqueued import HostLimits, Job, Run, TelemetryHook, tell_hooks
from jobqueued.child.contract.documents import Record
from jobqueued.core.records import record
from jobqueued.core.records.telemetry import name_of
from jobqueued.model.run import RunId


def begun(job: Job) -> Record:
    run = Run(id=RunId("job", 1), key="x", due=0, queued=0, arrival=1)
    return record.begin(run, job, HostLimits("host"))


def job_of(*hooks: TelemetryHook) -> Job:
    return Job(id="job", command="true", telemetry_hooks=hooks)


def test_told_in_order_at_their_moments() -> None:
    """Each gets the record with what those before it have said; a command among them is not carried out here."""
    seen = []

    def rows(told: Record) -> dict[str, Any]:
        seen.append((told["run"], dict(told["telemetry"])))
        return {"rows": 7, "load": {"one": 1}}

    job = job_of(
        TelemetryHook(rows), TelemetryHook("false"), TelemetryHook(lambda _: {"load": {"two": 2}}, at=("end",))
    )
    first = begun(job)
    live = tell_hooks(job, "start", first)
    over = tell_hooks(job, "end", live)
    assert {"rows": 7, "load": {"one": 1}} == live["telemetry"]
    assert {"rows": 7, "load": {"one": 1, "two": 2}} == over["telemetry"]
    assert [("job@1", {}), ("job@1", live["telemetry"])] == seen
    assert (first, []) == (begun(job), over["warnings"])


def fails(_record: Record) -> dict[str, Any]:
    raise OSError("no disk")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (fails, "telemetry hook fails, sample: OSError: no disk"),
        (lambda _: {"at": datetime.now(UTC)}, "TypeError: Object of type datetime is not JSON serializable"),
        (lambda _: {"a": float("nan")}, 'printed a value that a record can\'t hold: telemetry["a"]: found nan'),
        (lambda _: {"a": "x" * 70_000}, "printed more than 65,536 bytes"),
        (lambda _: 7, "TypeError"),
        (lambda: {}, "TypeError"),
    ],
    ids=["raises", "no JSON", "nan", "too much", "no mapping", "no parameter"],
)
def test_one_that_fails(function: Any, words: str) -> None:
    """It is named once in the warnings, however often it fails, and the others are told all the same."""
    job = job_of(TelemetryHook(function), TelemetryHook(lambda _: {"rows": 7}))
    found = tell_hooks(job, "sample", tell_hooks(job, "sample", begun(job)))
    assert {"rows": 7} == found["telemetry"]
    (warning,) = found["warnings"]
    assert words in warning


def test_the_record_is_not_theirs() -> None:
    """What a function does to the record that it gets changes none but its own."""

    def greedy(told: Record) -> None:
        told["telemetry"]["a"] = told["output"]["bytes"] = told["state"] = "mine"  # type: ignore[typeddict-item]
        told["warnings"].append("mine")

    job = job_of(TelemetryHook(greedy))
    found = tell_hooks(job, "start", begun(job))
    assert {**json.loads(json.dumps(begun(job))), "telemetry": {}} == json.loads(json.dumps(found))


def test_names() -> None:
    """A function is named as Python does, a command as it is told, without the words that are not shown, and cut."""

    class Push:
        def __call__(self, _record: Record) -> Mapping[str, Any]:
            return {}

    job = Job(id="job", command="true", redact=("hunter2",))
    commands = [fails, Push(), ("push", "--token", "hunter2"), "a\nb", "x" * 60, "x" * 61]
    expected = ["fails", "Push", "push --token ***", r"a\nb", "x" * 60, "x" * 59 + "…"]
    assert expected == [name_of(job, TelemetryHook(command)) for command in commands]
