"""What all tests share."""

from __future__ import annotations

import contextlib
import os
import resource
import signal

import pytest

pytest_plugins = ["tests.support.needed"]

with contextlib.suppress(ImportError):  # the virtual machine has no Hypothesis, and no test that wants it
    from hypothesis import HealthCheck, settings

    unhurt = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    settings.register_profile("house", deadline=None, suppress_health_check=unhurt)
    settings.load_profile("house")  # no verdict hangs on how fast the machine is

os.umask(0o022)  # a daemon of root's believes no directory that a group may write
signal.signal(
    signal.SIGINT, signal.default_int_handler
)  # a shell's background command ignores it, and so would its children
os.environ.pop("COLUMNS", None)  # what is printed is as wide as it is, whoever starts the tests


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Three workers for two CPUs: tests of real processes wait more than they work."""
    return len(os.sched_getaffinity(0)) * 3 // 2


_SOFT, _HARD = resource.getrlimit(resource.RLIMIT_NOFILE)
if 0 <= _SOFT < 8192:  # some tests have both ends of 320 connections in the worker, beside what other tests have open
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192 if _HARD == resource.RLIM_INFINITY else min(8192, _HARD), _HARD))
