"""Reasons: a code with its parameters, one text for people, and the texts of records without a code."""

from __future__ import annotations

import copy
import json
import marshal
import pickle
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.child.contract import reasons
from jobqueued.child.contract.reasons import Code, Reason, fields, label, of, of_record, parse
from jobqueued.state.db.rows import NONSENSE
from tests.support import REPO

WORDS = st.text("abc 012:;(),_-/@é", min_size=1, max_size=12)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "exit_code": st.integers(0, 255), "signal": st.integers(1, 64), "seconds": st.integers(1, 10**5),
    "core_dumped": st.booleans(), "before": st.builds(Reason, st.just(Code.EXIT_CODE), exit_code=st.integers(0, 255)),
}  # fmt: skip
OF_OLD = {
    "exit code 3": "exit_code", "signal 11 (SIGSEGV, core dumped)": "signal", "timeout after 60 s": "timeout",
    "signal 24 (SIGXCPU): its cpu_time is used up": "limit_used_up", "shutdown": "shutdown",
    "start_failed: exec: no such file": "start_failed", "stopped by uid 1000": "stopped", "replaced by a@7": "replaced",
    "out of memory: its limit is 1 MiB (memory.events: oom_kill 1)": "out_of_memory", "missed": "missed",
    "timeout after 60 s (Slurm job 42 on n1: TIMEOUT)": "slurm_timeout", "invalid: no user 'x'": "invalid",
    "dependency b: b@3 failed": "dependency", "dependency_timeout: b: it has not run in time": "dependency_timeout",
    "after alice/3: failed": "after", "withdrawn by root": "withdrawn", "job_removed": "job_removed",
    "exit code 3; no retry: job_removed": "exit_code", "by the failover, after exit code 3": "by_failover",
    "the failover: exit code 3; before it: timeout after 1 s": "exit_code", "its supervisor died": "supervisor_died",
    "its supervisor is gone; released by root, although pid 3 lives": "supervisor_gone",
    "what no version says": "other",
}  # fmt: skip
"""Reasons in records of versions without codes → their code."""


@st.composite
def a_reason(draw: st.DrawFn) -> Reason:
    code = draw(st.sampled_from([code for code in Code if code is not Code.OTHER]))
    names = re.findall(r"\{(\w+)\}", code.text)
    reason = Reason(code, **{name: draw(VALUES.get(name, WORDS)) for name in names})
    more: dict[str, Any] = {}
    if draw(st.booleans()):
        more["no_retry"] = Reason(draw(st.sampled_from([Code.FEWER_RETRIES, Code.JOB_REMOVED_WHILE_DOWN])))
    return reasons.more(reason, **more)


@given(a_reason())
def test_a_record_has_the_whole_reason(reason: Reason) -> None:
    """The fields of a record are plain JSON, and give the same text, code and parameters."""
    told = fields(reason)
    assert told == json.loads(json.dumps(told)) == marshal.loads(marshal.dumps(told))
    found = of_record(json.loads(json.dumps(told)))
    assert reason.is_same(found)
    assert found is not None
    assert fields(found) == told


@given(a_reason())
def test_a_text_alone(reason: Reason) -> None:
    """A record without a code has the same text, whatever code that text has."""
    assert parse(str(reason)) == reason


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OTHER])
def test_the_text_of_each_code(code: Code) -> None:
    """The text of a code is that code's again; only the four causes of a removed job share one."""
    examples: dict[str, Any] = {
        "exit_code": 3, "signal": 9, "seconds": 2.5, "core_dumped": False, "before": Reason(Code.EXIT_CODE, exit_code=1)
    }  # fmt: skip
    names = re.findall(r"\{(\w+)\}", code.text)
    reason = Reason(code, **{name: examples.get(name, name) for name in names})
    assert (Code.JOB_REMOVED if code in reasons.REMOVALS else code) is parse(str(reason)).code
    assert code.value == code.name.lower()


@pytest.mark.parametrize(("text", "code"), OF_OLD.items())
def test_an_old_record(text: str, code: str) -> None:
    """A record of a version without codes keeps its text, and has the code that the text means."""
    found = of_record({"reason": text})
    assert found is not None
    assert (text, code) == (found, found.code)
    assert found.is_same(of_record(fields(found)))


@pytest.mark.parametrize(
    "told",
    [
        {"reason_code": "of a newer version", "reason_params": {}}, {"reason_code": 7, "reason_params": {}},
        {"reason_code": "exit_code", "reason_params": {}}, {"reason_code": "exit_code", "reason_params": []},
        {"reason_code": "exit_code", "reason_params": {"code": 1, "cls": 2}}, {"reason_code": None},
        {"reason_code": "signal", "reason_params": {"signal": 1, "name": "x", "core_dumped": False}},
    ],
)  # fmt: skip
def test_a_code_that_does_not_fit(told: dict[str, Any]) -> None:
    """The text decides if the code is damaged, unknown, or of an attempt that an older version copied."""
    found = of_record({"reason": "exit code 3", **told})
    assert found is not None
    assert ("exit code 3", Code.EXIT_CODE, {"exit_code": 3}) == (found, found.code, found.params)


def test_a_text_of_a_newer_version() -> None:
    """A code counts although a newer version words it differently; the text stays."""
    told = {"reason": "exit status 3", "reason_code": "exit_code", "reason_params": {"exit_code": 3}}
    found = of_record(told)
    assert found is not None
    assert ("exit status 3", Code.EXIT_CODE) == (found, found.code)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_copy(copied: Callable[[Reason], Reason]) -> None:
    """A copy has the code and the parameters, too: the futures of a simulation come from other processes."""
    reason = Reason(Code.EXIT_CODE, exit_code=3, no_retry=Reason(Code.JOB_REMOVED_WHILE_DOWN))
    assert reason.is_same(copied(reason))
    assert fields(reason) == fields(copied(reason))


def test_none() -> None:
    """A run without a reason has no code."""
    assert {"reason": None, "reason_code": None, "reason_params": {}} == fields(None)
    assert of_record(fields(None)) is None
    assert of_record({}) is None


def test_a_reason_is_not_parsed_again() -> None:
    """A text that is a reason already keeps the code that the text alone does not have."""
    removed = Reason(Code.JOB_REMOVED_WHILE_SPREAD)
    assert of(removed) is removed
    assert not removed.is_same(Reason(Code.JOB_REMOVED_WHILE_DOWN))
    assert not removed.is_same(None)


@pytest.mark.parametrize("value", [5, None, b"x"])
def test_damage(value: Any) -> None:
    """A value of state.db that is no text raises an error of `NONSENSE`."""
    with pytest.raises(NONSENSE):
        parse(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("missed", "missed"), ("invalid: no user 'x\"\n' on this host", "invalid"), ("stopped by root", "stopped"),
        ("replaced by a@2", "replaced"), ("dependency b: it is paused", "dependency"), ("job_removed", "job_removed"),
        ("dependency_timeout: b: x", "dependency_timeout"), ("withdrawn by root", "withdrawn"),
        ("something new", "other"), ("this host is no longer in a fleet", "other"), ("", "other"),
    ],
)  # fmt: skip
def test_the_label_of_a_skip(text: str, expected: str) -> None:
    """No text of a user becomes a label of a metric."""
    assert expected == label(parse(text))


def test_the_papers() -> None:
    """docs/records.md has a row for each code, with the text that people read."""
    paper = (REPO / "docs/records.md").read_text()
    section = paper[paper.index("## Reasons") : paper.index("## Output")]
    rows = re.findall(r"^\| ([a-z_]+) \| `(.*)` \|$", section, re.M)
    (listed,) = re.findall(r"is the code itself: (.*?)\.$", section, re.M | re.S)
    rows += [(code, code) for code in re.findall(r"`(\w+)`", listed)]
    rows += [(code, "job_removed") for code in re.findall(r"^\| (job_removed\w*) \| .*\|$", section, re.M)]
    told = {Code.DEPENDENCY_TIMEOUT: "dependency_timeout: …`, with `job` and `why"}  # else it looks like a key of a job
    assert [(code.value, told.get(code, code.text)) for code in sorted(Code)] == sorted(rows)


@given(WORDS)
def test_what_holds_a_run_back(name: str) -> None:
    """The run behind a reservation, and the job that a run waits for, are in the text and come out of it."""
    assert name == reasons.reserver(reasons.reserved_for(name))
    assert name == reasons.awaited_dependency(reasons.wait_for_dependency(name))
    assert None is reasons.reserver("max_running") is reasons.awaited_dependency("paused")


@pytest.mark.parametrize(
    "piece", ["; no retry: ", "; before it: ", "; released by x, although ", "the failover: ", "a: "]
)
def test_a_long_text(piece: str) -> None:
    """A text that repeats what separates two reasons is read in a moment, and stays as it is."""
    text = piece * 2000
    assert parse(text) == text
    assert parse(f"start_failed: {text}") == f"start_failed: {text}"


@pytest.mark.parametrize("code", Code)
def test_a_long_text_of_each_code(code: Code) -> None:
    """The time to read a text grows no faster than the text, whatever it repeats: the square would take minutes."""
    literals = re.split(r"\{\w+\}", code.text)
    began = time.process_time()
    for literal in filter(str.strip, literals):
        for begin in (literals[0], f"x{literals[0]}"):
            text = f"{begin}{literal * (100_000 // len(literal))}x\n"
            assert parse(text) == text
    assert time.process_time() - began < 2


def test_failovers_of_failovers() -> None:
    """A text that nests ends without end, such as that of a damaged record, is one that no code fits."""
    text = "by the failover, after " * 5000 + "exit code 1"
    assert Code.OTHER is parse(text).code
    assert Code.OTHER is of_record({"reason": text}).code


RECORDS = sorted((REPO / "tests/fixtures/before-wings/logs").glob("*/*.json"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_records_of_a_version_without_codes(path: Path) -> None:
    """Each reason of the run and of its attempts keeps its text and has a code of its own."""
    record = json.loads(path.read_text())
    for told in (record, *record["attempts"]):
        found = of_record(told)
        assert told["reason"] == found
        is_edited = path.parent.name == "hungry"  # no version wrote its reason: see tests/real/state/test_fixtures.py
        assert found is None or (found.code is Code.OTHER) is is_edited
