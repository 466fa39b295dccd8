"""Mail by a real server: OpenSMTPD as Debian installs it, which delivers to the mailbox of a user."""

from __future__ import annotations

import json
import mailbox
import re
import subprocess
import sys
from collections.abc import Iterator
from email.header import decode_header, make_header
from email.message import Message as Mail
from pathlib import Path

import pytest

from jobqueued.base.instants import MINUTE, SECOND, to_text
from jobqueued.child.contract.documents import NO_OUTPUT, UNKNOWN_OF_ATTEMPT, Record, with_attempt
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.core.scheduler import Scheduler
from jobqueued.model import events
from jobqueued.model.commands import Command, Launch
from jobqueued.model.job import Job, Now
from jobqueued.model.notify import Notify
from jobqueued.notices.notices import Notices
from jobqueued.notices.outbox import Message
from tests.support.world import MIDNIGHT, job
from tests.system.vm import jobs, sh, start, until

CONFIG = Path("/etc/jobqueued.yaml")
SEND = """
import os, sys
from jobqueued.child import sending, spawn
spawn.become_subreaper()
document = os.memfd_create("notice")
os.write(document, sys.stdin.buffer.read())
print(sending.send(document)[0])
"""
FLAKY = """
jobs:
  flaky: {command: 'echo no space left; test -e /run/mended'}
"""
Settings = dict[str, str]
WAYS: list[Settings] = [{}, {"smtp": "smtp://127.0.0.1:25"}]


@pytest.fixture(scope="module", autouse=True)
def server() -> None:
    """Start it with the settings that it came with, but for IPv6, which the kernel of the machine may not have."""
    settings = Path("/etc/smtpd.conf")
    settings.write_text(settings.read_text().replace("listen on localhost", "listen on 127.0.0.1"))
    sh("systemctl", "unmask", "opensmtpd")
    sh("systemctl", "start", "opensmtpd")


@pytest.fixture
def ops(request: pytest.FixtureRequest) -> Iterator[str]:
    """A user without a mail."""
    name = "ops-" + re.sub("[^a-z]+", "-", request.node.name)[-20:].strip("-")
    sh("useradd", "--create-home", name)
    yield name
    sh("userdel", "--remove", name)


def mails(user: str, count: int) -> list[Mail]:
    """The mails of a user once so many have come, in the order in which they were written."""
    folder = Path(f"/home/{user}/Maildir")
    until(f"{count} mails for {user}", lambda: len([*folder.glob("new/*")]) >= count)
    found = sorted(mailbox.Maildir(folder), key=lambda mail: mail["X-Jobqueued-Id"])
    assert count == len(found)
    return found


def sent(message: Message, settings: Settings) -> str:
    """Send it the way that a supervisor does; what became of it."""
    notice = {"version": 1, "id": message.id, "channel": message.target.channel, "target": message.target.address,
              "settings": settings, "event": message.about}  # fmt: skip
    order = json.dumps({"user": "jobqueue", "notice": notice})
    done = subprocess.run(
        [sys.executable, "-c", SEND], input=order, capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout.strip()


def check_thread(found: list[Mail], user: str) -> None:
    """One thread, in which no mail is twice, with the headers that filters for cron's mails look at."""
    (thread,) = {mail["References"] for mail in found}
    assert {thread} == {mail["In-Reply-To"] for mail in found}
    assert thread not in (ids := {mail["Message-ID"] for mail in found})
    assert len(found) == len(ids)
    for mail in found:
        assert user == mail["To"].removesuffix("@localhost")
        assert mail["Subject"].startswith("Cron <root@vm> ")
        assert {"<LOGNAME=root>", f"<JOBQUEUE_JOB={mail['Subject'].split(': ')[1].split('@')[0]}>"} <= {
            *mail.get_all("X-Cron-Env", [])
        }
        assert ("auto-generated", "bulk") == (mail["Auto-Submitted"], mail["Precedence"])
        assert "jobqueue@vm" in mail["Return-Path"]
        assert "OpenSMTPD" in mail["Received"], "it has not come by the server"


class VirtualDay:
    """The scheduler with one job, whose runs take a second and end with `exit_code`, and what it says of them."""

    def __init__(self, job: Job) -> None:
        self.exit_code, self.said = 1, list[Command]()
        self._scheduler = Scheduler(HostLimits("vm"))
        self._now = MIDNIGHT
        self._turn(events.JobsRead("jobs.yaml", (job,)))
        self._turn(events.JobsLoaded(complete=True))

    def minute(self) -> int:
        """Let a minute pass; the instant after it."""
        end = self._now + MINUTE
        while (wake := self._scheduler.next_wakeup(Now(self._now, self._now))) is not None and wake <= end:
            self._now = max(self._now, wake)
            self._turn(events.Woke())
        self._now = end
        return end

    def _turn(self, event: events.Event) -> None:
        now = Now(self._now, self._now)
        for command in [*self._scheduler.handle(event, now), *self._scheduler.admit(now)]:
            self.said.append(command)
            if isinstance(command, Launch):
                self._now += SECOND
                self._turn(events.RunEnded(command.run.id, command.run.attempt, self._record(command)))

    def _record(self, launch: Launch) -> Record:
        failed = bool(self.exit_code)
        return with_attempt(launch.record, {
            **UNKNOWN_OF_ATTEMPT, "attempt": 1, "state": "failed" if failed else "succeeded", "pid": 4711,
            "reason": f"exit code {self.exit_code}" if failed else None, "exit_code": self.exit_code,
            "started": to_text(self._now - SECOND), "ended": to_text(self._now),
            "output": {**NO_OUTPUT, "offset": 0, "tail": "no space left\n"},
        })  # fmt: skip


@pytest.mark.parametrize("settings", WAYS, ids=["sendmail", "smtp"])
def test_a_day_of_failures(ops: str, settings: Settings) -> None:
    """A minutely job that fails for a day: 1 + 4 + 1 mails in the mailbox.  The day is virtual, each mail is real."""
    sync = job("sync", "* * * * *", command="/usr/bin/sync-all", notify=Notify(email=(ops,)))
    day, notices, verdicts = VirtualDay(sync), Notices("vm", [], lambda: "UTC", {"sync": sync}.get), list[str]()
    for minute in range(24 * 60 + 60):
        day.exit_code = int(minute <= 24 * 60)
        wall, said, day.said = day.minute(), day.said, []
        notices.about(said, wall)
        for message in notices.outbox.take(wall):
            verdicts.append(sent(message, settings))
            notices.outbox.answered(message.number, verdicts[-1], wall)
    assert ["sent"] * 6 == verdicts
    found = mails(ops, 6)
    assert ["failure", *["reminder"] * 4, "recovery"] == [mail["X-Jobqueued-Event"] for mail in found]
    assert str(found[0]["Subject"]).endswith("/usr/bin/sync-all: sync@1 failed after 1 s: exit code 1")
    assert "no space left" in str(found[0].get_payload(decode=True))
    check_thread(found, ops)


def test_of_a_real_job(ops: str) -> None:
    """The daemon as it is installed: a failure and its end are in the mailbox, by sendmail(8), with the output."""
    CONFIG.write_text(f"notify: {{email: {ops}}}\n")
    start(FLAKY)
    for _ in range(3):
        subprocess.run(["jobqueuectl", "run", "flaky", "--wait"], check=False, capture_output=True, timeout=120)
    mails(ops, 1)
    Path("/run/mended").touch()
    sh("jobqueuectl", "run", "flaky", "--wait")
    found = mails(ops, 2)
    assert ["failure", "recovery"] == [mail["X-Jobqueued-Event"] for mail in found]
    assert "Its output:\n\nno space left" in text_of(found[0])
    check_thread(found, ops)
    assert [] == json.loads(sh("jobqueuectl", "notify", "--json"))["notices"]


def test_of_a_table(ops: str) -> None:
    """The mail of a table's line is the real cron's: subject, text and addresses; of variables it tells the user."""
    table, mark = Path("/etc/cron.d/told"), Path("/run/crond.reboot")
    head, command = f"MAILTO={ops}\nA='b  c'\n", "echo one; echo \"two  'e'\" >&2"
    table.write_text(f"{head}@reboot root {command}\n")
    mark.unlink(missing_ok=True)
    sh("systemctl", "restart", "cron")
    until("the mail of cron", lambda: [*Path(f"/home/{ops}/Maildir").glob("new/*")])
    sh("systemctl", "disable", "--now", "cron")
    (theirs,) = mailbox.Maildir(f"/home/{ops}/Maildir")
    for file in Path(f"/home/{ops}/Maildir/new").iterdir():
        file.unlink()
    table.write_text(f"{head}17 4 * * * root {command}\n")
    CONFIG.write_text("cron: {live: true}\n")
    sh("date", "--set", sh("date", "+%F 04:16:50").strip())
    start("jobs: {}")
    until("the job", jobs)
    (ours,) = mails(ops, 1)
    table.unlink()
    assert f"Cron <root@vm> {command}" == decoded(theirs["Subject"]) == decoded(ours["Subject"])
    assert "one\ntwo  'e'\n" == text_of(theirs) == text_of(ours)
    assert {theirs["To"], ours["To"]} <= {ops, f"{ops}@localhost", f"{ops}@vm"}
    assert "<LOGNAME=root>" in set(theirs.get_all("X-Cron-Env", [])) & set(ours.get_all("X-Cron-Env", []))


def decoded(header: str) -> str:
    return str(make_header(decode_header(header)))


def text_of(mail: Mail) -> str:
    return mail.get_payload(decode=True).decode()  # type: ignore[union-attr]
