"""Values as people read them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.base.text import duration, printable, size, slurm_job


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.0123, "12 ms"), (0.25, "250 ms"), (0.9996, "1 s"), (1, "1 s"), (4.21, "4.21 s"), (59.99, "60 s"),
        (60, "1 min"), (61.9, "1 min 1 s"), (200, "3 min 20 s"), (7800, "2 h 10 min"), (86400, "1 d"),
        (86405, "1 d"), (90061, "1 d 1 h"), (1e9, "11574 d 1 h"),
    ],
)  # fmt: skip
def test_duration(seconds: float, text: str) -> None:
    """A duration has its two largest units, without a second one that is 0."""
    assert text == duration(seconds)


def test_a_whole_duration() -> None:
    """All units are told where that many are asked for."""
    assert "1 d 1 h 1 s" == duration(90001, 4)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (0.4, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (3 << 29, "1.5 GiB"), (100 << 20, "100 MiB"),
        (16_664_000_000, "15.52 GiB"), (1 << 75, "32 ZiB"),
    ],
)  # fmt: skip
def test_size(count: float, text: str) -> None:
    """A size is in powers of 1024, with four digits at most that matter."""
    assert text == size(count)


@given(st.text())
def test_printable(text: str) -> None:
    """No text has anything left that is not printable, save what may stay; what was printable stays as it was."""
    assert printable(text).isprintable()
    assert {c for c in printable(text, keep="\n\t") if not c.isprintable()} <= {"\n", "\t"}
    assert not text.isprintable() or text == printable(text)


@pytest.mark.parametrize(("text", "shown"), [("a\x1b[2J", r"a\x1b[2J"), ("\ud800\u2028", r"\ud800\u2028"), ("é", "é")])
def test_escapes(text: str, shown: str) -> None:
    """What is not printable is an escape that tells what it was."""
    assert shown == printable(text)


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ({"job": 7, "node": "n1", "state": "COMPLETED"}, "job 7 on n1 (COMPLETED)"),
        ({"job": 7, "node": "n1", "state": "RUNNING", "reason": "None", "unheard": ""}, "job 7 on n1 (RUNNING)"),
        ({"job": 7, "node": "", "state": "PENDING", "reason": "Licenses"}, "job 7 (PENDING: Licenses)"),
        (
            {"job": 7, "node": None, "state": "PENDING", "unheard": "squeue: no answer"},
            "job 7 (PENDING); squeue: no answer",
        ),
    ],
)
def test_a_job_on_slurm(job: dict[str, Any], words: str) -> None:
    """Its number, where it is, in which state and why, and if Slurm does not answer."""
    assert words == slurm_job(job)
