"""jobqueuectl language-server: an editor is told what check would tell, where it is."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from jobqueued.base.problem import Problem
from jobqueued.ctl.files.language_server import serve
from tests.support.client import PROGRAM, environment

WRONG = "jobs:\n  a: {command: [echo, '|', wc]}\n  b: {comand: x}\n"


def framed(*messages: dict[str, Any]) -> bytes:
    """Messages as an editor sends them."""
    bodies = [json.dumps({"jsonrpc": "2.0", **message}).encode() for message in messages]
    return b"".join(b"Content-Length: %d\r\n\r\n%b" % (len(body), body) for body in bodies)


def read(text: bytes) -> list[dict[str, Any]]:
    """The messages of a stream."""
    found = []
    while text:
        head, _, rest = text.partition(b"\r\n\r\n")
        length = int(head.removeprefix(b"Content-Length: "))
        found.append(json.loads(rest[:length]))
        text = rest[length:]
    return found


def opened(text: str, uri: str = "file:///srv/a%20b.yaml") -> dict[str, Any]:
    """The message that a text was opened."""
    return {"method": "textDocument/didOpen", "params": {"textDocument": {"uri": uri, "text": text}}}


def answered(*messages: dict[str, Any], look: Any = lambda _path, _text: []) -> list[dict[str, Any]]:
    """The answers to these messages."""
    outgoing = io.BytesIO()
    serve(io.BytesIO(framed(*messages)), outgoing, look)
    return read(outgoing.getvalue())


def test_a_session(tmp_path: Path) -> None:
    """An editor opens a file, changes it, closes it and leaves."""
    uri = f"file://{tmp_path}/a.yaml"
    document = {"uri": uri, "version": 2}
    said = framed(
        {"id": 1, "method": "initialize", "params": {}}, {"method": "initialized", "params": {}}, opened(WRONG, uri),
        {"method": "textDocument/didChange", "params": {
            "textDocument": document, "contentChanges": [{"text": WRONG.replace("comand", "command")}]}},
        {"method": "textDocument/didClose", "params": {"textDocument": document}},
        {"id": 2, "method": "shutdown"}, {"method": "exit"},
    )  # fmt: skip
    words = [*PROGRAM, "--root", str(tmp_path / "none"), "language-server", "--host"]
    done = subprocess.run(words, input=said, check=True, capture_output=True, env=environment())
    hello, first, second, closed, bye = read(done.stdout)
    assert (1, {"openClose": True, "change": 1}) == (hello["id"], hello["result"]["capabilities"]["textDocumentSync"])
    assert [("JQ201", 1, {"line": 2, "character": 6})] == [
        (it["code"], it["severity"], it["range"]["start"]) for it in first["params"]["diagnostics"]
    ]
    assert ["JQ204"] == [it["code"] for it in second["params"]["diagnostics"] if it["code"] != "JQ507"]
    assert {"uri": uri, "diagnostics": []} == closed["params"]
    assert {"jsonrpc": "2.0", "id": 2, "result": None} == bye


def test_a_place_is_counted_as_editors_do() -> None:
    """In units of UTF-16, from 0; without a line it is the begin of the file."""
    text = "# 😀😀 x\n"
    note = Problem("/srv/a b.yaml", 1, 5, "", "m", "note", code="JQ306")
    problems = [note, Problem("/srv/a b.yaml", 0, 0, "", "m", code="JQ103")]
    (answer,) = answered(opened(text), look=lambda _path, _text: problems)
    ranges = [(it["range"]["start"], it["range"]["end"], it["severity"]) for it in answer["params"]["diagnostics"]]
    assert [
        ({"line": 0, "character": 6}, {"line": 0, "character": 8}, 3), ({"line": 0, "character": 0},) * 2 + (1,)
    ] == ranges  # fmt: skip


def test_the_path_is_that_of_the_uri() -> None:
    """Decoded; problems of other files are not shown in this one."""
    seen: list[tuple[Path, bytes]] = []

    def look(path: Path, text: bytes) -> list[Problem]:
        seen.append((path, text))
        return [Problem("/etc/jobqueued.yaml", 1, 1, "", "m", code="JQ514")]

    (answer,) = answered(opened("jobs: {}\n"), look=look)
    assert ([(Path("/srv/a b.yaml"), b"jobs: {}\n")], []) == (seen, answer["params"]["diagnostics"])


def test_what_is_not_offered_is_refused() -> None:
    """A request gets an error, a notice nothing."""
    (answer,) = answered({"id": 3, "method": "textDocument/hover", "params": {}}, {"method": "$/setTrace"})
    assert (3, -32601) == (answer["id"], answer["error"]["code"])


@pytest.mark.parametrize("said", [
    b"", b"Content-Length: 5\r\n\r\n{}", b"Content-Length: 99999999999\r\n\r\n{}", b"\r\n\r\n",
    b"Content-Length: 2\r\n\r\n[]",
    b"Content-Length: 3\r\n\r\n{,}",
])  # fmt: skip
def test_what_is_no_message_is_the_end(said: bytes) -> None:
    """An editor that is gone, or is none, is not waited for."""
    outgoing = io.BytesIO()
    serve(io.BytesIO(said), outgoing, lambda _path, _text: [])
    assert b"" == outgoing.getvalue()
