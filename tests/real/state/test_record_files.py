"""The run log: a reader sees whole records only, retention lets the oldest go, and strangers' files harm nothing."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from jobqueued.base.instants import SECOND
from jobqueued.child.contract.documents import Record
from jobqueued.model.run import RunId
from jobqueued.state import record_files

NOW = 1_800_000_000 * SECOND
RUN = RunId("job", 7)


def a_record(number: int = 7, job: str = "job", **fields: object) -> Record:
    """Enough of a record."""
    return {"job": job, "number": number, "run": f"{job}@{number}", "state": "succeeded", **fields}


def keep(logs: Path, number: int, *, age: int = 0, size: int = 0, ending: str = ".json") -> None:
    """A file that a run left `age` ns ago."""
    path = Path(record_files.path_of(logs, RunId("job", number)) + ending)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, ns=(NOW - age, NOW - age))


class TestWrite:
    def test_round_trip(self, tmp_path: Path) -> None:
        """What was written is read, whatever its characters; the directories are made."""
        record = a_record(text="ü \ud800 \0 \n", nested={"a": [1, 2.5, None, True]})
        record_files.write(tmp_path / "logs", record)
        assert record == record_files.read(tmp_path / "logs", RUN)

    def test_a_job_of_a_crontab_has_one_directory(self, tmp_path: Path) -> None:
        """The slash in its name leads nowhere: it is a plus in that of its directory, and comes back from there."""
        record = a_record(job="cron.d/munin:cron-1f")
        record_files.write(tmp_path, record)
        assert ["cron.d+munin:cron-1f"] == os.listdir(tmp_path)
        assert ["cron.d/munin:cron-1f"] == record_files.jobs(tmp_path) == list(record_files.changed(tmp_path, 0))
        assert ([7], record) == (
            record_files.listing(tmp_path, "cron.d/munin:cron-1f").runs,
            record_files.read(tmp_path, RunId("cron.d/munin:cron-1f", 7)),
        )

    def test_one_line(self, tmp_path: Path) -> None:
        """A record file is one line of JSON in ASCII, and nothing else is left in its directory."""
        record_files.write(tmp_path, a_record(text="a\nb ü"))
        assert ["7.json"] == os.listdir(tmp_path / "job")
        data = (tmp_path / "job" / "7.json").read_bytes()
        assert (1, True, True) == (data.count(b"\n"), data.endswith(b"}\n"), data.isascii())

    def test_only_owner_and_group_read(self, tmp_path: Path) -> None:
        """Records are 0640 in directories 0750, whatever the umask."""
        previous = os.umask(0)
        try:
            record_files.write(tmp_path, a_record())
            os.umask(0o077)
            record_files.write(tmp_path, a_record(8))
        finally:
            os.umask(previous)
        modes = [stat.S_IMODE((tmp_path / "job" / name).stat().st_mode) for name in (".", "7.json", "8.json")]
        assert [0o750, 0o640, 0o640] == modes

    def test_a_reader_keeps_what_it_opened(self, tmp_path: Path) -> None:
        """Whoever has the old record open reads all of it: the new one is another file."""
        record_files.write(tmp_path, a_record(state="lost", filling="x" * 100_000))
        with open(tmp_path / "job" / "7.json") as reader:
            first = reader.read(10)
            record_files.write(tmp_path, a_record(state="failed"))
            old = json.loads(first + reader.read())
        assert ("lost", "failed") == (old["state"], (record_files.read(tmp_path, RUN) or {})["state"])

    def test_a_failure_leaves_the_old_one(self, tmp_path: Path) -> None:
        """If the new record can't be written the error says so, and the old one is still there."""
        record_files.write(tmp_path, a_record(state="lost"))
        (tmp_path / "job" / "7.json.tmp").mkdir()
        with pytest.raises(OSError, match="Is a directory"):
            record_files.write(tmp_path, a_record(state="failed"))
        assert a_record(state="lost") == record_files.read(tmp_path, RUN)

    def test_nowhere(self, tmp_path: Path) -> None:
        """A log directory that can't be made is an OSError."""
        (tmp_path / "logs").write_text("a file")
        with pytest.raises(NotADirectoryError):
            record_files.write(tmp_path / "logs", a_record())


class TestRead:
    @pytest.mark.parametrize(
        "content",
        [
            b"", b'{"job": "job", "sta', b"[]", b"null", b"7", b"{}", b'{"state": 1}', b"\xff\xfe", b"\0" * 100,
            b"[" * 200_000, b'{"state": "failed"} {}',
        ],
        ids=lambda content: repr(content[:20]),
    )  # fmt: skip
    def test_foreign(self, tmp_path: Path, content: bytes) -> None:
        """What is not one whole record is no record, and no error either."""
        (tmp_path / "job").mkdir()
        (tmp_path / "job" / "7.json").write_bytes(content)
        assert record_files.read(tmp_path, RUN) is None

    def test_unreadable(self, tmp_path: Path) -> None:
        """No file, and a directory in its place, are no record."""
        assert record_files.read(tmp_path, RUN) is None
        (tmp_path / "job" / "7.json").mkdir(parents=True)
        assert record_files.read(tmp_path, RUN) is None


class TestNames:
    def test_jobs(self, tmp_path: Path) -> None:
        """Jobs are directories; files and links are none."""
        (tmp_path / "b").mkdir()
        (tmp_path / "a").mkdir()
        (tmp_path / "file").touch()
        (tmp_path / "link").symlink_to("a")
        assert ["a", "b"] == record_files.jobs(tmp_path)
        assert [] == record_files.jobs(tmp_path / "missing")

    def test_numbers(self, tmp_path: Path) -> None:
        """A number is used if a record or output has it; what a death left of writing one is no run."""
        names = ["10.json", "10.log", "9.log", "8.json.tmp", "notes", ".7.swp", "x6.json", "-5.json", "4x.json"]
        for name in [*names, "03.json", "2.txt", "8.log.tmp", "11.json.bak"]:
            keep(tmp_path, 1)
            (tmp_path / "job" / name).touch()
        assert [1, 9, 10] == record_files.numbers(tmp_path, "job")
        assert [8] == record_files.listing(tmp_path, "job").unfinished
        assert [] == record_files.numbers(tmp_path, "missing")

    def test_numbers_that_no_run_can_have(self, tmp_path: Path) -> None:
        """A number of more digits than a run's, or in other digits, is a stranger's."""
        keep(tmp_path, 3)
        for name in ("9" * 19, "٤"):
            (tmp_path / "job" / f"{name}.json").touch()
        assert [3] == record_files.numbers(tmp_path, "job")

    def test_remove(self, tmp_path: Path) -> None:
        """A removed run has no file; other runs keep theirs, and what is not there is fine."""
        for number in (1, 2, 11):
            keep(tmp_path, number)
            keep(tmp_path, number, ending=".log")
        record_files.remove(tmp_path, RunId("job", 1))
        record_files.remove(tmp_path, RunId("job", 3))
        assert ["11.json", "11.log", "2.json", "2.log"] == sorted(os.listdir(tmp_path / "job"))
