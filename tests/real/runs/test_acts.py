"""Acts on a disk for records that can't be written: R's stay as the second copy of their ends, up to a bound."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jobqueued.core.records.recollection import run_of
from jobqueued.daemon.acts import Acts
from jobqueued.daemon.run_files import MOST_KEPT, RunDirectories, RunFiles
from jobqueued.host.log import Log
from jobqueued.model.commands import Command, LookAfter, NoteWhole, RemoveMarks, SaveRun
from jobqueued.model.run import RunId
from jobqueued.runs.fleet_link import FleetLink
from jobqueued.runs.run_directory import Name
from jobqueued.settings.paths import Paths
from jobqueued.state import record_files
from jobqueued.state.commits import Commits
from jobqueued.state.db.store import Store
from jobqueued.state.write_batch import WriteBatch
from tests.support.records import a_record


class Marks:
    """R's that are removed."""

    def __init__(self) -> None:
        self.removed: list[Name] = []
        self.read_only = set[int]()
        self.settled = 0
        self.emptying = self

    def settle(self) -> None:
        self.settled += 1

    def remove(self, name: Name) -> None:
        if name.run.number in self.read_only:
            raise OSError(errno.EROFS, "Read-only file system")
        self.removed.append(name)


class Link:
    """The launcher's side."""

    def __init__(self) -> None:
        self.marks = Marks()

    def flush(self) -> None:
        pass


class Ends:
    """Acts on ends whose supervisors could not write the record."""

    def __init__(self, root: Path) -> None:
        (root / "state").mkdir()
        self.logs, self.link, self.unwritten, self.looked_after = root / "logs", Link(), list[RunId](), list[str]()
        self.batch = batch = WriteBatch(Store(root / "state"))
        self.commits = Commits(batch._store, batch, list, Paths.chosen(root), Log("json"))
        housekeeping = SimpleNamespace(
            miss=lambda run, *_: self.unwritten.append(run), note=lambda job, *_: self.looked_after.append(job)
        )  # fmt: skip
        self.directories = RunDirectories(batch, cast("Any", self.link.marks), self.logs, Log("json"))
        self.acts = Acts(
            self.commits, cast("Any", self.link), Log("json"),
            RunFiles(self.logs, self.directories, cast("Any", housekeeping)), cast("Any", None),
            FleetLink(root / "fleet", None, "h", lambda: None, dict, None), lambda *_: None,
        )  # fmt: skip

    def end(self, number: int, *, known: bool = False) -> None:
        """A run has ended."""
        record = a_record(number)
        record["record_error"] = "no room"
        run = run_of(record)
        end: list[Command] = [] if known else [SaveRun(run, record)]
        self.acts.carry_out([*end, RemoveMarks(run.id, 1, known=known)])

    @property
    def removed(self) -> list[int]:
        """The numbers of the runs whose R is removed."""
        return [name.run.number for name in self.link.marks.removed]


def test_r_stays_without_a_record_file(tmp_path: Path) -> None:
    """It goes once the file is there; the oldest goes where too many stay."""
    ends = Ends(tmp_path)
    ends.logs.touch()  # no directory
    for number in range(1, MOST_KEPT + 3):
        ends.end(number)
    assert ([1, 2], MOST_KEPT + 2) == (ends.removed, len(ends.unwritten))
    ends.directories.filed(RunId("job", 7))
    assert [1, 2, 7] == ends.removed
    ends.logs.unlink()
    ends.end(8)
    assert [1, 2, 7, 8, 8] == ends.removed


def test_an_end_that_was_known(tmp_path: Path) -> None:
    """Found once more, its R goes if the record file tells that end, or nobody knows of its run."""
    ends = Ends(tmp_path)
    ends.end(1, known=True)
    assert [1] == ends.removed
    ends.logs.touch()
    ends.end(2)
    ends.directories.filed(RunId("job", 2))
    ends.end(2, known=True)
    assert [1, 2] == ends.removed
    ends.logs.unlink()
    record_files.write(ends.logs, a_record(2))
    ends.end(2, known=True)
    assert [1, 2, 2, 2] == ends.removed


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_nobody_can_tell_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """Without a descriptor to read the record file its R stays, and goes with a later commit."""
    ends = Ends(tmp_path)
    ends.end(1)
    record_files.write(ends.logs, a_record(1))

    def refused(*_: Any) -> bytes:
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patched:
        patched.setattr("jobqueued.child.contract.atomic_file.content", refused)
        ends.end(1, known=True)
        ends.end(2)
    assert [1, 2] == ends.removed
    ends.end(3)
    assert [1, 2, 1, 3] == ends.removed


@pytest.mark.parametrize("later", ["another end", "the end of the daemon"])
def test_what_waits_for_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: str) -> None:
    """A directory is noted as whole, a record written and an R removed once one succeeds, be it the last of all."""
    ends = Ends(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(ends.commits, "make", lambda: False)
        ends.acts.carry_out([NoteWhole()])
        ends.end(1)
        ends.acts.last()
        assert (0, [], False) == (ends.link.marks.settled, ends.removed, ends.logs.exists())
    if later == "another end":
        ends.end(2)
        ends.end(3)
    else:
        ends.acts.last()
    assert (1, [1, 2, 3] if later == "another end" else [1]) == (ends.link.marks.settled, ends.removed)
    assert a_record(1)["run"] == json.loads((ends.logs / "job" / "1.json").read_text())["run"]


def test_what_is_done_with_what_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is only taken is not acted on, and one commit holds it and what follows."""
    ends, tried = Ends(tmp_path), list[set[str]]()
    make = ends.commits.make

    def noted() -> bool:
        tried.append({str(run) for run in ends.batch.runs})
        return make()

    monkeypatch.setattr(ends.commits, "make", noted)
    record = a_record(1)
    ends.acts.take([SaveRun(run_of(record), record), RemoveMarks(RunId("job", 1), 1)])
    assert ([], []) == (tried, ends.removed)
    ends.end(2)
    ends.end(3)
    assert ([{"job@1", "job@2"}, {"job@3"}], [1, 2, 3]) == (tried, ends.removed)


def test_r_that_can_not_be_removed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """History spares its run, which the next start would else take for live, until it goes together with another."""
    ends = Ends(tmp_path)
    marks, live = ends.link.marks, {RunId("job", 9)}
    marks.read_only = {1, 2}
    for number in (1, 2, 1):
        ends.end(number)
    assert {RunId("job", 1), RunId("job", 2), *live} == ends.directories.spared(live)
    assert 2 == capfd.readouterr().err.count('"text":"cannot remove the run directory of job@')
    marks.read_only = {2}
    ends.end(3)
    assert [3, 1] == ends.removed
    assert {RunId("job", 2), *live} == ends.directories.spared(live)
    marks.read_only = set()
    ends.end(4)
    assert [3, 1, 4, 2] == ends.removed
    assert live is ends.directories.spared(live)


def test_a_job_that_is_removed(tmp_path: Path) -> None:
    """Housekeeping is told of it, as nobody else will ever look at it."""
    ends = Ends(tmp_path)
    ends.acts.carry_out([LookAfter("job")])
    assert ["job"] == ends.looked_after
