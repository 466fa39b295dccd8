"""jobqueuectl as people run it: a process, what it writes, and whether that is harmless."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from jobqueued.ctl.main import main
from tests.support import REPO

PROGRAM = [sys.executable, "-c", "from jobqueued.ctl.main import main; main(prog_name='jobqueuectl')"]


def environment(**more: str) -> dict[str, str]:
    """What the program sees: of ours only what it can't do without."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPO), "LC_ALL": "C.UTF-8", "TZ": "UTC", **more}


def run(*arguments: str | int | Path, **more: str) -> subprocess.CompletedProcess[str]:
    """The program, run to its end."""
    done = run_raw(*arguments, **more)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def run_raw(*arguments: str | int | Path, **more: str) -> subprocess.CompletedProcess[bytes]:
    """The program, run to its end, its output in files: a fork of us, which has it loaded already."""
    words = [str(argument) for argument in arguments]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # our other thread serves a socket, and holds no lock
        pid = os.fork()
        if not pid:
            become(words, environment(**more), out.fileno(), err.fileno())
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(words, code, out.read(), err.read())


def become(words: list[str], env: dict[str, str], out: int, err: int) -> NoReturn:
    """The program itself."""
    status: object = 1
    try:
        signal.alarm(60)
        os.environ.clear()
        os.environ.update(env)
        time.tzset()
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout = open(1, "w", encoding=env.get("PYTHONIOENCODING", "utf-8"), closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        main(words, prog_name="jobqueuectl")
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)


def on_terminal(columns: int, *arguments: str | Path, **more: str) -> str:
    """What the program writes to a terminal that wide."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 50, columns, 0, 0))
    with open(ours, "rb", buffering=0) as screen:
        program = subprocess.Popen(
            [*PROGRAM, *map(str, arguments)],
            env=environment(**{"TERM": "xterm-256color", **more}),
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        written = b""
        with suppress(OSError):  # EIO: the other side is closed
            while data := screen.read(1 << 16):
                written += data
        program.wait(60)
    return written.decode()


def facts(text: str) -> dict[str, str]:
    """The lines `name  value` of what is shown."""
    pairs = (line.split("  ", 1) for line in text.splitlines() if "  " in line)
    return {name: value.strip() for name, value in pairs}


def harmful(text: str) -> set[str]:
    """The characters that a pipe or terminal should not have got."""
    return {c for c in text if not c.isprintable() and c not in "\n\t"}
