"""A terminal with a program on it, by tmux(1): what a person would see, key by key."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support import REPO
from tests.support.client import environment
from tests.support.host import wait_for
from tests.support.needed import need

CAPTURES = os.environ.get("JOBQUEUED_CAPTURES")
"""Where `capture` writes what is seen, for the documentation; None: nowhere."""


class Terminal:
    """`program` on a terminal of this size; tmux needs a `directory` of its own.

    tmux remains a child of the test: a process without a parent might belong to a lost run of another test's daemon.
    """

    def __init__(self, directory: Path, program: Sequence[str], columns: int = 80, lines: int = 24) -> None:
        self._tmux = [need("tmux"), "-S", str(directory / "tmux"), "-f", "/dev/null"]
        size = ["-x", str(columns), "-y", str(lines)]
        self._server = subprocess.Popen([*self._tmux, "-D"], env=environment(), cwd=REPO, stdin=subprocess.DEVNULL)
        wait_for((directory / "tmux").exists)
        self._run("new-session", "-d", *size, shlex.join(program))
        self._run("set-option", "-g", "escape-time", "0")

    def _run(self, *words: str) -> str:
        command = [*self._tmux, *words]
        done = subprocess.run(command, env=environment(), cwd=REPO, capture_output=True, text=True, check=False)
        return done.stdout if not done.returncode else ""

    @property
    def text(self) -> str:
        """All that is on the screen; "": the program has ended."""
        return self._run("capture-pane", "-p")

    def press(self, *keys: str) -> None:
        """Press keys, by tmux's names."""
        self._run("send-keys", *keys)

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size."""
        self._run("resize-window", "-x", str(columns), "-y", str(lines))

    def sees(self, *texts: str) -> str:
        """Wait until all of these are on the screen; that."""
        seen = [""]

        def there() -> str:
            seen[0] = self.text
            return seen[0] if all(text in seen[0] for text in texts) else ""

        try:
            return wait_for(there)
        except AssertionError:
            raise AssertionError(f"{texts} not in\n{seen[0]}") from None

    def ends(self) -> None:
        """Wait until the program has ended."""
        wait_for(lambda: not self.text)

    def capture(self, name: str) -> None:
        """Keep what is on the screen for the documentation, if that is wished."""
        if CAPTURES is not None:
            Path(CAPTURES, name).write_text(self.text.rstrip() + "\n")

    def close(self) -> None:
        """End it."""
        self._run("kill-server")
        self._server.wait()
