"""The lock manager: all claims or none, never more than there is, and everything comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.locks import Claim, Locks

CAPACITY = {"slot": 3, "tape": 1, "license": 5}
CLAIMS = st.lists(
    st.builds(Claim, st.sampled_from([*CAPACITY, "unlimited"]), st.integers(1, 3)),
    max_size=3, unique_by=lambda claim: claim.resource,
).map(tuple)  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from("abcdef"), CLAIMS)))
def test_any_history(acts: list[tuple[str, tuple[Claim, ...]]]) -> None:
    """Whoever asks and leaves in whatever order: a grant is refused only for want of units, which never run below 0."""
    locks, held = Locks(CAPACITY), {}
    for holder, claims in acts:
        if holder in held:
            locks.release(holder)
            del held[holder]
            continue
        used = {name: sum(c.units for cs in held.values() for c in cs if c.resource == name) for name in CAPACITY}
        short = [c for c in claims if c.resource in used and used[c.resource] + c.units > CAPACITY[c.resource]]
        assert (short[0] if short else None) == locks.missing(claims)
        assert (not short) == locks.grant(holder, claims)
        if not short:
            held[holder] = claims
        assert len(held) == len(locks)
        assert [holder in held for holder in "abcdef"] == [holder in locks for holder in "abcdef"]
        for name in CAPACITY:
            assert [h for h, cs in held.items() if any(c.resource == name for c in cs)] == locks.holders(name)


def test_all_or_nothing() -> None:
    """A refused grant takes nothing, neither before nor behind the claim that was refused."""
    locks = Locks({"a": 1, "b": 1, "c": 1})
    assert locks.grant("first", (Claim("b"),))
    assert not locks.grant("second", (Claim("a"), Claim("b"), Claim("c")))
    assert locks.grant("third", (Claim("a"), Claim("c")))


def test_found_alive() -> None:
    """What was found alive holds its claims beyond the capacity; until it is below again nobody gets any."""
    locks = Locks({"slot": 1})
    for holder in ("a", "b", "c"):
        assert locks.grant(holder, (Claim("slot"),), found=True)
    granted = []
    for holder in ("a", "b", "c"):
        granted.append(locks.grant("new", (Claim("slot"),)))
        locks.release(holder)
    assert [False, False, False] == granted
    assert locks.grant("new", (Claim("slot"),))


def test_twice() -> None:
    """Granting to a holder again, and releasing what is not held, are bugs that change nothing."""
    locks = Locks({"slot": 2})
    locks.grant("a", (Claim("slot"),))
    with pytest.raises(ValueError, match="a holds its claims already"):
        locks.grant("a", (Claim("slot"),))
    with pytest.raises(KeyError):
        locks.release("b")
    assert locks.grant("b", (Claim("slot"),))
    assert Claim("slot") == locks.missing((Claim("slot"),))


def test_capacity() -> None:
    """Capacity is as told, and stays when the teller's mapping changes."""
    capacity = {"slot": 2}
    locks = Locks(capacity)
    capacity["slot"] = 9
    assert (2, None) == (locks.capacity("slot"), locks.capacity("other"))
