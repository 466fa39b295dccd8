"""Incidents: people are told once, again where it is something else, now and then while it lasts, and its end."""

from __future__ import annotations

import pytest

from jobqueued.base.instants import DAY, HOUR, MINUTE
from jobqueued.child.contract.reasons import parse
from jobqueued.model.job import Job
from jobqueued.model.notify import EVENTS_OF_SITE, Notify, NotifyRule, Target, Webhook
from jobqueued.model.submission import Submission
from jobqueued.model.users import Owner
from jobqueued.notices import happenings
from tests.support.told import OPS, Told, record


def test_a_day_of_failures() -> None:
    """A minutely job that fails for a day: 1 + 4 + 1 messages, whoever restarts the daemon meanwhile."""
    told = Told()
    for minute in range(24 * 60 + 1):
        if minute % 97 == 0:
            told.restart()
        told.ends("sync", 1)
        told.wait(MINUTE)
    told.ends("sync")
    told.wait(MINUTE)
    assert ["failure", *["reminder"] * 4, "recovery"] == told.events
    assert told.summaries[0] == "sync@1 failed after 1 s: exit code 1"
    assert told.summaries[-1].endswith("; before that, it failed 1441 times in 1 d")
    assert told.got[-1].about["incident"]["count"] == 1441
    assert ({}, {}) == (told.incidents, told.saved)


def test_another_failure_is_told_anew() -> None:
    """Another exit code, signal or way to end; the same one again is not."""
    told = Told()
    for exit_code, state in ((1, ""), (1, ""), (2, ""), (1, "timed_out"), (1, "oom_killed"), (1, "lost"), (1, "lost")):
        told.ends("a", exit_code, state=state)
        told.wait(MINUTE)
    assert ["failure", "failure", "timeout", "oom", "lost"] == told.events


def test_whose_failure_was_not_told() -> None:
    """An end is told to those who know of the beginning, and want it."""
    told = Told([NotifyRule(Notify(on=("recovery",), email=("a@example.org",))), OPS])
    told.ends("a", 1)
    told.wait(MINUTE)
    told.ends("a")
    told.wait(MINUTE)
    assert ["ops@example.org"] * 2 == [message.target.address for message in told.got]
    told.ends("a")
    told.ends("b")
    told.wait(DAY)
    assert len(told.got) == 2


def test_output_is_told_as_cron_mails_it() -> None:
    """Each run that wrote something, however it ended; in addition to an alarm, and instead of another notice."""
    wish = Notify(on=("output",), email=("alice", "ops@example.org"), remind=None)
    told = Told([OPS], [Job(id="a", command="true", notify=wish)])
    for exit_code, state, output in ((0, "", "hi"), (0, "", ""), (1, "", "no"), (0, "killed", "half")):
        told.ends("a", exit_code, state=state, output=output)
        told.wait(MINUTE)
    told.ends("b", output="nobody asked")
    told.wait(MINUTE)
    assert [
        ("alice", "output", "a@1 succeeded after 1 s, with output"),
        ("ops@example.org", "output", "a@1 succeeded after 1 s, with output"),
        ("alice", "output", "a@3 failed after 1 s: exit code 1, with output"),
        ("ops@example.org", "failure", "a@3 failed after 1 s: exit code 1"),
        ("ops@example.org", "output", "a@3 failed after 1 s: exit code 1, with output"),
        ("alice", "output", "a@4 killed after 1 s, with output"),
        ("ops@example.org", "output", "a@4 killed after 1 s, with output"),
    ] == sorted(
        ((message.target.address, message.about["event"], message.about["summary"]) for message in told.got),
        key=lambda message: (message[2].split()[0], message),
    )


@pytest.mark.parametrize("state", ["", "timed_out", "oom_killed", "lost"])
def test_outputs_of_an_incident_go_one_by_one(state: str) -> None:
    """Alarms and recoveries of jobs that end together may be joined; each output is a message of its table's sender."""
    wish = Notify(on=("output",), email=("ops@example.org",), remind=None, sender="me@b.org")
    told = Told([OPS], [Job(id=name, command="true", notify=wish) for name in "abc"])
    for exit_code, how in ((1, state), (1, state), (0, "")):
        told.got.clear()
        for name in "abc":
            told.ends(name, exit_code, state=how, output=f"disk {name} is full")
        told.wait(MINUTE)
        outputs = [it for it in told.got if it.about["event"] == "output"]
        assert [f"disk {name} is full" for name in "abc"] == [it.about["record"]["output"]["tail"] for it in outputs]
        assert [{"from": "me@b.org"}] * 3 == [it.settings for it in outputs]


def test_an_output_is_instead_of_a_notice_without_an_incident() -> None:
    """As from at -m: each run has one mail, with its output if it wrote one."""
    wish = Notify(on=("output", "success", "failure"), email=("alice",), remind=None)
    jobs = [Job(id=f"alice/{number}", command="true", notify=wish, submission=Submission()) for number in (1, 2)]
    told = Told([], jobs)
    for exit_code in (0, 1):
        for each, output in zip(jobs, ("hi", ""), strict=True):
            told.ends(each.id, exit_code, output=output)
            told.wait(MINUTE)
    assert ["output", "success", "output", "failure"] == told.events


def test_output_of_failures_only() -> None:
    """As cronie's -n: a mail of its own for each run that failed and wrote something, which is its output."""
    wish = Notify(on=("failed_output",), email=("alice",), remind=None)
    told = Told([], [Job(id="a", command="true", notify=wish)])
    for exit_code, output in ((0, "hi"), (1, "no"), (2, ""), (1, "again")):
        told.ends("a", exit_code, output=output)
    told.wait(MINUTE)
    assert [("output", "a@2"), ("output", "a@4")] == [(it.about["event"], it.about["run"]) for it in told.got]


def test_a_wish_may_have_a_sender_of_its_own() -> None:
    """Mails to its own addresses are from whom a wish says; to others as the settings have it."""
    wish = Notify(on=("output",), email=("alice",), sender="cron@example.org")
    told = Told([OPS], [Job(id="a", command="true", notify=wish)])
    assert told.notices.settings(Target("email", "alice"), "a") == {"from": "cron@example.org"}
    assert told.notices.settings(Target("email", "ops@example.org"), "a") == {}


@pytest.mark.parametrize("state", ["killed", "succeeded"])
def test_what_is_no_failure(state: str) -> None:
    """What a person stopped, and what went well, is told to nobody who does not ask for it."""
    told = Told()
    told.ends("a", 0, state=state, reason="stopped by root")
    told.wait(DAY)
    assert [] == told.got


def test_a_failover_does_not_hide_the_failure() -> None:
    """The run has succeeded, for those who depend on it; whoever looks after the job is told."""
    told = Told()
    fields = {"attempt": 1, "reason": "exit code 3"}
    document = {
        "attempts": [fields, {"attempt": 2, "failover": True, "reason": None}],
        "reason": "by the failover, after exit code 3",
    }
    told.say("run_ended", record={**record("a", 1), **document})
    told.wait(MINUTE)
    assert ["a@1 failed: exit code 3; its failover has succeeded"] == told.summaries


def test_no_reminder() -> None:
    """`remind: none` is once; a shorter one is a shorter one, for each target."""
    rules = [
        NotifyRule(Notify(email=("once@example.org",), remind=None)),
        NotifyRule(Notify(email=("often@example.org",), remind=HOUR)),
    ]
    told = Told(rules)
    for _ in range(10):
        told.ends("a", 1)
        told.wait(HOUR)
    addresses = [message.target.address for message in told.got]
    assert (1, 10) == (addresses.count("once@example.org"), addresses.count("often@example.org"))


def test_a_clock_that_was_ahead() -> None:
    """A reminder that was told in the future keeps nobody from the next."""
    told = Told()
    told.wall += 300 * DAY
    told.ends("a", 1)
    told.wait(MINUTE)
    told.wall -= 300 * DAY
    told.ends("a", 1)
    told.wait(MINUTE)
    assert ["failure", "reminder"] == told.events


def test_who_is_told_of_which_job() -> None:
    """By id or pattern, tag, user, and by the job itself; whoever is told twice over is told once."""
    jobs = [
        Job(id="db-1", command="x", tags=("nightly",), user="alice"),
        Job(id="web", command="x", notify=Notify(email=("web@example.org", "all@example.org"))),
    ]
    rules = [
        NotifyRule(Notify(email=("db@example.org",)), jobs=("db-*", "old")),
        NotifyRule(Notify(email=("night@example.org",)), tags=("nightly", "x")),
        NotifyRule(Notify(email=("root@example.org",)), users=("root",)),
        NotifyRule(Notify(email=("all@example.org",))),
    ]
    told = Told(rules, jobs)
    found = {}
    for job in ("db-1", "web", "gone"):
        told.got.clear()
        told.ends(job, 1)
        told.wait(MINUTE)
        found[job] = sorted(message.target.address.partition("@")[0] for message in told.got)
    assert {"db-1": ["all", "db", "night"], "web": ["all", "root", "web"], "gone": ["all"]} == found


def test_the_site() -> None:
    """A refused file, an invalid job and a state that can't be saved have an end, too, and belong to no job's rule."""
    told = Told([NotifyRule(SITE), NotifyRule(SITE, jobs=("x",))])
    told.say("refused", file="/etc/jobqueue.d/a.yaml", jobs=["a"])
    told.say("job_invalid", job="b", reason="no user bob", file="b.yaml", line=3)
    told.say("degraded", text="cannot save state")
    told.wait(MINUTE)
    told.say("refused", file="/etc/jobqueue.d/a.yaml", jobs=["a"])
    told.say("mended", file="/etc/jobqueue.d/a.yaml")
    told.say("job_valid", job="b")
    told.say("recovered", text="the state is saved again", of="state")
    told.say("recovered", text="the launcher answers again")
    told.wait(MINUTE)
    events = [each["event"] for message in told.got for each in message.about["held_back"] or [message.about]]
    assert ["config_error", "config_error", "degraded", "recovery", "recovery", "recovery"] == events


SITE = Notify(on=("config_error", "degraded", "recovery"), email=("ops@example.org",))


def test_an_end_that_nobody_saw() -> None:
    """What is over by the next start is told as over; what belongs to a job that is gone is over in silence."""
    told = Told([NotifyRule(Notify(on=("failure", "config_error", "recovery"), email=("ops@example.org",)))])
    told.say("refused", file="a.yaml", jobs=[])
    told.say("refused", file="b.yaml", jobs=[])
    told.say("job_invalid", job="b", reason="no user bob", file="b.yaml", line=3)
    told.say("job_invalid", job="c", reason="no user bob", file="b.yaml", line=3)
    told.ends("d", 1)
    told.wait(MINUTE)
    told.got.clear()
    told.restart()
    told.commit(told.notices.reconcile({"b.yaml"}, {"b": False, "c": True}.get, lambda *_: True, told.wall))
    told.wait(MINUTE)
    assert ["2 notices: a.yaml: accepted again; b is valid again"] == told.summaries
    assert ["file b.yaml", "invalid c"] == sorted(told.incidents)


def test_incidents_of_one_turn() -> None:
    """Each has an id of its own, by which its end finds it."""
    told = Told()
    for exit_code in (1, 0):
        for job in ("a", "b"):
            told.ends(job, exit_code)
            told.send()
    ids = [message.about["incident"]["id"] for message in told.got]
    assert ids[:2] == ids[2:]
    assert len(set(ids)) == 2


def test_settings_of_a_webhook() -> None:
    """Those that a job has for its URL, or a rule; others go without."""
    url = "https://example.org/x"
    own = Notify(webhook=(Webhook(url, template="$title", headers=(("A", "b"),)),))
    told = Told([NotifyRule(Notify(webhook=(Webhook(url, secret_file="/s"),)))], [Job(id="a", command="x", notify=own)])
    target = Target("webhook", url)
    assert {"template": "$title", "headers": {"A": "b"}} == told.notices.settings(target, "a")
    assert {"secret_file": "/s"} == told.notices.settings(target, None)
    assert {} == told.notices.settings(Target("webhook", "https://example.org/y"), "a")
    assert ("webhook https://example.org/…", "apprise ntfy://…") == (target.shown, Target("apprise", "ntfy://t").shown)


def test_skips() -> None:
    """A missed occurrence is told; other skips to those who want them. The next success ends it, without a word."""
    told = Told([OPS, NotifyRule(Notify(on=("skipped",), email=("all@example.org",)))])
    for reason in ("missed", "queue_full", "queue_full"):
        told.say("run_skipped", run="a@1", reason=parse(reason), due=0, count=1)
        told.wait(MINUTE)
    assert ["missed", "missed", "skipped"] == told.events
    told.ends("a")
    told.wait(MINUTE)
    assert (3, {}) == (len(told.got), told.incidents)


LATE = NotifyRule(Notify(on=EVENTS_OF_SITE, email=("ops@example.org",)))


def test_a_late_run() -> None:
    """Told once; that it is over to those who know of it, however it has ended, with the incident of its beginning."""
    told = Told([LATE, NotifyRule(Notify(on=("success",), email=("all@example.org",)))])
    told.say("run_late", job="a", run="a@1", reason="it has run for 3 h, and usually ends within 1 h")
    told.wait(MINUTE)
    told.restart()
    told.say("late_over", job="a", run="a@1", state="failed", reason="exit code 1")
    told.say("late_over", job="b", run="b@1", state="succeeded", reason=None)
    told.wait(MINUTE)
    assert ["late", "recovery"] == told.events
    assert "a@1 is late: it has run for 3 h, and usually ends within 1 h" == told.summaries[0]
    assert "late run a@1 ended: failed: exit code 1" == told.summaries[1]
    assert told.got[0].about["incident"]["id"] == told.got[1].about["incident"]["id"]


def test_an_overdue_job() -> None:
    """Told once, also to a job that names no events; its end is told."""
    told = Told([], [Job(id="a", command="x", notify=Notify(email=("a@example.org",)))])
    told.say("overdue", job="a", within=26 * HOUR, since=0, reason="it is paused")
    told.wait(DAY)
    told.say("overdue_over", job="a", reason="a@5 has succeeded")
    told.wait(DAY)
    assert ["a has not succeeded for 1 d 2 h: it is paused", "a is no longer overdue: a@5 has succeeded"] == (
        told.summaries
    )


def test_what_is_late_no_more_by_the_next_start() -> None:
    """Its end is told where nobody saw it; what goes on stays open, though its job is in no file."""
    told = Told([LATE])
    told.say("run_late", job="a", run="a@1", reason="")
    told.say("run_late", job="b", run="b@1", reason="")
    told.say("overdue", job="gone", within=HOUR, since=0, reason="it is in no job file")
    told.wait(MINUTE)
    told.got.clear()
    told.restart()
    told.commit(told.notices.reconcile((), {"a": False, "b": False}.get, lambda _, name: name != "a", told.wall))
    told.wait(MINUTE)
    assert ["a is no longer late"] == told.summaries
    assert ["late b", "overdue gone"] == sorted(told.incidents)


def test_a_rule_of_the_site_is_about_jobs_of_users_if_it_names_them() -> None:
    """Whatever a user's own job calls itself, nobody is told of it who has not asked for that user, or that job."""
    rules = [
        NotifyRule(Notify(email=("all@example.org",))),
        NotifyRule(Notify(email=("nightly@example.org",)), tags=("nightly",)),
        NotifyRule(Notify(email=("jobs@example.org",)), jobs=("alice/*",)),
        NotifyRule(Notify(email=("users@example.org",)), users=("alice",)),
    ]
    own = {"command": "true", "tags": ("nightly",), "user": "alice", "owner": Owner(1000, "alice")}
    told = Told(rules, [Job(id="alice/x", **own), Job(id="x", command="true", tags=("nightly",))])
    told.ends("alice/x", 1)
    told.wait(MINUTE)
    assert ["jobs@example.org", "users@example.org"] == sorted(message.target.address for message in told.got)
    told.ends("x", 1)
    told.wait(MINUTE)
    assert ["all@example.org", "nightly@example.org"] == sorted(message.target.address for message in told.got[2:])


def test_nobody_is_told_of_another_users_runs() -> None:
    """What delays a user's run has a name if it is the host's or the user's own."""
    fields = {"run": "alice/x@1", "holders": ["backup@1", "alice/y@2", "bob/z@3", ":with-lock@1"]}
    happening = happenings.of("held_up", fields)
    assert happening is not None
    waits = "backup@1, alice/y@2, a run of another user, :with-lock@1"
    assert f"alice/x@1 is delayed: it waits for {waits}, which may take longer than `drain`" == happening.summary
    of_the_host = happenings.of("held_up", {**fields, "run": "x@1"})
    assert of_the_host is not None
    assert "bob/z@3" in of_the_host.summary
