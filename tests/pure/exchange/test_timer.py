"""Timers of systemd: as far as cron's words reach they become jobs, due when systemd itself says; the rest is told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jobqueued.base.instants import HOUR, MINUTE
from jobqueued.exchange import proof
from jobqueued.exchange.calendar_event import Unsayable, cron_time
from jobqueued.exchange.draft import ImportedFile, UniqueIds
from jobqueued.exchange.job_file import text_of
from jobqueued.exchange.timer import read_timer
from jobqueued.exchange.unit_files import read_unit, span_of, words_of
from jobqueued.jobfile.reader import read_jobs
from jobqueued.model.job import CatchUp, Job
from tests.support.calendar_events import SAYABLE

NOW = datetime(2027, 3, 1, tzinfo=UTC)
UNSAYABLE = (
    "2027-01-01 00:00",
    "Mon *-*-1..7 00:00",
    "*-*~1 00:00",
    "*-*-* 24:00",
    "*-13-1",
    "tomorrow",
    "*:0/0.5",
    "*:*/5",
    "*:*..5",
    "*/2:00",
    "*-*-*/2",
    "*:0/60",
    "*-*-2/30",
)


@pytest.mark.parametrize(("event", "schedule"), SAYABLE.items())
def test_a_calendar_event_is_a_cron_expression(event: str, schedule: str) -> None:
    """Of five fields."""
    assert (schedule, "") == (cron_time(event).schedule, cron_time(event).timezone)


def test_a_range_of_one_weekday() -> None:
    """A range that begins and ends with the same weekday is this day, Sunday too."""
    assert ["0 0 * * sun", "0 0 * * sat"] == [cron_time(event).schedule for event in ("sun..sun", "Sat..Sat")]


@pytest.mark.parametrize("value", ["1", "yes", "Y", "True", "t", "ON"])
def test_each_word_for_yes(value: str) -> None:
    """Systemd and import read the same values as yes."""
    _, (job,) = imported(f"[Timer]\nOnCalendar=daily\nPersistent={value}\n", "[Service]\nExecStart=/bin/x\n")
    assert CatchUp.LATEST is job.catch_up


def test_only_line_ends_and_blanks_part_words() -> None:
    """Other white space of Unicode belongs to the word."""
    _, (job,) = imported("[Timer]\nOnCalendar=daily\n", "[Service]\nExecStart=/bin/a x\u2028y z\fq \u00a0\n")
    assert ("/bin/a", "x\u2028y", "z\fq", "\u00a0") == tuple(job.command)


@pytest.mark.parametrize("event", UNSAYABLE)
def test_what_cron_cannot_say_is_refused(event: str) -> None:
    """Years, weekdays within a part of the month, the last days of a month, what never comes."""
    with pytest.raises(Unsayable):
        cron_time(event)


def imported(timer: str, service: str | None) -> tuple[ImportedFile, tuple[Job, ...]]:
    """A timer, and the job that its file has."""
    units = (read_unit(timer), None if service is None else read_unit(service))
    source = read_timer(*units, "f.timer", "f", "Europe/Berlin", UniqueIds())
    jobs, problems = read_jobs(text_of(source.drafts, "x").encode(), "g", timezone="Europe/Berlin")
    assert [] == [problem for problem in problems if source.drafts]
    assert [] == list(proof.check(source.drafts, jobs, NOW))
    return source, jobs if source.drafts else ()


def test_a_timer_with_its_service_is_a_job() -> None:
    """Its command is a list, it is caught up if it is persistent, and never overlaps itself."""
    source, (job,) = imported(
        "[Unit]\nDescription=Trim\n[Timer]\nOnCalendar=weekly\nOnCalendar=\nOnCalendar=*-*-* 02:30:00\\\n  Asia/Tokyo\n"
        "Persistent=true\nRandomizedDelaySec=1h 40min\nFixedRandomDelay=true\n",
        "[Service]\n# said\nType=oneshot\nExecStart=/bin/x --a 'b c' 100%%\nUser=alice\nEnvironment=A=1 'B=2 3'\n"
        "Nice=5\nUMask=0027\nIOSchedulingClass=idle\nRuntimeMaxSec=2h\nSuccessExitStatus=3 4\nKillMode=process\n",
    )
    assert [] == source.problems
    assert (("/bin/x", "--a", "b c", "100%"), "alice") == (job.command, job.user)
    assert (("30 2 * * *",), "Asia/Tokyo", "skip") == (job.schedule, job.timezone, job.dst)
    assert ("latest", "skip", 100 * MINUTE, 2 * HOUR) == (job.catch_up, job.overlap, job.spread, job.timeout)
    assert (5, 0o027, "idle", (0, 3, 4), True) == (
        job.nice,
        job.umask,
        job.ionice,
        job.success_codes,
        job.leave_children,
    )
    assert {"A": "1", "B": "2 3"} == dict(job.environment)


@pytest.mark.parametrize(
    ("timer", "service", "said"),
    [
        ("OnCalendar=daily", "ExecStart=/bin/x\nProtectSystem=strict\nConditionACPower=true",
         "no job key corresponds to `ConditionACPower=`, `ProtectSystem=`"),
        ("OnBootSec=15min", "ExecStart=/bin/x", "starts at boot, not 15m later"),
        ("OnUnitActiveSec=1d", "ExecStart=/bin/x", "`every: 1d` counts from 1 January 1970"),
        ("OnCalendar=daily\nRandomizedDelaySec=5m", "ExecStart=/bin/x", "`spread` is the same delay at each start"),
        ("OnCalendar=daily", "ExecStart=/bin/x\nEnvironmentFile=-/etc/x", "`EnvironmentFile=-…`"),
    ],
)  # fmt: skip
def test_what_no_key_says_is_told(timer: str, service: str, said: str) -> None:
    """The job is there all the same."""
    source, jobs = imported(f"[Timer]\n{timer}\n", f"[Service]\n{service}\n")
    assert (1, [said]) == (len(jobs), [problem.message[: len(said)] for problem in source.problems])
    assert [said] == [note[: len(said)] for note in source.rows[0]["notes"]]


@pytest.mark.parametrize(
    ("timer", "service", "said"),
    [
        ("OnCalendar=daily", None, "has no service"),
        ("OnCalendar=daily", "Type=oneshot", "has no command"),
        ("OnCalendar=daily", "ExecStart=+/bin/x", "`ExecStart=+/bin/x`: a job file can't have '+' before a command"),
        (
            "OnCalendar=daily",
            "ExecStart=/bin/x %i",
            "`ExecStart=/bin/x %i` has a specifier or variable that systemd replaces",
        ),
        (
            "OnCalendar=daily",
            "ExecStart=/bin/x $A",
            "`ExecStart=/bin/x $A` has a specifier or variable that systemd replaces",
        ),
        ("OnCalendar=daily", "ExecStart=/bin/x 'open", "No closing quotation"),
        ("OnCalendar=2027-01-01", "ExecStart=/bin/x", "found a year"),
        ("Persistent=true", "ExecStart=/bin/x", "has no time that a job file can express"),
        ("OnCalendar=daily", "ExecStart=/bin/x\nNice=often", "nice: found"),
        ("OnUnitActiveSec=5y", "ExecStart=/bin/x", "'5y' is not a time span"),
    ],
)
def test_what_cannot_be_a_job_is_told(timer: str, service: str | None, said: str) -> None:
    """And is not imported."""
    source, jobs = imported(f"[Timer]\n{timer}\n", None if service is None else f"[Service]\n{service}\n")
    (problem,) = source.problems
    assert ((), said) == (jobs, problem.message[: len(said)])
    assert problem.message.endswith("; it is not imported")


def test_several_commands_are_one_line_for_the_shell() -> None:
    """One after the other, as long as they succeed; one that may fail stops nothing."""
    _, (job,) = imported(
        "[Timer]\nOnCalendar=daily\n", "[Service]\nExecStartPre=-/bin/a\nExecStart=/bin/b 'c d'\nExecStart=/bin/e\n"
    )
    assert job.command == "{ /bin/a || true; } && /bin/b 'c d' && /bin/e"


@pytest.mark.parametrize(
    ("line", "commands"),
    [
        ("/bin/a ; /bin/b", "/bin/a && /bin/b"),
        ("/bin/a ; -/bin/b c", "/bin/a && { /bin/b c || true; }"),
        (r"/bin/a \; b ';' c; d;e", ("/bin/a", ";", "b", ";", "c;", "d;e")),
        (r"/bin/a \x41b 'c\x20d' \101 \u00e9\s|", ("/bin/a", "Ab", "c d", "A", "é |")),
        (r"""/bin/a "q\tr" '\'' "" x\q \\ a"b c"d""", ("/bin/a", "q\tr", "'", "", r"x\q", "\\", "ab cd")),
        ("/bin/a $$X %%y", ("/bin/a", "$X", "%y")),
        (":/bin/a $X $$Y %%z", ("/bin/a", "$X", "$$Y", "%z")),
        ("/bin/a \"b\\\n  c\" d", ("/bin/a", "b   c", "d")),
    ],
)  # fmt: skip
def test_commands_are_those_of_systemd(line: str, commands: str | tuple[str, ...]) -> None:
    """Separated, quoted and escaped as in systemd.syntax(7) and systemd.service(5)."""
    _, (job,) = imported("[Timer]\nOnCalendar=daily\n", f"[Service]\nExecStart={line}\n")
    assert commands == job.command


def test_variables_are_those_of_systemd() -> None:
    """A dollar in one is a dollar; a specifier is refused."""
    _, (job,) = imported(
        "[Timer]\nOnCalendar=daily\n",
        '[Service]\nExecStart=/bin/x\nEnvironment="A=$HOME x" B=\\x41 "C=a\\"b" D=\'e f\'g E=x"y z"w P=%%\n',
    )
    assert {"P": "%", "A": "$HOME x", "B": "A", "C": 'a"b', "D": "e fg", "E": "xy zw"}.items() <= dict(
        job.environment
    ).items()


def test_seconds_count() -> None:
    """Of a calendar event, and in the proof."""
    for event, schedule, seconds in (
        ("*-*-* 02:30:15", ("30 2 * * *",), "15"), ("*:0/10:30", ("*/10 * * * *",), "30"),
        ("hourly", ("0 * * * *",), None), ("*-*-* 3:0:0/20", ("0 3 * * *",), "*/20"),
    ):  # fmt: skip
        source, (job,) = imported(f"[Timer]\nOnCalendar={event}\n", "[Service]\nExecStart=/bin/x\n")
        assert (schedule, seconds) == (job.schedule, job.seconds)
    text = text_of(source.drafts, "x").replace("*/20", "*/30")
    later, problems = read_jobs(text.encode(), "g", timezone="Europe/Berlin")
    assert ([], 2) == (problems, len(list(proof.check(source.drafts, later, NOW))))


@pytest.mark.parametrize(
    ("timer", "service", "keys"),
    [
        ("OnCalendar=daily\nOnBootSec=infinity", "RuntimeMaxSec=infinity", {"schedule": "0 0 * * *"}),
        ("OnUnitActiveSec=1h\nOnBootSec=infinity", "", {"every": "1h"}),
        ("OnCalendar=daily\nOnUnitActiveSec=infinity", "TimeoutStopSec=infinity", {"kill_grace": "1h"}),
        ("OnCalendar=daily", "TimeoutStopSec=0", {"kill_grace": "1h"}),
    ],
)
def test_infinity(timer: str, service: str, keys: dict[str, str]) -> None:
    """A time that never comes makes nothing due, and a limit that is none is none."""
    source, (job,) = imported(f"[Timer]\n{timer}\n", f"[Service]\nExecStart=/bin/x\n{service}\n")
    (draft,) = source.drafts
    assert keys.items() <= draft.keys.items()
    assert (None, False) == (job.timeout, job.at_boot)
    told = [problem.message for problem in source.problems if "kill_grace" in problem.message]
    assert told == ["`kill_grace` is 1h at most, but systemd waits forever"] * ("kill_grace" in keys)


def test_the_directory_is_that_of_systemd() -> None:
    """/ for services of the system; one that may be missing, and the home of the user, are so."""
    for text, directory in (("", "/"), ("=-/srv", "-/srv"), ("=~", None), ("=/srv", "/srv")):
        setting = f"WorkingDirectory{text}\n" if text else ""
        _, (job,) = imported("[Timer]\nOnCalendar=daily\n", f"[Service]\nExecStart=/bin/x\n{setting}")
        assert directory == job.working_directory


def test_spans_and_words() -> None:
    """As systemd.time(7) and systemd.syntax(7) have them."""
    assert (90 * MINUTE, 5 * MINUTE) == (span_of("1h 30min"), span_of("300"))
    assert ["a b", "c"] == words_of("'a b' c")
