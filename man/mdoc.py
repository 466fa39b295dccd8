"""Sentences as lines of mdoc(7): one sentence or less a line, and what is code in the macro for it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

_WIDTH = 70
_PROGRAMS = frozenset({"jobqueued", "jobqueuectl", "crontab", "systemctl", "journalctl", "loginctl", "varlinkctl"})
_VARIABLES = frozenset({"HOME", "PATH", "SHELL", "LANG", "TRACEPARENT"})
_PAPERS = "/usr/share/doc/jobqueued/"
_DELIMITERS = ".,;:)]?!"
_TOKEN = re.compile(
    r"""(?<!\S)(?P<open>[(\['"]*)(?:`(?P<code>[^`]*)`|(?P<page>[a-z][a-z_.-]*)\((?P<section>[1-8])\)"""
    r"""|docs/(?P<paper>[a-z-]+\.md)|(?P<option>--[a-z][a-z-]+|-[A-Za-z]\b))(?P<rest>\S*)"""
)
_SENTENCE = re.compile(r"(?<=[\w)\]`\"/~][.!?])\s+(?=[A-Z`]|docs/)|(?<=\w\.\))\s+(?=[A-Z`])")


def prose(text: str) -> Iterator[str]:
    """Lines of a text in which `code` is between backquotes and a page of the manual is name(section)."""
    for sentence in _SENTENCE.split(text):
        place = 0
        for token in _TOKEN.finditer(sentence):
            yield from _filled(sentence[place : token.start()])
            yield "." + _macro_line(token)
            place = token.end()
        yield from _filled(sentence[place:])


def escaped(text: str) -> str:
    """Text as roff shows it, anywhere in a line: a hyphen is one that can be copied."""
    return text.replace("\\", "\\e").replace("-", "\\-")


def typed(text: str) -> str:
    """Code, of which every letter can be copied: where roff has typographic ones, these are not meant."""
    return escaped(text).translate({ord("'"): "\\(aq", ord("^"): "\\(ha", ord("~"): "\\(ti", ord("`"): "\\(ga"})


def literal(text: str) -> str:
    """One line of a display."""
    return re.sub(r"^(?=\.)", r"\\&", typed(text))


def line(text: str) -> str:
    """One line of text that is no request."""
    return re.sub(r"^(?=[.'])", r"\\&", escaped(text))


def inline(text: str) -> str:
    """One line of a text with `code` in bold, for a table, which takes no macros."""
    return re.sub(r"`([^`]*)`", r"\\fB\1\\fR", line(text))


def code(text: str) -> str:
    """The macro for code, without its dot: an option, a command, a path, a variable, or a word, by its looks."""
    if option := re.fullmatch(r"-(-?[a-z-]+|\w)", text):
        return f"Fl {escaped(option[1])}"
    if text.split(" ", 1)[0] in _PROGRAMS and " " in text:
        return f"Ic {arguments(text)}"
    if re.match(r"[/~]\w|(<[a-z]+>|[a-z_]+)/\S+$", text):
        return f"Pa {arguments(text)}"
    if re.fullmatch(r"\$?[A-Z]+(_[A-Z]+)+…?", text) or text in _VARIABLES:
        return f"Ev {text}"
    return f"Cm {arguments(text)}"


def arguments(text: str) -> str:
    """Words behind a macro, of which none is a macro or a delimiter itself."""
    return " ".join(_argument(word) for word in text.split())


def usage(word: str) -> str:
    """A word of a command line's form, such as [JOB]... or FILE|DIR."""
    bare = word.removesuffix("...")
    dots = " ..." * (bare != word)
    if bare.startswith("["):
        return f"Oo {usage(bare[1:-1])}{dots} Oc"
    return ("Fl \\-" if bare == "--" else f"Ar {arguments(bare)}") + dots


def _argument(word: str) -> str:
    shown = typed(word)
    if shown.startswith('"'):
        shown = f"\\(dq{shown[1:]}"
    return f"\\&{shown}" if re.fullmatch(r"[A-Z][a-z]{1,2}|[.,;:)\]?!(\[|]", word) else shown


def _macro_line(token: re.Match[str]) -> str:
    """A piece of code, or a page, with what stands before and behind it without a space."""
    if token["page"]:
        shown = f"Xr {token['page']} {token['section']}"
    elif token["paper"]:
        shown = f"Pa {escaped(_PAPERS + token['paper'])}"
    else:
        shown = code(token["option"] or token["code"] or "")
    before, rest = token["open"], token["rest"]
    if before:
        shown = f"Pf {escaped(before)} {shown}"
    closing = rest[: len(rest) - len(rest.lstrip(_DELIMITERS))]
    shown = " ".join([shown, *closing])
    if more := rest[len(closing) :]:
        shown += f" Ns {escaped(more)}" if not closing else f" Ns No {escaped(more)}"
    return shown


def _filled(text: str) -> Iterator[str]:
    for one in textwrap.wrap(text.strip(), _WIDTH, break_long_words=False, break_on_hyphens=False):
        yield line(one)
