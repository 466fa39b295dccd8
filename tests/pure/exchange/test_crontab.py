"""Crontabs as job files: they are read back without a word, mean the same jobs, and keep their comments."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.base.instants import DAY
from jobqueued.crontabs.jobs import CronHost, TablePlace
from jobqueued.exchange import proof
from jobqueued.exchange.crontab import read_table
from jobqueued.exchange.disabling import disabled
from jobqueued.exchange.draft import SAID, ImportedFile, UniqueIds, name_of_file
from jobqueued.exchange.job_file import text_of
from jobqueued.jobfile.reader import read_jobs
from jobqueued.model.job import Job

ALICE, SYSTEM = TablePlace("crontabs/alice", "alice"), TablePlace("cron.d/x")
NOW = datetime(2027, 3, 1, tzinfo=UTC)
HOST = CronHost("Europe/Berlin", any_sender=True, scripts={"/etc/cron.daily": ("0anacron", "logrotate")})


def imported(text: str, place: TablePlace = ALICE, name: str = "x") -> tuple[ImportedFile, str, tuple[Job, ...]]:
    """A table, the job file made of it, and its jobs, which are read without a word and differ in nothing."""
    source = read_table(text.encode(), "f", name, place, HOST, UniqueIds())
    written = text_of(source.drafts, "From f.", source.head, source.tail)
    jobs, problems = read_jobs(written.encode(), "g", timezone=HOST.timezone) if source.drafts else ((), [])
    assert [] == [str(problem) for problem in problems if problem.severity == "error" or problem.key not in SAID], (
        written
    )
    assert [] == [told for _, told in proof.check(source.drafts, jobs, NOW)], written
    return source, written, jobs


def test_a_table_becomes_a_file_that_people_can_read() -> None:
    """What all jobs share stands once; comments keep their place; a line that is none is a comment."""
    _, text, _ = imported(
        "# Nightly work of Alice.\n\nMAILTO=alice@example.org\n# the dump,\n# all of it\n30 2 * * * /opt/dump --all\n"
        "\n# old stuff\n\n*/5 * * * * cat > /tmp/x%one%two\n61 * * * * broken\n# end\n"
    )
    assert text == (
        "# From f.\n"
        "#\n"
        "# Nightly work of Alice.\n"
        "\n"
        "defaults:\n"
        "  user: alice\n"
        "  environment: {PATH: /usr/bin:/bin, MAILTO: alice@example.org}\n"
        "  concurrency: 1000\n"
        "  catch_up: none\n"
        "  leave_children: true\n"
        "  notify: {on: output, email: alice@example.org, remind: none}\n"
        "\n"
        "jobs:\n"
        "  # the dump,\n"
        "  # all of it\n"
        "  alice-dump:\n"
        '    schedule: "30 2 * * *"\n'
        "    command: /opt/dump --all\n"
        "\n"
        "  # old stuff\n"
        "\n"
        "  alice-cat:\n"
        '    schedule: "*/5 * * * *"\n'
        "    command: 'cat > /tmp/x'\n"
        "    stdin: |\n"
        "      one\n"
        "      two\n"
        "\n"
        "# line 11 is not imported: 61 * * * * broken\n"
        "# end\n"
    )


def test_rows_say_each_line_as_cron_reads_it() -> None:
    """In the order of the file: variables, jobs with what was set above them, errors in cron's words."""
    source, _, _ = imported("A = 'b c'\n5 4 * * sun root x \\% y%in\n@never root z\n", SYSTEM)
    assert source.rows == [
        {"line": 1, "type": "env", "name": "A", "value": "b c", "notes": []},
        {
            "line": 2, "type": "job", "schedule": "5 4 * * sun", "user": "root", "command": "x % y", "stdin": "in\n",
            "environment": {"A": "b c"}, "id": "x", "notes": [],
        },
        {
            "line": 3, "type": "error", "reason": "bad time specifier", "text": "@never root z",
            "notes": [
                "found @never; expected @reboot @hourly @daily @midnight @weekly @monthly @yearly @annually, in lower "
                "case; this line is not imported"
            ],
        },
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "SHELL=/bin/bash\nHOME=/srv\nPATH=/opt/bin\nTZ=UTC\nCRON_TZ=Asia/Tokyo\nRANDOM_DELAY=45\nMAILFROM=c@example.org\n"
        "MAILTO=a@example.org,root\n30 2 * * * a\nMAILTO=\"\"\nCRON_TZ=''\nSHELL=/bin/sh\n@hourly b\n",
        "CRON_TZ=Europe/Berlin\nRANDOM_DELAY=0\n0 2 * * * the-same-zone-and-no-delay\n",
        "0 2 * * * -n mails-only-where-it-fails\n",
        "@reboot x\n@yearly y\n",
        "30 2 * * * x 'it''s' \"$HOME\" `date` $(a) #b : c\n",
        "* * * * * ends with a backslash \\\\\n",
        "5 5 * * * \ttab\tin it\n",
        "5 5 * * * \u00a0\u2028\x1b[0m\n",
        "# jobqueue: {timeout: 2h, tags: [a, '1'], metadata: {x: 1.10, y: '2', z: 0x1F}, umask: 0027}\n0 3 * * * x\n",
        "# jobqueue: {locks: [disk, {name: tape, mode: shared}, {name: seats, units: 2}]}\n@daily x\n",
        "# jobqueue: {concurrency: 1, catch_up: all, dst: once, spread: 10m}\n30 2 * * * x\n30 2 * * * y\n",
        "A=1\nB=2\n@daily x\nA=3\n@daily y\nC=4\n@daily z\n",
        "@daily x%\n@daily y%no newline at the end\n@daily z%%%\n@daily cat % leading blank%x\n",
        "0~59 3 * * * x\n~ ~5 1~ * mon~fri y\n0,30~40 1 * * * z\n",
        "RANDOM_DELAY=1h\nHOME=srv\n@daily x\n",
        "no job at all\n",
        "",
    ],
)
def test_a_job_file_means_what_its_table_means(text: str) -> None:
    """Whatever variables, options, inputs and odd characters there are."""
    imported(text)


@given(
    st.lists(
        st.sampled_from(
            ("MAILTO=", "MAILTO=a", "A=1", "A=2", "SHELL=/bin/bash", "HOME=/x", "CRON_TZ=UTC", "# said", "")
        )
        | st.sampled_from(("@daily", "5 4 * * 1-5", "*/7 2 * * *")).flatmap(
            lambda when: st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0"), min_size=1).map(
                lambda command: f"{when} x{command}"
            )
        ),
        max_size=8,
    )
)
def test_whatever_a_table_has_its_job_file_means_the_same(rows: list[str]) -> None:
    """Jobs that share some of their keys, none, or all."""
    imported("".join(f"{row}\n" for row in rows))


def test_scripts_of_run_parts_are_jobs_of_their_own() -> None:
    """Under one lock, and caught up as by anacron; the row names all of them."""
    source, _, jobs = imported(
        "25 6 * * * root cd / && run-parts --report /etc/cron.daily\n", TablePlace("crontab", expand=True)
    )
    assert ["cron.daily-0anacron", "cron.daily-logrotate"] == [job.id for job in jobs]
    assert ["becomes one job per script: cron.daily-0anacron, cron.daily-logrotate"] == source.rows[0]["notes"]


def test_ids_are_words_that_nobody_else_has() -> None:
    """Of the table and the program, with a number where that is taken; an id that a person gave is kept."""
    ids = UniqueIds({"munin-cron"})
    text = "@daily root munin-cron\n@daily root /x/Other_One\n# jobqueue: {id: mine}\n@daily root x\n"
    source = read_table(text.encode(), "f", "munin", SYSTEM, HOST, ids)
    assert ["munin-cron-2", "munin-other_one", "mine"] == [draft.id for draft in source.drafts]
    assert ["job", "a-b", "a-b-2"] == [ids.free(*words) for words in (("../",), ("A", "b"), ("a-B",))]
    assert "cron.d-x_y.yaml" == name_of_file("cron.d-x_y")


def test_a_line_with_a_relative_shell_is_not_imported() -> None:
    """Cron looks for it in HOME, and a job file can't say this."""
    text = b"SHELL=bash\n@daily x\nSHELL=/bin/sh\n@daily y\n"
    source = read_table(text, "f", "x", ALICE, HOST, UniqueIds())
    assert ["y"] == [draft.means.command for draft in source.drafts]
    assert [(1, "warning", "JQ602"), (2, "error", "JQ609")] == [
        (problem.line, problem.severity, problem.code) for problem in source.problems
    ]
    assert "# line 2 is not imported: @daily x" in text_of(source.drafts, "From f.", source.head, source.tail)


def test_what_a_job_file_cannot_say_is_told() -> None:
    """A variable with an odd name, a lock of a user's own."""
    source = read_table(b"A-B=1\n# jobqueue: {locks: [disk]}\n@daily x\n", "f", "x", ALICE, HOST, UniqueIds())
    assert ["A-B", "alice-disk"] == [word for word in ("A-B", "alice-disk") if word in str(source.problems)]
    assert 2 == len(source.rows[1]["notes"])


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"command": "y"}, "command is 'y' and was 'x'"),
        ({"timezone": "UTC"}, "timezone is 'UTC' and was 'Europe/Berlin'"),
        ({"catch_up": "latest"}, "catch_up is 'latest' and was 'none'"),
        ({"at_boot": True}, "starts at boot"),
        ({"triggers": ()}, "is due never, but its source is due 2027-03-01 01:30:00+00:00"),
        ({"id": "other"}, "is missing in the written file"),
    ],
)
def test_the_proof_tells_what_differs(changed: dict[str, object], told: str) -> None:
    """Each field but those that follow from the name."""
    source = read_table(b"30 2 * * * x\n", "f", "x", ALICE, HOST, UniqueIds())
    jobs = [replace(draft.means, id=draft.id) for draft in source.drafts]
    assert [] == list(proof.check(source.drafts, jobs, NOW))
    found = [text for _, text in proof.check(source.drafts, [replace(jobs[0], **changed)], NOW)]  # type: ignore[arg-type]
    assert [told] == [*found][:1]


def test_the_proof_does_not_believe_the_search_that_runs_the_jobs() -> None:
    """A schedule whose due times are off by one hour in summer is found out, though both Jobs have it."""
    source = read_table(b"30 2 * * * x\n", "f", "x", ALICE, HOST, UniqueIds())
    wrong = tuple(replace(draft.means, id=draft.id, triggers=_in_utc()) for draft in source.drafts)
    drafts = [replace(draft, means=replace(draft.means, triggers=_in_utc())) for draft in source.drafts]
    assert ["is due 2027-03-01 02:30:00+00:00, but its source is due 2027-03-01 01:30:00+00:00"] == [
        text for _, text in proof.check(drafts, wrong, NOW)
    ]


def _in_utc() -> tuple[object, ...]:
    (job,) = (
        draft.means for draft in read_table(b"CRON_TZ=UTC\n30 2 * * * x\n", "f", "x", ALICE, HOST, UniqueIds()).drafts
    )
    return job.triggers


def test_lines_are_switched_off_and_no_byte_else_changes() -> None:
    """CRLF, a missing last newline, and what is no UTF-8 stay."""
    data = b"A=1\r\n@daily x\r\n\xff\n@daily y"
    assert b"A=1\r\n# moved to jobqueued: @daily x\r\n\xff\n@daily y" == disabled(data, {2})
    assert data == disabled(data, set())


def test_an_anacrontab_becomes_jobs_that_are_caught_up() -> None:
    """Its periods are times of the calendar, or days that are counted; each job has the name that it has there."""
    text = "START_HOURS_RANGE=6-22\n# weekly\n7 5 Clean-up /opt/clean\n10 0 ten /opt/ten\n"
    text += "1 5 cron.daily run-parts /etc/cron.daily\n"
    source, written, (weekly, ten) = imported(text, TablePlace("anacrontab", "root", periodic=True), "anacrontab")
    assert (("clean-up", "5 6 * * 0"), ("ten", 10 * DAY)) == ((weekly.id, weekly.schedule[0]), (ten.id, ten.every))
    assert "anchor: 1970-01-01T06:00" in written
    assert ("latest", 1, ["anacrontab"]) == (weekly.catch_up, weekly.concurrency, [c.resource for c in weekly.locks])
    assert ["is not imported, because /etc/crontab already runs this directory"] == source.rows[-1]["notes"]
    assert "# line 5 is not imported: 1 run-parts /etc/cron.daily\n" in written
