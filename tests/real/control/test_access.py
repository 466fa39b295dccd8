"""The rights on the control socket: every method, asked by everybody there is, about jobs of the host and of users."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from jobqueued.base.instants import SECOND
from jobqueued.control.methods import CLASSES, rules
from jobqueued.control.protocol import peers
from jobqueued.control.protocol.declaration import declared_in
from jobqueued.control.protocol.interface import INTERFACE
from jobqueued.control.protocol.peers import Access
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.core.records.record import begin
from jobqueued.model.job import Claim
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.model.users import Owner
from tests.support.calls import Client, Real, call
from tests.support.users import GROUP, NEEDS_ROOT
from tests.support.world import MIDNIGHT, World, job

pytestmark = NEEDS_ROOT

ALICE, BOB, CAROL = Owner(12000, "alice"), Owner(12001, "bob"), Owner(12002, "carol")
AGAIN = Owner(12003, "alice")
"""One who has the name of an earlier user."""
RENAMED = Owner(12000, "alicia")
"""One who has the number of an earlier user."""
NOTIFIER, DAEMON = 12004, 12005
SECRET = "sesame"


class Shared(Real):
    """A host with one job of its own and those of two users, all with runs that have ended, are live, and wait."""

    access = Access(frozenset({GROUP}), frozenset({GROUP + 1}), NOTIFIER)
    names: Mapping[int, str] = {ALICE.uid: "alice", BOB.uid: "bob", CAROL.uid: "carol"}

    def begin(self) -> None:
        """The jobs and their runs."""
        lock = (Claim("tape", exclusive=True),)
        own = {"description": SECRET, "command": SECRET, "locks": lock, "max_waiting": 5, "expect": 9 * SECOND}
        self.world = World(
            job("backup", locks=lock),
            *(job(f"{owner.name}/x", owner=owner, user=owner.name, **own) for owner in (ALICE, BOB)),
            users={"alice": "", "bob": ""},
        )
        for ticket, name in enumerate(("bob/x", "alice/x", "backup", "bob/x", "alice/x"), 1):
            self.world.run(name, ticket)
        self.happened, self.reloads = [], []
        for number, owner in ((100, ALICE), (101, AGAIN)):
            run = RunId("alice/x", number)
            row = Run(
                id=run, key=f"x{number}", due=MIDNIGHT, queued=MIDNIGHT, arrival=1, state=RunState.FAILED, owner=owner
            )
            self.store.commit({run: (row, {**begin(row, None, HostLimits("host")), "state": "failed"})}, {})
        self.follow()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Shared]:
    """The host."""
    real = Shared(tmp_path)
    yield real
    real.control.close()
    for client in real.clients:
        client.socket.close()
    real.store.close()


class Caller(NamedTuple):
    """Who calls, and whether that is about the host's job or alice's."""

    uid: int
    groups: tuple[int, ...]
    about: str


CALLERS = {
    "a stranger about the host's": Caller(CAROL.uid, (), "backup"),
    "a stranger about alice's": Caller(CAROL.uid, (), "alice/x"),
    "alice about the host's": Caller(ALICE.uid, (), "backup"),
    "alice about her own": Caller(ALICE.uid, (), "alice/x"),
    "bob about alice's": Caller(BOB.uid, (), "alice/x"),
    "a reader about alice's": Caller(CAROL.uid, (GROUP + 1,), "alice/x"),
    "the notifier about alice's": Caller(NOTIFIER, (GROUP,), "alice/x"),
    "an operator about alice's": Caller(CAROL.uid, (GROUP,), "alice/x"),
    "the daemon's user about alice's": Caller(DAEMON, (), "alice/x"),
    "root about alice's": Caller(0, (), "alice/x"),
}
TABLE = {
    "Status": "++++++++++", "List": "++++++++++",
    "Describe": "---+-+++++", "Next": "---+-+++++", "Why": "---+-+++++", "Show": "---+-+++++", "Logs": "---+-+++++",
    "Wait": "---+-+++++", "History": "---+-+++++", "Watch": "++++++++++",
    "Usage": "++++++++++", "Locks": "++++++++++", "Metrics": "-----+++++", "Notices": "-----+++++",
    "Run": "---+---+++", "Rerun": "---+---+++", "Retry": "---+---+++",
    "Stop": "---+---+++", "Emit": "---+---+++", "Pause": "---+---+++",
    "Resume": "---+---+++", "SkipNext": "---+---+++", "Forget": "---+---+++",
    "Reload": "-------+++", "Hold": "-------+++", "Release": "-------+++", "AcceptFleet": "-------+++",
    "Fleet": "++++++++++", "Lock": "-------+++", "Evict": "-------+++",
    "Notify": "-------+++", "DueChanges": "--------++",
    "CrontabGet": "++++++++++", "CrontabSet": "++++++++++", "CrontabRemove": "++++++++++",
    "UserFiles": "++++++++++", "UserFileGet": "++++++++++", "UserFileSet": "++++++++++",
    "UserFileRemove": "++++++++++", "Submit": "++++++++++", "Submissions": "++++++++++",
    "Await": "---+-+++++", "Withdraw": "---+---+++", "Resize": "---+---+++",
}  # fmt: skip
"""By the method, who of CALLERS is answered (+), and who is refused (-).  Everybody has an own
crontab, files and submissions; a job of a file can't be withdrawn, for another reason."""

PARAMETERS: dict[str, dict[str, Any]] = {
    "Next": {"count": 1}, "Lock": {"lock": "spare"}, "Evict": {"holder": ":with-lock@1"},
    "CrontabSet": {"table": ""}, "UserFileGet": {"name": "x"}, "UserFileSet": {"name": "x", "text": ""},
    "UserFileRemove": {"name": "x"}, "Resize": {"runs": 2}, "Submit": {"submission": {}},
}  # fmt: skip
DENIALS = {"io.jobqueue.PermissionDenied", "io.jobqueue.NoSuchJob", "io.jobqueue.NoSuchRun"}


def asked(method: str, about: str) -> bytes:
    """The call of a method about a job."""
    named = {"job": about, "run": f"{about}@1", "event": f"{about}-done" if "/" in about else "done"}
    fields = dict(re.findall(r"(\w+): (\??\w+)", re.findall(rf"^method {method}\((.*?)\)", INTERFACE, re.MULTILINE)[0]))
    optional = "job" if method == "History" else "run" if method == "Why" else ""
    given = {
        name: named[name] for name, kind in fields.items() if name in named and (kind[0] != "?" or name == optional)
    }
    return call(method, **{**given, **PARAMETERS.get(method, {})})


def outcome(host: Shared, client: Client, message: bytes) -> str:
    """The error of the answer, or "" for one without, or for a call that was taken and is answered later."""
    client.send(message)

    def is_known() -> bool:
        client.read()
        (held,) = (it for it in host.control._clients.values() if it.peer.pid)
        return bool(client._messages) or (held.pending is not None and not host.status.texts.has_more)

    host.until(is_known)
    return str(client.replies(1)[0].get("error", "")) if client._messages else ""


def test_the_table_is_of_the_interface() -> None:
    """Every method has its rule, and stands in the table of this test."""
    methods = set(re.findall(r"^method (\w+)", INTERFACE, re.MULTILINE))
    assert (methods, methods) == (set(rules()), set(TABLE))


def test_each_method_has_one_function() -> None:
    """No two classes answer the same method."""
    found = [name for one in CLASSES for name in declared_in(one)]
    assert sorted(found) == sorted(set(found))


@pytest.mark.parametrize("caller", CALLERS)
def test_every_method(host: Shared, caller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is answered, or refused and nothing happens, as the table says."""
    who, column = CALLERS[caller], list(CALLERS).index(caller)
    monkeypatch.setattr(peers.os, "geteuid", lambda: DAEMON)
    found = {}
    for method in TABLE:
        happened = len(host.happened), len(host.reloads)
        client = host.as_peer(who.uid, *who.groups)
        error = outcome(host, client, asked(method, who.about))
        denied = error in DENIALS or (method == "DueChanges" and error == "io.jobqueue.Refused")
        assert not denied or happened == (len(host.happened), len(host.reloads)), method
        found[method] = "-" if denied else "+"
        client.socket.close()
        host.until(lambda: not host.held)
    assert ({method: answers[column] for method, answers in TABLE.items()}, []) == (found, host.bugs)


@pytest.mark.parametrize("owner", [AGAIN, RENAMED], ids=["same name", "same number"])
def test_who_has_taken_over_a_name_or_a_number(host: Shared, owner: Owner) -> None:
    """A user is the name and the number: who has one of them sees and does nothing of the earlier one's."""
    host.names = {owner.uid: owner.name}
    client = host.as_peer(owner.uid)
    for method in ("Describe", "Show", "Logs", "History", "Run", "Stop", "Pause"):
        reply = client.ask(method, **json.loads(asked(method, "alice/x")[:-1])["parameters"])
        assert reply["error"] in DENIALS, method
    assert ["backup"] == [row["id"] for row in client.ask("List")["parameters"]["jobs"]]
    runs = [record["run"] for record in client.ask("History")["parameters"]["runs"]]
    assert (["alice/x@101"] if owner == AGAIN else []) == runs
    assert [] == host.happened


def test_what_is_hidden_is_not_there(host: Shared) -> None:
    """Another user's job, or one that nobody has: the answers are the same."""
    client = host.as_peer(BOB.uid)
    for method in ("Describe", "Run", "Why"):
        there, nowhere = (
            client.ask(method, **json.loads(asked(method, name)[:-1])["parameters"]) for name in ("alice/x", "alice/y")
        )
        assert json.dumps(there).replace("alice/x", "alice/y") == json.dumps(nowhere)


def test_lists(host: Shared) -> None:
    """A user sees the own jobs whole, the host's as everybody does, and no other user's; a stranger the host's only."""
    seen = {uid: host.as_peer(uid).ask("List")["parameters"]["jobs"] for uid in (ALICE.uid, BOB.uid, CAROL.uid)}
    ids = {uid: [row["id"] for row in rows] for uid, rows in seen.items()}
    assert {ALICE.uid: ["alice/x", "backup"], BOB.uid: ["bob/x", "backup"], CAROL.uid: ["backup"]} == ids
    assert (SECRET, "") == tuple(row["description"] for row in seen[ALICE.uid])


def test_counts(host: Shared) -> None:
    """Status counts the host's runs, and the own ones of who asks."""
    counted = {}
    for uid in (CAROL.uid, ALICE.uid, 0):
        status = host.as_peer(uid).ask("Status")["parameters"]
        counted[uid] = (status["jobs"], status["running"], status["waiting"])
    assert {CAROL.uid: (1, 0, 1), ALICE.uid: (2, 0, 2), 0: (3, 1, 2)} == counted


def test_attention(host: Shared) -> None:
    """What is wrong with a user's job is told to that user, with the reason, and not to others."""
    host.world.pause("alice/x")
    told = {
        uid: [(one["kind"], one["job"]) for one in host.as_peer(uid).ask("Status")["parameters"]["attention"]]
        for uid in (CAROL.uid, BOB.uid, ALICE.uid)
    }
    assert {CAROL.uid: [], BOB.uid: [], ALICE.uid: [("paused", "alice/x")]} == told


def test_why(host: Shared) -> None:
    """The runs of other users have no names in the reasons, nor anything else; the host's have theirs."""
    answer = json.dumps(host.as_peer(ALICE.uid).ask("Why", job="alice/x"))
    assert ("bob" not in answer, "a run of another user" in answer, "backup@1" in answer) == (True, True, True)
    assert "bob/x@1" in json.dumps(host.as_peer(0).ask("Why", job="alice/x"))
    assert "bob" not in json.dumps(host.as_peer(ALICE.uid).ask("Show", run="alice/x@1"))


def test_locks(host: Shared) -> None:
    """A user is told of the locks that own jobs use: that another has one, not which run that is."""
    claims = host.as_peer(ALICE.uid).ask("Locks")["parameters"]["claims"]
    assert "bob" not in json.dumps(claims)
    assert {("a run of another user", None), ("alice/x@1", SECRET)} <= {(it["holder"], it["command"]) for it in claims}
    assert [] == host.as_peer(CAROL.uid).ask("Locks")["parameters"]["claims"]


def test_history(host: Shared) -> None:
    """A user has the own runs, those of jobs that are in no file any more, too."""
    host.world.write("jobs.yaml", job("backup"))
    client = host.as_peer(ALICE.uid)
    assert {"alice/x@100"} == {one["run"] for one in client.ask("History", job="alice/x")["parameters"]["runs"]}
    assert "alice/x@100" == client.ask("Show", run="alice/x@100")["parameters"]["record"]["run"]
    assert "io.jobqueue.NoSuchRun" == client.ask("Show", run="alice/x@101")["error"]


def test_a_definition(host: Shared) -> None:
    """An owner sees the definition whole."""
    assert SECRET == host.as_peer(ALICE.uid).ask("Describe", job="alice/x")["parameters"]["definition"]["command"]


def test_an_event_that_nobody_awaits(host: Shared) -> None:
    """Of events of other users there is no hint."""
    host.as_peer(ALICE.uid).send(call("Emit", event="alice/done"))
    host.until(lambda: host.happened)
    assert ["alice/done"] == [event.event for event in host.happened]  # type: ignore[union-attr]


def test_a_name_that_comes_late(host: Shared) -> None:
    """A stranger waits until it is known who that is; an operator does not."""
    waiting: list[Any] = []
    host.identities.look_up = lambda _uid, then: waiting.append(then)  # type: ignore[method-assign]
    alice, operator = host.as_peer(ALICE.uid), host.as_peer(CAROL.uid, GROUP)
    alice.send(call("Describe", job="alice/x"))
    assert "error" not in operator.ask("Describe", job="alice/x")
    alice.nothing_more()
    waiting[0](ALICE)
    assert ["error" in reply for reply in alice.replies(1)] == [False]
    assert os.geteuid() == 0
