"""Start so many runs, really, and judge whether anything has grown, and each was started exactly once: exit 1 if not.

python -m tests.longrun --runs 1000000
python -m tests.longrun --runs 20000 --as-user games --markdown table.md --json figures.json
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.longrun import ledger
from tests.longrun.host import LongHost
from tests.longrun.load import ENDS, Load
from tests.longrun.mix import Mix
from tests.longrun.verdict import TooShort, judge, table
from tests.support.receivers import WebServer, answer
from tests.support.stranger import become
from tests.support.users import USER

_CTL = "import sys; from jobqueued.ctl.main import main; sys.exit(main())"
_SETTLED = {
    "runs without an end": "SELECT count(*) FROM run WHERE record IS NULL",
    "submissions that are not over": "SELECT count(*) FROM submission",
}
_OF_KILLS = ("the launcher exited", "its sender exited")
"""What has to be said of a launcher that was killed."""
BEGIN = 6000
"""The runs of the life that is judged until the ring of the trace, which has a bound, is full."""


def main() -> int:
    """Do it; the exit status."""
    options = _options()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))  # and nothing is left behind
    if options.as_user:
        become(pwd.getpwnam(options.as_user).pw_uid)
    root = Path(tempfile.mkdtemp(prefix="longrun-", dir="/var/tmp"))
    root.chmod(0o755)
    with WebServer(answer("200 OK")) as receiver:
        user = USER if os.geteuid() == 0 else None
        host = LongHost(root / "host", user, receiver.url, *options.program)
        try:
            return _run(host, Mix(options.rate, host.ledger, user), options)
        finally:
            host.close()
            if options.keep:
                print(f"everything is in {root}")
            else:
                subprocess.run(["rm", "-rf", str(root)], check=True)


def _run(host: LongHost, mix: Mix, options: argparse.Namespace) -> int:
    for name, text in mix.files().items():
        host.write(name, text)
    host.start()
    uid = pwd.getpwnam(USER).pw_uid if os.geteuid() == 0 else None
    load = Load(host, mix, options.runs, options.rate, uid, lambda line: print(line, flush=True))
    load.live()
    load.settle()
    audited = subprocess.run(
        [sys.executable, "-c", _CTL, "--root", str(host.root), "audit"], capture_output=True, text=True, check=False
    )
    host.stop()
    if options.json:
        options.json.write_text(json.dumps([sample.plain() for sample in load.samples]) + "\n")
    wrong = [*_account(host, mix, load), *_unsettled(host)]
    if audited.returncode:
        wrong.append(f"the audit has found something:\n{audited.stdout}{audited.stderr}")
    wrong += _growth(load, options)
    print(
        next(line for line in (audited.stdout or "no audit").splitlines() if "due time" in line or "no audit" in line)
    )
    for line in wrong[:50]:
        print(f"WRONG: {line}")
    print(f"{load.done:,} runs in {load.seconds:.0f} s; wrong: {len(wrong)}")
    return bool(wrong)


def _growth(load: Load, options: argparse.Namespace) -> list[str]:
    """What has grown; the table of all figures is shown."""
    try:
        rows = judge(load.samples, int(options.runs * ENDS) + BEGIN)
    except TooShort as short:
        return [f"too few runs to judge ({short}); take 20,000 or more"]
    print(table(rows, markdown=False))
    if options.markdown:
        options.markdown.write_text(table(rows, markdown=True))
    return [f"{row.name} grows: {row.first:.6g}, then {row.last:.6g}" for row in rows if row.grows]


def _account(host: LongHost, mix: Mix, load: Load) -> Iterator[str]:
    """What the jobs have written down, beside what was due and asked for."""
    account, skips = ledger.Account(), ledger.skips_of(host.said("run_skipped"))
    for line in host.ledger.read_text().splitlines():
        account.take(line)
    periods = {job.id: job.period for job in mix.jobs if job.period is not None}
    yield from ledger.violations(account, periods, skips)
    for job in mix.jobs:
        if (upstream := job.upstream) is not None:
            succeeded = [f"{upstream}@{number}" for number in account.numbers[upstream]]
            skipped = sum(skip.times for skip in skips.get(job.id, ()))
            yield from ledger.missing_after(account, job.id, upstream, succeeded, skipped)
    for name, runs in load.submitted.items():
        if len(account.numbers.get(name, ())) != runs:
            yield f"{name} was accepted as {runs} runs, and {len(account.numbers.get(name, ()))} have started"
    given_up = set[str]()
    for said in host.said("run_skipped"):  # a line may be about some in a row
        job, _, last = said["run"].rpartition("@")
        given_up |= {f"{job}@{number}" for number in range(int(said["first_run"].rpartition("@")[2]), int(last) + 1)}
    for run in load.by_hand:
        job, _, number = run.rpartition("@")
        if int(number) not in account.numbers.get(job, ()) and run not in given_up:
            yield f"{run} was accepted, and has not started"
    for event in ("bug", "degraded", "trouble", "notice_failed", "notice_given_up", "run_lingers", "fuse", "problem"):
        for said in [said for said in host.said(event) if not any(word in said["message"] for word in _OF_KILLS)][:3]:
            yield f"the daemon has said: {said['message']}"
    print(
        f"{account.runs:,} runs and {sum(account.starts.values()):,} attempts are in the ledger;"
        f" {sum(skip.times for found in skips.values() for skip in found):,} occurrences were skipped;"
        f" {len(load.submitted):,} submissions, {len(load.by_hand):,} runs by hand and by events;"
        f" {', '.join(load.ends)}"
    )


def _unsettled(host: LongHost) -> Iterator[str]:
    with sqlite3.connect(host.root / "state" / "state.db") as db:
        for what, query in _SETTLED.items():
            if count := db.execute(query).fetchone()[0]:
                yield f"{count} {what} are left in state.db"
    if marks := host.marks():
        yield f"{len(marks)} run directories are left: {', '.join(marks[:3])}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.longrun", description="Start very many runs, and judge it.")
    parser.add_argument("--runs", type=int, default=1_000_000, help="runs to start  [1000000]")
    parser.add_argument("--rate", type=int, default=400, help="starts a second to be tried  [400]")
    parser.add_argument("--as-user", metavar="U", help="do it as this user")
    parser.add_argument("--markdown", type=Path, metavar="F", help="write the table to F")
    parser.add_argument("--json", type=Path, metavar="F", help="write all samples to F")
    parser.add_argument("--keep", action="store_true", help="leave ledger, log, state and records")
    parser.add_argument("--traced", action="store_true", help="let the daemon tell what takes its memory")
    options = parser.parse_args()
    options.program = ("-m", "tests.longrun.traced") if options.traced else ()
    return options


if __name__ == "__main__":
    sys.exit(main())
