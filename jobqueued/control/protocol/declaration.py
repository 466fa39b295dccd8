"""The declaration of a control socket method: a decorator with the method's name and rule.

``@method("Pause", Rule(Rank.OPERATOR, own=True, names="job"))`` decorates a function of a class. The function gets the
checked parameters and the caller. It returns the reply, or None if the reply comes later. `methods.py` lists the
classes with such functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any

from jobqueued.control.protocol import varlink
from jobqueued.control.protocol.access import AccessRule
from jobqueued.control.protocol.ownership import Asker

Handler = Callable[[dict[str, Any], Asker], dict[str, Any] | None]
"""Answers a call, from its checked parameters and the caller. Raises VarlinkError to refuse."""


class Declared:
    """A declared method, and the function that answers it. Reading the declaration from an object returns the bound
    function.

    `waits`: a caller that waits for the reply may use an additional connection (`server.WAITING`).
    """

    __slots__ = ("_function", "name", "rule", "waits")

    def __init__(
        self, name: str, rule: AccessRule, function: Callable[..., dict[str, Any] | None], *, waits: bool
    ) -> None:
        self.name, self.rule, self._function, self.waits = name, rule, function, waits

    def __get__(self, calls: object, of: type | None = None) -> Handler:
        """Return the function, bound to the object `calls`."""
        return MethodType(self._function, calls)


def method(
    name: str, rule: AccessRule, *, waits: bool = False
) -> Callable[[Callable[..., dict[str, Any] | None]], Declared]:
    """Return a decorator that declares a function as the answer to a method of `interface.py`.

    Raises ValueError if the interface has no such method, or if the method lacks a parameter that the rule names.
    """
    parameters = varlink.signature(name)
    if parameters is None or not parameters.keys() >= set(rule.names.split()):
        raise ValueError(f"control/protocol/interface.py has no method {name}({rule.names})")
    return lambda function: Declared(name, rule, function, waits=waits)


def declared_in(calls: type) -> Mapping[str, Declared]:
    """Return the mapping of method → declaration for the functions of a class."""
    return {each.name: each for each in vars(calls).values() if isinstance(each, Declared)}
