"""Locks that an attempt must have to start: unexpired locks of the fleet, and flock(2) on the paths in a job's `locks`.

The supervisor holds the locks. Jobs do not get the descriptors, which are close-on-exec.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Generator, Iterable, Iterator

from jobqueued.child.contract.documents import LaunchSpec
from jobqueued.child.contract.reasons import Code, Reason
from jobqueued.child.contract.trust import FileRefused, check_path, followed, name_of, quoted
from jobqueued.child.processes import tree
from jobqueued.child.start import as_user
from jobqueued.child.start.identity import StartFailed, groups_of, user_of

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OURS, _OTHERS = 0o600, 0o077
_ME = os.geteuid()
_WHERE = 5
"""Index of the file in a line of /proc/locks; the PID is the word before the file."""
_LOOKS = 10_000
"""Maximum descriptors checked to find a holder: about 0.2 s."""


class Withheld(Exception):
    """Another program or host may hold a lock; str() has the lock, and the holder if the kernel shows it."""


class LockFiles:
    """An attempt's locks, from `take` to `free`."""

    def __init__(self, order: LaunchSpec) -> None:
        """`order["locks"]`: the paths, and whether each lock is exclusive.

        For a user's own job, a process that runs as the user opens the files, so that the user's rights apply.
        """
        self._order, self._wanted, self._user = order, order["locks"], order["user"]
        self._held: list[int] = []
        self._trouble: StartFailed | None = None

    def take(self) -> None:
        """Acquire all locks without waiting. If another program or host has one, releases all and raises Withheld."""
        not_after = self._order.get("not_after", 0)
        if not_after and time.clock_gettime_ns(time.CLOCK_BOOTTIME) >= not_after:
            raise Withheld("another host might hold its fleet locks now")
        if not self._wanted:
            return
        path = ""
        try:
            with contextlib.closing(self._opened()) as descriptors:
                for wanted in self._wanted:
                    path, alone = wanted
                    self._held.append(descriptor := next(descriptors))
                    fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            holders = _holders(os.fstat(self._held[-1]))
            self.free()
            busy = Reason(Code.PATH_HELD, path=path, holder=holders) if holders else Reason(Code.PATH_BUSY, path=path)
            raise Withheld(busy) from None
        except StartFailed as failure:
            self.free()
            self._trouble = failure
        except (OSError, FileRefused) as error:
            self.free()
            number = error.errno or 0 if isinstance(error, OSError) else 0
            self._trouble = StartFailed("lock", number, f"{path}: {os.strerror(number) if number else error}")

    def _opened(self) -> Generator[int]:
        """Yield a descriptor for each file. Raises OSError, FileRefused and StartFailed."""
        paths = [path for path, _ in self._wanted]
        owner = self._order["record"].get("owner")
        user = user_of(self._user) if owner is not None else None
        if owner is None or user is None or user.is_us:
            yield from (_opened(path, _ME) for path in paths)
            return
        if user.uid != owner["uid"]:
            raise StartFailed(
                "lock", 0, f"user {user.name!r} has uid {user.uid}, but the job belongs to uid {owner['uid']}"
            )
        yield from as_user.opened(user, groups_of(self._order, user), paths, _opened)

    def examined(self) -> list[str]:
        """Return warnings about users, except root and the job's user, who could lock or replace a lock file.

        Raises StartFailed if a lock can't be acquired at all.
        """
        if self._trouble is not None:
            raise self._trouble
        user = user_of(self._user).uid if self._wanted else 0
        found = [(path, os.fstat(held)) for (path, _), held in zip(self._wanted, self._held, strict=True)]
        return [warning for path, status in found if (warning := _exposed(path, status, user))]

    def free(self) -> None:
        """Release all locks."""
        while self._held:
            os.close(self._held.pop())


def _opened(path: str, user: int) -> int:
    """Return a descriptor of the file, and create the file if missing.

    Raises OSError, or FileRefused at another user's link. Any user who can read the file can lock it, so only its owner
    can read a new file.
    """
    directory, name = os.path.split(path)
    step = os.open("/", _STEP)
    try:
        for part in filter(None, followed(directory, user).split("/")):  # a new link is not followed
            before, step = step, os.open(part, _STEP, dir_fd=step)
            os.close(before)
        for flags in (_FLAGS, _FLAGS | os.O_CREAT | os.O_EXCL):
            with contextlib.suppress(FileNotFoundError, FileExistsError):  # another process may create it
                return os.open(name, flags, _OURS, dir_fd=step)
        return os.open(name, _FLAGS, dir_fd=step)
    finally:
        os.close(step)


def _exposed(path: str, found: os.stat_result, user: int) -> str:
    """Return a warning with the fix if other users could lock or replace a file, or ""."""
    commands = []
    if found.st_uid not in (0, user):
        commands.append(f"chown {name_of(user)} {quoted(path)}")
    if found.st_mode & _OTHERS:
        commands.append(f"chmod go= {quoted(path)}")
    if commands:
        return (
            f"other users can lock {path} and so keep the job from starting; to prevent this: {' && '.join(commands)}"
        )
    try:
        check_path(os.path.dirname(path), user, sticky=True)
    except OSError:
        return ""
    except FileRefused as refused:
        return f"other users can replace the lock file {path}: {refused}"
    return ""


def _holders(found: os.stat_result) -> str:
    """Describe the holders of flock(2) locks on a file, as in ``flock (pid 12) of user alice``, or return "".

    /proc/locks shows the process that acquired a lock. Other processes may have inherited the descriptor, as with
    ``exec 9>x; flock 9`` in a shell. In a container, /proc/locks does not show locks whose first process ended.
    """
    where = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    takers = _takers(where)
    everybody = (int(name) for name in sorted(os.listdir("/proc")) if name.isdigit())
    holders = list(_having(where, takers, unseen=True))
    if not holders:  # finding the first holder is enough
        holders = [pid for _, pid in zip(range(1), _having(where, everybody), strict=False)]
    if None in holders:
        return f"a process that was not found among the first {_LOOKS:,} descriptors of this host"
    unseen = "a process that is not visible here" if takers else ""
    return ", ".join(map(_named, filter(None, holders[:3]))) or unseen


def _takers(where: str) -> list[int]:
    """Return the PIDs of processes that acquired a lock on a file, if /proc/locks shows them."""
    with contextlib.suppress(OSError), open("/proc/locks") as file:
        return [pid for line in file for pid in _taker(line, where)]
    return []


def _taker(line: str, where: str) -> Iterator[int]:
    """Yield the PID in a line of /proc/locks or fdinfo, if the line is about a flock(2) lock on this file."""
    words = line.removeprefix("lock:").split()
    if len(words) > _WHERE and words[1] == "FLOCK" and words[_WHERE] == where:
        yield int(words[_WHERE - 1])


def _having(where: str, pids: Iterable[int], *, unseen: bool = False) -> Iterator[int | None]:
    """Yield the PIDs of processes that have a descriptor with the lock, then None if the limit was reached.

    `unseen`: include processes that we may not inspect.
    """
    left = _LOOKS
    for pid in pids:
        try:
            descriptors = os.listdir(f"/proc/{pid}/fdinfo")
            left -= len(descriptors)
            if left < 0:
                yield None
                return
            if any(_has(f"/proc/{pid}/fdinfo/{each}", where) for each in descriptors):
                yield pid
        except PermissionError:
            if unseen:
                yield pid
        except OSError:  # the process ended
            continue


def _has(path: str, where: str) -> bool:
    with contextlib.suppress(FileNotFoundError), open(path) as file:
        return any(True for line in file for _pid in _taker(line, where))
    return False


def _named(pid: int) -> str:
    with contextlib.suppress(OSError):
        user = name_of(os.stat(f"/proc/{pid}").st_uid)
        return "".join(f"{name} of user {user}" for name in tree.names([pid]))
    return ""
