"""Tables as real crons run them: cron 3.0pl1-197 of Debian and cronie 1.7.2 did so under a faked clock."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jobqueued.crontabs.jobs import CronHost, TablePlace
from jobqueued.crontabs.table import Form
from jobqueued.exchange import real_cron
from jobqueued.exchange.crontab import read_table
from jobqueued.exchange.draft import UniqueIds
from jobqueued.exchange.real_cron import Cron, refusal
from jobqueued.exchange.reckoning import first

NOW = datetime(2027, 3, 1, tzinfo=UTC)
NAMES = {"root", "alice"}
GOOD = "* * * * * root x\n"


def differences(text: str, cron: Cron, place: TablePlace | None = None, zone: str = "Europe/Berlin") -> list[str]:
    """What is said of a table, each with its line."""
    place = place or TablePlace("cron.d/x")
    source = read_table(text.encode(), "f", "x", place, CronHost(zone), UniqueIds())
    host = real_cron.RealCronHost(zone, NOW, NAMES.__contains__)
    found = real_cron.problems("f", text.encode(), place.form, source.drafts, cron, host)
    return [f"{problem.line}: {problem.message.removeprefix('differs: ')}" for problem in found]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("61 5 * * * root x", "bad minute"), ("5 24 * * * root x", "bad hour"), ("5- * * * * root x", "bad minute"),
        ("5,,6 * * * * root x", "bad minute"), ("5, * * * * root x", "bad minute"),
        ("* * 0 * * root x", "bad day-of-month"), ("* * * foo * root x", "bad month"),
        ("* * * * 8 root x", "bad day-of-week"), ("* * L * * root x", "bad day-of-month"),
        ("*/0 * * * * root x", "bad minute"), ("1-3/2x 5 * * * root x", "bad minute"),
        ("~ 5 * * * root x", "bad minute"),
        ("-* * * * * root x", "bad minute"), ("H * * * * root x", "bad minute"), ("* * * *", "bad day-of-week"),
        ("* * * * * nobody-here x", "bad username nobody-here"), 
        ("* * * * * * root x", "bad username *"), ("* * * * * \0root x", "bad username"),
        ("* * * * * ro\0t x", "bad username ro"), ("@hourly\0root x", "bad username"),
        ("@every root x", "bad time specifier"),
        ("@Daily root x", "bad time specifier"), ("A\0 \0", "bad minute"), ("foo", "bad minute"),
        ("A B=5", "bad minute"), ('"A=5', "bad minute"), ("B='y'z", "bad minute"), ("A='b", "bad minute"),
        ("* * * * * root true " + "x" * 994, "command too long"), ("\r", "bad minute"),
        ("5/15 * * * * root x", "bad minute"), ("5,7/2 * * * * root x", "bad minute"),
        ("* 0/1 * * * root x", "bad hour"), ("* * * jan/2 * root x", "bad month"),
        ("* * * * mon/2 root x", "bad day-of-week"), ("*/4294967295 * * * * root x", "bad minute"),
        ("9223372036854775813 * * * * root x", "bad minute"), ('"="=x', "bad minute"),
        ('A="' + "x" * 995 + '"', "bad minute"), ("x" * 998 + "=1", "bad minute"), ('A="x\0y"', "bad minute"),
        ("A=b\0c", "bad minute"), ("\0\0", "bad minute"), ("* * * * * root x\0y", "bad minute"),
        ("A =\0 \0", "bad minute"), ("1 -5\0 * * * root x", "bad hour"),
        ("* *\0,x\0 61 * * root x", "bad day-of-month"),
        ("= \"'='#a", "bad minute"), ("\rA=b", "bad minute"),
    ],
)  # fmt: skip
def test_one_line_refuses_the_whole_table(line: str, reason: str) -> None:
    """In Debian's cron, wherever it stands; cronie leaves out the line."""
    for text, number in ((f"{line}\n{GOOD}", 1), (f"{GOOD}{line}\n", 2)):
        assert (number, reason) == refusal(text.encode(), Form.SYSTEM, NAMES.__contains__)


@pytest.mark.parametrize(
    "text",
    [
        "A=\n", "A= \n", "=b\n", "C = 5 6 \n", "A = 'b c' \n", "# c\n", "   \t \n", "* 20-4 * * * root x\n", "# c",
        "  ", "1#2 * * * * root x\n", "0~2 5 * * * root x\n", "*5 * * * * root x\n", "*/99 * * * * root x\n",
        "00000001,2 5 * * * root x\n", "* * * * sun-sat root x\n", "* * * * 5-0 root x\n", "0 0 30 2 * root x\n",
        "* * * * * root  \n", "* * * * * root x%\n", "* * * * * root -n x\n", "@reboot root x\n",
        "* * * * * root true " + "x" * 993 + "\n", "A=" + "x" * 1200 + "\n", "* * * * * root x\r\n",
        ",".join(["0"] * 200) + " * * * * root x\n", "5#/2 * * * * root x\n", "4294967301 * * * * root x\n",
        "*/4294967297 * * * * root x\n", '  A="' + "x" * 994 + '"\n', "x" * 997 + "=1\n", "A=b\0C=d\n",
        "* * * * * root x\0 # \0y\n", "* * *\0-5 * 1\0\0 root x\n", "* * * * * root\0x\n", "* * * * * root *\n",
        "* * * * * root \0A = b\n", "* * * * * root\0" + "x" * 998 + "\n", "#\n" * 10_100, "A=b\n" * 10_002,
        "A\xa0=b\n",
    ],
)  # fmt: skip
def test_a_table_may_have(text: str) -> None:
    """Odd as it is, Debian's cron runs the other lines."""
    assert refusal(f"{GOOD}{text}".encode(), Form.SYSTEM, NAMES.__contains__) is None


def test_a_users_table() -> None:
    """It has no column of users; an empty command is one, a star is none."""
    for text in ("* * * * *\n", "* * * * * \n", "@daily\n", "\t*\t*  * *\t* x\n"):
        assert refusal(text.encode(), Form.USER, NAMES.__contains__) is None
    assert (1, "bad command") == refusal(b"* * * * * * x\n", Form.USER, NAMES.__contains__)
    assert (2, "missing newline before EOF") == refusal(b"@daily x\nA=5", Form.USER, NAMES.__contains__)
    assert (10_004, "too many lines") == refusal(b"A=b\n" * 10_004, Form.USER, NAMES.__contains__)


def test_the_user_is_searched_in_the_next_line() -> None:
    """Because Debian's cron reads the user up to a blank."""
    for text in ("* * * * * root\n", "@daily\n"):
        assert (1, "bad command") == refusal(text.encode(), Form.SYSTEM, NAMES.__contains__)
    for text, name in (("* * * * * root\n* *", "root\\n*"), ("@daily\nroot x", "\\nroot"), ("@daily\n root x", "\\n")):
        assert (1, f"bad username {name}") == refusal(f"{text}\n".encode(), Form.SYSTEM, NAMES.__contains__)


def test_a_nul_in_a_users_table() -> None:
    """It ends a command, but not a field."""
    for text in ("* * * * *\0x\n", "* * * * * x\0", "@daily \0A=b\n", "# * *\0*\n"):
        assert refusal(text.encode(), Form.USER, NAMES.__contains__) is None, text
    for text in ("@daily\0x\n", "@daily \0x\n", "* * * * * \0x\n"):
        assert (1, "bad minute") == refusal(text.encode(), Form.USER, NAMES.__contains__), text


def test_a_refused_table_is_told_once() -> None:
    """None of its lines runs there; in cronie the others do."""
    text = f"{GOOD}30 2 * * * root y\n61 * * * * root z\n"
    told = "3: Debian's cron runs nothing of this table, because line 3 has an error: bad minute"
    assert [told] == differences(text, Cron.DEBIAN, zone="UTC")
    assert [] == differences(text, Cron.CRONIE, zone="UTC")


def test_cron_tz_has_no_effect_in_debian() -> None:
    """Cronie goes by it, but not over clock changes."""
    text = "CRON_TZ=Asia/Tokyo\n0 12 * * * root x\n"
    (found,) = differences(text, Cron.DEBIAN)
    assert found == (
        "2: is due 2027-03-01 03:00:00+00:00, but Debian's cron starts it 2027-03-01 11:00:00+00:00, because it "
        "ignores "
        "CRON_TZ"
    )
    assert [] == differences(text, Cron.CRONIE)
    assert [] == differences("CRON_TZ=Europe/Berlin\n0 12 * * * root x\n", Cron.DEBIAN)
    (found,) = differences("CRON_TZ=Europe/Berlin\n30 2 * * * root x\n", Cron.CRONIE, zone="UTC")
    assert found.startswith("2: is due 2027-03-28 01:00:00+00:00, but cronie starts it 2027-03-29 00:30:00+00:00")


def test_random_delay_and_n_have_no_effect_in_debian() -> None:
    """It starts what cronie delays at once, and gives -n to the shell."""
    assert ["2: starts up to RANDOM_DELAY later, but Debian's cron ignores RANDOM_DELAY"] == differences(
        "RANDOM_DELAY=45\n0 12 * * * root x\n", Cron.DEBIAN
    )
    assert ["1: Debian's cron reads -n as the beginning of the command"] == differences(
        "0 1 * * * root -n x\n", Cron.DEBIAN
    )
    assert [] == differences("RANDOM_DELAY=45\n0 12 * * * root -n x\n", Cron.CRONIE)


@pytest.mark.parametrize("cron", Cron)
def test_each_match_in_a_gap_is_a_start(cron: Cron) -> None:
    """Two processes at 3 o'clock, where one run is due here; a single match, and a wildcard, are the same in both."""
    (found,) = differences("0,30 2 * * * root x\n", cron)
    told = cron.sentence_name
    assert found == f"1: is due once at 2027-03-28 01:00:00+00:00, but {told} starts it 2 times"
    assert [] == differences("30 2 * * * root x\n*/20 * * * * root y\n30 1,2,3 * * * root z\n@reboot root w\n", cron)


def test_a_tilde() -> None:
    """Debian's cron takes the number before it, and refuses one without; cronie draws, as a job does here."""
    text = "30~59 3 * * * root x\n"
    (found,) = differences(text, Cron.DEBIAN, zone="UTC")
    assert found.endswith("Debian's cron starts it 2027-03-01 03:30:00+00:00")
    assert ["1: Debian's cron runs nothing of this table, because line 1 has an error: bad minute"] == differences(
        "~ 3 * * * root x\n", Cron.DEBIAN
    )
    assert [] == differences(f"{text}~ ~5 * * mon~ root y\n", Cron.CRONIE, zone="UTC")


def test_gaps_of_real_crons() -> None:
    """Debian's cron drops one of more than three hours, which cronie does not notice where no flag changes."""
    day = datetime(2011, 12, 29, 10, tzinfo=UTC)  # of Apia, which left out the next one
    assert [datetime(2011, 12, 29, 10, 30, tzinfo=UTC), datetime(2011, 12, 30, 10, 30, tzinfo=UTC)] == first(
        "30 0 * * *", "Pacific/Apia", day, 2, "debian"
    )
    before = datetime(2025, 3, 29, 23, tzinfo=UTC)  # of Troll, whose gap has two hours
    assert 2 == first("30 1,2 * * *", "Antarctica/Troll", before, 4, "debian").count(
        datetime(2025, 3, 30, 1, tzinfo=UTC)
    )


def test_anacron_counts_from_the_last_time() -> None:
    """Here a period is a part of the calendar; a daily one is the same."""
    assert ["2: is due each Sunday, but anacron runs it 7 days after its last run",
            "3: is due every 10 days of the calendar, but anacron runs it 10 days after its last run"] == differences(
        "1 5 a x\n7 5 b y\n10 5 c z\n", Cron.DEBIAN, TablePlace("anacrontab", periodic=True)
    )  # fmt: skip


def test_anacron_knows_these_periods() -> None:
    """The proof knows the named periods of Debian's anacron 2.3-43 and of cronie 1.7.2's anacron. Debian's anacron
    ignores a line whose name it does not know.
    """
    text = "@daily 5 a x\n@weekly 5 b x\n@monthly 5 c x\n@yearly 5 d x\n@annually 5 e x\n30 5 f x\n31 5 g x\n"
    place = TablePlace("anacrontab", periodic=True)
    month, year = "is due on the first of each month, but", "is due on 1 January, but"
    numbers = [f"6: {month} anacron runs it 30 days after its last run",
               f"7: {month} anacron runs it 31 days after its last run"]  # fmt: skip
    names = [f"3: {month} anacron runs it a month after its last run",
             f"4: {year} anacron runs it a year after its last run"]  # fmt: skip
    ignores = "Debian's anacron ignores the line, because it has no"
    assert [f"1: is due each day, but {ignores} @daily", f"2: is due each Sunday, but {ignores} @weekly", *names,
            f"5: {year} {ignores} @annually", *numbers] == differences(text, Cron.DEBIAN, place)  # fmt: skip
    assert ["2: is due each Sunday, but anacron runs it 7 days after its last run", *names,
            f"5: {year} anacron runs it a year after its last run", *numbers
            ] == differences(text, Cron.CRONIE, place)[1:]  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "delay", "told"),
    [
        ("", 5, "is due at 07:35, but cronie's anacron starts it at 00:06"),
        ("START_HOURS_RANGE=3-22\n", 5, ""),
        ("START_HOURS_RANGE=3-22\n", 58, ""),
        ("START_HOURS_RANGE=3-22\n", 59, "is due at 03:59, but cronie's anacron starts it at 03:00"),
        ("START_HOURS_RANGE=22-6\n", 5, "is due at 22:05, but cronie's anacron never starts it"),
        ("START_HOURS_RANGE=3\n", 5, "is due at 03:05, but cronie's anacron starts it at 00:06"),
        ("START_HOURS_RANGE=3-22\nPREFERRED_HOUR=3\n", 5, ""),
        ("START_HOURS_RANGE=3-22\nPREFERRED_HOUR=x\n", 5, ""),
        ("START_HOURS_RANGE=3-22\nPREFERRED_HOUR=4\nPREFERRED_HOUR=25\n", 5, ""),
        ("START_HOURS_RANGE=3-22\nPREFERRED_HOUR=04\n", 5, "is due at 03:05, but cronie's anacron starts it at 04:06"),
        ("START_HOURS_RANGE=3-22\nPREFERRED_HOUR=2\n", 5, "is due at 03:05, but cronie's anacron never starts it"),
        ("PREFERRED_HOUR=24\n", 5, "is due at 07:35, but cronie's anacron never starts it"),
        ("PREFERRED_HOUR=7\n", 30, "is due at 08:00, but cronie's anacron starts it at 07:31"),
    ],
)
def test_the_start_of_cronies_anacron(variables: str, delay: int, told: str) -> None:
    """Cron starts it each hour at minute 1; it starts the jobs whose delay then ends in an allowed hour, so just after
    midnight if no variable says otherwise. The last variable of the table counts, also below the line.
    """
    place = TablePlace("anacrontab", periodic=True)
    text = f"{variables}1 {delay} a x\n"
    line = text.count("\n")
    assert ([f"{line}: {told}"] if told else []) == differences(text, Cron.CRONIE, place)
    assert ["1: is due at 07:35, but cronie's anacron starts it at 09:06"] == differences(
        "1 5 a x\nSTART_HOURS_RANGE=9-22\n", Cron.CRONIE, place
    )


def test_only_cronies_anacron_has_these_variables() -> None:
    place = TablePlace("anacrontab", periodic=True)
    for text, told in (
        ("START_HOURS_RANGE=3-22\n1 5 a x\n", "is due in START_HOURS_RANGE, but Debian's anacron ignores "),
        ("RANDOM_DELAY=45\n1 5 a x\n", "starts up to RANDOM_DELAY later, but Debian's anacron ignores "),
    ):
        assert [f"2: {told}{text.partition('=')[0]}"] == differences(text, Cron.DEBIAN, place)
        assert [] == differences(text.replace("=", "=x"), Cron.DEBIAN, place)
        told_of_cronie = differences(text, Cron.CRONIE, place)
        assert (
            [] if "HOURS" in text else ["2: is due at 07:35, but cronie's anacron starts it at 00:06"]
        ) == told_of_cronie
