"""jobqueuectl simulate, beside a real daemon and without one."""

from __future__ import annotations

import json
import os
import pwd
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest

from jobqueued.base.instants import DAY, HOUR, SECOND, to_instant, to_text
from jobqueued.ctl.base.client import CallRefused
from jobqueued.ctl.simulate import parallel_futures
from jobqueued.ctl.simulate.parallel_futures import play_in_parallel
from jobqueued.ctl.simulate.past_snapshot import back_then
from jobqueued.ctl.simulate.snapshot import chance
from jobqueued.foresight.durations import DurationSample
from jobqueued.foresight.futures import play
from jobqueued.foresight.story import Story
from jobqueued.model.job import Claim
from jobqueued.settings.paths import Paths
from tests.support import REPO
from tests.support.client import run
from tests.support.futures import a_host
from tests.support.host import Host, wait_for
from tests.support.stranger import as_user, public
from tests.support.users import NEEDS_ROOT, OTHER
from tests.support.world import job


def jobs_file(slow: str = "", following: str = "") -> str:
    """A job file. `slow`, `following`: minutes and hours of two jobs, by default half an hour from now, so
    that neither becomes due during a test.
    """
    half = f"{minute()} *"
    return f"""\
jobs:
  slow: {{command: 'sleep 0.3', schedule: '{slow or half} * * *', locks: [tape]}}
  next: {{command: 'true', schedule: '{following or half} * * *', locks: [tape]}}
  gate: {{command: 'sleep 60', locks: [tape]}}
  held: {{command: 'true', locks: [tape], max_waiting: 5}}
"""


def minute(later: int = 0) -> int:
    """The minute (of any hour) half an hour from now, or some minutes later."""
    return (datetime.now().astimezone().minute + 30 + later) % 60


def simulated(host: Host, *words: str) -> dict[str, Any]:
    """The answer of a simulation."""
    done = run("--root", host.root, "simulate", "--json", *words)
    assert (0, "") == (done.returncode, done.stderr)
    return dict(json.loads(done.stdout))


def of(found: dict[str, Any], job: str) -> dict[str, Any]:
    """What is foreseen of a job."""
    return next(row for row in found["jobs"] if row["job"] == job)


def test_history_and_what_is_live(host: Host) -> None:
    """Run times come from records; what is live and waits goes on; given times count instead; without a daemon all is
    said to begin with nothing."""
    host.write("a.yaml", jobs_file())
    host.start()
    host.wait(host.run("slow"))
    host.run("gate")
    wait_for(lambda: host.call("Status")["running"] == 1)
    host.run("held")
    found = simulated(host, "--for", "1h", "--draws", "1", "--duration", "gate=30m")
    assert found["from_now"]
    assert ["held", "next"] == found["guessed"]
    assert [{"for": "tape", "whose": "gate"}] == [
        {"for": it["for"], "whose": it["whose"]} for it in of(found, "held")["blamed"]
    ]
    assert 1 == of(found, "held")["late"][0]
    later = simulated(host, "--for", "1d", "--draws", "2", "--default-duration", "10s")
    assert [24, 24] == of(later, "slow")["runs"]
    assert {"next", "slow"} >= {row["job"] for row in later["jobs"] if row["late"][1] > 1}
    host.stop()
    users = host.root / "state" / "users"
    users.mkdir()
    (users / "games:5+mine.yaml").write_text("jobs: {mine: {command: 'true', schedule: '*/30 * * * *'}}")
    (users / "games:5+mine.yaml.tmp").write_text("no name of a file of a user's")
    down = simulated(host, "--for", "2h")
    assert not down["from_now"]
    assert [4, 4] == of(down, "games/mine")["runs"]
    chart = host.root / "future"
    simulated(host, "--for", "2h", "--runs", str(chart))
    said = run("--root", host.root, "timeline", "--from", str(chart))
    assert "8 runs of 3 jobs" in said.stdout
    assert "  slow@2 waited 1 min for tape, held by next@2\n" in said.stdout
    unwritten = run("--root", host.root, "simulate", "--runs", str(host.root))
    assert (2, True) == (unwritten.returncode, "is a directory" in unwritten.stderr)
    said = run("--root", host.root, "simulate", "--for", "2h")
    assert "The simulation starts without live and waiting runs, because these are unknown: cannot reach" in said.stdout
    assert run("--root", host.root, "simulate", "--for", "2h").stdout.splitlines()[2:] == said.stdout.splitlines()[2:]


def test_what_waits_for_its_retry(host: Host) -> None:
    """Its next attempt comes when the daemon will start it, and it has no more than that would."""
    host.write("a.yaml", "jobs: {fails: {command: 'exit 1', retries: 2, retry_delay: 1h}}")
    host.start()
    run_id = host.run("fails")
    wait_for(lambda: (host.record(run_id) or {}).get("state") == "retrying")
    chart = host.root / "future"
    for span, state, attempts in (("10m", "retrying", 1), ("90m", "retrying", 2), ("3h", "failed", 3)):
        simulated(host, "--for", span, "--runs", str(chart))
        (told,) = map(json.loads, chart.read_text().splitlines())
        assert (state, attempts) == (told["state"], len(told["attempts"]))
    again = datetime.fromisoformat(told["attempts"][1]["started"])
    assert 3600 <= (again - datetime.fromisoformat(told["attempts"][0]["ended"])).total_seconds() < 4000


def test_a_next_attempt_waits_for_a_lock(host: Host) -> None:
    """The attempts before the wait count as attempts."""
    fails = "fails: {command: 'exit 1', retries: 2, retry_delay: 1h, locks: [tape]}"
    host.write("a.yaml", f"jobs: {{{fails}, holds: {{command: sleep 600, locks: [tape]}}}}")
    host.start()
    run_id = host.run("fails")
    wait_for(lambda: (host.record(run_id) or {}).get("state") == "retrying")
    host.run("holds")
    assert "waiting" == host.call("Retry", run=run_id)["state"]
    chart = host.root / "future"
    simulated(host, "--for", "4h", "--duration", "holds=1m", "--runs", str(chart))
    (told,) = (it for it in map(json.loads, chart.read_text().splitlines()) if it["job"] == "fails")
    assert ("failed", 3) == (told["state"], len(told["attempts"]))


def test_with_other_files(host: Host) -> None:
    """Files that are not installed are compared with today's; one that would be refused is a problem."""
    host.write("a.yaml", jobs_file())
    other = host.root / "new"
    other.mkdir()
    (other / "a.yaml").write_text(jobs_file(following=f"{minute(5)} *"))
    words = ("--for", "5h", "--draws", "1", "--duration", "slow=4m", "--duration", "next=1s", "--with", str(other))
    found = simulated(host, *words)
    assert ([5, 5], [0, 0]) == (found["late"], found["with"]["late"])
    host.write("z.yaml", "jobs: {bad: {schedule: x}}")
    said = run("--root", host.root, "simulate", *words)
    left_out = f"Refused job files are left out; see: jobqueuectl --root {host.root} check\n"
    assert (0, left_out) == (said.returncode, said.stderr)
    (changed,) = [line for line in said.stdout.splitlines() if line.startswith("slow ")]
    assert ["slow", "5", "5", "5", "s", "0", "5", "0", "0", "0"] == changed.split()
    assert ("PEAK, WITH " in said.stdout, "WAITED FOR, WITH" in said.stdout) == (True, False)
    (other / "b.yaml").write_text("jobs: {gate: {command: 'true', schedule: 'bad'}}")
    refused = run("--root", host.root, "simulate", "--with", str(other), "--json")
    assert 1 == refused.returncode
    assert ("", True) == (refused.stdout, "b.yaml" in refused.stderr)


def test_files_in_the_place_of_others(host: Host) -> None:
    """A file without jobs takes all of the one of its name away; what is not read, or not played, is said; a new job
    takes what is given, what an earlier one of its id took, or is named as unknown.
    """
    host.write("a.yaml", jobs_file())
    host.write("b.yaml", "jobs: {gone: {command: 'true', schedule: '0 * * * *'}}")
    host.start()
    host.wait(host.run("gone"))
    host.stop()
    logs = host.root / "logs"
    (logs / "gone").rename(logs / "before")
    record = logs / "before" / "1.json"
    record.write_text(record.read_text().replace('"gone', '"before'))
    other = host.root / "new"
    (other / "a.yaml.d").mkdir(parents=True)
    (other / "a.yaml.d" / "x.yaml").write_text("jobs: {slow: {nice: 3}}")
    (other / "b.yaml").write_text("jobs: {}")
    (other / "c.yaml").write_text("""\
jobs:
  bad: {command: 'true', schedule: '0 * * * *', user: nobodyhere}
  new: {command: 'true', schedule: '0 * * * *'}
  given: {command: 'true', schedule: '0 * * * *', locks: [chair]}
  waits: {command: 'true', schedule: '1 * * * *', locks: [chair]}
  before: {command: 'true', schedule: '0 * * * *'}
""")
    words = ("--root", host.root, "simulate", "--for", "5h", "--with", str(other), "--duration", "given=2m")
    done = run(*words)
    assert 0 == done.returncode
    assert ["gone", "5", "0", "0", "0", "-", "-", "-", "-"] == next(
        line.split() for line in done.stdout.splitlines() if line.startswith("gone ")
    )
    assert "found 'nobodyhere'" in done.stderr
    assert "a.yaml.d" in done.stderr
    found = json.loads(run(*words, "--json").stdout)
    assert {"bad", "before", "given"}.isdisjoint(found["guessed"])
    assert {"new", "waits"} <= {*found["guessed"]}
    assert [5, 5] == of(found["with"], "waits")["late"]


def test_next_under_contention(host: Host) -> None:
    """The next starts are expected when what has the lock usually lets go of it; further ones are not foreseen."""
    host.write("a.yaml", jobs_file("0 *", "1 3"))
    host.start()
    host.wait(host.run("slow"))
    record = host.root / "logs" / "slow" / "1.json"
    document = json.loads(record.read_text())
    long = document["attempts"][0]
    long["started"], long["ended"] = "2026-11-27T00:00:00.000000Z", "2026-11-27T00:05:00.000000Z"
    record.write_text(json.dumps(document))
    done = run("--root", host.root, "next", "next", "--expect", "-n", "2", "--json")
    first, second = json.loads(done.stdout)["expected"]
    assert ({"late": 240.0, "least_late": 240.0, "most_late": 240.0}, None) == (first, second)
    said = run("--root", host.root, "next", "next", "--expect").stdout.splitlines()
    assert said[0].endswith("EXPECTED TO START")
    assert (True, True) == (said[1].endswith("  4 min later"), said[2].endswith("  -"))
    rows = json.loads(run("--root", host.root, "next", "--expect", "--json").stdout)["next"]
    assert {"slow": 0.0, "next": 240.0} == {row["job"]: row["expected"]["late"] for row in rows}
    wrong = run("--root", host.root, "next", "-e", "0 0 * * *", "--expect")
    assert (2, True) == (wrong.returncode, "--expect and --expression can't be combined" in wrong.stderr)


SPREAD = """\
jobs:
  first: {command: 'true', schedule: '@yearly', spread: 30m, locks: [tape]}
  then: {command: 'true', schedule: '@yearly', spread: 30m, locks: [tape]}
"""


def test_next_by_the_forecast_that_is_kept(host: Host) -> None:
    """What `simulate --save` keeps in the state directory is shown for the starts that it has, and no others; one that
    is over is not shown, one that is damaged is said to be."""
    host.write("a.yaml", SPREAD)
    host.start()
    kept = host.root / "state" / "forecast.json"
    asked = ("--root", host.root, "next")
    assert ["SCHEDULED", "IN", "JOB"] == run(*asked).stdout.splitlines()[0].split()
    assert {"job", "at"} == json.loads(run(*asked, "--json").stdout)["next"][0].keys()
    simulated(host, "--save", str(kept), "--duration", "first=1h", "--duration", "then=1h", "--for", "366d")
    by_clock, last = run(*asked).stdout.splitlines()[0], run(*asked).stdout.splitlines()[-1]
    assert ("JOB", True, True, True) == (
        by_clock.split()[-1], "EXPECTED TO START" in by_clock,
        last.startswith("the forecast was made "), last.endswith(f"jobqueuectl --root {host.root} next --expect"),
    )  # fmt: skip
    answer = json.loads(run(*asked, "--json").stdout)
    (sooner, later), forecast = answer["next"], json.loads(kept.read_text())
    assert (forecast["since"], 0.0) == (answer["foreseen"], sooner["expected"]["late"])
    apart = datetime.fromisoformat(later["at"]) - datetime.fromisoformat(sooner["at"])
    assert 3600 - apart.total_seconds() == later["expected"]["late"]
    many = json.loads(run(*asked, "then", "-n", "9", "--json").stdout)["expected"]
    assert (True, None) == (many[0] is not None, many[-1])
    jobs = {name: [[due - 86400, *band] for due, *band in rows] for name, rows in forecast["jobs"].items()}
    kept.write_text(json.dumps({**forecast, "jobs": jobs}))
    assert {"next", "more", "schema"} == json.loads(run(*asked, "--json").stdout).keys()
    kept.write_text("{}")
    done = run(*asked)
    assert (0, True, False) == (done.returncode, "is not a forecast" in done.stderr, "EXPECTED" in done.stdout)


def test_why_with_all_that_comes_due(host: Host) -> None:
    """What goes first and is not due yet is foreseen by the simulation only; a next attempt is told of as ever."""
    begin = datetime.now(UTC).replace(microsecond=0)
    soon = (begin + timedelta(seconds=30)).isoformat()
    host.write("a.yaml", f"""\
jobs:
  gate: {{command: 'sleep 60', locks: [tape], timeout: 1m}}
  first: {{command: 'true', locks: [tape], timeout: 10m, priority: 500, at: '{soon}'}}
  asked: {{command: 'true', locks: [tape]}}
  fails: {{command: 'exit 1', retries: 1, retry_delay: 1h}}
""")  # fmt: skip
    host.start()
    host.run("gate")
    wait_for(lambda: host.call("Status")["running"] == 1)
    asked, failed = host.run("asked"), host.run("fails")
    wait_for(lambda: (host.record(failed) or {}).get("state") == "retrying")
    (why,) = json.loads(run("--root", host.root, "why", "asked", "--expect", "--json").stdout)["runs"]
    instants = [why["expected"], *(why["foreseen"][name] for name in ("expected", "earliest", "latest"))]
    queue, *foreseen = [(datetime.fromisoformat(it) - begin).total_seconds() for it in instants]
    assert 60 <= queue < 90
    assert [True] * 3 == [600 + queue - 2 < it < 600 + queue + 2 for it in foreseen]
    assert "expected start  2" in run("--root", host.root, "why", asked, "--expect").stdout
    assert "foreseen" not in run("--root", host.root, "why", failed, "--expect", "--json").stdout
    both = run("--root", host.root, "why", "asked", "--expect", "--at", "1h")
    assert (2, True) == (both.returncode, "use only one" in both.stderr)
    host.call("Pause", jobs=["first"])
    host.call("Hold")
    assert "not within a day" in run("--root", host.root, "why", asked, "--expect").stdout


def test_wrong_words(host: Host) -> None:
    """What can't be meant is told with what is accepted; what would be ignored is refused."""
    forecast = host.root / "forecast"
    forecast.write_text("{}")
    for words, told in (
        (("--for", "soon"), "found 'soon'; expected a duration such as 30s, 5m, 2h or 1d12h"),
        (("--for", "0s"), "expected a duration that is not 0"),
        (("--duration", "5m"), "expected JOB=DURATION"),
        (("--duration", "nosuch=3h"), "--duration: there is no such job: nosuch"),
        (("--for", "367d"), "expected at most 366 d"),
        (
            ("--backtest", "8m", "--draws", "3", "--save", str(host.root / "x")),
            "--backtest and --draws, --save can't be combined",
        ),
        (("--check", str(forecast), "--suggest"), "--check and --suggest can't be combined"),
        (("--check", str(forecast), "--backtest", "1m"), "can't be combined"),
    ):
        done = run("--root", host.root, "simulate", *words)
        assert (2, True) == (done.returncode, told in done.stderr), done
    assert not (host.root / "x").exists()


SECONDLY = "jobs:\n  tick: {command: 'true', schedule: '* * * * *', seconds: '*'}\n"


def test_a_forecast_is_compared_with_what_has_come(host: Host) -> None:
    """What starts when it was foreseen is counted as that; where the past is changed in the records, that is seen."""
    host.write("a.yaml", SECONDLY)
    host.start()
    file = host.root / "forecast.json"
    logs = host.root / "logs" / "tick"
    wait_for(lambda: list(logs.glob("*.json")), why="a run that tells how long it takes")
    simulated(host, "--for", "1m", "--save", str(file))
    before = len(list(logs.glob("*.json")))
    wait_for(lambda: len(list(logs.glob("*.json"))) >= before + 4, why="4 runs")
    host.stop()
    found = simulated(host, "--check", str(file))
    assert (True, True, 39) == (found["exact"], found["within"], found["draws"])
    assert 3 <= found["compared"] == found["inside"] <= found["foreseen"]
    said = run("--root", host.root, "simulate", "--check", str(file))
    assert (0, True) == (said.returncode, "(100.0%)" in said.stdout), said
    document = json.loads(file.read_text())
    document["jobs"]["tick"] = [[due, 5000, 5000, 5000] for due, *_ in document["jobs"]["tick"]]
    file.write_text(json.dumps(document))
    off = run("--root", host.root, "simulate", "--json", "--check", str(file))
    assert 1 == off.returncode
    assert (False, False, 0) == tuple(json.loads(off.stdout)[name] for name in ("exact", "within", "inside"))
    whole = {"version": 1, "since": "2026-11-27T00:00:00Z", "until": "2026-11-28T00:00:00Z", "draws": 5, "jobs": {}}
    odd = [
        {"draws": float("inf")}, {"since": "0001-01-01T00:00:00Z"}, {"until": "9999-12-31T23:59:59Z"},
        {"jobs": {"tick": [[float("inf"), 0, 0, 0]]}}, {"jobs": {"tick": [[0, 0, 0, 10**400]]}},
        {"jobs": {"\0": [[0, 0, 0, 0]]}}, {"jobs": {"..": [[0, 0, 0, 0]]}}, {"jobs": {"tick": [[0, 0, 0, "1"]]}},
    ]  # fmt: skip
    wrongs = [(json.dumps(whole | it), "is not a forecast") for it in odd]
    for text, told in (*wrongs, ("{}", "is not a forecast"), ('{"version": 0}', "from another version")):
        file.write_text(text)
        wrong = run("--root", host.root, "simulate", "--check", str(file))
        assert (1, True) == (wrong.returncode, told in wrong.stderr), (text, wrong)
    file.write_text(json.dumps(whole))
    assert "nothing to compare" in run("--root", host.root, "simulate", "--check", str(file)).stdout


def aged(path: Path, hours: int) -> None:
    """Let a forecast be of so many hours earlier."""
    document = json.loads(path.read_text())
    for name in ("since", "until"):
        document[name] = (datetime.fromisoformat(document[name]) - timedelta(hours=hours)).isoformat()
    path.write_text(json.dumps(document))


def test_the_forecast_of_yesterday_is_kept(host: Host) -> None:
    """The job of the package keeps a forecast each day, and that of the day before, which `--check` alone compares; one
    that is made anew on the same day leaves yesterday's as it is.
    """
    state, program = host.root / "state", host.root / "jobqueuectl"
    today, yesterday = state / "forecast.json", state / "forecast-before.json"
    where = f"import os, sys; os.environ['JOBQUEUE_ROOT'] = {str(host.root)!r}; sys.path.insert(0, {str(REPO)!r})"
    program.write_text(f"#!{sys.executable}\n{where}; from jobqueued.ctl.main import main; main()\n")
    program.chmod(0o755)
    packaged = (REPO / "packaging" / "jobqueued-forecast.yaml").read_text()
    packaged = packaged.replace("    nice: 19\n    ionice: idle\n", "")  # nobody waits for it but a test
    host.write(
        "a.yaml", packaged.replace("/usr/bin/jobqueuectl", str(program)) + "  tick: {command: 'true', every: 1m}\n"
    )
    host.start()

    def kept() -> dict[str, Any]:
        name = host.run("jobqueued-forecast")
        assert (name, "succeeded") == (name, host.wait(name)["state"]), host.output(name)
        return dict(json.loads(today.read_text()))

    def checked() -> str:
        return str(json.loads(run("--root", host.root, "simulate", "--check", "--json").stdout)["since"])

    none = run("--root", host.root, "simulate", "--check")
    assert (1, True) == (none.returncode, "no forecast was saved" in none.stderr), none
    first = kept()
    assert (39, first["since"], False) == (first["draws"], checked(), yesterday.exists())
    second = kept()
    assert (True, second["since"], False) == (first["since"] < second["since"], checked(), yesterday.exists())
    for name in ("since", "until"):
        second[name] = to_text(to_instant(datetime.fromisoformat(second[name])) - 13 * HOUR)
    today.write_text(json.dumps(second))
    third, fourth = kept(), kept()
    assert (True, second, second["since"]) == (
        third["since"] < fourth["since"],
        json.loads(yesterday.read_text()),
        checked(),
    )
    assert fourth["since"] == json.loads(run("--root", host.root, "next", "--json").stdout)["foreseen"]
    alone = run("--root", host.root, "simulate", "--keep", "--duration", "tick=3s")
    assert (2, True) == (alone.returncode, "--keep and --duration can't be combined" in alone.stderr), alone


TURNS = """\
jobs:
  slow: {command: 'sleep 0.7', schedule: '* * * * *', seconds: '*/2', locks: [tape], priority: 9}
  next: {command: 'true', schedule: '* * * * *', seconds: '*/2', locks: [tape]}
"""


def lived(host: Host, runs: int) -> Path:
    """The records of a host on which the second job has waited for the first, so often at least."""
    host.write("a.yaml", TURNS)
    host.start()
    logs = host.root / "logs"
    wait_for(lambda: len(list(logs.glob("next/*.json"))) >= runs, why=f"{runs} runs")
    host.stop()
    return logs


def test_a_forecast_is_made_of_the_past(host: Host) -> None:
    """Foreseen from the middle of a run on, by what was known then: who waits for it starts when it has ended."""
    logs = lived(host, 6)
    record = json.loads((logs / "slow" / "3.json").read_text())
    began, ended = (datetime.fromisoformat(record["attempts"][0][name]) for name in ("started", "ended"))
    middle = (began + (ended - began) / 2).isoformat()
    found = run("--root", host.root, "simulate", "--backtest", middle, "--json")
    answer = json.loads(found.stdout)
    assert (0, True, 39) == (found.returncode, answer["exact"], answer["draws"])
    jobs = {row["job"]: row for row in answer["jobs"]}
    assert 4 <= jobs["next"]["compared"] == jobs["next"]["inside"]


def test_what_was_live_holds_what_it_held(host: Host) -> None:
    """The run that lives at that instant keeps the lock as long as it may: nothing else is foreseen meanwhile."""
    logs = lived(host, 2)
    first = json.loads((logs / "slow" / "1.json").read_text())["attempts"][0]["started"]
    at = to_instant(datetime.fromisoformat(first)) + SECOND // 4
    then = back_then(Paths.under(host.root), at, None)
    assert [("slow@1", "running", [":host", "tape"])] == [
        (str(it.id), it.state.value, [claim.resource for claim in it.claims]) for it in then.runs if it.started
    ]
    assert ["next@1"] == [str(it.id) for it in then.runs if it.started is None]
    assert [] == list(then.durations.known["slow"]), "its end was not known yet"


def test_draws_on_all_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same comes of it as of one process, in the same order; the first keeps its story, and progress ends at 1."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    monkeypatch.setattr(parallel_futures, "_WORTH_IT", 0)
    locks = (Claim("tape", exclusive=True),)
    jobs = [job(f"j{n}", f"{n} * * * *", locks=locks if n % 3 else ()) for n in range(20)]
    host = a_host(*jobs, seconds={each.id: [DurationSample(n * SECOND) for n in range(1, 300)] for each in jobs})
    until, chances = host.begin + DAY, [chance(7, number) for number in range(5)]
    story, told = Story(), list[float]()
    found = play_in_parallel(host, until, chances, told.append, keeps_starts=True, first=story)
    alone = play(host, until, chances, keeps_starts=True)
    assert [{name: list(it.starts) for name, it in one.jobs.items()} for one in alone[1:]] == [
        {name: list(it.starts) for name, it in one.jobs.items()} for one in found[1:]
    ]
    assert [(one.runs, one.waited, one.most_live) for one in alone] == [
        (one.runs, one.waited, one.most_live) for one in found
    ]
    assert isinstance(found[0], Story)
    assert alone[0].runs == sum("started" in it for it in found[0].records(until))
    assert (0, 1.0, []) == (len(list(story.records(until))), told[-1], active_children())


def test_a_process_that_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one does not come to its end, nothing is made of what the others found."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    parent = os.getpid()

    def dies(_name: str) -> Callable[[], float]:
        return os.abort() if os.getpid() != parent else lambda: 0.5  # type: ignore[return-value]

    host = a_host(*(job(f"j{n}", f"{n} * * * *") for n in range(50)))
    with pytest.raises(CallRefused, match="draws was killed"):
        play_in_parallel(host, host.begin + 3 * DAY, [dies, chance(7, 1)])
    assert [] == active_children()


@NEEDS_ROOT
def test_who_may_not_know() -> None:
    """To whom nothing is told of live runs and records, that is said, and what needs records is refused."""
    with public() as directory:
        host = Host(directory / "host")
        host.root.chmod(0o755)
        host.write("a.yaml", jobs_file())
        try:
            host.start()
            host.wait(host.run("slow"))
            host.run("gate")
            wait_for(lambda: host.call("Status")["running"] == 1)

            def asked(*words: str) -> list[Any]:
                done = run("--root", host.root, "simulate", *words)
                return [done.returncode, done.stdout, done.stderr]

            uid = pwd.getpwnam(OTHER).pw_uid
            status, said, _ = as_user(uid, lambda: asked("--for", "1h"))
            assert 0 == status
            assert "because these are unknown: permission denied; run this as root" in said
            assert "All durations are guesses, because the records can't be read" in said
            assert "logs can't be read: permission denied; run this as root" in said
            found = json.loads(as_user(uid, lambda: asked("--for", "1h", "--json"))[1])
            assert (False, True) == (found["from_now"], "permission denied" in found["unread"])
            forecast = directory / "forecast"
            assert 0 == asked("--save", str(forecast))[0]
            forecast.chmod(0o644)
            for words in (("--backtest", "1m"), ("--check", str(forecast))):
                status, _, told = as_user(uid, lambda words=words: asked(*words))
                assert (1, True) == (status, "logs can't be read: permission denied; run this as root" in told), told
        finally:
            host.close()
