"""A bad day in short: the program of `make chaos` itself, with few jobs that take no time, and a handful of faults."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support import REPO
from tests.support.users import NEEDS_ROOT

SHORT = "kill,stop,journald,removed,refuse"
LONGEST_WAIT = 300


@NEEDS_ROOT
def test_a_short_one(tmp_path: Path) -> None:
    """No promise is broken, and the figures tell that there was something to break."""
    figures = tmp_path / "figures"
    words = ["--seed", "3", "--minutes", "0.04", "--jobs", "12", "--rate", "3", "--pace", "9", "--only", SHORT]
    command = [sys.executable, "-m", "tests.chaos", *words, "--markdown", str(figures)]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=LONGEST_WAIT, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    told = dict(line.strip("| ").split(" | ") for line in figures.read_text().splitlines() if line.startswith("| "))
    assert int(told["faults"]) > 0
    assert int(told["runs that were started"]) > 10
    assert ["0", "0", "0"] == [told[name] for name in ("doubled", "lost", "violated")]
