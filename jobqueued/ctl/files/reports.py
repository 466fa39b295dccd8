"""Problems in formats for other programs: SARIF 2.1.0, and GitHub Actions workflow commands.

Names and contents of files are escaped, so they can't forge a part of the format or harm a terminal.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from jobqueued import __version__
from jobqueued.base.problem import Problem
from jobqueued.base.text import printable
from jobqueued.ctl.base.findings import FINDINGS

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_KINDS = {"error": "error", "warning": "warning", "note": "notice"}
"""Severity → its name on GitHub. SARIF uses our words."""


def sarif(problems: Iterable[Problem]) -> dict[str, Any]:
    """Return the problems as a SARIF log (OASIS, Static Analysis Results Interchange Format 2.1.0)."""
    rules = [
        {
            "id": finding.code,
            "shortDescription": {"text": finding.title},
            "fullDescription": {"text": finding.text},
            "defaultConfiguration": {"level": finding.severity},
        }
        for finding in FINDINGS.values()
    ]
    driver = {"name": "jobqueuectl check", "version": __version__, "rules": rules}
    places = {code: place for place, code in enumerate(FINDINGS)}
    results = [
        {
            "ruleId": problem.code,
            "ruleIndex": places[problem.code],
            "level": problem.severity,
            "message": {"text": printable(_words(problem))},
            "locations": [{"physicalLocation": _location(problem)}],
        }
        for problem in problems
    ]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def github(problems: Iterable[Problem]) -> Iterator[str]:
    """Yield a line for each problem, as in ``::error file=…,line=4,col=5,title=JQ201::…``, which annotates the file."""
    for problem in problems:
        place = {"file": problem.file, "line": problem.line, "col": problem.column, "title": problem.code}
        properties = ",".join(f"{name}={_property(str(value))}" for name, value in place.items() if value)
        yield f"::{_KINDS[problem.severity]} {properties}::{_data(_words(problem))}"


def _words(problem: Problem) -> str:
    return str(problem._replace(file="", line=0, column=0))


def _location(problem: Problem) -> dict[str, Any]:
    path = quote(os.fsencode(problem.file))
    place: dict[str, Any] = {"artifactLocation": {"uri": f"file://{path}" if path.startswith("/") else path}}
    if problem.line:
        place["region"] = {"startLine": problem.line, **({"startColumn": problem.column} if problem.column else {})}
    return place


def _data(text: str) -> str:
    """Escape a message as @actions/core does; also escape unprintable characters."""
    return printable(text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"))


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
