"""One life of a host, from its seed to the verdict."""

from __future__ import annotations

import gc
import signal
import sys
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.simulation import plan as plans
from tests.simulation import workload
from tests.simulation.host import Call, Host
from tests.simulation.kernel import SECOND, Kernel, Killed, Process
from tests.simulation.oracle import Batch
from tests.simulation.patches import installed
from tests.simulation.plan import HOUR, KINDS, MINUTE, ROLES, Happening
from tests.simulation.workload import Work

BEGIN = 1_772_409_600 * SECOND
"""A Monday, at midnight UTC."""
_ELIGIBLE = {
    23: ("pipe", "open", "memfd", "pidfd", "socket"), 24: ("open", "socket", "memfd", "pidfd", "fork"),
    28: ("write", "mkdir", "symlink", "bind", "begin", "commit"),
    5: ("write", "fsync", "fread", "begin", "commit", "rename"),
    12: ("open", "fork", "socket", "pipe", "memfd"),
}  # fmt: skip
"""By errno the calls that fail with it."""

_AGAIN = 10
"""Minutes of calm after which people let go once more what they hold."""
_START = 1000
"""Milliseconds in which a run that is starting has started."""


@dataclass(frozen=True)
class Terms:
    """What a life is like: hours, jobs, faults and acts of people in it; of what kinds."""

    hours: int = 3
    jobs: int = 7
    faults: int = 8
    people: int = 5
    calm: int = 100
    """Minutes without faults, at the end."""
    kinds: frozenset[str] = frozenset(KINDS)


class Armed:
    """A fault that waits for a system call."""

    def __init__(self, life: Life, it: Happening) -> None:
        self._life, self._it, self._left = life, it, it.first

    def look(self, kernel: Kernel, process: Process, call: str) -> None:
        """Come true if this is the call."""
        it = self._it
        if self not in kernel.armed or (it.on and process.role != it.on):
            return
        if it.kind == "error" and call not in _ELIGIBLE[it.second]:
            return
        self._left -= 1
        if self._left >= 0:
            return
        kernel.armed.remove(self)
        self._life.host.note(f"fault {it} at {call} of {process.role} {process.pid}")
        self._strike(kernel, process)

    def _strike(self, kernel: Kernel, process: Process) -> None:
        it, host = self._it, self._life.host
        if it.kind == "kill":
            kernel.die(process, int(signal.SIGKILL))
            raise Killed
        if it.kind == "emptied":
            host.empty_runs()
        if it.kind == "kill-all" or (it.kind == "emptied" and it.second):
            share = 0.5 if it.kind == "kill-all" else 0.9
            for each in list(kernel.processes.values()):
                if each.role in ROLES and (each.role != "supervisor" or self._life.random.random() < share):
                    kernel.die(each, int(signal.SIGKILL))
        elif it.kind == "power":
            process.stopped = True
            kernel.interrupt = lambda: self._life.lose_power(it.second)
        elif it.kind == "stop":
            process.stopped = True
            host.oracle.heard_late.add(process.attempt.partition("@")[0])
            kernel.at(kernel.mono + it.second, lambda: kernel.kill(process, signal.SIGCONT))
        elif it.kind == "give-way":
            kernel.give_way()
        elif it.kind == "error":
            host.oracle.excuses.add("error")
            raise OSError(it.second, "simulated")


class Life:
    """One life; `plan` None: the one that its seed draws."""

    def __init__(
        self,
        seed: int,
        terms: Terms,
        plan: list[Happening] | None = None,
        works: list[Work] | None = None,
        begin: int = BEGIN,
    ) -> None:
        self.seed, self.terms = seed, terms
        self.random = Random(f"life {seed}")
        length = terms.hours * HOUR
        self.plan = plans.drawn(seed, length, terms.faults, terms.people, terms.kinds) if plan is None else plan
        self.works = workload.drawn(seed, terms.jobs) if works is None else works
        self.all_works = list(self.works)
        self.host = Host(seed, begin, systemd=self.random.random() < 0.5, journals=self.random.random() < 0.5)
        self.host.oracle.know(self.works)
        self._down = False

    def live(self) -> list[str]:
        """Live it: the violations."""
        threshold = sys.getrecursionlimit()
        gc.disable()
        hook, sys.unraisablehook = sys.unraisablehook, _unraisable
        try:
            with installed(self.host):
                self._live()
                self.host.kernel.end_all()
                gc.collect()
        finally:
            sys.unraisablehook = hook
            gc.enable()
            sys.setrecursionlimit(threshold)
        return self.host.violations

    def _live(self) -> None:
        host, kernel = self.host, self.host.kernel
        begin = kernel.mono
        for path, text in workload.files(self.works).items():
            host.edit(path, text)
        host.start()
        for it in self.plan:
            self._go_on(begin + it.at)
            if host.violations:
                return
            self._happen(it)
        self._go_on(begin + self.terms.hours * HOUR)
        self._calm_down()
        self._let_go()
        self._go_on(kernel.mono + _AGAIN * MINUTE)
        self._let_go()  # a scheduler that has died with the last fault did not hear it
        self._go_on(kernel.mono + (self.terms.calm - _AGAIN) * MINUTE)
        for _ in range(_START):  # a run that is due at this very instant is not starting for ever
            if not host.oracle.starting:
                break
            self._go_on(kernel.mono + SECOND // 1000)
        host.oracle.judge(self.terms.calm * MINUTE)
        if host.daemon is not None:
            try:
                host.daemon._scheduler.validate()
            except AssertionError as error:
                host.violation(f"the scheduler's state: {error}")

    def _go_on(self, until: int) -> None:
        """Live to an instant; garbage is collected while nobody runs, as what is closed by that calls the system."""
        kernel = self.host.kernel
        while kernel.mono < until:
            kernel.run(min(until, kernel.mono + 24 * HOUR))
            if kernel.mono < until:
                gc.collect()

    def _calm_down(self) -> None:
        """No more faults: what is broken is mended, and what is stopped goes on."""
        host, kernel = self.host, self.host.kernel
        kernel.armed.clear()
        host.disk.trouble = host.memory.trouble = 0
        host.deaf_until = 0
        for process in list(kernel.processes.values()):
            kernel.kill(process, signal.SIGCONT)
        host.note("calm")
        host.oracle.calmed()

    def _let_go(self) -> None:
        """Let start what people hold."""
        host = self.host
        host.ask(Call("Release", {}, lambda *_: None))
        for work in self.all_works:
            host.ask(Call("Resume", {"job": work.id}, lambda *_: None))

    def _happen(self, it: Happening) -> None:
        host, kernel = self.host, self.host.kernel
        if it.kind in ("kill", "kill-all", "emptied", "power", "give-way", "stop", "error"):
            kernel.armed.append(Armed(self, it))
            return
        host.note(f"happens {it}")
        match it.kind:
            case "set-back" if it.second:
                self.lose_power(30 * SECOND, it.first)
            case "clock" | "set-back":
                self._set_clock(it.first)
            case "suspend":
                kernel.suspend(it.first)
            case "disk":
                disk = host.disk if it.on == "var" else host.memory
                disk.trouble = it.first
                host.oracle.excuses.add("disk")
                kernel.at(kernel.mono + it.second, lambda: setattr(disk, "trouble", 0))
            case "deaf":
                host.deaf_until = kernel.mono + it.first
            case "shutdown":
                self._shut_down(it.second)
            case _:
                self._act(it)

    # power

    def lose_power(self, away: int, step: int = 0) -> None:
        """Power goes, and comes back, with a clock that is set by `step`; what was armed waits for the next boot."""
        if not self._down:
            self._down = True
            self.host.power_off()
            if step:
                self._set_clock(step)
            self.host.power_on(away)
            self._down = False

    def _set_clock(self, step: int) -> None:
        self.host.oracle.clock_set(step)
        self.host.kernel.set_clock(step)

    def _shut_down(self, away: int) -> None:
        """SIGTERM to all, and power goes a while later."""
        host, kernel = self.host, self.host.kernel
        host.going_down = True
        host.oracle.excuses.add("shutdown")
        host.ring()
        for process in list(kernel.processes.values()):
            if process.role == "job":
                kernel.kill(process, signal.SIGTERM)
        kernel.at(kernel.mono + 30 * SECOND, lambda: self.lose_power(away))

    # people

    def _act(self, it: Happening) -> None:
        host, oracle = self.host, self.host.oracle
        work = self.all_works[it.first % len(self.all_works)]
        if it.kind == "edit":
            self._edit(Random(it.first))
        elif it.kind == "run":
            oracle.excuses |= {"by hand"} if work.needs else set()
            host.ask(Call("Run", {"job": work.id}, oracle.asked_run))
        elif it.kind == "stop-run":
            if live := [each for each in oracle.executions.values() if each.ended is None]:
                each = live[it.second % len(live)]
                oracle.stopped.add((each.job, each.number))
                host.ask(Call("Stop", {"run": f"{each.job}@{each.number}"}, lambda *_: None))
        elif it.kind in ("pause", "resume"):
            host.ask(Call(it.kind.capitalize(), {"job": work.id}, lambda *_: None))
        elif it.kind in ("hold", "release"):
            host.ask(Call(it.kind.capitalize(), {}, lambda *_: None))
        elif it.kind == "skip":
            host.ask(Call("SkipNext", {"job": work.id}, lambda *_: None))
        elif it.kind == "submit":
            self._submit(f"key{it.first % 4}", {"command": "work 5 0 0 0"})
        elif it.kind == "batch":
            keys = {"command": "work 60 30 0 0", "retries": 2, "retry_delay": "60s"}
            self._submit("batch", keys, Batch(it.first, it.second))
        elif it.kind == "resize":
            self._resize(it.first)
        elif it.kind == "retry":
            self._retry(it.first)

    def _submit(self, key: str, keys: dict[str, Any], batch: Batch | None = None) -> None:
        """Submit a job, with one of few keys: the daemon may have it already, and the answer may never come."""
        document = {"keys": {**keys, "output": "file"}, "key": key}
        if batch is not None:
            document["array"] = f"1-{batch.runs}%{batch.most}"
        oracle = self.host.oracle

        def answered(value: dict[str, Any], error: str | None) -> None:
            oracle.submitted(key, value, error, batch)

        self.host.ask(Call("Submit", {"submission": document}, answered))

    def _resize(self, most: int) -> None:
        """Change how many runs of the batch may be live, if its submission was confirmed."""
        for job, batch in self.host.oracle.batches.items():
            batch.most = max(batch.most, most)  # before the answer either may be in force

            def answered(value: dict[str, Any], error: str | None, batch: Batch = batch) -> None:
                if error is None and value.get("unsaved") is None:
                    batch.lower(most, self.host.kernel.mono)

            self.host.ask(Call("Resize", {"job": job, "runs": most}, answered))

    def _retry(self, seconds: int, looks: int = 90) -> None:
        """Start the next attempt of the first run that waits for one in 15 minutes, some seconds after it was seen."""
        host, kernel = self.host, self.host.kernel
        waits = [name for name, row in host.oracle.rows.items() if row.state == "retrying"]
        if waits:
            job, number = waits[0]
            call = Call("Retry", {"run": f"{job}@{number}"}, lambda *_: None)
            kernel.at(kernel.mono + seconds * SECOND, lambda: host.ask(call))
        elif looks:
            kernel.at(kernel.mono + 10 * SECOND, lambda: self._retry(seconds, looks - 1))

    def _edit(self, random: Random) -> None:
        host = self.host
        if random.random() < 0.25 and host.etc:
            path = random.choice(sorted(host.etc))
            host.edit(path, b"jobs:\n  broken: {schedule: '99 99'}\n")
            return
        if random.random() < 0.3:
            missing = [work for work in self.all_works if work.id not in {each.id for each in self.works}]
            self.works = [*self.works, *missing]
        else:
            self.works, name = workload.edited(self.works, random)
            host.oracle.edited.add(name)
        texts = workload.files(self.works)
        for path in sorted(host.etc.keys() | texts.keys()):
            if host.etc.get(path) != texts.get(path):
                host.edit(path, texts.get(path))


def _unraisable(unraisable: Any) -> None:
    if not isinstance(unraisable.exc_value, Killed):
        sys.__unraisablehook__(unraisable)
