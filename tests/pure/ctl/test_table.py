"""Tables: whole and in line in a pipe, as wide as a terminal, and never a name in pieces."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from jobqueued.ctl.base.table import Cell, StyledText, Table
from jobqueued.ctl.base.terminal import print_facts, print_table

PLAIN = Console(file=io.StringIO(), color_system=None, width=80)
COLOURED = Console(file=io.StringIO(), color_system="standard", force_terminal=True, width=80)

CELLS = st.text("ab 1-日本é", max_size=40).map(lambda text: " ".join(text.split()) or "-")
ROWS = st.integers(2, 5).flatmap(
    lambda columns: st.lists(st.lists(CELLS, min_size=columns, max_size=columns), min_size=1)
)


def lines(rows: list[list[str]], width: int | None = None, wrapped: tuple[int, ...] = (0, 1)) -> list[str]:
    """The lines of a table without colours."""
    return list(Table(PLAIN, rows, wrapped, width).lines())


@given(ROWS)
def test_a_pipe_gets_all(rows: list[list[str]]) -> None:
    """Each row is one line with all its cells, without blanks at its end; the second column begins in line."""
    found = lines(rows)
    assert len(rows) == len(found)
    widest = max(cell_len(row[0]) for row in rows)
    for row, line in zip(rows, found, strict=True):
        assert (line.rstrip(), "".join(row).replace(" ", "")) == (line, line.replace(" ", ""))
        begin = len(row[0]) + widest - cell_len(row[0]) + 2
        assert line[begin:].startswith(row[1])


@given(ROWS, st.integers(34, 200))
def test_a_terminal_is_wide_enough(rows: list[list[str]], width: int) -> None:
    """No line is wider than the terminal, but that of a long name; and each name is there, whole."""
    found = lines(rows, width)
    names = [row[0] for row in rows]
    assert [] == [line for line in found if cell_len(line) > width and line not in names]
    assert [] == [name for name in names if not any(line.startswith(name) for line in found)]


@given(ROWS, st.integers(64, 200))
def test_what_is_kept_is_not_cut(rows: list[list[str]], width: int) -> None:
    """Where all columns are to stay and can, every letter does."""
    found = "".join(lines(rows, width, tuple(range(len(rows[0])))))
    letters = "".join(cell for row in rows for cell in row)
    assert sorted(letters.replace(" ", "")) == sorted(found.replace(" ", ""))


TABLE = [
    ["RUN", "STATE", "STARTED", "TOOK", "WHY"],
    [
        "backup@1",
        "failed",
        "2026-11-24 02:00:00 CET",
        "2 min 3 s",
        "exit code 1, after all of its attempts have failed",
    ],
    ["postgres-base-backup-of-a-cluster@142", "running", "2026-11-24 02:00:00 CET", "-", "-"],
]


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (80, """\
RUN                           STATE    STARTED                  WHY
backup@1                      failed   2026-11-24 02:00:00 CET  exit code 1,
                                                                after all of its
                                                                attempts have
                                                                failed
postgres-base-backup-of-a-cluster@142
                              running  2026-11-24 02:00:00 CET  -"""),
        (40, """\
RUN   STATE    STARTED        WHY
backup@1
      failed   2026-11-24     exit code
               02:00:00 CET   1, after
                              all of its
                              attempts
                              have
                              failed
postgres-base-backup-of-a-cluster@142
      running  2026-11-24     -
               02:00:00 CET"""),
    ],
)  # fmt: skip
def test_what_matters_stays(width: int, expected: str) -> None:
    """The least of what is to be kept goes last, a long name has a line of its own, and words stay whole."""
    found = lines(TABLE, width, wrapped=(0, 1, 4, 2))
    assert expected.splitlines() == found


def test_a_wide_cell_shifts_its_own_line_only() -> None:
    """In a pipe a very long cell does not cost every other row as many blanks."""
    rows = [["a", "x" * 5000, "b"], ["a", "y", "b"]]
    assert [5006, 206] == [len(line) for line in lines(rows)]


def test_the_last_column_is_cut() -> None:
    """What need not stay is cut, so that each row is one line."""
    rows = [["a", "b", "日本語のとても長い説明がここにあります"], ["a", "b", "c"]]
    assert ["a  b  日本語のとても…", "a  b  c"] == lines(rows, 22)


def test_a_terminal_gets_no_empty_column(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A column without a value is omitted, unless it must stay, by default one of the first two. A pipe gets all."""
    shown = []
    for keep, columns in (((), "80"), (("JOB", "RUNS"), "80"), ((), None)):
        if columns is None:
            monkeypatch.delenv("COLUMNS")
        else:
            monkeypatch.setenv("COLUMNS", columns)
        print_table(
            ("JOB", "KEPT", "RUNS", "NEXT", "WHY"), [["a", "-", "0", "-", "x"], ["b", "-", "0", "-", "-"]], keep
        )
        shown.append(capsys.readouterr().out.split("\n")[0].split())
    assert [["JOB", "KEPT", "WHY"], ["JOB", "RUNS", "WHY"], ["JOB", "KEPT", "RUNS", "NEXT", "WHY"]] == shown


def test_a_terminal_gets_lines_of_a_fact(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The lines of a command stand below each other, and none can stand where the names are. A pipe gets one line."""
    facts = [("command", "set -e\nstatus  \x1b[2J\n"), ("user", ""), ("status", "Idle")]
    monkeypatch.setenv("COLUMNS", "80")
    print_facts(facts)
    terminal = capsys.readouterr().out
    assert "command  set -e\n         status  \\x1b[2J\nuser\nstatus   Idle\n" == terminal
    monkeypatch.delenv("COLUMNS")
    print_facts(facts)
    assert 3 == len(capsys.readouterr().out.splitlines())


def test_colour() -> None:
    """Colour takes no room, and there is none where there is none."""
    rows: list[list[Cell]] = [["a", StyledText("failed", "red"), "b"], ["a", "x", "b"]]
    assert ["a  \x1b[31mfailed\x1b[0m  b", "a  x       b"] == list(Table(COLOURED, rows, (0, 1), 80).lines())
    assert ["a  failed  b", "a  x       b"] == list(Table(PLAIN, rows, (0, 1), 80).lines())


def test_no_control_characters() -> None:
    """A cell can't move the cursor."""
    assert [r"\x1b[2J\n  b"] == lines([["\x1b[2J\n", "b"]])
