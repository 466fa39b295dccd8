"""The environment of a job: what wins, files of variables, and what a login gets."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path
from typing import Any

import pytest

from jobqueued.child.start import environment
from jobqueued.child.start.environment import Environment, arguments
from jobqueued.child.start.identity import StartFailed, User

GOOD = [
    ("A=a\\ \nB='b'\\  \nC=c\\\\  \n", {"A": "a ", "B": "b ", "C": "c\\"}),
    ("A=1\n", {"A": "1"}),
    ("A=1", {"A": "1"}),
    ("# comment\n; comment\n\n  A=1\n\tB=2\n", {"A": "1", "B": "2"}),
    ("export A=1\nexport  B=2\n", {"A": "1", "B": "2"}),
    ("A=\nB=''\n", {"A": "", "B": ""}),
    ("A=two words \n", {"A": "two words"}),
    ("A= 1\r\nB=2\r\n", {"A": "1", "B": "2"}),
    ("A='single $HOME \\n'\n", {"A": "single $HOME \\n"}),
    ('A="double \\"quoted\\" \\$HOME \\\\ \\n"\n', {"A": 'double "quoted" $HOME \\ \\n'}),
    ("A='over\ntwo lines'\nB=2\n", {"A": "over\ntwo lines", "B": "2"}),
    ('A="a\\\nb"\n', {"A": "ab"}),
    ("A=con'cat'\"enated\"\n", {"A": "concatenated"}),
    ("A=back\\ slash\\'s\n", {"A": "back slash's"}),
    ("A=' # inside '\n", {"A": " # inside "}),
    ("A=a#b\n", {"A": "a#b"}),
    ("A=https://host/?a=1&b=$c\n", {"A": "https://host/?a=1&b=$c"}),
    ("A=1\nA=2\n", {"A": "2"}),
    ("", {}),
]

WRONG = [
    ("A=1\nB 2\n", 2, "expected NAME=VALUE"),
    ("\n\nA='open\nB=1\n", 3, "closed quotes"),
    ('A="open\n', 1, "closed quotes"),
    ("1A=1\n", 1, "expected NAME=VALUE"),
    ("A-B=1\n", 1, "expected NAME=VALUE"),
    ("set -x\n", 1, "expected NAME=VALUE"),
    ("A =1\n", 1, "expected NAME=VALUE"),
    ("A=1 # or not\n", 1, "whether # starts a comment"),
    ("A=it's\n", 1, "closed quotes"),
]


@pytest.mark.parametrize(("text", "expected"), GOOD)
def test_a_file_of_variables(tmp_path: Path, text: str, expected: dict[str, str]) -> None:
    """Lines as systemd and shells read them alike; nothing is expanded."""
    (tmp_path / "env").write_text(text, newline="")
    assert dict(environment.read(str(tmp_path / "env"))) == expected


def test_as_a_shell_reads_it(tmp_path: Path) -> None:
    """What is quoted means the same to a shell that sources the file."""
    for text, expected in GOOD:
        if "'" in text and "$" not in text.replace("'single $HOME \\n'", ""):
            (tmp_path / "env").write_text(text)
            script = 'set -a; . "$1"; exec env -0'
            said = subprocess.run(
                ["sh", "-c", script, "sh", tmp_path / "env"], env={}, capture_output=True, text=True, check=True
            )
            found = dict(line.split("=", 1) for line in said.stdout.split("\0") if line)
            assert expected.items() <= found.items()


@pytest.mark.parametrize(("text", "line", "words"), WRONG)
def test_a_wrong_line_is_named(tmp_path: Path, text: str, line: int, words: str) -> None:
    """The file and the line, but not what stands there: it may be a secret."""
    path = tmp_path / "env"
    path.write_text(text)
    with pytest.raises(StartFailed) as failed:
        list(environment.read(str(path)))
    assert str(failed.value).startswith(f"environment_file: {path}:{line}: ")
    assert words in str(failed.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    """A FIFO does not hang, a directory, a huge and a binary file are refused with their names; none stays open."""
    before = os.listdir("/proc/self/fd")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "huge").write_bytes(b"A=1\n" * (1 << 19))
    (tmp_path / "binary").write_bytes(b"A=\0\n")
    for name, words in (
        ("fifo", "not a regular file"), ("huge", "at most 1 MiB of text"), ("binary", "at most 1 MiB of text"),
        ("missing", "No such file or directory"), (".", "directory"),
    ):  # fmt: skip
        with pytest.raises(StartFailed, match=f"^environment_file: {tmp_path / name}: .*{words}"):
            list(environment.read(str(tmp_path / name)))
    assert os.listdir("/proc/self/fd") == before


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    """They reach the job as they are."""
    (tmp_path / "env").write_bytes(b"A=caf\xe9\n")
    assert os.fsencode(dict(environment.read(str(tmp_path / "env")))["A"]) == b"caf\xe9"


def order(**fields: Any) -> dict[str, Any]:
    return {
        "command": "env -0", "shell": "/bin/sh", "environment": {}, "environment_file": [], "login_environment": False,
        "working_directory": None, **fields,
    }  # fmt: skip


def user(home: Path, shell: str = "/bin/sh") -> User:
    return User(pwd.struct_passwd(("alice", "x", 1000, 1000, "", str(home), shell)))


def found(order: dict[str, Any], who: User) -> dict[str, str]:
    """What a job finds in its environment."""
    environment = Environment(order, who)
    said = subprocess.run(
        arguments(order), env=environment.whole(), capture_output=True, text=True, check=True, errors="surrogateescape"
    )
    assert not said.stderr
    return dict(line.split("=", 1) for line in said.stdout.split("\0") if line)


def test_what_wins(tmp_path: Path) -> None:
    """A later file wins over an earlier one, `environment` over files, and all of them over what every job gets."""
    (tmp_path / "one").write_text("A=1\nB=1\nC=1\nLANG=one\n")
    (tmp_path / "two").write_text("B=2\nC=2\n")
    files = [f"{tmp_path}/one", f"{tmp_path}/two"]
    env = found(order(environment_file=files, environment={"C": "3", "PATH": "/bin:/usr/bin"}), user(tmp_path))
    assert {"A": "1", "B": "2", "C": "3", "LANG": "one", "PATH": "/bin:/usr/bin", "HOME": str(tmp_path)}.items() <= (
        env.items()
    )


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash", "/bin/dash", "/usr/sbin/nologin", "/usr/bin/fish", ""])
def test_a_login(tmp_path: Path, shell: str) -> None:
    """The user's profile is read, by the user's shell where that can; the job's own settings win over it."""
    (tmp_path / ".profile").write_text("export A=profile B=profile\nPATH=/from/profile:/usr/bin:/bin\n")
    given = {"B": "own", "JOBQUEUE_JOB": "x", "ODD": 'it\'s "$HOME" `id` \\ \n two'}
    env = found(order(login_environment=True, environment=given), user(tmp_path, shell))
    assert {**given, "A": "profile", "SHELL": shell or "/bin/sh", "PATH": "/from/profile:/usr/bin:/bin"}.items() <= (
        env.items()
    )


def test_a_login_reads_what_the_system_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/etc/environment and the locale, as pam_env does, below the user's own profile."""
    (tmp_path / "system").write_text('LANG="de_DE.UTF-8"\nA=system\n')
    (tmp_path / ".profile").write_text("export A=profile\n")
    monkeypatch.setattr(environment, "_OF_A_LOGIN", (f"{tmp_path}/system", f"{tmp_path}/missing"))
    env = found(order(login_environment=True), user(tmp_path))
    assert {"LANG": "de_DE.UTF-8", "A": "profile"}.items() <= env.items()


@pytest.mark.parametrize(
    ("profile", "how"),
    [
        ("exit 0", "exited with code 0"), ("exit 3", "exited with code 3"), ("exec true", "exited with code 0"),
        ("kill -9 $$", "was ended by signal 9"), ("set -e; false", "exited with code 1"),
    ],
)  # fmt: skip
def test_a_profile_that_ends(tmp_path: Path, profile: str, how: str) -> None:
    """The command is not taken for run where its environment could not be had."""
    (tmp_path / ".profile").write_text(f"{profile}\n")
    with pytest.raises(StartFailed, match=f"^login_environment: /bin/sh .*{how} while it read the profile") as failed:
        Environment(order(login_environment=True), user(tmp_path)).whole()
    assert failed.value.number == 0


def test_only_variables_come_from_a_profile(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It reads nothing of the job's input, and what it does to itself is its own; what it prints is output."""
    (tmp_path / ".profile").write_text(
        "cat; cd /usr; umask 0777; echo welcome; export A=1 BIG=$(seq 20000 | tr -d '\\n')\n"
    )
    env = Environment(order(login_environment=True), user(tmp_path)).whole()
    assert (env["A"], len(env["BIG"])) == ("1", 88_894)
    assert not {"PWD", "OLDPWD", "SHLVL", "_"} & set(env)
    assert capfd.readouterr().out == "welcome\n"


def test_what_a_profile_starts_is_not_awaited(tmp_path: Path) -> None:
    """An agent in the background does not keep the command from starting."""
    (tmp_path / ".profile").write_text("sleep 60 & export AGENT=$!\n")
    agent = Environment(order(login_environment=True), user(tmp_path)).whole()["AGENT"]
    os.kill(int(agent), 9)


def test_secrets_stay_out_of_the_command_line(tmp_path: Path) -> None:
    """What everybody may read of a process has nothing of its environment."""
    (tmp_path / "env").write_text("TOKEN=secret\n")
    (tmp_path / ".profile").write_text(f"tr '\\0' ' ' </proc/$$/cmdline >{tmp_path}/seen\n")
    keys = order(login_environment=True, environment_file=[f"{tmp_path}/env"])
    assert found(keys, user(tmp_path))["TOKEN"] == "secret"
    assert (tmp_path / "seen").read_text().startswith("/bin/sh -l -c ")
    assert "secret" not in (tmp_path / "seen").read_text()
