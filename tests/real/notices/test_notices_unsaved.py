"""Notices while the state can't be saved: they are sent from memory, and nobody gets them for ever."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.disk import Disk
from tests.support.host import Host, wait_for
from tests.support.users import ME

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

RECEIVER = """#!/bin/sh
[ ! -e {root}/away ] || exit 75
cat >>{root}/got
echo >>{root}/got
"""


class Unsaved:
    """A host whose state is on a disk of its own, and whose notices go to a file."""

    def __init__(self, root: Path) -> None:
        self.host = Host(root)
        self.disk = Disk(root / "state", 16)
        (program := root / "receive").write_text(RECEIVER.format(root=root))
        program.chmod(0o755)
        (root / "jobqueued.yaml").write_text(f"notify: {{command: {program}}}\nnotifier: {ME.pw_name}\n")
        self.host.write("jobs.yaml", "jobs: {a: {command: exit 1}, b: {command: exit 2}}")
        self.start()

    def start(self) -> None:
        self.disk.start(self.host, "--config", str(self.host.root / "jobqueued.yaml"))

    def told(self) -> list[str]:
        """The runs that were told of."""
        path = self.host.root / "got"
        lines = path.read_text().splitlines() if path.exists() else []
        told = (json.loads(line) for line in lines if line)
        return [one["run"] for it in told for one in it["held_back"] or [it] if one["run"]]

    def is_over(self) -> bool:
        """Tell whether nothing waits, and the state is saved."""
        return not self.host.call("Notices")["notices"] and self.host.call("Status")["state"] == "ok"

    def close(self) -> None:
        self.host.close()
        self.disk.close()


@pytest.fixture
def unsaved(tmp_path: Path) -> Iterator[Unsaved]:
    found = Unsaved(tmp_path / "host")
    yield found
    found.close()


def test_due_at_a_start_that_can_not_save(unsaved: Unsaved) -> None:
    """What waited in a state.db that is read-only is sent, once, however long that lasts; then it is forgotten."""
    host = unsaved.host
    (host.root / "away").touch()
    host.wait(host.run("a"))
    wait_for(lambda: host.said("notice_failed"), why="it waits")
    host.kill()
    (host.root / "away").unlink()
    unsaved.disk.remount("ro")
    unsaved.start()
    wait_for(lambda: unsaved.told() == ["a@1"], why="it is sent")
    wait_for(lambda: host.said("notice_sent"), why="the answer")
    assert "degraded" == host.call("Status")["state"]
    unsaved.disk.remount("rw")
    wait_for(unsaved.is_over, why="saved")
    host.kill()
    unsaved.start()
    host.wait(host.run("b"))
    wait_for(lambda: "b@1" in unsaved.told(), why="the next")
    assert ["a@1", "b@1"] == unsaved.told()


def test_of_runs_meanwhile(unsaved: Unsaved) -> None:
    """A failure on a disk that is full is told at once; a daemon that is killed before it is saved tells it again."""
    host = unsaved.host
    unsaved.disk.fill()
    host.wait(host.run("a"))
    wait_for(lambda: unsaved.told() == ["a@1"], why="it is sent from memory")
    wait_for(lambda: host.said("notice_sent"), why="the answer")
    host.kill()
    unsaved.disk.free()
    unsaved.start()
    wait_for(unsaved.is_over, why="saved")
    assert {"a@1"} == set(unsaved.told())
    assert len(unsaved.told()) <= 2
    host.wait(host.run("b"))
    wait_for(lambda: "b@1" in unsaved.told(), why="the next")
