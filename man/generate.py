"""Writes what is generated: the JSON Schema, and what the manual pages say of keys, commands and states.

python -m man.generate           rewrites them; `make generate` does that
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click

from jobqueued.child.report.journald import OUTPUT_ID, UNSENT_ID
from jobqueued.control import methods
from jobqueued.control.protocol import access
from jobqueued.core.records.lifecycle import TABLE
from jobqueued.ctl.base import documents
from jobqueued.ctl.files import explain
from jobqueued.ctl.main import TASKS, main
from jobqueued.host.messages import VOCABULARY
from jobqueued.jobfile.keys.keys import GROUPS, JOB_KEYS
from jobqueued.jobfile.keys.settings_keys import SETTINGS_KEYS
from jobqueued.jobfile.schema import job_file_schema
from jobqueued.jobfile.types.scalars import Key
from man import documents_page, interface_page, markdown, mdoc

REPOSITORY = Path(__file__).resolve().parent.parent
_BEGIN_OF_RIGHTS = "<!-- generated from jobqueued/control/methods.py -->\n"
_BEGIN_OF_FINDINGS = "<!-- generated from jobqueued/ctl/base/findings.py -->\n"
_BEGIN_OF_DOCUMENTS = "<!-- generated from jobqueued/ctl/base/documents.py -->\n"
_BEGIN_OF_INTERFACE = "<!-- generated from jobqueued/control/protocol/interface.py -->\n"
_END_IN_DOCS = "<!-- end of what is generated -->"
_BEGIN, _END = '.\\" generated from {}\n', '.\\" end of what is generated\n'


def schema_text(_before: str) -> str:
    """The schema's file."""
    return json.dumps(job_file_schema(), indent=1) + "\n"


def page_text(page: str) -> str:
    """jobqueue.d(5) with the keys as they are now, and their indexes."""
    page = _with(page, "jobqueued/jobfile/keys/keys.py by section", _names(GROUPS))
    page = _with(page, "jobqueued/jobfile/keys/keys.py", [*_groups(), *_reserved()])
    return _with(page, "jobqueued/jobfile/keys/keys.py by name", _index())


def ctl_page_text(page: str) -> str:
    """jobqueuectl(1) with the options and commands as they are now."""
    page = _with(page, "jobqueued/ctl/main.py by task", _tasks())
    page = _with(page, "jobqueued/ctl/main.py", _options(main))
    return _with(page, "jobqueued/ctl", [line for name in sorted(main.commands) for line in _command(name)])


def daemon_page_text(page: str) -> str:
    """jobqueued(8) with the rights and the kinds of lines as they are now."""
    page = _with(page, "jobqueued/control/methods.py", _rights())
    return _with(page, "jobqueued/host/messages.py", _lines())


def records_page_text(page: str) -> str:
    """jobqueue-records(5) with the fields that docs/records.md lists."""
    paper = (REPOSITORY / "docs/records.md").read_text()
    of_a_record, of_a_line = re.findall(r"^\| field.*?(?=\n\n)", paper, re.S | re.M)
    page = _with(page, "docs/records.md", _fields(of_a_record))
    return _with(page, "docs/records.md, Output", _fields(of_a_line))


def _fields(table: str) -> Iterator[str]:
    yield ".Bl -tag -width Ds"
    for names, content in markdown.rows(table)[1:]:
        yield ".It " + " , ".join(f"Cm {mdoc.arguments(name)}" for name in names.split(", "))
        yield from mdoc.prose(content)
    yield ".El"


def internals_page_text(page: str) -> str:
    """jobqueued-internals(7) with sections of docs/architecture.md, and the life of a run as it is now."""
    paper = (REPOSITORY / "docs/architecture.md").read_text()
    for title in ("Processes", "The start protocol", "The end of a run", "Job files", "What is kept where"):
        page = _with(page, f"docs/architecture.md, {title}", markdown.section(paper, title))
    return _with(page, "jobqueued/core/records/lifecycle.py", _life())


def security_page_text(page: str) -> str:
    """docs/security.md with the rights as they are now; methods with the same rights share a row."""
    head, *rights = access.table(methods.rules())
    sharing: dict[tuple[str, ...], list[str]] = {}
    for method, *cells in rights:
        sharing.setdefault(tuple(cells), []).append(method)
    rows = [head, *((", ".join(names), *cells) for cells, names in sharing.items())]
    first, *rest = ("| " + " | ".join(row).replace("| - ", "| – ") + " |" for row in rows)
    return _within(page, _BEGIN_OF_RIGHTS, ["", first, "|---|---|---|---|---|---|", *rest, ""])


def documents_text(_before: str) -> str:
    """The schema of what commands print."""
    return json.dumps(documents.documents_schema(), indent=1) + "\n"


def documents_page_text(page: str) -> str:
    """docs/json.md with the documents as they are now."""
    return _within(page, _BEGIN_OF_DOCUMENTS, ["", *documents_page.page()])


def findings_page_text(page: str) -> str:
    """docs/check.md with the findings as they are now."""
    return _within(page, _BEGIN_OF_FINDINGS, explain.page())


def varlink_page_text(page: str) -> str:
    """docs/varlink.md with the interface as it is now."""
    return _within(page, _BEGIN_OF_INTERFACE, ["", *interface_page.page()])


def _within(page: str, begin: str, lines: Iterable[str]) -> str:
    """A page of docs with these lines in the place of what was generated."""
    before, rest = page.split(begin)
    _, _, after = rest.partition(_END_IN_DOCS)
    return before + begin + "".join(f"{line}\n" for line in lines) + _END_IN_DOCS + after


def _rights() -> Iterator[str]:
    """The table of methods.py."""
    yield from (".TS", "lB lB lB lB lB lB", "l l l l l l.")
    for row in access.table(methods.rules()):
        yield "\t".join(map(mdoc.line, row))
    yield ".TE"


def settings_page_text(page: str) -> str:
    """jobqueued.yaml(5) with the keys as they are now, and their index."""
    page = _with(page, "jobqueued/jobfile/keys/settings_keys.py by name", _settings_names())
    return _with(page, "jobqueued/jobfile/keys/settings_keys.py", _keys(SETTINGS_KEYS.values()))


def _life() -> Iterator[str]:
    """The table of lifecycle.py: a state and a step a row, the same steps of several states together."""
    yield from (".TS", "lB lB lB", "l l l.", "state\tstep\tnew state")
    rows: dict[tuple[str, str], list[str]] = {}
    for (state, step), after in TABLE.items():
        rows.setdefault((step.value, after.value), []).append(state.value)
    for (step, after), states in rows.items():
        for some in (states[first : first + 3] for first in range(0, len(states), 3)):  # as many as fit the page
            yield "\t".join(map(mdoc.line, (", ".join(some), step.replace("_", " "), after)))
    yield ".TE"


def _lines() -> Iterator[str]:
    """Every kind of line: its name, its level, its MESSAGE_ID."""
    own = [(event, entry.level, entry.id) for event, entry in VOCABULARY.items()]
    yield from (".TS", "lB lB lB", "l l l.", "JOBQUEUE_EVENT\tlevel\tMESSAGE_ID")
    for row in [*own, ("output", "info", OUTPUT_ID), ("output_unsent", "warning", UNSENT_ID)]:
        yield "\t".join(map(mdoc.line, row))
    yield ".TE"


def _with(page: str, source: str, lines: Iterable[str]) -> str:
    begin = _BEGIN.format(source)
    before, found, rest = page.partition(begin)
    assert found, begin
    _, _, after = rest.partition(_END)
    return before + begin + "".join(f"{line}\n" for line in lines) + _END + after


def _command(name: str) -> Iterator[str]:
    """A command: how it is written, its help, its options, its examples."""
    command = main.commands[name]
    *text, examples = inspect.cleandoc(command.help or "").split("\n\n")
    options = list(_options(command))
    yield f".Ss jobqueuectl {mdoc.arguments(name)}"
    if words := [*["[options]"] * bool(options), *_arguments(command)]:
        yield f".D1 Ic jobqueuectl {mdoc.arguments(name)} {' '.join(map(mdoc.usage, ' '.join(words).split()))}"
        yield ".Pp"
    for number, paragraph in enumerate(text):
        yield from [".Pp"] * (number > 0)
        yield from _bullets(paragraph) if paragraph.startswith("\b\n") else mdoc.prose(paragraph)
    yield from options
    yield from (".Pp", "Examples:", ".Bd -literal -offset 2n -compact")
    yield from (mdoc.literal(line.removeprefix("  ")) for line in examples.split("\n")[2:])
    yield ".Ed"


def _bullets(paragraph: str) -> Iterator[str]:
    """Yield a list whose items begin with a dash."""
    yield ".Bl -bullet -width Ds -compact"
    for item in re.split("^- ", paragraph, flags=re.M)[1:]:
        yield ".It"
        yield from mdoc.prose(" ".join(item.split()))
    yield ".El"


def _arguments(command: click.Command) -> Iterator[str]:
    for argument in command.params:
        if isinstance(argument, click.Argument):
            name = argument.metavar or str(argument.name).upper()
            yield name if argument.required or name.startswith("[") else f"[{name}]"


def _tasks() -> Iterator[str]:
    """The commands by task, each in a line, as in the help of jobqueuectl."""
    for task, commands in TASKS.items():
        yield from (f".Ss {task}", ".Bl -tag -width language-server -compact")
        for name, (*_, text) in commands.items():
            yield f".It Ic {mdoc.arguments(name)}"
            yield from mdoc.prose(text)
        yield ".El"


def _options(command: click.Command) -> Iterator[str]:
    """A list of its options; nothing if there are none."""
    listed = [option for option in command.params if isinstance(option, click.Option) and option.help is not None]
    yield from [".Bl -tag -width Ds"] * bool(listed)
    for option in listed:
        value = "" if option.is_flag or option.metavar is None else f" Ar {mdoc.arguments(option.metavar)}"
        if isinstance(option.type, click.Choice) and option.metavar is None:
            value = f" Cm {mdoc.arguments(' | '.join(option.type.choices))}"
        yield ".It " + " , ".join(map(mdoc.code, option.opts)) + value
        yield from mdoc.prose(f"{option.help}" + (f"  [{option.default}]" if option.show_default else ""))
    yield from [".El"] * bool(listed)


def _groups() -> Iterator[str]:
    for title, keys in GROUPS.items():
        if listed := list(_keys(keys.values())):
            yield f".Ss {title}"
            yield from listed


def _keys(keys: Iterable[Key]) -> Iterator[str]:
    """A list of keys, each with those inside it; nothing if all of them are planned only."""
    live = [key for key in keys if not key.planned]
    yield from [".Bl -tag -width Ds"] * bool(live)
    for key in live:
        yield f".It Cm {mdoc.arguments(key.name)}"
        yield from mdoc.prose(key.help)
        yield from mdoc.prose(f"Accepted: {key.type.accepted}.")
        if key.default:
            yield from mdoc.prose(f"Default: {key.default}.")
        yield from ("Example:", ".Bd -literal -offset 2n -compact", mdoc.literal(f"{key.name}: {key.example}"), ".Ed")
        yield from _keys(key.type.keys.values())
    yield from [".El"] * bool(live)


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
            yield "\t".join(map(mdoc.line, (shown, default or "\N{EN DASH}", sections[name])))
    yield ".TE"


def _names(groups: dict[str, dict[str, Key]]) -> Iterator[str]:
    """The names of the keys, by the section that describes them."""
    yield ".Bl -tag -width Ds -compact"
    for title, keys in groups.items():
        if names := [key.name for key in keys.values() if not key.planned]:
            yield f".It Sx {title}"
            yield _listed(names)
    yield ".El"


def _settings_names() -> Iterator[str]:
    """The names of all settings, and for each mapping the keys inside."""
    yield f"{_listed(sorted(SETTINGS_KEYS))}"
    yield from (".Pp", "Keys inside of these:", ".Bl -tag -width Ds -compact")
    for name, key in sorted(SETTINGS_KEYS.items()):
        if key.type.keys:
            yield f".It Cm {mdoc.arguments(name)}"
            yield _listed(key.type.keys)
    yield ".El"


def _listed(names: Iterable[str]) -> str:
    return " ,\n".join(f".Cm {mdoc.arguments(name)}" for name in names)


def _reserved() -> Iterator[str]:
    yield ".Ss Reserved"
    yield "These keys belong to later versions; a file that uses one is refused:"
    names = sorted(key.name for key in JOB_KEYS.values() if key.planned)
    yield f"{_listed(names)} ."


GENERATED: dict[str, Callable[[str], str]] = {
    "jobqueued/job-file.schema.json": schema_text,
    "jobqueued/documents.schema.json": documents_text,
    "man/jobqueue.d.5": page_text,
    "man/jobqueuectl.1": ctl_page_text,
    "man/jobqueued.8": daemon_page_text,
    "man/jobqueued.yaml.5": settings_page_text,
    "man/jobqueue-records.5": records_page_text,
    "man/jobqueued-internals.7": internals_page_text,
    "docs/security.md": security_page_text,
    "docs/varlink.md": varlink_page_text,
    "docs/check.md": findings_page_text,
    "docs/json.md": documents_page_text,
}
"""By its path, what makes a file from the file as it was."""


if __name__ == "__main__":
    for path, made in GENERATED.items():
        file = REPOSITORY / path
        file.write_text(made(file.read_text()))
