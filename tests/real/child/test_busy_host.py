"""On a busy host short runs share few supervisors, and each run that waits for something else has one of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobqueued.child.processes import tree
from jobqueued.child.worker import CPUS, ENOUGH
from tests.support import hung
from tests.support.host import DEADLINE, Host, wait_for

COUNT = 100


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep the CPUs busy by so many processes."""
    loops = []
    try:
        for _ in range(processes):
            loops.append(subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]))
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def held(host: Host, job: str, count: int) -> list[str]:
    """Runs of a job that will all start at once."""
    host.call("Hold")
    return [host.run(job) for _ in range(count)]


@pytest.mark.parametrize("load", [0, 8])
def test_a_burst_of_short_runs(load: int, host: Host) -> None:
    """Short runs that need a CPU are started by few supervisors, however many other processes want one."""
    host.write("job.yaml", f"jobs: {{short: {{command: [{sys.executable}, -S, -c, pass], concurrency: {COUNT}}}}}")
    host.start()
    runs = held(host, "short", COUNT)
    with busy(load):
        host.call("Release")
        assert {host.wait(run)["state"] for run in runs} == {"succeeded"}
    assert len(host.small_ones()) - 1 <= max(2 * CPUS, ENOUGH) + 4


def test_runs_that_sleep_do_not_wait_for_each_other(host: Host) -> None:
    """On a busy host runs that sleep start at once, each with its supervisor, and so does the next run."""
    host.write("job.yaml", f"jobs: {{long: {{command: sleep 600, concurrency: {COUNT}}}, next: {{command: 'true'}}}}")
    host.start()
    runs = held(host, "long", 40)
    with busy(8):
        host.call("Release")
        assert host.wait(host.run("next"))["state"] == "succeeded"
        wait_for(lambda: host.call("Show", run=runs[-1])["record"]["pid"])
    assert len(host.small_ones()) - 1 >= 40
    assert [host.call("Stop", run=run)["state"] for run in runs] == ["stopping"] * 40


def test_questions_beside_long_runs(host: Host) -> None:
    """Calls that a supervisor must answer, such as those of users' files, do not wait for the end of live runs."""
    host.write("job.yaml", "jobs: {long: {command: sleep 600, concurrency: 20}}")
    host.start()
    for live in range(1, 21):
        host.run("long")
        wait_for(lambda live=live: host.call("Status")["running"] == live)
        assert host.call("UserFileSet", name="x", text="am9iczoge30K").keys() & {"error", "stored"}


PROGRAMS = {
    "a loop": ("while True: pass", True),
    "a thread": ("import threading, time; threading.Thread(target=lambda: [None for _ in iter(int, 1)]).start()", True),
    "a grandchild": ("import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])", True),
    "sleep": ("import time; time.sleep(600)", False),
    "a child that sleeps": ("import subprocess; subprocess.run(['sleep', '600'])", False),
    "stopped": ("import os, signal; os.kill(0, signal.SIGSTOP)", False),
}
"""What a job may do, and whether a CPU would carry it on."""


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_wants_a_cpu(program: str) -> None:
    """A process wants a CPU if a thread of it, or of a process below it, does; not while it sleeps or is stopped."""
    text, wanted = PROGRAMS[program]
    job = subprocess.Popen([sys.executable, "-S", "-c", text], start_new_session=True)
    try:
        wait_for(lambda: steadily(job.pid, wanted), DEADLINE)
    finally:
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()
    assert not tree.wants_cpu(job.pid)


@pytest.mark.skipif(not hung.is_possible(), reason="needs root and /dev/fuse")
def test_a_file_system_that_hangs(tmp_path: Path) -> None:
    """Who waits for a file system that never answers wants no CPU."""
    with hung.hung(tmp_path):
        job = subprocess.Popen(["stat", tmp_path / "file"], stderr=subprocess.DEVNULL)
        wait_for(lambda: steadily(job.pid, wanted=False), DEADLINE)
        assert job.poll() is None
    job.wait()


def steadily(pid: int, wanted: bool) -> bool:
    """Whether it is so in a hundred looks."""
    return all(tree.wants_cpu(pid) is wanted for _ in range(100))
