"""A cluster of Slurm of our own, on one host: a controller and three nodes, in a directory, on ports of loopback."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import subprocess
from functools import partial
from pathlib import Path

from tests.support.host import wait_for

NODES = ("n1", "n2", "n3")
_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/slurm
CredType=cred/slurm
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
SlurmdParameters=config_overrides
SlurmdTimeout=10
InactiveLimit=0
KillWait=5
MinJobAge=300
MessageTimeout=2
PriorityType=priority/basic
Licenses=matlab:1
SchedulerParameters=sched_interval=1,batch_sched_delay=0
{nodes}
PartitionName=main Nodes={names} Default=YES State=UP MaxTime=INFINITE
PartitionName=other Nodes={names} State=UP MaxTime=INFINITE
"""
_START_SECONDS = 120


class Cluster:
    """One cluster; `environment` is what its commands, and jobs that submit to it, need."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {"SLURM_CONF": str(root / "slurm.conf")}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        ports = _free_ports(1 + len(NODES))
        host = os.uname().nodename.split(".")[0]
        nodes = [
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=4 RealMemory=4000"
            for name, port in zip(NODES, ports[1:], strict=True)
        ]
        for name in ("state", *NODES):
            (root / name).mkdir()
        key = root / "slurm.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        (root / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
        (root / "slurm.conf").write_text(
            _CONF.format(host=host, ports=ports, root=root, user=_me(), nodes="\n".join(nodes), names=",".join(NODES))
        )

    def start(self) -> None:
        """Start the controller and all nodes, one after another, and wait until these are idle.

        Each slurmd removes /run/slurm/sack.socket and binds its own there: of two at once, one may
        find it in use, and end.
        """
        self.start_controller()
        for name in NODES:
            self.start_node(name)
            wait_for(partial(self._is_idle, name), seconds=_START_SECONDS)

    def start_controller(self) -> None:
        """Start it, with what it had saved."""
        self._start("slurmctld", "slurmctld", "-D")
        wait_for(lambda: self.says("scontrol", "ping").count("UP") == 1, seconds=_START_SECONDS)

    def start_node(self, name: str) -> None:
        """Start one."""
        self._start(name, "slurmd", "-D", "-N", name)

    def _is_idle(self, node: str) -> bool:
        if self._processes[node].poll() is not None:
            raise AssertionError((self.root / f"{node}.out").read_text(errors="replace"))
        return set(self.says("sinfo", "-h", "-n", node, "-o", "%T").split()) == {"idle"}

    def _start(self, name: str, *command: str) -> None:
        with open(self.root / f"{name}.out", "ab") as out:
            self._processes[name] = subprocess.Popen(
                command, env=self._environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def pid(self, name: str) -> int:
        """That of the controller, or of a node."""
        return self._processes[name].pid

    def stop_controller(self) -> None:
        """Stop it in order: it saves what it has, where a kill loses some seconds, and numbers are given again."""
        process = self._processes.pop("slurmctld")
        process.terminate()
        process.wait(30)

    def kill(self, name: str) -> None:
        """Kill the controller, or a node (its jobs live on); it is gone when this is back."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def restore(self, node: str) -> None:
        """Have a node idle again that was down."""

        def is_idle() -> bool:
            self.says("scontrol", "update", f"nodename={node}", "state=resume")
            return self._is_idle(node)

        wait_for(is_idle, seconds=60, why=self.says("scontrol", "show", "node", node))

    def says(self, *command: str) -> str:
        """The output of one of Slurm's commands, whatever it ends with."""
        return subprocess.run(command, env=self._environment(), capture_output=True, text=True, check=False).stdout

    def jobs(self, states: str = "all") -> list[list[str]]:
        """Number, name, state and node of each job that it knows."""
        lines = self.says("squeue", "-h", "-t", states, "-S", "i", "-o", "%A|%j|%T|%B").splitlines()
        return [line.split("|") for line in lines]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **self.environment}

    def stop(self) -> None:
        """End all of it, its jobs too."""
        with contextlib.suppress(OSError):
            for number, *_ in self.jobs("pending,running,suspended,completing"):
                self.says("scancel", "--full", "--signal=KILL", number)
                self.says("scancel", number)
        for process in self._processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _me() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()
