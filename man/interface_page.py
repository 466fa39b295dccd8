"""The varlink interface as Markdown: its methods, types and errors, each with its comment and its declaration."""

from __future__ import annotations

import re
from collections.abc import Iterator

from jobqueued.control.protocol.interface import INTERFACE

_DECLARED = re.compile(r"^((?:#.*\n)*)((interface|type|method|error) (\w+).*\n(?:(?: |\)).*\n)*)", re.M)
_ITEM = re.compile(r"^- \w+(, \w+)*(?=:|$)")
"""The names of fields, or of values, that an item of a list is about."""


def page() -> Iterator[str]:
    """The lines of three sections."""
    found = [(_words(comment), text.rstrip(), kind, name) for comment, text, kind, name in _DECLARED.findall(INTERFACE)]
    yield from (found[0][0], "")
    for kind, title in (("method", "Methods"), ("type", "Types"), ("error", "Errors")):
        yield from (f"## {title}", "")
        for words, text, of_kind, name in found:
            if of_kind == kind:
                yield from (f"### {name}", "")
                yield from (words, "") if words else ()
                yield from ("```text", text, "```", "")


def _words(comment: str) -> str:
    """A comment as paragraphs and lists. An item of a list begins with a dash; its other lines are indented, and the
    names before its colon are code."""
    parts: list[str] = []
    for line in (line.removeprefix("#").removeprefix(" ") for line in comment.splitlines()):
        is_list = bool(parts) and parts[-1].startswith("- ")
        if line.startswith("- "):
            item = _ITEM.sub(lambda names: re.sub(r"\w+", r"`\g<0>`", names[0]), line)
            parts += [item] if is_list or not parts else ["", item]
        elif parts and is_list == line.startswith("  "):
            parts[-1] += f" {line.strip()}"
        else:
            parts += ["", line] if parts else [line]
    return "\n".join(parts).replace("<", "&lt;").replace("*", r"\*")
