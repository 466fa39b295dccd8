"""What may grow, at one moment: memory, descriptors, threads, files, state.db, the log, turns of the loop."""

from __future__ import annotations

import contextlib
import os
import statistics
from collections import Counter, deque
from pathlib import Path
from typing import NamedTuple

from bench.rig import cpu_seconds
from tests.longrun.host import LongHost
from tests.longrun.verdict import Sample, quantile

_TURN = "jobqueue_loop_turn_seconds"
LATEST = 150.0
"""Seconds after which housekeeping has let go of what is beyond retention: it begins after one minute."""
_PAGE_COUNT, _FREELIST = 28, 36
"""Places in the header of a database (https://sqlite.org/fileformat2.html), which is that of its last checkpoint."""


class Kept(NamedTuple):
    """How many records, and directories of them, retention keeps in all at most."""

    records: int
    directories: int


class Meter:
    """Takes samples of one host; what is counted since the last one, it remembers."""

    def __init__(self, host: LongHost, kept: Kept) -> None:
        self._host, self._kept = host, kept
        self._turns: dict[float, float] = {}
        self._said = self._at = self._skipped = 0
        self._log = (host.root / "daemon.log").open("rb")
        self._work: dict[int, tuple[float, int]] = {}
        self._past = deque[tuple[float, int]]()
        self._most = 1.0

    def take(self, runs: int, seconds: float, *, rest: bool) -> Sample:
        """Look at everything."""
        assert self._host.daemon is not None
        family = self._host.family()
        launcher = next((pid for pid, name in family if name == "jq-launcher"), 0)
        supervisors = [pid for pid, name in family if name == "jq-supervisor"]
        sample = Sample(runs, seconds, self._host.daemon.pid, launcher, rest)
        found = sample.figures
        found |= _of_process("scheduler", self._host.daemon.pid)
        found |= _of_process("launcher", launcher)
        if "launcher descriptors" in found:
            found["launcher descriptors"] -= len(supervisors)  # one for each
        found["supervisors"] = len(supervisors)
        found["other processes"] = len(family) - len(supervisors) - bool(launcher)
        seen = [_of_process("supervisor", pid) for pid in supervisors]
        for name in ("PSS KiB", "private KiB", "descriptors", "threads"):
            values = [each[f"supervisor {name}"] for each in seen if f"supervisor {name}" in each]
            if values:
                found[f"supervisor {name}"] = statistics.median(values)
        found |= _files(self._host)
        found |= _database(self._host.root / "state")
        found |= self._beyond(found, runs, seconds)
        done = runs + self._skipped  # what was skipped has cost a line and some work, too
        found |= self._said_since(done)
        found |= self._worked("scheduler", sample.scheduler, done) | self._worked("launcher", launcher, done)
        with contextlib.suppress(OSError, KeyError):
            found |= self._turn()
        return sample

    def _beyond(self, found: dict[str, float], runs: int, seconds: float) -> dict[str, float]:
        """What is beyond retention, and did not come in the last minutes."""
        self._skipped += self._log.read().count(b'"event":"run_skipped"')
        self._past.append((seconds, runs + self._skipped))
        while self._past[0][0] < seconds - LATEST:
            self._past.popleft()
        new = runs + self._skipped - (self._past[0][1] if self._past[0][0] > LATEST else 0)
        self._most = max(self._most, found["records"])
        return {
            "records beyond retention": max(0.0, found["records"] - self._kept.records - new),
            "directories beyond retention": max(0.0, found["log directories"] - self._kept.directories - new),
            "state.db KiB a record": found["state.db KiB"] / self._most,
        }

    def _worked(self, what: str, pid: int, runs: int) -> dict[str, float]:
        """CPU time of a process for each run since the last sample."""
        now = cpu_seconds([pid])
        before, at = self._work.get(pid, (now, runs))
        self._work[pid] = now, runs
        return {f"{what} CPU ms a run": (now - before) / (runs - at) * 1000} if runs > at else {}

    def _said_since(self, runs: int) -> dict[str, float]:
        _, size = self._host.log_counts()
        grown, done = size - self._said, runs - self._at
        self._said, self._at = size, runs
        return {"log bytes a run": grown / done} if done > 0 else {}

    def _turn(self) -> dict[str, float]:
        """The 99th part of a hundred turns since the last sample, by the histogram's bounds."""
        families = self._host.call("Metrics")["families"]
        turns = next(family["samples"] for family in families if family["name"] == _TURN)
        now = {float(one["labels"]["le"]): one["value"] for one in turns if "le" in one["labels"]}
        before, self._turns = self._turns, now
        if before.keys() != now.keys() or any(now[bound] < before[bound] for bound in now):  # another life
            before = dict.fromkeys(now, 0.0)
        grown = {bound: now[bound] - before[bound] for bound in sorted(now)}
        total = max(grown.values(), default=0.0)
        return {"turn p99 ms": quantile(grown, 0.99) * 1000} if total else {}


def _of_process(what: str, pid: int) -> dict[str, float]:
    """Memory (KiB), descriptors and threads of a process; nothing, if it is gone."""
    with contextlib.suppress(OSError, IndexError):
        fields = dict(line.split(":")[:2] for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
        size = {name: float(value.split()[0]) for name, value in fields.items()}
        return {
            f"{what} PSS KiB": size["Pss"],
            f"{what} private KiB": size["Private_Dirty"],
            f"{what} descriptors": len(os.listdir(f"/proc/{pid}/fd")),
            f"{what} threads": len(os.listdir(f"/proc/{pid}/task")),
        }
    return {}


def _files(host: LongHost) -> dict[str, float]:
    """How many files there are of each kind."""
    found = Counter[str]({"records": 0, "outputs": 0, "other files in logs": 0, "log directories": 0})
    for folder, _, names in os.walk(host.root / "logs"):
        found["log directories"] += 1
        for name in names:
            kind = {".json": "records", ".log": "outputs"}.get(os.path.splitext(name)[1], "other files in logs")
            found[kind] += 1
        del folder
    found["files in state"] = sum(len(names) for _, _, names in os.walk(host.root / "state"))
    found["entries in run"] = len(os.listdir(host.run_directory)) + len(host.marks())
    return dict(found)


def _database(directory: Path) -> dict[str, float]:
    found = {"state.db KiB": _kib(directory / "state.db"), "state.db-wal KiB": _kib(directory / "state.db-wal")}
    with contextlib.suppress(OSError), open(directory / "state.db", "rb") as file:
        header = file.read(100)
        for name, place in (("state.db pages", _PAGE_COUNT), ("state.db free pages", _FREELIST)):
            found[name] = int.from_bytes(header[place : place + 4], "big")
    return found


def _kib(path: Path) -> float:
    try:
        return path.stat().st_size / 1024
    except FileNotFoundError:
        return 0.0
