"""A bad day: hundreds of jobs, one fault after another, and then an evening on which everything is well again."""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from collections import Counter
from typing import Any, NamedTuple

from tests.chaos import faults, shortages
from tests.chaos.daemon import LONGEST_WAIT, Host
from tests.chaos.disks import files_below
from tests.chaos.episodes import episodes
from tests.chaos.jobs import SETTINGS, Job, files, jobs, jobs_of_user
from tests.chaos.people import People, Said
from tests.chaos.receivers import Taken
from tests.chaos.strain import Strain
from tests.chaos.tables import Tables, cron_jobs
from tests.chaos.timeline import Span, Timeline

QUEUE_PATIENCE = 120.0
NOTICE_PATIENCE = 15.0
"""Those whose receiver refused them are tried again later than that (s), and are counted as kept."""
HISTORY_PATIENCE = 600.0
"""There may be 100,000 records, and the host may be busy."""
LOOK = 0.2
QUIET = 5.0
"""For so long (s) a clock that is far back stays there, once the daemon is well: most jobs come due meanwhile."""
USERS = 8
"""The jobs in the file of a user."""


class Day(NamedTuple):
    """What is left of a day, to be judged, now or later."""

    jobs: dict[str, Job]
    file_of: dict[str, str]
    timeline: Timeline
    morning: int
    """From then on (ns) clocks made jobs due, of all files but that of a user."""
    evening: int
    """From then on (ns) no clock made anything due."""
    history: list[dict[str, Any]]
    """What the daemon says in the end, by `jobqueuectl history`."""
    strain: Strain
    people: Said
    taken: list[Taken]
    """What the receivers of notices took."""
    refusals: Counter[str]
    """What the daemon refused, and how often."""


class CameToNothing(Exception):
    """The daemon does not come back, so the day is over."""


class Plan(NamedTuple):
    """What a day is to be; all but what the clock says follows from it."""

    seed: int
    seconds: float
    jobs: int
    rate: int
    """So many jobs beside them start each second."""
    pace: float
    """So many times faster fault follows fault."""
    only: frozenset[str]
    numbers: frozenset[int]
    """The episodes of which something comes; none: all."""


def live(host: Host, plan: Plan) -> Day:
    """Live through a day."""
    root, timeline = host.root, host.timeline
    host.make(strained=bool(shortages.STRAINED & plan.only))
    (root / "jobqueued.yaml").write_text(SETTINGS + host.receivers.settings())
    drawn = jobs(random.Random(f"jobs {plan.seed}"), plan.jobs, plan.rate, int(time.time()) + 5, int(plan.seconds))
    of_user, of_cron = jobs_of_user(USERS), cron_jobs(max(6, plan.jobs // 5))
    tables = Tables(root, of_cron)
    texts = files(drawn, sys.executable, host.ledger)
    file_of = {job: name for name, text in texts.items() for job in json.loads(text)["jobs"]} | tables.file_of()
    host.tables = tables.paths
    for name, text in texts.items():
        host.write(name, text)
    tables.write()
    by_hand = [job.id for job in drawn if job.id.startswith("by-hand")]
    pausable = [job.id for job in drawn if job.is_clocked]
    people = People(host, random.Random(f"people {plan.seed}"), by_hand, pausable, of_user)
    host.tend()
    history: list[dict[str, Any]] = []
    morning = 1 << 62
    try:
        get_well(host, "the first start")
        morning = host.strain.told(time.time_ns())
        suffer(host, plan, people)
        timeline.say("evening")
        evening = host.strain.told(time.time_ns())
        for name, text in files(drawn, sys.executable, host.ledger, enabled=False).items():
            host.write(name, text)
        tables.write(empty=True)
        people.leave()
        history = rest(host, drawn)
    except CameToNothing:
        evening = host.strain.told(time.time_ns())
    timeline.translate(host.strain.told_between)
    all_jobs = {job.id: job for job in [*drawn, *of_user, *of_cron]}
    return Day(
        all_jobs, file_of, timeline, morning, evening, history, host.strain, people.said, host.receivers.taken(),
        host.refusals,
    )  # fmt: skip


def suffer(host: Host, plan: Plan, people: People) -> None:
    """Let fault follow fault, while people do this and that; after each the daemon has to get well."""
    until = time.monotonic() + plan.seconds
    people.begin()
    try:
        for episode in episodes(plan.seed, plan.only, plan.pace):
            if time.monotonic() > until or episode.number > max(plan.numbers, default=1 << 62):
                break
            if plan.numbers and episode.number not in plan.numbers:
                continue
            host.timeline.say(f"-- {episode.number}: {episode.kind} {'+'.join(episode.about)}")
            faults.carry_out(host, episode)
            get_well(host, episode.kind)
            if host.puts_right:
                put_right(host)
    finally:
        people.end()


def put_right(host: Host) -> None:
    """Leave the clock far back for a while in which nothing else happens, and set it forward again."""
    begin = time.time_ns()
    host.sleep(QUIET)
    host.timeline.quiet.append(Span(begin, time.time_ns()))
    shortages.set_clock(host, host.puts_right)
    host.puts_right = 0.0
    get_well(host, "the clock was put right")


def get_well(host: Host, after: str) -> None:
    """Wait until the daemon says that it is well and jobs start again: all faults are lifted; CameToNothing."""
    longest_wait = _longest_wait(host)
    lifted, until = time.time_ns(), time.monotonic() + longest_wait
    ledger = host.ledger / "ledger"
    _wait_until_well(host, after, longest_wait)
    while not (ledger.exists() and ledger.stat().st_mtime_ns > lifted):
        host.sleep(LOOK)
        if time.monotonic() > until:
            text = f"well, but no job starts within {longest_wait:g} s after {after}: {host.status()}"
            host.timeline.fail("starts", f"{text}\n{host.last_words()}")
            raise CameToNothing
    for hurt in host.timeline.hurts:
        hurt.over(time.time_ns())


def _wait_until_well(host: Host, after: str, longest_wait: float) -> None:
    """Wait until the daemon says that it is well; CameToNothing after so many seconds."""
    until = time.monotonic() + longest_wait
    while not host.is_well():
        host.sleep(LOOK)
        if time.monotonic() > until:
            text = f"not well {longest_wait:g} s after {after}: {host.status()}"
            host.timeline.fail("starts", f"{text}\n{host.last_words()}")
            raise CameToNothing


def _longest_wait(host: Host) -> float:
    """The seconds that a start may take: where state.db was lost it is rebuilt, at times by a later one."""
    if not (host.timeline.hurts or host.timeline.rewritten):
        return LONGEST_WAIT
    return LONGEST_WAIT + len(files_below(host.root, "logs/*/*.json")) / 1000


def rest(host: Host, drawn: list[Job]) -> list[dict[str, Any]]:
    """Let the queue drain, start one run more, and ask for the history."""
    until, lingering = time.monotonic() + QUEUE_PATIENCE, time.monotonic() + QUEUE_PATIENCE / 4
    while True:
        status = host.status()
        left = {name: status.get(name) for name in ("due", "waiting", "retrying", "running")}
        if status and not any(left.values()):
            break
        if time.monotonic() > lingering:
            _give_up_what_lingers(host)
            lingering = until
        if time.monotonic() > until:
            host.timeline.fail("starts", f"the queue does not drain within {QUEUE_PATIENCE:g} s: {left}")
            break
        host.sleep(LOOK)
    names = [job.id for job in drawn if job.id.startswith("by-hand")]
    status_, answer = host.ctl("run", names[0])
    if status_:
        host.timeline.fail("starts", f"no run can be started in the evening: {answer}")
    host.ask("Wait", run=answer.strip())
    _wait_for_notices(host)
    if host.timeline.hurts or host.timeline.rewritten:  # what was written anew has no history before the next start
        host.end(signal.SIGTERM, 0)
        _wait_until_well(host, "the last start", _longest_wait(host))
    code, text = host.ctl("history", "--json", "-n", "1000000", seconds=HISTORY_PATIENCE)
    host.end(signal.SIGTERM, 3600)
    if code:
        host.timeline.fail("starts", f"no history: {text[-500:]}")
        return []
    return list(json.loads(text)["runs"])


def _give_up_what_lingers(host: Host) -> None:
    """Do as a person who is told that processes may be a run's own, where its run directory is gone."""
    lines = (line for line in host.log.open(errors="replace") if '"event":"run_lingers"' in line)
    for run in {json.loads(line)["run"] for line in lines}:
        host.ctl("stop", "--lost", run)


def _wait_for_notices(host: Host) -> None:
    """Wait until no notice is on its way."""
    until = time.monotonic() + NOTICE_PATIENCE
    while host.ask("Notices").get("notices") and time.monotonic() < until:
        host.sleep(LOOK)
