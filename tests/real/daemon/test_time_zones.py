"""A host whose zone changes, or gets new rules, while the daemon lives: jobs go by it at once, as under cron."""

from __future__ import annotations

import errno
import os
import shutil
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from jobqueued.base.instants import SECOND
from jobqueued.child.watcher import inotify
from jobqueued.jobdir.time_zones import TimeZones
from jobqueued.jobfile.scopes import Locality
from jobqueued.settings.settings import Settings
from tests.support import REPO
from tests.support.host import Host, wait_for
from tests.support.other_etc import copied
from tests.support.stranger import public
from tests.support.users import NEEDS_ROOT

JOBS = """jobs:
  here: {command: "true", schedule: "30 12 1 7 *"}
  tokyo: {command: "true", schedule: "30 12 1 7 *", timezone: Asia/Tokyo}
  once: {command: "true", at: 2150-07-01 12:30, timezone: Asia/Tokyo}
"""
TABLE = "30 12 1 7 * root true\n"


class Zones:
    """A tz database with three zones."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        for name in ("UTC", "Asia/Tokyo", "Asia/Kabul"):
            self.put(name, name)

    def put(self, name: str, rules_of: str) -> None:
        """Have a zone with these rules, as dpkg(1) puts a new one in the place of an old one."""
        target = self.root / name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(Path("/usr/share/zoneinfo", rules_of), f"{target}.dpkg-new")
        os.rename(f"{target}.dpkg-new", target)


class Place:
    """A daemon on a host with a tz database and an /etc/localtime of its own."""

    def __init__(self, root: Path, settings: str = "") -> None:
        self.etc, self.zones = copied(root / "etc"), Zones(root / "zoneinfo")
        (self.etc / "timezone").unlink(missing_ok=True)
        self.link("UTC")
        self.host = Host(root / "host", str(REPO / "tests/support/other_etc.py"), str(self.etc))
        (root / "host/etc/cron.d").mkdir(parents=True)
        (root / "host/etc/cron.d/table").write_text(TABLE)
        (root / "host/jobqueued.yaml").write_text("cron: {live: true}\n" + settings)
        self.host.write("a.yaml", JOBS)
        os.environ["PYTHONTZPATH"] = str(self.zones.root)
        try:
            self.host.start()
        finally:
            del os.environ["PYTHONTZPATH"]

    def link(self, name: str) -> None:
        """Make a zone the host's, as timedatectl(1) does."""
        (self.etc / "localtime.new").symlink_to(self.zones.root / name)
        os.rename(self.etc / "localtime.new", self.etc / "localtime")

    def next(self, job: str) -> str:
        """The hour and minute, in UTC, at which a job starts next."""
        jobs: list[dict[str, Any]] = self.host.call("List")["jobs"]
        (found,) = (it["next"] for it in jobs if it["id"].startswith(job))
        return str(found)[11:16]

    def nexts(self) -> tuple[str, ...]:
        """Those of all jobs."""
        return tuple(map(self.next, ("here", "cron.d/table", "tokyo", "once")))

    def told(self) -> list[str]:
        """What the log says of zones."""
        return [line["message"] for line in self.host.said("time_zone")]


class Rules:
    """Zones that are watched with these settings, in a tz database of their own."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place, self.etc = Zones(root / "zoneinfo"), root / "etc"
        self.etc.mkdir()
        monkeypatch.setattr(zoneinfo, "TZPATH", (str(self.place.root),))
        self.name = "UTC"

    def watched(self) -> TimeZones:
        """Watch the host's zone, which is `name`."""
        locality = property(lambda _: Locality(self.name))
        return TimeZones(cast("Settings", type("Config", (), {"locality": locality})()), self.etc)


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rules:
    return Rules(tmp_path, monkeypatch)


def drained(zones: TimeZones, mono: int) -> int | None:
    """Take in what inotify tells; when to look."""
    zones.drain(mono)
    return zones.deadline


def test_a_look_is_a_second_after_the_last_change(rules: Rules) -> None:
    """As a link may be taken away before the next one is there; other files of /etc are nobody's news."""
    zones = rules.watched()
    (rules.etc / "hosts").touch()
    assert drained(zones, 1) is None
    (rules.etc / "localtime").symlink_to("x")
    assert drained(zones, 2) == 2 + SECOND
    (rules.etc / "localtime").unlink()
    rules.name = "Asia/Kabul"
    assert drained(zones, 3) == 3 + SECOND
    assert [] == zones.news(2 + SECOND)
    assert ["the host's time zone is Asia/Kabul now; it was UTC"] == zones.news(3 + SECOND)
    assert ([], None, "Asia/Kabul") == (zones.news(9 * SECOND), zones.deadline, zones.name())


def test_only_zones_of_jobs_are_news(rules: Rules) -> None:
    """Each once, also those behind a link; one that is taken out of the database keeps its rules."""
    zones = rules.watched()
    rules.place.put("Asia/Tokyo", "Asia/Tokyo")
    rules.place.put("Asia/Kabul", "Asia/Kabul")
    (rules.place.root / "Old").mkdir()
    (rules.place.root / "Old/Tokyo").symlink_to("../Asia/Tokyo")
    zones.follow(["Old/Tokyo"])
    rules.place.put("Asia/Kabul", "UTC")
    drained(zones, 1)
    assert [] == zones.news(1 + SECOND)
    rules.place.put("Asia/Tokyo", "Asia/Kabul")
    assert drained(zones, 9) == 9 + SECOND
    assert ["new rules in the time zone database for: Old/Tokyo"] == zones.news(9 + SECOND)
    zones.ask()
    assert [] == zones.news(0)
    (rules.place.root / "Old/Tokyo").unlink()
    zones.ask()
    assert [] == zones.news(0)


def linked(path: Path, target: Path) -> None:
    """Put a link in the place of another."""
    new = path.with_name("new")
    new.symlink_to(target)
    new.rename(path)


def test_each_link_of_localtime_is_watched(rules: Rules, tmp_path: Path) -> None:
    """A change of a middle link or directory is noticed, wherever it is and however often it changes."""
    for name in "a", "b", "c":
        (tmp_path / name).mkdir()
        linked(tmp_path / name / "zone", rules.place.root / "UTC")
    linked(tmp_path / "a/link", Path("../b/zone"))
    linked(rules.etc / "localtime", tmp_path / "a/link")
    zones = rules.watched()
    for at, target in enumerate(("../c/zone", "../b/zone", "../c/zone")):
        linked(tmp_path / "a/link", Path(target))
        assert drained(zones, at * SECOND) == (at + 1) * SECOND
        zones.news((at + 1) * SECOND)
    linked(tmp_path / "c/zone", rules.place.root / "Asia/Kabul")
    assert drained(zones, 1) == 1 + SECOND
    zones.news(9 * SECOND)
    linked(tmp_path / "b/zone", rules.place.root / "Asia/Kabul")
    assert drained(zones, 2) is None, "no link leads there"
    linked(tmp_path / "a/link", tmp_path / "a/link")
    assert drained(zones, 3) == 3 + SECOND
    zones.news(9 * SECOND)
    linked(tmp_path / "a/link", Path("../c/zone"))
    assert drained(zones, 4) == 4 + SECOND


def test_the_database_is_replaced_with_its_parent(rules: Rules, tmp_path: Path) -> None:
    """Its new rules are noticed, also if it was missing in between; the replaced one is watched no longer."""
    share, new = tmp_path / "share", tmp_path / "new"
    shutil.copytree(rules.place.root, share / "zoneinfo")
    shutil.copytree(rules.place.root, new / "zoneinfo")
    zoneinfo.TZPATH = (str(share / "zoneinfo"), *zoneinfo.TZPATH)
    zones = rules.watched()
    zones.follow(["Asia/Tokyo"])
    shutil.copy(new / "zoneinfo/Asia/Kabul", new / "zoneinfo/Asia/Tokyo")
    share.rename(tmp_path / "old")
    new.rename(share)
    assert drained(zones, 0) == SECOND
    assert ["new rules in the time zone database for: Asia/Tokyo"] == zones.news(SECOND)
    (tmp_path / "old/zoneinfo/UTC").touch()
    assert drained(zones, 0) is None
    share.rename(tmp_path / "new")
    assert drained(zones, 0) == SECOND
    assert ["new rules in the time zone database for: Asia/Tokyo"] == zones.news(SECOND), "those of the next database"
    (tmp_path / "old").rename(share)
    shutil.copy(share / "zoneinfo/UTC", share / "zoneinfo/Asia/Tokyo")
    assert drained(zones, 0) == SECOND
    assert ["new rules in the time zone database for: Asia/Tokyo"] == zones.news(SECOND)


def test_without_inotify_a_look_finds_it(rules: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a minute, and at a reload."""
    monkeypatch.setattr(inotify, "instance", failing)
    zones = rules.watched()
    assert (None, None) == (zones.fileno(), zones.deadline)
    rules.place.put("UTC", "Asia/Tokyo")
    zones.ask()
    assert ["new rules in the time zone database for: UTC"] == zones.news(0)


def failing() -> int:
    raise OSError(errno.EMFILE, "too many")


@pytest.fixture
def place() -> Iterator[Place]:
    with public() as root:
        place = Place(root)
        yield place
        place.host.stop()


@NEEDS_ROOT
def test_the_host_gets_another_zone(place: Place) -> None:
    """Jobs of files and of tables that name none go by it; nothing starts by that, and the log says it, once."""
    assert ("12:30", "12:30", "03:30", "03:30") == place.nexts()
    place.link("Asia/Kabul")
    wait_for(lambda: place.next("here") == "08:00", why="the zone of the host")
    wait_for(lambda: place.nexts() == ("08:00", "08:00", "03:30", "03:30"), why="that of tables")
    assert ["the host's time zone is Asia/Kabul now; it was UTC"] == place.told()
    assert [] == place.host.call("History")["runs"]
    assert [] == place.host.said("trouble")
    place.host.call("Reload")
    assert ("08:00", "08:00", "03:30", "03:30") == place.nexts()
    assert 1 == len(place.told())


@NEEDS_ROOT
def test_a_zone_gets_new_rules(place: Place) -> None:
    """An update of tzdata: due times are reckoned anew, those of `at` too; a zone that no job has is nobody's news."""
    place.zones.put("Asia/Kabul", "UTC")
    place.zones.put("Asia/Tokyo", "Asia/Kabul")
    wait_for(lambda: place.nexts() == ("12:30", "12:30", "08:00", "08:00"), why="the new rules")
    assert ["new rules in the time zone database for: Asia/Tokyo"] == place.told()
    assert [] == place.host.call("History")["runs"]
