"""The command line of jobqueued(8): the checks before the main loop starts. Each error names its remedy."""

from __future__ import annotations

import argparse
import contextlib
import errno
import faulthandler
import grp
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jobqueued import __version__
from jobqueued.child.contract import atomic_file
from jobqueued.child.contract.trust import FileRefused
from jobqueued.host.instance_lock import CannotLock, InstanceLock
from jobqueued.host.spare_imports import spare_imports

if TYPE_CHECKING:
    from jobqueued.daemon.daemon import Daemon
    from jobqueued.daemon.installation import Installation
    from jobqueued.host.log import Log
    from jobqueued.settings.paths import Paths

_EXIT_FAILURE = 1
_STDERR = 2


class CannotStart(Exception):
    """The daemon can't start; the message contains the reason and the remedy."""


def main(arguments: list[str] | None = None, launcher: Path | None = None) -> int:
    """Run the daemon and return the exit status. `launcher` is the launcher's program; None means our own."""
    try:
        _open_standard_descriptors()
        options = _options(arguments)
        # SIGHUP remains pending until the program handles it
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGHUP})
        return _serve(options, launcher)
    except CannotStart as error:
        print(f"jobqueued: {error}", file=sys.stderr)
        return _EXIT_FAILURE


def _open_standard_descriptors() -> None:
    """Open /dev/null as 0, 1 and 2 if they are closed, so that no other file or log gets these numbers."""
    try:
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
            os.set_inheritable(descriptor, True)
    except OSError as error:
        raise CannotStart(f"cannot open {os.devnull}: {error.strerror}") from error
    os.close(descriptor)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(_STDERR, "w", closefd=False)  # noqa: SIM115


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.detach and options.log in ("text", "json"):
        parser.error(
            f"argument --log: {options.log} needs stderr, which a daemon with --detach does not have; omit one of them"
        )
    if options.delegated and options.launcher:
        parser.error("argument --delegated: it can't be combined with --launcher; pass it to that launcher instead")
    for name, value in vars(options).items():
        if isinstance(value, Path):
            setattr(options, name, value.absolute())
    return options


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("found an empty path, perhaps because a variable is unset; omit the option")
    return Path(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jobqueued",
        allow_abbrev=False,
        description="Run the jobs defined in /etc/jobqueue.d.  To query and control the daemon, use jobqueuectl.",
        epilog="Exits 0 after a stop, 1 if the daemon can't start, 2 if the usage is wrong.",
    )
    parser.add_argument("--version", action="version", version=f"jobqueued {__version__}")
    instance = parser.add_mutually_exclusive_group()
    instance.add_argument(
        "--root",
        type=_path,
        metavar="D",
        help="use D/jobqueued.yaml, D/jobqueue.d, D/state, D/run and D/logs; also read settings and job files in D/run,"
        " D/usr/local/lib and D/usr/lib",
    )
    instance.add_argument(
        "--user",
        action="store_true",
        help="run as the user's own instance, with jobqueued.yaml and jobqueue.d in ~/.config, and jobqueue in"
        " ~/.local/state and $XDG_RUNTIME_DIR",
    )
    for name, kind, what in (
        ("config", "F", "settings file  [/etc/jobqueued.yaml]"),
        ("jobs", "D", "directory for job files  [/etc/jobqueue.d]"),
        ("state", "D", "directory for the queue and its history  [/var/lib/jobqueue]"),
        ("run", "D", "directory for sockets and live runs  [/run/jobqueue]"),
        ("logs", "D", "directory for records and output  [/var/log/jobqueue]"),
        ("journal", "SOCKET", "send run output to journald at this socket  [/run/systemd/journal/socket]"),
    ):
        parser.add_argument(f"--{name}", type=_path, metavar=kind, help=what)
    parser.add_argument(
        "--launcher", type=_path, metavar="SOCKET", help="use the launcher at this socket; never start another launcher"
    )
    parser.add_argument(
        "--delegated",
        action="store_true",
        help="create run cgroups below the current cgroup; use this in a user's session, started with"
        " systemd-run --user --scope --property=Delegate=yes",
    )
    parser.add_argument(
        "--log",
        choices=("auto", "text", "json", "journal"),
        default="auto",
        help="log as text or JSON on stderr, or to journald (to syslog if journald does not run); default: detected",
    )
    parser.add_argument(
        "--detach",
        action="store_true",
        help="run in the background and log to journald or syslog; the command returns when the daemon is ready",
    )
    parser.add_argument(
        "--trace",
        type=_path,
        metavar="F",
        help="write all events and decisions to F; at 64 MiB, F is renamed to F.1 and a new F is started",
    )
    parser.add_argument("--pid-file", type=_path, metavar="F", help="write the PID to F; remove F on a clean exit")
    return parser


def _limit_files() -> None:
    from jobqueued.child.contract.wire import limit_files
    from jobqueued.host.descriptors import LEAST, most

    limit_files(None)
    if most() < LEAST:
        raise CannotStart(
            f"a limit of {most()} open files is too low; raise LimitNOFILE= or ulimit -n to at least {LEAST}"
        )


def _leave(paths: Paths, log: Log) -> None:
    try:
        paths.leave()
    except OSError as error:
        log.say(
            "trouble",
            text=f"{paths.run}: {error.strerror}; while the daemon is down, jobqueuectl needs the daemon's options",
        )


def _serve(options: argparse.Namespace, launcher: Path | None) -> int:
    try:
        with spare_imports():
            import jobqueued.daemon.daemon  # noqa: F401
            from jobqueued.daemon.installation import Installation
            from jobqueued.host.log import Log, somebody_listens
            from jobqueued.runs.launcher_link import LauncherError
            from jobqueued.settings.instance import Instance
            from jobqueued.settings.paths import NoPlace, Paths
            from jobqueued.settings.settings import read_settings
            from jobqueued.state.db.faults import StoreError
    except OSError as error:  # too many open files, or a disk error
        raise CannotStart(f"{error.filename}: {error.strerror}") from None
    try:
        paths = Paths.chosen(
            options.root,
            user=options.user,
            config=options.config,
            jobs=options.jobs,
            state=options.state,
            run=options.run,
            logs=options.logs,
            journal=options.journal,
        )
    except NoPlace as why:
        raise CannotStart(str(why)) from None
    ctl = Instance.of(paths.run).ctl
    log = Log(options.log, ctl)
    config, problems = read_settings(paths.config, os.geteuid(), paths.more_config, of_user=paths.runtime is not None)
    for problem in problems:
        event = "problem" if problem.severity == "error" else "odd"
        log.say(event, text=str(problem), file=problem.file, code=problem.code)
    if file := next((problem.file for problem in problems if problem.severity == "error"), ""):
        raise CannotStart(f"{file} has errors; fix the errors above, or remove the file to use the defaults")
    os.umask(0o077 if paths.runtime else 0o022)
    _make_directories(paths, config.operators)
    os.umask(0o027)  # state.db holds commands and output
    with _alone(paths.state, paths.run, options.pid_file) as held:
        _leave(paths, log)
        ready: Callable[[], None] = _nobody_waits
        if options.detach:
            from jobqueued.host.detach import detach

            ready, log = detach([lock.descriptor for lock in held]), Log("journal", ctl)
            if not somebody_listens():
                print("jobqueued: neither journald nor syslog is running, so log messages are lost", file=sys.stderr)
        faulthandler.enable(_STDERR)  # the watchdog sends SIGABRT: the journal then shows where the loop hung
        _limit_files()
        _write_pid(held, options.pid_file)
        try:
            installation = Installation(paths, config, platform.node(), log)
            daemon = _make_daemon(options, launcher, installation, partial(_made_again, paths, held[1]))
            daemon.begin(paths.runs.name)
        except (LauncherError, StoreError) as error:
            raise CannotStart(str(error)) from None
        except OSError as error:
            raise CannotStart(f"{error.filename or paths.run}: {error.strerror}") from None
        daemon.run(ready)
    return 0


def _make_daemon(
    options: argparse.Namespace, launcher: Path | None, installation: Installation, make_run: Callable[[], None]
) -> Daemon:
    """Return the daemon with its launcher, its state and its trace. Raises StoreError or OSError."""
    from dataclasses import replace

    from jobqueued.daemon.daemon import Daemon
    from jobqueued.daemon.trace import TraceFile
    from jobqueued.host.capacity import caps_by_default
    from jobqueued.runs.launcher_link import LAUNCHER, LauncherLink
    from jobqueued.state.db.store import Store

    paths, config, _host, log = installation
    own, words = None if options.launcher else launcher or LAUNCHER, ("--delegated",) * bool(options.delegated)
    users = replace(config.users, defaults=caps_by_default())
    link = LauncherLink(paths, options.launcher or paths.launcher, own, words, users, config.keep_free)
    trace = TraceFile(options.trace, lambda text: log.say("trouble", text=text)) if options.trace else None
    return Daemon(installation, Store(paths.state), link, trace, make_run)


def _nobody_waits() -> None:
    """Do nothing: without --detach no process waits for the daemon to be ready."""


def _make_directories(paths: Paths, operators: tuple[str, ...]) -> None:
    """Make the missing directories. The directories for state and logs may be read-only or immutable for a while."""
    is_new = not paths.logs.exists()
    modes = {paths.state: 0o700, paths.logs: 0o750, paths.run: 0o755, paths.runs: 0o711}
    for directory, mode in modes.items():
        try:
            atomic_file.make_directory(str(directory), mode)
            why, remedy = _unwritable(directory)
        except OSError as error:
            raise CannotStart(f"{directory}: {error.strerror}; jobqueued needs write permission there") from None
        if why and not (remedy and directory in (paths.state, paths.logs)):
            raise CannotStart(f"{directory}: {why}; jobqueued needs write permission there{remedy}")
    if paths.runtime is not None:  # otherwise a package or an administrator made it
        with contextlib.suppress(OSError):  # the first scan of the directory reports the reason
            paths.jobs.mkdir(parents=True, exist_ok=True)
    _check_trust(paths)
    if is_new and paths.runtime is None:
        _give_to_operators(paths.logs, operators)


def _unwritable(directory: Path) -> tuple[str, str]:
    """Return why this user can't make files in a directory, and a remedy if no user can; "", "" if it is writable."""
    if os.access(directory, os.W_OK | os.X_OK):
        return "", ""
    if os.statvfs(directory).f_flag & os.ST_RDONLY:
        return "its file system is read-only", ": remount it read-write"
    try:
        os.close(os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except OSError as error:
        if error.errno == errno.EPERM:
            return "it is immutable", f": chattr -i {directory}"
    return "this user can't write to it", ""


def _check_trust(paths: Paths) -> None:
    """Refuse directories that other users can change: state.db has commands, and a link could redirect our writes."""
    for directory in (paths.logs, paths.state, paths.run, paths.runs):
        try:
            paths.check(directory, os.geteuid())
        except FileRefused as refused:
            raise CannotStart(f"{directory}: {refused}") from None
        except OSError as error:
            raise CannotStart(f"{directory}: {error.strerror}") from None


def _give_to_operators(logs: Path, operators: tuple[str, ...]) -> None:
    """Let the operators read the records in a new directory, with the modes that a package would set."""
    for name in operators[:1]:
        with contextlib.suppress(KeyError, PermissionError):  # the group does not exist, or we may not use it
            os.chown(logs, -1, grp.getgrnam(name).gr_gid)
            logs.chmod(0o2750)


@contextlib.contextmanager
def _alone(state: Path, run: Path, pid_file: Path | None) -> Iterator[list[InstanceLock]]:
    """Hold the locks of the state directory, the run directory and the PID file."""
    held = list[InstanceLock]()
    try:
        held.append(InstanceLock(state / "lock", f"{state}", "--state"))
        held.append(InstanceLock(run / "scheduler.lock", f"{run}", "--run"))
        if pid_file is not None:
            held.append(InstanceLock(pid_file, f"{pid_file}", "--pid-file", mode=0o644))
    except CannotLock as error:
        raise CannotStart(error.strerror) from None
    try:
        yield held
    finally:
        if pid_file is not None:
            with contextlib.suppress(OSError):  # on a read-only file system the file remains, unlocked
                pid_file.unlink()
        for lock in held:
            os.close(lock.descriptor)


def _write_pid(held: list[InstanceLock], pid_file: Path | None) -> None:
    for lock in held:
        try:
            lock.write_pid()
        except OSError as error:  # on a full disk the holder's PID is missing, but the locks hold
            if lock.file == pid_file:
                remedy = "use another --pid-file"
                raise CannotStart(f"cannot write the PID file {pid_file}: {error.strerror}; {remedy}") from None


def _made_again(paths: Paths, lock: InstanceLock) -> None:
    """Recreate the contents of an emptied run directory and lock it; end if another daemon already has the lock."""
    paths.make_run()
    try:
        lock.retake()
    except CannotLock as error:  # no free descriptor or no space: the listener retries
        if error.errno == errno.EADDRINUSE:
            os.kill(os.getpid(), signal.SIGTERM)
        raise


if __name__ == "__main__":
    sys.exit(main())
