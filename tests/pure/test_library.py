"""The library: what docs/library.md shows works, and prints what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "library.md").read_text()


def test_the_example_of_the_documentation() -> None:
    """It runs a week, in which the lock and the host are taken in turns, and its first lines are those of the page."""
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    [shown] = re.findall(r"```\n(2026.*?)```", PAGE, re.S)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert shown.splitlines() == lines[:3]
    assert ["2026-03-08T01:30 scrub@1.1", "2026-03-08T03:30 backup@7.1"] == [line for line in lines if "-08T" in line][
        :2
    ]
    assert ["2026-03-04T02:30 report@3.1", "2026-03-04T02:"] == [lines[5], lines[6][:14]]
    assert lines[6].endswith("report@3.2")
    assert len(code.splitlines()) <= 40


def test_the_demonstration() -> None:
    """Real processes start in the order that `why` foretells."""
    root = Path(__file__).parents[2]
    demo, env = root / "docs" / "demo.py", {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, str(demo), "--quick"], capture_output=True, text=True, check=False, timeout=60, env=env
    )
    assert (0, "") == (done.returncode, done.stderr), done.stdout
