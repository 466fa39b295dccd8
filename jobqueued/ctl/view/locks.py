"""jobqueuectl locks: list the holders and waiters of locks."""

from __future__ import annotations

import click

from jobqueued.base.text import counted, printable
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base import arguments
from jobqueued.ctl.base.client import ask, meanwhile
from jobqueued.ctl.base.terminal import Columns, distance, json_option, localised, print_json, print_line
from jobqueued.jobfile.types.spelling import nearest
from jobqueued.settings.paths import Paths

_KEPT = (
    "Live runs and with-lock commands keep what they hold; no other run or command gets these"
    " locks until the daemon runs again."
)


@click.command()
@json_option
@click.option(
    "--evict",
    metavar="HOLDER",
    callback=arguments.holder,
    help="Take all held and awaited locks from a with-lock command, such as :with-lock@3.",
)
@click.argument("lock", required=False, callback=arguments.any_lock)
@click.pass_obj
def locks(paths: Paths, as_json: bool, evict: str | None, lock: str | None) -> None:
    """List each lock's holders and waiters.

    With LOCK, a name or the path of a lock file, the command lists only that lock; tag:T is the limit of the tag T.  A
    holder is a run, or a command that `jobqueuectl with-lock` started (:with-lock@3).  If a run waits for a lock that
    no listed holder has, STATE shows why: another program has locked the file, the lock is reserved for a run that goes
    first, or the run also waits for something else.

    --evict takes the lock from a command, and other runs get the lock at once.  The command continues without the lock;
    to end the command too, kill its process.

    \b
    Examples:
      jobqueuectl locks database
      jobqueuectl locks --evict :with-lock@3
    """
    if evict is not None:
        if lock is not None:
            raise click.UsageError("--evict needs a holder, not a lock")
        with meanwhile(_KEPT):
            _evict(paths, evict)
        return
    with meanwhile(_KEPT):
        answer = ask(paths.control, "Locks", lock=lock)
    if as_json:
        print_json(answer)
        return
    if not answer["claims"]:
        print_line(f"{printable(lock)} is neither held nor waited for" if lock else "no lock is held or waited for")
        warn_of_slip(answer, lock)
        return
    CLAIMS.print(answer["claims"])
    warn_of_slip(answer, lock)
    if answer["more"]:
        print_line(f"and {counted(answer['more'], 'other')}; name a LOCK to see fewer")


def _cells(claim: Message) -> tuple[str, ...]:
    return (
        claim["lock"],
        claim["holder"],
        "holds" if claim["held"] else f"waits: {claim['reason']}" if claim["reason"] else "waits",
        distance(claim["since"]),
        "-" if claim["pid"] is None else str(claim["pid"]),
        counted(claim["units"], "unit") if claim["units"] else claim["mode"],
        localised(claim["asked_by"] or "-"),
        claim["command"] or "-",
    )


CLAIMS = Columns(
    ("LOCK", "HOLDER", "STATE", "SINCE", "PID", "MODE", "ASKED BY", "COMMAND"),
    _cells,
    keep=("LOCK", "HOLDER", "STATE"),
)


def warn_of_slip(answer: Message, lock: str | None) -> None:
    """If no job uses a lock with this name but a similar name exists, print a hint on stderr."""
    if lock and answer["known"] and (near := nearest(lock, answer["known"])):
        click.echo(f"no job uses a lock {printable(lock)}; did you mean {near}?", err=True)


def _evict(paths: Paths, holder: str) -> None:
    claims = [claim for claim in ask(paths.control, "Locks")["claims"] if claim["holder"] == holder]
    answer = ask(paths.control, "Evict", holder=holder)
    pid = next((claim["pid"] for claim in claims if claim["pid"] is not None), None)
    taken = f"{printable(', '.join(answer['locks']))} taken from {printable(holder)}"
    click.echo(f"{taken}; its process {pid} continues" if answer["held"] and pid is not None else taken)
