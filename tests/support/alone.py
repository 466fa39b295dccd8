"""A test with processes of its own: in a PID namespace, where no test beside it has any."""

from __future__ import annotations

import ctypes
import functools
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Any

from tests.support.preloaded import preloaded
from tests.support.users import NEEDS_ROOT

_CLONE_NEWNS, _CLONE_NEWPID = 0x0002_0000, 0x2000_0000
_LIBC = ctypes.CDLL(None, use_errno=True)


def alone(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test as the first process of such a namespace; with it all end that it has started."""

    @functools.wraps(test)
    def forked(*args: Any, **kwargs: Any) -> None:
        pid = os.fork()
        if not pid:
            status = 1
            try:
                _unshare()
                first = os.fork()
                status = _run(lambda: test(*args, **kwargs)) if not first else _ended(first)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        assert _ended(pid) == 0, "it failed in its namespace, as was written above"

    return NEEDS_ROOT(forked)  # type: ignore[no-any-return]


def _unshare() -> None:
    if _LIBC.unshare(_CLONE_NEWNS | _CLONE_NEWPID):
        raise OSError(ctypes.get_errno(), "unshare")


def _run(test: Callable[[], None]) -> int:
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "proc", "proc", "/proc"], check=True)
    preloaded.cache_clear()
    try:
        test()
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
