"""Rules for names, variables and values in files and commands."""

from __future__ import annotations

import re

NAME = "[a-z0-9][a-z0-9._-]{0,63}"
A_NAME = "a name such as db-1: up to 64 characters of a-z 0-9 . _ -, starting with a letter or digit"
VARIABLE = "[A-Za-z_][A-Za-z0-9_]*"
NOT_VALUE = "[\0\ud800-\udfff]"
"""Characters that no value may contain: NUL, and surrogates."""


def is_name(word: str) -> bool:
    """Return whether a word can be the name of a lock, a resource or an event."""
    return bool(re.fullmatch(NAME, word))


def is_variable(name: str) -> bool:
    """Return whether a name can be an environment variable's name."""
    return bool(re.fullmatch(VARIABLE, name))


def is_value(text: str) -> bool:
    """Return whether a string has only allowed characters."""
    return re.search(NOT_VALUE, text) is None
