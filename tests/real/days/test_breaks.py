"""What is broken on purpose, to see that a bad day or an image of a disk shows it, is still in the code."""

from __future__ import annotations

import pytest

from tests.chaos.breaks import BREAKS as OF_A_DAY
from tests.fleet.breaks import BREAKS as OF_A_FLEET
from tests.mutants.__main__ import equivalent
from tests.mutants.hunt import all_mutants
from tests.power.breaks import BREAKS as OF_POWER
from tests.support import REPO
from tests.support.breaks import Break

ALL = {
    **OF_POWER,
    **{name: wanted for name, (wanted, _) in OF_A_DAY.items()},
    **{name: each.wanted for name, each in OF_A_FLEET.items()},
}


@pytest.mark.parametrize("wanted", ALL.values(), ids=ALL)
def test_it_is_there_once(wanted: Break) -> None:
    """The text is there, and what stands in its place is still a program."""
    text = (REPO / "jobqueued" / wanted.file).read_text()
    assert 1 == text.count(wanted.text)
    compile(text.replace(wanted.text, wanted.instead), wanted.file, "exec")


def test_mutants_that_are_the_same_program() -> None:
    """Each that is listed is one of the program as it is: else nothing can be hunted."""
    assert equivalent(list(all_mutants()))
