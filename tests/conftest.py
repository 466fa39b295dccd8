"""What all tests share."""

from __future__ import annotations

import os

import pytest

os.environ.pop("COLUMNS", None)  # what is printed is as wide as it is, whoever starts the tests


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Three workers for two CPUs: tests of real processes wait more than they work."""
    return len(os.sched_getaffinity(0)) * 3 // 2
