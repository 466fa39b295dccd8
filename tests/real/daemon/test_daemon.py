"""The real daemon with real processes: files become runs, and record, log and control socket agree on what they did."""

from __future__ import annotations

import concurrent.futures
import contextlib
import grp
import json
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from jobqueued.child.contract import wire
from jobqueued.ctl.base.terminal import named
from tests.support import REPO
from tests.support.host import DEADLINE, Host, wait_for


def read_when_whole(path: Path) -> str:
    """A file's text once it ends with a newline."""
    return wait_for(lambda: path.exists() and path.read_text().endswith("\n") and path.read_text())


def test_a_live_run_shows_what_it_has_written(host: Host) -> None:
    """The end of its output so far, and where it is; the daemon's ps has names for its helpers."""
    host.write("jobs.yaml", "jobs: {a: {command: 'echo so far; exec sleep 600'}}")
    host.start()
    run = host.run("a")
    output = wait_for(lambda: (o := host.call("Show", run=run)["record"]["output"]) and o["file"] and o)
    assert (output["tail"], output["bytes"], output["dropped"]) == ("so far\n", 7, None)

    def named() -> bool:  # a fresh fork has its parent's name for a moment
        names = [Path(f"/proc/{pid}/comm").read_text().strip() for pid in host.small_ones()]
        return set(names) == {"jq-launcher", "jq-supervisor"} and names.count("jq-launcher") == 1

    wait_for(named)
    wait_for(lambda: f"{run}.1" in titles(host))
    supervisor = next(pid for pid in host.small_ones() if f"{run}.1" in arguments_of(pid))
    host.call("Stop", run=run)
    host.wait(run)
    wait_for(lambda: arguments_of(supervisor) == ["jq-supervisor", "idle", f"{host.root}/run/runs"])


def arguments_of(pid: int) -> list[str]:
    """The arguments of a process, as ps shows them."""
    return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")


def titles(host: Host) -> set[str]:
    """What the supervisors of a host have to do by their titles."""
    return {words[1] for words in map(arguments_of, host.small_ones()) if words[0] == "jq-supervisor"}


def test_a_job_that_has_stopped_itself_shows(host: Host) -> None:
    """It runs and does nothing, and whoever looks is told why; SIGCONT lets it go on."""
    host.write("jobs.yaml", "jobs: {a: {command: 'kill -STOP $$; exit 5'}}")
    host.start()
    run = host.run("a")
    record = wait_for(lambda: (r := host.call("Show", run=run)["record"]) and (r["usage"] or {}).get("stopped") and r)
    os.kill(record["pid"], signal.SIGCONT)
    assert host.wait(run)["exit_code"] == 5


def test_the_descriptors_of_a_job(host: Host) -> None:
    """Nothing to read, one pipe for all that it writes, and nothing else, by way of the real launcher."""
    host.write("jobs.yaml", "jobs: {a: {command: 'exec ls -l /proc/self/fd'}}")
    host.start()
    host.wait(run := host.run("a"))
    links = [line.split(" -> ")[1] for line in host.output(run).decode().splitlines()[1:]]
    assert links[0] == "/dev/null"
    assert links[1].startswith("pipe:")
    assert links[2:] == [links[1], links[3]]
    assert links[3].startswith("/proc/")  # ls's own


def test_the_main_promise(host: Host) -> None:
    """A dropped file's job runs through a SIGKILL of the scheduler; record, log, show and the job itself agree."""
    host.start()
    host.write("job.yaml", f"""
jobs:
  work:
    command: |
      echo $$ >{host.root}/pid; date +%s.%N >{host.root}/began
      echo first line; echo on stderr >&2
      while [ ! -e {host.root}/go ]; do sleep 0.05; done
      echo last line; head -c 100000 /dev/zero; exit 42
""")  # fmt: skip
    wait_for(lambda: host.call("List")["jobs"])
    run = host.run("work")
    pid = int(read_when_whole(host.root / "pid"))
    wait_for(lambda: host.call("Show", run=run)["record"]["pid"] == pid)
    host.kill()
    (host.root / "go").touch()
    wait_for(lambda: not Path(f"/proc/{pid}").exists())
    wait_for(lambda: list(host.root.glob("run/runs/*/*/ended")))
    host.start()
    record = host.wait(run)
    assert record == host.record(run) == host.call("Show", run=run)["record"]
    shown = subprocess.run(
        [sys.executable, "-m", "jobqueued.ctl", "--root", host.root, "show", run, "--json"],
        cwd=REPO, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(shown.stdout) == {"schema": 1, **named(record)}
    assert (record["state"], record["exit_code"], record["signal"]) == ("failed", 42, None)
    assert record["pid"] == pid
    output = b"first line\non stderr\nlast line\n" + bytes(100000)
    assert host.output(run) == output
    assert (record["output"]["bytes"], record["output"]["dropped"]) == (len(output), 0)
    began = float(read_when_whole(host.root / "began"))
    started, ended = (datetime.fromisoformat(record[name]).timestamp() for name in ("started", "ended"))
    assert started <= began <= ended
    assert record["cpu_user"] + record["cpu_system"] > 0
    assert host.marks() == []


def test_a_running_job_survives_an_orderly_stop(host: Host) -> None:
    """SIGINT stops the daemon, names the live run, and leaves it running; the next daemon takes it up."""
    host.write("job.yaml", f"jobs: {{work: {{command: 'while [ ! -e {host.root}/go ]; do sleep 0.05; done'}}}}")
    host.start()
    run = host.run("work")
    pid = wait_for(lambda: host.call("Show", run=run)["record"]["pid"])
    assert host.stop(signal.SIGINT) == 0
    assert host.said("stopped")[-1]["message"] == (
        f"stopped: live runs continue, and the next start follows them again: {run} (pid {pid})"
    )
    assert Path(f"/proc/{pid}").exists()
    host.start()
    (host.root / "go").touch()
    assert host.wait(run)["state"] == "succeeded"
    assert len(host.said("run_started")) == 1


def test_many_ends_while_nobody_is_there(host: Host) -> None:
    """Runs that end while no scheduler is there are all taken in, each with its own exit status."""
    jobs = "\n".join(
        f"  j{code}: {{command: 'while [ ! -e {host.root}/go ]; do sleep 0.05; done; exit {code}'}}"
        for code in range(12)
    )
    host.write("jobs.yaml", f"jobs:\n{jobs}\n")
    host.start()
    runs = [host.run(f"j{code}") for code in range(12)]
    wait_for(lambda: host.call("Status")["running"] == 12 and len(list(host.root.glob("run/runs/*/*/pid"))) == 12)
    host.kill()
    (host.root / "go").touch()
    wait_for(lambda: len(list(host.root.glob("run/runs/*/*/ended"))) == 12)
    host.start()
    assert [host.wait(run)["exit_code"] for run in runs] == list(range(12))


def test_the_launcher_leaves_when_nobody_needs_it(host: Host) -> None:
    """Without scheduler and without runs, nothing of ours stays behind."""
    host.start()
    assert len(host.small_ones()) > 1
    host.stop()
    wait_for(lambda: not host.small_ones())


def test_max_running_is_kept_over_a_restart(host: Host) -> None:
    """A live run found at start still holds its slot: nothing else starts beside it."""
    (host.root / "jobqueued.yaml").write_text("max_running: 1\n")
    wait = f"while [ ! -e {host.root}/go ]; do sleep 0.05; done"
    host.write("job.yaml", f"jobs: {{a: {{command: '{wait}'}}, b: {{command: 'true'}}}}")
    host.start()
    first = host.run("a")
    wait_for(lambda: host.call("Show", run=first)["record"]["pid"])
    second = host.run("b")
    host.kill()
    host.start()
    (lacks,) = host.call("Show", run=second)["record"]["waits_for"]
    assert re.fullmatch(rf"max_running 1 is used up by {first}( for \d+ s)?", lacks)
    (host.root / "go").touch()
    assert [host.wait(run)["state"] for run in (first, second)] == ["succeeded", "succeeded"]


def test_one_bad_file_harms_no_other(host: Host) -> None:
    """A broken file is named with line and column, keeps its last good jobs, and all else goes on."""
    host.write("good.yaml", "jobs: {good: {command: 'true'}}")
    host.write("edited.yaml", "jobs: {edited: {command: 'true'}}")
    host.write("bad.yaml", "jobs:\n  bad: {comand: 'true'}\n")
    host.start()
    assert {job["id"] for job in host.call("List")["jobs"]} == {"good", "edited"}
    (found,) = [entry["message"] for entry in host.said("problem") if "comand" in entry["message"]]
    assert found == f"{host.root}/jobqueue.d/bad.yaml:2:9: bad: comand: found an unknown key; expected 'command'"
    host.write("edited.yaml", "jobs: {edited: {command: [}}")
    wait_for(lambda: len(host.call("Status")["problems"]) > 1)
    assert {job["id"] for job in host.call("List")["jobs"]} == {"good", "edited"}
    assert host.wait(host.run("edited"))["state"] == "succeeded"
    host.write("bad.yaml", "jobs: {bad: {command: 'true'}}")
    wait_for(lambda: len(host.call("List")["jobs"]) == 3)
    assert host.said("mended")[0]["message"] == f"{host.root}/jobqueue.d/bad.yaml: accepted again"
    (host.root / "jobqueue.d" / "edited.yaml").unlink()
    (_, removed) = wait_for(lambda: (found := host.said("mended"))[1:] and found)
    assert f"{host.root}/jobqueue.d/edited.yaml: removed, with its errors" == removed["message"]


def test_a_half_written_file_is_not_read(host: Host) -> None:
    """While its writer has it open, a truncated file changes nothing; when it is closed, the whole text counts."""
    host.write("job.yaml", "jobs: {old: {command: 'true'}}")
    host.start()
    with open(host.root / "jobqueue.d" / "job.yaml", "w") as file:
        file.write("jobs:\n  new: {command: 'true'}\n")
        file.flush()
        host.write("other.yaml", "jobs: {other: {command: 'true'}}")
        wait_for(lambda: len(host.call("List")["jobs"]) == 2)
        assert {job["id"] for job in host.call("List")["jobs"]} == {"old", "other"}
        file.write("  newer: {command: 'true'}\n")
    wait_for(lambda: {job["id"] for job in host.call("List")["jobs"]} == {"new", "newer", "other"})


def test_an_unreadable_file_is_named(host: Host) -> None:
    """A file that may not be trusted or read is refused with the reason, and the others are read."""
    host.write("good.yaml", "jobs: {good: {command: 'true'}}")
    host.write("open.yaml", "jobs: {open: {command: 'true'}}")
    (host.root / "jobqueue.d" / "open.yaml").chmod(0o666)
    (host.root / "jobqueue.d" / "link.yaml").symlink_to("good.yaml")
    os.mkfifo(host.root / "jobqueue.d" / "fifo.yaml")
    host.start()
    assert [job["id"] for job in host.call("List")["jobs"]] == ["good"]
    assert {Path(problem["file"]).name for problem in host.call("Status")["problems"]} == {
        "open.yaml", "link.yaml", "fifo.yaml",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ("command: [no-such-command]", "start_failed: exec: no command 'no-such-command' in PATH "),
        ("command: [/no/such/file]", "start_failed: exec: /no/such/file: No such file or directory"),
        ("command: 'true', working_directory: /no/such", "start_failed: chdir: /no/such: No such file or directory"),
        ("command: no-such-command-in-a-shell", "exit code 127"),
        ("command: 'kill -SEGV $$'", "signal 11 (SIGSEGV)"),
    ],
)
def test_a_bad_job_is_one_failed_run(host: Host, fields: str, reason: str) -> None:
    """A job that can't start, or fails, is a failed run with its reason; the daemon and other jobs go on."""
    host.write("job.yaml", f"jobs: {{bad: {{{fields}}}, good: {{command: 'true'}}}}")
    host.start()
    record = host.wait(host.run("bad"))
    assert record["state"] == "failed"
    assert record["reason"].startswith(reason)
    assert host.record("bad@1") == record
    assert host.wait(host.run("good"))["state"] == "succeeded"


def test_a_timeout(host: Host) -> None:
    """A run that takes longer than its timeout is ended, and that is what its record says."""
    host.write("job.yaml", "jobs: {slow: {command: exec sleep 600, timeout: 1s}}")
    host.start()
    record = host.wait(host.run("slow"))
    assert (record["state"], record["reason"], record["signal"]) == ("timed_out", "timeout after 1 s", signal.SIGTERM)


def test_a_stop_ends_the_whole_family(host: Host) -> None:
    """SIGTERM, after `kill_grace` SIGKILL: also to children in sessions of their own, orphaned, that ignore SIGTERM."""
    script = host.root / "stubborn"
    script.write_text(f"trap '' TERM; echo $$ >>{host.root}/pids; while :; do sleep 1; done\n")
    host.write("job.yaml", f"""
jobs:
  stubborn:
    command: setsid sh {script} & sh -c '(setsid sh {script} &)'; exec sh {script}
    kill_grace: 1s
""")  # fmt: skip
    host.start()
    run = host.run("stubborn")
    pids = wait_for(lambda: (three := read_when_whole(host.root / "pids").split())[2:] and three)
    host.call("Stop", run=run)
    record = host.wait(run)
    assert (record["state"], record["signal"]) == ("killed", signal.SIGKILL)
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


def test_what_a_job_leaves_behind_is_ended(host: Host) -> None:
    """A child that outlives the main process and holds its output is ended, and does not keep the run from ending."""
    host.write("job.yaml", f"jobs: {{leaver: {{command: 'sleep 600 & echo $! >{host.root}/child; exit 5'}}}}")
    host.start()
    record = host.wait(host.run("leaver"))
    assert (record["state"], record["exit_code"]) == ("failed", 5)
    child = read_when_whole(host.root / "child").strip()
    assert not Path(f"/proc/{child}").exists()


def test_a_reload_fires_nothing(host: Host) -> None:
    """Touching, rewriting and reloading (SIGHUP) job files starts nothing and stops nothing."""
    text = f"jobs: {{work: {{command: 'while [ ! -e {host.root}/go ]; do sleep 0.05; done', schedule: '0 0 1 1 *'}}}}"
    host.write("job.yaml", text)
    daemon = host.start()
    run = host.run("work")
    wait_for(lambda: host.call("Show", run=run)["record"]["pid"])
    for expression in ("30 4 * * *", "0 0 1 1 *", "* * 31 12 *"):
        host.write("job.yaml", text.replace("0 0 1 1 *", expression))
        wait_for(lambda expression=expression: host.call("List")["jobs"][0]["schedule"] == [expression])
        daemon.send_signal(signal.SIGHUP)
    (host.root / "go").touch()
    assert host.wait(run)["state"] == "succeeded"
    assert [entry["run"] for entry in host.said("run_started")] == [run]


def fill_disk(host: Host) -> None:
    """From now on state.db can't grow, as on a full disk (RLIMIT_FSIZE of the scheduler alone)."""
    assert host.daemon is not None
    log = host.root / "state" / "state.db-wal"
    wait_for(lambda: log.stat().st_size == 0, why="tidied up after the start")
    resource.prlimit(host.daemon.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def free_disk(host: Host) -> None:
    """The disk has room again."""
    assert host.daemon is not None
    resource.prlimit(host.daemon.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def test_a_full_disk_stops_nothing(host: Host) -> None:
    """While commits fail scheduling goes on and says so; when there is room again nothing is missing."""
    host.write("job.yaml", "jobs: {work: {command: echo hello; exit 3}}")
    host.start()
    fill_disk(host)
    record = host.wait(host.run("work"))
    assert record["exit_code"] == 3
    status = host.call("Status")
    assert (status["state"], status["reason"].startswith(f"{host.root}/state: ")) == ("degraded", True)
    assert "so runs may repeat if the host goes down" in status["reason"]
    assert host.marks() == ["work@1.1"]
    assert [record] == host.call("Describe", job="work")["runs"] == host.call("History")["runs"]
    assert record == host.call("Show", run="work@1")["record"] == host.wait("work@1")
    free_disk(host)
    host.wait(host.run("work"))
    wait_for(lambda: host.call("Status")["state"] == "ok")
    wait_for(lambda: host.marks() == [])
    assert [run["number"] for run in host.call("Describe", job="work")["runs"]] == [2, 1]
    assert host.call("Show", run="work@1")["record"] == record
    assert (host.root / "state" / "ballast").exists()  # a limit is no lack of room


def test_a_crash_while_the_disk_is_full_starts_nothing_twice(host: Host) -> None:
    """What ran while nothing could be committed is found again in R: its record is kept, its number used."""
    host.write("job.yaml", f"jobs: {{work: {{command: echo x >>{host.root}/starts; exit 3}}}}")
    host.start()
    fill_disk(host)
    host.wait(host.run("work"))
    host.kill()
    host.start()
    assert host.call("Show", run="work@1")["record"]["exit_code"] == 3
    assert host.run("work") == "work@2"
    host.wait("work@2")
    assert (host.root / "starts").read_text() == "x\nx\n"


def test_what_is_nowhere_any_more_is_known_once_all_files_are_read(host: Host) -> None:
    """A file that is refused at the start may have the job of a run that waits; once it is mended nobody has."""
    host.write("job.yaml", "jobs: {work: {command: 'true'}}")
    host.start()
    host.call("Hold")
    run = host.run("work")
    host.stop()
    (host.root / "jobqueue.d" / "job.yaml").unlink()
    host.write("moved.yaml", "jobs: {work: {command: [}}")
    host.start()
    _, reason = host.call("Why", run=run)["why"]["reasons"]  # the host is on hold, too
    assert reason == "job work is in no readable job file"
    host.write("moved.yaml", "jobs: {other: {command: 'true'}}")
    assert host.wait(run)["reason"] == "job_removed"


def test_a_job_file_that_is_away_during_a_start(host: Host) -> None:
    """Package managers and editors take it away for a moment: what waits waits on, and is gone 5 s later, if at all."""
    host.write("job.yaml", "jobs: {work: {command: 'true'}, held: {command: 'true'}}")
    host.start()
    host.call("Hold")
    runs = [host.run("work"), host.run("held")]
    host.call("Pause", job="held")
    for comes_back in (True, False):
        host.stop()
        os.rename(host.root / "jobqueue.d" / "job.yaml", host.root / "away")
        host.start()
        for run in runs:
            assert host.call("Show", run=run)["record"]["state"] == "due"
        if comes_back:
            os.rename(host.root / "away", host.root / "jobqueue.d" / "job.yaml")
            wait_for(lambda: host.call("List")["jobs"])
            assert ["due", "waiting"] == [host.call("Show", run=run)["record"]["state"] for run in reversed(runs)]
            assert host.call("Describe", job="held")["job"]["paused"]
    assert ["job_removed"] * 2 == [host.wait(run)["reason"] for run in runs]


def test_a_read_only_state_directory(host: Host) -> None:
    """A state directory that can't be written is one clear message, and exit status 1."""
    if os.geteuid() == 0:
        pytest.skip("needs an ordinary user")
    (host.root / "state").mkdir()
    (host.root / "state").chmod(0o555)
    assert host.start(ready=False).wait(20) == 1
    reason = "this user can't write to it; jobqueued needs write permission there"
    assert host.log() == f"jobqueued: {host.root}/state: {reason}\n"


def test_records_are_not_for_everybody(host: Host) -> None:
    """Record and output can be read by owner and group only."""
    host.write("job.yaml", "jobs: {work: {command: echo secret}}")
    host.start()
    host.wait(host.run("work"))
    modes = [stat.S_IMODE(path.stat().st_mode) for path in sorted((host.root / "logs" / "work").iterdir())]
    assert modes == [0o640, 0o640]


def test_a_job_gets_exactly_this_environment(host: Host) -> None:
    """A job's environment is built from nothing: the table of jobqueue.d(5), and what the file adds."""
    host.write("job.yaml", "jobs: {work: {command: [env], environment: {GREETING: hello, LANG: C}}}")
    os.environ["LEAK"] = "x"
    try:
        host.start()
    finally:
        del os.environ["LEAK"]
    record = host.wait(host.run("work"))
    found = dict(line.split("=", 1) for line in host.output("work@1").decode().splitlines())
    assert set(found) == {
        "PATH", "HOME", "SHELL", "LOGNAME", "USER", "LANG", "GREETING",
        "JOBQUEUE_JOB", "JOBQUEUE_RUN", "JOBQUEUE_ATTEMPT", "JOBQUEUE_DUE", "JOBQUEUE_INVOCATION_ID",
        "JOBQUEUE_TRIGGER", "TRACEPARENT",
    }  # fmt: skip
    assert (found["GREETING"], found["LANG"], found["JOBQUEUE_RUN"]) == ("hello", "C", "work@1")
    assert found["JOBQUEUE_DUE"] == record["due"]


def test_supervisors_are_reused(host: Host) -> None:
    """Forty runs one after another need no more supervisors than the pool has, and leave each of them as it was."""
    looks = ("grep -E '^(Sig[BIC]|Cap|Groups|Seccomp)' /proc/self/status", "cat /proc/self/limits", "ls /proc/self/fd")
    host.write("job.yaml", f'jobs: {{look: {{command: "{"; ".join(looks)}"}}}}')
    host.start()
    before = host.small_ones()
    first = host.wait(host.run("look"))
    for _ in range(40):
        last = host.wait(host.run("look"))
    assert (first["state"], last["state"]) == ("succeeded", "succeeded")
    assert host.output(first["run"]) == host.output(last["run"])
    assert host.small_ones() == before


def test_the_daemon_survives_a_flood_of_output(host: Host) -> None:
    """50 MB without a newline into a 1 MiB limit: the job is not held up, what was dropped is counted."""
    host.write("job.yaml", "jobs: {flood: {command: 'head -c 50000000 /dev/zero', output_limit: 1M}}")
    host.start()
    record = host.wait(host.run("flood"))
    assert (record["state"], record["output"]["bytes"], record["output"]["dropped"]) == (
        "succeeded", 1 << 20, 50000000 - (1 << 20),
    )  # fmt: skip
    assert len(host.output("flood@1")) == 1 << 20


def test_output_that_cannot_be_written(host: Host) -> None:
    """Where the log directory is not to be written the run goes on; record and loss are in state.db and said."""
    host.write("job.yaml", "jobs: {work: {command: echo hello}}")
    host.start()
    (host.root / "logs" / "work").write_text("a file where a directory should be\n")
    record = host.wait(host.run("work"))
    assert record["state"] == "succeeded"
    assert (record["output"]["bytes"], record["output"]["dropped"]) == (0, 6)
    assert record["output"]["tail"] == "hello\n"
    assert host.said("trouble")[0]["message"].startswith("cannot write the record of work@1: ")
    assert host.call("Show", run="work@1")["record"] == record


def test_retention_keeps_the_newest(host: Host) -> None:
    """Expired runs lose file and row together, the newest stays."""
    (host.root / "jobqueued.yaml").write_text("retention: {runs: 2}\n")
    host.write("job.yaml", "jobs: {work: {command: echo hello}}")
    host.start()
    for _ in range(5):
        host.wait(host.run("work"))
    host.stop()
    host.start()  # what is left over is looked at when the daemon starts
    wait_for(lambda: host.record("work@3") is None, 10)
    assert [run["number"] for run in host.call("Describe", job="work")["runs"]] == [5, 4]
    assert sorted(path.name for path in (host.root / "logs" / "work").iterdir()) == [
        "4.json", "4.log", "5.json", "5.log",
    ]  # fmt: skip


def test_a_deep_directory_is_fine(tmp_path: Path) -> None:
    """Paths longer than a socket address may be do not matter."""
    host = Host(tmp_path / ("d" * 60) / ("e" * 60) / "host")
    try:
        host.write("job.yaml", "jobs: {work: {command: exit 4}}")
        host.start()
        assert host.wait(host.run("work"))["exit_code"] == 4
    finally:
        host.close()


@pytest.fixture
def notices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What PID 1 would read; daemons that are started now write there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(DEADLINE)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


def test_the_watchdog_is_fed_by_the_loop(host: Host, notices: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """With NOTIFY_SOCKET the daemon says READY, a status, and WATCHDOG as often as asked."""
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    host.start()
    said = [notices.recv(4096).decode() for _ in range(4)]
    assert said[0].startswith("READY=1\nSTATUS=0 jobs, 0 running")
    assert said[1:] == ["WATCHDOG=1"] * 3
    assert host.daemon is not None
    host.daemon.send_signal(signal.SIGHUP)
    wait_for(lambda: notices.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC="))
    host.stop()
    wait_for(lambda: notices.recv(4096).startswith(b"STOPPING=1\nSTATUS=nothing was running"))


def test_the_status_follows_what_happens(host: Host, notices: socket.socket) -> None:
    """STATUS tells how many jobs there are and run, and which files are refused."""

    def told(text: str) -> None:
        wait_for(lambda: f"STATUS={text}" == notices.recv(4096).decode(), why=text)

    host.start()
    assert "READY=1\nSTATUS=0 jobs, 0 running" == notices.recv(4096).decode()
    command = f"until [ -e {host.root}/go ]; do sleep 0.05; done"
    host.write("a.yaml", f"jobs: {{a: {{command: '{command}', max_waiting: 2}}}}")
    told("1 job, 0 running")
    runs = [host.run("a") for _ in range(3)]
    told("1 job, 1 running, 2 waiting")
    (host.root / "go").touch()
    for run in runs:
        host.wait(run)
    told("1 job, 0 running")
    host.write("b.yaml", "jobs: [")
    told("1 job, 0 running, 1 refused file")


def test_a_pid_1_that_hangs_does_not_hold_the_daemon_up(
    host: Host, notices: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads NOTIFY_SOCKET any more, and its queue is full: jobs run all the same."""
    monkeypatch.setenv("WATCHDOG_USEC", "2000")
    host.write("a.yaml", "jobs: {a: {command: 'true'}}")
    host.start()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, contextlib.suppress(BlockingIOError):
        other.setblocking(False)
        while other.sendto(b"X=1", notices.getsockname()):
            pass
    for _ in range(3):
        assert "succeeded" == host.wait(host.run("a"))["state"]


def test_a_broken_file_keeps_its_jobs_over_a_crash(host: Host) -> None:
    """A daemon that is killed and started beside a file that was broken meanwhile runs its last good text."""
    host.write("a.yaml", "jobs: {a: {command: echo good}}")
    host.start()
    host.kill()
    host.write("a.yaml", "jobs: {a: {command: echo bad")
    host.start()
    path = str(host.root / "jobqueue.d" / "a.yaml")
    assert [path] == host.call("Status")["stale"]
    assert ["a"] == host.said("refused")[-1]["jobs"]
    run = host.run("a")
    assert ("succeeded", b"good\n") == (host.wait(run)["state"], host.output(run))
    host.write("a.yaml", "jobs: {a: {command: echo mended}}")
    wait_for(lambda: host.said("mended"))
    assert [] == host.call("Status")["stale"]
    run = host.run("a")
    assert ("succeeded", b"mended\n") == (host.wait(run)["state"], host.output(run))


def test_an_unknown_user_or_group_makes_its_job_invalid_alone(host: Host) -> None:
    """The file is accepted and its other jobs run; the job says why it does not, in list, journal and record."""
    ours = grp.getgrgid(os.getgid()).gr_name
    more = f"c: {{command: 'true', groups: no-such-group}}, d: {{command: 'true', group: {ours}}}"
    host.write("a.yaml", f"jobs: {{a: {{command: 'true', user: no-such-user}}, b: {{command: 'true'}}, {more}}}")
    host.start()
    wait_for(lambda: len(host.said("job_invalid")) == 2)
    reason, of_group = "no user 'no-such-user' on this host", "no group 'no-such-group' on this host"
    shown = {job["id"]: (job["status"], job["invalid"]) for job in host.call("List")["jobs"]}
    assert {"a": ("Invalid", reason), "b": ("Idle", None), "c": ("Invalid", of_group), "d": ("Idle", None)} == shown
    assert host.call("Run", job="a")["reason"].startswith(f"a@1 was skipped: invalid: {reason}")
    record = host.wait("a@1")
    assert ("skipped", f"invalid: {reason}") == (record["state"], record["reason"])
    assert host.wait(host.run("b"))["state"] == "succeeded"
    assert [] == host.call("Status")["problems"]


def test_a_pause_outlives_the_daemon(host: Host) -> None:
    """A paused job is skipped after a crash too, until it is resumed."""
    host.write("a.yaml", "jobs: {a: {command: 'true', every: 1s}}")
    host.start()
    assert {"unsaved": None} == host.call("Pause", job="a")
    host.kill()
    host.start()
    wait_for(lambda: host.said("run_skipped"))
    [job] = host.call("List")["jobs"]
    assert ("Paused", True) == (job["status"], job["paused"])
    started = len(host.said("run_started"))
    host.call("Resume", job="a")
    wait_for(lambda: len(host.said("run_started")) > started)


def test_boot_jobs_run_once_a_boot(host: Host) -> None:
    """The first start of the daemon in this boot runs them, a restart does not."""
    host.write("a.yaml", "jobs: {a: {command: 'true', schedule: '@reboot'}, b: {command: 'true', on: [boot]}}")
    host.start()
    wait_for(lambda: len(host.said("run_ended")) == 2)
    host.stop()
    host.start()
    host.wait(host.run("a"))
    assert (1, 2) == (
        host.call("Describe", job="b")["stats"]["started"],
        host.call("Describe", job="a")["stats"]["started"],
    )


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def launcher_of(host: Host) -> int:
    """The parent of the supervisors: a fresh fork of it has its name, too, for a moment."""
    ours = host.small_ones()
    [launcher] = [pid for pid in ours if parent_of(pid) not in ours]
    return launcher


def test_a_new_launcher_is_asked_again(host: Host) -> None:
    """A question about a user that the launcher took along is asked again."""
    host.write("a.yaml", "jobs: {a: {command: 'true', user: no-such-user}}")
    host.start()
    wait_for(lambda: host.said("job_invalid"))
    launcher = launcher_of(host)
    os.kill(launcher, signal.SIGSTOP)
    host.write("b.yaml", "jobs: {b: {command: 'true', user: no-such-either}}")
    wait_for(lambda: len(host.said("jobs_read")) == 2)
    os.kill(launcher, signal.SIGKILL)
    wait_for(lambda: [line["job"] for line in host.said("job_invalid")] == ["a", "b"])


def test_a_name_of_any_characters_is_only_a_name(host: Host) -> None:
    """The longest name there is, of characters of four bytes, is looked up like any other; the launcher lives on."""
    host.write("a.yaml", f"jobs: {{a: {{command: 'true', user: {chr(0x1F600) * 64}}}, b: {{command: 'true'}}}}")
    host.start()
    ours = host.small_ones()
    wait_for(lambda: host.said("job_invalid"))
    assert host.said("job_invalid")[0]["reason"].startswith("no user")
    assert host.wait(host.run("b"))["state"] == "succeeded"
    assert [] == host.said("trouble")
    assert set(ours) <= set(host.small_ones())


def test_limits_without_cgroups(host: Host) -> None:
    """Which limits the kernel can't enforce here is told once, at the start, and in the status; memory is sampled."""
    eat = f"{sys.executable} -c 'x = bytearray(90 << 20); import time; time.sleep(600)'"
    strict = "strict: {command: 'true', resource_limits: {memory: 60M, cpu: 1}, enforce: required}"
    host.write(
        "job.yaml", f'jobs: {{eats: {{command: "{eat}", resource_limits: {{memory: 60M, tasks: 9}}}}, {strict}}}'
    )
    host.start()
    barred, short = host.said("trouble")
    assert barred["message"] == "strict does not start (enforce: required), because runs have no cgroups on this host"
    assert short["message"] == (
        "runs have no cgroups on this host: resource_limits.memory is only sampled (eats), resource_limits.tasks is "
        "not enforced (eats)"
    )
    assert host.call("Status")["controllers"] is None
    record = host.wait(host.run("eats"))
    assert ("oom_killed", {"memory": "sampled", "tasks": "no"}) == (record["state"], record["enforced"])
    assert [barred, short] == host.said("trouble")
    status = host.call("Status")
    assert ([barred["message"]], [short["message"]]) == (status["troubles"], status["unenforced"])


def test_questions_hold_no_run_up(host: Host) -> None:
    """With more unknown users than supervisors other jobs run at once, and no supervisor is hired for a question."""
    users = "".join(f"  j{n}: {{command: 'true', user: nobody-{n}}}\n" for n in range(300))
    host.write("a.yaml", f"jobs:\n  b: {{command: 'true'}}\n{users}")
    host.start()
    assert host.wait(host.run("b"))["state"] == "succeeded"
    wait_for(lambda: len(host.said("job_invalid")) == 300)
    assert len(host.small_ones()) <= 10


def test_a_question_outlives_its_supervisor(host: Host) -> None:
    """Supervisors that die while they look a user up are followed by others that do."""
    host.write("b.yaml", "jobs: {b: {command: 'true'}}")
    host.start()
    host.wait(host.run("b"))
    ours, launcher = host.small_ones(), launcher_of(host)
    for pid in set(ours) - {launcher}:
        os.kill(pid, signal.SIGSTOP)
    host.write("a.yaml", "jobs: {a: {command: 'true', user: no-such-user}}")
    wait_for(lambda: len(host.said("jobs_read")) == 2)
    for pid in set(ours) - {launcher}:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: host.said("job_invalid"))


def test_a_launcher_that_hangs_is_told(host: Host, tmp_path: Path) -> None:
    """Nothing of it shows in any run, so the daemon says it, once, and when it is over; a slow start is no hang."""
    program = tmp_path / "daemon.py"
    program.write_text(
        f"import sys\nsys.path.insert(0, {str(REPO)!r})\nfrom jobqueued.runs import launcher_link\n"
        "from jobqueued.__main__ import main\n"
        "launcher_link.SILENT = 10**9\nsys.exit(main(sys.argv[1:]))\n"
    )
    host.program = (str(program),)
    host.write("jobs.yaml", "jobs: {a: {command: exit 3}, b: {command: exit 4}}")
    host.start()
    launcher = launcher_of(host)
    os.kill(launcher, signal.SIGSTOP)
    runs = [host.run("a"), host.run("b")]
    (told,) = wait_for(lambda: host.said("trouble"))
    assert told["message"].startswith("no answer from the launcher for 1 s; 2 runs are waiting to start; see ")
    os.kill(launcher, signal.SIGCONT)
    assert [host.wait(run)["exit_code"] for run in runs] == [3, 4]
    assert [entry["message"] for entry in host.said("recovered")] == ["the launcher answers again"]
    assert len(host.said("trouble")) == 1


def test_a_launcher_that_does_not_answer_holds_nobody_up(host: Host) -> None:
    """While the next launcher is silent people are answered; what was asked for meanwhile is sent when it speaks."""
    host.write("a.yaml", "jobs: {a: {command: 'true'}}")
    address = str(host.root / "launcher")
    with socket.socket(socket.AF_UNIX) as listener, concurrent.futures.ThreadPoolExecutor() as pool:
        listener.bind(address)
        listener.listen()
        listener.settimeout(DEADLINE)

        def answered(connection: socket.socket) -> socket.socket:
            assert f"hello {wire.VERSION}\n".encode() == connection.recv(64)
            connection.sendall(b"hello\n")
            return connection

        first = pool.submit(lambda: answered(listener.accept()[0]))
        host.start("--launcher", address)
        first.result().close()
        silent = listener.accept()[0]
        wait_for(lambda: host.said("trouble"))
        run = host.run("a")
        assert "starting" == host.call("Show", run=run)["record"]["state"]
        silent.settimeout(DEADLINE)
        answered(silent)
        assert f"launch {run}.1 ".encode() in silent.recv(4096)
        silent.close()
