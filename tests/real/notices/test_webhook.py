"""Webhooks, as a web server gets them that does well or badly."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from jobqueued import __version__
from jobqueued.child.notifier.main import send
from jobqueued.child.notifier.webhook import signature
from tests.support.notices import an_event, document
from tests.support.receivers import CERTIFICATE, WebServer, answer

PATH = "/services/T0SECRET/verysecrettoken?key=anothersecret"
OK = answer("200 OK", b"ok")


@pytest.fixture
def server() -> Iterator[WebServer]:
    """A web server that takes everything."""
    with WebServer(OK) as server:
        yield server


def posted(server: WebServer, path: str = PATH, event: dict[str, Any] | None = None, **settings: Any) -> str:
    """The verdict on a request to a server."""
    return send(document("webhook", f"{server.url}{path}", event, **settings))


@contextlib.contextmanager
def proxy_to(server: WebServer) -> Iterator[tuple[int, list[str]]]:
    """A proxy whose one tunnel leads to a server, whatever is asked for; its port, and what it was asked."""
    asked = list[str]()

    def tunnel(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client, socket.create_connection(("127.0.0.1", server.port)) as onward:
            asked.append(client.recv(4096).decode().partition("\r\n")[0])
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=copy, args=(onward, client))
            back.start()
            copy(client, onward)
            back.join()

    def copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=tunnel, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1], asked
        thread.join(10)


def verdict_on(answered: bytes, then: str = "close", **settings: Any) -> str:
    """The verdict on an answer, with ORIGIN for scheme, host and port."""
    with WebServer(answered, then) as server:
        return posted(server, **settings).replace(server.url, "ORIGIN")


class TestRequest:
    """The request."""

    def test_whole(self, server: WebServer) -> None:
        """It is the event, with the id by which a receiver knows doubles."""
        assert posted(server) == "sent"
        [request] = server.requests
        assert ("POST", PATH) == (request.method, request.path)
        assert {"version": 1, "id": "n-142", **an_event()} == json.loads(request.body)
        named = ("content-type", "user-agent", "idempotency-key", "webhook-id")
        assert ["application/json", f"jobqueued/{__version__}", '"n-142"', "n-142"] == [
            request.headers[name] for name in named
        ]
        assert {"webhook-signature", "x-hub-signature-256", "authorization"} & request.headers.keys() == set()

    def test_signed(self, server: WebServer, tmp_path: Path) -> None:
        """With a secret it is signed."""
        secret = tmp_path / "secret"
        secret.write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
        secret.chmod(0o600)
        assert posted(server, secret_file=str(secret)) == "sent"
        headers = server.requests[0].headers
        assert headers["webhook-signature"].startswith("v1,")
        assert headers["x-hub-signature-256"].startswith("sha256=")
        for wrong in ("it's no base64", "päß"):
            secret.write_text(f"whsec_{wrong}\n")
            assert "expected base64 after whsec_" in posted(server, secret_file=str(secret))
        secret.unlink()
        assert posted(server, secret_file=str(secret)) == f"never {secret}: No such file or directory"

    def test_signatures(self) -> None:
        """They are those that the libraries of Standard Webhooks make and GitHub's manual shows."""
        secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        made = signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', secret)
        assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        made = signature("x", 0, b"Hello, World!", "It's a Secret to Everybody")
        assert made["X-Hub-Signature-256"] == (
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        )

    def test_user(self, server: WebServer) -> None:
        """User and password of the URL go into a header."""
        url = server.url.replace("://", "://me:p%40ss@")
        assert send(document("webhook", f"{url}/x")) == "sent"
        assert server.requests[0].headers["authorization"] == "Basic bWU6cEBzcw=="

    def test_headers(self, server: WebServer) -> None:
        """Settings add headers, and may say what our own two are."""
        given = {"X-Token": "t", "content-type": "text/plain", "USER-AGENT": "me"}
        assert posted(server, headers=given, template="$summary: no JSON at all, $tail") == "sent"
        [request] = server.requests
        assert ("t", "text/plain", "me") == tuple(request.headers[n] for n in ("x-token", "content-type", "user-agent"))
        assert request.body.endswith(b"no JSON at all, no space left")

    @pytest.mark.parametrize(
        "headers",
        [{"X": "a\r\nY: b"}, {"X\r\nY": "b"}, {"X": 1}, {"Host": "x"}, {"content-length": "3"}, {"": ""}, {"X": "ü"}],
    )
    def test_bad_headers(self, server: WebServer, headers: dict[str, str]) -> None:
        """None makes a second one, or what is not its business."""
        assert posted(server, headers=headers).startswith("never headers: ")
        assert server.requests == []

    def test_template(self, server: WebServer) -> None:
        """Values go into JSON as it has them, whatever they are."""
        event = an_event(summary='a "quote"\n\\ \x00 grün', job=None)
        template = '{"text": "$summary", "n": $count, "job": "$job", "cost": "$$5"}'
        assert posted(server, event=event, template=template) == "sent"
        made = json.loads(server.requests[0].body)
        assert made == {"text": 'a "quote"\n\\ \x00 grün', "n": 5, "job": "", "cost": "$5"}

    @pytest.mark.parametrize(
        ("template", "said"),
        [
            (
                '{"text": $summary}',
                "is not JSON (line 1 column 10 of the output: Expecting value); expected JSON, with values in quotes",
            ),
            ('{"text": "$sumary"}', "found $sumary; expected $id, $event, $host"),
            ('{"text": "5 $"}', "expected $$ for a dollar sign"),
            ("[" * 100_000, "template: "),
            (7, "template is a int"),
        ],
    )
    def test_bad_templates(self, server: WebServer, template: object, said: str) -> None:
        """They are refused with what is wrong, and nothing is sent."""
        verdict = posted(server, template=template)
        assert verdict.startswith("never ")
        assert said in verdict
        assert server.requests == []

    @pytest.mark.parametrize(
        "url",
        ["hooks.example.org/secretpath", "ftp://h/secretpath", "http:///secretpath", "http://h:0/secretpath",
         "http://h:99999/secretpath", "http://h/secretpath\r\nX: y", "http://h/sécretpath", "http://[::1/secretpath"],
    )  # fmt: skip
    def test_bad_urls(self, url: str) -> None:
        """What is none is refused and not shown."""
        verdict = send(document("webhook", url))
        assert verdict.startswith("never webhook: unusable URL; expected http://HOST:PORT or https://")
        assert "cret" not in verdict

    def test_proxy(self, server: WebServer) -> None:
        """A proxy gets the whole URL."""
        assert send(document("webhook", "http://nowhere.invalid/x?y=1", proxy=server.url)) == "sent"
        assert server.requests[0].path == "http://nowhere.invalid/x?y=1"

    @pytest.mark.parametrize("host", ["localhost", "nowhere.invalid"])
    def test_tunnel(self, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
        """For https it makes a tunnel to whomever it likes, so the certificate has to be that of the URL's host."""
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        with WebServer(OK, secure=True) as server, proxy_to(server) as (port, asked):
            verdict = send(document("webhook", f"https://{host}{PATH}", proxy=f"http://127.0.0.1:{port}"))
        assert [f"CONNECT {host}:443"] == [line.rpartition(" ")[0] for line in asked]
        assert ("sent" if host == "localhost" else "never") == verdict.split(" ")[0]
        assert [PATH] * (host == "localhost") == [request.path for request in server.requests]

    def test_no_tunnel(self, server: WebServer) -> None:
        """A proxy that makes none may do so later; none is taken from the environment."""
        verdict = send(document("webhook", "https://nowhere.invalid/x", proxy=server.url))
        assert verdict.startswith("later 0 https://nowhere.invalid/…: Tunnel connection failed: 501")


class TestAnswer:
    """The answer."""

    @pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 Accepted", "204 No Content"])
    def test_taken(self, status: str) -> None:
        """Each 2xx is it, and what it says beside does not matter."""
        assert verdict_on(answer(status)) == "sent"
        assert verdict_on(f"HTTP/1.1 {status}\r\nContent-Length: 100\r\n\r\nhalf".encode(), "hang") == "sent"

    @pytest.mark.parametrize(
        ("status", "body", "said"),
        [
            (
                "400 Bad Request",
                b"\n invalid_blocks \nmore",
                "check the template; ORIGIN/… answered 400 Bad Request: invalid_blocks",
            ),
            (
                "404 Not Found",
                b"Cannot POST " + PATH.encode(),
                "check the URL; ORIGIN/… answered 404 Not Found: Cannot POST /…",
            ),
            ("403 Forbidden", b"\x1b[2J\xff", "ORIGIN/… answered 403 Forbidden: \\x1b[2J\ufffd"),
            ("418 I'm a teapot", b"", "never ORIGIN/… answered 418 I'm a teapot"),
        ],
    )
    def test_refused(self, status: str, body: bytes, said: str) -> None:
        """Other 4xx are not tried again; what it says is quoted, without what is secret."""
        verdict = verdict_on(answer(status, body))
        assert verdict.startswith("never ")
        assert verdict.endswith(said)

    @pytest.mark.parametrize(
        "status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent"]
    )
    def test_redirects(self, status: str, server: WebServer) -> None:
        """They are not followed, and where they lead is not shown."""
        verdict = verdict_on(answer(status, Location=f"{server.url}/secretplace"))
        assert verdict == (
            f"never ORIGIN/… answered {status}, a redirect; redirects are not followed: use the final URL"
        )
        assert server.requests == []

    @pytest.mark.parametrize("path", ["/redirect", "/redirects?followed=meant", "/answered/write", "/URL"])
    def test_our_own_words(self, path: str) -> None:
        """What the URL has hides nothing of what we say ourselves."""
        with WebServer(answer("302 Found", Location="/x")) as server:
            verdict = posted(server, path)
        assert verdict == (
            f"never {server.url}/… answered 302 Found, a redirect; redirects are not followed: use the final URL"
        )

    @pytest.mark.parametrize(
        ("path", "said", "shown"),
        [
            ("/SECX", "no hook /SECX, SECX! %2FSECX xSECX", "no hook /…, …! %2F… xSECX"),
            ("/plain", "plain? plainly not /plain", "…? plainly not /…"),
            ("/a/7/k?t=zz&on", "/a/7/k?t=zz&on; a 7 on zz t=zz; and t is no key", "/…; … … … … …; and t is no key"),
            ("/x%2Dy", "x-y or x%2Dy", "… or …"),
            ("/-/", "/-/ - that is all", "/…/ … that is all"),
        ],
    )
    def test_however_short(self, path: str, said: str, shown: str) -> None:
        """Of a path nothing is shown that its receiver says, be it ever so short, where it stands as a word."""
        with WebServer(answer("500 X", said.encode())) as server:
            assert f"later 0 {server.url}/… answered 500 X: {shown}" == posted(server, path)

    def test_short_credentials(self) -> None:
        """So it is with users, passwords and headers."""
        with WebServer(answer("500 me", b"me has pw, not mepw, and Tk 7")) as server:
            url = server.url.replace("://", "://me:pw@")
            verdict = send(document("webhook", url, headers={"X-Key": "Tk 7"}))
        assert f"later 0 {server.url} answered 500 …: … has …, not mepw, and …" == verdict

    @pytest.mark.parametrize("status", ["408 Timeout", "425 Too Early", "429 Too Many Requests", "500 X", "503 Busy"])
    def test_not_now(self, status: str) -> None:
        """They pass, after the time that the receiver wants, a day at most."""
        assert verdict_on(answer(status)) == f"later 0 ORIGIN/… answered {status}"
        for asked, seconds in (("17", 17), ("9" * 5000, 86400), ("soon", 0), ("-1", 0), ("1.5", 0)):
            assert verdict_on(answer(status, Retry_After=asked)) == f"later {seconds} ORIGIN/… answered {status}"

    def test_instant(self) -> None:
        """It may also name an instant."""
        until = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)
        seconds = int(verdict_on(answer("429 Slow", Retry_After=until)).split()[1])
        assert 7000 < seconds <= 7200

    @pytest.mark.parametrize("head", [b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\nX: y"])
    def test_hangs(self, head: bytes) -> None:
        """Who does not answer is left."""
        assert verdict_on(head, "hang", timeout=0.9) == "later 0 ORIGIN/…: no answer within 0.3 s"

    @pytest.mark.parametrize(
        "rubbish",
        [
            b"",
            b"220 mail.example.org ESMTP\r\n",
            b"HTTP/1.1 abc\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        ],
    )
    def test_no_http(self, rubbish: bytes) -> None:
        """What speaks something else, or hangs up, may be better later."""
        assert verdict_on(rubbish).startswith("later 0 ORIGIN/…: ")

    @pytest.mark.parametrize(
        ("start", "said"),
        [
            (b"HTTP/1.1 500 X\r\n\r\nmore\n", "answered 500 X: more"),
            (b"HTTP/1.1 404 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nmore\n\r\n", "answered 404 X: more"),
            (b"HTTP/1.1 200 OK\r\n", "the answer is not HTTP: HTTPException"),
            (b"x" * 65536, "the answer is not HTTP: LineTooLong"),
        ],
    )
    def test_without_end(self, start: bytes, said: str) -> None:
        """An answer without end is read no further than needed."""
        with WebServer(start, "repeat") as server:
            assert posted(server).endswith(said)
            assert server.gave_up.wait(10)

    def test_drips(self) -> None:
        """Who says something all the time, yet comes to no end, has as long as one try has."""
        with WebServer(b"HTTP/1.1 100 Continue\r\n\r\n", "repeat") as server:
            verdict = posted(server, timeout=0.9)
        assert verdict == "later 0 not sent within 0.9 s: the receiver is too slow; check the receiver"

    def test_nobody_there(self, unused_port: int) -> None:
        """A refused connection may pass."""
        url = f"http://127.0.0.1:{unused_port}"
        assert send(document("webhook", url + PATH)) == f"later 0 {url}/…: Connection refused"


class TestTls:
    """Certificates."""

    def test_refused(self) -> None:
        """One that this host does not trust is refused, and nothing is sent."""
        with WebServer(OK, secure=True) as server:
            verdict = posted(server)
        assert verdict.startswith(f"never {server.url}/…: its certificate is refused: self")
        assert server.requests == []

    def test_trusted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """One that is trusted will do."""
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        with WebServer(OK, secure=True) as server:
            assert posted(server) == "sent"

    def test_no_tls_there(self, server: WebServer) -> None:
        """A server that speaks none is named."""
        url = server.url.replace("http:", "https:")
        assert send(document("webhook", url + PATH)).startswith(f"later 0 {url}/…: TLS failed: ")
