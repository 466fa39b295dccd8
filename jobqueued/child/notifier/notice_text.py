"""A notice in words: the text for people, and the templates that put the same values into words of their own."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from jobqueued.child.notifier import template as templates
from jobqueued.child.notifier.notice import Event, Never, Notice
from jobqueued.child.text import printable

_INFO, _WARNING, _ERROR, _CRITICAL = "info", "warning", "error", "critical"
_SEVERITY = {
    "failure": _ERROR, "timeout": _ERROR, "oom": _ERROR, "lost": _ERROR, "config_error": _ERROR,
    "degraded": _CRITICAL, "recovery": _INFO, "success": _INFO, "output": _INFO, "test": _INFO,
    "digest": _INFO,
}  # fmt: skip
"""What is not named is a warning."""
_PRIORITY = {_INFO: 2, _WARNING: 3, _ERROR: 4, _CRITICAL: 5}
_OVER = ("recovery", "success")
_ABOUT_FILES = ("config_error",)
_TITLE, _SUMMARY, _TAIL = 120, 1000, 1800
"""Characters: Opsgenie takes 130 for a message, Slack 3,000 for a block, and both refuse what is longer."""

_TOKEN = re.compile(r"[\w-]{16,}")
"""A word of a template that may be a key."""


def _severity(event: Event) -> str:
    """Of an event; of several together that of the worst."""
    parts = [each["event"] for each in event.get("held_back") or ()] or [event["event"]]
    return max((_SEVERITY.get(part, _WARNING) for part in parts), key=_PRIORITY.__getitem__)


def values(notice: Notice) -> dict[str, str | int]:
    """All that a template may name, no longer than the receivers of docs/notices.md take it."""
    event = notice.event
    record, incident = event.get("record"), event.get("incident")
    severity = _severity(event)
    tail = shown(record["output"]["tail"])[-_TAIL:] if record else ""
    return {
        "id": notice.id, "event": event["event"], "host": event["host"], "at": event["at"],
        "title": cut(event["summary"], _TITLE), "summary": cut(event["summary"], _SUMMARY),
        "job": event.get("job") or "", "run": event.get("run") or "",
        "user": event.get("user") or "", "command": command(event),
        "incident": incident["id"] if incident else notice.id,
        "since": incident["since"] if incident else event["at"], "count": incident["count"] if incident else 1,
        "first_run": (incident["first_run"] if incident else event.get("run")) or "",
        "state": record["state"] if record else "", "reason": (record["reason"] if record else "") or "",
        "tail": tail.rstrip("\n"),
        "held_back": "\n".join(held_back(event)), "hints": "\n".join(hints(event)),
        "severity": severity, "priority": _PRIORITY[severity],
        "action": "resolve" if event["event"] in _OVER else "trigger",
    }  # fmt: skip


def fill(template: str, notice: Notice, *, as_json: bool) -> str:
    """The text of a template; `as_json`: it is JSON, and values stand within its strings.  Never says what is wrong."""
    notice.secrets.extend(_TOKEN.findall(template))
    try:
        return templates.fill(template, values(notice), as_json=as_json)
    except templates.Flaw as error:
        raise Never(f"template: {templates.Flaw(notice.quoted(error.found), error.accepted)}") from None


def command(event: Event) -> str:
    """The command as one line, "" where there is none; one that is a line stays as it is."""
    words = event.get("command") or ""
    if isinstance(words, str):
        return printable(" ".join(words.split()) if "\n" in words else words)
    return printable(shlex.join(words))


def cut(text: str, length: int) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def shown(output: str) -> str:
    """Output with all that could move a cursor made visible; lines stay lines."""
    return printable(output.replace("\r\n", "\n"), keep="\n\t")


def body(notice: Notice, output: str) -> str:
    """The whole text for people; `output`: what is shown of the run's, with a word on the rest of it."""
    event = notice.event
    blocks = [printable(event["summary"]), "\n".join(_facts(event)), "\n".join(hints(event)), output]
    if held := "\n".join(held_back(event)):
        blocks.append(f"Held back since the last notice:\n{held}")
    blocks += _held_outputs(event)
    return "\n\n".join(block for block in blocks if block) + "\n"


def _held_outputs(event: Event) -> Iterator[str]:
    """The end of each output that has no mail of its own, and the command that prints all of it."""
    for held in event.get("held_back") or ():
        if tail := shown(held.get("tail") or "").strip("\n"):
            yield f"$ jobqueuectl logs {printable(held.get('run') or '')}\n{tail}"


def _facts(event: Event) -> Iterator[str]:
    """Place and time, what it was, and since when."""
    yield f"host      {printable(event['host'])}"
    yield f"at        {printable(event['at'])}"
    if said := command(event):
        yield f"command   {said}"
    if user := event.get("user"):
        yield f"user      {printable(user)}"
    if incident := event.get("incident"):
        first = f", the first was {printable(incident['first_run'])}" if incident["first_run"] else ""
        yield f"incident  since {printable(incident['since'])}, {incident['count']} so far{first}"


def hints(event: Event) -> list[str]:
    """The commands that tell more."""
    if run := printable(event.get("run") or ""):
        return [f"jobqueuectl show {run}", f"jobqueuectl logs {run}"]
    if event["event"] in _ABOUT_FILES:
        return ["jobqueuectl check"]
    job = printable(event.get("job") or "")
    return [f"jobqueuectl show {job}", f"jobqueuectl why {job}"] if job else ["jobqueuectl status"]


def held_back(event: Event) -> list[str]:
    """A line for each notice that was held back, and one for those that are not shown."""
    lines = [
        printable(f"{held['count']} × {held['summary']}" if held["count"] > 1 else held["summary"])
        for held in event.get("held_back") or ()
    ]
    more = event.get("not_shown") or 0
    return [*lines, f"and {more} more"] if more else lines
