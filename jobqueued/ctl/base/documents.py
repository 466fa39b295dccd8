"""Declarations of the documents that `--json` prints, in the language of the control socket's interface (varlink.org).

docs/json.md and documents.schema.json are generated from these declarations. A test compares the declarations with the
commands' output. `?` marks a field that may be null or missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, get_args, get_origin, get_type_hints, is_typeddict

from jobqueued.child.contract.documents import Record
from jobqueued.control.protocol.interface import INTERFACE
from jobqueued.ctl.base.terminal import ASKERS, JSON_SCHEMA

TYPES = """\
# Why a run has not started, why it is stopping, or how it ended, as in the method Why. Only --expect adds foreseen.
type Why (
  run: string,
  state: string,
  reasons: []string,
  missing: []Missing,
  ahead: []string,
  behind: ?string,
  priority: ?int,
  effective_priority: ?float,
  growth: ?string,
  points: ?float,
  every: ?float,
  waited: ?float,
  expected: ?string,
  dependencies: []string,
  late: ?string,
  foreseen: ?(expected: string, earliest: string, latest: string)
)

# A claim that is not granted, and the holders of that lock or resource.
type Missing (
  resource: string,
  mode: string,
  units: int,
  capacity: ?int,
  holders: [](
    run: string,
    mode: string,
    units: int,
    since: ?string,
    held: ?string,
    ends_by: ?string,
    lingers: ?string
  )
)

# A run in a timeline. With several hosts, run and held_by begin with the host: "db1: backup@142".
type Charted (
  run: string,
  job: string,
  number: int,
  state: string,
  reason: ?string,
  trigger: ?string,
  command: ?string,
  held_by: ?string,
  due: string,
  queued: string,
  started: ?string,
  ended: ?string,
  waited: ?float,
  waited_for: []string,
  pauses: [](since: string, until: string),
  tags: []string,
  cpu: ?float,
  memory_peak: ?int
)

# The result of a simulation. A pair of numbers is the minimum and the maximum of all draws.
type Simulated (
  runs: []int,
  waiting: []int,
  late: []int,
  waited: []int,
  missed: []int,
  failed: []int,
  most_live: []int,
  jobs: [](
    job: string,
    runs: []int,
    late: []int,
    waiting: []int,
    missed: []int,
    failed: []int,
    wait: (half: float, most: float, longest: float),
    skipped: [string]int,
    blamed: [](for: string, whose: ?string, seconds: float)
  ),
  locks: [](name: string, waited: float, for: []string),
  peaks: [](at: string, live: int, least: int)
)
"""

_OF_HOSTS = "hosts: [string]object, failed: [string]string"
"""Additional fields of fleet commands.

`hosts` maps a host to the rest of its document. `failed` maps a host without a document to the reason.
"""

_FAILED_SUBMISSIONS = "[](job: string, failed: int, last: Record)"

DOCUMENTS = {
    "--fleet history": f"(runs: []Record, {_OF_HOSTS})",
    "--fleet list": f"(jobs: [](host: string, ...Job), {_OF_HOSTS})",
    "--fleet locks": f"(claims: [](host: string, ...LockClaim), {_OF_HOSTS})",
    "--fleet logs": "(host: string, run: string, offset: int, text: string, newline: bool)",
    "--fleet next": f"""(next: [](host: string, job: string, at: string, expected: ?(late: float, least_late: float,
        most_late: float)), {_OF_HOSTS})""",
    "--fleet status": f"(status: []object, {_OF_HOSTS})",
    "--fleet timeline": f"(begin: string, end: string, {_OF_HOSTS}, runs: [](host: string, ...Charted))",
    "--fleet top": f"""(runs: [](host: string, ...RunUsage), waiting: [](host: string, run: string, job: string,
        state: string, queued: string, user: ?string, tags: []string, for: ?[]string), {_OF_HOSTS})""",
    "--fleet why": f"(runs: [](host: string, ...Why), {_OF_HOSTS})",
    "--fleet why --at": f"""(past: [](host: string, job: string, at: string, kind: string, run: ?string,
        reasons: []string, unknown: []string), {_OF_HOSTS})""",
    "add": "UserFileSet()",
    "audit": """(until: string, daemon: bool, unreadable: []string, due: int, findings: [](job: string, what: string,
        first: string, last: string, count: int, runs: []string, cause: string),
        jobs: [](job: string, since: string, not_earlier: ?string, due: int))""",
    "cat": "(files: [](path: string, text: ?string))",
    "check": "(jobs: [](id: string, line: int, next: ?string), problems: []Problem, refused: int)",
    "check --explain": """(findings: [](code: string, severity: string, title: string, text: string, wrong: string,
        right: string, file: string, given: string))""",
    "crontab -l": "(user: string, text: string, jobs: [](id: string, line: int, next: ?string))",
    "doctor": "(findings: [](what: string, verdict: string, seen: string, remedy: string))",
    "files": "UserFiles()",
    "files FILE": "(name: string, ...UserFileGet())",
    "fleet hosts": "Fleet()",
    "history": "(runs: []Record)",
    "history --diff": """(runs: []Record, differences: [](what: string, first: any, second: any), output: []string,
        unknown: []string)""",
    "history --stats": """(jobs: [](job: string, runs: int, succeeded: int, skipped: int, p50: ?float, p95: ?float,
        trend: ?(before: float, now: float, word: string), since: string, until: string, success_rate: ?float,
        cpu_hours: ?float))""",
    "import": """(entries: []object, files: [](source: string, target: string, jobs: int, text: string),
        problems: []Problem)""",
    "list": f"(...List(), failed_submissions: ?{_FAILED_SUBMISSIONS})",
    "locks": "Locks()",
    "logs": "(run: string, offset: int, text: string, newline: bool)",
    "metrics": "Metrics()",
    "next": """(next: [](job: string, at: string, expected: ?(late: float, least_late: float, most_late: float)),
        more: int, foreseen: ?string)""",
    "next -e": "(timezone: string, next: []string)",
    "next JOB": """(...Next(), foreseen: ?string,
        expected: ?[]?(late: float, least_late: float, most_late: float))""",
    "notify": "Notices()",
    "notify --test": "(tests: [](target: string, sent: bool, error: ?string))",
    "report": """(host: string, since: string, until: string, headline: string, is_well: bool, parts: [](kind: string,
        is_wrong: bool, count: int, total: ?float, rows: []object))""",
    "show --origin JOB": "(job: string, origins: [](key: string, file: string, line: int))",
    "show JOB": "(job: ?Job, definition: ?object, stats: ?object, runs: []Record)",
    "show RUN": "(...Record)",
    "simulate": """(since: string, until: string, draws: int, from_now: bool, guessed: []string, unread: ?[]string,
        with: ?Simulated, suggestions: ?[](jobs: []string, change: string, before: (missed: float, waited: float),
        after: (missed: float, waited: float)), ...Simulated)""",
    "simulate --check": """(since: string, until: string, draws: int, foreseen: int, compared: int, inside: int,
        error: float, steady: int, steady_error: float, exact: bool, within: bool, jobs: [](job: string, compared: int,
        inside: int, error: float, steady: int, steady_error: float))""",
    "status": f"(...Status(), failed_submissions: {_FAILED_SUBMISSIONS})",
    "status (down)": "(state: string, reason: string, running: ?int, left: ?[]string, runs: ?[]Record)",
    "submit": "(job: string, is_new: bool, at: ?string)",
    "timeline": "(begin: string, end: string, runs: [](host: ?string, ...Charted))",
    "top": """(host: HostUsage, runs: []RunUsage, waiting: ?[](run: string, job: string, state: string, queued: string,
        user: ?string, tags: []string, for: ?[]string), more_wait: bool)""",
    "watch": """(event: string, at: ?string, level: ?string, message: ?string, job: ?string, run: ?string,
        state: ?string, record: ?Record, missed: ?int, see: ?string)""",
    "why": "(runs: []Why, more: int, idle: ?string)",
    "why --at": """(past: (job: string, at: string, kind: string, run: ?string, reasons: []string,
        unknown: []string))""",
}
"""Command → its document. ``List()`` is the reply of the method List, and ``...`` inserts all fields of a type."""

Schema = dict[str, Any]

_TOKEN = re.compile(r"\.\.\.|\[string\]|\[\]|\w+(?:\(\))?|[?:(),]")
_DECLARED = re.compile(r"^(?:type (\w+) |method (\w+)\([^)]*\) -> )(\(.*?\))\n(?=\n|\Z)", re.M | re.S)
_PLAIN: Mapping[str, Schema] = {
    "string": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "object": {"type": "object"},
    "any": {},
}


def declared() -> dict[str, str]:
    """Return name → declaration of all types, and of the methods' replies under names such as ``List()``."""
    found = _DECLARED.findall(f"{INTERFACE}\n{TYPES}")
    return {name or f"{method}()": text for name, method, text in found}


def documents_schema() -> Schema:
    """Return the JSON Schema (draft 7), with a definition for each document and for each type in them."""
    known = declared()
    documents = {name: _Parser(f"(schema: int, {_spread(text)})", known).read() for name, text in DOCUMENTS.items()}
    types = {name: _Parser(text, known).read() for name, text in known.items() if not name.endswith("()")}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"What jobqueuectl --json prints, schema {JSON_SCHEMA}",
        "definitions": {**documents, "Record": _of_typed_dict(Record), **types},
    }


def _spread(text: str) -> str:
    """Return a document's fields, or ``...`` and the name of its type."""
    return text[1:-1] if text.startswith("(") else f"...{text}"


class _Parser:
    """A parser for the declaration of one type."""

    def __init__(self, text: str, known: Mapping[str, str]) -> None:
        self._tokens, self._known = _TOKEN.findall(text)[::-1], known

    def read(self) -> Schema:
        """Return the schema of the next type in the declaration."""
        match token := self._tokens.pop():
            case "?":
                return _nullable(self.read())
            case "[]":
                return {"type": "array", "items": self.read()}
            case "[string]":
                return {"type": "object", "additionalProperties": self.read()}
            case "(":
                return self._struct()
        return dict(_PLAIN[token]) if token in _PLAIN else {"$ref": f"#/definitions/{token}"}

    def _struct(self) -> Schema:
        fields, needed = dict[str, Schema](), list[str]()
        while (name := self._tokens.pop()) != ")":
            if name == "...":
                whole = self._named(self._tokens.pop())
                fields, needed = fields | whole["properties"], needed + whole["required"]
            elif name != ",":
                assert self._tokens.pop() == ":"
                fields[name] = self.read()
                if not _is_nullable(fields[name]):
                    needed.append(name)
        return {"type": "object", "properties": _with_names(fields), "required": needed}

    def _named(self, name: str) -> Schema:
        return _of_typed_dict(Record) if name == Record.__name__ else _Parser(self._known[name], self._known).read()


def _nullable(schema: Schema) -> Schema:
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def _is_nullable(schema: Schema) -> bool:
    return "null" in schema.get("type", ()) or "anyOf" in schema


_OF_PYTHON: Mapping[Any, str] = {str: "string", int: "int", float: "float", bool: "bool", Any: "any"}


def _of_typed_dict(kind: Any) -> Schema:
    hints = get_type_hints(kind, include_extras=True)
    fields = {name: _of_hint(hint) for name, hint in hints.items()}
    needed = [name for name in hints if name in kind.__required_keys__ and get_origin(hints[name]) is not NotRequired]
    return {"type": "object", "properties": _with_names(fields), "required": needed}


def _with_names(fields: dict[str, Schema]) -> dict[str, Schema]:
    """Return the fields, including the fields with user names that commands add to UIDs."""
    told = [name for name, beside in ASKERS.items() if name in fields and beside in fields]
    return {**fields, **{f"{name}_name": _nullable(_PLAIN["string"]) for name in told}}


def _of_hint(hint: Any) -> Schema:
    """Return the schema for the type of a TypedDict's field."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint in _OF_PYTHON:
        return dict(_PLAIN[_OF_PYTHON[hint]])
    if is_typeddict(hint):
        return _of_typed_dict(hint)
    if origin is NotRequired:
        return _of_hint(inner[0])
    if origin in (list, Sequence):
        return {"type": "array", "items": _of_hint(inner[0])}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _of_hint(inner[1])}
    some = [_of_hint(one) for one in inner if one is not type(None)]
    found = some[0] if len(some) == 1 else {"anyOf": some}
    return _nullable(found) if type(None) in inner else found
