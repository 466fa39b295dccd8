"""The output of an attempt: kept up to its limit, every other byte counted, and the job is never held up."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueued.child.report.output import OutputPump
from tests.support.outputs import descriptors, shut
from tests.support.users import NEEDS_USER

MEBI = 1 << 20


def pumped(path: Path | str, *chunks: bytes, limit: int = MEBI) -> dict[str, Any]:
    """What is said of an output that came in these pieces."""
    output = OutputPump(str(path), limit)
    for chunk in chunks:
        assert len(chunk) == os.write(output.writing, chunk)
        assert output.pump()
    output.started(1)
    while output.pump():
        pass
    return shut(output)


def said(path: Path | None, offset: int, kept: int, dropped: int, tail: str) -> dict[str, Any]:
    """The record's part."""
    return {
        "file": path and str(path),
        "offset": offset,
        "bytes": kept,
        "dropped": dropped,
        "tail": tail,
        "journal": None,
    }


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the output goes; its directory is not there yet."""
    return tmp_path / "job" / "1.log"


class TestKept:
    def test_as_it_was_written(self, log: Path) -> None:
        """The file has the bytes as the job wrote them."""
        data = bytes(range(1, 256))
        assert said(log, 0, 258, 0, (data + b"end").decode(errors="replace")) == pumped(log, data, b"end")
        assert data + b"end" == log.read_bytes()

    def test_nothing(self, log: Path) -> None:
        """Without output there is no file."""
        assert said(None, 0, 0, 0, "") == pumped(log)
        assert not log.parent.exists()

    def test_a_second_attempt(self, log: Path) -> None:
        """A later attempt's output is appended, at the offset that its record tells."""
        assert said(log, 0, 6, 0, "first\n") == pumped(log, b"first\n")
        assert said(log, 6, 7, 0, "second\n") == pumped(log, b"second\n")
        assert b"first\nsecond\n" == log.read_bytes()

    @pytest.mark.parametrize(
        ("keep_free", "reserves", "kept"),
        [(None, 1, 25), (0, 1, 26), (15, 1, 25), (40, 1, 0), (1 << 60, 1, 0), (None, 2, 10), (15, 2, 10), (0, 2, 26)],
    )  # a disk of 300 bytes, 40 of them free
    def test_what_is_to_be_kept_free(
        self, log: Path, monkeypatch: pytest.MonkeyPatch, keep_free: int | None, reserves: int, kept: int
    ) -> None:
        """Output takes no more of its disk than keep_free leaves, that of users leaves twice as much for the host's
        jobs; what is dropped is counted, and the cause is in the record.
        """

        def disk(descriptor: int) -> SimpleNamespace:
            return SimpleNamespace(f_blocks=300, f_frsize=1, f_bavail=40 - os.fstat(descriptor).st_size)

        monkeypatch.setattr(os, "fstatvfs", disk)
        output = OutputPump(str(log), MEBI, keep_free=keep_free, reserves=reserves)
        for chunk in (b"abc", b"defghijklmnopqrstuvwxyz"):
            os.write(output.writing, chunk)
            assert output.pump()
        losses = output.losses()
        told = shut(output)
        assert [f"{26 - kept} bytes of output dropped: {told.get('error')}"] * (kept < 26) == losses
        assert (kept, 26 - kept) == (told["bytes"], told["dropped"])
        assert (kept < 26) == ("keep_free in jobqueued.yaml" in told.get("error", ""))
        assert b"abcdefghijklmnopqrstuvwxyz"[:kept] == log.read_bytes()

    def test_only_owner_and_group_read(self, log: Path) -> None:
        """Output may hold secrets: 0640, in a directory 0750."""
        previous = os.umask(0)
        try:
            pumped(log, b"x")
        finally:
            os.umask(previous)
        assert (0o100640, 0o040750) == (log.stat().st_mode, log.parent.stat().st_mode)

    def test_a_chunk_at_a_time(self, log: Path) -> None:
        """pump() moves a pipeful at most, says whether there may be more, and never waits."""
        output = OutputPump(str(log), MEBI)
        assert output.pump()
        os.set_blocking(output.writing, False)
        filled = os.write(output.writing, b"x" * MEBI)
        assert output.pump()
        assert log.stat().st_size <= filled == 1 << 16
        output.started(1)
        assert not output.pump()
        assert filled == shut(output)["bytes"]

    def test_descriptors(self, log: Path) -> None:
        """Nothing is inheritable, and shut() leaves nothing open."""
        before = descriptors()
        output = OutputPump(str(log), MEBI)
        os.write(output.writing, b"x")
        output.pump()
        assert [False] * 3 == [os.get_inheritable(number) for number in descriptors() - before]
        output.shut()
        assert set() == descriptors() - before


class TestLimit:
    @settings(max_examples=60)
    @given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.integers(0, 1200))
    def test_exactly(self, tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes], limit: int) -> None:
        """However it comes, the first `limit` bytes are kept and every other one is counted."""
        path, data = tmp_path_factory.mktemp("o") / "1.log", b"".join(chunks)
        found = pumped(path, *chunks, limit=limit)
        assert (min(limit, len(data)), max(0, len(data) - limit)) == (found["bytes"], found["dropped"])
        assert data[:limit] == (path.read_bytes() if path.exists() else b"")
        assert "error" not in found

    def test_of_all_attempts(self, log: Path) -> None:
        """The limit is the file's: a later attempt has what the earlier ones left of it."""
        assert said(log, 0, 6, 0, "first\n") == pumped(log, b"first\n", limit=10)
        assert said(log, 6, 4, 3, "second\n") == pumped(log, b"second\n", limit=10)
        assert said(None, 10, 0, 6, "third\n") == pumped(log, b"third\n", limit=10)
        assert b"first\nseco" == log.read_bytes()


class TestTail:
    def test_the_last_2_kib(self, log: Path) -> None:
        """The tail is the last 2,048 bytes, also of what was dropped."""
        found = pumped(log, b"a" * 3000, b"b" * 2000, limit=10)
        assert "a" * 48 + "b" * 2000 == found["tail"]

    def test_unreadable(self, log: Path) -> None:
        """What is no UTF-8, or no character of JSON, is U+FFFD in the tail and itself in the file."""
        data = b"\xff\xc3 \x00 \xef\xbf\xbf \xc3\xbc\n"
        assert "\ufffd\ufffd \ufffd \ufffd ü\n" == pumped(log, data)["tail"]
        assert data == log.read_bytes()


class TestTrouble:
    def test_full(self) -> None:
        """On a full disk every byte is counted as dropped, the tail stays, and the error is told."""
        found = pumped("/dev/full", b"one\n", b"two\n")
        assert {**said(None, 0, 0, 8, "one\ntwo\n"), "error": "/dev/full: No space left on device"} == found

    def test_full_half_way(self, log: Path) -> None:
        """What fitted before the disk was full is kept, and the counts are exact."""
        with FileSize(5):
            found = pumped(log, b"abc", b"defg", b"hij")
        assert {**said(log, 0, 5, 5, "abcdefghij"), "error": f"{log}: File too large"} == found
        assert b"abcde" == log.read_bytes()

    def test_room_again(self, log: Path) -> None:
        """A disk that has room again takes what comes then; the error is told all the same."""
        output = OutputPump(str(log), MEBI)
        with FileSize(0):
            os.write(output.writing, b"lost")
            output.pump()
        os.write(output.writing, b"kept")
        output.pump()
        assert {**said(log, 0, 4, 4, "lostkept"), "error": f"{log}: File too large"} == shut(output)

    def test_a_link(self, log: Path) -> None:
        """A link in the log's place is not followed."""
        log.parent.mkdir()
        log.symlink_to(log.parent / "elsewhere")
        found = pumped(log, b"x")
        assert {**said(None, 0, 0, 1, "x"), "error": f"{log}: Too many levels of symbolic links"} == found
        assert not (log.parent / "elsewhere").exists()

    @pytest.mark.parametrize(("name", "error"), [("file", "Not a directory"), ("job/1.log", "Is a directory")])
    def test_no_log(self, log: Path, name: str, error: str) -> None:
        """Where the log can't be opened, by root neither, the job goes on and its bytes are counted."""
        log.mkdir(parents=True)
        (log.parent.parent / "file").touch()
        path = log.parent.parent / name / ("1.log" if name == "file" else "")
        found = pumped(str(path), b"abc")
        assert {**said(None, 0, 0, 3, "abc"), "error": f"{path}: {error}"} == found

    @NEEDS_USER
    def test_no_permission(self, log: Path) -> None:
        """A log directory that we may not write is told by name."""
        log.parent.mkdir(mode=0o500)
        assert f"{log}: Permission denied" == pumped(log, b"abc")["error"]


class FileSize:
    """For a while no file may become longer than this: the nearest to a full disk that needs no rights."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __enter__(self) -> None:
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)
        self._signal = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._size, self._before[1]))

    def __exit__(self, *_: object) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)
        signal.signal(signal.SIGXFSZ, self._signal)


@pytest.fixture(autouse=True)
def no_leak() -> Iterator[None]:
    """No test leaves a descriptor behind."""
    before = descriptors()
    yield
    assert set() == descriptors() - before
