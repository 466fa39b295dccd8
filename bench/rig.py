"""What the benchmarks share: a daemon in a throw-away directory, and what the kernel says of its processes."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TICK = os.sysconf("SC_CLK_TCK")


class Rig:
    """One running daemon; `pids` are those of the scheduler, its launcher and the supervisors."""

    def __init__(self, directory: Path, run: Path) -> None:
        self.directory, self.run = directory, run
        self.seconds = 0.0
        """From exec to ready, at the last start."""
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        """Start the daemon and wait until it answers."""
        command = [
            sys.executable,
            "-m",
            "jobqueued",
            "--root",
            str(self.directory),
            "--run",
            str(self.run),
            "--log",
            "json",
        ]
        seen, begin = len(self.said("ready")), time.time()
        log = open(self.directory / "daemon.log", "ab")  # noqa: SIM115
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=log)
        wait_for(lambda: len(self.said("ready")) > seen, 60)
        self.seconds = datetime.fromisoformat(self.said("ready")[-1]["time"]).timestamp() - begin

    def said(self, event: str) -> list[dict[str, Any]]:
        """The daemon's lines of one kind."""
        path = self.directory / "daemon.log"
        marker = f'"event":"{event}"'
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if marker in line and line.endswith("}")]

    def stop(self) -> None:
        """Stop the daemon; its launcher leaves by itself."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def pids(self) -> list[int]:
        """Scheduler first, then launcher and supervisors."""
        marker = str(self.run / "runs")
        others = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if marker in _arguments(pid)]
        return [self.process.pid, *sorted(others)]


def _arguments(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return []


@contextlib.contextmanager
def daemon(
    files: dict[str, str], settings: str = "{}\n", made: Callable[[Path], None] = lambda _: None
) -> Iterator[Rig]:
    """A daemon on these job files; as installed, state and logs on a real disk, the run directory on tmpfs.

    `made` puts what else there is into its directory before it starts.
    """
    with (
        tempfile.TemporaryDirectory(prefix="jobqueued-bench-", dir="/var/tmp") as name,
        tempfile.TemporaryDirectory(prefix="jobqueued-bench-", dir="/dev/shm") as run,
    ):
        directory = Path(name)
        (directory / "jobqueue.d").mkdir()
        (directory / "jobqueued.yaml").write_text(settings)
        for file, text in files.items():
            (directory / "jobqueue.d" / file).write_text(text)
        made(directory)
        rig = Rig(directory, Path(run))
        rig.start()
        try:
            yield rig
        finally:
            rig.stop()


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    """Until the condition holds; TimeoutError after `seconds`."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.02)


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of these processes so far, without their children's."""
    return sum(int(fields[11]) + int(fields[12]) for fields in map(_stat, pids) if fields) / TICK


def cpu_of_ended(pids: list[int]) -> float:
    """User and system time of what these processes have started and waited for, with theirs."""
    return sum(int(fields[13]) + int(fields[14]) for fields in map(_stat, pids) if fields) / TICK


def parent(pid: int) -> int:
    """The process that has started it, or has taken it over; 0: it is gone."""
    return int((_stat(pid) or "00")[1])


def _stat(pid: int) -> list[str]:
    """The fields of proc_pid_stat(5) from the third; none: it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def on_cpu(pids: list[int]) -> float:
    """Seconds of CPU time of these processes so far, to the nanosecond, without their children's."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    return total / 1e9


def children_cpu() -> float:
    """Seconds of CPU time of all processes that this one has started and waited for, with theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def spawn_loop(folder: Path) -> Path:
    """The program of the yardstick, compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("bench: a C compiler is needed for the yardstick (apt install gcc libc6-dev)")
    program = folder / "spawn_loop"
    subprocess.run([compiler, "-O2", "-o", program, ROOT / "bench" / "spawn_loop.c"], check=True)
    return program


def switches(pids: list[int]) -> dict[int, int]:
    """Context switches of each process so far; one that sleeps undisturbed makes none."""
    found = {}
    for pid in pids:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        found[pid] = sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)
    return found


def pss_kib(pids: list[int], field: str = "Pss:") -> int:
    """Proportional set size of all of them together, or that of what no file holds (``Pss_Anon:``)."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(field):
                total += int(line.split()[1])
    return total
