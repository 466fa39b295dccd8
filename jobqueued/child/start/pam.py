"""PAM's decision about an account, as in cron: an expired account runs no jobs."""

from __future__ import annotations

import contextlib
import ctypes
import os

from jobqueued.child.contract.documents import LaunchSpec
from jobqueued.child.start.identity import StartFailed, User

_SYSTEM = "/etc/pam.d"
DIRECTORY = _SYSTEM
SERVICES = ("jobqueued", "cron", "crond")
"""PAM services; the first that exists decides. If none of these services or no PAM exists, all users may run jobs."""
_SUCCESS, _CONVERSATION_FAILED, _SILENT = 0, 19, 0x8000
_Answer = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


class _Conversation(ctypes.Structure):
    _fields_ = (("answer", _Answer), ("data", ctypes.c_void_p))


def _no_answer(_count: int, _messages: int, _answers: int, _data: int) -> int:
    """Let PAM's questions fail, because no user can answer."""
    return _CONVERSATION_FAILED


def check(order: LaunchSpec, user: User) -> None:
    """Raise StartFailed if PAM must decide, and jobs of this user may not run now."""
    if order.get("asks_pam") and (why := refusal(user.name, DIRECTORY)):
        raise StartFailed("account", 0, why)


def refusal(user: str, directory: str) -> str:
    """Return the reason why none of a user's jobs may run now, or "".

    PAM modules may be slow and change the process, so call this only in a process that will exec a program.
    """
    service = next((name for name in SERVICES if os.path.exists(f"{directory}/{name}")), "")
    library = None
    with contextlib.suppress(OSError):
        library = ctypes.CDLL("libpam.so.0") if service else None
    if library is None:
        return ""
    handle, conversation = ctypes.c_void_p(), _Conversation(_Answer(_no_answer), None)
    words = (service.encode(), user.encode(), ctypes.byref(conversation))
    if directory == _SYSTEM:
        code = library.pam_start(*words, ctypes.byref(handle))
    else:
        code = library.pam_start_confdir(*words, directory.encode(), ctypes.byref(handle))
    if code == _SUCCESS:
        code = library.pam_acct_mgmt(handle, _SILENT)
    library.pam_strerror.restype = ctypes.c_char_p
    why = library.pam_strerror(handle, code).decode(errors="replace")
    if handle:
        library.pam_end(handle, code)
    return "" if code == _SUCCESS else f"PAM ({service}) refuses {user}: {why}"
