"""jobqueue-fence runs a command, unless a later holder of the run's lock already used the same FILE.

    jobqueue-fence [--wait SECONDS] FILE [--] COMMAND [ARG...]

FILE contains the greatest $JOBQUEUE_FENCE so far, twice, to detect an incomplete or damaged write. The steps are: lock
FILE, compare, write, fsync, and start. If jobqueue-fence is killed before the write, nothing changed. After the write,
the number counts even if COMMAND did not run, because the next attempt has the same or a greater number.

This process holds the lock even if COMMAND closes its descriptor. COMMAND and the processes that it leaves behind also
hold the lock, even if this process is killed. An earlier holder's processes may write as long as they live, so a later
holder waits for all of them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import signal
import stat
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

if __name__ == "__main__":  # started as a file, it is not in a package yet
    sys.path.append(os.path.dirname(os.path.abspath(f"{__file__}/../../..")))

from jobqueued.child.contract.text import printable
from jobqueued.child.processes import process

Result = TypeVar("Result")

VARIABLE = "JOBQUEUE_FENCE"
USAGE = "Usage: jobqueue-fence [--wait SECONDS] FILE [--] COMMAND [ARG...]"
REFUSED, NOT_IN_TIME, FAILED, NOT_EXECUTABLE, NOT_FOUND = 123, 124, 125, 126, 127
"""Exit statuses of jobqueue-fence itself."""
MOUNTS = "/proc/self/mountinfo"
_GREATEST = (1 << 63) - 1
_DIGITS = 20
_LONGEST = 1e9
"""Longest wait (s): about 30 years."""
_NUDGE = 0.1
"""Pause (s) between alarms, which repeat because the first alarm may precede the wait that it must interrupt."""
_BEYOND_SHELLS = 64
"""Lowest number for COMMAND's descriptor of FILE, because scripts use small numbers."""
_OWN = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT}
"""Signals that suspend and continue this process together with COMMAND, as shells expect."""
_NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS})
_KEPT_HERE = frozenset({"local_lock=all", "local_lock=flock", "nobrl", "localflocks", "localflock"})
"""Mount options of nfs(5), mount.cifs(8), gfs2, ocfs2 and Lustre that hide locks from other hosts."""


class FenceFailure(Exception):
    """COMMAND was not run; str() is the message."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status


def main() -> int:
    """Handle the command line and return the exit status."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    words = sys.argv[1:]
    if words[:1] in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    try:
        wait, path, command = _taken_apart(words)
        number = _number()
        lock = _locked(path, wait)
        _enter(lock, path, number)
        return _run(command, lock)
    except FenceFailure as failure:
        _print_error(str(failure))
        return failure.status


def _taken_apart(words: list[str]) -> tuple[float | None, str, list[str]]:
    """Parse the arguments. Return the seconds to wait (None means no limit), FILE, and COMMAND with its arguments."""
    wait = None
    while words and words[0].startswith("-"):
        option, is_one, value = words.pop(0).partition("=")
        if option == "--":
            break
        if option not in ("-w", "--wait"):
            raise _misuse(f"no such option: {printable(option)}")
        wait = _seconds(value if is_one else words.pop(0) if words else "")
    if not words or not words[0]:
        raise _misuse("FILE is missing")
    path, *command = words
    if command[:1] == ["--"]:
        del command[0]
    if not command:
        raise _misuse("COMMAND is missing")
    return wait, path, command


def _seconds(text: str) -> float:
    try:
        if 0 <= (seconds := float(text)) <= _LONGEST:
            return seconds
    except ValueError:
        pass
    raise _misuse(f"--wait: found {printable(text)!r}; expected seconds, such as 30 or 0.5")


def _misuse(what: str) -> FenceFailure:
    return FenceFailure(f"{what}\n{USAGE}")


def _number() -> int:
    """Return the fence number of this run."""
    text = os.environ.get(VARIABLE)
    if text is None:
        raise FenceFailure(
            f"${VARIABLE} is not set: give the job, or one of its locks, `scope: fleet`; see jobqueue-fence(1)"
        )
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS and 0 < (number := int(text)) <= _GREATEST:
        return number
    raise FenceFailure(f"${VARIABLE}: found {printable(text)!r}; expected a whole number from 1 to {_GREATEST}")


# ── lock ──


def _locked(path: str, wait: float | None) -> int:
    """Return a locked descriptor of FILE. Create FILE if missing, and retry if FILE was replaced."""
    shown = printable(path)
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        lock = _tried(f"open {shown}", os.open, path, flags, 0o666)
        found = os.fstat(lock)
        if not stat.S_ISREG(found.st_mode):
            raise FenceFailure(f"{shown} is not a regular file")
        _check_lock_is_shared(shown, found.st_dev)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _wait_for(lock, shown, wait)
        except OSError as error:
            where = "; move it to a file system that supports locks" if error.errno in _NO_LOCKS else ""
            raise FenceFailure(f"cannot lock {shown}: {error.strerror}{where}") from None
        if _tried(f"find {shown}", _is_same_file, path, found):
            return lock
        os.close(lock)


def _wait_for(lock: int, shown: str, wait: float | None) -> None:
    """Print a message, and wait at most `wait` seconds for the lock (None means no limit)."""

    def give_up(*_: object) -> NoReturn:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        raise FenceFailure(f"another run still holds {shown} after {wait:g} s", NOT_IN_TIME)

    if wait == 0:
        raise FenceFailure(f"another run holds {shown}", NOT_IN_TIME)
    _print_error(f"waiting for {shown}, which another run holds")
    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, wait or 0, _NUDGE)
    _tried(f"lock {shown}", fcntl.flock, lock, fcntl.LOCK_EX)
    signal.setitimer(signal.ITIMER_REAL, 0)


def _is_same_file(path: str, found: os.stat_result) -> bool:
    """Return whether the path still refers to this file."""
    try:
        return os.path.samestat(found, os.stat(path))
    except FileNotFoundError:
        return False


def _check_lock_is_shared(shown: str, device: int) -> None:
    """Raise FenceFailure if a mount option hides the file's locks from other hosts."""
    with _tried(f"read {MOUNTS}", open, MOUNTS) as mounts:
        of_device = (words for line in mounts if (words := line.split())[2] == f"{os.major(device)}:{os.minor(device)}")
        options = {option for words in of_device for option in words[-1].split(",")}
    for option in options & _KEPT_HERE:
        raise FenceFailure(f"{shown}: other hosts would not see its lock; mount its file system without {option}")


# ── compare, write ──


def _enter(lock: int, path: str, number: int) -> None:
    """Write the number durably, unless FILE has a greater number."""
    shown = printable(path)
    seen = _seen(lock, shown)
    if seen > number:
        raise FenceFailure(
            f"{shown}: refused: a later run, with number {seen}, has used it; this run has number {number}", REFUSED
        )
    data = _content(number)
    written = _tried(f"write {shown}", os.pwrite, lock, data, 0)
    if written < len(data):
        raise FenceFailure(f"cannot write {shown}: only {written} of {len(data)} bytes; {_mended(shown)}")
    _tried(f"sync {shown}", os.fsync, lock)
    directory = os.path.dirname(os.path.realpath(path))  # a new file's name must also be durable
    above = _tried(f"open {printable(directory)}", os.open, directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    _tried(f"sync {printable(directory)}", os.fsync, above)
    os.close(above)


def _seen(lock: int, shown: str) -> int:
    """Return the greatest number in FILE, or 0 for a new file."""
    data = _tried(f"read {shown}", os.pread, lock, len(_content(0)) + 1, 0)
    first = data[:_DIGITS]
    if not data:
        return 0
    if first.isdigit() and data == _content(int(first)):
        return int(first)
    raise FenceFailure(f"{shown}: found {data!r}, which is not a number from jobqueue-fence; {_mended(shown)}")


def _mended(shown: str) -> str:
    return f"if this is the right file, make sure that no earlier run continues, then: truncate -s 0 {shown}"


def _content(number: int) -> bytes:
    return b"%0*d %0*d\n" % (_DIGITS, number, _DIGITS, number)


# ── start ──


def _run(command: list[str], lock: int) -> int:
    """Run the command to its end. Return its exit status, or 128 + N after signal N."""
    lowest = min(_BEYOND_SHELLS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1)
    _tried("keep the lock for COMMAND", fcntl.fcntl, lock, fcntl.F_DUPFD, lowest)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    awaited = signal.valid_signals() - _OWN
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    ignored_by_python = (signal.SIGPIPE, signal.SIGXFSZ)
    try:
        child = os.posix_spawnp(command[0], command, os.environ, setsigmask=mask, setsigdef=ignored_by_python)
    except OSError as error:
        status = NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE
        raise FenceFailure(f"{printable(command[0])}: {error.strerror}", status) from None
    while True:
        told = signal.sigwaitinfo(awaited)
        if told.si_signo != signal.SIGCHLD:
            if told.si_code <= 0 and not _is_above(told.si_pid):  # COMMAND also gets the kernel's signals (^C)
                os.kill(child, told.si_signo)
        elif (ended := os.waitpid(child, os.WNOHANG))[0]:
            code = os.waitstatus_to_exitcode(ended[1])
            return code if code >= 0 else 128 - code


def _is_above(sender: int) -> bool:
    """Return whether the sender is above our session (supervisor, init), and therefore also signals COMMAND."""
    pid = os.getsid(0)
    while (found := process.stat(pid)) is not None and (pid := found.parent):  # 0 for another PID namespace
        if pid == sender:
            return True
    return False


def _tried(act: str, call: Callable[..., Result], *arguments: Any) -> Result:
    try:
        return call(*arguments)
    except OSError as error:
        raise FenceFailure(f"cannot {act}: {error.strerror}") from None


def _print_error(message: str) -> None:
    with contextlib.suppress(OSError):  # stderr may be closed
        print(f"jobqueue-fence: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
