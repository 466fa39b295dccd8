"""jobqueued on this machine, and its clock, which is set into each minute in which something is to start."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from jobqueued.ctl.base.client import ask
from tests.system.twin.cron import RECORDER, SHELL
from tests.system.twin.starts import Log, Start
from tests.system.vm import sh, until

INTO = 15
"""Seconds of a minute that have passed when the clock is set: more than those in which starts count as a storm."""
HOUR = 3600
CONTROL = Path("/run/jobqueue/control")
DROP_IN = Path("/etc/systemd/system/jobqueued-launcher.service.d/recorder.conf")


def record() -> None:
    """Put the recorder into the place of the shell, for the launcher and the jobs."""
    DROP_IN.parent.mkdir(exist_ok=True)
    DROP_IN.write_text(f"[Service]\nBindPaths={RECORDER}:{SHELL}\n")
    sh("systemctl", "daemon-reload")


def set_clock(second: int) -> None:
    time.clock_settime(time.CLOCK_REALTIME, second)


def live(log: Log, theirs: Iterable[Start]) -> None:
    """Set the clock into each minute in which the real cron has started something, and wait until there are as many.

    Over a longer while it is set to the minute before first: a step of more than 3 h counts as a correction of the
    clock, which makes nothing due.
    """
    whole, last = len(log.read()), 0
    for minute, group in groupby(sorted(theirs, key=attrgetter("minute")), key=attrgetter("minute")):
        if minute - last > 3 * HOUR - 2 * INTO:
            set_clock(minute - INTO)
            ask(CONTROL, "Status")
        last = minute
        set_clock(minute + INTO)
        commands = [start.command for start in group]
        whole += len(commands)
        until(f"{whole} starts by {minute}: {commands}", partial(_has, log, whole), pause=0.002)


def _has(log: Log, count: int) -> bool:
    return len(log.read()) >= count
