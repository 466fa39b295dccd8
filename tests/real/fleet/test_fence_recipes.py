"""The recipes against a run that comes late, in a database and on a file system, as docs/recipes.md has them."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest

from jobqueued.child.fleet import fence
from jobqueued.jobfile.reader import read_jobs
from jobqueued.model.job import Scope
from tests.support import REPO
from tests.support.host import DEADLINE, wait_for

RECIPES = (REPO / "docs/recipes.md").read_text()
PYTHON_AS_SQLITE = """#!{}
import sqlite3, sys
with sqlite3.connect(sys.argv[1], isolation_level=None) as database:
    for statement in filter(None, (part.strip() for part in sys.argv[2].split(";"))):
        for row in database.execute(statement):
            print(*row, sep="|")
"""
"""sqlite3(1), as far as a recipe needs it: hosts that test may not have it, but each Python has the library."""
HANGING = """#!/bin/sh
echo report $JOBQUEUE_FENCE
[ $JOBQUEUE_FENCE != 41 ] || { : >../begun; read _ <../gate; }
"""
"""What makes the report: on the first host it hangs."""


def recipe(number: int) -> str:
    """The text below a heading."""
    return RECIPES.partition(f"\n## {number}. ")[2].partition("\n## ")[0]


class Site:
    """A directory in the place of /srv, and one of programs."""

    def __init__(self, root: Path) -> None:
        self.root, self.srv = root, root / "srv"
        self.programs = root / "bin"
        for path in (self.srv, self.programs):
            path.mkdir()
        self.program("jobqueue-fence", f'#!/bin/sh\nexec {sys.executable} -I -S {fence.__file__} "$@"\n')
        self.program("sqlite3", PYTHON_AS_SQLITE.format(sys.executable))

    def program(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(text)
        path.chmod(0o755)

    def start(self, number: int, fence: int) -> subprocess.Popen[str]:
        """The command of a recipe, in a run with this number."""
        (text,) = re.findall(r"^```yaml\n(.*?)^```$", recipe(number), re.S | re.M)
        (job,), problems = read_jobs(text.encode(), "recipe.yaml")
        assert [] == problems
        assert job.scope is Scope.FLEET
        assert isinstance(job.command, str)
        environment = {**os.environ, "PATH": f"{self.programs}:{os.environ['PATH']}", "JOBQUEUE_FENCE": str(fence)}
        command = ["sh", "-c", job.command.replace("/srv/", f"{self.srv}/")]
        return subprocess.Popen(command, env=environment, stdout=PIPE, stderr=PIPE, text=True)

    def run(self, number: int, fence: int) -> tuple[int, str]:
        """The same to its end: the exit status, and what is said."""
        return ended(self.start(number, fence))


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=DEADLINE)
    return process.returncode, out + err


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_into_a_database(site: Site) -> None:
    """A later run writes, also when it is repeated; an earlier one that comes after it changes nothing."""
    (tables,) = re.findall(r"^```sql\n(.*?)^```$", recipe(14), re.S | re.M)
    with sqlite3.connect(site.srv / "shop.db") as database:
        database.executescript(f"{tables} CREATE TABLE orders (amount INTEGER); INSERT INTO orders VALUES (3), (4);")

        def rows() -> list[tuple[int, int]]:
            return database.execute("SELECT total, fence FROM balance").fetchall()

        assert [(0, ""), (0, "")] == [site.run(14, 41), site.run(14, 42)]
        assert [(7, 42)] == rows()
        database.execute("INSERT INTO orders VALUES (5)")
        database.commit()
        assert (1, "refused: a later run has been here\n") == site.run(14, 41)
        assert [(7, 42)] == rows()
        assert (0, "") == site.run(14, 42)
        assert [(12, 42)] == rows()
        database.execute("DROP TABLE orders")
        database.commit()
        assert 0 != site.run(14, 43)[0]
        assert [(12, 42)] == rows()


def test_onto_a_file_system(site: Site) -> None:
    """A host hangs, and another makes the report meanwhile; the first, when it goes on, is refused, and cleans up."""
    reports = site.srv / "reports"
    reports.mkdir()
    site.program("make-report", HANGING)
    os.mkfifo(site.srv / "gate")
    late = site.start(15, 41)
    wait_for((site.srv / "begun").exists)
    assert [(0, ""), "report 42\n"] == [site.run(15, 42), (reports / "today").read_text()]
    (site.srv / "gate").write_text("\n")
    said = "jobqueue-fence: .fence: refused: a later run, with number 42, has used it; this run has number 41\n"
    assert (fence.REFUSED, said) == ended(late)
    assert "report 42\n" == (reports / "today").read_text()
    assert [(0, ""), "report 43\n"] == [site.run(15, 43), (reports / "today").read_text()]
    assert {".fence", "today"} == {path.name for path in reports.iterdir()}
