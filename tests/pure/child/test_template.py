"""The names of templates are those that a notice has."""

from __future__ import annotations

from jobqueued.child.notifier.notice_text import values
from jobqueued.child.notifier.template import NAMES, NUMBERS
from tests.support.notices import a_notice


def test_names() -> None:
    """What is accepted at load is filled when it is sent, and numbers are numbers."""
    known = values(a_notice())
    assert list(NAMES) == list(known)
    assert [*NUMBERS] == [name for name, value in known.items() if isinstance(value, int)]
