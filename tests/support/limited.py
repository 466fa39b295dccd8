"""The daemon where a process may have few descriptors: python tests/support/limited.py MOST DAEMON-ARGUMENTS…"""

from __future__ import annotations

import resource
import sys

from jobqueued.__main__ import main

if __name__ == "__main__":
    most = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    sys.exit(main(sys.argv[2:]))
