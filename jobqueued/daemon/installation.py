"""The installation: a daemon's start values, for all its parts."""

from __future__ import annotations

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.host.capacity import host_has
from jobqueued.host.log import Log
from jobqueued.settings.instance import Instance
from jobqueued.settings.paths import Paths
from jobqueued.settings.settings import Settings, limits_of


class Installation(NamedTuple):
    """A daemon's paths, settings, host name, and log."""

    paths: Paths
    settings: Settings
    host: str
    log: Log

    @property
    def limits(self) -> HostLimits:
        """This host's limits for its runs."""
        return limits_of(self.settings, self.host, *host_has())

    @property
    def see_log(self) -> str:
        """The command that shows the log."""
        return Instance.of(self.paths.run).see_log
