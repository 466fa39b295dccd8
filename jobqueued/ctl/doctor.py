"""jobqueuectl doctor: diagnose this host."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from jobqueued import __version__
from jobqueued.child import posixspawn, unix_socket
from jobqueued.child.trust import Refused
from jobqueued.control.varlink import Message
from jobqueued.ctl import client
from jobqueued.ctl.client import Unreachable, ask
from jobqueued.ctl.job_files import read_files, settings_of, user_of_daemon
from jobqueued.ctl.old_code import code_of, launchers, listener, replaced
from jobqueued.ctl.problems import in_brackets
from jobqueued.ctl.terminal import json_option, print_json, print_table, styled
from jobqueued.instance import Instance
from jobqueued.paths import Paths
from jobqueued.problem import Problem
from jobqueued.settings import user_name
from jobqueued.text import counted, size

_SCARCE = 100 << 20
_CGROUPS = Path("/sys/fs/cgroup")
_WANTED = {
    "memory": "memory is sampled, memory_high and swap are not enforced", "pids": "tasks is not enforced",
    "io": "io_read and io_write are not enforced", "cpu": "cpu is not enforced",
    "cpuset": "runs may leave the CPUs that their placement gave them",
}  # fmt: skip
_BOOTED = Path("/run/systemd/system")
_LOGIND, _LINGER = Path("/run/systemd/users"), Path("/var/lib/systemd/linger")
_DELEGATE = (
    "as root: systemctl edit user@.service, with [Service] and Delegate=cpu cpuset io memory pids in it; it counts from"
    " the next start of the user's manager on"
)
_TIMEX_BYTES, _TIME_ERROR = 512, 5
_OK, _WARNING, _ERROR = "ok", "warning", "error"


class Finding(NamedTuple):
    """A check: its subject, its verdict, the fact behind it, and the remedy."""

    what: str
    verdict: str
    seen: str
    remedy: str = ""


@click.command()
@json_option
@click.pass_obj
def doctor(paths: Paths, as_json: bool) -> None:
    """Diagnose what keeps the daemon or limits from working.

    Each finding is ok, a warning (something does not work, or works in another way), or an error, with its remedy.
    Exits 1 if there is an error; 2 if the daemon is down, after all other checks.

    \b
    Example:
      jobqueuectl doctor --json | jq '.findings[] | select(.verdict != "ok")'
    """
    down = 0
    try:
        status = ask(paths.control, "Status")
        findings = [*_daemon(paths, status), *_jobs(paths, status), *_limits(paths, status), *_host(paths)]
    except Unreachable as error:
        down = error.exit_code
        findings = [Finding("daemon", _ERROR, error.seen, error.remedy), *_files(paths), *_cgroups(paths)]
        findings += [*_host(paths), *_metrics(paths)]
    if as_json:
        print_json({"findings": [finding._asdict() for finding in findings]})
    else:
        headings = ("", "CHECK", "FINDING")
        print_table(headings, ((styled(it.verdict), it.what, _fact(it)) for it in findings), keep=headings)
    sys.exit(down or any(finding.verdict == _ERROR for finding in findings))


def _fact(finding: Finding) -> str:
    return f"{finding.seen} → {finding.remedy}" if finding.remedy else finding.seen


def _daemon(paths: Paths, status: Message) -> Iterator[Finding]:
    instance = Instance.of(paths.run)
    if status["version"] == __version__:
        yield Finding("daemon", _OK, f"jobqueued {status['version']} on {status['host']}, pid {status['pid']}")
    else:
        seen = f"the daemon is version {status['version']}, jobqueuectl is {__version__}"
        yield Finding("daemon", _WARNING, seen, instance.restart)
    if status["reason"] is not None:
        yield Finding("state", _ERROR, status["reason"], "free space there, or make it writable")
    if status["launcher"]:
        yield Finding("launcher", _OK, "it answers")
    else:
        yield Finding("launcher", _ERROR, "no answer: nothing starts", instance.see_launcher)
    for trouble in status["troubles"]:
        yield Finding("trouble", _ERROR, trouble)
    if status["held_by"] is not None:
        seen = f"on hold by {status['held_by']}: nothing new starts"
        yield Finding("queue", _WARNING, seen, "jobqueuectl release")
    if status["pid"] == listener(paths.control):  # it is not in a container
        yield from _code(instance, status["pid"])


def _code(instance: Instance, daemon: int) -> Iterator[Finding]:
    """Check whether an update has replaced what runs; supervisors keep what they began with until their run ends."""
    processes = [("scheduler", daemon, ["jobqueued", "croniter", "psutil", "sdnotify", "structlog", "yaml"])]
    processes += [("launcher", pid, ["jobqueued.child"]) for pid in launchers(instance.run / "runs")]
    for name, pid, packages in processes:
        if file := replaced(pid, code_of(*packages)):
            seen = f"the {name} (pid {pid}) runs what an update has replaced: {file}"
            yield Finding("code", _WARNING, seen, instance.renew)


def _jobs(paths: Paths, status: Message) -> Iterator[Finding]:
    problems = [Problem(**problem) for problem in status["problems"]]
    if not any(paths.has_settings(problem.file) for problem in problems):  # it may be that we are told of none
        problems += settings_of(paths)[1]
    known = {str(problem) for problem in problems}
    of_notices = filter(_is_of_notices, read_files(paths, (paths.jobs,)).problems)  # most of which only we look for
    problems += [problem for problem in of_notices if str(problem) not in known]
    yield from _problems(paths, problems)
    try:
        rows = ask(paths.control, "List")["jobs"]
    except client.Refused:
        rows = []
    for row in rows:
        if row["invalid"]:
            yield Finding("job", _ERROR, f"{row['id']} will not run: {row['invalid']}", f"{row['file']}:{row['line']}")
    if "job files" not in {_subject(paths, problem) for problem in problems}:
        yield Finding("job files", _OK, counted(status["jobs"], "job"))


def _files(paths: Paths) -> Iterator[Finding]:
    """Check settings and job files, and cron's tables, without the daemon."""
    found = read_files(paths)
    yield from _problems(paths, found.problems)
    if "job files" not in {_subject(paths, problem) for problem in found.problems}:
        yield Finding("job files", _OK, counted(len(found.jobs), "job"))


def _problems(paths: Paths, problems: list[Problem]) -> Iterator[Finding]:
    for problem in problems:
        what = _subject(paths, problem)
        has_more = what == "job files" and problem.line  # one of a directory or a whole file has its remedy
        yield Finding(
            what, problem.severity, f"{problem}{in_brackets(problem)}", "jobqueuectl check" if has_more else ""
        )


def _subject(paths: Paths, problem: Problem) -> str:
    if _is_of_notices(problem):
        return "notices"
    return "settings" if paths.has_settings(problem.file) else "job files"


def _is_of_notices(problem: Problem) -> bool:
    return problem.severity == _WARNING and problem.key.partition(".")[0] in ("notify", "notifier", "mail")


def _limits(paths: Paths, status: Message) -> Iterator[Finding]:
    """Check how `resource_limits` are enforced."""
    found = status["controllers"]
    missing = [name for name in _WANTED if name not in (found or ())]
    if found is None:
        seen = "runs have none: memory is sampled, other cgroup limits are not enforced, usage is counted by process"
        yield Finding("cgroups", _WARNING, seen, _cgroup_remedy(paths))
    elif missing:
        lost = "; ".join(f"no {name}: {_WANTED[name]}" for name in missing)
        seen = f"runs have {', '.join(found) or 'no controller'}, but {lost}"
        yield Finding("cgroups", _WARNING, seen, "" if paths.runtime is None else _DELEGATE)
    else:
        yield Finding("cgroups", _OK, f"runs have {', '.join(found)}")
    for limit in status["unenforced"]:
        yield Finding("limits", _WARNING, limit)
    if found is not None and not posixspawn.AVAILABLE:
        yield Finding(
            "start", _OK, "this C library can't start processes in a cgroup, so they are forked: some ms slower"
        )


def _cgroups(paths: Paths) -> Iterator[Finding]:
    """Check for cgroups without the daemon."""
    if (_CGROUPS / "cgroup.controllers").exists() and not os.statvfs(_CGROUPS).f_flag & os.ST_RDONLY:
        yield Finding("cgroups", _OK, "this host has version 2; only the daemon knows if runs get their own")
    else:
        yield Finding("cgroups", _WARNING, "runs will have none", _cgroup_remedy(paths))


def _cgroup_remedy(paths: Paths) -> str:
    if not (_CGROUPS / "cgroup.controllers").exists():
        return "cgroup v2 is not mounted here; boot with systemd.unified_cgroup_hierarchy=1 (kernel command line)"
    if os.statvfs(_CGROUPS).f_flag & os.ST_RDONLY:
        return "/sys/fs/cgroup is read-only here: a container needs it writable"
    instance = Instance.of(paths.run)
    if not _BOOTED.exists():
        return ""
    if instance.manager:
        return f"end it, and run it as installed: {instance.start}"
    user = " --user" * bool(os.geteuid())
    return f"systemd-run{user} --scope --property=Delegate=yes {instance.start} --delegated"


def _host(paths: Paths) -> Iterator[Finding]:
    for path in (paths.state, paths.run, paths.logs):
        yield _directory(paths, path)
    yield _journal(paths.journal)
    yield from _linger(paths)
    clock = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if clock == _TIME_ERROR:
        yield Finding("clock", _WARNING, "it is not synchronised", "apt install systemd-timesyncd")
    elif clock >= 0:
        yield Finding("clock", _OK, "it is synchronised")


def _linger(paths: Paths) -> Iterator[Finding]:
    """Check that a user's own instance does not end with the user's logout."""
    if paths.runtime is None or not _LOGIND.exists():
        return
    name = user_name(os.geteuid())
    if (_LINGER / str(name)).exists():
        yield Finding("linger", _OK, f"on for {name}: the daemon starts with the host, and jobs run without a login")
    else:
        seen = f"off for {name}: the daemon and all runs are ended at the last logout, and start at the next login"
        yield Finding("linger", _WARNING, seen, f"loginctl enable-linger {name}")


def _metrics(paths: Paths) -> Iterator[Finding]:
    """Check that there is a place for the file of metrics, which a daemon that is up tells itself."""
    if path := settings_of(paths)[0].metrics.get("textfile"):
        directory = os.path.dirname(path)
        if not os.path.isdir(directory):
            yield Finding("metrics", _ERROR, f"{path} can't be written: there is no directory {directory}", "make it")


def _directory(paths: Paths, path: Path) -> Finding:
    user = user_of_daemon(paths)
    try:
        found = os.statvfs(path)
        paths.check(path, user)
        if not path.is_dir() or (user == os.geteuid() and not os.access(path, os.W_OK | os.X_OK)):
            return Finding("directory", _ERROR, f"{path} is no directory that jobqueued can write")
    except Refused as refused:
        return Finding("directory", _ERROR, f"{path}: {refused}")
    except FileNotFoundError as error:
        is_packaged = paths.run == Paths.system().run
        remedy = "systemd-tmpfiles --create jobqueue.conf" if is_packaged else Instance.of(paths.run).start
        return Finding("directory", _ERROR, f"{path}: {error.strerror}", remedy)
    except PermissionError as error:
        return Finding("directory", _WARNING, f"{path}: {error.strerror}", "run this as root")
    except OSError as error:
        return Finding("directory", _ERROR, f"{path}: {error.strerror}", "look for errors of the disk: dmesg")
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    scarce = free < min(_SCARCE, total // 10) or (found.f_files and not found.f_favail)
    if found.f_flag & os.ST_RDONLY:
        return Finding("directory", _ERROR, f"{path} is on a read-only file system")
    seen = f"{path}: {size(free)} free"
    return Finding("directory", _WARNING, seen, "free space there") if scarce else Finding("directory", _OK, seen)


def _journal(path: Path) -> Finding:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
            unix_socket.connect(peer, str(path))
    except OSError as error:
        verdict = _WARNING if path == Paths.system().journal else _OK  # one of its own need not be there
        return Finding("journal", verdict, f"output goes to files only: {path}: {error.strerror}")
    return Finding("journal", _OK, f"{path} listens")
