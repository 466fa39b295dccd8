"""jobqueuectl next."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.support.answers import (
    JOB,
    Daemon,
)
from tests.support.client import run
from tests.support.host import Host

CLEAN = "jobs:\n  a:\n    command: 'true'\n    schedule: '0 2 * * *'\n  b:\n    command: 'true'\n"


class TestNext:
    def test_all(self, host: Host) -> None:
        """Without a job, the next start of each, the soonest first; while the daemon is down, by the files."""
        host.write(
            "a.yaml", "jobs: {b: {command: x, schedule: '@hourly'}, a: {command: x, every: 365d}, c: {command: x}}"
        )
        host.start()
        told = [run("--root", host.root, "next", *words) for words in ([], ["-n", "1"], ["--json"])]
        host.stop()
        told.append(run("--root", host.root, "next"))
        assert [0] * 4 == [one.returncode for one in told]
        for one in (told[0], told[3]):
            assert ["JOB", "b", "a"] == [line.split()[-1] for line in one.stdout.splitlines()]
        assert (
            f"and 1 other job; all of them: jobqueuectl --root {host.root} next -n 2" == told[1].stdout.splitlines()[-1]
        )
        assert ["b", "a"] == [it["job"] for it in json.loads(told[2].stdout)["next"]]
        host.write("a.yaml", "jobs: {c: {command: x}}")
        nothing = run("--root", host.root, "next")
        assert (1, "no job has a scheduled start\n") == (nothing.returncode, nothing.stdout)

    def test_expression(self) -> None:
        """The next times of an expression in a zone, exactly in JSON."""
        answer = json.loads(run("next", "-e", "0 2 * * *", "-z", "Europe/Berlin", "-n", 400, "--json").stdout)
        times = [datetime.fromisoformat(text).astimezone(ZoneInfo("Europe/Berlin")) for text in answer["next"]]
        assert (400, "Europe/Berlin") == (len(times), answer["timezone"])
        assert ({2, 3}, times) == ({time.hour for time in times}, sorted(set(times)))

    def test_table(self) -> None:
        """For people in the zone that was asked for, with its name, and how far away."""
        lines = run("next", "-e", "0 2 * * *", "-z", "Asia/Tokyo", "--seconds", "30", "-n", "2").stdout.splitlines()
        assert 3 == len(lines)
        assert re.fullmatch(r"\w{3} \d{4}-\d\d-\d\d 02:00:30 JST +in .*", lines[1].rstrip())

    @pytest.mark.parametrize(
        ("arguments", "code", "told"),
        [
            (["-e", "61 * * * *"], 1, "minute: found `61`: write 0 to 59"),
            (["-e", "* * * * *", "-z", "Mars"], 1, "timezone: found 'Mars'"),
            (["-e", "* * * * *", "--dst", "x"], 1, "dst: found `x`"),
            (["-e", "* * * * *", "--seconds", "61"], 1, "seconds: found `61`"),
            (["-e", "H * * * *"], 2, "the value of `H` depends on the job"),
            (["-e", "@reboot"], 1, ""),
            (["job", "-z", "UTC"], 2, "work only with --expression"),
            (["-n", "0", "-e", "* * * * *"], 2, "--count"),
        ],
    )
    def test_refused(self, arguments: list[str], code: int, told: str) -> None:
        """A wrong question is refused with the reason."""
        shown = run("next", *arguments)
        assert (code, True) == (shown.returncode, told in shown.stderr)

    def test_drawn(self) -> None:
        """With a job's name its `H` are drawn, always the same."""
        asked = ("next", "job-a", "-e", "H H * * *", "-n", "3", "--json")
        first, again = run(*asked), run(*asked)
        assert (0, first.stdout) == (again.returncode, again.stdout)
        assert run("next", "job-b", *asked[2:]).stdout != first.stdout

    def test_daemon(self, daemon: Daemon, tmp_path: Path) -> None:
        """A job's times come from the daemon."""
        daemon.answers("Next", {"timezone": "UTC", "next": ["2100-01-01T01:00:00.000000Z"]})
        shown = run("--root", tmp_path, "next", "nightly-backup")
        assert ("Fri 2100-01-01 01:00:00 UTC" in shown.stdout, "") == (True, shown.stderr)

    def test_a_clock_that_was_set_back(self, daemon: Daemon, tmp_path: Path) -> None:
        """Beside the times it is told that those before them are not due again."""
        starts = {"timezone": "UTC", "next": ["2100-01-01T01:00:00.000000Z"], "set_back_until": JOB["last_run"]}
        daemon.answers("Next", starts)
        told = run("--root", tmp_path, "next", "a").stderr
        assert re.fullmatch("a: fixed times until 2026-11-2.* were handled before the clock was set back\n", told)

    def test_no_daemon(self, tmp_path: Path) -> None:
        """While the daemon is down its job files are read."""
        (tmp_path / "jobqueue.d").mkdir()
        (tmp_path / "jobqueue.d" / "a.yaml").write_text(CLEAN)
        answer = json.loads(run("--root", tmp_path, "next", "a", "-n", "2", "--json").stdout)
        assert 2 == len(answer["next"])
        assert "They do not show pauses, " in run("--root", tmp_path, "next", "a").stderr
        assert 1 == run("--root", tmp_path, "next", "b").returncode
        shown = run("--root", tmp_path, "next", "c")
        assert (2, True) == (shown.returncode, "No job c in " in shown.stderr)
