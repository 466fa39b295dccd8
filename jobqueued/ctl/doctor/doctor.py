"""jobqueuectl doctor: diagnose this host."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import click

from jobqueued import __version__
from jobqueued.base.problem import Problem
from jobqueued.base.text import counted
from jobqueued.child.start import posixspawn
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base import client
from jobqueued.ctl.base.client import DaemonUnreachable, ask
from jobqueued.ctl.base.problems import in_brackets
from jobqueued.ctl.base.terminal import command, json_option, localised, print_json, print_table, styled
from jobqueued.ctl.doctor import fleet_health, host_health, process_health
from jobqueued.ctl.doctor.diagnosis import ERROR, OK, WARNING, HealthFinding
from jobqueued.ctl.doctor.old_code import listener
from jobqueued.ctl.files.job_files import read_files, settings_of
from jobqueued.settings.instance import BOOTED, Instance
from jobqueued.settings.paths import Paths

_CGROUPS, _VERSION_1 = Path("/sys/fs/cgroup"), Path("/proc/cgroups")


class _Subject(StrEnum):
    """The subjects of findings about files."""

    SETTINGS = "settings"
    JOB_FILES = "job files"
    NOTICES = "notices"


_WANTED = {
    "memory": "memory is only sampled, and memory_high and swap are not enforced",
    "pids": "tasks is not enforced",
    "io": "io_read and io_write are not enforced",
    "cpu": "cpu is not enforced",
    "cpuset": "CPUs are assigned by affinity, which a run can change",
}
_DELEGATE = (
    "as root: systemctl edit user@.service, and add [Service] Delegate=cpu cpuset io memory pids; this takes effect at"
    " the next start of the user's service manager"
)


@click.command()
@json_option
@click.pass_obj
def doctor(paths: Paths, as_json: bool) -> None:
    """Check the daemon and this host, and suggest fixes.

    Each finding is ok, a warning or an error.  A warning means that a feature does not work, works differently, or will
    fail after a reboot or a power loss.  Warnings and errors come with a fix.

    Exits 1 if there is an error; 2 if the daemon is down.  While the daemon is down, `doctor` makes all other checks.

    \b
    Example:
      jobqueuectl doctor --json | jq '.findings[] | select(.verdict != "ok")'
    """
    down = 0
    try:
        status = ask(paths.control, "Status")
        findings = [*_daemon(paths, status), *_jobs(paths, status), *_limits(paths, status)]
    except DaemonUnreachable as error:
        down = error.exit_code
        findings = [HealthFinding("daemon", ERROR, error.seen, error.remedy), *_files(paths), *_cgroups(paths)]
        findings += [*process_health.units(Instance.of(paths.run)), *host_health.metrics(paths)]
    findings += [*fleet_health.fleet(paths), *host_health.host(paths)]
    if as_json:
        print_json({"findings": [finding._asdict() for finding in findings]})
    else:
        headings = ("", "CHECK", "FINDING")
        print_table(headings, ((styled(it.verdict), it.what, _fact(it)) for it in findings), keep=headings)
    sys.exit(down or any(finding.verdict == ERROR for finding in findings))


def _fact(finding: HealthFinding) -> str:
    return f"{finding.seen} → {finding.remedy}" if finding.remedy else finding.seen


def _daemon(paths: Paths, status: Message) -> Iterator[HealthFinding]:
    instance = Instance.of(paths.run)
    if status["version"] == __version__:
        yield HealthFinding("daemon", OK, f"jobqueued {status['version']} on {status['host']}, pid {status['pid']}")
    else:
        seen = f"the daemon has version {status['version']}, but jobqueuectl has {__version__}"
        yield HealthFinding("daemon", WARNING, seen, instance.restart)
    if status["reason"] is not None:
        yield HealthFinding("state", ERROR, status["reason"], "free space on its file system, or make it writable")
    if status["launcher"]:
        yield HealthFinding("launcher", OK, "it answers")
    else:
        yield HealthFinding("launcher", ERROR, "it does not answer, so no run starts", instance.see_launcher)
    for trouble in status["troubles"]:
        yield HealthFinding("trouble", ERROR, trouble)
    if status["held_by"] is not None:
        seen = f"{localised(status['held_by'])} put the host on hold: nothing new starts"
        yield HealthFinding("queue", WARNING, seen, command("release"))
    if status["pid"] == listener(paths.control):  # otherwise the daemon is in a container
        yield from process_health.processes(instance, status["pid"], status["max_running"])
        yield from process_health.units(instance)
        if paths.runtime is None:
            yield from process_health.users(settings_of(paths)[0].users.caps, status["pid"])


def _jobs(paths: Paths, status: Message) -> Iterator[HealthFinding]:
    problems = [Problem(**problem) for problem in status["problems"]]
    if not any(paths.has_settings(problem.file) for problem in problems):  # the daemon may not show them to this user
        problems += settings_of(paths)[1]
    known = {str(problem) for problem in problems}
    found = read_files(paths, (paths.jobs,), looks=True)
    of_notices = filter(_is_of_notices, found.problems)  # mostly problems that only doctor finds
    problems += [problem for problem in of_notices if str(problem) not in known]
    yield from _problems(paths, problems)
    yield from fleet_health.load(found.jobs, status["fleet_hosts"] or 0, time.time_ns())
    try:
        rows = ask(paths.control, "List")["jobs"]
    except client.CallRefused:
        rows = []
    for row in rows:
        if row["invalid"]:
            yield HealthFinding(
                "job", ERROR, f"{row['id']} will not run: {row['invalid']}", f"{row['file']}:{row['line']}"
            )
    if _Subject.JOB_FILES not in {_subject(paths, problem) for problem in problems}:
        yield HealthFinding(_Subject.JOB_FILES, OK, counted(status["jobs"], "job"))


def _files(paths: Paths) -> Iterator[HealthFinding]:
    """Check settings, job files and cron's tables without the daemon."""
    found = read_files(paths, looks=True)
    yield from _problems(paths, found.problems)
    if _Subject.JOB_FILES not in {_subject(paths, problem) for problem in found.problems}:
        yield HealthFinding(_Subject.JOB_FILES, OK, counted(len(found.jobs), "job"))


def _problems(paths: Paths, problems: list[Problem]) -> Iterator[HealthFinding]:
    for problem in problems:
        what = _subject(paths, problem)
        # problems of directories or whole files include their remedies
        has_more = what is _Subject.JOB_FILES and problem.line
        yield HealthFinding(
            what, problem.severity, f"{problem}{in_brackets(problem)}", command("check") if has_more else ""
        )


def _subject(paths: Paths, problem: Problem) -> _Subject:
    if _is_of_notices(problem):
        return _Subject.NOTICES
    return _Subject.SETTINGS if paths.has_settings(problem.file) else _Subject.JOB_FILES


def _is_of_notices(problem: Problem) -> bool:
    return problem.severity == WARNING and problem.key.partition(".")[0] in ("notify", "notifier", "mail")


def _limits(paths: Paths, status: Message) -> Iterator[HealthFinding]:
    """Check whether `resource_limits` are enforced."""
    found = status["controllers"]
    missing = [name for name in _WANTED if name not in (found or ())]
    if found is None:
        seen = (
            "runs have no cgroups: memory is only sampled, other limits are not enforced, usage is counted by process"
        )
        yield HealthFinding("cgroups", WARNING, seen, _cgroup_remedy(paths))
    elif missing:
        lost = "; ".join(f"no {name}: {_WANTED[name]}" for name in missing)
        seen = f"runs have the controllers {', '.join(found) or 'none'}; {lost}"
        verdict = OK if missing == ["cpuset"] else WARNING
        remedy = _without_version_1(*missing) if paths.runtime is None else _DELEGATE
        yield HealthFinding("cgroups", verdict, seen, remedy)
    else:
        yield HealthFinding("cgroups", OK, f"runs have the controllers {', '.join(found)}")
    for limit in status["unenforced"]:
        yield HealthFinding("limits", WARNING, limit)
    if found is not None and not posixspawn.AVAILABLE:
        yield HealthFinding(
            "start", OK, "this C library can't start processes in a cgroup, so runs start by fork, a few ms slower"
        )


def _cgroups(paths: Paths) -> Iterator[HealthFinding]:
    """Check this host's cgroups without the daemon."""
    if (_CGROUPS / "cgroup.controllers").exists() and not os.statvfs(_CGROUPS).f_flag & os.ST_RDONLY:
        yield HealthFinding(
            "cgroups",
            OK,
            "this host has cgroups version 2; doctor can't check whether runs get cgroups while the daemon is down",
        )
    else:
        yield HealthFinding("cgroups", WARNING, "runs will have no cgroups", _cgroup_remedy(paths))


def _without_version_1(*controllers: str) -> str:
    """Return the remedy if cgroups version 1 uses some of these controllers, else ""."""
    names = {"blkio" if name == "io" else name for name in controllers}
    lines = _VERSION_1.read_text().splitlines()[1:]
    taken = [name for name, hierarchy, *_ in map(str.split, lines) if name in names and hierarchy != "0"]
    return f"boot with cgroup_no_v1={','.join(taken)} on the kernel command line" if taken else ""


def _cgroup_remedy(paths: Paths) -> str:
    is_booted, instance = BOOTED.exists(), Instance.of(paths.run)
    if not (_CGROUPS / "cgroup.controllers").exists():
        if is_booted:
            return "boot with systemd.unified_cgroup_hierarchy=1 on the kernel command line: cgroup v2 is not mounted"
        mount = f"mount -t cgroup2 none {_CGROUPS}"
        return f"{free}, then: {mount}" if (free := _without_version_1(*_WANTED)) else mount
    if os.statvfs(_CGROUPS).f_flag & os.ST_RDONLY:
        return "make /sys/fs/cgroup writable: in this container it is read-only"
    if not is_booted and os.geteuid():
        return "let root start the daemon in its own cgroup, with --delegated"
    if not is_booted:
        own = _CGROUPS / "jobqueued"
        start = f"sh -c 'echo 0 >{own}/cgroup.procs; exec {instance.start} --delegated'"
        return f"stop the daemon, and start it in its own cgroup: mkdir {own}; {start}"
    if instance.manager:
        return f"stop the daemon, and start its service: {instance.start}"
    user = " --user" if os.geteuid() else ""
    return f"systemd-run{user} --scope --property=Delegate=yes {instance.start} --delegated"
