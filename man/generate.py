"""Writes what is generated: the JSON Schema, and what the manual pages say of keys, commands and states.

python -m man.generate           rewrites them; `make generate` does that
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from jobqueued.child.journald import OUTPUT_ID, UNSENT_ID
from jobqueued.control import access
from jobqueued.core.lifecycle import TABLE
from jobqueued.ctl import explain
from jobqueued.ctl.main import main
from jobqueued.host.messages import VOCABULARY
from jobqueued.jobfile.keys import GROUPS, JOB_KEYS
from jobqueued.jobfile.scalars import Key
from jobqueued.jobfile.schema import job_file_schema
from jobqueued.jobfile.settings_keys import SETTINGS_KEYS

REPOSITORY = Path(__file__).resolve().parent.parent
SCHEMA = REPOSITORY / "jobqueued" / "job-file.schema.json"
PAGE = REPOSITORY / "man" / "jobqueue.d.5"
CTL_PAGE = REPOSITORY / "man" / "jobqueuectl.1"
DAEMON_PAGE = REPOSITORY / "man" / "jobqueued.8"
CONFIG_PAGE = REPOSITORY / "man" / "jobqueued.yaml.5"
SECURITY_PAGE = REPOSITORY / "docs" / "security.md"
FINDINGS_PAGE = REPOSITORY / "docs" / "check.md"

_BEGIN_OF_RIGHTS = "<!-- generated from jobqueued/control/access.py -->\n"
_BEGIN_OF_FINDINGS = "<!-- generated from jobqueued/ctl/findings.py -->\n"
_END_IN_DOCS = "<!-- end of what is generated -->"
_BEGIN, _END = '.\\" generated from {}\n', '.\\" end of what is generated\n'


def schema_text() -> str:
    """The schema's file."""
    return json.dumps(job_file_schema(), indent=1) + "\n"


def page_text(page: str) -> str:
    """jobqueue.d(5) with the keys as they are now, and their index."""
    page = _with(page, "jobqueued/jobfile/keys.py", [*_groups(), *_reserved()])
    return _with(page, "jobqueued/jobfile/keys.py by name", _index())


def ctl_page_text(page: str) -> str:
    """jobqueuectl(1) with the options and commands as they are now."""
    options = [line for option in _options(main) for line in option]
    page = _with(page, "jobqueued/ctl/main.py", options)
    return _with(page, "jobqueued/ctl", [line for name in sorted(main.commands) for line in _command(name)])


def daemon_page_text(page: str) -> str:
    """jobqueued(8) with the life of a run and the kinds of lines as they are now."""
    page = _with(page, "jobqueued/core/lifecycle.py", _life())
    page = _with(page, "jobqueued/control/access.py", _rights())
    return _with(page, "jobqueued/host/messages.py", _lines())


def security_page_text(page: str) -> str:
    """docs/security.md with the rights as they are now."""
    head, *rows = ("| " + " | ".join(row).replace("| - ", "| – ") + " |" for row in access.table())
    return _within(page, _BEGIN_OF_RIGHTS, ["", head, "|---|---|---|---|---|---|", *rows, ""])


def findings_page_text(page: str) -> str:
    """docs/check.md with the findings as they are now."""
    return _within(page, _BEGIN_OF_FINDINGS, explain.page())


def _within(page: str, begin: str, lines: Iterable[str]) -> str:
    """A page of docs with these lines in the place of what was generated."""
    before, rest = page.split(begin)
    _, _, after = rest.partition(_END_IN_DOCS)
    return before + begin + "".join(f"{line}\n" for line in lines) + _END_IN_DOCS + after


def _rights() -> Iterator[str]:
    """The table of access.py."""
    yield from (".TS", "lB lB lB lB lB lB", "l l l l l l.")
    for row in access.table():
        yield "\t".join(map(_roff, row))
    yield ".TE"


def settings_page_text(page: str) -> str:
    """jobqueued.yaml(5) with the keys as they are now."""
    live = [key for key in SETTINGS_KEYS.values() if not key.planned]
    return _with(page, "jobqueued/jobfile/settings_keys.py", [line for key in live for line in _key(key)])


def _life() -> Iterator[str]:
    """The table of lifecycle.py: a state and a step a row, the same steps of several states together."""
    yield from (".TS", "lB lB lB", "l l l.", "state\tstep\tnew state")
    rows: dict[tuple[str, str], list[str]] = {}
    for (state, step), after in TABLE.items():
        rows.setdefault((step.value, after.value), []).append(state.value)
    for (step, after), states in rows.items():
        for some in (states[first : first + 3] for first in range(0, len(states), 3)):  # as many as fit the page
            yield "\t".join(map(_roff, (", ".join(some), step.replace("_", " "), after)))
    yield ".TE"


def _lines() -> Iterator[str]:
    """Every kind of line: its name, its level, its MESSAGE_ID."""
    own = [(event, entry.level, entry.id) for event, entry in VOCABULARY.items()]
    yield from (".TS", "lB lB lB", "l l l.", "JOBQUEUE_EVENT\tlevel\tMESSAGE_ID")
    for row in [*own, ("output", "info", OUTPUT_ID), ("output_unsent", "warning", UNSENT_ID)]:
        yield "\t".join(map(_roff, row))
    yield ".TE"


def _with(page: str, source: str, lines: Iterable[str]) -> str:
    begin = _BEGIN.format(source)
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(_END)
    return before + begin + "".join(f"{line}\n" for line in lines) + _END + after


def _command(name: str) -> Iterator[str]:
    """A command: how it is written, its help, its options, its examples."""
    command = main.commands[name]
    *text, examples = inspect.cleandoc(command.help or "").split("\n\n")
    options = list(_options(command))
    yield f".SS jobqueuectl {_roff(' '.join([name, *(['[options]'] if options else []), *_arguments(command)]))}"
    for number, paragraph in enumerate(text):
        yield from [".PP"] * (number > 0)
        yield from map(_roff, paragraph.split("\n"))
    for option in options:
        yield from option
    yield from (".PP", ".RS", ".EX")
    yield from (_roff(line.removeprefix("  ")) for line in examples.split("\n")[2:])
    yield from (".EE", ".RE")


def _arguments(command: click.Command) -> Iterator[str]:
    for argument in command.params:
        if isinstance(argument, click.Argument):
            name = argument.metavar or str(argument.name).upper()
            yield name if argument.required or name.startswith("[") else f"[{name}]"


def _options(command: click.Command) -> Iterator[list[str]]:
    for option in command.params:
        if isinstance(option, click.Option) and option.help is not None:
            names = ", ".join(f"\\fB{_roff(name)}\\fR" for name in option.opts)
            value = "" if option.is_flag or option.metavar is None else f" \\fI{_roff(option.metavar)}\\fR"
            default = f"  [{option.default}]" if option.show_default else ""
            yield [".TP", names + value, _roff(option.help + default)]


def _groups() -> Iterator[str]:
    for title, keys in GROUPS.items():
        live = [key for key in keys.values() if not key.planned]
        if live:
            yield f".SS {title}"
        for key in live:
            yield from _key(key)


def _key(key: Key) -> Iterator[str]:
    yield ".TP"
    yield f".B {_roff(key.name)}"
    yield _roff(key.help)
    yield _roff(f"Accepted: {key.type.accepted}.")
    if key.default:
        yield _roff(f"Default: {key.default}.")
    yield ".br"
    yield f"Example: \\fB{_roff(f'{key.name}: {key.example}')}\\fR"
    live = [inner for inner in key.type.keys.values() if not inner.planned]
    if live:
        yield ".RS"
        for inner in live:
            yield from _key(inner)
        yield ".RE"


_WIDEST = 24
"""Letters of a default that the index has room for."""


def _index() -> Iterator[str]:
    """Every key, by name: its default, and the section that tells of it; keys inside of others below those."""
    yield from (".TS", "lB lB lB", "lB l l.", "key\tdefault\tsection")
    sections = {name: title for title, keys in GROUPS.items() for name in keys}
    for name in sorted(name for name, key in JOB_KEYS.items() if not key.planned):
        inner = [(f"  {key.name}", key) for key in JOB_KEYS[name].type.keys.values() if not key.planned]
        for shown, key in [(name, JOB_KEYS[name]), *inner]:
            default = key.default if len(key.default) <= _WIDEST else "see above"
            yield "\t".join(map(_roff, (shown, default or "\N{EN DASH}", sections[name])))
    yield ".TE"


def _reserved() -> Iterator[str]:
    yield ".SS Reserved"
    yield "These keys belong to later versions; a file that uses one is refused:"
    names = sorted(key.name for key in JOB_KEYS.values() if key.planned)
    yield ",\n".join(f"\\fB{_roff(name)}\\fR" for name in names) + "."


def _roff(text: str) -> str:
    """Text as roff shows it: no character of it is a request, a hyphen is one that can be copied."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    escaped = re.sub(r"`([^`]*)`", r"\\fB\1\\fR", escaped)
    return re.sub(r"^(?=[.'])", r"\\&", escaped)


if __name__ == "__main__":
    SCHEMA.write_text(schema_text())
    PAGE.write_text(page_text(PAGE.read_text()))
    CTL_PAGE.write_text(ctl_page_text(CTL_PAGE.read_text()))
    DAEMON_PAGE.write_text(daemon_page_text(DAEMON_PAGE.read_text()))
    CONFIG_PAGE.write_text(settings_page_text(CONFIG_PAGE.read_text()))
    SECURITY_PAGE.write_text(security_page_text(SECURITY_PAGE.read_text()))
    FINDINGS_PAGE.write_text(findings_page_text(FINDINGS_PAGE.read_text()))
