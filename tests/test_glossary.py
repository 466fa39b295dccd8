"""The glossary keeps up with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
WORDS, ELSEWHERE = (REPOSITORY / "docs" / "glossary.md").read_text().split("## Words from elsewhere")
OF_CODE = (REPOSITORY / "docs" / "dev" / "glossary.md").read_text()


def rows(text: str) -> list[list[str]]:
    """The cells of a table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("text", [WORDS, ELSEWHERE, OF_CODE], ids=["words", "elsewhere", "of code"])
def test_alphabetical(text: str) -> None:
    """The words are in alphabetical order, each once."""
    words = [re.sub("[^a-z ]", "", row[0].lower()) for row in rows(text)]
    assert sorted(set(words)) == words


@pytest.mark.parametrize("row", rows(WORDS) + rows(OF_CODE), ids=lambda row: row[0])
def test_places_exist(row: list[str]) -> None:
    """Each module that the glossary names exists."""
    places = re.findall("`([^`]+)`", row[2])
    assert places
    assert [] == [place for place in places if not (REPOSITORY / "jobqueued" / place).exists()]
