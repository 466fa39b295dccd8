"""What a fleet remembers of its occurrences, and for how long: nothing runs twice as a `catch_up_window` is changed."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest

from jobqueued.base.instants import DAY, HOUR, MINUTE, SECOND
from jobqueued.base.replace import changed
from jobqueued.child.fleet.session import _MARGIN
from jobqueued.core.fleet.fleet import _FORGOTTEN
from jobqueued.core.hosts.fleet_state import FleetState
from jobqueued.core.hosts.memory import Definition, next_definition, parse_definition
from jobqueued.core.jobs.agreement import spec_of
from jobqueued.model.fleet import FleetMark, Returned
from jobqueued.model.job import CatchUp, Claim, Job, Scope
from tests.support.fleet import Fleet, Host
from tests.support.fleet_life import FleetLife
from tests.support.world import MIDNIGHT, job

H = HOUR // SECOND
SHORT = job("tick", "*/10 * * * *", scope=Scope.FLEET, catch_up=CatchUp.ALL, max_waiting=1000, catch_up_window=3 * HOUR)
LONG = replace(SHORT, catch_up_window=DAY)


def hosts(*jobs: Job, names: str = "ab", **options: Any) -> tuple[Fleet, list[Host]]:
    """A fleet that has agreed about the jobs."""
    fleet = Fleet(Random(1))
    found = [fleet.add(name, *jobs, **{"seconds": {"tick": 1}, **options}) for name in names]
    fleet.pass_time(90)
    return fleet, found


def leave(host: Host, way: str) -> None:
    """Go away, in this way."""
    host.agent.cut() if way == "cut off" else host.leave()


def come_back(host: Host, way: str) -> None:
    """Be there again."""
    if way == "cut off":
        host.agent.heal()
        return
    if way == "lost its state":
        host.memories = {name: changed(it, agreed="", offered="") for name, it in host.memories.items()}
        host.mark = FleetMark()
    host.come_back()


def write(host: Host, *jobs: Job) -> None:
    """Have the host's file say this, whether a scheduler is there or not."""
    if host.is_alive:
        host.write("jobs.yaml", *jobs)
    else:
        host.files["jobs.yaml"] = jobs


def published(fleet: Fleet) -> str:
    """The definition by which the fleet goes."""
    return fleet.etcd.values("/jq/jobs/")["/jq/jobs/tick"]


@pytest.mark.parametrize("way", ["down", "cut off", "lost its state"])
@pytest.mark.parametrize(
    "order", ["both", "it alone, at once", "it alone, later", "the other first", "and back", "twice"]
)
def test_a_window_that_is_lengthened_while_a_host_is_away(way: str, order: str) -> None:
    """What the other host has run, and etcd has forgotten, does not run again; what it does not know is missed."""
    fleet, (one, two) = hosts(SHORT)
    fleet.pass_time(H)
    leave(one, way)
    fleet.pass_time(3 * H)
    if order == "and back":
        write(two, LONG)
        fleet.pass_time(H)
        write(two, replace(SHORT, catch_up_window=HOUR))
    fleet.pass_time(7 * H)
    if order != "it alone, later":
        write(one, LONG)
    if order in ("both", "the other first", "and back"):
        write(two, LONG)
    if order == "twice":
        write(two, replace(LONG, catch_up_window=5 * HOUR))
        fleet.pass_time(H)
        write(two, LONG)
    fleet.pass_time(H)
    come_back(one, way)
    if order == "it alone, later":
        write(one, LONG)
    fleet.pass_time(H)
    write(one, LONG)
    write(two, LONG)
    fleet.pass_time(H)
    dues = (fleet.now - MIDNIGHT) // (10 * MINUTE)
    assert dues == len(fleet.started), "one host was there all the time"


@pytest.mark.parametrize(("more", "doubled"), [(H, True), (_MARGIN, False)])
def test_all_clocks_are_set_back_while_a_host_is_away(more: int, doubled: bool) -> None:
    """The host comes to occurrences that are older by that much, and etcd still remembers them."""
    fleet, (one, two) = hosts(SHORT)
    fleet.more = more
    fleet.pass_time(H)
    leave(one, "down")
    fleet.pass_time(5.5 * H)
    one.step_clock(-2.9 * H, scheduler=False)
    two.step_clock(-2.9 * H)
    with pytest.raises(AssertionError, match="runs on") if doubled else nullcontext():
        come_back(one, "down")
        fleet.pass_time(H / 2)


@pytest.mark.parametrize("hours", [9, 30])
def test_what_a_longer_window_brings(hours: int) -> None:
    """An hour after it was lengthened all that comes due is caught up by it; what came before by the shorter one."""
    fleet, found = hosts(SHORT)
    fleet.pass_time(H)
    for host in found:
        write(host, LONG)
    fleet.pass_time(H / 2)
    since = fleet.now + HOUR // 2
    for host in found:
        leave(host, "cut off")
    before = len(fleet.started)
    fleet.pass_time(hours * H)
    for host in found:
        come_back(host, "cut off")
    fleet.pass_time(H / 2)
    dues = sorted(int(key[1:]) * SECOND for _, key in list(fleet.started)[before:])
    assert dues[0] == max(since, fleet.now - HOUR // 2 - DAY) // (10 * MINUTE) * (10 * MINUTE) + 10 * MINUTE
    assert not fleet.missing(LONG, MIDNIGHT, fleet.now - MINUTE)
    assert not fleet.doubled(LONG, MIDNIGHT, fleet.now - MINUTE)


def test_a_definition_of_an_earlier_version() -> None:
    """It says nothing of what is remembered: what follows it counts on an hour, as was always the case."""
    fleet, (one, two) = hosts(SHORT)
    fleet.etcd.put("/jq/jobs/tick", spec_of(SHORT))
    leave(one, "down")
    fleet.pass_time(9 * H)
    assert 9 * 6 == len(fleet.started), "the other goes by it"
    write(one, LONG)
    write(two, LONG)
    since = fleet.now // SECOND + H
    fleet.pass_time(1)
    assert Definition(spec_of(LONG), since, H, 24 * H) == parse_definition(published(fleet))
    come_back(one, "down")
    fleet.pass_time(H)
    assert 10 * 6 == len(fleet.started)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "a b c d",
        "a 1 2 -3",
        "a 1 2 3 4",
        f"a 1 2 {10**30}",
        "[1,2,3,4]",
        "x" * 10**6,
        "a 1 2 3",
        f"a {H} {H} 0",
        f"a {2**62} 0 {2**62}",
        f"a 0 {9 * H} {3 * H}",
        f"a ١ {H} {H}",
        "\udcff 1 2",
    ],
)
def test_what_no_host_has_made(value: str) -> None:
    """It is another definition than any host's, whatever it says of what is remembered."""
    assert Definition(value) == parse_definition(value)
    assert 0 == parse_definition(value).window


def test_a_definition_that_is_damaged() -> None:
    """By one that has nothing remembered at all the job is outdated, and says so; it came due and was always missed."""
    fleet, found = hosts(SHORT)
    fleet.etcd.put("/jq/jobs/tick", f"{spec_of(SHORT)} {2**62} 0 {2**62}")
    fleet.pass_time(H)
    assert [{"tick"}] * 2 == [host.scheduler._state.fleet.outdated for host in found]
    for host in found:
        write(host, replace(SHORT, priority=1))
    fleet.pass_time(H)
    assert not fleet.missing(SHORT, fleet.now - HOUR, fleet.now - MINUTE)
    assert not [each for host in found for each in host.said if each.event == "run_skipped"]


def test_who_publishes_meanwhile() -> None:
    """Of two hosts that get the same definition at the same time one says from when on it counts; both go by that."""
    fleet, found = hosts(SHORT)
    for host in found:
        write(host, LONG)
    fleet.pass_time(H)
    assert 6 == len(fleet.started)
    assert {published(fleet)} == {host.scheduler._state.fleet.definition("tick") for host in found}


@pytest.mark.parametrize("fields", [{"grace": DAY}, {"catch_up_window": MINUTE}, {"catch_up_window": 9 * HOUR}])
def test_how_long_it_is_remembered(fields: dict[str, int]) -> None:
    """An occurrence is remembered for as long as a host may start it: by its window, its grace, after a step of 3 h."""
    fleet, found = hosts(replace(SHORT, **fields))
    fleet.pass_time(10 * 60)
    asked = {ask.keep for host in found for ask in host.asks}
    assert {max(3 * HOUR, *fields.values())} == asked == {parse_definition(published(fleet)).window * SECOND}


def test_what_is_given_back_and_no_longer_remembered() -> None:
    """An occurrence that was given back is not begun if others may have run it, and that is forgotten."""
    fleet, (one, _) = hosts(SHORT)
    write(one, LONG)
    fleet.pass_time(1)
    for hours, runs in ((5, 0), (2, 1)):
        key = f"f{(fleet.now - hours * HOUR) // (10 * MINUTE) * 600}"
        one.happen(Returned("tick", key, "b:id"))
        assert runs == len(one.scheduler.runs)
        fleet.pass_time(H / 60)


@pytest.mark.parametrize(("minutes", "runs"), [(5, 1), (50, 1), (70, 0)])
def test_what_is_given_back_within_its_grace(minutes: int, runs: int) -> None:
    """An occurrence that was given back is begun for as long as it is no missed one, however short the window is."""
    fleet, (one, _) = hosts(replace(SHORT, catch_up_window=MINUTE, grace=HOUR))
    fleet.pass_time(2 * H)
    due = (fleet.now - minutes * MINUTE) // SECOND
    one.happen(Returned("tick", f"f{due}", "b:id"))
    assert runs == len(one.scheduler.runs)


@dataclass
class Told:
    """A fleet's definitions of a job by their texts, from when (s) each is asked for, and from when it is there."""

    random: Random
    texts: list[tuple[int, int, str]]

    def publish(self, now: int) -> None:
        """Replace the definition, by one that comes to etcd later."""
        window = self.random.choice([3, 4, 6, 12, 24, 100]) * HOUR
        new = next_definition(
            self.texts[-1][2], f"s{len(self.texts)}", replace(SHORT, catch_up_window=window), now * SECOND
        )
        self.texts.append((now, now + self.random.choice([0, 1, 10, H - 1]), new.text))

    def at(self, second: int) -> Definition:
        """The definition that counts at a second."""
        return parse_definition(next(text for _, there, text in reversed(self.texts) if there <= second))


@pytest.mark.parametrize("seed", range(200))
def test_all_is_remembered_that_may_be_asked_for(seed: int) -> None:
    """Whatever definitions follow one another: what was run by one is remembered as long as another may come to it."""
    random, now = Random(seed), MIDNIGHT // SECOND
    known = Told(random, [(0, 0, next_definition("", "first", SHORT, 0).text)])
    claims = list[tuple[int, int]]()
    for _ in range(12):
        known.publish(now)
        for _ in range(20):
            claimed = now + random.randrange(2 * H)
            due = claimed - random.choice([0, 0, 1, H, 3 * H, 9 * H, 30 * H])
            counts = known.at(claimed)
            if (claimed - due) * SECOND <= counts.reach(claimed * SECOND):
                claims.append((due, claimed + counts.window + H))
        now += 2 * H + random.choice([1, H, 4 * H, 20 * H])
        for due, until in claims:
            forgotten = max(now, until + 1)
            assert (forgotten - due) * SECOND > known.at(now).reach(forgotten * SECOND), (due, until, known.texts)


@pytest.mark.parametrize("way", ["down", "cut off", "outdated"])
@pytest.mark.parametrize("hours", [2, 9])
def test_what_waits_while_a_host_is_away(way: str, hours: int) -> None:
    """A run that waits on a host for its turn is given up once others may have run it, and that is forgotten."""
    disk = Claim("disk", exclusive=True)
    fleet, (one, two) = hosts(replace(SHORT, locks=(disk,)), job("own", locks=(disk,)), seconds={"own": H, "tick": 1})
    one.run("own")
    two.run("own")
    fleet.pass_time(15 * 60)
    assert [2, 2] == [len(host.scheduler.runs) for host in (one, two)]
    leave(one, way)
    fleet.pass_time(hours * H)
    if way == "outdated":
        write(two, replace(SHORT, priority=1))
    come_back(one, way)
    fleet.pass_time(1)
    skips = [
        reason for each in one.said if each.event == "run_skipped" and (reason := each.fields["reason"]) != "missed"
    ]
    assert ([_FORGOTTEN] if hours > 3 else []) == skips
    assert [] == [key for key in one.scheduler.runs if key.job == "tick"]
    write(one, replace(SHORT, priority=1))
    fleet.pass_time(3 * H)
    assert not fleet.missing(SHORT, MIDNIGHT, fleet.now - MINUTE)


@pytest.mark.parametrize("schedule", ["*/5 * * * *", "5 0 * * *"])
def test_what_waits_on_a_host_that_is_there(schedule: str) -> None:
    """A run that waited longer than etcd remembers waits on if its host was away for a moment, however rare its job."""
    disk = Claim("disk", exclusive=True)
    rare = replace(SHORT, triggers=job("tick", schedule).triggers, locks=(disk,))
    fleet, (one,) = hosts(rare, job("own", locks=(disk,)), names="a", seconds={"own": 9 * H, "tick": 1})
    one.run("own")
    fleet.pass_time(8 * H)
    for way in ("cut off", "down"):
        leave(one, way)
        fleet.pass_time(60)
        come_back(one, way)
    fleet.pass_time(2 * H)
    assert not [each for each in one.said if each.event == "run_skipped"]
    assert not fleet.missing(rare, MIDNIGHT, fleet.now - MINUTE)


@pytest.mark.parametrize("is_told", [False, *[True] * bool(os.environ.get("JOBQUEUED_SOAK"))])
def test_a_life_in_which_windows_are_lengthened(is_told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what the fleet tells of its memory this life goes wrong, which is well with that."""
    if is_told:
        FleetLife(431).live(30)
        return
    monkeypatch.setattr(FleetState, "memory", lambda *_: None)
    with pytest.raises(AssertionError, match=r"runs on h. and on"):
        FleetLife(431).live(30)
