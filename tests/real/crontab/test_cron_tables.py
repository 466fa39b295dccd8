"""Cron's tables, live: cron's rules of trust, the contract of job files, and no second cron beside us."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from jobqueued.base.instants import SECOND
from jobqueued.child.watcher import inotify
from jobqueued.crontabs.jobs import CronHost as Surroundings
from jobqueued.host.linux import has_just_booted
from jobqueued.host.other_cron import LONGEST_WAIT as GONE
from jobqueued.host.other_cron import PID_FILE, REBOOTED, OtherCron, other_cron
from jobqueued.jobdir.acceptance import LONGEST_WAIT
from jobqueued.jobdir.cron_tables import jobs_of_text, with_scripts
from jobqueued.jobdir.inbox import RESCAN
from jobqueued.model.events import FileGone, JobsRead
from jobqueued.model.job import Now
from tests.support import REPO
from tests.support.host import Host, wait_for
from tests.support.other_etc import copied
from tests.support.stranger import public
from tests.support.tables import Tables
from tests.support.users import ME, NEEDS_ROOT, OTHER, STRANGER

JOB = f"@daily {ME.pw_name} x\n"
OF_X = ["cron.d/x:x-"]


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[Tables]:
    tables = Tables(tmp_path)
    assert tables.scan() == {}
    yield tables
    tables.close()


def short(told: dict[str, list[str]]) -> dict[str, list[str]]:
    """The same without the digits of the names."""
    return {name: [job[: job.rindex("-") + 1] for job in jobs] for name, jobs in told.items()}


def test_each_table_is_read_and_named_after_where_it_is(tables: Tables) -> None:
    """/etc/crontab, those of packages, those of users; nothing else of /etc."""
    tables.write(tables.etc / "crontab", JOB)
    tables.write(tables.etc / "passwd", JOB)
    tables.write(tables.cron_d / "munin", JOB)
    tables.write(tables.spool / ME.pw_name, "@daily x\n", 0o600)
    assert short(tables.scan()) == {
        "crontab": ["crontab:x-"], "munin": ["cron.d/munin:x-"], ME.pw_name: [f"crontabs/{ME.pw_name}:x-"],
    }  # fmt: skip
    assert [*tables.kept] == ["etc/crontab", "cron.d/munin", f"crontabs/{ME.pw_name}"]
    assert (tables.scan(), tables.refused(), tables.flawed()) == ({}, {}, {})


def test_a_text_of_state_db_gives_the_same_jobs(tables: Tables) -> None:
    """So an audit knows what was due, whatever the table is."""
    tables.write(tables.etc / "crontab", f"@daily {ME.pw_name} run-parts {tables.root}/daily\n{JOB}")
    tables.write(tables.etc / "anacrontab", "3 5 mine x\n")
    tables.write(tables.cron_d / "munin", f"61 * * * * root y\n{JOB}")
    tables.write(tables.spool / ME.pw_name, "@daily x\n", 0o600)
    live = tables.scan()
    again = {name: jobs_of_text(name, text or b"", Surroundings()) for name, text in tables.kept.items()}
    assert {name.rpartition("/")[2]: [job.id for job in jobs] for name, jobs in again.items()} == live


def test_a_text_is_noted_with_its_scripts(tmp_path: Path) -> None:
    """So an audit knows of these, too, be they there still or not; and a last line without a newline stays half."""
    tables, daily = Tables(tmp_path, expand=True), tmp_path / "daily"
    daily.mkdir()
    (daily / "apt").touch(0o755)
    tables.write(tables.etc / "crontab", f"@daily {ME.pw_name} run-parts {daily}\n{JOB}@daily {ME.pw_name} half")
    tables.write(tables.cron_d / "y", JOB)
    noted = partial(with_scripts, tables.scripts, True)
    live = tables.scan()
    (text, other) = (noted(name, text or b"") for name, text in tables.kept.items())
    assert other == JOB.encode()
    (daily / "man-db").touch(0o755)
    (daily / "apt").unlink()
    found = jobs_of_text("etc/crontab", text, Surroundings())
    assert ("crontab:daily/apt", live["crontab"]) == (found[0].id, [job.id for job in found])
    tables.scan()
    later = jobs_of_text("etc/crontab", noted("etc/crontab", tables.kept["etc/crontab"] or b""), Surroundings())
    assert ["crontab:daily/man-db", live["crontab"][1]] == [job.id for job in later]
    forged = b"@daily x" + text[text.index(b"\n#!") :]
    assert ["x"] == [job.command for job in jobs_of_text("crontabs/alice", forged, Surroundings())]
    comment = f"{JOB}#!jobqueued {{}}\n".encode()
    assert 1 == len(jobs_of_text("etc/crontab", comment, Surroundings()))
    tables.close()


def test_names_are_those_of_run_parts(tables: Tables) -> None:
    """What cron leaves alone is left alone, and told where it is no leftover of an editor or a package manager."""
    for name in ("good_Name-1", "backup.sh", ".placeholder", "x.dpkg-dist", "x.dpkg-old", "x~", "ä", "README"):
        tables.write(tables.cron_d / name, JOB)
    watch = tables.watches[1]
    watch.settle()
    watch.scan(0)
    assert sorted(Path(path).name for path in watch.changes) == ["\\xe4", "backup.sh"]
    assert {p.message for found in watch.changes.values() for p in found} == {
        "is not read, as in cron; expected a name of A-Z a-z 0-9 _ and -"
    }


def test_a_line_that_is_wrong_costs_itself(tables: Tables) -> None:
    """The rest of its table counts, and what is wrong is told until it is mended."""
    tables.write(tables.cron_d / "x", f"{JOB}61 * * * * root y\n@daily {ME.pw_name} z\n")
    assert short(tables.scan()) == {"x": ["cron.d/x:x-", "cron.d/x:z-"]}
    assert (tables.flawed(), tables.refused()) == ({"x": [2]}, {})
    tables.write(tables.cron_d / "x", JOB)
    assert short(tables.scan()) == {"x": OF_X}
    assert tables.watches[1].changes == {str(tables.cron_d / "x"): []}
    assert tables.flawed() == {}


def test_an_inserted_line_keeps_all_names(tables: Tables) -> None:
    """So number, history and cursor go on."""
    tables.write(tables.cron_d / "x", f"{JOB}@daily {ME.pw_name} z\n")
    before = tables.scan()["x"]
    tables.write(tables.cron_d / "x", f"# new\nA=b\n@hourly {ME.pw_name} new\n{JOB}\n@daily {ME.pw_name} z\n")
    assert tables.scan()["x"][1:] == before


@pytest.mark.parametrize("mode", [0o664, 0o666])
def test_a_table_that_others_may_write_is_refused(tables: Tables, mode: int) -> None:
    """Its last good jobs go on, and the command that mends it is told."""
    table = tables.cron_d / "x"
    tables.write(table, JOB)
    tables.scan()
    table.chmod(mode)
    found = tables.scan()
    if mode == 0o664 and ME.pw_uid:  # an ordinary user's private group
        return
    assert found == {}
    assert tables.refused()["x"][0].endswith(f"chmod go-w {table}")
    assert len(tables.last_good(table)) == 1
    table.chmod(0o644)
    assert (short(tables.scan()), tables.refused()) == ({"x": OF_X}, {})


def test_a_link_of_ours_is_followed(tables: Tables, tmp_path: Path) -> None:
    """What it leads to is looked at once a minute, as nothing tells of that."""
    target = tmp_path / "target"
    tables.write(target, JOB)
    (tables.cron_d / "x").symlink_to(target)
    assert short(tables.scan()) == {"x": OF_X}
    tables.write(target, f"@daily {ME.pw_name} y\n")
    for watch in tables.watches:
        watch.inbox.rescan(RESCAN)
    assert short(tables.scan()) == {"x": ["cron.d/x:y-"]}


def test_links_to_nothing(tables: Tables) -> None:
    """One to /dev/null masks a table of a package; one that leads nowhere is told."""
    (tables.cron_d / "masked").symlink_to("/dev/null")
    (tables.cron_d / "lost").symlink_to("nowhere")
    assert tables.scan() == {"masked": []}
    assert tables.refused() == {
        "lost": ["found a broken link; expected a regular file, or root's link to a regular file"]
    }


@NEEDS_ROOT
def test_a_link_that_others_can_lead_elsewhere_is_refused(tables: Tables, tmp_path: Path) -> None:
    """Both ends are root's, and what is between them, too."""
    place = tmp_path / "theirs"
    place.mkdir()
    tables.write(place / "table", JOB)
    (tables.cron_d / "x").symlink_to(place / "table")
    os.chown(place, STRANGER, -1)
    assert tables.scan() == {}
    assert f"found a directory that user {OTHER} owns" in tables.refused()["x"][0]
    os.chown(place, 0, -1)
    os.lchown(tables.cron_d / "x", STRANGER, -1)
    tables.scan()
    assert f"found a symbolic link that user {OTHER} owns" in tables.refused()["x"][0]


def test_other_things_than_files(tables: Tables) -> None:
    """A FIFO, a directory and a second name for a file are no tables."""
    os.mkfifo(tables.cron_d / "fifo")
    (tables.cron_d / "directory").mkdir()
    tables.write(tables.cron_d / "x", JOB)
    os.link(tables.cron_d / "x", tables.root / "second")
    assert tables.scan() == {}
    found = {name: said[0].partition(";")[0] for name, said in tables.refused().items()}
    assert found == {
        "fifo": "found a FIFO", "directory": "found a directory", "x": "found 2 hard links to this file",
    }  # fmt: skip


def test_users_tables_are_their_own(tables: Tables) -> None:
    """Of mode 0600, of one name, no link; what crontab(1) is just writing is nobody's."""
    own = tables.spool / ME.pw_name
    tables.write(own, "@daily x\n", 0o644)
    tables.write(tables.spool / "tmp.XyZ", "@daily x\n", 0o600)
    assert tables.scan() == {}
    assert tables.refused() == {ME.pw_name: [f"found mode 0644; expected 0600: chmod 600 {own}"]}
    own.chmod(0o600)
    assert len(tables.scan()[ME.pw_name]) == 1
    os.link(own, tables.root / "second")
    tables.watches[2].inbox.relist()
    assert tables.scan() == {}
    assert tables.refused()[ME.pw_name][0].startswith("found 2 hard links")
    own.unlink()
    own.symlink_to(tables.root / "second")
    assert tables.scan() == {}
    assert tables.refused()[ME.pw_name][0].startswith("found a special file")


def test_a_users_table_that_we_may_not_read(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheduler of the system has not the right by itself; what gives it is told."""
    own = tables.spool / ME.pw_name
    tables.write(own, "@daily x\n", 0o600)
    opened = os.open

    def denied(path: str, *rest: int, **more: int) -> int:
        if path == str(own):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return opened(path, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", denied)
        assert tables.scan() == {}
    assert "CAP_DAC_READ_SEARCH" in tables.refused()[ME.pw_name][0]


@NEEDS_ROOT
def test_a_users_table_of_somebody_else_is_refused(tables: Tables) -> None:
    """Whoever gets a file into the spool must not run it as another; nor as a user that is gone."""
    tables.write(tables.spool / OTHER, "@daily x\n", 0o600)
    assert len(tables.scan()[OTHER]) == 1  # root's own, as Debian's cron takes it
    os.chown(tables.spool / OTHER, 12345, -1)
    tables.write(tables.spool / "ghost", "@daily x\n", 0o600)
    os.chown(tables.spool / "ghost", STRANGER, -1)
    assert tables.scan() == {}
    assert tables.refused() == {
        OTHER: [
            f"found a table that user 12345 owns; expected one that {OTHER} owns: chown {OTHER} {tables.spool / OTHER}"
        ],
        "ghost": [
            f"found a table that user {OTHER} owns; expected one that ghost owns: chown ghost {tables.spool / 'ghost'}"
        ],
    }


def test_a_table_that_is_emptied_or_removed_has_no_jobs(tables: Tables) -> None:
    """As with cron; one that vanishes has a moment to come back, as package managers replace files."""
    table = tables.cron_d / "x"
    tables.write(table, JOB)
    tables.scan()
    tables.write(table, "")
    assert (tables.scan(), tables.last_good(table)) == ({"x": []}, [])
    tables.write(table, JOB)
    tables.scan()
    table.unlink()
    assert tables.scan() == {}
    assert len(tables.last_good(table)) == 1
    assert tables.scan(LONGEST_WAIT) == {"x": []}
    assert tables.kept["cron.d/x"] is None


def test_a_start_beside_a_broken_table_has_its_last_good_jobs(tables: Tables, tmp_path: Path) -> None:
    """Each kind takes up its own texts, and no job file's."""
    tables.write(tables.cron_d / "x", JOB)
    tables.scan()
    (tables.cron_d / "x").chmod(0o666)
    again = Tables(tmp_path, {"x": b"jobs: {}", "crontabs/x": b"", **{n: t for n, t in tables.kept.items() if t}})
    assert short(again.scan()) == {"x": OF_X}
    assert [*again.refused()] == ["x"]
    again.close()


def test_directories_that_are_missing_are_no_trouble(tmp_path: Path) -> None:
    """A host may have no users' tables; they count once they are there."""
    tables = Tables(tmp_path)
    shutil.rmtree(tables.spool.parent)
    shutil.rmtree(tables.cron_d)
    assert tables.scan() == {}
    assert (tables.refused(), all(watch.complete for watch in tables.watches)) == ({}, True)
    tables.cron_d.mkdir()
    tables.write(tables.cron_d / "x", JOB)
    assert short(tables.scan()) == {"x": OF_X}
    tables.close()


def test_a_boot_that_another_cron_has_seen(tmp_path: Path) -> None:
    """@reboot is due once a boot, and not because somebody changes to us meanwhile."""
    mark = tmp_path / REBOOTED
    mark.parent.mkdir(parents=True)
    for is_seen in (False, True):
        if is_seen:
            mark.touch()
        after = Tables(tmp_path)
        after.write(after.cron_d / "x", f"@reboot {ME.pw_name} x\n")
        after.scan()
        (job,) = after.watches[1].last_good(str(after.cron_d / "x"))
        assert job.at_boot is not is_seen
        after.close()


def test_scripts_of_run_parts_are_jobs_of_their_own(tmp_path: Path) -> None:
    """In run-parts' order; they come and go with the scripts, and what run-parts would not run is none."""
    tables, daily = Tables(tmp_path, expand=True), tmp_path / "etc/cron.daily"
    line = f"25 6 * * * {ME.pw_name} test -x /usr/sbin/anacron || ( cd / && run-parts --report {daily} )\n"
    tables.write(tables.etc / "crontab", line)
    assert tables.scan() == {"crontab": []}
    daily.mkdir()
    for name, mode in (("man-db", 0o755), ("apt", 0o755), ("notes", 0o644), ("x.sh", 0o755), (".placeholder", 0o755)):
        (daily / name).touch(mode)
    assert tables.scan() == {"crontab": ["crontab:cron.daily/apt", "crontab:cron.daily/man-db"]}
    (job, _) = tables.watches[0].last_good(str(tables.etc / "crontab"))
    assert job.command == f"test -x /usr/sbin/anacron || ( cd / && {daily}/apt )"
    assert tables.scan() == {}
    (daily / "notes").chmod(0o755)
    (daily / "apt").unlink()
    assert tables.scan() == {"crontab": ["crontab:cron.daily/man-db", "crontab:cron.daily/notes"]}
    tables.close()


def test_an_anacrontab_is_read_where_no_anacron_does(tmp_path: Path) -> None:
    """So nothing of it runs twice."""
    program = tmp_path / "usr/sbin/anacron"
    program.parent.mkdir(parents=True)
    for is_there in (False, True):
        if is_there:
            program.touch(0o755)
        tables = Tables(tmp_path)
        tables.write(tables.etc / "anacrontab", "1 5 mine /opt/mine\n")
        assert tables.scan() == ({} if is_there else {"anacrontab": ["anacrontab:mine"]})
        tables.close()


class TestOtherCron:
    """Another cron daemon."""

    def test_none(self, tmp_path: Path) -> None:
        """A PID file that nobody locks is a leftover."""
        assert other_cron(tmp_path) == ""
        (tmp_path / PID_FILE).parent.mkdir()
        (tmp_path / PID_FILE).write_text("4711\n")
        assert other_cron(tmp_path) == ""

    def test_systemd_cron(self, tmp_path: Path) -> None:
        """It has no daemon, but timers."""
        (tmp_path / "run/systemd/generator/cron.target.wants").mkdir(parents=True)
        assert other_cron(tmp_path) == "systemd-cron"

    def test_flock(self, tmp_path: Path) -> None:
        """Whoever holds the PID file runs; what is written there is who."""
        file = tmp_path / PID_FILE
        file.parent.mkdir()
        file.write_text("4711\n")
        with open(file) as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            assert other_cron(tmp_path) == f"a cron daemon (pid 4711) with the PID file {file}"

    def test_lockf(self, tmp_path: Path) -> None:
        """Of a lock by fcntl(2) the kernel knows whose it is."""
        file = tmp_path / PID_FILE
        file.parent.mkdir()
        file.touch()
        program = f"import fcntl; f = open({str(file)!r}, 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(); input()"
        with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            other.stdout.readline()
            assert other_cron(tmp_path) == f"a cron daemon (pid {other.pid}) with the PID file {file}"
            other.communicate(b"\n")


class TestOneThatComesAndGoes:
    """Another cron daemon, while the tables are run here."""

    def test_its_pid_file(self, tmp_path: Path) -> None:
        """Its lock counts at once; when it is gone, that counts after a while, in which it may be started anew."""
        with watching(tmp_path) as seen:
            seen.turn(0)
            for _ in range(2):
                with open(tmp_path / PID_FILE, "w") as held:
                    fcntl.flock(held, fcntl.LOCK_EX)
                    held.write("4711\n")
                    held.flush()
                    seen.turn(SECOND)
                    assert [True] == seen.told
                    seen.turn(100 * SECOND)
                seen.turn(101 * SECOND)
                assert seen.cron.deadline == 101 * SECOND + GONE
            seen.turn(101 * SECOND + GONE)
            assert ([True, False], None) == (seen.told, seen.cron.deadline)

    def test_a_file_of_another_name(self, tmp_path: Path) -> None:
        """Is no cron's, and no reason to look."""
        with watching(tmp_path) as seen:
            seen.turn(0)
            (tmp_path / "run/other.pid").write_text("1\n")
            seen.turn(SECOND)
            assert (seen.told, seen.cron.deadline) == ([], None)

    def test_its_process(self, tmp_path: Path) -> None:
        """Its end is told by the kernel, as its file may be closed before its lock was deleted."""
        file = tmp_path / PID_FILE
        file.parent.mkdir()
        program = f"import fcntl; f = open({str(file)!r}, 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(); input()"
        with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            other.stdout.readline()
            with watching(tmp_path) as seen:
                assert f"(pid {other.pid})" in seen.cron.words
                assert 2 == len(seen.cron.descriptors())
                other.communicate(b"\n")
                seen.turn(5 * SECOND)
                assert 1 == len(seen.cron.descriptors())
                seen.turn(5 * SECOND + GONE)
                assert [False] == seen.told

    def test_systemd_cron(self, tmp_path: Path) -> None:
        """Its timers come and go with a reload of systemd, which makes all of them anew."""
        with watching(tmp_path) as seen:
            for number, part in enumerate(("systemd", "systemd/generator", "systemd/generator/cron.target.wants")):
                (tmp_path / "run" / part).mkdir()
                seen.turn(number)
            assert ([True], "systemd-cron") == (seen.told, seen.cron.words)
            shutil.rmtree(tmp_path / "run/systemd/generator")
            seen.turn(10)
            (tmp_path / "run/systemd/generator/cron.target.wants").mkdir(parents=True)
            seen.turn(10 + GONE)
            assert [True] == seen.told

    def test_without_inotify(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is found at the start, and nothing is watched."""

        def failing() -> int:
            raise OSError(errno.EMFILE, "")

        monkeypatch.setattr(inotify, "instance", failing)
        with watching(tmp_path) as seen:
            seen.turn(0)
            assert {} == seen.cron.descriptors()


class Seen:
    """What is told of it; `turn` is what the loop does."""

    def __init__(self, host: Path) -> None:
        self.told = list[bool]()
        self.cron = OtherCron(host, lambda is_there, _: self.told.append(is_there))

    def turn(self, mono: int) -> None:
        now = Now(0, mono)
        poll = select.poll()
        for descriptor, bits in self.cron.descriptors().items():
            poll.register(descriptor, bits)
        for descriptor, _ in poll.poll(0):
            self.cron.ready(descriptor, now)
        if self.cron.has_more or (self.cron.deadline is not None and self.cron.deadline <= mono):
            self.cron.turn(now)
        assert not self.cron.has_more


@contextlib.contextmanager
def watching(host: Path) -> Iterator[Seen]:
    (host / PID_FILE).parent.mkdir(exist_ok=True)
    seen = Seen(host)
    try:
        yield seen
    finally:
        for descriptor in seen.cron.descriptors():
            os.close(descriptor)


def test_tables_that_another_runs_are_gone_and_come_back(tables: Tables) -> None:
    """With all that was wrong with them; what changed meanwhile counts then; and a half-read one is not told."""
    tables.write(tables.cron_d / "x", f"{JOB}61 * * * * root y\n")
    tables.write(tables.cron_d / "broken", JOB, 0o666)
    before = tables.scan()
    tables.hold(held=True)
    tables.write(tables.cron_d / "new", JOB)
    assert {"x": []} == tables.scan()
    assert ({}, {}, None) == (tables.refused(), tables.flawed(), tables.kept["cron.d/x"])
    assert all(watch.complete for watch in tables.watches)
    tables.write(tables.cron_d / "newer", JOB)
    assert {} == tables.scan()
    tables.hold(held=False)
    assert {"x": OF_X, "new": ["cron.d/new:x-"], "newer": ["cron.d/newer:x-"]} == short(tables.scan())
    assert ({"x": [2]}, ["broken"], before) == (
        tables.flawed(),
        [*tables.refused()],
        {"x": tables.last_good(tables.cron_d / "x")},
    )


def test_tables_of_an_earlier_daemon_that_another_runs_now(tmp_path: Path) -> None:
    """Their jobs are told once, so that their clocks end, and are gone then; also if there are many of them."""
    texts = {f"cron.d/t{number:02}": (JOB * 30).encode() for number in range(20)}
    tables = Tables(tmp_path, texts)
    for name in texts:
        tables.write(tables.root / "etc" / name, JOB * 30)
    tables.hold(held=True)
    events = [event for _ in range(50) for event in tables.watches[1].scan(0)]
    for path in {event.file for event in events}:
        assert [30, 0] == [
            len(event.jobs) if isinstance(event, JobsRead) else 0 for event in events if event.file == path
        ]
    assert 20 == len({event.file for event in events})
    assert not tables.watches[1].has_more
    tables.close()


def test_many_tables_that_come_and_go_at_once(tables: Tables) -> None:
    """They are told table by table, so that no turn is longer than that of one; the last comes, and goes, too."""
    for number in range(40):
        tables.write(tables.cron_d / f"t{number:02}", JOB * 60)
    watch = tables.watches[1]
    watch.inbox.drain()
    for expected, kind in ((60, JobsRead), (0, FileGone)):
        slices = []
        while watch.has_more:
            slices.append([event for event in watch.scan(0) if isinstance(event, kind)])
        told = [event.file for events in slices for event in events]
        assert (40, 40, 1) == (len(told), len({*told}), max(map(len, slices)))
        assert [expected] * 40 == [len(watch.last_good(path)) for path in told]
        if expected:
            shutil.rmtree(tables.cron_d)
            tables.cron_d.mkdir()
            watch.settle()


SENDMAIL = """#!/bin/sh
cat >>{root}/mails
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path / "host")
    (host.root / "etc/cron.d").mkdir(parents=True)
    sendmail = host.root / "sendmail"
    sendmail.write_text(SENDMAIL.format(root=host.root))
    sendmail.chmod(0o755)
    (host.root / "jobqueued.yaml").write_text(
        f"cron: {{live: true}}\nmail: {{sendmail: {sendmail}}}\nnotifier: {ME.pw_name}\n"
    )
    yield host
    host.close()


def test_a_table_lives_and_its_output_is_mailed(host: Host) -> None:
    """A line runs with its input, its mail is cron's, an edit counts at once, and numbers go on over it."""
    table = host.root / "etc/cron.d/x"
    table.write_text(f"MAILTO=ops@example.org\n@reboot {ME.pw_name} cat; exit 3%in%\n@daily {ME.pw_name} y\n")
    table.chmod(0o644)
    host.start("--config", str(host.root / "jobqueued.yaml"))
    jobs = {job["id"] for job in host.call("List")["jobs"]}
    (name,) = (job for job in jobs if job.startswith("cron.d/x:cat"))
    host.wait(host.run(name))
    mails = host.root / "mails"
    wait_for(lambda: mails.exists() and "in\n" in mails.read_text(), why="the mail")
    mail = mails.read_text()
    assert "To: ops@example.org" in mail
    assert f"Subject: Cron <{ME.pw_name}@" in mail
    assert "> cat; exit 3 (failed)\n" in mail
    table.write_text("# new\n\n" + table.read_text())
    host.call("Reload")
    assert {job["id"] for job in host.call("List")["jobs"]} == jobs
    assert host.record(f"{name}@1") is not None
    run = host.run(name)
    assert run == f"{name}@2"
    host.wait(run)
    assert host.output(run) == b"in\n"
    host.kill()
    host.start("--config", str(host.root / "jobqueued.yaml"))
    assert host.run(name) == f"{name}@3"
    assert [] == host.said("trouble")


def test_a_line_that_goes_during_its_run(host: Host) -> None:
    """Its output is mailed all the same, as by cron: to its MAILTO, from its MAILFROM, over a restart too."""
    tables, go = host.root / "etc/cron.d", host.root / "go"
    begin = "MAILTO=ops@example.org\nMAILFROM=me@b.org\n"
    line = f"{ME.pw_name} until [ -e {go} ]; do sleep 0.05; done; echo output of"
    texts = {"once": f"@daily {line} once", "edited": f"@daily {line} edited", "unseen": f"@daily {line} unseen"}
    for name, text in texts.items():
        (tables / name).write_text(f"{begin}{text}; rm -f {tables}/once\n")
        (tables / name).chmod(0o644)
    host.start("--config", str(host.root / "jobqueued.yaml"))
    runs = [host.run(job["id"]) for job in host.call("List")["jobs"]]
    wait_for(lambda: len(host.said("run_started")) == 3, why="their starts")
    (tables / "once").unlink()
    (tables / "edited").write_text((tables / "edited").read_text().replace("@daily", "@hourly"))
    host.call("Reload")
    host.kill()
    (tables / "unseen").unlink()
    host.start("--config", str(host.root / "jobqueued.yaml"))
    go.touch()
    for run in runs:
        host.wait(run)
    mails = host.root / "mails"
    wait_for(lambda: mails.exists() and mails.read_text().count("\nTo: ops@example.org") == 3, why="three mails")
    text = mails.read_text()
    assert (3, 3) == (text.count("<me@b.org>"), sum(f"\noutput of {name}\n" in text for name in texts))
    assert [] == host.said("notice_given_up")


def test_a_home_that_is_missing(host: Host) -> None:
    """Its jobs run all the same, in /, and their records say so: Debian's cron runs them in its spool."""
    table = host.root / "etc/cron.d/x"
    table.write_text(f"HOME=/nonexistent\n@daily {ME.pw_name} pwd; echo $HOME\n")
    table.chmod(0o644)
    host.start("--config", str(host.root / "jobqueued.yaml"))
    (job,) = host.call("List")["jobs"]
    record = host.wait(host.run(job["id"]))
    assert ("succeeded", b"/\n/nonexistent\n") == (record["state"], host.output(record["run"]))
    assert ["/nonexistent: No such file or directory; it ran in /"] == record["warnings"]


@NEEDS_ROOT
def test_root_has_its_groups() -> None:
    """Those that the host's database gives root: a daemon that systemd starts has none of them."""
    with public() as place:
        etc = copied(place / "etc")
        (etc / "group").write_text("root:x:0:\nadm:x:4:root,daemon\ntape:x:26:root\n")
        host = Host(place / "host", str(REPO / "tests/support/other_etc.py"), str(etc))
        (host.root / "etc/cron.d").mkdir(parents=True)
        (host.root / "etc/cron.d/x").write_text("@daily root grep ^Groups: /proc/self/status\n")
        (host.root / "jobqueued.yaml").write_text("cron: {live: true}\n")
        host.start()
        (job,) = host.call("List")["jobs"]
        record = host.wait(host.run(job["id"]))
        assert b"Groups:\t0 4 26 \n" == host.output(record["run"])
        host.stop()


def test_a_boot_is_due_at_a_boot_and_not_at_an_installation(host: Host) -> None:
    """Whoever installs the daemon long after the boot has what is due at a boot due at the next one, once."""
    table = host.root / "etc/cron.d/x"
    table.write_text(f"@reboot {ME.pw_name} touch {host.root}/booted\n")
    host.start("--config", str(host.root / "jobqueued.yaml"))
    (job,) = host.call("List")["jobs"]
    is_boot = has_just_booted()
    assert (job["last_run"] is None) == (not is_boot)
    host.kill()
    with sqlite3.connect(host.root / "state" / "state.db") as state:
        state.execute("UPDATE meta SET value = 'another' WHERE name = 'boot'")
    state.close()
    for _ in range(2):
        host.start("--config", str(host.root / "jobqueued.yaml"))
        wait_for((host.root / "booted").exists, why="what is due at a boot")
        host.kill()
    assert host.record(f"{job['id']}@{2 if is_boot else 1}") is not None
    assert host.record(f"{job['id']}@{3 if is_boot else 2}") is None


def test_beside_another_cron_nothing_runs_twice(host: Host) -> None:
    """The tables are left to it, be it there at the start or come later, which is told with what to do; not so job
    files."""
    (host.root / "etc/cron.d/x").write_text(f"{JOB}61 * * * * x y\n")
    host.write("a.yaml", "jobs: {a: {command: x}}")
    file = host.root / PID_FILE

    def jobs() -> list[str]:
        return [job["id"] for job in host.call("List")["jobs"]]

    host.start("--config", str(host.root / "jobqueued.yaml"))
    assert 2 == len(jobs())
    waiting = host.run(jobs()[1])
    with open(file, "w") as held:
        held.write(f"{os.getpid()}\n")  # before the lock: who looks in between would find nobody's
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        wait_for(lambda: jobs() == ["a"], why="no job of a table")
        status = host.call("Status")
        (trouble,) = (text for text in status["troubles"] if "cron" in text)
        assert trouble.startswith(
            f"cron's tables are ignored here, because a cron daemon (pid {os.getpid()}) with the PID file {file} runs "
        )
        assert trouble.endswith("to run them here: systemctl disable --now cron")
        assert [trouble] == [line["text"] for line in host.said("trouble")]
        assert [] == status["problems"]
        assert {"live": False} == host.call("CrontabSet", table="")
        assert waiting.startswith("cron.d/x:x-")
        assert host.wait(waiting)["state"] in ("failed", "skipped")
        host.kill()
        host.start("--config", str(host.root / "jobqueued.yaml"))
        assert ["a"] == jobs()
        host.kill()
    host.start("--config", str(host.root / "jobqueued.yaml"))
    assert (2, 1) == (len(jobs()), len(host.call("Status")["problems"]))
