"""The varlink wire and the service that answers calls, without a socket."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued import __version__
from jobqueued.control.protocol.interface import INTERFACE
from jobqueued.control.protocol.varlink import LIMIT, Decoder, Message, MessageError, Service, VarlinkError, encode

SERVICE = "org.varlink.service"
METHODS = ("Status", "List", "Describe", "Show", "Run", "Wait")
READABLE = st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\0")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(READABLE),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(READABLE), inner, max_size=4),
    max_leaves=12,
)
MESSAGES = st.dictionaries(st.text(READABLE), VALUES, max_size=5)
SHREDS = st.lists(st.sampled_from([b"{}", b"\0", b'{"a":', b"1}", b"[", b'"'])).map(b"".join)
WORDS = st.sampled_from([*METHODS, "Nonsense", "job", "run", "runs"])
CALLS = MESSAGES | st.fixed_dictionaries(
    {"method": st.builds("{}.{}".format, st.sampled_from(["io.jobqueue", SERVICE, "a.b"]), WORDS)},
    optional={"parameters": VALUES | st.dictionaries(WORDS, VALUES, max_size=2), "oneway": VALUES, "more": VALUES},
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` in pieces, cut at these places."""
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


def decoded(chunks: list[bytes]) -> list[Message] | None:
    """All messages of a stream; None: it has something that is none."""
    decoder = Decoder()
    try:
        return [message for chunk in chunks for message in decoder.feed(chunk)]
    except MessageError:
        return None


def call(method: str, parameters: Any = None, **more: Any) -> Message:
    """A call of one of our methods."""
    return {"method": f"io.jobqueue.{method}", "parameters": parameters or {}, **more}


def echo() -> Service:
    """A service whose every method answers with the parameters it got."""
    return Service({name: lambda parameters: {"got": parameters} for name in METHODS})


class TestWire:
    @given(st.lists(MESSAGES, max_size=5), st.lists(st.integers(0), max_size=8))
    def test_round_trip(self, messages: list[Message], cuts: list[int]) -> None:
        """What was encoded is decoded, however the socket cuts it."""
        stream = b"".join(map(encode, messages))
        assert messages == decoded(pieces(stream, cuts))

    @given(st.binary() | SHREDS, st.data())
    def test_any_bytes(self, stream: bytes, data: st.DataObject) -> None:
        """Any bytes are messages or a MessageError, and how they are cut does not matter."""
        cuts = data.draw(st.lists(st.integers(0), max_size=8))
        assert decoded([stream]) == decoded(pieces(stream, cuts))

    @pytest.mark.parametrize(
        "bad",
        [b"", b"[]", b"1", b"{", b"\xff", b'{"a":NaN}', b'{"a":-Infinity}', b"\xef\xbb\xbf{}", b'{"a":' * 100_000],
        ids=lambda bad: repr(bad[:20]),
    )
    def test_no_message(self, bad: bytes) -> None:
        """What is not one JSON object in UTF-8 is refused by name, whatever its depth."""
        with pytest.raises(MessageError):
            Decoder().feed(bad + b"\0")

    def test_more_digits_than_an_integer_has(self) -> None:
        """They are JSON, so what is asked with them is answered."""
        assert [{"a": [float("inf"), float("-inf"), 12]}] == Decoder().feed(
            b'{"a":[%b,-%b,12]}\0' % ((b"9" * 5000,) * 2)
        )

    def test_limit(self) -> None:
        """A message may have exactly the limit's bytes; one more is refused before its end came."""
        largest = b'{"a":"' + b"x" * (LIMIT - 8) + b'"}'
        message = {"a": "x" * (LIMIT - 8)}
        assert [message] == Decoder().feed(largest + b"\0")
        with pytest.raises(MessageError):
            Decoder().feed(largest + b" ")

    @pytest.mark.parametrize(
        ("text", "readable"),
        [
            ("a\0b", "a\ufffdb"),
            ("\ud800", "\ufffd"),
            ("\udc00\ud800", "\ufffd\ufffd"),
            ("\ufffe\uffff\ufdd0\ufdef\U0001fffe\U0010ffff", "\ufffd" * 6),
            ("\\u0000 \\\\u0000 \\ud800", "\\u0000 \\\\u0000 \\ud800"),
            ("\\\0", "\\\ufffd"),
            ("\U0001d11e\x1b\x7f\n\ufdcf\ufdf0\ufffc", "\U0001d11e\x1b\x7f\n\ufdcf\ufdf0\ufffc"),
        ],
    )
    def test_unreadable_characters(self, text: str, readable: str) -> None:
        """Exactly the characters that JSON parsers refuse a message for become U+FFFD."""
        assert [{"a": readable}] == Decoder().feed(encode({"a": text}))

    def test_no_number(self) -> None:
        """NaN is not sent."""
        with pytest.raises(ValueError, match="not JSON compliant"):
            encode({"a": float("nan")})


class TestService:
    def test_info(self) -> None:
        """GetInfo names the program, its version and both interfaces."""
        reply = Service({}).answer({"method": f"{SERVICE}.GetInfo"})
        assert reply is not None
        found = {name: reply["parameters"][name] for name in ("product", "version", "interfaces")}
        expected = {"product": "jobqueued", "version": __version__, "interfaces": [SERVICE, "io.jobqueue"]}
        assert expected == found

    def test_description(self) -> None:
        """The service hands out the interface that it is checked against."""
        described = {"method": f"{SERVICE}.GetInterfaceDescription", "parameters": {"interface": "io.jobqueue"}}
        expected = {"parameters": {"description": INTERFACE}}
        assert expected == Service({}).answer(described)

    @pytest.mark.parametrize(
        ("asked", "error", "parameters"),
        [
            ({"method": "a.b.C"}, "InterfaceNotFound", {"interface": "a.b"}),
            ({"method": ""}, "InterfaceNotFound", {"interface": ""}),
            (
                {"method": f"{SERVICE}.GetInterfaceDescription", "parameters": {"interface": "a.b"}},
                "InterfaceNotFound",
                {"interface": "a.b"},
            ),
            (call("Nonsense"), "MethodNotFound", {"method": "io.jobqueue.Nonsense"}),
            (call("List"), "MethodNotImplemented", {"method": "io.jobqueue.List"}),
            ({}, "InvalidParameter", {"parameter": "method"}),
            ({"method": 3}, "InvalidParameter", {"parameter": "method"}),
            ({"method": "io.jobqueue.Status", "parameters": []}, "InvalidParameter", {"parameter": "parameters"}),
            (call("Describe"), "InvalidParameter", {"parameter": "job"}),
            (call("Describe", {"job": None}), "InvalidParameter", {"parameter": "job"}),
            (call("Describe", {"job": 3}), "InvalidParameter", {"parameter": "job"}),
            (call("Describe", {"job": "\ud800"}), "InvalidParameter", {"parameter": "job"}),
            (call("Describe", {"job": "a", "runs": True}), "InvalidParameter", {"parameter": "runs"}),
            (call("Describe", {"job": "a", "runs": 1.0}), "InvalidParameter", {"parameter": "runs"}),
            (call("Describe", {"job": "a", "runs": 2**63}), "InvalidParameter", {"parameter": "runs"}),
            (call("Describe", {"job": "a", "more": 1}), "InvalidParameter", {"parameter": "more"}),
        ],
        ids=str,
    )
    def test_refused_calls(self, asked: Message, error: str, parameters: Message) -> None:
        """Each call that the interface does not allow gets the standard's error, which names what is wrong."""
        service = Service({"Status": dict, "Describe": dict})
        assert {"error": f"{SERVICE}.{error}", "parameters": parameters} == service.answer(asked)

    @pytest.mark.parametrize(
        ("asked", "got"),
        [
            (call("Describe", {"job": "a", "runs": 3}), {"job": "a", "runs": 3}),
            (call("Describe", {"job": "a", "runs": None}), {"job": "a"}),
            ({"method": "io.jobqueue.Status", "parameters": None}, {}),
        ],
        ids=str,
    )
    def test_parameters(self, asked: Message, got: Message) -> None:
        """A method gets what was given; what is null was not."""
        assert {"parameters": {"got": got}} == echo().answer(asked)

    def test_own_error(self) -> None:
        """A method refuses with an error of the interface, by its short name."""

        def refuse(parameters: Message) -> Message:
            raise VarlinkError("NoSuchJob", parameters)

        expected = {"error": "io.jobqueue.NoSuchJob", "parameters": {"job": "a"}}
        assert expected == Service({"Run": refuse}).answer(call("Run", {"job": "a"}))

    def test_later(self) -> None:
        """A method that answers later sends nothing now."""
        assert Service({"Wait": lambda _: None}).answer(call("Wait", {"run": "a@1"})) is None

    @pytest.mark.parametrize("asked", [call("List", oneway=True), call("Nonsense", oneway=True)], ids=str)
    def test_oneway(self, asked: Message) -> None:
        """A oneway call gets no reply, not even an error."""
        assert echo().answer(asked) is None

    @given(CALLS)
    def test_any_call(self, asked: Message) -> None:
        """Any object is answered, by one sendable reply that is either a result or an error."""
        reply = echo().answer(asked)
        if asked.get("oneway") is True:
            assert reply is None
        else:
            assert reply is not None
            assert "parameters" in reply
            assert {"parameters", "error"} >= reply.keys()
            assert json.loads(encode(reply)[:-1])
