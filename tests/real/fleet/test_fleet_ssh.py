"""Commands over hosts by the real ssh and sshd."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.client import PROGRAM, environment, run
from tests.support.fake_ssh import FakeSsh
from tests.support.host import DEADLINE, Host, wait_for
from tests.support.sshd import BANNER, sshd

JOBS = """\
jobs:
  backup: {schedule: "0 5 * * *", command: "printf 'it is\\\\n  \\\\033[1mthere\\\\n'"}
  nap: {command: "echo begun; sleep 1000"}
"""
HOSTS = ("--host", "a,b,unreached,keyless,unknown,another")


class Fleet(NamedTuple):
    """The directory with ssh, and two hosts."""

    ssh: Path
    a: Host
    b: Host

    def ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command over hosts, by the ssh that is found first, with its usual options."""
        return run(*words, PATH=self.path)

    @property
    def path(self) -> str:
        """Where programs are looked for."""
        return f"{self.ssh}:{os.environ['PATH']}"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The hosts, each with a run that has ended."""
    root = tmp_path_factory.mktemp("hosts")
    FakeSsh(root)  # whose jobqueuectl is that of each host
    hosts = [Host(root / name) for name in "ab"]
    try:
        with sshd(tmp_path_factory.mktemp("sshd"), root, "ab", root / "bin") as ssh:
            for host in hosts:
                host.write("jobs.yaml", JOBS)
                host.start()
                host.wait(host.run("backup"))
            yield Fleet(ssh, *hosts)
    finally:
        for host in hosts:
            host.close()


def test_one_table(fleet: Fleet) -> None:
    """Hosts that are reached are in it; a banner, which sshd sends before each command, is not told."""
    done = fleet.ctl("--host", "a,b", "history")
    assert (0, "") == (done.returncode, done.stderr)
    assert [["a", "backup@1"], ["b", "backup@1"]] == sorted(line.split()[:2] for line in done.stdout.splitlines()[1:])
    said = subprocess.run([fleet.ssh / "ssh", "a", "--", "true"], capture_output=True, text=True, check=True).stderr
    assert BANNER in said


def test_hosts_that_are_not_reached(fleet: Fleet) -> None:
    """Each is told by its name, with the words of ssh; what they say leaves the document of the others whole."""
    done = fleet.ctl(*HOSTS, "list", "--json")
    document = json.loads(done.stdout)
    assert (2, ["a", "a", "b", "b"]) == (done.returncode, sorted(job["host"] for job in document["jobs"]))
    reasons = {
        "unreached": "ssh: connect to host 127.0.0.1 port .*: Connection refused",
        "keyless": r".*@127\.0\.0\.1: Permission denied \(publickey\)\.",
        "unknown": r"Host key verification failed\.", "another": r"Host key verification failed\.",
    }  # fmt: skip
    assert reasons.keys() == document["failed"].keys()
    for host, reason in reasons.items():
        assert re.fullmatch(reason, document["failed"][host])
        assert re.search(
            rf"^{host}: {reason}; to see it: ssh .* {host} -- 'jobqueuectl list --json'$", done.stderr, re.M
        )


def test_words_with_meanings_for_a_shell(fleet: Fleet) -> None:
    """They arrive as they were typed."""
    odd = "$(touch x);`id` 'a\"b' \\ *"
    done = fleet.ctl("--host", "a,b", "why", odd)
    assert [f"{host}: no such job: {odd}; see: jobqueuectl list" for host in "ab"] == [
        line.partition("; to see it")[0] for line in done.stderr.replace("Error: ", "").splitlines()
    ]


def test_what_hosts_do(fleet: Fleet) -> None:
    """Each does it, and says so behind its name."""
    for command, fact in (("pause", True), ("resume", False)):
        done = fleet.ctl("--host", "a,b", command, "backup")
        assert (0, ["a: backup", "b: backup"]) == (done.returncode, [line[:9] for line in done.stdout.splitlines()])
        assert [fact] * 2 == [host.call("List")["jobs"][0]["paused"] for host in (fleet.a, fleet.b)]


def test_output(fleet: Fleet) -> None:
    """It comes as the run has written it."""
    done = fleet.ctl("--host", "b", "logs", "backup")
    assert (0, "it is\n  \033[1mthere\n") == (done.returncode, done.stdout)


def test_output_that_is_followed(fleet: Fleet) -> None:
    """It comes while the run goes on; after Ctrl-C nothing is left on the host."""
    name = fleet.a.run("nap")
    command = [*PROGRAM, "--host", "a", "logs", "--follow", name]
    with subprocess.Popen(
        command, env=environment(PATH=fleet.path), start_new_session=True, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as follower:  # fmt: skip
        assert follower.stdout is not None
        assert "begun\n" == follower.stdout.readline()
        assert 1 == len(followers(name))
        os.killpg(follower.pid, signal.SIGINT)
        assert 130 == follower.wait(DEADLINE)
    wait_for(lambda: not followers(name), why="an end on the host")
    fleet.a.call("Stop", run=name)


def followers(run: str) -> list[int]:
    """The processes on hosts that follow the output of a run."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[-2:-1] == [run.encode()] and b"--json" in words and b"--host" not in words:
            found.append(int(name))
    return found
