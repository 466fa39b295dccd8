"""People, who have the daemon do things meanwhile: runs by hand, submissions, holds, pauses, a file of a user."""

from __future__ import annotations

import base64
import json
import random
import threading
import time
import traceback
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.chaos.daemon import Host
from tests.chaos.jobs import USER, Job, files
from tests.chaos.timeline import Span

PAUSE = 0.3
"""Seconds at most between two things that they do."""
_HELD = 1.5
_MOST_RUNS = 9
_UNTIL_LET = 60.0


class Submitted(NamedTuple):
    """A submission that was answered: its id, its runs, what it is after, when it was asked for and answered."""

    job: str
    runs: int
    after: tuple[str, ...]
    asked: int
    at: int


class Held(NamedTuple):
    """What was held back: the host (""), or a job; surely all the time between two instants (ns)."""

    job: str
    span: Span


class Said(NamedTuple):
    """What they did, and were told."""

    submitted: dict[str, Submitted]
    answers: dict[str, list[tuple[int, str]]]
    """By key: when it was answered, and with which job."""
    held: list[Held]


@dataclass
class People:
    """What they do, drawn from a seed, and what they were told."""

    host: Host
    rng: random.Random
    by_hand: list[str]
    pausable: list[str]
    own: list[Job]
    """The jobs in the file of a user."""
    submitted: dict[str, Submitted] = field(default_factory=dict)
    answers: dict[str, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))
    held: list[Held] = field(default_factory=list)
    _asked: dict[str, tuple[dict[str, Any], int | None]] = field(default_factory=dict)
    _words: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @property
    def said(self) -> Said:
        """All of it."""
        return Said(self.submitted, dict(self.answers), self.held)

    def begin(self) -> None:
        """Do things from now on."""
        self._thread = threading.Thread(target=self._watched)
        self._thread.start()

    def end(self) -> None:
        """Do nothing any more; nothing is held or paused by then."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        self._let_go()

    def leave(self) -> None:
        """Let the user's file be gone."""
        self._insist("UserFileRemove", _UID, name="jobs", user=None, stamp=None)

    def _watched(self) -> None:
        try:
            self._live()
        except Exception:
            self.host.timeline.fail("chaos", f"the people are gone\n{traceback.format_exc()}")

    def _live(self) -> None:
        texts = files(self.own, "", self.host.ledger)
        text = base64.b64encode("".join(texts.values()).encode()).decode()
        self._insist("UserFileSet", _UID, name="jobs", text=text, user=None, stamp=None)
        ways = [
            (self._run, 4), (self._submit, 9), (self._ask_again, 6), (self._hold, 1), (self._pause, 1),
            (self._let_go, 1), (self._resize, 2), (self._retry, 2),
        ]  # fmt: skip
        while not self._over.wait(self.rng.uniform(0, PAUSE)):
            self.rng.choices([way for way, _ in ways], [weight for _, weight in ways])[0]()

    def _run(self) -> None:
        answer = self.host.ask("Run", job=self.rng.choice(self.by_hand))
        if "run" in answer and not answer.get("unsaved"):
            self.host.timeline.accepted[answer["run"]] = time.time_ns()

    def _submit(self) -> None:
        """Hand something in: one run or an array, now or after another, maybe by a key, as root or as a user."""
        self._words += 1
        word, rng, uid = f"w{self._words}", self.rng, self.rng.choice([None, None, _UID])
        tick = ["/bin/sh", str(self.host.ledger / "tick.sh"), str(self.host.ledger)]
        document: dict[str, Any] = {
            "keys": {"command": [*tick, rng.choice("0001"), rng.choice(["0", "0.3", "2"]), word]}
        }
        if rng.random() < 0.3:
            document["array"] = f"1-{rng.randint(2, _MOST_RUNS)}%{rng.randint(1, 4)}"
        mine = [job for job in self.submitted if job.startswith("host/") == (uid is None)]
        if mine and rng.random() < 0.4:
            document["after"] = [f"{rng.choice(['', 'any:'])}{rng.choice(mine[-6:])}"]
        if rng.random() < 0.5:
            document["key"] = word
            self._asked[word] = document, uid
        self._hand_in(document, uid)

    def _ask_again(self) -> None:
        """Ask for something by a key that was asked for before, answered or not."""
        if self._asked:
            self._hand_in(*self._asked[self.rng.choice([*self._asked][-12:])])

    def _hand_in(self, document: dict[str, Any], uid: int | None) -> None:
        asked = time.time_ns()
        answer = self.host.ask("Submit", uid, submission=document)
        if "job" not in answer or answer.get("unsaved"):  # which a restart may forget, as it says
            return
        at, runs = time.time_ns(), int(document.get("array", "1-1").partition("%")[0].partition("-")[2])
        if "key" in document:
            self.answers[document["key"]].append((at, answer["job"]))
        if answer["is_new"] or answer["job"] not in self.submitted:
            after = tuple(document.get("after", ()))
            self.submitted[answer["job"]] = Submitted(answer["job"], runs, after, asked, at)

    def _resize(self) -> None:
        """Change how many runs of an array may be live."""
        if arrays := [job for job, submitted in self.submitted.items() if submitted.runs > 1][-6:]:
            self.host.ask("Resize", job=self.rng.choice(arrays), runs=self.rng.randint(1, _MOST_RUNS))

    def _retry(self) -> None:
        """End a run's wait for its next attempt."""
        if waits := self.host.ask("History", states=["retrying"], limit=9).get("runs"):
            self.host.ask("Retry", run=self.rng.choice(waits)["run"])

    def _hold(self) -> None:
        self._hold_back("", "Hold", "Release")

    def _pause(self) -> None:
        job = self.rng.choice(self.pausable)
        self._hold_back(job, "Pause", "Resume", job=job)

    def _hold_back(self, held: str, begin: str, end: str, **parameters: str) -> None:
        answer, at = self.host.ask(begin, **parameters), time.time_ns()
        self._over.wait(self.rng.uniform(0, _HELD))
        if answer and not answer.get("unsaved"):
            self.held.append(Held(held, Span(at, time.time_ns())))
        self._insist(end, **parameters)

    def _let_go(self) -> None:
        """Release what status tells to be held: an answer may say that a restart forgets it, and a disk may lose it."""
        status = self.host.status()
        if status.get("held_by"):
            self._insist("Release")
        for paused in status.get("attention", ()):
            if paused["kind"] == "paused":
                self._insist("Resume", job=paused["job"])

    def _insist(self, method: str, uid: int | None = None, **parameters: Any) -> None:
        """Ask until there is an answer, and what was done is saved."""
        until = time.monotonic() + _UNTIL_LET
        while not (answer := self.host.ask(method, uid, **parameters)) or answer.get("unsaved"):
            if time.monotonic() > until:
                self.host.timeline.fail("starts", f"{method} is not answered: {json.dumps(parameters)[:200]}")
                return
            time.sleep(0.2)


_UID = USER.pw_uid
