"""Checks of the host, for jobqueuectl doctor: directories, file systems, clock, time zone, journal, logins."""

from __future__ import annotations

import ctypes
import os
import re
import socket
import zoneinfo
from collections.abc import Iterator
from pathlib import Path

from jobqueued.base.text import counted, size
from jobqueued.child.contract import unix_socket
from jobqueued.child.contract.trust import FileRefused
from jobqueued.ctl.doctor.diagnosis import ERROR, OK, WARNING, HealthFinding
from jobqueued.ctl.files.job_files import settings_of
from jobqueued.ctl.files.job_units import user_of_daemon
from jobqueued.settings.host_names import host_timezone
from jobqueued.settings.instance import BOOTED, Instance
from jobqueued.settings.paths import Paths
from jobqueued.settings.settings import user_name

_SCARCE = 100 << 20
_VOLATILE = frozenset({"tmpfs", "ramfs"})
_OVER_A_NETWORK = frozenset(
    ("9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "lustre", "nfs", "nfs4", "smb3")
)
_UNSAFE = frozenset({"nobarrier", "barrier=0", "fsync_mode=nobarrier"})
_MOUNTS, _OCTAL = Path("/proc/self/mounts"), re.compile(rb"\\([0-7]{3})")
_LOGIND, _LINGER = Path("/run/systemd/users"), Path("/var/lib/systemd/linger")
_TIMEX_BYTES, _TIME_ERROR = 512, 5
_SYNCHRONISERS = ("systemd-timesyncd", "chronyd", "ntpd")
_TMPFILES = ("/etc/tmpfiles.d", "/usr/local/lib/tmpfiles.d", "/usr/lib/tmpfiles.d")
_UNITS = ("/usr/lib/systemd/system", "/lib/systemd/system", "/etc/systemd/system")


def host(paths: Paths, etc: Path = Path("/etc")) -> Iterator[HealthFinding]:
    """Check the host without calling the daemon."""
    for path, lost in (
        (paths.state, "waiting runs, pauses, submissions, and everything that becomes due during the reboot"),
        (paths.run, ""),
        (paths.logs, "records and output"),
    ):
        yield _directory(paths, path)
        yield from _mount(path, lost, is_database=path == paths.state)
    yield _journal(paths.journal)
    yield from _linger(paths)
    yield from _clock(etc)
    yield from _zone(paths, etc)
    if paths.runtime is None:
        yield from _lists(etc)


def metrics(paths: Paths) -> Iterator[HealthFinding]:
    """Check that the metrics file's directory exists. While the daemon runs, it reports a missing directory itself."""
    if path := settings_of(paths)[0].metrics.get("textfile"):
        directory = os.path.dirname(path)
        if not os.path.isdir(directory):
            seen = f"{path} can't be written: the directory {directory} is missing"
            yield HealthFinding("metrics", ERROR, seen, f"mkdir -p {directory}")


def _directory(paths: Paths, path: Path) -> HealthFinding:
    user = user_of_daemon(paths)
    try:
        found = os.statvfs(path)
        paths.check(path, user)
        if not path.is_dir() or (user == os.geteuid() and not os.access(path, os.W_OK | os.X_OK)):
            return HealthFinding("directory", ERROR, f"{path} is not a directory that jobqueued can write to")
    except FileRefused as refused:
        return HealthFinding("directory", ERROR, f"{path}: {refused}")
    except FileNotFoundError as error:
        is_known = paths.run == Paths.system().run and any(Path(it, "jobqueue.conf").exists() for it in _TMPFILES)
        remedy = "systemd-tmpfiles --create jobqueue.conf" if is_known else Instance.of(paths.run).start
        return HealthFinding("directory", ERROR, f"{path}: {error.strerror}", remedy)
    except PermissionError as error:
        return HealthFinding("directory", WARNING, f"{path}: {error.strerror}", "run this as root")
    except OSError as error:
        return HealthFinding("directory", ERROR, f"{path}: {error.strerror}", "look for disk errors: dmesg")
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    scarce = free < min(_SCARCE, total // 10) or (found.f_files and not found.f_favail)
    if found.f_flag & os.ST_RDONLY:
        return HealthFinding("directory", ERROR, f"{path} is on a read-only file system")
    seen = f"{path}: {size(free)} free"
    return (
        HealthFinding("directory", WARNING, seen, "free space on its file system")
        if scarce
        else HealthFinding("directory", OK, seen)
    )


def _mount(path: Path, lost: str, *, is_database: bool) -> Iterator[HealthFinding]:
    """Check that written files survive a power loss and a reboot.

    `lost` describes the content that a reboot would lose, or is "" if the content is not needed.
    """
    real = Path(os.path.realpath(path))
    above = {str(real), *map(str, real.parents)}
    mounts = [each for each in _mounts() if each[0] in above]
    if not lost or not mounts:
        return
    place, kind, options = max(reversed(mounts), key=lambda each: len(each[0]))  # the last mount at a path is visible
    if kind in _VOLATILE:
        seen = f"{path} is in memory ({kind}): a reboot loses {lost}"
        yield HealthFinding("file system", WARNING, seen, "mount a disk there, or use a bind mount")
    elif kind in _OVER_A_NETWORK:
        why = (
            "SQLite's locks and log are unreliable there"
            if is_database
            else "runs wait while the server is unreachable"
        )
        seen = f"{path} is on a network file system ({kind}): {why}"
        yield HealthFinding("file system", WARNING, seen, "move it to a disk of this host")
    elif unsafe := _UNSAFE.intersection(options.split(",")):
        seen = f"{place} is mounted with {min(unsafe)}: a power loss undoes committed writes"
        yield HealthFinding("file system", WARNING, seen, f"remove {min(unsafe)} from /etc/fstab, and reboot")


def _mounts() -> Iterator[tuple[str, str, str]]:
    """Yield each mount's place, type and options, in mount order."""
    for line in _MOUNTS.read_bytes().splitlines():
        _, place, kind, options, *_ = line.split(b" ")
        whole = _OCTAL.sub(lambda found: bytes([int(found[1], 8)]), place)
        yield os.fsdecode(whole), kind.decode(), os.fsdecode(options)


def _journal(path: Path) -> HealthFinding:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
            unix_socket.connect(peer, str(path))
    except OSError as error:
        seen = f"output is saved in files only, not in the journal: {path}: {error.strerror}"
        if path != Paths.system().journal or not BOOTED.exists():  # other journals are optional
            return HealthFinding("journal", OK, seen)
        return HealthFinding("journal", WARNING, seen, "systemctl start systemd-journald.socket")
    return HealthFinding("journal", OK, f"{path} listens")


def _linger(paths: Paths) -> Iterator[HealthFinding]:
    """Check that a user's instance survives the user's logout."""
    if paths.runtime is None or not _LOGIND.exists():
        return
    name = user_name(os.geteuid())
    if (_LINGER / str(name)).exists():
        yield HealthFinding("linger", OK, f"on for {name}: the daemon starts at boot, and jobs run without a login")
    else:
        seen = f"off for {name}: the daemon and all runs end at the last logout; the daemon starts at the next login"
        yield HealthFinding("linger", WARNING, seen, f"loginctl enable-linger {name}")


def _clock(etc: Path) -> Iterator[HealthFinding]:
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if state == _TIME_ERROR:
        has_one = any(Path(place, f"{unit}.service").exists() for place in _UNITS for unit in _SYNCHRONISERS)
        remedy = "timedatectl set-ntp true; then check: timedatectl" if has_one else "apt install systemd-timesyncd"
        if not BOOTED.exists():
            remedy = "apt install chrony && service chrony start; in a container, check the host's clock"
        yield HealthFinding(
            "clock", WARNING, "the clock is not synchronised: if it is wrong, jobs start at the wrong time", remedy
        )
    elif state >= 0:
        yield HealthFinding("clock", OK, "the clock is synchronised")
    if (_content(etc / "adjtime") or b"").split(b"\n")[2:3] == [b"LOCAL"]:
        seen = "the hardware clock has local time: after a change to or from summer time, a boot starts one hour off"
        yield HealthFinding("clock", WARNING, seen, "timedatectl set-local-rtc 0")


def _zone(paths: Paths, etc: Path) -> Iterator[HealthFinding]:
    """Check that jobs, cron and date(1) on this host use the same time zone."""
    name, of_host = settings_of(paths)[0].zone, host_timezone(etc)
    local = _content(etc / "localtime")
    here = _of_zone("UTC") if local is None else {local}  # the C library uses UTC
    if not any(map(os.path.isdir, zoneinfo.TZPATH)):
        yield HealthFinding("time zone", ERROR, "no time zones are installed, so only UTC works", "apt install tzdata")
    elif name != of_host:
        yield HealthFinding("time zone", OK, f"{name}, from the settings; the host uses {of_host}")
    elif not here & _of_zone(name):
        is_there = "has another zone or an old copy" if local else "is missing, which means UTC"
        seen = f"jobs use {name}; other programs use /etc/localtime, which {is_there}"
        link = f"ln -sf {zoneinfo.TZPATH[0]}/{name} /etc/localtime, or link the intended zone"
        yield HealthFinding("time zone", WARNING, seen, link)
    else:
        yield HealthFinding("time zone", OK, name)


def _lists(etc: Path) -> Iterator[HealthFinding]:
    """Show how many users can or can't have jobs because of cron's and at's lists."""
    for program, act in (("cron", "have crontabs and add job files"), ("at", "submit work that starts later")):
        path = next((it for it in (etc / f"{program}.allow", etc / f"{program}.deny") if os.path.lexists(it)), None)
        if path is None or (content := _content(path)) is None:
            continue
        names = counted(len(content.split()), "user")
        who = f"only root and {names} can" if path.suffix == ".allow" else f"{names} can't"
        seen = f"{path}: {who} {act}; to override: `users: {{allow: …}}` in jobqueued.yaml"
        yield HealthFinding("users", OK, seen)


def _of_zone(name: str) -> set[bytes]:
    """Return the contents of this zone's installed files."""
    return {content for place in zoneinfo.TZPATH if (content := _content(Path(place, name))) is not None}


def _content(file: Path) -> bytes | None:
    """Return the content of a file, or None if it is not a regular file or can't be read."""
    try:
        return file.read_bytes() if file.is_file() else None
    except OSError:
        return None
