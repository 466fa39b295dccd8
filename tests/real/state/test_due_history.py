"""due_history: what was due is kept with its instants, in the commit of what changes it, up to a limit."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobqueued.base.instants import SECOND
from jobqueued.model.commands import SaveBoot
from jobqueued.model.events import ClockStepped, Event, FileGone, JobsRead, Woke
from jobqueued.model.saved import DueChange
from jobqueued.state.db import due_bounds
from jobqueued.state.db.mirror import Keys, Mirror
from jobqueued.state.db.store import Store
from jobqueued.state.due_history import DueHistory
from jobqueued.state.write_batch import MOST_STEPS, WriteBatch
from tests.support.states import limit_pages
from tests.support.weight import weight


class Life:
    """A daemon, as far as it keeps this."""

    def __init__(self, directory: Path, timezone: str = "UTC") -> None:
        self.store = Store(directory)
        self.history, self.batch = DueHistory.of(self.store, lambda: timezone), WriteBatch(self.store)

    def read(self, wall: int, name: str, text: bytes | None) -> None:
        """A turn in which a file is accepted, or gone."""
        path = f"/etc/jobqueue.d/{name}"
        self.keep({name: text})
        self.turn(wall, FileGone(path) if text is None else JobsRead(path, ()))

    def keep(self, files: dict[str, bytes | None]) -> None:
        """Texts come before the events about them."""
        self.batch.take_files(files)
        self.history.take_files(files)

    def turn(self, wall: int, *happened: Event) -> None:
        """A turn and its commit."""
        self.batch.take_due_changes(self.history.after(happened, wall))
        self.batch.commit()

    def told(self) -> list[tuple[str, str, int, int, bytes | None]]:
        """What is kept, without digests."""
        return [(c.kind, c.name, c.until, c.since, c.text) for _, c in self.store.due_changes(0, 1 << 30)]


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Callable[..., Life]]:
    """Lives one after the other."""
    lives: list[Life] = []

    def begin(timezone: str = "UTC") -> Life:
        if lives:
            lives[-1].store.close()
        lives.append(Life(tmp_path, timezone))
        return lives[-1]

    yield begin
    lives[-1].store.close()


def test_changes_of_files_and_of_the_clock(life: Callable[..., Life]) -> None:
    """A text is kept once with the instant of its turn; the same again is none; what is no change costs no row."""
    one = life()
    one.turn(5, Woke())
    one.read(10, "a.yaml", b"1")
    one.read(11, "a.yaml", b"1")
    one.read(12, "a.yaml", b"2")
    one.turn(20, ClockStepped(5), Woke())
    one.read(30, "a.yaml", None)
    assert one.told() == [
        ("start", "", 10, 10, None), ("file", "a.yaml", 10, 10, b"1"), ("file", "a.yaml", 12, 12, b"2"),
        ("clock", "", 15, 20, None), ("file", "a.yaml", 30, 30, None),
    ]  # fmt: skip
    assert one.store.due_changes(1, 1)[0][1].digest == hashlib.sha256(b"1").hexdigest()


def test_names_that_are_gone_are_forgotten(life: Callable[..., Life]) -> None:
    """Users make and remove files of ever new names, and no memory is kept of them."""
    daemon = life()
    weights = list[int]()
    for number in range(60):
        daemon.read(10 + number, f"{number}.yaml", b"1")
        daemon.read(10 + number, f"{number}.yaml", None)
        weights.append(weight(daemon.history))
    assert weights[-1] == weights[5]


def test_tables_of_cron_are_told_apart_by_their_directories(life: Callable[..., Life]) -> None:
    """A table, its edit and its end have one name, as state.db has it."""
    daemon = life()
    daemon.read(10, "cron.d/x", b"1")
    daemon.read(20, "crontabs/x", b"2")
    daemon.read(30, "cron.d/x", None)
    assert [
        ("start", "", 10, 10, None), ("file", "cron.d/x", 10, 10, b"1"), ("file", "crontabs/x", 20, 20, b"2"),
        ("file", "cron.d/x", 30, 30, None),
    ] == daemon.told()  # fmt: skip


def test_a_file_that_changes_while_the_daemon_is_down(life: Callable[..., Life]) -> None:
    """Its old text held until the last commit; one that is away at the start, and gone later, held until then, too."""
    one = life()
    one.read(10, "a.yaml", b"1")
    one.read(10, "b.yaml", b"b")
    one.read(10, "c.yaml", b"c")
    two = life()
    ((saved,),) = two.store.query("SELECT value FROM meta WHERE name = 'saved'")
    two.turn(90, JobsRead("c.yaml", ()))
    two.read(90, "a.yaml", b"2")
    two.read(95, "b.yaml", None)
    two.read(99, "c.yaml", b"c2")
    assert two.told()[4:] == [
        ("start", "", int(saved), 90, None), ("file", "a.yaml", int(saved), 90, b"2"),
        ("file", "b.yaml", int(saved), 95, None), ("file", "c.yaml", 99, 99, b"c2"),
    ]  # fmt: skip


def test_what_nobody_has_noted_is_noted_at_a_start(life: Callable[..., Life]) -> None:
    """A file that did not change is noted once by the first daemon that can, and again where the zone is another."""
    life().store.commit({}, {}, {"a.yaml": b"1"})
    for wall, timezone in ((10, "UTC"), (20, "UTC"), (30, "Asia/Tokyo")):
        one = life(timezone)
        one.turn(wall, JobsRead("/etc/jobqueue.d/a.yaml", ()))
    assert [(10, "UTC"), (30, "Asia/Tokyo")] == [
        (c.since, c.timezone) for _, c in one.store.due_changes(0, 99) if c.kind == "file"
    ]


def test_what_waits_for_a_commit_is_bounded(tmp_path: Path, life: Callable[..., Life]) -> None:
    """Of changes of one file that find no room the first ends what was due, and the last counts; what lies between
    is not known, and nothing is said to be due then.
    """
    one = life()
    one.read(10, "a.yaml", b"1")
    (tmp_path / "ballast").unlink()
    limit_pages(one.store, 0)
    for wall in (20, 30, 50):
        one.keep({"a.yaml": b"x" * 100_000 * wall})
        one.batch.take_due_changes(one.history.after([JobsRead("a.yaml", ())], wall))
        one.batch.commit()
        if wall == 30:
            one.batch.take_due_changes(one.history.after([ClockStepped(5), ClockStepped(-5)], 40))
    one.batch.take(SaveBoot("x"))
    assert [(20, 20), (35, 40), (45, 40), (50, 50)] == [(c.until, c.since) for c in one.batch.due_changes]
    assert [0, 0, 0, 5_000_000] == [len(c.text or b"") for c in one.batch.due_changes]
    limit_pages(one.store, 10_000)
    assert ("", False) == (one.batch.commit(), bool(one.batch))
    assert ("file", "a.yaml", 50, 50) == one.told()[-1][:4]
    one.batch.take_due_changes(DueChange("clock", "", wall, wall + 1) for wall in range(1000))
    assert [(100, 1000), MOST_STEPS + 1] == [one.batch.due_changes[-1][2:4], len(one.batch.due_changes)]


@pytest.mark.parametrize(
    ("bound", "kept"),
    [("CHANGES_OF_A_FILE", "b a3 a4"), ("BYTES_OF_A_FILE", "b a4"), ("CHANGES", "b a3 a4"), ("BYTES", "b a4")],
)
def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bound: str, kept: str) -> None:
    """The oldest go first, of each file and of all, but never the text that a file has now."""
    monkeypatch.setattr(due_bounds, bound, 2 if "CHANGES" in bound else 5)
    monkeypatch.setattr(due_bounds, "DROPS_EACH", 1)
    store = Store(tmp_path)
    for name, number in (("b", 0), ("a", 1), ("a", 2), ("a", 3), ("a", 4)):
        store.commit({}, {}, due_changes=[DueChange("file", name, number, number * SECOND, "", "UTC", b"text")])
    assert kept == " ".join(c.name + (f"{c.until}" if c.name == "a" else "") for _, c in store.due_changes(0, 99))
    store.close()


def test_the_oldest_go_now_and_then(tmp_path: Path) -> None:
    """As all are looked at for that, not with each change: at a start, after 250 changes, or a MiB of texts."""
    store, said = Store(tmp_path), list[str]()
    store._db.set_trace_callback(said.append)
    drops = list[int]()
    for number in range(260):
        store.commit({}, {}, due_changes=[DueChange("file", "a", 1, 1, "", "UTC", b"")])
        drops += [number] * any(due_bounds.SIZES in statement for statement in said)
        said.clear()
    assert [0, 250] == drops
    for size in (1 << 19, 1 << 19, 1 << 20):
        store.commit({}, {}, due_changes=[DueChange("file", "a", 1, 1, "", "UTC", b"x" * size)])
    assert 2 == sum(due_bounds.SIZES in statement for statement in said)
    store.close()


@pytest.mark.parametrize("column", ["kind", "name"])
def test_a_damaged_name_costs_nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, column: str) -> None:
    """The change is not told; commits go on, and look at what there is too much of."""
    monkeypatch.setattr(due_bounds, "DROPS_EACH", 1)
    store = Store(tmp_path)
    store.commit({}, {}, due_changes=[DueChange("file", "a", 1, 1, "", "UTC", b"text")])
    store.close()
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute(f"UPDATE due_change SET {column} = CAST(X'61ff' AS TEXT)")
    db.close()
    store = Store(tmp_path)
    for number in (2, 3):
        store.commit({}, {}, due_changes=[DueChange("file", "b", number, number, "", "UTC", b"text")])
    assert store.failure is None
    store.close()


def test_a_file_that_is_gone_goes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Names that come and go, each another, do not pile up."""
    monkeypatch.setattr(due_bounds, "CHANGES", 4)
    monkeypatch.setattr(due_bounds, "DROPS_EACH", 1)
    store = Store(tmp_path)
    for number in range(9):
        store.commit({}, {}, due_changes=[DueChange("file", f"{number}", 1, 1, "", "UTC", b"text")])
        store.commit({}, {}, due_changes=[DueChange("file", f"{number}", 2, 2)])
    assert 4 == len(store.due_changes(0, 99))
    store.close()


def test_a_state_that_is_lost_in_life(life: Callable[..., Life]) -> None:
    """The new one begins with the texts that there are, each since now."""
    one = life()
    batch = WriteBatch(one.store, one.history.anew)
    batch.begin_anew([], Mirror({}, {"a.yaml": b"1", "b.yaml": b"2"}, Keys()))
    batch.commit()
    assert [("a.yaml", b"1"), ("b.yaml", b"2")] == [(name, text) for _, name, _, _, text in one.told()]
    assert all(until == since > 0 for _, _, until, since, _ in one.told())
