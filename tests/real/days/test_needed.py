"""Tests that need programs which a bare Debian lacks: skipped without them, and the end shows what to install."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import REPO
from tests.support.needed import PACKAGES, need

FILE = """
import pytest
from tests.support import needed

needed.PACKAGES |= {"no-such-tool": "b-package", "nor-this": "a-package"}

@pytest.fixture(scope="module")
def made():
    needed.need("nor-this")

@pytest.mark.needs("no-such-tool")
def test_declared():
    raise AssertionError

def test_by_a_fixture(made):
    raise AssertionError

def test_by_a_fixture_again(made):
    raise AssertionError

@pytest.mark.needs("no-such-tool")
@pytest.mark.skipif(True, reason="needs root")
def test_skipped_anyway():
    raise AssertionError

@pytest.mark.needs("sh")
def test_that_runs():
    pass
"""
LINE = "skipped for lack of a program: 3; to run these tests: apt install a-package b-package"


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["alone", "workers"])
def test_the_end_of_a_run(tmp_path: Path, options: list[str]) -> None:
    """One line after all others but the sum counts what programs would bring, and names each package once."""
    (tmp_path / "test_x.py").write_text(FILE.replace('"a-package"}', '"a-package", "sh": "dash"}'))
    words = ["-q", "-rs", "-p", "tests.support.needed", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", *options]
    command = [sys.executable, "-m", "pytest", *words, str(tmp_path / "test_x.py")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False, env=environment)
    assert 0 == done.returncode, done.stdout
    *_, line, last = done.stdout.splitlines()
    assert (LINE, "1 passed, 4 skipped") == (line, last.partition(" in ")[0]), done.stdout


def test_ci_installs_them() -> None:
    """So that nothing is skipped there."""
    assert set() == {*" ".join(PACKAGES.values()).split()} - {*(REPO / ".ci" / "run").read_text().split()}


def test_what_is_there_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of the first, also outside of an ordinary user's $PATH; else the packages that are missing."""
    monkeypatch.setitem(PACKAGES, "useradd", "passwd")
    monkeypatch.setitem(PACKAGES, "no-such-tool", "b")
    assert "/usr/sbin/useradd" == need("useradd")
    with pytest.raises(pytest.skip.Exception) as found:
        need("useradd", "no-such-tool")
    assert ["b"] == found.value.packages
