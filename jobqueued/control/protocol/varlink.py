"""The varlink protocol (https://varlink.org), without any socket.

A message is a JSON object ended by a NUL byte. A call is ``{"method", "parameters", "oneway", "more"}``. Its reply is
``{"parameters", "continues"}`` or ``{"error", "parameters"}``. The calls of a connection are answered in order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from jobqueued import __version__
from jobqueued.control.protocol.interface import INTERFACE, NAME

Message = dict[str, Any]
Method = Callable[[dict[str, Any]], dict[str, Any] | None]
"""Takes a call's checked parameters.

Returns the reply's parameters, or None if the reply comes later. Raises VarlinkError.
"""

LIMIT = 3 << 16
"""Maximum bytes of a call, enough for a crontab of 128 KiB."""

_SERVICE = "org.varlink.service"

_SERVICE_INTERFACE = """\
# The interface that every varlink service provides to describe itself.
interface org.varlink.service

# The service and the interfaces it implements.
method GetInfo() -> (
  vendor: string,
  product: string,
  version: string,
  url: string,
  interfaces: []string
)

# The description of one of the interfaces.
method GetInterfaceDescription(interface: string) -> (description: string)

error InterfaceNotFound (interface: string)
error MethodNotFound (method: string)
error MethodNotImplemented (method: string)
error InvalidParameter (parameter: string)
"""


class MessageError(Exception):
    """The peer sent invalid data. The connection must be closed, because no message can be read after it."""


class VarlinkError(Exception):
    """An error reply. A name without dots is an error of `INTERFACE`; `name` is always qualified."""

    def __init__(self, name: str, parameters: Mapping[str, Any] | None = None) -> None:
        self.name = name if "." in name else f"{NAME}.{name}"
        self.parameters = dict(parameters or {})
        super().__init__(self.name, self.parameters)

    def reply(self) -> Message:
        """Return the message that carries this error."""
        return {"error": self.name, "parameters": self.parameters}


_UNREADABLE = (
    r"\\u(?:0000|fd[de].|fff[ef]|d[89ab][37bf]f\\udff[ef])"  # NUL, noncharacters
    r"|(\\\\|\\ud[89ab]..\\ud[c-f]..)"  # kept: a backslash, a surrogate pair
    r"|\\ud[89a-f].."  # half a surrogate pair
)
"""Characters, as JSON escapes, that make systemd's JSON parser refuse a whole message."""


def encode(message: Mapping[str, Any]) -> bytes:
    """Return the message as bytes for the wire; characters that JSON parsers refuse become U+FFFD.

    Raises ValueError for NaN and infinities, which JSON does not have.
    """
    return text_of(message).encode() + b"\0"


def text_of(value: Any) -> str:
    """Return a value as JSON text, with the same replacements as `encode`."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return re.sub(_UNREADABLE, lambda found: found[1] or r"\ufffd", text) if "\\" in text else text


class Decoder:
    """Splits the data from a socket, received in pieces of any size, into messages of at most `limit` bytes."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._partial = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that `data` completes. Raises MessageError at the first invalid message."""
        head, *rest = data.split(b"\0")
        self._extend(head)
        messages = []
        for piece in rest:
            messages.append(_message(self._partial))
            self._partial = bytearray()
            self._extend(piece)
        return messages

    def _extend(self, piece: bytes) -> None:
        self._partial += piece
        if len(self._partial) > self._limit:
            raise MessageError(f"a message has more than {self._limit} bytes")


def _message(data: bytearray) -> Message:
    try:
        message = _loaded(data.decode())
    except (ValueError, RecursionError) as error:
        raise MessageError(f"not JSON: {error}") from None
    if not isinstance(message, dict):
        raise MessageError("not a JSON object")
    return message


def _loaded(text: str) -> Any:
    """Return the parsed value. Use `_integer`, a slow call for each number, only if the fast way fails."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return json.loads(text, parse_int=_integer, parse_constant=_no_constant)


def _integer(digits: str) -> int | float:
    """Return a number.

    Python refuses integers of more than 4,300 digits, which is no reason to close the connection.
    """
    return int(digits) if len(digits) < 400 else float(digits)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_IS: dict[str, Callable[[Any], bool]] = {
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: type(value) is int and -(2**63) <= value < 2**63,
    "string": lambda value: isinstance(value, str) and value == value.encode(errors="replace").decode(),
    "object": lambda value: isinstance(value, dict),
    "[]string": lambda value: isinstance(value, list) and all(map(_IS["string"], value)),
}
"""Type of the interface → check of a JSON value. A string must not contain a lone surrogate, although JSON allows
it.
"""


def _fits(kind: str, value: Any) -> bool:
    """Return whether a JSON value has a type of the interface; null counts as absent."""
    return kind.startswith("?") if value is None else _IS[kind.removeprefix("?")](value)


def _signatures(interface: str, text: str) -> dict[str, dict[str, str]]:
    """Return method → parameters, such as ``{"io.jobqueue.Describe": {"job": "string", "runs": "?int"}}``."""
    methods = re.findall(r"^method (\w+)\((.*?)\)", text, re.M)
    return {f"{interface}.{name}": dict(re.findall(r"(\w+): (\??(?:\[\])?\w+)", fields)) for name, fields in methods}


_INTERFACES = {_SERVICE: _SERVICE_INTERFACE, NAME: INTERFACE}
_METHODS = _signatures(_SERVICE, _SERVICE_INTERFACE) | _signatures(NAME, INTERFACE)


def signature(name: str) -> dict[str, str] | None:
    """Return parameter → type for a method of `INTERFACE`, or None if `INTERFACE` has no such method."""
    return _METHODS.get(f"{NAME}.{name}")


class Service:
    """Answers calls. `methods`: short name in `INTERFACE` → function.

    A call to any other method gets "not implemented".
    """

    def __init__(self, methods: Mapping[str, Method]) -> None:
        self._methods: dict[str, Method] = {
            f"{_SERVICE}.GetInfo": _info,
            f"{_SERVICE}.GetInterfaceDescription": _description,
            **{f"{NAME}.{name}": method for name, method in methods.items()},
        }

    def answer(self, call: Message) -> Message | None:
        """Return the reply to a call, or None if no reply is sent now (a `oneway` call, or a later reply)."""
        try:
            parameters = self._method(call)(_parameters(call))
            reply = None if parameters is None else {"parameters": parameters}
        except VarlinkError as error:
            reply = error.reply()
        return None if call.get("oneway") is True else reply

    def _method(self, call: Message) -> Method:
        name = call.get("method")
        if not isinstance(name, str):
            raise _invalid("method")
        interface = name.rpartition(".")[0]
        if interface not in _INTERFACES:
            raise VarlinkError(f"{_SERVICE}.InterfaceNotFound", {"interface": interface})
        if name not in _METHODS:
            raise VarlinkError(f"{_SERVICE}.MethodNotFound", {"method": name})
        if name not in self._methods:
            raise VarlinkError(f"{_SERVICE}.MethodNotImplemented", {"method": name})
        return self._methods[name]


def _parameters(call: Message) -> dict[str, Any]:
    """Return the call's parameters, checked against the interface and without null values."""
    parameters = call.get("parameters")
    if not isinstance(parameters, dict | None):
        raise _invalid("parameters")
    given = {name: value for name, value in (parameters or {}).items() if value is not None}
    fields = _METHODS[call["method"]]
    for name in {**given, **fields}:
        if name not in fields or not _fits(fields[name], given.get(name)):
            raise _invalid(name)
    return given


def _invalid(parameter: str) -> VarlinkError:
    return VarlinkError(f"{_SERVICE}.InvalidParameter", {"parameter": parameter})


def _info(_parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        "vendor": "jobqueued",
        "product": "jobqueued",
        "version": __version__,
        "url": "man:jobqueued(8)",
        "interfaces": list(_INTERFACES),
    }


def _description(parameters: dict[str, Any]) -> dict[str, Any]:
    name = parameters["interface"]
    if name not in _INTERFACES:
        raise VarlinkError(f"{_SERVICE}.InterfaceNotFound", {"interface": name})
    return {"description": _INTERFACES[name]}
