"""The daemon as an administrator and systemd have it: started by its command line, restarted when it ends, asked."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.chaos import processes
from tests.chaos.disks import Disk
from tests.chaos.jobs import SCRIPT
from tests.chaos.journal import Journal
from tests.chaos.receivers import Receivers
from tests.chaos.strain import Strain
from tests.chaos.timeline import Timeline
from tests.support.stranger import as_user

AGAIN = 1.0
"""Seconds before one that has ended by itself is started again (RestartSec=)."""
LONGEST_WAIT = 30.0
_ASKING = 20.0
_TAIL = 1 << 16
_CTL = "import sys; from jobqueued.ctl.main import main; sys.exit(main())"


class Host:
    """The directory with everything, its three disks, and the daemon on it."""

    def __init__(self, root: Path, timeline: Timeline) -> None:
        self.root, self.timeline = root, timeline
        self.ledger = root / "ledger"
        self.disks = {
            "state": Disk(root / "state", "2048", root / "state.img"),
            "logs": Disk(root / "logs", "2048", root / "logs.img"),
            "run": Disk(root / "run", "16"),
        }
        self.receivers = Receivers(self.ledger)
        self.journal = Journal(root / "journal")
        self.strain: Strain
        self.daemon: subprocess.Popen[bytes] | None = None
        self.refusals: Counter[str] = Counter()
        self.tables: dict[str, Path] = {}
        """The tables of cron, by a name."""
        self.log = root / "daemon.log"
        self.files_limit: int | None = None
        """How many files the next daemon may have open."""
        self.puts_right = 0.0
        """By how much (s) the clock is to be set forward again, as that was set far back."""
        self._start_at: float | None = 0.0
        self._log_begin = 0

    def make(self, *, strained: bool) -> None:
        """Make directories and disks, and where it is to be `strained` the library for that."""
        for folder in ("jobqueue.d", "ledger/claims", "ledger/runs"):
            (self.root / folder).mkdir(parents=True)
        for place, mode in ((self.root, 0o755), (self.ledger / "runs", 0o777)):
            place.chmod(mode)
        for file, mode in ((self.ledger / "ledger", 0o666), (self.ledger / SCRIPT.name, 0o644)):
            file.write_bytes(SCRIPT.read_bytes() if file.name == SCRIPT.name else b"")
            file.chmod(mode)
        self.strain = Strain(self.root, is_wanted=strained)
        self.journal.listen()
        for disk in self.disks.values():
            disk.make()

    def write(self, name: str, text: str) -> None:
        """Save a job file as editors do: by rename."""
        temporary = self.root / f"{name}.tmp"
        temporary.write_text(text)
        temporary.replace(self.root / "jobqueue.d" / name)

    def command(self, *arguments: str) -> list[str]:
        """The command line of the daemon."""
        return [sys.executable, "-m", "jobqueued", "--root", str(self.root), "--log", "json", *arguments]

    def pids(self) -> dict[int, str]:
        """All processes of the daemon, and which they are."""
        found = processes.small_ones()
        self.timeline.supervisors.update(pid for pid, role in found.items() if role == processes.SUPERVISOR)
        self.timeline.launchers.update(pid for pid, role in found.items() if role == processes.LAUNCHER)
        if self.daemon is not None and self.daemon.poll() is None:
            found[self.daemon.pid] = processes.SCHEDULER
        return found

    # its life

    def tend(self) -> None:
        """Do what systemd does: start it, when it is to be started; note it, when it has ended by itself."""
        now = time.monotonic()
        if self.daemon is not None and self.daemon.poll() is not None:
            self._note_end(self.daemon.returncode)
            self.daemon, self._start_at = None, now + AGAIN
        if self._start_at is not None and self._start_at <= now:
            self._log_begin = self.log.stat().st_size if self.log.exists() else 0
            limit = ["prlimit", f"--nofile={self.files_limit}"] if self.files_limit else []
            with self.log.open("ab") as log:
                try:
                    self.daemon = subprocess.Popen(
                        [*limit, *self.command()], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                        start_new_session=True, env={**os.environ, **self.strain.environment},
                    )  # fmt: skip
                    self._start_at = None
                except BlockingIOError:  # no process can be made
                    self._start_at = now + AGAIN

    def _note_end(self, status: int) -> None:
        """One that refuses to start during a fault is right; one that was ready may not end, and none by a signal."""
        said = self.log.read_bytes()[self._log_begin :].decode(errors="replace")
        last = self.last_words()
        if status < 0 or '"event":"ready"' in said:
            self.timeline.fail("died", f"the daemon has ended by itself, status {status}\n{last}")
        else:
            self.timeline.say(f"the daemon does not start: {last[-300:]}")

    def sleep(self, seconds: float) -> None:
        """Let time pass, and see to the daemon."""
        until = time.monotonic() + seconds
        self.tend()
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(0.05, left))
            self.journal.take()
            self.tend()

    def end(self, number: signal.Signals, down: float) -> None:
        """End the scheduler and start the next after `down` seconds."""
        if self.daemon is not None:
            self.daemon.send_signal(number)
            self.daemon.send_signal(signal.SIGCONT)
            try:
                self.daemon.wait(LONGEST_WAIT)
            except subprocess.TimeoutExpired:
                self.timeline.fail("starts", f"the daemon does not end {LONGEST_WAIT:g} s after {number.name}")
                self.daemon.kill()
                self.daemon.wait()
        self.daemon, self._start_at = None, time.monotonic() + down

    # its answers

    def ctl(self, *arguments: str, seconds: float = _ASKING) -> tuple[int, str]:
        """Run jobqueuectl for so long at most; its exit status and output."""
        command = [sys.executable, "-c", _CTL, "--root", str(self.root), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            return -1, f"no answer in {seconds:g} s"
        return done.returncode, done.stdout if done.stdout.strip() else done.stderr

    def ask(self, method: str, uid: int | None = None, **parameters: Any) -> dict[str, Any]:
        """Call a method of the control socket, as a program of root or of another user; {} if that comes to nothing."""
        if uid is not None:
            with contextlib.suppress(OSError, AssertionError, ValueError):
                return dict(as_user(uid, lambda: self.ask(method, **parameters)))
            return {}
        request = json.dumps({"method": f"io.jobqueue.{method}", "parameters": parameters}).encode() + b"\0"
        answer = b""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_ASKING)
            connection.connect(str(self.root / "run" / "control"))
            connection.sendall(request)
            while not answer.endswith(b"\0") and (data := connection.recv(1 << 16)):
                answer += data
        if not answer.endswith(b"\0"):
            return {}
        reply = json.loads(answer[:-1])
        if "error" in reply:
            self.refusals.update([f"{method}: {reply['error']} {json.dumps(reply.get('parameters'))[:200]}"])
            return {}
        return {"answered": True, **reply.get("parameters", {})}

    def status(self) -> dict[str, Any]:
        """What it says of itself; {} if it does not answer."""
        return self.ask("Status")

    def is_well(self) -> bool:
        """Whether the daemon says that all is well."""
        status = self.status()
        return status.get("state") == "ok" and bool(status.get("launcher"))

    def close(self) -> None:
        """End everything, and let go of the disks."""
        self.receivers.close()
        self.journal.close()
        if self.daemon is not None:
            self.daemon.kill()
        for pid in processes.small_ones():
            processes.send(pid, signal.SIGKILL)
        for disk in self.disks.values():
            while not subprocess.run(["umount", "--lazy", disk.place], capture_output=True, check=False).returncode:
                pass  # there is a file system below

    def last_words(self, lines: int = 25) -> str:
        """The end of its log, each line cut."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL))
            said = log.read().decode(errors="replace").splitlines()
        return "\n".join(line[:300] for line in said[-lines:])
