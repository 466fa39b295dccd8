"""The host's zone and id, from files in /etc."""

from __future__ import annotations

import os
from pathlib import Path
from zoneinfo import ZoneInfo

from jobqueued.base.instants import LEAPING


def host_timezone(etc: Path = Path("/etc")) -> str:
    """Return the host's zone: the target of /etc/localtime, or the content of /etc/timezone (Debian's), or UTC.

    /etc/localtime comes first: the C library reads only that, and timedatectl(1) changes nothing else.
    """
    for name in (_linked_zone(etc / "localtime"), _written(etc / "timezone")):
        try:
            return ZoneInfo(name.removeprefix(LEAPING)).key
        except (KeyError, ValueError, OSError):
            continue
    return "UTC"


def machine_id(file: Path = Path("/etc/machine-id")) -> str:
    """Return the host's unique id, or "" if it has none. It spreads the `H` of different hosts over the hour."""
    return _written(file)


def _written(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError):
        return ""


def _linked_zone(link: Path) -> str:
    return os.path.realpath(link).partition("/zoneinfo/")[2]
