"""user_rules: what a user's file may say, whose its jobs are, and what each refusal says that the site could permit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobqueued.base.instants import MINUTE, SECOND
from jobqueued.jobfile.keys.user_keys import PERMITS
from jobqueued.jobfile.reader import read_jobs
from jobqueued.jobfile.user_rules import UserRules
from jobqueued.model.job import Claim, Job, On
from jobqueued.model.notify import NOBODY
from jobqueued.model.users import Owner, UserLimits, awaited_path
from jobqueued.timing.closest import closest
from jobqueued.timing.schedule import Every, Schedule, Seconds

ALICE, LIMITS = Owner(1000, "alice"), UserLimits()


def read(keys: str, limits: UserLimits = LIMITS, owner: Owner = ALICE) -> tuple[list[Job], list[str]]:
    text = f"jobs:\n  x:\n    command: 'true'\n    {keys}\n"
    jobs, problems = read_jobs(text.encode(), "f", rules=UserRules(owner, limits))
    return list(jobs), [str(problem) for problem in problems]


BY_KEY = {
    "exclusive": ("exclusive: true", "found true"), "priority": ("priority: 1", "found 1"),
    "escalation": ("escalation: {points: 2}", "found the key `escalation`"), "nice": ("nice: -1", "found -1"),
    "oom_score_adj": ("oom_score_adj: -1", "found -1"), "cpu_scheduling": ("cpu_scheduling: fifo:1", "found 'fifo:1'"),
    "ionice": ("ionice: realtime:0", "found 'realtime:0'"), "notify": ("notify: {email: bob}", "found email bob"),
    "drain": ("drain: 2h", "found 2 h"),
}  # fmt: skip


@pytest.mark.parametrize("key", PERMITS)
def test_what_burdens_others_is_refused_unless_the_site_permits_it(key: str) -> None:
    """Each such key is a Problem at its place that names what root could permit, and none where root does."""
    line, found = BY_KEY[key]
    jobs, problems = read(line)
    assert ([], 1) == (jobs, len(problems))
    assert problems[0].startswith(f"f:4:{len(key) + 7}: x: {key}: {found}; expected ")
    assert f"`users: {{permit: [{key}]}}` in jobqueued.yaml" in problems[0]
    jobs, problems = read(line, replace(LIMITS, permit=(key,)))
    assert (1, []) == (len(jobs), problems)


MODEST = ("exclusive: false", "priority: -5", "nice: 19", "nice: 0", "oom_score_adj: 1000", "cpu_scheduling: idle",
    "ionice: idle", "ionice: best-effort:0", "drain: 1h",
    "notify: {email: alice, on: output}", "user: alice")  # fmt: skip


@pytest.mark.parametrize("line", MODEST)
def test_what_costs_the_user_alone_needs_no_permission(line: str) -> None:
    """Lower priority, a higher nice value, mail to oneself."""
    jobs, problems = read(line)
    assert (["alice/x"], []) == ([job.id for job in jobs], problems)


def test_a_job_is_the_users_whatever_the_file_says() -> None:
    """It runs as that user, and no other is accepted; PAM is asked as by cron."""
    jobs, _ = read("")
    assert (ALICE, "alice", True, ()) == (jobs[0].owner, jobs[0].user, jobs[0].asks_pam, jobs[0].more_groups)
    for other in ("root", "bob", "'1000'"):
        jobs, problems = read(f"user: {other}")
        name = other.strip("'")
        told = f"f:4:11: x: user: found '{name}'; expected alice, because all jobs of this file run as alice"
        assert ([], [told]) == (jobs, problems)


def test_names_are_the_users_own() -> None:
    """Locks, events, jobs and patterns get the prefix; resources are the host's."""
    jobs, problems = read(
        "locks: [database, {name: tape, mode: shared}]\n    dependencies: [a]\n"
        "    on: [{job: b}, {job: 'c*'}, {event: e}, {path: ~/in/*}, {path: /srv/x}]\n    resources: {gpu: 1, cpu: 2}"
    )
    assert [] == problems
    job = jobs[0]
    assert (Claim("alice/database", exclusive=True), Claim("alice/tape")) == job.locks
    assert (("alice/a",), ["gpu", "cpu"]) == (job.dependencies, [claim.resource for claim in job.resources])
    assert (On("job", "alice/b"), On("jobs", "alice/c*"), On("event", "alice/e")) == job.on[:3]
    assert (On("path", "alice/~/in/*"), On("path", "alice//srv/x")) == job.on[3:]
    assert ["~/in/*", "/srv/x", "/srv/y"] == [awaited_path(name) for name in ("alice/~/in/*", "alice//srv/x", "/srv/y")]


def test_the_hosts_jobs_have_no_home() -> None:
    """What ~ means is clear in a user's file alone; ~bob means nobody's anywhere."""
    text = "jobs: {x: {command: 'true', on: {path: ~/in/*}}}"
    _, problems = read_jobs(text.encode(), "f")
    accepted = "an absolute path; ~/ works only in files that users add (jobqueuectl add)"
    assert [f"f:1:33: x: on: found '~/in/*'; expected {accepted}"] == [str(problem) for problem in problems]
    pattern = "expected an absolute path such as /srv/in/*.csv, with * ? and [] in its last part only"
    assert pattern in read("on: {path: ~bob/in}")[1][0]


def test_a_name_that_cannot_stand_in_an_id_gives_a_share_by_number() -> None:
    """So does one that looks like such a number: no two users have one share."""
    names = {"Alice": 1000, "u1000": 1001, "a@example.org": 1002, "cron.d": 1003, "bob": 1004}
    shares = [Owner(uid, name).share for name, uid in names.items()]
    assert ["u1000", "u1001", "u1002", "u1003", "bob"] == shares
    assert ["u1000/x"] == [job.id for job in read("", owner=Owner(1000, "Alice"))[0]]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("locks: {name: license, units: 2}", "locks: found units of a lock; expected the whole lock"),
        (
            "locks: [a, {name: tape, scope: fleet}]",
            "locks: found the fleet lock 'tape'; expected `scope: host`",
        ),
        ("scope: fleet", "scope: found a fleet job; expected `scope: host`"),
        ("ping: https://hc-ping.com/x", "ping: found the key `ping`; expected a job without it"),
        ("notify: {email: alice, from: root}", "notify: found `from`; expected only `email: alice`"),
        ("notify: {command: /bin/true}", "notify: found command /bin/true; expected"),
        ("notify: {webhook: https://x.example/secret}", "notify: found webhook https://x.example/…; expected"),
    ],
)
def test_what_a_process_of_the_user_would_have_to_do_is_roots(line: str, told: str) -> None:
    """Paths are not watched for users, and nobody else gets notices of theirs."""
    jobs, problems = read(line)
    assert ([], 1) == (jobs, len(problems))
    assert f"x: {told}" in problems[0]


def test_what_a_user_is_told_by_is_the_users() -> None:
    """Channels that the site permits are noted as this user's, and so is a ping; mail is the host's to send."""
    permitted = replace(LIMITS, permit=("notify",))
    for wish in ("command: /bin/x", "webhook: https://x.example/y", "apprise: ntfy://x"):
        jobs, _ = read(f"notify: {{{wish}, email: alice}}\n    ping: https://hc.example/x", permitted)
        owners = {target.channel: target.owner for target in jobs[0].notify.targets()}
        assert {"email": None, wish.partition(":")[0]: ALICE} == owners
        assert jobs[0].ping is not None
        assert ALICE == jobs[0].ping.target.owner
    assert None is read("notify: {email: alice}")[0][0].notify.owner
    assert read("")[0][0].notify is NOBODY


def test_the_addresses_of_a_job() -> None:
    """Twenty, whatever the site permits: each is a message, and may be a process."""
    permitted = replace(LIMITS, permit=("notify",))
    for number in (20, 21):
        jobs, problems = read(f"notify: {{command: [{', '.join(f'/bin/x{n}' for n in range(number))}]}}", permitted)
        assert (number == 20, number == 21) == (bool(jobs), len(problems) == 1)
    assert "x: notify: found 21; expected at most 20 addresses per job" in problems[0]


CAPS: dict[str, Any] = {"cpu": 2.0, "memory": 1 << 30, "swap": 0, "tasks": 10}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("cpu: 2", ""), ("cpu: 2.01", "found 2.01; expected at most 2,"), ("memory: 1G", ""),
        ("memory: 1025M", "found 1.001 GiB; expected at most 1 GiB"), ("tasks: 11", "found 11; expected at most 10"),
        ("swap: unlimited", "found unlimited; expected at most 0 B"), ("open_files: 9999", ""),
    ],
)  # fmt: skip
def test_no_job_has_more_than_the_caps_of_its_user(asked: str, told: str) -> None:
    """At the bound it may."""
    jobs, problems = read(f"resource_limits: {{{asked}}}", replace(LIMITS, caps=CAPS))
    assert (not told, bool(told)) == (bool(jobs), bool(problems))
    assert told in "".join(problems)


@pytest.mark.parametrize(
    ("line", "interval", "told"),
    [
        ("schedule: '* * * * *'", MINUTE, ""), ("every: 1m", MINUTE, ""),
        ("every: 59s", MINUTE, "every: found 59 s; expected 1 min or more"),
        ("seconds: '*/30'\n    schedule: '@daily'", MINUTE, "seconds: found 30 s between two starts"),
        ("seconds: 30\n    schedule: '* * * * *'", MINUTE, ""),
        ("schedule: '*/10 * * * *'", 10 * MINUTE, ""),
        ("schedule: '*/9 * * * *'", 10 * MINUTE, "schedule: found 6 min between two starts"),
        ("schedule: ['0 5 * * *', '9 5 * * *']", 10 * MINUTE, "schedule: found 9 min between"),
        ("schedule: ['0 0 * * *', '55 23 * * *']", 10 * MINUTE, "schedule: found 5 min between"),
        ("schedule: '@daily'", 24 * 60 * MINUTE, ""), ("schedule: '@reboot'", 24 * 60 * MINUTE, ""),
        ("at: 2030-01-01T00:00Z", 24 * 60 * MINUTE, ""), ("every: 90s", 91 * SECOND, "every: found 1 min 30 s"),
        ("schedule: '* * * * *'", 61 * SECOND, "schedule: found 1 min between"),
    ],
)  # fmt: skip
def test_the_clock_starts_no_job_more_often_than_the_site_lets_it(line: str, interval: int, told: str) -> None:
    """At the bound it does; what is said names the setting."""
    jobs, problems = read(line, replace(LIMITS, interval=interval))
    assert (not told, bool(told)) == (bool(jobs), bool(problems)), problems
    assert told in "".join(problems)
    assert not told or "`users: {interval: …}` in jobqueued.yaml" in problems[0]


def test_the_output_of_a_run() -> None:
    """At most an equal part of what all live runs of a user may have; by default nobody needs to name a limit."""
    assert (1, []) == (len(read("output_limit: 64M")[0]), read("output_limit: 64M")[1])
    jobs, problems = read("output_limit: 100G")
    assert ([], 1) == (jobs, len(problems))
    assert "output_limit: found 100 GiB; expected at most 64 MiB: the values `logs` / `live` of `users`" in problems[0]
    assert ["alice/x"] == [job.id for job in read("", replace(LIMITS, logs=16))[0]]


def test_the_shortest_time_between_times_of_day() -> None:
    """As a search through a day by due times finds it."""
    for minutes, hours in (("5,50", "*"), ("0", "0,12"), ("*/7", "3-5"), ("1,2,4", "23"), ("0,59", "0,23")):
        schedule = Schedule(f"{minutes} {hours} * * *")
        masks = schedule.times_of_day
        times = [60 * h + m for h in range(24) for m in range(60) if masks[1] >> h & 1 and masks[0] >> m & 1]
        gap = min(b - a for a, b in zip(times, [*times[1:], times[0] + 1440], strict=True)) * MINUTE
        assert (None, gap if gap < 1440 * MINUTE else None) == (closest([schedule], gap), closest([schedule], gap + 1))
    assert None is closest([Every(SECOND)], MINUTE)
    assert 10 * SECOND == closest([Seconds(Schedule("@hourly"), "5,15")], MINUTE)


def test_what_defaults_say_is_refused_once_for_all_jobs() -> None:
    """As any other Problem there."""
    text = b"defaults: {nice: -5}\njobs: {a: {command: x}, b: {command: x}, c: {command: x, nice: 1}}\n"
    jobs, problems = read_jobs(text, "f", rules=UserRules(ALICE, LIMITS))
    assert ((), ["f:1:18: a: nice"]) == (jobs, [str(problem).partition(": found")[0] for problem in problems])
