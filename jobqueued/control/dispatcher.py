"""Pass each call on the control socket to its function, under the method's rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol, runtime_checkable

from jobqueued.control.protocol import access
from jobqueued.control.protocol.access import Whose
from jobqueued.control.protocol.declaration import Declared, Handler, declared_in
from jobqueued.control.protocol.ownership import Asker, Ownership, refusal
from jobqueued.control.protocol.peers import Access, Peer
from jobqueued.control.protocol.varlink import Method, VarlinkError
from jobqueued.model.job import Now
from jobqueued.state.db.faults import StoreError


@runtime_checkable
class _Waited(Protocol):
    """An object whose calls may be answered later."""

    def left(self, ticket: int) -> None:
        """Forget a caller that left before its reply."""


class Dispatcher:
    """Passes each call to the function that answers it, if `access` and the method's rule allow the call.

    `clocks` reads both clocks. `waiting` has the methods whose callers may use additional connections
    (`server.WAITING`).
    """

    def __init__(
        self, calls: Iterable[object], access: Access, ownership: Ownership, clocks: Callable[[], Now]
    ) -> None:
        self._access, self._ownership, self._clocks = access, ownership, clocks
        calls = tuple(calls)
        declared = [(each, one) for one in calls for each in declared_in(type(one)).values()]
        self._handlers = [(each, each.__get__(one)) for each, one in declared]
        self._waited = [one for one in calls if isinstance(one, _Waited)]
        self.waiting = frozenset(each.name for each, _ in self._handlers if each.waits)

    def of(self, peer: Peer, ticket: Callable[[], int]) -> Mapping[str, Method]:
        """Return the methods for this peer; `ticket` returns a number for a reply that comes later."""
        asker = Asker(peer, ticket, self._access.rank(peer), self._ownership, self._clocks)
        return {each.name: partial(self._answer, each, handler, asker) for each, handler in self._handlers}

    def left(self, ticket: int) -> None:
        """Forget a caller that left before its reply, and withdraw its request for a lock."""
        for calls in self._waited:
            calls.left(ticket)

    def _answer(
        self, declared: Declared, handler: Handler, asker: Asker, parameters: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Answer a call, or refuse it under the method's rule. Errors of state.db and of files become error replies."""
        try:
            self._check(declared, asker, parameters)
            return handler(parameters, asker)
        except StoreError as error:
            raise VarlinkError("Refused", {"reason": str(error)}) from None
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise VarlinkError("Refused", {"reason": f"{where}{error.strerror}"}) from None

    def _check(self, declared: Declared, asker: Asker, parameters: dict[str, Any]) -> None:
        """Raise VarlinkError if the caller may not make this call."""
        rule = declared.rule
        if asker.rank >= rule.rank:
            return
        owner = asker.peer.owner
        whose = self._ownership.named(parameters, rule.names, owner) if rule.own else Whose.NOBODYS
        if not access.is_allowed(rule, asker.rank, whose):
            raise refusal(rule, parameters, whose)
