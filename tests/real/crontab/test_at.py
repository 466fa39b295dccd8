"""at, batch, atq and atrm: texts and exit statuses of Debian's, and what becomes of what they hand in."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from jobqueued.control.protocol.at_lists import AtLists
from jobqueued.ctl.act import at
from jobqueued.model.users import UserLimits
from jobqueued.settings.paths import Paths
from tests.support.host import Host, wait_for


class Said(NamedTuple):
    """What a program has said, and its exit status."""

    status: int
    out: str
    error: str


Program = Callable[..., Said]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A daemon."""
    host = Host(tmp_path_factory.mktemp("at") / "host")
    host.start()
    yield host
    host.stop()
    host.kill_small_ones()


@pytest.fixture
def call(host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Program:
    """Call one of the programs with an input."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "Europe/Berlin")

    def run(program: str, *words: str, text: str = "") -> Said:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        status = at.main(list(words), Paths.chosen(host.root), program)
        return Said(status, *capsys.readouterr())

    return run


def test_a_job_for_later(call: Program) -> None:
    """It is told, listed, printed and removed by its number."""
    status, out, error = call("at", "18:00", "2199-01-31", text="echo hi\n")
    assert (0, "") == (status, out)
    found = re.fullmatch(
        r"warning: commands will be executed using /bin/sh\njob (\d+) at Thu Jan 31 18:00:00 2199\n", error
    )
    assert found is not None, error
    number = found[1]
    assert f"{number}\tThu Jan 31 18:00:00 2199 a root\n" in call("atq").out
    assert "" == call("atq", "-q", "c").out
    assert call("at", "-c", number).out.endswith("\necho hi\n")
    assert Said(0, "", "") == call("atrm", number)
    assert Said(1, "", f"Cannot find jobid {number}\n") == call("atrm", number)
    assert number not in call("atq").out


def test_a_job_now(call: Program, host: Host, tmp_path: Path) -> None:
    """Its commands run by /bin/sh in the directory in which they were given, and read nothing of themselves."""
    said = call("at", "now", text="pwd; cat; echo end\n").error
    job = f"host/{said.splitlines()[1].split()[1]}"
    wait_for(lambda: host.record(f"{job}@1") is not None)
    assert f"{tmp_path}\nend\n".encode() == host.output(f"{job}@1")


def test_batch_and_queues(call: Program, host: Host) -> None:
    """batch takes a CPU and waits behind others; a capital letter is a batch for later; a letter is a nice value."""
    assert 0 == call("at", "-q", "C", "-t", "219901310930", text="true\n").status
    assert re.search(r"\tThu Jan 31 09:30:00 2199 C root\n", call("atq", "-q", "C").out)
    job = next(it["job"] for it in host.call("Submissions")["submissions"] if it["tags"] == ["at:C"])
    definition = host.call("Describe", job=job)["definition"]
    assert (-100, 4) == (definition["priority"], definition["nice"])
    assert 0 == call("batch", text="true\n").status


@pytest.mark.parametrize(
    ("program", "words", "told"),
    [
        ("at", [], "Garbled time"),
        ("at", ["3"], "expected 03:00 or 3am or 3pm"),
        ("at", ["foo"], "Garbled time"),
        ("at", ["noon", "2001-01-01"], "at: refusing to create job destined in the past"),
        ("at", ["-z"], "at: invalid option -- 'z'\nUsage: at "),
        ("at", ["-t", "99"], "invalid date format: 99"),
        ("at", ["-q", "7", "noon"], "Usage: at "),
        ("at", ["-f", "/nonexistent", "noon"], "No such file or directory"),
        ("at", ["-c", "77"], "Cannot find jobid 77"),
        ("at", ["-t", "202601010000"], "at: refusing to create job destined in the past"),
        ("at", ["-t", "9901010000"], "at: refusing to create job destined in the past"),
        ("at", ["-t", "203003310230"], "clocks in Europe/Berlin skip 2030-03-31 02:30"),
        ("at", ["-t", "203002300230"], "invalid date format: 203002300230"),
        ("atq", ["x"], "atq: invalid job number"),
        ("atrm", [], "Usage: at "),
        ("atrm", ["77"], "Cannot find jobid 77"),
    ],
)
def test_what_is_refused(call: Program, program: str, words: list[str], told: str) -> None:
    """It exits 1 and says why on the standard error."""
    status, out, error = call(program, *words, text="true\n")
    assert (1, "") == (status, out)
    assert told in error


def test_allowed(tmp_path: Path) -> None:
    """By at.allow, without it by at.deny; without both, what is asked decides: nobody but root, as in at.allow(5)."""
    allows = AtLists(tmp_path, UserLimits())._allows
    by_at, later = (partial(allows, without_lists=without) for without in (False, True))
    assert (False, True) == (by_at("alice"), later("alice"))
    (tmp_path / "at.deny").write_text("bob\n")
    assert (True, False) == (by_at("alice"), by_at("bob")) == (later("alice"), later("bob"))
    (tmp_path / "at.allow").write_text("bob\n")
    assert (False, True) == (by_at("alice"), by_at("bob")) == (later("alice"), later("bob"))
