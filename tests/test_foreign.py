"""Commands of other programs in the papers: each is run, in the machine or here, or it is said why not."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.support import REPO
from tests.support.foreign import ELSEWHERE, NOWHERE, READERS, foreign, programs, where
from tests.support.needed import need
from tests.support.papers import PAPERS, each

HERE = "tests/test_foreign.py"
LINES = sorted({line for path in PAPERS for line in foreign(path)})


def here(path: Path) -> list[str]:
    """What this file has to try."""
    return [line for line in foreign(path) if where(line) == HERE]


def test_each_entry_is_about_a_line() -> None:
    """None of the tables outlives its line, and no stand-in its program."""
    assert [] == [entry for entry in (*ELSEWHERE, *NOWHERE) if not any(re.fullmatch(entry, it, re.S) for it in LINES)]
    used = {program for line in LINES for program in programs(line)}
    assert [] == sorted({*READERS} - used)


@pytest.mark.parametrize(("file", "text"), sorted({*ELSEWHERE.values()}))
def test_who_is_said_to_run_it_does(file: str, text: str) -> None:
    assert text in (REPO / file).read_text()


@each(here)
def test_it_is_taken(shown: str) -> None:
    """The real program understands it, and knows the packages, but does nothing."""
    program, *words = shown.removeprefix("sudo ").split()
    if program == "ssh":
        need("ssh")
        host = [] if any(not word.startswith("-") and "=" not in word for word in words) else ["host"]
        done = subprocess.run(["ssh", "-G", *words, *host], capture_output=True, text=True, check=False)
        assert (0, "") == (done.returncode, done.stderr)
        return
    known = subprocess.run(["sh", "-c", "apt-cache madison cron 2>/dev/null"], capture_output=True, check=False)
    if not known.stdout:
        pytest.skip("needs apt's lists of packages: apt update")
    command = ["apt-get", "-s", "-qq", "--no-install-recommends", "-o", "Debug::NoLocking=1", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPO)
    assert done.returncode == 0, done.stderr
