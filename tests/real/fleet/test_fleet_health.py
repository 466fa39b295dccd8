"""What jobqueuectl doctor says of a host in a fleet: units, files of TLS, and how long certificates are valid."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from jobqueued.ctl.doctor import fleet_health
from jobqueued.ctl.doctor.certificates import ends
from jobqueued.model.job import Scope
from jobqueued.settings.instance import Instance
from jobqueued.settings.paths import Paths
from tests.support.stranger import public
from tests.support.users import ME, NEEDS_ROOT, USER
from tests.support.world import MIDNIGHT, job

NOW = datetime.now(UTC)
AUTHORITY = trustme.CA()


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    """A directory with files of an authority, and of a host."""
    directory = tmp_path / "pem"
    directory.mkdir()
    write(directory, "host", NOW + timedelta(days=60))
    AUTHORITY.cert_pem.write_to_path(directory / "authority.pem")
    return directory


def write(directory: Path, name: str, until: datetime) -> None:
    """Write a certificate that is valid until then, and its key."""
    made = AUTHORITY.issue_cert("host.example", not_before=NOW - timedelta(days=90), not_after=until)
    (directory / f"{name}.pem").write_bytes(made.cert_chain_pems[0].bytes())
    (directory / f"{name}.key").write_bytes(made.private_key_pem.bytes())
    (directory / f"{name}.key").chmod(0o600)


def told(tmp_path: Path, pem: Path, *, host: str = "host", authority: str = "authority.pem") -> list[str]:
    """What is found where the settings name these files."""
    paths = Paths.under(tmp_path)
    paths.run.mkdir(exist_ok=True)
    files = f"authority: {pem}/{authority}, certificate: {pem}/{host}.pem, key: {pem}/{host}.key"
    paths.config.parent.mkdir(exist_ok=True)
    paths.config.write_text(f"fleet: {{etcd: https://etcd.example, {files}}}\n")
    return in_words(paths, pem)


def in_words(paths: Paths, pem: Path) -> list[str]:
    """All findings of these settings."""
    found = fleet_health.fleet(paths, paths.run / "credentials")
    words = (f"{it.verdict}: {it.seen}{f' → {it.remedy}' if it.remedy else ''}" for it in found)
    return [each.replace(str(pem), "PEM").replace(str(paths.run), "RUN") for each in words]


def test_no_fleet(tmp_path: Path) -> None:
    """A host that is in none has no row for it."""
    assert [] == list(fleet_health.fleet(Paths.under(tmp_path)))


def test_all_is_well(tmp_path: Path, pem: Path) -> None:
    """One row says so."""
    assert ["ok: the agent can start and can read the files that `fleet` names"] == told(tmp_path, pem)


@pytest.mark.parametrize(
    ("days", "found"),
    [
        (15.5, "ok"),
        (
            13.5,
            "warning: `certificate`: PEM/host.pem expires on {}, in 13 days → renew it; the agent"
            " reads the new file by itself",
        ),
        (-1, "error: `certificate`: PEM/host.pem expired on {} → renew it; the agent reads the new file by itself"),
    ],
)
def test_a_certificate_that_ends(tmp_path: Path, pem: Path, days: float, found: str) -> None:
    """It is told two weeks before, with the day, and what to do."""
    until = NOW + timedelta(days=days)
    write(pem, "host", until)
    (said,) = told(tmp_path, pem)
    assert said.startswith(found.format(f"{until:%Y-%m-%d}"))


def test_files_that_are_not_there(tmp_path: Path, pem: Path) -> None:
    """Each is named with its setting; so is one that is something else."""
    (pem / "text.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert [
        "error: `authority`: PEM/text.pem has no PEM certificate",
        "error: `certificate`: PEM/other.pem: No such file or directory",
        "error: `key`: PEM/other.key: No such file or directory",
    ] == told(tmp_path, pem, host="other", authority="text.pem")


def test_a_key_that_everybody_may_read(tmp_path: Path, pem: Path) -> None:
    """The warning has the command that mends it."""
    (pem / "host.key").chmod(0o644)
    assert ["warning: `key`: any user can read or write PEM/host.key → chmod o= PEM/host.key"] == told(tmp_path, pem)


@NEEDS_ROOT
def test_a_key_that_the_agent_may_not_read(tmp_path: Path, pem: Path) -> None:
    """The remedy makes it the agent's."""
    run = Paths.under(tmp_path).run
    run.mkdir()
    os.chown(run, pwd.getpwnam(USER).pw_uid, -1)
    with public() as place:
        shutil.copytree(pem, place / "pem")
        _is_mended(tmp_path, place / "pem")


def _is_mended(tmp_path: Path, pem: Path) -> None:
    mended = f"chown {USER} PEM/host.key && chmod 400 PEM/host.key"
    assert [f"error: `key`: {USER} can't read PEM/host.key → {mended}"] == told(tmp_path, pem)
    subprocess.run(mended.replace("PEM", str(pem)), shell=True, check=True)
    (said,) = told(tmp_path, pem)
    assert said.startswith("ok")


def test_units(tmp_path: Path, pem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What systemd says of the agent is told: a socket that does not listen, a failure, unit files that are newer."""
    manager = tmp_path / "manager"
    manager.write_text(
        f"#!/bin/sh\necho ActiveState=inactive\necho Result=exit-code\necho User={ME.pw_name}\necho MainPID=0\n"
        "echo NeedDaemonReload=yes\n"
    )
    manager.chmod(0o755)
    monkeypatch.setattr(Instance, "of", lambda run: Instance(run, str(manager)))
    monkeypatch.setattr(fleet_health, "BOOTED", tmp_path)
    assert [
        f"error: jobqueued-fleet.socket does not listen at RUN/fleet, so the agent never starts → {manager} restart "
        "jobqueued-fleet.socket",
        f"error: the agent failed (exit-code) → see: {manager} status jobqueued-fleet",
        f"warning: jobqueued-fleet.service changed after systemd read it → {manager} daemon-reload",
    ] == told(tmp_path, pem)
    manager.write_text("#!/bin/sh\necho User=no-such-user\n")
    assert told(tmp_path, pem)[1:] == [
        "error: the agent would run as user no-such-user, who does not exist → systemd-sysusers jobqueue.conf"
    ]


def test_credentials(tmp_path: Path, pem: Path) -> None:
    """Those of an agent that is started are looked at as files are; before that, systemd alone knows of them."""
    paths = Paths.under(tmp_path)
    names = "authority: a.pem, certificate: host.pem, key: host.key"
    paths.run.mkdir()
    paths.config.parent.mkdir(exist_ok=True)
    paths.config.write_text(f"fleet: {{etcd: https://etcd.example, {names}}}\n")
    (said,) = in_words(paths, pem)
    assert said.startswith("ok")
    write(pem, "host", NOW - timedelta(days=1))
    (paths.run / "credentials").symlink_to(pem)
    first, second = in_words(paths, pem)
    assert "error: `authority`: RUN/credentials/a.pem: No such file or directory → " in first
    assert second.startswith("error: `certificate`: RUN/credentials/host.pem expired on ")
    assert second.endswith(" → renew it in /etc/credstore, then: systemctl restart jobqueued-fleet.service")


@pytest.mark.parametrize("until", [datetime(2049, 12, 31, tzinfo=UTC), datetime(2190, 1, 2, 3, 4, 5, tzinfo=UTC)])
def test_both_kinds_of_time(until: datetime) -> None:
    """From 2050 on certificates have another; a file may have several."""
    made = AUTHORITY.issue_cert("host.example", not_after=until).cert_chain_pems[0].bytes().decode()
    assert [until, until] == ends(f"words\n{made}{made}")
    assert [] == ends("no certificate")
    with pytest.raises(ValueError, match="no certificate"):
        ends("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----")


def test_a_fleet_that_is_too_large() -> None:
    """What one etcd can't carry is said before it can't: hosts, times how often jobs of the fleet come due."""
    jobs = [job(f"tick{number}", "* * * * *", scope=Scope.FLEET) for number in range(120)]
    jobs += [job("own", "* * * * *"), job("rare", "0 0 29 2 *", scope=Scope.FLEET), job("by-hand", scope=Scope.FLEET)]
    assert [] == list(fleet_health.load(jobs, 1000, MIDNIGHT))
    jobs += [job(f"more{number}", "*/2 * * * *", scope=Scope.FLEET, enabled=number < 4000) for number in range(5000)]
    assert [] == list(fleet_health.load(jobs, 3, MIDNIGHT))
    (found,) = fleet_health.load(jobs, 1000, MIDNIGHT)
    assert "etcd notifies 1,000 hosts of 35.3 runs a second, which needs 2.1 CPUs on its members" == found.seen
