"""The names of who calls: from the host's file at once, from other databases by the launcher's side, and both anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jobqueued.child import supervisor
from jobqueued.control.protocol import identities
from jobqueued.control.protocol.identities import Identities
from jobqueued.model.users import Owner


class Asked:
    """Identities by a file, and what is asked of other databases."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.asked: list[tuple[int, Callable[[str], None]]] = []
        self.told: list[Owner | None] = []
        self.identities = Identities(lambda uid, then: self.asked.append((uid, then)), str(file))

    def look_up(self, uid: int) -> None:
        """Somebody of that number calls."""
        self.identities.look_up(uid, self.told.append)


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    """A host with a few users."""
    (tmp_path / "passwd").write_text(
        "root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/root:/bin/sh\n+::::::\n\nbad:x:seven\nalice:x:1000:1000::/:/bin/sh\n"
    )
    return Asked(tmp_path / "passwd")


def test_local_users(asked: Asked) -> None:
    """They are known at once; of two names of a number the first counts; lines that are none harm nobody."""
    for uid in (0, 1000):
        asked.look_up(uid)
    assert ([Owner(0, "root"), Owner(1000, "alice")], []) == (asked.told, asked.asked)


def test_the_file_changes(asked: Asked) -> None:
    """Who is called otherwise by now is so from the next call on."""
    asked.look_up(1000)
    asked.file.write_text("alicia:x:1000:1000::/:/bin/sh\n")
    asked.look_up(1000)
    assert [Owner(1000, "alice"), Owner(1000, "alicia")] == asked.told


def test_users_of_a_network(asked: Asked) -> None:
    """They are asked for once, however many wait, and each of those is told; the next caller is asked for anew."""
    for _ in range(3):
        asked.look_up(2000)
    assert ([2000], []) == ([uid for uid, _ in asked.asked], asked.told)
    asked.asked[0][1]("net")
    asked.look_up(2000)
    asked.asked[1][1]("")
    assert [*[Owner(2000, "net")] * 3, None] == asked.told


def test_who_has_a_name(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users in the file, and those whom a database has named; the newest of these, until it names them no more."""
    monkeypatch.setattr(identities, "_MOST_NAMED", 2)
    assert [True, False] == [asked.identities.has_name(uid) for uid in (1000, 2000)]
    for uid in (2000, 2001, 2000, 2002):
        asked.look_up(uid)
        asked.asked[-1][1]("net")
    assert [True, False, True] == [asked.identities.has_name(uid) for uid in (2000, 2001, 2002)]
    asked.look_up(2000)
    asked.asked[-1][1]("")
    assert not asked.identities.has_name(2000)


def test_many_wait(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that wait for a database that hangs only the newest are kept."""
    monkeypatch.setattr(identities, "_MOST_WAITING", 4)
    for _ in range(100):
        asked.look_up(2000)
    asked.asked[0][1]("net")
    assert (1, 4) == (len(asked.asked), len(asked.told))


def test_no_file(tmp_path: Path) -> None:
    """Then all are asked for."""
    asked = Asked(tmp_path / "none")
    asked.look_up(0)
    assert [0] == [uid for uid, _ in asked.asked]


def test_the_answer_of_a_supervisor() -> None:
    """It says the name of a number, or nothing."""
    assert [b"account 7 named root", b"account 8 "] == [
        supervisor._answer('account 7 uid "0"'), supervisor._answer('account 8 uid "4242424"'),
    ]  # fmt: skip
