"""State on a disk that is full, read-only, or fails, at the start and in the middle of life: the daemon lives, follows
what runs, says what is wrong, and goes on by itself once it is mended."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobqueued.state.db.ballast import BALLAST
from tests.support.disk import Disk
from tests.support.host import Host, wait_for
from tests.support.needed import need

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

FILE = """
jobs:
  long: {command: "while [ ! -e ROOT/go ]; do sleep 0.05; done; exit 3"}
  quick: {command: "echo x >>ROOT/quick"}
"""


@pytest.fixture
def disk(host: Host) -> Iterator[Disk]:
    """The state directory's."""
    disk = Disk(host.root / "state", 16)
    host.write("jobs.yaml", FILE.replace("ROOT", str(host.root)))
    yield disk
    host.close()
    disk.close()


def degraded(host: Host) -> str:
    """The reason, once it is."""
    return str(wait_for(lambda: host.call("Status")["reason"]))


def recovered(host: Host) -> None:
    """Wait until the state is saved again."""
    wait_for(lambda: host.call("Status")["state"] == "ok", why="ok")


def quick(host: Host) -> int:
    """How often it has run."""
    path = host.root / "quick"
    return len(path.read_text().split()) if path.exists() else 0


def live(host: Host) -> str:
    """A long run, once it lives."""
    run = host.run("long")
    wait_for(lambda: host.call("Show", run=run)["record"]["pid"])
    return run


def worked(host: Host) -> float:
    """The seconds for which the daemon has had a CPU."""
    assert host.daemon is not None
    return int(Path(f"/proc/{host.daemon.pid}/schedstat").read_text().split()[0]) / 1e9


def check_waiting_start(host: Host, reason: str) -> None:
    """A start that can't save: what lives is followed to its end, nothing new starts, nobody is told a number that may
    be forgotten, nothing spins, and the reason is told."""
    run = "long@1"
    said = degraded(host)
    assert reason in said
    assert "live runs continue, but nothing new starts" in said
    (host.root / "go").touch()
    assert host.wait(run)["exit_code"] == 3
    assert host.marks() == [f"{run}.1"]
    check_refused(host, reason)
    before, tries = worked(host), len(host.said("degraded"))
    for _ in range(20):
        host.call("Status")
    assert worked(host) - before < 1
    assert (quick(host), tries) == (0, 1)


def check_refused(host: Host, reason: str) -> None:
    """Whoever asks for a run is told why it can't be had now."""
    refused = host.call("Run", job="quick")
    assert refused["error"] == "io.jobqueue.Refused"
    assert "nothing new starts" in refused["reason"]
    assert reason in refused["reason"]


def check_it_goes_on(host: Host) -> None:
    """After that: by itself, what is asked for runs, and what has ended is saved."""
    recovered(host)
    wait_for(lambda: "error" not in host.call("Run", job="quick"))
    wait_for(lambda: quick(host) == 1)
    wait_for(lambda: host.marks() == [])
    host.kill()


class TestStart:
    def test_read_only(self, host: Host, disk: Disk) -> None:
        """On a read-only file system a start follows what lives; made writable it goes on, with nothing lost."""
        disk.start(host)
        live(host)
        host.kill()
        disk.remount("ro")
        disk.start(host)
        check_waiting_start(host, "Read-only file system")
        disk.remount("rw")
        check_it_goes_on(host)
        disk.start(host)
        assert host.call("Show", run="long@1")["record"]["exit_code"] == 3

    def test_read_only_and_empty(self, host: Host, disk: Disk) -> None:
        """Without a state.db it is an empty state in memory until one can be written; run numbers go on."""
        disk.start(host)
        host.wait(host.run("quick"))
        host.stop()
        (disk.inside / "state.db").unlink()
        disk.remount("ro")
        disk.start(host)
        assert "nothing new starts" in degraded(host)
        check_refused(host, "Read-only file system")
        disk.remount("rw")
        recovered(host)
        assert wait_for(lambda: host.call("Run", job="quick").get("run")) == "quick@2"
        wait_for(lambda: quick(host) == 2)
        assert (disk.inside / "state.db").exists()

    def test_read_only_and_broken(self, host: Host, disk: Disk) -> None:
        """One that is corrupt is said at once, and set aside once that can be done."""
        disk.start(host)
        host.wait(host.run("quick"))
        host.stop()
        path = disk.inside / "state.db"
        path.write_bytes(path.read_bytes()[:4096] + os.urandom(path.stat().st_size - 4096))
        disk.remount("ro")
        disk.start(host)
        assert "state.db is corrupt (" in host.said("trouble")[0]["message"]
        check_refused(host, "Read-only file system")
        disk.remount("rw")
        recovered(host)
        assert wait_for(lambda: host.call("Run", job="quick").get("run")) == "quick@2"
        assert host.wait("quick@2")["state"] == "succeeded"
        assert (disk.inside / "state.db.broken-1").exists()
        assert "moved to state.db.broken-1; the daemon writes a new one" in host.said("trouble")[-1]["message"]

    def test_a_second_daemon(self, host: Host, disk: Disk) -> None:
        """The state directory is locked, though nothing can be written there."""
        disk.start(host)
        host.kill()
        disk.remount("ro")
        first = disk.start(host)
        second = disk.start(host, ready=False)
        assert second.wait(30) == 1
        assert "is in use by another jobqueued" in host.log()
        host.daemon = first

    def test_full(self, host: Host, disk: Disk) -> None:
        """The same of a full one; the ballast is there again afterwards."""
        disk.start(host)
        live(host)
        host.kill()
        disk.fill()
        disk.start(host)
        check_waiting_start(host, "database or disk is full")
        disk.free()
        recovered(host)
        wait_for(lambda: (disk.inside / "ballast").exists() and (disk.inside / "ballast").stat().st_size == BALLAST)
        check_it_goes_on(host)


class Immutable:
    """A part of the host on ext4, where chattr(1) makes files and directories immutable."""

    def __init__(self, host: Host, place: str, image: Path) -> None:
        if not all(map(shutil.which, ("mkfs.ext4", "chattr"))) or not Path("/dev/loop-control").exists():
            pytest.skip("needs loop devices, mkfs.ext4 and chattr")
        self.host, self.disk = host, Disk(host.root / place, 32, image)
        host.write("jobs.yaml", FILE.replace("ROOT", str(host.root)))
        self._fixed = list[str]()

    def fix(self, *names: str) -> None:
        """Make these immutable; "." is the directory itself."""
        self._fixed += names
        self._change("+i", names)

    def free(self) -> None:
        """Let them be changed again."""
        self._change("-i", self._fixed)
        self._fixed.clear()

    def _change(self, how: str, names: Iterable[str]) -> None:
        if names:
            subprocess.run(["chattr", how, *(self.disk.inside / name for name in names)], check=True)

    def close(self) -> None:
        self.free()
        self.host.close()
        self.disk.close()


@pytest.fixture
def immutable(host: Host, tmp_path: Path) -> Iterator[Callable[[str], Immutable]]:
    """A maker of one."""
    made = list[Immutable]()

    def make(place: str) -> Immutable:
        made.append(Immutable(host, place, tmp_path / "image"))
        return made[-1]

    yield make
    for each in made:
        each.close()


class TestImmutable:
    @pytest.mark.parametrize("what", [(".",), ("state.db",), (".", "state.db", "lock")], ids="-".join)
    def test_state(self, host: Host, immutable: Callable[[str], Immutable], what: tuple[str, ...]) -> None:
        """With an immutable state.db, lock or directory of both a start follows what lives, as where the disk is
        read-only; once they can be changed it goes on."""
        place = immutable("state")
        place.disk.start(host)
        live(host)
        host.stop()  # so there is no log, which has to be made
        place.fix(*what)
        place.disk.start(host)
        check_waiting_start(host, "make it writable for jobqueued")
        place.free()
        check_it_goes_on(host)

    def test_a_log_that_is_there(self, host: Host, immutable: Callable[[str], Immutable]) -> None:
        """Where nothing has to be made in the immutable directory nothing is wrong."""
        place = immutable("state")
        place.disk.start(host)
        host.wait(host.run("quick"))
        host.kill()
        place.fix(".")
        place.disk.start(host)
        assert ("ok", "succeeded") == (host.call("Status")["state"], host.wait(host.run("quick"))["state"])

    def test_records(self, host: Host, immutable: Callable[[str], Immutable]) -> None:
        """With an immutable directory of records runs start and end; once it can be changed their records are there."""
        place = immutable("logs")
        place.fix(".")
        place.disk.start(host)
        run = host.run("quick")
        assert "succeeded" == host.wait(run)["state"]
        wait_for(lambda: any("Operation not permitted" in text for text in host.call("Status")["troubles"]))
        place.free()
        record = place.disk.inside / "quick" / "1.json"
        wait_for(record.exists)

    def test_run_directory(self, host: Host, immutable: Callable[[str], Immutable]) -> None:
        """Without a socket nobody could ask anything, nor a launcher: such a start is refused, with the remedy."""
        place = immutable("run")
        place.disk.start(host)
        host.stop()
        place.fix(".")
        assert 1 == place.disk.start(host, ready=False).wait(30)
        run = host.root / "run"
        assert f"{run}: it is immutable; jobqueued needs write permission there: chattr -i {run}" in host.log()


def shut_down(place: Path) -> None:
    """Let every access to an ext4 fail with EIO (EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH)."""
    folder = os.open(place, os.O_RDONLY)
    try:
        fcntl.ioctl(folder, 0x8004587D, struct.pack("I", 2))
    finally:
        os.close(folder)


class TestLife:
    def test_full(self, host: Host, disk: Disk) -> None:
        """A disk that is really full, to the last block, is no SIGBUS: runs go on, and all is saved afterwards."""
        disk.start(host)
        wait_for(lambda: (disk.inside / "state.db-wal").stat().st_size == 0, why="tidied up after the start")
        disk.fill()
        for _ in range(10):
            assert host.wait(host.run("quick"))["state"] == "succeeded"
        assert "database or disk is full" in degraded(host)
        assert "runs start and continue" in degraded(host)
        disk.free()
        recovered(host)
        wait_for(lambda: host.marks() == [])
        host.kill()
        disk.start(host)
        assert len(host.call("Describe", job="quick", runs=100)["runs"]) == quick(host) == 10

    @pytest.mark.parametrize("fault", ["abort", "shutdown"])
    def test_a_disk_that_fails(self, host: Host, tmp_path: Path, fault: str) -> None:
        """ext4 that goes read-only after an error, or answers everything with EIO: the daemon lives, runs go on, and
        the reason is the kernel's."""
        need("mkfs.ext4")
        if not Path("/dev/loop-control").exists():
            pytest.skip("needs loop devices")
        disk = Disk(host.root / "state", 32, tmp_path / "image")
        host.write("jobs.yaml", FILE.replace("ROOT", str(host.root)))
        daemon: Any = disk.start(host)
        host.wait(host.run("quick"))
        if fault == "abort":
            disk.remount("abort")
        else:
            shut_down(disk.inside)
        for _ in range(3):
            assert host.wait(host.run("quick"))["state"] == "succeeded"
        said = degraded(host)
        assert {"abort": "Read-only file system", "shutdown": "Input/output error"}[fault] in said
        assert {"abort": "remount it read-write", "shutdown": "look for disk errors"}[fault] in said
        assert (quick(host), daemon.poll()) == (4, None)
        host.close()
        disk.close()
