"""The lock manager: all claims or none, never more than there is, and everything comes back.

Each of these was done to jobqueued/queue/locks.py by hand once, and each was noticed here:

- `missing` without looking at an exclusive holder (`here.alone`), or at one beside (`there.alone`)
- an exclusive claim granted beside shares (`here.holders`), or beside those held elsewhere (`there.holders`)
- units compared with `>=` for `>`; without the units asked for; without those beside
- a share that counts as a unit; a resource that is not named has no limit
- `grant` that looks at the first claim only; that refuses, and keeps what it had granted so far
- `grant(found=True)` that looks at the capacity; a second grant to one holder that is let pass
- `release` that forgets units, exclusiveness, or the holder
- `impossible` that looks at what is free now
- `claims_of` without the share of the host, without the slot, without the locks, without the resources, or with the
  share for an exclusive job
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobqueued.model.job import Claim, Scope
from jobqueued.queue.locks import HOST, SLOT, Claims, Locks, claims_of, least_claims, places_of
from tests.support.world import job

CAPACITY = {"slot": 3, "license": 5}
RESOURCES = ["slot", "license", "tape", "db"]
CLAIM = st.one_of(
    st.builds(Claim, st.sampled_from(RESOURCES), st.just(0), st.booleans()),
    st.builds(Claim, st.sampled_from(RESOURCES), st.integers(1, 3), st.just(False)),
)
CLAIMS = st.lists(CLAIM, max_size=3, unique_by=lambda claim: claim.resource).map(tuple)


class Model(NamedTuple):
    """What the rules say, by looking at everything."""

    held: dict[str, Claims]

    def conflict(self, claim: Claim) -> bool:
        """Whether a claim can't be granted beside what is held."""
        others = [c for claims in self.held.values() for c in claims if c.resource == claim.resource]
        if claim.exclusive:
            return bool(others)
        units = sum(c.units for c in others) + claim.units
        return any(c.exclusive for c in others) or (claim.units > 0 and units > CAPACITY.get(claim.resource, 1))

    def missing(self, claims: Claims) -> Claim | None:
        """The first claim in the way."""
        return next((claim for claim in claims if self.conflict(claim)), None)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), CLAIMS, st.booleans())))
def test_any_history(acts: list[tuple[str, Claims, bool]]) -> None:
    """Whoever asks, is found, and leaves in whatever order: a grant is refused only where the rules say so."""
    locks, model = Locks(CAPACITY), Model({})
    for holder, claims, found in acts:
        if holder in model.held:
            locks.release(holder)
            del model.held[holder]
            continue
        missing = model.missing(claims)
        assert missing == locks.missing(claims)
        assert (found or missing is None) == locks.grant(holder, claims, found=found)
        if found or missing is None:
            model.held[holder] = claims
        locks.validate()
        assert (list(model.held), len(model.held)) == (list(locks), len(locks))
        assert all(name in locks and claims == locks.held(name) for name, claims in model.held.items())
        assert "nobody" not in locks
        for name in RESOURCES:
            holders = [h for h, held in model.held.items() if any(c.resource == name for c in held)]
            assert holders == locks.holders(name)
            assert sum(c.units for held in model.held.values() for c in held if c.resource == name) == locks.used(name)


@given(st.lists(CLAIMS, max_size=4), st.lists(CLAIMS, max_size=4), CLAIMS)
@example([], [(Claim("tape"),)], (Claim("tape", 0, True),))
@example([], [(Claim("tape", 0, True),)], (Claim("tape"),))
@example([], [(Claim("tape", 1),)], (Claim("tape", 1),))
def test_beside(here: list[Claims], there: list[Claims], asked: Claims) -> None:
    """What is held in two managers counts as if one had it all."""
    one, two = Locks(CAPACITY), Locks(CAPACITY)
    for number, claims in enumerate(here):
        one.grant(f"h{number}", claims, found=True)
    for number, claims in enumerate(there):
        two.grant(f"t{number}", claims, found=True)
    model = Model({**{f"h{n}": c for n, c in enumerate(here)}, **{f"t{n}": c for n, c in enumerate(there)}})
    assert model.missing(asked) == one.missing(asked, two) == two.missing(asked, one)


def test_all_or_nothing() -> None:
    """A refused grant takes nothing, neither before nor behind the claim that was refused."""
    locks = Locks({})
    assert locks.grant("first", (Claim("b", 1),))
    assert not locks.grant("second", (Claim("a", 1), Claim("b", 1), Claim("c", 1)))
    assert locks.grant("third", (Claim("a", 1), Claim("c", 1)))


def test_found_alive() -> None:
    """What was found alive holds its claims beyond the capacity; until it is below again nobody gets any."""
    locks = Locks({"slot": 1})
    for holder in ("a", "b", "c"):
        assert locks.grant(holder, (Claim("slot", 1),), found=True)
    granted = []
    for holder in ("a", "b", "c"):
        granted.append(locks.grant("new", (Claim("slot", 1),)))
        locks.release(holder)
    assert [False, False, False] == granted
    assert locks.grant("new", (Claim("slot", 1),))


def test_shares_and_units() -> None:
    """Shares go with shares and with units; an exclusive claim goes with nothing."""
    locks = Locks({"license": 2})
    assert locks.grant("share", (Claim("license"),))
    assert locks.grant("two", (Claim("license", 2),))
    assert Claim("license", 1) == locks.missing((Claim("license", 1),))
    assert locks.missing((Claim("license"),)) is None
    assert Claim("license", exclusive=True) == locks.missing((Claim("license", exclusive=True),))
    locks.release("two")
    locks.release("share")
    assert locks.grant("alone", (Claim("license", exclusive=True),))
    assert Claim("license") == locks.missing((Claim("license"),))


def test_impossible() -> None:
    """More units than there are can never be granted, however few are taken; all else can."""
    locks = Locks({"gpu": 2})
    locks.grant("both", (Claim("gpu", 2),))
    assert locks.impossible((Claim("gpu", 2), Claim("tape", exclusive=True), Claim("tape"))) is None
    assert Claim("gpu", 3) == locks.impossible((Claim("gpu", 1), Claim("gpu", 3)))
    assert Claim("none", 2) == locks.impossible((Claim("none", 2),))


def test_twice() -> None:
    """Granting to a holder again, and releasing what is not held, are bugs that change nothing."""
    locks = Locks({"slot": 2})
    locks.grant("a", (Claim("slot", 1),))
    with pytest.raises(ValueError, match="a holds its claims already"):
        locks.grant("a", (Claim("slot", 1),))
    with pytest.raises(KeyError):
        locks.release("b")
    assert locks.grant("b", (Claim("slot", 1),))
    assert Claim("slot", 1) == locks.missing((Claim("slot", 1),))


def test_capacity() -> None:
    """Capacity is as told, one unit of what is not named, and stays when the teller's mapping changes."""
    capacity = {"slot": 2}
    locks = Locks(capacity)
    capacity["slot"] = 9
    assert (2, 1) == (locks.capacity("slot"), locks.capacity("other"))


def test_the_claims_of_a_job() -> None:
    """Each run claims a share of the host, or all of it; a slot where there are some; its locks and resources."""
    tape, gpu = Claim("tape", exclusive=True), Claim("gpu", 1)
    assert (Claim(HOST),) == claims_of(job(), slots=False)
    assert (Claim(HOST, exclusive=True), Claim(SLOT, 1)) == claims_of(job(exclusive=True), slots=True)
    assert (Claim(HOST), tape, gpu) == claims_of(job(locks=(tape,), resources=(gpu,)), slots=False)
    tagged = job(tags=("db", "nightly", "db", "odd"))
    assert (Claim(HOST), Claim(":tag:db", 1)) == claims_of(tagged, slots=False, tags={"db": 3, "other": 1})
    assert (Claim(HOST),) == claims_of(replace(tagged, id="alice/a"), slots=False, tags={"db": 3})


def test_the_least_claims() -> None:
    """Any run has a share of the host, and a slot where there are some."""
    assert (Claim(HOST),) == least_claims(slots=False)
    assert (Claim(HOST), Claim(SLOT, 1)) == least_claims(slots=True)


def test_what_can_be_granted() -> None:
    """Of what nobody holds as many units as there are; of what is held, shares beside more units than those, too."""
    locks = Locks({"gpu": 2})
    fits, too_many = (Claim("gpu", 2), Claim("tape", 1)), (Claim("gpu", 3), Claim("tape", 2))
    assert [None] * 2 == [locks.missing((claim,)) or locks.impossible((claim,)) for claim in fits]
    for claim in too_many:
        assert (claim, claim) == (locks.missing((claim,)), locks.impossible((claim,)))
    locks.grant("found", (Claim("gpu", 3), Claim("tape")), found=True)
    assert [None] * 3 == [locks.missing((claim,)) for claim in (Claim("gpu"), Claim("tape"), Claim("tape", 1))]
    locks.grant("alone", (Claim("tape", exclusive=True),), found=True)
    locks.release("alone")
    assert None is locks.missing((Claim("tape"),))


@pytest.mark.parametrize(
    "damage",
    [
        lambda locks: setattr(locks._used["gpu"], "units", 0),
        lambda locks: setattr(locks._used["gpu"], "alone", 1),
        lambda locks: locks._used["gpu"].holders.clear(),
        lambda locks: locks._held.clear(),
        lambda locks: locks._used.clear(),
    ],
)
def test_what_is_not_valid(damage: Callable[[Locks], None]) -> None:
    """What is in use is what is held, unit by unit, or it is told."""
    locks = Locks({"gpu": 2})
    locks.grant("a", (Claim("gpu", 1),))
    locks.validate()
    damage(locks)
    with pytest.raises(AssertionError):
        locks.validate()


def test_places_in_the_fleet() -> None:
    """Only runs of a job of the fleet claim units of their own, and only where there are several."""
    found = [places_of(job("j", scope=scope, concurrency=n)) for scope in (Scope.HOST, Scope.FLEET) for n in (1, 3)]
    assert [{}, {}, {}] == found[:3]
    assert [3] == list(found[3].values())
