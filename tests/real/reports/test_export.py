"""jobqueuectl export: runs as they were, and receivers that do badly."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from jobqueued.ctl.export import otlp, otlp_receiver
from jobqueued.ctl.main import main
from tests.support.host import Host, wait_for
from tests.support.otlp import spans
from tests.support.receivers import Request, WebServer, answer
from tests.support.records import a_record, write

OK = answer("200 OK", b"{}", Content_Type="application/json")
BUSY = answer("503 Service Unavailable", b'{"code": 14, "message": "warming up"}', Retry_After="0")
NOW_OR_LATER = {"Content-Type": "application/json"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The records of six runs, whose daemon is down."""
    for job in ("a", "b"):
        (tmp_path / "logs" / job).mkdir(parents=True)
        for document in (*(a_record(number, job=job) for number in (1, 2)), a_record(3, "failed", job)):
            write(tmp_path / "logs", json.loads(json.dumps(document).replace('"2027-', '"2025-')))
    return tmp_path


class Done(NamedTuple):
    """The end of a command."""

    exit_code: int
    stdout: str
    stderr: str


Export = Callable[..., Done]


@pytest.fixture
def export(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Export:
    """Call jobqueuectl export; a request has two runs at most."""
    monkeypatch.setattr(otlp, "MOST_SPANS", 6)
    monkeypatch.setattr(otlp_receiver, "sleep", lambda _seconds: None)

    def call(*words: str, below: Path = root) -> Done:
        with pytest.raises(SystemExit) as end:
            main(["--root", str(below), "export", *words])
        assert isinstance(end.value.code, int)
        return Done(end.value.code, *capsys.readouterr())

    return call


def scripted(*answers: bytes) -> Iterator[bytes]:
    yield from answers
    while True:
        yield OK


def server(*answers: bytes, **options: Any) -> WebServer:
    """A receiver that answers so, and then well."""
    script = scripted(*answers)
    return WebServer(lambda _request: next(script), **options)


def sent(requests: list[Request]) -> list[str]:
    """The runs of these requests."""
    found = [span for request in requests for span in spans(request.body)]
    return [
        span["attributes"]["jobqueue.run"] for span in found if span["name"] != "wait" and "parentSpanId" not in span
    ]


ALL = ["a@3", "b@3", "a@2", "b@2", "a@1", "b@1"]


def test_all_is_taken(export: Export) -> None:
    """Each run once, newest first, in requests as OTLP over HTTP has them."""
    with server() as receiver:
        done = export("--otlp", receiver.url)
        assert (0, True) == (done.exit_code, f"6 runs sent to {receiver.url}, 18 spans" in done.stderr)
        assert (ALL, 3) == (sent(receiver.requests), len(receiver.requests))
        request = receiver.requests[0]
        assert ("POST", "/v1/traces", "application/json") == (
            request.method,
            request.path,
            request.headers["content-type"],
        )
        export("--otlp", f"{receiver.url}/elsewhere?a=b")
        assert "/elsewhere?a=b" == receiver.requests[-1].path


@pytest.mark.parametrize(
    ("words", "runs"),
    [
        (["a"], ["a@3", "a@2", "a@1"]), (["a", "b", "a"], ALL), (["--failed"], ["a@3", "b@3"]),
        (["b", "--state", "succeeded"], ["b@2", "b@1"]), (["--state", "running"], []),
        (["--until", "2025-01-01"], []),
    ],
)  # fmt: skip
def test_filters(export: Export, words: list[str], runs: list[str]) -> None:
    """The same as those of history; live runs are not over."""
    done = export(*words, "--otlp")
    lines = done.stdout.splitlines()
    assert (0, runs) == (done.exit_code, [run for line in lines for run in sent([Request("", "", {}, line.encode())])])


def test_no_such_runs(export: Export) -> None:
    """An answer that is empty is called so, and a time in which nothing can be a mistake."""
    for how in ("--otlp", "--chrome-trace"):
        done = export("--until", "2025-01-01", how)
        assert (0, "no such runs") == (done.exit_code, done.stderr.splitlines()[-1])
    done = export("--since", "2025-01-02", "--until", "2025-01-01", "--otlp")
    assert (2, "", True) == (done.exit_code, done.stdout, "is not before --until (" in done.stderr)


def test_a_trace_to_look_at(export: Export) -> None:
    """One JSON document on stdout."""
    events = json.loads(export("--chrome-trace").stdout)["traceEvents"]
    assert [run.partition("@")[0] for run in ALL] == [
        e["name"].partition(":")[0] for e in events if e.get("cat") == "run"
    ]


def test_a_bad_moment(export: Export) -> None:
    """The same request is sent again; that it was is said."""
    with server(BUSY, answer("429 Too Many Requests")) as receiver:
        done = export("--otlp", receiver.url)
        assert (0, ALL) == (done.exit_code, sent(receiver.requests[2:]))
        assert receiver.requests[0] == receiver.requests[1] == receiver.requests[2]
    assert "answered 503 Service Unavailable: warming up; trying again in 0 s" in done.stderr
    assert "429 Too Many Requests; trying again in 2 s" in done.stderr


def test_a_bad_day(export: Export) -> None:
    """It is not tried for ever; with what is said then the rest is sent, and nothing but the rest."""
    with server(OK, *[BUSY] * 5) as receiver:
        done = export("--otlp", receiver.url)
        assert (2, 6) == (done.exit_code, len(receiver.requests))
        assert "2 runs sent" in done.stderr
        assert (
            "warming up; try again later\nTo send the remaining runs, use the same options and --until " in done.stderr
        )
        until = done.stderr.split("--until ")[1].split()[0]
        assert 0 == export("--otlp", receiver.url, "--until", until).exit_code
        assert ALL == sent([receiver.requests[0], *receiver.requests[6:]])


PARTIAL = {"partialSuccess": {"rejectedSpans": "2", "errorMessage": "too \x1b[31mold"}}


def test_some_is_refused(export: Export) -> None:
    """It is said why, all else is sent, and the exit status tells."""
    with server(answer("200 OK", json.dumps(PARTIAL).encode(), **NOW_OR_LATER)) as receiver:
        done = export("--otlp", receiver.url)
        assert (1, ALL) == (done.exit_code, sent(receiver.requests))
    assert f"Warning: {receiver.url} refused 2 spans: too \\x1b[31mold" in done.stderr


def test_a_hint_is_no_refusal(export: Export) -> None:
    """A warning of the receiver is passed on; all was taken."""
    hint = {"partialSuccess": {"errorMessage": "use gzip"}}
    with server(answer("200 OK", json.dumps(hint).encode())) as receiver:
        done = export("--otlp", receiver.url)
    assert (0, True) == (done.exit_code, "accepted all spans of a request, with a warning: use gzip" in done.stderr)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            answer("400 Bad Request", b'{"message": "no JSON"}'),
            "400 Bad Request: no JSON; the receiver rejects the request",
        ),
        (answer("401 Unauthorized"), "401 Unauthorized; set a header in OTEL_EXPORTER_OTLP_HEADERS"),
        (
            answer("404 Not Found", b"\n<html>no</html>"),
            "404 Not Found: <html>no</html>; check the path: it is usually /v1/tr",
        ),
        (answer("301 Moved", Location="/x"), "redirects are not followed"),
        (answer("500 Oops", b"\xff\x00" * 9000), "500 Oops: \\ufffd"),
        (answer("429 Later", Retry_After="3600"), "try again in 3600 s"),
        (b"", "it closed the connection, or does not use HTTP"),
        (b"\x00\x00\x12\x04\x00\x00\x00", "4317 is gRPC"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "it closed the connection"),
    ],
)
def test_it_is_not_taken(export: Export, said: bytes, told: str) -> None:
    """Where, why and what to do is said in one line, and nothing more is sent."""
    with server(said) as receiver:
        done = export("--otlp", receiver.url)
        assert (2, 1) == (done.exit_code, len(receiver.requests))
    assert f"Error: {receiver.url}" in done.stderr
    assert told in done.stderr.replace("\ufffd", "\\ufffd")
    assert max(map(len, done.stderr.splitlines())) < 600


def test_nobody_is_there(export: Export) -> None:
    """A port without a receiver, and a receiver that keeps silent."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        done = export("--otlp", f"http://127.0.0.1:{unused.getsockname()[1]}")
    assert (2, True) == (done.exit_code, "connection refused; is a receiver running there?" in done.stderr)


def test_silence(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not answer is given up, and so is who answers without end."""
    monkeypatch.setattr(otlp_receiver, "_SILENCE", 0.1)
    with server(b"", then="hang") as receiver:
        done = export("--otlp", receiver.url)
    assert (2, True) == (done.exit_code, "no complete answer in time" in done.stderr)
    monkeypatch.setattr(otlp_receiver, "_SILENCE", 10)
    monkeypatch.setattr(otlp_receiver, "_LONGEST", 0.3)
    with server(b"HTTP/1.1 200 OK\r\nX: ", then="hang") as receiver:
        done = export("--otlp", receiver.url)
    assert (2, True) == (done.exit_code, "no complete answer in time" in done.stderr)


def test_it_is_no_receiver(export: Export) -> None:
    """A page with 200 is no success that nobody questions."""
    with server(answer("200 OK", b"<html>log in</html>")) as receiver:
        done = export("--otlp", receiver.url)
    assert "answered 200, but not with OTLP: <html>log in</html>; does the URL lead to an OTLP receiver" in done.stderr


def test_secrets(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    """User and password of the URL, and the headers of the environment, reach the receiver and no message."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-token=s3cret%20token, X-Other=1")
    with server(answer("403 Forbidden")) as receiver:
        done = export("--otlp", receiver.url.replace("//", "//me:passw0rd@") + "/path-s3cret")
        headers = receiver.requests[0].headers
    assert ("s3cret token", "1", "Basic bWU6cGFzc3cwcmQ=") == (
        headers["x-token"],
        headers["x-other"],
        headers["authorization"],
    )
    assert 2 == done.exit_code
    assert not any(secret in done.stdout + done.stderr for secret in ("passw0rd", "s3cret", "me:"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "no pair")
    assert "expected NAME=VALUE" in export("--otlp", receiver.url).stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "choose one format: --otlp, --chrome-trace or --crontab"),
        (["--otlp", "--chrome-trace"], "choose one format: --otlp, --chrome-trace or --crontab"),
        (["--otlp", "a"], "write JOBs before --otlp"),
        (["--otlp", "ftp://x"], "expected http://HOST:PORT/v1/traces, or https://"),
        (["--otlp", "http://x:99999"], "expected http://HOST:PORT"),
        (["--otlp", "http://"], "expected http://HOST:PORT"),
        (["nobody", "--otlp"], "No record of nobody"),
    ],
)
def test_wrong_usage(export: Export, words: list[str], told: str) -> None:
    """It is said what would be right."""
    done = export(*words)
    assert (2, True) == (done.exit_code, told in done.stderr)


def test_a_real_run(host: Host, export: Export) -> None:
    """What a command finds in TRACEPARENT is the span of its attempt, also of a run that another caused."""
    first = "first: {command: echo $TRACEPARENT}"
    host.write("jobs.yaml", f"jobs:\n  {first}\n  then: {{command: echo $TRACEPARENT, on: {{job: first}}}}\n")
    host.start()
    host.wait(host.run("first"))
    wait_for(lambda: len(host.said("run_ended")) == 2, why="the second")
    found = [span for line in export("--otlp", below=host.root).stdout.splitlines() for span in spans(line)]
    assert 1 == len({span["traceId"] for span in found})
    by_name = {(span["attributes"].get("jobqueue.run"), span["name"]): span for span in found}
    for run in ("first@1", "then@1"):
        span = by_name[run, "attempt"]
        assert f"00-{span['traceId']}-{span['spanId']}-01\n".encode() == host.output(run)
    assert by_name["then@1", "then"]["parentSpanId"] == by_name["first@1", "first"]["spanId"]
