"""Spans as Trace Events in JSON, for Perfetto, speedscope and chrome://tracing.

Each job has a track. Slices on a track must not overlap, so a job with overlapping runs needs several tracks.

https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from jobqueued.child.contract.documents import Record
from jobqueued.ctl.export.run_spans import RunSpan, of_run


def lines(records: Iterable[Record]) -> Iterator[str]:
    """Yield the lines of the document.

    The runs may be in any order; runs sorted with the newest first need the fewest tracks.
    """
    tracks = _Tracks()
    yield '{"displayTimeUnit":"ms","traceEvents":['
    separator = ""
    for record in records:
        spans = of_run(record)
        host, track = tracks.of(record["host"], record["job"], spans[0])
        for span in spans:
            yield separator + _text(_slice(span, host, track))
            separator = ","
    for event in tracks.named():
        yield separator + _text(event)
        separator = ","
    yield "]}"


def _text(event: dict[str, Any]) -> str:
    return json.dumps(event, separators=(",", ":"))


def _slice(span: RunSpan, host: int, track: int) -> dict[str, Any]:
    """Return a span as a complete event; times are in microseconds, as in records."""
    state = span.facts.get("jobqueue.state", "")
    name = span.name if state in ("", "succeeded") else f"{span.name}: {state}"
    begin, end = span.begin // 1000, span.end // 1000
    return {
        "name": name,
        "cat": span.kind,
        "ph": "X",
        "ts": begin,
        "dur": end - begin,
        "pid": host,
        "tid": track,
        "args": span.facts,
    }


class _Tracks:
    """The tracks of each job. Each track has a number, and the start of the earliest run on it."""

    def __init__(self) -> None:
        self._hosts: dict[str, int] = {}
        self._of: dict[tuple[int, str], list[list[int]]] = {}
        self._last = 0

    def of(self, host: str, job: str, run: RunSpan) -> tuple[int, int]:
        """Return the numbers of the host and of a free track. On a free track, all runs start after this run's end."""
        number = self._hosts.setdefault(host, len(self._hosts) + 1)
        tracks = self._of.setdefault((number, job), [])
        free = next((track for track in tracks if run.end <= track[1]), None)
        if free is None:
            self._last += 1
            free = [self._last, run.begin]
            tracks.append(free)
        free[1] = run.begin
        return number, free[0]

    def named(self) -> Iterator[dict[str, Any]]:
        """Yield the events that name hosts and tracks, and sort the tracks by name."""
        for host, number in self._hosts.items():
            yield _metadata("process_name", number, 0, name=f"jobqueued on {host}" if host else "jobqueued")
        place = 0
        for (host_number, job), tracks in sorted(self._of.items()):
            for nth, (track, _) in enumerate(tracks, 1):
                place += 1
                yield _metadata("thread_name", host_number, track, name=job if nth == 1 else f"{job} ({nth})")
                yield _metadata("thread_sort_index", host_number, track, sort_index=place)


def _metadata(what: str, host: int, track: int, **value: Any) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": host, "tid": track, "args": value}
