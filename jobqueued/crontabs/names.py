"""Names of a crontab's jobs: recognizable, and stable while schedule, user and command remain unchanged.

A line's name depends only on this line, not on other lines or saved state. Therefore the name is the same on each host,
and survives changes to other lines and the loss of state.db.
"""

from __future__ import annotations

import re

from jobqueued.base.sha256 import sha256
from jobqueued.crontabs.table import TableEntry

LONGEST_TABLE, _LONGEST_WORD, _LONGEST_SCRIPT, _DIGITS = 40, 24, 120, 6
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_PARTS = re.compile(r"[;&|(){}<>`\n]+")
_VARIABLE = re.compile(r"\w+=\S*")
_WORD = re.compile(r"[^a-z0-9._-]+")
_OF_THE_SHELL = frozenset((
    "[", "[[", "!", ":", ".", "test", "cd", "if", "then", "else", "elif", "fi", "for", "do", "done", "while",
    "sleep", "true", "set", "export", "umask",
))  # fmt: skip
"""Words that may begin a part of a command but are not the command's purpose."""
_AROUND = frozenset((
    "chronic", "command", "env", "exec", "flock", "ionice", "nice", "nohup", "sudo", "time", "timeout",
))  # fmt: skip
"""Wrapper programs. A command with a wrapper is named after the program that the wrapper starts."""
_INTERPRETERS = re.compile(r"(?:ba|da|k|z)?sh|perl|php[\d.]*|python[\d.]*|ruby|node|java")
_FIXED = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)


def of_line(entry: TableEntry, owner: str) -> str:
    """Return a line's name in its table, such as ``munin-cron-5c1e90``.

    `owner` is the user for lines that name no user.
    """
    told = "\0".join((entry.schedule, entry.user or owner, entry.command, entry.stdin or ""))
    return f"{word_of(entry.command)}-{sha256(told.encode()).hexdigest()[:_DIGITS]}"


def of_table(name: str) -> str:
    """Return a file's name for use in IDs: unchanged if possible, otherwise shortened and with a digest."""
    if len(name) <= LONGEST_TABLE and _FIXED.fullmatch(name):
        return name
    digits = sha256(name.encode(errors="surrogateescape")).hexdigest()[:_DIGITS]
    return f"{re.sub('[^A-Za-z0-9_.-]', '_', name)[:LONGEST_TABLE]}-{digits}"


def of_script(directory: str, script: str) -> str:
    """Return the name of a script that run-parts runs: unchanged unless it is too long for a record's file name."""
    whole = f"{directory}/{script}"
    return whole if len(whole) <= _LONGEST_SCRIPT else f"{of_table(directory)}/{of_table(script)}"


def word_of(command: str) -> str:
    """Return the word that identifies a command for people: its main program, without guards and wrappers."""
    for part in _PARTS.split(_QUOTED.sub(" ", command)):
        words = part.split()
        while words and (words[0] in ("then", "do", "else", "!") or _VARIABLE.fullmatch(words[0])):
            words.pop(0)
        if words and words[0] not in _OF_THE_SHELL and (found := _program(words)):
            return found
    return "job"


def _program(words: list[str]) -> str:
    """Return the program of a simple command, or "" if the words show only an interpreter."""
    names = [word.rpartition("/")[2] for word in words if not word.startswith("-") and not word.isdigit()]
    while names and names[0] in _AROUND:
        names.pop(0)
    if names and names[0] == "run-parts":
        names = names[-1:]
    if names and _INTERPRETERS.fullmatch(names[0]):
        if set(words) & {"-c", "-e", "-m", "-r"}:
            return ""
        names.pop(0)
    return _WORD.sub("-", names[0].lower())[:_LONGEST_WORD].strip("-._") if names else ""
