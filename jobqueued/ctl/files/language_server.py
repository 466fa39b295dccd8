"""jobqueuectl language-server: show check's findings in an editor while the user writes job files.

Language Server Protocol 3.17: each JSON-RPC message follows a Content-Length header, on standard input and output. The
editor sends complete texts and gets diagnostics. The server has no other feature.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

import click

from jobqueued import __version__
from jobqueued.base.problem import Problem
from jobqueued.ctl.files.check import owner_of
from jobqueued.ctl.files.job_files import read_text
from jobqueued.ctl.files.rhythms import rhythms, usual_times
from jobqueued.settings.paths import Paths

Message = dict[str, Any]
Look = Callable[[Path, bytes], list[Problem]]
"""Returns the problems in a string at a path."""
_LARGEST = 16 << 20
_UNKNOWN_METHOD = -32601
_SEVERITIES = {"error": 1, "warning": 2, "note": 3}
_WHOLE_TEXTS = 1


@click.command("language-server")
@click.option("--host", is_flag=True, help="Check the files as the host's files, even if you are an ordinary user.")
@click.pass_obj
def language_server(paths: Paths, host: bool) -> None:
    """Check job files in an editor while you write them.

    The program speaks the Language Server Protocol on standard input and output.  The editor starts it, and shows each
    error or warning at its place, with its code.  Each file is checked alone, without drop-ins or other files.

    \b
    Examples:
      jobqueuectl language-server --host
    """
    owner = None if host else owner_of(paths, None)

    def look(file: Path, text: bytes) -> list[Problem]:
        jobs, problems = read_text(paths, file, text, owner)
        return [*problems, *rhythms(jobs, time.time_ns(), usual_times(paths))]

    serve(sys.stdin.buffer, sys.stdout.buffer, look)


def serve(incoming: BinaryIO, outgoing: BinaryIO, look: Look) -> None:
    """Answer messages until the editor sends exit or closes the input."""
    while (message := _received(incoming)) is not None and message.get("method") != "exit":
        for answer in _answers(message, look):
            body = json.dumps({"jsonrpc": "2.0", **answer}).encode()
            outgoing.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        outgoing.flush()


def _received(incoming: BinaryIO) -> Message | None:
    """Read the next message. Return None at the end of the input, or if the message is invalid."""
    length = 0
    while (line := incoming.readline(_LARGEST)).strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and value.strip().isdigit():
            length = int(value)
    if not line or not 0 < length <= _LARGEST:
        return None
    try:
        message = json.loads(incoming.read(length))
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _answers(message: Message, look: Look) -> list[Message]:
    parameters = message.get("params") or {}
    match message.get("method"):
        case "initialize":
            about = {"name": "jobqueuectl", "version": __version__}
            offered = {"textDocumentSync": {"openClose": True, "change": _WHOLE_TEXTS}}
            return [{"id": message["id"], "result": {"capabilities": offered, "serverInfo": about}}]
        case "textDocument/didOpen":
            document = parameters["textDocument"]
            return [_diagnostics(document, document["text"], look)]
        case "textDocument/didChange":
            return [_diagnostics(parameters["textDocument"], parameters["contentChanges"][-1]["text"], look)]
        case "textDocument/didClose":
            return [_published(parameters["textDocument"], [])]
        case "shutdown":
            return [{"id": message["id"], "result": None}]
        case method if "id" in message and method is not None:
            return [{"id": message["id"], "error": {"code": _UNKNOWN_METHOD, "message": f"no method {method}"}}]
    return []


def _diagnostics(document: Message, text: str, look: Look) -> Message:
    path, lines = Path(unquote(urlsplit(document["uri"]).path) or "-"), text.split("\n")
    problems = look(path, text.encode(errors="surrogatepass"))
    return _published(document, [_diagnostic(problem, lines) for problem in problems if problem.file == str(path)])


def _published(document: Message, diagnostics: list[Message]) -> Message:
    parameters = {"uri": document["uri"], "diagnostics": diagnostics}
    return {"method": "textDocument/publishDiagnostics", "params": parameters}


def _diagnostic(problem: Problem, lines: list[str]) -> Message:
    """Convert a problem to a diagnostic. Its range ends at the end of the line, counted in UTF-16 units from 0."""
    number = max(0, min(problem.line, len(lines)) - 1)
    line = lines[number] if problem.line else ""
    parts = line[: max(0, problem.column - 1)], line
    places = [{"line": number, "character": len(part.encode("utf-16-le", "surrogatepass")) // 2} for part in parts]
    return {
        "range": dict(zip(("start", "end"), places, strict=True)),
        "severity": _SEVERITIES[problem.severity],
        "code": problem.code,
        "source": "jobqueuectl",
        "message": str(problem._replace(file="", line=0, column=0)),
    }
