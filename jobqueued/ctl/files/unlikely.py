"""Job requirements that this host probably does not meet: programs, directories, limits, and an `at` in the past.

The daemon does not check these requirements when it reads a file, because a check of a path can block forever (autofs,
an unreachable network disk), and a missing program may be installed before the run starts. Otherwise the run's record
names the missing file.
"""

from __future__ import annotations

import errno
import os
import pwd
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

from jobqueued.base.instants import to_text
from jobqueued.base.problem import Problem
from jobqueued.base.text import printable
from jobqueued.child.contract.documents import DEFAULT_PATH
from jobqueued.child.contract.trust import distrust, is_roots_alone
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base.client import CallRefused, DaemonUnreachable, ask
from jobqueued.ctl.base.terminal import local
from jobqueued.ctl.files.receivers import Sender
from jobqueued.model.catalog import written_in
from jobqueued.model.job import Job
from jobqueued.model.users import awaited_path, path_in
from jobqueued.settings.paths import Paths

_SHELL = "/(.*/)?(a|ba|da|k|mk|ya|z)?sh"
_OF_SHELLS = (
    r"|\.|:|\[|alias|bg|break|builtin|case|cd|command|continue|declare|dirs|disown|echo|enable|eval|exec|exit|export|"
    "false|fc|fg|for|function|getopts|hash|help|if|jobs|kill|let|local|popd|printf|pushd|pwd|read|readonly|return|select|set|shift|shopt|source|"
    "test|time|times|true|trap|type|typeset|ulimit|umask|unalias|unset|until|wait|while"
)
"""Regular expression for words that are not programs at the start of a shell line."""


def unlikely(jobs: Iterable[Job], paths: Paths, daemon: int) -> Iterator[Problem]:
    """Yield a warning for each unmet requirement, at its job's line. `daemon` is the daemon's UID."""
    jobs, now = tuple(jobs), time.time_ns()
    status = _status(paths) if any(job.enforce == "required" for job in jobs) else None
    for job in jobs:
        found = [*_of_files(job, daemon), *([] if status is None else _of_limits(job, status["controllers"]))]
        if job.at is not None and job.at < now:
            message = (
                f"found an instant in the past ({local(to_text(job.at))}), so a job that did not run yet never will"
            )
            found.append(("JQ305", "at", f"{message}; use a future instant, or `schedule` for several"))
        yield from (
            Problem(written_in(job), job.line, 0, key, text, "warning", job.id, code) for code, key, text in found
        )


def _status(paths: Paths) -> Message | None:
    """Return the daemon's status, or None if it is down or refuses the call."""
    with suppress(CallRefused, DaemonUnreachable):
        return ask(paths.control, "Status")
    return None


def _of_limits(job: Job, controllers: list[str] | None) -> Iterator[tuple[str, str, str]]:
    if job.enforce != "required":
        return
    from jobqueued.runs.launch_spec import unenforced

    if keys := unenforced(job, controllers):
        limits = ", ".join(f"resource_limits.{key}" for key in keys)
        remedy = "use best_effort, or set up the cgroups that `jobqueuectl doctor` lists as missing"
        yield "JQ512", "enforce", f"the job will not start, because this host can't enforce {limits}; {remedy}"


def _of_files(job: Job, daemon: int) -> Iterator[tuple[str, str, str]]:
    """Yield the code, key and message for each problem with a job's files and programs."""
    directory = None if job.working_directory is None else job.working_directory.removeprefix("-")
    if directory is not None and not os.path.isdir(directory):
        with suppress(PermissionError):
            seen = "is not a directory" if _exists(directory) else "does not exist"
            message = f"{printable(directory)} {seen} here; expected an existing directory"
            yield "JQ510", "working_directory", message
    if isinstance(job.command, str) and (message := _program(job, (job.shell,))[1]):
        yield "JQ507", "shell", message
    user = _user(job, daemon)
    for path in job.environment_file:
        if message := _of_variables(job, path, user):
            yield "JQ509", "environment_file", f"{message}; without this file, the job will not start"
        elif message := _of_writers(path, user):
            yield "JQ508", "environment_file", message
    hooks = [("telemetry_hooks", hook.command) for hook in job.telemetry_hooks]
    for key, command in (("command", job.command), ("failover", job.failover), *hooks):
        if command is None or callable(command):
            continue
        path, message = _program(job, command)
        if message:
            yield "JQ507", key, message
        elif path and (message := _of_writers(path, user)):
            yield "JQ508", key, message
    files = [("locks", path) for claim in job.locks if (path := path_in(claim.resource))]
    awaited = [("on", os.path.expanduser(awaited_path(on.name))) for on in job.on if on.kind == "path"]
    for key, path in [*files, *awaited]:
        directory = os.path.dirname(path)
        with suppress(PermissionError):
            if not _exists(directory):
                message = f"{printable(directory)} does not exist here, so {printable(path)} can't be in it"
                yield "JQ510", key, message


def misplaced_user(job: Job) -> str:
    """Return a message if a command in a user's table begins with a user name, as in /etc/crontab, else ""."""
    words = job.command.split(maxsplit=1) if isinstance(job.command, str) else []
    if len(words) < 2 or shutil.which(words[0], path=dict(job.environment).get("PATH", DEFAULT_PATH)):
        return ""
    try:
        pwd.getpwnam(words[0])
    except (KeyError, ValueError):
        return ""
    advice = "the command alone, because only system tables have a column for users"
    return f"found the user {words[0]} at the start of the command; use {advice}"


def _exists(path: str) -> bool:
    """Return whether a path exists. Raises PermissionError if only the daemon can check this."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _user(job: Job, daemon: int) -> pwd.struct_passwd | None:
    """Return the user that the job runs as, or None if the user does not exist."""
    try:
        return pwd.getpwuid(daemon) if job.user is None else pwd.getpwnam(job.user)
    except KeyError:
        return None


def _of_variables(job: Job, path: str, user: pwd.struct_passwd | None) -> str:
    """Return why the job can't read an environment file, or "" if it can, or if this user can't check."""
    with suppress(PermissionError):
        if not _exists(path):
            return f"{printable(path)} does not exist here"
        if user is not None and (job.owner is not None or not is_roots_alone(path)):
            reader = Sender.of(user.pw_name)
            if (barred := reader.barred(path)) or not reader.may(4, path):
                why = f"because it may not enter {barred}" if barred else "because of its mode"
                return f"{user.pw_name} may not read {printable(path)} {why}"
        from jobqueued.child.start import environment
        from jobqueued.child.start.identity import StartFailed

        try:
            dict(environment.read(path))
        except StartFailed as wrong:
            return "" if wrong.number == errno.EACCES else printable(wrong.detail)
    return ""


def _of_writers(path: str, user: pwd.struct_passwd | None) -> str:
    """Return the reason why a user other than root and the job's user can change a file, or "" if no such user can."""
    refused = None if user is None else distrust(path, user.pw_uid)
    return "" if refused is None else f"{printable(path)}: {refused}"


def _program(job: Job, command: str | tuple[str, ...]) -> tuple[str, str]:
    """Return the path of a command's program and "", or "" and a message if the program is missing.

    Returns two empty strings if the program can't be determined before the run.
    """
    word = command[0] if isinstance(command, tuple) else _first_word(command) if re.fullmatch(_SHELL, job.shell) else ""
    path = dict(job.environment).get("PATH", DEFAULT_PATH)
    if not re.fullmatch(r"/?[\w./+-]+", word):
        return "", ""
    if (word.startswith("/") or "/" not in word) and (found := shutil.which(word, path=path)):
        return found if found.startswith("/") else "", ""
    if word.startswith("/"):
        seen = "is not a program" if os.path.exists(word) else "does not exist"
        return "", f"{word} {seen} here; expected the path of a program"
    if "/" in word:
        base = (job.working_directory or "").removeprefix("-")
        if not os.path.isdir(base):
            return "", ""
        if found := shutil.which(os.path.join(base, word)):
            return found, ""
        return "", f"found no program {word} in {printable(base)}, the job's working_directory; expected its full path"
    if job.environment_file or job.login_environment:
        return "", ""
    if job.asks_pam and (told := misplaced_user(job)):
        return "", told
    remedy = "`PATH=…` above its line" if job.asks_pam else "`environment: {PATH: …}`"  # in a table, or in a job file
    return "", f"found no program {word} in the job's PATH ({path}); expected its full path, or {remedy}"


def _first_word(line: str) -> str:
    """Return the first word of a shell line if it can only be the name of a program, else ""."""
    found = re.match(r"\s*(/?[\w./+-]+)(?:\s|$)", line)
    word = "" if found is None else found[1]
    is_of_shell = re.fullmatch(_OF_SHELLS, word) or re.search(rf"\b{re.escape(word)} *\(\)", line)
    return "" if is_of_shell else word
