"""Secrets of a job: values of its environment, its input, and the words of `redact`; who gets to see them."""

from __future__ import annotations

import grp
import json
import pwd
import stat

import pytest

from jobqueued.control.views.definitions import definition
from jobqueued.jobfile.reader import read_jobs
from jobqueued.model.job import Job
from jobqueued.model.notify import Notify, Ping, Webhook
from tests.support.host import Host
from tests.support.stranger import as_user, public
from tests.support.users import NEEDS_ROOT, OTHER, STRANGER

SECRET = "hunter2"
JOBS = f"""
jobs:
  work:
    command: [/bin/sh, -c, "test $PASSWORD = {SECRET} -a $(cat) = {SECRET}", --password={SECRET}, {SECRET}]
    failover: "true {SECRET}"
    environment: {{PASSWORD: {SECRET}}}
    stdin: {SECRET}
    redact: {SECRET}
    user: {OTHER}
"""
MEMBER, GROUP = 12345, pwd.getpwnam(OTHER).pw_gid
"""An operator."""


@NEEDS_ROOT
def test_who_sees_secrets() -> None:
    """Root and the job's user see them in its definition; nobody finds them in another answer, a log line, or a file
    that others than root may read.
    """
    with public() as directory:
        host = Host(directory / "host")
        try:
            host.root.chmod(0o755)
            (host.root / "logs").mkdir(mode=0o2750)
            (host.root / "jobqueued.yaml").write_text(f"operators: {grp.getgrgid(GROUP).gr_name}\n")
            host.write("work.yaml", JOBS)
            (host.root / "jobqueue.d" / "work.yaml").chmod(0o600)
            host.start("--trace", str(host.root / "trace"))
            run = host.run("work")
            assert ("succeeded", ["/bin/sh", "--password=***", "***"]) == _outcome(host.wait(run))
            host.write("bad.yaml", f"jobs: {{x: {{command: x, environment: PASSWORD={SECRET}, stdin: *{SECRET}}}}}")
            host.call("Reload")
            whole = host.call("Describe", job="work")["definition"]
            assert (SECRET, SECRET) == (whole["environment"]["PASSWORD"], whole["stdin"])
            assert whole == as_user(STRANGER, lambda: host.call("Describe", job="work")["definition"], GROUP)
            told = as_user(MEMBER, lambda: host.call("Describe", job="work"), GROUP)
            assert ({"PASSWORD": "***"}, "true ***") == (
                told["definition"]["environment"],
                told["definition"]["failover"],
            )
            answers = as_user(MEMBER, lambda: _everything(host, run), GROUP)
            assert SECRET not in json.dumps([told, answers, _everything(host, run)]) + host.log()
        finally:
            host.close()
        for path in set(host.root.rglob("*")) - set(host.root.glob("jobqueue.d/*")):
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_mode & 0o077:
                assert SECRET.encode() not in path.read_bytes(), path


def _outcome(record: dict[str, object]) -> tuple[object, list[object]]:
    command = record["command"]
    assert isinstance(command, list)
    return record["state"], [command[0], *command[3:]]


def _everything(host: Host, run: str) -> list[object]:
    asked = [("Status", {}), ("List", {}), ("Show", {"run": run}), ("History", {"job": "work"}), ("Usage", {})]
    return [host.call(method, **parameters) for method, parameters in asked]


@pytest.mark.parametrize(
    "text", [f"environment: {SECRET}", f'environment: {{A: "{SECRET}\\0"}}', f"environment: {{A: *{SECRET}}}",
             f"environment: {{A: !{SECRET} }}", f"environment: {{A: [{SECRET}]}}", f'stdin: "{SECRET}\\0"'],
)  # fmt: skip
def test_a_problem_quotes_no_secret(text: str) -> None:
    """Who reads the journal learns what is wrong with a value that may be a secret, and where, but not the value."""
    _jobs, problems = read_jobs(f"jobs:\n  a:\n    command: x\n    {text}\n".encode(), "a.yaml")
    assert (True, 4, []) == (bool(problems), problems[0].line, [p for p in problems if SECRET in p.message])


def test_words_are_hidden_in_commands() -> None:
    """Each of them, wherever it stands, the longer ones first."""
    job = Job(id="a", command="x --key=abc abcd", redact=("abc", "abcd"))
    assert "x --key=*** ***" == job.redacted(job.command)
    assert ("x", "***") == job.redacted(("x", "abcd"))
    assert "x" == Job(id="a", command="x").redacted("x")


def test_an_owner_sees_the_whole_definition() -> None:
    """Only what may be a secret is left out for others."""
    job = Job(id="a", command="x s", redact=("s",), environment=(("A", "s"),), stdin="s", failover=("x", "s"))
    whole, told = definition(job), definition(job, whole=False)
    assert {"command", "failover", "redact", "environment", "stdin"} == {
        key for key in whole if whole[key] != told[key]
    }


def test_where_a_job_tells_its_end_is_a_secret() -> None:
    """Whoever knows the URL of a check or of a webhook can write there; others see that there is one."""
    ping, hook = "https://hc.example.org/uuid", Webhook("https://hooks.example.org/T0")
    job = Job(id="a", command="x", ping=Ping(ping), notify=Notify(webhook=(hook,), apprise=("ntfy://topic",)))
    whole, told = definition(job), definition(job, whole=False)
    assert ({"url": ping, "output": True}, {"url": "***", "output": "***"}) == (whole["ping"], told["ping"])
    assert (["***"], ["***"]) == (told["notify"]["webhook"], told["notify"]["apprise"])
    assert {} == definition(Job(id="a", command="x"))["ping"]
