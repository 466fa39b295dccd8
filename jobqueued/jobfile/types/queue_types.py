"""Types of values about the queue: locks, resources, escalation and events. They are made with types.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from signal import Signals
from typing import Any

from jobqueued.jobfile.tree.words import A_NAME, NAME, is_name
from jobqueued.jobfile.tree.yamltext import Node, Scalar, YamlEntry, is_null, meaning, quoted
from jobqueued.jobfile.types.refusal import NotAccepted, Refusal
from jobqueued.jobfile.types.scalars import Key, ValueType, choice, duration, integer, scalar, size, table, text
from jobqueued.jobfile.types.spelling import Instead, nearest
from jobqueued.jobfile.types.types import either, mapping, one_or_more, section
from jobqueued.model.fleet import FLEET, MOST_AT_ONCE
from jobqueued.model.job import CORE, CPU, MEMORY, Claim, Escalation, On, Rate, Scope

_PERCENT = "([0-9]{1,6})%"

ID = text(
    "an id such as nightly-backup: up to 64 characters of a-z 0-9 . _ -, starting with a letter or digit", NAME, "id"
)
PATH = text("an absolute path such as /srv/backup", "/[^\0]*", "path")
DIRECTORY = text("an absolute path such as /srv/backup", "-?/[^\0]*", "path")
EVENT_NAME = text(A_NAME, NAME, "name")
UNITS = integer(1, 1_000_000)


def cores(node: Scalar) -> float:
    """Return the cores in ``0.5`` or ``50%`` as a float. Raises ValueError."""
    percent = re.fullmatch(_PERCENT, node.text)
    number = int(percent[1]) / 100 if percent else meaning(node)
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0.01 <= number <= 4096:
        raise ValueError
    return float(number)


CPU_AMOUNT = scalar(
    "CPU", "a number of cores such as 0.5, or a percentage of one core such as 50%, from 0.01 to 4096 cores", cores
)

# ── locks ──


def _lock_name(node: Scalar) -> str:
    """Return the name of a lock. Raises Instead with the correct form if the value is a resource or a path."""
    if node.text.startswith("/"):
        raise Instead(f"{{path: {node.text}}}")
    if node.text in (CPU, MEMORY):
        raise Instead(f"{node.text} under `resources`, because it is not a lock")
    if is_null(node) or not re.fullmatch(NAME, node.text):
        raise ValueError
    return node.text


def _value_of_name(node: Scalar) -> str:
    """Return the value of a lock's key `name`. Raises Instead with the correct key if the value is a path."""
    if node.text.startswith("/"):
        raise Instead(f"the key `path`, as in `path: {node.text}`")
    return _lock_name(node)


def _lock_path(node: Scalar) -> str:
    if re.fullmatch(NAME, node.text) and not is_null(node):
        raise Instead(f"the key `name`, as in `name: {node.text}`")
    root, *parts = node.text.split("/")
    if root or not parts or {"", ".", ".."}.intersection(parts):  # otherwise one file could have two locks
        raise ValueError
    return str(PATH.read(node))


_LOCK_PATH = "the absolute path of a file such as /run/lock/backup.lock, with no . or .. in it"
_LOCK = scalar("name", A_NAME, _lock_name, {"type": ["string", "number", "boolean"], "pattern": f"^(?:{NAME})$"})
_LOCK_KEYS = table(
    Key("name", scalar("name", A_NAME, _value_of_name, _LOCK.schema), "", "Name of the lock.", "tape"),
    Key("path", scalar("path", _LOCK_PATH, _lock_path, PATH.schema), "",
        "File to lock with flock(2), instead of a name.", "/run/lock/backup.lock"),
    Key("mode", choice("exclusive", "shared"), "exclusive",
        "Way to hold the lock. `exclusive`: alone. `shared`: together with other runs that share it.", "shared"),
    Key("units", UNITS, "",
        "Units of the lock that the run holds. `resources` in jobqueued.yaml sets the lock's total.", "2"),
    Key("scope", choice(*Scope), "host",
        "Hosts that share the lock. `host`: this host alone. `fleet`: all hosts of the fleet. A fleet lock needs a "
        "`name`. `fleet: {resources: …}` in jobqueued.yaml can give the lock several units.", "fleet"),
)  # fmt: skip


def _lock(node: Node, values: dict[str, Any]) -> Claim:
    if ("name" in values) == ("path" in values):
        found = "name and path" if "name" in values else "neither name nor path"
        raise NotAccepted(Refusal.of(node, "either name or path", found, code="JQ205"))
    if "units" in values and ("path" in values or "mode" in values):
        other = "path" if "path" in values else "mode"
        raise NotAccepted(Refusal.of(node, f"either units or {other}", f"units and {other}", code="JQ205"))
    resource = values.get("name") or values["path"]
    if values.get("scope") is Scope.FLEET:
        return _of_fleet(node, values)
    if "units" in values:
        return Claim(resource, values["units"])
    return Claim(resource, exclusive=values.get("mode") != "shared")


def _of_fleet(node: Node, values: dict[str, Any]) -> Claim:
    others = [name for name in ("path", "mode") if values.get(name, "exclusive") != "exclusive"]
    if others:
        found = f"`{others[0]}: {values[others[0]]}` with `scope: fleet`"
        raise NotAccepted(Refusal.of(node, "a lock with a `name`, held alone or with `units`", found, code="JQ205"))
    name, units = f"{FLEET}{values['name']}", values.get("units", 0)
    return Claim(name, units, exclusive=not units)


def made(inner: ValueType, make: Callable[[Node, dict[str, Any]], Any]) -> ValueType:
    """Return the type of a section that `make` converts into one object. `make` raises NotAccepted for conflicts."""
    return replace(inner, read=lambda node: make(node, inner.read(node)))


_PLAIN_LOCK = replace(_LOCK, read=lambda node: Claim(_LOCK.read(node), exclusive=True))
_ONE_LOCK = either(_PLAIN_LOCK, made(section(_LOCK_KEYS), _lock))


def _without_twins(inner: ValueType) -> ValueType:
    """Return the type of a list of claims that refuses duplicates."""

    def read(node: Node) -> tuple[Claim, ...]:
        claims: tuple[Claim, ...] = inner.read(node)
        names = [claim.resource for claim in claims]
        twin = next((name for name in names if names.count(name) > 1), None)
        if twin is not None:
            found = f"{quoted(twin.removeprefix(FLEET))} twice"
            raise NotAccepted(Refusal.of(node, "each lock once", found, code="JQ205"))
        if (number := sum(name.startswith(FLEET) for name in names)) > MOST_AT_ONCE:
            accepted = f"at most {MOST_AT_ONCE} of them"
            raise NotAccepted(Refusal.of(node, accepted, f"{number} fleet locks", code="JQ103"))
        return claims

    return replace(inner, read=read)


LOCKS = _without_twins(one_or_more(_ONE_LOCK, least=0))

# ── resources ──

_MEMORY_AMOUNT = size("1K", "1000000T")
_AMOUNT = text("an amount such as 2, 0.5, 50% or 400M", r"[0-9]{1,9}(\.[0-9]{1,9})?|[0-9]{1,9}[%KMGT]", "amount")


def _amounts(entries: dict[str, YamlEntry]) -> dict[str, int]:
    """Return resource → units: CPU in thousandths of a core, memory in bytes."""
    refusals = [Refusal.of(key, A_NAME, quoted(key.text)) for key, _ in entries.values() if not is_name(key.text)]
    values: dict[str, int] = {}
    for name, entry in entries.items():
        try:
            values[name] = _amount_of(name)(entry.value)
        except NotAccepted as wrong:
            refusals += [refusal.below(f".{name}") for refusal in wrong.refusals]
    if refusals:
        raise NotAccepted(*refusals)
    return values


def _amount_of(name: str) -> Callable[[Node], int]:
    if name == CPU:
        return lambda node: round(CPU_AMOUNT.read(node) * CORE)
    units = _MEMORY_AMOUNT if name == MEMORY else UNITS
    return lambda node: int(units.read(node))


_RESOURCES = {"additionalProperties": _AMOUNT.schema}

AMOUNTS = mapping("a mapping of resources to amounts such as {cpu: 1, memory: 400M}", _amounts, _RESOURCES)
RESOURCES = mapping(
    AMOUNTS.accepted,
    lambda entries: tuple(Claim(name, units) for name, units in _amounts(entries).items()),
    _RESOURCES,
)

# ── the rest ──

LABELS = one_or_more(EVENT_NAME, least=0)
HOSTS = made(
    section(table(Key("labels", LABELS, "", "Labels that a host must have.", "[gpu]"))),
    lambda _node, values: values.get("labels", ()),
)

_ESCALATION = table(
    Key("points", integer(0, 1000), "1", "Points that are added to the priority after each period `every`.", "5"),
    Key("every", duration("1s", "1d"), "1m", "Waiting time after which the priority grows by `points`.", "10m"),
)

_SPANS = duration("1s", "365d")


def _rate(node: Scalar) -> Rate:
    """Return the rate in ``20/1d``. Raises ValueError."""
    runs, slash, per = node.text.partition("/")
    if not slash or not re.fullmatch("[1-9][0-9]{0,5}", runs, re.ASCII):
        raise ValueError
    try:
        return Rate(int(runs), _SPANS.read(node._replace(text=per)))
    except NotAccepted:
        raise ValueError from None


RATE = scalar("rate", "a number of runs from 1 to 999999, and the time for them from 1s to 365d, such as 20/1d", _rate)

ESCALATION = made(section(_ESCALATION), lambda _node, values: Escalation(**values))


def _glob(node: Scalar) -> str:
    """Return an absolute path whose last part may be a pattern.

    Only users' files can have ``~/``, which a later step checks.
    """
    directory, _, name = node.text.rpartition("/")
    if not node.text.startswith(("/", "~/")) or not name or re.search(r"[*?\[\0]", directory) or "\0" in name:
        raise ValueError
    return node.text


_GLOB = scalar("path", "an absolute path such as /srv/in/*.csv, with * ? and [] in its last part only", _glob)

_IDS = text(f"{ID.accepted}; or a pattern of ids with * and ?", "[a-z0-9*?][a-z0-9._*?-]{0,63}", "id")

_EVENTS = table(
    Key(
        "path",
        _GLOB,
        "",
        "Path or pattern of files. The job is due when a matching file has appeared and is complete. If many files "
        "appear together, the job is due up to 10 times at once, then at most once a second. In users' files the path "
        "can start with ~/.",
        "/srv/in/*.csv",
    ),
    Key("event", EVENT_NAME, "", "Name of an event. The job is due when `jobqueuectl emit NAME` emits it.", "deployed"),
    Key(
        "job",
        _IDS,
        "",
        "Id or pattern of another job. This job is due when a run of the other job ended after all its attempts. A "
        "pattern ignores this job's own runs, and runs that a pattern made due.",
        "rotate-logs",
    ),
    Key(
        "result",
        choice("success", "failure", "any"),
        "success",
        "Result of the other job's run that makes this job due.",
        "any",
    ),
)


def _event(node: Node, values: dict[str, Any]) -> On:
    kinds = [kind for kind in ("path", "event", "job") if kind in values]
    if len(kinds) != 1:
        found = " and ".join(kinds) or "neither path nor event nor job"
        raise NotAccepted(Refusal.of(node, "exactly one of path, event and job", found, code="JQ205"))
    if "result" in values and "job" not in values:
        raise NotAccepted(Refusal.of(node, "`result` only with `job`", f"`result` with `{kinds[0]}`", code="JQ205"))
    name = values[kinds[0]]
    kind = "jobs" if kinds == ["job"] and re.search("[*?]", name) else kinds[0]
    return On(kind, name, values.get("result", "success"))


ENDS = {
    "failure": "failure",
    "failed": "failure",
    "fail": "failure",
    "error": "failure",
    "onfailure": "failure",
    "success": "success",
    "succeeded": "success",
    "ok": "success",
    "end": "any",
    "finish": "any",
    "done": "any",
}
"""Words for the end of a run → the matching `result`.

If these words were event names, jobs would wait for `jobqueuectl emit`.
"""


def _boot(node: Scalar) -> str:
    if node.text == "boot":
        return node.text
    if result := ENDS.get(node.text.lower()):
        raise Instead(f"{{job: backup, result: {result}}}, which starts the job after each such run of backup")
    if is_null(node) or not is_name(node.text) or nearest(node.text, ["boot"]):
        raise ValueError
    raise Instead(f"{{event: {node.text}}} or {{job: {node.text}}}")


EVENT = either(scalar("boot", "boot", _boot, {"enum": ["boot"]}), made(section(_EVENTS), _event))

_REAL_TIME = r"SIGRTMIN\+([1-9]|[12][0-9])"


def _is_cause(word: str) -> bool:
    """Return whether a record can contain this cause. Aliases of signals are not valid."""
    named = word in Signals.__members__ and Signals[word].name == word
    return named or word in ("timeout", "oom", "lost", "start") or bool(re.fullmatch(_REAL_TIME, word))


def _cause(node: Scalar) -> str:
    if _is_cause(node.text):
        return node.text
    for meant in (node.text.lower(), node.text.upper(), f"SIG{node.text.upper()}"):
        if _is_cause(meant):
            raise Instead(meant)
    number = meaning(node)
    if type(number) is not int or not 0 <= number <= 255:
        raise ValueError
    return str(number)


CAUSE = scalar(
    "cause",
    "an exit code such as 75, a signal such as SIGSEGV, timeout, oom, lost, or start (it could not be started)",
    _cause,
)
