"""SIGKILL of a scheduler or an agent at the crash points of a fleet: its occurrence runs once, and its lock is free."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from jobqueued.child.fleet.etcd.gateway import Gateway
from jobqueued.child.fleet.etcd.wire import after_all, coded, text
from tests.support.etcd import etcd
from tests.support.fleet_agent import Agent, agents
from tests.support.host import DEADLINE, Host, wait_for

JOB = """
jobs:
  probe:
    at: {at}
    scope: fleet
    locks: {{name: tape, scope: fleet}}
    command: echo "$JOBQUEUE_RUN $JOBQUEUE_FENCE" >>{root}/started; until [ -e {root}/go ]; do sleep 0.05; done
"""


class Truth(NamedTuple):
    """What there is when the scheduler has died: the state of the row, an R, the occurrence and its lock in etcd."""

    row: str
    is_there: bool
    is_claimed: bool
    is_locked: bool


SCHEDULER = {
    "S dies after the due commit, before Ask": ("FleetLink.send before 1", Truth("waiting", False, False, False)),
    "S dies after Ask, before the answer": ("FleetLink.flush after 1", Truth("waiting", False, True, True)),
    "S dies after Granted, before the commit of starting": (
        "WriteBatch.commit before 1", Truth("waiting", False, True, True),
    ),
    "S dies after the commit, before Launch": ("LauncherLink.launch before 1", Truth("starting", False, True, True)),
    "S dies after R/spawning": ("LauncherLink._send after 1", Truth("starting", True, True, True)),
    "S dies after the end's commit, before GiveBack": (
        "FleetLink.send before 2", Truth("succeeded", False, True, True),
    ),
}  # fmt: skip
AGENT = {
    "A dies before it asks": "Gateway._ask before 1",
    "A dies after it asked, before the answer": "Gateway._ask after 1",
    "A dies after the answer, before it told": "Conversation.answered after 1",
}


class FleetScene:
    """A host whose scheduler and agent have places to die at, beside another host's agent and an etcd."""

    def __init__(self, host: Host, other: Agent, address: str) -> None:
        self.host, self.other, self._etcd = host, other, Gateway([address], 5)

    def arm(self, point: str) -> None:
        """Have the job come due in a moment, with this place armed."""
        at = datetime.now(UTC) + timedelta(seconds=2)
        self.host.write("probe.yaml", JOB.format(at=at.isoformat(timespec="seconds"), root=self.host.root))
        wait_for(lambda: self.keys("/jq/jobs/"), why="its definition is the fleet's")
        (self.host.root / "crash.tmp").write_text(point)
        (self.host.root / "crash.tmp").rename(self.host.root / "crash")

    def wait(self) -> None:
        """Wait until somebody has died there."""
        wait_for(lambda: not (self.host.root / "crash").exists(), why="the point was never reached")

    def keys(self, prefix: str) -> dict[str, dict[str, Any]]:
        """What etcd has below a prefix, by key."""
        answer = self._etcd.call("kv/range", {"key": coded(prefix), "range_end": coded(after_all(prefix))})
        return {text(kv["key"]): {**kv, "value": text(kv["value"])} for kv in answer.get("kvs", ())}

    def truth(self) -> Truth:
        """What there is now."""
        with closing(sqlite3.connect(self.host.root / "state" / "state.db")) as db:
            ((state,),) = db.execute("SELECT state FROM run WHERE job = 'probe'")
        return Truth(state, bool(self.host.marks()), bool(self.keys("/jq/runs/")), bool(self.keys("/jq/locks/")))

    @property
    def starts(self) -> list[str]:
        """A line for every time that the job was really started."""
        path = self.host.root / "started"
        return path.read_text().splitlines() if path.exists() else []

    def go(self) -> None:
        """Let the job end."""
        (self.host.root / "go").touch()

    def end_lease(self, lease: str) -> None:
        """End a lease, as etcd does when nobody keeps it alive."""
        self._etcd.call("lease/revoke", {"ID": lease})

    def agent(self) -> int:
        """The process of the host's own agent."""
        (found,) = (pid for pid in self.host.small_ones() if _arguments(pid)[-1] == str(self.host.root / "run"))
        return found

    def check(self) -> None:
        """The job has run once, by what it wrote and by its record; its occurrence is over, and its lock free."""
        self.go()
        wait_for(lambda: [key["value"].partition(" ")[2] for key in self.keys("/jq/runs/").values()] in ENDS)
        wait_for(lambda: not self.keys("/jq/locks/"), why="its lock is free")
        assert ["probe@1"] == [line.split()[0] for line in self.starts]
        runs = wait_for(lambda: self.host.call("Describe", job="probe")["runs"])
        assert [("probe@1", "succeeded")] == [(run["run"], run["state"]) for run in runs]
        self.other.ask("last", "x1", "tape")
        self.other.hear("granted", "last")
        self.other.say("give_back", "last", "x1", "")


ENDS = (["succeeded"], ["over"])


def _arguments(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[FleetScene]:
    """One whose host has been heard of in its fleet."""
    host = Host(tmp_path / "host", "tests/support/crashing.py")
    (tmp_path / "etcd").mkdir()
    with etcd(tmp_path / "etcd") as address, agents(tmp_path, address, "other") as (other,):
        (host.root / "jobqueued.yaml").write_text(f"fleet: {{etcd: '{address}'}}\n")
        host.start()
        wait_for(lambda: host.said("fleet_up"))
        yield FleetScene(host, other, address)
        host.close()
    print(host.log())


@pytest.mark.parametrize("name", SCHEDULER)
def test_scheduler_dies(scene: FleetScene, name: str) -> None:
    """What is true then, and that the next one goes on from there."""
    point, truth = SCHEDULER[name]
    if truth.row == "succeeded":
        scene.go()
    scene.arm(point)
    scene.wait()
    assert scene.host.daemon is not None
    assert -signal.SIGKILL == scene.host.daemon.wait(DEADLINE)
    if truth.is_claimed:
        wait_for(lambda: scene.keys("/jq/runs/"), why="the question has come to etcd")
    if truth.is_there:
        wait_for(lambda: scene.starts, why="the launch has come to a supervisor")
    assert truth == scene.truth()
    scene.host.start()
    scene.check()


@pytest.mark.parametrize("name", AGENT)
def test_agent_dies(scene: FleetScene, name: str) -> None:
    """The next one has its session; it is asked again, and what is there is its host's."""
    made = {name: key["create_revision"] for name, key in scene.keys("/jq/hosts/").items()}
    scene.arm(AGENT[name])
    scene.wait()
    wait_for(lambda: scene.starts)
    assert 2 == len(scene.host.said("fleet_up"))
    assert made == {name: key["create_revision"] for name, key in scene.keys("/jq/hosts/").items()}
    scene.check()


@pytest.mark.parametrize("is_taken", [False, True], ids=["free", "another's"])
def test_agent_dead_longer_than_ttl(scene: FleetScene, *, is_taken: bool) -> None:
    """A live run has its lock again afterwards; where another has that, it is said, and the run goes on."""
    scene.arm("nothing")
    wait_for(lambda: scene.starts)
    locks = scene.keys("/jq/locks/")
    sessions = [kv for key, kv in scene.keys("/jq/hosts/").items() if not key.endswith("/other")]
    agent = scene.agent()
    os.kill(agent, signal.SIGSTOP)
    for lease in {kv["lease"] for kv in (*locks.values(), *sessions)}:
        scene.end_lease(lease)
    assert {} == scene.keys("/jq/locks/")
    if is_taken:
        scene.other.ask("backup", "x1", "tape")
        fence = scene.other.hear("granted", "backup")[4]
    os.kill(agent, signal.SIGKILL)
    if is_taken:
        (lost,) = wait_for(lambda: scene.host.said("lock_lost"))
        assert ("probe@1", "backup on other") == (lost["run"], lost["holder"])
        assert fence > int(scene.starts[0].split()[1])
        scene.other.say("give_back", "backup", "x1", "")
    else:
        wait_for(lambda: locks.keys() == scene.keys("/jq/locks/").keys(), why="it has them again")
        assert [kv["value"] for kv in locks.values()] == [kv["value"] for kv in scene.keys("/jq/locks/").values()]
        assert [] == scene.host.said("lock_lost")
    scene.check()
