"""Calibration: a forecast that was kept, beside what was.

The band of a start leaves out the same number of the lowest and of the highest of n futures: if what comes is one more
of their kind, it is as likely to have any place among them, so k of n + 1 lie below and k above (conformal prediction;
Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World, 2005).  39 futures are the fewest for 95 %.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from typing import Any

from jobqueued.base.instants import SECOND
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.core.records.usual import middle
from jobqueued.foresight.tally import Tally

LEVEL = 0.95
FUTURES = 39
"""So many are enough for the band to be of this level."""
SLACK = SECOND
"""A start itself takes a while, and bands are shown to the second."""
STEADY = 5 * SECOND
"""A band that is no wider is that of a start of which history tells when it comes."""
EXACT = SECOND
"""Half of the steady starts come as near to what was expected."""
_CHANCE = 2.33
"""Standard deviations below what is to be expected that come once in a hundred times."""
VERSION = 1
_MILLISECOND = SECOND // 1000
_MOST = 10**13
"""No time in a document is more seconds or milliseconds: hundreds of years."""


class ExpectedStart(NamedTuple):
    """The start that is expected of an occurrence, and its band: nanoseconds after it is due."""

    due: int
    low: int
    middle: int
    high: int

    def holds(self, late: int) -> bool:
        """Tell whether a start so long after it was due lies in the band."""
        return self.low - SLACK <= late <= self.high + SLACK


Forecast = dict[str, list[ExpectedStart]]
"""By job, what is expected of its occurrences, in the order of their due times."""


def forecast(futures: Sequence[Tally]) -> Forecast:
    """Expect of each occurrence that starts in most of some futures, whose starts were kept, what it did there."""
    found: Forecast = {}
    for name in sorted({name for future in futures for name in future.jobs}):
        late: dict[int, list[int]] = {}
        for future in futures:
            for due, start in future.of(name).starts:
                late.setdefault(due, []).append(start - due)
        expected = [_expected(due, sorted(it)) for due, it in sorted(late.items()) if 2 * len(it) > len(futures)]
        if expected:
            found[name] = expected
    return found


def _expected(due: int, late: Sequence[int]) -> ExpectedStart:
    out = max(1, int((len(late) + 1) * (1 - LEVEL) / 2 + 1e-9))
    return ExpectedStart(due, late[out - 1], middle(late), late[-out])


def to_document(found: Forecast) -> dict[str, Any]:
    """A forecast as JSON: of each occurrence the second at which it is due, and milliseconds after it."""
    return {
        name: [[it.due // SECOND, *(-(-time // _MILLISECOND) for time in it[1:])] for it in expected]
        for name, expected in found.items()
    }


def of_document(document: Mapping[str, Any]) -> Forecast:
    """The inverse; ValueError, TypeError: it is none."""
    return {
        _name(name): [
            ExpectedStart(_whole(due) * SECOND, *(_whole(time) * _MILLISECOND for time in (low, middle, high)))
            for due, low, middle, high in rows
        ]
        for name, rows in document.items()
    }


def _name(text: str) -> str:
    if not text.isprintable() or text in ("", ".", ".."):
        raise ValueError(f"{text!r} is no id of a job")
    return text


def _whole(number: Any) -> int:
    if not isinstance(number, int) or abs(number) > _MOST:
        raise ValueError(f"{number!r} is no time")
    return number


class Calibration(NamedTuple):
    """The comparison of some starts: how many, how many in their bands, and the median of the errors (ns)."""

    compared: int
    inside: int
    error: int
    steady: int
    steady_error: int
    """How many of them were steady, and the median of their errors."""

    @property
    def is_exact(self) -> bool:
        """Tell whether half of the steady ones came when they were expected."""
        return self.steady_error <= EXACT

    @property
    def is_within(self) -> bool:
        """Tell whether no fewer lie in their bands than chance explains."""
        most = LEVEL * self.compared
        return self.inside >= most - _CHANCE * sqrt(most * (1 - LEVEL))


def compare(found: Forecast, began: Mapping[str, Mapping[int, int | None]]) -> dict[str, Calibration]:
    """The verdicts by job; `began`: when what was due came to start (None: it was skipped), as far as that is known."""
    verdicts = {}
    for name, expected in found.items():
        known = began.get(name, {})
        if pairs := [(it, known[it.due]) for it in expected if it.due in known]:
            verdicts[name] = _verdict(pairs)
    return verdicts


def _verdict(pairs: Sequence[tuple[ExpectedStart, int | None]]) -> Calibration:
    errors = [(it, abs(start - it.due - it.middle)) for it, start in pairs if start is not None]
    steady = [error for it, error in errors if it.high - it.low <= STEADY]
    inside = sum(start is not None and it.holds(start - it.due) for it, start in pairs)
    return Calibration(
        len(pairs),
        inside,
        middle([error for _, error in errors] or [0]),
        len(steady),
        middle(steady or [0]),
    )


def together(found: Forecast, began: Mapping[str, Mapping[int, int | None]]) -> Calibration:
    """The verdict of all jobs."""
    pairs: list[tuple[ExpectedStart, int | None]] = []
    for name, expected in found.items():
        pairs += [(it, began[name][it.due]) for it in expected if it.due in began.get(name, {})]
    return _verdict(pairs)


def worst(verdicts: Mapping[str, Calibration]) -> Iterable[tuple[str, Calibration]]:
    """The verdicts, those first of which most lie outside, then those with the largest errors."""
    return sorted(verdicts.items(), key=lambda it: (it[1].inside - it[1].compared, -it[1].error, it[0]))
