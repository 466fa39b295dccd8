"""Cron's tables as watched files; each line is a job."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jobqueued.crontabs.jobs import CronHost, TablePlace, read_jobs_in_steps
from jobqueued.crontabs.names import of_table
from jobqueued.host.other_cron import REBOOTED
from jobqueued.jobdir.kinds import CRON_D, CRONTAB, CRONTAB_AND_ANACRONTAB, SPOOL, DirectoryKind
from jobqueued.jobdir.scripts import Scripts
from jobqueued.jobfile.tree.yamltext import Steps, at_once
from jobqueued.model.job import Job
from jobqueued.settings.paths import Paths
from jobqueued.settings.settings import Settings, machine_id

if TYPE_CHECKING:
    from jobqueued.jobdir.acceptance import Content, Read

_ANACRON = "usr/sbin/anacron"
_ROOT = "root"
_TOLD = b"\n#!jobqueued "
"""Separates a table from its scripts' names in the text that is saved for the history of due jobs."""


def readers(
    paths: Paths, config: Settings, scripts: Scripts, zone: Callable[[], str], *, boots: bool = True
) -> list[tuple[Path, Read, DirectoryKind]]:
    """Return each directory of cron's tables with its reader and kind; `zone` returns the host's zone.

    `boots`: whether this may be the daemon's first start after a boot.
    """
    boots = boots and not (paths.host / REBOOTED).exists()
    host = host_of(config)._replace(boots=boots)
    expand = config.cron.get("expand", False)
    places = kinds_by_place(paths).items()
    return [(directory, partial(_read, kind, host, zone, scripts, expand), kind) for directory, kind in places]


def kinds_by_place(paths: Paths, *, beside_anacron: bool = False) -> dict[Path, DirectoryKind]:
    """Return the directories of cron's tables with their kinds; anacrontab is included if anacron is not installed.

    `beside_anacron`: include anacrontab even if anacron is installed.
    """
    has_own = not beside_anacron and os.access(paths.host / _ANACRON, os.X_OK)
    kinds = CRONTAB if has_own else CRONTAB_AND_ANACRONTAB, CRON_D, SPOOL
    return dict(zip(paths.crontabs, kinds, strict=True))


def kinds_of_host(paths: Paths) -> dict[Path, DirectoryKind]:
    """Return all directories that may contain tables, below the daemon's root and below the host's root."""
    return {**kinds_by_place(Paths.system(), beside_anacron=True), **kinds_by_place(paths, beside_anacron=True)}


def _read(
    kind: DirectoryKind, host: CronHost, zone: Callable[[], str], scripts: Scripts, expand: bool, data: bytes, path: str
) -> Steps[Content]:
    host = host._replace(timezone=zone(), scripts=scripts.of_table(path))
    return read_jobs_in_steps(data, path, place_of(kind, path, expand=expand), host)


def with_scripts(scripts: Scripts | None, expand: bool, name: str, text: bytes) -> bytes:
    """Return a table's text for the history of due jobs, with the names of the scripts that its run-parts lines run."""
    told = {} if scripts is None else scripts.reported_to(name)
    return text + _TOLD + json.dumps({"expand": expand, "scripts": told}).encode() if told else text


def jobs_of_text(name: str, text: bytes, host: CronHost) -> tuple[Job, ...]:
    """Return the jobs in a string that `with_scripts` made."""
    kind = next((kind for kind in (CRON_D, SPOOL) if name.startswith(kind.prefix)), CRONTAB)
    table, expand, scripts = _apart(text) if kind is not SPOOL or os.path.basename(name) == _ROOT else (text, False, {})
    place = place_of(kind, name, expand=expand)
    return at_once(read_jobs_in_steps(table, name, place, host._replace(scripts=scripts)))[0]


def _apart(text: bytes) -> tuple[bytes, bool, dict[str, tuple[str, ...]]]:
    """Split a string that `with_scripts` made into the table, `expand` and the scripts."""
    table, _, told = text.rpartition(_TOLD)
    try:
        noted = json.loads(told)
        return table, noted["expand"], {directory: tuple(names) for directory, names in noted["scripts"].items()}
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):  # not our separator
        return text, False, {}


def place_of(kind: DirectoryKind, path: str, *, expand: bool = False) -> TablePlace:
    """Return a table's place, the prefix of its jobs' ids: crontab, anacrontab, cron.d/NAME or crontabs/USER."""
    name = os.path.basename(path)
    if kind.prefix == CRONTAB.prefix:
        return TablePlace(name, expand=expand, periodic=name == "anacrontab")
    if kind is SPOOL:  # without `expand`, because listing a user's directory may hang
        return TablePlace(kind.prefix + of_table(name), name)
    return TablePlace(kind.prefix + of_table(name), expand=expand)


def host_of(config: Settings, timezone: str = "") -> CronHost:
    """Return the facts about this host that affect tables, given these settings."""
    any_sender = "notify" in config.users.permit
    return CronHost(timezone, machine_id(), takes_mails(config), name=os.uname().nodename, any_sender=any_sender)


def takes_mails(config: Settings) -> bool:
    """Return whether the host can send mail.

    Without mail, cron drops the output of jobs; the daemon keeps it in records.
    """
    return "smtp" in config.mail or os.access(config.mail.get("sendmail", "/usr/sbin/sendmail"), os.X_OK)
