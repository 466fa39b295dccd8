"""How late root's runs start while strangers call the control socket as fast as they can; beside the same in peace."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import statistics
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.rig import daemon
from jobqueued.control.protocol.varlink import encode
from jobqueued.ctl.base.client import ask

JOBS = 5000
STARTS = 40
USERS, OF_EACH = 8, 4
FIRST = 65_000
CALLS = [
    encode({"method": "io.jobqueue.List"}), encode({"method": "io.jobqueue.Status"}),
    b'{"method":"' + b"[" * 60_000 + b'"}\0',
]  # fmt: skip


def storm() -> dict[str, Any]:
    """The delay from the call to the start, in peace and beside 32 connections of 8 other users; needs root."""
    if os.geteuid():
        raise SystemExit("bench storm: needs root, to call as other users")
    files = {"probe.yaml": "jobs: {probe: {command: [/bin/true]}}"} | {
        f"{file}.yaml": "jobs:\n" + "".join(
            f"  job-{file}-{number:03}: {{command: [/bin/true], schedule: '0 3 1 1 *', description: of a benchmark}}\n"
            for number in range(1000)
        )
        for file in range(JOBS // 1000)
    }  # fmt: skip
    with daemon(files) as rig:
        os.chmod(rig.run, 0o755)
        control = rig.run / "control"
        ask(control, "List")
        peace = delays(control, "probe", STARTS)
        with _callers(control) as answers:
            stormy = delays(control, "probe", STARTS)
            answered = answers()
    return {
        "jobs": JOBS, "peace_median_ms": statistics.median(peace), "storm_median_ms": statistics.median(stormy),
        "peace_longest_ms": max(peace), "storm_longest_ms": max(stormy), "answers_to_strangers": answered,
        "ratio": statistics.median(stormy) / statistics.median(peace), "ratio_of_longest": max(stormy) / max(peace),
    }  # fmt: skip


def delays(control: Path, job: str, count: int) -> list[float]:
    """Milliseconds from each call to the start of its run."""
    found = []
    for _ in range(count):
        asked = time.time()
        record = ask(control, "Wait", 60, run=ask(control, "Run", 60, job=job)["run"])["record"]
        found.append((datetime.fromisoformat(record["started"]).timestamp() - asked) * 1000)
    return found


@contextlib.contextmanager
def _callers(control: Path) -> Iterator[Any]:
    """Other users, each a process of the lowest priority, so that not the CPUs are what is measured."""
    reading, writing = os.pipe()
    pids = []
    for number in range(USERS):
        pid = os.fork()
        if not pid:
            os.nice(19)
            os.setgroups([])
            os.setgid(FIRST + number)
            os.setuid(FIRST + number)
            try:
                _call(control, writing)
            finally:
                os._exit(1)
        pids.append(pid)
    os.close(writing)
    os.set_blocking(reading, False)

    def answers() -> int:
        with contextlib.suppress(BlockingIOError):
            return len(os.read(reading, 1 << 20))
        return 0

    try:
        yield answers
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(reading)


def _call(control: Path, told: int) -> None:
    """Ask, read, ask again, on as many connections as one may have; a byte for each call that was answered."""
    connections: list[socket.socket] = []
    while True:
        while len(connections) < OF_EACH:
            connections.append(_connected(control))
        for number, connection in enumerate(connections):
            try:
                connection.sendall(CALLS[number % len(CALLS)])
                while (data := connection.recv(1 << 20)) and not data.endswith(b"\0"):
                    pass
            except OSError:
                data = b""
            if data:
                os.write(told, b".")
            else:
                connection.close()
                connections[number] = _connected(control)


def _connected(control: Path) -> socket.socket:
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(control))
        except OSError:
            connection.close()
        else:
            return connection
