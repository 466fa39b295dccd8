"""The command line: what must be true before the daemon starts, each failure with its remedy, and how it is told."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import resource
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobqueued import __version__
from jobqueued.child.contract import atomic_file
from jobqueued.state.db.formats import VERSION
from jobqueued.state.db.store import Store
from tests.support import REPO
from tests.support.host import DEADLINE, Host, limited, lives, wait_for
from tests.support.users import NEEDS_USER

FROM_ANYWHERE = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(REPO), os.environ.get("PYTHONPATH")]))}


def jobqueued(*arguments: str | Path, **options: Any) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a daemon that should not stay."""
    environment = {**FROM_ANYWHERE, "COLUMNS": "200"}
    found = subprocess.run(
        [sys.executable, "-m", "jobqueued", *map(str, arguments)],
        cwd=REPO, env=environment, capture_output=True, text=True, timeout=DEADLINE, check=False,
        **options,
    )  # fmt: skip
    return found.returncode, found.stdout, found.stderr


def refused(*arguments: str | Path, **options: Any) -> str:
    """The last line that a daemon which can't start leaves: exit status 1, no stack trace."""
    status, output, errors = jobqueued(*arguments, **options)
    assert (1, "") == (status, output), errors
    assert "Traceback" not in errors
    return errors.splitlines()[-1]


def opened_by(pid: int) -> list[str]:
    """The files that a process has open."""
    found = []
    for name in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed by now
            found.append(os.readlink(name))
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A --root with a directory for jobs."""
    (tmp_path / "jobqueued-root" / "jobqueue.d").mkdir(parents=True)
    return tmp_path / "jobqueued-root"


class TestUsage:
    def test_help(self) -> None:
        """--help names every option, on stdout."""
        status, output, errors = jobqueued("--help")
        assert (0, "") == (status, errors)
        options = {"root", "user", "config", "jobs", "state", "run", "logs", "journal"}
        options |= {"launcher", "delegated", "log", "detach", "trace", "pid-file", "version", "help"}
        assert options == set(re.findall(r"^  (?:-h, )?--([a-z-]+)", output, re.M))

    def test_version(self) -> None:
        """--version tells the version, on stdout."""
        assert (0, f"jobqueued {__version__}\n", "") == jobqueued("--version")

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (["--no-such"], "unrecognized arguments: --no-such"),
            (["--ro", "x"], "unrecognized arguments: --ro x"),
            (["word"], "unrecognized arguments: word"),
            (["--root"], "argument --root: expected one argument"),
            (["--log", "loud"], "argument --log: invalid choice: 'loud'"),
        ],
    )
    def test_wrong(self, arguments: list[str], text: str) -> None:
        """What is no option exits with 2, names it, and starts nothing."""
        status, output, errors = jobqueued(*arguments)
        assert (2, "") == (status, output)
        assert text in errors


def test_the_lock_of_a_dead_daemon(host: Host) -> None:
    """A daemon killed as it started its launcher may leave its lock to that for a moment, which is waited for."""
    (host.root / "state").mkdir()
    gone = subprocess.Popen(["true"])
    gone.wait()
    with open(host.root / "state" / "lock", "w") as lock:
        lock.write(f"{gone.pid}\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        launcher = subprocess.Popen(["sleep", "0.5"], pass_fds=[lock.fileno()])
    host.start()
    assert launcher.wait() == 0


class TestCanNotStart:
    @pytest.mark.parametrize("option", ["state", "run", "logs"])
    def test_no_directory(self, root: Path, option: str) -> None:
        """A directory that can't be made, by root neither, is named, and what jobqueued needs."""
        message = refused("--root", root, f"--{option}", "/dev/null/x")
        assert re.fullmatch(
            "jobqueued: /dev/null/x[^ ]*: Not a directory; jobqueued needs write permission there", message
        )

    @NEEDS_USER
    @pytest.mark.parametrize("option", ["state", "run", "logs"])
    def test_read_only(self, root: Path, tmp_path: Path, option: str) -> None:
        """A directory that this user may not write is named."""
        (tmp_path / "closed").mkdir(mode=0o500)
        message = refused("--root", root, f"--{option}", tmp_path / "closed")
        assert f"jobqueued: {tmp_path}/closed" in message
        assert "jobqueued needs write permission there" in message

    def test_second_daemon(self, host: Host) -> None:
        """A second daemon on one state names the first one's pid; the first goes on."""
        first = host.start()
        assert refused("--root", host.root) == (
            f"jobqueued: {host.root}/state is in use by another jobqueued (pid {first.pid}); "
            "stop it, or use another --state"
        )
        assert first.pid == host.call("Status")["pid"]

    def test_second_daemon_on_one_run_directory(self, host: Host, tmp_path: Path) -> None:
        """Neither does one with a state of its own begin there: it would take the launcher and the control socket."""
        first = host.start()
        assert refused("--root", host.root, "--state", tmp_path / "other") == (
            f"jobqueued: {host.root}/run is in use by another jobqueued (pid {first.pid}); "
            "stop it, or use another --run"
        )
        assert first.pid == host.call("Status")["pid"]
        assert "the launcher is gone" not in host.log()

    @pytest.mark.parametrize("quicker", ["a", "a/b", "a/b/c"])
    def test_two_make_a_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quicker: str) -> None:
        """Of two daemons on a new root either may make each of its directories: to the other that is no error."""
        mkdir = os.mkdir

        def late(path: str, mode: int) -> None:
            if path.endswith(f"/{quicker}") and os.path.isdir(os.path.dirname(path)):
                mkdir(path)
            mkdir(path, mode)

        monkeypatch.setattr(atomic_file.os, "mkdir", late)
        atomic_file.make_directory(str(tmp_path / "a/b/c"), 0o700)
        assert (tmp_path / "a/b/c").is_dir()

    def test_too_few_descriptors(self, host: Host) -> None:
        """Fewer than it needs is one clear message, which names the remedy."""
        host.program = limited(32)
        host.start(ready=False)
        assert host.daemon is not None
        assert 1 == host.daemon.wait(DEADLINE)
        assert (
            "jobqueued: a limit of 32 open files is too low; raise LimitNOFILE= or ulimit -n to at"
            " least 64\n" == host.log()
        )

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("max_running: many\n", "1:14: max_running: found 'many'"),
            ("max_runing: 1\n", "1:1: max_runing: found an unknown key"),
            ("[", "this is not YAML"),
        ],
    )
    def test_broken_settings(self, root: Path, text: str, problem: str) -> None:
        """A broken jobqueued.yaml is named with the place, and what to do."""
        path = root / "jobqueued.yaml"
        path.write_text(text)
        status, _output, errors = jobqueued("--root", root, "--log", "text")
        first, last = errors.splitlines()[0], errors.splitlines()[-1]
        assert 1 == status
        assert f"{path}:" in first
        assert problem.partition(": ")[2] in first
        assert last == f"jobqueued: {path} has errors; fix the errors above, or remove the file to use the defaults"

    def test_newer_state(self, root: Path) -> None:
        """A state of a newer jobqueued is not touched."""
        (root / "state").mkdir()
        Store(root / "state").close()
        with sqlite3.connect(root / "state" / "state.db") as db:
            db.execute(f"PRAGMA user_version = {VERSION + 1}")
        db.close()
        before = (root / "state" / "state.db").read_bytes()
        said = refused("--root", root)
        assert f"was written by a newer jobqueued (format {VERSION + 1}); this one supports up to {VERSION}" in said
        assert before == (root / "state" / "state.db").read_bytes()

    def test_no_launcher(self, root: Path, tmp_path: Path) -> None:
        """Where the launcher of --launcher does not answer, it says what to do: below a root are no units."""
        message = refused("--root", root, "--launcher", tmp_path / "none")
        assert message.endswith("(No such file or directory); start one there, or omit --launcher")


class TestLife:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_stop(self, host: Host, number: int) -> None:
        """SIGTERM and SIGINT stop it in order: status 0, a last word, the state closed."""
        host.start()
        assert 0 == host.stop(number)
        assert ["nothing was running"] == [line["summary"] for line in host.said("stopped")]
        assert not (host.root / "state" / "state.db-wal").exists()

    def test_reload_in_the_first_moments(self, host: Host) -> None:
        """SIGHUP before the daemon is ready does not end it; it is a reload once that is."""
        (host.root / "state").mkdir()
        with open(host.root / "state" / "lock", "w") as lock:
            lock.write("99999999")  # of a dead daemon, for which it waits
            lock.flush()
            fcntl.flock(lock, fcntl.LOCK_EX)
            daemon = host.start(ready=False)
            wait_for(lambda: str(host.root / "state" / "lock") in opened_by(daemon.pid), why="a daemon that waits")
            daemon.send_signal(signal.SIGHUP)
        wait_for(lambda: host.said("ready") or host.daemon_ended(), why="ready")
        assert not host.daemon_ended(), host.log()
        assert 0 == host.stop()

    def test_signals_that_were_blocked(self, host: Host) -> None:
        """Whoever starts the daemon may have blocked all signals: they count all the same."""
        command = [sys.executable, "-m", "jobqueued", "--root", str(host.root), "--log", "json"]
        with open(host.root / "daemon.log", "ab") as log:
            previous = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            host.daemon = subprocess.Popen(command, cwd=REPO, stderr=log)
            signal.pthread_sigmask(signal.SIG_SETMASK, previous)
        wait_for(lambda: host.said("ready"), why="ready")
        host.write("a.yaml", "jobs: {a: {command: 'true'}}")
        host.daemon.send_signal(signal.SIGHUP)
        wait_for(lambda: host.said("jobs_read"), why="a reload")
        assert 0 == host.stop()

    def test_reload(self, host: Host) -> None:
        """SIGHUP lists the directory; a file that its writer keeps open is told, and read when it is closed."""
        host.write("open.yaml", "jobs: {old: {command: 'true'}}")
        host.start()
        with open(host.root / "jobqueue.d" / "open.yaml", "r+") as file:
            file.write("jobs: {open: {command: 'true'}}")
            file.flush()
            host.write("closed.yaml", "jobs: {closed: {command: 'true'}}")
            wait_for(lambda: len(host.said("jobs_read")) == 2)
            assert host.daemon is not None
            host.daemon.send_signal(signal.SIGHUP)
            wait_for(lambda: host.said("odd"))
            assert (
                "open.yaml: is still being written; it will be read when its writer"
                " closes it" in host.said("odd")[0]["message"]
            )
            assert {"closed", "old"} == {job["id"] for job in host.call("List")["jobs"]}
        wait_for(lambda: len(host.said("jobs_read")) == 3)
        assert {"closed", "open"} == {job["id"] for job in host.call("List")["jobs"]}
        assert [] == host.said("run_started")

    def test_paths(self, host: Host, tmp_path: Path) -> None:
        """Each path can be another than --root's."""
        (tmp_path / "jobs").mkdir()
        (tmp_path / "jobs" / "a.yaml").write_text("jobs: {a: {command: echo x}}")
        host.start("--jobs", str(tmp_path / "jobs"), "--state", str(tmp_path / "s"), "--logs", str(tmp_path / "l"))
        host.wait(host.run("a"))
        assert b"x\n" == (tmp_path / "l" / "a" / "1.log").read_bytes()
        assert (tmp_path / "s" / "state.db").exists()
        assert not (host.root / "state").exists()

    def test_descriptors(self, host: Host) -> None:
        """What whoever starts the daemon has open is not passed on to jobs."""
        host.write("a.yaml", "jobs: {a: {command: [ls, /proc/self/fd]}}")
        reading, writing = os.pipe()
        os.set_inheritable(writing, True)
        command = [sys.executable, "-m", "jobqueued", "--root", str(host.root), "--log", "json"]
        with open(host.root / "daemon.log", "ab") as log:
            host.daemon = subprocess.Popen(command, cwd=REPO, stderr=log, stdout=log, pass_fds=[writing])
        os.close(writing)
        os.close(reading)
        wait_for(lambda: host.said("ready"))
        run = host.run("a")
        host.wait(run)
        assert b"0\n1\n2\n3\n" == host.output(run)


class Detached:
    """A daemon in the background, with a syslogd of its own, known by its PID file."""

    def __init__(self, root: Path) -> None:
        self.root, self.file = root, root.parent / "pid"
        self.syslog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.syslog.bind(str(root.parent / "log"))
        self.syslog.settimeout(DEADLINE)

    def command(self, *arguments: str | Path, before: str = "pass") -> list[str]:
        """What starts one: `main` with other addresses for lines, and what is to be done before."""
        addresses = f"log._JOURNAL, log._SYSLOG = '/none', {str(self.root.parent / 'log')!r}"
        imports = "import os, sys; from jobqueued import __main__; from jobqueued.host import log"
        program = f"{imports}; {addresses}; {before}; sys.exit(__main__.main())"
        options = ["--root", self.root, "--pid-file", self.file, "--detach"]
        return [sys.executable, "-c", program, *map(str, arguments or options)]

    def start(self, *arguments: str | Path, before: str = "pass", cwd: Path = REPO) -> tuple[int, str]:
        """Start one; the exit status of who waits for it in the foreground, and what that one said."""
        command = self.command(*arguments, before=before)
        done = subprocess.run(
            command, cwd=cwd, env=FROM_ANYWHERE, check=False, timeout=DEADLINE, capture_output=True, text=True
        )
        assert "" == done.stdout
        return done.returncode, done.stderr

    def pid(self) -> int:
        """The running one's."""
        return int(self.file.read_text())

    def stop(self) -> None:
        """Stop it in order."""
        pid = self.pid()
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not lives(pid))


@pytest.fixture
def detached(root: Path) -> Iterator[Detached]:
    """What it started is ended afterwards."""
    detached = Detached(root)
    yield detached
    detached.syslog.close()
    if detached.file.exists() and lives(pid := int(detached.file.read_text() or 0)):
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not lives(pid))
    ended = Host(root.parent / "other")
    ended.root = root
    ended.close()


class TestDetach:
    def test_background(self, detached: Detached) -> None:
        """Once jobs run, --detach leaves a daemon of its own session in /, known by its PID file, told to syslog."""
        assert (0, "") == detached.start()
        pid = detached.pid()
        assert "/" == os.readlink(f"/proc/{pid}/cwd")
        assert ["/dev/null"] * 3 == [os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)]
        assert os.getsid(pid) not in (os.getsid(0), pid)
        assert str(os.getpid()) != Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        line = detached.syslog.recv(4096).decode()
        assert re.fullmatch(
            rf"<30>... [ \d]\d ..:..:.. jobqueued\[{pid}\]: ready: jobqueued .*, 0 jobs, 0 running", line
        )
        detached.stop()
        assert "stopped: nothing was running" in detached.syslog.recv(4096).decode()
        assert not detached.file.exists()
        assert not (detached.root / "state" / "state.db-wal").exists()

    def test_jobs_run_when_it_returns(self, detached: Detached) -> None:
        """Who calls it may ask for a run at once; the job's limits are those of the caller, core files too."""
        (detached.root / "jobqueue.d" / "a.yaml").write_text("jobs: {a: {command: 'ulimit -c; ulimit -Hc; umask'}}")
        core = resource.getrlimit(resource.RLIMIT_CORE)
        assert (0, "") == detached.start()
        host = Host(detached.root.parent / "host")
        host.root = detached.root
        host.wait(host.run("a"))
        words = ["unlimited" if limit == resource.RLIM_INFINITY else str(limit) for limit in core]
        assert [*words, "0022"] == host.output("a@1").decode().split()

    def test_relative_paths(self, root: Path, detached: Detached) -> None:
        """Relative paths are those of where it was started, though the daemon itself goes to /."""
        wrong = Path("/", root.name)
        try:
            arguments = "--root", root.name, "--pid-file", detached.file.name, "--detach"
            assert (0, "") == detached.start(*arguments, cwd=root.parent)
            assert (root / "run" / "control").exists()
            assert lives(detached.pid())
            assert not wrong.exists()
        finally:
            shutil.rmtree(wrong, ignore_errors=True)

    def test_the_pid_file_is_the_running_one_s(self, detached: Detached) -> None:
        """A second daemon is refused, on this state and on another with this PID file, and leaves the file alone."""
        detached.start()
        first = detached.pid()
        message = "jobqueued: {} is in use by another jobqueued (pid {}); stop it, or use another {}\n"
        assert (1, message.format(detached.root / "state", first, "--state")) == detached.start()
        other = detached.root.parent / "other-root"
        assert (1, message.format(detached.file, first, "--pid-file")) == detached.start(
            "--root", other, "--pid-file", detached.file, "--detach"
        )
        assert first == detached.pid()

    def test_a_pid_file_that_somebody_else_locks(self, detached: Detached) -> None:
        """Everybody may read it, and so lock it; that keeps no daemon from starting, and two from one file."""
        detached.file.write_text("1234567890\n")
        with open(detached.file) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            assert (0, "") == detached.start()
            other = detached.root.parent / "other-root"
            status, said = detached.start("--root", other, "--pid-file", detached.file, "--detach")
            assert (1, True) == (status, f"is in use by another jobqueued (pid {detached.pid()}); stop it" in said)
        assert 0o600 == stat.S_IMODE((detached.root / "run" / "scheduler.lock").stat().st_mode)

    def test_a_stale_pid_file_is_replaced(self, detached: Detached) -> None:
        """The file of a killed daemon, whoever has its pid now, is taken over."""
        detached.file.write_text(f"{os.getpid()} is somebody else by now\n")
        assert (0, "") == detached.start()
        assert f"{detached.pid()}\n" == detached.file.read_text()
        assert 0o644 == stat.S_IMODE(detached.file.stat().st_mode)
        os.kill(killed := detached.pid(), signal.SIGKILL)
        wait_for(lambda: not lives(killed))
        assert f"{killed}\n" == detached.file.read_text()
        assert (0, "") == detached.start()
        assert killed != detached.pid()

    def test_what_fails_in_the_background_is_told_in_the_foreground(self, detached: Detached) -> None:
        """A start that fails after the fork is exit status 1, and its reason; no PID file is left."""
        status, said = detached.start(
            before="from jobqueued.runs import launcher_link as link; link.LAUNCHER, link.HELLO_SECONDS = '/none', 0.1"
        )
        assert 1 == status
        assert re.fullmatch("jobqueued: the launcher at .* does not answer; see .*\n", said)
        assert not detached.file.exists()

    def test_a_bug_at_the_start_is_told_in_the_foreground(self, detached: Detached) -> None:
        """Even a stack trace of the start is not lost."""
        before = "from jobqueued.daemon import daemon; daemon.Daemon.run = lambda *_: 1 / 0"
        status, said = detached.start(before=before)
        assert (1, "ZeroDivisionError: division by zero") == (status, said.splitlines()[-1])

    def test_a_daemon_that_is_killed_at_the_start(self, detached: Detached) -> None:
        """Who waits in the foreground hears of it, and that there was no word."""
        before = "from jobqueued.daemon import daemon; daemon.Daemon.run = lambda *_: os.kill(os.getpid(), 9)"
        assert (1, "jobqueued: the daemon ended before it was ready, without a message\n") == detached.start(
            before=before
        )

    def test_nobody_waits_any_more(self, detached: Detached) -> None:
        """A daemon starts although whoever waited in the foreground was killed."""
        before = "from jobqueued.host import detach; detach._attend = lambda _: os.kill(os.getpid(), 9)"
        assert -signal.SIGKILL == detached.start(before=before)[0]
        assert "ready" in detached.syslog.recv(4096).decode()
        assert lives(detached.pid())

    def test_nobody_to_tell(self, detached: Detached) -> None:
        """Without journald and syslog it warns that messages are lost, and starts; a later syslog gets them."""
        os.rename(detached.root.parent / "log", detached.root.parent / "away")
        status, said = detached.start()
        assert (0, "jobqueued: neither journald nor syslog is running, so log messages are lost") == (
            status,
            said.splitlines()[0],
        )
        os.rename(detached.root.parent / "away", detached.root.parent / "log")
        detached.stop()
        assert "stopped" in detached.syslog.recv(4096).decode()

    @pytest.mark.parametrize("log", ["text", "json"])
    def test_no_stderr(self, root: Path, log: str) -> None:
        """Formats for stderr are refused where there is none."""
        status, _output, errors = jobqueued("--root", root, "--detach", "--log", log)
        assert 2 == status
        assert (
            f"argument --log: {log} needs stderr, which a daemon with --detach does not have; omit one"
            " of them" in errors
        )

    def test_closed_descriptors(self, detached: Detached) -> None:
        """Started with 0, 1 and 2 closed, as some init scripts do."""
        command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *detached.command()]
        assert 0 == subprocess.run(command, cwd=REPO, env=FROM_ANYWHERE, timeout=DEADLINE, check=False).returncode
        assert lives(detached.pid())


def test_without_dev_null(tmp_path: Path) -> None:
    """Where /dev/null can't be opened, which standard descriptors may need, that is said in a line."""
    null = tmp_path / "null"
    program = f"import os, sys; os.devnull = {str(null)!r}; from jobqueued.__main__ import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPO, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"jobqueued: cannot open {null}: No such file or directory\n"


_WITHOUT_DESCRIPTORS = """
import errno, sys

class Finder:
    def find_spec(name, path=None, target=None):
        if name == "jobqueued.daemon.daemon":
            raise OSError(errno.ENFILE, "Too many open files in system", "daemon.py")

sys.meta_path.insert(0, Finder)
from jobqueued.__main__ import main
sys.exit(main(["--root", sys.argv[1]]))
"""


def test_a_module_that_can_not_be_read(tmp_path: Path) -> None:
    """A host without a free descriptor keeps it from starting, which is said in a line."""
    command = [sys.executable, "-c", _WITHOUT_DESCRIPTORS, str(tmp_path)]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert (1, "jobqueued: daemon.py: Too many open files in system\n") == (done.returncode, done.stderr)
