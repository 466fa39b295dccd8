"""Lines of jobs in the journal: each as it was written, none forged, nobody waits for one, each loss is counted."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueued.child.contract.documents import LaunchSpec
from jobqueued.child.report import budget, journald
from jobqueued.child.report.budget import Bucket, CommonBudget
from jobqueued.child.report.journald import LINE_MAX, OUTPUT_ID, UNSENT_ID, JournalStream
from jobqueued.child.report.output import OutputPump
from jobqueued.host.messages import VOCABULARY
from tests.support import REPO
from tests.support.host import DEADLINE, Host, wait_for
from tests.support.outputs import descriptors, shut
from tests.support.papers import fields
from tests.support.sink import Sink

SECOND = 1_000_000_000
KIBI, MEBI = 1 << 10, 1 << 20
NO_LIMIT = 1_000_000
FLOOD, SHARE = b"x\n" * 5000, 2250
"""More than any queue of datagrams holds, and how many lines of it may go where nobody else says anything."""
IDENTITY: dict[str, object] = {
    "SYSLOG_IDENTIFIER": "backup", "JOBQUEUE_JOB": "backup", "JOBQUEUE_RUN": "backup@142", "JOBQUEUE_ATTEMPT": 2,
}  # fmt: skip


class DueTimes:
    """Seconds and nanoseconds that pass when a test says so."""

    def __init__(self) -> None:
        self.ns = 1000 * SECOND

    def __call__(self) -> float:
        return self.ns / SECOND

    def nanoseconds(self) -> int:
        return self.ns

    def pass_by(self, seconds: float) -> None:
        self.ns += round(seconds * SECOND)


class World:
    """A journald, the common budget, a clock, and streams of runs that use them."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "journal"
        self.clock = DueTimes()
        half = [Bucket(2_500, 50, self.clock.nanoseconds) for _ in range(2)]
        self.common = CommonBudget(Bucket(5_000, 100, self.clock.nanoseconds), *half)
        self.sink: Sink | None = None
        self.open: list[JournalStream] = []

    def stream(self, rate: int = NO_LIMIT, user: str | None = None, **identity: object) -> JournalStream:
        """The output of a run."""
        stream = JournalStream(str(self.path), {**IDENTITY, **identity}, rate, self.common, self.clock, user)
        stream.started(4711)
        self.open.append(stream)
        return stream

    def handed_over(self, **options: Any) -> JournalStream:
        """One that somebody else closes."""
        self.stream(**options)
        return self.open.pop()

    def listen(self) -> Sink:
        """Let there be a journald."""
        self.sink = Sink(self.path)
        return self.sink

    def said(self, *pieces: bytes, rate: int = NO_LIMIT) -> tuple[list[bytes], dict[str, Any] | None]:
        """The messages that come of these pieces of output, all of which journald takes, and what the record says."""
        sink = self.sink or self.listen()
        sink.entries.clear()
        stream = self.stream(rate)
        for piece in pieces:
            stream.feed(piece)
            settle(stream, sink)
        self.end(stream)
        settle(stream, sink)
        told = self.close(stream)
        return sink.messages, told

    @staticmethod
    def end(stream: JournalStream) -> None:
        """Its pipe is at the end."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        stream.watch(reading)
        os.close(writing)
        stream.end(reading)
        os.close(reading)

    def close(self, stream: JournalStream, kept: str = "it is in FILE") -> dict[str, Any] | None:
        """What the record says."""
        self.open.remove(stream)
        return closed(stream, kept)

    def stop(self) -> None:
        """Leave nothing open."""
        for stream in self.open:
            stream.close("")
        if self.sink is not None:
            self.sink.close()
        for bucket in self.common:
            bucket.close()


def settle(stream: JournalStream, sink: Sink) -> None:
    """Until journald has taken all."""
    sink.take()
    while stream.waiting:
        stream.flush()
        sink.take()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Without a journald yet; afterwards no descriptor is left."""
    before = descriptors()
    world = World(tmp_path)
    yield world
    world.stop()
    assert set() == descriptors() - before


def closed(stream: JournalStream, kept: str = "it is in FILE") -> dict[str, Any] | None:
    """What the record says."""
    found = stream.report()
    stream.close(kept)
    return found


def told(lines: int, **why: int) -> dict[str, Any]:
    """The record's part."""
    return {"lines": lines, "dropped": sum(why.values()), "why": why}


class TestLines:
    def test_the_fields(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """All that journalctl can look for; the unit, which journald believes from root only, only from root."""
        for uid, unit in ((0, [("OBJECT_SYSTEMD_UNIT", b"jobqueued.service")]), (1, [])):
            monkeypatch.setattr(os, "geteuid", lambda uid=uid: uid)
            assert ([b"hello"], told(1)) == world.said(b"hello\n")
            assert world.sink is not None
            assert [
                ("PRIORITY", b"6"), ("JOBQUEUE_EVENT", b"output"), ("MESSAGE_ID", OUTPUT_ID.encode()),
                ("SYSLOG_IDENTIFIER", b"backup"), ("JOBQUEUE_JOB", b"backup"), ("JOBQUEUE_RUN", b"backup@142"),
                ("JOBQUEUE_ATTEMPT", b"2"), *unit, ("SYSLOG_PID", b"4711"), ("JOBQUEUE_PID", b"4711"),
                ("MESSAGE", b"hello"),
            ] == world.sink.entries[0].fields  # fmt: skip

    def test_whose_job_it_is(self, world: World, tmp_path: Path) -> None:
        """The lines of a user's own job tell the user by number and name, however the job calls itself.

        All that a line may tell is in docs/records.md, and no more.
        """
        document = {"job": "alice/sshd", "run": "alice/sshd@1", "owner": {"uid": 1000, "name": "alice"}}
        order = {
            "output": "journal", "record": document, "attempt": 1, "journal": str(world.path), "journal_rate": 9,
            "logs": str(tmp_path / "1"), "output_limit": 9,
        }  # fmt: skip
        sink, output = world.listen(), OutputPump.of(cast("LaunchSpec", order), world.common)
        os.write(output.writing, b"x\nSYSLOG_IDENTIFIER=sshd\nJOBQUEUE_OWNER_UID=0")
        output.started(4711)
        output.pump()
        output.shut()
        sink.take()
        names = ("SYSLOG_IDENTIFIER", "JOBQUEUE_OWNER", "JOBQUEUE_OWNER_UID")
        assert [(b"alice/sshd", b"alice", b"1000")] * 3 == [
            tuple(entry[name] for name in names) for entry in sink.entries if entry["MESSAGE"]
        ]
        known = {name for entry in sink.entries for name, _ in entry.fields} | {"OBJECT_SYSTEMD_UNIT"}
        assert known == set(fields((REPO / "docs/records.md").read_text())[1])

    def test_the_ids_are_nobody_elses(self) -> None:
        """128 bits in hex, and none of the daemon's own."""
        ids = [OUTPUT_ID, UNSENT_ID, *(entry.id for entry in VOCABULARY.values())]
        assert len(ids) == len(set(ids))
        assert all(len(bytes.fromhex(number)) == 16 for number in ids)

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.text("ab\n\0=", max_size=12).map(str.encode), max_size=6), st.integers(1, 5))
    def test_as_journald_reads_a_services_stdout(
        self, world: World, monkeypatch: pytest.MonkeyPatch, pieces: list[bytes], longest: int
    ) -> None:
        """However it comes: lines end at \\n, empty ones are none, long ones are cut, and no byte is lost."""
        monkeypatch.setattr(journald, "LINE_MAX", longest)
        world.clock.pass_by(60)
        lines = [line for line in b"".join(pieces).split(b"\n") if line]
        cut = [line[start : start + longest] for line in lines for start in range(0, len(line), longest)]
        assert (cut, told(len(cut))) == world.said(*pieces)

    def test_what_ends_no_line_is_marked(self, world: World) -> None:
        """Pieces of a long line, and a last one without newline, say so in the words of journald's own field."""
        world.said(b"a" * LINE_MAX + b"\n" + b"b" * (2 * LINE_MAX + 1) + b"\nwhole\nlast")
        assert world.sink is not None
        marks = [(len(e["MESSAGE"]), dict(e.fields).get("JOBQUEUE_LINE_BREAK")) for e in world.sink.entries]
        assert [
            (LINE_MAX, None), (LINE_MAX, b"line-max"), (LINE_MAX, b"line-max"), (1, None), (5, None), (4, b"eof"),
        ] == marks  # fmt: skip

    @pytest.mark.parametrize(
        "line",
        [
            b"JOBQUEUE_RUN=other@1", b"MESSAGE=forged", b"=", b"x=y", b".", b"#", b"\0", b"a\0JOBQUEUE_RUN=other@1\0",
            b"MESSAGE\0\0\0\0\0\0\0\0", b"\x1b[31mred\x1b[0m\x1b]0;title\x07", b"\xff\xfe\xc3(", b"\r", b" \t ",
            b"\x85", "\u2028JOBQUEUE_RUN=other@1".encode(), b"\x05\0\0\0\0\0\0\0MESSA",
        ],
    )  # fmt: skip
    def test_nothing_is_forged(self, world: World, line: bytes) -> None:
        """Whatever a line holds, it is one entry with the true fields and this very message; so is what follows it."""
        assert ([line, b"PRIORITY=0", b"_UID=0"], told(3)) == world.said(line + b"\n\nPRIORITY=0\n_UID=0\n")
        assert world.sink is not None
        for entry in world.sink.entries:
            assert (b"backup@142", b"6", 10 + (os.geteuid() == 0)) == (
                entry["JOBQUEUE_RUN"], entry["PRIORITY"], len(entry.fields),
            )  # fmt: skip

    def test_a_line_without_end(self, world: World) -> None:
        """64 MiB without a newline need no more memory than a few lines, and do not fill the journal."""
        sink, stream = world.listen(), world.stream(rate=100)
        piece = b"x" * (64 * KIBI)
        tracemalloc.start()
        try:
            for _ in range(1024):
                stream.feed(piece)
                sink.take()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        world.end(stream)
        pieces = -(-64 * MEBI // LINE_MAX)
        sent = len(sink.messages)
        assert sum(map(len, sink.messages)) < 1.1 * MEBI
        assert peak < 3 * MEBI, "what the sink holds is part of it"
        assert told(sent, journal_rate=pieces - sent) == world.close(stream)


class TestBudget:
    def test_of_a_run(self, world: World) -> None:
        """Ten seconds' worth at once, then so many a second; the first lines are those that go."""
        sink, stream = world.listen(), world.stream(rate=5)
        stream.feed(b"".join(b"%d\n" % number for number in range(80)))
        settle(stream, sink)
        assert [b"%d" % number for number in range(50)] == sink.messages
        world.clock.pass_by(2)
        stream.feed(b"".join(b"%d\n" % number for number in range(100, 120)))
        settle(stream, sink)
        assert [b"%d" % number for number in range(100, 110)] == sink.messages[50:]
        assert told(60, journal_rate=40) == world.close(stream)

    def test_long_lines_count_for_more(self, world: World) -> None:
        """A line uses up the rate of one more for each KiB, but none is too long for the lowest rate."""
        sink, stream = world.listen(), world.stream(rate=1)
        stream.feed(b"x" * 40 * KIBI + b"\n")
        stream.feed(b"more\n")
        world.clock.pass_by(30)
        stream.feed(b"still too early\n")
        world.clock.pass_by(2)
        stream.feed(b"again\n")
        settle(stream, sink)
        assert [40 * KIBI, 5] == [len(message) for message in sink.messages]
        assert told(2, journal_rate=2) == world.close(stream)

    def test_what_is_missing_is_said_once(self, world: World) -> None:
        """One line at the end, above the others in priority, says how many, why, and where they are."""
        sink, stream = world.listen(), world.stream(rate=1)
        stream.feed(b"x\n" * 12_355)
        settle(stream, sink)
        assert [] == sink.notes
        world.close(stream, "all of the output is in /var/log/jobqueue/backup/142.log")
        [note] = sink.notes
        text = (
            "12,345 lines were not sent to the journal (over its journal_rate); "
            "all of the output is in /var/log/jobqueue/backup/142.log"
        )
        assert (text.encode(), b"4", UNSENT_ID.encode(), b"backup@142", b"backup") == tuple(
            note[name] for name in ("MESSAGE", "PRIORITY", "MESSAGE_ID", "JOBQUEUE_RUN", "SYSLOG_IDENTIFIER")
        )

    def test_the_note_waits_its_turn(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where journald is busy with other lines, the note comes as soon as there is room."""
        sink, stream = world.listen(), world.handed_over()
        stream.feed(FLOOD)
        assert stream.waiting
        monkeypatch.setattr(journald, "_LONGEST_WAIT", DEADLINE)
        reader = threading.Timer(0.05, sink.reading)
        reader.start()
        found = closed(stream)
        reader.join()
        wait_for(lambda: len(sink.notes) == 1, 10)
        taken = len(sink.messages)
        assert told(taken, all_runs=5000 - SHARE, journald=SHARE - taken) == found

    def test_nobody_waits_long_to_say_it(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where journald takes nothing for a moment, the record alone tells."""
        sink, stream = world.listen(), world.handed_over()
        stream.feed(FLOOD)
        waited = []

        class Poll:
            def register(self, *_: object) -> None: ...

            def poll(self, milliseconds: float) -> None:
                waited.append(milliseconds)
                world.clock.pass_by(milliseconds / 1000)

        monkeypatch.setattr(journald, "time", SimpleNamespace(monotonic=world.clock))
        monkeypatch.setattr(journald, "select", SimpleNamespace(poll=Poll, POLLOUT=select.POLLOUT))
        stream.close("it is in FILE")
        assert [journald._LONGEST_WAIT * 1000] == waited
        assert [] == sink.notes

    def test_one_alone(self, world: World) -> None:
        """The note speaks of one line as of one."""
        stream = world.stream(rate=1)
        sink = world.listen()
        stream.feed(b"x\n" * 11)
        settle(stream, sink)
        world.close(stream, "k")
        assert b"1 line was not sent to the journal (over its journal_rate); k" == sink.notes[0]["MESSAGE"]

    def test_a_chatty_run_leaves_room_for_others(self, world: World) -> None:
        """However much twenty runs say, each that comes new and says little is heard; the note tells what was cut."""
        sink = world.listen()
        chatty = [world.stream(JOBQUEUE_RUN=f"chatty@{number}") for number in range(20)]
        for _ in range(40):
            for stream in chatty:
                stream.feed(b"chatter\n" * 1000)
                settle(stream, sink)
            quiet = world.stream(JOBQUEUE_RUN="quiet@1")
            quiet.feed(b"hello\n")
            settle(quiet, sink)
            assert told(1) == world.close(quiet)
            world.clock.pass_by(1)
        shares = [world.close(stream) for stream in chatty]
        assert all(share and share["why"].keys() == {"all_runs"} for share in shares)
        assert b"over the limit of all runs together" in sink.notes[0]["MESSAGE"]

    def test_the_runs_of_a_user_leave_half(self, world: World) -> None:
        """However many runs one user has, those of the host and of another user have the other half."""
        sink, sent = world.listen(), 0
        for number in range(60):
            stream = world.stream(user="alice", JOBQUEUE_RUN=f"theirs@{number}")
            stream.feed(b"chatter\n" * 5000)
            settle(stream, sink)
            sent += len(sink.messages)
            world.close(stream)
            sink.entries.clear()
        assert 2_000 < sent <= 2_500
        for user in (None, "bob"):
            stream = world.stream(user=user)
            stream.feed(b"hello\n" * 300)
            settle(stream, sink)
            assert 300 == len(sink.messages)
            sink.entries.clear()

    def test_a_run_alone_uses_what_there_is(self, world: World) -> None:
        """Nearly half at once, and then all that comes back: nothing is kept back for nobody."""
        sink, stream = world.listen(), world.stream()
        counts = []
        for _ in range(300):
            before = len(sink.entries)
            stream.feed(b"x\n" * 5000)
            settle(stream, sink)
            counts.append(len(sink.entries) - before)
            world.clock.pass_by(1)
        assert SHARE == counts[0]
        assert 99 <= sum(counts[-100:]) / 100 <= 101

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 40_000), st.integers(1, 9000), st.integers(0, 300)), max_size=60))
    def test_all_together_stay_below_journalds_limit(self, steps: list[tuple[int, int, int]]) -> None:
        """Whoever takes whenever: in any 30 s at most 8,000 lines."""
        clock, taken = DueTimes(), []
        bucket = budget.common().lines
        bucket._clock = clock.nanoseconds
        for milliseconds, wanted, lately in steps:
            clock.pass_by(milliseconds / 1000)
            taken.append((clock.ns, bucket.take(wanted, lately)))
        bucket.close()
        for begin, _ in taken:
            assert sum(lines for at, lines in taken if begin <= at <= begin + 30 * SECOND) <= 8001

    def test_nothing_is_taken_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Processes that take at the same time get together what there is, to the last one."""
        monkeypatch.setattr(budget, "_TRIES", 1_000_000)  # on a busy machine the holder may be off the CPU for long
        bucket = Bucket(20_000, 1, lambda: 1)
        reading, writing = os.pipe2(os.O_CLOEXEC)
        takers = list[int]()
        for _ in range(4):
            takers.append(os.fork())
            if not takers[-1]:
                taken = 0
                while got := bucket.take(3, 0):
                    taken += got
                os.write(writing, b"%d\n" % taken)
                os._exit(0)
        for taker in takers:
            os.waitpid(taker, 0)
        counts = [int(count) for count in os.read(reading, 100).split()]
        for descriptor in (reading, writing):
            os.close(descriptor)
        bucket.close()
        assert (4, 20_000) == (len(counts), sum(counts))

    def test_one_that_stands_still_holds_nobody_up(self) -> None:
        """A supervisor that is stopped in the midst of taking does not keep others from it."""
        bucket = Bucket(100, 1)
        reading, writing = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if not pid:
            bucket._lock()
            os.write(writing, b"x")
            signal.pause()
        os.read(reading, 1)
        try:
            assert 10 == bucket.take(10, 0)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            for descriptor in (reading, writing):
                os.close(descriptor)
            bucket.close()

    def test_kernels_without_the_flag(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """memfd_create(2) before Linux 6.3 does not know MFD_NOEXEC_SEAL."""
        create = os.memfd_create

        def old(name: str, flags: int = os.MFD_CLOEXEC) -> int:
            if flags & ~os.MFD_CLOEXEC:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            return create(name, flags)

        monkeypatch.setattr(os, "memfd_create", old)
        bucket = Bucket(10, 1)
        assert not os.get_inheritable(bucket._memory)
        bucket.close()


class TestTrouble:
    def test_no_journald(self, world: World) -> None:
        """Without one nothing is said, and the record of a run that had something to say says null."""
        assert told(0) == world.close(world.stream())
        stream = world.stream()
        stream.feed(b"x\n" * 100)
        assert not stream.waiting
        assert world.close(stream) is None

    def test_a_journald_that_does_not_read(self, world: World) -> None:
        """Nobody waits for it: a little is kept until it reads again, in order, and what is over that is counted."""
        sink, stream = world.listen(), world.stream()
        reading, writing = os.pipe2(os.O_CLOEXEC)
        poll = stream.watch(reading)
        line = b"x" * 900 + b"\n"
        for number in range(2000):
            stream.feed(b"%04d" % number + line)
        assert stream.waiting
        assert not ready(poll), "it is to be woken when journald reads, and not before"
        sink.take()
        assert ready(poll)
        settle(stream, sink)
        assert not ready(poll)
        numbers = [int(message[:4]) for message in sink.messages]
        assert list(range(len(numbers))) == numbers
        assert 0.7 * MEBI < sum(map(len, sink.messages)) < 1.4 * MEBI
        stream.feed(b"again\n")
        assert b"again" == sink.messages[-1]
        os.close(writing)
        stream.end(reading)
        os.close(reading)
        assert told(len(numbers) + 1, journald=2000 - len(numbers)) == world.close(stream)
        assert b"not taken by journald" in sink.notes[0]["MESSAGE"]

    def test_what_it_never_takes(self, world: World) -> None:
        """What still waits at the end is counted as lost."""
        sink, stream = world.listen(), world.stream()
        stream.feed(FLOOD)
        assert stream.waiting
        found, taken = world.close(stream), len(sink.messages)
        assert told(taken, all_runs=5000 - SHARE, journald=SHARE - taken) == found

    @pytest.mark.parametrize("full", [False, True])
    def test_a_journald_that_goes_and_comes_back(self, world: World, full: bool) -> None:
        """While it is gone lines are lost and counted; the next line after its return arrives."""
        sink, stream = world.listen(), world.stream()
        lines = 2000 if full else 1
        stream.feed(b"before\n" * lines)
        assert full == stream.waiting
        first = sink.messages
        sink.close()
        stream.feed(b"lost\n")
        stream.flush()
        assert not stream.waiting
        sink = world.listen()
        stream.feed(b"after\n")
        assert [b"after"] == sink.messages
        assert told(len(first) + 1, journald=lines - len(first) + 1) == world.close(stream)

    def test_one_that_is_replaced_unnoticed(self, world: World) -> None:
        """A new journald at the same place gets the next line."""
        sink, stream = world.listen(), world.stream()
        stream.feed(b"one\n")
        assert [b"one"] == sink.messages
        sink.close()
        sink = world.listen()
        stream.feed(b"two\n")
        assert [b"two"] == sink.messages
        assert told(2) == world.close(stream)

    def test_what_is_too_long_for_the_socket(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """A datagram that the socket refuses is lost and counted; the next line goes."""
        monkeypatch.setattr(journald, "_connect", small_buffer)
        sink, stream = world.listen(), world.stream()
        stream.feed(b"x" * 40_000 + b"\nshort\n")
        assert [b"short"] == sink.messages
        assert told(1, journald=1) == world.close(stream)

    def test_a_deep_directory(self, tmp_path: Path) -> None:
        """A path longer than a socket address may be is no trouble."""
        directory = tmp_path / ("d" * 60) / ("e" * 60)
        directory.mkdir(parents=True)
        world = World(directory)
        assert ([b"x"], told(1)) == world.said(b"x\n")
        world.stop()


def small_buffer(sender: socket.socket, path: str) -> None:
    """Connect a socket that takes short datagrams only."""
    sender.connect(path)
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)


def ready(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


class TestPump:
    """The stream behind a pipe."""

    @pytest.fixture
    def output(self, world: World, tmp_path: Path) -> OutputPump:
        """Output to both, with journald there; each test closes it."""
        world.listen()
        return OutputPump(str(tmp_path / "1.log"), 64 * MEBI, world.handed_over())

    def test_both(self, world: World, output: OutputPump, tmp_path: Path) -> None:
        """File and journal get the same."""
        os.write(output.writing, b"one\ntwo\nthr")
        assert ready(output.reading)
        output.pump()
        assert not ready(output.reading)
        os.write(output.writing, b"ee")
        output.started(1)
        while output.pump():
            assert ready(output.reading)
        found = shut(output)
        assert world.sink is not None
        assert [b"one", b"two", b"three"] == world.sink.messages
        assert b"one\ntwo\nthree" == (tmp_path / "1.log").read_bytes()
        assert (13, 0, told(3)) == (found["bytes"], found["dropped"], found["journal"])

    def test_the_end_waits_for_journald(self, world: World, output: OutputPump) -> None:
        """At the end of the output it is not the end until journald has taken all; nothing spins meanwhile."""
        os.write(output.writing, FLOOD)
        output.started(1)
        assert output.pump()
        assert output.pump(), "end of the pipe"
        assert not ready(output.reading)
        assert world.sink is not None
        while True:
            world.sink.take()
            if not output.pump():
                break
            world.sink.take()
            assert ready(output.reading)
        assert told(SHARE, all_runs=5000 - SHARE) == shut(output)["journal"]

    def test_what_is_left_goes_on(self, world: World, output: OutputPump) -> None:
        """Where processes outlive their run, the record tells what there was, and later lines arrive all the same."""
        os.write(output.writing, b"one\nhalf")
        left = os.dup(output.writing)
        output.started(1)
        output.pump()
        assert told(1) == output.report(over=False)["journal"]
        os.write(left, b" a line\nlast")
        os.close(left)
        while output.pump():
            pass
        assert output.ended
        output.shut()
        assert world.sink is not None
        assert [b"one", b"half a line", b"last"] == world.sink.messages

    def test_cut_short(self, world: World, output: OutputPump) -> None:
        """Closed before the end of the pipe, the last piece is sent all the same."""
        os.write(output.writing, b"no newline")
        output.started(1)
        output.pump()
        shut(output)
        assert world.sink is not None
        assert [b"no newline"] == world.sink.messages

    @pytest.mark.parametrize(
        ("file", "limit", "kept"),
        [
            ("1.log", MEBI, "all of the output is in FILE"), (None, MEBI, "the record contains the last 2,048 bytes"),
            ("1.log", 4, "all of the output is in FILE, but 20 bytes"),
        ],
    )  # fmt: skip
    def test_where_it_is_kept(self, world: World, tmp_path: Path, file: str | None, limit: int, kept: str) -> None:
        """The note on lines that were not sent says where they are, and what is nowhere."""
        sink, path = world.listen(), file and str(tmp_path / file)
        output = OutputPump(path, limit, world.handed_over(rate=1))
        os.write(output.writing, b"x\n" * 12)
        output.started(1)
        output.pump()
        shut(output)
        assert sink.notes[0]["MESSAGE"].decode().endswith(f"; {kept.replace('FILE', str(path))}")


class TestWhole:
    """A whole daemon, with a journald in its directory."""

    @pytest.fixture
    def listening(self, host: Host) -> Iterator[Sink]:
        """It reads all the time."""
        sink = Sink(host.root / "journal").reading()
        yield sink
        sink.close()

    @pytest.mark.parametrize("where", ["both", "file", "journal", "none"])
    def test_where_output_goes(self, host: Host, listening: Sink, where: str) -> None:
        """`output` says where it goes; the tail is in the record always."""
        host.write("job.yaml", f"jobs: {{work: {{command: 'echo hello; echo world >&2', output: {where}}}}}")
        host.start()
        record = host.wait(host.run("work"))
        file, journal = where in ("both", "file"), where in ("both", "journal")
        assert {
            "file": str(host.root / "logs/work/1.log") if file else None, "bytes": 12 if file else 0, "dropped": 0,
            "tail": "hello\nworld\n", "journal": told(2) if journal else None,
        } == record["output"]  # fmt: skip
        assert file == (host.root / "logs/work/1.log").exists()
        wait_for(lambda: len(listening.messages) == (2 if journal else 0), 10)
        pid = str(record["pid"]).encode()
        for entry in listening.entries:
            names = ("JOBQUEUE_JOB", "JOBQUEUE_RUN", "JOBQUEUE_ATTEMPT", "JOBQUEUE_PID", "SYSLOG_PID")
            assert (b"work", b"work@1", b"1", pid, pid) == tuple(entry[name] for name in names)

    def test_another_socket(self, host: Host) -> None:
        """`--journal` names the socket, so that what is below a root may use the host's."""
        sink = Sink(host.root / "elsewhere")
        host.write("job.yaml", "jobs: {work: {command: echo hello}}")
        host.start("--journal", str(sink.path))
        host.wait(host.run("work"))
        assert [b"hello"] == sink.messages
        sink.close()

    def test_the_rate(self, host: Host, listening: Sink) -> None:
        """`journal_rate` is kept, what is over it is in the file, counted, and said."""
        host.write("job.yaml", "jobs: {flood: {command: seq 100000, journal_rate: 3}}")
        host.start()
        record = host.wait(host.run("flood"))
        sent = record["output"]["journal"]["lines"]
        assert 30 <= sent <= 60
        assert told(sent, journal_rate=100_000 - sent) == record["output"]["journal"]
        wait_for(lambda: listening.notes, 10)
        note = listening.notes[0]["MESSAGE"].decode()
        assert note.endswith(f"(over its journal_rate); all of the output is in {record['output']['file']}")
        assert len(host.output("flood@1").splitlines()) == 100_000

    def test_a_dead_journald(self, host: Host) -> None:
        """One that takes nothing holds no run up: all of the output is in the file, and the loss in the record."""
        sink = Sink(host.root / "journal")
        host.write("job.yaml", "jobs: {flood: {command: seq 100000, journal_rate: 1000000}}")
        host.start()
        record = host.wait(host.run("flood"))
        journal = record["output"]["journal"]
        assert ("succeeded", 588_895) == (record["state"], record["output"]["bytes"])
        assert 100_000 == journal["lines"] + journal["dropped"]
        assert journal["lines"] == len(sink.messages) < 1000
        assert journal["why"]["journald"] > 0
        sink.close()

    @pytest.mark.usefixtures("listening")
    def test_the_budget_is_shared(self, host: Host) -> None:
        """Runs side by side, in supervisors of their own, keep the common limit; one that says little is heard."""
        chatty = "command: seq 20000, journal_rate: 1000000, output: journal"
        jobs = ", ".join(f"chatty-{number}: {{{chatty}}}" for number in range(6))
        host.write("job.yaml", f"jobs: {{{jobs}, quiet: {{command: echo hello}}}}")
        host.start()
        runs = [host.run(f"chatty-{number}") for number in range(6)]
        records = [host.wait(run) for run in runs]
        assert told(1) == host.wait(host.run("quiet"))["output"]["journal"]
        assert sum(record["output"]["journal"]["lines"] for record in records) <= 8_000
        assert all(record["output"]["journal"]["lines"] > 10 for record in records)
        assert all("all_runs" in record["output"]["journal"]["why"] for record in records)
