"""Commands for several hosts (`jobqueuectl --fleet list`): the hosts' outputs, over ssh, as one table or document."""

from __future__ import annotations

import copy
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import click

from jobqueued.base.text import printable
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base.arguments import run_id
from jobqueued.ctl.base.client import CallRefused, ask
from jobqueued.ctl.base.table import Cell, StyledText
from jobqueued.ctl.base.terminal import JSON_SCHEMA, options_given, print_json_line, print_line, print_table
from jobqueued.ctl.fleet import fleet, over_ssh
from jobqueued.ctl.fleet.fleet_tables import VIEWS, DocumentTable, Options
from jobqueued.ctl.fleet.over_ssh import HostReply, Way

T = TypeVar("T")

_ACTING = ("hold", "pause", "release", "reload", "resume", "skip-next", "stop")
"""Commands that run on every host and print text."""
_OF_ONE = ("emit", "logs", "rerun", "retry", "run")
"""Commands that run only on a single host."""
_MOST_ERRORS = 20
_UNREACHED = 2
"""Exit status if any host did not reply."""


def of_hosts(context: click.Context, command: click.Command, words: Sequence[str]) -> click.Command:
    """Return a copy of the command that parses the same words, but runs on the hosts in `main`'s options."""
    found, typed = copy.copy(command), list(words)

    def carry_out(**options: Any) -> None:
        call = _HostCommand(context, str(command.name), typed, options)
        sys.exit(call.carry_out())

    found.callback = carry_out
    return found


class _JoinedRow(NamedTuple):
    key: Any
    host: str
    item: Message
    cells: Sequence[Cell]


@dataclass()
class _HostCommand:
    """A command with its words, and the options parsed from the words."""

    context: click.Context
    name: str
    typed: Sequence[str]
    options: Options
    failed: dict[str, str] = field(default_factory=dict)
    """Host → reason why it has no reply, in one or more lines."""
    code: int = 0
    """Highest exit status so far."""

    def carry_out(self) -> int:
        """Run the command on the hosts; return the exit status."""
        self._check()
        if self.name in VIEWS:
            words = self._words("--json")
            self._show(words)
        elif self.name == "logs":
            words = self._copy_log()
        elif self.name == "timeline":
            words = self._draw()
        else:
            words = self._words()
            self._act(words)
        for host, reason in self.failed.items():
            way = f"; to see it: {self._way.shown(host, words)}" if over_ssh.is_host(host) else ""
            for line in f"{reason}{way}".split("\n"):
                click.echo(printable(f"{host}: {line}"), err=True)
        return self.code

    def _check(self) -> None:
        """Raise UsageError if the command or an option can't be used for several hosts."""
        known = sorted([*VIEWS, *_ACTING, *_OF_ONE, "timeline"])
        if self.name not in known:
            remedy = f"to use it on one of them: ssh HOST jobqueuectl {self.name} …"
            raise click.UsageError(
                f"{self.name} does not work for other hosts; commands that do: {', '.join(known)}; {remedy}"
            )
        apart = VIEWS[self.name].apart if self.name in VIEWS else ()
        if odd := [option for option in apart if self.options[option]]:
            raise click.UsageError(
                f"--{odd[0]} does not work for other hosts; to use it on one of them: ssh HOST jobqueuectl …"
            )
        values = (self.options.get(name) for name in ("name", "names", "run"))
        names = [name for value in values for name in ((value,) if isinstance(value, str) else value or ())]
        if len(self._hosts) != 1 and (run := next((name for name in names if "@" in str(name)), None)):
            raise click.UsageError(f"each host numbers its own runs; name the host that has {run}: --host HOST")
        if len(self._hosts) != 1 and self.name in _OF_ONE and self.name != "logs":
            raise click.UsageError(f"`{self.name}` works for one host only; name the host: --host HOST")

    # the hosts

    @cached_property
    def _hosts(self) -> list[str]:
        """Return the named hosts, or all hosts in the fleet. Raises CallRefused or DaemonUnreachable if the fleet's
        hosts are unknown.
        """
        named = named_hosts(self.context)
        return named or [name for name in fleet.known(self._fleet) if self._is_host(name)]

    def _is_host(self, name: str) -> bool:
        if not over_ssh.is_host(name):
            self._fail(name, f"ssh can't have this host's name as an argument; expected {over_ssh.A_HOST}")
        return over_ssh.is_host(name)

    @cached_property
    def _fleet(self) -> Message:
        return ask(self.context.obj.control, "Fleet")

    @cached_property
    def _way(self) -> Way:
        here = os.uname().nodename if named_hosts(self.context) else self._fleet["host"]
        return Way(here, shlex.split(self.context.params["ssh"] or over_ssh.SSH))

    # the replies

    def _words(self, *more: str) -> list[str]:
        return [*options_given(), self.name, *more, *(word for word in self.typed if word not in more)]

    def _fail(self, host: str, reason: str, code: int = _UNREACHED) -> None:
        self.failed[host], self.code = reason, max(self.code, code)

    def _replies(self, words: Sequence[str]) -> Iterator[HostReply]:
        """Yield the replies of the hosts. After the last reply, print their warnings."""
        told = list[str]()
        for reply in over_ssh.replies(
            self._hosts, lambda host: self._way.command(host, words), self.context.params["timeout"] or _LONGEST_WAIT
        ):
            if reply.problem or reply.code not in range(_UNREACHED + 1):
                self._fail(reply.host, reply.problem or _last(reply))
                continue
            yield reply
            if reply.host not in self.failed:
                self.code = max(self.code, reply.code)
                told += [self._named(reply.host, line) for line in reply.errors[:_MOST_ERRORS]]
        for line in told:
            click.echo(line, err=True)

    def _named(self, host: str, line: str) -> str:
        """Return a line of a host's output, with the host's name if there are several hosts."""
        return f"{host}: {line}" if len(self._hosts) > 1 else line

    def _act(self, words: Sequence[str]) -> None:
        for reply in self._replies(words):
            for line in reply.out.decode(errors="backslashreplace").splitlines():
                print_line(self._named(reply.host, line))

    # the documents

    def _show(self, words: Sequence[str]) -> None:
        view = VIEWS[self.name]
        parts = view.parts(self.options)
        rows = {part.name: list[_JoinedRow]() for part in parts}
        rest, notes = dict[str, Message](), list[str]()

        def read(host: str, document: Message) -> tuple[dict[str, list[_JoinedRow]], list[str]]:
            found = {part.name: list(_rows(part, host, document)) for part in parts}
            return found, [f"{host}: {note}" for note in view.notes(document)]

        for host, document, (found, said) in self._read(words, read):
            for name, more in found.items():
                rows[name] += more
            notes += said
            shown = document.keys() if parts[0].whole else {*rows, "schema"}
            rest[host] = {name: it for name, it in document.items() if name not in shown}
        chosen = {part.name: part.chosen(rows[part.name]) for part in parts}
        if self.options.get("as_json"):
            lists = {name: [row.item for row in those] for name, those in chosen.items()}
            merged = {"schema": JSON_SCHEMA, **lists, "hosts": rest, "failed": self.failed}
            click.echo(json.dumps(merged, indent=2))  # includes the user names that the hosts added
        elif rest:
            _print(parts, rows, chosen, notes)

    def _read(self, words: Sequence[str], read: Callable[[str, Message], T]) -> Iterator[tuple[str, Message, T]]:
        """Yield each host with its document and the result of `read`.

        A host without a valid document counts as failed.
        """
        for reply in self._replies(words):
            try:
                document = _document(reply)
                found = read(reply.host, document)
            except _NoDocument as why:
                self._fail(reply.host, str(why), reply.code or _UNREACHED)
            except _ODD:
                self._fail(
                    reply.host, "its jobqueuectl has another version; this host's jobqueuectl can't read its output"
                )
            else:
                yield reply.host, document, found

    def _draw(self) -> list[str]:
        """Draw the chart of all hosts' runs. Return the words of the command that ran on each host."""
        from jobqueued.child.contract.documents import Record
        from jobqueued.ctl.chart import timeline
        from jobqueued.ctl.chart.chart_file import checked
        from jobqueued.ctl.past.chosen_runs import Wanted, words_of

        words = [*options_given(), "history", "--json", "--runs", str(_ALL)]

        def read(host: str, document: Message) -> list[Record]:
            return [checked({**record, "host": host}, is_of_hosts=True) for record in document["runs"]]

        def ask(wanted: Wanted) -> tuple[list[Record], dict[str, Message]]:
            words.extend(words_of(wanted))
            found, hosts = list[Record](), dict[str, Message]()
            for host, _, runs in self._read(words, read):
                hosts[host] = {}
                found += (run for run in runs if wanted.states is None or run["state"] in wanted.states)
            return found, {"hosts": hosts, "failed": self.failed}

        timeline.of_hosts(ask, **self.options)
        return words

    # the output of a run

    def _copy_log(self) -> list[str]:
        """Print the output of a run, or of a job's newest run on any host. Return the words of the command."""
        host, run = self._newest() if len(self._hosts) != 1 else (self._hosts[0], str(self.options["name"]))
        values = ((name, self.options[name]) for name in ("lines", "attempt"))
        given = [word for name, value in values if value is not None for word in (f"--{name}", str(value))]
        words = [*options_given(), "logs", "--json", *["--follow"] * self.options["follow"], *given, "--", run]
        try:
            process = subprocess.Popen(self._way.command(host, words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        except OSError as error:
            raise CallRefused(f"cannot start {self._way.program[0]}: {error.strerror}") from None
        with process:
            try:
                self._copy(host, process)
            except _ODD:
                process.kill()
                self._fail(host, "its jobqueuectl printed no output of a run")
        self.code = max(self.code, process.returncode if process.returncode in (0, 1) else _UNREACHED)
        return words

    def _copy(self, host: str, process: subprocess.Popen[bytes]) -> None:
        from jobqueued.ctl.base.output import Copy

        sink = Copy(colour=bool(self.options["colour"]))
        assert process.stdout is not None
        while line := process.stdout.readline(_LONGEST_LINE):
            document = json.loads(line)
            if self.options["as_json"]:
                print_json_line({"host": host, **document})
            else:
                text = document["text"].encode(errors="surrogateescape")
                sink.write(text + (b"\n" if document["newline"] else b""))
        sink.close()

    def _newest(self) -> tuple[str, str]:
        """Return the job's newest started run on any host, and this host; print the run and the host on stderr."""
        job = str(self.options["name"])
        words = [*options_given(), "history", "--json", "--runs", str(_FEW), "--", job]
        found = list[tuple[str, str, str]]()
        for reply in self._replies(words):
            try:
                runs = _document(reply)["runs"]
                found += [(str(it["started"]), reply.host, str(run_id(it["run"]))) for it in runs if it["started"]]
            except (_NoDocument, click.UsageError, *_ODD):
                self._fail(reply.host, _last(reply), reply.code or _UNREACHED)
        if not found:
            where = "; ".join(f"{host}: {reason}" for host, reason in self.failed.items())
            raise CallRefused(printable(f"no run of {job} has started on any host{where and f' ({where})'}"))
        _, host, run = max(found)
        click.echo(f"{run} on {host}", err=True)
        return host, run


_LONGEST_WAIT = 30.0
_FEW = 20
"""Number of a job's newest runs to search for a started run."""
_ALL = 1_000_000
"""More runs than a host's output limit allows."""
_LONGEST_LINE = 1 << 20
_ODD = (LookupError, TypeError, ValueError, AttributeError, RecursionError)
"""Errors raised if a host's output does not have the expected structure."""


class _NoDocument(Exception):
    """Raised if a host's output is not a document; the message describes the output."""


def _document(reply: HostReply) -> Message:
    try:
        document = json.loads(reply.out)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or "schema" not in document:
        raise _NoDocument(
            _refusal(reply) if reply.code or not reply.out else "its jobqueuectl printed no JSON document"
        )
    if document["schema"] != JSON_SCHEMA:
        theirs = printable(str(document["schema"]))[:20]
        raise _NoDocument(
            f"its jobqueuectl prints schema {theirs}, but this host's jobqueuectl reads schema {JSON_SCHEMA}"
        )
    return document


def _refusal(reply: HostReply) -> str:
    """Return all lines of the error of a host's jobqueuectl, such as one for each unknown job, or else `_last`."""
    errors = reply.errors[:_MOST_ERRORS]
    first = next((place for place, line in enumerate(errors) if line.startswith("Error: ")), None)
    return _last(reply) if first is None else "\n".join(errors[first:]).removeprefix("Error: ")


def _last(reply: HostReply) -> str:
    """Return the last line on stderr, which usually has the cause, or the exit status if stderr is empty."""
    return (
        reply.errors[-1].removeprefix("Error: ") if reply.errors else f"its jobqueuectl exited with status {reply.code}"
    )


def _rows(part: DocumentTable, host: str, document: Message) -> Iterator[_JoinedRow]:
    """Yield the rows of a host's document. Raises an error of _ODD if the document is malformed."""
    for item in part.items(document):
        cells = part.columns.cells(item)
        if not all(isinstance(cell, str | StyledText) for cell in cells):
            raise TypeError(cells)
        yield _JoinedRow(part.key(item), host, {"host": host} | item | {"host": host}, cells)


def _print(
    parts: Sequence[DocumentTable],
    rows: Mapping[str, Sequence[_JoinedRow]],
    chosen: Mapping[str, Sequence[_JoinedRow]],
    notes: Iterable[str],
) -> None:
    shown = [part for part in parts if chosen[part.name]]
    if not shown:
        print_line(parts[0].nothing)
    for place, part in enumerate(shown):
        if place:
            print_line("")
        headings, keep = part.columns.headings, part.columns.keep or part.columns.headings[:1]
        print_table(
            ("HOST", *headings), ((row.host, *row.cells) for row in chosen[part.name]), (keep[0], "HOST", *keep[1:])
        )
        if more := len(rows[part.name]) - len(chosen[part.name]):
            click.echo(f"{more:,} more are not shown; to see them: -n {len(rows[part.name])}", err=True)
    for note in notes:
        print_line(note)


def named_hosts(context: click.Context) -> list[str]:
    """Return the hosts that --host names, without duplicates. Raises UsageError if a name is invalid."""
    names = list(dict.fromkeys(name for text in context.params["host"] for name in text.split(",") if name))
    if odd := [name for name in names if not over_ssh.is_host(name)]:
        raise click.UsageError(f"--host: {printable(odd[0])!r} is not the name of a host; expected {over_ssh.A_HOST}")
    return names
