"""One rule, one place: what the small programs and the rest both need is written once, in child/, and imported."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

import pytest

from tests.test_layers import files, tree


def literals(name: str) -> set[str]:
    """Every string of a file but its docstrings; the parts of an f-string one by one."""
    nodes = list(ast.walk(tree(name)))
    prose = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    found = [node.value for node in nodes if isinstance(node, ast.Constant) and id(node) not in prose]
    return {
        text if isinstance(text, str) else text.decode(errors="replace")
        for text in found
        if isinstance(text, str | bytes)
    }


def calls(name: str) -> Iterator[ast.Call]:
    """Every call of a file."""
    return (node for node in ast.walk(tree(name)) if isinstance(node, ast.Call))


def called(name: str) -> set[str]:
    """The attributes that a file calls, ``rename`` of ``os.rename(…)`` and ``path.rename(…)``."""
    return {call.func.attr for call in calls(name) if isinstance(call.func, ast.Attribute)}


def imported(name: str) -> set[str]:
    """The modules that a file imports as a whole."""
    return {alias.name for node in ast.walk(tree(name)) if isinstance(node, ast.Import) for alias in node.names}


def reads_a_stat(name: str) -> bool:
    """True of a file that has a path which ends in ``/stat``."""
    return any(text.endswith("/stat") for text in literals(name))


def writes_aside(name: str) -> bool:
    """True of a file that writes beside the name that it is to have."""
    return "rename" in called(name) and any(text.startswith((".tmp", ".new")) for text in literals(name))


def goes_by_a_descriptor(name: str) -> bool:
    """True of a file with sockets that knows how a descriptor is a path."""
    return "/proc/self/fd/" in literals(name) and "socket" in imported(name)


def names_signals(name: str) -> bool:
    """True of a file that can tell the name of a signal's number."""
    return "Signals" in called(name)


def writes_instants(name: str) -> bool:
    """True of a file that takes an instant of UTC apart, or has the form in which RFC 3339 puts it together."""
    return "gmtime" in called(name) or any("%dT%H" in text for text in literals(name))


def frames_fields(name: str) -> bool:
    """True of a file that puts a length of 64 bits before a field of journald's."""
    lengths = [call for call in calls(name) if isinstance(call.func, ast.Attribute) and call.func.attr == "to_bytes"]
    texts = [[argument.value for argument in call.args if isinstance(argument, ast.Constant)] for call in lengths]
    return [8, "little"] in texts and "MESSAGE" in {text.partition("\n")[0] for text in literals(name)}


RULES: dict[str, tuple[str, Callable[[str], bool]]] = {
    "/proc/PID/stat is read": ("child/process", reads_a_stat),
    "a file is replaced by rename": ("child/atomic_file", writes_aside),
    "a socket's path may have any length": ("child/unix_socket", goes_by_a_descriptor),
    "a signal has a name": ("child/signals", names_signals),
    "an instant is RFC 3339": ("child/instants", writes_instants),
    "an entry is framed for journald": ("child/journald", frames_fields),
}
"""What is done, the one file that does it for all, and how another that did would be known."""


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_has_one_place(rule: str) -> None:
    """No second file does what one file does for all."""
    place, does = RULES[rule]
    assert [place] == [name for name in files() if does(name)]
