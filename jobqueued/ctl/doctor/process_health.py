"""Checks of the scheduler and the launcher, for jobqueuectl doctor: code, rights, limits and units."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jobqueued.base.text import counted, size
from jobqueued.ctl.doctor.diagnosis import OK, WARNING, HealthFinding
from jobqueued.ctl.doctor.old_code import code_of, launchers, replaced
from jobqueued.host import capacity
from jobqueued.settings.instance import BOOTED, Instance

_CAPABILITIES = {
    0: ("CHOWN", "runs of other users can't be started"),
    1: ("DAC_OVERRIDE", "root's runs can't write to files whose mode forbids it"),
    5: ("KILL", "runs of other users can't be ended"),
    6: ("SETGID", "runs of other users can't be started"),
    7: ("SETUID", "runs of other users can't be started"),
    23: ("SYS_NICE", "`nice` below 0 and real-time `cpu_scheduling` fail"),
    24: ("SYS_RESOURCE", "limits above the launcher's own and `oom_score_adj` below 0 fail"),
}
"""Capability number in capability.h → its name, and the effect if it is missing."""
_NAMESPACES = {
    "mnt": "files",
    "net": "network",
    "pid": "processes",
    "user": "users",
    "uts": "host name",
    "ipc": "shared memory",
}
_A_RUN = 2
"""Minimum number of processes of a run: its command and its supervisor."""
_SPARE_DESCRIPTORS = 64
_CAPS = "`users: {caps: {memory: …, tasks: …}}` in jobqueued.yaml"
_USUAL = 500
"""Number of live runs that should be possible without `max_running`."""


def processes(instance: Instance, scheduler: int, most: int | None) -> Iterator[HealthFinding]:
    """Check the scheduler and the launchers. `most` is `max_running` in the settings, or None."""
    found = launchers(instance.run / "runs")
    yield from _code(instance, scheduler, found)
    for launcher in found:
        try:
            yield from _rights(instance, launcher)
            yield from _room(scheduler, launcher, most)
        except OSError:  # the process exited, or belongs to another user
            continue


def users(caps: Mapping[str, Any], scheduler: int) -> Iterator[HealthFinding]:
    """Show the limits that all runs of a user share. `caps` contains the limits in the settings."""
    bounds = {**capacity.caps_by_default(scheduler), **caps}
    memory, tasks = bounds["memory"], bounds.get("tasks")
    most = f"memory {'unlimited' if memory is None else size(memory)}, tasks {tasks or 'unlimited'}"
    yield HealthFinding("users", OK, f"limits for all of one user's runs together: {most}; to change them: {_CAPS}")


def units(instance: Instance) -> Iterator[HealthFinding]:
    """Check that systemd starts the daemon at boot and restarts it after a crash."""
    if not instance.manager or not BOOTED.exists():
        return
    wanted = ["UnitFileState", "Restart", "NeedDaemonReload"]
    for unit in ("jobqueued", "jobqueued-launcher"):
        name = f"{unit}.service"
        shown = subprocess.run(
            [*instance.manager.split(), "show", f"--property={','.join(wanted)}", name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        found = dict(line.partition("=")[::2] for line in shown.stdout.splitlines())
        if unit == "jobqueued" and found.get("UnitFileState") not in ("enabled", "static", None):
            seen = f"{name} is {found['UnitFileState']}: it will not start at boot"
            yield HealthFinding("unit", WARNING, seen, f"{instance.manager} enable jobqueued")
        if found.get("Restart", "always") != "always":
            seen = f"{name} has Restart={found['Restart']}: systemd might not restart it after a crash"
            yield HealthFinding("unit", WARNING, seen, f"{instance.manager} cat {unit} shows where; set Restart=always")
        if found.get("NeedDaemonReload") == "yes":
            seen = f"{name} changed after systemd read it"
            yield HealthFinding("unit", WARNING, seen, f"{instance.manager} daemon-reload")


def _code(instance: Instance, scheduler: int, found: list[int]) -> Iterator[HealthFinding]:
    """Check whether an update replaced running code. Supervisors are not checked, because they end with their runs."""
    processes = [("scheduler", scheduler, ["jobqueued", "croniter", "psutil", "sdnotify", "structlog", "yaml"])]
    processes += [("launcher", pid, ["jobqueued.child"]) for pid in found]
    for name, pid, packages in processes:
        if file := replaced(pid, code_of(*packages)):
            seen = f"the {name} (pid {pid}) still runs old code; an update replaced {file}"
            yield HealthFinding("code", WARNING, seen, instance.renew)


def _rights(instance: Instance, launcher: int) -> Iterator[HealthFinding]:
    """Check the launcher's rights, which runs inherit, and whether runs see the same files as this shell."""
    status = _status(launcher)
    freed = (
        f"{instance.manager} cat jobqueued-launcher shows which line removes it; delete that"
        f" line, then: {instance.renew}"
    )
    for follows, names in _lacking(status).items():
        given, lacked = " ".join(f"--cap-add={name}" for name in names), ", ".join(f"CAP_{name}" for name in names)
        remedy = freed if instance.manager else f"start it with {lacked}; in a container: {given}"
        yield HealthFinding("launcher", WARNING, f"it lacks {lacked}: {follows}", remedy)
    if status["NoNewPrivs"] == "1":
        seen = "it has no_new_privs: in runs, sudo, mail and other set-user-ID programs get no privileges"
        remedy = (
            freed if instance.manager else "start it without NoNewPrivileges= (systemd) or --no-new-privs (setpriv)"
        )
        yield HealthFinding("launcher", WARNING, seen, remedy)
    apart = [seen for name, seen in _NAMESPACES.items() if _namespace(launcher, name) != _namespace(os.getpid(), name)]
    if apart:
        seen = f"runs are in other namespaces than this shell, so they might see a different {', '.join(apart)}"
        yield HealthFinding("launcher", WARNING, seen, freed if instance.manager else "")


def _lacking(status: dict[str, str]) -> dict[str, list[str]]:
    """Return effect → missing capabilities that cause it, if the launcher runs as root."""
    found: dict[str, list[str]] = {}
    for bit, (name, follows) in _CAPABILITIES.items() if status["Uid"].split()[1] == "0" else ():
        if not int(status["CapEff"], 16) >> bit & 1:
            found.setdefault(follows, []).append(name)
    return found


def _room(scheduler: int, launcher: int, most: int | None) -> Iterator[HealthFinding]:
    """Check that the limits allow the wanted number of live runs."""
    wanted = most or _USUAL
    for name, pid in (("scheduler", scheduler), ("launcher", launcher)):
        files, _ = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        if files < 2 * wanted + _SPARE_DESCRIPTORS:
            seen = f"the {name} can open {files} files, too few for {counted(wanted, 'live run')}"
            yield HealthFinding(
                "limits", WARNING, seen, "raise LimitNOFILE= in its unit, or ulimit -n before its start"
            )
    for tasks, where in _bounds(launcher):
        if tasks < _A_RUN * wanted:
            seen = f"{where} allows {tasks} processes, too few for {counted(wanted, 'live run')}"
            yield HealthFinding("limits", WARNING, seen, _more_tasks(where))


def _bounds(pid: int) -> Iterator[tuple[int, str]]:
    """Yield each limit on the number of processes, and the kernel's file that contains it."""
    own = capacity.cgroup_of(pid)
    places = [] if own is None else [own, *capacity.parents(pid)]
    for most, file in (*capacity.kernel_tasks(), *capacity.limits(places, "pids.max")):
        yield most, str(file)


def _more_tasks(where: str) -> str:
    if where.startswith("/proc/sys/"):
        return f"sysctl -w {where.removeprefix('/proc/sys/').replace('/', '.')}=4194304"
    unit = Path(where).parent.name
    if not unit.endswith((".service", ".scope", ".slice")):
        return "raise the container's limit, for example with --pids-limit=-1"
    return f"systemctl set-property {unit} TasksMax=infinity"


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _namespace(pid: int, name: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{name}")
