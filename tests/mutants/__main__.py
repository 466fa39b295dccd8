"""Try mutants of the core, and tell which of them no test notices: exit 1 if those are more than one in twenty.

python -m tests.mutants                     all of them, some hours
python -m tests.mutants --sample 600 --seed 2
python -m tests.mutants --only core/runs/skips.py:36 core/runs/retries.py     these places and files
python -m tests.mutants --only 0a4653b3 --tests tests/pure/core/jobs/test_jobs.py     this one, by these tests

What is the same program in other words is in equivalent.txt, with the reason; a name changes with its statement.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.mutants.hunt import Hunt, all_mutants
from tests.mutants.mutations import Mutant

EQUIVALENT = Path(__file__).with_name("equivalent.txt")
TESTS = [f"tests/pure/{wing}" for wing in ("queue", "core", "audit", "metrics", "notices", "runs", "control", "ctl")]
ENOUGH = 95


def main() -> int:
    """Hunt; the exit status."""
    options = _options()
    everything = list(all_mutants())
    same = equivalent(everything)
    chosen = [it for it in everything if it.name not in same and _is_wanted(it, options.only)]
    if options.sample:
        chosen = random.Random(options.seed).sample(chosen, min(options.sample, len(chosen)))
    log = Path(options.log or os.devnull)
    before = dict(line.split(" ", 1) for line in log.read_text().splitlines()) if log.exists() else {}
    dead = [it for it in chosen if before.get(it.name, "-") != "-"]
    killed, all_of = Counter(map(_file, dead)), Counter(map(_file, dead))

    def told(mutant: Mutant, killer: str) -> None:
        all_of[_file(mutant)] += 1
        killed[_file(mutant)] += bool(killer)
        if not killer:
            print(f"survived: {mutant}", flush=True)
        with log.open("a") as file:
            file.write(f"{mutant.name} {killer or '-'}\n")

    arguments = ["-qs", "--no-header", "--no-summary", "-pno:cacheprovider", *options.tests]
    todo = [it for it in chosen if it not in dead]
    status = pytest.main(arguments, plugins=[Hunt(todo, options.workers, options.most, told)])
    if status:
        return 2
    equal = Counter(_file(it) for it in everything if it.name in same)
    print(f"{'file':<28}{'mutants':>8}{'killed':>8}{'survived':>10}{'equivalent':>12}")
    for name, count in [*sorted(all_of.items()), ("all", all_of.total())]:
        dead, alike = (killed[name], equal[name]) if name != "all" else (killed.total(), equal.total())
        print(f"{name:<28}{count:>8}{dead:>8}{count - dead:>10}{alike:>12}")
    return int(100 * killed.total() < ENOUGH * all_of.total())


def _file(mutant: Mutant) -> str:
    return f"{mutant.path.parent.name}/{mutant.path.name}"


def _is_wanted(mutant: Mutant, only: list[str]) -> bool:
    names = {mutant.name, _file(mutant), *(f"{_file(mutant)}:{line}" for line in mutant.lines)}
    return not only or not names.isdisjoint(only)


def equivalent(known: list[Mutant]) -> set[str]:
    """The names of those that are the same program; each must be there and have a reason."""
    found = set()
    for line in EQUIVALENT.read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, reason = line.partition(" ")
            if not reason or name not in {it.name for it in known} or name in found:
                sys.exit(f"{EQUIVALENT}: {name} is no mutant, has no reason, or is here twice")
            found.add(name)
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.mutants")
    parser.add_argument("--sample", type=int, default=0, help="so many, by chance; default: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=[], help="names, files, or places such as core/runs/skips.py:36")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="files and directories of tests")
    parser.add_argument("--most", type=float, default=1e9, help="so many CPU seconds of tests for each; default: all")
    parser.add_argument("--log", help="a file that gets each one's name and killer: the killed are not tried again")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
