"""The output of a run, read from its file or the daemon, and written unchanged to a pipe, or escaped to a terminal."""

from __future__ import annotations

import base64
import codecs
import os
import re
import sys
from pathlib import Path
from typing import Protocol

from jobqueued.base.text import printable
from jobqueued.child.contract import atomic_file
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base.client import ask
from jobqueued.ctl.base.terminal import print_json_line
from jobqueued.model.run import RunId
from jobqueued.settings.paths import Paths
from jobqueued.state import record_files

CHUNK = 1 << 16


class OutputSource(Protocol):
    """A source of a run's output."""

    watched: Path | None
    """The file to watch with inotify, or None if this user may not read it."""

    def read(self, offset: int, limit: int) -> bytes:
        """Return at most `limit` bytes, or b"" at the current end. Raises FileNotFoundError if no output exists."""

    def size(self) -> int:
        """Return the number of bytes so far. Raises FileNotFoundError if no output exists."""


class FileSource:
    """The output file."""

    def __init__(self, path: Path) -> None:
        self.watched: Path | None = path
        self._descriptor = -1

    def read(self, offset: int, limit: int) -> bytes:
        """Return at most `limit` bytes; see OutputSource."""
        return os.pread(self._opened(), limit, offset)

    def size(self) -> int:
        """Return the number of bytes so far; see OutputSource."""
        return os.fstat(self._opened()).st_size

    def _opened(self) -> int:
        """Return the file's descriptor.

        The file is opened only once, so that it remains readable if retention deletes it.
        """
        if self._descriptor < 0:
            assert self.watched is not None
            self._descriptor = atomic_file.to_read(str(self.watched))
        return self._descriptor


class DaemonSource:
    """Output from the daemon's method Logs, for users who may not read the file."""

    watched: Path | None = None

    def __init__(self, control: Path, run: RunId) -> None:
        self._control, self._run = control, run

    def read(self, offset: int, limit: int) -> bytes:
        """Return at most `limit` bytes; see OutputSource. Raises CallRefused if the daemon can't read the output."""
        return base64.b64decode(self._part(offset=offset, limit=limit)["data"])

    def size(self) -> int:
        """Return the number of bytes so far; see OutputSource."""
        return int(self._part(limit=0)["size"])

    def _part(self, **wanted: int) -> Message:
        answer = ask(self._control, "Logs", run=str(self._run), **wanted)
        if not answer["size"]:
            raise FileNotFoundError(f"no output of {self._run}")
        return answer


def source_of(paths: Paths, run: RunId) -> OutputSource:
    """Return the file if this user may read it, else the daemon as the source."""
    file = FileSource(record_files.output_of(paths.logs, run))
    try:
        file.size()
    except PermissionError:
        return DaemonSource(paths.control, run)
    except FileNotFoundError:
        pass  # the file may appear later
    return file


def beginning_of_last(source: OutputSource, lines: int, begin: int, end: int) -> int:
    """Return the offset where the last `lines` lines between two offsets begin. A final newline ends the last line."""
    if not lines:
        return end
    if end > begin and source.read(end - 1, 1) == b"\n":
        end -= 1
    place, wanted = end, lines
    while place > begin:
        start = max(begin, place - CHUNK)
        data = source.read(start, place - start)
        if (found := data.count(b"\n")) >= wanted:
            for _ in range(wanted):
                data = data[: data.rindex(b"\n")]
            return start + len(data) + 1
        place, wanted = start, wanted - found
    return begin


_COLOUR = re.compile(r"(\x1b\[[0-9;:]{0,32}m)")
_UNFINISHED = re.compile(r"\x1b(\[[0-9;:]{0,32})?$")
_RESET = "\x1b[0m"


class Sink(Protocol):
    """A format for printing output."""

    def write(self, data: bytes, offset: int, /) -> None:
        """Print a piece of the output. `offset` is the position of the piece in the whole output."""

    def close(self) -> None:
        """Print the rest."""


class JsonLines:
    """Prints each line of output as a JSON object. Bytes that are not UTF-8 become lone surrogates, as in records.

    Cuts lines that are longer than `longest` bytes.
    """

    def __init__(self, run: RunId, longest: int = 48 << 10) -> None:
        self._run, self._rest, self._place = str(run), b"", 0
        self._line = re.compile(rb"[^\n]{0,%d}\n|[^\n]{%d}(?=[^\n])" % (longest, longest))

    def write(self, data: bytes, offset: int, /) -> None:
        """Print the complete lines; keep an unfinished line until its end arrives. See Sink."""
        self._place, data = offset - len(self._rest), self._rest + data
        end = 0
        for line in self._line.finditer(data):
            self._print(line[0])
            end = line.end()
        self._rest = data[end:]

    def close(self) -> None:
        """Print the unfinished line; see Sink."""
        if self._rest:
            self._print(self._rest)

    def _print(self, line: bytes) -> None:
        text = line.removesuffix(b"\n").decode(errors="surrogateescape")
        print_json_line({"run": self._run, "offset": self._place, "text": text, "newline": line.endswith(b"\n")})
        self._place += len(line)


class Copy:
    """Prints the bytes unchanged to a pipe, and escaped to a terminal."""

    def __init__(self, *, colour: bool) -> None:
        self._terminal, self._colour = sys.stdout.isatty(), colour
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._unfinished, self._fresh = "", True

    def write(self, data: bytes, _offset: int = 0, /) -> None:
        """Print a piece of the output; see Sink."""
        if self._terminal:
            sys.stdout.write(self._harmless(self._decoder.decode(data)))
            self._fresh = data.endswith(b"\n")
        else:
            sys.stdout.buffer.write(data)
        sys.stdout.flush()

    def close(self) -> None:
        """Print an unfinished sequence, reset the colour, and end the line. See Sink."""
        if self._terminal:
            rest = self._unfinished + self._decoder.decode(b"", final=True)
            end = (_RESET if self._colour else "") + ("" if self._fresh else "\n")
            sys.stdout.write(printable(rest, keep="\n\t") + end)
            sys.stdout.flush()

    def _harmless(self, text: str) -> str:
        if not self._colour:
            return _printable_lines(text)
        text = self._unfinished + text
        unfinished = _UNFINISHED.search(text)
        self._unfinished = unfinished[0] if unfinished else ""
        pieces = _COLOUR.split(text.removesuffix(self._unfinished))
        return "".join(piece if index % 2 else _printable_lines(piece) for index, piece in enumerate(pieces))


def _printable_lines(text: str) -> str:
    """Escape like `printable`, but keep line ends and tabs; fast if nothing needs escaping."""
    lines = text.split("\n")
    return "\n".join(line if line.isprintable() else printable(line, keep="\t") for line in lines)
