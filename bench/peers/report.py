"""The figures of a comparison as tables, the targets with what was reached, and a plot."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from typing import Any, NamedTuple

Found = dict[str, dict[str, list[dict[str, float]]]]


class Target(NamedTuple):
    """What is to be reached: a figure of ours, or it divided by the same of a peer."""

    text: str
    measure: str
    figure: str
    most: float
    peer: str = ""


TARGETS = (
    Target("burst, `sh -c`: last start, × the C loop", "burst", "ratio", 0.8),
    Target("× cronstable without state", "burst", "ratio", 1.1, "cronstable"),
    Target("× cronstable with state", "burst", "ratio", 0.75, "cronstable with state"),
    Target("× cronie", "burst", "ratio", 0.5, "cronie"),
    Target("burst, one exec: last start, × the C loop", "exec", "ratio", 1.2),
    Target("× cronstable without state", "exec", "ratio", 1.0, "cronstable"),
    Target("× cronstable with state", "exec", "ratio", 0.55, "cronstable with state"),
    Target("CPU a run beside the job's own, ms", "burst", "cpu_ms_a_run", 0.6),
    Target("first of 1,000 starts, ms late", "burst", "first_ms", 5),
    Target("one job a second: median less a commit (p99), × a C program", "seconds", "median_less_commit", 1.5),
    Target("one job a second: longest less a commit (p99), × a C program", "seconds", "longest_less_commit", 2.5),
    Target("5,000 runs by the clock: last start, × the C loop", "flood", "ratio", 1 / 1.2),
    Target("memory meanwhile, MiB", "flood", "peak_mib", 60),
    Target("900 runs by hand: last start, × the C loop", "queue", "ratio", 1 / 1.2),
    Target("memory meanwhile, MiB", "queue", "peak_mib", 60),
    Target("idle, 1,000 jobs: PSS, MiB", "idle", "pss_mib", 34),
    Target("idle, 10,000 jobs: PSS, MiB", "idle 10,000", "pss_mib", 50),
    Target("idle: wake-ups a minute", "idle", "wake_ups_a_minute", 0),
)
_COLUMNS = {
    "burst": ("ratio", "first_ms", "last_s", "cpu_ms_a_run", "after_mib", "processes"),
    "user": ("ratio", "first_ms", "last_s", "cpu_ms_a_run", "after_mib", "processes"),
    "exec": ("ratio", "first_ms", "last_s", "cpu_ms_a_run", "after_mib", "processes"),
    "flood": ("ratio", "last_s", "cpu_ms_a_run", "peak_mib", "after_mib", "processes"),
    "queue": ("ratio", "last_s", "taken_a_second", "cpu_ms_a_run", "full_mib", "peak_mib", "after_mib"),
    "timers": ("ratio", "first_ms", "last_s", "cpu_ms_a_run", "idle_mib", "after_mib"),
    "limits": ("ratio", "first_ms", "last_s", "cpu_ms_a_run", "idle_mib", "after_mib"),
    "idle": ("pss_mib", "processes", "wake_ups_a_minute"),
    "idle 10,000": ("pss_mib", "processes", "wake_ups_a_minute"),
    "seconds": ("median_ratio", "longest_ratio", "median_ms", "longest_ms", "c_median_ms", "commit_ms"),
}
_PLOTS = {
    "burst": ("last of 1,000 starts, × a C loop that starts one after the other", "ratio"),
    "flood": ("last of 5,000 starts, × a C loop", "ratio"),
    "queue": ("last of 900 starts, × a C loop", "ratio"),
    "timers": ("last of 300 starts in a machine with systemd, × a C loop", "ratio"),
    "limits": ("the same with limits of memory and tasks", "ratio"),
    "idle": ("memory with 1,000 jobs, MiB", "pss_mib"),
}
"""What is drawn: its title, and its figure."""


def markdown(result: dict[str, Any]) -> str:
    """All of it, as docs/performance.md has it."""
    found: Found = result["found"]
    machine, versions = result["machine"], result["versions"]
    head = [
        f"{machine['cpus']} CPUs ({machine['model']}), Linux {machine['kernel']}, Python {machine['python']}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".",
        "",
    ]  # fmt: skip
    tables = [line for name, rows in found.items() for line in _table(name, rows)]
    plots = [line for name, (title, figure) in _PLOTS.items() if name in found
             for line in _plot(title, figure, found[name])]  # fmt: skip
    return "\n".join([*head, *tables, *plots, *_targets(found)]) + "\n"


def _table(name: str, rows: dict[str, list[dict[str, float]]]) -> Iterable[str]:
    """Medians, and in brackets the least and the most of all rounds."""
    columns = _COLUMNS[name]
    yield f"| {name} | {' | '.join(columns)} |"
    yield "|---" * (len(columns) + 1) + "|"
    for daemon, rounds in rows.items():
        cells = (_spread([each[column] for each in rounds if column in each]) for column in columns)
        yield f"| {daemon} | {' | '.join(cells)} |"
    yield ""


def _plot(title: str, figure: str, rows: dict[str, list[dict[str, float]]]) -> Iterable[str]:
    """Bars, as Mermaid draws them."""
    middle = {daemon: statistics.median(each[figure] for each in rounds) for daemon, rounds in rows.items()}
    yield "```mermaid"
    yield "xychart-beta horizontal"
    yield f'    title "{title}"'
    yield f"    x-axis [{', '.join(json.dumps(daemon) for daemon in middle)}]"
    yield f'    y-axis "" 0 --> {max(middle.values()) * 1.1:.2g}'
    yield f"    bar [{', '.join(f'{value:.3g}' for value in middle.values())}]"
    yield "```"
    yield ""


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    middle = _number(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({_number(min(values))}–{_number(max(values))})"


def _number(value: float) -> str:
    """Three digits of it."""
    short = f"{value:.3g}"
    return short if abs(value) < 1000 else f"{float(short):,.0f}"


def _targets(found: Found) -> Iterable[str]:
    yield "| target | at most | reached | |"
    yield "|---|---|---|---|"
    for target in TARGETS:
        value = reached(found, target)
        if value is not None:
            verdict = "met" if value <= target.most else "not met"
            yield f"| {target.text} | {target.most:.3g} | {_number(value)} | {verdict} |"


def reached(found: Found, target: Target) -> float | None:
    """The median of ours, or of the ratios of the same rounds; None: it was not measured."""
    rows = found.get(target.measure, {})
    ours, theirs = rows.get("jobqueued"), rows.get(target.peer) if target.peer else None
    if ours is None or (target.peer and theirs is None):
        return None
    values = [each[target.figure] for each in ours]
    if theirs is not None:
        values = [value / each[target.figure] for value, each in zip(values, theirs, strict=True)]
    return statistics.median(values)
