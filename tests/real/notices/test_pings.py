"""Pings by the notifier, and by a real daemon: what a monitor outside hears, and what it hears no more."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobqueued.child.notifier import ping
from jobqueued.child.notifier.main import send
from tests.support import REPO
from tests.support.host import Host, wait_for
from tests.support.receivers import WebServer, answer
from tests.support.users import ME

OK = answer("200 OK", b"OK")


def order(*urls: str, body: str | None = None, **fields: Any) -> bytes:
    """The pings of these URLs, numbered from 1, as the notifier gets them."""
    pings = [{"number": number, "url": url, "body": body, **fields} for number, url in enumerate(urls, 1)]
    event = {"event": "ping", "host": "", "at": "", "summary": "", "pings": pings}
    notice = {"version": 1, "id": "p", "channel": "ping", "target": "x", "settings": {"timeout": 5}, "event": event}
    return json.dumps(notice).encode()


class TestNotifier:
    """What it asks for, and what it says of that."""

    def test_words_are_posted(self) -> None:
        """With a body it is a POST, without one a GET, over TLS with a certificate that is trusted only."""
        with WebServer(OK) as web:
            assert "1 sent\nsent" == send(order(f"{web.url}/uuid/start?rid=1", body="bäckup@1 failed\n"))
            assert "1 sent\n2 sent\nsent" == send(order(f"{web.url}/beat", f"http://me:pw%40@127.0.0.1:{web.port}?x"))
        post, get, own = web.requests
        assert ("POST", "/uuid/start?rid=1", "bäckup@1 failed\n".encode()) == (post.method, post.path, post.body)
        assert ("GET", "/beat", "GET", "/?x") == (get.method, get.path, own.method, own.path)
        assert "Basic bWU6cHdA" == own.headers["authorization"]
        with WebServer(OK, secure=True) as web:
            assert send(order(f"{web.url}/uuid")).startswith(f"never {web.url}/…: its certificate is refused")

    def test_each_has_its_verdict(self) -> None:
        """A check that does not exist, or has enough for now, is nothing to the others."""
        said = {"/no": answer("404 Not Found"), "/much": answer("429 Slow Down", Retry_After="7")}
        with WebServer(lambda request: said.get(request.path, OK)) as web:
            verdicts = send(order(*(f"{web.url}/{name}" for name in ("a", "no", "much", "b")))).splitlines()
        assert ["1 sent", "4 sent", "sent"] == [verdicts[0], *verdicts[3:]]
        assert verdicts[1].startswith("2 never check the URL; ")
        assert verdicts[2].startswith("3 later 7 ")

    @pytest.mark.parametrize(
        "fault", [answer("500 Oops"), answer("302 Elsewhere", Location="/x"), b"nonsense\r\n", b""]
    )
    def test_a_receiver_that_is_away(self, fault: bytes) -> None:
        """What is wrong with it is said once, and nothing more is tried there; no secret is in it."""
        with WebServer(fault) as web:
            lines = send(order(f"{web.url}/secret-uuid-1?key=secret-key", f"{web.url}/secret-uuid-2")).splitlines()
        if b"302" in fault:
            assert ["1 never", "2 never", "sent"] == [line[:7] for line in lines]
        else:
            (line,) = lines
            assert line.startswith(f"later 0 {web.url}/…")
            assert {request.path for request in web.requests} == {"/secret-uuid-1?key=secret-key"}
        assert "secret" not in "".join(lines)

    def test_nobody_listens_or_answers(self) -> None:
        """It takes no longer than its time."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            data = order(f"http://127.0.0.1:{port}/a", f"http://127.0.0.1:{port}/b").replace(
                b'"timeout": 5', b'"timeout": 0.2'
            )
            assert "no answer within" in (said := send(data)) or "not sent within" in said
            assert said.startswith("later 0 ")
        assert send(order(f"http://127.0.0.1:{port}/a")).endswith("Connection refused")

    def test_how_long_it_has_waited(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The time that is said is the one for which an answer was waited for."""
        monkeypatch.setattr(ping, "_ANSWER_SECONDS", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = f"http://127.0.0.1:{server.getsockname()[1]}"
            assert f"later 0 {url}/…: no answer within 0.2 s" == send(order(f"{url}/a"))

    def test_a_connection_that_was_closed_meanwhile(self) -> None:
        """A server may keep it for another request, or not."""
        with WebServer(OK) as web:  # it says HTTP/1.1, and closes
            assert "1 sent\n2 sent\n3 sent\nsent" == send(order(*[f"{web.url}/{n}" for n in range(3)]))

    def test_an_answer_without_end(self) -> None:
        """Nobody reads it all."""
        with WebServer(answer("200 OK", b"x" * 100).replace(b"100", b"9000000000"), "repeat") as web:
            assert "1 sent\n2 sent\nsent" == send(order(f"{web.url}/a", f"{web.url}/b"))
            assert web.gave_up.wait(20)

    def test_too_late(self) -> None:
        """What says "now" is not sent when that is over."""
        with WebServer(OK) as web:
            assert "later 0 it expired before it could be sent" == send(order(f"{web.url}/a", until=0.001))
            assert "1 sent\nsent" == send(order(f"{web.url}/a", until=1e12))
        assert 1 == len(web.requests)


ALONE = """
import json, os, sys
from jobqueued.child import sending
from jobqueued.child.start import spawn
spawn.become_subreaper()
document = os.memfd_create("notice")
os.write(document, json.dumps({"user": None, "notice": json.loads(sys.argv[1])}).encode())
print(json.dumps(sending.send(document)))
"""


def test_the_way_of_verdicts() -> None:
    """Each part with its number, and the rest."""
    with WebServer(lambda request: OK if request.path == "/a" else answer("404 No")) as web:
        document = order(f"{web.url}/a", f"{web.url}/b").decode()
        done = subprocess.run(
            [sys.executable, "-c", ALONE, document], capture_output=True, text=True, timeout=30, check=True, cwd=REPO
        )
    last, parts = json.loads(done.stdout)
    assert ("sent", "1 sent", "2 never check the URL") == (last, parts[0], parts[1].partition(";")[0])


class Pinging(Host):
    """A host whose monitor listens at `web`."""

    web: WebServer

    def begin(self, jobs: str, heartbeat: str = "") -> None:
        beat = f"heartbeat: {{url: '{self.web.url}/beat', every: {heartbeat}}}\n" if heartbeat else ""
        (self.root / "jobqueued.yaml").write_text(f"{beat}notifier: {ME.pw_name}\n")
        self.write("jobs.yaml", jobs)
        self.begin_again()

    def begin_again(self) -> None:
        self.start("--config", str(self.root / "jobqueued.yaml"))

    def paths(self) -> list[str]:
        """What was asked for, without the run ids."""
        return [request.path.partition("?")[0] for request in self.web.requests]


@pytest.fixture
def pinging(tmp_path: Path) -> Iterator[Pinging]:
    host = Pinging(tmp_path / "host")
    with WebServer(OK) as host.web:
        yield host
        host.close()


def test_runs_of_a_daemon(pinging: Pinging) -> None:
    """A start, a success and a failure, each with the id of its run; nobody is shown where they go."""
    check = f"{pinging.web.url}/very-secret-uuid"
    pinging.begin(
        "jobs:\n"
        f"  a: {{command: 'echo done; until test -e {pinging.root}/go; do sleep 0.05; done', ping: '{check}'}}\n"
        f"  b: {{command: 'echo oops; exit 3', ping: {{url: '{check}-b', output: false}}}}\n"
        "  quiet: {command: 'true'}\n"
    )
    run = pinging.run("a")
    wait_for(lambda: pinging.paths() == ["/very-secret-uuid/start"], why="the start")
    (pinging.root / "go").touch()
    pinging.wait(run)
    wait_for(lambda: pinging.paths()[1:] == ["/very-secret-uuid"], why="the end")
    start, end = pinging.web.requests
    assert start.path.partition("?")[2] == end.path.partition("?")[2] != ""
    assert (b"", b"a@1 succeeded", b"\ndone\n") == (start.body, end.body[:13], end.body[-6:])
    pinging.wait(pinging.run("quiet"))
    pinging.wait(pinging.run("b"))
    wait_for(lambda: "/very-secret-uuid-b/3" in pinging.paths(), why="the failure")
    assert b"exit code 3\n" == pinging.web.requests[-1].body[-12:]
    wait_for(lambda: not pinging.call("Notices")["notices"], why="the answer")
    assert "secret" not in pinging.log() + json.dumps([pinging.call("Notices"), pinging.call("Status")])


def test_a_daemon_that_is_killed_between_end_and_ping(pinging: Pinging) -> None:
    """It comes, from whoever is next; a receiver that was away is tried again by that one at once."""
    pinging.web.__exit__()
    pinging.begin(f"jobs: {{a: {{command: 'true', ping: '{pinging.web.url}/secret-uuid'}}}}")
    pinging.wait(pinging.run("a"))
    wait_for(lambda: pinging.said("notice_failed"), why="nobody listens")
    (waiting,) = pinging.call("Notices")["notices"]
    assert ("success", f"ping {pinging.web.url}/…") == (waiting["event"], waiting["target"])
    assert any("Connection refused" in trouble for trouble in pinging.call("Status")["troubles"])
    pinging.kill()
    with WebServer(OK, port=pinging.web.port) as again:
        pinging.begin_again()
        wait_for(lambda: again.requests, why="the ping")
        wait_for(lambda: not pinging.call("Notices")["notices"], why="the answer")
    assert ["/secret-uuid"] == [request.path.partition("?")[0] for request in again.requests]
    assert [] == [trouble for trouble in pinging.call("Status")["troubles"] if "ping" in trouble]


def test_a_check_that_is_taken_out(pinging: Pinging) -> None:
    """With its key, what waits for it and the trouble with it are gone."""
    pinging.web.__exit__()
    pinging.begin(f"jobs: {{a: {{command: 'true', ping: '{pinging.web.url}/uuid'}}}}")
    pinging.wait(pinging.run("a"))
    wait_for(lambda: pinging.said("notice_failed"), why="nobody listens")
    pinging.write("jobs.yaml", "jobs: {a: {command: 'true'}}")
    wait_for(lambda: not pinging.call("Notices")["notices"], why="nothing waits")
    assert [] == [trouble for trouble in pinging.call("Status")["troubles"] if "ping" in trouble]


def test_a_heartbeat(pinging: Pinging) -> None:
    """It begins with the daemon, as a GET of its URL."""
    pinging.begin("jobs: {}", heartbeat="1d")
    wait_for(lambda: pinging.paths() == ["/beat"], why="the first")
    assert "GET" == pinging.web.requests[0].method


def test_a_heartbeat_that_nobody_takes(pinging: Pinging) -> None:
    """It is a trouble, and said, without its secret; runs go on."""
    pinging.web.__exit__()
    pinging.begin("jobs: {a: {command: 'true'}}", heartbeat="1d")
    said = wait_for(lambda: [it for it in pinging.said("trouble") if "heartbeat" in it["message"]], why="it is said")
    url = f"{pinging.web.url}/…"
    assert f"the heartbeat {url} can't be sent: {url}: Connection refused" == said[0]["message"]
    assert [said[0]["message"]] == [it for it in pinging.call("Status")["troubles"] if "heartbeat" in it]
    assert "succeeded" == pinging.wait(pinging.run("a"))["state"]


def test_a_check_that_is_taken_out_while_it_hangs(pinging: Pinging) -> None:
    """What was on its way is not tried again."""
    with WebServer(b"", "hang") as pinging.web:
        pinging.begin(f"jobs: {{a: {{command: 'true', ping: '{pinging.web.url}/uuid'}}}}")
        pinging.wait(pinging.run("a"))
        wait_for(lambda: pinging.web.requests, why="it hangs")
        pinging.write("jobs.yaml", "jobs: {b: {command: 'true'}}")
        wait_for(lambda: "error" in pinging.call("Describe", job="a"), why="the key is gone")
        assert pinging.call("Notices")["notices"]
    wait_for(lambda: not pinging.call("Notices")["notices"], why="nothing waits")
    assert [] == [trouble for trouble in pinging.call("Status")["troubles"] if "ping" in trouble]
