"""The daemon of a host with another name: python tests/support/named.py NAME DAEMON-ARGUMENTS…"""

from __future__ import annotations

import platform
import sys

from jobqueued.__main__ import main

if __name__ == "__main__":
    platform.node = lambda: sys.argv[1]
    sys.exit(main(sys.argv[2:]))
