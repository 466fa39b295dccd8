"""Deliver a mail with sendmail(8) or over SMTP."""

from __future__ import annotations

import base64
import contextlib
import re
import smtplib

from jobqueued.child.notifier import network, program
from jobqueued.child.notifier.network import Address
from jobqueued.child.notifier.notice import Later, Never, NoticeEvent, NoticeToSend, OutOfTime

_PORTS = {"smtp": 25, "smtps": 465}
_STARTTLS = ("opportunistic", "required", "never")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_PERMANENT = range(64, 79)
_PASSING = frozenset({71, 74, program.TEMPORARY})
"""Temporary exit codes: EX_OSERR, EX_IOERR and EX_TEMPFAIL.

Codes that sysexits(3) does not define are also temporary.
"""


def domain(event: NoticeEvent) -> str:
    """Return the host name if it is valid in an address, otherwise localhost."""
    return event["host"] if _HOST.fullmatch(event["host"]) else "localhost"


def deliver(notice: NoticeToSend, message: bytes, sender: str, recipient: str) -> None:
    """Deliver a mail. When this returns, another program has accepted the mail."""
    if url := notice.setting("smtp", str, ""):
        _by_smtp(notice, network.address(notice, url, _PORTS), message, sender, recipient)
    else:
        _by_sendmail(notice, message, sender, recipient)


def _by_sendmail(notice: NoticeToSend, message: bytes, sender: str, recipient: str) -> None:
    path = notice.setting("sendmail", str, "/usr/sbin/sendmail")
    words = [path, "-i", "-f", sender, "--", recipient]
    ended = program.run(notice, words, message.replace(b"\r\n", b"\n"), {})
    if ended.code:
        lasting = ended.code in _PERMANENT and ended.code not in _PASSING
        raise (Never if lasting else Later)(f"{path}: exit code {ended.code}{ended.said}")


def _by_smtp(notice: NoticeToSend, where: Address, message: bytes, sender: str, recipient: str) -> None:
    how = notice.setting("starttls", str, _STARTTLS[0])
    if how not in _STARTTLS:
        raise Never(f"starttls is {how!r}; expected {', '.join(_STARTTLS)}")
    login = _login(notice, where, how)
    try:
        with contextlib.closing(_connected(notice, where)) as server:
            server.ehlo_or_helo_if_needed()
            if where.scheme == "smtp" and how != "never":
                _start_tls(server, is_required=how == "required" or login is not None)
            if login is not None:
                server.login(*login)
            server.sendmail(sender, [recipient], message)
            with contextlib.suppress(smtplib.SMTPException, OSError, OutOfTime):  # the server already accepted the mail
                server.quit()
    except smtplib.SMTPRecipientsRefused as error:
        code, said = error.recipients[recipient]
        raise _answer(notice, where, code, said, f"{recipient}: ") from None
    except smtplib.SMTPResponseException as error:
        raise _answer(notice, where, error.smtp_code, error.smtp_error) from None
    except smtplib.SMTPNotSupportedError as error:
        raise Never(f"{where}: {error}") from None
    except smtplib.SMTPException as error:
        raise Later(f"{where}: {notice.quoted(str(error))}") from None
    except OSError as error:
        raise network.trouble(where, error, notice.step) from None


def _login(notice: NoticeToSend, where: Address, how: str) -> tuple[str, str] | None:
    """Return user and password if the settings have a login. They are sent only over TLS."""
    if where.user is None:
        return None
    if where.scheme == "smtp" and how == "never":
        raise Never(f"{where}: passwords are sent only over TLS; set `starttls: required` or use smtps://")
    password = where.password or notice.credential("password_file")
    if password is None:
        raise Never(f"{where}: its user has no password; set `password_file: /etc/jobqueued/smtp-password`")
    if not (password.isascii() and where.user.isascii()):
        raise Never(f"{where}: user and password must be ASCII")
    for answer in (f"\0{where.user}\0{password}", where.user, password):  # in AUTH's forms
        notice.secrets.append(base64.b64encode(answer.encode()).decode())
    return where.user, password


def _connected(notice: NoticeToSend, where: Address) -> smtplib.SMTP:
    """Connect to the server. We pass our host name, because smtplib would look it up, which may be slow."""
    name = domain(notice.event)
    if where.scheme == "smtps":
        context = network.trusted()
        return smtplib.SMTP_SSL(where.host, where.port, name, timeout=notice.step, context=context)
    return smtplib.SMTP(where.host, where.port, name, timeout=notice.step)


def _start_tls(server: smtplib.SMTP, *, is_required: bool) -> None:
    """Switch to TLS.

    Unless TLS is required, no certificate is checked, because plain text is also allowed (RFC 7435).
    """
    if is_required or server.has_extn("starttls"):
        server.starttls(context=network.trusted() if is_required else network.unverified())
        server.ehlo_or_helo_if_needed()


def _answer(notice: NoticeToSend, where: Address, code: int, said: bytes | str, about: str = "") -> Later | Never:
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    return (Never if 500 <= code <= 599 else Later)(f"{where}: {about}{code} {notice.quoted(text)}")
