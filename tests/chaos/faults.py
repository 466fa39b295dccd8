"""The faults themselves: each condition is a context, in which blows fall."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from jobqueued.base.filenames import named_by_file
from tests.chaos import known, pairs, processes, shortages
from tests.chaos.daemon import Host
from tests.chaos.disks import Busy, files_below
from tests.chaos.episodes import ALL, Blow, Episode
from tests.chaos.known import Told
from tests.chaos.overwritten import HARM, overwritten
from tests.chaos.processes import LAUNCHER, NOTIFIER, SCHEDULER, SUPERVISOR
from tests.chaos.shortages import Condition
from tests.chaos.timeline import FOREVER, WRITTEN_BACK, Hurt, Killed, Span

_AWAY = 4_700_000_000
"""A job file that was away for longer (ns) may have been taken for removed: 5 s are promised."""
_ALSO_BROKEN, _SETTLED = 0.3, 2.0
_UNTIL_TOLD = 3.0
"""Somebody is to be told of something within so many seconds."""
_UNSYNCED = 10**9
"""Records may be written that long (ns) before a disk fails, and after those that are there were noted."""
_UNTIL_FREE = 25.0
"""After so many seconds those who keep a disk from being mended are killed."""


def carry_out(host: Host, episode: Episode) -> None:
    """Bring the condition about, strike the blows, and lift it."""
    rng = random.Random(episode.draw)
    host.sleep(episode.calm)
    begin = time.monotonic()
    with CONDITIONS[episode.kind](host, episode, rng):
        for blow in episode.blows:
            host.sleep(begin + blow.after - time.monotonic())
            strike(host, blow, rng)
        if episode.kind not in ("second", "cut", "damage", "pairs"):
            host.sleep(begin + episode.seconds - time.monotonic())


def strike(host: Host, blow: Blow, rng: random.Random) -> None:
    """Kill what a blow is for, all at once."""
    if blow.term:
        host.timeline.say(f"SIGTERM, and a start {blow.down:.1f} s later", "restart")
        host.end(signal.SIGTERM, blow.down)
        return
    pids = _someone(host, blow.roles)
    supervisors = sorted(pid for pid, role in pids.items() if role == SUPERVISOR)
    chosen = set(rng.sample(supervisors, round(len(supervisors) * blow.share)))
    victims = [pid for pid, role in pids.items() if role in blow.roles and (role != SUPERVISOR or pid in chosen)]
    rng.shuffle(victims)
    words = " ".join(f"{pids[pid]}:{pid}{'*' * processes.busy(pid)}" for pid in victims)
    if not victims:
        return
    host.timeline.say(f"kill -9 {words}", f"kill {_named({pids[pid] for pid in victims})}")
    _kill(host, pids, victims)
    if SCHEDULER in blow.roles:
        host.end(signal.SIGKILL, blow.down)


def _named(roles: set[str]) -> str:
    """Those that were struck, in words: ``scheduler+launcher``."""
    return "+".join(sorted(roles, key=(SCHEDULER, LAUNCHER, SUPERVISOR, NOTIFIER).index))


def _someone(host: Host, roles: tuple[str, ...]) -> dict[int, str]:
    """All processes; where notifiers are meant, which live for a moment, as soon as there is one."""
    until = time.monotonic() + _UNTIL_TOLD
    while True:
        pids = host.pids()
        if NOTIFIER not in roles or NOTIFIER in pids.values() or time.monotonic() > until:
            return pids
        host.sleep(0.005)


def _kill(host: Host, pids: dict[int, str], victims: list[int]) -> None:
    for pid in victims:
        if pids[pid] == SUPERVISOR:
            host.timeline.killed.append(Killed(pid, time.time_ns()))
        processes.send(pid, signal.SIGKILL)


@contextmanager
def nothing(_host: Host, _episode: Episode, _rng: random.Random) -> Iterator[None]:
    """Only blows."""
    yield


@contextmanager
def stopped(host: Host, episode: Episode, rng: random.Random) -> Iterator[None]:
    """Stop processes, and let them go on."""
    found = {pid: role for pid, role in _someone(host, episode.about).items() if role in episode.about}
    supervisors = [pid for pid, role in found.items() if role == SUPERVISOR]
    spared = rng.sample(supervisors, 0 if len(episode.about) == ALL else len(supervisors) // 3)
    victims = [pid for pid in found if pid not in spared]
    struck = _named({found[pid] for pid in victims})
    host.timeline.say(
        f"SIGSTOP {victims} ({struck or 'nobody'}) for {episode.seconds:.1f} s", f"stop {struck}" if struck else ""
    )
    for pid in victims:
        processes.send(pid, signal.SIGSTOP)
    yield
    for pid in victims:
        processes.send(pid, signal.SIGCONT)
    host.timeline.say("SIGCONT")


@contextmanager
def full(host: Host, episode: Episode, _rng: random.Random) -> Iterator[None]:
    """Fill disks to the last block."""
    host.timeline.say(f"{'+'.join(episode.about)} full for {episode.seconds:.1f} s", f"full {'+'.join(episode.about)}")
    for name in episode.about:
        host.disks[name].fill()
    yield
    for name in episode.about:
        host.disks[name].free()
    host.timeline.say("room again")


@contextmanager
def read_only(host: Host, episode: Episode, _rng: random.Random) -> Iterator[None]:
    """Mount a disk read-only: that of the state while the daemon is down, as it has a file open there."""
    name = episode.about[0]
    if name == "state":
        host.end(signal.SIGKILL, 0.2)
    try:
        host.disks[name].read_only()
    except Busy as busy:
        host.timeline.say(f"not read-only: {busy}")
        yield
        return
    host.timeline.say(f"{name} read-only for {episode.seconds:.1f} s", f"readonly {name}")
    yield
    host.disks[name].writable()
    host.timeline.say("writable again")


@contextmanager
def aborted(host: Host, episode: Episode, _rng: random.Random) -> Iterator[None]:
    """Let a disk fail under the living daemon; it is stopped for the repair."""
    name, how = episode.about
    disk = host.disks[name]
    begin, before = time.time_ns(), _records(host) if name == "logs" else {}
    host.timeline.say(f"{how} of {name}, mended in {episode.seconds:.1f} s", f"{how} {name}")
    (disk.abort if how == "abort" else disk.shut_down)()
    yield
    if name == "logs":
        host.timeline.logs_lost.append(Span(begin - _UNSYNCED, time.time_ns()))
    host.end(signal.SIGKILL, 3600)
    until = time.monotonic() + _UNTIL_FREE
    while True:
        try:
            disk.mend()
            break
        except Busy:
            if time.monotonic() > until:
                pids = {pid: role for pid, role in host.pids().items() if role == SUPERVISOR}
                host.timeline.say(f"killed, as they keep {name}: {[*pids]}")
                _kill(host, pids, [*pids])
            host.sleep(0.2)
    after = _records(host) if name == "logs" else {}
    hurt = [run for run, text in before.items() if after.get(run) != text]
    host.timeline.records_hurt |= dict.fromkeys(hurt, time.time_ns())
    host.timeline.say(f"{name} mended; {len(hurt)} records are gone or differ")
    host.end(signal.SIGKILL, 0)


@contextmanager
def hurt(host: Host, episode: Episode, rng: random.Random) -> Iterator[None]:
    """Cut or damage files while the daemon is down (the blows may have killed others, too)."""
    begin = time.time_ns()
    host.end(signal.SIGKILL, 3600)
    yield
    host.end(signal.SIGKILL, 3600)
    state_is_hurt = any(about.startswith("state") for about in episode.about)
    knew = known.read(host.root / "state" / "state.db", _in_files(host)) if state_is_hurt else None
    for about in episode.about:
        found = _files(host, about)
        for file in rng.sample(found, min(len(found), 1 if about.startswith("state") else 3)):
            harm = HARM[episode.kind](file, rng)
            host.timeline.say(f"{file.relative_to(host.root)}: {harm}", f"{episode.kind} {about}")
            if about == "records":
                host.timeline.records_hurt[_run_of(file)] = time.time_ns()
            elif about == "marks":
                host.timeline.marks_hurt.add(named_by_file(file.parent.name))
    if "state.db-wal" in episode.about:
        host.timeline.wal_hurt.append(time.time_ns())
    if state_is_hurt:
        host.timeline.hurts.append(Hurt([Span(begin, FOREVER)], time.time_ns(), _told(host), knew))
    if rng.random() < _ALSO_BROKEN:
        file = rng.choice(sorted((host.root / "jobqueue.d").glob("*.yaml")))
        host.timeline.say(f"{file.name} is broken meanwhile, over two starts", "file broken")
        with _broken(host, file, rng):
            host.end(signal.SIGKILL, 0)
            host.sleep(_SETTLED)
            host.end(signal.SIGKILL, 0)
            host.sleep(_SETTLED)
    host.end(signal.SIGKILL, 0)


def _files(host: Host, about: str) -> list[Path]:
    if about.startswith("state"):
        return [file for file in [host.root / "state" / about] if file.exists()]
    pattern = "logs/*/*.json" if about == "records" else "run/runs/*/*/*"
    return [file for file in files_below(host.root, pattern) if file.is_file() and not file.is_symlink()]


def _run_of(record: Path) -> str:
    return f"{named_by_file(record.parent.name)}@{record.stem}"


def _records(host: Host) -> dict[str, bytes]:
    """The record files that tell of an end, and were written lately: what is older is on the disk for sure."""
    found, since = {}, time.time() - WRITTEN_BACK / 1e9
    for file in files_below(host.root, "logs/*/*.json"):
        with contextlib.suppress(OSError, ValueError):
            if file.stat().st_mtime < since:
                continue
            text = file.read_bytes()
            if json.loads(text)["state"] != "retrying":
                found[_run_of(file)] = text
    return found


def _in_files(host: Host) -> dict[str, Told]:
    """What record files tell, by run."""
    found = {}
    for file in files_below(host.root, "logs/*/*.json"):
        with contextlib.suppress(OSError, ValueError, LookupError):
            status = file.stat()
            found[_run_of(file)] = _told_by(file, status.st_mtime_ns, status.st_size)
    return found


def _told(host: Host) -> dict[str, int]:
    """The last attempt of each run of which a record file tells, or a run directory."""
    found = {run: told.attempt for run, told in _in_files(host).items()}
    for directory in files_below(host.root, "run/runs/*/*@*"):
        run, _, attempt = named_by_file(directory.name).rpartition(".")
        if attempt.isdecimal():
            found[run] = max(int(attempt), found.get(run, 0))
    return found


@lru_cache(None)
def _told_by(file: Path, _modified: int, _size: int) -> Told:
    record = json.loads(file.read_bytes())
    return Told(max((one.get("attempt", 0) for one in record["attempts"]), default=0), record.get("count") or 1)


@contextmanager
def few_files(host: Host, episode: Episode, _rng: random.Random) -> Iterator[None]:
    """Start scheduler and launcher with a low limit of open files, and in the end again without."""
    host.files_limit = int(episode.about[0])
    host.timeline.say(f"a start with nofile {host.files_limit} for {episode.seconds:.1f} s", "nofile")
    _start_both(host)
    yield
    host.files_limit = None
    host.timeline.say("a start with enough files")
    _start_both(host)


def _start_both(host: Host) -> None:
    pids = host.pids()
    _kill(host, pids, [pid for pid, role in pids.items() if role == LAUNCHER])
    host.end(signal.SIGKILL, 0)


@contextmanager
def job_file(host: Host, episode: Episode, rng: random.Random) -> Iterator[None]:
    """Take a job file or a table of cron away, for a moment or for good, move it, replace it, or break it."""
    how = episode.about[0]
    tables = list(host.tables.values()) if how in ("away", "removed", "replaced") else []
    file = rng.choice([*sorted((host.root / "jobqueue.d").glob("*.yaml")), *tables])
    host.timeline.say(f"{file.name} {how} for {episode.seconds:.1f} s", f"file {how}")
    if how == "broken":
        with _broken(host, file, rng):
            yield
    elif how == "replaced":
        _replace(file)
        yield
        _replace(file)
    else:
        begin = time.time_ns()
        other = file.with_name(f"moved-{file.name}") if how == "moved" else host.root / file.name
        file.rename(other)
        yield
        other.rename(file)
        span = Span(begin, time.time_ns())
        if span.end - span.begin > _AWAY and how != "moved":
            host.timeline.away.setdefault(_name_of(host, file), []).append(span)
        host.timeline.say(f"{file.name} is back after {(span.end - span.begin) / 1e9:.1f} s")


def _name_of(host: Host, file: Path) -> str:
    """The name by which the checker knows a job file or a table."""
    return next((name for name, path in host.tables.items() if path == file), file.name)


def _replace(file: Path) -> None:
    """Put another file with the same text in the place of a file."""
    new, before = file.with_name(f".{file.name}.new"), file.stat()
    new.write_bytes(file.read_bytes())
    new.chmod(before.st_mode & 0o777)
    os.chown(new, before.st_uid, before.st_gid)
    new.replace(file)


@contextmanager
def _broken(host: Host, file: Path, rng: random.Random) -> Iterator[None]:
    text, begin = file.read_text(), time.time_ns()
    host.write(file.name, text[: rng.randrange(len(text))] + "}: [")
    yield
    host.write(file.name, text)
    host.timeline.broken.setdefault(file.name, []).append(Span(begin, time.time_ns()))
    host.timeline.say(f"{file.name} mended")


@contextmanager
def second(host: Host, episode: Episode, _rng: random.Random) -> Iterator[None]:
    """Start a second daemon, which has to refuse."""
    other = ["--state", str(host.root / "other")] if episode.about[0] == "other state" else []
    host.timeline.say(f"a second daemon ({episode.about[0]})", "second")
    with host.log.open("ab") as log:
        daemon = subprocess.Popen(host.command(*other), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        if not daemon.wait(60):
            host.timeline.fail("starts", "a second daemon ended with status 0")
    except subprocess.TimeoutExpired:
        host.timeline.fail("second", f"a second daemon ({episode.about[0]}) runs beside the first: pid {daemon.pid}")
        daemon.kill()
        daemon.wait()
    yield


@contextmanager
def refused(host: Host, episode: Episode, _rng: random.Random) -> Iterator[None]:
    """Let a receiver of notices take none."""
    host.timeline.say(f"{episode.about[0]} takes no notices for {episode.seconds:.1f} s", f"refuse {episode.about[0]}")
    with host.receivers.away(episode.about[0]):
        yield
    host.timeline.say("notices are taken again")


CONDITIONS: dict[str, Condition] = {
    "kill": nothing,
    "restart": nothing,
    "stop": stopped,
    "full": full,
    "readonly": read_only,
    "abort": aborted,
    "cut": hurt,
    "damage": hurt,
    "overwritten": overwritten,
    "nofile": few_files,
    "files": job_file,
    "second": second,
    "refuse": refused,
    "pairs": pairs.pairs,
    **shortages.CONDITIONS,
}
