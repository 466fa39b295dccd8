"""One supervisor, with the test as its launcher: the same world for the first run and for the thousandth."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from subprocess import PIPE
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jobqueued.base.instants import HOUR, SECOND
from jobqueued.child import supervisor
from jobqueued.child.attempt import attempt
from jobqueued.child.contract import wire
from jobqueued.child.contract.documents import LaunchSpec
from jobqueued.child.processes import tree
from jobqueued.child.start import as_user, identity, lockfile, spawn
from jobqueued.child.start.lockfile import LockFiles
from jobqueued.core.records import record
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.model.fleet import Grant
from jobqueued.model.job import Claim, Job
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.model.users import Owner
from jobqueued.queue.placement import CPUS
from tests.support import REPO
from tests.support.host import wait_for
from tests.support.papers import fields
from tests.support.pool import Pool
from tests.support.stranger import public
from tests.support.users import ME, NEEDS_ROOT, NICE, OTHER, ROOT, STRANGER

RUNS = supervisor.MOST_ATTEMPTS - 3 if os.environ.get("JOBQUEUED_SOAK") else 300
"""Between the first look and the last: of each kind some thirty; at length all but the last run of a supervisor."""


LOOK = "cat /proc/self/status /proc/self/limits; ls -l /proc/self/fd; umask; pwd; env; cat /proc/self/oom_score_adj"
_VARYING = re.compile(
    r"^(Pid|PPid|Tgid|NSpid|NStgid|NSpgid|NSsid|Ngid|Vm\w+|Rss\w+|Hugetlb\w+|\w*ctxt_switches|SigQ|State|Threads):.*\n"
    r"|\d\d:\d\d|pipe:\[\d+\]|/proc/\d+/fd|(JOBQUEUE_(RUN|INVOCATION_ID)|TRACEPARENT)=.*\n|total \d+",
    re.M,
)


def look(pool: Pool) -> str:
    said, document = pool.run(command=LOOK)
    assert (said, document["exit_code"]) == (["started", "ended"], 0)
    return _VARYING.sub("", pool.output())


def test_the_first_and_the_last_run_see_the_same(pool: Pool, tmp_path: Path) -> None:
    """Whatever the runs before were, failed or not: status, limits, descriptors, umask, directory, environment."""
    wrong = tmp_path / "wrong.env"
    wrong.write_text("no variables")
    kinds: list[dict[str, Any]] = [
        {"command": "true"},
        {"command": "exit 3", "umask": 0o777, "working_directory": "/usr"},
        {"command": ["/no/such"]},
        {"command": "true", "working_directory": "/no/such"},
        {"command": "true", "environment_file": (str(wrong),)},
        {"command": "cat", "stdin": "x" * 100_000},
        {"command": "true", "nice": NICE, "oom_score_adj": 300, "no_new_privs": True, "cpu_scheduling": "batch"},
        {"command": "true", "resource_limits": {"open_files": 50, "core": 0, "cpu_time": 9 * SECOND, "stack": 1 << 20}},
        {"command": "true", "group": "no-such"},
        *([{"command": "true", "user": "nobody"}, {"command": "true", "groups": ("games",)}] if ROOT else []),
    ]
    slow: list[dict[str, Any]] = [
        {"command": "sleep 60 & sleep 0.01", "timeout": 30 * SECOND},
        {"command": "kill -STOP $$", "timeout": SECOND // 20, "kill_grace": 0},
    ]
    before = look(pool)
    ours = pool.descriptors()
    for number in range(RUNS):
        pool.run(**(kinds[number % len(kinds)] if number % 50 else slow[number // 50 % 2]))
    assert before == look(pool)
    assert not Counter(pool.descriptors()) - Counter(ours)  # on a busy host one of before may close late


def test_it_leaves_the_pool_in_time(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many runs it says so with the last one, and is gone."""
    monkeypatch.setattr(supervisor, "MOST_ATTEMPTS", 3)
    (pool.root / "other").mkdir()
    short = Pool(pool.root / "other")
    assert [short.run(command="true")[0][-1] for _ in range(3)] == ["ended", "ended", "left"]
    assert short.socket.recv(1) == b""
    short.close()


def test_it_leaves_the_pool_for_what_its_job_left(pool: Pool) -> None:
    """`leave_children`: the run is over at once, the supervisor stays until the last process has ended."""
    said, document = pool.run(command="sleep 600 & echo $!", leave_children=True)
    assert (said, document["state"]) == (["started", "left"], "succeeded")
    assert document["warnings"][0].startswith("left running: ")
    beside = pool.root / f"job@1.1{wire.LEFT}"
    assert beside.is_socket()
    os.kill(int(pool.output()), signal.SIGKILL)
    assert pool.socket.recv(1) == b""
    assert not beside.exists()


def test_what_was_left_and_has_ended_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends before the run's end is marked has left nothing: the supervisor stays, no socket waits beside R."""
    monkeypatch.setattr(attempt, "_DRAIN_OF_LEFT", 600.0)
    pool = Pool(tmp_path)
    pids, go = tmp_path / "pids", tmp_path / "go"
    command = f"until [ -e {go} ]; do sleep 0.01; done & echo $! $$ >{pids}.new; mv {pids}.new {pids}"
    path = pool.send(Job(id="job", command=command, leave_children=True))
    left, main = wait_for(lambda: pids.exists() and pids.read_text().split())
    with open(f"/proc/{left}/fd/1", "wb"):  # so that its end is not the end of the output
        wait_for(lambda: not Path(f"/proc/{main}").exists())
        go.touch()
        said = [pool.socket.recv(wire.NOTICE).decode().split()[0] for _ in range(2)]
    assert ["started", "ended"] == said
    assert [path] == list(tmp_path.glob("job@*"))
    assert ["started", "ended"] == pool.run(command="true")[0]
    pool.close()


@pytest.mark.parametrize("order", [b"", b"{", b"no order\n", b"[]\n"])
def test_an_order_that_is_none(pool: Pool, order: bytes) -> None:
    """An attempt without a whole order is not started, and its supervisor takes the next."""
    path = pool.root / "job@9.1"
    path.mkdir()
    (path / wire.SPEC).write_bytes(order)
    directory = wire.open_directory(str(path))
    socket.send_fds(pool.socket, [b"job@9.1"], [directory])
    os.close(directory)
    assert b"unstarted job@9.1 run directory: its launch spec is incomplete" == pool.socket.recv(wire.NOTICE)
    assert ["started", "ended"] == pool.run(command="true")[0]


def test_what_is_left_may_go_on_writing(pool: Pool) -> None:
    """Its output goes where it went, though the record was written before."""
    go = pool.root / "go"
    pool.run(command=f"(until [ -e {go} ]; do sleep 0.02; done; echo late) & echo early", leave_children=True)
    go.touch()
    assert pool.socket.recv(1) == b""
    assert pool.output() == "early\nlate\n"


def test_nobody_looks_at_what_is_left(pool: Pool) -> None:
    """A supervisor that waits for what has closed its output sleeps until it ends."""
    pool.run(command="sleep 1 >/dev/null 2>&1 &", leave_children=True)
    os.waitid(os.P_PID, pool.pid, os.WEXITED | os.WNOWAIT)
    status = Path(f"/proc/{pool.pid}/status").read_text()
    assert int(re.findall(r"^voluntary_ctxt_switches:\s+(\d+)$", status, re.M)[0]) < 200


def test_the_failover_runs_instead_of_the_command(pool: Pool) -> None:
    """Its record has the attempts before it, and says which one was the failover."""
    job = Job(id="job", command="echo never; exit 3", failover=["sh", "-c", "echo $JOBQUEUE_ATTEMPT $0", "instead"])
    first = {"attempt": 1, "started": "2026-03-02T00:00:00.000000Z", "failover": False, "output": {"bytes": 0}}
    so_far = {**record.begin(Run(id=RunId("job", 1), key="x", due=0, queued=0, arrival=1), job, HostLimits("host"))}
    _said, path = pool.order(job, attempt=2, failover=True, so_far={**so_far, "attempts": [first]})
    document = json.loads((path / wire.ENDED).read_bytes())
    assert "2 instead\n" == pool.output()
    assert ("succeeded", first["started"]) == (document["state"], document["started"])
    assert [(1, False), (2, True)] == [(one["attempt"], one["failover"]) for one in document["attempts"]]


def test_which_units_it_was_given(pool: Pool) -> None:
    """The numbers of its units are in the environment, by the name of the resource; it can't choose others itself."""
    look = "env | grep -Ev '_RUN|_INVOCATION_ID' | grep ^JOBQUEUE_ | sort"
    job = Job(id="job", command=look, environment=(("JOBQUEUE_GPU", "7"),))
    pool.order(job, placed=(("gpu", (0, 2)), ("db-1.x", (0,))))
    expected = ["ATTEMPT=1", "DB_1_X=0", "DUE=1970-01-01T00:00:00.000000Z", "GPU=0,2", "JOB=job", "TRIGGER=schedule"]
    assert [f"JOBQUEUE_{line}" for line in expected] == pool.output().splitlines()


def test_the_cpus_it_was_given(pool: Pool) -> None:
    """It runs on these CPUs, and knows their numbers."""
    cpu = max(os.sched_getaffinity(0))
    pool.order(Job(id="job", command="echo $JOBQUEUE_CPUS; nproc"), placed=((CPUS, (cpu,)),))
    assert f"{cpu}\n1\n" == pool.output()


def wants(path: str) -> LaunchSpec:
    """The part of a launch spec that says which lock files are wanted."""
    return cast("LaunchSpec", {"locks": [(path, True)], "user": None, "record": {}})


SOMEBODY = Owner(pwd.getpwnam("daemon").pw_uid, "daemon")


class TestLockFiles:
    def locks(self, pool: Pool, **paths: bool) -> dict[str, Any]:
        """The claims of a run for files below the pool's directory, each to be had alone or not; and another one."""
        files = (Claim(f"{pool.root}/{name}", exclusive=alone) for name, alone in paths.items())
        return {"claims": (Claim(":host"), Claim("tape", exclusive=True), *files)}

    def test_held(self, pool: Pool) -> None:
        """While it runs, others can't have what it has alone, and what it shares only as a share; afterwards all."""
        ask = "for l in a b; do for how in -s -x; do flock -n $how {0}/$l true; echo $l$how $?; done; done"
        pool.order(Job(id="job", command=ask.format(pool.root)), **self.locks(pool, a=True, b=False))
        assert ["a-s 1", "a-x 1", "b-s 0", "b-x 1"] == pool.output().splitlines()
        for name in ("a", "b"):
            with open(pool.root / name) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            assert 0o600 == (pool.root / name).stat().st_mode & 0o777

    def test_busy(self, pool: Pool) -> None:
        """Where somebody else has one, nothing is started, none is held, and the path is told."""
        with open(pool.root / "b", "w") as other:
            fcntl.flock(other, fcntl.LOCK_SH)
            said, path = pool.order(Job(id="job", command="touch started"), **self.locks(pool, a=True, b=True))
            me = f"{tree.names([os.getpid()])[0]} of user {ME.pw_name}"
            assert [f"unstarted job@1.1 path busy: {pool.root}/b, held by {me}"] == said
            assert (False, False) == ((path / wire.SPAWNING).exists(), (path / wire.ENDED).exists())
            with open(pool.root / "a") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            said, _path = pool.order(Job(id="job", command="true"), **self.locks(pool, a=True, b=False))
            assert ["started", "ended"] == [line.split(" ")[0] for line in said]

    def test_of_the_fleet(self, pool: Pool) -> None:
        """A run whose grant is over starts no more, and makes no token; one whose grant is not shows its fence."""
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        said, path = pool.order(Job(id="job", command="touch started"), Grant(7, now))
        assert ["unstarted job@1.1 another host might hold its fleet locks now"] == said
        assert not (path / wire.SPAWNING).exists()
        pool.order(Job(id="job", command="echo $JOBQUEUE_FENCE"), Grant(8, now + 60 * SECOND))
        assert "8\n" == pool.output()

    def test_busy_by_a_descriptor(self, pool: Pool) -> None:
        """A lock outlives the program that took it, with its descriptor: whoever has that is told."""
        script = f"exec 9>>{pool.root}/b; flock 9; echo; read _"
        with subprocess.Popen(["sh", "-c", script], stdin=PIPE, stdout=PIPE) as shell:
            assert shell.stdin is not None
            assert shell.stdout is not None
            shell.stdout.readline()
            said, _path = pool.order(Job(id="job", command="true"), **self.locks(pool, b=True))
            shell.stdin.close()
        holder = f"sh (pid {shell.pid}) of user {ME.pw_name}"
        assert [f"unstarted job@1.1 path busy: {pool.root}/b, held by {holder}"] == said

    def test_a_holder_whose_taker_is_not_shown(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        """/proc/locks of a container has no lock whose taker has ended: then the descriptors alone show the holder."""
        monkeypatch.setattr(lockfile, "_takers", lambda _where: [])
        with open(pool.root / "b", "w") as other:
            fcntl.flock(other, fcntl.LOCK_SH)
            with pytest.raises(lockfile.Withheld) as busy:
                LockFiles(wants(f"{pool.root}/b")).take()
        me = f"{tree.names([os.getpid()])[0]} of user {ME.pw_name}"
        assert f"path busy: {pool.root}/b, held by {me}" == str(busy.value)

    def test_a_holder_is_looked_for_in_bounds(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        """The look for a holder ends at a number of descriptors, and says so."""
        monkeypatch.setattr(lockfile, "_LOOKS", 1)
        with open(pool.root / "b", "w") as other:
            fcntl.flock(other, fcntl.LOCK_SH)
            with pytest.raises(lockfile.Withheld) as busy:
                LockFiles(wants(f"{pool.root}/b")).take()
        told = "held by a process that was not found among the first 1 descriptors of this host"
        assert f"path busy: {pool.root}/b, {told}" == str(busy.value)

    def test_nobody_can_have_it(self, pool: Pool) -> None:
        """A path at which there can be no lock is the job's own failure, and named."""
        (pool.root / "link").symlink_to(pool.root / "elsewhere")
        for name, why in (("link", "Too many levels of symbolic links"), ("none/x", "No such file or directory")):
            _said, path = pool.order(Job(id="job", command="true"), **self.locks(pool, **{name: True}))
            document = json.loads((path / wire.ENDED).read_bytes())
            assert ("failed", f"start_failed: lock: {pool.root}/{name}: {why}") == (
                document["state"],
                document["reason"],
            )
        assert not (pool.root / "elsewhere").exists()

    @NEEDS_ROOT
    @pytest.mark.parametrize(
        ("mode", "owner", "remedy"),
        [
            (0o600, 0, ""), (0o600, STRANGER, "chown root {0}"), (0o644, 0, "chmod go= {0}"),
            (0o620, 0, "chmod go= {0}"), (0o666, STRANGER, "chown root {0} && chmod go= {0}"),
        ],
    )  # fmt: skip
    def test_a_file_that_others_can_lock(self, pool: Pool, mode: int, owner: int, remedy: str) -> None:
        """It is a warning in the record, with what mends it, and that does."""
        path = pool.root / "a"
        path.touch()
        path.chmod(mode)
        os.chown(path, owner, -1)
        why = f"other users can lock {path} and so keep the job from starting; to prevent this: "
        command = remedy.format(path)
        _said, run = pool.order(Job(id="job", command=command or "true"), **self.locks(pool, a=True))
        assert [why + command] * bool(command) == json.loads((run / wire.ENDED).read_bytes())["warnings"]
        _said, run = pool.order(Job(id="job", command="true"), **self.locks(pool, a=True))
        assert [] == json.loads((run / wire.ENDED).read_bytes())["warnings"]

    @NEEDS_ROOT
    def test_a_file_that_others_make_just_now(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two that make a lock file at once both have it, and one has the lock."""
        opened = os.open

        def beside(path: str, flags: int, *args: Any, **keys: Any) -> int:
            if flags & os.O_EXCL:
                (pool.root / "a").touch(0o600)
            return opened(path, flags, *args, **keys)

        locks = LockFiles(wants(f"{pool.root}/a"))
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", beside)
            locks.take()
        assert [] == locks.examined()
        locks.free()

    def of_a_user(self, pool: Pool, path: str, owner: Owner) -> str:
        """How a run ends of that user's own job that wants this file."""
        locks = {"claims": (Claim(":host"), Claim(path, exclusive=True)), "owner": owner}
        _said, run = pool.order(Job(id="job", command="true", user=SOMEBODY.name, owner=owner), **locks)
        document = json.loads((run / wire.ENDED).read_bytes())
        return str(document["reason"] or document["state"])

    @NEEDS_ROOT
    def test_of_a_users_own_job(self, pool: Pool) -> None:
        """It is opened by a process of the user: what that user can't open or make can't be had, whatever root can."""
        with public() as place:
            own, roots, shut = place / "own", place / "roots", place / "shut"
            for directory in (own, roots, shut):
                directory.mkdir()
            os.chown(own, SOMEBODY.uid, -1)
            (roots / "x").touch(0o600)
            shut.chmod(0o700)
            (shut / "x").touch(0o666)
            (own / "way").symlink_to(own)
            os.chown(own / "way", SOMEBODY.uid, -1, follow_symlinks=False)
            ends = {
                path: self.of_a_user(pool, f"{place}/{path}", SOMEBODY)
                for path in ("own/x", "own/way/y", "roots/x", "roots/new", "shut/x", "own/none/x")
            }
            denied = {path: f"start_failed: lock: {place}/{path}: Permission denied" for path in list(ends)[2:5]}
            none = {"own/none/x": f"start_failed: lock: {place}/own/none/x: No such file or directory"}
            assert {"own/x": "succeeded", "own/way/y": "succeeded", **denied, **none} == ends
            assert [(SOMEBODY.uid, 0o600)] * 2 == [
                ((own / name).stat().st_uid, (own / name).stat().st_mode & 0o777) for name in ("x", "y")
            ]
            assert ["x"] == os.listdir(roots)

    @NEEDS_ROOT
    def test_of_a_user_with_another_number(self, pool: Pool) -> None:
        """Where the name is somebody else's by now, nothing is opened."""
        with public() as place:
            place.chmod(0o777)
            reason = self.of_a_user(pool, f"{place}/x", SOMEBODY._replace(uid=SOMEBODY.uid + 1))
            assert "start_failed: " in reason
            assert f"has uid {SOMEBODY.uid}" in reason
            assert [] == os.listdir(place)

    @NEEDS_ROOT
    def test_a_users_file_that_is_busy(self, pool: Pool) -> None:
        """The lock is the supervisor's, not that of the process which has opened the file."""
        with public() as place:
            place.chmod(0o777)
            ask = f"flock -n {place}/x true || echo held"
            locks = {"claims": (Claim(":host"), Claim(f"{place}/x", exclusive=True)), "owner": SOMEBODY}
            pool.order(Job(id="job", command=ask, user=SOMEBODY.name, owner=SOMEBODY), **locks)
            assert "held\n" == pool.output()
            with open(place / "x") as other:
                fcntl.flock(other, fcntl.LOCK_SH)
                said, _run = pool.order(Job(id="job", command=ask, user=SOMEBODY.name, owner=SOMEBODY), **locks)
                assert said[0].startswith(f"unstarted job@2.1 path busy: {place}/x")

    @NEEDS_ROOT
    def test_a_users_file_system_that_hangs(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody waits for it for ever."""
        monkeypatch.setattr(as_user, "SECONDS", 0.01)
        monkeypatch.setattr(lockfile, "_opened", lambda *_given: signal.pause())
        locks = LockFiles(cast("LaunchSpec", {
            "locks": [("/x", True)], "user": SOMEBODY.name, "group": None, "groups": None,
            "record": {"owner": {"uid": SOMEBODY.uid, "name": SOMEBODY.name}},
        }))  # fmt: skip
        locks.take()
        with pytest.raises(identity.StartFailed, match="does not answer"):
            locks.examined()

    @NEEDS_ROOT
    def test_a_place_of_others(self, pool: Pool) -> None:
        """A directory in which others could replace the file is a warning, unless it is sticky; a link of theirs on the
        way is not followed, while one of root's is."""
        place = pool.root / "lock"
        place.mkdir()
        (pool.root / "way").symlink_to(place)
        for mode, warned in ((0o777, True), (0o1777, False)):
            place.chmod(mode)
            _said, run = pool.order(Job(id="job", command="true"), **self.locks(pool, **{"way/a": True}))
            warnings = json.loads((run / wire.ENDED).read_bytes())["warnings"]
            why = f"other users can replace the lock file {pool.root}/way/a: "
            assert warned == any(text.startswith(why) for text in warnings)
        os.chown(pool.root / "way", STRANGER, -1, follow_symlinks=False)
        _said, run = pool.order(Job(id="job", command="true"), **self.locks(pool, **{"way/b": True}))
        reason = json.loads((run / wire.ENDED).read_bytes())["reason"]
        link = f"found a symbolic link that user {OTHER} owns; expected one that only root can write: "
        assert f"start_failed: lock: {pool.root}/way/b: {link}chown -h root {pool.root}/way" == reason
        assert ["a"] == os.listdir(place)

    def test_the_job_does_not_have_it(self, pool: Pool) -> None:
        """What the job leaves behind does not go on holding it: the lock is the supervisor's, and goes with the run."""
        job = Job(id="job", command="sleep 600 >/dev/null 2>&1 & echo $!", leave_children=True)
        said, _path = pool.order(job, **self.locks(pool, a=True))
        assert "left" == said[-1].split(" ")[0]
        with open(pool.root / "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.kill(int(pool.output()), signal.SIGKILL)


def test_a_stopped_run_leaves_nothing(pool: Pool) -> None:
    """`leave_children` is for a command that has ended by itself."""
    up = pool.root / "up"
    said, document = pool.stopped(up.exists, command=f"touch {up}; sleep 600 & sleep 600", leave_children=True)
    assert said == ["started", "stopping", "ended"]
    assert (document["state"], document["warnings"]) == ("killed", [])


def test_a_profile_that_ends_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run failed to start, the profile's own child is ended, and the supervisor takes the next run."""
    entry = pwd.getpwuid(os.geteuid())
    home = pwd.struct_passwd((*entry[:5], str(tmp_path), "/bin/sh"))
    monkeypatch.setattr(identity, "_OWN", identity.User(home))
    (tmp_path / ".profile").write_text(f"setsid sleep 600 & echo $! >{tmp_path}/child; exit 3\n")
    pool = Pool(tmp_path)
    said, document = pool.run(command="true", login_environment=True)
    assert (said, document["state"]) == (["ended"], "failed")
    how = "/bin/sh exited with code 3 while it read the profile"
    assert document["reason"] == f"start_failed: login_environment: {how}"
    assert not Path(f"/proc/{(tmp_path / 'child').read_text().strip()}").exists()
    (tmp_path / ".profile").write_text("export A=profile\n")
    pool.run(command='echo "$A"', login_environment=True)
    assert pool.output() == "profile\n"
    pool.close()


def test_memory_is_sampled_without_a_cgroup(pool: Pool) -> None:
    """A run that uses more than its limit is ended, all of it counted; that it was only sampled is told."""
    eat = [sys.executable, "-c", "import os, time; os.fork(); x = bytearray(80 << 20); time.sleep(600)"]
    said, document = pool.run(command=eat, resource_limits={"memory": 100 << 20}, kill_grace=0)
    assert (said, document["state"], document["enforced"]) == (
        ["started", "stopping", "ended"], "oom_killed", {"memory": "sampled"},
    )  # fmt: skip
    assert re.fullmatch("out of memory: it used [0-9.]+ MiB, and its limit is 100 MiB", document["reason"])
    assert document["warnings"] == ["its resource_limits.memory was only sampled: its run has no cgroup"]
    _said, document = pool.run(command="true", resource_limits={"memory": 100 << 20})
    assert (document["state"], document["enforced"]) == ("succeeded", {"memory": "sampled"})


@pytest.mark.parametrize("key", ["cpu", "memory_high", "swap", "tasks", "io_read", "io_write"])
def test_what_cannot_be_enforced(pool: Pool, key: str) -> None:
    """Without a cgroup that is told, or nothing is started where it has to be enforced."""
    said, document = pool.run(command="true", resource_limits={key: 1 << 20})
    assert (said, document["state"], document["enforced"]) == (["started", "ended"], "succeeded", {key: "no"})
    assert document["warnings"] == [f"its resource_limits.{key} was not enforced: its run has no cgroup"]
    said, document = pool.run(command="true", resource_limits={key: 1 << 20}, enforce="required")
    told = f"start_failed: resource_limits: {key}: can't be enforced on this host: its run has no cgroup"
    assert (said, document["state"], document["reason"]) == (["ended"], "failed", told)


def test_a_tree_is_signalled_to_its_leaves(pool: Pool) -> None:
    """Also what has left the session and still has its parent: it gets the stop signal, not only the SIGKILL."""
    up = pool.root / "up"
    (pool.root / "leaf").write_text(f"trap 'echo leaf; exit' TERM; touch {up}; while :; do sleep 0.02; done")
    (pool.root / "parent").write_text(f"trap : TERM; setsid sh {pool.root}/leaf & wait; wait")
    command = f"trap : TERM; sh {pool.root}/parent & wait; wait; exit 5"
    _said, document = pool.stopped(up.exists, command=command, kill_grace=HOUR)
    assert (document["state"], document["exit_code"]) == ("killed", 5)
    assert pool.output().endswith("leaf\n")


def test_what_left_the_session_is_asked_before_its_parent_is_gone(pool: Pool) -> None:
    """A parent that dies of the stop signal at once leaves its child to us: that has got the signal too."""
    up = pool.root / "up"
    child = f"setsid sh -c 'trap \"echo asked; exit\" TERM; touch {up}; while :; do sleep 0.02; done'"
    _said, document = pool.stopped(up.exists, command=f"{child} & sleep 600", kill_grace=HOUR)
    assert (document["state"], document["signal"], document["warnings"]) == ("killed", 15, [])
    assert "asked\n" in pool.output()


def test_a_job_that_wants_to_be_traced(pool: Pool) -> None:
    """As if nobody traced it: its signals reach it, what it becomes runs, and its end is its own."""
    trace = "import ctypes, os, signal; ctypes.CDLL(None).ptrace(0, 0, 0, 0); "
    handle = (
        "signal.signal(signal.SIGUSR1, lambda *_: print('asked', flush=True)); os.kill(os.getpid(), signal.SIGUSR1); "
    )
    for leave in (False, True):
        command = [sys.executable, "-c", trace + handle + "os.execvp('sh', ['sh', '-c', 'exit 5'])"]
        _said, document = pool.run(command=command, leave_children=leave)
        assert (document["state"], document["exit_code"], document["warnings"]) == ("failed", 5, [])
        assert pool.output() == "asked\n"
    up = pool.root / "up"
    command = [sys.executable, "-c", trace + f"open('{up}', 'w').close(); signal.pause()"]
    _said, document = pool.stopped(up.exists, command=command, kill_grace=HOUR)
    assert (document["state"], document["signal"], document["warnings"]) == ("killed", signal.SIGTERM, [])


def test_every_exit_code(pool: Pool) -> None:
    """0 to 255, exactly."""
    for code in range(256):
        _said, document = pool.run(command=["sh", "-c", f"exit {code}"])
        assert (document["exit_code"], document["signal"]) == (code, None)
        assert document["state"] == ("failed" if code else "succeeded")


def test_every_signal(pool: Pool) -> None:
    """Each signal that ends a process, exactly, real-time ones too."""
    harmless = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
    stopping = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
    for number in signal.valid_signals() - harmless - stopping:
        _said, document = pool.run(command=f"kill -{number:d} $$", resource_limits={"core": 0})
        assert (document["exit_code"], document["signal"], document["state"]) == (None, number, "failed")
        assert document["reason"].startswith(f"signal {number} (SIG")


def test_what_a_run_without_its_directory_left_is_ended(pool: Pool, tmp_path: Path) -> None:
    """Where R is gone the run was judged without us: what `leave_children` would let live nobody would ever end."""
    left, go = tmp_path / "left", tmp_path / "go"
    command = f"sleep 600 & echo $! >{left}; until [ -e {go} ]; do sleep 0.01; done"
    path = pool.send(Job(id="job", command=command, leave_children=True))
    assert pool.socket.recv(wire.NOTICE).startswith(b"started ")
    pid = int(wait_for(lambda: left.exists() and left.read_text()))
    for mark in path.iterdir():
        mark.unlink()
    path.rmdir()
    go.touch()
    assert pool.socket.recv(wire.NOTICE).startswith(b"lost ")
    wait_for(lambda: not Path(f"/proc/{pid}").exists())


def test_shared_memory_counts_once(pool: Pool) -> None:
    """Processes that share what they were forked with are not ended for it: six of them with 100 MiB are no 300."""
    forks = "import os, time; x = bytearray(100 << 20); [os.fork() or time.sleep(600) for _ in range(5)]; time.sleep(2)"
    _said, document = pool.run(
        command=[sys.executable, "-c", forks], resource_limits={"memory": 300 << 20}, kill_grace=0
    )
    assert (document["state"], document["tasks_peak"]) == ("succeeded", 6), document["reason"]
    assert 100 << 20 <= document["memory_peak"] < 200 << 20


def test_attempts_have_the_same_keys_whatever_became_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended, not to be started, kept from it by the host's trouble, lost: one contract, docs/records.md."""

    def no_process(*_: object) -> None:
        raise identity.StartFailed("fork", errno.EAGAIN)

    found: dict[str, Any] = {}
    for state, command in (("succeeded", "true"), ("failed", ["/no/such"]), ("unstarted", "true")):
        with monkeypatch.context() as patch:
            if state == "unstarted":
                patch.setattr(spawn, "spawn", no_process)
            (tmp_path / state).mkdir()
            pool = Pool(tmp_path / state)
        found[state] = pool.run(command=command)[1]
        pool.close()
    found["lost"] = record.lost(
        Run(id=RunId("job", 1), key="x", due=0, queued=0, arrival=1, attempt=1, state=RunState.LOST),
        Job(id="job", command="true"), HostLimits("host"), None,
    )  # fmt: skip
    documented = set(fields((REPO / "docs" / "records.md").read_text())[0])
    for state, document in found.items():
        (told,) = document["attempts"]
        assert state == told["state"]
        assert set(found["succeeded"]["attempts"][0]) == set(told)
        assert set(found["succeeded"]) == set(document)
        assert set(found["succeeded"]["attempts"][0]["output"]) == set(told["output"])
        assert {*told} - documented == {"attempt", "failover"}
        assert {*document} - documented == set()


@pytest.mark.parametrize("code", [os.CLD_TRAPPED, os.CLD_EXITED])
def test_children_that_never_come_to_an_end_of_ending(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """However fast children stop or end, one look at them has a bound; the rest is looked at in another turn."""
    told: list[int] = []
    found = SimpleNamespace(si_code=code, si_pid=1 << 30, si_status=signal.SIGTRAP)
    before = signal.signal(signal.SIGCHLD, lambda number, _: told.append(number))
    try:
        monkeypatch.setattr(os, "waitid", lambda *_: found)
        assert [1 << 30] * (1000 if code == os.CLD_EXITED else 0) == list(tree.ended())
        assert [signal.SIGCHLD] == told
        monkeypatch.setattr(os, "waitid", lambda *_: None)
        assert ([], [signal.SIGCHLD]) == (list(tree.ended()), told)
    finally:
        signal.signal(signal.SIGCHLD, before)
