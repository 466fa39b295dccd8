"""Short lives, of which a test has many."""

from __future__ import annotations

from tests.simulation.life import Life, Terms

SHORT = Terms(hours=1, jobs=4, faults=7, people=4, calm=45)


def digests() -> list[str]:
    """The digests of all that happens in some lives."""
    lives = [Life(seed, SHORT) for seed in (3, 7, 10, 12)]
    return [life.host.digest.hexdigest() for life in lives if not life.live()]
