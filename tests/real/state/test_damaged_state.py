"""A state.db damaged in each way of docs/dev/power.md: it starts, nothing is lost in silence, and no run repeats."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.damages import ALL, GOES_ON, HEAD, WAYS, Left, build, outcome, table

SILENT = {"the log is cut within a frame": "its last commit is gone, and no record tells of that"}
"""What is lost there, nobody can tell; docs/bad-days.md says so."""


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    """The state of a host in use."""
    return build(tmp_path_factory.mktemp("left"))


@pytest.mark.parametrize("way", WAYS)
def test_way(left: Left, tmp_path: Path, way: str) -> None:
    """It is as the table has it: python -m tests.support.damages --write."""
    found = outcome(left, way, tmp_path / "host")
    assert found.row(way) in table().splitlines()
    assert found.survives == "all" or found.said or way in SILENT
    assert found.becomes != GOES_ON or found.survives == "all" or way in SILENT


def test_table() -> None:
    """The table has every way, and each one once."""
    rows = table().removeprefix(HEAD).splitlines()
    assert list(WAYS) == [row.split(" | ")[0].removeprefix("| ") for row in rows]


def test_survivors_are_whole(left: Left, tmp_path: Path) -> None:
    """Where nothing is damaged all is there, so that a start can miss any of it."""
    WAYS["nothing"] = lambda _state, _left: None
    try:
        assert ("all", "") == outcome(left, "nothing", tmp_path / "host")[1:]
    finally:
        del WAYS["nothing"]
    assert len(ALL) == 7
