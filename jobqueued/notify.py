"""Wishes to be told: who is to get a notice of what, by which channel, and how often; and who is to get pings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from jobqueued.child.tuples import NamedTuple
from jobqueued.users import Owner

_HOUR = 3600 * 1_000_000_000

FAILURES = ("failure", "timeout", "oom", "lost")
"""Ends that are failures: who wants `failure` wants all of them."""
EVENTS = (
    *FAILURES, "recovery", "success", "output", "failed_output", "missed", "late", "overdue", "skipped", "held_up",
    "fuse", "config_error", "degraded",
)  # fmt: skip
"""All that a notice may be about."""
EVENTS_OF_SITE = ("failure", "recovery", "missed", "late", "overdue", "held_up", "fuse", "config_error", "degraded")
"""The events of a rule of the site that names none."""
_WIDER = {"missed": "skipped", "failed_output": "output"}
CHANNELS = ("email", "webhook", "command", "apprise")


class Target(NamedTuple):
    """The way a notice goes: ``email ops@example.org``, or ``command@1000:alice /home/alice/page-me``.

    `owner`: the user who named it for own jobs, and as whom the notice is sent; None: it is the host's, as mail is.
    """

    channel: str
    address: str
    owner: Owner | None = None

    def __str__(self) -> str:
        return f"{self.channel}{_mark(self.owner)} {self.address}"

    @property
    def shown(self) -> str:
        """The target for people and logs: what is behind the host of a URL is a secret."""
        return f"{self._shown} as {self.owner.name}" if self.owner is not None else self._shown

    @property
    def _shown(self) -> str:
        scheme, colon, rest = self.address.partition("://")
        if not colon:
            return f"{self.channel} {self.address}"
        if self.channel == "apprise":  # there the host is often a token, too
            return f"{self.channel} {scheme}://…"
        return f"{self.channel} {scheme}://{re.split('[/?#]', rest, maxsplit=1)[0].rpartition('@')[2]}/…"

    @classmethod
    def parse(cls, text: str) -> Target:
        """The inverse of str()."""
        way, _, address = text.partition(" ")
        channel, _, owner = way.partition("@")
        uid, _, name = owner.partition(":")
        found = Owner(int(uid), unquote(name, errors="surrogateescape")) if uid.isdecimal() else None
        return cls(channel, address, found)


def _mark(owner: Owner | None) -> str:
    return "" if owner is None else f"@{owner.uid}:{quote(owner.name, safe='', errors='surrogateescape')}"


class Webhook(NamedTuple):
    """A URL, and how notices are posted there (docs/notices.md)."""

    url: str
    template: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    secret_file: str = ""
    proxy: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """All of it but the URL, as the notifier knows it."""
        found = {**self._asdict(), "headers": dict(self.headers)}
        return {name: value for name, value in found.items() if value and name != "url"}


@dataclass(frozen=True, slots=True)
class Notify:
    """One wish: notices `on` these events to all these addresses; `remind` (ns): how often of what goes on.

    `sender`: from whom its mails are; "": as the settings have it.  `owner`: whose job has it; None: one of the host's.
    """

    on: tuple[str, ...] = ("failure", "recovery", "missed", "overdue")
    email: tuple[str, ...] = ()
    webhook: tuple[Webhook, ...] = ()
    command: tuple[str, ...] = ()
    apprise: tuple[str, ...] = ()
    remind: int | None = 6 * _HOUR
    sender: str = ""
    owner: Owner | None = None

    def wants(self, event: str) -> bool:
        """Tell whether it is about an event."""
        wider = "failure" if event in FAILURES else _WIDER.get(event, event)
        return event in self.on or wider in self.on

    def targets(self) -> Iterator[Target]:
        """Yield all addresses."""
        for channel in CHANNELS:
            owner = None if channel == "email" else self.owner
            for each in getattr(self, channel):
                yield Target(channel, each.url if isinstance(each, Webhook) else each, owner)

    def settings(self, target: Target) -> dict[str, Any]:
        """The settings that it has for a target of its own; nothing for others."""
        if target.channel == "email":
            return {"from": self.sender} if self.sender and target.address in self.email else {}
        if target.channel != "webhook" or target.owner != self.owner:
            return {}
        return next((hook.settings for hook in self.webhook if target.address == hook.url), {})

    def plain(self) -> dict[str, Any]:
        """The wish in JSON's terms."""
        lists = {name: list(getattr(self, name)) for name in _LISTS}
        hooks = [{"url": hook.url, **hook.settings} for hook in self.webhook]
        wish = {**lists, "webhook": hooks, "remind": self.remind, "sender": self.sender}
        return wish if self.owner is None else {**wish, "owner": list(self.owner)}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Notify:
        """The inverse of `plain`."""
        hooks = [{**hook, "headers": tuple(hook.get("headers", {}).items())} for hook in plain["webhook"]]
        lists = {name: tuple(plain[name]) for name in _LISTS}
        webhook = tuple(Webhook(**hook) for hook in hooks)
        owner = Owner(*plain["owner"]) if "owner" in plain else None
        return cls(**lists, webhook=webhook, remind=plain["remind"], sender=plain["sender"], owner=owner)


_LISTS = ("on", "email", "command", "apprise")
NOBODY = Notify()


class Late(NamedTuple):
    """The bound beyond which a run is late: it has not ended so long (ns) `after` it was due; or, where `level` is
    set or neither is, it takes longer than is usual: of runs like those before, at most 1 - `level` do.
    """

    after: int | None = None
    level: float | None = None


USUALLY = Late()


class Policy(NamedTuple):
    """The times at which a target takes notices: not in the `quiet` part of the day (minutes), gathered for `digest`
    (ns), and at most so many messages in so long (ns).  What is held back comes in one message.
    """

    quiet: tuple[int, int] | None = None
    digest: int = 0
    rate: tuple[int, int] = (30, _HOUR)


DEFAULT_POLICY = Policy()


@dataclass(frozen=True, slots=True)
class Rule:
    """A wish of the site, about the jobs with one of these ids (patterns), tags and users; none: about all."""

    notify: Notify
    jobs: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    policy: Policy = DEFAULT_POLICY


class Ping(NamedTuple):
    """The URLs that are asked for when a run starts, has succeeded and has failed.

    Those that are "" come from `url`, as healthchecks.io has them; where that is "" too, nothing is asked for.
    `output`: the end of the output goes along.
    """

    url: str = ""
    start: str = ""
    success: str = ""
    failure: str = ""
    output: bool = True
    owner: Owner | None = None
    """The user whose job has it, and as whom it is sent; None: it is of one of the host's."""

    @property
    def target(self) -> Target:
        """The check, as one receiver: what waits for it is replaced by what is newer."""
        return Target("ping", self.url or self.success or self.failure or self.start, self.owner)

    def at(self, event: str, how: str, run: str) -> str:
        """The URL for ``start``, ``success`` or ``failure``, "" if there is none.

        `how` is what is appended to `url` (``/start``, ``/1``), `run` the id by which the pings of a run hang together.
        """
        own: str = getattr(self, event)
        if own or not self.url:
            return own
        path, _, query = self.url.partition("#")[0].partition("?")
        return f"{path.rstrip('/')}{how}?{f'{query}&' if query else ''}rid={run}"

    @property
    def settings(self) -> dict[str, Any]:
        """The wish as `ping` has it."""
        return {name: value for name, value in self._asdict().items() if value != "" and name != "owner"}


class Heartbeat(NamedTuple):
    """A URL that is asked for `every` so often (ns) while scheduling goes on."""

    url: str
    every: int
