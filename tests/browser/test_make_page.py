"""`make page`: the page beside the daemon of `make run`."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from tests.support import REPO
from tests.support.chromium import Browser
from tests.support.client import environment
from tests.support.cockpit import PAGE, listens, opened, shows
from tests.support.host import Host, wait_for

FILE = "jobs: {disk-report: {command: 'true'}}"


def test_make_page(chromium: Browser, place: Path, host: Host) -> None:
    """It tells an address, at which are the jobs of the daemon whose root is var; Ctrl-C ends it."""
    checkout = place / "check out"
    shutil.copytree(PAGE, checkout / "cockpit")
    shutil.copy2(REPO / "Makefile", checkout)
    (checkout / "var").symlink_to(host.root)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    make = subprocess.Popen(
        ["make", "page", f"PORT={port}"], cwd=checkout, env=environment(HOME=str(place)), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        assert make.stdout is not None
        address = make.stdout.readline().decode().strip()
        wait_for(lambda: listens(port), why=address)
        opened(chromium, address, "jobs")
        shows(chromium, "disk-report")
    finally:
        os.killpg(make.pid, signal.SIGINT)
        make.wait(60)
