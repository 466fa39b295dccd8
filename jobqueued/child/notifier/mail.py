"""A notice as a mail with the run's output. Cron's headers are kept for mail filters; an incident's mails are a thread.

Bytes that are not UTF-8, and characters that could move a cursor, are escaped in the text. If the text does not contain
the output completely and unchanged, the output is attached.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from jobqueued.child.contract import atomic_file
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.text import printable, size
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.notifier import mail_delivery, notice_text
from jobqueued.child.notifier.notice import Never, NoticeEvent, NoticeToSend

_SHOWN = 16 << 10
"""Maximum bytes from the end of the output that the text contains."""
_ATTACHED, _MOST_ATTACHED = 1 << 20, 16 << 20
_LONGEST_SUBJECT = 200
_LONGEST_COMMAND = 900
"""Maximum characters of a command in the subject of an output; cron has no limit, but a mail server may have one."""
_LONGEST_LINE = 900
"""Longest line (bytes) that is sent without quoted-printable; RFC 5322 allows 998."""
_ADDRESS = re.compile(
    r"[\w.!#$%&'*+=?^`{}~][\w.!#$%&'*+/=?^`{|}~-]{0,63}(@[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)?", re.ASCII
)


_OF_AT = "at:"
"""Prefix of the tag on jobs from at(1) and batch."""


class MailedOutput(NamedTuple):
    """The end of a run's output, limited to the size of an attachment.

    `size`: bytes of the whole output, or None if unknown. `trouble`: why the output file can't be read, or "".
    """

    data: bytes
    size: int | None
    trouble: str = ""


def send(notice: NoticeToSend) -> None:
    """Mail the notice to an address, with sendmail(8) or over SMTP."""
    recipient = _address(notice.address, "the address")
    sender = _address(notice.setting("from", str, f"jobqueue@{mail_delivery.domain(notice.event)}"), "from")
    mail_delivery.deliver(notice, bytes(message(notice, sender, recipient)), sender, recipient)


def message(notice: NoticeToSend, sender: str, recipient: str) -> EmailMessage:
    """Return the whole mail."""
    limit = notice.setting("attach_limit", int, _ATTACHED)
    if not 0 <= limit <= _MOST_ATTACHED:
        raise Never(f"attach_limit is {limit}; expected 0 to {size(_MOST_ATTACHED)}")
    mail = EmailMessage(policy=SMTP)
    for name, value in _headers(notice, sender, recipient):
        mail[name] = value
    output = _output(notice.event.get("record"), max(limit, _SHOWN) + 1)
    shown = notice_text.shown(_last(output.data, _SHOWN).decode(errors="backslashreplace"))
    whole = len(output.data) <= _SHOWN and shown.encode() == output.data
    attached = b"" if whole or not limit else _last(output.data, limit)
    template = notice.setting("template", str, "")
    if _is_report(notice):
        text = notice.event["text"]
    elif template:
        text = notice_text.shown(notice_text.fill(template, notice, as_json=False))
    elif _is_output(notice) and whole:
        text = shown if shown.endswith("\n") else f"{shown}\n"
    else:
        text = notice_text.body(notice, _quoted(output, shown, len(attached), printable(notice.event.get("run") or "")))
    plain = text.isascii() and max(map(len, text.split("\n"))) <= _LONGEST_LINE
    mail.set_content(text, cte="7bit" if plain else "quoted-printable")
    if html := notice.event.get("html"):
        mail.add_alternative(html, subtype="html", cte="quoted-printable")
    if attached:
        name = f"{notice.event.get('run') or 'output'}.log"
        mail.add_attachment(attached, "text", "plain", cte="base64", filename=name, params=_charset(attached))
    return mail


def _is_output(notice: NoticeToSend) -> bool:
    """Return whether this is a mail like cron's, with the command as its subject and only the output as its text."""
    return notice.event["event"] == "output"


def _is_report(notice: NoticeToSend) -> bool:
    """Return whether the notice is a report, which has its own text (jobqueuectl report)."""
    return notice.event["event"] == "report"


def _headers(notice: NoticeToSend, sender: str, recipient: str) -> Iterator[tuple[str, str]]:
    """Yield the headers of Debian's cron, cronie, RFC 3834, and jobqueued."""
    event = notice.event
    user, domain = event.get("user") or "jobqueue", mail_delivery.domain(event)
    yield "From", f'"jobqueued (Cron Daemon)" <{sender}>'
    yield "To", recipient
    yield "Subject", printable(_subject(event, user, recipient))
    yield "Date", format_datetime(_instant(event["at"]))
    yield "Message-ID", _message_id(notice.id, domain)
    if incident := event.get("incident"):
        thread = _message_id(f"incident {incident['id']}", domain)
        yield "In-Reply-To", thread
        yield "References", thread
    yield "Auto-Submitted", "auto-generated"
    yield "Precedence", "bulk"
    variables = {"LOGNAME": event.get("user"), "JOBQUEUE_JOB": event.get("job"), "JOBQUEUE_RUN": event.get("run")}
    for name, value in variables.items():
        if value:
            yield "X-Cron-Env", printable(f"<{name}={value}>")
    yield "X-Jobqueued-Event", printable(event["event"])
    yield "X-Jobqueued-Id", notice.id


def _subject(event: NoticeEvent, user: str, recipient: str) -> str:
    """Return a subject like cron's with the event, or at(1)'s subject for the user of an at(1) job."""
    record, words = event.get("record"), notice_text.command(event)
    is_of_at = record is not None and any(tag.startswith(_OF_AT) for tag in record.get("tags", ()))
    if is_of_at and (event["event"] in ("output", "success") or recipient == user):
        return f"Output from your job {(event.get('job') or '').rpartition('/')[2]:>8}"
    begin, is_failed = f"Cron <{user}@{event['host']}> ", record is not None and record["state"] != "succeeded"
    if event["event"] == "output":
        return f"{begin}{notice_text.cut(words, _LONGEST_COMMAND)}{' (failed)' if is_failed else ''}"
    words = notice_text.cut(words, _LONGEST_SUBJECT // 2)
    return notice_text.cut(begin + (f"{words}: " if words else "") + printable(event["summary"]), _LONGEST_SUBJECT)


def _quoted(output: MailedOutput, shown: str, attached: int, run: str) -> str:
    """Return the output as text, with a note that shows where the rest is."""
    blocks = [output.trouble] if output.trouble else []
    if shown:
        blocks += [_heading(output.size), shown.rstrip("\n")]
    if attached and output.size is not None and attached < output.size:
        blocks.append(f"The last {size(attached)} are attached; for the full output: jobqueuectl logs {run}")
    elif attached:
        blocks.append("The output is attached as it was written.")
    return "\n\n".join(blocks)


def _heading(length: int | None) -> str:
    if length is None:
        return "The end of its output:"
    return f"Its output (the end of {size(length)}):" if length > _SHOWN else "Its output:"


def _output(record: Record | None, limit: int) -> MailedOutput:
    """Return the end of a run's output from its file, or from the record if the file can't be read."""
    if record is None:
        return MailedOutput(b"", 0)
    output = record["output"]
    tail = output["tail"].encode()
    path = output["file"]
    if path is None:
        return MailedOutput(tail, None)
    try:
        with open(atomic_file.to_read(path), "rb", buffering=0) as file:
            length = os.fstat(file.fileno()).st_size
            file.seek(max(0, length - limit))
            return MailedOutput(file.read(limit), length)
    except OSError as error:
        return MailedOutput(tail, None, f"Its output can't be read: {printable(path)}: {error.strerror}")


def _last(data: bytes, most: int) -> bytes:
    """Return the last bytes, starting at the beginning of a line if possible."""
    if len(data) <= most:
        return data
    end = data[-most:]
    return end[end.find(b"\n") + 1 :] or end


def _address(text: str, what: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise Never(f"{what} is {text!r}; expected one ASCII address without a name, such as ops@example.org")
    return text


def _message_id(text: str, domain: str) -> str:
    """Return a Message-ID that depends only on the text and the domain."""
    return f"<{hashlib.sha256(text.encode()).hexdigest()[:32]}@{domain}>"


def _instant(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise Never(f"the notice's instant is {text!r}; expected RFC 3339") from None


def _charset(data: bytes) -> dict[str, str]:
    """Return the charset parameter of an attachment, or {} if it is not UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return {}
    return {"charset": "utf-8"}
