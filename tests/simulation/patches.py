"""The names of the program that are the simulated host's while a life goes on."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from jobqueued.child import watchers
from jobqueued.child.processes import cgroup
from jobqueued.settings.instance import Instance
from jobqueued.state.db import opening
from tests.simulation.doubles import daemon_doubles
from tests.simulation.host import Shutdown, Tree
from tests.simulation.modules import FakePosixPath, FakeResource, FakeSelect, FakeSignal, FakeTime, opener
from tests.simulation.sockets import Sockets, Timer
from tests.simulation.system import FakeOs

if TYPE_CHECKING:
    from tests.simulation.host import Host

_MODULES = (
    "child.contract.atomic_file",
    "child.contract.wire",
    "child.report.marks",
    "child.attempt.attempt",
    "child.supervisor",
    "child.launcher",
    "child.worker",
    "state.db.own_writes",
    "child.report.control_socket",
    "child.contract.unix_socket",
    "child.callers",
    "child.adopted_attempts",
    "child.questions",
    "child.report.record",
    "child.report.output",
    "child.start.lockfile",
    "child.report.account",
    "child.hooks.hooks",
    "child.processes.cgroup",
    "child.start.spawn",
    "child.attempt.local_runner",
    "runs.launcher_link",
    "runs.own_program",
    "runs.emptying",
    "runs.following",
    "runs.lost_attempts",
    "runs.recovery",
    "runs.run_directory",
    "runs.leftover_processes",
    "runs.launcher_news",
    "state.commits",
    "state.db.store",
    "state.db.faults",
    "state.record_files",
    "state.due_history",
    "host.wall_timer",
    "daemon.loop",
    "daemon.daemon",
    "daemon.state_assembly",
    "daemon.run_assembly",
    "daemon.self_report",
    "daemon.decisions",
    "control.calls.record_calls",
    "control.calls.job_calls",
    "control.calls.accepted_submissions",
    "control.metrics_file",
    "daemon.trace",
)


_PARTS = (
    "daemon.daemon",
    "daemon.installation",
    "daemon.state_assembly",
    "daemon.job_assembly",
    "daemon.run_assembly",
    "daemon.control_assembly",
    "daemon.self_report",
)
"""The modules of the composition root."""


class Nothing:
    """No ballast."""

    def __init__(self, *_: object) -> None:
        self.removed: list[str] = []

    def lay(self) -> None:
        """Take no room."""

    def give_up(self) -> bool:
        """There is nothing to give."""
        return False


class NoWatchers:
    """No directories of users are watched."""

    pids: frozenset[int] = frozenset()

    def __init__(self, _poll: object) -> None:
        pass

    def __contains__(self, _descriptor: int) -> bool:
        return False

    def descriptors(self) -> list[int]:
        """None."""
        return []

    def want(self, _now: float) -> bool:
        """No supervisor is wanted."""
        return False

    def rest(self, _now: float) -> list[float]:
        """Nothing is to be done."""
        return []

    def clear(self) -> None:
        """Nobody is ended."""

    def reap(self, _pid: int) -> None:
        """It was none of these."""


def table(host: Host) -> dict[str, dict[str, Any]]:
    """By module the names that are replaced."""
    system = host.system
    fake: FakeOs = system.fake
    FakePosixPath.fake = fake
    common = {
        "os": fake,
        "time": FakeTime(system),
        "select": FakeSelect(system),
        "socket": system.sockets,
        "signal": FakeSignal(system),
        "resource": FakeResource(),
    }
    found: dict[str, dict[str, Any]] = {}
    for name in _MODULES:
        module = importlib.import_module(f"jobqueued.{name}")
        found[name] = {each: common[each] for each in common if each in vars(module)}
        found[name]["open"] = opener(fake)
    tree, linux = Tree(host), _linux(host)
    for name in (
        "attempt.attempt", "supervisor", "launcher", "adopted_attempts", "hooks.hooks", "report.account",
        "start.lockfile",
        "attempt.ending",
    ):  # fmt: skip
        found.setdefault(f"child.{name}", {})["tree"] = tree
    found["child.attempt.local_runner"] |= {"start": host.start_job}
    found["child.supervisor"] |= {
        "Shutdown": lambda _manager=1: Shutdown(host),
        "entitle": lambda _name, what: host.entitle(what),
        "process": SimpleNamespace(stat=lambda _: SimpleNamespace(parent=1)),
        "cgroup": SimpleNamespace(**vars(cgroup) | {"membership": lambda: "0::/simulated\n"}),
        "identity": SimpleNamespace(trouble_with=lambda *_: "", name_of=lambda _: "named somebody"),
        "sending": SimpleNamespace(send=host.receive),
    }
    found["child.launcher"] |= {
        "watchers": SimpleNamespace(**vars(watchers) | {"Watchers": NoWatchers}),
        "cgroup": SimpleNamespace(**vars(cgroup) | {"controllers": lambda _: None}),
        "budget": SimpleNamespace(common=lambda: None),
        "_complain": lambda text: host.note(f"launcher: {text}"),
    }
    found["child.report.account"] |= {"_FIRST": 86400.0, "_LONGEST": 86400.0}
    found["child.processes.process"] = {"stat": lambda _: None, "birth": host.births}
    found["runs.leftover_processes"] |= {
        "_births": lambda: 0,
        "_numbers": lambda: 1 << 22,
        "_read": host.kin_of,
        "_details": host.details_of,
        "_title": host.title_of,
    }
    found["runs.launcher_link"] |= {
        "Instance": SimpleNamespace(of=Instance),
        "sys": SimpleNamespace(executable="python3"),
    }
    found["runs.own_program"] |= {"sys": SimpleNamespace(executable="python3")}
    found["state.db.store"] |= {
        "Ballast": Nothing,
        "opening": SimpleNamespace(
            **vars(opening) | {"to_write": host.database.to_write, "to_read": host.database.to_read}
        ),
    }
    found["host.wall_timer"]["linux"] = linux
    found["settings.paths"] = {"BOOT_ID": SimpleNamespace(read_text=lambda: host.boot_id)}
    for name, double in daemon_doubles(host).items():
        for part in _PARTS:
            if name in vars(importlib.import_module(f"jobqueued.{part}")):
                found.setdefault(part, {})[name] = double
    return found


def _linux(host: Host) -> SimpleNamespace:
    kernel = host.kernel

    def realtime_timer() -> int:
        return kernel.open(Timer(kernel))

    def arm(number: int, wall: int) -> bool:
        kernel.enter("timer")
        timer = host.system.process().fds[number]
        assert isinstance(timer, Timer)
        return timer.arm(wall)

    return SimpleNamespace(
        realtime_timer=realtime_timer,
        arm=arm,
        time_asleep=lambda: kernel.asleep,
        realtime_offset=lambda: kernel.wall - kernel.since_boot - kernel.asleep,
    )


def _method(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function that gets the object of which it is a method."""

    def called(self: Any) -> Any:
        return function(self)

    return called


@contextlib.contextmanager
def installed(host: Host) -> Iterator[None]:
    """Have the program run on this host."""
    host.system.sockets = Sockets(host.system)
    before: list[tuple[Any, str, Any]] = []
    missing = object()
    try:
        for name, names in table(host).items():
            module = importlib.import_module(f"jobqueued.{name}")
            for each, value in names.items():
                before.append((module, each, vars(module).get(each, missing)))
                setattr(module, each, value)
        launcher = importlib.import_module("jobqueued.child.launcher").Launcher
        before.append((launcher, "_spawn", launcher._spawn))
        launcher._spawn = _method(host.spawn)
        yield
    finally:
        for owner, name, value in reversed(before):
            if value is missing:
                delattr(owner, name)
            else:
                setattr(owner, name, value)
