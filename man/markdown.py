"""A section of a paper in docs/ as mdoc(7), so that a page of the manual and the paper are one text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from man import mdoc

_BLOCK = re.compile(r"^(?:(?: {4}.*\n|\n(?= {4}))+|(?:\S.*\n| {2}\S.*\n)+)", re.M)
_WIDEST_TABLE = 70
"""Letters of a row that a page of 80 columns has room for."""


def section(paper: str, title: str) -> Iterator[str]:
    """Paragraphs, lists, displays and tables below a heading of the second level."""
    body = re.search(rf"^## {re.escape(title)}\n\n(.*?)(?=^## |\Z)", paper, re.S | re.M)
    assert body is not None, title
    for number, block in enumerate(one.strip("\n") for one in _BLOCK.findall(body[1] + "\n")):
        if block.startswith("|"):
            yield from [".Pp"] * bool(number)
            yield from table(rows(block))
        elif block.startswith("    "):
            yield ".Bd -literal"
            yield from (mdoc.literal(line.removeprefix("    ")) for line in block.split("\n"))
            yield ".Ed"
        elif block.startswith("- "):
            yield ".Bl -bullet -width Ds"
            for item in re.split(r"^- ", block, flags=re.M)[1:]:
                yield ".It"
                yield from mdoc.prose(plain(item))
            yield ".El"
        else:
            yield from [".Pp"] * bool(number)
            yield from mdoc.prose(plain(block))


def rows(block: str) -> list[list[str]]:
    """The cells of a table, its head first."""
    found = [[plain(cell.strip()) for cell in line.strip("|").split("|")] for line in block.split("\n")]
    return [found[0], *found[2:]]


def plain(text: str) -> str:
    """A text without what only a browser shows; a link to a paper is its path."""
    text = re.sub(r"\[([^]]+)\]\(([a-z-]+\.md)\)", _link, " ".join(text.split()))
    return re.sub(r"\*\*([^*]+)\*\*", r"\1", text)


def _link(link: re.Match[str]) -> str:
    return f"docs/{link[2]}" if link[1] == link[2] else f"{link[1]} (docs/{link[2]})"


def table(cells: list[list[str]]) -> Iterator[str]:
    """A table for tbl(1), its head in bold, no wider than a page."""
    columns = range(len(cells[0]))
    wanted = [max(len(row[column]) for row in cells) for column in columns]
    room = _WIDEST_TABLE - 3 * len(wanted)
    if sum(wanted) > room:
        words = [max(len(word) for row in cells for word in row[column].split()) for column in columns]
        share = (room - sum(words)) // len(words)
        wanted = [min(all_, word + share) for all_, word in zip(wanted, words, strict=True)]
    yield from (".na", ".TS", "allbox tab(|);", " ".join(["lB"] * len(wanted)))
    yield " ".join(f"lw({one}n)" for one in wanted) + "."
    for row in cells:
        yield "|".join(f"T{{\n{mdoc.inline(cell)}\nT}}" if cell else "" for cell in row)
    yield from (".TE", ".ad")
