"""axe-core, which finds what is in the way of people, by the rules of WCAG 2.2 A and AA and by its best practices."""

from __future__ import annotations

from tests.support import REPO
from tests.support.chromium import Browser

_AXE = REPO / "build" / "axe" / "axe_playwright_python" / "axe.min.js"


def violations(chromium: Browser) -> list[tuple[str, list[str]]]:
    """The rules that the page breaks, and where; AssertionError if it was hardly looked at."""
    chromium.tell(_AXE.read_text())
    found = chromium.tell("axe.run()")
    assert len(found["passes"]) > 10
    return [(it["id"], [node["html"] for node in it["nodes"]]) for it in found["violations"]]
