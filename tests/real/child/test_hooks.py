"""Telemetry hooks of real attempts: when they are told, what becomes of their words, and that none does harm."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from jobqueued.base.instants import SECOND
from jobqueued.child.attempt.shutdown import Shutdown
from jobqueued.child.contract import wire
from jobqueued.child.hooks import hook as hook_module
from jobqueued.child.hooks import hooks
from jobqueued.child.report.control_socket import DescriptorLoop
from jobqueued.child.report.marks import Marks
from jobqueued.ctl.past.offline import find_record
from jobqueued.model.job import Claim, Job
from jobqueued.model.run import RunId
from jobqueued.model.telemetry import TelemetryHook
from jobqueued.settings.paths import Paths
from tests.support.host import Host, lives, wait_for
from tests.support.pool import Pool
from tests.support.users import NEEDS_ROOT, OTHER, STRANGER

START, SAMPLE, END = ("start",), ("sample",), ("end",)
SAY = """printf '{"told": {"%s": [%s]}}' "$JOBQUEUE_HOOK" "$(cat)\""""
"""A hook that says all that it is told."""


def hook(command: str, at: tuple[str, ...] = END, timeout: float = 20, every: float = 1) -> TelemetryHook:
    return TelemetryHook(command, at, int(every * SECOND), int(timeout * SECOND))


def run(pool: Pool, command: str, *hooks: TelemetryHook, **keys: Any) -> tuple[list[str], dict[str, Any]]:
    said, document = pool.run(command=command, telemetry_hooks=hooks, **keys)
    assert document == json.loads((pool.root / "logs" / "job" / f"{pool.number}.json").read_bytes())
    return said, document


def test_what_they_are_told(pool: Pool) -> None:
    """At the start a live record without output, then one with what there is, and at the end the whole of it."""
    wait = f"echo out; until [ -e {pool.root}/go ]; do sleep 0.01; done; exit 3"
    tell = f"[ $JOBQUEUE_HOOK != sample ] || touch {pool.root}/go; {SAY}"
    said, document = run(pool, wait, hook(tell, ("start", "sample", "end")))
    told = document["telemetry"]["told"]
    assert ("started", "ended", ["start", "sample", "end"]) == (said[0], said[-1], list(told))
    assert {"running"} == {told[moment][0]["state"] for moment in ("start", "sample")}
    (live,), (over,) = told["sample"], told["end"]
    assert (None, None, [], document["pid"]) == (live["ended"], live["exit_code"], live["attempts"], live["pid"])
    assert ("out\n", 4) == (live["output"]["tail"], live["output"]["bytes"])
    assert live["memory_peak"] > 0
    assert document.keys() == live.keys()
    assert {**document, "telemetry": over["telemetry"]} == over
    assert ("failed", 3, []) == (document["state"], document["exit_code"], document["warnings"])


def test_without_hooks_nothing_is_said_of_them(pool: Pool) -> None:
    """A job that has none has no telemetry in its record."""
    assert "telemetry" not in run(pool, "true")[1]


def test_one_after_the_other(pool: Pool) -> None:
    """Each hears what those before it have said; null takes a key away, and other attempts begin with what there is."""
    first = hook("""echo '{"rows": 1, "old": 1}'""", START)
    second = hook("""grep -q '"old": *1' && echo '{"rows": 2, "old": null, "n": {"a": 1}}'""", START)
    third = hook("""echo '{"n": {"b": 2}}'""")
    assert {"rows": 2, "n": {"a": 1, "b": 2}} == run(pool, "true", first, second, third)[1]["telemetry"]


def test_a_start_that_failed_is_an_end(pool: Pool) -> None:
    """A command that can't be started is told as an end, and as no start."""
    told = hook(SAY, ("start", "end"))
    document = pool.run(command=["/no/such"], telemetry_hooks=(told,))[1]
    assert ["end"] == list(document["telemetry"]["told"])
    assert document["telemetry"]["told"]["end"][0]["reason"].startswith("start_failed: exec")


BAD = {
    "exit 3": "exit code 3",
    "echo one >&2; echo 'no \033[1mrows' >&2; exit 1": r"exit code 1: no \x1b[1mrows",
    "kill -9 $$": "ended by signal 9 (SIGKILL)",
    "echo rows": "printed invalid JSON: Expecting value in line 1, column 1",
    "yes": "printed more than 65,536 bytes",
    "exec /no/such": "exit code 127: ",
}


@pytest.mark.parametrize("command", BAD)
def test_one_that_fails(pool: Pool, command: str) -> None:
    """It changes nothing, others are told all the same, and the record says it once, with how often."""
    said, document = run(pool, "true", hook(command, ("start", "end")), hook("""echo '{"rows": 7}'"""))
    assert ("started", "ended") == (said[0], said[-1])  # on a busy host "stopping" is between them
    assert ("succeeded", {"rows": 7}) == (document["state"], document["telemetry"])
    (warning,) = document["warnings"]
    assert f", start: {BAD[command]}" in warning
    assert warning.endswith(" (and 1 more failure)")
    assert warning == document["attempts"][0]["warnings"][0]


def test_no_program(pool: Pool) -> None:
    """One that can't be started says so."""
    (warning,) = run(pool, "true", TelemetryHook(("/no/such",), END))[1]["warnings"]
    assert "telemetry hook /no/such, end: could not be started: exec: /no/such: No such file or directory" == warning


def gone(pool: Pool, name: str) -> bool:
    """Whether the process whose number is in a file is."""
    return not lives((pool.root / name).read_text().strip())


def test_one_that_hangs(pool: Pool) -> None:
    """It is killed at the end of its time with all that it has started, and delays the end of the run no longer."""
    hang = f"trap '' TERM; (setsid sleep 1000 & echo $! >{pool.root}/below); echo $$ >{pool.root}/pid; sleep 1000"
    said, document = run(pool, "exit 4", hook(hang, END, timeout=1.5))
    assert (["started", "stopping", "ended"], "failed", 4) == (said, document["state"], document["exit_code"])
    (warning,) = document["warnings"]
    assert warning.endswith(", end: did not end within 1.5 s, and was killed")
    assert (True, True) == (gone(pool, "pid"), gone(pool, "below"))
    assert ["started", "ended"] == pool.run(command="true")[0]


def test_what_one_leaves_behind(pool: Pool) -> None:
    """It is ended with the hook, and never taken for the job's."""
    leave = f"""setsid sleep 1000 & echo $! >{pool.root}/below; echo '{{"a": 1}}'"""
    document = run(pool, "sleep 0.1", hook(leave, ("start", "end")))[1]
    assert ({"a": 1}, []) == (document["telemetry"], document["warnings"])
    assert gone(pool, "below")


def test_the_job_is_not_theirs(pool: Pool) -> None:
    """A run that ends or times out leaves its hook alone; what it leaves is ended beside a hook that lives."""
    slow = f"""until [ -e {pool.root}/logs/job/$(echo $JOBQUEUE_RUN | cut -d@ -f2).json ]; do sleep 0.01; done
        echo '{{"late": true}}'"""
    for command, keys, state in (
        ("sleep 1000 & exit 0", {}, "succeeded"),
        ("trap '' TERM; sleep 1000", {"timeout": SECOND // 10, "kill_grace": SECOND // 10}, "timed_out"),
    ):
        document = run(pool, command, hook(slow, ("start", "end")), **keys)[1]
        assert (state, {"late": True}) == (document["state"], document["telemetry"])


def test_samples_that_are_left_out(pool: Pool) -> None:
    """While one is still busy it is told of no other sample, which is counted, nor of one once the run is over."""
    busy = f"echo x >>{pool.root}/told; until [ -e {pool.root}/go ]; do sleep 0.01; done"
    watch = f"[ $(wc -l <{pool.root}/told) = 1 ] && sleep 1.5 && touch {pool.root}/go"
    document = run(pool, f"until [ -e {pool.root}/told ]; do sleep 0.01; done; {watch}", hook(busy, SAMPLE))[1]
    assert "x\n" == (pool.root / "told").read_text()
    (warning,) = document["warnings"]
    assert re.search(r"sample: not started \d+ times?, because it was still busy", warning)


def test_who_holds_up_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that waits for another while its samples are due is not called busy: the warning names the other."""
    answer, writing = os.pipe()
    monkeypatch.setattr(hook_module, "start_hook", lambda *_: hook_module.Keeper(-1, answer))
    every: dict[str, Any] = {"at": ["sample"], "every": 1.0, "timeout": 10.0}
    order: Any = {"hooks": [{"name": "slow", **every}, {"name": "fast", **every}], "record": {}}
    nothing, record = cast("Any", None), cast("Any", dict)
    them = hooks.Hooks(order, -1, DescriptorLoop(nothing), Marks(-1, "job@1.1"), record)
    them.begin(0)
    for second in range(1, 4):
        them.look(second)
    assert [
        "telemetry hook slow, sample: not started 2 times, because it was still busy",
        "telemetry hook fast, sample: not started 2 times, because slow was still busy",
    ] == list(them.warnings())
    for descriptor in (answer, writing):
        os.close(descriptor)


def test_the_end_is_in_the_record_file_first(pool: Pool) -> None:
    """While a hook is told of the end, the record file has it already, and its lock files are free."""
    lock = pool.root / "lock"
    copy = f"cat {pool.root}/logs/job/1.json >{pool.root}/found"
    look = f"flock -n {lock} true && {copy} && [ ! -e {pool.root}/job@1.1/ended ]"
    _said, path = pool.order(
        Job(id="job", command="exit 5", telemetry_hooks=(hook(look),)), claims=(Claim(str(lock), exclusive=True),)
    )
    document = json.loads((path / wire.ENDED).read_bytes())
    assert [] == document["warnings"]
    first = json.loads((pool.root / "found").read_bytes())
    assert ("failed", 5) == (first["state"], first["exit_code"])
    of_ended_alone = {"over": document["over"]}
    assert document == {**first, **of_ended_alone, "warnings": [], "attempts": document["attempts"]}


def test_what_was_said_is_in_the_record_file_first(pool: Pool) -> None:
    """While one is told of the end, the record file has what was said before, and that something may be missing."""
    record, mark = pool.root / "logs" / "job" / "1.json", pool.root / "job@1.1" / wire.TELEMETRY
    started = hook("""[ $JOBQUEUE_HOOK = start ] || exit 3; echo '{"begun": 1}'""", ("start", "end"))
    first = hook(f"""cat {record} >{pool.root}/first; echo '{{"rows": 7}}'""")
    second = hook(f"cat {record} >{pool.root}/second")
    document = run(pool, f"until [ -e {mark} ]; do sleep 0.01; done", started, first, second)[1]
    (failure,) = document["warnings"]
    for name, telemetry, failures in (("first", {"begun": 1}, []), ("second", {"begun": 1, "rows": 7}, [failure])):
        found = json.loads((pool.root / name).read_bytes())
        missing = "this record was written before its telemetry hooks ended; their later output is missing"
        assert ("succeeded", telemetry, [*failures, missing]) == (found["state"], found["telemetry"], found["warnings"])
        assert found["warnings"] == found["attempts"][-1]["warnings"]
    assert {"begun": 1, "rows": 7} == document["telemetry"]


@pytest.mark.parametrize("at", [START, END], ids=["started", "at the end"])
def test_a_supervisor_that_dies_at_the_end(tmp_path: Path, at: tuple[str, ...]) -> None:
    """Who kills it while hooks are told of the end loses what they would have said from then on, and nothing else."""
    pool = Pool(tmp_path)
    hang = f"echo $$ >{tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; exec sleep 1000"
    job = Job(id="job", command="true", telemetry_hooks=(hook("""echo '{"begun": 1}'""", at), hook(hang)))
    pool.send(job)
    wait_for((tmp_path / "pid").exists)
    os.kill(pool.pid, signal.SIGKILL)
    pool.close()
    found = json.loads((tmp_path / "logs" / "job" / "1.json").read_bytes())
    assert ("succeeded", {"begun": 1}) == (found["state"], found["telemetry"])
    assert [hooks._INTERIM] == found["warnings"]
    wait_for(lambda: gone(pool, "pid"), why="the hook was left alone")


@pytest.mark.parametrize("at", [START, END], ids=["meanwhile", "at the end"])
def test_a_keeper_that_is_killed(pool: Pool, at: tuple[str, ...]) -> None:
    """SIGKILL of the process between hook and supervisor costs what the hook says, and what it leaves is ended."""
    kill = f"echo $$ >{pool.root}/pid; kill -9 $PPID; exec sleep 1000"
    command = f"until [ -e {pool.root}/pid ]; do sleep 0.01; done; sleep 0.2" if at == START else "true"
    said, document = run(pool, command, hook(kill, at))
    assert ("succeeded", {}) == (document["state"], document["telemetry"])
    assert any(f"{at[0]}: its keeper was killed" in warning for warning in document["warnings"])
    wait_for(lambda: gone(pool, "pid"), why="the hook was left alone")
    if at == END:
        assert ("left", b"") == (said[-1], pool.socket.recv(1))


def test_one_that_cannot_be_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends all the same, and its supervisor leaves the pool; the hook is ended as soon as that can be."""
    monkeypatch.setattr(hooks, "LONGEST_WAIT", 0.2)
    pool = Pool(tmp_path)
    stuck = f"echo $PPID >{tmp_path}/keeper; echo $$ >{tmp_path}/pid; kill -STOP $PPID; exec sleep 1000"
    said, document = run(pool, "exit 3", hook(stuck, timeout=1), hook("""echo '{"a": 1}'"""))
    assert ("left", 3, {}) == (said[-1], document["exit_code"], document["telemetry"])
    one, cut = document["warnings"]
    assert one.endswith("end: does not end, although it was killed")
    assert "its telemetry hooks were cut short: one of them does not end" == cut
    assert b"" == pool.socket.recv(1)
    os.kill(int((tmp_path / "keeper").read_text()), signal.SIGCONT)
    wait_for(lambda: gone(pool, "pid"))
    pool.close()


def test_a_person_cuts_them_short(pool: Pool) -> None:
    """Who stops a run that is over, but for its hooks, ends them; its own end stays what it was."""
    hang = f"touch {pool.root}/told; sleep 1000"
    keys: dict[str, Any] = {"command": "exit 3", "telemetry_hooks": (hook(hang),)}
    _said, document = pool.stopped((pool.root / "told").exists, **keys)
    assert ("failed", 3) == (document["state"], document["exit_code"])
    assert ["its telemetry hooks were cut short: asked to"] == document["warnings"]


def test_a_stopped_run_is_told(pool: Pool) -> None:
    """A run that a person stops while its command lives is an end as any other."""
    keys: dict[str, Any] = {
        "command": f"touch {pool.root}/lives; sleep 1000",
        "telemetry_hooks": (hook(SAY),),
    }
    document = pool.stopped((pool.root / "lives").exists, **keys)[1]
    (told,) = document["telemetry"]["told"]["end"]
    assert ("killed", "asked to", []) == (told["state"], told["reason"], document["warnings"])


def test_what_a_run_leaves(pool: Pool) -> None:
    """By `leave_children` what outlives a run is no hook's, and the end is told all the same."""
    command = f"sleep 1000 & echo $! >{pool.root}/left"
    said, document = run(pool, command, hook("""echo '{"a": 1}'""", ("start", "end")), leave_children=True)
    assert (["started", "left"], {"a": 1}) == (said, document["telemetry"])
    assert not gone(pool, "left")
    os.kill(int((pool.root / "left").read_text()), signal.SIGKILL)


@pytest.mark.parametrize("at", [START, END], ids=["meanwhile", "at the end"])
def test_the_host_goes_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: tuple[str, ...]) -> None:
    """Whoever is told then is ended at once, nobody else is told, and the run has its end."""
    monkeypatch.setattr(Shutdown, "began", lambda *_: (tmp_path / "down").exists())  # only PID 1 can say it
    pool = Pool(tmp_path)
    hang = hook(f"echo $$ >{tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; exec sleep 1000", at)
    command = "exec sleep 1000" if at == START else "exit 3"
    path = pool.send(Job(id="job", command=command, telemetry_hooks=(hang, hook(f"touch {tmp_path}/told"))))
    wait_for((tmp_path / "pid").exists)
    (tmp_path / "down").touch()
    os.kill(pool.pid, signal.SIGTERM)
    if at == START:  # from PID 1 the command has it too
        os.kill(-int((path / wire.PID).read_text().split()[0]), signal.SIGTERM)
    said = pool.heard()
    document = json.loads((path / wire.ENDED).read_bytes())
    assert ("ended", at == END) == (said[-1].split(" ")[0], document["exit_code"] == 3)
    assert ["its telemetry hooks were cut short: shutdown"] == document["warnings"]
    assert (True, False) == (gone(pool, "pid"), (tmp_path / "told").exists())
    pool.close()


def test_without_room_for_the_record_nobody_is_told(pool: Pool) -> None:
    """Where the record file can't be written, no hook comes between the run and its end."""
    (pool.root / "logs" / "job" / "1.json.tmp").mkdir(parents=True)
    document = pool.run(command="exit 3", output="none", telemetry_hooks=(hook(f"touch {pool.root}/told"),))[1]
    assert ["its telemetry hooks were cut short: its record file can't be written"] == document["warnings"]
    assert not (pool.root / "told").exists()


def test_it_holds_nothing_of_ours(pool: Pool) -> None:
    """A keeper has neither R/control nor lock files nor outputs of the run, a hook but its own three descriptors."""
    lock = pool.root / "lock"
    look = f"ls -l /proc/$PPID/fd >{pool.root}/keeper; ls -l /proc/self/fd >{pool.root}/own; cat >/dev/null"
    job = Job(id="job", command="echo; sleep 0.2", telemetry_hooks=(hook(look, START),))
    _said, path = pool.order(job, claims=(Claim(str(lock), exclusive=True),))
    assert [] == json.loads((path / wire.ENDED).read_bytes())["warnings"]
    keeper = [line.split(" -> ")[1] for line in (pool.root / "keeper").read_text().splitlines() if "->" in line]
    assert [] == [link for link in keeper if link.startswith(("socket:", str(pool.root)))]
    assert 4 == (pool.root / "own").read_text().count(" -> ")  # with that of ls
    ours = pool.descriptors()
    pool.run(command="true", telemetry_hooks=(hook("true", ("start", "end")),))
    assert ours == pool.descriptors()


def test_the_environment_is_the_jobs(pool: Pool, tmp_path: Path) -> None:
    """Variables, directory, umask and limits are those of the command, and the moment is told."""
    (tmp_path / "file.env").write_text("FILE=yes\n")
    (tmp_path / "look").write_text("env | grep -Ev '^(JOBQUEUE_HOOK|_)=' | sort; pwd; umask; ulimit -n")
    look = f"sh {tmp_path}/look"
    keys: dict[str, Any] = {
        "environment": (("OWN", "yes"),), "environment_file": (str(tmp_path / "file.env"),), "umask": 0o27,
        "working_directory": "/usr", "resource_limits": {"open_files": 99},
    }  # fmt: skip
    document = run(pool, look, hook(f"[ $JOBQUEUE_HOOK = end ] && {look} >{tmp_path}/found"), **keys)[1]
    assert [] == document["warnings"]
    assert pool.output() == (tmp_path / "found").read_text()
    assert "FILE=yes\n" in pool.output()


@NEEDS_ROOT
def test_the_user_is_the_jobs(tmp_path: Path, pool: Pool) -> None:
    """A hook is nobody else than the command."""
    tmp_path.chmod(0o755)
    look = hook("""id -u >/proc/self/fd/2; printf '{"uid": %s}' $(id -u)""")
    document = run(pool, "true", look, user=OTHER, working_directory="/")[1]
    assert ({"uid": STRANGER}, []) == (document["telemetry"], document["warnings"])


HOSTED = """
jobs:
  probe:
    command: echo run >>{root}/runs; [ $(wc -l <{root}/runs) != 1 ]
    retries: 1
    retry_delay: 0s
    telemetry_hooks:
      - {{command: 'echo "{{{{\\"$JOBQUEUE_ATTEMPT\\": \\"$JOBQUEUE_HOOK\\"}}}}"', at: [start, end]}}
  slow:
    command: exit 7
    telemetry_hooks:
      - {{command: 'echo "{{{{\\"begun\\": 1}}}}"', at: start}}
      - command: echo $$ >{root}/pid; until [ -e {root}/go ]; do sleep 0.02; done; echo '{{{{"rows":7}}}}'
        at: end
        timeout: 5m
"""


@pytest.fixture
def hosted(tmp_path: Path) -> Iterator[Host]:
    """A daemon with a job that is tried twice, and one whose hook waits for a file."""
    host = Host(tmp_path / "host")
    host.write("jobs.yaml", HOSTED.format(root=host.root).replace("{{", "{").replace("}}", "}"))
    host.start()
    yield host
    host.close()
    print(host.log())


def told(host: Host) -> str:
    """The run of the slow job, once its hook is told of the end, and the number of that."""
    run = host.run("slow")
    wait_for(lambda: (host.root / "pid").exists() and (host.root / "pid").read_text())
    return run


def test_attempts_share_it(hosted: Host) -> None:
    """What the hooks of one attempt have said, the next begins with; state.db and the file have all of it."""
    run = hosted.run("probe")
    record = hosted.wait(run)
    assert ("succeeded", {"1": "end", "2": "end"}) == (record["state"], record["telemetry"])
    assert hosted.record(run) == record
    defined = hosted.call("Describe", job="probe")["definition"]["telemetry_hooks"]
    assert [(["start", "end"], 60.0, 10.0)] == [(each["at"], each["every"], each["timeout"]) for each in defined]


def test_the_scheduler_dies_meanwhile(hosted: Host) -> None:
    """A run whose hooks are told of its end lives for the next scheduler, which takes the end with what they say."""
    run = told(hosted)
    wait_for(lambda: hosted.said("run_stopping"), why="it is said that hooks are told: the next scheduler repeats that")
    hosted.kill()
    hosted.start()
    wait_for(lambda: hosted.call("Status")["running"] == 1)
    (hosted.root / "go").touch()
    record = hosted.wait(run)
    assert ("failed", 7, {"begun": 1, "rows": 7}) == (record["state"], record["exit_code"], record["telemetry"])


def test_supervisor_and_launcher_die_meanwhile(hosted: Host) -> None:
    """The end is what the record file says, and the hook is ended by its keeper, which nobody waits for any more."""
    run = told(hosted)
    pid = int((hosted.root / "pid").read_text())
    names = {each: Path(f"/proc/{each}/comm").read_text().strip() for each in hosted.small_ones()}
    assert "jq-hook" in names.values()
    for each, name in names.items():
        if name != "jq-hook":
            os.kill(each, signal.SIGKILL)
    record = hosted.wait(run)
    assert ("failed", 7, {"begun": 1}) == (record["state"], record["exit_code"], record["telemetry"])
    wait_for(lambda: not lives(pid), why="the hook was left alone")
    wait_for(lambda: not any(lives(each) for each, name in names.items() if name == "jq-hook"))


def test_it_is_said_why_it_is_not_over(hosted: Host) -> None:
    """A run that is over but for its hooks says so with the remedy, and whoever stops it has its end at once."""
    run = told(hosted)
    wait_for(lambda: hosted.said("run_stopping"))
    (line,) = hosted.said("run_stopping")
    reason = f"it ended (exit code 7), but its telemetry hooks still run; to end them: jobqueuectl stop {run}"
    assert reason in json.dumps(line)
    why, record = hosted.call("Why", run=run)["why"], hosted.call("Show", run=run)["record"]
    assert ("stopping", [reason], []) == (why["state"], why["reasons"], record["waits_for"])
    hosted.call("Stop", run=run)
    record = hosted.wait(run)
    assert ("failed", 7, {"begun": 1}) == (record["state"], record["exit_code"], record["telemetry"])
    (ended,) = hosted.said("run_ended")
    assert "cut short" in json.dumps(ended)


LIVE = """
jobs:
  live:
    command: sleep 1000
    telemetry_hooks: {command: "printf '{%s: 7}' '\\"rows\\"'", at: start}
"""


def test_a_live_run_shows_it(hosted: Host) -> None:
    """What hooks have said so far is shown of a live run, by the daemon and without it, and a lost run keeps it."""
    hosted.write("live.yaml", LIVE)
    wait_for(lambda: len(hosted.call("List")["jobs"]) == 3)
    run = hosted.run("live")
    wait_for(lambda: hosted.call("Show", run=run)["record"].get("telemetry") == {"rows": 7})
    hosted.kill()
    assert {"rows": 7} == find_record(Paths.under(hosted.root), RunId.parse(run))["telemetry"]
    hosted.kill_small_ones()
    hosted.start()
    record = hosted.wait(run)
    assert ("lost", {"rows": 7}) == (record["state"], record["telemetry"])


def test_no_process_can_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a keeper can't be started, or R/telemetry not be written, the run goes on; the record tells the first."""
    real, tried = hook_module.start_hook, []

    def told(*asked: Any) -> Any:
        tried.append(asked)
        if len(tried) == 1:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return real(*asked)

    monkeypatch.setattr(hook_module, "start_hook", told)
    monkeypatch.setattr(wire, "replace_mark", lambda *_: os.rename(tmp_path / "no", tmp_path / "such"))
    pool = Pool(tmp_path)
    document = run(pool, "exit 3", hook("""echo '{"a": 1}'""", ("start", "end")))[1]
    assert (3, {"a": 1}) == (document["exit_code"], document["telemetry"])
    (warning,) = document["warnings"]
    assert warning.endswith("start: could not be started: Resource temporarily unavailable")
    pool.close()
