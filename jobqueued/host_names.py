"""The names that files in /etc give the host: its zone, its id."""

from __future__ import annotations

import os
from pathlib import Path
from zoneinfo import ZoneInfo

from jobqueued.instants import LEAPING


def host_timezone(etc: Path = Path("/etc")) -> str:
    """The name of the host's zone: where /etc/localtime points, or what /etc/timezone says (Debian's), else UTC.

    The C library knows /etc/localtime only, and timedatectl(1) changes nothing else.
    """
    for name in (_linked_zone(etc / "localtime"), _written(etc / "timezone")):
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
