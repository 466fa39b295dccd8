"""The program `become` uses nothing of the job until it is the user, refuses malformed plans, and may be absent."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from jobqueued.child.processes.cgroup import Cgroup
from jobqueued.child.start import become, spawn
from jobqueued.child.start.become import Becoming
from jobqueued.child.start.identity import StartFailed
from tests.support.needed import need
from tests.support.users import NEEDS_ROOT, OTHER, STRANGER
from tests.support.ways import Way, compiled, order

TRUE = Becoming(STRANGER, STRANGER, [STRANGER, 7], "/", "", "/bin/true", ["true", "x"], {"A": "b"})
_SANITIZED = "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"
MALFORMED = [
    b"", b"\0", b"1", b"2\0", b"1\0-1\0", b"1\x004294967295\0", b"1\x00 1\0", b"1\x001\x00", b"1\x001\x001\x001,,2\0",
    b"1\x001\x001\x001;2\0", b"1\x001\x001\0\0/\0\0/bin/true\x000\0", b"1\x001\x001\0\0/\0\0/bin/true\x009\0true\0",
    b"1\x001\x001\0\0/\0\0/bin/true\x0099999999999999999999\0true\0", b"1\x001\x001\0\0/\0\0/bin/true\x001\0true",
    b"1\x001\x001\0" + b"1," * 70_000 + b"\0/\0\0/bin/true\x001\0true\0",
]  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "plan" in metafunc.fixturenames:
        metafunc.parametrize("plan", MALFORMED, ids=range(len(MALFORMED)))


def told(program: str, plan: bytes) -> tuple[int, bytes, bytes]:
    """Run the program with a plan; its exit code, its report, and what it or its command wrote."""
    file = os.memfd_create("plan", 0)
    os.write(file, plan)
    reading, writing = os.pipe()
    environment = {"ASAN_OPTIONS": "detect_leaks=0"}
    ended = subprocess.run(
        [program, str(file), str(writing)], capture_output=True, pass_fds=(file, writing), env=environment, check=False
    )
    os.close(writing)
    os.close(file)
    with open(reading, "rb") as report:
        return ended.returncode, report.read(), ended.stdout + ended.stderr


def bytes_of(becoming: Becoming) -> bytes:
    file = becoming.plan()
    try:
        return os.pread(file, 1 << 20, 0)
    finally:
        os.close(file)


@NEEDS_ROOT
def test_no_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary run of another user needs no fork of ours."""
    forked = list[str]()
    monkeypatch.setattr(spawn, "_fork", lambda plan: forked.append(plan.argv[-1]))
    assert ("nobody\n", 0) == Way("other user by become").run("id -un")
    assert not forked


@NEEDS_ROOT
@pytest.mark.parametrize("break_it", [
    lambda patch: patch.setattr(become, "_FORMAT", "2"),
    lambda patch: patch.setattr(os, "memfd_create", refuse_plans(os.memfd_create)),
    lambda patch: patch.setattr(spawn, "_posix_spawn", refuse),
])  # fmt: skip
def test_a_fork_repeats_what_it_cannot(
    monkeypatch: pytest.MonkeyPatch, break_it: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """A run starts also if the program is of another version, or can't be started."""
    way = Way("other user by become")
    break_it(monkeypatch)
    assert ("nobody\n", 0) == way.run("id -un")


def refuse(*_: object) -> int:
    raise OSError(11, "refused")


def refuse_plans(create: Callable[..., int]) -> Callable[..., int]:
    return lambda name, *rest: refuse() if name == "plan" else create(name, *rest)


@NEEDS_ROOT
def test_a_relative_path() -> None:
    """A program in a relative PATH is looked for in the job's directory, as the user."""
    folder = Path("/tmp", f"become-{os.getpid()}")
    folder.mkdir(mode=0o755)
    try:
        (folder / "id").write_text("#!/bin/sh\necho mine\n")
        (folder / "id").chmod(0o755)
        keys = {"environment": {"PATH": ".:/usr/bin:/bin"}, "working_directory": str(folder)}
        assert ("mine\n", 0) == Way("other user by become").run(["id"], **keys)
    finally:
        (folder / "id").unlink()
        folder.rmdir()


@NEEDS_ROOT
def test_the_missing_home_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """A home that can't be entered is a warning, without a fork, in the words of a fork."""
    document = {**order("true"), "user": OTHER}
    warned = list[list[str]]()
    for program in (compiled(), "/no such program"):
        monkeypatch.setattr(become, "PROGRAM", program)
        with open(os.devnull, "w") as null:
            started = spawn.spawn(document, null.fileno(), Cgroup(-1, ""))
        os.waitpid(started.pid, 0)
        warned.append(started.warnings)
    assert [["the home /nonexistent: No such file or directory; it ran in /"]] * 2 == warned


@NEEDS_ROOT
def test_a_directory_of_roots_is_not_entered() -> None:
    """The directory is entered as the user; the failure has the words of a fork."""
    failures = [
        str(Way(name).refused("pwd", working_directory="/root")) for name in ("other user", "other user by become")
    ]
    assert ["chdir: /root: Permission denied"] * 2 == failures


@NEEDS_ROOT
def test_nothing_of_the_job_acts_as_root(tmp_path: Path) -> None:
    """A job's LD_PRELOAD is loaded by the job alone, even if the program is not static."""
    source = tmp_path / "spy.c"
    source.write_text(
        "#include <stdio.h>\n#include <unistd.h>\n"
        '__attribute__((constructor)) static void spy(void) { printf("uid %d\\n", (int)getuid()); fflush(stdout); }\n'
    )
    library = Path(compiled()).with_name("spy.so")
    subprocess.run([need("cc"), "-shared", "-fPIC", "-o", library, source], check=True)
    way = Way("other user by become")
    way.program = compiled("-O2")
    output, code = way.run(["/bin/true"], environment={"LD_PRELOAD": str(library)})
    assert (f"uid {STRANGER}\n", 0) == (output, code)


@NEEDS_ROOT
def test_a_plan() -> None:
    """A plan is carried out to the letter."""
    sees = TRUE._replace(program="/bin/sh", arguments=["sh", "-c", "id -u; id -g; id -G; pwd; env | grep A="])
    code, report, output = told(compiled(*_SANITIZED), bytes_of(sees))
    assert (0, b"\1chdir /\n\1exec sh\n") == (code, report)
    assert f"{STRANGER}\n{STRANGER}\n{STRANGER} 7\n/\nA=b\n".encode() == output


@NEEDS_ROOT
def test_malformed(plan: bytes) -> None:
    """A malformed plan starts nothing, and the supervisor learns of it."""
    code, report, output = told(compiled(*_SANITIZED), plan)
    assert (127, b"\x0071\nplan\n", b"") == (code, report, output)  # 71: EPROTO


@NEEDS_ROOT
def test_any_plan() -> None:
    """However a plan is damaged, the program executes a command or reports the step that failed."""
    draw, whole = random.Random(52), bytes_of(TRUE)
    for _ in range(300):
        plan = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(len(plan))
            match draw.randrange(4):
                case 0:
                    plan[place] = draw.randrange(256)
                case 1:
                    del plan[place : place + draw.randint(1, 9)]
                case 2:
                    plan[place:place] = draw.choice([b"\0", b"9", b",", b"\0\0\0", b"4294967295", b"/x"])
                case _:
                    plan[place] = 0
            if not plan:
                break
        code, report, output = told(compiled(*_SANITIZED), bytes(plan))
        has_failed = code == 127 and b"\0" in report
        assert has_failed or b"exec" in report, (bytes(plan), code, report, output)
        assert not any(word in output for word in (b"Sanitizer", b"runtime error")), (bytes(plan), output)


def test_a_nul_in_a_command() -> None:
    """No text can end early and become another field of the plan."""
    with pytest.raises(ValueError, match="NUL"):
        TRUE._replace(arguments=["true", "a\0b"]).plan()


@NEEDS_ROOT
def test_a_hanging_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that takes too long is the reason, and no fork waits for it once more."""
    reported = spawn.start_report.read
    monkeypatch.setattr(spawn.start_report, "read", lambda pipe, _seconds: late(reported(pipe, 60.0)))
    monkeypatch.setattr(spawn, "_fork", refuse)
    assert "chdir: /: no answer in 3 s" == str(Way("other user by become").refused("true"))


def late(report: spawn.start_report.StartReport) -> spawn.start_report.StartReport:
    assert report.trouble is None
    return report._replace(trouble=spawn.start_report.NoAnswer("chdir", 110, "/: no answer in 3 s"))


def test_own_user_needs_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own user's runs are started directly."""
    monkeypatch.setattr(become, "PROGRAM", "/bin/false")
    with pytest.raises(StartFailed, match="no command"):
        Way("posix_spawn").run(["no-such-command"])
    assert ("x\n", 0) == Way("posix_spawn").run("echo x")
