"""The real daemons: fetched, not installed, and run under a faked clock in namespaces of their own."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.realcron.matrix import Window

PACKAGES = ("cron", "cronie", "libfaketime")
ZONES = Path("/usr/share/zoneinfo")
PERMIT = "".join(f"{kind} required pam_permit.so\n" for kind in ("auth", "account", "session"))
SPARE_SECONDS = 2
"""A daemon runs so much longer than its window takes, for a slow start."""
CHILD = 2
"""The daemon's process id in its namespace, after timeout's; libfaketime names its shared memory by it."""
SETUP = """set -e
mount --bind "$1/etc" /etc
mount --bind "$1/run" /run
mount --bind "$1/spool" /var/spool
mount -t tmpfs none /dev/shm
shift
exec env "$@"
"""


@dataclass(frozen=True, slots=True)
class Daemon:
    """A cron: its name, and the command that keeps it in the foreground."""

    name: str
    command: tuple[str, ...]


DAEMONS = (Daemon("Debian cron", ("usr/sbin/cron", "-f", "-L", "0")), Daemon("cronie", ("usr/sbin/crond", "-n")))


class CannotRun(Exception):
    """The comparison cannot take place here; the message says what is missing."""


def fetch(folder: Path) -> Path:
    """Unpack the packages side by side, which conflict when installed; return the root of that tree."""
    root = folder / "root"
    for package in PACKAGES:
        command = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package]
        got = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if got.returncode:
            raise CannotRun(f"Debian's package {package} is missing (apt-get update first?): {got.stderr.strip()}")
    for archive in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", archive, root], check=True)
    return root


def versions(folder: Path) -> str:
    """The upstream versions of the two crons, from the names of their packages."""
    found = {path.name.split("_")[0]: path.name.split("_")[1] for path in folder.glob("*.deb")}
    return ", ".join(f"{name} {found[name].rpartition('-')[0]}" for name in PACKAGES[:2])


def check_machine() -> None:
    """Raise CannotRun unless there are zones, and this process may make mount and process namespaces."""
    if not ZONES.is_dir():
        raise CannotRun("Debian's package tzdata is missing")
    command = ["unshare", "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "none", "/mnt"]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    if tried.returncode:
        said = tried.stderr.strip()
        raise CannotRun(f"private namespaces are refused here (be root; in a container, allow unshare): {said}")


def library(root: Path) -> Path:
    """The library that fakes the time of single-threaded programs."""
    return next(root.glob("usr/lib/*/faketime/libfaketime.so.1"))


def faking(window: Window, root: Path) -> dict[str, str]:
    """The environment in which time begins at the window's start, for the daemon and for its jobs."""
    return {
        "LD_PRELOAD": str(library(root)),
        "FAKETIME": f"@{window.start.timestamp():.0f} x{window.rate:.3f}",
        "FAKETIME_FMT": "%s",
        "FAKETIME_DONT_RESET": "1",
        "NO_FAKE_STAT": "1",
    }


def make_home(home: Path, zone: str) -> None:
    """Make the directories that a daemon sees as /etc, /run and /var/spool."""
    for name in ("etc/pam.d", "etc/cron.d", "run", "spool/cron/crontabs", "out"):
        (home / name).mkdir(parents=True)
    for name in ("passwd", "group", "ld.so.cache"):
        shutil.copy(Path("/etc") / name, home / "etc")
    (home / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\n")
    (home / "etc/pam.d/other").write_text(PERMIT)
    shutil.copy(ZONES / zone, home / "etc/localtime")
    (home / "etc/timezone").write_text(f"{zone}\n")


def furnish(home: Path, window: Window, root: Path) -> None:
    """Make them with the jobs of a window."""
    make_home(home, window.zone)
    shared = f"/faketime_sem_{CHILD} /faketime_shm_{CHILD}"
    settings = {**faking(window, root), "FAKETIME_SHARED": shared, "SHELL": "/bin/sh", "MAILTO": '""'}
    head = "".join(f"{name}={value}\n" for name, value in settings.items())
    for number, expression in enumerate(window.expressions):
        # In UTC: date makes its %s from wall time, which a repeated hour has twice.
        # One file each: Debian's cron drops a whole file for one bad line.
        line = f"{expression} root TZ=UTC0 exec date +\\%s >>{home}/out/{number}\n"
        (home / f"etc/cron.d/job{number}").write_text(head + line)


async def run(daemon: Daemon, window: Window, root: Path, home: Path) -> list[list[int]]:
    """Let a daemon live through a window: for each expression the faked seconds at which its jobs were started."""
    furnish(home, window, root)
    settings = [f"{name}={value}" for name, value in faking(window, root).items()]
    command = [
        *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"),
        *("timeout", "--signal", "KILL", str(window.seconds + SPARE_SECONDS)),
        *("/bin/sh", "-c", SETUP, "sh", str(home), *settings, str(root / daemon.command[0]), *daemon.command[1:]),
    ]
    with open(home / "said", "wb") as said:
        process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    try:
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
    outs = [home / "out" / str(number) for number in range(len(window.expressions))]
    if not outs[0].exists():
        raise CannotRun(f"{daemon.name} ran nothing: {(home / 'said').read_text() or 'and said nothing'}")
    return [[int(line) for line in out.read_text().split()] if out.exists() else [] for out in outs]
