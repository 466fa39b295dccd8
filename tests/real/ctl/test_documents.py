"""The documents of --json: each is as it is declared, has all that is declared, and nothing else."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from jobqueued.audit.comparison import DueFinding, JobComparison
from jobqueued.ctl.base.documents import DOCUMENTS, documents_schema
from jobqueued.ctl.base.terminal import JSON_SCHEMA
from jobqueued.ctl.main import main
from jobqueued.ctl.past import audit
from jobqueued.ctl.simulate import simulated
from jobqueued.foresight.suggestions import Cost, SuggestedChange, Suggestion
from tests.support.client import run
from tests.support.host import Host, wait_for
from tests.support.timelines import a_day
from tests.support.users import ME, ROOT, USER

SCHEMA = documents_schema()
JOBS = """\
jobs:
  good: {command: 'sleep 0.2; echo out', schedule: '0 3 * * *', tags: [t]}
  bad: {command: 'exit 3', retries: 1, retry_delay: 1s}
  holder: {command: 'echo begin; read line < gate', working_directory: '%s', locks: [l]}
  waiter: {command: 'true', locks: [l], every: 2m, start_deadline: 1m, user: %s}
  tick: {command: 'true', every: 1s}
"""
OF_ROOT = {"add", "files", "files FILE"}
"""Users have files of their own where the daemon is root's."""
ACTS = {
    "drain", "edit", "emit", "forget", "hold", "pause", "release", "reload", "remove", "rerun", "restart-launcher",
    "resize", "resume", "retry", "run", "skip-next", "stop", "with-lock", "withdraw",
}  # fmt: skip
"""The commands that do something, and tell a program all of it by their exit status, and by an id."""
OTHER_FORMS = {"export": "OTLP, Trace Events, or a crontab", "language-server": "JSON-RPC"}
"""Those whose documents have the form that others ask for."""
RARE = {"watch.missed", "watch.see", "simulate.unread"}
"""Fields that this host's commands have no occasion to fill."""


class Printed(dict[str, list[Any]]):
    """The documents by what has printed them."""

    def __init__(self, host: Host) -> None:
        super().__init__({name: [] for name in DOCUMENTS})
        self._host = host

    def ask(self, name: str, command: str, *words: str | Path) -> None:
        """Call a command with --json; it may print several."""
        done = run("--root", self._host.root, "--json", command, *words)
        assert done.stdout, (words, done.stderr)
        text = done.stdout
        while text:
            document, end = json.JSONDecoder().raw_decode(text)
            self[name].append(document)
            text = text[end:].lstrip()


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Printed]:
    """All documents, of a host on which something runs, waits, has failed and is refused."""
    host = Host(tmp_path_factory.mktemp("documents") / "host")
    try:
        yield _printed(host)
    finally:
        host.close()


def _printed(host: Host) -> Printed:
    found = Printed(host)
    os.mkfifo(host.root / "gate")
    host.write("jobs.yaml", JOBS % (host.root, ME.pw_name))
    host.write("wrong.yaml", "jobs: {x: {comand: y}}")
    (host.root / "jobqueued.yaml").write_text(f"notify: {{command: /nonexistent}}\nnotifier: {ME.pw_name}\n")
    host.start()
    for _ in range(9):
        host.wait(host.run("good"))
    host.wait(host.run("bad"))
    host.run("holder")
    wait_for(lambda: host.call("Status")["running"])
    host.run("waiter")
    wait_for(lambda: host.call("Status")["waiting"])
    _ask_of_now(found, host)
    _ask_of_past(found, host)
    host.stop()
    found.ask("status (down)", "status")
    (host.root / "gate").write_text("go\n")
    return found


def _ask_of_now(found: Printed, host: Host) -> None:
    found.ask("status", "status")
    found.ask("list", "list")
    found.ask("show JOB", "show", "good")
    found.ask("show RUN", "show", "good@1")
    found.ask("show RUN", "show", "holder@1")
    found.ask("show --origin JOB", "show", "--origin", "good")
    found.ask("top", "top", "--once")
    found.ask("why", "why", "waiter")
    found.ask("why", "why", "holder")
    found.ask("why", "why", "--expect", "waiter")
    found.ask("why --at", "why", "bad@1", "--at", "1s")
    found.ask("locks", "locks")
    found.ask("fleet hosts", "fleet", "hosts")
    found.ask("next", "next")
    found.ask("next", "next", "--expect")
    found.ask("next JOB", "next", "good")
    found.ask("next JOB", "next", "--expect", "good")
    found.ask("next -e", "next", "-e", "0 3 * * *")
    for words in (
        ["list"],
        ["locks"],
        ["status"],
        ["top"],
        ["why", "waiter"],
        ["next"],
        ["history"],
        ["logs", "good@1"],
        ["timeline"],
    ):
        found.ask(f"--fleet {words[0]}", "--host", os.uname().nodename, *words)
    found.ask("--fleet next", "--host", os.uname().nodename, "next", "--expect")
    found.ask("--fleet why --at", "--host", os.uname().nodename, "why", "bad@1", "--at", "1s")
    found.ask("notify", "notify")
    found.ask("notify --test", "notify", "--test")
    found.ask("metrics", "metrics")
    found.ask("doctor", "doctor")
    found.ask("watch", "watch", "-n", "3", "tick")
    found.ask("submit", "submit", "true")
    found.ask("submit", "submit", "--at", "tomorrow", "true")
    if ROOT:
        (host.root / "mine.yaml").write_text("jobs: {m: {command: 'true', schedule: '0 3 * * *'}}")
        found.ask("add", "add", "--user", USER, host.root / "mine.yaml")
        found.ask("files", "files")
        found.ask("files FILE", "files", "--user", USER, "mine")


def _ask_of_past(found: Printed, host: Host) -> None:
    found.ask("history", "history")
    found.ask("history --stats", "history", "--stats")
    found.ask("history --diff", "history", "--diff", "good@1", "bad@1")
    found.ask("report", "report", "--since", "1h")
    (host.root / "day").write_text("".join(f"{json.dumps(record)}\n" for record in a_day()))
    found.ask("timeline", "timeline")
    found.ask("timeline", "timeline", "--from", host.root / "day")
    (host.root / "days").write_text(json.dumps({"runs": a_day(), "hosts": {}}))
    found.ask("timeline", "timeline", "--from", host.root / "days")
    found.ask("audit", "audit")
    hole = JobComparison("good", 0, "", 1, [DueFinding("hole", 1, 1, 1, (1,), "cause")])
    found["audit"].append({"schema": JSON_SCHEMA, **audit._document([hole], 2, True, [])})
    found.ask("logs", "logs", "good@1")
    found.ask("cat", "cat", "jobs.yaml")
    (host.root / "table").write_text("SHELL=/bin/sh\n0 3 * * * true\n@reboot true\n")
    assert run("--root", host.root, "crontab", host.root / "table").returncode == 0
    found.ask("crontab -l", "crontab", "-l")
    found.ask("check", "check", host.root / "jobqueue.d")
    found.ask("check --explain", "check", "--explain", "JQ201")
    (host.root / "table").write_text("0 3 * * * true\n")
    found.ask("import", "import", "--kind", "user", host.root / "table")
    (host.root / "jobqueue.d" / "wrong.yaml").unlink()
    played = ("--for", "1h", "--draws", "1", "--duration", "tick=3s")
    found.ask("simulate", "simulate", *played, "--with", host.root / "jobqueue.d", "--suggest")
    spread = Suggestion(SuggestedChange(("waiter",), "spread: 5m", lambda host: host), Cost(0.5, 2), Cost(0, 1))
    found["simulate"].append({**found["simulate"][0], "suggestions": [simulated._advice(spread)]})
    run("--root", host.root, "simulate", *played, "--save", host.root / "kept")
    check = ("--root", host.root, "--json", "simulate", "--check", host.root / "kept")
    wait_for(lambda: json.loads(run(*check).stdout)["jobs"], why="a start that was foreseen")
    found.ask("simulate --check", "simulate", "--check", host.root / "kept")


def closed(schema: Any) -> Any:
    """The schema that takes nothing which it does not name; what is published takes fields of later versions."""
    if isinstance(schema, list):
        return list(map(closed, schema))
    if not isinstance(schema, dict):
        return schema
    more = {"additionalProperties": False} if "properties" in schema else {}
    return {name: closed(it) for name, it in schema.items()} | more


CLOSED = closed(SCHEMA)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_as_declared(printed: Printed, name: str) -> None:
    """It has its version, and each field with its type; none is missing from the declaration."""
    if name in OF_ROOT and not ROOT:
        pytest.skip("needs root")
    assert printed[name]
    validator = Draft7Validator({**CLOSED["definitions"][name], "definitions": CLOSED["definitions"]})
    for document in printed[name]:
        errors = [f"{'.'.join(map(str, it.absolute_path))}: {it.message}" for it in validator.iter_errors(document)]
        assert [] == errors
        assert JSON_SCHEMA == document["schema"]


def fields(schema: dict[str, Any], where: str) -> set[str]:
    """The fields that a document declares itself, by their paths."""
    found = {f"{where}.{name}" for name in schema.get("properties", ())}
    for name, inner in schema.get("properties", {}).items():
        found |= fields(inner, f"{where}.{name}")
    for inner in schema.get("anyOf", ()):
        found |= fields(inner, where)
    if isinstance(schema.get("items"), dict):
        found |= fields(schema["items"], f"{where}.[]")
    return found


def filled(value: Any, where: str) -> set[str]:
    """The fields that have a value, by their paths."""
    found = set[str]()
    if isinstance(value, dict):
        for name, inner in value.items():
            if inner is not None:
                found |= {f"{where}.{name}"} | filled(inner, f"{where}.{name}")
    elif isinstance(value, list):
        for inner in value:
            found |= filled(inner, f"{where}.[]")
    return found


OWN = [name for name, text in DOCUMENTS.items() if re.match(r"\((?!\.)", text) and not name.startswith("--fleet")]
"""Those that declare fields; of several hosts they are the fields of one."""


@pytest.mark.parametrize("name", OWN)
def test_all_that_is_declared_is_printed(printed: Printed, name: str) -> None:
    """No field is declared that no command fills."""
    if name in OF_ROOT and not ROOT:
        pytest.skip("needs root")
    told = set[str]().union(*(filled(document, name) for document in printed[name]))
    assert set() == fields(SCHEMA["definitions"][name], name) - told - RARE


def test_each_command_with_json_is_declared() -> None:
    """Whatever command has the option has its document, and no other has one; each that reads has it."""
    having = {name for name in main.commands if any(it.name == "as_json" for it in main.commands[name].params)}
    assert having == {name.removeprefix("--fleet ").split()[0] for name in DOCUMENTS}
    assert set(main.commands) - having == ACTS | OTHER_FORMS.keys()


def test_the_schema_is_one() -> None:
    """It is valid JSON Schema itself."""
    Draft7Validator.check_schema(SCHEMA)
