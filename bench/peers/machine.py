"""Timers of systemd, and systemd-run with limits, beside us: all of one round in a machine that is made for it.

The machine is that of `make system` (tests/system/vm-run): User-mode Linux has one CPU, and system calls that are
several times as slow, so only the ratios within a round say something.  guest.py is what goes on in it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from bench.peers.burst import BUSY, TooBusy
from bench.peers.hosts import Others
from bench.peers.installs import CannotRun, Installs
from bench.rig import ROOT, children_cpu

COUNT = 300
_SECONDS = 3600


def machine(installs: Installs, count: int = COUNT) -> dict[str, Any]:
    """One round: by comparison and by who starts the jobs, the figures; the version of systemd.  TooBusy, CannotRun."""
    with tempfile.TemporaryDirectory(prefix="peers-", dir="/var/tmp", ignore_cleanup_errors=True) as folder:
        out = Path(folder)
        for program in (installs.stamp, installs.spawn_loop):
            shutil.copy(program, out)
        others, used = Others(), children_cpu()
        vm = [str(ROOT / "tests/system/vm-run"), "--src", str(ROOT), "--out", folder]
        inside = ["env", "PYTHONPATH=/src", "python3", "-m", "bench.peers.guest", "/out", str(count)]
        command = [*vm, "--timeout", str(_SECONDS), "--", *inside]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotRun(f"the machine with systemd: {(done.stdout + done.stderr)[-2000:]}")
        if (share := others.share(children_cpu() - used)) > BUSY:
            raise TooBusy(f"the machine with systemd: other processes took {share:.2f} CPUs")
        found: dict[str, Any] = json.loads((out / "guest.json").read_text())
        return found
