"""A user's crontab. The spool's owner reads and writes it directly; other users call the daemon."""

from __future__ import annotations

import base64
import contextlib
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

from jobqueued.base.text import printable, size
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.spool import spool_log
from jobqueued.child.spool.spool import LARGEST_SENT, NONE, Changed, Spool, SpoolRefused, allowed, fits, unreadable
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base.client import TIMEOUT, DaemonUnreachable, ask
from jobqueued.ctl.base.client import CallRefused as Answer
from jobqueued.jobdir.kinds import SPOOL
from jobqueued.settings.instance import Instance
from jobqueued.settings.paths import Paths


class SpoolFailure(Exception):
    """Raised if a request failed; str() is the message for the user."""


class TableOwner(NamedTuple):
    """The owner of a table."""

    name: str
    uid: int


_FORBIDDEN = "You ({}) are not allowed to use this program (crontab)\nSee crontab(1) for more information"
_CHANGED = "crontab: another edit or a program changed the table after this edit began"
_DOWN = "{}\ncrontab: nothing was changed, because ordinary users need the daemon for this; to start it, as root: {}"
_FORBIDDEN_ROOT = "The user {} cannot use this program (crontab)"


def no_crontab(owner: TableOwner) -> str:
    """Return Debian's message about a missing crontab, which programs expect."""
    return f"no crontab for {owner.name}"


class UserTable:
    """The table of a user."""

    def __init__(self, paths: Paths, owner: TableOwner) -> None:
        self._paths, self._owner, self._spool = paths, owner, Spool(str(paths.host))
        self._direct = os.geteuid() == 0 or _is_ours(paths.host)
        self.is_run = True
        """After `install`: True if the daemon or another cron on this host runs users' crontabs."""
        if not (fits(owner.name) and SPOOL.reads(owner.name)):
            raise SpoolFailure(
                f"crontab: {printable(owner.name)!r} can't have a crontab, because cron ignores files with this name"
            )
        if self._direct:
            self._check_right()

    def _check_right(self) -> None:
        """Raise SpoolFailure if cron.allow or cron.deny forbids direct use. The daemon checks other users."""
        forbidden = (_FORBIDDEN_ROOT if os.getuid() == 0 else _FORBIDDEN).format(self._owner.name)
        try:
            if not allowed(str(self._paths.host), self._owner.name, os.getuid()):
                if os.getuid() != 0:
                    spool_log.say_forbidden(str(self._paths.host), _asker(), os.getpid())
                raise SpoolFailure(forbidden)
        except SpoolRefused as refused:
            raise SpoolFailure(f"{refused}\n{forbidden}") from None

    def read(self, *, edits: bool = False) -> tuple[bytes, str]:
        """Return the table in the spool and its stamp, or (b"", NONE) if it is missing.

        `edits` means that the user edits the table. Raises SpoolFailure.
        """
        if self._direct:
            self._log(spool_log.BEGIN_EDIT if edits else spool_log.LIST)
            with self._told():
                return self._spool.read(*self._owner)
        answer = self._ask("CrontabGet", edit=edits)
        return (b"", NONE) if answer is None else (base64.b64decode(answer["table"]), answer["stamp"])

    def install(self, table: bytes, stamp: str | None = None) -> None:
        """Install a table; with `stamp`, only if the current table has this stamp. Raises SpoolFailure."""
        from jobqueued.ctl.files.job_units import user_of_daemon
        from jobqueued.host.other_cron import other_cron
        from jobqueued.settings.settings import read_settings

        if self._direct:
            with self._told():
                self._spool.install(*self._owner, table, stamp)
            self._log(spool_log.REPLACE)
            daemon, more = user_of_daemon(self._paths), self._paths.more_config
            live = bool(read_settings(self._paths.config, daemon, more)[0].cron.get("live"))
        else:
            if len(table) > LARGEST_SENT:
                most = f"expected at most {size(LARGEST_SENT)}; root may install more"
                raise SpoolFailure(f"crontab: the table has {size(len(table))}; {most}")
            answer = self._ask("CrontabSet", table=base64.b64encode(table).decode(), stamp=stamp)
            live = answer is not None and answer["live"]
        self.is_run = live or bool(other_cron(self._paths.host))

    def remove(self) -> bool:
        """Remove the table. Return False if it is missing. Raises SpoolFailure."""
        if self._direct:
            with self._told():
                is_removed = self._spool.remove(*self._owner)
            if is_removed:
                self._log(spool_log.DELETE)
            return is_removed
        return self._ask("CrontabRemove") is not None

    def end_edit(self) -> None:
        """Log the end of an edit to syslog, because the daemon does not see it."""
        self._log(spool_log.END_EDIT)

    def _log(self, event: str) -> None:
        """Log a direct action to syslog. The daemon logs other users' actions, with the kernel's credentials."""
        spool_log.say(str(self._paths.host), _asker(), event, self._owner.name, os.getpid())

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Changed:
            raise SpoolFailure(_CHANGED) from None
        except SpoolRefused as refused:
            raise SpoolFailure(f"crontab: {refused}") from None
        except OSError as error:
            raise SpoolFailure(f"crontab: {self._spool.path}: {error.strerror}") from None

    def _ask(self, method: str, **parameters: str | bool | None) -> Message | None:
        """Return the daemon's reply, or None if the crontab is missing. Raises SpoolFailure."""
        try:
            return ask(self._paths.control, method, TIMEOUT, user=self._owner.name, **parameters)
        except Answer as answer:
            match answer.error:
                case "NoCrontab":
                    return None
                case "NotAllowed":
                    why = [unreadable(str(self._paths.host)), _FORBIDDEN.format(self._owner.name)]
                    raise SpoolFailure("\n".join(filter(None, why))) from None
                case "PermissionDenied":
                    raise SpoolFailure("must be privileged to use -u") from None
                case "CrontabChanged":
                    raise SpoolFailure(_CHANGED) from None
            raise SpoolFailure(f"crontab: {answer.message}") from None
        except DaemonUnreachable as unreachable:
            start = printable(Instance.of(self._paths.run).start)
            told = _DOWN.format(unreachable.seen, start) if unreachable.is_down else unreachable.message
            raise SpoolFailure(f"crontab: {told}") from None


def _asker() -> str:
    """Return the name of the calling user."""
    return pwd.getpwuid(os.getuid()).pw_name  # a user without a name never gets here: such a user can't have a table


def _is_ours(host: Path) -> bool:
    """Return whether the caller owns this root directory, as with a daemon that the caller started with --root."""
    try:
        return host != Path("/") and host.stat().st_uid == os.geteuid()
    except OSError:
        return False
