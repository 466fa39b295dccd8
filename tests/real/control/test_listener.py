"""The control socket at its path, whatever becomes of the path, the directory, and the descriptors."""

from __future__ import annotations

import errno
import os
import select
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobqueued.base.instants import MINUTE, SECOND
from jobqueued.child.contract import unix_socket
from jobqueued.child.watcher import inotify
from jobqueued.control import listener as module
from jobqueued.control.listener import AGAIN, Listener
from jobqueued.control.protocol.entrance import admit_everybody
from jobqueued.host.log import Log


class Said(Log):
    """The events that were said."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def say(self, event: str, **fields: Any) -> None:
        self.events.append(event)


@pytest.fixture
def said() -> Said:
    """What the listeners of a test say."""
    return Said()


@pytest.fixture
def listener(tmp_path: Path, said: Said) -> Iterator[Listener]:
    """One at run/control."""
    made = Listener(
        {tmp_path / "run" / "control": admit_everybody}, lambda: (tmp_path / "run").mkdir(exist_ok=True), said
    )
    made.look(0)
    said.events.clear()
    yield made
    made.close()


def told(listener: Listener) -> list[int]:
    """The descriptors that poll(2) tells of now."""
    poll = select.poll()
    for number, bits in listener.descriptors(accepts=True).items():
        poll.register(number, bits)
    return [number for number, _ in poll.poll(0)]


def is_heard(listener: Listener, path: Path, mono: int = 0) -> bool:
    """Whether who connects to the path is accepted."""
    for number in told(listener):
        listener.accept(number, mono)
    with socket.socket(socket.AF_UNIX) as client:
        try:
            unix_socket.connect(client, str(path))
        except OSError:
            return False
        found = [listener.accept(number, mono) for number in told(listener)]
        for connection in found:
            if connection is not None:
                connection.close()
        return any(connection is not None for connection in found)


GONE: list[Callable[[Path], object]] = [
    lambda run: (run / "control").unlink(),
    lambda run: (run / "control").rename(run / "elsewhere"),
    lambda run: ((run / "x").touch(), (run / "x").rename(run / "control")),
    shutil.rmtree,
    lambda run: (shutil.rmtree(run), run.mkdir()),
    lambda run: (run.rename(run.parent / "old"), run.mkdir()),
]


@pytest.mark.parametrize("take_away", GONE)
def test_it_comes_back(listener: Listener, tmp_path: Path, said: Said, take_away: Callable[[Path], object]) -> None:
    """Removed, renamed or replaced, alone or with its directory: inotify tells, and it is there again, each time."""
    for _ in range(2):
        assert is_heard(listener, tmp_path / "run" / "control")
        take_away(tmp_path / "run")
        assert told(listener)
        assert is_heard(listener, tmp_path / "run" / "control")
        assert ["recovered"] == said.events
        said.events.clear()
        shutil.rmtree(tmp_path / "old", ignore_errors=True)


def test_others_come_and_go_beside_it(listener: Listener, tmp_path: Path, said: Said) -> None:
    """What else happens in its directory is no reason to listen anew."""
    (tmp_path / "run" / "x").touch()
    (tmp_path / "run" / "x").unlink()
    assert is_heard(listener, tmp_path / "run" / "control")
    assert [] == said.events


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EIO, errno.EMFILE, errno.ENOMEM, errno.EACCES])
def test_it_is_tried_again_while_it_can_not_be_made(
    tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """At a start too: said once, by a deadline, and once more when it is there."""

    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "control"
    with monkeypatch.context() as patch:
        patch.setattr(unix_socket, "bind", fails)
        listener = Listener({path: admit_everybody}, lambda: None, said)
        listener.look(SECOND)
        assert (["trouble"], SECOND + AGAIN, []) == (said.events, listener.deadline, told(listener))
    listener.look(SECOND + AGAIN)
    assert (["trouble", "recovered"], None) == (said.events, listener.deadline)
    assert is_heard(listener, path)
    listener.close()


def test_one_that_can_not_be_made_leaves_the_others(tmp_path: Path, said: Said) -> None:
    """Whatever is wrong with one socket, callers of the others get in; it is tried again, and said once more."""
    path, errors = tmp_path / "operators", [errno.EPERM] * 3

    def refuses(_: Path) -> str:
        if errors:
            raise OSError(errors[-1], os.strerror(errors.pop()))
        return ""

    listener = Listener({path: refuses, tmp_path / "control": admit_everybody}, lambda: None, said)
    for mono in (0, AGAIN, 2 * AGAIN):
        assert [False, True] == [is_heard(listener, it, mono) for it in (path, tmp_path / "control")]
        listener.look(mono)
        assert not (errors and told(listener)), "our own work on the socket is news"
    assert (["trouble", "recovered"], None) == (said.events, listener.deadline)
    assert is_heard(listener, path)
    listener.close()


def test_without_inotify_it_is_looked_at_every_minute(
    tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel gives a user so many watches and instances only."""

    def none_left(*_: object) -> int:
        raise OSError(errno.ENOSPC, "inotify_add_watch: No space left on device")

    monkeypatch.setattr(inotify, "watch", none_left)
    path = tmp_path / "control"
    listener = Listener({path: admit_everybody}, lambda: None, said)
    path.unlink()
    listener.look(MINUTE)
    assert (["recovered"], 2 * MINUTE) == (said.events, listener.deadline)
    listener.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_who_can_not_be_accepted_does_not_keep_the_loop_busy(
    listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Where there is no descriptor nobody is looked at for a second; then those who wait are accepted."""

    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with socket.socket(socket.AF_UNIX) as client:
        unix_socket.connect(client, str(tmp_path / "run" / "control"))
        with monkeypatch.context() as patch:
            patch.setattr(socket.socket, "accept", fails)
            assert [None] == [listener.accept(descriptor, 7) for descriptor in told(listener)]
        assert ([], 7 + SECOND) == (told(listener), listener.deadline)
        listener.look(7 + SECOND)
        assert (1, None) == (len(told(listener)), listener.deadline)


def test_the_last_descriptors_are_for_the_loop(
    listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who would take one of them is hung up on, at once."""
    monkeypatch.setattr(module, "is_spare", lambda _: False)
    with socket.socket(socket.AF_UNIX) as client:
        unix_socket.connect(client, str(tmp_path / "run" / "control"))
        assert [None] == [listener.accept(descriptor, 0) for descriptor in told(listener)]
        assert b"" == client.recv(1)
