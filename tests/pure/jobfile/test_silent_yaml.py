"""YAML that reads otherwise than people mean: refused, or told with line, column and remedy; never silent."""

from __future__ import annotations

import pytest
import yaml

from jobqueued.jobfile.reader import read_jobs
from jobqueued.jobfile.tree import yamltext
from jobqueued.model.job import Job

PARSERS = {"python": yaml.SafeLoader, "libyaml": getattr(yaml, "CSafeLoader", yaml.SafeLoader)}


@pytest.fixture(autouse=True, params=PARSERS.values(), ids=list(PARSERS))
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test holds with libyaml and with the pure parser."""
    monkeypatch.setattr(yamltext, "PARSER", request.param)


def read(text: str) -> tuple[tuple[Job, ...], list[str]]:
    """The jobs, and what is told: place, key, severity and message."""
    jobs, problems = read_jobs(text.encode(), "f")
    return jobs, [f"{it.line}:{it.column}:{it.key}:{it.severity}:{it.message}" for it in problems]


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\u0085", "\r"], ids=ascii)
def test_code_in_a_comment_never_runs(end: str) -> None:
    """A character that only some take for the end of a line is refused: so a comment ends where an editor shows it."""
    jobs, (told,) = read(f"jobs:\n  a: # harmless{end}    command: rm -r /\n    command: x\n")
    assert ((), "2:16::error:found ") == (jobs, told[:18])
    assert told.endswith("expected a line feed")
    assert ((), 1) == ((read(f"jobs: {{a: {{command: x}}}} #{end}")[0]), len(read(f"# {end}\njobs: 5")[1]))


def test_crlf_is_the_end_of_a_line() -> None:
    """Files from Windows are read as they look."""
    (job,), told = read("# é\r\njobs:\r\n  a:\r\n    command: x\r\n")
    assert ("x", []) == (job.command, told)


@pytest.mark.parametrize(
    ("value", "lost"),
    [("echo a #b", "#b"), ("grep é #42 x", "#42 x"), ("'echo #b'", ""), ("echo a # b", ""), ("echo a#b", ""),
     ("echo a #", ""), ("echo a #!b", ""), ("echo a ## b", ""), ("|\n      echo #b", ""), ("[echo, a] #b", "")],
)  # fmt: skip
def test_a_lost_word(value: str, lost: str) -> None:
    """A word with # behind a value is told as the comment that it is; a comment with a space is one that is meant."""
    jobs, told = read(f"jobs:\n  a:\n    command: {value}\n")
    column = len("    command: ") + value.partition("#")[0].__len__() + 1
    accepted = "quotes around the whole value, or a space after the # of a comment"
    rest = f"after the value, which YAML reads as a comment; expected {accepted}"
    assert ([f"3:{column}::warning:found {lost!r} {rest}"] if lost else []) == told
    assert jobs


def test_an_anchor_that_nobody_uses() -> None:
    """It is refused, as it takes a word away from the value; one that is used is not."""
    jobs, told = read("jobs:\n  a:\n    command: &backup /usr/bin/backup\n")
    hint = "quotes around a value that starts with &, or the value without &backup"
    assert ((), [f"3:14::error:found &backup, which no *backup uses; expected {hint}"]) == (jobs, told)
    assert [] == read("jobs:\n  a: {command: &c x}\n  b: {command: *c}\n")[1]
    assert "which no *c uses" in read("jobs:\n  a: {command: &c x}\n  b: {command: *c, stdin: &c y}\n")[1][0]


@pytest.mark.parametrize(
    ("value", "joined"),
    [
        (">\n      cd /srv\n      make\n", True), ("cd /srv\n      make\n", True), ('"cd /srv\n      make"\n', True),
        (">\n      a \\\n      b\n", True), (">-\n      rsync\n      --archive\n      -v\n", False),
        (">\n      a &&\n      b\n", False), ("a |\n      b\n", False), (">\n      a\n", False),
        ("|\n      cd /srv\n      make\n", False), ("a\n      | b\n", False),
    ],
)  # fmt: skip
def test_lines_that_become_one(value: str, joined: bool) -> None:
    """Commands on lines of their own that YAML makes one line are told; a line that goes on is meant so."""
    _, told = read(f"jobs:\n  a:\n    command: {value}")
    message = "found several lines, which the shell gets as one; expected | after the key, to keep line breaks"
    assert ([f"3:14:command:warning:{message}"] if joined else []) == told
    assert [] == read(f"jobs:\n  a:\n    command: x\n    description: {value}")[1]


@pytest.mark.parametrize(
    ("value", "escape"),
    [(r'"C:\temp"', r"\t"), (r'"grep \bx"', r"\b"), (r'"printf a\n"', r"\n"), (r'"say \"a\\b\" \/"', ""),
     (r"'C:\temp'", ""), (r'"\x41"', r"\x")],
)  # fmt: skip
def test_escapes_in_commands(value: str, escape: str) -> None:
    """An escape that the shell does not get as it is written is told; those for quotes and backslash are meant."""
    _, told = read(f"jobs:\n  a:\n    command: {value}\n")
    message = (
        f"found {escape} in double quotes, where YAML replaces it before the shell sees it; expected single "
        f"quotes, or | after the key"
    )
    assert ([f"3:14:command:warning:{message}"] if escape else []) == told


def test_keys_that_only_look_odd() -> None:
    """A key without a value, one with a colon in it, and one behind ? that has a value are what they are."""
    text = "jobs:\n  ? a\n  : command: x\n    metadata: {b: , 'c:d': 1, c, http://e: 2, \"f:g\"}\n"
    (job,), told = read(text)
    assert ({"b": None, "c:d": 1, "c": None, "http://e": 2, "f:g": None}, []) == (job.metadata, told)
    assert [] == read("jobs:\n  a:\n    command: what?\n  5: {command: x}\n")[1]


def test_metadata_keeps_what_was_written() -> None:
    """A number that JSON would write otherwise is a text; others are numbers."""
    written = {"1.10": "1.10", "0x1F": "0x1F", "+5": "+5", "1e3": "1e3", "1.5": 1.5, "-3": -3, "true": True, "1.0": 1.0}
    (job,), told = read(f"jobs: {{a: {{command: x, metadata: {{v: [{', '.join(written)}]}}}}}}")
    assert ({"v": list(written.values())}, []) == (job.metadata, told)
