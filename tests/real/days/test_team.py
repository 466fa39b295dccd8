"""A day of a small team: two users and root queue arrays, dependencies and locks, and the scheduler is killed."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.host import Host, wait_for
from tests.support.stranger import as_user, public

ROOT, ALICE, BOB = 0, 1, 2
SHARES = {uid: pwd.getpwuid(uid).pw_name for uid in (ALICE, BOB)} | {ROOT: "host"}
RUNS = {
    f"{SHARES[ALICE]}/fetch": 12, f"{SHARES[ALICE]}/build": 1, f"{SHARES[ALICE]}/check": 4,
    f"{SHARES[ALICE]}/breaks": 1, f"{SHARES[ALICE]}/never": 1, f"{SHARES[ALICE]}/anyway": 1,
    f"{SHARES[BOB]}/render": 10, "host/backup": 1,
}  # fmt: skip
"""The jobs of that day, and how many runs each has."""
FETCH, BUILD, CHECK, BREAKS, NEVER, ANYWAY, RENDER, BACKUP = RUNS
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

Records = list[dict[str, Any]]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory for all."""
    with public() as directory:
        (directory / "lines").mkdir()
        (directory / "lines").chmod(0o777)
        yield directory


@pytest.fixture
def host(place: Path) -> Iterator[Host]:
    """A daemon that runs six at a time, and of a user four."""
    host = Host(place / "host")
    (place / "host" / "jobqueued.yaml").write_text("max_running: 6\nusers: {live: 4}\n")
    host.start()
    (place / "host" / "run").chmod(0o755)
    yield host
    host.stop()
    host.kill_small_ones()


def submit(host: Host, uid: int, job: str, command: str, **rest: Any) -> None:
    """Hand a command in; asked for once more it is the same."""
    name = job.rpartition("/")[2]
    asked = {"keys": {"command": command, **rest.pop("keys", {})}, "name": name, "key": name, **rest}
    assert job == as_user(uid, lambda: host.call("Submit", submission=asked)).get("job")


def ended(host: Host, job: str) -> Records:
    """The records of all of its runs, once they are there; there is none more."""
    names = [f"{job}@{number}" for number in range(1, RUNS[job] + 1)]
    wait_for(lambda: all(host.record(name) is not None for name in names))
    assert host.record(f"{job}@{RUNS[job] + 1}") is None
    return [host.record(name) or {} for name in names]


def most_at_once(records: Records) -> int:
    """So many of them were live at one time."""
    changes = sorted([(it["started"], 1) for it in records] + [(it["ended"], -1) for it in records])
    return max(sum(change for _, change in changes[:end]) for end in range(1, len(changes) + 1))


def a_day(host: Host, place: Path) -> None:
    """Queue all of it, kill the scheduler, and let go what has waited for that."""
    line = f"sleep 0.02; echo $(id -un) $JOBQUEUE_ARRAY_INDEX >>{place}/lines/$(id -u)"
    submit(host, ALICE, FETCH, line, array="1-12%3")
    submit(host, ALICE, BUILD, "sleep 0.02", after=[FETCH], keys={"locks": ["tree"]})
    submit(host, ALICE, CHECK, "sleep 0.02", after=[BUILD], array="1-4", keys={"locks": ["tree"]})
    submit(host, ALICE, BREAKS, f"until [ -e {place}/go ]; do sleep 0.02; done; exit 3")
    submit(host, ALICE, NEVER, "true", after=[BREAKS])
    submit(host, ALICE, ANYWAY, "true", after=[f"any:{BREAKS}"])
    submit(host, BOB, RENDER, line, array="0-18:2%9", keys={"priority": -5})
    submit(host, ROOT, BACKUP, "sleep 0.05", keys={"exclusive": True})
    host.kill()
    host.start()
    submit(host, ALICE, FETCH, "another")
    submit(host, BOB, RENDER, "another")
    (place / "go").touch()


def test_all_of_it_ends_exactly(host: Host, place: Path) -> None:
    """Each run is there once, as its user, in its order and its bounds; the kill in between adds and loses nothing."""
    a_day(host, place)
    of = {job: ended(host, job) for job in RUNS}
    wait_for(lambda: not host.call("Submissions")["submissions"])
    states = {job: {it["state"] for it in found} for job, found in of.items()}
    assert ({"failed"}, {"skipped"}) == (states.pop(BREAKS), states.pop(NEVER))
    assert {job: {"succeeded"} for job in states} == states
    for uid, indexes in ((ALICE, range(1, 13)), (BOB, range(0, 19, 2))):
        lines = (place / "lines" / str(uid)).read_text().splitlines()
        assert sorted(f"{SHARES[uid]} {index}" for index in indexes) == sorted(lines)
    assert most_at_once(of[FETCH]) <= 3
    for uid in (ALICE, BOB):
        own = [it for job in of for it in of[job] if job.startswith(SHARES[uid]) and job != NEVER]
        assert most_at_once(own) <= 4, SHARES[uid]
    assert max(it["ended"] for it in of[FETCH]) <= of[BUILD][0]["started"]
    on_tree = sorted([*of[BUILD], *of[CHECK]], key=lambda it: str(it["started"]))
    assert [] == [(one["run"], two["run"]) for one, two in pairwise(on_tree) if one["ended"] > two["started"]]
    (alone,) = of[BACKUP]
    others = [it for job in of for it in of[job] if job not in (BACKUP, NEVER)]
    beside = [it["run"] for it in others if it["started"] < alone["ended"] and alone["started"] < it["ended"]]
    assert [] == beside
