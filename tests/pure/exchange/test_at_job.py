"""Jobs of at(1): due once, at their minute, with what their owner's shell had; odd ones are told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jobqueued.crontabs.jobs import CronHost
from jobqueued.exchange import proof
from jobqueued.exchange.at_job import read_at_job, uid_of
from jobqueued.exchange.draft import UniqueIds
from jobqueued.exchange.job_file import text_of
from jobqueued.jobfile.reader import read_jobs

HEAD = "#!/bin/sh\n# atrun uid=1000 gid=1000\n# mail alice 0\n"
BODY = (
    'umask 22\nPATH=/usr/bin:/bin; export PATH\nPS1=\\\\h\\ \\$\\ ; export PS1\nA=two\\ words"\n"more; export A\n'
    "SHELL=/bin/bash; export SHELL\n"
    "cd /srv/it\\'s || {\n\t echo 'Execution directory inaccessible' >&2\n\t exit 1\n}\n"
    "${SHELL:-/bin/sh} << 'marcinDELIMITER3c1b2a'\necho \"hello\"\ndate +%F\n\nmarcinDELIMITER3c1b2a\n"
)
NAME = "a0001001c3d5a0"
NOW = datetime(2026, 11, 1, tzinfo=UTC)
HOST = CronHost("Europe/Berlin")


def test_a_job_of_at_is_a_job_that_is_due_once() -> None:
    """Its variables, directory, mask and shell are keys, and its lines the command."""
    source = read_at_job((HEAD + BODY).encode(), "f", NAME, "alice", HOST, UniqueIds())
    text = text_of(source.drafts, "From f.")
    jobs, problems = read_jobs(text.encode(), "g", timezone=HOST.timezone)
    assert ([], []) == (problems, source.problems)
    assert [] == list(proof.check(source.drafts, jobs, NOW))
    (job,) = jobs
    assert ("at-16", "alice", 'echo "hello"\ndate +%F') == (job.id, job.user, job.command)
    assert ("/srv/it's", 0o022, "/bin/bash") == (job.working_directory, job.umask, job.shell)
    assert {"PATH": "/usr/bin:/bin", "PS1": "\\h $ ", "A": "two words\nmore"} == {
        name: value for name, value in job.environment if name != "SHELL"
    }
    assert (("output",), ("alice",)) == (job.notify.on, job.notify.email)
    assert [int("01c3d5a0", 16) * 60 * 10**9] == job.next_starts(0, 2)
    assert [("at", "alice")] == [("at" if row["id"] == "at-16" else "", row["user"]) for row in source.rows]


def test_letters_of_several_bytes_are_one_again() -> None:
    """at(1) puts a backslash before each byte of a letter that is not ASCII."""
    data = HEAD.encode() + b"A=\\\xc3\\\xa9; export A\ncd /\\\xc3\\\xbc || {\n echo\n exit 1\n}\necho \xc3\xa4\n"
    ((draft,), problems) = (source := read_at_job(data, "f", NAME, "alice", HOST, UniqueIds())).drafts, source.problems
    assert [] == problems
    assert ({"A": "é"}, "/ü", "echo ä") == tuple(
        draft.keys[key] for key in ("environment", "working_directory", "command")
    )
    (problem,) = read_at_job(data + b"\xc3\n", "f", NAME, "alice", HOST, UniqueIds()).problems
    assert "not imported" in problem.message


@pytest.mark.parametrize(
    ("data", "name", "user", "said"),
    [
        (HEAD + "umask 22\n", NAME, "alice", "has no command"),
        ("#!/bin/bash\nrm x\n", NAME, "alice", "does not begin like a job of at(1)"),
        (HEAD + "x\n", "b", "alice", "is not named like an at(1) job"),
        (HEAD + "x\n", NAME, None, "belongs to a user who does not exist on this host"),
        (HEAD + "x 'open\n", NAME, "alice", ""),
        (HEAD + "cd 'open || {\n echo\n exit 1\n}\nx\n", NAME, "alice", "No closing quotation"),
    ],
)
def test_what_is_no_such_job_is_told(data: str, name: str, user: str | None, said: str) -> None:
    """It is not imported; a command may be whatever its owner wrote."""
    source = read_at_job(data.encode(), "f", name, user, HOST, UniqueIds())
    assert [said] == [problem.message.partition("; it is not imported")[0] for problem in source.problems] or not said
    assert (not said) == bool(source.drafts)


def test_what_differs_is_told() -> None:
    """Another queue, a mail in any case, nobody who takes mails."""
    data = HEAD.replace(" 0\n", " 1\n").encode() + b"x\n"
    found = read_at_job(data, "f", "b" + NAME[1:], "alice", HOST._replace(mails=False), UniqueIds()).problems
    words = [word for word in ("queue 'b'", "not always", "can't send mail") if word in str(found)]
    assert ["queue 'b'", "not always", "can't send mail"] == words
    assert (1000, None) == (uid_of(HEAD.encode()), uid_of(b"x"))
