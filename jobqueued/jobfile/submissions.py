"""Submissions: turns a document with job-file keys, an array and awaited runs into a Job or its problems.

The daemon saves an accepted submission's document, and re-reads it at the next start.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from jobqueued.base.instants import DAY, to_instant
from jobqueued.base.text import size
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.jobfile.keys.keys import JOB_KEYS
from jobqueued.jobfile.scopes import ONLY_OF_HOST, lock_of_fleet
from jobqueued.jobfile.tree.words import A_NAME, NAME, VARIABLE, is_value
from jobqueued.jobfile.tree.yamltext import Mapping, Node, Scalar, Sequence, YamlEntry, quoted, shortened
from jobqueued.jobfile.types.refusal import Refusal
from jobqueued.jobfile.types.scalars import Key
from jobqueued.jobfile.types.types import read_keys
from jobqueued.jobfile.user_rules import UserRules
from jobqueued.model.job import UNBOUNDED, Job
from jobqueued.model.notify import Notify
from jobqueued.model.submission import FILE, KEY, MOST_RUNS, OF_THE_HOST, After, Array, Submission
from jobqueued.model.users import Owner, UserLimits
from jobqueued.timing.schedule import At

LARGEST = 160 << 10
"""Maximum bytes of a document."""
KEYS: dict[str, Key] = {
    name: JOB_KEYS[name]
    for name in (
        "description", "command", "shell", "stdin", "working_directory", "environment", "environment_file", "umask",
        "group", "groups", "login_environment", "timezone", "at", "start_deadline", "priority", "escalation",
        "exclusive", "rate", "locks", "resources", "placement", "drain", "timeout", "kill_grace", "stop_signal",
        "success_codes", "retries", "retry_delay", "retry_backoff", "retry_max_delay", "retry_on", "failover",
        "leave_children", "resource_limits", "enforce", "nice", "ionice", "cpu_scheduling", "oom_score_adj",
        "no_new_privs", "output", "output_limit", "journal_rate", "redact", "notify", "late", "tags", "metadata",
    )
}  # fmt: skip
"""The job-file keys that a submission may have."""
_ARRAY = re.compile(r"(?:(\d{1,10})-)?(\d{1,10})(?::(\d{1,10}))?(?:%(\d{1,10}))?", re.ASCII)
A_RANGE = "a range such as 1-100, 0-9:3 (every third) or 1-100%10 (10 at a time)"
_AFTER = re.compile(rf"(?:(any|success):)?([^/@:\s]{{1,64}}/{NAME}(?:@[1-9][0-9]{{0,17}})?)", re.ASCII)
_NAME = re.compile(NAME)
_VARIABLE = re.compile(VARIABLE)
MAIL = ("output", "always")
_KEYS = '{"command": "make"}'
_DEEPEST = 16


class Wrong(Exception):
    """A submission was refused; str() is the message for the user."""


class ParsedSubmission(NamedTuple):
    """A submission: its job (still without a number), the document to save, and the user's key or ""."""

    job: Job
    text: str
    key: str


def read(
    document: dict[str, Any],
    owner: Owner | None,
    limits: UserLimits,
    timezone: str,
    *,
    mails: bool = True,
    again: bool = False,
) -> ParsedSubmission:
    """Parse the document of a user's submission under these limits. `owner` is None for the host. Raises Wrong.

    `mails`: whether this host can send mail. `again`: whether the submission was accepted before, so that the current
    limits do not matter.
    """
    known = {"v", "owner", "keys", "name", "array", "after", "key", "mail", "tool"}
    if odd := sorted(document.keys() - known):
        raise Wrong(f"found {odd[0]!r}; expected {', '.join(sorted(known))}")
    text = json.dumps(
        {"v": 1, "owner": owner, **{name: it for name, it in document.items() if name not in ("v", "owner")}},
        ensure_ascii=False,
        separators=(",", ":"),
    )
    if len(text) > LARGEST:
        raise Wrong(f"found {size(len(text))}; expected at most {size(LARGEST)}, including script and environment")
    entries, values = _values(document.get("keys", {}))
    array, at_a_time = read_array(document["array"]) if "array" in document else (None, None)
    awaited = document.get("after", [])
    if not isinstance(awaited, list):
        raise Wrong(f"after: found {_shown(awaited)}; expected a list of submissions and runs such as [alice/17]")
    submission = Submission(array, tuple(map(read_after, awaited)), _key(document.get("key", "")))
    share = OF_THE_HOST if owner is None else owner.share
    fields = _fields(values, timezone)
    if mail := document.get("mail"):
        notify = _mail(mail, "root" if owner is None else owner.name)
        fields = {"notify": notify, **fields} if mails else fields
    job = Job(
        id=f"{share}/{_name(document.get('name'))}",
        file=FILE,
        submission=submission,
        concurrency=at_a_time or submission.runs,
        max_waiting=UNBOUNDED,
        catch_up_window=365 * DAY,
        **fields,
    )
    if owner is not None:
        job, refusals = UserRules(owner, limits).applied(job, entries)
        if refusals and not again:
            raise Wrong("; ".join(map(_message, refusals)))
    return ParsedSubmission(job, text, submission.key)


def read_again(text: str, job: str, limits: UserLimits, timezone: str, *, mails: bool) -> Job:
    """Return the job of a saved submission, with this id. Raises Wrong if an incompatible version saved the text."""
    try:
        document = json.loads(text)
        owner = None if document["owner"] is None else Owner(*document["owner"])
        return replace(read(document, owner, limits, timezone, mails=mails, again=True).job, id=job)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Wrong(f"its saved text can't be read: {error}") from None


def resized(text: str, at_a_time: int) -> str:
    """Return a saved array submission's text, with its maximum number of live runs changed to `at_a_time`."""
    document = json.loads(text)
    array = f"{document['array'].partition('%')[0]}%{at_a_time}"
    return json.dumps({**document, "array": array}, ensure_ascii=False, separators=(",", ":"))


def read_array(text: object) -> tuple[Array, int | None]:
    """Return the array in a string such as ``1-100%10``, and its maximum number of live runs, or None if not set.

    Raises Wrong.
    """
    found = _ARRAY.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise Wrong(f"array: found {_shown(text)}; expected {A_RANGE}")
    last, step, at_a_time = int(found[2]), int(found[3] or 1), None if found[4] is None else int(found[4])
    array = Array(last if found[1] is None else int(found[1]), last, step or 1)
    if step < 1 or at_a_time == 0 or array.first > array.last:
        raise Wrong(f"array: found {_shown(text)}; expected {A_RANGE}")
    if array.runs > MOST_RUNS:
        raise Wrong(f"array: found {array.runs} runs; expected at most {MOST_RUNS}, such as 1-{MOST_RUNS}")
    return array, at_a_time


def read_after(text: object) -> After:
    """Return the dependency in a string such as ``alice/17`` or ``any:alice/17@3``. Raises Wrong."""
    found = _AFTER.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        accepted = (
            "a submission such as alice/17, or one of its runs such as alice/17@3; any: before it, if it may fail"
        )
        raise Wrong(f"after: found {_shown(text)}; expected {accepted}")
    return After(found[2], found[1] or "success")


def _values(keys: object) -> tuple[dict[str, YamlEntry], dict[str, Any]]:
    variables = _variables(keys)
    node = _node({**keys, "environment": {}} if variables and isinstance(keys, dict) else keys, 0)
    if not isinstance(node, Mapping):
        raise Wrong(f"keys: found {_shown(keys)}; expected keys of a job file and their values, such as {_KEYS}")
    values, refusals = read_keys(node.entries, KEYS)
    if refusals:
        raise Wrong("; ".join(map(_message, refusals)))
    if name := lock_of_fleet(values.get("locks", ())):
        raise Wrong(f"locks: found the fleet lock {name!r}; expected {ONLY_OF_HOST}")
    if variables:
        values["environment"] = variables
    if "command" not in values:
        raise Wrong(f"keys: found no command; expected keys with a command, such as {_KEYS}")
    return node.entries, values


def _variables(keys: object) -> tuple[tuple[str, str], ...]:
    """Return a submission's variables if all are valid, or () if there are none or each must be checked alone.

    A user may submit thousands of variables, and the daemon reads all waiting submissions before it is ready, so all
    variables are checked at once.
    """
    found = keys.get("environment") if isinstance(keys, dict) else None
    if not isinstance(found, dict) or {*map(type, found), *map(type, found.values())} != {str}:
        return ()
    is_good = all(map(_VARIABLE.fullmatch, found)) and is_value("".join(found.values()))
    return tuple(found.items()) if is_good else ()


def _message(refusal: Refusal) -> str:
    problem = refusal.problem()
    return f"{problem.key}: {problem.message}" if problem.key else problem.message


def _node(value: object, depth: int) -> Node:
    """Return a JSON value as the node that the same text in a job file would give."""
    if depth > _DEEPEST:
        raise Wrong(f"found more than {_DEEPEST} levels of nesting; expected at most {_DEEPEST}")
    if isinstance(value, dict):
        pairs = {name: YamlEntry(_text(name), _node(each, depth + 1)) for name, each in value.items()}
        return Mapping(0, 0, pairs)
    if isinstance(value, list):
        return Sequence(0, 0, [_node(each, depth + 1) for each in value])
    return _text(value) if isinstance(value, str) else Scalar(0, 0, json.dumps(value), plain=True)


def _text(text: str) -> Scalar:
    if not is_value(text):
        raise Wrong("found a NUL, or half of a character; expected text without it")
    return Scalar(0, 0, text, plain=False)


def _fields(values: dict[str, Any], timezone: str) -> dict[str, Any]:
    """Return the fields of a Job from its keys."""
    fields = {"timezone": timezone, **values}
    if "at" in fields:
        at = At.read(fields["at"], fields["timezone"])
        fields |= {"at": to_instant(at.instant), "triggers": (at,)}
    return fields


def _mail(when: object, name: str) -> Notify:
    if when not in MAIL:
        raise Wrong(f"mail: found {_shown(when)}; expected {' or '.join(MAIL)}")
    return Notify(("output",) if when == "output" else ("output", "success", "failure"), (name,), remind=None)


def _name(name: object) -> str:
    """Return the part of the id that the user chose, or "" if there is none. Raises Wrong."""
    if name is None:
        return ""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.isdigit():
        raise Wrong(f"name: found {_shown(name)}; expected {A_NAME}, and not a number")
    return name


def _key(key: object) -> str:
    if not isinstance(key, str) or (key and not KEY.fullmatch(key)):
        accepted = "at most 100 ASCII characters without a space, such as backup-2026-11-24"
        raise Wrong(f"key: found {_shown(key)}; expected {accepted}")
    return key


def _shown(value: object) -> str:
    return quoted(value) if isinstance(value, str) else shortened(json.dumps(value))
