"""Stories: what people and the clock do to a host, and what happens then, as text.

    A title, and what the rule is.

    > file backup.yaml
      jobs: {backup: {command: x, schedule: "0 1 * * *", retries: 1}}
    > ends backup failed 1, succeeded
    > pass 2h
    01:00:00 backup@1 starts
    01:00:01 backup@1 failed: exit code 1; next attempt in 62.3 s
    …

A line with > is an act, indented lines below it belong to it, all others are what happened.  It is the real scheduler,
reading real job files, in a faked world (world.py).

python -m tests.support.stories            tells which stories go differently
python -m tests.support.stories --rewrite  writes what happens now
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from jobqueued.base.instants import MINUTE, SECOND, to_datetime
from jobqueued.control.views.views import condition, status
from jobqueued.host.messages import VOCABULARY
from jobqueued.jobfile.reader import read_jobs
from jobqueued.jobfile.types.spelling import parse_duration
from jobqueued.model import events
from jobqueued.model.commands import Command, Launch, Reply, Say, Stop
from jobqueued.model.job import Claim
from jobqueued.model.run import LockClientId, RunId
from jobqueued.model.saved import Hold
from jobqueued.runs.launcher_link import unstarted
from jobqueued.runs.run_directory import Name
from tests.support.world import MIDNIGHT, World

SCENARIOS = Path(__file__).parents[1] / "scenarios"
TOLD = ("run_ended", "run_retrying", "run_skipped", "run_returned", "run_stopping", "job_invalid", "job_valid")
TOLD += ("held", "released", "held_up", "lock_granted", "lock_released", "fuse", "clock_stepped")
TOLD += (
    "retry_asked",
    "run_lingers",
    "job_paused",
    "job_resumed",
    "emitted",
    "skips_next",
    "run_late",
    "late_over",
    "overdue",
)
TOLD += ("overdue_over", "still_expected")


class Story(World):
    """A world that writes down what happens."""

    def __init__(self, **limits: object) -> None:
        self.lines: list[str] = []
        self.unstartable: dict[str, list[str]] = {}
        super().__init__(**limits)  # type: ignore[arg-type]

    def clock(self) -> str:
        """The time of day, with the day after the first."""
        moment = to_datetime(self.now.wall)
        day = "" if self.now.wall < MIDNIGHT + 24 * 60 * MINUTE else f"{moment:%a} "
        return f"{day}{moment:%H:%M:%S}"

    def happen(self, *happened: events.Event, admit: bool = True, die_after: int | None = None) -> None:
        """A turn, and the news of what it has started."""
        before = set(self.processes)
        super().happen(*happened, admit=admit, die_after=die_after)
        for run, attempt in sorted(self.processes.keys() - before):
            if reasons := self.unstartable.get(run.job):
                del self.processes[run, attempt]
                super().happen(unstarted(Name(run, attempt), reasons.pop()))
            else:
                super().happen(events.RunStarted(run, attempt, 4711, self.now.wall), admit=False)

    def _act(self, command: Command) -> None:
        super()._act(command)
        match command:
            case Launch(run):
                attempt = ", the failover" if run.failover else f", attempt {run.attempt}" * (run.attempt > 1)
                given = "".join(f", {name} {' '.join(map(str, numbers))}" for name, numbers in run.placed)
                late = (self.now.wall - run.due) // SECOND
                self.lines.append(f"{self.clock()} {run.id} starts{attempt}{given}" + f", {late} s late" * bool(late))
            case Stop(run, _, reason):
                self.lines.append(f"{self.clock()} {run} is told to stop: {reason}")
            case Say(event, fields) if event in TOLD:
                told = {"started": None, "ended": None, "output": {"tail": ""}, "run": None}
                record = fields.get("record")
                if record is not None:
                    told |= {**record, "run": f"{record['job']}@{record['number']}", "output": {"tail": ""}}
                text = VOCABULARY[event].text({**fields, "record": told})
                self.lines.append(f"{self.clock()} {text}")
            case Reply(_, value, error) if error is not None:
                self.lines.append(f"{self.clock()} refused: {value.get('reason') or error}")


class Teller:
    """Carries out the acts of one story."""

    def __init__(self) -> None:
        self.story = Story()
        self._tickets = self._clients = 0

    def act(self, line: str, body: list[str]) -> list[str]:
        """What happens after an act."""
        word, *arguments = shlex.split(line)
        getattr(self, f"do_{word.replace('-', '_')}")(*arguments, **({"body": body} if body else {}))
        lines, self.story.lines[:] = self.story.lines[:], []
        return lines

    def _ask(self, event: Callable[[int], events.Event]) -> Reply:
        self._tickets += 1
        self.story.happen(event(self._tickets))
        return self.story.replies[self._tickets]

    def do_host(self, *limits: str) -> None:
        """max_running=1 gpu=2 cpu=4 cpus=0,1"""
        told = dict(limit.split("=") for limit in limits)
        options: dict[str, object] = {}
        if "max_running" in told:
            options["max_running"] = int(told.pop("max_running"))
        if "cpus" in told:
            options["cpus"] = tuple(map(int, told.pop("cpus").split(",")))
        units = {name: int(amount) * (1000 if name == "cpu" else 1) for name, amount in told.items()}
        self.story = Story(resources={"cpu": 4000, "memory": 8 << 30, **units}, **options)

    def do_start(self, moment: str) -> None:
        """The story begins at another time than midnight of Monday, 2 March 2026."""
        instant = datetime.fromisoformat(moment).replace(tzinfo=UTC)
        self.story.now = self.story.now._replace(wall=round(instant.timestamp()) * SECOND)

    def do_file(self, name: str, body: list[str] | None = None) -> None:
        """A job file is saved, with the indented lines; without any it is removed."""
        jobs, problems = read_jobs("\n".join(body or []).encode(), name)
        self.story.lines += [str(problem) for problem in problems]
        if not any(problem.severity == "error" for problem in problems):
            self.story.write(name, *jobs)

    def do_files(self, *names: str, body: list[str]) -> None:
        """Several job files are saved together; their lines are parted by ---."""
        texts = "\n".join(body).split("\n---\n")
        pairs = zip(names, texts, strict=True)
        read = [events.JobsRead(name, read_jobs(text.encode(), name)[0]) for name, text in pairs]
        self.story.files |= {event.file: event.jobs for event in read}
        self.story.happen(*read)

    def do_takes(self, job: str, time: str) -> None:
        """How long each attempt of a job takes."""
        self.story.seconds[job] = parse_duration(time) / SECOND

    def do_ends(self, job: str, *words: str) -> None:
        """How its attempts end, the last one for ever: failed 1, succeeded."""
        self.story.ends[job] = [end.strip() for end in " ".join(words).split(",")]

    def do_pass(self, time: str) -> None:
        """Time passes."""
        self.story.pass_time(parse_duration(time) / SECOND)

    def do_down(self, time: str) -> None:
        """The daemon is down for a time, and starts again."""
        self.story.pass_time(parse_duration(time) / SECOND, scheduler=False)
        self.story.boot()

    def do_restart(self) -> None:
        """The daemon is killed and starts again."""
        self.story.boot()

    def do_reboot(self, time: str) -> None:
        """The host goes down, with all that is live, and comes up after a time."""
        self.story.reboot(parse_duration(time) / SECOND)

    def do_suspend(self, time: str) -> None:
        """The host sleeps: the wall clock goes on, nothing else does."""
        story, slept = self.story, parse_duration(time)
        story.processes = {name: end + slept for name, end in story.processes.items()}
        story.now = story.now._replace(wall=story.now.wall + slept)
        story.happen(events.Slept(slept), events.Woke())

    def do_clock(self, step: str) -> None:
        """Somebody sets the clock: +1h, -30m."""
        sign = -1 if step.startswith("-") else 1
        self.story.step_clock(sign * parse_duration(step.lstrip("+-")) / SECOND)
        self.story.happen(events.Woke())

    def do_run(self, job: str) -> None:
        """Somebody asks for a run."""
        self._ask(lambda ticket: events.RunAsked(ticket, job, "root", f"x{ticket:016x}"))

    def do_rerun(self, run: str) -> None:
        """Somebody wants a run once more."""
        name = RunId.parse(run)
        self._ask(lambda ticket: events.RunAsked(ticket, name.job, "root", f"x{ticket:016x}", name))

    def do_stop(self, run: str) -> None:
        """Somebody asks for a run to stop."""
        self._ask(lambda ticket: events.StopAsked(ticket, RunId.parse(run), "root"))

    def do_retry(self, run: str) -> None:
        """Somebody asks for the next attempt of a run now."""
        self._ask(lambda ticket: events.RetryAsked(ticket, RunId.parse(run), "root"))

    def do_pause(self, job: str, time: str = "") -> None:
        """Somebody pauses a job, maybe for a time."""
        until = self.story.now.wall + parse_duration(time) if time else None
        self._ask(lambda ticket: events.PauseAsked(ticket, job, "root", pause=True, until=until))

    def do_resume(self, job: str) -> None:
        """Somebody resumes a job."""
        self._ask(lambda ticket: events.PauseAsked(ticket, job, "root", pause=False))

    def do_skip_next(self, job: str) -> None:
        """Somebody wants the next occurrence skipped."""
        self._ask(lambda ticket: events.SkipAsked(ticket, job, "root"))

    def do_forget(self, job: str) -> None:
        """Somebody expects nothing more of a job that is in no file."""
        self._ask(lambda ticket: events.ForgetAsked(ticket, job, "root"))

    def do_hold(self, time: str = "", boot: str = "") -> None:
        """Somebody wants nothing new to start, maybe for a time, or (hold "" boot) until the next boot."""
        until = self.story.now.wall + parse_duration(time) if time else None
        hold = Hold("root", until, self.story.boot_id if boot else None)
        self._ask(lambda ticket: events.HoldAsked(ticket, "root", hold))

    def do_release(self) -> None:
        """Somebody lets new runs start again."""
        self._ask(lambda ticket: events.HoldAsked(ticket, "root", None))

    def do_pressure(self, name: str, time: str) -> None:
        """Work waits too long for something on this host, for a time."""
        self.story.happen(events.UnderPressure(name, self.story.now.mono + parse_duration(time)))

    def do_unsaved(self, reason: str = "") -> None:
        """A start could not save the state, for a reason; or it is saved now."""
        self.story.happen(events.StateUnsaved(reason))

    def do_lock(self, name: str, *how: str) -> None:
        """Somebody's command asks for a lock: shared, units=2, now (or not at all)."""
        told = dict(word.partition("=")[::2] for word in how)
        claim = Claim(name, int(told.get("units", 0)), exclusive=not told.keys() & {"shared", "units"})
        self._clients += 1
        client = LockClientId(self._clients)
        self._tickets += 1
        self.story.happen(events.LockAsked(self._tickets, client, (claim,), "alice", "now" in told))

    def do_unlock(self, number: str) -> None:
        """The first, second ... such command ends."""
        self.story.unlock(LockClientId(int(number)))

    def do_emit(self, event: str) -> None:
        """Somebody says that something has happened."""
        self._ask(lambda ticket: events.Emitted(ticket, event, "root", f"x{ticket:016x}"))

    def do_appears(self, path: str) -> None:
        """A file appears."""
        self._tickets += 1
        key = f"x{self._tickets:016x}"
        self.story.happen(events.PathAppeared(path, self.story.now.wall, key, path.replace("*", f"{self._tickets}")))

    def do_lose(self, run: str) -> None:
        """The supervisor of a live run dies."""
        name = RunId.parse(run)
        attempt = self.story.rows[name][0].attempt
        del self.story.processes[name, attempt]
        self.story.happen(events.RunLost(name, attempt, "its supervisor died"))

    def do_linger(self, run: str, *reason: str) -> None:
        """The supervisor of a live run dies, and something of it may live on."""
        name = RunId.parse(run)
        self.story.happen(events.RunLingers(name, self.story.rows[name][0].attempt, " ".join(reason)))

    def do_declare_lost(self, run: str) -> None:
        """Somebody says that nothing of a run lives."""
        name = RunId.parse(run)
        attempt = self.story.rows[name][0].attempt
        if self.story.scheduler.lingers(name):
            del self.story.processes[name, attempt]
        lost = events.RunLost(name, attempt, "its supervisor is gone; released by root")
        self._ask(lambda ticket: events.LostAsked(ticket, lost))

    def do_unstartable(self, job: str, times: str, reason: str) -> None:
        """The next attempts of a job can't be started, by no fault of its own."""
        self.story.unstartable[job] = [reason] * int(times)

    def do_why(self, run: str) -> None:
        """Why a run has not started."""
        told = self.story.scheduler.explain(RunId.parse(run), self.story.now)
        self.story.lines += [f"    {reason}" for reason in told["reasons"]]
        self.story.lines += [f"    late: {told['late']}"] if told["late"] else []
        self.story.lines += [f"    priority {told['growth']}"] if told["growth"] else []
        if told["expected"]:
            self.story.lines.append(f"    expected to start at {told['expected'][11:19]}")

    def do_list(self) -> None:
        """The status of each job."""
        for job in self.story.scheduler.catalog:
            self.story.lines.append(f"    {job.id}: {status(job, condition(self.story.scheduler, job))}")

    def do_records(self, job: str) -> None:
        """What is on record, skips that share one unfolded."""
        self.story.lines += [f"    {line}" for line in self.story.covered(job)]


def retold(text: str) -> str:
    """The story as it goes now."""
    teller, found = Teller(), list[str]()
    for line, body in acts(text):
        if line.startswith(">"):
            found += [line, *(f"  {each}" for each in body), *teller.act(line[1:], body)]
        else:
            found.append(line)
    teller.story.scheduler.validate()
    return "\n".join(found) + "\n"


def world_of(text: str) -> World:
    """The world of a story after its last act."""
    teller = Teller()
    for line, body in acts(text):
        if line.startswith(">"):
            teller.act(line[1:], body)
    return teller.story


def acts(text: str) -> Iterator[tuple[str, list[str]]]:
    """The lines that are not results: the title and empty lines, and each act with its body."""
    lines = text.rstrip("\n").split("\n")
    begun = False
    for number, line in enumerate(lines):
        if line.startswith(">"):
            begun = True
            body = []
            for more in lines[number + 1 :]:
                if not more.startswith("  ") or (more.startswith("    ") and not line.startswith("> file")):
                    break
                body.append(more[2:])
            yield line, body
        elif not begun or not line:
            yield line, []


def stories() -> list[Path]:
    """All of them."""
    return sorted(SCENARIOS.glob("*.txt"))


def main(arguments: list[str]) -> int:
    """Compare, or rewrite."""
    changed = [path for path in stories() if retold(path.read_text()) != path.read_text()]
    for path in changed:
        print(path)
        if "--rewrite" in arguments:
            path.write_text(retold(path.read_text()))
    return bool(changed) and "--rewrite" not in arguments


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
