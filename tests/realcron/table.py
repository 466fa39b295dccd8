"""The table as markdown, in which rows that read the same are one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from zoneinfo import ZoneInfo

from tests.realcron.compare import Row
from tests.realcron.matrix import CALENDAR, CHANGES, DAY_EXPRESSIONS, REASONS, TEMPLATES, Change

BEGIN, END = "<!-- realcron -->", "<!-- /realcron -->"


def moment(row: Row, second: int) -> str:
    """An instant as people see it there: the day of the month, or wall time, marked if it is there a second time."""
    wall = datetime.fromtimestamp(second, UTC).astimezone(ZoneInfo(row.zone))
    return f"{wall.day}" if row.place == CALENDAR else f"{wall:%H:%M}" + "₂" * wall.fold


def runs(row: Row, seconds: Sequence[int]) -> str:
    """The runs at these instants, those of the same minute counted."""
    texts = []
    for second, same in groupby(seconds):
        count = len(list(same))
        texts.append(moment(row, second) + (f" ×{count}" if count > 1 else ""))
    return " ".join(texts) or "none"


def cells(row: Row) -> tuple[str, ...]:
    """What a row says beside its expression: our runs, and each daemon's if it has others."""
    ours = runs(row, row.ours) + " (refused)" * row.refused
    theirs = (f"**{runs(row, s)}** ({row.mark(d)})" if row.differs(d) else "=" for d, s in row.theirs.items())
    return (ours, *theirs)


def lines(found: Sequence[Row]) -> tuple[str, ...]:
    """The lines of one place's table."""
    together: dict[tuple[str, ...], list[str]] = {}
    for row in found:
        together.setdefault(cells(row), []).append(f"`{row.expression}`")
    head = ("expression", "jobqueued", *found[0].theirs)
    body = ((", ".join(expressions), *texts) for texts, expressions in together.items())
    return tuple(f"| {' | '.join(texts)} |" for texts in (head, ("---",) * len(head), *body))


def title(change: Change) -> str:
    """A clock change in words."""
    old, new = change.walls
    day = f"{new:%H:%M}" if old.date() == new.date() else f"{new:%H:%M on %-d %B}"
    return f"{change.zone}, {old:%-d %B %Y}: {old:%H:%M} → {day}"


def tables(found: Sequence[Row]) -> list[str]:
    """One table for each place, or for several that have the same."""
    together: dict[tuple[str, ...], list[str]] = {}
    for change in CHANGES:
        text = lines([row for row in found if row.place == change.name])
        together.setdefault(text, []).append(title(change))
    days = lines([row for row in found if row.place == CALENDAR])
    together.setdefault(days, []).append(f"Day fields: the days of {CALENDAR} (1 is a Saturday)")
    return ["\n".join((f"## {'; '.join(titles)}", "", *text)) for text, titles in together.items()]


def summary(found: Sequence[Row], versions: str) -> str:
    """How much was compared, and how much of it differs."""
    differing = {daemon: sum(row.differs(daemon) for row in found) for daemon in found[0].theirs}
    counts = " and ".join(f"{count} differ from {daemon}" for daemon, count in differing.items())
    return (
        f"Made with {versions}: {len(TEMPLATES)} expressions at {len(CHANGES)} clock changes and on a night without "
        f"one (all equal, not shown), {len(DAY_EXPRESSIONS)} on the days of a month.  Of these {len(found)}, {counts}."
    )


def block(found: Sequence[Row], versions: str) -> str:
    """All that stands between the markers."""
    reasons = "\n".join(f"- ({mark}) {why}" for mark, why in REASONS.items())
    return "\n\n".join((BEGIN, summary(found, versions), reasons, *tables(found), END))
