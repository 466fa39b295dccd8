"""Translates the variables that have a meaning for cron itself into job keys."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from jobqueued.base.instants import DAY, MINUTE
from jobqueued.crontabs.table import TableEntry
from jobqueued.jobfile.keys.notify_keys import ADDRESS
from jobqueued.jobfile.tree.yamltext import Scalar, quoted
from jobqueued.jobfile.types.refusal import NotAccepted
from jobqueued.model.notify import NOBODY, Notify

DEFAULT_PATH = "/usr/bin:/bin"
"""The PATH of cron's jobs."""
_SHELL = "/bin/sh"
_MOST_MINUTES = DAY // MINUTE


_HOURS = re.compile(r"([01]?\d|2[0-3])(?:-\d{1,2})?", re.ASCII)


def keys_of(entry: TableEntry, owner: str, *, mails: bool) -> dict[str, Any]:
    """Return the Job fields that the variables above a line set. An invalid value has no effect, as in Debian's cron.

    `owner` gets the mail if MAILTO is not set. `mails`: whether the host can send mail.
    """
    return _keys(entry.environment, owner if mails else None, entry.only_on_error)


@lru_cache(maxsize=256)
def _keys(environment: tuple[tuple[str, str], ...], owner: str | None, only_on_error: bool) -> dict[str, Any]:
    """Return the fields that these variables set; lines with the same variables share the result."""
    given = dict(environment)
    given.pop("LOGNAME", None)
    found: dict[str, Any] = {
        "shell": _shell(given.get("SHELL") or _SHELL),
        "environment": tuple({"PATH": DEFAULT_PATH, **given}.items()),
        "notify": NOBODY if owner is None else _notify(given, owner, only_on_error),
    }
    if "HOME" in given:
        found["working_directory"] = "-" + (given["HOME"] if given["HOME"].startswith("/") else "/")
    if given.get("CRON_TZ"):
        found["timezone"] = given["CRON_TZ"]
    if _is_delay(delay := given.get("RANDOM_DELAY", "")):
        found["spread"] = int(delay) * MINUTE
    return found


def _shell(text: str) -> str:
    """Return a shell's path, which is relative to a run's directory if it is not absolute: cron does not use PATH."""
    return text if "/" in text else f"./{text}"


def _is_delay(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6 and int(text) <= _MOST_MINUTES


def first_hour(environment: Iterable[tuple[str, str]]) -> int | None:
    """Return the first hour of START_HOURS_RANGE, or None if it is not set or invalid."""
    found = _HOURS.fullmatch(dict(environment).get("START_HOURS_RANGE", ""))
    return None if found is None else int(found[1])


def odd_value(name: str, value: str, *, is_of_anacron: bool) -> str:
    """Return a warning about an invalid value of a variable that cron itself uses, or "". The lines below it run."""
    path = "expected an absolute path"
    if not value:
        return ""
    if name == "SHELL" and not value.startswith("/"):
        return f"runs look for this SHELL in their working directory, as with cron: found {quoted(value)}; {path}"
    if name == "HOME" and not value.startswith("/"):
        return f"runs start in / instead of HOME: found {quoted(value)}; {path}"
    if name == "RANDOM_DELAY" and not _is_delay(value):
        return f"RANDOM_DELAY has no effect: found {quoted(value)}; expected 0 to {_MOST_MINUTES} minutes"
    if name == "START_HOURS_RANGE" and is_of_anacron and first_hour([(name, value)]) is None:
        return f"START_HOURS_RANGE has no effect: found {quoted(value)}; expected hours, as in 6-22"
    return ""


def _notify(given: Mapping[str, str], owner: str, only_on_error: bool) -> Notify:
    """Return the setting that mails the output of a line's runs, or of failed runs only, to MAILTO; NOBODY if MAILTO
    contains no address.
    """
    email = tuple(address for address in _parts(given.get("MAILTO", owner)) if not _refusal(address))
    if not email:
        return NOBODY
    sender = given.get("MAILFROM", "").strip()
    sender = "" if _refusal(sender) else sender
    return Notify(("failed_output" if only_on_error else "output",), email, remind=None, sender=sender)


def odd_mail(name: str, value: str) -> str:
    """Return a warning about the first string in a variable that is not a mail address, or "" if there is none.

    `name`: MAILTO, MAILFROM, or "" for the owner of a line without MAILTO. The lines below the variable run, but the
    mail program never gets this string.
    """
    for text in filter(None, [value.strip()]) if name == "MAILFROM" else _parts(value):
        if accepted := _refusal(text):
            return f"{_EFFECTS[name]}: found {quoted(text)}; expected {accepted}"
    return ""


_EFFECTS = {
    "MAILTO": "a part of MAILTO gets no mail",
    "MAILFROM": "MAILFROM has no effect",
    "": "the owner gets no mail without MAILTO",
}


def _parts(value: str) -> Iterator[str]:
    return filter(None, map(str.strip, value.split(",")))


def foreign_sender(sender: str, owner: str, host: str) -> str:
    """Return why a user's table can't send mail from this address, or "" if it is the user's own address on this host.

    Also return "" for a string that is not an address, because `odd_mail` reports this string.
    """
    name, at, domain = sender.partition("@")
    if _refusal(sender) or (name == owner and (not at or domain.lower() == host.lower())):
        return ""
    own = f"{owner}, {owner}@{host}" if host else owner
    permit = "any address if root permits it with `users: {permit: [notify]}` in jobqueued.yaml"
    return f"found {quoted(sender)}; accepted in the table of {owner}: {own}, or {permit}"


def _refusal(address: str) -> str:
    """Return the rule for mail addresses if a string breaks it, or "" if job files accept the address."""
    try:
        ADDRESS.read(Scalar(0, 0, address, plain=False))
    except NotAccepted as wrong:
        return wrong.refusals[0].accepted
    return ""
