"""Programs that some tests need and a bare Debian lacks: tests without them are skipped, and pytest's last lines show
how many, and the command that installs the programs.

A test declares them (`@pytest.mark.needs("ed")`), or the helper that starts them calls `need`.  This is a plugin.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

PACKAGES = {
    "cc": "gcc libc6-dev", "ed": "ed", "etcd": "etcd-server", "mkfs.ext4": "e2fsprogs", "sbatch": "slurm-wlm",
    "slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "ssh": "openssh-client", "sshd": "openssh-server",
    "systemd-analyze": "systemd", "tmux": "tmux", "varlinkctl": "systemd",
}  # fmt: skip
"""Program → Debian's package with it."""
PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
"""An ordinary user's PATH lacks some of them."""
_PROPERTY = "missing packages"


def need(*programs: str) -> str:
    """Return the path of the first of these programs.  Skip the test if one of them is missing."""
    __tracebackhide__ = True
    paths = {program: shutil.which(program, path=PLACES) for program in programs}
    if missing := sorted({PACKAGES[program] for program, path in paths.items() if path is None}):
        skipped = pytest.skip.Exception(f"needs a program: apt install {' '.join(missing)}")
        skipped.packages = missing
        raise skipped
    return str(paths[programs[0]])


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark."""
    config.addinivalue_line("markers", "needs(programs): skip the test if one of these programs is missing")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that declares a missing program, unless it is skipped anyway."""
    for mark in item.iter_markers("needs"):
        need(*mark.args)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Iterator[None]:
    """Note the missing packages in the report, which a worker sends to the parent."""
    report = yield
    if packages := getattr(call.excinfo and call.excinfo.value, "packages", None):
        report.user_properties.append((_PROPERTY, packages))
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Print the number of these tests, and the command that installs what they need, after everything but the sum."""
    yield
    reports = terminalreporter.getreports("skipped")
    missing = [packages for report in reports for name, packages in report.user_properties if name == _PROPERTY]
    if missing:
        packages = " ".join(sorted({package for some in missing for package in some}))
        terminalreporter.write_line(
            f"skipped for lack of a program: {len(missing)}; to run these tests: apt install {packages}"
        )
