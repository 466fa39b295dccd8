"""Watchers of users on the scheduler's side: who is ordered one, when, and what is believed of what they say."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jobqueued.base.instants import SECOND
from jobqueued.jobdir import user_watchers
from jobqueued.jobdir.user_files import UserFile
from jobqueued.jobdir.user_watchers import A_TURN, CALM, LONGEST_PAUSE, UserWatchers
from jobqueued.jobfile.reader import read_jobs
from jobqueued.jobfile.user_rules import UserRules
from jobqueued.model.accounts import Account
from jobqueued.model.catalog import Catalog
from jobqueued.model.events import AccountKnown, JobsRead, PathAppeared
from jobqueued.model.job import Now
from jobqueued.model.users import Owner, UserLimits

ALICE, BOB = Owner(1000, "alice"), Owner(1001, "bob")


class Site:
    """A scheduler that knows users and their jobs, and a launcher that takes orders; `later` is the time (ns)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.catalog, self.there, self.lines, self.later = Catalog(), set[Owner](), list[str](), 0
        self.link = SimpleNamespace(
            greeted=True, greetings=1, unsent_bytes=0, watch=self._watch, unwatch=self._unwatch, flush=lambda: None,
            accounts=SimpleNamespace(users=UserLimits(deny=("carol",))),
        )  # fmt: skip
        self.heard: dict[int, Any] = {}
        scheduler = SimpleNamespace(catalog=self.catalog, may_have_jobs=self.there.__contains__)
        self.watchers = UserWatchers(cast("Any", self.link), cast("Any", scheduler))
        clock = SimpleNamespace(time_ns=lambda: 10**18, monotonic_ns=lambda: self.later)
        monkeypatch.setattr(user_watchers, "time", clock)

    def _watch(self, number: int, order: str, heard: Any) -> None:
        self.heard[number] = heard
        self.lines.append(f"watch {number} {order}\n")

    def _unwatch(self, number: int) -> None:
        self.heard.pop(number, None)
        self.lines.append(f"unwatch {number}\n")

    def put(self, owner: Owner, *paths: str) -> None:
        """Accept a file of a user's."""
        on = ", ".join([*(f"{{path: '{path}'}}" for path in paths), "boot"])
        text, file = f"jobs: {{x: {{command: x, on: [{on}]}}}}", f"/users/{UserFile(owner, 'x').stored_as}"
        jobs, problems = read_jobs(text.encode(), file, rules=UserRules(owner, UserLimits()))
        assert [] == problems
        self.catalog.replace_file(file, jobs)
        self.watchers.follow([JobsRead(file, jobs)], self.later)

    def know(self, owner: Owner, trouble: str = "") -> None:
        """Hear of an account."""
        (self.there.discard if trouble else self.there.add)(owner)
        self.watchers.follow([AccountKnown(Account("owner", owner.name, owner.uid), trouble)], self.later)

    def orders(self) -> list[tuple[int, int, list[str]]]:
        """What is ordered by now: the numbers, users and paths; without paths what is ordered to end."""
        if self.watchers.deadline is not None and self.watchers.deadline <= self.later:
            self.watchers.turn(Now(self.later, self.later))
        found = []
        while self.lines:
            verb, number, *rest = self.lines.pop(0).rstrip("\n").split(" ", 3)
            found.append((int(number), int(rest[0]) if rest else -1, json.loads(rest[1])["paths"] if rest else []))
            assert ("watch" if rest else "unwatch") == verb
        return found

    def say(self, text: str) -> list[PathAppeared]:
        """Have the launcher pass something on."""
        verb, number, rest = text.split(" ", 2)
        heard = self.heard.get(int(number))
        return [] if heard is None else list(heard(verb, int(number), rest))


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(monkeypatch)


def test_who_gets_one(site: Site) -> None:
    """A user whose jobs wait for files, once it is known that there is such a user; not who is gone, or has none."""
    site.put(ALICE, "~/in/*", "/srv/x")
    site.put(BOB)
    site.know(BOB)
    assert [] == site.orders()
    site.know(ALICE)
    ((number, uid, paths),) = site.orders()
    assert (1000, ["/srv/x", "~/in/*"]) == (uid, paths)
    site.know(ALICE, "no user 'alice' on this host")
    assert [(number, -1, [])] == site.orders()
    assert [] == site.say(f'appeared {number} 0 - "/srv/x"')


def test_who_has_taken_over_a_number(site: Site) -> None:
    """Another user of the same number is another user, whose watcher knows nothing of the former's paths."""
    site.put(ALICE, "/srv/alice")
    site.know(ALICE)
    ((old, *_),) = site.orders()
    other = Owner(1000, "carol")
    site.know(ALICE, "gone")
    site.put(other, "/srv/carol")
    site.know(other)
    (ended, (new, uid, paths)) = site.orders()
    assert ((old, -1, []), 1000, ["/srv/carol"]) == (ended, uid, paths)
    assert ["carol//srv/carol"] == [it.path for it in site.say(f'appeared {new} 0 - "/srv/carol"')]


def test_what_is_believed(site: Site) -> None:
    """A watcher names its user's paths by their places; what is nowhere makes nothing due, and breaks nothing."""
    site.put(ALICE, "/srv/x")
    site.put(BOB, "/srv/x")
    for owner in (ALICE, BOB):
        site.know(owner)
    (number, *_), _ = site.orders()
    (event,) = site.say(f'appeared {number} 0 - "/etc/shadow"')
    assert ("alice//srv/x", 10**18, "/etc/shadow") == (event.path, event.instant, event.file)
    (event,) = site.say(f'appeared {number} 0 12345 "/srv/x"')
    assert 12345 == event.instant
    for forged in (
        f'appeared {number} 1 - "/srv/x"', f'appeared {number} 99999 - "/srv/x"', 'appeared 5 0 - "/srv/x"',
        f'appeared {number} 0 {1 << 63} "/srv/x"', f'appeared {number} 0 {"9" * 19} "/srv/x"',
    ):  # fmt: skip
        assert [] == site.say(forged)


def test_trouble(site: Site) -> None:
    """It is told of the user's own directory, by a number, until it is over or the watcher has ended."""
    site.put(ALICE, "~/in/*.csv")
    site.know(ALICE)
    ((number, *_),) = site.orders()
    site.say(f"unnoticed {number} 0 28")
    told = "cannot watch ~/in, so it is checked once a minute: raise fs.inotify.max_user_watches"
    assert {ALICE: told} == site.watchers.words()
    for over in ("- 0", "1 13"):
        site.say(f"unnoticed {number} 0 999")
        assert "cannot watch ~/in, so it is checked once a minute: Unknown error 999" in site.watchers.words()[ALICE]
        site.say(f"unnoticed {number} {over}")
        assert {} == site.watchers.words()


def test_who_kills_the_own_watcher_again_and_again(site: Site) -> None:
    """The pauses grow, and are told; after a calm while they are short again."""
    site.put(ALICE, "/srv/x")
    site.know(ALICE)
    pauses = []
    for _ in range(12):
        ((number, *_),) = site.orders()
        assert {} == site.watchers.words()
        site.say(f"unwatched {number} ")
        assert site.watchers.deadline is not None
        pauses.append((site.watchers.deadline - site.later) // SECOND)
        told = f"keeps exiting; next start in {'4 s' if pauses[-1] == 4 else ''}"
        assert (pauses[-1] >= 4) == any(told in words for words in site.watchers.words().values())
        assert [] == site.orders()
        site.later = site.watchers.deadline
    assert [1, 2, 4, 8, 16, 32, 64, 128, 256, *[LONGEST_PAUSE // SECOND] * 3] == pauses
    ((number, *_),) = site.orders()
    site.later += CALM
    site.say(f"unwatched {number} ")
    assert site.later + SECOND == site.watchers.deadline


def test_who_changes_paths_all_the_time(site: Site) -> None:
    """There is one order in a second, and it has the last of them."""
    site.know(ALICE)
    found = []
    for number in range(50):
        site.put(ALICE, f"/srv/{number}")
        found += [order for order in site.orders() if order[2]]
        site.later += SECOND // 10
    assert 5 == len(found)
    site.later += SECOND
    assert ["/srv/49"] == site.orders()[-1][2]
    site.put(ALICE, "/srv/49")
    assert ([], None) == (site.orders(), site.watchers.deadline)


def test_a_new_launcher(site: Site) -> None:
    """It gets all orders, in turns, and none while it takes none, or has not answered."""
    owners = [Owner(2000 + number, f"user{number}") for number in range(A_TURN + 4)]
    for owner in owners:
        site.put(owner, "/srv/x")
        site.know(owner)
    assert [A_TURN, 4] == [len(site.orders()), len(site.orders())]
    site.link.greeted = False
    site.later += SECOND
    assert ([], None) == (site.orders(), site.watchers.deadline)
    site.link.greeted, site.link.greetings, site.link.unsent_bytes = True, 2, 1 << 20
    assert ([], None) == (site.orders(), site.watchers.deadline)
    site.link.unsent_bytes = 0
    assert [A_TURN, 4, 0] == [len(site.orders()), len(site.orders()), len(site.orders())]
