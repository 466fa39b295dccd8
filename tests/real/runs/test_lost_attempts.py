"""Launcher and supervisors killed together: what is left of their runs is killed, or the runs keep their claims."""

from __future__ import annotations

import errno
import json
import os
import resource
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobqueued.child.contract import wire
from jobqueued.child.processes import process
from jobqueued.daemon.loop import read_clocks
from jobqueued.model.events import Event, NeverStarted, RunEnded, RunLingers, RunLost
from jobqueued.model.job import Job, Now
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.runs import leftover_processes, lost_attempts
from jobqueued.runs.leftover_processes import Clues, FoundProcesses, LeftoverProcess, Processes
from jobqueued.runs.lost_attempts import LostAttempts
from jobqueued.runs.recovery import GONE, NO_DIRECTORY, Dead, Recovery
from jobqueued.runs.run_directory import Name, RunDirectory
from tests.support.alone import alone
from tests.support.client import run as jobqueuectl
from tests.support.host import DEADLINE, Host, kill, lives, wait_for
from tests.support.pool import Pool
from tests.support.stranger import public
from tests.support.users import ME, NEEDS_ROOT, OTHER

SLEEPS = "{root}/sleeps"
"""A program that notes its pid, and sleeps."""
WAYS = {
    "as it is": "{sleeps}",
    "below it": "{sleeps} & {sleeps} & wait",
    "in a session of its own": "setsid {sleeps} & wait",
    "in a session of its own, its parent gone": "setsid -f {sleeps}; sleep 600",
    "without an environment": "env -i {sleeps} & wait",
    "without an environment, in a session of its own": "env -i setsid {sleeps} & wait",
    "two generations away": "setsid -f sh -c 'env -i setsid {sleeps} & wait'; sleep 600",
    "in the session of one that has ended": "setsid sh -c 'env -i {sleeps} & {sleeps} & sleep 0'; sleep 600",
}
ORPHAN = "env -i setsid -f {sleeps}; sleep 600"
"""Nothing tells that it is the job's."""


def pids(host: Host, count: int = 1) -> list[int]:
    """The processes that the job has noted, once there are so many."""
    path = host.root / "pids"
    wait_for(lambda: path.exists() and len(path.read_text().split()) >= count, why="the job's processes")
    return list(map(int, path.read_text().split()))


def command(text: str, host: Host) -> str:
    """The text with the root of a host, so that YAML takes it."""
    return json.dumps(text.replace("{sleeps}", SLEEPS).replace("{root}", str(host.root)))


def ctl(host: Host, *words: str) -> tuple[int, str, str]:
    """jobqueuectl, run to its end: exit status, output, errors."""
    done = jobqueuectl("--root", host.root, *words)
    return done.returncode, done.stdout, done.stderr


def kill_small_ones(host: Host) -> None:
    """SIGKILL all small ones together: stopped before, none of them sees another die."""
    small_ones = host.small_ones()
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in small_ones:
            os.kill(pid, number)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = made(tmp_path / "host")
    yield host
    close(host)


def made(root: Path) -> Host:
    """A host with the program that sleeps."""
    host = Host(root)
    (root / "sleeps").write_text(f"#!/bin/sh\necho $$ >>{root}/pids\nexec sleep 600\n")
    (root / "sleeps").chmod(0o755)
    return host


def close(host: Host) -> None:
    """End a host, and what its jobs have left."""
    host.close()
    noted = host.root / "pids"
    for pid in map(int, noted.read_text().split()) if noted.exists() else ():
        kill(pid)
    print(host.log())


def begun(host: Host, text: str, count: int, **keys: str) -> str:
    """A run whose job has begun, and so many of its processes."""
    more = "".join(f", {key}: {value}" for key, value in keys.items())
    host.write("a.yaml", f"jobs: {{a: {{command: {command(text, host)}{more}}}}}")
    host.start()
    run = host.run("a")
    pids(host, count)
    wait_for(lambda: host.said("run_started"), why="R/pid, which comes before the news of the start")
    return run


@pytest.mark.parametrize("scheduler", ["dies too", "lives"])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_left_is_ended(host: Host, way: str, scheduler: str) -> None:
    """Wherever a job's processes have gone, they are ended before its run is lost."""
    run = begun(host, WAYS[way], WAYS[way].count("{sleeps}"))
    left = pids(host)
    if scheduler == "dies too":
        host.kill()
    kill_small_ones(host)
    assert any(map(lives, left))
    if scheduler == "dies too":
        host.start()
    record = host.wait(run)
    assert [] == [pid for pid in left if lives(pid)]
    assert ("lost", GONE) == (record["state"], record["reason"])


@pytest.mark.parametrize("damaged", [False, True])
def test_killed_before_the_pid_was_noted(host: Host, damaged: bool) -> None:
    """Without R/pid, as between the start and that, or with marks of nonsense, what was started is found by name."""
    run = begun(host, WAYS["in a session of its own"], 1)
    host.kill()
    kill_small_ones(host)
    for path in host.root.glob("run/runs/*/*/pid"):
        path.unlink()
        if damaged:
            (path.parent / "spawning").write_bytes(b"\0" * 173)
    host.start()
    assert "lost" == host.wait(run)["state"]
    assert not lives(*pids(host))


def test_the_same_run_of_another_daemon(host: Host, tmp_path: Path) -> None:
    """Another daemon has a run of the same name: what is the other's lives on."""
    other = made(tmp_path / "other")
    try:
        begun(other, ORPHAN, 1)
        run = begun(host, WAYS["in a session of its own, its parent gone"], 1)
        kill_small_ones(host)
        assert "lost" == host.wait(run)["state"]
        assert not lives(*pids(host))
        assert lives(*pids(other))
        assert "running" == other.call("Show", run="a@1")["record"]["state"]
    finally:
        close(other)


def lingering(host: Host) -> int:
    """A process of a run that lingers; another run waits for its lock."""
    host.write("b.yaml", "jobs: {b: {command: 'true', locks: [tape]}}")
    begun(host, ORPHAN, 1, locks="[tape]")
    host.run("b")
    kill_small_ones(host)
    wait_for(lambda: host.said("run_lingers"), why="the run lingers")
    (pid,) = pids(host)
    return pid


@alone
def test_the_claims_are_kept(host: Host) -> None:
    """A process that may be the run's own is left alone, and everybody says so; when it ends, the run is lost."""
    pid = lingering(host)
    told = f"{GONE}, but pid {pid} (sleep) might belong to it;"
    told += " if no process of the run is left: jobqueuectl stop --lost a@1"
    assert [told] == [line["reason"] for line in host.said("run_lingers")]
    assert told == host.call("Show", run="a@1")["record"]["reason"]
    assert f"({told})" in host.call("Why", run="b@1")["why"]["reasons"][0]
    assert [f"a@1 still holds its locks and resources: {told}"] == [
        text for text in host.call("Status")["troubles"] if "a@1" in text
    ]
    typed = told.replace("jobqueuectl", f"jobqueuectl --root {host.root}")
    assert typed in ctl(host, "doctor")[1].replace(told, typed)
    assert typed in ctl(host, "stop", "a@1")[2]
    host.kill()
    host.start()  # the verdict is reached again, by R alone
    assert told == host.call("Show", run="a@1")["record"]["reason"]
    assert "waiting" == host.call("Why", run="b@1")["why"]["state"]
    assert lives(pid)
    os.kill(pid, signal.SIGKILL)
    assert ("lost", GONE) == tuple(host.wait("a@1")[key] for key in ("state", "reason"))
    assert "succeeded" == host.wait("b@1")["state"]
    assert "lost" == host.record("a@1")["state"]


@alone
def test_a_person_releases_them(host: Host) -> None:
    """`stop --lost` ends the run, and signals nothing; the record says who has said so, and what lived."""
    pid = lingering(host)
    assert (0, "a@1 lost\n", "") == ctl(host, "stop", "--lost", "a@1")
    record = host.wait("a@1")
    reason = f"{GONE}; released by {ME.pw_name}, although pid {pid} (sleep) might belong to it"
    assert ("lost", reason) == (record["state"], record["reason"])
    assert "succeeded" == host.wait("b@1")["state"]
    assert lives(pid)
    assert [] == host.marks()
    assert 1 == ctl(host, "stop", "--lost", "a@1")[0]


def test_only_lost_runs_are_released(host: Host) -> None:
    """`stop --lost` of a run whose supervisor lives is refused, with the command that stops it."""
    run = begun(host, "{sleeps}", 1)
    code, _, told = ctl(host, "stop", "--lost", run)
    assert (1, True) == (code, f"{run} is not lost; to stop it: jobqueuectl --root {host.root} stop {run}" in told)
    assert lives(*pids(host))


FLOCK = """
jobs:
  holds:
    command: exec 9>{root}/lock; flock -n 9 || echo overlap >>{root}/overlaps; WAY
    locks: [tape]
    concurrency: 9
"""


@pytest.mark.parametrize("way", ["setsid -f {sleeps}", "env -i setsid -f {sleeps}"])
@alone
def test_a_lock_is_never_given_away(host: Host, way: str) -> None:
    """Whatever holds the flock(2) of one run, no other run of that lock begins before it has ended: so they say."""
    host.write("a.yaml", FLOCK.replace("WAY", f"{way}; sleep 600").replace("{sleeps}", SLEEPS).format(root=host.root))
    host.start()
    first, second = host.run("holds"), host.run("holds")
    (pid,) = pids(host)
    host.kill()
    kill_small_ones(host)
    assert lives(pid)
    host.start()
    if "env" in way:
        wait_for(lambda: host.said("run_lingers"), why="the run lingers")
        kill(pid)
    assert "lost" == host.wait(first)["state"]
    wait_for(lambda: len(pids(host)) == 2, why="the second run")
    wait_for(lambda: host.call("Show", run=second)["record"]["state"] == "running")
    assert not (host.root / "overlaps").exists()


# without a daemon

NAME = Name(RunId("job", 1), 1)


@pytest.fixture
def sleeper() -> Iterator[LeftoverProcess]:
    """A process of ours."""
    with subprocess.Popen(["sleep", "600"]) as started:
        seen = process.stat(started.pid)
        assert seen is not None
        yield LeftoverProcess(started.pid, seen.parent, seen.session, seen.birth, "sleep")
        started.kill()


@pytest.fixture
def lost(tmp_path: Path) -> LostAttempts:
    """One that has just lost its supervisor, of which there are no clues."""
    recovery = Recovery(RunDirectory(tmp_path, tmp_path), set())
    recovery.dead[NAME] = Dead(GONE, Clues(since=0))
    found = LostAttempts(RunDirectory(tmp_path, tmp_path))
    found.take(recovery)
    return found


def see(monkeypatch: pytest.MonkeyPatch, found: FoundProcesses) -> None:
    """Let this be the kin of whoever is looked for."""
    monkeypatch.setattr(Processes, "find", lambda *_: found)


def said(lost: LostAttempts) -> list[str]:
    """What a look says at most."""
    events = list(lost.turn(read_clocks()))
    while lost.has_more:
        events += lost.turn(read_clocks())
    return [event.reason for event in events if isinstance(event, RunLingers | RunLost)]


def test_what_can_not_be_killed(lost: LostAttempts, sleeper: LeftoverProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not end although it was killed is named, once, and the run is not lost."""
    see(monkeypatch, FoundProcesses([sleeper], []))
    monkeypatch.setattr(signal, "pidfd_send_signal", refused)
    assert [] == said(lost), "it is given some time"
    monkeypatch.setattr(lost_attempts, "_LONGEST_WAIT", 0)
    lives_on = f"pid {sleeper.pid} (sleep) can't be killed"
    told = f"{GONE}, but {lives_on}; if no process of the run is left: jobqueuectl stop --lost job@1"
    assert [told] == wait_for(lambda: said(lost))
    assert [f"job@1 still holds its locks and resources: {told}"] == lost.troubles
    assert [] == said(lost), "its time has not come"
    assert RunLost(*NAME, f"{GONE}; released by me, although {lives_on}") == lost.give_up(NAME.run, "me")
    assert ({}, None, []) == (lost.descriptors(), lost.deadline, lost.troubles)


def refused(*_: object) -> None:
    """As the kernel does where a process is another user's by now."""
    raise PermissionError(errno.EPERM, "Operation not permitted")


def test_its_end_is_heard(lost: LostAttempts, sleeper: LeftoverProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the last that was seen ends, it is looked again at once."""
    see(monkeypatch, FoundProcesses([sleeper], []))
    assert [] == said(lost), "it was killed just now"
    ((descriptor, bits),) = lost.descriptors().items()
    assert bits == select.POLLIN
    assert select.select([descriptor], [], [], DEADLINE)[0], "it was killed"
    lost.ready(descriptor, Now(0, 0))
    see(monkeypatch, FoundProcesses([], []))
    assert [GONE] == said(lost)
    assert ({}, None) == (lost.descriptors(), lost.deadline)


def test_a_number_that_is_another_s(
    lost: LostAttempts, sleeper: LeftoverProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever got the number since the look is not signalled."""
    see(monkeypatch, FoundProcesses([sleeper._replace(birth=sleeper.birth - 1)], []))
    assert [] == said(lost)
    assert {} == lost.descriptors()
    assert lives(sleeper.pid)


def test_nobody_can_look(lost: LostAttempts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a descriptor left nothing is known of any process, and nothing is lost."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open("/dev/null") as last:
        resource.setrlimit(resource.RLIMIT_NOFILE, (last.fileno() + 1, hard))
        try:
            told = said(lost)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert ["Too many open files" in text for text in told] == [True]
    see(monkeypatch, FoundProcesses([], []))
    assert [GONE] == wait_for(lambda: said(lost))


def test_nobody_can_read_its_marks(lost: LostAttempts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing lives of it, and its end can't be told now: it is told later, and not forgotten, whoever asks."""
    see(monkeypatch, FoundProcesses([], []))
    with monkeypatch.context() as short:
        short.setattr(RunDirectory, "lost", none_left)
        assert ["its processes can't be listed (Too many open files)" in text for text in said(lost)] == [True]
        with pytest.raises(OSError, match="Too many open files"):
            lost.give_up(NAME.run, "root")
    assert [GONE] == wait_for(lambda: said(lost))


def none_left(*_: object) -> None:
    """Fail for want of a descriptor."""
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_many_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that are lost together cost one look."""
    recovery = Recovery(RunDirectory(tmp_path, tmp_path), set())
    recovery.dead |= {Name(RunId("job", number), 1): Dead(GONE, Clues(since=1 << 62)) for number in range(500)}
    lost = LostAttempts(RunDirectory(tmp_path, tmp_path))
    lost.take(recovery)
    looks = []
    monkeypatch.setattr(
        leftover_processes, "look", lambda *seen, look=leftover_processes.look: looks.append(1) or look(*seen)
    )
    assert [GONE] * 500 == said(lost)
    assert [1] == looks


def test_slices(lost: LostAttempts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn looks at a slice of the processes only; news that comes in between is not missed, nor who is let go."""
    monkeypatch.setattr(leftover_processes, "SLICE", 2)
    see(monkeypatch, FoundProcesses([], [LeftoverProcess(1, 0, 0, 0, "init")]))
    assert ([], True, None) == (lost.turn(read_clocks()), lost.has_more, lost.deadline)
    turns = 1
    recovery = Recovery(RunDirectory(Path("/"), Path("/")), set())
    recovery.dead[NAME] = Dead(GONE, Clues(since=0))
    lost.take(recovery)
    while lost.has_more:
        events = lost.turn(read_clocks())
        turns += 1
    assert ([RunLingers], 0) == ([type(event) for event in events], lost.deadline), "it is looked again at once"
    assert turns > len([name for name in os.listdir("/proc") if name.isdigit()]) // 2
    assert [] == lost.turn(read_clocks())
    lost.give_up(NAME.run, "me")
    while lost.has_more:
        assert [] == lost.turn(read_clocks())
    assert lost.deadline is None


def test_numbers_that_begin_anew(lost: LostAttempts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where so many were born during a look that a number may have been given twice, nothing is told lost."""
    births = iter((0, 1 << 14, 0, 0))
    monkeypatch.setattr(leftover_processes, "_births", lambda: next(births))
    monkeypatch.setattr(leftover_processes, "_numbers", lambda: 1 << 15)
    see(monkeypatch, FoundProcesses([], []))
    assert ["processes come and go too fast to be told apart" in text for text in said(lost)] == [True]
    assert [GONE] == wait_for(lambda: said(lost))


@pytest.mark.parametrize("ends", ["by itself", "with its supervisor"])
@pytest.mark.parametrize("gone", ["all R's", "its R"])
def test_a_start_that_nobody_heard_of(tmp_path: Path, gone: str, ends: str) -> None:
    """R is gone before the scheduler heard of the start: none is made while supervisor or job live, nor after an end,
    nor if all R's are gone.

    Only where that R alone was removed, both were killed, and no record was written, nothing tells of it.
    """
    go, pool, queued = tmp_path / "go", Pool(tmp_path), read_clocks().wall
    job = f"job-{os.getpid()}-{ends.replace(' ', '-')}"  # no test beside this one may have the same run
    os.mkfifo(go)
    path = pool.send(Job(id=job, command=f"read -r x <{go}; exit 3"), id=RunId(job, 1))
    wait_for(lambda: (path / wire.PID).exists() and (path / wire.PID).read_text())
    main = int((path / wire.PID).read_text().split()[0])
    shutil.rmtree(path)
    of_run = {"id": RunId(job, 1), "key": "x", "due": 0, "queued": queued, "arrival": 1, "attempt": 1}
    row = Run(**of_run, state=RunState.STARTING)
    marks = RunDirectory(tmp_path, tmp_path / "logs")
    if gone == "its R":
        marks.emptying.begin()
    recovery = Recovery(marks, set())
    assert [] == list(recovery.verdicts({row.id: row}, lambda _run: False, same_boot=True))
    lost = LostAttempts(marks)
    lost.take(recovery)
    (lingers,) = until_news(lost)
    assert isinstance(lingers, RunLingers)
    assert str(main) in lingers.reason
    if ends == "by itself":
        go.write_text("go on\n")
        while isinstance(over := until_news(lost)[-1], RunLingers):  # its supervisor still writes the record
            pass
        assert isinstance(over, RunEnded)
        assert (over.record["state"], over.record["exit_code"]) == ("failed", 3)
    else:
        for pid in (pool.pid, main):
            os.kill(pid, signal.SIGKILL)
        while isinstance(over := until_news(lost)[-1], RunLingers):
            pass
        assert over == (NeverStarted(row.id, 1) if gone == "its R" else RunLost(row.id, 1, NO_DIRECTORY))
    pool.close()


def until_news(lost: LostAttempts) -> list[Event]:
    """Turn until something is told."""

    def told() -> list[Event]:
        now = read_clocks()
        for descriptor in [number for number in lost.descriptors() if select.select([number], [], [], 0)[0]]:
            lost.ready(descriptor, now)
        return list(lost.turn(now)) if lost.has_more or (lost.deadline or 0) <= now.mono else []

    return wait_for(told)


CALLS_ITSELF = "import ctypes, time; ctypes.CDLL(None).prctl(15, b'jq-supervisor'); print(flush=True); time.sleep(600)"


@pytest.mark.parametrize("user", [None, pytest.param(OTHER, marks=NEEDS_ROOT)])
def test_who_calls_himself_its_supervisor(user: str | None) -> None:
    """A process with that title is one only if it is of the daemon's user: else any user could keep a run's locks."""
    with public() as directory:
        (directory / "a@1.1").write_text(CALLS_ITSELF)
        words = ["jq-supervisor", "a@1.1", "/runs"]
        titled = subprocess.Popen(
            words, executable="/usr/bin/python3", stdout=subprocess.PIPE, user=user, cwd=directory, env={}
        )
        with titled:
            assert titled.stdout is not None
            assert titled.stdout.readline() == b"\n"
            processes = Processes(os.getpid())
            list(leftover_processes.look(processes, 0))
            _, found = processes.find(Clues(0, cgroup="/none", title=("a@1.1", "/runs")))
            titled.kill()
    assert (user is None) == (titled.pid in [each.pid for each in found])


def test_a_record_that_tells_already_stays(tmp_path: Path) -> None:
    """Where the run was judged without its supervisor, as a person said that nothing of it lives, that counts."""
    go, pool = tmp_path / "go", Pool(tmp_path)
    os.mkfifo(go)
    path = pool.send(Job(id="job", command=f"read -r x <{go}"))
    wait_for((path / wire.PID).exists)
    shutil.rmtree(path)
    judged = tmp_path / "logs" / "job" / "1.json"
    judged.parent.mkdir(parents=True, exist_ok=True)
    judged.write_text('{"state": "lost", "attempts": [{"attempt": 1}]}')
    go.write_text("go on\n")
    while not pool.socket.recv(wire.NOTICE).startswith(b"lost "):
        pass
    assert json.loads(judged.read_text())["state"] == "lost"
    pool.close()
