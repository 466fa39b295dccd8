"""Submissions as documents: what is accepted, what a user may not have, and that what was kept is read again."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.ctl.act.submit_input import directives
from jobqueued.jobfile.submissions import KEYS, LARGEST, Wrong, read, read_after, read_again, read_array
from jobqueued.jobfile.tree.yamltext import read_tree
from jobqueued.model.job import Claim
from jobqueued.model.submission import After, Array
from jobqueued.model.users import Owner, UserLimits

ALICE = Owner(1000, "alice")


def document(**keys: Any) -> dict[str, Any]:
    """A submission with these keys of a job file."""
    return {"keys": {"command": "true", **keys}}


def test_what_was_kept_is_read_again() -> None:
    """The text makes the same job, with the id that it was given."""
    given = {
        **document(locks=["db"], umask="0027", environment={"A": "b"}, at="2199-01-01T00:00:00Z", timeout="2h"),
        "array": "1-9:2%2", "after": ["any:alice/3"], "key": "k", "mail": "output",
    }  # fmt: skip
    asked = read(given, ALICE, UserLimits(), "Europe/Berlin")
    again = read_again(asked.text, "alice/17", UserLimits(), "Europe/Berlin", mails=True)
    assert "alice/" == asked.job.id
    assert ("alice/17", "alice", ALICE, 2) == (again.id, again.user, again.owner, again.concurrency)
    assert (Claim("alice/db", exclusive=True),) == again.locks
    assert (Array(1, 9, 2), (After("alice/3", "any"),), "k") == again.submission
    assert ("k", ("alice",)) == (asked.key, again.notify.email)
    for field in ("command", "umask", "environment", "at", "timeout", "notify", "submission", "locks"):
        assert getattr(asked.job, field) == getattr(again, field)


def test_the_hosts() -> None:
    """Root's have no owner, no prefix of locks, and may have what users may not."""
    job = read(
        document(locks=["db"], exclusive=True, nice=-5, environment_file="/etc/x"), None, UserLimits(), "UTC"
    ).job
    assert ("host/", None, (Claim("db", exclusive=True),), True) == (job.id, job.owner, job.locks, job.exclusive)
    with pytest.raises(Wrong, match="found the fleet lock 'x'; expected `scope: host`"):
        read(document(locks=[{"name": "x", "scope": "fleet"}]), None, UserLimits(), "UTC")


@pytest.mark.parametrize(
    ("text", "array", "at_a_time"),
    [("1-100%10", Array(1, 100), 10), ("7", Array(7, 7), None), ("0-9:3", Array(0, 9, 3), None)],
)
def test_arrays(text: str, array: Array, at_a_time: int | None) -> None:
    """Ranges, steps, and how many at a time."""
    assert (array, at_a_time) == read_array(text)


@pytest.mark.parametrize("text", ["", "9-1", "1-5:0", "1-5%0", "1-1000000000", "a", "1-2-3", "-1", "٣", 5, None])
def test_no_array(text: object) -> None:
    """What is none, or too many, is refused with what is accepted."""
    with pytest.raises(Wrong, match="expected "):
        read_array(text)


@pytest.mark.parametrize("text", ["", "17", "alice/", "alice/17@0", "later:alice/17", "a b/1", "alice/17@x"])
def test_no_after(text: str) -> None:
    """What names no run and no submission is refused."""
    with pytest.raises(Wrong, match="expected "):
        read_after(text)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"keys": {}}, "found no command"),
        ({"keys": []}, "keys: found []; expected"),
        (document(comand="x"), "comand: found an unknown key"),
        (document(schedule="* * * * *"), "unknown key"),
        (document(timeout="soon"), "timeout: found"),
        (document(timeout="90"), "timeout: found '90'; expected 90s ("),
        (document(exclusive=True), "permit: [exclusive]"),
        (document(priority=1), "permit: [priority]"),
        (document(notify={"email": "a@b"}), "permit: [notify]"),
        (document(resource_limits={"memory": "2G"}), "resource_limits.memory: found 2 GiB; expected at most 1 GiB"),
        (document(user="root"), "unknown key"),
        (document(locks=[{"name": "x", "units": 2}]), "found units of a lock"),
        (document(locks=[{"name": "x", "scope": "fleet"}]), "found the fleet lock 'x'"),
        (document(scope="fleet"), "unknown key"),
        (document(stdin="a\0b"), "found a NUL"),
        (document(description="\ud800"), "half of a character"),
        (document(metadata=[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]), "levels"),
        (document(stdin="x" * LARGEST), "expected at most 160"),
        ({**document(), "name": "17"}, "not a number"),
        ({**document(), "name": "../x"}, "name: found"),
        ({**document(), "key": "a b"}, "key: found 'a b'; expected"),
        ({**document(), "mail": "never"}, "mail: found"),
        ({**document(), "uid": 0}, "found 'uid'"),
        ({**document(), "after": 5}, "after: found 5"),
        ({**document(), "after": None}, "after: found null"),
        ({**document(), "after": [{}]}, "after: found {}"),
        ({**document(), "array": {}}, "array: found {}"),
        ({**document(), "name": {}}, "name: found {}"),
        ({**document(), "name": "x" * LARGEST}, "found 160.1 KiB"),
        ({**document(), "name": "x" * 1000}, f"name: found '{'x' * 59}…'; expected"),
        ({**document(), "mail": {"a": 1}}, "mail: found"),
    ],
)
def test_refused(wrong: dict[str, Any], told: str) -> None:
    """A user is told what is not accepted."""
    with pytest.raises(Wrong) as raised:
        read(wrong, ALICE, UserLimits(caps={"memory": 1 << 30}), "UTC")
    assert told in str(raised.value)


def refusal(place: str, value: Any) -> str:
    """Return the refusal of a value of a job key or of a field of the submission, or "" if the value is accepted."""
    whole = document(**{place: value}) if place in KEYS else {**document(), place: value}
    try:
        read(whole, ALICE, UserLimits(permit=tuple(KEYS)), "UTC")
    except Wrong as wrong:
        return str(wrong)
    return ""


@pytest.mark.parametrize("value", [17, "17", -17, "foo?", "Ä b", 1.5, True, [[{}]]], ids=repr)
@pytest.mark.parametrize("place", ["keys", "name", "key", "array", "after", "mail", *KEYS])
def test_each_refusal_has_an_example_that_works(place: str, value: Any) -> None:
    """A refusal shows an example, and the same key accepts this example, also in a #JOBQUEUE line."""
    told = refusal(place, value).partition("expected ")[2]
    first = re.search(r" such as (\{.*\}|\[.*?\]|\S*[^\s,;:)])", told)
    anywhere = [*re.findall(r"\{.*\}|\[.*?\]", told), *re.findall(r"\S*[^\s,;:]", told)]
    words = [first[1]] if first else anywhere if place in KEYS or place == "mail" else []
    meant = [directives(f"#JOBQUEUE {place}: {word}", "f")[place] for word in words if readable(word)]
    assert not told or any(not refusal(place, it) for it in [*words, *([word] for word in words), *meant]), told


def readable(text: str) -> bool:
    """Whether a text is a value of YAML."""
    tree, problems = read_tree(f"x: {text}".encode(), "")
    return tree is not None and not any(it.severity == "error" for it in problems)


def test_permits() -> None:
    """What the site permits a user has."""
    limits = UserLimits(permit=("priority", "exclusive"))
    job = read(document(priority=5, exclusive=True), ALICE, limits, "UTC").job
    assert (5, True) == (job.priority, job.exclusive)
    assert -5 == read(document(priority=-5, nice=3), ALICE, UserLimits(), "UTC").job.priority


def test_the_rules_are_those_of_job_files() -> None:
    """PAM is asked, a mail to oneself needs no permission, and what was taken stays, by the limits of today."""
    asked = read(
        document(notify={"email": "alice"}, nice=-5), ALICE, UserLimits(permit=("nice",), groups=("video",)), "UTC"
    )
    assert (True, ("video",), "alice") == (asked.job.asks_pam, asked.job.more_groups, asked.job.user)
    job = read_again(asked.text, "alice/17", UserLimits(), "UTC", mails=True)
    assert (True, (), -5) == (job.asks_pam, job.more_groups, job.nice)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)
_NAMES = st.sampled_from(["keys", "name", "array", "after", "key", "mail", "tool"])
_KEYS = st.sampled_from(["command", "at", "locks", "resources", "environment", "umask", "retry_on", "notify"])


def test_a_mail_that_this_host_cannot_send() -> None:
    """It is checked nevertheless, as the host may send mail when the submission is read again."""
    with pytest.raises(Wrong, match="mail: found 'never'; expected output or always"):
        read({**document(), "mail": "never"}, ALICE, UserLimits(), "UTC", mails=False)
    with pytest.raises(Wrong, match="mail: found 'never'"):
        read({**document(notify={"email": "alice"}), "mail": "never"}, ALICE, UserLimits(), "UTC")


@given(st.dictionaries(_NAMES, _JSON, max_size=3), st.dictionaries(_KEYS, _JSON, max_size=3))
def test_any_document(rest: dict[str, Any], keys: dict[str, Any]) -> None:
    """Whatever is handed in is a job of that user, or refused in words."""
    told = ""
    try:
        job = read({"keys": {"command": "true", **keys}, **rest}, ALICE, UserLimits(), "UTC").job
        assert ("alice", "alice/") == (job.user, job.id[:6])
    except Wrong as wrong:
        told = str(wrong)
    assert "\n" not in told[:1]


def test_many_variables_cost_no_call_each() -> None:
    """12,000 variables are checked at once, when they are handed in and when the daemon starts; with one that is wrong
    the message names it.
    """
    many = {f"A{number}": "" for number in range(12_000)}

    def calls(environment: dict[str, str]) -> int:
        seen = [0]

        def count(*_: object) -> None:
            seen[0] += 1

        text = json.dumps({"owner": None, **document(environment=environment)})
        sys.setprofile(count)
        try:
            job = read_again(text, "host/1", UserLimits(), "UTC", mails=False)
        finally:
            sys.setprofile(None)
        assert tuple(environment.items()) == job.environment
        return seen[0]

    calls({"A": "b"})
    assert calls(many) - calls({"A": "b"}) < 1000
    for wrong, told in (({"1A": "b"}, "environment: found '1A'"), ({"A": "\0"}, "found a NUL"), ({"A=B": ""}, "'A=B'")):
        with pytest.raises(Wrong, match=told):
            read(document(environment={**many, **wrong}), None, UserLimits(), "UTC")
