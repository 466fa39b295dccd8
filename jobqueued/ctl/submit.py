"""jobqueuectl submit, withdraw, resize: hand in a command or a script to run once, or take one back."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jobqueued.control.varlink import Message, encode
from jobqueued.ctl import completion, handed_in
from jobqueued.ctl.arguments import NoZone, zone_here
from jobqueued.ctl.client import TIMEOUT, Call, Unreachable, ask
from jobqueued.ctl.handed_in import NotRead
from jobqueued.ctl.terminal import json_option, local, print_json, reaching
from jobqueued.instants import SECOND, to_text
from jobqueued.paths import Paths
from jobqueued.text import counted, printable, size

if TYPE_CHECKING:
    from jobqueued.child.documents import Record

_KEYS = ("priority", "timeout", "retries")
_TOO_LARGE = 190 << 10


def _pairs(_context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Read NAME=AMOUNT, or several with commas."""
    pairs = [text.partition("=") for each in texts for text in each.split(",")]
    for name, given, amount in pairs:
        if not (name and given and amount):
            raise click.BadParameter(f"{name!r}; accepted: cpu=2, memory=4G or gpu=1")
    return {name: amount for name, _, amount in pairs}


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@click.option("--at", "at", metavar="TIME", help="Start at TIME: 18:00, 5pm, noon, 'tomorrow 03:00', 'monday 9am', "
              "'2027-01-31 18:00', 'now + 2 days'.")  # fmt: skip
@click.option("--in", "after_time", metavar="D", help="Start in 30m, 2h or 1d12h.")
@click.option("-a", "--after", multiple=True, metavar="RUN", help="Start after the success of a submission or a run "
              "of one; any:RUN: after its end, whatever that is.  May be repeated.")  # fmt: skip
@click.option("-l", "--lock", "locks", multiple=True, metavar="NAME", help="Hold a lock while it runs.")
@click.option("-r", "--resources", multiple=True, callback=_pairs, metavar="NAME=N", help="Hold cpu=2, memory=4G or "
              "gpu=1 while it runs.")  # fmt: skip
@click.option("-p", "--priority", type=int, metavar="N", help="Rank in the queue; users have 0 and less.")
@click.option("-t", "--timeout", metavar="D", help="Stop it after this time.")
@click.option("--retries", type=int, metavar="N", help="Retry it up to N times if it fails.")
@click.option("-n", "--name", metavar="NAME", help="Call it alice/NAME, not alice/17.")
@click.option("-e", "--env", multiple=True, metavar="NAME[=VALUE]", help="Give it this variable alone, or these; "
              "`all`, `none`.  [default: all but those of the terminal and the login]")  # fmt: skip
@click.option(
    "-k", "--key", metavar="K", help="Submit only once: a second call with the same key finds the first submission."
)
@click.option("--array", metavar="A-B[:S][%K]", help="Run it once for each number, at most K at a time; each finds its "
              "own in $JOBQUEUE_ARRAY_INDEX.")  # fmt: skip
@click.option("--mail", is_flag=True, help="Mail its output to you, if it has written something.")
@click.option("-f", "--file", "file", metavar="SCRIPT", help="Run the script, as it is now; -: the standard input.  "
              "Its lines `#JOBQUEUE key: value` count as keys of a job file, and as these options.")  # fmt: skip
@click.option("-w", "--wait", is_flag=True, help="Wait for its end; exit with its exit code.")
@click.option("--follow", is_flag=True, help="Print its output as it comes, and wait.")
@json_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[--] [COMMAND...]")
@click.pass_obj
def submit(
    paths: Paths, /, command: tuple[str, ...], file: str | None, wait: bool, follow: bool, as_json: bool, **options: Any
) -> None:  # fmt: skip
    """Hand in COMMAND to run once, and print its id.

    It runs as you, in this directory, with this umask and environment, as soon as it is its turn, also when you have
    logged out or the host was booted meanwhile.  Its runs are alice/17@1 and so on, for `show`, `logs`, `why` and
    `stop`; it leaves the list of jobs when they have ended.  One word with a blank in it, alone, is a command line for
    /bin/sh.

    With -f the words are arguments of the script.  With --at, a time that is past, that the clock skips or shows twice,
    or that could mean two, is refused.

    With --wait and --follow it exits with the exit code of the command, with 128 and the number of a signal that ended
    it, with 1 if it did not run; of an array, with that of the first run that did not succeed.

    \b
    Examples:
      jobqueuectl submit -- make -j4 all
      jobqueuectl submit --at 'tomorrow 03:00' --lock db -- ./migrate
      jobqueuectl submit --array 1-100%10 'render frame-$JOBQUEUE_ARRAY_INDEX'
      jobqueuectl submit --after alice/17 --wait -- ./report
      jobqueuectl submit -f nightly.sh
    """
    if (wait or follow) and os.environ.get("JOBQUEUE_RUN") is not None:
        raise click.UsageError("a run can't wait for another one, as both might need the same slot; omit --wait")
    try:
        document, start = _document(list(command[command[:1] == ("--",) :]), file, options)
    except NotRead as wrong:
        raise click.UsageError(printable(str(wrong))) from None
    if follow and (start is not None or "array" in document):
        raise click.UsageError("--follow is for one run that starts now; see later: jobqueuectl logs -f JOB")
    if options["key"] == "":
        raise click.UsageError("the key is empty; give it a text, or leave out --key")
    if follow and as_json:
        raise click.UsageError("--json and --follow exclude each other: both print to the standard output")
    answer = hand_in(paths, document)
    if as_json:
        print_json({"job": answer["job"], "is_new": answer["is_new"], "at": None if start is None else to_text(start)})
    else:
        click.echo(answer["job"])
        if not answer["is_new"]:
            click.echo(f"{answer['job']} was handed in before under this key; nothing new was", err=True)
        if start is not None and sys.stderr.isatty():
            click.echo(f"it starts at {local(to_text(start))}", err=True)
    if follow:
        _follow(paths, f"{answer['job']}@1")
    if wait or follow:
        sys.exit(wait_for(paths, answer["job"]))


def hand_in(paths: Paths, document: Message) -> Message:
    """Submit; the daemon's answer.  UsageError where it is too much for one."""
    if (found := len(encode(document))) > _TOO_LARGE:
        raise click.UsageError(f"all of it has {size(found)}; accepted: at most {size(_TOO_LARGE)}")
    return ask(paths.control, "Submit", TIMEOUT, submission=document)


def in_seconds(instant: int) -> str:
    """An instant of a whole second, as a job file has it."""
    return to_text(instant).replace(".000000", "")


def surroundings(wishes: tuple[str, ...]) -> dict[str, Any]:
    """The keys that say where and how it is submitted; NotRead."""
    try:
        place = os.getcwd()
    except OSError as error:
        raise NotRead(f"the working directory: {error.strerror}") from None
    mask = os.umask(0)
    os.umask(mask)
    variables = handed_in.environment(dict(os.environ), wishes)
    return {"working_directory": place, "umask": f"{mask:04o}", "environment": variables}


def zone() -> str:
    """The zone of times in words; NotRead."""
    try:
        return zone_here()
    except NoZone as wrong:
        raise NotRead(str(wrong)) from None


def _document(words: list[str], file: str | None, options: dict[str, Any]) -> tuple[Message, int | None]:
    """The submission, and the instant of its start, if it has one."""
    text = None if file is None else _script(file)
    given = {} if text is None else handed_in.directives(text, "the standard input" if file == "-" else str(file))
    own = {name: given.pop(name) for name in handed_in.OWN_KEYS if name in given}
    at, delay = given.pop("at", None), own.pop("in", None)
    if options["at"] or options["after_time"]:
        at, delay = options["at"], options["after_time"]
    if at and delay:
        raise NotRead("found a time and a delay; accepted: one of --at and --in")
    start = _start(at, delay)
    in_script = {name: _list(own.pop(name, [])) for name in ("env", "after")}
    wishes, after = (options[name] or tuple(in_script[name]) for name in ("env", "after"))
    keys = {**surroundings(wishes), **given, **_asked(options)}
    if start is not None:
        keys["at"] = in_seconds(start)
    keys |= _command(words) if text is None else handed_in.script(text, words)
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
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _start(at: object, delay: object) -> int | None:
    now = time.time_ns()
    if delay is not None:
        from jobqueued.jobfile.spelling import parse_duration

        try:
            return _in_full(now + parse_duration(str(delay)))
        except ValueError as error:
            raise NotRead(f"{error}; accepted: a delay such as 30m, 2h or 1d12h") from None
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
        raise NotRead("COMMAND is missing; accepted: -- COMMAND, or -f SCRIPT")
    one = words[0]
    return {"command": one if len(words) == 1 and any(it in one for it in " \t\n;|&$<>") else words}


def _script(file: str) -> str:
    try:
        if file == "-":
            data = sys.stdin.buffer.read(handed_in.LARGEST + 1)
        else:
            with Path(file).open("rb") as script:
                data = script.read(handed_in.LARGEST + 1)
    except OSError as error:
        raise NotRead(f"{file}: {error.strerror}") from None
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise NotRead(f"{file}: found the byte 0x{data[error.start]:02x}; accepted: UTF-8 text") from None


def _follow(paths: Paths, run: str) -> None:
    from jobqueued.ctl.logs import copied

    copied(paths, run, follow=True)


def wait_for(paths: Paths, job: str) -> int:
    """Wait for the end of a submission, and tell of it on stderr; its exit status."""
    from jobqueued.ctl.records import result
    from jobqueued.ctl.waiting import Interrupted

    goes_on = f"{printable(job)} goes on; see: jobqueuectl logs {printable(job)}"
    try:
        with Call(paths.control, "Await", None, job=job) as call:
            answer = call.answer()
    except Unreachable as error:
        raise Unreachable(f"{error.message}\n{goes_on}") from None
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
    """The exit status of a run, as a shell has it."""
    if record["state"] == "succeeded":
        return 0
    if record["signal"] is not None:
        return 128 + record["signal"]
    return record["exit_code"] or 1


@click.command()
@click.argument("job", shell_complete=completion.jobs)
@click.option("--stop", is_flag=True, help="Stop its live runs, too.")
@click.pass_obj
def withdraw(paths: Paths, job: str, stop: bool) -> None:
    """Let nothing more of a submission start.

    Says how many runs waited, which are skipped, and how many are live.  Live runs go on; with --stop they get their
    stop signal and, after their kill_grace, SIGKILL, so that all of the submission ends.

    \b
    Examples:
      jobqueuectl withdraw alice/17
      jobqueuectl withdraw --stop alice/17
    """
    answer = ask(paths.control, "Withdraw", job=job, stop=stop or None)
    running, waiting = counted(answer["running"], "run"), counted(answer["waiting"], "run")
    told = f"{printable(job)}: {waiting} waited and will not start"
    if answer["running"]:
        is_one = answer["running"] == 1
        rest = f"{'is' if is_one else 'are'} being stopped" if stop else f"{'goes' if is_one else 'go'} on"
        told += f"; {running} {rest}" + ("" if stop else f"; to stop: jobqueuectl stop {printable(job)}")
    click.echo(reaching(told), err=True)


@click.command()
@click.argument("job", shell_complete=completion.jobs)
@click.argument("runs", type=click.IntRange(1), metavar="N")
@click.pass_obj
def resize(paths: Paths, job: str, runs: int) -> None:
    """Change how many runs of a submission are live at a time.

    JOB has several runs (submit --array); N is the number behind the % of its array.  Live runs go on, also where
    there are more than N.

    \b
    Example:
      jobqueuectl resize alice/17 20
    """
    before = ask(paths.control, "Resize", job=job, runs=runs)["before"]
    click.echo(printable(f"{job}: {counted(runs, 'run')} at a time, before {before:,}"), err=True)
