"""jobqueue-fence: who comes late is refused, whatever fails, and whoever is killed at which step."""

from __future__ import annotations

import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from jobqueued.child.contract.signals import signal_name
from jobqueued.child.fleet import fence
from tests.support import REPO
from tests.support.host import DEADLINE, kill, wait_for
from tests.support.pool import Pool
from tests.support.users import NEEDS_ROOT

PROGRAM = [sys.executable, "-I", "-S", fence.__file__]
FAILING = """
import fcntl, os, sys
sys.path.append(sys.argv.pop(1))
from jobqueued.child.fleet import fence
from tests.support.failing import Standing, wrap
points = Standing(sys.argv.pop(1))
points.install()
for module, name, call in ((fcntl, "flock", "lock"), (fcntl, "fcntl", "keep"), (os, "pread", "read")):
    wrap(points, module, name, call, lambda descriptor, *_: points.place(descriptor))
wrap(points, os, "posix_spawnp", "start", lambda *_args, **_kwargs: "-")
sys.exit(fence.main())
"""
"""The program, some call of which fails, or is its last one, as ROOT/standing has it."""

LEDGER = "echo begin $JOBQUEUE_FENCE >>{0}; {1}; echo end $JOBQUEUE_FENCE >>{0}"


def having(name: str, value: object) -> list[str]:
    """The program with another value of a constant."""
    code = f"import sys; sys.path.append({str(REPO)!r}); from jobqueued.child.fleet import fence\n"
    return [sys.executable, "-c", f"{code}fence.{name} = {value!r}; sys.exit(fence.main())"]


def told(done: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    """The exit status, and what is said without the name of the program."""
    return done.returncode, done.stderr.replace("jobqueue-fence: ", "").strip()


class Fenced:
    """A directory that hosts share, with the file, and what commands have done there."""

    def __init__(self, root: Path) -> None:
        self.root, self.shared = root, root / "shared"
        self.shared.mkdir()
        self.file, self.ledger = self.shared / "fence", root / "ledger"

    def words(self, command: str = "true", *options: str) -> list[str]:
        """The command line: COMMAND writes its begin and its end into the ledger, with what it does between."""
        return [*options, str(self.file), "--", "sh", "-c", LEDGER.format(self.ledger, command)]

    def begin(self, number: object, command: str = "true", *options: str, **more: Any) -> subprocess.Popen[str]:
        """The program with this number."""
        words, environment = self.words(command, *options), {**os.environ, fence.VARIABLE: str(number)}
        return subprocess.Popen(
            [*more.pop("program", PROGRAM), *words], env=environment, text=True, stderr=PIPE, cwd=self.root, **more
        )

    def run(self, number: object, command: str = "true", *options: str, **more: Any) -> tuple[int, str]:
        """The same to its end: the exit status, and what is said."""
        process = self.begin(number, command, *options, **more)
        _, said = process.communicate(timeout=DEADLINE)
        return told(subprocess.CompletedProcess((), process.returncode, "", said))

    def failing(self, point: str, number: int) -> tuple[int, str]:
        """The same where a call fails: "CALL NAME FAULT"."""
        (self.root / "standing").write_text(point)
        try:
            return self.run(number, program=[sys.executable, "-c", FAILING, str(REPO), str(self.root)])
        finally:
            (self.root / "standing").unlink()

    def had(self) -> list[str]:
        """The ledger, line by line."""
        return self.ledger.read_text().splitlines() if self.ledger.exists() else []

    def ran(self) -> list[int]:
        """The numbers of the commands that were run, one after the other."""
        had = self.had()
        numbers = [int(line.split()[1]) for line in had[::2]]
        assert [line for number in numbers for line in (f"begin {number}", f"end {number}")] == had
        return numbers


@pytest.fixture
def fenced(tmp_path: Path) -> Fenced:
    return Fenced(tmp_path)


def refusal(fenced: Fenced, seen: int, number: int) -> tuple[int, str]:
    said = f"{fenced.file}: refused: a later run, with number {seen}, has used it; this run has number {number}"
    return fence.REFUSED, said


def test_who_comes_late_is_refused(fenced: Fenced) -> None:
    """A run with a smaller number is not run; the same once more is, as is a greater one."""
    assert [(0, "")] * 3 == [fenced.run(number) for number in (9, 9, 10)]
    assert [refusal(fenced, 10, 9)] * 2 == [fenced.run(9), fenced.run(9)]
    assert (0, "") == fenced.run(10)
    assert [9, 9, 10, 10] == fenced.ran()
    assert f"{10:020} {10:020}\n" == fenced.file.read_text()
    assert (0, "") == fenced.run(fence._GREATEST)


def test_the_file_is_made_as_the_umask_says(fenced: Fenced) -> None:
    """Like any file that a program makes; one that is there keeps its mode."""
    for mask, mode in ((0o027, 0o640), (0o077, 0o600)):
        assert (0, "") == fenced.run(1, umask=mask)
        assert mode == fenced.file.stat().st_mode & 0o777
        assert (0, "") == fenced.run(1, umask=0o022)
        assert mode == fenced.file.stat().st_mode & 0o777
        fenced.file.unlink()


def test_the_exit_status_is_that_of_the_command(fenced: Fenced) -> None:
    """Of a signal 128 and its number, as a shell has it."""
    assert [0, 7, 123, 137, 143] == [
        fenced.run(1, end)[0] for end in ("exit", "exit 7", "exit 123", "kill -KILL $$", "kill $$")
    ]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], 125, f"FILE is missing\n{fence.USAGE}"),
        (["--"], 125, f"FILE is missing\n{fence.USAGE}"),
        (["", "true"], 125, f"FILE is missing\n{fence.USAGE}"),
        (["f"], 125, f"COMMAND is missing\n{fence.USAGE}"),
        (["f", "--"], 125, f"COMMAND is missing\n{fence.USAGE}"),
        (["--shared", "f", "true"], 125, f"no such option: --shared\n{fence.USAGE}"),
        (["--wait"], 125, f"--wait: found ''; expected seconds, such as 30 or 0.5\n{fence.USAGE}"),
        (["--wait=-1", "f", "true"], 125, f"--wait: found '-1'; expected seconds, such as 30 or 0.5\n{fence.USAGE}"),
        (["-w", "nan", "f", "true"], 125, f"--wait: found 'nan'; expected seconds, such as 30 or 0.5\n{fence.USAGE}"),
        (["f", "/no/such"], 127, "/no/such: No such file or directory"),
        (["f", "no-such-\x1b"], 127, "no-such-\\x1b: No such file or directory"),
        (["f", "/etc/passwd"], 126, "/etc/passwd: Permission denied"),
        (["/dev/null", "true"], 125, "/dev/null is not a regular file"),
        (["/no/such/f", "true"], 125, "cannot open /no/such/f: No such file or directory"),
        (["/", "true"], 125, "cannot open /: Is a directory"),
        (["--wait", "3", "f", "--", "sh", "-c", "exit 4"], 4, ""),
        (["-w", "3", "--", "f", "sh", "-c", "exit 4", "--wait"], 4, ""),
        (["--wait=0", "f", "sh", "-c", "exit 4"], 4, ""),
        (["--help"], 0, ""),
    ],
    ids=str,
)
def test_the_command_line(tmp_path: Path, words: list[str], status: int, said: str) -> None:
    """Each word of it is taken, or what is wrong with it is said."""
    environment = {**os.environ, "PATH": "/usr/bin:/bin", fence.VARIABLE: "7"}
    done = subprocess.run(
        [*PROGRAM, *words], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=DEADLINE
    )
    assert (status, said) == told(done)
    assert (fence.USAGE + "\n" if words == ["--help"] else "") == done.stdout


@pytest.mark.parametrize("number", ["", "0", "-1", "1.5", "0x10", "٣", " 7", "1" * 20, "0" * 25 + "1", str(1 << 63)])
def test_a_number_that_is_none(fenced: Fenced, number: str) -> None:
    """What the variable has is said, and what it has to be; nothing is made."""
    shown = number.encode("unicode_escape").decode() if not number.isprintable() else number
    said = f"$JOBQUEUE_FENCE: found '{shown}'; expected a whole number from 1 to 9223372036854775807"
    assert (fence.FAILED, said) == fenced.run(number)
    assert (False, []) == (fenced.file.exists(), fenced.had())


def test_without_a_number(fenced: Fenced) -> None:
    """As in a run in which no fleet has a say: the key that is missing is said."""
    environment = {name: value for name, value in os.environ.items() if name != fence.VARIABLE}
    done = subprocess.run(
        [*PROGRAM, *fenced.words()], env=environment, capture_output=True, text=True, check=False, timeout=DEADLINE
    )
    said = "$JOBQUEUE_FENCE is not set: give the job, or one of its locks, `scope: fleet`; see jobqueue-fence(1)"
    assert (fence.FAILED, said) == told(done)
    assert [] == fenced.had()


# ── damage and failures ──


@pytest.mark.parametrize(
    "content",
    [
        b"9\n", b"\0" * 42, b"id,total\n", b"%020d" % 9, b"%020d %020d\n" % (9, 10), b"%020d %020d" % (9, 9),
        b"%020d %020d\n\n" % (9, 9), b"%020d %020d\n" % (9, 9) * 2, b" %019d  %019d\n" % (9, 9),
    ],
    ids=repr,
)  # fmt: skip
def test_a_damaged_file(fenced: Fenced, content: bytes) -> None:
    """It is never passed: what is there is said, and the command that mends it; after that the next one goes on."""
    fenced.file.write_bytes(content)
    status, said = fenced.run(10)
    begin = (
        f"{fenced.file}: found {content[:43]!r}, which is not a number from jobqueue-fence; if this is the right file, "
    )
    assert (fence.FAILED, begin) == (status, said[: len(begin)])
    assert (content, []) == (fenced.file.read_bytes(), fenced.had())
    subprocess.run(said.partition(", then: ")[2], shell=True, check=True)
    assert (0, "") == fenced.run(10)
    assert refusal(fenced, 10, 9) == fenced.run(9)


@pytest.mark.parametrize("length", range(1, 42))
def test_a_torn_write(fenced: Fenced, length: int) -> None:
    """Any part of a write shows, unless nothing has changed yet, or all has."""
    before, after = fence._content(199), fence._content(200)
    fenced.file.write_bytes(torn := after[:length] + before[length:])
    if torn in (before, after):
        assert (0, "") == fenced.run(200)
    else:
        assert fence.FAILED == fenced.run(200)[0]


FAULTS = [
    ("create fence EACCES", "cannot open {0}: Permission denied"),
    ("create fence EROFS", "cannot open {0}: Read-only file system"),
    ("create fence ENOSPC", "cannot open {0}: No space left on device"),
    ("create fence EMFILE", "cannot open {0}: Too many open files"),
    ("open fence EIO", "cannot open {0}: Input/output error"),
    ("lock fence ENOLCK", "cannot lock {0}: No locks available; move it to a file system that supports locks"),
    ("lock fence EOPNOTSUPP", "cannot lock {0}: Operation not supported; move it to a file system that supports locks"),
    ("lock fence EIO", "cannot lock {0}: Input/output error"),
    ("read fence EIO", "cannot read {0}: Input/output error"),
    ("write fence ENOSPC", "cannot write {0}: No space left on device"),
    ("write fence EIO", "cannot write {0}: Input/output error"),
    ("write fence EROFS", "cannot write {0}: Read-only file system"),
    ("write fence EDQUOT", "cannot write {0}: Disk quota exceeded"),
    ("fsync fence EIO", "cannot sync {0}: Input/output error"),
    ("fsync fence ENOSPC", "cannot sync {0}: No space left on device"),
    ("open shared EACCES", "cannot open {1}: Permission denied"),
    ("fsync shared EIO", "cannot sync {1}: Input/output error"),
    ("keep fence EMFILE", "cannot keep the lock for COMMAND: Too many open files"),
]


@pytest.mark.parametrize(("point", "said"), FAULTS, ids=[point for point, _ in FAULTS])
def test_a_call_that_fails(fenced: Fenced, point: str, said: str) -> None:
    """COMMAND is not run, and what has failed is said; once it works again, the same number passes, and a greater."""
    if not point.startswith("create"):
        assert (0, "") == fenced.run(5)
    assert (fence.FAILED, said.format(fenced.file, fenced.shared)) == fenced.failing(point, 7)
    assert 7 not in fenced.ran()
    assert [(0, ""), (0, "")] == [fenced.run(7), fenced.run(8)]


def test_a_command_that_can_not_be_started(fenced: Fenced) -> None:
    """For want of processes, say."""
    status, said = fenced.failing("start - EAGAIN", 7)
    assert (fence.NOT_EXECUTABLE, "sh: Resource temporarily unavailable") == (status, said)
    assert [(0, ""), [7]] == [fenced.run(7), fenced.ran()]


def test_a_write_that_ends_half_way(fenced: Fenced) -> None:
    """It is said, and so is what mends the file, at once and by who comes next."""
    assert (0, "") == fenced.run(5)
    status, said = fenced.failing("write fence torn", 7)
    mend = f"if this is the right file, make sure that no earlier run continues, then: truncate -s 0 {fenced.file}"
    assert (fence.FAILED, f"cannot write {fenced.file}: only 21 of 42 bytes; {mend}") == (status, said)
    status, said = fenced.run(8)
    assert fence.FAILED == status
    assert said.endswith(mend)
    assert [5] == fenced.ran()


MOUNTED = "36 35 {} / /srv rw,relatime shared:1 - {} host:/srv rw,vers=3,{},addr=192.0.2.1\n"


@pytest.mark.parametrize("option", ["local_lock=all", "local_lock=flock", "nobrl"])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_mount_that_tells_nobody_of_locks(fenced: Fenced, option: str, is_there: bool) -> None:
    """Where the locks of FILE stay on this host it is refused, with the option; elsewhere they may."""
    device = fenced.shared.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}" if is_there else "4095:1"
    mounts = fenced.root / "mountinfo"
    mounts.write_text(Path(fence.MOUNTS).read_text() + MOUNTED.format(number, "nfs", option))
    said = f"{fenced.file}: other hosts would not see its lock; mount its file system without {option}"
    expected = (fence.FAILED, said) if is_there else (0, "")
    assert expected == fenced.run(7, program=having("MOUNTS", str(mounts)))


# ── killed ──

STEPS = {
    "create fence": False, "open fence": False, "lock fence": False, "read fence": False, "write fence": True,
    "fsync fence": True, "open shared": True, "fsync shared": True, "keep fence": True,
}  # fmt: skip
"""The calls on the way, behind each of which the program is killed, and whether the number has been left by then."""


@pytest.mark.parametrize(("step", "is_left"), STEPS.items())
def test_killed_on_the_way(fenced: Fenced, step: str, is_left: bool) -> None:
    """The same run, and a later one, go on; an earlier one is refused once the number was written."""
    if step != "create fence":
        assert (0, "") == fenced.run(5)
    assert (-signal.SIGKILL, "") == fenced.failing(f"{step} dies", 7)
    assert 7 not in fenced.ran()
    assert (refusal(fenced, 7, 6) if is_left else (0, "")) == fenced.run(6)
    assert [(0, "")] * 2 == [fenced.run(7), fenced.run(8)]
    assert refusal(fenced, 8, 7) == fenced.run(7)


def test_killed_after_the_start(fenced: Fenced) -> None:
    """COMMAND goes on, and has the lock: who comes next waits for it."""
    gate = fenced.root / "gate"
    os.mkfifo(gate)
    process = fenced.begin(7, f"read _ <{gate}")
    wait_for(fenced.had)
    kill(process.pid)
    assert -signal.SIGKILL == process.wait()
    busy = (fence.NOT_IN_TIME, f"another run holds {fenced.file}")
    assert busy == fenced.run(8, "true", "--wait", "0")
    gate.write_text("\n")
    assert 0 == fenced.run(8)[0]
    assert process.stderr is not None
    process.stderr.close()
    assert [7, 8] == fenced.ran()


# ── one at a time ──


def test_two_at_the_same_time(fenced: Fenced) -> None:
    """The second waits, and says so, until the first has ended; a third that is older is refused then."""
    first = fenced.begin(7, "read _", stdin=PIPE)
    wait_for(fenced.had)
    second, older = fenced.begin(8), fenced.begin(6)
    for process in (second, older):
        assert process.stderr is not None
        assert f"jobqueue-fence: waiting for {fenced.file}, which another run holds\n" == process.stderr.readline()
    first.communicate("\n", timeout=DEADLINE)
    refused = f"jobqueue-fence: {refusal(fenced, 7, 6)[1]}"
    assert ("", 0) == (second.communicate(timeout=DEADLINE)[1], second.returncode)
    said = older.communicate(timeout=DEADLINE)[1].strip()
    assert (said, older.returncode) in [(refused, 123), (refused.replace("with number 7", "with number 8"), 123)]
    assert [7, 8] == fenced.ran()


def test_many_at_the_same_time(fenced: Fenced) -> None:
    """No two commands overlap, their numbers rise, and whoever was not run was refused."""
    numbers = [5, 1, 8, 2, 2, 9, 7, 3, 6, 4]
    processes = [(number, fenced.begin(number)) for number in numbers]
    statuses = [(number, process.wait(timeout=DEADLINE)) for number, process in processes]
    for _, process in processes:
        assert process.stderr is not None
        process.stderr.close()
    ran = fenced.ran()
    assert ran == sorted(ran)
    assert 9 == ran[-1]
    assert ran == sorted(number for number, status in statuses if status == 0)
    assert {123} >= {status for number, status in statuses if status}


def test_a_wait_that_ends(fenced: Fenced) -> None:
    """In time, with a status of its own; the number was not left."""
    first = fenced.begin(7, "read _", stdin=PIPE)
    wait_for(fenced.had)
    said = f"waiting for {fenced.file}, which another run holds\nanother run still holds {fenced.file} after 0.2 s"
    assert (fence.NOT_IN_TIME, said) == fenced.run(8, "true", "--wait", "0.2")
    often = having("_NUDGE", 0.0005)  # an alarm may come whatever it does by then
    assert (fence.NOT_IN_TIME, said) == fenced.run(8, "true", "--wait", "0.2", program=often)
    waiting = fenced.begin(8)
    assert waiting.stderr is not None
    waiting.stderr.readline()
    waiting.send_signal(signal.SIGINT)
    assert ("", -signal.SIGINT) == (waiting.communicate(timeout=DEADLINE)[1], waiting.returncode)
    first.communicate("\n", timeout=DEADLINE)
    assert fence._content(7) == fenced.file.read_bytes()
    assert [7] == fenced.ran()


def test_another_file_in_its_place(fenced: Fenced) -> None:
    """Who has waited for a file that is gone locks the one that is there."""
    first = fenced.begin(7, "read _", stdin=PIPE)
    wait_for(fenced.had)
    second = fenced.begin(8)
    assert second.stderr is not None
    second.stderr.readline()
    fenced.file.unlink()
    fenced.file.write_bytes(fence._content(9))
    first.communicate("\n", timeout=DEADLINE)
    said = second.communicate(timeout=DEADLINE)[1]
    assert refusal(fenced, 9, 8) == (second.returncode, said.replace("jobqueue-fence: ", "").strip())


@pytest.mark.parametrize("closes", ["", "exec 64>&-; "])
def test_what_is_left_behind_has_the_lock(fenced: Fenced, closes: str) -> None:
    """As long as it lives, unless it closes the descriptor; COMMAND itself has it even so."""
    gate = fenced.root / "gate"
    os.mkfifo(gate)
    process = fenced.begin(7, f"exec bash -c '{closes}(read _ <{gate}) & read _'", stdin=PIPE)
    wait_for(fenced.had)
    assert fence.NOT_IN_TIME == fenced.run(8, "true", "--wait", "0")[0]
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.close()
    assert 0 == process.wait(timeout=DEADLINE)
    assert (0 if closes else fence.NOT_IN_TIME) == fenced.run(8, "true", "--wait", "0")[0]
    gate.write_text("\n")
    assert process.stderr is not None
    process.stderr.close()


# ── signals ──

COUNTING = """
import os, signal, sys
end, mark = int(sys.argv[2]), signal.SIGRTMIN + 2
signal.pthread_sigmask(signal.SIG_BLOCK, {end, mark})
print("ready", file=open(sys.argv[1], "w"), flush=True)
count = 0
while (told := signal.sigwaitinfo({end, mark})).si_signo == end:
    count += 1
    print("got", file=open(sys.argv[1], "w"), flush=True)
    os.kill(os.getppid(), mark)
print(count, file=open(sys.argv[1], "w"), flush=True)
"""
"""COMMAND counts a signal that it gets.  The mark is a later signal, which the program passes on after that one."""
END = signal.SIGRTMIN + 1
"""One that is queued as often as it is sent."""


def counting(fenced: Fenced, number: int = END) -> list[str]:
    return [str(fenced.file), sys.executable, "-c", COUNTING, str(fenced.root / "counted"), str(number)]


def counted(fenced: Fenced) -> str:
    path = fenced.root / "counted"
    return path.read_text().strip() if path.exists() else ""


def test_a_signal_is_passed_on(fenced: Fenced) -> None:
    """One that is sent to the program is COMMAND's, once; and what it was sent is not its own end."""
    process = subprocess.Popen([*PROGRAM, *counting(fenced)], env={**os.environ, fence.VARIABLE: "7"})
    wait_for(lambda: counted(fenced))
    process.send_signal(END)
    assert (0, "1") == (process.wait(timeout=DEADLINE), counted(fenced))


def test_signals_are_as_they_were(fenced: Fenced) -> None:
    """What COMMAND blocks and ignores is what the program was started with."""
    words = ["grep", "Sig[BIC]", "/proc/self/status"]
    through = [*PROGRAM, str(fenced.file), *words]
    environment = {**os.environ, fence.VARIABLE: "7"}
    assert subprocess.check_output(words) == subprocess.check_output(through, env=environment, timeout=DEADLINE)


@NEEDS_ROOT
def test_a_signal_for_a_container(fenced: Fenced) -> None:
    """Who sends it from outside has no number inside, and is not taken for somebody above."""
    words = ["unshare", "--pid", "--fork", "--mount-proc", "setsid", *PROGRAM, *counting(fenced)]
    process = subprocess.Popen(words, env={**os.environ, fence.VARIABLE: "7"})
    wait_for(lambda: counted(fenced))
    inside = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    os.kill(int(inside), END)
    assert (0, "1") == (process.wait(timeout=DEADLINE), counted(fenced))


def test_a_key_of_the_terminal(fenced: Fenced) -> None:
    """^C is COMMAND's, once, as the terminal sends it to both; how it ends is told by the exit status."""
    pid, terminal = pty.fork()
    if not pid:
        os.execve(sys.executable, [*PROGRAM, *counting(fenced, signal.SIGINT)], {**os.environ, fence.VARIABLE: "7"})
    wait_for(lambda: counted(fenced))
    os.kill(pid, signal.SIGSTOP)  # so that COMMAND has taken the first before there can be a second
    os.write(terminal, b"\x03")
    wait_for(lambda: counted(fenced) == "got")
    os.kill(pid, signal.SIGCONT)
    assert (0, "1") == (os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), counted(fenced))
    os.close(terminal)


def test_a_run_that_is_stopped(pool: Pool, tmp_path: Path) -> None:
    """The supervisor sends the signal to each process of the run, so it is not passed on: COMMAND gets it once."""
    fenced = Fenced(tmp_path)
    words = ["env", f"{fence.VARIABLE}=7", *PROGRAM, *counting(fenced)]
    said, document = pool.stopped(lambda: counted(fenced), command=words, stop_signal=signal_name(END))
    assert (["started", "stopping", "ended"], "1") == (said, counted(fenced)), document


def test_few_descriptors(fenced: Fenced) -> None:
    """A job that may open few has the lock by one of these."""
    words = ["sh", "-c", 'ulimit -n 20; exec "$@"', "sh", *PROGRAM]
    assert (0, "") == fenced.run(7, f"test /proc/self/fd/19 -ef {fenced.file} || kill $$", program=words)


def test_it_runs_in_a_job(pool: Pool, tmp_path: Path) -> None:
    """With the number of the run's grant, and its output."""
    fenced = Fenced(tmp_path)
    command = shlex.join([*PROGRAM, str(fenced.file), "sh", "-c", "echo with $JOBQUEUE_FENCE; exit 3"])
    _said, document = pool.run(command=f"export {fence.VARIABLE}=12; {command}")
    assert (3, "with 12\n") == (document["exit_code"], pool.output())


def test_it_imports_little() -> None:
    """What it starts with is what it needs: it is run again and again."""
    words = [sys.executable, "-I", "-S", "-X", "importtime", fence.__file__, "--help"]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=DEADLINE)
    modules = set(re.findall(r"\| +([\w.]+)$", done.stderr, re.M))
    ours = {name for name in modules if name.startswith("jobqueued")}
    parts = ("", ".contract", ".contract.text", ".contract.tuples", ".processes", ".processes.process")
    assert {"jobqueued", *(f"jobqueued.child{each}" for each in parts)} == ours
    assert set() == modules & {"argparse", "json", "logging", "subprocess", "threading", "socket", "shlex", "pathlib"}
