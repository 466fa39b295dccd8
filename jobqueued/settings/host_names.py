"""The host's timezone and ID, from files in /etc."""

from __future__ import annotations

import os
from pathlib import Path
from zoneinfo import ZoneInfo

from jobqueued.base.instants import LEAPING


def host_timezone(etc: Path = Path("/etc")) -> str:
    """Return the host's timezone: the target of /etc/localtime, or the content of /etc/timezone (on Debian), or UTC.

    /etc/localtime comes first, because it is the only file that the C library reads and timedatectl(1) changes.
    """
    for name in (_linked_zone(etc / "localtime"), _written(etc / "timezone")):
        try:
            return ZoneInfo(name.removeprefix(LEAPING)).key
        except (KeyError, ValueError, OSError):
            continue
    return "UTC"


def machine_id(file: Path = Path("/etc/machine-id")) -> str:
    """Return the host's unique ID, or "" if the host has none.

    This ID makes different hosts draw different numbers for `H`.
    """
    return _written(file)


def _written(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError):
        return ""


def _linked_zone(link: Path) -> str:
    return os.path.realpath(link).partition("/zoneinfo/")[2]
