"""Whoever runs the tests, and the other users of a test."""

from __future__ import annotations

import os
import pwd

import pytest

ROOT = os.geteuid() == 0
NEEDS_ROOT = pytest.mark.skipif(not ROOT, reason="needs root")
NEEDS_USER = pytest.mark.skipif(ROOT, reason="needs an ordinary user")

ME = pwd.getpwuid(os.geteuid())
NICE = min(19, max(7, os.getpriority(os.PRIO_PROCESS, 0) + 1))
"""A nice value that we may give, also where the tests run under nice(1)."""
OTHER = "nobody"
STRANGER, GROUP = 65534, 54321
"""A user and a group that nobody else is in."""


def believing(text: str) -> str:
    """What a daemon of root's says of whom it believes, as one of ours says it."""
    return text if ROOT else text.replace("only root can", f"only root or {ME.pw_name} can")
