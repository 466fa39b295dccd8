"""A job directory of a test, with its Watch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jobqueued.base.problem import Problem
from jobqueued.child.watcher import inotify
from jobqueued.jobdir.acceptance import Content
from jobqueued.jobdir.watch import Watch
from jobqueued.jobfile.reader import read_in_steps
from jobqueued.jobfile.tree.yamltext import Steps
from jobqueued.model.events import FileGone, JobsRead


class Directory:
    """A job directory with its Watch; `scan` is what the daemon does when inotify or a deadline wakes it."""

    def __init__(self, path: Path, kept: dict[str, bytes] | None = None, below: Sequence[Path] = ()) -> None:
        self.path = path
        self.read: list[str] = []
        self.kept: dict[str, bytes | None] = {**(kept or {})}
        self.said: list[Problem] = []
        self.watch = Watch(path, self._read, kept, below=below)

    def _read(self, data: bytes, file: str) -> Steps[Content]:
        self.read.append(Path(file).name)
        return read_in_steps(data, file)

    def write(self, name: str, *ids: str) -> None:
        (self.path / name).write_text("jobs:\n" + "".join(f"  {job}: {{command: x}}\n" for job in ids))

    def forget_events(self) -> None:
        """As if the kernel had lost what it has to tell."""
        descriptor = self.watch.inbox.fileno()
        assert descriptor is not None
        list(inotify.events(descriptor))

    def scan(self, mono: int = 0) -> list[str]:
        """The events: ``a.yaml: x y`` for read jobs, ``a.yaml gone``."""
        self.read.clear()
        self.watch.inbox.drain()
        self.changed: dict[str, list[str]] = {}
        self.said.clear()
        self.accepted: dict[str, bytes | None] = {}
        told = self._slice(mono)
        while self.watch.has_more:
            told += self._slice(mono)
        return told

    def _slice(self, mono: int) -> list[str]:
        told = [self._told(event) for event in self.watch.scan(mono)]
        self.changed |= {Path(path).name: [p.message for p in found] for path, found in self.watch.changes.items()}
        self.said += [problem for found in self.watch.changes.values() for problem in found]
        self.accepted |= self.watch.accepted
        self.kept |= self.watch.accepted
        return told

    def _told(self, event: JobsRead | FileGone) -> str:
        name = Path(event.file).name
        return f"{name} gone" if isinstance(event, FileGone) else f"{name}: {' '.join(job.id for job in event.jobs)}"

    def problems(self) -> dict[str, list[str]]:
        return {Path(path).name: [p.message for p in found] for path, found in self.watch.problems.items()}

    def changes(self) -> dict[str, list[str]]:
        return self.changed
