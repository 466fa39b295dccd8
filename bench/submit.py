"""Hand in a command: `submit` as a process and by the socket, beside task-spooler and at(1), in one run."""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.rig import Rig, daemon, wait_for
from bench.starts import AT, CTL
from jobqueued.child.contract import unix_socket
from jobqueued.control.protocol.varlink import Decoder, encode
from jobqueued.ctl.base.client import ask

PROCESSES, CALLS, PEERS = 20, 500, 20


def submit() -> dict[str, Any]:
    """Milliseconds of one submission by a process of its own, ours and theirs; from there to the start; submissions a
    second by the socket, and runs a second of what was handed in so.
    """
    figures: dict[str, Any] = {}
    with daemon({}) as rig:
        environment = {**os.environ, "JOBQUEUE_ROOT": str(rig.directory)}
        if not (rig.directory / "run").exists():
            (rig.directory / "run").symlink_to(rig.run)
        ctl = [sys.executable, "-I", "-c", CTL, "submit", "--", "true"]
        figures["submit_process_ms"] = _each(ctl, environment)
        later = [sys.executable, "-I", "-c", AT.format("at"), "now", "+", "1", "hour"]
        figures["our_at_process_ms"] = _each(later, environment, b"true\n")
        figures["submit_to_start_ms"] = _to_start(rig)
        figures |= _by_socket(rig)
    figures |= _theirs()
    for ours, theirs in (("submit_process_ms", "tsp_process_ms"), ("our_at_process_ms", "at_process_ms"),
                         ("socket_ms", "tsp_process_ms"), ("submit_to_start_ms", "tsp_to_start_ms")):  # fmt: skip
        if theirs in figures:
            figures[f"{ours.removesuffix('_ms')}_to_{theirs.removesuffix('_ms')}"] = figures[ours] / figures[theirs]
    if "tsp_runs_a_second" in figures:
        figures["runs_to_tsp"] = figures["runs_a_second"] / figures["tsp_runs_a_second"]
    return figures


def _each(command: list[str], environment: dict[str, str] | None = None, text: bytes = b"") -> float:
    """The median of how long a program takes, in ms."""
    times = []
    for _ in range(PROCESSES):
        begin = time.monotonic()
        subprocess.run(command, check=True, input=text, capture_output=True, env=environment)
        times.append(time.monotonic() - begin)
    return statistics.median(times) * 1000


def _started(hand_in: Callable[[str], Any]) -> float:
    """The median from the begin of a submission to the start of its command, in ms."""
    times = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(PROCESSES):
            mark = Path(folder) / str(number)
            begin = time.time()
            hand_in(f"date +%s.%N > {mark}.new; mv {mark}.new {mark}")
            wait_for(mark.exists, 10)
            times.append(float(mark.read_text()) - begin)
    return statistics.median(times) * 1000


def _to_start(rig: Rig) -> float:
    control = rig.run / "control"
    return _started(lambda line: ask(control, "Submit", submission={"keys": {"command": line}}))


def _by_socket(rig: Rig) -> dict[str, float]:
    """Calls on one connection after another, then on many at a time; and how long all of these take to run."""
    control = str(rig.run / "control")
    call = encode({"method": "io.jobqueue.Submit", "parameters": {"submission": {"keys": {"command": ["true"]}}}})
    begin = time.monotonic()
    with socket.socket(socket.AF_UNIX) as peer:
        unix_socket.connect(peer, control)
        decoder = Decoder()
        for _ in range(CALLS):
            peer.sendall(call)
            while not decoder.feed(peer.recv(1 << 16)):
                pass
    alone = (time.monotonic() - begin) / CALLS
    peers = [socket.socket(socket.AF_UNIX) for _ in range(PEERS)]
    begin = time.monotonic()
    for peer in peers:
        unix_socket.connect(peer, control)
        peer.sendall(call * (CALLS // PEERS))
    for peer in peers:
        decoder, found = Decoder(), 0
        while found < CALLS // PEERS:
            found += len(decoder.feed(peer.recv(1 << 16)))
        peer.close()
    together = (time.monotonic() - begin) / CALLS
    wait_for(lambda: not any(it["running"] or it["waiting"] for it in _all(rig)), 120)
    took = time.monotonic() - begin
    return {"socket_ms": alone * 1000, "socket_20_peers_ms": together * 1000, "runs_a_second": CALLS / took}


def _all(rig: Rig) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask(rig.run / "control", "Submissions", 120)["submissions"]
    return found


def _theirs() -> dict[str, float]:
    """The same of the other programs, as far as they are installed."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TS_SOCKET": f"{folder}/socket", "TMPDIR": folder, "TS_SLOTS": "16"}
        if tsp := shutil.which("tsp"):
            subprocess.run([tsp, "-n", "true"], check=True, capture_output=True, env=environment)
            found["tsp_process_ms"] = _each([tsp, "-n", "true"], environment)

            def hand_in(line: str) -> None:
                subprocess.run([tsp, "-n", "sh", "-c", line], check=True, capture_output=True, env=environment)

            found["tsp_to_start_ms"] = _started(hand_in)
            begin = time.monotonic()
            for _ in range(CALLS):
                subprocess.run([tsp, "-n", "true"], check=True, capture_output=True, env=environment)
            subprocess.run([tsp, "-w"], check=False, capture_output=True, env=environment)
            found["tsp_runs_a_second"] = CALLS / (time.monotonic() - begin)
            subprocess.run([tsp, "-K"], check=True, capture_output=True, env=environment)
    if at := shutil.which("at"):
        known = _at_jobs()
        found["at_process_ms"] = _each([at, "now", "+", "1", "hour"], None, b"true\n")
        subprocess.run(["atrm", *sorted(_at_jobs() - known)], check=True, capture_output=True)
    return found


def _at_jobs() -> set[str]:
    listed = subprocess.run(["atq"], check=True, capture_output=True, text=True).stdout
    return {line.split()[0] for line in listed.splitlines()}
