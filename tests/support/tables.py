"""Cron's tables of a test, live: their directories below a root, with their watches."""

from __future__ import annotations

from pathlib import Path

from jobqueued.jobdir import cron_tables
from jobqueued.jobdir.scripts import Scripts
from jobqueued.jobdir.watch import Watch
from jobqueued.model.events import JobsRead
from jobqueued.settings.paths import Paths
from jobqueued.settings.settings import Settings


class Tables:
    """`scan` is what the daemon does when inotify or a deadline wakes it."""

    def __init__(self, root: Path, kept: dict[str, bytes] | None = None, **cron: bool) -> None:
        self.root, self.paths = root, Paths.under(root)
        self.etc, self.cron_d, self.spool = self.paths.crontabs
        for directory in self.paths.crontabs:
            directory.mkdir(parents=True, exist_ok=True)
        self.spool.chmod(0o1730)
        settings = Settings(timezone="UTC", mail={"smtp": "smtp://localhost"}, cron={"live": True, **cron})
        self.scripts = Scripts()
        tables = cron_tables.readers(self.paths, settings, self.scripts, lambda: "UTC")
        self.watches = [Watch(directory, read, kept or {}, kind) for directory, read, kind in tables]
        self.kept = dict[str, bytes | None](kept or {})

    def write(self, path: Path, text: str, mode: int = 0o644) -> None:
        """Save a table as packages do: by rename."""
        new = path.with_name(f".{path.name}.new")
        new.write_text(text)
        new.chmod(mode)
        new.replace(path)

    def scan(self, mono: int = 0) -> dict[str, list[str]]:
        """The jobs of each table that was read, and none of each that is gone, by the name of its file."""
        told: dict[str, list[str]] = {}
        for path in self.scripts.drain():
            for watch in self.watches:
                watch.read_again(path)
        for watch in self.watches:
            watch.inbox.drain()
            while watch.has_more or (watch.deadline is not None and watch.deadline <= mono):
                for event in watch.scan(mono):
                    ids = [job.id for job in event.jobs] if isinstance(event, JobsRead) else []
                    told[Path(event.file).name] = ids
                self.kept |= watch.accepted
        return told

    def hold(self, *, held: bool) -> None:
        """Another cron comes, or goes."""
        for watch in self.watches:
            watch.hold(held=held)

    def refused(self) -> dict[str, list[str]]:
        """What is wrong with files that do not count."""
        return {Path(path).name: [p.message for p in found] for w in self.watches for path, found in w.problems.items()}

    def flawed(self) -> dict[str, list[int]]:
        """The lines that do not count."""
        return {Path(path).name: [p.line for p in found] for w in self.watches for path, found in w.flaws.items()}

    def last_good(self, path: Path) -> list[str]:
        """The jobs of a file that go on."""
        return [job.id for watch in self.watches for job in watch.last_good(str(path))]

    def close(self) -> None:
        """Stop watching."""
        self.scripts.close()
        for watch in self.watches:
            watch.inbox.close()
