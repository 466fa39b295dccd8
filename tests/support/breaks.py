"""Breaks on purpose: a copy of the program in which one text is another, to see who notices."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support import REPO


class Break(NamedTuple):
    """A text of a file of the package, and what stands in its place."""

    file: str
    text: str
    instead: str


@contextmanager
def broken(name: str, wanted: Break) -> Iterator[Path]:
    """A directory with the package, broken so, and its tests."""
    with tempfile.TemporaryDirectory(prefix="break-") as directory:
        subprocess.run(["cp", "-r", REPO / "jobqueued", REPO / "tests", directory], check=True)
        path = Path(directory, "jobqueued", wanted.file)
        text = path.read_text()
        assert text.count(wanted.text) == 1, f"{name}: {text.count(wanted.text)} places"
        path.write_text(text.replace(wanted.text, wanted.instead))
        yield Path(directory)
