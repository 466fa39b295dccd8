"""What each command of jobqueuectl that asks the daemon costs as a process: beside an interpreter that imports json and
socket, which is the least that a client in Python can be; in turns, so that both meet the same noise.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from bench.rig import ROOT, daemon

JOBS, ROUNDS = 1000, 15
CTL = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from jobqueued.ctl.main import main; main()"
AT = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from jobqueued.ctl.act.at import main; main(program={{!r}})"
"""The programs as they are installed, which look into no directory of their user's; {!r}: the name of the second."""
_COMMANDS = {
    "submit": "submit -- true", "submit_later": "submit --at 23:59 -- true", "run": "run job-0001", "list": "list",
    "status": "status", "why": "why job-0001", "show": "show job-0001", "history": "history", "logs": "logs job-0001",
    "hold": "hold", "release": "release", "help": "--help",
}  # fmt: skip


def starts() -> dict[str, Any]:
    """For each command with 1,000 jobs, the least of its CPU and elapsed milliseconds, and the ratio of the CPU time to
    the bare interpreter's.
    """
    body = "".join(f"  job-{number:04}: {{command: 'true', schedule: '0 3 1 1 *'}}\n" for number in range(JOBS))
    with daemon({"jobs.yaml": f"jobs:\n{body}"}) as rig:
        programs = {"bare": ["-c", "import json, socket"]}
        programs |= {name: ["-c", CTL, "--run", str(rig.run), *words.split()] for name, words in _COMMANDS.items()}
        programs |= {name: ["-c", AT.format(name)] for name in ("atq",)}
        if not (rig.directory / "run").exists():
            (rig.directory / "run").symlink_to(rig.run)
        environment = {**os.environ, "JOBQUEUE_ROOT": str(rig.directory)}
        _cost(programs["run"], environment)  # there is something for show, history and logs
        cpu: dict[str, float] = {}
        elapsed: dict[str, float] = {}
        for _ in range(ROUNDS):
            for name, words in programs.items():
                used, took = _cost(words, environment)
                cpu[name] = min(used, cpu.get(name, used))
                elapsed[name] = min(took, elapsed.get(name, took))
    return {
        name: {"cpu_ms": cpu[name] * 1000, "elapsed_ms": elapsed[name] * 1000, "to_bare": cpu[name] / cpu["bare"]}
        for name in programs
    }


def _cost(words: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds of CPU time, and from start to end."""
    begin = time.monotonic()
    quiet = [(os.POSIX_SPAWN_OPEN, descriptor, os.devnull, os.O_RDWR, 0) for descriptor in (0, 1, 2)]
    pid = os.posix_spawn(sys.executable, [sys.executable, "-I", *words], environment, file_actions=quiet)
    _, _, used = os.wait4(pid, 0)
    return used.ru_utime + used.ru_stime, time.monotonic() - begin
