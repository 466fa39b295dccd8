"""The names of users in ids: nobody's can be taken for another's, or for something of the host's."""

from __future__ import annotations

import pytest

from jobqueued.model.users import Owner, budget_of, share_of


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("alice", "alice"), ("_svc", "_svc"), ("a.b-c_d", "a.b-c_d"), ("u", "u"), ("u1000a", "u1000a"),
        ("sshd", "sshd"),
        ("u1001", "u1000"), ("u0", "u1000"), ("cron.d", "u1000"), ("crontabs", "u1000"), ("Alice", "u1000"),
        ("DOMAIN\\alice", "u1000"), ("\xe4lice", "u1000"),
        ("alice/x", "u1000"), ("a\nb", "u1000"), ("a" * 33, "u1000"),
        ("", "u1000"), ("-x", "u1000"),
    ],
)  # fmt: skip
def test_the_share_of_a_user(name: str, share: str) -> None:
    """The name, if it is none that means something else there: a number's, that of cron's tables, or no word at all."""
    assert share == Owner(1000, name).share


@pytest.mark.parametrize("job", ["backup", "cron.d/x:run-53f534", "crontabs/alice:1", "sshd"])
def test_ids_of_the_host(job: str) -> None:
    """They have no user's name before a slash."""
    assert "" == share_of(job)


@pytest.mark.parametrize(
    ("job", "budget"),
    [
        ("alice/x", "alice"), ("u1000/x", "u1000"), ("crontabs/alice:x-5c1e90", "alice"),
        ("crontabs/alice:cron.daily/man-db", "alice"), ("crontabs/www-data:x", "www-data"),
        ("crontabs/Alice:x", "crontabs/Alice"), ("crontabs/u1000:x", "crontabs/u1000"),
        ("crontabs/crontabs:x", "crontabs/crontabs"), ("crontabs/host:x", "crontabs/host"),
        ("crontabs/root:x", ""), ("crontabs/", ""), ("crontab:x", ""), ("cron.d/x:run-53f534", ""), ("host/17", ""),
        ("backup", ""), ("anacrontab:x", ""),
    ],
)  # fmt: skip
def test_the_budget_that_a_run_counts_against(job: str, budget: str) -> None:
    """A crontab counts with its user's files, unless it is root's; a name that is no share is taken for nobody else."""
    assert budget == budget_of(job)
