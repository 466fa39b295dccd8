"""A journald for tests: it takes entries of the native protocol as journald does, and shows them."""

from __future__ import annotations

import os
import select
import socket
import threading
from pathlib import Path
from typing import NamedTuple

from jobqueued.child.contract import unix_socket, wire


class Entry(NamedTuple):
    """One entry; a field may come more than once."""

    fields: list[tuple[str, bytes]]

    def __getitem__(self, name: str) -> bytes:  # type: ignore[override]
        [value] = [value for other, value in self.fields if other == name]
        return value

    def __contains__(self, name: object) -> bool:
        return any(name == other for other, _ in self.fields)


def entries(datagram: bytes) -> list[Entry]:
    """What journald reads in one datagram: fields, and empty lines between entries."""
    found, fields = [], []
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not line:
            found.append(Entry(fields))
            fields = []
        elif equals:
            fields.append((name.decode(), value))
        else:
            size = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + size], rest[8 + size :]
            assert (size, b"\n") == (len(value), rest[:1])
            fields.append((name.decode(), value))
            rest = rest[1:]
        datagram = rest
    return [*found, Entry(fields)]


class Sink:
    """Listens at a path.  `take()` reads what is there; `reading()` does so all the time, in a thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[Entry] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        directory = wire.open_directory(str(path.parent))
        self._socket.bind(unix_socket.address(directory, path.name))
        os.close(directory)
        self._reader: threading.Thread | None = None
        self._stop, self._taking = False, threading.Lock()

    def take(self) -> None:
        """Read all that is there now."""
        with self._taking:
            while select.select([self._socket], [], [], 0)[0]:
                self.entries += entries(self._socket.recv(1 << 20))

    def reading(self) -> Sink:
        """Read what comes until the end."""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def _read(self) -> None:
        while not self._stop:
            select.select([self._socket], [], [], 0.05)
            self.take()

    @property
    def messages(self) -> list[bytes]:
        """The messages of the lines of output."""
        self.take()
        return [entry["MESSAGE"] for entry in self.entries if entry["JOBQUEUE_EVENT"] == b"output"]

    @property
    def notes(self) -> list[Entry]:
        """What was said about lines that were not sent."""
        self.take()
        return [entry for entry in self.entries if entry["JOBQUEUE_EVENT"] == b"output_unsent"]

    def close(self) -> None:
        """Be gone, with the socket file."""
        self._stop = True
        if self._reader is not None:
            self._reader.join()
        self._socket.close()
        self.path.unlink(missing_ok=True)
