"""A daemon whose state.db is lost, or older than its records, goes on behind them: nothing twice, nothing forgotten."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.client import run as client
from tests.support.host import Host, wait_for
from tests.support.records import DAMAGES

COUNT = "echo $JOBQUEUE_RUN >>{root}/starts"


def starts(host: Host) -> list[str]:
    """The runs that have started, by what they wrote themselves."""
    path = host.root / "starts"
    return path.read_text().split() if path.exists() else []


def fill_state(host: Host) -> None:
    """From now on state.db can't grow; record files, which are smaller, can be written."""
    assert host.daemon is not None
    log = host.root / "state" / "state.db-wal"
    wait_for(lambda: log.stat().st_size == 0, why="tidied up after the start")
    os.truncate(host.root / "daemon.log", 0)  # it has the same limit
    resource.prlimit(host.daemon.pid, resource.RLIMIT_FSIZE, (8200, resource.RLIM_INFINITY))


def lose_state(host: Host, how: str = "removed") -> None:
    """Nothing can be read of state.db any more."""
    path = host.root / "state" / "state.db"
    path.unlink()
    if how == "broken":
        path.write_bytes(b"noise" * 1000)


def numbers(host: Host, job: str) -> list[int]:
    """The numbers of a job's history, newest first."""
    return [record["number"] for record in host.call("Describe", job=job)["runs"]]


def test_max_runs_holds(host: Host) -> None:
    """With `max_runs: 5` there are five starts, although each third start of the daemon has lost state.db."""
    host.write("job.yaml", f"jobs: {{job: {{command: '{COUNT.format(root=host.root)}', every: 1s, max_runs: 5}}}}")
    for start in range(9):
        host.start()
        wait_for(lambda start=start: len(starts(host)) >= min(5, start + 1))
        wait_for(lambda: host.marks() == [])
        host.stop()
        if start % 3 == 2:
            lose_state(host, "broken" if start > 2 else "removed")
    host.start()
    wait_for(lambda: host.call("List")["jobs"][0]["status"] == "Completed")
    host.stop()
    assert 5 == len(starts(host)) == len(set(starts(host)))


def test_an_at_that_is_over(host: Host) -> None:
    """A start that was to be once has been, whatever is lost afterwards; it is no skip either."""
    at = datetime.fromtimestamp(int(datetime.now(UTC).timestamp()) + 2, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    host.write("job.yaml", f"jobs: {{job: {{command: '{COUNT.format(root=host.root)}', at: '{at}'}}}}")
    host.start()
    wait_for(lambda: starts(host) and host.record("job@1") and host.marks() == [])
    for how in ("removed", "broken"):
        host.stop()
        lose_state(host, how)
        host.start()
        assert ("Completed", [1]) == (host.call("List")["jobs"][0]["status"], numbers(host, "job"))
    assert ["job@1"] == starts(host)


def test_ids_that_no_file_has_now(host: Host) -> None:
    """A job whose file was broken at the start that lost state.db uses no number again at the next, nor does any."""
    for name in ("one", "two"):
        host.write(f"{name}.yaml", f"jobs: {{{name}: {{command: '{COUNT.format(root=host.root)}'}}}}")
    host.start()
    first = {name: host.wait(host.run(name)) for name in ("one", "two")}
    host.stop()
    lose_state(host)
    host.write("one.yaml", "jobs: {one")
    (host.root / "jobqueue.d" / "two.yaml").unlink()
    for _ in range(2):
        host.start()
        host.stop()
    for name in ("one", "two"):
        host.write(f"{name}.yaml", f"jobs: {{{name}: {{command: '{COUNT.format(root=host.root)}'}}}}")
    host.start()
    assert ["one@2", "two@2"] == [host.run(name) for name in ("one", "two")]
    host.wait("one@2"), host.wait("two@2")
    assert [[2, 1], [2, 1]] == [numbers(host, name) for name in ("one", "two")]
    assert first == {name: host.record(f"{name}@1") for name in ("one", "two")}


def test_damaged_records(host: Host) -> None:
    """Each costs itself: its number is used, the rest of history is there, and one line says it."""
    host.write("job.yaml", "jobs: {job: {command: 'true'}}")
    host.start()
    for _ in range(2 * len(DAMAGES)):
        host.wait(host.run("job"))
    host.stop()
    lose_state(host)
    for place, damage in enumerate(DAMAGES):
        damage(host.root / "logs" / "job" / f"{2 * place + 1}.json")
    host.start()
    said = [entry["message"] for entry in host.said("trouble")]
    assert (2, True) == (
        len(said),
        f"cannot read the records of {len(DAMAGES)} runs in {host.root}/logs" in said[1],
    )
    assert [*range(2 * len(DAMAGES), 0, -2)] == [r["number"] for r in host.call("History")["runs"]]
    assert f"job@{2 * len(DAMAGES) + 1}" == host.run("job")
    assert "succeeded" == host.wait(f"job@{2 * len(DAMAGES) + 1}")["state"]


@pytest.mark.parametrize("alive", [False, True], ids=["stopped", "living"])
def test_a_backup_put_back(host: Host, alive: bool) -> None:
    """Behind the records of what came after it: no number, no due time and no waiting run is had twice."""
    go = host.root / "go"
    host.write(
        "job.yaml",
        f"jobs:\n  job: {{command: '{COUNT.format(root=host.root)}', every: 1s}}\n"
        f"  asked: {{command: '{COUNT.format(root=host.root)}', concurrency: 9}}\n"
        f"  again: {{command: '{COUNT.format(root=host.root)}; test -e {go}', retries: 1, retry_delay: 1s}}\n",
    )
    host.start()
    wait_for(lambda: len(starts(host)) >= 2)
    host.call("Hold")
    waiting = [host.run("asked"), host.run("again")]
    if not alive:
        host.stop()
    shutil.copytree(host.root / "state", host.root / "backup")
    if not alive:
        host.start()
    host.call("Release")
    for run in waiting:
        host.wait(run)
    wait_for(lambda: len(starts(host)) >= 7)
    host.call("Hold")
    wait_for(lambda: host.marks() == [])
    before = {path: path.read_bytes() for path in host.root.glob("logs/*/*.json")}
    host.stop()
    shutil.rmtree(host.root / "state")
    (host.root / "backup").rename(host.root / "state")
    host.start()
    host.call("Release")
    count = len(starts(host))
    new = [host.run("asked"), host.run("again")]
    assert ["asked@2", "again@2"] == new
    for run in new:
        host.wait(run)
    wait_for(lambda: len(starts(host)) >= count + 4)
    host.stop()
    assert any("is older than the records" in entry["message"] for entry in host.said("trouble"))
    runs = starts(host)
    assert sorted({run for run in runs if "again" not in run}) == sorted(run for run in runs if "again" not in run)
    assert 2 == runs.count("again@1")
    records = [json.loads(path.read_text()) for path in host.root.glob("logs/*/*.json")]
    assert len({(record["job"], record["key"]) for record in records}) == len(records)
    assert before.items() <= {path: path.read_bytes() for path in host.root.glob("logs/*/*.json")}.items()


def test_a_kill_while_degraded(host: Host) -> None:
    """Runs of a time in which nothing could be committed are in history; what did not start then never was."""
    host.write(
        "job.yaml",
        f"jobs:\n  job: {{command: '{COUNT.format(root=host.root)}'}}\n"
        f"  no: {{command: 'sleep 600', overlap: skip}}\n  held: {{command: '{COUNT.format(root=host.root)}'}}\n",
    )
    host.start()
    host.wait(host.run("job"))
    live = host.run("no")
    wait_for(lambda: host.call("Show", run=live)["record"]["pid"])
    host.stop()
    host.start()
    fill_state(host)
    for _ in range(2):
        assert "error" in host.call("Run", job="no")
        host.wait(host.run("job"))
    wait_for(lambda: host.call("Status")["state"] == "degraded")
    assert "error" in host.call("Run", job="no")
    assert host.record("no@2") is None, "its row may never be saved"
    host.kill()

    host.start()
    assert [3, 2, 1] == numbers(host, "job")
    assert (["job@1", "job@2", "job@3"], "job@4") == (starts(host), host.run("job"))
    host.call("Stop", run=live)
    assert "killed" == host.wait(live)["state"]
    assert "no@2" == host.run("no")


def test_what_people_ask_for_while_degraded(host: Host) -> None:
    """It is done, and that a restart forgets it is told with the answer, in the journal, and by a stop in order."""
    host.write("job.yaml", "jobs: {job: {command: 'true', schedule: '0 3 * * *', on: {event: deployed}}}")
    host.start()
    assert {"unsaved": None} == host.call("Hold")
    host.stop()
    host.start()
    fill_state(host)
    for _ in range(2):
        host.call("Run", job="job")
    shown = client("--root", host.root, "pause", "job")
    error = "disk I/O error, SQLITE_IOERR_WRITE"
    state = f"{host.root}/state/state.db can't be written ({error}); look for disk errors: dmesg"
    assert (0, f"Warning: saved in memory only; a restart will lose it: {state}\n") == (shown.returncode, shown.stderr)
    asked: tuple[tuple[str, dict[str, str]], ...] = (
        ("Resume", {"job": "job"}), ("SkipNext", {"job": "job"}), ("Emit", {"event": "deployed"}),
        ("Stop", {"run": "job@1"}), ("Rerun", {"run": "job@1"}), ("Release", {}),
    )  # fmt: skip
    for method, parameters in asked:
        os.truncate(host.root / "daemon.log", 0)
        assert f"saved in memory only; a restart will lose it: {state}" == host.call(method, **parameters)["unsaved"]
    submission = {"keys": {"command": "true"}, "key": "once"}
    answers = [host.call("Submit", submission=submission) for _ in range(2)]
    wait_for(lambda: host.record(f"{answers[0]['job']}@1"), why="it is over")
    answers.append(host.call("Submit", submission=submission))
    assert [f"saved in memory only; a restart will lose it: {state}"] * 3 == [answer["unsaved"] for answer in answers]
    assert 1 == len({answer["job"] for answer in answers})
    user = "root" if os.geteuid() == 0 else f"uid {os.geteuid()}"
    assert any(
        entry["text"].startswith(f"the release by {user}: saved in memory only") for entry in host.said("unsaved")
    )
    standing = ("due", "waiting", "running")
    wait_for(lambda: not any(host.call("Status")[name] for name in standing), why="all ends are said")
    os.truncate(host.root / "daemon.log", 0)
    host.stop()
    told = host.said("trouble")[-1]["message"]
    assert told.startswith(f"{state}; a restart forgets job@")
    assert f"the pause of job by {user}; the resumption of job by {user}; the skip of job by {user}; event" in told
    assert told.endswith(
        f"the stop of job@1 by {user}; job@4, asked for by {user}; the release by {user}; host/1, submitted by {user}"
    )
    host.start()
    assert user == host.call("Status")["held_by"]


def test_the_host_goes_down_while_degraded(host: Host) -> None:
    """A run that waited, by its row, and has its end in a record file, is not started again."""
    host.write("job.yaml", f"jobs: {{job: {{command: '{COUNT.format(root=host.root)}'}}}}")
    host.start()
    host.call("Hold")
    run = host.run("job")
    shutil.copytree(host.root / "state", host.root / "before")
    host.call("Release")
    record = host.wait(run)
    wait_for(lambda: host.marks() == [])
    host.kill()
    host.kill_small_ones()
    shutil.rmtree(host.root / "run")
    shutil.rmtree(host.root / "state")
    (host.root / "before").rename(host.root / "state")
    host.start()
    host.call("Release")
    assert record == host.call("Show", run=run)["record"]
    assert "job@2" == host.run("job")
    host.wait("job@2")
    assert ["job@1", "job@2"] == starts(host)


def test_a_retry_that_was_lost(host: Host) -> None:
    """A run between two attempts has one final record after the loss, in history and in its file."""
    host.write("job.yaml", "jobs: {job: {command: exit 3, retries: 5, retry_delay: 1h}}")
    host.start()
    run = host.run("job")
    wait_for(lambda: (host.record(run) or {}).get("state") == "retrying")
    host.stop()
    lose_state(host)
    host.start()
    record = host.call("Show", run=run)["record"]
    assert ("failed", 1) == (record["state"], len(record["attempts"]))
    assert "no retry: state.db was lost" in record["reason"]
    wait_for(lambda: host.record(run) == record)


def test_what_lives_when_state_is_lost(host: Host) -> None:
    """Live runs are followed to their end; their numbers are used, and each has one record."""
    host.write(
        "job.yaml", f"jobs: {{job: {{command: 'until [ -e {host.root}/go ]; do sleep 0.05; done', concurrency: 3}}}}"
    )
    host.start()
    runs = [host.run("job") for _ in range(3)]
    wait_for(lambda: all(host.call("Show", run=run)["record"]["pid"] for run in runs))
    host.kill()
    lose_state(host)
    host.start()
    (host.root / "go").touch()
    assert ["succeeded"] * 3 == [host.wait(run)["state"] for run in runs]
    assert ([3, 2, 1], "job@4") == (numbers(host, "job"), host.run("job"))


def test_a_boot_is_not_made_due_again(host: Host) -> None:
    """Nobody knows what this boot has started when state.db is lost, so it starts nothing, nor at the next start."""
    host.write("job.yaml", f"jobs: {{job: {{command: '{COUNT.format(root=host.root)}', on: boot}}}}")
    host.start()
    wait_for(lambda: starts(host) and host.marks() == [])
    host.stop()
    lose_state(host)
    for _ in range(2):
        host.start()
        host.stop()
    assert ["job@1"] == starts(host)


def test_records_that_supervisors_can_not_write(host: Host) -> None:
    """What had no room is written when there is room; nothing is left of the tries, and nothing is forgotten."""
    (host.root / "jobqueued.yaml").write_text("retention: {runs: 1000}\n")
    host.write("job.yaml", "jobs: {job: {command: 'true', concurrency: 20, output: none}}")
    host.start()
    host.wait(host.run("job"))
    logs = host.root / "logs" / "job"
    shutil.rmtree(logs)
    logs.write_text("a file in its place")
    runs = [host.run("job") for _ in range(20)]
    records = {run: host.wait(run) for run in runs}
    assert all("record_error" in record for record in records.values())
    assert 1 == len(host.said("trouble"))
    host.stop()
    logs.unlink()
    host.start()
    wait_for(lambda: len(list(logs.glob("*.json"))) == 21)
    assert records == {run: host.record(run) for run in runs}
    assert [21, 20] == numbers(host, "job")[:2]


FULL = """
import os, subprocess, sys, time
from pathlib import Path
from tests.support.host import Host, wait_for

root = Path(sys.argv[1])
host = Host(root)
(root / "logs").mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=750", "none", str(root / "logs")], check=True)
(root / "jobqueued.yaml").write_text("retention: {runs: 1000}")
host.write("job.yaml", "jobs: {job: {command: 'true', concurrency: 40, output: none}}")
try:
    host.start()
    runs = [host.run("job") for _ in range(40)]
    records = {run: host.wait(run) for run in runs}
    missing = [run for run in runs if host.record(run) is None]
    assert missing, "the disk was not full"
    assert not list((root / "logs").glob("*/*.tmp"))
    errors = {record["record_error"].rpartition(": ")[2] for record in records.values() if "record_error" in record}
    assert errors == {"No space left on device"}, errors
    assert len(host.said("trouble")) == 1, host.said("trouble")
    host.kill()
    host.start()
    assert len(host.call("History", limit=1000)["runs"]) == 40
    wait_for(lambda: 2 == sum("cannot write the record of" in entry["message"] for entry in host.said("trouble")))
    subprocess.run(["mount", "-o", "remount,size=4m", str(root / "logs")], check=True)
    wait_for(lambda: all(host.record(run) == records[run] for run in runs))
    wait_for(lambda: host.said("recovered"))
    assert host.said("recovered")[-1]["message"].endswith(" missing records were written")
finally:
    host.close()
    print(host.log())
    subprocess.run(["umount", "-l", str(root / "logs")], check=True)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_full_log_disk(tmp_path: Path) -> None:
    """In life too records that found no room come when there is room."""
    command = ["unshare", "-m", sys.executable, "-c", FULL, str(tmp_path / "host")]
    subprocess.run(command, cwd=Path(__file__).parents[3], check=True, timeout=90)


@pytest.mark.parametrize("how", ["removed", "a backup put back"])
def test_without_a_record_file(tmp_path: Path, how: str) -> None:
    """An end whose record file can't be written is in R as well as in state.db, until it can."""
    host = Host(tmp_path / "host", "tests/support/failing.py")
    (host.root / "calls").mkdir()
    count = COUNT.format(root=host.root)
    host.write("job.yaml", f"jobs: {{job: {{command: '{count}; exit 7', retries: 1, retry_delay: 0s}}}}")
    try:
        host.start()
        host.stop()
        shutil.copytree(host.root / "state", host.root / "backup")
        (host.root / "fault").write_text("EROFS…\nsupervisor create logs/job/1.json.tmp 1")
        host.start()
        record = host.wait(host.run("job"))
        assert (7, 2, None) == (record["exit_code"], len(starts(host)), host.record("job@1"))
        host.kill()
        lose_state(host)
        shutil.rmtree(host.root / "state")
        if how != "removed":
            (host.root / "backup").rename(host.root / "state")
        for read_only in (True, False):
            host.start()
            told = host.call("Describe", job="job")["runs"]
            assert [("job@1", 7, 2)] == [(run["run"], run["exit_code"], len(run["attempts"])) for run in told]
            if read_only:
                host.kill()
                (host.root / "lasting").unlink()
        wait_for(lambda: host.record("job@1") == told[0])
        wait_for(lambda: host.marks() == [], why="R's that nobody needs any more")
        assert ("job@2", ["job@1", "job@1"]) == (host.run("job"), starts(host)[:2])
    finally:
        host.close()
