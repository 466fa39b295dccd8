"""Starts as the recorder writes them down, and what of them is compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

DIRECTORY = Path("/var/lib/twin")
LOG = DIRECTORY / "starts"
ADDED = {"USER", "LANG", "TRACEPARENT"}
"""Variables that jobs have here and not under cron, beside JOBQUEUE_…: docs/moving-from-cron.md says so."""


class Start(NamedTuple):
    """A start: at a second of the clock, as whom, where, with what.

    `files`: descriptors beyond the three; `leads`: it leads its session; `status` is 0 where nothing was run.
    """

    second: int
    uid: int
    gid: int
    groups: str
    directory: str
    umask: int
    nice: int
    leads: bool
    files: int
    words: tuple[str, ...]
    environment: Mapping[str, str]
    stdin: str
    status: int

    @property
    def minute(self) -> int:
        """The minute in which it was started, in seconds."""
        return self.second - self.second % 60

    @property
    def command(self) -> str:
        """What the shell is given, without the blanks before it, which are no part of it here."""
        return self.words[-1].lstrip(" \t")

    def compared(self) -> dict[str, object]:
        """What cron's start has too: minute, command, and all else."""
        groups = {int(group) for group in self.groups.split(",") if group} | {self.gid}
        return {
            "minute": self.minute, **self._asdict(), "second": 0, "groups": sorted(groups),
            "words": (*self.words[:-1], self.command),
            "environment": {name: value for name, value in self.environment.items() if not is_added(name)},
        }  # fmt: skip


def is_added(name: str) -> bool:
    return name in ADDED or name.startswith("JOBQUEUE_")


class Log:
    """The recorder's log, read as it grows; a new one, or that of the boot before this one, too."""

    def __init__(self, *, kept: bool = False) -> None:
        if not kept:
            LOG.write_bytes(b"")
            LOG.chmod(0o666)
        self.starts, self._rest, self._read = list[Start](), list[str](), 0

    def read(self) -> list[Start]:
        """All starts by now."""
        with open(LOG, "rb") as file:
            file.seek(self._read)
            data = file.read()
        data = data[: data.rfind(b"\0") + 1]
        self._read += len(data)
        self._rest += data.decode(errors="surrogateescape").split("\0")[:-1]
        while (found := _first(self._rest)) is not None:
            start, size = found
            self.starts.append(start)
            del self._rest[:size]
        return self.starts


def _first(texts: list[str]) -> tuple[Start, int] | None:
    """The first start in a row of texts, and how many they are; None: a part of it is still to come."""
    reading = iter(texts)
    left = [0]

    def text() -> str:
        left[0] += 1
        return next(reading)

    def row() -> Iterator[str]:
        for _ in range(int(text())):
            yield text()

    try:
        start = Start(
            int(text()), int(text()), int(text()), text(), text(), int(text()), int(text()), text() == "1", int(text()),
            tuple(row()), dict(part.partition("=")[::2] for part in row()), text(), int(text()),
        )  # fmt: skip
    except (StopIteration, RuntimeError):  # a generator makes a RuntimeError of it
        return None
    return start, left[0]


def differences(theirs: Iterable[Start], ours: Iterable[Start]) -> set[str]:
    """Each start that only one of them has made, and what is different where minute, user and command are the same."""
    left, said = list(ours), set[str]()
    for start in theirs:
        key = start.minute, start.uid, start.command
        twin = next((other for other in left if key == (other.minute, other.uid, other.command)), None)
        if twin is None:
            said.add(f"only cron: {start}")
            continue
        left.remove(twin)
        own = twin.compared()
        said |= {
            f"{name}: cron {value!r}, jobqueued {own[name]!r}"
            for name, value in start.compared().items() if own[name] != value
        }  # fmt: skip
    return said | {f"only jobqueued: {start}" for start in left}
