"""jobqueuectl check --fix and --diff: what is shown, what is written, and what is left alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from jobqueued.ctl.files.fixes import Mend, Unwritten
from jobqueued.ctl.main import main
from tests.support.client import on_terminal, run
from tests.support.users import NEEDS_ROOT, STRANGER

TYPO = "# kept\njobs:\n  a:\n    comand: 'true'   # kept, too\n"
RIGHT = TYPO.replace("comand", "command")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a misspelled key, in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(TYPO)
    return tmp_path / "a.yaml"


class Done(NamedTuple):
    """What a call came to."""

    exit_code: int
    stdout: str
    stderr: str


Check = Callable[..., Done]


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Check:
    """Ask check, on a host without settings."""

    def checked(*words: object) -> Done:
        with pytest.raises(SystemExit) as end:
            main(["--root", "none", "check", *map(str, words)])
        assert isinstance(end.value.code, int)
        return Done(end.value.code, *capsys.readouterr())

    return checked


def test_diff_shows_and_writes_nothing(file: Path, check: Check) -> None:
    """A unified diff, and exit status 1; without one 0."""
    shown = check("--diff", "a.yaml")
    assert 1 == shown.exit_code
    assert shown.stdout.splitlines()[:2] == ["--- a.yaml", "+++ a.yaml"]
    assert {"-    comand: 'true'   # kept, too", "+    command: 'true'   # kept, too"} < set(shown.stdout.splitlines())
    assert TYPO == file.read_text()
    file.write_text(RIGHT)
    assert (0, "") == (check("--diff", "a.yaml").exit_code, check("--diff").stdout)


def test_a_person_at_a_terminal_sees_the_next_commands(file: Path) -> None:
    """--explain for a problem, and --fix if it can correct one; a program that reads the output sees neither."""
    explain, fix = "check --explain JQ201", "add --fix"
    shown = on_terminal(200, "--root", "none", "check", file, TERM="dumb")
    assert (True, True) == (explain in shown, fix in shown)
    assert "--" not in run("--root", "none", "check", file).stdout
    file.write_text(f"{RIGHT}    nonsense_of_mine: 1\n")
    shown = on_terminal(200, "--root", "none", "check", file, TERM="dumb")
    assert (True, False) == (explain in shown, fix in shown)
    file.write_text(RIGHT)
    assert "--" not in on_terminal(200, "--root", "none", "check", file, TERM="dumb")


def test_fix_writes_what_it_shows(file: Path, check: Check) -> None:
    """And the check that follows is clean; the mode stays, and nothing else is left in the directory."""
    file.chmod(0o640)
    shown = check("--diff", "a.yaml").stdout
    fixed = check("--fix", "a.yaml")
    assert (0, True) == (fixed.exit_code, fixed.stdout.startswith(shown))
    assert (RIGHT, 0o640) == (file.read_text(), file.stat().st_mode & 0o777)
    assert [file] == list(file.parent.iterdir())
    assert "1 job, 0 problems" == check("a.yaml").stdout.splitlines()[-1]


def test_other_forms_have_the_diff_elsewhere(file: Path, check: Check) -> None:
    """So that what they print is of that form."""
    assert ("", True) == ((fixed := check("--fix", "--format", "github", file)).stdout, "--- " in fixed.stderr)


@NEEDS_ROOT
def test_the_group_stays_in_a_directory_of_another(file: Path, check: Check) -> None:
    """Which new files there have, as the directory has it so."""
    os.chown(file.parent, -1, STRANGER)
    file.parent.chmod(0o2755)
    check("--fix", file)
    assert (RIGHT, 0) == (file.read_text(), file.stat().st_gid)


@NEEDS_ROOT
def test_the_owner_stays(file: Path, check: Check) -> None:
    """Whoever mends it."""
    os.chown(file, STRANGER, STRANGER)
    check("--fix", file)
    found = file.stat()
    assert (RIGHT, STRANGER, STRANGER) == (file.read_text(), found.st_uid, found.st_gid)


def test_a_link_is_not_followed(file: Path, check: Check) -> None:
    """Neither it nor what it leads to changes, and that is said; a file with two names stays, too."""
    (file.parent / "link.yaml").symlink_to(file)
    fixed = check("--fix", "link.yaml")
    assert (1, "link.yaml: not changed: it is a link\n") == (fixed.exit_code, fixed.stderr)
    assert (TYPO, True) == (file.read_text(), (file.parent / "link.yaml").is_symlink())
    (file.parent / "twin.yaml").hardlink_to(file)
    fixed = check("--fix", "a.yaml")
    assert "a.yaml: not changed: it has 2 names (hard links)\n" == fixed.stderr
    assert TYPO == file.read_text()


def test_a_file_that_has_changed_stays(file: Path) -> None:
    """What somebody has written meanwhile is not lost, nor is what a link that somebody has put there leads to."""
    mend = Mend(str(file), TYPO.encode(), RIGHT.encode())
    file.write_text(TYPO + "# more\n")
    with pytest.raises(Unwritten, match="changed"):
        mend.write()
    assert TYPO + "# more\n" == file.read_text()
    other = file.parent / "other"
    other.write_text(TYPO)
    file.unlink()
    file.symlink_to(other)
    with pytest.raises(Unwritten, match="link"):
        mend.write()
    assert (TYPO, 2) == (other.read_text(), len(list(file.parent.iterdir())))


def test_directories_and_drop_ins(file: Path, check: Check) -> None:
    """Each file of a directory is mended, with its drop-ins, and nothing else."""
    drop_in = file.parent / "a.yaml.d/x.yaml"
    drop_in.parent.mkdir()
    drop_in.write_text("jobs:\n  a:\n    timout: 1h\n")
    (file.parent / "note.txt").write_text(TYPO)
    check("--fix", ".")
    assert (RIGHT, "jobs:\n  a:\n    timeout: 1h\n") == (file.read_text(), drop_in.read_text())
    assert TYPO == (file.parent / "note.txt").read_text()


def test_a_hostile_text_is_shown_harmlessly(file: Path, check: Check) -> None:
    """Control characters in the diff, and in the name of the file, are escapes."""
    file.write_text("jobs:\n  a:\n    comand: 'true' # \u202e\n")
    shown = check("--diff", file).stdout
    assert (True, False) == ("\\u202e" in shown, "\u202e" in shown)
    file.rename("x\n+y.yaml")
    assert "--- x\\n+y.yaml" == check("--diff", "x\n+y.yaml").stdout.splitlines()[0]


def test_wrong_usage(check: Check) -> None:
    """--fix and --diff can't be combined, and so do forms and what has none of them."""
    for words in (
        ("--fix", "--diff"), ("--diff", "--json"), ("--diff", "--format", "sarif"), ("--diff", "--format", "json"),
        ("--explain", "JQ204", "--format", "sarif"), ("--explain", "JQ204", "--format", "github"),
    ):  # fmt: skip
        assert 2 == check(*words).exit_code, words
    assert 0 == check("--explain", "JQ204", "--format", "json").exit_code
