"""Calls about users' crontabs: the launcher's supervisors, which are not in a sandbox, read and write them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jobqueued.child import spool_orders
from jobqueued.child.spool import LARGEST_SENT
from jobqueued.control.peers import Peer
from jobqueued.control.varlink import Method, VarlinkError
from jobqueued.runs.launcher_link import Answered, LauncherLink
from jobqueued.text import size
from jobqueued.users import UserLimits

_ERRORS = {"none": "NoCrontab", "forbidden": "NotAllowed"}

Reply = Callable[[int, dict[str, Any], str | None], None]


class CrontabCalls:
    """Reads and writes the crontabs below the `host`'s root; `live` returns whether this daemon runs them.

    `users`: the users who may have jobs, and so install a table (None: everybody). Calls are handled one at a time, so
    that the launcher's notices never wait for more than one table.
    """

    def __init__(
        self, link: LauncherLink, host: Path, *, live: Callable[[], bool], users: UserLimits | None = None
    ) -> None:  # fmt: skip
        self._link, self._host, self._live, self._users = link, host, live, users or UserLimits()
        self._waiting: dict[int, dict[str, Any]] = {}
        """Ticket of a caller → its waiting order."""
        self._is_busy = False
        self.reply: Reply

    def of(self, peer: Peer, ticket: Callable[[], int]) -> Mapping[str, Method]:
        """Return the methods for this peer; for another user's crontab the supervisor refuses."""

        def ask(act: str, asked: dict[str, Any], table: bytes | None = None) -> None:
            self._waiting[ticket()] = {
                "host": str(self._host), "act": act, "asker": peer.uid, "pid": peer.pid, "user": asked.get("user"),
                "table": None if table is None else table.hex(), "stamp": asked.get("stamp"),
                "edits": bool(asked.get("edit")), "allow": self._users.allow, "deny": self._users.deny,
            }  # fmt: skip
            self._go_on()

        return {
            "CrontabGet": lambda p: ask(spool_orders.READ, p),
            "CrontabSet": lambda p: ask(spool_orders.INSTALL, p, _table(p["table"])),
            "CrontabRemove": lambda p: ask(spool_orders.REMOVE, p),
        }

    def left(self, ticket: int) -> None:
        """Forget a caller that left before its turn."""
        self._waiting.pop(ticket, None)

    def _go_on(self) -> None:
        while self._waiting and not self._is_busy:
            ticket = next(iter(self._waiting))
            order = self._waiting.pop(ticket)
            if self._link.greeted:
                self._is_busy = True
                self._link.see_to_crontab(order, self._heard_by(ticket, order["act"]))
                self._link.flush()
            else:
                self.reply(ticket, {"reason": f"the launcher does not answer; {self._link.see}"}, "Refused")

    def _heard_by(self, ticket: int, act: str) -> Answered:
        parts = list[bytes]()

        def answered(part: int | None, answer: str) -> None:
            if part is not None:
                parts.append(bytes.fromhex(answer))
                return
            self._is_busy = False
            self.reply(ticket, *self._answer(act, answer, b"".join(parts)))
            self._go_on()

        return answered

    def _answer(self, act: str, answer: str, table: bytes) -> tuple[dict[str, Any], str | None]:
        """Return the reply's parameters, and its error."""
        verb, _, rest = answer.partition(" ")
        match verb:
            case "done" if act == spool_orders.READ:
                return {"table": base64.b64encode(table).decode(), "stamp": rest}, None
            case "done":
                return ({"live": self._live()} if act == spool_orders.INSTALL else {}), None
            case "none" | "forbidden":
                return {"user": rest}, _ERRORS[verb]
            case "denied":
                return {}, "PermissionDenied"
            case "changed":
                return {}, "CrontabChanged"
            case "refused":
                return {"reason": rest}, "Refused"
        why = rest.removeprefix("0 ")
        return {"reason": f"it is unknown whether this was done: {why}; to check: crontab -l"}, "Refused"


def _table(text: str) -> bytes:
    try:
        table = base64.b64decode(text, validate=True)
    except ValueError:  # no base64, or not ASCII
        raise VarlinkError("org.varlink.service.InvalidParameter", {"parameter": "table"}) from None
    if len(table) > LARGEST_SENT:
        reason = f"the table has {size(len(table))}; accepted: at most {size(LARGEST_SENT)}; root may install more"
        raise VarlinkError("Refused", {"reason": reason})
    return table
