"""Send a notice with a program that runs as another user, with time and memory limits."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import resource
import sys
import time
from typing import Any

from jobqueued.child.contract.documents import LaunchSpec
from jobqueued.child.contract.text import printable
from jobqueued.child.processes import tree
from jobqueued.child.processes.cgroup import Cgroup
from jobqueued.child.start import identity, spawn
from jobqueued.child.start.identity import StartFailed

NOTIFIER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "notifier", "main.py")
SECONDS = 60.0
AFTERWARDS = 30.0
"""Time (s) that processes left by a mail program have to deliver the accepted mail."""
_LIMITS = {"RLIMIT_AS": ("memory", 512 << 20), "RLIMIT_CPU": ("cpu_time", 30), "RLIMIT_CORE": ("core", 0)}
_STUCK = 5.0
"""Time (s) to wait for a killed process that a user's file system may block. The launcher then inherits it."""
_ANSWER = 1 << 16
"""Maximum total size (bytes) of all answers, which must fit in a pipe."""
_SHOWN = 240
"""Maximum characters in an answer, which must fit in a message to the launcher."""


_NO_USER = "; create this user with systemd-sysusers, or set another `notifier` in jobqueued.yaml and restart jobqueued"
_OTHER_USER = "; set `notifier` in jobqueued.yaml to a user who can, and restart jobqueued"
_PART = re.compile(r"[0-9]{1,20} (sent|later|never)\b")


def send(document: int, home: int = -1) -> tuple[str, list[str]]:
    """Send the notice in a file, ``{"user": …, "notice": {…}}``.

    Return the answer, and answers about the notice's parts. A process that runs as the user sends a user's own notice:
    ``"owner"`` is as in a launch spec, ``"barred"`` has the lists of `identity.barred`, and ``"above"`` is the cgroup
    in `home` above the process. Raises SystemExit if a killed process that runs as the user does not end.
    """
    with open(document, "rb", closefd=False) as file:
        file.seek(0)
        order = json.loads(file.read())
    is_own, cgroup = "owner" in order, _cgroup(order, home)
    try:
        answer = _refusal(order) or _run(order, cgroup)
    except StartFailed as error:
        remedy = "" if is_own else _NO_USER if error.step == "user" else _OTHER_USER * (error.number == errno.EACCES)
        return f"later 0 {printable(str(error))[:_SHOWN]}{remedy}", []
    except OSError as error:
        return f"later 0 {printable(str(error))[:_SHOWN]}", []
    finally:
        _end(cgroup, is_own=is_own)
    lines = [printable(line)[:_SHOWN] for line in answer.decode(errors="replace").splitlines()]
    asked = {str(ping["number"]) for ping in order["notice"].get("event", {}).get("pings", ())}
    parts = {number: line for line in lines if _PART.match(line) and (number := line.partition(" ")[0]) in asked}
    if lines and lines[-1].partition(" ")[0] in ("sent", "later", "never"):
        return lines[-1], [*parts.values()]
    said = lines[-1][:200] if lines else ""
    remedy = _OTHER_USER if os.strerror(errno.EACCES) in said and not is_own else ""
    return f"later 0 its sender did not reply{f': {said}' if said else ''}{remedy}", [*parts.values()]


def _refusal(order: dict[str, Any]) -> bytes:
    """Return a refusal if the channel's user may not have jobs, or b""."""
    if "owner" not in order:
        return b""
    owner = order["owner"]
    trouble = identity.trouble_with("owner", [owner["name"], owner["uid"], *order["barred"]])
    return f"never {trouble}".encode(errors="replace") if trouble else b""


def _cgroup(order: dict[str, Any], home: int) -> Cgroup:
    """Return the cgroup for a user's notice or ping, inside the cgroup for the user's runs."""
    if "owner" not in order:
        return Cgroup(-1, "")
    above = order["above"]
    name = f"{above['name']}.{'ping' if order['notice']['channel'] == 'ping' else 'notice'}"
    Cgroup.find(home, name).remove()  # left by a killed supervisor
    cgroup = Cgroup(home, name)
    cgroup.above = above
    return cgroup


def _end(cgroup: Cgroup, *, is_own: bool) -> None:
    """End the remaining processes. Only the host's mail program may continue for a while."""
    if not is_own:
        tree.end_all(time.monotonic() + AFTERWARDS)
        return
    cgroup.kill()
    if not tree.end_all(time.monotonic(), _STUCK) or not cgroup.remove():
        raise SystemExit("jq-supervisor: a process that sends a notice as its user does not end")


def _run(order: dict[str, Any], cgroup: Cgroup) -> bytes:
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        try:
            cgroup.make()
            pid = spawn.spawn(_spec(order), writing, cgroup).pid
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise OSError(errno.EBUSY, "the process that sent the last notice does not exit") from None
            raise
        finally:
            os.close(writing)
        if not tree.one_ends([pid], SECONDS):
            if "owner" not in order:
                tree.end_all(0)
            return b"later 0 it took more than %d s" % SECONDS
        with contextlib.suppress(BlockingIOError):
            return os.read(reading, _ANSWER)
        return b""
    finally:
        os.close(reading)


def _spec(order: dict[str, Any]) -> LaunchSpec:
    limits = {name: [key, *[_at_most(getattr(resource, name), limit)] * 2] for name, (key, limit) in _LIMITS.items()}
    spec: Any = {
        "command": [sys.executable, "-I", NOTIFIER],
        "user": order["user"],
        "group": None,
        "groups": None,
        "owner": order.get("owner"),
        "asks_pam": "owner" in order,
        "shell": "/bin/sh",
        "environment": {},
        "environment_file": [],
        "login_environment": False,
        "umask": 0o077,
        "working_directory": "/",
        "stdin": json.dumps(order["notice"]),
        "attributes": {"limits": limits},
    }
    return spec  # type: ignore[no-any-return]


def _at_most(number: int, limit: int) -> int:
    """Return the limit, or this process's current hard limit if that is lower."""
    most = resource.getrlimit(number)[1]
    return limit if most == resource.RLIM_INFINITY else min(limit, most)
