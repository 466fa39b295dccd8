"""at.allow and at.deny: the users who may have the daemon start their work at a later time."""

from __future__ import annotations

from pathlib import Path

from jobqueued.control.protocol.varlink import VarlinkError
from jobqueued.model.users import Owner, UserLimits


class AtLists:
    """The lists in the directory `etc`. If `limits` names users, the lists apply only to at(1) itself."""

    def __init__(self, etc: Path, limits: UserLimits) -> None:
        self._etc, self._limits = etc, limits

    def check_later(self, owner: Owner | None, at: int | None, now: int) -> None:
        """Raise NotAllowed if a user may not choose a later time (ns). `owner`: None for the host."""
        if self._limits.allow is None and at is not None and at > now:
            self.check(owner, needs_list=False)

    def check(self, owner: Owner | None, *, needs_list: bool = True) -> None:
        """Raise NotAllowed if a user may not use at(1). `owner`: None for the host.

        `needs_list`: also raise it if neither at.allow nor at.deny exists.
        """
        if owner is not None and not self._allows(owner.name, without_lists=not needs_list):
            raise VarlinkError("NotAllowed", {"user": owner.name, "program": "at"})

    def _allows(self, name: str, *, without_lists: bool) -> bool:
        """Return whether at.allow or, if it is missing, at.deny lets a user use at(1).

        An unreadable list denies all users. `without_lists`: the result if both lists are missing.
        """
        for file, listed in (("at.allow", True), ("at.deny", False)):
            try:
                lines = (self._etc / file).read_text(errors="replace").splitlines()
            except FileNotFoundError:
                continue
            except OSError:
                return False
            return (name in map(str.strip, lines)) is listed
        return without_lists
