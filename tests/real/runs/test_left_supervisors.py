"""Supervisors that stay for processes that users' runs left: who is counted, and when no longer."""

from __future__ import annotations

import contextlib
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
