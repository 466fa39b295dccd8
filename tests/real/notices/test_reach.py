"""A user's channels reach no address of the host, by whatever name, spelling, redirect or proxy, unless it is allowed.

A server that listens on this host's loopback takes no connection; all that is tried is tried by the whole notifier.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any
from urllib.request import urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.child.notifier import addresses, reach
from jobqueued.child.notifier.main import send
from jobqueued.child.notifier.notice import AddressRefused
from tests.support.notices import document
from tests.support.receivers import WebServer, answer

OK = answer("200 OK")


def users(channel: str, target: str, *permitted: str, event: dict[str, Any] | None = None, **settings: Any) -> str:
    """The verdict on a notice of a user's."""
    whole = json.loads(document(channel, target, event, **settings))
    return send(json.dumps({**whole, "user": "alice", "reach": permitted}).encode())


@contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[tuple[int, list[object]]]:
    """A port of this host's where connections are counted afterwards."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken: list[object] = []
    with socket.create_server((host, 0), family=family) as listener:
        listener.setblocking(False)
        yield listener.getsockname()[1], taken
        with suppress(BlockingIOError):
            taken.append(listener.accept()[1])


def own_address() -> str:
    """The address of this host from which it would send; "": it has none but loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        return str(asking.getsockname()[0])


HOSTS = (
    "127.0.0.1", "localhost", "127.1", "127.255.255.254", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "0",
    "0.0.0.0", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::1]", "[::]", "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "169.254.169.254", "[::ffff:169.254.169.254]", "[fd00:ec2::254]",
    "100.100.100.200", "224.0.0.1", "255.255.255.255", "[fe80::1%lo]", "[ff02::1%lo]",
)  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_no_spelling_of_an_address_of_the_host(host: str) -> None:
    """As a webhook, as a ping and as a proxy; nothing is connected, and the verdict says what would allow it."""
    with listening() as (port, taken):
        url = f"http://{host}:{port}/x"
        ping = {
            "event": "ping",
            "host": "",
            "at": "",
            "summary": "",
            "pings": [{"number": 1, "url": url, "body": None}],
        }
        told = [users("webhook", url), users("ping", "x", event=ping), users("webhook", "http://192.0.2.1/", proxy=url)]
    assert ([], []) == (taken, [it for it in told if not it.startswith("never ")])
    assert all("use another address, unless root permits this one with `users: {reach: ['" in it for it in told)


def test_an_address_of_an_interface() -> None:
    """That of a network card is this host, too: asked of the kernel, whatever its name is."""
    host = own_address() or pytest.skip("this host has loopback only")
    with listening(host) as (port, taken):
        told = users("webhook", f"http://{host}:{port}/")
        mapped = users("webhook", f"http://[::ffff:{host}]:{port}/")
    assert [] == taken
    assert f"{host}:{port} is an address of this host" in told
    assert f"{host}:{port} is an address of this host" in mapped


def test_a_name_that_leads_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a name server says is looked at when it is used, so another answer later changes nothing."""
    answers = ["192.0.2.1", "127.0.0.1"]
    whole = socket.getaddrinfo

    def rebound(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        return whole(answers.pop() if host == "evil.example" else host, port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    with listening() as (port, taken):
        told = users("webhook", f"http://evil.example:{port}/")
    assert [] == taken
    assert told.startswith(f"never http://evil.example:{port}: 127.0.0.1:{port} is an address of this host")


def test_what_the_site_permits() -> None:
    """That address and port, however the URL spells it, and no other; to the host's own channels all is open."""
    with WebServer(OK) as web, listening() as (other, taken):
        permitted = f"127.0.0.1:{web.port}"
        for host in ("127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"):
            assert "sent" == users("webhook", f"http://{host}:{web.port}/", permitted)
        assert "never " == users("webhook", f"http://127.0.0.1:{other}/", permitted)[:6]
        assert "never " == users("webhook", f"http://127.0.0.2:{web.port}/", permitted)[:6]
        assert 4 == len(web.requests)
        assert "sent" == send(document("webhook", web.url))
    assert [] == taken


def test_a_redirect_leads_nowhere() -> None:
    """A receiver that is allowed sends nobody on: a webhook follows none, and a library that does is refused."""
    with listening() as (port, taken):
        away = answer("302 Found", b"", Location=f"http://127.0.0.1:{port}/secret")
        with WebServer(away) as web:
            permitted = f"127.0.0.1:{web.port}"
            assert "redirects are not followed" in users("webhook", web.url, permitted)
            with pytest.raises(OSError, match="use another"), reach.bounded([permitted]):
                urlopen(web.url, timeout=5)
    assert [] == taken


def test_apprise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it connects to by itself, and whatever it makes of the refusal, which is told."""
    module = ModuleType("apprise")

    class Apprise:
        def add(self, url: str) -> bool:
            self.url = url
            return True

        def notify(self, **_fields: object) -> bool:
            try:
                urlopen(f"http://127.0.0.1:{self.url.rpartition(':')[2]}/", timeout=5)
            except Exception:  # as it logs it, and goes on
                return False
            return True

    module.Apprise = Apprise  # type: ignore[attr-defined]
    module.NotifyType = type("NotifyType", (), {"FAILURE": "failure", "SUCCESS": "success"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "apprise", module)
    with listening() as (port, taken):
        told = users("apprise", f"json://secret:{port}")
    assert [] == taken
    assert told.startswith(f"never apprise: json://: 127.0.0.1:{port} is an address of this host; use another address")


def test_every_way_out() -> None:
    """Connections with and without exceptions, datagrams, and sockets that are not the Internet's."""
    with reach.bounded([]), socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        with pytest.raises(AddressRefused):
            tcp.connect(("127.0.0.1", 1))
        with pytest.raises(AddressRefused):
            tcp.connect_ex(("127.0.0.1", 1))
        with pytest.raises(AddressRefused):
            tcp.connect(("localhost", 1))
        with pytest.raises(AddressRefused):
            udp.sendto(b"x", ("127.0.0.1", 1))
        with pytest.raises(AddressRefused):
            udp.sendmsg([b"x"], [], 0, ("127.0.0.1", 1))
        with socket.socket(socket.AF_UNIX) as unix, pytest.raises(AddressRefused):
            unix.connect("/run/docker.sock")
        assert "family" in str(reach.refusal())
        udp.connect(("192.0.2.1", 9)) if own_address() else None
    assert reach.refusal() is None  # the next notice does not fail for it
    with socket.socket(type=socket.SOCK_DGRAM) as udp:  # the bound ends with the notice
        udp.sendto(b"x", ("127.0.0.1", 9))


@given(st.ip_addresses(v=4))
def test_an_address_of_ipv4_within_one_of_ipv6(ip: Any) -> None:
    """Is taken for what it holds."""
    for text in (f"::ffff:{ip}", f"64:ff9b::{ip}"):
        assert ip == addresses.meant(text)
    assert ip == addresses.meant(str(ip))
    assert f"{ip}:80" == addresses.spelled(ip, 80)
