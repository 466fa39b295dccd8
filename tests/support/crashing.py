"""The daemon, its launcher and its agent, with places to die at: the steps of the start protocol, wrapped from outside.

As the daemon:    python tests/support/crashing.py DAEMON-ARGUMENTS…
As the launcher:  python -I -S tests/support/crashing.py RUNS_PARENT --exit-when-idle
As the agent:     python -I -S tests/support/crashing.py DIRECTORY
As the notifier:  ROOT/notifier.py, if the test has written it (NOTIFIER)

A file ROOT/crash with "CLASS.FUNCTION WHEN NTH" arms one place: the NTH call since then dies by SIGKILL, before or
after the step.  The file goes first, so that each arming kills once.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.append(ROOT)


def arm(owner: Any, name: str, root: str, counts: Callable[..., Any] = lambda *_, **__: True) -> None:
    """Wrap one function of a class or module; a call of it is one of those that `counts`, by its arguments."""
    step: Callable[..., Any] = getattr(owner, name)
    point = f"{owner.__name__.rpartition('.')[2]}.{name}"
    calls = 0

    def perhaps_die(when: str) -> None:
        try:
            with open(f"{root}/crash") as file:
                armed, moment, nth = file.read().split()
        except (FileNotFoundError, ValueError):
            return
        if (armed, moment) == (point, when) and calls == int(nth):
            os.unlink(f"{root}/crash")
            os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(step)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        if not counts(*args, **kwargs):
            return step(*args, **kwargs)
        calls = calls + 1 if os.path.exists(f"{root}/crash") else 0
        perhaps_die("before")
        result = step(*args, **kwargs)
        perhaps_die("after")
        return result

    setattr(owner, name, wrapped)


LAUNCHER_STEPS, MARKS_STEPS = ("_hand_over", "_hear"), ("make_directory", "write_spec")
SUPERVISOR_STEPS = ("_listen", "_claim", "_write_pid", "_watch", "_write_record", "_mark_end", "_farewell")
LINK_STEPS = ("launch", "notify", "_send")
SENDING_STEPS = ("send", "_run")
SMTP_STEPS = ("mail", "rcpt", "data", "quit")

NOTIFIER = f"""
import sys
sys.path.append({ROOT!r})
from tests.support.crashing import as_notifier
as_notifier(sys.argv[0].rpartition("/")[0])
"""
"""The notifier with places to die at, as a file in the root of a host."""
PAUSE = 20_000_000
"""The pause (ns) after the first failure to send a notice, of a minute otherwise."""


def as_launcher(arguments: list[str]) -> None:
    """The launcher with the steps of launcher and supervisor armed."""
    from jobqueued.child import launcher, questions, sending, supervisor
    from jobqueued.child.attempt import attempt
    from jobqueued.child.hooks import hook, hooks
    from jobqueued.child.processes import tree
    from jobqueued.child.report import followers, marks
    from jobqueued.child.start import spawn

    root = os.path.dirname(os.path.dirname(arguments[0]))
    for name in LAUNCHER_STEPS:
        arm(launcher.Launcher, name, root)
    for name in MARKS_STEPS:
        arm(marks, name, root)
    for name in SUPERVISOR_STEPS:
        arm(attempt.Attempt, name, root)
    arm(spawn, "spawn", root)
    arm(hook, "start_hook", root)
    arm(hooks.Hooks, "_finish", root)
    arm(followers.Audience, "say", root)
    for name in ("put", "hand_over"):
        arm(questions.Questions, name, root)
    for name in SENDING_STEPS:
        arm(sending, name, root)
    for name in ("one_ends", "end_all"):
        arm(tree, name, root)
    arm(supervisor, "_is_sent", root)
    if os.path.exists(f"{root}/notifier.py"):
        sending.NOTIFIER = f"{root}/notifier.py"
    launcher.main(arguments)


def as_agent(arguments: list[str]) -> None:
    """The agent of a fleet with the steps of a question armed."""
    from jobqueued.child.fleet import agent, conversation
    from jobqueued.child.fleet.etcd import gateway

    root = os.path.dirname(arguments[0])
    arm(gateway.Gateway, "_ask", root, lambda _gateway, _member, path, *_: path == "kv/txn")
    arm(conversation.Conversation, "answered", root)
    agent.main(arguments)


def as_notifier(root: str) -> None:
    """The notifier with the steps to a mail server armed."""
    import smtplib

    from jobqueued.child.notifier import main, notice

    arm(notice, "read", root)
    arm(main, "send", root)
    for name in SMTP_STEPS:
        arm(smtplib.SMTP, name, root)
    main.main()


def as_daemon(arguments: list[str]) -> int:
    """The daemon with the steps of the scheduler armed."""
    from pathlib import Path

    from jobqueued.__main__ import main
    from jobqueued.daemon import run_assembly
    from jobqueued.notices import outbox
    from jobqueued.runs import fleet_link, launcher_link, run_directory
    from jobqueued.state import write_batch
    from jobqueued.state.db import store

    root = arguments[arguments.index("--root") + 1]
    arm(store.Store, "commit", root)
    starts = lambda batch, **_: any(run.state == "starting" for run, _ in batch.runs.values())  # noqa: E731
    arm(write_batch.WriteBatch, "commit", root, starts)
    arm(run_directory.RunDirectory, "remove", root)
    for name in LINK_STEPS:
        arm(launcher_link.LauncherLink, name, root)
    arm(fleet_link.FleetLink, "send", root)
    arm(fleet_link.FleetLink, "flush", root, lambda link: link._outbox)
    run_assembly.AGENT = Path(__file__)
    arm(outbox.Outbox, "answered", root)
    outbox._FIRST_PAUSE = PAUSE
    return main(arguments, launcher=Path(__file__))


if __name__ == "__main__":
    if sys.flags.isolated:
        (as_launcher if sys.argv[2:] else as_agent)(sys.argv[1:])
    else:
        sys.exit(as_daemon(sys.argv[1:]))
