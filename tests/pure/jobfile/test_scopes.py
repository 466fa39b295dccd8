"""scopes: a job of a fleet is due at the same instants on each of its hosts, as its lock is one for all of them."""

from __future__ import annotations

import pytest

from jobqueued.base.instants import DAY
from jobqueued.control.views.definitions import definition
from jobqueued.jobfile.reader import read_jobs, read_packed
from jobqueued.jobfile.scopes import Locality
from jobqueued.jobfile.tree.drop_ins import FileText, packed
from jobqueued.model.fleet import FLEET, FleetSettings
from jobqueued.model.job import Claim, Job, Scope

WEB = FleetSettings(etcd=("https://etcd-1:2379",), name="web", timezone="Asia/Tokyo")
ONE, OTHER = Locality("Europe/Berlin", "one", WEB), Locality("America/New_York", "other", WEB)


def read(body: str, host: Locality = ONE, *drop_ins: str) -> Job:
    """The one job of a file with drop-ins, as a host reads it."""
    parts = [FileText(f"f{number or ''}", text.encode()) for number, text in enumerate((body, *drop_ins))]
    (job,), problems = read_packed(packed(parts, "f"), "f", host)
    assert [] == problems
    return job


def starts(body: str, host: Locality, *drop_ins: str) -> list[int]:
    """Its first starts."""
    return read(body, host, *drop_ins).next_starts(20_849 * DAY, 3)


WHEN = {
    "an H": "schedule: H 3 * * *",
    "an H of seconds": "schedule: 0 3 * * *, seconds: H",
    "spread": "schedule: 0 3 * * *, spread: 1d",
    "the zone of a schedule": "schedule: 0 3 * * *",
    "the zone of an instant": "at: 2027-02-01T03:00",
    "the zone of an anchor": "every: 36h, anchor: 2027-01-01T03:00",
}


@pytest.mark.parametrize("what", WHEN)
def test_hosts_of_a_fleet_agree(what: str) -> None:
    """What depends on the host in a job of the host is the fleet's in one of the fleet."""
    text = f"jobs: {{a: {{command: x, {WHEN[what]}, scope: SCOPE}}}}"
    of_host, of_fleet = ([starts(text.replace("SCOPE", it), at) for at in (ONE, OTHER)] for it in ("host", "fleet"))
    assert of_host[0] != of_host[1]
    assert of_fleet[0] == of_fleet[1]
    assert of_fleet[0] not in of_host


def test_the_fleet_decides() -> None:
    """Fleets of other names or zones are due at other times; a zone of the job's own counts."""
    text = "jobs: {a: {command: x, schedule: H 3 * * *, scope: fleet}}"
    db = FleetSettings(etcd=WEB.etcd, name="db", timezone=WEB.timezone)
    assert starts(text, ONE) != starts(text, ONE._replace(fleet=db))
    assert ["Asia/Tokyo", "Africa/Cairo"] == [
        read(it).timezone for it in (text, text.replace("x", "x, timezone: Africa/Cairo"))
    ]


def test_a_host_of_no_fleet_reads_it() -> None:
    """The file is right; that the job does not run there is for others to say."""
    job = read("jobs: {a: {command: x, schedule: 0 3 * * *, scope: fleet}}", ONE._replace(fleet=None))
    assert (Scope.FLEET, "Europe/Berlin") == (job.scope, job.timezone)


def test_it_may_come_from_elsewhere() -> None:
    """`defaults`, and drop-ins, turn all of it: the times, too."""
    plain = "jobs: {a: {command: x, schedule: H 3 * * *}}"
    of_fleet = starts("jobs: {a: {command: x, schedule: H 3 * * *, scope: fleet}}", ONE)
    assert starts(plain, ONE) != of_fleet
    by_default = f"defaults: {{scope: fleet}}\n{plain}"
    assert of_fleet == starts(by_default, ONE) == starts(plain, ONE, "defaults: {scope: fleet}")
    assert starts(plain, ONE) == starts(by_default, ONE, "jobs: {a: {scope: host}}")


def test_a_default_that_is_refused_is_told_once() -> None:
    """At its own place, whatever jobs meet it."""
    text = "defaults:\n  scope: fleet\n  exclusive: true\njobs: {a: {command: x}, b: {command: x}}\n"
    jobs, problems = read_packed(text.encode(), "f", ONE)
    (problem,) = problems
    assert ((), 3, "exclusive") == (jobs, problem.line, problem.key)


def test_a_lock_of_the_fleet() -> None:
    """It is another one than that of this host by the same name, and is told as it is written."""
    job = read("jobs: {a: {command: x, locks: [tape, {name: tape, scope: fleet}, {name: b, scope: host}]}}")
    assert ("tape", f"{FLEET}tape", "b") == tuple(claim.resource for claim in job.locks)
    assert Claim(f"{FLEET}tape", exclusive=True) == job.locks[1]
    told = definition(job)["locks"]
    assert {"name": "tape", "scope": "fleet", "mode": "exclusive"} == told[1]
    assert {"name": "tape", "mode": "exclusive"} == told[0]


def test_how_many_locks() -> None:
    """All of a run are claimed in one transaction, which has a bound; on one host there is none."""
    for count, scope in ((32, "fleet"), (33, "fleet"), (100, "host")):
        names = ", ".join(f"{{name: l{number}, scope: {scope}}}" for number in range(count))
        jobs, problems = read_jobs(f"jobs: {{a: {{command: x, locks: [{names}]}}}}".encode(), "f")
        told = [] if count != 33 else ["f:1:31: a: locks: found 33 fleet locks; expected at most 32 of them"]
        assert (not told, told) == (bool(jobs), [str(problem) for problem in problems])
