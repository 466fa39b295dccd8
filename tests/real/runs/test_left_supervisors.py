"""Supervisors that stay for processes that users' runs left: who is counted, and when no longer."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from pathlib import Path

import pytest

from jobqueued.child.contract import unix_socket, wire
from jobqueued.model.events import LeftBehind
from jobqueued.model.run import RunId
from jobqueued.runs.left_supervisors import LeftSupervisors
from jobqueued.runs.run_directory import Name, RunDirectory
from jobqueued.state import record_files


def name_of(job: str) -> Name:
    """The first attempt of a job's first run."""
    return Name(RunId(job, 1), 1)


@contextlib.contextmanager
def supervisor(place: Path, job: str):  # type: ignore[no-untyped-def]
    """One that listens next to R."""
    path = place / f"{name_of(job)}{wire.LEFT}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        unix_socket.bind(listener, str(path))
        listener.listen()
        yield listener
    path.unlink()


def test_those_of_users_count_until_they_exit(tmp_path: Path) -> None:
    """The host's runs don't; an exit counts once, whether its connection tells it or the next search."""
    logs = tmp_path / "logs"
    output = record_files.output_of(logs, name_of("alice/a").run)
    output.parent.mkdir(parents=True)
    output.write_text("12345")
    left = LeftSupervisors(RunDirectory(tmp_path, logs))
    first, second = (LeftBehind(*name_of(job)) for job in ("alice/a", "crontabs/bob:1"))
    with supervisor(tmp_path, "host"), supervisor(tmp_path, "crontabs/bob:1"):
        with supervisor(tmp_path, "alice/a") as listener:
            assert [first, second] == list(left.find())
            assert [] == list(left.look(name_of("alice/a"))) == list(left.look(name_of("host")))
            connection, _ = listener.accept()
            connection.send(b"live\n")
            one = left.descriptors()[0]
            assert [] == list(left.read(one)) == list(left.read(one))
        connection.close()
        assert [first._replace(over=True, output=5)] == list(left.read(one))
        assert (False, 1) == (one in left, len(left.descriptors()))
        left.close()
    assert [second._replace(over=True)] == list(left.find())
    assert [] == list(left.find())


def test_what_can_not_be_found_out_is_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a free descriptor, `look` raises, so that the run stays live until the next check."""
    left = LeftSupervisors(RunDirectory(tmp_path, tmp_path))

    def full(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(unix_socket, "connected", full)
    with pytest.raises(OSError):  # noqa: PT011
        list(left.look(name_of("alice/a")))


UNKNOWN = [errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM]


def fail(monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """Let each connection fail with this errno."""

    def refuse(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(unix_socket, "connected", refuse)


@pytest.mark.parametrize("error", UNKNOWN)
def test_a_search_that_can_not_find_out_counts(tmp_path: Path, error: int) -> None:
    """A supervisor counts until it is certain that it exited, also one that never answered a search."""
    left = LeftSupervisors(RunDirectory(tmp_path, tmp_path))
    counted = [LeftBehind(*name_of(job)) for job in ("alice/a", "bob/b")]
    with supervisor(tmp_path, "alice/a"):
        assert counted[:1] == list(left.find())
        with supervisor(tmp_path, "bob/b"), supervisor(tmp_path, "host"), pytest.MonkeyPatch.context() as patch:
            fail(patch, error)
            assert counted == list(left.find())
            at = left.deadline
            assert at is not None
            assert [] == list(left.recheck(at - 1))
            assert counted == list(left.recheck(at))
            assert [] == list(left.look(name_of("bob/b")))
        assert left.deadline is not None
        assert [counted[0], counted[1]._replace(over=True)] == list(left.recheck(left.deadline))
        assert (None, 1) == (left.deadline, len(left.descriptors()))
    left.close()


def test_a_directory_that_can_not_be_listed_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a free descriptor the search fails, and the connections stay."""
    left = LeftSupervisors(RunDirectory(tmp_path, tmp_path))
    with supervisor(tmp_path, "alice/a"):
        list(left.find())

        def refuse(_: object) -> None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        with monkeypatch.context() as patch:
            patch.setattr(os, "listdir", refuse)
            with pytest.raises(OSError, match="Too many open files"):
                list(left.find())
        assert 1 == len(left.descriptors())
        left.close()


@pytest.mark.parametrize("error", UNKNOWN)
def test_a_list_has_what_may_be_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """A socket is removed, and its run omitted, only if certainly nothing listens there."""
    directory = RunDirectory(tmp_path, tmp_path)
    with supervisor(tmp_path, "a"), monkeypatch.context() as patch:
        fail(patch, error)
        assert [name_of("a")] == directory.left(tidy=True) == directory.beside()


def test_a_crowded_supervisor_is_left(tmp_path: Path) -> None:
    """One that hangs accepts nobody, so its backlog fills."""
    directory = RunDirectory(tmp_path, tmp_path)
    with supervisor(tmp_path, "alice/a") as listener, contextlib.ExitStack() as stack:
        listener.listen(0)
        with contextlib.suppress(BlockingIOError):
            while (waiting := directory.follow_left(name_of("alice/a"))) is not None:
                stack.enter_context(waiting)
        assert [name_of("alice/a")] == directory.left()
        left = LeftSupervisors(directory)
        assert [LeftBehind(*name_of("alice/a"))] == list(left.find())
