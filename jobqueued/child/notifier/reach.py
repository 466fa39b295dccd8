"""The limit for a user's channels: they can't reach this host's addresses, link-local addresses, or cloud metadata.

The notifier checks each connection's address when the kernel gets it. Names, spellings, redirects, proxies, and
changing answers from name servers therefore have no influence.
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
from jobqueued.child.notifier.notice import AddressRefused

_EVENTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_ANY_PORT = 9


class _Bounds:
    """`permitted`: addresses that the site permits, such as ``127.0.0.1:8080``; None permits every address."""

    permitted: Collection[str] | None = None
    is_hooked = is_asking = False
    last: AddressRefused | None = None


@contextmanager
def bounded(permitted: Collection[str] | None) -> Iterator[None]:
    """In the block, refuse these addresses to all code in this process, except `permitted`.

    None means that no address is refused.
    """
    if permitted is not None and not _Bounds.is_hooked:
        sys.addaudithook(_audit)
        _Bounds.is_hooked = True
    _Bounds.permitted, _Bounds.last = permitted, None
    try:
        yield
    finally:
        _Bounds.permitted = _Bounds.last = None


def refusal() -> AddressRefused | None:
    """Return the last refusal in this block, which a library may have hidden, or None."""
    return _Bounds.last


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _EVENTS or _Bounds.permitted is None or _Bounds.is_asking:
        return
    found, address = arguments[0], arguments[1]
    if address is None:  # sendmsg(2) on a connected socket
        return
    if why := _trouble(found.family, address, _Bounds.permitted):
        _Bounds.last = AddressRefused(errno.EACCES, why)
        raise _Bounds.last


def _trouble(family: int, address: Any, permitted: Collection[str]) -> str:
    """Return the reason why an address must not be reached, or "" if the address is allowed."""
    if family not in (socket.AF_INET, socket.AF_INET6):
        return f"found a socket of family {int(family)}; expected IPv4 or IPv6"
    host, port = address[0], address[1]
    try:
        ip = meant(host)
    except ValueError:  # the kernel would use another address than the checked one
        return f"{host!r} is not an IP address"
    shown = spelled(ip, port)
    what = what_is(ip) or (HOST if _is_ours(family, host) else "")
    if not what or shown in permitted:
        return ""
    permit = f"unless root permits this one with `users: {{reach: ['{shown}']}}`"
    return f"{shown} is {what}; use another address, {permit}"


def _is_ours(family: int, host: str) -> bool:
    """Return whether an address belongs to this host. If so, the kernel would send from this address.

    Nothing is sent.
    """
    _Bounds.is_asking = True
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((host, _ANY_PORT))
            return ip_address(asking.getsockname()[0]) == ip_address(host)
    except OSError:  # there is no route to the address
        return False
    finally:
        _Bounds.is_asking = False
