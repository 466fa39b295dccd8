"""What `python -m tests.power.breaks` breaks on purpose is still in the code."""

from __future__ import annotations

import pytest

from tests.power.breaks import BREAKS
from tests.support import REPO


@pytest.mark.parametrize("name", BREAKS)
def test_it_is_there(name: str) -> None:
    """Once in its file, so that the break is what its name says."""
    made = BREAKS[name]
    assert 1 == (REPO / "jobqueued" / made.file).read_text().count(made.text)
