"""The program crontab, as people and programs call it: with pipes, as another user, or at a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from jobqueued.child.contract import unix_socket
from jobqueued.child.spool import spool_log
from jobqueued.ctl.crontab import crontab as program
from jobqueued.settings.paths import Paths
from tests.support.host import DEADLINE
from tests.support.stranger import become

HEADER = 3


class Told(NamedTuple):
    """What a call came to."""

    status: int
    out: str
    err: str


def crontab(root: Path, *words: str, text: str | bytes = b"", uid: int | None = None, **environment: str) -> Told:
    """Call it for the daemon below `root`, with a text as its standard input, as another user where one is given."""
    files = [os.memfd_create(name) for name in ("in", "out", "err")]
    os.write(files[0], text if isinstance(text, bytes) else text.encode())
    os.lseek(files[0], 0, os.SEEK_SET)
    pid = os.fork()
    if not pid:
        for number, descriptor in enumerate(files):
            os.dup2(descriptor, number)
        _be_it(root, words, uid, environment)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    told = []
    for descriptor in files[1:]:
        os.lseek(descriptor, 0, os.SEEK_SET)
        with open(descriptor, "rb") as file:
            told.append(file.read().decode(errors="surrogateescape"))
    os.close(files[0])
    return Told(status, *told)


def _be_it(root: Path, words: tuple[str, ...], uid: int | None, environment: dict[str, str]) -> None:
    """This process, a fork, is the program from here on."""
    status = 99
    try:
        for name in ("VISUAL", "EDITOR", "CRONTAB_NOHEADER"):
            os.environ.pop(name, None)
        os.environ.update(environment)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, mode) for n, mode in enumerate("rww"))
        if uid is not None:
            become(uid)
        status = program.main(list(words), Paths.under(root))
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(status)


class Terminal:
    """A terminal at which it runs."""

    def __init__(self, root: Path, words: tuple[str, ...], uid: int | None, environment: dict[str, str]) -> None:
        self.shown = ""
        self.pid, self._side = pty.fork()
        if not self.pid:
            _be_it(root, words, uid, environment)

    def until(self, text: str) -> str:
        """All that was shown, once that text is there."""
        while text not in self.shown and select.select([self._side], [], [], DEADLINE)[0]:
            try:
                self.shown += os.read(self._side, 1 << 16).decode()
            except OSError:  # nobody is there any more
                break
        assert text in self.shown, self.shown
        return self.shown

    def type(self, text: str) -> None:
        """What a person types."""
        os.write(self._side, text.encode())

    def end(self) -> tuple[int, str]:
        """Its exit status, and all that was shown."""
        with contextlib.suppress(AssertionError):
            self.until("\0")
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]), self.shown.replace("\r\n", "\n")

    def close(self) -> None:
        """Hang up."""
        os.close(self._side)


@contextlib.contextmanager
def terminal(root: Path, *words: str, uid: int | None = None, **environment: str) -> Iterator[Terminal]:
    """Call it at a terminal, as another user where one is given."""
    found = Terminal(root, words, uid, environment)
    try:
        yield found
    finally:
        found.close()


def spooled(root: Path) -> dict[str, str]:
    """All files in the spool, without the lines that are put above a table."""
    spool = Paths.under(root).crontabs[2]
    found = {path.name: path.read_text() for path in spool.iterdir()} if spool.exists() else {}
    return {name: "".join(text.splitlines(keepends=True)[HEADER:]) for name, text in found.items()}


def editor(directory: Path, script: str) -> str:
    """The name of an editor that does this with the file $1."""
    file = directory / "editor"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


@contextlib.contextmanager
def listening(root: Path) -> Iterator[Callable[[], list[str]]]:
    """A syslog below `root`; a call of what it gives: all that it was told since the last."""
    place = root / spool_log.PLACE
    place.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        unix_socket.bind(log, str(place))
        place.chmod(0o666)
        log.setblocking(False)

        def told() -> list[str]:
            lines = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    lines.append(log.recv(1 << 16).decode())
            return lines

        yield told
    place.unlink()
    place.parent.rmdir()


Calls = Callable[..., Told]
