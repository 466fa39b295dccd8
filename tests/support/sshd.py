"""A real sshd of a test, on loopback, with keys and a configuration of its own, and the ssh that knows its hosts."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.etcd import free_ports
from tests.support.host import kill, wait_for
from tests.support.needed import need
from tests.support.users import ME, ROOT

_SERVER = """\
ListenAddress 127.0.0.1:{port}
HostKey {root}/host
AuthorizedKeysFile {root}/own.pub
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PidFile none
AcceptEnv JOBQUEUE_ROOT
SetEnv PATH={bin}:/usr/bin:/bin
Banner {root}/banner
"""
_HOST = """\
Host {name}
  HostName 127.0.0.1
  HostKeyAlias {name}
  Port {port}
  User {user}
  IdentityFile {root}/{key}
  IdentitiesOnly yes
  UserKnownHostsFile {root}/known
  SetEnv JOBQUEUE_ROOT={hosts}/{name}
"""
BANNER = "*** All that is done here is logged. ***"


@contextmanager
def sshd(directory: Path, hosts: Path, names: Sequence[str], programs: Path) -> Iterator[Path]:
    """Programs in the place of ssh, in this directory: `ssh`, and the `config` that it reads.

    They reach the daemons below `hosts` as hosts by these names; beside them, ``unreached`` refuses connections,
    ``keyless`` our key, ``unknown`` is not known, and ``another`` has another key than is known.
    """
    program = need("sshd", "ssh")
    if ROOT:
        Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host", "own", "another"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
    port, dead = free_ports(2)
    (directory / "banner").write_text(f"{BANNER}\n")
    ours, theirs = ((directory / f"{name}.pub").read_text() for name in ("host", "another"))
    known = [f"{name} {ours}" for name in (*names, "unreached", "keyless")] + [f"another {theirs}"]
    (directory / "known").write_text("".join(known))
    server, client = directory / "sshd_config", directory / "config"
    server.write_text(_SERVER.format(port=port, root=directory, bin=programs))
    ways = [(name, port, "own") for name in (*names, "unknown", "another")]
    ways += [("unreached", dead, "own"), ("keyless", port, "another")]
    client.write_text("".join(
        _HOST.format(name=name, port=at, key=key, root=directory, hosts=hosts, user=ME.pw_name)
        for name, at, key in ways
    ))  # fmt: skip
    (directory / "ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {client} "$@"\n')
    (directory / "ssh").chmod(0o755)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([program, "-D", "-e", "-f", server], stderr=log)
    try:
        wait_for(lambda: b"listening" in (directory / "log").read_bytes() or process.poll() is not None, why="sshd")
        assert process.poll() is None, (directory / "log").read_text()
        yield directory
    finally:
        kill(process.pid)
        process.wait()
