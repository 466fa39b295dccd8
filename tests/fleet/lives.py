"""Lives of a fleet under faked time, seed after seed, until enough have run: exit 1 if a promise was broken.

python -m tests.fleet.lives --occurrences 1000000 --first 1

Three hosts in one process, whose cores and conversations are the real ones, beside an etcd in memory: schedulers die
between any two acts, networks are cut and lose answers, hosts reboot, people pause, hold, stop and edit.  An occurrence
that runs twice or never, a lock that two have, and a fence that does not rise end a life (tests/support/fleet_life.py).
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from tests.support.fleet_life import FleetLife

_AT_ONCE = 50
"""Lives between two lines that tell how far it is."""


class Lived(NamedTuple):
    """A life: occurrences of the fleet that have run, runs that were started, and what was broken ("": nothing)."""

    seed: int
    occurrences: int
    started: int
    broken: str


def lived(seed: int, steps: int) -> Lived:
    """Live a life."""
    life, broken = FleetLife(seed), ""
    try:
        life.live(steps)
    except AssertionError as error:
        broken = str(error) or "an assertion"
    started = sum(len(host.launched) for host in life.fleet.hosts.values())
    return Lived(seed, life.occurrences, started, broken)


def lives(first: int, steps: int) -> Iterator[list[Lived]]:
    """Live life after life on all processors."""
    with ProcessPoolExecutor() as pool:
        for seed in itertools.count(first, _AT_ONCE):
            yield list(pool.map(lived, range(seed, seed + _AT_ONCE), itertools.repeat(steps)))


def main() -> int:
    """Live until there were enough; the exit status."""
    options = _options()
    begin, found = time.monotonic(), list[Lived]()
    for some in lives(options.first, options.steps):
        found += some
        for each in some:
            if each.broken:
                print(f"seed {each.seed}: {each.broken}", flush=True)
        occurrences = sum(each.occurrences for each in found)
        print(f"… {len(found)} lives, {occurrences} occurrences", file=sys.stderr, flush=True)
        if occurrences >= options.occurrences:
            break
    bad = sum(bool(each.broken) for each in found)
    started = sum(each.started for each in found)
    print(
        f"{len(found)} lives from seed {options.first} on: {occurrences} occurrences of the fleet have run,"
        f" {started} runs were started; {time.monotonic() - begin:.0f} s; bad: {bad}"
    )
    return bool(bad)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fleet.lives", description="Live lives of a fleet.")
    parser.add_argument("--occurrences", type=int, default=1_000_000, help="so many are to run at least  [1000000]")
    parser.add_argument("--first", type=int, default=1, help="seed of the first life  [1]")
    parser.add_argument("--steps", type=int, default=30, help="what happens in a life  [30]")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
