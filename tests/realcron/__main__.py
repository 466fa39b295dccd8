"""Compare our due times with the real crons': exit 1 if anything differs that is not declared, or the reverse.

What Debian's does while its clock is set is compared with the rules by which tests/pure/core/due/test_set_back.py goes.

python -m tests.realcron            compare, and check that docs/dev/realcron.md has the current table
python -m tests.realcron --write    compare, and write the table there

Needs root, namespaces, and Debian's package lists (apt-get update); takes a bit more than a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from itertools import product
from pathlib import Path

from tests.realcron.compare import Row, Starts, doubt, flaw, rows, strung
from tests.realcron.daemons import DAEMONS, CannotRun, Daemon, check_machine, fetch, run, versions
from tests.realcron.matrix import Window, windows
from tests.realcron.steps import SCENES, differences
from tests.realcron.table import BEGIN, END, block, runs

PAGE = Path(__file__).resolve().parents[2] / "docs" / "dev" / "realcron.md"
ROUNDS = 3
STAGGER = 0.25
"""Seconds between the starts of daemons, so that they do not all have the same busy minute."""

Observed = dict[tuple[Window, Daemon], Starts]


async def one_round(todo: list[tuple[Window, Daemon]], root: Path) -> Observed:
    """Let each daemon live through its window, all at once."""

    async def later(number: int, window: Window, daemon: Daemon) -> Starts:
        await asyncio.sleep(number * STAGGER)
        with tempfile.TemporaryDirectory(dir=root.parent, ignore_cleanup_errors=True) as home:
            return await run(daemon, window, root, Path(home))

    lives = (later(number, window, daemon) for number, (window, daemon) in enumerate(todo))
    return dict(zip(todo, await asyncio.gather(*lives), strict=True))


def observe(root: Path) -> Observed:
    """Live through all windows, and again through those where something is odd, until it is gone or the same twice."""
    todo = list(product(windows(), DAEMONS))
    observed: Observed = {}
    doubts: dict[tuple[Window, Daemon], str] = {}
    for number in range(1, ROUNDS + 1):
        print(f"round {number}: {len(todo)} windows", flush=True)
        observed |= asyncio.run(one_round(todo, root))
        found = {(window, daemon): doubt(window, daemon.name, observed[window, daemon]) for window, daemon in todo}
        todo = [pair for pair, why in found.items() if why and why != doubts.get(pair)]
        doubts = found
        for window, daemon in todo:
            print(f"  {daemon.name}, {window.name}: {doubts[window, daemon]}", flush=True)
        if not todo:
            break
    for (window, daemon), starts in observed.items():
        if why := flaw(window, starts):
            raise CannotRun(f"this machine is too busy: {daemon.name}, {window.name}: {why}")
    return observed


def table_rows(observed: Observed) -> list[Row]:
    """The rows of all windows."""
    parts = (rows(window, {daemon.name: observed[window, daemon] for daemon in DAEMONS}) for window in windows())
    return strung(row for part in parts for row in part)


def surprises(found: list[Row]) -> list[str]:
    """What differs and is not declared, what is declared and does not differ, what the proof of imports has wrong."""
    said = []
    for row, daemon in product(found, (daemon.name for daemon in DAEMONS)):
        if row.surprises(daemon):
            what = f"declared ({row.mark(daemon)}), but equal" if row.mark(daemon) else "not declared"
            real, ours = runs(row, row.theirs[daemon]), runs(row, row.ours)
            said.append(f"{row.place}  {row.expression:20}  {daemon}: {real}  jobqueued: {ours}  - {what}")
        if not row.is_foretold(daemon):
            real, told = runs(row, row.theirs[daemon]), runs(row, row.foretold[daemon])
            said.append(f"{row.place}  {row.expression:20}  {daemon}: {real}  proof of an import: {told}")
    return said


def update(text: str, table: str) -> str:
    """Put the table between the markers of a page."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise CannotRun(f"{PAGE.name} lacks the markers {BEGIN} and {END}")
    return before + table + after


def compare(write: bool) -> int:
    """Do it all; return the exit status."""
    if os.geteuid():
        raise CannotRun("be root: real crons are")
    check_machine()
    with tempfile.TemporaryDirectory(prefix="realcron-") as folder:
        root = fetch(Path(folder))
        by_steps = differences(root, Path(folder))
        found = table_rows(observe(root))
        table = block(found, versions(Path(folder)))
    if unexpected := [*by_steps, *surprises(found)]:
        print("\n".join(unexpected))
        return 1
    page = update(PAGE.read_text(), table)
    if write:
        PAGE.write_text(page)
    elif page != PAGE.read_text():
        print(f"the table in docs/{PAGE.name} is not current: python -m tests.realcron --write")
        return 1
    print(
        f"{len(found)} expressions and {len(SCENES)} clocks that are set compared, no difference but the declared ones"
    )
    return 0


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.realcron", description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write the table into docs/dev/realcron.md")
    try:
        return compare(parser.parse_args().write)
    except CannotRun as problem:
        print(f"realcron: {problem}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
