"""jobqueuectl check: findings, exit status and what it reads."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.ctl.main import main
from tests.support.client import PROGRAM, environment, run
from tests.support.host import Host, wait_for
from tests.support.users import believing

CLEAN = "jobs:\n  a:\n    command: 'true'\n    schedule: '0 2 * * *'\n  b:\n    command: 'true'\n"


WRONG = "jobs:\n  c:\n    command: 'true'\n    schedul: '0 2 * * *'\n"


class TestCheck:
    def test_clean(self, tmp_path: Path) -> None:
        """A clean file's jobs are listed with their next due time."""
        (tmp_path / "a.yaml").write_text(CLEAN)
        shown = run("check", tmp_path / "a.yaml")
        assert (0, "2 jobs, 0 problems", "") == (shown.returncode, shown.stdout.splitlines()[-1].strip(), shown.stderr)

    def test_clean_json(self, tmp_path: Path) -> None:
        """In JSON the same, with lines and exact instants."""
        (tmp_path / "a.yaml").write_text(CLEAN)
        answer = json.loads(run("check", "--json", tmp_path / "a.yaml").stdout)
        expected: list[tuple[Any, ...]] = [("a", 2, True), ("b", 5, False)]
        found = [(job["id"], job["line"], job["next"] is not None) for job in answer["jobs"]]
        assert (expected, []) == (found, answer["problems"])

    def test_wrong(self, tmp_path: Path) -> None:
        """A problem is told by file, line and column, and is exit status 1."""
        (tmp_path / "a.yaml").write_text(WRONG)
        shown = run("check", tmp_path / "a.yaml")
        assert (1, True) == (shown.returncode, shown.stdout.startswith(f"{tmp_path}/a.yaml:4:5: "))
        answer = json.loads(run("check", "--json", tmp_path / "a.yaml").stdout)
        keys = ["file", "line", "column", "key", "message", "severity", "job", "code"]
        assert ([], [keys]) == (answer["jobs"], [list(problem) for problem in answer["problems"]])

    def test_warning(self, tmp_path: Path) -> None:
        """A warning is told and harms nothing."""
        (tmp_path / "a.yaml").write_text(CLEAN.replace("0 2 * * *", "*/90 2 * * *"))
        shown = run("check", tmp_path / "a.yaml")
        assert (0, "2 jobs, 1 warning") == (shown.returncode, shown.stdout.splitlines()[-1].strip())
        assert shown.stdout.splitlines()[0].endswith(" (warning) [JQ304]")

    def test_impossible(self, tmp_path: Path) -> None:
        """Jobs that can't run on this host are told with the way out, and harm nothing; the daemon's own jobs count."""
        (tmp_path / "jobqueue.d").mkdir()
        own = "jobs: {own: {command: 'true', dependencies: [e]}, fine: {command: 'true', resources: {tpu: 1}}}"
        (tmp_path / "jobqueue.d" / "own.yaml").write_text(own)
        (tmp_path / "jobqueued.yaml").write_text("resources: {gpu: 2}")
        (tmp_path / "a.yaml").write_text(
            "jobs:\n"
            "  a: {command: 'true', resources: {gpuu: 1}, schedule: '* * * * *'}\n"
            "  b: {command: 'true', locks: [{name: gpu, units: 3}]}\n"
            "  c: {command: 'true', resources: {cpu: 4000}}\n"
            "  d: {command: 'true', dependencies: [pwn]}\n"
            "  e: {command: 'true', dependencies: [own]}\n"
            "  fine: {command: 'true', dependencies: [own], resources: {gpu: 2}, schedule: '* * * * *'}\n"
        )
        shown = run("--root", tmp_path, "check", tmp_path / "a.yaml")
        told = shown.stdout.splitlines()
        assert (1, "6 jobs, 5 warnings") == (shown.returncode, told[-1].strip())
        for line, job, code, reason in (
            (2, "a", "JQ401", "it needs 1 of gpuu, but this host has none; did you mean gpu? "),
            (3, "b", "JQ401", "it needs 3 of gpu, but this host has 2; to add some: resources: {gpu: 3} in "),
            (4, "c", "JQ401", "it needs 4000 CPUs, but jobs on this host can have at most "),
            (5, "d", "JQ402", "it depends on job pwn, which does not exist; did you mean own?"),
            (6, "e", "JQ404", "it depends on itself: e → own → e"),
        ):
            assert told[line - 2].startswith(f"{tmp_path}/a.yaml:{line}: {job}: it will not run: {reason}")
            assert told[line - 2].endswith(f" (warning) [{code}]")
        nexts = dict(line.split()[:2] for line in told[-7:-1])
        assert ("-", "in") == (nexts["a"], nexts["fine"])

    def test_directory(self, tmp_path: Path) -> None:
        """The job files of a directory count, in byte order of their names: the first to have an id keeps it."""
        (tmp_path / "B.yml").write_text(CLEAN)
        (tmp_path / "a.yaml").write_text(CLEAN)
        for name in (".a.yaml", "a.yaml~", "a.yaml.dpkg-old", "notes.txt"):
            (tmp_path / name).write_text("{")
        (tmp_path / "c.yaml").mkdir()
        os.mkfifo(tmp_path / "d.yaml")
        answer = json.loads(run("check", "--json", tmp_path).stdout)
        found = [(Path(problem["file"]).name, problem["line"]) for problem in answer["problems"]]
        assert (["a", "b"], [("a.yaml", 2), ("a.yaml", 5), ("c.yaml", 0), ("d.yaml", 0)]) == (
            [job["id"] for job in answer["jobs"]],
            found,
        )

    def test_own_directory(self, tmp_path: Path) -> None:
        """Without arguments the daemon's job directory is checked."""
        (tmp_path / "jobqueue.d").mkdir()
        (tmp_path / "jobqueue.d" / "a.yaml").write_text(WRONG)
        assert run("--root", tmp_path, "check").returncode == 1

    @pytest.mark.parametrize(
        ("name", "reason"), [("none.yaml", "No such file or directory"), ("x" * 300, "File name too long")]
    )
    def test_unreadable(self, tmp_path: Path, name: str, reason: str) -> None:
        """A file that can't be read is a problem and exit status 2; the others are checked all the same."""
        (tmp_path / "a.yaml").write_text(CLEAN)
        shown = run("check", "--json", tmp_path / name, tmp_path / "a.yaml")
        answer = json.loads(shown.stdout)
        told = [(problem["file"], problem["message"]) for problem in answer["problems"]]
        assert (2, [(f"{tmp_path}/{name}", f"cannot be read: {reason}")]) == (shown.returncode, told)
        assert ["a", "b"] == [job["id"] for job in answer["jobs"]]

    def test_trust(self, tmp_path: Path) -> None:
        """In the daemon's own directory owners and permissions count, elsewhere only what a file is."""
        (tmp_path / "jobqueue.d").mkdir()
        (tmp_path / "jobqueue.d" / "a.yaml").write_text(CLEAN)
        (tmp_path / "jobqueue.d" / "a.yaml").chmod(0o666)
        shown = run("--root", tmp_path, "check")
        reason = "found a file that all users may write; expected one that only root can write: chmod go-w"
        file = f"{tmp_path}/jobqueue.d/a.yaml"
        assert (1, believing(f"{file}: {reason} {file} [JQ502]")) == (shown.returncode, shown.stdout.splitlines()[0])
        assert run("check", tmp_path / "jobqueue.d").returncode == 0
        (tmp_path / "jobqueue.d" / "a.yaml").chmod(0o644)
        (tmp_path / "jobqueue.d").chmod(0o777)
        shown = run("--root", tmp_path, "check")
        assert (1, True) == (shown.returncode, "found a directory that all users may write" in shown.stdout)

    def test_a_fifo_without_a_writer(self, tmp_path: Path) -> None:
        """Nobody waits for one; one with a slow writer is read to its end."""
        os.mkfifo(tmp_path / "fifo")
        shown = run("check", tmp_path / "fifo")
        reason = "found a FIFO without a writer; expected a file, or a pipe with a program's output"
        assert (1, f"{tmp_path}/fifo: {reason} [JQ502]") == (shown.returncode, shown.stdout.splitlines()[0])
        reading, writing = os.pipe()
        program = subprocess.Popen([*PROGRAM, "check", f"/dev/fd/{reading}"], pass_fds=[reading], stdout=-1)
        os.close(reading)
        for half in (CLEAN[:20], CLEAN[20:]):
            wait_for(lambda: Path(f"/proc/{program.pid}/stat").read_text().split()[2] == "S")
            os.write(writing, half.encode())
        os.close(writing)
        assert 0 == program.wait(60)

    def test_pipe(self) -> None:
        """A pipe that is named is read: `jobqueuectl check <(make-jobs)`."""
        reading, writing = os.pipe()
        os.write(writing, CLEAN.encode())
        os.close(writing)
        shown = subprocess.run(
            [*PROGRAM, "check", f"/dev/fd/{reading}"], pass_fds=[reading], capture_output=True, check=False
        )
        os.close(reading)
        assert (0, b"2 jobs, 0 problems", b"") == (shown.returncode, shown.stdout[-19:].strip(), shown.stderr)

    def test_unknown_user(self, tmp_path: Path) -> None:
        """A user that this host does not have is a warning, as the file is accepted, but the job can't run here."""
        (tmp_path / "a.yaml").write_text(CLEAN + "    user: no-such-user\n")
        answer = run("check", "--json", tmp_path / "a.yaml")
        [problem] = json.loads(answer.stdout)["problems"]
        assert (1, "user", "warning", 5) == (answer.returncode, problem["key"], problem["severity"], problem["line"])
        assert "found 'no-such-user'" in problem["message"]

    @given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: f"{CLEAN}{text}".encode(errors="replace")))
    def test_any_bytes(self, data: bytes) -> None:
        """Any bytes are answered in JSON, and the exit status tells whether there is an error."""
        with NamedTemporaryFile(suffix=".yaml") as file:
            file.write(data)
            file.flush()
            shown = CliRunner().invoke(main, ["check", "--json", file.name])
        answer = json.loads(shown.output)
        assert int(any(problem["severity"] == "error" for problem in answer["problems"])) == shown.exit_code

    def test_settings(self, tmp_path: Path) -> None:
        """A jobqueued.yaml, and a drop-in of it, is no job file."""
        file = tmp_path / "jobqueued.yaml"
        file.write_text("max_running: 2\nretension: {}\n")
        (tmp_path / "jobqueued.yaml.d").mkdir()
        drop_in = tmp_path / "jobqueued.yaml.d" / "a.yaml"
        drop_in.write_text("max_running: 3\n")
        shown = run("--root", tmp_path, "check", file, drop_in)
        assert (1, True, False) == (
            shown.returncode, f"{file}:2:1: retension: found an unknown key" in shown.stdout, "job file" in shown.stdout
        ), shown.stdout  # fmt: skip
        assert 0 == run("--root", tmp_path, "check", drop_in).returncode
        assert 2 == run("--root", tmp_path, "check", tmp_path / "away" / "jobqueued.yaml").returncode


def test_check_blames_the_file_that_closes_a_cycle(tmp_path: Path) -> None:
    """The other file is as good as it was, and a masked one is named."""
    directory = tmp_path / "jobqueue.d"
    directory.mkdir()
    for name, other in ("ab", "ba"):
        (directory / f"{name}.yaml").write_text(f"jobs: {{{name}: {{command: 'true', dependencies: [{other}]}}}}")
    (directory / "m.yaml").symlink_to("/dev/null")
    (cycle, masked, *rest) = run("--root", tmp_path, "check").stdout.splitlines()
    assert cycle.startswith(f"{directory}/b.yaml:1: found a cycle: b → a → b; ")
    assert f"{directory}/m.yaml: is masked by its link to /dev/null, so it has no jobs (warning) [JQ504]" == masked
    assert ["JOB  NEXT", "a    -", "1 job, 1 error, 1 warning; 1 file refused with all jobs"] == rest
    assert 1 == json.loads(run("--root", tmp_path, "check", "--json").stdout)["refused"]


def test_check_warns_of_what_can_not_run_here(tmp_path: Path) -> None:
    """A program, directory or group that does not exist, and an instant that is past, are warnings."""
    file = tmp_path / "a.yaml"
    file.write_text(
        "jobs:\n  a: {command: [/nowhere/prog, x]}\n  b: {command: /etc/passwd --full, group: no-such}\n"
        "  c: {command: 'true', at: 2020-01-01T00:00Z, groups: [root, none-such]}\n"
        "  d: {command: /bin/sh -c true, groups: [root]}\n"
        f"  e: {{command: [no-such-prog], working_directory: {tmp_path}/none, failover: no-such-either --now}}\n"
        "  py: {command: import os, shell: /usr/bin/python3}\n"
        "  f: {command: 'cd / && no-such', failover: 'f() { true; }; f', working_directory: /}\n"
        "  g: {command: [hidden], environment: {PATH: '/nowhere:/root'}}\n"
        "  h: {command: [hidden], environment_file: /etc/default/x}\n"
        "  i: {command: bin/x, working_directory: /etc/passwd}\n"
        "  j: {command: [bin/x], working_directory: /, locks: [{path: /no/where/x.lock}, db]}\n"
        "  k: {command: x, shell: /bin/dsh, on: {path: '/no/where/*.csv'}}\n"
    )
    shown = run("--root", tmp_path, "check", file)
    assert 1 == shown.returncode
    told = [line for line in shown.stdout.splitlines() if "(warning)" in line]
    no_group = "expected a group of this host; without it the job will not run (warning) [JQ505]"
    expected = [
        f"{file}:2: a: command: /nowhere/prog does not exist here; expected the path of a program (warning) [JQ507]",
        f"{file}:3: b: command: /etc/passwd is not a program here; expected the path of a program (warning) [JQ507]",
        f"{file}:4: c: at: found an instant in the past (2020-01-01 00:00:00 UTC), "
        "so a job that did not run yet never will; use a future instant, or `schedule` for several (warning) "
        "[JQ305]",
    ]
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    remedy = "expected its full path, or `environment: {PATH: …}` (warning) [JQ507]"
    expected += [
        f"{file}:6: e: working_directory: {tmp_path}/none does not exist here; expected an existing directory "
        "(warning) [JQ510]",
        f"{file}:6: e: command: found no program no-such-prog in the job's PATH ({path}); {remedy}",
        f"{file}:6: e: failover: found no program no-such-either in the job's PATH ({path}); {remedy}",
        f"{file}:9: g: command: found no program hidden in the job's PATH (/nowhere:/root); {remedy}",
        f"{file}:10: h: environment_file: /etc/default/x does not exist here; without this file, the job will not "
        f"start "
        "(warning) [JQ509]",
        f"{file}:11: i: working_directory: /etc/passwd is not a directory here; expected an existing directory "
        "(warning) [JQ510]",
        f"{file}:12: j: command: found no program bin/x in /, the job's working_directory; expected its full path "
        "(warning) [JQ507]",
        f"{file}:12: j: locks: /no/where does not exist here, so /no/where/x.lock can't be in it (warning) [JQ510]",
        f"{file}:13: k: shell: /bin/dsh does not exist here; expected the path of a program (warning) [JQ507]",
        f"{file}:13: k: on: /no/where does not exist here, so /no/where/*.csv can't be in it (warning) [JQ510]",
    ]
    expected += [
        f"{file}:3: b: group: found 'no-such'; {no_group}",
        f"{file}:4: c: groups: found 'none-such'; {no_group}",
    ]
    assert expected == told


def test_check_warns_of_limits_that_are_required_and_missing(host: Host) -> None:
    """Where runs have no cgroups a job that requires a limit does not start, which check knows of the daemon."""
    (host.root / "jobqueue.d" / "a.yaml").write_text(
        "jobs: {a: {command: [sh], resource_limits: {tasks: 9, open_files: 9}, enforce: required}}"
    )
    told = "enforce: the job will not start, because this host can't enforce resource_limits.tasks; use best_effort, or"
    assert told not in run("--root", host.root, "check").stdout
    host.start()
    assert told in run("--root", host.root, "check").stdout


def test_check_names_files_that_are_not_read(tmp_path: Path) -> None:
    """A file without the name of a job file is told; leftovers, directories and what is switched off are not."""
    quiet = ("a.yaml~", ".a.yaml.swp", "a.yaml.dpkg-old", "README", "#a.yaml#", "a.yaml.disabled", "x.rpmsave", "a.bak")
    for name in ("backup", "a.YAML", "jobs.json", "cleanup.conf", *quiet):
        (tmp_path / name).write_text("jobs: {}")
    (tmp_path / "archive").mkdir()
    shown = run("check", tmp_path).stdout.splitlines()
    not_read = "is ignored; expected a printable name that ends in .yaml or .yml (lower case)"
    names = ("a.YAML", "backup", "cleanup.conf", "jobs.json")
    told = [f"{tmp_path}/{name}: {not_read} (warning) [JQ503]" for name in names]
    assert told == [line for line in shown if "(warning)" in line]


def test_check_reads_the_standard_input() -> None:
    """A file of - is what comes in."""
    words = [*PROGRAM, "check", "-"]
    text = "jobs: {a: {comand: x}}"
    done = subprocess.run(words, input=text, check=False, capture_output=True, text=True, env=environment())
    assert (1, "-:1:12: a: comand: found an unknown key; expected 'command' [JQ201]") == (
        done.returncode, done.stdout.splitlines()[0],
    )  # fmt: skip
