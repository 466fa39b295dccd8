"""The control socket under test, with a loop like the daemon's, its clients, and the daemon's own methods behind it."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from jobqueued.base.problem import Problem
from jobqueued.child.contract import unix_socket, wire
from jobqueued.control.calls.accepted_submissions import SubmissionCalls
from jobqueued.control.calls.crontab_calls import CrontabCalls
from jobqueued.control.calls.due_calls import DueCalls
from jobqueued.control.calls.event_stream import EventStream
from jobqueued.control.calls.host_calls import HostCalls
from jobqueued.control.calls.job_calls import JobCalls
from jobqueued.control.calls.lock_calls import LockCalls
from jobqueued.control.calls.lock_processes import LockProcesses
from jobqueued.control.calls.monitor import Monitor
from jobqueued.control.calls.notice_calls import NoticeCalls
from jobqueued.control.calls.past_calls import PastCalls
from jobqueued.control.calls.record_calls import RecordCalls
from jobqueued.control.calls.reload import Reload
from jobqueued.control.calls.run_calls import RunCalls
from jobqueued.control.calls.settings_file import SettingsFile
from jobqueued.control.calls.status_calls import StatusCalls
from jobqueued.control.calls.submit_calls import SubmitCalls, Submitters
from jobqueued.control.calls.user_file_calls import UserFileCalls
from jobqueued.control.calls.why_calls import WhyCalls
from jobqueued.control.dispatcher import Dispatcher
from jobqueued.control.listener import Listener
from jobqueued.control.protocol import access
from jobqueued.control.protocol.at_lists import AtLists
from jobqueued.control.protocol.call_rate import CallRate
from jobqueued.control.protocol.declaration import method
from jobqueued.control.protocol.entrance import admit_everybody
from jobqueued.control.protocol.identities import Identities
from jobqueued.control.protocol.ownership import Asker, Ownership
from jobqueued.control.protocol.peers import Access, Peer
from jobqueued.control.protocol.replies import Replies
from jobqueued.control.protocol.varlink import LIMIT, Decoder, Message, Method, encode
from jobqueued.control.server import ControlServer
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.core.records.record import begin
from jobqueued.daemon.loop import read_clocks
from jobqueued.host.log import Log
from jobqueued.jobdir import user_file_watch, user_files
from jobqueued.jobdir.job_files import Watches
from jobqueued.jobfile.oddities import Surroundings
from jobqueued.jobfile.scopes import NOWHERE
from jobqueued.metrics.counts import Counts
from jobqueued.metrics.readings import Readings
from jobqueued.model.catalog import Catalog
from jobqueued.model.events import Event
from jobqueued.model.job import Now
from jobqueued.model.notify import Notify, NotifyRule
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.model.users import Owner, UserLimits
from jobqueued.notices.notices import Notices
from jobqueued.runs.lost_attempts import LostAttempts
from jobqueued.runs.run_directory import RunDirectory
from jobqueued.settings.paths import Paths
from jobqueued.settings.settings import Settings
from jobqueued.state.db.store import Store
from jobqueued.state.write_batch import WriteBatch
from tests.support.host import DEADLINE
from tests.support.users import GROUP
from tests.support.world import MIDNIGHT, World, job

SECRET = "sesame"
STATUS: dict[str, Any] = {
    "pid": 1,
    "reason": f"/var/lib/{SECRET}/state.db: No space left on device",
    "stale": [f"/etc/{SECRET}/backup.yaml"],
    "troubles": [f"no group {SECRET}"],
    "unenforced": [f"resource_limits.memory is only sampled ({SECRET})"],
    "unwatched": {Owner(4711, SECRET): f"cannot watch /home/{SECRET}: Permission denied"},
    "launcher": True,
    "left": [],
    "problems": [Problem(f"/etc/{SECRET}/backup.yaml", 7, 3, SECRET, f"found '{SECRET}'")._asdict()] * 2,
}
"""What only the daemon knows."""


def call(method: str, oneway: bool = False, **parameters: Any) -> bytes:
    """A call as it goes over the wire."""
    return encode({"method": f"io.jobqueue.{method}", "parameters": parameters, **({"oneway": True} if oneway else {})})


class Client:
    """One connection; `service` is turned while it waits."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.socket = socket.socket(socket.AF_UNIX)
        directory = wire.open_directory(str(service.path.parent))
        self.socket.connect(unix_socket.address(directory, service.path.name))
        os.close(directory)
        self.socket.setblocking(False)
        self._decoder = Decoder(LIMIT * 8)
        self._messages: list[Message] = []
        self.closed = False

    def send(self, data: bytes) -> None:
        """All of it, reading meanwhile what comes."""
        until = time.monotonic() + DEADLINE
        while data:
            assert time.monotonic() < until
            with contextlib.suppress(BlockingIOError):
                data = data[self.socket.send(data) :]
            self.service.turn()
            self.read()

    def read(self) -> None:
        """What has come."""
        try:
            data = self.socket.recv(1 << 20)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        self.closed = self.closed or not data
        self._messages += self._decoder.feed(data)

    def replies(self, count: int) -> list[Message]:
        """The next so many."""
        self.service.until(lambda: self.read() or len(self._messages) >= count)
        found, self._messages = self._messages[:count], self._messages[count:]
        return found

    def ask(self, method: str, **parameters: Any) -> Message:
        """One call and its reply."""
        self.send(call(method, **parameters))
        return self.replies(1)[0]

    def nothing_more(self) -> None:
        """No reply is on its way."""
        for _ in range(5):
            self.service.turn()
            self.read()
        assert [] == self._messages

    def hangs_up(self) -> None:
        """The other side does."""
        self.service.until(lambda: self.read() or self.closed)


NAMELESS = 70_000
"""From this number on no user has a name."""


class Names(Identities):
    """Every smaller number has one, of `names` or whatever the host has; of `asked` nothing is known yet."""

    def __init__(self, names: Callable[[], Mapping[int, str] | None]) -> None:
        super().__init__(self._ask)
        self._told = names
        self.asked: dict[int, Callable[[str], None]] = {}

    def look_up(self, uid: int, then: Callable[[Owner | None], None]) -> None:
        if (names := self._told()) is None:
            super().look_up(uid, then)
        else:
            then(Owner(uid, names[uid]) if uid in names else None)

    def has_name(self, uid: int) -> bool:
        return uid < NAMELESS or super().has_name(uid)

    def _ask(self, uid: int, then: Callable[[str], None]) -> None:
        """Answer at once that there is no such user; of the nameless ones the test tells."""
        if uid < NAMELESS:
            then("")
        else:
            self.asked[uid] = then


class Latest:
    """The methods that a host has by now: a test may give it others. Notes the tickets whose callers left."""

    waiting = frozenset({"Wait", "Await"})

    def __init__(self, host: Service, methods: Callable[[], Any]) -> None:
        self._host, self._methods = host, methods

    def of(self, peer: Peer, ticket: Callable[[], int]) -> Mapping[str, Method]:
        found: Mapping[str, Method] = self._methods().of(peer, ticket)
        return found

    def left(self, ticket: int) -> None:
        self._host.left.append(ticket)
        self._methods().left(ticket)


class Service:
    """A ControlServer and a loop like the daemon's."""

    access = Access(frozenset({GROUP}), frozenset({GROUP + 1}))
    names: Mapping[int, str] | None = None
    """The users of the host, None: its own."""

    def __init__(self, directory: Path, methods: Any) -> None:
        self.path = directory / "control"
        self.bugs: list[str] = []
        self.left: list[int] = []
        self.identities = Names(lambda: self.names)
        self.replies = Replies(self._bug, "see its log")
        listener = Listener({self.path: admit_everybody}, directory.mkdir, Log("json"))
        self.control = ControlServer(
            listener, Latest(self, methods), self.replies, self.access.rank, self.identities
        )  # fmt: skip
        self.clients: list[Client] = []

    def _bug(self, what: str, error: Exception) -> str:
        self.bugs.append(f"{what}: {error!r}")
        return "a place"

    def client(self) -> Client:
        """A new one."""
        self.clients.append(Client(self))
        return self.clients[-1]

    def turn(self, now: Now | None = None) -> None:
        """Take what is ready."""
        now = now or read_clocks()
        poll = select.poll()
        for number, bits in self.control.descriptors().items():
            poll.register(number, bits)
        for number, _bits in poll.poll(0):
            self.control.ready(number, now)
        self.control.turn(now)
        self.work(now)

    def work(self, now: Now) -> None:
        """What else has a turn."""

    def until(self, what: Callable[[], object]) -> None:
        """Turn until something is so."""
        end = time.monotonic() + DEADLINE
        while not what():
            assert time.monotonic() < end
            self.turn()

    @property
    def held(self) -> int:
        """How many clients it has."""
        return len(self.control._clients)


class Reloads(Reload):
    """Reloads that a test answers."""

    def __init__(self, tickets: list[int], paths: Paths, catalog: Catalog) -> None:
        super().__init__(Watches([]), SettingsFile(paths, Settings()), catalog, lambda: None)
        self._tickets = tickets

    @method("Reload", access.AccessRule(access.Rank.OPERATOR))
    def reload(self, asked: dict[str, Any], asker: Asker) -> None:
        """Note the ticket."""
        self._tickets.append(asker.ticket())


class Real(Service):
    """The control socket with the daemon's own methods, on a scheduler with one job and its history."""

    def __init__(self, directory: Path) -> None:
        (directory / "logs").mkdir()
        (directory / "state").mkdir()
        self.logs = directory / "logs"
        self.store = Store(directory / "state")
        for number in range(1, 21):
            run = RunId("old", number)
            row = Run(id=run, key="x", due=MIDNIGHT, queued=MIDNIGHT, arrival=1, state=RunState.FAILED)
            self.store.commit(
                {run: (row, {**begin(row, None, HostLimits("host")), "state": "failed", "text": "x" * 3000})}, {}
            )
        self.marks = RunDirectory(directory / "runs", self.logs)
        self.locks = directory / "with-lock"
        self.link = SimpleNamespace(greeted=False, see="see its log")
        """The launcher as far as crontabs go: it does not answer."""
        super().__init__(directory, lambda: self.methods)
        self.begin()

    def begin(self) -> None:
        """A new scheduler, and methods for it."""
        self.world = World(job("backup"), seconds={"backup": 9})
        self.happened: list[Event] = []
        self.reloads: list[int] = []
        self.follow()

    def follow(self) -> None:
        """Methods for the scheduler that the world has by now."""
        scheduler, happen, replies = self.world.scheduler, self.happened.append, self.replies
        notices = Notices("db1", [NotifyRule(Notify(email=("ops@example.org",)))], lambda: "UTC", scheduler.catalog.get)
        told = NoticeCalls(notices, lambda job: [
            notices.add_test(target, job, 1).notice for target in (
                notices.targets(job) if job else notices.all_targets([])
            )
        ])  # fmt: skip
        batch, now = WriteBatch(self.store), lambda: self.world.now
        ownership, monitor = Ownership(scheduler, batch), Monitor(list, self.marks, replies.stream)
        self.records = RecordCalls(scheduler, self.store, batch, self.logs, monitor, replies)
        readings = Readings(scheduler, notices, Counts(), dict)
        self.status = StatusCalls(scheduler, ownership, lambda: STATUS, readings.all, now, replies)
        self.crontabs = CrontabCalls(cast(Any, self.link), self.logs, replies.reply, live=lambda: False)
        paths, at_lists = Paths.under(self.logs.parent), AtLists(self.logs.parent, UserLimits())
        submitters = Submitters(self.access, UserLimits(), CallRate(9), at_lists)
        calls = (
            self.status, self.records, LockCalls(scheduler, LockProcesses(self.locks), happen), told,
            DueCalls(self.store, batch), EventStream(scheduler.owner_of, replies),
            JobCalls(scheduler, happen, at_lists),
            WhyCalls(scheduler, batch, self.records, PastCalls(scheduler, self.store, batch, self.records.begun)),
            RunCalls(scheduler, happen, self.records, LostAttempts(self.marks)), HostCalls(scheduler, happen, "boot1"),
            Reloads(self.reloads, paths, scheduler.catalog), self.crontabs, self.user_files(),
            SubmitCalls(scheduler, batch, happen, Settings(), paths, submitters, str),
            SubmissionCalls(scheduler, batch, happen, replies.reply),
        )  # fmt: skip
        self.methods = Dispatcher(calls, self.access, ownership, now)

    def user_files(self) -> UserFileCalls:
        """The calls about users' files, of which there are none."""
        files = user_files.UserFiles(self.logs.parent / "state" / "users")
        watches = Watches([user_file_watch.watch(files, Settings().users, lambda: NOWHERE, Surroundings(1), {})])
        link, reply = cast(Any, self.link), self.replies.reply
        return UserFileCalls(link, files, watches, self.world.scheduler, UserLimits(), self.logs.parent, reply)

    def as_peer(self, uid: int, *groups: int) -> Client:
        """A client of that user, as the kernel sees it."""
        directory = os.open(self.path.parent, os.O_PATH)
        client = Client.__new__(Client)
        client.__dict__.update(
            service=self, socket=socket.socket(socket.AF_UNIX), _decoder=Decoder(), _messages=[], closed=False
        )
        self.path.parent.chmod(0o755)
        here = os.getcwd()
        os.fchdir(directory)
        try:
            with peer(uid, *groups):
                client.socket.connect("control")
        finally:
            os.chdir(here)
            os.close(directory)
        client.socket.setblocking(False)
        self.clients.append(client)
        return client

    def work(self, now: Now) -> None:
        """Write them."""
        if self.status.texts.has_more:
            self.status.texts.turn(now)


@contextlib.contextmanager
def peer(uid: int, *groups: int) -> Iterator[None]:
    """Be somebody else for a while: the kernel notes who we are as we connect."""
    before = os.getgroups()
    os.setgroups(groups)
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)
