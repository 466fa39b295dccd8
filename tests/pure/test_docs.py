"""The papers show what works: job files that are read, commands that there are, values that keys take, files."""

from __future__ import annotations

import errno
import importlib.util
import os
import re
import shlex
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from jobqueued import __version__
from jobqueued.__main__ import _parser
from jobqueued.control.protocol.interface import INTERFACE
from jobqueued.ctl.act import at
from jobqueued.ctl.base.client import CallRefused, DaemonUnreachable
from jobqueued.ctl.crontab import crontab
from jobqueued.ctl.main import main
from jobqueued.jobfile.keys.keys import JOB_KEYS
from jobqueued.jobfile.keys.settings_keys import SETTINGS_KEYS
from jobqueued.jobfile.reader import read_packed
from jobqueued.jobfile.tree.drop_ins import FileText, packed
from jobqueued.jobfile.tree.yamltext import Mapping, read_tree
from jobqueued.jobfile.types.refusal import NotAccepted
from jobqueued.runs.launch_spec import _TOLD
from jobqueued.settings.settings import Settings, read_settings
from tests.support import REPO
from tests.support.papers import (
    FENCED,
    TYPED,
    VALUE,
    blocks,
    each,
    job_files,
    other_yaml,
    programs,
    spans,
    texts,
    words,
)

FOREIGN = ("repos:", "scrape_configs:", "- alert:")
"""The begin of what is for pre-commit and for Prometheus."""
STANDS_FOR = {
    "URL": "http://localhost:4318",
    "JOB": "backup",
    "RUN": "backup@142",
    "EVENT": "deployed",
    "NAME": "deployed",
    "JSON": "{}",
    "T": "2h",
    "FILE": "backup.yaml",
    "DIR": ".",
}


def commands(text: str) -> Iterator[list[str]]:
    """The words of the commands of ours that a line, or a span, has."""
    line = re.sub(r"\[[^]]*\]", "", text).partition(" #")[0]  # what may be left out, and what is said of it
    for part in re.split(r"&&|[|&;]", line):
        if ours := re.match(r"\s*(?:\$ )?(?:sudo )?(?:\S*/)?(jobqueuectl|jobqueued|make)(?: (.*))?$", part):
            yield [ours[1], *(STANDS_FOR.get(word, word) for word in shlex.split(ours[2] or ""))]


def mentions(path: Path) -> list[tuple[str, ...]]:
    """Every command of ours in a paper."""
    text = path.read_text()
    lines = [line for block in blocks(text) for line in block.splitlines()]
    return sorted({tuple(words) for shown in [*lines, *spans(text)] for words in commands(shown)})


ANY_NAMES = ("credentials", "environment", "metadata")
"""Keys that take a mapping of whatever names."""


def values(path: Path) -> list[tuple[str, str]]:
    """Every ``key: value`` in the sentences of a paper, or mapping by itself; ``a | b`` are two, and … is left open."""
    found = [re.fullmatch(r"([a-z_]+): ([^…]+)|(\{[a-z]+: [^…]+\})", span) for span in spans(path.read_text())]
    known = [m for m in found if m and (m[3] or m[1] in {**JOB_KEYS, **SETTINGS_KEYS})]
    stands_for = partial(re.sub, r"\b[A-Z]+\b", lambda word: STANDS_FOR.get(word[0], word[0]))
    return [(m[1] or "", stands_for(value)) for m in known for value in (m[2] or m[3]).split(" | ")]


def paths(path: Path) -> list[str]:
    """Every file of ours that a paper names, or links to."""
    text = path.read_text()
    named = [span for span in spans(text) if re.fullmatch(r"(bench|docs|etc|jobqueued|man|systemd|tests)/\S+", span)]
    modules = {span for span in spans(text) if re.fullmatch(r"([a-z_]+/)?[a-z_]+\.py", span)} - {*named}
    linked = re.findall(r"\]\((?!https?:)([^)#]+)", FENCED.sub("", text))
    return sorted(
        {
            *named,
            *(f"jobqueued/**/{name}" for name in modules),
            *(str((path.parent / link).resolve().relative_to(REPO)) for link in linked),
        }
    )


def methods(path: Path) -> list[str]:
    """Every method of the interface that a paper names in full."""
    return sorted(set(re.findall(r"\bio\.jobqueue\.([A-Z]\w+)", path.read_text())))


def modules(path: Path) -> list[tuple[str, ...]]:
    """Every module that a paper runs, or benchmark, each with its options and arguments."""
    text = re.sub(r"`(bench )", r"`python -m \1", path.read_text())
    shown = [line for block in blocks(text) for line in block.splitlines()] + spans(text)
    calls = re.findall(r"\bpython3? -m ((?:bench|docs|jobqueued|man|tests)[\w.]*)((?: [^\s#]+)*)", "\n".join(shown))
    return sorted({(module, *words.split()) for module, words in calls})


def options(path: Path) -> list[tuple[str, ...]]:
    """Every command that a sentence names by its word alone, each with its options."""
    found = (re.fullmatch(r"([a-z-]+)((?: [^|]*)? --?[a-z-][^|]*)", span) for span in spans(path.read_text()))
    return sorted({(one[1], *re.findall(r" (--?[a-z-]+)", one[2])) for one in found if one and one[1] in main.commands})


ANY = rf"(?:{{}}|\S*{VALUE}\S*)"
"""A word, or a value of the program in its place."""
FOREIGN_WORDS = {*map(os.strerror, errno.errorcode), "database or disk is full", "database is locked"}
"""What the kernel and SQLite say."""
NO_MESSAGES = {
    "default-src 'self'": "the policy of cockpit's manifest",
    "happened +=": "Python",
    "yield from": "Python",
    "→ instant": "a function's type",
    'telemetry {"rows"': "what a hook of the reader's says",
    "tee /proc/1/fd/1": "behind a command of the reader's",
    "and pid": "put together from two texts",
    "records of": "put together from two texts",
    "state.db is a broken link": "put together from two texts; test_damaged_state.py has it",
    "state.db was cut to": "put together from two texts; test_damaged_state.py has it",
}
"""What is said elsewhere, and where, or cannot be found as one text."""


def messages(path: Path) -> list[str]:
    """Each clause of what the program says, as the papers have it; values, numbers and what is left out part them."""
    text = path.read_text()
    shown = (" ".join(block.split()) for block in blocks(text) if block.startswith("jobqueue-fence: "))
    said = (span for span in [*spans(text), *shown] if not TYPED.match(span))
    clauses = {part.strip(" .") for span in said for part in re.split(r"[…(),:;|]|(?<= )[A-Z]+\b|\d+ \w+\b", span)}
    return sorted(
        clause for clause in clauses - FOREIGN_WORDS - {*NO_MESSAGES} if re.search("[a-z].* | .*[a-z]", clause)
    )


ELSEWHERE = {"JOBQUEUE_CPUS", "JOBQUEUE_GPU", "JOBQUEUE_SUMMARY"}
"""Variables by the names of resources, which are the host's, and one that test_notifier.py has."""


def variables(path: Path) -> list[str]:
    """Every variable of ours that a paper names."""
    return sorted({*re.findall(r"\bJOBQUEUE_[A-Z_]*[A-Z]\b", path.read_text())} - ELSEWHERE)


def names(path: Path) -> list[str]:
    """Every name with a low line that a sentence has: a key, a state, an event, a field, a metric, a module."""
    return sorted({*re.findall(r"(?<![\w/.])[a-z]+(?:_[a-z]+)+(?!\w)", " ".join(spans(path.read_text())))})


@each(job_files)
def test_a_job_file_is_read(shown: tuple[str, ...]) -> None:
    """It is accepted without a word."""
    parts = [FileText(str(number), text.encode()) for number, text in enumerate(shown)]
    jobs, problems = read_packed(packed(parts, "f"), "f")
    assert (True, []) == (bool(jobs), [str(problem) for problem in problems])


@each(other_yaml)
def test_settings_are_read(shown: str, tmp_path: Path) -> None:
    """They are accepted without a word; what is for other programs is YAML."""
    if shown.startswith(FOREIGN):
        assert yaml.safe_load(shown)
        return
    (tmp_path / "jobqueued.yaml").write_text(shown)
    settings, problems = read_settings(tmp_path / "jobqueued.yaml")
    assert (True, []) == (settings != Settings(), [str(problem) for problem in problems])


@each(programs)
def test_a_program_runs(shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    """To its end, and it prints something."""
    exec(compile(shown, "shown", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out


@each(paths)
def test_a_file_is_there(shown: str) -> None:
    """A path that is named or linked exists, and a module is one of the package."""
    assert [*REPO.glob(shown)]


@each(methods)
def test_a_method_is_there(shown: str) -> None:
    """The interface has it."""
    assert re.search(rf"^(method|error) {shown}\b", INTERFACE, re.M)


@each(values)
def test_a_value_is_taken(shown: tuple[str, str]) -> None:
    """A key of a job, or a setting, takes it; a mapping by itself one that does not take any names."""
    name, text = shown
    root, problems = read_tree(f"x: {text}".encode(), "f")
    assert [] == problems
    assert isinstance(root, Mapping)
    refused = []
    for key in (*JOB_KEYS.values(), *SETTINGS_KEYS.values()):
        if key.name == name or (not name and key.name not in ANY_NAMES):
            try:
                key.type.read(root.entries["x"].value)
                return
            except NotAccepted as wrong:
                refused.append(str(wrong))
    assert [] == refused


@each(mentions)
def test_a_command_is_there(shown: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """It, its options and its arguments are taken, and nothing is done; of a bare name the command is there."""
    program, *words = shown
    if program == "make":
        rule = "vm/%" if words and words[0].startswith("vm/") else "".join(words[:1])
        assert not words or re.search(rf"^{rule}:", (REPO / "Makefile").read_text(), re.M)
    elif program == "jobqueued":
        _parser().parse_args(words)
    elif len(words := words[words[:1] == ["--user"] :]) < 2:  # who tests may have no such instance
        assert not words or words[0] in main.commands
    else:
        for command in main.commands.values():
            monkeypatch.setattr(command, "callback", lambda **_: None)
        monkeypatch.setattr("jobqueued.ctl.fleet.fleet_views._HostCommand.carry_out", lambda _: 0)
        assert (0, "") == ((done := CliRunner().invoke(main, words)).exit_code, done.output)


@each(modules)
def test_a_module_is_there(shown: tuple[str, ...]) -> None:
    """It has each option, and each benchmark."""
    module, *words = shown
    found = importlib.util.find_spec(module)
    if found is not None and found.submodule_search_locations:
        found = importlib.util.find_spec(f"{module}.__main__")
    assert found is not None
    assert found.origin is not None
    text = Path(found.origin).read_text()
    asked = [word for word in words if word.startswith("--") or module == "bench"]
    assert [] == [word for word in asked if f'"{word}"' not in text]


@each(options)
def test_an_option_is_there(shown: tuple[str, ...]) -> None:
    """The command has it."""
    name, *words = shown
    assert {*words} <= {word for option in main.commands[name].params for word in option.opts}


@each(variables)
def test_a_variable_is_set_or_read(shown: str) -> None:
    """The program has its name, or it is one of those that tell a run what made it due."""
    told = {f"JOBQUEUE_TRIGGER_{name.upper()}" for name in (*_TOLD, "record")}
    assert shown in told or any(re.search(rf"\b{shown}\b", text) for text in texts())


@each(messages)
def test_a_message_is_said(shown: str) -> None:
    """The program has these words; it may have a value in the place of one, and of each that is no plain word."""
    words = shown.split()
    plain = {word for word in words if re.fullmatch("[a-z',-]+", word)}
    near = "\n".join(text for text in texts() if sum(word not in text for word in plain) < 2)
    values = words if len(words) > 2 else [""]
    ways = ([word if word in plain - {value} else ANY.format(re.escape(word)) for word in words] for value in values)
    assert any(re.search(rf"(?<!\w){' '.join(way)}(?!\w)", near) for way in ways)


@each(names)
def test_a_name_is_known(shown: str) -> None:
    """The program has it, as a text or as a name of its own, or it is another program's."""
    assert shown in ("exported_job", "get_next", "pg_restore", "plain_text") or shown.removesuffix("_total") in words()


def test_readme_is_a_screen_and_a_half() -> None:
    """Of 50 lines."""
    assert len((REPO / "README.md").read_text().splitlines()) <= 75


def test_one_version() -> None:
    """The packages have the version of the program."""
    changelog = (REPO / "debian/changelog").read_text()
    spec = (REPO / "packaging/jobqueued.spec").read_text()
    assert [__version__] == re.findall(r"\Ajobqueued \((.+)-\d+\)", changelog)
    assert [__version__] == re.findall(r"^Version: +(.+)$", spec, re.M)


def test_each_command_is_for_something() -> None:
    """docs/commands.md, which goes by what one wants to do, leaves no command out."""
    told = set(" ".join(spans((REPO / "docs/commands.md").read_text())).replace(",", " ").split())
    assert [] == [name for name in main.list_commands(click.Context(main)) if name not in told]


def test_each_exit_status_is_in_the_table() -> None:
    """What the help of commands, their errors and the manual say of exit statuses is in docs/programs.md."""
    table = (REPO / "docs/programs.md").read_text().partition("## Exit statuses\n")[2].partition("\n## ")[0]
    told = {int(status) for status in re.findall(r"\d+", " ".join(re.findall(r"^\| ([\d, ]+)", table, re.M)))}
    helps = " ".join(command.help or "" for command in main.commands.values())
    manual = (REPO / "man/jobqueuectl.1").read_text().partition(".Sh EXIT STATUS\n")[2].partition(".Sh ")[0]
    said = {int(status) for status in re.findall(r"\b[Ee]xits?(?: with)? (\d+)", helps)}
    said |= {int(status) for status in re.findall(r"; (\d+) if", helps)}
    said |= {int(status) for status in re.findall(r"^\.It (\d+)$", manual, re.M)} | {
        CallRefused.exit_code,
        DaemonUnreachable.exit_code,
    }
    assert {0, 1, 2, 127} <= said
    assert set() == said - told - {130}
    assert "130 is ^C" in table


def options_in(page: str) -> set[str]:
    """The options that a page of the manual describes, each as it is typed."""
    lines = re.findall(r"^\.(?:It )?Fl (.*)$", (REPO / "man" / page).read_text(), re.M)
    words = (word for line in lines for word in re.sub(r" (?:Ar|Cm) [^,]*", "", line).replace("Fl ", "").split())
    return {
        f"-{word}"
        for word in (word.replace("\\-", "-").strip(",") for word in words)
        if re.fullmatch("-?[A-Za-z-]+", word)
    }


def test_the_options_of_the_daemon_are_in_its_page() -> None:
    """All of them, and no other."""
    known = {option for action in _parser()._actions for option in action.option_strings}
    assert known - {"-h"} == options_in("jobqueued.8")


@pytest.mark.parametrize(
    ("page", "letters"), [("jobqueue-at.1", at.OPTIONS["at"]), ("jobqueue-crontab.1", crontab.OPTIONS)]
)
def test_the_options_of_the_old_commands_are_in_their_pages(page: str, letters: str) -> None:
    """All of them, and no other, but for the -h of at, which Debian's does not tell either."""
    known = {f"-{letter}" for letter in letters if letter != ":"}
    assert known - {"-h"} == {option for option in options_in(page) if len(option) == 2} - {"-h"}
