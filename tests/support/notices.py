"""Notices as the notifier gets them."""

from __future__ import annotations

import json
from typing import Any

from jobqueued.child.notifier.notice import NoticeToSend, read
from tests.support.records import a_record

SUMMARY = "backup@142 failed after 31 s: exit code 1"


def an_event(**fields: Any) -> dict[str, Any]:
    """A failure of a run, or what `fields` make of it."""
    record = a_record(142, "failed", "backup")
    record["output"] = {**record["output"], "tail": "no space left\n", "bytes": 14}
    return {
        "event": "failure", "host": "db1", "at": "2026-11-26T12:00:00Z", "job": "backup", "run": "backup@142",
        "summary": SUMMARY, "user": "root", "command": "/usr/local/bin/backup --full",
        "incident": {"id": "run backup", "since": "2026-11-26T02:00:00Z", "count": 5, "first_run": "backup@138"},
        "record": record, "held_back": [], "not_shown": 0, **fields,
    }  # fmt: skip


def document(channel: str, target: Any, event: dict[str, Any] | None = None, **settings: Any) -> bytes:
    """The JSON of a notice; a third of `timeout` is the time for one answer."""
    settings = {"timeout": 5, **settings}
    return json.dumps(
        {
            "version": 1,
            "id": "n-142",
            "channel": channel,
            "target": target,
            "settings": settings,
            "event": event or an_event(),
        }
    ).encode()


def a_notice(event: dict[str, Any] | None = None, **settings: Any) -> NoticeToSend:
    """A notice to a webhook, read."""
    return read(document("webhook", "https://example.org/", event, **settings))
