"""Breaks on purpose: with each of them, made in a copy, some image breaks a promise; otherwise the images are blind.

python -m tests.power.breaks [WORD]…    all, or those that have one of these words in their name
"""

from __future__ import annotations

import re
import subprocess
import sys

from tests.support.breaks import Break, broken

BREAKS = {
    "state.db is not synced": Break("state/db/opening.py", "synchronous = FULL", "synchronous = OFF"),
    "state.db is synced at checkpoints only": Break(
        "state/db/opening.py", "synchronous = FULL", "synchronous = NORMAL"
    ),
    "acts come before their commit": Break(
        "daemon/acts.py",
        "        committed = self._commits.make()\n",
        "        for command in decided:\n            self._act(command, True)\n        self._link.flush()\n"
        "        committed, decided = self._commits.make(), [c for c in decided if isinstance(c, RemoveMarks)]\n",
    ),
    "an end is told before its commit": Break(
        "daemon/daemon.py",
        "            for run, record in self._runs.acts.carry_out(decided):\n",
        "            for each in decided:\n"
        "                if getattr(each, 'record', None) and hasattr(each, 'run'):\n"
        "                    self._control.notify_ended(getattr(each.run, 'id', each.run), each.record)\n"
        "            for run, record in self._runs.acts.carry_out(decided):\n",
    ),
    "a user's file is renamed without a sync": Break("jobdir/user_files.py", "durable=True", "durable=False"),
    "a user's file has no durable name": Break(
        "jobdir/user_files.py", "                os.fsync(descriptor)\n", "                pass\n"
    ),
    "a crontab is renamed without a sync": Break(
        "child/spool/spool.py", "            os.fsync(descriptor)\n", "            pass\n"
    ),
    "a crontab has no durable name": Break(
        "child/spool/spool.py", "            os.fsync(directory)\n\n    def remove", "\n    def remove"
    ),
    "a directory has no durable name": Break(
        "child/contract/atomic_file.py", "        return\n    _sync(parent)\n", "        return\n"
    ),
    "a record that nobody has heard of is not synced": Break(
        "child/contract/atomic_file.py", "        _sync(target)\n", "        pass\n"
    ),
    "such a record has no durable name": Break(
        "child/contract/atomic_file.py",
        "for target in (path, directory, os.path.dirname(directory))",
        "for target in (path,)",
    ),
    "torn records are not looked for": Break(
        "state/missing_records.py", " or files.modified >= self._unsure_since", ""
    ),
    "a state.db of another boot counts as this one's": Break(
        "daemon/daemon.py", "same_boot = state.store.has_seen_boot(boot_id)", "same_boot = True"
    ),
}


def main() -> int:
    """Try them; 0 if each was seen."""
    unseen = 0
    for name, wanted in BREAKS.items():
        if sys.argv[1:] and not any(word in name for word in sys.argv[1:]):
            continue
        with broken(name, wanted) as directory:
            command = [sys.executable, "-m", "tests.power", "--images", "60"]
            done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        found = re.search(r"; (\d+) with a promise", lines[-1]) if lines else None
        is_seen = found is not None and int(found[1]) > 0
        unseen += not is_seen
        example = next((line for line in lines if re.match(r"\d+:", line)), "".join(lines[-1:] or [done.stderr[-300:]]))
        print(
            f"{'seen' if is_seen else 'NOT SEEN'}: {name}: {found and found[1]} of 60 images; {example[:200]}",
            flush=True,
        )
    return unseen


if __name__ == "__main__":
    sys.exit(main())
