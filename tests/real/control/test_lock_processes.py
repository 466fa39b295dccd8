"""People's commands that hold locks of jobs: their marks, and jobqueuectl with-lock against a real daemon."""

from __future__ import annotations

import errno
import json
import os
import pwd
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobqueued.child.processes.process import birth
from jobqueued.control.calls import lock_processes
from jobqueued.control.calls.lock_processes import OF_A_USER, LockProcesses
from jobqueued.control.protocol.peers import Peer
from jobqueued.ctl.base.client import Call
from jobqueued.daemon.loop import read_clocks
from jobqueued.model.commands import MarkLockHolder
from jobqueued.model.events import LockFound, LockOver
from jobqueued.model.job import Claim
from jobqueued.model.run import LockClientId
from tests.support.client import PROGRAM, environment, run
from tests.support.host import DEADLINE, Host, wait_for

CLAIMS = (Claim("tape", exclusive=True), Claim("license", 2))
PLACED = (("license", (0, 2)),)
ME = "root" if os.geteuid() == 0 else f"uid {os.geteuid()}"
NAME = pwd.getpwuid(os.geteuid()).pw_name
"""The same as people see it."""
A_COMMAND = f"{ME}'s command (with-lock)"
THEIRS = f"{NAME}'s command (with-lock)"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that asks for locks."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[LockProcesses]:
    """No processes yet."""
    found = LockProcesses(tmp_path / "with-lock")
    assert [] == found.found()
    yield found
    for descriptor in found.descriptors():
        os.close(descriptor)


def peer(pid: int, uid: int = 0) -> Peer:
    """Whoever asks: that process, as the server follows it; its descriptor is the test's own."""
    try:
        return Peer(uid, frozenset(), pid, os.pidfd_open(pid))
    except ProcessLookupError:
        return Peer(uid, frozenset(), pid)


def marks(directory: Path) -> list[str]:
    """The marks that are there."""
    return sorted(path.name for path in directory.iterdir())


class TestMarks:
    def test_found_again(self, tmp_path: Path, processes: LockProcesses, sleeper: subprocess.Popen[bytes]) -> None:
        """Who was granted its locks is found again by the next daemon, with what it holds, and followed to its end."""
        client = processes.come(peer(sleeper.pid))
        processes.mark(MarkLockHolder(client, CLAIMS, PLACED, "root"))
        following = LockProcesses(tmp_path / "with-lock")
        assert [LockFound(client, CLAIMS, PLACED, "root")] == following.found()
        (descriptor,) = following.descriptors()
        assert ([], [], []) == select.select([descriptor], [], [], 0)
        sleeper.kill()
        assert ([descriptor], [], []) == select.select([descriptor], [], [], DEADLINE)
        assert [LockOver(client)] == following.ready(descriptor, read_clocks())
        assert ({}, []) == (following.descriptors(), marks(tmp_path / "with-lock"))

    def test_not_before_it_is_granted(
        self, tmp_path: Path, processes: LockProcesses, sleeper: subprocess.Popen[bytes]
    ) -> None:
        """Who still waits has no mark: after a restart it has to ask again."""
        processes.come(peer(sleeper.pid))
        assert [] == marks(tmp_path / "with-lock")
        assert [] == LockProcesses(tmp_path / "with-lock").found()

    def test_names(self, tmp_path: Path, processes: LockProcesses, sleeper: subprocess.Popen[bytes]) -> None:
        """Each has a name of its own, also beside those of before, and also one process that asks twice."""
        assert [LockClientId(1), LockClientId(2)] == [processes.come(peer(sleeper.pid)) for _ in range(2)]
        (tmp_path / "with-lock" / "7").write_text(
            json.dumps({"pid": 0, "birth": 0, "claims": [], "placed": [], "asked_by": "root"})
        )
        following = LockProcesses(tmp_path / "with-lock")
        assert [] == following.found()
        assert LockClientId(8) == following.come(peer(sleeper.pid))
        os.close(*following.descriptors())

    def test_gone(self, tmp_path: Path, processes: LockProcesses, sleeper: subprocess.Popen[bytes]) -> None:
        """A process that is gone gets no name; one that goes before it is granted its locks gets no mark."""
        client = processes.come(peer(sleeper.pid))
        sleeper.kill()
        sleeper.wait(DEADLINE)
        with pytest.raises(ProcessLookupError):
            processes.come(peer(sleeper.pid))
        processes.ready(*processes.descriptors(), read_clocks())
        processes.mark(MarkLockHolder(client, CLAIMS, PLACED, "root"))
        assert [] == marks(tmp_path / "with-lock")

    def test_not_for_everybody(
        self, tmp_path: Path, processes: LockProcesses, sleeper: subprocess.Popen[bytes]
    ) -> None:
        """Nobody else can make marks, nor see who holds what."""
        processes.mark(MarkLockHolder(processes.come(peer(sleeper.pid)), CLAIMS, PLACED, "root"))
        assert 0o700 == (tmp_path / "with-lock").stat().st_mode & 0o777

    def test_dead(self, tmp_path: Path, processes: LockProcesses, sleeper: subprocess.Popen[bytes]) -> None:
        """The mark of a process that ended while nobody looked is removed."""
        processes.mark(MarkLockHolder(processes.come(peer(sleeper.pid)), CLAIMS, PLACED, "root"))
        sleeper.kill()
        sleeper.wait(DEADLINE)
        following = LockProcesses(tmp_path / "with-lock")
        assert ([], {}, []) == (following.found(), following.descriptors(), marks(tmp_path / "with-lock"))

    @pytest.mark.parametrize("how", ["pidfd_open", "birth", "the last ones"])
    def test_no_descriptor_left(
        self, tmp_path: Path, processes: LockProcesses, sleeper: subprocess.Popen[bytes],
        monkeypatch: pytest.MonkeyPatch, how: str,
    ) -> None:  # fmt: skip
        """Who can't be followed at a start lives all the same: its locks stay its own, and it is looked at again."""
        client = processes.come(peer(sleeper.pid))
        processes.mark(MarkLockHolder(client, CLAIMS, PLACED, "root"))
        following = LockProcesses(tmp_path / "with-lock")

        def none_left(_pid: int) -> int:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        with monkeypatch.context() as patch:
            if how == "the last ones":
                patch.setattr(lock_processes, "is_spare", lambda _descriptor: False)
            else:
                patch.setattr(os, "pidfd_open", none_left)
                patch.setattr(lock_processes, "birth", lambda _pid: None)
            assert [LockFound(client, CLAIMS, PLACED, "root")] == following.found()
            assert {} == following.descriptors()
            assert following.deadline is not None
            assert [] == following.turn(read_clocks())
            with pytest.raises(OSError, match=r"No such process|Too many open files"):
                following.come(peer(sleeper.pid))
        if how == "birth":
            sleeper.kill()
            sleeper.wait(DEADLINE)
            assert [LockOver(client)] == following.turn(read_clocks())
        else:
            assert [] == following.turn(read_clocks())
            os.close(*following.descriptors())
        assert following.deadline is None

    def test_a_mark_that_can_not_be_read_stays(
        self,
        tmp_path: Path,
        processes: LockProcesses,
        sleeper: subprocess.Popen[bytes],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """What is not known is said; the mark is left to the next start, and so is a directory that can't be made."""
        processes.mark(MarkLockHolder(processes.come(peer(sleeper.pid)), CLAIMS, PLACED, "root"))

        def broken(*_: object, **__: object) -> str:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(Path, "read_text", broken)
        following = LockProcesses(tmp_path / "with-lock")
        assert ([], ["1"], 1) == (following.found(), marks(tmp_path / "with-lock"), len(following.troubles))
        assert LockClientId(2) == following.come(peer(sleeper.pid))
        os.close(*following.descriptors())
        monkeypatch.setattr(Path, "mkdir", broken)
        following = LockProcesses(tmp_path / "with-lock")
        assert ([], 1) == (following.found(), len(following.troubles))

    def test_another_process_of_that_number(
        self, tmp_path: Path, processes: LockProcesses, sleeper: subprocess.Popen[bytes]
    ) -> None:
        """A number that is another process's by now is not taken for the holder."""
        processes.mark(MarkLockHolder(processes.come(peer(sleeper.pid)), CLAIMS, PLACED, "root"))
        path = tmp_path / "with-lock" / "1"
        mark = json.loads(path.read_text())
        path.write_text(json.dumps({**mark, "birth": mark["birth"] - 1}))
        following = LockProcesses(tmp_path / "with-lock")
        assert ([], {}, []) == (following.found(), following.descriptors(), marks(tmp_path / "with-lock"))

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("1", b""),
            ("1", b'{"pid": 1, "bir'),
            ("1", b"\xff\0"),
            ("1.new", b'{"pid": 1, "birth": 1, "claims": [], "placed": [], "asked_by": "root"}'),
            ("x", b'{"pid": 1, "birth": 1, "claims": [], "placed": [], "asked_by": "root"}'),
            ("1", b"{}"),
            ("1", b"[]"),
            ("1", b'{"pid": "x", "birth": 1, "claims": [], "placed": [], "asked_by": "root"}'),
        ],
        ids=str,
    )
    def test_garbage(self, tmp_path: Path, processes: LockProcesses, name: str, text: bytes) -> None:
        """What is no mark is removed, and keeps nobody from starting."""
        (tmp_path / "with-lock" / name).write_bytes(text)
        assert ([], {}, []) == (processes.found(), processes.descriptors(), marks(tmp_path / "with-lock"))


class TestAskers:
    def test_refused(self, processes: LockProcesses, sleeper: subprocess.Popen[bytes]) -> None:
        """Who gets nothing is forgotten with its descriptor, however often it asks."""
        mine = peer(sleeper.pid)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            processes.forget(processes.come(mine))
        assert ({}, before) == (processes.descriptors(), len(os.listdir("/proc/self/fd")))
        os.close(mine.process)

    def test_hangs_up(self, tmp_path: Path, processes: LockProcesses, sleeper: subprocess.Popen[bytes]) -> None:
        """Who hangs up before it was answered wants it no more, also where it has just been granted."""
        client = processes.come(peer(sleeper.pid))
        processes.waits(client, 7)
        processes.mark(MarkLockHolder(client, CLAIMS, PLACED, "root"))
        assert [None, LockOver(client), None] == [processes.left(ticket) for ticket in (6, 7, 7)]
        assert ({}, []) == (processes.descriptors(), marks(tmp_path / "with-lock"))

    def test_its_number_is_another_s(self, processes: LockProcesses) -> None:
        """A process that has ended gets nothing, whoever has its number now; nor does one that can't be followed."""
        with subprocess.Popen(["true"]) as ended:
            process = os.pidfd_open(ended.pid)
        with pytest.raises(ProcessLookupError):
            processes.come(Peer(0, frozenset(), os.getpid(), process))
        with pytest.raises(OSError, match="no free file descriptor for the connection"):
            processes.come(Peer(0, frozenset(), os.getpid()))
        os.close(process)

    def test_many_of_one_user(self, processes: LockProcesses, sleeper: subprocess.Popen[bytes]) -> None:
        """A user may have so many, root and others any more."""
        theirs, ours = peer(sleeper.pid, 4711), peer(sleeper.pid)
        clients = [processes.come(theirs) for _ in range(OF_A_USER)]
        with pytest.raises(OSError, match="uid 4711 has 64 with-lock commands, which is the limit"):
            processes.come(theirs)
        processes.come(ours)
        processes.forget(clients[0])
        processes.come(theirs)
        for each in (theirs, ours):
            os.close(each.process)

    def test_command(self, processes: LockProcesses, sleeper: subprocess.Popen[bytes]) -> None:
        """What the process is by now is told, until it has ended."""
        client = processes.come(peer(sleeper.pid))
        wait_for(lambda: processes.command_of(client) == (sleeper.pid, "sleep 600"))
        sleeper.kill()
        sleeper.wait(DEADLINE)
        assert processes.command_of(client) is None


class Holder:
    """``jobqueuectl with-lock OPTIONS -- COMMAND`` while it runs; COMMAND tells that it has begun, and ends on `go`."""

    def __init__(self, host: Host, *options: str) -> None:
        command = [*PROGRAM, "--root", str(host.root), "with-lock", *options, "--", "sh", "-c", "echo $$; read go"]
        self.process = subprocess.Popen(
            command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def has_it(self) -> Holder:
        """Wait until it has its lock; it then is the process that asked."""
        assert self.process.stdout is not None
        assert f"{self.process.pid}\n" == self.process.stdout.readline()
        return self

    def go(self) -> tuple[int, str, str]:
        """Let it end: exit status, output, errors; without what it may have waited for, long enough to say so."""
        stdout, stderr = self.process.communicate("go\n", DEADLINE)
        errors = [line for line in stderr.splitlines(keepends=True) if not line.startswith("waiting for lock ")]
        return self.process.returncode, stdout, "".join(errors)

    def kill(self) -> None:
        """End it by force."""
        self.process.kill()
        self.process.communicate(timeout=DEADLINE)


@pytest.fixture
def hold(host: Host) -> Iterator[Callable[..., Holder]]:
    """Makes a holder of the host's locks."""
    holders: list[Holder] = []

    def make(*options: str) -> Holder:
        holders.append(Holder(host, *options))
        return holders[-1]

    yield make
    for holder in holders:
        holder.kill()


JOBS = """
jobs:
  a: {command: 'true', locks: [tape]}
  low: {command: 'true', locks: [tape], priority: -1000, escalation: {points: 0}}
  long: {command: 'until [ -e go ]; do sleep 0.02; done', working_directory: ROOT, locks: [tape]}
"""


@pytest.fixture
def busy(host: Host) -> Host:
    """A host with a daemon, jobs that want the tape, and three licenses."""
    host.write("jobs.yaml", JOBS.replace("ROOT", str(host.root)))
    (host.root / "jobqueued.yaml").write_text("resources: {license: 3}\n")
    host.start()
    return host


def with_lock(host: Host, *words: str) -> tuple[int, str, str]:
    """``jobqueuectl with-lock``, run to its end: exit status, output, errors."""
    done = run("--root", host.root, "with-lock", *words)
    return done.returncode, done.stdout, done.stderr


def why(host: Host, name: str) -> list[str]:
    """Why a run has not started, in words."""
    return list(host.call("Why", run=name)["why"]["reasons"])


class TestWithLock:
    def test_a_job_waits_for_it(self, busy: Host, hold: Callable[..., Holder]) -> None:
        """While a person's command holds a lock no job gets it; who has it is told, and in the journal since when."""
        holder = hold("tape").has_it()
        name = busy.run("a")
        assert why(busy, name)[0].startswith(f"lock tape is held by {A_COMMAND}")
        assert (0, "", "") == holder.go()
        assert "succeeded" == busy.wait(name)["state"]
        granted, released = busy.said("lock_granted"), busy.said("lock_released")
        assert [(["tape"], ME)] * 2 == [(line["locks"], line["asked_by"]) for line in (*granted, *released)]
        times = [line["time"] for line in (*granted, *released, *busy.said("run_started"))]
        assert (3, sorted(times)) == (len(times), times)

    def test_it_waits_for_a_job(self, busy: Host, hold: Callable[..., Holder]) -> None:
        """While a job holds the lock the command is not started; then it goes before lower runs, which are told so."""
        busy.run("long")
        wait_for(lambda: busy.said("run_started"))
        holder = hold("tape")
        low = busy.run("low")
        wait_for(lambda: busy.call("Why", run=low)["why"]["ahead"])
        assert ([], None) == (busy.said("lock_granted"), holder.process.poll())
        (busy.root / "go").touch()
        holder.has_it()
        assert why(busy, low)[0].startswith(f"lock tape is held by {A_COMMAND}")
        second = hold("tape")
        wait_for(lambda: f"it waits behind {A_COMMAND}" in why(busy, low))
        holder.go()
        second.has_it().go()
        assert "succeeded" == busy.wait(low)["state"]

    def test_no_wait(self, busy: Host, hold: Callable[..., Holder]) -> None:
        """-n: if it would have to wait, for a person or a job, the answer is no, and the command is not run."""
        assert (0, "in\n", "") == with_lock(busy, "-n", "tape", "--", "echo", "in")
        holder = hold("tape").has_it()
        refused = f"Error: refused: lock tape is held by {THEIRS}\n"
        assert (1, "", refused) == with_lock(busy, "-n", "tape", "--", "echo", "in")
        assert (0, "in\n", "") == with_lock(busy, "--no-wait", "other", "--", "echo", "in")
        holder.go()
        name = busy.run("long")
        wait_for(lambda: len(busy.said("run_started")) == 1)
        refused = f"Error: refused: lock tape is held by {name}\n"
        assert (1, "", refused) == with_lock(busy, "--no-wait", "tape", "--", "echo", "in")

    def test_wait_so_long(self, busy: Host, hold: Callable[..., Holder]) -> None:
        """-w: after that time it gives up, without having run the command, and leaves the queue."""
        holder = hold("tape").has_it()
        given_up = "Error: lock tape was not granted in time\n"
        assert (1, "", given_up) == with_lock(busy, "-w", "1s", "tape", "--", "echo", "in")
        holder.go()
        assert (0, "in\n", "") == with_lock(busy, "-n", "tape", "--", "echo", "in")
        assert (0, "in\n", "") == with_lock(busy, "-w", "1h", "tape", "--", "echo", "in")
        assert 3 == len(busy.said("lock_granted"))

    def test_shared(self, busy: Host, hold: Callable[..., Holder]) -> None:
        """-s: those who share it hold it at the same time, others have to wait."""
        first, second = hold("-s", "tape").has_it(), hold("--shared", "tape").has_it()
        assert (0, "in\n", "") == with_lock(busy, "-n", "-s", "tape", "echo", "in")
        code, said, refused = with_lock(busy, "-n", "tape", "--", "echo", "in")
        assert (1, "", f"Error: refused: lock tape is held by {THEIRS}, {THEIRS}\n") == (code, said, refused)
        for holder in (first, second):
            assert 1 == with_lock(busy, "-n", "tape", "--", "echo", "in")[0]
            holder.go()
        wait_for(lambda: 3 == len(busy.said("lock_released")))
        assert (0, "in\n", "") == with_lock(busy, "-n", "tape", "--", "echo", "in")

    def test_units(self, busy: Host, hold: Callable[..., Holder]) -> None:
        """-u: units are held as long as there are some; more than there are can never be had, which is said."""
        hold("-u", "2", "license").has_it()
        assert (0, "in\n", "") == with_lock(busy, "-n", "-u", "1", "license", "--", "echo", "in")
        code, said, refused = with_lock(busy, "-n", "--units", "2", "license", "--", "echo", "in")
        assert (1, "", True) == (code, said, refused.startswith("Error: refused: "))
        impossible = "Error: refused: license has 3 units\n"
        assert (1, "", impossible) == with_lock(busy, "-u", "4", "license", "--", "echo", "in")
        assert (1, "", "Error: refused: tape has 1 unit\n") == with_lock(busy, "-u", "2", "tape", "--", "echo", "in")

    @pytest.mark.parametrize(
        ("command", "status"), [(None, 0), ("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", -signal.SIGTERM)], ids=str
    )
    def test_exit_status(self, busy: Host, command: str | None, status: int) -> None:
        """The exit status is that of the command, which has what it was given, options too."""
        words = ("tape", "printf") if command is None else ("tape", "sh", "-c", f'printf "$@"; {command}', "sh")
        assert (status, "-n x", "") == with_lock(busy, *words, "%s %s", "-n", "x")

    def test_signals(self, busy: Host) -> None:
        """The command ignores what its caller ignores, and no more: a pipe that nobody reads any more ends it."""
        grep = ("grep", "SigIgn", "/proc/self/status")
        code, said, _ = with_lock(busy, "tape", "--", *grep)
        assert (0, subprocess.check_output(grep, text=True)) == (code, said)

    def test_no_such_command(self, busy: Host) -> None:
        """127 tells that there is no such command; the lock is given back."""
        told = "jobqueuectl: /none/such: No such file or directory\n"
        assert (127, "", told) == with_lock(busy, "tape", "--", "/none/such")
        wait_for(lambda: busy.said("lock_released"))
        assert (126, "", "jobqueuectl: /: Permission denied\n") == with_lock(busy, "tape", "--", "/")

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (["Tape"], "'Tape'; expected a name such as"), (["/run/tape.lock"], "expected a name such as"),
            ([""], "LOCK is empty"), (["cpu"], "only runs can hold 'cpu'; expected a lock"),
            (["--shared", "--units", "2", "tape"], "either --shared or --units"),
            (["-w", "2", "tape"], "expected a duration such as 30s"),
            (["--nosuch", "tape"], "No such option"), (["-x", "tape"], "No such option"),
        ],
        ids=str,
    )  # fmt: skip
    def test_no_lock(self, busy: Host, options: list[str], told: str) -> None:
        """What can't be a lock is refused with what can be, and nothing is run."""
        code, said, refused = with_lock(busy, *options, "--", "echo", "in")
        assert (2, "", True) == (code, said, told in refused), refused

    def test_no_command(self, busy: Host) -> None:
        """Without a command nothing is asked for."""
        for words in (["tape"], ["tape", "--"]):
            code, said, refused = with_lock(busy, *words)
            assert (2, "", True) == (code, said, "COMMAND" in refused), refused
        assert [] == busy.said("lock_granted")

    def test_units_are_told(self, busy: Host) -> None:
        """The command is told which units it has, as a job is; no job is given those meanwhile."""
        busy.write("units.yaml", "jobs: {one: {command: echo $JOBQUEUE_LICENSE, resources: {license: 1}}}")
        ask = f"echo $JOBQUEUE_LICENSE; {shlex.join([*PROGRAM, '--root', str(busy.root)])} run one --wait"
        code, said, told = with_lock(busy, "--units", "2", "license", "--", "sh", "-c", ask)
        mine = said.split()[0]
        assert (0, "one@1") == (code, said.split()[1]), told
        assert {"0", "1", "2"} == {*mine.split(","), busy.output("one@1").decode().strip()}

    def test_a_second_lock(self, busy: Host) -> None:
        """Who holds a lock may ask for another if it does not wait for ever, as its holder may wait for the first."""

        def asks(*options: str) -> list[str]:
            inner = [*PROGRAM, "--root", str(busy.root), "with-lock", *options, "db", "--", "echo", "both"]
            return ["tape", "--", *inner]

        code, said, told = with_lock(busy, *asks())
        assert (2, "", True) == (code, said, "already holds lock tape" in told)
        for options in (["--no-wait"], ["--wait", "999999d"]):
            assert (0, "both\n", "") == with_lock(busy, *asks(*options))

    def test_inside_a_run(self, tmp_path: Path) -> None:
        """A run is refused a lock beside those it has, lest two of them wait for each other, and told what to do."""
        shown = run("--root", tmp_path, "with-lock", "tape", "--", "echo", "in", JOBQUEUE_RUN="a@1")
        assert (2, "") == (shown.returncode, shown.stdout)
        assert "add this lock to `locks` of the job" in shown.stderr

    def test_killed(self, busy: Host, hold: Callable[..., Holder]) -> None:
        """However its process ends, the lock is given back at once."""
        holder = hold("tape").has_it()
        name = busy.run("a")
        holder.kill()
        assert "succeeded" == busy.wait(name)["state"]
        assert [] == marks(busy.root / "run" / "with-lock")


def lines(host: Host, *words: str) -> list[list[str]]:
    """The table of ``jobqueuectl locks``, in words, without its head."""
    shown = run("--root", host.root, "locks", *words)
    assert (0, "") == (shown.returncode, shown.stderr)
    return [line.split() for line in shown.stdout.splitlines()[1:]]


class TestLocks:
    def test_who_holds_and_who_waits(self, busy: Host, hold: Callable[..., Holder]) -> None:
        """Runs and commands that hold a lock or wait for it are listed, with pid and command; each can be asked for."""
        holder = hold("tape").has_it()
        hold("-u", "2", "license").has_it()
        name = busy.run("a")
        second = hold("tape")
        claims = wait_for(lambda: found if len(found := busy.call("Locks", lock="tape")["claims"]) == 3 else None)
        pids = {claim["holder"]: claim["pid"] for claim in claims}
        assert {":with-lock@1": holder.process.pid, name: None, ":with-lock@3": second.process.pid} == pids
        (held, *waiting) = claims
        assert (":with-lock@1", ME, True, "sh -c echo $$; read go") == (
            held["holder"], held["asked_by"], held["held"], held["command"]
        )  # fmt: skip
        assert {False} == {claim["held"] for claim in waiting}
        assert all(claim["since"] for claim in claims)
        assert ["license", ":with-lock@2", "holds"] == lines(busy)[0][:3]
        assert [3, 4] == [len(lines(busy, "tape")), len(lines(busy))]
        none = run("--root", busy.root, "locks", "other")
        assert (0, "other is neither held nor waited for\n", "") == (none.returncode, none.stdout, none.stderr)

    def test_an_interrupted_wait(self, busy: Host, hold: Callable[..., Holder]) -> None:
        """A wait tells who holds the lock; Ctrl-C ends it, says that nothing was run, and leaves the queue."""
        hold("tape").has_it()
        waiting = hold("tape")
        assert waiting.process.stderr is not None
        assert "waiting for lock tape: held by :with-lock@1\n" == waiting.process.stderr.readline()
        waiting.process.send_signal(signal.SIGINT)
        stdout, stderr = waiting.process.communicate(timeout=DEADLINE)
        told = "\nno longer waiting for lock tape; sh was not run\n"
        assert (130, "", told) == (waiting.process.returncode, stdout, stderr)
        wait_for(lambda: len(busy.call("Locks", lock="tape")["claims"]) == 1)

    def test_a_slip_in_a_name(self, busy: Host) -> None:
        """A name that no job knows is told with the one that was probably meant; a new one of a person's own is not."""
        told = "no job uses a lock tappe; did you mean tape?\n"
        assert (0, told) == with_lock(busy, "tappe", "--", "true")[::2]
        assert [told, "", ""] == [run("--root", busy.root, "locks", name).stderr for name in ("tappe", "tape", "mine")]
        assert (0, "") == with_lock(busy, "mine", "--", "true")[::2]

    def test_evict(self, busy: Host, hold: Callable[..., Holder]) -> None:
        """What is taken from a command goes to the next, at once and for good; the command itself goes on."""
        holder, name = hold("tape").has_it(), busy.run("long")
        wait_for(lambda: busy.call("Why", run=name)["why"]["missing"])
        waiting = hold("tape")
        wait_for(lambda: len(busy.call("Locks", lock="tape")["claims"]) == 3)
        shown = run("--root", busy.root, "locks", "--evict", ":with-lock@1")
        assert f"tape taken from :with-lock@1; its process {holder.process.pid} continues\n" == shown.stdout
        assert "tape taken from :with-lock@2\n" == run("--root", busy.root, "locks", "--evict", ":with-lock@2").stdout
        stdout, stderr = waiting.process.communicate(timeout=DEADLINE)
        evicted = stderr.splitlines()[-1]
        assert (1, "", f"Error: refused: evicted by {NAME}") == (waiting.process.returncode, stdout, evicted)
        wait_for(lambda: busy.said("run_started"))
        assert ([], None) == (marks(busy.root / "run" / "with-lock"), holder.process.poll())
        refused = run("--root", busy.root, "locks", "--evict", name).stderr
        told = (
            f"{name} is a run and keeps its locks until it ends; to end it: jobqueuectl --root {busy.root} stop {name}"
        )
        assert f"Error: refused: {told}\n" == refused
        assert "expected the HOLDER of a lock such as" in run("--root", busy.root, "locks", "--evict", "x").stderr
        again = run("--root", busy.root, "locks", "--evict", ":with-lock@1")
        assert (1, "Error: refused: :with-lock@1 neither holds a lock nor waits for one\n") == (
            again.returncode,
            again.stderr,
        )
        assert (0, "", "") == holder.go()
        assert [":with-lock@1", ":with-lock@2"] == [line["guest"] for line in busy.said("lock_evicted")]
        assert [name] == [claim["holder"] for claim in busy.call("Locks", lock="tape")["claims"]]

    def test_refused_and_gone(self, busy: Host, hold: Callable[..., Holder]) -> None:
        """Who is refused leaves no descriptor behind while it lives; who hangs up while it waits gets nothing later."""
        holder = hold("tape").has_it()
        assert busy.daemon is not None
        descriptors = Path(f"/proc/{busy.daemon.pid}/fd")
        before = len(list(descriptors.iterdir()))
        for _ in range(20):
            assert "held by" in busy.call("Lock", lock="tape", no_wait=True)["reason"]
        wait_for(lambda: len(list(descriptors.iterdir())) <= before)
        with Call(busy.root / "run" / "control", "Lock", lock="tape"):
            wait_for(lambda: len(busy.call("Locks", lock="tape")["claims"]) == 2)
        wait_for(lambda: len(busy.call("Locks", lock="tape")["claims"]) == 1)
        holder.go()
        wait_for(lambda: busy.call("Locks")["claims"] == [])
        assert 1 == len(busy.said("lock_granted"))


class TestRestart:
    def test_held_over_a_crash(self, busy: Host, hold: Callable[..., Holder]) -> None:
        """A lock that a command has outlives SIGKILL of the daemon, and is given back when the command ends."""
        holder = hold("tape").has_it()
        hold("-u", "3", "license").has_it()
        busy.kill()
        busy.start()
        name = busy.run("a")
        assert why(busy, name)[0].startswith(f"lock tape is held by {A_COMMAND}")
        assert 1 == with_lock(busy, "-n", "-u", "1", "license", "--", "true")[0]
        assert [] == busy.said("run_started")
        holder.go()
        assert "succeeded" == busy.wait(name)["state"]

    def test_given_back_meanwhile(self, busy: Host, hold: Callable[..., Holder]) -> None:
        """What ends while no daemon is there holds nothing any more at the next start."""
        holder = hold("tape").has_it()
        busy.kill()
        assert (0, "", "") == holder.go()
        busy.start()
        assert [] == marks(busy.root / "run" / "with-lock")
        assert "succeeded" == busy.wait(busy.run("a"))["state"]

    def test_waiting_over_a_restart(self, busy: Host, hold: Callable[..., Holder]) -> None:
        """Who waits is told that the daemon is gone, with exit status 2, and has not run its command."""
        busy.run("long")
        wait_for(lambda: busy.said("run_started"))
        waiting = hold("tape")
        low = busy.run("low")
        wait_for(lambda: busy.call("Why", run=low)["why"]["ahead"])
        busy.kill()
        stdout, stderr = waiting.process.communicate(timeout=DEADLINE)
        assert (2, "") == (waiting.process.returncode, stdout)
        assert stderr.splitlines()[-1].startswith("Error: cannot reach the daemon at ")

    def test_stale_marks(self, host: Host) -> None:
        """RunDirectory of dead processes, of other processes with their numbers, and garbage keep nothing locked."""
        directory = host.root / "run" / "with-lock"
        directory.mkdir(parents=True)
        born = birth(os.getpid())
        assert born is not None
        dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
        mark = {"birth": born, "claims": [["tape", 0, True]], "placed": [], "asked_by": "root"}
        (directory / "1").write_text(json.dumps({**mark, "pid": int(dead.stdout)}))
        (directory / "2").write_text(json.dumps({**mark, "pid": os.getpid(), "birth": born - 1}))
        (directory / "3").write_bytes(b"\xff{")
        host.start()
        assert [] == marks(directory)
        assert (0, "in\n", "") == with_lock(host, "-n", "tape", "--", "echo", "in")
