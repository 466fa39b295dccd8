"""keys: the table of job-file keys agrees with itself, with the model and with the design."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueued.base.instants import DAY, HOUR, MINUTE, SECOND
from jobqueued.control.views.definitions import definition
from jobqueued.jobfile.keys.keys import FILE_KEYS, JOB_KEYS
from jobqueued.jobfile.keys.settings_keys import SETTINGS_KEYS
from jobqueued.jobfile.reader import read_jobs
from jobqueued.jobfile.tree.yamltext import Mapping, Node, Scalar, read_tree
from jobqueued.jobfile.types.refusal import NotAccepted
from jobqueued.jobfile.types.scalars import Key, ValueType
from jobqueued.jobfile.types.spelling import meant_duration, meant_size, parse_duration, parse_size
from jobqueued.jobfile.types.types import read_keys
from jobqueued.model.job import UNBOUNDED, Job
from jobqueued.settings.settings import Settings
from tests.support.job_files import GOOD

TABLES = [*JOB_KEYS.values(), *FILE_KEYS.values(), *SETTINGS_KEYS.values()]
TABLES += [key for table in TABLES for key in table.type.keys.values() if not key.planned]


def entries(text: str) -> dict[str, Any]:
    root, problems = read_tree(text.encode(), "f")
    assert [] == problems
    assert isinstance(root, Mapping)
    return root.entries


def read(text: str) -> tuple[dict[str, Any], list[str]]:
    values, refusals = read_keys(entries(text), JOB_KEYS)
    return values, [str(refusal.problem("f")) for refusal in refusals]


def node(text: str) -> Node:
    value: Node = entries(f"x: {text}")["x"].value
    return value


@pytest.mark.parametrize("key", TABLES, ids=lambda key: key.name)
def test_each_example_is_accepted(key: Key) -> None:
    """The example that the manual shows is accepted, and so is the default, where there is one."""
    for text in filter(None, (key.example, key.default)):
        key.type.read(node(text))


@pytest.mark.parametrize("key", TABLES, ids=lambda key: key.name)
def test_each_key_is_explained_in_one_sentence(key: Key) -> None:
    """Each key says what it takes and what it is for, in a sentence."""
    assert (True, True) == (bool(key.type.accepted), re.fullmatch(r"[A-Z`].*[^.]\.", key.help) is not None)


@pytest.mark.parametrize("whole", [JOB_KEYS["notify"].type, SETTINGS_KEYS["notify"].type], ids=["job", "site"])
def test_the_events_of_a_rule_that_names_none(whole: ValueType) -> None:
    """The default of `on` that the manual shows is the one in force, for a job and for a rule of the site."""
    documented = whole.keys["on"].default
    found, expected = (whole.read(node(text)) for text in ("{email: a@b.c}", f"{{email: a@b.c, on: {documented}}}"))
    assert expected == found


LIVE = [key for key in JOB_KEYS.values() if not key.planned]


def test_the_list_of_keys_is_closed() -> None:
    """The keys are those of the design, no more and no less."""
    names = """
        description command shell stdin working_directory environment environment_file umask user group groups
        login_environment credentials
        schedule timezone dst seconds every anchor at on spread catch_up catch_up_window grace start_deadline enabled
        max_runs
        priority escalation scope hosts on_host_loss exclusive concurrency rate overlap max_waiting locks resources
        placement dependencies
        dependency_timeout on_dependency_failure drain
        timeout kill_grace stop_signal success_codes retries retry_delay retry_backoff retry_max_delay retry_on failover
        leave_children
        runner slurm
        resource_limits enforce nice ionice cpu_scheduling oom_score_adj no_new_privs
        output output_limit journal_rate redact retention notify ping late expect telemetry_hooks tags metadata"""
    assert sorted(names.split()) == sorted(JOB_KEYS)
    limits = """
        cpu memory memory_high swap tasks io_read io_write open_files file_size core cpu_time stack locked_memory
        address_space processes data msgqueue sigpending"""
    assert sorted(limits.split()) == sorted(JOB_KEYS["resource_limits"].type.keys)


def test_keys_without_effect_get_fewer() -> None:
    """What is only checked yet is this list, which may only shrink: a key with an effect leaves it."""
    names = "credentials retention"
    assert sorted(names.split()) == sorted(key.name for key in JOB_KEYS.values() if key.planned)
    assert [] == [k.name for k in JOB_KEYS["on"].type.keys.values() if k.planned]
    assert [] == [k.name for k in JOB_KEYS["resource_limits"].type.keys.values() if k.planned]


ELSEWHERE = {"anchor", "escalation"}
"""Whose default no Job has: see test_jobfile, and below."""


@pytest.mark.parametrize(
    "key", [key for key in LIVE if key.default and key.name not in ELSEWHERE], ids=lambda key: key.name
)
def test_the_documented_default_is_the_real_one(key: Key) -> None:
    """What the table calls the default is what a Job has without the key."""
    assert getattr(Job(id="a", command="b"), key.name) == key.type.read(node(key.default))


def test_the_escalation_of_the_host_counts() -> None:
    """A job that does not say how its runs age leaves it to jobqueued.yaml, whose default is the documented one."""
    assert Job(id="a", command="b").escalation is None
    for text in (JOB_KEYS["escalation"].default, SETTINGS_KEYS["escalation"].default, "{}"):
        if text:
            assert Settings().escalation == JOB_KEYS["escalation"].type.read(node(text))


@pytest.mark.parametrize("name", ["escalation", "locks", "on"])
def test_what_a_mapping_leaves_out_has_its_documented_default(name: str) -> None:
    """Each key of a value with keys of its own that has a default may be left out, and means the same."""
    wholes = {
        "escalation": "{points: 1, every: 1m}",
        "locks": "[{name: a, mode: exclusive, scope: host}]",
        "on": "[{job: a, result: success}]",
    }
    type_, whole = JOB_KEYS[name].type, wholes[name]
    for key in type_.keys.values():
        if key.default:
            assert f"{key.name}: {key.default}" in whole
            without = re.sub(rf"(, )?{key.name}: {key.default}", "", whole).replace("{, ", "{")
            assert type_.read(node(whole)) == type_.read(node(without))


def test_each_key_is_a_field_of_the_job() -> None:
    """Every key with an effect has its field, and every field but those of the place and the compiled form its key."""
    place = {"id", "file", "line", "origin", "drop_ins", "owner", "submission"}
    own = {*place, "triggers", "offset", "at_boot", "asks_pam", "more_groups", "outlasts_steps"}
    assert {field.name for field in fields(Job)} - own == {key.name for key in LIVE}


@pytest.mark.parametrize(("text", "value"), GOOD, ids=[text for text, _ in GOOD])
def test_values_are_read(text: str, value: object) -> None:
    """Each type is read into the model's units: nanoseconds, bytes, mode bits, characters as written."""
    name = text.partition(":")[0]
    assert ({name: value}, []) == read(text)


FILE = "the absolute path of a file such as /run/lock/backup.lock, with no . or .. in it"
EVENTS = "boot, or a mapping with the keys path, event, job, result, or a list of them"
CRON = 'expected a cron expression such as "0 2 * * *", or a list of them'
FINITE = "expected a finite number of at most 64 bits, or a string in quotes"
OCTAL = "expected an octal mode with a leading zero, such as 0022"
PRIORITY = "expected a whole number from -1000 to 1000, such as 10"
ZONE = "expected a time zone of the tz database, such as UTC or Europe/Berlin"
SHORT = "expected a duration such as 90s, 5m or 2h, from "
SPAN = "expected a duration such as 90s, 5m, 2h or 1d12h, from "
LINE = (
    "expected a command for the shell, or a list of the program and its arguments, "
    "such as [/usr/local/bin/backup, --full]"
)
VARIABLE = "expected a name such as PATH, of letters, digits and _, that does not start with a digit"
WORD = 'expected a string ("" for an empty one)'
LATER = "found a key of a later version; expected the file without this key"
CORES = "expected a number of cores such as 0.5, or a percentage of one core such as 50%, from 0.01 to 4096 cores"
NAME = "a name such as db-1: up to 64 characters of a-z 0-9 . _ -, starting with a letter or digit"
LOCK = f"expected {NAME}, or a mapping with the keys name, path, mode, units, scope"
IDENTIFIER = (
    "expected an id such as nightly-backup: up to 64 characters of a-z 0-9 . _ -, starting with a letter or digit"
)
CAUSES = (
    "expected an exit code such as 75, a signal such as SIGSEGV, timeout, oom, lost, or start (it could not be started)"
)
ANY = "expected a key of jobqueue.d(5), such as command, schedule or user"
BAD = [
    ("timeout: 90", f"f:1:10: timeout: found 90; {SPAN.replace('a dur', '90s (a dur')}1s to 365d, or none)"),
    ("timeout: 2h30", f"f:1:10: timeout: found '2h30'; {SPAN}1s to 365d, or none"),
    ("timeout: 5m1h", f"f:1:10: timeout: found '5m1h'; {SPAN.replace('a dur', '1h5m (a dur')}1s to 365d, or none)"),
    ("timeout: 0s", f"f:1:10: timeout: found '0s'; {SPAN}1s to 365d, or none"),
    ("timeout:", f"f:1:9: timeout: found nothing; {SPAN}1s to 365d, or none"),
    ("grace: none", f"f:1:8: grace: found 'none'; {SHORT}0s to 1d"),
    ("grace: 25h", f"f:1:8: grace: found '25h'; {SHORT}0s to 1d"),
    ("grace: \u0661s", f"f:1:8: grace: found '\u0661s'; {SHORT}0s to 1d"),
    ("output_limit: 64", "f:1:15: output_limit: found 64; expected a size such as 512K, 512M or 2G, from 1K to 1T"),
    ("output_limit: 5MB", "f:1:15: output_limit: found '5MB'; expected 5M (a size such as 512K, 512M or 2G, from 1K "
        "to 1T)"),
    ("umask: 22", f"f:1:8: umask: found 22; expected 0022 ({OCTAL.removeprefix('expected ')})"),
    ("umask: 0088", f"f:1:8: umask: found '0088', a number with a leading zero; {OCTAL}"),
    ("priority: 0755", f"f:1:11: priority: found '0755', a number with a leading zero; {PRIORITY}"),
    ("priority: 1.0", f"f:1:11: priority: found 1.0; {PRIORITY}"),
    ("priority: 1001", f"f:1:11: priority: found 1001; {PRIORITY}"),
    ("priority: true", f"f:1:11: priority: found true; {PRIORITY}"),
    ('priority: "1"', f"f:1:11: priority: found the string '1' in quotes; {PRIORITY}"),
    ("concurrency: 0", "f:1:14: concurrency: found 0; expected a whole number from 1 to 1000, such as 2"),
    ("enabled: no", "f:1:10: enabled: found 'no'; expected false (true or false)"),
    ("catch_up: al", "f:1:11: catch_up: found 'al'; expected none, latest or all"),
    ("dst: [once]", "f:1:6: dst: found a list; expected cron, once, both or skip"),
    ("timezone: Europe", f"f:1:11: timezone: found 'Europe'; {ZONE}"),
    ("timezone: ../etc/passwd", f"f:1:11: timezone: found '../etc/passwd'; {ZONE}"),
    ("command: ''", f"f:1:10: command: found ''; {LINE}"),
    ("command: ' '", f"f:1:10: command: found ' '; {LINE}"),
    ("command: {a: b}", f"f:1:10: command: found a mapping; {LINE}"),
    ("command: []", f"f:1:10: command: found an empty list; expected a list, each item {WORD[9:]}"),
    ("command: ['', a]", "f:1:11: command[0]: found ''; expected the name or path of a program"),
    ("command: [a, ~]", f"f:1:14: command[1]: found ~, which means nothing; {WORD}"),
    ("schedule: ''", f"f:1:11: schedule: found ''; {CRON}"),
    ("shell: sh", "f:1:8: shell: found 'sh'; expected an absolute path such as /srv/backup"),
    ("user: ''", "f:1:7: user: found ''; expected the name of an account such as backup"),
    ("environment: {1A: x}", f"f:1:15: environment: found '1A'; {VARIABLE}"),
    ("environment: {A: [x]}", f"f:1:18: environment.A: found a list; {WORD}"),
    ("environment: [A=x]", "f:1:14: environment: found a list; expected a mapping of names to values "
        "such as {LANG: C.UTF-8}"),
    ("success_codes: [256]", "f:1:17: success_codes[0]: found 256; expected a whole number from 0 to 255"),
    ("late: 5", "f:1:7: late: found 5; expected true or false, or a mapping with the keys after, level, "
        "such as {after: 2h}"),
    ("metadata: {a: {b: [.inf]}}", f"f:1:20: metadata.a.b[0]: found .inf; {FINITE}"),
    ("metadata: {a: 18446744073709551616}", f"f:1:15: metadata.a: found 18446744073709551616; {FINITE}"),
    ("shcedule: x", "f:1:1: shcedule: found an unknown key; expected 'schedule'"),
    ("credentials: {a: /a}", f"f:1:1: credentials: {LATER}"),
    ("credential: {a: /a}", "f:1:1: credential: found an unknown key; expected the file without this key "
        "(the key `credentials` comes in a later version)"),
    ("on: {path: srv/in}", "f:1:12: on.path: found 'srv/in'; expected an absolute path such as "
        "/srv/in/*.csv, with * ? and [] in its last part only"),
    ("on: {job: 'Db-*'}", "f:1:11: on.job: found 'Db-*'; expected an id such as nightly-backup: up to 64 "
        "characters of a-z 0-9 . _ -, starting with a letter or digit; or a pattern of ids with * and ?"),
    ("on: boots", f"f:1:5: on: found 'boots'; expected {EVENTS}"),
    ("on: rebooted", f"f:1:5: on: found 'rebooted'; expected {{event: rebooted}} or {{job: rebooted}} ({EVENTS})"),
    ("on: [deployed]", "f:1:6: on[0]: found 'deployed'; expected {event: deployed} or {job: deployed} (boot, or a "
        "mapping with the keys path, event, job, result)"),
    ("exclusiv: true", "f:1:1: exclusiv: found an unknown key; expected 'exclusive'"),
    ("exclusive: 1", "f:1:12: exclusive: found 1; expected true (true or false)"),
    ("retry_backoff: .nan", "f:1:16: retry_backoff: found .nan; expected a number from 1 to 10, such as 2"),
    ("retry_backoff: 0.5", "f:1:16: retry_backoff: found 0.5; expected a number from 1 to 10, such as 2"),
    ("resources: {cpu: 4097}", f"f:1:18: resources.cpu: found 4097; {CORES}"),
    ("resources: {cpu: .inf}", f"f:1:18: resources.cpu: found .inf; {CORES}"),
    ("resources: {cpu: 0%}", f"f:1:18: resources.cpu: found '0%'; {CORES}"),
    ("locks: [':host']", f"f:1:9: locks[0]: found ':host'; {LOCK}"),
    ("locks: [{path: /}]", f"f:1:16: locks[0].path: found '/'; expected {FILE}"),
    ("locks: [{path: /run/../x}]", f"f:1:16: locks[0].path: found '/run/../x'; expected {FILE}"),
    ("locks: [{path: /run/x/}]", f"f:1:16: locks[0].path: found '/run/x/'; expected {FILE}"),
    ("locks: [~]", f"f:1:9: locks[0]: found ~, which means nothing; {LOCK}"),
    ("dependencies: ['a@1']", f"f:1:16: dependencies[0]: found 'a@1'; {IDENTIFIER}"),
    ("retry_on: [256]", f"f:1:12: retry_on[0]: found 256; {CAUSES}"),
    ("retry_on: [true]", f"f:1:12: retry_on[0]: found true; {CAUSES}"),
    ('"a\\e[2J": 1', rf"f:1:1: a\x1b[2J: found an unknown key; {ANY}"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD, ids=[text for text, _ in BAD])
def test_wrong_values_are_explained(text: str, message: str) -> None:
    """A wrong value says where it is, what was found and what is accepted, and gives no value."""
    assert ({}, [message]) == read(text)


def test_all_wrong_values_are_named() -> None:
    """One wrong value does not hide another, neither beside it nor inside the same key."""
    values, problems = read("timeout: 1\npriority: 5\nenvironment: {A: [], B: ~}\nenabled: 2")
    assert ({"priority": 5}, ["timeout", "environment.A", "environment.B", "enabled"]) == (
        values,
        [problem.split(": ")[1] for problem in problems],
    )


@pytest.mark.parametrize("text", ["", "s", "1", "1w", "1h1d", " 1s", "1s\n", "-1s", "1.5h", "1234567d", "²s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Only whole numbers with units, from days down, are a duration."""
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


MEANT = {
    "1,5h": "", "1 1": "", "60 60s": "", "1h, 30min": "1h30m",
    "90min": "90m", "2 h": "2h", "1.5h": "1h30m", "2H": "2h", "30m2h": "2h30m", "02:00:00": "2h", "3600": "3600s",
    "1 day 2 hours": "1d2h", "2w": "14d", "0:01:05": "1m5s", "90 seconds": "90s", "2h30": "", "x": "", "1y": "",
    "-1h": "", "": "", "1h,": "", "1.5": "", "1.5s": "", "0.5s": "", "1.001h": "", "1.5m": "1m30s", "2.0h": "2h",
    "1m 1.5s": "",
}  # fmt: skip


@pytest.mark.parametrize(("text", "spelling"), MEANT.items())
def test_durations_from_elsewhere_are_understood(text: str, spelling: str) -> None:
    """What other programs write is answered with our spelling of the same time, and never with a guess."""
    assert spelling == meant_duration(text)
    if spelling:
        parse_duration(spelling)


@pytest.mark.parametrize(
    ("text", "spelling"),
    [("5MB", "5M"), ("512Mi", "512M"), ("512m", "512M"), ("1.5G", "1536M"), ("2 GiB", "2G"), ("64", ""), ("5X", "")],
)
def test_sizes_from_elsewhere_are_understood(text: str, spelling: str) -> None:
    """The same for sizes."""
    assert spelling == meant_size(text)


@pytest.mark.parametrize("text", ["", "K", "1", "1k", "1KB", "1.5G", " 1K", "1K\n", "9999999999K"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """Only a whole number with one capital unit is a size."""
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize("key", ["memory", "swap", "io_read", "file_size", "address_space"])
def test_a_size_is_one_of_the_kernel(key: str) -> None:
    """What the kernel counts in 64 bits, with a sign, is never more than that."""
    text = f"jobs: {{a: {{command: x, resource_limits: {{{key}: %s}}}}}}"
    (job,), _ = read_jobs((text % "1000000T").encode(), "f")
    assert job.resource_limits[key] < 1 << 63
    found, (problem,) = read_jobs((text % "1000001T").encode(), "f")
    assert ((), True) == (found, "1000000T" in problem.message)


@given(st.integers(0, 999), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
def test_durations_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    """A duration is the sum of its parts in nanoseconds."""
    total = days * DAY + hours * HOUR + minutes * MINUTE + seconds * SECOND
    assert total == parse_duration(f"{days}d{hours}h{minutes}m{seconds}s")


@settings(deadline=None)
@given(st.sampled_from(TABLES), st.text(max_size=20), st.booleans())
def test_no_scalar_raises_anything_but_wrong(key: Key, text: str, plain: bool) -> None:
    """Whatever is written, a key has a value or says what is wrong."""
    with suppress(NotAccepted):
        key.type.read(Scalar(1, 1, text, plain))


@pytest.mark.parametrize(
    ("one", "several"),
    [
        ("locks: disk", "locks: [disk]"),
        ("locks: {name: tape, mode: shared}", "locks: [{name: tape, mode: shared}]"),
        ("dependencies: b", "dependencies: [b]"),
        ("tags: x", "tags: [x]"),
        ("success_codes: 0", "success_codes: [0]"),
        ("retry_on: oom", "retry_on: [oom]"),
        ("groups: adm", "groups: [adm]"),
        ("schedule: '0 2 * * *'", "schedule: ['0 2 * * *']"),
        ("environment_file: /etc/x", "environment_file: [/etc/x]"),
        ("on: boot", "on: [boot]"),
    ],
)
def test_one_or_a_list(one: str, several: str) -> None:
    """Where a key takes several values, one may stand without brackets; each such key is here."""
    jobs = [read_jobs(f"jobs: {{a: {{command: x, {body}}}}}".encode(), "f")[0] for body in (one, several)]
    assert jobs[0] == jobs[1] != ()
    lists = {name for name, key in JOB_KEYS.items() if " or list" in key.type.name or "list of" in key.type.name}
    shown = "locks dependencies tags success_codes retry_on groups schedule environment_file on telemetry_hooks redact"
    assert lists == set(shown.split())


def test_max_waiting_none_is_not_the_default() -> None:
    """`none` is no limit, which is something else than no key at all."""
    (unbounded, usual), problems = read_jobs(b"jobs: {a: {command: x, max_waiting: none}, b: {command: x}}", "f")
    assert (UNBOUNDED, None, []) == (unbounded.max_waiting, usual.max_waiting, problems)
    assert "none" == definition(unbounded)["max_waiting"]
