"""Cockpit without systemd and PAM: its web server, whose sessions have the rights of one user, and our page in it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support import REPO
from tests.support.chromium import Browser
from tests.support.host import wait_for

PAGE = REPO / "cockpit"
_SERVER, _BRIDGE = "/usr/lib/cockpit/cockpit-ws", "/usr/bin/cockpit-bridge"


def install(directory: Path, root: Path) -> None:
    """Put our page where a server looks for packages, for the daemon of that root."""
    page = directory / "cockpit" / "jobqueued"
    shutil.copytree(PAGE, page)
    for name, here in (("varlink.js", '"/run/jobqueue/'), ("manifest.json", '"/run/jobqueue"')):
        text = (page / name).read_text()
        assert here in text
        (page / name).write_text(text.replace(here, here.replace("/run/jobqueue", str(root / "run"))))
    for path in (directory, *directory.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


@contextlib.contextmanager
def bus(directory: Path, uid: int = 0) -> Iterator[str]:
    """A message bus for one user, in the place of the system's, which the whole of Cockpit wants; its address."""
    address = f"unix:path={directory}/bus-{uid}/bus"
    (directory / f"bus-{uid}").mkdir(exist_ok=True)
    os.chown(directory / f"bus-{uid}", uid, uid)
    command = ["dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={address}", "--print-address"]
    daemon = subprocess.Popen(command, stdout=subprocess.PIPE, user=uid, group=uid, extra_groups=[])
    try:
        assert daemon.stdout is not None
        assert daemon.stdout.readline(), "dbus-daemon has ended"
        yield address
    finally:
        daemon.kill()
        daemon.communicate()


@contextlib.contextmanager
def cockpit(directory: Path, uid: int = 0, **more: str) -> Iterator[str]:
    """A server with the packages in `directory`, for a user, with `more` in its environment; our page's address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    home = directory / f"home-{uid}"
    home.mkdir(exist_ok=True)
    os.chown(home, uid, uid)
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_DATA_HOME": str(directory),
                   "XDG_RUNTIME_DIR": str(home), "LANG": "C.UTF-8", **more}  # fmt: skip
    server = subprocess.Popen(
        [_SERVER, "--no-tls", "-a", "127.0.0.1", "-p", str(port), f"--local-session={_BRIDGE}"],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, user=uid, group=uid, extra_groups=[],
    )  # fmt: skip
    try:
        wait_for(lambda: listens(port) or server.poll() is not None, why="cockpit-ws")
        assert server.poll() is None, "cockpit-ws has ended"
        yield f"http://127.0.0.1:{port}/cockpit/@localhost/jobqueued/index.html"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@contextlib.contextmanager
def old_daemon(path: Path, answers: dict[str, Any]) -> Iterator[None]:
    """A daemon at this socket that has these methods only, with these answers, or functions of the parameters."""

    class Calls(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            data = b""
            while byte := self.rfile.read(1):
                if byte != b"\0":
                    data += byte
                    continue
                self.wfile.write(json.dumps(reply(json.loads(data))).encode() + b"\0")
                data = b""

    def reply(call: dict[str, Any]) -> dict[str, Any]:
        method = call["method"].removeprefix("io.jobqueue.")
        if method not in answers:
            return {"error": "org.varlink.service.MethodNotFound", "parameters": {"method": method}}
        answer = answers[method]
        return {"parameters": answer(call["parameters"]) if callable(answer) else answer}

    with socketserver.ThreadingUnixStreamServer(str(path), Calls) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def opened(chromium: Browser, address: str, view: str, *, width: int = 1100, dark: bool = False) -> None:
    """Open a view, and wait until the daemon has answered."""
    chromium.look(width, 800, dark=dark)
    chromium.open("about:blank")
    chromium.open(f"{address}#/{view}")
    chromium.until("document.querySelector('#host strong')")
    chromium.until("!document.querySelector('#view .table table[hidden]') || document.querySelector('#view .quiet')")


def body(chromium: Browser) -> str:
    """What the page has in words."""
    return str(chromium.tell("document.body.innerText"))


def shows(chromium: Browser, text: str) -> None:
    """Wait until the page has this text."""
    chromium.until(f"document.body.innerText.includes({json.dumps(text)})")


def press(chromium: Browser, text: str, within: str = "body") -> None:
    """Press the button of this text, once it is there."""
    find = f"[...document.querySelectorAll('{within} button')].find(it => it.textContent === {json.dumps(text)})"
    chromium.until(find)
    chromium.tell(f"{find}.focus(); {find}.click()")
