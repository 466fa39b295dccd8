"""Submissions by the real daemon: as who asks, kept over kills and restarts, gone when they are over."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobqueued.child.contract import unix_socket
from jobqueued.control.protocol.varlink import Decoder, encode
from tests.support.client import become, environment, facts, run
from tests.support.host import Host, wait_for
from tests.support.stranger import as_user, public
from tests.support.stranger import become as as_other

SOMEBODY = 1
USER = pwd.getpwuid(SOMEBODY).pw_name
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A daemon."""
    host = Host(tmp_path / "host")
    host.start()
    yield host
    if not host.daemon_ended():
        host.stop()
    host.kill_small_ones()


def submit(host: Host, command: Any = "true", **rest: Any) -> dict[str, Any]:
    """Hand in a command."""
    keys = {"command": command, **rest.pop("keys", {})}
    return host.call("Submit", submission={"keys": keys, **rest})


def left(host: Host) -> list[str]:
    """The submissions that are not over."""
    return [it["job"] for it in host.call("Submissions")["submissions"]]


def test_it_runs_as_asked(host: Host, tmp_path: Path) -> None:
    """In its directory, with its umask and environment, once; then nothing is left but its record and output."""
    keys = {"working_directory": str(tmp_path), "umask": "0077", "environment": {"A": "a b"}}
    assert {"job": "host/1", "is_new": True, "unsaved": None} == submit(host, "pwd; umask; echo $A", keys=keys)
    answer = host.call("Await", job="host/1")
    assert (1, 1, "succeeded") == (answer["runs"], answer["succeeded"], answer["record"]["state"])
    assert f"{tmp_path}\n0077\na b\n".encode() == host.output("host/1@1")
    assert [] == left(host)
    assert [] == host.call("List")["jobs"]


def test_a_directory_that_is_gone(host: Host, tmp_path: Path) -> None:
    """The record says what is not there."""
    submit(host, keys={"working_directory": str(tmp_path / "gone")})
    record = host.call("Await", job="host/1")["record"]
    assert ("failed", True) == (record["state"], "gone: No such file or directory" in record["reason"])


def test_kept_over_kills(host: Host, tmp_path: Path) -> None:
    """What was answered is there after a SIGKILL, an array goes on where it was, and a key gives the same id, also of
    what is over.
    """
    submit(host, ["true"], key="over")
    host.call("Await", job="host/1")
    later = "2199-01-01T00:00:00Z"
    assert "host/2" == submit(host, keys={"at": later}, key="later")["job"]
    line = f'echo "$JOBQUEUE_ARRAY_INDEX" >> {tmp_path}/indexes'
    assert "host/3" == submit(host, line, array="0-22:2%3")["job"]
    for _ in range(2):
        host.kill()
        host.start()
    assert [("host/1", False), ("host/2", False)] == [
        (answer["job"], answer["is_new"]) for answer in (submit(host, key="over"), submit(host, key="later"))
    ]
    assert 12 == host.call("Await", job="host/3")["succeeded"]
    assert list(range(0, 23, 2)) == sorted(map(int, (tmp_path / "indexes").read_text().split()))
    assert ["host/2"] == left(host)
    assert 0 == host.call("Withdraw", job="host/2")["running"]
    wait_for(lambda: not left(host))
    record = host.record("host/2@1")
    assert record is not None
    assert "withdrawn by root" == record["reason"] or os.geteuid() != 0


def test_withdrawn_with_all_that_is_live(host: Host) -> None:
    """One command ends a batch, says how many waited, and without --stop how to stop the rest."""
    words = ("--root", host.root, "submit", "--name", "batch", "--array", "1-9%2", "--", "sleep", "99")
    assert "host/batch\n" == run(*words).stdout
    wait_for(lambda: 2 == len(host.said("run_started")))
    told = run("--root", host.root, "withdraw", "host/batch").stderr
    first = "host/batch: 7 runs waited and will not start or retry; 2 runs continue; to stop: "
    assert f"{first}jobqueuectl --root {host.root} stop host/batch\n" == told
    told = run("--root", host.root, "withdraw", "--stop", "host/batch").stderr
    assert "host/batch: 0 runs waited and will not start or retry; 2 runs are being stopped\n" == told
    wait_for(lambda: not left(host))
    records = [host.record(f"host/batch@{number}") for number in (1, 2)]
    assert ["killed"] * 2 == [record and record["state"] for record in records]


def test_a_name_without_whose_it_is(host: Host) -> None:
    """A short name such as `batch` works if one user or the host has a job of this name, even after the job ended. If
    several have one, the command names all of them and does nothing.
    """

    def told(*words: str) -> tuple[int, str]:
        done = run("--root", host.root, *words)
        return done.returncode, done.stdout + done.stderr

    sleeping = ("submit", "--name", "batch", "--array", "1-9%1", "--", "sh", "-c", "echo hello; sleep 99")
    assert (0, "host/batch\n") == told(*sleeping)
    wait_for(lambda: "hello\n" in told("logs", "host/batch")[1])
    for words, seen in (
        (("show", "batch"), "host/batch"), (("show", "batch@1"), "host/batch@1"),
        (("why", "batch"), "host/batch@2"), (("logs", "batch"), "hello\n"),
        (("resize", "batch", "2"), "host/batch: 2 runs at a time"),
        (("timeline", "batch"), "host/batch"), (("pause", "batch"), "host/batch is paused"),
        (("next", "batch"), "host/batch is paused"), (("resume", "batch"), "host/batch is resumed"),
        (("skip-next", "batch"), "host/batch has no scheduled start"), (("retry", "batch@1"), "host/batch@1"),
        (("rerun", "batch@1"), "host/batch"), (("run", "batch"), "host/batch"),
        (("submit", "--after", "any:batch", "--", "true"), "host/"),
        (("stop", "batch@8"), "host/batch@8 skipped"), (("stop", "batch"), "host/batch@1 "),
        (("withdraw", "--stop", "batch"), "waited and will not start or retry; "),
    ):  # fmt: skip
        name = next(word.removeprefix("any:") for word in words if "batch" in word)
        (_, text), found = told(*words), f"{name}: host/{name}\n"
        assert (True, True) == (found in text, seen in text.replace(found, "", 1)), text
    wait_for(lambda: not left(host))
    over = f"host/batch has ended; its runs: jobqueuectl --root {host.root} history host/batch\n"
    for words, code, seen in (
        (("list", "batch"), 1, over), (("list", "host/batch"), 1, over), (("show", "batch"), 1, over),
        (("why", "batch"), 1, over), (("withdraw", "batch"), 1, over), (("history", "batch"), 0, "host/batch@1"),
        (("history", "--stats", "batch"), 0, "host/batch"), (("logs", "batch"), 0, "hello\n"),
        (("show", "batch@9"), 0, "withdrawn by "),
    ):  # fmt: skip
        name, (found, text) = words[-1], told(*words)
        said = "" if "list" in words else f"{name}: host/{name}\n"
        assert (code, True, True) == (found, said in text, seen in text.replace(said, "", 1)), (words, text)
    code, text = told("show", "no-batch")
    assert (1, True) == (code, "no such job: no-batch; see: jobqueuectl" in text), text


def test_a_job_of_a_file_is_no_submission(host: Host) -> None:
    """withdraw and resize name the job's kind, and what to do instead."""
    host.write("a.yaml", "jobs: {flaky: {command: 'true'}}")
    wait_for(lambda: host.call("List")["jobs"])
    told = "Error: refused: flaky is a job of a file, not a submission; "
    pause = f"to start no more runs: jobqueuectl --root {host.root} pause flaky\n"
    for words, remedy in (
        (("withdraw", "flaky"), pause),
        (("resize", "flaky", "4"), "in YAML files, `concurrency` limits a job's live runs\n"),
    ):
        shown = run("--root", host.root, *words)
        assert (1, told + remedy) == (shown.returncode, shown.stderr)


def test_the_progress_of_a_batch(host: Host, tmp_path: Path) -> None:
    """`list`, also by the name without whose it is, and `show` say how much is done, failed, live and to come."""
    (tmp_path / "gate").mkdir()
    wait = f"until [ -e {tmp_path}/gate/$JOBQUEUE_ARRAY_INDEX ]; do sleep 0.05; done"
    script = f"[ $JOBQUEUE_ARRAY_INDEX != 2 ] || exit 3; {wait}"
    assert 0 == run("--root", host.root, "submit", "--name", "batch", "--array", "1-9%3", "--", script).returncode
    (tmp_path / "gate" / "1").touch()
    wait_for(lambda: 2 == len(host.said("run_ended")) and 5 == len(host.said("run_started")))
    (row,) = host.call("List")["jobs"]
    batch = row["batch"]
    assert (9, 2, 1, 3, 4, True) == (
        *(batch[it] for it in ("runs", "done", "failed", "running", "waiting")),
        "left" in batch,
    )
    listed = run("--root", host.root, "list", "batch")
    assert "batch: host/batch\n" == listed.stderr
    seen = r"Running, 2 of 9 done, 1 failed, 3 running, 4 waiting, ends in ~[0-9.]+ (ms|s|min)  "
    assert re.search(seen, listed.stdout), listed.stdout
    assert "" == run("--root", host.root, "list", "host/batch").stderr
    shown = facts(run("--root", host.root, "show", "host/batch").stdout)["progress"]
    assert shown.startswith("2 of 9 done, 1 failed, 3 running, 4 waiting; expected end 2"), shown
    assert 0 == run("--root", host.root, "withdraw", "--stop", "host/batch").returncode
    wait_for(lambda: not left(host))


def test_one_that_has_failed(host: Host) -> None:
    """It is over, so in no list of jobs; `status` and `list --failed` name its last run that failed, for a day, also as
    JSON, and `status` says that not all is well.
    """
    assert 0 == run("--root", host.root, "status").returncode
    words = ("submit", "--wait", "--name", "batch", "--array", "1-4", "--", "[ $JOBQUEUE_ARRAY_INDEX -lt 3 ]")
    assert 1 == run("--root", host.root, *words).returncode
    assert 0 == run("--root", host.root, "submit", "--wait", "--", "true").returncode
    wait_for(lambda: not left(host))
    see = rf"jobqueuectl --root {host.root} show host/batch@[34]"
    line = rf"host/batch: 2 runs failed, the last .* ago: host/batch@[34] failed after .*: exit code 1; see: {see}"
    for _ in range(2):
        listed = run("--root", host.root, "list", "--failed")
        assert re.fullmatch(line + "\n", listed.stderr), listed.stderr
        status = run("--root", host.root, "status")
        wrong = "1 submission failed in the last 24 hours"
        assert (1, f"no: {wrong}") == (status.returncode, facts(status.stdout)["all is well"])
        assert re.fullmatch(line, facts(status.stdout)["failed"])
        for words in (("status",), ("list", "--failed")):
            document = json.loads(run("--root", host.root, *words, "--json").stdout)
            assert [("host/batch", 2, "failed")] == [
                (one["job"], one["failed"], one["last"]["state"]) for one in document["failed_submissions"]
            ]
            assert [wrong] == document.get("unwell", [wrong])
        assert "" == run("--root", host.root, "list", "--failed", "other*").stderr.partition("host/")[1]
        host.kill()
        host.start()


def test_more_at_a_time(host: Host) -> None:
    """The number of runs at a time is another at once and after a restart; a single run has none."""
    for words in (["--array", "1-9%2"], []):
        assert 0 == run("--root", host.root, "submit", *words, "--", "sleep", "99").returncode
    wait_for(lambda: 3 == len(host.said("run_started")))
    told = run("--root", host.root, "resize", "host/1", "4").stderr
    assert "host/1: 4 runs at a time (before: 2)\n" == told
    wait_for(lambda: 5 == len(host.said("run_started")))
    host.kill()
    host.start()
    assert 4 == next(row["concurrency"] for row in host.call("List")["jobs"] if row["id"] == "host/1")
    shown = run("--root", host.root, "resize", "host/2", "4")
    refused = "Error: refused: host/2 has only one run; expected a submission with --array\n"
    assert (1, refused) == (shown.returncode, shown.stderr)
    assert "no such job: host/7" in run("--root", host.root, "resize", "host/7", "4").stderr


@pytest.mark.parametrize("how", ["removed", "broken", "older"])
def test_a_key_outlives_state_db(host: Host, how: str) -> None:
    """With a state.db that is lost, or older than the records, a key of what is over gives the same id, and nothing
    runs again; of an array, too, and of one that was withdrawn.
    """
    host.stop()
    shutil.copytree(host.root / "state", host.root / "before")
    host.start()
    asked: list[dict[str, Any]] = [{"key": "one"}, {"key": "many", "array": "1-3"}, {"key": "named", "name": "named"}]
    ids = [submit(host, **it)["job"] for it in asked]
    for job in ids:
        host.call("Await", job=job)
    ids.append(submit(host, keys={"at": "2199-01-01T00:00:00Z"}, key="withdrawn")["job"])
    host.call("Withdraw", job=ids[-1])
    wait_for(lambda: not left(host))
    host.stop()
    match how:
        case "removed":
            (host.root / "state" / "state.db").unlink()
        case "broken":
            (host.root / "state" / "state.db").write_bytes(b"noise" * 1000)
        case "older":
            shutil.rmtree(host.root / "state")
            (host.root / "before").rename(host.root / "state")
    for _ in range(2):
        host.start()
        again = [submit(host, **it) for it in (*asked, {"key": "withdrawn"})]
        assert [(job, False) for job in ids] == [(it["job"], it["is_new"]) for it in again]
        host.stop()
    assert 1 == len(host.said("trouble"))


@pytest.mark.parametrize("how", ["removed", "older"])
def test_a_key_of_an_array_whose_rest_is_lost(host: Host, tmp_path: Path, how: str) -> None:
    """Records and run directories outlive state.db, runs that have not started do not: a repeat with the key is
    refused and names them, while the run that was live lives, and when it has ended.
    """
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    host.stop()
    shutil.copytree(host.root / "state", host.root / "before")
    host.start()
    line = f'[ "$JOBQUEUE_ARRAY_INDEX" = 1 ] || read x < {gate}'
    asked: dict[str, Any] = {"command": line, "key": "many", "array": "1-5%1"}
    assert "host/1" == submit(host, **asked)["job"]
    wait_for(lambda: 2 == len(host.said("run_started")))
    host.kill()
    shutil.rmtree(host.root / "state")
    if how == "older":
        (host.root / "before").rename(host.root / "state")
    host.start()
    refused = "submission host/1 has this key, but nothing is saved about its runs 3 to 5"
    assert submit(host, **asked)["reason"].startswith(refused)
    gate.write_text("go\n")
    wait_for(lambda: host.record("host/1@2") is not None)
    assert submit(host, **asked)["reason"].startswith(refused)
    assert [("host/2", True), ("host/2", False)] == [
        (it["job"], it["is_new"]) for it in (submit(host, key="rest", array="3-5") for _ in range(2))
    ]


def test_what_ended_while_nobody_looked(host: Host, tmp_path: Path) -> None:
    """One that waits for another starts when that has ended, though the scheduler was dead at the time."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    submit(host, f"read x < {gate}")
    submit(host, after=["host/1"])
    assert ["host/1", "host/2"] == left(host)
    wait_for(lambda: host.call("Why", run="host/2@1")["why"]["reasons"] == ["it starts after host/1"])
    host.kill()
    gate.write_text("go\n")
    wait_for(lambda: host.record("host/1@1") is not None)
    host.start()
    assert 1 == host.call("Await", job="host/2")["succeeded"]
    assert "Refused" not in str(submit(host, after=["host/1"]))
    assert "host/77 does not exist" in submit(host, after=["host/77"])["reason"]


def test_after_what_has_failed(host: Host, tmp_path: Path) -> None:
    """It is taken like what comes after what fails later, with the same end, record and exit status for who waits."""
    submit(host, "false")
    host.call("Await", job="host/1")
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    submit(host, f"read x < {gate}; false")
    before, behind = (submit(host, after=[it])["job"] for it in ("host/2", "host/1"))
    gate.write_text("go\n")
    found = [host.call("Await", job=job) for job in (before, behind)]
    assert [(1, 0, "skipped")] * 2 == [(it["runs"], it["succeeded"], it["record"]["state"]) for it in found]
    assert ["after host/2: 1 run did not succeed", "after host/1: it has not succeeded"] == [
        it["record"]["reason"] for it in found
    ]
    assert 1 == host.call("Await", job=submit(host, after=["any:host/1"])["job"])["succeeded"]


@needs_root
def test_users() -> None:
    """A user submits, sees and withdraws what is the user's own; what is root's, and burdens others, is refused."""
    with public() as root:
        host = Host(root / "host")
        (root / "host" / "jobqueued.yaml").write_text("users: {waiting: 3, deny: [bin]}\n")
        host.start()
        try:
            (root / "host" / "run").chmod(0o755)

            def told(method: str, uid: int = SOMEBODY, **asked: Any) -> Any:
                return as_user(uid, lambda: host.call(method, **asked))

            def asks(uid: int = SOMEBODY, **keys: Any) -> Any:
                rest = {name: keys.pop(name) for name in ("after", "array", "tool") if name in keys}
                return told("Submit", uid, submission={"keys": {"command": "id -un", **keys}, **rest})

            submit(host, "sleep 100")
            assert f"{USER}/1" == asks()["job"]
            assert f"{USER}\n".encode() == (host.call("Await", job=f"{USER}/1") and host.output(f"{USER}/1@1"))
            later = "2199-01-01T00:00:00Z"
            assert f"{USER}/2" == asks(at=later)["job"]
            assert [f"{USER}/2"] == [it["job"] for it in told("Submissions")["submissions"]]
            assert [] == told("Submissions", 2)["submissions"]
            assert f"{USER}/3" == asks(stdin="a secret", tags=["at:a"], at=later)["job"]
            assert ["", "a secret"] == [it["stdin"] for it in told("Submissions")["submissions"]]
            assert 0 == told("Withdraw", job=f"{USER}/3")["running"]
            assert "PermissionDenied" in str(told("Withdraw", job="host/1"))
            assert "NoSuchJob" in str(told("Withdraw", 2, job=f"{USER}/2"))
            assert "may not submit" in asks(2)["reason"]
            for keys in (
                {"exclusive": True}, {"priority": 1}, {"nice": -1},
                {"user": "root"}, {"locks": [{"name": "x", "units": 2}]}, {"after": ["host/1"]},
                {"notify": {"email": "a@example.org"}}, {"array": "1-4"}, {"schedule": "* * * * *"},
            ):  # fmt: skip
                assert "Refused" in asks(**keys)["error"], keys
            secret = asks(environment_file="/etc/shadow")["job"]
            assert "Permission denied" in host.call("Await", job=secret)["record"]["reason"]
            assert "is not in group" in host.call("Await", job=asks(group="root")["job"])["record"]["reason"]
            assert "NotAllowed" in asks(tool="at")["error"]
            (root / "host" / "etc").mkdir()
            (root / "host" / "etc" / "at.deny").write_text(f"{USER}\n")
            assert {"user": USER, "program": "at"}.items() <= asks(at=later).items()
            assert "job" in asks(at="2001-01-01T00:00:00Z")
            assert {"user": USER, "program": "at"}.items() <= told("Pause", job=f"{USER}/2", until=later).items()
            assert "error" not in told("Pause", job=f"{USER}/2", until="2001-01-01T00:00:00Z")
            assert "error" not in told("Pause", job=f"{USER}/2")
            assert "error" not in host.call("Pause", job=f"{USER}/2", until=later)
            (root / "host" / "etc" / "at.allow").mkdir()
            assert "NotAllowed" in asks(at=later)["error"], "a list that can't be read"
            assert "job" in asks()
            assert 0 == told("Withdraw", job=f"{USER}/2")["running"]
        finally:
            host.call("Stop", run="host/1@1")
            host.stop()
            host.kill_small_ones()


@pytest.fixture
def open_host() -> Iterator[Host]:
    """A daemon whose socket all users reach."""
    with public() as root:
        host = Host(root / "host")
        host.start()
        (root / "host" / "run").chmod(0o755)
        yield host
        if not host.daemon_ended():
            host.stop()
        host.kill_small_ones()


class Caller:
    """A call of jobqueuectl by another user, which goes on meanwhile."""

    def __init__(self, host: Host, folder: Path, *words: str) -> None:
        self._out, self._err = (Path(tempfile.mkstemp(dir=folder)[1]) for _ in range(2))
        with open(self._out, "w") as out, open(self._err, "w") as err:
            self._pid = os.fork()
            if not self._pid:
                as_other(SOMEBODY)
                become(["--root", str(host.root), *words], environment(), out.fileno(), err.fileno())

    @property
    def said(self) -> str:
        """What it has written to stderr by now."""
        return self._err.read_text()

    def end(self) -> tuple[int, str]:
        """Its exit status, and what it has written to stdout."""
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1]), self._out.read_text()


@needs_root
def test_a_name_of_two(open_host: Host, tmp_path: Path) -> None:
    """If two have a job of this name, nothing is done, and both are named, also for the user of one; a user's call
    about the only one, which needs no right of root's, is carried out.
    """
    asked = {"keys": {"command": "true", "at": "2199-01-01T00:00:00Z"}, "name": "batch"}
    assert "host/batch" == open_host.call("Submit", submission=asked)["job"]
    assert f"{USER}/batch" == as_user(SOMEBODY, lambda: open_host.call("Submit", submission=asked)["job"])
    for words in (
        ("show", "batch"),
        ("withdraw", "batch"),
        ("why", "batch"),
        ("logs", "batch"),
        ("resize", "batch", "2"),
    ):
        done = run("--root", open_host.root, *words)
        assert 1 == done.returncode
        assert f"no such job: batch; did you mean {USER}/batch and host/batch?" in done.stderr, done.stderr
    assert [f"{USER}/batch", "host/batch"] == sorted(left(open_host))
    assert 1 == Caller(open_host, tmp_path, "withdraw", "batch").end()[0]
    open_host.call("Withdraw", job="host/batch")
    wait_for(lambda: as_user(SOMEBODY, lambda: 1 == len(open_host.call("List")["jobs"])))
    caller = Caller(open_host, tmp_path, "withdraw", "batch")
    assert (0, True) == (caller.end()[0], caller.said.startswith(f"batch: {USER}/batch\n")), caller.said
    wait_for(lambda: [] == left(open_host))


@needs_root
def test_many_wait_at_once(open_host: Host, tmp_path: Path) -> None:
    """Twenty calls of `submit --wait` by one user have their ends, and leave room for that user's other calls."""
    open_host.call("Hold")
    waiting = [Caller(open_host, tmp_path, "submit", "--wait", "--", "true") for _ in range(20)]
    wait_for(lambda: len(left(open_host)) == 20)
    assert as_user(SOMEBODY, lambda: "jobs" in wait_for(lambda: _unless_busy(open_host.call("List"))))
    open_host.call("Release")
    ends = [caller.end() for caller in waiting]
    assert [0] * 20 == [code for code, _ in ends], [caller.said for caller in waiting]
    assert {f"{USER}/{number}\n" for number in range(1, 21)} == {told for _, told in ends}


def _unless_busy(answer: dict[str, Any]) -> dict[str, Any]:
    return {} if "Busy" in str(answer.get("error")) else answer


@needs_root
def test_where_there_is_no_place(open_host: Host, tmp_path: Path) -> None:
    """A call that finds all connections of its user taken says so, and is answered once one has ended."""
    reading, writing = os.pipe()
    ready, connected = os.pipe()
    held = os.fork()
    if not held:
        as_other(SOMEBODY)
        peers = [socket.socket(socket.AF_UNIX) for _ in range(4)]
        for peer in peers:
            unix_socket.connect(peer, str(open_host.root / "run/control"))
        os.write(connected, b".")
        os.read(reading, 1)
        os._exit(0)
    os.close(connected)
    try:
        os.read(ready, 1)  # else a call of ours could have a place as they come
        wait_for(lambda: "Busy" in str(as_user(SOMEBODY, lambda: open_host.call("Status"))))
        caller = Caller(open_host, tmp_path, "submit", "--", "true")
        wait_for(lambda: caller.said)
        assert f"{USER} has 4 connections already; close some; trying again\n" == caller.said
    finally:
        os.write(writing, b".")
        os.waitpid(held, 0)
        for end in (reading, writing, ready):
            os.close(end)
    assert (0, f"{USER}/1\n") == caller.end()


FLOOD = 10_000 if os.environ.get("JOBQUEUED_SOAK") else 400


def flood(host: Host) -> int:
    """Hand in that many by calls of their own, on four connections at once; so many ids were given."""
    call = encode({"method": "io.jobqueue.Submit", "parameters": {"submission": {"keys": {"command": "sleep 0.2"}}}})
    peers = [socket.socket(socket.AF_UNIX) for _ in range(4)]
    for peer in peers:
        unix_socket.connect(peer, str(host.root / "run/control"))
    given = set()
    for _ in range(FLOOD // 100):
        for peer in peers:
            peer.sendall(call * 25)
        for peer in peers:
            decoder, replies = Decoder(), list[dict[str, Any]]()
            while len(replies) < 25:
                replies += decoder.feed(peer.recv(1 << 16))
            given |= {reply["parameters"]["job"] for reply in replies}
    return len(given)


@needs_root
def test_a_flood() -> None:
    """However many one user has handed in, a run of the host starts with the next place that is free, and one of
    another user after at most one more of the flood's for each place.
    """
    with public() as root:
        host = Host(root / "host")
        (root / "host" / "jobqueued.yaml").write_text("max_running: 2\n")
        host.start()
        try:
            (root / "host" / "run").chmod(0o755)
            assert as_user(SOMEBODY, lambda: flood(host)) == FLOOD
            document = {"keys": {"command": "true"}}
            others = as_user(2, lambda: host.call("Submit", submission=document)["job"])
            submit(host, "true")
            for job, most in (("host/1", 2), (others, 4)):
                own = host.call("Await", job=job)["record"]
                records = [host.record(f"{USER}/{number}@1") for number in range(1, FLOOD + 1)]
                between = [it for it in records if it and own["queued"] < (it["started"] or "") < own["started"]]
                assert len(between) <= most
            assert [] != left(host)
        finally:
            host.stop()
            host.kill_small_ones()


@pytest.mark.parametrize("is_lost", [False, True], ids=["older", "lost"])
def test_no_number_is_given_again(host: Host, is_lost: bool) -> None:
    """Neither where state.db is lost, or older than the records, nor at the starts after that."""
    host.call("Await", job=submit(host)["job"])
    host.stop()
    shutil.copytree(host.root / "state", host.root / "older")
    host.start()
    host.call("Await", job=submit(host)["job"])
    host.kill()
    shutil.rmtree(host.root / "state")
    if not is_lost:
        shutil.copytree(host.root / "older", host.root / "state")
    for end in (host.kill, host.stop):
        host.start()
        end()
    host.start()
    assert "host/3" == submit(host)["job"]


def test_a_key_that_was_used(host: Host) -> None:
    """That nothing new is handed in is said; an empty key is none that somebody meant; one output is of one kind."""
    first, second = (run("--root", host.root, "submit", "--key", "k", "--", "true") for _ in range(2))
    assert (0, "host/1\n", "") == (first.returncode, first.stdout, first.stderr)
    again = "host/1 was submitted earlier with this key; nothing new was submitted\n"
    assert (0, "host/1\n", again) == (second.returncode, second.stdout, second.stderr)
    for words in (["--key", ""], ["--json", "--follow"]):
        assert 2 == run("--root", host.root, "submit", *words, "--", "true").returncode
    assert "host/2" == run("--root", host.root, "submit", "--", "true").stdout.strip()
