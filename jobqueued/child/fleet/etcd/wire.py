"""Bytes, keys and ranges in the format of etcd's JSON gateway."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

Message = dict[str, Any]


def text(data: str) -> str:
    """Return the text of a base64 string from the gateway."""
    return b64decode(data).decode(errors="surrogateescape")


def coded(words: str) -> str:
    """Return a string as a base64 string for the gateway."""
    return b64encode(words.encode(errors="surrogateescape")).decode()


def after_all(prefix: str) -> str:
    """Return the exclusive end of the key range with this prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
