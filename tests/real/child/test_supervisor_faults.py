"""A supervisor whose disk is full, read-only or broken, which has no descriptor left, or a bug: no status is lost."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobqueued.base.instants import HOUR
from jobqueued.child.attempt import attempt, shutdown
from jobqueued.child.contract import unix_socket, wire
from jobqueued.model.job import Job
from tests.support import REPO
from tests.support.failing import Standing, limit_descriptors
from tests.support.host import DEADLINE, wait_for
from tests.support.pool import Pool, ended
from tests.support.users import NEEDS_ROOT, NICE

NO_ROOM = ("ENOSPC", "EDQUOT", "EROFS", "EIO", "EMFILE")


class Faulty(Pool):
    """A supervisor whose steps fail while `faults` say so."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        title = Path(f"/proc/{self.pid}/cmdline")
        wait_for(lambda: title.read_bytes().startswith(b"jq-supervisor\0idle"), why="it is set up")

    def fail(self, *faults: str) -> None:
        """From now on these, and no others."""
        (self.root / "standing.tmp").write_text("".join(f"{fault}\n" for fault in faults))
        (self.root / "standing.tmp").rename(self.root / "standing")

    def follow(self, path: Path) -> socket.socket:
        """A connection to R/control."""
        directory = wire.open_directory(str(path))
        follower = socket.socket(socket.AF_UNIX)
        follower.settimeout(30)
        follower.connect(unix_socket.address(directory, wire.CONTROL))
        os.close(directory)
        return follower

    def next(self) -> str:
        """The next notice."""
        return self.socket.recv(wire.NOTICE).decode()

    def limit(self, spare: int) -> None:
        """So many more descriptors may be opened."""
        limit_descriptors(self.pid, spare)

    def unlimit(self) -> None:
        """As many as at first."""
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:
    """A pool of one such supervisor."""
    with monkeypatch.context() as patched:
        Standing(str(tmp_path)).install(patched.setattr)
        pool = Faulty(tmp_path)
    yield pool
    pool.fail()
    pool.unlimit()
    pool.close()


def record(pool: Pool) -> Path:
    return pool.root / "logs" / "job" / f"{pool.number}.json"


class TestTheEnd:
    @pytest.mark.parametrize("fault", NO_ROOM)
    def test_waits_for_room(self, faulty: Faulty, fault: str) -> None:
        """Nothing can be written: it lives, tells why, answers as long as it lasts, and then tells the exact end."""
        faulty.fail(f"create ended {fault}", f"create {faulty.number + 1}.json.tmp {fault}")
        path = faulty.send(Job(id="job", command="exit 7"))
        why = f"it ended (exit code 7), but its run directory can't be written: {os.strerror(_number(fault))}"
        assert [faulty.next().split()[0], faulty.next()] == ["started", f"stopping job@1.1 {why}"]
        for _ in range(3):
            with faulty.follow(path) as follower:
                assert follower.recv(4096).decode() == f"live\nstopping {why}\n"
                follower.sendall(b"stop at once\n")
        assert not (path / wire.ENDED).exists()
        faulty.fail()
        assert faulty.next() == "ended job@1.1"
        assert (ended(path)["exit_code"], ended(path)["state"]) == (7, "failed")
        assert json.loads(record(faulty).read_bytes()) == ended(path)
        assert "record_error" not in ended(path)
        assert ["started", "ended"] == faulty.run(command="true")[0]

    def test_without_a_record_file(self, faulty: Faulty) -> None:
        """R/ended alone is an end, which says why there is no record file, and nothing is left of its beginning."""
        faulty.fail("write 1.json.tmp torn")
        _said, document = faulty.run(command="exit 7")
        assert document["exit_code"] == 7
        assert document["record_error"] == f"{record(faulty)}: No space left on device"
        assert [] == [name for name in os.listdir(record(faulty).parent) if name != "1.log"]

    def test_torn(self, faulty: Faulty) -> None:
        """Half of R/ended is none, does not stay, and is followed by all of it."""
        faulty.fail("write ended torn")
        path = faulty.send(Job(id="job", command="exit 7"))
        assert [faulty.next().split()[0] for _ in range(2)] == ["started", "stopping"]
        assert not (path / wire.ENDED).exists()
        faulty.fail("write ended torn", "unlink ended EIO")
        wait_for((path / wire.ENDED).exists)
        assert wire.read_whole(wire.open_directory(str(path)), wire.ENDED) is None
        faulty.fail()
        assert faulty.next() == "ended job@1.1"
        assert ended(path)["exit_code"] == 7

    def test_launcher_dies_meanwhile(self, faulty: Faulty) -> None:
        """Nobody is there to be told: R tells it, and the supervisor goes."""
        faulty.fail("create ended ENOSPC", "create 1.json.tmp ENOSPC")
        path = faulty.send(Job(id="job", command="exit 7"))
        assert [faulty.next().split()[0] for _ in range(2)] == ["started", "stopping"]
        faulty.socket.close()
        with faulty.follow(path) as follower:
            assert follower.recv(4096).startswith(
                b"live\nstopping it ended (exit code 7), but its run directory can't be written: "
            )
            faulty.fail()
            assert follower.recv(4096) == b"ended\n"
        os.waitid(os.P_PID, faulty.pid, os.WEXITED | os.WNOWAIT)
        assert ended(path)["exit_code"] == json.loads(record(faulty).read_bytes())["exit_code"] == 7

    def test_the_host_goes_down_meanwhile(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """R goes with the host: the record file is enough, and only where that can't be is anything waited for."""
        down = tmp_path / "down"
        with monkeypatch.context() as patched:
            Standing(str(tmp_path)).install(patched.setattr)
            patched.setattr(shutdown.Shutdown, "began", lambda *_: down.exists())
            pool = Faulty(tmp_path)
        pool.fail("create ended ENOSPC", "create 1.json.tmp ENOSPC")
        path = pool.send(Job(id="job", command="exit 7"))
        assert [pool.next().split()[0] for _ in range(2)] == ["started", "stopping"]
        down.touch()
        with pool.follow(path) as follower:
            assert follower.recv(4096).startswith(
                b"live\nstopping it ended (exit code 7), but its run directory can't be written: "
            )
            pool.fail("create ended ENOSPC")
            assert follower.recv(4096) == b""
        assert pool.socket.recv(1) == b""
        assert (json.loads(record(pool).read_bytes())["exit_code"], (path / wire.ENDED).exists()) == (7, False)
        pool.close()

    def test_what_was_left_goes_on_meanwhile(self, faulty: Faulty) -> None:
        """`leave_children`: what lives on can write more than a pipe holds, and what ends meanwhile is not left."""
        faulty.fail("create ended ENOSPC")
        command = f"(head -c 300000 /dev/zero; touch {faulty.root}/wrote) & exit 7"
        path = faulty.send(Job(id="job", command=command, leave_children=True))
        wait_for((faulty.root / "wrote").exists)
        faulty.fail()
        assert faulty.heard()[-1].split()[0] in ("ended", "left")
        assert ended(path)["exit_code"] == 7

    def test_an_attempt_that_could_not_start(self, faulty: Faulty) -> None:
        """It waits with its reason as well, and answers."""
        faulty.fail("create ended ENOSPC")
        path = faulty.send(Job(id="job", command=["/no/such"]))
        assert faulty.next().startswith("stopping job@1.1 it ended (start_failed: exec")
        with faulty.follow(path) as follower:
            assert follower.recv(4096).startswith(b"live\nstopping it ended (start_failed")
        faulty.fail()
        assert faulty.next() == "ended job@1.1"

    @NEEDS_ROOT
    def test_on_a_full_file_system(self, tmp_path: Path) -> None:
        """The same on a tmpfs that its own output has filled."""
        command = ["unshare", "--mount", sys.executable, "-m", "tests.real.child.test_supervisor_faults", str(tmp_path)]
        subprocess.run(command, cwd=REPO, check=True, timeout=DEADLINE)


def _on_a_full_file_system(root: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "none", str(root)], check=True)
    pool = Faulty(root)
    path = pool.send(Job(id="job", command="head -c 1000000 /dev/zero; exit 7"))
    assert [pool.next().split()[0] for _ in range(2)] == ["started", "stopping"]
    with pool.follow(path) as follower:
        assert follower.recv(4096).endswith(b"can't be written: No space left on device\n")
    with open(root / "logs" / "job" / "1.log", "r+b") as output:
        output.truncate(0)
    assert pool.next() == "ended job@1.1"
    document = ended(path)
    assert (document["exit_code"], document["output"]["error"]) == (
        7,
        f"{root}/logs/job/1.log: No space left on device",
    )
    assert document["output"]["bytes"] + document["output"]["dropped"] == 1_000_000
    pool.close()


class TestTheStart:
    @pytest.mark.parametrize("fault", NO_ROOM)
    def test_no_token(self, faulty: Faulty, fault: str) -> None:
        """R/spawning can't be made: nothing is started, and the reason told."""
        faulty.fail(f"create spawning {fault}")
        said, path = faulty.order(Job(id="job", command=f"touch {faulty.root}/started"))
        where = "supervisor" if fault == "EMFILE" else "run directory"
        assert said == [f"unstarted job@1.1 {where}: {os.strerror(_number(fault))}"]
        assert not (path / wire.SPAWNING).exists()
        assert not (faulty.root / "started").exists()
        faulty.fail()
        assert ["started", "ended"] == faulty.run(command="true")[0]

    def test_half_of_the_mark_of_its_processes(self, faulty: Faulty) -> None:
        """R/pid is whole or not there; the run goes on without."""
        faulty.fail("write pid torn")
        said, path = faulty.order(Job(id="job", command="exit 7"))
        assert [line.split()[0] for line in said] == ["started", "ended"]
        assert (ended(path)["exit_code"], (path / wire.PID).exists()) == (7, False)

    def test_no_pipe(self, faulty: Faulty) -> None:
        """There is none for its output: nothing is started, and the reason told."""
        before = faulty.descriptors()
        faulty.fail("pipe2 - EMFILE")
        said, path = faulty.order(Job(id="job", command="true"))
        assert said == ["unstarted job@1.1 supervisor: Too many open files"]
        assert not (path / wire.SPAWNING).exists()
        faulty.fail()
        assert before == faulty.descriptors()
        assert ["started", "ended"] == faulty.run(command="true")[0]

    def test_no_pipe_for_the_report_of_a_fork(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the host lacks in the middle of a start is no failure of the job."""
        real = os.pipe2
        calls = iter(range(100))
        monkeypatch.setattr(os, "pipe2", lambda flags: real(flags) if next(calls) != 2 else _raise("EMFILE"))
        pool = Pool(tmp_path)
        _said, path = pool.order(Job(id="job", command="true", nice=NICE))
        assert (ended(path)["state"], ended(path)["reason"]) == ("unstarted", "start: Too many open files")
        monkeypatch.undo()
        pool.close()

    def test_no_descriptor_for_its_directory(self, faulty: Faulty) -> None:
        """An order that arrives without its R is declined, not forgotten."""
        faulty.limit(0)
        said, _path = faulty.order(Job(id="job", command="true"))
        assert said == ["unstarted job@1.1 supervisor: Too many open files"]
        faulty.unlimit()
        assert ["started", "ended"] == faulty.run(command="true")[0]

    @pytest.mark.parametrize("verb", ["notify", "crontab"])
    def test_no_descriptor_for_a_document(self, faulty: Faulty, verb: str) -> None:
        """So with what is not about an attempt, as the answer says: the scheduler takes it for that of a notice."""
        faulty.limit(0)
        socket.send_fds(faulty.socket, [f"{verb} 17".encode()], [os.memfd_create(verb)])
        assert "notified 17 later 0 supervisor: Too many open files" == faulty.next()
        faulty.unlimit()
        assert ["started", "ended"] == faulty.run(command="true")[0]

    def test_however_few_descriptors_there_are(self, faulty: Faulty) -> None:
        """Whichever step finds none: it ran to its exact end, or nothing was started and the host is blamed."""
        outcomes = set()
        for spare in range(16):
            faulty.limit(spare)
            said, path = faulty.order(Job(id="job", command="echo out; exit 7", nice=NICE))
            faulty.unlimit()
            document = ended(path) if (path / wire.ENDED).exists() else {"state": "declined", "exit_code": None}
            outcomes.add((said[-1].split()[0], document["state"], document["exit_code"]))
        declined, unstarted = ("unstarted", "declined", None), ("ended", "unstarted", None)
        assert {declined, ("ended", "failed", 7)} <= outcomes <= {declined, unstarted, ("ended", "failed", 7)}


class TestItsOutput:
    @pytest.mark.parametrize("fault", NO_ROOM)
    def test_no_file(self, faulty: Faulty, fault: str) -> None:
        """It is counted as dropped, with the reason, and the job goes on."""
        faulty.fail(f"create 1.log {fault}")
        _said, document = faulty.run(command="head -c 300000 /dev/zero; exit 7")
        output = document["output"]
        assert (document["exit_code"], output["bytes"], output["dropped"]) == (7, 0, 300_000)
        assert output["error"].endswith(os.strerror(_number(fault)))

    def test_half_of_it(self, faulty: Faulty) -> None:
        """What of the last piece has no room has its reason too."""
        _said, document = faulty.run(command="echo whole")
        assert "error" not in document["output"]
        faulty.fail("write 2.log torn")
        _said, document = faulty.run(command="echo half and half")
        assert document["output"]["error"].endswith("No space left on device")


class TestNoDescriptors:
    def test_who_connects_waits(self, faulty: Faulty) -> None:
        """It does not spin, and answers when there is a descriptor again."""
        path = faulty.send(Job(id="job", command=f"until [ -e {faulty.root}/go ]; do sleep 0.05; done"))
        assert faulty.next().startswith("started ")
        faulty.limit(0)
        with faulty.follow(path) as follower:
            before = _cpu(faulty.pid)
            time.sleep(0.5)
            assert _cpu(faulty.pid) - before < 0.04
            faulty.unlimit()
            assert follower.recv(4096) == b"live\n"
        (faulty.root / "go").touch()
        assert faulty.heard()[-1] == "ended job@1.1"

    def test_it_can_be_stopped(self, faulty: Faulty) -> None:
        """To find and to signal what it has started takes no descriptor."""
        path = faulty.send(Job(id="job", command="sleep 600 & exec sleep 600", kill_grace=HOUR))
        assert faulty.next().startswith("started ")
        with faulty.follow(path) as follower:
            assert follower.recv(4096) == b"live\n"
            faulty.limit(0)
            follower.sendall(b"stop now\n")
            wait_for(lambda: not _children(faulty.pid))
            faulty.unlimit()
        assert faulty.heard()[-1] == "ended job@1.1"
        assert (ended(path)["state"], ended(path)["signal"]) == ("killed", signal.SIGTERM)


class TestBugs:
    def test_in_the_middle(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The command lives on; its record says the bug once, and its exact end."""
        with monkeypatch.context() as patched:
            patched.setattr(attempt.Attempt, "_sample", lambda *_: (tmp_path / "sampled").touch() or 1 // 0)
            patched.setattr(attempt.Attempt, "_asked", lambda *_: (tmp_path / "asked").touch() or {}["asked"])
            pool = Faulty(tmp_path)
        path = pool.send(Job(id="job", command=f"until [ -e {tmp_path}/go ]; do sleep 0.05; done; exit 7"))
        assert pool.next().startswith("started ")
        with pool.follow(path) as follower:
            follower.sendall(b"stop now\n")
            wait_for(lambda: (tmp_path / "sampled").exists() and (tmp_path / "asked").exists())
            (tmp_path / "go").touch()
            assert pool.heard()[-1] == "ended job@1.1"
        bugs = {f"bug in the supervisor: {what}" for what in ("integer division or modulo by zero", "'asked'")}
        assert (ended(path)["exit_code"], bugs & set(ended(path)["warnings"])) == (7, bugs)
        pool.close()

    def test_after_its_command(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """One that comes again and again once nothing lives ends the supervisor, and not the status."""
        with monkeypatch.context() as patched:
            patched.setattr(attempt, "_MOST_MISHAPS", 1)
            patched.setattr(attempt.Attempt, "_look_at_what_is_left", lambda *_: 1 // 0)
            pool = Pool(tmp_path)
        with contextlib.closing(pool):
            path = pool.send(Job(id="job", command="sleep 0.2 & sleep 0.4 & sleep 600 & exit 7"))  # each is looked at
            assert pool.socket.recv(wire.NOTICE).startswith(b"started ")
            assert pool.socket.recv(1) == b""
            assert (path / wire.LOST).read_text() == str(7 << 8)

    def test_at_the_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where there can be no record the wait status is in R/lost."""
        with monkeypatch.context() as patched:
            patched.setattr(attempt.Attempt, "_record", lambda *_: 1 // 0)
            pool = Pool(tmp_path)
        with contextlib.closing(pool):
            path = pool.send(Job(id="job", command="exit 7"))
            assert pool.socket.recv(wire.NOTICE).startswith(b"started ")
            assert pool.socket.recv(1) == b""
            assert (path / wire.LOST).read_text() == str(7 << 8)


def test_a_launcher_that_dies_is_no_news(pool: Pool) -> None:
    """Whatever it left unread, its supervisor goes in order."""
    pool.send(Job(id="job", command="true"))
    wait_for((pool.root / "job@1.1" / wire.ENDED).exists)
    pool.socket.close()
    found = os.waitid(os.P_PID, pool.pid, os.WEXITED | os.WNOWAIT)
    assert found is not None
    assert found.si_status == 0


def _number(name: str) -> int:
    return int(getattr(errno, name))


def _raise(name: str) -> None:
    raise OSError(_number(name), os.strerror(_number(name)))


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


if __name__ == "__main__":
    _on_a_full_file_system(Path(sys.argv[1]))
