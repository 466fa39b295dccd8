"""Connections to a receiver: the parts of its URL, TLS, and descriptions of errors."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.notifier.notice import AddressRefused, Later, Never, NoticeToSend


class Address(NamedTuple):
    """A URL in parts. `origin` is scheme, host and port.

    `path` begins with a slash and includes the query. str() contains no part that could be secret.
    """

    scheme: str
    host: str
    port: int
    origin: str
    path: str
    user: str | None
    password: str | None

    def __str__(self) -> str:
        return self.origin if self.path == "/" else f"{self.origin}/…"


def address(notice: NoticeToSend, url: str, ports: Mapping[str, int]) -> Address:
    """Split a URL, and hide its secret parts in verdicts. `ports`: accepted scheme → default port.

    Raises Never if the URL is invalid; the message does not contain the URL.
    """
    accepted = " or ".join(f"{scheme}://HOST:PORT" for scheme in ports)
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        port, host = 0, None
    if not re.fullmatch("[!-~]+", url) or not host or port == 0 or parts.scheme not in ports:
        raise Never(f"{notice.channel}: unusable URL; expected {accepted}, in ASCII")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    asked = [value for pair in parts.query.split("&") for value in (pair, pair.partition("=")[2])]
    for secret in (path.strip("/"), *parts.path.split("/"), *asked, parts.username, parts.password):
        notice.hide(secret or "")
    user, password = (unquote(text) if text else None for text in (parts.username, parts.password))
    origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return Address(parts.scheme, host, port or ports[parts.scheme], origin, path, user, password)


def trouble(where: Address, error: OSError, seconds: float) -> Later | Never:
    """Return the verdict on a connection error. `seconds`: the timeout that was used."""
    if isinstance(error, AddressRefused):
        return Never(f"{where}: {error.strerror}")
    if isinstance(error, ssl.SSLCertVerificationError):
        trust = (
            "copy the certificate of its authority into /usr/local/share/ca-certificates and run update-ca-certificates"
        )
        return Never(f"{where}: its certificate is refused: {error.verify_message}; {trust}")
    if isinstance(error, TimeoutError):
        return Later(f"{where}: no answer within {seconds:.3g} s")
    if isinstance(error, ssl.SSLError):
        return Later(f"{where}: TLS failed: {error.reason or error}")
    return Later(f"{where}: {error.strerror or error}")


def trusted() -> ssl.SSLContext:
    """Return a TLS context that trusts the host's authorities."""
    return ssl.create_default_context()


def unverified() -> ssl.SSLContext:
    """Return a TLS context without authentication, which protects only against eavesdroppers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
