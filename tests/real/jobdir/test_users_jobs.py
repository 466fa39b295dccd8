"""Jobs of users, as users hand them to a daemon of root's: their own and no others, within the limits of the site."""

from __future__ import annotations

import base64
import io
import json
import os
import pwd
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from jobqueued.model.users import LARGEST_FILE
from tests.support.client import run
from tests.support.crontabs import editor
from tests.support.host import Host, wait_for
from tests.support.stranger import as_user, public
from tests.support.users import NEEDS_ROOT, OTHER, STRANGER, USER

pytestmark = NEEDS_ROOT
UID = pwd.getpwnam(USER).pw_uid
NEIGHBOUR = "mail"
THEIRS = pwd.getpwnam(NEIGHBOUR).pw_uid
DENIED = "news"
CALLS = 3000
SETTINGS = f"timezone: UTC\nusers: {{jobs: 5, calls: {CALLS}, interval: 5m, deny: [{DENIED}], permit: [nice]}}\n"
HELLO = "jobs:\n  hello: {command: 'id -un', schedule: '0 3 * * *'}\n"
REFUSED, DENIAL = "io.jobqueue.Refused", {"error": "io.jobqueue.PermissionDenied", "needs": "root"}


class Told(NamedTuple):
    """What a call came to."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="module")
def site() -> Iterator[Host]:
    """A daemon whose place everybody may enter."""
    with public() as directory:
        host = Host(directory / "host")
        host.root.chmod(0o755)
        (host.root / "jobqueued.yaml").write_text(SETTINGS)
        try:
            host.start()
            yield host
        finally:
            host.close()


@pytest.fixture(autouse=True)
def clean(site: Host) -> Iterator[None]:
    """No files are there before and after each test, and everybody has calls left."""
    yield
    if site.daemon_ended():
        site.start()
    for file in site.call("UserFiles")["files"]:
        site.call("UserFileRemove", name=file["name"], user=f"{file['user']}:{file['uid']}")


def ctl(site: Host, *words: str | Path, uid: int = UID, answers: str = "", **more: str) -> Told:
    """The program as a user has it, who answers its questions so."""

    def call() -> list[Any]:
        sys.stdin = io.StringIO(answers)
        done = run("--root", str(site.root), *map(str, words), **more)
        return [done.returncode, done.stdout, done.stderr]

    return Told(*as_user(uid, call))


def ask(site: Host, method: str, uid: int = UID, **parameters: Any) -> Any:
    """The daemon's answer to a user, without the program."""
    return as_user(uid, lambda: site.call(method, **parameters))


def put(site: Host, text: str, name: str = "x", uid: int = UID, **more: Any) -> Any:
    return ask(site, "UserFileSet", uid, name=name, text=base64.b64encode(text.encode()).decode(), **more)


def jobs(site: Host) -> list[str]:
    return [row["id"] for row in site.call("List")["jobs"]]


def invalid(site: Host, job: str) -> str:
    return next((row["invalid"] or "" for row in site.call("List")["jobs"] if row["id"] == job), "no such job")


def stored(site: Host) -> dict[str, str]:
    directory = site.root / "state/users"
    return {path.name: path.read_text() for path in directory.iterdir()} if directory.exists() else {}


def written(name: str, text: str) -> Path:
    """A file for everybody to read."""
    path = Path(name)
    path.write_text(text)
    path.chmod(0o644)
    return path


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory where all users may write."""
    with public() as directory:
        directory.chmod(0o1777)
        yield directory


def test_the_life_of_a_users_file(site: Host, place: Path) -> None:
    """It is kept by the daemon, its jobs are there when the call ends, run as the user, and go with it."""
    file = written(f"{place}/backup.yaml", HELLO)
    told = ctl(site, "add", file)
    assert (0, "") == (told.status, told.err)
    first, *starts = told.out.splitlines()
    assert (f"backup is in force: {USER}/hello", 3) == (first, len(starts))
    assert all(line.endswith(f" 03:00:00 UTC  {USER}/hello") for line in starts)
    assert {f"{USER}:{UID}+backup.yaml": HELLO} == stored(site)
    found = site.run(f"{USER}/hello")
    assert ("succeeded", f"{USER}\n".encode()) == (site.wait(found)["state"], site.output(found))
    assert Told(0, HELLO, "") == ctl(site, "files", "backup")
    assert f"backup  {USER}/hello" in ctl(site, "files").out
    assert Told(0, f"removed backup with {USER}/hello\n", "") == ctl(site, "remove", "backup")
    assert ([], {}) == (jobs(site), stored(site))
    assert Told(0, f"no job files; to make one: jobqueuectl --root {site.root} edit\n", "") == ctl(site, "files")
    if os.geteuid() == 0:
        told = f"no job files; to make one: jobqueuectl --root {site.root} edit --user NAME\n"
        assert Told(0, told, "") == ctl(site, "files", uid=0)
    refused = f"Error: no job file backup; see: jobqueuectl --root {site.root} files\n"
    assert Told(1, "", refused) == ctl(site, "remove", "backup")


def test_a_text_with_an_error_changes_nothing(site: Host, place: Path) -> None:
    """All that is wrong is told at its place, by the name that the user knows."""
    put(site, HELLO)
    file = written(f"{place}/x.yaml", HELLO + "  y: {command: x, priority: 5, every: 1m}\n  z: {}\n")
    told = ctl(site, "add", file)
    lines = told.out.splitlines()
    places = ["x.yaml:3:29: y: priority", "x.yaml:3:39: y: every", "x.yaml:4:3: z: command"]
    assert (1, places) == (told.status, [line.partition(": found")[0] for line in lines[:-1]])
    assert "x: nothing was changed, because the file has 3 errors" == lines[-1]
    assert ({f"{USER}:{UID}+x.yaml": HELLO}, [f"{USER}/hello"]) == (stored(site), jobs(site))


def test_two_users_have_the_same_names(site: Host) -> None:
    """Their files, ids and locks are apart; neither sees the other's files, nor can remove them."""
    text = "jobs: {a: {command: id -un, locks: [db]}, b: {command: 'true', dependencies: [a]}}"
    for uid, name in ((UID, USER), (THEIRS, NEIGHBOUR)):
        answer = put(site, text, uid=uid)
        assert (True, [f"{name}/a", f"{name}/b"]) == (answer["stored"], [job["id"] for job in answer["jobs"]])
    for uid, name in ((UID, USER), (THEIRS, NEIGHBOUR)):
        assert [name] == [file["user"] for file in ask(site, "UserFiles", uid)["files"]]
        found = site.run(f"{name}/a")
        assert f"{name}\n".encode() == (site.wait(found), site.output(found))[1]
        (lock,) = site.call("Describe", job=f"{name}/a")["definition"]["locks"]
        assert f"{name}/db" in str(lock)
    for method, more in (("UserFiles", {}), ("UserFileGet", {"name": "x"}), ("UserFileRemove", {"name": "x"})):
        assert DENIAL == ask(site, method, user=NEIGHBOUR, **more)
    assert DENIAL == put(site, HELLO, user=NEIGHBOUR)
    assert 2 == len(stored(site))


def test_a_lock_file_is_the_users(site: Host) -> None:
    """A process of the user opens it: what that user can't open can't be had; who has it keeps flock(1) out."""
    with public() as place:
        own = place / "own"
        own.mkdir()
        os.chown(own, UID, -1)
        ask_for = f"flock -n {own}/x true || echo held"
        put(site, f"jobs: {{a: {{command: '{ask_for}', locks: [{{path: {own}/x}}]}}}}")
        put(site, f"jobs: {{b: {{command: 'true', locks: [{{path: {place}/x}}]}}}}", name="y")
        assert b"held\n" == (site.wait(found := site.run(f"{USER}/a")), site.output(found))[1]
        assert (UID, ["x"]) == ((own / "x").stat().st_uid, os.listdir(own))
        record = site.wait(site.run(f"{USER}/b"))
        assert f"lock: {place}/x: Permission denied" in record["reason"]
        (lock,) = site.call("Describe", job=f"{USER}/a")["definition"]["locks"]
        assert f"{own}/x" == lock["path"]


@pytest.mark.parametrize("name", ["../x", "x/y", ".x", "", "x" * 65, "x:1+y", "ä"])
def test_names_that_lead_nowhere(site: Host, name: str) -> None:
    """No file of another name is written, read or removed."""
    for method, more in (("UserFileGet", {}), ("UserFileSet", {"text": ""}), ("UserFileRemove", {})):
        answer = ask(site, method, name=name, **more)
        assert (REFUSED, True) == (answer["error"], "expected a name such as backup" in answer["reason"])
    assert {} == stored(site)


def test_who_may_have_none(site: Host) -> None:
    """By the settings, as there is no such user, or as it is nobody or root: the reason is told, nothing is kept."""
    by_settings = f"user '{DENIED}' can't have jobs here, because of `users: {{deny: …}}` in jobqueued.yaml"
    reasons = {
        pwd.getpwnam(DENIED).pw_uid: by_settings,
        STRANGER: "uid 65534 stands for users without a uid on this host, so it can't have jobs",
        54321: "this host has no user with the uid 54321",
        0: "root's jobs are in the job directory; for a user's files, add --user NAME",
    }  # fmt: skip
    for uid, reason in reasons.items():
        assert {"error": REFUSED, "reason": reason} == put(site, HELLO, uid=uid)
    for user in (OTHER, "no-such", "../root", ""):
        assert REFUSED == put(site, HELLO, uid=0, user=user)["error"]
    assert {} == stored(site)


def test_the_quota_of_jobs(site: Host) -> None:
    """It counts over all files, and another text of a file counts instead of the one before."""
    some = lambda names: f"jobs: {{{', '.join(f'{name}: {{command: x}}' for name in names)}}}"  # noqa: E731
    assert put(site, some("abc"), "one")["stored"]
    assert put(site, some("de"), "two")["stored"]
    answer = put(site, some("def"), "two")
    assert not answer["stored"]
    message = "found 3 jobs in addition to 3 in other files; expected at most 5 per user"
    assert message in answer["problems"][0]["message"]
    assert put(site, some("abc"), "one")["stored"]
    assert not put(site, some("abcx"), "one")["stored"]
    assert put(site, some(""), "one")["stored"]
    assert put(site, some("defgh"), "two")["stored"]
    for name in ("3", "4", "5"):
        assert put(site, "jobs: {}", name)["stored"]
    reason = "you have 5 files, but at most 5 are allowed; add the jobs to one of them"
    assert {"error": REFUSED, "reason": reason} == put(site, "jobs: {}", "6")
    assert put(site, some("z"), uid=THEIRS)["stored"], "others are not concerned"


def test_an_id_is_in_one_file(site: Host) -> None:
    """The other is named as the user knows it."""
    put(site, HELLO, "one")
    answer = put(site, HELLO, "two")
    message = f"found the id '{USER}/hello'; expected an id that no other file uses (one.yaml:2 has it)"
    assert (False, [message]) == (answer["stored"], [problem["message"] for problem in answer["problems"]])


def test_the_size_of_a_file(site: Host, place: Path) -> None:
    """At the bound it is read; beyond it the program says so, and the daemon too; of a million characters as well."""
    filler = HELLO + "#" * (LARGEST_FILE - len(HELLO))
    assert put(site, filler)["stored"]
    reason = "the file has 64 KiB; expected at most 64 KiB; divide it into several files"
    assert reason.partition(";")[2] in put(site, filler + "#")["reason"]
    file = written(f"{place}/x.yaml", HELLO * 20_000)
    told = Told(1, "", "Error: the file has more than 64 KiB, the maximum; divide it into several files\n")
    assert told == ctl(site, "add", file)
    assert {f"{USER}:{UID}+x.yaml": filler} == stored(site)


@pytest.mark.parametrize("text", ["", "  \n", "jobs: [", "\0", "jobs: {a: {command: x}, a: {command: y}}", "- " * 9000])
def test_texts_that_are_no_job_files(site: Host, text: str) -> None:
    """They are problems of the text, and nothing else."""
    answer = put(site, text)
    assert (False, True) == (answer["stored"], bool(answer["problems"]))
    assert {"error": "org.varlink.service.InvalidParameter", "parameter": "text"} == ask(
        site, "UserFileSet", name="x", text="?"
    )
    assert {} == stored(site)


def test_two_edits_at_once(site: Host) -> None:
    """The one that comes later has not seen the other, and is refused; so is the removal of what has changed."""
    stamp = ask(site, "UserFileGet", name="x")["stamp"]
    assert ("none", True) == (stamp, put(site, HELLO, stamp=stamp)["stored"])
    changed = {"error": "io.jobqueue.UserFileChanged", "name": "x"}
    assert changed == put(site, "jobs: {}", stamp=stamp)
    assert changed == ask(site, "UserFileRemove", name="x", stamp=stamp)
    stamp = ask(site, "UserFileGet", name="x")["stamp"]
    answer = put(site, HELLO + "#", stamp=stamp)
    assert answer["stamp"] == ask(site, "UserFileGet", name="x")["stamp"] != stamp


def test_a_job_named_as_a_program_of_the_system(site: Host) -> None:
    """It is that user's all the same, and says so in the journal and wherever it is shown."""
    assert put(site, "jobs: {sshd: {command: 'true'}, sudo: {command: 'true'}}")["stored"]
    assert [f"{USER}/sshd", f"{USER}/sudo"] == jobs(site)


def test_a_user_who_is_gone_or_another_by_now(site: Host) -> None:
    """Nothing of theirs runs, the reason is told, no other inherits it, and root can remove it."""
    directory = site.root / "state/users"
    put(site, "jobs: {}")  # so that it is there
    text = "jobs: {old: {command: 'id -un', every: 5m, on: boot}}"
    for name in ("no-such:4242+x.yaml", f"{NEIGHBOUR}:4242+x.yaml"):
        temporary = site.root / name
        temporary.write_text(text)
        temporary.chmod(0o600)
        temporary.rename(directory / name)
    site.call("Reload")
    wait_for(lambda: invalid(site, f"{NEIGHBOUR}/old") and invalid(site, "no-such/old") != "no such job")
    wait_for(lambda: invalid(site, "no-such/old"))
    assert "no user 'no-such' on this host" == invalid(site, "no-such/old")
    why = f"user '{NEIGHBOUR}' has uid {THEIRS} on this host, but the job belongs to uid 4242"
    assert why == invalid(site, f"{NEIGHBOUR}/old")
    answer = site.call("Run", job=f"{NEIGHBOUR}/old")
    assert "error" in answer or site.wait(answer["run"])["state"] == "skipped"
    answer = put(site, HELLO, uid=THEIRS)
    remedy = f"root can remove it: jobqueuectl remove --user {NEIGHBOUR}:4242 x"
    assert (
        f"an earlier user with this name still has files here ({NEIGHBOUR}:4242, x.yaml); {remedy}" == answer["reason"]
    )
    assert [] == ask(site, "UserFiles", THEIRS)["files"]
    assert "NoSuchUserFile" in ask(site, "UserFileRemove", THEIRS, name="x")["error"]
    for user in ("no-such", f"{NEIGHBOUR}:4242"):
        assert 0 == ctl(site, "remove", "--user", user, "x", uid=0).status
    assert put(site, HELLO, uid=THEIRS)["stored"]
    assert [f"{NEIGHBOUR}/hello"] == jobs(site)


def test_limits_that_are_narrower_by_now(site: Host) -> None:
    """A file that asks for more than it may has no jobs any more, which is told; nobody else's wait for it."""
    assert put(site, "jobs: {busy: {command: x, nice: -1}}", "busy")["stored"]
    put(site, HELLO)
    site.stop()
    settings = site.root / "jobqueued.yaml"
    settings.write_text(SETTINGS.replace(", permit: [nice]", ""))
    try:
        site.start()
        told = {file["name"]: file for file in ask(site, "UserFiles")["files"]}
        assert ([], None) == (told["busy"]["jobs"], told["x"]["refused"])
        assert "busy: nice: found -1; expected 0 or more" in told["busy"]["refused"]
        assert [f"{USER}/hello"] == jobs(site)
        site.write("host.yaml", "jobs: {waits: {command: x, dependencies: [nowhere]}}")
        site.call("Reload")
        assert "does not exist" in invalid(site, "waits"), "it is not known which jobs there are"
    finally:
        (site.root / "jobqueue.d/host.yaml").unlink(missing_ok=True)
        site.stop()
        settings.write_text(SETTINGS)
        site.start()


def test_what_is_in_force_after_a_kill(site: Host) -> None:
    """A file that was answered for is there again, with its jobs, and so is the removal."""
    put(site, HELLO, "stays")
    put(site, "jobs: {}", "goes")
    ask(site, "UserFileRemove", name="goes")
    site.kill()
    site.start()
    assert (["stays"], [f"{USER}/hello"]) == ([file["name"] for file in ask(site, "UserFiles")["files"]], jobs(site))


def test_while_the_daemon_is_down(site: Host, place: Path) -> None:
    """It says so; the text of an edit is kept, and named."""
    put(site, HELLO)
    file = written(f"{place}/new.yaml", HELLO)
    stop = editor(place, f"touch {place}/edited")
    site.stop()
    told = ctl(site, "add", file)
    assert (2, "", True) == (told.status, told.out, "it is not running; start it (" in told.err)
    assert 2 == ctl(site, "edit", "x", EDITOR=stop).status
    assert not (place / "edited").exists(), "an edit for nothing"
    site.start()
    program = editor(
        place, f'echo "# more" >>"$1"; touch {place}/edited; until [ -e {place}/down ]; do sleep 0.05; done'
    )
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        told = ctl(site, "edit", "x", EDITOR=program, TMPDIR=str(place))
        os.write(writing, told.err.encode())
        os._exit(told.status)
    wait_for((place / "edited").exists)
    site.stop()
    (place / "down").touch()
    assert 2 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(writing)
    with open(reading) as said:
        text = said.read()
    assert "it is not running" in text
    kept = Path(text.rpartition(" add ")[2].strip())
    assert HELLO + "# more\n" == kept.read_text()


def test_check_as_the_user(site: Host, place: Path) -> None:
    """It tells what the daemon would: by the rules for users, and with the other jobs of theirs that it has."""
    put(site, HELLO)
    good = "jobs: {a: {command: 'true', dependencies: [hello]}}"
    bad = "jobs: {a: {command: 'true', priority: 5, groups: [root], dependencies: [world]}}"
    files = [written(f"{place}/{name}.yaml", text) for name, text in (("good", good), ("bad", bad))]
    told = ctl(site, "check", files[0])
    assert (0, True) == (told.status, f"{USER}/a" in told.out), told
    told = ctl(site, "check", files[1])
    assert (1, True) == (told.status, "priority: found 5; expected 0 or less" in told.out)
    files[1].write_text(bad.replace("priority: 5, ", ""))
    told = ctl(site, "check", files[1])
    for warning in (
        f"groups: found 'root'; expected a group of this host that has {USER} as a member",
        f"job {USER}/world, which",
    ):
        assert warning in told.out, told
    host = ctl(site, "check", files[1], uid=0).out
    assert (False, True) == (USER in host, "job world, which does not exist" in host)
    assert (False, True) == (USER in (host := ctl(site, "check", "--host", files[1]).out), "job world, which" in host)
    assert f"{USER}/a" in ctl(site, "check", "--user", USER, files[0], uid=0).out
    denied = ctl(site, "check", "--user", DENIED, files[0], uid=0)
    assert (1, True) == (denied.status, "can't have jobs here" in denied.out)
    assert put(site, "jobs: {a: {command: x, groups: [root]}}", "other")["stored"]
    wait_for(lambda: "is not in group 'root'" in invalid(site, f"{USER}/a"))


def test_a_file_of_which_no_job_can_run(site: Host, place: Path) -> None:
    """`add` does not call such a file "in force", and prints no next starts. If some jobs can run, `add` names only
    these.
    """
    file = place / "none.yaml"
    bad = "{command: 'true', every: 1h, resources: {gpu: 99}}"
    file.write_text(f"jobs: {{bad: {bad}}}")
    told = ctl(site, "add", str(file))
    assert "none is saved, but none of its jobs can run" == told.out.splitlines()[0]
    assert f"{USER}/bad does not run: it needs 99 of gpu" in told.out + told.err
    assert "UTC" not in told.out
    file.write_text(f"jobs: {{bad: {bad}, good: {{command: 'true'}}}}")
    assert f"none is in force: {USER}/good" == ctl(site, "add", str(file)).out.splitlines()[0]


def test_the_limits_of_all_runs_of_a_user(site: Host, place: Path) -> None:
    """The order of a run has those by default for its user's cgroup: nobody has asked for them, so they have no key."""
    file = place / "limited.yaml"
    file.write_text(f"jobs: {{limited: {{command: 'until [ -e {place}/go ]; do sleep 0.05; done'}}}}")
    assert 0 == ctl(site, "add", str(file)).status
    run = site.run(f"{USER}/limited")
    found = wait_for(lambda: [*(site.root / "run").rglob("*limited@*/spec")], why="its order")
    above = json.loads(found[0].read_text())["above"]
    assert [["", "memory.max"], ["", "pids.max"]] == [[key, name] for key, name, _ in above["caps"]]
    assert f"u{UID}" == above["name"]
    assert all(int(most) > 0 for *_, most in above["caps"])
    (place / "go").touch()
    assert "succeeded" == site.wait(run)["state"]


def test_an_edit(site: Host, place: Path) -> None:
    """A new file begins with an example; an edit without a change changes nothing."""
    program = editor(place, f'cp "$1" {place}/seen; printf "%s" "{HELLO}" >"$1"')
    told = ctl(site, "edit", EDITOR=program, TMPDIR=str(place))
    assert (0, f"jobs is in force: {USER}/hello") == (told.status, told.out.splitlines()[0])
    assert (place / "seen").read_text().startswith("# Your own jobs.")
    assert Told(0, "nothing was changed\n", "") == ctl(site, "edit", EDITOR="true", TMPDIR=str(place))
    assert [] == list(place.glob("jobqueue.*")), "no copy is left"


def test_an_edit_that_is_mended(site: Host, place: Path) -> None:
    """Who wants to edit again has the text with the error; then it is in force, and no copy is left."""
    program = editor(place, 'grep -q error "$1" && echo "jobs: {x: {command: x}}" >"$1" || echo "error: 1" >"$1"')
    told = ctl(site, "edit", answers="maybe\ny\n", EDITOR=program, TMPDIR=str(place))
    assert (0, "Enter Y or N\n") == (told.status, told.err)
    assert told.out.endswith(f"jobs is in force: {USER}/x\n")
    assert [] == list(place.glob("jobqueue.*"))


def test_a_file_that_nobody_put_there(site: Host) -> None:
    """It is not read, and told of."""
    put(site, "jobs: {}")
    stray = site.root / "state/users/backup.yaml"
    stray.write_text(HELLO)
    try:
        site.call("Reload")
        assert [] == jobs(site)
        assert any(f"{stray}: is ignored; expected files that users" in line["message"] for line in site.said("odd"))
    finally:
        stray.unlink()


def test_an_edit_with_an_error(site: Host, place: Path) -> None:
    """It is told, and the text is kept where nobody answers whether to edit again."""
    program = editor(place, 'echo "jobs: {x: {}}" >"$1"')
    told = ctl(site, "edit", EDITOR=program, TMPDIR=str(place))
    assert 1 == told.status
    assert "jobs.yaml:1:8: x: command: found no command" in told.out
    assert "Edit it again? (y/n)" in told.out
    kept = Path(told.out.rpartition(" add ")[2].strip())
    assert ("jobs: {x: {}}\n", {}) == (kept.read_text(), stored(site))
    assert 1 == ctl(site, "edit", EDITOR="false", TMPDIR=str(place)).status


def test_a_short_name_of_a_removed_job(site: Host) -> None:
    """`forget` accepts it, too, unless the removed jobs of two users have it."""
    text = "jobs: {gone: {command: 'true', expect: 1s}}"
    put(site, HELLO, "other")
    for uid in (UID, THEIRS):
        put(site, text, uid=uid)
    names = [f"{NEIGHBOUR}/gone", f"{USER}/gone"]

    def overdue() -> list[str]:
        return sorted(one["job"] for one in site.call("Status")["attention"] if one["kind"] == "overdue")

    wait_for(lambda: sorted(names) == overdue(), why="both are overdue")
    for uid in (UID, THEIRS):
        ask(site, "UserFileRemove", uid, name="x")
    several = ctl(site, "forget", "gone", uid=0)
    assert (1, f"Error: no such job: gone; did you mean {' and '.join(sorted(names))}?\n") == several[::2]
    wait_for(lambda: len(ask(site, "List")["jobs"]) == 1, why="users get a list that may be a second old")
    assert (0, f"{USER}/gone is no longer expected to succeed\n", f"gone: {USER}/gone\n") == ctl(site, "forget", "gone")
    assert f"{NEIGHBOUR}/gone is no longer" in ctl(site, "forget", "gone", uid=0).out
    assert (1, True) == ((none := ctl(site, "forget", "gone", uid=0)).status, "no such job: gone" in none.err)


def test_a_flood_of_calls(site: Host) -> None:
    """So many in a minute; then it is told for how long there is none, and others go on."""
    text = HELLO + "#" * (LARGEST_FILE - len(HELLO))
    answers = (put(site, text) for _ in range(CALLS * 128 // LARGEST_FILE + 2))
    told = next(answer for answer in answers if "error" in answer)
    most = f"more than {CALLS} in a minute (users: {{calls: …}} in jobqueued.yaml)"
    assert told["reason"].startswith(f"{most}; try again in ")
    assert put(site, HELLO, uid=THEIRS)["stored"]
    assert ask(site, "UserFiles")["files"], "a look costs nothing"
