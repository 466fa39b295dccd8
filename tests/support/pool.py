"""A pool of one supervisor, with the test as its launcher."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobqueued.child import supervisor
from jobqueued.child.contract import unix_socket, wire
from jobqueued.child.report import budget
from jobqueued.core.records import record
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.model.commands import Launch
from jobqueued.model.fleet import NO_GRANT, Grant
from jobqueued.model.job import Job
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.runs import launch_spec
from tests.support.host import kill_run, wait_for


def ended(path: Path) -> dict[str, Any]:
    """The record in R/ended, which has the instant of the end as well."""
    document: dict[str, Any] = json.loads((path / wire.ENDED).read_bytes())
    assert document.pop(wire.OVER) > 0
    return document


class Pool:
    """A pool of one supervisor, which is a child of ours."""

    def __init__(self, root: Path) -> None:
        self.root = root
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket = ours
        self.pid = os.fork()
        if not self.pid:
            for name in os.listdir("/proc/self/fd"):  # what the tests were started with; the launcher closes it
                if int(name) > 2 and os.path.exists(f"/proc/self/fd/{name}"):
                    os.set_inheritable(int(name), False)
            supervisor.become(theirs, budget.common(), -1, [ours.fileno()])
        theirs.close()
        ours.settimeout(30)
        self.number = 0

    def run(self, **keys: Any) -> tuple[list[str], dict[str, Any]]:
        """Carry out one attempt: the verbs that were said, and the record."""
        said, path = self.order(Job(id="job", **keys))
        return [line.split(" ")[0] for line in said], ended(path)

    def order(self, job: Job, grant: Grant = NO_GRANT, **fields: Any) -> tuple[list[str], Path]:
        """Carry out one attempt of a run: what was said, and its R."""
        path = self.send(job, grant, **fields)
        return self.heard(), path

    def heard(self) -> list[str]:
        """Everything that is said of an attempt, to its end."""
        said = [self.socket.recv(wire.NOTICE).decode()]
        while said[-1].split(" ")[0] not in ("ended", "left", "unstarted"):
            said.append(self.socket.recv(wire.NOTICE).decode())
        return said

    def stopped(self, ready: Callable[[], object], **keys: Any) -> tuple[list[str], dict[str, Any]]:
        """Carry out one attempt that is asked to stop once it is `ready`: the verbs that were said, and the record."""
        path = self.send(Job(id="job", **keys))
        wait_for(lambda: (path / wire.CONTROL).is_socket() and ready())
        directory = wire.open_directory(str(path))
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(unix_socket.address(directory, wire.CONTROL))
            control.sendall(b"stop asked to\n")
            said = self.heard()
        os.close(directory)
        return [line.split(" ")[0] for line in said], ended(path)

    def send(self, job: Job, grant: Grant = NO_GRANT, **fields: Any) -> Path:
        """Let one attempt of a run begin: its R."""
        self.number += 1
        identity = {"id": RunId("job", self.number), "key": "x", "due": 0, "queued": 0, "arrival": 1, "attempt": 1}
        run = Run(**{**identity, "state": RunState.STARTING, **fields})
        path = self.root / run.attempt_name
        path.mkdir()
        spec = launch_spec.order(
            Launch(run, job, record.begin(run, job, HostLimits("host")), grant),
            self.root / "logs",
            self.root / "journal",
            keep_free=0,
        )
        (path / wire.SPEC).write_bytes(wire.encode(spec))
        directory = wire.open_directory(str(path))
        socket.send_fds(self.socket, [run.attempt_name.encode()], [directory])
        os.close(directory)
        return path

    def output(self) -> str:
        """Of the last run."""
        return (self.root / "logs" / "job" / f"{self.number}.log").read_text()

    def descriptors(self) -> list[str]:
        """What it has open between runs."""

        def idle() -> list[str]:
            try:
                links = [os.readlink(path) for path in Path(f"/proc/{self.pid}/fd").iterdir()]
            except FileNotFoundError:  # closed meanwhile
                return []
            return [] if any(link.startswith(str(self.root)) for link in links) else sorted(links)

        return wait_for(idle)

    def close(self) -> None:
        """Let the supervisor go; what is still live of a test that failed is ended, so that nobody waits for it."""
        for path in self.root.glob(f"*/{wire.PID}"):
            kill_run(path)
        self.socket.close()
        os.waitpid(self.pid, 0)
