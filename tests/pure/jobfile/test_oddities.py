"""Oddities: what a file says and this host can hardly carry out is a warning with the remedy, and no refusal."""

from __future__ import annotations

import pytest

from jobqueued.jobfile.oddities import Surroundings, read_here
from jobqueued.jobfile.yamltext import at_once

ROOT = Surroundings(2, None, own_tmp=True)


def told(body: str, where: Surroundings = ROOT) -> list[str]:
    """The key and message of each warning about a job."""
    jobs, problems = at_once(read_here(where, f"jobs:\n  a: {{{body}}}\n".encode(), "f"))
    assert len(jobs) == 1, problems
    assert {"warning"} >= {problem.severity for problem in problems}
    assert {2} >= {problem.line for problem in problems}
    return [f"{problem.key}: {problem.message}" for problem in problems]


@pytest.mark.parametrize(
    ("command", "odd"),
    [
        ("[foo | bar]", "foo | bar"), ("[a, '|', b]", "|"), ("[a, '&&', b]", "&&"), ("[a, '2>&1']", "2>&1"),
        ("[a, '>', /x]", ">"), ("[~/bin/a]", "~/bin/a"), ("[a, ~/x]", "~/x"), ("[a, $HOME/x]", "$HOME/x"),
        ("[a, $(date)]", "$(date)"), ("[/usr/bin/a --full]", "/usr/bin/a --full"), ("[a, ';', b]", ";"),
    ],
)  # fmt: skip
def test_a_list_is_no_shell(command: str, odd: str) -> None:
    """Shell syntax in a list is told, with the text that a shell would read."""
    (warning,) = told(f"command: {command}")
    assert warning.startswith(f"command: found '{odd}' in a list, which no shell reads; accepted: a text, which")


@pytest.mark.parametrize(
    "command",
    ["[sh, -c, 'a | b']", "[find, /x, -name, '*.tmp']", "[awk, '{print $1}']", "[grep, '$']", "[a, '--x=|']", "a | b"],
)
def test_what_programs_read_themselves(command: str) -> None:
    """A word that only looks a little like a shell's is nobody's business."""
    assert [] == told(f"command: {command}")


def test_limits() -> None:
    """More CPUs than there are, and less memory than a program needs, are told."""
    assert ["resource_limits.cpu: found 200 cores, and the daemon has 2; accepted: 200%, if per cent are meant"] == (
        told("command: x, resource_limits: {cpu: 200}")
    )
    (warning,) = told("command: x, resource_limits: {memory: 1K}")
    assert warning.endswith("found less than any program needs; accepted: at least some MiB, such as 64M")
    assert [] == told("command: x, resource_limits: {cpu: 200%, memory: 1M}")


def test_another_user() -> None:
    """A daemon that is not root's can start nothing as somebody else."""
    own = Surroundings(2, "alice")
    assert [] == told("command: x, user: alice", own) == told("command: x", own) == told("command: x, user: bob")
    (warning,) = told("command: x, user: bob", own)
    assert warning.startswith("user: found 'bob', and the daemon runs as alice")


def test_paths_that_never_appear() -> None:
    """What others write below /tmp the daemon does not see where it has one of its own."""
    (warning,) = told("command: x, on: {path: /tmp/in/*.csv}")
    assert warning.startswith("on.path: found '/tmp/in/*.csv', where the daemon has a directory of its own")
    assert [] == told("command: x, on: {path: /srv/in/*.csv}")
    assert [] == told("command: x, on: {path: /tmp/in/*.csv}", Surroundings(2))
