"""Tables as lines of text. Each column is as wide as its widest cell, but narrowed to fit a terminal.

A row is one line if possible. On a terminal, a cell that is too long is wrapped at blanks in a protected column, and
cut in other columns. The first column has the names: its cells are never cut, and a long cell gets a separate line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from operator import le
from typing import TYPE_CHECKING

from jobqueued.base.text import printable
from jobqueued.child.contract.tuples import NamedTuple

if TYPE_CHECKING:  # rich is slow to import, and needed only for terminals and wide cells
    from rich.console import Console


class StyledText(NamedTuple):
    """A string in one of rich's styles, such as ``bold``; "" means no style."""

    plain: str
    style: str = ""


Cell = str | StyledText
_GAP = 2
_WIDEST = 200
"""Maximum width of a column in a pipe (cells). A longer cell exceeds its column, so that the other rows need no blanks
for it.
"""
_LAST, _FIRST, _OTHER = 16, 4, 10
"""Minimum widths (cells) of the last, the first, and any other column when columns are narrowed."""


class Table:
    """Rows of cells, formatted as lines for a screen."""

    def __init__(
        self, screen: Console | None, rows: Iterable[Sequence[Cell]], wrapped: Sequence[int], width: int | None
    ):
        """`screen` is the terminal, or None for no colours.

        `wrapped` lists the columns that are never cut, the most important first. `width` is the maximum width in cells,
        or None.
        """
        self._screen, self._wrapped, self._is_bounded = screen, wrapped, width is not None
        self._rows = [[cell if isinstance(cell, StyledText) else printable(cell) for cell in row] for row in rows]
        natural = [_widest(column) for column in zip(*self._rows, strict=True)]
        self.shown = list(range(len(natural))) if width is None else _fitting(natural, width, wrapped)
        widths = [natural[column] for column in self.shown]
        self._widths = [min(each, _WIDEST) for each in widths] if width is None else _narrowed(widths, width)

    def lines(self) -> Iterator[str]:
        """Yield the lines, without trailing blanks."""
        for row in self._rows:
            cells = [row[column] for column in self.shown]
            if not self._is_bounded or all(map(le, map(_width, cells), self._widths)):
                yield self._line(cells)
            else:
                yield from self._folded(cells)

    def _line(self, cells: Iterable[Cell]) -> str:
        columns = zip(cells, self._widths, strict=True)
        return "".join([self._padded(cell, width) for cell, width in columns]).rstrip()

    def _padded(self, cell: Cell, width: int) -> str:
        if isinstance(cell, str) and len(cell) <= width and cell.isascii():
            return cell.ljust(width + _GAP)
        return self._painted(cell) + " " * (max(0, width - _width(cell)) + _GAP)

    def _folded(self, cells: list[Cell]) -> Iterator[str]:
        """Yield the lines of a row with a cell that is wider than its column."""
        if _width(cells[0]) > self._widths[0]:
            yield self._painted(cells[0])
            cells[0] = ""
        for line in zip_longest(*map(self._pieces, cells, self._widths, self.shown), fillvalue=StyledText("")):
            if any(piece.plain for piece in line):
                yield self._line(line)

    def _pieces(self, cell: Cell, width: int, column: int) -> list[StyledText]:
        """Return the lines of a cell, wrapped or cut to the width."""
        text = cell if isinstance(cell, StyledText) else StyledText(cell)
        if _width(cell) > width and column not in self._wrapped:
            from rich.cells import set_cell_size

            return [StyledText(set_cell_size(text.plain, width - 1).rstrip() + "…", text.style)]
        from rich.console import Console
        from rich.text import Text as Wrapped

        lines = Wrapped(text.plain).wrap(self._screen or Console(), width)
        return [StyledText(line.plain.rstrip(), text.style) for line in lines]

    def _painted(self, cell: Cell) -> str:
        return painted(cell, self._screen)


def painted(cell: Cell, screen: Console | None) -> str:
    """Return a string with its style's escape sequences, if the screen has colours."""
    if isinstance(cell, str):
        return cell
    if screen is None or screen.color_system is None or screen.no_color:
        return cell.plain
    from rich.style import Style

    return Style.parse(cell.style).render(cell.plain)


def _width(cell: Cell) -> int:
    text = cell if isinstance(cell, str) else cell.plain
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _widest(column: Sequence[Cell]) -> int:
    texts = [cell if isinstance(cell, str) else cell.plain for cell in column]
    return max(map(len, texts)) if "".join(texts).isascii() else max(map(_width, column))


def _fitting(natural: Sequence[int], room: int, wrapped: Sequence[int]) -> list[int]:
    """Return the columns that fit. First drop columns not in `wrapped`, from the right, then columns in `wrapped`.

    Never drop the two most important columns of `wrapped`.
    """
    shown = list(range(len(natural)))
    for column in reversed([column for column in shown if column not in wrapped]):
        widths = [natural[each] for each in shown]
        if _total([*widths[:-1], min(widths[-1], _LAST)]) > room:
            shown.remove(column)
    for column in reversed(wrapped[2:]):
        widths = [natural[each] for each in shown]
        if _total([min(widths[0], _FIRST), *(min(width, _OTHER) for width in widths[1:])]) > room:
            shown.remove(column)
    return shown


def _narrowed(widths: Sequence[int], room: int) -> list[int]:
    """Reduce the widths to fit `room`: first the last column, then the first, then the others from the right."""
    narrowed = list(widths)
    places = [(-1, _LAST), (0, _FIRST), *((place, _OTHER) for place in range(len(widths) - 1, 0, -1))]
    for place, least in places:
        narrowed[place] -= max(0, min(_total(narrowed) - room, narrowed[place] - least))
    return narrowed


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)
