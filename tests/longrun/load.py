"""The life of the host: time passes, people come and go, and now and then a process of the daemon ends."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable
from typing import Any

from jobqueued.state.housekeeping import OF_SUBMISSIONS
from tests.longrun.host import LongHost
from tests.longrun.mix import EVENT, RETENTION, Mix
from tests.longrun.samples import Kept, Meter
from tests.longrun.verdict import Sample
from tests.support.host import wait_for
from tests.support.stranger import as_user

TICK = 0.1
ENDS = 0.1
"""In the first and the last part of a run processes of the daemon end; between them one scheduler lives all along."""
RESTS, SAMPLES = 12, 100
LONGEST_WAIT = 600.0
_ASKED = (
    ("List", {}), ("Status", {}), ("History", {"limit": 50}), ("Metrics", {}), ("Locks", {}), ("Notices", {}),
    ("Submissions", {}), ("Why", {"job": "tick-000"}), ("Describe", {"job": "fails-000"}), ("DueChanges", {}),
    ("History", {"job": "tick-001", "limit": 10}), ("Next", {"job": "tick-001", "count": 5}), ("Usage", {}),
)  # fmt: skip


def kept(mix: Mix) -> Kept:
    """What retention keeps of these jobs: of each so many runs, and skips; a hundred times as many submissions."""
    runs = int(RETENTION["runs"])
    jobs, submissions = len(mix.jobs) + 3, 2 * OF_SUBMISSIONS * runs
    return Kept(2 * runs * jobs + submissions, jobs + submissions)


class Load:
    """All that happens until so many runs have started; what was accepted, for the account."""

    def __init__(
        self, host: LongHost, mix: Mix, runs: int, rate: int, uid: int | None, say: Callable[[str], None]
    ) -> None:
        self.host, self.mix, self.runs, self.rate, self.uid, self._say = host, mix, runs, rate, uid, say
        self.samples: list[Sample] = []
        self.submitted: dict[str, int] = {}
        """The runs of each submission that was accepted."""
        self.by_hand: list[str] = []
        """The runs that were accepted at once: by hand, or by an event."""
        self.ends: list[str] = []
        self.begun = time.monotonic()
        self.done = 0
        self._random, self._meter = random.Random(1), Meter(host, kept(mix))
        self._ledger = host.ledger.open("rb")
        self._open: list[socket.socket] = []
        self._next: dict[str, float] = {}
        self._turn = 0
        self._least = 1 << 30

    @property
    def seconds(self) -> float:
        """How long it has lasted."""
        return time.monotonic() - self.begun

    def live(self) -> None:
        """Until so many have started."""
        samples = [self.runs * number // SAMPLES for number in range(1, SAMPLES + 1)]
        rests = [int(self.runs * (ENDS + (1 - 2 * ENDS) * (number + 0.5) / RESTS)) for number in range(RESTS)]
        ends = self._planned_ends()
        while self._count() < self.runs:
            self._do_what_is_due()
            if samples and self.done >= samples[0]:
                self._sample(rest=False)
                samples = [at for at in samples if at > self.done]
            if rests and self.done >= rests[0]:
                self._rest()
                rests = [at for at in rests if at > self.done]
            if ends and self.done >= ends[0][0]:
                _at, what, act = ends.pop(0)
                act()
                self.ends.append(what)
            assert not self.host.daemon_ended(), self.host.log()[-5000:]
            time.sleep(TICK)

    def settle(self) -> None:
        """Let nothing come due any more, and wait until all is over."""
        self._close_all()
        self.host.write("edited.yaml", "jobs: {}\n")
        for name, text in self.mix.last_files().items():
            self.host.write(name, text)
        wait_for(self._is_over, LONGEST_WAIT, "everything ends")
        self._count()

    def _is_over(self) -> bool:
        time.sleep(0.2)
        status = self._ask("Status")
        return bool(status) and not any(status[name] for name in ("due", "waiting", "retrying", "running"))

    def _count(self) -> int:
        self.done += sum(line.split(b" ", 2)[1] == b"1" for line in self._whole_lines())
        return self.done

    def _whole_lines(self) -> list[bytes]:
        place = self._ledger.tell()
        data = self._ledger.read()
        whole = data.rfind(b"\n") + 1
        self._ledger.seek(place + whole)
        return data[:whole].splitlines()

    # what happens

    def _planned_ends(self) -> list[tuple[int, str, Callable[[], None]]]:
        """When which process ends: three times each at the begin and the end, the launcher once in the middle."""
        stopped, killed = (lambda: self.host.restart(killed=False)), (lambda: self.host.restart(killed=True))
        acts = [
            ("scheduler stopped", stopped),
            ("launcher killed", self.host.kill_launcher),
            ("scheduler killed", killed),
        ]
        begin = [(ENDS * (number + 1) / 5, *act) for number, act in enumerate(acts)]
        end = [(1 - ENDS + share, *act) for share, *act in begin]
        middle = [(0.45, "launcher killed", self.host.kill_launcher)]
        return [(int(self.runs * share), what, act) for share, what, act in [*begin, *middle, *end]]

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        for name, rhythm, act in (
            ("submit", 20 / self.rate, self._submit), ("array", 15, self._submit_array), ("emit", 1, self._emit),
            ("edit", 3, self._edit), ("ask", 0.4, self._ask_something), ("connect", 1, self._connect),
            ("run", 2, self._run_by_hand), ("user", 10, self._submit_as_user), ("reload", 45, self.host.reload),
            ("doubled", 7, self._submit_twice),
        ):  # fmt: skip
            for _ in range(50):
                if self._next.setdefault(name, now) > now:
                    break
                self._next[name] += rhythm
                act()
            else:
                self._next[name] = now

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """An answer; {}: there is none, as the daemon is between two lives."""
        with contextlib.suppress(OSError):
            return self.host.call(method, **parameters)
        return {}

    def _accept(self, answer: dict[str, Any], runs: int = 1) -> None:
        if "job" in answer and "error" not in answer:
            self.submitted[answer["job"]] = runs

    def _submit(self) -> None:
        self._accept(self._ask("Submit", submission={"keys": {"command": self.mix.command()}}))

    def _submit_array(self) -> None:
        submission = {"keys": {"command": self.mix.command()}, "array": "1-20%5"}
        self._accept(self._ask("Submit", submission=submission), 20)

    def _submit_twice(self) -> None:
        self._turn += 1
        submission = {"keys": {"command": self.mix.command()}, "key": f"key-{self._turn}"}
        first = self._ask("Submit", submission=submission)
        self._accept(first)
        if "job" in first:
            again = self._ask("Submit", submission=submission)
            assert again.get("job", first["job"]) == first["job"], "one key, two submissions"

    def _submit_as_user(self) -> None:
        if self.uid is not None:
            submission = {"keys": {"command": self.mix.command()}}
            self._accept(as_user(self.uid, lambda: self._ask("Submit", submission=submission)))

    def _emit(self) -> None:
        self.by_hand += self._ask("Emit", event=EVENT).get("runs", ())

    def _run_by_hand(self) -> None:
        answer = self._ask("Run", job="comes-and-goes")
        self.by_hand += [answer["run"]] if "run" in answer else []

    def _edit(self) -> None:
        self._turn += 1
        self.host.write("edited.yaml", self.mix.edited(self._turn))

    def _ask_something(self) -> None:
        method, parameters = self._random.choice(_ASKED)
        self._ask(method, **parameters)

    def _connect(self) -> None:
        """Some hang on without a word, some with half a word, and one after another hangs up."""
        with contextlib.suppress(OSError):
            peer = socket.socket(socket.AF_UNIX)
            self._open.append(peer)
            peer.connect(str(self.host.run_directory / "control"))
            peer.sendall(self._random.choice((b"", b'{"method":', b'{"method":"io.jobqueue.Status"}\0' * 3)))
        if len(self._open) > 10:
            self._open.pop(self._random.randrange(10)).close()

    def _close_all(self) -> None:
        for peer in self._open:
            peer.close()
        self._open = []

    # looking

    def _sample(self, *, rest: bool) -> None:
        sample = self._meter.take(self.done, self.seconds, rest=rest)
        self.samples.append(sample)
        if rest or not len(self.samples) % 10:
            found = sample.figures
            self._say(
                f"{self.done:>9,} runs  {self.seconds:>6.0f} s  {self.done / self.seconds:>5.0f}/s"
                f"  scheduler {found.get('scheduler PSS KiB', 0) / 1024:.1f} MiB"
                f"  launcher {found.get('launcher PSS KiB', 0) / 1024:.1f} MiB"
                f"  {found['supervisors']:.0f} supervisors  {found['records']:,.0f} records"
                f"  state.db {found['state.db KiB'] / 1024:.1f} MiB{'  at rest' if rest else ''}"
            )

    def _rest(self) -> None:
        """Hold the host, until nothing runs and nobody is connected; look, and let it go on."""
        self._close_all()
        if "error" in (answer := self._ask("Hold")) or not answer:
            return
        wait_for(self._is_quiet, LONGEST_WAIT, "all runs end under a hold")
        for _ in range(50):  # what has hung up may not be noticed yet
            if (known := self.host.descriptors()) <= self._least:
                break
            time.sleep(0.1)
        self._least = min(self._least, known)
        self._sample(rest=True)
        self.host.ask_for_memory()
        self._ask("Release")

    def _is_quiet(self) -> bool:
        time.sleep(0.05)
        status = self._ask("Status")
        others = [name for _, name in self.host.family() if name not in ("jq-launcher", "jq-supervisor")]
        return bool(status) and not status["running"] and not others
