"""The settings of notices (receivers, events, channels, frequency), and of pings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.users import Owner

_HOUR = 3600 * 1_000_000_000

FAILURES = ("failure", "timeout", "oom", "lost")
"""Ends that are failures; `failure` includes all of them."""
EVENTS = (
    *FAILURES,
    "recovery",
    "success",
    "output",
    "failed_output",
    "missed",
    "late",
    "overdue",
    "skipped",
    "held_up",
    "fuse",
    "config_error",
    "degraded",
)
"""All possible subjects of a notice."""
EVENTS_OF_SITE = ("failure", "recovery", "missed", "late", "overdue", "held_up", "fuse", "config_error", "degraded")
"""The default events of a rule in jobqueued.yaml."""
_WIDER = {"missed": "skipped", "failed_output": "output"}
CHANNELS = ("email", "webhook", "command", "apprise")


class Target(NamedTuple):
    """A receiver of notices: ``email ops@example.org``, or ``command@1000:alice /home/alice/page-me``.

    `owner`: the user who set the receiver in a job and as whom the notice is sent. None means the host, which also
    sends all mail.
    """

    channel: str
    address: str
    owner: Owner | None = None

    def __str__(self) -> str:
        return f"{self.channel}{_mark(self.owner)} {self.address}"

    @property
    def shown(self) -> str:
        """The target in a form for people and logs. The part of a URL after the host is hidden, because it may be
        secret.
        """
        return f"{self._shown} as {self.owner.name}" if self.owner is not None else self._shown

    @property
    def _shown(self) -> str:
        scheme, colon, rest = self.address.partition("://")
        if not colon:
            return f"{self.channel} {self.address}"
        if self.channel == "apprise":  # in an Apprise URL, the host is often a token
            return f"{self.channel} {scheme}://…"
        return f"{self.channel} {scheme}://{re.split('[/?#]', rest, maxsplit=1)[0].rpartition('@')[2]}/…"

    @classmethod
    def parse(cls, text: str) -> Target:
        """Return the target whose str() is `text`."""
        way, _, address = text.partition(" ")
        channel, _, owner = way.partition("@")
        uid, _, name = owner.partition(":")
        found = Owner(int(uid), unquote(name, errors="surrogateescape")) if uid.isdecimal() else None
        return cls(channel, address, found)


def _mark(owner: Owner | None) -> str:
    return "" if owner is None else f"@{owner.uid}:{quote(owner.name, safe='', errors='surrogateescape')}"


class Webhook(NamedTuple):
    """A URL, and the settings for posting notices to this URL (docs/notices.md)."""

    url: str
    template: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    secret_file: str = ""
    proxy: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """Everything except the URL, in the notifier's format."""
        found = {**self._asdict(), "headers": dict(self.headers)}
        return {name: value for name, value in found.items() if value and name != "url"}


@dataclass(frozen=True, slots=True)
class Notify:
    """One rule: notices about the events `on` go to all these addresses.

    `remind` (ns): pause between two reminders. `sender`: the From address of the rule's mails, or "" for the host's
    setting. `owner`: the user whose job has the rule, or None for the host.
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
        """Return whether the rule includes an event."""
        wider = "failure" if event in FAILURES else _WIDER.get(event, event)
        return event in self.on or wider in self.on

    def targets(self) -> Iterator[Target]:
        """Yield all addresses."""
        for channel in CHANNELS:
            owner = None if channel == "email" else self.owner
            for each in getattr(self, channel):
                yield Target(channel, each.url if isinstance(each, Webhook) else each, owner)

    def settings(self, target: Target) -> dict[str, Any]:
        """Return the rule's settings for a target, or {} if there are none."""
        if target.channel == "email":
            return {"from": self.sender} if self.sender and target.address in self.email else {}
        if target.channel != "webhook" or target.owner != self.owner:
            return {}
        return next((hook.settings for hook in self.webhook if target.address == hook.url), {})

    def plain(self) -> dict[str, Any]:
        """Return the rule as JSON."""
        lists = {name: list(getattr(self, name)) for name in _LISTS}
        hooks = [{"url": hook.url, **hook.settings} for hook in self.webhook]
        wish = {**lists, "webhook": hooks, "remind": self.remind, "sender": self.sender}
        return wish if self.owner is None else {**wish, "owner": list(self.owner)}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Notify:
        """Return the rule from its JSON form: the inverse of `plain`."""
        hooks = [{**hook, "headers": tuple(hook.get("headers", {}).items())} for hook in plain["webhook"]]
        lists = {name: tuple(plain[name]) for name in _LISTS}
        webhook = tuple(Webhook(**hook) for hook in hooks)
        owner = Owner(*plain["owner"]) if "owner" in plain else None
        return cls(**lists, webhook=webhook, remind=plain["remind"], sender=plain["sender"], owner=owner)


_LISTS = ("on", "email", "command", "apprise")
NOBODY = Notify()


class Late(NamedTuple):
    """The limit beyond which a run is late.

    With `after`, a run is late if it has not ended this long (ns) after its due time. With `level`, or without either
    field, a run is late if it takes longer than usual: at most a fraction of 1 - `level` of similar runs takes that
    long.
    """

    after: int | None = None
    level: float | None = None


USUALLY = Late()


class Policy(NamedTuple):
    """The times when a target accepts notices.

    `quiet`: the part of the day without messages, in minutes from midnight. `digest`: the time (ns) for which notices
    are collected. `rate`: the maximum number of messages, and the time (ns) for which it applies. Delayed notices are
    sent in one message.
    """

    quiet: tuple[int, int] | None = None
    digest: int = 0
    rate: tuple[int, int] = (30, _HOUR)


DEFAULT_POLICY = Policy()


@dataclass(frozen=True, slots=True)
class NotifyRule:
    """A rule in jobqueued.yaml for jobs that match one of these IDs (patterns), tags and users; by default for all
    jobs.
    """

    notify: Notify
    jobs: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    policy: Policy = DEFAULT_POLICY


class Ping(NamedTuple):
    """The URLs to request when a run starts, succeeds or fails.

    If `start`, `success` or `failure` is "", its URL is derived from `url`, in the format of healthchecks.io; if `url`
    is "" too, nothing is requested. `output`: whether to send the end of the output with the ping.
    """

    url: str = ""
    start: str = ""
    success: str = ""
    failure: str = ""
    output: bool = True
    owner: Owner | None = None
    """The user whose job has the ping and as whom the ping is sent, or None for the host's jobs."""

    @property
    def target(self) -> Target:
        """The monitor's check as one receiver, so that a newer ping replaces a waiting ping."""
        return Target("ping", self.url or self.success or self.failure or self.start, self.owner)

    def at(self, event: str, how: str, run: str) -> str:
        """Return the URL for ``start``, ``success`` or ``failure``, or "" for no request.

        `how` is the suffix for `url` (``/start``, ``/1``); `run` is the ID that links the pings of one run.
        """
        own: str = getattr(self, event)
        if own or not self.url:
            return own
        path, _, query = self.url.partition("#")[0].partition("?")
        return f"{path.rstrip('/')}{how}?{f'{query}&' if query else ''}rid={run}"

    def plain(self) -> dict[str, Any]:
        """Return the settings as JSON."""
        return {**self.settings, "owner": None if self.owner is None else list(self.owner)}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Ping:
        """Return the settings from their JSON form: the inverse of `plain`."""
        return cls(**{**plain, "owner": None if plain["owner"] is None else Owner(*plain["owner"])})

    @property
    def settings(self) -> dict[str, Any]:
        """The settings in the format of the key `ping`."""
        return {name: value for name, value in self._asdict().items() if value != "" and name != "owner"}


class Heartbeat(NamedTuple):
    """A URL that is requested `every` ns while scheduling works."""

    url: str
    every: int
