"""Descriptions of the problems in a reply of Status, for the daemon and its clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobqueued.base.text import counted


def problem_texts(status: Mapping[str, Any]) -> list[str]:
    """Return all problems in a reply of Status as text, or [] if everything is healthy."""
    wrong = len({problem["file"] for problem in status["problems"] if problem["severity"] == "error"})
    told = [
        (status["reason"] is not None, "the daemon can't save its state"),
        (not status["launcher"], "the launcher does not answer: nothing new starts"),
        (status["held_by"], f"the host is {'draining' if status['draining'] else 'on hold'}: nothing new starts"),
    ]
    words = [text for fact, text in told if fact]
    for count, noun, one, more in (
        (len(status["troubles"]), "problem", "affects the daemon", "affect the daemon"),
        (wrong, "file", "has errors", "have errors"),
        (status["invalid"], "job", "is invalid", "are invalid"),
        (status["failing"], "job", "fails", "fail"),
        (status["missed"], "job", "was missed", "were missed"),
        (status["late"], "run", "is late", "are late"),
        (status["overdue"], "job", "is overdue", "are overdue"),
        (status["outdated"], "job", "is outdated", "are outdated"),
    ):
        if count:
            words.append(f"{counted(count, noun)} {one if count == 1 else more}")
    return words
