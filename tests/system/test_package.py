"""The Debian packages, as apt installs, upgrades, removes and purges them: beside cron, in its place, and back.

The tests are one story, in this order.  After each of them the journal is read: whatever is a warning there, or worse,
has to be expected.
"""
# vm-run: --timeout 1200

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobqueued import __version__
from tests.system.vm import (
    JOBS,
    LIVE,
    LOGS,
    LONG,
    STATE,
    assert_went_on,
    ctl,
    failed,
    jobs,
    long_run,
    output,
    record_file,
    sh,
    state,
    status,
    until,
)

BUILT = Path("build/deb")
NEXT = "99.0"
SETTINGS = Path("/etc/jobqueued.yaml")
PLACES = ("/etc", "/usr", "/var/lib", "/var/log", "/run")
OTHERS = (
    "/var/lib/dpkg", "/var/lib/apt", "/var/log/apt", "/var/log/journal", "/var/log/dpkg.log", "/run/systemd",
    "/run/udev", "/run/log", "/run/lock", "/run/user", "/run/crond", "/etc/passwd", "/etc/group", "/etc/shadow",
    "/etc/gshadow", "/etc/subuid", "/etc/subgid", "/etc/.pwd.lock", "/var/lib/systemd", "/etc/ld.so.cache",
)  # fmt: skip
"""What anybody changes; of users Debian's policy is that they stay, so that their number goes to nobody else."""
TABLE = """
MAILTO=""
* * * * * id -un
@reboot touch /tmp/rebooted
"""
FILES = set[str]()
"""What was there before the first installation."""


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    """Not by `make install`: here it is apt that installs.  Note what is there."""
    assert "vm-run=" in Path("/proc/cmdline").read_text(), "this installs into /: only inside vm-run"
    Path("/etc/default/locale").touch()  # without it PAM warns at each job of Debian's cron
    FILES.update(files())
    sh("useradd", "--create-home", "alice")


@pytest.fixture(autouse=True)
def journal_is_read(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail on a line of ours, or of systemd about us, that is a warning or worse and that the test does not expect."""
    cursor = sh("journalctl", "-n0", "--show-cursor").split("cursor: ")[1].strip()
    yield
    mark = request.node.get_closest_marker("says")
    expected = ("failed after", *(mark.args if mark else ()))
    sh("journalctl", "--sync")
    lines = sh("journalctl", f"--after-cursor={cursor}", "-p", "warning", "-o", "short", "-q").splitlines()
    ours = [line for line in lines if "jobqueue" in line.lower() or "cron" in line.lower()]
    assert [] == [line for line in ours if not any(words in line for words in expected)]
    assert "" == failed()


def files() -> set[str]:
    """All files that packages may leave."""
    found = sh("find", *PLACES, "-xdev", "-not", "-name", "*.pyc", "-not", "-name", "__pycache__").splitlines()
    return {path for path in found if not path.startswith(OTHERS)}


def deb(package: str) -> str:
    (path,) = BUILT.glob(f"{package}_*.deb")
    return f"./{path}"


def next_deb(package: str) -> str:
    """The package with a higher version, of the program too."""
    path = Path(f"/root/next/{package}.deb")
    if not path.exists():
        tree = path.with_suffix("")
        tree.parent.mkdir(exist_ok=True)
        sh("dpkg-deb", "-R", deb(package), str(tree))
        version = sh("dpkg-deb", "-f", deb(package), "Version").strip()
        control = tree / "DEBIAN/control"
        control.write_text(control.read_text().replace(version, f"{NEXT}-1"))
        (tree / "DEBIAN/md5sums").unlink()
        program = tree / "usr/lib/python3/dist-packages/jobqueued/__init__.py"
        if program.exists():
            program.write_text(program.read_text().replace(f'"{__version__}"', f'"{NEXT}"'))
        sh("dpkg-deb", "-b", str(tree), str(path))
        shutil.rmtree(tree)
    return str(path)


def apt(*words: str) -> str:
    """What apt-get says, as an administrator's scripts call it; a warning of dpkg is a failure."""
    options = ("-o", "Dpkg::Options::=--force-confold", "-o", "Dpkg::Options::=--force-unsafe-io")
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    said = sh("apt-get", "-y", "-q", "--allow-downgrades", *options, *words)
    with open("/out/apt.log", "a") as log:
        log.write(f"# apt-get {' '.join(words)}\n{said}")
    kept = f"dpkg: warning: while removing jobqueued, directory '{JOBS}' not empty so not removed"
    assert [] == [line for line in said.splitlines() if line.startswith("dpkg: ") and line != kept]
    return said


def versions() -> tuple[str, str, str]:
    """The program's, the daemon's, and that of what the launcher was started from: its pid since the last change."""
    program = sh("jobqueuectl", "--version").split()[-1]
    return program, status()["version"], state("jobqueued-launcher", "MainPID")


def old_code() -> list[str]:
    """What doctor says of processes that an update has left behind."""
    return [finding["seen"] for finding in ctl("doctor")["findings"] if finding["what"] == "code"]


def is_there(package: str) -> bool:
    command = ["dpkg-query", "-W", "-f", "${Status}", package]
    return "install ok installed" == subprocess.run(command, capture_output=True, text=True, check=False).stdout


def as_alice(*words: str, text: str = "") -> str:
    """What crontab(1) says to alice."""
    command = ["runuser", "-u", "alice", "--", "crontab", *words]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False, cwd="/")
    return done.stdout + done.stderr


def to_full_minute() -> None:
    sh("date", "--set", time.strftime("%Y-%m-%d %H:%M:58"))


def test_beside_cron() -> None:
    """It runs at once, and with the next boot; cron stays, with its tables and its crontab(1)."""
    apt("install", deb("jobqueued"))
    assert ["active", "enabled"] == [state("jobqueued", name) for name in ("ActiveState", "UnitFileState")]
    assert ("active", True) == (state("cron", "ActiveState"), is_there("cron"))
    assert "2755" == sh("stat", "-c", "%a", "/usr/bin/crontab").strip()
    assert [] == jobs()
    owners = sh("stat", "-c", "%U:%G %a", str(JOBS), str(STATE), str(LOGS)).splitlines()
    assert ["root:root 755", "root:root 700", "root:jobqueue 2750"] == owners
    (JOBS / "test.yaml").write_text(LONG + "  greeting: {command: echo hello}\n")
    until("the jobs are read", lambda: {"greeting", "long"} == {job["id"] for job in jobs()})
    assert "hello\n" == output(sh("jobqueuectl", "run", "greeting", "--wait").strip())
    sh("jobqueuectl", "doctor")


def test_runs_of_other_users_without_a_fork() -> None:
    """With jobqueued-native, its program starts them, also within the limits of our units."""
    apt("install", deb("jobqueued-native"))
    program = Path("/usr/lib/python3/dist-packages/jobqueued/child/start/become")
    real, used = program.with_suffix(".real"), Path("/run/become-used")
    program.rename(real)
    program.write_text(f'#!/bin/sh\necho yes >{used}\nexec {real} "$@"\n')
    program.chmod(0o755)
    try:
        (JOBS / "other.yaml").write_text("jobs: {other: {command: id -un, user: nobody}}\n")
        until("the job is read", lambda: "other" in {job["id"] for job in jobs()})
        assert "nobody\n" == output(sh("jobqueuectl", "run", "other", "--wait").strip())
        assert "yes\n" == used.read_text()
    finally:
        real.rename(program)
        used.unlink(missing_ok=True)
        (JOBS / "other.yaml").unlink()


def test_a_report_of_a_bug() -> None:
    """Has what doctor says."""
    said = sh("sh", "-c", "exec 3>&1; exec /usr/share/bug/jobqueued/script")
    assert f"jobqueued {__version__} on vm" in said
    assert "jobqueuectl doctor:" in said


def test_an_upgrade_with_live_runs() -> None:
    """Scheduler and launcher are the new ones; the run goes on and ends exactly; what was edited stays."""
    SETTINGS.write_text("max_running: 7\n")
    old = versions()
    run, pid = long_run()
    waiting = sh("jobqueuectl", "run", "long").strip()
    apt("install", next_deb("jobqueued"))
    new = versions()
    assert ((__version__, __version__), (NEXT, NEXT)) == (old[:2], new[:2])
    assert old[2] != new[2]
    assert "max_running: 7\n" == SETTINGS.read_text()
    assert "due" == ctl("show", waiting)["state"]
    assert_went_on(run, pid)
    until(f"{waiting} has run, too", lambda: record_file(waiting))


def test_a_downgrade_by_a_job() -> None:
    """A job that replaces the package that runs it survives, and is recorded exactly, as are others that live."""
    run, pid = long_run()
    options = "-y -q --allow-downgrades -o Dpkg::Options::=--force-unsafe-io -o Dpkg::Options::=--force-confold"
    command = f"DEBIAN_FRONTEND=noninteractive apt-get {options} install {Path(deb('jobqueued')).resolve()}"
    (JOBS / "replace.yaml").write_text(
        f"jobs:\n  replace: {{command: '{command}'}}\n  restart: {{command: 'systemctl restart jobqueued; exit 3'}}\n"
    )
    sh("systemctl", "reload", "jobqueued")
    replace = sh("jobqueuectl", "run", "replace").strip()
    record = until("it has ended", lambda: record_file(replace))
    assert ("succeeded", 0, 1) == (record["state"], record["exit_code"], len(record["attempts"]))
    assert "Setting up jobqueued" in output(replace)
    assert (__version__, __version__) == versions()[:2]
    assert record == ctl("show", replace)
    restart = sh("jobqueuectl", "run", "restart").strip()
    record = until("it has ended", lambda: record_file(restart))
    assert ("failed", 3, 1) == (record["state"], record["exit_code"], len(record["attempts"]))
    assert_went_on(run, pid)


def test_needrestart_finds_the_launcher() -> None:
    """Its hook, called as needrestart(1) does it, names the unit of the launcher, and nothing for other programs."""
    hook, modules = "/etc/needrestart/hook.d/05-jobqueued", "/usr/lib/python3/dist-packages/jobqueued"
    assert ["PACKAGE|jobqueued", "RC|jobqueued-launcher.service"] == sh(hook, f"{modules}/child/launcher.py").split()
    assert "" == sh(hook, "-v", "/usr/bin/python3.13")
    words = Path(f"/proc/{state('jobqueued-launcher', 'MainPID')}/cmdline").read_text().split("\0")
    assert f"{modules}/child/launcher.py" in words


def test_a_new_launcher() -> None:
    """It is asked for by a command, which returns when all is ready; what lives goes on, and is recorded."""
    run, pid = long_run()
    before = [state(unit, "MainPID") for unit in ("jobqueued", "jobqueued-launcher")]
    assert "launcher and daemon were restarted; 1 live run continued\n" == sh("jobqueuectl", "restart-launcher")
    after = [state(unit, "MainPID") for unit in ("jobqueued", "jobqueued-launcher")]
    assert not set(before) & set(after)
    assert_went_on(run, pid)


def test_the_same_again() -> None:
    """A reinstallation with a live run; between its two steps doctor says that scheduler and launcher are old."""
    run, pid = long_run()
    sh("dpkg", "--unpack", deb("jobqueued"))
    assert ["scheduler", "launcher"] == [seen.split()[1] for seen in old_code()]
    sh("dpkg", "--configure", "jobqueued")
    assert [] == old_code()
    assert_went_on(run, pid)


def test_removed_and_back() -> None:
    """A live run goes on without the package, and its record is written; the next installation knows its end."""
    run, pid = long_run()
    apt("remove", "jobqueued")
    os.kill(pid, 0)
    assert ("not-found", False) == (state("jobqueued", "LoadState"), Path("/usr/bin/jobqueuectl").exists())
    assert "active" == state("cron", "ActiveState")
    (LIVE / "go").touch()
    record = until("its record", lambda: record_file(run))
    assert ("failed", 7) == (record["state"], record["exit_code"])
    apt("install", deb("jobqueued"))
    assert record == ctl("show", run)
    assert "max_running: 7\n" == SETTINGS.read_text()
    following = sh("jobqueuectl", "run", "long").strip()
    assert int(run.split("@")[1]) + 1 == int(following.split("@")[1])
    until("it has ended", lambda: record_file(following))


@pytest.mark.says("the system clock was changed")
def test_in_place_of_cron() -> None:
    """cron goes, its tables are run, crontab(1) is there, and nothing is due for @reboot."""
    as_alice("-", text=TABLE)
    Path("/etc/cron.d/packaged").write_text("MAILTO=\n@reboot root touch /tmp/rebooted\n* * * * * root id -un\n")
    Path("/etc/cron.daily/nightly").write_text("#!/bin/sh\n")
    os.chmod("/etc/cron.daily/nightly", 0o755)
    said = apt("install", deb("jobqueued-cron"))
    assert "The following packages will be REMOVED:\n  cron\n" in said
    assert [False, True, True] == [is_there(name) for name in ("cron", "jobqueued-cron", "cron-daemon-common")]
    assert f"{TABLE}" == as_alice("-l")
    names = {job["id"] for job in jobs()}
    assert 2 == len([name for name in names if name.startswith("cron.d/packaged:")])
    assert "crontab:cron.daily/nightly" in names
    to_full_minute()
    alices = next(job for job in names if job.startswith("crontabs/alice:id-"))
    run = until("alice's job has run", lambda: record_file(f"{alices.replace('/', '+')}@1"))
    assert ("succeeded", "alice\n") == (run["state"], run["output"]["tail"])
    assert "alice" == run["user"]
    until("root's job has run", lambda: [*LOGS.glob("cron.d+packaged:id-*/1.json")])
    assert not Path("/tmp/rebooted").exists()
    command = ["runuser", "-u", "alice", "--", "at", "now"]
    done = subprocess.run(command, input="id -un >/tmp/at-of-alice\n", capture_output=True, text=True, check=True)
    assert "\njob " in f"\n{done.stderr}"
    until("what alice has handed to at has run", lambda: Path("/tmp/at-of-alice").exists())


@pytest.mark.says("the system clock was changed")
def test_an_upgrade_of_both() -> None:
    """Nothing is due for @reboot, and a run of a table goes on."""
    waits = "until [ -e /run/live/over ]; do sleep 0.1; done; exit 5"
    Path("/etc/cron.d/live").write_text(f"MAILTO=\n* * * * * root {waits}\n")
    live = until("its job", lambda: [job["id"] for job in jobs() if job["id"].startswith("cron.d/live:")])[0]
    to_full_minute()
    until("it runs", lambda: ctl("show", live)["runs"])
    apt("install", next_deb("jobqueued"), next_deb("jobqueued-cron"))
    assert (NEXT, NEXT) == versions()[:2]
    (LIVE / "over").touch()
    record = until("it has ended", lambda: record_file(f"{live.replace('/', '+')}@1"))
    assert ("failed", 5) == (record["state"], record["exit_code"])
    assert not Path("/tmp/rebooted").exists()


def test_back_to_cron() -> None:
    """`apt install cron` takes jobqueued-cron away: the tables are cron's again, and the job files are run on."""
    Path("/etc/cron.d/live").unlink()
    run, pid = long_run()
    apt("install", deb("cron"))
    assert [True, False, True] == [is_there(name) for name in ("cron", "jobqueued-cron", "jobqueued")]
    assert "active" == state("cron", "ActiveState")
    assert "2755" == sh("stat", "-c", "%a", "/usr/bin/crontab").strip()
    assert TABLE == as_alice("-l")
    until("the jobs are read", lambda: {"greeting", "long", "replace", "restart"} == {job["id"] for job in jobs()})
    assert [] == status()["problems"]
    assert_went_on(run, pid)
    assert not Path("/tmp/rebooted").exists()


def test_purged() -> None:
    """State, records and output are gone, a live run is ended with them, and nothing is left but the job files."""
    _, pid = long_run()
    apt("purge", "jobqueued", "jobqueued-cron")
    until("the run is over", lambda: not Path(f"/proc/{pid}").exists())
    kept = {str(JOBS), str(JOBS / "test.yaml"), str(JOBS / "replace.yaml")}
    fixtures = {"/etc/cron.d/packaged", "/etc/cron.daily/nightly", "/run/live"}
    left = {path for path in files() - FILES if not path.startswith("/run/live/")}
    assert kept | fixtures | {"/var/spool/mail/alice"} >= left
    assert set() == FILES - files()
    assert "" == sh("systemctl", "list-units", "--all", "--no-legend", "jobqueue*")


def test_as_autopkgtest_has_it() -> None:
    """A new installation after the purge counts from 1, and passes the smoke test of debian/tests (two of it here)."""
    apt("install", deb("jobqueued"))
    assert 1 == ctl("show", long_run()[0])["number"]
    (LIVE / "go").touch()
    print(sh("debian/tests/smoke", "-k", "told_in_the_journal or stop_is_clean"))
