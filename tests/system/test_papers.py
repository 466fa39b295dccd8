# vm-run: --with jq,w3m,bsd-mailx,curl,openssl,at,cron,man-db,tzdata,adduser,sudo,git
"""What the papers have people type into other programs, typed: it exits 0, and shows or does something."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.foreign import READERS, VERB, foreign, where
from tests.support.papers import PAPERS
from tests.system.vm import DEADLINE, sh, start, until

FILE = """
jobs:
  backup: {command: echo done, on: {event: deployed}}
  nightly-backup: {command: "echo No error."}
  fails: {command: exit 1}
  slow: {command: sleep 60, timeout: 1s}
  lives: {command: sleep 600}
"""
OF_ALICE = """
echo 'jobs: {sshd: {command: echo accepted}}' | jobqueuectl add - --name a && jobqueuectl run --wait alice/sshd &&
mkdir -p ~/.config/jobqueue.d && echo 'jobs: {backup: {command: echo mine}}' >~/.config/jobqueue.d/a.yaml &&
systemctl --user start jobqueued && jobqueuectl --user run --wait backup
"""
STANDS_FOR = {
    "/etc/localtime": "/tmp/localtime", "/ZONE": "/Europe/Berlin", "-t JOB": "-t backup", "@142": "@1",
    "=4711": "=$pid", "=1000": "=$owner", "delegated …": "delegated --help", "delegated --root": "delegated --help",
    "FILE": "/tmp/notes", " */*.json": " /var/log/jobqueue/*/*.json", " *.json": " /var/log/jobqueue/backup/*.json",
    "enable-linger": "enable-linger alice",
}  # fmt: skip
"""What the reader has to put there, or knows from where they are."""
NEEDS_A_FILE = ("chmod 600", "truncate -s 0")
ENDLESS = re.compile(r"jobqueuectl watch|varlinkctl call --more")
LINES = sorted({line for path in PAPERS for line in foreign(path) if not where(line)})
WORK = Path("/root/work")
CERTIFICATE = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=*.example.org", "-addext",
               "subjectAltName=DNS:*.example.org", "-keyout", "/tmp/key", "-out", "/tmp/certificate")  # fmt: skip
SERVER = """
import http.server, json, ssl
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Length', '2')
        self.end_headers()
        self.wfile.write(b'{}')
server = http.server.HTTPServer(('127.0.0.1', 443), Answers)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('/tmp/certificate', '/tmp/key')
server.socket = context.wrap_socket(server.socket, server_side=True)
print(flush=True)
server.serve_forever()
"""


def shell(line: str, user: str = "root") -> subprocess.Popen[str]:
    """The line, as this user types it."""
    uid = sh("id", "-u", user).strip()
    env = {
        **os.environ, "HOME": sh("getent", "passwd", user).split(":")[5], "XDG_RUNTIME_DIR": f"/run/user/{uid}",
        "run": "backup@1", "JOBQUEUE_FENCE": "1", "JOBQUEUE_TRIGGER_PATH": "/tmp", "EDITOR": "true",
        "owner": sh("id", "-u", "alice").strip(), "pid": str(pids[0]) if pids else "",
    }  # fmt: skip
    return subprocess.Popen(
        ["sh", "-c", line], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=env, cwd=WORK if user == "root" else "/tmp", start_new_session=True, user=user, group=user,
        extra_groups=[],
    )  # fmt: skip


pids: list[int] = []
"""The process of a run that has ended."""


@pytest.fixture(scope="module", autouse=True)
def started() -> Iterator[None]:
    """Runs to be told of, what stands for readers' own programs and hosts, and a user with an instance."""
    sh("useradd", "--create-home", "alice")
    sh("loginctl", "enable-linger", "alice")
    for place in ("/srv/in/done", "/srv/scans/done", "/srv/reports", str(WORK / "new")):
        Path(place).mkdir(parents=True)
    for name in READERS:
        file = WORK / name if name.startswith("./") else Path("/usr/local/bin") / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("#!/bin/sh\necho 'jobs: {made: {command: \"true\"}}'\n")
        file.chmod(0o755)
    Path("/srv/in/a.csv").touch()
    Path("/srv/scans/a.pdf").touch()
    (WORK / "new/new.yaml").write_text("jobs: {new: {command: 'true'}}\n")
    Path("/etc/jobqueued.yaml").write_text("users: {}\n")
    for user in ("root", "alice"):
        subprocess.run(["crontab", "-u", user, "-"], input="0 2 * * * true\n", text=True, check=True)
    sh("useradd", "ops")
    sh("sed", "-i", "s/listen on localhost/listen on 127.0.0.1/", "/etc/smtpd.conf")
    sh("systemctl", "unmask", "opensmtpd")
    sh("systemctl", "start", "opensmtpd")
    sh(*CERTIFICATE)
    sh("sh", "-c", "cat /tmp/certificate >>/etc/ssl/certs/ca-certificates.crt")
    sh("sh", "-c", "echo 127.0.0.1 rates.example.org www.example.org ci.example.org >>/etc/hosts")
    start(FILE)
    for job in ("backup", "nightly-backup", "slow", "fails"):
        shell(f"jobqueuectl run --wait {job}").wait(DEADLINE)
    pids.append(int(sh("sh", "-c", "jobqueuectl show --json backup@1 | jq .pid")))
    sh("jobqueuectl", "run", "lives")
    said = shell(OF_ALICE, "alice").communicate(timeout=DEADLINE)[0]
    assert "\nbackup@1 succeeded" in said, said
    sh("journalctl", "--sync")
    with subprocess.Popen(["python3", "-c", SERVER], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline()
        yield
        server.kill()


def is_said(of: subprocess.Popen[str]) -> bool:
    """Whether what has no end says something while runs end."""
    assert of.stdout is not None
    try:
        return until("it says something", lambda: sh("jobqueuectl", "run", "--wait", "backup") and readable(of.stdout))
    finally:
        os.killpg(of.pid, signal.SIGKILL)


def readable(file: object) -> bool:
    return bool(select.select([file], [], [], 0)[0])


@pytest.mark.parametrize("line", LINES)
def test_a_line(line: str) -> None:
    """Of a verb or an option alone the program's help tells it."""
    if re.fullmatch(VERB, line) and line.split(maxsplit=1)[0] not in READERS:
        program, *words = line.removeprefix("sudo ").split()
        told = sh("sh", "-c", f"{program} --help 2>&1 || man {program}")
        assert re.search(rf"(?<![\w-]){re.escape(words[-1])}(?![\w-])", told)
        return
    Path("/tmp/notes").write_text("# moved to jobqueued: 0 2 * * * backup\n")
    typed = f"{line} FILE" if line in NEEDS_A_FILE else line
    for name, what in STANDS_FOR.items():
        typed = typed.replace(name, what)
    if ENDLESS.search(line):
        typed = typed.replace("jq ", "jq --unbuffered ")  # as it is on a terminal
    running = shell(typed, "alice" if re.search("--user|jobqueuectl add", line) else "root")
    if ENDLESS.search(line):
        assert is_said(running)
        return
    said = running.communicate(timeout=DEADLINE)[0]
    if "systemctl" in line:
        sh("systemctl", "start", "jobqueued")
    assert running.returncode == 0, said
    if line.startswith("journalctl"):
        assert "No entries" not in said
