"""Launches of which nobody has told: sent or not, before or after somebody has emptied the directory of all R's.

The link is real, and so are the files; its launcher is the test.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobqueued.base.instants import SECOND
from jobqueued.child.contract import unix_socket, wire
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.core.records.record import begin
from jobqueued.daemon.loop import read_clocks
from jobqueued.host.log import Log
from jobqueued.model.commands import Launch
from jobqueued.model.events import Event, NeverStarted, RunLost, RunsEmptied
from jobqueued.model.job import Now
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.runs.emptying import Emptying
from jobqueued.runs.launcher_link import LauncherLink
from jobqueued.runs.launcher_news import LauncherNews
from jobqueued.runs.recovery import NO_DIRECTORY
from jobqueued.settings.paths import Paths
from tests.support.world import MIDNIGHT, job

ONE, TWO, THREE = (RunId("a", number) for number in (1, 2, 3))


class Place:
    """A link, and the directory of all R's."""

    def __init__(self, directory: Path) -> None:
        self.paths = Paths.under(directory)
        self.paths.runs.mkdir(parents=True)
        self.listener, self.callers = socket.socket(socket.AF_UNIX), list[socket.socket]()
        unix_socket.bind(self.listener, str(self.paths.launcher))
        self.listener.listen()
        self.link = LauncherLink(self.paths, self.paths.launcher, None)
        self.emptying = self.link.marks.emptying
        self.runs: dict[RunId, Run] = {}

    def launch(self, number: int) -> None:
        """A run is admitted, and its launch goes as far as it can."""
        run = Run(
            id=RunId("a", number), key=f"x{number}", due=MIDNIGHT, queued=MIDNIGHT, arrival=number,
            state=RunState.STARTING, attempt=1,
        )  # fmt: skip
        self.runs[run.id] = run
        self.link.launch(Launch(run, job("a"), begin(run, job("a"), HostLimits("host"))))
        self.link.flush()

    def taken(self) -> list[int]:
        """The runs whose launches have come to the launcher, which then dies."""
        with self.callers.pop() as caller:
            caller.setblocking(False)
            lines, said = b"", b"?"
            while said:
                try:
                    said = caller.recv(1 << 20)
                except BlockingIOError:
                    break
                lines += said
        launches = [line.split() for line in lines.split(b"\n")[:-1] if line.startswith(b"launch ")]
        return [int(name.decode().partition("@")[2].removesuffix(".1")) for _verb, name, *_spec in launches]

    def verdicts(self, *early: int) -> Iterator[Event]:
        """A new launcher answers, which has nothing, when these runs were admitted since it was called."""
        connection = self.link.call()
        self.callers.append(self.listener.accept()[0])
        for number in early:
            self.launch(number)
        self.callers[-1].sendall(f"hello {wire.VERSION} 1 -\n".encode())
        assert [] == list(self.link.read(connection.fileno()) or ())
        return self.link.recover(self.runs, lambda _run: False, same_boot=True)

    def answer(self, *early: int) -> list[Event]:
        """All of them."""
        return list(self.verdicts(*early))

    def empty(self) -> None:
        """Somebody removes all that is there."""
        for path in self.paths.runs.iterdir():
            path.unlink()

    def dead(self) -> list[Event]:
        """The ends of those that recoveries took for dead, as nothing of them lives."""
        lost = self.link.lost_attempts._lost
        ends: list[Event] = [it.dead.over(name, self.link.marks) for name, it in lost.items()]
        lost.clear()
        return ends

    def close(self) -> None:
        """Hang up."""
        self.link.close()
        for each in (self.listener, *self.callers):
            each.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """The first launcher of a boot has answered, and all is saved."""
    place = Place(tmp_path)
    assert [RunsEmptied()] == place.answer()
    place.emptying.settle()
    yield place
    place.close()


def test_what_no_launcher_was_sent_has_not_started(place: Place) -> None:
    """Even where somebody has removed all R's meanwhile; of what one was sent nobody can tell that, and it is lost."""
    place.launch(1)
    place.link.close()
    place.launch(2)
    place.empty()
    assert [RunsEmptied(), NeverStarted(TWO, 1), NeverStarted(THREE, 1)] == place.answer(3)
    assert ([RunLost(ONE, 1, NO_DIRECTORY)], None) == (place.dead(), place.link.overdue)
    place.launch(2)
    place.empty()
    place.runs = {TWO: place.runs[TWO]}
    assert ([RunsEmptied()], [RunLost(TWO, 1, NO_DIRECTORY)]) == (place.answer(), place.dead())


def test_what_a_launcher_did_not_take(place: Place) -> None:
    """What it had no room for, or was gone before, is as what was sent to none; half a launch is none."""
    for number in range(1, 1500):
        place.launch(number)
    taken = place.taken()
    place.launch(1500)
    place.empty()
    emptied, *never = place.answer()
    assert (RunsEmptied(), [RunLost(RunId("a", number), 1, NO_DIRECTORY) for number in taken]) == (
        emptied,
        place.dead(),
    )
    assert [NeverStarted(RunId("a", number), 1) for number in range(len(taken) + 1, 1501)] == never
    assert len(taken) > 10 < len(never)


def test_a_run_that_is_sent_after_all_is_in_doubt_as_any(place: Place) -> None:
    """A recovery that was cut short has told that it never started; the next does not, as it may have begun since."""
    assert NeverStarted(ONE, 1) == next(place.verdicts(1))
    place.launch(1)
    assert [1] == place.taken()
    place.empty()
    assert ([RunsEmptied()], [RunLost(ONE, 1, NO_DIRECTORY)]) == (place.answer(), place.dead())


def test_until_it_is_saved_what_is_in_doubt(place: Place) -> None:
    """This scheduler knows it, and what was launched since is not; the next one, which does not, doubts all."""
    place.empty()
    assert [RunsEmptied()] == place.link.emptied()
    place.launch(1)
    assert ([], [NeverStarted(ONE, 1)]) == (place.answer(), place.dead())
    assert None is Emptying(str(place.paths.runs)).count
    place.emptying.settle()
    assert 0 == Emptying(str(place.paths.runs)).count


def test_emptied_again_before_that_was_saved(place: Place) -> None:
    """All that was launched until now is in doubt, too, though the commit knows nothing of that."""
    place.empty()
    assert [RunsEmptied()] == place.link.emptied()
    place.launch(1)
    place.empty()
    place.emptying.settle()
    assert ([RunsEmptied()], [RunLost(ONE, 1, NO_DIRECTORY)]) == (place.answer(), place.dead())
    place.emptying.settle()
    assert [] == place.link.emptied() == place.answer()


def test_emptied_between_two_looks(place: Place) -> None:
    """What seemed never to have started may have, if the directory was being emptied while that was found."""
    place.launch(1)
    assert [] == place.answer()
    place.empty()
    assert [RunsEmptied()] == place.link.emptied()
    place.emptying.settle()
    assert [RunLost(ONE, 1, NO_DIRECTORY)] == place.dead()


@pytest.mark.parametrize("call", ["open", "rename"])
def test_what_can_not_be_noted(place: Place, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """It is tried again, with all that is in doubt by then; as long as it is not, no other scheduler believes it."""

    def fails(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    news = LauncherNews(place.link, lambda: [], Log("json"))
    place.empty()
    with monkeypatch.context() as read_only:
        read_only.setattr(os, call, fails)
        assert [RunsEmptied()] * (call == "rename") == place.link.emptied()
        if call == "rename":
            place.emptying.settle()
    assert news.deadline is not None
    assert 0 < news.deadline - read_clocks().mono <= 10 * SECOND
    monkeypatch.setattr("time.monotonic_ns", lambda at=news.deadline: at)
    assert [RunsEmptied()] == news.turn(Now(MIDNIGHT, news.deadline))
    assert None is Emptying(str(place.paths.runs)).count
    place.emptying.settle()
    assert (0, None, []) == (Emptying(str(place.paths.runs)).count, news.deadline, news.turn(read_clocks()))
