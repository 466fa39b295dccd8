"""The audience of an attempt: its launcher, and who follows it on R/control."""

from __future__ import annotations

import socket
from collections.abc import Callable

from jobqueued.child import wire
from jobqueued.child.control_socket import ControlSocket, Loop


class Audience:
    """Of one attempt.  `leaves`: its supervisor has to leave its pool, as its launcher is gone or for other reasons.

    `reason`: why the attempt is stopping; "": it is not.
    """

    def __init__(self, name: str, launcher: socket.socket) -> None:
        self._name, self._launcher = name, launcher
        self.leaves = False
        self.reason = ""

    def listen(self, directory: int, loop: Loop, asked: Callable[[str], None]) -> None:
        """Make R/control (`directory`: R), and pass on whoever asks to stop; OSError."""
        self._control = ControlSocket(directory, loop, self._greeting, asked)
        self.accept, self.close = self._control.accept, self._control.close

    def _greeting(self) -> list[str]:
        return ["live", *([f"stopping {self.reason}"] if self.reason else [])]

    def say(self, notice: str) -> None:
        """To the launcher."""
        try:
            self._launcher.send(notice.encode()[: wire.NOTICE])
        except OSError:  # R tells it: to the next launcher, or to this one when we end
            self.leaves = True

    def stopping(self, reason: str) -> None:
        """To all: why it is not over yet, or not to go on."""
        self.reason = reason
        self.say(f"stopping {self._name} {reason}")
        self._control.tell(f"stopping {reason}")

    def lost(self, status: int | None) -> None:
        """To all: R is gone."""
        self.say(f"lost {self._name} {'-' if status is None else status}")
        self._control.hang_up()

    def farewell(self) -> None:
        """To all: it has ended."""
        self._control.tell("ended")
        self._control.hang_up()
        self.say(f"{'left' if self.leaves else 'ended'} {self._name}")
