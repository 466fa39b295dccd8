"""What runs, and was replaced on the disk since it started: an update under its feet."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobqueued.ctl.doctor.old_code import code_of, launchers, replaced
from tests.support.client import run as client
from tests.support.host import Host, wait_for

Start = Callable[..., int]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts copies of cat, each ended after the test. Each has copied a line, so that all of it is mapped."""
    started = list[subprocess.Popen[bytes]]()

    def start(*command: str) -> int:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        started.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"begun\n")
        assert process.stdout.readline() == b"begun\n"
        return process.pid

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_program_that_is_gone(tmp_path: Path, start: Start) -> None:
    """Its file was replaced, as dpkg does it: by rename."""
    program, new = tmp_path / "program", tmp_path / "new"
    shutil.copy("/usr/bin/cat", program)
    shutil.copy("/usr/bin/cat", new)
    pid = start(str(program))
    assert "" == replaced(pid, [])
    new.rename(program)
    assert str(program) == replaced(pid, [])


def test_a_module_that_is_another(tmp_path: Path, start: Start) -> None:
    """It came to its place after the start, however old it says that it is; nothing else of its directory counts."""
    (tmp_path / "module.py").touch()
    pid = start("cat")
    wait_for(lambda: os.stat(_touched(tmp_path / "clock")).st_ctime > os.stat(tmp_path / "module.py").st_ctime + 0.02)
    assert "" == replaced(start("cat"), [tmp_path])
    os.utime(_touched(tmp_path / "new"), (0, 0))
    (tmp_path / "new").rename(tmp_path / "module.py")
    wait_for(lambda: replaced(pid, [tmp_path]) == str(tmp_path / "module.py"))
    assert str(tmp_path / "module.py") == replaced(pid, [tmp_path / "module.py"])
    assert "" == replaced(1 << 22, [tmp_path])


def test_nothing_is_replaced_here(host: Host) -> None:
    """Scheduler and launcher are found, and doctor says nothing of them."""
    host.start()
    (launcher,) = launchers(host.root / "run/runs")
    assert "" == replaced(launcher, code_of("jobqueued.child"))
    assert host.root.is_dir()
    said = json.loads(client("--root", host.root, "doctor", "--json").stdout)
    assert [] == [finding for finding in said["findings"] if finding["what"] == "code"]


def _touched(path: Path) -> Path:
    path.touch()
    return path
