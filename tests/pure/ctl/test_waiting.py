"""Waits tell what they wait for: once it is known, and again when it has changed."""

from __future__ import annotations

from typing import Any, cast

import pytest

from jobqueued.ctl.base import waiting
from jobqueued.ctl.base.client import Call, CallRefused
from jobqueued.ctl.base.waiting import WaitCause, await_answer


class Slow:
    """A call that is answered at the last of its looks; `waits` are the seconds that were waited for it."""

    def __init__(self, looks: int) -> None:
        self._left, self.waits = looks, list[float]()

    def is_answered(self, seconds: float) -> bool:
        """Wait in no time."""
        self._left, self.waits = self._left - 1, [*self.waits, seconds]
        return self._left < 0


def told(seen: list[WaitCause], capsys: pytest.CaptureFixture[str]) -> tuple[list[str], list[float]]:
    """What is said while these are seen, and the seconds between the looks."""
    rest, call = iter(seen), Slow(len(seen))
    assert await_answer(cast(Call, call), lambda: next(rest))
    return capsys.readouterr().err.splitlines(), call.waits


def test_a_change_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """The same for a longer time is not said again, another thing is; between looks are some seconds, ever more."""
    seen = [
        WaitCause("a for 1 s", "a"),
        WaitCause("a for 6 s", "a"),
        WaitCause("b", "b"),
        WaitCause("", None),
        WaitCause("b", "b"),
    ]
    assert (["a for 1 s", "b", "b"], [1, 5, 10, 20, 40, 60]) == told(seen, capsys)


def test_what_can_not_be_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A look that is refused costs nothing."""

    def refused() -> WaitCause:
        raise CallRefused("no such run")

    assert await_answer(cast(Call, Slow(3)), refused)
    assert "" == capsys.readouterr().err


def test_a_limit() -> None:
    """A wait ends at its limit, to the second."""
    call = Slow(3)
    assert not await_answer(cast(Call, call), lambda: WaitCause("", None), 0.5)
    assert not await_answer(cast(Call, Slow(3)), lambda: WaitCause("", None), 0)
    assert [True] == [0 < seconds <= 0.5 for seconds in call.waits]


def test_how_long_makes_no_difference() -> None:
    """Neither the time a lock has been held nor that which is left of a pause is news; who holds it is."""
    why: dict[str, Any] = {"state": "due", "behind": None, "missing": [], "reasons": ["job a is paused for 5 min more"]}
    assert waiting._gist(why) == waiting._gist({**why, "reasons": ["job a is paused for 4 min more"]})
    lacks = [{"resource": "tape", "holders": [{"run": "a@1"}]}], [{"resource": "tape", "holders": [{"run": "a@2"}]}]
    assert waiting._gist({**why, "missing": lacks[0]}) != waiting._gist({**why, "missing": lacks[1]})
