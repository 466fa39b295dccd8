"""Answers of etcd's gateway by HTTP: whole ones however they come, and torn, slow, endless and wrong ones."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, pairwise, repeat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.child.fleet.etcd import connection
from jobqueued.child.fleet.etcd.connection import Connection, Garbled, ResponseHead
from tests.support.receivers import answer

MOST = 1 << 20
NEWS = b'{"result":1}\n'
CHUNKED = b"HTTP/1.1 200 OK\r\nDate: now\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = [
    answer("200 OK", NEWS), answer("200 OK"), CHUNKED + b"d\r\n" + NEWS + b"\r\n0\r\n\r\n",
    CHUNKED + b"5;a=b\r\n" + NEWS[:5] + b"\r\n8\r\n" + NEWS[5:] + b"\r\n000\r\nTrailer: x\r\n\r\n",
]  # fmt: skip


class Wire:
    """A socket that brings these pieces, and then the end."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces, self._rest = iter(pieces), b""
        self.sent = b""

    def recv(self, most: int) -> bytes:
        """The next piece, or a part of it."""
        found = self._rest or next(self._pieces, b"")
        found, self._rest = found[:most], found[most:]
        return found

    def sendall(self, data: bytes) -> None:
        """Take it."""
        self.sent += data

    def setsockopt(self, *_: int) -> None:
        """It makes no difference here."""

    def settimeout(self, _seconds: float) -> None:
        """It never waits."""


def post(pieces: Iterable[bytes]) -> tuple[Connection, ResponseHead, Wire]:
    """The head of an answer that comes so."""
    wire: Any = Wire(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection.socket, "create_connection", lambda *_: wire)
        found = Connection("::1", 2379, 5, None)
    return found, found.post("/v3/kv/txn", b"{}", {"Own": "x"}), wire


def cut(data: bytes, at: Iterable[int]) -> Iterator[bytes]:
    """The data in pieces, none of which is empty."""
    places = sorted({0, len(data), *(place % len(data) for place in at)})
    yield from (data[begin:end] for begin, end in pairwise(places))


def encoded(body: bytes, sizes: list[int]) -> bytes:
    """An answer with that body: in chunks of these sizes; none: with its length."""
    if not sizes:
        return answer("200 OK", body)
    ends = sorted({len(body), *(size % (len(body) + 1) for size in sizes)} - {0})
    parts = [body[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    return CHUNKED + b"".join(b"%X\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@given(
    st.lists(st.tuples(st.binary(max_size=60), st.lists(st.integers(0, 99), max_size=4)), min_size=1, max_size=3),
    st.lists(st.integers(0, 999)), st.booleans(),
)  # fmt: skip
def test_whole_answers(bodies: list[tuple[bytes, list[int]]], cuts: list[int], by_lines: bool) -> None:
    """One after another over one connection, each is what was sent, in whatever pieces it comes, read at once or by
    lines.
    """
    said = b"".join(encoded(*each) for each in bodies)
    found, head, wire = post(cut(said, cuts))
    for number, (body, _) in enumerate(bodies):
        if number:
            head = found.post("/v3/watch", b"", {})
        assert (200, "OK") == (head.status, head.reason)
        lines = list(iter(lambda: found.readline(MOST), b"")) if by_lines else [found.read(MOST)]
        assert (body, True) == (b"".join(lines), found.is_kept)
        assert not by_lines or all(line.find(b"\n") == len(line) - 1 for line in lines[:-1])
    assert wire.sent.startswith(
        b"POST /v3/kv/txn HTTP/1.1\r\nHost: [::1]:2379\r\nContent-Type: application/json\r\n"
        b"Content-Length: 2\r\nOwn: x\r\n\r\n{}"
    )


def shortened(value: object) -> str:
    """The begin of a value, for a test's name: environments contain it."""
    return ascii(value)[:40]


@pytest.mark.parametrize("whole", WHOLE)
def test_torn_answers(whole: bytes) -> None:
    """Wherever one ends too soon, it is none."""
    found, _, _ = post([whole])
    assert found.read(MOST) in (NEWS, b"")
    for end in range(len(whole)):
        with pytest.raises(ConnectionResetError, match="it closed the connection"):
            post([whole[:end]])[0].read(MOST)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (b"SSH-2.0-OpenSSH_10.0\r\n", "it does not speak HTTP: 'SSH-2.0-OpenSSH_10.0'"),
        (b"\n", "it does not speak HTTP: ''"),
        (b"HTTP/2 200 OK\r\n\r\n", "it does not speak HTTP: 'HTTP/2'"),
        (b"HTTP/1.1\r\n\r\n", "it sent '' instead of a number"),
        (b"HTTP/1.1 2_0 OK\r\n\r\n", "it sent '2_0' instead of a number"),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", "it sent '' instead of a number"),
        (answer("200 OK", Content_Length="-1"), "it sent '-1' instead of a number"),
        (answer("200 OK", Content_Length="9" * 5000), "it sent '99999999999999999999' instead of a number"),
        (CHUNKED + b"-1\r\n", "it sent '-1' instead of a number"),
        (CHUNKED + b"0x1\r\n", "it sent '0x1' instead of a number"),
        (CHUNKED + b"\r\n", "it sent '' instead of a number"),
        (CHUNKED + b"1\r\nab\r\n", "a chunk is longer than its header says"),
        (answer("200 OK", b"x" * (MOST + 1)), "it is longer than 1048576 bytes"),
    ],
    ids=shortened,
)
def test_wrong_answers(wrong: bytes, words: str) -> None:
    """What is no HTTP, or not as it says, is told."""
    with pytest.raises(Garbled, match=words):
        post([wrong])[0].read(MOST)


@pytest.mark.parametrize(
    ("begin", "again", "words"),
    [
        (b"", b"x" * 1000, "a line of its head has no end"),
        (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n", "its head has no end"),
        (b"HTTP/1.1 200 OK\r\nA: ", b"x" * 1000, "a line of its head has no end"),
        (CHUNKED, b"1", "a line of its head has no end"),
        (CHUNKED + b"0\r\n", b"A: b\r\n", "its head has no end"),
        (CHUNKED, b"3e8\r\n" + b"x" * 1000 + b"\r\n", "it is longer than"),
        (answer("200 OK", Content_Length="999999999999999"), b"x" * 1000, "it is longer than"),
    ],
    ids=shortened,
)
def test_endless_answers(begin: bytes, again: bytes, words: str) -> None:
    """No more of them is taken than an answer may have."""
    taken = Counter[int]()

    def pieces() -> Iterator[bytes]:
        for piece in chain([begin] * bool(begin), repeat(again)):
            taken[0] += len(piece)
            yield piece

    with pytest.raises(Garbled, match=words):
        post(pieces())[0].read(MOST)
    assert taken[0] < 1.1 * MOST


def test_an_endless_line() -> None:
    """No more of one is taken than a line may have, though the body may go on for ever."""
    pieces = chain([CHUNKED], repeat(b"3e8\r\n" + b"x" * 1000 + b"\r\n", 10))
    with pytest.raises(Garbled, match="a line of the reply is longer than 5000 bytes"):
        post(pieces)[0].readline(5000)
    assert list(pieces)


@pytest.mark.parametrize(
    "whole", [answer("200 OK", NEWS, Connection="close"), answer("200 OK", NEWS).replace(b"1.1", b"1.0")]
)
def test_a_connection_for_one_answer(whole: bytes) -> None:
    """Whose other side does not want another request is not kept."""
    found, _, _ = post([whole])
    assert (NEWS, False) == (found.read(MOST), found.is_kept)


def test_an_answer_that_is_not_read() -> None:
    """Over its connection no other one is asked for."""
    found, _, _ = post([answer("200 OK", NEWS)])
    assert not found.is_kept


def test_a_slow_head() -> None:
    """A head that comes letter by letter has to be whole in time."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            with server.accept()[0] as found:
                for _ in range(200):
                    if over.wait(0.02):
                        return
                    found.send(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        found = Connection(*server.getsockname(), 0.3, None)
        with pytest.raises(TimeoutError):
            found.post("/", b"", {})
        over.set()
        thread.join()
        found.socket.close()
