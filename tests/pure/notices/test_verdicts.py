"""Verdicts: whatever a notifier answers, it is a verdict, and a pause is no longer than a day."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.base.instants import DAY, SECOND
from jobqueued.notices.failing_receivers import NotifierAnswer


@pytest.mark.parametrize(
    ("answer", "pause"),
    [
        ("later 0 no", 0), ("later 30 no", 30 * SECOND), ("later 86400 no", DAY), ("later 86401 no", DAY),
        ("later 99999999999999999999 no", DAY), (f"later {'9' * 200} no", 0), ("later ² no", 0), ("later ٣ no", 0),
        ("later -1 no", 0), ("later", 0),
    ],
)  # fmt: skip
def test_a_pause_is_a_day_at_most(answer: str, pause: int) -> None:
    """A process of a user may have written it: what is no number of seconds counts as none."""
    assert (False, pause) == (NotifierAnswer.parse(answer).sent, NotifierAnswer.parse(answer).pause)


@given(st.one_of(st.text(), st.text().map("later {}".format), st.text().map("never {}".format)))
def test_any_answer_is_a_verdict(answer: str) -> None:
    """None makes the scheduler fail."""
    verdict = NotifierAnswer.parse(answer)
    assert 0 <= verdict.pause <= DAY
    assert verdict.sent == (answer.partition(" ")[0] == "sent")
