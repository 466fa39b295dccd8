"""The house keeps its order: what is pure stays pure, each library has one room, the small programs stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "jobqueued"

PURE = [
    "model", "memory", "events", "commands", "cronexpr", "schedule", "yamltext", "spelling", "kinds", "locks", "claims",
    "keys", "schema", "jobfile", "catalog", "waiting", "drains", "admission", "placement", "lifecycle", "catchup",
    "retries", "record", "clock", "timers", "book", "dependencies", "skips", "ends", "trouble", "gate", "stops", "dues",
    "definitions", "guests", "forecast", "why", "scheduler", "answers", "interface", "varlink",
]  # fmt: skip
"""In the order of the house: each may import those before it."""

STANDARD = {
    "dataclasses", "enum", "heapq", "bisect", "re", "datetime", "zoneinfo", "math", "hashlib", "collections", "typing",
    "contextlib", "itertools", "functools", "operator", "json", "signal", "__future__",
}  # fmt: skip
"""What a pure file may use of the standard library; nothing in it reads a clock or touches a file by being imported."""

ROOMS = {
    "croniter": "cronexpr", "yaml": "yamltext", "psutil": "usage", "structlog": "journal",
    "sdnotify": "systemd", "daemon": "detach", "sqlite3": "store",
}  # fmt: skip

SMALL = {
    "__future__", "collections", "contextlib", "ctypes", "errno", "fcntl", "grp", "json", "os", "pwd", "re", "resource",
    "select", "signal", "socket", "stat", "sys", "time", "typing",
}  # fmt: skip

MODULES_OF_THE_SMALL_WORLD = 78
"""The start-up budget of the launcher, in modules of others; every supervisor shares their memory."""


def files() -> list[Path]:
    """Every file of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Everything that a file imports, as full names: ``jobqueued.model``, ``os``."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in names if (PACKAGE.parent / f"{name.replace('.', '/')}.py").exists()} or {
                str(node.module)
            }
    return found


@pytest.mark.parametrize("name", PURE)
def test_pure_files_import_only_what_is_above_them(name: str) -> None:
    """A pure file imports pure files before it, its one library, and harmless parts of the standard library."""
    above = {f"jobqueued.{other}" for other in PURE[: PURE.index(name)]} | {"jobqueued"}
    own = {library for library, room in ROOMS.items() if room == name}
    used = imports(PACKAGE / f"{name}.py")
    assert {i for i in used if i.startswith("jobqueued")} - above == set()
    assert {i.split(".")[0] for i in used if not i.startswith("jobqueued")} - STANDARD - own == set()


@pytest.mark.parametrize("name", PURE)
def test_pure_files_read_no_clock_and_no_file(name: str) -> None:
    """No now(), today(), open() or print() in a pure file."""
    calls = [n.func for n in ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text())) if isinstance(n, ast.Call)]
    names = {f.id for f in calls if isinstance(f, ast.Name)} | {f.attr for f in calls if isinstance(f, ast.Attribute)}
    assert names & {"now", "today", "utcnow", "open", "print", "input", "read_text", "read_bytes"} == set()


@pytest.mark.parametrize(("library", "room"), ROOMS.items())
def test_each_library_has_one_room(library: str, room: str) -> None:
    """A third-party package is imported by one file only."""
    users = [path.stem for path in files() if library in {i.split(".")[0] for i in imports(path)}]
    assert users == [room]


def test_nobody_outside_ctl_uses_its_libraries() -> None:
    """click and rich are for the command line only."""
    users = {path.parent.name for path in files() if {"click", "rich"} & {i.split(".")[0] for i in imports(path)}}
    assert users == {"ctl"}


def test_the_small_world_imports_its_own_only() -> None:
    """launcher and supervisor import a fixed list of standard modules, and each other."""
    for path in sorted((PACKAGE / "child").glob("*.py")):
        used = imports(path)
        assert {i for i in used if i.startswith("jobqueued") and not i.startswith("jobqueued.child")} == set(), path
        assert {i.split(".")[0] for i in used if not i.startswith("jobqueued")} - SMALL == set(), path


def test_the_small_world_starts_small() -> None:
    """The launcher, imported as it runs, loads no more modules than its budget, none of the rest of jobqueued."""
    code = "import sys; sys.path.append(sys.argv[1]); import jobqueued.child.launcher; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", code, str(PACKAGE.parent)]
    modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    ours = sorted(name for name in modules if name.startswith("jobqueued"))
    names = [
        "account", "attempt", "budget", "caps", "cgroup", "environment", "followers", "identity", "journald",
        "launcher", "lockfile", "output", "posixspawn", "report", "shutdown", "spawn", "supervisor", "tree", "wire",
    ]  # fmt: skip
    assert ours == ["jobqueued", "jobqueued.child", *(f"jobqueued.child.{name}" for name in names)]
    assert len(modules) - len(ours) <= MODULES_OF_THE_SMALL_WORLD, modules


def test_the_scheduler_stays_free_of_rich() -> None:
    """Importing the daemon does not pull rich in (structlog would, where it is installed)."""
    code = "import sys, jobqueued.daemon; print(sorted(m for m in sys.modules if m.split('.')[0] in ('rich', 'click')))"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert result.stdout == "[]\n"


def test_the_library_is_lazy() -> None:
    """``import jobqueued`` loads none of it; the names it offers are all there."""
    code = (
        "import sys, jobqueued; print(sorted(m for m in sys.modules if m.startswith('jobqueued')));"
        "print(all(getattr(jobqueued, name) for name in jobqueued.__all__))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert result.stdout == "['jobqueued']\nTrue\n"
