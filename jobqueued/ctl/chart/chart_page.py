"""The chart of runs as a self-contained HTML page, with its script, its style, and the runs as columns of numbers.

The runs are deflated and encoded in base64, so a browser can't mistake them for HTML. The script inserts all strings as
text. The page's Content-Security-Policy limits the script's abilities.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from array import array
from collections.abc import Iterator, Mapping
from itertools import chain
from operator import sub
from pathlib import Path
from typing import TypeVar

from jobqueued.ctl.chart.chart_runs import NONE, STATES, ChartRun, Runs

_PLACE = Path(__file__).with_name("page")
_SCRIPTS = ("runs.js", "chart.js", "controls.js")
_LEVEL = 6
Value = TypeVar("Value")


def page(runs: Runs, span: tuple[int, int], now: int) -> str:
    """Return the page for a span of time (ms). `now` is shown as the end of unfinished runs."""
    style = _PLACE.joinpath("timeline.css").read_text()
    script = "".join(_PLACE.joinpath(name).read_text() for name in _SCRIPTS)
    parts = {
        "style": style,
        "style-hash": _hash(style),
        "script": script,
        "script-hash": _hash(script),
        "data": base64.b64encode(zlib.compress(packed(runs, span, now), _LEVEL)).decode(),
    }
    return re.sub("@([a-z-]+)@", lambda found: parts[found[1]], _PLACE.joinpath("timeline.html.in").read_text())


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def packed(runs: Runs, span: tuple[int, int], now: int) -> bytes:
    """Return the packed runs: the length of the head (4 bytes), the head in JSON, and the columns that the head lists.

    A column has numbers of the same width: first the lowest byte of every number, then the next byte, because similar
    bytes compress well. Run numbers and due times are differences between successive runs of a job, where 0, 1, 2, 3, 4
    stand for 0, -1, 1, -2, 2. `queued` and `started` are counted from the due time, `ended` from the start. A value
    that may be unknown is increased by 1, so that 0 means unknown.
    """
    begin, end = span
    shapes, data = list[tuple[str, int]](), bytearray()
    for name, column in _columns(runs, begin):
        width = max(1, (max(column, default=0).bit_length() + 7) // 8)
        shapes.append((name, width))
        text = column.tobytes()
        for nth in range(width):
            data += text[nth :: column.itemsize]
    head = {
        "begin": begin,
        "end": end,
        "now": now,
        "states": STATES,
        "columns": shapes,
        "jobs": [(job, len(each[0])) for job, each in runs.of.items()],
        "texts": runs.texts,
        "lists": runs.lists,
        "pauses": [*_pauses(runs, begin)],
        "tries": [*_of_runs(runs, runs.tries)],
    }
    text = json.dumps(head, separators=(",", ":")).encode()
    return len(text).to_bytes(4, "little") + text + data


def _columns(runs: Runs, begin: int) -> Iterator[tuple[str, array[int]]]:
    """Yield each column with its name; all numbers are 0 or more."""
    place = {name: nth for nth, name in enumerate(ChartRun._fields)}
    jobs = runs.of.values()
    for name in ("number", "due"):
        base = begin if name == "due" else 0
        yield name, array("Q", chain.from_iterable(_differences(each[place[name]], base) for each in jobs))
    for name in ("queued", "started", "ended"):
        yield name, array("Q", chain.from_iterable(_since(each, name, place) for each in jobs))
    for name in ("cpu", "memory"):
        yield name, array("Q", (value + 1 for each in jobs for value in each[place[name]]))
    for name in ("state", "reason", "waited_for", "held_by", "tags", "trigger", "command", "attempts"):
        yield name, array("Q", chain.from_iterable(each[place[name]] for each in jobs))


def _differences(column: array[int], base: int) -> Iterator[int]:
    changes = map(sub, column, chain([base], column))
    return (2 * change if change >= 0 else -2 * change - 1 for change in changes)


def _since(columns: list[array[int]], name: str, place: Mapping[str, int]) -> Iterator[int]:
    """Yield `queued` or `started` as time since the due time, or `ended` as time since the start or due time."""
    dues, starts = columns[place["due"]], columns[place["started"]]
    if name == "queued":
        return map(sub, columns[place[name]], dues)
    if name == "started":
        return (0 if it == NONE else max(0, it - due) + 1 for it, due in zip(starts, dues, strict=True))
    ends, begun = columns[place["ended"]], map(max, starts, dues)
    return (0 if it == NONE else max(0, it - first) + 1 for it, first in zip(ends, begun, strict=True))


def _pauses(runs: Runs, begin: int) -> Iterator[tuple[int, list[int]]]:
    """For each run with pauses, yield its index among all runs, and the start and end of each pause."""
    for place, pauses in _of_runs(runs, runs.pauses):
        yield place, [moment - begin for pause in pauses for moment in pause]


def _of_runs(runs: Runs, known: Mapping[tuple[str, int], list[Value]]) -> Iterator[tuple[int, list[Value]]]:
    """For each run in `known`, yield its index among all runs, and its values."""
    first, number = 0, ChartRun._fields.index("number")
    having = {job for job, _ in known}
    for job, columns in runs.of.items():
        for place, each in enumerate(columns[number] if job in having else (), first):
            if found := known.get((job, each)):
                yield place, found
        first += len(columns[number])
