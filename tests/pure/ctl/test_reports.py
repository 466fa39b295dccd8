"""Reports: SARIF and GitHub's commands are what they should be, whatever is in a file and in its name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.base.problem import Problem
from jobqueued.ctl.base.findings import FINDINGS
from jobqueued.ctl.files.reports import github, sarif
from jobqueued.ctl.main import main
from tests.support import REPO

HOSTILE = "a:b,c%\n::error file=x::owned\x1b[2J\udcff \u202e"
ANYTHING = st.text(st.characters(), max_size=30)
PROBLEMS = st.builds(
    Problem, ANYTHING.filter(lambda name: not re.search("[\ud800-\udfff\0]", name)), st.integers(0, 9),
    st.integers(0, 9), ANYTHING, ANYTHING, st.sampled_from(["error", "warning", "note"]), ANYTHING,
    st.sampled_from(sorted(FINDINGS)),
)  # fmt: skip


def undone(text: str) -> str:
    """A text that GitHub's runner has decoded."""
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, character)
    return text


def check(directory: Path, *words: str) -> Result:
    """What check says of a file with an unknown key and a warning, on a host without settings."""
    (directory / "a b.yaml").write_text("jobs: {a: {command: [echo, '|', wc]}, b: {comand: 'true'}}\n")
    return CliRunner().invoke(main, ["--root", str(directory / "none"), "check", *words])


def test_sarif_has_the_results_and_their_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each result is of a rule, at its line and column; the exit status is that of check."""
    monkeypatch.chdir(tmp_path)
    result = check(tmp_path, "--format", "sarif", "a b.yaml")
    log = json.loads(result.stdout)
    (run,) = log["runs"]
    (found,) = run["results"]
    assert (1, "2.1.0", "unicodeCodePoints") == (result.exit_code, log["version"], run["columnKind"])
    assert list(FINDINGS) == [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert ("JQ201", "error") == (found["ruleId"], found["level"])
    assert "JQ201" == run["tool"]["driver"]["rules"][found["ruleIndex"]]["id"]
    assert "b: comand: found an unknown key; expected 'command'" == found["message"]["text"]
    place = found["locations"][0]["physicalLocation"]
    assert {"artifactLocation": {"uri": "a%20b.yaml"}, "region": {"startLine": 1, "startColumn": 43}} == place


@given(st.lists(PROBLEMS, max_size=3))
def test_sarif_keeps_its_structure(problems: list[Problem]) -> None:
    """Whatever is in a problem: it is JSON without halves of characters, and the URI names the file."""
    log = json.loads(json.dumps(sarif(problems)))
    assert json.dumps(log, ensure_ascii=False).encode()
    results = log["runs"][0]["results"]
    assert len(problems) == len(results)
    for problem, result in zip(problems, results, strict=True):
        place = result["locations"][0]["physicalLocation"]
        uri = place["artifactLocation"]["uri"]
        assert re.fullmatch(r"(file://)?[A-Za-z0-9._~/%-]*", uri)
        assert problem.file.encode() == unquote_to_bytes(uri.removeprefix("file://"))
        assert (problem.line > 0) == ("region" in place)
        assert {"error", "warning", "note"} >= {result["level"]}


@given(PROBLEMS)
def test_a_command_of_github_is_one_line(problem: Problem) -> None:
    """With the properties that it has and no others, and nothing that a terminal obeys."""
    (line,) = github([problem])
    found = re.fullmatch(r"::(error|warning|notice) ([^:]*)::(.*)", line)
    assert found is not None
    names = [pair.partition("=")[0] for pair in found[2].split(",")]
    assert names == [
        name for name, there in zip(("file", "line", "col", "title"), (*problem[:3], 1), strict=True) if there
    ]
    assert line.isprintable()


def test_a_hostile_name_stays_a_name() -> None:
    """Colons, commas, per cent signs and line ends of a name are not taken for a part of the command."""
    (line,) = github([Problem(HOSTILE, 1, 2, "k", "100% of\nit", code="JQ202")])
    assert line == (
        "::error file=a%3Ab%2Cc%25%0A%3A%3Aerror file=x%3A%3Aowned\\x1b[2J\\udcff \\u202e,line=1,col=2,title=JQ202"
        "::k: 100%25 of%0Ait"
    )
    assert "k: 100% of\nit" == undone(line.rpartition("::")[2])
    (result,) = sarif([Problem(HOSTILE, 0, 0, "", "x", code="JQ202")])["runs"][0]["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert "a%3Ab%2Cc%25%0A%3A%3Aerror%20file%3Dx%3A%3Aowned%1B%5B2J%FF%20%E2%80%AE" == uri


def test_github_annotates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for each problem, and nothing else."""
    monkeypatch.chdir(tmp_path)
    result = check(tmp_path, "--format", "github", "a b.yaml")
    expected = "::error file=a b.yaml,line=1,col=43,title=JQ201::b: comand: found an unknown key; expected 'command'\n"
    assert (1, expected) == (result.exit_code, result.stdout)


def test_forms_exclude_each_other(tmp_path: Path) -> None:
    """--json is --format json, and nothing beside another form."""
    assert check(tmp_path, "--json").stdout == check(tmp_path, "--format", "json").stdout
    assert 2 == check(tmp_path, "--json", "--format", "sarif").exit_code


def test_the_hook_is_a_command(tmp_path: Path) -> None:
    """What pre-commit starts, with the files that a commit changes, finds what is wrong with them, and nothing else."""
    (hook,) = yaml.safe_load((REPO / ".pre-commit-hooks.yaml").read_text())
    program, *words = hook["entry"].split()
    assert ("jobqueuectl", "python", ["yaml"]) == (program, hook["language"], hook["types"])
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("jobs: {a: {command: 'true', every: 1h}}\n")
    bad.write_text("jobs: {b: {comand: 'true'}}\n")
    assert [0, 1, 1] == [
        CliRunner().invoke(main, [*words, *map(str, files)]).exit_code for files in ([good], [bad], [good, bad])
    ]
