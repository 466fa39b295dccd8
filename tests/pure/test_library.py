"""The library: what docs/library.md shows works, and prints what it says."""

from __future__ import annotations

import re

import pytest

from tests.support import REPO

PAGE = (REPO / "docs" / "library.md").read_text()


def test_the_example_of_the_documentation(capsys: pytest.CaptureFixture[str]) -> None:
    """It runs a week, in which the lock and the host are taken in turns, and its first lines are those of the page."""
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    [shown] = re.findall(r"```\n(2026.*?)```", PAGE, re.S)
    exec(compile(code, "library.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert shown.splitlines() == lines[:3]
    assert ["2026-03-08T01:30 scrub@1.1", "2026-03-08T03:30 backup@7.1"] == [line for line in lines if "-08T" in line][
        :2
    ]
    assert ["2026-03-04T02:30 report@3.1", "2026-03-04T02:"] == [lines[5], lines[6][:14]]
    assert lines[6].endswith("report@3.2")
    assert len(code.splitlines()) <= 40
