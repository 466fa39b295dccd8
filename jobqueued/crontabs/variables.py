"""Translates the variables that have a meaning for cron itself into job keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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


class VariableRefused(Exception):
    """A variable that cron itself uses has an invalid value; the message describes the problem."""


def keys_of(entry: TableEntry, owner: str, *, mails: bool) -> dict[str, Any]:
    """Return the Job fields that the variables above a line set. Raises VariableRefused.

    `owner` gets the mail if MAILTO is not set. `mails`: whether the host can send mail.
    """
    return _keys(entry.environment, owner if mails else None, entry.only_on_error)


@lru_cache(maxsize=256)
def _keys(environment: tuple[tuple[str, str], ...], owner: str | None, only_on_error: bool) -> dict[str, Any]:
    """Return the fields that these variables set; lines with the same variables share the result."""
    given = dict(environment)
    given.pop("LOGNAME", None)
    found: dict[str, Any] = {
        "shell": _absolute(given, "SHELL", _SHELL),
        "environment": tuple({"PATH": DEFAULT_PATH, **given}.items()),
        "notify": NOBODY if owner is None else _notify(given, owner, only_on_error),
    }
    if "HOME" in given:
        found["working_directory"] = "-" + _absolute(given, "HOME", "/")
    if given.get("CRON_TZ"):
        found["timezone"] = given["CRON_TZ"]
    if given.get("RANDOM_DELAY"):
        found["spread"] = _minutes(given["RANDOM_DELAY"]) * MINUTE
    return found


def _absolute(given: Mapping[str, str], name: str, default: str) -> str:
    value = given.get(name) or default
    if not value.startswith("/"):
        raise VariableRefused(f"found {name}={quoted(value)} above this line; expected an absolute path")
    return value


def _minutes(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) <= _MOST_MINUTES):
        raise VariableRefused(
            f"found RANDOM_DELAY={quoted(text)} above this line; expected 0 to {_MOST_MINUTES} minutes"
        )
    return int(text)


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
