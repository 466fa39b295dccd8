"""The installation: the values with which a daemon is started, for all its parts."""

from __future__ import annotations

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.host.capacity import host_has
from jobqueued.host.log import Log
from jobqueued.settings.instance import Instance
from jobqueued.settings.paths import Paths
from jobqueued.settings.settings import Settings, limits_of


class Installation(NamedTuple):
    """The paths of a daemon, its settings, the name of its host, and its log."""

    paths: Paths
    settings: Settings
    host: str
    log: Log

    @property
    def limits(self) -> HostLimits:
        """The limits of this host for its runs."""
        return limits_of(self.settings, self.host, *host_has())

    @property
    def see_log(self) -> str:
        """The command that shows the log."""
        return Instance.of(self.paths.run).see_log
