"""The screen of `top`: what is chosen, what is marked, and that it fits any terminal."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from jobqueued.ctl.top.top_view import UNKNOWN, TopView

NOW = {"cpu": 0.5, "memory": 1 << 20, "tasks": 2, "io_read": 0, "io_write": None}


def live(run: str, cpu: float = 0.5, **fields: Any) -> dict[str, Any]:
    """A run that lives."""
    return {
        "run": run, "job": run.partition("@")[0], "state": "running", "started": "2026-11-24T02:00:00.000000Z",
        "limits": {"cpu": None, "memory": 1 << 30, "tasks": None}, "cpu_seconds": 3.0, "stopped": False,
        "partial": False, "late": False, "user": None, "tags": [], "usual": None, "now": {**NOW, "cpu": cpu},
        "history": [], **fields,
    }  # fmt: skip


def waits(run: str, *for_: str, **fields: Any) -> dict[str, Any]:
    """A run that waits."""
    return {
        "run": run, "job": run.partition("@")[0], "state": "waiting", "queued": "2026-11-24T02:00:00.000000Z",
        "user": None, "tags": [], "for": list(for_), **fields,
    }  # fmt: skip


def view(
    *runs: dict[str, Any], waiting: tuple[dict[str, Any], ...] = (), unwell: str = "", incidents: int = 0,
    daemon: str = "root",
) -> TopView:  # fmt: skip
    """One with these, of a daemon of that user."""
    found = TopView((), "cpu", lambda: daemon)
    pressure = {"cpu": 12.3, "memory": 0.0, "io": None}
    host = {"cpus": 2, "memory": 1 << 34, "pressure": pressure, "now": NOW, "history": []}
    found.take({"host": host, "runs": list(runs)})
    found.take_queue({"waiting": list(waiting), "more_wait": False, "unwell": unwell, "incidents": incidents})
    return found


def drawn(shown: Any, width: int = 80) -> list[str]:
    """Its lines on a screen."""
    console = Console(width=width, file=StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(shown)
    return capture.get().splitlines()


RUNS = (
    live("a@1", tags=["db"]), live("b@2", 0.7, user="alice", late=True), live("alice/c@3", 0.1, tags=["db", "web"]),
)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", ["b@2", "a@1", "alice/c@3", "d@4"]), ("tag:db", ["a@1", "alice/c@3"]), ("tag:db a@", ["a@1"]),
        ("user:alice", ["b@2"]), ("user:root", ["a@1", "alice/c@3", "d@4"]),
        ("state:running", ["b@2", "a@1", "alice/c@3"]),
        ("state:waiting", ["d@4"]), ("state:late", ["b@2"]), ("@4", ["d@4"]), ("tag:", []), ("none", []),
    ],
)  # fmt: skip
def test_a_filter(words: str, found: list[str]) -> None:
    """Each word must fit: part of a name, a whole tag, user or state."""
    shown = view(*RUNS, waiting=(waits("d@4"),))
    shown.filter = words
    assert shown.runs() == found


@pytest.mark.parametrize(("words", "found"), [("user:alice", ["b@2", "a@1", "d@4"]), ("user:root", [])])
def test_a_run_that_names_no_user_is_as_the_daemon(words: str, found: list[str]) -> None:
    """In a user's own instance that is this user."""
    shown = view(*RUNS[:2], waiting=(waits("d@4"),), daemon="alice")
    shown.filter = words
    assert shown.runs() == found


@pytest.mark.parametrize(
    ("order", "found"),
    [("cpu", ["a@1", "b@2", "c@3"]), ("memory", ["b@2", "c@3", "a@1"]), ("io", ["c@3", "a@1", "b@2"]),
     ("tasks", ["b@2", "a@1", "c@3"]), ("started", ["c@3", "b@2", "a@1"])],
)  # fmt: skip
def test_an_order(order: str, found: list[str]) -> None:
    """The most of what it is by is above, of starts the first; what is written counts as what is read."""
    used = {
        "a@1": ((3, 1, 5, 2, None), 9), "b@2": ((2, 3, 9, None, None), 8), "c@3": ((1, 2, 1, 1, 7), 7),
    }  # fmt: skip
    names = ("cpu", "memory", "tasks", "io_read", "io_write")
    shown = view(*(
        live(run, started=f"2026-11-24T0{hour}:00:00.000000Z", now=dict(zip(names, figures, strict=True)))
        for run, (figures, hour) in used.items()
    ))  # fmt: skip
    shown.order = order
    assert found == shown.runs()


def test_the_mark_moves_and_stays() -> None:
    """From the top to the bottom and no further; it is on its run, wherever that is by now."""
    shown = view(*RUNS, waiting=(waits("d@4"),))
    marks = []
    for steps in (1, 1, 1, 1, 1, -1, -10):
        shown.move(steps)
        marks.append(shown.marked)
    assert marks == ["b@2", "a@1", "alice/c@3", "d@4", "d@4", "alice/c@3", "b@2"]
    shown.order = "started"
    assert [line for line in drawn(shown.shown(80, 24)) if line.startswith("> b@2")]
    shown.take({"host": {**shown._frame["host"]}, "runs": []})
    shown.move(1)
    assert shown.marked == "d@4", "its run has ended"


def test_what_is_told() -> None:
    """Pressure that is some, what is not well, how far a run is, who waits for whom."""
    text = "\n".join(
        drawn(
            view(*RUNS, waiting=(waits("d@4", "gpu: a@1 has it"),), unwell="1 job fails (bad)", incidents=2).shown(
                100, 24
            )
        )
    )
    assert "pressure cpu 12 %\n" in text
    assert "not well: 1 job fails (bad)" in text
    assert "3 live, 1 wait, 2 incidents, by cpu; ?: keys" in text
    assert "gpu: a@1 has it" in text
    assert "running, late" in text


def test_what_nobody_knows() -> None:
    """While the daemon is down, what waits is not none, and the daemon is what is not well."""
    shown = view(*RUNS, waiting=(waits("d@4"),))
    assert shown.take_queue(UNKNOWN) == {"waiting": None, "more_wait": None}
    text = "\n".join(drawn(shown.shown(100, 24)))
    assert "3 live, ? wait, by cpu" in text
    assert "not well: the daemon is not reachable" in text


@pytest.mark.parametrize(("ago", "told"), [(30, "━━━─── 50 %"), (90, "━━━━━━ 150 %"), (-5, "────── -8 %")])
def test_progress(ago: int, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what its job usually takes; a clock that was set back is no reason to fall over."""
    monkeypatch.setattr("time.time", lambda: 1_795_485_600.0 + ago)
    started = "2026-11-24T02:00:00.000000Z"
    assert told in "\n".join(drawn(view(live("a@1", usual=60.0, started=started)).shown(120, 24), 120))


@given(
    st.integers(1, 40), st.integers(1, 200), st.integers(0, 50), st.integers(0, 50), st.integers(0, 99), st.booleans()
)
def test_it_fits(height: int, width: int, lives: int, waiting: int, steps: int, has_foot: bool) -> None:
    """Whatever there is, no more lines than the screen has; where there is room for one, the marked run is in sight."""
    runs = [live(f"a@{number}") for number in range(1, lives + 1)]
    shown = view(*runs, waiting=tuple(waits(f"w@{number}") for number in range(1, waiting + 1)), unwell="trouble")
    shown.move(1)
    shown.move(steps)
    lines = drawn(shown.shown(width, height, "foot" * has_foot), width)
    assert len(lines) <= height
    if height >= 3 + has_foot and width >= 24 and shown.marked:
        assert [line for line in lines if line.startswith(f"> {shown.marked} ")]


def test_a_long_name() -> None:
    """It takes no column from others; both its ends are seen, and the columns for which there is no room are named."""
    name = f"{'x' * 61}end@123"
    lines = drawn(view(live(name), live("b@2", 0.7)).shown(80, 24))
    (heads,) = [line for line in lines if "  RUN " in line]
    assert ["RUN", "CPU", "MEMORY", "STATE", "PROGRESS"] == heads.split()[:5]
    assert [line for line in lines if line.startswith("  xxxxxxxxxxxxxx…") and "end@123  " in line]
    (counts,) = [line for line in lines if line.startswith("2 live")]
    assert counts.startswith("2 live, 0 wait, by cpu; ?: keys; not shown: READ, WRITTEN, ")
    assert name in "\n".join(drawn(view(live(name)).shown(), 200))


def test_control_characters() -> None:
    """None of a name or a reason reaches the terminal."""
    hostile = view(live("a\x1b[2J@1"), waiting=(waits("b\x07@2", "x\x1b]0;y"),), unwell="\x1b[31m")
    text = "\n".join(drawn(hostile.shown(200, 24), 200))
    assert not {"\x1b", "\x07"} & set(text)
