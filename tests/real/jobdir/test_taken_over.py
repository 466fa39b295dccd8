"""A user is a name and a number: whoever gets one of the two after userdel(8) has nothing of who had both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import REPO
from tests.support.host import Host, wait_for
from tests.support.other_etc import change_users, copied
from tests.support.stranger import as_user, public
from tests.support.users import NEEDS_ROOT

pytestmark = NEEDS_ROOT

OLD, NEW = 42_001, 42_002
KEEPS = "alice/live@1"


class Place:
    """A daemon on a host whose users change."""

    def __init__(self, root: Path) -> None:
        self.etc, self.place = copied(root / "etc"), root
        change_users(self.etc, alice=OLD)
        self.host = Host(root / "host", str(REPO / "tests/support/other_etc.py"), str(self.etc))
        self.host.start()
        (root / "host/run").chmod(0o755)

    def ask(self, uid: int, method: str, **parameters: Any) -> dict[str, Any]:
        """The daemon's answer to who has this number."""
        found: dict[str, Any] = as_user(uid, lambda: self.host.call(method, **parameters))
        return found

    def submit(self, uid: int, command: str, name: str = "", **rest: Any) -> dict[str, Any]:
        """Hand in a command as who has this number."""
        named = {"name": name} if name else {}
        keys = {"command": command, **rest.pop("keys", {})}
        return self.ask(uid, "Submit", submission={"keys": keys, **named, **rest})


@pytest.fixture
def place() -> Iterator[Place]:
    """alice has a submission that is over, one that runs, and one that waits for it."""
    with public() as root:
        (root / "gone").mkdir()
        place = Place(root)
        gate = root / "gate"
        assert "job" in place.submit(OLD, "echo a secret", "over", key="k")
        assert 1 == place.ask(OLD, "Await", job="alice/over")["succeeded"]
        place.submit(OLD, f"while ! test -e {gate}; do sleep 0.05; done", "live", keys={"locks": ["db"]})
        wait_for(lambda: place.ask(OLD, "Show", run=KEEPS)["record"]["state"] == "running")
        place.submit(OLD, "id -u", "waits", keys={"locks": ["db"]})
        yield place
        gate.touch()
        if not place.host.daemon_ended():
            place.host.stop()
        place.host.kill_small_ones()


ASKED = [
    ("Show", {"run": "alice/over@1"}), ("Show", {"run": KEEPS}), ("Show", {"run": "alice/waits@1"}),
    ("Logs", {"run": "alice/over@1"}), ("Why", {"run": "alice/waits@1"}), ("Why", {"job": "alice/waits"}),
    ("Stop", {"run": KEEPS}), ("Stop", {"run": "alice/waits@1"}), ("Rerun", {"run": "alice/over@1"}),
    ("Describe", {"job": "alice/live"}), ("Run", {"job": "alice/live"}), ("Pause", {"job": "alice/live"}),
    ("Withdraw", {"job": "alice/waits"}), ("Await", {"job": "alice/live"}), ("Wait", {"run": KEEPS}),
]  # fmt: skip


@pytest.mark.parametrize(("users", "uid"), [({"alice": NEW}, NEW), ({"mallory": OLD}, OLD)], ids=["name", "number"])
def test_who_comes_after_has_nothing(place: Place, users: dict[str, int], uid: int) -> None:
    """Neither what is over nor what runs or waits, by no method; what runs goes on, and what waits runs as nobody."""
    change_users(place.etc, **users)
    wait_for(lambda: place.ask(uid, "List")["jobs"] == [])
    for method, parameters in ASKED:
        assert place.ask(uid, method, **parameters).get("error") in (
            "io.jobqueue.NoSuchJob", "io.jobqueue.NoSuchRun",
        ), (method, parameters)  # fmt: skip
    assert [] == place.ask(uid, "Submissions")["submissions"]
    assert [] == place.ask(uid, "History")["runs"]
    for after in ("alice/over", "alice/over@1", "alice/live", KEEPS):
        assert "expected submissions of" in place.submit(uid, "true", after=[after])["reason"], after
    answer = place.submit(uid, "id -u", key="k")
    assert answer.get("is_new") or "use another key" in answer["reason"]
    own = place.submit(uid, "id -u")["job"]
    assert (1, f"{uid}\n".encode()) == (place.ask(uid, "Await", job=own)["succeeded"], place.host.output(f"{own}@1"))
    (place.place / "gate").touch()
    record = place.host.wait(KEEPS)
    assert ("succeeded", {"uid": OLD, "name": "alice"}) == (record["state"], record["owner"])
    shown = lambda: place.host.call("Show", run="alice/waits@1")["record"]  # noqa: E731
    wait_for(lambda: shown()["state"] not in ("starting", "running"))
    kept = shown()
    assert {"uid": OLD, "name": "alice"} == kept["owner"]
    refused = kept["state"] == "failed" and kept["reason"].startswith("start_failed: user:")  # sooner than it was known
    assert refused or kept["state"] in ("due", "waiting", "skipped"), (kept["state"], kept["reason"])
    assert not (place.host.root / "logs/alice+waits/1.log").exists()
