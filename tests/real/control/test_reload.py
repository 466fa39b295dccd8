"""A reload by hand: its answer comes when every file that had changed counts, and says what changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jobqueued.control.calls.reload import Reload
from jobqueued.control.calls.settings_file import SettingsFile
from jobqueued.crontabs.jobs import CronHost, read_jobs_in_steps
from jobqueued.daemon.loop import read_clocks
from jobqueued.jobdir.acceptance import LONGEST_WAIT, SLICE_JOBS, Acceptance
from jobqueued.jobdir.cron_tables import place_of
from jobqueued.jobdir.job_files import Watches
from jobqueued.jobdir.kinds import CRON_D
from jobqueued.jobdir.watch import SLICE, Watch
from jobqueued.jobfile.reader import read_in_steps
from jobqueued.model.catalog import Catalog
from jobqueued.model.events import FileGone, JobsRead, Reloaded
from jobqueued.settings.paths import Paths
from jobqueued.settings.settings import Settings
from tests.support.host import Host


class TestReload:
    def turn(self, watch: Watch, catalog: Catalog, mono: int) -> None:
        """What the daemon does in a turn: scan, and let jobs count."""
        for event in watch.scan(mono):
            catalog.replace_file(event.file, () if isinstance(event, FileGone) else event.jobs)

    def test_answer(self, tmp_path: Path) -> None:
        """What was added, edited and removed since the asking is told by id, to each who asked."""
        file = tmp_path / "a.yaml"
        file.write_text("jobs: {same: {command: a}, edited: {command: a}, gone: {command: a}}")
        watch, catalog = Watch(tmp_path, read_in_steps), Catalog()
        while watch.has_more:
            self.turn(watch, catalog, 0)
        complete: list[bool] = []
        reload = Reload(
            Watches([watch]), SettingsFile(Paths.under(tmp_path), Settings()), catalog, lambda: complete.append(True)
        )
        assert not reload.has_more
        file.write_text("# a line more\njobs: {same: {command: a}, edited: {command: b}, new: {command: a}}")
        (tmp_path / "b.yaml").write_text("jobs: 1")
        for ticket in (7, 8):
            reload.begin(ticket)
        turns = 0
        while not reload.has_more:
            self.turn(watch, catalog, 0)
            turns += 1
        assert ([Reloaded()], [True], False) == (reload.turn(read_clocks()), complete, reload.has_more)
        (first, answer), (second, same) = reload.answers()
        assert (7, 8, answer, []) == (first, second, same, reload.answers())
        (problem,) = answer.pop("problems")
        assert (f"{tmp_path}/b.yaml", "jobs") == (problem["file"], problem["key"])
        assert {"jobs": 3, "added": ["new"], "edited": ["edited"], "removed": ["gone"], "stale": []} == answer
        assert turns

    def test_vanished(self, tmp_path: Path) -> None:
        """A file that vanished may come back for some seconds; who asks for a reload has its jobs and its problems gone
        at once."""
        files = [tmp_path / "a.yaml", tmp_path / "bad.yaml"]
        for file, text in zip(files, ("jobs: {a: {command: a}}", "jobs: 1"), strict=True):
            file.write_text(text)
        watch, catalog = Watch(tmp_path, read_in_steps), Catalog()
        while watch.has_more:
            self.turn(watch, catalog, 0)
        reload = Reload(Watches([watch]), SettingsFile(Paths.under(tmp_path), Settings()), catalog, lambda: None)
        for file in files:
            file.unlink()
        watch.inbox.drain()
        self.turn(watch, catalog, 0)
        assert (1, 1, LONGEST_WAIT) == (len(catalog), len(watch.problems), watch.deadline)
        reload.begin(1)
        self.turn(watch, catalog, 0)
        assert reload.has_more
        reload.turn(read_clocks())
        ((_, answer),) = reload.answers()
        assert (["a"], [], None) == (answer["removed"], answer["problems"], watch.deadline)

    def test_asked_in_the_middle(self, tmp_path: Path) -> None:
        """A reload that is asked for while files are read is not complete before these and a listing after it."""
        file = tmp_path / "z.yaml"
        file.write_text("jobs: {z: {command: a}}")
        watch, catalog = Watch(tmp_path, read_in_steps), Catalog()
        while watch.has_more:
            self.turn(watch, catalog, 0)
        for number in range(SLICE * 3):
            (tmp_path / f"b{number}.yaml").write_text(f"jobs: {{b{number}: {{command: a}}}}")
        watch.inbox.relist()
        self.turn(watch, catalog, 0)
        file.unlink()
        reload = Reload(Watches([watch]), SettingsFile(Paths.under(tmp_path), Settings()), catalog, lambda: None)
        reload.begin(1)
        while not reload.has_more:
            self.turn(watch, catalog, 0)
        ((_, answer),) = reload.answers()
        assert (["z"], SLICE * 3) == (answer["removed"], answer["jobs"])


def test_a_turn_agrees_on_much_or_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many jobs are told in turns of their own, a slice in each: with the look at all of them one would take long."""
    for number in range(70):
        body = "".join(f"  j{number}-{index}: {{command: a}}\n" for index in range(10))
        (tmp_path / f"{number}.yaml").write_text(f"jobs:\n{body}")
    watch, agree, agreed = Watch(tmp_path, read_in_steps), Acceptance.agree, list[int]()
    told = list[int]()

    def noting(acceptance: Acceptance) -> None:
        agreed.append(len(told))
        agree(acceptance)

    monkeypatch.setattr(Acceptance, "agree", noting)
    while watch.has_more:
        told.append(sum(len(event.jobs) for event in watch.scan(0) if isinstance(event, JobsRead)))
    assert [0] == [told[turn] for turn in agreed]
    assert (700, True) == (sum(told), max(told) < SLICE_JOBS + 10)


@pytest.mark.parametrize("count", [8, 70])
def test_what_is_agreed_on_is_told_before_all_is_known(tmp_path: Path, count: int) -> None:
    """A file that was refused counts as known once its jobs were told: until then nothing that waits is given up."""
    file = tmp_path / "a.yaml"
    file.write_text("jobs: [")
    watch = Watch(tmp_path, read_in_steps)
    while watch.has_more:
        watch.scan(0)
    assert not watch.complete
    file.write_text("jobs:\n" + "".join(f"  j{number}: {{command: a}}\n" for number in range(count * 10)))
    watch.inbox.relist()
    told = 0
    while not watch.complete:
        told += sum(len(event.jobs) for event in watch.scan(0) if isinstance(event, JobsRead))
    assert count * 10 == told


@pytest.mark.parametrize("lines", [24, 60, 700])
def test_tables_are_told_once(tmp_path: Path, lines: int) -> None:
    """What was agreed on is not agreed on again while it is being told."""
    for name in ("one", "two", "three"):
        table = "".join(f"{line % 60} {line // 60} * * * root /bin/{name}{line}\n" for line in range(lines))
        (tmp_path / name).write_text(table)
    read = lambda data, path: read_jobs_in_steps(data, path, place_of(CRON_D, path), CronHost())  # noqa: E731
    kind = replace(CRON_D, read=lambda path, *_: Path(path).read_bytes())
    watch, told = Watch(tmp_path, read, None, kind), list[str]()
    while watch.has_more:
        told += [Path(event.file).name for event in watch.scan(0)]
    assert ["one", "three", "two"] == sorted(told)


def test_method(host: Host) -> None:
    """The daemon answers once the jobs count, names refused files as status does, and fires nothing."""
    host.write("a.yaml", "jobs: {a: {command: 'true', schedule: '0 0 1 1 *'}}")
    host.start()
    host.write("b.yaml", "jobs: {b: {command: 'true'}}")
    host.write("a.yaml", "jobs: {a: {comand: 'true'}}")
    answer = host.call("Reload")
    status = host.call("Status")
    assert (2, [str(host.root / "jobqueue.d" / "a.yaml")]) == (answer["jobs"], answer["stale"])
    assert (status["stale"], status["problems"]) == (answer["stale"], answer["problems"])
    assert ["a", "b"] == [job["id"] for job in host.call("List")["jobs"]]
    assert [] == host.call("History")["runs"]
