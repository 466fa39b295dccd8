"""The daemon's paths, as selected on the command line."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobqueued.child.contract import atomic_file
from jobqueued.child.contract.trust import check_path, check_status, name_of, quoted
from jobqueued.child.contract.unix_socket import JOURNALD

_LEFT, _TOLD, _LONGEST = "paths.json", ("config", "jobs", "state", "logs"), 1 << 16
_LAYERED = ("config", "jobs")
_BELOW = ("run", "usr/local/lib", "usr/lib")
"""The directories that /etc overrides, such as the packages' directories (as in systemd.unit(5))."""
OPERATORS = "operators"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class NoPlace(Exception):
    """A user's own instance has no directory for its files; the message contains the remedy."""


@dataclass(frozen=True, slots=True)
class Paths:
    """The daemon's files and directories."""

    config: Path
    jobs: Path
    state: Path
    run: Path
    logs: Path
    journal: Path
    """The socket of journald."""
    host: Path = Path("/")
    """The host's root, which cron's tables are below."""
    runtime: Path | None = None
    """The $XDG_RUNTIME_DIR of a user's own instance; None for other instances."""
    more_config: tuple[Path, ...] = ()
    """The other places for the settings file, in order of precedence; `config` overrides them."""
    more_jobs: tuple[Path, ...] = ()
    """The other directories of job files, in order of precedence; `jobs` overrides them."""

    @classmethod
    def system(cls) -> Paths:
        """Return the paths of the system's daemon."""
        state, logs = Path("/var/lib/jobqueue"), Path("/var/log/jobqueue")
        run, journal = Path("/run/jobqueue"), Path(JOURNALD)
        return cls(Path("/etc/jobqueued.yaml"), Path("/etc/jobqueue.d"), state, run, logs, journal, **_below(Path("/")))

    @classmethod
    def under(cls, root: Path) -> Paths:
        """Return paths that are all in one directory, for ``--root``.

        Even the journal's socket is in this directory, so nothing is written to the host's journal.
        """
        state, logs = root / "state", root / "logs"
        return cls(
            root / "jobqueued.yaml",
            root / "jobqueue.d",
            state,
            root / "run",
            logs,
            root / "journal",
            root,
            **_below(root),
        )

    @classmethod
    def user(cls, environ: Mapping[str, str] = os.environ) -> Paths:
        """Return the paths of a user's own instance, as in the XDG Base Directory Specification. Raises NoPlace."""
        config, state = (_base(environ, *usual) for usual in (("CONFIG", ".config"), ("STATE", ".local/state")))
        runtime = cls.runtime_of(environ)
        if why := _unusable(runtime):
            raise NoPlace(why)
        state /= "jobqueue"
        return cls(
            config / "jobqueued.yaml",
            config / "jobqueue.d",
            state,
            runtime / "jobqueue",
            state / "logs",
            Path(JOURNALD),
            runtime=runtime,
        )

    @staticmethod
    def runtime_of(environ: Mapping[str, str]) -> Path:
        """Return $XDG_RUNTIME_DIR, or ``.`` if it is missing or not absolute."""
        named = Path(environ.get("XDG_RUNTIME_DIR", ""))
        return named if named.is_absolute() else Path()

    @classmethod
    def chosen(cls, root: Path | None, *, user: bool = False, **options: Path | None) -> Paths:
        """Return the paths under `root`, or with `user` the paths of the user's own instance, or else the system's
        paths.

        An option replaces the path with the option's name, and all other places of the same file. With `user`, raises
        NoPlace.
        """
        base = cls.user() if user else cls.system() if root is None else cls.under(root.absolute())
        given: dict[str, Any] = {name: path.absolute() for name, path in options.items() if path is not None}
        given |= {f"more_{name}": () for name in _LAYERED if name in given}
        return replace(base, **given)

    @property
    def job_directories(self) -> tuple[Path, ...]:
        """The directories of job files, in order of precedence."""
        return self.jobs, *self.more_jobs

    @property
    def config_files(self) -> tuple[Path, ...]:
        """The places of the settings file, in order of precedence."""
        return self.config, *self.more_config

    def has_settings(self, file: str) -> bool:
        """Return whether a path is one of the settings files, a directory of their drop-ins, or a drop-in there."""
        places = [str(place) for place in self.config_files]
        directories = [f"{place}.d" for place in places]
        return file in (*places, *directories) or os.path.dirname(file) in directories

    @property
    def crontabs(self) -> tuple[Path, Path, Path]:
        """The directories of cron's tables: for /etc/crontab, for the packages' tables, and for the users' crontabs."""
        return self.host / "etc", self.host / "etc/cron.d", self.host / "var/spool/cron/crontabs"

    @property
    def control(self) -> Path:
        """The control socket."""
        return self.run / "control"

    @property
    def operators(self) -> Path:
        """The control socket for root and operators only; other users can't connect to it."""
        return self.run / OPERATORS

    @property
    def launcher(self) -> Path:
        """The launcher's socket."""
        return self.run / "launcher"

    @property
    def forecast(self) -> Path:
        """The newest saved forecast, which `jobqueuectl next` uses."""
        return self.state / "forecast.json"

    @property
    def forecast_before(self) -> Path:
        """The previous saved forecast, which is about a day older than `forecast`."""
        return self.state / "forecast-before.json"

    @property
    def runs(self) -> Path:
        """The run directory of this boot, with one directory R for each live attempt."""
        return self.run / "runs" / BOOT_ID.read_text().strip()

    def check(self, directory: Path, user: int) -> None:
        """Check that only root and the daemon's `user` can change files in a directory. Raises FileRefused or OSError.

        The parents of the log directory are not checked, because on Ubuntu /var/log belongs to the group syslog.
        """
        if directory == self.logs:
            check_status(os.stat(directory), str(directory), user)
        else:
            check_path(str(directory), user)

    def leave(self) -> None:
        """Write the other paths into the run directory, for programs that read files while no daemon runs. Raises
        OSError.
        """
        path = str(self.run / _LEFT)
        left: dict[str, str | list[str]] = {name: str(getattr(self, name)) for name in _TOLD}
        left |= {f"more_{name}": list(map(str, getattr(self, f"more_{name}"))) for name in _LAYERED}
        atomic_file.replace(path, json.dumps(left).encode())
        os.chmod(path, 0o644)

    def as_left(self, given: Container[str] = ()) -> Paths:
        """Return these paths, but replace the paths that a daemon wrote into the run directory, except `given` paths.

        The directory's owner may be untrusted, so anything other than a small regular file, such as a link or pipe, is
        ignored.
        """
        try:
            left = json.loads(_small_file(self.run / _LEFT))
            found: dict[str, Any] = {name: Path(left[name]) for name in _TOLD if name not in given}
            for name in (f"more_{name}" for name in _LAYERED if name not in given):
                found[name] = tuple(map(Path, left.get(name, ())))
            return replace(self, **found)
        except (
            OSError,
            ValueError,
            LookupError,
            TypeError,
            RecursionError,
        ):  # the file is missing or has another format
            return self

    def changes(self, run: Path) -> list[str]:
        """Return the options of a daemon's last start with this run directory; `self` has the default paths."""
        last = replace(self, run=run).as_left()
        changed = [name for name in _TOLD if last._places(name) != self._places(name)]
        return [word for name in changed for word in (f"--{name}", str(getattr(last, name)))]

    def _places(self, name: str) -> tuple[Path, ...]:
        return getattr(self, name), *getattr(self, f"more_{name}", ())

    def make_run(self) -> None:
        """Make the run directory and its subdirectories if they are missing; every user can enter them. Raises
        OSError.
        """
        is_there = (self.run / _LEFT).exists()
        for directory, mode in ((self.run, 0o755), (self.runs.parent, 0o755), (self.runs, 0o711)):
            try:
                directory.mkdir(mode)
            except FileExistsError:
                continue
            os.chmod(directory, mode)  # regardless of the umask
        if not is_there:
            self.leave()


def _below(root: Path) -> dict[str, Any]:
    """Return the places below a root that the places in /etc override."""
    names = {"more_config": "jobqueued.yaml", "more_jobs": "jobqueue.d"}
    return {key: tuple(root / directory / name for directory in _BELOW) for key, name in names.items()}


def _small_file(path: Path) -> bytes:
    """Read a regular file; return b"" for anything else. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _LONGEST) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)


def _base(environ: Mapping[str, str], name: str, usual: str) -> Path:
    """Return one of the user's base directories: the absolute path in the variable `name`, or `usual` in the home
    directory. Raises NoPlace.
    """
    named = Path(environ.get(f"XDG_{name}_HOME", ""))
    if named.is_absolute():
        return named
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    if not home.is_absolute():
        raise NoPlace(f"--user needs a home directory; set HOME or XDG_{name}_HOME to an absolute path")
    return home / usual


def _unusable(runtime: Path) -> str:
    """Return why a user's instance can't use this runtime directory, or "" if it can."""
    uid = os.geteuid()
    if uid == 0:
        return "--user is for ordinary users: root uses the system's instance, or one with --root"
    me, usual = name_of(uid), f"/run/user/{uid}"
    if os.path.isdir(usual):
        remedy = f"set it as a login does: export XDG_RUNTIME_DIR={usual}"
    elif os.path.isdir("/run/systemd/system"):
        remedy = f"log in without su or sudo; or, to use --user without a login: loginctl enable-linger {me}"
    else:
        remedy = f"make a directory that only {me} can enter, and set XDG_RUNTIME_DIR to it"
    if not runtime.is_absolute():
        return f"--user needs XDG_RUNTIME_DIR, which is not set to an absolute path; {remedy}"
    try:
        owner = runtime.stat().st_uid
    except OSError as error:
        return f"XDG_RUNTIME_DIR={quoted(str(runtime))}: {error.strerror}; {remedy}"
    if owner != uid:
        return f"XDG_RUNTIME_DIR={quoted(str(runtime))} belongs to {name_of(owner)}, not to {me}; {remedy}"
    return ""
