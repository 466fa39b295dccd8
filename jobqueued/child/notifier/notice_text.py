"""The text of a notice for people, and the values for templates."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from jobqueued.child.contract.text import counted, printable
from jobqueued.child.notifier import template as templates
from jobqueued.child.notifier.notice import Never, NoticeEvent, NoticeToSend

_INFO, _WARNING, _ERROR, _CRITICAL = "info", "warning", "error", "critical"
_SEVERITY = {
    "failure": _ERROR,
    "timeout": _ERROR,
    "oom": _ERROR,
    "lost": _ERROR,
    "config_error": _ERROR,
    "degraded": _CRITICAL,
    "recovery": _INFO,
    "success": _INFO,
    "output": _INFO,
    "test": _INFO,
    "digest": _INFO,
}
"""Event → severity; other events are warnings."""
_PRIORITY = {_INFO: 2, _WARNING: 3, _ERROR: 4, _CRITICAL: 5}
_OVER = ("recovery", "success")
_ABOUT_FILES = ("config_error",)
_TITLE, _SUMMARY, _TAIL = 120, 1000, 1800
"""Maximum characters. Opsgenie refuses messages of more than 130 characters, Slack blocks of more than 3,000."""

_TOKEN = re.compile(r"[\w-]{16,}")
"""A word in a template that may be a secret key."""


def _severity(event: NoticeEvent) -> str:
    """Return the severity of an event, or the worst severity in a digest."""
    parts = [each["event"] for each in event.get("held_back") or ()] or [event["event"]]
    return max((_SEVERITY.get(part, _WARNING) for part in parts), key=_PRIORITY.__getitem__)


def values(notice: NoticeToSend) -> dict[str, str | int]:
    """Return template name → value, cut to lengths that the receivers in docs/notices.md accept."""
    event = notice.event
    record, incident = event.get("record"), event.get("incident")
    severity = _severity(event)
    tail = shown(record["output"]["tail"])[-_TAIL:] if record else ""
    return {
        "id": notice.id,
        "event": event["event"],
        "host": event["host"],
        "at": event["at"],
        "title": cut(event["summary"], _TITLE),
        "summary": cut(event["summary"], _SUMMARY),
        "job": event.get("job") or "",
        "run": event.get("run") or "",
        "user": event.get("user") or "",
        "command": command(event),
        "incident": incident["id"] if incident else notice.id,
        "since": incident["since"] if incident else event["at"],
        "count": incident["count"] if incident else 1,
        "first_run": (incident["first_run"] if incident else event.get("run")) or "",
        "state": record["state"] if record else "",
        "reason": (record["reason"] if record else "") or "",
        "tail": tail.rstrip("\n"),
        "held_back": "\n".join(held_back(event)),
        "hints": "\n".join(hints(event)),
        "severity": severity,
        "priority": _PRIORITY[severity],
        "action": "resolve" if event["event"] in _OVER else "trigger",
    }


def fill(template: str, notice: NoticeToSend, *, as_json: bool) -> str:
    """Return the text of a filled template. `as_json`: values are escaped for JSON strings. Raises Never."""
    notice.secrets.extend(_TOKEN.findall(template))
    try:
        return templates.fill(template, values(notice), as_json=as_json)
    except templates.TemplateFlaw as error:
        raise Never(f"template: {templates.TemplateFlaw(notice.quoted(error.found), error.accepted)}") from None


def command(event: NoticeEvent) -> str:
    """Return the command as one line, or "" if there is no command. A command of one line is unchanged."""
    words = event.get("command") or ""
    if isinstance(words, str):
        return printable(" ".join(words.split()) if "\n" in words else words)
    return printable(shlex.join(words))


def cut(text: str, length: int) -> str:
    """Return the text, cut to `length` with an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def shown(output: str) -> str:
    """Escape characters in output that could move a cursor, except line ends."""
    return printable(output.replace("\r\n", "\n"), keep="\n\t")


def body(notice: NoticeToSend, output: str) -> str:
    """Return the whole text for people. `output`: the shown part of the run's output, and where the rest is."""
    event = notice.event
    blocks = [printable(event["summary"]), "\n".join(_facts(event)), "\n".join(hints(event)), output]
    if held := "\n".join(held_back(event)):
        blocks.append(f"Held back since the last notice:\n{held}")
    blocks += _held_outputs(event)
    return "\n\n".join(block for block in blocks if block) + "\n"


def _held_outputs(event: NoticeEvent) -> Iterator[str]:
    """Yield the end of each output that has no separate mail, with the command that prints the whole output."""
    for held in event.get("held_back") or ():
        if tail := shown(held.get("tail") or "").strip("\n"):
            yield f"$ jobqueuectl logs {printable(held.get('run') or '')}\n{tail}"


def _facts(event: NoticeEvent) -> Iterator[str]:
    """Yield lines with host, time, command, user and incident."""
    yield f"host      {printable(event['host'])}"
    yield f"at        {printable(event['at'])}"
    if said := command(event):
        yield f"command   {said}"
    if user := event.get("user"):
        yield f"user      {printable(user)}"
    if incident := event.get("incident"):
        first = f", first run {printable(incident['first_run'])}" if incident["first_run"] else ""
        yield f"incident  since {printable(incident['since'])}, {counted(incident['count'], 'time')} so far{first}"


def hints(event: NoticeEvent) -> list[str]:
    """Return commands that show more about the event."""
    if run := printable(event.get("run") or ""):
        return [f"jobqueuectl show {run}", f"jobqueuectl logs {run}"]
    if event["event"] in _ABOUT_FILES:
        return ["jobqueuectl check"]
    job = printable(event.get("job") or "")
    return [f"jobqueuectl show {job}", f"jobqueuectl why {job}"] if job else ["jobqueuectl status"]


def held_back(event: NoticeEvent) -> list[str]:
    """Return a line for each notice that was held back, and a line with the number of omitted notices."""
    lines = [
        printable(f"{held['count']} × {held['summary']}" if held["count"] > 1 else held["summary"])
        for held in event.get("held_back") or ()
    ]
    more = event.get("not_shown") or 0
    return [*lines, f"and {more} more"] if more else lines
