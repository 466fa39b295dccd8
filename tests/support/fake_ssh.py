"""A program in the place of ssh: it reaches daemons of this machine as hosts, and others that are out of order."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support import REPO

_PROGRAM = """\
#!/bin/sh
echo "$@" >>{root}/asked
host=$1; shift 2
case $host in
    hang) exec sleep 1000 ;;
    gone) echo "ssh: connect to host gone port 22: No route to host" >&2; exit 255 ;;
    flood) exec yes ;;
    said) cat {root}/said; exit ;;
esac
PATH={root}/bin:$PATH JOBQUEUE_ROOT={root}/$host exec sh -c "$*"
"""
_CTL = """\
#!/bin/sh
PYTHONPATH={repo} exec {python} -c 'from jobqueued.ctl.main import main; main(prog_name="jobqueuectl")' "$@"
"""


class FakeSsh:
    """The program, for the hosts whose directories are below `root`, by their names.

    ``hang`` never answers, ``gone`` is not reached, ``flood`` prints without an end, ``said`` prints what `says` has.
    """

    def __init__(self, root: Path) -> None:
        self._root, self.path = root, root / "ssh"
        (root / "bin").mkdir()
        for path, text in ((self.path, _PROGRAM), (root / "bin" / "jobqueuectl", _CTL)):
            path.write_text(text.format(root=root, repo=REPO, python=sys.executable))
            path.chmod(0o755)

    def says(self, text: str) -> None:
        """Let the host ``said`` print that."""
        (self._root / "said").write_text(text)

    def asked(self) -> list[str]:
        """The words of all calls since this was asked last."""
        path = self._root / "asked"
        words = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return words
