"""The command line of jobqueued(8): what must be true before the loop may start, each failure with its remedy."""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import fcntl
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from jobqueued import __version__

_EXIT_FAILURE = 1
_STDERR = 2


class CannotStart(Exception):
    """Why the daemon can't start, and what to do about it."""


def main(arguments: list[str] | None = None, launcher: Path | None = None) -> int:
    """Run the daemon; the exit status.  `launcher` is the program of the launcher, None: our own."""
    _open_standard_descriptors()
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.detach and options.log in ("text", "json"):
        parser.error(f"argument --log: {options.log} is for stderr, which a detached daemon has not")
    if options.delegated and options.launcher:
        parser.error("argument --delegated: the launcher of --launcher is elsewhere, and looks there itself")
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
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(_STDERR, "w", closefd=False)  # noqa: SIM115


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jobqueued", description="Run the jobs of /etc/jobqueue.d; jobqueuectl talks to it.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"jobqueued {__version__}")
    parser.add_argument("--root", type=Path, metavar="D", help="keep everything below D: jobqueue.d, state, run, logs")
    for name, kind, what in (
        ("config", "F", "its settings  [/etc/jobqueued.yaml]"),
        ("jobs", "D", "the job files  [/etc/jobqueue.d]"),
        ("state", "D", "what it has to remember  [/var/lib/jobqueue]"),
        ("run", "D", "sockets and live runs  [/run/jobqueue]"),
        ("logs", "D", "records and output of runs  [/var/log/jobqueue]"),
        ("journal", "SOCKET", "where journald listens for the output of runs  [/run/systemd/journal/socket]"),
    ):
        parser.add_argument(f"--{name}", type=Path, metavar=kind, help=what)
    parser.add_argument(
        "--launcher", type=Path, metavar="SOCKET", help="use the launcher that listens here; never start one"
    )
    parser.add_argument(
        "--delegated", action="store_true",
        help="create a cgroup for each run below the current one (Delegate=yes in a user's session)",
    )  # fmt: skip
    parser.add_argument(
        "--log", choices=("auto", "text", "json", "journal"), default="auto",
        help="log format: text or JSON on stderr, or journald with fields, syslog where there is none  [detected]",
    )  # fmt: skip
    parser.add_argument(
        "--detach", action="store_true",
        help="go into the background once jobs run; log to journald or syslog",
    )  # fmt: skip
    parser.add_argument(
        "--trace", type=Path, metavar="F",
        help="write all events and decisions to F, 64 MiB at most, then anew with the old one as F.1",
    )  # fmt: skip
    parser.add_argument("--pid-file", type=Path, metavar="F", help="write the PID here, and remove the file at the end")
    return parser


def _serve(options: argparse.Namespace, launcher: Path | None) -> int:
    from jobqueued.child.wire import limit_files
    from jobqueued.daemon import Daemon
    from jobqueued.host.log import Log, somebody_listens
    from jobqueued.paths import Paths
    from jobqueued.runs.launcher_link import LAUNCHER, LauncherError, LauncherLink
    from jobqueued.settings import read_settings
    from jobqueued.state.store import Store, StoreError
    from jobqueued.trace import TraceFile

    paths = Paths.chosen(
        options.root, config=options.config, jobs=options.jobs, state=options.state, run=options.run, logs=options.logs,
        journal=options.journal,
    )  # fmt: skip
    log = Log(options.log)
    config, problems = read_settings(paths.config)
    for problem in problems:
        log.say("problem", text=str(problem), file=str(paths.config))
    if any(problem.severity == "error" for problem in problems):
        raise CannotStart(
            f"{paths.config} can't be used; mend what is named above, or remove the file for the defaults"
        )
    os.umask(0o022)
    _make_directories({paths.state: 0o750, paths.logs: 0o750, paths.run: 0o755, paths.runs: 0o711})
    os.umask(0o027)  # state.db holds commands and output
    with _alone(paths.state, options.pid_file) as held:
        ready: Callable[[], None] = _nobody_waits
        if options.detach:
            from jobqueued.host.detach import detach

            ready, log = detach(held), Log("journal")
            if not somebody_listens():
                print("jobqueued: here is neither journald nor a syslogd: its lines are lost", file=sys.stderr)
        faulthandler.enable(_STDERR)  # SIGABRT is the watchdog's: the journal then tells where the loop hung
        limit_files(None)
        _write_pid(*held)
        own = None if options.launcher else launcher or LAUNCHER
        try:
            words = ("--delegated",) if options.delegated else ()
            link = LauncherLink(paths, options.launcher or paths.launcher, own, words)
            trace = TraceFile(options.trace, lambda text: log.say("trouble", text=text)) if options.trace else None
            daemon = Daemon(paths, config, Store(paths.state), link, log, platform.node(), trace)
        except StoreError as error:
            raise CannotStart(str(error)) from None
        except OSError as error:
            raise CannotStart(f"{error.filename or paths.run}: {error.strerror}") from None
        try:
            daemon.run(paths.runs.name, ready)
        except LauncherError as error:
            raise CannotStart(str(error)) from None
    return 0


def _nobody_waits() -> None:
    """Whoever started us goes on at once."""


def _make_directories(directories: dict[Path, int]) -> None:
    for directory, mode in directories.items():
        try:
            directory.mkdir(mode, parents=True, exist_ok=True)
            if not os.access(directory, os.W_OK | os.X_OK):
                raise PermissionError(13, "not writable by this user")
        except OSError as error:
            raise CannotStart(f"{directory}: {error.strerror}; jobqueued must be able to write there") from None


@contextlib.contextmanager
def _alone(state: Path, pid_file: Path | None) -> Iterator[list[int]]:
    """Hold the state directory and the PID file; the kernel lets go of both when we end, however we end."""
    held = [_lock(state / "lock", f"{state}", "--state")]
    if pid_file is not None:
        held.append(_lock(pid_file, f"{pid_file}", "--pid-file"))
    try:
        yield held
    finally:
        if pid_file is not None:
            pid_file.unlink(missing_ok=True)
        for descriptor in held:
            os.close(descriptor)


def _lock(file: Path, name: str, option: str) -> int:
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.fchmod(descriptor, 0o644)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode().strip() or "unknown"
        raise CannotStart(
            f"{name} is in use by another jobqueued (pid {holder}); stop that one, or use another {option}"
        ) from None
    except OSError as error:
        raise CannotStart(f"{file}: {error.strerror}; jobqueued must be able to write there") from None
    return descriptor


def _write_pid(lock: int, pid_file: int | None = None) -> None:
    text = b"%d\n" % os.getpid()
    with contextlib.suppress(OSError):  # on a full disk nobody learns who holds the lock, and it holds all the same
        os.pwrite(lock, text, 0)
    if pid_file is not None:
        try:
            os.pwrite(pid_file, text, 0)
        except OSError as error:
            raise CannotStart(f"the PID file can't be written: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(main())
