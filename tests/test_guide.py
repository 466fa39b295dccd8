"""The examples of tests/README.md work."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

EXAMPLES = re.findall(
    r"^## (.+?)$.*?^```python\n(.*?)^```$", (Path(__file__).parent / "README.md").read_text(), re.M | re.S
)


def test_there_are_some() -> None:
    """A daemon, a clock, a full disk, a fleet."""
    assert 4 == len(EXAMPLES)


@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_an_example(name: str, text: str, tmp_path: Path) -> None:
    """It runs as it is written, in at most twenty lines."""
    if "disk" in name and os.geteuid() != 0:
        pytest.skip("needs root")
    assert len(text.splitlines()) <= 20
    exec(compile(text, f"tests/README.md: {name}", "exec"), {"tmp_path": tmp_path})
