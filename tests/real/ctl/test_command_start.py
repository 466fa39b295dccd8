"""The start of a command that only asks the daemon: it imports click, a few files of ours, and nothing heavier."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import REPO
from tests.support.host import Host

LIBRARIES = {"click", "jobqueued"}
OURS = {
    "",
    "base",
    "base.instants",
    "base.problem",
    "base.text",
    "child",
    "child.contract",
    "child.contract.atomic_file",
    "child.contract.instants",
    "child.contract.json_values",
    "child.contract.reasons",
    "child.contract.text",
    "child.contract.trust",
    "child.contract.tuples",
    "child.contract.unix_socket",
    "control",
    "control.protocol",
    "control.protocol.interface",
    "control.protocol.varlink",
    "core",
    "core.records",
    "core.records.event_data",
    "jobfile",
    "jobfile.tree",
    "jobfile.tree.words",
    "jobfile.types",
    "jobfile.types.spelling",
    "model",
    "model.run_states",
    "model.submission",
    "model.users",
    "settings",
    "settings.host_names",
    "settings.instance",
    "settings.paths",
    "timing",
    "timing.timespec",
}
"""What a command may import of ours, beside files of `ctl`: no job files, no records, no scheduler, no state."""
HEAVY = {"asyncio", "email", "hashlib", "http", "logging", "multiprocessing", "sqlite3", "ssl", "subprocess"}
"""Parts of the standard library that cost more than a command does."""

COMMANDS = [
    ["submit", "--", "true"],
    ["submit", "--at", "tomorrow 03:00", "--name", "later", "--", "true"],
    ["submit", "true"],
    ["withdraw", "host/later"],
    ["list"],
    ["list", "--json"],
    ["status"],
    ["why", "a"],
    ["run", "a"],
    ["run", "--wait", "a"],
    ["pause", "a"],
    ["resume", "a"],
    ["emit", "it"],
    ["hold"],
    ["release"],
    ["locks"],
    ["--help"],
]
AT = [["at", "now", "+", "1", "hour"], ["atq"], ["batch"]]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A daemon with one job."""
    host = Host(tmp_path_factory.mktemp("start") / "host")
    host.write("jobs.yaml", "jobs: {a: {command: 'true'}}\n")
    host.start()
    yield host
    if not host.daemon_ended():
        host.stop()
    host.kill_small_ones()


def imported(host: Host, code: str, words: list[str], folder: Path) -> set[str]:
    """The modules that a command has imported by its end, beyond what this interpreter begins with."""
    listed = folder / "modules"
    code = f"import atexit, sys\nlisted, bare = sys.argv.pop(), set(sys.modules)\n{code}"
    environment = {**os.environ, "JOBQUEUE_ROOT": str(host.root), "PYTHONPATH": str(REPO)}
    for name in ("TZ", "FORCE_COLOR", "TTY_COMPATIBLE", "JOBQUEUE_RUN", "TRACEPARENT"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", code, *words, str(listed)],
        input="true\n",
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=60,
    )
    assert done.returncode in (0, 1), done.stderr
    return set(listed.read_text().split())


_AT_EXIT = "atexit.register(lambda: open(listed, 'w').write(' '.join(sys.modules.keys() - bare)))\n"


def check(modules: set[str]) -> None:
    """Fail on what is too heavy."""
    foreign = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names
    assert LIBRARIES >= {name for name in foreign if not name.startswith("_")}
    ours = {name.removeprefix("jobqueued").removeprefix(".") for name in modules if name.startswith("jobqueued")}
    assert set() == {name for name in ours if name.partition(".")[0] != "ctl"} - OURS
    assert set() == HEAVY & modules


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_imports_what_it_uses(host: Host, tmp_path: Path, words: list[str]) -> None:
    """No command that only talks to the daemon imports rich, yaml, the rules of job files, or the scheduler."""
    check(imported(host, f"{_AT_EXIT}from jobqueued.ctl.main import main; main()", words, tmp_path))


@pytest.mark.parametrize("words", AT, ids=" ".join)
def test_at_imports_what_it_uses(host: Host, tmp_path: Path, words: list[str]) -> None:
    """The same of at, atq and batch."""
    code = f"{_AT_EXIT}from jobqueued.ctl.act.at import main; sys.exit(main(None, None, sys.argv.pop(1)))"
    check(imported(host, code, words, tmp_path))


SHOWING = [
    ["show", "a"],
    ["next", "a"],
    ["next"],
    ["files"],
    ["metrics"],
    ["cat", "jobs.yaml"],
    ["history"],
    ["history", "--stats"],
    ["report"],
    ["remove", "x"],
    ["crontab", "-l"],
    ["top", "--once"],
    ["timeline"],
]
READING = [
    ["check"],
    ["doctor"],
    ["audit"],
    ["simulate", "--for", "1m", "--draws", "1"],
    ["import", "--kind", "user", "-"],
]
NEEDLESS = {"dateutil", "pytz", "calendar", "yaml", "yaml.constructor"}
"""What croniter would load for its own walks through time, and yaml beside its parser."""


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_a_command_that_reads_job_files_loads_of_its_libraries_what_they_do(
    host: Host, tmp_path: Path, words: list[str]
) -> None:
    """croniter only expands fields, and yaml only parses."""
    modules = imported(host, f"{_AT_EXIT}from jobqueued.ctl.main import main; main()", words, tmp_path)
    assert "jobqueued.timing.cronexpr" in modules
    assert set() == NEEDLESS & modules


IDLE = {
    ("check",): {
        "jobqueued.core.state.scheduler_state",
        "jobqueued.core.runs.validity",
        "jobqueued.state.db.rows",
        "sqlite3",
        "jobqueued.model.saved",
        "jobqueued.host.usage",
        "jobqueued.child.start.identity",
        "jobqueued.ctl.base.findings",
        "jobqueued.ctl.files.reports",
        "ctypes",
        "ssl",
        "random",
    },
    ("doctor",): {
        "jobqueued.core.state.scheduler_state",
        "jobqueued.core.runs.validity",
        "jobqueued.state.db.rows",
        "ssl",
    },
    ("audit",): {"jobqueued.state.db.store", "jobqueued.state.db.rows", "sqlite3"},
    ("simulate", "--for", "1m", "--draws", "1"): {
        "multiprocessing",
        "jobqueued.foresight.suggestions",
        "jobqueued.ctl.simulate.past_snapshot",
    },
    ("import", "--kind", "user", "-"): {
        "jobqueued.model.events",
        "jobqueued.jobdir.watch",
        "jobqueued.jobdir.acceptance",
        "jobqueued.core.runs.validity",
    },
}
"""What commands that read job files have no use for while the daemon is up, and jobs claim and await nothing."""


@pytest.mark.parametrize("words", IDLE, ids=" ".join)
def test_what_is_for_rarer_cases_waits_for_them(host: Host, tmp_path: Path, words: tuple[str, ...]) -> None:
    """Judging jobs, state.db, further processes, and OpenSSL, which nobody needs for a SHA-256."""
    modules = imported(host, f"{_AT_EXIT}from jobqueued.ctl.main import main; main()", [*words], tmp_path)
    assert set() == (IDLE[words] | {"_hashlib"}) & modules


PATTERNS = 47
"""Regular expressions of ours that a command compiles while it is imported."""


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_patterns_of_rare_cases_are_compiled_by_them(host: Host, tmp_path: Path, words: list[str]) -> None:
    """There are some 200 in all, a tenth of a millisecond each, and a few of two."""
    code = (
        "import re\ncompiled, compile_it = [], re.compile\n"
        "def counted(*pattern):\n"
        "    compiled.append(sys._getframe(1).f_globals['__name__'])\n    return compile_it(*pattern)\n"
        "re.compile = counted\n"
        "atexit.register(lambda: open(listed, 'w').write(' '.join(it for it in compiled if it[:5] == 'jobqu')))\n"
        "from jobqueued.ctl.main import main; main()"
    )
    listed = tmp_path / "modules"
    imported(host, code, words, tmp_path)
    assert len(listed.read_text().split()) <= PATTERNS


MEASURING = {"jobqueued.control.calls.monitor", "jobqueued.state.db.rows", "sqlite3"}
"""What top measures with while the daemon is down."""


def test_top_measures_nothing_while_the_daemon_does(host: Host, tmp_path: Path) -> None:
    """It loads what draws, and nothing else."""
    code = f"{_AT_EXIT}from jobqueued.ctl.main import main; main()"
    assert set() == MEASURING & imported(host, code, ["top", "--once"], tmp_path)


READERS = {"jobqueued.timing.cronexpr", "jobqueued.jobfile.reader", "jobqueued.core.scheduler", "wsgiref", "http"}


@pytest.mark.parametrize("words", SHOWING, ids=" ".join)
def test_a_command_that_shows_something_reads_no_job_files(host: Host, tmp_path: Path, words: list[str]) -> None:
    """It may load records and what a job is, but not what understands job files, nor what decides."""
    modules = imported(host, f"{_AT_EXIT}from jobqueued.ctl.main import main; main()", words, tmp_path)
    assert set() == READERS & modules
