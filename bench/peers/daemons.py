"""The daemons that are compared, each with the same jobs in its own words."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from bench.peers.installs import Installs
from bench.rig import ROOT

_PERMIT = "".join(f"{kind} required pam_permit.so\n" for kind in ("auth", "account", "session"))
_A_FILE = 1000
"""So many jobs are in one file of ours."""


class Jobs(NamedTuple):
    """So many jobs, each of which runs `command` once a day, at `due` (UTC, to the minute); None: in each second."""

    count: int
    due: datetime | None
    command: tuple[str, ...]
    shell: bool
    """True: the command is a line for /bin/sh -c; False: it is executed as it stands."""
    user: str = ""
    """Whose jobs they are; "": root's."""

    @property
    def schedule(self) -> str:
        """As in a crontab."""
        return "* * * * *" if self.due is None else f"{self.due.minute} {self.due.hour} * * *"

    @property
    def words(self) -> str:
        """The command in JSON, which is YAML, too."""
        return json.dumps(" ".join(self.command) if self.shell else self.command)


class Daemon(NamedTuple):
    """One of them; `begin` fills the directory that it gets, and says the command and what its environment has."""

    name: str
    is_cron: bool
    """It gives each command to a shell, and knows no seconds."""
    begin: Callable[[Path, Installs, Jobs], tuple[list[str], dict[str, str]]]


def _ours(home: Path, _installs: Installs, jobs: Jobs) -> tuple[list[str], dict[str, str]]:
    more = (', seconds: "*"' if jobs.due is None else "") + (f", user: {jobs.user}" if jobs.user else "")
    files = home / "root" / "jobqueue.d"
    files.mkdir(parents=True)
    (home / "root" / "jobqueued.yaml").write_text("{}\n")
    for first in range(0, jobs.count, _A_FILE):
        lines = (
            f'  job-{number:05}: {{command: {jobs.words}, schedule: "{jobs.schedule}"{more}}}\n'
            for number in range(first, min(first + _A_FILE, jobs.count))
        )
        (files / f"{first:05}.yaml").write_text("defaults: {timezone: UTC}\njobs:\n" + "".join(lines))
    command = [sys.executable, "-m", "jobqueued", "--root", str(home / "root"), "--run", str(home / "tmpfs")]
    return [*command, "--log", "json"], {"PYTHONPATH": str(ROOT)}


def _cronstable(home: Path, installs: Installs, jobs: Jobs, state: str = "") -> tuple[list[str], dict[str, str]]:
    schedule = "* * * * * * *" if jobs.due is None else jobs.schedule
    words = json.dumps(" ".join(jobs.command)) if jobs.shell else "".join(f"\n      - {it}" for it in jobs.command)
    lines = (
        f'  - name: job-{number:05}\n    command: {words}\n    schedule: "{schedule}"\n    utc: true\n'
        + (f"    user: {jobs.user}\n" if jobs.user else "")
        for number in range(jobs.count)
    )
    (home / "jobs.yaml").write_text(state + "jobs:\n" + "".join(lines))
    return [str(installs.cronstable), "-c", str(home / "jobs.yaml")], {}


def _cronstable_with_state(home: Path, installs: Installs, jobs: Jobs) -> tuple[list[str], dict[str, str]]:
    return _cronstable(home, installs, jobs, f"state:\n  path: {home / 'state'}\n")


def system(home: Path, *directories: str) -> None:
    """Make what a daemon of a package sees as /etc, /run and /var/spool, with more directories."""
    for name in ("etc/pam.d", "run", *directories):
        (home / name).mkdir(parents=True)
    for name in ("passwd", "group", "ld.so.cache"):
        shutil.copy(Path("/etc") / name, home / "etc")
    (home / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\n")
    (home / "etc/pam.d/other").write_text(_PERMIT)


def _crontab(home: Path, jobs: Jobs) -> None:
    system(home, "etc/cron.d", "spool/cron/crontabs")
    line = f"{jobs.schedule} {jobs.user or 'root'} {' '.join(jobs.command)}\n"
    (home / "etc/cron.d/bench").write_text('MAILTO=""\nHOME=/\n' + line * jobs.count)


def _debian_cron(home: Path, installs: Installs, jobs: Jobs) -> tuple[list[str], dict[str, str]]:
    _crontab(home, jobs)
    return [str(installs.root / "usr/sbin/cron"), "-f", "-L", "0"], {}


def _cronie(home: Path, installs: Installs, jobs: Jobs) -> tuple[list[str], dict[str, str]]:
    _crontab(home, jobs)
    return [str(installs.root / "usr/sbin/crond"), "-n"], {}


DAEMONS = (
    Daemon("jobqueued", False, _ours),
    Daemon("cronstable", False, _cronstable),
    Daemon("cronstable with state", False, _cronstable_with_state),
    Daemon("cronie", True, _cronie),
    Daemon("Debian cron", True, _debian_cron),
)
ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
