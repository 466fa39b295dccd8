"""Trace files: the scheduler's events and decisions, as lines of JSON (docs/trace.md).

python -m jobqueued.daemon.trace story FILE RUN     prints the history of one run
python -m jobqueued.daemon.trace replay FILE        prints where this version would decide differently
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from jobqueued import __version__
from jobqueued.core.trace import VERSION, Broken, Line, TraceEntry, lines_of, replay, story
from jobqueued.model.run import RunId

LIMIT = 64 << 20
"""Maximum size of a trace file (bytes)."""

KEPT = 3
"""Maximum number of trace files about bugs to keep."""


class TraceFile:
    """A trace that is written line by line, for ``jobqueued --trace FILE``.

    Only the owner can read the file, because it contains commands. At the start, and when the file is full, the
    existing file is renamed to FILE.1. A write error ends the trace, not the daemon; `failed` is then called with the
    reason.
    """

    def __init__(self, path: Path, failed: Callable[[str], None]) -> None:
        """Create the file. Raises OSError if this fails."""
        self.path, self._failed = path, failed
        self.is_whole, self.trouble = True, ""
        """Whether the trace is complete (`is_whole`), and why it ended early, or ""."""
        self._file, self._size = -1, 0
        self._renew()

    def _renew(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        with contextlib.suppress(FileNotFoundError):
            os.replace(self.path, f"{self.path}.1")
        self._file, self._size = _created(self.path), 0
        self._write(_encoded(_header()))

    def note(self, line: Line) -> None:
        """Write a line."""
        if not self.is_whole:
            return
        try:
            if self._size > LIMIT:
                self._renew()
            self._write(_encoded(line))
        except OSError as error:
            self.is_whole, self.trouble = False, f"{self.path}: {error.strerror}; the trace ends here"
            self._failed(self.trouble)

    def _write(self, text: bytes) -> None:
        self._size += len(text)
        while text:
            text = text[os.write(self._file, text) :]


def write_ring(directory: Path, ring: Iterable[TraceEntry]) -> Path:
    """Write the newest entries, as many as fit, to a new file, and delete all such files except the newest KEPT. Raises
    OSError.
    """
    lines: list[bytes] = []
    size = 0
    for entry in reversed(list(ring)):
        entry_lines = [_encoded(line) for line in lines_of(entry)]
        size += sum(map(len, entry_lines))
        if size > LIMIT:
            break
        lines += reversed(entry_lines)
    path = directory / f"bug-{time.time_ns()}.trace"
    try:
        with open(_created(path), "wb") as file:
            file.writelines([_encoded(_header()), *reversed(lines)])
    except OSError:
        path.unlink(missing_ok=True)  # a partial file would look like a complete file
        raise
    for old in sorted(directory.glob("bug-*.trace"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def _created(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _header() -> Line:
    return {"trace": VERSION, "jobqueued": __version__}


def _encoded(line: Line) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def read(path: Path) -> Iterator[Line]:
    """Yield the lines of a trace file, except an incomplete last line.  Raises Broken or OSError."""
    with open(path, encoding="utf-8") as file:
        for number, text in enumerate(file):
            try:
                line = json.loads(text)
            except ValueError:
                if not text.endswith("\n"):
                    return
                line = None
            if not isinstance(line, dict) or (number == 0 and line.get("trace") != VERSION):
                raise Broken(f"{path}:{number + 1}: not a trace of version {VERSION}")
            yield line


def main(arguments: list[str] | None = None) -> int:
    """Read a trace file and return the exit status: 1 if the replay differs, 2 if the file can't be used."""
    parser = argparse.ArgumentParser(
        prog="python -m jobqueued.daemon.trace", description="Read a trace that jobqueued --trace wrote."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("story", help="print the history of one run")
    command.add_argument("file", type=Path, metavar="FILE")
    command.add_argument("run", metavar="RUN", help="JOB@NUMBER")
    command = commands.add_parser("replay", help="print where this version decides differently")
    command.add_argument("file", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        if options.command == "story":
            found = list(story(read(options.file), RunId.parse(options.run)))
            print("\n".join(found) or f"{options.file} has nothing about {options.run}")
            return 0
        differences = list(replay(read(options.file)))
        print("\n".join(differences) or "every decision is the same")
        return int(bool(differences))
    except OSError as error:
        print(f"{options.file}: {error.strerror}", file=sys.stderr)
    except (Broken, ValueError) as error:
        print(error, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
