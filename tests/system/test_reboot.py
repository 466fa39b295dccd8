"""The host goes down: in order, with a run live and one waiting; and by a power cut in the midst of work."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.system.vm import JOBS, STATE, ask_for_boot, ctl, failed, record_file, scopes, sh, start, state, story, until

FACTS = Path("/root/facts.json")
TOLD = Path("/out/told")
"""On another host's disk, so to speak: the runs whose end somebody was told of."""

JOB_FILE = """
jobs:
  quick:
    command: exit 0
  at-boot:
    command: cat /proc/sys/kernel/random/boot_id
    on: boot
  long:
    command: echo $$ >/run/long.pid; exec sleep 1000
  tidy:
    kill_grace: 30s
    command: |
      trap 'while [ $(date +%s) -le $(cat /root/due) ]; do sleep 0.2; done; ls /run/network-is-up; exit 9' TERM
      echo $$ >/run/tidy.pid
      while :; do sleep 0.1; done
  queued:
    command: until [ -e /root/go ]; do sleep 0.1; done
"""

MISSED = """
jobs:
  caught-up: {{command: 'true', at: '{at}', grace: 0s}}
  not-caught-up: {{command: 'true', at: '{at}', grace: 0s, catch_up: none}}
"""

NETWORK = """
[Unit]
Before=network.target
Wants=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=touch /run/network-is-up
ExecStop=rm /run/network-is-up
[Install]
WantedBy=multi-user.target
"""


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def run_of(job: str, file: str) -> str:
    """A live run that has written its pid."""
    run = sh("jobqueuectl", "run", job).strip()
    until(f"{run} runs", lambda: Path(file).exists() and Path(file).read_text())
    return run


def told(run: str) -> list[str]:
    """What the journal tells of a run, over all boots."""
    return [entry["JOBQUEUE_EVENT"] for entry in story(run)]


@pytest.fixture
def facts() -> Any:
    """What the boot before this one left."""
    return json.loads(FACTS.read_text())


def note(**found: Any) -> None:
    """Write down what is to be compared in the next boot."""
    FACTS.write_text(json.dumps({**found, "boot": boot_id()}))
    sh("sync", str(FACTS))


def test_everything_is_under_way_when_the_host_goes_down() -> None:
    """Two live runs, one that waits, two that come due while the host is down; then `systemctl reboot`."""
    Path("/etc/systemd/system/network-marker.service").write_text(NETWORK)
    sh("systemctl", "enable", "--now", "network-marker.service")
    start(JOB_FILE)
    sh("systemctl", "enable", "jobqueued")
    until("at-boot ran", lambda: record_file("at-boot@1"))
    live, tidy = run_of("long", "/run/long.pid"), run_of("tidy", "/run/tidy.pid")
    first, waiting = (sh("jobqueuectl", "run", "queued").strip() for _ in range(2))
    sh("jobqueuectl", "pause", "queued")
    due = int(time.time()) + 10  # when the scheduler is stopped, and `tidy` keeps the host from going down
    Path("/root/due").write_text(str(due))
    (JOBS / "missed.yaml").write_text(MISSED.format(at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(due))))
    until("it is read", lambda: len(ctl("list")["jobs"]) == 7)
    note(live=live, tidy=tidy, first=first, waiting=waiting)
    ask_for_boot("reboot")
    sh("systemctl", "reboot")
    while True:
        signal.pause()


@pytest.mark.boot(2)
def test_the_daemon_is_back() -> None:
    """It starts with the host, nothing has failed, and it has one launcher."""
    until("it is up", lambda: state("jobqueued", "ActiveState") == "active")
    assert sh("systemctl", "is-system-running").strip() == "running"
    assert (failed(), len(scopes())) == ("", 1)


@pytest.mark.boot(2)
@pytest.mark.parametrize("name", ["live", "first"])
def test_a_live_run_was_ended_by_the_shutdown(facts: Any, name: str) -> None:
    """Its record says so and how its process ended; it is told once, and not started again."""
    record = ctl("show", facts[name])
    found = {key: record[key] for key in ("state", "reason", "signal", "exit_code")}
    assert found == {"state": "killed", "reason": "shutdown", "signal": 15, "exit_code": None}
    assert (len(record["attempts"]), record_file(facts[name])) == (1, record)
    assert told(facts[name]) == ["run_started", "run_ended"]


@pytest.mark.boot(2)
def test_a_run_ends_as_it_wants_at_a_shutdown(facts: Any) -> None:
    """A run has time, and what it needs (the network) is there until it has ended; its exit status is recorded."""
    record = ctl("show", facts["tidy"])
    assert (record["state"], record["reason"], record["exit_code"]) == ("killed", "shutdown", 9)
    assert record["output"]["tail"].splitlines()[-1] == "/run/network-is-up"


@pytest.mark.boot(2)
def test_the_scheduler_was_stopped_before_its_runs() -> None:
    """Otherwise it could start anew what the shutdown ends."""
    lines = sh("journalctl", "-b", "-1", "-o", "cat", "_PID=1").splitlines()
    stopped = lines.index("Stopped jobqueued.service - Job queue daemon.")
    scope = next(n for n, line in enumerate(lines) if line.startswith("jobqueue-") and "Deactivated" in line)
    stopping = next(n for n, line in enumerate(lines) if line.startswith("Stopping jobqueue-"))
    assert stopped < stopping < scope


@pytest.mark.boot(2)
def test_a_waiting_run_still_waits(facts: Any) -> None:
    """It keeps its number, and runs when it may."""
    assert ctl("show", facts["waiting"])["state"] == "due"
    Path("/root/go").touch()
    sh("jobqueuectl", "resume", "queued")
    record = until("it ran", lambda: record_file(facts["waiting"]))
    assert (record["state"], record["trigger"]) == ("succeeded", "manual")


@pytest.mark.boot(2)
def test_what_came_due_meanwhile_goes_by_the_rule() -> None:
    """catch_up: latest (the default) runs it now, none skips it and says why."""
    record = until("it ran", lambda: record_file("caught-up@1"))
    assert (record["state"], record["trigger"]) == ("succeeded", "schedule")
    record = until("it was skipped", lambda: record_file("not-caught-up@1"))
    assert (record["state"], record["reason"]) == ("skipped", "missed")


@pytest.mark.boot(2)
def test_a_boot_is_an_occurrence(facts: Any) -> None:
    """`on: boot` ran once in each boot, and a restart of the daemon is none."""
    until("it ran", lambda: record_file("at-boot@2"))
    sh("systemctl", "restart", "jobqueued")
    sh("jobqueuectl", "run", "quick", "--wait")
    tails = [ctl("show", f"at-boot@{number}")["output"]["tail"].strip() for number in (1, 2)]
    assert tails == [facts["boot"], boot_id()]
    assert record_file("at-boot@3") is None


@pytest.mark.boot(2)
def test_the_power_goes_off_in_the_midst_of_work() -> None:
    """A run is live, a run waits, quick ones come and go and their ends are told to somebody elsewhere."""
    Path("/root/go").unlink()
    live = run_of("long", "/run/long.pid")
    _first, waiting = (sh("jobqueuectl", "run", "queued").strip() for _ in range(2))
    last = int(boot_id()[:4], 16) % 40  # after another run each time
    note(live=live, waiting=waiting, last=last)
    for count in range(1000):
        run = sh("jobqueuectl", "run", "quick", "--wait").strip()
        with open(TOLD, "a") as file:
            file.write(f"{run}\n")
        if count == 5 + last:
            ask_for_boot("power-cut")
    pytest.fail("the machine is still there")


@pytest.mark.boot(3)
def test_what_was_told_is_not_lost() -> None:
    """Every run that somebody was told of is in the history with its record; numbers are not used again."""
    until("it is up", lambda: state("jobqueued", "ActiveState") == "active")
    runs = TOLD.read_text().split()
    assert len(runs) > 5
    assert {ctl("show", run)["state"] for run in runs} == {"succeeded"}
    new = sh("jobqueuectl", "run", "quick", "--wait").strip()
    assert int(new.split("@")[1]) > int(runs[-1].split("@")[1])


@pytest.mark.boot(3)
def test_the_state_is_whole() -> None:
    """SQLite finds nothing wrong in a copy, as the daemon has locked its own, and nothing was set aside."""
    with tempfile.TemporaryDirectory() as directory:
        for path in STATE.glob("state.db*"):
            shutil.copy(path, directory)
        with sqlite3.connect(Path(directory, "state.db")) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert [path.name for path in STATE.glob("*broken*")] == []
    assert failed() == ""


@pytest.mark.boot(3)
def test_a_live_run_is_lost(facts: Any) -> None:
    """Nobody knows how it ended: `lost`, told once, not started again."""
    record = ctl("show", facts["live"])
    assert (record["state"], record["reason"]) == ("lost", "the host went down")
    assert (record["exit_code"], record["signal"], len(record["attempts"])) == (None, None, 1)
    assert told(facts["live"])[-1] == "run_ended"
    assert told(facts["live"]).count("run_ended") == 1


@pytest.mark.boot(3)
def test_a_waiting_run_waits_no_more(facts: Any) -> None:
    """The run that held its job is lost, so it has started."""
    Path("/root/go").touch()
    assert until("it ran", lambda: record_file(facts["waiting"]))["state"] == "succeeded"


@pytest.mark.boot(3)
def test_the_boot_after_a_power_cut_is_one_too() -> None:
    """`on: boot` runs once more."""
    assert until("it ran", lambda: record_file("at-boot@3"))["output"]["tail"].strip() == boot_id()
    assert record_file("at-boot@4") is None
