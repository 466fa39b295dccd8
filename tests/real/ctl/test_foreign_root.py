"""jobqueuectl --root on a directory of somebody else: it neither waits for anybody, nor follows links, nor changes
anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jobqueued.model.run import RunId
from jobqueued.settings.paths import Paths
from jobqueued.state import record_files
from tests.support.client import run

COMMANDS: dict[str, tuple[str, ...]] = {
    "list": ("list",), "status": ("status",), "history": ("history",), "check": ("check",), "next": ("next", "x"),
    "show": ("show", "work@1"), "logs": ("logs", "work@1"), "doctor": ("doctor",), "why": ("why", "work@1"),
    "top": ("top", "--once"),
}  # fmt: skip

TRAPS: dict[str, Callable[[Path], None]] = {
    "fifo": os.mkfifo, "zeros": lambda path: path.symlink_to("/dev/zero"), "itself": lambda path: path.symlink_to(path),
}  # fmt: skip


@pytest.mark.parametrize("trap", TRAPS)
def test_nobody_is_kept_waiting(tmp_path: Path, trap: str) -> None:
    """Whatever stands in the place of settings, job files, marks, records and output, each command comes to its end."""
    paths = Paths.under(tmp_path)
    attempt, left = paths.runs / "work@1.1", tmp_path / "elsewhere"
    for directory in (paths.jobs, attempt, paths.logs / "work", left):
        directory.mkdir(parents=True)
    traps = [paths.jobs / "a.yaml", paths.config, paths.control, paths.logs / "work" / "1.json"]
    traps += [attempt / mark for mark in ("spec", "control", "spawning", "pid", "ended", "lost")]
    for path in [*traps, paths.logs / "work" / "1.log"]:
        TRAPS[trap](path)
    for words in COMMANDS.values():
        shown = run("--root", tmp_path, *words)
        assert (True, "") == (shown.returncode in (0, 1, 2), "Traceback" * ("Traceback" in shown.stderr)), shown.stderr


def test_nothing_is_removed(tmp_path: Path) -> None:
    """A run directory that leads elsewhere costs nothing there: who looks tidies up nothing."""
    paths = Paths.under(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "work@1.1.left").write_text("precious")
    paths.runs.parent.mkdir(parents=True)
    paths.runs.symlink_to(elsewhere)
    for words in COMMANDS.values():
        run("--root", tmp_path, *words)
    assert "precious" == (elsewhere / "work@1.1.left").read_text()


def test_a_record_is_a_file_of_its_size(tmp_path: Path) -> None:
    """Neither a link nor a huge file is taken for a record."""
    paths = Paths.under(tmp_path)
    (paths.logs / "work").mkdir(parents=True)
    (tmp_path / "secret").write_text('{"state": "failed"}')
    (paths.logs / "work" / "1.json").symlink_to(tmp_path / "secret")
    with open(paths.logs / "work" / "2.json", "wb") as file:
        file.truncate(1 << 40)
    assert [None, None] == [record_files.read(paths.logs, RunId("work", number)) for number in (1, 2)]
