"""What a scheduler is told of all that its fleet remembers: what it may still come to, and what is its host's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobqueued.child.fleet.etcd.gateway import Gateway
from jobqueued.child.fleet.etcd.wire import coded
from jobqueued.child.fleet.session import occurrences, snapshot
from tests.support.etcd import etcd
from tests.support.fleet_agent import agents

EARLY, BEFORE, LATE = 1772409600, 1772409660, 1772409720


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """An etcd of its own."""
    (tmp_path / "etcd").mkdir()
    with etcd(tmp_path / "etcd") as found:
        yield found


def test_since_when(address: str, tmp_path: Path) -> None:
    """Of others what was since then; of this host what has no end, also from before, and of jobs that it has no more.

    An agent that was there knows that before the fleet can be asked; another finds it afterwards.
    """
    with agents(tmp_path, address, "one", "other") as (one, other):
        for second in (BEFORE, LATE):
            other.ask("backup", f"f{second}")
            other.hear("granted")
        for job in ("backup", "gone"):
            one.ask(job, f"f{EARLY}")
            one.hear("granted")
        one.ask("over", f"f{EARLY}")
        one.hear("granted")
        one.say("give_back", "over", f"f{EARLY}", "succeeded")
        one.hear("taken", "over")
        ours = [["ours", job, f"f{EARLY}"] for job in ("backup", "gone")]
        late = ["taken", "backup", f"f{LATE}", ""]
        one.hello(backup=LATE)
        assert [late, *ours, ["up", ""]] == one.hear_all("up", "")
        one.kill()
        one.start()
        one.hello(backup=LATE)
        assert [late, ["up", ""], *ours] == one.hear_all(*ours[-1])


def test_in_parts(address: str) -> None:
    """All of it is read, whatever the number of jobs and of their occurrences, as of one revision."""
    gateway = Gateway([address], 5)
    jobs = {f"job{number:02}": BEFORE for number in range(70)}
    keys = {f"/jq/runs/{job}/{second}/1" for job in jobs for second in (EARLY, BEFORE, LATE)}
    keys |= {f"/jq/runs/job07/{LATE + second}/1" for second in range(3000)} | {"/jq/jobs/job00", "/jq/locks/tape"}
    wanted = [{"request_put": {"key": coded(key), "value": coded("other:id")}} for key in sorted(keys)]
    for begin in range(0, len(wanted), 128):
        gateway.call("kv/txn", {"success": wanted[begin : begin + 128]})
    found = dict[str, str]()
    revisions = set[int]()
    for revision, part in snapshot(gateway, jobs):
        assert not found.keys() & part.keys()
        found |= {key: each.value for key, each in part.items()}
        revisions.add(revision)
        gateway.call("kv/put", {"key": coded(f"/jq/runs/job69/{LATE + len(revisions)}/1"), "value": coded("late:id")})
    assert {key for key in keys if f"/{EARLY}/" not in key} == found.keys()
    assert 1 == len(revisions)
    everything, key = set[str](), "/jq/runs/"
    while key:
        part, key = occurrences(gateway, key)
        everything |= part.keys()
    assert {key for key in keys if key.startswith("/jq/runs/")} < everything
    gateway.close()
