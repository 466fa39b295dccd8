"""The files that a user sees in the status."""

from __future__ import annotations

import pytest

from jobqueued.control.views.seen import VisibleView, seen_status
from jobqueued.model.users import Owner

SPOOL = "/var/spool/cron/crontabs"
HOSTS = ["/etc/jobqueue.d/a.yaml", "/etc/cron.d/b", f"{SPOOL}/root", SPOOL]
FILES = [*HOSTS, f"{SPOOL}/alice", f"{SPOOL}/bob", "users/alice:1000+x.yaml", "users/bob:1001+x.yaml"]


@pytest.mark.parametrize(
    ("user", "own"),
    [
        (None, []),
        (Owner(1000, "alice"), [f"{SPOOL}/alice", "users/alice:1000+x.yaml"]),
        (Owner(1001, "bob"), [f"{SPOOL}/bob", "users/bob:1001+x.yaml"]),
    ],
)
def test_a_user_sees_problems_of_own_files_and_of_the_host(user: Owner | None, own: list[str]) -> None:
    """Another user's crontab is neither in the problems nor among the stale files."""
    status = {"left": [], "stale": FILES, "problems": [{"file": file} for file in FILES]}
    seen = seen_status(status, VisibleView(lambda _: False, user))
    assert [*HOSTS, *own] == seen["stale"] == [problem["file"] for problem in seen["problems"]]
