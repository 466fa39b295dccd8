"""The submitter's input for a submission: the script, its #JOBQUEUE lines, and the job's environment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from jobqueued.base.text import size
from jobqueued.jobfile.tree.words import is_value, is_variable

if TYPE_CHECKING:
    from jobqueued.jobfile.tree.yamltext import Node

OF_THE_SESSION = frozenset((
    "BASH_VERSINFO", "COLORTERM", "COLUMNS", "CREDENTIALS_DIRECTORY", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "EUID",
    "GPG_AGENT_INFO", "GPG_TTY", "GROUPS", "INVOCATION_ID", "JOURNAL_STREAM", "LINES", "LS_COLORS", "MAINPID",
    "MANAGERPID", "NOTIFY_SOCKET", "OLDPWD", "PPID", "PWD", "SHELLOPTS", "SHLVL", "STY", "SYSTEMD_EXEC_PID", "TERM",
    "TERMCAP", "TRACEPARENT", "UID", "VTE_VERSION", "WATCHDOG_PID", "WATCHDOG_USEC", "WAYLAND_DISPLAY", "WINDOW",
    "WINDOWID", "XAUTHORITY", "_",
))  # fmt: skip
"""Variables about the submitter's terminal, shell or login, which are useless to a later run."""
_PREFIXES = ("JOBQUEUE_", "KONSOLE_", "LISTEN_", "SSH_", "SUDO_", "TERM_", "TMUX", "XDG_SESSION_", "XDG_RUNTIME_")
MOST = 32 << 10
"""Maximum total size (bytes) of the variables."""
NONE, ALL = "none", "all"

_LINE = re.compile(r"#JOBQUEUE(?:[ \t]+(.*))?", re.ASCII)
_SHELL = ("/bin/sh", "-c", 'exec "$@" 3<&0 </dev/null', "sh")
"""Command for a script on the standard input. The command moves the script to descriptor 3, so the script's own input
is /dev/null.
"""
_FILE = "/dev/fd/3"
LARGEST = 128 << 10
OWN_KEYS = ("name", "array", "after", "in", "key", "mail", "env")
"""Keys that are valid in #JOBQUEUE lines but not in job files; each means the same as the option with its name."""


class NotRead(ValueError):
    """Raised for an invalid value; str() is the message."""


def environment(variables: Mapping[str, str], wishes: Iterable[str]) -> dict[str, str]:
    """Return a job's variables, selected from its submitter's variables. Raises NotRead.

    `wishes` contains names of variables to pass, assignments, and `all` or `none`. If `wishes` is empty, the job gets
    all variables except those about the terminal or the login. Variables that are invalid in job files are omitted.
    """
    wishes = list(wishes)
    words = [wish for wish in wishes if wish in (NONE, ALL)]
    named = [wish for wish in wishes if wish not in words]
    found = {} if words[-1:] == [NONE] or (named and not words) else dict(variables)
    if words[-1:] != [ALL]:
        found = {name: value for name, value in found.items() if not _is_of_session(name)}
    for wish in named:
        name, given, value = wish.partition("=")
        if not is_variable(name):
            raise NotRead(f"found {wish!r}; expected NAME, NAME=VALUE, {ALL} or {NONE}")
        if given or name in variables:
            found[name] = value if given else variables[name]
    kept = {name: value for name, value in found.items() if is_variable(name) and is_value(value)}
    if (needed := sum(len(name) + len(value.encode()) + 2 for name, value in kept.items())) > MOST:
        accepted = f"at most {size(MOST)}; pass only the variables that the job needs: --env PATH --env HOME"
        raise NotRead(f"the environment has {size(needed)}; expected {accepted}")
    return kept


def _is_of_session(name: str) -> bool:
    return name in OF_THE_SESSION or name.startswith(_PREFIXES)


def script(text: str, arguments: Iterable[str] = ()) -> dict[str, Any]:
    """Return the job keys that run a script with the program of its #! line, or with /bin/sh if there is no such line.

    Raises NotRead.
    """
    if not text.strip():
        raise NotRead("the script is empty")
    if (found := len(text.encode(errors="surrogateescape"))) > LARGEST:
        raise NotRead(f"the script has {size(found)}; expected at most {size(LARGEST)}")
    if not is_value(text):
        raise NotRead("the script is not text; expected UTF-8 without NUL bytes")
    first = text.partition("\n")[0]
    program = first[2:].split(None, 1) if first.startswith("#!") else []
    if program and not program[0].startswith("/"):
        raise NotRead(f"the first line has {program[0]!r}; expected the absolute path of a program")
    words = [*(program or ["/bin/sh"]), _FILE]
    return {"command": [*_SHELL, *(word.strip() for word in words), *arguments], "stdin": text}


def directives(text: str, file: str) -> dict[str, Any]:
    """Return the keys in the lines ``#JOBQUEUE key: value`` above a script's first command.

    Raises NotRead, whose message has the line number.
    """
    from jobqueued.jobfile.tree.yamltext import Mapping, Scalar, read_tree

    lines = list[str]()
    for line in text.split("\n"):
        found = _LINE.fullmatch(line.rstrip("\r"))
        if found is None and line.strip() and not line.startswith("#"):
            break
        lines.append((found[1] or "") if found else "")
    tree, problems = read_tree("\n".join(lines).encode(errors="surrogateescape"), file)
    if wrong := next((problem for problem in problems if problem.severity == "error"), None):
        raise NotRead(str(wrong))
    if tree is None or (isinstance(tree, Scalar) and not tree.text):
        return {}
    if not isinstance(tree, Mapping):
        raise NotRead(f"{file}:{tree.line}: expected #JOBQUEUE key: value, as in #JOBQUEUE timeout: 2h")
    keys = {name: _plain(entry.value) for name, entry in tree.entries.items()}
    if empty := [name for name in (*OWN_KEYS, "at") if keys.get(name, name) in (None, "")]:
        place = tree.entries[empty[0]].key.line
        raise NotRead(f"{file}:{place}: {empty[0]} is empty; enter a value, or omit this line")
    return keys


def _plain(node: Node) -> Any:
    """Return a YAML value as JSON."""
    from jobqueued.jobfile.tree.yamltext import Mapping, Scalar, meaning

    if isinstance(node, Scalar):
        value = meaning(node)
        return value if node.text == str(value) or isinstance(value, bool) or value is None else node.text
    if isinstance(node, Mapping):
        return {name: _plain(entry.value) for name, entry in node.entries.items()}
    return [_plain(item) for item in node.items]
