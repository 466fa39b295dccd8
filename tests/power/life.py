"""A short life of a host, whose every write to its disk is noted: what came due, what was asked, and what was answered.

The witness, outside of the disk but in the same order of writes, has what nobody may take back:

    start JOB RUN ATTEMPT DUE      a process of a job lives
    told WHAT …                    the daemon has answered
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import os
import pickle
import pwd
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jobqueued.child.processes import process
from tests.power import blocks, fuse
from tests.power.tree import Act
from tests.support.host import Host, wait_for

JOBS = """
defaults: {{timezone: UTC, environment: {{W: {witness}}}}}
jobs:
  tick: {{command: {note}, schedule: "* * * * *", seconds: "*"}}
  flaky: {{command: '{note}; echo out; test $JOBQUEUE_ATTEMPT = 2', retries: 2, retry_delay: 0s}}
  follower: {{command: {note}, on: {{job: flaky}}}}
  at-boot: {{command: {note}, on: boot}}
  long: {{command: '{note}; exec sleep 1000', resources: {{seat: 1}}}}
  failing: {{command: '{note}; exit 3'}}
  last: {{command: '{note}; sleep 1; exit 4'}}
  quiet: {{command: 'true', schedule: '0 4 * * *'}}
"""
NOTE = "echo start $JOBQUEUE_JOB $JOBQUEUE_RUN $JOBQUEUE_ATTEMPT $JOBQUEUE_DUE >>$W"
SETTINGS = "resources: {{seat: 1}}\nnotify: {{command: {root}/receive}}\nnotifier: {user}\nusers: {{}}\n"
RECEIVE = "#!/bin/sh\nn=$(cat | tr -d ' \\n'); echo \"notice $n\" >>{witness}\n"
SOMEBODY = pwd.getpwuid(1).pw_name
TABLE = "# of a user\n15 3 * * * true\n"
USER_FILE = "jobs: {{own-{number}: {{command: 'true', schedule: '0 5 * * *'}}}}\n"
_LIBC = ctypes.CDLL(None, use_errno=True)
_NOSUID, _NODEV, _BIND, _REC, _PRIVATE, _NEWNS = 2, 4, 4096, 1 << 14, 1 << 18, 1 << 17
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Place:
    """The directories of a rig, in a mount namespace of our own, and the boot id that all see there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.disk, self.root = directory / "disk", directory / "host"
        self.witness = directory / "outside" / "witness"
        for path in (self.disk, self.root, self.witness.parent):
            path.mkdir(parents=True, exist_ok=True)
        unshare()
        self._boot, self._boots = directory / f"boot_id.{os.getpid()}", 0
        self._boot.write_text("")
        bind(self._boot, BOOT_ID)

    @contextlib.contextmanager
    def booted(self, disk: Path) -> Iterator[None]:
        """The host has started, with these directories, `host` and `outside`."""
        bind(disk / "host", self.root)
        bind(disk / "outside", self.witness.parent)
        (self.root / "run").mkdir(exist_ok=True)
        self.boot()
        try:
            yield
        finally:
            for where in (self.root / "run", self.root, self.witness.parent):
                unmount(where)

    def boot(self) -> None:
        """It has started again: another boot id, an empty /run."""
        self._boots += 1
        self._boot.write_text(f"{os.getpid():08}-0000-0000-0000-{self._boots:012}\n")
        unmount(self.root / "run")
        mount("tmpfs", self.root / "run", "tmpfs", _NOSUID | _NODEV, "size=64M,mode=755")


def unshare() -> None:
    """See mounts of our own from now on, which nobody else does."""
    if _LIBC.unshare(_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    mount("none", Path("/"), None, _REC | _PRIVATE)


def mount(what: str, where: Path, kind: str | None, flags: int, options: str | None = None) -> None:
    """mount(2)."""
    raw = [None if text is None else text.encode() for text in (what, str(where), kind)]
    if _LIBC.mount(*raw, flags, options and options.encode()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(where))


def bind(what: Path, where: Path) -> None:
    """Let `where` be `what`."""
    mount(str(what), where, None, _BIND)


def unmount(where: Path) -> None:
    """Take off what is mounted there, whoever uses it."""
    _LIBC.umount2(str(where).encode(), 2)


class Lived(NamedTuple):
    """A life that is over: its log, the directory that it had, which each of its images has to have, and its kind."""

    acts: list[Act]
    root: Path
    kind: str | None


class Life:
    """One life; `acts` is the log."""

    def __init__(self, place: Place, kind: str | None = None) -> None:
        """`kind`: on a file system of this kind, of which the writes to the disk are noted; None: those to files."""
        self.place, self.kind = place, kind
        self.acts: list[Act] = []

    def live(self) -> None:
        """Live it to its end."""
        place, log = self.place, self.place.directory / "acts"

        def deliver(tree: Any) -> None:
            log.write_bytes(pickle.dumps(tree.acts))

        server = fuse.serve(str(place.disk), deliver)
        try:
            for name in ("host", "outside"):
                (place.disk / name).mkdir()
            if self.kind:
                blocks.make(self.kind, place.disk)
            with place.booted(place.disk):
                host = lay_out(place)
                try:
                    self._script(host)
                finally:
                    host.close()
                    self.log = host.log()
        finally:
            unmount(place.disk / "host")
            os.kill(server, signal.SIGTERM)
            os.waitpid(server, 0)
            unmount(place.disk)
        self.acts = pickle.loads(log.read_bytes())

    def _told(self, *words: object) -> None:
        descriptor = os.open(self.place.witness, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"told {' '.join(map(str, words))}\n".encode())
        os.close(descriptor)

    def _script(self, host: Host) -> None:
        self._told("laid-out")
        host.start()
        self._told("ready")
        self._run(host, "long", ends=False)
        self._run(host, "long", ends=False)
        self._run(host, "flaky", ends=True)
        self._submit(host, "one")
        self._pause(host, paused=True)
        self._user_file(host, 1)
        self._crontab(host, TABLE)
        self._run(host, "failing", ends=True)
        self._submit(host, "two", at="2199-01-01T00:00:00Z")
        self._user_file(host, 2)
        self._hold(host)
        self._pause(host, paused=False)
        self._crontab(host, TABLE + TABLE)
        host.kill()
        host.start()
        self._told("ready")
        self._run(host, "flaky", ends=True)
        host.close()
        self.place.boot()
        host.start()
        self._told("ready")
        self._run(host, "flaky", ends=True)
        wait_for(lambda: host.call("Show", run="long@2")["record"]["state"] == "running")
        self._stop(host, "long@2")
        host.call("UserFileRemove", name="mine", user=SOMEBODY)
        self._told("user-file", "-")
        wait_for(lambda: len([run for run in runs(host, "tick") if run["state"] == "succeeded"]) > 2)
        self._left_alone(host)

    def _left_alone(self, host: Host) -> None:
        """Scheduler and launcher die, and a run ends: its supervisor sees to it that this is known."""
        self._run(host, "last", ends=False)
        wait_for(lambda: host.call("Show", run="last@1")["record"]["pid"])
        host.kill()
        found = host.small_ones()  # one that has just left its pool may be there without a parent, too
        heads = [pid for pid in found if (there := process.stat(pid)) and there.parent not in found]
        os.kill(min(heads), signal.SIGKILL)
        wait_for(lambda: host.record("last@1") is not None)
        wait_for(lambda: not host.small_ones())
        self._told("end", "last@1", "failed", 4)

    def _run(self, host: Host, job: str, *, ends: bool) -> None:
        run = host.run(job)
        self._told("run", run)
        if ends:
            record = host.wait(run)
            self._told("end", run, record["state"], record["exit_code"])

    def _submit(self, host: Host, key: str, **keys: str) -> None:
        submission = {"keys": {"command": NOTE, "environment": {"W": str(self.place.witness)}, **keys}, "key": key}
        self._told("submitted", key, host.call("Submit", submission=submission)["job"])

    def _pause(self, host: Host, *, paused: bool) -> None:
        host.call("Pause" if paused else "Resume", job="quiet")
        self._told("paused", int(paused))

    def _hold(self, host: Host) -> None:
        for method, held in (("Hold", 1), ("Release", 0)):
            host.call(method)
            self._told("held", held)

    def _user_file(self, host: Host, number: int) -> None:
        text = base64.b64encode(USER_FILE.format(number=number).encode()).decode()
        answer = host.call("UserFileSet", name="mine", text=text, user=SOMEBODY)
        assert answer.get("stored"), answer
        self._told("user-file", text)

    def _crontab(self, host: Host, table: str) -> None:
        text = base64.b64encode(table.encode()).decode()
        answer = host.call("CrontabSet", table=text, user=SOMEBODY)
        assert "error" not in answer, answer
        self._told("crontab", text)

    def _stop(self, host: Host, run: str) -> None:
        host.call("Stop", run=run)
        record = host.wait(run)
        self._told("end", run, record["state"], record["exit_code"])


def runs(host: Host, job: str) -> list[dict[str, Any]]:
    """The newest runs of a job."""
    return list(host.call("Describe", job=job, runs=1000)["runs"])


def lay_out(place: Place) -> Host:
    """A host whose files an administrator has written, and made durable."""
    root = place.root
    host = Host(root)
    note = NOTE.replace("'", "")
    user = pwd.getpwuid(os.getuid()).pw_name
    host.write("jobs.yaml", JOBS.format(witness=place.witness, note=note))
    (root / "jobqueued.yaml").write_text(SETTINGS.format(root=root, user=user))
    (root / "receive").write_text(RECEIVE.format(witness=place.witness))
    (root / "receive").chmod(0o755)
    make_durable(place.disk)
    return host


def make_durable(directory: Path) -> None:
    """Sync all that is there."""
    for below, _, names in os.walk(directory):
        for path in (below, *(f"{below}/{name}" for name in names)):
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
