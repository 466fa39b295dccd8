"""The limits that the kernel sets a run by its cgroup, and what is done where that can't be."""

from __future__ import annotations

from collections.abc import Iterator

from jobqueued.child.cgroup import Cgroup
from jobqueued.child.documents import LaunchSpec
from jobqueued.child.identity import StartFailed
from jobqueued.child.text import size

_SETTINGS = "by `users: {caps: …}` of jobqueued.yaml"
_LONG = 1_000_000
"""Microseconds of waiting for CPUs that are worth a word."""


class Caps:
    """The caps of an attempt: `order["caps"]` has the key of each, the file of its cgroup, and what is written there.

    `enforced` tells by what each key is: ``cgroup``, ``sampled`` (memory alone), ``affinity`` (cpus alone) or ``no``.
    """

    def __init__(self, order: LaunchSpec, cgroup: Cgroup) -> None:
        self._order, self._caps = order, order["caps"]
        self._required, self._cgroup = order["enforce"] == "required", cgroup
        cgroup.above = order.get("above")
        self.enforced: dict[str, str] = {}
        self.warnings: list[str] = []
        self.sampled: int | None = None
        """The bytes of memory that are looked after by sampling."""
        above = order.get("above")
        self._of_user = {} if above is None else {file: text for _, file, text in above["caps"]}
        self._before: dict[str, int] = {}
        """What the limits of all runs of its user had refused them before its start."""

    def apply(self) -> None:
        """Before the start.  StartFailed: a cap can't be enforced here, and has to be."""
        self._before = self._cgroup.refused_above()
        self.warnings += [f"a limit of all runs of its user was not enforced: {it}" for it in self._cgroup.troubles]
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
        """On the CPUs that it was given, which its processes can't leave; by their affinity alone they could."""
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

    def exceeded(self, used: int) -> str:
        """The words for it if it uses so much memory; "" if it may."""
        if self.sampled is None or used <= self.sampled:
            return ""
        return f"out of memory: it used {size(used)}, and its limit is {size(self.sampled)}"

    def killed(self) -> str:
        """The reason why the kernel killed processes of it, with the evidence of memory.events; "" if it did not."""
        events = self._cgroup.events()
        if not (count := events.get("oom_kill")):
            return ""
        limit = next((int(text) for _, file, text in self._caps if file == "memory.max"), None)
        of_user = self._of_user.get("memory.max", "max")
        if not events.get("oom") and of_user != "max" and self._refused("memory"):
            why = f"all runs of its user together may have {size(int(of_user))}, {_SETTINGS}"
        elif not events.get("oom"):
            why = "the host, or a limit above its own cgroup, had no more"
        else:
            why = "a limit below its own cgroup" if limit is None else f"its limit is {size(limit)}"
        return f"out of memory: {why} (memory.events: oom_kill {count})"

    def told(self, state: str) -> list[str]:
        """The limits that it came up against without its being the end."""
        killed = "" if state == "oom_killed" else self.killed()
        limit = next((text for _, file, text in self._caps if file == "pids.max"), "")
        count = self._cgroup.refused_tasks()
        reached = f"it could not start more tasks than {limit} (pids.events: max {count})" if limit and count else ""
        return [text for text in (killed, reached, *self._told_of_user(0 if limit else count)) if text]

    def _told_of_user(self, count: int) -> Iterator[str]:
        """Yield what its user's limits kept from it; `count` of its forks failed, by none of its own."""
        most = self._of_user.get("pids.max", "max")
        if most != "max" and (count or self._refused("tasks")):
            yield f"all runs of its user together could not start more tasks than {most}, {_SETTINGS}"
        if "cpu.max" in self._of_user and (waited := self._refused("cpu")) >= _LONG:
            cpus, seconds = _cpus(self._of_user["cpu.max"]), waited // 1_000_000
            yield f"all runs of its user together have {cpus:g} CPUs, {_SETTINGS}, and waited {seconds} s for them"

    def _refused(self, key: str) -> int:
        """That which the limits of all runs of its user have refused them since its start."""
        return max(0, self._cgroup.refused_above().get(key, 0) - self._before.get(key, 0))


def _cpus(text: str) -> float:
    """CPUs of the text of cpu.max."""
    share, period = text.split()
    return int(share) / int(period)
