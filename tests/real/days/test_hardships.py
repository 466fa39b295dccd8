"""What the world does to a daemon: each of these once cost a run, a record, or the daemon itself."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import resource
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from jobqueued.child.contract import unix_socket, wire
from jobqueued.child.supervisor import JOB_NOFILE
from jobqueued.control.protocol.varlink import encode
from jobqueued.host.instance_lock import CannotLock, InstanceLock
from jobqueued.runs.emptying import WHOLE
from tests.support import REPO
from tests.support.host import DEADLINE, Host, kill, limited, lives, wait_for
from tests.support.world import World, job

WAITER = "while [ ! -e {root}/go ]; do sleep 0.05; done"


def live(host: Host, run: str) -> int:
    """The pid of a run, once it has one."""
    return wait_for(lambda: host.call("Show", run=run)["record"]["pid"])


def test_followers_that_hang_up_harm_nobody(host: Host) -> None:
    """Whoever connects to R/control and goes away, at once or later, leaves the supervisor and its run alone."""
    host.write("job.yaml", f"jobs: {{work: {{command: '{WAITER.format(root=host.root)}'}}}}")
    host.start()
    run = host.run("work")
    live(host, run)
    directory = wire.open_directory(str(next(host.root.glob("run/runs/*/*@*"))))
    for patient in [False] * 50 + [True] * 20:
        with socket.socket(socket.AF_UNIX) as follower:
            follower.connect(unix_socket.address(directory, wire.CONTROL))
            if patient:
                assert follower.recv(64) == b"live\n"
    os.close(directory)
    (host.root / "go").touch()
    assert host.wait(run)["state"] == "succeeded"
    assert host.said("trouble") == []


def test_more_followers_than_descriptors(host: Host) -> None:
    """However many follow a run and never hang up, the first is kept, and the run can be stopped."""
    host.write("job.yaml", "jobs: {work: {command: sleep 600}}")
    host.start()
    run = host.run("work")
    live(host, run)
    directory = wire.open_directory(str(next(host.root.glob("run/runs/*/*@*"))))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    wire.limit_files(None)
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        stack.callback(os.close, directory)
        followers = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(JOB_NOFILE + 50)]
        for follower in followers:
            follower.settimeout(DEADLINE)
            wait_for(lambda follower=follower: follower.connect_ex(unix_socket.address(directory, wire.CONTROL)) == 0)
        assert host.call("Stop", run=run) == {"state": "stopping", "unsaved": None}
        assert host.wait(run)["state"] == "killed"
        with followers[0].makefile() as said:
            assert [line.split()[0] for line in said] == ["live", "stopping", "ended"]


def test_a_launcher_that_does_not_read_harms_no_followed_run(host: Host) -> None:
    """Orders that can't be sent yet do not make the scheduler misread the runs that it follows itself."""
    jobs = [f"  work: {{command: '{WAITER.format(root=host.root)}'}}", "  many: {command: 'true', concurrency: 500}"]
    host.write("job.yaml", "jobs:\n" + "\n".join(jobs) + f"\n    # {'x' * 10}\n")
    host.start()
    run = host.run("work")
    live(host, run)
    host.kill()
    host.start()
    launcher = min(host.small_ones())
    os.kill(launcher, signal.SIGSTOP)
    try:
        asked = [host.run("many") for _ in range(300)]
    finally:
        os.kill(launcher, signal.SIGCONT)
    (host.root / "go").touch()
    assert host.wait(run)["state"] == "succeeded"
    assert [host.wait(name)["state"] for name in asked] == ["succeeded"] * 300


def test_a_month_of_timeout(host: Host) -> None:
    """A timeout longer than poll(2) can wait is a timeout, not an error."""
    host.write("job.yaml", "jobs: {work: {command: exit 3, timeout: 300d}}")
    host.start()
    assert host.wait(host.run("work"))["exit_code"] == 3


def test_real_time_signals_are_told_apart(host: Host) -> None:
    """Death by a signal without a name is recorded with its number, as any other."""
    host.write("job.yaml", "jobs: {work: {command: 'kill -40 $$'}}")
    host.start()
    record = host.wait(host.run("work"))
    assert (record["state"], record["signal"], record["reason"]) == ("failed", 40, "signal 40 (SIGRTMIN+6)")


def test_retention_spares_live_runs(host: Host) -> None:
    """However little is kept, a run that has not ended keeps its row and its output."""
    (host.root / "jobqueued.yaml").write_text("retention: {runs: 1}\n")
    command = f"case $JOBQUEUE_RUN in work@1) echo first; {WAITER.format(root=host.root)};; esac"
    host.write("job.yaml", "jobs:\n  work:\n    concurrency: 2\n    command: |\n      " + command + "\n")
    host.start()
    run = host.run("work")
    live(host, run)
    for _ in range(4):
        host.wait(host.run("work"))
    host.stop()
    host.start()
    wait_for(lambda: host.record("work@4") is None)
    (host.root / "go").touch()
    assert host.wait(run)["state"] == "succeeded"
    assert host.output(run) == b"first\n"


def test_what_a_lost_run_left_is_ended(host: Host) -> None:
    """After the death of all of ours, what is left of a run whose main process had ended is ended at the next start."""
    left = host.root / "left"
    leftover = f"trap '' TERM; echo $BASHPID >{left}.tmp; mv {left}.tmp {left}; while :; do sleep 1; done"
    (host.root / "leave").write_text(f"({leftover}) & until [ -e {left} ]; do sleep 0.05; done; exit 0\n")
    host.write("job.yaml", f"jobs: {{work: {{command: [bash, {host.root}/leave], kill_grace: 1h}}}}")
    host.start()
    run = host.run("work")
    pid = int(wait_for(lambda: left.exists() and left.read_text()))
    main = live(host, run)
    wait_for(lambda: not lives(main), why="the main process lives on")
    host.kill()
    host.kill_small_ones()
    host.start()
    assert host.wait(run)["state"] == "lost"
    wait_for(lambda: not lives(pid), why="the leftover lives on")


def test_a_stop_of_what_never_started(host: Host) -> None:
    """A run that was to stop before the launcher had read of it is skipped, also when all of ours die over it."""
    host.write("job.yaml", "jobs: {work: {command: 'true'}}")
    host.start()
    small = host.small_ones()
    for pid in small:
        os.kill(pid, signal.SIGSTOP)
    run = host.run("work")
    assert host.call("Stop", run=run) == {"state": "stopping", "unsaved": None}
    host.kill()
    for pid in small:
        os.kill(pid, signal.SIGKILL)
    host.start()
    record = wait_for(lambda: host.record(run))
    assert record["state"] == "skipped"
    assert record["reason"].startswith("stopped by ")


@pytest.mark.parametrize("after", ["the command's end", "the supervisor's death", "a restart"])
def test_a_run_directory_that_is_removed(host: Host, after: str) -> None:
    """A run whose R somebody removes ends as it ends, and holds its place no longer; it is lost with its supervisor."""
    host.write("job.yaml", f"jobs: {{work: {{command: '{WAITER.format(root=host.root)}'}}}}")
    host.start()
    run = host.run("work")
    main = live(host, run)
    supervisor = int(Path(f"/proc/{main}/stat").read_text().rpartition(")")[2].split()[1])
    if after == "a restart":
        host.kill()
        host.start()
    shutil.rmtree(next(host.root.glob("run/runs/*/*@*")))
    if after == "the supervisor's death":
        os.kill(supervisor, signal.SIGKILL)
    (host.root / "go").touch()
    record = host.wait(run)
    state, code = ("lost", None) if after == "the supervisor's death" else ("succeeded", 0)
    assert (record["state"], record["exit_code"], host.call("List")["jobs"][0]["running"]) == (state, code, 0)
    wait_for(lambda: not lives(main), why="the job lives on")


def test_an_end_that_only_its_record_tells(host: Host) -> None:
    """Its start was not heard of, and R is gone: who waits for its end hears it all the same, after a restart."""
    host.write(
        "job.yaml",
        f"jobs: {{work: {{command: '{WAITER.format(root=host.root)}'}}, next: {{command: 'true', on: {{job: work}}}}}}",
    )
    host.start()
    run = host.run("work")
    live(host, run)
    host.kill()
    with sqlite3.connect(host.root / "state" / "state.db") as db:
        db.execute("UPDATE run SET state = 'starting', pid = NULL, started = NULL WHERE job = 'work'")
    db.close()
    shutil.rmtree(next(host.root.glob("run/runs/*/*@*")))
    (host.root / "go").touch()
    wait_for((host.root / "logs" / "work" / "1.json").exists)
    host.start()
    assert ["succeeded", "succeeded"] == [host.wait(name)["state"] for name in (run, "next@1")]


def test_a_stranger_in_the_run_directory(host: Host) -> None:
    """Files that are not ours among the marks are named, and stop neither runs nor starts."""
    host.write("job.yaml", f"jobs: {{work: {{command: '{WAITER.format(root=host.root)}'}}}}")
    host.start()
    run = host.run("work")
    live(host, run)
    directory = next(host.root.glob("run/runs/*/*@*"))
    (directory / "stranger").touch()
    (directory.parent / "zz@1.1").touch()
    (host.root / "go").touch()
    assert host.wait(run)["state"] == "succeeded"
    wait_for(lambda: host.said("trouble"))
    host.stop()
    host.start()
    assert host.wait(host.run("work"))["state"] == "succeeded"


def test_an_old_run_directory_that_can_not_be_removed(host: Host) -> None:
    """An attempt that never started, whose R stays, is not sent again and again: it is after a pause, once R can go."""
    host.write("job.yaml", "jobs: {work: {command: 'true'}}")
    host.start()
    for pid in host.small_ones():
        os.kill(pid, signal.SIGSTOP)
    run = host.run("work")
    host.kill()
    host.kill_small_ones()
    directory = next(host.root.glob("run/runs/*")) / f"{run}.1"
    directory.mkdir()
    (directory / "stranger").touch()
    host.start()
    wait_for(lambda: host.said("trouble"))
    (directory / "stranger").unlink()
    assert host.wait(run)["state"] == "succeeded"
    assert len(host.said("trouble")) < 5


def test_a_state_db_with_a_broken_page(host: Host) -> None:
    """A database whose header is good and whose pages are not is set aside; numbers go on from the records."""
    host.write("job.yaml", "jobs: {work: {command: echo hello}}")
    host.start()
    host.wait(host.run("work"))
    host.stop()
    database = host.root / "state" / "state.db"
    data = bytearray(database.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    database.write_bytes(data)
    host.start()
    assert [entry["level"] for entry in host.said("trouble")] == ["error"]
    assert (host.root / "state" / "state.db.broken-1").exists()
    assert host.run("work") == "work@2"


def test_a_state_db_that_is_gone(host: Host) -> None:
    """Without state.db numbers go on from the records, and that is said."""
    host.write("job.yaml", "jobs: {work: {command: echo hello}}")
    host.start()
    before = host.wait(host.run("work"))
    host.stop()
    (host.root / "state" / "state.db").unlink()
    host.start()
    assert "history, counters and run numbers continue" in host.said("trouble")[0]["message"]
    assert host.run("work") == "work@2"
    host.wait("work@2")
    assert host.record("work@1") == before


def test_closed_standard_streams(host: Host) -> None:
    """A starter that closes 0, 1 and 2 gets a daemon all the same, and no file of ours is written into by mistake."""
    host.write("job.yaml", "jobs: {work: {command: exit 5}}")
    command = 'exec "$0" -m jobqueued --root "$1" <&- >&- 2>&-'
    host.daemon = subprocess.Popen(["sh", "-c", command, sys.executable, host.root], cwd=REPO)

    def listed() -> object:
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):  # it does not listen yet
            return host.call("List")["jobs"]
        return None

    wait_for(listed)
    assert host.wait(host.run("work"))["exit_code"] == 5
    assert host.stop() == 0


def test_inherited_descriptors_do_not_reach_jobs(host: Host) -> None:
    """What the daemon's starter left open, and all that is ours, is closed in a job."""
    host.write("job.yaml", "jobs: {work: {command: [ls, /proc/self/fd]}}")
    command = 'exec 9</dev/null; exec "$0" -m jobqueued --root "$1" --log json 2>"$1"/daemon.log'
    host.daemon = subprocess.Popen(["sh", "-c", command, sys.executable, host.root], cwd=REPO)
    wait_for(lambda: len(host.said("ready")) > 0)
    host.wait(host.run("work"))
    assert host.output("work@1").split() == [b"0", b"1", b"2", b"3"]  # 3: the directory that ls reads


def test_a_failed_start_leaves_no_trace_in_its_supervisor(host: Host) -> None:
    """umask and directory of a run that could not start are not those of the next one, nor of its files."""
    bad = "bad: {command: [no-such-command], umask: 0777, working_directory: /tmp}"
    host.write("job.yaml", f"jobs: {{{bad}, good: {{command: [sh, -c, 'umask; pwd'], working_directory: /}}}}")
    host.start()
    for _ in range(12):
        host.wait(host.run("bad"))
    host.wait(host.run("good"))
    assert host.output("good@1") == b"0022\n/\n"
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (host.root / "logs").glob("*/*")}
    assert modes == {0o640}


def test_output_leaves_a_part_of_the_disk_free(host: Host) -> None:
    """keep_free of jobqueued.yaml holds for all jobs: the record says what it cost, and the run succeeds."""
    (host.root / "jobqueued.yaml").write_text("keep_free: 900T")
    host.write("work.yaml", "jobs: {work: {command: echo hello, output: file}}")
    host.start()
    record = host.wait(host.run("work"))
    output = record["output"]
    assert ("succeeded", 0, 6, "hello\n") == (record["state"], output["bytes"], output["dropped"], output["tail"])
    assert "its disk has no more than 900 TiB left (keep_free in jobqueued.yaml)" in output["error"]


def test_state_is_not_for_everybody(host: Host) -> None:
    """state.db holds commands and output, and a lock needs no more than reading: nothing there is for others."""
    host.start()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (host.root / "state").iterdir()}
    assert [0o600] * 3 == [modes[name] for name in ("state.db", "state.db-wal", "lock")]
    assert {0} == {mode & 0o007 for mode in modes.values()}
    assert stat.S_IMODE((host.root / "state").stat().st_mode) == 0o700


def test_a_storm_of_signals_hides_none(host: Host) -> None:
    """SIGTERM counts, however many SIGHUPs came before it."""
    host.start()
    assert host.daemon is not None
    for _ in range(3000):
        host.daemon.send_signal(signal.SIGHUP)
    assert host.stop() == 0
    assert "Traceback" not in host.log()


def worked(host: Host) -> int:
    """How long the daemon has had a CPU, in ns."""
    assert host.daemon is not None
    return int(Path(f"/proc/{host.daemon.pid}/schedstat").read_text().split()[0])


def test_a_thousand_calls_at_once(host: Host) -> None:
    """A client that sends its calls all at once gets all its answers, and others get theirs meanwhile."""
    host.write("job.yaml", "jobs:\n" + "".join(f"  j{number}: {{command: 'true'}}\n" for number in range(100)))
    host.start()
    call = encode({"method": "io.jobqueue.List"})
    directory = wire.open_directory(str(host.root / "run"))
    with socket.socket(socket.AF_UNIX) as greedy:
        greedy.connect(unix_socket.address(directory, wire.CONTROL))
        greedy.settimeout(30)
        before = worked(host)
        greedy.sendall(call * 1000)
        host.call("Status")
        first = worked(host) - before
        replies = 0
        while replies < 1000:
            data = greedy.recv(1 << 20)
            assert data, "it hung up"
            replies += data.count(b"\0")
    os.close(directory)
    assert first < (worked(host) - before) / 2


def test_an_earlier_boot_is_told_apart_until_all_is_settled(host: Host) -> None:
    """A first start in a new boot that gets nowhere does not make the next one take lost runs for never started."""
    host.write("job.yaml", f"jobs: {{work: {{command: 'echo x >>{host.root}/starts; sleep 600'}}}}")
    host.start()
    live(host, host.run("work"))
    host.kill()
    host.kill_small_ones()
    host.close()
    with contextlib.closing(sqlite3.connect(host.root / "state" / "state.db", isolation_level=None)) as database:
        database.execute("UPDATE meta SET value = 'an earlier boot' WHERE name = 'boot'")
        database.execute("UPDATE run SET state = 'starting'")
    for path in sorted(host.root.glob("run/runs/*/*/*")):
        path.unlink()
    next(host.root.glob("run/runs/*/*@*")).rmdir()
    refused = host.start("--launcher", str(host.root / "nobody"), ready=False)
    assert refused.wait(20) == 1
    host.start()
    assert (host.wait("work@1")["state"], host.wait("work@1")["reason"]) == ("lost", "the host went down")
    assert (host.root / "starts").read_text() == "x\n"


def test_a_cursor_from_a_wrong_clock() -> None:
    """Due times handled by a clock that was years ahead do not silence a job for years once it is put right."""
    world = World(job("a", "0 * * * *"))
    world.step_clock(10 * 365 * 86400)
    world.pass_time(2 * 3600)
    down = world.now.wall - round(10 * 365 * 86400 * 1e9)
    world.now = world.now._replace(wall=down)
    world.processes.clear()
    world.boot()
    launched = len(world.launched)
    world.pass_time(2 * 3600)
    assert len(world.launched) == launched + 2


def test_a_record_without_attempts_is_no_end(host: Host) -> None:
    """A foreign or old record file beside a lost run is not mistaken for its end, nor for an error."""
    host.write("job.yaml", f"jobs: {{work: {{command: '{WAITER.format(root=host.root)}'}}}}")
    host.start()
    run = host.run("work")
    live(host, run)
    (host.root / "logs" / "work").mkdir(exist_ok=True)
    (host.root / "logs" / "work" / "1.json").write_text(json.dumps({"state": "succeeded"}))
    host.kill()
    host.kill_small_ones()
    host.start()
    assert host.wait(run)["state"] == "lost"


def test_a_crash_between_commit_and_record_file(host: Host) -> None:
    """Record files that the scheduler did not come to write, or wrote an older state of, follow state.db at start."""
    host.write("job.yaml", f"jobs: {{work: {{command: '{WAITER.format(root=host.root)}', max_waiting: 1}}}}")
    host.start()
    for _ in range(2):
        host.run("work")
    for _ in range(2):
        assert host.call("Run", job="work")["error"] == "io.jobqueue.Refused"
    record = host.call("Show", run="work@3")["record"]
    assert (record["state"], record["count"]) == ("skipped", 2)
    for damage in ('{"state": "skipped", "count": 1}', None):
        host.kill()
        file = host.root / "logs" / "work" / "3.json"
        file.write_text(damage) if damage else file.unlink()
        host.start()
        wait_for(lambda: host.record("work@3") == record)


def answers(host: Host) -> bool:
    """Whether there is a place for one more who asks."""
    with contextlib.suppress(OSError, AssertionError):
        return bool(host.call("Status"))
    return False


@pytest.mark.parametrize("runs", [10, 40])
def test_a_start_with_few_descriptors(host: Host, runs: int) -> None:
    """With 64 there is no crash loop, and nobody is lost: whom there is no descriptor to follow is looked at again."""
    wait = f"while [ ! -e {host.root}/go ]; do sleep 0.2; done; exit 3"
    host.write("jobs.yaml", f"jobs: {{work: {{command: '{wait}', concurrency: {runs}}}, quick: {{command: 'true'}}}}")
    host.start()
    names = [host.run("work") for _ in range(runs)]
    wait_for(lambda: len(host.said("run_started")) == runs)
    host.kill()
    os.kill(next(pid for pid in host.small_ones() if Path(f"/proc/{pid}/comm").read_text() == "jq-launcher\n"), 9)
    normal, host.program = host.program, limited(64)
    host.start()
    assert (runs, "ok") == ((status := host.call("Status"))["running"], status["state"])
    assert "succeeded" == host.wait(host.run("quick"))["state"]
    clients = [socket.socket(socket.AF_UNIX) for _ in range(50)]
    for client in clients:
        unix_socket.connect(client, str(host.root / "run" / "control"))
    wait_for(lambda: any(hung_up(client) for client in clients), why="more clients than descriptors")
    for client in clients:
        client.close()
    wait_for(lambda: answers(host), why="it has seen them go")
    (host.root / "go").touch()
    assert [("failed", 3)] * runs == [((end := host.wait(run))["state"], end["exit_code"]) for run in names]
    assert [] == [line for line in host.log().splitlines() if "Traceback" in line]
    host.program = normal


def hung_up(client: socket.socket) -> bool:
    """Whether the other side has closed."""
    try:
        return client.recv(1, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False


def removed(directory: Path) -> bool:
    """Remove a directory, unless something in it is made anew meanwhile."""
    with contextlib.suppress(OSError):
        shutil.rmtree(directory)
        return True
    return False


def test_a_control_socket_that_is_removed(host: Host) -> None:
    """It comes back by itself, and so does the whole run directory, with a place for new runs."""
    host.write("jobs.yaml", "jobs: {work: {command: 'exit 3'}}")
    host.start()
    for gone in ("run/control", "run"):
        before = len(host.said("recovered"))
        if gone == "run":
            wait_for(lambda: removed(host.root / "run"), why="it is made again so quickly")
        else:
            (host.root / gone).unlink()
        wait_for(lambda before=before: len(host.said("recovered")) > before)
        wait_for((host.root / "run" / "control").exists)
        assert 3 == host.wait(host.run("work"))["exit_code"]
        wait_for(lambda: [*host.root.glob(f"run/runs/*/{WHOLE}")], why="the commit")
    assert (0o755, 0o711) == tuple(
        path.stat().st_mode & 0o777 for path in (host.root / "run", next((host.root / "run" / "runs").iterdir()))
    )


def test_a_start_that_all_who_know_of_it_die_with(host: Host) -> None:
    """A run that began unheard is not started again, if the run directory was emptied and everybody killed."""
    ran, once = host.root / "ran", host.root / "once"
    host.write("jobs.yaml", f"jobs: {{work: {{command: 'echo $$ >>{ran}; mkdir {once} && exec sleep 600; true'}}}}")
    host.start()
    small_ones = host.small_ones()
    for pid in small_ones:
        os.kill(pid, signal.SIGSTOP)
    host.run("work")
    host.call("Status")  # the launch was sent by now
    assert host.daemon is not None
    os.kill(host.daemon.pid, signal.SIGSTOP)
    for pid in small_ones:
        os.kill(pid, signal.SIGCONT)
    wait_for(once.exists)
    host.kill_small_ones()
    host.kill()
    kill(int(ran.read_text()))
    wait_for(lambda: removed(host.root / "run"))
    host.start()
    assert "lost" == host.wait("work@1")["state"]
    assert "succeeded" == host.wait(host.run("work"))["state"]
    assert 2 == len(ran.read_text().split())


def test_a_run_directory_that_is_removed_is_still_one_daemon_s(host: Host) -> None:
    """Its lock is taken again, so that another daemon, with a state of its own, is refused there."""
    host.start()
    wait_for(lambda: removed(host.root / "run"), why="it is made again so quickly")
    wait_for((host.root / "run" / "control").exists)
    wait_for(lambda: host.said("recovered"))
    assert "is in use by another jobqueued (pid " in refused(host)


def test_what_is_removed_after_the_socket(host: Host) -> None:
    """Whoever empties the run directory may be slower than the socket comes back: all of it is made again."""
    host.start()
    run = host.root / "run"
    (run / "control").unlink()
    wait_for(lambda: host.said("recovered"))
    wait_for(lambda: removed(run / "runs"))
    (run / "scheduler.lock").unlink()
    wait_for(lambda: [*host.root.glob(f"run/runs/*/{WHOLE}")], why="a place for runs")
    wait_for((run / "scheduler.lock").exists)
    assert "is in use by another jobqueued (pid " in refused(host)


def refused(host: Host) -> str:
    """What a second daemon says, with a state of its own, that does not start."""
    other = subprocess.run(
        [sys.executable, "-m", "jobqueued", "--root", host.root, "--state", host.root / "other"],
        capture_output=True, text=True, timeout=DEADLINE, check=False,
    )  # fmt: skip
    assert other.returncode == 1, other.stderr
    return other.stderr


def test_a_lock_that_can_not_be_taken_again_now(tmp_path: Path) -> None:
    """Without a descriptor nobody else has it: it is tried again, and no descriptor is left behind."""
    lock = InstanceLock(tmp_path / "lock", "here", "--run")
    lock.file.unlink()
    before = len(os.listdir("/proc/self/fd"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(CannotLock) as caught:
            lock.retake()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (errno.EMFILE, before) == (caught.value.errno, len(os.listdir("/proc/self/fd")))
    lock.file.write_text("1\n")
    lock.file.chmod(0o600)
    with lock.file.open() as taken:
        fcntl.flock(taken, fcntl.LOCK_EX)
        with pytest.raises(CannotLock) as caught:
            lock.retake()
    assert (errno.EADDRINUSE, before) == (caught.value.errno, len(os.listdir("/proc/self/fd")))
    lock.retake()
    assert f"{os.getpid()}\n" == lock.file.read_text()
    os.close(lock.descriptor)


def test_a_run_directory_that_another_daemon_has_taken(host: Host) -> None:
    """Whoever has lost it to another ends, with a word, and does not fight for the socket."""
    host.start()
    lock = host.root / "run" / "scheduler.lock"
    with (host.root / "run" / "its.lock").open("w") as taken:
        Path(taken.name).chmod(0o600)
        fcntl.flock(taken, fcntl.LOCK_EX)
        print(os.getpid(), file=taken, flush=True)
        os.replace(taken.name, lock)  # at once: the daemon makes one that is missing anew, and has it then
        (host.root / "run" / "control").unlink(missing_ok=True)
        wait_for(host.daemon_ended)
    assert [True] == [
        f"in use by another jobqueued (pid {os.getpid()})" in it["message"] for it in host.said("trouble")
    ]
