"""Checks of this host as a fleet member, for jobqueuectl doctor: agent, file permissions and certificates."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jobqueued.base.instants import SECOND
from jobqueued.base.text import counted
from jobqueued.ctl.doctor.diagnosis import ERROR, OK, WARNING, HealthFinding
from jobqueued.ctl.doctor.old_code import code_of, replaced
from jobqueued.ctl.files.job_files import settings_of
from jobqueued.ctl.files.job_units import user_of_daemon
from jobqueued.ctl.files.receivers import Sender
from jobqueued.model.fleet import FleetSettings
from jobqueued.model.job import Job, Scope
from jobqueued.settings.instance import BOOTED, Instance
from jobqueued.settings.paths import Paths

CREDENTIALS = Path("/run/credentials/jobqueued-fleet.service")
_SOON = timedelta(days=14)
_RENEW_CREDENTIAL = "renew it in /etc/credstore, then: systemctl restart jobqueued-fleet.service"
_STARTS = 5
_TOLD, _MANY = 60e-6, 2.0
"""CPU time (s) that etcd needs to notify a host of a run, and the number of CPUs above which doctor warns.

The time was measured with `python -m bench etcd`. A host that gets notices late requests the state from etcd.
"""
_SHOWN = "ActiveState,Result,User,MainPID,NeedDaemonReload"

Unit = dict[str, str]


def fleet(paths: Paths, credentials: Path = CREDENTIALS) -> Iterator[HealthFinding]:
    """Check the agent's unit and files for errors that prevent a connection to etcd.

    The check does not include whether etcd replies.
    """
    settings, instance = settings_of(paths)[0].fleet, Instance.of(paths.run)
    if settings is None:
        return
    has_units = bool(instance.manager) and BOOTED.exists()
    agent = _shown(instance, "jobqueued-fleet.service") if has_units else {}
    found = [*_unit(instance, agent)] if has_units else []
    found += _files(settings, agent.get("User") or pwd.getpwuid(user_of_daemon(paths)).pw_name, credentials)
    yield from found or [HealthFinding("fleet", OK, "the agent can start and can read the files that `fleet` names")]


def load(jobs: Iterable[Job], hosts: int, now: int) -> Iterator[HealthFinding]:
    """Check whether etcd can notify all hosts of all runs, if these jobs become due as scheduled after `now` (ns)."""
    often = sum(_a_second(job, now) for job in jobs if job.scope is Scope.FLEET and job.enabled)
    if (cpus := often * hosts * _TOLD) > _MANY:
        seen = f"etcd notifies {hosts:,} hosts of {often:.1f} runs a second, which needs {cpus:.1f} CPUs on its members"
        remedy = "divide the hosts into several fleets, each with its own etcd"
        yield HealthFinding("fleet", WARNING, seen, remedy)


def _a_second(job: Job, now: int) -> float:
    starts = job.next_starts(now, _STARTS)
    return (len(starts) - 1) * SECOND / (starts[-1] - starts[0]) if len(starts) > 1 else 0.0


def _shown(instance: Instance, unit: str) -> Unit:
    import subprocess

    command = [*instance.manager.split(), "show", f"--property={_SHOWN}", unit]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return dict(line.partition("=")[::2] for line in done.stdout.splitlines())


def _unit(instance: Instance, agent: Unit) -> Iterator[HealthFinding]:
    socket = instance.run / "fleet"
    if _shown(instance, "jobqueued-fleet.socket").get("ActiveState") != "active" or not socket.is_socket():
        seen = f"jobqueued-fleet.socket does not listen at {socket}, so the agent never starts"
        yield HealthFinding("fleet", ERROR, seen, f"{instance.manager} restart jobqueued-fleet.socket")
    if agent.get("Result", "success") != "success":
        yield HealthFinding("fleet", ERROR, f"the agent failed ({agent['Result']})", instance.see_agent)
    if agent.get("NeedDaemonReload") == "yes":
        seen = "jobqueued-fleet.service changed after systemd read it"
        yield HealthFinding("unit", WARNING, seen, f"{instance.manager} daemon-reload")
    if file := replaced(int(agent.get("MainPID") or 0), code_of("jobqueued.child")):
        seen = f"the agent (pid {agent['MainPID']}) still runs old code; an update replaced {file}"
        yield HealthFinding("code", WARNING, seen, instance.renew)


def _files(settings: FleetSettings, user: str, credentials: Path) -> Iterator[HealthFinding]:
    from jobqueued.child.fleet.etcd.tls import FILES

    try:
        agent = Sender.of(user)
    except KeyError:
        seen = f"the agent would run as user {user}, who does not exist"
        yield HealthFinding("fleet", ERROR, seen, "systemd-sysusers jobqueue.conf")
        return
    for name in FILES:
        if given := getattr(settings, name):
            path = given if "/" in given else str(credentials / given)
            try:
                yield from _file(name, path, None if path != given else agent)
            except PermissionError:  # the caller is not allowed to read the file
                continue
            except OSError as error:
                if path == given or credentials.exists():  # credentials exist only while the agent runs
                    seen = f"`{name}`: {path}: {error.strerror}"
                    yield HealthFinding("fleet", ERROR, seen, "" if path == given else "see jobqueued.yaml(5), `fleet`")


def _file(name: str, path: str, agent: Sender | None) -> Iterator[HealthFinding]:
    """Check a file. `agent` is the user who reads the file, or None if systemd passes it as a credential. Raises
    OSError.
    """
    mode = os.stat(path).st_mode
    if agent is not None:
        if barred := agent.barred(path):
            yield HealthFinding("fleet", ERROR, f"`{name}`: {agent.name} can't enter {barred}", f"chmod o+x {barred}")
        elif not agent.may(4, path):
            seen = f"`{name}`: {agent.name} can't read {path}"
            yield HealthFinding("fleet", ERROR, seen, f"chown {agent.name} {path} && chmod 400 {path}")
        if name == "key" and mode & (stat.S_IROTH | stat.S_IWOTH):
            yield HealthFinding("fleet", WARNING, f"`key`: any user can read or write {path}", f"chmod o= {path}")
    if name != "key":
        renew = "renew it; the agent reads the new file by itself"
        yield from _validity(name, path, _RENEW_CREDENTIAL if agent is None else renew)


def _validity(name: str, path: str, remedy: str) -> Iterator[HealthFinding]:
    """Check when a file's certificate expires: for `authority`, the one that expires last; else the first in the file.
    Raises OSError.
    """
    from jobqueued.ctl.doctor.certificates import ends

    try:
        found = ends(Path(path).read_text())
    except ValueError:
        found = []
    if not found:
        yield HealthFinding("fleet", ERROR, f"`{name}`: {path} has no PEM certificate")
        return
    end = max(found) if name == "authority" else found[0]
    left, date = end - datetime.now(UTC), f"{end:%Y-%m-%d}"
    if left <= timedelta():
        yield HealthFinding("fleet", ERROR, f"`{name}`: {path} expired on {date}", remedy)
    elif left < _SOON:
        seen = f"`{name}`: {path} expires on {date}, in {counted(left.days, 'day')}"
        yield HealthFinding("fleet", WARNING, seen, remedy)
