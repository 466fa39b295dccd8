"""The daemon, which tells at each SIGUSR2 what it holds in memory, and what has come since it was asked first.

python -m tests.longrun.traced …         as jobqueued; writes memory-N.txt into its root
PYTHONTRACEMALLOC=1                      and tells the places, too, which takes twice the time and memory
"""

from __future__ import annotations

import gc
import signal
import sys
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from jobqueued.__main__ import main

_MOST = 40


class Memory(NamedTuple):
    """Blocks that Python has allocated, objects by their kinds, and places, if they are traced."""

    blocks: int
    kinds: Counter[str]
    places: tracemalloc.Snapshot | None

    @classmethod
    def now(cls) -> Memory:
        """What it is, without garbage."""
        gc.unfreeze()
        gc.collect()
        kinds = Counter(type(each).__qualname__ for each in gc.get_objects())
        return cls(sys.getallocatedblocks(), kinds, tracemalloc.take_snapshot() if tracemalloc.is_tracing() else None)


_asked: list[Memory] = []


def tell(*_: object) -> None:
    """Write it down."""
    now = Memory.now()
    _asked.append(now if not _asked else now._replace(places=None))
    first = _asked[0]
    lines = [f"{now.blocks} blocks, {now.blocks - first.blocks:+}", "", "growth by kind:"]
    lines += [f"{many:>9}  {kind}" for kind, many in (now.kinds - first.kinds).most_common(_MOST)]
    if now.places is not None and first.places is not None:
        lines += ["", "growth by place:", *map(str, now.places.compare_to(first.places, "lineno")[:_MOST])]
    root = Path(sys.argv[sys.argv.index("--root") + 1])
    (root / f"memory-{len(_asked)}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    signal.signal(signal.SIGUSR2, tell)
    sys.exit(main())
