"""schema: JSON Schema says no other things than the parser; what is generated from the keys is current."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from jsonschema import Draft7Validator

from jobqueued.jobfile.keys.keys import JOB_KEYS
from jobqueued.jobfile.reader import read_jobs
from jobqueued.jobfile.schema import job_file_schema
from jobqueued.jobfile.tree.yamltext import Mapping, read_tree
from jobqueued.jobfile.types.refusal import NotAccepted
from jobqueued.jobfile.types.scalars import Key
from jobqueued.jobfile.types.types import plain
from man.generate import GENERATED, REPOSITORY
from tests.support.job_files import GOOD, SECTIONS, VALUES

VALIDATOR = Draft7Validator(job_file_schema())
LIVE = [key for key in JOB_KEYS.values() if not key.planned]


def meant(text: str) -> Any:
    """What an editor sees in a file."""
    root, problems = read_tree(text.encode(), "f")
    assert [] == problems
    return None if root is None else plain(root)


def complaints(text: str) -> list[str]:
    """What the schema finds wrong with a file, by place."""
    return sorted("/".join(map(str, error.absolute_path)) for error in VALIDATOR.iter_errors(meant(text)))


def test_the_schema_is_one() -> None:
    """It is valid JSON Schema itself."""
    Draft7Validator.check_schema(job_file_schema())


@pytest.mark.parametrize("path", GENERATED)
def test_what_is_generated_is_current(path: str) -> None:
    """The committed files are what `make generate` writes."""
    text = (REPOSITORY / path).read_text()
    assert text == GENERATED[path](text)


@pytest.mark.parametrize("key", LIVE, ids=lambda key: key.name)
def test_the_schema_accepts_each_example(key: Key) -> None:
    """What the manual shows an editor accepts, and the default too."""
    for text in filter(None, (key.example, key.default)):
        body = f"command: x, {key.name}: {text}" if key.name != "command" else f"command: {text}"
        assert [] == complaints(f"jobs: {{a: {{{body}}}}}")


@pytest.mark.parametrize("text", [text for text, _ in GOOD])
def test_the_schema_accepts_what_the_parser_reads(text: str) -> None:
    """Each value that the parser's tests read is accepted."""
    body = text if text.startswith("command") else f"command: x\n    {text}"
    assert [] == complaints(f"jobs:\n  a:\n    {body}\n")


@settings(deadline=None, max_examples=300)
@given(VALUES, SECTIONS)
@example("{user: x}", "{a: {command: x}}")
def test_the_schema_refuses_nothing_that_the_parser_accepts(defaults: str, jobs: str) -> None:
    """Whatever the parser accepts, an editor accepts."""
    text = f"defaults: {defaults}\njobs: {jobs}"
    if not any(problem.severity == "error" for problem in read_jobs(text.encode(), "f")[1]):
        assert [] == complaints(text)


REFUSED = {
    "5": "", "job: {}": "", "jobs: [a]": "jobs", "jobs: {A: {command: x}}": "jobs", "jobs: {a: {}}": "jobs/a",
    "jobs: {a: {command: x, shcedule: x}}": "jobs/a", "jobs: {a: {command: x, notify: x}}": "jobs/a/notify",
    "jobs: {a: {command: x, locks: X}}": "jobs/a/locks", "jobs: {a: {command: x, locks: [X]}}": "jobs/a/locks",
    "jobs: {a: {command: x, locks: [{name: x, mode: no}]}}": "jobs/a/locks",
    "jobs: {a: {command: x, resources: {cpu: one}}}": "jobs/a/resources/cpu",
    "jobs: {a: {command: x, escalation: {per: 1m}}}": "jobs/a/escalation",
    "jobs: {a: {command: x, dependencies: X}}": "jobs/a/dependencies",
    "jobs: {a: {command: x, overlap: Forbid}}": "jobs/a/overlap",
    "jobs: {a: {command: x, on: {event: X}}}": "jobs/a/on",
    "jobs: {a: {command: x, on: [{pathe: /srv/in}]}}": "jobs/a/on",
    "jobs: {a: {command: x, timeout: 90}}": "jobs/a/timeout", "jobs: {a: {command: x, grace: 1h5d}}": "jobs/a/grace",
    "jobs: {a: {command: []}}": "jobs/a/command", "jobs: {a: {command: x, enabled: no}}": "jobs/a/enabled",
    "jobs: {a: {command: x, priority: 1001}}": "jobs/a/priority", "jobs: {a: {command: x, shell: sh}}": "jobs/a/shell",
    "jobs: {a: {command: x, output_limit: 5MB}}": "jobs/a/output_limit", "defaults: {dst: x}": "defaults/dst",
    "jobs: {a: {command: x, success_codes: 256}}": "jobs/a/success_codes",
    "jobs: {a: {command: x, environment: [A=x]}}": "jobs/a/environment",
}  # fmt: skip


@pytest.mark.parametrize(("text", "place"), REFUSED.items(), ids=REFUSED)
def test_the_schema_refuses_the_usual_mistakes(text: str, place: str) -> None:
    """What the types can tell, an editor tells, at the same place as the parser."""
    assert [place] == complaints(text)
    assert read_jobs(text.encode(), "f")[1]


@pytest.mark.parametrize("key", LIVE, ids=lambda key: key.name)
@settings(deadline=None, max_examples=50)
@given(VALUES)
def test_each_type_has_the_schema_of_its_parser(key: Key, value: str) -> None:
    """For each key: a value that is read is accepted by its part of the schema."""
    root, problems = read_tree(f"x: {value}".encode(), "f")
    if problems or not isinstance(root, Mapping):
        return
    node = root.entries["x"].value
    try:
        key.type.read(node)
        seen = plain(node)
    except NotAccepted:
        return
    assert [] == [error.message for error in Draft7Validator(key.type.schema).iter_errors(seen)]
