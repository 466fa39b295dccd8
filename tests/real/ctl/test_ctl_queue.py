"""The commands of jobqueuectl about the queue, against a real daemon: why, emit, rerun, pause, hold, drain."""

from __future__ import annotations

import itertools
import json
import os
import pwd
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobqueued.ctl.main import main
from jobqueued.ctl.view import list as list_command
from tests.support.client import PROGRAM, environment, facts, run
from tests.support.host import DEADLINE, Host, wait_for

ME = "root" if os.geteuid() == 0 else f"uid {os.geteuid()}"
NAME = pwd.getpwuid(os.geteuid()).pw_name
"""The same by name, as people read it."""
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d( [A-Z]{3,5}| [-+]\d\d)?"
ON_HOLD = "the host is on hold: nothing new starts; to end it: jobqueuectl release\n"
INSTANT = "%Y-%m-%d %H:%M:%S UTC"
UNTIL_GO = "until [ -e go ]; do sleep 0.02; done"
JOBS = """
defaults: {working_directory: ROOT, timezone: UTC}
jobs:
  long: {command: 'GO', locks: [tape]}
  wants: {command: 'true', locks: [tape], concurrency: 9, metadata: {owner: ops}}
  plain: {command: 'true'}
  failing: {command: exit 3, retries: 1, retry_delay: 1h}
  after: {command: 'true', schedule: '0 2 1 1 *', dependencies: [plain]}
  one: {command: 'GO'}
  hears: {command: 'true', on: {event: deployed}}
  hears-too: {command: 'true', on: [{event: deployed}, {event: other}]}
  off: {command: 'true', on: {event: deployed}, enabled: false}
  sleeps: {command: 'true', on: {event: asleep}, enabled: false}
  tokyo: {command: 'true', schedule: '0 2 * * *', timezone: Asia/Tokyo}
  nightly: {command: 'true', schedule: '0 2 * * *'}
  daily: {command: 'true', schedule: '0 2 * * *', spread: 1h}
"""


@pytest.fixture
def busy(host: Host) -> Host:
    """A host with a daemon and these jobs."""
    host.write("jobs.yaml", JOBS.replace("ROOT", str(host.root)).replace("GO", UNTIL_GO))
    host.start()
    return host


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One for all tests that change nothing."""
    host = Host(tmp_path_factory.mktemp("idle") / "host")
    host.write("ghost.yaml", "jobs: {ghost: {command: 'true', user: no-such-user}}")
    host.write("jobs.yaml", JOBS.replace("ROOT", str(host.root)).replace("GO", UNTIL_GO))
    host.start()
    yield host
    host.close()


def ctl(host: Host, *words: str, **more: str) -> tuple[int, str, str]:
    """jobqueuectl, run to its end: exit status, output, errors; remedies without the option that names the host."""
    done = run("--root", host.root, *words, **more)
    chosen = f"jobqueuectl --root {host.root} "
    return done.returncode, done.stdout.replace(chosen, "jobqueuectl "), done.stderr.replace(chosen, "jobqueuectl ")


def go(host: Host) -> None:
    """Let the runs that wait for it end."""
    (host.root / "go").touch()


def started(host: Host) -> list[str]:
    """The runs that have started, in their order."""
    return [line["run"] for line in host.said("run_started")]


def live(host: Host, job: str) -> str:
    """A run of a job, once it has started."""
    name = host.run(job)
    wait_for(lambda: name in started(host))
    return name


def reasons(text: str) -> list[str]:
    """The reasons that `why` gives."""
    return [line.split("  ", 1)[1].strip() for line in text.splitlines() if line.startswith(("because", "  "))]


GROWTH = re.compile(r"[\d.]+ now: 0, plus 1 point for each minute of waiting; the highest goes first")


class TestWhy:
    def test_lock(self, busy: Host) -> None:
        """A waiting run is shown with what it lacks, who holds that, and how its priority grows."""
        holder, waiting = live(busy, "long"), busy.run("wants")
        code, shown, said = ctl(busy, "why", waiting)
        (lacks,) = reasons(shown)
        assert (0, "", waiting, "waiting") == (code, said, facts(shown)["run"], facts(shown)["state"])
        assert re.fullmatch(rf"lock tape is held by {holder}( for \d+ s)?", lacks)
        assert GROWTH.fullmatch(facts(shown)["priority"])

    def test_json(self, busy: Host) -> None:
        """For programs all of it, with exact values."""
        holder, waiting = live(busy, "long"), busy.run("wants")
        (why,) = json.loads(ctl(busy, "why", "--json", waiting)[1])["runs"]
        (missing,) = why["missing"]
        (held_by,) = missing.pop("holders")
        assert {"resource": "tape", "mode": "exclusive", "units": 0, "capacity": 1} == missing
        assert (holder, "exclusive", None) == (held_by["run"], held_by["mode"], held_by["ends_by"])
        assert busy.call("Show", run=holder)["record"]["started"] == held_by["since"]
        expected: dict[str, Any] = {
            "run": waiting, "state": "waiting", "ahead": [], "behind": None, "priority": 0, "points": 1, "every": 60.0,
            "expected": None, "dependencies": [],
        }  # fmt: skip
        assert expected == {name: why[name] for name in expected}
        assert 0 <= why["waited"] < DEADLINE
        assert 0 <= why["effective_priority"] < 1

    def test_job(self, busy: Host) -> None:
        """Each waiting run of a job is shown, in order, with the runs ahead: three by name, with --all all of them."""
        live(busy, "long")
        runs = [busy.run("wants") for _ in range(6)]
        blocks = ctl(busy, "why", "wants")[1].split("\n\n")
        assert runs == [facts(block)["run"] for block in blocks]
        behind = [next((line for line in reasons(block) if line.startswith("it waits")), None) for block in blocks]
        assert [None, f"it waits behind {runs[0]}", f"it waits behind {', '.join(runs[:2])}"] == behind[:3]
        assert f"it waits behind {', '.join(runs[:3])} and 2 more" == behind[-1]
        assert ["goes first" in facts(block) for block in blocks] == [False] * 6
        blocks = ctl(busy, "why", "--all", "wants")[1].split("\n\n")
        assert [None, *(", ".join(runs[:n]) for n in range(1, 6))] == [facts(b).get("goes first") for b in blocks]
        assert runs == [why["run"] for why in json.loads(ctl(busy, "why", "wants", "--json")[1])["runs"]]

    def test_many(self, busy: Host) -> None:
        """Of a job with many waiting runs the first 10 are shown, and the number of the others."""
        live(busy, "long")
        runs = [busy.run("wants") for _ in range(12)]
        *blocks, rest = ctl(busy, "why", "wants")[1].split("\n\n")
        assert (runs[:10], "… and 2 more\n") == ([facts(block)["run"] for block in blocks], rest)
        answer = json.loads(ctl(busy, "why", "wants", "--json")[1])
        assert (runs[:10], 2) == ([why["run"] for why in answer["runs"]], answer["more"])

    def test_expected(self, busy: Host) -> None:
        """The expected start is shown if it is known how long the runs ahead take."""
        go(busy)
        assert "succeeded" == busy.wait(busy.run("long"))["state"]
        (busy.root / "go").unlink()
        live(busy, "long")
        shown = facts(ctl(busy, "why", busy.run("wants"))[1])
        assert re.fullmatch(rf"{TIME} \(.+\)", shown["expected start"])

    def test_retry(self, busy: Host) -> None:
        """A retrying run is shown with the reason, and the time of the next attempt."""
        name = busy.run("failing")
        wait_for(lambda: busy.said("run_retrying"))
        code, shown, _ = ctl(busy, "why", "failing")
        (reason,) = reasons(shown)
        assert (0, name, "retrying") == (code, facts(shown)["run"], facts(shown)["state"])
        pause = r"(1 h( \d+ (min|s))?|59 min \d+ s)"
        now = f"to start it now: jobqueuectl retry {name}"
        assert re.fullmatch(rf"its last attempt failed \(exit code 3\); attempt 2 in {pause}; {now}", reason)

    def test_retry_now(self, busy: Host) -> None:
        """A retry that a person asks for starts at once; the record, the log, and after it the refusal tell of it."""
        name = busy.run("failing")
        wait_for(lambda: busy.said("run_retrying"))
        code, shown, told = ctl(busy, "retry", "--wait", name)
        assert (1, f"{name} waiting\n", True) == (code, shown, f"{name} failed after " in told)
        first, second = busy.call("Show", run=name)["record"]["attempts"]
        assert (ME, None) == (first["retried_by"], second.get("retried_by"))
        (line,) = busy.said("retry_asked")
        assert re.fullmatch(rf"{name}: attempt 2 is due now, (1 h|59 min).* early, requested by {ME}", line["message"])
        ended = f"Error: refused: {name} has ended; to run its job again: jobqueuectl rerun {name}\n"
        assert (1, "", ended) == ctl(busy, "retry", name)
        code, shown, told = ctl(busy, "retry", "failing@9")
        assert (1, "", True) == (code, shown, "no such run: failing@9" in told)

    def test_retry_over_a_restart(self, busy: Host) -> None:
        """A retry that was asked for, and that something holds back, is not put off again by a restart."""
        name = busy.run("failing")
        wait_for(lambda: busy.said("run_retrying"))
        assert 0 == ctl(busy, "pause", "failing")[0]
        held = f"{name} can't start yet; to see why: jobqueuectl why {name}\n"
        assert (0, f"{name} due\n", held) == ctl(busy, "retry", name)
        busy.kill()
        busy.start()
        assert 0 == ctl(busy, "resume", "failing")[0]
        attempts = busy.wait(name)["attempts"]
        assert [ME, None] == [each.get("retried_by") for each in attempts]

    def test_concurrency(self, busy: Host) -> None:
        """A run kept back by its own job's concurrency is shown with the runs that use it up."""
        first = live(busy, "one")
        assert [f"concurrency 1 is used up by {first}"] == reasons(ctl(busy, "why", busy.run("one"))[1])

    def test_live_or_ended(self, busy: Host) -> None:
        """A run that has started waits for nothing, and `why` says so."""
        name = live(busy, "one")
        assert ["it has started"] == reasons(ctl(busy, "why", name)[1])
        go(busy)
        busy.wait(name)
        assert [f"{name} ended: succeeded"] == reasons(ctl(busy, "why", name)[1])

    def test_nothing_waits(self, idle: Host) -> None:
        """Of a job without waiting runs it is told why; that is no failure."""
        told = "no run of plain waits to start; nothing makes it due now; to run it: jobqueuectl run plain"
        assert (0, f"{told}\n", "") == ctl(idle, "why", "plain")

    def test_the_newest_was_skipped(self, busy: Host) -> None:
        """Of a job of which nothing waits as its newest run was skipped, that is told first."""
        ctl(busy, "pause", "plain")
        ctl(busy, "run", "plain")
        ctl(busy, "resume", "plain")
        run = busy.call("Describe", job="plain")["runs"][0]
        told = f"no run of plain waits to start; {run['run']} was skipped: paused; nothing makes it due now"
        assert told in ctl(busy, "why", "plain")[1]

    @pytest.mark.parametrize(("name", "kind"), [("nobody", "job"), ("nobody@1", "run"), ("plain@7", "run")])
    def test_nobody(self, idle: Host, name: str, kind: str) -> None:
        """An unknown job or run has no reasons."""
        code, shown, told = ctl(idle, "why", name)
        assert (1, "", True) == (code, shown, told.startswith(f"Error: no such {kind}: {name}"))


class TestEmit:
    def test_runs(self, busy: Host) -> None:
        """Every job that waits for the event is due, whose runs are printed; who emitted it is in their records."""
        assert (0, "hears@1\nhears-too@1\n", "") == ctl(busy, "emit", "deployed")
        assert (0, "hears-too@2\n", "") == ctl(busy, "emit", "other")
        for name, event in (("hears@1", "deployed"), ("hears-too@1", "deployed"), ("hears-too@2", "other")):
            record = busy.wait(name)
            assert ("succeeded", f"event {event}", ME) == (record["state"], record["trigger"], record["asked_by"])

    def test_nobody_waits_for_it(self, busy: Host) -> None:
        """An event that no job waits for is no failure, and that is said, with the nearest; the journal has it."""
        nobody = "no job waits for the event"
        assert (0, "", f"{nobody} deployd; did you mean deployed?\n") == ctl(busy, "emit", "deployd")
        assert (0, "", f"{nobody} unheard-of\n") == ctl(busy, "emit", "unheard-of")
        shown = ctl(busy, "emit", "asleep")
        assert (0, "", "all jobs that wait for the event asleep are disabled: sleeps\n") == shown
        line = busy.said("emitted")[0]
        assert f"event deployd emitted by {ME}: no job waits for it" == line["message"]

    def test_paused(self, busy: Host) -> None:
        """A skipped run is printed, too; its record says why."""
        ctl(busy, "pause", "hears")
        assert (0, "hears@1\nhears-too@1\n", "") == ctl(busy, "emit", "deployed")
        record = busy.wait("hears@1")
        assert ("skipped", "paused", "event deployed") == (record["state"], record["reason"], record["trigger"])

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            ('{"a": }', "line 1, column 7: Expecting value; expected a JSON object"), ("[1]", "found something else"),
            ('{"a": 1, "a": 2}', 'found the key "a" twice'), ('{"a": NaN}', "found NaN, which is not JSON"),
            ('{"a": [1e999]}', 'data["a"][0]: found inf'), ("{" + '"a":{' * 20 + "}" * 21, "more than 16 levels"),
            ('{"a":' * 9999, "expected a JSON object"), ("@nowhere", "cannot read nowhere: No such file"),
            ("@/dev/zero", "found more than 1,048,576 bytes")
        ],
        ids=lambda it: it[:16],
    )  # fmt: skip
    def test_wrong_data(self, idle: Host, data: str, words: str) -> None:
        """What is no object of JSON, or is too much of one, is told with its place, and nothing is emitted."""
        code, shown, told = ctl(idle, "emit", "deployed", "--data", data)
        assert (2, "", True) == (code, shown, words in told), told
        assert [] == idle.said("emitted")

    @pytest.mark.parametrize("event", ["Deployed", "a b"])
    def test_no_name(self, idle: Host, event: str) -> None:
        """A malformed name of an event is an error."""
        code, shown, told = ctl(idle, "emit", event)
        assert (2, "", True) == (code, shown, "expected a name such as" in told)


class TestRun:
    @pytest.mark.parametrize("words", [["run"], ["run", "--wait"]])
    def test_invalid(self, idle: Host, words: list[str]) -> None:
        """A run of a job that can't run is refused with what keeps it from running, which is looked up anew."""
        wait_for(lambda: job(idle, "ghost")["invalid"])
        code, shown, told = ctl(idle, *words, "ghost")
        assert (1, "") == (code, shown)
        why = "was skipped: invalid: no user 'no-such-user' on this host; if you fixed this just now, try again"
        assert f"Error: refused: ghost@1 {why}: the daemon checks it again\n" == told


class TestRerun:
    def test_once_more(self, busy: Host) -> None:
        """A run that has ended is made due once more, as its file says now; the record names it as the trigger."""
        busy.wait(first := busy.run("plain"))
        busy.write("jobs.yaml", "jobs: {plain: {command: echo new}}")
        wait_for(lambda: len(busy.call("List")["jobs"]) == 1)
        assert (0, "plain@2\n", "") == ctl(busy, "rerun", first)
        record = busy.wait("plain@2")
        assert (f"rerun of {first}", ME, "echo new") == (record["trigger"], record["asked_by"], record["command"])
        assert b"new\n" == busy.output("plain@2")

    def test_live(self, busy: Host) -> None:
        """A live one goes on, and the next is a run of its own."""
        first = live(busy, "one")
        assert (0, "one@2\n", "") == ctl(busy, "rerun", first)
        go(busy)
        assert ["succeeded"] * 2 == [busy.wait(name)["state"] for name in (first, "one@2")]

    @pytest.mark.parametrize(("command", "code", "state"), [("true", 0, "succeeded"), ("false", 1, "failed")])
    def test_wait(self, busy: Host, command: str, code: int, state: str) -> None:
        """--wait tells the end of the new run, which decides the exit status."""
        busy.wait(first := busy.run("plain"))
        busy.write("jobs.yaml", f"jobs: {{plain: {{command: '{command}'}}}}")
        wait_for(lambda: len(busy.call("List")["jobs"]) == 1)
        status, shown, told = ctl(busy, "rerun", "--wait", first)
        assert (code, "plain@2\n", True) == (status, shown, told.startswith(f"plain@2 {state} after "))

    def test_refused(self, busy: Host) -> None:
        """A run that never was can't be repeated, nor can one wait for a new one inside a run."""
        code, shown, told = ctl(busy, "rerun", "plain@7")
        assert (1, "", True) == (code, shown, told.startswith("Error: no such run: plain@7"))
        code, shown, told = ctl(busy, "rerun", "--wait", "plain@7", JOBQUEUE_RUN="one@1")
        assert (2, "", True) == (code, shown, "omit --wait" in told)

    def test_removed(self, busy: Host) -> None:
        """A removed job can't be run again."""
        busy.wait(first := busy.run("plain"))
        busy.write("jobs.yaml", "jobs: {}")
        wait_for(lambda: not busy.call("List")["jobs"])
        code, shown, told = ctl(busy, "rerun", first)
        assert (1, "", True) == (code, shown, told.startswith("Error: no such job: plain"))


def job(host: Host, name: str) -> dict[str, Any]:
    """The row of a job in `list`."""
    return next(dict(row) for row in host.call("List")["jobs"] if row["id"] == name)


class TestPause:
    def test_until(self, busy: Host) -> None:
        """A pause ends by itself at the time that was said; what was held then goes on, what came due was skipped."""
        live(busy, "long")
        waiting = busy.run("wants")
        code, shown, said = ctl(busy, "pause", "wants", "--until", "1s")
        assert (0, "") == (code, said)
        assert re.fullmatch(rf"wants is paused until {TIME} \(.*\); to resume: jobqueuectl resume wants\n", shown)
        assert ("Paused", None) == (job(busy, "wants")["status"], job(busy, "wants")["next"])
        assert (1, "", "Error: refused: wants@2 was skipped: paused\n") == ctl(busy, "run", "wants")
        (line,) = busy.said("job_paused")
        assert re.fullmatch(
            rf"wants: paused by {ME} until {TIME}; to resume: jobqueuectl --root {busy.root} resume wants",
            line["message"],
        )
        go(busy)
        assert "succeeded" == busy.wait(waiting)["state"]
        (line,) = busy.said("job_resumed")
        assert "wants: resumed by its --until" == line["message"]

    def test_resumed_and_no_better(self, idle: Host) -> None:
        """Resumed, or not paused at all, a job that something else keeps from starting is told so."""
        file = idle.root / "jobqueue.d" / "jobs.yaml"
        why = f"off is disabled: {file} has `enabled: false`, so the clock and events do not start it\n"
        assert (0, "off was not paused\n", why) == ctl(idle, "resume", "off")
        ctl(idle, "pause", "off")
        assert (0, "off is resumed; runs that were skipped during the pause do not start\n", why) == ctl(
            idle, "resume", "off"
        )
        wait_for(lambda: job(idle, "ghost")["invalid"])
        shown = ctl(idle, "resume", "ghost")
        assert (0, "ghost was not paused\n", "ghost is invalid: no user 'no-such-user' on this host\n") == shown

    def test_resumed_before(self, busy: Host) -> None:
        """Resumed by hand before that time nothing more is told of it; paused again without one it has no end."""
        for words in (["pause", "plain", "--until", "1h"], ["resume", "plain"]):
            code, shown, said = ctl(busy, *words)
            assert (0, True, "") == (code, bool(shown), said)
        assert "succeeded" == busy.wait(busy.run("plain"))["state"]
        ctl(busy, "pause", "plain", "--until", "1h")
        assert re.match(
            rf"until {TIME} \(.+\); to resume: jobqueuectl ", facts(ctl(busy, "show", "plain")[1])["paused"]
        )
        ctl(busy, "pause", "plain")
        assert "none while paused" == facts(ctl(busy, "show", "plain")[1])["next"]
        assert [True, True, False] == [" until " in line["message"] for line in busy.said("job_paused")]

    def test_until_over_a_restart(self, busy: Host) -> None:
        """A pause that has an end keeps it while no daemon is there."""
        ctl(busy, "pause", "plain", "--until", "1s")
        busy.kill()
        busy.start()
        wait_for(lambda: busy.said("job_resumed"))
        assert "succeeded" == busy.wait(busy.run("plain"))["state"]

    @pytest.mark.parametrize(
        ("time", "told"), [("yesterday", "'yesterday' is in the past"), ("x", "'x'; expected 2h or 1d12h (from now)")]
    )
    @pytest.mark.parametrize("words", [["pause", "plain"], ["hold"], ["drain"]], ids=str)
    def test_no_end(self, idle: Host, words: list[str], time: str, told: str) -> None:
        """A time that is not in the future is refused, and nothing is paused or on hold."""
        code, shown, said = ctl(idle, *words, "--until", time)
        assert (2, "", True) == (code, shown, told in said)
        assert (False, None) == (job(idle, "plain")["paused"], idle.call("Status")["held_by"])

    def test_no_job(self, idle: Host) -> None:
        """A job that there is not can't be paused."""
        code, shown, told = ctl(idle, "pause", "nobody", "--until", "1h")
        assert (1, "", True) == (code, shown, told.startswith("Error: no such job: nobody"))


def ended(host: Host, name: str) -> list[dict[str, Any]]:
    """The records of a job's runs that have ended, newest first."""
    return list(host.call("History", job=name, states=["skipped", "succeeded"])["runs"])


class TestSkipNext:
    def test_paused(self, busy: Host) -> None:
        """While its job is paused, no start follows the skipped one, and the pause is named."""
        assert 0 == ctl(busy, "pause", "nightly")[0]
        code, shown, _ = ctl(busy, "skip-next", "nightly")
        assert (0, True) == (code, "; its next start: none while nightly is paused; to undo: " in shown), shown

    def test_printed(self, busy: Host) -> None:
        """When the skipped ones would have started is printed: asked again, one more is skipped."""
        now = datetime.now(UTC)
        two = now.replace(hour=2, minute=0, second=0, microsecond=0)
        first = two if two > now else two + timedelta(days=1)
        for due in (first, first + timedelta(days=1)):
            told = (
                f"nightly does not start at {due:{INSTANT}}; its next start: {due + timedelta(days=1):{INSTANT}} (in "
            )
            code, shown, error = ctl(busy, "skip-next", "nightly")
            assert (0, True, "") == (code, shown.startswith(told), error)
            assert shown.endswith("); to undo: jobqueuectl skip-next --undo nightly\n")
            assert ", because earlier starts will be skipped" in ctl(busy, "why", "nightly")[1]
        (line, _) = busy.said("skips_next")
        assert re.fullmatch(
            rf"nightly: the run due {TIME} will be skipped, as requested by {ME};"
            rf" to undo: jobqueuectl --root {busy.root} skip-next --undo nightly",
            line["message"],
        )

    def test_spread(self, busy: Host) -> None:
        """The printed time of a job with `spread` is that of the start, as in `next`."""
        (start, _) = busy.call("Next", job="daily", count=2)["next"]
        code, shown, _ = ctl(busy, "skip-next", "daily")
        assert (0, [start[:19].replace("T", " ") + " UTC"]) == (code, re.findall("start at (.*?);", shown))

    def test_zone(self, busy: Host) -> None:
        """The instants are in the zone of the job, in which its schedule is written."""
        _, shown, _ = ctl(busy, "skip-next", "tokyo")
        assert 2 == len(re.findall(r" \d{4}-\d\d-\d\d 02:00:00 JST", shown))

    def test_skipped(self, busy: Host) -> None:
        """The next run by the clock is skipped, which its record says; the one after it runs."""
        busy.write("often.yaml", "jobs: {often: {command: 'true', schedule: '* * * * *', seconds: '*', timezone: UTC}}")
        wait_for(lambda: busy.said("run_started"))
        code, shown, _ = ctl(busy, "skip-next", "often")
        (due,) = re.findall("start at (.*?);", shown)
        skip = wait_for(lambda: next((r for r in ended(busy, "often")[1:] if r["state"] == "skipped"), None))
        assert skip is not None
        assert (0, "skip_next", due.strip()) == (code, skip["reason"], skip["due"][:19].replace("T", " ") + " UTC")
        assert ME == skip["asked_by"]
        told = f"skip_next, asked by {pwd.getpwuid(os.getuid()).pw_name}"
        assert told == ctl(busy, "history", "--reason", "skip_next", "often")[1].splitlines()[1][-len(told) :]
        facts = [" ".join(line.split()) for line in ctl(busy, "show", skip["run"])[1].splitlines()]
        assert [True, True] == [fact in facts for fact in (f"reason {told}", "trigger schedule")]

    def test_told_and_undone(self, busy: Host) -> None:
        """A run to be skipped is not the next one; `show` lists it; --undo takes the last of them back."""
        before = busy.call("Next", job="nightly", count=3)["next"]
        two = [re.findall("start at (.*?);", ctl(busy, "skip-next", "nightly")[1])[0] for _ in range(2)]
        assert before[2] == busy.call("Next", job="nightly", count=1)["next"][0]
        assert before[2] == busy.call("Describe", job="nightly")["job"]["next"]
        assert ", ".join(two) == facts(ctl(busy, "show", "nightly")[1])["skip-next"]
        for number in (1, 0):
            code, shown, told = ctl(busy, "skip-next", "--undo", "nightly")
            assert (0, "") == (code, told)
            assert shown.startswith(f"nightly starts at {two[number]} after all; its next start: ")
            assert before[number] == busy.call("Next", job="nightly", count=1)["next"][0]
        code, shown, told = ctl(busy, "skip-next", "--undo", "nightly")
        assert (1, "", True) == (code, shown, "no skip of nightly to undo" in told)
        assert "skip-next" not in facts(ctl(busy, "show", "nightly")[1])
        assert busy.said("skips_not")[0]["message"].endswith(f"is no longer skipped: undone by {ME}")

    @pytest.mark.parametrize(
        ("name", "told"), [("nobody", "no such job: nobody"), ("plain", "plain has no scheduled start")]
    )
    def test_refused(self, idle: Host, name: str, told: str) -> None:
        """A job that the clock does not start can't be skipped."""
        code, shown, said = ctl(idle, "skip-next", name)
        assert (1, "", True) == (code, shown, told in said)


class TestHold:
    def test_hold_and_release(self, busy: Host) -> None:
        """While the host is held live runs go on and nothing new starts, which `status` and `why` tell; then all go."""
        before = live(busy, "one")
        assert (0, ON_HOLD, "") == ctl(busy, "hold")
        waiting = busy.run("plain")
        code, shown, _ = ctl(busy, "status")
        told = facts(shown)
        assert (1, "1 running, 1 waiting, 0 due, 0 retrying") == (code, told["runs"])
        assert f"by {NAME}: nothing new starts; to end it: jobqueuectl release" == told["on hold"]
        first, *_ = reasons(ctl(busy, "why", waiting)[1])
        assert f"the host is on hold by {NAME}: nothing new starts; to end it: jobqueuectl release" == first
        go(busy)
        assert "succeeded" == busy.wait(before)["state"]
        assert [before] == started(busy)
        assert (0, "the host is not on hold: runs start again\n", "") == ctl(busy, "release")
        code, _, refused = ctl(busy, "pause", "*")
        assert (2, True) == (code, "to keep all jobs from starting: jobqueuectl hold" in refused)
        assert "succeeded" == busy.wait(waiting)["state"]
        assert "on hold" not in facts(ctl(busy, "status")[1])

    def test_until(self, busy: Host) -> None:
        """A hold ends by itself at the time that was said, which `status` tells."""
        code, shown, said = ctl(busy, "hold", "--until", "1s")
        assert (0, "") == (code, said)
        assert re.match(rf"the host is on hold until {TIME} \(in .*\): nothing new starts; to end it: ", shown)
        waiting = busy.run("plain")
        held = facts(ctl(busy, "status")[1])["on hold"]
        assert re.fullmatch(rf"by {NAME} until {TIME} \(.+\): nothing new starts; to end it: jobqueuectl release", held)
        assert [] == started(busy)
        assert "succeeded" == busy.wait(waiting)["state"]
        assert None is busy.call("Status")["held_by"]
        (line,) = busy.said("released")
        assert "hold released by its --until: runs start again" == line["message"]

    def test_restart(self, busy: Host) -> None:
        """A hold outlives the daemon, and so does what waits for its end, in its order."""
        ctl(busy, "hold")
        waiting = [busy.run("wants"), busy.run("plain"), busy.run("wants")]
        busy.kill()
        busy.start()
        status = busy.call("Status")
        assert (ME, None, 3) == (status["held_by"], status["held_until"], status["waiting"])
        ctl(busy, "release")
        assert ["succeeded"] * 3 == [busy.wait(name)["state"] for name in waiting]
        assert ["wants@1", "wants@2"] == [name for name in started(busy) if name.startswith("wants")]

    def test_release_of_nothing(self, busy: Host) -> None:
        """Releasing what is not held changes nothing."""
        assert (0, "the host is not on hold: runs start again\n", "") == ctl(busy, "release")
        assert "succeeded" == busy.wait(busy.run("plain"))["state"]


Drain = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def drain(busy: Host) -> Iterator[Drain]:
    """Starts ``jobqueuectl drain``."""
    drains: list[subprocess.Popen[str]] = []

    def start(*options: str) -> subprocess.Popen[str]:
        command = [*PROGRAM, "--root", str(busy.root), "drain", *options]
        process = subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        drains.append(process)
        return process

    yield start
    for process in drains:
        process.kill()
        process.communicate(timeout=DEADLINE)


def line(process: subprocess.Popen[str]) -> str:
    """The next line that it says."""
    assert process.stderr is not None
    return process.stderr.readline()


class TestDrain:
    def test_nothing_live(self, busy: Host) -> None:
        """A drain without live runs returns at once, and nothing new starts."""
        told = "no run is live; the host stays on hold until the next boot, or `jobqueuectl release`\n"
        assert (0, told, "") == ctl(busy, "drain")
        waiting = busy.run("plain")
        assert (ME, "waiting") == (
            busy.call("Status")["held_by"],
            busy.call("Show", run=waiting)["record"]["state"],
        )

    def test_waits(self, busy: Host, drain: Drain) -> None:
        """It names the live runs, and returns when the last has ended; what came due meanwhile still waits."""
        runs = [live(busy, "one"), live(busy, "long")]
        draining = drain()
        assert f"waiting for {', '.join(reversed(runs))}\n" == line(draining)
        waiting = busy.run("plain")
        assert draining.poll() is None
        go(busy)
        stdout, _ = draining.communicate(timeout=DEADLINE)
        assert (0, True) == (draining.returncode, stdout.startswith("no run is live; the host stays on hold until "))
        assert ["succeeded"] * 2 == [busy.wait(name)["state"] for name in runs]
        assert runs == started(busy)
        ctl(busy, "release")
        assert "succeeded" == busy.wait(waiting)["state"]

    @pytest.mark.parametrize("options", [["--until", "1s"], []], ids=str)
    def test_ends_before(self, busy: Host, drain: Drain, options: list[str]) -> None:
        """A hold that ends before the live runs do, by whatever cause, makes the answer no."""
        first = live(busy, "one")
        draining = drain(*options)
        assert f"waiting for {first}\n" == line(draining)
        if not options:
            ctl(busy, "release")
        wait_for(lambda: busy.call("Status")["held_by"] is None)
        go(busy)
        _, told = draining.communicate(timeout=DEADLINE)
        assert (1, True) == (draining.returncode, "the hold ended" in told), told

    def test_interrupted(self, busy: Host, drain: Drain) -> None:
        """When the command is ended, or the daemon is killed, the hold stays, over a restart too."""
        live(busy, "one")
        first, second = drain(), drain("--until", "1h")
        for draining in (first, second):
            assert "waiting for one@1\n" == line(draining)
        first.kill()
        busy.kill()
        _, told = second.communicate(timeout=DEADLINE)
        assert (2, True) == (
            second.returncode,
            told.endswith(f" or the next boot, or `jobqueuectl --root {busy.root} release`\n"),
        )
        busy.start()
        assert ME == busy.call("Status")["held_by"]
        assert "waiting" == busy.call("Show", run=busy.run("plain"))["record"]["state"]

    def test_inside_a_run(self, idle: Host) -> None:
        """A run can't wait for its own end: that is refused, and nothing is held."""
        code, shown, told = ctl(idle, "drain", JOBQUEUE_RUN="one@1")
        assert (2, "", True) == (code, shown, "use `jobqueuectl hold`" in told)
        assert None is idle.call("Status")["held_by"]


def test_is_all_well(busy: Host) -> None:
    """`status` names what fails, is invalid, late, paused or held, and exits 1; others know of it too."""
    assert (0, "yes") == ((shown := ctl(busy, "status"))[0], facts(shown[1])["all is well"])
    busy.write("bad.yaml", "jobs: {bad: {command: 'true', schedule: '0 2 * * *', dependencies: [nobody]}}")
    busy.write("fails.yaml", "jobs: {fails: {command: exit 3}}")
    wait_for(lambda: busy.said("job_invalid"))
    busy.wait(busy.run("fails"))
    ctl(busy, "pause", "nightly", "--until", "3d")
    ctl(busy, "pause", "plain")
    code, shown, _ = ctl(busy, "status")
    told = facts(shown)
    assert (1, "no: 1 job is invalid; 1 job fails") == (code, told["all is well"])
    assert re.fullmatch(rf"fails, since {TIME} \(.*\): exit code 3; see: jobqueuectl show fails@1", told["failing"])
    assert "bad: it depends on job nobody, which does not exist" == told["invalid"]
    assert re.search(rf"^paused +nightly until {TIME} .*; to resume: jobqueuectl resume nightly$", shown, re.M)
    assert re.search(r"^ +plain; to resume: jobqueuectl resume plain$|^paused +plain;", shown, re.M)
    after = datetime.now(UTC) + timedelta(days=3)
    (start, *_) = busy.call("Next", job="nightly", count=3)["next"]
    assert after < datetime.fromisoformat(start)
    assert start == job(busy, "nightly")["next"]
    code, shown, said = ctl(busy, "next", "plain")
    assert (1, "plain is paused; to resume: jobqueuectl resume plain\n", "") == (code, shown, said)
    assert "nightly is paused until" in ctl(busy, "next", "nightly")[2]
    assert "bad is invalid: it depends on job nobody" in ctl(busy, "next", "bad")[2]
    assert "it is paused; to resume: jobqueuectl resume plain" in ctl(busy, "why", "plain")[1]
    ctl(busy, "hold", "--until", "1h")
    for words in (["list"], ["next", "daily"]):
        code, _, said = ctl(busy, *words)
        assert re.match(rf"The host is on hold by {NAME} until {TIME} \(in .*\): nothing new starts; to end it: ", said)
    (reason, *_) = json.loads(ctl(busy, "why", busy.run("hears"), "--json")[1])["runs"][0]["reasons"]
    assert re.fullmatch(
        rf"the host is on hold by {ME}: nothing new starts for .* more; to end it: jobq.* release", reason
    )
    ctl(busy, "drain")
    shown = ctl(busy, "status")[1]
    assert (
        f"by {NAME} until the next boot: nothing new starts; to end it: jobqueuectl release" == facts(shown)["draining"]
    )


def test_late_and_overdue(busy: Host) -> None:
    """`status`, `list`, `why`, `top` and `show` tell of a late run, and of a job that has not succeeded, also of one
    that was removed, until it is forgotten.
    """
    slow = f"command: '{UNTIL_GO}', working_directory: {busy.root}, late: {{after: 1s}}"
    busy.write("late.yaml", f"jobs: {{slow: {{{slow}}}}}")
    busy.write("gone.yaml", "jobs: {gone: {command: 'true', expect: 1s}, stays: {command: 'true', expect: 1s}}")
    wait_for(lambda: len(busy.said("overdue")) == 2, why="both are overdue")
    busy.write("gone.yaml", "jobs: {stays: {command: 'true', expect: 1s}}")
    busy.run("slow")
    wait_for(lambda: busy.said("run_late"), why="it is late")
    code, shown, _ = ctl(busy, "status")
    told = facts(shown)
    assert (1, "no: 1 run is late; 2 jobs are overdue") == (code, told["all is well"])
    due = r"it was due [\d.]+ (s|min)( \d+ s)? ago and has not ended; it should end within 1 s"
    assert re.fullmatch(f"slow@1: {due}", told["late"])
    gone = "it is in no job file; if it was removed on purpose: jobqueuectl forget gone"
    assert re.search(rf"^overdue +gone has not succeeded since {TIME} \(.*\): {gone}$", shown, re.M)
    assert re.search(r"stays has not succeeded since .*: no run of it has ended since$", shown, re.M)
    assert re.fullmatch(due, facts(ctl(busy, "why", "slow@1")[1])["late"])
    assert re.search(r"^slow +Running, late", listed := ctl(busy, "list", "--failed")[1], re.M)
    assert re.search(r"^stays +Idle, overdue", listed, re.M)
    assert "running, late" in ctl(busy, "top", "--once")[1]
    told = facts(ctl(busy, "show", "slow")[1])
    assert ("after 1 s", "1 run") == (told["late"], told["late now"])
    assert facts(ctl(busy, "show", "stays")[1])["overdue"].startswith("no success since ")
    gone = rf"no job file contains gone, which has been overdue since {TIME} \(.*\)"
    gone += "; to stop expecting it: jobqueuectl forget gone\n"
    assert re.fullmatch(gone, ctl(busy, "list", "--failed")[2])
    for words in (["show", "gone"], ["why", "gone"], ["run", "gone"], ["list", "gone"], ["list", "g?ne", "--failed"]):
        code, shown, told_of = ctl(busy, *words)
        assert (1, "", True) == (code, shown, bool(re.fullmatch(f"Error: {gone}", told_of))), (words, told_of)
    assert "" == ctl(busy, "list", "--failed", "stays")[2] == ctl(busy, "list", "--failed", "--tag", "x")[2]
    assert (0, "gone is no longer expected to succeed\n", "") == ctl(busy, "forget", "gone")
    assert (1, True) == ((refused := ctl(busy, "forget", "stays"))[0], "remove `expect` there" in refused[2])
    assert (1, True) == ((refused := ctl(busy, "forget", "gone"))[0], "no such job: gone" in refused[2])
    busy.wait(busy.run("stays"))
    go(busy)
    wait_for(lambda: busy.said("late_over"), why="it is over")
    assert "stays@1 has succeeded" in busy.said("overdue_over")[-1]["message"]


def test_an_overdue_job_is_named_once(
    busy: Host, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line says how long ago, which is another text a moment later."""
    asked = itertools.count(3)
    monkeypatch.setattr(list_command, "removed", lambda _: {"gone": f"gone is overdue since {next(asked)} s ago"})
    with pytest.raises(SystemExit):
        main(["--root", str(busy.root), "list", "--failed", "g?ne"])
    assert "Error: gone is overdue since 3 s ago\n" == capsys.readouterr().err


def test_an_interrupted_wait(busy: Host) -> None:
    """Ctrl-C ends the wait only: it is said that the run goes on, and how to see its result."""
    words = [*PROGRAM, "--root", str(busy.root), "run", "--wait", "one"]
    waiting = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    assert waiting.stdout is not None
    name = waiting.stdout.readline().strip()
    wait_for(lambda: name in started(busy))
    waiting.send_signal(signal.SIGINT)
    _, told = waiting.communicate(timeout=DEADLINE)
    assert (130, f"\n{name} continues; see its result with `jobqueuectl show {name}`\n") == (waiting.returncode, told)
    go(busy)
    assert "succeeded" == busy.wait(name)["state"]


def test_a_submission_in_words(busy: Host) -> None:
    """It has no file; its array and what it awaits are shown in words, many variables by their number."""
    variables = [word for number in range(11) for word in ("-e", f"V{number}={number}")]
    words = ["submit", "--in", "1h", "--array", "1-7:3", "--name", "words", "--key", "k", *variables]
    assert 0 == ctl(busy, *words, "--", "true")[0]
    told = facts(ctl(busy, "show", "host/words")[1])
    assert ("a submission", "indices 1 to 7 in steps of 3; key k") == (told["defined in"], told["submission"])
    assert "11 variables; to see them: --json" == told["environment"]
    assert not {"max waiting", "catch up window"} & told.keys()
    ctl(busy, "withdraw", "host/words")


def test_a_definition_in_the_units_of_job_files(busy: Host) -> None:
    """Limits, resources, escalation and locks are shown as a person would write them, not as the program has them."""
    busy.write(
        "shown.yaml",
        """
jobs:
  shown:
    command: 'true'
    resource_limits: {memory: 512M, cpu: 50%, cpu_time: 1h, tasks: 2000, core: 0, stack: 8M}
    resources: {cpu: 0.01, memory: 1M}
    escalation: {points: 2, every: 10m}
    locks: [{path: /run/lock/x}, {name: tape, mode: shared}, disk]
    failover: [echo, a b]
    max_waiting: none
    environment: {A: '1', B: two words}
    ping: {url: "https://a.example/x", failure: "https://b.example/y", output: false}
    notify: {email: a@example.org, webhook: "http://localhost/x", on: [failure, late], remind: none, from: b@c.de}
""",
    )
    wait_for(lambda: any(one["id"] == "shown" for one in busy.call("List")["jobs"]))
    told = facts(ctl(busy, "show", "shown")[1])
    assert {
        "resource limits": "memory 512 MiB, cpu 0.5, cpu_time 1 h, tasks 2000, core 0, stack 8 MiB",
        "resources": "cpu 0.01, memory 1 MiB", "escalation": "2 points every 10 min",
        "locks": "{path: /run/lock/x, mode: exclusive}, {name: tape, mode: shared}, disk",
        "failover": "[echo, 'a b']", "max waiting": "none", "environment": "{A: '1', B: 'two words'}",
        "ping": "{url: https://a.example/x, failure: https://b.example/y, output: false}",
        "notify": "email a@example.org, webhook http://localhost/x; on failure, late; from b@c.de",
    }.items() <= told.items()  # fmt: skip
