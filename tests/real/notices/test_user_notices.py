"""Notices of users' jobs: what a user named is sent as that user, and with what that user may read."""

from __future__ import annotations

import base64
import json
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobqueued.child import sending
from jobqueued.child.processes import tree
from jobqueued.child.start.spawn import StartedProcess
from tests.support import REPO
from tests.support.host import Host, wait_for
from tests.support.receivers import WebServer, answer
from tests.support.stranger import as_user, public
from tests.support.users import NEEDS_ROOT, OTHER, USER

pytestmark = NEEDS_ROOT
UID = pwd.getpwnam(USER).pw_uid
NOTIFIER = pwd.getpwnam(OTHER)
SETTINGS = f"""\
notifier: {OTHER}
users: {{permit: [notify], interval: 1s, reach: [127.0.0.1:PORT]}}
mail: {{smtp: "smtp://127.0.0.1:9", from: secret-of-operators@example.org}}
"""
PROGRAM = """\
#!/bin/sh
{
echo "ids $(id -u) $(id -g) $(id -G)"
echo "caps $(grep CapEff /proc/self/status)"
env
cat
} >PLACE/new.$$ 2>&1 && mv PLACE/new.$$ PLACE/got
MORE
"""


@pytest.fixture(scope="module")
def site(open_to_users: WebServer) -> Iterator[Host]:
    """A daemon whose place everybody may enter."""
    with public() as directory:
        host = Host(directory / "host", str(REPO / "tests/support/anybodys.py"))
        host.root.chmod(0o755)
        (host.root / "jobqueued.yaml").write_text(SETTINGS.replace("PORT", str(open_to_users.port)))
        try:
            host.start()
            yield host
        finally:
            host.close()


@pytest.fixture(scope="module")
def open_to_users() -> Iterator[WebServer]:
    """A receiver on this host that the site lets users reach."""
    with WebServer(answer("200 OK")) as web:
        yield web


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of the user's."""
    with public() as directory:
        os.chown(directory, UID, -1)
        yield directory


def program(place: Path, more: str = "") -> Path:
    """A program of the user's that writes down what it is, and what it gets."""
    path = place / "page-me"
    path.write_text(PROGRAM.replace("PLACE", str(place)).replace("MORE", more))
    path.chmod(0o755)
    return path


def ended(site: Host, name: str, notify: str) -> None:
    """Let a run of a job of the user with these notices end."""
    text = f"jobs: {{{name}: {{command: 'true', notify: {{on: success, remind: 0s, {notify}}}}}}}"
    parameters: dict[str, Any] = {"name": name, "text": base64.b64encode(text.encode()).decode()}
    told = as_user(UID, lambda: site.call("UserFileSet", **parameters))
    assert "error" not in told, told
    run = as_user(UID, lambda: site.call("Run", job=f"{USER}/{name}"))["run"]
    assert "succeeded" == site.wait(run)["state"]


def error(site: Host, word: str) -> str:
    """The reason why a notice was not sent, of which the target has this word."""
    found = [it["error"] for it in site.call("Notices")["notices"] if word in it["target"] and it["error"]]
    return found[0] if found else ""


def test_a_command_is_run_as_the_user(site: Host, place: Path) -> None:
    """It has the user's ids and groups, no capability and no variable of the host's."""
    ended(site, "who", f"command: {program(place)}")
    got = wait_for(lambda: (place / "got").exists() and (place / "got").read_text(), why="the notice")
    ids, caps, *rest = got.splitlines()
    user = pwd.getpwuid(UID)
    groups = " ".join(map(str, os.getgrouplist(USER, user.pw_gid)))
    assert (f"ids {UID} {user.pw_gid} {groups}", "caps CapEff:\t0000000000000000") == (ids, caps)
    variables = {line.partition("=")[0] for line in rest[:-1]} - {"PWD", "SHLVL", "_", "OLDPWD"}
    ours = {"JOBQUEUE_EVENT", "JOBQUEUE_JOB", "JOBQUEUE_RUN", "JOBQUEUE_SUMMARY"}
    assert {"PATH", "HOME", "SHELL", "LOGNAME", "USER", "LANG", "LC_CTYPE", *ours} >= variables
    assert f"HOME={user.pw_dir}" in rest
    assert ("success", f"{USER}/who") == (json.loads(rest[-1])["event"], json.loads(rest[-1])["job"])
    assert "secret-of-operators" not in got


@pytest.mark.parametrize("how", ["plain", "link"])
def test_a_secret_is_one_that_the_user_may_read(site: Host, place: Path, how: str) -> None:
    """One of the operators', which the notifier may read, is none: neither by its path, nor by a link to it."""
    secret = site.root / f"operators-{how}"
    secret.write_text("whsec_c2VjcmV0c2VjcmV0c2VjcmV0\n")
    os.chown(secret, 0, NOTIFIER.pw_gid)
    secret.chmod(0o640)
    named = secret if how == "plain" else place / "mine"
    if how == "link":
        named.symlink_to(secret)
    ended(site, f"secret-{how}", f"webhook: {{url: 'http://{how}.invalid/x', secret_file: {named}}}")
    told = wait_for(lambda: error(site, f"{how}.invalid"), why="the refusal")
    assert told == f"{named}: Permission denied; expected a file that {USER} can read"


def test_an_address_of_the_host(site: Host, open_to_users: WebServer) -> None:
    """One that the site permits is reached; others are not, by a webhook and by a ping, though they listen."""
    with WebServer(answer("200 OK")) as closed:
        ended(
            site, "reach", f"webhook: ['{closed.url}/no', '{open_to_users.url}/yes']}}, ping: {{url: '{closed.url}/p'"
        )
        wait_for(lambda: open_to_users.requests, why="what is permitted")
        for channel in ("webhook", "ping"):
            told = wait_for(lambda it=channel: error(site, f"{it} {closed.url}"), why=f"the refusal of a {channel}")
            assert (
                f"127.0.0.1:{closed.port} is an address of this host; use another address, unless root permits" in told
            )
        assert ["/yes"] == [request.path for request in open_to_users.requests]
    assert [] == closed.requests


def test_what_a_command_leaves_ends_with_it(site: Host, place: Path) -> None:
    """A process that leaves its session lives no longer than the notice takes to be sent."""
    left = place / "left"
    more = (
        f"(trap '' TERM HUP; setsid sh -c 'echo $$ >{left}; exec sleep 300') >&- 2>&- & until [ -s {left} ]; do :; done"
    )
    ended(site, "leaves", f"command: {program(place, more)}")
    wait_for(lambda: (place / "got").exists() and left.exists(), why="the notice")
    wait_for(lambda: not Path(f"/proc/{int(left.read_text())}").exists(), seconds=10, why="the end of what it left")


def test_a_user_who_hangs_holds_up_no_notice_of_the_host(site: Host, place: Path) -> None:
    """Many channels of a user that never end take one place; what is the host's is sent meanwhile."""
    more = f"echo $$ >>{place}/hanging; exec sleep 300"
    for number in range(4):
        (place / f"p{number}").write_text(f"#!/bin/sh\n{more}\n")
        (place / f"p{number}").chmod(0o755)
    ended(site, "hangs", f"command: [{', '.join(f'{place}/p{number}' for number in range(4))}]")
    hanging = place / "hanging"
    wait_for(hanging.exists, why="the first that hangs")
    theirs = Path(f"{place}/host")
    theirs.mkdir()
    theirs.chmod(0o777)
    path = program(theirs)
    site.write("host.yaml", f"jobs: {{h: {{command: 'true', notify: {{on: success, command: {path}}}}}}}")
    wait_for(lambda: "h" in {row["id"] for row in site.call("List")["jobs"]}, why="the host's job")
    site.wait(site.run("h"))
    got = wait_for(lambda: (theirs / "got").exists() and (theirs / "got").read_text(), why="the host's notice")
    assert got.startswith(f"ids {NOTIFIER.pw_uid} ")
    assert 1 == len(hanging.read_text().split())
    as_user(UID, lambda: os.kill(int(hanging.read_text()), signal.SIGKILL))
    as_user(UID, lambda: site.call("UserFileRemove", name="hangs"))


def order(owner: dict[str, Any], barred: list[Any], channel: str = "command") -> int:
    """The order to send a notice of a user's, as a supervisor gets it."""
    event = {"pings": [{"number": 7}]} if channel == "ping" else {}
    whole = {
        "user": owner["name"], "owner": {**owner, "more_groups": []}, "barred": barred,
        "above": {"name": f"u{owner['uid']}", "caps": []}, "notice": {"channel": channel, "event": event},
    }  # fmt: skip
    descriptor = os.memfd_create("notice")
    os.write(descriptor, json.dumps(whole).encode())
    return descriptor


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The specs of processes that are started here, each of which answers the same."""
    specs: list[Any] = []

    def spawned(spec: Any, answer: int, _cgroup: object) -> Any:
        specs.append(spec)
        os.write(answer, b"7 sent\n8 sent\n7 never\nlater 0 no\n")
        return StartedProcess(os.getpid(), [])

    monkeypatch.setattr(sending.spawn, "spawn", spawned)
    monkeypatch.setattr(sending.tree, "one_ends", lambda *_: True)
    monkeypatch.setattr(sending.tree, "end_all", lambda *_: True)
    return specs


ME_AGAIN = {"uid": UID, "name": USER}


@pytest.mark.parametrize(
    ("owner", "barred", "told"),
    [
        (ME_AGAIN, [[USER], []], ""), (ME_AGAIN, [None, []], ""),
        (ME_AGAIN, [None, [USER]], "can't have jobs here, because of `users: {deny: …}`"),
        (ME_AGAIN, [["root"], []], "can't have jobs here, because of `users: {allow: …}`"),
        (ME_AGAIN, [None, [f"@{USER}"]], "can't have jobs here, because of `users: {deny: …}`"),
        ({**ME_AGAIN, "uid": UID + 1}, [None, []], f"user '{USER}' has uid {UID} on this host"),
        ({"uid": 0, "name": "root"}, [None, []], "root's jobs are in the job directory"),
        ({"uid": 0, "name": USER}, [None, []], f"user '{USER}' has uid {UID} on this host"),
        ({"uid": UID, "name": "no-such-user"}, [None, []], "no user 'no-such-user' on this host"),
    ],
)  # fmt: skip
def test_of_whom_may_have_no_jobs_nothing_is_sent(
    owner: dict[str, Any], barred: list[Any], told: str, sent: list[Any]
) -> None:
    """By name and number, when it is sent: whoever is barred, gone or another by now has no process here."""
    answer, _ = sending.send(order(owner, barred))
    assert (not told, told in answer) == (bool(sent), True)
    assert not told or answer.startswith("never ")


def test_no_verdict_on_what_was_not_asked(sent: list[Any]) -> None:
    """A process of the user's may say anything: of each ping of its own one verdict counts, and none of others."""
    assert ("later 0 no", ["7 never"]) == sending.send(order(ME_AGAIN, [None, []], "ping"))
    assert ("later 0 no", []) == sending.send(order(ME_AGAIN, [None, []]))
    assert [ME_AGAIN] * 2 == [{name: spec["owner"][name] for name in ME_AGAIN} for spec in sent]
    assert all(spec["asks_pam"] and not spec["environment"] for spec in sent)


def test_the_cgroup_of_its_user(tmp_path: Path, sent: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is in the one that all runs of its user share, which goes with it; a directory stands for it."""
    home = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    made = list[str]()
    monkeypatch.setattr(sending.tree, "one_ends", lambda *_: made.extend(map(str, tmp_path.rglob("*"))) or True)
    sending.send(order(ME_AGAIN, [None, []]), home)
    sending.send(order(ME_AGAIN, [None, []], "ping"), home)
    names = [f"u{UID}", f"u{UID}/u{UID}.notice", f"u{UID}", f"u{UID}/u{UID}.ping"]
    assert [f"{tmp_path}/{name}" for name in names] == made
    assert ([], 2) == (list(tmp_path.iterdir()), len(sent))
    os.close(home)


def test_a_process_that_cannot_be_killed(sent: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its supervisor leaves it to the launcher, which says that the notice was not sent."""
    monkeypatch.setattr(sending.tree, "end_all", lambda *_: False)
    with pytest.raises(SystemExit, match="does not end"):
        sending.send(order(ME_AGAIN, [None, []]))
    assert 1 == len(sent)


def test_patience_with_what_cannot_be_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that no signal ends is waited for no longer than was said."""
    with subprocess.Popen(["sleep", "300"]) as child:
        monkeypatch.setattr(tree, "children", lambda: [child.pid] if child.poll() is None else [])
        monkeypatch.setattr(tree, "signal_all", lambda _number: None)
        began = time.monotonic()
        assert not tree.end_all(began, 0.5)
        assert time.monotonic() - began < 20
        child.kill()
