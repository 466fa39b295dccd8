"""Live through a bad day, and judge it: exit 1 if a promise was broken, 2 if it can't be tried here.

python -m tests.chaos --minutes 10 --seed 1
python -m tests.chaos --only kill,full      these classes of faults only; to find what causes a violation
python -m tests.chaos --seed 7 --episode 31 the 31st episode of that day, by itself
python -m tests.chaos --judge D             judge once more what --keep D has kept of a day

Needs root, as it mounts file systems of its own (in namespaces of its own, so nothing of this host is touched).
"""

from __future__ import annotations

import argparse
import os
import pickle
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos import shortages
from tests.chaos.checker import Checker
from tests.chaos.daemon import Host
from tests.chaos.day import Day, Plan, live
from tests.chaos.episodes import CLASSES
from tests.chaos.evidence import gather
from tests.chaos.foreseen import foreseen
from tests.chaos.ledger import Ledger
from tests.chaos.report import markdown, report
from tests.chaos.timeline import Timeline

_INSIDE = "JOBQUEUED_CHAOS"
_UNSHARE = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--propagation", "private"]


def main() -> int:
    """Have a day; the exit status."""
    options = _options()
    if options.judge:
        return judged(options.judge, *pickle.loads((options.judge / "day").read_bytes()), options)
    if os.geteuid() or not all(map(shutil.which, ("unshare", "mount", "mkfs.ext4", "fsck.ext4"))):
        print("chaos: needs root, and the packages mount, util-linux and e2fsprogs", file=sys.stderr)
        return 2
    if _INSIDE not in os.environ:
        os.environ[_INSIDE] = "1"
        os.execvp(_UNSHARE[0], [*_UNSHARE, sys.executable, "-m", "tests.chaos", *sys.argv[1:]])
    _become_init()
    return have(options)


def have(options: argparse.Namespace) -> int:
    """Live through the day and judge it."""
    for kind, what in sorted({kind: shortages.missing(kind) for kind in options.only}.items()):
        if what:
            print(f"no {kind}: it needs {what}")
            options.only -= {kind}
    faults = ",".join(sorted(options.only))
    print(f"seed {options.seed}, {options.minutes:g} minutes, {options.jobs} jobs, faults: {faults}")
    numbers = frozenset(options.episode)
    plan = Plan(
        options.seed, options.minutes * 60, options.jobs, options.rate, options.pace, frozenset(options.only), numbers
    )  # fmt: skip
    root = options.keep or Path(tempfile.mkdtemp(prefix="chaos-"))
    root.mkdir(parents=True, exist_ok=True)
    host = Host(root, Timeline())
    day = live(host, plan)
    for name in ("state", "logs") if options.keep else ():
        shutil.copytree(root / name, root / f"kept-{name}")
    (root / "day").write_bytes(pickle.dumps((plan, day)))
    status = judged(root, plan, day, options)
    host.close()
    for name in ("state", "logs") if options.keep else ():  # they were mounted
        (root / name).rmdir()
        (root / f"kept-{name}").rename(root / name)
    if not options.keep:
        shutil.rmtree(root)
    return status


def judged(root: Path, plan: Plan, day: Day, options: argparse.Namespace) -> int:
    """Judge a day, by what it has left below `root`; the exit status."""
    begin = time.monotonic()
    evidence = gather(root, day.history)
    evidence.taken = day.taken
    checker = Checker(day, Ledger.read(root / "ledger" / "ledger"), evidence)
    found = list(checker.violations())
    if options.foresee:
        checker.notes.update(foreseen(root, (day.morning + day.evening) // 2, round(options.foresee * 10**9)))
    report(checker, found)
    if options.markdown:
        options.markdown.write_text(markdown(plan, checker, found))
    print(f"seed {plan.seed}: {len(found)} violations, judged in {time.monotonic() - begin:.0f} s")
    return bool(found)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Live through a bad day, and judge it.")
    parser.add_argument("--minutes", type=float, default=10, help="length of the day  [10]")
    parser.add_argument("--seed", type=int, default=1, help="seed of jobs and faults  [1]")
    parser.add_argument("--jobs", type=int, default=200, help="number of jobs  [200]")
    parser.add_argument("--rate", type=int, default=10, help="number of jobs beside them that start each second  [10]")
    parser.add_argument(
        "--only", type=_classes, default=frozenset(CLASSES), help=f"classes of faults: {','.join(CLASSES)}"
    )
    parser.add_argument("--pace", type=float, default=1, help="fault follows fault so many times faster  [1]")
    parser.add_argument(
        "--episode", type=int, action="append", default=[], help="only this episode, by its number; may be repeated"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the figures to FILE as tables in Markdown")
    parser.add_argument("--judge", type=Path, metavar="D", help="live through no day, but judge what is kept in D")
    parser.add_argument(
        "--foresee", type=float, default=0, metavar="S", help="tell how well S seconds of it could be foreseen"
    )
    parser.add_argument("--keep", type=Path, metavar="D", help="keep ledger, log, state and records in D")
    return parser.parse_args()


def _classes(text: str) -> frozenset[str]:
    found = frozenset(text.split(","))
    if unknown := found - {*CLASSES}:
        raise argparse.ArgumentTypeError(f"no such class: {', '.join(sorted(unknown))}")
    return found


def _become_init() -> None:
    """Stay behind as process 1 of the namespace, which reaps orphans; the day goes on in a child."""
    child = os.fork()
    while child:
        pid, status = os.wait()
        if pid == child:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


if __name__ == "__main__":
    sys.exit(main())
