"""Metrics: what is counted is what has happened, the text is what parsers read, and there is a bound to all of it."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from jobqueued.base.instants import to_text
from jobqueued.jobfile.reader import read_jobs
from jobqueued.metrics.counts import DELAYS, RUN_TIMES, SHORT_TIMES, Counts, Histogram
from jobqueued.metrics.exposition import text
from jobqueued.metrics.families import FAMILIES, OTHERS, Family, Sample
from jobqueued.metrics.readings import MOST_LOCKS, of_usage
from jobqueued.model.commands import Say
from jobqueued.model.job import Claim
from tests.support import REPO
from tests.support.metrics import Measured
from tests.support.told import BEGIN, record
from tests.support.world import World, job

ELSEWHERE = {"jobqueue_up", "jobqueue_written_timestamp_seconds", *(f.name for f, _ in of_usage([]))}
"""Families that no reading of the daemon's has."""
OWN = "build|start_time|degraded|launcher|on_hold|troubles|files|loop|commit|kept"
DAEMON = {name for name in FAMILIES if re.match(f"jobqueue_({OWN})", name)}


def ends(measured: Counts, name: str, **fields: Any) -> None:
    measured.about([Say("run_ended", {"record": {**record(name, 1), **fields}})])


def test_a_day_is_counted() -> None:
    """Runs by their end, skips by their reason, attempts, and how long all that took."""
    world = World(
        job("hourly", "10 * * * *"), job("bad", "30 * * * *", retries=1), job("long", "1 0 * * *"),
        seconds={"long": 1e6, "hourly": 90},
    )  # fmt: skip
    world.ends["bad"] = ["failed 1"]
    measured = Measured(world)
    world.pass_time(67)
    world.start("long@1")
    world.pass_time(24 * 3600 - 68)
    got = measured.values()
    assert 24 == got["jobqueue_runs_ended_total", ("hourly", "succeeded")]
    assert 24 == got["jobqueue_runs_ended_total", ("bad", "failed")]
    assert 24 == got["jobqueue_retries_total", ("bad",)]
    assert (1, 0) == tuple(got["jobqueue_job_failing", (name,)] for name in ("bad", "long"))
    assert (0, 1) == tuple(got["jobqueue_job_live_runs", (name,)] for name in ("bad", "long"))
    assert 1 == got["jobqueue_runs_unfinished", ("running",)]
    assert 1 == got["jobqueue_attention", ("failing",)]
    assert 3 == got["jobqueue_jobs", ()]
    assert (0, 1) == tuple(got["jobqueue_start_delay_seconds_bucket", (bound,)] for bound in ("5.0", "15.0"))


def test_each_occurrence_that_is_skipped() -> None:
    """Those too that share a record with others, whoever begins anew in between."""
    world = World(job("a", "* * * * *"))
    measured = Measured(world)
    world.pause("a")
    world.pass_time(10 * 60)
    assert 10 == measured.values()["jobqueue_skips_total", ("a", "paused")]
    world.pass_time(60)
    assert 11 == measured.values()["jobqueue_skips_total", ("a", "paused")]


@pytest.mark.parametrize("bounds", [DELAYS, RUN_TIMES, SHORT_TIMES])
def test_a_histogram(bounds: tuple[float, ...]) -> None:
    """A bucket has what is not above its bound, and all below."""
    histogram = Histogram(bounds)
    for seconds in (0.0, bounds[0], bounds[1] * 1.001, bounds[-1] * 2):
        histogram.add(seconds)
    family = Family("x", "histogram", "x")
    (read,) = text_string_to_metric_families("".join(text([(family, [histogram.samples()])])))
    buckets = {float(one.labels["le"]): one.value for one in read.samples if one.name == "x_bucket"}
    assert (2, 2, 3, 3, 4) == tuple(buckets[bound] for bound in (*bounds[:3], bounds[-1], math.inf))
    assert list(bounds) == sorted(set(bounds))
    assert bounds[-1] * 2 == histogram.longest


def test_run_times() -> None:
    """From the first start to the end; a run that never started has none, a clock that was set back gives 0."""
    counts = Counts()
    ends(counts, "a")
    ends(counts, "a", started=None)
    ends(counts, "a", ended=to_text(BEGIN - 10**12))
    assert {"a": (2, 1.0)} == counts.took
    assert {("a", "succeeded"): 3} == counts.ended


def test_jobs_beyond_the_bound() -> None:
    """They are counted together, their figures are added up where they can be, and it is said how many they are."""
    world = World(*(job(f"j{number:02}", "0 * * * *") for number in range(30)))
    measured = Measured(world, most=10)
    world.pass_time(2 * 3600 + 60)
    got = measured.values()
    labels = {key[1][0] for key in got if key[0].startswith(("jobqueue_job_", "jobqueue_runs_ended"))}
    assert labels <= {*(f"j{number:02}" for number in range(30)), OTHERS}
    assert 11 == len(labels)
    assert 20 == got["jobqueue_jobs_without_label", ()]
    ended = {key[1][0]: value for key, value in got.items() if key[0] == "jobqueue_runs_ended_total"}
    assert (60, 40) == (sum(ended.values()), ended[OTHERS])
    assert 0 == got["jobqueue_job_live_runs", (OTHERS,)]
    assert ("jobqueue_job_last_success_timestamp_seconds", (OTHERS,)) not in got


def test_labels_of_jobs_that_are_gone() -> None:
    """They stay while nobody needs them, and are another's then."""
    counts = Counts(2)
    for name in ("a", "b", "c"):
        ends(counts, name)
    counts.make_room({"b", "c"})
    assert {("b", "succeeded"): 1, (OTHERS, "succeeded"): 1} == counts.ended
    assert ["c", OTHERS] == [counts.label("c"), counts.label("d")]
    roomy = Counts(3)
    ends(roomy, "a")
    roomy.make_room(set())
    assert {("a", "succeeded"): 1} == roomy.ended


def test_locks_beyond_the_bound() -> None:
    """Those that come later by name share a label."""
    locks = [
        job(f"j{number:03}", "1 0 * * *", locks=(Claim(f"lock-{number:03}", exclusive=True),))
        for number in range(MOST_LOCKS + 5)
    ]
    world = World(*locks, seconds={name.id: 1e6 for name in locks})
    world.pass_time(60)
    got = Measured(world).values()
    assert 5 == got["jobqueue_lock_holders", (OTHERS,)]
    assert MOST_LOCKS + 1 == sum(name == "jobqueue_lock_holders" for name, _ in got)


def test_the_queue() -> None:
    """Its length, its oldest, its head with the priority to which it has grown, and who holds what it wants."""
    lock = (Claim("disk", exclusive=True),)
    world = World(job("a", "1 0 * * *", locks=lock), job("b", "2 0 * * *", priority=7, locks=lock), seconds={"a": 1e6})
    begun = world.now.wall / 1e9
    world.pass_time(12 * 60)
    got = Measured(world).values()
    assert (1, 17) == tuple(got[f"jobqueue_queue_{name}", ()] for name in ("length", "head_priority"))
    assert begun + 120 == got["jobqueue_queue_oldest_timestamp_seconds", ()]
    assert (1, 1) == tuple(got[f"jobqueue_lock_{name}", ("disk",)] for name in ("holders", "waiters"))
    assert begun + 120 == got["jobqueue_lock_wanted_since_timestamp_seconds", ("disk",)]


NASTY = '/tmp/a "quoted" \\back\\slash\nnew line, {braces} # €'


def test_labels_are_escaped() -> None:
    """Whatever somebody calls a lock file, both formats give it back."""
    told = [(FAMILIES["jobqueue_lock_holders"], [[Sample("", {"lock": NASTY}, 1)]])]
    for parse, openmetrics in ((text_string_to_metric_families, True), (parse_plain, False)):
        (family,) = parse("".join(text(told, openmetrics=openmetrics)))
        assert [{"lock": NASTY}] == [sample.labels for sample in family.samples]


def test_both_formats_tell_the_same() -> None:
    """node_exporter reads Prometheus' own format: there a counter is described by its whole name."""
    world = World(job("a", "0 * * * *"))
    measured = Measured(world)
    world.pass_time(3600)
    measured.text()
    plain = "".join(text(measured.readings.all(world.now), openmetrics=False))
    assert "# EOF" not in plain
    assert "# TYPE jobqueue_runs_ended_total counter" in plain
    samples = {
        (one.name, tuple(sorted(one.labels.items()))): one.value for f in parse_plain(plain) for one in f.samples
    }
    assert len(measured.values()) == len(samples)


def test_every_family_is_told_once() -> None:
    """All of the table, each once, with the labels that it has there."""
    world = World(job("a", "0 * * * *"), seconds={"a": 1e6})
    world.pass_time(3600)
    told = list(Measured(world).readings.all(world.now))
    assert sorted(FAMILIES.keys() - ELSEWHERE - DAEMON) == sorted(family.name for family, _ in told)
    for family, pieces in told:
        for sample in (sample for piece in pieces for sample in piece):
            assert family.labels == tuple(name for name in sample.labels if name != "le"), sample


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_family_is_named_as_is_usual(family: Family) -> None:
    """Base units, at the end; _total comes with the sample; the help is one line."""
    assert re.fullmatch(r"jobqueue(_[a-z]+)+", family.name)
    assert not re.search("_(total|count|sum|bucket|milli|ms|minutes|hours|days|kib|percent)(_|$)", family.name)
    assert family.kind in ("counter", "gauge", "histogram", "summary")
    assert (family.kind in ("histogram", "summary")) <= family.name.endswith("_seconds")
    assert "\n" not in family.help


def test_the_paper_has_every_family() -> None:
    """The table of docs/metrics.md is that of the code, in its order."""
    paper = (REPO / "docs/metrics.md").read_text()
    rows = re.findall(r"^\| `(jobqueue_\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \|$", paper, re.M)
    assert rows == [
        (
            f"{family.name}{'_total' * (family.kind == 'counter')}", family.kind,
            " ".join(f"`{label}`" for label in family.labels) or "–", family.help,
        )
        for family in FAMILIES.values()
    ]  # fmt: skip


PAPERS = ["metrics.md", "metrics/alerts.yaml", "metrics/alerts.test.yaml", "metrics/grafana.json"]


@pytest.mark.parametrize("paper", PAPERS)
def test_what_rules_and_panels_ask_for_is_there(paper: str) -> None:
    """Every metric that a paper names is one of the table, with a suffix that its kind has."""
    suffixes = {"counter": ["_total"], "gauge": [""], "summary": ["_sum", "_count"]}
    suffixes["histogram"] = ["", "_sum", "_count", "_bucket"]
    known = {family.name + suffix for family in FAMILIES.values() for suffix in suffixes[family.kind]}
    named = set(re.findall(r"\bjobqueue_[a-z_]+[a-z]\b", (REPO / "docs" / paper).read_text()))
    assert set() == named - known - {"jobqueue_job_run_seconds"}
    assert len(named) > 4


def test_usage_is_added_up_by_job() -> None:
    """Two runs of a job are one sample."""
    runs = [
        {"job": "a", "now": {"cpu": 0.5, "memory": 10, "tasks": 1}},
        {"job": "a", "now": {"cpu": 1, "memory": 5, "tasks": 2}},
    ]
    assert [1.5, 15, 3] == [sample.value for _, pieces in of_usage(runs) for piece in pieces for sample in piece]


def test_nobody_else_is_called_so() -> None:
    """The label of all others can be no job's."""
    jobs, problems = read_jobs(f"jobs: {{'{OTHERS}': {{command: x}}}}".encode(), "f")
    assert ((), True) == (tuple(jobs), bool(problems))
