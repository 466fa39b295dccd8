"""Live through a day of a fleet, and judge it: exit 1 if a promise was broken, 2 if it can't be tried here.

python -m tests.fleet --minutes 3 --seed 1
python -m tests.fleet --only "answers are"    the faults with these words only
python -m tests.fleet --keep D                keep etcd, hosts and the book of the jobs in D

Hosts are directories, and their ways to etcd are proxies.  As root each host, and each member of etcd, has a network
namespace of its own; else there are no faults of links, and no power that goes off.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections import Counter
from math import inf
from pathlib import Path

from tests.fleet.day import Day, Plan, live
from tests.fleet.judge import BOOTED, PROMISED, Violation, takeovers, violations
from tests.support.places import Switch, lacking

_SHOWN = 12


def main() -> int:
    """Have a day; the exit status."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # not without the end of all that was started
    if shutil.which("etcd") is None:
        print("fleet: needs etcd (apt install etcd-server)", file=sys.stderr)
        return 2
    plan = Plan(options.seed, options.minutes * 60, options.pause, options.longest_wait, options.only)
    if not options.keep:
        with tempfile.TemporaryDirectory(prefix="fleet-") as name:
            return lived(Path(name), plan)
    options.keep.mkdir(parents=True)
    return lived(options.keep, plan)


def lived(root: Path, plan: Plan) -> int:
    """Live through a day, and judge it; the exit status."""
    lack = lacking()
    print(f"hosts and members of etcd have {f'no links: {lack}' if lack else 'links of their own'}")
    day = live(root, plan, None if lack else Switch(2))
    found = list(violations(day))
    report(day, found)
    print(f"seed {plan.seed}: {len(found)} violations")
    return bool(found)


def report(day: Day, found: list[Violation]) -> None:
    """Print what there was, and what was broken."""
    counts = Counter(violation.verdict for violation in found)
    for verdict in PROMISED:
        texts = [violation.text for violation in found if violation.verdict == verdict]
        for text in texts[:_SHOWN]:
            print(f"==== {verdict}: {text}")
    print("faults:")
    for fault, count in sorted(day.faults.items()):
        print(f"  {count:5}  {fault}")
    print("what happened:")
    starts = Counter(line.run.partition(":")[0] for line in day.lines if line.what == "start")
    for host, count in sorted(starts.items()):
        print(f"  {count:5}  runs that were started on {host}")
    late = sorted(line.up - line.due.timestamp() + BOOTED for line in day.lines if line.what == "start")
    print(f"  of {len(late)} starts half, 99 % and all came at most so late: {_quantiles(late)}")
    taken = takeovers(day)
    print(f"  of {len(taken)} of them while a host was away, on others, without locks: {_quantiles(taken)}")
    print(f"  {sum(record['state'] == 'lost' for _, record in day.records):5}  runs that were lost with their hosts")
    untold = sum(not exchange.answer for exchange in day.exchanges)
    print(f"  {len(day.exchanges):5}  calls of etcd, {untold} of them without an answer that tells what came of it")
    told = Counter(f"{act.what}s confirmed" if act.answered < inf else f"{act.what}s without an answer"
                   for act in day.acts if act.what in ("pause", "resume"))  # fmt: skip
    for what, count in sorted(told.items()):
        print(f"  {count:5}  {what}")
    print("violations:")
    for verdict in PROMISED:
        print(f"  {counts[verdict]:5}  {verdict}")


def _quantiles(figures: list[float]) -> str:
    if not figures:
        return "none"
    return f"{figures[len(figures) // 2]:.1f}, {figures[len(figures) * 99 // 100]:.1f}, {figures[-1]:.1f} s"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fleet", description="Live through a day of a fleet.")
    parser.add_argument("--minutes", type=float, default=3, help="length of the day  [3]")
    parser.add_argument("--seed", type=int, default=1, help="seed of the faults  [1]")
    parser.add_argument("--pause", type=float, default=10, help="mean seconds from fault to fault, of each host  [10]")
    parser.add_argument("--longest-wait", type=float, default=180, help="seconds until all is caught up  [180]")
    parser.add_argument("--only", default="", metavar="WORDS", help="only faults with these words in their names")
    parser.add_argument("--keep", type=Path, metavar="D", help="keep etcd, hosts and the book of the jobs in D")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
