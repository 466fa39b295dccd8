"""Seats: a supervisor that is about to start its attempt needs a CPU, and nothing that another one could have."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from jobqueued.child.seat import Seat

Ends = tuple[Seat, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """A seat, and the socket of its supervisor."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with ours, theirs:
        yield Seat(1, ours), theirs


def _begun(seat: Seat) -> float:
    seat.take("job@1.1", 0)
    assert seat.starting_since is not None
    return seat.starting_since


def test_an_idle_one(ends: Ends) -> None:
    assert not ends[0].is_starting(ends[0].idle_since)


def test_from_the_hand_over_until_it_tells_something(ends: Ends) -> None:
    seat, supervisor = ends
    begun = _begun(seat)
    assert (None, True) == (seat.hear(), seat.is_starting(begun))
    supervisor.send(b"started job@1.1 4711 1")
    assert (b"started job@1.1 4711 1", False) == (seat.hear(), seat.is_starting(begun))
    _data, (descriptor,), _flags, _address = socket.recv_fds(supervisor, 100, 1)
    os.close(descriptor)


def test_one_that_hangs_holds_nobody_up(ends: Ends) -> None:
    """A mount that does not answer, a user database: the next attempt gets a supervisor of its own."""
    assert not ends[0].is_starting(_begun(ends[0]) + 0.1)


def test_one_that_is_gone(ends: Ends) -> None:
    seat, supervisor = ends
    supervisor.close()
    assert b"" == seat.hear()
