"""jobqueuectl import: convert crontabs and timers to job files, and compare the job files with their sources."""

from __future__ import annotations

import contextlib
import difflib
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from jobqueued.base.problem import Problem
from jobqueued.base.text import counted, printable
from jobqueued.child.contract import atomic_file
from jobqueued.ctl.base.problems import in_a_line
from jobqueued.ctl.base.terminal import json_option, print_json
from jobqueued.ctl.crontab import import_sources
from jobqueued.ctl.crontab.import_sources import ImportFile, SourceKind, Unclear, Wish
from jobqueued.ctl.files.job_files import read_files
from jobqueued.ctl.files.job_units import STANDARD_INPUT, user_of_daemon
from jobqueued.ctl.files.unlikely import misplaced_user
from jobqueued.exchange import proof, real_cron
from jobqueued.exchange.disabling import disabled
from jobqueued.exchange.draft import DIFFERS, SAID, ImportedFile, JobDraft, name_of_file
from jobqueued.exchange.job_file import text_of
from jobqueued.exchange.real_cron import Cron
from jobqueued.jobfile.reader import read_jobs
from jobqueued.model.job import Job
from jobqueued.settings.paths import Paths
from jobqueued.settings.settings import machine_id, read_settings


@dataclass(slots=True)
class Plan:
    """A job file to write: its source, path and text, and the current content at the path, or None if the file is
    missing.
    """

    found: ImportFile
    source: ImportedFile
    target: Path
    text: str
    old: str | None
    problems: list[Problem]
    is_good: bool


@click.command("import")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, readable=False), metavar="[FILE]...")
@click.option(
    "--kind",
    type=click.Choice([each.value for each in SourceKind]),
    help="Format of each FILE: a user's crontab, "
    "a crontab with a user column, or the named format.  [default: by its path]",
)
@click.option("--user", metavar="NAME", help="User of each FILE's crontab.  [default: you]")
@click.option("--expand", is_flag=True, help="Make one job for each script that run-parts runs.")
@click.option(
    "--as",
    "cron",
    type=click.Choice([each.value for each in Cron]),
    help="Read the tables like Debian's cron or like cronie.  [default: the installed one, else Debian's]",
)
@click.option("--accept-differences", is_flag=True, help="Import the lines whose jobs differ, too.")
@click.option("--dry-run", is_flag=True, help="Print the job files, and write nothing.  This is the default.")
@click.option("--diff", "as_diff", is_flag=True, help="Print the changes that --write would make in the job directory.")
@click.option("--write", is_flag=True, help="Write the job files into the job directory.")
@click.option("--force", is_flag=True, help="Overwrite job files that exist and differ.")
@click.option(
    "--disable-source", is_flag=True, help="With --write: turn the imported lines of the source into comments."
)
@json_option
@click.pass_obj
def import_jobs(
    paths: Paths,
    files: tuple[Path, ...],
    kind: str | None,
    user: str | None,
    expand: bool,
    cron: str | None,
    accept_differences: bool,
    dry_run: bool,
    as_diff: bool,
    write: bool,
    force: bool,
    disable_source: bool,
    as_json: bool,
) -> None:
    """Convert crontabs and systemd timers into job files.

    Without a FILE, the command reads all tables that this host's cron, anacron and at run: /etc/crontab, /etc/cron.d,
    users' crontabs, /etc/anacrontab, and the spool of at(1).  A FILE of - means standard input.  With a systemd timer,
    the command also reads its service and the drop-ins of both.  It runs no jobs, and without --write it changes no
    file.

    Each job does what cron would do.  Comments in the source are copied above the job.  The command then rereads each
    job file and compares it with its source: all fields, the next 1,000 due times, and the due times around each clock
    change in two years.  Debian's cron and cronie read tables in different ways: Debian's ignores CRON_TZ and
    RANDOM_DELAY, and ignores the whole table if one line has an error.  The command lists the first difference of each
    line, and each line that it does not import, with the reason.  A line whose job differs is not imported: it becomes
    a comment in the job file, and remains unchanged in its source.  With --accept-differences, the command imports
    these lines, too.

    Exits 1 if a line is not imported or a job differs, 2 if a file can't be read or written.

    \b
    Examples:
      jobqueuectl import
      jobqueuectl import --write --disable-source
      crontab -l | jobqueuectl import --kind user - >jobs.yaml
      jobqueuectl import --as cronie --kind system crontab.of.fedora
      jobqueuectl import /usr/lib/systemd/system/fstrim.timer
    """
    _check_usage(files, kind, user, write=write, disable=disable_source, others=dry_run + as_diff)
    whose = Cron(cron) if cron else import_sources.installed_cron(paths.host)
    plans, failures = _plans(
        paths, files, Wish(SourceKind(kind) if kind else None, user, expand, whose, accept_differences)
    )
    if as_json:
        print_json(_document(plans, failures))
    elif as_diff:
        _print(_diff(plan) for plan in plans)
    elif not write:
        _print(plan.text for plan in plans if plan.source.drafts)
    for path, why in failures:
        _to_stderr(f"{path}: {why}")
    if not as_json:
        _tell_of(plans, whose)
        if not (plans or failures):
            _to_stderr(f"no cron, anacron or at tables below {paths.host}")
    is_unwritten = write and _write(paths, plans, force=force, disable=disable_source)
    bad = any(problem.severity == "error" for plan in plans for problem in plan.problems)
    sys.exit(2 if failures or is_unwritten else int(bad))


def _check_usage(
    files: tuple[Path, ...], kind: str | None, user: str | None, *, write: bool, disable: bool, others: int
) -> None:
    if write + others > 1:
        raise click.UsageError("expected only one of --dry-run, --diff and --write")
    if disable and not write:
        raise click.UsageError("--disable-source needs --write")
    if kind and not files:
        raise click.UsageError("--kind needs a FILE")
    if user and kind != SourceKind.USER:
        raise click.UsageError("--user needs --kind user")


def _plans(paths: Paths, files: tuple[Path, ...], wish: Wish) -> tuple[list[Plan], list[import_sources.Failure]]:
    try:
        read = list(import_sources.named(paths, files, wish) if files else import_sources.of_host(paths))
    except Unclear as error:
        raise click.UsageError(str(error)) from None
    found = [each for each in read if isinstance(each, ImportFile)]
    config, _ = read_settings(paths.config, user_of_daemon(paths), paths.more_config)
    targets = [paths.jobs / name_of_file(_target(each)) for each in found]
    others = [job.id for job in read_files(paths, (paths.jobs,)).jobs if Path(job.file) not in targets]
    sources = import_sources.sources(found, config, wish, set(others))
    now = datetime.now(UTC).replace(microsecond=0)
    with _compared(sum(len(source.drafts) for source in sources)) as told:
        host = real_cron.RealCronHost(config.zone, now, import_sources.has_user)
        plans = [_plan(*each, host, wish, told) for each in zip(found, sources, targets, strict=True)]
    return plans, [each for each in read if not isinstance(each, ImportFile)]


_MANY = 100
"""Minimum number of jobs to show progress for; comparing them takes about a second."""
Told = Callable[[list[JobDraft]], Iterable[JobDraft]]


@contextlib.contextmanager
def _compared(jobs: int) -> Iterator[Told]:
    """Show the comparison's progress on a terminal; a job takes about 10 ms."""
    if jobs < _MANY or not _is_at_terminal():
        yield lambda drafts: drafts
        return
    with click.progressbar(length=jobs, label="Comparing with the source", file=sys.stderr) as bar:

        def told(drafts: list[JobDraft]) -> Iterator[JobDraft]:
            for draft in drafts:
                yield draft
                bar.update(1)

        yield told


def _is_at_terminal() -> bool:
    return sys.stderr.isatty()


def _target(found: ImportFile) -> str:
    if found.kind is SourceKind.TIMER:
        return f"timer-{found.name}"
    if found.kind is SourceKind.AT:
        return f"at-{found.name}"
    if found.is_of_host and found.path.name not in ("crontab", "anacrontab"):
        return f"crontab-{found.name}" if found.kind is SourceKind.USER else f"cron.d-{found.name}"
    return found.name


def _plan(
    found: ImportFile, source: ImportedFile, target: Path, host: real_cron.RealCronHost, wish: Wish, told: Told
) -> Plan:
    """Build a source's job file, parse the job file, and compare its jobs with the source.

    A line whose job is refused or differs becomes a comment, unless the user accepts differences.
    """
    lines = {draft.id: draft.line for draft in source.drafts}
    text, jobs, wrong = _written(found, source, target, host)
    refusals = list[Problem]()
    while refused := {problem.job for problem in wrong if problem.severity == "error"} & lines.keys():
        refusals += [problem for problem in wrong if problem.job in refused]
        source.leave_out(refused)
        text, jobs, wrong = _written(found, source, target, host)
    is_good = not source.drafts or not any(problem.severity == "error" for problem in wrong)
    own = [
        problem._replace(file=source.file, line=lines.get(problem.job, 0), column=0)
        for problem in refusals + wrong
        if problem.severity == "error" or problem.key not in SAID
    ]
    if source.drafts and is_good:
        own += _differences(found, source, jobs, host, wish, told)
        differing = {problem.job for problem in own if problem.code == DIFFERS}
        if differing and not wish.accepts:
            source.leave_out(lines if "" in differing else differing)
            text, _, _ = _written(found, source, target, host)
    return Plan(found, source, target, text, _content(target), [*source.problems, *own], is_good)


def _written(
    found: ImportFile, source: ImportedFile, target: Path, host: real_cron.RealCronHost
) -> tuple[str, tuple[Job, ...], list[Problem]]:
    """Return the text of a source's job file, and the jobs and problems that the daemon would find in this text."""
    where = "standard input" if found.path == STANDARD_INPUT else printable(str(found.path))
    text = text_of(source.drafts, f"From {where}, by jobqueuectl import.", source.head, source.tail)
    return text, *read_jobs(text.encode(), str(target), timezone=host.zone, seed=machine_id())


def _differences(
    found: ImportFile,
    source: ImportedFile,
    jobs: Iterable[Job],
    host: real_cron.RealCronHost,
    wish: Wish,
    told: Told,
) -> list[Problem]:
    """Return the differences between a source and its jobs, and warnings about the source's users."""
    own = proof.problems(source.file, proof.check(told(source.drafts), jobs, host.now))
    if found.kind is SourceKind.USER:
        users = ((draft, misplaced_user(draft.means)) for draft in source.drafts)
        own += [Problem(source.file, it.line, 0, "", text, "warning", it.id, "JQ608") for it, text in users if text]
    if found.kind not in _OFF:
        form = import_sources.place_of(found, wish).form
        host = host if found.is_of_host else host._replace(has_user=lambda _: True)  # may come from another host
        own += real_cron.problems(source.file, found.data, form, source.drafts, wish.cron, host)
    return own


def _content(target: Path) -> str | None:
    try:
        return atomic_file.content(str(target)).decode(errors="replace")
    except OSError:
        return None


# ── messages ──


def _document(plans: list[Plan], failures: Iterable[import_sources.Failure]) -> dict[str, Any]:
    entries = [{"file": plan.source.file, **row} for plan in plans for row in plan.source.rows]
    written = [
        {"source": plan.source.file, "target": str(plan.target), "jobs": len(plan.source.drafts), "text": plan.text}
        for plan in plans
        if plan.source.drafts
    ]
    problems = [problem._asdict() for plan in plans for problem in plan.problems]
    problems += [Problem(str(path), 0, 0, "", why, code="JQ501")._asdict() for path, why in failures]
    return {"entries": entries, "files": written, "problems": problems}


def _print(texts: Iterable[str]) -> None:
    sys.stdout.write("\n".join(filter(None, texts)))
    sys.stdout.flush()


def _diff(plan: Plan) -> str:
    if not plan.source.drafts:
        return ""
    old, new = (plan.old or "").splitlines(keepends=True), plan.text.splitlines(keepends=True)
    name = str(plan.target)
    return "".join(difflib.unified_diff(old, new, "/dev/null" if plan.old is None else name, name))


def _to_stderr(text: str) -> None:
    click.echo(printable(text), err=True)


def _tell_of(plans: list[Plan], cron: Cron) -> None:
    for plan in plans:
        for problem in plan.problems:
            _to_stderr(in_a_line(problem))
        jobs, left = len(plan.source.drafts), _not_imported(plan.source)
        told = f"{plan.source.file}: {counted(jobs, 'job')}"
        told += f", {counted(left, 'line')} not imported" if left else ""
        if jobs and plan.is_good and not _differs(plan):
            differs = any(draft.differs for draft in plan.source.drafts)
            told += (
                ", equal to its source except for the differences above" if differs else ", each equal to its source"
            )
            told += (
                f", as {cron.sentence_name} runs it" if plan.found.kind in (SourceKind.USER, SourceKind.SYSTEM) else ""
            )
        _to_stderr(told)


def _differs(plan: Plan) -> bool:
    """Return whether a job of the file differs from its line, because the user accepts differences."""
    ids = {"", *(draft.id for draft in plan.source.drafts)}
    return any(problem.code == DIFFERS and problem.job in ids for problem in plan.problems)


def _not_imported(source: ImportedFile) -> int:
    return sum(row["type"] == "error" or (row["type"] == "job" and row["id"] is None) for row in source.rows)


# ── writing ──


def _write(paths: Paths, plans: list[Plan], *, force: bool, disable: bool) -> bool:
    """Write the valid job files; return whether any could not be written."""
    failed = False
    for plan in plans:
        if not plan.source.drafts:
            continue
        if why := _hindrance(paths, plan, force=force, disable=disable):
            _to_stderr(f"{plan.target}: not written: {why}")
            failed = True
            continue
        try:
            if plan.old != plan.text:
                atomic_file.replace(str(plan.target), plan.text.encode(), 0o600 if plan.found.private else 0o644)
            _to_stderr(f"{plan.target}: {'unchanged' if plan.old == plan.text else 'written'}")
        except OSError as error:
            _to_stderr(f"{plan.target}: not written: {error.strerror}")
            failed = True
            continue
        if plan.found.kind in _OFF:
            _to_stderr(f"{plan.source.file}: unchanged; to switch it off: {_off(plan.found)}")
        elif disable:
            failed |= not _disable(plan)
        elif plan.found.is_of_host:
            _to_stderr(
                f"{plan.source.file}: unchanged; a cron that reads it runs these jobs a second time (see"
                " --disable-source)"
            )
    return failed


def _hindrance(paths: Paths, plan: Plan, *, force: bool, disable: bool) -> str:
    """Return why a job file must not be written, or ""."""
    config, _ = read_settings(paths.config, user_of_daemon(paths), paths.more_config)
    if not plan.is_good:
        return "it would be refused"
    if plan.old not in (None, plan.text) and not force:
        return "it exists and differs; to compare, use --diff; to overwrite it, use --force"
    if config.cron.get("live") and plan.found.is_of_host and plan.found.kind not in _OFF and not disable:
        return (
            f"jobqueued already runs {plan.source.file} (`cron: {{live: true}}` in {paths.config}); add"
            " --disable-source"
        )
    if disable and (plan.found.path == STANDARD_INPUT or plan.found.path.is_symlink()):
        return f"{plan.source.file} is not a regular file, so its lines can't be turned into comments"
    return ""


_OFF = (SourceKind.TIMER, SourceKind.AT)
"""Kinds of sources whose lines can't be turned into comments."""


def _off(found: ImportFile) -> str:
    """Return the command that turns a source off."""
    if found.kind is SourceKind.AT:
        return f"atrm {int(found.name[1:6], 16)}"
    manager = "systemctl --user" if "/systemd/user/" in str(found.path.absolute()) else "systemctl"
    return f"{manager} disable --now {found.path.name}"


def _disable(plan: Plan) -> bool:
    """Turn the imported lines into comments, unless the file changed after it was read.

    Return whether this succeeded.
    """
    path = plan.found.path
    new = path.with_name(f".{path.name}.jobqueued")
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or path.read_bytes() != plan.found.data:
            _to_stderr(
                f"{path}: not changed, because another program changed it; its jobs now run twice;"
                " repeat the import with --force"
            )
            return False
        atomic_file.replace(str(new), disabled(plan.found.data, plan.source.used), stat.S_IMODE(found.st_mode))
        os.chown(new, found.st_uid, found.st_gid)
        os.chmod(new, stat.S_IMODE(found.st_mode))
        os.rename(new, path)
    except OSError as error:
        new.unlink(missing_ok=True)
        _to_stderr(f"{path}: not changed: {error.strerror}; its jobs now run twice")
        return False
    _to_stderr(f"{path}: {counted(len(plan.source.used), 'line')} turned into comments")
    return True
