"""What the daemon says: its record files, its history, and the lines of its log."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobqueued.base.filenames import named_by_file
from tests.chaos.disks import files_below
from tests.chaos.receivers import Taken

Record = dict[str, Any]


@dataclass
class Evidence:
    """All that it says, by run."""

    files: dict[str, Record] = field(default_factory=dict)
    """The record files that can be read and tell of an end."""
    retrying: set[str] = field(default_factory=set)
    """The runs whose record file tells of a next attempt."""
    history: dict[str, Record] = field(default_factory=dict)
    said: dict[str, list[Record]] = field(default_factory=lambda: defaultdict(list))
    """The lines of the log about a run."""
    by_key: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    """The runs whose end the log tells, by their job and what made them due."""
    taken: list[Taken] = field(default_factory=list)
    """What the receivers of notices took."""
    waiting: set[tuple[str, str]] = field(default_factory=set)
    """What waited to be told in the end: to whom, of which run."""
    unsaved: set[str] = field(default_factory=set)
    """Submissions of which who asked was told that a restart forgets them."""
    out_of_step: Counter[str] = field(default_factory=Counter)
    """How often each job was said to be out of step with those that it waits for."""
    bugs: Counter[str] = field(default_factory=Counter)
    """The ends of tracebacks, and lines of the event bug."""

    @property
    def records(self) -> dict[str, Record]:
        """The last word on each run: history's, else the file's."""
        return {**self.files, **self.history}


def gather(root: Path, history: list[Record]) -> Evidence:
    """Read everything below a root."""
    evidence = Evidence(history={record["run"]: record for record in history})
    for file in files_below(root, "logs/*/*.json"):
        try:
            record = json.loads(file.read_bytes())
        except (OSError, ValueError):
            continue
        run, state = (
            f"{named_by_file(file.parent.name)}@{file.stem}",
            record.get("state") if isinstance(record, dict) else None,
        )
        if state == "retrying":
            evidence.retrying.add(run)
        elif state is not None:
            evidence.files[run] = record
    evidence.waiting = _waiting(root / "state" / "state.db") if history else set()
    _read_log(evidence, root / "daemon.log")
    return evidence


def _waiting(state: Path) -> set[tuple[str, str]]:
    """The notices that state.db has, once nobody uses it any more."""
    with closing(sqlite3.connect(state)) as db:
        kept = [json.loads(value) for (value,) in db.execute("SELECT value FROM notice")]
    return {(one["target"], one["about"]["run"]) for one in kept if one["about"]["run"]}


_LOADING = re.compile("<frozen (importlib|site)")
"""Where Python itself can't load a program, or begin."""


def _read_log(evidence: Evidence, log: Path) -> None:
    places: list[str] = []
    unsaved = False
    for line in log.open(errors="replace"):
        entry = _entry(line)
        if entry is None:
            places = [*places[-1:], line.strip()] if line.startswith("  File ") else places
            if places and line[:1].strip() and not line.startswith("Traceback"):
                if not any(_LOADING.search(place) for place in places):
                    evidence.bugs.update([f"{line[:200]} ({'; '.join(places)})"])
                places = []
            continue
        run = entry.get("run") or entry.get("record", {}).get("run")
        event = entry.get("event")
        unsaved = event == "degraded" or (unsaved and event not in ("recovered", "ready"))
        if "record" in entry:  # 100,000 whole ones would be gigabytes
            record = entry["record"]
            entry["record"] = {"state": record.get("state")}
            evidence.by_key[record.get("job", ""), record.get("key", "")].add(str(run))
        if run is not None:
            evidence.said[str(run)].append({**entry, "unsaved": unsaved})
        if event == "out_of_step":
            evidence.out_of_step.update([str(entry["job"])])
        if event == "unsaved":
            evidence.unsaved.add(str(entry["text"]).partition(",")[0])
        if event == "bug":
            evidence.bugs.update([line[:1500]])


def _entry(line: str) -> Record | None:
    """A line of the log; None, if it is of something else, such as a traceback."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def brief(entry: Record) -> str:
    """One line of the log, short."""
    return f"{entry.get('time', '')[11:26]}  {entry.get('event')}: {entry.get('message', '')[:240]}"


def brief_record(record: Record) -> str:
    """A record, short: what its attempts came to."""
    attempts = [
        f"{one.get('attempt')}: {one.get('state')} {one.get('reason') or ''} pid {one.get('pid')}"
        for one in record.get("attempts") or ()
    ]
    names = (
        "state",
        "reason",
        "key",
        "due",
        "started",
        "ended",
        "exit_code",
        "signal",
        "first_due",
        "last_due",
        "count",
    )
    facts = [f"{name}={record[name]}" for name in names if record.get(name) is not None]
    return f"{' '.join(facts)} attempts=[{'; '.join(attempts)}]"
