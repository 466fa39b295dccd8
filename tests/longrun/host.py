"""The host of a long run: a real daemon, its log read by the sieve, its run directory in memory as on any host."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.longrun.mix import settings
from tests.support import REPO
from tests.support.host import Host, kill, wait_for

_PIPE = 1 << 20


class LongHost(Host):
    """One directory with everything; `user`: the other user there is, if we are root; `receiver`: who takes notices.

    `program` as of Host.
    """

    def __init__(self, root: Path, user: str | None, receiver: str, *program: str) -> None:
        super().__init__(root, *program)
        self.run_directory = Path(tempfile.mkdtemp(prefix="longrun-", dir="/dev/shm"))
        for directory in (root, self.run_directory):
            directory.chmod(0o755)
        (root / "run").symlink_to(self.run_directory)
        (root / "jobqueued.yaml").write_text(settings(user, receiver))
        self.ledger = root / "ledger"
        self.ledger.touch()
        self.ledger.chmod(0o666)
        self._counts = root / "log-counts"
        command = [sys.executable, "-m", "tests.longrun.sieve", str(root / "daemon.log"), str(self._counts)]
        self._sieve = subprocess.Popen(command, cwd=REPO, stdin=subprocess.PIPE)
        assert self._sieve.stdin is not None
        self._pipe = self._sieve.stdin
        fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _PIPE)

    def start(self, *arguments: str, ready: bool = True) -> Any:
        """Start the daemon, a process of its own in every respect, and wait until it is ready."""
        seen = len(self.said("ready"))
        command = [sys.executable, *self.program, "--root", str(self.root), "--run", str(self.run_directory)]
        command += ["--log", "json", *arguments]
        self.daemon = subprocess.Popen(
            command, cwd=REPO, stdin=subprocess.DEVNULL, stdout=self._pipe, stderr=self._pipe
        )
        if ready:
            wait_for(lambda: len(self.said("ready")) > seen or self.daemon_ended(), 120, "ready")
            assert not self.daemon_ended(), self.log()
        return self.daemon

    def said(self, event: str) -> list[dict[str, Any]]:
        """The lines of one kind, of those that the sieve keeps."""
        marker = f'"event":"{event}"'
        return [json.loads(line) for line in self.log().splitlines() if marker in line]

    def log_counts(self) -> tuple[int, int]:
        """Lines and bytes that the daemon has said."""
        lines, size = self._counts.read_text().split() if self._counts.exists() else ("0", "0")
        return int(lines), int(size)

    def small_ones(self) -> list[int]:
        """The launcher and the supervisors."""
        return [pid for pid, _ in self.family()]

    def family(self) -> list[tuple[int, str]]:
        """The launcher, the supervisors, and whatever sends notices: pid, and its name."""
        found = []
        marker = str(self.run_directory / "runs").encode()
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if marker in Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0"):
                    found.append((int(name), Path(f"/proc/{name}/comm").read_text().strip()))
        return found

    def launcher(self) -> int | None:
        """The pid of the launcher."""
        return next((pid for pid, name in self.family() if name == "jq-launcher"), None)

    def descriptors(self) -> int:
        """How many the scheduler has."""
        assert self.daemon is not None
        return len(os.listdir(f"/proc/{self.daemon.pid}/fd"))

    def restart(self, *, killed: bool) -> None:
        """Stop the scheduler, or kill it, and start the next."""
        if killed:
            self.kill()
        else:
            self.stop()
        self.start()

    def kill_launcher(self) -> None:
        """SIGKILL the launcher; those that are busy finish."""
        if (pid := self.launcher()) is not None:
            kill(pid)

    def reload(self) -> None:
        """SIGHUP."""
        assert self.daemon is not None
        self.daemon.send_signal(signal.SIGHUP)

    def ask_for_memory(self) -> None:
        """Have the daemon tell what takes its memory, if it can (traced.py)."""
        if "tests.longrun.traced" in self.program and self.daemon is not None:
            self.daemon.send_signal(signal.SIGUSR2)

    def close(self) -> None:
        """End everything that this host started."""
        super().close()
        self._pipe.close()
        self._sieve.wait()
        subprocess.run(["rm", "-rf", str(self.run_directory)], check=True)
