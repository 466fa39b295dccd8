"""A notice as the notifier receives it, the files that it may read, and the verdicts of channels.

docs/notices.md has the settings of each channel.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict, TypeVar, cast
from urllib.parse import unquote

from jobqueued.child.contract import atomic_file
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.text import size
from jobqueued.child.contract.tuples import NamedTuple

VERSION = 1
LARGEST = 8 << 20
"""Maximum bytes of a notice, with its record."""
SECONDS, MOST_SECONDS = 45, 55
"""Default and maximum time (s) of a try. The supervisor kills a notifier after a minute."""
_LARGEST_CREDENTIAL = 4096
_ID = re.compile(r"[ !#-\[\]-~]{1,250}")
_SHORTEST = 8
"""Minimum length for a secret to be hidden inside words. A shorter secret is hidden only as a separate word."""

T = TypeVar("T")


class Later(Exception):
    """The notice can't be sent now. `seconds`: the pause that the receiver requested, or 0."""

    def __init__(self, why: str, seconds: int = 0) -> None:
        super().__init__(why)
        self.seconds = seconds


class Never(Exception):
    """The notice can't be sent without a change; str() has the cause and the fix."""


class AddressRefused(OSError):
    """A user's channel may not connect to this address; strerror has the accepted addresses."""


class OutOfTime(BaseException):
    """The time of this try is over.

    This is a BaseException, so that no library handles it as the library's own failure.
    """


class NoticeIncident(TypedDict):
    """An incident. Several notices may be about one incident. `count`: how often it happened."""

    id: str
    since: str
    count: int
    first_run: str | None


class HeldNotice(TypedDict):
    """A notice that was held back, or several equal notices. For output, also the run and the output's end (`tail`)."""

    event: str
    summary: str
    count: int
    run: NotRequired[str | None]
    tail: NotRequired[str]


class PingToSend(TypedDict):
    """A ping. `body`: the text to send, or None if there is no room for it.

    `until`: time (CLOCK_MONOTONIC, s) after which the ping would be wrong.
    """

    number: int
    url: str
    body: str | None
    until: NotRequired[float]


class NoticeEvent(TypedDict, total=False):
    """An event. The first four keys are always present. A report has a `text`, and may have `html`."""

    event: str
    host: str
    at: str
    summary: str
    job: str | None
    run: str | None
    user: str | None
    command: str | Sequence[str] | None
    incident: NoticeIncident | None
    record: Record | None
    held_back: list[HeldNotice]
    not_shown: int
    pings: list[PingToSend]
    text: str
    html: str | None


class NoticeToSend(NamedTuple):
    """An event for a receiver; `id` is the same in every try.

    `secrets`: strings that verdicts must not contain, even if a receiver repeats them. `parts`: separate verdicts on
    parts such as pings; None means sent. `user`: the user who owns the channel and sends the notice, or "" for the
    host. `reach`: this host's addresses that the site permits for the channel.
    """

    id: str
    channel: str
    target: str | list[str]
    settings: Mapping[str, Any]
    event: NoticeEvent
    secrets: list[str]
    parts: list[tuple[int, Later | Never | None]]
    user: str = ""
    reach: Sequence[str] = ()

    @property
    def seconds(self) -> float:
        """Maximum time (s) of this try."""
        seconds = float(self.setting("timeout", (int, float), SECONDS))
        if not 0 < seconds <= MOST_SECONDS:
            raise Never(f"{self.channel}: timeout is {seconds:g}; expected up to {MOST_SECONDS} (seconds)")
        return seconds

    @property
    def step(self) -> float:
        """Maximum time (s) for a receiver's answer."""
        return self.seconds / 3

    @property
    def address(self) -> str:
        """The target as a single string. Raises Never for a list."""
        if isinstance(self.target, str):
            return self.target
        raise Never(f"{self.channel}: found a list; expected one target")

    def setting(self, name: str, kind: type[T] | tuple[type[T], ...], default: T) -> T:
        """Return a setting of the channel, or the default. Raises Never if the setting has another type."""
        value = self.settings.get(name)
        if value is None:
            return default
        if not isinstance(value, kind) or isinstance(value, bool):
            raise Never(f"{self.channel}: {name} is a {type(value).__name__}, which is not accepted")
        return value

    def hide(self, text: str) -> None:
        """Hide a string and its longer words in verdicts, also in their encodings for URLs and headers."""
        words = [word for word in re.split(r"[/?&=;,:@#\s]", text) if len(word) >= _SHORTEST]
        self.secrets.extend(each for piece in (text, *words) for each in (piece, unquote(piece)))

    def quoted(self, text: str) -> str:
        """Remove secrets from a receiver's or template's text, and return it for a verdict."""
        for secret in sorted(filter(str.strip, self.secrets), key=len, reverse=True):
            text = text.replace(secret, "…") if len(secret) >= _SHORTEST else re.sub(_as_word(secret), "…", text)
        return text

    def credential(self, name: str) -> str | None:
        """Return the secret in a setting's file, or None if the setting is missing."""
        path = self.setting(name, str, "")
        if not path:
            return None
        if not path.startswith("/"):
            raise Never(f"{name} is {path!r}; expected an absolute path")
        secret = _credential(path, self.user)
        self.secrets.append(secret)
        return secret


def read(data: bytes) -> NoticeToSend:
    """Parse a notice from JSON. Raises Never, whose message names the missing part."""
    if len(data) > LARGEST:
        raise Never(f"the notice has more than {size(LARGEST)}")
    try:
        # encoding and then decoding replaces lone surrogates
        given = json.loads(json.dumps(json.loads(data), ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError):
        raise Never("the notice is not JSON") from None
    fields: dict[str, type | tuple[type, ...]] = {
        "id": str,
        "channel": str,
        "target": (str, list),
        "settings": dict,
        "event": dict,
    }
    kinds: dict[str, type] = {"event": str, "host": str, "at": str, "summary": str}
    if not isinstance(given, dict) or given.get("version") != VERSION:
        raise Never(f"the notice is not of version {VERSION}; restart jobqueued after an upgrade")
    event = given.get("event")
    lacking = [name for name, kind in fields.items() if not isinstance(given.get(name), kind)]
    if isinstance(event, dict):
        lacking += [f"event.{name}" for name, kind in kinds.items() if not isinstance(event.get(name), kind)]
    if lacking:
        raise Never(f"the notice lacks {', '.join(lacking)}")
    if not _ID.fullmatch(given["id"]):
        raise Never("the notice's id can't be used in a header")
    target = given["target"]
    if isinstance(target, list) and not (target and all(isinstance(word, str) for word in target)):
        raise Never("the notice's target is a list with an item that is not a string")
    whole = (given["id"], given["channel"], target, given["settings"], cast("NoticeEvent", event))
    return NoticeToSend(*whole, [], [], given.get("user", ""), given.get("reach", ()))


def _as_word(text: str) -> str:
    """Return a pattern that matches a string with no adjacent letter or digit, except in an escape such as %2F."""
    before = r"(?:(?<![^\W_])|(?<=%[0-9A-Fa-f]{2}))" if text[0].isalnum() else ""
    return f"{before}{re.escape(text)}" + r"(?![^\W_])" * text[-1].isalnum()


def _credential(path: str, user: str) -> str:
    """Return the first line of a private file. `user`: the user who reads the file, or "" for the host's notifier."""
    try:
        with open(atomic_file.to_read(path, follow=True), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_LARGEST_CREDENTIAL + 1)
    except OSError as error:
        allow = f"; expected a file that {user} can read" if user else f": chgrp jobqueue {path} && chmod 640 {path}"
        allow = allow if error.errno == errno.EACCES else ""
        raise Never(f"{path}: {error.strerror}{allow}") from None
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise Never(f"{path}: any user can read or write it: chmod o= {path}")
    secret = content.decode(errors="replace").partition("\n")[0].strip()
    if not secret or len(content) > _LARGEST_CREDENTIAL:
        raise Never(f"{path}: expected one line with the secret, and nothing else")
    return secret
