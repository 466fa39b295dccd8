"""Kin: the processes that are, or may be, an attempt's own once everybody who watched it is dead.

its own for certain                          what may be its own
who is in its cgroup                         its supervisor, by its title: who lives, but has lost R
the process in R/pid, born when that says    who is in the session of one that is dead
an orphan with its JOBQUEUE_INVOCATION_ID    the same below somebody else (atd, say, keeps the variables of who asked)
all below these, and all of their sessions   –
–                                            where runs have no cgroups: an orphan in a session as young as the
                                             attempt, whose environment has no JOBQUEUE_RUN, or can't be read

An orphan is what init, or a subreaper above us, has inherited.  What a supervisor has is told by its variables, as an
orphan is.  It is not what was born before the attempt, has another JOBQUEUE_RUN, is below somebody else, is in another
cgroup (a service, a container), or in a session that is older than the attempt, as the job began one of its own.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from jobqueued.child import cgroup, process, wire
from jobqueued.child.tuples import NamedTuple
from jobqueued.text import printable

INVOCATION = "JOBQUEUE_INVOCATION_ID"
_RUN, _ATTEMPT = "JOBQUEUE_RUN", "JOBQUEUE_ATTEMPT"
_IDENTITY = (_RUN, _ATTEMPT, "JOBQUEUE_DUE", INVOCATION)
_SUPERVISOR = "jq-supervisor"
SMALL_ONES = ("jq-launcher", _SUPERVISOR)
_NONE, _INIT = 0, 1
_ROUNDS = 10
_NAMED = 3
SLICE = 100
"""Processes in one step of a look: some 5 ms."""


class Process(NamedTuple):
    """A process.  `birth`: ticks of CLOCK_BOOTTIME."""

    pid: int
    parent: int
    session: int
    birth: int
    name: str = ""

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.name})"


class Details(NamedTuple):
    """More of it.  `environment` are its JOBQUEUE_ variables, None: not to be read; `cgroups` as /proc/PID/cgroup has
    them; `is_foreign` if it is a user's as whom no job of this daemon runs.
    """

    environment: Mapping[str, str] | None = {}
    cgroups: str = ""
    is_foreign: bool = False


class Clues(NamedTuple):
    """The clues to what is an attempt's own.  `since`: nothing of it is older (ticks); `identity`: variables that the
    job was given; `main`: its process, and between which ticks that was started; `cgroup`: its own, None: it has none;
    `around`: the cgroups of its supervisor, None: not known; `title`: the attempt and the directory of R's, as its
    supervisor shows them.
    """

    since: int
    identity: Mapping[str, str] = {}
    main: tuple[int, int, int] | None = None
    cgroup: str | None = None
    around: str | None = None
    title: tuple[str, str] | None = None
    has_helper: bool = False
    """Its process stands for a job on Slurm, which that is to end."""


class Kin(NamedTuple):
    """Those that are an attempt's own for certain, and those of which that can't be ruled out."""

    certain: list[Process]
    uncertain: list[Process]


class Processes:
    """All processes of a while, and who is whose.  `ourselves`: a process that is nobody's kin, and asks.

    All are added, then details are noted of each of the `tops` of trees.
    """

    def __init__(self, ourselves: int) -> None:
        self._of: dict[int, Process] = {}
        self._ourselves = ourselves
        self._reapers = {_INIT}
        self._children: dict[int, list[Process]] = defaultdict(list)
        self._sessions: dict[int, list[Process]] = defaultdict(list)
        self._session_births: dict[int, int] = {}
        self._known: dict[int, Details] = {}
        self._by_run: dict[str, list[Process]] = defaultdict(list)
        self._by_cgroup: dict[str, list[Process]] = defaultdict(list)
        self._nobodys: list[Process] = []
        self._supervisors: dict[str, list[tuple[Process, str]]] = defaultdict(list)

    def add(self, it: Process) -> None:
        """Add one."""
        self._of[it.pid] = it
        self._children[it.parent].append(it)
        self._sessions[it.session].append(it)
        self._session_births[it.session] = min(it.birth, self._session_births.get(it.session, it.birth))

    def entitle(self, it: Process, words: Sequence[str]) -> None:
        """Note what a supervisor shows: its name, its attempt, and where the R's are, as far as there was room."""
        if len(words) > 1:
            self._supervisors[words[1]].append((it, words[2] if len(words) > 2 else ""))

    def tops(self, since: int) -> Iterator[Process | None]:
        """Yield the tops of trees, what was born since (ticks), and its parent was not, is dead, or a supervisor.

        Of others None.
        """
        self._reapers |= set(self._above(self._ourselves))
        return (each if self._is_top(each, since) else None for each in self._of.values())

    def _above(self, pid: int) -> Iterator[int]:
        while (found := self._of.get(pid)) is not None and found.parent in self._of:
            pid = found.parent
            yield pid

    def _is_top(self, it: Process, since: int) -> bool:
        if it.birth < since or it.pid == self._ourselves:
            return False
        parent = self._of.get(it.parent)
        return self._is_orphan(it) or (parent is not None and (parent.birth < since or parent.name == _SUPERVISOR))

    def _is_orphan(self, it: Process) -> bool:
        return it.parent in self._reapers or (it.parent != _NONE and it.parent not in self._of)

    def note(self, top: Process, known: Details) -> None:
        """Note the details of a top."""
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

    def kin(self, clues: Clues) -> Kin:
        """Tell who is an attempt's own, and who may be."""
        certain = self._closed(self._own(clues), clues.since)
        uncertain = {each.pid: each for each in self._uncertain(clues) if each.pid not in certain}
        return Kin([certain[pid] for pid in sorted(certain)], [uncertain[pid] for pid in sorted(uncertain)])

    def _own(self, clues: Clues) -> list[Process]:
        own = [] if clues.cgroup is None else list(self._by_cgroup.get(clues.cgroup, ()))
        if INVOCATION in clues.identity:
            own += filter(self._is_orphan, self._named(clues.identity))
        main = None if clues.main is None else self._of.get(clues.main[0])
        if clues.main is not None and main is not None and clues.main[1] <= main.birth <= clues.main[2]:
            own.append(main)
        return own

    def _named(self, identity: Mapping[str, str]) -> list[Process]:
        """Those that were given all of these variables."""
        candidates = self._by_run.get(identity.get(_RUN, ""), [])
        return [each for each in candidates if identity.items() <= (self._known[each.pid].environment or {}).items()]

    def _closed(self, tops: list[Process], since: int) -> dict[int, Process]:
        """With all below them and all of their sessions, as far as they are young enough; not through ourselves."""
        found: dict[int, Process] = {}
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

    def _uncertain(self, clues: Clues) -> Iterator[Process]:
        found = self._named(clues.identity)
        if clues.main is not None and clues.main[0] not in self._of:
            found += self._sessions.get(clues.main[0], ())  # the number may have been another's since
        if clues.cgroup is None:
            found += (each for each in self._nobodys if clues.around in (None, self._known[each.pid].cgroups))
        for each in found:
            if each.birth >= clues.since and self._session_births[each.session] >= clues.since:
                yield each
        if clues.title is not None:
            attempt, runs = clues.title
            yield from (each for each, shown in self._supervisors[attempt] if runs.startswith(shown))


def identity(environment: object) -> dict[str, str]:
    """The variables by which a process of the attempt with this `environment` (of R/spec) is told from all others."""
    told = environment if isinstance(environment, dict) else {}
    return {name: told[name] for name in _IDENTITY if isinstance(told.get(name), str)}


def identity_of(run: str, attempt: int) -> dict[str, str]:
    """The same where no launch spec tells; other daemons of this host may have such a run too."""
    return {_RUN: run, _ATTEMPT: str(attempt)}


def since(instant: int) -> int:
    """The tick before an instant (wall, ns), unless the clock was set since."""
    ago = max(0, time.time_ns() - instant)
    return ticks(max(0, time.clock_gettime_ns(time.CLOCK_BOOTTIME) - ago))


def ticks(instant: int) -> int:
    """The tick before an instant of CLOCK_BOOTTIME (ns)."""
    return instant // process.TICK - 1


def named(processes: list[Process]) -> str:
    """Name them: ``pid 123 (rsync), pid 124 (tar) and 3 more``."""
    more = f" and {len(processes) - _NAMED} more" if len(processes) > _NAMED else ""
    return ", ".join(map(str, processes[:_NAMED])) + more


def look(processes: Processes, since: int) -> Iterator[None]:
    """Look at all processes of this host, for attempts as old as this (ticks), in steps.

    OSError: that can't be done now, or so many were born meanwhile that a number may have been given twice.
    """
    seen, births = set[int](), _births()
    for _round in range(_ROUNDS):  # what is born meanwhile, perhaps of one that has ended before we came to it
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
    """Count the processes and threads that were born since the host is up; 0: /proc has nothing but processes."""
    with contextlib.suppress(FileNotFoundError), open("/proc/stat", "rb") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(b"processes "))
    return 0


def _numbers() -> int:
    """Count the numbers that the kernel gives before it begins anew; the least of any where that is not told."""
    with contextlib.suppress(FileNotFoundError), open("/proc/sys/kernel/pid_max", "rb") as file:
        return int(file.read())
    return 1 << 15


def _read(pid: int) -> Process | None:
    """None: it has ended, reaped or not; the threads of one whose first has ended go on."""
    line = _file(pid, "stat")
    if line is None:
        return None
    seen = process.parsed(line)
    if seen.state in (b"Z", b"X") and seen.threads <= 1:
        return None
    return Process(pid, seen.parent, seen.session, seen.birth, printable(seen.name.decode(errors="replace")))


def _title(pid: int) -> list[str]:
    """The words that it shows as its arguments; none if another user runs it: anybody may call a process so."""
    if _uid(pid) != os.geteuid():
        return []
    return (_file(pid, "cmdline") or b"").rstrip(b"\0").decode(errors="replace").split("\0")


def _details(pid: int) -> Details:
    cgroups = (_file(pid, "cgroup") or b"").decode(errors="surrogateescape")
    return Details(_environment(pid), cgroups, is_foreign=os.geteuid() not in (0, _uid(pid)))


def _environment(pid: int) -> dict[str, str] | None:
    """As it was executed with."""
    data = _file(pid, "environ")
    if data is None:
        return None
    variables = (word for word in data.split(b"\0") if word.startswith(b"JOBQUEUE_"))
    pairs = (variable.decode(errors="replace").partition("=") for variable in variables)
    return {name: value for name, _, value in pairs}


def _uid(pid: int) -> int:
    """The real user, whoever has /proc/PID; our own: it has ended meanwhile."""
    lines = (_file(pid, "status") or b"").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(b"Uid:")), os.geteuid())


def _file(pid: int, name: str) -> bytes | None:
    """Read a file of /proc/PID; None: it has ended, or we may not.  OSError: for want of descriptors or memory."""
    try:
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
            return file.readall()
    except OSError as error:
        if error.errno in wire.SHORTAGE:
            raise
        return None
