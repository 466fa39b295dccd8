"""The newcomer's path: what README and docs/first-steps.md have people type does what they say, and prints that."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import EXAMPLES, REPO
from tests.support.client import environment, run
from tests.support.host import DEADLINE, Host, kill, wait_for
from tests.support.papers import blocks, dialogue, lasting
from tests.support.users import ME

README, FIRST_STEPS = ((REPO / name).read_text() for name in ("README.md", "docs/first-steps.md"))
PROGRAMS = {"jobqueued": "jobqueued.__main__", "jobqueuectl": "jobqueued.ctl.main"}


def installed(directory: Path) -> None:
    """Put our programs there, as an installation does."""
    directory.mkdir(parents=True)
    for name, module in PROGRAMS.items():
        program = f"import sys; sys.argv[0] = '{name}'; from {module} import main; sys.exit(main())"
        (directory / name).write_text(f'#!/bin/sh\nexec {sys.executable} -c {shlex.quote(program)} "$@"\n')
        (directory / name).chmod(0o755)


def typed(command: str, directory: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """What a shell makes of it; on a terminal both outputs are one."""
    return subprocess.run(
        ["bash", "-ec", command], cwd=directory, env=environment(**more), check=False, timeout=2 * DEADLINE,
        text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.fixture
def mails(host: Host) -> Path:
    """The mails of a host that can send some, as its settings say, and whose clock shows UTC."""
    mails, sendmail = host.root / "mails", host.root / "sendmail"
    sendmail.write_text(f"#!/bin/sh\ncat >>{mails}\n")
    sendmail.chmod(0o755)
    settings = f"timezone: UTC\nnotifier: {ME.pw_name}\nmail: {{sendmail: {sendmail}}}\n"
    (host.root / "jobqueued.yaml").write_text(settings)
    return mails


def test_first_steps(host: Host, mails: Path, tmp_path: Path) -> None:
    """Each command of the page prints what the page says, one after the other; each mail that it speaks of comes.

    The last step needs a browser: tests/browser/test_make_page.py.
    """
    installed(tmp_path / "bin")
    host.start()
    told = {"JOBQUEUE_ROOT": str(host.root), "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    (name,) = re.findall(r"^Save this as `/etc/jobqueue\.d/(\S+)`", FIRST_STEPS, re.M)
    (schedule,) = re.findall('schedule: "(.*)"', FIRST_STEPS)
    coming = ("--root", host.root, "next", "-e", schedule, "-z", "UTC", "-n", "1")
    wait_for(lambda: not re.search(r"in [\d.]+ m?s$", run(*coming).stdout), 90, why="the clock starts none meanwhile")
    saved = 0
    for block in blocks(FIRST_STEPS.partition("\n## ")[2].partition("\n## 6. The page")[0]):
        if block.startswith("jobs:"):
            host.write(name, block)
            saved += 1
            continue
        for command, printed in dialogue(block):
            wait_for(lambda saved=saved: len(host.said("jobs_read")) == saved, why="the file is read")
            wait_for(lambda: not host.call("Notices")["notices"], why="all mails are sent")
            done = typed(command.replace("/etc/jobqueue.d", str(host.root / "jobqueue.d")), tmp_path, **told)
            assert lasting(printed) == lasting(done.stdout), command
            assert int(" failed after " in printed) == done.returncode, command
            saved += command.startswith("sed -i ")
    told_of = re.findall(r"^disk-space@\d+ \w+(?= after)", mails.read_text(), re.M)
    assert ["disk-space@2 failed", "disk-space@4 succeeded"] == told_of
    assert re.search(r"^\d+ % of / are used$", mails.read_text(), re.M)


def test_an_alarm_without_mail_and_journal(host: Host, tmp_path: Path) -> None:
    """The program that the page has made keeps it in the file that it names."""
    (made,) = re.findall(r"^    \$ (mkdir .*)$", FIRST_STEPS, re.M)
    typed(made, tmp_path)
    settings, start = (FIRST_STEPS.index(text) for text in ("\n    mkdir -p etc/", "\n    make run\n"))
    assert settings < start, "the daemon reads its settings when it starts"
    command = FIRST_STEPS[settings:].split("\n")[1].strip()
    typed(command.replace("etc/", f"{host.root}/").replace(": root", f": {ME.pw_name}"), tmp_path)
    host.write("a.yaml", f"jobs: {{disk-space: {{command: exit 1, notify: {{command: {tmp_path}/var/alarm}}}}}}")
    host.start()
    host.wait(host.run("disk-space"))
    (name,) = re.findall(r"Alarms then go to `(var/alarm\.\w+)`", FIRST_STEPS)
    kept = tmp_path / name
    wait_for(lambda: kept.exists() and kept.read_text())
    assert re.fullmatch(r"disk-space@1 failed after [\d.]+ m?s: exit code 1\n", kept.read_text())


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """The checkout of somebody who has just said `make run`, and whose libraries are there."""
    place = tmp_path / "checkout"
    (place / "etc" / "jobqueue.d").mkdir(parents=True)
    shutil.copy2(EXAMPLES, place / "etc" / "jobqueue.d")
    shutil.copy2(REPO / "etc" / "jobqueued.yaml", place / "etc")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy2(REPO / name, place / name)
    installed(place / ".venv" / "bin")
    (place / ".venv" / ".installed").touch()
    host = Host(place / "var")
    with open(host.root / "daemon.log", "ab") as log:
        make = subprocess.Popen(
            ["make", "run"], cwd=place, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(lambda: " ready: " in host.log() or make.poll() is not None, why="ready")
        yield place
        os.killpg(make.pid, signal.SIGINT)  # Ctrl-C
        make.wait(DEADLINE)
    finally:
        kill(-make.pid)
        host.close()
        print(host.log())


def test_make_run(checkout: Path) -> None:
    """What README has for the second terminal works there, and the first one says what README shows."""
    second, said = (next(it for it in blocks(README) if it.startswith(start)) for start in ("export ", "16:52:00 "))
    done = typed(second, checkout)
    assert 0 == done.returncode, done.stdout
    assert "run notes-dump@1" in lasting(done.stdout)
    for job in {line.split()[1].partition("@")[0] for line in said.splitlines()}:
        typed(f"{second.splitlines()[0]}; jobqueuectl run {job}", checkout)
    log = checkout / "var" / "daemon.log"
    wait_for(lambda: set(lasting(said)) <= set(lasting(log.read_text())), why=said)
