"""The control socket: many clients, bad clients, slow ones; each gets its own answers, and none makes others wait."""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import re
import select
import socket
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobqueued.base.instants import SECOND, to_instant
from jobqueued.base.problem import Problem
from jobqueued.child.contract import unix_socket, wire
from jobqueued.control import server
from jobqueued.control.calls.lock_processes import LockProcesses
from jobqueued.control.protocol import peers
from jobqueued.control.protocol.access import Rank
from jobqueued.control.protocol.interface import INTERFACE
from jobqueued.control.protocol.peers import Peer
from jobqueued.control.protocol.varlink import LIMIT, Message, Method, VarlinkError, encode
from jobqueued.control.server import CLIENTS, IDLE, PLACES, WAITING
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.core.records.record import begin
from jobqueued.model.accounts import Account
from jobqueued.model.events import (
    AccountKnown,
    Emitted,
    Event,
    HoldAsked,
    LockAsked,
    PauseAsked,
    RunAsked,
    SkipAsked,
    StopAsked,
)
from jobqueued.model.job import Claim, Now, On
from jobqueued.model.run import LockClientId, Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import Hold
from jobqueued.model.users import Owner
from tests.support import users
from tests.support.calls import NAMELESS, SECRET, Client, Real, Service, call
from tests.support.users import GROUP, NEEDS_ROOT, STRANGER
from tests.support.world import MIDNIGHT, job

ME = Peer(os.geteuid(), frozenset()).name
UNTIL = "2026-03-03T00:00:00+01:00"
END = to_instant(datetime.fromisoformat(UNTIL))
CLIENT = LockClientId(1)


class FakeMethods:
    """Answers at once (Describe), at length (List), later (Wait, with tickets by run), or refuses (Show).

    The rest are bugs.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.peers: list[Peer] = []
        self.tickets: dict[str, int] = {}

    def of(self, peer: Peer, ticket: Callable[[], int]) -> Mapping[str, Method]:
        """The methods."""
        self.peers.append(peer)

        def later(parameters: Message) -> None:
            self.calls.append(f"Wait {parameters['run']}")
            self.tickets[parameters["run"]] = ticket()

        def stumbles(parameters: Message) -> None:
            ticket()
            raise IndexError(parameters["job"])

        return {
            "Describe": self._describe, "List": self._list, "Wait": later, "Show": self._show,
            "Resume": lambda parameters: {"never": parameters["status"]}, "Pause": lambda _: {"set": {1}},
            "Run": stumbles,
        }  # fmt: skip

    def left(self, ticket: int) -> None:
        """Nothing waits for it."""

    def _describe(self, parameters: Message) -> Message:
        self.calls.append(f"Describe {parameters['job']}")
        return {"got": parameters["job"]}

    def _list(self, _parameters: Message) -> Message:
        self.calls.append("List")
        return {"jobs": "x" * 100_000}

    def _show(self, parameters: Message) -> Message:
        raise VarlinkError("NoSuchRun", {"run": parameters["run"]})


@pytest.fixture
def methods() -> FakeMethods:
    """The methods that `service` has."""
    return FakeMethods()


@pytest.fixture
def service(tmp_path: Path, methods: FakeMethods) -> Iterator[Service]:
    """A control socket of fake methods."""
    service = Service(tmp_path, lambda: methods)
    yield service
    service.control.close()
    for client in service.clients:
        client.socket.close()


class TestClients:
    def test_each_gets_its_own(self, service: Service) -> None:
        """As many clients as there may be, that ask at the same time get their own answers, in their order."""
        clients = [service.client() for _ in range(CLIENTS)]
        for number, client in enumerate(clients):
            client.socket.sendall(b"".join(call("Describe", job=f"{number}.{i}") for i in range(5)))
        for number, client in enumerate(clients):
            assert [f"{number}.{i}" for i in range(5)] == [r["parameters"]["got"] for r in client.replies(5)]

    def test_one_too_many_waits(self, service: Service) -> None:
        """One client too many waits, without keeping the loop busy, until another leaves."""
        clients = [service.client() for _ in range(CLIENTS)]
        service.until(lambda: service.held == CLIENTS)
        late = service.client()
        late.socket.sendall(call("Describe", job="late"))
        late.nothing_more()
        poll = select.poll()
        for number, bits in service.control.descriptors().items():
            poll.register(number, bits)
        assert [] == poll.poll(0)
        clients[7].socket.close()
        assert [{"parameters": {"got": "late"}}] == late.replies(1)

    def test_pipelined(self, service: Service) -> None:
        """10,000 calls in one go are answered, each once and in order."""
        client = service.client()
        client.send(b"".join(call("Describe", job=str(i)) for i in range(10_000)))
        assert [str(i) for i in range(10_000)] == [reply["parameters"]["got"] for reply in client.replies(10_000)]

    def test_byte_by_byte(self, service: Service) -> None:
        """A call may come in pieces of any size, and others are answered meanwhile."""
        slow, fast = service.client(), service.client()
        for byte in call("Describe", job="slow"):
            slow.send(bytes([byte]))
            assert {"parameters": {"got": "fast"}} == fast.ask("Describe", job="fast")
        assert [{"parameters": {"got": "slow"}}] == slow.replies(1)

    def test_half_a_message(self, service: Service, methods: FakeMethods) -> None:
        """A client that leaves in the middle of a call has asked nothing, and is forgotten."""
        client = service.client()
        client.send(call("Describe", job="half")[:-1])
        client.socket.close()
        service.until(lambda: service.held == 0)
        assert [] == methods.calls

    @pytest.mark.parametrize(
        "garbage", [b"\0", b"GET / HTTP/1.1\r\n\r\n\0", b"\xff\xfe\0", b"[]\0", b"{}{}\0", b"x" * (LIMIT + 1)],
        ids=lambda data: repr(data[:12]),
    )  # fmt: skip
    def test_garbage(self, service: Service, garbage: bytes) -> None:
        """A client that sends what is no message is hung up on; the others notice nothing."""
        good, bad = service.client(), service.client()
        service.until(lambda: service.held == 2)
        with contextlib.suppress(OSError):
            bad.send(garbage)
        bad.hangs_up()
        assert 1 == service.held
        assert {"parameters": {"got": "x"}} == good.ask("Describe", job="x")

    def test_wrong_calls(self, service: Service) -> None:
        """A call that makes no sense is refused by name, and the connection goes on."""
        client = service.client()
        client.send(encode({"method": "io.jobqueue.Nonsense"}) + encode({"no": "method"}) + call("Describe", job="x"))
        errors = ["org.varlink.service.MethodNotFound", "org.varlink.service.InvalidParameter", None]
        assert errors == [reply.get("error") for reply in client.replies(3)]


class TestWhoDoesNotRead:
    def test_waits(self, service: Service, methods: FakeMethods) -> None:
        """A client that asks for much and reads nothing is carried out for no more than some; others are answered all
        the time, the loop is not kept busy, and once it reads it gets all of it.
        """
        greedy, good = service.client(), service.client()
        greedy.socket.sendall(call("List") * 200)
        for _ in range(200):
            assert {"parameters": {"got": "x"}} == good.ask("Describe", job="x")
        assert 40 <= methods.calls.count("List") < 100
        assert not service.control.has_more
        assert 200 == len(greedy.replies(200))

    def test_leaves(self, service: Service, methods: FakeMethods) -> None:
        """One that hangs up instead is noticed, and nothing more is carried out for it."""
        greedy = service.client()
        greedy.socket.sendall(call("List") * 1000)
        service.until(lambda: methods.calls and not service.control.has_more)
        greedy.socket.close()
        service.until(lambda: service.held == 0)
        assert len(methods.calls) < 100

    def test_may_be_slow(self, service: Service) -> None:
        """A client that reads late gets all of a long answer."""
        client = service.client()
        client.socket.sendall(call("List") * 20)
        for _ in range(10):
            service.turn()
        assert ["x" * 100_000] * 20 == [reply["parameters"]["jobs"] for reply in client.replies(20)]


class TestLater:
    def test_answered_by_ticket(self, service: Service, methods: FakeMethods) -> None:
        """An answer that comes later goes to who asked, and the calls behind it wait for it."""
        client, other = service.client(), service.client()
        client.send(call("Wait", run="a@1") + call("Describe", job="next"))
        other.send(call("Wait", run="b@1"))
        service.until(lambda: len(methods.tickets) == 2)
        client.nothing_more()
        service.replies.reply(methods.tickets["a@1"], {"record": 1})
        assert [{"parameters": {"record": 1}}, {"parameters": {"got": "next"}}] == client.replies(2)
        other.nothing_more()
        service.replies.reply(methods.tickets["b@1"], {"reason": "full"}, "Refused")
        assert [{"error": "io.jobqueue.Refused", "parameters": {"reason": "full"}}] == other.replies(1)

    def test_many_answers(self, service: Service, methods: FakeMethods) -> None:
        """Who asks for more gets them until it leaves, and misses those that come while it does not read."""
        client, other = service.client(), service.client()
        client.send(encode({"method": "io.jobqueue.Wait", "parameters": {"run": "a@1"}, "more": True}))
        other.send(call("Wait", run="b@1"))
        service.until(lambda: len(methods.tickets) == 2)
        more, once = methods.tickets["a@1"], methods.tickets["b@1"]
        assert [True, True, False] == [service.replies.stream(ticket, '{"n":1}') for ticket in (more, more, once)]
        assert [{"parameters": {"n": 1}, "continues": True}] * 2 == client.replies(2)
        assert [{"parameters": {"n": 1}}] == other.replies(1)
        big = f'{{"n":"{"x" * 300_000}"}}'
        assert all(service.replies.stream(more, big) for _ in range(100))
        assert 1 <= len(client.replies(1)) < 10
        client.socket.close()
        service.until(lambda: service.held == 1)
        assert not service.replies.stream(more, big)

    def test_leaving_with_calls_under_way(self, service: Service, methods: FakeMethods) -> None:
        """Who hangs up while calls of it wait behind one that has not been answered is noticed at once."""
        client = service.client()
        run = {"run": "a@1"}
        client.send(encode({"method": "io.jobqueue.Wait", "parameters": run, "more": True}) + call("List") * 3)
        service.until(lambda: methods.tickets)
        client.socket.close()
        service.until(lambda: service.held == 0)
        assert not service.replies.stream(methods.tickets["a@1"], "{}")
        assert not service.control.has_more

    def test_many_calls_behind_one_that_waits(self, service: Service, methods: FakeMethods) -> None:
        """No more are read than some, until it has its answer; then all are answered."""
        client = service.client()
        client.send(call("Wait", run="a@1") + call("Describe", job="x") * 2000)
        service.until(lambda: methods.tickets)
        client.nothing_more()
        (held,) = service.control._clients.values()
        assert len(held.queue) < 2000
        service.replies.reply(methods.tickets["a@1"], {"record": 1})
        assert {"parameters": {"got": "x"}} == client.replies(2001)[-1]

    def test_twice(self, service: Service, methods: FakeMethods) -> None:
        """A ticket answers once; one that never was, never."""
        client = service.client()
        client.send(call("Wait", run="a@1"))
        service.until(lambda: methods.tickets)
        for _ in range(2):
            service.replies.reply(methods.tickets["a@1"], {"record": 1})
        service.replies.reply(999, {"record": 2})
        assert [{"parameters": {"record": 1}}] == client.replies(1)
        client.nothing_more()

    def test_asker_gone(self, service: Service, methods: FakeMethods) -> None:
        """Whoever hangs up before the answer is forgotten; the answer reaches nobody else."""
        client = service.client()
        client.send(call("Wait", run="a@1"))
        service.until(lambda: methods.tickets)
        client.socket.close()
        service.until(lambda: service.held == 0)
        other = service.client()
        other.send(call("Wait", run="b@1"))
        service.until(lambda: "b@1" in methods.tickets)
        service.replies.reply(methods.tickets["a@1"], {"record": 1})
        other.nothing_more()
        assert ["Wait a@1", "Wait b@1"] == methods.calls

    def test_oneway(self, service: Service, methods: FakeMethods) -> None:
        """A oneway call has no reply, at once or later, not even an error; what comes behind it has."""
        client = service.client()
        client.send(call("Describe", True, job="1") + call("Show", True, run="x@1") + call("Wait", True, run="a@1"))
        client.send(call("Describe", job="2"))
        service.until(lambda: methods.tickets)
        client.nothing_more()
        service.replies.reply(methods.tickets["a@1"], {"record": 1})
        assert [{"parameters": {"got": "2"}}] == client.replies(1)
        client.nothing_more()
        assert ["Describe 1", "Wait a@1", "Describe 2"] == methods.calls


def uid_of(number: int) -> int:
    """The uid of root (0), or of another user than whoever runs the tests."""
    return number and number + os.geteuid()


@pytest.fixture
def come(service: Service, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Client]:
    """Makes a client of a user, by `uid_of`, and its groups."""

    def come(number: int, *gids: int) -> Client:
        with monkeypatch.context() as patch:
            patch.setattr(Peer, "of", lambda _connection: Peer(uid_of(number), frozenset(gids)))
            held, client = service.held, service.client()
            service.until(lambda: service.held > held or client.read() or client.closed)
        return client

    return come


def refused(client: Client) -> str:
    """Why it was hung up on."""
    client.hangs_up()
    return str(client.replies(1)[0]["parameters"]["reason"])


class TestPlaces:
    def test_strangers_share_few(self, service: Service, come: Callable[..., Client]) -> None:
        """However many users come, those with a rank have places of their own, and root and we have the rest."""
        share = PLACES[Rank.STRANGER]
        strangers = [come(1000 + number // share.of_a_user) for number in range(share.in_all)]
        assert "too many connections; try again later" == refused(come(9999))
        operators = [come(1000 + number // 64, GROUP) for number in range(PLACES[Rank.OPERATOR].in_all)]
        assert "too many connections; try again later" == refused(come(99_999, GROUP))
        readers = [come(1000 + number // 16, GROUP + 1) for number in range(PLACES[Rank.READER].in_all)]
        roots = [come(0) for _ in range(CLIENTS - service.held)]
        assert len(roots) >= 32
        for client in (roots[-1], operators[-1], readers[-1], strangers[-1]):
            assert {"parameters": {"got": "x"}} == client.ask("Describe", job="x")

    def test_of_one_user(self, come: Callable[..., Client]) -> None:
        """A user who has as many connections as one may is told so, and others are served."""
        for uid, gids, most in ((7, (), PLACES[Rank.STRANGER]), (8, (GROUP,), PLACES[Rank.OPERATOR])):
            held = [come(uid, *gids) for _ in range(most.of_a_user)]
            reason = f"uid {uid_of(uid)} has {most.of_a_user} connections already; close some"
            assert reason == refused(come(uid, *gids))
            for client in (held[0], come(uid + 100, *gids)):
                assert {"parameters": {"got": "x"}} == client.ask("Describe", job="x")

    def test_the_nameless_are_one_user(self, service: Service, come: Callable[..., Client]) -> None:
        """However many numbers come without a name, they have the places of one user until a database names them."""
        asked, share = service.identities.asked, PLACES[Rank.STRANGER]
        first, *others = [come(NAMELESS + number) for number in range(share.of_a_user)]
        reason = f"users without a name on this host have {share.of_a_user} connections already; try again later"
        assert [reason] * 2 == [refused(come(NAMELESS + number)) for number in (0, 99)]
        asked.pop(uid_of(NAMELESS))("net")
        assert {"parameters": {"got": "x"}} == first.ask("Describe", job="x")
        late = come(NAMELESS + 99)
        assert reason == refused(come(NAMELESS + 100))
        assert [come(NAMELESS) for _ in range(share.of_a_user - 1)]
        assert f"uid {uid_of(NAMELESS)} has {share.of_a_user} connections already; close some" == refused(
            come(NAMELESS)
        )
        for uid, client in ((NAMELESS + 1, others[0]), (NAMELESS + 99, late)):
            asked[uid_of(uid)]("")
            assert {"parameters": {"got": "x"}} == client.ask("Describe", job="x")
        assert {"parameters": {"got": "x"}} == come(7).ask("Describe", job="x")

    def test_the_nameless_come_last(self, service: Service, methods: FakeMethods, come: Callable[..., Client]) -> None:
        """They are read and answered when no other stranger asks."""
        nameless, named = [come(NAMELESS + number) for number in range(3)], come(7)
        for uid in list(service.identities.asked):
            service.identities.asked[uid]("")
        for client in nameless:
            client.socket.sendall(call("Describe", job="last"))
        named.socket.sendall(call("Describe", job="first") * 3)
        service.until(lambda: len(methods.calls) == 6)
        assert ["Describe first"] * 3 == methods.calls[:3]

    def test_who_waits_takes_none_of_them(
        self, service: Service, methods: FakeMethods, come: Callable[..., Client]
    ) -> None:
        """Whoever does nothing but wait for an end has a place beside those, as long as there is one; then none."""
        most, places = PLACES[Rank.STRANGER].of_a_user, WAITING.of_a_user
        waiting = []
        for number in range(places + most):
            waiting.append(come(7))
            waiting[-1].send(call("Wait", run=f"a@{number}"))
            service.until(lambda it=f"a@{number}": it in methods.tickets)
        assert f"uid {uid_of(7)} has {most} connections already; close some" == refused(come(7))
        assert {"parameters": {"got": "x"}} == come(8).ask("Describe", job="x")
        service.replies.reply(methods.tickets["a@0"], {"record": {}})
        assert f"uid {uid_of(7)} has {most} connections already; close some" == refused(come(7))
        for client in (waiting[0], waiting[-1]):
            client.socket.close()
            service.until(lambda held=service.held: service.held < held)
        assert {"parameters": {"got": "x"}} == come(7).ask("Describe", job="x")

    def test_where_descriptors_are_few(
        self, service: Service, come: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The upper half of them is not for strangers."""
        monkeypatch.setattr(server, "most", lambda: 2)
        assert "too many connections; try again later" == refused(come(7))
        assert {"parameters": {"got": "x"}} == come(8, GROUP).ask("Describe", job="x")

    def test_idle_strangers_leave(self, service: Service, come: Callable[..., Client]) -> None:
        """Who is silent, sends half a call, or takes no answers loses its place in time; others keep theirs."""
        silent, half, greedy, operator, late = come(1), come(2), come(3), come(4, GROUP), come(5)
        half.send(b"{")
        greedy.send(call("List") * 10)
        late.send(call("Wait", run="a@1"))
        until = service.control.deadline
        assert until is not None
        service.turn(Now(0, until + IDLE))
        for client in (silent, half, greedy):
            client.hangs_up()
        assert 2 == service.held
        assert service.control.deadline is None
        assert {"parameters": {"got": "x"}} == operator.ask("Describe", job="x")

    def test_one_stranger_a_turn(self, service: Service, methods: FakeMethods, come: Callable[..., Client]) -> None:
        """In a turn one stranger is read and one answered, each in its turn; all others are served at once."""
        strangers = [come(1 + number) for number in range(4)]
        root = come(0)
        for number, client in enumerate(strangers):
            client.socket.sendall(call("Describe", job=f"s{number}") * 3)
        for turn in range(12):
            root.socket.sendall(call("Describe", job="root"))
            service.turn()
            assert len(methods.calls) <= 2 * (turn + 1)
            assert turn + 1 == methods.calls.count("Describe root")
        service.until(lambda: len(methods.calls) == 24)
        served = [asked[-2:] for asked in methods.calls if "root" not in asked]
        assert {"s0", "s1", "s2", "s3"} == set(served[:8])


class TestBugs:
    def test_costs_its_call(self, service: Service, methods: FakeMethods) -> None:
        """A method that raises what is no answer, or answers what can't be sent, now or later, is refused as a bug."""
        client, other = service.client(), service.client()
        refused = {
            "error": "io.jobqueue.Refused",
            "parameters": {"reason": "a bug in jobqueued: a place; see its log"},
        }
        for method in ("Resume", "Pause", "Run"):
            client.send(call(method, True, job="x") + call(method, job="x") + call("Describe", job="x"))
            assert [refused, {"parameters": {"got": "x"}}] == client.replies(2)
        client.send(call("Wait", run="a@1"))
        service.until(lambda: methods.tickets)
        service.replies.reply(methods.tickets["a@1"], {"record": float("nan")})
        assert [refused] == client.replies(1)
        assert {"parameters": {"got": "y"}} == other.ask("Describe", job="y")
        assert 6 == len(service.bugs)
        assert f"a call of {ME}, io.jobqueue.Resume: KeyError('status')" == service.bugs[0]
        assert not service.replies._callers


class TestSocket:
    def test_everybody_may_connect(self, service: Service) -> None:
        """Who may do what is decided by credentials, not by the socket's mode."""
        assert 0o666 == stat.S_IMODE(service.path.stat().st_mode)

    def test_an_old_one_is_replaced(self, tmp_path: Path, methods: FakeMethods) -> None:
        """A socket that a dead daemon left is no hindrance."""
        directory = wire.open_directory(str(tmp_path))
        with socket.socket(socket.AF_UNIX) as old:
            old.bind(unix_socket.address(directory, "control"))
        os.close(directory)
        service = Service(tmp_path, lambda: methods)
        client = service.client()
        assert {"parameters": {"got": "x"}} == client.ask("Describe", job="x")
        service.control.close()
        client.hangs_up()

    def test_a_long_path(self, tmp_path: Path, methods: FakeMethods) -> None:
        """The path may be longer than the 107 bytes of an address."""
        directory = tmp_path / ("d" * 100) / ("e" * 100)
        directory.mkdir(parents=True)
        service = Service(directory, lambda: methods)
        assert {"parameters": {"got": "x"}} == service.client().ask("Describe", job="x")
        service.control.close()

    def test_peer(self, service: Service, methods: FakeMethods, monkeypatch: pytest.MonkeyPatch) -> None:
        """The kernel says who is there, with all groups, and which process it is."""
        service.client().ask("Describe", job="x")
        (peer,) = methods.peers
        assert Peer(os.geteuid(), frozenset({os.getegid(), *os.getgroups()}), os.getpid()) == peer._replace(
            process=-1, owner=None
        )
        assert Owner(os.geteuid(), users.ME.pw_name) == peer.owner
        assert f"\nPid:\t{os.getpid()}\n" in Path(f"/proc/self/fdinfo/{peer.process}").read_text()
        mine, theirs = socket.socketpair()
        with mine, theirs, monkeypatch.context() as patch:
            assert -1 == Peer.of(mine).followed(mine, lambda _number: False).process
            patch.setattr(peers, "_SO_PEERPIDFD", 4711)  # as on a kernel that has it not
            followed = Peer.of(mine).followed(mine, lambda _number: True).process
            assert f"\nPid:\t{os.getpid()}\n" in Path(f"/proc/self/fdinfo/{followed}").read_text()
            os.close(followed)
            stranger = Peer.of(mine)._replace(uid=STRANGER, pid=os.getpid())
            patch.setattr(os, "stat", lambda _path: SimpleNamespace(st_uid=STRANGER - 1))
            assert -1 == stranger.followed(mine, lambda _number: True).process
        assert ("root", "uid 7") == (Peer(0, frozenset()).name, Peer(7, frozenset()).name)


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Real]:
    """The real methods."""
    real = Real(tmp_path)
    yield real
    real.control.close()
    real.store.close()
    for client in real.clients:
        client.socket.close()


class TestVerbs:
    @pytest.mark.parametrize(
        ("method", "parameters"),
        [
            ("Run", {"job": "backup", "traceparent": "x"}), ("Emit", {"event": "a b"}),
            ("Pause", {"job": "backup", "until": "x"}),
        ],
    )  # fmt: skip
    def test_a_refused_parameter_leaves_the_connection_free(
        self, real: Real, method: str, parameters: dict[str, str]
    ) -> None:
        """After a request that is refused because of a parameter, the same connection gets its next answer."""
        client = real.client()
        assert "org.varlink.service.InvalidParameter" == client.ask(method, **parameters)["error"]
        assert "status" in client.ask("Describe", job="backup")["parameters"]["job"]

    def test_what_can_not_be_read_is_the_asker_s_answer(self, real: Real, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file that fails, or no descriptor left, refuses this call, and the daemon goes on."""

        def fails(*_: object, **__: object) -> None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        monkeypatch.setattr(real.status, "_status", fails)
        monkeypatch.setattr(LockProcesses, "come", fails)
        client = real.client()
        refused = {"error": "io.jobqueue.Refused", "parameters": {"reason": "Too many open files"}}
        assert refused == client.ask("Status")
        reason = "cannot watch the calling process: Too many open files"
        assert {"error": "io.jobqueue.Refused", "parameters": {"reason": reason}} == client.ask("Lock", lock="a")
        assert "jobs" in client.ask("List")["parameters"]

    def test_run(self, real: Real) -> None:
        """Run is an event with the asker's name and a key of its own; the answer is the scheduler's."""
        client = real.client()
        client.send(call("Run", job="backup") + call("Run", job="backup"))
        real.until(lambda: real.happened)
        (asked,) = real.happened
        assert ("backup", Peer(os.geteuid(), frozenset()).name) == (asked.job, asked.asked_by)
        real.replies.reply(asked.ticket, {"run": "backup@1"})
        assert [{"parameters": {"run": "backup@1"}}] == client.replies(1)
        real.until(lambda: len(real.happened) == 2)
        _, again = real.happened
        assert 2 == len({asked.key, again.key})
        assert 2 == len({asked.ticket, again.ticket})
        assert all(key[0] == "x" and len(bytes.fromhex(key[1:])) == 8 for key in (asked.key, again.key))

    def test_pause_and_resume(self, real: Real) -> None:
        """Both are events with the asker's name; the answer is the scheduler's."""
        client = real.client()
        client.send(call("Pause", job="backup") + call("Resume", job="backup"))
        for count, pause in ((1, True), (2, False)):
            real.until(lambda count=count: len(real.happened) == count)
            asked = real.happened[-1]
            name = Peer(os.geteuid(), frozenset()).name
            assert PauseAsked(asked.ticket, "backup", name, pause) == asked
            real.replies.reply(asked.ticket, {})
            assert [{"parameters": {}}] == client.replies(1)

    @pytest.mark.parametrize(
        ("verb", "asked", "event"),
        [
            (
                "Pause",
                {"job": "backup", "until": UNTIL},
                lambda ticket, me: PauseAsked(ticket, "backup", me, True, END),
            ),
            ("SkipNext", {"job": "backup"}, lambda ticket, me: SkipAsked(ticket, "backup", me)),
            ("Hold", {}, lambda ticket, me: HoldAsked(ticket, me, Hold(me))),
            ("Hold", {"until": UNTIL}, lambda ticket, me: HoldAsked(ticket, me, Hold(me, END))),
            ("Hold", {"boot": True}, lambda ticket, me: HoldAsked(ticket, me, Hold(me, None, "boot1"))),
            ("Hold", {"boot": False}, lambda ticket, me: HoldAsked(ticket, me, Hold(me))),
            ("Release", {}, lambda ticket, me: HoldAsked(ticket, me, None)),
            (
                "Lock",
                {"lock": "tape"},
                lambda ticket, me: LockAsked(ticket, CLIENT, (Claim("tape", exclusive=True),), me),
            ),
            (
                "Lock",
                {"lock": "tape", "shared": True, "no_wait": True},
                lambda ticket, me: LockAsked(ticket, CLIENT, (Claim("tape"),), me, at_once=True),
            ),
            (
                "Lock",
                {"lock": "tape", "shared": False, "units": 2, "no_wait": False},
                lambda ticket, me: LockAsked(ticket, CLIENT, (Claim("tape", 2),), me),
            ),
        ],
        ids=[
            *("pause-until", "skip-next", "hold", "hold-until", "hold-boot", "hold-no-boot", "release"),
            *("lock", "lock-shared", "lock-units"),
        ],
    )
    def test_asks(self, real: Real, verb: str, asked: Message, event: Callable[[int, str], Event]) -> None:
        """Each is an event with the asker's name, what was asked for, and this boot; the answer is the scheduler's."""
        client = real.client()
        client.send(call(verb, **asked))
        real.until(lambda: real.happened)
        (happened,) = real.happened
        assert event(happened.ticket, ME) == happened
        client.nothing_more()
        real.replies.reply(happened.ticket, {"due": "x"})
        assert [{"parameters": {"due": "x"}}] == client.replies(1)

    @pytest.mark.parametrize(
        ("verb", "asked", "wrong"),
        [
            ("Pause", {"job": "backup", "until": "tomorrow"}, "until"),
            ("Hold", {"until": "2026-03-03T00:00:00"}, "until"),
            ("Hold", {"boot": "yes"}, "boot"),
            ("Emit", {"event": "Deployed"}, "event"), ("Emit", {"event": ""}, "event"),
            ("Emit", {"event": "x" * 65}, "event"), ("Emit", {}, "event"),
            ("Emit", {"event": "a", "data": []}, "data"), ("Emit", {"event": "a", "data": "{}"}, "data"),
            ("Lock", {"lock": "Tape"}, "lock"), ("Lock", {"lock": "/run/tape.lock"}, "lock"),
            ("Lock", {"lock": ":host"}, "lock"), ("Lock", {"lock": "tape", "units": -1}, "units"),
            ("Evict", {"holder": "tape"}, "holder"), ("Evict", {"holder": ":with-lock@"}, "holder"),
            ("Lock", {"lock": "cpu"}, "lock"), ("Lock", {"lock": "tape", "units": 1, "shared": True}, "units"),
        ],
        ids=str,
    )  # fmt: skip
    def test_nonsense(self, real: Real, verb: str, asked: Message, wrong: str) -> None:
        """What makes no sense is named, and nothing happens."""
        answer = real.client().ask(verb, **asked)
        assert ("org.varlink.service.InvalidParameter", {"parameter": wrong}) == tuple(answer.values())
        assert [] == real.happened

    def test_emit(self, real: Real) -> None:
        """An event that is emitted twice happened twice: each has a key of its own."""
        client = real.client()
        for count in (1, 2):
            client.send(call("Emit", event="deployed"))
            real.until(lambda count=count: len(real.happened) == count)
            asked = real.happened[-1]
            assert Emitted(asked.ticket, "deployed", ME, asked.key) == asked
            real.replies.reply(asked.ticket, {"runs": []})
            assert [{"parameters": {"runs": []}}] == client.replies(1)
        assert 2 == len({asked.key for asked in real.happened})

    def test_data_of_an_event(self, real: Real) -> None:
        """They go with the event as they are; what is too much is refused with its place."""
        client, data = real.client(), {"version": 7, "hosts": ["é"]}
        client.send(call("Emit", event="deployed", data=data))
        real.until(lambda: real.happened)
        assert {"data": data} == real.happened.pop().triggered_by
        answer = real.client().ask("Emit", event="deployed", data={"a": {"b": 2**64}})
        assert "io.jobqueue.Refused" == answer["error"]
        assert answer["parameters"]["reason"].startswith('data["a"]["b"]: found a number')
        assert [] == real.happened

    def test_rerun(self, real: Real) -> None:
        """A run is asked for once more, whether it has ended or not; one that never was is an error."""
        real.world.run("backup")
        client = real.client()
        for name in ("backup@1", "old@3"):
            client.send(call("Rerun", run=name))
            real.until(lambda: real.happened)
            asked = real.happened.pop()
            assert RunAsked(asked.ticket, name.partition("@")[0], ME, asked.key, again=RunId.parse(name)) == asked
            real.replies.reply(asked.ticket, {"run": "x@9"})
            assert [{"parameters": {"run": "x@9"}}] == client.replies(1)
        assert "io.jobqueue.NoSuchRun" == client.ask("Rerun", run="old@21")["error"]
        assert [] == real.happened

    def test_stop(self, real: Real) -> None:
        """What has not ended can be stopped; what has is refused with its end, what never was is not known."""
        real.world.run("backup")
        client = real.client()
        client.send(call("Stop", run="backup@1"))
        real.until(lambda: real.happened)
        (asked,) = real.happened
        assert StopAsked(asked.ticket, RunId("backup", 1), ME) == asked
        real.replies.reply(asked.ticket, {"state": "stopping"})
        assert [{"parameters": {"state": "stopping"}}] == client.replies(1)
        row = Run(id=RunId("old", 30), key="x", due=MIDNIGHT, queued=MIDNIGHT, arrival=1, state=RunState.FAILED)
        real.store.commit({row.id: (row, {**begin(row, None, HostLimits("host")), "state": "failed"})}, {})
        refused = client.ask("Stop", run="old@30")
        assert ("io.jobqueue.Refused", {"reason": "old@30 has already ended: failed"}) == tuple(refused.values())
        assert "io.jobqueue.NoSuchRun" == client.ask("Stop", run="old@21")["error"]

    def test_why(self, real: Real) -> None:
        """Why tells what a run waits for, that a live one waits for nothing, and how an older one has ended."""
        real.world.write("jobs.yaml", job("backup"))
        real.world.run("backup")
        real.world.run("backup", ticket=2)
        client = real.client()
        why = client.ask("Why", run="backup@2")["parameters"]["why"]
        assert ("due", ["concurrency 1 is used up by backup@1"]) == (why["state"], why["reasons"])
        why = client.ask("Why", run="backup@1")["parameters"]["why"]
        assert ("starting", []) == (why["state"], why["reasons"])
        row = Run(id=RunId("old", 30), key="x", due=MIDNIGHT, queued=MIDNIGHT, arrival=1, state=RunState.FAILED)
        ended = {**begin(row, None, HostLimits("host")), "state": "failed", "reason": "exit code 1"}
        real.store.commit({row.id: (row, ended)}, {})
        why = client.ask("Why", run="old@30")["parameters"]["why"]
        assert {"run": "old@30", "state": "failed", "reasons": ["old@30 ended: failed, exit code 1"]} == why

    def test_why_of_job(self, real: Real) -> None:
        """Why tells of a job what its first 10 waiting runs wait for, in one answer, and how many others wait."""
        bad, chained = job("bad", user="nobody-here"), job("chained", dependencies=["backup"])
        real.world.write("jobs.yaml", job("backup"), job("idle"), bad, chained)
        real.world.happen(AccountKnown(Account("user", "nobody-here"), "no user 'nobody-here' on this host"))
        client = real.client()
        for ticket in range(1, 14):
            real.world.run("backup", ticket=ticket)
        answer = client.ask("Why", job="backup")["parameters"]
        runs = [(why["run"], why["reasons"]) for why in answer["runs"]]
        assert [(f"backup@{n}", ["concurrency 1 is used up by backup@1"]) for n in range(2, 12)] == runs
        assert (None, 2) == (answer["why"], answer["more"])
        answer = client.ask("Why", run="backup@2")["parameters"]
        assert ([answer["why"]], 0) == (answer["runs"], answer["more"])
        for name, status in (
            ("idle", "nothing makes it due now; to run it: jobqueuectl run idle"),
            ("bad", "it is invalid: no user 'nobody-here' on this host"),
            ("chained", "nothing makes it due now; it becomes due after backup; to run it: jobqueuectl run chained"),
        ):
            assert {"why": None, "runs": [], "more": 0, "idle": status, "past": None} == client.ask("Why", job=name)[
                "parameters"
            ]
        assert {"error": "io.jobqueue.NoSuchJob", "parameters": {"job": "none"}} == client.ask("Why", job="none")

    @pytest.mark.parametrize("asked", [{}, {"run": "backup@1", "job": "backup"}, {"run": None, "job": None}])
    def test_why_of_what(self, real: Real, asked: dict[str, str | None]) -> None:
        """Why is asked of either a run or a job."""
        expected = {"error": "org.varlink.service.InvalidParameter", "parameters": {"parameter": "run"}}
        assert expected == real.client().ask("Why", **asked)

    def test_next(self, real: Real) -> None:
        """The next starts of a job in its zone, as many as asked for, at most a thousand; none of a disabled one."""
        real.world.write(
            "more.yaml",
            *(
                job(
                    name,
                    "0 3 * * *",
                    file="more.yaml",
                    timezone="Europe/Berlin",
                    offset=60 * SECOND,
                    enabled=name == "on",
                )
                for name in ("on", "off")
            ),
        )
        client = real.client()
        answer = client.ask("Next", job="on", count=2)["parameters"]
        due = ["2026-03-02T02:01:00.000000Z", "2026-03-03T02:01:00.000000Z"]
        assert ("Europe/Berlin", due) == (answer["timezone"], answer["next"])
        assert 1000 == len(client.ask("Next", job="on", count=10**9)["parameters"]["next"])
        assert [] == client.ask("Next", job="off", count=2)["parameters"]["next"]
        assert "io.jobqueue.NoSuchJob" == client.ask("Next", job="none", count=1)["error"]

    def test_a_clock_that_was_set_back(self, real: Real) -> None:
        """Status, Next, Why and List tell until when fixed times that come again are not due."""
        real.world.write("more.yaml", job("fixed", "0,20 0-23 * * *", file="more.yaml"))
        real.world.pass_time(50 * 60)
        real.world.step_clock(-45 * 60)
        client, until = real.client(), "2026-03-02T00:20:00.000000Z"
        answer = client.ask("Next", job="fixed", count=1)["parameters"]
        assert (until, ["2026-03-02T01:00:00.000000Z"]) == (answer["set_back_until"], answer["next"])
        told = f"its fixed times until {until} were handled before the clock was set back"
        assert client.ask("Why", job="fixed")["parameters"]["idle"].endswith(told)
        status = client.ask("Status")["parameters"]
        assert (1, "set_back") == (status["set_back"], next(it["kind"] for it in status["attention"] if it["until"]))
        assert until in [row["settled"] for row in client.ask("List")["parameters"]["jobs"]]

    def test_no_next(self, real: Real) -> None:
        """What the clock will not start as things stand has no next: the paused, the disabled, the invalid."""
        daily = {
            name: job(name, "0 3 * * *", enabled=name != "off", user=name) for name in ("on", "off", "idle", "bad")
        }
        real.world.write("jobs.yaml", *daily.values())
        bad = Account("user", "bad")
        real.world.happen(PauseAsked(1, "idle", "root", pause=True), AccountKnown(bad, "no user 'bad' on this host"))
        client = real.client()
        found = {row["id"]: row["next"] for row in client.ask("List")["parameters"]["jobs"]}
        assert {"on": "2026-03-02T03:00:00.000000Z", "off": None, "idle": None, "bad": None} == found
        status = client.ask("Status")["parameters"]
        assert ("on", found["on"]) == (status["next_job"], status["next"])

    def test_show_and_wait(self, real: Real) -> None:
        """A live run is shown as it is and waited for; of one that has ended both give the record."""
        real.world.run("backup")
        client = real.client()
        assert "starting" == client.ask("Show", run="backup@1")["parameters"]["record"]["state"]
        assert "old@3" == client.ask("Show", run="old@3")["parameters"]["record"]["run"]
        assert "old@3" == client.ask("Wait", run="old@3")["parameters"]["record"]["run"]
        client.send(call("Wait", run="backup@1"))
        real.until(lambda: real.records._waiters)
        client.nothing_more()
        ((ticket,),) = real.records._waiters.values()
        real.replies.reply(ticket, {"record": {"state": "succeeded"}})
        assert [{"parameters": {"record": {"state": "succeeded"}}}] == client.replies(1)

    @pytest.mark.parametrize("run", ["backup@77", "backup@0", "backup", "", "@1", "../x@1", "backup@" + "9" * 30])
    def test_no_such_run(self, real: Real, run: str) -> None:
        """Whatever is no run is answered so."""
        for verb in ("Show", "Wait", "Why", "Rerun", "Stop"):
            assert {"error": "io.jobqueue.NoSuchRun", "parameters": {"run": run}} == real.client().ask(verb, run=run)

    def test_describe(self, real: Real) -> None:
        """A job is described with its newest runs; the number of runs is bounded from both sides."""
        client = real.client()
        assert "io.jobqueue.NoSuchJob" == client.ask("Describe", job="old")["error"]
        real.world.run("backup")
        found = {n: client.ask("Describe", job="backup", runs=n)["parameters"]["runs"] for n in (-5, 0, 1, 2**62)}
        assert {-5: 0, 0: 0, 1: 1, 2**62: 1} == {n: len(runs) for n, runs in found.items()}

    @pytest.mark.parametrize("limit", [1, 3, 4, 7, 50])
    def test_history(self, real: Real, limit: int) -> None:
        """All records come, newest first, once, in pages; live runs come first, and only on the first pages."""
        names = [f"job{number}" for number in range(3)]
        real.world.write("more.yaml", *(job(name, file="more.yaml") for name in names))
        for name in names:
            real.world.run(name)
        client, place, pages = real.client(), None, []
        while not pages or place is not None:
            answer = client.ask("History", limit=limit, before=place)["parameters"]
            pages.append([record["run"] for record in answer["runs"]])
            place = answer["next"]
        live = [f"{name}@1" for name in reversed(names)]
        runs = [f"old@{number}" for number in range(20, 0, -1)]
        assert [*live, *runs] == [run for page in pages for run in page]
        assert limit >= max(map(len, pages))

    @pytest.mark.parametrize(
        ("asked", "runs"),
        [
            ({"job": "backup"}, ["backup@1"]),
            ({"job": "old", "limit": 2}, ["old@20", "old@19"]),
            ({"states": ["succeeded"]}, []),
            ({"states": ["starting", "running"]}, ["backup@1"]),
            ({"states": ["failed"], "limit": 1}, ["old@20"]),
            ({"since": "2026-03-02T00:00:00.000001Z"}, []),
            ({"until": "2026-03-02T01:00:00+01:00"}, []),
            ({"until": "2026-03-02T01:00:01+01:00", "limit": 2}, ["backup@1", "old@20"]),
            ({"limit": -3}, ["backup@1"]),
        ],
        ids=str,
    )
    def test_history_of(self, real: Real, asked: Message, runs: list[str]) -> None:
        """What is asked for comes, and nothing else; both ends of a time are exact."""
        real.world.run("backup")
        assert runs == [record["run"] for record in real.client().ask("History", **asked)["parameters"]["runs"]]

    def test_history_of_nobody(self, real: Real) -> None:
        """A job that never was is an error; one without runs has none, one that was removed has its old ones."""
        client = real.client()
        assert "io.jobqueue.NoSuchJob" == client.ask("History", job="none")["error"]
        assert {"runs": [], "next": None} == client.ask("History", job="backup")["parameters"]

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("before", "x"), ("before", "1/old"), ("before", "old@1"), ("before", "live/x"),
            ("since", "2026-03-02T00:00:00"), ("until", "x"),
            ("states", "failed"), ("states", [1]), ("limit", "1"),
        ],
    )  # fmt: skip
    def test_history_of_nonsense(self, real: Real, name: str, value: Any) -> None:
        """Each parameter is checked, and named where it is wrong."""
        answer = real.client().ask("History", **{name: value})
        assert ("org.varlink.service.InvalidParameter", {"parameter": name}) == tuple(answer.values())

    def test_logs(self, real: Real) -> None:
        """A run's output comes from any byte on, 64 KiB at most, in base64."""
        (real.logs / "backup").mkdir()
        data = bytes(range(256)) * 300
        (real.logs / "backup" / "1.log").write_bytes(data)
        real.world.run("backup")
        client = real.client()
        asked: list[tuple[int | None, int | None, bytes]] = [
            (None, None, data[:65536]), (65536, None, data[65536:]), (7, 3, data[7:10]), (-9, 1, data[:1]),
            (10**9, 5, b""), (0, 10**9, data[:65536]), (0, -1, b""),
        ]  # fmt: skip
        for offset, limit, piece in asked:
            answer = client.ask("Logs", run="backup@1", offset=offset, limit=limit)["parameters"]
            assert (piece, len(data), True) == (base64.b64decode(answer["data"]), answer["size"], answer["live"])

    def test_no_logs(self, real: Real) -> None:
        """Why there is no output is told; a run that never was is another error."""
        client = real.client()
        real.world.run("backup")
        assert {"data": "", "size": 0, "live": True} == client.ask("Logs", run="backup@1")["parameters"]
        row = Run(id=RunId("old", 30), key="x", due=MIDNIGHT, queued=MIDNIGHT, arrival=1, state=RunState.FAILED)
        real.store.commit({row.id: (row, {**begin(row, None, HostLimits("host")), "state": "failed"})}, {})
        answer = client.ask("Logs", run="old@30")
        assert "io.jobqueue.NoOutput" == answer["error"]
        assert {"run": "old@30", "reason": "it wrote nothing"} == answer["parameters"]
        for run in ("backup@2", "../logs@1", "x"):
            assert "io.jobqueue.NoSuchRun" == client.ask("Logs", run=run)["error"]
        (real.logs / "backup").mkdir()
        (real.logs / "backup" / "1.log").symlink_to("/etc/passwd")
        assert "it can't be read: " in client.ask("Logs", run="backup@1")["parameters"]["reason"]

    def test_reload(self, real: Real) -> None:
        """Reload asks for it, and its answer comes later."""
        client = real.client()
        client.send(call("Reload"))
        real.until(lambda: real.reloads)
        client.nothing_more()
        real.replies.reply(real.reloads[0], {"jobs": 1})
        assert [{"parameters": {"jobs": 1}}] == client.replies(1)

    def test_history_that_can_not_be_read(self, real: Real) -> None:
        """A state.db that breaks under the daemon costs the answer, not the daemon."""
        real.store.tidy()
        path = next(path for path in real.path.parent.rglob("state.db"))
        with open(path, "r+b") as file:
            file.seek(4096)
            file.write(b"\xa5" * (path.stat().st_size - 4096))
        client = real.client()
        real.store._db.execute("PRAGMA shrink_memory")
        for number in range(1, 21):
            client.send(call("Show", run=f"old@{number}"))
        assert len(client.replies(20)) == 20
        assert "error" not in client.ask("Status")


ASKS = [
    call("Describe", job="backup"), call("Show", run="old@1"), call("Run", job="backup"), call("Wait", run="old@1"),
    call("Next", job="backup", count=1), call("Pause", job="backup"), call("Resume", job="backup"),
    call("History"), call("Logs", run="old@1"), call("Reload"), call("Stop", run="old@1"), call("Rerun", run="old@1"),
    call("Retry", run="old@1"), call("Emit", event="deployed"), call("Why", run="old@1"),
    call("SkipNext", job="backup"), call("Hold"),
    call("AcceptFleet"), call("Release"), call("Lock", lock="tape"), call("Usage"), call("Locks"),
    call("Evict", holder=":with-lock@1"),
    call("Notices"), call("Notify"), call("Metrics"), call("DueChanges"), call("Forget", job="backup"), call("Watch"),
]  # fmt: skip


OF_OWN = ("History", "Locks", "Usage", "Watch")
"""What a stranger may ask for: own runs are told of, and there are none."""


def test_every_verb_is_asked_by_a_stranger() -> None:
    """What the next tests ask for is the whole interface, but for what anybody may see, and one's own files and
    submissions (test_submissions.py).
    """
    asked = {json.loads(message[:-1])["method"].rpartition(".")[2] for message in ASKS}
    assert set(re.findall(r"^method (\w+)", INTERFACE, re.MULTILINE)) == asked | {
        "Status", "List", "Fleet", "CrontabGet", "CrontabSet", "CrontabRemove", "UserFiles", "UserFileGet",
        "UserFileSet", "UserFileRemove", "Submit", "Submissions", "Withdraw", "Resize", "Await",
    }  # fmt: skip


def test_no_crontab_without_a_launcher(real: Real) -> None:
    """Who reads and writes them is not there, so that is the answer."""
    reply = real.client().ask("CrontabGet")
    assert ("io.jobqueue.Refused", True) == (reply["error"], reply["parameters"]["reason"].startswith("the launcher"))


def test_who_has_left_has_no_crontab_changed(real: Real) -> None:
    """A call that waits for its turn goes with its caller."""
    orders: list[dict[str, Any]] = []
    answers: list[Callable[[None, str], None]] = []
    real.link.__dict__.update(
        greeted=True, flush=lambda: None,
        see_to_crontab=lambda order, answered: (orders.append(order), answers.append(answered)),
    )  # fmt: skip
    first, second = real.client(), real.client()
    first.send(call("CrontabRemove", user="a"))
    real.until(lambda: orders)
    second.send(call("CrontabRemove", user="b"))
    real.until(lambda: real.crontabs._waiting)
    second.socket.close()
    real.until(lambda: real.left)
    answers[0](None, "done")
    assert [{"parameters": {}}] == first.replies(1)
    assert ["a"] == [order["user"] for order in orders]


class TestPermission:
    @NEEDS_ROOT
    def test_stranger(self, real: Real) -> None:
        """Any user may see what there is and how it goes, and nothing else: neither output nor a start."""
        client = real.as_peer(STRANGER)
        denied = [asked for asked in ASKS if not set(OF_OWN) & {json.loads(asked[:-1])["method"].rpartition(".")[2]}]
        client.send(b"".join(denied))
        why = [reply.get("error") for reply in client.replies(len(denied))]
        assert {"io.jobqueue.PermissionDenied": len(denied) - 1, "io.jobqueue.Refused": 1} == Counter(why)
        assert ([], []) == (real.happened, real.reloads)
        nothing = {"runs": [], "next": None}, {"claims": [], "more": 0, "known": []}
        assert nothing == tuple(client.ask(method)["parameters"] for method in ("History", "Locks"))
        real.world.write(
            "jobs.yaml",
            job(
                "backup", command=SECRET, description=SECRET, file=f"/etc/{SECRET}", line=7, dependencies=(SECRET,),
                on=(On("path", f"/srv/{SECRET}"),), tags=(SECRET,),
            ),
        )  # fmt: skip
        assert SECRET in json.dumps(real.client().ask("List"))
        assert SECRET in json.dumps(real.client().ask("Status"))
        jobs, status = (client.ask(verb)["parameters"] for verb in ("List", "Status"))
        assert SECRET not in json.dumps([jobs, status])
        assert [("backup", "Invalid", None, 0)] == [
            (row["id"], row["status"], row["invalid"], row["line"]) for row in jobs["jobs"]
        ]
        see = "root and the groups of jobqueued.yaml can see more"
        assert [f"backup.yaml: problems: 2; {see}"] == [str(Problem(**each)) for each in status["problems"]]
        assert (["backup.yaml"], [f"troubles: 1; {see}"]) == (status["stale"], status["troubles"])
        real.world.scheduler.fleet.down = SECRET
        assert f"the cause is not shown; {see}" == client.ask("Fleet")["parameters"]["down"]
        assert SECRET == real.client().ask("Fleet")["parameters"]["down"]

    @NEEDS_ROOT
    def test_operator(self, real: Real) -> None:
        """Who is in a group of operators, also as a further group, may do everything, under its own name."""
        client = real.as_peer(STRANGER, 7, GROUP)
        client.send(b"".join(ASKS[:3]))
        assert [None, None] == [reply.get("error") for reply in client.replies(2)]
        real.until(lambda: real.happened)
        assert ["uid 65534"] == [asked.asked_by for asked in real.happened]

    @NEEDS_ROOT
    def test_reader(self, real: Real) -> None:
        """Who is in a group of readers sees everything, and makes nothing happen; other groups don't help."""
        client = real.as_peer(STRANGER, GROUP + 1)
        assert "error" not in client.ask("Describe", job="backup")
        for method, asked in (("Run", {"job": "backup"}), ("Hold", {}), ("Lock", {"lock": "tape"}), ("Reload", {})):
            denied = client.ask(method, **asked)
            assert ("io.jobqueue.PermissionDenied", {"needs": "operator"}) == (denied["error"], denied["parameters"])
        assert "job files may hold secrets" in client.ask("DueChanges")["parameters"]["reason"]
        assert ([], []) == (real.happened, real.reloads)
        denied = real.as_peer(STRANGER, GROUP + 2).ask("Describe", job="backup")
        assert ("io.jobqueue.PermissionDenied", {"needs": "reader"}) == (denied["error"], denied["parameters"])

    def test_ourselves(self, real: Real) -> None:
        """The daemon's own user may do everything."""
        client = real.client()
        client.send(b"".join(ASKS[:3]))
        assert [None, None] == [reply.get("error") for reply in client.replies(2)]
        real.until(lambda: real.happened)
