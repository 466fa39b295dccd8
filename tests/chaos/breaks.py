"""Breaks on purpose: with each of them, made in a copy, a short bad day shows what it is to show.

python -m tests.chaos.breaks [WORD]…    all, or those that have one of these words in their name
"""

from __future__ import annotations

import re
import subprocess
import sys

from tests.support.breaks import Break, broken

DAY = ["--minutes", "1", "--seed", "1", "--pace", "20", "--only", "clock,files,kill,restart,stop"]
_ONLY = {
    "a file with an error takes its jobs away": ["--only", "files", "--pace", "1"],
    "runs start while the host is held": ["--only", "files,kill"],
    "a start uses up R's before it covers them": ["--only", "pairs", "--pace", "3"],
    "the cursor of a job goes back with the clock": ["--only", "clock"],
    "a clock that is set back stands still": ["--only", "clock"],
}
"""What is another there: an error has to last for longer; and a clock that was set tells times again that are past."""

BREAKS: dict[str, tuple[Break, str]] = {
    "a lock is granted though another has it": (
        Break(
            "queue/locks.py",
            "            if exclusive or here.alone or there.alone:  # each holder has a part of the resource\n",
            "            if not units:\n                continue\n            if False:\n",
        ),
        "overlaps",
    ),
    "an exclusive run has not the host for itself": (
        Break("queue/locks.py", "_ALL_OF_HOST if job.exclusive else _SHARE_OF_HOST", "_SHARE_OF_HOST"),
        "overlaps",
    ),
    "a key that is known gives a new submission": (
        Break("jobfile/submissions.py", "    return key\n", '    return ""\n'),
        "doubled",
    ),
    "a submission does not wait for what it is after": (
        Break("core/runs/eligibility.py", "    if job.submission:\n        sat", "    if False:\n        sat"),
        "order",
    ),
    "nobody is told of what happens in every second second": (
        Break(
            "notices/notices.py",
            "isinstance(command, Say) and (command.removed",
            "isinstance(command, Say) and wall // 1_000_000_000 % 2 and (command.removed",
        ),
        "untold",
    ),
    "the record has exit code 1 for 7": (
        Break("child/report/record.py", 'used["exit_code"] = code if code', 'used["exit_code"] = min(code, 1) if code'),
        "wrong",
    ),
    "failures are heard as successes": (
        Break(
            "core/due/occurrences.py",
            'on.result in (result, "any") for on in job.on',
            'on.result in ("success", result, "any") for on in job.on',
        ),
        "order",
    ),
    "the cursor of a job goes back with the clock": (
        Break(
            "core/due/clock.py",
            "if step > 0 else set_back(saved, job, wall, -step)\n",
            "if step > 0 else changed(saved, cursor=wall - job.offset)\n",
        ),
        "doubled",
    ),
    "a clock that is set back stands still": (
        Break("core/due/set_back.py", "if _repeats(saved, job, begin, ", "if False and _repeats(saved, job, begin, "),
        "lost",
    ),
    "every second start of a crontab's line is dropped": (
        Break(
            "core/due/clock.py",
            "    for asked in state[job.id].saved.skips:\n",
            '    if ":line" in job.id and occurrence.due // 60_000_000_000 % 2:\n        return\n'
            "    for asked in state[job.id].saved.skips:\n",
        ),
        "lost",
    ),
    "a file with an error takes its jobs away": (
        Break(
            "jobdir/acceptance.py",
            "        else:\n            self._recall_one(path)\n            self.say(path, found)\n",
            "        else:\n            self._batch[path] = File(text, (), found)\n",
        ),
        "lost",
    ),
    "a definition that is read moves its clock back": (
        Break(
            "core/due/redefinition.py",
            "    cursor = forgone[-1] if forgone else saved.cursor\n",
            "    cursor = (forgone[-1] if forgone else saved.cursor) - 60_000_000_000\n",
        ),
        "doubled",
    ),
    "runs start while the host is held": (
        Break("core/runs/host_hold.py", "    return state.unsaved or held\n", "    return state.unsaved\n"),
        "held",
    ),
    "a start uses up R's before it covers them": (
        Break(
            "daemon/daemon.py",
            "runs.acts.take(self._decide(admit=False))  # an R may be removed only once its content is saved",
            "self._turn(admit=False)",
        ),
        "doubled",
    ),
    "what waits for two others starts after one of them": (
        Break(
            "core/runs/dependencies.py",
            "    if satisfied != set(job.dependencies):\n        return ()\n    of_last",
            "    if not satisfied:\n        return ()\n    of_last",
        ),
        "order",
    ),
    "some output is another, and counted as it was": (
        Break(
            "child/report/output.py", "kept = os.write(self._file, data)", "kept = os.write(self._file, data.upper())"
        ),
        "output",
    ),
}
"""What is broken, and the class of violations by which it is to be seen."""


def main() -> int:
    """Try them; 0 if each was seen."""
    unseen = 0
    for name, (wanted, verdict) in BREAKS.items():
        if sys.argv[1:] and not any(word in name for word in sys.argv[1:]):
            continue
        with broken(name, wanted) as directory:
            command = [sys.executable, "-m", "tests.chaos", *DAY, *_ONLY.get(name, ())]
            done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
        found = dict(re.findall(r"^ +(\d+)  ([a-z ]+)$", done.stdout.partition("violations:")[2], re.M))
        counts = {word: int(count) for count, word in found.items() if int(count)}
        unseen += verdict not in counts
        said = ", ".join(f"{count} {word}" for word, count in counts.items()) or done.stderr[-300:] or "nothing"
        print(f"{'seen' if verdict in counts else 'NOT SEEN'}: {name}: {said}", flush=True)
    return int(bool(unseen))


if __name__ == "__main__":
    sys.exit(main())
