"""The part of the status that a user may see, without other users' jobs and without text from the host's files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobqueued.base.problem import Problem
from jobqueued.base.text import counted
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.core.state.holders import ANOTHERS_RUN
from jobqueued.model.users import Owner, share_of


class VisibleView(NamedTuple):
    """The jobs and files that a user sees: the public part of the host's jobs, and the user's own jobs.

    `job` returns whether the user sees a job; `user` is None for a user without jobs.
    """

    job: Callable[[str], bool]
    user: Owner | None = None

    def file(self, path: str) -> bool:
        """Return whether the user sees a job file: one of the host or of this user.

        Users' files have names such as ``users/alice:1000+x.yaml``; users' crontabs are in ``var/spool/cron/crontabs``.
        """
        directory, _, name = path.rpartition("/")
        if directory.endswith("/var/spool/cron/crontabs"):
            return name == "root" or (self.user is not None and name == self.user.name)
        own = None if self.user is None else f"{self.user.name}:{self.user.uid}+"
        return directory.rpartition("/")[2] != "users" or (own is not None and name.startswith(own))


def seen_status(status: dict[str, Any], seen: VisibleView) -> dict[str, Any]:
    """Return the daemon's part of the status without other users' runs and files."""
    return {
        **status,
        "left": [run for run in status["left"] if seen.job(run.rpartition("@")[0])],
        "stale": [path for path in status["stale"] if seen.file(path)],
        "problems": [problem for problem in status["problems"] if seen.file(problem["file"])],
    }


def public_status(status: dict[str, Any], seen: VisibleView) -> dict[str, Any]:
    """Return Status's reply for a user; it has only the names of files and the number of problems in each."""
    own = [one for one in status["attention"] if share_of(one["job"])]  # only the user's jobs are in it
    problems = [
        Problem(name, 0, 0, "", f"problems: {len(found)}; {WHO_MAY}", _worst(found), code="JQ500")._asdict()
        for name, found in _by_file(status["problems"]).items()
    ]
    troubles = status["troubles"]
    return {
        **status,
        "problems": problems,
        "stale": [path.rpartition("/")[2] for path in status["stale"]],
        "troubles": [f"troubles: {len(troubles)}; {WHO_MAY}"] if troubles else [],
        "unenforced": [],
        "reason": status["reason"] and f"the state can't be saved; {WHO_MAY}",
        "attention": [one if one in own else {**one, "reason": None} for one in status["attention"]],
        "exclusive": status["exclusive"] if seen.job((status["exclusive"] or "").rpartition("@")[0]) else ANOTHERS_RUN,
    }


def unwatched(words: dict[Owner, str], seen: VisibleView | None) -> list[str]:
    """Return warnings that files for users' path triggers may be missed; with `seen`, return only the warnings for its
    user.
    """
    if seen is not None:
        return [found for owner, found in words.items() if owner == seen.user]
    some = [f"{owner.name}: {found}" for owner, found in list(words.items())[:_MOST_USERS]]
    more = len(words) - len(some)
    return [*some, f"and of {counted(more, 'more user')}"] if more else some


_MOST_USERS = 5
WHO_MAY = "root and the groups of jobqueued.yaml can see more"


def _by_file(problems: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for problem in problems:
        found.setdefault(problem["file"].rpartition("/")[2], []).append(problem)
    return found


def _worst(problems: list[dict[str, Any]]) -> str:
    return "error" if any(problem["severity"] == "error" for problem in problems) else "warning"
