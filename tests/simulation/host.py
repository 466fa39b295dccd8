"""One simulated host: its disks, its processes, who starts them anew, and the people who use it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from jobqueued.child import launcher as launcher_module
from jobqueued.child import supervisor
from jobqueued.child.launcher import Launcher, Worker
from jobqueued.child.report import marks
from jobqueued.child.start.spawn import StartedProcess
from jobqueued.daemon.daemon import Daemon
from jobqueued.daemon.installation import Installation
from jobqueued.runs import leftover_processes
from jobqueued.runs.emptying import WHOLE
from jobqueued.runs.launcher_link import LauncherError, LauncherLink
from jobqueued.settings.paths import Paths
from jobqueued.settings.settings import Retention, Settings
from jobqueued.state.db.faults import StoreError
from jobqueued.state.db.store import Store
from tests.simulation.database import Database
from tests.simulation.doubles import Bell, Lines
from tests.simulation.files import Disk, Files, Inode
from tests.simulation.kernel import INIT, SECOND, Kernel, Open, Process
from tests.simulation.modules import FakePosixPath
from tests.simulation.oracle import Oracle
from tests.simulation.programs import Script
from tests.simulation.sockets import Listener, Socket
from tests.simulation.system import FakeOs, System

TICK = SECOND // 100
_DEAF = SECOND // 10


class Call:
    """A call of a person: `then` hears the answer; `gave_up` is true once nobody waits for it any more."""

    def __init__(
        self, method: str, parameters: dict[str, Any], then: Callable[[dict[str, Any], str | None], None]
    ) -> None:
        self.method, self.parameters, self.answered = method, parameters, then


class Host:
    """The host.  `plan`: its Plan; what happens on it is noted in `trace`."""

    def __init__(
        self, seed: int, wall: int, *, retention: int = 5, systemd: bool = False, journals: bool = True
    ) -> None:
        self.random = Random(f"host {seed}")
        self.seed, self.systemd = seed, systemd
        self.kernel = kernel = Kernel(self.random, wall)
        kernel.on_death, kernel.on_crash = self._died, self._crashed
        self.disk, self.memory = Disk(lasts=True, journals=journals), Disk(lasts=False)
        self.system = System(kernel, Files(self.disk, Disk(lasts=False)))
        self.fake = self.system.fake = FakeOs(self.system)
        self.system.spawn_launcher = self.start_launcher
        self.oracle = Oracle(self)
        self.database = Database(self.system, self.oracle.committed)
        self.etc: dict[str, bytes] = {}
        self.edits = 0
        self.read: set[str] = set()
        self.calls: deque[Call] = deque()
        self.called: list[Call] = []
        self.bells: list[Bell] = []
        self.going_down = False
        self.deaf_until = 0
        """Up to this instant receivers take no notices, whatever happens to the host."""
        self.settings = Settings(timezone="UTC", retention=Retention(runs=retention), operators=())
        self.digest = hashlib.sha256()
        self.trace: list[str] = []
        self.daemon: Daemon | None = None
        self.scheduler: Process | None = None
        self.launcher: Process | None = None
        self.violations: list[str] = []
        self._listener: Listener | None = None
        self.paths: Paths
        for path, disk in (("/var", self.disk), ("/run", self.memory)):
            self.system.files.mount(path, disk)

    # what is noted

    def note(self, text: str) -> None:
        """Note what happens."""
        line = f"{self.kernel.mono} {text}"
        self.digest.update(line.encode())
        self.trace.append(line)

    def violation(self, text: str) -> None:
        """Note that a promise is broken."""
        if len(self.violations) < 20:
            self.note(f"VIOLATION {text}")
            self.violations.append(text)

    def said(self, event: str, fields: dict[str, Any]) -> None:
        """Hear a line of the daemon's log."""
        text = fields.get("text", "")
        if event in ("bug", "trouble", "degraded", "recovered"):
            self.note(f"log {event}: {text}")
        if event == "bug":
            self.violation(f"a bug was said: {text}")
        if event == "out_of_step":
            self.oracle.out_of_step.add(fields["job"])

    def _crashed(self, process: Process, error: BaseException) -> None:
        frames = traceback.extract_tb(error.__traceback__)[-4:]
        where = " < ".join(f"{Path(each.filename).name}:{each.lineno} {each.name}" for each in reversed(frames))
        self.violation(f"the {process.role} has ended by {type(error).__name__}: {error} ({where})")

    # boots

    @property
    def boot_id(self) -> str:
        """The id of this boot."""
        return f"boot-{self.kernel.boot}"

    def start(self) -> None:
        """Power is on."""
        self.going_down = False
        here = FakePosixPath
        self.paths = Paths(
            here("/etc/jobqueued.yaml"), here("/etc/jobqueue.d"), here("/var/lib/jobqueue"), here("/run/jobqueue"),
            here("/var/log/jobqueue"), here("/run/journal"), here("/"),
        )  # fmt: skip
        if self.systemd:
            self._listen()
        self.start_scheduler()

    def _listen(self) -> None:
        """Make the socket of jobqueued-launcher.socket, which PID 1 has."""
        files, init = self.system.files, Process(INIT, "init", 0, 0)
        run = files.root.entries["run"]
        directory = run.entries["jobqueue"] = files.make("d", self.memory, 0o755, self.kernel.wall)
        socket = directory.entries["launcher"] = files.make("s", self.memory, 0o600, self.kernel.wall)
        socket.listener = self._listener = Listener(self.kernel)
        self.kernel.open(self._listener, init)
        self._listener.listens, self._listener.called = True, self._activate

    def _activate(self) -> None:
        """Start the service of the socket, unless it runs."""
        assert self._listener is not None
        if self._listener.backlog and (self.launcher is None or self.launcher.dead) and not self.going_down:
            self.start_launcher(self._listener)

    def start_scheduler(self) -> None:
        """Start the daemon, as systemd does when it has ended."""
        if not self.going_down and (self.scheduler is None or self.scheduler.dead):
            self.scheduler = self.kernel.spawn("scheduler", None, self._run_scheduler)

    def _run_scheduler(self) -> None:
        paths, own = self.paths, None if self.systemd else Path("/launcher.py")
        self.read = set()
        try:
            for directory in (paths.state, paths.logs, paths.run, paths.runs):
                self.fake.makedirs(str(directory), exist_ok=True)
            users = replace(self.settings.users, defaults={})
            link = LauncherLink(paths, paths.launcher, own, (), users)
            store, log = Store(paths.state), Lines(self)
            installation = Installation(paths, self.settings, "simulated", log)
            daemon = Daemon(installation, store, link, None, lambda: None)
            daemon.begin(paths.runs.name)
        except (LauncherError, StoreError, OSError) as error:
            self.note(f"the scheduler can't start: {error}")
            raise SystemExit(1) from None
        self.daemon = daemon
        daemon.run(lambda: None)

    def start_launcher(self, listener: Open) -> Process:
        """Start a launcher, with its listening socket."""
        process = self.kernel.spawn("launcher", None, self._run_launcher)
        self.kernel.open(listener, process, 3)
        self.launcher = process
        return process

    def _run_launcher(self) -> None:
        runs = str(self.paths.runs)
        with contextlib.suppress(OSError):
            marks.make_parent(runs)
        self.fake.umask(0o022)
        try:
            launcher = Launcher(Socket(self.system, 3), runs, -1, exit_when_idle=not self.systemd)
        except OSError as error:  # as main() has it
            raise SystemExit(1) from error
        launcher.serve()

    def spawn(self, launcher: Any) -> Worker:
        """Start a supervisor: what Launcher._spawn does with fork(2)."""
        self.kernel.enter("fork")
        parent = self.kernel.current
        assert parent is not None
        ours, theirs = self.system.sockets.socketpair(0, launcher_module.socket.SOCK_SEQPACKET)
        end = parent.fds[theirs.fileno()]

        def run() -> None:
            supervisor.serve(Socket(self.system, 3, packets=True), None, -1)

        process = self.kernel.spawn("supervisor", parent, run)
        self.kernel.open(end, process, 3)
        theirs.close()
        worker = launcher._workers[ours.fileno()] = Worker(process.pid, ours)
        launcher._poll.register(ours, 1)
        return worker

    def _died(self, process: Process) -> None:
        if process.role == "job":
            self.oracle.ended(process)
            return
        self.note(f"{process.role} {process.pid} died {process.status} {process.attempt}")
        if process.role == "supervisor":
            self.oracle.supervisor_died(process)
        elif process is self.launcher and self.systemd:
            self.kernel.at(self.kernel.mono + _DEAF, self._activate)
        elif process.role == "scheduler" and process is self.scheduler:
            self.daemon, self.called = None, []
            self.bells = [bell for bell in self.bells if bell.holders]
            self.kernel.at(self.kernel.mono + _DEAF, self.start_scheduler)

    # the launcher's program

    def entitle(self, what: str) -> None:
        """Note what a supervisor is at."""
        process = self.system.process()
        process.attempt = "" if what == "idle" else what

    def start_job(self, order: dict[str, Any], _cgroup: object, _caps: object, output: int) -> StartedProcess:
        """Start a command: what starting.start does."""
        parent = self.kernel.enter("spawn")
        job = self.kernel.spawn("job", parent, None)
        self.kernel.open(parent.fds[output], job, 1)
        job.attempt = parent.attempt
        job.environment = {name: str(value) for name, value in order["environment"].items()}
        Script(self, job, order).begin()
        return StartedProcess(job.pid, [])

    def receive(self, document: int, _home: int) -> tuple[str, list[str]]:
        """Receive a notice: what sending.send does."""
        order = json.loads(self.system.file(document).inode.data)
        self.kernel.enter("send notice")
        if self.kernel.mono < self.deaf_until:
            return "later 0 the receiver is down", []
        self.oracle.notified(order["notice"])
        return "sent", []

    def bell(self, waits: Callable[[], bool]) -> Bell:
        """A descriptor that rings for the daemon."""
        bell = Bell(waits)
        self.bells.append(bell)
        return bell

    def ring(self) -> None:
        """Something has changed that daemons wait for."""
        for bell in self.bells:
            self.kernel.notify(bell)

    def edit(self, path: str, text: bytes | None) -> None:
        """Replace a job file, or remove it (None)."""
        if text is None:
            self.etc.pop(path, None)
        else:
            self.etc[path] = text
        self.edits += 1
        self.ring()

    def ask(self, call: Call) -> None:
        """Call the daemon; nobody answers if it is not there."""
        if self.daemon is not None:
            self.calls.append(call)
            self.ring()

    def empty_runs(self) -> None:
        """Remove all R's, and what is beside them; the daemon is told."""
        for it in self._runs.values():
            it.nlink = 0
            it.entries.clear()
        self._runs.clear()
        self.oracle.emptied()
        self.ask(Call("Emptied", {}, lambda *_: None))

    @property
    def is_whole(self) -> bool:
        """Whether the daemon has noted that nobody has removed them since."""
        return WHOLE in self._runs

    @property
    def _runs(self) -> dict[str, Inode]:
        """What is in that directory."""
        files = self.system.files
        directory = files.at(files.root, str(self.paths.run / "runs")).entries.get(self.boot_id)
        return {} if directory is None else directory.entries

    # power

    def power_off(self) -> None:
        """Power goes."""
        self.note("power is lost")
        self.oracle.power_lost()
        scheduler, self.scheduler = self.scheduler, None
        self.going_down = True
        self.kernel.end_all()
        self.scheduler = scheduler
        self.bells.clear()
        self.calls.clear()
        self.daemon = self.launcher = None
        kernel = self.kernel
        self.disk.lose_power(kernel.mono, self.random, self.system.files.root.entries["var"])
        self.memory.trouble = self.disk.trouble = 0
        self.system.files.mount("/run", self.memory)

    def power_on(self, away: int) -> None:
        """The host boots again after so long."""
        kernel = self.kernel
        kernel.offset += away
        kernel.boot += 1
        kernel.booted = kernel.mono - 10 * SECOND
        kernel.asleep = 0
        self.note(f"boot {kernel.boot}")
        self.start()

    # what /proc tells

    def births(self, pid: int) -> int | None:
        """When a process was started, in ticks."""
        process = self.kernel.processes.get(pid)
        return None if process is None else (process.birth - self.kernel.booted) // TICK

    def kin_of(self, pid: int) -> leftover_processes.LeftoverProcess | None:
        """A process as kin.py knows it."""
        it = self.kernel.processes.get(pid)
        if it is None or it.dead:
            return None
        return leftover_processes.LeftoverProcess(pid, it.parent, it.session, self.births(pid) or 0, it.title)

    def title_of(self, pid: int) -> list[str]:
        """What it shows as its arguments."""
        it = self.kernel.processes.get(pid)
        return [] if it is None else [it.title, it.attempt]

    def details_of(self, pid: int) -> leftover_processes.Details:
        """More of it."""
        it = self.kernel.processes.get(pid)
        return leftover_processes.Details({} if it is None else it.environment, "0::/simulated\n")


def below(process: Process) -> Iterator[Process]:
    """All processes below one."""
    for child in list(process.children.values()):
        yield child
        yield from below(child)


class Tree:
    """What child/processes/tree.py tells of a process."""

    def __init__(self, host: Host) -> None:
        self._host, self._kernel = host, host.kernel
        self.apart: set[int] = set()

    def hold_children(self) -> list[int]:
        """No descriptor is needed."""
        return []

    def children(self) -> list[int]:
        """Our children."""
        return list(self._host.system.process().children)

    def ended(self) -> Iterator[int]:
        """The children that have ended."""
        self._kernel.enter("waitid")
        while True:
            children = self._host.system.process().children
            if not children:
                raise ChildProcessError(errno.ECHILD, os.strerror(errno.ECHILD))
            dead = next((pid for pid, child in children.items() if child.dead), None)
            if dead is None:
                return
            yield dead

    def names(self, pids: list[int]) -> list[str]:
        """The names of processes."""
        found = (self._kernel.processes.get(pid) for pid in pids)
        return [f"{it.title} (pid {it.pid})" for it in found if it is not None and not it.dead]

    def usage(self) -> tuple[int, int]:
        """Memory and tasks."""
        return 1 << 20, 1

    def signal_all(self, number: int) -> None:
        """To all below us."""
        self._kernel.enter("kill")
        for it in below(self._host.system.process()):
            self._kernel.kill(it, number)

    def end_all(self, _until: float) -> None:
        """Nothing is left."""


class Shutdown:
    """What child/attempt/shutdown.py tells."""

    def __init__(self, host: Host) -> None:
        self._host, self._read = host, False
        self.descriptor = host.kernel.open(host.bell(lambda: host.going_down and not self._read))

    def began(self, longest_wait: float = 0) -> bool:
        """The host goes down; a signal that was read is not there any more."""
        self._read = self._host.going_down
        return self._read
