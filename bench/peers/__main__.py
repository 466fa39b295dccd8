"""Compare with other schedulers: python -m bench.peers [burst] [user] [exec] [flood] [queue] [idle] [seconds] …

Needs root, for namespaces and for disks in files (e2fsprogs), and Debian's package lists and PyPI, to fetch the peers;
`machine` also what `make system` does.  A round of all takes an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from bench.peers.burst import TooBusy, burst, c_loop
from bench.peers.daemons import DAEMONS, Daemon
from bench.peers.idle import idle
from bench.peers.installs import CannotRun, Installs
from bench.peers.machine import machine as in_machine
from bench.peers.places import enter, place
from bench.peers.queue import QUEUES, Queue, queued
from bench.peers.report import markdown
from bench.peers.seconds import seconds

Measure = Callable[[Daemon, Installs], dict[str, float]]
FLOOD = 5000
MEASURES: dict[str, tuple[bool, Measure]] = {
    "burst": (True, lambda daemon, installs: burst(daemon, installs, shell=True)),
    "user": (True, lambda daemon, installs: burst(daemon, installs, shell=True, user="nobody")),
    "exec": (False, lambda daemon, installs: burst(daemon, installs, shell=False)),
    "flood": (False, lambda daemon, installs: burst(daemon, installs, shell=False, count=FLOOD, sees_peak=True)),
    "idle": (True, lambda daemon, installs: idle(daemon, installs, count=1000)),
    "idle 10,000": (True, lambda daemon, installs: idle(daemon, installs, count=10_000)),
    "seconds": (False, seconds),
}
"""Whether crons can do it, and how it is measured."""
QUEUE, MACHINE = "queue", "machine"
NAMES = [*list(MEASURES)[:4], QUEUE, *list(MEASURES)[4:], MACHINE]
TRIES = 5
T = TypeVar("T")
N = TypeVar("N", Daemon, Queue)


class Comparison:
    """All figures of all rounds, each daemon in turn within a round."""

    def __init__(self, installs: Installs, rounds: int, only: list[str]) -> None:
        self._installs, self._rounds, self._only = installs, rounds, only
        self.found: dict[str, dict[str, list[dict[str, float]]]] = {}
        self.versions: dict[str, str] = {}

    def measure(self, name: str) -> None:
        """All rounds of one measure."""
        if name == MACHINE:
            self._in_machine()
            return
        _two_at_once(self._installs, shell=name == "burst")  # for warmth
        for _ in range(self._rounds):
            self._round(name)
        if name in ("burst", "exec"):
            loops = [_two_at_once(self._installs, shell=name == "burst") for _ in range(self._rounds)]
            self.found[name]["two C loops at once"] = [{"ratio": ratio} for ratio in loops]

    def _round(self, name: str) -> None:
        if name == QUEUE:
            for queue in self._chosen(QUEUES):
                self._note(name, queue.name, _measured(partial(queued, queue, self._installs)))
            return
        for_crons, measure = MEASURES[name]
        for daemon in self._chosen([it for it in DAEMONS if for_crons or not it.is_cron]):
            self._note(name, daemon.name, _measured(partial(measure, daemon, self._installs)))

    def _chosen(self, all_of_them: Sequence[N]) -> list[N]:
        return [it for it in all_of_them if not self._only or it.name in self._only]

    def _in_machine(self) -> None:
        """A machine a round, as what one leaves behind would slow down the next."""
        for _ in range(self._rounds):
            guest = _measured(partial(in_machine, self._installs))
            self.versions["systemd"] = guest["systemd"]
            for name, rows in guest["found"].items():
                for starter, figures in rows.items():
                    self._note(name, starter, figures)

    def _note(self, name: str, who: str, figures: dict[str, float]) -> None:
        self.found.setdefault(name, {}).setdefault(who, []).append(figures)
        print(f"{name:12} {who:32}", _shown(figures), flush=True)


def compare(names: list[str], rounds: int, only: list[str]) -> dict[str, Any]:
    """All of it, as --json has it."""
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        Path(folder).chmod(0o755)
        installs = Installs(Path(folder))
        comparison = Comparison(installs, rounds, only)
        for name in names:
            comparison.measure(name)
        versions = installs.versions() | comparison.versions
        return {"versions": versions, "machine": machine(), "found": comparison.found}


def _measured(measure: Callable[[], T]) -> T:
    for _ in range(TRIES):
        try:
            return measure()
        except TooBusy as busy:
            print(busy, file=sys.stderr)
    raise CannotRun(f"the machine had no quiet minute in {TRIES} tries")


def _two_at_once(installs: Installs, *, shell: bool) -> float:
    """The time of two C loops that share the work, beside that of one."""
    with place() as (_home, ledger):
        command = (str(installs.stamp), str(ledger))
        alone, _cpu = c_loop(installs, command, shell=shell, count=1000)
        together, _cpu = c_loop(installs, command, shell=shell, count=1000, at_once=2)
        return together / alone


def machine() -> dict[str, Any]:
    """What it was measured on."""
    with open("/proc/cpuinfo") as file:
        models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return {
        "cpus": os.cpu_count(),
        "model": models[0],
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _shown(figures: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--rounds", type=int, default=5, help="of each  [5]")
    parser.add_argument("--only", action="append", default=[], metavar="DAEMON", help="only this one (again: these)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables here")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in NAMES]:
        parser.error(f"no such comparison: {', '.join(unknown)}")
    if os.geteuid():
        print("peers: be root: namespaces need it", file=sys.stderr)
        return 2
    enter("bench.peers")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what it has begun and mounted ends with it
    try:
        result = compare(options.names or NAMES, options.rounds, options.only)
    except CannotRun as problem:
        print(f"peers: {problem}", file=sys.stderr)
        return 2
    text = markdown(result)
    print(text)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    if options.markdown:
        options.markdown.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
