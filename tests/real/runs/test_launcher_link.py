"""The link to the launcher, where there is one that can't be reached: it never waits, and never starts another."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobqueued.base.instants import SECOND
from jobqueued.child.contract import atomic_file, unix_socket
from jobqueued.daemon.loop import read_clocks
from jobqueued.host.log import Log
from jobqueued.model.events import RunEnded, RunLost
from jobqueued.model.run import RunId
from jobqueued.runs import launcher_news
from jobqueued.runs.launcher_link import LauncherError, LauncherLink
from jobqueued.runs.launcher_news import LauncherNews
from jobqueued.runs.run_directory import Name
from jobqueued.settings.paths import Paths
from tests.support.records import a_record


@pytest.fixture
def hung(tmp_path: Path) -> Iterator[Path]:
    """The socket of a launcher that does not accept, and whose queue is full."""
    path = tmp_path / "run" / "launcher"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        unix_socket.bind(listener, str(path))
        listener.listen(0)
        unix_socket.connect(waiting, str(path))
        yield path


def test_a_launcher_whose_queue_is_full(hung: Path, tmp_path: Path) -> None:
    """It may be stopped: the call fails at once, its socket stays, and no other launcher is started."""
    link = LauncherLink(Paths.under(tmp_path), hung, Path("/no-such-launcher"))
    place = hung.stat().st_ino
    with pytest.raises(LauncherError, match=f"cannot reach the launcher at {hung}: Resource temporarily unavailable"):
        link.call()
    assert place == hung.stat().st_ino


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_no_descriptor_to_reach_it(hung: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """It is tried again later: the loop goes on."""

    def none_left(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "socket", none_left)
    link = LauncherLink(Paths.under(tmp_path), hung, Path("/no-such-launcher"))
    with pytest.raises(LauncherError, match=os.strerror(number)):
        link.call()


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EIO])
def test_no_room_for_its_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """One of our own that can't be started is a LauncherError, which is told, and tried again."""

    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / "run").mkdir()
    monkeypatch.setattr(unix_socket, "bind", fails)
    link = LauncherLink(Paths.under(tmp_path), tmp_path / "run" / "launcher", Path("/no-such-launcher"))
    with pytest.raises(LauncherError, match=os.strerror(number)):
        link.call()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
@pytest.mark.parametrize("state", ["succeeded", None])
def test_no_descriptor_to_read_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, state: str | None
) -> None:
    """An attempt whose supervisor is dead has its true end, by its record if there is one, once that can be read."""
    name, paths = Name(RunId("job", 1), 1), Paths.under(tmp_path)
    link = LauncherLink(paths, paths.launcher)
    (paths.runs / str(name)).mkdir(parents=True)
    (paths.runs / str(name) / "spawning").touch()
    (paths.runs / str(name) / "lost").write_text("9")
    if state is not None:
        record = a_record(1, state, "job")
        (paths.logs / "job").mkdir(parents=True)
        (paths.logs / "job" / "1.json").write_text(json.dumps(record))

    def none_left(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as short:
        short.setattr(atomic_file, "content", none_left)
        assert [] == list(link._hear([b"lost job@1.1 9"]))
    assert [f"cannot check whether {name} lives"] == [text.partition(" (")[0] for text in link.following.news()]
    over = [event for event in link.following.look(1 << 62) if isinstance(event, RunEnded | RunLost)]
    assert [RunLost if state is None else RunEnded] == [*map(type, over)]


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE, errno.ECONNRESET])
def test_a_stop_that_can_not_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """It is not lost in silence: who asked can ask again; one that has just ended needs no word."""

    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    link = LauncherLink(Paths.under(tmp_path), tmp_path / "none", None)
    monkeypatch.setattr(link.marks, "follow", fails)
    why = f"cannot stop a@1.2: {os.strerror(number)}; to retry: jobqueuectl stop a@1"
    assert ("" if number == errno.ECONNRESET else why) == link.stop(Name(RunId("a", 1), 2), "stopped by root")


def test_a_run_directory_that_can_not_be_read(tmp_path: Path) -> None:
    """A recovery that fails is told, and all of it is done anew with the next call."""

    class Said(Log):
        def __init__(self) -> None:
            self.texts: list[str] = []

        def say(self, event: str, **fields: Any) -> None:
            self.texts.append(fields["text"])

    def recover() -> Iterator[Any]:
        yield from ()
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), "/run/x")

    log = Said()
    news = LauncherNews(LauncherLink(Paths.under(tmp_path), tmp_path / "none", None), recover, log)
    before = read_clocks().mono
    assert [] == list(news._recovered())
    assert ["/run/x: No such file or directory; the next search for live runs is in 10 s"] == log.texts
    assert news.deadline is not None
    assert launcher_news._CALL_AGAIN == 10 * SECOND <= news.deadline - before
