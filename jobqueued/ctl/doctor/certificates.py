"""Expiry dates of certificates, read from the DER encoding (X.690, RFC 5280)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from datetime import UTC, datetime

_BLOCK = re.compile("-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_VERSION, _VALIDITY = 0xA0, 3
"""DER tag of the optional version, and index of the validity among the other fields."""
_FORMATS = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}
"""DER tag of a time → its format."""


def ends(pem: str) -> list[datetime]:
    """Return the expiry times of the certificates in a PEM file, in the file's order. Raises ValueError."""
    try:
        return [_end(base64.b64decode(block)) for block in _BLOCK.findall(pem)]
    except (IndexError, KeyError, StopIteration) as error:
        raise ValueError(f"no certificate: {error!r}") from None


def _end(der: bytes) -> datetime:
    _, certificate = next(_parts(der))
    _, signed = next(_parts(certificate))
    fields = [content for tag, content in _parts(signed) if tag != _VERSION]
    _, (tag, end) = _parts(fields[_VALIDITY])
    return datetime.strptime(end.decode("ascii"), _FORMATS[tag]).replace(tzinfo=UTC)


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the tag and content of each DER value in a sequence."""
    place = 0
    while place < len(data):
        tag, length, place = data[place], data[place + 1], place + 2
        if length & 0x80:
            size = length & 0x7F
            length, place = int.from_bytes(data[place : place + size]), place + size
        yield tag, data[place : place + length]
        place += length
