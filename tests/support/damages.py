"""A host's state in use, and each way of damaging its state.db that the table in docs/dev/power.md names.

python -m tests.support.damages --write    writes that table
"""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from jobqueued.base.instants import SECOND
from jobqueued.core.records.recollection import run_of
from jobqueued.model.commands import SaveSubmission
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import Hold, JobStats, SavedJob
from jobqueued.state import record_files
from jobqueued.state.db.faults import CommitFailed, StateFault, StoreError
from jobqueued.state.db.rows import hold_text
from jobqueued.state.db.store import Store
from tests.support import REPO
from tests.support.records import NOW, a_record
from tests.support.starts import Start
from tests.support.states import a_run

LAST = 12
PAGE = 4096
FRAME = PAGE + 24


class Left(NamedTuple):
    """What a scheduler has left: `now` when it was killed, with a hot log, `before` an hour earlier, and `other` is
    that of another host.
    """

    now: Path
    before: Path
    other: Path


def build(directory: Path) -> Left:
    """Make it; by a process that ends at once, as a kill leaves the log."""
    for name in ("other", "now"):  # what is later than its last commit tells that it is not this host's
        (directory / name / "state").mkdir(parents=True)
        command = [sys.executable, "-m", "tests.support.damages", str(directory / name), name]
        subprocess.run(command, cwd=REPO, check=True)
    return Left(directory / "now", directory / "now" / "before", directory / "other")


def _live(root: Path, kind: str) -> None:
    """Live as this host, or as another, of which nothing but the kinds of things is the same."""
    store, is_other = Store(root / "state"), kind == "other"
    job, other, paused = ("weekly", "line", "still") if is_other else ("nightly", "queue", "idle")
    for number in range(1, LAST + 1):
        record = a_record(number, job=job, tags=["x" * (2000 if is_other else 900)])
        stats = JobStats(started=number, succeeded=number)
        store.commit(
            {run_of(record).id: (run_of(record), record)},
            {job: SavedJob(job=job, last_number=number, cursor=NOW + number * SECOND, stats=stats)},
            {"jobs.yaml": b"jobs: {}\n" * 20 * number}, {"boot": "the one before", "hold": None},
        )  # fmt: skip
        record_files.write(root / "logs", record)
        if number in (LAST // 4, LAST // 2):
            store.tidy()
        if number == LAST // 4:
            shutil.copytree(root / "state", root / "before")
    skipped = a_record(1, job="seldom", state="skipped", reason="missed", attempts=[])
    store.commit({run_of(skipped).id: (run_of(skipped), skipped)}, {"seldom": SavedJob(job="seldom", last_number=1)})
    record_files.write(root / "logs", skipped)
    waiting = a_run(1, other, state=RunState.WAITING, queued=NOW, due=NOW)
    jobs = {other: SavedJob(job=other, last_number=1), paused: SavedJob(job=paused, paused=True)}
    store.commit({waiting.id: (waiting, None)}, jobs, {}, {"hold": None if is_other else hold_text(Hold("root"))})
    if not is_other:
        over = a_record(1, job="host/2", key="s1", submission_key="done")
        store.commit({run_of(over).id: (run_of(over), over)}, {}, over=["host/2"])
        record_files.write(root / "logs", over)
    store.commit({}, {}, submissions=[SaveSubmission("host/1", "{}", "twice" if is_other else "once")])
    (root / "state" / "ballast").unlink()
    os._exit(0)


# ── the ways ──


def _edit(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def _cut(part: str, length: Callable[[int], int]) -> Callable[[Path, Left], None]:
    def cut(state: Path, _left: Left) -> None:
        path = state / part
        os.truncate(path, length(path.stat().st_size))

    return cut


def _header(offset: int, data: bytes) -> Callable[[Path, Left], None]:
    """Of both, as the log has a newer one."""

    def change(state: Path, _left: Left) -> None:
        _into_one(state)
        _edit(state / "state.db", offset, data)

    return change


def _into_one(state: Path) -> None:
    """Move the log into the database, as a clean end does."""
    with sqlite3.connect(state / "state.db") as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def _page(kind: str) -> Callable[[Path, Left], None]:
    """Fill a page of a kind with zeros."""

    def fill(state: Path, _left: Left) -> None:
        _into_one(state)
        _edit(state / "state.db", (_page_of(state / "state.db", kind) - 1) * PAGE, bytes(PAGE))

    return fill


def _page_of(path: Path, kind: str) -> int:
    db = sqlite3.connect(path)
    roots = dict(db.execute("SELECT name, rootpage FROM sqlite_master WHERE rootpage"))
    db.close()
    if kind in roots:
        return int(roots[kind])
    data = path.read_bytes()
    first: int = struct.unpack_from(">I", data, (roots["run"] - 1) * PAGE + 8)[0]
    return first  # the last child of an interior page


def _swapped(state: Path, _left: Left) -> None:
    _into_one(state)
    data = (state / "state.db").read_bytes()
    one, two = (_page_of(state / "state.db", kind) - 1 for kind in ("job", "file"))
    _edit(state / "state.db", one * PAGE, data[two * PAGE : (two + 1) * PAGE])
    _edit(state / "state.db", two * PAGE, data[one * PAGE : (one + 1) * PAGE])


def _sql(script: str, *, is_hot: bool = False) -> Callable[[Path, Left], None]:
    def change(state: Path, _left: Left) -> None:
        if not is_hot:
            _into_one(state)
        db = sqlite3.connect(state / "state.db", isolation_level=None)
        db.executescript(script)
        db.close()
        if is_hot:  # so that it counts as an unclean end
            (state / "state.db-wal").touch()

    return change


def _log(change: Callable[[bytes], bytes]) -> Callable[[Path, Left], None]:
    def damage(state: Path, _left: Left) -> None:
        path = state / "state.db-wal"
        path.write_bytes(change(path.read_bytes()))

    return damage


def _from(source: str, *parts: str, without: tuple[str, ...] = ()) -> Callable[[Path, Left], None]:
    """Put these files of another state here, and take others away."""

    def mix(state: Path, left: Left) -> None:
        for part in without:
            (state / part).unlink(missing_ok=True)
        found: Path = getattr(left, source)
        for part in parts:
            shutil.copy((found if source == "before" else found / "state") / part, state / part)

    return mix


def _beside(ending: str, content: Callable[[Path], bytes]) -> Callable[[Path, Left], None]:
    def put(state: Path, _left: Left) -> None:
        (state / f"state.db{ending}").write_bytes(content(state))

    return put


def _journal(state: Path) -> bytes:
    """A hot one, as a power loss leaves it."""
    path = state.parent / "another.db"
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript("PRAGMA cache_size = 1; CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(20000));")
    db.executescript("BEGIN; UPDATE t SET x = randomblob(20000);")
    data = path.with_name("another.db-journal").read_bytes()
    db.close()
    return data


def _instead(make: Callable[[Path], None]) -> Callable[[Path, Left], None]:
    def replace(state: Path, _left: Left) -> None:
        for part in ("state.db", "state.db-wal"):
            (state / part).unlink()
        make(state / "state.db")

    return replace


def _foreign(path: Path) -> None:
    db = sqlite3.connect(path)
    db.executescript("CREATE TABLE bookmarks (url TEXT); INSERT INTO bookmarks VALUES ('x'); PRAGMA application_id = 7")
    db.close()


DB, LOG = "state.db", "state.db-wal"
OUT_OF_STEP = """
PRAGMA writable_schema = ON;
CREATE TEMP TABLE kept AS SELECT * FROM sqlite_master WHERE name IN ('history', 'unfinished');
DELETE FROM sqlite_master WHERE name IN ('history', 'unfinished');
PRAGMA writable_schema = RESET;
UPDATE run SET queued = queued + 1 WHERE job = 'nightly' AND number = 3;
PRAGMA writable_schema = ON;
INSERT INTO sqlite_master SELECT * FROM kept;
"""

WAYS: dict[str, Callable[[Path, Left], None]] = {
    "state.db and its log are gone": _from("now", without=(DB, LOG)),
    "state.db is gone, its log is there": _from("now", without=(DB,)),
    "state.db is empty, and so is its log": _from("now", without=(LOG,)),
    "state.db is empty, its log is there": _cut(DB, lambda _: 0),
    "state.db is cut within its header": _cut(DB, lambda _: 50),
    "state.db is cut within its first page": _cut(DB, lambda _: PAGE // 2),
    "state.db is cut to half its pages": _cut(DB, lambda size: size // 2 // PAGE * PAGE),
    "state.db lacks its last byte": _cut(DB, lambda size: size - 1),
    "the magic of its header is wrong": _header(0, b"SQLite format 4\0"),
    "its page size is wrong": _header(16, b"\x02\x00"),
    "its encoding is UTF-16": _header(56, b"\0\0\0\2"),
    "its schema format is unknown": _header(44, b"\0\0\0\x63"),
    "its file format is one that can only be read": _header(18, b"\x03"),
    "its format (user_version) is newer": _header(60, b"\0\0\0\x63"),
    "its format says older than it is": _header(60, b"\0\0\0\3"),
    "its format says that there is none": _header(60, b"\0\0\0\0"),
    "another program's mark (application_id)": _header(68, b"\0\0\0\7"),
    "two pages are swapped": _swapped,
    "a page of zeros: the schema": _header(0, bytes(PAGE)),
    "a page of zeros: jobs": _page("job"),
    "a page of zeros: the root of runs": _page("run"),
    "a page of zeros: a leaf of runs": _page("leaf"),
    "a page of zeros: an index": _page("history"),
    "a page of zeros: submissions": _page("submission"),
    "a page of zeros: keys of submissions": _page("asked"),
    "a page of zeros: numbers of submissions": _page("number"),
    "a page of zeros: notices": _page("notice"),
    "a page of zeros: changes of what is due": _page("due_change"),
    "an index is out of step, after a clean end": _sql(OUT_OF_STEP),
    "an index is out of step, after a kill": _sql(OUT_OF_STEP, is_hot=True),
    "a table is gone": _sql("DROP TABLE meta"),
    "a column is gone": _sql("ALTER TABLE job DROP COLUMN more"),
    "a row is nonsense: no JSON": _sql("UPDATE job SET stats = '{'"),
    "a row is nonsense: bytes for a text": _sql("UPDATE run SET reason = x'ff' WHERE record IS NULL"),
    "a row is nonsense: a negative number": _sql("UPDATE run SET number = -1 WHERE record IS NULL"),
    "a row is nonsense: a text for a number": _sql("UPDATE job SET last_number = 'many'"),
    "the log is lost": _from("now", without=(LOG,)),
    "the log is another state.db's": _from("other", LOG),
    "the log is an older one's": _from("before", DB, without=(LOG,)),
    "the log is cut within a frame": _log(lambda data: data[: len(data) - FRAME * 3 - 100]),
    "the log has a wrong checksum in its middle": _log(
        lambda data: data[: (at := 32 + FRAME * (len(data) // FRAME // 2) + 16)] + bytes(8) + data[at + 8 :]
    ),
    "the log has the salt of one before": _log(lambda data: data[:16] + bytes(8) + data[24:]),
    "the log begins with nonsense": _log(lambda data: random.Random(1).randbytes(32) + data[32:]),
    "an index of the log (-shm) of nonsense": _beside("-shm", lambda _: random.Random(2).randbytes(32768)),
    "a journal (-journal) of nonsense": _beside("-journal", lambda _: random.Random(3).randbytes(9000)),
    "a journal (-journal) of another database": _beside("-journal", _journal),
    "an older state.db with the log of now": _from("before", DB),
    "a backup from before, put back": _from("before", DB, without=(LOG,)),
    "another host's state.db": _from("other", DB, LOG),
    "another program's database": _instead(_foreign),
    "a text": _instead(lambda path: path.write_text("state\n" * 1000) and None),
    "a directory": _instead(lambda path: path.mkdir()),
    "a pipe": _instead(os.mkfifo),
    "a broken link": _instead(lambda path: path.symlink_to("/nowhere/state.db")),
    "a link to a device": _instead(lambda path: path.symlink_to("/dev/zero")),
}


# ── what comes of it ──


class Outcome(NamedTuple):
    """What a start makes of a damaged state: a row of the table."""

    becomes: str
    survives: str
    said: str

    def row(self, way: str) -> str:
        """The line of the table."""
        said = f"`{self.said}`" if self.said else "nothing"
        return f"| {way} | {self.becomes} | {self.survives} | {said} |"


GOES_ON, OLDER, NEW = "continues", "continues after the records", "writes a new file from the records"
ASIDE = f"sets it aside; {NEW}"
IN_PART, REFUSED = "sets it aside; writes all but the history to a new file", "refuses to start; changes no byte"
ALL = (
    "history", "numbers", "waiting runs", "pauses", "the hold", "keys of submissions that are over",
    "keys of submissions that wait",
)  # fmt: skip
UNRECORDED = ["waiting runs", "pauses", "the hold", "keys of submissions that wait"]
"""Words of `ALL` for what no record contains."""


def outcome(left: Left, way: str, root: Path) -> Outcome:
    """Damage a copy at `root`, which is not there yet, start on it twice, and look for what may never be."""
    shutil.copytree(left.now, root)
    state = root / "state"
    WAYS[way](state, left)
    damaged = {path.name: path.read_bytes() for path in state.iterdir() if path.is_file()}
    try:
        start = Start(root)
    except StoreError as error:
        assert damaged == {path.name: path.read_bytes() for path in state.iterdir()}, "it was changed"
        return Outcome(REFUSED, "all", _short(str(error), root))
    becomes = GOES_ON
    if start.store.failure is not None or not _can_be_written(start):
        becomes = IN_PART
        if (mended := start.store.mend()) is not None:
            start.batch.begin_anew(start.takeover.everything(), mended.mirror)
        assert start.commit()
    elif start.store.lost:
        becomes = ASIDE
        if "state.db" in damaged and "state.db-journal" not in damaged:  # by which SQLite rolls it back
            assert damaged["state.db"] == (state / "state.db.broken-1").read_bytes(), f"{way}: it is not as it was"
    elif start.told:
        becomes = NEW if start.takeover.lost else OLDER
    said = _short(start.store.lost or (start.told or [""])[0], root)
    assert _can_be_written(start)
    found = survivors(start)
    start.store.close()
    again = Start(root)
    untold = [text for text in again.told if "lacked history" not in text]
    assert (None, []) == (again.store.lost, untold), "it is said again"
    assert {*found, "history"} == set(survivors(again)), "a second start knows of less"
    assert [*range(1, LAST + 1)] == again.history("nightly")
    assert not [run for run in again.runs if run.startswith("nightly@")], "it would be started again"
    again.store.close()
    lost = [word for word in ALL if word not in found and word != "history"]
    survives = "what records contain" if lost == UNRECORDED else f"all but {', '.join(lost)}"
    return Outcome(becomes, survives if lost else "all", said)


def _can_be_written(start: Start) -> bool:
    """False: the commit has met damage, after which a daemon writes a new one."""
    try:
        start.store.commit({}, {}, {}, {"boot": "another"})
    except CommitFailed as failed:
        if failed.fault is not StateFault.BROKEN:
            raise
        return False
    return True


def survivors(start: Start) -> list[str]:
    """The words of ALL that hold."""
    nightly, idle = start.jobs.get("nightly"), start.jobs.get("idle")
    facts = (
        start.history("nightly") == [*range(1, LAST + 1)],
        nightly is not None and (nightly.last_number, nightly.stats.started) == (LAST, LAST) and nightly.cursor >= NOW,
        "queue@1" in start.runs, idle is not None and idle.paused, start.store.hold() is not None,
        start.store.submission_of("host", "done") == "host/2", start.store.submission_of("host", "once") == "host/1",
    )  # fmt: skip
    return [word for word, fact in zip(ALL, facts, strict=True) if fact]


def _short(text: str, root: Path) -> str:
    # SQLite's words, or Python's
    text = re.sub(r"is corrupt \((?!its? |the file ).*\), moved", "is corrupt (…), moved", text)
    return text.replace(f"{root}/state/", "").replace(f"{root}/state", "…").replace(str(root), "…").partition(";")[0]


DOCS, BEGIN, END = REPO / "docs/dev/power.md", "<!-- the ways: begin -->\n", "<!-- the ways: end -->\n"
HEAD = "| state.db | What the daemon does | What survives | What it logs |\n|---|---|---|---|\n"


def table() -> str:
    """The table as the docs have it."""
    return DOCS.read_text().partition(BEGIN)[2].partition(END)[0]


def write_table() -> None:
    """Write it anew."""
    with tempfile.TemporaryDirectory() as directory:
        left = build(Path(directory, "left"))
        rows = [outcome(left, way, Path(directory, str(n))).row(way) for n, way in enumerate(WAYS)]
    before, rest = DOCS.read_text().split(BEGIN)
    DOCS.write_text(f"{before}{BEGIN}{HEAD}{chr(10).join(rows)}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write_table()
    else:
        _live(Path(sys.argv[1]), sys.argv[2])
