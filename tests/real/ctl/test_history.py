"""jobqueuectl history: runs by what their records tell, and figures of jobs."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobqueued.base.instants import HOUR, SECOND, to_text
from jobqueued.child.contract.documents import Record
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.past import chosen_runs
from tests.support.answers import NASTY, Daemon
from tests.support.client import harmful, run
from tests.support.host import Host, wait_for
from tests.support.records import NOW, a_record, write

_PAST = NOW - 90_000_000 * SECOND


def past(number: int, state: str = "succeeded", job: str = "job", took: float = 2, **fields: Any) -> Record:
    """A record of a run that took so long, an hour for each number after an instant that is over."""
    begin = _PAST + number * 3600 * SECOND
    document = a_record(number, state, job)
    times = {"due": begin, "queued": begin, "started": begin, "ended": begin + round(took * SECOND)}
    told = {name: to_text(instant) for name, instant in times.items() if document[name]}  # type: ignore[literal-required]
    return {**document, **told, **fields}  # type: ignore[typeddict-item]


LATER = to_text(_PAST + 99 * HOUR)
RECORDS = [
    past(1, tags=["nightly", "db"], user="backup"),
    past(2, "failed", tags=["nightly"], reason="exit code 3", exit_code=3, command="exit 3", given_up=LATER),
    past(3, job="other", tags=["db"], owner={"uid": 1000, "name": "alice"}),
    past(4, "failed", "other", reason="start_failed: No such file", exit_code=None),
    past(5, "skipped", reason="missed", given_up=LATER),
    past(6, took=100),
    *(past(number) for number in range(7, 12)),
]
QUESTIONS: list[tuple[list[str], set[str]]] = [
    (["--tag", "nightly"], {"job@1", "job@2"}),
    (["--tag", "nightly", "--tag", "db"], {"job@1"}),
    (["--of-user", "backup"], {"job@1"}),
    (["--of-user", pwd.getpwuid(os.geteuid()).pw_name], {"job@2"}),
    (["--of-user", "alice"], {"other@3"}),
    (["--reason", "NO SUCH"], {"other@4"}),
    (["--ended-since", LATER, "--until", past(6)["queued"]], {"job@2", "job@5"}),
    (["--exit-code", "3"], {"job@2"}),
    (["--exit-code", "3", "--exit-code", "0", "--tag", "nightly"], {"job@1", "job@2"}),
    (["--longer-than", "1m"], {"job@6"}),
    (["--longer-than", "usual"], {"job@6"}),
    (["--longer-than", "usual", "--failed"], set()),
    (["other", "--reason", "exit"], set()),
]


@pytest.fixture
def down(tmp_path: Path) -> Path:
    """The records of some runs, whose daemon is down."""
    for document in RECORDS:
        (tmp_path / "logs" / document["job"]).mkdir(parents=True, exist_ok=True)
        write(tmp_path / "logs", document)
    return tmp_path


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Path]:
    """A daemon with the same runs, which gives two of them a page."""
    daemon = Daemon(tmp_path / "run")
    daemon.methods["History"] = page
    yield tmp_path
    daemon.close()


def page(asked: Message) -> Message:
    """Two runs, as the daemon answers."""
    states, begin = asked.get("states"), int(asked.get("before") or 0)
    newest = sorted(RECORDS, key=lambda it: it["queued"], reverse=True)
    of_job = [it for it in newest if asked.get("job") in (None, it["job"]) and it["state"] in (states or it["state"])]
    following = begin + 2
    return {"runs": of_job[begin:following], "next": str(following) if following < len(of_job) else None}


class TestChoice:
    @pytest.mark.parametrize(("options", "expected"), QUESTIONS, ids=lambda it: " ".join(sorted(it)))
    @pytest.mark.parametrize("there", ["up", "down"])
    def test_what_is_asked_for(
        self, there: str, options: list[str], expected: set[str], request: pytest.FixtureRequest
    ) -> None:
        """The runs that have all that is asked for are listed, of the daemon's pages as of files."""
        shown = run("--root", request.getfixturevalue(there), "history", "--json", *options)
        assert expected == {each["run"] for each in json.loads(shown.stdout)["runs"]}, shown.stderr

    def test_only_so_many_are_looked_through(self, up: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A search ends after so many records, and says so, and how it goes on."""
        monkeypatch.setattr(chosen_runs, "MOST_LOOKED_AT", 3)
        shown = run("--root", up, "history", "--tag", "nightly")
        assert (0, "no such runs\n") == (shown.returncode, shown.stdout)
        assert "Only the newest 3 runs were searched" in shown.stderr
        assert f"--until {RECORDS[7]['queued']}" in shown.stderr

    def test_nonsense(self, down: Path) -> None:
        """A duration that is none is refused, with what is accepted."""
        shown = run("--root", down, "history", "--longer-than", "long")
        assert (2, True) == (shown.returncode, "expected a duration" in shown.stderr)


class TestStats:
    @pytest.mark.parametrize("there", ["up", "down"])
    def test_figures(self, there: str, request: pytest.FixtureRequest) -> None:
        """Of each job there is how many runs ended, how many well, their durations, and the skips apart."""
        shown = run("--root", request.getfixturevalue(there), "history", "--stats", "--json")
        job, other = json.loads(shown.stdout)["jobs"]
        assert ("job", 8, 7, 1, 2.0, 100.0) == tuple(
            job[it] for it in ("job", "runs", "succeeded", "skipped", "p50", "p95")
        )
        assert (7 / 8, None, None) == (job["success_rate"], job["trend"], job["cpu_hours"])
        assert ("other", 2, 0.5) == (other["job"], other["runs"], other["success_rate"])

    def test_table(self, down: Path) -> None:
        """A person gets a line for each job."""
        lines = run("--root", down, "history", "--stats").stdout.splitlines()
        assert ["job", "8", "87.5%", "2 s", "1 min 40 s", "-", "-", "1"] == _cells(lines[1])[:8]
        assert 3 == len(lines)

    def test_trend_and_cost(self, tmp_path: Path) -> None:
        """What becomes slower is told with both medians; CPU time counts all attempts, of failed runs, too."""
        (tmp_path / "logs" / "job").mkdir(parents=True)
        for number in range(1, 13):
            used = {"cpu_user": 900.0, "cpu_system": 900.0}
            attempts = [{**attempt, **used} for attempt in a_record(number, attempts=2)["attempts"]]
            write(tmp_path / "logs", past(number, took=10 if number <= 8 else 30, attempts=attempts))
        (last,) = a_record(13, "failed")["attempts"]
        write(tmp_path / "logs", past(13, "failed", attempts=[{**last, "cpu_user": 3600.0, "cpu_system": None}]))
        shown = run("--root", tmp_path, "history", "--stats").stdout.splitlines()
        assert ["job", "13", "92.3%", "10 s", "30 s", "slower: 10 s → 30 s", "13.00", "0"] == _cells(shown[1])[:8]
        told = json.loads(run("--root", tmp_path, "history", "--stats", "--json").stdout)["jobs"][0]
        assert ({"word": "slower", "before": 10.0, "now": 30.0}, 13.0) == (told["trend"], told["cpu_hours"])

    def test_none(self, down: Path) -> None:
        """Without such runs there are no figures."""
        assert "no such runs\n" == run("--root", down, "history", "--stats", "--tag", "no").stdout


def test_hostile_words(tmp_path: Path) -> None:
    """Nothing that a record has reaches the terminal as it is."""
    (tmp_path / "logs" / "job").mkdir(parents=True)
    write(tmp_path / "logs", past(1, "failed", reason=NASTY, tags=[NASTY], user=NASTY))
    for options in (["--reason", "owned"], ["--stats"], ["--json"]):
        assert not harmful(run("--root", tmp_path, "history", *options).stdout)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


class TestDiff:
    def test_two_runs(self, host: Host) -> None:
        """What differs is told: key and variable of the definition, figures, state, and the lines of the output."""
        text = "jobs: {{a: {{command: {0}, environment: {{TIER: {1}, SAME: x}}, timeout: {2}}}}}"
        host.write("a.yaml", text.format("'echo same; echo one; exit 3'", "blue", "1h"))
        host.start()
        host.wait(host.run("a"))
        host.write("a.yaml", text.format("'echo same; echo two'", "green", "2h"))
        wait_for(lambda: len(host.said("jobs_read")) == 2)
        host.wait(host.run("a"))
        for _ in ("with the daemon", "without"):
            told = json.loads(run("--root", host.root, "history", "--diff", "a@1", "a@2", "--json").stdout)
            found = {each["what"]: (each["first"], each["second"]) for each in told["differences"]}
            expected = {
                "state": ("failed", "succeeded"), "exit_code": (3, 0), "reason": ("exit code 3", None),
                "environment TIER": ("blue", "green"), "timeout": (3600.0, 7200.0),
                "command": ("echo same; echo one; exit 3", "echo same; echo two"),
            }  # fmt: skip
            assert expected == {name: found.get(name) for name in expected}
            assert not {"environment SAME", "job", "user"} & found.keys()
            assert (["--- a@1", "+++ a@2"], []) == (told["output"][:2], told["unknown"])
            assert {"-one", "+two", " same"} < set(told["output"])
            if host.daemon_ended():
                break
            host.stop()
        shown = run("--root", host.root, "history", "--diff", "a@1", "a@2").stdout
        assert ["environment TIER", "\n-one\n+two\n"] == [
            it for it in ("environment TIER", "\n-one\n+two\n") if it in shown
        ]

    def test_the_same(self, down: Path) -> None:
        """Of runs that do not differ that is said; what job files had then is not known here, and said so."""
        shown = run("--root", down, "history", "--diff", "job@7", "job@8").stdout
        assert "job@7 and job@8 do not differ in any recorded detail" in shown
        assert "unknown: the rest of the definitions and environments" in shown

    def test_no_such_run(self, down: Path) -> None:
        """A run without a record is an error, as is anything that is to choose others."""
        assert 2 == run("--root", down, "history", "--diff", "job@7", "job@99").returncode
        assert 2 == run("--root", down, "history", "--diff", "job@7", "nonsense").returncode
        assert 2 == run("--root", down, "history", "job", "--diff", "job@7", "job@8").returncode

    def test_figures_that_read_alike(self, tmp_path: Path) -> None:
        """A difference that is none to a reader is left out."""
        (tmp_path / "logs" / "job").mkdir(parents=True)
        for number, cpu in ((1, 0.0006), (2, 0.0014)):
            attempts = [{**it, "cpu_user": cpu, "cpu_system": 0.0} for it in a_record(number)["attempts"]]
            write(tmp_path / "logs", past(number, attempts=attempts))
        assert "cpu" not in run("--root", tmp_path, "history", "--diff", "job@1", "job@2").stdout

    def test_hostile_and_huge(self, tmp_path: Path) -> None:
        """Of huge outputs the end is compared, which is said, and nothing harmful is printed."""
        directory = tmp_path / "logs" / "job"
        directory.mkdir(parents=True)
        for number in (1, 2):
            output = {"file": str(directory / f"{number}.log"), "bytes": 4 << 20, "dropped": 0, "tail": NASTY}
            write(tmp_path / "logs", past(number, reason=f"{NASTY}{number}", output=output))
            lines = (f"{line} \x1b[31m{number if line % 1000 == 0 else ''}\r\n" for line in range(300_000))
            (directory / f"{number}.log").write_text("".join(lines))
        shown = run("--root", tmp_path, "history", "--diff", "job@1", "job@2")
        assert (0, set()) == (shown.returncode, harmful(shown.stdout))
        assert "unknown: output of job@1 before its last 2,000 lines" in shown.stdout
        assert r"-299000 \x1b[31m1\r" in shown.stdout
        assert len(shown.stdout.splitlines()) < 250
