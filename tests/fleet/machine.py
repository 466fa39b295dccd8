"""Machines that are namespaces: each has a root of its own over this one's files, a name, an address, and our package.

What is changed there is in memory, and gone with them; nothing of this machine is changed.  The process has to be in a
mount namespace of its own, and at a Switch.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from tests.support import REPO
from tests.support.places import Place

PROGRAMS = ("etcd", "etcdctl", "etcdutl")
DOMAIN = "example.org"
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
}  # fmt: skip
_BEGIN = """\
set -e
mount -t overlay overlay -o lowerdir="$1:/,upperdir=$2/changed,workdir=$2/work" "$2/root"
cd "$2/root"
mount -t proc proc proc
mount --rbind /dev dev
for name in run tmp; do mount -t tmpfs -o mode=755 none $name; done
mkdir run/machines run/before && mount --bind "$3" run/machines
mount --bind "$2/boot_id" proc/sys/kernel/random/boot_id
hostname "$4"
pivot_root . run/before
umount --lazy /run/before
rmdir /run/before
echo ready
exec cat
"""
"""What is in the namespace from then on has no way to the files of this machine, but to read them."""
_NOWHERE_ELSE = "[ -d /run/machines ] || exit 99\n"
"""What each script begins with, lest it be typed on this machine if ever there is a mistake in the namespaces."""
_AT_FIRST = """\
set -e
rm -rf /usr/bin/etcd* /etc/default/etcd /etc/credstore/* /etc/jobqueued.yaml /etc/jobqueue.d/* /var/lib/etcd \
    /var/lib/jobqueue /var/log/jobqueue
sed -i '/^etcd:/d' /etc/passwd /etc/group /etc/shadow
mkdir -p -m 700 /etc/credstore
systemd-sysusers jobqueue.conf >/run/sysusers 2>&1 || { cat /run/sysusers; exit 1; }
install -d /run/jobqueue && install -d -m 700 /var/lib/jobqueue && install -d -m 2750 -g jobqueue /var/log/jobqueue
systemctl start jobqueued
"""
"""The host as it is after the installation of Debian and of our package."""
_SSH = """\
#!/bin/sh
while getopts o:q option; do :; done
shift $((OPTIND - 1))
host=${1#*@}; shift
[ "$1" != -- ] || shift
[ -e "/run/machines/${host%%.*}" ] || { echo "ssh: Could not resolve hostname $host" >&2; exit 255; }
exec nsenter --target "$(cat "/run/machines/${host%%.*}")" --net --uts --mount -- \\
    sh -c "[ -d /run/machines ] || exit 99; $*"
"""
_SCP = """\
#!/bin/sh -e
while getopts pq option; do :; done
shift $((OPTIND - 1))
for to; do :; done
while [ $# -gt 1 ]; do
    ssh "${to%%:*}" "cat >'${to#*:}/${1##*/}' && chmod $(stat -c %a "$1") '${to#*:}/${1##*/}'" <"$1"
    shift
done
"""
_APT = """\
#!/bin/sh -e
[ "$1" = install ] || { echo "apt $1 is not played here" >&2; exit 1; }
shift
new=true; [ "$1" != --only-upgrade ] || { new=false; shift; }
for package; do
    case $package in
    etcd-client) cp /usr/lib/packages/etcdctl /usr/bin ;;
    etcd-server)
        cp --remove-destination /usr/lib/packages/etcd /usr/lib/packages/etcdutl /usr/bin
        getent passwd etcd >/dev/null || useradd --system --user-group --home /var/lib/etcd --no-create-home etcd
        mkdir -p -m 700 /var/lib/etcd && chown etcd:etcd /var/lib/etcd
        if $new; then systemctl start etcd; else systemctl restart etcd; fi ;;
    jobqueued) systemctl restart jobqueued-fleet jobqueued ;;
    *) echo "apt install $package is not played here" >&2; exit 1 ;;
    esac
done
"""
"""What the scripts of the packages do: etcd-server starts its etcd, or restarts it; so does jobqueued."""


def installed(root: Path) -> Path:
    """A directory with our package, and with what stands for programs that reach beyond a machine."""
    layer = root / "package"
    layer.mkdir()
    done = subprocess.run(
        ["make", "--no-print-directory", "install", f"DESTDIR={layer}"], cwd=REPO, capture_output=True, text=True,
        check=False, umask=0o022,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    programs, packages = layer / "usr/local/bin", layer / "usr/lib/packages"
    for directory in (programs, packages):
        directory.mkdir(parents=True)
    for name in PROGRAMS:
        shutil.copy(str(shutil.which(name)), packages)
    shutil.copy(REPO / "tests/fleet/systemctl.py", programs / "systemctl")
    for name, text in (("ssh", _SSH), ("scp", _SCP), ("apt", _APT)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (programs / "systemctl").chmod(0o755)
    return layer


class Machine:
    """A machine: `name`, at a place."""

    def __init__(self, root: Path, name: str, place: Place, hosts: Sequence[tuple[str, str]]) -> None:
        self.name, self._place, self._root, self._hosts, self._count = name, place, root, hosts, 0
        self._begin()

    def renew(self) -> None:
        """Lose it with all that it has, and have another one in its place."""
        self.close()
        self._begin()

    def sh(self, script: str, *, fails: bool = False) -> str:
        """The output of a script that root types there; AssertionError: it fails, unless it may."""
        command = [*self._enter, "sh", "-c" if fails else "-ec", _NOWHERE_ELSE + script]
        done = subprocess.run(
            command, env=_ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False, timeout=150,
        )  # fmt: skip
        assert fails or done.returncode == 0, f"{self.name}: {script}\n{done.stdout}"
        return done.stdout

    def close(self) -> None:
        """End all that lives on it."""
        self._place.kill()
        self._keeper.wait()

    def _begin(self) -> None:
        self._count += 1
        own, machines = self._root / f"{self.name}{self._count}", self._root / "machines"
        for name in ("changed", "work", "root"):
            (own / name).mkdir(parents=True)
        machines.mkdir(exist_ok=True)
        (own / "boot_id").write_text(f"{uuid.uuid4()}\n")
        (own / "changed/etc").mkdir()
        lines = [f"127.0.1.1 {self.name}.{DOMAIN} {self.name}" if name == self.name else
                 f"{address} {name}.{DOMAIN} {name}" for name, address in self._hosts]  # fmt: skip
        (own / "changed/etc/hosts").write_text("127.0.0.1 localhost\n" + "\n".join(lines) + "\n")
        command = [*self._place.enter, "unshare", "--mount", "--uts", "sh", "-c", _BEGIN, "sh",
                   str(self._root / "package"), str(own), str(machines), self.name]  # fmt: skip
        self._keeper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._keeper.stdout is not None
        assert self._keeper.stdout.readline() == "ready\n", "no machine"
        (machines / self.name).write_text(str(self._keeper.pid))
        self._enter = ["nsenter", "--target", str(self._keeper.pid), "--net", "--uts", "--mount"]
        self.sh(_AT_FIRST)


def lacking_programs() -> str:
    """What there has to be for machines of a fleet, and is not; "": nothing."""
    if missing := [name for name in (*PROGRAMS, "openssl", "make") if shutil.which(name) is None]:
        return f"needs {', '.join(missing)}: apt install etcd-server etcd-client openssl make"
    done = subprocess.run(
        ["/usr/bin/python3", "-Ic", "import click, croniter, daemon, psutil, rich, sdnotify, structlog, yaml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    missing = re.findall(r"No module named '(\w+)'", done.stderr)
    return f"needs Debian's python3-{missing[0]}: apt build-dep ." if missing else ""
