"""jobqueuectl submit, withdraw, resize: submit a command or script to run once; withdraw or resize a submission."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jobqueued.base.instants import SECOND, to_text
from jobqueued.base.text import counted, printable, size
from jobqueued.control.protocol.varlink import Message, encode
from jobqueued.ctl.act import submit_input
from jobqueued.ctl.act.submit_input import NotRead
from jobqueued.ctl.base import completion
from jobqueued.ctl.base.arguments import NoZone, zone_here
from jobqueued.ctl.base.client import TIMEOUT, Call, DaemonUnreachable, ask
from jobqueued.ctl.base.terminal import json_option, local, print_json, reaching
from jobqueued.ctl.base.whole_names import ask_by_name, whole_name
from jobqueued.settings.paths import Paths

if TYPE_CHECKING:
    from jobqueued.child.contract.documents import Record

_KEYS = ("priority", "timeout", "retries", "rate")
_TOO_LARGE = 190 << 10


def _pairs(_context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Parse strings such as NAME=AMOUNT,NAME=AMOUNT. Raises BadParameter."""
    pairs = [text.partition("=") for each in texts for text in each.split(",")]
    for name, given, amount in pairs:
        if not (name and given and amount):
            raise click.BadParameter(f"{name!r}; expected cpu=2, memory=4G or gpu=1")
    return {name: amount for name, _, amount in pairs}


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@click.option(
    "--at",
    "at",
    metavar="TIME",
    help="Start at TIME: 18:00, 5pm, noon, 'tomorrow 03:00', 'monday 9am', 'jan 31 18:00', 'now + 2 days'.",
)
@click.option("--in", "after_time", metavar="D", help="Start after this delay: 30m, 2h or 1d12h.")
@click.option(
    "-a",
    "--after",
    multiple=True,
    metavar="RUN",
    help="Start after RUN (a submission or one of its runs) has succeeded.  With any:RUN, start after RUN has ended in"
    " any way.  May be repeated.",
)
@click.option(
    "-l", "--lock", "locks", multiple=True, metavar="NAME", help="Hold this lock during the run.  May be repeated."
)
@click.option(
    "-r",
    "--resources",
    multiple=True,
    callback=_pairs,
    metavar="NAME=N",
    help="Hold these resources during the run: cpu=2, memory=4G or gpu=1.  May be repeated.",
)
@click.option(
    "-p", "--priority", type=int, metavar="N", help="Priority in the queue.  Ordinary users may use 0 or less."
)
@click.option("-t", "--timeout", metavar="D", help="Stop the run after this time.")
@click.option("--retries", type=int, metavar="N", help="Retry the run up to N times if it fails.")
@click.option("-n", "--name", metavar="NAME", help="Name the submission alice/NAME instead of alice/17.")
@click.option(
    "-e",
    "--env",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Pass only the named variables, or `all` or "
    "`none`.  May be repeated.  [default: all except terminal and login variables]",
)
@click.option(
    "-k", "--key", metavar="K", help="Submit only once: a second call with the same key returns the first submission."
)
@click.option(
    "--array",
    metavar="A-B[:S][%K]",
    help="Start one run for each number, at most K at once.  Each run finds its number in $JOBQUEUE_ARRAY_INDEX.",
)
@click.option("--rate", metavar="N/D", help="Start at most N runs of the array at once, and N in each D after that.")
@click.option("--mail", is_flag=True, help="Mail the output to you, if there is any.")
@click.option(
    "-f",
    "--file",
    "file",
    metavar="SCRIPT",
    help="Run a copy of this script; - reads it from standard input.  "
    "Its lines `#JOBQUEUE key: value` set job-file keys, or these options.",
)
@click.option("-w", "--wait", is_flag=True, help="Wait until COMMAND ends, and exit with its exit code.")
@click.option("--follow", is_flag=True, help="Print the output as it is written, and wait.")
@json_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[--] [COMMAND...]")
@click.pass_obj
def submit(
    paths: Paths, /, command: tuple[str, ...], file: str | None, wait: bool, follow: bool, as_json: bool, **options: Any
) -> None:
    """Submit COMMAND to run once, and print the submission's id.

    COMMAND runs as you, in this directory, with this umask and environment.  It waits in the queue like any other run,
    and runs even if you log out or the host reboots before its start.  Its runs are alice/17@1 and so on; use these ids
    with `show`, `logs`, `why` and `stop`.  A submission leaves the job list when all its runs have ended.  If COMMAND
    is one word that contains a blank, /bin/sh runs it as a command line.

    With -f, the words are arguments for the script.  With --at, a time is refused if it is in the past, if the clock
    skips or repeats it, or if it is ambiguous.

    With --wait or --follow, exits with COMMAND's exit code.  If a signal ended COMMAND, the exit status is 128 plus its
    number.  If COMMAND did not run, the exit status is 1.  For an array, the first run that did not succeed sets the
    exit status.

    \b
    Examples:
      jobqueuectl submit -- make -j4 all
      jobqueuectl submit --at 'tomorrow 03:00' --lock db -- ./migrate
      jobqueuectl submit --array 1-100%10 'render frame-$JOBQUEUE_ARRAY_INDEX'
      jobqueuectl submit --array 1-500 --rate 100/1h 'fetch page-$JOBQUEUE_ARRAY_INDEX'
      jobqueuectl submit --after alice/17 --wait -- ./report
      jobqueuectl submit -f nightly.sh
    """
    if (wait or follow) and os.environ.get("JOBQUEUE_RUN") is not None:
        raise click.UsageError("a run can't wait for another run, because both might need the same slot; omit --wait")
    try:
        document, start = _document(list(command[command[:1] == ("--",) :]), file, options)
    except NotRead as wrong:
        raise click.UsageError(printable(str(wrong))) from None
    if follow and (start is not None or "array" in document):
        raise click.UsageError(
            "--follow works only for a single run that starts now; for other submissions: jobqueuectl logs -f JOB"
        )
    if follow and as_json:
        raise click.UsageError("--json and --follow can't be combined: both print to standard output")
    answer = hand_in(paths, document)
    if as_json:
        print_json({"job": answer["job"], "is_new": answer["is_new"], "at": None if start is None else to_text(start)})
    else:
        click.echo(answer["job"])
        if not answer["is_new"]:
            click.echo(f"{answer['job']} was submitted earlier with this key; nothing new was submitted", err=True)
        if start is not None and sys.stderr.isatty():
            click.echo(f"it starts at {local(to_text(start))}", err=True)
    if follow:
        _follow(paths, f"{answer['job']}@1")
    if wait or follow:
        sys.exit(wait_for(paths, answer["job"]))


def hand_in(paths: Paths, document: Message) -> Message:
    """Submit a document and return the daemon's reply. Raises UsageError if the document is too large."""
    if (found := len(encode(document))) > _TOO_LARGE:
        raise click.UsageError(f"the submission has {size(found)}; expected at most {size(_TOO_LARGE)}")
    after = [_awaited(paths, each) for each in document.get("after", ())]
    return ask(paths.control, "Submit", TIMEOUT, submission={**document, **({"after": after} if after else {})})


def _awaited(paths: Paths, after: Any) -> Any:
    """Return a value of --after with the whole name of the run or submission."""
    result, colon, name = str(after).rpartition(":")
    return f"{result}{colon}{whole_name(paths.control, name)}" if isinstance(after, str) else after


def in_seconds(instant: int) -> str:
    """Format an instant, which must be a whole second, for a job file."""
    return to_text(instant).replace(".000000", "")


def surroundings(wishes: tuple[str, ...]) -> dict[str, Any]:
    """Return the keys for the submitter's directory, umask and environment. Raises NotRead."""
    try:
        place = os.getcwd()
    except OSError as error:
        raise NotRead(f"the working directory: {error.strerror}") from None
    mask = os.umask(0)
    os.umask(mask)
    variables = submit_input.environment(dict(os.environ), wishes)
    return {"working_directory": place, "umask": f"{mask:04o}", "environment": variables}


def zone() -> str:
    """Return the time zone for times such as `tomorrow 3pm`. Raises NotRead."""
    try:
        return zone_here()
    except NoZone as wrong:
        raise NotRead(str(wrong)) from None


def _document(words: list[str], file: str | None, options: dict[str, Any]) -> tuple[Message, int | None]:
    """Return a submission's document and start instant; None means now. Raises NotRead."""
    text = None if file is None else _script(file)
    given = {} if text is None else submit_input.directives(text, "the standard input" if file == "-" else str(file))
    own = {name: given.pop(name) for name in submit_input.OWN_KEYS if name in given}
    at, delay = given.pop("at", None), own.pop("in", None)
    if options["at"] is not None or options["after_time"] is not None:
        at, delay = options["at"], options["after_time"]
    if at is not None and delay is not None:
        raise NotRead("found a time and a delay; expected one of --at and --in")
    start = _start(at, delay)
    in_script = {name: _list(own.pop(name, [])) for name in ("env", "after")}
    wishes, after = (options[name] or tuple(in_script[name]) for name in ("env", "after"))
    keys = {**surroundings(wishes), **given, **_asked(options)}
    if start is not None:
        keys["at"] = in_seconds(start)
    keys |= _command(words) if text is None else submit_input.script(text, words)
    if text is not None and file != "-":
        keys.setdefault("description", os.path.basename(str(file)))
    chosen = {"name": options["name"], "array": options["array"], "key": options["key"], "after": list(after)}
    chosen |= {"mail": "output" if options["mail"] else None}
    own = {name: _word(it) for name, it in own.items()}
    return {**own, **{name: it for name, it in chosen.items() if it}, "keys": keys}, start


def _asked(options: dict[str, Any]) -> dict[str, Any]:
    keys = {name: options[name] for name in _KEYS if options[name] is not None}
    keys |= {"locks": list(options["locks"])} if options["locks"] else {}
    return keys | (
        {"resources": {n: _amount(it) for n, it in options["resources"].items()}} if options["resources"] else {}
    )


def _amount(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _word(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _start(at: object, delay: object) -> int | None:
    now = time.time_ns()
    if delay is not None:
        from jobqueued.jobfile.types.spelling import parse_duration

        try:
            return _in_full(now + parse_duration(str(delay)))
        except ValueError as error:
            raise NotRead(f"{error}; expected a delay such as 30m, 2h or 1d12h") from None
    if at is None:
        return None
    from jobqueued.timing.timespec import TimeError, read

    try:
        return _in_full(read(str(at), now, zone()))
    except TimeError as wrong:
        raise NotRead(str(wrong)) from None


def _in_full(instant: int) -> int:
    return -(-instant // SECOND) * SECOND


def _command(words: list[str]) -> dict[str, Any]:
    if not words:
        raise NotRead("COMMAND is missing; expected -- COMMAND, or -f SCRIPT")
    one = words[0]
    return {"command": one if len(words) == 1 and any(it in one for it in " \t\n;|&$<>") else words}


def _script(file: str) -> str:
    try:
        if file == "-":
            data = sys.stdin.buffer.read(submit_input.LARGEST + 1)
        else:
            with Path(file).open("rb") as script:
                data = script.read(submit_input.LARGEST + 1)
    except OSError as error:
        raise NotRead(f"{file}: {error.strerror}") from None
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise NotRead(f"{file}: found the byte 0x{data[error.start]:02x}; expected UTF-8 text") from None


def _follow(paths: Paths, run: str) -> None:
    from jobqueued.ctl.view.logs import copied

    copied(paths, run, follow=True)


def wait_for(paths: Paths, job: str) -> int:
    """Wait until a submission ends, and print its result on stderr; return its exit status."""
    from jobqueued.ctl.base.records import result
    from jobqueued.ctl.base.waiting import Interrupted

    goes_on = f"{printable(job)} continues; see: jobqueuectl logs {printable(job)}"
    try:
        with Call(paths.control, "Await", None, job=job) as call:
            answer = call.answer()
    except DaemonUnreachable as error:
        raise DaemonUnreachable(f"{error.message}\n{goes_on}") from None
    except KeyboardInterrupt:
        raise Interrupted(goes_on) from None
    record: Record | None = answer["record"]
    if answer["runs"] > 1:
        click.echo(f"{job}: {answer['succeeded']} of {counted(answer['runs'], 'run')} succeeded", err=True)
    if record is None:
        return 1
    if answer["runs"] == 1 or record["state"] != "succeeded":
        click.echo(f"{record['run']} {result(record)}", err=True)
    return exit_code(record)


def exit_code(record: Record) -> int:
    """Return a run's exit status as a shell reports it."""
    if record["state"] == "succeeded":
        return 0
    if record["signal"] is not None:
        return 128 + record["signal"]
    return record["exit_code"] or 1


@click.command()
@click.argument("job", shell_complete=completion.jobs)
@click.option("--stop", is_flag=True, help="Also stop the live runs.")
@click.pass_obj
def withdraw(paths: Paths, job: str, stop: bool) -> None:
    """Start no more runs of a submission.

    The waiting runs are skipped, and live runs continue; `withdraw` prints the number of each.  With --stop, live runs
    get their stop signal and, after their kill_grace, SIGKILL.

    \b
    Examples:
      jobqueuectl withdraw alice/17
      jobqueuectl withdraw --stop alice/17
    """
    job, answer = ask_by_name(paths.control, "Withdraw", job, stop=stop or None)
    running, waiting = counted(answer["running"], "run"), counted(answer["waiting"], "run")
    told = f"{printable(job)}: {waiting} waited and will not start or retry"
    if answer["running"]:
        is_one = answer["running"] == 1
        rest = f"{'is' if is_one else 'are'} being stopped" if stop else "continues" if is_one else "continue"
        told += f"; {running} {rest}" + ("" if stop else f"; to stop: jobqueuectl stop {printable(job)}")
    click.echo(reaching(told), err=True)


@click.command()
@click.argument("job", shell_complete=completion.jobs)
@click.argument("runs", type=click.IntRange(1), metavar="N")
@click.pass_obj
def resize(paths: Paths, job: str, runs: int) -> None:
    """Change how many runs of a submission may be live at once.

    JOB is a submission with several runs (submit --array).  N replaces the number after the % of its array.  If more
    than N runs are live, they continue.

    \b
    Example:
      jobqueuectl resize alice/17 20
    """
    job, answer = ask_by_name(paths.control, "Resize", job, runs=runs)
    before = answer["before"]
    click.echo(printable(f"{job}: {counted(runs, 'run')} at a time (before: {before:,})"), err=True)
