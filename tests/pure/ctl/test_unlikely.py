"""What check tells of programs and of files with variables, as they are on this host."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from jobqueued.ctl.main import main
from tests.support.users import NEEDS_ROOT, STRANGER


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a program that is right, and variables that are."""
    monkeypatch.chdir(tmp_path)
    directory = tmp_path / "bin"
    directory.mkdir()
    (directory / "prog").write_text("#!/bin/sh\n")
    (directory / "prog").chmod(0o755)
    (directory / "vars").write_text("A=1\n")
    return directory


def told(place: Path, keys: str) -> list[tuple[str, str, str]]:
    """The code, the key and the message of each finding about a job with these keys."""
    Path("a.yaml").write_text(f"jobs: {{a: {{{keys}}}}}")
    words = ["--root", str(place / "none"), "check", "--host", "--json", "a.yaml"]
    problems = json.loads(CliRunner().invoke(main, words).stdout)["problems"]
    return [(it["code"], it["key"], it["message"]) for it in problems]


def codes(place: Path, keys: str) -> list[tuple[str, str]]:
    """Those without the messages."""
    return [found[:2] for found in told(place, keys)]


@pytest.mark.parametrize("command", ["[{0}/prog, x]", "'{0}/prog x | cat'"])
def test_a_program_that_everybody_may_write(place: Path, command: str) -> None:
    """By its own mode; the message has what mends it."""
    keys = f"command: {command.format(place)}"
    assert [] == told(place, keys)
    (place / "prog").chmod(0o757)
    accepted = "expected one that only root can write" if os.geteuid() == 0 else "expected "
    ((code, key, message),) = told(place, keys)
    assert ("JQ508", "command") == (code, key)
    assert message.startswith(f"{place}/prog: found a file that all users may write; {accepted}")
    assert message.endswith(f"chmod go-w {place}/prog")


def test_a_directory_that_everybody_may_write(place: Path) -> None:
    """In it anybody can put another program in the place of this one, unless it is sticky."""
    place.chmod(0o777)
    for keys in (f"command: [{place}/prog]", f"command: [prog], environment: {{PATH: {place}}}",
                 f"command: [bin/prog], working_directory: {place.parent}"):  # fmt: skip
        assert [("JQ508", "command")] == codes(place, keys)
    assert [("JQ508", "failover")] == codes(place, f"command: [/bin/true], failover: [{place}/prog]")
    (place / "below").mkdir()
    os.rename(place / "prog", place / "below/prog")
    assert [("JQ508", "command")] == codes(place, f"command: [{place}/below/prog]")
    place.chmod(0o1777)
    assert [] == told(place, f"command: [{place}/below/prog]")


@NEEDS_ROOT
def test_a_program_of_another_user(place: Path) -> None:
    """Who owns it decides what it does; as that user itself it may be run."""
    os.chown(place / "prog", STRANGER, -1)
    assert [("JQ508", "command")] == codes(place, f"command: [{place}/prog]")
    assert [] == told(place, f"command: [{place}/prog], user: nobody")


@pytest.mark.parametrize(("text", "reason"), [
    ("A=1\nno variable\n", "/bin/vars:2: expected NAME=VALUE with closed quotes"), ("A='1\n", "/bin/vars:1: expected "),
    (None, "/bin/vars does not exist here"),
])  # fmt: skip
def test_variables_that_can_not_be_read(place: Path, text: str | None, reason: str) -> None:
    """A file that is missing, or has a line that is none, or is a directory."""
    if text is None:
        (place / "vars").unlink()
    else:
        (place / "vars").write_text(text)
    ((code, key, message),) = told(place, f"command: 'true', environment_file: {place}/vars")
    assert ("JQ509", "environment_file") == (code, key)
    assert reason in message
    assert message.endswith("; without this file, the job will not start")
    assert [("JQ509", "environment_file")] == codes(place, f"command: 'true', environment_file: {place}")


def test_variables_that_can_be_read(place: Path) -> None:
    """Are no finding; those that all users may write are one."""
    assert [] == told(place, f"command: 'true', environment_file: {place}/vars")
    (place / "vars").chmod(0o666)
    assert [("JQ508", "environment_file")] == codes(place, f"command: 'true', environment_file: {place}/vars")


@NEEDS_ROOT
def test_variables_that_the_job_s_user_may_not_read(place: Path) -> None:
    """Where others can change what the path leads to, it is read as the job's user; else by root."""
    (place / "vars").chmod(0o600)
    keys = f"command: 'true', user: nobody, environment_file: {place}/vars"
    assert [] == told(place, keys)
    os.chown(place, STRANGER, -1)
    ((code, _, message),) = told(place, keys)
    assert ("JQ509", True) == (code, message.startswith("nobody may not "))
