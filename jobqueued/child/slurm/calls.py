"""Calls Slurm's commands with a timeout, and interprets their answers."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence

from jobqueued.child.contract.documents import SLURM_PATH
from jobqueued.child.contract.text import last_line, printable
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.slurm.ends import SqueueJob

_SECONDS = 20.0
"""Timeout (s) for a command, in case no controller answers. Slurm's own `MessageTimeout` is 10 s."""
_FIELDS = "%A|%T|%B|%k|%r"
_ID = re.compile(r"(\d{1,10})(;.*)?", re.ASCII)
_AWAY = (
    "unable to contact",
    "timed out",
    "connection",
    "communication",
    "zero bytes",
    "unable to establish",
    "temporarily unable",
    "configuration source",
    "in standby mode",
    "message receive",
    "insane message",
)
"""Parts of error messages which mean that no valid answer arrived, so the request may have been carried out."""
_SHOWN = 300


class Away(Exception):
    """No controller answered, so the request may have been carried out."""


class SlurmRefused(Exception):
    """The controller refused the request."""


class FoundJob(NamedTuple):
    """A job found by name, with its comment."""

    seen: SqueueJob
    comment: str


def submitted(options: Sequence[str], script: str, argument: str) -> int:
    """Submit a batch script with an argument, and return the job's ID. Raises Away and SlurmRefused."""
    said = _called(["sbatch", "--parsable", *options, script, argument])
    found = _ID.fullmatch(said.strip())
    if found is None:
        raise Away(f"sbatch: {printable(said.strip())[:_SHOWN]}")
    return int(found[1])


def jobs_named(names: Sequence[str]) -> list[FoundJob]:
    """Return our user's jobs with these names, including ended jobs. Raises Away and SlurmRefused."""
    said = _called(
        [
            "squeue",
            "--noheader",
            "--states=all",
            f"--user={os.geteuid()}",
            f"--name={','.join(names)}",
            f"--format={_FIELDS}",
        ]
    )
    found = []
    for line in said.splitlines():
        number, state, node, comment, reason = line.split("|", 4)
        seen = SqueueJob(int(number), state, "" if node in ("n/a", "(null)") else node, reason)
        found.append(FoundJob(seen, comment))
    return sorted(found)


def cancel(job: int, *options: str) -> None:
    """Signal or cancel a job. Raises Away and SlurmRefused."""
    _called(["scancel", *options, str(job)])


def _called(command: list[str]) -> str:
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:{SLURM_PATH}"}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        raise Away(f"{command[0]}: no answer in {_SECONDS:g} s") from None
    except OSError as error:
        raise Away(f"{command[0]}: {error.strerror}") from None
    if not done.returncode:
        return done.stdout.decode(errors="replace")
    said = printable(last_line(done.stderr))[:_SHOWN] or f"{command[0]} ended with {done.returncode}"
    said = said.removeprefix(f"{command[0]}: error: ").removeprefix("Batch job submission failed: ")
    if done.returncode < 0 or any(words in said.lower() for words in _AWAY):
        raise Away(f"{command[0]}: {said}")
    raise SlurmRefused(f"{command[0]}: {said}")
