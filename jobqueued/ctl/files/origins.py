"""The files for a name on the command line, and the file and line of each key in a job."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress

from jobqueued.base.text import printable
from jobqueued.child.contract.trust import FileRefused as Distrusted
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.ctl.base.client import CallRefused, DaemonUnreachable, ask
from jobqueued.ctl.files.job_units import Unit, units, user_of_daemon
from jobqueued.jobfile.merged_tree import merged_tree
from jobqueued.jobfile.tree.drop_ins import FileText, origins, parts_of
from jobqueued.jobfile.tree.yamltext import Mapping, YamlEntry, at_once
from jobqueued.settings.drop_in_files import file_of_drop_ins, is_job_file
from jobqueued.settings.paths import Paths


class Origin(NamedTuple):
    """The file and line of a job's key, which may be in `defaults`."""

    key: str
    file: str
    line: int


def parts_meant(paths: Paths, name: str) -> list[FileText]:
    """Return the file with its drop-ins, for a file name, a path or a job's id.

    Raises CallRefused if none exists; OSError or FileRefused if the file can't be read.
    """
    if os.path.basename(name) == paths.config.name or paths.has_settings(os.path.abspath(name)):
        from jobqueued.settings.settings import settings_parts

        return settings_parts([str(place) for place in paths.config_files], user_of_daemon(paths))
    found = _of_file(paths, name) if is_job_file(name) else _of_job(paths, name)
    if found is None:
        raise CallRefused(f"no such job file, and no such job: {printable(name)}; see: jobqueuectl list --files")
    return found


def _of_file(paths: Paths, name: str) -> list[FileText] | None:
    """Return a file with its drop-ins, by its name, its path or a drop-in's path, or None if the daemon has no such
    file.
    """
    directory, base = os.path.split(os.path.abspath(name) if "/" in name else name)
    if file := file_of_drop_ins(os.path.basename(directory)):
        directory, base = os.path.dirname(directory), file
    if directory and directory not in map(str, paths.job_directories):
        return None
    for unit in _units(paths):
        if os.path.basename(unit.file) == base:
            return parts_of(unit.text(), unit.file)
    return None


def _of_job(paths: Paths, job: str) -> list[FileText] | None:
    """Return the file with a job and its drop-ins, or None. Only the daemon can find jobs in cron's tables."""
    for unit in _units(paths):
        with suppress(OSError, Distrusted):
            parts = parts_of(unit.text(), unit.file)
            if job in _jobs(at_once(merged_tree(parts)).tree):
                return parts
    with suppress(DaemonUnreachable, CallRefused):
        file = str(ask(paths.control, "Describe", job=job, runs=0)["job"]["file"])
        with open(file, "rb") as stream:
            return [FileText(file, stream.read())]
    return None


def origins_of(paths: Paths, job: str) -> list[Origin]:
    """Return the places of all of a job's keys in the current files. Raises CallRefused if no file has the job."""
    for unit in _units(paths):
        with suppress(OSError, Distrusted):
            parts = parts_of(unit.text(), unit.file)
            tree = at_once(merged_tree(parts)).tree
            body = _jobs(tree).get(job)
            if isinstance(tree, Mapping) and body is not None:
                return list(_origins(tree, body, [part.path for part in parts]))
    raise CallRefused(f"{printable(job)} is in no job file; see: jobqueuectl list --files")


def _origins(tree: Mapping, body: YamlEntry, paths: Sequence[str]) -> Iterator[Origin]:
    defaults = tree.entries["defaults"].value if "defaults" in tree.entries else None
    own = body.value.entries if isinstance(body.value, Mapping) else {}
    shared = defaults.entries if isinstance(defaults, Mapping) else {}
    for key, file, line in origins(Mapping(0, 0, shared | dict(_with_shared(own, shared))), paths):
        yield Origin(key, file, line)


def _with_shared(own: dict[str, YamlEntry], shared: dict[str, YamlEntry]) -> Iterator[tuple[str, YamlEntry]]:
    """Yield a job's entries; mappings also get the entries that only `defaults` has."""
    for name, entry in own.items():
        below, value = shared[name].value if name in shared else None, entry.value
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            yield name, entry._replace(value=value._replace(entries=below.entries | value.entries))
        else:
            yield name, entry


def _jobs(tree: object) -> dict[str, YamlEntry]:
    jobs = tree.entries["jobs"].value if isinstance(tree, Mapping) and "jobs" in tree.entries else None
    return jobs.entries if isinstance(jobs, Mapping) else {}


def _units(paths: Paths) -> Iterator[Unit]:
    return (unit for unit in units(paths, (paths.jobs,)) if isinstance(unit, Unit))
