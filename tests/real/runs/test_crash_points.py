"""SIGKILL between every two steps of the start protocol: the verdict is that of the table, and nothing starts twice."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host import DEADLINE, Host, lives, wait_for

JOB = """
jobs:
  probe:
    command: echo "$JOBQUEUE_RUN $$" >>{root}/started; echo out; sleep 0.1; exit 7
"""

RAN = "failed", 7, 1
"""Carried out exactly once, the exit status known."""
LOST = "lost", None, 1
"""It was started, once; nobody knows how it ended."""
LOST_UNSTARTED = "lost", None, 0
"""It may have been started as far as anybody can tell (it was not); it never is again."""
NOTHING = None, None, 0
"""The request died with the scheduler before anybody was told that it was taken."""

SCHEDULER = [
    ("Store.commit before 1", NOTHING),  # the intent
    ("Store.commit after 1", RAN),
    ("LauncherLink.launch before 1", RAN),
    ("LauncherLink.launch after 1", RAN),
    ("LauncherLink._send after 1", RAN),
    ("Store.commit before 2", RAN),  # the start
    ("Store.commit after 2", RAN),
    ("Store.commit before 3", RAN),  # the end
    ("Store.commit after 3", RAN),
    ("RunDirectory.remove before 1", RAN),
    ("RunDirectory.remove after 1", RAN),
]
LAUNCHER = [
    ("marks.make_directory before 1", RAN),
    ("marks.make_directory after 1", RAN),
    ("marks.write_spec before 1", RAN),
    ("marks.write_spec after 1", RAN),
    ("Launcher._hand_over before 1", RAN),
    ("Launcher._hand_over after 1", RAN),
    ("Launcher._hear before 1", RAN),  # started
    ("Launcher._hear after 1", RAN),
    ("Launcher._hear before 2", RAN),  # ended
    ("Launcher._hear after 2", RAN),
]
SUPERVISOR = [
    ("Attempt._listen before 1", RAN),
    ("Attempt._listen after 1", RAN),
    ("Attempt._claim before 1", RAN),
    ("Attempt._claim after 1", LOST_UNSTARTED),
    ("spawn.spawn before 1", LOST_UNSTARTED),
    ("spawn.spawn after 1", LOST),
    ("Attempt._write_pid before 1", LOST),
    ("Attempt._write_pid after 1", LOST),
    ("Audience.say before 1", LOST),
    ("Audience.say after 1", LOST),
    ("Attempt._watch before 1", LOST),
    ("Attempt._watch after 1", LOST),  # it reaped the job, and told nobody
    ("Attempt._write_record before 1", LOST),
    ("Attempt._write_record after 1", RAN),
    ("Attempt._mark_end before 1", RAN),
    ("Attempt._mark_end after 1", RAN),
    ("Attempt._farewell before 1", RAN),
    ("Attempt._farewell after 1", RAN),
]

HOOKED = """
jobs:
  probe:
    command: echo "$JOBQUEUE_RUN $$" >>{root}/started; echo out; sleep 0.1; exit 7
    telemetry_hooks: {{command: 'echo "$JOBQUEUE_RUN $$" >>{root}/told; sleep 0.1', at: end}}
"""
AT_THE_END = [
    ("Attempt._write_record after 1", RAN),
    ("hook.start_hook before 1", RAN),
    ("hook.start_hook after 1", RAN),
    ("Hooks._finish before 1", RAN),
    ("Hooks._finish after 1", RAN),
    ("Attempt._write_record before 2", RAN),
    ("Attempt._write_record after 2", RAN),
    ("Attempt._mark_end before 1", RAN),
    ("Attempt._mark_end after 1", RAN),
]
"""Steps of a supervisor whose hooks are told of the end."""


@pytest.fixture
def armed(tmp_path: Path) -> Iterator[Host]:
    """A host whose daemon, launcher and supervisors have places to die at."""
    host = Host(tmp_path / "host", "tests/support/crashing.py")
    host.write("probe.yaml", JOB.format(root=host.root))
    host.start()
    yield host
    host.close()
    print(host.log())


def starts(host: Host) -> list[str]:
    """A line for every time that the job was really started."""
    path = host.root / "started"
    return path.read_text().splitlines() if path.exists() else []


def crash(host: Host, point: str) -> None:
    """Ask for a run with this place armed, and wait until it has killed somebody."""
    (host.root / "crash.tmp").write_text(point)
    (host.root / "crash.tmp").rename(host.root / "crash")
    with contextlib.suppress(OSError):  # the scheduler may be killed before it can answer
        host.call("Run", job="probe")
    wait_for(lambda: not (host.root / "crash").exists(), why=f"{point} was never reached")


def settled(host: Host) -> list[dict[str, object]]:
    """Every run that state.db has, once all are final."""

    def nothing_left() -> bool:
        status = host.call("Status")
        return status["due"] + status["waiting"] + status["running"] == 0 and not host.marks()

    wait_for(nothing_left, why=f"marks left: {host.marks()}")
    return list(host.call("Describe", job="probe")["runs"])


def check(host: Host, point: str, expected: tuple[str | None, int | None, int]) -> None:
    """The verdict, from the daemon, from state.db and from the files; then that the host still works."""
    runs = settled(host)
    state, code, count = expected
    assert [(run["state"], run["exit_code"]) for run in runs] == ([] if state is None else [(state, code)]), point
    if state == "lost":  # it may have been killed before it wrote its line
        assert len(starts(host)) <= count
    else:
        assert len(starts(host)) == count
    if state is not None:
        assert host.record("probe@1") == runs[0]
    if state == "failed":
        assert host.output("probe@1") == b"out\n"
    processes = [Path("/proc", line.split()[1]) for line in starts(host)]
    wait_for(lambda: not any(process.exists() for process in processes), why="the job outlived its run")
    again = host.wait(host.run("probe"))
    assert (again["state"], again["exit_code"]) == ("failed", 7)


@pytest.mark.parametrize(("point", "expected"), SCHEDULER, ids=[point for point, _ in SCHEDULER])
def test_scheduler_dies(armed: Host, point: str, expected: tuple[str | None, int | None, int]) -> None:
    """SIGKILL of the scheduler at this step: the next one settles the run as the table says."""
    crash(armed, point)
    assert armed.daemon is not None
    assert armed.daemon.wait(DEADLINE) == -9
    armed.start()
    check(armed, point, expected)


@pytest.mark.parametrize(("point", "expected"), SCHEDULER[1:], ids=[point for point, _ in SCHEDULER[1:]])
def test_scheduler_dies_and_returns_after_the_end(armed: Host, point: str, expected: tuple[str, int, int]) -> None:
    """The same, with the run's end while no scheduler is there."""
    crash(armed, point)
    assert armed.daemon is not None
    armed.daemon.wait(DEADLINE)
    if starts(armed):
        wait_for(lambda: any((armed.root / "run").glob("runs/*/*/ended")) or not armed.marks())
    armed.start()
    check(armed, point, expected)


@pytest.mark.parametrize(("point", "expected"), LAUNCHER, ids=[point for point, _ in LAUNCHER])
def test_launcher_dies(armed: Host, point: str, expected: tuple[str | None, int | None, int]) -> None:
    """SIGKILL of the launcher at this step: the scheduler calls a new one and settles."""
    crash(armed, point)
    check(armed, point, expected)
    assert len(armed.said("trouble")) == 1  # "the launcher is gone"


@pytest.mark.parametrize(("point", "expected"), SUPERVISOR, ids=[point for point, _ in SUPERVISOR])
def test_supervisor_dies(armed: Host, point: str, expected: tuple[str | None, int | None, int]) -> None:
    """SIGKILL of the supervisor at this step: the launcher ends what is left of the run and says so, and lives on."""
    crash(armed, point)
    check(armed, point, expected)
    assert armed.said("trouble") == []


@pytest.mark.parametrize(("point", "expected"), AT_THE_END, ids=[point for point, _ in AT_THE_END])
def test_supervisor_dies_while_hooks_are_told(armed: Host, point: str, expected: tuple[str, int, int]) -> None:
    """SIGKILL of the supervisor at this step: the end is known all the same, and no hook outlives the run for long."""
    armed.write("probe.yaml", HOOKED.format(root=armed.root))
    wait_for(lambda: armed.call("Describe", job="probe")["definition"]["telemetry_hooks"])
    crash(armed, point)
    check(armed, point, expected)
    told = [line.split()[1] for line in (armed.root / "told").read_text().splitlines()]
    wait_for(lambda: not any(map(lives, told)), why="a hook outlived its run")


def long_run(host: Host) -> tuple[str, int, int]:
    """A run that does not end by itself: its name, its process, and its supervisor."""
    host.write("long.yaml", f"jobs: {{long: {{command: 'echo $$ >{host.root}/long; exec sleep 600'}}}}")
    wait_for(lambda: len(host.call("List")["jobs"]) == 2)
    run = host.run("long")
    pid = int(wait_for(lambda: (host.root / "long").exists() and (host.root / "long").read_text()))
    wait_for(lambda: host.said("run_started"), why="R/pid, which comes before the news of the start")
    supervisor = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return run, pid, supervisor


def test_all_die(armed: Host) -> None:
    """SIGKILL of scheduler, launcher and supervisors at once: the job is ended at the next start, its run is lost."""
    run, pid, _supervisor = long_run(armed)
    armed.kill()
    armed.kill_small_ones()
    assert lives(pid)
    armed.start()
    record = armed.wait(run)
    assert (record["state"], record["reason"], record["pid"]) == ("lost", "its supervisor is gone", pid)
    wait_for(lambda: not lives(pid), why="the job was left alone")
    assert armed.record(run) == record


def test_a_silent_supervisor(armed: Host) -> None:
    """Who lives is not lost: a stopped supervisor delays no start and is named, and tells the end once it is awake."""
    run, pid, supervisor = long_run(armed)
    os.kill(supervisor, signal.SIGSTOP)
    armed.kill()
    armed.start()
    assert armed.said("trouble") == [], "the start waited for it"
    (trouble,) = wait_for(lambda: armed.said("trouble"))
    assert trouble["message"].endswith(
        f"the run counts as live; if the supervisor hangs, end it and the run: kill -KILL {supervisor}"
    )
    assert armed.call("Status")["troubles"] == [trouble["message"]]
    os.kill(pid, signal.SIGTERM)
    os.kill(supervisor, signal.SIGCONT)
    record = armed.wait(run)
    assert (record["state"], record["signal"]) == ("failed", signal.SIGTERM)
    assert armed.call("Status")["troubles"] == []


def test_a_silent_supervisor_is_ended(armed: Host) -> None:
    """What the message says to do about a supervisor that hangs does it: its run is lost then."""
    run, pid, supervisor = long_run(armed)
    os.kill(supervisor, signal.SIGSTOP)
    armed.kill()
    for other in armed.small_ones():
        if other != supervisor:
            os.kill(other, signal.SIGKILL)
    armed.start()
    assert armed.call("Show", run=run)["record"]["state"] == "running"
    os.kill(supervisor, signal.SIGKILL)
    record = armed.wait(run)
    assert (record["state"], record["reason"]) == ("lost", "its supervisor is gone")
    wait_for(lambda: not lives(pid), why="the job was left alone")


def test_state_and_record_file_agree(armed: Host) -> None:
    """state.db holds the record that the file holds, to the byte of its JSON."""
    armed.wait(armed.run("probe"))
    armed.stop()
    with sqlite3.connect(armed.root / "state" / "state.db") as db:
        ((text,),) = db.execute("SELECT record FROM run WHERE job = 'probe' AND number = 1")
    assert json.loads(text) == armed.record("probe@1")
