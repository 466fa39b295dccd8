# vm-run: --with at
"""Jobs that the real at has made, imported: they do what at's own shell does with them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.system.vm import jobs, output, sh, start, until

JOB = """
'/usr/bin/python3' -c 'import json, os; print(json.dumps([dict(os.environ), os.getcwd(), os.umask(0), os.getuid()]))'
echo "$ODD" 'a  b' \\\\ `echo back` $((1 + 1)) # é
"""
ODD = {"ODD": 'two  words "q" $x `b` \\ é\'', "LINES2": "one\ntwo", "HOME": "/tmp", "PATH": "/usr/bin", "EMPTY": ""}


@pytest.mark.parametrize("user", ["root", "alice"])
def test_a_job(user: str) -> None:
    """Variables, directory, umask, user and lines are those of its script."""
    start("jobs: {}")
    if user != "root":
        sh("useradd", "--create-home", user)
    command = ["setpriv", "--reuid", user, "--regid", user, "--init-groups", "at", "now", "+", "1", "hour"]
    directory = Path(f"/tmp/it's {user}'s \"place\"")
    directory.mkdir()
    subprocess.run(command, input=JOB, text=True, env=ODD, cwd=directory, umask=0o027, check=True, timeout=60)
    (file,) = Path("/var/spool/cron/atjobs").glob("a*")
    with open(file) as script:
        of_at = subprocess.run(
            [*command[:6], "/bin/sh"], stdin=script, capture_output=True, text=True, env={}, check=True, timeout=60
        )
    sh("jobqueuectl", "import", "--write", str(file))
    job = until("the job", lambda: [job["id"] for job in jobs() if job["id"].startswith("at-")])[0]
    sh("jobqueuectl", "run", job, "--wait")
    file.unlink()
    (theirs, *more), (ours, *others) = of_at.stdout.splitlines(), output(f"{job}@1").splitlines()
    assert more == others
    (their_variables, *their_place), (variables, *place) = json.loads(theirs), json.loads(ours)
    uid = int(sh("id", "-u", user))
    assert their_place == place == [str(directory), 0o027, uid]
    told = {item for item in their_variables.items() if item[0] not in ("LC_CTYPE", "PWD", "OLDPWD")}
    assert ODD.items() <= told <= variables.items()
    sh("sh", "-c", "rm /etc/jobqueue.d/*at*.yaml")
    until("it is gone", lambda: job not in [each["id"] for each in jobs()])
