"""A line's options: comments above the line with job keys, such as ``# jobqueue: {locks: [disk], timeout: 2h}``."""

from __future__ import annotations

import re
from typing import Any

from jobqueued.base.problem import Problem
from jobqueued.crontabs.table import Comment
from jobqueued.jobfile.foreign import ELSEWHERE
from jobqueued.jobfile.keys.keys import JOB_KEYS
from jobqueued.jobfile.scopes import ONLY_OF_HOST, lock_of_fleet
from jobqueued.jobfile.tree.yamltext import Mapping, Node, read_tree
from jobqueued.jobfile.types.queue_types import ID
from jobqueued.jobfile.types.refusal import NotAccepted, Refusal
from jobqueued.jobfile.types.scalars import FLAG, Key, table
from jobqueued.jobfile.types.types import mapping, read_keys
from jobqueued.model.job import Claim

_LINE = re.compile(r"#+[ \t]*jobqueue:[ \t]*(.*)")
_OF_THE_LINE = frozenset((
    "command", "schedule", "user", "stdin", "environment", "shell", "seconds", "every", "anchor", "at", "on",
))  # fmt: skip
"""Keys that the line itself, or a variable above the line, already sets."""
OF_A_USER = frozenset((
    "id", "catch_up", "catch_up_window", "concurrency", "description", "dst", "enabled", "failover", "grace",
    "kill_grace", "leave_children", "locks", "max_runs", "metadata", "output",
    "overlap", "redact", "retries", "retry_backoff", "retry_delay", "retry_max_delay", "retry_on", "spread",
    "start_deadline", "stop_signal", "success_codes", "tags", "timeout", "timezone", "umask", "working_directory",
))  # fmt: skip
"""Keys that a user's own table may have, because they neither harm other users nor need root's rights."""
_OWN = table(
    Key(
        "id",
        ID,
        "",
        "Part of the job's id after the name of its table. With it, the id does not change when the line changes.",
        "backup",
    ),
    Key("expand", FLAG, "false", "Make one job for each script that run-parts runs.", "true"),
)
MOVED = "# moved to jobqueued: "
"""Prefix of a line that is disabled because its job is in a job file now."""
_LONGEST = 4000
"""Maximum length (characters) of one line's options, because they are read in one step."""
_BODY = mapping("a mapping of job keys, as in {timeout: 2h}", dict)
_BARRED = {
    **dict.fromkeys(_OF_THE_LINE, "a key that neither the line nor a variable above it sets"),
    "scope": "the line without it; only root's job files may have fleet jobs",
}
"""Keys that no table may have → the accepted alternative, for messages."""


def is_option(comment: Comment) -> bool:
    """Return whether a comment has options."""
    return _LINE.fullmatch(comment.text) is not None


def written(above: tuple[Comment, ...]) -> dict[str, Node]:
    """Return the options above a line, with values as written; `options` must have accepted them before."""
    trees = (read_tree(found[1].encode(), "")[0] for comment in above if (found := _LINE.fullmatch(comment.text)))
    return {name: entry.value for tree in trees if isinstance(tree, Mapping) for name, entry in tree.entries.items()}


def options(above: tuple[Comment, ...], owner: str | None) -> tuple[dict[str, Any], list[Problem]]:
    """Return the values of all options above a line, and their problems.

    `owner`: the table's user, or None for a system table.
    """
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for comment in above:
        if found := _LINE.fullmatch(comment.text):
            own, wrong = _read(found[1], owner)
            values |= own
            problems += [it._replace(line=comment.line, column=it.column + found.start(1)) for it in wrong]
    if owner is not None and "locks" in values:
        values["locks"] = tuple(_of_user(claim, owner) for claim in values["locks"])
    return values, problems


def _read(text: str, owner: str | None) -> tuple[dict[str, Any], list[Problem]]:
    if len(text) > _LONGEST:
        message = f"found {len(text)} characters; expected at most {_LONGEST}"
        return {}, [Problem("", 0, 1, "", message, code="JQ103")]
    tree, problems = read_tree(text.encode(), "")
    if tree is None or problems:
        nothing = "found nothing; expected a mapping, as in {timeout: 2h}"
        return {}, problems or [Problem("", 0, 1, "", nothing, code="JQ202")]
    try:
        entries = _BODY.read(tree)
        values, refusals = read_keys(entries, {**JOB_KEYS, **_OWN}, ELSEWHERE)
    except NotAccepted as wrong:
        return {}, [refusal.problem() for refusal in wrong.refusals]
    refusals += [_not_here(name, key, owner) for name, (key, _) in entries.items() if _is_barred(name, owner)]
    refusals += [
        Refusal.of(entries["locks"].value, "the name of a lock", "a lock file", code="JQ606").below("locks")
        for claim in values.get("locks", ())
        if owner is not None and claim.resource.startswith("/")
    ]
    if name := lock_of_fleet(values.get("locks", ())):
        found = f"the fleet lock {name!r}"
        refusals.append(Refusal.of(entries["locks"].value, ONLY_OF_HOST, found, code="JQ606").below("locks"))
    locks = {claim.resource for claim in values.get("locks", ())}
    refusals += [
        Refusal.of(
            entries["resources"].key, "the name in only one of them", f"{claim.resource!r} in `locks`", code="JQ205"
        ).below("resources")
        for claim in values.get("resources", ())
        if claim.resource in locks
    ]
    return values, [refusal.problem() for refusal in refusals]


def _is_barred(name: str, owner: str | None) -> bool:
    return name in _BARRED or (owner is not None and name not in OF_A_USER)


def _not_here(name: str, key: Node, owner: str | None) -> Refusal:
    accepted = _BARRED.get(name, f"the line without it, because this is {owner}'s table, not root's")
    return Refusal.of(key, accepted, f"the key {name!r}", code="JQ606").below(name)


def _of_user(claim: Claim, owner: str) -> Claim:
    """Return the claim on the user's own lock, which no other user can hold."""
    return claim._replace(resource=f"{owner}/{claim.resource}")
