"""Limits that the kernel enforces through a run's cgroup, and substitutes for them."""

from __future__ import annotations

from collections.abc import Iterator

from jobqueued.child.contract.documents import LaunchSpec
from jobqueued.child.contract.reasons import Code, Reason
from jobqueued.child.contract.text import size
from jobqueued.child.processes.cgroup import Cgroup
from jobqueued.child.start.identity import StartFailed

_SETTINGS = "the limit of `users: {caps: …}` in jobqueued.yaml"
_LONG = 1_000_000
"""If the run waited for CPUs longer than this (µs), the record gets a warning."""


class Caps:
    """The limits of an attempt.

    Each entry in `order["caps"]` has a key, a cgroup file, and the value to write to the file. `enforced`: key →
    ``cgroup``, ``sampled`` (only memory), ``affinity`` (only cpus) or ``no``.
    """

    def __init__(self, order: LaunchSpec, cgroup: Cgroup) -> None:
        self._order, self._caps = order, order["caps"]
        self._required, self._cgroup = order["enforce"] == "required", cgroup
        cgroup.above = order.get("above")
        self.enforced: dict[str, str] = {}
        self.warnings: list[str] = []
        self.sampled: int | None = None
        """Memory limit (bytes) that is enforced by sampling, or None."""
        above = order.get("above")
        self._of_user = {} if above is None else {file: text for _, file, text in above["caps"]}
        self._before: dict[str, int] = {}
        """Key → refusals by the limits that the user's runs share, before this run started."""

    def apply(self) -> None:
        """Set the limits before the start. Raises StartFailed if a required limit can't be enforced here."""
        self._before = self._cgroup.refused_above()
        self.warnings += [f"a limit on all runs of its user was not enforced: {it}" for it in self._cgroup.troubles]
        if any(key == "cpu" for key, _, _ in self._caps):
            self._cgroup.share("cpu")
        self._place()
        for key, file, text in self._caps:
            trouble = self._cgroup.cap(file, text)
            if trouble and self._required:
                raise StartFailed("resource_limits", 0, f"{key}: can't be enforced on this host: {trouble}")
            if not trouble:
                self.enforced.setdefault(key, "cgroup")
            elif key not in self.enforced:
                self._do_without(key, file, text, trouble)

    def _place(self) -> None:
        """Confine the run to its CPUs, by its cgroup or else by affinity, which its processes can change."""
        cpus = self._order["cpus"]
        if cpus:
            self._cgroup.share("cpuset")
            confined = not self._cgroup.cap("cpuset.cpus", ",".join(map(str, cpus)))
            self.enforced["cpus"] = "cgroup" if confined else "affinity"
            if not confined:
                self._order["attributes"]["cpus"] = cpus

    def _do_without(self, key: str, file: str, text: str, trouble: str) -> None:
        if file == "memory.max":
            self.sampled, self.enforced[key] = int(text), "sampled"
        else:
            self.enforced[key] = "no"
        how = "only sampled" if self.sampled is not None and key == "memory" else "not enforced"
        self.warnings.append(f"its resource_limits.{key} was {how}: {trouble}")

    def exceeded(self, used: int) -> Reason | None:
        """Return the reason to stop a run that uses this much memory (bytes), or None if this is allowed."""
        if self.sampled is None or used <= self.sampled:
            return None
        return _out_of_memory(f"it used {size(used)}, and its limit is {size(self.sampled)}")

    def killed(self) -> Reason | None:
        """Return the reason if the kernel killed run processes, with data from memory.events, or None if it did not."""
        events = self._cgroup.events()
        if not (count := events.get("oom_kill")):
            return None
        limit = next((int(text) for _, file, text in self._caps if file == "memory.max"), None)
        of_user = self._of_user.get("memory.max", "max")
        if not events.get("oom") and of_user != "max" and self._refused("memory"):
            why = f"all runs of its user together can have {size(int(of_user))}, {_SETTINGS}"
        elif not events.get("oom"):
            why = "the host, or a limit above its own cgroup, had no free memory"
        else:
            why = "a limit below its own cgroup" if limit is None else f"its limit is {size(limit)}"
        return _out_of_memory(f"{why} (memory.events: oom_kill {count})")

    def limit_warnings(self, state: str) -> list[str]:
        """Return warnings about limits that the run reached, but that did not end the run."""
        killed = None if state == "oom_killed" else self.killed()
        limit = next((text for _, file, text in self._caps if file == "pids.max"), "")
        count = self._cgroup.refused_tasks()
        reached = f"it could not start more tasks than {limit} (pids.events: max {count})" if limit and count else ""
        return [text for text in (killed, reached, *self._user_warnings(0 if limit else count)) if text]

    def _user_warnings(self, count: int) -> Iterator[str]:
        """Yield warnings about the limits that the user's runs share.

        `count`: failed forks that the run's own limit did not cause.
        """
        most = self._of_user.get("pids.max", "max")
        if most != "max" and (count or self._refused("tasks")):
            yield f"all runs of its user together could not start more tasks than {most}, {_SETTINGS}"
        if "cpu.max" in self._of_user and (waited := self._refused("cpu")) >= _LONG:
            cpus, seconds = _cpus(self._of_user["cpu.max"]), waited // 1_000_000
            yield f"all runs of its user together have {cpus:g} CPUs, {_SETTINGS}, and waited {seconds} s for them"

    def _refused(self, key: str) -> int:
        """Return the refusals by a limit that the user's runs share, since this run started."""
        return max(0, self._cgroup.refused_above().get(key, 0) - self._before.get(key, 0))


def _out_of_memory(why: str) -> Reason:
    return Reason(Code.OUT_OF_MEMORY, why=why)


def _cpus(text: str) -> float:
    """Return the number of CPUs from cpu.max's text."""
    share, period = text.split()
    return int(share) / int(period)
