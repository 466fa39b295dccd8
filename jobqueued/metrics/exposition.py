"""The text of metrics: OpenMetrics 1.0, or the older format of Prometheus, which node_exporter reads from files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jobqueued.metrics.families import Family, Sample

Told = tuple[Family, Iterable[list[Sample]]]
"""A family with its samples, in lists that are created on demand."""


def text(told: Iterable[Told], *, openmetrics: bool = True) -> Iterator[str]:
    """Yield the text in pieces. The older format describes a counter under its name with the suffix."""
    for family, pieces in told:
        name = family.name if openmetrics or family.kind != "counter" else f"{family.name}_total"
        yield f"# HELP {name} {_escaped(family.help)}\n# TYPE {name} {family.kind}\n"
        for piece in pieces:
            yield "".join(_line(family.name, *sample) for sample in piece)
    if openmetrics:
        yield "# EOF\n"


def _line(name: str, suffix: str, labels: dict[str, str], value: float) -> str:
    inner = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{suffix}{{{inner}}} {value}\n" if inner else f"{name}{suffix} {value}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
