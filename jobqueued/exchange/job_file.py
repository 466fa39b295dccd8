"""Converts drafts to a job file's text, with the source's comments, and with common keys as defaults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from jobqueued.exchange.draft import JobDraft
from jobqueued.exchange.yaml_values import comment, flow, lines

_OF_THE_JOB = frozenset(("schedule", "command", "stdin", "description", "at", "every", "on", "locks"))
"""Keys that are never among a file's defaults."""
_AS_ELSEWHERE = ("concurrency", "catch_up", "catch_up_window", "leave_children")
"""Keys that imitate the old scheduler. These keys are among the defaults even if the file has only one job."""
_WITHIN = "  "


def text_of(drafts: Iterable[JobDraft], first: str, head: Iterable[str] = (), tail: Iterable[str] = ()) -> str:
    """Return the text of a job file; `first` is the file's first line, a comment."""
    drafts = tuple(drafts)
    shared = _shared(drafts)
    found = [comment(first)]
    if head := tuple(head):
        found += [*(["#"] if head[0].strip("# ") else []), *map(comment, head)]
    if shared:
        found += ["", "defaults:"]
        found += [line for name, value in shared.items() for line in _lines(name, value, _WITHIN)]
    found += ["", "jobs:"]
    for draft in drafts:
        if draft is not drafts[0]:
            found.append("")
        if draft.apart:
            found += [*(comment(text, _WITHIN) for text in draft.apart), ""]
        found += [comment(text, _WITHIN) for text in draft.above]
        found.append(f"{_WITHIN}{flow(draft.id)}:")
        for name, value in _own(draft.keys, shared).items():
            found += _lines(name, value, _WITHIN * 2)
    if tail := tuple(tail):
        found += ["", *map(comment, tail)]
    return "\n".join(found) + "\n"


def _lines(name: str, value: Any, indent: str) -> list[str]:
    if name == "schedule" and isinstance(value, str):
        return [f'{indent}{name}: "{value}"']
    return lines(name, value, indent)


def _shared(drafts: tuple[JobDraft, ...]) -> dict[str, Any]:
    """Return the keys for the file's defaults: the keys that all jobs have, each with its most common value."""
    names = [name for name in drafts[0].keys if all(name in draft.keys for draft in drafts)] if drafts else []
    shared: dict[str, Any] = {}
    for name in names:
        values = [draft.keys[name] for draft in drafts]
        if name in _OF_THE_JOB or (len(values) == 1 and name not in _AS_ELSEWHERE):
            continue
        if name == "environment":
            shared[name] = dict(set.intersection(*(set(value.items()) for value in values)))
            shared[name] = {key: value for key, value in values[0].items() if key in shared[name]}
        elif isinstance(values[0], dict | list):
            if all(value == values[0] for value in values):
                shared[name] = values[0]
        else:
            most, count = Counter(values).most_common(1)[0]
            if count > 1 or name in _AS_ELSEWHERE:
                shared[name] = most
    return {name: value for name, value in shared.items() if value != {}}


def _own(keys: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job's keys that the defaults do not already set."""
    own: dict[str, Any] = {}
    for name, value in keys.items():
        given = value
        if name == "environment" and name in shared:
            given = {key: part for key, part in value.items() if shared[name].get(key) != part}
        if given != {} and given != shared.get(name):
            own[name] = given
    return own
