"""The fields of a record in docs/records.md are those that the program knows, and the other way round."""

from __future__ import annotations

import re

import pytest

from jobqueued.child.contract.documents import AttemptRecord, Journal, OutputPlaces, OwnerRecord, Record, TriggeredBy
from tests.support import REPO
from tests.support.papers import fields

PAPER = (REPO / "docs/records.md").read_text()
UNTOLD = {"pattern", "traceparent"}
"""What a run knows of its trigger, and no record tells."""


def named(field: str) -> set[str]:
    """The words in the row of a field that may be keys."""
    (row,) = re.findall(rf"^\| {field} \| (.*)", PAPER, re.M)
    return set(re.findall(r"`([a-z_]+)`", row))


def test_the_fields() -> None:
    """The table has each of them once, and no other but `journal`, which is in `output`."""
    assert sorted([*Record.__annotations__, "journal"]) == sorted(fields(PAPER)[0])


@pytest.mark.parametrize(
    ("field", "keys"),
    [
        ("attempts", AttemptRecord.__annotations__.keys() - Record.__annotations__.keys() | {"offset"}),
        ("output", OutputPlaces.__annotations__.keys() - {"offset"}),
        ("journal", Journal.__annotations__.keys()),
        ("owner", OwnerRecord.__annotations__.keys()),
        ("triggered_by", TriggeredBy.__annotations__.keys() - UNTOLD),
    ],
)
def test_the_keys_of_a_field(field: str, keys: set[str]) -> None:
    """Its row names each of them."""
    assert set() == keys - named(field)
