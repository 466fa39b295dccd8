"""The part of a comparison that goes on in a machine of its own, with systemd: python3 -m bench.peers.guest OUT COUNT

Installs us as `make install` does.  Then COUNT jobs are due in one minute, by us and by timers of systemd, with and
without limits of a cgroup; and as many are started by systemd-run, one after the other.  OUT has `stamp` and
`spawn_loop`, and gets `guest.json`: for each, as in burst.py, the first and the last start, beside the C loop in the
same machine; the CPU time of all the machine beside that of the loop; and the memory that it takes more, at rest.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from bench.peers.burst import stamps
from bench.peers.hosts import busy
from bench.rig import pss_kib, wait_for

UNITS, JOBS = Path("/run/systemd/system"), Path("/etc/jobqueue.d")
LEDGER = Path("/run/ledger")
_READING = timedelta(seconds=60)
"""What whoever starts them gets to read the jobs, and to come to rest, before they are due."""
_QUIET = 0.1
"""CPUs that are busy at most in a machine at rest."""
_ENOUGH = 900.0
Figures = dict[str, float]


class Starter(NamedTuple):
    """Whoever starts the jobs.  `begin` gives it so many, which are due then; `end` takes them away."""

    name: str
    begin: Callable[[int, datetime], None]
    end: Callable[[], None]
    is_limited: bool = False


def sh(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)


class Ours:
    """The daemon, as installed."""

    def __init__(self, command: list[str], limits: str = "") -> None:
        self._command, self._limits = command, limits

    def begin(self, count: int, due: datetime) -> None:
        keys = f'command: {json.dumps(self._command)}, schedule: "{due.minute} {due.hour} * * *"{self._limits}'
        lines = (f"  job-{number:05}: {{{keys}}}\n" for number in range(count))
        (JOBS / "bench.yaml").write_text("defaults: {timezone: UTC}\njobs:\n" + "".join(lines))
        sh("systemctl", "start", "jobqueued")

    @staticmethod
    def end() -> None:
        sh("systemctl", "stop", "jobqueued", "jobqueued-launcher.socket", "jobqueued-launcher.service")
        (JOBS / "bench.yaml").unlink()
        for place in ("/var/lib/jobqueue", "/var/log/jobqueue"):
            sh("find", place, "-mindepth", "1", "-delete")


class Timers:
    """A timer and a service of systemd for each job."""

    def __init__(self, command: list[str], limits: str = "") -> None:
        self._command, self._limits = command, limits

    def begin(self, count: int, due: datetime) -> None:
        UNITS.mkdir(parents=True, exist_ok=True)
        service = f"[Service]\nExecStart={' '.join(self._command)}\n{self._limits}"
        timer = f"[Timer]\nOnCalendar={due:%Y-%m-%d %H:%M:%S} UTC\nAccuracySec=1us\n"
        for number in range(count):
            (UNITS / f"bench-{number:05}.service").write_text(service)
            (UNITS / f"bench-{number:05}.timer").write_text(timer)
        sh("systemctl", "daemon-reload")
        sh("systemctl", "start", *(f"bench-{number:05}.timer" for number in range(count)))

    @staticmethod
    def end() -> None:
        sh("systemctl", "stop", *(path.name for path in UNITS.glob("bench-*.timer")))
        for path in UNITS.glob("bench-*"):
            path.unlink()
        sh("systemctl", "daemon-reload")


class Guest:
    """One machine; `programs` has what is compiled."""

    def __init__(self, programs: Path, count: int) -> None:
        self._command = [str(programs / "stamp"), str(LEDGER)]
        self._loop, self._count = str(programs / "spawn_loop"), count

    def starters(self) -> list[Starter]:
        command = self._command
        ours, timers = Ours(command), Timers(command)
        limited = Ours(command, ", resource_limits: {memory: 100M, tasks: 50}")
        units = Timers(command, "MemoryMax=100M\nTasksMax=50\n")
        return [
            Starter("jobqueued", ours.begin, ours.end),
            Starter("systemd timers", timers.begin, timers.end),
            Starter("jobqueued", limited.begin, limited.end, is_limited=True),
            Starter("systemd timers", units.begin, units.end, is_limited=True),
        ]

    def round(self) -> dict[str, dict[str, Figures]]:
        """All of them, one after the other, each beside a C loop of its own."""
        found: dict[str, dict[str, Figures]] = {"timers": {}, "limits": {}}
        for each in self.starters():
            found["limits" if each.is_limited else "timers"][each.name] = self._burst(each)
        found["limits"]["systemd-run, one after the other"] = self._one_by_one()
        return found

    def _burst(self, starter: Starter) -> Figures:
        loop, loop_cpu = self._timed(self._command)
        before = _memory()
        due = (datetime.now(UTC) + _READING + timedelta(minutes=1)).replace(second=0, microsecond=0)
        starter.begin(self._count, due)
        try:
            _rest()
            idle = _memory() - before
            LEDGER.write_bytes(b"")
            if (left := due.timestamp() - time.time() - 1) < 0:
                raise RuntimeError(f"{starter.name} was not ready in time")
            time.sleep(left)
            used = busy()
            wait_for(lambda: LEDGER.stat().st_size >= 8 * self._count, _ENOUGH)
            _rest()
            cpu, after = busy() - used, _memory() - before
        finally:
            starter.end()
        figures = _starts(due.timestamp(), self._count)
        return figures | {
            "c_loop_s": loop, "ratio": figures["last_s"] / loop, "idle_mib": idle, "after_mib": after,
            "cpu_ms_a_run": (cpu - loop_cpu) / self._count * 1000,
        }  # fmt: skip

    def _one_by_one(self) -> Figures:
        """Each by a systemd-run that returns once it is started."""
        loop, loop_cpu = self._timed(self._command)
        limits = ["-p", "MemoryMax=100M", "-p", "TasksMax=50"]
        LEDGER.write_bytes(b"")
        begin = time.time()
        _took, cpu = self._timed(["/usr/bin/systemd-run", "--quiet", "--collect", *limits, "--", *self._command])
        wait_for(lambda: LEDGER.stat().st_size >= 8 * self._count, _ENOUGH)
        figures = _starts(begin, self._count)
        cost = (cpu - loop_cpu) / self._count * 1000
        return figures | {"c_loop_s": loop, "ratio": figures["last_s"] / loop, "cpu_ms_a_run": cost}

    def _timed(self, command: list[str]) -> tuple[float, float]:
        """The seconds that the C loop takes for so many, and the CPU time of all the machine until it is at rest."""
        LEDGER.write_bytes(b"")
        used = busy()
        done = subprocess.run([self._loop, str(self._count), *command], check=True, capture_output=True, text=True)
        _rest()
        return float(done.stdout), busy() - used


def _starts(due: float, count: int) -> Figures:
    found = [number / 1e9 - due for number in stamps(LEDGER)]
    if len(found) != count:
        raise RuntimeError(f"{len(found)} of {count} jobs have started")
    return {"first_ms": min(found) * 1000, "last_s": max(found)}


def _memory() -> float:
    """The memory of all processes, in MiB."""
    total = 0
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(OSError):
            total += pss_kib([pid])
    return total / 1024


def _rest() -> None:
    """Wait until nothing goes on."""

    def is_quiet() -> bool:
        used = busy()
        time.sleep(1)
        return busy() - used < _QUIET

    wait_for(is_quiet, _ENOUGH)


def main() -> None:
    """Install, and measure one round."""
    out, count = Path(sys.argv[1]), int(sys.argv[2])
    if "vm-run=" not in Path("/proc/cmdline").read_text():
        raise SystemExit("guest: this installs into /: only inside vm-run")
    sh("make", "install", "PREFIX=/usr")
    sh("systemd-sysusers", "jobqueue.conf")
    sh("systemd-tmpfiles", "--create", "jobqueue.conf")
    sh("systemctl", "daemon-reload")
    version = subprocess.check_output(["systemctl", "--version"], text=True).split()[1]
    found = Guest(out, count).round()
    (out / "guest.json").write_text(json.dumps({"systemd": version, "cpus": os.cpu_count(), "found": found}))


if __name__ == "__main__":
    main()
