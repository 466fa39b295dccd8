"""Rhythms: what is told of rare starts, clock changes, crowds, runs that are too long, locks that are never free."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.base.instants import HOUR, MINUTE, to_instant
from jobqueued.ctl.files.rhythms import ENOUGH, MANY, rhythms, usual_times
from jobqueued.jobfile.reader import read_jobs
from jobqueued.settings.paths import Paths
from jobqueued.timing.clock_changes import next_changes
from tests.support.records import a_record

NOW = to_instant(datetime(2026, 11, 27, 6, tzinfo=UTC))


def told(text: str, took: Mapping[str, int] | None = None) -> list[tuple[str, str, str]]:
    """The code, the job and the message of each finding about a job file."""
    jobs, problems = read_jobs(text.encode(), "f")
    assert ([], True) == (problems, bool(jobs))
    return [(found.code, found.job, found.message) for found in rhythms(jobs, NOW, (took or {}).get)]


def of_job(keys: str, took: int | None = None) -> list[str]:
    """The messages about one job."""
    found = told(f"jobs: {{a: {{command: x, {keys}}}}}", {} if took is None else {"a": took})
    return [f"{code} {message}" for code, _, message in found]


class TestRarely:
    def test_once_in_four_years(self) -> None:
        """The next two starts are named."""
        assert [
            "JQ303 found rare starts: 2028-02-29 02:00:00 UTC, then 2032-02-29 02:00:00 UTC; "
            "keep them if they are intended, or choose another day"
        ] == of_job("schedule: '0 2 29 2 *'")

    def test_the_next_is_near(self) -> None:
        """It is rare all the same, if the one behind it is far."""
        assert ["JQ303"] == [message[:5] for message in of_job("schedule: '0 2 * 2 sun#5'")]

    @pytest.mark.parametrize("keys", [
        "schedule: '0 2 1 1 *'", "schedule: ['0 2 29 2 *', '0 2 * * *']", "schedule: '0 2 29 2 *', on: boot",
        "schedule: '@reboot'", "every: 365d", "at: '2031-01-01T00:00'", "schedule: '0 2 29 2 *', enabled: false",
    ])  # fmt: skip
    def test_yearly_is_not_rare(self, keys: str) -> None:
        """Nor is what has another trigger, or is to start once, or never."""
        assert [] == of_job(keys)


class TestClockChanges:
    def test_a_fixed_time(self) -> None:
        """The dates of the next two changes, and what becomes of the run."""
        assert [
            "JQ306 found `30 2 * * *` in Europe/Berlin: 02:30 does not exist on 2027-03-28, and the job starts at "
            "03:00; 02:30 occurs twice on 2027-10-31, and the job starts the first time only (dst: cron)"
        ] == of_job("schedule: '30 2 * * *', timezone: Europe/Berlin")

    @pytest.mark.parametrize(("keys", "words"), [
        ("dst: both", ["the job starts at 03:00", "both times"]),
        ("dst: skip", ["does not start", "the first time only"]),
        ("dst: once", ["the job starts at 03:00", "the first time only"]),
    ])  # fmt: skip
    def test_another_rule(self, keys: str, words: list[str]) -> None:
        """What happens is by the rule of the job."""
        (message,) = of_job(f"schedule: '30 2 * * *', timezone: Europe/Berlin, {keys}")
        assert [] == [word for word in words if word not in message]

    def test_the_daemon_does_as_is_told(self) -> None:
        """The starts around both changes are those that the note says."""
        jobs, _ = read_jobs(b"jobs: {a: {command: x, schedule: '30 2 * * *', timezone: Europe/Berlin}}", "f")
        zone, starts = ZoneInfo("Europe/Berlin"), jobs[0].next_starts(NOW, 400)
        days = [datetime.fromtimestamp(start / 1e9, zone).isoformat() for start in starts]
        assert ["2027-03-28T03:00:00+02:00"] == [day for day in days if day.startswith("2027-03-28")]
        assert ["2027-10-31T02:30:00+02:00"] == [day for day in days if day.startswith("2027-10-31")]

    @given(
        st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "UTC"]),
        st.sampled_from(["cron", "once", "both", "skip"]), st.integers(0, 59), st.integers(0, 4),
    )  # fmt: skip
    def test_the_words_are_what_happens(self, zone: str, dst: str, minute: int, hour: int) -> None:
        """Of each day with a change: how often a daily job starts on it, and when."""
        keys = f"schedule: '{minute} {hour} * * *', timezone: {zone}, dst: {dst}"
        (message,) = of_job(keys) or [""]
        (job,), _ = read_jobs(f"jobs: {{a: {{command: x, {keys}}}}}".encode(), "f")
        starts = [datetime.fromtimestamp(start / 1e9, ZoneInfo(zone)) for start in job.next_starts(NOW, 450)]
        for change in next_changes(zone, datetime(2026, 11, 27, tzinfo=UTC)):
            wall = change.begin.replace(hour=hour, minute=minute)
            if not change.begin <= wall < change.end:
                assert f"{wall:%H:%M} occurs twice on {wall:%Y-%m-%d}" not in message
                continue
            found = [f"{start:%H:%M}" for start in starts if start.date() == wall.date()]
            when = f"{wall:%H:%M} {'does not exist' if change.skips else 'occurs twice'} on {wall:%Y-%m-%d}"
            then = {
                (True, 0): "does not start", (True, 1): f"starts at {change.end:%H:%M}",
                (False, 1): "starts the first time only", (False, 2): "starts both times",
            }  # fmt: skip
            assert f"{when}, and the job {then[change.skips, len(found)]}" in message
            assert found in ([], [f"{change.end if change.skips else wall:%H:%M}"] * len(found))

    def test_one_of_both(self) -> None:
        """A time that only one of the changes touches has a half of the words."""
        (message,) = of_job("schedule: '30 0 * * *', timezone: Asia/Beirut")
        assert message.count("2027") == 1

    @pytest.mark.parametrize("keys", [
        "schedule: '30 2 * * *'", "schedule: '30 4 * * *', timezone: Europe/Berlin",
        "schedule: '30 2 * * *', timezone: Asia/Tokyo", "schedule: '*/5 * * * *', timezone: Europe/Berlin",
        "schedule: '0 * * * *', timezone: Europe/Berlin", "schedule: '30 2 * * mon', timezone: Europe/Berlin",
    ])  # fmt: skip
    def test_what_no_change_touches(self, keys: str) -> None:
        """Another time, zone or day, and what starts in each hour, which goes by elapsed time."""
        assert [] == of_job(keys)

    @pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "America/New_York", "Asia/Beirut"])
    def test_a_change_is_where_the_offset_changes(self, zone: str) -> None:
        """A second before it is another offset, and the wall times between are those that are skipped or come twice."""
        changes = next_changes(zone, datetime(2026, 11, 27, tzinfo=UTC))
        assert 2 == len(changes)
        for change in changes:
            before, after = ((change.instant + timedelta(seconds=s)).astimezone(ZoneInfo(zone)) for s in (-1, 0))
            shift = after.utcoffset() - before.utcoffset()  # type: ignore[operator]
            assert (change.skips, change.end - change.begin) == (shift > timedelta(), abs(shift))
            assert after.replace(tzinfo=None) == (change.end if change.skips else change.begin)


class TestTogether:
    def test_many_jobs_at_once(self) -> None:
        """One note, at the first of them, names some and says how many there are."""
        names = [f"j{number:02}" for number in range(MANY + 2)]
        found = told(f"jobs: {{{', '.join(f'{name}: {{command: x, schedule: 0 2 * * *}}' for name in names)}}}")
        assert [(
            "JQ307", "j00",
            "found 12 jobs that start at 2026-11-28 02:00:00 UTC, j00, j01, j02, j03, j04 and 7 more; "
            "use `spread: 15m`, or H in the minute field, if the exact time does not matter",
        )] == found  # fmt: skip

    @pytest.mark.parametrize("keys", [
        "spread: 1h", "enabled: false", "schedule: H 2 * * *", "schedule: '*/5 * * * *'",
    ])  # fmt: skip
    def test_those_that_are_spread(self, keys: str) -> None:
        """Or are disabled, or start all the time, are no crowd; nor are fewer."""
        names = [f"j{number:02}" for number in range(MANY)]
        shared = f"defaults: {{command: x, schedule: 0 2 * * *}}\njobs: {{{', '.join(f'{n}: {{}}' for n in names)}}}"
        assert ["JQ307"] == [code for code, _, _ in told(shared)]
        own = shared.replace(
            "schedule: 0 2 * * *", keys if keys.startswith("schedule") else f"schedule: 0 2 * * *, {keys}"
        )
        assert [] == told(own)
        assert [] == told(shared.replace("j00: {}, ", ""))


class TestTooLong:
    def test_longer_than_the_interval(self) -> None:
        """The warning says both times, and what becomes of the next run."""
        assert [
            "JQ308 found runs that usually take 12m, but only 10m between starts, so later runs wait, and runs "
            "beyond `max_waiting` are skipped; leave more time between starts, or raise `concurrency`"
        ] == of_job("schedule: '*/10 * * * *'", 12 * MINUTE)
        assert "later runs are skipped" in of_job("every: 10m, overlap: skip", 12 * MINUTE)[0]
        assert "each run stops the one" in of_job("every: 10m, overlap: replace", 12 * MINUTE)[0]

    @pytest.mark.parametrize(("keys", "took"), [
        ("every: 10m", 9 * MINUTE), ("every: 10m, concurrency: 2", 12 * MINUTE), ("on: boot", HOUR),
        ("every: 10m", None),
    ])  # fmt: skip
    def test_there_is_time(self, keys: str, took: int | None) -> None:
        """Shorter runs, several at a time, jobs without a clock, and what nobody knows are no finding."""
        assert [] == of_job(keys, took)

    def test_the_usual_is_read_from_records(self, tmp_path: Path) -> None:
        """The median of successes, if they are enough; others, and what is no record, do not count."""
        paths = Paths.chosen(tmp_path)
        directory = paths.logs / "job"
        directory.mkdir(parents=True)
        for number in range(1, ENOUGH):
            (directory / f"{number}.json").write_text(json.dumps(a_record(number)))
        (directory / "7.json").write_text(json.dumps(a_record(7, "failed")))
        (directory / "8.json").write_text("{")
        assert usual_times(paths)("job") is None
        (directory / "9.json").write_text(json.dumps(a_record(9)))
        assert (2 * 1_000_000_000, None) == (usual_times(paths)("job"), usual_times(paths)("other"))


SHARED = """
jobs:
  a: {command: x, schedule: "0 */3 * * *", locks: [{name: db, mode: shared}]TIMEOUT}
  b: {command: x, schedule: "30 1-23/3 * * *", locks: [{name: db, mode: shared}]}
  x: {command: x, schedule: "0 4 * * *", locks: [db]DRAIN}
"""
LONG = {"a": 150 * MINUTE, "b": 150 * MINUTE}


def starved(took: Mapping[str, int], timeout: str = "", drain: str = "") -> list[str]:
    """The messages about x; tests/scenarios/shared-for-ever.txt is what the queue does."""
    found = told(SHARED.replace("TIMEOUT", timeout).replace("DRAIN", drain), took)
    return [message for code, job, message in found if (code, job) == ("JQ405", "x")]


class TestStarved:
    def test_shared_without_a_pause(self) -> None:
        """By holders that the drain does not outlast, and that nothing bounds."""
        assert [
            "found that a, b share db without a pause or `timeout`, usually for longer than the `drain` of this job "
            "(1h), so the lock might never be free; use a `timeout` for the jobs that share it, or a longer `drain`"
        ] == starved(LONG)

    def test_it_becomes_free(self) -> None:
        """One with a timeout, a longer drain, shorter runs, pauses, or runs of which nobody knows."""
        assert [] == starved(LONG, timeout=", timeout: 3h")
        assert [] == starved(LONG, drain=", drain: 3h")
        assert [] == starved({"a": 59 * MINUTE, "b": 59 * MINUTE})
        assert [] == starved({"a": 61 * MINUTE, "b": 61 * MINUTE})
        assert [] == starved({"a": 150 * MINUTE})
