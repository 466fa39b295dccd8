"""Questions about users and groups. The launcher's processes answer the questions, because a query of the user
databases may hang.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import starmap
from typing import Any

from jobqueued.child.contract import wire
from jobqueued.model.accounts import Account
from jobqueued.model.events import AccountKnown
from jobqueued.model.users import UserLimits


class AccountQuestions:
    """Unanswered questions, each with a number. `users`: the users who may have their own jobs."""

    def __init__(self, users: UserLimits | None = None) -> None:
        self.users = users or UserLimits()
        self._asked: dict[int, Account] = {}
        self._named: dict[Account, Callable[[str], None]] = {}
        self._last = 0

    def ask(self, account: Account) -> bytes:
        """Return the line that asks about a user or group, or b"" if the same question is pending."""
        if account in self._asked.values():
            return b""
        self._last += 1
        self._asked[self._last] = account
        return self._question(self._last, account)

    def name_of(self, uid: int, then: Callable[[str], None]) -> bytes:
        """Return the line that asks for a user's name; `then` gets the name, or "" if the host has no such user."""
        account = Account(wire.NAME_OF, str(uid))
        self._named[account] = then
        return self.ask(account)

    def again(self) -> bytes:
        """Return the lines of all pending questions, for a new launcher."""
        return b"".join(starmap(self._question, self._asked.items()))

    def hear(self, number: int, answer: str) -> Iterator[AccountKnown]:
        """Handle an answer, and yield the event for the scheduler."""
        if (account := self._asked.pop(number, None)) is None:
            return
        if account.kind == wire.NAME_OF:
            self._named.pop(account)(answer.removeprefix(wire.NAMED) if answer.startswith(wire.NAMED) else "")
        else:
            yield AccountKnown(account, answer)

    def _question(self, number: int, account: Account) -> bytes:
        asked: Any = account.name
        if account.kind == "owner":
            asked = [account.name, account.uid, self.users.allow, self.users.deny]
        elif account.kind == "crontab":
            asked = [account.name, self.users.allow, self.users.deny]
        elif account.member:
            asked = [account.name, account.member]
        return f"account {number} {account.kind} {json.dumps(asked)}\n".encode()
