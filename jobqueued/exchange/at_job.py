"""Converts an at(1) job, from its spool file, to a draft of a job that is due once."""

from __future__ import annotations

import re
import shlex
from typing import Any

from jobqueued.base.instants import DAY, MINUTE, to_datetime
from jobqueued.crontabs.jobs import CronHost
from jobqueued.exchange.draft import ImportedFile, JobDraft, UniqueIds
from jobqueued.jobfile.tree.words import is_variable
from jobqueued.model.job import Job
from jobqueued.model.notify import NOBODY, Notify
from jobqueued.timing.schedule import At

NAME = re.compile(r"([a-zA-Z])([0-9a-f]{5})([0-9a-f]{8})")
"""Pattern for a job's file name in the spool: the queue, the job number, and the due time in minutes since 1970.

A name that begins with ``=`` does not match, because this job is already running.
"""
_HEAD = re.compile(r"#! ?/bin/sh\n# atrun uid=(\d+) gid=\d+\n# mail +(\S+) (-?\d)\n")
_UMASK = re.compile(r"umask ([0-7]{1,4})\n")
_EXPORT = re.compile(r"([^=\n]+)=((?:\\\n|[^\n]|\n(?!export ))*?); export \1\n")
_CD = re.compile(r"cd ([^\n]+) \|\| \{\n[^\n]*\n\s*exit 1\n\}\n")
_DOCUMENT = re.compile(r"\$\{SHELL:-/bin/sh\} << '(\S+)'\n(.*)\n\1\n", re.DOTALL)
_QUIET, _ALWAYS = "-1", "1"
_SHELL = "/bin/sh"


def read_at_job(
    data: bytes, file: str, spool_name: str, user: str | None, host: CronHost, ids: UniqueIds
) -> ImportedFile:
    """Read the job in a spool file. `user`: the name of the file's owner, or None if the host has no such user. Never
    raises.
    """
    source = ImportedFile(file, spool_name)
    job_id: str | None = None
    row: dict[str, Any] = {"line": 1, "type": "job", "schedule": "", "user": user, "command": "", "stdin": None}
    try:
        found = NAME.fullmatch(spool_name)
        if found is None:
            raise ValueError("is not named like an at(1) job")
        if user is None:
            raise ValueError("belongs to a user who does not exist on this host")
        due = int(found[3], 16) * MINUTE
        keys, differs = _keys(data.decode(errors="surrogateescape"), user, mails=host.mails)
        keys = {"at": to_datetime(due).replace(tzinfo=None).isoformat(timespec="minutes") + "Z", **keys}
        row |= {"schedule": keys["at"], "command": keys["command"]}
        if found[1] not in "aA":
            differs.append(
                f"is in the queue {found[1]!r}, but here it has the usual priority and does not wait for a low load"
            )
        job_id = ids.free("at", str(int(found[2], 16)))
        source.drafts.append(
            JobDraft(id=job_id, keys=keys, means=_job(job_id, keys, due, host.timezone), line=1, differs=tuple(differs))
        )
        for text in differs:
            source.add_problem(0, text)
    except (ValueError, OverflowError) as error:
        source.add_problem(0, f"{error}; it is not imported", "error")
    notes = [problem.message for problem in source.problems]
    source.rows.append({**row, "environment": {}, "id": job_id, "notes": notes})
    return source


def uid_of(data: bytes) -> int | None:
    """Return the UID of the user who submitted a job, or None if the data are not an at(1) job."""
    found = _HEAD.match(data[:4096].decode(errors="replace"))
    return int(found[1]) if found else None


def _job(job_id: str, keys: dict[str, Any], due: int, timezone: str) -> Job:
    wish = keys.get("notify")
    return Job(
        id=job_id,
        command=keys["command"],
        at=due,
        triggers=(At(to_datetime(due)),),
        user=keys["user"],
        umask=int(keys["umask"], 8) if "umask" in keys else None,
        working_directory=keys.get("working_directory"),
        environment=tuple(keys.get("environment", {}).items()),
        notify=Notify(("output",), (wish["email"],), remind=None) if wish else NOBODY,
        leave_children=True,
        catch_up_window=365 * DAY,
        timezone=timezone,
        shell=keys.get("shell", _SHELL),
    )


def _keys(text: str, user: str, *, mails: bool) -> tuple[dict[str, Any], list[str]]:
    """Return the keys for a job's script, and notes about the script.

    In the script, variables and other settings precede the commands. Raises ValueError.
    """
    head = _HEAD.match(text)
    if head is None:
        raise ValueError("does not begin like a job of at(1)")
    place, differs = head.end(), list[str]()
    keys: dict[str, Any] = {"user": user}
    if found := _UMASK.match(text, place):
        keys["umask"], place = f"{int(found[1], 8):04o}", found.end()
    variables = dict[str, str]()
    while found := _EXPORT.match(text, place):
        variables[found[1]], place = _unquoted(found[2]), found.end()
    for name in [name for name in variables if not is_variable(name)]:
        del variables[name]
        differs.append(f"leaves the variable {name!r} out, because a job file can't have a variable of this name")
    if found := _CD.match(text, place):
        keys["working_directory"], place = _unquoted(found[1]), found.end()
    body = text[place:]
    if found := _DOCUMENT.fullmatch(body):
        body, keys["shell"] = found[2], variables.get("SHELL", _SHELL)
        if not keys["shell"].startswith("/"):
            raise ValueError(f"has SHELL={keys['shell']!r}; expected an absolute path")
    if not body.strip():
        raise ValueError("has no command")
    keys |= {
        "command": _whole(body.strip("\n")),
        "environment": variables,
        "leave_children": True,
        "catch_up_window": "365d",
    }
    if keys.get("shell") == _SHELL:
        del keys["shell"]
    if head[3] != _QUIET and not mails:
        differs.append("notifies no one, because this host can't send mail (no sendmail, no `smtp` in jobqueued.yaml)")
    elif head[3] != _QUIET:
        keys["notify"] = {"on": "output", "email": head[2], "remind": "none"}
    if head[3] == _ALWAYS:
        differs.append("sends mail only if the job prints something, not always")
    return {name: value for name, value in keys.items() if value != {}}, differs


def _unquoted(text: str) -> str:
    """Return a word as the shell reads it, because at(1) escapes each special byte, including each byte of é."""
    return _whole("".join(shlex.split(text.replace('"\n"', "'\n'"))))


def _whole(text: str) -> str:
    """Join the bytes that at(1) escaped one by one. Raises UnicodeDecodeError if the bytes are not UTF-8."""
    return text.encode(errors="surrogateescape").decode()
