"""A flood of submissions of one user: what it costs the daemon by their number, root, and the other users."""

from __future__ import annotations

import json
import os
import pwd
import select
import socket
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.rig import Rig, cpu_seconds, daemon, pss_kib, wait_for
from bench.storm import STARTS, delays
from jobqueued.child.contract import unix_socket
from jobqueued.control.protocol.varlink import Decoder, encode
from jobqueued.ctl.base.client import ask

COUNT, PARTS, CONNECTIONS, AT_ONCE = 10_000, 4, 4, 16
FLOODER, OTHERS = 1, (2, 3)
"""Users that every host has."""
_SETTINGS = "max_running: 4\nusers: {waiting: 20000, calls: 1000000}\n"


def flood() -> dict[str, Any]:
    """10,000 calls of Submit by one user on four connections, in four parts: of each the seconds, the CPU time of the
    scheduler, its memory, state.db, and how long `list` takes; the delays of root's runs meanwhile, beside the same in
    peace; then, between them and the runs that go on, how many of the flood start before a run of root's and before
    each of two other users'.  Needs root.
    """
    if os.geteuid():
        raise SystemExit("bench flood: needs root, to submit as other users")
    figures: dict[str, Any] = {"submissions": COUNT}
    with daemon({"own.yaml": "jobs: {own: {command: [/bin/true]}}\n"}, _SETTINGS) as rig:
        os.chmod(rig.run, 0o755)
        os.chmod(rig.directory, 0o755)
        control = rig.run / "control"
        figures |= _named("root_in_peace", delays(control, "own", STARTS))
        meanwhile: list[float] = []
        for part in range(PARTS):
            figures[f"part_{part + 1}"] = _part(rig, control, meanwhile)
        figures |= _named("root_meanwhile", meanwhile)
        figures |= _delays(rig, control)
        begin, left = time.monotonic(), _left(control)
        time.sleep(10)
        figures["runs_a_second"] = (left - _left(control)) / (time.monotonic() - begin)
    return figures


def _named(what: str, found: list[float]) -> dict[str, float]:
    return {f"{what}_median_ms": statistics.median(found), f"{what}_longest_ms": max(found)}


def _part(rig: Rig, control: Path, meanwhile: list[float]) -> dict[str, float]:
    """A part of the flood; root runs `own` again and again beside it, and `meanwhile` gets the delays in ms."""
    scheduler = rig.process.pid
    before, used, begin = pss_kib([scheduler]), cpu_seconds([scheduler]), time.monotonic()
    stored = _stored(rig)
    with ThreadPoolExecutor() as beside:
        flood = beside.submit(_as, FLOODER, lambda: submit(control, COUNT // PARTS, ["sleep", "0.1"]))
        while not flood.done():
            meanwhile += delays(control, "own", 1)
    flood.result()
    took = time.monotonic() - begin
    asked = time.monotonic()
    ask(control, "List", 120)
    listed = time.monotonic() - asked
    return {
        "seconds": took, "cpu_s": cpu_seconds([scheduler]) - used, "memory_kib_each": (pss_kib([scheduler]) - before)
        * PARTS / COUNT, "stored_bytes_each": (_stored(rig) - stored) * PARTS / COUNT, "list_ms": listed * 1000,
        "waiting": _left(control),
    }  # fmt: skip


def submit(control: Path, count: int, command: list[str]) -> None:
    """Hand in that many, each by a call of its own, some of them at a time on each connection."""
    document = {"keys": {"command": command}}
    call = encode({"method": "io.jobqueue.Submit", "parameters": {"submission": document}})
    peers = {}
    for _ in range(CONNECTIONS):
        peer = socket.socket(socket.AF_UNIX)
        unix_socket.connect(peer, str(control))
        peers[peer] = Decoder()
    asked = answered = 0
    for peer in peers:
        peer.sendall(call * AT_ONCE)
        asked += AT_ONCE
    while answered < count:
        for peer in select.select(list(peers), [], [])[0]:
            replies = peers[peer].feed(peer.recv(1 << 16))
            assert all("job" in reply["parameters"] for reply in replies), replies
            answered += len(replies)
            more = min(len(replies), count - asked)
            if more > 0:
                peer.sendall(call * more)
                asked += more
    for peer in peers:
        peer.close()


def _delays(rig: Rig, control: Path) -> dict[str, Any]:
    """How many runs of the flood start between the call of somebody else and the start of what was asked for."""
    found: dict[str, Any] = {}
    root = ask(control, "Wait", 120, run=ask(control, "Run", job="own")["run"])["record"]
    found["starts_before_roots"], found["root_ms"] = _before(rig, root)
    for number, uid in enumerate(OTHERS):
        job = _as(uid, lambda: ask(control, "Submit", 120, submission={"keys": {"command": ["true"]}})["job"])
        record = ask(control, "Await", 120, job=job)["record"]
        found[f"starts_before_user_{number + 1}s"], found[f"user_{number + 1}_ms"] = _before(rig, record)
    return found


def _before(rig: Rig, record: dict[str, Any]) -> tuple[int, float]:
    texts = (path.read_text() for path in (rig.directory / "logs").glob(f"{pwd.getpwuid(FLOODER).pw_name}+*/1.json"))
    starts = [json.loads(text)["started"] or "" for text in texts]
    span = datetime.fromisoformat(record["started"]) - datetime.fromisoformat(record["queued"])
    return sum(record["queued"] < start < record["started"] for start in starts), span.total_seconds() * 1000


def _left(control: Path) -> int:
    answer = ask(control, "Submissions", 120)
    return len(answer["submissions"]) + int(answer["more"])


def _stored(rig: Rig) -> int:
    wait_for((rig.directory / "state" / "state.db").exists, 10)
    return sum(path.stat().st_size for path in (rig.directory / "state").glob("state.db*"))


def _as(uid: int, what: Callable[[], Any]) -> Any:
    """What a process of that user finds, as JSON has it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os.write(writing, json.dumps(what()).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with open(reading, "rb") as file:
        told = file.read()
    if os.waitpid(pid, 0)[1]:
        raise ChildProcessError(f"a process of user {uid} has failed")
    return json.loads(told)
