"""The addresses that a user's channels may not reach: those of this host, of its link, and of a cloud's metadata.

Each connection is looked at as it is made, by the address that the kernel gets.  So it does not matter by what name,
spelling, redirect or proxy it came to that, nor what a name server says the next time.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

from jobqueued.child.notifier.addresses import HOST, meant, spelled, what_is
from jobqueued.child.notifier.notice import Refused

_EVENTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_ANY_PORT = 9


class _Bounds:
    """`permitted`: the addresses that the site permits, ``127.0.0.1:8080``; None: nothing is bounded now."""

    permitted: Collection[str] | None = None
    is_hooked = is_asking = False
    last: Refused | None = None


@contextmanager
def bounded(permitted: Collection[str] | None) -> Iterator[None]:
    """Refuse such addresses to all code of this process, but these; None: refuse none."""
    if permitted is not None and not _Bounds.is_hooked:
        sys.addaudithook(_audit)
        _Bounds.is_hooked = True
    _Bounds.permitted, _Bounds.last = permitted, None
    try:
        yield
    finally:
        _Bounds.permitted = None


def refusal() -> Refused | None:
    """The last refusal, for what a library made of it."""
    return _Bounds.last


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _EVENTS or _Bounds.permitted is None or _Bounds.is_asking:
        return
    found, address = arguments[0], arguments[1]
    if address is None:  # sendmsg(2) of what is connected
        return
    if why := _trouble(found.family, address, _Bounds.permitted):
        _Bounds.last = Refused(errno.EACCES, why)
        raise _Bounds.last


def _trouble(family: int, address: Any, permitted: Collection[str]) -> str:
    """The reason why nothing may go to an address; "": it may."""
    if family not in (socket.AF_INET, socket.AF_INET6):
        return f"a socket of family {int(family)} is none of the Internet; accepted: IPv4 and IPv6"
    host, port = address[0], address[1]
    try:
        ip = meant(host)
    except ValueError:  # the kernel would get another address than is looked at here
        return f"{host!r} is no address; a name is looked up before"
    shown = spelled(ip, port)
    what = what_is(ip) or (HOST if _is_ours(family, host) else "")
    if not what or shown in permitted:
        return ""
    return f"{shown} is {what}; accepted: another, or what root permits by `users: {{reach: ['{shown}']}}`"


def _is_ours(family: int, host: str) -> bool:
    """Tell whether an address is one of this host: the kernel sends from the same one then.  Nothing is sent."""
    _Bounds.is_asking = True
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((host, _ANY_PORT))
            return ip_address(asking.getsockname()[0]) == ip_address(host)
    except OSError:  # there is no way to it
        return False
    finally:
        _Bounds.is_asking = False
