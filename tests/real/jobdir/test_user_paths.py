"""Path triggers of users: a process of the user looks, and learns, costs and breaks no more than the user could."""

from __future__ import annotations

import base64
import contextlib
import ctypes
import os
import pwd
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobqueued.base.filenames import file_name
from jobqueued.base.instants import SECOND
from jobqueued.child.watcher.appearing import BURST
from jobqueued.daemon.loop import read_clocks
from tests.support import REPO
from tests.support.host import Host, wait_for
from tests.support.other_etc import change_users, copied
from tests.support.stranger import as_user, become, public
from tests.support.users import NEEDS_ROOT, USER

pytestmark = NEEDS_ROOT
UID = pwd.getpwnam(USER).pw_uid
NEIGHBOUR = "mail"
THEIRS = pwd.getpwnam(NEIGHBOUR).pw_uid
LIBC = ctypes.CDLL(None, use_errno=True)
MNT_DETACH, PIDFD_GETFD = 2, 438


@pytest.fixture(scope="module")
def site() -> Iterator[Host]:
    """A daemon whose place everybody may enter."""
    with public() as directory:
        host = Host(directory / "host", str(REPO / "tests/support/anybodys.py"))
        host.root.chmod(0o755)
        (host.root / "jobqueued.yaml").write_text("users: {interval: 1s, jobs: 5}\n")
        try:
            host.start()
            yield host
        finally:
            host.close()


class Job:
    """The job of each test, which has the history of no other; `number` tells tests apart."""

    number = 0

    @classmethod
    def name(cls, suffix: str = "") -> str:
        """That in a file."""
        return f"x{cls.number}{suffix}"

    @classmethod
    def of(cls, uid: int = UID, suffix: str = "") -> str:
        """That of a user's job."""
        return f"{pwd.getpwuid(uid).pw_name}/{cls.name(suffix)}"


@pytest.fixture(autouse=True)
def clean(site: Host) -> Iterator[None]:
    """No files are there after each test."""
    Job.number += 1
    yield
    if site.daemon_ended():
        site.start()
    for file in site.call("UserFiles")["files"]:
        site.call("UserFileRemove", name=file["name"], user=f"{file['user']}:{file['uid']}")
    wait_for(lambda: not watchers(site), why="no watcher is left")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory where all users may write."""
    with public() as directory:
        directory.chmod(0o1777)
        yield directory


def put(site: Host, *paths: Path | str, uid: int = UID, suffix: str = "", told: bool = True) -> dict[str, Any]:
    """Hand in a job that waits for these paths."""
    on = ", ".join(f"{{path: '{path}'}}" for path in paths)
    name = Job.name(suffix)
    text = f"jobs: {{{name}: {{command: 'id -un; echo \"$JOBQUEUE_TRIGGER_PATH\"', on: [{on}], overlap: queue}}}}\n"
    encoded = base64.b64encode(text.encode()).decode()
    reply = as_user(uid, lambda: site.call("UserFileSet", name=name, text=encoded))
    assert reply.get("stored", False), reply
    if told:
        wait_for(lambda: watching(site, uid), why="the watcher is at work")
    return dict(reply)


def watchers(site: Host) -> dict[int, int]:
    """The watchers of this host by their users."""
    found = {}
    for pid in site.small_ones():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text() == "jq-watcher\n":
                found[os.stat(f"/proc/{pid}").st_uid] = pid
    return found


def watching(site: Host, uid: int = UID) -> int:
    """The watcher of a user, once it has its watches; else 0."""
    pid = watchers(site).get(uid, 0)
    with contextlib.suppress(OSError):
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        if "anon_inode:inotify" in links:
            return pid
    return 0


def runs(site: Host, uid: int = UID, suffix: str = "") -> list[dict[str, Any]]:
    """What has become of a job's runs, the newest first, once none is under way."""

    job = Job.of(uid, suffix) if uid else Job.name(suffix)

    def over() -> list[dict[str, Any]] | None:
        found = site.call("History", job=job)["runs"] if job in jobs(site) else []
        return found if all(run["state"] in ("succeeded", "failed", "skipped") for run in found) else None

    return wait_for(lambda: (found := over()) is not None and [found], why="all runs are over")[0]


def ran(site: Host, number: int, uid: int = UID, suffix: str = "", most: int = 0) -> list[str]:
    """What the latest run of a job has written, once it is this one; `most`: or a later one."""
    wait_for(lambda: len(runs(site, uid, suffix)) >= number, why=f"{number} runs")
    found = runs(site, uid, suffix)
    assert number <= len(found) <= max(number, most)
    return site.output(found[0]["run"]).decode(errors="replace").splitlines()


def site_output(site: Host, number: int) -> bytes:
    """The bytes that the latest run has written, once it is this one."""
    ran(site, number)
    return site.output(runs(site)[0]["run"])


def drop(*paths: Path) -> None:
    """Files that everybody could read."""
    for path in paths:
        path.write_bytes(b"")


def test_a_file_that_is_dropped(site: Host, place: Path) -> None:
    """The job runs as its user, and is told the file; the record has the path as the user wrote it.

    The first look of the watcher may find the file before it is closed; then the job starts once more.
    """
    (place / "inbox").mkdir()
    put(site, place / "inbox" / "*.csv")
    drop(place / "inbox" / "a.csv")
    assert [USER, f"{place}/inbox/a.csv"] == ran(site, 1, most=2)
    assert f"path {place}/inbox/*.csv" == runs(site)[0]["trigger"]


def test_a_home_goes_without_saying(site: Host) -> None:
    """It is told by the launcher's side, which has it from the host's users."""
    home = pwd.getpwnam(USER).pw_dir
    put(site, "~/no-such-directory/*.csv", "/root/no-such-directory/x")
    watcher = watching(site)
    places = {os.stat(place).st_ino for place in upwards(home) if os.access(place, os.R_OK) and os.path.exists(place)}
    watched = {int(line.split()[2].removeprefix("ino:"), 16) for line in inotify_of(watcher)}
    assert watched & places


def upwards(path: str) -> list[str]:
    return [path, *map(str, Path(path).parents)]


def inotify_of(pid: int) -> list[str]:
    """The lines of the kernel about its watches."""
    found = list[str]()
    for fd in os.listdir(f"/proc/{pid}/fdinfo"):
        found += [line for line in Path(f"/proc/{pid}/fdinfo/{fd}").read_text().splitlines() if "inotify" in line]
    return found


def test_what_it_may_do(site: Host, place: Path) -> None:
    """It has the user's groups and no others, can start nothing, and gains nothing by what it executes."""
    put(site, place / "x")
    pid = watching(site)
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    limits = Path(f"/proc/{pid}/limits").read_text()
    groups = " ".join(map(str, sorted(os.getgrouplist(USER, pwd.getpwnam(USER).pw_gid))))
    assert ["\t".join([str(UID)] * 4), "1", f"{0:016x}"] == [status[key] for key in ("Uid", "NoNewPrivs", "CapPrm")]
    assert groups == " ".join(sorted(status["Groups"].split(), key=int))
    assert {"0"} == {
        limits.split(name)[1].split()[1] for name in ("Max processes", "Max file size", "Max core file size")
    }
    assert 10 <= os.getpriority(os.PRIO_PROCESS, pid)
    names = {os.readlink(f"/proc/{pid}/fd/{fd}").split(":")[0] for fd in os.listdir(f"/proc/{pid}/fd")}
    assert {"socket", "/dev/null", "anon_inode"} == names


def test_where_the_user_may_not_look(site: Host, place: Path) -> None:
    """Of a directory that only root can read nothing is told, though root's own job for the same path runs."""
    secret = place / "secret"
    secret.mkdir(mode=0o700)
    site.write("host.yaml", f"jobs: {{{Job.name()}: {{command: 'true', on: {{path: '{secret}/*'}}}}}}\n")
    wait_for(lambda: Job.name() in jobs(site), why="root's job")
    put(site, secret / "*", place / "seen")
    unwatched = wait_for(lambda: as_user(UID, lambda: site.call("Status"))["unwatched"], why="it is said")
    assert [f"cannot watch {secret}, so it is checked once a minute: Permission denied"] == unwatched
    assert [f"{USER}: {unwatched[0]}"] == site.call("Status")["unwatched"]
    assert [] == as_user(THEIRS, lambda: site.call("Status"))["unwatched"]
    drop(secret / "x")
    wait_for(lambda: runs(site, 0), why="root's run")
    drop(place / "seen")
    assert [USER, f"{place}/seen"] == ran(site, 1)
    (site.root / "jobqueue.d" / "host.yaml").unlink()
    wait_for(lambda: Job.name() not in jobs(site), why="root's job is gone")


def jobs(site: Host) -> list[str]:
    return [row["id"] for row in site.call("List")["jobs"]]


def test_a_directory_of_roots_that_is_replaced(site: Host, place: Path) -> None:
    """Another directory of that name, and a link that leads elsewhere by now, are judged by what the user may read."""
    outer = place / "outer"
    (outer / "in").mkdir(parents=True)
    (place / "link").symlink_to(outer / "in")
    put(site, outer / "in" / "*", place / "link" / "*")
    put(site, place / "seen", suffix="seen")
    drop(outer / "in" / "a")
    wait_for(lambda: runs(site), why="a run")
    (outer / "in").rename(outer / "before")
    (outer / "in").mkdir(mode=0o700)
    (place / "secret").mkdir(mode=0o700)
    (place / "link").unlink()
    (place / "link").symlink_to(place / "secret")
    drop(outer / "in" / "b", place / "secret" / "c")
    drop(place / "seen")
    assert [USER, f"{place}/seen"] == ran(site, 1, suffix="seen")
    told = {site.output(run["run"]).split()[1].decode() for run in runs(site)}
    assert told <= {f"{outer}/in/a", f"{place}/link/a"}


def test_a_flood(site: Host, place: Path) -> None:
    """More files than the kernel keeps events for make a path due no oftener than told; others' jobs run meanwhile."""
    put(site, place / "*.csv")
    put(site, place / "other", uid=THEIRS)
    site.write("host.yaml", f"jobs: {{{Job.name()}: {{command: 'true'}}}}\n")
    wait_for(lambda: Job.name() in jobs(site), why="root's job")
    began = read_clocks().mono
    pid = os.fork()
    if not pid:
        with contextlib.suppress(BaseException):
            become(UID)
            for number in range(12_000):
                os.close(os.open(f"{place}/{number}.csv", os.O_WRONLY | os.O_CREAT))
        os._exit(0)
    try:
        assert "succeeded" == site.wait(site.run(Job.name()))["state"]
        drop(place / "other")
        assert [NEIGHBOUR, f"{place}/other"] == ran(site, 1, THEIRS)
    finally:
        os.waitpid(pid, 0)
    wait_for(lambda: site.call("Describe", job=Job.of())["stats"]["started"] > 0, why="it was told")
    seconds = (read_clocks().mono - began) / SECOND
    assert site.call("Describe", job=Job.of())["stats"]["started"] <= BURST + seconds + 1
    (site.root / "jobqueue.d" / "host.yaml").unlink()


def test_who_is_stopped(site: Host, place: Path) -> None:
    """SIGSTOP of the own watcher keeps the own jobs from being told, and nobody else's; it can be replaced."""
    put(site, place / "x")
    put(site, place / "x", uid=THEIRS)
    stopped = watching(site)
    as_user(UID, lambda: os.kill(stopped, signal.SIGSTOP))
    drop(place / "x")
    assert [NEIGHBOUR, f"{place}/x"] == ran(site, 1, THEIRS)
    assert [] == runs(site)
    as_user(UID, lambda: os.kill(stopped, signal.SIGCONT))
    ran(site, 1)
    as_user(UID, lambda: os.kill(stopped, signal.SIGSTOP))
    put(site, place / "y", told=False)
    wait_for(lambda: watching(site) not in (0, stopped), why="another watcher")
    assert not os.path.exists(f"/proc/{stopped}")


def kill_watcher(site: Host) -> int:
    """As its user can; its number."""
    pid = watching(site)
    as_user(UID, lambda: os.kill(pid, signal.SIGKILL))
    return pid


def test_who_is_killed(site: Host, place: Path) -> None:
    """What comes while the watcher is away is found once by the next; what was told before is not told again."""
    put(site, place / "x")
    drop(place / "x")
    ran(site, 1)
    for number in (2, 3):
        killed = kill_watcher(site)
        os.utime(place / "x")
        ran(site, number)
        assert watching(site) not in (0, killed)
    killed = kill_watcher(site)
    wait_for(lambda: watching(site) not in (0, killed), why="another watcher")
    drop(place / "y")
    put(site, place / "y", suffix="y")
    assert 3 == len(runs(site))


@pytest.mark.parametrize("which", ["scheduler", "launcher"])
def test_a_restart(site: Host, place: Path, which: str) -> None:
    """What came meanwhile is told once, what was told before is not, and no watcher outlives its launcher."""
    put(site, place / "x", place / "y")
    drop(place / "x")
    ran(site, 1)
    before = watching(site)
    as_user(UID, lambda: os.kill(before, signal.SIGSTOP))
    if which == "scheduler":
        site.kill()
        drop(place / "y")
        wait_for(lambda: not os.path.exists(f"/proc/{before}"), why="its launcher has ended it")
        site.start()
    else:
        launcher = int(Path(f"/proc/{before}/status").read_text().split("PPid:\t")[1].split()[0])
        os.kill(launcher, signal.SIGKILL)
        drop(place / "y")
        wait_for(lambda: not os.path.exists(f"/proc/{before}"), why="it has ended with its launcher")
    assert [USER, f"{place}/y"] == ran(site, 2)
    wait_for(lambda: watching(site), why="the watcher is at work")
    drop(place / "x")
    assert [USER, f"{place}/x"] == ran(site, 3)


def test_who_speaks_in_its_place(site: Host, place: Path) -> None:
    """A user can have the own watcher say anything, as often as its socket takes it: own jobs run, by the bounds."""
    put(site, place / "x")
    put(site, place / "x", uid=THEIRS)
    site.write("host.yaml", f"jobs: {{{Job.name()}: {{command: 'true', on: {{path: '{place}/x'}}}}}}\n")
    wait_for(lambda: Job.name() in jobs(site), why="root's job")
    pidfd = os.pidfd_open(watching(site))
    channel = LIBC.syscall(PIDFD_GETFD, pidfd, 0, 0)  # as ptrace(2) would let the user
    os.close(pidfd)
    assert channel > 2
    forger = os.fork()
    if not forger:
        with contextlib.suppress(BaseException):
            become(UID)
            while True:
                for word in FORGED:
                    with contextlib.suppress(BlockingIOError):
                        os.write(channel, word)
        os._exit(0)
    os.close(channel)
    try:
        wait_for(lambda: site.call("Describe", job=Job.of())["stats"]["started"] > 2, why="it makes its own job due")
        assert ([], []) == (runs(site, THEIRS), runs(site, 0))
        drop(place / "x")
        assert [NEIGHBOUR, f"{place}/x"] == ran(site, 1, THEIRS)
        wait_for(lambda: runs(site, 0), why="root's run")
    finally:
        os.kill(forger, signal.SIGKILL)
        os.waitpid(forger, 0)
    outputs = [site.root / "logs" / file_name(Job.of()) / f"{number}.log" for number in (1, 2)]
    assert {"/etc/shadow"} == {path.read_text().splitlines()[1] for path in outputs}
    (site.root / "jobqueue.d" / "host.yaml").unlink()
    kill_watcher(site)


FORGED = (b"0 - /etc/shadow", b"1 - /etc/passwd", b"appeared 1 0 - /x", b"unwatched 1", b"x" * 4000, b"! 0 13", b"\xff")


def test_many_users(site: Host, place: Path) -> None:
    """Each has one process, whatever the number of jobs, and is told of the own files."""
    users = [entry for entry in pwd.getpwall() if 0 < entry.pw_uid < 100 and entry.pw_name != "sync"][:8]
    for user in users:
        for name in ("x", "y"):
            put(site, place / user.pw_name / name, uid=user.pw_uid, suffix=name, told=False)
    for user in users:
        wait_for(lambda uid=user.pw_uid: watching(site, uid), why=f"the watcher of {user.pw_name}")
        (place / user.pw_name).mkdir()
    for user in users:
        drop(place / user.pw_name / "y")
    for user in users:
        assert [user.pw_name, f"{place}/{user.pw_name}/y"] == ran(site, 1, user.pw_uid, "y")
        assert [] == runs(site, user.pw_uid, "x")


def test_who_is_gone_and_who_has_the_number(place: Path) -> None:
    """The watcher of a user that is removed ends; another of that number is not told what the former waits for."""
    etc = copied(place / "etc")
    change_users(etc, jqalice=4321)
    host = Host(place / "host", str(REPO / "tests/support/other_etc.py"), str(etc))
    host.root.chmod(0o755)
    try:
        host.start()
        text = base64.b64encode(f"jobs: {{x: {{command: 'true', on: {{path: {place}/x}}}}}}\n".encode()).decode()
        assert as_user(4321, lambda: host.call("UserFileSet", name="x", text=text))["stored"]
        wait_for(lambda: watching(host, 4321), why="the watcher is at work")
        change_users(etc, jqbob=4321)
        wait_for(lambda: not watchers(host), why="it has ended")
        drop(place / "x")
        text = base64.b64encode(f"jobs: {{x: {{command: 'true', on: {{path: {place}/y}}}}}}\n".encode()).decode()
        assert as_user(4321, lambda: host.call("UserFileSet", name="x", text=text))["stored"]
        wait_for(lambda: watching(host, 4321), why="that of another user")
        drop(place / "y")
        wait_for(lambda: host.record("jqbob/x@1"), why="that one's run")
        assert [] == host.call("History", job="jqalice/x")["runs"]
    finally:
        host.close()


@contextlib.contextmanager
def hung(directory: Path) -> Iterator[None]:
    """A file system there that never answers: FUSE, without a program behind it."""
    try:
        descriptor = os.open("/dev/fuse", os.O_RDWR)
    except OSError:
        pytest.skip("needs /dev/fuse")
    options = f"fd={descriptor},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    if LIBC.mount(b"hung", os.fsencode(directory), b"fuse", 0, options):
        os.close(descriptor)
        pytest.skip("needs /dev/fuse")
    try:
        yield
    finally:
        os.close(descriptor)
        assert 0 == LIBC.umount2(os.fsencode(directory), MNT_DETACH)


def test_a_mount_that_hangs(site: Host, place: Path) -> None:
    """It hangs that user's watcher, and neither the daemon nor others; that ends with the job that waits there."""
    (place / "mount").mkdir()
    with hung(place / "mount"):
        put(site, place / "mount" / "in" / "*", told=False)
        hanging = wait_for(lambda: watchers(site).get(UID), why="a watcher")
        wait_for(lambda: "fuse" in Path(f"/proc/{hanging}/wchan").read_text(), why="it hangs")
        put(site, place / "x", uid=THEIRS)
        drop(place / "x")
        assert [NEIGHBOUR, f"{place}/x"] == ran(site, 1, THEIRS)
        put(site, place / "y")
        assert not os.path.exists(f"/proc/{hanging}")
        drop(place / "y")
        assert [USER, f"{place}/y"] == ran(site, 1)


def test_what_is_no_directory(site: Host, place: Path) -> None:
    """A FIFO, a link to itself and a name that is too long are waited at, and hang nobody."""
    os.mkfifo(place / "fifo")
    (place / "loop").symlink_to("loop")
    put(site, place / "fifo" / "x", place / "loop" / "x", place / ("n" * 300) / "x", place / "seen")
    drop(place / "seen")
    assert [USER, f"{place}/seen"] == ran(site, 1, most=2)  # maybe it was seen as it was made, and as it was closed
    begun = len(runs(site))
    (place / "fifo").unlink()
    (place / "fifo").mkdir()
    drop(place / "fifo" / "x")
    # maybe it came while its directory was first listed
    assert [USER, f"{place}/fifo/x"] == ran(site, begun + 1, most=begun + 2)


def test_a_name_that_is_odd(site: Host, place: Path) -> None:
    """A file may be called by any bytes but NUL and /: no line breaks by it."""
    put(site, place / "*.csv")
    for number, name in enumerate((b"a\nappeared 1 0 - x.csv", b"\xff\xfe.csv", "ä.csv".encode()), 1):
        os.close(os.open(os.fsencode(place) + b"/" + name, os.O_WRONLY | os.O_CREAT))
        lines = site_output(site, number)
        assert os.fsencode(place) + b"/" + name == lines.partition(b"\n")[2].rstrip(b"\n")


def test_as_many_paths_as_jobs(site: Host, place: Path) -> None:
    """A user may wait for no more of them, in all files together."""
    put(site, *(place / str(number) for number in range(3)))
    on = ", ".join(f"{{path: '{place}/{number}'}}" for number in range(2, 6))
    text = base64.b64encode(f"jobs: {{y: {{command: 'true', on: [{on}]}}}}\n".encode()).decode()
    (problem,) = as_user(UID, lambda: site.call("UserFileSet", name="y", text=text))["problems"]
    accepted = "at most 5 per user, as for jobs (users: {jobs: …} in jobqueued.yaml)"
    assert f"found 6 paths that jobs wait for; expected {accepted}" == problem["message"]
