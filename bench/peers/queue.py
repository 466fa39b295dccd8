"""Short jobs that people hand in while nothing starts, and then all at once: how many are taken a second, how soon the
last of them has started, beside a C loop that starts as many, one after the other; memory, and the CPU time of it all.

Each is one exec, with its output and exit code kept.  Ours are submissions, by four connections that have sixteen calls
on the way each; task-spooler's by its client, a process each, which stays until its job is over, as many at a time as
there are CPUs.  Those of at, too, by its client, each a script of a shell, while no atd is there, which starts all at
once and keeps no exit code.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bench.flood import submit
from bench.peers.burst import BUSY, Peak, TooBusy, begun, c_loop, stamps
from bench.peers.daemons import DAEMONS, ENVIRONMENT, Jobs, system
from bench.peers.hosts import Host, Others, hosted
from bench.peers.installs import Installs
from bench.peers.places import place
from bench.rig import wait_for
from jobqueued.ctl.base.client import ask

COUNT = 900
"""Jobs: task-spooler has a process for each that waits, and its select(2) takes no more than 1,024 descriptors."""
_ENOUGH = 300.0
_TASK_SPOOLER = """set -e
tsp=$1 place=$2 count=$3 slots=$4; shift 4
export TS_SOCKET=$place/socket TMPDIR=$place TS_MAXCONN=$((count + 100)) TS_MAXFINISHED=$count TS_SLOTS=$slots
ulimit -n $((count + 200))
mkfifo $place/gate
for slot in $(seq $slots); do $tsp sh -c "read end <$place/gate" >$place/said-by-tsp; done
: >$place/held
for number in $(seq $count); do $tsp "$@" >$place/said-by-tsp; done
: >$place/full
"""


_AT = """set -e
root=$1 place=$2 count=$3; shift 3
mkfifo $place/gate
for number in $(seq $count); do echo "exec $*" | $root/usr/bin/at now >$place/said-by-at 2>&1; done
: >$place/full
read end <$place/gate || :
exec $root/usr/sbin/atd -f
"""


class Queue(NamedTuple):
    """Whoever takes jobs.  `begin` says the command that does; `hold` waits until nothing starts, `fill` until all jobs
    are taken; `release` lets them start.
    """

    name: str
    begin: Callable[[Path, Path, Installs], tuple[list[str], dict[str, str]]]
    hold: Callable[[Path], object]
    fill: Callable[[Path, list[str]], object]
    release: Callable[[Path], object]


def _ours(home: Path, _ledger: Path, installs: Installs) -> tuple[list[str], dict[str, str]]:
    return begun(DAEMONS[0], home, installs, Jobs(0, None, (), shell=False))


def _hold(home: Path) -> None:
    wait_for((home / "tmpfs/control").exists, _ENOUGH)
    ask(home / "tmpfs/control", "Hold", _ENOUGH)


def _task_spooler(home: Path, ledger: Path, installs: Installs) -> tuple[list[str], dict[str, str]]:
    (home / "tsp").mkdir()
    words = [str(installs.root / "usr/bin/tsp"), str(home / "tsp"), str(COUNT), str(os.cpu_count() or 1)]
    return ["sh", "-c", _TASK_SPOOLER, "sh", *words, str(installs.stamp), str(ledger)], ENVIRONMENT


def _at(home: Path, ledger: Path, installs: Installs) -> tuple[list[str], dict[str, str]]:
    spools = [home / "spool/cron" / name for name in ("atjobs", "atspool")]
    system(home, "at", *(str(spool.relative_to(home)) for spool in spools))
    (home / "etc/at.deny").touch()
    (spools[0] / ".SEQ").write_text("0\n")  # as its package does
    for kept in (*spools, spools[0] / ".SEQ"):
        shutil.chown(kept, "daemon", "daemon")
    words = [str(installs.root), str(home / "at"), str(COUNT), str(installs.stamp), str(ledger)]
    return ["sh", "-c", _AT, "sh", *words], ENVIRONMENT


QUEUES = (
    Queue(
        "jobqueued", _ours, _hold, lambda home, command: submit(home / "tmpfs/control", COUNT, command),
        lambda home: ask(home / "tmpfs/control", "Release", _ENOUGH),
    ),
    Queue(
        "task-spooler", _task_spooler, lambda home: wait_for((home / "tsp/held").exists, _ENOUGH),
        lambda home, _command: wait_for((home / "tsp/full").exists, _ENOUGH),
        lambda home: (home / "tsp/gate").write_text(""),
    ),
    Queue(
        "at", _at, lambda _home: None, lambda home, _command: wait_for((home / "at/full").exists, _ENOUGH),
        lambda home: (home / "at/gate").write_text(""),
    ),
)  # fmt: skip


def queued(queue: Queue, installs: Installs) -> dict[str, float]:
    """One round; TooBusy."""
    with place() as (home, ledger):
        command = [str(installs.stamp), str(ledger)]
        loop, job_cpu = c_loop(installs, tuple(command), shell=False, count=COUNT)
        ledger.write_bytes(b"")
        with hosted(home, installs.init, *queue.begin(home, ledger, installs)) as host:
            others = Others()
            queue.hold(home)
            begin = time.monotonic()
            queue.fill(home, command)
            took = time.monotonic() - begin
            host.settle(120)
            full_mib, peak = host.pss_mib(), Peak(host)
            released = time.time()
            queue.release(home)
            wait_for(lambda: peak.look() or ledger.stat().st_size >= 8 * COUNT, _ENOUGH)
            host.settle(120)
            figures = _figures(host, loop, full_mib, peak.mib, others, job_cpu)
        starts = [number / 1e9 - released for number in stamps(ledger)]
    if len(starts) != COUNT:
        raise RuntimeError(f"{queue.name} started {len(starts)} of {COUNT} jobs: {host.said()[-500:]}")
    return figures | {"taken_a_second": COUNT / took, "last_s": max(starts), "ratio": max(starts) / loop}


def _figures(
    host: Host, loop: float, full_mib: float, peak_mib: float, others: Others, job_cpu: float
) -> dict[str, float]:  # fmt: skip
    after_mib, cpu = host.pss_mib(), host.cpu()
    if (share := others.share(cpu)) > BUSY:
        raise TooBusy(f"queue: other processes took {share:.2f} CPUs")
    return {
        "c_loop_s": loop, "cpu_ms_a_run": (cpu - job_cpu) / COUNT * 1000, "full_mib": full_mib, "peak_mib": peak_mib,
        "after_mib": after_mib,
    }  # fmt: skip
