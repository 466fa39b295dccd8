"""The units: whatever is stopped, killed or hangs, a live run goes on, and nothing of ours stays failed."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.vm import (
    LIVE,
    LONG,
    assert_went_on,
    ctl,
    events,
    failed,
    journal,
    kill_main,
    output,
    pids,
    record_file,
    restarted_main,
    scopes,
    sh,
    start,
    state,
    story,
    until,
)

ADJUSTED = 0x0010 | 0x0004
"""Of adjtimex(2): ADJ_STATUS and ADJ_MAXERROR are set, to 0 here: no STA_UNSYNC, and no error of which that comes."""
JOB_FILE = f"""{LONG}
  quick:
    command: exit 0
  hungry:
    command: [python3, -c, "b = bytearray(300 << 20)"]
  somebody:
    command: echo $PPID $$ >/run/live/somebody; exec sleep 1000
    user: nobody
  limits:
    command: ulimit -Hn; cat /proc/self/oom_score_adj; ulimit -c
"""


@pytest.fixture(scope="module", autouse=True)
def started() -> None:
    LIVE.mkdir(mode=0o777, exist_ok=True)
    LIVE.chmod(0o777)
    # So that five deaths in an hour are too many by default: whoever has limits shows it, at any speed of this machine.
    limits = Path("/run/systemd/system.conf.d/limits.conf")
    limits.parent.mkdir(parents=True)
    limits.write_text("[Manager]\nDefaultStartLimitIntervalSec=1h\n")
    sh("systemctl", "daemon-reexec")
    start(JOB_FILE)


@pytest.fixture(autouse=True)
def nothing_stays_failed() -> Iterator[None]:
    yield
    assert failed() == ""


def limit(pid: int, name: str) -> list[str]:
    """The soft and the hard limit of a process."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line for line in lines if line.startswith(name)).removeprefix(name).split()[:2]


@pytest.mark.parametrize("name", ["KILL", "ABRT", "TERM"])
def test_a_run_survives_the_scheduler(live_run: tuple[str, int], name: str) -> None:
    """A scheduler that ends, however it ends, comes back and takes the run up again."""
    kill_main(name, "jobqueued")
    assert_went_on(*live_run)


@pytest.mark.parametrize(
    "action",
    [
        "restart jobqueued",
        "reload jobqueued",
        "restart jobqueued-launcher",
        "restart jobqueued-launcher.socket",
        "restart jobqueued jobqueued-launcher",
        "stop jobqueued",
        "stop jobqueued-launcher",
        "stop jobqueued-launcher.socket",
        "kill -s KILL jobqueued-launcher",
        "daemon-reload",
        "daemon-reexec",
    ],
)
def test_a_run_survives_what_administrators_do(live_run: tuple[str, int], action: str) -> None:
    """Nothing that is done to the units ends a run, and afterwards the next one starts as usual."""
    sh("systemctl", *action.split())
    sh("systemctl", "start", "jobqueued")  # returns at once, or when a restart that the action brought along is done
    sh("jobqueuectl", "run", "quick", "--wait")
    assert_went_on(*live_run)


def test_a_run_that_ends_while_the_scheduler_is_stopped(live_run: tuple[str, int]) -> None:
    """Its supervisor keeps the exit code, and the next scheduler tells it."""
    run, _pid = live_run
    sh("systemctl", "stop", "jobqueued")
    (LIVE / "go").touch()
    record = until("the supervisor's record", lambda: record_file(run))
    sh("systemctl", "start", "jobqueued")
    assert (record["state"], record["exit_code"]) == ("failed", 7)
    until("its end in the journal", lambda: events(run) == ["run_started", "run_ended"])


def test_ten_quick_deaths_of_the_scheduler(live_run: tuple[str, int]) -> None:
    """Killed as soon as it is there, ten times in a row: no start limit, the run goes on."""
    for _ in range(10):
        restarted_main("KILL", "jobqueued")
    until("it is ready", lambda: state("jobqueued", "SubState") == "running")
    assert_went_on(*live_run)


def test_ten_quick_deaths_of_the_launcher(live_run: tuple[str, int]) -> None:
    """Neither the service nor its socket runs into a limit; each next launcher has a scope of its own and works."""
    for _ in range(10):
        kill_main("KILL", "jobqueued-launcher")
        sh("jobqueuectl", "run", "quick", "--wait")
    assert state("jobqueued-launcher.socket", "SubState") == "running"
    assert len(scopes()) == 2
    assert_went_on(*live_run)


def test_a_launcher_is_started_for_the_first_due_job() -> None:
    """Stopped while nothing runs, it comes back when it is needed."""
    sh("systemctl", "stop", "jobqueued-launcher")
    sh("jobqueuectl", "run", "quick", "--wait")
    assert state("jobqueued-launcher", "SubState") == "running"


def test_a_scheduler_that_hangs_is_restarted(live_run: tuple[str, int]) -> None:
    """A loop that makes no progress feeds no watchdog: systemd kills it, and the journal tells where it hung."""
    assert state("jobqueued", "WatchdogUSec") == "30s"
    dropin = Path("/run/systemd/system/jobqueued.service.d/watchdog.conf")
    dropin.parent.mkdir(parents=True, exist_ok=True)
    dropin.write_text("[Service]\nWatchdogSec=2s\n")
    sh("systemctl", "daemon-reload")
    sh("systemctl", "restart", "jobqueued")
    hung = int(state("jobqueued", "MainPID"))
    os.kill(hung, signal.SIGSTOP)
    until("a new scheduler", lambda: int(state("jobqueued", "MainPID")) not in (0, hung))
    dropin.unlink()
    sh("systemctl", "daemon-reload")
    until("it is ready", lambda: state("jobqueued", "SubState") == "running")
    lines = [entry["MESSAGE"] for entry in journal(f"_PID={hung}")]
    assert "Fatal Python error: Aborted" in lines
    assert any("in wait" in line for line in lines)
    assert_went_on(*live_run)


def test_the_status_line_is_true(live_run: tuple[str, int]) -> None:
    """`systemctl status` says how many jobs there are and how many run, now."""
    until("it runs", lambda: state("jobqueued", "StatusText") == "5 jobs, 1 running")
    (LIVE / "go").touch()
    until("it is over", lambda: state("jobqueued", "StatusText") == "5 jobs, 0 running")
    assert events(live_run[0]) == ["run_started", "run_ended"]


def test_a_run_that_eats_all_memory_harms_no_other(live_run: tuple[str, int]) -> None:
    """The kernel kills one run in the scope; systemd does not kill the rest of it for that."""
    (scope,) = scopes()
    sh("systemctl", "set-property", "--runtime", scope, "MemoryMax=150M", "MemorySwapMax=0")
    run = sh("jobqueuectl", "run", "hungry").strip()
    assert until("it is killed", lambda: record_file(run))["signal"] == 9
    sh("jobqueuectl", "run", "quick", "--wait")
    assert_went_on(*live_run)
    sh("systemctl", "restart", "jobqueued-launcher")
    until("its scope is gone, though its result is oom-kill", lambda: scope not in scopes())


def test_what_nobody_supervises_is_ended_as_whoever_it_runs() -> None:
    """CAP_KILL: with launcher and supervisor dead the scheduler kills the run of another user."""
    run = sh("jobqueuectl", "run", "somebody").strip()
    words = until("it runs", lambda: (LIVE / "somebody").exists() and (LIVE / "somebody").read_text().split())
    kill_main("KILL", "jobqueued-launcher")
    sh("jobqueuectl", "run", "quick", "--wait")
    supervisor, job = map(int, words)
    os.kill(supervisor, signal.SIGKILL)
    until("the job is dead", lambda: not Path(f"/proc/{job}").exists())
    record = until("the record", lambda: record_file(run))
    assert (record["state"], record["pid"]) == ("lost", job)
    assert [entry["JOBQUEUE_EVENT"] for entry in story(run)] == ["run_started", "run_ended"]


def test_limits_are_for_us_not_for_jobs() -> None:
    """Many files for scheduler and launcher, the scheduler late among the OOM killer's victims; jobs as everybody."""
    scheduler, launcher = (int(state(unit, "MainPID")) for unit in ("jobqueued", "jobqueued-launcher"))
    assert limit(scheduler, "Max open files") == limit(launcher, "Max open files") == ["524288", "524288"]
    scores = [Path(f"/proc/{pid}/oom_score_adj").read_text().strip() for pid in (scheduler, launcher)]
    assert scores == ["-900", "0"]
    assert output(sh("jobqueuectl", "run", "limits", "--wait").strip()).splitlines()[:2] == ["524288", "0"]


@pytest.mark.parametrize(
    ("unit", "name", "value"),
    [
        ("scope", "Delegate", "yes"),  # systemd leaves the cgroups below it alone
        ("scope", "TasksMax", "infinity"),  # not a sixth of the host's
        ("scope", "TimeoutStopUSec", "1min 30s"),  # how long runs may take at a shutdown
        ("scope", "KillMode", "control-group"),  # mixed sends SIGKILL at once
        ("scope", "Slice", "jobqueue.slice"),
        ("jobqueued-launcher.socket", "TriggerLimitIntervalUSec", "0"),
        ("jobqueued-launcher.socket", "SocketMode", "0600"),
        ("jobqueued-fleet.socket", "TriggerLimitIntervalUSec", "0"),
        ("jobqueued-fleet.socket", "SocketMode", "0600"),
        ("jobqueue.slice", "RequiresMountsFor", "/var/log/jobqueue"),
    ],
)
def test_settings_that_show_only_in_bad_times(unit: str, name: str, value: str) -> None:
    """What no test here can make matter is at least what the running units have."""
    (scope,) = scopes()
    assert state(scope if unit == "scope" else unit, name) == value


def test_who_waits_for_whom() -> None:
    """The scheduler starts after the clock is set, users and remote files are there; runs need them too."""
    after = set(state("jobqueued", "After").split())
    assert {"time-set.target", "remote-fs.target", "nss-user-lookup.target"} <= after
    assert {"jobqueued-launcher.service", "jobqueued-fleet.service"} <= after, "stopped before it, at shutdown"
    assert {"network.target", "remote-fs.target", "nss-user-lookup.target"} <= set(
        state("jobqueue.slice", "After").split()
    )


def test_detached_beside_systemd(tmp_path: Path) -> None:
    """`jobqueued --detach` on a host with journald: its lines go there, with fields, and it needs none of the units."""
    (tmp_path / "jobqueue.d").mkdir()
    (tmp_path / "jobqueue.d" / "a.yaml").write_text("jobs: {apart: {command: exit 5}}")
    sh("jobqueued", "--root", str(tmp_path), "--detach", "--pid-file", "/run/apart.pid")
    pid = int(Path("/run/apart.pid").read_text())
    run = sh("jobqueuectl", "--root", str(tmp_path), "run", "apart").strip()
    mine = ("journalctl", "-o", "cat", f"_PID={pid}", f"JOBQUEUE_RUN={run}", "JOBQUEUE_EXIT_CODE=5")
    assert f"{run} failed" in until("it is told", lambda: sh("journalctl", "--sync") or sh(*mine))
    os.kill(pid, signal.SIGTERM)
    until("it is gone", lambda: not Path("/run/apart.pid").exists())


def test_no_orphans() -> None:
    """After all that: one scope, which holds the launcher and idle supervisors only, and no trouble in the journal."""
    until("one scope is left", lambda: len(scopes()) == 1)
    (scope,) = scopes()
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in pids(scope)}
    ours = ("jobqueued/child/launcher.py", "jq-supervisor\0idle")
    others = [pid for pid, line in lines.items() if not any(name in line for name in ours)]
    assert others == []
    bad = ("219/CGROUP", "Failed to spawn", "result 'resources'", "start-limit-hit")
    lines = sh("journalctl", "-b", "-o", "cat", "_PID=1").splitlines()
    assert [line for line in lines if any(words in line for words in bad)] == []


def test_a_stop_is_clean(live_run: tuple[str, int]) -> None:
    """Stopped, it says what goes on, and leaves no failed unit; started again, it takes that up."""
    run, pid = live_run
    sh("systemctl", "stop", "jobqueued", "jobqueued-launcher.socket")
    said = journal("JOBQUEUE_EVENT=stopped")[-1]["MESSAGE"]
    assert said == f"stopped: live runs continue, and the next start follows them again: {run} (pid {pid})"
    sh("systemctl", "start", "jobqueued")
    assert_went_on(*live_run)


def unwell() -> list[str]:
    """All that doctor finds not to be as it should be."""
    found = (it for it in ctl("doctor")["findings"] if it["verdict"] != "ok")
    return [f"{it['what']}: {it['seen']} → {it['remedy']}" for it in found]


def test_a_sound_host() -> None:
    """The doctor finds nothing once somebody has set the clock: who does that can't be reached from here."""
    libc, nothing = ctypes.CDLL(None, use_errno=True), ctypes.create_string_buffer(512)
    ctypes.memmove(nothing, struct.pack("I", ADJUSTED), 4)
    assert libc.adjtimex(nothing) != -1, os.strerror(ctypes.get_errno())
    sh("systemctl", "enable", "jobqueued")
    assert [] == unwell()


def test_a_host_that_was_tuned() -> None:
    """Drop-ins that take from runs what they need, a unit that is not enabled: each is told, and the remedy works."""
    dropins = {
        "jobqueued-launcher": "NoNewPrivileges=yes\nPrivateTmp=yes\nCapabilityBoundingSet=~CAP_KILL CAP_SYS_NICE\n",
        "jobqueued": "Restart=no\n",
    }
    for unit, text in dropins.items():
        place = Path(f"/run/systemd/system/{unit}.service.d")
        place.mkdir(exist_ok=True)
        (place / "tuned.conf").write_text(f"[Service]\n{text}")
    for unit in dropins:
        assert f"unit: {unit}.service changed after systemd read it → systemctl daemon-reload" in unwell()
    sh("systemctl", "disable", "jobqueued")  # which reloads them, too
    shown = "systemctl cat jobqueued-launcher shows which line removes it"
    renewed = f"{shown}; then: jobqueuectl restart-launcher (live runs continue)"
    sh("jobqueuectl", "restart-launcher")
    assert [
        f"launcher: it lacks CAP_KILL: runs of other users can't be ended → {renewed}",
        "launcher: it lacks CAP_SYS_NICE: `nice` below 0 and real-time `cpu_scheduling` fail → " + renewed,
        "launcher: it has no_new_privs: in runs, sudo, mail and other set-user-ID programs get no privileges → "
        + renewed,
        f"launcher: runs are in other namespaces than this shell, so they might see a different files → {renewed}",
        "unit: jobqueued.service is disabled: it will not start at boot → systemctl enable jobqueued",
        "unit: jobqueued.service has Restart=no: systemd might not restart it after a crash → systemctl"
        " cat jobqueued shows where; "
        "set Restart=always",
    ] == unwell()
    for unit in dropins:
        sh("systemctl", "revert", unit)
    sh("systemctl", "daemon-reload")
    sh("systemctl", "enable", "jobqueued")
    sh("jobqueuectl", "restart-launcher")
    assert [] == unwell()
