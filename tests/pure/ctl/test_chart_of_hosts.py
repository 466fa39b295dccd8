"""Runs of several hosts as a chart: a row for each job of each, none in another host's way but by locks of a fleet."""

from __future__ import annotations

import io
import json
from typing import Any

import click
import pytest

from jobqueued.child.contract.documents import Record
from jobqueued.ctl.chart import chart_page
from jobqueued.ctl.chart.chart_file import NoRecord, records
from jobqueued.ctl.chart.chart_runs import Runs, collected, plain
from jobqueued.ctl.chart.chart_text import format_wait
from jobqueued.ctl.chart.chart_waits import find_holders, waits
from jobqueued.ctl.export import trace_events
from jobqueued.ctl.past.chosen_runs import USUAL, Wanted, of_runs, words_of


def a_run(host: str, job: str, due: int, started: int, ended: int, **fields: Any) -> dict[str, Any]:
    """A run of a host at these minutes of an hour, as its daemon tells it."""
    times = {name: f"2027-01-15T00:{at:02}:00Z" for name, at in (("due", due), ("started", started), ("ended", ended))}
    return {"version": 1, "host": host, "job": job, "number": 1, "state": "succeeded", **times, **fields}


def of_hosts(*runs: dict[str, Any]) -> list[Record]:
    """These as `--fleet history --json` prints them."""
    document = {"schema": 1, "runs": runs, "hosts": {"a": {}, "b": {}}, "failed": {}}
    return list(records(io.StringIO(json.dumps(document, indent=2))))


def holders(runs: Runs) -> list[str]:
    """The waits in words."""
    find_holders(runs, {})
    return [format_wait(wait) for wait in waits(runs)]


def lock(name: str) -> list[dict[str, Any]]:
    """The claims of who has it."""
    return [{"resource": name, "mode": "exclusive", "units": 0, "of": 1}]


def test_a_row_for_each_job_of_each() -> None:
    """Their numbers are apart, and they are chosen by the job, of any host; JSON has the parts of the name."""
    runs = collected(of_hosts(a_run("b", "x", 0, 0, 2), a_run("a", "x", 0, 0, 1), a_run("a", "y", 0, 0, 1)))
    assert ["a: x", "a: y", "b: x"] == list(runs.of)
    assert (True, ["a: x", "b: x"]) == (runs.are_of_hosts, list(runs.chosen(["x"], []).of))
    assert [("a", "x", "a: x@1"), ("b", "x", "b: x@1")] == [
        (it["host"], it["job"], it["run"]) for it in plain(runs.chosen(["x"], []))
    ]


def test_a_document_of_one_host() -> None:
    """A record has its host in any case; only in a document of several it is part of a name."""
    run = {**a_run("a", "x", 0, 0, 1), "of_host": "b"}
    for document in (run, {"schema": 1, "runs": [run]}):
        runs = collected(records(io.StringIO(json.dumps(document))))
        assert (["x"], False) == (list(runs.of), runs.are_of_hosts)
        assert "host" not in next(plain(runs))


@pytest.mark.parametrize("host", [None, 7, ["a"]])
def test_a_run_of_no_host(host: Any) -> None:
    """In a document of several each names its own."""
    with pytest.raises(NoRecord, match="host missing, or of the wrong type"):
        of_hosts(a_run(host, "x", 0, 0, 1))


def test_attempts_of_a_host() -> None:
    """The pause between two attempts is that of the run of its host."""
    tries = [
        {"attempt": 1, "started": "2027-01-15T00:00:00Z", "ended": "2027-01-15T00:01:00Z"},
        {"attempt": 2, "started": "2027-01-15T00:02:00Z", "ended": "2027-01-15T00:03:00Z"},
    ]
    runs = collected(of_hosts(a_run("a", "x", 0, 0, 3), a_run("b", "x", 0, 0, 3, attempts=tries)))
    assert [0, 1] == [len(it["pauses"]) for it in plain(runs)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "holder"), [("tape", "a: dump@1"), ("host", "a: dump@1"), ("fleet/tape", "b: load@1")]
)
def test_who_held_it(name: str, holder: str) -> None:
    """The other run of the same host, though that of another ended later; of a lock of the fleet that one."""
    runs = collected(
        of_hosts(
            a_run("a", "dump", 0, 0, 9, claims=lock(name)),
            a_run("b", "load", 0, 0, 10, claims=lock(name)),
            a_run("a", "read", 5, 10, 20, waited_for=[name], claims=lock(name)),
        )
    )
    assert [f"a: read@1 waited 5 min for {name}, held by {holder}"] == holders(runs)


def test_the_other_forms() -> None:
    """The page finds a holder by the name that its run has there; in a trace a host is a process."""
    found = of_hosts(
        a_run("a", "dump", 0, 0, 9, claims=lock("tape")),
        a_run("a", "read", 5, 10, 20, waited_for=["tape"]),
        a_run("b", "read", 5, 5, 20),
    )
    runs = collected(found)
    find_holders(runs, {})
    data = chart_page.packed(runs, runs.span(0), 0)
    head = json.loads(data[4 : 4 + int.from_bytes(data[:4], "little")])
    assert ([["a: dump", 1], ["a: read", 1], ["b: read", 1]], True) == (head["jobs"], "a: dump@1" in head["texts"])
    events = json.loads("\n".join(trace_events.lines(found)))["traceEvents"]
    hosts = {it["pid"]: it["args"]["name"] for it in events if it["name"] == "process_name"}
    jobs = [(hosts[it["pid"]], it["args"]["name"]) for it in events if it["name"] == "thread_name"]
    assert [("jobqueued on a", "dump"), ("jobqueued on a", "read"), ("jobqueued on b", "read")] == jobs


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(),
        Wanted(states=("failed", "lost"), since=1_700_000_000_000_000_000, until=1_700_000_001_500_000_000),
        Wanted(ended_since=1_700_000_000_000_001_000, tags=("a b", "-c"), user="--x", reason="it's\n"),
        Wanted(exit_codes=(-1, 3), longer_than=5400.0),
        Wanted(longer_than=USUAL),
    ],
)
def test_words_that_choose_the_same(wanted: Wanted) -> None:
    """Another command reads from them what was wanted."""
    read = list[Wanted]()

    @click.command()
    @of_runs
    def command(wanted: Wanted) -> None:
        read.append(wanted)

    command.main(words_of(wanted), standalone_mode=False)
    assert [wanted] == read
