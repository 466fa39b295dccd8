#!/usr/bin/python3 -I
"""The systemctl of a machine without systemd: etcd, the daemon and its fleet's agent, by what their units say.

systemctl [--no-block] start|stop|restart|try-restart UNIT…

It carries out what matters here: Environment=, EnvironmentFile=, User=, ExecStart=, Type=notify, LoadCredential=, and
for the agent its socket.  The daemon starts a launcher of its own.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

_UNITS, _STATE, _CREDENTIALS = Path("/usr/lib/systemd/system"), Path("/run/units"), Path("/run/credentials")
_AGENT, _SOCKET = "jobqueued-fleet", "/run/jobqueue/fleet"
_LONGEST_WAIT = 90.0
"""The seconds in which a unit has to be ready, DefaultTimeoutStartSec=."""


def settings(unit: str, name: str) -> list[str]:
    """The values of a setting of the unit's service, in their order."""
    return re.findall(rf"^{name}=(.*)$", (_UNITS / f"{unit}.service").read_text(), re.M)


def environment(unit: str) -> dict[str, str]:
    """The variables that the unit gives its process."""
    found = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    lines = [*settings(unit, "Environment")]
    for name in settings(unit, "EnvironmentFile"):
        with contextlib.suppress(FileNotFoundError):
            lines += Path(name.lstrip("-").replace("%p", unit)).read_text().splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return found | {name: value.replace("%H", os.uname().nodename) for name, _, value in pairs}


def main_pid(unit: str) -> int:
    """The process of a unit that is up; 0: it is down."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((_STATE / unit).read_text())
        return pid if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z" else 0
    return 0


def spawn(unit: str, more: dict[str, str], listener: int | None = None) -> subprocess.Popen[bytes]:
    """Start the process of a unit; `listener`: what it gets as descriptor 3."""
    variables = environment(unit) | more
    command = [word for word in settings(unit, "ExecStart")[-1].split() if not word.startswith("$")]
    if "--launcher" in command:
        command[command.index("--launcher") :] = ["--log", "json"]
    user = next(iter(settings(unit, "User")), "root")
    rights = {} if user == "root" else {"user": user, "group": user, "extra_groups": []}
    if listener is not None:
        os.dup2(listener, 3)
    with Path(f"/var/log/{unit}.log").open("ab") as log:
        process = subprocess.Popen(
            command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
            pass_fds=() if listener is None else (3,), **rights,  # type: ignore[arg-type]
        )  # fmt: skip
    (_STATE / unit).write_text(str(process.pid))
    return process


def start(unit: str, *, waits: bool) -> None:
    """Start a unit, and wait until it says that it is ready."""
    if main_pid(unit):
        return
    if unit == "jobqueued" and not main_pid("keeper"):
        keep()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        address = _STATE / f"{unit}.notify"
        address.unlink(missing_ok=True)
        notices.bind(str(address))
        address.chmod(0o666)
        process = spawn(unit, {"NOTIFY_SOCKET": str(address)})
        end = time.monotonic() + _LONGEST_WAIT
        while waits:
            notices.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in notices.recv(4096):
                    return
            if process.poll() is not None or time.monotonic() > end:
                stop(unit)
                sys.exit(f"Job for {unit}.service failed; see /var/log/{unit}.log")


def stop(unit: str) -> None:
    """Stop a unit, and wait until it is down."""
    with contextlib.suppress(ProcessLookupError):
        if pid := main_pid(unit):
            os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + _LONGEST_WAIT
    while main_pid(unit):
        if time.monotonic() > end:
            sys.exit(f"{unit} does not stop")
        time.sleep(0.05)


def keep() -> None:
    """Leave somebody behind who listens for the agent, and starts it when it is called, as its socket does."""
    Path(_SOCKET).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(_SOCKET)
    os.chmod(_SOCKET, 0o600)
    listener.listen(8)
    if pid := os.fork():
        (_STATE / "keeper").write_text(str(pid))
        return
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    while True:
        select.select([listener], [], [])
        spawn(_AGENT, credentials(), listener.fileno()).wait()


def credentials() -> dict[str, str]:
    """Hand the agent what it is to have; the variables that say where."""
    owner, place = pwd.getpwnam(settings(_AGENT, "User")[0]), _CREDENTIALS / f"{_AGENT}.service"
    for directory in (place, Path("/run/jobqueue/agent")):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chown(directory, owner.pw_uid, owner.pw_gid)
    for path in place.iterdir():
        path.unlink()
    for name in settings(_AGENT, "LoadCredential"):
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(f"/etc/credstore/{name}", place / name)
            os.chown(place / name, owner.pw_uid, owner.pw_gid)
            (place / name).chmod(0o400)
    return {"CREDENTIALS_DIRECTORY": str(place), "INVOCATION_ID": os.urandom(16).hex()}


def main(words: list[str]) -> None:
    """Do what is asked for."""
    waits, (verb, *units) = "--no-block" not in words, [word for word in words if not word.startswith("-")]
    _STATE.mkdir(exist_ok=True)
    for unit in units:
        was_up = bool(main_pid(unit))
        if verb in ("stop", "restart") or (verb == "try-restart" and was_up):
            stop(unit)
        if unit != _AGENT and (verb in ("start", "restart") or (verb == "try-restart" and was_up)):
            start(unit, waits=waits)  # the agent is started by its next caller
        elif verb not in ("start", "stop", "restart", "try-restart"):
            sys.exit(f"systemctl: {verb} is not played here")


if __name__ == "__main__":
    main(sys.argv[1:])
