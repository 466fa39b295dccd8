"""Three hosts of ours, and three of cronstable in its cluster mode, through the same faults: -m bench.peers.fleet

Each fleet has its turn, with the same jobs, and the same faults at the same seconds of a minute, which the seed draws:
a host is killed with all that lives on it, the one that has started the last job is killed, one is cut off, one is
stopped, all are cut off from each other, all schedulers are restarted.  Where etcd is used, each host has a member of
it, so that a fault of the host is one of its member, too.  The jobs write their starts and ends to one ledger, and
what was due is counted from the schedule: nothing is taken from what a scheduler says.

Needs root, for network namespaces, etcd, and PyPI, to fetch cronstable.  A fleet takes --minutes and two more.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from bench.peers.fleet_hosts import KINDS, NAMES, Fleet, Kind, fleet
from bench.peers.fleet_ledger import JOBS, MINUTE, Figures, counted, read
from bench.peers.installs import CannotRun, cronstable, version
from tests.support.places import Switch, lacking

_BOOTED = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
_SLOT, _SPARE = 30.0, 14.0
"""Seconds from one fault to the next, and those by which the seed may put one off."""
_BEGIN = 45.0
"""The second of a minute at which a day begins, so that every other slot has a full minute in it."""
_READY, _CALM = 120.0, 15.0
"""Seconds in which a fleet starts jobs, and in which it goes on with that before its first fault."""
_LOOK = 0.05
SECONDS = {
    "a host is killed": 8.0,
    "the host of the last start is killed": 8.0,
    "a host is cut off": 13.0,
    "a host is stopped": 13.0,
    "all hosts are cut off from each other": 13.0,
    "all schedulers are restarted": 0.0,
}
"""How long each fault lasts."""
ROWS = {
    "occurrences that were due": lambda found: f"{found.due:,}",
    "started once, within a minute": lambda found: f"{found.once:,}",
    "started twice or more": lambda found: f"{len(found.again):,}",
    "not started within a minute": lambda found: f"{len(found.never):,}",
    "how late half, 99 % and all of those that started were at most":
        lambda found: f"{_part(found, 0.5):.2f}, {_part(found, 0.99):.1f}, {_part(found, 1):.1f} s",
    "starts of a job while another run of it went on": lambda found: f"{found.overlaps:,}",
}  # fmt: skip


class Step(NamedTuple):
    """A fault, `at` so many seconds after the begin of a day."""

    at: float
    fault: str
    host: int


def steps(seed: int, minutes: float) -> list[Step]:
    """The faults of a day: each once, in an order by the seed, and so on."""
    chance, found, round_of = random.Random(seed), list[Step](), list[str]()
    for slot in range(int(minutes * MINUTE / _SLOT)):
        if not round_of:
            round_of = chance.sample(list(SECONDS), len(SECONDS))
        found.append(Step(slot * _SLOT + chance.uniform(0, _SPARE), round_of.pop(), chance.randrange(len(NAMES))))
    return found


def begun(of: Fleet, step: Step) -> Callable[[], None]:
    """Begin a fault; what ends it."""
    match step.fault:
        case "a host is killed":
            return of.kill(step.host)
        case "the host of the last start is killed":
            return of.kill(_last(of))
        case "a host is cut off":
            return of.cut(step.host)
        case "a host is stopped":
            return of.stop(step.host)
        case "all hosts are cut off from each other":
            return of.cut(*range(len(NAMES)))
    return of.restart()


def _last(of: Fleet) -> int:
    """The host that has started the last job."""
    return NAMES.index([line.host for line in read(of.book.read_text(), _BOOTED) if line.what == "start"][-1])


def lived(of: Fleet, plan: list[Step], minutes: float) -> tuple[float, Figures]:
    """When a day began, and what came of it."""
    end = time.time() + _READY
    while " second" not in of.book.read_text():
        if time.time() > end:
            raise CannotRun(f"no job was started within {_READY:g} s: {of.hosts[0].log()[-1000:]}")
        _pass(of, time.time() + 1)
    begin = time.time() + _CALM
    begin += (_BEGIN - begin) % MINUTE
    for step in plan:
        _pass(of, begin + step.at)
        finish = begun(of, step)
        print(f"  {datetime.now(UTC):%H:%M:%S} {step.fault}", flush=True)
        _pass(of, begin + step.at + SECONDS[step.fault])
        finish()
    evening = begin + minutes * MINUTE
    _pass(of, evening + MINUTE + 1)
    return begin, counted(read(of.book.read_text(), _BOOTED), JOBS, begin, evening)


def _pass(of: Fleet, until: float) -> None:
    """Let time pass; what has ended is started again."""
    while time.time() < until:
        for host in of.hosts:
            host.tend()
        time.sleep(_LOOK)


def told(plan: list[Step], begin: float, dues: list[float]) -> str:
    """How many of these occurrences came due after each fault, before the next."""
    found = Counter(([None, *(step.fault for step in plan if begin + step.at <= due)])[-1] for due in dues)
    return ", ".join(f"{count} after {fault!r}" for fault, count in found.most_common()) or "none"


def _part(found: Figures, part: float) -> float:
    return found.late[min(int(len(found.late) * part), len(found.late) - 1)] if found.late else float("nan")


def compare(root: Path, kinds: list[Kind], seed: int, minutes: float) -> dict[str, Figures]:
    """The figures of each, one after another."""
    program, switch, plan = cronstable(root), Switch(1), steps(seed, minutes)
    etcd = subprocess.check_output(["etcd", "--version"], text=True).split()[2]
    print(f"cronstable {version(program)}, etcd {etcd}, Python {platform.python_version()}, {os.cpu_count()} CPUs")
    found = dict[str, Figures]()
    for number, kind in enumerate(kinds):
        print(f"{kind.name}, load {os.getloadavg()[0]:.1f}", flush=True)
        with fleet(kind, root / f"fleet{number}", switch, program) as of:
            begin, found[kind.name] = lived(of, plan, minutes)
        print(f"  twice or more: {told(plan, begin, found[kind.name].again)}")
        print(f"  not within a minute: {told(plan, begin, found[kind.name].never)}", flush=True)
    return found


def table(found: dict[str, Figures]) -> str:
    """All of it, in Markdown."""
    lines = [["", *found], ["---"] * (len(found) + 1)]
    lines += [[row, *(shown(figures) for figures in found.values())] for row, shown in ROWS.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers.fleet", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3, help="length of the faults; three have each once  [3]")
    parser.add_argument("--seed", type=int, default=7, help="seed of the faults  [7]")
    parser.add_argument("--only", default="", metavar="WORDS", help="only fleets with these words in their names")
    parser.add_argument("--keep", type=Path, metavar="D", help="keep ledgers and logs in D")
    options = parser.parse_args()
    if lack := lacking() if shutil.which("etcd") else "needs etcd: apt install etcd-server":
        print(f"fleet: {lack}", file=sys.stderr)
        return 2
    kinds = [kind for kind in KINDS if options.only in kind.name]
    try:
        with tempfile.TemporaryDirectory(prefix="peers-") as name:
            root = options.keep or Path(name)
            root.mkdir(parents=True, exist_ok=True)
            print(table(compare(root, kinds, options.seed, options.minutes)))
    except CannotRun as problem:
        print(f"fleet: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
