"""Commands over hosts: daemons that a program in the place of ssh reaches, beside hosts that are out of order."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from jobqueued.base.instants import HOUR
from jobqueued.ctl.fleet import over_ssh
from jobqueued.ctl.fleet.fleet_tables import VIEWS
from jobqueued.daemon.loop import read_clocks
from tests.support.client import harmful, run
from tests.support.fake_ssh import FakeSsh
from tests.support.host import Host, wait_for

JOBS = r"""
jobs:
  backup: {{schedule: "0 {hour} * * *", timezone: UTC, command: "printf 'first\\nfrom {name} \\033[1m\\n'"}}
  nap: {{command: "sleep 1000", locks: [tape]}}
"""


class Fleet(NamedTuple):
    """Two hosts, the older and the newer run of which are told apart by their starts."""

    ssh: FakeSsh
    a: Host
    b: Host

    def ctl(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """A command over hosts."""
        return run(*words, JOBQUEUE_SSH=str(self.ssh.path), **more)

    def table(self, *words: str) -> list[list[str]]:
        """The words of the lines that it prints."""
        return [line.split() for line in self.ctl(*words).stdout.splitlines()]

    def document(self, *words: str) -> dict[str, Any]:
        """Its JSON."""
        return dict(json.loads(self.ctl(*words, "--json").stdout))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The hosts, each with a run that has ended and one that is live."""
    root = tmp_path_factory.mktemp("fleet")
    found = Fleet(FakeSsh(root), Host(root / "a"), Host(root / "b"))
    try:
        now = read_clocks().wall // HOUR
        for host, later in ((found.a, 4), (found.b, 2)):
            host.write("jobs.yaml", JOBS.format(hour=(now + later) % 24, name=host.root.name))
            host.start()
            host.wait(host.run("backup"))
            host.run("nap")
            wait_for(lambda host=host: host.call("Status")["running"])  # type: ignore[misc]
        yield found
    finally:
        found.a.close()
        found.b.close()


BOTH = ("--host", "a,b")


def test_one_table(fleet: Fleet) -> None:
    """The rows of all hosts are in the order that the command has, by any of its options, and name their host."""
    heading, *rows = fleet.table(*BOTH, "list")
    assert ["HOST", "JOB", "STATUS"] == heading[:3]
    assert [["a", "backup"], ["b", "backup"], ["a", "nap"], ["b", "nap"]] == [row[:2] for row in rows]
    assert ["b", "a", "a", "b"] == [row[0] for row in fleet.table(*BOTH, "list", "--sort", "next")[1:]]
    assert ["b", "a"] == [row[0] for row in fleet.table("next", *BOTH)[1:]]
    assert ["b", "a"] == [row[0] for row in fleet.table("next", "backup", "-n", "1", *BOTH)[1:]] + ["a"]


def test_the_newest_of_all(fleet: Fleet) -> None:
    """Of the runs of all hosts the newest come first, the live ones before them, and no more than were asked for."""
    assert [["b", "nap@1"], ["a", "nap@1"], ["b", "backup@1"]] == [
        row[:2] for row in fleet.table(*BOTH, "history", "-n", "3")[1:]
    ]
    told = fleet.ctl(*BOTH, "history", "-n", "3").stderr
    assert "1 more are not shown; to see them: -n 4\n" == told


@pytest.mark.parametrize("command", [name for name in VIEWS if name != "why"])
def test_each_document(fleet: Fleet, command: str) -> None:
    """Each command shows both hosts, and each object of its lists names its host."""
    assert {"a", "b"} <= {row[0].rstrip(":") for row in fleet.table(*BOTH, command) if row}
    document = fleet.document(*BOTH, command)
    assert ({"a", "b"}, {}) == (document["hosts"].keys(), document["failed"])
    lists = [it for it in document.values() if isinstance(it, list)]
    assert {"a", "b"} == {row["host"] for rows in lists for row in rows}


def test_why(fleet: Fleet) -> None:
    """The runs that wait are told by their hosts; of a host where none does the reason."""
    fleet.a.call("Run", job="nap")
    wait_for(lambda: fleet.a.call("Status")["due"])
    heading, row, *rest = fleet.table(*BOTH, "why", "nap")
    assert (["HOST", "RUN"], ["a", "nap@2"]) == (heading[:2], row[:2])
    assert "b: its runs are live now" == " ".join(rest[-1])
    assert 0 == fleet.ctl("--host", "a", "stop", "nap@2").returncode
    running = [["a", "nap", "running", "nap@1"], ["b", "nap", "running", "nap@1"]]
    wait_for(lambda: running == [row[:4] for row in fleet.table(*BOTH, "why", "nap", "--at", "1s")[1:]])


WRONG = [
    ("hang", "no answer in time; to wait longer: --timeout"),
    ("gone", "ssh: connect to host gone port 22: No route to host"),
    ("flood", "it printed more than 64 MiB"),
]


@pytest.mark.parametrize(("host", "reason"), WRONG)
def test_a_host_that_is_out_of_order(fleet: Fleet, host: str, reason: str) -> None:
    """It is told by its name, with the reason, and the command that shows it; the others are shown."""
    words = ("--timeout", "3s", "--host", f"{host},a")
    done = fleet.ctl(*words, "list")
    see = f"to see it: {fleet.ssh.path} {host} -- 'jobqueuectl list --json'"
    assert (2, f"{host}: {reason}; {see}\n") == (done.returncode, done.stderr)
    assert 3 == len(done.stdout.splitlines())
    document = fleet.document(*words, "list")
    assert ({host: reason}, ["a"]) == (document["failed"], list(document["hosts"]))


DOWN = "its jobqueuectl has another version; this host's jobqueuectl can't read its output"
ODD = [
    ("all is well", "its jobqueuectl printed no JSON document"),
    ("x" * (1 << 20), "its jobqueuectl printed no JSON document"),
    ("[" * 100_000, "its jobqueuectl printed no JSON document"),
    ("[1]", "its jobqueuectl printed no JSON document"),
    ('{"schema": 2, "jobs": []}', "its jobqueuectl prints schema 2, but this host's jobqueuectl reads schema 1"),
    ('{"schema": 1}', DOWN),
    ('{"schema": 1, "jobs": 7}', DOWN),
    ('{"schema": 1, "jobs": [{"id": 7}]}', DOWN),
    ('{"schema": 1, "jobs": [[]]}', DOWN),
    ("", "its jobqueuectl exited with status 0"),
]


@pytest.mark.parametrize(("said", "reason"), ODD, ids=lambda text: text[:40])
def test_a_host_that_prints_something_else(fleet: Fleet, said: str, reason: str) -> None:
    """What is no document, or is one of another version, is told so; the others are shown."""
    fleet.ssh.says(said)
    done = fleet.ctl("--host", "said,a", "list")
    assert (2, 3, True) == (done.returncode, len(done.stdout.splitlines()), reason in done.stderr), done.stderr
    assert "Traceback" not in done.stderr


def test_a_host_whose_values_have_another_type(fleet: Fleet) -> None:
    """A row that could not be shown, or sorted among others, is none."""
    (job,) = fleet.document("--host", "a", "list", "backup")["jobs"]
    for changed in ({"id": 7}, {"next": 7}, {"priority": None}, {"schedule": 7}, {"description": {}}):
        fleet.ssh.says(json.dumps({"schema": 1, "jobs": [{**job, **changed}], "held_by": None}))
        done = fleet.ctl("--host", "said,a", "list", "--sort", "next")
        assert "Traceback" not in done.stderr, changed
        assert 3 <= len(done.stdout.splitlines())


def test_words_reach_a_host_as_they_are(fleet: Fleet, tmp_path: Path) -> None:
    """No shell on the way takes a word for its own."""
    done = fleet.ctl(*BOTH, "list", f"x; touch {tmp_path}/there", "$(touch there)", "it's")
    assert (1, "") == (done.returncode, done.stdout)
    names = [f"x; touch {tmp_path}/there", "$(touch there)", "it's"]
    assert [f"{host}: no such job: {name}; see: jobqueuectl" for host in "ab" for name in names] == [
        line.partition(" list")[0].partition(" --root")[0] for line in done.stderr.splitlines()
    ], "all lines of each host are shown"
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize("name", ["-oProxyCommand=x", "a b", "a;b", "a\n", "x/y", "ä"])
def test_a_name_that_is_none(fleet: Fleet, name: str) -> None:
    """Nobody is asked who is called like an option, or something for a shell."""
    fleet.ssh.asked()
    done = fleet.ctl("--host", f"a,{name}", "list")
    assert (2, "", []) == (done.returncode, done.stdout, fleet.ssh.asked())
    assert "is not the name of a host; expected a name of letters, digits" in done.stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["import", "x"], "import does not work for other hosts; commands that do: emit, history, hold, list, "),
        (
            ["history", "--stats"],
            "--stats does not work for other hosts; to use it on one of them: ssh HOST jobqueuectl",
        ),
        (["stop", "nap@1"], "each host numbers its own runs; name the host that has nap@1: --host HOST"),
        (["logs", "nap@1"], "each host numbers its own runs; name the host that has nap@1: --host HOST"),
        (["why", "nap@1"], "each host numbers its own runs; name the host that has nap@1: --host HOST"),
        (["run", "backup"], "`run` works for one host only; name the host: --host HOST"),
        (["list", "--sotr", "next"], "No such option"),
    ],
)
def test_what_is_not_for_several(fleet: Fleet, words: list[str], why: str) -> None:
    """It is refused with what is accepted, before a host is asked."""
    fleet.ssh.asked()
    done = fleet.ctl(*BOTH, *words)
    assert (2, "", []) == (done.returncode, done.stdout, fleet.ssh.asked())
    assert why in done.stderr


def test_acts(fleet: Fleet) -> None:
    """Each host carries them out, and what it says is told with its name; of one host it is told as it is."""
    done = fleet.ctl(*BOTH, "pause", "backup")
    assert [f"{name}: backup is paused; to resume: jobqueuectl resume backup" for name in "ab"] == (
        done.stdout.splitlines()
    )
    assert 0 == fleet.ctl(*BOTH, "resume", "backup").returncode
    assert "backup@2\n" == fleet.ctl("--host", "b", "run", "backup").stdout
    fleet.b.wait("backup@2")
    done = fleet.ctl("--host", "a,b,gone", "stop", "backup")
    assert 2 == done.returncode
    assert "a: Error: backup has no live run; to stop a waiting run, name it: JOB@N" == done.stderr.splitlines()[0]
    assert 1 == fleet.ctl(*BOTH, "stop", "backup").returncode


def test_the_output_of_a_run(fleet: Fleet) -> None:
    """Of a job it is that of the newest run on all hosts, byte for byte in a pipe; of a run that of the named host."""
    done = fleet.ctl(*BOTH, "logs", "backup", "-n", "1")
    assert (0, "from b \033[1m\n") == (done.returncode, done.stdout)
    assert done.stderr.endswith(" on b\n")
    assert "first\nfrom a \033[1m\n" == fleet.ctl("--host", "a", "logs", "backup@1").stdout
    lines = fleet.ctl("--host", "a", "logs", "backup@1", "--json").stdout.splitlines()
    assert [("a", "first"), ("a", "from a \033[1m")] == [(it["host"], it["text"]) for it in map(json.loads, lines)]
    assert 1 == fleet.ctl(*BOTH, "logs", "nothing").returncode
    fleet.ssh.says("no lines")
    assert 2 == fleet.ctl("--host", "said", "logs", "backup").returncode


def test_nothing_harms_a_terminal(fleet: Fleet) -> None:
    """Whatever a host prints, in a document or beside it."""
    (job,) = fleet.document("--host", "a", "list", "backup")["jobs"]
    evil = "\033]0;x\a"
    document = {"schema": 1, "jobs": [{**job, "id": evil, "status": evil, "last_state": evil}], "held_by": evil}
    for text in (json.dumps({**document, "held_until": None, "draining": False}), evil, f'{{"schema": "{evil}"}}'):
        fleet.ssh.says(text)
        for words in (["list"], ["pause", "backup"], ["list", "--json"]):
            done = fleet.ctl("--host", "said,a", *words)
            assert set() == harmful(done.stdout + done.stderr), words
    (record,) = fleet.document("--host", "a", "history", "backup", "-n", "1")["runs"]
    waited = {"job": evil, "waited_for": [evil], "queued": record["due"], "held_by": evil, "reason": evil}
    fleet.ssh.says(json.dumps({"schema": 1, "runs": [{**record, **waited}]}))
    for form in ("--json", "--html", "--chrome-trace", "--since=1d"):
        done = fleet.ctl("--host", "said", "timeline", form)
        assert (0, set(), True) == (done.returncode, harmful(done.stdout + done.stderr), bool(done.stdout)), form
    assert "The longest waits:" in done.stdout


def test_a_chart(fleet: Fleet, tmp_path: Path) -> None:
    """It has a row for each job of each host, in any form, and so it has of the document that `history` prints."""
    rows = ["a: backup", "a: nap", "b: backup", "b: nap"]
    done = fleet.ctl(*BOTH, "timeline")
    assert (0, "") == (done.returncode, done.stderr)
    assert " of 2 jobs on 2 hosts, " in done.stdout.splitlines()[0]
    assert rows == [line[:9].rstrip() for line in done.stdout.splitlines() if line[1:3] == ": "]
    (tmp_path / "runs").write_text(fleet.ctl(*BOTH, "history", "--json").stdout)
    kept = run("timeline", "--from", tmp_path / "runs")
    assert rows == [line[:9].rstrip() for line in kept.stdout.splitlines() if line[1:3] == ": "]
    document = fleet.document(*BOTH, "timeline", "backup")
    assert ({"a": {}, "b": {}}, {}) == (document["hosts"], document["failed"])
    assert {("a", "backup"), ("b", "backup")} == {(it["host"], it["job"]) for it in document["runs"]}
    assert "a: backup@1" in {it["run"] for it in document["runs"]}
    assert "<!doctype html>" in fleet.ctl(*BOTH, "timeline", "--html").stdout.lower()
    events = json.loads(fleet.ctl(*BOTH, "timeline", "--chrome-trace", "backup").stdout)["traceEvents"]
    named = {it["args"]["name"] for it in events if it["ph"] == "M" and "name" in it["args"]}
    assert {"jobqueued on a", "jobqueued on b", "backup"} == {name for name in named if "(" not in name}
    assert "no such runs\n" == fleet.ctl(*BOTH, "timeline", "--state", "lost").stdout


def test_a_chart_of_what_is_chosen(fleet: Fleet) -> None:
    """Each host is asked for what is wanted, with instants in the place of times that each has its own of."""
    fleet.ssh.asked()
    fleet.ctl(*BOTH, "timeline", "--since", "2026-01-01", "--failed", "--longer-than", "1m30s", "--tag", "t", TZ="UTC")
    (asked, other) = fleet.ssh.asked()
    assert asked[1:] == other[1:]
    assert "--since=2026-01-01T00:00:00.000000Z" in asked
    assert ("--state=failed" in asked, "--longer-than=90s" in asked, "--tag" in asked) == (True, True, False)
    done = fleet.ctl(*BOTH, "timeline", "--from", "-")
    assert (2, []) == (done.returncode, fleet.ssh.asked())
    assert "--from reads a file" in done.stderr


def test_a_chart_without_a_host(fleet: Fleet) -> None:
    """It is told which is missing, or prints what can't be drawn; the others are drawn; of none there is no chart."""
    record = fleet.document("--host", "a", "history", "backup")["runs"][0]
    for changed in ({"state": "done"}, {"due": "yesterday"}, {"number": "1"}, {"claims": 7}):
        fleet.ssh.says(json.dumps({"schema": 1, "runs": [{**record, **changed}]}))
        done = fleet.ctl("--host", "said,a,gone", "timeline")
        assert (2, True) == (done.returncode, " on 1 host, " in done.stdout)
        assert ["said: its", "gone: ssh"] == [" ".join(line.split()[:2])[:9] for line in done.stderr.splitlines()]
    done = fleet.ctl("--host", "said,gone", "timeline")
    assert (2, "") == (done.returncode, done.stdout)


def test_so_many_at_once() -> None:
    """Eight hosts are asked at a time, and those whose turn does not come in time are told, too."""
    names = [f"h{number}" for number in range(9)]
    found = list(over_ssh.replies(names, lambda _: ["sleep", "1000"], 1.0))
    assert names == [reply.host for reply in found]
    assert ["no answer in time"] * 8 + ["the time was up before this host was queried"] == [
        reply.problem.partition(";")[0] for reply in found
    ]


def test_this_host_needs_no_ssh(fleet: Fleet) -> None:
    """It is asked directly, and the options that choose a daemon go with the command."""
    name = os.uname().nodename
    fleet.ssh.asked()
    done = fleet.ctl("--root", str(fleet.a.root), "--host", f"{name},gone", "list")
    assert [name, name] == [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert [f"gone -- jobqueuectl --root {fleet.a.root} list --json"] == fleet.ssh.asked()
    done = run("--host", "b", "list", "--ssh", "x", JOBQUEUE_SSH="")
    assert "No such option" in done.stderr
    done = run("--ssh", "/nowhere/ssh", "--host", "b", "list")
    assert done.stderr.startswith("b: cannot start /nowhere/ssh: No such file or directory; to see it: /nowhere/ssh b ")
