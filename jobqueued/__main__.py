"""The command line of jobqueued(8): what must be true before the loop may start, each failure with its remedy."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import platform
import sys
from pathlib import Path

from jobqueued import __version__

_EXIT_FAILURE = 1
_STDERR = 2


class CannotStart(Exception):
    """Why the daemon can't start, and what to do about it."""


def main(arguments: list[str] | None = None, launcher: Path | None = None) -> int:
    """Run the daemon; the exit status.  `launcher` is the program of the launcher, None: our own."""
    _open_standard_descriptors()
    options = _parser().parse_args(arguments)
    for name, value in vars(options).items():
        if isinstance(value, Path):
            setattr(options, name, value.absolute())
    try:
        return _serve(options, launcher)
    except CannotStart as error:
        print(f"jobqueued: {error}", file=sys.stderr)
        return _EXIT_FAILURE


def _open_standard_descriptors() -> None:
    """Where 0, 1 or 2 was closed, the next file opened would get its number, and our lines be written into it."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stderr = sys.stderr or open(_STDERR, "w", closefd=False)  # noqa: SIM115


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jobqueued", description="Run the jobs of /etc/jobqueue.d; jobqueuectl talks to it.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"jobqueued {__version__}")
    parser.add_argument("--root", type=Path, metavar="D", help="keep everything below D: jobqueue.d, state, run, logs")
    for name, kind in (
        ("config", "F"),
        ("jobs", "D"),
        ("state", "D"),
        ("run", "D"),
        ("logs", "D"),
        ("journal", "SOCKET"),
    ):
        parser.add_argument(f"--{name}", type=Path, metavar=kind, help=f"use this path for {name}")
    parser.add_argument(
        "--launcher", type=Path, metavar="SOCKET", help="use the launcher that listens here; never start one"
    )
    parser.add_argument(
        "--log", choices=("auto", "text", "json", "journal"), default="auto",
        help="how lines go to stderr: for people, as JSON, or to journald with fields (default: what fits stderr)",
    )  # fmt: skip
    parser.add_argument("--detach", action="store_true", help="go into the background, as daemons did before systemd")
    parser.add_argument(
        "--pid-file", type=Path, metavar="F", help="write the PID here, once no other daemon uses the state"
    )
    return parser


def _serve(options: argparse.Namespace, launcher: Path | None) -> int:
    from jobqueued.child.wire import limit_files
    from jobqueued.config import Paths, read_config
    from jobqueued.daemon import Daemon
    from jobqueued.journal import Journal
    from jobqueued.launch import LAUNCHER, LauncherError, Link
    from jobqueued.store import Store, StoreError

    paths = Paths.chosen(
        options.root, config=options.config, jobs=options.jobs, state=options.state, run=options.run, logs=options.logs,
        journal=options.journal,
    )  # fmt: skip
    journal = Journal(options.log)
    config, problems = read_config(paths.config)
    for problem in problems:
        journal.say("problem", text=str(problem), file=str(paths.config))
    if any(problem.severity == "error" for problem in problems):
        raise CannotStart(
            f"{paths.config} can't be used; mend what is named above, or remove the file for the defaults"
        )
    os.umask(0o022)
    _make_directories({paths.state: 0o750, paths.logs: 0o750, paths.run: 0o755, paths.runs: 0o711})
    os.umask(0o027)  # state.db holds commands and output
    lock = _lock(paths.state)
    if options.detach:
        from jobqueued.detach import detach

        detach(lock)
    limit_files(None)
    with contextlib.suppress(OSError):  # on a full disk nobody learns who holds the lock, and it holds all the same
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    if options.pid_file:
        _write_pid(options.pid_file)
    own = None if options.launcher else launcher or LAUNCHER
    try:
        link = Link(paths, options.launcher or paths.launcher, own)
        daemon = Daemon(paths, config, Store(paths.state), link, journal, platform.node())
    except StoreError as error:
        raise CannotStart(str(error)) from None
    except OSError as error:
        raise CannotStart(f"{error.filename or paths.run}: {error.strerror}") from None
    try:
        daemon.run(paths.runs.name)
    except LauncherError as error:
        raise CannotStart(str(error)) from None
    finally:
        os.close(lock)
    return 0


def _make_directories(directories: dict[Path, int]) -> None:
    for directory, mode in directories.items():
        try:
            directory.mkdir(mode, parents=True, exist_ok=True)
            if not os.access(directory, os.W_OK | os.X_OK):
                raise PermissionError(13, "not writable by this user")
        except OSError as error:
            raise CannotStart(f"{directory}: {error.strerror}; jobqueued must be able to write there") from None


def _write_pid(file: Path) -> None:
    temporary = file.with_name(f"{file.name}.tmp")
    try:
        temporary.write_text(f"{os.getpid()}\n")
        temporary.chmod(0o644)
        temporary.replace(file)
    except OSError as error:
        raise CannotStart(f"{file}: {error.strerror}; jobqueued must be able to write there") from None


def _lock(state: Path) -> int:
    """Hold the state directory alone; the kernel lets go of it when we end, however we end."""
    try:
        descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode().strip() or "unknown"
        raise CannotStart(
            f"{state} is in use by another jobqueued (pid {holder}); stop that one, or use another --state"
        ) from None
    except OSError as error:
        raise CannotStart(f"{state / 'lock'}: {error.strerror}; jobqueued must be able to write there") from None
    return descriptor


if __name__ == "__main__":
    sys.exit(main())
