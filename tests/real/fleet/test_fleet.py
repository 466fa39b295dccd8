"""A daemon in a fleet, beside a real etcd and the agent of another host."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from subprocess import PIPE
from typing import Any

import pytest

from jobqueued.child.fleet import fence
from jobqueued.child.fleet.claims import ROOT
from jobqueued.child.fleet.etcd.gateway import Gateway
from jobqueued.child.fleet.etcd.wire import coded
from jobqueued.daemon.loop import read_clocks
from tests.fleet.proxy import CALM, Trouble, Way
from tests.support.client import facts, run
from tests.support.etcd import etcd
from tests.support.fake_ssh import FakeSsh
from tests.support.fleet_agent import Agent, agents
from tests.support.host import DEADLINE, Host, wait_for

JOBS = """
jobs:
  tick: {schedule: "* * * * *", seconds: "*", scope: fleet, command: "true"}
  tape: {locks: {name: tape, scope: fleet}, command: "echo fence $JOBQUEUE_FENCE"}
  plain: {command: "echo no fence $JOBQUEUE_FENCE"}
"""


@pytest.fixture
def other(host: Host, tmp_path: Path) -> Iterator[Agent]:
    """The agent of another host, in a fleet that the host joins."""
    (tmp_path / "etcd").mkdir()
    with etcd(tmp_path / "etcd") as address, agents(tmp_path, address, "other") as (found,):
        (host.root / "jobqueued.yaml").write_text(f"fleet: {{etcd: '{address}', labels: gpu}}\n")
        host.write("jobs.yaml", JOBS)
        yield found


def test_a_lock_of_another_host(host: Host, other: Agent) -> None:
    """A run waits for it, and says for whom; then it starts, with a greater fence; what is the host's own has none."""
    other.ask("backup", "x1", "tape")
    number = other.hear("granted", "backup")[4]
    host.start()
    wait_for(lambda: host.said("fleet_up"))
    run = host.run("tape")
    wait_for(lambda: ["lock fleet/tape is held by backup on other"] == host.call("Why", run=run)["runs"][0]["reasons"])
    (holder, waiter) = host.call("Locks", lock="fleet/tape")["claims"]
    assert ("fleet/tape", "backup on other", "tape@1") == (holder["lock"], holder["holder"], waiter["holder"])
    other.say("give_back", "backup", "x1", "")
    assert "succeeded" == host.wait(run)["state"]
    told = host.output(run).decode().split()
    assert told[0] == "fence"
    assert int(told[1]) > number
    host.wait(host.run("plain"))
    assert b"no fence\n" == host.output("plain@1")


def test_a_pause_of_all(host: Host, other: Agent) -> None:
    """A pause is told once the fleet has it: no claim is granted from then on, and another host may end it."""
    host.start()
    spec = other.hear("spec", "tick")[2]
    host.call("Pause", job="tick")
    text = other.hear("paused", "tick")[2]
    assert host.call("Describe", job="tick")["job"]["paused"]
    other.ask("tick", "f4102444800", spec=spec)
    assert ["paused", "tick", text] == other.hear("paused", "tick", text)
    other.hear("denied", "tick")
    other.say("pause", "tick", "", "another pause")
    other.say("pause", "tick", "", text)
    wait_for(lambda: not host.call("Describe", job="tick")["job"]["paused"])
    assert ["its fleet"] == [line["asked_by"] for line in host.said("job_resumed")]


def test_an_overdue_job(host: Host, other: Agent) -> None:
    """The host that has told the fleet first tells people, and takes that back as it is over."""
    host.write("overdue.yaml", "jobs: {late: {schedule: '0 0 1 1 *', scope: fleet, expect: 1s, command: 'true'}}\n")
    other.say("overdue", "late", "something else", 0)
    other.hear("overdue", "late")
    host.start()
    name, at = json.loads(other.hear("overdue", "late")[2])
    assert (socket.gethostname(), True) == (name, at < read_clocks().wall)
    wait_for(lambda: host.said("overdue"))
    assert "teller" not in host.said("overdue")[0]
    host.wait(host.run("late"))
    other.hear("overdue", "late", "")
    assert ["late"] == [it["job"] for it in host.said("overdue_over")]


def test_a_command_with_a_lock(host: Host, other: Agent) -> None:
    """A person's command waits for a lock of the fleet, holds it over a restart, and gives it back as it ends."""
    other.ask("backup", "x1", "tape")
    other.hear("granted", "backup")
    host.start()
    wait_for(lambda: host.said("fleet_up"))
    name = socket.gethostname()
    command = [sys.executable, "-m", "jobqueued.ctl", "--root", str(host.root), "with-lock"]
    told = subprocess.run([*command, "--no-wait", "fleet/tape", "--", "true"], check=False, stderr=PIPE, text=True)
    assert (1, "Error: refused: lock fleet/tape is held by backup on other\n") == (told.returncode, told.stderr)
    waiter = subprocess.Popen(
        [*command, "fleet/tape", "--", "sh", "-c", "echo $JOBQUEUE_FENCE; exec sleep 1000"], stdout=PIPE
    )
    try:
        wait_for(lambda: any(not claim["held"] for claim in host.call("Locks", lock="fleet/tape")["claims"]))
        other.say("give_back", "backup", "x1", "")
        assert waiter.stdout is not None
        assert 0 < int(waiter.stdout.readline())
        other.hear("held", f"with-lock on {name}", [["tape", 1]])
        host.kill()
        host.start()
        wait_for(lambda: 2 == len(host.said("fleet_up")))
        (claim,) = host.call("Locks", lock="fleet/tape")["claims"]
        assert (True, waiter.pid) == (claim["held"], claim["pid"])
    finally:
        waiter.kill()
        waiter.wait(DEADLINE)
    other.hear("held", f"with-lock on {name}", [])


def test_a_late_run_of_another_host(host: Host, other: Agent, tmp_path: Path) -> None:
    """It is refused where a run of this host has been since, by the numbers that both were given."""
    words = [sys.executable, "-I", "-S", fence.__file__, str(tmp_path / "fence"), "true"]
    job = {"locks": {"name": "tape", "scope": "fleet"}, "command": words}
    host.write("fenced.yaml", json.dumps({"jobs": {"fenced": job}}))
    other.ask("backup", "x1", "tape")
    late = {**os.environ, fence.VARIABLE: str(other.hear("granted", "backup")[3])}
    assert 0 == subprocess.run(words, env=late, check=False).returncode
    other.say("give_back", "backup", "x1", "")
    host.start()
    wait_for(lambda: host.said("fleet_up"))
    assert "succeeded" == host.wait(host.run("fenced"))["state"]
    assert fence.REFUSED == subprocess.run(words, env=late, check=False).returncode
    assert "succeeded" == host.wait(host.run("fenced"))["state"]


def test_each_occurrence_once(host: Host, other: Agent) -> None:
    """What another host has is not run here; what is run here is known there."""
    host.start()
    spec = other.hear("spec", "tick")[2]
    first = int(other.hear("taken", "tick")[2][1:])
    other.ask("tick", f"f{first + 3}", spec=spec)
    other.hear("granted", "tick")
    other.hear("taken", "tick", f"f{first + 4}")
    keys = {json.loads(path.read_text())["key"] for path in (host.root / "logs" / "tick").glob("*.json")}
    assert f"f{first}" in keys
    assert f"f{first + 3}" not in keys


@pytest.mark.usefixtures("other")
def test_its_hosts(host: Host) -> None:
    """All that have a session are known, this one is marked; where nobody knows, that is said, and no list is shown."""
    host.start()
    wait_for(lambda: host.said("fleet_up"))
    own = host.call("Fleet")["host"]
    wait_for(lambda: sorted([own, "other"]) == host.call("Fleet")["hosts"])
    about: Callable[[], dict[str, Any]] = lambda: next(it for it in host.call("Fleet")["about"] if it["host"] == own)  # noqa: E731
    wait_for(lambda: ["gpu"] == about()["labels"])
    shown = [line.split() for line in run("--root", host.root, "fleet", "hosts").stdout.splitlines()]
    assert [["HOST", "HERE", "HELD", "LABELS"], *sorted([[own, "yes", "-", "gpu"], ["other", "-", "-", "-"]])] == shown
    assert "error" not in host.call("Hold")
    wait_for(lambda: about()["held"])
    assert "error" not in host.call("Release")
    wait_for(lambda: not about()["held"])
    told = facts(run("--root", host.root, "status").stdout)["fleet"]
    assert told == f"fleet, 2 hosts; see: jobqueuectl --root {host.root} fleet hosts"


def test_a_command_on_all_hosts(host: Host, other: Agent, tmp_path: Path) -> None:
    """All that have a session are asked; a name that is none of a host's reaches no command line, and that is said."""
    host.start()
    (tmp_path / "ssh").mkdir()
    ssh = FakeSsh(tmp_path / "ssh")
    own = wait_for(lambda: host.call("Fleet") if len(host.call("Fleet")["hosts"]) == 2 else None)["host"]
    words = ("--root", host.root, "list", "--fleet", "tick")
    done = run(*words, JOBQUEUE_SSH=str(ssh.path))
    assert (0, "") == (done.returncode, done.stderr)
    assert sorted([own, "other"]) == [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert [f"other -- jobqueuectl --root {host.root} list --json tick"] == ssh.asked()
    line = f"jobqueuectl --root {host.root} --host {own},o"
    offered = run(_JOBQUEUECTL_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD="4").stdout
    assert f"plain,{own},other\n" == offered
    gateway = Gateway(other.settings["etcd"], 5)
    gateway.call("kv/put", {"key": coded(f"{ROOT}hosts/-oProxyCommand=\033"), "value": coded("x:y z")})
    gateway.close()
    wait_for(lambda: len(host.call("Fleet")["hosts"]) == 3)
    done = run(*words, JOBQUEUE_SSH=str(ssh.path))
    assert (2, 3, 1) == (done.returncode, len(done.stdout.splitlines()), len(ssh.asked()))
    assert done.stderr.startswith("-oProxyCommand=\\x1b: ssh can't have this host's name as an argument;")


@pytest.mark.parametrize("until", [10**30, (1 << 63) - 1])
def test_numbers_of_others(host: Host, other: Agent, until: int) -> None:
    """A pause until an instant that no clock can tell, or only just, is one like any other, and can be ended."""
    host.start()
    wait_for(lambda: host.said("fleet_up"), why="the fleet")
    gateway = Gateway(other.settings["etcd"], 5)
    text = json.dumps(["alice", "other", until])
    gateway.call("kv/put", {"key": coded(f"{ROOT}paused/tick"), "value": coded(text)})
    gateway.close()
    wait_for(lambda: host.said("job_paused"), why="the pause")
    for words in (["list"], ["show", "tick"], ["status"], ["why", "tick"], ["next"]):
        done = run("--root", host.root, *words)
        assert "" == done.stderr, done
    assert 0 == run("--root", host.root, "resume", "tick").returncode
    assert [] == host.said("bug")
    assert [] == [entry for entry in host.said("trouble") if "overflow" in entry["text"].lower()]


def test_without_its_etcd(host: Host) -> None:
    """What is wrong is said where one looks; the jobs of the host go on."""
    (host.root / "jobqueued.yaml").write_text("fleet: {etcd: 'http://127.0.0.1:1'}\n")
    host.write("jobs.yaml", JOBS)
    host.start()
    wait_for(lambda: host.said("fleet_down"))
    told = "the fleet is unavailable, so this host starts none of its jobs: http://127.0.0.1:1: Connection refused"
    assert told in host.call("Status")["troubles"]
    done = run("--root", host.root, "fleet", "hosts")
    assert (1, "") == (done.returncode, done.stdout)
    assert done.stderr == "Error: the fleet is unavailable: http://127.0.0.1:1: Connection refused\n"
    assert [] == json.loads(run("--root", host.root, "fleet", "hosts", "--json").stdout)["hosts"]
    done = run("--root", host.root, "--fleet", "list")
    assert (1, "") == (done.returncode, done.stdout)
    assert done.stderr == "Error: the fleet is unavailable: http://127.0.0.1:1: Connection refused\n"
    assert "unavailable" in facts(run("--root", host.root, "status").stdout)["fleet"]
    assert "succeeded" == host.wait(host.run("plain"))["state"]
    why = host.call("Why", run=host.run("tape"))["runs"][0]["reasons"]
    assert ["its fleet is unreachable: http://127.0.0.1:1: Connection refused"] == why


def test_edited_and_edited_back(host: Host, tmp_path: Path) -> None:
    """A job that is edited and edited back before etcd has answered goes by the last edit, here and on other hosts."""
    (tmp_path / "etcd").mkdir()
    with (
        etcd(tmp_path / "etcd") as address,
        closing(Way("host", [address], Random(1), lambda _: None)) as way,
        agents(tmp_path, address, "other") as (other,),
    ):
        (host.root / "jobqueued.yaml").write_text(f"fleet: {{etcd: '{way.members[0]}'}}\n")
        host.write("jobs.yaml", "jobs: {tick: {scope: fleet, command: 'true'}}")
        host.start()
        spec = other.hear("spec", "tick")[2]
        host.stop()
        host.start()  # it reads that its definition is in force before it says that the fleet is available
        wait_for(lambda: len(host.said("fleet_up")) == 2)
        way.be(Trouble(delay=1.5))
        for priority in (5, 0):
            host.write("jobs.yaml", f"jobs: {{tick: {{scope: fleet, command: 'true', priority: {priority}}}}}")
            wait_for(lambda wanted=priority: host.call("Describe", job="tick")["job"]["priority"] == wanted)
        way.be(CALM)
        assert spec != other.hear("spec", "tick")[2]
        other.hear("spec", "tick", spec)
        assert [] == host.said("job_outdated")


def test_hosts_that_differ(host: Host, other: Agent, tmp_path: Path) -> None:
    """One with another zone and `lock_grace` is named, and so is a fleet with another name and the same jobs."""
    wrong = json.dumps(["Europe/Berlin", 30, ""])
    (etcd,) = other.settings["etcd"]
    alone = Agent(tmp_path / "third", etcd, "third", fleet="flet", common=wrong)
    again = Agent(tmp_path / "fourth", etcd, "fourth", common=wrong)
    alone.hear("up", "")
    alone.say("publish", "tick", "a spec", 0)
    alone.hear("spec", "tick", "a spec")
    host.start()

    def troubles() -> str:
        return "\n".join(host.call("Status")["troubles"])

    both = "fourth is in the fleet with timezone Europe/Berlin instead of UTC and lock_grace 30 s instead of 1 min: "
    wait_for(lambda: both in troubles(), why="a host that differs")
    twice = (
        "the fleet flet (hosts: third) uses the same etcd as the fleet fleet, and both fleets have tick, so each fleet"
    )
    wait_for(lambda: twice in troubles(), why="another fleet", seconds=90)
    wait_for(lambda: any(line[0] == "fleets" and "fleet" in line[1] for line in _heard(alone)), why="the other side")
    assert {both[:20], twice[:20]} <= {entry["text"][:20] for entry in host.said("trouble")}
    again.close()
    alone.close()
    wait_for(lambda: "fourth" not in troubles() and "flet," not in troubles(), why="the end of both", seconds=60)


def _heard(agent: Agent) -> list[Any]:
    agent._read()
    return agent.heard
