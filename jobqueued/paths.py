"""Paths of the daemon, as the command line chooses them."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobqueued.child import atomic_file
from jobqueued.child.trust import check_path, check_status, name_of, quoted
from jobqueued.child.unix_socket import JOURNALD

_LEFT, _TOLD, _LONGEST = "paths.json", ("config", "jobs", "state", "logs"), 1 << 16
_LAYERED = ("config", "jobs")
_BELOW = ("run", "usr/local/lib", "usr/lib")
"""The directories in which packages and others have what /etc overrides, as systemd.unit(5) and others have it."""
OPERATORS = "operators"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class NoPlace(Exception):
    """There is no place for a user's own instance; the message says what to do."""


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
    runtime: Path | None = None
    """Of a user's own instance, $XDG_RUNTIME_DIR; None: of another."""
    more_config: tuple[Path, ...] = ()
    """The places of the settings that `config` comes before, the first one first."""
    more_jobs: tuple[Path, ...] = ()
    """The directories of job files that `jobs` comes before."""

    @classmethod
    def system(cls) -> Paths:
        """Those of the system's own daemon."""
        state, logs = Path("/var/lib/jobqueue"), Path("/var/log/jobqueue")
        run, journal = Path("/run/jobqueue"), Path(JOURNALD)
        return cls(
            Path("/etc/jobqueued.yaml"), Path("/etc/jobqueue.d"), state, run, logs, journal, **_below(Path("/"))
        )  # fmt: skip

    @classmethod
    def under(cls, root: Path) -> Paths:
        """Paths in one directory, as ``--root`` has it; so nothing goes to the host's journal."""
        state, logs = root / "state", root / "logs"
        return cls(
            root / "jobqueued.yaml", root / "jobqueue.d", state, root / "run", logs, root / "journal", root,
            **_below(root),
        )  # fmt: skip

    @classmethod
    def user(cls, environ: Mapping[str, str] = os.environ) -> Paths:
        """Those of the user's own instance, by the XDG Base Directory Specification; NoPlace."""
        config, state = (_base(environ, *usual) for usual in (("CONFIG", ".config"), ("STATE", ".local/state")))
        runtime = cls.runtime_of(environ)
        if why := _unusable(runtime):
            raise NoPlace(why)
        state /= "jobqueue"
        return cls(
            config / "jobqueued.yaml", config / "jobqueue.d", state, runtime / "jobqueue", state / "logs",
            Path(JOURNALD), runtime=runtime,
        )  # fmt: skip

    @staticmethod
    def runtime_of(environ: Mapping[str, str]) -> Path:
        """The directory in $XDG_RUNTIME_DIR; without one, or with one that is not absolute, none: ``.``."""
        named = Path(environ.get("XDG_RUNTIME_DIR", ""))
        return named if named.is_absolute() else Path()

    @classmethod
    def chosen(cls, root: Path | None, *, user: bool = False, **options: Path | None) -> Paths:
        """Those under `root`, the `user`'s own (NoPlace), or the system's, each replaced by the option of its name.

        An option is a place of its own: there is none that it comes before.
        """
        base = cls.user() if user else cls.system() if root is None else cls.under(root.absolute())
        given: dict[str, Any] = {name: path.absolute() for name, path in options.items() if path is not None}
        given |= {f"more_{name}": () for name in _LAYERED if name in given}
        return replace(base, **given)

    @property
    def job_directories(self) -> tuple[Path, ...]:
        """The directories of job files, the one first whose files count before all others."""
        return self.jobs, *self.more_jobs

    @property
    def config_files(self) -> tuple[Path, ...]:
        """The places of the settings, the one first that counts before all others."""
        return self.config, *self.more_config

    def has_settings(self, file: str) -> bool:
        """True if a file is that of the settings, or a drop-in of it, wherever."""
        places = [str(place) for place in self.config_files]
        return file in places or os.path.dirname(file) in [f"{place}.d" for place in places]

    @property
    def crontabs(self) -> tuple[Path, Path, Path]:
        """The directories of cron's tables: of /etc/crontab, the packages' and the users'."""
        return self.host / "etc", self.host / "etc/cron.d", self.host / "var/spool/cron/crontabs"

    @property
    def control(self) -> Path:
        """The control socket."""
        return self.run / "control"

    @property
    def operators(self) -> Path:
        """The control socket of root and operators alone, to which nobody else can connect."""
        return self.run / OPERATORS

    @property
    def launcher(self) -> Path:
        """The launcher's socket."""
        return self.run / "launcher"

    @property
    def forecast(self) -> Path:
        """The newest forecast that was kept, by which `jobqueuectl next` goes."""
        return self.state / "forecast.json"

    @property
    def forecast_before(self) -> Path:
        """The forecast of the day before that one."""
        return self.state / "forecast-before.json"

    @property
    def runs(self) -> Path:
        """The run directory of this boot, with one directory R for each live attempt."""
        return self.run / "runs" / BOOT_ID.read_text().strip()

    def check(self, directory: Path, user: int) -> None:
        """Refused unless only root and `user`, the daemon's, can change what is in one of these directories; OSError.

        Of the log directory only itself counts: on Ubuntu /var/log is the group syslog's.
        """
        if directory == self.logs:
            check_status(os.stat(directory), str(directory), user)
        else:
            check_path(str(directory), user)

    def leave(self) -> None:
        """Write into the run directory where the rest is, for who reads files while no daemon is there; OSError."""
        path = str(self.run / _LEFT)
        left: dict[str, str | list[str]] = {name: str(getattr(self, name)) for name in _TOLD}
        left |= {f"more_{name}": list(map(str, getattr(self, f"more_{name}"))) for name in _LAYERED}
        atomic_file.replace(path, json.dumps(left).encode())
        os.chmod(path, 0o644)

    def as_left(self, given: Container[str] = ()) -> Paths:
        """These paths, with those that a daemon has left in the run directory, but for the `given` ones.

        Whoever owns the directory may be a stranger: a link, a pipe or anything else than a small file is left alone.
        """
        try:
            left = json.loads(_small_file(self.run / _LEFT))
            found: dict[str, Any] = {name: Path(left[name]) for name in _TOLD if name not in given}
            for name in (f"more_{name}" for name in _LAYERED if name not in given):
                found[name] = tuple(map(Path, left.get(name, ())))
            return replace(self, **found)
        except (OSError, ValueError, LookupError, TypeError, RecursionError):  # none since the host is up, or no such
            return self

    def changes(self, run: Path) -> list[str]:
        """The options by which a daemon with this run directory was started last, if these are its usual paths."""
        last = replace(self, run=run).as_left()
        changed = [name for name in _TOLD if last._places(name) != self._places(name)]
        return [word for name in changed for word in (f"--{name}", str(getattr(last, name)))]

    def _places(self, name: str) -> tuple[Path, ...]:
        return getattr(self, name), *getattr(self, f"more_{name}", ())

    def make_run(self) -> None:
        """Make the run directory and what is in it, where that is gone, for everybody to pass; OSError."""
        is_there = (self.run / _LEFT).exists()
        for directory, mode in ((self.run, 0o755), (self.runs.parent, 0o755), (self.runs, 0o711)):
            try:
                directory.mkdir(mode)
            except FileExistsError:
                continue
            os.chmod(directory, mode)  # whatever the umask is
        if not is_there:
            self.leave()


def _below(root: Path) -> dict[str, Any]:
    """The places that those in /etc come before."""
    names = {"more_config": "jobqueued.yaml", "more_jobs": "jobqueue.d"}
    return {key: tuple(root / directory / name for directory in _BELOW) for key, name in names.items()}


def _small_file(path: Path) -> bytes:
    """Read a regular file, or nothing; OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _LONGEST) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)


def _base(environ: Mapping[str, str], name: str, usual: str) -> Path:
    """A base directory of the user, as an absolute path; NoPlace."""
    named = Path(environ.get(f"XDG_{name}_HOME", ""))
    if named.is_absolute():
        return named
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    if not home.is_absolute():
        raise NoPlace(f"--user needs a home directory; set HOME or XDG_{name}_HOME to an absolute path")
    return home / usual


def _unusable(runtime: Path) -> str:
    """The reason why a user's instance can't be in this runtime directory; "": it can."""
    uid = os.geteuid()
    if uid == 0:
        return "--user is for ordinary users: root's own instance is the system's, or one with --root"
    me, usual = name_of(uid), f"/run/user/{uid}"
    if os.path.isdir(usual):
        remedy = f"as a login would: export XDG_RUNTIME_DIR={usual}"
    elif os.path.isdir("/run/systemd/system"):
        remedy = f"log in, not by su or sudo; or, to have it without a login: loginctl enable-linger {me}"
    else:
        remedy = f"make a directory that only {me} can enter, and set XDG_RUNTIME_DIR to it"
    if not runtime.is_absolute():
        return f"--user needs XDG_RUNTIME_DIR, which is not set to an absolute path; {remedy}"
    try:
        owner = runtime.stat().st_uid
    except OSError as error:
        return f"XDG_RUNTIME_DIR={quoted(str(runtime))}: {error.strerror}; {remedy}"
    if owner != uid:
        return f"XDG_RUNTIME_DIR={quoted(str(runtime))} belongs to {name_of(owner)}, and not to {me}; {remedy}"
    return ""
