"""Types of values about a process, such as its command, user, variables and directory. They are made with types.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from jobqueued.jobfile.tree.words import A_NAME, NAME, VARIABLE
from jobqueued.jobfile.tree.yamltext import Node, Scalar, Sequence, YamlEntry, is_null, quoted
from jobqueued.jobfile.types.queue_types import PATH
from jobqueued.jobfile.types.refusal import NotAccepted, Refusal
from jobqueued.jobfile.types.scalars import ValueType, choice, integer, scalar, text
from jobqueued.jobfile.types.spelling import Instead
from jobqueued.jobfile.types.types import each, mapping, sequence

_IO_CLASS = "idle|(best-effort|realtime):[0-7]"
_OCTAL = "0[0-7]{2,3}"


def _mode(node: Scalar) -> int:
    if not re.fullmatch(_OCTAL, node.text):
        digits = re.fullmatch("(?:0o)?([0-7]{1,4})", node.text)
        mode = digits[1].lstrip("0").zfill(4) if digits else ""
        raise Instead(mode if re.fullmatch(_OCTAL, mode) else "")
    return int(node.text, 8)


def _io_class(node: Scalar) -> str:
    if not re.fullmatch(_IO_CLASS, node.text):
        level = re.fullmatch("(?:best-effort|be|realtime|rt)?:?([0-7]?)", node.text)
        name = "realtime" if node.text[:1] == "r" else "best-effort"
        idle = (
            "idle" if node.text.startswith("idle") else "idle or " if node.text == "3" else ""
        )  # class 3 of ionice(1)
        raise Instead(f"{idle}{name}:{level[1] or 4}" if level else idle)
    return node.text


def _command(node: Node) -> str | tuple[str, ...]:
    """Return a list's words (a program and its arguments), or a string for the shell."""
    if not isinstance(node, Sequence):
        return str(_COMMAND_LINE.read(node))
    words: tuple[str, ...] = sequence(WORD).read(node)
    if not words[0]:
        raise NotAccepted(Refusal.of(node.items[0], "the name or path of a program").below("[0]"))
    return words


def _output(node: Node) -> str:
    try:
        return str(_OUTPUT.read(node))
    except NotAccepted as wrong:
        if not isinstance(node, Scalar) or "/" not in node.text:
            raise
        to_file = f"`command: make >> {node.text if re.fullmatch(_PLAIN_PATH, node.text) else '/tmp/out'}`"
        accepted = f"{_OUTPUT.accepted}; to write to a file, redirect the output in the command, as in {to_file}"
        raise NotAccepted(*(each._replace(accepted=accepted) for each in wrong.refusals)) from None


def _environment(entries: dict[str, YamlEntry]) -> tuple[tuple[str, str], ...]:
    rule = "a name such as PATH, of letters, digits and _, that does not start with a digit"
    return tuple(_named(entries, unshown(WORD), VARIABLE, rule).items())


def _named(entries: dict[str, YamlEntry], value: ValueType, name: str, rule: str) -> dict[str, Any]:
    """Return name → value for names that people choose. Reports errors in names and in values together."""
    refusals = [
        Refusal.of(key, rule, quoted(key.text)) for key, _ in entries.values() if not re.fullmatch(name, key.text)
    ]
    try:
        values = each(((f".{quoted(name)[1:-1]}", entry.value) for name, entry in entries.items()), value.read)
    except NotAccepted as wrong:
        refusals += wrong.refusals
    if refusals:
        raise NotAccepted(*refusals)
    return dict(zip(entries, values, strict=True))


def by_name(value: ValueType, name: str, rule: str) -> Callable[[dict[str, YamlEntry]], dict[str, Any]]:
    """Return a reader of values by name; `rule` describes valid names."""
    return lambda entries: _named(entries, value, name, rule)


def unshown(kind: ValueType) -> ValueType:
    """Return the same type for values that may be secrets: an error does not quote the value."""

    def read(node: Node) -> Any:
        try:
            return kind.read(node)
        except NotAccepted as wrong:
            if not isinstance(node, Scalar) or is_null(node):
                raise
            raise NotAccepted(*(refusal._replace(found=_UNSHOWN, meant="") for refusal in wrong.refusals)) from None

    return replace(kind, read=read)


_UNSHOWN = "a value that is not shown because it may be a secret"
MODE = scalar("mode", "an octal mode with a leading zero, such as 0022", _mode)
WORD = text('a string ("" for an empty one)', "(?s).*")
ACCOUNT = text("the name of an account such as backup", r"[^\s:,/\x00-\x1f\x7f]{1,64}", "name")
GROUP = text("the name of a group such as backup", r"[^\s:,/\x00-\x1f\x7f]{1,64}", "name")
_COMMAND_LINE = text("a command for the shell, or a list of the program and its arguments", r"(?s).*\S.*")
COMMAND = ValueType(
    "command", _COMMAND_LINE.accepted, _command, {"anyOf": [_COMMAND_LINE.schema, sequence(WORD).schema]}
)
IO = scalar("text", "idle, or best-effort:N or realtime:N, N from 0 to 7", _io_class, {"pattern": f"^(?:{_IO_CLASS})$"})
_PLAIN_PATH = r"[\w./~-]{1,60}"
_OUTPUT = choice("both", "file", "journal", "none")
OUTPUT = replace(_OUTPUT, read=_output)
_SIGNALS = "HUP INT QUIT ABRT KILL USR1 USR2 PIPE ALRM TERM WINCH IO PWR SYS XCPU XFSZ VTALRM PROF TRAP"
SIGNAL = text(
    "a signal that ends programs, such as SIGTERM, SIGINT or SIGRTMIN+3",
    rf"SIG(?:{_SIGNALS.replace(' ', '|')}|RTMIN\+[1-9]|RTMIN\+[12][0-9]|RTMIN)",
    "signal",
)
ENVIRONMENT = unshown(
    mapping("a mapping of names to values such as {LANG: C.UTF-8}", _environment, {"additionalProperties": WORD.schema})
)
PATHS_BY_NAME = mapping(
    "a mapping of names to absolute paths such as {token: /etc/backup/token}", by_name(PATH, NAME, A_NAME)
)
SLURM_NAME = text("a name such as physics: letters, digits, and ._- inside", r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "name")
SLURM_GRES = text("generic resources such as gpu:2", r"[A-Za-z0-9][A-Za-z0-9._:,-]{0,255}")
SLURM_LICENSES = mapping(
    "a mapping of licenses to numbers such as {matlab: 1}",
    by_name(integer(1, 1_000_000), r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", "a name of letters, digits, and ._@- inside"),
    {"additionalProperties": integer(1, 1_000_000).schema},
)
