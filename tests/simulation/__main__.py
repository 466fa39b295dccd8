"""Live lives by seed, and judge them: exit 1 if a promise was broken.

python -m tests.simulation --seed 7            one life; with --trace all that happens in it
python -m tests.simulation --seeds 1-10000     many; each that breaks a promise is shortened, and shown
python -m tests.simulation --year              a year of a busy host without faults, for speed
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial

from tests.simulation.life import Life, Terms
from tests.simulation.plan import KINDS
from tests.simulation.shrink import shortest
from tests.simulation.workers import workers
from tests.simulation.year import live_a_year

_TOGETHER = 500
"""Number of lives that the same processes live; then others go on, because each life leaves some 3 MB behind."""


def main() -> int:
    """Live them; the exit status."""
    options = _options()
    if options.year:
        print(live_a_year(options.days or 365, options.seed or 1, options.workers))
        return 0
    hours = options.hours if options.days is None else round(24 * options.days)
    terms = Terms(hours, options.jobs, options.faults, options.people, options.calm, options.only)
    if options.seed is not None:
        return _show(Life(options.seed, terms), trace=options.trace)
    first, _, last = options.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    begin, bad, runs = time.monotonic(), list[int](), 0
    for start in range(seeds.start, seeds.stop, _TOGETHER):
        some = seeds[start - seeds.start :][:_TOGETHER]
        with workers(options.workers) as pool:
            for seed, (violations, began) in zip(some, pool.map(partial(lived, terms), some, chunksize=4), strict=True):
                runs += began
                if violations:
                    bad.append(seed)
                    print(f"seed {seed}: {violations[0]}", flush=True)
        print(f"… {some[-1]}", file=sys.stderr, flush=True)
    took = time.monotonic() - begin
    print(f"seeds {options.seeds}: {len(seeds)} lives of {terms.hours} h, {runs} runs, {took:.0f} s; bad: {len(bad)}")
    for seed in bad[: options.show]:
        _show(Life(seed, terms), trace=False)
    return bool(bad)


def lived(terms: Terms, seed: int) -> tuple[list[str], int]:
    """The violations of a life, and how many commands were started in it."""
    life = Life(seed, terms)
    return life.live(), len(life.host.oracle.executions)


def _show(life: Life, *, trace: bool) -> int:
    violations = life.live()
    if trace:
        print("\n".join(life.host.trace))
    print(f"seed {life.seed}: {len(life.host.oracle.executions)} runs, trace {life.host.digest.hexdigest()[:16]}")
    if not violations:
        return 0
    print(*(f"  {violation}" for violation in violations), sep="\n")
    short = shortest(life)
    print(f"the shortest history that shows it: {len(short.plan)} of {len(life.plan)} happenings,"
          f" {len(short.all_works)} of {len(life.all_works)} jobs")  # fmt: skip
    print(*(f"  {it}" for it in short.plan), sep="\n")
    print("".join(work.text for work in short.all_works))
    print(*short.host.trace[-60:], sep="\n")
    return 1


def _kinds(text: str) -> frozenset[str]:
    found = frozenset(text.split(","))
    if unknown := found - {*KINDS}:
        raise argparse.ArgumentTypeError(f"no such kind: {', '.join(sorted(unknown))}")
    return found


def _options() -> argparse.Namespace:
    usual = Terms()
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, help="one life")
    parser.add_argument("--seeds", default="1-200", metavar="A-B", help="many lives  [1-200]")
    parser.add_argument("--days", type=float, help="virtual days of a life")
    parser.add_argument("--hours", type=int, default=usual.hours, help="or hours, before the calm  [%(default)s]")
    parser.add_argument("--jobs", type=int, default=usual.jobs, help="[%(default)s]")
    parser.add_argument("--faults", type=int, default=usual.faults, help="[%(default)s]")
    parser.add_argument("--people", type=int, default=usual.people, help="acts of people  [%(default)s]")
    parser.add_argument("--calm", type=int, default=usual.calm, help="minutes without faults at the end  [%(default)s]")
    every = ",".join(KINDS)
    parser.add_argument("--only", type=_kinds, default=every, help="these kinds of happenings  [%(default)s]")
    parser.add_argument("--workers", type=int, default=2, help="processes  [%(default)s]")
    parser.add_argument("--show", type=int, default=3, help="so many bad lives are shortened and shown  [%(default)s]")
    parser.add_argument("--trace", action="store_true", help="all that happens, with --seed")
    parser.add_argument("--year", action="store_true", help="a year (or --days) of a busy host, without faults")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
