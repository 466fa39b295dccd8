"""FoundProcesses: the processes that certainly or possibly belong to an attempt after its supervisor and launcher died.

certainly                                    possibly
a process in its cgroup                      its supervisor, by its title: it lives, but has lost R
the process in R/pid, started at its time    a process in the session of one that exited
an orphan with its JOBQUEUE_INVOCATION_ID    such a process below another one (atd, say, keeps its caller's variables)
all below these, and all of their sessions   –
–                                            if runs have no cgroups: an orphan in a session as young as the
                                             attempt, whose environment has no JOBQUEUE_RUN, or can't be read

An orphan is a process whose parent is now init or a subreaper above the daemon. Children of a supervisor are recognized
by their variables, like orphans. A process does not belong to an attempt if it started before the attempt, has another
JOBQUEUE_RUN, is below a process of something else, or is in another cgroup (a service, a container). A process whose
session is older than the attempt does not belong to the attempt either, because each job starts a new session.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from jobqueued.base.text import printable
from jobqueued.child.contract import wire
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.processes import cgroup, process

INVOCATION = "JOBQUEUE_INVOCATION_ID"
_RUN, _ATTEMPT = "JOBQUEUE_RUN", "JOBQUEUE_ATTEMPT"
_IDENTITY = (_RUN, _ATTEMPT, "JOBQUEUE_DUE", INVOCATION)
_SUPERVISOR = "jq-supervisor"
SMALL_ONES = ("jq-launcher", _SUPERVISOR)
_NONE, _INIT = 0, 1
_ROUNDS = 10
_NAMED = 3
SLICE = 100
"""Number of processes to check in one step, which takes about 5 ms."""


class LeftoverProcess(NamedTuple):
    """A process. `birth`: when it started (CLOCK_BOOTTIME, in ticks)."""

    pid: int
    parent: int
    session: int
    birth: int
    name: str = ""

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.name})"


class Details(NamedTuple):
    """Details of a process.

    `environment`: its JOBQUEUE_ variables (None if unreadable). `cgroups`: the text of /proc/PID/cgroup. `is_foreign`:
    whether its user can't have jobs of this daemon.
    """

    environment: Mapping[str, str] | None = {}
    cgroups: str = ""
    is_foreign: bool = False


class Clues(NamedTuple):
    """Clues that identify an attempt's processes.

    `since`: earliest possible birth (ticks). `identity`: variables that the job's processes got. `main`: the attempt's
    main process (PID, and the earliest and latest tick of its birth). `cgroup`: the attempt's cgroup, or None.
    `around`: the cgroups of the attempt's supervisor, or None if unknown. `title`: the attempt and the directory of all
    R, as in the supervisor's title.
    """

    since: int
    identity: Mapping[str, str] = {}
    main: tuple[int, int, int] | None = None
    cgroup: str | None = None
    around: str | None = None
    title: tuple[str, str] | None = None
    has_helper: bool = False
    """True if the attempt's process represents a job on Slurm and must end this job."""


class FoundProcesses(NamedTuple):
    """The processes that certainly belong to an attempt, and the processes that possibly belong to the attempt."""

    certain: list[LeftoverProcess]
    uncertain: list[LeftoverProcess]


class Processes:
    """All processes found during a check, and their relations. `ourselves`: the checking process, which belongs to no
    attempt.

    The caller first adds all processes, then adds the details of each of the `tops`.
    """

    def __init__(self, ourselves: int) -> None:
        self._of: dict[int, LeftoverProcess] = {}
        self._ourselves = ourselves
        self._reapers = {_INIT}
        self._children: dict[int, list[LeftoverProcess]] = defaultdict(list)
        self._sessions: dict[int, list[LeftoverProcess]] = defaultdict(list)
        self._session_births: dict[int, int] = {}
        self._known: dict[int, Details] = {}
        self._by_run: dict[str, list[LeftoverProcess]] = defaultdict(list)
        self._by_cgroup: dict[str, list[LeftoverProcess]] = defaultdict(list)
        self._nobodys: list[LeftoverProcess] = []
        self._supervisors: dict[str, list[tuple[LeftoverProcess, str]]] = defaultdict(list)

    def add(self, it: LeftoverProcess) -> None:
        """Add a process."""
        self._of[it.pid] = it
        self._children[it.parent].append(it)
        self._sessions[it.session].append(it)
        self._session_births[it.session] = min(it.birth, self._session_births.get(it.session, it.birth))

    def entitle(self, it: LeftoverProcess, words: Sequence[str]) -> None:
        """Add a supervisor's title: the program's name, the attempt, and the directory of all R, which may be
        truncated.
        """
        if len(words) > 1:
            self._supervisors[words[1]].append((it, words[2] if len(words) > 2 else ""))

    def tops(self, since: int) -> Iterator[LeftoverProcess | None]:
        """Yield the tops of process trees: processes born at `since` (ticks) or later whose parent is older, dead, or a
        supervisor.

        Yield None for each other process.
        """
        self._reapers |= set(self._above(self._ourselves))
        return (each if self._is_top(each, since) else None for each in self._of.values())

    def _above(self, pid: int) -> Iterator[int]:
        while (found := self._of.get(pid)) is not None and found.parent in self._of:
            pid = found.parent
            yield pid

    def _is_top(self, it: LeftoverProcess, since: int) -> bool:
        if it.birth < since or it.pid == self._ourselves:
            return False
        parent = self._of.get(it.parent)
        return self._is_orphan(it) or (parent is not None and (parent.birth < since or parent.name == _SUPERVISOR))

    def _is_orphan(self, it: LeftoverProcess) -> bool:
        return it.parent in self._reapers or (it.parent != _NONE and it.parent not in self._of)

    def note(self, top: LeftoverProcess, known: Details) -> None:
        """Add the details of the top of a process tree."""
        self._known[top.pid] = known
        run = None if known.environment is None else known.environment.get(_RUN)
        if run is not None:
            self._by_run[run].append(top)
        elif self._is_orphan(top) and top.name not in SMALL_ONES and not known.is_foreign:
            self._nobodys.append(top)
        path = cgroup.unified(known.cgroups)
        while path:
            self._by_cgroup[path].append(top)
            path = path.rpartition("/")[0]

    def find(self, clues: Clues) -> FoundProcesses:
        """Return the processes that certainly and possibly belong to an attempt."""
        certain = self._closed(self._own(clues), clues.since)
        uncertain = {each.pid: each for each in self._uncertain(clues) if each.pid not in certain}
        return FoundProcesses([certain[pid] for pid in sorted(certain)], [uncertain[pid] for pid in sorted(uncertain)])

    def _own(self, clues: Clues) -> list[LeftoverProcess]:
        own = [] if clues.cgroup is None else list(self._by_cgroup.get(clues.cgroup, ()))
        if INVOCATION in clues.identity:
            own += filter(self._is_orphan, self._named(clues.identity))
        main = None if clues.main is None else self._of.get(clues.main[0])
        if clues.main is not None and main is not None and clues.main[1] <= main.birth <= clues.main[2]:
            own.append(main)
        return own

    def _named(self, identity: Mapping[str, str]) -> list[LeftoverProcess]:
        """Return the tops that have all of these variables."""
        candidates = self._by_run.get(identity.get(_RUN, ""), [])
        return [each for each in candidates if identity.items() <= (self._known[each.pid].environment or {}).items()]

    def _closed(self, tops: list[LeftoverProcess], since: int) -> dict[int, LeftoverProcess]:
        """Return these processes, their descendants and their sessions' members, if born at `since` or later, except
        the checking process.
        """
        found: dict[int, LeftoverProcess] = {}
        queue = list(tops)
        while queue:
            each = queue.pop()
            if each.pid in found or each.pid == self._ourselves or each.birth < since:
                continue
            found[each.pid] = each
            queue += self._children.get(each.pid, ())
            if self._session_births[each.session] >= since:
                queue += self._sessions[each.session]
        return found

    def _uncertain(self, clues: Clues) -> Iterator[LeftoverProcess]:
        found = self._named(clues.identity)
        if clues.main is not None and clues.main[0] not in self._of:
            found += self._sessions.get(clues.main[0], ())  # the PID may have been reused
        if clues.cgroup is None:
            found += (each for each in self._nobodys if clues.around in (None, self._known[each.pid].cgroups))
        for each in found:
            if each.birth >= clues.since and self._session_births[each.session] >= clues.since:
                yield each
        if clues.title is not None:
            attempt, runs = clues.title
            yield from (each for each, shown in self._supervisors[attempt] if runs.startswith(shown))


def identity(environment: object) -> dict[str, str]:
    """Return the variables that identify an attempt's processes, from the `environment` of R/spec."""
    told = environment if isinstance(environment, dict) else {}
    return {name: told[name] for name in _IDENTITY if isinstance(told.get(name), str)}


def identity_of(run: str, attempt: int) -> dict[str, str]:
    """Return the identifying variables that are available without a launch spec. A run of another daemon on this host
    may have the same variables.
    """
    return {_RUN: run, _ATTEMPT: str(attempt)}


def since(instant: int) -> int:
    """Return the tick before an instant (wall, ns). The result is wrong if the clock was set after that instant."""
    ago = max(0, time.time_ns() - instant)
    return ticks(max(0, time.clock_gettime_ns(time.CLOCK_BOOTTIME) - ago))


def ticks(instant: int) -> int:
    """Return the tick before an instant of CLOCK_BOOTTIME (ns)."""
    return instant // process.TICK - 1


def named(processes: list[LeftoverProcess]) -> str:
    """Return processes as text: ``pid 123 (rsync), pid 124 (tar) and 3 more``."""
    more = f" and {len(processes) - _NAMED} more" if len(processes) > _NAMED else ""
    return ", ".join(map(str, processes[:_NAMED])) + more


def look(processes: Processes, since: int) -> Iterator[None]:
    """Add all processes of this host, in steps, for a check of attempts that started at `since` (tick) or later.

    Raises OSError if this is impossible now, or if so many processes started during the check that a PID may have been
    reused.
    """
    seen, births = set[int](), _births()
    for _round in range(
        _ROUNDS
    ):  # a round finds processes born during the previous round, whose parents may have exited unread
        new = {int(name) for name in os.listdir("/proc") if name.isdigit()} - seen
        if not new:
            break
        for count, pid in enumerate(new, 1):
            if (each := _read(pid)) is not None:
                processes.add(each)
                if each.name == _SUPERVISOR:
                    processes.entitle(each, _title(pid))
            if count % SLICE == 0:
                yield
        seen |= new
    if _births() - births >= _numbers() // 2:
        raise OSError(errno.EAGAIN, "processes come and go too fast to be told apart")
    for count, top in enumerate(processes.tops(since), 1):
        if top is not None:
            processes.note(top, _details(top.pid))
        if count % SLICE == 0:
            yield


def _births() -> int:
    """Return the number of processes and threads started since boot, or 0 if /proc does not show it."""
    with contextlib.suppress(FileNotFoundError), open("/proc/stat", "rb") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(b"processes "))
    return 0


def _numbers() -> int:
    """Return the number of PIDs that the kernel uses before it reuses one, or, if unknown, the smallest number that any
    kernel uses.
    """
    with contextlib.suppress(FileNotFoundError), open("/proc/sys/kernel/pid_max", "rb") as file:
        return int(file.read())
    return 1 << 15


def _read(pid: int) -> LeftoverProcess | None:
    """Return a process, or None if it is not alive. A process whose main thread has ended is alive as long as another
    thread runs.
    """
    line = _file(pid, "stat")
    if line is None:
        return None
    seen = process.parsed(line)
    if seen.state in (b"Z", b"X") and seen.threads <= 1:
        return None
    return LeftoverProcess(pid, seen.parent, seen.session, seen.birth, printable(seen.name.decode(errors="replace")))


def _title(pid: int) -> list[str]:
    """Return the words of a supervisor's title, or [] if the process runs as another user, because any user can fake a
    title.
    """
    if _uid(pid) != os.geteuid():
        return []
    return (_file(pid, "cmdline") or b"").rstrip(b"\0").decode(errors="replace").split("\0")


def _details(pid: int) -> Details:
    cgroups = (_file(pid, "cgroup") or b"").decode(errors="surrogateescape")
    return Details(_environment(pid), cgroups, is_foreign=os.geteuid() not in (0, _uid(pid)))


def _environment(pid: int) -> dict[str, str] | None:
    """Return the JOBQUEUE_ variables that a process had when it was executed, or None if they are unreadable."""
    data = _file(pid, "environ")
    if data is None:
        return None
    variables = (word for word in data.split(b"\0") if word.startswith(b"JOBQUEUE_"))
    pairs = (variable.decode(errors="replace").partition("=") for variable in variables)
    return {name: value for name, _, value in pairs}


def _uid(pid: int) -> int:
    """Return the real UID of a process, or the daemon's UID if the process exited. The owner of /proc/PID may differ
    from the real UID.
    """
    lines = (_file(pid, "status") or b"").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(b"Uid:")), os.geteuid())


def _file(pid: int, name: str) -> bytes | None:
    """Return the content of a file in /proc/PID, or None if it is missing or denied. Raises OSError if descriptors or
    memory are short.
    """
    try:
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
            return file.readall()
    except OSError as error:
        if error.errno in wire.SHORTAGE:
            raise
        return None
