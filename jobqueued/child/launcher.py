"""The launcher gives each attempt a run directory R and a supervisor.

    python3 -I -S launcher.py RUNS_PARENT [--exit-when-idle] [--delegated]

Its listening socket is descriptor 3, which systemd (LISTEN_FDS) or the daemon passes. The launcher decides nothing: it
makes R, hands it to a supervisor in its pool, and forwards the supervisors' notices. If a supervisor dies, its run is
over: the launcher is also a subreaper, so it inherits the job's processes, ends them, and reports the end.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import resource
import select
import signal
import socket
import sys
import time
from collections import deque

if __name__ == "__main__":  # started as a file: find jobqueued.child next to it, after the standard library
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from jobqueued.child import supervisor, watchers
from jobqueued.child.adopted_attempts import AdoptedAttempts
from jobqueued.child.callers import Callers
from jobqueued.child.contract import wire
from jobqueued.child.contract.text import counted
from jobqueued.child.processes import cgroup, tree
from jobqueued.child.questions import Questions, is_question
from jobqueued.child.report import budget, marks
from jobqueued.child.start import attributes, spawn
from jobqueued.child.worker import SpawnLimit, Worker, spare

IDLE, IDLE_SECONDS = 1, 30.0
"""Number of idle supervisors (1.5 MiB each) that remain, and seconds until the other idle supervisors leave."""
ASKING = 6
"""Maximum number of questions that supervisors answer at the same time."""
REST = 1.0
"""Pause (s) after a failure, during which the launcher forks no supervisor and accepts no connection."""
COMPLAINTS = 60.0
"""Minimum time (s) between two log lines about such failures."""
_RESERVE = 8
"""Descriptors reserved for callers and for briefly opened files."""
_GONE = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN})
_LISTEN_FD = 3


class Launcher:
    """The pool of supervisors, the backlog of attempts, and the scheduler."""

    def __init__(self, listener: socket.socket, runs: str, home: int, *, exit_when_idle: bool) -> None:
        """`home`: descriptor of the place of the attempts' cgroups (cgroup.prepare)."""
        self._runs, self._home, self._exit_when_idle = runs, home, exit_when_idle
        self._listener, self._common = listener, budget.common()
        self._workers: dict[int, Worker] = {}
        self._idle: list[Worker] = []
        self._backlog: deque[str] = deque()
        self._questions = Questions()
        self._lost = AdoptedAttempts(runs, home)
        self._spawn_limit, self._complained = SpawnLimit(), float("-inf")
        self._resting_until: float | None = None
        self._most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _RESERVE
        self._visited = False
        self._poll = select.poll()
        self._callers = Callers(self._poll)
        self._wakeups, wakeup = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        self._watchers = watchers.Watchers(self._poll)
        self._private = [self._wakeups, wakeup]
        self._poll.register(self._wakeups, select.POLLIN)
        self._poll.register(listener, select.POLLIN)

    def serve(self) -> None:
        """Serve until the launcher is no longer needed; under systemd, serve forever."""
        self._spawned()  # more supervisors are forked when needed
        while not (self._exit_when_idle and self._needless()):
            ready = [descriptor for descriptor, _bits in self._poll.poll(self._wait())]
            for descriptor in ready:
                self._take(descriptor)
            if self._wakeups in ready:
                self._reap()
            self._rested()
            self._staff()
            self._callers.flush()

    def _needless(self) -> bool:
        busy = len(self._idle) < len(self._workers)
        return self._visited and not (self._callers.descriptors() or self._backlog or self._lost or busy)

    def _take(self, descriptor: int) -> None:
        if descriptor in self._workers:
            self._hear(self._workers[descriptor])
        elif descriptor in self._callers:
            self._obey(descriptor)
        elif descriptor in self._watchers:
            self._report("\n".join(self._watchers.hear(time.monotonic())))
        elif descriptor == self._listener.fileno():
            self._accept()

    def _wait(self) -> float | None:
        times = self._watchers.rest(now := time.monotonic())
        if self._resting_until is not None:
            times = [max(0.0, self._resting_until - now)]
        elif self._backlog:
            times.append(self._spawn_limit.rest(now))
        elif spare(self._idle, IDLE):
            times.append(IDLE_SECONDS)
        return min(times) * 1000 + 1 if times else None

    def _rest(self, trouble: str) -> None:
        """Pause for REST s, because memory, processes or descriptors are exhausted."""
        now = time.monotonic()
        self._resting_until = now + REST
        if now - self._complained >= COMPLAINTS:
            self._complained = now
            _complain(f"{trouble}; {counted(len(self._backlog), 'attempt')} waiting; retrying every {REST:g} s")

    def _rested(self) -> None:
        if self._resting_until is not None and time.monotonic() >= self._resting_until:
            self._resting_until = None
            self._poll.register(self._listener, select.POLLIN)

    # lines from the scheduler

    def _accept(self) -> None:
        try:
            self._callers.accept(self._listener)
            self._visited = True
        except OSError as error:  # the caller waits; without a pause the loop would spin
            self._poll.unregister(self._listener)
            self._rest(f"cannot take a connection: {error.strerror}")

    def _obey(self, descriptor: int) -> None:
        caller, orders = self._callers.read(descriptor)
        try:
            for order in orders:
                self._carry_out(caller, order)
        except ValueError:  # the caller uses another version of the protocol
            self._callers.drop(caller)
        if self._callers.scheduler is None:
            self._questions.clear()
            self._watchers.clear()

    def _carry_out(self, caller: socket.socket, order: bytes) -> None:
        verb, _, rest = order.partition(b" ")
        if verb == b"hello":
            self._greet(caller, int(rest))
        elif verb == b"launch" and caller is self._callers.scheduler:
            name, _, spec = rest.partition(b" ")
            self._launch(name.decode(), spec)
        elif verb in (b"account", b"notify", b"crontab") and caller is self._callers.scheduler:
            self._report(self._questions.put(order))
        elif verb in (b"watch", b"unwatch") and caller is self._callers.scheduler:
            self._watchers.obey(order.decode())

    def _greet(self, caller: socket.socket, version: int) -> None:
        self._callers.set_scheduler(caller)
        self._questions.clear()
        self._watchers.clear()
        if version != wire.VERSION:
            with contextlib.suppress(OSError):
                caller.send(b"version %d\n" % wire.VERSION)
            raise SystemExit(0)
        for name in self._attempts():
            self._report(f"holds {name}")
        self._report(f"hello {wire.VERSION} {os.getpid()} {wire.cgroups(cgroup.controllers(self._home))}")

    def _report(self, notice: str) -> None:
        if notice:
            self._callers.queue_notice(notice)

    # attempts

    def _launch(self, name: str, spec: bytes) -> None:
        try:
            marks.make_directory(self._runs, name, self._attempts)
            marks.write_spec(f"{self._runs}/{name}", spec + b"\n")
        except FileExistsError:
            self._report(f"known {name}")
        except OSError as error:
            self._report(f"unstarted {name} {self._runs}: {error.strerror}")
        else:
            self._backlog.append(name)

    def _attempts(self) -> list[str]:
        """Return the names of all unfinished attempts: attempts that wait, run, or have no supervisor."""
        live = [worker.name for worker in self._workers.values() if worker.name and not is_question(worker.name)]
        return [*self._backlog, *live, *self._lost]

    def _staff(self) -> None:
        """Hand the backlog to idle supervisors. Fork one per turn, unless a busy supervisor will soon be idle."""
        while self._backlog and (self._idle or self._is_short_of_supervisors()):
            spawned = not self._idle
            if spawned and not self._spawned():
                return  # busy supervisors will soon be idle
            if not self._hand_over(self._backlog.popleft(), self._idle.pop()) or spawned:
                return
        self._ask()
        self._dismiss()

    def _is_short_of_supervisors(self) -> bool:
        """Return whether another supervisor would start an attempt sooner, and all supervisors' notices were read."""
        if not self._spawn_limit.may_help(self._workers.values(), time.monotonic()):
            return False
        return not any(ready in self._workers for ready, _bits in self._poll.poll(0))

    def _ask(self) -> None:
        """Hand out questions after attempts. At most ASKING supervisors answer, because a user database can hang."""
        asking = sum(is_question(worker.name) for worker in self._workers.values()) if self._questions else 0
        if self._questions and not self._idle and asking < ASKING:
            self._spawned()
        while self._questions and self._idle and asking < ASKING:
            worker = self._idle.pop()
            worker.name = self._questions.hand_over(worker.socket)
            asking += 1
        self._make_watchers()

    def _make_watchers(self) -> None:
        """Turn idle supervisors into watchers for users. A watcher leaves the pool forever."""
        while self._watchers.want(now := time.monotonic()) and (self._idle or self._spawned()):
            self._release(worker := self._idle.pop())
            try:
                self._watchers.hand_over(worker, now)
            except OSError as error:
                worker.socket.close()
                self._rest(f"cannot start a watcher: {error.strerror}")

    def _hand_over(self, name: str, worker: Worker) -> bool:
        """Give an attempt to a supervisor. Return False if no attempt can be handed over now."""
        try:
            directory = wire.open_directory(f"{self._runs}/{name}")
        except OSError as error:
            self._idle.append(worker)
            self._report(f"unstarted {name} {error.strerror}")
            return True
        try:
            worker.take(name, directory)
            self._spawn_limit.handed_over(worker.taken)
        except OSError as error:
            self._backlog.appendleft(name)
            if error.errno not in _GONE:
                self._idle.append(worker)
                self._rest(f"cannot hand an attempt to a supervisor: {error.strerror}")
                return False
        finally:
            os.close(directory)
        return True  # if the supervisor is dead, its SIGCHLD follows

    def _hear(self, worker: Worker) -> None:
        notice = worker.hear()
        if not notice:
            if notice is not None:
                with contextlib.suppress(KeyError):
                    self._poll.unregister(worker.socket)  # its SIGCHLD follows
            return
        verb, _, rest = notice.partition(b" ")
        if verb == b"left":
            notice = b"ended " + rest
        if verb != b"idle":
            self._report(notice.decode(errors="replace"))
        if verb in (b"started", b"stopping", b"part"):
            return
        if verb in (b"ended", b"left") and self._callers.scheduler is None:
            with contextlib.suppress(OSError):
                worker.socket.send(wire.SYNC.encode())
        worker.name = ""
        if verb == b"left":
            worker.left = rest.decode()
        else:
            worker.idle_since = time.monotonic()
            self._idle.append(worker)

    # supervisors

    def _spawned(self) -> bool:
        """Fork a supervisor, and add it to the idle supervisors. Return False if this is currently impossible."""
        if self._resting_until is None:
            try:
                self._idle.append(self._spawn())
                return True
            except OSError as error:
                self._rest(f"cannot start a supervisor: {error.strerror}")
        return False

    def _spawn(self) -> Worker:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if theirs.fileno() >= self._most:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        pid = os.fork()
        if not pid:
            supervisor.become(theirs, self._common, self._home, [ours.fileno(), *self._own_descriptors()])
        theirs.close()
        ours.setblocking(False)
        worker = self._workers[ours.fileno()] = Worker(pid, ours)
        self._poll.register(ours, select.POLLIN)
        return worker

    def _own_descriptors(self) -> list[int]:
        """Return the launcher's own descriptors, which a supervisor closes."""
        others = [*self._callers.descriptors(), *self._watchers.descriptors()]
        return [*self._private, self._listener.fileno(), *others, *self._workers]

    def _dismiss(self) -> None:
        """Release supervisors that were not needed for IDLE_SECONDS, by closing their sockets."""
        for worker in spare(self._idle, IDLE, time.monotonic() - IDLE_SECONDS):
            self._idle.remove(worker)
            self._part(worker)
            if not self._workers:
                self._spawned()

    def _part(self, worker: Worker) -> None:
        self._release(worker)
        worker.socket.close()

    def _release(self, worker: Worker) -> None:
        with contextlib.suppress(KeyError):
            self._poll.unregister(worker.socket)
        self._workers.pop(worker.socket.fileno(), None)

    def _reap(self) -> None:
        """Reap dead supervisors, and end their runs: kill the inherited processes, level by level."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeups, 512)
        with contextlib.suppress(ChildProcessError):
            for pid in tree.ended():
                self._forget(*os.waitpid(pid, 0))
        known = {*(worker.pid for worker in self._workers.values()), *self._watchers.pids}
        self._report("\n".join(self._lost.end(known)))

    def _forget(self, pid: int, status: int) -> None:
        if (notice := self._watchers.reap(pid)) is not None:
            self._report(notice)
            return
        for worker in list(self._workers.values()):
            if worker.pid == pid:
                self._hear_out(worker)
                self._part(worker)
                if worker in self._idle:  # unexpected, so a new supervisor might also die
                    self._idle.remove(worker)
                    self._rest(f"an idle supervisor exited with wait status {status}")
                if is_question(worker.name):
                    self._report(self._questions.lost(worker.name))
                elif worker.name and (notice := self._lost.take(worker.name)):
                    self._report(notice)
                elif worker.left:
                    self._lost.take_left(worker.left)
                return
        self._lost.died(pid, status)

    def _hear_out(self, worker: Worker) -> None:
        """Handle the last notices of a dead supervisor, which still count."""
        while select.select([worker.socket], [], [], 0)[0]:
            busy = worker.name
            self._hear(worker)
            if not busy or worker.name:
                return


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):  # the log may be full or broken
        os.write(sys.stderr.fileno(), f"jq-launcher: {text}\n".encode())


def main(arguments: list[str]) -> None:
    """Set the process up and serve."""
    try:
        launcher = _set_up(arguments)
    except OSError as error:
        _complain(f"cannot start: {error}")
        raise SystemExit(1) from None
    launcher.serve()


def _set_up(arguments: list[str]) -> Launcher:
    runs = marks.parent_of_this_boot(arguments[0])
    with contextlib.suppress(OSError):  # the disk is full: each attempt retries, and reports the error
        marks.make_parent(runs)
    os.umask(0o022)
    os.chdir("/")
    spawn.call_ourselves("jq-launcher")
    os.closerange(_LISTEN_FD + 1, 1 << 16)  # jobs must not inherit what the launcher's starter left open
    wire.limit_files(None)
    attributes.forgo_oom_protection()
    spawn.become_subreaper()
    tree.hold_children()
    home = cgroup.prepare(delegated="--delegated" in arguments)
    listener = socket.socket(fileno=_LISTEN_FD)
    listener.set_inheritable(False)
    gc.freeze()  # otherwise a garbage collection in a supervisor would copy every shared page
    return Launcher(listener, runs, home, exit_when_idle="--exit-when-idle" in arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
