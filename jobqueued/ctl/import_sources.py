"""The files of other schedulers on this host, or named ones, read for an import; nothing in them is executed."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from jobqueued.child.trust import Refused
from jobqueued.crontabs.jobs import Host, Place
from jobqueued.crontabs.names import of_table
from jobqueued.ctl.job_files import STANDARD_INPUT, read_file, user_of_daemon
from jobqueued.exchange.crontab import read_table
from jobqueued.exchange.draft import Ids, Source
from jobqueued.jobdir import kinds
from jobqueued.jobdir.cron_tables import takes_mails
from jobqueued.jobdir.scripts import Scripts
from jobqueued.paths import Paths
from jobqueued.settings import Settings, machine_id


class Kind(StrEnum):
    """The kinds of sources."""

    USER = "user"
    SYSTEM = "system"


class Unclear(Exception):
    """Nobody can tell by its name of what kind a file is."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file to import, as it was read: `owner` is whose table it is, `is_of_host`: where a cron of this host looks."""

    path: Path
    kind: Kind
    name: str
    data: bytes
    owner: str | None = None
    is_of_host: bool = False
    private: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """A wish for an import: `kind` and `user` of files that don't tell, and if run-parts is taken apart."""

    kind: Kind | None = None
    user: str | None = None
    expand: bool = False


Failure = tuple[Path, str]
"""A file that can't be read, and why."""


def of_host(paths: Paths) -> Iterator[Found | Failure]:
    """Yield the tables of this host that its cron would run, and those that it would not, with the reason."""
    etc, cron_d, spool = paths.crontabs
    for kind, directory in ((kinds.CRONTAB, etc), (kinds.CRON_D, cron_d), (kinds.SPOOL, spool)):
        for name in sorted(_names(directory), key=os.fsencode):
            if kind.reads(name):
                yield _read(directory / name, kind, paths)


def named(paths: Paths, files: Iterable[Path], wish: Wish) -> Iterator[Found | Failure]:
    """Yield files that somebody has named; Unclear."""
    places = dict(zip(paths.crontabs, (kinds.CRONTAB, kinds.CRON_D, kinds.SPOOL), strict=True))
    for file in files:
        place = places.get(file.absolute().parent)
        if wish.kind is None and place is not None and place.reads(file.name):
            yield _read(file.absolute(), place, paths)
        elif wish.kind is None:
            told = f"cannot tell by its name what {file} is; say it with --kind user, or --kind system (with users)"
            raise Unclear(told)
        else:
            yield _plain(file, wish.kind, wish.user)


def sources(found: Iterable[Found], config: Settings, wish: Wish, taken: set[str]) -> list[Source]:
    """Read what was found; `taken` are the ids that others have."""
    ids, scripts = Ids(taken), Scripts()
    host = Host(config.timezone, machine_id(), mails=takes_mails(config))
    return [_source(each, host._replace(scripts=scripts.of_table(str(each.path))), wish, ids) for each in found]


def _source(found: Found, host: Host, wish: Wish, ids: Ids) -> Source:
    place = Place(found.name, found.owner, wish.expand)
    return read_table(found.data, str(found.path), found.name, place, host, ids)


def _names(directory: Path) -> list[str]:
    with suppress(OSError):
        return os.listdir(directory)
    return []


def _read(path: Path, kind: kinds.Kind, paths: Paths) -> Found | Failure:
    """Read a table where cron looks for it, if it is one that cron would trust."""
    try:
        data = kind.read(str(path), user_of_daemon(paths), True)
        private = not path.stat().st_mode & 0o004
    except OSError as error:
        return path, f"cannot be read: {error.strerror}"
    except Refused as refused:
        return path, str(refused)
    if kind is kinds.SPOOL:
        return Found(path, Kind.USER, of_table(path.name), data, path.name, is_of_host=True, private=private)
    return Found(path, Kind.SYSTEM, of_table(path.name), data, is_of_host=True, private=private)


def _plain(file: Path, kind: Kind, user: str | None) -> Found | Failure:
    try:
        data = read_file(file)
        private = file == STANDARD_INPUT or not file.stat().st_mode & 0o004
    except OSError as error:
        return file, f"cannot be read: {error.strerror}"
    except Refused as refused:
        return file, str(refused)
    name = "stdin" if file == STANDARD_INPUT else file.name
    owner = None if kind is Kind.SYSTEM else user or whoever_calls()
    return Found(file, kind, of_table(name), data, owner, private=private)


def whoever_calls() -> str:
    """The name of the user who calls this."""
    with suppress(KeyError):
        return pwd.getpwuid(os.geteuid()).pw_name
    return str(os.geteuid())
