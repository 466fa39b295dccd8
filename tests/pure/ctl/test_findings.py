"""The findings: each that can be made has its entry, and each example of an entry yields it."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from jobqueued.base.problem import Problem
from jobqueued.ctl.base import completion
from jobqueued.ctl.base.findings import FINDINGS, GROUPS, SEVERITIES, FindingKind
from jobqueued.ctl.main import main
from tests.support.house import files, tree

CODE = re.compile("JQ[0-9]{3}")
SHOWN = [finding for finding in FINDINGS.values() if finding.right]
ENTRY = "jobs:\n  backup:\n    command: 'true'\n"

TOLD_ELSEWHERE = {
    "JQ112": "the daemon, of a file that it knew", "JQ308": "test_rhythms", "JQ405": "test_rhythms",
    "JQ404": "test_check: of a file beside those of the daemon",
    "JQ500": "the daemon, to users",
    "JQ501": "test_check: a file is not there", "JQ504": "test_check: a link to /dev/null",
    "JQ506": "test_oddities: a daemon of a user", "JQ512": "test_check: a host without controllers",
    "JQ513": "test_oddities: of the host's own instance", "JQ514": "test_receivers", "JQ517": "test_receivers",
    "JQ518": "the daemon", "JQ519": "the daemon", "JQ520": "test_receivers",
    "JQ605": "test_check_tables: an /etc/anacrontab",
    "JQ607": "import", "JQ608": "import", "JQ609": "import",
}  # fmt: skip
"""Findings that no file alone shows.  The list may only shrink."""


def codes(name: str) -> set[str]:
    """The codes in the texts of a file of the package."""
    texts = (node.value for node in ast.walk(tree(name)) if isinstance(node, ast.Constant))
    return {text for text in texts if isinstance(text, str) and CODE.fullmatch(text)}


def test_each_code_of_the_package_has_an_entry_and_each_entry_is_told() -> None:
    """There is no code without an explanation, and none explained that nobody gives."""
    assert FINDINGS.keys() == {code for name in files() if name != "ctl/base/findings" for code in codes(name)}


def test_each_problem_is_made_with_a_code() -> None:
    """Wherever a Problem is made, it gets a code: by name, or as its last field."""
    nameless = []
    for name in files():
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Problem":
                given = {keyword.arg for keyword in node.keywords}
                if not (given & {"code", None} or len(node.args) == len(Problem._fields)):
                    nameless.append((name, node.lineno))
    assert [] == nameless


def test_each_problem_has_the_severity_of_its_code() -> None:
    """Where both are written in one place."""
    for name in files():
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Problem", "_about", "self._tell"):
                texts = {
                    it.value for it in ast.walk(node) if isinstance(it, ast.Constant) and isinstance(it.value, str)
                }
                severities, given = texts & SEVERITIES.keys(), texts & FINDINGS.keys()
                known = {FINDINGS[code].severity for code in given}
                severities = severities or {"warning" if name == "ctl/files/rhythms" else "error"}
                assert (name, node.lineno, known <= severities) == (name, node.lineno, True)


def test_the_table_is_in_order() -> None:
    """Codes ascend, are of a group, and each has a name, an explanation and a severity that there is."""
    assert sorted(FINDINGS) == list(FINDINGS)
    for finding in FINDINGS.values():
        assert CODE.fullmatch(finding.code)
        assert finding.code[:3] in GROUPS
        assert finding.severity in SEVERITIES
        assert finding.title[0].islower()
        assert finding.text.endswith(".")
    assert TOLD_ELSEWHERE.keys() == FINDINGS.keys() - {finding.code for finding in SHOWN}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with the files of `given` circumstances, as the working directory."""
    for directory in ("jobqueue.d", "etc/cron.d", "files/backup.yaml.d", "bin", "usr/local/lib"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "jobqueued.yaml").write_text("notifier: root\nfleet: {etcd: http://127.0.0.1}\n")
    monkeypatch.chdir(tmp_path / "files")
    return tmp_path


def check(host: Path, *words: str) -> Result:
    """What `jobqueuectl check` says on that host."""
    result = CliRunner().invoke(main, ["--root", str(host), "check", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def found(host: Path, finding: FindingKind, text: str, *, right: bool) -> list[tuple[str, str]]:
    """The codes and severities of the findings of an example."""
    program = host / "bin/backup"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = text.replace("/usr/local/bin/backup", str(program))
    name = RENAMED.get(finding.code, finding.file) if right else finding.file
    path = host / name.removeprefix("/") if "/" in name and not name.startswith("backup.yaml.d") else Path(name)
    if finding.given.startswith("backup.yaml has"):
        Path("backup.yaml").write_text(ENTRY)
    path.write_bytes(text.encode())
    if finding.code in GIVEN:
        GIVEN[finding.code](path, right)
    asked = [str(path) if name.startswith("backup.yaml") else str(path.parent)] * (path.name != "jobqueued.yaml")
    problems = json.loads(check(host, "--json", *asked).output)["problems"]
    also = set() if os.geteuid() == 0 else _OF_USERS - {finding.code}
    return [(problem["code"], problem["severity"]) for problem in problems if problem["code"] not in also]


_OF_USERS = {"JQ506", "JQ508"}
"""Those that files have which belong to an ordinary user, as these do."""


RENAMED = {"JQ503": "jobqueue.d/backup.yaml"}
GIVEN: dict[str, Callable[[Path, bool], None]] = {
    "JQ502": lambda path, right: path.chmod(0o644 if right else 0o666),
    "JQ508": lambda path, right: (path.absolute().parents[1] / "bin/backup").chmod(0o755 if right else 0o757),
    "JQ521": lambda path, right: path.parent.chmod(0o755 if right else 0o777),
}


@pytest.mark.parametrize("finding", SHOWN, ids=lambda finding: finding.code)
def test_the_wrong_example_yields_its_finding(host: Path, finding: FindingKind) -> None:
    """With its severity, and no other code."""
    assert {(finding.code, finding.severity)} == set(found(host, finding, finding.wrong, right=False))


@pytest.mark.parametrize("finding", SHOWN, ids=lambda finding: finding.code)
def test_the_right_example_yields_nothing(host: Path, finding: FindingKind) -> None:
    """Neither this finding nor another."""
    assert [] == found(host, finding, finding.right, right=True)


@pytest.mark.parametrize("word", ["JQ204", "jq204", "204"])
def test_a_code_is_explained(host: Path, word: str) -> None:
    """With its severity, its name, and both examples; the case does not matter."""
    shown = check(host, "--explain", word).output
    assert shown.startswith("JQ204 (warning): shell syntax in a list\n")
    assert "\nWrong:\n    jobs:\n" in shown
    assert "\nRight:\n    jobs:\n" in shown


def test_all_codes_are_listed(host: Path) -> None:
    """A line for each."""
    assert list(FINDINGS) == [line.split()[0] for line in check(host, "--explain", "all").output.splitlines()]


def test_an_unknown_code_is_wrong_usage(host: Path) -> None:
    """And the answer says where all of them are; no character of it harms a terminal."""
    result = check(host, "--explain", "JQ\x1b[2J")
    assert (2, True, False) == (result.exit_code, "--explain all" in result.output, "\x1b" in result.output)


def test_codes_are_completed() -> None:
    """Those that begin so, with their names; in small letters, too."""
    found = completion.codes(click.Context(main), click.Option(["--explain"]), "jq20")
    assert {code: finding.title for code, finding in FINDINGS.items() if code.startswith("JQ20")} == {
        item.value: item.help for item in found
    }


def test_the_code_stands_at_the_end_of_a_line(host: Path) -> None:
    """Behind the severity, in brackets."""
    Path("backup.yaml").write_text("jobs: {backup: {command: [echo, a, '|', wc]}}\n")
    assert check(host, "backup.yaml").output.splitlines()[0].endswith(" (warning) [JQ204]")
