"""Oddities: what a file says and this host can hardly carry out is a warning with the remedy, and no refusal."""

from __future__ import annotations

import pytest

from jobqueued.jobfile.oddities import Surroundings, read_here
from jobqueued.jobfile.tree.yamltext import at_once

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
    assert warning.startswith(f"command: found '{odd}' in a list, which no shell reads; write one string, which")


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ("command: a\u00a0b", "command"), ("command: [a, \u00a0b]", "command"),
        ("command: a, failover: b\u200b", "failover"),
        ("command: a, shell: /bin/sh\u00a0", "shell"),
        ("command: a, working_directory: /a\u3000b", "working_directory"),
        ("command: a, environment_file: [/a, /b\u00a0]", "environment_file"), ("command: a, tags: [b\u00a0]", "tags"),
    ],
)  # fmt: skip
def test_a_space_that_is_none(body: str, key: str) -> None:
    """What only looks like a space is a part of the word to shells and file systems."""
    (warning,) = told(body)
    assert warning.startswith(f"{key}: found a")
    assert warning.endswith(", which shells and file systems do not treat as a space; expected a plain space, or none")
    assert [] == told("command: a, description: 'b\u00a0!', stdin: 'c\u00a0d'")


@pytest.mark.parametrize(
    "command",
    ["[sh, -c, 'a | b']", "[find, /x, -name, '*.tmp']", "[awk, '{print $1}']", "[grep, '$']", "[a, '--x=|']", "a | b"],
)
def test_what_programs_read_themselves(command: str) -> None:
    """A word that only looks a little like a shell's is nobody's business."""
    assert [] == told(f"command: {command}")


@pytest.mark.parametrize(
    ("value", "found", "remedy"),
    [
        ("/opt/bin:$PATH", "$PATH", "the directories themselves, such as /"),
        ("${HOME}/x", "$HOME", "the directory itself"),
        ("~/x", "~", "the directory itself"), ("/a:~/b", "~", "the directory itself"),
        ("x-$USER", "$USER", "its value"),
    ],
)  # fmt: skip
def test_no_variable_is_expanded(value: str, found: str, remedy: str) -> None:
    """What only a shell would expand in a value of `environment` is told, without the value."""
    (warning,) = told(f"command: x, environment: {{A: 1, X: '{value}'}}")
    assert warning.startswith(f"environment.X: found {found}, which nothing expands here; write {remedy}")
    assert value not in warning


@pytest.mark.parametrize("value", ["pa$$w0rd", "$PATHOLOGY", "a~b", "~alice", "$1", "100%", "$5 for a $HOMER"])
def test_values_that_only_look_so(value: str) -> None:
    """Passwords, prices and names are nobody's business."""
    assert [] == told(f"command: x, environment: {{X: '{value}'}}")


@pytest.mark.parametrize("line", ["nohup backup &", "backup >/dev/null 2>&1 &", "a & b & "])
def test_a_command_that_goes_on_behind_its_run(line: str) -> None:
    """A trailing & ends the run at once and kills what it was about."""
    (warning,) = told(f'command: "{line}"')
    assert "found & at the end, so the run ends at once" in warning
    assert [] == told(f'command: "{line}", leave_children: true')


@pytest.mark.parametrize("line", ["a && b", "a & wait", "a 2>&1", "echo a \\\\&"])
def test_commands_that_wait(line: str) -> None:
    """Other uses of & are in order."""
    assert [] == told(f"command: '{line}'")


def test_percent_of_a_crontab() -> None:
    """A backslash that a crontab needs is told: in quotes it would reach the program."""
    (warning,) = told(r"command: 'tar czf x-$(date +\%F).tgz /srv'")
    assert r"command: found \%, which only a crontab needs; write %, which is an ordinary character here" == warning
    assert [] == told("command: 'tar czf x-$(date +%F).tgz /srv'")


def test_limits() -> None:
    """More CPUs than there are, and less memory than a program needs, are told."""
    assert ["resource_limits.cpu: found 200 cores, but the daemon has 2; write 200% if you meant percent"] == (
        told("command: x, resource_limits: {cpu: 200}")
    )
    (warning,) = told("command: x, resource_limits: {memory: 1K}")
    assert warning.endswith("found less than any program needs; expected at least a few MiB, such as 64M")
    assert [] == told("command: x, resource_limits: {cpu: 200%, memory: 1M}")


def test_another_user() -> None:
    """A daemon that is not root's can start nothing as somebody else."""
    own = Surroundings(2, "alice")
    assert [] == told("command: x, user: alice", own) == told("command: x", own) == told("command: x, user: bob")
    (warning,) = told("command: x, user: bob", own)
    assert warning.startswith("user: found 'bob', but the daemon runs as alice")


def test_paths_that_never_appear() -> None:
    """What others write below /tmp the daemon does not see where it has one of its own."""
    (warning,) = told("command: x, on: {path: /tmp/in/*.csv}")
    assert warning.startswith("on.path: found '/tmp/in/*.csv', but the daemon has its own /tmp (PrivateTmp=)")
    assert [] == told("command: x, on: {path: /srv/in/*.csv}")
    assert [] == told("command: x, on: {path: /tmp/in/*.csv}", Surroundings(2))
