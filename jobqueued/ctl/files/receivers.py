"""Requirements for notices that this host probably does not meet: programs, credentials, packages, the sending user.

Only check and doctor check these requirements, because a missing program may be installed before a notice is sent. The
daemon reports notices that it could not send.
"""

from __future__ import annotations

import grp
import importlib.util
import os
import pwd
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from jobqueued.base.problem import Problem
from jobqueued.base.text import printable
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.notifier.addresses import meant, spelled, what_is
from jobqueued.model.catalog import written_in
from jobqueued.model.job import Job
from jobqueued.model.notify import Notify
from jobqueued.settings.paths import Paths
from jobqueued.settings.settings import Settings

_SENDMAIL = "/usr/sbin/sendmail"


class Sender(NamedTuple):
    """The user who sends notices."""

    name: str
    uid: int
    groups: frozenset[int]

    @classmethod
    def of(cls, name: str) -> Sender:
        """Return the user with this name. Raises KeyError."""
        entry = pwd.getpwnam(name)
        return cls(name, entry.pw_uid, frozenset(os.getgrouplist(name, entry.pw_gid)))

    @classmethod
    def of_uid(cls, uid: int) -> Sender:
        """Return the user with this UID, who may have no name, for example in a container."""
        try:
            return cls.of(pwd.getpwuid(uid).pw_name)
        except KeyError:
            return cls(f"uid {uid}", uid, frozenset(os.getgroups() if uid == os.geteuid() else ()))

    def may(self, wanted: int, path: str) -> bool:
        """Return whether the file's mode gives the user a permission (4 read, 1 execute).

        Raises OSError.
        """
        found = os.stat(path)
        shift = 6 if found.st_uid == self.uid else 3 if found.st_gid in self.groups else 0
        return self.uid == 0 or bool(found.st_mode >> shift & wanted)

    def barred(self, path: str) -> str:
        """Return the first directory above a file that the user can't enter, or "". Raises OSError."""
        parts = os.path.dirname(os.path.realpath(path)).split("/")
        above = ("/".join(parts[:length]) or "/" for length in range(1, len(parts) + 1))
        return next((directory for directory in above if not self.may(1, directory)), "")


def problems(jobs: Iterable[Job], config: Settings, paths: Paths, daemon: int) -> Iterator[Problem]:
    """Yield a warning for each unmet requirement: at a job's line, or in jobqueued.yaml for rules and mail.

    `daemon` is the daemon's UID.
    """
    jobs, file = tuple(jobs), str(paths.config)
    wishes = [rule.notify for rule in config.notify]
    sends = any(_sends(wish) for wish in (*wishes, *(job.notify for job in jobs)))
    if not (sends or config.heartbeat or any(job.ping for job in jobs)):
        return
    try:
        sender = Sender.of_uid(daemon) if daemon else Sender.of(config.notifier)
    except KeyError:
        yield Problem(file, 0, 0, "notifier", _NOBODY.format(config.notifier), "warning", code="JQ514")
        sender = Sender(config.notifier, 0, frozenset())  # the user is unknown: assume all rights
    if barred := _bars(sender, sys.executable):
        message = f"{sender.name} can't start {sys.executable}, because it may not enter {barred}"
        message += "; use a user who can, such as root"
        yield Problem(file, 0, 0, "notifier", message, "warning", code="JQ514")
    for code, key, message in [*_of_mail(config, sender, [*wishes, *(job.notify for job in jobs)])]:
        yield Problem(file, 0, 0, key, message, "warning", code=code)
    for wish in wishes:
        for code, key, message in _of_wish(wish, sender):
            yield Problem(file, 0, 0, key, message, "warning", code=code)
    for job in jobs:
        for code, key, message in [*_of_wish(job.notify, _sender_of(job, sender)), *_of_reach(job, config.users.reach)]:
            yield Problem(written_in(job), job.line, 0, key, message, "warning", job.id, code)


_NOBODY = (
    "found no user {!r} on this host, so no notice can be sent; "
    "use a user of this host, or create the user jobqueue: useradd --system jobqueue"
)


def _sender_of(job: Job, sender: Sender) -> Sender:
    """Return the user who sends a job's notices, or the usual sender if the job's owner no longer exists."""
    with suppress(KeyError):
        return sender if job.notify.owner is None else Sender.of(job.notify.owner.name)
    return sender


def _of_reach(job: Job, permitted: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield a problem for each URL with a forbidden address in a user's job. Only literal addresses are checked."""
    hooks = job.notify.webhook if job.notify.owner is not None else ()
    urls = [("notify.webhook", url) for hook in hooks for url in (hook.url, hook.proxy)]
    if job.ping is not None and job.ping.owner is not None:
        urls += [("ping", url) for url in (job.ping.url, job.ping.start, job.ping.success, job.ping.failure)]
    for key, url in urls:
        if message := _closed(url, permitted):
            yield "JQ520", key, message


def _closed(url: str, permitted: Sequence[str]) -> str:
    with suppress(ValueError):  # an invalid URL, or a host name, which is resolved later
        parts = urlsplit(url)
        ip = meant("127.0.0.1" if parts.hostname == "localhost" else parts.hostname or "")
        shown = spelled(ip, parts.port or {"http": 80}.get(parts.scheme, 443))
        if (what := what_is(ip)) and shown not in permitted:
            permit = f"unless root permits this one with `users: {{reach: ['{shown}']}}` in jobqueued.yaml"
            return f"{shown} is {what}, an address that users' notices can't reach; use another address, {permit}"
    return ""


def _sends(wish: Notify) -> bool:
    return next(wish.targets(), None) is not None


def _of_wish(wish: Notify, sender: Sender) -> Iterator[tuple[str, str, str]]:
    for path in wish.command:
        if message := _of_program(path, sender):
            yield "JQ515", "notify.command", message
    for hook in wish.webhook:
        if hook.secret_file and (message := _of_credential(hook.secret_file, sender, is_own=wish.owner is not None)):
            yield "JQ516", "notify.webhook.secret_file", message
    if wish.apprise and importlib.util.find_spec("apprise") is None:
        message = "the package apprise is not installed; install it (apt install apprise), or use another channel"
        yield "JQ517", "notify.apprise", message


def _of_mail(config: Settings, sender: Sender, wishes: Iterable[Notify]) -> Iterator[tuple[str, str, str]]:
    if not any(wish.email for wish in wishes):
        return
    if not config.mail.get("smtp"):
        path = config.mail.get("sendmail", _SENDMAIL)
        if message := _of_program(path, sender):
            yield "JQ515", "mail.sendmail", f"{message}, or `smtp` with a server"
    path = config.mail.get("password_file", "")
    if path and (message := _of_credential(path, sender)):
        yield "JQ516", "mail.password_file", message


def _of_program(path: str, sender: Sender) -> str:
    with suppress(PermissionError):
        try:
            mode = os.stat(path).st_mode
            if not (stat.S_ISREG(mode) and mode & 0o111):
                return f"{printable(path)} is not a program here; expected the path of a program"
            if (barred := sender.barred(path)) or not sender.may(1, path):
                why = f"because it may not enter {barred}" if barred else "because of its mode"
                return f"{sender.name} can't start {printable(path)} {why}; expected a program that it can start"
        except (FileNotFoundError, NotADirectoryError):
            return f"{printable(path)} does not exist here; expected the path of a program"
    return ""


def _remedy(path: str, sender: Sender, *, is_own: bool) -> str:
    return (
        "use a file that it may read"
        if is_own
        else f"to permit it: chgrp {_group(sender)} {printable(path)} && chmod 640 {printable(path)}"
    )


def _of_credential(path: str, sender: Sender, *, is_own: bool = False) -> str:
    with suppress(PermissionError):
        try:
            if os.stat(path).st_mode & (stat.S_IROTH | stat.S_IWOTH):
                shown = printable(path)
                return f"any user may read or write {shown}; to prevent it: chmod o= {shown}"
            if barred := sender.barred(path):
                place = "a directory that it may enter" + (", such as /etc/jobqueued" if not is_own else "")
                return f"{sender.name} may not enter {barred}; use {place}"
            if not sender.may(4, path):
                return f"{sender.name} may not read {printable(path)}; {_remedy(path, sender, is_own=is_own)}"
        except (FileNotFoundError, NotADirectoryError):
            return f"{printable(path)} does not exist here; expected a file whose only line is the secret"
    return ""


def _group(sender: Sender) -> str:
    with suppress(KeyError):
        return grp.getgrgid(pwd.getpwnam(sender.name).pw_gid).gr_name
    return sender.name


def _bars(sender: Sender, path: str) -> str:
    with suppress(OSError):
        return sender.barred(path)
    return ""
