"""The report: faults by kind, what ran, and each violation with its evidence."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date

from tests.chaos.checker import Checker
from tests.chaos.day import Plan
from tests.chaos.episodes import CLASSES
from tests.chaos.evidence import brief, brief_record
from tests.chaos.timeline import clock
from tests.chaos.verdict import Violation

PROMISED = ("doubled", "lost", "overlaps", "wrong", "order", "untold", "told twice", "held", "starts")
OCCURRENCES = ("due times of clocks", "ends that make others due", "runs of submissions")
"""What the checker looked for, each of which is to run once, or to be skipped with a record."""
SHOWN = 6
"""So many violations of a class are shown with their evidence."""
_LINES = 14
_SECONDS = 15
"""Of faults so long before and after."""


def report(checker: Checker, found: list[Violation]) -> None:
    """Print it."""
    by_verdict: dict[str, list[Violation]] = defaultdict(list, {name: [] for name in PROMISED})
    for violation in found:
        by_verdict[violation.verdict].append(violation)
    for verdict, violations in by_verdict.items():
        for violation in violations[:SHOWN]:
            print(f"\n==== {verdict}: {violation.text}")
            for line in evidence(checker, violation):
                print(f"     {line}")
        for violation in violations[SHOWN : 10 * SHOWN]:
            print(f"==== {verdict}: {violation.text.splitlines()[0]}")
    print("\nfaults:")
    for kind, count in sorted(checker.timeline.counts.items()):
        print(f"  {count:5}  {kind}")
    print("what happened:")
    for note, count in [*figures(checker).items(), *checker.notes.items()]:
        print(f"  {count:5}  {note}")
    for refusal, count in checker.day.refusals.most_common(6):
        print(f"  {count:5}  {refusal}")
    print("violations:")
    for verdict, violations in by_verdict.items():
        print(f"  {len(violations):5}  {verdict}")


def figures(checker: Checker) -> dict[str, int]:
    """What there was: faults, and occurrences with what became of them."""
    starts = checker.ledger.starts
    return {
        "faults": checker.timeline.counts.total(),
        "occurrences": sum(checker.notes[name] for name in OCCURRENCES) + len(checker.timeline.accepted),
        "runs that were started": len({attempt.run for attempt in starts}),
        "attempts of these": len(starts),
        "records": len(checker.records),
    }


def markdown(plan: Plan, checker: Checker, found: list[Violation]) -> str:
    """Return the figures as tables, from which those of docs/dev/chaos.md are made."""
    verdicts = Counter(violation.verdict for violation in found)
    few = {name: verdicts.pop(name, 0) for name in ("doubled", "lost")} | {"violated": verdicts.total()}
    options = f"MINUTES={plan.seconds / 60:g} SEED={plan.seed}"
    some = "" if plan.only == {*CLASSES} else f" --only {','.join(sorted(plan.only))}"
    words = f"--jobs {plan.jobs} --rate {plan.rate} --pace {plan.pace:g}{some}"
    head = f"`make chaos {options} DAY='{words}'`, {date.today():%-d %B %Y}:"
    kinds = sorted(checker.timeline.counts.items())
    tables = [
        ["| what | how many |", "|---|---|", *_rows({**figures(checker), **few})],
        ["| beside that | how many |", "|---|---|", *_rows(dict(checker.notes))],
        ["| fault | how often |", "|---|---|", *_rows(dict(kinds))],
    ]
    return "\n\n".join([head, *("\n".join(table) for table in tables)]) + "\n"


def _rows(values: dict[str, int]) -> list[str]:
    return [f"| {name} | {value:,} |" for name, value in values.items()]


def evidence(checker: Checker, violation: Violation) -> list[str]:
    """The lines of ledger, records, log and timeline about a violation."""
    run, lines = violation.run, []
    if run:
        lines += [f"ledger    {line}" for line in checker.ledger.of(run)[:_LINES]]
        for name, records in (("history", checker.evidence.history), ("file", checker.evidence.files)):
            if run in records:
                lines.append(f"{name:8}  {brief_record(records[run])}")
        lines += [f"log       {brief(entry)}" for entry in checker.evidence.said.get(run, ())[:_LINES]]
    for other in violation.others:
        lines += [f"ledger    {line}" for line in checker.ledger.of(other)[:_LINES]]
        lines += [f"log       {brief(entry)}" for entry in checker.evidence.said.get(other, ())[:_LINES]]
    if violation.at:
        starts = [one.at for attempt, starts in checker.ledger.starts.items() if attempt.run == run for one in starts]
        lines.append(f"at        {clock(violation.at)}")
        around = checker.timeline.around(min([violation.at, *starts]), max([violation.at, *starts]), _SECONDS)
        lines += [f"fault     {line}" for line in around[-2 * _LINES :]]
    return lines
