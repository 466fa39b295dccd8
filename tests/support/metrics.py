"""Metrics of a faked world, as a daemon would tell them, read by the parser that Prometheus' own client has."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from jobqueued.metrics.counts import MOST_JOBS, Counts
from jobqueued.metrics.exposition import text
from jobqueued.metrics.readings import Figure, Readings
from jobqueued.notices.notices import Notices
from tests.support.world import World

Values = dict[tuple[str, tuple[str, ...]], float]


def values(exposition: str) -> Values:
    """The samples of an OpenMetrics text, by name and the values of their labels in the order of the names."""
    families = text_string_to_metric_families(exposition)
    samples = [sample for family in families for sample in family.samples]
    found = {(one.name, tuple(value for _, value in sorted(one.labels.items()))): one.value for one in samples}
    assert len(found) == len(samples), "a sample twice"
    return found


class Measured:
    """A world whose turns are counted."""

    def __init__(self, world: World, most: int = MOST_JOBS, health: Iterable[tuple[str, Figure]] = ()) -> None:
        self.world, self.counts = world, Counts(most)
        notices = Notices("db1", (), lambda: "UTC", world.scheduler.catalog.get)
        self.readings = Readings(world.scheduler, notices, self.counts, lambda: dict(health))
        self.taken = 0

    def text(self) -> str:
        """All of it by now."""
        new = self.world.said[self.taken :]
        self.taken += len(new)
        self.counts.about(new)
        return "".join(text(self.readings.all(self.world.now)))

    def values(self) -> Values:
        """The same, read."""
        return values(self.text())
