"""Pictures of the docs: each has the words that can be read on it, so a test sees when the page has got others."""

from __future__ import annotations

import os
import re
import struct
import zlib
from pathlib import Path

from tests.support import REPO
from tests.support.chromium import Browser
from tests.support.host import wait_for

PICTURES = os.environ.get("JOBQUEUED_PICTURES")
"""The directory to which they are written."""
_HEAD = 33
"""Bytes of a PNG before the first chunk that may have text."""
_KEY = b"iTXtDescription\0\0\0\0\0"
_TIME = (
    r"(?:\w{3} \d+, \d{4} )?\d\d:\d\d:\d\d [AP]M [A-Z]+(?:, (?:now|\d+ \w+\.? ago|in \d+ \w+\.?|tomorrow|yesterday))?"
)
_AMOUNT = r"\d[\d.]*(?: (?:%|[KMG]?i?B|ms|s|min|h)\b)?(?: \d+ (?:ms|s|min|h)\b)*"


def check_picture(chromium: Browser, name: str) -> None:
    """What is seen is docs/NAME.png, by its words, but for instants and amounts; or it is written."""
    if PICTURES:
        found, text = chromium.picture(), _KEY + "\n".join(_words(chromium)).encode()
        chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
        Path(PICTURES, f"{name}.png").write_bytes(found[:_HEAD] + chunk + found[_HEAD:])
    data = (Path(PICTURES or REPO / "docs") / f"{name}.png").read_bytes()
    (length,) = struct.unpack_from(">I", data, _HEAD)
    text = data[_HEAD + 4 : _HEAD + 8 + length]
    assert text.startswith(_KEY), f"docs/{name}.png has no words; to make it: make browser PICTURES=docs"
    kept = text.removeprefix(_KEY).decode().splitlines()
    wait_for(lambda: kept == _words(chromium), why=f"docs/{name}.png is another: {kept}; {_words(chromium)}")


def _words(chromium: Browser) -> list[str]:
    text = str(chromium.tell("document.body.innerText")).replace(os.uname().nodename, "HOST")
    text = re.sub(_AMOUNT, "N", re.sub(_TIME, "TIME", text))
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]
