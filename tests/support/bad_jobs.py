"""Kinds of bad job: each is run by a real daemon, and what record, journal and `show` say of it is docs/bad-jobs.md.

python -m tests.support.bad_jobs --write        as root, writes the table anew: read the difference
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from click.testing import CliRunner

from jobqueued.ctl.main import main as jobqueuectl
from tests.support import REPO
from tests.support.host import Host, wait_for
from tests.support.users import ME

TABLE = REPO / "docs" / "bad-jobs.md"
ENDED = ("run_stopping", "run_returned", "run_skipped", "run_ended")


class Case(NamedTuple):
    """A bad job: what is bad about it, its keys, and what else is done; `act` gets the host and the id, and may start
    the run itself and return another run to report."""

    title: str
    keys: dict[str, Any]
    act: Callable[[Host, str], str | None] | None = None
    root: bool = False


def _running(host: Host, job: str) -> int:
    """Start a run of the job; its pid, once its output says that it is there."""
    run = host.run(job)
    return int(wait_for(lambda: _first_line(host, run), why=run))


def _first_line(host: Host, run: str) -> str:
    with contextlib.suppress(FileNotFoundError):
        return host.output(run).decode().partition("\n")[0]
    return ""


def _stop(host: Host, job: str) -> None:
    _running(host, job)
    host.call("Stop", run=f"{job}@1")


def _stop_the_second(host: Host, job: str) -> str:
    _running(host, job)
    second = host.run(job)
    host.call("Stop", run=second)
    host.call("Stop", run=f"{job}@1")
    return second


def _kill(host: Host, job: str) -> None:
    os.kill(_running(host, job), signal.SIGTERM)


def _hold_its_pipe(host: Host, job: str) -> None:
    pid = _running(host, job)
    held = os.open(f"/proc/{pid}/fd/1", os.O_WRONLY | os.O_CLOEXEC)
    os.kill(pid, signal.SIGUSR1)
    host.wait(f"{job}@1")
    os.close(held)


def _refused(host: Host, job: str) -> None:
    wait_for(lambda: next(row for row in host.call("List")["jobs"] if row["id"] == job)["invalid"])
    host.call("Run", job=job)


def _no_directory(host: Host, job: str) -> None:
    (host.root / "logs" / job).write_text("a file in the way")
    host.run(job)


def _kill_scheduler(host: Host, job: str) -> None:
    pid = _running(host, job)
    host.kill()
    os.kill(pid, signal.SIGUSR1)
    wait_for(lambda: host.record(f"{job}@1"))
    host.start()


_PID_AND_WAIT = "echo $$; exec sleep 600"
_UNTIL_USR1 = "trap 'exit 3' USR1; echo $$; while :; do sleep 0.05; done"
_DAEMON = "setsid sh -c '{}exec sleep 600' >/dev/null 2>&1 & sleep 0.2"
_IGNORING = "trap '' TERM; while :; do sleep 600; done"

CASES = [
    Case("ends well", {"command": "true"}),
    Case("exit code 1", {"command": "false"}),
    Case("exit code 255", {"command": "exit 255"}),
    Case("exit code that means success", {"command": "exit 24", "success_codes": [0, 24]}),
    Case("exit code 0 that does not mean success", {"command": "true", "success_codes": [1]}),
    Case("exit code 143, as shells report SIGTERM", {"command": "exit 143"}),
    Case("prints the reason before it fails", {"command": "echo No space left on device >&2; exit 1"}),
    Case("kills itself with SIGKILL", {"command": "kill -KILL $$"}),
    Case("SIGSEGV", {"command": "kill -SEGV $$", "resource_limits": {"core": "0"}}),
    Case("SIGABRT", {"command": "kill -ABRT $$", "resource_limits": {"core": "0"}}),
    Case("a real-time signal", {"command": "kill -37 $$"}),
    Case("SIGTERM to its own group", {"command": "kill 0; sleep 60"}),
    Case("SIGTERM sent by a user", {"command": _PID_AND_WAIT}, _kill),
    Case("no such command, as a list", {"command": ["no-such-command"]}),
    Case("no such command, as a text", {"command": "no-such-command"}),
    Case("no such file", {"command": ["/no/such/file"]}),
    Case("a directory as its command", {"command": ["/usr"]}),
    Case("not executable", {"command": ["/etc/passwd"]}),
    Case("an executable without a format", {"command": ["ROOT/noformat"]}),
    Case("a script whose interpreter is missing", {"command": ["ROOT/crlf"]}),
    Case("arguments beyond the kernel's limit", {"command": ["true", "x" * 140_000]}),
    Case("a shell that is missing", {"command": "true", "shell": "/no/such/shell"}),
    Case("a working_directory that is missing", {"command": "true", "working_directory": "/no/such/directory"}),
    Case("a home that is missing", {"command": "pwd", "user": "nobody"}, root=True),
    Case("an unknown user", {"command": "true", "user": "no-such-user"}, _refused),
    Case("an unknown group", {"command": "true", "group": "no-such-group"}, _refused),
    Case("an environment_file that is missing", {"command": "true", "environment_file": "/no/such/file"}),
    Case("an environment_file with a wrong line", {"command": "true", "environment_file": "ROOT/wrong.env"}),
    Case("a directory as environment_file", {"command": "true", "environment_file": "/usr"}),
    Case("exceeds its timeout", {"command": "sleep 600", "timeout": "1s"}),
    Case("exceeds its timeout, ignores SIGTERM", {"command": _IGNORING, "timeout": "1s", "kill_grace": "1s"}),
    Case("exceeds its timeout, exits 0 on SIGTERM",
         {"command": "trap 'exit 0' TERM; sleep 600 & wait", "timeout": "1s"}),
    Case("exceeds its timeout with kill_grace 0", {"command": _IGNORING, "timeout": "1s", "kill_grace": "0s"}),
    Case("stops itself (SIGSTOP) until its timeout", {"command": "kill -STOP $$; sleep 600", "timeout": "1s"}),
    Case("stopped by a person", {"command": _PID_AND_WAIT}, _stop),
    Case("stopped by a person, with its own stop_signal", {
        "command": "trap 'exit 7' INT; echo $$; while :; do sleep 0.05; done", "stop_signal": "SIGINT"}, _stop),
    Case("stopped by a person, ignores it",
         {"command": f"echo $$; {_IGNORING}", "kill_grace": "1s"}, _stop),
    Case("stopped by a person while it waits", {"command": _PID_AND_WAIT}, _stop_the_second),
    Case("leaves a child", {"command": "sleep 600 & sleep 0.2"}),
    Case("leaves a child in a session of its own", {"command": _DAEMON.format("")}),
    Case("leaves a child in a session of its own that ignores SIGTERM",
         {"command": _DAEMON.format('trap "" TERM; '), "kill_grace": "1s"}),
    Case("leaves a child, with leave_children", {"command": "sleep 3 & sleep 0.2", "leave_children": True}),
    Case("a fork bomb under resource_limits.processes",
         {"command": "f() { f | f & }; f 2>/dev/null; exec sleep 600", "user": "games", "timeout": "2s",
          "resource_limits": {"processes": 40}, "working_directory": "/"}, root=True),
    Case("closes its output and continues", {"command": "exec >&- 2>&-; sleep 0.5; exit 4"}),
    Case("another process holds its output open", {"command": _UNTIL_USR1}, _hold_its_pipe),
    Case("reads its stdin", {"command": "cat; echo end"}),
    Case("100 MB without a newline", {
        "command": "head -c 100000000 /dev/zero | tr '\\0' x; exit 1", "output_limit": "1M"}),
    Case("output that is not UTF-8", {"command": "printf 'caf\\351\\n'; exit 1"}),
    Case("output with escape sequences", {"command": "printf '\\033[2J\\033]0;title\\007gone\\n'; exit 1"}),
    Case("output that looks like a journal field", {"command": "printf 'x\\nJOBQUEUE_RUN=other@1\\n'; exit 1"}),
    Case("removes its own log", {
        "command": "echo; until rm ROOT/logs/$JOBQUEUE_JOB/1.log 2>/dev/null; do sleep 0.02; done; exit 1"}),
    Case("its log directory can't be made", {"command": "echo lost; exit 1"}, _no_directory),
    Case("uses up resource_limits.cpu_time",
         {"command": "while :; do :; done", "resource_limits": {"cpu_time": "1s", "core": "0"}}),
    Case("uses up resource_limits.file_size", {
        "command": "exec dd if=/dev/zero of=ROOT/big bs=64K count=100 status=none",
        "resource_limits": {"file_size": "1M", "core": "0"}}),
    Case("needs more than resource_limits.address_space",
         {"command": ["/bin/true"], "resource_limits": {"address_space": "512K"}}),
    Case("its supervisor is killed", {"command": "echo half done; sleep 0.5; kill -KILL $PPID; sleep 600"}),
    Case("ends while the scheduler is dead", {"command": _UNTIL_USR1}, _kill_scheduler),
]  # fmt: skip


def job_id(case: Case) -> str:
    """An id made from the title."""
    return re.sub("[^a-z0-9]+", "-", case.title.lower()).strip("-")[:60].strip("-")


def rows(host: Host, cases: Iterable[Case]) -> dict[str, str]:
    """What is said of each case, as its row of the table; they run all at once, and then the one without a daemon."""
    cases = sorted(cases, key=lambda case: case.act is _kill_scheduler)
    (host.root / "noformat").write_text("no format")
    (host.root / "crlf").write_text("#!/bin/sh\r\necho hello\r\n")
    (host.root / "wrong.env").write_text("# settings\nA=1\nB 2\n")
    for name in ("noformat", "crlf"):
        (host.root / name).chmod(0o755)
    jobs = {job_id(case): {"kill_grace": "10s", **case.keys} for case in cases}
    host.write("bad.yaml", json.dumps({"jobs": jobs}).replace("ROOT", str(host.root)))
    host.start()
    assert not host.said("problem"), host.log()
    runs = {case.title: _run(host, case) for case in cases[:-1]}
    found = {title: row(host, title, run) for title, run in runs.items()}
    last = cases[-1]
    return {**found, last.title: row(host, last.title, _run(host, last))}


def _run(host: Host, case: Case) -> str:
    job = job_id(case)
    named = case.act(host, job) if case.act else host.run(job)
    return named or f"{job}@1"


def row(host: Host, title: str, run: str) -> str:
    """The row of a run, once that has ended."""
    record = wait_for(lambda: _final(host, run), why=run)
    said = [entry for event in ENDED for entry in host.said(event) if _about(entry) == run]
    lines = [entry["message"].removeprefix(f"{run} ") for entry in sorted(said, key=lambda entry: entry["time"])]
    shown = CliRunner().invoke(jobqueuectl, ["--root", str(host.root), "show", run], catch_exceptions=False).output
    repeated = [same_everywhere(fact, host.root) for fact in _repeated(record)]
    facts = (same_everywhere(fact, host.root) for fact in _facts(shown))
    more = [fact for fact in facts if fact not in repeated]
    parts = (title, *map(_cell, (_recorded(record), lines, more)))
    return same_everywhere("| " + " | ".join(parts) + " |", host.root)


def _final(host: Host, run: str) -> dict[str, Any] | None:
    record = host.call("Show", run=run).get("record")
    return record if record and record["state"] not in ("due", "waiting", "starting", "running", "stopping") else None


def _about(entry: dict[str, Any]) -> str:
    return str(entry.get("run") or entry.get("record", {}).get("run"))


def _recorded(record: dict[str, Any]) -> list[str]:
    end = [f"{name} {record[name]}" for name in ("exit_code", "signal") if record[name] is not None]
    output = [f"output.{name}: {record['output'][name]}" for name in ("dropped", "error") if record["output"].get(name)]
    reason = [f"reason: {record['reason']}"] if record["reason"] else []
    warnings = [f"warnings: {warning}" for warning in record["warnings"]]
    return [", ".join([record["state"], *end]), *reason, *warnings, *output]


_SHOWN = re.compile(r"^(state|reason|ended with|slurm|warnings?|dropped) +(\S.*)$", re.M)


def _facts(shown: str) -> list[str]:
    return [f"{name}: {value.strip()}" for name, value in _SHOWN.findall(shown)]


def _repeated(record: dict[str, Any]) -> list[str]:
    """The lines of `show` that say what the record's column of the table says."""
    warnings = "; ".join(record["warnings"])
    return [f"state: {record['state']}", f"reason: {record['reason']}", f"warning: {warnings}", f"warnings: {warnings}"]


def _cell(lines: list[str]) -> str:
    escaped = (
        line.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*") for line in lines
    )
    return "<br>".join(escaped)


_VARYING = [
    (r"pid \d+", "pid N"), (r"(after|before) [\d.]+ (ms|s)(?!econds)", r"\1 T"), (r"due [\d-]{10} [\d:]{8}", "due T"),
    (r"\w+ \(pid N\)(, \w+ \(pid N\))+", "sh (pid N), …"), (r"(x{100})x*", "xxx…"), (r"uid \d+", "root"),
    (r"[\d.]+ (MiB|KiB|B)\b", "N B"), (r"output\.dropped: \d+", "output.dropped: N"),
    (r"after \d+ min \d+ s\b", "after T"), (r"-[0-9a-f]{12}:", "-N:"), (r"\d+ bytes", "N bytes"),
    (r"(Slurm job|slurm: job) \d+", r"\1 N"), (r"\bon n\d\b", "on NODE"),
    (r"last output: \d+", "last output: N"),
]  # fmt: skip


def same_everywhere(row: str, root: Path, login: str = ME.pw_name) -> str:
    """A row without what differs each time; a user with this login is written as root."""
    row = row.replace(str(root), "ROOT")
    row = re.sub(rf"(?<=stopped by )(uid \d+|{re.escape(login)}(?![\w.-]))", "root", row)
    for pattern, text in _VARYING:
        row = re.sub(pattern, text, row)
    return row


HEAD = """# Bad jobs

Search this page for the words that you see in a log or a record. Each row has one kind of bad job, and how it looks
in its record and in the journal. `jobqueuectl show RUN` prints the record's state, reason and warnings; the last column
has the other lines that `show` prints about the end.

A daemon wrote all these words. T, N and ROOT stand for a time, a number and a directory, which differ each time.

| The job | Record | Journal | `show` also |
|---|---|---|---|
"""


def main() -> None:
    """Write the table."""
    if "--write" not in sys.argv or os.geteuid():
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory(prefix="jobqueued-bad-") as folder:
        os.chmod(folder, 0o755)
        host = Host(Path(folder) / "host")
        try:
            found = rows(host, CASES)
        finally:
            host.close()
    TABLE.write_text(HEAD + "".join(found[case.title] + "\n" for case in CASES))


if __name__ == "__main__":
    main()
