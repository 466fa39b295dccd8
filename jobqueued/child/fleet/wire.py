"""Bytes, keys and ranges as etcd's JSON gateway has them."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

Message = dict[str, Any]


def text(data: str) -> str:
    """The bytes that the gateway has in base64, as text."""
    return b64decode(data).decode(errors="surrogateescape")


def coded(words: str) -> str:
    """The inverse."""
    return b64encode(words.encode(errors="surrogateescape")).decode()


def after_all(prefix: str) -> str:
    """The end of the range of all keys that begin so."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
