"""crontab -e at a real terminal, with a real editor: what is asked, and that no edit is ever lost."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobqueued.child.spool.spool import PLACE
from tests.support.crontabs import crontab, editor, spooled, terminal
from tests.support.users import ME

TABLE = "# mine\n1 1 * * * true\n"
EMPTY = f"no crontab for {ME.pw_name} - using an empty one\n"
RETRY = "Do you want to retry the same edit? (y/n) "


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A place where crontabs run, with a directory for temporary files."""
    (tmp_path / "jobqueued.yaml").write_text("cron: {live: true}\n")
    (tmp_path / "tmp").mkdir()
    os.environ["TMPDIR"] = str(tmp_path / "tmp")
    yield tmp_path
    del os.environ["TMPDIR"]


def kept(root: Path) -> list[str]:
    """The copies that are left for people."""
    return [path.read_text() for path in root.glob("tmp/crontab.*/crontab")]


@pytest.mark.needs("ed")
def test_an_edit_with_ed(root: Path) -> None:
    """From nothing; then a mistake, a second try of the same edit, and what starts next."""
    with terminal(root, "-e", EDITOR="ed") as screen:
        screen.until("no crontab for")
        screen.type("$a\n1 1 1 1\n.\nw\nq\n")
        shown = screen.until("(y/n) ")
        assert "crontab: installing new crontab" in shown
        assert re.search(r'"/.*/tmp/crontab\.\w+/crontab":\d+: bad day-of-week: ', shown)
        screen.type("maybe\n")
        screen.until("Enter Y or N")
        screen.type("y\n")
        screen.type("$s/$/ * a-command/\nw\nq\n")
        status, shown = screen.end()
    assert 0 == status, shown
    assert re.search(r"next: 20\d\d-01-01 01:01:00 \S+  a-command", shown), shown
    assert spooled(root)[ME.pw_name].endswith("command\n1 1 1 1 * a-command\n")
    assert [] == list((root / "tmp").iterdir())


def test_the_copy_is_nobody_elses(root: Path) -> None:
    """It has the table without its header, and its own directory; the editor runs in /tmp, by a shell."""
    crontab(root, "-", text=TABLE)
    program = editor(root, f'pwd >{root}/told; stat -c %A "$2" "${{2%/*}}" >>{root}/told; cp "$2" {root}/copy')
    assert (0, "", "No modification made\n") == crontab(root, "-e", EDITOR=f"{program} -x")
    assert "/tmp\n-rw-------\ndrwx------\n" == (root / "told").read_text()
    assert TABLE == (root / "copy").read_text()
    assert [] == list((root / "tmp").iterdir())


@pytest.mark.parametrize(
    ("script", "status", "err", "now"),
    [
        ("true", 0, "No modification made\n", TABLE),
        ('echo "2 2 * * * x" >>"$1"', 0, "crontab: installing new crontab\n", f"{TABLE}2 2 * * * x\n"),
        ('cp "$1" "$1~"; mv "$1~" "$1"', 0, "crontab: installing new crontab\n", TABLE),
        ('rm "$1"', 1, "Can't open tempfile after edit: No such file or directory\n"
                       "Error while editing crontab\n", TABLE),
        ('rm "$1"; mkfifo "$1"', 1, "The temporary crontab must remain a regular file\nError while editing crontab\n",
         TABLE),
        ('ln -sf /etc/passwd "$1"', 1, "Can't open tempfile after edit: Too many levels of symbolic links\n"
                                       "Error while editing crontab\n", TABLE),
        ("exit 3", 1, 'crontab: "{editor}" exited with status 3\n', TABLE),
    ],
)  # fmt: skip
def test_what_an_editor_leaves(root: Path, script: str, status: int, err: str, now: str) -> None:
    """In Debian's words; no copy stays."""
    crontab(root, "-", text=TABLE)
    program = editor(root, script)
    assert (status, "", err.format(editor=program)) == crontab(root, "-e", EDITOR="false", VISUAL=program)
    assert {ME.pw_name: now} == spooled(root)
    assert [] == list((root / "tmp").iterdir())


def test_an_editor_that_fails_takes_no_edit_with_it(root: Path) -> None:
    """Debian's crontab removes the copy."""
    program = editor(root, 'echo "2 2 * * * x" >>"$1"; kill -9 $$')
    status, _, err = crontab(root, "-e", EDITOR=program)
    assert 1 == status
    assert re.search(r'^crontab: "\S+" exited with status 137\ncrontab: edits left in /\S+\n$', err, re.M), err
    assert [True] == [text.endswith("2 2 * * * x\n") for text in kept(root)]


@pytest.mark.parametrize(("answer", "status"), [("n\n", 0), ("", 1)])
def test_who_gives_up_keeps_the_edit(root: Path, answer: str, status: int) -> None:
    """`n` is no failure, as with Debian's; nobody to answer is one, and is not asked for ever."""
    crontab(root, "-", text=TABLE)
    program = editor(root, 'echo "1 1 1 1" >>"$1"')
    found = crontab(root, "-e", EDITOR=program, text=answer)
    assert (status, RETRY) == (found.status, found.out.rstrip("\n"))
    assert found.err.splitlines()[-1].startswith("crontab: edits left in /")
    assert [f"{TABLE}1 1 1 1\n"] == kept(root)
    assert {ME.pw_name: TABLE} == spooled(root)


def test_two_who_edit_at_once(root: Path) -> None:
    """The second to come to an end does not undo the first: its edit is kept, and it says so."""
    crontab(root, "-", text=TABLE)
    other = f'printf "2 2 * * * other\\n" >{root}/other; {root}/crontab {root}/other; echo "3 3 * * * x" >>"$1"'
    spool = root / PLACE
    (root / "crontab").write_text(f"#!/bin/sh\ncp $1 {spool}/new && mv {spool}/new {spool}/{ME.pw_name}\n")
    (root / "crontab").chmod(0o755)
    status, _, err = crontab(root, "-e", EDITOR=editor(root, other))
    assert (1, 3) == (status, len(err.splitlines()))
    assert "crontab: another edit or a program changed the table after this edit began" in err
    assert [f"{TABLE}3 3 * * * x\n"] == kept(root)
    assert "2 2 * * * other\n" == (root / PLACE / ME.pw_name).read_text()


def test_a_key_for_the_editor_ends_nobody_else(root: Path) -> None:
    """Ctrl-C at the terminal is the editor's."""
    program = editor(root, 'trap "" INT; echo ready; read word; echo "$word" >>"$1"')
    with terminal(root, "-e", EDITOR=program) as screen:
        screen.until("ready")
        screen.type("\x03")
        screen.type("#typed\n")
        status, shown = screen.end()
    assert (0, True) == (status, spooled(root)[ME.pw_name].endswith("#typed\n")), shown


def test_a_copy_that_cannot_be_made(root: Path) -> None:
    """It says where."""
    os.environ["TMPDIR"] = str(root / "nowhere")
    status, _, err = crontab(root, "-e", EDITOR="false")
    assert (1, f"{EMPTY}{root}/nowhere/") == (status, err.partition("crontab.")[0])
    assert err.endswith("Creation of temporary crontab file failed - aborting\n")


def test_sigterm_while_an_editor_runs(root: Path) -> None:
    """The table is the old one, and the copy stays."""
    crontab(root, "-", text=TABLE)
    with terminal(root, "-e", EDITOR=editor(root, 'echo "#x" >>"$1"; echo ready; read word')) as screen:
        screen.until("ready")
        os.kill(screen.pid, signal.SIGTERM)
        assert -signal.SIGTERM == os.waitstatus_to_exitcode(os.waitpid(screen.pid, 0)[1])
        screen.type("\n")
    assert ({ME.pw_name: TABLE}, [f"{TABLE}#x\n"]) == (spooled(root), kept(root))
