"""Calls about users' crontabs.

The launcher's supervisors read and write crontabs, because the supervisors are not in a sandbox.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobqueued.base.text import size
from jobqueued.child.spool import spool_orders
from jobqueued.child.spool.spool import LARGEST_SENT
from jobqueued.control.protocol.access import AccessRule, Rank
from jobqueued.control.protocol.declaration import method
from jobqueued.control.protocol.ownership import Asker
from jobqueued.control.protocol.replies import Reply
from jobqueued.control.protocol.varlink import VarlinkError
from jobqueued.model.users import UserLimits
from jobqueued.runs.launcher_link import Answered, LauncherLink

_ERRORS = {"none": "NoCrontab", "forbidden": "NotAllowed"}

_OWN = AccessRule(Rank.ROOT, own=True)


class CrontabCalls:
    """Reads and writes crontabs. `host`: root directory of the host. `live` returns whether this daemon runs crontabs.

    `users`: the users who may have jobs, and therefore crontabs; None means all users. Calls are handled one at a time,
    so that the launcher's notices never wait for more than one table.
    """

    def __init__(
        self, link: LauncherLink, host: Path, reply: Reply, *, live: Callable[[], bool], users: UserLimits | None = None
    ) -> None:
        self._link, self._host, self._reply, self._live = link, host, reply, live
        self._users = users or UserLimits()
        self._waiting: dict[int, dict[str, Any]] = {}
        """Ticket of a caller → its waiting order."""
        self._is_busy = False

    @method("CrontabGet", _OWN)
    def read(self, asked: dict[str, Any], asker: Asker) -> None:
        """Reply with a crontab."""
        self._ask(spool_orders.READ, asked, asker)

    @method("CrontabSet", _OWN)
    def install(self, asked: dict[str, Any], asker: Asker) -> None:
        """Install a crontab."""
        self._ask(spool_orders.INSTALL, asked, asker, _table(asked["table"]))

    @method("CrontabRemove", _OWN)
    def remove(self, asked: dict[str, Any], asker: Asker) -> None:
        """Remove a crontab."""
        self._ask(spool_orders.REMOVE, asked, asker)

    def _ask(self, act: str, asked: dict[str, Any], asker: Asker, table: bytes | None = None) -> None:
        """Queue an order for a supervisor, which refuses it if the caller may not use the user's crontab."""
        peer = asker.peer
        self._waiting[asker.ticket()] = {
            "host": str(self._host),
            "act": act,
            "asker": peer.uid,
            "pid": peer.pid,
            "user": asked.get("user"),
            "table": None if table is None else table.hex(),
            "stamp": asked.get("stamp"),
            "edits": bool(asked.get("edit")),
            "allow": self._users.allow,
            "deny": self._users.deny,
        }
        self._go_on()

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
                self._reply(ticket, {"reason": f"the launcher does not answer; {self._link.see}"}, "Refused")

    def _heard_by(self, ticket: int, act: str) -> Answered:
        parts = list[bytes]()

        def answered(part: int | None, answer: str) -> None:
            if part is not None:
                parts.append(bytes.fromhex(answer))
                return
            self._is_busy = False
            self._reply(ticket, *self._answer(act, answer, b"".join(parts)))
            self._go_on()

        return answered

    def _answer(self, act: str, answer: str, table: bytes) -> tuple[dict[str, Any], str | None]:
        """Return the reply's parameters, and its error or None."""
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
    except ValueError:  # not base64, or not ASCII
        raise VarlinkError("org.varlink.service.InvalidParameter", {"parameter": "table"}) from None
    if len(table) > LARGEST_SENT:
        reason = f"the table has {size(len(table))}; expected at most {size(LARGEST_SENT)}; root may install more"
        raise VarlinkError("Refused", {"reason": reason})
    return table
