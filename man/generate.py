"""Writes what is generated from the table of keys: the JSON Schema, and the keys in jobqueue.d(5).

python -m man.generate           rewrites both; `make generate` does that
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from jobqueued.keys import GROUPS, JOB_KEYS
from jobqueued.kinds import Key
from jobqueued.schema import job_file_schema

REPOSITORY = Path(__file__).resolve().parent.parent
SCHEMA = REPOSITORY / "jobqueued" / "job-file.schema.json"
PAGE = REPOSITORY / "man" / "jobqueue.d.5"

_BEGIN, _END = '.\\" generated from jobqueued/keys.py\n', '.\\" end of what is generated\n'


def schema_text() -> str:
    """The schema's file."""
    return json.dumps(job_file_schema(), indent=1) + "\n"


def page_text(page: str) -> str:
    """A manual page with the keys as they are now."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    lines = [*_groups(), *_reserved()]
    return before + _BEGIN + "".join(f"{line}\n" for line in lines) + _END + after


def _groups() -> Iterator[str]:
    for title, keys in GROUPS.items():
        live = [key for key in keys.values() if not key.planned]
        if live:
            yield f".SS {title}"
        for key in live:
            yield from _key(key)


def _key(key: Key) -> Iterator[str]:
    yield ".TP"
    yield f".B {_roff(key.name)}"
    yield _roff(key.help)
    yield _roff(f"Accepted: {key.kind.accepted}.")
    if key.default:
        yield _roff(f"Default: {key.default}.")
    yield ".br"
    yield f"Example: \\fB{_roff(f'{key.name}: {key.example}')}\\fR"
    live = [inner for inner in key.kind.keys.values() if not inner.planned]
    if live:
        yield ".RS"
        for inner in live:
            yield from _key(inner)
        yield ".RE"


def _reserved() -> Iterator[str]:
    yield ".SS Reserved"
    yield "These keys belong to later versions; a file that uses one is refused:"
    names = sorted(key.name for key in JOB_KEYS.values() if key.planned)
    yield ",\n".join(f"\\fB{_roff(name)}\\fR" for name in names) + "."


def _roff(text: str) -> str:
    """Text as roff shows it: no character of it is a request, a hyphen is one that can be copied."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    escaped = re.sub(r"`([^`]*)`", r"\\fB\1\\fR", escaped)
    return re.sub(r"^(?=[.'])", r"\\&", escaped)


if __name__ == "__main__":
    SCHEMA.write_text(schema_text())
    PAGE.write_text(page_text(PAGE.read_text()))
