"""`make install` and `make uninstall`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def test_install_and_uninstall(tmp_path: Path) -> None:
    """`make uninstall` leaves nothing of what `make install` has put there, but for /etc."""
    for target in ("install", "uninstall"):
        words = ["make", "-s", "-C", str(Path(__file__).parents[3]), target, f"DESTDIR={tmp_path}"]
        subprocess.run(words, check=True, capture_output=True)
        found = [path for path in tmp_path.rglob("*") if path.is_file() and "etc" not in path.parts]
        assert bool(found) == (target == "install"), found
        if target == "install":
            names = {path.name for path in found}
            assert {"_jobqueuectl", "jobqueuectl.fish", "README.md", "jobqueuectl.1", "time.md"} <= names
            assert {"jobqueued", "jobqueuectl", "jobqueue-fence", "jobqueue-fence.1"} <= names
            examples = {path.name for path in found if path.parent.name == "examples"}
            assert {"jobqueued.yaml", "examples.yaml", "cron.conf"} == examples, "not what users saved beside them"
            programs = ("jobqueued", "jobqueue-fence", "crontab", "at", "batch")
            assert [True] * 5 == [os.access(path, os.X_OK) for path in found if path.name in programs]
