"""What the papers show apart from their sentences: blocks, and in them commands with what they print."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobqueued.ctl.main import main
from tests.support import REPO

_LITERAL = re.compile(r"^\.Bd -literal.*?\n(.*?)^\.Ed$", re.S | re.M)
FENCED = re.compile(r"^```\S*\n(.*?)^```$", re.S | re.M)
_BLOCK = re.compile(rf"{FENCED.pattern}|(?<=\n\n)((?: {{4}}[^\n]*\n|\n(?= {{4}}))+)", re.S | re.M)

_DURATION = r"\d[\d.,]* (?:µs|ms|s|min|h|d)\b"
_VARIES = {
    r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b": "DAY",
    r"\b\d{4}-\d\d-\d\d\b": "DATE",
    r"\b\d\d:\d\d(?::\d\d)?\b": "TIME",
    rf"{_DURATION}(?: {_DURATION})*": "DURATION",
    r"\b\d[\d.]* (?:[KMGT]i)?B\b": "SIZE",
    r"\bjobqueued \d[\d.]*\d on \S+(?=, pid)": "VERSION on HOST",
    r"\bpid \d+\b": "PID",
    r"\b\d[\d.]* %": "PERCENT",
}
"""What one time differs from the other, and the word in its place."""

PAPERS = sorted([*REPO.glob("*.md"), *REPO.glob("docs/**/*.md"), *REPO.glob("man/*.[1-9]")], key=str)

OF_OTHERS = (
    "apt|bench|cat|cd|chmod|cron(?= -)|crontab|curl|env|exec|export|flock|fuser|generate-jobs|git|hostname|install"
    "|journalctl|jq|kill|ln|logger|loginctl|make|man|mkdir|mv|pgrep|pipx|podman|promtool|psql|python3?|reportbug|rm|sed|sh|ssh|sudo"
    "|sudoedit|systemctl|systemd-run|systemd-sysusers|tee|test|truncate|varlinkctl"
)
OF_OURS = rf"jobqueuectl|jobqueue\S*(?= -)|(?:{'|'.join(main.commands)})(?= .*-)"
TYPED = re.compile(rf"(?:{OF_OTHERS}|{OF_OURS}|\S*/\S+|\w+=\S*|…? ?-\S+)(?: |$)")
"""What is typed, and not said: a program, a path, a variable that is set, an option, a command with options."""


VALUE = "\0"
"""What a text of the program has in the place of a value."""


def blocks(text: str) -> Iterator[str]:
    """The blocks of a paper: fenced, indented, or a literal display of a man page."""
    if "\n.Dt " in text:
        yield from (typed(block) for block in _LITERAL.findall(text))
        return
    for fenced, indented in _BLOCK.findall(text):
        yield fenced or re.sub("^ {4}", "", indented, flags=re.M)


def typed(shown: str) -> str:
    """What a man page shows, as it is typed."""
    letters = {"-": "-", "(dq": '"', "(aq": "'", "(ha": "^", "(ti": "~", "(ga": "`", "&": "", "e": "\\"}
    for roff, letter in letters.items():
        shown = shown.replace(f"\\{roff}", letter)
    return shown


def spans(text: str) -> list[str]:
    """What a paper shows within its sentences: of a man page what is code there, and diagnostics."""
    if "\n.Dt " in text:
        found = re.findall(
            r'^\.(?:It (?=")|(?:It |Pf \( )?(?:Cm|Ic|Ql) )"?(.*?)"?(?: [.,;:)]| (?:Ns|No|Pa) .*)*$', text, re.M
        )
        parts = (part for span in found for part in re.split(r"(?: [.,;:])? (?:Cm|Ic) ", span))
        return [re.sub(r" Ar (\w+)", lambda name: f" {name[1].upper()}", typed(part)) for part in parts]
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", FENCED.sub("", text))]


def dialogue(block: str) -> list[tuple[str, str]]:
    """The commands of a block, each with what the paper says that it prints.

    A command is a line behind ``$ ``; in a block that has none, each line is one of whose output nothing is said.
    """
    if not re.search(r"^\$ ", block, re.M):
        return [(line, "") for line in block.splitlines() if line]
    turns = (part.partition("\n") for part in re.split(r"^\$ ", block, flags=re.M)[1:])
    return [(command, printed) for command, _, printed in turns]


def lasting(printed: str) -> list[str]:
    """The lines of what is printed without what is otherwise each time: instants, durations, sizes, widths."""
    for pattern, word in _VARIES.items():
        printed = re.sub(pattern, word, printed)
    return [" ".join(line.split()) for line in printed.splitlines() if line.strip()]


def fields(text: str) -> list[list[str]]:
    """Of each table of a paper that has fields, their names."""
    tables = re.findall(r"^\| field.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.M)
    return [[name for row in table.splitlines() for name in row.split("|")[1].strip().split(", ")] for table in tables]


def job_files(path: Path) -> list[tuple[str, ...]]:
    """Every job file in a paper, each drop-in after the job file that it changes.

    Daemons read the files that a script writes (`# on each`).
    """
    found = [
        block
        for block in blocks(path.read_text())
        if re.search(r"^jobs:(?:$| \{)", block, re.M) and not re.search(r"^(?:from|import|# on|\$) ", block, re.M)
    ]
    return [(found[0], block) if re.match(r"# \S+\.d/", block) else (block,) for block in found]


def other_yaml(path: Path) -> list[str]:
    """Every YAML in a page of ours that is no job file."""
    begins = re.compile(r"(?:#.*\n|\n)*(?:- )?\w+:(?:\s|$)")
    found = blocks(path.read_text()) if path.suffix == ".md" else ()
    return [block for block in found if begins.match(block) and not re.search("^(?:jobs|defaults):", block, re.M)]


def programs(path: Path) -> list[str]:
    """Every program in a paper; that of varlink.md needs a daemon: test_calls.py has it."""
    if path.name == "varlink.md":
        return []
    return re.findall(r"^```python\n(.*?)^```$", path.read_text(), re.S | re.M)


def each(what: object) -> pytest.MarkDecorator:
    """A test for everything of a kind in all papers."""
    rows = [pytest.param(item, id=f"{path.name}: {item}"[:90]) for path in PAPERS for item in what(path)]  # type: ignore[operator]
    return pytest.mark.parametrize("shown", rows)


@functools.cache
def texts() -> list[str]:
    """All texts of the program, each in one line, without its docstrings."""
    docstrings = {node.value for node in _nodes() if isinstance(node, ast.Expr)}
    found = (_text(node) for node in _nodes() if node not in docstrings)
    return sorted({" ".join(text.split()) for text in found})


@functools.cache
def words() -> set[str]:
    """All words of these texts and of documents, the names in the code, and those of files and tests."""
    documents = (REPO / "jobqueued/documents.schema.json").read_text()
    files = [*REPO.glob("bench/*.py"), *REPO.glob("jobqueued/**/*.py"), *REPO.glob("tests/**/*.py")]
    tests = {name for path in files for name in re.findall(r"^ *def (test_\w+)", path.read_text(), re.M)}
    named = {name for node in _nodes() for name in vars(node).values() if str(name).isidentifier()}
    told = {word for text in (documents, *texts()) for word in re.findall(r"\w+", text)}
    return told | named | tests | {path.stem for path in files}


@functools.cache
def _nodes() -> list[ast.AST]:
    return [node for path in REPO.glob("jobqueued/**/*.py") for node in ast.walk(ast.parse(path.read_bytes()))]


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    if isinstance(node, ast.Constant):
        return node.value.decode(errors="replace") if isinstance(node.value, bytes) else str(node.value)
    return VALUE if isinstance(node, ast.FormattedValue) else ""
