"""Orders to read, install or remove a crontab. A supervisor carries them out as root for the calling user."""

from __future__ import annotations

import errno
import json
import os
import pwd
import signal
from collections.abc import Iterator
from typing import Any

from jobqueued.child.contract.text import printable
from jobqueued.child.spool import spool_log
from jobqueued.child.spool.spool import NONE, Changed, Spool, SpoolRefused, allowed, fits
from jobqueued.child.start import identity

READ, INSTALL, REMOVE = "read", "install", "remove"
WHO = "who"
"""The act in an order that only requests the user whose files the caller may change."""
_SECONDS = 60
"""Timeout (s) after which this process ends if a disk or a user database hangs. Tables remain complete."""
_PART = 450
"""Maximum bytes of a table in one message to the launcher."""
_SHOWN = 800
_UNLESS = "root can allow it with `users: {allow: [NAME]}` in jobqueued.yaml"


def carry_out(document: int) -> tuple[str, list[str]]:
    """Carry out the order in a file. Return the answer, and the parts of a table that precede it, ``NUMBER HEX``.

    The order: ``{"host", "act", "asker": uid, "pid": the caller's, "user": name or null, "table": hex or null, "stamp":
    text or null, "edits": whether it is read for an edit, "allow", "deny": lists of `identity.barred`}``. The answer:
    ``done STAMP``, ``none USER`` (no table), ``forbidden USER`` (by cron.allow or cron.deny), ``denied`` (another
    user's), ``changed``, ``refused WHY``.

    An order that requests a user has "lists" if cron.allow and cron.deny also count; the answer is ``done UID NAME``.
    """
    with open(document, "rb", closefd=False) as file:
        file.seek(0)
        order = json.loads(file.read())
    signal.alarm(_SECONDS)
    try:
        return _carried_out(order)
    except Changed:
        return "changed", []
    except SpoolRefused as refused:
        return f"refused {printable(str(refused))[:_SHOWN]}", []
    except OSError as error:
        number = error.errno or errno.EIO
        return f"refused {Spool(order['host']).path}: {os.strerror(number)}", []
    finally:
        signal.alarm(0)
        identity.keep_from_jobs()


def _carried_out(order: dict[str, Any]) -> tuple[str, list[str]]:
    asker, spool, act, host = order["asker"], Spool(order["host"]), order["act"], order["host"]
    entry = _entry(asker, order["user"])
    name, uid = entry.pw_name, entry.pw_uid
    if asker not in (0, uid):
        return "denied", []
    if act == WHO:
        trouble = identity.trouble_with("owner", [name, uid, order["allow"], order["deny"]])
        if not trouble and order.get("lists") and asker and not allowed(host, name, asker):
            trouble = (
                f"{name} is not allowed to use cron here (/etc/cron.allow, /etc/cron.deny), and so can't"
                f" add jobs; {_UNLESS}"
            )
        return f"refused {trouble}" if trouble else f"done {uid} {name}", []
    if os.geteuid() not in (0, uid):
        raise SpoolRefused("this daemon does not run as root, so it stores only the table of its own user")
    if not fits(name):
        raise SpoolRefused(
            f"the user {printable(name)!r} can't have a crontab, because this name can't be a file name here"
        )
    who, pid = _name(asker), order.get("pid", 0)  # an older scheduler sends less
    if not allowed(host, name, asker):
        spool_log.say_forbidden(host, who, pid)
        return f"forbidden {name}", []
    if act == INSTALL:
        if asker and (trouble := identity.trouble_with("crontab", [name, order.get("allow"), order.get("deny", ())])):
            raise SpoolRefused(trouble)
        spool.install(name, uid, bytes.fromhex(order["table"]), order["stamp"])
        spool_log.say(host, who, spool_log.REPLACE, name, pid)
        return "done", []
    if act == REMOVE:
        if not spool.remove(name, uid):
            return f"none {name}", []
        spool_log.say(host, who, spool_log.DELETE, name, pid)
        return "done", []
    spool_log.say(host, who, spool_log.BEGIN_EDIT if order.get("edits") else spool_log.LIST, name, pid)
    table, stamp = spool.read(name, uid)
    return (f"none {name}", []) if stamp == NONE else (f"done {stamp}", [*_parts(table)])


def _entry(asker: int, user: str | None) -> pwd.struct_passwd:
    """Return the owner of the table: the named user, or the asker if no user is named. Raises SpoolRefused."""
    try:
        return pwd.getpwuid(asker) if user is None else pwd.getpwnam(user)
    except (KeyError, ValueError, UnicodeError):
        who = f"with the uid {asker}" if user is None else printable(user)
        raise SpoolRefused(f"this host has no user {who}") from None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _parts(table: bytes) -> Iterator[str]:
    for number, at in enumerate(range(0, len(table), _PART)):
        yield f"{number} {table[at : at + _PART].hex()}"
