"""The life of a fleet by seed: hosts die, are cut off and come back, people pause and stop; nothing runs twice."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from random import Random

from jobqueued.base.instants import DAY, HOUR, MINUTE, SECOND
from jobqueued.model import events
from jobqueued.model.fleet import FLEET, FleetReachability
from jobqueued.model.job import CatchUp, Claim, Job, OnHostLoss, Scope
from jobqueued.model.run import LockClientId, RunId
from jobqueued.model.run_states import PENDING
from jobqueued.model.saved import Hold
from jobqueued.model.users import Owner
from tests.support.fleet import LATEST, Fleet, Host, Rules
from tests.support.world import job

TAPE = Claim(f"{FLEET}tape", exclusive=True)
DISK = Claim("disk", exclusive=True)
LICENCE = f"{FLEET}licence"
LICENCES = 3
FORGETS, LAGS = 7, 3
"""Which seeds, of eight each, are those of fleets that forget while hosts are away, and of those whose watches lag."""
BRIEF = job("brief", "*/2 * * * *", scope=Scope.FLEET, locks=(DISK,), start_deadline=2 * SECOND)
"""Where watches lag: a job whose occurrences may be given back, and skipped, before that is told."""
_GIVES_BACK = 20 * SECOND
"""The time (ns) in which a host that can ask its fleet has given back what it does not begin."""


def jobs() -> list[Job]:
    """Jobs of a fleet that are due often, long, share locks of the fleet and of their host; and one of each host."""
    fleet = Scope.FLEET
    return [
        job("tick", "* * * * *", scope=fleet, catch_up=CatchUp.ALL, max_waiting=1000),
        job("long", "*/7 * * * *", scope=fleet, locks=(DISK,), timeout=20 * MINUTE),
        job("tape", "*/5 * * * *", scope=fleet, locks=(TAPE,), retries=1, retry_delay=MINUTE),
        job("late", "*/3 * * * *", scope=fleet, locks=(DISK, TAPE), start_deadline=10 * MINUTE),
        job("alice/mine", "*/15 * * * *", scope=fleet, owner=Owner(1000, "alice"), locks=(DISK,)),
        job(
            "pair",
            "*/2 * * * *",
            scope=fleet,
            concurrency=2,
            locks=(Claim(LICENCE, 2),),
            catch_up=CatchUp.ALL,
            max_waiting=1000,
        ),
        job("user", "*/4 * * * *", locks=(Claim(LICENCE, 1),)),
        job("all", "*/20 * * * *", scope=fleet, locks=(Claim(LICENCE, exclusive=True), TAPE)),
        job("again", "*/3 * * * *", scope=fleet, concurrency=100, on_host_loss=OnHostLoss.RERUN),
        job("chosen", "*/3 * * * *", scope=fleet, hosts=("gpu",), catch_up=CatchUp.ALL, max_waiting=1000),
        job("own", "*/10 * * * *", locks=(TAPE, DISK)),
    ]


class FleetLife:
    """Three hosts and what happens to them, as a seed has it."""

    def __init__(self, seed: int, rules: Rules | None = None, hosts: int = 3) -> None:
        self.random = Random(seed)
        self.fleet = Fleet(self.random, Random(f"{seed}/late"), lossy=self.random.choice([0.0, 0.05, 0.2]))
        self.fleet.etcd.watchers.append(lambda: self.fleet.pauses.change(self.fleet.etcd.changes[-1]))
        self.jobs = jobs()
        if seed % 8 == LAGS:
            self.fleet.lags = Random(f"{seed}/lags")
            self.jobs.append(BRIEF)
        self.forgets = seed % 8 == FORGETS
        """Whether etcd forgets what has run while a host is away, as the jobs look back no farther."""
        self.absences = 0
        if self.forgets:
            self.jobs = [replace(each, catch_up_window=HOUR) for each in self.jobs]
        self.ticket = 0
        self.paused: set[tuple[str, str]] = set()
        self.clients = defaultdict[str, list[LockClientId]](list)
        self.removed = dict[str, tuple[str, int]]()
        """Host → the job that its files lack, and since when."""
        self.stranded = dict[tuple[str, str, str], int]()
        """Since when hosts on hold have what they have not begun."""
        seconds = {
            "tick": 3,
            "long": self.random.randint(10, 900),
            "tape": 40,
            "late": 70,
            "brief": 10,
            "own": 100,
            "alice/mine": 30,
            "pair": self.random.randint(20, 90),
            "user": 40,
            "all": 20,
            "again": self.random.randint(5, 300),
        }
        for number in range(30 * (seed % 2)):  # of half of all fleets, that have none of these jobs
            self.fleet.etcd.put(f"/jq/hosts/other{number}", f"other{number}:1")
        for number in range(hosts):
            options = {"seconds": seconds, "of_fleet": {LICENCE: LICENCES}, "labels": ("gpu",) * (number > 0)}
            host = self.fleet.add(f"h{number}", *self.jobs, rules=rules, **options)
            host.ends = {"tape": self.random.choice([["succeeded"], ["failed 1", "succeeded"]])}
        self.since = self.fleet.now
        self.forgotten = 0
        """Occurrences that have run before all was accepted: from then on they may run again."""

    @property
    def occurrences(self) -> int:
        """The number of those that have run."""
        return self.forgotten + len(self.fleet.started)

    def live(self, steps: int) -> None:
        """Let so much happen, then let all be well, and judge."""
        acts = [self._crash, self._crash, self._cut, self._heal, self._reboot, self._pause, self._pauses, self._hold,
                self._ask, self._stop, self._edit, self._edit_and_back, self._restart_agent, self._lock,
                self._unlock, *[self._be_away] * self.forgets,
                *[self._remove, self._remove] * (not self.forgets)]  # fmt: skip
        for _ in range(steps):
            self.random.choice(acts)()
            self.fleet.pass_time(self.random.choice([0.003, 0.02, 1, 30, 200, 600]))
            self._explain()
            self._look_for_stranded()
            self._boot()
        self._be_well()
        self._judge()
        self._put_etcd_back()

    def _host(self) -> str:
        return self.random.choice(sorted(self.fleet.hosts))

    def _crash(self) -> None:
        """A scheduler dies in one of the next turns, before its commit or between two acts."""
        self.fleet.hosts[self._host()].doom = self.random.randint(0, 6), self.random.randint(-1, 4)

    def _boot(self) -> None:
        for host in self.fleet.hosts.values():
            if not host.is_alive and self.random.random() < 0.7:
                host.boot()

    def _cut(self) -> None:
        self.fleet.hosts[self._host()].agent.cut()

    def _heal(self) -> None:
        self.fleet.hosts[self._host()].agent.heal()

    def _reboot(self) -> None:
        """A host goes down with all that is live, which counts as lost."""
        if self.random.random() < 0.2:
            self.fleet.hosts[self._host()].reboot(0)

    def _pause(self) -> None:
        host, name = self.fleet.hosts[self._host()], self.random.choice(self.jobs).id
        if host.is_alive:
            pause = (host.store, name) not in self.paused
            (self.paused.add if pause else self.paused.discard)((host.store, name))
            self._ask_for_pause(host, name, pause=pause)

    def _pauses(self) -> None:
        """People pause a job and resume it, by several hosts, at the same time or soon after one another."""
        name = self.random.choice(self.jobs).id
        for _ in range(5):
            host = self.fleet.hosts[self._host()]
            if host.is_alive:
                self._ask_for_pause(host, name, pause=self.random.random() < 0.4)
            self.fleet.pass_time(self.random.choice([0, 0.002, 0.005, 0.02]))

    def _ask_for_pause(self, host: Host, name: str, *, pause: bool) -> None:
        ticket = self._ticket()
        if next(each.scope for each in self.jobs if each.id == name) is Scope.FLEET:
            self.fleet.pauses.ask(host.store, ticket, name, pauses=pause)
        host.happen(events.PauseAsked(ticket, name, "root", pause))

    def _hold(self) -> None:
        host = self.fleet.hosts[self._host()]
        if host.is_alive:
            hold = events.HoldAsked(self._ticket(), "root", None if host.hold is not None else Hold("root"))
            if hold.hold is not None and self.random.random() < 0.7:
                host.as_it_asks = lambda _: hold
            else:
                host.happen(hold)

    def _ask(self) -> None:
        host, name = self.fleet.hosts[self._host()], self.random.choice(self.jobs).id
        if host.is_alive:
            ticket = self._ticket()
            host.happen(events.RunAsked(ticket, name, "root", f"x{ticket:016x}"))

    def _lock(self) -> None:
        """A person's command wants a lock, or some of it."""
        host = self.fleet.hosts[self._host()]
        if host.is_alive:
            claim, ticket = self.random.choice([TAPE, Claim(LICENCE, 1)]), self._ticket()
            at_once = self.random.random() < 0.3
            self.clients[host.store].append(LockClientId(ticket))
            host.happen(events.LockAsked(ticket, LockClientId(ticket), (claim,), "root", at_once))

    def _unlock(self) -> None:
        """Commands end, whether they have their locks or wait for them."""
        host = self.fleet.hosts[self._host()]
        if host.is_alive:
            self._end_commands(host)

    def _end_commands(self, host: Host) -> None:
        for client in self.clients.pop(host.store, ()):
            host.unlock(client)

    def _stop(self) -> None:
        host = self.fleet.hosts[self._host()]
        if host.is_alive and host.scheduler.runs:
            run: RunId = self.random.choice(sorted(host.scheduler.runs))
            host.happen(events.StopAsked(self._ticket(), run, "root"))

    def _edit(self) -> None:
        """A host gets other definitions of the same jobs."""
        host = self.fleet.hosts[self._host()]
        if host.is_alive:
            removed, _ = self.removed.get(host.store, ("", 0))
            there = [each for each in self.jobs if each.id != removed]
            host.write("jobs.yaml", *(replace(each, priority=self.random.randint(0, 3)) for each in there))

    def _remove(self) -> None:
        """Remove a job from a host, usually while the host requests a run of the job; or bring a removed job back."""
        host = self.fleet.hosts[self._host()]
        if host.store in self.removed:
            self._bring_back(host)
        elif host.is_alive and self.random.random() < 0.7:
            host.as_it_asks = lambda ask: self._removal(host, ask.run.job)
        else:
            removal = self._removal(host, self.random.choice([each.id for each in self.jobs]))
            if host.is_alive:
                host.happen(removal)

    def _removal(self, host: Host, name: str) -> events.JobsRead:
        self._bring_back(host)
        self.removed[host.store] = name, self.fleet.now
        if self.random.random() < 0.5:  # its scheduler dies as it removes the job
            host.doom = 0, self.random.randint(-1, 2)
        host.files["jobs.yaml"] = tuple(each for each in host.files["jobs.yaml"] if each.id != name)
        return events.JobsRead("jobs.yaml", host.files["jobs.yaml"])

    def _bring_back(self, host: Host) -> None:
        """Restore the job that was removed from the files of a host. Nobody edits the files of a host that is down."""
        if host.store in self.removed and host.is_alive:
            name, since = self.removed.pop(host.store)
            host.lacked.append((name, since, self.fleet.now))
            host.write("jobs.yaml", *self.jobs)

    def _edit_and_back(self) -> None:
        """People change a job on some hosts, one host after another, and change it back, in any order.

        The network of one host may be slow at that time, so that its publications arrive after those of other hosts.
        """
        there = [host for host in self.fleet.hosts.values() if host.is_alive]
        before = {host.store: host.files["jobs.yaml"] for host in there}
        some = [host for host in there if before[host.store]]
        if not some:
            return
        edited = self.random.choice(before[some[0].store]).id
        some = self.random.sample(some, self.random.randint(1, len(some)))
        some[0].agent.delay = round(self.random.choice([0, 0, 0.5, 2]) * SECOND)
        edits = [(host, self.random.randint(1, 2)) for host in (*some, *some[1:])]
        for host, more in (*edits, *((host, 0) for host in self.random.sample(some, len(some)))):
            files = before[host.store]
            host.write("jobs.yaml", *(replace(it, nice=it.nice + more) if it.id == edited else it for it in files))
            self.fleet.pass_time(self.random.choice([0, 0.001, 0.01, 0.1, 0.5]))
        some[0].agent.delay = 0

    def _be_away(self) -> None:
        """A host is away for so long that etcd forgets what the others run; some have jobs look back farther then.

        Twice in a life: each takes hours.
        """
        self.absences += 1
        if self.absences > 2:
            return
        host, is_cut = self.fleet.hosts[self._host()], self.random.random() < 0.5
        host.agent.cut() if is_cut else host.leave()
        hosts = [*self.fleet.hosts.values()]
        self.fleet.pass_time(self.random.choice([0, 6 * HOUR]) / SECOND)
        for each in self.random.sample(hosts, self.random.randint(0, len(hosts))):
            self.fleet.pass_time(self.random.choice([0, 0, HOUR]) / SECOND)
            window = self.random.choice([HOUR, 5 * HOUR, DAY])
            each.files["jobs.yaml"] = tuple(replace(it, catch_up_window=window) for it in each.files["jobs.yaml"])
            each.happen(events.JobsRead("jobs.yaml", each.files["jobs.yaml"]))
        host.agent.heal() if is_cut else host.come_back()

    def _restart_agent(self) -> None:
        """An agent begins anew, beside a scheduler that lives."""
        host = self.fleet.hosts[self._host()]
        if host.is_alive and host.agent.cut_since is None:
            host.happen(FleetReachability("the agent has ended"))
            host.agent.connect()

    def _explain(self) -> None:
        """Each run that has not started can say why."""
        for host in self.fleet.hosts.values():
            for run in host.scheduler.runs.values() if host.is_alive else ():
                if run.state in PENDING:
                    host.why(run.id)

    def _look_for_stranded(self) -> None:
        """A host on hold keeps nothing from the others that it has not begun."""
        for host in self.fleet.hosts.values():
            for name in host.stranded():
                since = self.stranded.setdefault((host.store, *name), self.fleet.now)
                assert self.fleet.now < since + _GIVES_BACK, f"{host.store} is on hold and keeps {name}"
        now = {(host.store, *name) for host in self.fleet.hosts.values() for name in host.stranded()}
        self.stranded = {name: since for name, since in self.stranded.items() if name in now}

    def _ticket(self) -> int:
        self.ticket += 1
        return self.ticket

    def _be_well(self) -> None:
        """Everything is mended, and there is time enough for all that waits."""
        for host in self.fleet.hosts.values():
            host.doom = host.as_it_asks = None
            host.agent.heal()
            if not host.is_alive:
                host.boot()
            self._bring_back(host)
        self.fleet.pass_time(5)  # a pause is over once the fleet can be asked
        for host in self.fleet.hosts.values():
            self._end_commands(host)
            for each in self.jobs:
                self._ask_for_pause(host, each.id, pause=False)
            host.happen(events.HoldAsked(self._ticket(), "root", None))
        for _ in range(5):  # no later edit may hide what goes wrong now
            self._edit_and_back()
        self.until = self.fleet.now
        self.fleet.pass_time(HOUR // 10**9)
        outdated = (host.scheduler._state.fleet.outdated for host in self.fleet.hosts.values())
        assert not (nowhere := set.intersection(*outdated)), f"no host has the definition that counts of {nowhere}"
        for host in self.fleet.hosts.values():  # nothing more is due: nobody is passed over for ever
            host.write("jobs.yaml", *(replace(each, enabled=False) for each in self.jobs))
        self.fleet.pass_time(HOUR // 10**9)
        for _ in range(48):  # there may be hours of them
            if any(host.scheduler.runs for host in self.fleet.hosts.values()):
                self.fleet.pass_time(HOUR // 10**9)

    def _judge(self) -> None:
        """Nothing is missing, or has two records, and etcd knows of nothing that is not."""
        for each in self.jobs:
            if each.scope is Scope.FLEET:
                missing = self.fleet.missing(each, self.since, self.until)
                # what is forgotten may be taken for missed
                doubled = [] if self.forgets else self.fleet.doubled(each, self.since, self.until)
                assert not missing, f"{each.id}: {len(missing)} occurrences are missing, the first {missing[0]}"
                assert not doubled, f"{each.id}: {len(doubled)} occurrences have two records, the first {doubled[0]}"
        by_clock = [host for (name, _), (host, _) in self.fleet.started.items() if name == "chosen"]
        assert "h0" not in by_clock, "a host without a label runs what wants one"
        for place in self.fleet.etcd.values("/jq/wait/"):
            store, lock = place.removeprefix("/jq/wait/").split("/", 1)
            state = self.fleet.hosts[store].scheduler._state
            waiting = (who for who, locks in state.fleet._waiters.items() if f"{FLEET}{lock}" in locks)
            assert any(who in state.runs for who in waiting), f"{store} stands in line for {lock}, and for nothing"
        for key, value in self.fleet.etcd.keys.items():
            host = self.fleet.hosts[value.store]
            runs = {run.key for run in host.scheduler.runs.values() if run.id.job == value.job}
            assert value.state or value.key in runs, f"{key} is nobody's any more"

    def _put_etcd_back(self) -> None:
        """Etcd is put back to a snapshot: nothing starts by that until it was accepted, wherever hosts were."""
        fleet, hosts, random = self.fleet, list(self.fleet.hosts.values()), self.random
        fleet.late = None
        fleet.pass_time(LATEST)  # what is late comes before that: no member lives through it
        for host in hosts:
            host.write("jobs.yaml", *self.jobs)
        fleet.pass_time(random.randint(60, 300))
        away = random.sample(hosts, random.randint(0, 2))
        for host in away:
            host.leave()
        fleet.pass_time(random.choice([0, 20, 90]))
        snapshot = fleet.etcd.snapshot()
        fleet.pass_time(random.randint(130, 600))
        for host in away:
            if random.random() < 0.5:
                host.come_back()
                fleet.pass_time(random.choice([20, 90]))
                host.leave()
        ran = fleet.put_back(snapshot, random.choice([0, 10**6]), at_once=random.random() < 0.5)
        fleet.pass_time(15)
        for host in away:
            host.come_back()
        fleet.pass_time(1000)
        assert ran == fleet.started, f"started by an etcd that was put back: {fleet.started.keys() - ran.keys()}"
        self._accept()

    def _accept(self) -> None:
        """All hosts go on by what there is: what has run since the snapshot may run again, and fences begin anew."""
        fleet = self.fleet
        self.forgotten += len(fleet.started)
        fleet.started.clear()
        fleet.fences.clear()
        for host in fleet.hosts.values():
            host.occurrences.clear()  # as fleet.started: an occurrence that was returned may run here once more
            host.happen(events.FleetAccepted(self._ticket(), "root"))
        fleet.pass_time(300)
        down = {store: host.scheduler.fleet.down for store, host in fleet.hosts.items()}
        assert not any(down.values()), down
        assert fleet.started, "nothing starts though it was accepted"
