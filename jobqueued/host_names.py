"""The names that files in /etc give the host: its zone, its id."""

from __future__ import annotations

import os
from pathlib import Path
from zoneinfo import ZoneInfo

from jobqueued.instants import LEAPING


def host_timezone(etc: Path = Path("/etc")) -> str:
    """The name of the host's zone: /etc/timezone (Debian's), or where /etc/localtime points, else UTC."""
    for name in (_written(etc / "timezone"), _linked_zone(etc / "localtime")):
        try:
            return ZoneInfo(name.removeprefix(LEAPING)).key
        except (KeyError, ValueError, OSError):
            continue
    return "UTC"


def machine_id(file: Path = Path("/etc/machine-id")) -> str:
    """The id that tells this host from others, so that a fleet's `H` do not all fall on one minute; "" without one."""
    return _written(file)


def _written(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError):
        return ""


def _linked_zone(link: Path) -> str:
    return os.path.realpath(link).partition("/zoneinfo/")[2]
