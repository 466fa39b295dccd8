"""Notices in words, and the templates that docs/notices.md recommends."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.child.notifier import notice_text
from jobqueued.child.notifier.webhook import wait
from tests.support import REPO
from tests.support.notices import a_notice, an_event
from tests.support.records import a_record

DOCS = (REPO / "docs/notices.md").read_text()
RECIPES = dict(re.findall(r"^### (\w+)\n.*?^```text\n(.*?)^```$", DOCS.partition("## Recipes")[2], re.S | re.M))
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)

HOSTILE = 'a "quote" \\ $job ${x} \n\r\t\0\x1b[2J </script> \u2028 grün ``` ' * 100


def hostile(event: str = "failure") -> dict[str, Any]:
    """Everything that can be long and strange is."""
    record = {**a_record(142, "failed", "backup"), "reason": HOSTILE}
    record["output"] = {**record["output"], "tail": HOSTILE}
    held = [{"event": "late", "summary": HOSTILE, "count": 2}]
    return an_event(event=event, summary=HOSTILE, command=HOSTILE, user=HOSTILE, record=record, held_back=held)


def bare() -> dict[str, Any]:
    """Nothing that need not be there is."""
    return {"event": "degraded", "host": "db1", "at": "2026-11-26T12:00:00Z", "summary": "x"}


class TestRecipes:
    """The recipes."""

    def test_are_there(self) -> None:
        """For each of those that people asked for."""
        assert ["Slack", "Mattermost", "ntfy", "Gotify", "PagerDuty", "Opsgenie"] == list(RECIPES)

    @pytest.mark.parametrize("name", RECIPES)
    @pytest.mark.parametrize("event", [an_event(), hostile(), bare()], ids=["usual", "hostile", "bare"])
    def test_make_json(self, name: str, event: dict[str, Any]) -> None:
        """An object, whatever is in the notice."""
        made = json.loads(notice_text.fill(RECIPES[name], a_notice(event), as_json=True))
        assert isinstance(made, dict)

    @pytest.mark.parametrize("event", [hostile(), bare()], ids=["hostile", "bare"])
    def test_fit(self, event: dict[str, Any]) -> None:
        """What they make is neither empty nor longer than its receiver takes it."""
        made = {
            name: json.loads(notice_text.fill(text, a_notice(event), as_json=True)) for name, text in RECIPES.items()
        }
        assert 0 < len(made["Slack"]["blocks"][0]["text"]["text"]) <= 3000
        assert 0 < len(made["Opsgenie"]["message"]) <= 130
        assert 0 < len(made["PagerDuty"]["payload"]["summary"]) <= 1024
        assert made["ntfy"]["priority"] in range(1, 6)

    def test_pagerduty(self) -> None:
        """The recovery of an incident has its key, and resolves it."""
        begin, end = (
            json.loads(notice_text.fill(RECIPES["PagerDuty"], a_notice(an_event(event=event)), as_json=True))
            for event in ("failure", "recovery")
        )
        assert ("trigger", "resolve") == (begin["event_action"], end["event_action"])
        assert begin["dedup_key"] == end["dedup_key"] == "run backup"
        assert ("error", "info") == (begin["payload"]["severity"], end["payload"]["severity"])


def test_names_are_in_the_docs() -> None:
    """docs/notices.md has every name that a template may use."""
    table = DOCS.partition("## Templates")[2].partition("## Recipes")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert sorted(notice_text.values(a_notice())) == sorted(re.findall("`([a-z_]+)`", "".join(rows)))


@given(st.text(), st.text())
def test_values_go_into_json(summary: str, tail: str) -> None:
    """Each text comes out of the JSON as it is in the notice."""
    record = a_record(1, "failed")
    record["output"] = {**record["output"], "tail": tail}
    notice = a_notice(an_event(summary=summary, record=record))
    made = json.loads(notice_text.fill('{"a": "$summary", "b": "$tail"}', notice, as_json=True))
    known = notice_text.values(notice)
    assert made == {"a": known["summary"], "b": known["tail"]}


@pytest.mark.parametrize(
    ("fields", "hints"),
    [
        ({}, ["jobqueuectl show backup@142", "jobqueuectl logs backup@142"]),
        ({"run": None}, ["jobqueuectl show backup", "jobqueuectl why backup"]),
        ({"run": None, "job": None}, ["jobqueuectl status"]),
        ({"run": None, "job": None, "event": "config_error"}, ["jobqueuectl check"]),
    ],
)
def test_hints(fields: dict[str, Any], hints: list[str]) -> None:
    """They are commands that there are, about what the notice is about."""
    assert notice_text.hints(a_notice(an_event(**fields)).event) == hints


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("", 0), ("0", 0), ("120", 120), ("86401", 86400), ("1e3", 0), (" 5", 0),
        ("Thu, 26 Nov 2026 12:10:00 GMT", 600), ("Thu, 26 Nov 2026 13:10:00 +0100", 600),
        ("Thu, 26 Nov 2026 12:10:00 -0000", 600), ("Thursday, 26-Nov-26 12:10:00 GMT", 600),
        ("Thu, 26 Nov 2026 11:00:00 GMT", 0), ("Thu, 26 Nov 2126 12:00:00 GMT", 86400),
        ("Thu, 99 Nov 2026 12:00:00 GMT", 0),
    ],
)  # fmt: skip
def test_retry_after(said: str, seconds: int) -> None:
    """Seconds or an instant, as RFC 9110 has it; what is neither counts for nothing."""
    assert seconds == wait(said, NOW)


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ [+-]?\w*"))
def test_retry_after_is_bounded(said: str) -> None:
    """Whatever stands there."""
    assert 0 <= wait(said, NOW) <= timedelta(days=1).total_seconds()
