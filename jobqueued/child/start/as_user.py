"""Files opened by a process that runs as a user, with only this user's rights."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator

from jobqueued.child.contract.trust import FileRefused
from jobqueued.child.processes import process
from jobqueued.child.start.identity import StartFailed, User

SECONDS = 10.0
"""Timeout (s), because a user's file system may not answer."""
_MSG_CMSG_CLOEXEC = 0x40000000
_ANSWER = 4096


def opened(
    user: User, groups: tuple[int, list[int]], paths: list[str], opens: Callable[[str, int], int]
) -> Iterator[int]:
    """Yield a descriptor for each path, which `opens` opened as the user. Raises OSError, FileRefused and StartFailed.

    The user's process ends after the last path, or after the first path that can't be opened.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            pid = os.fork()
            if not pid:
                _open_all(theirs, user, groups, paths, opens)
        ours.settimeout(SECONDS)
        try:
            for _path in paths:
                yield _received(ours)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            process.is_reaped(pid, 1.0)


def _received(ours: socket.socket) -> int:
    try:
        answer, passed, _flags, _address = ours.recvmsg(_ANSWER, socket.CMSG_SPACE(4), _MSG_CMSG_CLOEXEC)
    except TimeoutError:
        raise FileRefused(f"its file system does not answer within {SECONDS:g} s") from None
    if passed:
        return int.from_bytes(passed[0][2][:4], "little")
    number, _, text = answer.decode(errors="surrogateescape").partition(" ")
    if not number:
        raise StartFailed("lock", 0, "the process that should open it exited")
    if int(number):
        raise OSError(int(number), os.strerror(int(number)))
    raise FileRefused(text)


def _open_all(
    theirs: socket.socket, user: User, groups: tuple[int, list[int]], paths: list[str], opens: Callable[[str, int], int]
) -> None:
    """Become the user irrevocably, then open the paths one by one.

    Answer with a descriptor or an error for each path.
    """
    try:
        signal.set_wakeup_fd(-1)
        os.setgroups(groups[1])
        os.setresgid(groups[0], groups[0], groups[0])
        os.setresuid(user.uid, user.uid, user.uid)
        for path in paths:
            descriptor = opens(path, user.uid)
            socket.send_fds(theirs, [b"0"], [descriptor])
            os.close(descriptor)
    except OSError as error:
        theirs.send(f"{error.errno or 0} ".encode())
    except FileRefused as refused:
        theirs.send(f"0 {refused}".encode(errors="surrogateescape")[:_ANSWER])
    finally:
        os._exit(0)
