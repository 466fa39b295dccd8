"""The keys of `top`: they move the mark, act on the marked run, and show its output or its waits."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from itertools import islice
from operator import itemgetter
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.text import Text as Line

from jobqueued.base.text import printable
from jobqueued.child.contract.documents import Record
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base import records
from jobqueued.ctl.base.client import CallRefused, ask
from jobqueued.ctl.base.terminal import localised, moment
from jobqueued.ctl.past import failed_submissions
from jobqueued.ctl.top.top_view import ORDERS, TopView, bar
from jobqueued.model.run_states import PENDING
from jobqueued.settings.paths import Paths

KEYS = """\
up, down      mark another run (also k, j)
Enter, f      follow the output of the marked run
w             why it has not started, or does not end
x             stop it
r             run its job now
p, P          pause its job, resume it
n             list the open incidents
/             filter: part of a name, tag:db, user:alice, state:running or state:late; several combine
c m i t s     sort by CPU, memory, I/O, tasks, start
q             quit; Esc or q closes a view over the list"""
_LONGEST_WAIT = 3.0
"""Timeout (s) of the daemon's reply to a key."""
_MOST_WAITING, _OUTPUT = 2000, 1 << 16
_NAMED = 4
_STEPS = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -10, "page down": 10}


def queue(paths: Paths, jobs: Collection[str] = ()) -> Message:
    """Return `waiting`: the newest waiting runs of these jobs, or of all jobs, each with its waits.

    `more_wait` shows whether more runs wait, `unwell` describes the problems, and `incidents` is the number of open
    incidents. All values include only facts that the caller may see.
    """
    waiting, more_wait = list[Record](), False
    names: Collection[str | None] = jobs or [None]
    for job in names:
        found = list(islice(_waiting(paths, job), _MOST_WAITING + 1))
        waiting += found[:_MOST_WAITING]
        more_wait |= len(found) > _MOST_WAITING
    waiting.reverse()
    waiting.sort(key=itemgetter("queued"))  # sort is stable: runs queued at the same instant keep their order
    wanted, is_whole = _wanted(paths) if waiting else ({}, True)
    rows = [
        {name: run[name] for name in ("run", "job", "state", "queued", "user", "tags")}
        | {"for": wanted.get(run["run"], [] if is_whole else None)}
        for run in waiting
    ]
    return {"waiting": rows, "more_wait": more_wait, "unwell": _problem_text(paths), "incidents": len(incidents(paths))}


def _waiting(paths: Paths, job: str | None) -> Iterator[Record]:
    """Yield the waiting runs of a job or of all jobs, newest first; yield none if the job no longer exists."""
    with suppress(CallRefused):
        found = records.history(paths, {"states": sorted(PENDING), "job": job})
        yield from (run for run in found if run["state"] in PENDING)  # a run may have ended after the call began


def _wanted(paths: Paths) -> tuple[dict[str, list[str]], bool]:
    """Return run → awaited locks with their holders, and whether the list is complete."""
    answer = ask(paths.control, "Locks", _LONGEST_WAIT)
    claims = answer["claims"]
    holders: dict[str, list[str]] = {}
    for claim in claims:
        if claim["held"]:
            holders.setdefault(claim["lock"], []).append(claim["holder"])
    wanted: dict[str, list[str]] = {}
    for claim in claims:
        if not claim["held"]:
            why = claim["reason"] or f"{', '.join(holders.get(claim['lock'], ['another process']))} has it"
            wanted.setdefault(claim["holder"], []).append(f"{claim['lock']}: {why}")
    return wanted, not answer["more"]


def incidents(paths: Paths) -> list[Message]:
    """Return the open incidents, or [] if the caller may not see them."""
    with suppress(CallRefused):
        found: list[Message] = ask(paths.control, "Notices", _LONGEST_WAIT)["incidents"]
        return found
    return []


def _problem_text(paths: Paths) -> str:
    """Return the host's problems as text, with the jobs that they concern."""
    status = ask(paths.control, "Status", _LONGEST_WAIT)
    named = [one["job"] for one in status["attention"] if one["kind"] != "paused"]
    failed = failed_submissions.find(paths, {one["job"] for one in status["attention"]})
    unwell, named = status["unwell"] + failed_submissions.problems(failed), [*named, *(one["job"] for one in failed)]
    named = list(dict.fromkeys(named))
    jobs = ", ".join([*named[:_NAMED], *(["…"] if len(named) > _NAMED else [])])
    return "; ".join(map(localised, unwell)) + (f" ({jobs})" if named and unwell else "")


class Screen:
    """The screen of `top`: the view, which a page of lines or a question may cover."""

    def __init__(self, paths: Paths, view: TopView) -> None:
        self._paths, self._view = paths, view
        self._page: _Page | None = None
        self._asked: Callable[[], str] | None = None
        """Function to call if the user answers the question with y, or None if no question is open."""
        self._typed: str | None = None
        """The filter typed so far, or None if no filter is being typed."""
        self._said = ""

    def press(self, key: str) -> bool:
        """Handle a key; return False to quit."""
        self._said = "" if self._asked is None else self._said
        if self._asked is not None:
            self._answer(key)
        elif self._typed is not None:
            self._type(key)
        elif self._page is not None:
            if key in ("q", "escape") or not self._page.press(key):
                self._page = None
        elif key in ("q", ""):
            return False
        else:
            self._choose(key)
        return True

    def refresh(self) -> None:
        """Refresh the open page, if any."""
        if self._page is not None:
            self._try(self._page.refresh)

    def shown(self, width: int, height: int) -> RenderableType:
        """Return the content of a terminal of this size."""
        foot = f"filter: {self._typed}_" if self._typed is not None else self._said
        if self._page is not None:
            return self._page.shown(height, foot)
        return self._view.shown(width, height, printable(foot))

    def _choose(self, key: str) -> None:
        run = self._view.marked
        job = run.rpartition("@")[0]
        order = next((order for order in ORDERS if order[0] == key), None)
        if order is not None:
            self._view.order = order
        elif key in _STEPS:
            self._view.move(_STEPS[key])
        elif key == "/":
            self._typed = self._view.filter
        elif key == "escape":
            self._view.filter = self._view.marked = ""
        elif key == "?":
            self._page = _Page("keys", lambda: iter(KEYS.splitlines()))
        elif key == "n":
            self._open(_Page("incidents", lambda: _incidents(self._paths)))
        elif key not in ("enter", "f", "w", "x", "r", "p", "P"):
            self._said = "?: keys"
        elif not run:
            self._said = "no run is marked: up and down mark one"
        elif key in ("enter", "f"):
            self._open(_Output(self._paths, run))
        elif key == "w":
            self._open(_Page(f"why {run}", lambda: _why(self._paths, run)))
        else:
            does, words, method, names = _ACTS[key]
            what = {"run": run, "job": job}[names]
            self._asked = lambda: self._act(method, {names: what}, words.format(what))
            self._said = f"{does} {what}? (y/n)"

    def _answer(self, key: str) -> None:
        asked, self._asked, self._said = self._asked, None, ""
        if asked is not None and key in ("y", "Y"):
            self._try(lambda: setattr(self, "_said", asked()))

    def _act(self, method: str, parameters: dict[str, str], words: str) -> str:
        answer = ask(self._paths.control, method, _LONGEST_WAIT, **parameters)
        return words + (f": {answer['run']}" if "run" in answer else "")

    def _type(self, key: str) -> None:
        typed = self._typed or ""
        match key:
            case "enter":
                self._view.filter, self._typed = typed.strip(), None
            case "escape":
                self._view.filter, self._typed = "", None
            case "backspace":
                self._typed = typed[:-1]
            case _ if len(key) == 1 and key.isprintable():
                self._typed = typed + key

    def _open(self, page: _Page) -> None:
        self._try(page.refresh)
        if not self._said:
            self._page = page

    def _try(self, what: Callable[[], object]) -> None:
        try:
            what()
        except click.ClickException as error:
            self._said = error.message


_ACTS = {
    "x": ("stop", "{} is being stopped", "Stop", "run"),
    "r": ("run", "{} is queued", "Run", "job"),
    "p": ("pause", "{} is paused", "Pause", "job"),
    "P": ("resume", "{} is resumed", "Resume", "job"),
}
"""Key → verb in the question, message after the call, method, and "run" or "job", on which the method acts."""


class _Page:
    """A title and a visible part of the lines below it. `_follows` shows the last part until the user scrolls."""

    _follows = False

    def __init__(self, title: str, lines: Callable[[], Iterator[str]]) -> None:
        self.title, self._make, self._lines = title, lines, list[str]()
        self._top = 0

    def refresh(self) -> None:
        """Update the lines. Raises ClickException."""
        self._lines = [printable(line) for line in self._make()]

    def press(self, key: str) -> bool:
        """Handle a key that scrolls. Return False if the key closes the page."""
        if key not in _STEPS:
            return False
        self._follows = False
        self._top = max(0, min(self._top + _STEPS[key], len(self._lines) - 1))
        return True

    def shown(self, height: int, foot: str) -> RenderableType:
        """Return the part of the page that fits the height."""
        room = max(1, height - 2)
        if self._follows:
            self._top = max(0, len(self._lines) - room)
        part = self._lines[self._top : self._top + room]
        last = foot or f"{self._top + len(part)} of {len(self._lines)} lines; q: back"
        lines = [Line(line, no_wrap=True, overflow="ellipsis") for line in part]
        lines += [Line("")] * (room - len(part))
        return Group(Line(printable(self.title), "bold"), *lines, bar(last))


class _Output(_Page):
    """The last part of a run's output, refreshed as it grows."""

    _follows = True

    def __init__(self, paths: Paths, run: str) -> None:
        super().__init__(f"output of {run}", lambda: iter(self._text.decode(errors="replace").splitlines()))
        self._paths, self._run = paths, run
        self._text, self._offset = b"", -1

    def refresh(self) -> None:
        """Get new output, and keep only the last 64 KiB."""
        if self._offset < 0:
            size = self._ask(0, 0)["size"]
            self._offset = max(0, size - _OUTPUT)
        while data := base64.b64decode((answer := self._ask(self._offset, _OUTPUT))["data"]):
            self._offset += len(data)
            self._text = (self._text + data)[-_OUTPUT:]
            if self._offset >= answer["size"]:
                break
        super().refresh()

    def _ask(self, offset: int, limit: int) -> Any:
        return ask(self._paths.control, "Logs", _LONGEST_WAIT, run=self._run, offset=offset, limit=limit)


def _incidents(paths: Paths) -> Iterator[str]:
    found = incidents(paths)
    for it in found:
        times = f", {it['times']} times" if it["times"] > 1 else ""
        yield f"{it['subject']}: {it['kind'] or 'failing'} since {moment(it['since'])}{times}"
        yield f"    notified: {', '.join(it['told']) or 'nobody'}"
    if not found:
        yield "no incident is open"


def _why(paths: Paths, run: str) -> Iterator[str]:
    why = ask(paths.control, "Why", _LONGEST_WAIT, run=run)["why"]
    yield f"{why['run']}: {why['state']}"
    reasons = why["reasons"] or ["nothing is in its way" if why["state"] in PENDING else "it has started"]
    yield from map(localised, reasons)
    if why.get("late"):
        yield f"late: {why['late']}"
    if why.get("growth"):
        yield f"priority: {why['growth']}"
    if why.get("expected"):
        yield f"expected start: {moment(why['expected'])}"
