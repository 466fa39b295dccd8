"""Each block of a paper is tried: here, by test_docs.py, or by whom the table says."""

from __future__ import annotations

import functools
import inspect
import re
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

from jobqueued import Scheduler
from jobqueued.crontabs.jobs import CronHost, TablePlace, read_jobs_in_steps
from jobqueued.jobfile.reader import read_packed
from jobqueued.jobfile.tree.drop_ins import FileText, packed
from jobqueued.jobfile.tree.yamltext import at_once
from tests.support import REPO
from tests.support.papers import PAPERS, TYPED, blocks, dialogue, each, job_files, other_yaml, programs

GENERATED = re.compile(r'(?:<!-- |\.\\" )generated from .*?^(?:<!-- |\.\\" )end of what is generated', re.S | re.M)
"""What man/generate.py writes, of tables that have tests of their own; test_schema.py sees that it is current."""
WHO = {
    r"# jobqueue: .*\n[\d*]": "table",
    r"UPDATE ": "update",
    r"# yaml-language-server: ": "modeline",
    r"commands = ": "calls",
    r".*[─▶]": "a drawing",
    r":caption: |xychart-beta": "Sphinx refuses what it does not understand: make docs",
    r"\[(Unit|Service)\]": "make units",
    r"jobqueue\.slice/": "test_layers.py",
    r"\{(\n  )?\"(text|attachments|topic|title|routing_key|message)\":": "test_notice_text.py",
    r"\{\"number\": |jobs:\n  backup:\n    timeout: 90min|telemetry hook ": "test_captures.py",
    r"# From /var/spool/cron/crontabs/alice": "test_captures.py",
    r"jobqueue-fence: ": "test_docs.py, as a message",
    r"import json\nimport socket\n": "test_calls.py",
    r"vim\.lsp": "Neovim's; nobody tries it",
    r"16:52:00 ": "test_first_steps.py",
    r"2026-03-02T02:00 ": "test_library.py",
    r"seed 1: ": "test_lives.py",
    r"422 runs of ": "test_timeline.py",
    r"CPU 151 % ": "test_top_keys.py",
    r"#!/bin/bash\n#JOBQUEUE ": "test_handed_in.py",
    r"CREATE TABLE ": "test_fence_recipes.py",
    r"\w+\$ jobqueuectl ": "tests/fleet/demo.py writes them",
    r"# on (each|[a-d])\n": "tests/fleet/setup.py types them",
    r"a\.example\.org/|https://a\.\S+ is healthy|ok +fleet |HOST  (HERE|RUN) ": "the same, compares them",
    r"trouble +the fleet |the host is on hold: ": "the same",
}
"""By the begin of a block its kind, which is tried here, or who tries it."""


@functools.cache
def kinds(path: Path) -> list[tuple[str, str]]:
    """Each block of a paper and its kind, or who has it; an empty text if nobody has."""
    text = path.read_text()
    ours = {*other_yaml(path), *programs(path), *(file for files in job_files(path) for file in files)}
    written = {*blocks(GENERATED.sub("", text))}
    found = []
    for block in blocks(text):
        if all(TYPED.match(line) for line, _ in dialogue(block.replace("\\\n", ""))):
            kind = "commands"
        elif block in ours or block not in written:
            kind = "test_docs.py, or test_schema.py"
        else:
            kind = next((who for begin, who in WHO.items() if re.match(begin, block)), "")
        found.append((block, kind))
    return found


def of(wanted: str) -> Callable[[Path], list[str]]:
    """All blocks of a kind that a paper has."""
    return lambda path: [block for block, kind in kinds(path) if kind == wanted]


def scripts(path: Path) -> list[str]:
    """What a paper has for a shell: commands, and those of its job files."""
    typed = ["".join(f"{line}\n" for line, _ in dialogue(block)) for block in of("commands")(path)]
    parts = ([FileText("f", file.encode()) for file in files] for files in job_files(path))
    jobs = (job for some in parts for job in read_packed(packed(some, "f"), "f")[0])
    return [*typed, *(job.command for job in jobs if isinstance(job.command, str))]


def filters(path: Path) -> list[str]:
    """Every filter of jq."""
    text = "\n".join(blocks(path.read_text()))
    return [quoted or bare for quoted, bare in re.findall(r"\bjq (?:-\w )?(?:'([^']*)'|(\S+))", text)]


def test_each_block_is_tried() -> None:
    """And each entry of the table is about one, so that none outlives its block."""
    shown = [(path.name, block, kind) for path in PAPERS for block, kind in kinds(path)]
    assert [] == [(page, block) for page, block, kind in shown if not kind]
    assert [] == [begin for begin in WHO if not any(re.match(begin, block) for _, block, _ in shown)]


@each(scripts)
def test_a_shell_can_read_it(shown: str) -> None:
    """It has no syntax error."""
    done = subprocess.run(["sh", "-n"], input=shown, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)


@each(filters)
def test_a_filter_names_what_there_is(shown: str) -> None:
    """Each field that it takes is one of a document."""
    known = (REPO / "jobqueued/documents.schema.json").read_text()
    assert [] == [name for name in re.findall(r"\.(\w+)", re.sub(r'"[^"]*"', "", shown)) if f'"{name}":' not in known]


@each(of("table"))
def test_a_crontab_is_read(shown: str) -> None:
    """It is accepted without a word."""
    jobs, problems = at_once(read_jobs_in_steps(shown.encode(), "f", TablePlace("cron.d/x"), CronHost("UTC")))
    assert (True, []) == (bool(jobs), [str(problem) for problem in problems])


@each(of("update"))
def test_a_row_is_written_once(shown: str) -> None:
    """By the run with the later number, in the table of the recipes."""
    (table,) = (block for block in blocks((REPO / "docs/recipes.md").read_text()) if block.startswith("CREATE TABLE"))
    database = sqlite3.connect(":memory:")
    database.executescript(table)
    update = shown.partition("\n")[0]
    counts = [database.execute(update, {"total": 1, "fence": fence}).rowcount for fence in (41, 42, 41)]
    database.close()
    assert [1, 1, 0] == counts


@each(of("calls"))
def test_a_call_is_there(shown: str) -> None:
    """The scheduler has each method, with as many arguments."""
    for name, arguments in re.findall(r"scheduler\.(\w+)\((.*?)\)", shown):
        inspect.signature(getattr(Scheduler, name)).bind(None, *arguments.split(", "))


@each(of("modeline"))
def test_a_schema_is_there(shown: str) -> None:
    """The program is installed with it."""
    assert (REPO / "jobqueued" / shown.rpartition("/usr/share/jobqueued/")[2].strip()).is_file()
