"""What a process gets beyond its command: limits, scheduling, groups, stdin; each step that fails is named."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import resource
from pathlib import Path
from typing import Any

import pytest

from jobqueued.base.instants import SECOND
from jobqueued.child.processes.cgroup import Cgroup
from jobqueued.child.start import identity, spawn
from jobqueued.child.start.spawn import is_system_trouble
from jobqueued.jobfile.keys.keys import JOB_KEYS
from jobqueued.model.job import Job
from jobqueued.runs.launch_spec import _CAPS, _RLIMITS, _attributes
from tests.support.users import NEEDS_ROOT, NEEDS_USER, NICE, OTHER
from tests.support.ways import Way, order

WAY = Way("fork")
LIMITS: list[tuple[str, Any, str, str, str]] = [
    ("open_files", 100, "Max open files", "100", "100"),
    ("file_size", 1 << 20, "Max file size", "1048576", "1048576"),
    ("core", 0, "Max core file size", "0", "0"),
    ("cpu_time", 90 * SECOND, "Max cpu time", "90", "95"),
    ("cpu_time", 1_500_000_000, "Max cpu time", "2", "7"),
    ("stack", 1 << 20, "Max stack size", "1048576", "1048576"),
    ("locked_memory", 4096, "Max locked memory", "4096", "4096"),
    ("address_space", 1 << 30, "Max address space", "1073741824", "1073741824"),
    ("processes", 3000, "Max processes", "3000", "3000"),
    ("data", 1 << 30, "Max data size", "1073741824", "1073741824"),
    ("msgqueue", 1000, "Max msgqueue size", "1000", "1000"),
    ("sigpending", 50, "Max pending signals", "50", "50"),
    ("stack", None, "Max stack size", "unlimited", "unlimited"),
]


def attributes(cpus: tuple[int, ...] | None = None, **keys: Any) -> dict[str, Any]:
    """What the launch order has for a job with these keys, on these CPUs."""
    found = _attributes(Job(id="a", command="b", **keys))
    return {"attributes": {**found, "cpus": cpus} if cpus else found}


@pytest.mark.parametrize(("key", "value", "name", "soft", "hard"), LIMITS)
def test_limit(key: str, value: Any, name: str, soft: str, hard: str) -> None:
    """Each limit of the process is the one that its key says."""
    output, code = WAY.run(["cat", "/proc/self/limits"], **attributes(resource_limits={key: value}))
    assert code == 0
    line = next(line for line in output.splitlines() if line.startswith(name))
    assert [soft, hard] == line.removeprefix(name).split()[:2]


def test_every_limit_of_the_process_has_its_key() -> None:
    """The keys of `resource_limits` that have an effect are those that setrlimit(2) or a cgroup carries out."""
    keys = {key.name for key in JOB_KEYS["resource_limits"].type.keys.values() if not key.planned}
    assert keys - {"cpu", "io_read", "io_write", *_CAPS} == set(_RLIMITS) == {row[0] for row in LIMITS}


def test_limits_together() -> None:
    """All at once, tight as they may be, do not hinder the start itself."""
    limits = {row[0]: row[1] for row in LIMITS}
    assert ("", 0) == WAY.run(["true"], **attributes(resource_limits=limits))


@NEEDS_USER
def test_a_limit_above_the_hard_one() -> None:
    """Only root can raise a hard limit; the key is named."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    failure = str(WAY.refused("true", **attributes(resource_limits={"open_files": hard + 1})))
    assert failure.startswith("resource_limits: open_files: ")


def test_memory_too_small_to_begin() -> None:
    """It is the job's own limit that is too small, not the host's memory: it fails, and is not tried for ever."""
    with pytest.raises(spawn.StartFailed, match=r"^exec: .*: its stack is used up$") as failed:
        WAY.run(["true", "x" * 100_000], **attributes(resource_limits={"stack": 64 << 10}))
    assert not is_system_trouble(failed.value)
    assert WAY.run(["true"], **attributes(resource_limits={"address_space": 4096}))[1] != 0


def test_files_too_few_to_begin(tmp_path: Path) -> None:
    """The limit is the program's: what is opened on the way to it, or to say why it is none, does not count."""
    few = {"open_files": 1}
    assert ("", 0) == WAY.run(["/bin/sh", "-c", ":"], **attributes(resource_limits={"open_files": 4}, oom_score_adj=5))
    (tmp_path / "script").write_text("#!/no/such\n")
    (tmp_path / "script").chmod(0o755)
    for program, said in (
        (tmp_path / "script", "No such file or directory"),
        ("/no/such", "No such file or directory"),
    ):
        failure = WAY.refused([str(program)], **attributes(resource_limits=few, oom_score_adj=5))
        assert str(failure) == f"exec: {program}: {said}"
        assert not is_system_trouble(failure)


@NEEDS_ROOT
def test_too_many_processes() -> None:
    """A user who has more processes already than the job's own limit: that is said, and not tried for ever."""
    others = Way("other user")
    reading, writing = os.pipe()
    try:
        # one more than the limit: the kernel does not yet count who is about to become the user
        pids = [others.start({**order(["/bin/sleep", "600"]), **attributes()}, writing) for _ in range(2)]
        failure = others.refused("true", **attributes(resource_limits={"processes": 1}))
        for pid in pids:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
    finally:
        os.close(reading)
        os.close(writing)
    assert str(failure) == "exec: /bin/sh: its processes is used up"
    assert not is_system_trouble(failure)


def test_nice() -> None:
    """The process has it, and its session, which some kernels schedule as one."""
    output, _code = WAY.run(
        "cut -d' ' -f19 /proc/self/stat; cat /proc/self/autogroup 2>/dev/null", **attributes(nice=NICE)
    )
    first, *rest = output.splitlines()
    assert first == str(NICE)
    assert all(line.endswith(f"nice {NICE}") for line in rest)


def test_cpus() -> None:
    """A process runs on the CPUs that were chosen for it and on no others; we stay as we were."""
    before = os.sched_getaffinity(0)
    for cpus in ((max(before),), tuple(sorted(before))):
        output, code = WAY.run("grep Cpus_allowed_list /proc/self/status", **attributes(cpus))
        assert (0, set(cpus)) == (code, listed(output.split()[1]))
    assert before == os.sched_getaffinity(0)


def listed(text: str) -> set[int]:
    """The numbers of a list as the kernel writes it: ``0-2,5``."""
    ranges = [part.split("-") for part in text.split(",")]
    return {number for first, *last in ranges for number in range(int(first), int(last[0] if last else first) + 1)}


def test_cpus_that_are_gone() -> None:
    """CPUs that the host does not have any more are named; nothing is started."""
    failure = WAY.refused("true", **attributes((1023,)))
    assert "cpus: (1023,): Invalid argument" == str(failure)


@NEEDS_USER
def test_what_only_root_may() -> None:
    """Refused by the kernel, each is named with its value."""
    for key, value in (("nice", -5), ("cpu_scheduling", "fifo:10"), ("oom_score_adj", -500)):
        failure = str(WAY.refused("true", **attributes(**{key: value})))
        assert failure.startswith(f"{key}: {value}: "), failure


@NEEDS_ROOT
def test_what_root_may() -> None:
    """A negative nice, given before the change of user (oom_score_adj: see tests/system)."""
    output, _code = Way("other user").run("cut -d' ' -f19 /proc/self/stat; id -un", **attributes(nice=-5))
    assert output.split() == ["-5", OTHER]


@pytest.mark.parametrize("policy", [("batch", "3"), ("idle", "5")])
def test_cpu_scheduling(policy: tuple[str, str]) -> None:
    """The policy of sched(7), by its number in /proc."""
    output, _code = WAY.run("cut -d' ' -f41 /proc/self/stat", **attributes(cpu_scheduling=policy[0]))
    assert output.strip() == policy[1]


@NEEDS_ROOT
@pytest.mark.parametrize(("policy", "said"), [("fifo:10", "1 10"), ("rr:99", "2 99")])
def test_real_time(policy: str, said: str) -> None:
    """A real-time policy with its priority."""
    output, _code = WAY.run("cut -d' ' -f40,41 /proc/self/stat", **attributes(cpu_scheduling=policy))
    assert output.split() == list(reversed(said.split()))


@pytest.mark.parametrize(
    ("key", "said"),
    [("idle", "idle"), ("best-effort:6", "best-effort: prio 6"), ("best-effort:0", "best-effort: prio 0")],
)
def test_ionice(key: str, said: str) -> None:
    """The class and the level, as ionice(1) reads them."""
    output, _code = WAY.run(["ionice"], **attributes(ionice=key))
    assert output.strip() == said


def test_oom_score_adj() -> None:
    """Everybody may be killed earlier."""
    assert ("500\n", 0) == WAY.run(["cat", "/proc/self/oom_score_adj"], **attributes(oom_score_adj=500))


def test_no_new_privs() -> None:
    """The flag is set for the job, and not for us."""
    output, _code = WAY.run(["grep", "NoNewPrivs", "/proc/self/status"], **attributes(no_new_privs=True))
    assert output.split() == ["NoNewPrivs:", "1"]
    assert "NoNewPrivs:\t0" in Path("/proc/self/status").read_text()


def test_stdin() -> None:
    """A text of any length, exactly; it ends; and can be opened again by /dev/stdin, which leads to this name."""
    for text in ("hello", "two\nlines\n", "ü€" * 50_000):
        assert (text, 0) == WAY.run(["cat"], stdin=text)
        assert (text, 0) == Way("posix_spawn").run("cat /proc/self/fd/0", stdin=text)


@NEEDS_ROOT
def test_stdin_of_another_user() -> None:
    """The job's user can read it, by name too."""
    assert ("hello", 0) == Way("other user").run("cat /proc/self/fd/0", stdin="hello")


@NEEDS_ROOT
class TestGroups:
    def test_group(self) -> None:
        """The primary group, and the supplementary ones of the user."""
        output, _code = Way("other user").run("id -gn; id -Gn", group="games")
        primary, supplementary = output.splitlines()
        assert primary == "games"
        assert set(supplementary.split()) >= {"games"}
        assert "root" not in supplementary.split()

    def test_groups(self) -> None:
        """Exactly these, however many the user has."""
        output, _code = Way("other user").run("grep Groups /proc/self/status; id -g", groups=["games", "mail"])
        gids = {str(grp.getgrnam(name).gr_gid) for name in ("games", "mail")}
        assert set(output.splitlines()[0].split()[1:]) == gids
        assert output.splitlines()[1] == str(pwd.getpwnam(OTHER).pw_gid)

    def test_no_groups(self) -> None:
        """An empty list is none at all."""
        output, _code = Way("other user").run(["grep", "Groups", "/proc/self/status"], groups=[])
        assert output.split() == ["Groups:"]

    def test_groups_of_root(self) -> None:
        """Root's own jobs can have a group too."""
        output, _code = Way("posix_spawn").run("id -gn; id -u", group="games")
        assert output.split() == ["games", "0"]


def test_an_unknown_group() -> None:
    """It is named; nothing is started."""
    for keys in ({"group": "no-such"}, {"groups": ["no-such"]}):
        assert "group: no group 'no-such' on this host" == str(WAY.refused("true", **keys))


@NEEDS_USER
def test_groups_without_root() -> None:
    """Only root can choose groups."""
    mine = grp.getgrgid(os.getgid()).gr_name
    failure = WAY.refused("true", group=mine)
    assert ("setgroups: Operation not permitted", errno.EPERM) == (str(failure), failure.number)


def test_a_home_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job runs in /, and that is told."""
    home = pwd.struct_passwd((*pwd.getpwuid(os.geteuid())[:5], "/no/such/home", "/bin/sh"))
    monkeypatch.setattr(identity, "_OWN", identity.User(home))
    for way in ("posix_spawn", "fork"):
        reading, writing = os.pipe()
        more = attributes(no_new_privs=True) if way == "fork" else {}
        started = spawn.spawn({**order("pwd"), **more}, writing, Cgroup(-1, ""))
        os.close(writing)
        with open(reading) as output:
            assert output.read() == "/\n"
        os.waitpid(started.pid, 0)
        assert started.warnings == ["the home /no/such/home: No such file or directory; it ran in /"]


def test_only_what_needs_it_is_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What posix_spawn can do is not forked; but where it fails, a fork repeats it and names the step."""
    forked = []
    fork = spawn._fork
    monkeypatch.setattr(spawn, "_fork", lambda plan: forked.append(plan.argv[-1]) or fork(plan))
    way = Way("posix_spawn")
    way.run("true", stdin="x", umask=0o077, working_directory="/usr")
    assert forked == []
    way.run(["echo", "nice"], **attributes(nice=NICE))
    way.refused(["/no/such"])
    assert forked == ["nice", "/no/such"]
