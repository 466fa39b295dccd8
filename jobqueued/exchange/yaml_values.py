"""Converts plain values to YAML as a person would write it; jobqueued's reader returns the same values."""

from __future__ import annotations

import json
import re
from typing import Any

from jobqueued.jobfile.tree.yamltext import Mapping, Node, Scalar, Sequence, meaning

_WIDTH = 100
"""Maximum length (characters) of a one-line list or mapping."""
_RAW = "\t\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff"
_ONE_LINE = f"[{_RAW}]*"
_LINES = f"(?![ \t\n])[{_RAW}\n]*[{_RAW}]\n?"
_PLAIN = r"(?a)[A-Za-z0-9_/.](?:[\w/.=+@%-]|:(?=\S)|[ ](?=[^ #]))*"
_PLAIN_IN_FLOW = r"(?a)(?:--?(?=[a-z]))?[A-Za-z0-9_/.](?:[\w/.=+@%-]|:(?=[\w/.]))*"
_ESCAPED = f"[^{_RAW}]"


class Written(str):
    """A scalar that had no quotes in YAML, and must be written without quotes: ``0x1F``, ``1.10``."""

    __slots__ = ()


def of_node(node: Node) -> Any:
    """Return a node's value; its scalars remain as written."""
    match node:
        case Scalar():
            return Written(node.text) if node.plain else node.text
        case Sequence():
            return [of_node(item) for item in node.items]
        case Mapping():
            return {name: of_node(entry.value) for name, entry in node.entries.items()}


def lines(name: str, value: Any, indent: str) -> list[str]:
    """Return the YAML lines for a key and its value."""
    key = f"{indent}{scalar(name)}:"
    inner = f"{indent}  "
    if isinstance(value, dict) and len(flow(value)) > _WIDTH:
        return [key, *(line for each, part in value.items() for line in lines(each, part, inner))]
    if isinstance(value, list) and len(flow(value)) > _WIDTH:
        return [key, *(f"{inner}- {flow(part)}" for part in value)]
    if isinstance(value, dict | list):
        return [f"{key} {flow(value)}"]
    if isinstance(value, str) and "\n" in value and re.fullmatch(_LINES, value):
        sign = "|" if value.endswith("\n") else "|-"
        return [f"{key} {sign}", *(inner + line if line else "" for line in value.removesuffix("\n").split("\n"))]
    return [f"{key} {scalar(value)}"]


def flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(name, _PLAIN_IN_FLOW)}: {flow(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value, _PLAIN_IN_FLOW)


def scalar(value: str | float, plain: str = _PLAIN) -> str:
    """Return a string, number or boolean as YAML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Written) and value and "\n" not in value and re.fullmatch(plain, value):
        return str(value)
    if re.fullmatch(plain, value) and meaning(Scalar(0, 0, value, plain=True)) == value and not value.endswith(" "):
        return value
    if re.fullmatch(_ONE_LINE, value):
        return "'" + value.replace("'", "''") + "'"
    text = json.dumps(value, ensure_ascii=False)
    return re.sub(_ESCAPED, lambda found: f"\\u{ord(found[0]):04x}", text)


def comment(text: str, indent: str = "") -> str:
    """Return any text as a YAML comment line."""
    body = "".join(c if re.fullmatch(_ONE_LINE, c) else c.encode("unicode_escape").decode() for c in text)
    return f"{indent}{body if body.startswith('#') else f'# {body}'.rstrip()}"
