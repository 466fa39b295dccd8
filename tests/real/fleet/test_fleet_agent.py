"""Agents of a fleet beside a real etcd: who gets what, and what is told when agent, scheduler or etcd end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobqueued.base.instants import SECOND
from jobqueued.child.fleet import claims, mark, session
from jobqueued.child.fleet.etcd import gateway
from jobqueued.child.fleet.etcd.gateway import Gateway
from jobqueued.child.fleet.etcd.wire import after_all, coded, text
from jobqueued.child.fleet.lines import Line
from jobqueued.child.fleet.mark import EtcdMark
from jobqueued.child.fleet.uplink import Uplink
from jobqueued.daemon.loop import read_clocks
from tests.support.etcd import cluster, etcd, loopback
from tests.support.fleet_agent import Agent, agents, question_of
from tests.support.host import wait_for
from tests.support.receivers import WebServer, answer


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An etcd of this module."""
    with etcd(tmp_path_factory.mktemp("etcd")) as found:
        yield found


@pytest.fixture
def two(address: str, tmp_path: Path) -> Iterator[list[Agent]]:
    """Two hosts of a fleet in which nothing has happened yet."""
    store = Gateway([address], 5)
    store.call("kv/deleterange", {"key": coded(claims.ROOT), "range_end": coded(after_all(claims.ROOT))})
    store.close()
    with agents(tmp_path, address, "one", "two") as found:
        yield found


TICK, LATER = "f1772409660", "f1772409720"
NEVER = 1 << 40
SETTINGS = {
    "store": "id",
    "lock_grace": 60,
    "fleet": "fleet",
    "authority": "",
    "certificate": "",
    "key": "",
    "common": "",
}


def keys(address: str) -> list[str]:
    """All keys of the fleet."""
    store = Gateway([address], 5)
    answer = store.call("kv/range", {"key": coded(claims.ROOT), "range_end": coded(after_all(claims.ROOT))})
    store.close()
    return [text(kv["key"]) for kv in answer.get("kvs", ())]


def just_now() -> str:
    """The key of an occurrence that came due just now."""
    return f"f{read_clocks().wall // SECOND}"


def test_one_of_two(two: list[Agent]) -> None:
    """An occurrence is one host's; its lock is known to the other, until it is given back."""
    one, other = two
    one.ask("backup", TICK, "tape", "job/backup")
    assert 0 < one.hear("granted", "backup", 1, 1)[-2]
    other.hear("taken", "backup", TICK)
    other.hear("held", "backup on one", [["job/backup", 1], ["tape", 1]])
    other.ask("backup", LATER, "job/backup")
    other.hear("denied", "backup", 1, 1)
    one.say("give_back", "backup", TICK, "succeeded")
    other.hear("held", "backup on one", [])
    other.ask("backup", LATER, "job/backup", question=2)
    other.hear("granted", "backup", 1, 2)


def test_what_is_given_back_whole(two: list[Agent], address: str) -> None:
    """It is told to all, and to who begins later; whoever asks first has it then, or skips it, and that is told."""
    one, other = two
    for key in (TICK, LATER):
        one.ask("backup", key)
        one.hear("granted", "backup")
        other.hear("taken", "backup", key, "")
        one.say("give_back", "backup", key, "returned")
        other.hear("returned", f"backup/{key}", "one:oneid")
    other.kill()
    other.start()
    other.hello()
    assert other.hear("returned", f"backup/{TICK}", "one:oneid")
    other.hear("up", "")
    other.ask("backup", TICK)
    other.hear("granted", "backup")
    one.hear("taken", "backup", TICK, "")
    one.hear("returned", f"backup/{TICK}", "")
    other.say("skip", "backup", int(TICK[1:]) + 1, int(LATER[1:]), 3600, "")
    one.hear("returned", f"backup/{LATER}", "")
    assert [] == [key for key in keys(address) if "returned" in key]


def test_units(two: list[Agent]) -> None:
    """A lock with several units is had by as many; one that others take meanwhile is left to them for another."""
    one, other = two
    for number in range(1, 6):
        (one if number % 2 else other).say("ask", "job", number, number, f"x{number}", [["licence", 1, 5]], 3600, "")
    for number in (1, 3, 5):
        one.hear("granted", "job", number, number)
    for number in (2, 4):
        other.hear("granted", "job", number, number)
    other.say("ask", "job", 6, 6, "x6", [["licence", 2, 5]], 3600, "")
    other.hear("denied", "job", 6, 6)
    one.say("give_back", "job", "x1", "")
    one.say("give_back", "job", "x3", "")
    other.hear("held", "job on one", [["licence", 1]])
    other.say("ask", "job", 6, 7, "x6", [["licence", 2, 5]], 3600, "")
    other.hear("granted", "job", 6, 7)


def test_turns(two: list[Agent]) -> None:
    """Whoever gives a lock back leaves it for a moment to a host that stands in line for it, and to that alone."""
    one, other = two
    one.ask("a", "x1", "tape")
    one.hear("granted", "a", 1, 1)
    other.say("join", "tape")
    etcd = other.settings["etcd"][0]
    wait_for(lambda: "/jq/wait/two/tape" in keys(etcd), why="that the other stands in line")
    other.ask("b", "x1", "disk")
    one.hear("held", "b on two", [["disk", 1]])  # and so what was before
    one.say("give_back", "a", "x1", "")
    one.ask("a", "x2", "tape", question=2)
    one.hear("held", "two, which is next in line for tape", [["tape", 1]])
    one.hear("denied", "a", 1, 2)
    one.hear("held", "two, which is next in line for tape", [])
    one.ask("a", "x2", "tape", question=3)
    one.hear("granted", "a", 1, 3)
    other.say("leave", "tape")
    wait_for(lambda: "/jq/wait/two/tape" not in keys(etcd), why="that it has left")


def test_a_scheduler_that_begins_anew(two: list[Agent]) -> None:
    """It is told what its host has, what others have, and then that it can ask; what it asks again is granted again."""
    one, other = two
    one.ask("backup", TICK, "tape")
    fence = one.hear("granted", "backup", 1, 1)[-2]
    other.ask("other", "x1", "disk")
    other.hear("granted", "other", 1, 1)
    one.hello()
    one.hear("held", "other on two", [["disk", 1]])
    one.hear("ours", "backup", TICK)
    one.hear("up", "")
    one.ask("backup", TICK, "tape")
    assert fence == one.hear("granted", "backup", 1, 1)[-2]


def test_an_agent_that_is_killed(two: list[Agent]) -> None:
    """The next goes on with its session: nothing of it is lost."""
    one, other = two
    one.ask("backup", TICK, "tape")
    one.hear("granted", "backup", 1, 1)
    one.kill()
    one.start()
    one.hello()
    one.hear("ours", "backup", TICK)
    one.hear("up", "")
    other.ask("other", "x1", "tape")
    other.hear("denied", "other", 1, 1)


def test_definitions(two: list[Agent]) -> None:
    """Only who has the definition that was published last is granted an occurrence; all hear which that is."""
    one, other = two
    one.ask("backup", TICK, spec="old")
    one.hear("spec", "backup", "")
    one.hear("denied", "backup", 1, 1)
    one.say("publish", "backup", "old", 0)
    one.ask("backup", TICK, question=2, spec="old")
    one.hear("granted", "backup", 1, 2)
    revision = other.hear("spec", "backup", "old")[3]
    other.say("publish", "backup", "late", 0)
    other.say("publish", "backup", "new", revision)
    again = one.hear("spec", "backup", "new")[3]
    other.say("publish", "backup", "old", again)
    one.hear("spec", "backup", "old")
    one.say("publish", "backup", "late", revision)  # the value is the same, and the revision is not
    other.say("publish", "backup", "new", other.hear("spec", "backup", "old")[3])
    assert "new" == one.hear("spec", "backup")[2]
    one.ask("backup", LATER, question=3, spec="old")
    one.hear("denied", "backup", 1, 3)


def test_the_hosts_of_a_fleet(two: list[Agent], address: str) -> None:
    """Who has a session is told with the snapshot, and when it comes and goes."""
    one, other = two
    one.hello()
    one.hear("host", "one", "one:oneid")
    one.hear("host", "two", "two:twoid")
    one.hear("up", "")
    other.kill()
    store = Gateway([address], 5)
    store.call("kv/deleterange", {"key": coded(f"{claims.ROOT}hosts/two")})
    store.close()
    one.hear("host", "two", "")
    other.start()
    other.hello()
    one.hear("host", "two", "two:twoid")


def test_an_etcd_that_was_put_back(two: list[Agent]) -> None:
    """A host that knows of more than etcd has asks nothing, until that is accepted; so do those that know no more."""
    one, other = two
    one.hello()
    _, age, number = one.hear("mark")
    one.ask("backup", TICK)
    assert number < one.hear("mark", age)[2]
    one.hear("granted", "backup", 1, 1)
    for seen in ([age, number], ["", 0]):
        one.hello(*seen)
        assert one.hear("mark", age)[2] > number
        one.hear("up", "")
    one.hello(age, number + 1000)
    assert one.hear("up")[1].endswith("to accept this state: jobqueuectl fleet accept")
    one.say("accept")
    assert age != one.hear("mark")[1]
    one.hear("up", "")
    one.ask("backup", LATER, question=2)
    one.hear("granted", "backup", 1, 2)
    assert other.hear("up")[1].endswith("to accept this state: jobqueuectl fleet accept")
    other.hello(age, number)
    assert other.hear("up")[1].endswith("to accept this state: jobqueuectl fleet accept")


def test_an_etcd_that_was_put_back_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that has not missed it, and hears no news yet, sees that by its next question, and is granted nothing."""
    monkeypatch.setattr(Uplink, "_follow", lambda *_: None)
    with cluster(tmp_path, loopback(1)) as found:
        member, heard = found.members[0], list[Line]()
        settings = {**SETTINGS, "etcd": [member.clients], "host": "one"}
        uplink = Uplink(settings, f"{tmp_path}/session", lambda: None)

        def hears(*wanted: object) -> bool:
            heard.extend(uplink.lines())
            return any(line[: len(wanted)] == [*wanted] for line in heard)

        uplink.hello(EtcdMark(), {})
        wait_for(lambda: hears("up", ""))
        uplink.take(question_of("before", just_now()))  # by which the snapshot has all leases
        wait_for(lambda: hears("granted", "before"))
        member.snapshot(tmp_path / "snapshot")
        uplink.take(question_of("backup", just_now()))
        wait_for(lambda: hears("granted", "backup"))
        member.kill()
        member.restore(tmp_path / "snapshot", "--bump-revision", "1000000", "--mark-compacted")
        member.start()
        member.wait()
        uplink.take(question_of("other", just_now(), question=2))
        wait_for(lambda: hears("granted", "other") or any("jobqueuectl fleet accept" in str(line) for line in heard))
        uplink.stop()
        assert not hears("granted", "other"), heard


def test_an_earlier_session(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that has opened another session, as etcd did not know its own for a moment, keeps that alive no longer."""
    uplink = Uplink({**SETTINGS, "etcd": [address], "host": "once"}, f"{tmp_path}/session", lambda: None)
    heard = list[Line]()

    def hears(*wanted: object) -> bool:
        heard.extend(uplink.lines())
        return any(line[: len(wanted)] == [*wanted] for line in heard)

    uplink.hello(EtcdMark(), {})
    wait_for(lambda: hears("up", ""))
    with monkeypatch.context() as patched:
        patched.setattr(session, "_alive", lambda *_: 0)
        with uplink._changed:
            uplink._conversation.is_outdated = True
            uplink._changed.notify_all()
        wait_for(lambda: hears("up") and "an earlier session of once still exists" in str(heard))
    heard.clear()
    wait_for(lambda: hears("up", ""), seconds=60)
    uplink.stop()


def test_names_are_not_shared(two: list[Agent], address: str, tmp_path: Path) -> None:
    """A second host of the same name is in no fleet, and is told why."""
    again = Agent(tmp_path / "again", address, "one", store="another")
    assert "another host in the fleet uses, or used until now, the name one" in again.hear("up")[1]
    two[0].ask("backup", TICK)
    two[0].hear("granted", "backup")
    again.close()


@pytest.mark.parametrize("value", ["", "x"])
def test_a_name_that_another_program_wrote(value: str, address: str, tmp_path: Path) -> None:
    """The agent reports that the name is in use, whatever the key's value is. etcd's JSON omits an empty value."""
    store = Gateway([address], 5)
    store.call("kv/put", {"key": coded(f"{claims.ROOT}hosts/three"), "value": coded(value)})
    store.close()
    with closing(Agent(tmp_path / "three", address, "three")) as three:
        assert "another host in the fleet uses, or used until now, the name three" in three.hear("up")[1]


def test_an_etcd_that_is_not_there(tmp_path: Path) -> None:
    """The reason is told; once it is there, all goes on, also if it goes and comes back."""
    alone = Agent(tmp_path / "alone", "http://127.0.0.1:1", "alone")
    assert "http://127.0.0.1:1: Connection refused" == alone.hear("up")[1]
    alone.close()


@pytest.mark.parametrize(("seconds", "side"), [(10, "ahead of"), (-10, "behind")])
def test_a_clock_that_is_wrong(
    seconds: int, side: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host whose clock differs from etcd's asks nothing, and says so, until it does not any more."""
    lines, clock = list[Line](), SimpleNamespace(off=seconds)
    clock.time = lambda: read_clocks().wall / SECOND + clock.off
    monkeypatch.setattr(gateway, "time", clock)
    settings = {**SETTINGS, "etcd": [address], "host": f"late-{side[:5]}"}
    uplink = Uplink(settings, f"{tmp_path}/session", lambda: None)
    uplink.hello(EtcdMark(), {})

    def told() -> list[Line]:
        lines.extend(uplink.lines())
        return [line for line in lines if line[0] == "up"]

    wait_for(told)
    assert f"{side} etcd's clock" in told()[-1][1]
    clock.off = 0
    wait_for(lambda: told()[-1] == ["up", ""])
    clock.off = seconds
    wait_for(lambda: f"{side} etcd's clock" in told()[-1][1])
    uplink.stop()


def test_orders(two: list[Agent]) -> None:
    """A thousand questions at once are answered in their order, those that ask for the same lock one after another."""
    one, _ = two
    for number in range(1000):
        one.ask("backup", f"f{1772409660 + number}", question=number + 1)
    answers = [one.hear("granted", "backup")[2:] for _ in range(1000)]
    assert [[1, number + 1] for number in range(1000)] == [answer[:2] for answer in answers]
    for number in range(20):
        one.ask(f"job{number}", "x1", "tape")
        one.hear("granted", f"job{number}")
        one.say("give_back", f"job{number}", "x1", "")
    one.ask("job20", "x1", "tape")
    one.hear("granted", "job20")
    for number in range(21, 40):
        one.ask(f"job{number}", "x1", "tape")
        one.say("give_back", f"job{number}", "x1", "")  # it may be asked before that, or not at all
    one.say("give_back", "job20", "x1", "")
    one.ask("job40", "x1", "tape")
    one.hear("granted", "job40")


def test_leases_that_are_gone(two: list[Agent], address: str) -> None:
    """An etcd that knows none of the leases is asked with others: the session, the locks, the memory of occurrences."""
    one, other = two
    one.ask("backup", just_now(), "tape")
    one.hear("granted", "backup", 1, 1)
    gateway = Gateway([address], 5)
    for lease in gateway.call("lease/leases", {})["leases"]:
        gateway.call("lease/revoke", {"ID": lease["ID"]})
    gateway.close()
    for agent in two:
        agent.hear("up", "this host's session expired in etcd")
    for agent in two:
        agent.hear("up", "")
    one.ask("backup", LATER, "tape")
    one.hear("granted", "backup", 1, 1)
    other.ask("other", "x1", "tape")
    other.hear("denied", "other", 1, 1)


def test_how_long_it_is_remembered(two: list[Agent], address: str) -> None:
    """An occurrence as long as it was asked for with it, also after its end, and whatever is asked for beside it."""
    one, _ = two
    for job, keep in (("hourly", 3600), ("weekly", 7 * 86400), ("short", 60)):
        one.say("ask", job, 1, 1, TICK, [], keep, "")
        one.hear("granted", job)
    one.hello()
    one.hear("up", "")
    for job in ("hourly", "weekly", "short"):
        one.say("give_back", job, TICK, "succeeded")
    one.ask("last", TICK)
    one.hear("granted", "last")
    etcd = Gateway([address], 5)
    answer = etcd.call("kv/range", {"key": coded("/jq/runs/"), "range_end": coded("/jq/runs0")})
    lasts = {}
    for kv in answer["kvs"]:
        lease = etcd.call("lease/timetolive", {"ID": kv["lease"]})
        lasts[text(kv["key"]).split("/")[3], text(kv["value"])] = int(lease["grantedTTL"])
    etcd.close()
    assert lasts["weekly", "one:oneid succeeded"] >= 7 * 86400
    assert lasts["hourly", "one:oneid succeeded"] >= 3600


def test_an_etcd_that_is_put_back_meanwhile(two: list[Agent], address: str) -> None:
    """It is noticed also by an agent that lives on; and a key that nobody of the fleet has made is nobody's."""
    one, _ = two
    tick = just_now()
    one.ask("backup", tick)
    one.hear("granted", "backup")
    etcd = Gateway([address], 5)
    etcd.call("kv/put", {"key": coded("/jq/runs/foo"), "value": coded("x")})
    etcd.call("kv/deleterange", {"key": coded(mark.KEY)})
    for lease in etcd.call("lease/leases", {})["leases"]:
        etcd.call("lease/revoke", {"ID": lease["ID"]})
    etcd.close()
    one.hear("up", "this host's session expired in etcd")
    assert "etcd was restored to an earlier state" in one.hear("up")[1]


def test_an_etcd_that_is_put_back_at_once(tmp_path: Path) -> None:
    """It is noticed by an answer that is of before, though session and leases are known: nothing is granted by it."""
    with cluster(tmp_path, loopback(1)) as found, agents(tmp_path, found.members[0].clients, "host") as (host,):
        now = read_clocks().wall // SECOND
        for number in range(4):
            host.ask("backup", f"f{now + number}", question=number + 1)
            host.hear("granted", "backup", 1, number + 1)
            if number == 0:
                found.members[0].snapshot(tmp_path / "snapshot")
        found.members[0].kill()
        found.members[0].restore(tmp_path / "snapshot")
        found.members[0].start()
        host.ask("backup", f"f{now + 4}", question=5)
        while "etcd was restored to an earlier state" not in (told := host.hear())[1]:
            assert told[0] in ("up", "mark"), told


@pytest.mark.parametrize("bump", [[], ["--bump-revision", "1000000", "--mark-compacted"]])
def test_a_host_that_was_down_at_the_snapshot(bump: list[str], tmp_path: Path) -> None:
    """It asks nothing of an etcd that was put back, as another host has found that; and goes on once it is accepted."""
    with (
        cluster(tmp_path, loopback(1)) as found,
        agents(tmp_path, found.members[0].clients, "one", "two") as (one, away),
    ):
        member, now = found.members[0], read_clocks().wall // SECOND
        away.hello()
        _, *seen = away.hear("mark")
        away.kill()
        member.snapshot(tmp_path / "snapshot")
        one.ask("backup", f"f{now}")
        one.hear("granted", "backup")
        member.kill()
        member.restore(tmp_path / "snapshot", *bump)
        member.start()
        while "restored to an earlier state" not in one.hear("up")[1]:
            pass
        away.start()
        away.hello(*seen)
        while "restored to an earlier state" not in away.hear("up")[1]:
            pass
        away.say("accept")
        away.hear("up", "")
        away.ask("backup", f"f{now}")
        away.hear("granted", "backup")


def test_an_agent_that_is_half_dead(tmp_path: Path) -> None:
    """It ends as a whole, also where a thread of it does: here an answer of what is no etcd does that."""
    with WebServer(answer("200 OK", b"{}")) as no_etcd:
        agent = Agent(tmp_path / "one", no_etcd.url, "one")
        wait_for(lambda: agent.process.poll() is not None, why="its end")
        assert 1 == agent.process.returncode
        agent.close()


def test_a_member_that_stands_still(tmp_path: Path) -> None:
    """What has changed is heard by way of another, also where nothing is asked."""
    with cluster(tmp_path) as three:
        members = [each.clients for each in three.members]
        one, other = (Agent(tmp_path / name, members, name) for name in ("one", "other"))
        for agent in (one, other):
            agent.hear("up", "")
        one.ask("backup", TICK, "tape")
        one.hear("granted", "backup", 1, 1)
        other.hear("held", "backup on one", [["tape", 1]])
        first = gateway.nearest_first(members, "other")[0]
        next(each for each in three.members if each.clients == first).send(signal.SIGSTOP)
        one.say("give_back", "backup", TICK, "succeeded")
        other.hear("held", "backup on one", [])
        one.close()
        other.close()


def test_a_host_that_is_gone(address: str, tmp_path: Path) -> None:
    """What it had begun is told once its locks may be others' too, and is one host's; another agent is told so anew."""
    key, following = just_now(), f"{just_now()}.2"
    with agents(tmp_path, address, "db1", "db2", lock_grace=11) as (one, other):
        one.ask("lost", key)
        one.hear("granted", "lost")
        one.ask("over", key)
        one.hear("granted", "over")
        one.say("give_back", "over", key, "succeeded")
        other.hear("taken", "over", key, "succeeded")
        one.kill()
        assert ["lost", "lost", following, "db1"] == other.hear("lost", "lost")
        other.kill()
        other.start()
        other.hello(over=0, lost=NEVER)
        assert ["lost", "lost", following, "db1"] == other.hear("lost", "lost")
        other.ask("lost", following)
        other.hear("granted", "lost")
        other.ask("over", following, question=2)
        other.hear("taken", "over", following)
        store = Gateway([address], 5)
        found = store.call(
            "kv/range", {"key": coded("/jq/runs/lost/"), "range_end": coded(after_all("/jq/runs/lost/"))}
        )
        store.close()
        assert ["db1:db1id lost", "db2:db2id"] == [text(kv["value"]) for kv in found["kvs"]]


def test_what_is_announced(two: list[Agent]) -> None:
    """Labels, and that a host is on hold, are known to the others, and to a scheduler that begins."""
    one, other = two
    one.say("announce", ["gpu", "site-a"], True)
    other.hear("host", "one", "one:oneid", ["gpu", "site-a"], True)
    other.hello()
    other.hear("host", "one", "one:oneid", ["gpu", "site-a"], True)
    one.say("announce", [], False)
    other.hear("host", "one", "one:oneid", [], False)
