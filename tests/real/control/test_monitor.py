"""Live monitoring: what is shown is what the kernel counts; nobody looks, nothing is done."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobqueued.base.instants import SECOND
from jobqueued.child.contract import unix_socket, wire
from jobqueued.child.processes import tree
from jobqueued.control.calls import monitor
from jobqueued.control.calls.monitor import _FIRST as FIRST
from jobqueued.control.calls.monitor import _SLICE as SLICE
from jobqueued.control.calls.monitor import EVERY, HISTORY, Monitor, RunProcess, Trace
from jobqueued.control.protocol.varlink import Decoder, encode
from jobqueued.host import usage
from jobqueued.host.usage import Usage
from jobqueued.model.job import Now
from jobqueued.model.run import Run, RunId
from jobqueued.runs.run_directory import Name, RunDirectory
from tests.support import REPO
from tests.support.host import DEADLINE, Host, wait_for

JOBS = """
jobs:
  spins: {command: "while :; do :; done"}
  eats: {command: [python3, -c, "import time; x = bytearray(60 << 20); time.sleep(600)"]}
  forks: {command: "sleep 600 & sleep 600 & wait"}
  stubborn: {command: "(trap '' TERM; while :; do sleep 0.1; done) & sleep 0.2", kill_grace: 10m}
"""


class Here:
    """A monitor of processes, each with a parent as runs have, on a clock of its own; `replies` by ticket, until its
    `longest_wait` has run out.
    """

    def __init__(self, count: int) -> None:
        parent = "sleep 600 & echo $!; wait"
        self.parents = [subprocess.Popen(["sh", "-c", parent], stdout=subprocess.PIPE) for _ in range(count)]
        self.pids = [int(parent.stdout.readline()) for parent in self.parents]  # type: ignore[union-attr]
        self.gone: set[int] = set()
        self.now = Now(1_000 * SECOND, 5 * SECOND)
        self.replies: dict[int, list[Any]] = {}
        self.longest_wait: dict[int, int] = {}
        marks = RunDirectory(Path("/no-such"), Path("/no-such"))
        self.monitor = Monitor(self.live, marks, self.reply)

    def live(self) -> list[RunProcess]:
        found = [(RunId("a", number), pid) for number, pid in enumerate(self.pids, 1)]
        runs = [(run, pid) for run, pid in found if run.number not in self.gone]
        return [RunProcess(Name(run, 1), "running", pid, self.now.wall) for run, pid in runs]

    def reply(self, ticket: int, text: str) -> bool:
        self.replies.setdefault(ticket, []).append(json.loads(text))
        return len(self.replies[ticket]) < self.longest_wait.get(ticket, 10**9)

    def wait(self, nanoseconds: int) -> None:
        """So much time passes, in which the monitor does what it has to."""
        until = self.now.mono + nanoseconds
        while self.monitor.has_more or (self.monitor.at is not None and self.monitor.at <= until):
            ahead = max(0, (self.monitor.at or 0) - self.now.mono) if not self.monitor.has_more else 0
            self.now = Now(self.now.wall + ahead, self.now.mono + ahead)
            self.monitor.turn(self.now)
        self.now = Now(self.now.wall + until - self.now.mono, until)

    def close(self) -> None:
        for pid in set(self.pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for parent in self.parents:
            parent.communicate()


@pytest.fixture
def here() -> Iterator[Here]:
    found = Here(3)
    yield found
    found.close()


def test_nobody_looks(here: Here) -> None:
    """There is nothing to wake up for, before the first has looked and after the last."""
    assert here.monitor.at is None
    here.monitor.turn(here.now)
    here.longest_wait = {1: 1, 2: 3}
    here.monitor.join(1, False, here.now)
    here.monitor.join(2, False, here.now)
    here.wait(60 * SECOND)
    assert {1: 1, 2: 3} == {ticket: len(replies) for ticket, replies in here.replies.items()}
    assert here.monitor.at is None
    assert not here.monitor.has_more


def test_what_can_not_be_read_is_tried_with_the_next_look(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a descriptor for the first look, or for a later one, nobody is answered; and nothing spins."""

    def none_left() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    here.longest_wait = {1: 2}
    with monkeypatch.context() as patch:
        patch.setattr(monitor, "HostUsage", none_left)
        here.monitor.join(1, False, here.now)
        here.wait(EVERY - 1)
        assert ({}, here.now.mono + 1) == (here.replies, here.monitor.at)
    here.wait(1 + FIRST)
    assert 1 == len(here.replies[1])
    with monkeypatch.context() as patch:
        patch.setattr(monitor, "host", none_left)
        here.wait(EVERY)
    here.wait(EVERY)
    assert (2, None) == (len(here.replies[1]), here.monitor.at)


def test_the_last_descriptors_are_not_for_monitoring(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose cgroup would take one is left out; the host and the others are told."""
    monkeypatch.setattr(monitor, "is_spare", lambda _descriptor: False)
    here.monitor.join(1, False, here.now)
    here.wait(FIRST)
    assert [] == here.replies[1][0]["runs"]


def test_one_alone(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is looked at by itself, a few processes a turn; of very many only some are, and that is said."""
    looks: list[int] = []
    one = usage._of_process

    def of_process(pid: int) -> Any:
        looks.append(pid)
        return one(here.pids[0])

    monkeypatch.setattr(usage, "_of_process", of_process)
    here.monitor.marks.supervisor = lambda _name: here.parents[0].pid  # type: ignore[method-assign]
    run = Run(id=RunId("a", 1), key="x", due=0, queued=0, arrival=1, attempt=1, pid=here.pids[0])
    told: list[Any] = []
    for count, partial in ((10, False), (usage.MOST + 100, True)):
        monkeypatch.setattr(tree, "steps", lambda _pids, count=count: ((pid, 1) for pid in range(count)))
        here.monitor.measure(run, told.append)
        looks.clear()
        turns = 0
        while here.monitor.has_more:
            before = len(looks)
            here.monitor.turn(here.now)
            turns += 1
            assert len(looks) <= before + SLICE
        assert (min(count, usage.MOST), partial) == (len(looks), told[-1]["partial"])
        assert turns >= len(looks) // SLICE
    here.monitor.measure(replace(run, pid=2**22 + 1), told.append)
    monkeypatch.setattr(tree, "steps", lambda _pids: iter(()))
    here.wait(0)
    assert told[-1] is None


def test_threads_are_pieces_too() -> None:
    """Looking for the children of a process with many threads can be interrupted after each."""
    code = "import threading, time; [threading.Thread(target=time.sleep, args=(600,)).start() for _ in range(50)];" \
        "print(flush=True); time.sleep(600)"  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert [None] * 51 == list(tree.steps([process.pid]))
        process.kill()


def test_rhythm(here: Here) -> None:
    """The first answer after a quarter of a second, then one a second; one that comes later fits in."""
    here.monitor.join(1, False, here.now)
    here.wait(FIRST - 1)
    assert {} == here.replies
    here.wait(1)
    assert 1 == len(here.replies[1])
    here.wait(EVERY // 2)
    here.monitor.join(2, False, here.now)
    here.wait(9 * EVERY)
    assert (10, 9) == (len(here.replies[1]), len(here.replies[2]))
    assert {"a@1", "a@2", "a@3"} == {run["run"] for run in here.replies[1][0]["runs"]}


def test_history(here: Here) -> None:
    """Who wants it gets it once, with what others have seen before, and no more than is kept."""
    here.monitor.join(1, True, here.now)
    here.wait(3 * HISTORY * EVERY)
    here.monitor.join(2, True, here.now)
    here.wait(2 * EVERY)
    first, second = here.replies[2]
    for known in (first["host"], *first["runs"]):
        assert HISTORY == len(known["history"])
        assert known["now"] == known["history"][-1]
    assert [[]] * 4 == [known["history"] for known in (second["host"], *second["runs"])]
    assert 2 == len(here.replies[1][0]["runs"][0]["history"]), "since its start, and since then"


def test_a_run_that_has_ended(here: Here) -> None:
    """It is not shown, whether that is known already or not."""
    here.monitor.join(1, False, here.now)
    here.wait(SECOND)
    os.kill(here.pids[0], signal.SIGKILL)
    here.parents[0].wait()
    here.wait(SECOND)
    assert ["a@2", "a@3"] == [run["run"] for run in here.replies[1][-1]["runs"]]
    here.gone.add(1)
    here.wait(SECOND)
    assert ["a@2", "a@3"] == [run["run"] for run in here.replies[1][-1]["runs"]]


def test_many_are_looked_at_in_slices() -> None:
    """No turn of the loop looks at more than so many; an answer has all of them."""
    here = Here(1)
    here.pids *= 2 * SLICE + 1
    try:
        here.monitor.join(1, False, here.now)
        turns = 1
        while here.monitor.has_more:
            here.monitor.turn(here.now)
            turns += 1
        assert -(-4 * (2 * SLICE + 1) // SLICE) == turns, "of each its parent, the process, the threads of both"
        here.wait(SECOND)
        assert 2 * SLICE + 1 == len(here.replies[1][-1]["runs"])
    finally:
        here.close()


def test_rates() -> None:
    """By the time between two looks at this run; a counter that has gone down, as a child's went with it, is none."""
    trace = Trace(Usage(0, 1.0, 5, 1, 0, None))
    trace.add(Usage(2 * SECOND, 1.5, 7, 2, 1000, None), SECOND, {"a": 1})
    trace.add(Usage(3 * SECOND, 1.2, 7, 2, 1000, 5), 2 * SECOND, {"a": 2})
    told = json.loads(trace.to_json(9))
    first, second = told["history"]
    assert (told["a"], told["now"]) == (2, second)
    assert first == {
        "time": "1970-01-01T00:00:01.000000Z", "cpu": 0.25, "memory": 7, "tasks": 2, "io_read": 500.0,
        "io_write": None,
    }  # fmt: skip
    assert (0.0, 0.0, None) == tuple(second[name] for name in ("cpu", "io_read", "io_write"))


def test_a_run_of_many_processes_is_looked_at_in_slices(tmp_path: Path) -> None:
    """One that forks on keeps the loop from nothing."""
    pids = tmp_path / "pids"
    forks = f"for i in $(seq {3 * SLICE}); do sleep 600 & done; echo $! >{pids}; wait"
    parent = subprocess.Popen(["sh", "-c", forks], start_new_session=True)
    try:
        here = Here(0)
        here.pids = [int(wait_for(lambda: pids.exists() and pids.read_text()))]
        here.monitor.join(1, False, here.now)
        turns = 1
        while here.monitor.has_more:
            here.monitor.turn(here.now)
            turns += 1
        assert -(-(2 * 3 * SLICE + 2) // SLICE) == turns, "each process, its thread, that of their parent, the end"
        here.wait(SECOND)
        assert 3 * SLICE == here.replies[1][0]["runs"][0]["now"]["tasks"]
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()


def test_a_history_is_told_as_far_as_there_is_room(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many runs less of each."""
    monkeypatch.setattr(monitor, "_MOST_TOLD", 30)
    here.monitor.join(1, False, here.now)
    here.wait(20 * EVERY)
    here.monitor.join(2, True, here.now)
    here.wait(2 * EVERY)
    assert [10] * 3 == [len(run["history"]) for run in here.replies[2][0]["runs"]]


def test_a_clock_that_was_set_back(here: Here) -> None:
    """The first figure is the mean since the start all the same."""
    here.now = Now(here.now.wall - 900 * SECOND, here.now.mono)
    here.monitor.join(1, True, here.now)
    here.wait(SECOND)
    assert all(run["history"][0]["cpu"] <= 1.1 for run in here.replies[1][0]["runs"])


def test_a_host_without_disks(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may see none, nor even that."""

    def none(*_: object, **__: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr("psutil.disk_io_counters", none)
    here.monitor.join(1, False, here.now)
    here.wait(SECOND)
    assert (None, None) == tuple(here.replies[1][0]["host"]["now"][name] for name in ("io_read", "io_write"))


def test_a_kernel_that_does_not_count_io(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not known then, and nothing else is lost."""
    monkeypatch.delattr("psutil.Process.io_counters")
    here.monitor.join(1, False, here.now)
    here.wait(SECOND)
    assert [(1, None)] * 3 == [(run["now"]["tasks"], run["now"]["io_read"]) for run in here.replies[1][0]["runs"]]


# through the daemon


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    found = Host(tmp_path / "host")
    found.write("a.yaml", JOBS)
    found.start()
    yield found
    found.close()


def live(host: Host, *jobs: str) -> list[int]:
    """Pids of runs of these jobs."""
    runs = [host.run(job) for job in jobs]
    return [wait_for(lambda run=run: host.call("Show", run=run)["record"]["pid"]) for run in runs]  # type: ignore[misc]


@contextlib.contextmanager
def stream(host: Host, **parameters: Any) -> Iterator[Iterator[dict[str, Any]]]:
    """The replies of Usage, one after the other."""
    directory = wire.open_directory(str(host.root / "run"))
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE)
        connection.connect(unix_socket.address(directory, wire.CONTROL))
        os.close(directory)
        connection.sendall(encode({"method": "io.jobqueue.Usage", "parameters": parameters, "more": True}))
        decoder = Decoder()
        yield (message for data in iter(lambda: connection.recv(1 << 16), b"") for message in decoder.feed(data))


def switches(pid: int) -> int:
    """How often it has been woken up so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if "voluntary_ctxt_switches" in line)


def test_once(host: Host) -> None:
    """Figures of each run's whole tree; what stands still is told."""
    pids = live(host, "spins", "eats", "forks")
    os.kill(pids[1], signal.SIGSTOP)

    def usage() -> Any:
        runs = {run["job"]: run for run in host.call("Usage")["runs"]}
        return runs if runs["eats"]["stopped"] and runs["forks"]["now"]["tasks"] == 3 else None

    runs = wait_for(usage)
    assert dict(zip(["spins", "eats", "forks"], pids, strict=True)) == {job: run["pid"] for job, run in runs.items()}
    assert {("processes", "running", 0)} == {(r["by"], r["state"], len(r["history"])) for r in runs.values()}
    assert 0.02 < runs["spins"]["now"]["cpu"] <= 1.2, "of one CPU, which others want as well"
    assert runs["eats"]["now"]["cpu"] < 0.2
    assert runs["spins"]["cpu_seconds"] > 0


def test_a_stream(host: Host) -> None:
    """Replies until the client leaves; then the daemon sleeps as soundly as before."""
    (pid,) = live(host, "forks")
    assert host.daemon is not None
    with stream(host, history=True) as replies:
        several = [next(replies) for _ in range(3)]
    assert {True} == {reply["continues"] for reply in several}
    assert [[pid]] * 3 == [[run["pid"] for run in reply["parameters"]["runs"]] for reply in several]
    assert [True, False, False] == [bool(reply["parameters"]["host"]["history"]) for reply in several]
    looks: list[tuple[float, int]] = []

    def quiet() -> bool:
        looks.append((time.monotonic(), switches(host.daemon.pid)))  # type: ignore[union-attr]
        return any(count == looks[-1][1] and looks[-1][0] - at > 1.5 for at, count in looks)

    wait_for(quiet, 120, why="no wake-up in more than its rhythm")


def test_a_run_whose_command_has_ended(host: Host) -> None:
    """What it left is looked at until it is gone, also by who has not looked before, and while the daemon is down."""
    run = host.run("stubborn")
    wait_for(lambda: host.call("Show", run=run)["record"]["state"] == "stopping")
    (shown,) = host.call("Usage")["runs"]
    assert (shown["run"], shown["state"], shown["now"]["tasks"] >= 1) == (run, "stopping", True)
    assert host.call("Show", run=run)["record"]["usage"]["tasks"] >= 1
    host.kill()
    assert [run] == [each["run"] for each in json.loads(top(host, "--json").stdout)["runs"]]


def test_who_does_not_read_makes_nobody_wait(host: Host) -> None:
    """Others get theirs."""
    live(host, "forks")
    with stream(host), stream(host) as replies:
        for _ in range(3):
            next(replies)
        assert host.call("Status")["running"] == 1


# jobqueuectl top


PROGRAM = [sys.executable, "-c", "from jobqueued.ctl.main import main; main()"]


def top(host: Host, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*PROGRAM, "--root", str(host.root), "top", *arguments]
    return subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=DEADLINE, check=False)


def test_top_once(host: Host) -> None:
    """A table where stdout is no terminal, in the order that was asked for; also while the daemon is down."""
    live(host, "spins", "eats", "forks")

    def eaten() -> bool:
        return any(run["job"] == "eats" and run["now"]["memory"] > 60 << 20 for run in host.call("Usage")["runs"])

    wait_for(eaten, why="eats has eaten")
    for state in ("up", "down"):
        shown = top(host, "--sort", "memory")
        assert shown.returncode == 0, shown.stderr
        head, _, runs = shown.stdout.partition("\n\n")
        lines = runs.splitlines()
        assert head.startswith("CPU ")
        assert lines[0].split()[:4] == ["RUN", "CPU", "MEMORY", "STATE"]
        assert lines[1].split()[0] == "eats@1"
        assert {"eats@1", "spins@1", "forks@1"} == {line.split()[0] for line in lines[1:]}
        assert ("it is not running" in shown.stderr) == (state == "down")
        some = json.loads(top(host, "--json", "--sort", "tasks", "forks", "spins").stdout)
        assert ["forks@1", "spins@1"] == [run["run"] for run in some["runs"]]
        host.kill() if state == "up" else None


def test_top_of_nothing(host: Host) -> None:
    """That is said."""
    assert top(host).stdout.splitlines()[-1] == "No run is live."
    assert top(host, "--sort", "colour").returncode == 2


def test_top_of_a_job(host: Host) -> None:
    """Only its runs."""
    live(host, "forks")
    assert top(host, "eats").stdout.splitlines()[-1] == "No run of eats is live."


class Screen:
    """`top` on a terminal."""

    def __init__(self, host: Host, **environment: str) -> None:
        self.pid, self.terminal = pty.fork()
        if not self.pid:
            os.chdir(REPO)
            os.environ.pop("COLUMNS", None)
            os.environ.update({"TERM": "xterm", **environment})
            os.execv(PROGRAM[0], [*PROGRAM, "--root", str(host.root), "top"])
        self.seen = b""
        self.resize(20, 150)

    def resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def sees(self, *texts: str) -> bool:
        """Whether all of these are in what was drawn last."""
        with contextlib.suppress(OSError):  # it has ended
            while select.select([self.terminal], [], [], 0)[0] and (said := os.read(self.terminal, 1 << 16)):
                self.seen = (self.seen + said)[-20_000:]
        return all(text.encode() in self.seen.rpartition(b"\x1b[H")[2] for text in texts)

    def has_ended(self) -> bool:
        self.sees()
        return os.waitpid(self.pid, os.WNOHANG)[0] == self.pid

    def is_sane(self) -> bool:
        """Whether lines are edited and echoed again."""
        flags = termios.ICANON | termios.ECHO
        return termios.tcgetattr(self.terminal)[3] & flags == flags

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.terminal)


@pytest.fixture
def screen(host: Host) -> Iterator[Screen]:
    live(host, "spins", "eats")
    found = Screen(host)
    wait_for(lambda: found.sees("2 live, 0 wait, by cpu"))
    yield found
    found.close()


def test_top_on_a_terminal(host: Host, screen: Screen) -> None:
    """It lasts until q; a key sorts; over a death and a restart of the daemon the runs stay in sight."""
    assert not screen.is_sane()
    os.write(screen.terminal, b"m")
    wait_for(lambda: screen.sees("2 live, 0 wait, by memory"))
    host.kill()
    wait_for(lambda: screen.sees("eats@1", "measured here"))
    host.start()
    wait_for(lambda: screen.sees("eats@1", "2 live, 0 wait, by memory") and not screen.sees("measured here"))
    os.write(screen.terminal, b"x")
    wait_for(lambda: screen.sees("2 live"))
    os.write(screen.terminal, b"q")
    wait_for(screen.has_ended)
    assert screen.is_sane()


def test_top_is_terminated(screen: Screen) -> None:
    """The terminal is as it was before."""
    os.kill(screen.pid, signal.SIGTERM)
    wait_for(screen.has_ended)
    assert screen.is_sane()


def test_top_on_a_terminal_that_changes(screen: Screen) -> None:
    """It fits, however small: the head is cut, and a run is in sight."""
    screen.resize(7, 30)
    wait_for(lambda: screen.sees("…", "@1") and not screen.sees("STARTED"))
    screen.resize(20, 150)
    wait_for(lambda: screen.sees("STARTED", "RECENT CPU"))


def test_top_on_a_terminal_that_does_not_know_its_size(screen: Screen) -> None:
    """A serial console: as if it had 24 lines of 80."""
    screen.resize(0, 0)
    wait_for(lambda: screen.sees("STATE", "not shown: STARTED, RECENT CPU"))


def test_top_on_a_dumb_terminal(host: Host) -> None:
    """It prints once."""
    live(host, "forks")
    dumb = Screen(host, TERM="dumb")
    wait_for(dumb.has_ended)
    assert dumb.sees("forks@1")
    dumb.close()
