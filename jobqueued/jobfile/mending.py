"""Fixes for errors in a job file that have only one remedy; all other bytes remain unchanged.

Misspelled keys, other programs' names for keys, and values with only one possible meaning get the accepted spelling.
Tabs at the beginning of a line become spaces. A byte order mark is removed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from jobqueued.base.problem import Problem
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.jobfile.foreign import ELSEWHERE, SAME
from jobqueued.jobfile.reader import read_parts_in_steps
from jobqueued.jobfile.tree.drop_ins import FileText
from jobqueued.jobfile.tree.yamltext import MAX_BYTES, at_once, spans_of
from jobqueued.jobfile.types.refusal import Refusal
from jobqueued.jobfile.types.spelling import plain_name
from jobqueued.jobfile.types.types import MAX_PROBLEMS

_MARK = b"\xef\xbb\xbf"
_ROUNDS = 20
"""Maximum number of rounds; each round fixes up to `MAX_PROBLEMS` problems."""
_TABS = re.compile(r"^\t+", re.MULTILINE)
_WIDTHS = (2, 4, 8)
_OF_YAML = "JQ1"


class _Edit(NamedTuple):
    line: int
    begin: int
    end: int
    text: str


class _Read(NamedTuple):
    """The errors in a string, and the refusals that caused some of these errors."""

    errors: list[Problem]
    refusals: list[Refusal]

    @property
    def error_keys(self) -> set[tuple[int, str, str]]:
        return {(error.line, error.key, error.message) for error in self.errors}


def mended(data: bytes) -> bytes:
    """Return a job file's or drop-in's text with all possible fixes, or unchanged if nothing can be fixed."""
    if len(data) > MAX_BYTES:
        return data
    try:
        text = data.removeprefix(_MARK).decode()
    except UnicodeDecodeError:
        return data
    text = _without_tabs(text)
    for _ in range(_ROUNDS):
        better = _better(text)
        if better == text:
            break
        text = better
    return text.encode()


def _read(text: str) -> _Read:
    refused: list[Refusal] = []
    _, problems = at_once(read_parts_in_steps([FileText("", text.encode())], "", refused=refused))
    return _Read([problem for problem in problems if problem.severity == "error"], refused)


def _without_tabs(text: str) -> str:
    """Replace tabs at the beginning of lines with spaces if this makes valid YAML, otherwise change nothing."""
    if not any(error.code == "JQ111" for error in _read(text).errors):
        return text
    for width in _WIDTHS:
        spaced = _TABS.sub(lambda tabs, width=width: " " * width * len(tabs[0]), text)  # type: ignore[misc]
        if not any(error.code.startswith(_OF_YAML) for error in _read(spaced).errors):
            return spaced
    return text


def _better(text: str) -> str:
    """Return the text with all edits that cause no new error."""
    before = _read(text)
    edits = list(_edits(text, before.refusals))
    while edits:
        lines = {edit.line for edit in edits}
        found = _edited(text, edits)
        more = [edit for edit in _edits(found, _read(found).refusals) if edit.line in lines]
        found = _edited(found, more)  # a value under a key that the edit made valid
        after = _read(found)
        new = {line for line, _, _ in after.error_keys - before.error_keys}
        if not new & lines and (not new or len(before.errors) >= MAX_PROBLEMS):
            return found
        good = [edit for edit in edits if edit.line not in new]
        if len(good) == len(edits):  # one of the edits causes an error elsewhere, such as a duplicate key
            good = [edit for edit in edits if _is_harmless(text, edit, before)]
        edits = good if len(good) < len(edits) else []
    return text


def _is_harmless(text: str, edit: _Edit, before: _Read) -> bool:
    """Return whether an edit alone causes no error in another line."""
    return {line for line, _, _ in _read(_edited(text, [edit])).error_keys - before.error_keys} <= {edit.line}


def _edits(text: str, refusals: list[Refusal]) -> Iterator[_Edit]:
    """Yield an edit for each refusal that has only one remedy; at most one edit for each place."""
    spans, taken = spans_of(text), set[tuple[int, int]]()
    for refusal in refusals:
        place = refusal.line, refusal.column
        if place not in spans or place in taken:
            continue
        begin, end = spans[place]
        if instead := _instead(refusal, text[begin:end]):
            taken.add(place)
            yield _Edit(refusal.line, begin, end, instead)


def _instead(refusal: Refusal, found: str) -> str:
    if not refusal.stands_for:
        return refusal.meant if refusal.is_sure else ""
    name = plain_name(found.strip("'\""))
    is_same = refusal.is_sure or (name in SAME and ELSEWHERE[name] == refusal.stands_for)
    return refusal.stands_for if is_same else ""


def _edited(text: str, edits: list[_Edit]) -> str:
    for edit in sorted(edits, reverse=True, key=lambda edit: edit.begin):
        text = text[: edit.begin] + edit.text + text[edit.end :]
    return text
