"""Common YAML mistakes in job files: the place of each mistake, and the advice that replaces the parser's message."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from jobqueued.timing.crontab import in_a_job

MAX_DEPTH = 32
TOO_DEEP = f"found more than {MAX_DEPTH} levels of nesting; expected at most {MAX_DEPTH}"

_LINE_BREAK = "\r?\n"


class YamlFault(Exception):
    """A Problem without a file name. It is raised only if reading can't continue, and otherwise collected."""

    def __init__(self, line: int, column: int, message: str, code: str = "JQ101", severity: str = "error") -> None:
        super().__init__(line, column, message)
        self.line, self.column, self.message, self.code, self.severity = line, column, message, code, severity


def position(before: str) -> tuple[int, int]:
    """Return the line and column of the character after the text `before`."""
    lines = re.split(_LINE_BREAK, before)
    return len(lines), len(lines[-1]) + 1


def value_of_key(text: str, key: Any, value: Any, event: Any) -> Any:
    """Return `value`, or raise YamlFault if the value is missing, probably by mistake."""
    if getattr(value, "text", None) != "" or not (key.plain and value.plain):
        return value
    begin, end = event.start_mark, event.end_mark.index
    behind, before = text[end : end + _NEAR].lstrip(), text[max(0, begin.index - _NEAR) : begin.index].rstrip(" \t")
    if behind.startswith(":"):
        return value
    if before.endswith("?"):
        accepted = f"the file without `? {key.text}`, or {key.text}: and a value"
        message = f"found ? before a key that has no value; expected {accepted}"
    elif glued := re.fullmatch(GLUED_KEY, key.text):
        message = f"found {glued[1]}: {NO_SPACE}; expected {glued[1]}: {glued[2].strip()}"
    else:
        return value
    raise YamlFault(begin.line + 1, begin.column + 1, message)


_CONFLICT = "(?m)^(<{7} |={7}$|>{7} )"
_BRACKET = r"[\[{]"
GLUED_KEY = r"([A-Za-z_][\w.-]{0,30}):(?![ :\\]|//)([^\n]{1,200})"
"""A key without a space after its colon, which YAML reads as part of a value. Not a URL, and not a Windows path."""
_NEAR = 60
"""Maximum number of quoted characters near a key."""
NO_SPACE = "without a space after the colon"
_LAST_WORD = r"\s([a-z_]{2,30})$"
_LONE_WORD = r"\s*[\w.-]+\s*"

AS_A_TEXT = "expected the whole command in quotes, as in command: '~/bin/x -a >/tmp/out'"
A_JOB_FILE = "a job file, as in jobs: {{backup: {{{}}}}}"
"""Advice for a crontab line in a job file."""

_CLOSES_NOTHING = "a bracket that closes nothing; expected the line without this bracket"
_QUESTION = "a value that starts with ?; expected the value without ?, or the whole value in quotes"
_REMEDIES = (
    ("", "\t", "a tab; expected spaces (`check --fix` replaces tabs at the start of a line)"),
    ("block sequence entries are not allowed", "",
        "a - inside a line; expected quotes around a value that starts with -, or a list with one item per line"),
    ("mapping keys are not allowed", "?", _QUESTION),
    ("did not find expected node content", "?", _QUESTION),
    ("found character that cannot start any token", ">", "a > in brackets, but no shell reads a list; " + AS_A_TEXT),
    ("found character that cannot start any token", "|", "a | in brackets, but no shell reads a list; " + AS_A_TEXT),
    ("did not find expected key", "}", _CLOSES_NOTHING),
    ("did not find expected key", "]", _CLOSES_NOTHING),
    ("did not find expected <document start>", "}", _CLOSES_NOTHING),
    ("did not find expected <document start>", "]", _CLOSES_NOTHING),
    ("did not find expected ',' or '}'", "]", "a ] inside braces; expected } in its place"),
    ("did not find expected ',' or ']'", "}", "a } inside brackets; expected ] in its place"),
    ("did not find expected <document start>", "",
        "text after the end of the first value; expected one YAML mapping (not an INI file or a crontab)"),
    ("did not find expected ',' or", "",
        "text after a value in brackets; expected a comma between the values, or quotes around the whole value"),
    ("found unknown directive name", "",
        "a line that starts with %; expected quotes around a value that starts with %, or # before a comment"),
    ("found unknown escape character", "",
        "an unknown escape in double quotes; expected single quotes, inside which \\ is an ordinary character"),
    ("did not find expected hex", "",
        "an escape without its hex digits in double quotes; expected single quotes, inside which \\ is an "
        "ordinary character"),
    ("found invalid Unicode character escape code", "",
        "an escape for half a character; expected the character itself"),
)  # fmt: skip
"""The beginning of the parser's message, the character at its place, and our message."""


def syntax_fault(error: Any, text: str) -> YamlFault:
    """Return the parser's error, moved to the mistake's place: the parser reports where it noticed the mistake."""
    problem, context = error.problem or "", error.context or ""
    mark = error.problem_mark or error.context_mark
    assert mark is not None
    if conflict := re.search(_CONFLICT, text):
        message = "found a conflict marker of git; expected the file without conflicts"
        return YamlFault(*position(text[: conflict.start()]), message, "JQ106")
    if "exceeded maximum nesting depth" in problem + context:
        place = [bracket.start() for bracket in re.finditer(_BRACKET, text)][MAX_DEPTH]
        return YamlFault(*position(text[:place]), TOO_DEEP, "JQ103")
    start = error.context_mark
    if start is not None and (opened := _opened(context, problem, text[start.index :], mark.line - start.line)):
        return YamlFault(start.line + 1, start.column + 1, opened)
    line = text[text.rfind("\n", 0, mark.index) + 1 :].partition("\n")[0]
    if keys := in_a_job(line):
        return YamlFault(mark.line + 1, 1, f"found a line of a crontab; expected {A_JOB_FILE.format(keys)}", "JQ107")
    if start is not None and context in ("while scanning an alias", "while scanning an anchor"):
        mark = start
    if text[mark.index : mark.index + 1] in ("}", "]") and (glued := re.fullmatch(GLUED_KEY, line.lstrip(" -"))):
        column = len(line) - len(line.lstrip(" -")) + 1
        return YamlFault(mark.line + 1, column, f"found {glued[1]}: {NO_SPACE}; expected {glued[1]}: {glued[2]}")
    code = "JQ111" if text.startswith("\t", mark.index) else "JQ101"
    return YamlFault(mark.line + 1, mark.column + 1, _remedy(problem, context, text, mark.index), code)


def _opened(context: str, problem: str, rest: str, lines: int) -> str:
    """Return the message about an unclosed bracket or quote or a line without a colon; return "" for other mistakes."""
    if context.startswith("while scanning a simple key"):
        if glued := re.match(GLUED_KEY, rest):
            return f"found {glued[1]}: {NO_SPACE}; expected {glued[1]}: {glued[2]}"
        return "found a line without a colon; expected a key, a colon, a space, and its value"
    if context.startswith("while scanning a quoted scalar") and "end of stream" in problem:
        return f"found a {rest[:1]} that is never closed; expected a closing quote (inside '…', write ' as '')"
    if context.startswith("while parsing a flow") and lines:
        return (
            f"found a {rest[:1]} without its closing bracket, or a missing comma below it; expected [a, b] or {{a: b}}"
        )
    return ""


def _remedy(problem: str, context: str, text: str, index: int) -> str:
    found = text[index : index + 1]
    before = text[text.rfind("\n", 0, index) + 1 : index]
    for beginning, character, remedy in _REMEDIES:
        if problem.startswith(beginning) and found.startswith(character):
            return f"found {remedy}"
    if text.startswith("&&", index) or text.startswith("&&", index - 1):
        return "found && at the start of a value; expected both commands in one value, in quotes: 'a && b'"
    if found and found in "@`%*&" and context.startswith("while scanning"):
        return _of_first(found, before, text[index:].partition("\n")[0])
    if context.startswith("while scanning a block scalar"):
        return "found text after | or >; expected the text on the lines below, or quotes around the whole value"
    if problem.startswith("mapping values are not allowed"):
        return _of_colon(before, text[: index - len(before)].rpartition("\n")[0].rpartition("\n")[2])
    if problem.startswith("did not find expected key") and context.startswith("while parsing a block mapping"):
        if before.strip():
            return "found text after a value; expected quotes around the whole value (inside '…', write ' as '')"
        return "found a line with wrong indentation; expected all keys of a mapping in the same column"
    return f"this is not YAML: {context} {problem}".replace(":  ", ": ")


def _of_first(found: str, before: str, value: str) -> str:
    """Return the message about a character that can't begin a plain value.

    It quotes the value if the value fills the line.
    """
    if before.strip() == "schedule:" and (keys := in_a_job(value)):
        return f"found a line of a crontab; expected a key for each part, as in {{{keys}}}"
    is_whole = re.fullmatch(r"\s*(- )?[a-z_]+: *", before) and re.fullmatch(r"[^&'\"#\\][^'\"#\\]{0,60}", value)
    accepted = f'"{value.rstrip()}"' if is_whole else "the value in quotes"
    return f"found a value that starts with {found}; expected {accepted}"


def _of_colon(before: str, above: str) -> str:
    """Return the message about a misplaced colon, based on the text before the colon and on the line above."""
    if re.fullmatch(_LONE_WORD, before) and (glued := re.fullmatch(GLUED_KEY, above.strip(" -"))):
        return f"found {glued[1]}: without a space after its colon in the line above; expected {glued[1]}: {glued[2]}"
    if re.fullmatch(_LONE_WORD, before):
        return (
            "found a key inside the value of the line above; expected a colon after the key above, or less indentation"
        )
    if key := re.search(_LAST_WORD, before):
        where = f"or {key[1]}: on its own line if it is a key"
        return f"found a colon inside a value; expected the value in quotes, {where}"
    return "found a colon inside a value; expected the value in quotes"


_GOES_ON = re.compile(r"(&&|\|\|?|;|,|[({\[])\s*$")
_CONTINUES = re.compile(r"\s*(-|&&|\||;|>|<|[)}\]])")


def are_joined(lines: list[str]) -> bool:
    """Return whether lines that YAML joins may be separate commands: two or more, without a sign of continuation."""
    lines = [line for line in lines if line.strip() and not re.fullmatch(r">[-+0-9]*\s*(#.*)?", line.strip())]
    return any(not (_GOES_ON.search(line) or _CONTINUES.match(following)) for line, following in pairwise(lines))
