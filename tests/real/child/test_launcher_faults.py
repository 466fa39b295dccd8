"""A launcher whose disk is full or broken, which has no descriptor or process left: it lives, and forgets nobody."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobqueued.child.contract import unix_socket, wire
from jobqueued.core.records import record
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.model.commands import Launch
from jobqueued.model.job import Job
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.runs import launch_spec
from tests.support import REPO
from tests.support.failing import limit_descriptors
from tests.support.host import DEADLINE, Host, kill, lives, wait_for

ME = "tests/support/failing.py"


class Small:
    """A launcher, with the test as its scheduler; `descriptors`: the most that each of the small ones may have."""

    def __init__(self, root: Path, descriptors: int | None = None) -> None:
        self.root = root
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self.runs = root / "run" / "runs" / boot
        self.said = root / "said"
        self._address = root / "launcher"
        with socket.socket(socket.AF_UNIX) as listener, open(self.said, "wb") as said:
            listener.bind(str(self._address))
            listener.listen(8)
            self.pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", str(REPO / "tests/support/failing.py"), str(root / "run" / "runs")],
                dict(os.environ), setsid=True,
                file_actions=[(os.POSIX_SPAWN_DUP2, listener.fileno(), 3), (os.POSIX_SPAWN_DUP2, said.fileno(), 2)],
            )  # fmt: skip
            if descriptors is not None:  # before it looks: to import all that it needs takes longer
                resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (descriptors, descriptors))
        self._rest = b""
        self.socket = self.call()
        self.held = self.greeting()

    def call(self) -> socket.socket:
        """A connection to it."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(DEADLINE)
        wait_for(lambda: connection.connect_ex(str(self._address)) == 0)
        return connection

    def greeting(self) -> list[str]:
        """Say hello: what it holds."""
        self.socket.sendall(b"hello %d\n" % wire.VERSION)
        held = []
        while not (line := self.next()).startswith("hello "):
            held.append(line.split()[1])
        return held

    def next(self) -> str:
        """The next notice."""
        while b"\n" not in self._rest:
            data = self.socket.recv(1 << 16)
            assert data, f"it closed the connection: {self.stderr()}"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    def heard(self, name: str) -> list[str]:
        """Everything about an attempt, to its end."""
        said: list[str] = []
        while not said or said[-1].split()[0] not in ("ended", "lost", "unstarted", "known"):
            line = self.next()
            if line.split()[1] == name:
                said.append(line)
        return said

    def launch(self, number: int, command: str) -> str:
        """Send an attempt; its name."""
        run = Run(id=RunId("job", number), key="x", due=0, queued=0, arrival=1, attempt=1, state=RunState.STARTING)
        job = Job(id="job", command=command)
        spec = launch_spec.order(
            Launch(run, job, record.begin(run, job, HostLimits("host"))), self.root / "logs", self.root / "none"
        )
        self.socket.sendall(f"launch {run.attempt_name} ".encode() + wire.encode(spec))
        return run.attempt_name

    def ran(self, number: int) -> None:
        """Assert that an attempt runs as it should."""
        name = self.launch(number, "exit 7")
        assert [line.split()[0] for line in self.heard(name)] == ["started", "ended"]
        assert json.loads((self.runs / name / wire.ENDED).read_bytes())["exit_code"] == 7

    def fail(self, *faults: str) -> None:
        """From now on these, and no others."""
        (self.root / "standing.tmp").write_text("".join(f"{fault}\n" for fault in faults))
        (self.root / "standing.tmp").rename(self.root / "standing")

    def stderr(self) -> str:
        return self.said.read_text()

    def children(self) -> list[int]:
        """Its supervisors."""
        pid = self.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def limit(self, spare: int) -> None:
        """So many more descriptors may be opened."""
        limit_descriptors(self.pid, spare)

    def unlimit(self) -> None:
        hard = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (hard, hard))

    def close(self) -> None:
        self.socket.close()
        for path in self.runs.glob(f"*/{wire.PID}"):
            kill(-int(path.read_text().split()[0]))
        for pid in [*self.children(), self.pid]:
            kill(pid)
        os.waitpid(self.pid, 0)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    """A launcher whose steps fail while the file `fault` says so."""
    small = Small(tmp_path)
    yield small
    small.close()
    print(small.stderr())


class TestR:
    @pytest.mark.parametrize(
        "fault", ["mkdir job@1.1 ENOSPC", "mkdir job@1.1 EROFS", "create spec EIO", "write spec torn"]
    )
    def test_no_room(self, small: Small, fault: str) -> None:
        """Nothing is started, the reason is told, nothing of it stays, and the same attempt can be sent again."""
        small.fail(fault)
        [said] = small.heard(small.launch(1, "exit 7"))
        assert said.startswith(f"unstarted job@1.1 {small.runs}: ")
        assert [] == list(small.runs.iterdir())
        small.fail()
        small.ran(1)

    def test_what_can_not_be_removed(self, small: Small) -> None:
        """Half of an R that stays is taken away before the attempt is sent again; or it is told why it can't be."""
        small.fail("write spec torn", "unlink spec EIO", "rmdir job@1.1 EIO")
        assert small.heard(small.launch(1, "exit 7"))[0].startswith("unstarted ")
        assert (small.runs / "job@1.1" / wire.SPEC).exists()
        small.fail("unlink spec EROFS")
        [said] = small.heard(small.launch(1, "exit 7"))
        assert said == f"unstarted job@1.1 {small.runs}: Read-only file system"
        small.fail()
        small.ran(1)

    def test_what_a_recovery_gave_up(self, small: Small) -> None:
        """An R with the recovery's token, which could not be removed, is nobody's; one with a supervisor's is taken."""
        path = small.runs / "job@1.1"
        path.mkdir()
        (path / wire.SPAWNING).symlink_to("recovery")
        with socket.socket(socket.AF_UNIX) as control:
            unix_socket.bind(control, str(path / wire.CONTROL))
        small.ran(1)
        (path / wire.ENDED).unlink()
        assert small.heard(small.launch(1, "exit 7")) == ["known job@1.1"]

    def test_what_it_has(self, small: Small) -> None:
        """An attempt that is sent twice is started once."""
        name = small.launch(1, f"echo >>{small.root}/started; until [ -e {small.root}/go ]; do sleep 0.02; done")
        small.launch(1, "exit 1")
        small.fail()
        assert small.heard(name)[-1] == f"known {name}"
        (small.root / "go").touch()
        assert small.heard(name)[-1] == f"ended {name}"
        assert (small.root / "started").read_text() == "\n"

    def test_its_parent_is_gone(self, small: Small) -> None:
        """It is made again."""
        small.runs.rmdir()
        small.ran(1)

    def test_it_can_not_be_opened(self, small: Small) -> None:
        """It goes back to who sent it."""
        small.fail("fork - EAGAIN")
        for pid in small.children():
            kill(pid)
        wait_for(lambda: not small.children())
        name = small.launch(1, "exit 7")
        wait_for((small.runs / name / wire.SPEC).exists)
        small.fail("open job@1.1 EMFILE")
        assert small.heard(name) == [f"unstarted {name} Too many open files"]


class TestSupervisors:
    @pytest.mark.parametrize("fault", ["fork - EAGAIN", "fork - ENOMEM", "send - ETOOMANYREFS", "send - ENOBUFS"])
    def test_none_can_be_had(self, small: Small, fault: str) -> None:
        """Attempts wait, none is lost, nobody spins, one line tells; then all run."""
        small.fail(fault)
        if fault.startswith("fork"):
            for pid in small.children():
                kill(pid)
            wait_for(lambda: not small.children())
        names = [small.launch(number, "exit 7") for number in range(1, 13)]
        wait_for(lambda: " waiting; retrying every" in small.stderr())
        before = _switches(small.pid)
        time.sleep(0.5)
        assert _switches(small.pid) - before < 30
        small.fail()
        ended = [line for line in (small.next() for _ in range(24)) if line.startswith("ended")]
        assert sorted(ended) == sorted(f"ended {name}" for name in names)
        assert small.stderr().count("\n") == 1
        assert small.stderr().startswith("jq-launcher: ")

    @pytest.mark.parametrize("most", [32, 40, 64])
    def test_few_descriptors(self, tmp_path: Path, most: int) -> None:
        """It has fewer supervisors, a descriptor left for the next scheduler, and all of the work gets done."""
        small = Small(tmp_path, most)
        before = small.socket
        try:
            with open(tmp_path / "lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                names = [small.launch(number, f"flock -s {lock.name} true; exit 7") for number in range(1, 61)]
                wait_for(lambda: "cannot start a supervisor: Too many open files" in small.stderr())
                small.socket = small.call()
                held = small.greeting()
            ended = {name for name in names if name not in held}
            while ended != set(names):
                verb, name, *_rest = small.next().split(" ", 2)
                if verb != "started":
                    assert verb == "ended"
                    ended.add(name)
            for name in names:
                assert json.loads((small.runs / name / wire.ENDED).read_bytes())["exit_code"] == 7
            assert small.stderr().count("\n") == 1
        finally:
            before.close()
            small.close()

    def test_one_dies_and_its_marks_can_not_be_read(self, small: Small) -> None:
        """It may have started: its job is ended, and it is lost."""
        name = small.launch(1, "sleep 600 & exec sleep 600")
        pid = int(small.next().split()[2])
        small.fail("open ended EIO", "create lost ENOSPC")
        before = small.descriptors()
        kill(_parent(pid))
        assert small.heard(name) == [f"lost {name} -"]
        assert not lives(pid)
        assert small.descriptors() == before - 1  # that of its supervisor
        small.fail()
        small.ran(2)

    def test_one_dies_of_a_bug_that_knew_the_status(self, small: Small) -> None:
        """R/lost, which it has left, counts."""
        name = small.launch(1, "sleep 600")
        pid = int(small.next().split()[2])
        os.kill(_parent(pid), signal.SIGSTOP)
        (small.runs / name / wire.LOST).write_text("1792")
        (small.runs / name / wire.PID).unlink()
        os.kill(_parent(pid), signal.SIGKILL)
        assert small.heard(name) == [f"lost {name} 1792"]


class TestCallers:
    def test_more_than_descriptors(self, small: Small) -> None:
        """Who connects waits, nobody spins, and the work goes on."""
        small.limit(3)
        with contextlib.ExitStack() as stack:
            for _ in range(6):
                stack.enter_context(small.call())
            wait_for(lambda: "cannot take a connection: Too many open files" in small.stderr())
            before = _switches(small.pid)
            time.sleep(0.5)
            assert _switches(small.pid) - before < 30
        small.unlimit()
        small.ran(1)
        small.socket = small.call()
        assert small.greeting() == []
        small.ran(2)

    @pytest.mark.parametrize("said", ["hello me\n", "hello\n", "\xff\n", f"hello {wire.VERSION}\nlaunch \xff {{}}\n"])
    def test_nonsense(self, small: Small, said: str) -> None:
        """It is hung up on, and the launcher lives."""
        small.socket = small.call()
        small.socket.sendall(said.encode("latin-1"))
        with small.call():
            small.socket = small.call()
            assert small.greeting() == []
            small.ran(1)


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[Host]:
    """A daemon whose launcher and supervisors have faults."""
    host = Host(tmp_path / "host", ME)
    host.write("job.yaml", f"jobs: {{work: {{command: 'until [ -e {host.root}/go ]; do sleep 0.02; done; exit 7'}}}}")
    host.start()
    yield host
    (host.root / "standing").unlink(missing_ok=True)
    host.close()
    print(host.log())


@pytest.mark.parametrize("launcher_first", [True, False])
def test_all_disks_are_full_and_everybody_else_dies(faulty: Host, *, launcher_first: bool) -> None:
    """The exact status survives in its supervisor, however often scheduler and launcher are killed meanwhile."""
    run = faulty.run("work")
    wait_for(lambda: faulty.said("run_started"))
    (faulty.root / "standing").write_text("create ended ENOSPC\ncreate 1.json.tmp ENOSPC\n")
    (faulty.root / "go").touch()
    [told] = wait_for(lambda: faulty.said("run_stopping"))
    why = "it ended (exit code 7), but its run directory can't be written: No space left on device"
    assert told["message"] == f"{run} is stopping: {why}"
    for _ in range(2):
        if launcher_first:
            kill(_launcher(faulty))
        faulty.kill()
        if not launcher_first:  # which goes by itself once it is of no use
            wait_for(lambda: not (left := _launchers(faulty)) or kill(left[0]))
        faulty.start()
        assert faulty.call("Show", run=run)["record"]["state"] == "stopping"
    assert faulty.record(run) is None
    (faulty.root / "standing").unlink()
    ended = faulty.wait(run)
    assert (ended["state"], ended["exit_code"]) == ("failed", 7)
    wait_for(lambda: faulty.record(run) == ended)
    assert "Traceback" not in faulty.log()


def test_a_launcher_that_is_killed_is_no_traceback(host: Host) -> None:
    """Of its supervisors none says a word of it."""
    host.write("job.yaml", "jobs: {work: {command: 'exit 7', concurrency: 50}}")
    host.start()
    for _ in range(5):
        runs = [host.run("work") for _ in range(8)]
        kill(_launcher(host))
        assert {host.wait(run)["state"] for run in runs} <= {"failed", "lost"}
    wait_for(lambda: len(host.small_ones()) <= 9)
    assert "Traceback" not in host.log()


def _launcher(host: Host) -> int:
    return wait_for(lambda: _launchers(host))[0]


def _launchers(host: Host) -> list[int]:
    found = []
    for pid in host.small_ones():
        with contextlib.suppress(FileNotFoundError):
            if Path(f"/proc/{pid}/comm").read_text() == "jq-launcher\n":
                found.append(pid)
    return found


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _switches(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"^voluntary_ctxt_switches:\s+(\d+)$", status, re.M)[0])
