"""An attempt's audience: the launcher, and the followers on R/control."""

from __future__ import annotations

import socket
from collections.abc import Callable

from jobqueued.child.contract import wire
from jobqueued.child.report.control_socket import ControlSocket, DescriptorLoop


class Audience:
    """The audience of an attempt.

    `leaves`: the supervisor must leave its pool, for example because the launcher exited. `reason`: the reason why the
    attempt is stopping, or "".
    """

    def __init__(self, name: str, launcher: socket.socket) -> None:
        self._name, self._launcher = name, launcher
        self.leaves = False
        self.reason = ""

    def listen(self, directory: int, loop: DescriptorLoop, asked: Callable[[str], None]) -> None:
        """Make R/control in R (`directory`). `asked` is called when a follower requests a stop. Raises OSError."""
        self._control = ControlSocket(directory, loop, self._greeting, asked)
        self.accept, self.close = self._control.accept, self._control.close

    def _greeting(self) -> list[str]:
        return ["live", *([f"stopping {self.reason}"] if self.reason else [])]

    def say(self, notice: str) -> None:
        """Send a notice to the launcher."""
        try:
            self._launcher.send(notice.encode()[: wire.NOTICE])
        except OSError:  # R contains this notice for the next launcher, or for this launcher when we exit
            self.leaves = True

    def stopping(self, reason: str) -> None:
        """Notify the launcher and the followers why the attempt ends, or why it is not over yet."""
        self.reason = reason
        self.say(f"stopping {self._name} {reason}")
        self._control.send_line(f"stopping {reason}")

    def lost(self, status: int | None) -> None:
        """Notify the launcher that R was deleted, and disconnect the followers."""
        self.say(f"lost {self._name} {'-' if status is None else status}")
        self._control.hang_up()

    def farewell(self) -> None:
        """Notify the launcher and all followers that the attempt ended."""
        self._control.send_line("ended")
        self._control.hang_up()
        self.say(f"{'left' if self.leaves else 'ended'} {self._name}")
