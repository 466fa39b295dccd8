"""Remedies: each value that a message quotes is accepted in that place, and is what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.base.instants import HOUR, MINUTE, SECOND
from jobqueued.jobfile.foreign import ELSEWHERE
from jobqueued.jobfile.keys.keys import JOB_KEYS
from jobqueued.jobfile.reader import read_jobs
from jobqueued.jobfile.tree.yamltext import Scalar, read_tree
from jobqueued.jobfile.types.refusal import NotAccepted
from jobqueued.jobfile.types.scalars import Key
from jobqueued.jobfile.types.spelling import meant_duration, meant_size, parse_duration, parse_size


def keys() -> Iterator[tuple[str, Key]]:
    """Every key of a job, those of its sections too, by its name from the top."""
    for name, key in JOB_KEYS.items():
        yield name, key
        yield from ((f"{name}.{inner}", of) for inner, of in key.type.keys.items())


KEYS = dict(keys())
YEARS = ("0000", "0001", "1969", "1970", "2027", "2028", "2199", "2200", "9999")
NEAR = st.sampled_from(["0", "1", "05", "9", "12", "13", "23", "24", "25", "28", "29", "30", "31", "32", "59", "60"])
"""Parts of dates and times, more of them at the ends of their ranges than elsewhere."""
INSTANTS = st.one_of(
    st.builds(
        "{}{}".format,
        st.one_of(
            st.builds("{}-{}-{}".format, st.sampled_from(YEARS), NEAR, NEAR),
            st.builds("{}.{}.{}".format, NEAR, NEAR, st.sampled_from(YEARS)),
        ),
        st.one_of(
            st.just(""),
            st.builds(
                "{}{}:{}{}{}".format,
                st.sampled_from("T "),
                NEAR,
                NEAR,
                st.sampled_from(["", ":00", ":59", ":60"]),
                st.sampled_from(["", "Z", " UTC", "+01:00", "-0530", "+14:00", "-12:00", "+24:00", "-25:00"]),
            ),
        ),
    ),
    st.builds("{}:{}".format, NEAR, NEAR),
    st.from_regex(r"\A[0-9]{8,11}\Z"),
)
"""Instants as people write them: many do not exist, or are of a year that is refused."""
SPELLINGS = st.one_of(
    st.from_regex(r"\A[0-9]{1,4}(\.[0-9]{1,2})? ?([a-zA-Z]{0,7}|Mi?B|ms)\Z"),
    st.from_regex(r"\A([0-9]{1,3} ?[smhdw]){1,3}\Z"),
    st.from_regex(r"\A[0-9]{1,3}:[0-9]{2}(:[0-9]{2})?\Z"),
    INSTANTS,
    st.sampled_from([word for key in KEYS.values() for word in re.findall(r"[\w:./+-]+", key.type.accepted)]),
    st.sampled_from(["UTC+2", "GMT-05:00", "CEST", "Europe/Berln", "yes", "OFF", "be:3", "9", "sigterm", "/x", "~"]),
    st.text("abcdefghijklmnoprstuvz0123456789.:/-+_ \u00a0", max_size=12),
)


def meant_of(key: Key, text: str) -> list[str]:
    """The values that the message quotes for a text that is refused."""
    try:
        key.type.read(Scalar(1, 1, text, True))
    except NotAccepted as wrong:
        quoted = [refusal.meant for refusal in wrong.refusals if refusal.meant]
        shown = [re.sub(", (which|as|or another) .*|^a date before the time, such as |; .*", "", it) for it in quoted]
        return [value for words in shown for value in words.split(" or ")]
    return []


PROSE = ("no key at all", "`")
"""Remedies in words, which name no value of the key."""


@given(st.sampled_from(sorted(KEYS)), SPELLINGS)
def test_what_is_quoted_is_accepted(name: str, text: str) -> None:
    """Whatever is written: the value that the message quotes is accepted when it is written there."""
    for meant in meant_of(KEYS[name], text):
        if not any(words in meant for words in PROSE):
            tree, problems = read_tree(meant.encode(), "")
            assert tree is not None
            assert [] == problems
            KEYS[name].type.read(tree)


@given(INSTANTS)
def test_what_is_said_of_an_instant_is_accepted(text: str) -> None:
    """In a file: an instant of our spelling is accepted, and so is the schedule for a time without a date."""
    for meant in meant_of(KEYS["at"], text):
        assert "" == read_body(f"at: {meant}")
    if daily := re.search("`(schedule: .*?)`", read_body(f"at: '{text}'")):
        assert "" == read_body(daily[1])


@pytest.mark.parametrize(
    ("key", "written", "meant"),
    [
        ("timeout", "500ms", ""), ("timeout", "1500 ms", ""), ("timeout", "5M", ""), ("timeout", "90min", "90m"),
        ("timeout", "1 hour and 30 minutes", "1h30m"), ("timeout", "PT1H30M", "1h30m"), ("timeout", "0.2s", ""),
        ("timeout", "12:30", "12h30m or 12m30s"), ("timeout", "01:30:00", "1h30m"), ("timeout", "3 hrs", "3h"),
        ("umask", "22", "0022"), ("umask", "7", "0007"), ("umask", "0o27", "0027"), ("umask", "88", ""),
        ("ionice", "7", "best-effort:7"), ("ionice", "3", "idle or best-effort:3"), ("ionice", "rt", "realtime:4"),
        ("timezone", "Europe/Berln", "Europe/Berlin"), ("timezone", "CEST", "Europe/Berlin"),
        ("timezone", "GMT+5", "Etc/GMT-5, which is UTC+5"), ("timezone", "UTC-03:00", "Etc/GMT+3, which is UTC-3"),
        ("timezone", "/usr/share/zoneinfo/Asia/Tokyo", "Asia/Tokyo"), ("timezone", "nonsense", ""),
        ("at", "2027-02-03 10:00:60", ""), ("at", "2027-02-03T10:00-25:00", ""), ("at", "9999-12-31", ""),
        ("at", "2199-12-31 24:00", ""), ("at", "9999-12-31 24:00", ""), ("at", "25:00", ""), ("at", "9999999999", ""),
        ("at", "0001-01-01T00:00+14:00", ""), ("at", "9999-12-31T23:59-12:00", ""),
        ("at", "1.2.1970", "1970-02-01T00:00, or another time of that day"),
        ("enabled", "yes", "true"), ("enabled", "Off", "false"), ("catch_up", "Latest", "latest"),
        ("timeout", "2\u00a0h", "2h"), ("priority", "5\u200b", "5"), ("user", "ops\u00a0", "ops"),
        ("resource_limits.memory", "536870912", "512M"), ("resource_limits.memory", "1.5K", ""),
        ("on", "failure", "{job: backup, result: failure}, which starts the job after each such run of backup"),
        ("on", "Succeeded", "{job: backup, result: success}, which starts the job after each such run of backup"),
        ("on", "deployed", "{event: deployed} or {job: deployed}"), ("on", "boots", ""),
        ("resource_limits.memory", "0.5G", "512M"), ("resource_limits.memory", "512 megabytes", ""),
    ],
)  # fmt: skip
def test_what_was_meant(key: str, written: str, meant: str) -> None:
    """The guess is right, and where there are two readings there is none, or both."""
    with pytest.raises(NotAccepted) as wrong:
        KEYS[key].type.read(Scalar(1, 1, written, True))
    assert meant == wrong.value.refusals[0].meant


UNITS = {"s": SECOND, "sec": SECOND, "seconds": SECOND, "min": MINUTE, "minutes": MINUTE, "hrs": HOUR, "hours": HOUR}


@given(st.integers(1, 999), st.sampled_from(sorted(UNITS)))
def test_units_keep_their_length(count: int, unit: str) -> None:
    """A duration in other words is answered with the same duration, a size with the same size."""
    assert count * UNITS[unit] == parse_duration(meant_duration(f"{count} {unit}"))
    assert count << 20 == parse_size(meant_size(f"{count} MiB")) == parse_size(meant_size(str(count << 20)))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("backup: {command: x, schedule: '0 2 * * *'}", "a line `jobs:` above it, and the job with its keys"),
        ("jobs: {a: {command: x, mailto: ops}}", "`notify: {email: ops@example.org}`"),
        ("jobs: {a: {command: x, notfy: ops}}", "'notify'"),
        ("jobs: {a: {command: x, metrics_hooks: ops}}", "a key of jobqueue.d(5)"),
        ("jobs: {a: {command: x, schedule: '0\u00a02 * * *'}}", "write `0 2 * * *`"),
    ],
)  # fmt: skip
def test_the_way_out(text: str, told: str) -> None:
    """A remedy leads to a file that is accepted, not to the next refusal."""
    jobs, problems = read_jobs(text.encode(), "a.yaml")
    assert () == jobs
    assert told in " ".join(problem.message for problem in problems)


def read_body(body: str) -> str:
    """All that is said of a job with these keys beside a command, where it has none."""
    text = body if "command:" in body else f"command: x, {body}"
    return "; ".join(map(str, read_jobs(f"jobs: {{a: {{{text}}}}}".encode(), "f")[1]))


@pytest.mark.parametrize("word", sorted(ELSEWHERE))
def test_foreign_names(word: str) -> None:
    """A name from elsewhere is answered with a key of ours, or with keys and values, that are accepted."""
    said = read_body(f"{word}: x")
    key, fragments = re.search(r"expected '(\w+)'", said), re.findall("`([^`]*: [^`]*)`", said)
    if key is not None:
        fragments = [f"{key[1]}: {JOB_KEYS[key[1]].example}"]
    assert fragments or re.search(
        "`(notify|retention|credentials|telemetry_hooks)`, which|the file without this key|the id as", said
    )
    assert [""] * len(fragments) == list(map(read_body, fragments))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("memory_limit", "resource_limits: {memory: 512M}"), ("on_failure", "failover: "), ("start", "'schedule'"),
        ("concurrencyPolicy", "'overlap'"), ("startingDeadlineSeconds", "'start_deadline'"),
        ("backoffLimit", "'retries'"),
        ("OnCalendar", "'schedule'"), ("ExecStart", "'command'"), ("captureStdout", "`output: none`"),
        ("suspend", "enabled: false"), ("OnBootSec", "on: boot"), ("WatchPaths", "on: {path: "),
        ("Restart", "'retries'"),
        ("terminationGracePeriodSeconds", "'kill_grace'"), ("MAILTO", "`notify: {email: ops@example.org}`"),
    ],
)  # fmt: skip
def test_names_that_peers_have(written: str, meant: str) -> None:
    """However it is spelled there."""
    assert meant in read_body(f"{written}: x")


CRONTABS = {
    "0 2 * * * /usr/local/bin/backup --full\n*/5 * * * * x\n": "/usr/local/bin/backup --full",
    "# m h dom mon dow command\nMAILTO=ops\n*/5 * * * * root [ -x /x ] && date +\\%F\n": "[ -x /x ] && date +%F",
    "@daily echo 'it is: late' # now\n": "echo 'it is: late' # now",
    "jobs:\n  a:\n    schedule: */5 * * * * /usr/bin/x -a\n": "/usr/bin/x -a",
    "jobs: {a: {schedule: '0 2 1 jan mon-fri root /usr/bin/x', command: x}}": "/usr/bin/x",
    "0 2 * * * echo hi: there\n": "echo hi: there",
}
"""Lines of crontabs, pasted as a file or a schedule, and the command of the first."""


@pytest.mark.parametrize(("text", "command"), CRONTABS.items(), ids=CRONTABS)
def test_crontabs(text: str, command: str) -> None:
    """A pasted crontab is answered with its first line in our words, which are accepted, and mean that."""
    said = read_jobs(text.encode(), "f")[1][0].message
    answer = re.search(r"as in (?:jobs: )?(\{.*\})", said)
    assert answer is not None
    body = answer[1] if answer[1].startswith("{backup: ") else f"{{backup: {answer[1]}}}"
    (job,), problems = read_jobs(f"jobs: {body}".encode(), "f")
    assert (command, []) == (job.command, problems)


def test_what_a_crontab_gives_a_command_to_read() -> None:
    """What is behind a % is its standard input, line by line."""
    said = read_jobs(b'*/5 * * * * mail -s 50\\% root%%Body "text"%more\n', "f")[1][0].message
    answer = re.search(r"as in jobs: (\{.*\})", said)
    assert answer is not None
    (job,), problems = read_jobs(f"jobs: {answer[1]}".encode(), "f")
    assert ("mail -s 50% root", '\nBody "text"\nmore\n', []) == (job.command, job.stdin, problems)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("daily", "@daily"), ("Hourly", "@hourly"), ("every day", "@daily"), ("reboot", "@reboot"),
        ("20:15", "15 20 * * *"),
        ("Mon *-*-* 02:00:00", "0 2 * * mon"), ("*-*-* 04:30", "30 4 * * *"), ("minutely", "* * * * *"),
    ],
)  # fmt: skip
def test_times_in_words(written: str, meant: str) -> None:
    """A time as elsewhere is answered with the expression, which is accepted as it stands."""
    said = read_body(f"schedule: '{written}'")
    assert f'write `"{meant}"`' in said
    assert "" == read_body(f'schedule: "{meant}"')


SLIPS = {
    "jobs: {a: {command: [~/bin/x, -a, >, /tmp/y]}}": "expected the whole command in quotes, as in command: '",
    "jobs: {a: {command: [a, |, b]}}": "found a | in brackets, but no shell reads a list",
    "jobs:\n  a:\n    schedule: */5 * * * *\n    command: x\n": 'expected "*/5 * * * *"',
    "jobs: {a: {command: x, schedule: 5m}}": "like `every: 5m`",
    "jobs:\n  a:\n    command:echo hi\n    user: x\n": "expected command: echo hi",
    "jobs:\n  a:\n    command: echo hi timeout: 5m\n": "the value in quotes, or timeout: on its own line",
    "jobs:\n  a:\n    command\n    user: x\n": "expected a colon after the key above, or less indentation",
    "jobs:\n  a:\n\tcommand: x\n": "expected spaces (`check --fix` replaces tabs",
    "jobs:\n  a:\n    command: 'echo\n": "expected a closing quote",
    "jobs:\n  a:\n    command: [a, b\n    user: x\n": "expected [a, b] or {a: b}",
    "jobs:\n  a:\n    command: && b\n": "expected both commands in one value, in quotes: 'a && b'",
    "jobs:\n  a:\n    command: x\n    timeout:\n": "timeout: found nothing; expected a duration",
    "jobs: {a: {command: x, schedule: '0 2 1 1 * 2027'}}": "the key `at`: `at: 2027-01-01T02:00`",
    "jobs: {a: {command: x, schedule: '@every 5m'}}": "like `every: 5m`",
    "jobs: {a: {command: x, schedule: '12:30'}}": 'write `"30 12 * * *"`',
    "jobs: {a: {command: x, schedule: '0 2pm * * *'}}": "write `14`",
    "jobs: {a: {command: x, at: '12:30'}}": 'for every day, `schedule: "30 12 * * *"`',
    "jobs: {a: {command: x, at: '31.01.2027 2:00'}}": "expected 2027-01-31 02:00 (",
    "jobs: {a: {command: x, at: '2027-01-31T02:00+0100'}}": "expected 2027-01-31T02:00+01:00 (",
    "jobs: {a: {command: x, at: 1801353600}}": "expected 2027-01-31T00:00:00Z (",
    "jobs: {a: {command: x, at: 2027-02-30}}": "expected 2027-02-28T00:00 or 2027-03-02T00:00 (",
    "jobs: {a: {command: x, at: 2028-02-30}}": "expected 2028-02-29T00:00 or 2028-03-01T00:00 (",
    "jobs: {a: {command: x, at: 2027-04-31T18:00}}": "expected 2027-04-30T18:00 or 2027-05-01T18:00 (",
    "jobs: {a: {command: x, at: 2027-13-01}}": "expected an instant such as 2027-01-31T02:00",
    "jobs: {a: {command: x, at: 2027-2-3}}": "expected 2027-02-03T00:00, or another time of that day (",
    "jobs: {a: {command: x, at: 2027-02-03 10}}": "expected 2027-02-03 10:00 (",
    "jobs: {a: {command: x, at: 2027-02-03  10:00}}": "expected 2027-02-03 10:00 (",
    "jobs: {a: {command: x, at: 2027-02-03 24:00}}": "expected 2027-02-04 00:00 (",
    "jobs: {a: {command: x, at: 2027-02-03 10:60}}": "expected an instant such as 2027-01-31T02:00",
    "jobs: {a: {command: x, at: 1970-01-01T00:00+14:00}}": "expected an instant such as",
    "jobs: {a: {command: x, at: 3.2.2027}}": "expected 2027-02-03T00:00, or another time of that day (",
    "jobs: {a: {command: x, timeout: 1.5}}": "expected a duration such as 90s",
    "jobs:\n  a:\n    command:x\n": "found command: without a space after the colon; expected command: x",
    "jobs: {a: {command:x}}": "found command: without a space after the colon; expected command: x",
    "jobs:\n  a: command:x\n": "found command: without a space after the colon; expected command: x",
    "jobs:\n  a:\n    command: x\n    metadata: {b:c}\n": "found b: without a space after the colon; expected b: c",
    "jobs:\n  a:\n    command:\u00a0x\n": "found command: without a space after the colon; expected command: x",
    "jobs:\n  ? 5\n": "expected the file without `? 5`, or 5: and a value",
    "jobs:\n  a:\n    command: x\n    metadata:\n      ? 5\n": "expected the file without `? 5`, or 5:",
    "jobs: {a: {command: x, metadata: {? 5}}}": "expected the file without `? 5`, or 5: and a value",
    "jobs: {a: {command: x, timeout: 5 minutes}}": "expected 5m (",
    "jobs: {a: {command: x, timezone: GMT+5}}": "expected Etc/GMT-5, which is UTC+5 (",
    "jobs:\n  a:\n    command: [a, b] && c\n": "expected ",
    "jobs:\n  a: {command: ls, }}\n": "found a bracket that closes nothing; expected the line without this bracket",
    "jobs:\n  a:\n    command: [ls]]\n": "found a bracket that closes nothing; expected the line without this bracket",
    "jobs: {a: {command: ls}}}\n": "found a bracket that closes nothing; expected the line without this bracket",
    "jobs: {a: {command: [ls}}\n": "found a } inside brackets; expected ] in its place",
    "jobs: {a: {command: ls]}\n": "found a ] inside braces; expected } in its place",
    "jobs: {a: {command: x, schedule: {every: 1s}}}": "write `every` next to `schedule`, not inside",
    "jobs: {a: {command: x, output: /tmp/x}}": "as in `command: make >> /tmp/x`",
    "jobs: {a: {command: x, output: '/tmp/$x y'}}": "as in `command: make >> /tmp/out`",
    "%JOBS 1\njobs: {}\n": "quotes around a value that starts with %, or # before a comment",
}
"""The commonest slips, and what is said of each in our words."""


@pytest.mark.parametrize(("text", "told"), SLIPS.items(), ids=SLIPS)
def test_the_commonest_slips(text: str, told: str) -> None:
    """No sentence of the parser's, but what to write."""
    problems = read_jobs(text.encode(), "f")[1]
    said = " / ".join(map(str, problems))
    assert told in said
    assert not re.search("this is not YAML|while (parsing|scanning)|did not find expected", said)


def test_the_job_is_named() -> None:
    """A problem in a job names it; what is wrong in `defaults` names none, and is told once."""
    text = "defaults: {timeout: 2x}\njobs:\n  a: {command: x, umask: 22}\n  b: {command: x, priority: high}\n"
    problems = read_jobs(text.encode(), "f")[1]
    assert [("", "timeout"), ("a", "umask"), ("b", "priority")] == [(it.job, it.key) for it in problems]
    assert str(problems[1]).startswith("f:3:26: a: umask: found 22; expected 0022 (")


BOUNDED = {name: key for name, key in KEYS.items() if key.type.name in ("duration", "size")}


@pytest.mark.parametrize("name", sorted(BOUNDED))
def test_each_example_of_a_measure_is_accepted(name: str) -> None:
    """It is within the bounds of its key."""
    examples = BOUNDED[name].type.accepted.partition(" such as ")[2].partition(", from ")[0]
    assert examples
    for example in re.split(", | or ", examples):
        BOUNDED[name].type.read(Scalar(1, 1, example, True))


@pytest.mark.parametrize("value", ["[[{}]]", "foo?", "-17", "{a: b}", "/tmp/x", "true", "''"])
@pytest.mark.parametrize("name", sorted(name for name, key in KEYS.items() if "." not in name and not key.planned))
def test_each_refusal_has_an_example_that_works(name: str, value: str) -> None:
    """A refused value is answered with one that a job with only this key and what the message names may have."""
    for problem in read_jobs(f"jobs: {{a: {job_with(f'{name}: {value}')}}}".encode(), "f")[1]:
        if problem.severity == "error" and problem.code != "JQ201":  # which has the names of keys, no values
            told = re.split("expected |found .*: write ", problem.message)[1]
            assert any(examples_that_work(told, {name, problem.key.partition("[")[0]})), problem


def examples_that_work(told: str, keys: Iterable[str]) -> Iterator[str]:
    """The words, mappings and lines of a message that are accepted as the value of one of these keys, with the keys in
    the message that the example needs.
    """
    needed = "".join(f", {it}" for it in re.findall(r"with `([^`]+)`", told))
    examples = [*re.findall(r"\{.*?\}+|\[.*?\]|\"[^\"]+\"|`[^`]+`", told), *re.findall(r"\S*[^\s,;:]", told)]
    lines = re.findall(r"`(\w+: [^`]+)`", told)
    for key in keys:
        *outer, last = key.split(".")
        before, after = "".join(f"{it}: {{" for it in outer), "}" * len(outer)
        lines += [f"{before}{last}: {it.strip('`')}{after}{needed}" for it in examples]
    yield from (line for line in lines if is_accepted(f"jobs: {{a: {job_with(line)}}}"))


def job_with(line: str) -> str:
    """A job with these keys, and a command if they have none."""
    return f"{{{line}}}" if line.startswith("command:") else f"{{command: x, {line}}}"


def is_accepted(text: str) -> bool:
    """Whether a file has jobs and no error."""
    jobs, problems = read_jobs(text.encode(), "f")
    return bool(jobs) and all(problem.severity == "warning" for problem in problems)


EMPTY = {
    "": "[a]", "jobs": "jobs: [a]", "jobs.a": "jobs: {a: ls -l}", "jobs.a.command": "jobs: {a: {user: root}}",
    "defaults": "defaults: 5",
}  # fmt: skip
"""Place → a file whose value there is no mapping, or a job without a command."""


@pytest.mark.parametrize("place", EMPTY)
def test_each_mapping_has_an_example_that_works(place: str) -> None:
    """A mapping that is missing is answered with one that is accepted there."""
    (problem,) = read_jobs(EMPTY[place].encode(), "f")[1]
    example = re.search(r"(?:such as |as in `command: )(.*[^`])", problem.message)
    assert example is not None, problem
    for name in reversed(place.split(".") if place else []):
        example = re.fullmatch("(.*)", f"{{{name}: {example[1]}}}")
        assert example is not None
    assert [] == read_jobs(example[1].encode(), "f")[1]
