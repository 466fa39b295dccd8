"""The answers that many get: written in pieces, as seldom as may be, and what strangers are not told is not in them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jobqueued.control.protocol.peers import Peer
from jobqueued.control.views import texts, views
from jobqueued.control.views.texts import _PUBLIC_FOR as PUBLIC_FOR
from jobqueued.control.views.texts import _SLICE as SLICE
from jobqueued.control.views.texts import _USERS as USERS
from jobqueued.control.views.texts import Texts, gathered
from jobqueued.model.events import PauseAsked
from jobqueued.model.users import Owner
from tests.support import askers
from tests.support.metrics import Measured
from tests.support.world import World, job

COUNT = 3 * SLICE + 7


class Board:
    """The texts of a world with many jobs; `written` counts the rows, `got` has the answers by ticket."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = World(*(job(f"job-{number:03}", "0 3 * * *", file="jobs.yaml") for number in range(COUNT)))
        status = {"problems": [], "stale": [], "troubles": [], "reason": None}
        measured = Measured(self.world)
        replies = cast(Any, SimpleNamespace(send=self._answer, stumble=self._stumble))
        self.texts = Texts(
            self.world.scheduler, lambda _user: status, lambda: measured.readings.all(self.world.now), replies
        )  # fmt: skip
        self.got: dict[int, Any] = {}
        self.bugs: dict[int, Exception] = {}
        self.written = 0
        condition = views.condition

        def counted(*given: Any) -> Any:
            self.written += 1
            return condition(*given)

        monkeypatch.setattr(texts.views, "condition", counted)

    def _answer(self, ticket: int, text: bytes) -> None:
        self.got[ticket] = json.loads(text[:-1])["parameters"]

    def _stumble(self, ticket: int, bug: Exception) -> None:
        self.bugs[ticket] = bug

    def turn(self) -> int:
        """One turn; how many rows were written."""
        before = self.written
        self.texts.turn(self.world.now)
        return self.written - before

    def until_written(self) -> None:
        """As many turns as it takes, each a short one."""
        while self.texts.has_more:
            assert self.turn() <= SLICE


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    """The texts."""
    return Board(monkeypatch)


def test_written_once(board: Board) -> None:
    """All who ask get all jobs, in order, from one text, until something changes; and the next get what is new."""
    for ticket in (1, 2):
        board.texts.ask(board.texts.jobs, ticket, board.world.now)
    assert {} == board.got
    board.until_written()
    board.texts.ask(board.texts.jobs, 3, board.world.now)
    assert [1, 2, 3] == sorted(board.got)
    assert [f"job-{number:03}" for number in range(COUNT)] == [row["id"] for row in board.got[3]["jobs"]]
    assert (COUNT, False) == (board.written, board.texts.has_more)
    board.world.happen(PauseAsked(1, "job-000", "root", pause=True))
    board.texts.version += 1
    board.texts.ask(board.texts.jobs, 4, board.world.now)
    board.until_written()
    assert [False, True] == [board.got[ticket]["jobs"][0]["paused"] for ticket in (3, 4)]


def test_what_changes_while_it_is_written(board: Board) -> None:
    """Who came before the writing gets it, although all changes all the time; who came later gets a later one."""
    board.texts.ask(board.texts.jobs, 1, board.world.now)
    board.turn()
    board.texts.ask(board.texts.jobs, 2, board.world.now)
    while 1 not in board.got:
        board.texts.version += 1
        board.turn()
    assert [1] == list(board.got)
    board.world.happen(PauseAsked(1, "job-000", "root", pause=True))
    board.until_written()
    assert board.got[2]["jobs"][0]["paused"]


def test_of_strangers(board: Board) -> None:
    """What they ask for is written at most once in so long, whatever changes, and after what others wait for."""
    public = board.texts.public_jobs
    for ticket in range(100):
        board.texts.version += 1
        board.texts.ask(public, ticket, board.world.now)
        board.turn()
        if ticket == 1:
            board.texts.ask(board.texts.jobs, 1002, board.world.now)
    assert next(iter(board.got)) == 1002
    board.until_written()
    assert set(board.got) == {*range(100), 1002}
    assert 2 * COUNT == board.written
    written = board.written
    board.texts.version += 1
    board.texts.ask(public, 200, board.world.now)
    assert (True, written) == (200 in board.got, board.written)
    board.world.now = board.world.now._replace(mono=board.world.now.mono + PUBLIC_FOR)
    board.texts.ask(public, 201, board.world.now)
    board.until_written()
    assert (True, written + COUNT) == (201 in board.got, board.written)


def test_metrics(board: Board) -> None:
    """They are written for all who ask within a second, and anew for who asks later, as they grow with time alone."""
    for ticket in (1, 2):
        board.texts.ask(board.texts.metrics, ticket, board.world.now)
    board.until_written()
    board.texts.ask(board.texts.metrics, 3, board.world.now)
    assert board.got[1] == board.got[2] == board.got[3]
    jobs = next(family for family in board.got[1]["families"] if family["name"] == "jobqueue_job_failing")
    assert [f"job-{number:03}" for number in range(COUNT)] == [it["labels"]["job_id"] for it in jobs["samples"]]
    board.world.now = board.world.now._replace(mono=board.world.now.mono + PUBLIC_FOR)
    board.texts.ask(board.texts.metrics, 4, board.world.now)
    assert 4 not in board.got
    board.until_written()
    assert 4 in board.got


def test_small_texts_are_put_together() -> None:
    """Nothing is lost, no piece is long, and many that are empty are a piece, too."""
    texts = [*("x" * 100 for _ in range(1000)), *[""] * 95, "y"]
    pieces = list(gathered(texts))
    assert "".join(texts) == "".join(pieces)
    assert max(map(len, pieces)) < 40_000
    assert 100 < len(pieces) < 120


def test_no_jobs(board: Board) -> None:
    """An empty list is one, and what is removed meanwhile is not in it."""
    board.texts.ask(board.texts.jobs, 1, board.world.now)
    board.turn()
    board.world.write("jobs.yaml")
    board.until_written()
    board.texts.version += 1
    board.texts.ask(board.texts.jobs, 2, board.world.now)
    board.until_written()
    assert [[], []] == [board.got[ticket]["jobs"] for ticket in (1, 2)]


def test_a_bug(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that can't be written costs those who asked for it, and the next try begins anew."""
    with monkeypatch.context() as patch:
        patch.setattr(texts.views, "job_row", lambda *_: {"never": float("nan")})
        board.texts.ask(board.texts.jobs, 1, board.world.now)
        board.until_written()
    assert ([1], {}) == (list(board.bugs), board.got)
    board.texts.ask(board.texts.jobs, 2, board.world.now)
    board.until_written()
    assert COUNT == len(board.got[2]["jobs"])


ALICE, BOB = Owner(1000, "alice"), Owner(1001, "bob")


def asker(owner: Owner | None, ticket: int) -> Any:
    """A caller who is no reader."""
    peer = Peer(0 if owner is None else owner.uid, frozenset(), owner=owner)
    return askers.asker(peer, lambda: ticket)


def own_jobs(board: Board) -> None:
    """Jobs of two users beside the host's."""
    for owner in (ALICE, BOB):
        jobs = (job(f"{owner.name}/{number}", owner=owner, file=owner.name) for number in range(3))
        board.world.write(owner.name, *jobs)
    board.texts.version += 1


def test_a_user_gets_the_own_jobs_and_the_hosts(board: Board) -> None:
    """First the own ones, whole, then those of the host as everybody sees them; no other user's."""
    own_jobs(board)
    board.texts.ask_jobs(asker(ALICE, 1), board.world.now)
    board.texts.ask_jobs(asker(Owner(7, "carol"), 2), board.world.now)
    board.until_written()
    ids = [row["id"] for row in board.got[1]["jobs"]]
    assert (["alice/0", "alice/1", "alice/2", "job-000"], 3 + COUNT) == (ids[:4], len(ids))
    assert board.got[2] == {**board.got[1], "jobs": board.got[1]["jobs"][3:]}
    assert ("alice", "") == (board.got[1]["jobs"][0]["file"], board.got[1]["jobs"][3]["file"])


def test_a_user_where_the_host_has_no_jobs(board: Board) -> None:
    """There are the own jobs alone, or nothing."""
    own_jobs(board)
    board.world.write("jobs.yaml")
    board.texts.version += 1
    for ticket, owner in enumerate((ALICE, None)):
        board.texts.ask_jobs(asker(owner, ticket), board.world.now)
    board.until_written()
    assert [3, 0] == [len(board.got[ticket]["jobs"]) for ticket in (0, 1)]


def test_hundreds_of_askers(board: Board) -> None:
    """However many strangers and users ask in a second, each job is written once for all of them."""
    own_jobs(board)
    for ticket in range(300):
        board.texts.ask_jobs(asker((ALICE, BOB, None)[ticket % 3], ticket), board.world.now)
        board.texts.version += 1
    board.until_written()
    assert (300, COUNT + 6) == (len(board.got), board.written)
    assert {} == board.texts._heads


def test_many_users(board: Board) -> None:
    """The texts of a few users are kept, those who have asked last."""
    owners = [Owner(number, f"u{number}") for number in range(3 * USERS)]
    for owner in owners:
        board.world.write(owner.name, job(f"{owner.name}/x", owner=owner, file=owner.name))
    for ticket, owner in enumerate(owners):
        board.texts.ask_jobs(asker(owner, ticket), board.world.now)
        board.until_written()
    assert owners[-USERS:] == list(board.texts._own)
    assert len(owners) == len(board.got)


def test_a_bug_with_own_jobs(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for own jobs is told of a bug in what is behind them, and nothing is kept."""
    own_jobs(board)

    def fails(*_given: Any) -> Any:
        raise IndexError

    monkeypatch.setattr(texts.views, "public_job_row", fails)
    board.texts.ask_jobs(asker(ALICE, 1), board.world.now)
    board.until_written()
    assert ([1], {}, {}) == (list(board.bugs), board.got, board.texts._heads)
