"""Cycles: jobs that wait for themselves through other jobs. The search takes time linear in the number of edges."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator

After = Callable[[str], Iterable[str]]
"""Function from a name to the names for which it waits."""

_FIRST, _LAST = 4, 2
"""Number of names to show at the beginning and at the end of a long path."""


def cycles(names: Iterable[str], after: After) -> Iterator[list[str]]:
    """Yield the groups reachable from `names` where each name waits for every name, including itself (Tarjan 1972)."""
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_: dict[str, None] = {}
    for root in names:
        if root in index:
            continue
        way = [(root, iter(after(root)))]
        index[root] = lowest[root] = len(index)
        open_[root] = None
        while way:
            name, others = way[-1]
            other = next((other for other in others if other not in index or other in open_), None)
            if other is None:
                way.pop()
                if way:
                    lowest[way[-1][0]] = min(lowest[way[-1][0]], lowest[name])
                if lowest[name] == index[name]:
                    group = list(_popped(open_, name))
                    if len(group) > 1 or name in after(name):
                        yield group
            elif other in index:
                lowest[name] = min(lowest[name], index[other])
            else:
                index[other] = lowest[other] = len(index)
                open_[other] = None
                way.append((other, iter(after(other))))


def _popped(names: dict[str, None], last: str) -> Iterator[str]:
    """Pop the newest names, down to and including `last`, and yield them."""
    name = ""
    while name != last:
        name, _ = names.popitem()
        yield name


def way_back(start: str, group: Container[str], after: After) -> list[str]:
    """Return a shortest path from a name through its group back to itself; the name is first and last."""
    came: dict[str, str] = {}
    reached = [start]
    while start not in came:
        further: list[str] = []
        for last in reached:
            for name in sorted(after(last)):
                if name in group and name not in came:
                    came[name] = last
                    further.append(name)
        reached = further
    way = [start]
    while (name := came[way[-1]]) != start:
        way.append(name)
    return [start, *reversed(way[1:]), start]


def format_way(way: list[str]) -> str:
    """Format a path: ``a → b → a``; if the path is long, omit its middle."""
    left_out = len(way) - _FIRST - _LAST
    if left_out > 1:
        way = [*way[:_FIRST], f"… ({left_out:,} more) …", *way[-_LAST:]]
    return " → ".join(way)
