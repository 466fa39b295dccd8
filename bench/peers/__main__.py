"""Compare with other schedulers: python -m bench.peers [burst] [exec] [flood] [idle] [seconds] [--rounds N]

Needs root, for namespaces, and Debian's package lists and PyPI, to fetch the peers; a round of all takes half an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.peers.burst import TooBusy, burst, c_loop, place
from bench.peers.daemons import DAEMONS, Daemon
from bench.peers.idle import idle
from bench.peers.installs import CannotRun, Installs
from bench.peers.report import markdown
from bench.peers.seconds import seconds

Measure = Callable[[Daemon, Installs], dict[str, float]]
FLOOD = 5000
MEASURES: dict[str, tuple[bool, Measure]] = {
    "burst": (True, lambda daemon, installs: burst(daemon, installs, shell=True)),
    "exec": (False, lambda daemon, installs: burst(daemon, installs, shell=False)),
    "flood": (False, lambda daemon, installs: burst(daemon, installs, shell=False, count=FLOOD)),
    "idle": (True, lambda daemon, installs: idle(daemon, installs, count=1000)),
    "idle 10,000": (True, lambda daemon, installs: idle(daemon, installs, count=10_000)),
    "seconds": (False, seconds),
}
"""Whether crons can do it, and how it is measured."""
TRIES = 5


def compare(names: list[str], rounds: int, only: list[str]) -> dict[str, Any]:
    """All figures of all rounds, each daemon in turn within a round; the first is for warmth only."""
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        installs = Installs(Path(folder))
        for name in names:
            for_crons, measure = MEASURES[name]
            daemons = [it for it in DAEMONS if (for_crons or not it.is_cron) and (not only or it.name in only)]
            _two_at_once(installs, shell=name == "burst")
            for _ in range(rounds):
                for daemon in daemons:
                    figures = _measured(measure, daemon, installs)
                    found.setdefault(name, {}).setdefault(daemon.name, []).append(figures)
                    print(f"{name:12} {daemon.name:22}", _shown(figures), flush=True)
            if name in ("burst", "exec"):
                loops = [_two_at_once(installs, shell=name == "burst") for _ in range(rounds)]
                found[name]["two C loops at once"] = [{"ratio": ratio} for ratio in loops]
        return {"versions": installs.versions(), "machine": machine(), "found": found}


def _measured(measure: Measure, daemon: Daemon, installs: Installs) -> dict[str, float]:
    for _ in range(TRIES):
        try:
            return measure(daemon, installs)
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
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASURES))
    parser.add_argument("--rounds", type=int, default=5, help="of each  [5]")
    parser.add_argument("--only", action="append", default=[], metavar="DAEMON", help="only this one (again: these)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables here")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in MEASURES]:
        parser.error(f"no such comparison: {', '.join(unknown)}")
    if os.geteuid():
        print("peers: be root: namespaces need it", file=sys.stderr)
        return 2
    try:
        result = compare(options.names or list(MEASURES), options.rounds, options.only)
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
