"""Jobs as a crontab: each line is read as it was meant, and what cron can't say is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.crontabs.jobs import CronHost, TablePlace, read_jobs_in_steps
from jobqueued.exchange.to_crontab import Exported, crontab_of
from jobqueued.jobfile.reader import read_jobs
from jobqueued.jobfile.tree.yamltext import at_once
from jobqueued.model.job import Job

AS_CRON = "concurrency: 1000, catch_up: none, leave_children: true, user: alice"


def exported(keys: str) -> Exported:
    """The crontab of one job, as a host in Berlin has it."""
    jobs, problems = read_jobs(f"jobs: {{a: {{{AS_CRON}, {keys}}}}}".encode(), "f", timezone="Europe/Berlin")
    assert [] == [problem for problem in problems if problem.severity == "error"]
    return crontab_of(jobs, "Europe/Berlin", "root")


def back(text: str) -> tuple[Job, ...]:
    """The jobs that cron would see in it."""
    jobs, problems = at_once(read_jobs_in_steps(text.encode(), "f", TablePlace("cron.d/x"), CronHost("Europe/Berlin")))
    assert [] == [str(problem) for problem in problems if problem.severity == "error"]
    return jobs


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("command: x, schedule: '30 2 * * 1-5'", "30 2 * * 1-5 alice x"),
        ("command: [/bin/x, a b], schedule: '@daily'", "0 0 * * * alice /bin/x 'a b'"),
        ("command: 'date +%F', schedule: '@daily', stdin: \"50%\\nof it\\n\"",
         "0 0 * * * alice date +\\%F%50\\%%of it"),
        ("command: x, on: boot", "@reboot alice x"),
        ("command: x, every: 5m", "*/5 * * * * alice x"),
        ("command: x, schedule: '@daily', environment: {A: b c}, working_directory: /srv, umask: 0027",
         "0 0 * * * alice export A='b c'; umask 0027; cd /srv || exit; x"),
        ("command: x, schedule: '@daily', working_directory: -/srv", "0 0 * * * alice cd /srv || cd /; x"),
        ("command: x, schedule: '@daily', enabled: false", "# not enabled: 0 0 * * * alice x"),
    ],
)  # fmt: skip
def test_a_job_is_a_line(keys: str, line: str) -> None:
    """With its user, its input, its directory and its variables."""
    assert line == exported(keys).text.splitlines()[-1]


def test_variables_stand_above_the_first_job_that_has_them() -> None:
    """And change where the next has others."""
    jobs, _ = read_jobs(
        b"defaults: {schedule: '@daily', environment: {PATH: /bin}}\n"
        b"jobs: {a: {command: x}, b: {command: y, shell: /bin/bash}, c: {command: z, notify: {on: output, email: r}}}",
        "f",
    )
    lines = [line for line in crontab_of(jobs, "UTC", "root").text.splitlines() if line and not line.startswith("#")]
    assert lines == [
        'PATH="/bin"', 'MAILTO=""', "0 0 * * * root x", 'SHELL="/bin/bash"', "0 0 * * * root y", 'SHELL="/bin/sh"',
        'MAILTO="r"', "0 0 * * * root z",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("schedule: '@daily', timeout: 2h, locks: [disk]", "cron has no `locks`, `timeout`"),
        ("schedule: '@daily', timezone: Asia/Tokyo", "Debian's cron has no CRON_TZ"),
        ("schedule: '@daily', notify: {email: a}", "cron has no `notify`"),
        ("schedule: '@daily', dst: once", "cron has no `dst`"),
        ("every: 7m", "cron has no `every`; it can express only 1m, 3m, 5m and 15m"),
        ("at: 2030-01-01T00:00Z", "cron has no `at`: see at(1)"),
        ("schedule: '@daily', seconds: '*/10'", "cron has no seconds"),
        ("schedule: 0 0 L * *", "cron can't express '0 0 L * *'"),
        ("on: {job: b}", "cron has no events"),
        ("schedule: '@daily', stdin: x", "its `stdin` does not end with a newline"),
        ("", "it has no clock time that starts it"),
    ],
)
def test_what_cron_cannot_say_is_told_and_stands_above_the_line(keys: str, said: str) -> None:
    """It is a comment there, so that whoever reads the table later knows it too."""
    found = exported(", ".join(filter(None, ("command: x", keys))))
    assert [said] == [text[: len(said)] for _, text in found.losses][:1]
    assert f"# not in this crontab: {said}" in found.text


@pytest.mark.parametrize(
    ("groups", "user", "lost"), [("adm", "root", False), ("disk", "root", True), ("adm", "bob", True)]
)
def test_groups_that_cron_gives_root_are_no_loss(groups: str, user: str, lost: bool) -> None:
    """`import` writes them into root's jobs, so the way back is silent."""
    job = Job(id="a", command="x", at_boot=True, user=user, groups=(groups,), concurrency=1000, leave_children=True)
    found = crontab_of([job], "UTC", "root", frozenset({"adm"}))
    assert [("a", "cron has no `groups`")] * lost == [loss for loss in found.losses if "groups" in loss[1]]


@pytest.mark.parametrize("command", ["a\\nb", "-n x"])
def test_a_command_that_no_crontab_can_hold_has_no_line(command: str) -> None:
    """Several lines, what cronie takes for an option."""
    found = exported(f'command: "{command}", schedule: "@daily"')
    assert (["a"], ()) == (found.left_out, back(found.text))


@pytest.mark.parametrize(
    ("command", "line"),
    [(r"a\b%", r"a\b\%"), (r"a\\b\c", r"a\\\\b\c"), (r"\%\\%", r"\\\%\\\\\%"), ("a\\", "a\\")],
)
def test_backslashes_are_written_as_cron_reads_them(command: str, line: str) -> None:
    """Two are one to Debian's cron, and one before a percent sign takes its meaning away."""
    found = crontab_of([Job(id="a", command=command, at_boot=True)], "UTC", "root")
    assert f"@reboot root {line}" in found.text.splitlines()
    assert [command] == [job.command for job in back(found.text)]


def test_a_hashed_time_is_the_number_that_it_stands_for() -> None:
    """The crontab starts the job at the same minutes."""
    (ours,), _ = read_jobs(b"jobs: {a: {command: x, schedule: H H(1-5) * * *}}", "f", seed="s", timezone="Asia/Tokyo")
    (job,) = back(crontab_of([ours], "Europe/Berlin", "root").text)
    start = 1_800_000_000_000_000_000
    assert (ours.next_starts(start, 5), "Asia/Tokyo") == (job.next_starts(start, 5), job.timezone)


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)


@given(WORDS.filter(str.strip), WORDS, st.dictionaries(st.sampled_from(("A", "PATH", "B_2")), WORDS))
def test_whatever_a_command_is_cron_reads_the_same_or_has_no_line(
    command: str, stdin: str, environment: dict[str, str]
) -> None:
    """Never another one."""
    job = Job(id="a", command=command, stdin=stdin, environment=tuple(environment.items()), at_boot=True)
    found = crontab_of([job], "UTC", "root")
    lines = back(found.text)
    assert len(lines) == 1 - len(found.left_out)
    for line in lines:
        assert isinstance(line.command, str)
        assert line.command.endswith(command.strip(" \t"))
        assert line.stdin == stdin
        assert environment.get("PATH") in (None, dict(line.environment)["PATH"])
