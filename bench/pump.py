"""The output pump alone, beside what the same machine does without it in the same run."""

from __future__ import annotations

import os
import select
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobqueued.child.report.budget import Bucket, CommonBudget
from jobqueued.child.report.journald import JournalStream
from jobqueued.child.report.output import OutputPump

MEGABYTES = 1000
LINES, AT_ONCE = 200_000, 500
ROUNDS = 5
LINE = b"2026-11-24 02:00:00 backup: the file srv/data/0001 was copied, 1234 bytes\n"
_IDENTITY: dict[str, object] = {
    "SYSLOG_IDENTIFIER": "backup", "JOBQUEUE_JOB": "backup", "JOBQUEUE_RUN": "backup@1", "JOBQUEUE_ATTEMPT": 1,
}  # fmt: skip


def pump() -> dict[str, Any]:
    """Into a file beside `cat >file`; into a datagram socket that somebody reads, without any limit, beside a loop that
    only sends as many datagrams of the same size.  The queue of such a socket is net.unix.max_dgram_qlen long.
    """
    with tempfile.TemporaryDirectory(prefix="jobqueued-bench-", dir="/var/tmp") as name:
        directory = Path(name)
        cat, ours = _in_turn(lambda: _cat(directory / "cat"), lambda: _to_file(directory / "1.log"))
        loop, lines = _in_turn(lambda: _to_sink(directory / "a", _loop), lambda: _to_sink(directory / "b", _stream))
    return {
        "max_dgram_qlen": int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text()),
        "cat_mb_s": MEGABYTES / cat, "file_mb_s": MEGABYTES / ours, "file_ratio_to_cat": cat / ours,
        "loop_lines_s": LINES / loop, "journal_lines_s": LINES / lines, "journal_ratio_to_loop": loop / lines,
    }  # fmt: skip


def _in_turn(*what: Callable[[], float]) -> list[float]:
    """Median seconds of each, taken in turn, so that a noisy machine disturbs all alike."""
    rounds = [[seconds() for seconds in what] for _ in range(ROUNDS)]
    return [statistics.median(column) for column in zip(*rounds, strict=True)]


def _cat(path: Path) -> float:
    begin = time.monotonic()
    subprocess.run(f"head -c {MEGABYTES}000000 /dev/zero | cat >{path}", shell=True, check=True)
    seconds = time.monotonic() - begin
    path.unlink()
    return seconds


def _to_file(path: Path) -> float:
    begin = time.monotonic()
    output = OutputPump(str(path), 1 << 40)
    job = subprocess.Popen(["head", "-c", f"{MEGABYTES}000000", "/dev/zero"], stdout=output.writing)
    found = _pumped(output, job)
    seconds = time.monotonic() - begin
    path.unlink()
    assert (MEGABYTES * 1_000_000, 0) == (found["bytes"], found["dropped"])
    return seconds


def _pumped(output: OutputPump, job: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The loop of a supervisor, as far as output is concerned."""
    output.started(job.pid)
    poll = select.poll()
    poll.register(output.reading, select.POLLIN)
    while poll.poll() and output.pump():
        pass
    job.wait()
    found = output.report()
    output.shut()
    return found


def _to_sink(path: Path, send: Callable[[Path], None]) -> float:
    """Seconds until all lines are sent; another process reads them, and does nothing with them."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sink:
        sink.bind(str(path))
        reader = os.fork()
        if not reader:
            buffer = bytearray(1 << 16)
            while sink.recv_into(buffer):
                pass
            os._exit(0)
    begin = time.monotonic()
    send(path)
    seconds = time.monotonic() - begin
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
        last.sendto(b"", str(path))
    os.waitpid(reader, 0)
    path.unlink()
    return seconds


def _loop(path: Path) -> None:
    fields = sum(len(f"{name}={value}\n") for name, value in _IDENTITY.items())
    datagram = b"x" * (fields + 130 + len(LINE))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(str(path))
        for _ in range(LINES):
            sender.send(datagram)


def _stream(path: Path) -> None:
    """A job that says its next lines when journald has those before: one that doesn't wait only has more dropped."""
    common = CommonBudget(Bucket(10**12, 10**9), Bucket(1, 1))
    stream = JournalStream(str(path), _IDENTITY, 10**9, common)
    output = OutputPump(None, 0, stream)
    poll = select.poll()
    poll.register(output.reading, select.POLLIN)
    job = os.dup(output.writing)
    output.started(os.getpid())
    for _ in range(LINES // AT_ONCE):
        os.write(job, LINE * AT_ONCE)
        while poll.poll(0) or stream.waiting:
            poll.poll()
            output.pump()
    os.close(job)
    while poll.poll() and output.pump():
        pass
    found = output.report()["journal"]
    output.shut()
    common.lines.close()
    common.notes.close()
    assert (LINES, 0) == (found["lines"], found["dropped"]), found
