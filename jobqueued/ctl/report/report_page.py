"""A report as text, or as a self-contained HTML page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from html import escape

from jobqueued.ctl.report.run_report import ReportPart, ReportRow, RunReport, harmless, local

_WIDTH = 80
"""Width (columns) of text that does not go to a terminal."""
_STYLE = """\
body{font:14px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin-bottom:1em}
th,td{text-align:left;vertical-align:top;padding:.2em 1em .2em 0;border-bottom:1px solid #ddd}
h2.wrong{color:#a00}
p.well{color:#060}
pre{margin:0;white-space:pre-wrap;color:#555}"""


def text(made: RunReport, width: int | None = None) -> str:
    """Return the report as text with a width in columns (None means 80)."""
    width = width or _WIDTH
    made = harmless(made)
    first = f"{made.host}, {local(made.since)} to {local(made.until)}: {made.headline}"
    lines = textwrap.wrap(first, width) if made.parts else [first]
    for part in made.parts:
        lines += ["", part.title, *_rows(part, width)]
    return "".join(f"{line}\n" for line in lines)


def _rows(part: ReportPart, width: int) -> Iterator[str]:
    widths = [max(len(row.cells[column]) for row in part.rows) for column in range(len(part.heads) - 1)]
    for row in part.rows:
        yield from _row(row, widths, width)
    if part.more:
        yield f"  {part.more}"


def _row(row: ReportRow, widths: list[int], width: int) -> Iterator[str]:
    """Yield the lines of a row. A last cell that does not fit gets a separate line, and the note always gets one."""
    padded = [cell.ljust(each) for cell, each in zip(row.cells, widths, strict=False)]
    head, last = f"  {'  '.join(padded)}", row.cells[-1]
    if len(head) <= width // 2 + 4:
        indent = " " * (len(head) + 2)
        yield from textwrap.wrap(f"{head}  {last}", width, subsequent_indent=indent, drop_whitespace=True)
    else:
        yield from textwrap.wrap(f"  {'  '.join(row.cells[:-1])}", width, subsequent_indent="  ")
        yield from _below(last, width)
    for line in row.note.split("\n") if row.note else ():
        yield from _below(line, width)


def _below(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, width, initial_indent="    ", subsequent_indent="    ")


def html(made: RunReport) -> str:
    """Return the report as an HTML page."""
    made = harmless(made)
    title = escape(f"{made.host}, {local(made.since)} to {local(made.until)}")
    well = ' class="well"' * made.is_well
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            f"<title>{title}</title>",
            f"<style>\n{_STYLE}\n</style></head><body>",
            f"<h1>{title}</h1>",
            f"<p{well}>{escape(made.headline)}</p>",
            *(line for part in made.parts for line in _table(part)),
            "</body></html>",
            "",
        ]
    )


def _table(part: ReportPart) -> Iterator[str]:
    wrong = ' class="wrong"' * part.is_wrong
    yield f"<h2{wrong}>{escape(part.title)}</h2>"
    yield f"<table><tr>{''.join(f'<th>{escape(head)}</th>' for head in part.heads)}</tr>"
    for row in part.rows:
        note = f"<pre>{escape(row.note)}</pre>" if row.note else ""
        cells = [*map(escape, row.cells[:-1]), escape(row.cells[-1]) + note]
        yield f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    yield f"</table>{f'<p>{escape(part.more)}</p>' if part.more else ''}"
