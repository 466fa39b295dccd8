"""Places of a network of our own: network namespaces, each with links to bridges; what passes a link that is down is
lost without a word.

All is within a namespace that the process enters first, and gone with it: nothing of the machine's own network changes.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from pathlib import Path

from tests.support.host import kill, wait_for

_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
_OWN = Path("/proc/thread-self/ns/net")


def lacking() -> str:
    """What there has to be for that, and is not; "": nothing."""
    if os.geteuid() != 0:
        return "needs root"
    if missing := [name for name in ("ip", "tc", "unshare", "nsenter") if shutil.which(name) is None]:
        return f"needs {', '.join(missing)}: apt install iproute2 util-linux"
    probe = ["unshare", "--net", "ip", "link", "add", "name", "probe", "type", "veth"]
    done = subprocess.run(probe, capture_output=True, check=False)
    return done.stderr.decode().strip() if done.returncode else ""


class Switch:
    """Bridges, numbered from 0, in a network namespace that this thread is in from now on, and what it starts."""

    def __init__(self, bridges: int) -> None:
        if _LIBC.unshare(_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        self._bridges, self._places = bridges, 0
        _ip("link", "set", "lo", "up")
        for number in range(bridges):
            _ip("link", "add", f"bridge{number}", "type", "bridge")
            _ip("address", "add", f"10.77.{number}.1/24", "dev", f"bridge{number}")
            _ip("link", "set", f"bridge{number}", "up")

    def place(self) -> Place:
        """One more place, which is linked to all bridges."""
        self._places += 1
        return Place(self._places + 1, self._bridges)


class Place:
    """A network namespace, with an address at each bridge."""

    def __init__(self, number: int, bridges: int) -> None:
        self._keeper = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE)  # it ends with us
        self._path = Path(f"/proc/{self._keeper.pid}/ns/net")
        wait_for(lambda: self._path.readlink() != _OWN.readlink(), why="a network namespace")
        self.enter = ("nsenter", f"--net={self._path}", "--")
        """What a command in it begins with."""
        self.addresses = [f"10.77.{bridge}.{number}" for bridge in range(bridges)]
        self.links = [f"link{number}-{bridge}" for bridge in range(bridges)]
        for bridge, (link, address) in enumerate(zip(self.links, self.addresses, strict=True)):
            _ip("link", "add", link, "type", "veth", "peer", "name", f"eth{bridge}", "netns", str(self._keeper.pid))
            _ip("link", "set", link, "master", f"bridge{bridge}", "up")
            self._run("ip", "address", "add", f"{address}/24", "dev", f"eth{bridge}")
            self._run("ip", "link", "set", f"eth{bridge}", "up")
        self._run("ip", "link", "set", "lo", "up")

    def cut(self, *bridges: int) -> None:
        """Let nothing pass to these bridges, or from them, until `mend`."""
        for bridge in bridges:
            _ip("link", "set", self.links[bridge], "down")

    def slow(self, rate: str) -> None:
        """Let only so much pass from the first bridge to here (``"16kbit"``), late; what does not fit is lost."""
        _run(
            "tc", "qdisc", "add", "dev", self.links[0], "root", "tbf", "rate", rate, "burst", "2kb", "latency", "400ms"
        )

    def mend(self) -> None:
        """Let all pass."""
        for link in self.links:
            _ip("link", "set", link, "up")
            subprocess.run(["tc", "qdisc", "del", "dev", link, "root"], capture_output=True, check=False)

    def join(self) -> None:
        """Have this thread in it: what it opens from now on is here."""
        with self._path.open() as file:
            if _LIBC.setns(file.fileno(), _NEWNET):
                raise OSError(ctypes.get_errno(), "setns")

    def processes(self) -> list[int]:
        """All that are in it."""
        found, own = [], self._path.readlink()
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{name}/ns/net").readlink() == own and int(name) != self._keeper.pid:
                    found.append(int(name))
        return found

    def kill(self) -> None:
        """Kill all that are in it, and what they start meanwhile."""
        while found := self.processes():
            for pid in found:
                kill(pid)

    def close(self) -> None:
        """Let go of it."""
        self._keeper.communicate()

    def _run(self, *command: str) -> None:
        _run(*self.enter, *command)


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
