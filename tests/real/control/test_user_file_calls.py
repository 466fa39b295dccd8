"""Calls about users' files, by several users in any order: each has their own, whole, and within the limits."""

from __future__ import annotations

import base64
import errno
import os
import shutil
import tempfile
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jobqueued.base.instants import MINUTE, SECOND
from jobqueued.control.calls.user_file_calls import UserFileCalls
from jobqueued.control.protocol.call_rate import CallRate
from jobqueued.control.protocol.peers import Peer
from jobqueued.control.protocol.varlink import VarlinkError
from jobqueued.jobdir import user_file_watch
from jobqueued.jobdir.job_files import Watches
from jobqueued.jobdir.user_files import UserFile, UserFiles, stamp_of
from jobqueued.jobfile.oddities import Surroundings
from jobqueued.jobfile.scopes import NOWHERE
from jobqueued.model.accounts import Account
from jobqueued.model.events import AccountKnown
from jobqueued.model.users import Owner, UserLimits
from tests.support.askers import asker, bound
from tests.support.world import World

LIMITS = UserLimits(jobs=4, calls=100_000)
USERS = {71000: "alice", 71001: "bob", 71002: "carol"}
NAMES = ("one", "two", "three")


class Launcher:
    """The launcher's side as far as it tells who somebody is; orders wait for `answer`."""

    greeted = True

    def __init__(self) -> None:
        self.orders: list[tuple[dict[str, Any], Any]] = []

    def see_to_crontab(self, order: dict[str, Any], answered: Any) -> None:
        self.orders.append((order, answered))

    def flush(self) -> None:
        pass

    def answer(self, text: str = "") -> None:
        order, answered = self.orders.pop(0)
        uid = order["asker"] or next((uid for uid, name in USERS.items() if name == order["user"]), 0)
        found = f"done {uid} {USERS[uid]}" if uid else f"refused this host has no user {order['user']}"
        answered(None, text or found)


class Site:
    """The calls of a daemon, with all that they need of it."""

    def __init__(self, directory: Path, limits: UserLimits = LIMITS) -> None:
        self.directory, self.limits = directory, limits
        self.files, self.world, self.launcher = UserFiles(directory / "users"), World(), Launcher()
        self.world.users = {}
        self.watch = user_file_watch.watch(self.files, limits, lambda: NOWHERE, Surroundings(1), {})
        watches = Watches([self.watch])
        link = cast(Any, self.launcher)
        self.calls = UserFileCalls(
            link, self.files, watches, self.world.scheduler, limits, directory, self._reply
        )  # fmt: skip
        self.replies = dict[int, tuple[dict[str, Any], str | None]]()
        self.tickets = count(1)
        self.settle()

    def _reply(self, ticket: int, value: dict[str, Any], error: str | None) -> None:
        self.replies[ticket] = value, error

    def close(self) -> None:
        self.watch.inbox.close()

    def begin(self, uid: int, method: str, **asked: Any) -> int:
        """A call that waits for its answer."""
        ticket = next(self.tickets)
        caller = asker(Peer(uid, frozenset()), lambda: ticket, clocks=lambda: self.world.now)
        bound(self.calls, caller)[method](asked)
        return ticket

    def settle(self) -> None:
        """All turns that there is something for."""
        while True:
            while self.launcher.orders:
                self.launcher.answer()
            self.watch.inbox.drain()
            if self.calls.has_more:
                self.calls.turn(self.world.now)
            elif self.watch.has_more:
                self.world.happen(*self.watch.scan(self.world.now.mono))
            elif not self.launcher.orders:
                return

    def ask(self, uid: int, method: str, **asked: Any) -> Any:
        """The answer, or its error."""
        try:
            ticket = self.begin(uid, method, **asked)
        except VarlinkError as refused:
            return refused.name.rpartition(".")[2]
        self.settle()
        value, error = self.replies.pop(ticket)
        return error or value

    def put(self, uid: int, name: str, text: bytes, **more: Any) -> Any:
        return self.ask(uid, "UserFileSet", name=name, text=base64.b64encode(text).decode(), **more)


def text_of(jobs: list[str]) -> bytes:
    return f"jobs: {{{', '.join(f'{job}: {{command: x}}' for job in jobs)}}}".encode()


class Users(RuleBasedStateMachine):
    """Three users and root, who add, edit and remove in any order; disks fail, and the daemon is started anew."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.site = Site(self.directory)
        self.model: dict[tuple[int, str], list[str]] = {}

    def teardown(self) -> None:
        self.site.close()
        shutil.rmtree(self.directory)

    def jobs(self, uid: int, but: str = "") -> list[str]:
        return [job for (user, name), jobs in self.model.items() if user == uid and name != but for job in jobs]

    @rule(
        uid=st.sampled_from([*USERS]), name=st.sampled_from(NAMES), by_root=st.booleans(), stale=st.booleans(),
        jobs=st.lists(st.sampled_from("abcdef"), unique=True, max_size=5),
    )  # fmt: skip
    def put(self, uid: int, name: str, by_root: bool, stale: bool, jobs: list[str]) -> None:
        """It is stored just if it fits, and if its stamp is the file's."""
        before = self.model.get((uid, name))
        stamp = "0" * 64 if stale else "none" if before is None else stamp_of(text_of(before))
        more = {"user": USERS[uid]} if by_root else {}
        answer = self.site.put(0 if by_root else uid, name, text_of(jobs), stamp=stamp, **more)
        others = self.jobs(uid, name)
        fits = len(others) + len(jobs) <= LIMITS.jobs and not set(others) & set(jobs)
        if stale:
            assert "UserFileChanged" == answer
        else:
            assert fits == answer["stored"], answer
            if fits:
                self.model[uid, name] = jobs

    @rule(uid=st.sampled_from([*USERS]), name=st.sampled_from(NAMES), by_root=st.booleans())
    def remove(self, uid: int, name: str, by_root: bool) -> None:
        """What is there goes, and its jobs are told."""
        more = {"user": f"{USERS[uid]}:{uid}"} if by_root else {}
        answer = self.site.ask(0 if by_root else uid, "UserFileRemove", name=name, **more)
        jobs = self.model.pop((uid, name), None)
        expected = "NoSuchUserFile" if jobs is None else {"jobs": sorted(f"{USERS[uid]}/{job}" for job in jobs)}
        assert expected == answer

    @rule(uid=st.sampled_from([*USERS]), name=st.sampled_from(NAMES), number=st.sampled_from([errno.ENOSPC, errno.EIO]))
    def fail(self, uid: int, name: str, number: int) -> None:
        """A disk that fails is told, and all is as before."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(UserFiles, "write", _failing(number))
            patch.setattr(UserFiles, "remove", _failing(number))
            answers = (self.site.put(uid, name, b"jobs: {}"), self.site.ask(uid, "UserFileRemove", name=name))
        assert ("Refused", "Refused") == answers or "Refused" == answers[1]

    @precondition(lambda self: self.model)
    @rule()
    def start_anew(self) -> None:
        """What is stored is in force again."""
        self.site.close()
        self.site = Site(self.directory)

    @rule(uid=st.sampled_from([*USERS]), other=st.sampled_from([*USERS]), name=st.sampled_from(NAMES))
    def meddle(self, uid: int, other: int, name: str) -> None:
        """Nobody but root names another user."""
        for method, more in (("UserFileGet", {}), ("UserFileRemove", {}), ("UserFileSet", {"text": ""})):
            assert "PermissionDenied" == self.site.ask(uid, method, name=name, user=USERS[other], **more)

    @invariant()
    def everybody_has_what_they_stored(self) -> None:
        """On disk, in the catalog, and by the answers."""
        stored = {(file.owner.uid, file.name): self.site.files.read(file)[0] for file in self.site.files.all()}
        assert {key: text_of(jobs) for key, jobs in self.model.items()} == stored
        in_force = {(job.owner, job.id) for job in self.site.world.scheduler.catalog}
        expected = {
            (Owner(uid, USERS[uid]), f"{USERS[uid]}/{job}") for (uid, _), jobs in self.model.items() for job in jobs
        }
        assert expected == in_force
        for uid in USERS:
            told = self.site.ask(uid, "UserFiles")["files"]
            assert sorted(name for user, name in self.model if user == uid) == [file["name"] for file in told]


def _failing(number: int) -> Any:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


TestUsers = Users.TestCase
TestUsers.settings = settings(max_examples=8, stateful_step_count=15, deadline=None)


@pytest.fixture
def site(tmp_path: Path) -> Any:
    found = Site(tmp_path)
    yield found
    found.close()


def test_one_call_at_a_time(site: Site) -> None:
    """However many ask, one is looked up; who has left meanwhile is passed over."""
    tickets = [site.begin(uid, "UserFiles") for uid in USERS]
    assert 1 == len(site.launcher.orders)
    site.calls.left(tickets[1])
    site.settle()
    assert {tickets[0], tickets[2]} == site.replies.keys()


def test_a_launcher_that_does_not_answer(site: Site) -> None:
    """It is said, and the next one is asked anew."""
    ticket = site.begin(71000, "UserFileSet", name="x", text="")
    site.launcher.answer("later 0 its supervisor has died")
    reason = "nothing was done: its supervisor has died; try again"
    assert ({"reason": reason}, "Refused") == site.replies[ticket]
    site.launcher.greeted = False
    ticket = site.begin(71000, "UserFileSet", name="x", text="")
    assert "the launcher does not answer" in site.replies[ticket][0]["reason"]
    site.launcher.greeted = True
    assert [] == site.ask(71000, "UserFiles")["files"]


def test_another_call_waits_while_a_text_is_read(site: Site) -> None:
    """So two edits with one stamp are never both taken."""
    text = base64.b64encode(b"jobs: {a: {command: x}}").decode()
    first, second = (site.begin(71000, "UserFileSet", name="x", text=text, stamp="none") for _ in range(2))
    site.settle()
    assert (True, "UserFileChanged") == (site.replies[first][0]["stored"], site.replies[second][1])


def test_what_root_can_mean(site: Site) -> None:
    """Of two users of a name, one was another before: the number tells them apart, and root is asked for it."""
    for uid in (7, 8):
        site.files.write(UserFile(Owner(uid, "old"), "x"), b"jobs: {}")
    assert ["old", "old"] == [file["user"] for file in site.ask(0, "UserFiles")["files"]]
    ticket = site.begin(0, "UserFileRemove", name="x", user="old")
    assert "add --user old:7 or --user old:8" in site.replies[ticket][0]["reason"]
    assert {"jobs": []} == site.ask(0, "UserFileRemove", name="x", user="old:7")
    assert {"jobs": []} == site.ask(0, "UserFileRemove", name="x", user="old")
    for method in ("UserFileGet", "UserFileRemove"):
        site.put(71000, "x", b"jobs: {}")
        ticket = site.begin(0, method, name="x")
        user = site.ask(0, "UserFiles")["files"][0]["user"]
        told = f"root has no such file, but another user has: add --user {user}:71000"
        assert ({"reason": told}, "Refused") == site.replies[ticket]
        ticket = site.begin(0, method, name="y")
        told = "no user has a job file y; root's jobs are in the job directory; for a user's new file, add --user NAME"
        assert ({"reason": told}, "Refused") == site.replies[ticket]


def test_root_makes_a_users_file(site: Site) -> None:
    """By either name of the user: what `edit` asks of a file that does not exist yet, and its text afterwards."""
    name, text = USERS[71000], base64.b64encode(b"jobs: {}").decode()
    for user in (name, f"{name}:71000"):
        found = site.ask(0, "UserFileGet", name="x", user=user)
        assert ("none", name) == (found["stamp"], found["user"])
        assert site.ask(0, "UserFileSet", name="x", user=user, text=text, stamp="none")["stored"]
        assert {"jobs": []} == site.ask(0, "UserFileRemove", name="x", user=user)
    for method, more in (("UserFileGet", {}), ("UserFileSet", {"text": text})):
        for user in (f"{name}:7", "nosuch", "nosuch:7"):
            ticket = site.begin(0, method, name="x", user=user, **more)
            site.settle()
            reply, error = site.replies[ticket]
            assert ("Refused", True) == (error, "this host has no user" in reply["reason"])


@pytest.mark.parametrize("step", ["all", "read", "write", "remove"])
@pytest.mark.parametrize("act", ["UserFileSet", "UserFileRemove", "UserFiles", "UserFileGet"])
def test_a_disk_that_fails(site: Site, monkeypatch: pytest.MonkeyPatch, step: str, act: str) -> None:
    """Each call is answered, also where it fails in a later turn than it began in, and all is as before."""
    site.put(71000, "x", b"jobs: {a: {command: x}}")
    text = base64.b64encode(b"jobs: {}").decode()
    asked = {"UserFileSet": {"name": "x", "text": text, "stamp": stamp_of(b"jobs: {a: {command: x}}")}, "UserFiles": {}}
    for late in (False, True):
        ticket = site.begin(71000, act, **asked.get(act, {"name": "x"}))
        if late:
            site.launcher.answer()
        with monkeypatch.context() as patch:
            patch.setattr(UserFiles, step, _failing(errno.EMFILE))
            site.settle()
        value, error = site.replies.pop(ticket)
        if error is None:  # it does not need that step
            site.put(71000, "x", b"jobs: {a: {command: x}}")
        else:
            assert ("Refused", True) == (error, value["reason"].endswith("Too many open files"))
        assert ["alice/a"] == [job.id for job in site.world.scheduler.catalog]
        assert b"jobs: {a: {command: x}}" == site.files.read(site.files.all()[0])[0]
    if step == "write" and act == "UserFileSet":
        assert error == "Refused"


def test_an_account_is_looked_up_before_the_reply(site: Site) -> None:
    """The reply waits for the answer, but not longer than five seconds."""
    site.world.users = None
    text = base64.b64encode(b"jobs: {a: {command: x}}").decode()
    for trouble in ("", "user alice: may not have jobs"):
        ticket = site.begin(71000, "UserFileSet", name="x", text=text)
        site.settle()
        assert (ticket in site.replies, site.calls.deadline) == (False, site.world.now.mono + 5 * SECOND)
        site.world.happen(AccountKnown(Account("owner", "alice", 71000), trouble))
        site.settle()
        assert [{"id": "alice/a", "invalid": trouble or None}] == site.replies.pop(ticket)[0]["jobs"]
        site.ask(71000, "UserFileRemove", name="x")
        site.world.scheduler._state.accounts.clear()
    ticket = site.begin(71000, "UserFileSet", name="x", text=text)
    site.settle()
    site.world.pass_time(5)
    site.calls.turn(site.world.now)
    assert [{"id": "alice/a", "invalid": "user alice is still being looked up"}] == site.replies.pop(ticket)[0]["jobs"]
    assert site.calls.deadline is None


def test_an_instant_that_has_passed(site: Site) -> None:
    """The file is stored, and the reply says that the job does not run."""
    answer = site.put(
        71000, "x", b"jobs: {a: {command: x, at: 2001-01-31T02:00}, b: {command: x, at: 2091-01-31T02:00}}"
    )
    invalid = {job["id"]: job["invalid"] for job in answer["jobs"]}
    assert {"alice/a": "the instant of its `at` has passed", "alice/b": None} == invalid


def test_a_directory_that_can_not_be_synced(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is in force, and that a crash of the host may undo it is said."""
    monkeypatch.setattr(UserFiles, "made_durable", lambda _self: "users: Input/output error")
    answer = site.put(71000, "x", b"jobs: {}")
    unsaved = "the file is active but not saved; a host crash may lose it: users: Input/output error"
    assert (True, unsaved) == (answer["stored"], answer["unsaved"])


def test_the_budget_of_a_minute() -> None:
    """It is full again a minute after the first call; each user has one, and who was long ago is forgotten."""
    budget = CallRate(2)
    assert [0, 0, MINUTE - 2 * SECOND] == [budget.take(1, SECOND * at) for at in (0, 1, 2)]
    assert [0, 0] == [budget.take(2, 2 * SECOND), budget.take(1, MINUTE)]
    assert [0, MINUTE] == [budget.take(3, 0, 3), budget.take(3, 0)], "all of it"
    assert [0, MINUTE, 0] == [budget.take(4, 0), budget.take(4, 0, 2), budget.take(4, 0)]
    for uid in range(5000):
        budget.take(uid, 3 * MINUTE + uid * SECOND)
    assert len(budget._spent) <= 1001
