"""The loop's sleep: it ends when a source has something, and not before; one more source needs no edit of the loop."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator

import pytest

from jobqueued.base.instants import SECOND
from jobqueued.daemon.loop import Loop, read_clocks
from jobqueued.model.accounts import Account
from jobqueued.model.events import AccountKnown, Event, Reloaded, Woke
from jobqueued.model.job import Now
from jobqueued.model.source import Source

HOUR = 3600 * SECOND


def known(name: str) -> AccountKnown:
    """An event that is told from others by a name."""
    return AccountKnown(Account("user", name), "")


class Pipe(Source):
    """Tells each byte that comes through a pipe."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()

    def descriptors(self) -> dict[int, int]:
        return {self.reading: select.POLLIN}

    def ready(self, descriptor: int, now: Now) -> list[Event]:
        return [known(os.read(descriptor, 1).decode())]


class Alarm(Source):
    """Tells that its time has come, `times` times."""

    def __init__(self, at: int | None, times: int = 1) -> None:
        self.at, self.times = at, times

    @property
    def deadline(self) -> int | None:
        return self.at

    def turn(self, now: Now) -> Iterator[Event]:
        assert self.at is not None
        assert self.at <= now.mono
        self.times -= 1
        self.at = self.at if self.times else None
        yield Reloaded()


class Slices(Source):
    """Has something to tell at once, slice by slice."""

    def __init__(self, *slices: str) -> None:
        self.slices = list(slices)

    @property
    def has_more(self) -> bool:
        return bool(self.slices)

    def turn(self, now: Now) -> list[Event]:
        return [known(self.slices.pop(0))]


def never(_now: Now) -> None:
    """A scheduler with nothing to do."""


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe, closed afterwards."""
    pipe = Pipe()
    yield pipe
    os.close(pipe.reading)
    os.close(pipe.writing)


def waited(loop: Loop, *happened: Event) -> list[Event]:
    """What has happened after one sleep."""
    events = list(happened)
    loop.wait(events)
    return events


def test_a_descriptor_ends_the_sleep(pipe: Pipe) -> None:
    """Only the source whose descriptor it is is asked."""
    os.write(pipe.writing, b"x")
    far = Alarm(read_clocks().mono + HOUR)
    assert [known("x")] == waited(Loop((far, pipe), never))
    assert 1 == far.times


def test_a_deadline_ends_the_sleep(pipe: Pipe) -> None:
    """The soonest of all; the others wait on."""
    soon, far = Alarm(read_clocks().mono + SECOND // 50), Alarm(read_clocks().mono + HOUR)
    assert [Reloaded()] == waited(Loop((far, pipe, soon), never))
    assert (0, 1) == (soon.times, far.times)


def test_the_wakeup_of_the_scheduler_ends_the_sleep() -> None:
    """It is an instant on the wall, and told as Woke."""
    at = read_clocks().wall + SECOND // 50
    assert [Woke()] == waited(Loop((), lambda _: at))


def test_no_sleep_while_there_is_more(pipe: Pipe) -> None:
    """One slice a turn, and what else is ready meanwhile comes first; nothing that is far off is waited for."""
    os.write(pipe.writing, b"x")
    slices = Slices("1", "2")
    loop = Loop((slices, pipe, Alarm(read_clocks().mono + HOUR)), never)
    assert [known("x"), known("1")] == waited(loop)
    assert [known("2")] == waited(loop)
    assert not slices.has_more


def test_no_sleep_on_what_has_happened() -> None:
    """What waits to be decided is not kept waiting, and what comes is added to it."""
    assert [Woke(), known("1")] == waited(Loop((Slices("1"),), never), Woke())
    assert [Woke()] == waited(Loop((), never), Woke())


def test_a_descriptor_that_another_source_has_closed(pipe: Pipe) -> None:
    """Both were ready: the loop asks the second all the same, which looks for itself."""

    class Closing(Pipe):
        def ready(self, descriptor: int, now: Now) -> list[Event]:
            other.gone = True
            return super().ready(descriptor, now)

    class Careful(Source):
        gone = False

        def descriptors(self) -> dict[int, int]:
            return {pipe.reading: select.POLLIN}

        def ready(self, descriptor: int, now: Now) -> list[Event]:
            return [AccountKnown(Account("user", "gone") if self.gone else "there", "")]

    first, other = Closing(), Careful()
    for each in (first, pipe):
        os.write(each.writing, b"x")
    assert [known("x"), known("gone")] == waited(Loop((first, other), never))
    os.close(first.reading)
    os.close(first.writing)
