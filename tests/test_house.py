"""The tests keep an order: helpers live in support, pure tests start nothing, no verdict hangs on a clock."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

from hypothesis import HealthCheck, settings

TESTS = Path(__file__).resolve().parent
FILES = sorted(str(path.relative_to(TESTS)) for path in TESTS.rglob("*.py"))

WORLDLY = {"asyncio", "fcntl", "multiprocessing", "pty", "select", "signal", "socket", "subprocess", "threading"}
STARTS = {"os.fork", "os.forkpty", "os.kill", "os.popen", "os.posix_spawn", "os.system"}
CLOCKS = {"monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time", "sleep", "time", "time_ns"}

WATCHES = {
    ("support/host.py", "time.monotonic"): "the deadline of the one wait for a condition",
    ("support/host.py", "time.sleep"): "the same",
    ("system/vm.py", "time.monotonic"): "the same, in the virtual machine",
    ("system/vm.py", "time.sleep"): "the same",
    ("support/calls.py", "time.monotonic"): "a deadline: the server under test is turned meanwhile",
    ("mutants/hunt.py", "time.process_time"): "the deadline of what goes round for ever is beyond what its tests take",
    (
        "pure/child/test_reasons.py",
        "time.process_time",
    ): "linear takes milliseconds, the square minutes: 2 s are between",
    ("real/control/test_monitor.py", "time.monotonic"): "waits, with a deadline, until the daemon sleeps longer",
    ("real/ctl/test_answers.py", "time.time"): "what `2h ago` means lies between the clock before and after",
    ("real/daemon/test_log.py", "time.time_ns"): "a time stamp lies between the clock before and after",
    ("real/child/test_launcher_faults.py", "time.sleep"): "a while in which it may not spin: its calls are counted",
    ("real/child/test_supervisor_faults.py", "time.sleep"): "the same",
    ("system/test_reboot.py", "time.time"): "a run is to be due while the machine goes down",
    ("simulation/__main__.py", "time.monotonic"): "what many lives took is told, and judged by nobody",
    ("simulation/year.py", "time.monotonic"): "the same, of a year",
    ("simulation/year.py", "time.process_time"): "the same",
    ("real/notices/test_user_notices.py", "time.monotonic"): "a wait is bounded by a deadline that it is given",
    ("browser/test_cockpit_timeline.py", "time.time_ns"): "the page shows the hours before now",
    ("system/test_usage.py", "time.monotonic"): "a rate is what was counted by the time it took, and both are read",
}
"""Who reads a clock, or sleeps, and why no verdict hangs on how fast the machine is."""


class Used(NamedTuple):
    """What a file of tests uses.  Its syntax tree is not kept: those of all files have some 200 MB."""

    imports: frozenset[str]
    calls: frozenset[str]
    strings: tuple[str, ...]


@cache
def used(name: str) -> Used:
    """Parse a file of tests, and return what it uses."""
    imported, calls, strings = set[str](), set[str](), list[str]()
    for node in ast.walk(ast.parse((TESTS / name).read_text())):
        match node:
            case ast.Import(names=names):
                imported |= {alias.name for alias in names}
            case ast.ImportFrom(module=module, names=names):
                imported |= {str(module), *(f"{module}.{alias.name}" for alias in names)}
            case ast.Call(func=ast.Name(id=called)):
                calls.add(called)
            case ast.Call(func=ast.Attribute(attr=called, value=ast.Name(id=before) | ast.Attribute(attr=before))):
                calls.add(f"{before}.{called}")
            case ast.Constant(value=str(text)):
                strings.append(text)
    return Used(frozenset(imported), frozenset(calls), tuple(strings))


def imports(name: str) -> frozenset[str]:
    """Everything that a file imports, wherever in it: ``socket``, ``tests.support.host``, and its ``.Host``."""
    return used(name).imports


def reached(name: str) -> set[str]:
    """A file of tests and all of tests that it imports, by way of others too."""
    found, new = set[str](), {name}
    while new:
        found |= new
        modules = {f"{module.removeprefix('tests.').replace('.', '/')}.py" for one in new for module in imports(one)}
        new = (modules & set(FILES)) - found
    return found


def calls(name: str) -> frozenset[str]:
    """What a file calls by a name, with the module before it: ``time.sleep``."""
    return used(name).calls


def programs(name: str) -> list[str]:
    """The lines of programs in strings of a file that import something of the tests."""
    lines = [line for text in used(name).strings for line in text.splitlines()]
    return [line for line in lines if line.startswith("from tests.")]


def test_no_test_is_a_library() -> None:
    """What tests share lives in support (of the virtual machine: in vm.py); a test module is imported by nobody."""
    modules = {name: imports(name) | {line.split()[1] for line in programs(name)} for name in FILES}
    assert [] == [(name, one) for name in FILES for one in modules[name] if ".test_" in one or ".conftest" in one]


def test_a_pure_test_starts_nothing() -> None:
    """Neither itself nor by a helper: no process, no socket, no thread."""
    worldly = {file: (imports(file) & WORLDLY) | (calls(file) & STARTS) for file in FILES}
    pure = [name for name in FILES if name.startswith("pure/")]
    assert [] == [(name, file, worldly[file]) for name in pure for file in reached(name) if worldly[file]]


def test_a_folder_is_small() -> None:
    """A reader of `pure/` and `real/` finds the test of a subject by its folder."""
    counts = Counter(str(Path(name).parent) for name in FILES if name.startswith(("pure/", "real/")))
    assert {} == {folder: count for folder, count in counts.items() if count > 20}


def test_hypothesis_has_no_deadline() -> None:
    """Neither for an example nor for drawing one, unless a test asks for it."""
    assert (None, True) == (settings().deadline, HealthCheck.too_slow in settings().suppress_health_check)


def test_nothing_hangs_on_a_clock() -> None:
    """No test sleeps or reads a clock: it waits for a condition up to a deadline, counts, or has a clock of its own.

    The programs of chaos, of a fleet, of power losses and of the long run are no tests: they live through minutes.
    """
    clocks = {f"time.{name}" for name in CLOCKS}
    tests = [file for file in FILES if not file.startswith(("chaos/", "fleet/", "longrun/", "power/"))]
    assert {(file, call) for file in tests for call in (calls(file) | imports(file)) & clocks} == WATCHES.keys()
