"""The cgroup of a user, in which those of the user's runs are: there as long as one of them is.

A directory stands for the kernel's: what is made, found and removed is the same, and no file of a limit is there.  The
limits themselves are tested in the virtual machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from jobqueued.child.contract.documents import Above, LaunchSpec
from jobqueued.child.processes import cgroup
from jobqueued.child.processes.cgroup import Cgroup
from jobqueued.child.start.caps import Caps
from jobqueued.child.start.identity import StartFailed
from jobqueued.child.start.starting import start
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.core.records.record import begin
from jobqueued.model.commands import Launch
from jobqueued.model.run import Run, RunId
from jobqueued.model.users import Owner, UserLimits
from jobqueued.runs.launch_spec import caps, order
from tests.support.users import ME
from tests.support.world import job

ALICE: Above = {"name": "u1000", "caps": [("memory", "memory.max", "1000")]}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[int]:
    """Where cgroups are."""
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def made(home: int, name: str, above: Above | None = ALICE) -> Cgroup:
    """The cgroup of an attempt."""
    found = Cgroup(home, name)
    found.above = above
    found.make()
    return found


def places(path: Path) -> list[str]:
    """All cgroups."""
    return sorted(str(it.relative_to(path)) for it in path.rglob("*"))


def test_it_comes_and_goes_with_the_runs(home: int, tmp_path: Path) -> None:
    """The first run makes it, the last takes it away; one of the host's is beside it."""
    one, other, hosts = made(home, "alice+x@1.1"), made(home, "alice+x@2.1"), made(home, "x@1.1", None)
    assert ["u1000", "u1000/alice+x@1.1", "u1000/alice+x@2.1", "x@1.1"] == places(tmp_path)
    assert one.remove()
    assert ["u1000", "u1000/alice+x@2.1", "x@1.1"] == places(tmp_path)
    assert other.remove()
    assert hosts.remove()
    assert [] == places(tmp_path)


def test_what_cannot_be_limited_is_told(home: int) -> None:
    """A limit for which there is no file is told of, by the run that it should hold for."""
    assert ["memory: its cgroup has no memory.max"] == made(home, "alice+x@1.1").troubles


def test_another_run_takes_it_away_meanwhile(home: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends between two steps of the start of another costs that no more than another try."""
    capped, left = cgroup.capped, [3]

    def is_slow(*given: Any) -> str:
        if left[0]:
            left[0] -= 1
            (tmp_path / "u1000").rmdir()
        return capped(*given)

    monkeypatch.setattr(cgroup, "capped", is_slow)
    found = made(home, "alice+x@1.1")
    assert (0, ["u1000", "u1000/alice+x@1.1"]) == (left[0], places(tmp_path))
    assert found.remove()
    assert [] == places(tmp_path)


def test_no_try_is_the_last_one(home: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it goes away each time, the start fails, and leaves no descriptor open."""
    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(cgroup, "capped", lambda *_given: (tmp_path / "u1000").rmdir())
    with pytest.raises(FileNotFoundError):
        made(home, "alice+x@1.1")
    assert len(before) == len(os.listdir("/proc/self/fd"))


def test_it_is_found_again(home: int, tmp_path: Path) -> None:
    """Once its supervisor is gone, the launcher finds the run's by name alone, and removes both."""
    made(home, "alice+x@1.1").close()
    made(home, "bob+x@1.1", {"name": "u1001", "caps": []}).close()
    found = Cgroup.find(home, "alice+x@1.1")
    assert found.directory >= 0
    assert found.remove()
    assert ["u1001", "u1001/bob+x@1.1"] == places(tmp_path)
    assert Cgroup.find(home, "alice+x@1.1").directory == -1


def sent(name: str, owner: Owner | None, users: UserLimits, **fields: Any) -> Any:
    """The launch spec of a run."""
    one = job(name, owner=owner, **fields)
    run = Run(id=RunId(name, 1), key="x", due=0, queued=0, arrival=1, attempt=1, owner=owner)
    return order(Launch(run, one, begin(run, one, HostLimits("host"))), Path("/logs"), Path("/journal"), None, users)


def spec(owner: Owner | None, name: str = "alice/x", **limits: Any) -> Any:
    """The same, with limits of all runs of a user."""
    return sent(name, owner, UserLimits(caps=limits))


def test_the_order() -> None:
    """A user's run has the user's cgroup by number, with the site's limits; one of the host's has none."""
    told = spec(Owner(1000, "alice"), memory=5, tasks=7, cpu=1.5)
    caps = [("memory", "memory.max", "5"), ("tasks", "pids.max", "7"), ("cpu", "cpu.max", "150000 100000")]
    assert {"name": "u1000", "caps": caps} == told["above"]
    assert None is spec(None, "x", memory=5)["above"]


def test_the_order_has_defaults() -> None:
    """What the settings leave open is bounded by the defaults, without a key; an explicit value replaces each."""
    defaults = {"memory": 50, "tasks": 70}
    users = UserLimits(caps={"cpu": 1.5, "tasks": None}, defaults=defaults)
    caps = [("", "memory.max", "50"), ("cpu", "cpu.max", "150000 100000"), ("tasks", "pids.max", "max")]
    assert caps == sent("alice/x", Owner(1000, "alice"), users)["above"]["caps"]


def test_a_default_that_cannot_be_set_is_not_told(home: int) -> None:
    """A host without cgroups of its own has no warning in each record about limits that nobody asked for."""
    above: Above = {"name": "u1000", "caps": [("", "memory.max", "50"), ("tasks", "pids.max", "7")]}
    assert ["tasks: its cgroup has no pids.max"] == made(home, "alice+x@1.1", above).troubles


def test_the_order_of_a_crontab() -> None:
    """A run of a user's crontab has these limits, too, in the cgroup of the user at its start; root's has not."""
    told = spec(None, "crontabs/alice:x", tasks=7)
    assert {"name": "", "caps": [("tasks", "pids.max", "7")]} == told["above"]
    assert None is spec(None, "crontabs/root:x", tasks=7)["above"]
    assert None is spec(None, "cron.d/alice:x", tasks=7)["above"]


@pytest.mark.parametrize("name", [ME.pw_name, None])
def test_the_start_of_a_run_of_a_crontab(home: int, tmp_path: Path, name: str | None) -> None:
    """Its cgroup is in that of its user, by number, beside those of the user's files."""
    told = sent("crontabs/alice:x", None, UserLimits(), user=name, working_directory="/")
    its = Cgroup(home, "crontabs+alice:x@1.1")
    quiet = os.open(os.devnull, os.O_WRONLY)
    its.join = lambda: None  # type: ignore[method-assign]
    try:
        os.waitpid(start(told, its, Caps(told, its), quiet).pid, 0)
    finally:
        os.close(quiet)
    assert {f"u{ME.pw_uid}", f"u{ME.pw_uid}/crontabs+alice:x@1.1"} <= {*places(tmp_path)}


def test_a_run_of_a_crontab_whose_user_is_gone(home: int, tmp_path: Path) -> None:
    """It does not start, and leaves nothing."""
    told = sent("crontabs/alice:x", None, UserLimits(), user="no-such-user")
    its = Cgroup(home, "crontabs+alice:x@1.1")
    with pytest.raises(StartFailed, match="no user 'no-such-user'"):
        start(told, its, Caps(told, its), 1)
    assert [] == places(tmp_path)


@pytest.mark.parametrize(
    ("name", "owner", "limit"),
    [
        ("x", None, 64 << 20), ("alice/x", Owner(1000, "alice"), 1000 // 3), ("crontabs/alice:x", None, 1000 // 3),
        ("crontabs/root:x", None, 64 << 20), ("cron.d/alice:x", None, 64 << 20),
    ],
)  # fmt: skip
def test_the_output_of_a_users_run(name: str, owner: Owner | None, limit: int) -> None:
    """All live runs of a user together stay below `logs`, whatever their output_limit."""
    assert limit == sent(name, owner, UserLimits(logs=1000, live=3))["output_limit"]


class Kernel:
    """A cgroup of a user and one of a run in it, with the figures that the kernel would have there."""

    def __init__(self, home: int, path: Path, limits: dict[str, Any], own: dict[str, Any]) -> None:
        order = {"caps": [cap for key, value in own.items() for cap in caps(key, value)], "enforce": "best_effort"}
        order |= {"cpus": (), "above": spec(Owner(1000, "alice"), **limits)["above"]}
        self._user, self._run = path / "u1000", path / "u1000/alice+x@1.1"
        cgroup = Cgroup(home, "alice+x@1.1")
        self.caps = Caps(cast(LaunchSpec, order), cgroup)
        cgroup.make()
        self.refuse(oom=7, max=7, throttled_usec=7_000_000)  # other runs, before
        self.caps.apply()

    def refuse(self, **counts: int) -> None:
        """The user's limits have refused so much by now."""
        for file, word in (("memory.events.local", "oom"), ("pids.events", "max"), ("cpu.stat", "throttled_usec")):
            if word in counts:
                (self._user / file).write_text(f"{word} {counts[word]}\n")

    def kill(self, **events: int) -> None:
        """The kernel ends a process of the run as memory is short."""
        (self._run / "memory.events").write_text("".join(f"{name} {count}\n" for name, count in events.items()))


LIMITS = {"memory": 8 << 30, "tasks": 500, "cpu": 2}
BY = "the limit of `users: {caps: …}` in jobqueued.yaml"


def test_a_run_that_its_users_limit_ends(home: int, tmp_path: Path) -> None:
    """The record tells that it was what all of the user's runs may have, and not what others had before."""
    kernel = Kernel(home, tmp_path, LIMITS, {})
    kernel.kill(oom=0, oom_kill=1)
    others = "out of memory: the host, or a limit above its own cgroup, had no free memory (memory.events: oom_kill 1)"
    assert others == kernel.caps.killed()
    kernel.refuse(oom=8)
    why = f"out of memory: all runs of its user together can have 8 GiB, {BY} (memory.events: oom_kill 1)"
    assert why == kernel.caps.killed()
    kernel.kill(oom=1, oom_kill=1)
    assert "a limit below its own cgroup" in kernel.caps.killed()


def test_a_run_with_a_limit_of_its_own(home: int, tmp_path: Path) -> None:
    """What its own limit ends is not the user's."""
    kernel = Kernel(home, tmp_path, LIMITS, {"memory": 1 << 20})
    kernel.kill(oom=1, oom_kill=1)
    assert "out of memory: its limit is 1 MiB (memory.events: oom_kill 1)" == kernel.caps.killed()


def test_a_run_that_its_users_limits_hold_up(home: int, tmp_path: Path) -> None:
    """The record tells of tasks that could not start, and of a long wait for CPUs, since its start and not before."""
    kernel = Kernel(home, tmp_path, LIMITS, {})
    kernel.refuse(throttled_usec=7_500_000)
    assert [] == kernel.caps.limit_warnings("succeeded")
    kernel.refuse(max=8, throttled_usec=19_900_000)
    assert [
        f"all runs of its user together could not start more tasks than 500, {BY}",
        f"all runs of its user together have 2 CPUs, {BY}, and waited 12 s for them",
    ] == kernel.caps.limit_warnings("succeeded")


@pytest.mark.parametrize("limits", [{}, {"memory": None, "tasks": None}], ids=["none", "unlimited"])
def test_without_limits_of_its_user(home: int, tmp_path: Path, limits: dict[str, Any]) -> None:
    """Nobody is told of what nobody has set."""
    kernel = Kernel(home, tmp_path, limits, {})
    kernel.kill(oom=0, oom_kill=1)
    kernel.refuse(oom=9, max=9, throttled_usec=99_000_000)
    assert "the host, or a limit above" in kernel.caps.killed()
    assert [kernel.caps.killed()] == kernel.caps.limit_warnings("succeeded")
