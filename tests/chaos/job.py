"""The command of every job: takes its claims by flock(2), does what it is told, and writes down what it did.

    python3 -I -S job.py LEDGER WORD...

A word is NAME=VALUE: `codes` (of attempt 1, 2, …), `sleep`, `child` (seconds), `out` (bytes), `memory` (MiB),
`claims` (kind:name:units, see below), `as` (how a child lives on: session, daemon).  The ledger, LEDGER/ledger, gets

    start  JOB RUN ATTEMPT DUE PID PPID NS
    end    RUN ATTEMPT CODE BYTES NS        just before it exits
    overlap RUN ATTEMPT CLAIM HOLDER NS     a claim that somebody else has
    again  RUN ATTEMPT NS                   this attempt was started before

Claims are files in LEDGER/claims: `x:NAME:1` is held alone, `s:NAME:1` shared, `n:NAME:U/T` is any U of T.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time

ROUNDS = 3


def main() -> int:
    """Do it; the exit code."""
    told = dict(word.partition("=")[::2] for word in sys.argv[2:])
    ledger, run, attempt = sys.argv[1], os.environ["JOBQUEUE_RUN"], os.environ["JOBQUEUE_ATTEMPT"]
    book = os.open(f"{ledger}/ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def note(verb: str, *words: object) -> None:
        os.write(book, " ".join([verb, *map(str, words), f"{time.time_ns()}\n"]).encode())

    job, due = os.environ["JOBQUEUE_JOB"], os.environ["JOBQUEUE_DUE"]
    note("start", job, run, attempt, due, os.getpid(), os.getppid())
    try:
        os.close(os.open(f"{ledger}/runs/{run}.{attempt}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        note("again", run, attempt)
    for claim in filter(None, told.get("claims", "").split(",")):
        holder = take(f"{ledger}/claims", claim, f"{run}.{attempt}")
        if holder is not None:
            note("overlap", run, attempt, claim, holder or "?")
    written = write(int(told.get("out", "0")))
    hoard = b"x" * (int(told.get("memory", "0")) << 20)
    if "as" in told:
        leave_child(told["as"], float(told["child"]))
    time.sleep(float(told["sleep"]))
    del hoard
    codes = told["codes"].split(",")
    code = int(codes[min(int(attempt), len(codes)) - 1])
    note("end", run, attempt, code, written)
    return code


def take(folder: str, claim: str, me: str) -> str | None:
    """Take a claim until this process and its children have ended; who has it, if it is not to be had."""
    kind, name, units = claim.split(":")
    if kind == "n":
        wanted, total = map(int, units.split("/"))
        return take_some([f"{folder}/{name}.{number}" for number in range(total)], wanted, me)
    return take_file(f"{folder}/{name}", fcntl.LOCK_SH if kind == "s" else fcntl.LOCK_EX, me)


def take_some(files: list[str], wanted: int, me: str) -> str | None:
    """Take so many of these files: looked at several times, as holders that come and go might hide a free one."""
    holders: list[str] = []
    for _ in range(ROUNDS):
        holders = []
        for file in list(files):
            if not wanted:
                return None
            holder = take_file(file, fcntl.LOCK_EX, me)
            if holder is None:
                wanted -= 1
                files.remove(file)
            else:
                holders.append(holder)
    return "+".join(holders) if wanted else None


def take_file(path: str, mode: int, me: str) -> str | None:
    """Lock a file, and one with our name beside it; the names of those who have it, if others do."""
    names = f"{path}.by"
    os.makedirs(names, exist_ok=True)  # before it is anybody's, as whoever fails looks there
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return "+".join(name for name in os.listdir(names) if is_locked(f"{names}/{name}"))
    fcntl.flock(os.open(f"{names}/{me}", os.O_RDWR | os.O_CREAT, 0o644), fcntl.LOCK_EX | fcntl.LOCK_NB)
    return None


def is_locked(path: str) -> bool:
    """Tell whether somebody has locked it; what nobody has is removed, by whoever looks first."""
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        os.unlink(path)
    return False


def said(size: int) -> bytes:
    """So many bytes of output: numbered lines, so that none can stand for another."""
    lines, length = [], 0
    while length < size:
        lines.append(b"%07d all work and no play makes jack a dull boy\n" % len(lines))
        length += len(lines[-1])
    return b"".join(lines)[:size]


def write(size: int) -> int:
    """Write so many bytes of output; how many the pipe took."""
    text = said(size)
    written = 0
    while written < size:
        written += os.write(1, text[written : written + 4096])
    return written


def leave_child(how: str, seconds: float) -> None:
    """Leave a process that outlives us: in a session of its own, deaf to SIGTERM, with our claims."""
    try:
        if os.fork():
            return
    except BlockingIOError:  # the table of processes is full
        return
    os.setsid()
    with contextlib.suppress(BlockingIOError):
        if how == "daemon" and os.fork():
            os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    with contextlib.suppress(KeyboardInterrupt):
        time.sleep(seconds)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
