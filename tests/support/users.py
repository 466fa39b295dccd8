"""Whoever runs the tests, and the other users of a test."""

from __future__ import annotations

import os
import pwd
from typing import Any

import pytest

ROOT = os.geteuid() == 0
NEEDS_ROOT = pytest.mark.skipif(not ROOT, reason="needs root")
NEEDS_USER = pytest.mark.skipif(ROOT, reason="needs an ordinary user")

ME = pwd.getpwuid(os.geteuid())
NICE = min(19, max(7, os.getpriority(os.PRIO_PROCESS, 0) + 1))
"""A nice value that we may give, also where the tests run under nice(1)."""
OTHER = "nobody"
USER = "games"
"""A user of each Debian who may have jobs of his own, as nobody's uid may not."""
STRANGER, GROUP = 65534, 54321
"""A user and a group that nobody else is in."""


def owner(uid: int, name: str, *, more_groups: tuple[str, ...] = ()) -> dict[str, Any]:
    """Whose own job it is, as the launch spec has it."""
    return {"uid": uid, "name": name, "more_groups": list(more_groups)}


def believing(text: str) -> str:
    """What a daemon of root's says of whom it believes, as one of ours says it."""
    return text if ROOT else text.replace("only root can", f"only root or {ME.pw_name} can")
