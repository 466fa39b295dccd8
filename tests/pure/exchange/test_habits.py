"""Habits of real crontabs, as 126 of them showed them: each line read as cron reads it, or stricter on purpose.

The tables themselves are others' work and not here; each case is our own, made after one of theirs.
"""

from __future__ import annotations

from typing import Any

import pytest

from jobqueued.crontabs.jobs import CronHost, TablePlace
from jobqueued.exchange.crontab import read_table
from jobqueued.exchange.draft import UniqueIds

Row = dict[str, Any]


def env(line: int, name: str, value: str) -> Row:
    """A row of a variable."""
    return {"line": line, "type": "env", "name": name, "value": value}


def job(line: int, schedule: str, command: str, user: str = "alice", **more: Any) -> Row:
    """A row of a job."""
    return {"line": line, "type": "job", "schedule": schedule, "user": user, "command": command, **more}


def error(line: int, reason: str, text: str) -> Row:
    """A row of a line that is none, with cron's reason."""
    return {"line": line, "type": "error", "reason": reason, "text": text}


HABITS: dict[str, tuple[str, str, list[Row]]] = {
    "blanks before, between and behind": ("user", "  0\t5 *  * *\t run it  \n", [job(1, "0 5 * * *", "run it  ")]),
    "variables after jobs, in quotes, with dollars": (
        "user", 'a = "b c"\n0 5 * * * x\nPATH=$PATH:/opt\nd=\'e\' f\n',
        [env(1, "a", "b c"), job(2, "0 5 * * *", "x", environment={"a": "b c"}), env(3, "PATH", "$PATH:/opt"),
         error(4, "bad minute", "d='e' f")],
    ),
    "a percent in date's format, with and without a backslash": (
        "user", "0 5 * * * tar x-$(date +\\%F)\n0 5 * * * tar x-$(date +%F)\n",
        [job(1, "0 5 * * *", "tar x-$(date +%F)"), job(2, "0 5 * * *", "tar x-$(date +", stdin="F)\n")],
    ),
    "a user's crontab with a column of users": ("user", "0 5 * * * root x\n", [job(1, "0 5 * * *", "root x")]),
    "a system's crontab without one": ("system", "0 5 * * * cp /a /b\n", [job(1, "0 5 * * *", "/a /b", "cp")]),
    "names, and Sunday by 7": (
        "system", "0 5 * jan-Mar,OCT 7 bob x\n", [job(1, "0 5 * jan-Mar,OCT 7", "x", "bob")],
    ),
    "a range of weekdays that runs backwards": (
        "user", "0 5 * * Wed-Sun x\n", [error(1, "bad day-of-week", "0 5 * * Wed-Sun x")],
    ),
    "nicknames": (
        "user", "@reboot x\n@daily y\n@Daily z\n@every_minute z\n",
        [job(1, "@reboot", "x"), job(2, "@daily", "y"), error(3, "bad time specifier", "@Daily z"),
         error(4, "bad time specifier", "@every_minute z")],
    ),
    "seconds, as other programs have them": (
        "user", "*/10 0 5 * * * x\n0 30 * * * x\n",
        [error(1, "bad command", "*/10 0 5 * * * x"), error(2, "bad hour", "0 30 * * * x")],
    ),
    "H of Jenkins, L of others, ~ of OpenBSD and cronie": (
        "user", "H 5 * * * x\n0 5 L * * x\n0~30 5 * * * x\n40~30 5 * * * x\n",
        [error(1, "bad minute", "H 5 * * * x"), error(2, "bad day-of-month", "0 5 L * * x"),
         job(3, "0~30 5 * * *", "x"), error(4, "bad minute", "40~30 5 * * * x")],
    ),
    "a template that nobody filled in": ("user", "{CRON} x\n", [error(1, "bad minute", "{CRON} x")]),
    "no newline at the end": (
        "user", "0 5 * * * x\n0 6 * * * y",
        [job(1, "0 5 * * *", "x"), error(2, "missing newline before EOF", "0 6 * * * y")],
    ),
    "carriage returns, which cron gives to the command": ("user", "0 5 * * * x\r\n", [job(1, "0 5 * * *", "x")]),
    "letters that are not ASCII": ("user", "# für alle\n0 5 * * * echo ü\n", [job(2, "0 5 * * *", "echo ü")]),
    "-n of OpenBSD and cronie": ("system", "0 5 * * * root -n x\n", [job(1, "0 5 * * *", "x", "root")]),
    "prose": ("user", "Crontab of the web server\n\n", [error(1, "bad minute", "Crontab of the web server")]),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "rows"), HABITS.values(), ids=HABITS)
def test_a_habit_of_real_crontabs_is_read_as_cron_reads_it(kind: str, text: str, rows: list[Row]) -> None:
    """docs/moving-from-cron.md says where this is stricter."""
    place = TablePlace("crontabs/alice", "alice") if kind == "user" else TablePlace("cron.d/x")
    source = read_table(text.encode(), "f", "x", place, CronHost(), UniqueIds())
    assert len(rows) == len(source.rows)
    assert rows == [{key: row[key] for key in wanted} for wanted, row in zip(rows, source.rows, strict=True)]
