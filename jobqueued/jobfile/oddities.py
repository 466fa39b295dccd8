"""Warnings about jobs that will probably fail on this host, each with a remedy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from jobqueued.base.problem import Problem
from jobqueued.child.contract.documents import DEFAULT_PATH
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.jobfile.reader import read_parts_in_steps
from jobqueued.jobfile.scopes import NOWHERE, Locality
from jobqueued.jobfile.tree.drop_ins import parts_of
from jobqueued.jobfile.tree.yamltext import Steps, quoted
from jobqueued.jobfile.types.queue_types import ENDS
from jobqueued.jobfile.types.spelling import odd_space_in
from jobqueued.jobfile.types.types import MAX_PROBLEMS
from jobqueued.jobfile.user_rules import UserRules
from jobqueued.model.catalog import written_in
from jobqueued.model.job import Job

_OPERATORS = r"\|\|?|&&?|;|\d?>>?(&\d)?|<<?<?|\d?>/dev/null|!"
_EXPANDED = r"~(/.*)?|\$\{?\w+\}?(/.*)?|\$\(.*|`.*"
_IN_VALUES = r"\$\{?(?P<name>PATH|HOME|USER|LOGNAME|SHELL|PWD|HOSTNAME)\b|(?:^|:)(?P<tilde>~)(?=[/:]|$)"
_BACKGROUND = r"(^|[^&|>\\])&\s*$"
_PERCENT = r"(?<!\\)\\%"
_SHELLS = r"(.*/)?(sh|bash|dash|zsh|ksh|ash|env|su|sudo|ssh|runuser|setpriv)"
_LEAST_MEMORY = 1 << 20
_OF_WORDS = ("command", "failover", "shell", "working_directory", "environment_file", "tags")
"""Keys whose values are shell words, paths, or names."""
_TEMPORARY = "/(var/)?tmp/"


class Surroundings(NamedTuple):
    """The daemon's host and account: the number of CPUs, the user (None means root), and whether /tmp is private."""

    cpus: int
    user: str | None = None
    own_tmp: bool = False


def read_here(
    where: Surroundings, data: bytes, file: str, host: Locality = NOWHERE, *, rules: UserRules | None = None
) -> Steps[tuple[tuple[Job, ...], list[Problem]]]:
    """Read the jobs in a file and its drop-ins as `read_packed` does, and add the warnings about this host."""
    jobs, problems = yield from read_parts_in_steps(parts_of(data, file), file, host, rules=rules)
    return jobs, [*problems, *oddities(jobs, where)][:MAX_PROBLEMS]


def oddities(jobs: Iterable[Job], where: Surroundings) -> Iterator[Problem]:
    """Yield a warning for each oddity, at the line of its job."""
    for job in jobs:
        for code, key, message in _of(job, where):
            yield Problem(written_in(job), job.line, 0, key, message, "warning", job.id, code)


def _of(job: Job, where: Surroundings) -> Iterator[tuple[str, str, str]]:
    """Yield the code, the key and the message of each oddity."""
    for key, command in (("command", job.command), ("failover", job.failover)):
        if isinstance(command, tuple) and (message := _of_words(command)):
            yield "JQ204", key, message
        if isinstance(command, str):
            yield from ((code, key, message) for code, message in _of_line(command, job))
    yield from (("JQ216", key, message) for key in _OF_WORDS if (message := odd_space_in(_text_of(job, key))))
    for name, value in job.environment:
        if message := _of_variable(value):
            yield "JQ210", f"environment.{name}", message
    cpu, memory = job.resource_limits.get("cpu"), job.resource_limits.get("memory")
    if cpu is not None and cpu > where.cpus and job.runner == "local":
        share = f"; write {cpu:g}% if you meant percent" if cpu >= 10 else "; use fewer cores, or no limit"
        yield "JQ511", "resource_limits.cpu", f"found {cpu:g} cores, but the daemon has {where.cpus}{share}"
    if memory is not None and memory < _LEAST_MEMORY:
        message = "found less than any program needs; expected at least a few MiB, such as 64M"
        yield "JQ511", "resource_limits.memory", message
    if where.user is not None and job.user not in (None, where.user):
        message = (
            f"found {quoted(job.user or '')}, but the daemon runs as {where.user} and can't start other users' jobs"
        )
        yield "JQ506", "user", f"{message}; use {where.user}, or run the daemon as root"
    for on in job.on:
        if on.kind == "event" and (result := ENDS.get(on.name)):
            found = f"found {quoted(on.name)}, an event that only `jobqueuectl emit {on.name}` emits"
            yield (
                "JQ217",
                "on.event",
                f"{found}; expected {{job: backup, result: {result}}} to start after each such run of backup",
            )
        if where.own_tmp and on.kind == "path" and re.match(_TEMPORARY, on.name):
            message = f"found {quoted(on.name)}, but the daemon has its own /tmp (PrivateTmp=) and can't see this path"
            yield "JQ513", "on.path", f"{message}; use a path outside /tmp and /var/tmp"


def _text_of(job: Job, key: str) -> str:
    """Return a text key's value, or its values joined if there are several."""
    value = getattr(job, key)
    return " ".join(value) if isinstance(value, tuple) else value or ""


def _of_line(line: str, job: Job) -> Iterator[tuple[str, str]]:
    """Yield a code and a message for each construct that works in a crontab or terminal, but not in a job file."""
    if re.search(_BACKGROUND, line) and not job.leave_children:
        detached = "found & at the end, so the run ends at once and the daemon kills the background process"
        remedy = "the command without & (and without nohup), or `leave_children: true`"
        yield "JQ211", f"{detached}; use {remedy}"
    if re.search(_PERCENT, line):
        yield "JQ212", "found \\%, which only a crontab needs; write %, which is an ordinary character here"


def _of_variable(value: str) -> str:
    """Return the warning about a value that only a shell would expand, or "" if there is none.

    The value may be a secret: don't quote it.
    """
    if not (found := re.search(_IN_VALUES, value)):
        return ""
    if found["name"] == "PATH":
        return f"found $PATH, which nothing expands here; write the directories themselves, such as {DEFAULT_PATH}"
    home = found["tilde"] or found["name"] == "HOME"
    remedy = "the directory itself, such as /home/alice" if home else "its value"
    return f"found {found['tilde'] or '$' + found['name']}, which nothing expands here; write {remedy}"


def _of_words(words: tuple[str, ...]) -> str:
    """Return the warning about a list with words that only a shell would understand, or "" if there is none."""
    if re.fullmatch(_SHELLS, words[0]):
        return ""
    odd = next((word for word in words if re.fullmatch(_OPERATORS, word) or re.fullmatch(_EXPANDED, word)), "")
    if not odd and re.search(r"\s", words[0].strip()):
        odd = words[0]
    text = " ".join(words)
    remedy = f"one string, which a shell reads: {quoted(text)}"
    return f"found {quoted(odd)} in a list, which no shell reads; write {remedy}" if odd else ""
