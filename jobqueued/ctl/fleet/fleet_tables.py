"""Tables with several hosts' documents: for each command, the list that has the rows, its columns and its order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from jobqueued.base.text import counted, size
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base import hold_messages
from jobqueued.ctl.base.table import Cell
from jobqueued.ctl.base.terminal import Columns, distance, local, localised, moment, styled
from jobqueued.model.run_states import LIVE

Options = Mapping[str, Any]
"""A command's parsed options and arguments."""


class _Keyed(Protocol):
    @property
    def key(self) -> Any: ...


R = TypeVar("R", bound=_Keyed)


class DocumentTable(NamedTuple):
    """A table of the items in a document's list `name`, with its columns and sort key. `most` is the maximum number of
    rows.

    `nothing` is the text to print if no host has an item. `whole` makes the document itself the only item. `those` is a
    function that returns a document's items.
    """

    name: str
    columns: Columns
    key: Callable[[Message], Any] = lambda _: 0
    nothing: str = ""
    most: int | None = None
    whole: bool = False
    those: Callable[[Message], list[Message]] | None = None

    def items(self, document: Message) -> list[Message]:
        """Return the items of a host's document."""
        if self.those is not None:
            return self.those(document)
        found: list[Message] = [document] if self.whole else document[self.name] or []
        return found

    def chosen(self, rows: Iterable[R]) -> list[R]:
        """Return the rows to show, sorted. Rows with equal keys keep their order."""
        return sorted(rows, key=lambda row: row.key)[: self.most]


class FleetView(NamedTuple):
    """A command for several hosts: its tables (by options), notes about a host, and options that work only for a single
    host.
    """

    parts: Callable[[Options], list[DocumentTable]]
    notes: Callable[[Message], Sequence[str]] = lambda _: ()
    apart: Sequence[str] = ()


def _list(options: Options) -> list[DocumentTable]:
    from jobqueued.ctl.view.list import JOBS, ORDERS, PLACES

    return [DocumentTable("jobs", PLACES if options["files"] else JOBS, ORDERS[options["sort"]], "no jobs")]


def _history(options: Options) -> list[DocumentTable]:
    from jobqueued.ctl.past.history import RUNS

    def newest_first(record: Message) -> tuple[bool, float]:
        return record["state"] not in LIVE, -datetime.fromisoformat(record["queued"]).timestamp()

    return [DocumentTable("runs", RUNS, newest_first, "no such runs", most=options["runs"])]


def _locks(_options: Options) -> list[DocumentTable]:
    from jobqueued.ctl.view.locks import CLAIMS

    return [DocumentTable("claims", CLAIMS, lambda claim: claim["lock"], "no lock is held or waited for")]


def _next(options: Options) -> list[DocumentTable]:
    from jobqueued.ctl.view.next import EXPECTED, HEADINGS, lateness

    job, is_foreseen = options["job"], bool(options["expect"])

    def starts(document: Message) -> list[Message]:
        if job is None:
            found: list[Message] = document["next"]
            return found
        expected = document.get("expected") or [None] * len(document["next"])
        both = zip(document["next"], expected, strict=True)
        return [{"job": job, "at": at, **({} if late is None else {"expected": late})} for at, late in both]

    def cells(start: Message) -> list[Cell]:
        foreseen = [lateness(start.get("expected"))] if is_foreseen else []
        return [local(start["at"]), distance(start["at"]), *foreseen, start["job"]]

    columns = Columns((*HEADINGS, *([EXPECTED] if is_foreseen else []), "JOB"), cells, keep=("JOB", *HEADINGS))
    return [
        DocumentTable(
            "next", columns, lambda it: it["at"], "no job has a scheduled start", most=options["count"], those=starts
        )
    ]


def _why(options: Options) -> list[DocumentTable]:
    if options["at"] is not None:
        return [
            DocumentTable(
                "past",
                Columns(("JOB", "THEN", "RUN", "BECAUSE"), _then, keep=("JOB", "THEN", "BECAUSE")),
                those=lambda document: [document["past"]],
            )
        ]
    columns = Columns(("RUN", "STATE", "EXPECTED START", "BECAUSE"), _reasons, keep=("RUN", "BECAUSE", "STATE"))
    return [DocumentTable("runs", columns, nothing=f"no run of {options['name']} waits to start")]


def _reasons(it: Message) -> list[Cell]:
    foreseen = it.get("foreseen") or {}
    reasons = "; ".join(map(localised, it["reasons"])) or "-"
    return [it["run"], styled(it["state"]), moment(foreseen.get("expected") or it.get("expected")), reasons]


def _then(past: Message) -> list[Cell]:
    because = [*past["reasons"], *(f"unknown: {what}" for what in past["unknown"])]
    return [
        past["job"],
        styled(past["kind"].replace("_", " "), past["kind"]),
        past["run"] or "-",
        "; ".join(map(localised, because)) or "-",
    ]


def _top(options: Options) -> list[DocumentTable]:
    from jobqueued.ctl.top.top_view import HEADINGS, ORDERS, WAITING, usage_cells, waiting_cells

    usage = Columns(HEADINGS[:-1], lambda run: [run["run"], *usage_cells(run)], keep=HEADINGS[:4])
    waiting = Columns(WAITING, lambda run: [run["run"], *waiting_cells(run)], keep=WAITING)
    return [
        DocumentTable("runs", usage, ORDERS[options["sort"]], "No run is live."),
        DocumentTable("waiting", waiting, lambda run: run["queued"]),
    ]


def _usage_of_host(document: Message) -> list[str]:
    host, now = document["host"], document["host"]["now"]
    cpu = f"CPU {now['cpu'] * 100:.0f} % of {host['cpus'] * 100:.0f} %"
    return [f"{cpu}, memory {size(now['memory'])} of {size(host['memory'])}, {counted(now['tasks'], 'task')}"]


def _status(_options: Options) -> list[DocumentTable]:
    headings = ("ALL IS WELL", "STATE", "JOBS", "RUNNING", "WAITING", "NEXT", "VERSION")
    return [DocumentTable("status", Columns(headings, _condition, keep=headings[:4]), whole=True)]


def _condition(it: Message) -> list[Cell]:
    causes = it["unwell"] if "unwell" in it else [it["reason"]]  # a host without a reply has only a reason
    wrong = f"no: {'; '.join(causes)}" if causes else ""
    numbers = ("-" if it.get(name) is None else str(it[name]) for name in ("jobs", "running", "waiting"))
    soonest = f"{it['next_job']}, {distance(it['next'])}" if it.get("next_job") else "-"
    well = styled(wrong, "failed") if wrong else styled("yes", "ok")
    return [well, styled(it["state"]), *numbers, soonest, it.get("version") or "-"]


def _held(answer: Message) -> list[str]:
    """Return the note about a host's hold, or [] if the host is not on hold."""
    return [f"on hold {words}"] if (words := hold_messages.hold(answer)) else []


def _idle(answer: Message) -> list[str]:
    """Return the notes in the reply of Why, except notes about runs."""
    more = [f"{answer['more']:,} more wait"] if answer.get("more") else []
    return more + ([localised(answer["idle"])] if answer.get("idle") else [])


VIEWS = {
    "history": FleetView(_history, apart=("stats", "diff")),
    "list": FleetView(_list, _held, apart=("tsv",)),
    "locks": FleetView(_locks, apart=("evict",)),
    "next": FleetView(_next, apart=("expression",)),
    "status": FleetView(_status),
    "top": FleetView(_top, _usage_of_host),
    "why": FleetView(_why, _idle),
}
"""Command → its view."""
