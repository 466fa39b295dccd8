"""No code reads a text that was written for people: programs compare codes, and texts may be reworded."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.support.house import files, tree

RULE = "child/contract/reasons"
"""The file that finds the code of a text without one."""
OF_OTHERS = {
    "jobfile/tree/yamlslips": "libyaml's messages, which have no codes",
    "child/slurm/calls": "messages of Slurm's commands",
    "child/slurm/ends": "a message of slurmstepd",
    "ctl/doctor/certificates": "the lines around a certificate",
    "ctl/fleet/fleet_views": "the prefix of click's errors, from the jobqueuectl of another host",
    "ctl/top/top_view": "a constant: the note of the screen is one of a few",
    "exchange/at_job": "the head that at(1) writes",
    "state/db/formats": "the head of SQLite's files",
    "state/db/opening": "SQLite's check, which has its error code only in a message",
}
"""File → the words that it has to read."""
SENTENCE = re.compile(r"[A-Za-z_]{2,}[:,;]? [A-Za-z]{2,}|[a-z]{2,}: $|[a-z]{2,} [a-z]{2,} ?$")
"""Two words, or one with a colon before what follows."""
METHODS = {
    "startswith", "endswith", "removeprefix", "removesuffix", "partition", "rpartition", "split", "rsplit", "index",
    "find", "rfind", "count", "compile", "search", "match", "fullmatch", "sub", "findall", "finditer",
}  # fmt: skip
"""Methods that look for a text in another one."""


def constants(source: ast.Module) -> dict[str, ast.expr]:
    """The values of a file's names that are assigned once, at its top."""
    return {
        target.id: node.value
        for node in source.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def sentences(node: ast.expr, known: dict[str, ast.expr]) -> Iterator[str]:
    """The texts of an expression that are written for people."""
    if isinstance(node, ast.Name) and node.id in known:
        yield from sentences(known[node.id], {})
    elif isinstance(node, ast.Tuple | ast.List | ast.Set):
        for item in node.elts:
            yield from sentences(item, known)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("frozenset", "set"):
        for item in node.args:
            yield from sentences(item, known)
    elif isinstance(node, ast.JoinedStr):
        for item in node.values:
            yield from sentences(item, known)
    elif isinstance(node, ast.Constant):
        text = node.value.decode(errors="replace") if isinstance(node.value, bytes) else node.value
        if isinstance(text, str) and SENTENCE.search(text):
            yield text


def read(source: ast.Module) -> Iterator[str]:
    """The texts for people that a file compares with others, or looks for in others."""
    known = constants(source)
    for node in ast.walk(source):
        looked_for: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            looked_for = [node.left, *node.comparators]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
            looked_for = node.args[:1]
        elif isinstance(node, ast.MatchValue):
            looked_for = [node.value]
        for each in looked_for:
            yield from sentences(each, known)


def test_no_code_reads_a_sentence() -> None:
    """A file compares codes; a text for people is neither compared nor searched.

    A file of the list reads sentences; otherwise it leaves the list.
    """
    found = {name: texts for name in files() if (texts := sorted(read(tree(name))))}
    excepted = {RULE, *OF_OTHERS}
    assert {} == {name: texts for name, texts in found.items() if name not in excepted}
    assert excepted <= found.keys()


@pytest.mark.parametrize(
    "code",
    [
        'if reason.startswith("stopped by "): pass', 'if "which is past" in str(error): pass',
        'PREFIX = "what is kept for "\nholder = text.removeprefix(PREFIX)', 'if text == "exit code 3": pass',
        'WORDS = ("paused", "replaced by")\nfound = text.startswith(WORDS)', 're.search(r"held by (\\w+)", text)',
        'WORDS = frozenset({"stopped by root"})\nfound = text in WORDS',
        'if any("differs: " in text for text in texts): pass',
        'match text:\n    case "is not there": pass', 'if text.endswith(f"; released by {user}"): pass',
    ],
)  # fmt: skip
def test_what_is_found(code: str) -> None:
    """The test finds each way in which code used to read its own sentences."""
    assert [*read(ast.parse(code))]
