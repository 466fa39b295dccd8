"""Receivers of notices: a program, a web server and a mail server, which note what they took, and refuse at times."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.chaos.jobs import CHANNELS
from tests.support.receivers import MailServer, Request, WebServer, answer, mail_server

PROGRAM = """#!/bin/sh
[ ! -e {folder}/refusing ] || exit 75
read -r now _ </proc/uptime
read -r told
printf '%s %s\\n' "$now" "$told" >>{folder}/notices
"""
EVENTS = "[success, failure, timeout, oom, lost]"
_MANY = "1000/1m"
_NOT_NAMED = re.compile(r"and ([0-9]+) other")


class Taken(NamedTuple):
    """A message that a receiver has taken: its id, the runs that it names, how many others it counts, and when (ns)."""

    channel: str
    id: str
    runs: frozenset[str]
    others: int
    at: int


class Receivers:
    """All of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.refusing: set[str] = set()
        self._taken: list[Taken] = []
        self._open = ExitStack()
        self._mail = _Mail(self._refuses, self._take_mail)
        self._web = WebServer(self._answer)

    def settings(self) -> str:
        """The lines of jobqueued.yaml by which they are told."""
        program = self.folder / "receive"
        program.write_text(PROGRAM.format(folder=self.folder))
        program.chmod(0o755)
        self._open.enter_context(self._web)
        port = self._open.enter_context(mail_server(self._mail))
        targets = {"command": str(program), "webhook": f"{self._web.url}/", "email": "ops@example.org"}
        rules = [
            f"  - {{{name}: '{targets[name]}', jobs: ['told-{name}-*'], on: {EVENTS}, remind: 0s, rate: {_MANY}}}\n"
            for name in CHANNELS
        ]
        return f"mail: {{smtp: 'smtp://127.0.0.1:{port}', starttls: never}}\nnotify:\n{''.join(rules)}notifier: root\n"

    @contextmanager
    def away(self, channel: str) -> Iterator[None]:
        """One of them takes nothing."""
        self.refusing.add(channel)
        flag = self.folder / "refusing"
        if channel == "command":
            flag.touch()
        yield
        self.refusing.discard(channel)
        flag.unlink(missing_ok=channel != "command")

    def taken(self) -> list[Taken]:
        """All that they took."""
        file, found = self.folder / "notices", list(self._taken)
        booted = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        for line in file.read_text().splitlines() if file.exists() else []:
            uptime, _, told = line.partition(" ")
            found.append(_of_event("command", json.loads(told), booted + int(uptime.replace(".", "")) * 10**7))
        return found

    def close(self) -> None:
        """End them."""
        self._open.close()

    def _refuses(self, channel: str) -> bool:
        return channel in self.refusing

    def _answer(self, request: Request) -> bytes:
        if self._refuses("webhook"):
            return answer("503 Service Unavailable", Retry_After="2")
        event = {**json.loads(request.body), "id": request.headers["webhook-id"]}
        self._taken.append(_of_event("webhook", event, time.time_ns()))
        return answer("200 OK")

    def _take_mail(self, mail: Any) -> None:
        text = mail.get_body(("plain",)).get_content()
        found = _NOT_NAMED.search(text)
        runs = frozenset(re.findall(r"told-email-[0-9]+@[0-9]+", f"{mail['Subject']}\n{text}"))
        self._taken.append(Taken("email", mail["X-Jobqueued-Id"], runs, int(found[1]) if found else 0, time.time_ns()))


class _Mail(MailServer):
    """Takes mails as long as it does not refuse them for now."""

    def __init__(self, refuses: Callable[[str], bool], take: Callable[[Any], None]) -> None:
        super().__init__()
        self._refuses, self._take, self._lock = refuses, take, threading.Lock()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self._refuses("email"):
            return "451 4.3.0 not now"
        said = await super().handle_DATA(server, session, envelope)
        self._take(self.mails[-1])
        self.envelopes.clear()
        self.sessions.clear()
        return said


def _of_event(channel: str, event: dict[str, Any], at: int) -> Taken:
    each = [*event["held_back"], event]
    return Taken(channel, event["id"], frozenset(one["run"] for one in each if one["run"]), event["not_shown"], at)
