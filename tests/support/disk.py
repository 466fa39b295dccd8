"""A small file system of its own for a part of a test's host, in a mount namespace that nobody else sees; for root."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from tests.support import REPO
from tests.support.host import Host, wait_for

DAEMON = """
import sys
from jobqueued.state import commits
commits._RETRY = 10**9
from jobqueued.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
"""The daemon, which tries again every second."""


class Disk:
    """A tmpfs, or ext4 in a file, mounted at `place`, a directory of ours; `inside` is the way there."""

    def __init__(self, place: Path, size: int, image: Path | None = None) -> None:
        self.place = place
        place.mkdir(exist_ok=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}M,mode=755", "test", str(place)]
        if image is not None:
            with image.open("wb") as file:
                file.truncate(size << 20)
            subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
            mount = ["mount", "-o", "loop,errors=remount-ro", str(image), str(place)]
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", '"$@"; echo; exec sleep 600', "sh"]
        self._holder = subprocess.Popen([*command, *mount], stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        self.inside = Path(f"/proc/{self._holder.pid}/root{place}")
        assert os.path.ismount(self.inside)

    def enter(self) -> list[str]:
        """What a command begins with that is to see it."""
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt"]

    def remount(self, how: str) -> None:
        """Make it "ro" or "rw", once nobody is in the way, or "abort" it, as ext4 does after an error."""
        command = [*self.enter(), "mount", "-o", f"remount,{how}", str(self.place)]
        wait_for(lambda: not subprocess.run(command, capture_output=True, check=False).returncode or how == "abort")

    def fill(self) -> None:
        """Take all the room, the ballast's too."""
        (self.inside / "ballast").unlink(missing_ok=True)
        file = os.open(self.inside / "filler", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while os.write(file, bytes(size)) == size:
                    pass
        os.close(file)

    def free(self) -> None:
        """Give it back."""
        (self.inside / "filler").unlink()

    def start(self, host: Host, *arguments: str, ready: bool = True) -> subprocess.Popen[bytes]:
        """A daemon that sees it."""
        seen = len(host.said("ready"))
        command = [*self.enter(), sys.executable, "-c", DAEMON, "--root", str(host.root), "--log", "json", *arguments]
        with open(host.root / "daemon.log", "ab") as log:
            environment = {**os.environ, "PYTHONPATH": str(REPO)}
            host.daemon = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        if ready:
            wait_for(lambda: len(host.said("ready")) > seen or host.daemon_ended(), why="ready")
            assert not host.daemon_ended(), host.log()
        return host.daemon

    def close(self) -> None:
        """Let it go with the last process that is in it."""
        self._holder.kill()
        self._holder.wait()
