"""The daemon with small programs that every user can execute: python tests/support/anybodys.py DAEMON-ARGUMENTS…"""

from __future__ import annotations

import os
import sys

from jobqueued.__main__ import main

PYTHON = "/usr/bin/python3"


def everybodys_python() -> str:
    """Our own Python, unless it lies where only root may go, as one of pyenv's does; then the host's."""
    way = os.path.realpath(sys.executable)
    while way != "/":
        if not os.stat(way).st_mode & 0o001:
            return PYTHON
        way = os.path.dirname(way)
    return sys.executable


if __name__ == "__main__":
    sys.executable = everybodys_python()
    sys.exit(main(sys.argv[1:]))
