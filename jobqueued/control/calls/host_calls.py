"""Calls about the whole host: its hold and its fleet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobqueued.control.protocol.access import AccessRule, Rank
from jobqueued.control.protocol.declaration import method
from jobqueued.control.protocol.ownership import Asker
from jobqueued.control.protocol.parameters import instant_of
from jobqueued.control.views import views
from jobqueued.core.scheduler import Scheduler
from jobqueued.model.events import Event, FleetAccepted, HoldAsked
from jobqueued.model.saved import Hold


class HostCalls:
    """Turns requests about the host into events. `boot`: the id of this boot."""

    def __init__(self, scheduler: Scheduler, happen: Callable[[Event], None], boot: str) -> None:
        self._scheduler, self._happen, self._boot = scheduler, happen, boot

    @method("Hold", AccessRule(Rank.OPERATOR))
    def hold(self, asked: dict[str, Any], asker: Asker) -> None:
        """Hold the host, so that no new run starts."""
        boot, by = self._boot if asked.get("boot") else None, asker.peer.name
        until = instant_of(asked, "until")
        self._happen(HoldAsked(asker.ticket(), by, Hold(by, until, boot)))

    @method("Release", AccessRule(Rank.OPERATOR))
    def release(self, asked: dict[str, Any], asker: Asker) -> None:
        """End the host's hold."""
        self._happen(HoldAsked(asker.ticket(), asker.peer.name, None))

    @method("Fleet", AccessRule(Rank.READER, own=True, public=True))
    def fleet(self, asked: dict[str, Any], asker: Asker) -> dict[str, Any]:
        """Return this host's fleet and the hosts in it."""
        return views.fleet(self._scheduler, whole=asker.sees_all)

    @method("AcceptFleet", AccessRule(Rank.OPERATOR))
    def accept_fleet(self, asked: dict[str, Any], asker: Asker) -> None:
        """Accept the fleet's etcd after it was restored to an earlier state."""
        self._happen(FleetAccepted(asker.ticket(), asker.peer.name))
