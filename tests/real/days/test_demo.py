"""docs/demo.py: what it says of a real daemon comes true."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support import REPO
from tests.support.host import DEADLINE


def test_the_demonstration() -> None:
    """Real processes start in the order that `why` foretells."""
    command = [sys.executable, str(REPO / "docs" / "demo.py"), "--quick"]
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=2 * DEADLINE, env=env)
    assert (0, "") == (done.returncode, done.stderr), done.stdout
