"""One life of a host with a fault in it: what is asked, when it is healed, and what became of it all, in words."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobqueued.child.contract.documents import ENDS
from tests.support.failing import LASTING
from tests.support.host import Host, wait_for

JOBS = """
jobs:
  probe:
    command: echo "$JOBQUEUE_RUN.$JOBQUEUE_ATTEMPT" >>{outside}; echo out; exit 7
    retries: 1
    retry_delay: 0s
  quiet: {{command: 'true'}}
"""
LONGEST_WAIT, RECOVERING, SETTLING = 2.0, 5.0, 15.0
"""Seconds until a life is cut off, for what it does once it is healed, and for what is left after the restart."""
DEAD = "does not start again"
RAN = "failed 7; starts 1+1"
"""The verdict on an ordinary life, and on most others: each attempt was started once, and its exit status is known."""


class Life:
    """A host that begins anew, with one fault armed."""

    def __init__(self, directory: Path, fault: str = "", point: str = "") -> None:
        self.host = Host(directory / "host", "tests/support/failing.py")
        self.root, self.outside = self.host.root, directory / "started"
        (self.root / "calls").mkdir()
        self.host.write("jobs.yaml", JOBS.format(outside=self.outside))
        self.fault, self.asked, self.odd = fault, False, list[str]()
        self.promised: str | None = None
        self.met: dict[str, int] = {}
        """The calls until it was healed: those that can fail."""
        if fault:
            (self.root / "fault").write_text(f"{fault}\n{point}")

    def points(self) -> dict[str, int]:
        """How often each call was made so far."""
        return {path.name.replace("|", "/"): path.stat().st_size for path in (self.root / "calls").iterdir()}

    def run(self) -> None:
        """Start, ask, wait until it is over or can't be; heal, kill the scheduler, and start it again.

        A full disk is still full when the scheduler is killed; what ails otherwise is healed before.
        """
        self._start()
        if not self.host.daemon_ended():
            self._ask()
            self._wait(self._is_cut, LONGEST_WAIT)
        if not self.host.daemon_ended() and self.fault != f"ENOSPC{LASTING}":
            self._heal()
            if not self._wait(self._is_settled, RECOVERING):
                self.odd.append("does not recover")
        if not self.host.daemon_ended():
            self.host.kill()
        self._heal()
        try:
            self.host.start()
        except AssertionError:
            self.odd.append(DEAD)
            return
        if not self.asked:
            self._ask()
        if not self._wait(self._is_settled, SETTLING):
            self.odd.append(f"does not settle ({', '.join(self.host.marks())})")

    def _heal(self) -> None:
        self.met = self.met or self.points()
        if (self.root / "fault").exists():
            (self.root / "fault").unlink()
            self.odd += ["not met"] * bool(self.fault)
        (self.root / "lasting").unlink(missing_ok=True)

    def _wait(self, what: Callable[[], bool], seconds: float) -> bool:
        with contextlib.suppress(AssertionError):
            return wait_for(what, seconds)
        return False

    def _start(self) -> None:
        self.host.start(ready=False)
        wait_for(lambda: self.host.said("ready") or self.host.daemon_ended(), why="ready")

    def _ask(self) -> None:
        self.asked = True
        for method, job in (("Pause", "quiet"), ("Run", "quiet"), ("Run", "probe")):
            with contextlib.suppress(OSError):
                self.promised = self.host.call(method, job=job).get("run")

    def _is_cut(self) -> bool:
        """Nothing more will happen, or what lasts has lasted."""
        if self.host.daemon_ended():
            return True
        return self._has_ended() if (self.root / "lasting").exists() else self._is_settled()

    def _has_ended(self, *, on_paper: bool = False) -> bool:
        with contextlib.suppress(OSError, KeyError):
            runs = self.host.call("Describe", job="probe")["runs"]
            return all(run["state"] in ENDS and (self.host.record(run["run"]) or not on_paper) for run in runs)
        return False

    def _is_settled(self) -> bool:
        return self.host.daemon_ended() or (self._has_ended(on_paper=True) and not self.host.marks())

    def verdict(self) -> str:
        """What became of the run, and all that is not as it should be, in words."""
        odd = self.odd
        if DEAD in odd:
            return "; ".join(odd)
        runs: list[dict[str, Any]] = self.host.call("Describe", job="probe").get("runs", [])
        starts = Counter(self.outside.read_text().split() if self.outside.exists() else [])
        told = [f"{run['state']} {run['exit_code']}" for run in runs] or ["nothing"]
        verdict = f"{', '.join(told)}; starts {starts['probe@1.1']}+{starts['probe@1.2']}"
        odd += self._records(runs)
        odd += [f"started as {name}" for name in starts if name not in ("probe@1.1", "probe@1.2")]
        lines = sum(line["record"]["run"] == "probe@1" for line in self.host.said("run_ended"))
        if runs and lines != 1:
            odd.append(f"{lines} lines")
        if self.promised == "probe@1" and not runs:
            odd.append("forgotten")
        log = self.host.log()
        odd += [f"{word} in the log" for word in ("Traceback", '"event":"bug"') if word in log]
        odd += self._again(len(runs)) + self._kept(runs)
        return "; ".join([verdict, *odd])

    def _records(self, runs: list[dict[str, Any]]) -> list[str]:
        """What files have otherwise than the daemon says."""
        odd = []
        for run in runs:
            if self.host.record(run["run"]) != run:
                odd.append(f"record file {'differs' if self.host.record(run['run']) else 'missing'}")
            if run["state"] == "failed" and self._output(run["run"]) != b"out\nout\n":
                odd.append("output")
        return odd

    def _kept(self, runs: list[dict[str, Any]]) -> list[str]:
        """Whether state.db, which nobody else can read while the daemon has it, ends with the same."""
        self.host.stop()
        with contextlib.closing(sqlite3.connect(self.root / "state" / "state.db")) as db:
            rows = db.execute("SELECT record FROM run WHERE job = 'probe' ORDER BY number").fetchall()
        return [] if [json.loads(text or "null") for (text,) in rows[: len(runs)]] == runs else ["state.db differs"]

    def _output(self, run: str) -> bytes:
        try:
            return self.host.output(run)
        except FileNotFoundError:
            return b""

    def _again(self, before: int) -> list[str]:
        """Whether the host still works."""
        reply = self.host.call("Run", job="probe")
        if "run" not in reply:
            return [f"no new run: {reply}"]
        record = self.host.call("Wait", run=reply["run"]).get("record", {})
        if (record.get("state"), record.get("exit_code"), len(record.get("attempts", []))) != ("failed", 7, 2):
            return [f"the next run {record.get('state')}"]
        return [] if reply["run"] == f"probe@{before + 1}" else [f"the next is {reply['run']}"]

    def close(self) -> None:
        """End what is left."""
        with contextlib.suppress(ValueError, subprocess.TimeoutExpired):
            self.host.close()


FAULTS_OF = {
    "create": ("ENOSPC", "EIO", "EROFS", "EMFILE", "dies"),
    "open": ("EIO", "EMFILE"),
    "write": ("ENOSPC", "EIO", "torn", "torn, dies", "dies"),
    "mkdir": ("ENOSPC", "EIO", "EROFS", "dies"),
    "rename": ("ENOSPC", "EIO", "EROFS", "dies"),
    "symlink": ("ENOSPC", "EIO", "EROFS", "dies"),
    "unlink": ("EIO", "EROFS", "dies"),
    "rmdir": ("EIO", "EROFS", "dies"),
    "allocate": ("ENOSPC", "EIO", "EROFS", "dies"),
    "fsync": ("EIO", "ENOSPC", "dies"),
    "list": ("EIO", "EMFILE"),
    "bind": ("ENOSPC", "EIO", "EROFS", "dies"),
    "connect": ("EMFILE", "dies"),
    "accept": ("EMFILE", "dies"),
    "send": ("dies",),
    "socket": ("EMFILE",),
    "fork": ("EAGAIN", "ENOMEM", "dies"),
    "posix_spawn": ("EAGAIN", "ENOMEM", "dies"),
    "pipe2": ("EMFILE",),
    "pidfd_open": ("EMFILE",),
    "read": ("EIO",),
    "sql-CONNECT": ("EIO",),
    "sql-BEGIN": ("EIO",),
    "sql-INSERT": ("ENOSPC",),
    "sql-COMMIT": ("ENOSPC", "EIO", "EROFS", "dies"),
}
"""How each kind of call can fail, once; a transaction fails as a whole, whichever statement does."""
LASTS = {
    "ENOSPC": ("create", "write", "mkdir", "bind", "allocate", "symlink", "sql-COMMIT"),
    "EROFS": ("create", "mkdir", "rename", "bind", "unlink", "rmdir", "symlink", "sql-COMMIT"),
    "EIO": ("create", "write", "mkdir", "rename", "unlink", "fsync", "sql-COMMIT"),
}
"""The calls at which a disk may begin to fail for good."""


def cases(points: dict[str, int]) -> list[tuple[str, str]]:
    """Every (point, fault)."""
    found = []
    for name, times in sorted(points.items()):
        call = name.split()[1]
        faults = FAULTS_OF.get(call.partition("-")[0] if call.startswith("read") else call, ())
        faults += tuple(f"{fault}{LASTING}" for fault, calls in LASTS.items() if call in calls)
        found += [(f"{name} {nth}", fault) for nth in range(1, times + 1) for fault in faults]
    return found
