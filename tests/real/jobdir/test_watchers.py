"""Watchers of users on the launcher's side: what they say is a user's word, and how much of it is heard is bounded."""

from __future__ import annotations

import array
import contextlib
import os
import select
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobqueued.child.watchers import BURST, BURST_OF_ALL, EVERY, EVERY_OF_ALL, LONGEST_WAIT, STARTING, Watchers
from jobqueued.child.worker import Worker
from tests.support.host import wait_for

NOW = 1000.0


class Site:
    """A launcher's watchers: processes of ours that do nothing, and whose ends of the sockets are in `theirs`."""

    def __init__(self) -> None:
        self.poll = select.poll()
        self.watchers = Watchers(self.poll)
        self.theirs: dict[int, socket.socket] = {}
        self.pids: dict[int, int] = {}

    def order(self, number: int, uid: int | None = None) -> None:
        """As the scheduler does."""
        self.watchers.obey(f"watch {number} {number if uid is None else uid} {{}}")

    def begin(self, number: int, uid: int | None = None, now: float = NOW) -> socket.socket:
        """Order one, and have it."""
        self.order(number, uid)
        return self.staff(number, now)

    def staff(self, number: int, now: float = NOW) -> socket.socket:
        """Give the first that waits a process."""
        assert self.watchers.want(now)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        theirs.setblocking(False)
        self.pids[number] = os.fork()
        if not self.pids[number]:
            os.closerange(3, 1 << 16)
            signal.pause()
            os._exit(1)
        self.watchers.hand_over(Worker(self.pids[number], ours), now)
        assert b"watch" == theirs.recv(100)
        self.theirs[number] = theirs
        return theirs

    def hear(self, now: float = NOW) -> list[str]:
        """All that is heard at this time."""
        self.watchers.rest(now)
        found = list[str]()
        while self.poll.poll(0):
            found += self.watchers.hear(now)
        return found

    def reap(self, number: int) -> str | None:
        """Reap one that has to have ended."""
        pid = self.pids.pop(number)
        ended = lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # noqa: E731
        wait_for(lambda: self.hear() or ended(), why="it has ended")
        assert (pid, signal.SIGKILL) == os.waitpid(pid, 0)
        return self.watchers.reap(pid)


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    for pid in site.pids.values():
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def flood(theirs: socket.socket, word: bytes = b"0 - /x") -> int:
    """Say it until the socket takes no more; how often that was."""
    said = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            theirs.send(word)
            said += 1
    return said


WORDS = {
    b"0 - /srv/in/a.csv": 'appeared 7 0 - "/srv/in/a.csv"',
    b"12 1700000000000000000 /a": 'appeared 7 12 1700000000000000000 "/a"',
    b"0 - /a\nunwatched 8": 'appeared 7 0 - "/a\\nunwatched 8"',
    b"0 - /\xff": 'appeared 7 0 - "/\\udcff"',
    b"! 3 13": "unnoticed 7 3 13",
    b"! - 0": "unnoticed 7 - 0",
}
NONSENSE = (
    b"unwatched 8", b"appeared 8 0 - \"/x\"", b"0 - x", b"-1 - /x", b"0 -5 /x", b"0 - /x\0y", b"123456 - /x",
    b"! - 13 x", b"0 " + b"9" * 20 + b" /x", b"0 - /" + b"x" * 4900, b"x" * 20_000, b"\n", b"! 0 9999", b"! 0 -1",
    b"0  /x",
)  # fmt: skip


@pytest.mark.parametrize(("word", "told"), WORDS.items())
def test_a_word(site: Site, word: bytes, told: str) -> None:
    """It stands behind the number that the scheduler gave, in one line."""
    site.begin(7, 1000).send(word)
    assert [told] == site.hear()


@pytest.mark.parametrize("word", NONSENSE)
def test_nonsense(site: Site, word: bytes) -> None:
    """It is dropped, and what makes sense behind it is heard."""
    theirs = site.begin(7, 1000)
    theirs.send(word)
    theirs.send(b"! - 0")
    assert ["unnoticed 7 - 0"] == site.hear()


def test_descriptors_that_come_with_a_word(site: Site) -> None:
    """They are nowhere here."""
    theirs = site.begin(7, 1000)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        theirs.sendmsg([b"! - 0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
    assert 5 == len(site.hear())
    assert before == len(os.listdir("/proc/self/fd"))


def test_who_says_too_much(site: Site) -> None:
    """So many words are heard at once, then one in a while; the rest waits with its watcher, and keeps nobody busy."""
    loud, calm = site.begin(1), site.begin(2)
    assert flood(loud) > 3 * BURST
    assert BURST == len(site.hear())
    calm.send(b"! - 0")
    assert ["unnoticed 2 - 0"] == site.hear()
    assert [pytest.approx(EVERY)] == site.watchers.rest(NOW)
    for turn in range(1, 5):
        assert 1 == len(site.hear(NOW + turn * EVERY))
    assert BURST == len(site.hear(NOW + 100))


def test_many_who_say_too_much(site: Site) -> None:
    """All together are heard so often at once, then so often, each in its turn; none is forgotten."""
    for number in range(12):
        flood(site.begin(number, now=NOW - LONGEST_WAIT * (12 - number)))
    heard = site.hear()
    assert BURST_OF_ALL == len(heard)
    assert {str(number) for number in range(12)} == {word.split()[1] for word in heard}
    assert [] == site.poll.poll(0)
    assert [pytest.approx(EVERY_OF_ALL)] == site.watchers.rest(NOW)
    assert 1 == len(site.hear(NOW + EVERY_OF_ALL))


def test_one_process_a_user(site: Site) -> None:
    """Another order ends the watcher before, and is carried out once that is reaped, however long it takes."""
    site.begin(1, uid=1000)
    site.order(2, uid=1000)
    site.order(3, uid=1000)
    assert not site.watchers.want(NOW + 2 * LONGEST_WAIT)
    assert "" == site.reap(1)
    site.staff(3).send(b"! - 0")
    assert ["unnoticed 3 - 0"] == site.hear()
    assert not site.watchers.want(NOW)


@pytest.mark.parametrize("how", ["hangs up", "says nothing", "is killed", "is not wanted"])
def test_its_end(site: Site, how: str) -> None:
    """Who hangs up is ended, though it might go on; the scheduler is told by its number."""
    theirs = site.begin(1, uid=1000)
    match how:
        case "hangs up":
            theirs.close()
        case "says nothing":
            theirs.send(b"")
        case "is killed":
            os.kill(site.pids[1], signal.SIGKILL)
        case "is not wanted":
            site.watchers.obey("unwatch 1")
    site.hear()
    assert ("unwatched 1", None) == (site.reap(1), site.watchers.reap(os.getpid()))
    assert (set(), []) == (site.watchers.pids, site.watchers.rest(NOW))
    site.begin(2, uid=1000)


def test_who_is_silent_keeps_others_waiting_for_a_while_only(site: Site) -> None:
    """A user may stop the own watcher before it has said a word, or let it hang."""
    for number in range(STARTING):
        site.begin(number)
    site.order(STARTING)
    assert (False, [LONGEST_WAIT]) == (site.watchers.want(NOW), site.watchers.rest(NOW))
    site.theirs[0].send(b"! - 0")
    site.hear()
    site.staff(STARTING)
    site.order(STARTING + 1)
    assert (False, True) == (site.watchers.want(NOW), site.watchers.want(NOW + LONGEST_WAIT))


def test_nobody_hears(site: Site) -> None:
    """Without a scheduler there are no watchers, and no orders."""
    site.begin(1)
    site.order(2)
    site.watchers.clear()
    assert ("unwatched 1", False) == (site.reap(1), site.watchers.want(NOW))


def process_state(pid: int) -> str:
    """As /proc has it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def test_stops_wake_nobody(site: Site) -> None:
    """That a watcher stops and goes on, which its user could have it do all day, is not told; its end is."""
    reading, writing = os.pipe2(os.O_NONBLOCK)
    before = signal.signal(signal.SIGCHLD, lambda *_: None)
    wakeup = signal.set_wakeup_fd(writing)
    try:
        site.watchers = Watchers(site.poll)
        site.begin(1)
        for number in (signal.SIGSTOP, signal.SIGCONT):
            os.kill(site.pids[1], number)
            state = "T" if number == signal.SIGSTOP else "S"
            wait_for(lambda state=state: state == process_state(site.pids[1]), why=state)
        assert [] == select.select([reading], [], [], 0)[0]
        os.kill(site.pids[1], signal.SIGKILL)
        assert [reading] == select.select([reading], [], [], 30)[0]
    finally:
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGCHLD, before)
        os.close(reading)
        os.close(writing)
