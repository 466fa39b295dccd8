"""Reads the daemon's log in its stead: counts all of it, and keeps what is not said of each run.

python -m tests.longrun.sieve KEPT COUNTS       COUNTS gets `LINES BYTES`, whenever something was read
"""

from __future__ import annotations

import os
import sys

_OF_EACH_RUN = tuple(
    b'"event":"%s"' % name for name in (b"run_started", b"run_ended", b"run_retrying", b"emitted", b"jobs_read")
)


def main() -> None:
    """Read to the end."""
    counts = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT, 0o644)
    lines = size = 0
    rest = b""
    with open(sys.argv[1], "ab", buffering=0) as kept:
        while data := os.read(0, 1 << 20):
            *whole, rest = (rest + data).split(b"\n")
            found = [line for line in whole if not any(name in line for name in _OF_EACH_RUN)]
            if found:
                kept.write(b"\n".join(found) + b"\n")
            lines, size = lines + len(whole), size + len(data)
            os.pwrite(counts, b"%020d %020d\n" % (lines, size), 0)


if __name__ == "__main__":
    main()
