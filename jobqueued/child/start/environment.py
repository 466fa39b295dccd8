"""A job's environment, built from an empty environment. Later sources override earlier sources:

variables that every job gets, with TRACEPARENT; a login's variables (`login_environment`); `environment_file`;
`environment`; and JOBQUEUE_….
"""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Iterator

from jobqueued.child.contract import atomic_file
from jobqueued.child.contract.documents import DEFAULT_PATH, LaunchSpec
from jobqueued.child.contract.trust import is_roots_alone
from jobqueued.child.start.identity import StartFailed, User

_OF_A_LOGIN = ("/etc/environment", "/etc/default/locale")
"""Files that pam_env(8) reads at login on Debian."""
_LOGIN_SHELLS = frozenset({"ash", "bash", "dash", "ksh", "mksh", "sh", "yash", "zsh"})
"""Shells that accept ``-l -c``. For users with other shells, /bin/sh reads the profile."""
_TOLD = 3
_TELL = f"exec /usr/bin/env -0 >&{_TOLD}"
_OF_THE_SHELL = frozenset({"_", "OLDPWD", "PWD", "SHLVL"})
_MOST = 1 << 20

_ASSIGNMENT = re.compile(
    r"""(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=((?:'[^']*'|"(?:[^"\\]|\\.)*"|\\.|[^'"\\\n])*)(?:\n|\Z)""", re.S
)
_SPACE = re.compile(r"(?:\s|[#;][^\n]*)*")
_QUOTED = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|([ \t][#])""", re.S)
_ESCAPED = re.compile(r'\\(["\\$`\n])')


class Environment:
    """The variables from jobqueued and from the job. Raises StartFailed with the file and line of an error."""

    __slots__ = ("_files", "_is_roots", "_set", "given", "login")

    def __init__(self, order: LaunchSpec, user: User) -> None:
        """Read the environment files that are safe to read with our rights.

        `whole` reads the remaining files as the user, because they might lead to files that the user may not read. A
        user's own job may name any file, so none of its files are read here.
        """
        self._is_roots = order.get("owner") is None
        self._files = [
            (path, dict(read(path)) if user.is_us or (self._is_roots and is_roots_alone(path)) else None)
            for path in order["environment_file"]
        ]
        self._set = order["environment"]
        self.login = order["login_environment"]
        self.given = {
            "PATH": DEFAULT_PATH,
            "HOME": user.home,
            "SHELL": user.shell or "/bin/sh" if self.login else order["shell"],
            "LOGNAME": user.name,
            "USER": user.name,
            "LANG": "C.UTF-8",
        }
        if "runtime_directory" in order:
            self.given["XDG_RUNTIME_DIR"] = order["runtime_directory"]
        if "traceparent" in order:
            self.given["TRACEPARENT"] = order["traceparent"]
        if self.login:
            for path in filter(os.path.exists, _OF_A_LOGIN):
                self.given |= read(path)

    @property
    def is_read_by_user(self) -> bool:
        """Return whether `whole` reads files that only the user may read."""
        return any(variables is None for _, variables in self._files)

    def whole(self) -> dict[str, str]:
        """Return the whole environment. Call this as the job's user, because it reads the remaining files.

        For `login_environment`, a shell, which is a child of this process, also reads the user's profile.
        """
        own: dict[str, str] = {}
        for path, variables in self._files:
            read_now = _read_by_user if self._is_roots else read
            own |= read_now(path) if variables is None else variables
        own |= self._set
        return (self._of_profile(own) if self.login else self.given) | own

    def _of_profile(self, own: dict[str, str]) -> dict[str, str]:
        """Return the variables that the profile sets. The profile's directory and umask have no effect."""
        shell = self.given["SHELL"]
        shell = shell if os.path.basename(shell) in _LOGIN_SHELLS else "/bin/sh"
        memory = os.memfd_create("environment")
        actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, memory, _TOLD)]
        pid = os.posix_spawn(
            shell,
            [shell, "-l", "-c", _TELL],
            self.given | own,
            file_actions=actions,
            setsigmask=(),
            setsigdef=sorted(signal.valid_signals()),
        )
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.lseek(memory, 0, os.SEEK_SET)
        with open(memory, "rb") as file:
            told = os.fsdecode(file.read())
        if code or not told:
            how = f"exited with code {code}" if code >= 0 else f"was ended by signal {-code}"
            raise StartFailed("login_environment", 0, f"{shell} {how} while it read the profile")
        variables = dict(variable.split("=", 1) for variable in told.split("\0")[:-1])
        return {name: value for name, value in variables.items() if name not in _OF_THE_SHELL}


def arguments(order: LaunchSpec) -> list[str]:
    """Return the command as arguments: an unchanged list, or a string as an argument for the shell."""
    command = order["command"]
    return [order["shell"], "-c", command] if isinstance(command, str) else list(command)


def read(path: str) -> Iterator[tuple[str, str]]:
    """Yield the variables in a file with lines NAME=VALUE.

    The format is common to systemd.exec(5) and shells. Values may be quoted, even over several lines, and nothing is
    expanded. Raises StartFailed with the first line that is not an assignment, a comment or blank.
    """
    text = _content(path)
    place = 0
    while (place := _SPACE.match(text, place).end()) < len(text):  # type: ignore[union-attr]
        found = _ASSIGNMENT.match(text, place)
        if found is None:
            raise _wrong(path, text, place, "expected NAME=VALUE with closed quotes")
        if any(part[4] for part in _QUOTED.finditer(found[2])):
            raise _wrong(path, text, place, "it is unclear whether # starts a comment there; put the value into quotes")
        yield found[1], _QUOTED.sub(_plain, _stripped(found[2]))
        place = found.end()


def _read_by_user(path: str) -> Iterator[tuple[str, str]]:
    try:
        yield from read(path)
    except StartFailed as failure:
        if failure.number != errno.EACCES:
            raise
        why = (
            "the job's user must be able to read it, because users other than root can change it or a"
            " directory above it"
        )
        raise StartFailed(failure.step, failure.number, f"{failure.detail}; {why}") from None


def _stripped(value: str) -> str:
    """Return the value without surrounding blanks, except escaped blanks."""
    stripped = value.strip(" \t\r")
    escaped = (len(stripped) - len(stripped.rstrip("\\"))) % 2
    return stripped + value.lstrip(" \t\r")[len(stripped) :][:escaped]


def _plain(part: re.Match[str]) -> str:
    """Return the text in a quoted part of a value."""
    single, double, escaped, _comment = part.groups()
    if double is not None:
        return _ESCAPED.sub(lambda found: found[1].strip("\n"), double)
    return str(single if single is not None else escaped.strip("\n"))


def _wrong(path: str, text: str, place: int, accepted: str) -> StartFailed:
    line = text.count("\n", 0, place) + 1
    return StartFailed("environment_file", 0, f"{path}:{line}: {accepted}")


def _content(path: str) -> str:
    try:
        with open(atomic_file.to_read(path, follow=True), "rb") as file:
            data = file.read(_MOST + 1)
    except OSError as error:
        raise StartFailed("environment_file", error.errno or 0, f"{path}: {error.strerror}") from None
    if len(data) > _MOST or b"\0" in data:
        raise StartFailed("environment_file", 0, f"{path}: expected at most 1 MiB of text")
    return os.fsdecode(data)
