"""SIGKILL between every two steps of a notice, from the end of its run to the receiver's 250 and the outbox's deletion:
it comes, under the same id; twice only where the receiver has said 250 and the outbox does not know it.

JOBQUEUED_FAULTS=1 tries all places (make faults), else those between which the verdict changes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.support.crashing import NOTIFIER
from tests.support.host import DEADLINE, Host, wait_for
from tests.support.receivers import MailServer, mail_server
from tests.support.users import ME

CONFIG = """
notify: {{email: ops@example.org, rate: 1000/1h}}
mail: {{smtp: "smtp://127.0.0.1:{port}", starttls: never}}
notifier: {user}
"""
JOB = "jobs: {{probe: {{command: 'sleep 0.05; exit $(cat {root}/code)'}}}}"

ALL = bool(os.environ.get("JOBQUEUED_FAULTS"))
ONCE, TWICE, PERHAPS = {1}, {2}, {1, 2}
"""How many mails come; PERHAPS: whoever died leaves the program that sends it, which may come to its end, or not.

A place with … is tried with ALL only.
"""
SUPERVISOR_OF_THE_RUN = [
    ("Attempt._write_record after 1 …", ONCE),
    ("Attempt._mark_end before 1", ONCE),
    ("Attempt._mark_end after 1 …", ONCE),
]
SCHEDULER = [
    ("Store.commit before 3", ONCE),  # the end, with the incident and the notice
    ("Store.commit after 3", ONCE),
    ("LauncherLink.notify before 1 …", ONCE),
    ("LauncherLink.notify after 1 …", ONCE),
    ("Outbox.answered before 1", TWICE),
    ("Outbox.answered after 1 …", TWICE),
    ("Store.commit before 4", TWICE),  # the deletion
    ("Store.commit after 4", ONCE),
]
LAUNCHER = [
    ("Questions.put before 1", ONCE),
    ("Questions.put after 1 …", ONCE),
    ("Questions.hand_over before 1 …", ONCE),
    ("Questions.hand_over after 1", PERHAPS),  # its supervisor goes on, or sees first that it is alone
    ("Launcher._hear before 3", TWICE),  # of this run: started, ended, notified
    ("Launcher._hear after 3 …", TWICE),
]
SUPERVISOR = [
    ("sending.send before 1", ONCE),
    ("sending._run before 1 …", ONCE),
    ("tree.one_ends before 1", PERHAPS),
    ("tree.one_ends after 1 …", TWICE),
    ("tree.end_all before 1 …", TWICE),
    ("sending.send after 1 …", TWICE),
    ("supervisor._is_sent before 1", TWICE),
    ("supervisor._is_sent after 1", ONCE),
]
SENDER = [
    ("notice.read before 1 …", ONCE),
    ("SMTP.mail before 1 …", ONCE),
    ("SMTP.mail after 1 …", ONCE),
    ("SMTP.rcpt after 1 …", ONCE),
    ("SMTP.data before 1", ONCE),
    ("SMTP.data after 1", TWICE),  # the server has said 250
    ("SMTP.quit after 1 …", TWICE),
    ("main.send after 1", TWICE),
]


class Armed(Host):
    """A host whose processes have places to die at, and who gets its mails."""

    def __init__(self, root: Path, server: MailServer, port: int) -> None:
        super().__init__(root, "tests/support/crashing.py")
        self.server, self._failures = server, 0
        (root / "notifier.py").write_text(NOTIFIER)
        (root / "jobqueued.yaml").write_text(CONFIG.format(port=port, user=ME.pw_name))
        self.write("probe.yaml", JOB.format(root=root))
        self.begin()

    def begin(self) -> None:
        self.start("--config", str(self.root / "jobqueued.yaml"))

    def crash(self, point: str, *, scheduler: bool = False) -> str:
        """Let the job fail in another way than before, and whoever comes to this place die; the run."""
        self._failures += 1
        (self.root / "code").write_text(str(self._failures))
        (self.root / "crash.tmp").write_text(point)
        (self.root / "crash.tmp").rename(self.root / "crash")
        run = self.run("probe")
        wait_for(lambda: not (self.root / "crash").exists(), why=f"{point} was never reached")
        if scheduler:
            assert self.daemon is not None
            assert self.daemon.wait(DEADLINE) == -9
            self.begin()
        return run

    def mails(self, run: str) -> list[EmailMessage]:
        """Those about a run that have come."""
        return [mail for mail in self.server.mails if f"<JOBQUEUE_RUN={run}>" in mail.get_all("X-Cron-Env", [])]

    def settled(self, run: str) -> list[EmailMessage]:
        """The same once nothing waits to be sent, and nothing is on its way."""
        wait_for(lambda: self.mails(run) and not self.call("Notices")["notices"], why=f"the mail about {run}")
        wait_for(lambda: not self.senders(), why="a sender that somebody left")
        return self.mails(run)

    def senders(self) -> list[str]:
        """The programs that send a notice now."""
        marker = str(self.root / "notifier.py").encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                found += [path.parent.name] if marker in path.read_bytes().split(b"\0") else []
            except OSError:
                continue
        return found


@pytest.fixture
def armed(tmp_path: Path) -> Iterator[Armed]:
    server = MailServer()
    with mail_server(server) as port:
        host = Armed(tmp_path / "host", server, port)
        yield host
        host.close()
    print(host.log())


def check(armed: Armed, points: list[tuple[str, set[int]]], *, scheduler: bool = False) -> None:
    """Die at each of these places, and look at what comes of it."""
    wrong = []
    for place, expected in points:
        point = place.removesuffix(" …")
        if point != place and not ALL:
            continue
        found = armed.settled(armed.crash(point, scheduler=scheduler))
        ids = {(mail["Message-ID"], mail["X-Jobqueued-Id"], mail["X-Jobqueued-Event"]) for mail in found}
        if len(found) not in expected or len(ids) != 1:
            wrong.append(f"{point}: {len(found)} mails with {ids}")
    assert [] == wrong


def test_the_supervisor_of_the_run_dies(armed: Armed) -> None:
    """The end of a run that is written somewhere is told."""
    check(armed, SUPERVISOR_OF_THE_RUN)


def test_the_scheduler_dies(armed: Armed) -> None:
    """The notice is in the commit of the run's end, and goes with the one that knows the answer."""
    check(armed, SCHEDULER, scheduler=True)


def test_the_launcher_dies(armed: Armed) -> None:
    """What was on its way through it is sent again."""
    check(armed, LAUNCHER)


def test_the_supervisor_of_the_sender_dies(armed: Armed) -> None:
    """Nobody waits for its answer."""
    check(armed, SUPERVISOR)


def test_the_sender_dies(armed: Armed) -> None:
    """Between any two commands to the server."""
    check(armed, SENDER)
