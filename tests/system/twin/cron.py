"""The real cron of this machine, on its tables, with a clock that goes on only while it sleeps."""

from __future__ import annotations

import shutil
import subprocess
from array import array
from collections.abc import Collection
from pathlib import Path

from tests.system.twin.starts import DIRECTORY, Log, Start
from tests.system.vm import sh

SOURCES = Path(__file__).parent
RECORDER, CLOCK, VISITS = DIRECTORY / "recorder", DIRECTORY / "clock.so", DIRECTORY / "visits"
THROUGH = DIRECTORY / "through"
"""Where it is, commands are run, too."""
SHELL = "/usr/bin/dash"
REBOOTED = Path("/run/crond.reboot")
"""The mark of Debian's cron that a boot is over."""
NAMESPACE = f"""set -e
mount --bind {RECORDER} {SHELL}
mount -t tmpfs none /run/systemd/journal
exec env LD_PRELOAD={CLOCK} "$@" /usr/sbin/cron -f
"""
"""Without the journal: the lines of its starts would take longer than they do."""


def prepare() -> None:
    """Make the recorder and the clock, and a place for what they write."""
    DIRECTORY.mkdir()
    shutil.copy(SHELL, DIRECTORY / "sh")
    options = ["cc", "-O2", f'-DDIRECTORY="{DIRECTORY}"']
    sh(*options, "-static", str(SOURCES / "recorder.c"), "-o", str(RECORDER))
    sh(*options, "-shared", "-fPIC", str(SOURCES / "clock.c"), "-o", str(CLOCK))


def live(begin: int, end: int, visits: Collection[int] | None = None) -> tuple[list[Start], list[int]]:
    """Let the real cron live from one second to another; what it has started in the minutes `visits` (None: in all).

    And the second of each start that it has decided on, of all minutes.
    """
    log = Log()
    REBOOTED.unlink(missing_ok=True)
    VISITS.unlink(missing_ok=True)
    if visits is not None:
        VISITS.write_bytes(array("q", sorted(visits)).tobytes())
    command = ["unshare", "--mount", "--", "sh", "-c", NAMESPACE, "sh", f"TWIN_FROM={begin}", f"TWIN_UNTIL={end}"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert (0, "") == (done.returncode, done.stdout + done.stderr)
    (DIRECTORY / "clock").unlink()
    return log.read(), array("q", (DIRECTORY / "decided").read_bytes()).tolist()
