"""A file and its drop-ins, joined into one text or merged into one tree.

A drop-in changes the file and the drop-ins before it. If both the file and the drop-in have a mapping at a key, the
mappings are merged under the same rule. Any other value in a drop-in replaces the old value, and an empty value
(`key:`, `~`, `null`) removes the old value.

The file is part 0, and its drop-ins are parts 1, 2, …. A node in part N has the line N * PART + line, so a line number
also identifies its file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from jobqueued.base.problem import Problem
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.jobfile.tree.yamltext import MAX_BYTES, PART, Mapping, YamlEntry, is_null

MAX_DROP_INS = 100
"""Maximum drop-ins of one file."""
_MARK = b"\0drop-ins\0"
"""Marks a packed text. This line is not valid YAML, so no single file can look like a packed text."""


class FileText(NamedTuple):
    """The path and text of a file or drop-in."""

    path: str
    text: bytes


def packed(parts: Sequence[FileText], file: str) -> bytes:
    """Join a file and its drop-ins into one text. A file at the path `file` without drop-ins is returned unchanged.

    The caller checks that the total size is at most `MAX_BYTES`.
    """
    first = parts[0]
    if len(parts) == 1 and first.path == file and not first.text.startswith(_MARK):
        return first.text
    table = json.dumps([[part.path, len(part.text)] for part in parts]).encode()
    return b"".join((_MARK, table, b"\0", *(part.text for part in parts)))


def parts_of(text: bytes, file: str) -> list[FileText]:
    """Return a packed text's parts. Any other text is a single part, at the path `file`."""
    if not text.startswith(_MARK):
        return [FileText(file, text)]
    table, _, rest = text[len(_MARK) :].partition(b"\0")
    parts, place = [], 0
    for path, size in json.loads(table):
        parts.append(FileText(path, rest[place : place + size]))
        place += size
    return parts


def main_path(text: bytes, file: str) -> str:
    """Return the main file's path in a packed text."""
    return parts_of(text, file)[0].path if text.startswith(_MARK) else file


def merged(below: Mapping, above: Mapping, of_no_effect: list[Problem]) -> Mapping:
    """Merge a drop-in's tree into a file's tree; a drop-in's empty value for a missing key becomes a warning."""
    return _merged(below, above, of_no_effect, ())


def _merged(below: Mapping, above: Mapping, of_no_effect: list[Problem], way: tuple[str, ...]) -> Mapping:
    entries = dict(below.entries)
    for name, (key, value) in above.entries.items():
        old = entries.get(name)
        if is_null(value):
            entries.pop(name, None)
            if old is None:
                message = "found no such key to remove; expected a key of the file, or of an earlier drop-in"
                of_no_effect.append(
                    Problem("", key.line, key.column, ".".join((*way, name)), message, "warning", code="JQ110")
                )
        elif old is not None and isinstance(old.value, Mapping) and isinstance(value, Mapping):
            entries[name] = YamlEntry(old.key, _merged(old.value, value, of_no_effect, (*way, name)))
        else:
            entries[name] = YamlEntry(key, value)
    return below._replace(entries=entries)


def in_its_file(problem: Problem, paths: Sequence[str]) -> Problem:
    """Convert a Problem's line in the merged tree to its file and the line in this file."""
    number, line = divmod(problem.line, PART)
    return problem._replace(file=paths[number], line=line)


def origins(tree: Mapping, paths: Sequence[str]) -> Iterator[tuple[str, str, int]]:
    """Yield each key of a mapping with its file and line; nested keys look like ``environment.PATH``."""
    for name, (key, value) in tree.entries.items():
        if isinstance(value, Mapping) and value.entries:
            yield from ((f"{name}.{inner}", file, line) for inner, file, line in origins(value, paths))
        else:
            number, line = divmod(key.line, PART)
            yield name, paths[number], line


assert MAX_BYTES < PART
