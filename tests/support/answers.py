"""A daemon that answers from a table, and what it knows: a job, its runs, and their text at its worst."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from pathlib import Path

from jobqueued.control.protocol.varlink import Decoder, Message, Method, Service, VarlinkError, encode

NASTY = "\x1b]0;owned\x07\x9b31m\r\x7f\u202eend\n"
TAIL = f"a\tb\n{NASTY}"
JOB: Message = {
    "id": "nightly-backup", "description": "Dump and ship \x1b[31mthe databases", "status": "Failed", "enabled": True,
    "paused": False, "paused_until": None, "skips": [], "invalid": None,
    "priority": 10, "concurrency": 1, "scope": "host", "schedule": ["0 2 * * *", "0 14 * * sun"],
    "timezone": "Europe/Berlin",
    "next": "2100-01-01T01:00:00.000000Z", "last_run": "2026-11-24T01:00:00.000000Z", "last_state": "failed",
    "last_failover": False, "failing_since": "2026-11-24T01:00:00.000000Z", "due": 0,
    "settled": None, "rate_full": None, "waiting": 1, "retrying": 0, "running": 0, "late": 0, "overdue_since": None,
    "tags": ["nightly"], "file": "/etc/jobqueue.d/backup.yaml", "line": 5, "drop_ins": [], "batch": None,
}  # fmt: skip
NONE_YET = dict.fromkeys(("next", "last_run", "last_state", "failing_since"))
IDLE = {**JOB, "id": "x", "status": "Idle", "enabled": False, **NONE_YET}
DEFINITION: Message = {
    "locks": [{"name": "db", "mode": "exclusive"}, {"name": "tape", "mode": "shared"}], "on": ["boot", {"event": "e"}],
    "id": "nightly-backup", "command": ["backup", "--to", "a b"], "timeout": 7200.0, "umask": 18, "user": None,
    "success_codes": [0, 3], "environment": {"A": "b"}, "output_limit": 64 << 20, "enabled": True,
}  # fmt: skip
STATS: Message = {
    "started": 3, "succeeded": 1, "failed": 2, "skipped": 4, "last_run": None, "last_state": "failed", "usual": 61.5,
}  # fmt: skip
ATTEMPT: Message = {
    "attempt": 1, "started": "2026-11-24T01:00:00.000000Z", "ended": "2026-11-24T01:02:03.500000Z", "state": "failed",
    "exit_code": 3, "signal": None, "reason": "exit code 3",
}  # fmt: skip
RECORD: Message = {
    **ATTEMPT, "version": 1, "job": "nightly-backup", "run": "nightly-backup@142", "number": 142, "key": "c0.1",
    "trigger": "schedule",
    "asked_by": None, "due": "2026-11-24T01:00:00.000000Z", "queued": "2026-11-24T01:00:00.000000Z", "pid": 4711,
    "user": "backup", "command": "backup | gzip", "host": "box", "priority": 10, "cpu_user": 1.25, "cpu_system": 0.5,
    "memory_peak": 3 << 20, "memory_peak_below": None, "tags": ["nightly"], "metadata": {"owner": "ops"},
    "output": {"file": "/var/log/jobqueue/nightly-backup/142.log", "bytes": 2048, "dropped": 7, "tail": TAIL},
    "attempts": [ATTEMPT],
}  # fmt: skip
LIVE: Message = {
    **RECORD, "run": "nightly-backup@143", "state": "running", "ended": None, "exit_code": None, "reason": None,
    "cpu_user": None, "memory_peak": None,
    "usage": {"cpu_seconds": 2.0, "memory": 5 << 20, "tasks": 2, "stopped": True},
}  # fmt: skip
FREE: Message = {"held_by": None, "held_until": None, "draining": False}
STATUS: Message = {
    "version": "0.1.0", "pid": 17, "host": "box", "started": "2026-11-24T00:00:00.000000Z", "state": "ok",
    "reason": None, "jobs": 2, "due": 0, "waiting": 1, "retrying": 0, "running": 3, "max_running": 8, "exclusive": None,
    "fleet": None, "fleet_hosts": None,
    "controllers": ["memory", "pids", "io", "cpu", "cpuset"], "launcher": True, "troubles": [], "unenforced": [],
    "unwatched": [],
    "next": JOB["next"], "next_job": JOB["id"], "left": [], **FREE, "stale": [],
    "problems": [], "unwell": [], "attention": [], "invalid": 0, "failing": 0, "missed": 0, "late": 0,
    "overdue": 0, "outdated": 0, "paused": 0, "set_back": 0,
}  # fmt: skip
PROBLEM: Message = {
    "file": "/etc/jobqueue.d/b.yaml", "line": 3, "column": 5, "key": "schedule", "message": "found 'x'",
    "severity": "error", "job": "",
}  # fmt: skip


class Daemon:
    """Serves `methods` on a socket, each connection in a thread; `calls` are the methods called, in order."""

    def __init__(self, run: Path) -> None:
        run.mkdir(parents=True)
        self.methods: dict[str, Method] = {}
        self.calls: list[str] = []
        self._directory = os.open(run, os.O_PATH)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"/proc/self/fd/{self._directory}/control")
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Nobody listens any more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        os.close(self._directory)

    def answers(self, method: str, parameters: Message) -> None:
        """Let a method answer so, always."""
        self.methods[method] = lambda _: parameters

    def refuses(self, method: str, error: VarlinkError) -> None:
        """Let a method refuse so, always."""

        def refuse(_: Message) -> Message:
            raise error

        self.methods[method] = refuse

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=self._listener.accept()[:1], daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        decoder = Decoder()
        with peer, suppress(OSError, EOFError):
            while data := peer.recv(1 << 16):
                for call in decoder.feed(data):
                    self.calls.append(call["method"].rpartition(".")[2])
                    if reply := Service(self.methods).answer(call):
                        peer.sendall(encode(reply))
