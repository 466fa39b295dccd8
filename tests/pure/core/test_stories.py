"""The stories of tests/scenarios go as they are told there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.stories import retold, stories


@pytest.mark.parametrize("path", stories(), ids=lambda path: path.stem)
def test_story(path: Path) -> None:
    """`python -m tests.support.stories --rewrite` writes what happens now; `git diff` then shows what has changed."""
    assert path.read_text() == retold(path.read_text())


def test_there_are_enough() -> None:
    """They are found."""
    assert len(stories()) >= 40
