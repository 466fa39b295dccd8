"""A state.db that is damaged in every way, and the real daemon on it: `make power`, after the images.

python -m tests.power.damaged    0 if it starts on each but a newer version's, repeats no run, and keeps all history
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.power.checker import Found
from tests.power.life import runs
from tests.support.damages import LAST, WAYS, Left, build
from tests.support.host import Host

JOBS = """
jobs:
  nightly: {{command: echo $JOBQUEUE_RUN >>{root}/starts, on: boot}}
  queue: {{command: echo $JOBQUEUE_RUN >>{root}/starts}}
  idle: {{command: 'true'}}
"""
REFUSED = ("its format (user_version) is newer",)
OLD = [f"nightly@{number}" for number in range(1, LAST + 1)]


def main() -> int:
    """Try all; how many are not as they should be."""
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="power-", dir="/dev/shm") as directory:
        left = build(Path(directory, "left"))
        for number, (name, way) in enumerate(WAYS.items()):
            for text in _tried(left, Path(directory, str(number)), name, way):
                print(f"{name}: {text}", flush=True)
                wrong += 1
    print(f"{len(WAYS)} ways to damage state.db; {wrong} that are not as they should be")
    return wrong


def _tried(left: Left, root: Path, name: str, way: Callable[[Path, Left], None]) -> Iterator[str]:
    shutil.copytree(left.now, root)
    (root / "jobqueue.d").mkdir()
    (root / "jobqueue.d" / "jobs.yaml").write_text(JOBS.format(root=root))
    way(root / "state", left)
    host = Found(root)
    try:
        yield from _lived(host)
    except AssertionError as error:
        if name not in REFUSED:
            yield f"does not start: {str(error)[-300:]}"
    finally:
        host.close()


def _lived(host: Host) -> Iterator[str]:
    host.start()
    host.call("Release")
    new = host.run("nightly")
    host.wait(new)
    host.stop()
    host.start()  # what was damaged in the midst of life gets its history now
    for event in ("bug", "degraded"):
        yield from (line["message"] for line in host.said(event))
    starts = (host.root / "starts").read_text().split()
    if len(set(starts)) != len(starts) or set(starts) & set(OLD):
        yield f"started were {starts}"
    if missing := {*OLD, new} - {run["run"] for run in runs(host, "nightly")}:
        yield f"history lacks {sorted(missing)}"


if __name__ == "__main__":
    sys.exit(main())
