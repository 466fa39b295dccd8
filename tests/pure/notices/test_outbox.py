"""The outbox: nothing is lost, nobody is flooded, and what is held back comes later, with its number."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobqueued.base.instants import DAY, HOUR, MINUTE, SECOND, to_instant
from jobqueued.child.notifier.notice import read
from jobqueued.child.notifier.notice_text import held_back, values
from jobqueued.model.commands import Say
from jobqueued.model.job import Job
from jobqueued.model.notify import Notify, NotifyRule, Policy, Target, Webhook
from jobqueued.notices.failing_receivers import Numbers
from jobqueued.notices.notices import Notices
from jobqueued.notices.outbox import MOST, SENDING, SHOWN, Message, Outbox
from tests.support.told import BEGIN, Told, record
from tests.support.weight import weight

OPS = Notify(email=("ops@example.org",))
OUTPUT = Notify(on=("output",), email=("alice",), remind=None)


def under(**policy: Any) -> Told:
    """A host whose only rule has this policy."""
    return Told([NotifyRule(OPS, policy=Policy(**policy))])


def at(text: str) -> int:
    return to_instant(datetime.fromisoformat(text).replace(tzinfo=UTC))


def test_a_thousand_at_once() -> None:
    """One message names the first of them and counts the others; nothing more is kept than it names, and some."""
    told = under()
    for number in range(1000):
        told.ends(f"job-{number}", 1)
    assert len(told.saved) == MOST
    told.wait(MINUTE)
    (message,) = told.got
    assert message.about["summary"].startswith("1,000 notices: job-0@1 failed after 1 s: exit code 1; job-1@1 failed")
    assert (SHOWN, 1000 - SHOWN) == (len(message.about["held_back"]), message.about["not_shown"])
    assert {} == told.saved


def test_a_rate() -> None:
    """Ten messages go; the next says all that came meanwhile, once the first of the ten is an hour old."""
    told = under(rate=(10, HOUR))
    for minute in range(30):
        told.ends(f"job-{minute}", 1)
        told.wait(MINUTE)
    assert len(told.got) == 10
    told.wait(HOUR)
    assert len(told.got) == 11
    assert told.summaries[-1].startswith("20 notices: job-10@1 ")


def mailing(*rules: NotifyRule) -> Told:
    """A host that mails the output of each run to alice, by these other rules too."""
    return Told([NotifyRule(OUTPUT), *rules])


def test_outputs_go_one_by_one() -> None:
    """Runs that end together have a mail each, with the output in it, as cron sends them."""
    told = mailing()
    for number in range(5):
        told.ends(f"job-{number}", output=f"line of job-{number}")
    told.wait(MINUTE)
    assert ["output"] * 5 == told.events
    assert [f"line of job-{number}" for number in range(5)] == [
        message.about["record"]["output"]["tail"] for message in told.got
    ]
    assert [f"job-{number}" for number in range(5)] == [message.job for message in told.got]
    assert {} == told.saved


def test_outputs_of_a_receiver_that_was_away() -> None:
    """They wait, also over a restart, and go one by one once it takes mails again."""
    told = mailing()
    told.answer = "later 0 connection refused"
    for number in range(3):
        told.ends(f"job-{number}", output="x")
        told.wait(MINUTE)
    told.restart()
    told.answer = "sent"
    told.wait(HOUR)
    assert ["job-0", "job-1", "job-2"] == [message.about["job"] for message in told.got]


def test_a_burst_of_outputs() -> None:
    """The last mail that the rate allows has the runs that got none, with the end of the output of each."""
    told = mailing()
    for number in range(100):
        told.ends(f"job-{number}", output=f"line of job-{number}")
    told.wait(MINUTE)
    *single, last = told.got
    assert [f"job-{number}@1" for number in range(29)] == [message.about["run"] for message in single]
    assert ("digest", SHOWN, 71 - SHOWN) == (last.about["event"], len(last.about["held_back"]), last.about["not_shown"])
    assert last.about["summary"].startswith("71 outputs held back: job-29@1 succeeded")
    assert "line of job-29" == last.about["held_back"][0]["tail"]
    assert {} == told.saved


def test_an_output_each_minute() -> None:
    """No output waits longer than the period of the rate, and each is in exactly one message."""
    told = mailing()
    for minute in range(300):
        told.ends("chatty", output=f"{minute}")
        told.wait(MINUTE)
    told.wait(HOUR)
    told_of = [each["run"] for it in told.got for each in it.about["held_back"] or [it.about]]
    assert [f"chatty@{number}" for number in range(1, 301)] == told_of
    assert len(told.got) <= 6 * 30


def test_outputs_hold_up_no_alarm() -> None:
    """To one address thirty messages of each kind go in an hour: a failure after thirty outputs is told at once."""
    told = mailing(NotifyRule(Notify(email=("alice",)), jobs=("backup",)))
    for number in range(40):
        told.ends(f"job-{number}", output="x")
    told.wait(MINUTE)
    told.ends("backup", 1)
    told.wait(MINUTE)
    assert ("failure", "backup@1") == (told.got[-1].about["event"], told.got[-1].about["run"])


def test_an_output_that_is_refused() -> None:
    """It goes again as the end of it, after 6 h: it may have been too large.  Those behind it keep their own mails."""
    told = mailing()
    told.ends("job-0", output="huge")
    told.ends("job-1", output="small")
    told.answer = "never 552 too large"
    told.send()
    told.answer = "sent"
    told.wait(DAY)
    assert ["digest", "output"] == told.events
    assert ["huge"] == [each["tail"] for each in told.got[0].about["held_back"]]
    assert told.got[0].about["summary"].startswith("1 output held back: job-0@1 ")


def test_an_output_that_waits_as_long_as_after_a_refusal() -> None:
    """A receiver that asks for a pause of 6 h gets the whole output: it did not refuse it."""
    told = mailing()
    told.ends("job-0", output="huge")
    told.answer = "later 21600 450 busy"
    told.send()
    told.answer = "sent"
    told.wait(DAY)
    assert ["output"] == told.events


def test_an_output_of_a_removed_job() -> None:
    """It is mailed, by rules for the job's tags too, and waits for an address that no file names, over a restart."""
    told = Told([NotifyRule(Notify(on=("output",), email=("tag",)), tags=("x",))])
    hook = Notify(on=("success",), webhook=(Webhook("https://example.org/x", "$title"),))
    gone = Job(id="gone", command="", notify=replace(OUTPUT, sender="me@b.org"), tags=("x",))
    told.answer = "later 0 away"
    for each in (gone, replace(gone, id="other", notify=hook, tags=())):
        end = {"record": record(each.id, 1, output="text")}
        told.commit(told.notices.about([Say("run_ended", end, each)], told.wall))
    told.send()
    told.restart()
    told.commit(told.notices.retain(lambda: ()))
    assert ["notice_given_up"] == [said.event for said in told.said if "webhook" in said.fields["target"]][-1:]
    told.answer = "sent"
    told.wait(HOUR)
    assert {"tag": {}, "alice": {"from": "me@b.org"}} == {it.target.address: it.settings for it in told.got}
    told.commit(
        told.notices.about([Say("run_ended", {"record": record("x", 1)}, replace(gone, notify=hook))], told.wall)
    )
    (message,) = told.send()
    assert ({"template": "$title"}, {}) == (message.settings, told.notices.settings(message.target, "x"))


def test_an_output_of_a_job_that_names_another_receiver() -> None:
    """The outbox drops the waiting output, because the job still exists and no longer names the old receiver."""
    wish = replace(OUTPUT, email=("wrong",))
    told = Told([], [Job(id="a", command="x", notify=wish)])
    told.answer = "never no such user"
    told.ends("a", output="x")
    told.send()
    told.jobs["a"] = Job(id="a", command="x", notify=OUTPUT)
    told.commit(told.notices.retain(told.jobs.values))
    assert ({}, "notice_given_up") == (told.saved, told.said[-1].event)


def test_a_removed_job_opens_no_incident() -> None:
    """No later run could end it."""
    told = Told()
    end = {"record": record("gone", 1, 1)}
    told.commit(told.notices.about([Say("run_ended", end, Job(id="gone", command=""))], told.wall))
    told.wait(MINUTE)
    assert (["failure"], {}) == (told.events, told.incidents)


def test_a_digest_of_outputs() -> None:
    """Who asks for a digest of outputs gets one, with the end of each output."""
    told = Told([NotifyRule(OUTPUT, policy=Policy(digest=HOUR))])
    for number in range(3):
        told.ends(f"job-{number}", output="x")
    told.wait(2 * HOUR)
    (message,) = told.got
    assert ["x"] * 3 == [each["tail"] for each in message.about["held_back"]]


def test_receivers_of_once_are_forgotten() -> None:
    """Each of many submissions may name a receiver of its own: no memory is kept of those of before yesterday."""
    outbox = Outbox("db1", lambda _: Policy(), lambda: "UTC", Numbers())
    wall, weights = BEGIN, list[int]()
    for number in range(1, 3001):
        wall += 3 * MINUTE
        outbox.put(
            Target("email", f"{number}@example.org"),
            {"event": "success", "summary": "", "job": f"host/{number}"},
            wall,
            {},
        )
        (message,) = outbox.take(wall)
        outbox.answered(message.number, "sent", wall)
        weights += [] if number % 500 else [weight(outbox)]
    assert max(weights[3:]) <= max(weights[:3]) + 1000


def test_a_digest() -> None:
    """All of an hour in one message, an hour after the first."""
    told = under(digest=HOUR)
    for minute in range(90):
        told.ends(f"job-{minute}", 1)
        told.wait(MINUTE)
    told.wait(HOUR)
    assert [60, 30] == [int(summary.partition(" ")[0]) for summary in told.summaries]


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        ("2026-07-01T21:59:00", "2026-07-01T21:59:00"),
        ("2026-07-01T22:00:00", "2026-07-02T07:00:00"),
        ("2026-07-01T03:00:00", "2026-07-01T07:00:00"),
        ("2026-07-01T07:00:00", "2026-07-01T07:00:00"),
    ],
)
def test_quiet_hours(now: str, opens: str) -> None:
    """Over midnight, and in the middle of them."""
    told = under(quiet=(22 * 60, 7 * 60))
    told.wall = at(now)
    told.ends("a", 1)
    assert at(opens) == told.notices.outbox.next_at(told.wall)


def test_quiet_hours_over_a_clock_change() -> None:
    """In their own zone: the night of 29 March 2026 in Berlin is an hour shorter."""
    told = under(quiet=(22 * 60, 7 * 60))
    told.wall = at("2026-03-28T22:30:00")
    told.notices = Notices("db1", told.rules, lambda: "Europe/Berlin", told.jobs.get)
    told.ends("a", 1)
    assert at("2026-03-29T05:00:00") == told.notices.outbox.next_at(told.wall)


def test_a_receiver_that_is_away() -> None:
    """It is tried after 1, 2, 4 … minutes, at last each hour; what came meanwhile goes along.

    It is said once a day. After three days what is so old is given up, and that is said.
    """
    told = under()
    told.answer = "later 0 connection refused"
    told.ends("a", 1)
    tries = []
    begin = told.wall
    while told.wall < begin + 3 * DAY - 2 * HOUR:
        told.wall = told.notices.outbox.next_at(told.wall) or 0
        tries += [(told.wall - begin) // MINUTE for _ in told.send()]
    assert [0, 1, 3, 7, 15, 31, 63, 123, 183] == tries[:9]
    assert ["notice_failed"] * 3 == [said.event for said in told.said]
    assert "can't be sent: connection refused" in told.notices.outbox.troubles[0]
    told.wait(3 * HOUR)
    assert ("notice_given_up", 1) == (told.said[-1].event, told.said[-1].fields["count"])
    assert ({}, None) == (told.saved, told.notices.outbox.next_at(told.wall))


def test_a_receiver_that_comes_back() -> None:
    """All at once, and the troubles are over."""
    told = under()
    told.answer = "later 0 connection refused"
    for number in range(3):
        told.ends(f"job-{number}", 1)
        told.wait(MINUTE)
    told.answer = "sent"
    told.wait(HOUR)
    assert [3] == [int(summary.partition(" ")[0]) for summary in told.summaries]
    assert ({}, []) == (told.saved, told.notices.outbox.troubles)


@pytest.mark.parametrize(
    ("answer", "pause"), [("later 300 too many", 300), ("never 550 no such user", 6 * 3600), ("", 60), ("what", 60)]
)
def test_when_it_is_tried_again(answer: str, pause: int) -> None:
    """When the receiver says; what can't work is not dropped, as its cause may be mended."""
    told = under()
    told.ends("a", 1)
    (message,) = told.notices.outbox.take(told.wall)
    told.commit(told.notices.outbox.answered(message.number, answer, told.wall))
    expected = 6 * 3600 if answer in ("", "what") else pause
    assert told.wall + expected * SECOND == told.notices.outbox.next_at(told.wall)


def test_one_target_does_not_hold_up_another() -> None:
    """Each is tried by itself, few at a time."""
    targets = tuple(f"{number}@example.org" for number in range(5))
    told = Told([NotifyRule(Notify(email=targets))])
    told.ends("a", 1)
    first = list(told.notices.outbox.take(told.wall))
    assert SENDING == len(first)
    assert (None, []) == (told.notices.outbox.next_at(told.wall), list(told.notices.outbox.take(told.wall)))
    told.commit(told.notices.outbox.answered(first[0].number, "later 0 no", told.wall))
    told.wait(SECOND)
    assert set(targets) - {message.target.address for message in first} == {m.target.address for m in told.got}


def test_what_comes_while_a_full_message_is_on_its_way() -> None:
    """It is in none that is sent already, so it waits for the next."""
    told = under()
    for number in range(MOST + 100):
        told.ends(f"job-{number}", 1)
    (first,) = told.notices.outbox.take(told.wall)
    for number in range(50):
        told.ends(f"later-{number}", 1)
    told.commit(told.notices.outbox.answered(first.number, "sent", told.wall))
    told.wait(MINUTE)
    assert [600, 50] == [int(m.about["summary"].partition(" ")[0]) for m in (first, *told.got)]


def test_who_hangs_does_not_starve_others() -> None:
    """One of the two places is for those who took the last message, whoever waits longer."""
    away = tuple(f"away-{number}@example.org" for number in range(20))
    told = Told(
        [NotifyRule(Notify(email=away), jobs=("a",)), NotifyRule(Notify(email=("good@example.org",)), jobs=("b",))]
    )
    told.answer = "later 0 away"
    told.ends("a", 1)
    told.send()
    told.wall += HOUR
    told.ends("b", 1)
    first = [message.target.address for message in told.notices.outbox.take(told.wall)]
    assert "good@example.org" in first
    assert (None, []) == (told.notices.outbox.next_at(told.wall), list(told.notices.outbox.take(told.wall)))


@pytest.mark.parametrize("policy", [{"digest": DAY}, {"rate": (1, DAY)}, {}])
def test_a_clock_that_was_ahead(policy: dict[str, Any]) -> None:
    """What it has noted keeps nobody silent until then."""
    told = under(**policy)
    told.wall += 300 * DAY
    told.ends("a", 1)
    told.wait(2 * DAY)
    told.answer = "later 0 away"
    told.ends("b", 1)
    told.wait(2 * DAY)
    told.wall -= 290 * DAY
    told.answer = "sent"
    told.got.clear()
    told.wait(MINUTE)
    assert ["b"] == [message.about["job"] for message in told.got]


def test_a_clock_that_was_behind() -> None:
    """A notice of 1970 is not given up as too old at its first failure."""
    told = under()
    told.wall = HOUR
    told.ends("a", 1)
    told.wall = BEGIN
    told.answer = "later 0 away"
    told.send()
    assert len(told.saved) == 1


def test_one_receiver_is_said_once() -> None:
    """However many ways lead there: what parts them is not shown."""
    hooks = tuple(Webhook(f"https://example.org/{number}") for number in range(100))
    told = Told([NotifyRule(Notify(webhook=hooks))])
    told.answer = "never 404"
    told.ends("a", 1)
    told.send()
    while told.notices.outbox.next_at(told.wall) == told.wall:
        told.send()
    assert (1, 1) == (len(told.said), len(told.notices.outbox.troubles))


def test_a_digest_is_what_receivers_know() -> None:
    """The notifier words it as mail and template, and by the worst that it tells."""
    told = under()
    told.ends("a", 1)
    told.ends("b", 1)
    (message,) = told.notices.outbox.take(told.wall)
    sent = {"version": 1, "id": message.id, "channel": "email", "target": "a@example.org", "settings": {}}
    notice = read(json.dumps({**sent, "event": message.about}).encode())
    assert ["a@1 failed", "b@1 failed"] == [line.partition(" after")[0] for line in held_back(notice.event)]
    assert "error" == values(notice)["severity"]


def test_an_answer_of_before() -> None:
    """What an earlier daemon asked for changes nothing."""
    told = under()
    told.ends("a", 1)
    assert [] == told.notices.outbox.answered(4711, "sent", told.wall)
    assert len(told.saved) == 1


def test_a_sender_that_is_gone() -> None:
    """What was on its way goes again, under the same id."""
    told = under()
    told.ends("a", 1)
    (first,) = told.notices.outbox.take(told.wall)
    told.lose()
    told.wait(2 * MINUTE)
    assert [first.id] == [message.id for message in told.got]


def test_ids_are_never_used_again() -> None:
    """Receivers drop doubles by them: not after a restart with an empty outbox, nor after a clock that is set back."""
    told, ids = under(), []
    for step in (0, -HOUR, 0, DAY):
        told.wall += step
        told.ends("a", 1)
        told.ends("a")
        told.wait(SECOND)
        ids = [message.id for message in told.got]
        told.restart() if step == 0 else None
    assert len(set(ids)) == len(ids)


@given(
    st.lists(st.sampled_from(["fail", "succeed", "write", "send", "lose", "die", "wait", "away", "back"]), max_size=40)
)
def test_at_least_once(steps: list[str]) -> None:
    """Whatever dies at whatever moment: each first failure, recovery and output arrives, and nothing waits for ever.

    An output is in a message of its own while the rate allows that.
    """
    outputs = Notify(on=("output",), email=("ops@example.org",), remind=None)
    told = Told([NotifyRule(Notify(email=("ops@example.org",), remind=None)), NotifyRule(outputs)])
    runs, written, failing, expected = 0, 0, False, set[tuple[str, str]]()
    for step in steps:
        if step in ("fail", "succeed"):
            runs += 1
            told.ends("a", int(step == "fail"))
            if failing != (step == "fail"):
                expected.add(("recovery" if failing else "failure", f"a@{runs}"))
            failing = step == "fail"
        elif step == "write":
            written += 1
            told.ends("b", output="x")
            expected.add(("output", f"b@{written}"))
        elif step == "send":  # it arrives, and the daemon may die before it knows
            told.got += list(told.notices.outbox.take(told.wall))
        elif step == "lose":
            told.lose()
        elif step == "die":
            told.restart()
        elif step == "wait":
            told.wait(MINUTE)
        else:
            told.answer = "later 0 away" if step == "away" else "sent"
    told.answer = "sent"
    told.lose()
    told.wait(2 * DAY)
    seen = {(each["event"], each["run"]) for it in told.got for each in it.about["held_back"] or [it.about]}
    assert (expected, {}) == (seen, told.saved)
    assert written >= 30 or all(it.about["job"] == "b" or "b" not in named(it) for it in told.got)


def named(message: Message) -> set[str]:
    """The jobs that a digest names."""
    return {each["job"] for each in message.about["held_back"]}


TEAMS = [Notify(email=(f"team-{number}@example.org",)) for number in range(3)]
POLICIES = [Policy(), Policy(quiet=(22 * 60, 7 * 60), digest=HOUR), Policy(rate=(1, HOUR))]
STEPS = st.sampled_from(["fail", "send", "sent", "later 0 away", "lose", MINUTE, HOUR, 9 * HOUR, -HOUR])


@given(st.lists(st.tuples(STEPS, st.integers(0, 2)), max_size=60))
@example([("fail", 1), (-HOUR, 0)])
def test_the_next_instant_is_kept(steps: list[tuple[str | int, int]]) -> None:
    """It is not found out again while nothing changes; what is kept is never later than what would be found, nor is
    anything sent late, or early, by it.
    """
    rules = [NotifyRule(team, (f"job-{number}-*",), policy=POLICIES[number]) for number, team in enumerate(TEAMS)]
    told = Told(rules)
    outbox, on_way = told.notices.outbox, list[Message]()
    for nth, (step, team) in enumerate(steps):
        if isinstance(step, int):
            told.wall += step
        elif step == "fail":
            told.ends(f"job-{team}-{nth}", 1)
        elif step == "send":
            on_way += outbox.take(told.wall)
        elif step == "lose":
            for message in on_way:
                told.commit(outbox.answered(message.number, "later 0 its sender exited", told.wall))
            on_way.clear()
        elif on_way:
            told.commit(outbox.answered(on_way.pop(0).number, step, told.wall))
        anew = deepcopy(outbox)
        anew._known = None
        kept, found = outbox.next_at(told.wall), anew.next_at(told.wall)
        assert (kept is None) == (found is None)
        assert kept is None or found is None or kept == found or told.wall < kept < found
        due = found is not None and found <= told.wall
        assert due == bool(list(deepcopy(outbox).take(told.wall)))


def test_a_thousand_targets_cost_nothing() -> None:
    """Whoever asks again when the next message goes costs no look at all targets, however many notices wait."""
    looks = 0

    def policy(_target: Target) -> Policy:
        nonlocal looks
        looks += 1
        return Policy(digest=HOUR)

    outbox = Outbox("db1", policy, lambda: "UTC", Numbers())
    for number in range(3000):
        outbox.put(Target("email", f"team-{number % 1000}@example.org"), {"event": "success"}, BEGIN + number, {})
    assert [BEGIN + HOUR] * 100 == [outbox.next_at(BEGIN + 5000 + wall) for wall in range(100)]
    assert [] == list(outbox.take(BEGIN + MINUTE))
    assert looks == 1000


def test_a_place_is_kept() -> None:
    """Of two who did not take the last message one is tried at a time: whoever takes his need not wait for both."""
    rules = [NotifyRule(team, (f"job-{number}",)) for number, team in enumerate(TEAMS)]
    told = Told(rules)
    outbox = told.notices.outbox
    told.ends("job-0", 1)
    told.ends("job-1", 1)
    for message in list(outbox.take(told.wall)):
        told.commit(outbox.answered(message.number, "later 0 away", told.wall))
    told.wall += HOUR
    (first,) = outbox.take(told.wall)
    assert outbox.next_at(told.wall) is None
    told.ends("job-2", 1)
    (other,) = outbox.take(told.wall)
    assert ["team-0@example.org", "team-2@example.org"] == [first.target.address, other.target.address]
