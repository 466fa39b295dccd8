"""Files of other schedulers to import, from this host or named by the user. Nothing is executed."""

from __future__ import annotations

import errno
import grp
import os
import pwd
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from jobqueued.child.contract import atomic_file
from jobqueued.child.contract.trust import FileRefused
from jobqueued.crontabs.jobs import CronHost, TablePlace
from jobqueued.crontabs.names import of_table
from jobqueued.ctl.files.job_units import STANDARD_INPUT, read_file, user_of_daemon
from jobqueued.exchange import at_job
from jobqueued.exchange.crontab import read_table
from jobqueued.exchange.draft import ImportedFile, JobDraft, UniqueIds
from jobqueued.exchange.real_cron import Cron
from jobqueued.exchange.timer import read_timer
from jobqueued.exchange.unit_files import Unit, read_unit
from jobqueued.jobdir import kinds
from jobqueued.jobdir.cron_tables import host_of, kinds_by_place, kinds_of_host
from jobqueued.jobdir.scripts import Scripts
from jobqueued.jobfile.tree.yamltext import MAX_BYTES
from jobqueued.settings.paths import Paths
from jobqueued.settings.settings import Settings

_UNITS = tuple(
    map(
        Path, ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")
    )
)
"""systemd's unit directories."""
_AT_JOBS = Path("var/spool/cron/atjobs")
"""The spool directory of Debian's at, relative to the host's root directory."""


class SourceKind(StrEnum):
    """The kind of a source."""

    USER = "user"
    SYSTEM = "system"
    ANACRON = "anacrontab"
    TIMER = "timer"
    AT = "at"


class Unclear(Exception):
    """Raised if a file's name does not show its kind."""


@dataclass(frozen=True, slots=True)
class ImportFile:
    """A file to import and its content.

    `owner` is the table's user. `is_of_host` means that a cron on this host reads this file.
    """

    path: Path
    kind: SourceKind
    name: str
    data: bytes
    owner: str | None = None
    is_of_host: bool = False
    private: bool = False
    units: tuple[Unit, Unit | None] | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """The options of an import.

    `kind` and `user` apply to files whose path does not show them. `expand` makes a job for each script that run-parts
    runs. `cron` is the cron to compare with. `accepts`: whether lines whose jobs differ are imported.
    """

    kind: SourceKind | None = None
    user: str | None = None
    expand: bool = False
    cron: Cron = Cron.DEBIAN
    accepts: bool = False


Failure = tuple[Path, str]
"""The path of a file that can't be read, and the reason."""


def of_host(paths: Paths) -> Iterator[ImportFile | Failure]:
    """Yield the files that this host's cron, anacron and at read. For a refused file, yield the reason."""
    for directory, kind in kinds_by_place(paths, beside_anacron=True).items():
        for name in sorted(_names(directory), key=os.fsencode):
            if kind.reads(name):
                yield _read(directory / name, kind, paths)
    for name in sorted(_names(paths.host / _AT_JOBS)):
        if at_job.NAME.fullmatch(name):
            yield _at_job(paths.host / _AT_JOBS / name)


def named(paths: Paths, files: Iterable[Path], wish: Wish) -> Iterator[ImportFile | Failure]:
    """Yield the files that the user named. Raises Unclear."""
    places = kinds_of_host(paths)
    for file in files:
        place = places.get(file.absolute().parent)
        if wish.kind is None and place is not None and place.reads(file.name):
            yield _read(file.absolute(), place, paths)
        elif wish.kind is SourceKind.AT or (wish.kind is None and file.absolute().parent == paths.host / _AT_JOBS):
            yield _at_job(file)
        elif wish.kind is SourceKind.TIMER or (wish.kind is None and file.suffix == ".timer"):
            yield _timer(file)
        elif wish.kind is None and not os.path.lexists(file):
            raise Unclear(f"{file} does not exist")
        elif wish.kind is None:
            told = f"the name of {file} does not show its format; add --kind user, or --kind "
            told += "system (with a column of users)"
            raise Unclear(told)
        else:
            yield _plain(file, wish.kind, wish.user)


def installed_cron(host: Path) -> Cron:
    """Return the cron whose program is installed below this root directory, or Debian's if none is installed."""
    is_cronie = (host / "usr/sbin/crond").exists() and not (host / "usr/sbin/cron").exists()
    return Cron.CRONIE if is_cronie else Cron.DEBIAN


def has_user(name: str) -> bool:
    """Return whether the host has a user with this name."""
    try:
        pwd.getpwnam(name)
    except (KeyError, ValueError):
        return False
    return True


def place_of(found: ImportFile, wish: Wish) -> TablePlace:
    """Return a table's name, owner and format for the parser."""
    return TablePlace(found.name, found.owner, wish.expand, periodic=found.kind is SourceKind.ANACRON)


def sources(found: Iterable[ImportFile], config: Settings, wish: Wish, taken: set[str]) -> list[ImportedFile]:
    """Parse the files. `taken` contains the ids of other jobs, which new jobs can't get."""
    ids, scripts = UniqueIds(taken), Scripts(watched=False)
    host = host_of(config, config.zone)
    read = [_source(each, host._replace(scripts=scripts.of_table(str(each.path))), wish, ids) for each in found]
    groups = root_groups()
    for each, source in zip(found, read, strict=True):
        if groups and each.kind is not SourceKind.TIMER:
            source.drafts = [_with_groups(draft, groups) for draft in source.drafts]
    return read


def _with_groups(draft: JobDraft, groups: tuple[str, ...]) -> JobDraft:
    """Return root's job with these groups, which cron and at give root, unlike a job file without the key `groups`."""
    if draft.means.user != "root" or draft.keys.keys() & {"group", "groups"}:
        return draft
    return replace(draft, keys={**draft.keys, "groups": list(groups)}, means=replace(draft.means, groups=groups))


def root_groups() -> tuple[str, ...]:
    """Return the names of root's groups on this host, or () if root is only in its primary group."""
    try:
        primary = pwd.getpwnam("root").pw_gid
    except KeyError:
        return ()
    gids, names = os.getgrouplist("root", primary), list[str]()
    for gid in gids if {*gids} != {primary} else ():
        with suppress(KeyError):  # the group may have no name
            names.append(grp.getgrgid(gid).gr_name)
    return tuple(names)


def _source(found: ImportFile, host: CronHost, wish: Wish, ids: UniqueIds) -> ImportedFile:
    if found.kind is SourceKind.AT:
        return at_job.read_at_job(found.data, str(found.path), found.path.name, found.owner, host, ids)
    if found.units is not None:
        return read_timer(*found.units, str(found.path), found.name, host.timezone, ids)
    return read_table(found.data, str(found.path), found.name, place_of(found, wish), host, ids)


def _names(directory: Path) -> list[str]:
    with suppress(OSError):
        return os.listdir(directory)
    return []


def _read(path: Path, kind: kinds.DirectoryKind, paths: Paths) -> ImportFile | Failure:
    """Read a table that this host's cron reads, if cron would trust the file."""
    try:
        data = kind.read(str(path), user_of_daemon(paths), True)
        private = not path.stat().st_mode & 0o004
    except OSError as error:
        return path, f"cannot be read: {error.strerror}"
    except FileRefused as refused:
        return path, str(refused)
    if kind is kinds.SPOOL:
        return ImportFile(path, SourceKind.USER, of_table(path.name), data, path.name, is_of_host=True, private=private)
    kind_of = SourceKind.ANACRON if path.name == "anacrontab" else SourceKind.SYSTEM
    return ImportFile(path, kind_of, of_table(path.name), data, is_of_host=True, private=private)


def _plain(file: Path, kind: SourceKind, user: str | None) -> ImportFile | Failure:
    try:
        data = read_file(file)
        private = file == STANDARD_INPUT or not file.stat().st_mode & 0o004
    except OSError as error:
        return file, f"cannot be read: {error.strerror}"
    except FileRefused as refused:
        return file, str(refused)
    name = "stdin" if file == STANDARD_INPUT else file.name
    owner = None if kind is not SourceKind.USER else user or whoever_calls()
    return ImportFile(file, kind, of_table(name), data, owner, private=private)


def _at_job(file: Path) -> ImportFile | Failure:
    """Read a job of at(1); its user is the owner of the file."""
    try:
        data = atomic_file.content(str(file))
        found = file.stat()
    except OSError as error:
        return file, f"cannot be read: {error.strerror}"
    if found.st_nlink > 1:
        return file, f"found {found.st_nlink} hard links to this file; expected a file with one name"
    if at_job.uid_of(data) not in (None, found.st_uid):
        return file, "found a UID in the file that is not its owner's; expected a job file that at(1) wrote"
    user = None
    with suppress(KeyError):
        user = pwd.getpwuid(found.st_uid).pw_name
    return ImportFile(file, SourceKind.AT, file.name, data, user, is_of_host=True, private=True)


def _timer(file: Path) -> ImportFile | Failure:
    """Read a timer with its service and the drop-ins of both, from its directory or another unit directory."""
    try:
        if not file.is_file():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        timer = _unit(file)
        service = (timer.get("Timer", {}).get("Unit") or [f"{file.stem}.service"])[-1]
        place = next((d / service for d in (file.parent, *_UNITS) if (d / service).is_file()), None)
        units = (timer, None if place is None else _unit(place))
    except OSError as error:
        return file, f"cannot be read: {error.strerror}"
    return ImportFile(file, SourceKind.TIMER, file.stem, b"", units=units)


def _unit(file: Path) -> Unit:
    unit: Unit = {}
    for path in (file, *sorted(file.with_name(f"{file.name}.d").glob("*.conf"))):
        with open(atomic_file.to_read(str(path), follow=True), "rb") as data:
            read_unit(data.read(MAX_BYTES).decode(errors="replace"), unit)
    return unit


def whoever_calls() -> str:
    """Return the caller's user name, or the UID if it has no name."""
    with suppress(KeyError):
        return pwd.getpwuid(os.geteuid()).pw_name
    return str(os.geteuid())
