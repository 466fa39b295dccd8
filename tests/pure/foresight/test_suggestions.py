"""Suggestions help where they are told, and where nothing helps none is."""

from __future__ import annotations

from jobqueued.base.instants import DAY, MINUTE
from jobqueued.foresight.futures import HostSnapshot, play
from jobqueued.foresight.suggestions import Cost, Suggestion, suggestions, words
from jobqueued.foresight.summary import rows
from jobqueued.model.job import Claim
from tests.support.futures import a_host, chance
from tests.support.world import job

TAPE = (Claim("tape", exclusive=True),)


def suggested(host: HostSnapshot) -> list[Suggestion]:
    """What is suggested for a day."""
    chances, until = [chance(0), chance(1)], host.begin + DAY
    return suggestions(host, until, rows(play(host, until, chances)), chances, "seed")


def told(host: HostSnapshot) -> list[tuple[tuple[str, ...], str]]:
    """The changes that are suggested."""
    return [(it.change.jobs, it.change.text) for it in suggested(host)]


def test_a_moved_minute() -> None:
    """A job that always waits for another is to start later; its deadline is not missed then."""
    backup = job("backup", "0 2 * * *", locks=TAPE)
    host = a_host(backup, job("report", "10 2 * * *", locks=TAPE), seconds={"backup": 4800, "report": 60})
    (found,) = suggested(host)
    assert (("report",), 'schedule: "20 3 * * *"') == found.change[:2]
    assert (Cost(0, 70 * MINUTE), Cost(0, 0)) == (found.before, found.after)
    assert "1 h 10 min less waiting" == words(found)
    late = a_host(
        backup, job("report", "50 2 * * *", locks=TAPE, start_deadline=30 * MINUTE), seconds={"backup": 5400}
    )  # fmt: skip
    (found,) = suggested(late)
    assert ('schedule: "20 3 * * *"', Cost(1, 0), Cost(0, 10 * MINUTE)) == (
        found.change.text,
        found.before,
        found.after,
    )
    assert "10 min more waiting, 1 missed deadlines become 0" == words(found)


def test_spread() -> None:
    """Many that are due together and wait for one lock are to be spread, if that helps."""
    host = a_host(*(job(f"j{n}", "0 * * * *", locks=TAPE) for n in range(4)), seconds={f"j{n}": 90 for n in range(4)})
    assert (("j3", "j2", "j1"), "spread: 10m") in told(host)


def test_more_slots() -> None:
    """Where runs wait for `max_running` a larger one is suggested."""
    host = a_host(
        *(job(f"j{n}", "0 * * * *") for n in range(3)), seconds={f"j{n}": 300 for n in range(3)}, max_running=2
    )
    assert ((), "max_running: 3 in jobqueued.yaml, instead of 2") in told(host)


def test_none_where_none_helps() -> None:
    """A lock that is held all the time is no matter of minutes; who does not wait needs nothing."""
    full = a_host(
        *(job(f"j{n}", "*/30 * * * *", locks=TAPE) for n in range(4)), seconds={f"j{n}": 900 for n in range(4)}
    )  # fmt: skip
    assert [] == [it for it in told(full) if it[1].startswith("schedule")]
    assert [] == told(a_host(job("a", "0 * * * *"), job("b", "0 * * * *"), seconds={"a": 60, "b": 60}))


def test_what_is_due_after_the_end_does_not_help() -> None:
    """A lock that is held until the end is waited for until then; a start that is put off beyond it waits no less."""
    hold = job("hold", "0 1 * * *", locks=TAPE)
    host = a_host(hold, job("j", "5 1 * * *", locks=TAPE), seconds={"hold": 2 * 86400, "j": 60})
    chances, until = [chance(0)], host.begin + DAY // 2
    futures = play(host, until, chances)
    assert (11 * 60 - 5) * MINUTE == futures[0].waited
    assert [] == suggestions(host, until, rows(futures), chances, "seed")
