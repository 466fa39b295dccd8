"""Pings: what a check is told of runs is true when it is told, and at least once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.base.instants import DAY, HOUR, MINUTE, SECOND
from jobqueued.model.commands import Say
from jobqueued.model.job import Job
from jobqueued.model.notify import Notify, NotifyRule, Ping, Target
from jobqueued.notices.pings import MOST, SENDING, receiver_of, run_id
from tests.support.told import Told, record

URL = "https://hc.example.org/uuid"
A = Job(id="a", command="true", ping=Ping(URL))


class Pinged(Told):
    """A host with checks: `urls` are those that were asked for; `away` are receivers that answer with a fault."""

    def __init__(self, *jobs: Job) -> None:
        super().__init__([], jobs)
        self.urls: list[str] = []
        self.away: dict[str, str] = {}
        """By the beginning of the URL, what is answered: of it alone, or "later", "never" of all behind."""

    def starts(self, run: str) -> None:
        self._tell(Say("run_started", {"run": run, "pid": 1, "late": 0}))

    def over(self, run: str, exit_code: int = 0, **fields: Any) -> None:
        job, _, number = run.partition("@")
        self._tell(Say("run_ended", {"record": {**record(job, int(number), exit_code), **fields}}))

    def _tell(self, said: Say) -> None:
        self.commit(self.notices.pings.about([said], self.wall))

    def ping(self) -> int:
        """Send what is due; the number of batches."""
        batches = 0
        pings = self.notices.pings
        self.commit(pings.expire(self.wall))
        while (batch := pings.take(self.wall)) is not None:
            batches += 1
            self.commit(pings.answered(batch.number, *self._sent(batch.pings), self.wall))
        return batches

    def _sent(self, pings: list[tuple[int, dict[str, Any]]]) -> tuple[Mapping[int, str], str]:
        verdicts: dict[int, str] = {}
        for number, about in pings:
            fault = next((fault for url, fault in self.away.items() if about["url"].startswith(url)), "")
            if fault.startswith("all "):
                return verdicts, fault.removeprefix("all ")
            verdicts[number] = fault or "sent"
            if not fault:
                self.urls.append(about["url"])
        return verdicts, "sent"

    def pass_time(self, duration: int) -> None:
        until = self.wall + duration
        while (at := self.notices.pings.next_at(self.wall)) is not None and at <= until:
            self.wall = max(self.wall, at)
            self.ping()
        self.wall = max(self.wall, until)
        self.commit(self.notices.pings.expire(self.wall))

    @property
    def paths(self) -> list[str]:
        return [url.removeprefix(URL).partition("?")[0] for url in self.urls]


def test_a_run() -> None:
    """Its start and its end, by one id, which is a UUID; a further attempt is nothing new."""
    told = Pinged(A)
    told.starts("a@1")
    told.pass_time(MINUTE)
    told._tell(Say("run_started", {"run": "a@1", "pid": 1, "attempt": 2, "failover": False}))
    told.pass_time(MINUTE)
    told.over("a@1")
    told.pass_time(MINUTE)
    rid = run_id("db1", "a@1")
    assert [f"{URL}/start?rid={rid}", f"{URL}?rid={rid}"] == told.urls
    assert (8, rid) == (UUID(rid).version, str(UUID(rid)))
    assert rid != run_id("db1", "a@2")
    assert {} == told.saved


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"exit_code": 0, "state": "succeeded"}, ""),
        ({"exit_code": 24, "state": "succeeded"}, ""),
        ({"exit_code": 3, "state": "failed"}, "/3"),
        ({"exit_code": 0, "state": "failed"}, "/fail"),
        ({"exit_code": None, "state": "failed"}, "/fail"),
        ({"exit_code": 1, "state": "timed_out"}, "/fail"),
        ({"exit_code": None, "state": "lost"}, "/fail"),
        ({"exit_code": None, "state": "killed"}, "/fail"),
        ({"exit_code": 0, "state": "succeeded", "attempts": [{"failover": True, "reason": None}]}, "/fail"),
    ],
)
def test_an_end(fields: dict[str, Any], path: str) -> None:
    """A failure by its exit code, if that tells it; what a failover saved is one, as in notices."""
    told = Pinged(A)
    told.over("a@1", **fields)
    told.ping()
    assert [path] == told.paths


def test_what_never_started() -> None:
    """A run that somebody stopped before it began is nothing that a check knows of."""
    told = Pinged(A)
    told.over("a@1", None, state="killed", started=None)
    assert {} == told.saved


def test_urls_of_ones_own() -> None:
    """They are asked for as they are written; where there is none, nothing is."""
    told = Pinged(Job(id="a", command="x", ping=Ping(success="https://kuma/T?status=up", failure="https://kuma/T")))
    told.starts("a@1")
    told.over("a@1")
    told.ping()
    told.over("a@2", 1)
    told.pass_time(MINUTE)
    assert ["https://kuma/T?status=up", "https://kuma/T"] == told.urls


def test_the_error_of_a_ping_that_is_replaced() -> None:
    """Whoever looks for the reason finds it with the end, though the start that has met it waits no more."""
    told = Pinged(A)
    told.away = {URL: "all later 0 away"}
    told.starts("a@1")
    told.ping()
    told.over("a@1")
    assert [("success", "away")] == [(it.about["event"], it.error) for it in told.saved.values()]
    told.over("a@2", 1)
    assert [("failure", "away")] == [(it.about["event"], it.error) for it in told.saved.values()]
    told.starts("a@3")
    assert ["away", ""] == [it.error for it in told.saved.values()]
    told.away = {}
    told.pass_time(HOUR)
    assert {} == told.saved


def test_a_success_that_a_failure_has_followed() -> None:
    """It is not told late, even if nobody is to be told of the failure."""
    told = Pinged(Job(id="a", command="x", ping=Ping(success="https://snitch/T")))
    told.away = {"https://": "all later 0 away"}
    told.over("a@1")
    told.pass_time(MINUTE)
    told.over("a@2", 1)
    told.away = {}
    told.pass_time(HOUR)
    assert ([], {}) == (told.urls, told.saved)


def test_a_url_with_a_query() -> None:
    """The convention is about its path; what was behind it stays."""
    wish = Ping("https://hc.example.org/key/slug/?create=1#x")
    assert "https://hc.example.org/key/slug/fail?create=1&rid=r" == wish.at("failure", "/fail", "r")


def test_a_receiver_that_is_away() -> None:
    """It is tried after 10, 20, 40 … s for all checks together; said once a day; what is stale by then is not sent."""
    told = Pinged(A, Job(id="b", command="true", ping=Ping("https://hc.example.org/other")))
    told.away = {"https://hc": "all later 0 connection refused"}
    begin, tries = told.wall, []
    told.starts("a@1")
    told.over("b@1", 1)
    while told.wall < begin + 20 * MINUTE:
        told.wall = told.notices.pings.next_at(told.wall) or 0
        tries += [(told.wall - begin) // SECOND] * told.ping()
    assert [0, 10, 30, 70, 150, 310, 630, 1270] == tries
    assert ["notice_failed"] == [said.event for said in told.said]
    (trouble,) = told.notices.troubles
    assert trouble.startswith("ping https://hc.example.org/… can't be sent: connection refused")
    told.over("a@1", 1)
    told.starts("a@2")
    told.over("a@2")
    told.starts("a@3")
    told.away = {}
    told.pass_time(HOUR)
    assert ["https://hc.example.org/other/1", URL, f"{URL}/start"] == sorted(u.partition("?")[0] for u in told.urls)
    assert told.urls.index(f"{URL}?rid={run_id('db1', 'a@2')}") < told.urls.index(
        f"{URL}/start?rid={run_id('db1', 'a@3')}"
    )
    assert ({}, []) == (told.saved, told.notices.troubles)


def test_nothing_is_told_a_day_late() -> None:
    """A check that hears of a success takes it for one of now: what is a day old is given up, and that is said."""
    told = Pinged(A)
    told.away = {URL: "all later 0 no"}
    told.over("a@1")
    told.pass_time(DAY - MINUTE)
    assert len(told.saved) == 1
    told.pass_time(2 * HOUR)
    assert {} == told.saved
    assert ("notice_given_up", "a day") == (told.said[-1].event, told.said[-1].fields["after"])
    told.over("a@2")
    told.restart()
    told.wall += 2 * DAY
    told.away = {}
    told.ping()
    assert [] == told.urls


def test_one_check_that_is_refused() -> None:
    """It holds up no other of its receiver; a new ping does not make it try at once."""
    told = Pinged(A, Job(id="b", command="true", ping=Ping("https://hc.example.org/gone")))
    told.away = {"https://hc.example.org/gone": "never 404"}
    for number in range(1, 11):
        told.over(f"a@{number}")
        told.over(f"b@{number}")
        told.pass_time(10 * MINUTE)
    assert 10 == len(told.urls)
    assert ["notice_failed"] == [said.event for said in told.said]
    assert 1 == len(told.saved)


def test_a_start_that_is_refused_before_its_end() -> None:
    """The verdict on one ping of a check is none on the next."""
    told = Pinged(A)
    told.starts("a@1")
    told.notices.pings.take(told.wall)
    told.restart()
    told.away = {f"{URL}/start": "never 400"}
    told.starts("a@2")
    told.over("a@1")
    told.pass_time(MINUTE)
    assert [""] == told.paths


def test_many_at_once() -> None:
    """A batch is one process, of few checks, no sooner than a second after the last; one receiver has one at a time."""
    told = Pinged(
        *(Job(id=f"j{n}", command="x", ping=Ping(f"https://hc.example.org/{n}")) for n in range(2 * MOST + 1))
    )
    for number in range(2 * MOST + 1):
        told.starts(f"j{number}@1")
    begin = told.wall
    first = told.notices.pings.take(told.wall)
    assert first is not None
    assert (MOST, None) == (len(first.pings), told.notices.pings.take(told.wall + HOUR))
    told.commit(told.notices.pings.answered(first.number, {}, "sent", told.wall))
    told.pass_time(MINUTE)
    assert 2 * MOST + 1 == MOST + len(told.urls)
    assert told.notices.pings.next_at(begin + 5 * SECOND) is None


def test_who_hangs_does_not_starve_others() -> None:
    """One of the two ways is for receivers that took the last."""
    jobs = [Job(id=f"j{n}", command="x", ping=Ping(f"https://{n}.example.org/x")) for n in range(5)]
    told = Pinged(*jobs)
    told.away = {f"https://{n}.": "all later 0 away" for n in range(4)}
    for number in range(4):
        told.over(f"j{number}@1")
    told.pass_time(MINUTE)
    told.wall += HOUR
    assert told.notices.pings.take(told.wall) is not None
    told.wall += MINUTE
    assert told.notices.pings.take(told.wall) is None
    told.over("j4@1")
    batch = told.notices.pings.take(told.wall)
    assert batch is not None
    assert ("https://4.example.org", 2) == (batch.receiver.address, SENDING)


def test_nothing_waits_so_nobody_is_looked_for() -> None:
    """While nothing waits a change of a file costs no look at all jobs."""
    assert [] == Told([]).notices.retain(lambda: pytest.fail("all jobs were asked for"))


def test_a_check_that_no_file_names() -> None:
    """What waits for it, and the trouble with it, are gone with the key; the others stay."""
    ops = Notify(email=("ops@example.org",))
    told = Pinged(A, Job(id="b", command="x", ping=Ping("https://other.example.org/x"), notify=ops))
    told.away = {"https://": "all later 0 away"}
    told.answer = "later 0 away"
    told.over("a@1")
    told.over("b@1")
    told.ends("b", 1)
    told.pass_time(MINUTE)
    told.send()
    assert 3 == len(told.notices.troubles) == len(told.saved)
    told.commit(told.notices.retain(lambda: [A]))
    (left,) = told.notices.troubles
    assert "hc.example.org" in left
    assert [str(Target("ping", URL))] == [notice.target for notice in told.saved.values()]
    told.commit(told.notices.retain(list))
    assert ([], {}) == (told.notices.troubles, told.saved)


def test_a_receiver_of_the_site_is_one_as_long_as_its_rule() -> None:
    """Whatever the job files say."""
    told = Told([NotifyRule(Notify(email=("ops@example.org",)))])
    told.answer = "later 0 away"
    told.ends("a", 1)
    told.send()
    told.commit(told.notices.retain(list))
    assert (1, 1) == (len(told.notices.troubles), len(told.saved))


def test_what_is_shown_of_a_receiver() -> None:
    """Scheme, host and port: neither its user nor what is behind."""
    for url in ("https://u:p@h:8/secret", "https://u:p@h:8?secret", "https://u:p@h:8#secret", "https://u:p@h:8"):
        assert "ping https://h:8/…" == Target("ping", url).shown
        assert "webhook https://h:8/…" == Target("webhook", url).shown
    assert "https://u:p@h:8" == receiver_of(Target("ping", "https://u:p@h:8/x")).address


@given(st.lists(st.sampled_from(["start", "ok", "fail", "send", "lose", "die", "wait", "away", "back"]), max_size=40))
def test_the_newest_end_comes(steps: list[str]) -> None:
    """Whatever dies at whatever moment: the last that a check hears of ends is the newest, and little waits."""
    told = Pinged(A)
    run, live, last = 0, False, ""
    for step in steps:
        if step == "start" and not live:
            run, live = run + 1, True
            told.starts(f"a@{run}")
        elif step in ("ok", "fail") and live:
            live, last = False, "" if step == "ok" else "/1"
            told.over(f"a@{run}", int(step == "fail"))
        elif step == "send":  # it arrives, and nobody hears of that
            if (batch := told.notices.pings.take(told.wall)) is not None:
                told._sent(batch.pings)
        elif step == "lose":
            for number in [*told.notices.pings._sending]:
                told.commit(told.notices.pings.answered(number, {}, "later 0 gone", told.wall))
        elif step == "die":
            told.restart()
        elif step == "wait":
            told.pass_time(MINUTE)
        else:
            told.away = {URL: "all later 0 away"} if step == "away" else {}
        assert len(told.saved) <= 4
    told.away = {}
    told.restart()
    told.pass_time(2 * HOUR)
    ends = [path for path in told.paths if path != "/start"]
    assert ({}, [last] if run > live else []) == (told.saved, ends[-1:])
