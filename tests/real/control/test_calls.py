"""Every method of the control socket, asked for anything that its interface lets through: one call costs that call."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobqueued.control.protocol.peers import Peer
from jobqueued.control.protocol.varlink import _METHODS as METHODS
from jobqueued.control.protocol.varlink import Message, Service, encode
from jobqueued.model.saved import Hold
from jobqueued.state.db.store import Store
from tests.support import REPO
from tests.support.calls import Real
from tests.support.calls import peer as as_user
from tests.support.host import Host, wait_for
from tests.support.users import GROUP, NEEDS_ROOT
from tests.support.weight import circles

FAR = "9999-12-31T23:59:59-23:59"
INSTANTS = (
    FAR, "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59", "1969-12-31T00:00:00Z", "1970-01-01T00:00:00Z",
    "2199-12-31T23:59:59.999999-12:00", "2200-01-02T00:00:00Z", "2026-03-02T00:00:01+01:00", "2026-03-02",
)  # fmt: skip
PLACES = (
    "live/",
    "live/1/old@2",
    f"{10**30}/old@1",
    f"-{10**30}/old@1",
    f"{2**63}/x@1",
    "1e9/x@1",
    f"{'9' * 5000}/x@1",
)
NAMES = (
    "backup", "old", "none", "backup@1", "backup@2", "old@3", "old@999999999999999999", "../x@1", "", "\0", "x" * 300,
    "tape", "license", "cpu", ":host", "deployed", "failed", "waiting", "é\u2028\x1b[2J", ":with-lock@1",
    f"00-{'a' * 32}-{'b' * 16}-01",
)  # fmt: skip
WORDS = st.sampled_from([*NAMES, *INSTANTS, *PLACES]) | st.text(max_size=20)
EDGES = st.sampled_from([-(2**63), -1, 0, 1, 2, 1000, 2**31, 2**32, 2**62, 2**63 - 1])
VALUES = st.recursive(
    st.none() | st.booleans() | WORDS | EDGES | st.sampled_from([2**64, 1e308, 1e-9, float("inf")]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2), max_leaves=30,
)  # fmt: skip
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int": EDGES | st.integers(-(2**63), 2**63 - 1),
    "string": WORDS,
    "[]string": st.lists(WORDS, max_size=3),
    "object": st.dictionaries(WORDS, VALUES, max_size=3),
}


def _calls(method: str) -> st.SearchStrategy[Message]:
    """Calls of a method, with values of the kinds that the interface names."""
    kinds = METHODS[method].items()
    given = {name: KINDS[kind] for name, kind in kinds if not kind.startswith("?")}
    more = {name: KINDS[kind[1:]] | st.none() for name, kind in kinds if kind.startswith("?")}
    parameters = st.fixed_dictionaries(given, optional=more)
    return st.fixed_dictionaries(
        {"method": st.just(method), "parameters": parameters}, optional={"oneway": st.booleans()}
    )


CALLS = st.sampled_from(sorted(METHODS)).flatmap(_calls)
PEERS = {
    "stranger": Peer(12345, frozenset({12345}), os.getpid()),
    "reader": Peer(12345, frozenset({GROUP + 1}), os.getpid()),
    "operator": Peer(12345, frozenset({GROUP}), os.getpid()),
    "root": Peer(0, frozenset({0}), os.getpid(), os.pidfd_open(os.getpid())),
}


class Asked:
    """The daemon's methods, asked by anybody; what they make happen is decided at once."""

    def __init__(self, real: Real, *, anew: bool = True) -> None:
        if anew:
            real.begin()
        self.real = real
        self._tickets = 0
        self._follow()

    def _follow(self) -> None:
        self._services = {name: Service(self.real.methods.of(peer, self._ticket)) for name, peer in PEERS.items()}
        vars(self.real.replies).update(send=self._written, stumble=self._stumbled)
        self._texts: dict[int, bytes] = {}

    def _written(self, ticket: int, text: bytes) -> None:
        self._texts[ticket] = text

    def _stumbled(self, _ticket: int, bug: Exception) -> None:
        raise bug

    def _ticket(self) -> int:
        self._tickets += 1
        return self._tickets

    def ask(self, who: str, call: Message) -> Message | None:
        """One call, and all that follows from it; the reply, if there is one at once."""
        reply = self._services[who].answer(call)
        assert reply is None or b"state/state.db" not in encode(reply), reply
        happened = list(self.real.happened)
        self.real.happened.clear()
        self.real.world.happen(*happened)
        for ticket in range(1, self._tickets + 1):
            later = self.real.world.replies.get(ticket)
            assert later is None or encode({"parameters": later.value})
        while self.real.status.texts.has_more:
            self.real.status.texts.turn(self.real.world.now)
        if (text := self._texts.pop(self._tickets, None)) is not None:
            return dict(json.loads(text[:-1]))
        return reply

    def is_well(self) -> None:
        """What people look at first is answered, to all of them; also by the next daemon."""
        for _ in range(2):
            for who in PEERS:
                for method in ("Status", "List"):
                    reply = self.ask(who, {"method": f"io.jobqueue.{method}"})
                    assert reply is not None
                    assert "error" not in reply, reply
            assert "error" not in (self.ask("root", {"method": "io.jobqueue.History"}) or {})
            self.real.world.boot()
            self.real.follow()
            self._follow()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Real:
    """The daemon's methods, with one history for all that is tried."""
    return Real(tmp_path_factory.mktemp("real"))


@example(calls=[("root", {"method": "io.jobqueue.CrontabSet", "parameters": {"table": "\x80"}})])
@example(calls=[("root", {"method": "io.jobqueue.History", "parameters": {"until": FAR}})])
@example(calls=[("operator", {"method": "io.jobqueue.History", "parameters": {"before": PLACES[2]}})])
@given(calls=st.lists(st.tuples(st.sampled_from(sorted(PEERS)), CALLS), min_size=1, max_size=5))
def test_any_call(real: Real, calls: list[tuple[str, Message]]) -> None:
    """Whatever is asked, by whomever, is answered; everybody is answered afterwards, and by the next daemon too."""
    asked = Asked(real)
    for who, call in calls:
        asked.ask(who, call)
    asked.is_well()


def test_a_history_of_what_goes_on(real: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for runs before their end alone has no history read, however long it is."""
    monkeypatch.delattr(Store, "ended")
    asked = {"job": "old", "states": ["retrying", "running"]}
    reply = Asked(real).ask("root", {"method": "io.jobqueue.History", "parameters": asked})
    assert {"parameters": {"runs": [], "next": None}} == reply


@pytest.mark.parametrize("method", ["Pause", "Hold"])
@pytest.mark.parametrize("until", [FAR, "9999-12-31T23:59:59Z", "1969-12-30T23:59:59Z", "0001-01-01T00:00:00+23:59"])
def test_an_instant_out_of_bounds(real: Real, method: str, until: str) -> None:
    """It is refused by name where it enters, and nothing of it is kept."""
    parameters = {"until": until, **({"job": "backup"} if method == "Pause" else {})}
    reply = Asked(real).ask("root", {"method": f"io.jobqueue.{method}", "parameters": parameters})
    assert {"error": "org.varlink.service.InvalidParameter", "parameters": {"parameter": "until"}} == reply
    assert real.world.scheduler.hold is None


def test_what_an_older_version_let_in(real: Real) -> None:
    """An instant that no calendar has, kept by an older daemon, is shown as the last that one has."""
    asked = Asked(real)
    real.world.hold = Hold("root", 253_402_387_139 * 10**9)
    real.world.boot()
    real.follow()
    asked = Asked(real, anew=False)
    asked.is_well()
    status = asked.ask("root", {"method": "io.jobqueue.Status"})
    assert status is not None
    assert "9999-12-31T00:00:00.000000Z" == status["parameters"]["held_until"]


def test_a_real_daemon_lives_on(host: Host) -> None:
    """A daemon that is asked for what ended older ones answers each of them, the same process, and after a restart."""
    host.write("jobs.yaml", "jobs: {backup: {command: 'true', schedule: '0 3 * * *'}}")
    pid = host.start().pid
    wrong = [("History", {"until": FAR}), ("Pause", {"job": "backup", "until": FAR}), ("Hold", {"until": FAR})]
    wrong += [("History", {"before": place}) for place in PLACES[2:]]
    assert ["org.varlink.service.InvalidParameter"] * len(wrong) == [
        host.call(method, **asked).get("error") for method, asked in wrong
    ]
    assert pid == host.call("Status")["pid"]
    host.stop()
    host.start()
    assert [None] == [job["paused_until"] for job in host.call("List")["jobs"]]


def test_the_program_of_the_paper(host: Host) -> None:
    """The library that docs/varlink.md shows gives answers, errors, and says when the daemon is gone."""
    paper = (REPO / "docs" / "varlink.md").read_text()
    program = paper.partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(program.replace("/run/jobqueue", str(host.root / "run")), names)
    host.write("jobs.yaml", "jobs: {backup: {command: 'true'}}")
    pid = host.start().pid
    assert pid == names["call"]("Status")["pid"]
    assert {"run": "backup@1", "unsaved": None} == names["call"]("Run", job="backup")
    with pytest.raises(RuntimeError, match=r"io\.jobqueue\.NoSuchJob"):
        names["call"]("Run", job="none")
    host.stop()
    with pytest.raises((ConnectionError, FileNotFoundError)):
        names["call"]("Status")


@NEEDS_ROOT
def test_strangers_at_a_real_daemon(host: Host) -> None:
    """Beside as many connections of as many users as they like, which send as much as they like, root is answered."""
    host.write("jobs.yaml", "jobs: {backup: {command: 'true', description: sesame}}")
    daemon = host.start()
    for directory in (host.root, *host.root.parents):
        if directory != Path("/tmp") and os.stat(directory).st_uid == os.geteuid():
            directory.chmod(directory.stat().st_mode | 0o011)
    held = []
    for number in range(150):
        with as_user(60_000 + number % 75):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(str(host.root / "run" / "control"))
        connection.setblocking(False)
        held.append(connection)
        with contextlib.suppress(OSError):
            connection.send(b'{"a":' + b"[" * 200_000 if number % 2 else encode({"method": "io.jobqueue.List"}) * 1000)
    assert "succeeded" == host.wait(host.run("backup"))["state"]
    assert daemon.pid == host.call("Status")["pid"]
    assert len(list(Path(f"/proc/{daemon.pid}/fd").iterdir())) < 100
    got = b""
    for connection in held:
        with contextlib.suppress(OSError):
            while data := connection.recv(1 << 16):
                got += data
        connection.close()
    assert (True, False) == (b'"backup"' in got, b"sesame" in got)


@NEEDS_ROOT
def test_the_log_directory_comes_back(host: Host) -> None:
    """Removed under a daemon, it is made as it was, with its group and its mode, for records of runs and of skips."""
    host.write("jobs.yaml", "jobs: {backup: {command: echo}}")
    logs = host.root / "logs"
    logs.mkdir()
    os.chown(logs, -1, GROUP)
    logs.chmod(0o2750)
    host.start()
    host.call("Hold")
    for command in ("Release", None):
        shutil.rmtree(logs)
        run = host.run("backup")
        if command is None:
            host.wait(run)
        else:
            host.call("Stop", run=run)
            host.call(command)
        wait_for(lambda run=run: host.record(run))
        assert (0o2750, GROUP) == (stat.S_IMODE(logs.stat().st_mode), logs.stat().st_gid)
        assert GROUP == (logs / "backup").stat().st_gid


def test_who_has_left_is_in_no_circle(tmp_path: Path) -> None:
    """What is left of a connection goes at once: what the daemon freezes while it lives, no collection removes."""
    real = Real(tmp_path)

    def come_and_go() -> None:
        client = real.client()
        client.ask("Status")
        client.ask("List")
        client.socket.close()
        real.until(lambda: not real.held)

    assert not {"_Client", "Service", "Asker", "Decoder", "function"} & circles(come_and_go)
    real.control.close()
    real.store.close()
