"""Type what docs/fleet-setup.md has for a shell, block by block, on machines that are namespaces; exit 1 if that does
not do what the page says, 2 if it cannot be tried here.

python -m tests.fleet.setup            as root: some four minutes
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.fleet.machine import Machine, installed, lacking_programs
from tests.support import REPO
from tests.support.papers import lasting
from tests.support.places import Switch, lacking

PAGE = REPO / "docs" / "fleet-setup.md"
_MEMBERS, _ALONE = "abc", "d"
_JOBS = """\
jobs:
  long: {command: sleep 1000, locks: {name: tape, scope: fleet}}
  tick:
    schedule: "* * * * *"
    seconds: "*/2"
    scope: fleet
    command: echo "$JOBQUEUE_DUE $JOBQUEUE_FENCE" >>/root/ticks
"""
_LOOKS = re.compile(r"fleet-etcdctl endpoint |jobqueuectl (fleet hosts|status|doctor|--fleet history )")
"""What only looks, and may be typed again until it shows what the page says."""
_VARIES = {r"took = \S+": "took", r"^[a-d] +hello@\d+": "HOST hello@N"}
_LONGEST_WAIT, _LOOK = 130.0, 0.3


class Block(NamedTuple):
    """What is typed on some machines, and the lines that the page has of what is printed."""

    hosts: str
    script: str
    shown: tuple[str, ...]


class Tick(NamedTuple):
    """A run of the fleet: when it was due, its fence, and where it was."""

    due: str
    fence: int
    host: str


def sections(page: str) -> dict[str, list[Block]]:
    """The blocks of each section; what a block prints is the text that follows it."""
    found = dict[str, list[Block]]()
    for part in page.split("\n## ")[1:]:
        blocks = found.setdefault(part.partition("\n")[0], [])
        for kind, text in re.findall(r"^```(sh|text)\n(.*?)^```$", part, re.S | re.M):
            first, _, script = text.partition("\n")
            if kind == "sh":
                blocks.append(Block(_MEMBERS if first == "# on each" else first.removeprefix("# on "), script, ()))
            else:
                blocks[-1] = blocks[-1]._replace(shown=tuple(text.splitlines()))
    return found


class Setup:
    """Three machines that become a fleet, and a fourth that joins it."""

    def __init__(self, machines: dict[str, Machine]) -> None:
        self._machines, self._left = machines, sections(PAGE.read_text())
        self._before = list[Tick]()
        """The ticks of a machine that is no more."""

    def play(self) -> None:
        """Play all; AssertionError: something else came of it."""
        self.set_up()
        self.upgrade()
        self.renew()
        self.renew_authority()
        self.replace()
        self.add()
        self.put_back()
        self.empty()
        unplayed = [title for title, blocks in self._left.items() if blocks]
        assert not unplayed, f"nobody has typed what is in {unplayed}"

    def set_up(self) -> None:
        """Become a fleet."""
        for title in ("1. Programs", "2. Certificates", "3. etcd", "4. jobqueued"):
            self._section(title)
        for name in _MEMBERS:
            self._tick(name)
        self._section("5. The first job")
        for name in _MEMBERS:
            self._is_well(name)
        self._tell("three hosts are a fleet, and their doctors have nothing against it", since="")

    def upgrade(self) -> None:
        """Upgrade jobqueued, and etcd, on one host after another."""
        sessions, members = self._all(_SESSION), self._all(_ETCD)
        since = self._now()
        self._section("Upgrade jobqueued")
        self._section("Upgrade etcd")
        assert sessions == self._all(_SESSION), "the session of a host has not gone on"
        assert not {*members} & {*self._all(_ETCD)}, "an etcd that was not restarted"
        self._tell("an upgrade of one host after another keeps their sessions", since)

    def renew(self) -> None:
        """Renew the certificates: each etcd shows the new one, and was not restarted."""
        before, members, sessions, since = self._shown(), self._all(_ETCD), self._all(_SESSION), self._now()
        self._section("Renew certificates")
        after = self._shown()
        assert not {*before} & {*after}, "a certificate that was shown before"
        assert self._all("openssl x509 -noout -fingerprint </etc/etcd/certificate.pem") == after
        assert (members, sessions) == (self._all(_ETCD), self._all(_SESSION)), "a restart too many"
        self._tell("each etcd shows its new certificate, and none was restarted", since)

    def renew_authority(self) -> None:
        """Have another authority: nothing of the one before is taken any more."""
        since = self._now()
        self._on("a", "cp -r /etc/etcd /root/before")
        away, restart = self._take("Renew the authority")
        self._type(away)
        for block in self._again("2. Certificates"):
            self._type(block)
        self._type(restart)
        for name in _MEMBERS:
            self._is_well(name)
        asks = "etcdctl --endpoints https://a.example.org:2379 --cacert /etc/etcd/authority.pem endpoint health"
        self._on("a", f"{asks} --cert /etc/etcd/certificate.pem --key /etc/etcd/key.pem")
        for other in ("", "--cert /root/before/certificate.pem --key /root/before/key.pem"):
            self._on("a", f"! {asks} {other}")
        self._tell("another authority counts, and that of before does not", since)

    def replace(self) -> None:
        """Lose a machine with its member, and have another one in its place."""
        since = self._now()
        self._before = self._ticks("c")
        self._machines["c"].renew()
        announce, join = self._take("Replace a member")
        self._type(announce)
        programs, files = self._again("1. Programs")[0], self._again("3. etcd")[0]
        for block in (programs, Block("a", "/root/authority/certify c.example.org", ()), files):
            self._type(block, only="c")
        self._type(join)
        self._join("c")
        assert 3 == len(self._on("a", "fleet-etcdctl member list").splitlines())
        self._tell("another machine has taken the place of one that was lost", since)

    def add(self) -> None:
        """Have a host join that has no member, and leave."""
        since = self._now()
        self._section("Add a host")
        self._join(_ALONE)
        self._until(lambda: len(self._hosts()) == 4, "a fourth host")
        self._until(lambda: [tick for tick in self._ticks(_ALONE) if tick.due > since], "a run on the fourth host")
        self._on(_ALONE, "rm /etc/jobqueued.yaml.d/fleet.yaml && systemctl restart jobqueued")
        self._until(lambda: len(self._hosts()) == 3, "a fleet without the fourth host")
        self._tell("a host without a member has joined, and left", since)

    def put_back(self) -> None:
        """Put etcd back to a snapshot: no host goes on before that is accepted, and fences do not begin anew."""
        self._on("b", "jobqueuectl run long && jobqueuectl pause hello")
        self._until(self._has_lock, "a lock")
        self._section("Back up")
        self._on("a", "for number in $(seq 100); do fleet-etcdctl put /elsewhere $number >/dev/null; done")
        since = self._now()  # of a fence that is greater by that than the revision of the snapshot
        self._all_run(since)
        *restore, look, accept, pause, release, resume = self._take("Restore")
        for block in restore:
            self._type(block)
        back, before = self._now(), self._after(since)
        self._type(look)
        for name in _MEMBERS:
            self._until(lambda name=name: "was restored" in self._status(name), f"{name}, which has seen it")
        self._type(accept)
        for name in _MEMBERS:
            self._is_well(name)
        assert self._is_paused(), "a pause that the snapshot has"
        self._type(pause)
        self._on("a", "jobqueuectl pause tick")
        for block in (release, resume):
            self._type(block)
        self._until(lambda: "paused" in self._on("a", "jobqueuectl --fleet history tick -n 20"), "what was skipped")
        accepted = self._now()
        self._on("a", "jobqueuectl resume tick")
        self._all_run(accepted)
        early = [tick for tick in self._after(back) if tick.due < accepted]
        assert not early, f"these began though that was not accepted, or they were paused: {early}"
        assert self._has_lock(), "the lock of a live run"
        fences = [tick.fence for tick in self._after(accepted)]
        assert min(fences) > max(tick.fence for tick in before), "a fence of before"
        self._tell("hosts whose etcd was put back go on once that is accepted, with greater fences", accepted)

    def empty(self) -> None:
        """Begin with an empty etcd."""
        self._on("a", "jobqueuectl pause hello")
        stop, start, accept = self._take("Begin with an empty etcd")
        before = self._after("")
        self._type(stop)
        self._type(start)
        back = self._now()
        for name in _MEMBERS:
            self._until(lambda name=name: "was restored" in self._status(name), f"{name}, which has seen it")
        assert not self._after(back), "something began before that was accepted"
        self._type(accept)
        accepted = self._now()
        for name in _MEMBERS:
            self._is_well(name)
        self._all_run(accepted)
        self._until(self._has_lock, "the lock of a live run")
        assert not self._is_paused(), "a pause that nobody has"
        assert max(tick.fence for tick in self._after(accepted)) < max(tick.fence for tick in before)
        self._tell("hosts whose etcd is empty go on once that is accepted, and fences begin anew", accepted)

    # what is typed

    def _section(self, title: str) -> None:
        for block in self._take(title):
            self._type(block)

    def _take(self, title: str) -> list[Block]:
        """The blocks of a section, which are all to be typed."""
        blocks, self._left[title] = self._left[title], []
        assert blocks, title
        return blocks

    def _again(self, title: str) -> list[Block]:
        return sections(PAGE.read_text())[title]

    def _type(self, block: Block, only: str = "") -> None:
        """Type a block; AssertionError: it fails, or does not print what the page has."""
        for name in only if only and block.hosts == _MEMBERS else block.hosts:
            looks = all(_LOOKS.match(line) for line in block.script.splitlines())
            if looks:
                self._until(lambda name=name: not self._missing(name, block), f"on {name}: {block}")
            else:
                missing = self._missing(name, block)
                assert not missing, f"{name} does not print {missing}"

    def _missing(self, name: str, block: Block) -> list[str]:
        """The lines that a machine does not print."""
        printed = _lasting(self._machines[name].sh(block.script, fails=bool(_LOOKS.match(block.script))))
        wanted = _lasting("\n".join(block.shown))
        return [line for line in wanted if not any(_is_like(line, other) for other in printed)]

    def _join(self, name: str) -> None:
        """Do steps 4 and 5 on a machine."""
        settings, _, _ = self._again("4. jobqueued")
        for block in (settings, self._again("5. The first job")[0]):
            self._type(block, only=name)
        self._tick(name)
        self._is_well(name)

    # what is seen

    def _is_well(self, name: str) -> None:
        """Wait until the doctor has nothing against the fleet, nor any other trouble."""

        def found() -> bool:
            told = json.loads(self._machines[name].sh("jobqueuectl doctor --json", fails=True))["findings"]
            about = [it["verdict"] for it in told if it["what"] in ("fleet", "trouble", "job", "job files")]
            return about == ["ok"] * 2

        self._until(found, f"{name}, which is well")

    def _status(self, name: str) -> str:
        return self._machines[name].sh("jobqueuectl status", fails=True)

    def _hosts(self) -> list[str]:
        return list(json.loads(self._on("a", "jobqueuectl fleet hosts --json"))["hosts"])

    def _has_lock(self) -> bool:
        """Tell whether another host than that of the run that goes on knows that this has its lock."""
        return re.search("fleet/tape +long on b +holds", self._on("a", "jobqueuectl locks")) is not None

    def _is_paused(self) -> bool:
        return re.search("^hello +Paused", self._on("b", "jobqueuectl list"), re.M) is not None

    def _shown(self) -> list[str]:
        """The certificates that the members show."""
        asked = "openssl s_client -connect 127.0.0.1:2379 </dev/null 2>/dev/null"
        return self._all(f"{asked} | openssl x509 -noout -fingerprint")

    def _tick(self, name: str) -> None:
        self._on(name, f"cat >/etc/jobqueue.d/tick.yaml <<'END'\n{_JOBS}END")

    def _ticks(self, name: str) -> list[Tick]:
        lines = (line.split() for line in self._on(name, "! test -e /root/ticks || cat /root/ticks").splitlines())
        return [Tick(due, int(fence), name) for due, fence in lines]

    def _after(self, since: str) -> list[Tick]:
        """The ticks of all machines that were due after that."""
        found = [*self._before, *(tick for name in self._machines for tick in self._ticks(name))]
        return [tick for tick in found if tick.due > since]

    def _all_run(self, since: str) -> None:
        """Wait until each member's host has run something that was due after that."""
        self._until(lambda: {tick.host for tick in self._after(since)} >= {*_MEMBERS}, "a run on each host")

    def _tell(self, what: str, since: str) -> None:
        """Say what was seen; AssertionError: something ran twice meanwhile, or nothing runs any more."""
        now = self._now()
        self._until(lambda: self._after(now), "a run after that")
        twice = [due for due, count in Counter(tick.due for tick in self._after(since)).items() if count > 1]
        assert not twice, f"these ran twice: {twice}"
        print(f"{what}: {len(self._after(since))} runs, each once", flush=True)

    def _now(self) -> str:
        return self._on("a", "date -u +%FT%TZ").strip()

    def _on(self, name: str, script: str) -> str:
        return self._machines[name].sh(script)

    def _all(self, script: str) -> list[str]:
        return [self._on(name, script) for name in _MEMBERS]

    def _until(self, what: Callable[[], object], why: str) -> None:
        end = time.monotonic() + _LONGEST_WAIT
        while not what():
            assert time.monotonic() < end, f"not within {_LONGEST_WAIT:.0f} s: {why}"
            time.sleep(_LOOK)


_SESSION, _ETCD = "cat /run/jobqueue/agent/session", "cat /run/units/etcd"


def _lasting(printed: str) -> list[str]:
    for pattern, word in _VARIES.items():
        printed = re.sub(pattern, word, printed, flags=re.M)
    return lasting(printed)


def _is_like(shown: str, printed: str) -> bool:
    """Tell whether a line is as the page has it, which leaves out what is behind “…”."""
    begin, left_out, _ = shown.partition("…")
    return printed.startswith(begin) if left_out else printed == shown


@contextmanager
def machines(root: Path) -> Iterator[dict[str, Machine]]:
    """Four machines at a switch, whose files are in memory."""
    with ExitStack() as stack:
        installed(root)
        switch, names = Switch(1), _MEMBERS + _ALONE
        places = [stack.enter_context(closing(switch.place())) for _ in names]
        hosts = [(name, place.addresses[0]) for name, place in zip(names, places, strict=True)]
        yield {name: stack.enter_context(closing(Machine(root, name, place, hosts)))
               for name, place in zip(names, places, strict=True)}  # fmt: skip


def main(words: list[str]) -> int:
    """Play it, in a mount namespace of its own; the exit status."""
    if lack := lacking() or lacking_programs():
        print(f"fleet: {lack}", file=sys.stderr)
        return 2
    if words != ["apart"]:
        os.execvp("unshare", ["unshare", "--mount", sys.executable, "-m", "tests.fleet.setup", "apart"])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # not without the end of all that was started
    with tempfile.TemporaryDirectory(prefix="setup-") as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", name], check=True)
        try:
            with machines(Path(name)) as found:
                Setup(found).play()
        finally:
            subprocess.run(["umount", "--lazy", name], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
