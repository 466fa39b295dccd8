"""Text about the kinds of findings: with examples for the terminal, and as a list for docs/check.md."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import click

from jobqueued.base.text import printable
from jobqueued.ctl.base.findings import FINDINGS, GROUPS, SEVERITIES, FindingKind

ALL = "all"
_WIDTH = 78


def found(code: str) -> FindingKind:
    """Return the kind of finding that has a code (upper or lower case, with or without JQ). Raises UsageError."""
    wanted = code.strip().upper()
    finding = FINDINGS.get(wanted) or FINDINGS.get(f"JQ{wanted}")
    if finding is None:
        raise click.UsageError(f"There is no finding {code!a}; to list all: jobqueuectl check --explain {ALL}")
    return finding


def explained(finding: FindingKind) -> str:
    """Format a kind of finding: its meaning, a wrong and a right example."""
    return "\n".join(_lines(finding)) + "\n"


def _lines(finding: FindingKind) -> Iterator[str]:
    yield from (f"{finding.code} ({finding.severity}): {finding.title}", "")
    yield from textwrap.wrap(finding.text, _WIDTH, break_on_hyphens=False)
    for heading, text in _examples(finding):
        yield from ("", f"{heading}:")
        yield from (f"    {printable(line)}" for line in text.splitlines() or ["(nothing)"])


def _examples(finding: FindingKind) -> Iterator[tuple[str, str]]:
    """Yield each example's heading and text; yield nothing if no file can show the problem."""
    if not finding.right:
        return
    place = "" if finding.file == FindingKind._field_defaults["file"] else finding.file
    facts = "; ".join(filter(None, (place, finding.given)))
    yield f"Wrong ({facts})" if facts else "Wrong", finding.wrong
    yield "Right", finding.right


def listed() -> str:
    """Return a line for each kind of finding."""
    return "".join(f"{it.code}  {it.severity:<8} {it.title}\n" for it in FINDINGS.values())


def page() -> Iterator[str]:
    """Yield the lines of docs/check.md about all kinds of findings."""
    yield from ("", "| severity | meaning |", "|---|---|")
    yield from (f"| {severity} | {meaning} |" for severity, meaning in SEVERITIES.items())
    for begin, heading in GROUPS.items():
        yield from ("", f"### {begin}xx: {heading}", "", "| code | severity | finding |", "|---|---|---|")
        found = (it for it in FINDINGS.values() if it.code.startswith(begin))
        yield from (f"| {it.code} | {it.severity} | {it.title} |" for it in found)
    yield ""
