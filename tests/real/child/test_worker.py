"""Seats of supervisors: which of those that are idle are sent home."""

from __future__ import annotations

import os
import socket

from jobqueued.child.worker import Worker, spare


def test_who_is_spare() -> None:
    """All over the least; and the last one where a new one would take less memory, once it was idle for long."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    workers = [Worker(number, ours) for number in range(3)]
    assert (workers[:2], []) == (spare(workers, 1), spare(workers[:1], 1))
    for _ in range(51):
        workers[2].take("backup@1.1", ours.fileno())
        for descriptor in socket.recv_fds(theirs, 64, 1)[1]:
            os.close(descriptor)
    assert workers[2:] == spare(workers[2:], 1)
    assert (workers[:2], []) == (spare(workers, 1), spare(workers, 1, before=workers[0].idle_since))
    ours.close()
    theirs.close()
