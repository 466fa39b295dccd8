"""A host that can't keep a promise, and what jobqueuectl doctor says of it: processes, file systems, clock, zone."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jobqueued.ctl.doctor import doctor, host_health
from jobqueued.ctl.doctor.diagnosis import OK, HealthFinding
from jobqueued.ctl.doctor.host_health import host
from jobqueued.ctl.doctor.process_health import processes, users
from jobqueued.host import capacity
from jobqueued.settings import instance
from jobqueued.settings.instance import Instance
from jobqueued.settings.paths import Paths
from tests.support.users import NEEDS_ROOT

Launcher = Callable[..., int]
FEW = 100
"""So many live runs fit into the 1,024 descriptors that a user may have."""


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    """Starts a process that passes for the launcher below tmp_path, by a command that takes something from it."""
    started = list[subprocess.Popen[bytes]]()

    def start(*by: str) -> int:
        runs = str(tmp_path / "run/runs")
        script = 'printf "import sys\\nprint(flush=True)\\nsys.stdin.read()" >"$0"; exec python3 -I -S "$0" "$1"'
        (tmp_path / "child").mkdir()
        command = [*by, "sh", "-c", script, f"{tmp_path}/child/launcher.py", runs]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process.pid

    yield start
    for process in started:
        process.kill()
        process.communicate()


def lacking() -> set[str]:
    """What this host's root lacks anyhow, in a container, say."""
    (line,) = (it for it in Path("/proc/self/status").read_text().splitlines() if it.startswith("CapEff:"))
    return {name for bit, name in {23: "SYS_NICE", 24: "SYS_RESOURCE"}.items() if not int(line[7:], 16) >> bit & 1}


def told(tmp_path: Path, most: int = FEW) -> list[str]:
    """What is said of the processes, but for what this host's root lacks anyhow."""
    found = processes(Instance.of(tmp_path / "run"), os.getpid(), most)
    return [in_words(it) for it in found if not any(it.seen.startswith(f"it lacks CAP_{one}:") for one in lacking())]


def in_words(finding: HealthFinding) -> str:
    return f"{finding.what}: {finding.seen} → {finding.remedy}"


class TestProcesses:
    """What is taken from the launcher is missed by all runs."""

    def test_all_is_well(self, tmp_path: Path, launcher: Launcher) -> None:
        launcher()
        assert [] == told(tmp_path)

    def test_no_new_privileges(self, tmp_path: Path, launcher: Launcher) -> None:
        launcher("setpriv", "--no-new-privs")
        (found,) = told(tmp_path)
        programs = "sudo, mail and other set-user-ID programs"
        assert found.startswith(f"launcher: it has no_new_privs: in runs, {programs} get no privileges → ")

    @NEEDS_ROOT
    def test_capabilities(self, tmp_path: Path, launcher: Launcher) -> None:
        """Those that do the same are told together."""
        launcher("setpriv", "--bounding-set=-setuid,-setgid,-kill,-net_raw")
        assert [
            "launcher: it lacks CAP_KILL: runs of other users can't be ended → start it with CAP_KILL; in a container: "
            "--cap-add=KILL",
            "launcher: it lacks CAP_SETGID, CAP_SETUID: runs of other users can't be started → start it with "
            "CAP_SETGID, CAP_SETUID; in a container: --cap-add=SETGID --cap-add=SETUID",
        ] == told(tmp_path)

    @NEEDS_ROOT
    @pytest.mark.parametrize(("option", "apart"), [("--mount", "files"), ("--net", "network"), ("--uts", "host name")])
    def test_namespaces(self, tmp_path: Path, launcher: Launcher, option: str, apart: str) -> None:
        launcher("unshare", option)
        (found,) = told(tmp_path)
        assert found.startswith(
            "launcher: runs are in other namespaces than this shell, so they might see a different "
        )
        assert apart in found

    def test_descriptors(self, tmp_path: Path, launcher: Launcher) -> None:
        launcher("prlimit", "--nofile=200:200")
        assert [] == told(tmp_path, 68)
        assert [
            "limits: the launcher can open 200 files, too few for 69 live runs → raise LimitNOFILE= in its unit, or "
            "ulimit -n before its start"
        ] == told(tmp_path, 69)

    def test_tasks(self, tmp_path: Path, launcher: Launcher) -> None:
        launcher()
        most = int(Path("/proc/sys/kernel/pid_max").read_text())
        assert any(
            it.startswith(f"limits: /proc/sys/kernel/pid_max allows {most} processes, too few for ")
            and it.endswith(" → sysctl -w kernel.pid_max=4194304")
            for it in told(tmp_path, most)
        )

    def test_one_that_has_ended(self, tmp_path: Path, launcher: Launcher) -> None:
        """It is nobody's fault."""
        launcher()
        found = processes(Instance.of(tmp_path / "run"), 1 << 22, None)
        assert [] == [it for it in found if "CAP_" not in it.seen]


class TestWithoutSystemd:
    """Remedies are commands that are there."""

    @pytest.fixture(autouse=True)
    def no_systemd(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for module in (doctor, host_health, instance):
            monkeypatch.setattr(module, "BOOTED", tmp_path / "none")
        monkeypatch.setattr(os, "geteuid", lambda: 0)

    @pytest.mark.parametrize(
        ("blkio", "free"), [("0", ""), ("7", "boot with cgroup_no_v1=blkio on the kernel command line, then: ")]
    )
    def test_no_version_2(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, blkio: str, free: str) -> None:
        """It is mounted; what version 1 has is taken from it by the kernel's command line only."""
        monkeypatch.setattr(doctor, "_CGROUPS", tmp_path)
        monkeypatch.setattr(doctor, "_VERSION_1", tmp_path / "version-1")
        rows = f"#subsys_name\thierarchy\tnum_cgroups\tenabled\nblkio\t{blkio}\t1\t1\nmemory\t0\t1\t1\n"
        (tmp_path / "version-1").write_text(rows)
        (found,) = doctor._cgroups(Paths.system())
        assert f"{free}mount -t cgroup2 none {tmp_path}" == found.remedy

    def test_no_cgroup_of_its_own(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """The daemon is started in one that is made for it."""
        (tmp_path / "cgroup.controllers").touch()
        monkeypatch.setattr(doctor, "_CGROUPS", tmp_path)
        start = "exec jobqueued --detach --pid-file /run/jobqueued.pid --delegated'"
        own = f"mkdir {tmp_path}/jobqueued; sh -c 'echo 0 >{tmp_path}/jobqueued/cgroup.procs; {start}"
        assert f"stop the daemon, and start it in its own cgroup: {own}" == doctor._cgroup_remedy(Paths.system())

    def test_no_journal(self, tmp_path: Path) -> None:
        """That is nothing to mend."""
        assert [] == bad(replace(Paths.system(), logs=tmp_path), "journal")


def etc(tmp_path: Path, zone: str = "Etc/UTC") -> Path:
    """A directory like /etc, in a zone."""
    directory = tmp_path / "etc"
    directory.mkdir()
    os.symlink(f"/usr/share/zoneinfo/{zone}", directory / "localtime")
    return directory


def bad(paths: Paths, subject: str, etc: Path = Path("/etc")) -> list[str]:
    """What is not well with a subject."""
    return [in_words(it) for it in host(paths, etc) if it.verdict != OK and it.what == subject]


def made(root: Path) -> Paths:
    """The directories of an instance."""
    paths = Paths.under(root)
    for path in (paths.state, paths.run, paths.logs):
        path.mkdir()
    return paths


class TestFileSystems:
    """A disk that forgets is told of."""

    def test_in_memory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """State and logs are missed after a reboot; the run directory is not."""
        paths, table = made(tmp_path), tmp_path / "mounts"
        table.write_text(f"x / ext4 rw 0 0\nx {tmp_path} tmpfs rw 0 0\n")
        monkeypatch.setattr(host_health, "_MOUNTS", table)
        assert [
            f"file system: {paths.state} is in memory (tmpfs): a reboot loses waiting runs, pauses, submissions, "
            "and everything that becomes due during the reboot → mount a disk there, or use a bind mount",
            f"file system: {paths.logs} is in memory (tmpfs): a reboot loses records and output → mount a "
            "disk there, or use a bind mount",
        ] == bad(paths, "file system")

    def test_a_link_to_itself(self, tmp_path: Path) -> None:
        """It is told of as any other directory that is none."""
        paths = Paths.under(tmp_path)
        paths.state.symlink_to("state")
        assert (
            f"directory: {paths.state}: Too many levels of symbolic links → look for disk errors"
            in bad(paths, "directory")[0]
        )

    @pytest.mark.parametrize(
        ("mounts", "said"),
        [
            ([("/", "ext4", "rw,relatime")], None),
            ([("/", "ext4", "rw,nobarrier")], "/ is mounted with nobarrier: a power loss undoes committed"),
            ([("/", "xfs", "rw,barrier=0")], "/ is mounted with barrier=0: "),
            (
                [("/", "ext4", "rw"), ("{}/state", "nfs4", "rw")],
                "state is on a network file system (nfs4): SQLite's locks and log ",
            ),
            ([("/", "ext4", "rw"), ("{}/state", "nfs4", "rw"), ("{}/state", "ext4", "rw")], None),
            ([("/", "nfs4", "rw"), ("{}", "ext4", "rw")], None),
            ([("/", "ext4", "rw"), ("{}/my\\040state", "nfs4", "rw")], None),
            ([("/", "ext4", "rw"), ("{}/stat", "nfs4", "rw")], None),
            ([], None),
        ],
    )
    def test_mounts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounts: list[tuple[str, str, str]], said: str | None
    ) -> None:
        """The mount that is nearest counts, and of two at one place the one on top."""
        root, table = tmp_path / "a root", tmp_path / "mounts"
        root.mkdir()
        escaped = str(root).replace(" ", r"\040")
        table.write_text(
            "".join(f"x {place.format(escaped)} {kind} {options} 0 0\n" for place, kind, options in mounts)
        )
        monkeypatch.setattr(host_health, "_MOUNTS", table)
        found = bad(made(root), "file system")
        assert ([] == found) if said is None else (said in found[0])


@pytest.mark.parametrize(
    ("caps", "found"),
    [
        ({}, "memory 8 GiB, tasks 10000"), ({"memory": 1 << 30, "cpu": 2}, "memory 1 GiB, tasks 10000"),
        ({"memory": None, "tasks": None}, "memory unlimited, tasks unlimited"),
    ],
)  # fmt: skip
def test_the_bounds_of_users(monkeypatch: pytest.MonkeyPatch, caps: dict[str, int | None], found: str) -> None:
    """It shows what one user's runs may take, by default or by the settings."""
    monkeypatch.setattr(capacity, "caps_by_default", lambda _pid: {"memory": 8 << 30, "tasks": 10_000})
    (finding,) = users(caps, os.getpid())
    assert finding.seen.startswith(f"limits for all of one user's runs together: {found}; to change them: ")


def test_cron_s_lists(tmp_path: Path) -> None:
    """It shows what follows of cron.allow and at.deny for users' jobs."""
    paths, place = made(tmp_path), etc(tmp_path)
    (place / "cron.allow").write_text("alice\nbob\n")
    (place / "cron.deny").write_text("carol\n")
    (place / "at.deny").write_text("daemon\n")
    overrides = "; to override: `users: {allow: …}` in jobqueued.yaml"
    assert [
        f"{place}/cron.allow: only root and 2 users can have crontabs and add job files{overrides}",
        f"{place}/at.deny: 1 user can't submit work that starts later{overrides}",
    ] == [found.seen for found in host_health.host(paths, place) if found.what == "users"]


class TestTime:
    """A clock or a zone that is not what people take it for."""

    def test_the_zone(self, tmp_path: Path) -> None:
        """That of a link is the host's; so is a copy whose name is written down; another's copy is not."""
        paths, place = made(tmp_path), etc(tmp_path, "Europe/Berlin")
        assert [] == bad(paths, "time zone", place)
        (place / "localtime").unlink()
        (place / "timezone").write_text("Europe/Berlin\n")
        shutil.copy("/usr/share/zoneinfo/Europe/Berlin", place / "localtime")
        paths.config.write_text("timezone: Europe/Berlin\n")
        assert [] == bad(paths, "time zone", place)
        shutil.copy("/usr/share/zoneinfo/Asia/Tokyo", place / "localtime")
        (found,) = bad(paths, "time zone", place)
        assert found.startswith(
            "time zone: jobs use Europe/Berlin; other programs use /etc/localtime, which has another zone or an old "
            "copy → ln -sf /usr/share/zoneinfo/Europe/Berlin /etc/localtime, or link the intended zone"
        )
        paths.config.write_text("timezone: Asia/Tokyo\n")
        assert [] == bad(paths, "time zone", place), "the settings say so"

    def test_without_localtime(self, tmp_path: Path) -> None:
        """The C library has UTC then, whatever /etc/timezone says."""
        paths, place = made(tmp_path), tmp_path / "etc"
        place.mkdir()
        for zone, seen in (("Europe/Paris", 1), ("Etc/UTC", 0)):
            (place / "timezone").write_text(f"{zone}\n")
            paths.config.write_text(f"timezone: {zone}\n")
            found = bad(paths, "time zone", place)
            assert seen == len([it for it in found if "is missing, which means UTC" in it]), found

    @pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, Path.touch, lambda file: file.write_bytes(b"\xff\n\xfe")])
    def test_files_that_are_none(self, tmp_path: Path, make: Callable[[Path], object]) -> None:
        """A pipe in their place is not waited for, and nothing in them is worth a traceback."""
        paths, place = made(tmp_path), tmp_path / "etc"
        place.mkdir()
        for name in ("localtime", "adjtime"):
            make(place / name)
        assert [] == [it for it in bad(paths, "clock", place) if "the hardware clock" in it]
        bad(paths, "time zone", place)

    def test_no_zones(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("zoneinfo.TZPATH", (str(tmp_path / "none"),))
        assert "time zone: no time zones are installed, so only UTC works → apt install tzdata" in bad(
            made(tmp_path), "time zone"
        )

    def test_the_hardware_clock(self, tmp_path: Path) -> None:
        paths, place = made(tmp_path), etc(tmp_path)
        for text, seen in (("0.0 0 0.0\n0\nUTC\n", 0), ("0.0 0 0.0\n0\nLOCAL\n", 1), ("", 0)):
            (place / "adjtime").write_text(text)
            found = [it for it in bad(paths, "clock", place) if "the hardware clock has local time" in it]
            assert seen == len(found)
