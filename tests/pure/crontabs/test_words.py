"""Words of a crontab's line: assignments and commands, as cron's own code takes them apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.crontabs.words import assignment, split_command


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=b", ("A", "b")),
        (" \tA = b c  ", ("A", "b c")),
        ('A="b "', ("A", "b ")),
        ("A=' b'\t ", ("A", " b")),
        ('"A B" = c', ("A B", "c")),
        ("A=", ("A", "")),
        ('A=""', ("A", "")),
        ("A=b=c", ("A", "b=c")),
        ("A=b 'c'", ("A", "b 'c'")),
        ("A=$HOME/bin:\\n%", ("A", "$HOME/bin:\\n%")),
        ("A=b\r", ("A", "b")),
        ('A="b"\r', ("A", "b")),
        ("MAILTO=root HOME=/ ", ("MAILTO", "root HOME=/")),
        ("A=# no comment", ("A", "# no comment")),
        ('A="b" c', None),
        ('A="b', None),
        ('A=   "b', None),
        ('"A=B"=c', None),
        ("A B=c", None),
        ("=b", None),
        ("* * * * * A=b c", None),
        ("@daily A=b c", None),
        ("* * * * * root A=b", None),
    ],
)
def test_an_assignment_is_read_as_load_env_does(text: str, expected: tuple[str, str] | None) -> None:
    """Quotes keep blanks, nothing is expanded, and what is none is left for a line of a job."""
    assert assignment(text) == expected


@pytest.mark.parametrize(
    ("text", "command", "stdin"),
    [
        ("date", "date", None),
        ("cat%a%b", "cat", "a\nb\n"),
        ("cat%a%", "cat", "a\n"),
        ("cat%", "cat", ""),
        ("cat%%", "cat", "\n"),
        ("date +\\%F", "date +%F", None),
        ("cat %a\\%b\\c", "cat ", "a%b\\c\n"),
        ("a\\\\%b", "a\\", "b\n"),
        ("1 a\\\\b c\\\\%d e\\%f g\\h i\\\\\\%j", "1 a\\b c\\", "d e%f g\\h i\\\\%j\n"),
        ("\\\\\\\\x", "\\\\x", None),
        ("a%b\\\\%c", "a", "b\\%c\n"),
        ("a\\b\\\\\\%", "a\\b\\%", None),
        ("a\\", "a\\", None),
        ("", "", None),
    ],
)
def test_a_command_is_split_as_do_command_does(text: str, command: str, stdin: str | None) -> None:
    """The first bare percent sign ends the command, each further one is a new line, and escaped ones are plain."""
    assert split_command(text) == (command, stdin)


def as_in_do_command(text: str) -> tuple[str, str | None]:
    """The two loops of cron's do_command.c, character by character."""
    command, escaped, rest = "", False, iter(text)
    for character in rest:
        if escaped:
            command = command[:-1] + character if character in "\\%" else command + character
            escaped = False
        elif character == "%":
            break
        else:
            escaped = character == "\\"
            command += character
    else:
        return command, None
    out, escaped = "", False
    for character in rest:
        if escaped and character != "%":
            out += "\\"
        shown = "\n" if character == "%" and not escaped else character
        escaped = character == "\\"
        out += "" if escaped else shown
    out += "\\" * escaped
    return command, out if not out or out.endswith("\n") else out + "\n"


@given(st.text("ab\\%", max_size=12))
def test_no_mix_of_backslashes_and_percents_is_read_otherwise(text: str) -> None:
    """The loops of the original are the oracle."""
    assert split_command(text) == as_in_do_command(text)
