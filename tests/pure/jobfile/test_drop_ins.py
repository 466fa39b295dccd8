"""drop_ins: what a file means with others that are merged into it, and where each key comes from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.base.instants import MINUTE
from jobqueued.jobfile.merged_tree import TOP, Merged, merged_tree
from jobqueued.jobfile.reader import read_packed
from jobqueued.jobfile.tree.drop_ins import MAX_DROP_INS, FileText, main_path, origins, packed, parts_of
from jobqueued.jobfile.tree.yamltext import MAX_NODES, Mapping, at_once
from jobqueued.model.job import Job

MAIN = """\
defaults: {user: backup, timeout: 1h}
jobs:
  j:
    command: [a, b]
    timeout: 2h
    environment: {A: '1', B: '2'}
    tags: [x, y]
    late: {after: 2h}
"""
FILE, OTHER = "/etc/a.yaml", "/usr/lib/a.yaml"


def read(*texts: str) -> tuple[dict[str, Job], list[str]]:
    """The jobs of a file with drop-ins, and the problems."""
    paths = [OTHER, *(f"{FILE}.d/{number}" for number in range(1, len(texts)))]
    parts = [FileText(path, text.encode()) for path, text in zip(paths, texts, strict=True)]
    jobs, problems = read_packed(packed(parts, FILE), FILE)
    return {job.id: job for job in jobs}, list(map(str, problems))


MERGED: dict[str, tuple[list[str], dict[str, object]]] = {
    "a value takes the place of a value": (["jobs: {j: {timeout: 5m}}"], {"timeout": 5 * MINUTE}),
    "a list takes the place of a list": (["jobs: {j: {tags: [z], command: [c]}}"], {"tags": ("z",), "command": ("c",)}),
    "keys of mappings are merged": (
        ["jobs: {j: {environment: {B: '3', C: '4'}}}"], {"environment": (("A", "1"), ("B", "3"), ("C", "4"))},
    ),
    "a value takes the place of a mapping": (["jobs: {j: {late: false}}"], {"late": None}),
    "the last of several counts": (
        ["jobs: {j: {nice: 1, umask: 077}}", "jobs: {j: {nice: 2}}"], {"nice": 2, "umask": 0o77},
    ),
    "nothing takes a key away": (["jobs: {j: {timeout: }}"], {"timeout": 60 * MINUTE}),
    "and one of a mapping": (["jobs: {j: {environment: {A: ~}}}"], {"environment": (("B", "2"),)}),
    "and then there may be another": (
        ["jobs: {j: {environment: null}}", "jobs: {j: {environment: {Z: ''}}}"], {"environment": (("Z", ""),)},
    ),
    "none is a value": (["jobs: {j: {timeout: none}}"], {"timeout": None}),
    "defaults are merged, too": (
        ["defaults: {user: ~, nice: 5}\njobs: {j: {timeout: }}"], {"user": None, "nice": 5, "timeout": 60 * MINUTE},
    ),
    "an empty mapping changes nothing": (["jobs: {j: {environment: {}}}"], {"environment": (("A", "1"), ("B", "2"))}),
    "so does what says nothing": (["{}", "# nothing", "~", "jobs:\n  j: {}"], {"timeout": 120 * MINUTE}),
}  # fmt: skip


@pytest.mark.parametrize("rule", MERGED)
def test_how_drop_ins_are_merged(rule: str) -> None:
    """Mappings by key, anything else as a whole, and nothing takes away."""
    texts, expected = MERGED[rule]
    jobs, problems = read(MAIN, *texts)
    assert ([], expected) == (problems, {key: getattr(jobs["j"], key) for key in expected})


def test_jobs_come_and_go_by_drop_ins() -> None:
    """A drop-in may have jobs of its own, and take one of the file's away; `jobs:` alone takes all of them."""
    jobs, problems = read(MAIN, "\njobs:\n  k: {command: x}", "jobs: {j: ~}")
    assert ([], {"k"}) == (problems, jobs.keys())
    assert (FILE, f"{FILE}.d/1", 3, "backup") == (jobs["k"].file, jobs["k"].origin, jobs["k"].line, jobs["k"].user)
    assert ({}, []) == read(MAIN, "jobs:")


def test_a_problem_is_where_its_key_is() -> None:
    """In the file, or in the drop-in that has the key last; of each, and in their order."""
    _, problems = read(
        "jobs:\n  j: {command: x, nice: 50}\n  k: {command: x}\n",
        "jobs:\n  j: {nice: 1}\n  k:\n    nice: high\n    nicer: 1\n",
        "jobs:\n  j: {tags: [a, a, ]}\n  l: {nice: 3}\n",
        "jobs: {j: {nice: 1, nice: 2}}",
    )
    assert [
        f"{FILE}.d/1:4:11: k: nice: found 'high'; expected a whole number from -20 to 19, such as 10",
        f"{FILE}.d/1:5:5: k: nicer: found an unknown key; expected 'nice'",
        f"{FILE}.d/2:3:3: l: command: found no command; expected a command for the shell, or a list of the program"
        " and its arguments, as in `command: ls -l`",
        f"{FILE}.d/3:1:21: found the key 'nice' again; expected each key once (it is already on line 1)",
    ] == problems


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", ": found an empty drop-in; expected `{}`, or a link to /dev/null, for a drop-in without changes"),
        ("5", f":1:1: found 5; expected {TOP.accepted}"),
        ("[", ":2:1: this is not YAML: while parsing a flow"),
        ("jobs: 5", ":1:7: jobs: found 5; expected a mapping of ids to jobs such as {hello: {command: echo hi}}"),
        (
            "jobs: [j]",
            ":1:7: jobs: found a list; expected a mapping of ids to jobs such as {hello: {command: echo hi}}",
        ),
        ("jobs: {j: [x]}", ":1:11: j: found a list; expected a mapping of job keys such as {command: ls -l}"),
        ("job: {}", ":1:1: job: found an unknown key; expected 'jobs'"),
        ("\0", ":1:1: found the character U+0000; expected UTF-8 text without it"),
        ("&a [*a]", ":1:5: found an alias without its anchor"),
    ],
)
def test_a_wrong_drop_in_is_refused(text: str, problem: str) -> None:
    """With all of its file."""
    jobs, problems = read(MAIN, text)
    assert {} == jobs
    assert [f"{FILE}.d/1{problem}"] == [it[: len(f"{FILE}.d/1{problem}")] for it in problems[:1]]


def test_what_takes_nothing_away_is_a_warning() -> None:
    """Most likely its name is wrong."""
    _, problems = read(MAIN, "jobs:\n  j:\n    timeuot: ~\n  jj:\n")
    message = "found no such key to remove; expected a key of the file, or of an earlier drop-in"
    assert [f"{FILE}.d/1:3:5: jobs.j.timeuot: {message}", f"{FILE}.d/1:4:3: jobs.jj: {message}"] == problems


def test_all_parts_share_the_bounds_of_a_file() -> None:
    """Values count together, aliases in full."""
    bomb = "jobs: {j: {metadata: {a: &a [" + "x, " * 300 + "], b: &b [" + "*a, " * 300 + "]}}}"
    jobs, problems = read(MAIN, *(bomb.replace("metadata: {a", f"metadata: {{a{n}") for n in range(3)))
    assert {} == jobs
    assert f"found more than {MAX_NODES} values (aliases count in full); expected at most 100000" in "".join(problems)


def test_a_text_alone_is_as_it_is() -> None:
    """A file without drop-ins in the first directory is kept as it was written, by older versions, too."""
    part = FileText(FILE, MAIN.encode())
    assert (part.text, [part], FILE) == (packed([part], FILE), parts_of(part.text, FILE), main_path(part.text, FILE))


PARTS = st.lists(st.builds(FileText, st.text(max_size=5), st.binary(max_size=20)), min_size=1, max_size=5)


@given(PARTS)
def test_what_is_packed_is_unpacked(parts: list[FileText]) -> None:
    """Whatever the texts are; no text of one file is taken for that of several."""
    whole = packed(parts, FILE)
    assert (parts, parts[0].path) == (parts_of(whole, FILE), main_path(whole, FILE))
    again = packed([FileText(FILE, whole)], FILE)
    assert [FileText(FILE, whole)] == parts_of(again, FILE)


def test_each_key_has_its_origin() -> None:
    """The file and the line that count for it, of the job and of the defaults."""
    parts = [
        FileText(OTHER, MAIN.encode()),
        FileText(f"{FILE}.d/1", b"jobs:\n  j:\n    environment: {B: '3'}\n    tags: [z]\n"),
    ]
    found = at_once(merged_tree(parts))
    assert isinstance(found, Merged)
    assert isinstance(found.tree, Mapping)
    paths = [part.path for part in parts]
    told = {key: f"{file}:{line}" for key, file, line in origins(found.tree, paths)}
    assert {
        "defaults.user": f"{OTHER}:1", "defaults.timeout": f"{OTHER}:1", "jobs.j.command": f"{OTHER}:4",
        "jobs.j.timeout": f"{OTHER}:5", "jobs.j.environment.A": f"{OTHER}:6", "jobs.j.environment.B": f"{FILE}.d/1:3",
        "jobs.j.tags": f"{FILE}.d/1:4", "jobs.j.late.after": f"{OTHER}:8",
    } == told  # fmt: skip
    assert MAX_DROP_INS == 100
