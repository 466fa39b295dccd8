"""The jobs of a long run: some of each kind, as many as make so many starts a second.

Each writes one line to the ledger as it starts: RUN ATTEMPT DUE TRIGGERING-RUN.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.longrun.verdict import MOST_LIVE

A_FILE = 20
RETENTION: dict[str, Any] = {"runs": 10, "age": "1d", "bytes": "1M"}
"""So little that housekeeping has to let go of something all the time."""
EVENT = "beat"


class Job(NamedTuple):
    """A job's id and its keys; `period`: the seconds between its due times, if the clock makes it due."""

    id: str
    keys: dict[str, Any]
    period: int | None = None

    @property
    def upstream(self) -> str | None:
        """The job each success of which makes this one due."""
        return self.keys["on"]["job"] if isinstance(self.keys.get("on"), dict) and "job" in self.keys["on"] else None


class Mix:
    """All jobs; `user` is another user, as whom some run, or None."""

    def __init__(self, rate: int, ledger: Path, user: str | None) -> None:
        self._note = (
            'echo "$JOBQUEUE_RUN $JOBQUEUE_ATTEMPT $JOBQUEUE_DUE ${JOBQUEUE_TRIGGER_RUN:--}" >>' + f"'{ledger}'"
        )
        self._user = user
        self.jobs = list(self._drawn(rate))

    def command(self, then: str = "") -> str:
        """A command that writes its line, and then does this."""
        return f"{self._note}{then and f'; {then}'}"

    def files(self) -> dict[str, str]:
        """The job files, name → text: JSON is YAML."""
        return {
            f"{number // A_FILE:03}.yaml": text_of(self.jobs[number : number + A_FILE])
            for number in range(0, len(self.jobs), A_FILE)
        }

    def last_files(self) -> dict[str, str]:
        """The same, but that no clock makes them due any more."""
        silent = [Job(job.id, {**job.keys, "enabled": job.period is None}) for job in self.jobs]
        return {
            f"{number // A_FILE:03}.yaml": text_of(silent[number : number + A_FILE])
            for number in range(0, len(silent), A_FILE)
        }

    def edited(self, turn: int) -> str:
        """A file that is edited again and again: other words, another rhythm, a job that comes and goes."""
        jobs = [Job("edited", {"every": "2s", "command": self.command(f": edit {turn % 7}")}, 2)]
        jobs += [Job("comes-and-goes", {"command": self.command()})] * (turn % 2)
        return text_of(jobs)

    def _drawn(self, rate: int) -> Iterator[Job]:
        """Half of all starts come by the clock alone, the rest by what they bring about, and by people."""
        waits, some = {"max_waiting": "none"}, {"max_waiting": 3}
        ticks = max(4, rate // 2)
        for number in range(ticks):
            keys = {"every": "1s", "command": self.command()} | (some if number % 2 else {})
            yield Job(f"tick-{number:03}", keys, 1)
        for number in range(max(1, rate * 15 // 100)):
            on = {"job": f"tick-{number:03}", "result": "success"}
            yield Job(f"chain-{number:03}", {"on": on, "command": self.command(), **waits})
        for number in range(max(1, rate // 20)):
            keys = {"dependencies": [f"tick-{ticks - 1 - number:03}"], "command": self.command(), **waits}
            yield Job(f"dependent-{number:03}", keys)
        for number in range(max(1, rate // 20)):
            fails = self.command('[ "$JOBQUEUE_ATTEMPT" -gt $((${JOBQUEUE_RUN##*@} % 3)) ]')
            keys = {"every": "2s", "retries": 1, "retry_delay": "0s", "command": fails}
            yield Job(f"fails-{number:03}", keys, 2)
        for number in range(max(2, rate // 10)):
            lock = {"name": f"lock-{number % 7}", "mode": "shared"} if number % 3 else f"lock-{number % 7}"
            yield Job(f"locked-{number:03}", {"every": "1s", "locks": [lock], "command": self.command()}, 1)
        for number in range(max(1, rate // 20)):
            speaks = self.command("head -c 4000 /dev/zero | tr '\\0' x")
            yield Job(f"speaks-{number:03}", {"every": "2s", "command": speaks}, 2)
        yield from self._few()

    def _few(self) -> Iterator[Job]:
        """Those of which some are enough."""
        for number in range(5):
            keys = {"every": "1s", "overlap": "skip", "command": self.command("sleep 1.7")}
            yield Job(f"overlaps-{number}", keys, 1)
            keys = {"schedule": "* * * * *", "seconds": f"*/{number + 1}", "command": self.command()}
            yield Job(f"cron-{number}", keys, number + 1)
            yield Job(f"on-event-{number}", {"on": {"event": EVENT}, "command": self.command(), "max_waiting": "none"})
        parity = self.command("exit $((${JOBQUEUE_RUN##*@} % 2))")
        loud = self.command("head -c 300000 /dev/zero")
        yield Job("loud", {"every": "3s", "output": "file", "command": loud}, 3)
        yield Job("told-of", {"every": "3s", "command": parity}, 3)
        if self._user is not None:
            for number in range(5):
                yield Job(f"other-user-{number}", {"every": "2s", "user": self._user, "command": self.command()}, 2)


def text_of(jobs: list[Job]) -> str:
    """A job file."""
    return json.dumps({"jobs": {job.id: job.keys for job in jobs}}, indent=1) + "\n"


def settings(user: str | None, receiver: str) -> str:
    """The settings of the daemon: all failures and recoveries of one job are told to a web server."""
    told = {"jobs": ["told-of"], "webhook": receiver, "on": ["failure", "recovery"], "rate": "1000/1m"}
    words: dict[str, Any] = {"timezone": "UTC", "retention": RETENTION, "max_running": MOST_LIVE, "notify": [told]}
    if user is not None:
        words |= {"notifier": "root", "users": {"calls": 1000, "interval": "1m"}}
    return json.dumps(words) + "\n"
