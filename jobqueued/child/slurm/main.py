"""jq-slurm: the process that represents a run on Slurm. Like a local command, it is a child of the supervisor.

It submits the job, follows it, copies its output, and reports to its supervisor. Descriptor 3 has the order. It writes
lines of JSON to descriptor 4: submitted, running, state, unheard, warning, and finally unstarted, refused or end.

If a request is repeated, Slurm makes another job. So before each submission, the helper searches for the job by name
and comment, which are unique to this attempt. In addition, the command starts at most once (wrapper.py). If this
process dies at any step, a new helper resumes. SIGTERM ends the job. The helper also gets SIGTERM if the supervisor
dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

if __name__ == "__main__":  # started as a file, it is not in a package yet
    sys.path.append(os.path.dirname(os.path.abspath(f"{__file__}/../../..")))

from jobqueued.child.contract.documents import SLURM_HELPER
from jobqueued.child.contract.reasons import Code, Reason
from jobqueued.child.contract.signals import signal_number
from jobqueued.child.slurm import calls
from jobqueued.child.slurm.directory import Directory
from jobqueued.child.slurm.ends import FINAL, GONE, WAITING, SlurmEnd, SqueueJob, is_over_memory, verdict
from jobqueued.child.slurm.wrapper import KILL

ORDER, REPORTS = 3, 4
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_TELLING = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
_SURE = 10.0
"""Timeout (s) for Slurm's answer. After a timeout, the helper revokes the submission."""
_FIRST_LOOK, _LONGEST_LOOK = 0.1, 15.0
"""First and longest pause (s) between two calls to Slurm. The pause is usually a tenth of the job's age."""
_FIRST_TICK, _LONGEST_TICK = 0.05, 1.0
"""First and longest pause (s) between two checks of the job's files.

The pause is usually a fiftieth of the job's age.
"""
_SHARE_OF_LOOK, _SHARE_OF_TICK = 10, 50
_KILLS = (("--batch", f"--signal={int(KILL)}"), ("--full", "--signal=KILL"), ())
"""Options of scancel(1) to kill a job, tried in this order.

With the first option, the wrapper still reports the end.
"""
_LATE_FILES = 10.0
"""Time (s) to wait for the wrapper's report after Slurm reported the end, because network file systems may be slow."""


class Over(Exception):
    """Ends the helper; `report` is the final report."""

    def __init__(self, **report: Any) -> None:
        super().__init__(next(iter(report)))
        self.report = report


class Helper:
    """The helper of an attempt. Times are CLOCK_MONOTONIC."""

    def __init__(self, order: Mapping[str, Any]) -> None:
        self._order = order
        self._directory = Directory(order)
        self._seen: SqueueJob | None = None
        self._since = self._changed = self._looked = time.monotonic()
        self._trouble = ""
        self._is_running = self._is_signalled = False
        self._told_to_stop = bool(order["stopping"])
        self._kill_at = 0.0
        self._kills = 0

    def carry_out(self) -> None:
        """Carry out the whole order."""
        try:
            self._submit()
            while True:
                self._tick()
        except Over as over:
            _report(**over.report)
        self._directory.remove()

    # submission

    def _submit(self) -> None:
        """Find the job or submit it. Raises Over if the job is refused or can't exist."""
        self._wait(self._order["pause"])
        try:
            self._directory.make()
        except OSError as error:
            raise Over(refused=f"{self._directory.path}: {error.strerror}; {_OTHER_PLACE}") from None
        if self._directory.is_revoked:
            raise Over(unstarted="Slurm did not answer")
        pause = 0.1
        while self._seen is None:
            try:
                if not self._find():
                    self._ask()
            except calls.Away as away:
                self._tell_trouble(str(away))
                self._give_up_in_time(str(away))
                self._wait(pause)
                pause = min(2 * pause, _LONGEST_LOOK)
            except calls.SlurmRefused as why:
                if self._directory.revoke():  # otherwise an earlier submission started
                    raise Over(refused=str(why)) from None
                self._wait(pause)
        self._tell_trouble("")
        _report(submitted=self._seen.job)

    def _find(self) -> bool:
        """Search for the job, and cancel jobs of the run's earlier attempts. Return whether the job exists."""
        order = self._order
        own, earlier = [], []
        for found in calls.jobs_named([order["name"], *order["earlier"]]):
            if found.comment == order["comment"]:
                own.append(found.seen)
            elif found.comment.startswith(order["run"]) and found.seen.state not in FINAL:
                earlier.append(found.seen)
        for seen in earlier:
            with contextlib.suppress(calls.SlurmRefused):
                calls.cancel(seen.job)
        if earlier:
            raise calls.Away(f"{earlier[0].description} of an earlier attempt has not ended")
        if own:
            self._saw(self._chosen(own))
        return bool(own)

    def _chosen(self, own: list[SqueueJob]) -> SqueueJob:
        """Return the job that started the command, or else the first job, and cancel the other jobs."""
        claim = self._directory.claim()
        first, *others = sorted(own, key=lambda seen: (claim is None or str(seen.job) != claim["job"], seen.job))
        for seen in others:
            if seen.state not in FINAL:
                with contextlib.suppress(calls.Away, calls.SlurmRefused):
                    calls.cancel(seen.job)
        return first

    def _ask(self) -> None:
        if self._told_to_stop:
            raise Over(end=_end(None, SlurmEnd(("killed", Reason(Code.SLURM_STOPPED_FIRST)))))
        path = self._directory.path
        files = (f"--output={path}/slurm", "--chdir=/")
        options = [it for it in self._order["options"] if not (os.geteuid() and it.startswith(_RAISES))]
        if len(options) < len(self._order["options"]):
            _report(warning="its Slurm priority is 0, and only root and Slurm operators can raise a priority")
        number = calls.submitted([*options, *files], self._directory.script, path)
        self._saw(SqueueJob(number, "PENDING"))

    def _give_up_in_time(self, why: str) -> None:
        """After a timeout, revoke a submission whose result is unknown, unless its job started. Raises Over."""
        if not (self._told_to_stop or time.monotonic() > self._since + _SURE) or not self._directory.revoke():
            return
        if self._told_to_stop:
            raise Over(end=_end(None, SlurmEnd(("killed", Reason(Code.SLURM_STOPPED_UNSURE, why=why)))))
        raise Over(unstarted=why)

    # the submitted job

    def _tick(self) -> None:
        now = time.monotonic()
        self._directory.copy_output()
        self._look_at_the_claim()
        ended = self._directory.has_end()
        if self._told_to_stop:
            self._stop(now)
        age = now - self._changed
        if ended or now >= self._looked + min(max(_FIRST_LOOK, age / _SHARE_OF_LOOK), _LONGEST_LOOK):
            self._look(now)
        self._wait(min(max(_FIRST_TICK, age / _SHARE_OF_TICK), _LONGEST_TICK))

    def _look_at_the_claim(self) -> None:
        if not self._is_running and (claim := self._directory.claim()):
            self._is_running = True
            self._changed = time.monotonic()
            _report(running=claim["node"], job=claim["job"])

    def _look(self, now: float) -> None:
        """Request the job's state from Slurm. Raises Over if the job is over."""
        assert self._seen is not None
        self._looked = now
        try:
            found = calls.jobs_named([self._order["name"]])
        except (calls.Away, calls.SlurmRefused) as away:
            self._tell_trouble(str(away))
            return
        self._tell_trouble("")
        own = [it.seen for it in found if it.comment == self._order["comment"]]
        self._saw(self._chosen(own) if own else self._seen._replace(state=GONE))
        if self._seen.state in FINAL or self._seen.state == GONE:
            self._settle(now)

    def _settle(self, now: float) -> None:
        """Wait for an ended job's files, which may be late. Then raise Over with the end."""
        assert self._seen is not None
        has_begun = bool(self._directory.claim())
        until = now + _LATE_FILES
        late = self._seen.state in ("COMPLETED", GONE)
        while late and not self._directory.has_end() and time.monotonic() < until:
            self._wait(_LONGEST_TICK / 5)
        self._directory.copy_output()
        self._look_at_the_claim()
        end = self._directory.end()
        said = self._directory.said()
        found = verdict(self._seen, end, said, self._order["limits"], has_begun=has_begun)
        if found.failed and end is None and late:
            reason = Reason(Code.SLURM_END_MISSING, job=self._seen.description, path=self._directory.path)
            found = SlurmEnd(("lost", reason))
        if is_over_memory(self._seen, said) and found.cause is None:
            _report(warning="out of memory: processes of it were killed")
        raise Over(
            end={
                **_end(end, found),
                "slurm": {"job": self._seen.job, "node": self._seen.node or None, "state": self._seen.state},
            }
        )

    def _saw(self, seen: SqueueJob) -> None:
        if self._seen is None or (seen.state, seen.reason) != (self._seen.state, self._seen.reason):
            self._changed = time.monotonic()
            _report(state=seen.state, job=seen.job, node=seen.node, reason=seen.reason)
        self._seen = seen

    # the stop

    def _stop(self, now: float) -> None:
        """Cancel a waiting job. Signal a running job, and kill it after its grace period."""
        assert self._seen is not None
        try:
            if not self._is_signalled:
                self._is_signalled = True
                self._kill_at = now + self._order["kill_grace"]
                if self._seen.state in WAITING and not self._is_running:
                    self._kill_at = 0.0
                    calls.cancel(self._seen.job)
                else:
                    number = signal_number(self._order["stop_signal"])
                    calls.cancel(self._seen.job, *(_KILLS[0] if number == signal.SIGKILL else _batch(number)))
                self._changed = now
            if self._kill_at and now >= self._kill_at:
                self._warn_of_the_kill()
                options = _KILLS[self._kills % len(_KILLS)]
                self._kills += 1
                self._kill_at = now + _LATE_FILES
                calls.cancel(self._seen.job, *options)
        except calls.SlurmRefused:  # the job is over, or will be soon
            pass
        except calls.Away as away:
            self._is_signalled = False
            self._tell_trouble(str(away))

    def _warn_of_the_kill(self) -> None:
        grace, name = self._order["kill_grace"], self._order["stop_signal"]
        if not self._kills and grace and name != "SIGKILL":
            _report(warning=f"did not end on {name}: SIGKILL after {grace:g} s")

    def _wait(self, seconds: float) -> None:
        if seconds > 0 and signal.sigtimedwait(_TELLING, seconds) is not None and not self._told_to_stop:
            self._told_to_stop = True

    def _tell_trouble(self, text: str) -> None:
        if text != self._trouble:
            self._trouble = text
            _report(unheard=text)


def _batch(number: int) -> tuple[str, str]:
    return "--batch", f"--signal={number}"


_RAISES = "--nice=-"
"""Prefix of an option that Slurm refuses from users other than root and operators."""
_OTHER_PLACE = "use a directory that this host and the nodes share: slurm: {directory: …}"


def _end(end: Mapping[str, Any] | None, found: SlurmEnd) -> dict[str, Any]:
    return {"cause": found.cause, "status": found.status, "failed": found.failed, "used": end}


def _report(**what: Any) -> None:
    with contextlib.suppress(BrokenPipeError):  # the supervisor died; still end a started job
        os.write(REPORTS, json.dumps(what).encode() + b"\n")


def main() -> int:
    """Carry out the order."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _TELLING)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_NAME, SLURM_HELPER.encode())
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    size = os.fstat(ORDER).st_size
    order = json.loads(os.pread(ORDER, size, 0))
    os.set_inheritable(ORDER, False)
    os.set_inheritable(REPORTS, False)
    if os.getppid() != order["supervisor"]:
        order["stopping"] = True
    Helper(order).carry_out()
    return 0


if __name__ == "__main__":
    sys.exit(main())
