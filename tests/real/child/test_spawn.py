"""Starting a job: everything it gets is said, nothing else reaches it, and each failure has its step's name."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from jobqueued.child.processes.cgroup import Cgroup
from jobqueued.child.start import spawn
from jobqueued.child.start.identity import StartFailed, User
from jobqueued.child.start.spawn import find, is_system_trouble
from tests.support import REPO
from tests.support.host import DEADLINE, wait_for
from tests.support.users import ME, NEEDS_ROOT, NEEDS_USER, OTHER, USER, owner
from tests.support.ways import WAYS, Way, as_into_a_cgroup, order

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    """Each way to start a job, from a directory that the job should not see, which is / afterwards as before."""
    way = Way(request.param)
    if way.name == "fork":
        monkeypatch.setattr(spawn, "_spawn", lambda _plan: None)
    if way.name == "as into a cgroup":
        monkeypatch.setattr(spawn, "_posix_spawn", as_into_a_cgroup)
    before, mask = os.getcwd(), os.umask(0o022)
    os.chdir("/")
    yield way
    left = os.getcwd(), os.umask(mask)
    os.chdir(before)
    assert ("/", 0o022) == left, "cwd and umask of the supervisor"


@pytest.fixture
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory that every user may enter."""
    path = Path("/tmp", f"jobqueued-{os.getpid()}-{tmp_path_factory.mktemp('p').name}")
    path.mkdir()
    path.chmod(0o755)
    yield path
    subprocess.run(["rm", "-rf", str(path)], check=True)


class TestGiven:
    def test_environment(self, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
        """The environment is built from nothing: the user's basics, and what the order has."""
        monkeypatch.setenv("LEAK", "1")
        output, code = way.run(["/usr/bin/env"], environment={"A": "b c", "LANG": "C"})
        account = way.account
        assert code == 0
        assert dict(line.split("=", 1) for line in output.splitlines()) == {
            "PATH": PATH, "HOME": account.pw_dir, "SHELL": "/bin/sh", "LOGNAME": account.pw_name,
            "USER": account.pw_name, "LANG": "C", "A": "b c",
        }  # fmt: skip

    def test_shell(self, way: Way) -> None:
        """A text goes to the shell that is named, a list is executed as it is."""
        assert ("a  b", 0) == way.run("printf '%s' \"a  b\"")
        assert ("$HOME *", 0) == way.run(["printf", "%s", "$HOME *"])
        assert ("/bin/bash\n", 0) == way.run("echo $SHELL", shell="/bin/bash")

    def test_relative_shell(self, way: Way, public: Path) -> None:
        """As with cron, it is looked for in the job's directory, and not in PATH."""
        (public / "mine").symlink_to("/bin/sh")
        assert ("./mine\n", 0) == way.run("echo $0", shell="./mine", working_directory=str(public))
        with pytest.raises(StartFailed, match=r"\./sh: No such file"):
            way.run("echo $0", shell="./sh", working_directory=str(public))

    def test_output(self, way: Way) -> None:
        """stdout and stderr are one pipe, in order; stdin is empty."""
        assert ("1\n2\n3\n", 0) == way.run("echo 1; echo 2 >&2; cat; echo 3")
        assert ("/dev/null\n", 0) == way.run("readlink /proc/self/fd/0")

    def test_output_by_name(self, way: Way) -> None:
        """What scripts write to /dev/stdout and /dev/stderr, which lead there, is output like any other."""
        assert ("out\nerror\n", 0) == way.run("echo out >/proc/self/fd/1; echo error >/proc/self/fd/2")

    def test_no_other_descriptor(self, way: Way, tmp_path: Path) -> None:
        """The job has the three descriptors, whatever we have open."""
        for number in map(int, os.listdir("/proc/self/fd")):
            if number > 2 and os.path.exists(f"/proc/self/fd/{number}"):  # what we got from who started the tests
                os.set_inheritable(number, False)
        with open(tmp_path / "open", "w") as _file:
            output, _code = way.run(["ls", "/proc/self/fd"])
        assert ["0", "1", "2", "3"] == output.split()  # 3 is ls's own, for the directory

    def test_session(self, way: Way) -> None:
        """The job leads a session and a process group of its own, without a terminal."""
        output, _code = way.run("cat /proc/$$/stat")
        pid, rest = int(output.split()[0]), output.rpartition(")")[2].split()
        assert [str(pid), str(pid), "0"] == rest[2:5]

    def test_signals(self, way: Way) -> None:
        """All signals are as a process finds them: none blocked, ignored or caught, also where we ignore them."""
        ignored = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD]
        before = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            output, _code = way.run(["cat", "/proc/self/status"])
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        assert {"SigBlk": 0, "SigIgn": 0, "SigCgt": 0} == {
            name: int(mask, 16)
            for name, _, mask in (line.partition(":") for line in output.splitlines())
            if name in ("SigBlk", "SigIgn", "SigCgt")
        }

    def test_umask(self, way: Way) -> None:
        """The job has the umask of its order, and we keep ours."""
        for umask in (0, 0o027, 0o777):
            assert f"{umask:04o}\n" == way.run("umask", umask=umask)[0]

    def test_directory(self, way: Way, public: Path) -> None:
        """The job starts in its directory."""
        assert f"{public}\n" == way.run("pwd", working_directory=str(public))[0]

    def test_directory_that_may_be_missing(self, way: Way, public: Path) -> None:
        """With a dash before it the job starts in / where it can't be entered, and a warning says so."""
        assert f"{public}\n" == way.run("pwd", working_directory=f"-{public}")[0]
        assert "/\n" == way.run("pwd", working_directory=f"-{public}/gone")[0]
        document = order("true", working_directory=f"-{public}/gone")
        with open(os.devnull, "w") as null:
            started = spawn.spawn({**document, "user": way.user}, null.fileno(), Cgroup(-1, ""))
        os.waitpid(started.pid, 0)
        assert [f"{public}/gone: No such file or directory; it ran in /"] == started.warnings

    def test_home(self, way: Way) -> None:
        """Without a directory it is HOME, or / where HOME can't be entered."""
        home = way.account.pw_dir
        expected = os.path.realpath(home) if os.path.isdir(home) and way.name != "other user" else "/"
        assert f"{expected}\n" == way.run("pwd -P")[0]

    def test_status(self, way: Way) -> None:
        """We are the parent: exit code and signal are exact."""
        assert ("", 7) == way.run("exit 7")
        assert ("", -9) == way.run("kill -9 $$")


class TestFailures:
    @pytest.mark.parametrize(("name", "text"), [("gone", "No such file or directory"), ("file", "Not a directory")])
    def test_directory(self, way: Way, public: Path, name: str, text: str) -> None:
        """A directory that can't be entered is named with the reason."""
        (public / "file").touch()
        directory = f"{public}/{name}"
        assert f"chdir: {directory}: {text}" == str(way.refused("true", working_directory=directory))

    def test_missing_command(self, way: Way) -> None:
        """A command that no directory of PATH has is named with that PATH."""
        assert "exec: no command 'no-such' in PATH /a:/b" == str(
            way.refused(["no-such"], environment={"PATH": "/a:/b"})
        )

    def test_missing_path(self, way: Way) -> None:
        """A path that leads nowhere is named."""
        failure = way.refused(["/no/such"])
        assert ("exec", "No such file or directory", errno.ENOENT) == (
            str(failure).partition(":")[0], str(failure).rpartition(": ")[2], failure.number,
        )  # fmt: skip

    def test_missing_command_leaves_nothing(self, way: Way) -> None:
        """After a failure the supervisor's own umask and directory are as before (see the fixture)."""
        way.refused(["no-such"], umask=0o777, working_directory="/usr")

    @pytest.mark.parametrize(
        ("content", "mode", "text"),
        [
            (b"echo no shebang\n", 0o755, "a script needs a first line such as #!/bin/sh"),
            (b"\x7fELF nothing", 0o755, "a script needs a first line such as #!/bin/sh"),
            (b"#!/no/such/interpreter\n", 0o755, "its interpreter /no/such/interpreter is missing"),
            (b"#!/bin/sh\r\n", 0o755, "its interpreter /bin/sh is missing; the file has DOS line ends"),
            (b"#!/bin/sh\n", 0o644, "Permission denied"),
        ],
    )
    def test_not_executable(self, way: Way, public: Path, content: bytes, mode: int, text: str) -> None:
        """What the kernel refuses to execute is refused by name, and handed to no shell."""
        (public / "x").write_bytes(content)
        (public / "x").chmod(mode)
        failure = str(way.refused([f"{public}/x"]))
        assert ("exec", text) == (failure.partition(":")[0], failure.rpartition(": ")[2])

    def test_a_failure_names_the_program(self, way: Way, public: Path) -> None:
        """The path that was executed is in the message, whichever way it was started."""
        (public / "x").write_bytes(b"no shebang")
        (public / "x").chmod(0o755)
        expected = f"exec: {public}/x: Exec format error: a script needs a first line such as #!/bin/sh"
        assert expected == str(way.refused([f"{public}/x"]))

    def test_too_many_arguments(self, way: Way) -> None:
        """A command line beyond the kernel's limit is the job's fault."""
        failure = way.refused(["true", "x" * (1 << 18)])
        assert (errno.E2BIG, False) == (failure.number, is_system_trouble(failure))

    def test_an_odd_path(self, way: Way) -> None:
        """A directory whose name has newlines, or bytes that are no UTF-8, fails like any other."""
        failure = str(way.refused("true", working_directory="/no\nsuch"))
        assert failure == "chdir: /no\nsuch: No such file or directory"


class TestUsers:
    def test_unknown(self) -> None:
        """A user that the host does not have is named."""
        assert "user: no user 'no-such' on this host" == str(Way("x").refused("true", user="no-such"))

    @NEEDS_USER
    def test_another_user_without_root(self) -> None:
        """Only root can run jobs as somebody else, and that is said before anything is tried."""
        failure = Way("x").refused("true", user="root")
        assert ("user: only root can run jobs as 'root'", errno.EPERM) == (str(failure), failure.number)

    def test_oneself_by_name(self) -> None:
        """Our own user may be named."""
        assert (f"{ME.pw_uid}\n", 0) == Way("x").run("id -u", user=ME.pw_name)

    @NEEDS_ROOT
    def test_drop(self) -> None:
        """A job of another user has that user's ids in all places, and none of root's groups or capabilities."""
        account = pwd.getpwnam(OTHER)
        before = os.getgroups()
        os.setgroups([0, 4, 27])
        try:
            output, _code = Way("other user").run(
                ["grep", "-E", "^(Uid|Gid|Groups|CapEff|CapPrm)", "/proc/self/status"]
            )
        finally:
            os.setgroups(before)
        found = {name: value.split() for name, value in (line.split(":") for line in output.splitlines())}
        groups = os.getgrouplist(OTHER, account.pw_gid)
        assert found == {
            "Uid": [str(account.pw_uid)] * 4, "Gid": [str(account.pw_gid)] * 4, "Groups": [str(g) for g in groups],
            "CapPrm": ["0" * 16], "CapEff": ["0" * 16],
        }  # fmt: skip
        assert "0" not in found["Groups"]

    @NEEDS_ROOT
    def test_can_not_get_back(self) -> None:
        """A job of another user can't become root again."""
        become = "for name in ruid euid; do setpriv --$name=0 true 2>&1 | grep -c 'Operation not permitted'; done"
        assert ("1\n1\n", 0) == Way("other user").run(become)

    @NEEDS_ROOT
    def test_keys(self) -> None:
        """A job of another user has a session keyring, but not the one that the jobs of root have."""
        spawn.join_keyring()
        ours = f"{spawn._LIBC.syscall(spawn._KEYCTL[os.uname().machine], 0, -3, 0):08x}"  # KEYCTL_GET_KEYRING_ID
        names = ("posix_spawn", "other user", "other user by become")
        seen = [Way(name).run("grep ' _ses:' /proc/keys")[0] for name in names]
        assert [ours in keyrings for keyrings in seen] == [True, False, False]
        assert [len(keyrings.splitlines()) for keyrings in seen[1:]] == [1, 1]

    @NEEDS_ROOT
    def test_directory_as_the_user(self, public: Path) -> None:
        """The directory is entered as the job's user: root's rights don't help."""
        public.chmod(0o700)
        failure = str(Way("other user").refused("true", working_directory=str(public)))
        assert f"chdir: {public}: Permission denied" == failure

    @NEEDS_ROOT
    @pytest.mark.parametrize("place", ["users directory", "link", "file of the user", "link on the way"])
    def test_a_file_of_variables_as_the_user(self, public: Path, place: str) -> None:
        """A file that the user could exchange is read as that user: it leads to none of root's secrets."""
        account, secret = pwd.getpwnam(OTHER), public / "root's"
        secret.mkdir(mode=0o700)
        (secret / "env").write_text("TOKEN=root's\n")
        home = public / "home"
        home.mkdir()
        os.chown(home, account.pw_uid, account.pw_gid)
        path = home / "env"
        match place:
            case "users directory":
                path = home / "root's" / "env"
                path.parent.mkdir(mode=0o700)
                path.write_text("TOKEN=root's\n")
            case "link":
                path.symlink_to(secret / "env")
            case "link on the way":
                (home / "way").symlink_to(secret)
                path = home / "way" / "env"
            case "file of the user":
                path = secret / "env"
                os.chown(path, account.pw_uid, account.pw_gid)
        why = (
            "the job's user must be able to read it, because users other than root can change it or a"
            " directory above it"
        )
        failure = Way("other user").refused("echo $TOKEN", environment_file=[str(path)])
        assert f"environment_file: {path}: Permission denied; {why}" == str(failure)

    @NEEDS_ROOT
    def test_files_of_variables_of_root_and_user(self, public: Path) -> None:
        """Root's own file may be for root only, the user's for the user or one of its groups; the last wins."""
        account = pwd.getpwnam(OTHER)
        kept, own, shared = (public / name for name in ("root", "own", "shared"))
        for number, (path, mode) in enumerate(((kept, 0o600), (own, 0o400), (shared, 0o660))):
            path.write_text(f"WINS={path.name}\nV{number}={number}\n")
            path.chmod(mode)
        os.chown(own, account.pw_uid, -1)
        os.chown(shared, -1, 54321)
        keys = {"environment_file": [str(kept), str(own), str(kept), str(shared)], "groups": ["54321"]}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(spawn, "groups_of", lambda _order, user: (user.gid, [54321]))
            assert ("shared 0 1 2\n", 0) == Way("other user").run("echo $WINS $V0 $V1 $V2", **keys)
            keys["environment_file"].append(str(kept))
            assert ("root\n", 0) == Way("other user").run("echo $WINS", **keys)

    @NEEDS_ROOT
    def test_nobody_looks_into_it_before_its_exec(self, public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Between the change of user and exec it has memory of ours: its user can neither trace it nor have its
        core.
        """

        def look(*_: object) -> NoReturn:
            flag = spawn._LIBC.prctl(3, 0, 0, 0, 0)  # PR_GET_DUMPABLE
            raise StartFailed("seen", 0, f"uid {os.getuid()}, dumpable {flag}")

        monkeypatch.setattr(spawn, "_change_directory", look)
        spawn._LIBC.prctl(4, 1, 0, 0, 0)
        assert f"seen: uid {pwd.getpwnam(OTHER).pw_uid}, dumpable 0" == str(Way("other user").refused("true"))
        assert 1 == spawn._LIBC.prctl(3, 0, 0, 0, 0)

    def test_a_step_that_hangs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody waits for ever for a file system, also not where the child had something to tell before."""
        monkeypatch.setattr(spawn, "_START_SECONDS", 0.5)
        monkeypatch.setattr(spawn, "_spawn", lambda _plan: None)
        monkeypatch.setattr(spawn, "_change_directory", lambda _order, _user, warn: (warn("slow"), signal.pause()))
        failure = Way("fork").refused("true")
        assert str(failure) == f"chdir: {os.path.expanduser('~root')}: no answer in 0.5 s" or os.geteuid()
        assert not is_system_trouble(failure)

    @NEEDS_ROOT
    def test_a_step_that_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A step of the privilege drop that fails is named, and the job is not started."""
        steps = {"fchown": "stdio", "setgroups": "setgroups", "setresgid": "setgid", "setresuid": "setuid"}
        needs = ("CAP_CHOWN", "CAP_SETGID", "CAP_SETGID", "CAP_SETUID")
        for (function, step), need in zip(steps.items(), needs, strict=True):
            with monkeypatch.context() as patch:
                patch.setattr(os, function, refuse)
                reason = (
                    f"{step}: Operation not permitted: jobs as other users need {need}, which root does not have here"
                )
                assert reason == str(Way("other user").refused("echo started"))

    @NEEDS_ROOT
    def test_the_job_of_a_user_who_is_another_by_now(self) -> None:
        """Name and number are both that user's, or nothing is started: neither a name nor a number is inherited."""
        account = pwd.getpwnam(USER)
        for name, uid, why in (
            (USER, account.pw_uid, ""),
            (
                USER,
                4242,
                f"user {USER!r} has uid {account.pw_uid} on this host, but the job belongs to uid 4242",
            ),
            ("no-such", account.pw_uid, "no user 'no-such' on this host"),
            (OTHER, 65534, "uid 65534 stands for users without a uid on this host, so it can't have jobs"),
            ("root", 0, "root's jobs are in the job directory; for a user's files, add --user NAME"),
        ):
            keys = {"user": name, "owner": owner(uid, name)}
            if not why:
                assert (f"{uid}\n", 0) == Way("fork").run("id -u", **keys)
            else:
                assert f"user: {why}" == str(Way("fork").refused("true", **keys))

    @NEEDS_ROOT
    def test_a_users_own_job_gets_no_groups_of_others(self) -> None:
        """Unless the site permits that one; the user's own are as they would be."""
        account = pwd.getpwnam(USER)
        own = grp.getgrgid(account.pw_gid).gr_name
        keys = {"user": USER, "owner": owner(account.pw_uid, USER)}
        assert (f"{account.pw_gid}\n", 0) == Way("fork").run("id -g", group=own, groups=[own], **keys)
        for asked in ({"group": "root"}, {"groups": [own, "root"]}):
            assert f"group: user {USER!r} is not in group 'root'" == str(Way("fork").refused("true", **asked, **keys))
        keys["owner"] = owner(account.pw_uid, USER, more_groups=("root",))
        assert ("0\n", 0) == Way("fork").run("id -g", group="root", **keys)
        refused = Way("fork").refused("true", groups=["root", "shadow"], **keys)
        assert f"group: user {USER!r} is not in group 'shadow'" == str(refused)

    @NEEDS_ROOT
    def test_a_users_own_job_has_its_files_of_variables_read_by_the_user(self, public: Path) -> None:
        """Also one that root alone can change: root may have the secret of it, and the user not."""
        secret, shared = public / "secret", public / "shared"
        for path, mode in ((secret, 0o600), (shared, 0o644)):
            path.write_text(f"TOKEN={path.name}\n")
            path.chmod(mode)
        keys = {"user": USER, "owner": owner(pwd.getpwnam(USER).pw_uid, USER)}
        assert ("shared\n", 0) == Way("fork").run("echo $TOKEN", environment_file=[str(shared)], **keys)
        failure = Way("fork").refused("echo $TOKEN", environment_file=[str(secret)], **keys)
        assert f"environment_file: {secret}: Permission denied" == str(failure)

    @NEEDS_ROOT
    def test_a_users_own_job_raises_no_limit(self) -> None:
        """What the host gives everybody is the most; less may be asked for."""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        keys = {"user": USER, "owner": owner(pwd.getpwnam(USER).pw_uid, USER)}
        for most in (hard, 64):
            limits = {"limits": {"RLIMIT_NOFILE": ["open_files", most, most]}}
            assert (f"{most}\n", 0) == Way("fork").run("ulimit -Hn", attributes=limits, **keys)
        limits = {"limits": {"RLIMIT_NOFILE": ["open_files", hard + 1, hard + 1]}}
        why = f"resource_limits: open_files: users of this host are limited to {hard}"
        assert why == str(Way("fork").refused("true", attributes=limits, **keys))

    @NEEDS_ROOT
    @pytest.mark.parametrize("home", ["missing", "another's", "a link", "a loop"])
    def test_the_home_of_a_user_is_entered_as_that_user(
        self, public: Path, monkeypatch: pytest.MonkeyPatch, home: str
    ) -> None:
        """One that can't be entered is no failure: it runs in /, and a warning says so; root's rights don't help."""
        account, path = pwd.getpwnam(USER), public / "home"
        match home:
            case "another's":
                path.mkdir(mode=0o700)
            case "a link":
                (public / "secret").mkdir(mode=0o700)
                path.symlink_to(public / "secret")
            case "a loop":
                path.symlink_to(path)
        entry = pwd.struct_passwd((*account[:5], str(path), account.pw_shell))
        monkeypatch.setattr(pwd, "getpwnam", lambda _name: entry)
        asked = order("pwd", user=USER, owner=owner(account.pw_uid, USER))
        with open(os.devnull, "wb") as sink:
            started = spawn.spawn(asked, sink.fileno(), Cgroup(-1, ""))
        os.waitpid(started.pid, 0)
        why = {"missing": "No such file or directory", "a loop": "Too many levels of symbolic links"}
        assert [f"the home {path}: {why.get(home, 'Permission denied')}; it ran in /"] == started.warnings

    def test_a_group_of_many(self) -> None:
        """The test's other user is not in group 0, or the tests above show nothing."""
        assert OTHER not in grp.getgrgid(0).gr_mem


def refuse(*_: object) -> None:
    """A system call that fails."""
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


class TestFind:
    def test_as_execvp(self, tmp_path: Path) -> None:
        """The first executable file of that name counts; directories and what is not executable are passed over."""
        for name in "abcd":
            (tmp_path / name).mkdir()
        (tmp_path / "a" / "tool").mkdir()
        (tmp_path / "b" / "tool").touch(0o644)
        (tmp_path / "c" / "tool").touch(0o755)
        (tmp_path / "d" / "tool").touch(0o755)
        path = ":".join(f"{tmp_path}/{name}" for name in ("missing", *"abcd"))
        assert f"{tmp_path}/c/tool" == find("tool", path)
        assert "./tool" == find("./tool", path)


def test_system_trouble() -> None:
    """A full process table is the host's fault, a missing command the job's."""
    assert is_system_trouble(StartFailed("fork", errno.EAGAIN))
    assert not is_system_trouble(StartFailed("exec", errno.ENOENT))


def test_an_account_that_nobody_knows() -> None:
    """A container's arbitrary uid, without an entry in the user database, has a name and a home all the same."""
    check = (
        "import pwd\ndef gone(uid): raise KeyError(uid)\npwd.getpwuid = gone\n"
        "from jobqueued.child.start import identity as i\nprint(i._OWN.name, i._OWN.home, i._OWN.shell)"
    )
    found = subprocess.run(
        [sys.executable, "-c", check], cwd=REPO, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert f"{os.geteuid()} / /bin/sh\n" == found.stdout


def test_nothing_is_left_open(way: Way) -> None:
    """Started or not, a job costs us no descriptor."""
    way.run("true")
    before = wait_for(lambda: sorted(os.listdir("/proc/self/fd")))
    way.run("true")
    way.refused(["/no/such"])
    assert len(before) == len(os.listdir("/proc/self/fd"))


def test_user() -> None:
    """A User is what the user database says."""
    assert (ME.pw_name, ME.pw_uid, ME.pw_gid, ME.pw_dir, ME.pw_shell) == tuple(
        getattr(User(ME), name) for name in ("name", "uid", "gid", "home", "shell")
    )
