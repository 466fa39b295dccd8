"""The crontab of one user: who owns the spool reads and writes it there, everybody else asks the daemon."""

from __future__ import annotations

import base64
import contextlib
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

from jobqueued.child import spool_log
from jobqueued.child.spool import LARGEST_SENT, NONE, Changed, Refused, Spool, allowed, fits, unreadable
from jobqueued.child.tuples import NamedTuple
from jobqueued.control.varlink import Message
from jobqueued.ctl.client import TIMEOUT, Unreachable, ask
from jobqueued.ctl.client import Refused as Answer
from jobqueued.instance import Instance
from jobqueued.jobdir.kinds import SPOOL
from jobqueued.paths import Paths
from jobqueued.text import printable, size


class Failure(Exception):
    """Failure of what is asked for: str() is what is told."""


class Owner(NamedTuple):
    """The user whose table it is."""

    name: str
    uid: int


_FORBIDDEN = "You ({}) are not allowed to use this program (crontab)\nSee crontab(1) for more information"
_CHANGED = "crontab: the table has been changed since this edit began, by another one or by a program"
_DOWN = "{}\ncrontab: nothing was done, as it alone sees to the tables of those who are not root; as root: {}"
_FORBIDDEN_ROOT = "The user {} cannot use this program (crontab)"


def no_crontab(owner: Owner) -> str:
    """The words of Debian's crontab, which programs look for."""
    return f"no crontab for {owner.name}"


class Table:
    """The table of a user."""

    def __init__(self, paths: Paths, owner: Owner) -> None:
        self._paths, self._owner, self._spool = paths, owner, Spool(str(paths.host))
        self._direct = os.geteuid() == 0 or _is_ours(paths.host)
        self.is_run = True
        """After `install`: this host's daemon, or another cron, runs what is in crontabs."""
        if not (fits(owner.name) and SPOOL.reads(owner.name)):
            raise Failure(
                f"crontab: {printable(owner.name)!r} can't have a crontab, as a file of that name is not read"
            )
        if self._direct:
            self._check_right()

    def _check_right(self) -> None:
        """Failure, if cron.allow or cron.deny says so; the daemon looks there itself."""
        forbidden = (_FORBIDDEN_ROOT if os.getuid() == 0 else _FORBIDDEN).format(self._owner.name)
        try:
            if not allowed(str(self._paths.host), self._owner.name, os.getuid()):
                if os.getuid() != 0:
                    spool_log.say_forbidden(str(self._paths.host), _asker(), os.getpid())
                raise Failure(forbidden)
        except Refused as refused:
            raise Failure(f"{refused}\n{forbidden}") from None

    def read(self, *, edits: bool = False) -> tuple[bytes, str]:
        """The table as the spool has it, and its stamp; b"", NONE: there is none.  Failure.  `edits`: for an edit."""
        if self._direct:
            self._log(spool_log.BEGIN_EDIT if edits else spool_log.LIST)
            with self._told():
                return self._spool.read(*self._owner)
        answer = self._ask("CrontabGet", edit=edits)
        return (b"", NONE) if answer is None else (base64.b64decode(answer["table"]), answer["stamp"])

    def install(self, table: bytes, stamp: str | None = None) -> None:
        """Put a table in place, if there is the one of that stamp, where one is given; Failure."""
        from jobqueued.host.other_cron import other_cron
        from jobqueued.settings import read_settings

        if self._direct:
            with self._told():
                self._spool.install(*self._owner, table, stamp)
            self._log(spool_log.REPLACE)
            live = bool(read_settings(self._paths.config, more=self._paths.more_config)[0].cron.get("live"))
        else:
            if len(table) > LARGEST_SENT:
                most = f"accepted: at most {size(LARGEST_SENT)}, and more of root"
                raise Failure(f"crontab: the table has {size(len(table))}; {most}")
            answer = self._ask("CrontabSet", table=base64.b64encode(table).decode(), stamp=stamp)
            live = answer is not None and answer["live"]
        self.is_run = live or bool(other_cron(self._paths.host))

    def remove(self) -> bool:
        """Remove the table; False: there is none.  Failure."""
        if self._direct:
            with self._told():
                is_removed = self._spool.remove(*self._owner)
            if is_removed:
                self._log(spool_log.DELETE)
            return is_removed
        return self._ask("CrontabRemove") is not None

    def end_edit(self) -> None:
        """Tell syslog that an edit is over: of that the daemon does not know."""
        self._log(spool_log.END_EDIT)

    def _log(self, event: str) -> None:
        """Tell syslog what this process has done; what the daemon's side does it tells itself, as the kernel knows."""
        spool_log.say(str(self._paths.host), _asker(), event, self._owner.name, os.getpid())

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Changed:
            raise Failure(_CHANGED) from None
        except Refused as refused:
            raise Failure(f"crontab: {refused}") from None
        except OSError as error:
            raise Failure(f"crontab: {self._spool.path}: {error.strerror}") from None

    def _ask(self, method: str, **parameters: str | bool | None) -> Message | None:
        """The daemon's answer, None: there is no crontab; Failure."""
        try:
            return ask(self._paths.control, method, TIMEOUT, user=self._owner.name, **parameters)
        except Answer as answer:
            match answer.error:
                case "NoCrontab":
                    return None
                case "NotAllowed":
                    why = [unreadable(str(self._paths.host)), _FORBIDDEN.format(self._owner.name)]
                    raise Failure("\n".join(filter(None, why))) from None
                case "PermissionDenied":
                    raise Failure("must be privileged to use -u") from None
                case "CrontabChanged":
                    raise Failure(_CHANGED) from None
            raise Failure(f"crontab: {answer.message}") from None
        except Unreachable as unreachable:
            start = printable(Instance.of(self._paths.run).start)
            told = _DOWN.format(unreachable.seen, start) if unreachable.is_down else unreachable.message
            raise Failure(f"crontab: {told}") from None


def _asker() -> str:
    """The user who asks."""
    return pwd.getpwuid(os.getuid()).pw_name  # there is one, as of whom there is none is no table


def _is_ours(host: Path) -> bool:
    """True if the root below which a daemon of --root has its tables is of the user who asks."""
    try:
        return host != Path("/") and host.stat().st_uid == os.geteuid()
    except OSError:
        return False
