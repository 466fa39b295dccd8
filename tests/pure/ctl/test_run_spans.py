"""Runs as spans: what they tell, as OTLP has it and as Trace Events, of whatever becomes of a run."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from jobqueued.base.instants import SECOND, to_text
from jobqueued.child.contract.documents import Record
from jobqueued.core.records import spans
from jobqueued.ctl.export import otlp, trace_events
from jobqueued.ctl.export.run_spans import RunSpan, of_run
from tests.support import otlp as published
from tests.support.records import NOW, a_record


def at(seconds: float) -> str:
    return to_text(NOW + int(seconds * SECOND))


def told(*records: Record) -> list[dict[str, Any]]:
    """All spans of these runs, as OTLP has them."""
    return [span for batch in otlp.batches(records) for span in published.spans(batch.text)]


FAILED = a_record(1, "failed", attempts=3, tags=["db", "nightly"], waited_for=["tape"], command=["/bin/x", "-y"])


def test_a_run_with_its_attempts() -> None:
    """The ids are those that the record has, by which a command's own spans are below its attempt."""
    run, wait, *attempts = told(FAILED)
    assert (FAILED["trace_id"], FAILED["span_id"]) == (run["traceId"], run["spanId"])
    assert "parentSpanId" not in run
    assert {FAILED["trace_id"]} == {span["traceId"] for span in (wait, *attempts)}
    assert {FAILED["span_id"]} == {span["parentSpanId"] for span in (wait, *attempts)}
    assert [spans.of_attempt(run["spanId"], nth) for nth in (1, 2, 3)] == [span["spanId"] for span in attempts]
    assert wait["spanId"] not in {run["spanId"], *(span["spanId"] for span in attempts)}
    assert (FAILED["due"], FAILED["started"]) == (when(wait, "start"), when(wait, "end"))
    assert ["tape"] == wait["attributes"]["jobqueue.waited_for"]
    assert {"service.name": "jobqueued", "host.name": "host"} == run["resource"]
    assert ["db", "nightly"] == run["attributes"]["jobqueue.tags"]
    assert [2, 2, 2, 2] == [span["status"]["code"] for span in (run, *attempts)]
    assert "failed" == attempts[2]["attributes"]["error.type"]
    assert ["/bin/x", "-y"] == attempts[0]["attributes"]["process.command_args"]
    assert {"process.pid": 4, "process.exit.code": 0, "jobqueue.attempt": 1}.items() <= attempts[0][
        "attributes"
    ].items()


def when(span: dict[str, Any], which: str) -> str:
    return to_text(int(span[f"{which}TimeUnixNano"]))


def test_a_success_has_no_status() -> None:
    """Neither has what was skipped: nothing went wrong."""
    assert not any("status" in span or "error.type" in span["attributes"] for span in told(a_record(1), SKIPS))


def test_a_span_of_the_caller() -> None:
    """A run that another has caused is below it, in its trace."""
    caused = {**a_record(1), "trace_id": "ab" * 16, "parent_span_id": "cd" * 8}
    run, *_ = told(caused)  # type: ignore[arg-type]
    assert ("ab" * 16, "cd" * 8) == (run["traceId"], run["parentSpanId"])


SKIPS = a_record(7, "skipped", count=5, last_due=NOW + 100 * SECOND, reason="paused")
LOST = a_record(2, "lost", ended=None)
LOST["attempts"][0]["ended"] = None
UNSTARTED = a_record(3, "failed", started=None, ended=None, reason="start_failed: exec: no such file")
UNSTARTED["attempts"][0] |= {"started": None, "ended": None}  # type: ignore[typeddict-item]
EARLY = a_record(4, due=at(50), queued=at(50))
EARLY["attempts"][0]["ended"] = at(2)
OLD = {name: value for name, value in a_record(5).items() if not name.endswith("_id")}
FAILOVER = a_record(6, attempts=2)
FAILOVER["attempts"][1]["failover"] = True
ODD = [FAILED, SKIPS, LOST, UNSTARTED, EARLY, OLD, FAILOVER]


def test_what_spread_puts_off_is_no_wait() -> None:
    """The wait begins when the run was queued; whom a clock that was set back has started before has none."""
    for queued, waits in ((1.5, ["wait"]), (2, []), (900, [])):
        run, *within = told(a_record(1, queued=at(queued)))
        assert (a_record(1)["due"], a_record(1)["ended"]) == (when(run, "start"), when(run, "end"))
        found = [span for span in within if span["name"] == "wait"]
        assert [at(queued)] * len(waits) == [when(wait, "start") for wait in found]


@pytest.mark.parametrize("record", ODD, ids=["failed", "skips", "lost", "unstarted", "clock set back", "old", "over"])
def test_whatever_becomes_of_it(record: Record) -> None:
    """All spans of a run are within that of the run, and none has a negative length."""
    run, *within = of_run(record)
    assert all(run.begin <= span.begin <= span.end <= run.end for span in (run, *within))
    assert len({span.id for span in (run, *within)}) == 1 + len(within)
    assert told(record) == told(record) != []


def test_skips_in_a_row() -> None:
    """One span is all of them."""
    (skips,) = told(SKIPS)
    assert (at(7), at(100), 5) == (when(skips, "start"), when(skips, "end"), skips["attributes"]["jobqueue.count"])


def test_a_failover_is_another_command() -> None:
    """Its span does not claim that of the job."""
    *_, attempt, failover = told({**FAILOVER, "command": "dump"})
    assert ["attempt", "failover"] == [attempt["name"], failover["name"]]
    assert ("dump", None) == tuple(it["attributes"].get("process.command_line") for it in (attempt, failover))


def test_texts_are_bounded() -> None:
    """Whatever a record holds, an attribute of it has an end, and a status too."""
    vast = "x" * 100_000
    run, _wait, attempt = told({**a_record(1, "failed"), "command": vast, "reason": vast, "tags": [vast] * 2})
    longest = [
        run["status"]["message"],
        attempt["attributes"]["process.command_line"],
        *run["attributes"]["jobqueue.tags"],
    ]
    assert [4096] * 4 == [len(text) for text in longest]


class Counting:
    """Records, and how many of them were taken."""

    def __init__(self, count: int, **fields: Any) -> None:
        self.taken, self._count, self._fields = 0, count, fields

    def __iter__(self) -> Iterator[Record]:
        for number in range(self._count, 0, -1):
            self.taken += 1
            yield {**a_record(number), **self._fields}  # type: ignore[typeddict-item]


@pytest.mark.parametrize("fields", [{}, {"tags": ["x" * 4000] * 50}], ids=["many", "large"])
def test_requests_are_bounded(fields: dict[str, Any]) -> None:
    """No request has more than its spans and bytes; runs are read as they are sent, and each is sent once."""
    records = Counting(800, **fields)
    sent: list[str] = []
    for batch in otlp.batches(records):
        found = published.spans(batch.text)
        assert (len(found), True) == (batch.spans, batch.spans <= otlp.MOST_SPANS)
        assert len(batch.text) <= otlp.MOST_BYTES + 1000
        sent += [span["attributes"]["jobqueue.run"] for span in found if "parentSpanId" not in span]
        assert records.taken <= len(sent) + 1
    assert [f"job@{number}" for number in range(800, 0, -1)] == sent


def test_a_host_by_another_name() -> None:
    """Runs of before and after are of two resources."""
    found = told(a_record(1), {**a_record(2), "host": "other"})
    assert ["host"] * 3 + ["other"] * 3 == [span["resource"]["host.name"] for span in found]


# Trace Events


def events(records: list[Record]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads("\n".join(trace_events.lines(records)))["traceEvents"]
    return found


def test_slices_nest() -> None:
    """On one track no slice ends within another that began later, however runs overlap, in whatever order they come."""
    chance = random.Random(1)
    for _ in range(50):
        records = []
        for number in range(1, 30):
            begin, wait, length = chance.uniform(0, 100), chance.choice([0, 20]), chance.uniform(0, 30)
            record = a_record(number, job=chance.choice("ab"), due=at(begin), queued=at(begin + chance.choice([0, 50])))
            record["attempts"][0] |= {"started": at(begin + wait), "ended": at(begin + wait + length)}  # type: ignore[typeddict-item]
            records.append({**record, "started": at(begin + wait), "ended": at(begin + wait + length)})
        tracks: dict[int, list[tuple[int, int]]] = {}
        for event in events(records):  # type: ignore[arg-type]
            if event["ph"] == "X":
                tracks.setdefault(event["tid"], []).append((event["ts"], event["ts"] + event["dur"]))
        for slices in tracks.values():
            open_until: list[int] = []
            for begin, negative in sorted((begin, -end) for begin, end in slices):
                while open_until and open_until[-1] <= begin:
                    open_until.pop()
                assert not open_until or -negative <= open_until[-1]
                open_until.append(-negative)


def test_tracks_have_names() -> None:
    """A job is a track, by name; one whose runs overlap has another; a track is never another job's."""
    later = {**a_record(1, job="b"), "due": at(0)}
    found = events([a_record(2, job="b"), later, a_record(2, job="a"), a_record(50, job="a")])  # type: ignore[list-item]
    names = {event["tid"]: event["args"]["name"] for event in found if event["name"] == "thread_name"}
    order = {event["tid"]: event["args"]["sort_index"] for event in found if event["name"] == "thread_sort_index"}
    assert ["a", "a (2)", "b", "b (2)"] == [names[track] for track in sorted(order, key=order.__getitem__)]
    for event in found:
        if event["ph"] == "X" and event["cat"] == "run":
            assert names[event["tid"]].startswith(event["name"])
    assert ["jobqueued on host"] == [event["args"]["name"] for event in found if event["name"] == "process_name"]


def test_a_failure_is_named() -> None:
    """Who looks at a track sees which runs went wrong."""
    names = [event["name"] for event in events([FAILED]) if event["ph"] == "X"]
    assert ["job: failed", "wait", "attempt: failed", "attempt: failed", "attempt: failed"] == names


def test_events_are_written_as_records_come() -> None:
    """A trace of a million runs is never in memory; one without runs is a trace too."""
    records = Counting(1000)
    lines = trace_events.lines(records)
    taken = [records.taken for _ in zip(range(301), lines, strict=False)]
    assert [0, 1, 1, 1, 2] == taken[:5]
    assert taken[-1] == 100
    assert [] == events([])


def test_ids_of_earlier_versions() -> None:
    """They are valid, always the same, and no two runs share them."""
    first, second = (of_run({**OLD, "run": f"job@{number}", "number": number})[0] for number in (5, 6))  # type: ignore[typeddict-item]
    assert isinstance(first, RunSpan)
    assert (first.trace, first.id) != (second.trace, second.id)
