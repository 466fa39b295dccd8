"""PAM: of an account that it refuses no job of a crontab starts, and where there is none everybody's do."""

from __future__ import annotations

from ctypes.util import find_library
from pathlib import Path

import pytest

from jobqueued.child.start import pam
from tests.support.users import ME, NEEDS_ROOT, OTHER
from tests.support.ways import Way

pytestmark = pytest.mark.skipif(find_library("pam") is None, reason="needs PAM")


def service(directory: Path, name: str, *modules: str) -> None:
    """A service with these modules for accounts."""
    (directory / name).write_text("".join(f"account required {module}\n" for module in modules))


def test_without_a_service_everybody_may(tmp_path: Path) -> None:
    """No file of ours, nor one of another cron."""
    service(tmp_path, "login", "pam_deny.so")
    assert pam.refusal(ME.pw_name, str(tmp_path)) == ""


@pytest.mark.parametrize("name", pam.SERVICES)
def test_a_service_decides(tmp_path: Path, name: str) -> None:
    """What it permits, denies, and can't do at all, with the reason."""
    service(tmp_path, name, "pam_permit.so")
    assert pam.refusal(ME.pw_name, str(tmp_path)) == ""
    service(tmp_path, name, "pam_deny.so")
    assert pam.refusal(ME.pw_name, str(tmp_path)).startswith(f"PAM ({name}) refuses {ME.pw_name}: ")
    service(tmp_path, name, "pam_permit.so", "pam_is_not_there.so")
    assert pam.refusal(ME.pw_name, str(tmp_path)) == f"PAM ({name}) refuses {ME.pw_name}: Module is unknown"


def test_ours_comes_before_those_of_other_crons(tmp_path: Path) -> None:
    """A package that was removed leaves its file behind."""
    service(tmp_path, "cron", "pam_deny.so")
    service(tmp_path, "jobqueued", "pam_permit.so")
    assert pam.refusal(ME.pw_name, str(tmp_path)) == ""


@NEEDS_ROOT
def test_a_job_is_refused_before_it_is_anybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start fails at the step `account`; of jobs that do not ask PAM nobody asks it."""
    monkeypatch.setattr(pam, "DIRECTORY", str(tmp_path))
    service(tmp_path, "cron", "pam_deny.so")
    assert Way("fork").run(["/usr/bin/id", "-un"], user=OTHER) == (f"{OTHER}\n", 0)
    failure = Way("fork").refused(["/usr/bin/id", "-un"], user=OTHER, asks_pam=True)
    assert str(failure).startswith(f"account: PAM (cron) refuses {OTHER}: ")
    service(tmp_path, "cron", "pam_permit.so")
    assert Way("fork").run(["/usr/bin/id", "-un"], user=OTHER, asks_pam=True) == (f"{OTHER}\n", 0)
