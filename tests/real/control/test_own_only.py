"""What an ordinary user is told who sees nothing of others: that this is so."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

import pytest

from tests.support.client import run
from tests.support.host import Host, wait_for
from tests.support.stranger import as_user, public
from tests.support.users import NEEDS_ROOT

STRANGER = 70001
WORDS = "Only your own jobs and their runs are shown; for all, run this as root, or as a member of a group"


@pytest.fixture
def host() -> Iterator[Host]:
    """One on which a run of root's lives."""
    with public() as directory:
        host = Host(directory / "host")
        host.root.chmod(0o755)
        try:
            host.write("a.yaml", "jobs: {a: {command: sleep 600, kill_grace: 1s}}")
            host.start()
            host.run("a")
            wait_for(lambda: host.call("Status")["running"] == 1)
            yield host
        finally:
            host.close()


@NEEDS_ROOT
@pytest.mark.parametrize(
    "words", [("top", "--once"), ("top", "--json"), ("report",), ("history",), ("history", "--stats")]
)
def test_it_is_said(host: Host, words: tuple[str, ...]) -> None:
    """On stderr, to a stranger; a person who sees all is told nothing."""

    folder = {"history": "past"}.get(words[0], words[0])
    import_module(f"jobqueued.ctl.{folder}.{words[0]}")  # a stranger may not read what this Python is made of

    def shown() -> list[str]:
        done = run("--root", host.root, *words)
        return [str(done.returncode), done.stdout, done.stderr]

    code, out, err = as_user(STRANGER, shown)
    assert ("0", True, False) == (code, err.startswith(WORDS), "a@1" in out), err
    assert words != ("top", "--once") or out.endswith("No run of your own jobs is live.\n")
    assert ["0", ""] == shown()[::2]


@NEEDS_ROOT
def test_status_has_no_remedy_that_is_denied(host: Host) -> None:
    """Of a host's job a stranger learns that it fails, not what only root may ask or do; root learns that, too."""
    host.write("b.yaml", "jobs: {b: {command: 'false'}}")
    wait_for(lambda: any(row["id"] == "b" for row in host.call("List")["jobs"]))
    host.wait(host.run("b"))
    host.call("Pause", job="a")
    import_module("jobqueued.ctl.view.status")

    def shown() -> list[str]:
        return [line.split(None, 1)[1] for line in run("--root", host.root, "status").stdout.splitlines()
                if line.startswith(("failing", "paused"))]  # fmt: skip

    failing, paused = as_user(STRANGER, shown)
    assert (True, False, "a") == (failing.startswith("b@1, since "), "see:" in failing, paused)
    assert ["; see: jobqueuectl" in shown()[0], "resume a" in shown()[1]] == [True, True]


@NEEDS_ROOT
def test_not_of_a_job(host: Host) -> None:
    """Of a job that is another's the answer is no."""

    import_module("jobqueued.ctl.top.top")

    def shown() -> list[object]:
        done = run("--root", host.root, "top", "--once", "a")
        return [done.returncode, "permission denied" in done.stderr]

    assert [1, True] == as_user(STRANGER, shown)
