"""Show a fleet: three hosts, each with a member of etcd, one of which loses its power; exit 1 if it shows anything else
than what the page says of it, 2 if it can't be shown here.

python -m tests.fleet.demo            as root: some two minutes
python -m tests.fleet.demo --write    and write what was shown into docs/dev/fleet-demo.md
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme

from jobqueued.child.fleet.etcd.tls import Tls
from tests.fleet.day import NAMES
from tests.fleet.host import FleetHost
from tests.support import REPO
from tests.support.client import PROGRAM, environment
from tests.support.etcd import Cluster, Member, Site, cluster
from tests.support.places import Place, Switch, lacking

PAGE = REPO / "docs" / "dev" / "fleet-demo.md"
_JOBS = """\
jobs:
  tick:
    schedule: "* * * * *"
    seconds: "*/5"
    scope: fleet                             # each tick on one host
    command: echo "the tick of $JOBQUEUE_DUE"
  rotate:
    schedule: "* * * * *"
    seconds: "*/30"
    locks: {name: archive, scope: fleet}     # on each host, but one after another
    command: sleep 2
"""
_SETTINGS = """\
fleet:
  etcd: [{etcd}]
  authority: {authority}
  certificate: {certificate}
  key: {key}
  lock_grace: 30s                            # time after which a lost host's locks are free
"""
_SSH = """\
#!/bin/sh
# HOST -- LINE: as ssh does, for hosts that are network namespaces
host=$1; shift 2
JOBQUEUE_ROOT={root}/$host exec nsenter --net={root}/$host/net -- sh -c "$*"
"""
_MARK = "\n## What it shows\n\n"
_LONGEST_WAIT, _LOOK = 90.0, 0.2


class Demo:
    """The hosts, their etcd, and all that was shown."""

    def __init__(self, root: Path, etcd: Cluster, hosts: Sequence[FleetHost]) -> None:
        self._root, self._etcd, self._hosts = root, etcd, hosts
        self.shown = list[str]()

    def play(self) -> None:
        """Play it; AssertionError: something else came of it."""
        self._file("/etc/jobqueue.d/demo.yaml", _JOBS)
        self._file("/etc/jobqueued.yaml", (self._hosts[0].root / "jobqueued.yaml").read_text())
        for host in self._hosts:
            host.write("demo.yaml", _JOBS)
        self._until(lambda: all(host.said("fleet_up") for host in self._hosts), "hosts that can ask the fleet")
        first, _, last = self._hosts
        self._type(first, "fleet hosts")
        self._until(lambda: len(self._runs(first, "tick")) >= 6, "six ticks")
        self._until(lambda: self._ran(first, "rotate") >= set(NAMES), "the lock, on each host")
        self._type(first, "--fleet history tick")
        self._type(first, "--fleet history rotate")
        lost = self._lose(last)
        self._until(lambda: len(self._asked(first, "fleet", "hosts")["hosts"]) == len(NAMES) - 1, "a session that ends")
        self._type(first, "fleet hosts")
        self._until(lambda: "because" in self._run(first, ["why", "rotate"]), "a run that waits for the lock")
        self._type(first, "why rotate")
        self._until(lambda: self._rotated(first, lost), "the lock of a host that is gone, on both others")
        self._type(first, "--fleet history rotate")
        self._boot(last)
        self._type(last, "history rotate -n 2")
        self._type(last, "--fleet history tick -n 99")
        self._count(first)

    # what happens

    def _lose(self, host: FleetHost) -> datetime:
        """Have the host lose its power while it leads etcd and has the lock; the instant of that."""
        member = self._etcd.members[self._hosts.index(host)]
        self._until(lambda: self._etcd.leader() is member or self._move(member), "a leader on the last of the hosts")
        self._until(
            lambda: {mark.partition("@")[0] for mark in host.marks()} == {"rotate"}, "the lock on it, and no tick"
        )
        host.lose_power()
        self._say(f"{host.name}, whose member leads etcd, and which has the lock, loses its power.")
        return datetime.now(UTC)

    def _boot(self, host: FleetHost) -> None:
        """Have it boot, with its member."""
        member, ups = self._etcd.members[self._hosts.index(host)], len(host.said("fleet_up"))
        host.boot()
        member.kill()
        member.start()
        self._until(lambda: len(host.said("fleet_up")) > ups, "a host that boots")
        runs = sum(host.name == run["host"] for run in self._runs(host, "tick"))
        self._until(lambda: sum(host.name == run["host"] for run in self._runs(host, "tick")) > runs, "its next run")
        self._say(f"{host.name} boots.")

    def _count(self, host: FleetHost) -> None:
        """Count the ticks of each host; AssertionError: one is missing, or ran twice."""
        runs = self._runs(host, "tick")
        assert all(run["state"] in ("running", "succeeded") for run in runs), runs
        dues = sorted(datetime.fromisoformat(run["due"]) for run in runs)
        wanted = [dues[0] + timedelta(seconds=5 * number) for number in range(len(dues))]
        assert wanted == dues, f"missing, or twice: {sorted(Counter(dues) - Counter(wanted))}"
        counts = Counter(run["host"] for run in runs)
        each = ", ".join(f"{count} on {name}" for name, count in sorted(counts.items()))
        assert set(NAMES) == counts.keys(), counts
        self._say(f"{len(dues)} ticks were due, and each ran once: {each}.")

    def _until(self, what: Callable[[], bool], why: str) -> None:
        """Let time pass until something is so."""

        end = time.monotonic() + _LONGEST_WAIT
        while not what():
            assert time.monotonic() < end, f"not within {_LONGEST_WAIT} s: {why}"
            for host in self._hosts:
                host.tend()
            time.sleep(_LOOK)

    def _move(self, member: Member) -> bool:
        """Have another member lead; False: it does not yet."""
        if (leader := self._etcd.leader()) is not None:
            target = member.ask("maintenance/status", {})["header"]["member_id"]
            leader.ask("maintenance/transfer-leadership", {"targetID": target})
        return False

    # what is asked, and shown

    def _rotated(self, host: FleetHost, since: datetime) -> bool:
        """Tell whether two hosts have had the lock since then."""
        started = (run for run in self._runs(host, "rotate") if run["started"])
        runs = [run for run in started if datetime.fromisoformat(run["started"]) > since]
        return len({run["host"] for run in runs}) > 1

    def _ran(self, host: FleetHost, job: str) -> set[str]:
        return {run["host"] for run in self._runs(host, job)}

    def _runs(self, host: FleetHost, job: str) -> list[dict[str, Any]]:
        """The runs of a job on all hosts, the newest first."""
        return list(self._asked(host, "--fleet", "history", job, "-n", "1000")["runs"])

    def _asked(self, host: FleetHost, *words: str) -> dict[str, Any]:
        return dict(json.loads(self._run(host, [*words, "--json"])))

    def _run(self, host: FleetHost, words: Sequence[str]) -> str:
        """Run jobqueuectl on a host, as its administrator does."""
        assert host.place is not None
        own = {"PATH": f"{self._root}/bin:{os.environ['PATH']}", "JOBQUEUE_SSH": f"{self._root}/bin/ssh"}
        command = [*host.place.enter, *PROGRAM, *words]
        env = environment(**own, JOBQUEUE_ROOT=str(host.root))
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode < 2, done.stderr
        return done.stdout + done.stderr

    def _type(self, host: FleetHost, line: str) -> None:
        self._show("```text", f"{host.name}$ jobqueuectl {line}\n{self._run(host, shlex.split(line)).rstrip()}", "```")

    def _file(self, name: str, text: str) -> None:
        self._show(f"{name}, on each host:\n\n```yaml", text.rstrip(), "```")

    def _say(self, text: str) -> None:
        self._show("", f"**{text}**", "")

    def _show(self, *parts: str) -> None:
        self.shown.append("\n".join(part for part in parts if part).replace(str(self._root), "/etc/jobqueued"))
        print(self.shown[-1], end="\n\n", flush=True)


@contextmanager
def demo(root: Path) -> Iterator[Demo]:
    """Three hosts at a switch, each with a member of an etcd that asks for certificates."""
    with ExitStack() as stack:
        switch = Switch(2)
        places = [stack.enter_context(closing(switch.place())) for _ in NAMES]
        files = _certificates(root, places)
        sites = [_site(place, Tls(**files)) for place in places]
        options = ["--cert-file", files["certificate"], "--key-file", files["key"],
                   "--trusted-ca-file", files["authority"], "--client-cert-auth"]  # fmt: skip
        (root / "etcd").mkdir()
        etcd = stack.enter_context(cluster(root / "etcd", sites, options))
        settings = _SETTINGS.format(etcd=", ".join(site.clients for site in sites), **files)
        hosts = [stack.enter_context(closing(FleetHost(root / name, name, settings, place)))
                 for name, place in zip(NAMES, places, strict=True)]  # fmt: skip
        _tools(root, hosts)
        yield Demo(root, etcd, hosts)


def _site(place: Place, tls: Tls) -> Site:
    """A member of etcd at a place: hosts call it at one bridge, members at the other."""
    hosts, members = place.addresses
    return Site(f"https://{hosts}:2379", f"http://{members}:2380", place.enter, tls)


def _certificates(root: Path, places: Sequence[Place]) -> dict[str, str]:
    """An authority, and a certificate of it with its key, for all hosts and members."""
    authority = trustme.CA()
    leaf = authority.issue_cert(*(place.addresses[0] for place in places))
    files = {name: root / f"{name}.pem" for name in ("authority", "certificate", "key")}
    authority.cert_pem.write_to_path(files["authority"])
    leaf.cert_chain_pems[0].write_to_path(files["certificate"])
    leaf.private_key_pem.write_to_path(files["key"])
    return {name: str(path) for name, path in files.items()}


def _tools(root: Path, hosts: Sequence[FleetHost]) -> None:
    """Put jobqueuectl there, and what stands for ssh."""
    (root / "bin").mkdir()
    ours = f'#!/bin/sh\nexec {shlex.join(PROGRAM)} "$@"\n'
    for name, text in (("jobqueuectl", ours), ("ssh", _SSH.format(root=root))):
        (root / "bin" / name).write_text(text)
        (root / "bin" / name).chmod(0o755)
    for host in hosts:
        assert host.place is not None
        (host.root / "net").symlink_to(host.place.enter[1].removeprefix("--net="))


def main() -> int:
    """Show it; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet.demo", description="Show a fleet of three hosts.")
    parser.add_argument("--write", action="store_true", help=f"write what was shown into docs/{PAGE.name}")
    options = parser.parse_args()
    if lack := lacking() or ("" if shutil.which("etcd") else "needs etcd: apt install etcd-server"):
        print(f"fleet: {lack}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # not without the end of all that was started
    with tempfile.TemporaryDirectory(prefix="demo-") as name, demo(Path(name)) as found:
        found.play()
    if options.write:
        before, mark, _ = PAGE.read_text().partition(_MARK)
        assert mark, f"{PAGE.name} has nothing like {_MARK!r}"
        PAGE.write_text(before + mark + "\n\n".join(found.shown) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
