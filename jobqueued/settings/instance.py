"""The instance that a run directory belongs to, for remedies: the system's daemon, a user's own instance, or another
one.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from jobqueued.child.contract.trust import name_of
from jobqueued.settings.paths import NoPlace, Paths

_OF_A_USER = re.compile(r"/run/user/(\d+)/jobqueue")
BOOTED = Path("/run/systemd/system")
"""The directory that exists only if systemd is the host's init system (sd_booted(3))."""
PID_FILE = "/run/jobqueued.pid"
"""The PID file of the system's daemon on a host without a service manager."""


def program(name: str) -> str:
    """Return one of jobqueued's programs as a user types it in a shell: its path if it is next to this program and not
    in PATH.
    """
    beside = Path(sys.argv[0]).parent / name
    return name if shutil.which(name) is not None or not beside.is_file() else str(beside)


@dataclass(frozen=True, slots=True)
class Instance:
    """One daemon.

    `manager`: the command that starts and stops the daemon's units, or "" if there is no service manager. `own`: the
    paths if the user who runs this program owns this instance; otherwise None.
    """

    run: Path
    manager: str = ""
    own: Paths | None = None

    @classmethod
    def of(cls, run: Path) -> Instance:
        """Return the instance with this run directory."""
        if run == Paths.system().run:
            return cls(run, "systemctl" * BOOTED.exists())
        is_kept = os.path.exists(run.parent / "systemd")  # a user's service manager has this directory
        with contextlib.suppress(NoPlace):
            if (own := Paths.user()).run == run:
                return cls(run, "systemctl --user" if is_kept else "", own)
        other = _OF_A_USER.fullmatch(str(run)) if is_kept else None
        return cls(run, f"systemctl --user -M {name_of(int(other[1]))}@" if other else "")

    @property
    def _is_system(self) -> bool:
        return self.run == Paths.system().run

    @property
    def ctl(self) -> str:
        """The jobqueuectl command with the options that this user needs to reach the daemon; another user may need more
        options.
        """
        if self.own is not None:
            return f"{program('jobqueuectl')} --user"
        if self.manager or self._is_system:
            return "jobqueuectl"
        root = self.run.parent
        is_root = Paths.under(root).run == self.run
        return shlex.join([program("jobqueuectl"), *(["--root", str(root)] if is_root else ["--run", str(self.run)])])

    @property
    def start(self) -> str:
        """The command that starts the daemon with the options of its last start."""
        if self.manager:
            return f"{self.manager} start jobqueued"
        if self._is_system:
            return f"{program('jobqueued')} --detach --pid-file {PID_FILE}"
        usual, words = Paths.system(), ["--run", str(self.run)]
        if self.own is not None:
            usual, words = self.own, ["--user"]
        elif (root := Paths.under(self.run.parent)).run == self.run:
            usual, words = root, ["--root", str(self.run.parent)]
        return shlex.join([program("jobqueued"), *words, *usual.changes(self.run)])

    @property
    def restart(self) -> str:
        """The command, or the instruction, to restart the daemon."""
        if self.manager:
            return f"{self.manager} restart jobqueued"
        return f"stop it, then start it again with `{self.start}`"

    @property
    def renew(self) -> str:
        """The command, or the instruction, to restart the daemon and the launcher. This restart ends no runs."""
        if self.manager:
            own = {"systemctl": "jobqueuectl", "systemctl --user": "jobqueuectl --user"}.get(self.manager)
            command = f"{own} restart-launcher" if own else f"{self.manager} restart jobqueued-launcher.socket"
            return f"{command} (live runs continue)"
        return f"stop the daemon and the launcher, then start the daemon with `{self.start}`; live runs continue"

    @property
    def see_log(self) -> str:
        """The command that shows the daemon's log, or the log's place."""
        if self.manager.startswith("systemctl --user"):
            return "see: journalctl --user -u jobqueued"
        return "see: journalctl -u jobqueued" if self.manager else "see its log"

    @property
    def see_launcher(self) -> str:
        """The command, or the place, that shows why the launcher fails."""
        return f"see: {self.manager} status jobqueued-launcher" if self.manager else "see the log of the daemon"

    @property
    def start_launcher(self) -> str:
        """The remedy if no launcher is listening and the daemon does not start a launcher itself."""
        return self._start("jobqueued-launcher.socket")

    @property
    def see_agent(self) -> str:
        """The command, or the place, that shows why the fleet's agent fails."""
        return f"see: {self.manager} status jobqueued-fleet" if self.manager else "see the log of the daemon"

    @property
    def start_agent(self) -> str:
        """The remedy if no fleet agent is listening and the daemon does not start an agent itself."""
        return self._start("jobqueued-fleet.socket")

    def _start(self, socket: str) -> str:
        if self.manager:
            return f"start it: {self.manager} start {socket}"
        return "start one there, or omit --launcher"
