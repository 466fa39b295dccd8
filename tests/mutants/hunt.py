"""The hunt: for each mutant a fork of the tests' process, in which those run that come to the changed line.

All tests run once to see which lines they come to, and for how long.  Then a mutant costs what its killer costs: what
it changes of a function takes the place of that one's code, what it changes of a file is imported anew.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.machinery
import os
import pickle
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import Phase, settings

from tests.mutants.mutations import Mutant, mutants

PACKAGE = Path(__file__).resolve().parents[2] / "jobqueued"
WINGS = (str(PACKAGE / "queue"), str(PACKAGE / "core"))
KNOWN = PACKAGE.parent / "build" / "mutants.pickle"
"""What was seen of the tests, as long as the file of each is as it was."""
EXAMPLES = 40
"""Most examples of a property: the first of those that the tests have."""
SOMEWHERE = 0
"""The line of a file that has changed since a test came to it."""
DEADLINE = 3
"""CPU seconds beside what a test takes without a mutant: one that takes longer goes round for ever, and is killed."""


class Hunt:
    """A pytest plugin that tries mutants in place of the tests.  `told` gets each with its killer; "": none.

    `most`: the tests of each take no longer together (CPU s, as they took when they were looked at).
    """

    def __init__(self, chosen: list[Mutant], workers: int, most: float, told: Callable[[Mutant, str], None]) -> None:
        self.chosen, self.workers, self.most, self.told = chosen, workers, most, told
        self._took: dict[pytest.Item, float] = {}
        self._lines: dict[str, dict[int, set[pytest.Item]]] = {}
        self._kills: dict[Path, Counter[str]] = {}

    def pytest_collection(self) -> None:
        """Nothing is shrunk, and nothing left to chance."""
        settings.register_profile("mutants", phases=[Phase.explicit, Phase.generate], derandomize=True, database=None)
        settings.load_profile("mutants")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run all tests, then try all mutants."""
        _fewer_examples(session.items)
        self._look_at_all(session.items)
        print(f"{len(session.items)} tests pass in {sum(self._took.values()):.0f} s", flush=True)
        gc.collect()
        gc.freeze()
        live: dict[int, tuple[Mutant, int]] = {}
        for mutant in self.chosen:
            if len(live) == self.workers:
                self._reap(live)
            readable, writable = os.pipe()
            pid = os.fork()
            if not pid:
                self._try(mutant, writable)
            os.close(writable)
            live[pid] = mutant, readable
        while live:
            self._reap(live)
        return True

    def _look_at_all(self, items: list[pytest.Item]) -> None:
        """See for each test to which lines it comes, and how long it takes."""
        known = pickle.loads(KNOWN.read_bytes()) if KNOWN.exists() else {}
        core = {str(path): _digest(path) for wing in WINGS for path in Path(wing).rglob("*.py")}
        for item in items:
            key = item.nodeid, _digest(item.path)
            if key not in known:
                known[key] = (*_look(item), core)
            self._took[item], hit, of_core = known[key]
            for name, line in hit:
                where = line if core.get(name) == of_core[name] else SOMEWHERE
                self._lines.setdefault(name, {}).setdefault(where, set()).add(item)
        KNOWN.parent.mkdir(exist_ok=True)
        KNOWN.write_bytes(pickle.dumps(known))

    def _tests(self, mutant: Mutant) -> list[pytest.Item]:
        """The tests that come to a mutant, first those that have killed others of its file, and the quick ones."""
        lines, kills = self._lines.get(str(mutant.path), {}), self._kills.setdefault(mutant.path, Counter())
        wanted = (SOMEWHERE, *mutant.lines) if mutant.function else lines
        found = {item for line in wanted for item in lines.get(line, ())}
        ordered = sorted(found, key=lambda item: (self._took[item] / (1 + kills[item.nodeid]), item.nodeid))
        until = accumulate(self._took[item] for item in ordered)
        return [item for item, seconds in zip(ordered, until, strict=True) if seconds <= self.most]

    def _try(self, mutant: Mutant, writable: int) -> None:
        """Run the tests of a mutant, and be gone."""
        tests = self._tests(mutant)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
        killer = ""
        try:
            killer = self._first_failure(mutant, tests) if mutant.function else self._imported_anew(mutant, tests)
        except BaseException as error:  # whatever it is, it has been noticed
            killer = type(error).__name__
        finally:
            os.write(writable, killer.encode())
            os._exit(0)

    def _first_failure(self, mutant: Mutant, tests: list[pytest.Item]) -> str:
        """Change the function, and run tests until one fails: its name."""
        parts = mutant.path.relative_to(PACKAGE.parent).with_suffix("").parts
        module = importlib.import_module(".".join(parts))
        mutant.apply()
        with contextlib.suppress(ValueError):
            _function(module, mutant.function).__code__ = _code(mutant, mutant.function)
            return next((item.nodeid for item in tests if self._in_time(item) and _run(item)), "")
        return self._imported_anew(mutant, tests)

    def _in_time(self, *tests: pytest.Item) -> bool:
        """Let the kernel end this process when tests take too long; True."""
        signal.setitimer(signal.ITIMER_VIRTUAL, DEADLINE + sum(self._took[item] for item in tests))
        return True

    def _imported_anew(self, mutant: Mutant, tests: list[pytest.Item]) -> str:
        """Import all with the changed file, and run the tests in a pytest of its own."""
        mutant.apply()
        unchanged = importlib.machinery.SourceFileLoader.get_code

        def changed(loader: importlib.machinery.SourceFileLoader, name: str) -> CodeType | None:
            if loader.path == str(mutant.path):
                return compile(mutant.tree, str(mutant.path), "exec", dont_inherit=True)
            return unchanged(loader, name)

        importlib.machinery.SourceFileLoader.get_code = changed  # type: ignore[method-assign]
        for name in [name for name in sys.modules if name.partition(".")[0] in ("jobqueued", "tests")]:
            del sys.modules[name]
        again = _Again({item.nodeid: place for place, item in enumerate(tests)})
        files = sorted({str(item.path) for item in tests})
        self._in_time(*tests, *tests)
        status = pytest.main(["-qsx", "-pno:cacheprovider", *files], plugins=[again])
        return "" if status in (0, 5) else again.failed or "import"

    def _reap(self, live: dict[int, tuple[Mutant, int]]) -> None:
        pid, status = os.wait()
        mutant, readable = live.pop(pid)
        with open(readable, "rb") as pipe:
            killer = pipe.read().decode()
        if status:
            killer = f"deadline ({signal.Signals(status & 0x7F).name})"
        self._kills.setdefault(mutant.path, Counter())[killer] += 1
        self.told(mutant, killer)


def _digest(path: Path) -> bytes:
    return sha256(path.read_bytes()).digest()


def _look(item: pytest.Item) -> tuple[float, set[tuple[str, int]]]:
    """Run a test: how long it takes (CPU s), and to which lines it comes."""
    hit: set[tuple[str, int]] = set()

    def local(frame: FrameType, _event: str, _arg: Any) -> Any:
        hit.add((frame.f_code.co_filename, frame.f_lineno))
        return local

    def of_ours(frame: FrameType, _event: str, _arg: Any) -> Any:
        return local if frame.f_code.co_filename.startswith(WINGS) else None

    begin = time.process_time()
    sys.settrace(of_ours)
    failed = _run(item)
    sys.settrace(None)
    if failed:
        pytest.exit(f"{item.nodeid} fails without any mutant\n{failed}", 2)
    return time.process_time() - begin, hit


def _fewer_examples(items: list[pytest.Item]) -> None:
    for item in items:
        for owner, name in ((getattr(item, "cls", None), "settings"), (item.obj, "_hypothesis_internal_use_settings")):  # type: ignore[attr-defined]
            if isinstance(known := getattr(owner, name, None), settings):
                few = settings(
                    known, max_examples=min(known.max_examples, EXAMPLES), phases=[Phase.explicit, Phase.generate]
                )
                setattr(getattr(owner, "__func__", owner), name, few)


def _run(item: pytest.Item) -> str:
    """Run one test; how it fails, "" if it does not."""
    reports = runtestprotocol(item, log=False, nextitem=None)
    return "\n".join(report.longreprtext for report in reports if report.failed)


def _function(module: object, names: tuple[str, ...]) -> Any:
    owner = module
    for name in names:
        owner = vars(owner)[name]
    if hasattr(owner, "cache_clear"):  # what it returned before it was changed
        owner.cache_clear()
    for wrapped in ("fget", "__func__", "__wrapped__"):
        owner = getattr(owner, wrapped, owner)
    return owner


def _code(mutant: Mutant, names: tuple[str, ...]) -> CodeType:
    code = compile(mutant.tree, str(mutant.path), "exec", dont_inherit=True)
    for name in names:
        code = next(const for const in code.co_consts if isinstance(const, CodeType) and const.co_name == name)
    return code


class _Again:
    """A plugin of the pytest in a fork: these tests, in this order."""

    def __init__(self, places: dict[str, int]) -> None:
        self.places, self.failed = places, ""

    pytest_collection = Hunt.pytest_collection

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Choose and order them."""
        items[:] = sorted((it for it in items if it.nodeid in self.places), key=lambda it: self.places[it.nodeid])
        _fewer_examples(items)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note which has failed."""
        if report.failed:
            self.failed = self.failed or report.nodeid


def all_mutants() -> Iterator[Mutant]:
    """Yield the mutants of all files of the core."""
    for wing in WINGS:
        for path in sorted(Path(wing).rglob("*.py")):
            yield from mutants(path)
