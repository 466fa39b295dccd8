"""Mends: what has one remedy is carried out, and nothing else of a file changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.jobfile.keys.keys import JOB_KEYS
from jobqueued.jobfile.mending import mended
from jobqueued.jobfile.reader import read_jobs
from tests.support import REPO

BAD = sorted((REPO / "tests/bad").glob("*.yaml"))


def of_job(line: str) -> str:
    """A line of a job, mended."""
    text = f"jobs:\n  a:\n    command: x  # as it was\n    {line}\n"
    begin, end = text.split(line)
    found = mended(text.encode()).decode()
    assert (begin, end) == (found[: len(begin)], found[-len(end) :])
    return found[len(begin) : -len(end)]


def errors(data: bytes) -> set[tuple[str, str, str]]:
    """The errors of a file, but for their places."""
    return {(it.job, it.key, it.message) for it in read_jobs(data, "f")[1] if it.severity == "error"}


@pytest.mark.parametrize(("line", "expected"), [
    ("timout: 2h", "timeout: 2h"), ("Timeout: 2h # x", "timeout: 2h # x"), ("'timout' : 2h", "timeout : 2h"),
    ("cwd: /srv", "working_directory: /srv"), ("depends_on: [a]", "dependencies: [a]"),
    ("enabled: yes", "enabled: true"), ("enabled: \"off\"", "enabled: false"), ("timeout: 90min", "timeout: 90m"),
    ("timeout:   02:00:00   # long", "timeout:   2h   # long"), ("umask: 0o022", "umask: 0022"),
    ("tags: a, b", "tags: [a, b]"), ("resource_limits: {memory: 5MB, cpu: 1}", "resource_limits: {memory: 5M, cpu: 1}"),
    ("resource_limits: {memmory: 5M}", "resource_limits: {memory: 5M}"), ("timout: 90min", "timeout: 90m"),
    ("timezone: europe/berlin", "timezone: Europe/Berlin"), ("interval: 5 min", "every: 5m"),
])  # fmt: skip
def test_what_has_one_remedy(line: str, expected: str) -> None:
    """Keys and values are written as they are accepted; comments and spaces stay."""
    assert expected == of_job(line)


@pytest.mark.parametrize("line", [
    "timeout: 1.5", "timeout: 1.5s", "every: 1.0", "at: 2027-02-30", "at: 2027-2-3",
    "timeout: 3600", "timeout: 02:00", "timeoutMinutes: 30", "maxAttempts: 3", "filemode: 0644", "umask: 22",
    "priority: 010", "timezone: CST", "timezone: Berlin", "on: deployed", "xyzzy: 1", "minute: 0", "at: 2027-01-31",
    "notify: {email: a@b.c, template: {subject: '$sumary of $host'}}", "timeout: >\n      90min", "grous: [a]",
])  # fmt: skip
def test_what_is_a_guess_stays(line: str) -> None:
    """A unit that is missing, a name that means something near, one of two spellings, a value of several lines."""
    text = f"jobs: {{}}\ndefaults:\n    {line}\n".encode()
    assert text == mended(text)
    assert line == of_job(line)


def test_a_key_that_is_there_already_stays() -> None:
    """Two keys that would become one are for a person to decide on; others of the file are mended."""
    text = b"jobs:\n  a:\n    command: x\n    comand: y\n    timout: 1h\n"
    assert text.replace(b"timout", b"timeout") == mended(text)


def test_a_key_that_comes_again_below() -> None:
    """One that is misspelled above its right spelling stays, and all else of the file is mended."""
    text = 'jobs:\n  a:\n    command: x\n    shedule: "0 2 * * *"\n    schedule: "0 3 * * *"\n'
    other = "  b:\n    comand: x\n    timeout: 90min\n    enabled: yes\n"
    right = "  b:\n    command: x\n    timeout: 90m\n    enabled: true\n"
    assert text + right == mended((text + other).encode()).decode()
    assert text == mended(text.encode()).decode()


def test_a_key_whose_value_is_not_accepted_stays() -> None:
    """The name alone was not what is wrong."""
    text = b"jobs:\n  a:\n    command: x\n    timout: soon\n    prioritty: 5\n"
    assert text.replace(b"prioritty", b"priority") == mended(text)


def test_tabs() -> None:
    """Those that indent become spaces, others stay; a file that is no YAML even so stays as it is."""
    text = b"jobs:\n\ta:\n\t\tcommand: echo\t'a\tb'\n\t\tdescription: |\n\t\t\tx\ty\n"
    jobs, problems = read_jobs(mended(text), "f")
    assert [] == problems
    assert ("echo\t'a\tb'", "x\ty\n") == (jobs[0].command, jobs[0].description)
    broken = b"jobs:\n\ta:\n\t\tcommand: [x\n"
    assert broken == mended(broken)


def test_a_tab_inside_a_text_stays() -> None:
    """What a block has behind its indentation is its own."""
    text = b"jobs:\n  a:\n    command: |\n      cat <<-X\n      \tone\n      X\n    timout: 1h\n"
    assert text.replace(b"timout", b"timeout") == mended(text)


def test_a_byte_order_mark_goes() -> None:
    """Line ends of DOS and all else stay."""
    text = b"jobs:\r\n  a: {command: x}\r\n"
    assert text == mended(b"\xef\xbb\xbf" + text)


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_the_gallery(file: Path) -> None:
    """Of each bad file fewer errors are left, none is new in a line that was changed, and it has as many lines."""
    before = file.read_bytes()
    after = mended(before)
    assert after == mended(after)
    if after != before:
        assert len(errors(after)) < len(errors(before)) or b"\t" in before
        old, new = before.decode().splitlines(), after.decode().splitlines()
        assert len(old) == len(new)
        left = read_jobs(after, "f")[1]
        assert not [it for it in left if it.severity == "error" and old[it.line - 1] != new[it.line - 1]
                    and (it.job, it.key, it.message) not in errors(before)]  # fmt: skip


@given(st.sampled_from(sorted(JOB_KEYS)), st.integers(0, 20), st.sampled_from("aeiouxyz_-"))
def test_a_slip_of_the_pen(name: str, place: int, letter: str) -> None:
    """One letter too many: the key is written right, or stays as it is, where another key is as near."""
    key = JOB_KEYS[name]
    slip = name[:place] + letter + name[place:]
    text = f"jobs:\n  a:\n    {slip}: {key.example}\n" + ("" if name == "command" else "    command: x\n")
    found = mended(text.encode()).decode()
    assert found in (text, text.replace(f"    {slip}:", f"    {name}:"))
    assert errors(found.encode()) <= errors(text.encode())


@given(st.binary(max_size=200))
def test_anything(data: bytes) -> None:
    """Whatever it is: no exception, and what is mended once stays so."""
    assert mended(data) == mended(mended(data))
