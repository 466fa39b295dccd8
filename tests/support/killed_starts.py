"""A daemon that went on from memory and was killed, and its next starts, of which two are killed, too.

What it left is kept as it was, so that its next starts can be had again, each time killed elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Any

from tests.support.failing import LASTING
from tests.support.host import Host, wait_for

_NOTE = """'echo "$JOBQUEUE_JOB $JOBQUEUE_RUN" >>{ledger}'"""
JOBS = f"""
jobs:
  tick: {{{{every: 1s, catch_up: all, enabled: {{enabled}}, command: {_NOTE}}}}}
  a: {{{{every: 2s, enabled: {{enabled}}, command: {_NOTE.replace("echo", "sleep 0.3; echo")}}}}}
  z: {{{{every: 2s, enabled: {{enabled}}, command: {_NOTE}}}}}
  both: {{{{dependencies: [a, z], command: {_NOTE}}}}}
  heard: {{{{on: {{{{job: a}}}}, command: {_NOTE}}}}}
"""
PERIODS = {"tick": 1, "a": 2, "z": 2}
"""The seconds between the due times of those that the clock makes due."""
DEGRADED = f"ENOSPC{LASTING}\nscheduler sql-COMMIT state/state.db 1"
ROUNDS = 2
"""So many runs of `both` are in no commit when the daemon is killed."""


class Night:
    """A host on which that has happened."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory, self._kept = directory, directory.with_suffix(".tar")
        self.host, self.ledger = Host(directory / "host", "tests/support/failing.py"), directory / "ledger"
        self._calls, self._fault = self.host.root / "calls", self.host.root / "fault"
        self._calls.mkdir()
        self._write(enabled=True)
        self.host.start()
        wait_for(lambda: self._started("tick"))
        lasting = self.host.root / "lasting"
        lasting.write_text(DEGRADED)
        wait_for(lambda: self.host.said("degraded"))
        before = self._started("both")
        wait_for(lambda: self._started("both") >= before + ROUNDS)
        self.host.kill()
        lasting.unlink()
        wait_for(lambda: all((path / "ended").exists() for path in self.host.root.glob("run/runs/*/*@*")))
        wait_for(lambda: not self.host.small_ones())
        found = {path.parent.name.rpartition(".")[0]: path for path in self.host.root.glob("run/runs/[az]/*@*/ended")}
        self._order = sorted(found, key=lambda run: int(json.loads(found[run].read_bytes())["over"]))
        """The runs whose ends the next start finds, in the order of these ends."""
        self._forget_calls()
        subprocess.run(["tar", "-C", directory, "--exclude=control", "-cf", self._kept, "."], check=True)

    def _write(self, *, enabled: bool) -> None:
        self.host.write("jobs.yaml", JOBS.format(ledger=self.ledger, enabled=str(enabled).lower()))

    def _started(self, job: str) -> int:
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        return sum(line.partition(" ")[0] == job for line in lines)

    def _forget_calls(self) -> None:
        for path in self._calls.iterdir():
            path.unlink()

    def again(self) -> None:
        """Have it as it was."""
        self.host.close()
        wait_for(lambda: not self.host.small_ones())
        shutil.rmtree(self._directory)
        self._directory.mkdir()
        subprocess.run(["tar", "-C", self._directory, "-xf", self._kept], check=True)

    def points(self) -> list[str]:
        """The calls of the scheduler in a start that change anything, of one R for all: each can be its last."""
        self.again()
        self.host.start()
        names = [(path.name.replace("|", "/"), path.stat().st_size) for path in self._calls.iterdir()]
        own = [(name, count) for name, count in names if name.startswith("scheduler ") and _is_chosen(name)]
        return [f"{name} {nth}" for name, count in sorted(own) for nth in range(1, count + 1)]

    def killed(self, point: str) -> bool:
        """Start, and be killed right after this call, or once it is ready if it does not make that: False."""
        self._forget_calls()
        self._fault.write_text(f"dies\n{point}")
        seen = len(self.host.said("ready"))
        self.host.start(ready=False)
        wait_for(lambda: self.host.daemon_ended() or len(self.host.said("ready")) > seen)
        self.host.kill()
        met = not self._fault.exists()
        self._fault.unlink(missing_ok=True)
        return met

    def verdict(self) -> list[str]:
        """Start for good, and tell what is wrong with what has run since the evening."""
        before = self._started("tick")
        self.host.start()
        wait_for(lambda: self._started("tick") > before)
        self._write(enabled=False)
        wait_for(self._is_settled)
        self.host.stop()
        with contextlib.closing(sqlite3.connect(self.host.root / "state" / "state.db")) as db:
            rows = db.execute("SELECT record FROM run ORDER BY job, number").fetchall()
        records = [json.loads(text) for (text,) in rows]
        return [*_wrong(records, self.ledger.read_text().splitlines()), *_out_of_step(records, self._order)]

    def _is_settled(self) -> bool:
        status = self.host.call("Status")
        ours = all(not self.host.call("Describe", job=job)["definition"]["enabled"] for job in PERIODS)
        return ours and not (status["due"] + status["waiting"] + status["running"] or self.host.marks())

    def close(self) -> None:
        """End all of it."""
        self.host.close()


_READS = ("open", "list", "socket", "read-SELECT", "read-PRAGMA")


def _is_chosen(point: str) -> bool:
    return point.split()[1] not in _READS and ("@" not in point or "both@1.1" in point)


Record = dict[str, Any]


def _wrong(records: list[Record], ledger: list[str]) -> Iterator[str]:
    """Tell what is wrong with records, beside what the jobs wrote down."""
    by_run = {record["run"]: record for record in records}
    for line, count in Counter(ledger).items():
        if count > 1 or line.split()[1] not in by_run:
            yield f"{line}: {count} times, record: {by_run.get(line.split()[1])}"
    for (job, key), count in Counter((record["job"], record["key"]) for record in records).items():
        if count > 1:
            yield f"{job} {key}: {count} records"
    for job, period in PERIODS.items():
        yield from _gaps(job, period, [record for record in records if record["job"] == job])
    ended = [record["run"] for record in records if record["job"] == "a" and record["state"] == "succeeded"]
    heard = {record["key"] for record in records if record["job"] == "heard"}
    yield from (f"nobody heard of the end of {run}" for run in ended if f"j{run}" not in heard)


def _gaps(job: str, period: int, records: list[Record]) -> Iterator[str]:
    """Tell which due times between the first and the last have no record."""
    spans = [(int(it["key"].partition(".")[2]), it.get("count", 1)) for it in records if it["key"].startswith("c")]
    covered = sorted(due + n * period for due, count in spans for n in range(count))
    if covered != [*range(covered[0], covered[-1] + 1, period)]:
        yield f"{job}: {covered} are covered, each {period} s"


_CLOSE = 1.0
"""Ends with so few seconds between them may be heard of in another order: each is heard of once it is written down."""


def _out_of_step(records: list[Record], order: list[str]) -> Iterator[str]:
    """Tell which runs of `both` are not one for each pair of ends that it waits for; `order`: as far as it is known."""
    ends = sorted((it["ended"], it["run"]) for it in records if it["job"] in "az" and it["state"] == "succeeded")
    states = {(0, "")}
    for close in _close(ends, order):
        orders = list(_orders(close))
        states = {_after(jobs, pairs, waiting) for pairs, waiting in states for jobs in orders}
    runs = [(record["run"], record["key"], record["trigger"]) for record in records if record["job"] == "both"]
    if len(runs) not in (possible := {pairs for pairs, _ in states}):
        yield f"{len(runs)} runs of both, and {possible} pairs: {runs}; {ends}; known: {order}"


def _close(ends: list[tuple[str, str]], order: list[str]) -> list[str]:
    """Put the jobs of ends together whose order is not known."""
    groups, known, last = list[str](), iter(order), None
    for text, run in ends:
        instant = None if run in order else datetime.fromisoformat(text)
        if instant is None or last is None or (instant - last).total_seconds() > _CLOSE:
            groups.append("")
        groups[-1] += (next(known) if instant is None else run)[0]
        last = instant
    return groups


def _orders(jobs: str) -> Iterator[str]:
    for places in combinations(range(len(jobs)), jobs.count("a")):
        yield "".join("a" if place in places else "z" for place in range(len(jobs)))


def _after(jobs: str, pairs: int, waiting: str) -> tuple[int, str]:
    """Return the number of pairs after these ends, and the job whose end waits for the other's ("": none)."""
    for job in jobs:
        pairs, waiting = (pairs, job) if waiting in {"", job} else (pairs + 1, "")
    return pairs, waiting
