"""Wishes to be told: who is to get a notice of what, by which channel, and how often; and who is to get pings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from jobqueued.child.tuples import NamedTuple
from jobqueued.nouns import dataclass

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
    """The way a notice goes: ``email ops@example.org``."""

    channel: str
    address: str

    def __str__(self) -> str:
        return f"{self.channel} {self.address}"

    @property
    def shown(self) -> str:
        """The target for people and logs: what is behind the host of a URL is a secret."""
        scheme, colon, rest = self.address.partition("://")
        if not colon:
            return str(self)
        if self.channel == "apprise":  # there the host is often a token, too
            return f"{self.channel} {scheme}://…"
        return f"{self.channel} {scheme}://{re.split('[/?#]', rest, maxsplit=1)[0].rpartition('@')[2]}/…"

    @classmethod
    def parse(cls, text: str) -> Target:
        """The inverse of str()."""
        channel, _, address = text.partition(" ")
        return cls(channel, address)


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

    `sender`: from whom its mails are; "": as the settings have it.
    """

    on: tuple[str, ...] = ("failure", "recovery", "missed", "overdue")
    email: tuple[str, ...] = ()
    webhook: tuple[Webhook, ...] = ()
    command: tuple[str, ...] = ()
    apprise: tuple[str, ...] = ()
    remind: int | None = 6 * _HOUR
    sender: str = ""

    def wants(self, event: str) -> bool:
        """Tell whether it is about an event."""
        wider = "failure" if event in FAILURES else _WIDER.get(event, event)
        return event in self.on or wider in self.on

    def targets(self) -> Iterator[Target]:
        """Yield all addresses."""
        for channel in CHANNELS:
            for each in getattr(self, channel):
                yield Target(channel, each.url if isinstance(each, Webhook) else each)

    def settings(self, target: Target) -> dict[str, Any]:
        """The settings that it has for a target of its own; nothing for others."""
        if target.channel == "email":
            return {"from": self.sender} if self.sender and target.address in self.email else {}
        return next((hook.settings for hook in self.webhook if target == ("webhook", hook.url)), {})

    def plain(self) -> dict[str, Any]:
        """The wish in JSON's terms."""
        lists = {name: list(getattr(self, name)) for name in _LISTS}
        hooks = [{"url": hook.url, **hook.settings} for hook in self.webhook]
        return {**lists, "webhook": hooks, "remind": self.remind, "sender": self.sender}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Notify:
        """The inverse of `plain`."""
        hooks = [{**hook, "headers": tuple(hook.get("headers", {}).items())} for hook in plain["webhook"]]
        lists = {name: tuple(plain[name]) for name in _LISTS}
        webhook = tuple(Webhook(**hook) for hook in hooks)
        return cls(**lists, webhook=webhook, remind=plain["remind"], sender=plain["sender"])


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

    @property
    def target(self) -> Target:
        """The check, as one receiver: what waits for it is replaced by what is newer."""
        return Target("ping", self.url or self.success or self.failure or self.start)

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
        return {name: value for name, value in self._asdict().items() if value != ""}


class Heartbeat(NamedTuple):
    """A URL that is asked for `every` so often (ns) while scheduling goes on."""

    url: str
    every: int
