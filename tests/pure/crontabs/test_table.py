"""Tables: each line is what cron takes it for, or is told with the words that mend it, and harms no other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.crontabs.table import (
    LONGEST,
    MOST_VARIABLES,
    Assignment,
    Comment,
    Form,
    LineFlaw,
    TableEntry,
    read,
    read_in_steps,
)


def flaws(data: bytes, form: Form = Form.USER) -> list[tuple[int, str]]:
    """The lines that count for nothing, with cron's words for it."""
    return [(item.line, item.reason) for item in read(data, form) if isinstance(item, LineFlaw)]


def entries(data: bytes, form: Form = Form.USER) -> list[TableEntry]:
    """The jobs of a table."""
    return [item for item in read(data, form) if isinstance(item, TableEntry)]


def test_a_table_of_the_system_has_a_user_in_each_line() -> None:
    """Debian's own /etc/crontab, with its guard."""
    text = b"""# /etc/crontab
SHELL=/bin/sh
# m h dom mon dow user command
17 *\t* * *\troot\tcd / && run-parts --report /etc/cron.hourly

25 6\t* * *\troot\ttest -x /usr/sbin/anacron || ( cd / && run-parts --report /etc/cron.daily )
"""
    environment = (("SHELL", "/bin/sh"),)
    title, shell, heading, hourly, daily = read(text, Form.SYSTEM)
    assert (title, heading) == (Comment(1, "# /etc/crontab"), Comment(3, "# m h dom mon dow user command"))
    assert shell == Assignment(2, "SHELL", "/bin/sh")
    assert isinstance(hourly, TableEntry)
    assert isinstance(daily, TableEntry)
    assert (hourly.line, hourly.schedule, hourly.user) == (4, "17 * * * *", "root")
    assert hourly.command == "cd / && run-parts --report /etc/cron.hourly"
    assert [comment.text for comment in hourly.above] == ["# m h dom mon dow user command"]
    assert daily.command == "test -x /usr/sbin/anacron || ( cd / && run-parts --report /etc/cron.daily )"
    assert (daily.environment, daily.above) == (environment, ())


def test_variables_count_from_their_line_on() -> None:
    """A job has those above it, as they are there, and none from below."""
    first, second, third = entries(b"@daily a\nA=1\n@daily b\nA=2\nB=3\n@daily c\nC=4\n")
    assert first.environment == ()
    assert second.environment == (("A", "1"),)
    assert third.environment == (("A", "2"), ("B", "3"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("60 * * * * x", "bad minute"),
        ("*/0 * * * * x", "bad minute"),
        ("5/15 * * * * x", "bad minute"),
        ("H * * * * x", "bad minute"),
        ("1,,2 * * * * x", "bad minute"),
        ("jan * * * * x", "bad minute"),
        ("A=b c", ""),
        ("words of a person", "bad minute"),
        ("0 24 * * * x", "bad hour"),
        ("0 20-4 * * * x", "bad hour"),
        ("0 0", "bad day-of-month"),
        ("0 0 0 * * x", "bad day-of-month"),
        ("0 0 L * * x", "bad day-of-month"),
        ("0 0 * 13 * x", "bad month"),
        ("0 0 * january * x", "bad month"),
        ("0 0 * * 8 x", "bad day-of-week"),
        ("0 0 * * 1#2 x", "bad day-of-week"),
        ("0 0 * * 5L x", "bad day-of-week"),
        ("0 0 * * fri-sun x", "bad day-of-week"),
        ("0 0 * * MON-fri/2,SUN x", ""),
        ("0 0 * jan-Mar 0-7 x", ""),
        ("0 0 30 2 * x", ""),
        ("* * * * * * x", "bad command"),
        ("* * * * *", "bad command"),
        ("* * * * * %x", "bad command"),
        ("@Daily x", "bad time specifier"),
        ("@every_minute x", "bad time specifier"),
        ("@reboot", "bad command"),
        ("@reboot x", ""),
        ("-*/5 * * * * x", ""),
        ("=x", "bad name"),
    ],
)
def test_a_line_is_accepted_or_refused_with_crons_word(line: str, reason: str) -> None:
    """Grammar as crontab(5) has it; what Debian's cron takes silently and never runs, or runs otherwise, is refused."""
    table = f"@daily before\n{line}\n@daily behind\n".encode()
    assert flaws(table) == ([(2, reason)] if reason else [])
    assert [entry.command for entry in entries(table)][0::99] == ["before"]
    assert entries(table)[-1].command == "behind"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("* * * * * root", "bad command"),
        ("* * * * *", "bad command"),
        ("* * * * * /usr/bin/x", "bad username"),
        ("* * * * * ro:ot x", "bad username"),
        ("@daily root x", ""),
        ("@daily", "bad command"),
        ("* * * * * machine$ x", ""),
    ],
)
def test_a_line_of_the_system_needs_a_user(line: str, reason: str) -> None:
    """A path in the column of the user is the usual mistake there."""
    assert flaws(f"{line}\n".encode(), Form.SYSTEM) == ([(1, reason)] if reason else [])


def test_prefixes_of_other_crons_are_known() -> None:
    """A dash before the line, and cronie's -n before the command, are no part of them."""
    (found,) = entries(b"-0 1 * * * root -n cmd -n\n", Form.SYSTEM)
    assert (found.schedule, found.user, found.command) == ("0 1 * * *", "root", "cmd -n")
    assert (found.quiet, found.only_on_error) == (True, True)


def test_a_last_line_without_its_newline_is_none() -> None:
    """Half a command is a command too; a comment, and blanks, have nothing to lose."""
    assert flaws(b"@daily a\n@daily rm -rf /srv/ol") == [(2, "missing newline before EOF")]
    assert flaws(b"@daily a\nA=b") == [(2, "missing newline before EOF")]
    assert flaws(b"@daily a\n# the end") == []
    assert flaws(b"@daily a\n \t") == []
    assert read(b"", Form.USER) == []


def test_dos_line_ends_are_seen_and_no_part_of_the_command() -> None:
    """A command or its input never gets the carriage return that cron would give it."""
    plain, fed = entries(b"A=b\r\n\r\n@daily cmd\r\n@daily cat%x\r\n")
    assert (plain.command, plain.dos, plain.environment) == ("cmd", True, (("A", "b"),))
    assert (fed.command, fed.stdin, fed.dos) == ("cat", "x\n", True)


def test_bytes_that_are_no_text_cost_their_line() -> None:
    """NUL, other charsets and endless lines are told; in a comment they harm nobody."""
    table = b"# caf\xe9\0\n@daily a\n@daily b\0c\n@daily caf\xe9\n@daily " + b"x" * LONGEST + b"\n@daily z\n"
    assert flaws(table) == [(3, "bad command"), (4, "bad command"), (5, "command too long")]
    assert [entry.command for entry in entries(table)] == ["a", "z"]


def test_a_table_cannot_grow_by_its_variables() -> None:
    """Each job has all variables above it, so their number is bounded; those that are there may change."""
    table = b"".join(b"V%d=x\n" % number for number in range(MOST_VARIABLES + 2)) + b"V0=y\n@daily a\n"
    assert flaws(table) == [(MOST_VARIABLES + n, "too many variables") for n in (1, 2)]
    (found,) = entries(table)
    assert len(found.environment) == MOST_VARIABLES
    assert dict(found.environment)["V0"] == "y"


def test_comments_directly_above_a_line_are_its_own() -> None:
    """A blank line or another line between them ends that."""
    first, second, third = entries(b"# a\n# b\n@daily x\n# c\n\n@daily y\n# d\nA=b\n@daily z\n")
    assert [comment.text for comment in first.above] == ["# a", "# b"]
    assert second.above == third.above == ()


def test_what_is_wrong_is_said_in_one_line_that_a_terminal_can_show() -> None:
    """Text of strangers is data, in messages too."""
    for text in (b"\x1b]0;x\x07 * * * * x\n", b"* * * * * \x1b[2J x\n", b"@\x1b[1m x\n", b"a" * 9999 + b" b\n"):
        (found,) = read(text, Form.SYSTEM)
        assert isinstance(found, LineFlaw)
        assert found.message.isprintable()
        assert len(found.message) < 600


def test_an_endless_table_is_read_in_small_steps() -> None:
    """A slice is a hundred lines, whatever is in them."""
    assert sum(1 for _ in read_in_steps(b"@daily a\n" * 1000, Form.USER)) == 10


@given(st.binary(max_size=200), st.sampled_from(Form))
def test_no_bytes_raise(data: bytes, form: Form) -> None:
    """Whatever is in a file, each line is something."""
    assert all(1 <= item.line <= data.count(b"\n") + 1 for item in read(data, form))
