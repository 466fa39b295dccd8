"""Mails of crontab lines that end together: each has its line's output and sender."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host import Host, wait_for
from tests.support.users import ME


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path / "host")
    (host.root / "etc/cron.d").mkdir(parents=True)
    sendmail = host.root / "sendmail"
    sendmail.write_text(f"#!/bin/sh\ncat >>{host.root}/mails\n")
    sendmail.chmod(0o755)
    (host.root / "jobqueued.yaml").write_text(
        f"cron: {{live: true}}\nmail: {{sendmail: {sendmail}}}\nnotifier: {ME.pw_name}\n"
    )
    yield host
    host.close()


def test_jobs_that_end_together_have_a_mail_each(host: Host) -> None:
    """Of one MAILTO: each mail has the output of its job, and the sender that MAILFROM above the line names."""
    table = host.root / "etc/cron.d/x"
    line = f"@daily {ME.pw_name} until [ -e {host.root}/go ]; do sleep 0.05; done; echo output of"
    table.write_text("MAILTO=ops@example.org\n" + "".join(f"MAILFROM={it}@b.org\n{line} {it}\n" for it in "vwxyz"))
    table.chmod(0o644)
    host.start("--config", str(host.root / "jobqueued.yaml"))
    runs = [host.run(job["id"]) for job in host.call("List")["jobs"]]
    (host.root / "go").touch()
    for run in runs:
        host.wait(run)
    mails = host.root / "mails"
    wait_for(lambda: mails.exists() and mails.read_text().count("\nTo: ") == 5, why="five mails")
    found = [part for part in mails.read_text().split("From: ") if "\nSubject: Cron <" in part]
    assert {(f"output of {it}", f"<{it}@b.org>") for it in "vwxyz"} == {
        (part.rstrip().rpartition("\n")[2], part.split()[3]) for part in found
    }


def test_failures_that_end_together_have_a_mail_each(host: Host) -> None:
    """Also if MAILTO is told of failures by a rule, and if another part of MAILTO is no address."""
    with (host.root / "jobqueued.yaml").open("a") as settings:
        settings.write("notify: [{email: ops@example.org}]\n")
    table = host.root / "etc/cron.d/x"
    line = f"@daily {ME.pw_name} until [ -e {host.root}/go ]; do sleep 0.05; done; echo output of"
    begin = "MAILTO=ops@example.org,root;x\nMAILFROM=me@b.org\n"
    table.write_text(begin + "".join(f"{line} {it}; exit 1\n" for it in "vwx") + f"MAILFROM=-bs\n{line} y; exit 1\n")
    table.chmod(0o644)
    host.start("--config", str(host.root / "jobqueued.yaml"))
    runs = [host.run(job["id"]) for job in host.call("List")["jobs"]]
    (host.root / "go").touch()
    for run in runs:
        host.wait(run)
    mails = host.root / "mails"
    wait_for(lambda: mails.exists() and mails.read_text().count("\nX-Jobqueued-Event: output") == 4, why="four mails")
    found = [part for part in mails.read_text().split("From: ") if "\nX-Jobqueued-Event: output" in part]
    assert {
        *((f"output of {it}", "<me@b.org>") for it in "vwx"),
        ("output of y", f"<jobqueue@{os.uname().nodename}>"),
    } == {(part.rstrip().rpartition("\n")[2], part.split()[3]) for part in found}
    assert {"To: ops@example.org"} == {row for row in mails.read_text().splitlines() if row.startswith("To: ")}
