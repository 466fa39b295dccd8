"""Paths of the daemon, as the command line chooses them."""

from __future__ import annotations

import json
import os
import shlex
import stat
from collections.abc import Container
from dataclasses import dataclass, replace
from pathlib import Path

from jobqueued.child import atomic_file
from jobqueued.child.journald import ADDRESS

_LEFT, _TOLD, _LONGEST = "paths.json", ("config", "jobs", "state", "logs"), 1 << 16
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Paths:
    """The daemon's file and directories."""

    config: Path
    jobs: Path
    state: Path
    run: Path
    logs: Path
    journal: Path
    """The socket of journald."""
    host: Path = Path("/")
    """The directory below which cron has its tables: the host's root."""

    @classmethod
    def system(cls) -> Paths:
        """Those of the system's own daemon."""
        state, logs = Path("/var/lib/jobqueue"), Path("/var/log/jobqueue")
        run, journal = Path("/run/jobqueue"), Path(ADDRESS)
        return cls(Path("/etc/jobqueued.yaml"), Path("/etc/jobqueue.d"), state, run, logs, journal)

    @classmethod
    def under(cls, root: Path) -> Paths:
        """Paths in one directory, as ``--root`` has it; so nothing goes to the host's journal."""
        state, logs = root / "state", root / "logs"
        return cls(root / "jobqueued.yaml", root / "jobqueue.d", state, root / "run", logs, root / "journal", root)

    @classmethod
    def chosen(cls, root: Path | None, **options: Path | None) -> Paths:
        """Those under `root` (None: the system's), each replaced by the option of its name where that is given."""
        base = cls.system() if root is None else cls.under(root.absolute())
        return replace(base, **{name: path.absolute() for name, path in options.items() if path is not None})

    @property
    def crontabs(self) -> tuple[Path, Path, Path]:
        """The directories of cron's tables: of /etc/crontab, the packages' and the users'."""
        return self.host / "etc", self.host / "etc/cron.d", self.host / "var/spool/cron/crontabs"

    @property
    def control(self) -> Path:
        """The control socket."""
        return self.run / "control"

    @property
    def launcher(self) -> Path:
        """The launcher's socket."""
        return self.run / "launcher"

    @property
    def runs(self) -> Path:
        """The run directory of this boot, with one directory R for each live attempt."""
        return self.run / "runs" / BOOT_ID.read_text().strip()

    def leave(self) -> None:
        """Write into the run directory where the rest is, for who reads files while no daemon is there; OSError."""
        path = str(self.run / _LEFT)
        atomic_file.replace(path, json.dumps({name: str(getattr(self, name)) for name in _TOLD}).encode())
        os.chmod(path, 0o644)

    def as_left(self, given: Container[str] = ()) -> Paths:
        """These paths, with those that a daemon has left in the run directory, but for the `given` ones.

        Whoever owns the directory may be a stranger: a link, a pipe or anything else than a small file is left alone.
        """
        try:
            left = json.loads(_small_file(self.run / _LEFT))
            return replace(self, **{name: Path(left[name]) for name in _TOLD if name not in given})
        except (OSError, ValueError, LookupError, TypeError, RecursionError):  # none since the host is up, or no such
            return self

    @classmethod
    def start_command(cls, run: Path) -> str:
        """The command that starts the daemon of this run directory again, with the paths that it had last."""
        if run == cls.system().run:
            return "systemctl start jobqueued"
        root = cls.under(run.parent)
        usual, words = (root, ["--root", str(run.parent)]) if root.run == run else (cls.system(), ["--run", str(run)])
        last = replace(usual, run=run).as_left()
        changed = [name for name in _TOLD if getattr(last, name) != getattr(usual, name)]
        options = (word for name in changed for word in (f"--{name}", str(getattr(last, name))))
        return shlex.join(["jobqueued", *words, *options])

    def make_run(self) -> None:
        """Make the run directory and that of this boot, where they are gone, for everybody to pass; OSError."""
        for directory, mode in ((self.run, 0o755), (self.runs.parent, 0o755), (self.runs, 0o711)):
            try:
                directory.mkdir(mode)
            except FileExistsError:
                continue
            os.chmod(directory, mode)  # whatever the umask is
        self.leave()


def _small_file(path: Path) -> bytes:
    """Read a regular file, or nothing; OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _LONGEST) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)
