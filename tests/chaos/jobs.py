"""The jobs of a bad day, drawn from the seed: hundreds, in job files as an administrator writes them."""

from __future__ import annotations

import json
import pwd
import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FEW = 40
"""Of fewer jobs none takes long, so that the day is soon over."""
A_FILE = 8
"""The jobs in one file."""
SETTINGS = """\
resources: {gpu: 2, license: 3}
retention: {runs: 1000000, age: 30d, bytes: 10G}
cron: {live: true}
users: {interval: 1s, logs: 100G}
"""
USER = pwd.getpwnam("games")
"""A user of each Debian, who has jobs as well."""
SCRIPT = Path(__file__).with_name("tick.sh")
UNITS = {"gpu": 2, "license": 3}
CHANNELS = ("command", "webhook", "email")
RESULTS = {"success": ("succeeded",), "failure": ("failed", "timed_out", "oom_killed", "lost")}
"""The words of `on: {job: …, result: …}`, and the states of runs that they mean."""


@dataclass(frozen=True)
class Job:
    """A job: the keys of its definition, and the words that its command is given (job.py)."""

    id: str
    keys: dict[str, Any] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    tick: str = ""
    """The arguments of tick.sh, whose command it is instead, but for the first."""

    @property
    def period(self) -> int | None:
        """The seconds between its due times by the clock, which are multiples of it; None: no rhythm."""
        if "every" in self.keys:
            return int(self.keys["every"].removesuffix("s"))
        if "seconds" in self.keys:
            return int(self.keys["seconds"].removeprefix("*/"))
        return 60 if "schedule" in self.keys else None

    @property
    def is_clocked(self) -> bool:
        """Whether the clock makes it due, so that a due time is an occurrence."""
        return self.period is not None or "at" in self.keys

    def definition(self, python: str, ledger: Path, *, enabled: bool) -> dict[str, Any]:
        """The job as its file has it."""
        words = [f"{name}={value}" for name, value in self.words.items()]
        command = [python, "-I", "-S", str(Path(__file__).with_name("job.py")), str(ledger), *words]
        if self.tick:
            command = ["/bin/sh", str(ledger / SCRIPT.name), str(ledger), *self.tick.split()]
        failover = {"failover": command} if self.id.startswith("failing-over") else {}
        return {"command": command, **self.keys, **failover, **({} if enabled else {"enabled": False})}


def jobs(rng: random.Random, count: int, rate: int, begin: int, seconds: int) -> list[Job]:
    """Draw `count` jobs, and `rate` that tick, for a day that begins at `begin` (UTC second), of so many seconds."""
    kinds = [
        (plain, 30), (by_seconds, 12), (crowded, 4), (exclusive, 1), (locked, 12), (sharing, 6), (counted, 8),
        (retried, 8), (slow, 5), (leaving, 6), (hoarding, 1), (talking, 5), (limited, 8), (by_hand, 6),
        (failing_over, 5), (file_locked, 5),
    ]  # fmt: skip
    lasting = (crowded, slow, leaving, hoarding)
    kinds = [(kind, weight) for kind, weight in kinds if count >= FEW or kind not in lasting]
    drawn = rng.choices([kind for kind, _weight in kinds], [weight for _kind, weight in kinds], k=count * 17 // 20)
    needed = (by_hand, plain) if count < FEW else (exclusive, hoarding, by_hand, plain)
    drawn += [kind for kind in needed if kind not in drawn]
    found = [kind(rng, f"{kind.__name__.replace('_', '-')}-{number}") for number, kind in enumerate(drawn)]
    clocked = [job for job in found if job.period and "max_runs" not in job.keys]
    while len(found) < count:
        number = len(found)
        if number % 3:
            found.append(once(rng, f"once-{number}", begin + rng.randrange(5, max(6, seconds - 10))))
        else:
            found.append(dependent(rng, f"dependent-{number}", rng.choice(clocked).id))
    found += [chained(rng, f"chained-{number}", rng.choice(clocked).id) for number in range(max(2, count // 25))]
    found += [told(rng, channel, number) for channel in CHANNELS for number in range(max(2, count // 40))]
    found += [job for number in range(max(1, count // 50)) for job in a_round(f"round-{number}", 2 + number % 3)]
    found += [Job(f"tick-{number}", {"every": "1s"}, tick="0") for number in range(rate)]
    return [_claiming(job) for job in found]


def jobs_of_user(count: int) -> list[Job]:
    """The jobs in the own file of a user."""
    keys = [{"every": "2s"}, {"every": "3s", "locks": ["own"]}, {"every": "5s", "locks": ["own"], "retries": 1}]
    return [Job(f"{USER.pw_name}/own-{n}", keys[n % 3], tick="1" if n % 3 == 2 else "0") for n in range(count)]


def files(jobs: list[Job], python: str, ledger: Path, *, enabled: bool = True) -> dict[str, str]:
    """The job files: name → text.  JSON is YAML."""
    texts = {}
    for number in range(0, len(jobs), A_FILE):
        defined = {
            job.id.rpartition("/")[2]: job.definition(python, ledger, enabled=enabled)
            for job in jobs[number : number + A_FILE]
        }
        texts[f"{number // A_FILE:03}.yaml"] = json.dumps({"jobs": defined}, indent=1) + "\n"
    return texts


def _claiming(job: Job) -> Job:
    """The same job, told to take by flock what jobqueued should have given to it alone."""
    limit = job.keys.get("concurrency", 1)
    claims = [f"n:job-{job.id}:1/{limit}", f"{'x' if job.keys.get('exclusive') else 's'}:host:1"]
    for lock in job.keys.get("locks", ()):
        name = lock if isinstance(lock, str) else lock.get("name", "file")
        claims.append(f"{'s' if isinstance(lock, dict) and 'mode' in lock else 'x'}:lock-{name}:1")
    for name, units in job.keys.get("resources", {}).items():
        claims.append(f"n:unit-{name}:{units}/{UNITS[name]}")
    return replace(job, words={"claims": ",".join(claims), **job.words})


def _every(rng: random.Random) -> dict[str, Any]:
    return {"every": f"{rng.choice([1, 2, 3, 5, 7, *[10] * 12])}s"}


def _brief(rng: random.Random, **words: str) -> dict[str, str]:
    return {"codes": str(rng.choice([0, 0, 0, 1, 7])), "sleep": f"{rng.choice([0, 0.05, 0.3, 1]):g}", **words}


def plain(rng: random.Random, name: str) -> Job:
    """A job in a rhythm."""
    return Job(name, _every(rng), _brief(rng))


def by_seconds(rng: random.Random, name: str) -> Job:
    """A job by a cron expression with a field of seconds."""
    return Job(name, {"schedule": "* * * * *", "seconds": f"*/{rng.choice([2, 5, 10, 10, 15])}"}, _brief(rng))


def crowded(rng: random.Random, name: str) -> Job:
    """A job that may run two or three times at once, and would like to more often."""
    keys = {"every": f"{rng.choice([2, 3])}s", "concurrency": rng.choice([2, 3]), "max_waiting": 3}
    return Job(name, keys, _brief(rng, sleep="7"))


def exclusive(rng: random.Random, name: str) -> Job:
    """A job that wants the host for itself."""
    return Job(name, {"every": f"{rng.choice([30, 40])}s", "exclusive": True, "drain": "5s"}, _brief(rng, sleep="0.2"))


def locked(rng: random.Random, name: str) -> Job:
    """A job that holds a named lock."""
    return Job(name, {**_every(rng), "locks": [f"db-{rng.randrange(5)}"]}, _brief(rng))


def sharing(rng: random.Random, name: str) -> Job:
    """A job that shares a lock, which others want alone."""
    return Job(name, {**_every(rng), "locks": [{"name": f"db-{rng.randrange(5)}", "mode": "shared"}]}, _brief(rng))


def counted(rng: random.Random, name: str) -> Job:
    """A job that holds units of a resource."""
    return Job(name, {**_every(rng), "resources": {rng.choice(["gpu", "license"]): rng.choice([1, 1, 2])}}, _brief(rng))


def retried(rng: random.Random, name: str) -> Job:
    """A job that fails at first."""
    keys = {"every": "10s", "retries": 2, "retry_delay": f"{rng.randrange(3)}s", "max_waiting": 5}
    return Job(name, keys, _brief(rng, codes=rng.choice(["1,7,0", "3,0", "1,1,1"])))


def slow(rng: random.Random, name: str) -> Job:
    """A job that is over its timeout, or just not."""
    return Job(name, {"every": "10s", "timeout": "2s", "kill_grace": "1s"}, _brief(rng, sleep=rng.choice(["1", "6"])))


def leaving(rng: random.Random, name: str) -> Job:
    """A job whose children live on in other sessions."""
    how = rng.choice(["session", "daemon"])
    return Job(name, {"every": "3s", "kill_grace": "1s"}, _brief(rng, child="20", **{"as": how}))


def hoarding(rng: random.Random, name: str) -> Job:
    """A job that uses more memory than it may."""
    keys = {"every": "30s", "resource_limits": {"memory": "64M"}, "kill_grace": "1s"}
    return Job(name, keys, _brief(rng, memory="150", sleep="6"))


def talking(rng: random.Random, name: str) -> Job:
    """A job that writes much."""
    return Job(name, _every(rng), _brief(rng, out=str(rng.choice([100, 5000, 100_000, 300_000]))))


def limited(rng: random.Random, name: str) -> Job:
    """A job that runs so many times, and then never again."""
    return Job(name, {"every": f"{rng.choice([3, 5, 10])}s", "max_runs": rng.randrange(1, 9)}, _brief(rng))


def by_hand(rng: random.Random, name: str) -> Job:
    """A job that only people start."""
    return Job(name, {"concurrency": rng.choice([1, 2])}, _brief(rng))


def once(rng: random.Random, name: str, due: int) -> Job:
    """A job with one due time."""
    return Job(name, {"at": datetime.fromtimestamp(due, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}, _brief(rng))


def dependent(rng: random.Random, name: str, upstream: str) -> Job:
    """A job that is due whenever another has succeeded."""
    return Job(name, {"dependencies": [upstream]}, _brief(rng))


def failing_over(rng: random.Random, name: str) -> Job:
    """A job that fails until its failover is tried."""
    keys = {"every": "10s", "retries": 1, "retry_delay": f"{rng.randrange(2)}s", "max_waiting": 5}
    return Job(name, keys, _brief(rng, codes=rng.choice(["1,1,0", "7,3,1"])))


def file_locked(rng: random.Random, name: str) -> Job:
    """A job that locks a file."""
    return Job(name, {**_every(rng), "locks": [{"path": "/run/lock/chaos"}]}, _brief(rng, sleep="0.05"))


def chained(rng: random.Random, name: str, upstream: str) -> Job:
    """A job that is due at each end of another of one kind, or of any."""
    return Job(name, {"on": {"job": upstream, "result": rng.choice([*RESULTS])}, "concurrency": 5}, tick="0")


def a_round(name: str, period: int) -> list[Job]:
    """Two jobs that are due at once, of which the first by name ends last, and one that waits for both."""
    slow = Job(f"{name}-a", {"every": f"{period}s"}, {"codes": "0", "sleep": "0.3"})
    both = Job(f"{name}-both", {"dependencies": [f"{name}-a", f"{name}-z"]}, tick="0")
    return [slow, Job(f"{name}-z", {"every": f"{period}s"}, tick="0"), both]


def told(rng: random.Random, channel: str, number: int) -> Job:
    """A job each of whose ends somebody is told of by a channel."""
    return Job(f"told-{channel}-{number}", {"every": f"{rng.choice([5, 10, 15])}s"}, tick=rng.choice(["0", "1", "7"]))
