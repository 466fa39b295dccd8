"""Two users and root: what each can do with the jobs of the others, as they try it, and what their runs may take."""

from __future__ import annotations

import base64
import json
import os
import pwd
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from jobqueued.control.protocol.varlink import Decoder, encode
from tests.system.vm import LOGS, journal, sh, start, status, until

SETTINGS = "users: {live: 3, interval: 1s, caps: {memory: 96M, swap: 0, tasks: 60}}\n"
HOST = """
jobs:
  backup: {command: echo of the host}
  neighbour: {command: [/usr/bin/python3, -c, "import time; x = bytearray(120 << 20); time.sleep(3)"]}
"""
ALICE = """
jobs:
  sshd: {command: echo accepted publickey for root}
  where: {command: cat /proc/self/cgroup; id -un}
  sleeps: {command: sleep 600, locks: [db]}
  waits: {command: "true", locks: [db]}
"""
BOB = """
jobs:
  hogs: {command: sleep 600, concurrency: 100, max_waiting: 100}
  eats: {command: [/usr/bin/python3, -c, "x = bytearray(200 << 20)"]}
  forks: {command: "for i in $(seq 100); do sleep 30 & done; true", timeout: 30s}
  fine: {command: echo fine}
"""
SECRET = "publickey"


def ask(user: str, *calls: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The replies to calls of this user, of whom the kernel says so."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            entry = pwd.getpwnam(user)
            os.initgroups(user, entry.pw_gid)
            os.setgid(entry.pw_gid)
            os.setuid(entry.pw_uid)
            os.write(writing, json.dumps([_reply(method, asked) for method, asked in calls]).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        replies: list[dict[str, Any]] = json.loads(file.read())
    os.waitpid(pid, 0)
    return replies


def _reply(method: str, asked: dict[str, Any]) -> dict[str, Any]:
    decoder, found = Decoder(1 << 28), list[dict[str, Any]]()
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(100)
        peer.connect("/run/jobqueue/control")
        peer.sendall(encode({"method": f"io.jobqueue.{method}", "parameters": asked}))
        while not found:
            found = decoder.feed(peer.recv(1 << 16))
    return found[0]


def told(user: str, method: str, **asked: Any) -> dict[str, Any]:
    """The answer to one call, which is no refusal."""
    (reply,) = ask(user, (method, asked))
    assert "error" not in reply, reply
    answer: dict[str, Any] = reply["parameters"]
    return answer


def run(user: str, job: str) -> str:
    """A run that its owner has asked for."""
    return str(told(user, "Run", job=f"{user}/{job}")["run"])


def ended(user: str, name: str) -> dict[str, Any]:
    """The record of a run, once it has ended, as its owner sees it."""
    record: dict[str, Any] = told(user, "Wait", run=name)["record"]
    return record


def output(user: str, name: str) -> str:
    """What a run has written, as its owner sees it."""
    return base64.b64decode(told(user, "Logs", run=name)["data"]).decode()


def of(user: str, *words: str, text: str = "") -> tuple[int, str]:
    """The exit code of a command of this user, and all that it writes."""
    command = ["runuser", "-u", user, "--", *words]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120, check=False, cwd="/")
    return done.returncode, done.stdout + done.stderr


def add(user: str, text: str) -> None:
    """Their jobs, as they hand them in."""
    code, said = of(user, "jobqueuectl", "add", "-", "--name", "test", text=text)
    assert code == 0, said


@pytest.fixture(scope="module", autouse=True)
def started() -> None:
    """The users and their jobs; one has run, one is live."""
    for user in ("alice", "bob", "carol"):
        sh("useradd", "--create-home", user)
    Path("/etc/jobqueued.yaml").write_text(SETTINGS)
    start(HOST)
    add("alice", ALICE)
    add("bob", BOB)
    ended("alice", run("alice", "sshd"))
    run("alice", "sleeps")
    ended("root", str(told("root", "Run", job="backup")["run"]))
    until("it runs", lambda: told("alice", "Show", run="alice/sleeps@1")["record"]["state"] == "running")


NO_JOB, NO_RUN, DENIED = "NoSuchJob", "NoSuchRun", "PermissionDenied"
JOB, LIVE, OVER, HOSTS = {"job": "alice/sshd"}, {"run": "alice/sleeps@1"}, {"run": "alice/sshd@1"}, {"job": "backup"}
ATTEMPTS = [
    ("Describe", JOB, NO_JOB), ("Next", {**JOB, "count": 1}, NO_JOB), ("Why", JOB, NO_JOB), ("Why", LIVE, NO_RUN),
    ("History", JOB, NO_JOB), ("Show", OVER, NO_RUN), ("Show", LIVE, NO_RUN), ("Logs", OVER, NO_RUN),
    ("Wait", LIVE, NO_RUN), ("Run", JOB, NO_JOB), ("Rerun", OVER, NO_RUN), ("Stop", LIVE, NO_RUN),
    ("Stop", {**LIVE, "lost": True}, NO_RUN), ("Pause", JOB, NO_JOB), ("Resume", JOB, NO_JOB),
    ("SkipNext", JOB, NO_JOB), ("Forget", JOB, NO_JOB), ("Emit", {"event": "alice/done"}, DENIED),
    ("UserFiles", {"user": "alice"}, DENIED), ("UserFileGet", {"user": "alice", "name": "test"}, DENIED),
    ("UserFileSet", {"user": "alice", "name": "test", "text": ""}, DENIED),
    ("UserFileRemove", {"user": "alice", "name": "test"}, DENIED), ("CrontabGet", {"user": "alice"}, DENIED),
    ("Run", HOSTS, DENIED), ("Describe", HOSTS, DENIED), ("Pause", HOSTS, DENIED),
    ("Show", {"run": "backup@1"}, DENIED),
    ("Logs", {"run": "backup@1"}, DENIED), ("Stop", {"run": "backup@1"}, DENIED), ("Hold", {}, DENIED),
    ("Release", {}, DENIED), ("Reload", {}, DENIED), ("Emit", {"event": "done"}, DENIED), ("Notify", {}, DENIED),
    ("Lock", {"lock": "db"}, DENIED), ("Evict", {"holder": ":with-lock@1"}, DENIED), ("Metrics", {}, DENIED),
    ("Notices", {}, DENIED), ("DueChanges", {}, "Refused"),
]  # fmt: skip
"""What bob tries, and what he is told."""


def test_attempts() -> None:
    """Each is refused, and nothing happens."""
    before = told("alice", "History"), told("root", "Status")["running"]
    replies = ask("bob", *((method, asked) for method, asked, _ in ATTEMPTS))
    errors = [reply.get("error", "").removeprefix("io.jobqueue.") for reply in replies]
    assert [error for *_, error in ATTEMPTS] == errors
    assert SECRET not in json.dumps(replies)
    assert before == (told("alice", "History"), told("root", "Status")["running"])
    assert [False] * 4 == ["error" in reply for reply in ask(
        "alice", ("Describe", JOB), ("Show", OVER), ("Logs", OVER), ("Why", LIVE)
    )]  # fmt: skip


def test_what_is_not_shown() -> None:
    """No list has anything of another user's in it; the owner's and root's have."""
    calls = [(method, {}) for method in ("List", "Status", "History", "Locks", "Usage", "UserFiles")]
    assert "alice" not in json.dumps(ask("bob", *calls))
    assert "bob" not in json.dumps(ask("carol", *calls))
    for user in ("alice", "root"):
        assert "alice/sleeps" in json.dumps(ask(user, *calls[:1]))
        assert "alice/sleeps@1" in json.dumps(ask(user, *calls[2:3]))


def test_what_a_command_says() -> None:
    """What is another's is not there, for jobqueuectl too; of the host's it says who may."""
    code, text = of("bob", "jobqueuectl", "show", "alice/sshd")
    assert (True, True) == (code != 0, "no such job: alice/sshd" in text), text
    code, text = of("bob", "jobqueuectl", "run", "backup")
    assert (1, True) == (code, "permission denied" in text), text


def test_files_and_the_journal() -> None:
    """Neither the disk, the state nor the journal gives away another user's output."""
    for path in (LOGS / "alice+sshd" / "1.log", LOGS / "alice+sshd" / "1.json"):
        assert path.exists()
        assert "Permission denied" in of("bob", "cat", str(path))[1]
    assert "Permission denied" in of("bob", "ls", "/var/lib/jobqueue/users")[1]
    assert SECRET not in of("bob", "journalctl", "--no-pager")[1]


def test_the_name_of_a_program() -> None:
    """A job that is called as a system program stands under its user's name in the journal, with the user's number."""
    uid = pwd.getpwnam("alice").pw_uid
    assert SECRET not in sh("journalctl", "--no-pager", "-t", "sshd")
    (line,) = journal("SYSLOG_IDENTIFIER=alice/sshd", f"JOBQUEUE_OWNER_UID={uid}")
    assert (SECRET in line["MESSAGE"], line["JOBQUEUE_OWNER"]) == (True, "alice")


def test_where_it_runs() -> None:
    """A run is below its user's cgroup, which has the site's limits, and which goes with the last run."""
    uid = pwd.getpwnam("alice").pw_uid
    ended("alice", name := run("alice", "where"))
    lines = output("alice", name).splitlines()
    assert (lines[0].endswith(f"/u{uid}/alice+where@1.1"), lines[1]) == (True, "alice")
    place = Path("/sys/fs/cgroup" + lines[0].removeprefix("0::")).parent
    assert [str(96 << 20), "0", "60"] == [
        (place / file).read_text().strip() for file in ("memory.max", "memory.swap.max", "pids.max")
    ]
    ended("bob", run("bob", "fine"))
    assert not (place.parent / f"u{pwd.getpwnam('bob').pw_uid}").exists()


def test_files_that_appear() -> None:
    """A process of the user looks for them: it sees the own home, and of another's nothing."""
    sh("runuser", "-u", "alice", "--", "mkdir", "-m", "700", "/home/alice/inbox")
    for user, path in (("alice", "~/inbox/*"), ("bob", "/home/alice/inbox/*")):
        text = f"jobs: {{inbox: {{command: 'id -un; echo $JOBQUEUE_TRIGGER_PATH', on: {{path: '{path}'}}}}}}\n"
        code, said = of(user, "jobqueuectl", "add", "-", "--name", "inbox", text=text)
        assert code == 0, said
    until(
        "bob is told",
        lambda: (
            "cannot watch /home/alice/inbox, so it is checked once a minute: Permission denied"
            in " ".join(of("bob", "jobqueuectl", "status")[1].split())
        ),
    )
    until("alice has a watcher", lambda: "jq-watcher" in sh("ps", "-u", "alice", "-o", "comm="))
    sh("runuser", "-u", "alice", "--", "touch", "/home/alice/inbox/a")
    until("it has run", lambda: told("alice", "History", job="alice/inbox")["runs"])
    ended("alice", "alice/inbox@1")
    assert ["alice", "/home/alice/inbox/a"] == output("alice", "alice/inbox@1").splitlines()
    assert [] == told("bob", "History", job="bob/inbox")["runs"]
    for user in ("alice", "bob"):
        told(user, "UserFileRemove", name="inbox")
    until("they are gone", lambda: "jq-watcher" not in sh("ps", "-e", "-o", "comm="))


def test_who_eats_too_much() -> None:
    """What one user's runs take of memory beyond the caps costs that user; others' go on, and so do the host's."""
    neighbour = str(told("root", "Run", job="neighbour")["run"])
    record = ended("bob", run("bob", "eats"))
    assert "out of memory: all runs of its user together can have 96 MiB, the limit of `users" in json.dumps(record), (
        record
    )
    assert ended("root", neighbour)["state"] == "succeeded"
    assert told("alice", "Show", **LIVE)["record"]["state"] == "running"


def test_who_forks_too_much() -> None:
    """There are no more tasks of a user than the caps say."""
    ended("bob", name := run("bob", "forks"))
    assert "fork" in output("bob", name).lower()


def test_who_hogs_the_queue() -> None:
    """Fifty runs of one user: three are live, and a run of another, and one of root's, starts all the same."""
    replies = ask("bob", *[("Run", {"job": "bob/hogs"})] * 50)
    until("three are live", lambda: status()["running"] == 4)
    ended("alice", run("alice", "where"))
    ended("root", str(told("root", "Run", job="backup")["run"]))
    last = replies[-1]["parameters"]["run"]
    assert "which is the limit for each user" in json.dumps(told("bob", "Why", run=last))
    told("bob", "UserFileRemove", name="test")
    live = [record["run"] for record in told("bob", "History")["runs"] if record["state"] == "running"]
    assert 3 == len(live)
    ask("bob", *[("Stop", {"run": name}) for name in live])
    until("they are gone", lambda: status()["running"] == 1)
    assert {"killed", "skipped"} == {record["state"] for record in told("bob", "History", job="bob/hogs")["runs"]}, (
        "the record tells whose it was"
    )


def test_a_user_who_is_gone() -> None:
    """Who has the number of an earlier user, or the name, sees nothing of that one's, and runs nothing of it."""
    uid = pwd.getpwnam("carol").pw_uid
    add("carol", "jobs: {mine: {command: echo publickey}}\n")
    ended("carol", run("carol", "mine"))
    sh("userdel", "carol")
    sh("useradd", "--uid", str(uid), "dave")
    sh("useradd", "--uid", str(uid + 7), "carol")
    its = {"run": "carol/mine@1"}
    calls = [("Describe", {"job": "carol/mine"}), ("Show", its), ("Logs", its), ("Run", {"job": "carol/mine"})]
    for user in ("dave", "carol"):
        replies = ask(user, *calls, ("List", {}), ("History", {}))
        assert [NO_JOB, NO_RUN, NO_RUN, NO_JOB] == [it["error"].rpartition(".")[2] for it in replies[:4]]
        assert ("carol/mine" not in json.dumps(replies[4]), []) == (True, replies[5]["parameters"]["runs"])
    assert "carol/mine@1" in json.dumps(told("root", "History"))


def test_the_daemon_is_down() -> None:
    """Nobody but root reads what files tell, and users are told so; a user's run goes on."""
    sh("systemctl", "stop", "jobqueued")
    code, text = of("alice", "jobqueuectl", "history")
    assert (2, True) == (code, "en the daemon runs again, it shows you the records" in text), text
    sh("systemctl", "start", "jobqueued")
    assert told("alice", "Show", **LIVE)["record"]["state"] == "running"
    told("alice", "Stop", **LIVE)
    assert ended("alice", "alice/sleeps@1")["state"] == "killed"
