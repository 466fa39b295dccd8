"""Who can connect to the socket of root and operators: the kernel decides, by its access control list."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobqueued.control.protocol import entrance
from jobqueued.control.protocol.entrance import admit_operators
from jobqueued.control.protocol.peers import Access
from tests.support.stranger import as_user, public
from tests.support.users import NEEDS_ROOT

OPERATORS, MORE, NOTIFIER, USER = 61_001, 61_002, 61_003, 61_004
ACCESS = Access(frozenset({OPERATORS, MORE}), frozenset(), NOTIFIER)


@pytest.fixture
def door() -> Iterator[Path]:
    """A socket that listens."""
    with public() as directory, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "operators"))
        listener.listen(64)
        yield directory / "operators"


def gets_in(door: Path, uid: int, *groups: int) -> bool:
    """Whether a process of this user, in these groups, can connect."""

    def tried() -> bool:
        with socket.socket(socket.AF_UNIX) as peer:
            return peer.connect_ex(str(door)) == 0

    return bool(as_user(uid, tried, *groups))


@NEEDS_ROOT
def test_operators(door: Path) -> None:
    """Root and members of the groups do, whichever of their groups it is; others and the notifier do not."""
    assert admit_operators(door, ACCESS) == ""
    assert [True] * 4 == [gets_in(door, *who) for who in ((0,), (USER, OPERATORS), (USER, MORE), (USER, 9, MORE))]
    assert [False] * 3 == [gets_in(door, *who) for who in ((USER,), (USER, 9), (NOTIFIER, NOTIFIER, OPERATORS))]


@NEEDS_ROOT
def test_without_operators(door: Path) -> None:
    """Only root does."""
    assert admit_operators(door, Access(frozenset(), frozenset(), NOTIFIER)) == ""
    assert [True, False] == [gets_in(door, 0), gets_in(door, USER, OPERATORS)]
    assert stat.S_IMODE(door.stat().st_mode) == 0o600


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_lists(door: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only root does, and that is said; any other error is one."""

    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "setxattr", fails)
    assert "no access control lists" in entrance.admit_operators(door, ACCESS)
    assert stat.S_IMODE(door.stat().st_mode) == 0o600
    number = errno.EIO
    with pytest.raises(OSError, match="Input/output"):
        admit_operators(door, ACCESS)
