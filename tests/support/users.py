"""Whoever runs the tests, and the other users of a test."""

from __future__ import annotations

import os
import pwd

import pytest

ROOT = os.geteuid() == 0
NEEDS_ROOT = pytest.mark.skipif(not ROOT, reason="needs root")
NEEDS_USER = pytest.mark.skipif(ROOT, reason="needs an ordinary user")

ME = pwd.getpwuid(os.geteuid())
OTHER = "nobody"
STRANGER, GROUP = 65534, 54321
"""A user and a group that nobody else is in."""
