"""Lanes: the groups of waiting notices that the outbox delays, joins and limits together."""

from __future__ import annotations

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.notify import Target
from jobqueued.model.saved import Notice
from jobqueued.model.users import budget_of


class NoticeReceiver(NamedTuple):
    """A target for notices about one user's jobs; `share` names the user, and "" means the host's jobs.

    Each receiver has its own failures and limits. Therefore no user can delay the notices of other users or of the
    host.
    """

    target: Target
    share: str


class Lane(NamedTuple):
    """The notices of one kind for one receiver, from one sender; `sender` is "" for the default sender.

    The outbox delays and joins outputs separately from other notices.
    """

    receiver: NoticeReceiver
    is_output: bool
    sender: str = ""

    @classmethod
    def of(cls, notice: Notice) -> Lane:
        """Return the lane of a notice."""
        receiver = NoticeReceiver(Target.parse(notice.target), budget_of(notice.about.get("job") or ""))
        return cls(receiver, notice.about["event"] == "output", notice.settings.get("from", ""))

    @property
    def target(self) -> Target:
        """The target of the lane's receiver."""
        return self.receiver.target

    @property
    def rate_lane(self) -> Lane:
        """The lane that counts this lane's messages for the rate limit, which the lanes of all senders share."""
        return self._replace(sender="")
