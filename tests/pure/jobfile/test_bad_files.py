"""check: what it says to each mistake of a gallery of bad job files, word for word, and where it points.

The files are in ``tests/bad``, each named after its mistake; those named ``odd-*`` are accepted with a warning.  What
is said is in ``tests/bad/messages.txt``: the lines of ``jobqueuectl check FILE``, and below each the line of the file
with a ▶ before the place.  ``python -m tests.pure.jobfile.test_bad_files --rewrite`` writes it anew; its diff is there
to be read.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from jobqueued.base.problem import Problem
from jobqueued.base.text import counted, printable
from jobqueued.ctl.base.findings import FINDINGS
from jobqueued.ctl.base.problems import in_a_line
from jobqueued.ctl.main import main
from jobqueued.jobfile.keys.keys import FILE_KEYS, JOB_KEYS
from jobqueued.jobfile.tree.yamltext import MAX_BYTES, MAX_NODES
from jobqueued.jobfile.types.scalars import Key

BAD = Path(__file__).parents[2] / "bad"
MESSAGES = BAD / "messages.txt"
# Too large to be kept.
GENERATED = {
    "file-over-1-mib.yaml": b"jobs:\n" + b"# nothing but comments\n" * (MAX_BYTES // 20),
    "too-many-values.yaml": b"jobs:\n  backup:\n    command:\n" + b"      - x\n" * MAX_NODES,
    "unclosed-brackets-100-kb.yaml": b"[" * 100_000,
}
NAMES = sorted([*(file.name for file in BAD.glob("*.yaml")), *GENERATED])
# What YAML's parser takes for the end of a line.
LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
SHOWN = 90

# A message about a cron expression starts with the field.
FIELD = "((minute|hour|day of month|month|day of week|expression|seconds|dst): )?"
FOUND_AND_ACCEPTED = re.compile(f"{FIELD}found .+(; expected |; use |; write |: write |: remove the stray comma).*")
# Messages that do not say "found X; expected Y".  The list may only shrink.
OTHERWISE = re.compile(
    f"{FIELD}("
    "this is not YAML: .+"
    "|has no effect without `.+`"
    "|the step of `.+` is wider than its range, so only one value matches"
    "|is only a variable of the command, unlike in a crontab; .+"
    ")"
)


class Said(NamedTuple):
    """What `check FILE` says of one file: a line for each problem, the rest, the exit status; and the JSON of it."""

    lines: list[str]
    rest: list[str]
    code: int
    answer: dict[str, Any]

    @property
    def problems(self) -> list[Problem]:
        """The problems of the answer."""
        return [Problem(**problem) for problem in self.answer["problems"]]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """All bad files in one directory, which is the working directory: so messages have no path."""
    here = Path.cwd()
    yield furnished(tmp_path_factory.mktemp("bad"))
    os.chdir(here)


@pytest.fixture(scope="module")
def said(directory: Path) -> dict[str, Said]:
    """What is said of each file."""
    return {name: ask(directory, name) for name in NAMES}


@pytest.fixture(scope="module")
def expected() -> dict[str, str]:
    """What is to be said of each file, with the places."""
    return {block.partition(":")[0]: block for block in MESSAGES.read_text("utf-8").rstrip("\n").split("\n\n")}


def furnished(directory: Path) -> Path:
    """Put all files there, and go there."""
    for name in NAMES:
        if name in GENERATED:
            (directory / name).write_bytes(GENERATED[name])
        else:
            copy(BAD / name, directory)
    os.chdir(directory)
    return directory


def check(directory: Path, *arguments: str) -> tuple[int, str]:
    """The exit status of `jobqueuectl check` and what it wrote, on a host without jobqueued.yaml."""
    shown = CliRunner().invoke(main, ["--root", str(directory / "none"), "check", *arguments])
    assert shown.exception is None or isinstance(shown.exception, SystemExit), shown.exc_info
    return shown.exit_code, shown.stdout


def ask(directory: Path, name: str) -> Said:
    """Check one file, for people and for programs."""
    code, text = check(directory, name)
    code_of_json, document = check(directory, "--json", name)
    assert code == code_of_json
    answer = json.loads(document)
    lines, count = text.splitlines(), len(answer["problems"])
    return Said(lines[:count], lines[count:], code, answer)


def lines_of(name: str) -> list[str]:
    """A file's lines; bytes that are no UTF-8 become escapes."""
    data = GENERATED[name] if name in GENERATED else (BAD / name).read_bytes()
    return LINE_BREAK.split(data.decode(errors="backslashreplace"))


def placed(name: str, said: Said) -> str:
    """The lines of check, below each the place in the file."""
    source, blocks = lines_of(name), []
    for line, problem in zip(said.lines, said.problems, strict=True):
        blocks.append(line)
        if 0 < problem.line <= len(source):
            blocks.append(f"    {marked(source[problem.line - 1], max(problem.column, 1))}")
    return "\n".join(blocks)


def marked(line: str, column: int) -> str:
    """A line with a ▶ before a column, cut around it if it is long."""
    before, after = printable(line[: column - 1]), printable(line[column - 1 :])
    head = before if len(before) <= SHOWN else f"…{before[-SHOWN:]}"
    tail = after if len(after) <= SHOWN else f"{after[:SHOWN]}…"
    return f"{head}▶{tail}"


@pytest.mark.parametrize("name", NAMES)
def test_each_mistake_is_explained_as_expected(name: str, said: dict[str, Said], expected: dict[str, str]) -> None:
    """What is said to a mistake, and where, is what was reviewed."""
    assert expected.get(name) == placed(name, said[name])


def test_the_expectations_are_of_these_files(expected: dict[str, str]) -> None:
    """Each file has its messages, in the order of their names, and there are no others."""
    assert NAMES == list(expected)


def test_a_bad_file_gives_no_jobs(said: dict[str, Said]) -> None:
    """A bad file has an error and no jobs, which is exit status 1."""
    for name, answers in said.items():
        if not name.startswith("odd-"):
            counts = Counter(problem.severity for problem in answers.problems)
            found = ", ".join(counted(counts[it], it) for it in ("error", "warning", "note") if it in counts)
            told = f"0 jobs, {found}; 1 file refused with all jobs"
            assert (name, [told]) == (name, answers.rest)
            assert (name, 1, []) == (name, answers.code, answers.answer["jobs"])
            assert (name, True) == (name, any(problem.severity == "error" for problem in answers.problems))


def test_an_odd_file_gives_its_jobs(said: dict[str, Said]) -> None:
    """What is only odd is told as a warning; the jobs are accepted, and the exit status is 0 unless they can't run."""
    odd = {name: answers for name, answers in said.items() if name.startswith("odd-")}
    assert len(odd) > 2
    for name, answers in odd.items():
        code = int(any("will not run" in problem.message for problem in answers.problems))
        assert (name, code, True) == (name, answers.code, bool(answers.answer["jobs"]))
        assert (name, {"warning"}) == (name, {problem.severity for problem in answers.problems})


def test_json_says_what_the_lines_say(said: dict[str, Said]) -> None:
    """The problems in JSON are those of the lines, in the same order."""
    for answers in said.values():
        told = [in_a_line(found) for found in answers.problems]
        assert answers.lines == [printable(line) for line in told]


def test_a_directory_of_bad_files_is_answered_in_full(directory: Path, said: dict[str, Said]) -> None:
    """Of the whole directory the answer in JSON has exactly these keys, and the problems of each of its files."""
    code, document = check(directory, "--json", ".")
    answer = json.loads(document)
    assert (1, {"schema", "jobs", "problems", "refused"}) == (code, set(answer))
    assert {("id", "line", "next")} == {tuple(job) for job in answer["jobs"]}
    keys = ("file", "line", "column", "key", "message", "severity", "job", "code")
    assert {keys} == {tuple(found) for found in answer["problems"]}
    types = {tuple(type(value) for value in found.values()) for found in answer["problems"]}
    assert {(str, int, int, str, str, str, str, str)} == types
    assert {"error", "warning"} == {found["severity"] for found in answer["problems"]}
    found = [problem for name in NAMES for problem in said[name].answer["problems"]]
    assert sorted(found, key=lambda problem: "will not run" in problem["message"]) == answer["problems"], (
        "the host's come last"
    )
    assert [job["id"] for name in NAMES for job in said[name].answer["jobs"]] == [job["id"] for job in answer["jobs"]]


def test_each_problem_has_a_place_in_its_file(said: dict[str, Said]) -> None:
    """A problem names a line of the file and a column of that line (0: the whole line), or no place at all (0, 0)."""
    beyond = []
    for name, answers in said.items():
        source = lines_of(name)
        for problem in answers.problems:
            inside = 0 < problem.line <= len(source) and 0 <= problem.column <= len(source[problem.line - 1]) + 1
            if not inside and problem[1:3] != (0, 0):
                beyond.append(name)
            assert name == problem.file
    assert [] == beyond


def test_each_problem_has_a_code_of_its_severity(said: dict[str, Said]) -> None:
    """The code is one of the table, which says whether it is an error or a warning."""
    for answers in said.values():
        for problem in answers.problems:
            assert (str(problem), FINDINGS[problem.code].severity) == (str(problem), problem.severity)


def test_each_problem_says_what_was_found_and_what_is_accepted(said: dict[str, Said]) -> None:
    """A message is "found X; expected Y" (or what to use or write), but for a closed list of other forms."""
    for answers in said.values():
        for problem in answers.problems:
            forms = (FOUND_AND_ACCEPTED, OTHERWISE)
            assert any(form.fullmatch(problem.message) for form in forms), str(problem)
            assert problem.message == printable(problem.message)


def names_within(keys: dict[str, Key], place: str = "") -> Iterator[str]:
    """The places of all keys of a table, those of their sections too if they have an effect: ``locks.mode``."""
    for name, key in keys.items():
        yield place + name
        if not key.planned:
            yield from names_within(key.type.keys, f"{place}{name}.")


def test_each_key_is_met_with_a_wrong_value(said: dict[str, Said]) -> None:
    """Every key that a job file may have is met with a wrong value, or as one that has no effect yet."""
    problems = [problem for answers in said.values() for problem in answers.problems if "found " in problem.message]
    met = {re.sub(r"\[[0-9]+\]", "", problem.key) for problem in problems}
    assert [] == sorted({*names_within(JOB_KEYS), *FILE_KEYS} - met)


def rewrite() -> None:
    """Expect what is said now."""
    with TemporaryDirectory() as directory:
        furnished(Path(directory))
        blocks = [placed(name, ask(Path(directory), name)) for name in NAMES]
        os.chdir("/")
    MESSAGES.write_text("\n\n".join(blocks) + "\n", "utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["--rewrite"]:
        sys.exit("usage: python -m tests.pure.jobfile.test_bad_files --rewrite")
    rewrite()
