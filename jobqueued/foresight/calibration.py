"""Calibration: the comparison of a saved forecast with the real starts.

The band of a start omits the k earliest and the k latest of n futures. If the real start behaves like one more future,
each rank among the futures has the same probability. Therefore the start is below the band with probability k / (n +
1), and above it with the same probability (conformal prediction; Vovk, Gammerman, Shafer: Algorithmic Learning in a
Random World, 2005).  A band of 95 % needs at least 39 futures.
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
"""Minimum number of futures for a band of 95 %."""
SLACK = SECOND
"""Tolerance (ns) of a band, because a start itself takes a while, and bands are shown in seconds."""
STEADY = 5 * SECOND
"""Maximum width (ns) of the band of a steady start, which is a start whose time the history predicts well."""
EXACT = SECOND
"""Maximum median error (ns) of steady starts for which a forecast counts as exact."""
_CHANCE = 2.33
"""With probability 1 %, a value lies at least this number of standard deviations below the mean."""
VERSION = 1
_MILLISECOND = SECOND // 1000
_MOST = 10**13
"""Maximum time in a document (s or ms), which is hundreds of years."""


class ExpectedStart(NamedTuple):
    """The expected start of an occurrence, and the band of this start, both in ns after the due time."""

    due: int
    low: int
    middle: int
    high: int

    def holds(self, late: int) -> bool:
        """Return whether a start this long (ns) after the due time is in the band."""
        return self.low - SLACK <= late <= self.high + SLACK


Forecast = dict[str, list[ExpectedStart]]
"""Job → expected starts of its occurrences, in the order of their due times."""


def forecast(futures: Sequence[Tally]) -> Forecast:
    """Return the forecast for each occurrence that starts in most futures. The tallies must have recorded starts."""
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
    """Return a forecast as JSON: each occurrence's due second, and its expected start and band in milliseconds after
    that second.
    """
    return {
        name: [[it.due // SECOND, *(-(-time // _MILLISECOND) for time in it[1:])] for it in expected]
        for name, expected in found.items()
    }


def of_document(document: Mapping[str, Any]) -> Forecast:
    """Return the forecast from the JSON that `to_document` returned.

    Raises ValueError or TypeError if the JSON is not a forecast.
    """
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
    """The comparison of forecast and real starts: the number of starts, the number inside their bands, and the median
    error (ns).
    """

    compared: int
    inside: int
    error: int
    steady: int
    steady_error: int
    """The number of steady starts (`steady`), and their median error (ns)."""

    @property
    def is_exact(self) -> bool:
        """Return whether the median error of steady starts is small."""
        return self.steady_error <= EXACT

    @property
    def is_within(self) -> bool:
        """Return whether enough starts are inside their bands, or chance can explain the low number."""
        most = LEVEL * self.compared
        return self.inside >= most - _CHANCE * sqrt(most * (1 - LEVEL))


def compare(found: Forecast, began: Mapping[str, Mapping[int, int | None]]) -> dict[str, Calibration]:
    """Return job → comparison. `began`: job → due time → real start, or None if the occurrence was skipped."""
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
    """Return the comparison of all jobs together."""
    pairs: list[tuple[ExpectedStart, int | None]] = []
    for name, expected in found.items():
        pairs += [(it, began[name][it.due]) for it in expected if it.due in began.get(name, {})]
    return _verdict(pairs)


def worst(verdicts: Mapping[str, Calibration]) -> Iterable[tuple[str, Calibration]]:
    """Return the jobs and their comparisons, sorted by the number of starts outside their bands, then by error, largest
    first.
    """
    return sorted(verdicts.items(), key=lambda it: (it[1].inside - it[1].compared, -it[1].error, it[0]))
