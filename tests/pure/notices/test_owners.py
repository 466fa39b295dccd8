"""Channels that users named for own jobs: never mixed up with the host's or another user's, and sent as these users."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueued.base.instants import DAY, HOUR, MINUTE
from jobqueued.model.commands import Say
from jobqueued.model.job import Job, Now
from jobqueued.model.notify import Notify, NotifyRule, Ping, Target, Webhook
from jobqueued.model.saved import Notice
from jobqueued.model.users import Owner, UserLimits, share_of
from jobqueued.notices.outbox import MOST_OF_USER, SENDING
from jobqueued.notices.send_slots import SendSlots
from jobqueued.runs.notice_sender import NoticeSender
from tests.support.told import Told, record

ALICE, BOB = Owner(1000, "alice"), Owner(1001, "bob")
PAGE, URL = "/usr/local/bin/page", "https://example.org/hook"


def job(owner: Owner, name: str = "x", **wish: Any) -> Job:
    """A job of a user who wants to be notified of failures."""
    wish = wish or {"command": (PAGE,)}
    return Job(id=f"{owner.name}/{name}", command="x", owner=owner, notify=Notify(remind=0, owner=owner, **wish))


def sent_as(told: Told) -> list[tuple[Owner | None, str]]:
    return [(message.target.owner, message.about["summary"]) for message in told.got]


@given(st.sampled_from(("command", "webhook", "apprise", "ping")), st.text(min_size=1), st.integers(0, 1 << 32),
    st.text(st.characters(blacklist_characters=":/\0", blacklist_categories=("Cs",)), min_size=1))  # fmt: skip
def test_a_target_is_read_as_it_was_written(channel: str, address: str, uid: int, name: str) -> None:
    """Whatever its address and the name of its user, and the host's as ever."""
    for target in (Target(channel, address, Owner(uid, name)), Target(channel, address)):
        assert target == Target.parse(str(target))
    assert f"{channel} {address}" == str(Target(channel, address))


def test_a_wish_is_read_as_it_was_written() -> None:
    """With its user; what an earlier version wrote has none."""
    wish = replace(job(ALICE).notify, webhook=(Webhook(URL, headers=(("X", "y"),)),), email=("alice",))
    assert wish == Notify.of(json.loads(json.dumps(wish.plain())))
    assert "owner" not in Notify(command=(PAGE,)).plain()
    assert {None, ALICE} == {target.owner for target in wish.targets()}
    assert [None] == [target.owner for target in wish.targets() if target.channel == "email"]


def test_one_program_of_the_host_and_of_users() -> None:
    """Each is told by itself, of what is its own: nothing of one goes with another's."""
    told = Told([NotifyRule(Notify(command=(PAGE,)))], [job(ALICE), job(BOB), Job(id="h", command="x")])
    for name in ("alice/x", "h", "bob/x"):
        told.ends(name, 1)
    told.wait(MINUTE)
    assert {(ALICE, "alice/x@1 failed after 1 s: exit code 1"), (BOB, "bob/x@1 failed after 1 s: exit code 1"),
        (None, "h@1 failed after 1 s: exit code 1")} == set(sent_as(told))  # fmt: skip
    assert ["command /usr/local/bin/page as alice"] == [it.target.shown for it in told.got if it.target.owner == ALICE]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(("alice/x", "alice/y", "bob/x", "h", "i")), st.sampled_from("fsrwn"))))
def test_no_message_mixes_owners(happens: list[tuple[str, str]]) -> None:
    """Whatever fails, is sent, refused or lost in a restart, a message is about jobs of the one as whom it is sent.

    A mail to one address is about the jobs of one user, too, and of one sender.
    """
    named: dict[str, Any] = {"command": (PAGE,), "webhook": (Webhook(URL),), "email": ("root",)}
    hosts = [Job(id=name, command="x", notify=Notify(remind=0, sender=f"{name}@b.org", **named)) for name in "hi"]
    told = Told([], [job(ALICE, "x", **named), job(ALICE, "y", **named), job(BOB, "x", **named), *hosts])
    for name, what in happens:
        told.answer = "later 0 no" if what == "r" else "sent"
        if what == "f":
            told.ends(name, 1)
        elif what == "n":
            told.restart()
        elif what == "w":
            told.wait(HOUR)
        else:
            told.send()
    told.answer = "sent"
    told.wait(DAY)
    assert {} == told.saved
    for message in told.got:
        about = message.about["held_back"] or [message.about]
        (share,) = {share_of(each["job"]) for each in about}
        if message.target.channel == "email":
            senders = {told.jobs[each["job"]].notify.sender for each in about}
            assert senders == {message.settings.get("from", "")}
        else:
            assert share == ("" if message.target.owner is None else message.target.owner.share)


def test_a_user_gets_no_settings_of_the_hosts() -> None:
    """Neither the headers nor the secret with which the site posts to the same URL."""
    site = Notify(webhook=(Webhook(URL, headers=(("Authorization", "Bearer operators"),), secret_file="/etc/secret"),))
    told = Told([NotifyRule(site)], [job(ALICE, webhook=(Webhook(URL),)), job(BOB, webhook=(Webhook(URL, "$title"),))])
    (target,) = told.jobs["alice/x"].notify.targets()
    assert {} == told.notices.settings(target, "alice/x")
    assert {} == told.notices.settings(target, "bob/x")
    assert {"template": "$title"} == told.notices.settings(target._replace(owner=BOB), "bob/x")
    assert "Bearer operators" in str(told.notices.settings(Target("webhook", URL), "h"))


def test_users_have_one_place_in_turns() -> None:
    """While a channel of a user hangs, the host's go; then it is another user's turn, whoever has waited for longer."""
    many = [job(ALICE, f"x{n}", command=(f"{PAGE}{n}",)) for n in range(5)]
    told = Told([NotifyRule(Notify(command=("/host",)))], [*many, job(BOB), Job(id="h", command="x")])
    for each in (*many, told.jobs["bob/x"]):
        told.ends(each.id, 1)
    outbox = told.notices.outbox
    (first,) = outbox.take(told.wall)
    assert (ALICE, 2) == (first.target.owner, SENDING)
    told.ends("h", 1)
    (second,) = outbox.take(told.wall)
    assert None is second.target.owner
    turns = []
    for _ in range(5):
        told.commit(outbox.answered(first.number, "sent", told.wall))
        (first,) = outbox.take(told.wall)
        turns.append(first.target.owner)
    assert [BOB, ALICE, ALICE, ALICE, ALICE] == turns


def test_turns_are_forgotten() -> None:
    """Of the first of more than a thousand users, so that no memory grows."""
    places = SendSlots()
    for uid in range(1002):
        places.give(Target("command", PAGE, Owner(uid, "x")))
    ranks = [places.rank(Target("command", PAGE, Owner(uid, "x"))) for uid in range(1002)]
    assert ([0, 0], 3, 1002) == (ranks[:2], ranks[2], ranks[-1])


def test_what_an_earlier_version_left_is_not_sent_as_the_host() -> None:
    """It did not note whose a channel is: only mail goes, and what rules of the site name."""
    told = Told([NotifyRule(Notify(command=("/site",)))], [job(ALICE), Job(id="h", command="x")])
    may_go = told.notices.may_go
    assert not may_go(Target("command", PAGE), "alice/x")
    assert not may_go(Target("webhook", URL), "u1000/17")
    own, site = Target("command", PAGE, ALICE), Target("command", "/site")
    for target in (own, site, Target("email", "alice")):
        assert may_go(target, "alice/x")
    for name in ("h", None):
        assert may_go(Target("command", PAGE), name)


def test_as_much_as_waits_for_a_user() -> None:
    """A thousand notices in all channels; of others the number is kept, over a restart too, and it ends with them."""
    many = [job(ALICE, f"x{n}", command=(f"{PAGE}{n}",)) for n in range(MOST_OF_USER + 50)]
    told = Told([], [*many, job(BOB)])
    for each in (*many, *many[:50]):
        told.ends(each.id, 1)
    told.ends("bob/x", 1)
    told.restart()
    for each in many[-50:]:
        told.ends(each.id, 1)
    waiting = list(told.notices.waiting())
    assert {notice.id for notice in waiting} == told.saved.keys()
    own = [notice for notice in waiting if Target.parse(notice.target).owner == ALICE]
    assert (MOST_OF_USER, MOST_OF_USER + 150, 1) == (
        len(own), sum(1 + notice.more for notice in own), len(waiting) - len(own)
    )  # fmt: skip
    told.wait(HOUR)
    assert ({}, {}) == (told.saved, told.notices.outbox._of_users)
    told.answer = "never no"
    told.ends(many[0].id, 1)
    told.wait(5 * DAY)
    assert ({}, {}) == (told.saved, told.notices.outbox._of_users)
    told.ends(many[0].id, 1)
    told.commit(told.notices.retain(lambda: ()))
    assert ({}, {}) == (told.saved, told.notices.outbox._of_users)


OUTPUT = Notify(on=("output",), email=("root",), remind=None)
TABLE = Job(id="crontab:backup", command="x", notify=OUTPUT)


@pytest.mark.parametrize("outputs", [31, 600, 1500])
def test_no_user_uses_up_the_mails_of_the_host(outputs: int) -> None:
    """However much alice's crontab writes to root, root's own mail goes at once and is whole; so does bob's."""
    names = [f"crontabs/alice:{number}" for number in range(outputs)]
    others = [TABLE, replace(TABLE, id="crontabs/bob:x")]
    told = Told([], [*others, *(replace(TABLE, id=name, owner=None) for name in names)])
    for name in names:
        told.ends(name, output="spam")
    told.wait(MINUTE)
    for each in others:
        told.ends(each.id, output="important")
    told.wait(2 * MINUTE)
    mine = [message for message in told.got if message.job in {each.id for each in others}]
    assert ["important"] * 2 == [message.about["record"]["output"]["tail"] for message in mine]
    told.wait(2 * HOUR)
    assert {} == told.saved


def test_as_many_mails_wait_for_a_user() -> None:
    """A thousand, to all addresses together; the host's are not counted among them."""
    jobs = [replace(TABLE, id=f"crontabs/alice:{n}", notify=replace(OUTPUT, email=(f"{n}",))) for n in range(1100)]
    told = Told([], [*jobs, TABLE])
    told.ends(TABLE.id, output="x")
    for each in jobs:
        told.ends(each.id, output="x")
    assert len(told.saved) == MOST_OF_USER + 1
    assert sum(1 + notice.more for notice in told.saved.values()) == 1101


def test_a_mail_that_is_refused_holds_up_no_other_user() -> None:
    """A server that refuses alice's mail to root for what is in it takes root's own."""
    told = Told([], [TABLE, replace(TABLE, id="crontabs/alice:x")])
    told.ends("crontabs/alice:x", output="looks like spam")
    told.answer = "never 550 spam"
    told.send()
    told.answer = "sent"
    told.ends(TABLE.id, output="important")
    told.wait(MINUTE)
    assert [TABLE.id] == [message.job for message in told.got]
    told.commit([told.notices.add_test(Target("email", "root"), TABLE.id, told.wall)])
    told.wait(MINUTE)
    assert "crontabs/alice:x" in {message.job for message in told.got}


def test_a_mail_has_its_own_sender() -> None:
    """It is that of its table as its run ended, over restarts; no digest mixes two, and all have one rate together."""
    tables = [replace(TABLE, id=f"cron.d/{x}:x", notify=replace(OUTPUT, sender=f"{x}@b.org")) for x in "ab"]
    told = Told([], tables)
    for number in range(40):
        told.ends(tables[number % 2].id, output="x")
    told.jobs = {name: replace(table, notify=OUTPUT) for name, table in told.jobs.items()}
    told.restart()
    told.wait(MINUTE)
    assert len(told.got) <= 30
    told.wait(2 * HOUR)
    assert (40, {}) == (sum(len(message.about["held_back"]) or 1 for message in told.got), told.saved)
    for message in told.got:
        about = message.about["held_back"] or [message.about]
        assert {message.settings["from"]} == {f"{each['job'][len('cron.d/')]}@b.org" for each in about}


def test_each_sender_has_a_part_of_the_rate() -> None:
    """The last mails that the rate allows are digests, one for each sender, so that no sender waits for the others."""
    tables = [replace(TABLE, id=f"cron.d/{x}:x", notify=replace(OUTPUT, sender=f"{x}@b.org")) for x in "abc"]
    told = Told([], tables)
    for table, count in zip(tables, (40, 3, 1), strict=True):
        for _ in range(count):
            told.ends(table.id, output="x")
    told.wait(MINUTE)
    assert (30, {}) == (len(told.got), told.saved)
    assert [("a@b.org", 13), ("b@b.org", 3), ("c@b.org", 0)] == [
        (message.settings["from"], len(message.about["held_back"])) for message in told.got[-3:]
    ]


def test_a_mail_that_an_earlier_version_left() -> None:
    """It has no sender, and is sent with the host's."""
    told = Told([], [replace(TABLE, notify=replace(OUTPUT, sender="a@b.org"))])
    told.ends(TABLE.id, output="x")
    told.saved = {number: replace(notice, settings={}) for number, notice in told.saved.items()}
    told.restart()
    it, link = sender(told)
    it.turn(Now(told.wall, 1))
    ((_, order),) = link.orders
    assert MAIL == order["settings"]


class Link:
    """A launcher that keeps orders."""

    greeted = True

    def __init__(self) -> None:
        self.orders: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def notify(self, sender: dict[str, Any], notice: dict[str, Any], _answered: object) -> None:
        self.orders.append((sender, notice))

    def flush(self) -> None:
        """Nothing waits."""


MAIL = {"smtp": "smtp://me:operators@example.org"}


def sender(told: Told, limits: UserLimits = UserLimits()) -> tuple[NoticeSender, Link]:  # noqa: B008
    now, link = Now(told.wall, 1), Link()
    return NoticeSender(told.notices, link, "jobqueue", MAIL, lambda: now, limits), link  # type: ignore[arg-type]


def test_the_orders() -> None:
    """The host's go as the notifier; a user's as that user, without the settings of mail, if the site lets it."""
    told = Told([NotifyRule(Notify(email=("ops",)))], [job(ALICE), Job(id="h", command="x")])
    told.ends("alice/x", 1)
    told.ends("h", 1)
    it, link = sender(told, UserLimits(allow=("alice",), deny=("bob",), caps={"memory": 1 << 30}))
    it.turn(Now(told.wall, 1))
    (first, notice), (second, mail) = link.orders
    assert {"user": "alice", "owner": {"uid": 1000, "name": "alice", "more_groups": []},
        "barred": [("alice",), ("bob",)],
        "above": {"name": "u1000", "caps": [("memory", "memory.max", "1073741824")]}} == first  # fmt: skip
    assert ("alice", {}, {"user": "jobqueue"}) == (notice["user"], notice["settings"], second)
    assert (MAIL, False) == (mail["settings"], "user" in mail)


def test_an_order_of_an_earlier_version() -> None:
    """A notice that it left is refused here, and waits until its file is read, or it is given up."""
    told = Told([], [job(ALICE)])
    told.ends("alice/x", 1)
    (notice,) = told.saved.values()
    old = Notice(notice.id, f"command {PAGE}", notice.created, notice.about)
    told.saved = {old.id: old}
    told.restart()
    it, link = sender(told)
    it.turn(Now(told.wall, 1))
    assert ([], 1) == (link.orders, len(list(told.notices.waiting())))
    told.commit(told.notices.retain(told.jobs.values))
    assert ({}, ["notice_given_up"]) == (told.saved, [said.event for said in told.said])


@pytest.mark.parametrize("owner", [ALICE, None])
def test_pings_of_one_receiver_go_apart(owner: Owner | None) -> None:
    """Those of another user, and of the host, are in no process of a user."""
    jobs = [Job(id=name, command="x", ping=Ping(f"{URL}/{n}", owner=of)) for n, (name, of) in enumerate(
        (("alice/x", ALICE), ("alice/y", ALICE), ("bob/x", BOB), ("h", None)))]  # fmt: skip
    told = Told([], jobs)
    for it in jobs:
        told.commit(told.notices.pings.about([Say("run_ended", {"record": record(it.id, 1, 1)})], told.wall))
    pings, by_owner = told.notices.pings, dict[Owner | None, list[str]]()
    for _ in range(3):
        told.wall += MINUTE
        batch = pings.take(told.wall)
        assert batch is not None
        by_owner[batch.receiver.owner] = [about["job"] for _, about in batch.pings]
        told.commit(pings.answered(batch.number, {}, "sent", told.wall))
    assert {ALICE: ["alice/x", "alice/y"], BOB: ["bob/x"], None: ["h"]}[owner] == by_owner[owner]
