"""The texts that may be a name, a variable, a value: rules that hold wherever somebody writes one."""

from __future__ import annotations

import re

NAME = "[a-z0-9][a-z0-9._-]{0,63}"
A_NAME = "a name such as db-1: at most 64 of a-z 0-9 . _ -, first one of a-z 0-9"
VARIABLE = "[A-Za-z_][A-Za-z0-9_]*"
NOT_VALUE = "[\0\ud800-\udfff]"
"""The characters that no value may have: a NUL, half of a pair of surrogates."""


def is_name(word: str) -> bool:
    """True if it can be the name of a lock, a resource or an event."""
    return bool(re.fullmatch(NAME, word))


def is_variable(name: str) -> bool:
    """True if it can be the name of a variable of the environment."""
    return bool(re.fullmatch(VARIABLE, name))


def is_value(text: str) -> bool:
    """True if a text has nothing that no value may have."""
    return re.search(NOT_VALUE, text) is None
