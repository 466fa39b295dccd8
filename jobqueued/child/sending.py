"""One notice on its way: the program that sends it runs as a user of its own, bounded in time and memory."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import sys
import time
from typing import Any

from jobqueued.child import spawn, tree
from jobqueued.child.cgroup import Cgroup
from jobqueued.child.documents import LaunchSpec
from jobqueued.child.identity import StartFailed
from jobqueued.child.text import printable

NOTIFIER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "notifier", "main.py")
SECONDS = 60.0
AFTERWARDS = 30.0
"""For so long (s) processes may go on that a mail program has left to deliver what it took."""
_MEMORY, _CPU_SECONDS = 512 << 20, 30
_ANSWER = 1 << 16
"""Bytes of all answers, which a pipe holds."""
_SHOWN = 240
"""Characters of an answer that are passed on: it has to fit a message to the launcher."""


_NO_USER = "; make it with systemd-sysusers, or name another: notifier in jobqueued.yaml"
_OTHER_USER = "; name a user who can: notifier in jobqueued.yaml"
_PART = re.compile(r"[0-9]{1,20} (sent|later|never)\b")


def send(document: int) -> tuple[str, list[str]]:
    """Send the notice in a file, ``{"user": …, "notice": {…}}``; the answer, and those about parts of it by number."""
    with open(document, "rb", closefd=False) as file:
        file.seek(0)
        order = json.loads(file.read())
    try:
        answer = _run(order["user"], json.dumps(order["notice"]))
    except StartFailed as error:
        remedy = _NO_USER if error.step == "user" else _OTHER_USER if error.number == errno.EACCES else ""
        return f"later 0 {printable(str(error))[:_SHOWN]}{remedy}", []
    except OSError as error:
        return f"later 0 {printable(str(error))[:_SHOWN]}", []
    finally:
        tree.end_all(time.monotonic() + AFTERWARDS)
    lines = [printable(line)[:_SHOWN] for line in answer.decode(errors="replace").splitlines()]
    parts = [line for line in lines if _PART.match(line)]
    if lines and lines[-1].partition(" ")[0] in ("sent", "later", "never"):
        return lines[-1], parts
    said = lines[-1][:200] if lines else ""
    remedy = _OTHER_USER if os.strerror(errno.EACCES) in said else ""
    return f"later 0 its sender gave no answer{f': {said}' if said else ''}{remedy}", parts


def _run(user: str | None, notice: str) -> bytes:
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        try:
            pid = spawn.spawn(_spec(user, notice), writing, Cgroup(-1, "")).pid
        finally:
            os.close(writing)
        if not tree.one_ends([pid], SECONDS):
            tree.end_all(0)
            return b"later 0 it took more than %d s" % SECONDS
        with contextlib.suppress(BlockingIOError):
            return os.read(reading, _ANSWER)
        return b""
    finally:
        os.close(reading)


def _spec(user: str | None, notice: str) -> LaunchSpec:
    limits = {
        "RLIMIT_AS": ["memory", _MEMORY, _MEMORY], "RLIMIT_CPU": ["cpu_time", _CPU_SECONDS, _CPU_SECONDS],
        "RLIMIT_CORE": ["core", 0, 0],
    }  # fmt: skip
    spec: Any = {
        "command": [sys.executable, "-I", NOTIFIER], "user": user, "group": None, "groups": None,
        "shell": "/bin/sh", "environment": {}, "environment_file": [], "login_environment": False,
        "umask": 0o077, "working_directory": "/", "stdin": notice, "attributes": {"limits": limits},
    }  # fmt: skip
    return spec  # type: ignore[no-any-return]
