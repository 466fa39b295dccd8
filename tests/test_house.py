"""The tests keep their own order: helpers live in support, pure tests start nothing, no test waits for a clock."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

TESTS = Path(__file__).resolve().parent
FILES = sorted(str(path.relative_to(TESTS)) for path in TESTS.rglob("*.py"))
PURE = [name for name in FILES if name.startswith("pure/")]

STARTERS = {
    "asyncio", "multiprocessing", "os", "pty", "signal", "socket", "subprocess", "threading", "time",
    "tests.support.answers", "tests.support.bad_jobs", "tests.support.client", "tests.support.crashing",
    "tests.support.directory", "tests.support.host", "tests.support.outputs", "tests.support.pool",
    "tests.support.sink", "tests.support.states", "tests.support.users", "tests.support.ways",
}  # fmt: skip
"""What starts processes, waits, or needs a kernel."""

STILL_PURE = {
    ("pure/timing/test_zones.py", "os"): "whether the environment asks for the long run",
}
"""Imports of pure tests that look otherwise, each with its reason."""

WAITS = {
    ("support/host.py", "sleep"): "the one wait for a condition, up to a deadline",
    ("support/host.py", "monotonic"): "its deadline",
}
"""Where tests may sleep or look at a clock, each with its reason."""


@cache
def tree(name: str) -> ast.Module:
    """The syntax tree of a file of tests."""
    return ast.parse((TESTS / name).read_text())


def imported(tree: ast.AST) -> Iterator[str]:
    """Everything that is imported, wherever: ``os``, ``tests.support.host``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
