"""The documents of --json as Markdown: each with its declaration, and the types in them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from jobqueued.ctl.base.documents import DOCUMENTS, TYPES

_WIDTH = 110


def page() -> Iterator[str]:
    """The lines of two sections."""
    yield from ("## Documents", "")
    for name, text in DOCUMENTS.items():
        lines = textwrap.wrap(" ".join(text.split()), _WIDTH, subsequent_indent="  ")
        yield from (f"### {name}", "", "```text", *lines, "```", "")
    yield from ("## Types in them", "", "```text", *TYPES.rstrip().splitlines(), "```", "")
