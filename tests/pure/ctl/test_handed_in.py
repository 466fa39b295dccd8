"""Submissions as they are handed in: scripts, the lines in them that are for us, and environments."""

from __future__ import annotations

import pytest

from jobqueued.ctl.act.submit_input import LARGEST, MOST, NotRead, directives, environment, script
from tests.support import REPO
from tests.support.papers import blocks

SCRIPT = """#!/bin/bash -e
# The nightly run.
#JOBQUEUE timeout: 2h
#JOBQUEUE array: 1-100%10
#JOBQUEUE resources: {cpu: 2}
#JOBQUEUE locks: [db]
#JOBQUEUE umask: 0027
#JOBQUEUE priority: -5
#JOBQUEUE

echo start
#JOBQUEUE retries: 7
"""


def test_directives() -> None:
    """Lines above the first command count, each as a key of a job file with a value of YAML; those below do not."""
    expected = {
        "timeout": "2h", "array": "1-100%10", "resources": {"cpu": 2}, "locks": ["db"], "umask": "0027", "priority": -5,
    }  # fmt: skip
    assert expected == directives(SCRIPT, "nightly.sh")
    (shown,) = (it for it in blocks((REPO / "docs" / "users.md").read_text()) if it.startswith("#!"))
    assert directives(shown, "x").items() <= expected.items()
    assert {} == directives("#!/bin/sh\necho hi\n", "x")
    assert {"timeout": "1h"} == directives("#JOBQUEUE timeout: 1h\r\n", "x")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("#JOBQUEUE timeout", "s.sh:1: expected #JOBQUEUE key: value"),
        ("#\n#JOBQUEUE a: [1", "s.sh:2"),
        ("#JOBQUEUE a: 1\n#JOBQUEUE a: 2", "s.sh:2"),
        ("#\n#JOBQUEUE at:", "s.sh:2: at is empty; enter a value, or omit this line"),
        ("#JOBQUEUE key: ''", "s.sh:1: key is empty"),
        ("#JOBQUEUE env: ~", "s.sh:1: env is empty"),
    ],
)
def test_what_is_wrong_with_a_line(line: str, told: str) -> None:
    """It names the line of the script."""
    with pytest.raises(NotRead) as raised:
        directives(line, "s.sh")
    assert told in str(raised.value)


def test_a_script_runs_by_its_first_line() -> None:
    """As execve(2) has it: one argument at most; without such a line by /bin/sh."""
    program = ["/bin/sh", "-c", 'exec "$@" 3<&0 </dev/null', "sh"]
    for first, words in (
        ("#!/bin/bash -e", ["/bin/bash", "-e"]),
        ("#! /usr/bin/env -S python3 -u", ["/usr/bin/env", "-S python3 -u"]),
        ("echo", ["/bin/sh"]),
    ):
        found = script(f"{first}\ntrue\n", ["a b"])
        assert [*program, *words, "/dev/fd/3", "a b"] == found["command"]
        assert f"{first}\ntrue\n" == found["stdin"]


@pytest.mark.parametrize("text", ["", " \n", "#!python\n", "a\0b", "x" * (LARGEST + 1)])
def test_no_script(text: str) -> None:
    """What can't be run as a script is refused, with what is accepted."""
    with pytest.raises(NotRead):
        script(text)


def test_environment() -> None:
    """All but what means the terminal or the login; of names that are asked for those alone."""
    here = {
        "PATH": "/bin", "HOME": "/h", "TERM": "xterm", "SSH_AUTH_SOCK": "/s", "JOBQUEUE_RUN": "a@1", "_": "x",
        "BASH_FUNC_f%%": "() { :; }", "BAD": "\udc80",
    }  # fmt: skip
    assert {"PATH": "/bin", "HOME": "/h"} == environment(here, [])
    assert {"PATH": "/bin", "A": "b=c"} == environment(here, ["PATH", "A=b=c", "MISSING"])
    assert {"TERM": "xterm"} == environment(here, ["TERM"])
    assert {"A": "1"} == environment(here, ["none", "A=1"])
    assert "SSH_AUTH_SOCK" in environment(here, ["all"])
    for wishes in (["9x"], ["a b=1"]):
        with pytest.raises(NotRead):
            environment(here, wishes)
    with pytest.raises(NotRead, match="pass only the variables that the job needs"):
        environment({"BIG": "x" * MOST}, [])
