"""The programs at(1), batch, atq and atrm, with the options, messages and exit statuses of Debian's programs."""

from __future__ import annotations

import getopt
import os
import pwd
import re
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from jobqueued import __version__
from jobqueued.base.instants import SECOND, to_datetime, to_instant
from jobqueued.base.text import printable
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.act import submit_input
from jobqueued.ctl.act.submit import hand_in, in_seconds, surroundings, zone
from jobqueued.ctl.act.submit_input import NotRead
from jobqueued.ctl.base.arguments import of_environment
from jobqueued.ctl.base.client import CallRefused, DaemonUnreachable, ask
from jobqueued.settings.paths import Paths

_USAGE = """\
Usage: at [-V] [-q x] [-f file] [-u username] [-mMlbv] timespec ...
       at [-V] [-q x] [-f file] [-u username] [-mMlbv] -t time
       at -c job ...
       at [-V] -l [-o timeformat] [job ...]
       atq [-V] [-q x] [-o timeformat] [job ...]
       at [ -rd ] job ...
       atrm [-V] job ...
       batch"""
OPTIONS = {"at": "hq:f:u:mMlrdbvVt:c:o:", "atq": "hq:Vo:", "atrm": "hV", "batch": "hq:f:u:mMvV"}
"""Program → options in getopt(3)'s format."""
_TAG = "at:"
_STAMP = re.compile(r"((?:\d\d)?\d\d)?(\d\d)(\d\d)(\d\d)(\d\d)(?:\.(\d\d))?", re.ASCII)
_FORMAT = "%a %b %e %H:%M:%S %Y"
_PATIENT = -100
"""Priority of a `batch` submission.

At this priority, a run does not start under pressure; its priority rises only with its age.
"""


class _Failure(Exception):
    """An error that ends the program with exit status 1; str() is the message for stderr."""


def main(words: list[str] | None = None, paths: Paths | None = None, program: str | None = None) -> int:
    """Run a command line and return the exit status. `program` is at, batch, atq or atrm."""
    name = os.path.basename(sys.argv[0]) if program is None else program
    try:
        return _carried_out(name, sys.argv[1:] if words is None else words, paths or of_environment())
    except getopt.GetoptError as wrong:
        _to_stderr(f"{name}: invalid option -- '{printable(wrong.opt)}'\n{_USAGE}")
    except _Failure as failure:
        _to_stderr(str(failure))
    except (CallRefused, DaemonUnreachable) as error:
        _to_stderr(error.message if getattr(error, "error", "") == "NotAllowed" else f"{name}: {error.message}")
    except click.UsageError as error:
        _to_stderr(f"{name}: {error.message}")
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        _to_stderr(f"{name}: {error.strerror}")
    return 1


def _carried_out(name: str, words: list[str], paths: Paths) -> int:
    pairs, rest = getopt.gnu_getopt(words, OPTIONS.get(name, OPTIONS["at"]))
    options = dict(pairs)
    if "-V" in options:
        _to_stderr(f"at version 3.2.5 (jobqueued {__version__})")
        return 0
    if "-h" in options:
        raise _Failure(_USAGE)
    if name == "atq" or "-l" in options:
        return _list(options, rest, paths)
    if name == "atrm" or "-r" in options or "-d" in options:
        return _remove(rest, paths)
    if "-c" in options:
        return _print([options["-c"], *rest], paths)
    is_batch = name == "batch" or "-b" in options
    return _submit(options, rest, paths, is_batch=is_batch)


# ── submit a job ──


def _submit(options: Mapping[str, str], rest: list[str], paths: Paths, *, is_batch: bool) -> int:
    queue = options.get("-q", "b" if is_batch else "a")
    if not re.fullmatch("[a-zA-Z]", queue):
        raise _Failure(_USAGE)
    start = _start(options, rest, is_batch=is_batch)
    shown = _shown(max(start, time.time_ns()))
    if "-v" in options:
        print(shown, flush=True)
    text = _commands(options.get("-f"))
    document = _document(text, queue, start, options, waits=is_batch or queue.isupper())
    job = hand_in(paths, document)["job"]
    _to_stderr(f"warning: commands will be executed using /bin/sh\njob {_number(job)} at {shown}")
    return 0


def _start(options: Mapping[str, str], rest: list[str], *, is_batch: bool) -> int:
    """Return the start (wall, ns), rounded down to a minute as in at(1), or 0 for now."""
    if "-t" in options:
        return _instant(_of_stamp(options["-t"]))
    if not rest:
        if is_batch:
            return 0
        raise _Failure("Garbled time")
    start = _instant(" ".join(rest))
    return start - start % (60 * SECOND)


def _instant(words: str) -> int:
    """Parse a time such as `noon tomorrow` to an instant (wall, ns), or 0 for now."""
    from jobqueued.timing.timespec import PastTime, TimeError, read

    now = time.time_ns()
    try:
        start = read(words, now, zone())
    except PastTime:
        raise _Failure("at: refusing to create job destined in the past") from None
    except (TimeError, NotRead) as wrong:
        raise _Failure(f"at: {printable(str(wrong))}\nGarbled time") from None
    return start if start > now else 0


def _of_stamp(text: str) -> str:
    """Convert a time in the format [[CC]YY]MMDDhhmm[.ss] to ISO 8601."""
    found = _STAMP.fullmatch(text)
    if found is None:
        raise _Failure(f"invalid date format: {printable(text)}")
    year, *rest = found.groups()
    this = datetime.now(ZoneInfo(zone())).year
    full = this if year is None else int(year) if len(year) == 4 else 1900 + int(year) + 100 * (int(year) < 69)
    try:
        month, day, hour, minute, second = (int(part or 0) for part in rest)
        return datetime(full, month, day, hour, minute, second).isoformat()
    except ValueError:
        raise _Failure(f"invalid date format: {printable(text)}") from None


def _commands(file: str | None) -> str:
    """Return the job's commands from a file or the standard input. At a terminal, prompt for each line."""
    if file is not None:
        with Path(file).open("rb") as script:
            data = script.read(submit_input.LARGEST + 1)
    elif sys.stdin.isatty():
        lines = list[str]()
        print("at> ", end="", file=sys.stderr, flush=True)
        for line in sys.stdin:
            lines.append(line)
            print("at> ", end="", file=sys.stderr, flush=True)
        _to_stderr("<EOT>")
        data = "".join(lines).encode()
    else:
        data = sys.stdin.buffer.read(submit_input.LARGEST + 1)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _Failure(f"at: found the byte 0x{data[error.start]:02x} in the commands; expected UTF-8 text") from None


def _document(text: str, queue: str, start: int, options: Mapping[str, str], *, waits: bool) -> Message:
    try:
        keys: dict[str, Any] = {**surroundings(()), **submit_input.script(f"#!/bin/sh\n{text}")}
    except NotRead as wrong:
        raise _Failure(f"at: {printable(str(wrong))}") from None
    keys |= {"stdin": text, "tags": [_TAG + queue], "leave_children": True}
    if start:
        keys["at"] = in_seconds(start)
    if waits:
        keys |= {"priority": _PATIENT, "resources": {"cpu": 1}}
    if (rank := ord(queue.lower()) - ord("a")) > 0:
        keys["nice"] = min(19, 2 * rank)
    document: Message = {"keys": keys, "tool": "at"}
    if "-u" in options:
        on = ["output", "success", "failure"] if "-m" in options else "output"
        keys["notify"] = {"on": on, "email": options["-u"]}
    elif "-M" not in options:
        document["mail"] = "always" if "-m" in options else "output"
    return document


# ── waiting submissions ──


def _waiting(paths: Paths) -> list[Message]:
    """Return the unfinished submissions made with at or batch."""
    found = ask(paths.control, "Submissions")["submissions"]
    return [it for it in found if any(tag.startswith(_TAG) for tag in it["tags"])]


def _list(options: Mapping[str, str], rest: list[str], paths: Paths) -> int:
    if any(not _is_job(word) for word in rest):
        raise _Failure("atq: invalid job number")
    wanted, form = options.get("-q"), options.get("-o", _FORMAT)
    for it in _waiting(paths):
        queue = "=" if it["running"] else next(tag for tag in it["tags"] if tag.startswith(_TAG))[len(_TAG) :]
        if (wanted and queue != wanted) or (rest and not any(_is_meant(word, it["job"]) for word in rest)):
            continue
        moment = to_instant(datetime.fromisoformat(it["at"] or it["submitted"]))
        print(f"{_number(it['job'])}\t{_shown(moment, form)} {queue} {printable(it['user'])}")
    return 0


def _remove(rest: list[str], paths: Paths) -> int:
    if not rest:
        raise _Failure(_USAGE)
    status, known = 0, _waiting(paths)
    for word in rest:
        job = next((it["job"] for it in known if _is_meant(word, it["job"])), None)
        try:
            if job is None or ask(paths.control, "Withdraw", job=job)["running"]:
                _to_stderr(f"Cannot find jobid {printable(word)}" if job is None else f"Warning: {job} runs already")
                status = 1
        except CallRefused:
            _to_stderr(f"Cannot find jobid {printable(word)}")
            status = 1
    return status


def _print(words: list[str], paths: Paths) -> int:
    known = _waiting(paths)
    for word in words:
        job = next((it for it in known if _is_meant(word, it["job"])), None)
        if job is None:
            raise _Failure(f"Cannot find jobid {printable(word)}")
        sys.stdout.write(f"#!/bin/sh\n# jobqueued {job['job']}, of {job['user']}\n{job['stdin']}")
    return 0


def _is_job(word: str) -> bool:
    return word.rpartition("/")[2].isdigit()


def _is_meant(word: str, job: str) -> bool:
    """Return whether a word is a submission's number or id."""
    return word in (job, _number(job))


def _number(job: str) -> str:
    """Return the number of the caller's submission, or the whole id of another user's submission."""
    return job.rpartition("/")[2] if job.partition("/")[0] in _own() else job


def _own() -> tuple[str, ...]:
    """Return the prefixes that the caller's submission ids may have."""
    try:
        return "host", pwd.getpwuid(os.getuid()).pw_name, f"u{os.getuid()}"
    except KeyError:
        return "host", f"u{os.getuid()}"


def _shown(instant: int, form: str = _FORMAT) -> str:
    return to_datetime(instant).astimezone(ZoneInfo(zone())).strftime(form)


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
