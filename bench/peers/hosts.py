"""A host of its own for each daemon: mounts and processes in private namespaces, so that all of it can be measured.

CPU time is that of the whole namespace, the jobs included, as the kernel adds it up for whoever waits for it.  So it is
read before the end: what dies while its parent lives, and ignores SIGCHLD, is waited for by nobody.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.rig import cpu_of_ended, cpu_seconds, parent, pss_kib, switches, wait_for

_SETUP = """set -e
for place in /etc /run /var/spool; do
    test ! -d "$1/${place##*/}" || mount --bind "$1/${place##*/}" $place
done
shift
exec "$@"
"""
QUIET = 1.0
"""Seconds without a switch of context, after which a daemon has nothing more to do."""


class Host:
    """A daemon in namespaces of its own; `home` is the directory that it may fill."""

    def __init__(self, home: Path, init: Path, command: list[str], environment: Mapping[str, str]) -> None:
        self.home = home
        said = open(home / "said", "wb")  # noqa: SIM115
        unshare = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
        self._process = subprocess.Popen(
            [*unshare, "sh", "-c", _SETUP, "sh", str(home), str(init), *command],
            stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=dict(environment),
        )  # fmt: skip
        self._namespace = ""
        wait_for(lambda: self._has_begun() and len(self._inside()) > 1, 10)

    def _has_begun(self) -> bool:
        with contextlib.suppress(OSError):
            inside = os.readlink(f"/proc/{self._process.pid}/ns/pid_for_children")
            self._namespace = inside if inside != os.readlink("/proc/self/ns/pid") else ""
        return bool(self._namespace)

    def pids(self) -> list[int]:
        """All of its processes, but the first, which waits for the others."""
        return [pid for pid in self._inside() if parent(pid) != self._process.pid]

    def _inside(self) -> list[int]:
        found = []
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/ns/pid") == self._namespace:
                    found.append(pid)
        return sorted(found)

    def said(self) -> str:
        """What it has written to its standard output and error."""
        return (self.home / "said").read_text(errors="replace")

    def settle(self, seconds: float = 60) -> None:
        """Wait until nothing of it runs any more."""
        wait_for(self._is_quiet, seconds)

    def _is_quiet(self) -> bool:
        try:
            before = switches(self.pids())
            time.sleep(QUIET)
            return switches(self.pids()) == before
        except OSError:  # one of them has just ended
            return False

    def pss_mib(self) -> float:
        """The memory of all of its processes."""
        return pss_kib(self.pids()) / 1024

    def cpu(self) -> float:
        """Seconds of CPU that it has had from the begin, with all jobs that have ended."""
        pids = self._inside()
        return cpu_seconds(pids) + cpu_of_ended(pids)

    def end(self) -> None:
        """Kill all of it, if it is not yet."""
        for pid in self.pids() if self._process.returncode is None else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()


class Others:
    """The CPU time of all else on this machine, from the begin to `share`."""

    def __init__(self) -> None:
        self._busy, self._at = busy(), time.monotonic()

    def share(self, own: float) -> float:
        """How many CPUs were busy with other things on average; `own`: the seconds that were ours."""
        return max(0.0, busy() - self._busy - own) / (time.monotonic() - self._at)


def busy() -> float:
    """Seconds of CPU time of all processors since the boot, but for those at rest."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def hosted(home: Path, init: Path, command: list[str], environment: Mapping[str, str]) -> Iterator[Host]:
    """A host that is ended in any case."""
    host = Host(home, init, command, environment)
    try:
        yield host
    finally:
        host.end()
