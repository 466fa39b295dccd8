"""The jobs of a life, as files and as the oracle knows them, from the seed and from nothing of the program."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

_LOCKS = ("alpha", "beta", "gamma")
_INTERVALS = (5, 10, 15, 20, 30)


@dataclass(frozen=True, slots=True)
class Work:
    """A job as the oracle knows it.  It is due each `every` minutes from `minute` on in each hour; 0: never."""

    id: str
    file: str
    every: int
    minute: int
    seconds: int
    fails: int = 0
    ignores: int = 0
    leaves: int = 0
    retries: int = 0
    timeout: int = 0
    concurrency: int = 1
    overlap: str = "queue"
    catch_up: str = "latest"
    locks: tuple[tuple[str, str], ...] = ()
    exclusive: bool = False
    after: str = ""
    needs: tuple[str, ...] = ()
    """The jobs that make it due once each of them has succeeded."""
    told: bool = False
    hour: int | None = None
    """The only hour in which it is due; None: each."""
    fixed: bool = False
    """Whether its times are fixed, which come once however the clock is set."""

    @property
    def text(self) -> str:
        """The job in its file."""
        keys = [f"command: work {self.seconds} {self.fails} {self.ignores} {self.leaves}"]
        each = "0-23" if self.fixed else "*"
        hour = each if self.hour is None else self.hour
        keys += [f"schedule: '{self.minute}-59/{self.every} {hour} * * *'"] if self.every else []
        keys += [f"on: {{job: {self.after}}}"] if self.after else []
        keys += [f"dependencies: [{', '.join(self.needs)}]"] if self.needs else []
        keys += [f"retries: {self.retries}", "retry_delay: 30s"] if self.retries else []
        keys += [f"timeout: {self.timeout}s"] if self.timeout else []
        keys += [f"concurrency: {self.concurrency}", f"overlap: {self.overlap}", f"catch_up: {self.catch_up}"]
        if self.locks:
            locks = ", ".join(f"{{name: {name}, mode: {mode}}}" for name, mode in self.locks)
            keys.append(f"locks: [{locks}]")
        keys += ["exclusive: true"] if self.exclusive else []
        keys += ["notify: {webhook: 'https://receiver.example/hook', on: [failure]}"] if self.told else []
        return f"  {self.id}:\n" + "".join(f"    {key}\n" for key in keys)

    def is_due(self, minute: int) -> bool:
        """Tell whether it is due in a minute (since 1970)."""
        hour, minute = minute // 60 % 24, minute % 60
        return (
            self.every > 0 and self.hour in (None, hour) and minute >= self.minute
            and (minute - self.minute) % self.every == 0
        )  # fmt: skip


def drawn(seed: int, jobs: int) -> list[Work]:
    """The jobs of a life."""
    random, fixed = Random(f"work {seed}"), Random(f"fixed {seed}")
    found: list[Work] = []
    for number in range(jobs):
        every = random.choice(_INTERVALS)
        locks = tuple((name, random.choice(("exclusive", "shared"))) for name in _LOCKS if random.random() < 0.2)
        work = Work(
            f"j{number}", f"{'abc'[number % 3]}.yaml", every, random.randrange(every), random.choice((1, 20, 60, 120)),
            fails=random.choice((0, 0, 20)), ignores=random.choice((0, 0, 50)), leaves=random.choice((0, 0, 0, 20)),
            retries=random.choice((0, 0, 2)), timeout=random.choice((0, 0, 0, 30)),
            concurrency=random.choice((1, 1, 1, 2)), overlap=random.choice(("queue", "skip", "skip", "replace")),
            catch_up=random.choice(("latest", "none", "all")), locks=locks, exclusive=random.random() < 0.05,
            told=random.random() < 0.3, fixed=fixed.random() < 0.4,
        )  # fmt: skip
        if found and random.random() < 0.15:
            work = replace(work, every=0, after=random.choice(found).id)
        found.append(work)
    return _in_step(Random(f"needs {seed}"), found)


def _in_step(random: Random, found: list[Work]) -> list[Work]:
    """In half of all lives the last of the jobs is due once two others have succeeded, which are due together."""
    if len(found) < 3 or random.random() < 0.5:
        return found
    *others, first, second, last = found
    every, seconds = random.choice((5, 10)), random.sample((1, 20, 60), 2)
    plain = {
        "every": every, "minute": random.randrange(every), "fails": random.choice((0, 0, 20)), "ignores": 0,
        "leaves": 0, "retries": 0, "timeout": 0, "concurrency": 1, "overlap": "queue", "locks": (), "exclusive": False,
        "after": "",
    }  # fmt: skip
    first, second = (replace(work, **plain, seconds=took) for work, took in zip((first, second), seconds, strict=True))
    return [*others, first, second, replace(last, every=0, after="", needs=(first.id, second.id))]


def files(works: list[Work]) -> dict[str, bytes]:
    """The files of jobs, by path."""
    texts: dict[str, str] = {}
    for work in works:
        texts[work.file] = texts.get(work.file, "defaults: {output: file, kill_grace: 5s}\njobs:\n") + work.text
    return {f"/etc/jobqueue.d/{name}": text.encode() for name, text in texts.items()}


def edited(works: list[Work], random: Random) -> tuple[list[Work], str]:
    """The jobs after somebody has changed one, which is named, taken it out, or put one back."""
    index = random.randrange(len(works))
    work = works[index]
    case = random.randrange(3)
    if case == 0 and len(works) > 2:
        return works[:index] + works[index + 1 :], work.id
    if case == 1 and work.every:
        every = random.choice(_INTERVALS)
        changed = replace(work, every=every, minute=random.randrange(every))
    else:
        changed = replace(work, seconds=random.choice((1, 20, 60)), fails=random.choice((0, 30)))
    return [*works[:index], changed, *works[index + 1 :]], work.id
