"""Packages with tables of cron: two weeks of the real cron and two of jobqueued, on one machine and by the same clock.

The real cron lives on a clock that goes on only while it sleeps, jobqueued under systemd on the machine's own, which is
set into each minute in which something is to start.  In the place of the shell is a recorder.  Without JOBQUEUED_TWIN
it records the starts of the minutes in which something rare or at a fixed hour is due, half of the days, and of those
around a change of the clock; how many starts there are in each other minute is compared all the same.
"""

# vm-run: --timeout 1500 --with opensmtpd-,gcc,libc6-dev,tzdata,at
# vm-run: --with apt-listbugs,apt-show-versions,atop,awstats,calendar,certbot,changetrack,checksecurity,chkrootkit
# vm-run: --with cron-apt,debsums,dlocate,etckeeper,exim4-base,fake-hwclock,integrit,locate,logcheck,logrotate,man-db
# vm-run: --with munin,munin-node,ntpsec,php-common,plocate,popularity-contest,rkhunter,rsnapshot
# vm-run: --with sysstat,tiger,uucp

from __future__ import annotations

import os
import subprocess
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest

from tests.system.twin import cron, forecast, machine
from tests.system.twin.starts import Log, Start, differences
from tests.system.vm import jobs, sh, start, status, until

ZONE = ZoneInfo("Europe/Berlin")
DAY, MINUTE = 24 * 3600, 60
WHOLE = bool(os.environ.get("JOBQUEUED_TWIN"))
RARE = 3
"""What starts so often in a day, or less, does so in each minute that it is due."""
MARK = Path("/run/crond.reboot")
HOUSE = r"""
# What packages have not.
A = "  a  b"
'Q U' = x
30 2 * * *	root	fixed
0,30 2 * * * root two fixed ones
*/30 2 * * * root wild
15 1-3/2 * * * alice  cat%one%two\%three%
@daily  root  daily
0 4 1 * * root first
0 4 * * 1 root monday
0 4 1-31/5 * 1 root or
0 4 */5 * 1 root and
7 6 * * sun,wed alice "quotes" 'and' $VARS \% \\ ~
11 6 * * * nobody nowhere
@reboot alice boot
"""
IN_GAP = "fixed", "two fixed ones", "cat"
"""Its commands that are due in the hour that spring skips."""
ALICE = r"""
SHELL = /bin/sh
PATH=$HOME/bin:/usr/bin
MAILTO=""
HOME=/tmp
@hourly hourly "of alice"
@weekly weekly
0 5 * 10 * tenth
"""
DOCUMENTED = {"umask: cron 2, jobqueued 18", "directory: cron '/var/spool/cron', jobqueued '/'"}
"""What docs/moving-from-cron.md has in its table, beside added variables and blanks before a command."""


def second(*day: int) -> int:
    return int(datetime(*day, tzinfo=ZONE).timestamp())  # type: ignore[arg-type, misc]


class Window(NamedTuple):
    """Two seconds, and two between which each minute counts; of the others those in which something rare starts.

    That on some `days` of the month only, if there are any.
    """

    begin: int
    end: int
    dense: tuple[int, int]
    days: tuple[int, ...] = ()

    def visits(self) -> set[int]:
        """The minutes that are lived through; in the first one @reboot is due."""
        found, days = {self.begin}, 1 + (self.end - self.begin) // DAY
        for job in forecast.jobs(ZONE.key):
            due = list(forecast.minutes(job, self.begin, self.end))
            is_chosen = forecast.of(job).is_fixed or len(due) <= RARE * days
            found |= {minute for minute in due if self._counts(minute, is_chosen=is_chosen)}
        return found

    def _counts(self, minute: int, *, is_chosen: bool) -> bool:
        is_of_days = not self.days or datetime.fromtimestamp(minute, ZONE).day in self.days
        return WHOLE or (is_chosen and is_of_days) or self.dense[0] <= minute < self.dense[1]


CHANGE = second(2025, 10, 26, 2)
AUTUMN = Window(
    second(2025, 10, 19) - MINUTE, second(2025, 11, 2, 7), (CHANGE - 10 * MINUTE, CHANGE + 130 * MINUTE),
    (19, 20, 25, 26, 27, 1, 2),
)  # fmt: skip
"""A Sunday to a Sunday, with the end of the summer time and the first of a month."""
GAP_ENDS = second(2026, 3, 29, 3)
SPRING = Window(second(2026, 3, 29) - MINUTE, second(2026, 3, 29, 5), (GAP_ENDS - 10 * MINUTE, GAP_ENDS + 10 * MINUTE))
SUNDAY = second(2026, 3, 1, 6)
COMMANDS = Window(SUNDAY, SUNDAY + 60 * MINUTE, (SUNDAY + 15 * MINUTE, SUNDAY + 18 * MINUTE))
"""In the morning of a Sunday that is the first of a month."""


@pytest.fixture(scope="module", autouse=True)
def host() -> None:
    """A host with packages, tables of its own and of a user's, in a zone with a summer time."""
    sh("ln", "-sf", f"/usr/share/zoneinfo/{ZONE.key}", "/etc/localtime")
    Path("/etc/timezone").write_text(f"{ZONE.key}\n")
    sh("useradd", "--create-home", "alice")
    Path("/etc/cron.d/house").write_text(HOUSE)
    Path("/tmp/alice").write_text(ALICE)
    sh("crontab", "-u", "alice", "/tmp/alice")
    sh("systemctl", "stop", "cron", "timers.target")
    cron.prepare()


@pytest.fixture(scope="module")
def real() -> dict[Window, list[Start]]:
    """What the real cron has started in the windows; those of COMMANDS were run, too."""
    found = {}
    for window in AUTUMN, SPRING, COMMANDS:
        cron.THROUGH.touch() if window is COMMANDS else None
        starts, decided = cron.live(window.begin, window.end, window.visits())
        found[window] = [start for start in starts if start.minute > window.begin]
        if window is AUTUMN:
            due = (forecast.minutes(job, window.begin, window.end) for job in forecast.jobs(ZONE.key))
            reckoned = Counter(minute for minutes in due for minute in minutes)
            assert reckoned == Counter(at - at % MINUTE for at in decided if at >= window.begin + MINUTE)
            print(f"{reckoned.total()} starts reckoned")
    cron.THROUGH.unlink()
    return found


def test_packages() -> None:
    """At least twenty packages have brought tables or scripts."""
    files = [str(path) for path in Path("/etc").glob("cron.*/*")]
    said = subprocess.run(["dpkg", "-S", *files], capture_output=True, text=True, check=False, timeout=60).stdout
    packages = {line.split(":")[0] for line in said.splitlines() if not line.endswith(".placeholder")}
    print(len(packages), *sorted(packages))
    assert len(packages) >= 20


@pytest.mark.usefixtures("real")
def test_beside_the_real_cron() -> None:
    """The tables are not read, and status says why; they are once cron is removed, and nothing of @reboot starts."""
    MARK.touch()
    sh("systemctl", "start", "cron")
    sh("install", "-Dm644", "systemd/cron.conf", "-t", "/etc/systemd/system/jobqueued.service.d")
    Path("/etc/jobqueued.yaml").write_text("cron: {live: true}\n")
    machine.record()
    log = Log()
    start("jobs: {}")
    assert [] == jobs()
    troubles = status()["troubles"]
    assert "cron" in str(troubles), troubles
    sh("dpkg", "--remove", "--force-depends", "cron")
    sh("systemctl", "restart", "jobqueued")
    until("the jobs", jobs)
    assert (0, [], []) == (len(log.read()), status()["problems"], status()["troubles"])


@pytest.mark.parametrize("window", [AUTUMN, SPRING, COMMANDS], ids=["autumn", "spring", "commands"])
def test_starts(real: dict[Window, list[Start]], window: Window) -> None:
    """Each start in the minutes of a window is what the real cron's is, with the same exit status where it was run."""
    machine.set_clock(window.begin)
    cron.THROUGH.touch() if window is COMMANDS else None
    log = Log()
    start("jobs: {}")
    until("the jobs", jobs)
    theirs = [_settled(start) for start in real[window]]
    if window is SPRING:
        twice = [start for start in theirs if start.command == "two fixed ones"]
        assert [GAP_ENDS, GAP_ENDS] == [start.minute for start in twice]
        theirs.remove(twice[1])
    machine.live(log, theirs)
    until("all runs are over", lambda: not status()["running"])
    cron.THROUGH.unlink(missing_ok=True)
    print(f"{len(theirs)} starts of {len({start.command for start in theirs})} commands compared")
    found = differences(theirs, log.read())
    assert found <= DOCUMENTED, "\n".join(sorted(found))
    if window is AUTUMN:
        assert DOCUMENTED == found


def _settled(start: Start) -> Start:
    """The real cron takes a pause between what it makes good after a gap."""
    is_late = start.command in IN_GAP and GAP_ENDS <= start.second < GAP_ENDS + 5 * MINUTE
    return start._replace(second=GAP_ENDS) if is_late else start
