"""The packages of Debian that ask for a cron daemon: apt installs each of them beside ours, and takes ours for it.

python3 -m tests.support.dependents    # after `make deb`, on a Debian whose apt has its lists; installs nothing
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

DEBS = Path(__file__).parents[2] / "build/deb"
PROVIDED = frozenset(("cron-daemon", "anacron"))
OTHERS = frozenset(("anacron", "bcron", "cron", "cronie", "systemd-cron"))
_INSTALLED = re.compile(r"^Inst (\S+)", re.MULTILINE)
_KEPT = ("Conf jobqueued ", "Conf jobqueued-cron ")


def dependents(available: str) -> Iterator[str]:
    """Yield the packages that depend on what jobqueued-cron provides, by any of a dependency's alternatives."""
    for stanza in available.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " ")
        wanted = ", ".join(fields.get(name, "") for name in ("Pre-Depends", "Depends"))
        if PROVIDED & {name.split(":")[0] for name in re.findall(r"[a-z0-9][a-z0-9+.:-]+", wanted)}:
            yield fields["Package"]


def complaint(debs: list[str], package: str) -> str:
    """What is wrong with this package beside ours, "" if nothing is."""
    command = ["apt-get", "-s", "-q", "--no-install-recommends", "install", *debs, package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr
    if not all(words in done.stdout for words in _KEPT):
        return "ours is not installed"
    return " ".join(OTHERS & {*_INSTALLED.findall(done.stdout)})


def main() -> int:
    """Ask apt about each; 1 if one of them has a complaint."""
    debs = [f"{path}" for path in sorted(DEBS.glob("jobqueued*.deb"))]
    available = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True).stdout
    found, failed = sorted({*dependents(available)} - OTHERS), 0
    for package in found:
        if wrong := complaint(debs, package):
            print(f"{package}: {wrong}")
            failed += 1
    print(f"{len(found) - failed} passed, {failed} failed")
    return 1 if failed or not found else 0


if __name__ == "__main__":
    sys.exit(main())
