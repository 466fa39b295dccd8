"""jobfile: a file is its jobs, or all that is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueued.base.instants import DAY, HOUR, SECOND
from jobqueued.jobfile import reader
from jobqueued.jobfile.reader import JOBS_A_STEP, MAX_COST, MAX_EXPRESSIONS, MAX_JOBS, read_in_steps, read_jobs
from jobqueued.jobfile.tree import yamltext
from jobqueued.jobfile.tree.yamltext import NODES_A_STEP
from jobqueued.jobfile.types import time_types
from jobqueued.jobfile.types.types import MAX_PROBLEMS
from jobqueued.model.job import CatchUp, Job
from jobqueued.timing import schedule
from jobqueued.timing.schedule import Schedule
from tests.support import EXAMPLES
from tests.support.job_files import BODIES, SECTIONS, VALUES

TOP = "expected a mapping with the keys defaults and jobs such as {jobs: {hello: {command: echo hi}}}"
NO_COMMAND = (
    "command: found no command; expected a command for the shell, or a list of the program and its arguments, "
    "as in `command: ls -l`"
)


def jobs(text: str) -> tuple[Job, ...]:
    found, problems = read_jobs(text.encode(), "f")
    assert [] == [str(problem) for problem in problems]
    return found


def problems(text: str) -> list[str]:
    found, wrong = read_jobs(text.encode(), "f")
    assert () == found
    return [str(problem) for problem in wrong]


def test_a_full_job_is_read() -> None:
    """Every key of the table reaches the field of its name."""
    text = """\
jobs:
  nightly-backup:
    description: Dump and ship the databases
    command: [/usr/local/bin/backup, --full]
    shell: /bin/bash
    schedule: ["0 2 * * *", "0 14 * * *"]
    timezone: Europe/Berlin
    dst: once
    user: backup
    working_directory: /srv
    environment: {LANG: C.UTF-8, PORT: 8080}
    umask: 0027
    enabled: false
    priority: 10
    concurrency: 2
    max_waiting: 3
    catch_up: all
    catch_up_window: 12h
    grace: 5s
    timeout: 2h
    kill_grace: 30s
    success_codes: [0, 24]
    output_limit: 2G
    tags: [backup, nightly]
    metadata: {owner: ops, ports: [1, 2.5, no]}
"""
    expected = Job(
        id="nightly-backup",
        description="Dump and ship the databases",
        command=("/usr/local/bin/backup", "--full"),
        shell="/bin/bash",
        schedule=("0 2 * * *", "0 14 * * *"),
        triggers=tuple(Schedule(text, "Europe/Berlin", dst="once") for text in ("0 2 * * *", "0 14 * * *")),
        timezone="Europe/Berlin",
        dst="once",
        user="backup",
        working_directory="/srv",
        environment=(("LANG", "C.UTF-8"), ("PORT", "8080")),
        umask=0o27,
        enabled=False,
        priority=10,
        concurrency=2,
        max_waiting=3,
        catch_up=CatchUp.ALL,
        catch_up_window=DAY // 2,
        grace=5 * SECOND,
        timeout=2 * HOUR,
        kill_grace=30 * SECOND,
        success_codes=(0, 24),
        output_limit=2 << 30,
        tags=("backup", "nightly"),
        metadata={"owner": "ops", "ports": [1, 2.5, "no"]},
        file="f",
        line=2,
    )
    assert (expected,) == jobs(text)


def test_the_shipped_examples_are_read() -> None:
    """The example jobs that are installed are accepted without a word."""
    assert jobs(EXAMPLES.read_text())


def test_a_job_needs_no_more_than_a_command() -> None:
    """All else has a default."""
    assert (Job(id="a", command="true", file="f", line=1),) == jobs("jobs: {a: {command: true}}")


def test_a_file_may_be_empty() -> None:
    """No document, nothing at all, and empty sections are files without jobs."""
    for text in ("", "# soon\n", "---\n", "{}", "jobs:\n", "defaults:\njobs: {}\n"):
        assert () == jobs(text)


def test_the_zone_of_the_daemon_is_the_last_resort() -> None:
    """The zone comes from the job, else from the file's defaults, else from the caller."""
    text = b"defaults: {timezone: Asia/Tokyo}\njobs:\n  a: {command: x, timezone: Europe/Berlin}\n  b: {command: x}\n"
    assert ["Europe/Berlin", "Asia/Tokyo"] == [job.timezone for job in read_jobs(text, "f", timezone="UTC")[0]]
    (job,), _ = read_jobs(b"jobs: {a: {command: x, schedule: '0 2 * * *'}}", "f", timezone="Asia/Tokyo")
    assert ("Asia/Tokyo", (Schedule("0 2 * * *", "Asia/Tokyo", dst="cron"),)) == (job.timezone, job.triggers)


def test_the_seed_settles_what_h_stands_for() -> None:
    """Two seeds spread the same job differently, one seed always alike."""
    text = b"jobs: {a: {command: x, schedule: 'H H * * *'}}"
    day = DAY * 20_000
    times = [read_jobs(text, "f", seed=seed)[0][0].next_after(day) for seed in ("one", "one", "two")]
    assert (True, True) == (times[0] == times[1], times[0] != times[2])


def test_jobs_alike_share_what_they_have() -> None:
    """Of the same expression in the same zone there is one schedule, but one a job where an `H` is drawn for each."""
    body = "{{command: x, schedule: '{}'}}"
    text = "jobs:\n" + "".join(
        f"  {job}: {body.format(expression)}\n"
        for job, expression in zip("abcd", ["0 2 * * *", "H 2 * * *"] * 2, strict=True)
    )
    a, b, c, d = read_jobs(text.encode(), "f", seed="one")[0]
    assert (True, True) == (a.triggers[0] is c.triggers[0], a.schedule is c.schedule)
    assert ["b", "d"] == [job.triggers[0].job_id for job in (b, d) if isinstance(job.triggers[0], Schedule)]


def test_defaults_merge_maps_one_level_and_replace_all_else() -> None:
    """A job adds to the maps of `defaults`, and its own lists and scalars win."""
    text = """\
defaults:
  command: shared
  priority: 5
  tags: [a, b]
  environment: {A: 1, B: 2}
  metadata: {deep: {x: 1}, owner: ops}
jobs:
  own:
    command: mine
    tags: [c]
    environment: {B: 3}
    metadata: {deep: {y: 2}}
  shared:
  cleared:
    environment:
"""
    own, shared, cleared = jobs(text)
    assert ("mine", 5, ("c",), (("A", "1"), ("B", "3")), {"deep": {"y": 2}, "owner": "ops"}) == (
        own.command, own.priority, own.tags, own.environment, own.metadata,
    )  # fmt: skip
    assert ("shared", ("a", "b"), (("A", "1"), ("B", "2"))) == (shared.command, shared.tags, shared.environment)
    assert () == cleared.environment


def test_a_wrong_default_is_named_once() -> None:
    """What is wrong in `defaults` is one Problem, however many jobs share it or replace it, or none."""
    wrong = ["f:1:22: priority: found 'x'; expected a whole number from -1000 to 1000, such as 10"]
    for rest in ("", "jobs: {a: {command: x}, b: {command: x}}", "jobs: {a: {command: x, priority: 1}}"):
        assert wrong == problems(f"defaults: {{priority: x}}\n{rest}")


BAD = {
    "5": [f"f:1:1: found 5; {TOP}"],
    "- jobs": [f"f:1:1: found a list; {TOP}"],
    "job: {}": ["f:1:1: job: found an unknown key; expected 'jobs'"],
    "jobs: [a]": ["f:1:7: jobs: found a list; expected a mapping of ids to jobs such as {hello: {command: echo hi}}"],
    "jobs: {a: [x]}": ["f:1:11: a: found a list; expected a mapping of job keys such as {command: ls -l}"],
    "jobs: {a: }": [f"f:1:8: a: {NO_COMMAND}"],
    "jobs: {A b: {command: x}}": [
        "f:1:8: found 'A b'; expected an id such as nightly-backup: up to 64 characters "
        "of a-z 0-9 . _ -, starting with a letter or digit"
    ],
    "jobs: {../x: {command: x}}": [
        "f:1:8: found '../x'; expected an id such as nightly-backup: up to 64 characters "
        "of a-z 0-9 . _ -, starting with a letter or digit"
    ],
    "jobs: {a: {command: x}, a: {command: y}}": [
        "f:1:25: found the key 'a' again; expected each key once (it is already on line 1)"
    ],
    "jobs: {a: {command: x, schedule: '61 * * * *'}}": [
        "f:1:34: a: schedule: minute: found `61`: write 0 to 59, a range `a-b`, or `*`; `/step` may "
        "follow a range or `*`"
    ],
    "jobs: {a: {command: x, schedule: [0 2 * * *, 0 25 * * *]}}": [
        "f:1:46: a: schedule: hour: found `25`: write 0 to 23, a range `a-b`, or `*`; `/step` may follow a range or `*`"
    ],
    "jobs: {a: {command: [], timeout: 5, schedule: ''}, b: {notify: required}}": [
        'f:1:21: a: command: found an empty list; expected a list, each item a string ("" for an empty one)',
        "f:1:34: a: timeout: found 5; expected 5s (a duration such as 90s, 5m, 2h or 1d12h, from 1s to 365d, or none)",
        "f:1:47: a: schedule: found ''; expected a cron expression such as \"0 2 * * *\", or a list of them",
        f"f:1:52: b: {NO_COMMAND}",
        "f:1:64: b: notify: found 'required'; expected a mapping with the keys on, email, webhook, command, apprise, "
        "remind, from, such as {on: failure, email: ops@example.org}",
    ],
}


@pytest.mark.parametrize(("text", "messages"), BAD.items(), ids=BAD)
def test_all_that_is_wrong_with_a_file_is_said(text: str, messages: list[str]) -> None:
    """Every mistake of a file is named, in the order of the file, and then there are no jobs."""
    assert messages == problems(text)


def test_one_wrong_job_refuses_the_file() -> None:
    """A file is accepted or refused as a whole."""
    assert 1 == len(problems("jobs: {good: {command: x}, bad: {command: x, priority: y}}"))


def test_a_warning_refuses_nothing() -> None:
    """What is only odd is said, and the jobs are read."""
    found, said = read_jobs(b"jobs: {a: {command: x, schedule: '*/90 * * * *'}}", "f")
    assert (1, [("f", 1, 34, "schedule", "warning")]) == (len(found), [(*p[:4], p.severity) for p in said])


def test_at_most_a_hundred_problems_are_named_errors_first() -> None:
    """A file full of mistakes is answered at once, and warnings never crowd out the errors."""
    odd = "".join(f"  a{n}: {{command: x, schedule: '*/90 * * * *'}}\n" for n in range(150))
    found, said = read_jobs(f"jobs:\n{odd}".encode(), "f")
    assert (150, 100, {"warning"}) == (len(found), len(said), {problem.severity for problem in said})
    found, said = read_jobs(f"jobs:\n{odd}  bad: {{}}\n".encode(), "f")
    assert ((), 100, "error") == (found, len(said), said[0].severity)
    shared = "".join(f"  a{n}: {{command: x}}\n" for n in range(150))
    said = read_jobs(f"defaults: {{grace: x}}\njobs:\n{shared}  bad: {{command: x, priority: x}}\n".encode(), "f")[1]
    assert ["grace", "priority"] == [problem.key for problem in said]
    wrong = "".join(f"  a{n}: {{komando: x}}\n" for n in range(MAX_JOBS))
    assert 100 == len(read_jobs(f"jobs:\n{wrong}".encode(), "f")[1])


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_jobs_or_problems(data: bytes) -> None:
    """No bytes raise."""
    read_jobs(data, "f")


@settings(deadline=None, max_examples=300)
@given(BODIES, SECTIONS | VALUES)
def test_any_structure_is_jobs_or_problems(defaults: str, section: str) -> None:
    """Whatever stands where, there are jobs or at least one error, never an exception."""
    found, said = read_jobs(f"defaults: {defaults}\njobs: {section}\n".encode(), "f")
    assert not (found and any(problem.severity == "error" for problem in said))
    assert all(problem.file == "f" and problem.line > 0 for problem in said)
    assert all(job.command and job.file == "f" for job in found)


HEAVY = {
    "a typo in defaults": "defaults: {timezone: Foo/Bar}\njobs:\n"
    + "".join(f"  j{n}: {{command: x}}\n" for n in range(MAX_JOBS)),
    "an unknown key in defaults": "defaults: {komando: x}\njobs:\n"
    + "".join(f"  j{n}: {{}}\n" for n in range(MAX_JOBS)),
    "expressions for each job": f"defaults: {{command: x, schedule: [{', '.join(['0 2 * * *'] * 400)}]}}\njobs:\n"
    + "".join(f"  j{n}:\n" for n in range(MAX_JOBS)),
    "expressions that no draw can save": "jobs: {a: {command: x, schedule: ["
    + ", ".join(["H H H(30-31) 2 *"] * MAX_EXPRESSIONS) + "]}}",
    "variables for each job": f"defaults: {{environment: {{{', '.join(f'A{n}: x' for n in range(1000))}}}}}\njobs:\n"
    + "".join(f"  j{n}: {{command: x, environment: {{B: x}}}}\n" for n in range(4000)),
    "a long expression": f"jobs: {{a: {{command: x, schedule: '{'0,' * 300_000}0 * * * *'}}}}",
    "many seconds": f"jobs: {{a: {{command: x, schedule: '* * * * *', seconds: '{'0,' * 300_000}0'}}}}",
    "many expressions": f"jobs: {{a: {{command: x, schedule: [{', '.join(['0 2 * * *'] * 60_000)}]}}}}",
}  # fmt: skip


@pytest.mark.parametrize("text", HEAVY.values(), ids=HEAVY)
def test_no_file_is_worked_on_for_long(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done again for each job is bounded, and what is wrong is looked into once: such a file is refused."""
    calls = {"schedule_of": 0, "similar_zones": 0, "pattern_of": 0}

    def counted(module: Any, name: str) -> None:
        wrapped = getattr(module, name)

        def count(*arguments: Any, **options: Any) -> Any:
            calls[name] += 1
            return wrapped(*arguments, **options)

        monkeypatch.setattr(module, name, count)

    counted(reader, "schedule_of")
    counted(time_types, "similar_zones")
    counted(schedule, "pattern_of")
    found, said = read_jobs(text.encode(), "f")
    assert ((), True) == (found, bool(said))
    assert calls["schedule_of"] <= MAX_COST
    assert calls["similar_zones"] <= MAX_PROBLEMS
    assert calls["pattern_of"] <= MAX_COST + 50 * MAX_PROBLEMS


def jobs_text(count: int, body: str = "{command: x}") -> bytes:
    """So many jobs of this body."""
    return ("jobs:\n" + "".join(f"  j{number}: {body}\n" for number in range(count))).encode()


def test_a_file_has_so_many_jobs() -> None:
    """They come into force in one turn, so there is a limit, and a file with more is told to be split."""
    assert MAX_JOBS == len(read_jobs(jobs_text(MAX_JOBS), "f")[0])
    found, (problem,) = read_jobs(jobs_text(MAX_JOBS + 1), "f")
    message = f"found {MAX_JOBS + 1} jobs; expected at most {MAX_JOBS} in a file"
    assert ((), "jobs", MAX_JOBS + 2, message) == (found, problem.key, problem.line, problem.message)


def test_a_job_has_so_many_expressions() -> None:
    """They are compiled in one step."""
    listed = ", ".join(["H H * * *"] * (MAX_EXPRESSIONS + 1))
    found, (problem,) = read_jobs(f"jobs: {{a: {{command: x, schedule: [{listed}]}}}}".encode(), "f")
    message = f"found {MAX_EXPRESSIONS + 1} cron expressions; expected at most {MAX_EXPRESSIONS} of a job"
    assert ((), "schedule", message) == (found, problem.key, problem.message)


@pytest.mark.parametrize(
    "text",
    [
        jobs_text(MAX_JOBS, "{command: x, schedule: 0 2 * * *, user: root}"),
        f"defaults: {{schedule: [{', '.join(['H H * * *'] * 300)}]}}\n".encode() + jobs_text(16),
        f"jobs: {{a: {{command: x, metadata: {{{', '.join(f'k{n}: v' for n in range(20_000))}}}}}}}".encode(),
        f"jobs: {{a: {{command: x, tags: [{', '.join(['t'] * 20_000)}]}}}}".encode(),
    ],
    ids=["jobs", "expressions", "a mapping", "a list"],
)
def test_a_file_is_read_in_steps(text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two rests there is little: some values, some jobs, the expressions of one job."""
    done = {"Scalar": 0, "Job": 0, "schedule_of": 0}

    def counted(module: Any, name: str) -> None:
        wrapped = getattr(module, name)

        def count(*arguments: Any, **options: Any) -> Any:
            done[name] += 1
            return wrapped(*arguments, **options)

        monkeypatch.setattr(module, name, count)

    for name in ("Job", "schedule_of"):
        counted(reader, name)
    nodes = yamltext._Tree._count

    def node(tree: Any, event: Any, depth: int) -> None:
        done["Scalar"] += 1
        nodes(tree, event, depth)

    monkeypatch.setattr(yamltext._Tree, "_count", node)
    steps, rests = read_in_steps(text, "f"), 0
    most = {"Scalar": NODES_A_STEP, "Job": JOBS_A_STEP, "schedule_of": MAX_EXPRESSIONS}
    for _ in steps:
        assert all(done[name] <= most[name] for name in done), done
        done, rests = dict.fromkeys(done, 0), rests + 1
    assert rests > 100


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("environment: {MAILTO: root}", ["environment.MAILTO"]),
        ("environment: {MAILTO: root}, notify: {on: output, email: root}", []),
        ("environment: {MAILTO: ''}", []),
        ("environment: {SHELL: /bin/bash, CRON_TZ: UTC, RANDOM_DELAY: '5'}",
         ["environment.CRON_TZ", "environment.RANDOM_DELAY", "environment.SHELL"]),
        ("environment: {SHELL: /bin/sh, CRON_TZ: UTC, RANDOM_DELAY: '5'}, shell: /bin/sh, timezone: UTC, spread: 5m",
         []),
    ],
)  # fmt: skip
def test_a_variable_of_cron_is_warned_of_where_no_key_does_its_work(keys: str, said: list[str]) -> None:
    """A job that has both was made of a crontab, and its command may want the variable, too."""
    jobs, found = read_jobs(f"jobs: {{a: {{command: x, schedule: '@daily', {keys}}}}}".encode(), "f")
    assert (1, said) == (len(jobs), sorted(problem.key for problem in found))
    shared, found = read_jobs(f"defaults: {{{keys}}}\njobs: {{a: {{command: x, schedule: '@daily'}}}}".encode(), "f")
    assert (1, said) == (len(shared), sorted(problem.key for problem in found))


@pytest.mark.parametrize(
    ("defaults", "keys", "said"),
    [
        ("{}", "notify: {on: failure}", [("notify", 2)]),
        ("{}", "notify: {}", []),
        ("{notify: {on: failure}}", "notify: {email: a@example.org}", []),
        ("{notify: {on: failure}}", "notify: {remind: 1d}", [("notify", 2)]),
        ("{notify: {on: failure}}", "priority: 1", []),
        ("{notify: {email: a@example.org}}", "notify: {on: failure}", []),
    ],
)
def test_a_wish_without_an_address_is_warned_of(defaults: str, keys: str, said: list[tuple[str, int]]) -> None:
    """Whoever is to be told may be named in `defaults`, or what of."""
    jobs, found = read_jobs(f"defaults: {defaults}\njobs: {{a: {{command: x, {keys}}}}}".encode(), "f")
    assert (1, said) == (len(jobs), [(problem.key, problem.line) for problem in found])


def test_notices_have_a_sender_of_their_own_and_may_come_each_time() -> None:
    """As MAILFROM and `-n` of a crontab have it."""
    (job,), problems = read_jobs(
        b"jobs: {a: {command: x, notify: {email: a@example.org, from: cron@example.org, remind: 0s}}}", "f"
    )
    assert ([], "cron@example.org", 0) == (problems, job.notify.sender, job.notify.remind)
