"""Spans: each run is in one trace with what made it due, and no two runs are one span."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from jobqueued.core.records import record, spans
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState

HOST = HostLimits("host", machine="1" * 32)
RUN = Run(id=RunId("a", 1), key="c0.1", due=1, queued=2, arrival=1)
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


def test_of_its_own() -> None:
    """Run, host, machine and instant make it another span and another trace; what becomes of the run does not."""
    others = (replace(RUN, id=RunId("a", 2)), replace(RUN, id=RunId("b", 1)), replace(RUN, queued=3))
    found = [spans.ids(run, HOST) for run in (RUN, *others)]
    found += [spans.ids(RUN, HOST._replace(name="other")), spans.ids(RUN, HOST._replace(machine="2" * 32))]
    assert len(found) == len({ids["trace_id"] for ids in found}) == len({ids["span_id"] for ids in found})
    assert all(re.fullmatch("[0-9a-f]{32}[0-9a-f]{16}", ids["trace_id"] + ids["span_id"]) for ids in found)
    later = replace(RUN, state=RunState.RUNNING, attempt=2, started=9, key="c0.2", due=7, pid=1)
    assert found[0] == spans.ids(later, HOST)
    assert found[0]["parent_span_id"] is None


def test_of_a_caller() -> None:
    """The trace goes on, in a span of the run's own."""
    ids = spans.ids(replace(RUN, triggered_by={"traceparent": CALLER}), HOST)
    assert ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331") == (ids["trace_id"], ids["parent_span_id"])
    assert spans.ids(RUN, HOST)["span_id"] == ids["span_id"]


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (CALLER, True), (CALLER.replace("00-", "cc-", 1) + "-more", True), ("", False), (CALLER.upper(), False),
        (CALLER.replace("00-", "ff-", 1), False), (f"00-{'0' * 32}-b7ad6b7169203331-01", False),
        (f"00-{'1' * 32}-{'0' * 16}-01", False), (CALLER[:-1], False), (CALLER + "\n", False), (CALLER + "x", False),
    ],
)  # fmt: skip
def test_what_names_a_span(text: str, is_one: bool) -> None:
    """Only what the recommendation has, also of its later versions."""
    assert is_one == spans.is_traceparent(text)


def test_attempts() -> None:
    """Each is a span of its own, and none is that of its run."""
    span = spans.ids(RUN, HOST)["span_id"]
    assert 10 == len({span, *(spans.of_attempt(span, attempt) for attempt in range(1, 10))})


def test_a_lost_attempt() -> None:
    """The record of one whose supervisor is gone has the span that its command was given."""
    document = record.lost(replace(RUN, attempt=2), None, HOST, None)
    ids = spans.ids(RUN, HOST)
    assert ids == {name: document[name] for name in ids}  # type: ignore[literal-required]
    assert spans.of_attempt(ids["span_id"], 2) == document["attempts"][0]["span_id"]
