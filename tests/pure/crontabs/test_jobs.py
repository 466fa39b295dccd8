"""Jobs of crontabs: they do what cron would do, keep their name while they are the same, and harm no other."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.base.filenames import file_name
from jobqueued.base.instants import DAY, HOUR, MINUTE, to_datetime, to_instant
from jobqueued.crontabs.jobs import MAX_JOBS, CronHost, TablePlace, read_jobs_in_steps
from jobqueued.crontabs.names import of_table, word_of
from jobqueued.crontabs.options import OF_A_USER
from jobqueued.crontabs.run_parts import parts_of
from jobqueued.jobfile.keys.keys import JOB_KEYS
from jobqueued.jobfile.tree.yamltext import at_once, quoted
from jobqueued.model.job import CatchUp, Claim, Job
from jobqueued.model.notify import NOBODY, Notify

SYSTEM, ALICE = TablePlace("cron.d/x"), TablePlace("crontabs/alice", "alice")
HOST = CronHost("Europe/Berlin")


def jobs_of(text: str, place: TablePlace = ALICE, host: CronHost = HOST) -> tuple[Job, ...]:
    """The jobs of a table in which nothing is wrong."""
    jobs, problems = at_once(read_jobs_in_steps(text.encode(), "f", place, host))
    assert [] == [problem for problem in problems if problem.severity == "error"]
    return jobs


def problems_of(text: str, place: TablePlace = ALICE) -> list[str]:
    """All that is wrong with a table."""
    return [str(problem) for problem in at_once(read_jobs_in_steps(text.encode(), "f", place, HOST))[1]]


def test_a_line_becomes_what_cron_would_do() -> None:
    """It overlaps itself, is not caught up, leaves its children alone, and has cron's variables, shell and zone."""
    (job,) = jobs_of("*/5 1 * * * cat > x%hello%\n")
    assert (job.user, job.command, job.stdin, job.shell) == ("alice", "cat > x", "hello\n", "/bin/sh")
    assert (job.schedule, job.timezone, job.dst) == (("*/5 1 * * *",), "Europe/Berlin", "cron")
    assert (job.catch_up, job.leave_children, job.timeout, job.retries) == (CatchUp.NONE, True, None, 0)
    assert (job.concurrency, job.outlasts_steps) == (1000, False)
    assert [False, False, False, True] == [
        job.outlasts_steps for job in jobs_of("* 1 * * * a\n0 * * * * b\n@reboot c\n@daily d\n")
    ]
    assert job.environment == (("PATH", "/usr/bin:/bin"),)
    assert job.notify == Notify(("output",), ("alice",), remind=None)
    assert (job.file, job.line, job.working_directory) == ("f", 1, None)


def test_variables_of_cron_decide_about_the_job() -> None:
    """SHELL, HOME, CRON_TZ, RANDOM_DELAY, MAILTO and MAILFROM; LOGNAME can't be set, TZ is the command's own."""
    first, second = jobs_of(
        "SHELL=/bin/bash\nHOME=/srv\nPATH=/opt/bin\nLOGNAME=eve\nTZ=UTC\nCRON_TZ=Asia/Tokyo\nRANDOM_DELAY=45\n"
        'MAILTO="ops@example.org, root"\nMAILFROM=cron@example.org\n30 2 * * * root a\nMAILTO=""\n'
        "CRON_TZ=\n@hourly bob b\n",
        SYSTEM,
    )
    assert (first.user, first.shell, first.working_directory) == ("root", "/bin/bash", "-/srv")
    assert dict(first.environment)["PATH"] == "/opt/bin"
    assert dict(first.environment)["TZ"] == "UTC"
    assert "LOGNAME" not in dict(first.environment)
    assert (first.timezone, first.spread) == ("Asia/Tokyo", 45 * MINUTE)
    assert first.offset < 45 * MINUTE
    assert first.notify == Notify(("output",), ("ops@example.org", "root"), remind=None, sender="cron@example.org")
    start = to_instant(datetime(2026, 1, 1, tzinfo=UTC))
    assert to_datetime(first.next_after(start) or 0) == datetime(2026, 1, 1, 17, 30, tzinfo=UTC)
    assert (second.user, second.timezone, second.notify) == ("bob", "Europe/Berlin", NOBODY)


@pytest.mark.parametrize(
    ("place", "sender", "permits", "is_taken"),
    [
        (ALICE, "alice", False, True), (ALICE, "alice@db1", False, True), (ALICE, "alice@DB1", False, True),
        (ALICE, "root", False, False), (ALICE, "root@db1", False, False), (ALICE, "bob@example.org", False, False),
        (ALICE, "alice@example.org", False, False), (ALICE, "Alice", False, False), (ALICE, "bob", True, True),
        (TablePlace("crontabs/root", "root"), "ops@example.org", False, True), (SYSTEM, "ops@example.org", False, True),
    ],
)  # fmt: skip
def test_no_user_sends_mail_in_the_name_of_another(
    place: TablePlace, sender: str, permits: bool, is_taken: bool
) -> None:
    """MAILFROM of a user's table is that user here, or what root permits; else the line runs, and its mail has the
    host's sender.
    """
    text = f"MAILFROM={sender}\n@daily {'alice ' * (place is SYSTEM)}a\n"
    host = HOST._replace(name="db1", any_sender=permits)
    (job,), problems = at_once(read_jobs_in_steps(text.encode(), "f", place, host))
    assert job.notify.sender == sender * is_taken
    accepted = (
        "accepted in the table of alice: alice, alice@db1, or any address if root permits it with `users: {permit: "
    )
    told = f"f:1: MAILFROM has no effect: found {sender!r}; {accepted}[notify]}}` in jobqueued.yaml"
    expected = [] if is_taken else [(told, "warning", "JQ603")]
    assert expected == [(f"f:{it.line}: {it.message}", it.severity, it.code) for it in problems]


@pytest.mark.parametrize("place", [ALICE, SYSTEM])
@pytest.mark.parametrize(
    ("lines", "email", "odd"),
    [
        (f"MAILTO={odd}", (), [odd])
        for odd in ("-oQ/tmp", "|/bin/sh", "/srv/mails", "a b", "root;x", "<root>", "games@[127.0.0.1]", "@@", "x\\y")
    ]
    + [
        ("MAILTO= root ,, |id,-x", ("root",), ["|id"]),
        ("MAILTO=root\nMAILFROM=@@", ("root",), ["@@"]),
        ("MAILTO=root\nMAILFROM=-bs", ("root",), ["-bs"]),
        ("MAILTO=root\nMAILFROM=<root>", ("root",), ["<root>"]),
        ("MAILTO=root\nMAILFROM=root,x", ("root",), ["root,x"]),
    ],
)
def test_an_odd_address_costs_only_the_mail(
    lines: str, email: tuple[str, ...], odd: list[str], place: TablePlace
) -> None:
    """The lines below it run. Only addresses that job files accept get mail or send it."""
    user = "alice " * (place is SYSTEM)
    jobs, problems = at_once(read_jobs_in_steps(f"{lines}\n@daily {user}a\n".encode(), "f", place, HOST))
    assert [Notify(("output",), email, remind=None) if email else NOBODY] == [job.notify for job in jobs]
    expected = "expected a mail address such as ops@example.org"
    effect = "MAILFROM has no effect" if "MAILFROM" in lines else "a part of MAILTO gets no mail"
    line = len(lines.splitlines())
    assert [(line, f"{effect}: found {quoted(each)}; {expected}", "warning") for each in odd] == [
        (problem.line, problem.message, problem.severity) for problem in problems
    ]


@pytest.mark.parametrize(
    ("line", "field", "value", "said"),
    [
        *(
            (f"SHELL={odd}", "shell", shell,
             f"runs look for this SHELL in their working directory, as with cron: found '{odd}'; expected an absolute "
             "path")
            for odd, shell in (("bash", "./bash"), ("bin/sh", "bin/sh"))
        ),
        ("HOME=x", "working_directory", "-/",
         "runs start in / instead of HOME: found 'x'; expected an absolute path"),
        *(
            (f"RANDOM_DELAY={odd}", "spread", 0,
             f"RANDOM_DELAY has no effect: found '{odd}'; expected 0 to 1440 minutes")
            for odd in ("1h", "-5", "+5", "4.5", "1441", "9" * 50, "0x1F", "٣")
        ),
    ],
)  # fmt: skip
def test_an_odd_value_has_no_effect_as_in_debians_cron(line: str, field: str, value: object, said: str) -> None:
    """The lines below it run; cron does not look for SHELL in PATH, and enters no HOME like this."""
    jobs, problems = at_once(read_jobs_in_steps(f"@daily a\n{line}\n@daily b\n".encode(), "f", ALICE, HOST))
    assert ["a", "b"] == [job.command for job in jobs]
    assert value == getattr(jobs[1], field)
    name, _, given = line.partition("=")
    assert given == dict(jobs[1].environment)[name]
    assert [(f"f:2: {said}", "warning", "JQ602")] == [
        (f"f:{it.line}: {it.message}", it.severity, it.code) for it in problems
    ]


def test_an_unknown_zone_costs_the_jobs_below_it() -> None:
    """The jobs above it run, and the jobs below its correction."""
    text = "@daily a\nCRON_TZ=CET/Berlin\n@daily b\nCRON_TZ=\n@daily c\n"
    jobs, problems = at_once(read_jobs_in_steps(text.encode(), "f", ALICE, HOST))
    assert ["a", "c"] == [job.command for job in jobs]
    (problem,) = problems
    assert str(problem).startswith("f:3: timezone: found 'CET/Berlin': write Europe/Berlin")
    assert str(problem).endswith("; this line is not run")


def test_an_owner_with_an_odd_name_gets_no_mail_without_mailto() -> None:
    """Such as a domain's user of winbind: each line without MAILTO has a warning, and runs."""
    text, owner = "@daily a\nMAILTO=root\n@daily b\n", r"DOM\alice"
    jobs, problems = at_once(read_jobs_in_steps(text.encode(), "f", ALICE._replace(owner=owner), HOST))
    assert [NOBODY, Notify(("output",), ("root",), remind=None)] == [job.notify for job in jobs]
    expected = f"the owner gets no mail without MAILTO: found {quoted(owner)}; expected a mail address"
    assert [(1, "warning")] == [(problem.line, problem.severity) for problem in problems]
    assert problems[0].message.startswith(expected)


def test_a_name_stays_while_schedule_user_and_command_do() -> None:
    """Whatever comes and goes around a line; of two alike the first keeps its own."""
    before = [job.id for job in jobs_of("0 1 * * * /opt/backup --full\n")]
    after = jobs_of("# new\nA=b\n@daily other\n\n0  1 *\t* * /opt/backup --full\n0 1 * * * /opt/backup --full\n")
    assert [job.id for job in after][1:] == [*before, f"{before[0]}.2"]
    assert before[0].startswith("crontabs/alice:backup-")
    others = ("0 2 * * * /opt/backup --full", "0 1 * * * /opt/backup", "0 1 * * * /opt/backup --full%x")
    assert len({*before, *(job.id for other in others for job in jobs_of(f"{other}\n"))}) == 4
    root, bob = jobs_of("@daily root x\n@daily bob x\n", SYSTEM)
    assert root.id != bob.id


def test_a_person_may_give_a_name_that_stays_for_good() -> None:
    """It is the id behind the table's, whatever becomes of the line."""
    for schedule in ("0 1 * * *", "0 2 * * *"):
        (job,) = jobs_of(f"# jobqueue: {{id: nightly}}\n{schedule} x\n")
        assert job.id == "crontabs/alice:nightly"


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("if [ -x /usr/bin/munin-cron ]; then /usr/bin/munin-cron; fi", "munin-cron"),
        ("test -x /usr/sbin/anacron || ( cd / && run-parts --report /etc/cron.daily )", "cron.daily"),
        ("test -x /usr/bin/certbot && perl -e 'sleep int(rand(43200))' && certbot -q renew", "certbot"),
        ("[ -x /usr/lib/php/sessionclean ] && if [ ! -d /run/systemd/system ]; then /usr/lib/php/sessionclean; fi",
         "sessionclean"),
        ("command -v debian-sa1 > /dev/null && debian-sa1 1 1", "debian-sa1"),
        ("cd /opt/app && /usr/bin/python3 pull.py >> log", "pull.py"),
        ("A=b nice -n 19 ionice -c3 /opt/Back_Up --x", "back_up"),
        ("bash -c 'x y'", "job"),
        ("echo $(date)", "echo"),
        ("", "job"),
    ],
)  # fmt: skip
def test_the_word_of_a_command_is_what_it_is_for(command: str, word: str) -> None:
    """Not its guard, its directory or what is around it."""
    assert word_of(command) == word


@given(st.text(max_size=80))
def test_no_command_makes_a_name_that_is_no_file(command: str) -> None:
    """Names of jobs are names of directories."""
    word = word_of(command)
    assert 0 < len(word) <= 24
    assert not set(word) - set("abcdefghijklmnopqrstuvwxyz0123456789._-")
    name = of_table(command)
    assert "/" not in name
    assert len(name.encode()) < 60


def test_a_comment_above_a_line_adds_any_key_of_a_job() -> None:
    """Of root's tables; several add up, and the line itself stays what it is."""
    text = (
        "# jobqueue: {locks: [disk], timeout: 2h}\n# why\n# jobqueue: {priority: 5, catch_up: latest}\n@daily root x\n"
    )
    (job,) = jobs_of(text, SYSTEM)
    assert (job.locks, job.timeout) == ((Claim("disk", exclusive=True),), 2 * HOUR)
    assert (job.priority, job.catch_up, job.command) == (5, CatchUp.LATEST, "x")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("{lock: disk}", "f:1:14: lock: found an unknown key; expected 'locks'"),
        ("{timeout: soon}", "f:1:23: timeout: found 'soon'; expected "),
        ("{command: y}", "f:1:14: command: found the key 'command'; expected a key that neither the line"),
        ("{priority: 5}", "f:1:14: priority: found the key 'priority'; expected the line without it"),
        ("{expand: true}", "f:1:14: expand: found the key 'expand'; expected the line without it"),
        ("{output_limit: 1T}", "f:1:14: output_limit: found the key 'output_limit'; expected the line without it"),
        ("{group: adm}", "f:1:14: group: found the key 'group'; expected the line without it"),
        ("{locks: [/etc/x]}", "f:1:22: locks[0]: found '/etc/x'; expected {path: /etc/x}"),
        ("{locks: [{path: /etc/x}]}", "f:1:21: locks: found a lock file; expected the name of a lock"),
        ("{locks: [a]", "f:1:"),
        (
            "{locks: {name: x, scope: fleet}}",
            "f:1:21: locks: found the fleet lock 'x'; expected `scope: host`",
        ),
        (
            "{scope: fleet}",
            "f:1:14: scope: found the key 'scope'; expected the line without it; only root's job files",
        ),
        ("5", "f:1:13: found 5; expected a mapping of job keys"),
        ("", "f:1:12: found nothing; expected a mapping"),
        ("{timeout: 2h} # " + "x" * 4000, "f:1:13: found 4016 characters; expected at most 4000"),
    ],
)
def test_a_wrong_option_costs_its_job(option: str, said: str) -> None:
    """Without the lock that it asks for a job is not run at all; of a user's table nothing is taken from others."""
    text = f"# jobqueue: {option}\n@daily x\n@daily y\n"
    jobs, problems = at_once(read_jobs_in_steps(text.encode(), "f", ALICE, HOST))
    assert ["y"] == [job.command for job in jobs]
    assert str(problems[0]).startswith(said)
    assert str(problems[0]).endswith("; its job is not run")


def test_a_users_locks_are_the_users_own() -> None:
    """So nobody holds up the jobs of another by a name."""
    (job,) = jobs_of("# jobqueue: {locks: [disk]}\n@daily x\n")
    assert job.locks == (Claim("alice/disk", exclusive=True),)
    assert {*JOB_KEYS, "id"} >= OF_A_USER
    (job,) = jobs_of("# jobqueue: {locks: [disk], priority: 5}\n@daily x\n", TablePlace("crontabs/root", "root"))
    assert (job.locks, job.priority) == ((Claim("disk", exclusive=True),), 5)


def test_what_has_no_effect_is_said() -> None:
    """An option that stands above no job, LOGNAME, a step that is too wide, DOS line ends."""
    text = "# jobqueue: {timeout: 1h}\n\n@daily x\r\nLOGNAME=x\n# jobqueue: {timeout: 1h}\n"
    assert problems_of(text) == [
        "f:1: has no effect, because the line directly below is not a job",
        "f:3: ends with a carriage return (DOS), which is removed; expected lines that end with a newline only",
        "f:4: has no effect: LOGNAME is the name of the user who runs the job",
        "f:5: has no effect, because the line directly below is not a job",
    ]
    (found,) = problems_of("*/61 * * * * x\n")
    assert found.startswith("f:1: minute: the step of `*/61` is wider than its range")


def test_a_date_that_never_comes_is_told() -> None:
    """Cron accepts it and never runs it, which people hardly mean."""
    (found,) = problems_of("0 0 30 2 * x\n")
    assert found.startswith(
        "f:1: day of month: found `30 2 *` (day, month, weekday), which matches no date in 40 years"
    )


def test_at_boot_no_clock_makes_it_due() -> None:
    """@reboot is a boot's."""
    (job,) = jobs_of("@reboot x\n")
    assert (job.at_boot, job.next_after(0)) == (True, None)


@pytest.mark.parametrize(
    ("schedule", "ours"),
    [
        ("0~59 3 * * *", "H(0-59) 3 * * *"), ("~ ~ * * *", "H(0-59) H(0-23) * * *"),
        ("5~ ~4 * * *", "H(5-59) H(0-4) * * *"), ("0,30~40 1 ~ ~ mon~fri", "0,H(30-40) 1 H(1-31) H(1-12) H(mon-fri)"),
        ("7~7 3 * * 5~", "H(7-7) 3 * * H(5-6)"),
    ],
)  # fmt: skip
def test_a_tilde_is_drawn_once(schedule: str, ours: str) -> None:
    """As cronie and OpenBSD have it; here for good, by the name of the job, which is made of the line."""
    (job,) = jobs_of(f"{schedule} x\n")
    (again,) = jobs_of(f"# new\n{schedule} x\n")
    assert ((ours,), job.id, job.next_after(0)) == (job.schedule, again.id, again.next_after(0))


@pytest.mark.parametrize("minute", ["40~20", "0~60", "~5~", "1~x", "0~59/2", "a~b"])
def test_a_tilde_that_nobody_knows(minute: str) -> None:
    """It is told with the right spelling."""
    (found,) = problems_of(f"{minute} 3 * * * x\n")
    assert found.startswith(f"f:1: minute: found `{minute}`: write a range of this field, such as `1~5`")


def test_two_lines_draw_apart() -> None:
    """Lines with the same times start at several minutes."""
    jobs = jobs_of("".join(f"0~59 3 * * * job-{number}\n" for number in range(50)))
    assert len({job.next_after(0) for job in jobs}) > 20


def test_a_space_that_is_none() -> None:
    """What only looks like a space is a part of the word to the shell, which is told."""
    (found,) = problems_of("0 1 * * * a\u00a0b\n")
    assert found.startswith(
        "f:1: found a no-break space (U+00A0), which shells and file systems do not treat as a space"
    )


def test_mail_of_failures_only() -> None:
    """cronie's -n: the output of each failure is mailed, and no other."""
    (job,) = jobs_of("@daily -n x\n")
    assert job.notify == Notify(("failed_output",), ("alice",), remind=None)
    (silent,) = jobs_of("@daily x\n", host=HOST._replace(mails=False))
    assert silent.notify == NOBODY


DAILY = "25 6 * * * root test -x /usr/sbin/anacron || ( cd / && run-parts --report /etc/cron.daily )\n"


def test_run_parts_taken_apart_keeps_guard_and_order() -> None:
    """One job a script, by the words of the line, under one lock, caught up as anacron does."""
    host = HOST._replace(scripts={"/etc/cron.daily": ("apt", "man-db")})
    apt, man_db = jobs_of(DAILY, TablePlace("crontab", expand=True), host)
    assert (apt.id, man_db.id) == ("crontab:cron.daily/apt", "crontab:cron.daily/man-db")
    assert apt.command == "test -x /usr/sbin/anacron || ( cd / && /etc/cron.daily/apt )"
    assert apt.locks == man_db.locks == (Claim("cron.daily", exclusive=True),)
    assert (apt.catch_up, apt.catch_up_window, apt.concurrency) == (CatchUp.LATEST, 31 * DAY, 1)
    (whole,) = jobs_of(f"# jobqueue: {{expand: false}}\n{DAILY}", TablePlace("crontab", expand=True), host)
    assert whole.command.endswith("run-parts --report /etc/cron.daily )")
    assert [job.id for job in jobs_of(f"# jobqueue: {{expand: true}}\n{DAILY}", TablePlace("crontab"), host)] == [
        "crontab:cron.daily/apt",
        "crontab:cron.daily/man-db",
    ]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("run-parts /etc/cron.daily", ("", "/etc/cron.daily", "")),
        ("cd / && /usr/bin/run-parts -v --report /etc/cron.d-1/ ; x", ("cd / && ", "/etc/cron.d-1", " ; x")),
        ("run-parts --arg=x /etc/cron.daily", None),
        ("run-parts --test /etc/cron.daily", None),
        ("run-parts $HOME/x", None),
        ("run-parts /a; run-parts /b", None),
        ("echo run-parts", None),
        ("my-run-parts /etc/x", None),
    ],
)
def test_only_a_plain_call_of_run_parts_is_taken_apart(command: str, expected: tuple[str, str, str] | None) -> None:
    """With options that change more than what is said, and where it is not sure, the line runs as it is."""
    assert parts_of(command) == expected


ANACRON = TablePlace("anacrontab", periodic=True)


def test_an_anacrontab_is_due_at_times_and_caught_up() -> None:
    """Of cronie's own, and periods that no calendar has; one that /etc/crontab has as well is left to it."""
    text = """SHELL=/bin/sh
MAILTO=root
RANDOM_DELAY=45
START_HOURS_RANGE=3-22
1\t5\tmine\t\tnice /opt/mine 100%
@monthly 65 monthly.job /opt/monthly
3 10 third /opt/third
7 25 cron.weekly nice run-parts /etc/cron.weekly
"""
    mine, monthly, third = jobs_of(text, ANACRON)
    assert (mine.id, mine.command, mine.user) == ("anacrontab:mine", "nice /opt/mine 100%", "root")
    assert (mine.schedule, mine.spread) == (("5 3 * * *",), 45 * MINUTE)
    assert (mine.catch_up, mine.catch_up_window, mine.concurrency) == (CatchUp.LATEST, 365 * DAY, 1)
    assert mine.locks == (Claim("anacrontab", exclusive=True),)
    assert (monthly.id, monthly.schedule) == ("anacrontab:monthly.job", ("5 4 1 * *",))
    assert (third.schedule, third.every) == ((), 3 * DAY)
    start = to_instant(datetime(2026, 1, 1, tzinfo=UTC))
    first, second = (to_datetime(it - third.offset) for it in third.next_starts(start, 2))
    assert (first.hour, first.minute, (second - first).days) == (2, 10, 3)
    assert problems_of(text, ANACRON) == ["f:8: is not run, because /etc/crontab already runs this directory"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 5 a x", "found the period 0; expected 1 to 999 days, or @daily"),
        ("@hourly 5 a x", "found the period @hourly; expected 1 to 999 days, or @daily"),
        ("1 soon a x", "found the delay 'soon'; expected 0 to 9999 minutes"),
        ("1 5 a/b x", "found the name 'a/b'; expected letters, digits and . _ -"),
        ("1 5 a", "found no command; expected a command after period, delay and name"),
        ("1", "found the delay ''; expected 0 to 9999 minutes"),
    ],
)
def test_a_wrong_line_of_an_anacrontab_costs_itself(line: str, said: str) -> None:
    """As in a crontab."""
    jobs, (problem,) = at_once(read_jobs_in_steps(f"1 1 z y\n{line}\n".encode(), "f", ANACRON, HOST))
    assert ["anacrontab:z"] == [job.id for job in jobs]
    assert said in str(problem)


def test_odd_hours_of_an_anacrontab_have_no_effect() -> None:
    """Its jobs are due as without them; in a crontab this variable is the command's own."""
    text = "START_HOURS_RANGE=x\n1 5 a x\n"
    (job,) = jobs_of(text, ANACRON)
    assert ("35 7 * * *",) == job.schedule
    assert problems_of(text, ANACRON) == ["f:1: START_HOURS_RANGE has no effect: found 'x'; expected hours, as in 6-22"]
    assert [] == problems_of("START_HOURS_RANGE=x\n@daily x\n")


def test_however_much_is_wrong_the_rest_runs() -> None:
    """A hundred problems are told, and how many there are more."""
    jobs, problems = at_once(read_jobs_in_steps(b"61 * * * * x\n" * 150 + b"@daily y\n", "f", ALICE, HOST))
    assert ["y"] == [job.command for job in jobs]
    assert (len(problems), problems[-1].line) == (100, 100)
    assert str(problems[-1]).endswith("; this line is not run; and 50 more problems")


@pytest.mark.parametrize("wanted", [("x", "x", "x.2"), ("x.2", "x", "x"), ("x", "x.2", "x", "x.3", "x", "x")])
def test_ids_that_are_given_meet_none_that_are_made(wanted: tuple[str, ...]) -> None:
    """Whoever comes first has it; none is lost for another that would have its id."""
    text = "".join(f"# jobqueue: {{id: {name}}}\n@daily run-{n}\n" for n, name in enumerate(wanted))
    jobs, problems = at_once(read_jobs_in_steps(text.encode(), "f", ALICE, HOST))
    assert (len(wanted), []) == (len({job.id for job in jobs}), problems)
    assert f"{ALICE.id}:x" in {job.id for job in jobs}


@pytest.mark.parametrize(
    "text",
    [
        f"CRON_TZ={'A' * 100_000}\n", f"SHELL={'A' * 100_000}\n", 
        f"RANDOM_DELAY={'1' * 100_000}\n", f"HOME={'a' * 100_000}\n", f"{'0-59/1,' * 15_000}1 * * * * x\n",
        f"{'a' * 100_000} * * * * x\n", f"@{'a' * 100_000} x\n", f"# jobqueue: {{{'a' * 3000}: 1}}\n@daily x\n",
    ],
)  # fmt: skip
def test_what_is_told_of_a_long_line_is_short(text: str) -> None:
    """A table of a megabyte in a few lines fills no log; and where its end says what to do, that is told."""
    _, problems = at_once(read_jobs_in_steps(f"{text}@daily y\n".encode(), "f", ALICE, HOST))
    assert problems
    assert all(len(problem.message) < 5000 for problem in problems)
    assert all(problem.message.endswith((" is not run", "an absolute path", "1440 minutes")) for problem in problems)


def test_options_of_a_line_that_is_switched_off_are_no_slip() -> None:
    """An import leaves them where they are, for the way back; those of nothing are told."""
    options = "# jobqueue: {timeout: 2h}\n# jobqueue: {locks: [a]}\n"
    assert [] == problems_of(f"@daily a\n{options}# moved to jobqueued: @daily x\n@daily y\n")
    assert 2 == len(problems_of(f"{options}\n# moved to jobqueued: @daily x\n"))


def test_a_script_with_a_long_name_has_a_short_id() -> None:
    """A record is a file, whose name has 255 bytes at most."""
    names = ("a" * 255, "b" * 255, "b" * 254, "man-db")
    host = HOST._replace(scripts={"/etc/cron.daily": names})
    text = b"@daily root run-parts /etc/cron.daily\n"
    jobs, _ = at_once(read_jobs_in_steps(text, "f", TablePlace("crontab", expand=True), host))
    assert 4 == len({job.id for job in jobs})
    assert max(len(file_name(job.id)) for job in jobs) < 100
    assert "crontab:cron.daily/man-db" == jobs[-1].id


def test_a_table_is_bounded_and_read_in_small_steps() -> None:
    """The first thousand jobs run, and that there are more is said."""
    reading = read_jobs_in_steps(b"@daily x\n" * (MAX_JOBS + 5), "f", ALICE, HOST)
    steps = 0
    while True:
        try:
            next(reading)
            steps += 1
        except StopIteration as end:
            jobs, problems = end.value
            break
    assert (len(jobs), steps >= MAX_JOBS // 20) == (MAX_JOBS, True)
    assert str(problems[0]).startswith("f:1001: found more than 1000 jobs")


@given(st.lists(st.sampled_from(["@daily x", "* * * * * y%z", "# jobqueue: {x", "MAILTO=,", "A=b", "\0", "@x", ""])))
def test_no_table_raises_and_each_line_is_a_job_or_told(lines: list[str]) -> None:
    """Ids are unique, and lines that run have none of their own problems."""
    jobs, problems = at_once(read_jobs_in_steps("\n".join([*lines, ""]).encode(), "f", ALICE, HOST))
    assert len({job.id for job in jobs}) == len(jobs)
    told = {problem.line for problem in problems if problem.severity == "error"}
    assert not told & {job.line for job in jobs}
