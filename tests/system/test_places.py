"""Where it may be, beside a system service: each place has cgroups for runs, or says that it has none."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.vm import DEADLINE, sh, state, until

JOB_FILE = """
jobs:
  capped: {command: "cat /proc/self/cgroup; sleep 1", resource_limits: {memory: 64M, tasks: 20, swap: 0}}
  eats:
    command: [/usr/bin/python3, -c, "import time; x = bytearray(120 << 20); time.sleep(600)"]
    resource_limits: {memory: 50M}
  forks: {command: "sleep 600 & sleep 600 & wait"}
  shared: {command: sleep 600, resource_limits: {cpu: 0.5}}
  brief: {command: "true", resource_limits: {cpu: 0.5}}
  strict: {command: "true", resource_limits: {memory: 64M}, enforce: required}
"""
CGROUP = Path("/sys/fs/cgroup")


class Place:
    """A daemon below a directory of its own, started by `command`."""

    def __init__(self, root: Path, command: list[str], *words: str) -> None:
        self.root = root
        (root / "jobqueue.d").mkdir()
        (root / "jobqueue.d" / "a.yaml").write_text(JOB_FILE)
        self.words = [*command, "/usr/bin/jobqueued", "--root", str(root), "--log", "json", *words]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.words, stdin=subprocess.DEVNULL, start_new_session=True)
        until("it is ready", lambda: (self.root / "run" / "control").exists() and self.ctl("list"))

    def stop(self) -> None:
        pid = json.loads(self._told("status", "--json").stdout)["pid"]
        os.kill(pid, 15)
        self.process.wait(DEADLINE)
        (self.root / "run" / "control").unlink(missing_ok=True)

    def _told(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = ["jobqueuectl", "--root", str(self.root), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)

    def ctl(self, *words: str) -> Any:
        """What a command answers in JSON."""
        done = self._told(*words, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def run(self, job: str) -> str:
        return self._told("run", job).stdout.strip()

    def finished(self, job: str) -> Any:
        """The record of a run."""
        run = self.run(job)
        file = self.root / "logs" / f"{run.replace('@', '/')}.json"
        return json.loads(until(f"{run} ends", lambda: file.exists() and file.read_bytes()))

    def close(self) -> None:
        for run in self.ctl("top")["runs"]:
            self._told("stop", run["run"])
        self.stop()


@pytest.fixture(scope="module", autouse=True)
def ours() -> None:
    """No system service beside it."""
    sh("systemctl", "stop", "jobqueued", "jobqueued-launcher.socket")


@pytest.fixture(scope="module")
def alice() -> Path:
    """The home of a user with a session that lasts."""
    sh("useradd", "--create-home", "alice")
    sh("loginctl", "enable-linger", "alice")
    user = pwd.getpwnam("alice")
    until("her manager is there", lambda: state(f"user@{user.pw_uid}", "ActiveState") == "active")
    return Path(user.pw_dir)


def as_alice(*command: str) -> list[str]:
    user = pwd.getpwnam("alice")
    bus = f"XDG_RUNTIME_DIR=/run/user/{user.pw_uid}"
    return ["runuser", "-u", "alice", "--", "env", bus, f"HOME={user.pw_dir}", *command]


def scope(*properties: str) -> list[str]:
    return as_alice("systemd-run", "--user", "--quiet", "--collect", "--scope", *properties)


def in_session(home: Path, name: str, properties: list[str], *words: str) -> Place:
    root = home / name
    sh(*as_alice("mkdir", str(root)))
    return Place(root, scope(*properties), *words)


@pytest.fixture
def session(alice: Path) -> Iterator[Place]:
    place = in_session(alice, "delegated", ["--property=Delegate=yes"], "--delegated")
    yield place
    place.close()


def assert_capped(place: Place) -> None:
    """Runs have cgroups with limits, whose figures are the kernel's."""
    assert {"memory", "pids"} <= set(place.ctl("status")["controllers"])
    for job in ("capped", "strict"):
        record = place.finished(job)
        assert (record["state"], set(record["enforced"].values())) == ("succeeded", {"cgroup"}), record
    record = place.finished("eats")
    assert record["reason"].startswith("out of memory: its limit is 50 MiB (memory.events: oom_kill ")
    place.run("forks")
    live = until("it has forked", lambda: [r for r in place.ctl("top")["runs"] if r["now"]["tasks"] == 3])
    assert [run["by"] for run in live] == ["cgroup"]


def assert_sampled(place: Place) -> None:
    """Runs have none; that is told, and memory is looked after."""
    (found,) = (each for each in place.ctl("doctor")["findings"] if each["what"] == "cgroups")
    assert (found["verdict"], found["seen"][:14]) == ("warning", "runs have none")
    assert place.ctl("status")["controllers"] is None
    record = place.finished("capped")
    assert (record["state"], record["enforced"]) == ("succeeded", {"memory": "sampled", "tasks": "no", "swap": "no"})
    assert place.finished("strict")["reason"].startswith("start_failed: resource_limits: memory: can't be enforced")
    record = place.finished("eats")
    assert (record["state"], record["reason"][:23]) == ("oom_killed", "out of memory: it used ")
    assert record["memory_peak"] > 50 << 20
    place.run("forks")
    live = until("it has forked", lambda: [r for r in place.ctl("top")["runs"] if r["now"]["tasks"] == 3])
    assert [run["by"] for run in live] == ["processes"]


def test_a_session_with_delegation(session: Place) -> None:
    """A user's own daemon, in a scope that systemd has delegated; over a restart, too, with runs that go on."""
    assert_capped(session)
    before = {run["run"]: run["pid"] for run in session.ctl("top")["runs"]}
    session.stop()
    session.start()
    assert {run["run"]: run["pid"] for run in session.ctl("top")["runs"]} == before
    assert_capped(session)


def test_a_session_without(alice: Path) -> None:
    """In a plain scope, or on the command line."""
    place = in_session(alice, "plain", [])
    assert_sampled(place)
    place.close()


BOX = """
set -e
mkdir {box}
echo '+memory +pids +io +cpu' >/sys/fs/cgroup/cgroup.subtree_control
echo 0 >{box}/cgroup.procs
exec unshare --cgroup --mount sh -ec '
    umount -R /sys/fs/cgroup
    mount -t cgroup2 -o {options} none /sys/fs/cgroup
    sleep 600 &
    exec "$@"' sh "$@"
"""


def boxed(tmp_path: Path, options: str) -> Place:
    """As in a container: a cgroup namespace, with the file system of cgroups as it is given."""
    script = textwrap.dedent(BOX).format(box=CGROUP / f"box-{options}", options=options)
    return Place(tmp_path, ["sh", "-c", script, "sh"])


def test_a_container(tmp_path: Path) -> None:
    """Its root is divided, and whoever else is in there goes where we do."""
    place = boxed(tmp_path, "rw")
    assert_capped(place)
    assert sh("cat", str(CGROUP / "box-rw" / "cgroup.procs")) == ""
    assert len((CGROUP / "box-rw" / "self" / "cgroup.procs").read_text().split()) > 3
    place.close()


def test_two_daemons_in_one_container(tmp_path: Path) -> None:
    """Neither takes a limit of the other's away, nor ends its runs."""
    first, second = tmp_path / "first", tmp_path / "second"
    for root in (first, second):
        root.mkdir()
    one = boxed(first, "rw,nsdelegate")
    box = CGROUP / "box-rw,nsdelegate"
    run = one.run("shared")
    until("it runs", (box / f"{run}.1" / "cpu.max").exists)
    inside = f"nsenter --cgroup --mount --target {one.ctl('status')['pid']}"
    other = Place(second, ["sh", "-c", f'echo 0 >{box}/self/cgroup.procs; exec {inside} "$@"', "sh"])
    why = "start_failed: cgroup: another daemon's run with the same name is in this cgroup"
    assert other.finished("shared")["reason"].startswith(why)
    for _ in range(2):
        other.finished("brief")
    assert (box / f"{run}.1" / "cpu.max").read_text() == "50000 100000\n"
    os.kill(int(one.ctl("show", run)["pid"]), 0)
    other.stop()
    one.close()


def test_a_container_that_may_not(tmp_path: Path) -> None:
    """As Docker makes it: cgroups can only be read."""
    place = boxed(tmp_path, "ro")
    assert_sampled(place)
    place.close()
