"""Notice templates: the names that they may contain, and a check for errors. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from string import Template

NUMBERS = ("count", "priority")
"""Names whose values are numbers, so that JSON may contain them without quotes."""
NAMES = (
    "id", "event", "host", "at", "title", "summary", "job", "run", "user", "command", "incident", "since", "count",
    "first_run", "state", "reason", "tail", "held_back", "hints", "severity", "priority", "action",
)  # fmt: skip


_LONGEST = 15
"""Longest unknown name that a message shows. A longer word may be a secret key with a dollar sign."""


class TemplateFlaw(ValueError):
    """An error in a template; str() has the problem and the accepted form."""

    def __init__(self, found: str, accepted: str) -> None:
        super().__init__(f"found {found}; expected {accepted}")
        self.found, self.accepted = found, accepted


def fill(template: str, values: Mapping[str, str | int], *, as_json: bool) -> str:
    """Return the text of a filled template. `as_json`: values are escaped for JSON strings. Raises TemplateFlaw."""
    escaped = {name: json.dumps(value)[1:-1] for name, value in values.items() if isinstance(value, str)}
    try:
        text = Template(template).substitute({**values, **escaped} if as_json else values)
        if as_json:
            json.loads(text)
    except KeyError as error:
        name = error.args[0]
        raise TemplateFlaw(
            f"${name}" if len(name) <= _LONGEST else "an unknown $name", f"${', $'.join(NAMES)}"
        ) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        found = f"a template whose output is not JSON ({where} of the output: {error.msg})"
        raise TemplateFlaw(found, 'JSON, with values in quotes: "$job"') from None
    except (ValueError, RecursionError) as error:
        raise TemplateFlaw(f"a $ before no name ({str(error).rpartition(': ')[2]})", "$$ for a dollar sign") from None
    return text


def check(template: str, content_type: str) -> None:
    """Raise TemplateFlaw if a template for this content type has an error."""
    values = {name: 1 if name in NUMBERS else "x" for name in NAMES}
    fill(template, values, as_json=is_json(content_type))


def is_json(content_type: str) -> bool:
    """Return whether a content type is JSON; an empty type counts as JSON."""
    return not content_type or "json" in content_type.lower()
