"""The batch script of a run on Slurm. The wrapper runs on a node: it starts the command, measures it, and reports how
it ended.

    wrapper DIRECTORY

The script is submitted unchanged, so the node needs only Python 3.8. The node and the submitting host share DIRECTORY:

    order   what to start, in JSON, and stdin what it reads                           helper
    claim   made with O_EXCL: its maker decides alone whether the command starts      this program; the helper: never
    output  the command's                                                             the command
    slurm   Slurm's own messages                                                      Slurm
    end     how the command ended, in JSON, complete because it is renamed            this program

So the command starts at most once, even if the job is submitted or requeued several times.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import time
from typing import Any, NoReturn

KILL = signal.SIGTTOU
"""The signal that makes the wrapper kill the command's process group. It can't be a `stop_signal`."""
OWN = {
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGCHLD,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
}
"""Signals that are not forwarded to the command."""
COUNTS = ("ru_maxrss", "ru_minflt", "ru_majflt", "ru_inblock", "ru_oublock", "ru_nvcsw", "ru_nivcsw")
_NOT_STARTED = 127


def main(directory: str) -> int:
    """Start the command unless another wrapper did, and wait for it. Return its wait status."""
    with open(f"{directory}/order") as file:
        order = json.load(file)
    try:
        claim = os.open(f"{directory}/claim", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return 0
    os.write(claim, json.dumps({"job": os.environ.get("SLURM_JOB_ID"), "node": _node()}).encode() + b"\n")
    os.close(claim)
    trouble, report = os.pipe()
    os.set_inheritable(report, False)
    pid = os.fork()
    if not pid:
        _become(directory, order, report)
    os.close(report)
    for signum in signal.valid_signals() - OWN:
        signal.signal(signum, lambda number, _frame: _pass_on(pid, number))
    failed = b""
    while more := os.read(trouble, 4096):
        failed += more
    _, status, used = os.wait4(pid, 0)
    all_used = resource.getrusage(resource.RUSAGE_CHILDREN)
    end: dict[str, Any] = {
        "status": status,
        "node": _node(),
        "ended": time.time(),
        "cpu_user": round(all_used.ru_utime, 6),
        "cpu_system": round(all_used.ru_stime, 6),
        "rusage": {name[3:]: getattr(used, name) for name in COUNTS},
        **_memory(all_used.ru_maxrss, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss),
        "io_read": all_used.ru_inblock * 512,
        "io_write": all_used.ru_oublock * 512,
    }
    if failed:
        end["failed"] = json.loads(failed)
    _write(directory, end)
    return status


def _memory(peak: int, ours: int) -> dict[str, int | None]:
    """Return the largest process's peak (bytes), or None if it does not exceed our peak, which processes inherit."""
    return {"memory_peak": peak * 1024 if peak > ours else None, "memory_peak_below": ours * 1024}


def _node() -> str:
    return os.environ.get("SLURMD_NODENAME") or os.uname().nodename


def _pass_on(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL if number == KILL else number)


def _write(directory: str, end: dict[str, Any]) -> None:
    with open(f"{directory}/end.tmp", "w") as file:
        json.dump(end, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{directory}/end.tmp", f"{directory}/end")


def _become(directory: str, order: dict[str, Any], report: int) -> NoReturn:
    step, detail = "setsid", ""
    try:
        os.setsid()
        step = "stdio"
        output = os.open(f"{directory}/output", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for target, source in enumerate((os.open(f"{directory}/stdin", os.O_RDONLY), output, output)):
            os.dup2(source, target)
        os.umask(order["umask"])
        for name, (key, soft, hard) in order["limits"].items():
            step, detail = "resource_limits", f"{key}: "
            resource.setrlimit(getattr(resource, name), (soft, hard))
        step, detail = "nice", f"{order['nice']}: "
        os.nice(order["nice"])
        step, detail = "chdir", f"{order['working_directory']}: "
        os.chdir(order["working_directory"])
        os.environ.pop("SLURM_EXPORT_ENV", None)  # otherwise the command's srun would export no variables
        command, environment = order["command"], {**os.environ, **order["environment"]}
        step, detail = "exec", f"{command[0]}: "
        os.execvpe(command[0], command, environment)
    except OSError as error:
        os.write(report, json.dumps([step, error.errno, f"{detail}{error.strerror}"]).encode())
    except ValueError as error:
        os.write(report, json.dumps([step, 0, f"{detail}{error}"]).encode())
    os._exit(_NOT_STARTED)


if __name__ == "__main__":
    ended = main(sys.argv[1])
    if os.WIFSIGNALED(ended):  # so that Slurm also records the signal
        number = os.WTERMSIG(ended)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(ended))
