"""Breaks on purpose: with each of them, made in a copy, a short day of a fleet shows what it is to show.

python -m tests.fleet.breaks [WORD]…    all, or those that have one of these words in their name
"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import NamedTuple

from tests.support.breaks import Break, broken

_DAY = ["--minutes", "1", "--pause", "4", "--longest-wait", "30"]


class Try(NamedTuple):
    """A break, the classes of violations by one of which it is to be seen, the faults that it takes, more options."""

    wanted: Break
    verdicts: tuple[str, ...]
    only: str
    more: tuple[str, ...] = ()


BREAKS: dict[str, Try] = {
    "an occurrence that is there is always another's": Try(
        Break(
            "child/fleet/claims.py",
            "if claim.run in now and now[claim.run].value != session.store:",
            "if claim.run in now:",
        ),
        ("missed", "held"), "answers are lost",
    ),
    "a lock that is there is always another's": Try(
        Break(
            "child/fleet/claims.py",
            "if key in now and now[key].value != value:",
            "if key in now and (key != claim.run or now[key].value != value):",
        ),
        ("missed", "held"), "answers are lost",
    ),
    "what is wanted is read, and then written": Try(
        Break("child/fleet/claims.py", "        compare.append(created(key, 0))\n", ""),
        ("doubled", "overlaps"), "NONE",
    ),
    "what nobody wants any more is not given back": Try(
        Break(
            "core/fleet/fleet.py",
            '        turn.do(GiveBack(event.job, event.key, RETURNED if is_for_others else "over"))\n',
            "        pass\n",
        ),
        ("held", "missed"), "killed",
    ),
    "what comes late is carried out again": Try(
        Break(
            "child/fleet/writes.py",
            '"compare": [created(session.key, session.created), last]',
            '"compare": [created(session.key, session.created)]',
        ),
        ("undone",), "requests come twice",
    ),
    "locks end with the session": Try(
        Break("child/fleet/uplink.py", '"lock": leases.locks,', '"lock": leases.session,'),
        ("overlaps",), "cut off", ("--minutes", "4", "--pause", "2"),
    ),
}  # fmt: skip
"""What is broken."""


def main() -> int:
    """Try them; 0 if each was seen."""
    unseen = 0
    for name, (wanted, verdicts, only, more) in BREAKS.items():
        if sys.argv[1:] and not any(word in name for word in sys.argv[1:]):
            continue
        with broken(name, wanted) as directory:
            command = [sys.executable, "-m", "tests.fleet", *_DAY, "--only", only, *more]
            done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
        found = dict(re.findall(r"^ +(\d+)  ([a-z ]+)$", done.stdout.partition("violations:")[2], re.M))
        counts = {word: int(count) for count, word in found.items() if int(count)}
        is_seen = bool(counts.keys() & set(verdicts))
        unseen += not is_seen
        said = ", ".join(f"{count} {word}" for word, count in counts.items()) or done.stderr[-300:] or "nothing"
        print(f"{'seen' if is_seen else 'NOT SEEN'}: {name}: {said}", flush=True)
    return int(bool(unseen))


if __name__ == "__main__":
    sys.exit(main())
