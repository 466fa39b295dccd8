"""A notice as an HTTP request: Posts the event as JSON, or a template's text, signed with a secret.

The signature follows https://www.standardwebhooks.com, which has libraries for receivers. A signature in GitHub's
format is also sent; it covers only the body.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection

from jobqueued import __version__
from jobqueued.child.notifier import network, notice_text, program
from jobqueued.child.notifier import template as template_of
from jobqueued.child.notifier.network import Address
from jobqueued.child.notifier.notice import Later, Never, NoticeToSend

PORTS = {"http": 80, "https": 443}
_LONGEST_WAIT = 86400
_QUOTED = 4096
_PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_REMEDIES = {
    400: "the body is not accepted: check the template",
    401: "check the token or password",
    403: "check the token or password",
    404: "check the URL",
    405: "check the URL: it does not accept POST",
    410: "check the URL",
    413: "the body is too large: write a shorter template",
    415: "check the header Content-Type",
    422: "the body is not accepted: check the template",
}
_OURS = frozenset({"content-length", "host", "transfer-encoding", "connection"})


def send(notice: NoticeToSend) -> None:
    """Send the notice with POST."""
    where = network.address(notice, notice.address, PORTS)
    headers = {"Content-Type": "application/json", "User-Agent": f"jobqueued/{__version__}", **_own_headers(notice)}
    content = body(notice, headers["Content-Type"])
    headers |= authorization(notice, where)
    headers |= signature(notice.id, int(time.time()), content, notice.credential("secret_file"))
    connection, path = _connection(notice, where)
    try:
        with contextlib.closing(connection):
            connection.request("POST", path, content, {**headers, "Connection": "close"})
            judge(notice, where, connection.getresponse())
    except HTTPException as error:
        raise Later(f"{where}: the answer is not HTTP: {type(error).__name__}") from None
    except OSError as error:
        raise network.trouble(where, error, notice.step) from None


def authorization(notice: NoticeToSend, where: Address) -> dict[str, str]:
    """Return the header for the user and password in a URL, or {} if it has none."""
    if where.user is None and where.password is None:
        return {}
    both = f"{where.user or ''}:{where.password or ''}".encode()
    header = f"Basic {base64.b64encode(both).decode()}"
    notice.hide(header)
    return {"Authorization": header}


def body(notice: NoticeToSend, content_type: str) -> bytes:
    """Return the request body: the event as JSON, or a template's text, with escaped values if the text is JSON."""
    template = notice.setting("template", str, "")
    if not template:
        return program.document(notice)
    return notice_text.fill(template, notice, as_json=template_of.is_json(content_type)).encode()


def signature(notice: str, now: int, content: bytes, secret: str | None) -> dict[str, str]:
    """Return headers to detect duplicates and, with a secret, to verify the sender. `now`: seconds since 1970."""
    headers = {
        "Idempotency-Key": f'"{notice}"',
        "webhook-id": notice,
        "webhook-timestamp": str(now),
    }
    if secret is None:
        return headers
    key = _key(secret)
    whole = hmac.digest(key, f"{headers['webhook-id']}.{now}.".encode() + content, "sha256")
    headers["webhook-signature"] = f"v1,{base64.b64encode(whole).decode()}"
    headers["X-Hub-Signature-256"] = f"sha256={hmac.new(key, content, hashlib.sha256).hexdigest()}"
    return headers


def _key(secret: str) -> bytes:
    """Return the secret's bytes: decoded base64 after ``whsec_``, otherwise the text itself."""
    if not secret.startswith("whsec_"):
        return secret.encode()
    text = secret.removeprefix("whsec_")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:  # not base64, or not ASCII
        raise Never("secret_file: expected base64 after whsec_; to create a secret: openssl rand -base64 24") from None


def _own_headers(notice: NoticeToSend) -> dict[str, str]:
    """Return the headers from the settings, unchanged. Content-Type and User-Agent replace ours."""
    ours = {"content-type": "Content-Type", "user-agent": "User-Agent"}
    found: dict[str, str] = {}
    given: Mapping[str, object] = notice.setting("headers", dict, {})
    for name, value in given.items():
        is_name = re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) and name.lower() not in _OURS
        if not (is_name and isinstance(value, str) and re.fullmatch(r"[ -~\t]*", value)):
            raise Never(
                f"headers: {name}: expected an HTTP header other than {', '.join(sorted(_OURS))}, and ASCII text"
            )
        found[ours.get(name.lower(), name)] = value
        if name.lower() not in ours:
            notice.hide(value)
    return found


def _connection(notice: NoticeToSend, where: Address) -> tuple[HTTPConnection, str]:
    """Return an unopened connection, through the proxy if configured, and the path for the request."""
    url = notice.setting("proxy", str, "")
    first = network.address(notice, url, {"http": 3128}) if url else where
    if where.scheme == "https":
        secure = HTTPSConnection(first.host, first.port, timeout=notice.step, context=network.trusted())
        if url:
            secure.set_tunnel(where.host, where.port)
        return secure, where.path
    plain = HTTPConnection(first.host, first.port, timeout=notice.step)
    return plain, f"{where.origin}{where.path}" if url else where.path


def judge(notice: NoticeToSend, where: Address, response: HTTPResponse) -> None:
    """Raise Later or Never unless the receiver accepted the notice."""
    status = response.status
    if 200 <= status < 300:
        return
    said = f"{where} answered {status} {notice.quoted(response.reason)}".rstrip()
    if 300 <= status < 400:
        raise Never(f"{said}, a redirect; redirects are not followed: use the final URL")
    said += "".join(f": {notice.quoted(line)}" for line in _first_line(response))
    if status in _PASSING or status >= 500:
        raise Later(said, wait(response.headers.get("Retry-After", ""), datetime.now(UTC)))
    remedy = _REMEDIES.get(status)
    raise Never(f"{remedy}; {said}" if remedy else said)


def wait(retry_after: str, now: datetime) -> int:
    """Return the seconds in Retry-After, at most a day. The header contains a number or an instant."""
    if re.fullmatch("[0-9]+", retry_after):
        return min(int(retry_after[:9]), _LONGEST_WAIT)
    try:
        until = parsedate_to_datetime(retry_after)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0
    seconds = (until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds()
    return int(min(max(seconds, 0), _LONGEST_WAIT))


def _first_line(response: HTTPResponse) -> Iterator[str]:
    """Yield the first line of the response that is not blank."""
    with contextlib.suppress(HTTPException, OSError, ValueError):
        lines = response.read1(_QUOTED).decode(errors="replace").splitlines()
        yield from [line.strip() for line in lines if line.strip()][:1]
